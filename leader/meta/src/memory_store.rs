//! A log store for the simulation: it remembers which writes were flushed, and a crash loses some of the others.

use super::log_store::{
    LogEntry, LogStore, SnapshotFiles, SnapshotPlace, StoredHardState, StoredSnapshot, check_append, check_snapshot, missing,
};
use bytes::Bytes;
use parking_lot::Mutex;
use slipher_common::{Error, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A promise that the store breaks, so that a test sees the simulation notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Keeps its promises.
    None,
    /// `flush` answers without flushing: messages go out and proposals are acknowledged before they are durable.
    SkipFlush,
    /// The hard state never becomes durable: after a crash the replica may vote again in the same term.
    ForgetVote,
}

#[derive(Clone, Debug, Default)]
struct Image {
    hard_state: StoredHardState,
    snapshot: Option<StoredSnapshot>,
    entries: BTreeMap<u64, LogEntry>,
}

#[derive(Clone, Debug)]
enum Write {
    Append(Vec<LogEntry>, Option<StoredHardState>),
    Compact(StoredSnapshot),
    Install(StoredSnapshot, StoredHardState),
}

impl Image {
    fn write(&mut self, write: &Write) {
        match write {
            Write::Append(entries, hard_state) => {
                if let Some(first) = entries.first() {
                    self.entries.split_off(&first.index);
                }
                self.entries.extend(entries.iter().map(|entry| (entry.index, entry.clone())));
                self.hard_state = hard_state.unwrap_or(self.hard_state);
            }
            Write::Compact(snapshot) => {
                self.entries = self.entries.split_off(&(snapshot.index + 1));
                self.snapshot = Some(snapshot.clone());
            }
            Write::Install(snapshot, hard_state) => {
                self.entries.clear();
                self.snapshot = Some(snapshot.clone());
                self.hard_state = *hard_state;
            }
        }
    }
}

/// What survives a replica.
#[derive(Debug)]
pub(super) struct Disk {
    current: Image,
    durable: Image,
    unsynced: Vec<Write>,
    fault: Fault,
    /// Calls until the machine stops in the middle of one.
    stops_after: Option<usize>,
}

impl Disk {
    /// An empty disk.
    pub(super) fn shared() -> Arc<Mutex<Self>> {
        Self::with_fault(Fault::None)
    }

    /// An empty disk that breaks a promise.
    pub(super) fn with_fault(fault: Fault) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            current: Image::default(),
            durable: Image::default(),
            unsynced: Vec::new(),
            fault,
            stops_after: None,
        }))
    }

    /// Lets the machine stop at one of the next writes or flushes: it fails, and so do all that follow until the crash.
    pub(super) fn stop_after(disk: &Mutex<Self>, calls: usize) {
        disk.lock().stops_after = Some(calls);
    }

    /// Whether it stopped.
    pub(super) fn has_stopped(disk: &Mutex<Self>) -> bool {
        disk.lock().stops_after == Some(0)
    }

    fn count_call(&mut self) -> Result<()> {
        match &mut self.stops_after {
            Some(0) => Err(Error::internal("the machine has stopped")),
            Some(calls) => {
                *calls -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Writes that a crash may lose.
    pub(super) fn unsynced(disk: &Mutex<Self>) -> usize {
        disk.lock().unsynced.len()
    }

    /// The machine stops: the first `kept` unsynced writes happened to reach the disk, the others are lost.
    pub(super) fn crash(disk: &Mutex<Self>, kept: usize) {
        let mut disk = disk.lock();
        let disk = &mut *disk;
        disk.stops_after = None;
        let writes = std::mem::take(&mut disk.unsynced);
        writes.iter().take(kept).for_each(|write| disk.durable.write(write));
        if disk.fault == Fault::ForgetVote {
            disk.durable.hard_state.vote = 0;
        }
        disk.current = disk.durable.clone();
    }
}

/// A replica's hold on its [`Disk`].
#[derive(Debug)]
pub(super) struct MemoryStore {
    disk: Arc<Mutex<Disk>>,
}

impl MemoryStore {
    /// Opens what is on a disk.
    pub(super) fn open(disk: &Arc<Mutex<Disk>>) -> Self {
        Self { disk: Arc::clone(disk) }
    }

    fn write(&mut self, write: Write) -> Result<()> {
        let mut disk = self.disk.lock();
        disk.count_call()?;
        disk.current.write(&write);
        disk.unsynced.push(write);
        Ok(())
    }
}

/// A body is nowhere until it is in force.
#[derive(Debug)]
pub(super) struct NoFiles;

impl SnapshotFiles for NoFiles {
    type Body = Bytes;

    fn write_body(&self, _: u64, parts: &mut dyn Iterator<Item = Vec<u8>>, _: &AtomicBool) -> Result<Bytes> {
        Ok(parts.collect::<Vec<_>>().concat().into())
    }

    fn clean(&self, _: &AtomicBool) -> Result<()> {
        Ok(())
    }
}

impl LogStore for MemoryStore {
    type Files = NoFiles;

    fn snapshot_files(&self) -> Result<NoFiles> {
        Ok(NoFiles)
    }

    fn hard_state(&self) -> Result<StoredHardState> {
        Ok(self.disk.lock().current.hard_state)
    }

    fn first_index(&self) -> u64 {
        self.disk.lock().current.snapshot.as_ref().map_or(0, |snapshot| snapshot.index) + 1
    }

    fn last_index(&self) -> u64 {
        let last = self.disk.lock().current.entries.keys().next_back().copied();
        last.unwrap_or_else(|| self.first_index() - 1)
    }

    fn entries(&self, low: u64, high: u64) -> Result<Vec<LogEntry>> {
        let found: Vec<LogEntry> = self.disk.lock().current.entries.range(low..high).map(|(_, entry)| entry.clone()).collect();
        if found.len() as u64 != high - low {
            return Err(missing(low, high, self.first_index(), self.last_index()));
        }
        Ok(found)
    }

    fn append(&mut self, entries: &[LogEntry], hard_state: Option<&StoredHardState>) -> Result<()> {
        check_append(entries, self.first_index(), self.last_index())?;
        self.write(Write::Append(entries.to_vec(), hard_state.copied()))
    }

    fn read_snapshot(&self, take: &mut dyn FnMut(&[u8])) -> Result<Option<SnapshotPlace>> {
        Ok(self.disk.lock().current.snapshot.clone().map(|StoredSnapshot { index, term, voters, data }| {
            // So that messages are cut anywhere.
            data.chunks(7).for_each(take);
            SnapshotPlace { index, term, voters }
        }))
    }

    fn compact(&mut self, snapshot: &SnapshotPlace, data: Bytes) -> Result<()> {
        check_snapshot(snapshot.index, self.first_index())?;
        let SnapshotPlace { index, term, voters } = snapshot.clone();
        self.write(Write::Compact(StoredSnapshot { index, term, voters, data }))
    }

    fn install(&mut self, snapshot: &StoredSnapshot, hard_state: &StoredHardState) -> Result<()> {
        check_snapshot(snapshot.index, self.first_index())?;
        self.write(Write::Install(snapshot.clone(), *hard_state))
    }

    fn flush(&mut self) -> Result<()> {
        let mut disk = self.disk.lock();
        let disk = &mut *disk;
        disk.count_call()?;
        if disk.fault != Fault::SkipFlush {
            let writes = std::mem::take(&mut disk.unsynced);
            writes.iter().for_each(|write| disk.durable.write(write));
        }
        Ok(())
    }
}

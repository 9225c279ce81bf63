//! What a replica keeps on disk, behind a narrow trait: log entries, hard state, one snapshot.

use bytes::Bytes;
use slipher_common::{Error, ErrorKind, Result};
use std::sync::atomic::AtomicBool;

/// One entry of the Raft log. Frozen: fields are added, never renumbered.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct LogEntry {
    #[prost(uint64, tag = "1")]
    pub(super) index: u64,
    #[prost(uint64, tag = "2")]
    pub(super) term: u64,
    /// 0 normal, 1 and 2 membership changes.
    #[prost(int32, tag = "3")]
    pub(super) kind: i32,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) data: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) context: Bytes,
    /// Digest of this entry and of the chain before it, on disk only: the log store adds it, compares it and takes it off. Empty in logs of
    /// format 1.
    #[prost(bytes = "bytes", tag = "6")]
    pub(super) chain: Bytes,
}

/// What a voter must not forget. Frozen: fields are added, never renumbered.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct StoredHardState {
    #[prost(uint64, tag = "1")]
    pub(super) term: u64,
    /// Whom it voted for in this term, 0 for nobody.
    #[prost(uint64, tag = "2")]
    pub(super) vote: u64,
    #[prost(uint64, tag = "3")]
    pub(super) commit: u64,
}

/// The state machine at one index of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredSnapshot {
    /// Index of the last entry in it.
    pub(super) index: u64,
    /// Term of that entry.
    pub(super) term: u64,
    /// The group's voters.
    pub(super) voters: Vec<u64>,
    /// `slipher.meta.v1.State`.
    pub(super) data: Bytes,
}

/// Which snapshot it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SnapshotPlace {
    /// Index of the last entry in it.
    pub(super) index: u64,
    /// Term of that entry.
    pub(super) term: u64,
    /// The group's voters.
    pub(super) voters: Vec<u64>,
}

/// What takes long, for another thread: it is in nobody's way, and nothing of it is in force before [`LogStore::compact`].
pub(super) trait SnapshotFiles: Send + 'static {
    /// What stands for a body that was written.
    type Body: Send + 'static;
    /// Writes the body of a snapshot, given in parts. Ends with an error when it is cancelled.
    fn write_body(&self, index: u64, parts: &mut dyn Iterator<Item = Vec<u8>>, cancelled: &AtomicBool) -> Result<Self::Body>;
    /// Removes what was not in force any more when this was made: entries in the snapshot, other bodies.
    fn clean(&self, cancelled: &AtomicBool) -> Result<()>;
}

/// Durable storage of one replica.
///
/// Every call is atomic: after a crash all of it is there or none of it. Calls become durable in their order, at the latest
/// with [`LogStore::flush`]; until then a crash may lose the newest of them.
pub(super) trait LogStore: Send {
    /// Its part for another thread.
    type Files: SnapshotFiles;
    /// What writes snapshots' bodies and cleans up. There must be one at a time only.
    fn snapshot_files(&self) -> Result<Self::Files>;
    /// The hard state; all zero in a new store.
    fn hard_state(&self) -> Result<StoredHardState>;
    /// Replaces the hard state, alone.
    fn set_hard_state(&mut self, hard_state: &StoredHardState) -> Result<()> {
        self.append(&[], Some(hard_state))
    }
    /// Index of the first entry: the one after the snapshot.
    fn first_index(&self) -> u64;
    /// Index of the last entry, or of the snapshot when there is none.
    fn last_index(&self) -> u64;
    /// The entries in `[low, high)`; all of them must be there.
    fn entries(&self, low: u64, high: u64) -> Result<Vec<LogEntry>>;
    /// Appends consecutive entries, and with them replaces the hard state where one is given: its commit index may be one of
    /// these entries. Whatever was at the index of the first one or behind it goes.
    fn append(&mut self, entries: &[LogEntry], hard_state: Option<&StoredHardState>) -> Result<()>;
    /// All entries, once: whoever opens the log and has read them need not read them again.
    fn take_entries(&mut self) -> Result<Vec<LogEntry>> {
        self.entries(self.first_index(), self.last_index() + 1)
    }
    /// The snapshot, if there is one; its body goes to `take`, in pieces, which mean nothing when this fails.
    fn read_snapshot(&self, take: &mut dyn FnMut(&[u8])) -> Result<Option<SnapshotPlace>>;
    /// The same in one piece.
    #[cfg(test)]
    fn snapshot(&self) -> Result<Option<StoredSnapshot>> {
        let mut data = Vec::new();
        let place = self.read_snapshot(&mut |piece| data.extend_from_slice(piece))?;
        Ok(place.map(|SnapshotPlace { index, term, voters }| StoredSnapshot { index, term, voters, data: data.into() }))
    }
    /// Puts a snapshot of what was applied here in force, whose body was written; the log begins behind it.
    fn compact(&mut self, snapshot: &SnapshotPlace, body: <Self::Files as SnapshotFiles>::Body) -> Result<()>;
    /// Takes over a snapshot from another replica, with the hard state that goes with it; the whole log is dropped.
    fn install(&mut self, snapshot: &StoredSnapshot, hard_state: &StoredHardState) -> Result<()>;
    /// Makes everything so far durable.
    fn flush(&mut self) -> Result<()>;
    /// How often it was opened, this time included; 0 where nobody counts.
    fn boot(&self) -> u64 {
        0
    }
}

/// Checks what both implementations expect of an append.
pub(super) fn check_append(entries: &[LogEntry], first_index: u64, last_index: u64) -> Result<()> {
    let Some(first) = entries.first() else {
        return Ok(());
    };
    let consecutive = entries.iter().zip(first.index..).all(|(entry, index)| entry.index == index);
    if first.index < first_index || first.index > last_index + 1 || !consecutive {
        return Err(Error::internal(format!(
            "appending {} entries from {} to a log from {first_index} to {last_index}: they do not fit",
            entries.len(),
            first.index
        )));
    }
    Ok(())
}

/// Checks that a snapshot is newer than the one that is there.
pub(super) fn check_snapshot(index: u64, first_index: u64) -> Result<()> {
    if index < first_index {
        return Err(Error::internal(format!("storing the metadata snapshot at {index}: there is one at {}", first_index - 1)));
    }
    Ok(())
}

/// For a range of entries that is not in the log.
pub(super) fn missing(low: u64, high: u64, first_index: u64, last_index: u64) -> Error {
    Error::new(
        ErrorKind::DataCorrupted,
        format!("reading entries {low} to {high} of the metadata log: it holds {first_index} to {last_index}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_store::{Disk, MemoryStore};
    use crate::sled_store::SledStore;

    fn entry(index: u64, term: u64, bytes: usize) -> LogEntry {
        LogEntry { index, term, kind: 0, data: Bytes::from(vec![index as u8; bytes]), context: Bytes::new(), chain: Bytes::new() }
    }

    fn snapshot(index: u64, bytes: usize) -> StoredSnapshot {
        StoredSnapshot { index, term: 2, voters: vec![1, 2, 3], data: Bytes::from(vec![7; bytes]) }
    }

    /// Makes a snapshot as a replica does, with a body in several parts.
    fn compact<S: LogStore>(store: &mut S, snapshot: &StoredSnapshot) -> Result<()> {
        let cancelled = AtomicBool::new(false);
        let StoredSnapshot { index, term, voters, data } = snapshot.clone();
        let mut parts = data.chunks(3_000).map(<[u8]>::to_vec);
        let body = store.snapshot_files()?.write_body(index, &mut parts, &cancelled)?;
        store.compact(&SnapshotPlace { index, term, voters }, body)?;
        store.snapshot_files()?.clean(&cancelled)
    }

    /// What any store must do; `reopen` closes it and opens it again after a clean end.
    fn conformance<S: LogStore>(mut reopen: impl FnMut(Option<S>) -> S) {
        let mut store = reopen(None);
        assert_eq!((store.first_index(), store.last_index()), (1, 0));
        assert_eq!(store.hard_state().unwrap(), StoredHardState::default());
        assert_eq!(store.snapshot().unwrap(), None);

        store.append(&[entry(1, 1, 0), entry(2, 1, 10), entry(3, 1, 50_000)], None).unwrap();
        let hard_state = StoredHardState { term: 2, vote: 3, commit: 1 };
        // A shorter tail of another term replaces the old one, chunks and all.
        store.append(&[entry(2, 2, 20_000), entry(3, 2, 5)], Some(&hard_state)).unwrap();
        let expected = vec![entry(1, 1, 0), entry(2, 2, 20_000), entry(3, 2, 5)];
        assert_eq!(store.entries(1, 4).unwrap(), expected);
        assert!(store.append(&[entry(5, 2, 1)], None).is_err(), "a gap");
        assert!(store.entries(1, 5).is_err());
        store.flush().unwrap();
        let mut store = reopen(Some(store));
        assert_eq!(store.entries(1, 4).unwrap(), expected);
        assert_eq!(store.hard_state().unwrap(), hard_state);

        // One that is never put in force leaves nothing behind.
        let longer = &mut std::iter::repeat_n(vec![9; 5_000], 8);
        drop(store.snapshot_files().unwrap().write_body(2, longer, &AtomicBool::new(false)).unwrap());
        compact(&mut store, &snapshot(2, 10_000)).unwrap();
        assert_eq!((store.first_index(), store.last_index()), (3, 3));
        assert!(store.entries(2, 4).is_err());
        assert!(store.append(&[entry(2, 3, 1)], None).is_err(), "behind the snapshot");
        assert!(compact(&mut store, &snapshot(1, 1)).is_err(), "an older snapshot");
        store.flush().unwrap();
        let mut store = reopen(Some(store));
        assert_eq!(store.snapshot().unwrap(), Some(snapshot(2, 10_000)));
        assert_eq!(store.entries(3, 4).unwrap(), vec![entry(3, 2, 5)]);

        let hard_state = StoredHardState { term: 4, vote: 0, commit: 9 };
        store.install(&snapshot(9, 0), &hard_state).unwrap();
        assert_eq!((store.first_index(), store.last_index()), (10, 9));
        store.append(&[entry(10, 4, 1)], None).unwrap();
        store.flush().unwrap();
        let store = reopen(Some(store));
        assert_eq!(store.snapshot().unwrap(), Some(snapshot(9, 0)));
        assert_eq!(store.hard_state().unwrap(), hard_state);
        assert_eq!(store.entries(10, 11).unwrap(), vec![entry(10, 4, 1)]);
    }

    #[test]
    fn memory_store_conforms() {
        let disk = Disk::shared();
        conformance(|_: Option<MemoryStore>| MemoryStore::open(&disk));
    }

    #[test]
    fn sled_store_conforms() {
        let directory = tempfile::tempdir().unwrap();
        conformance(|open: Option<SledStore>| {
            drop(open);
            SledStore::open(directory.path()).unwrap()
        });
    }

    #[test]
    fn memory_store_loses_what_was_not_flushed() {
        let disk = Disk::shared();
        let mut store = MemoryStore::open(&disk);
        store.append(&[entry(1, 1, 1)], None).unwrap();
        store.flush().unwrap();
        store.append(&[entry(2, 1, 1)], None).unwrap();
        store.append(&[entry(3, 1, 1)], None).unwrap();
        assert_eq!(store.last_index(), 3);
        Disk::crash(&disk, 1);
        assert_eq!(MemoryStore::open(&disk).last_index(), 2);
    }
}

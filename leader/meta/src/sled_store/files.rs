//! Bodies of snapshots, written beside commits: in pieces, each synced by itself, so that a commit's own sync finds little to do.

use super::super::log_store::SnapshotFiles;
use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of a body between two syncs: as long as that is written, a commit waits.
const SYNC_BYTES: usize = 512 * 1024;
/// Keys that are removed between two syncs.
const SYNC_REMOVALS: usize = 2_048;

/// What can be done to a store on another thread.
pub(crate) struct SledFiles {
    pub(super) directory: PathBuf,
    pub(super) tree: sled::Tree,
    pub(super) data: File,
    /// The snapshot in force when this was made.
    pub(super) in_force: u64,
}

/// A body that was written.
pub(crate) struct SledBody {
    pub(super) bytes: u64,
    pub(super) digest: Chain,
}

impl SnapshotFiles for SledFiles {
    type Body = SledBody;

    fn write_body(&self, index: u64, parts: &mut dyn Iterator<Item = Vec<u8>>, cancelled: &AtomicBool) -> Result<SledBody> {
        // Of one that was never in force, at the same index, something could be left.
        self.clean(cancelled)?;
        let mut writer =
            BodyWriter { files: self, index, chunk: 0, pending: Vec::new(), bytes: 0, unsynced: 0, hasher: Xxh3::new() };
        for part in parts {
            check_goes_on(cancelled)?;
            writer.write(&part)?;
        }
        writer.finish()
    }

    fn clean(&self, cancelled: &AtomicBool) -> Result<()> {
        let bodies_before = chunk_key(PREFIX_SNAPSHOT, 0, 0)..chunk_key(PREFIX_SNAPSHOT, self.in_force, 0);
        let bodies_after = chunk_key(PREFIX_SNAPSHOT, self.in_force.saturating_add(1), 0)..vec![PREFIX_SNAPSHOT + 1];
        let entries = chunk_key(PREFIX_LOG, 0, 0)..chunk_key(PREFIX_LOG, self.in_force.saturating_add(1), 0);
        let mut removed = 0;
        for key in [bodies_before, bodies_after, entries].into_iter().flat_map(|range| self.tree.range(range).keys()) {
            check_goes_on(cancelled)?;
            let key = key.map_err(|error| self.failed(&error))?;
            self.tree.remove(key).map_err(|error| self.failed(&error))?;
            removed += 1;
            if removed % SYNC_REMOVALS == 0 {
                self.sync()?;
            }
        }
        Ok(())
    }
}

impl SledFiles {
    fn failed(&self, error: &sled::Error) -> Error {
        store_error(&format!("writing a metadata snapshot in \"{}\"", self.directory.display()), error)
    }

    fn sync(&self) -> Result<()> {
        self.tree.flush().map_err(|error| self.failed(&error))?;
        self.data
            .sync_data()
            .map_err(|error| Error::io(format!("syncing the metadata in \"{}\"", self.directory.display()), &error))
    }
}

/// Whoever is not waited for any more ends; nobody reads this error.
fn check_goes_on(cancelled: &AtomicBool) -> Result<()> {
    if cancelled.load(Ordering::SeqCst) {
        return Err(Error::new(ErrorKind::AdminShutdown, "writing a metadata snapshot: the metadata service ends"));
    }
    Ok(())
}

/// Cuts a body into chunks.
struct BodyWriter<'a> {
    files: &'a SledFiles,
    index: u64,
    chunk: u32,
    pending: Vec<u8>,
    bytes: u64,
    unsynced: usize,
    hasher: Xxh3,
}

impl BodyWriter<'_> {
    fn write(&mut self, part: &[u8]) -> Result<()> {
        self.hasher.update(part);
        self.bytes += part.len() as u64;
        let mut rest = part;
        while self.pending.len() + rest.len() >= CHUNK_BYTES {
            let (now, later) = rest.split_at(CHUNK_BYTES - self.pending.len());
            self.pending.extend_from_slice(now);
            rest = later;
            self.put_chunk()?;
        }
        self.pending.extend_from_slice(rest);
        Ok(())
    }

    fn put_chunk(&mut self) -> Result<()> {
        let key = chunk_key(PREFIX_SNAPSHOT, self.index, self.chunk);
        let sealed = seal(&key, &self.pending);
        // One by one: a batch would hold up the commits beside it.
        self.files.tree.insert(key, sealed).map_err(|error| self.files.failed(&error))?;
        self.chunk += 1;
        self.unsynced += self.pending.len();
        self.pending.clear();
        if self.unsynced >= SYNC_BYTES {
            self.files.sync()?;
            self.unsynced = 0;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<SledBody> {
        // At least one chunk, so that an empty body is there.
        if !self.pending.is_empty() || self.chunk == 0 {
            self.put_chunk()?;
        }
        self.files.sync()?;
        Ok(SledBody { bytes: self.bytes, digest: Chain::from_digest(self.hasher.digest128()) })
    }
}

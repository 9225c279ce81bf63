//! A segment file while it is written: hashed on the way, durable and visible only when it is complete.

use super::{FILE_MODE, Store, make_dir, sync_dir};
use slipher_common::fail_point;
use slipher_common::ids::{SegmentId, TableId, TransactionId};
use slipher_common::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};
use uuid::Uuid;
use vortex::io::{IoBuf, VortexWrite};
use xxhash_rust::xxh3::Xxh3;

/// Bytes that are gathered before they go to the file.
const WRITE_BUFFER_BYTES: usize = 1 << 20;

/// A segment file that is being written. Dropped before [`publish`](Self::publish), it leaves nothing behind.
pub struct IncomingSegment {
    store: Arc<Store>,
    table: TableId,
    segment: SegmentId,
    file: BufWriter<File>,
    temporary: TemporaryFile,
    hash: Xxh3,
    bytes: u64,
    failure: Option<Error>,
    forget_on_drop: bool,
}

/// Removes a file unless it was moved away.
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // Best effort: the next start empties the directory.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Size and checksum of a finished file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinishedFile {
    /// Bytes.
    pub bytes: u64,
    /// XXH3-64 of all of them.
    pub checksum: u64,
}

impl std::fmt::Debug for IncomingSegment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IncomingSegment").field("table", &self.table).finish_non_exhaustive()
    }
}

impl IncomingSegment {
    pub(super) async fn create(
        store: Arc<Store>,
        table: TableId,
        segment: SegmentId,
        transaction: Option<TransactionId>,
    ) -> Result<Self> {
        let path = store.root.join("tmp").join(format!("{segment}.{}", Uuid::new_v4().simple()));
        let created = match fail_point::reach("segment.create") {
            Ok(()) => File::options().write(true).create_new(true).mode(FILE_MODE).open(&path).await,
            Err(error) => Err(error),
        };
        let file = created.map_err(|e| Error::io(format!("creating \"{}\"", path.display()), &e))?;
        if let Some(transaction) = transaction {
            store.unfinished.lock().insert(segment, transaction);
        }
        Ok(Self {
            store,
            table,
            segment,
            file: BufWriter::with_capacity(WRITE_BUFFER_BYTES, file),
            temporary: TemporaryFile(path),
            hash: Xxh3::new(),
            bytes: 0,
            failure: None,
            forget_on_drop: transaction.is_some(),
        })
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Why the last write failed, for callers that got it only through a library's error.
    pub(crate) fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    /// Appends `bytes`.
    pub async fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let written = match fail_point::reach("segment.write") {
            Ok(()) => self.file.write_all(bytes).await,
            Err(error) => Err(error),
        };
        self.noted(written)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Keeps why a write failed: a library's error would not say it so that anybody could act on it.
    fn noted(&mut self, written: std::io::Result<()>) -> std::io::Result<()> {
        if let Err(e) = &written {
            self.failure = Some(Error::io(format!("writing segment {} of table {}", self.segment, self.table), e));
        }
        written
    }

    /// Makes the file durable under its segment's name. With `expected` (bytes, checksum) a file that differs is refused.
    pub async fn publish(mut self, expected: Option<(u64, u64)>) -> Result<FinishedFile> {
        let finished = FinishedFile { bytes: self.bytes, checksum: self.hash.digest() };
        if let Some((bytes, checksum)) = expected
            && (finished != FinishedFile { bytes, checksum })
        {
            return Err(Error::new(
                ErrorKind::DataCorrupted,
                format!("storing segment {} of table {}: the bytes that arrived are not the segment", self.segment, self.table),
            )
            .with_detail(format!(
                "arrived: {} bytes, checksum {:016x}; the segment: {bytes} bytes, checksum {checksum:016x}",
                finished.bytes, finished.checksum
            )));
        }
        let path = self.store.segment_path(self.table, self.segment);
        let doing = |e| Error::io(format!("writing segment file \"{}\"", path.display()), &e);
        self.file.flush().await.map_err(doing)?;
        fail_point::reach("segment.sync").map_err(doing)?;
        self.file.get_ref().sync_all().await.map_err(doing)?;
        let (store, from, to) = (Arc::clone(&self.store), self.temporary.0.clone(), path.clone());
        fail_point::reach("segment.rename").map_err(doing)?;
        let moved = tokio::task::spawn_blocking(move || move_durably(&store, &from, &to)).await;
        moved.map_err(|e| Error::internal(format!("writing segment {}: {e}", self.segment)))?.map_err(doing)?;
        fail_point::synced_file(&self.store.root, &path).map_err(doing)?;
        fail_point::reach("segment.publish").map_err(doing)?;
        self.forget_on_drop = false;
        Ok(finished)
    }
}

impl Drop for IncomingSegment {
    fn drop(&mut self) {
        if self.forget_on_drop {
            self.store.unfinished.lock().remove(&self.segment);
        }
    }
}

fn move_durably(store: &Store, from: &Path, to: &Path) -> std::io::Result<()> {
    let Some(table_dir) = to.parent() else { return Err(std::io::ErrorKind::InvalidInput.into()) };
    let Some(segments_dir) = table_dir.parent() else { return Err(std::io::ErrorKind::InvalidInput.into()) };
    if !table_dir.is_dir() {
        make_dir(table_dir)?;
        sync_dir(segments_dir)?;
    }
    store.totals.bring(from, to)?;
    sync_dir(table_dir)
}

impl VortexWrite for IncomingSegment {
    async fn write_all<B: IoBuf>(&mut self, buffer: B) -> std::io::Result<B> {
        self.append(buffer.as_slice()).await?;
        Ok(buffer)
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        let flushed = AsyncWriteExt::flush(&mut self.file).await;
        self.noted(flushed)
    }

    async fn shutdown(&mut self) -> std::io::Result<()> {
        VortexWrite::flush(self).await
    }
}

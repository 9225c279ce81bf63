//! Opens segment files straight from the data directory.

use crate::activity::{Activity, Progress};
use crate::store::Store;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::error::Result as EngineResult;
use futures::FutureExt;
use futures::future::BoxFuture;
use slipher_common::{Error, ErrorKind};
use std::fmt::Display;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use vortex::array::buffer::BufferHandle;
use vortex::buffer::{Alignment, ByteBufferMut};
use vortex::error::VortexResult;
use vortex::io::session::RuntimeSessionExt;
use vortex::io::std_file::FileReadAt;
use vortex::io::{CoalesceConfig, VortexReadAt};
use vortex::session::VortexSession;
use vortex_datafusion::reader::VortexReaderFactory;

/// Reads that are at most this far apart become one.
const COALESCE_DISTANCE_BYTES: u64 = 128 << 10;
/// Largest read that several become. A read takes announced neighbours along even when a zone map or an earlier filter spares them
/// later, so a large one makes a selective scan read most of the file.
const COALESCED_READ_BYTES_MAX: u64 = 1 << 20;
/// What the system has in memory is copied where it is asked for, up to so much at a time: a change of threads, there and back, takes longer.
/// More is copied while others work.
const COPY_IN_PLACE_BYTES_MAX: usize = 256 << 10;

/// Makes the readers of a scan. File locations are relative to the directory of segments.
#[derive(Debug)]
pub(super) struct SegmentReaders {
    pub(super) store: Arc<Store>,
    pub(super) activity: Arc<Activity>,
    pub(super) query: Option<Arc<Progress>>,
}

impl VortexReaderFactory for SegmentReaders {
    fn create_reader(&self, file: &PartitionedFile, session: &VortexSession) -> EngineResult<Arc<dyn VortexReadAt>> {
        let path = self.store.segments_dir().join(file.path().as_ref());
        let failed = |e: &dyn Display| Error::new(ErrorKind::Io, format!("opening segment file \"{}\": {e}", path.display()));
        Ok(Arc::new(SegmentReader {
            file: Arc::new(File::open(&path).map_err(|e| failed(&e))?),
            reader: FileReadAt::open(&path, session.handle()).map_err(|e| failed(&e))?,
            activity: Arc::clone(&self.activity),
            query: self.query.clone(),
        }))
    }
}

/// A file reader with limits of its own on how reads are put together, which counts what it reads.
struct SegmentReader {
    /// For what is copied in place.
    file: Arc<File>,
    /// For all else.
    reader: FileReadAt,
    activity: Arc<Activity>,
    query: Option<Arc<Progress>>,
}

impl VortexReadAt for SegmentReader {
    fn uri(&self) -> Option<&Arc<str>> {
        self.reader.uri()
    }

    fn coalesce_config(&self) -> Option<CoalesceConfig> {
        Some(CoalesceConfig::new(COALESCE_DISTANCE_BYTES, COALESCED_READ_BYTES_MAX))
    }

    fn concurrency(&self) -> usize {
        self.reader.concurrency()
    }

    fn size(&self) -> BoxFuture<'static, VortexResult<u64>> {
        self.reader.size()
    }

    fn read_at(&self, offset: u64, length: usize, alignment: Alignment) -> BoxFuture<'static, VortexResult<BufferHandle>> {
        self.activity.scanned_bytes.fetch_add(length as u64, Ordering::Relaxed);
        if let Some(query) = &self.query {
            query.scanned_bytes.fetch_add(length as u64, Ordering::Relaxed);
        }
        let read = self.reader.read_at(offset, length, alignment);
        if length > COPY_IN_PLACE_BYTES_MAX {
            return read;
        }
        let file = Arc::clone(&self.file);
        async move {
            let mut buffer = ByteBufferMut::zeroed_aligned(length, alignment);
            match copied_from_memory(&file, buffer.as_mut_slice(), offset) {
                true => Ok(BufferHandle::new_host(buffer.freeze())),
                false => read.await,
            }
        }
        .boxed()
    }
}

/// Fills `buffer` with what the system has in memory of a file, without waiting for a disk. False where it has not all of it, or cannot tell.
#[cfg(target_os = "linux")]
fn copied_from_memory(file: &File, buffer: &mut [u8], offset: u64) -> bool {
    let length = buffer.len();
    let read = rustix::io::preadv2(file, &mut [std::io::IoSliceMut::new(buffer)], offset, rustix::io::ReadWriteFlags::NOWAIT);
    read.is_ok_and(|read| read == length)
}

#[cfg(not(target_os = "linux"))]
fn copied_from_memory(_: &File, _: &mut [u8], _: u64) -> bool {
    false
}

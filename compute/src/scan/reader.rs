//! Opens segment files straight from the data directory.

use crate::activity::{Activity, Progress};
use crate::store::Store;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::error::Result as EngineResult;
use futures::future::BoxFuture;
use slipher_common::{Error, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use vortex::array::buffer::BufferHandle;
use vortex::buffer::Alignment;
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
        let reader = FileReadAt::open(&path, session.handle())
            .map_err(|e| Error::new(ErrorKind::Io, format!("opening segment file \"{}\": {e}", path.display())))?;
        Ok(Arc::new(SegmentReader { reader, activity: Arc::clone(&self.activity), query: self.query.clone() }))
    }
}

/// A file reader with limits of its own on how reads are put together, which counts what it reads.
struct SegmentReader {
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
        self.reader.read_at(offset, length, alignment)
    }
}

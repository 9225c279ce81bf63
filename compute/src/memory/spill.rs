//! Where a query spills: a directory of its own, which is made when the first file is. Most queries never need one.

use datafusion::error::Result;
use datafusion::execution::disk_manager::{DiskManager, DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::{SpillFile, TempFileFactory};
use parking_lot::Mutex;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The spill space of one query on one node.
pub(super) struct SpillSpace {
    directory: PathBuf,
    bytes_max: u64,
    opened: Mutex<Option<Arc<DiskManager>>>,
}

impl fmt::Debug for SpillSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpillSpace").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl SpillSpace {
    /// Below `directory`, for at most `bytes_max` bytes.
    pub(super) fn new(directory: PathBuf, bytes_max: u64) -> Self {
        Self { directory, bytes_max, opened: Mutex::default() }
    }

    /// Bytes of its files now.
    pub(super) fn used_bytes(&self) -> u64 {
        self.opened.lock().as_ref().map_or(0, |opened| opened.used_disk_space())
    }

    fn open(&self) -> Result<Arc<DiskManager>> {
        let mut opened = self.opened.lock();
        if let Some(opened) = opened.as_ref() {
            return Ok(Arc::clone(opened));
        }
        let manager = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![self.directory.clone()]))
            .with_max_temp_directory_size(self.bytes_max)
            .build()?;
        Ok(Arc::clone(opened.insert(Arc::new(manager))))
    }
}

impl TempFileFactory for SpillSpace {
    fn create_temp_file(&self, description: &str) -> Result<Arc<dyn SpillFile>> {
        self.open()?.create_tmp_file(description)
    }
}

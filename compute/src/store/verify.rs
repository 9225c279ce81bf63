//! Checksums: a file is compared with its receipt before this process first reads it, and again when it has changed.

use super::Store;
use slipher_common::ids::{SegmentId, TableId};
use slipher_common::plan::SegmentRef;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use xxhash_rust::xxh3::Xxh3;

/// Bytes that are read at a time.
const READ_BUFFER_BYTES: usize = 1 << 20;
/// How many locks of finished checks are kept before they are dropped.
const CHECK_LOCKS_KEPT_MAX: usize = 1024;

/// How a file looked when it was compared; a change makes it unknown again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    /// Size.
    pub bytes: u64,
    /// Last change of its content.
    pub modified: SystemTime,
    inode: u64,
    /// Last change of content or attributes (seconds, nanoseconds): cannot be set back by a program.
    changed: (i64, i64),
}

impl FileStamp {
    fn of(metadata: &Metadata) -> std::io::Result<Self> {
        Ok(Self {
            bytes: metadata.len(),
            modified: metadata.modified()?,
            inode: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Why a node's own file of a segment cannot be used.
#[derive(Debug)]
pub enum FileFault {
    /// It is not there.
    Missing,
    /// It has another size.
    Size {
        /// Bytes found.
        found: u64,
    },
    /// Its content differs.
    Checksum {
        /// XXH3-64 found.
        found: u64,
    },
    /// It cannot be read.
    Unreadable(std::io::Error),
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the file is missing"),
            Self::Size { found } => write!(f, "the file has the wrong size ({found} bytes)"),
            Self::Checksum { found } => write!(f, "the file has the wrong checksum ({found:016x})"),
            Self::Unreadable(e) => write!(f, "the file cannot be read: {e}"),
        }
    }
}

impl From<std::io::Error> for FileFault {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Unreadable(error),
        }
    }
}

/// Bytes and XXH3-64 of a whole file.
pub(super) fn sum_of(path: &Path) -> Result<(u64, u64), FileFault> {
    Ok(sum(&mut File::open(path)?)?)
}

fn sum(file: &mut File) -> std::io::Result<(u64, u64)> {
    let mut hash = Xxh3::new();
    let mut buffer = vec![0u8; READ_BUFFER_BYTES];
    let mut total = 0u64;
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => return Ok((total, hash.digest())),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(&buffer[..read]);
        total += read as u64;
    }
}

impl Store {
    /// The file's stamp, if this process has compared it and it has not changed since.
    pub fn verified(&self, table: TableId, segment: SegmentId) -> Option<FileStamp> {
        let stamp = FileStamp::of(&std::fs::metadata(self.segment_path(table, segment)).ok()?).ok()?;
        (self.verified.lock().get(&segment) == Some(&stamp)).then_some(stamp)
    }

    /// Compares size and checksum of a whole file with its receipt; reads all of it, so call it on a blocking thread.
    pub fn verify(&self, table: TableId, segment: &SegmentRef) -> Result<FileStamp, FileFault> {
        let mut file = File::open(self.segment_path(table, segment.id))?;
        let stamp = FileStamp::of(&file.metadata()?)?;
        if stamp.bytes != segment.bytes {
            return Err(FileFault::Size { found: stamp.bytes });
        }
        let (total, found) = sum(&mut file)?;
        if total != segment.bytes {
            return Err(FileFault::Size { found: total });
        }
        if found != segment.checksum {
            return Err(FileFault::Checksum { found });
        }
        self.verified.lock().insert(segment.id, stamp);
        Ok(stamp)
    }

    /// The lock under which a segment is compared or fetched.
    pub(crate) fn check_lock(&self, segment: SegmentId) -> Arc<tokio::sync::Mutex<()>> {
        let mut checking = self.checking.lock();
        if checking.len() >= CHECK_LOCKS_KEPT_MAX {
            checking.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        Arc::clone(checking.entry(segment).or_default())
    }
}

//! The data directory of a compute node: who the node is, which cluster it belongs to, and its segment files.
//!
//! ```text
//! lock                              held while a process uses the directory
//! node.id  cluster.id               32 hexadecimal digits
//! fence                             who commanded the node last
//! segments/<table>/<segment>.vortex finished files, never changed
//! trash/<hour>/<table>.<segment>    swept files, kept for a day
//! tmp/                              files that are being written; emptied at start
//! tmp/spill/                        what queries spill
//! ```

mod check;
mod fences;
mod incoming;
mod sweep;
#[cfg(test)]
mod tests;
mod totals;
mod trash;
mod verify;

pub use check::{ExpectedSegment, check};
pub use incoming::IncomingSegment;
pub use sweep::Swept;
pub use trash::TRASH_KEPT_HOURS;
pub use verify::{FileFault, FileStamp};

use fences::Fences;
use parking_lot::Mutex;
use slipher_common::ids::{ClusterId, NodeId, SegmentId, TableId, TransactionId};
use slipher_common::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use totals::Totals;
use uuid::Uuid;

/// File name ending of segments.
pub const SEGMENT_EXTENSION: &str = "vortex";

/// Directories are for the user whose process this is.
const DIRECTORY_MODE: u32 = 0o700;
/// So are files.
const FILE_MODE: u32 = 0o600;

/// The data directory of one compute node, locked by this process.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    node: NodeId,
    cluster: Mutex<Option<ClusterId>>,
    /// Which transaction wrote a file that no manifest is known to name yet. Lost with the process: then age decides.
    unfinished: Mutex<HashMap<SegmentId, TransactionId>>,
    /// Files whose checksum this process has compared, as they were then.
    verified: Mutex<HashMap<SegmentId, FileStamp>>,
    /// One lock per segment that is being compared or fetched, so that concurrent scans do it once.
    checking: Mutex<HashMap<SegmentId, Arc<tokio::sync::Mutex<()>>>>,
    totals: Totals,
    fences: Fences,
    trash_rescued: AtomicU64,
    /// Held by whoever asks the file system for its free space.
    pub(crate) asking_for_space: Arc<tokio::sync::Mutex<()>>,
    _lock: File,
}

/// Space of the file system that a node's data is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// All of it.
    pub bytes: u64,
    /// What programs without special rights may still fill.
    pub free_bytes: u64,
}

/// What the directory holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Finished segment files.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Store {
    /// Opens a data directory, creating it where it is missing, and locks it.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref().to_path_buf();
        create_dir(&root)?;
        let lock = lock(&root)?;
        let temporary = root.join("tmp");
        if temporary.exists() {
            fs::remove_dir_all(&temporary).map_err(|e| Error::io(format!("emptying \"{}\"", temporary.display()), &e))?;
        }
        create_dir(&temporary.join("spill"))?;
        create_dir(&root.join("segments"))?;
        let node = match read_id(&root.join("node.id"))? {
            Some(id) => NodeId(id),
            None => {
                let id = Uuid::new_v4();
                write_id(&root, "node.id", id)?;
                NodeId(id)
            }
        };
        let cluster = read_id(&root.join("cluster.id"))?.map(ClusterId);
        let fences = Fences::read(&root)?;
        let mut store = Self {
            root,
            node,
            cluster: Mutex::new(cluster),
            unfinished: Mutex::default(),
            verified: Mutex::default(),
            checking: Mutex::default(),
            totals: Totals::default(),
            fences,
            trash_rescued: AtomicU64::new(0),
            asking_for_space: Arc::default(),
            _lock: lock,
        };
        store.totals = Totals::new(store.walked_usage()?);
        Ok(store)
    }

    /// The node this directory belongs to.
    pub fn node_id(&self) -> NodeId {
        self.node
    }

    /// The cluster this directory belongs to; `None` until it joined one.
    pub fn cluster_id(&self) -> Option<ClusterId> {
        *self.cluster.lock()
    }

    /// Binds the directory to a cluster for ever; refused when it belongs to another one.
    pub fn join_cluster(&self, cluster: ClusterId) -> Result<()> {
        let mut current = self.cluster.lock();
        match *current {
            Some(own) if own == cluster => Ok(()),
            Some(own) => Err(other_cluster(&self.root, own, cluster)),
            None => {
                write_id(&self.root, "cluster.id", cluster.0)?;
                *current = Some(cluster);
                Ok(())
            }
        }
    }

    /// The path of a finished segment.
    pub fn segment_path(&self, table: TableId, segment: SegmentId) -> PathBuf {
        self.table_dir(table).join(format!("{segment}.{SEGMENT_EXTENSION}"))
    }

    /// Whether a finished file of the segment is there.
    pub fn contains(&self, table: TableId, segment: SegmentId) -> bool {
        self.segment_path(table, segment).is_file()
    }

    /// Where queries spill.
    pub fn spill_dir(&self) -> PathBuf {
        self.root.join("tmp").join("spill")
    }

    /// Starts a segment file; nothing is visible under its name before [`IncomingSegment::publish`].
    pub async fn create(
        self: &Arc<Self>,
        table: TableId,
        segment: SegmentId,
        transaction: Option<TransactionId>,
    ) -> Result<IncomingSegment> {
        IncomingSegment::create(Arc::clone(self), table, segment, transaction).await
    }

    /// The file system's size and what is free of it.
    pub fn disk_space(&self) -> Result<DiskSpace> {
        let of_system = rustix::fs::statvfs(&self.root).map_err(|error| {
            Error::io(format_args!("asking for the free space of \"{}\"", self.root.display()), &error.into())
        })?;
        Ok(DiskSpace { bytes: of_system.f_blocks * of_system.f_frsize, free_bytes: of_system.f_bavail * of_system.f_frsize })
    }

    /// Where the directories of the tables are.
    pub(crate) fn segments_dir(&self) -> PathBuf {
        self.root.join("segments")
    }

    fn table_dir(&self, table: TableId) -> PathBuf {
        self.segments_dir().join(table.to_string())
    }

    /// Visits every finished segment file; files that are not segments are left alone.
    fn for_each_file(&self, mut visit: impl FnMut(SegmentId, &Path, &fs::Metadata) -> Result<()>) -> Result<()> {
        for table in list(&self.segments_dir())? {
            if !table.is_dir() {
                continue;
            }
            for path in list(&table)? {
                let Some(segment) = segment_of(&path) else { continue };
                match fs::metadata(&path) {
                    Ok(metadata) => visit(segment, &path, &metadata)?,
                    // Swept meanwhile.
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                    Err(e) => return Err(Error::io(format!("reading \"{}\"", path.display()), &e)),
                }
            }
        }
        Ok(())
    }
}

/// The error for data of one cluster in the hands of another.
pub(crate) fn other_cluster(root: &Path, own: ClusterId, wanted: ClusterId) -> Error {
    Error::new(ErrorKind::Config, format!("data directory \"{}\" belongs to another cluster", root.display()))
        .with_detail(format!("its cluster is {own}, this one is {wanted}"))
        .with_hint("start the node with the data directory of this cluster, or with an empty one")
}

fn segment_of(path: &Path) -> Option<SegmentId> {
    if path.extension()?.to_str()? != SEGMENT_EXTENSION {
        return None;
    }
    Uuid::try_parse(path.file_stem()?.to_str()?).ok().map(SegmentId)
}

fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let doing = |e| Error::io(format!("listing \"{}\"", dir.display()), &e);
    fs::read_dir(dir).map_err(doing)?.map(|entry| entry.map(|entry| entry.path()).map_err(doing)).collect()
}

fn create_dir(dir: &Path) -> Result<()> {
    make_dir(dir).map_err(|e| Error::io(format!("creating directory \"{}\"", dir.display()), &e))
}

/// Makes a directory, and those above it, that nobody else may look into.
fn make_dir(dir: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(dir)
}

fn lock(root: &Path) -> Result<File> {
    let path = root.join("lock");
    let doing = |e: &std::io::Error| Error::io(format!("locking \"{}\"", path.display()), e);
    let file = File::options().create(true).truncate(false).write(true).mode(FILE_MODE).open(&path).map_err(|e| doing(&e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::new(ErrorKind::Config, format!("data directory \"{}\" is in use by another process", root.display()))
                .with_hint("stop the other compute node, or give this one its own --data-dir"))
        }
        Err(TryLockError::Error(e)) => Err(doing(&e)),
    }
}

fn read_id(path: &Path) -> Result<Option<Uuid>> {
    match fs::read_to_string(path) {
        Ok(text) => Uuid::try_parse(text.trim()).map(Some).map_err(|_| {
            Error::new(ErrorKind::DataCorrupted, format!("reading \"{}\": it does not hold an id", path.display()))
                .with_hint("restore the file, or start the node with an empty data directory")
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(format!("reading \"{}\"", path.display()), &e)),
    }
}

fn write_id(root: &Path, name: &str, id: Uuid) -> Result<()> {
    write_text(root, name, &id.simple().to_string())
}

/// Writes a line so that after a crash the file is whole, or what it was before.
fn write_text(root: &Path, name: &str, line: &str) -> Result<()> {
    let path = root.join(name);
    let temporary = root.join("tmp").join(name);
    let write = || -> std::io::Result<()> {
        let mut file = File::options().write(true).create(true).truncate(true).mode(FILE_MODE).open(&temporary)?;
        writeln!(file, "{line}")?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        sync_dir(root)
    };
    write().map_err(|e| Error::io(format!("writing \"{}\"", path.display()), &e))
}

/// Makes the names in a directory durable.
fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

//! The side files of a leader: details of segments, which records name by the digest of the bytes. They are written once, before a record
//! that names them, and read when a statement is planned. What is missing or damaged costs an estimate, never an answer: nothing waits for
//! them, and nothing fails for want of them.

use parking_lot::Mutex;
use slipher_common::finding::Finding;
use slipher_common::ids::SideFileId;
use slipher_common::manifest::{Details, ReadsDetails, Segment, SegmentDetails, SideFile};
use slipher_common::{Error, Result};
use slipher_meta::State;
use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// The name in a leader's data directory.
const DIRECTORY: &str = "side";
/// The files are for the user whose process this is.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Bytes of files that are kept in memory.
const CACHE_MAX_BYTES: usize = 128 << 20;
/// What a file that cannot be read counts as.
const UNREADABLE_BYTES: usize = 64;

/// The files, and what was read of them.
#[derive(Debug)]
pub struct SideFiles {
    directory: PathBuf,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    /// None: it could not be read. With when it was asked for last.
    files: HashMap<SideFileId, (Option<Arc<SideFile>>, u64)>,
    bytes: usize,
    asked: u64,
}

impl SideFiles {
    /// Those in a leader's data directory.
    pub fn open(data_dir: &Path) -> Result<Self> {
        let directory = data_dir.join(DIRECTORY);
        make_directory(&directory)?;
        Ok(Self { directory, cache: Mutex::default() })
    }

    /// Spread over folders by the first digits: there may be as many as loads.
    fn path(&self, id: SideFileId) -> PathBuf {
        let name = id.to_string();
        self.directory.join(&name[..2]).join(name)
    }

    /// Writes a file, durably.
    pub fn keep(&self, id: SideFileId, bytes: &[u8]) -> Result<()> {
        let path = self.path(id);
        let folder = path.parent().unwrap_or(&self.directory);
        make_directory(folder)?;
        let temporary = folder.join(Uuid::new_v4().simple().to_string());
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(|error| {
            // It is swept otherwise.
            let _ = fs::remove_file(&temporary);
            Error::io(format!("writing \"{}\"", path.display()), &error)
        })
    }

    fn read(&self, id: SideFileId) -> Option<Arc<SideFile>> {
        if let Some(known) = self.cache.lock().get(id) {
            return known;
        }
        let path = self.path(id);
        let read = fs::read(&path).map_err(|error| Error::io(format!("reading \"{}\"", path.display()), &error));
        let file = read.and_then(|bytes| SideFile::decode(id, &bytes)).map(Arc::new);
        let file = file.inspect_err(|error| tracing::warn!(%error, "what is known of some segments is lost; plans may be worse"));
        let file = file.ok();
        self.cache.lock().put(id, file.clone());
        file
    }

    /// Removes files that `needed` does not hold and that are at least so old; answers how many.
    pub fn sweep(&self, needed: &HashSet<SideFileId>, age_min: Duration) -> Result<u64> {
        let doing = |path: &Path, error| Error::io(format!("sweeping \"{}\"", path.display()), &error);
        let (now, mut removed) = (SystemTime::now(), 0);
        for folder in entries(&self.directory).map_err(|error| doing(&self.directory, error))? {
            for file in entries(&folder).map_err(|error| doing(&folder, error))? {
                let id = file.file_name().and_then(|name| Uuid::try_parse(name.to_str()?).ok()).map(SideFileId);
                if id.is_some_and(|id| needed.contains(&id)) {
                    continue;
                }
                let modified = fs::metadata(&file).and_then(|known| known.modified());
                let age = modified.ok().and_then(|modified| now.duration_since(modified).ok()).unwrap_or_default();
                if age >= age_min {
                    fs::remove_file(&file).map_err(|error| doing(&file, error))?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// Reads all files that a state needs, for people.
    pub fn check(data_dir: &Path, state: &State) -> Finding {
        let files = Self { directory: data_dir.join(DIRECTORY), cache: Mutex::default() };
        let needed = needed_by(state);
        let name = format!("\"{}\": {} side files", files.directory.display(), needed.len());
        match needed.iter().filter(|id| files.read(**id).is_none()).count() {
            0 => Finding::sound(format!("{name}: all that the metadata name")),
            unreadable => Finding::damaged(name, format!("{unreadable} cannot be read; plans may be worse, answers are not")),
        }
    }
}

/// The side files that a state names.
pub fn needed_by(state: &State) -> HashSet<SideFileId> {
    let segments = state.tables().values().flat_map(|table| table.segments.values());
    let aside = segments.filter_map(|segment| match &segment.details {
        Details::Aside(file) => Some(*file),
        Details::Here(_) => None,
    });
    aside.collect()
}

impl ReadsDetails for SideFiles {
    fn details(&self, segment: &Segment) -> Option<Arc<SegmentDetails>> {
        match &segment.details {
            Details::Here(_) => segment.details.inline().map(Arc::new),
            Details::Aside(file) => self.read(*file)?.details(segment.id),
        }
    }
}

impl Cache {
    fn get(&mut self, id: SideFileId) -> Option<Option<Arc<SideFile>>> {
        self.asked += 1;
        let (file, asked) = self.files.get_mut(&id)?;
        *asked = self.asked;
        Some(file.clone())
    }

    fn put(&mut self, id: SideFileId, file: Option<Arc<SideFile>>) {
        self.bytes += bytes_of(&file);
        if let Some((replaced, _)) = self.files.insert(id, (file, self.asked)) {
            self.bytes -= bytes_of(&replaced);
        }
        if self.bytes <= CACHE_MAX_BYTES {
            return;
        }
        // Those that nobody asked for since long go, a quarter at once.
        let mut asked: Vec<(u64, SideFileId)> = self.files.iter().map(|(id, (_, asked))| (*asked, *id)).collect();
        asked.sort_unstable();
        for (_, id) in asked {
            if self.bytes <= CACHE_MAX_BYTES / 4 * 3 {
                break;
            }
            if let Some((file, _)) = self.files.remove(&id) {
                self.bytes -= bytes_of(&file);
            }
        }
    }
}

fn bytes_of(file: &Option<Arc<SideFile>>) -> usize {
    file.as_ref().map_or(0, |file| file.bytes()) + UNREADABLE_BYTES
}

fn make_directory(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(Error::io(format!("making \"{}\"", path.display()), &error))
        }
        _ => Ok(()),
    }
}

fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipher_proto::meta as proto;
    use slipher_proto::meta::operation::Kind;

    /// A segment whose details are in a file, and the file.
    fn set_aside(number: u8, bytes: usize) -> (Segment, SideFileId, Vec<u8>) {
        let column =
            proto::ColumnStatistics { column_id: 1, distinct_sketch: vec![number; bytes], ..proto::ColumnStatistics::default() };
        let segment = proto::Segment { segment_id: vec![number; 16], columns: vec![column], ..proto::Segment::default() };
        let mut operations =
            [Kind::ReplaceSegments(proto::ReplaceSegments { add: vec![segment], ..proto::ReplaceSegments::default() })];
        let (id, bytes) = slipher_common::manifest::set_aside(&mut operations).remove(0);
        let [Kind::ReplaceSegments(replace)] = &operations else { unreachable!() };
        (Segment::from_proto(&replace.add[0]).unwrap(), id, bytes)
    }

    #[test]
    fn files_are_found_until_they_are_swept() {
        let directory = tempfile::tempdir().unwrap();
        let files = SideFiles::open(directory.path()).unwrap();
        let known = [set_aside(1, 700), set_aside(2, 800)];
        for (_, id, bytes) in &known {
            // Twice: a statement that runs again writes the same file.
            files.keep(*id, bytes).unwrap();
            files.keep(*id, bytes).unwrap();
        }
        let sketch = |files: &SideFiles, segment| {
            let details = files.details(segment)?;
            details.columns().first().map(|column| column.distinct_sketch.len())
        };
        let lengths = |files: &SideFiles| known.each_ref().map(|(segment, ..)| sketch(files, segment));
        assert_eq!(lengths(&files), [Some(700), Some(800)]);

        let files = SideFiles::open(directory.path()).unwrap();
        let needed = HashSet::from([known[0].1]);
        assert_eq!(files.sweep(&needed, Duration::from_secs(3_600)).unwrap(), 0, "they are young");
        assert_eq!(files.sweep(&needed, Duration::ZERO).unwrap(), 1);
        assert_eq!(lengths(&files), [Some(700), None]);
    }

    #[test]
    fn a_damaged_file_is_a_missing_one() {
        let directory = tempfile::tempdir().unwrap();
        let files = SideFiles::open(directory.path()).unwrap();
        let (segment, id, bytes) = set_aside(1, 700);
        for damaged in [&bytes[..0], &bytes[..bytes.len() - 1], &[&bytes[..], &[0]].concat()] {
            files.keep(id, damaged).unwrap();
            assert_eq!(SideFiles::open(directory.path()).unwrap().details(&segment), None);
        }
        assert_eq!(SideFiles::check(directory.path(), &State::default()).fault, None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut cache = Cache::default();
        let file = |number: u8| {
            let (_, id, bytes) = set_aside(number, 9 << 20);
            (id, Some(Arc::new(SideFile::decode(id, &bytes).unwrap())))
        };
        for number in 0..40 {
            let (id, file) = file(number);
            cache.put(id, file);
            assert!(cache.bytes <= CACHE_MAX_BYTES);
            assert!(cache.get(id).is_some());
        }
        assert!(cache.files.len() >= 9, "{}", cache.files.len());
        let kept: usize = cache.files.values().map(|(file, _)| bytes_of(file)).sum();
        assert_eq!(kept, cache.bytes);
    }
}

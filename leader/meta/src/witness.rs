//! The witness: a small file beside the log that says how far the log went when it was last durable. sled takes a damaged block for the end
//! of its log; with the witness a log that has become shorter, or another one, is seen.
//!
//! Four blocks. A testimony is written twice, into the two blocks of its slot: even ones into blocks 0 and 2, odd ones into 1 and 3. So
//! the one before is still there while a new one is written, and one damaged block damages none.
//!
//! | bytes of a block | |
//! |---|---|
//! | 0..8 | magic |
//! | 8..12 | version of this layout, u32 little endian |
//! | 12..16 | length of the testimony, u32 little endian |
//! | 16.. | [`Testimony`], then zeros |
//! | last 16 | XXH3-128 of all before |

use super::chain::{Chain, Link};
use super::log_store::StoredHardState;
use bytes::Bytes;
use prost::Message;
use slipher_common::{Error, ErrorKind, Result, fail_point};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The name in the directory.
pub(super) const FILE: &str = "witness";
const MAGIC: &[u8; 8] = b"slphwtns";
const FORMAT_VERSION: u32 = 1;
/// What disks write at once.
const BLOCK_BYTES: usize = 4096;
const BLOCKS: usize = 4;
const HEADER_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 16;
/// The file is for the user whose process this is.
const FILE_MODE: u32 = 0o600;

/// A place in the log, as it is stored. Frozen: fields are added, never renumbered.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct StoredPlace {
    #[prost(uint64, tag = "1")]
    pub(super) index: u64,
    #[prost(uint64, tag = "2")]
    pub(super) term: u64,
    /// The chain behind the last entry; the digest of a snapshot's body.
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) digest: Bytes,
}

/// What the log held when it was last durable. Frozen: fields are added, never renumbered.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Testimony {
    /// Grows with each testimony.
    #[prost(uint64, tag = "1")]
    pub(super) sequence: u64,
    /// How often the directory was opened.
    #[prost(uint64, tag = "2")]
    pub(super) boot: u64,
    #[prost(message, optional, tag = "3")]
    pub(super) hard_state: Option<StoredHardState>,
    #[prost(message, optional, tag = "4")]
    pub(super) checkpoint: Option<StoredPlace>,
    #[prost(message, optional, tag = "5")]
    pub(super) last: Option<StoredPlace>,
    /// The log is of the format before witnesses, and is being taken over.
    #[prost(bool, tag = "6")]
    pub(super) takes_over: bool,
}

impl Testimony {
    /// What a voter may not have forgotten.
    pub(super) fn hard_state(&self) -> StoredHardState {
        self.hard_state.unwrap_or_default()
    }

    /// The snapshot; with the digest of its body.
    pub(super) fn checkpoint(&self) -> Result<Link> {
        link(self.checkpoint.as_ref())
    }

    /// The last entry.
    pub(super) fn last(&self) -> Result<Link> {
        link(self.last.as_ref())
    }

    /// Whether nothing was ever written.
    pub(super) fn is_of_nothing(&self) -> bool {
        let empty = |place: &Option<StoredPlace>| place.as_ref().is_none_or(|place| place.index == 0);
        empty(&self.last) && empty(&self.checkpoint) && self.hard_state() == StoredHardState::default()
    }

    /// The same but for its number.
    pub(super) fn says_the_same_as(&self, other: &Self) -> bool {
        Self { sequence: 0, ..self.clone() } == Self { sequence: 0, ..other.clone() }
    }
}

fn link(place: Option<&StoredPlace>) -> Result<Link> {
    let Some(place) = place else { return Ok(Link::default()) };
    Ok(Link { index: place.index, term: place.term, chain: Chain::from_bytes(&place.digest)? })
}

/// A place as it is stored.
pub(super) fn to_stored(link: Link) -> StoredPlace {
    StoredPlace { index: link.index, term: link.term, digest: link.chain.to_bytes() }
}

/// The file.
#[derive(Debug)]
pub(super) struct Witness {
    file: File,
    path: PathBuf,
    latest: Testimony,
}

impl Witness {
    /// Makes the file, unless it is there already. After a crash it is whole, or not there.
    pub(super) fn create(directory: &Path, testimony: Testimony) -> Result<()> {
        let path = directory.join(FILE);
        let temporary = directory.join(format!("{FILE}.{}", std::process::id()));
        let block = encode(&testimony)?;
        let make = || -> std::io::Result<()> {
            let mut options = OpenOptions::new();
            let file = options.write(true).create(true).truncate(true).mode(FILE_MODE).open(&temporary)?;
            for number in 0..BLOCKS {
                file.write_all_at(&block, (number * BLOCK_BYTES) as u64)?;
            }
            file.sync_all()?;
            match fs::hard_link(&temporary, &path) {
                // Another process was faster; which of them goes on is decided by sled's lock.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                linked => linked?,
            }
            fs::remove_file(&temporary)?;
            File::open(directory)?.sync_all()
        };
        make().map_err(|error| Error::io(format!("writing \"{}\"", path.display()), &error))
    }

    /// Removes the file, where there is one.
    pub(super) fn remove(directory: &Path) -> Result<()> {
        let path = directory.join(FILE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(format!("removing \"{}\"", path.display()), &error))
            }
            _ => Ok(()),
        }
    }

    /// Opens the file; None where there is none. An error when none of its blocks is sound.
    pub(super) fn open(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(FILE);
        let doing = || format!("opening \"{}\"", path.display());
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(doing(), &error)),
        };
        let blocks = read_blocks(&path)?;
        let sound: Vec<Testimony> = blocks.iter().filter_map(|block| decode(block)).collect();
        let damaged = BLOCKS - sound.len();
        let Some(latest) = sound.into_iter().max_by_key(|testimony| testimony.sequence) else {
            return Err(Error::new(
                ErrorKind::DataCorrupted,
                format!("\"{}\" is damaged: none of its blocks is sound", path.display()),
            ));
        };
        if damaged > 0 {
            tracing::warn!(file = %path.display(), blocks = damaged, "damaged blocks of the witness are written anew");
        }
        Ok(Some(Self { file, path, latest }))
    }

    /// What it says.
    pub(super) fn latest(&self) -> &Testimony {
        &self.latest
    }

    /// Testifies, durably. The number is given here.
    pub(super) fn write(&mut self, testimony: Testimony) -> Result<()> {
        let testimony = Testimony { sequence: self.latest.sequence + 1, ..testimony };
        let block = encode(&testimony)?;
        let slot = testimony.sequence % 2;
        let doing = |error: std::io::Error| Error::io(format!("writing \"{}\"", self.path.display()), &error);
        fail_point::pass("witness.write")?;
        for number in [slot, slot + 2] {
            self.file.write_all_at(&block, number * BLOCK_BYTES as u64).map_err(doing)?;
        }
        self.file.sync_data().map_err(doing)?;
        self.latest = testimony;
        Ok(())
    }
}

/// How many blocks of a witness are sound, of how many; for people.
pub(super) fn count_sound(directory: &Path) -> Result<(usize, usize)> {
    let blocks = read_blocks(&directory.join(FILE))?;
    Ok((blocks.iter().filter(|block| decode(block).is_some()).count(), BLOCKS))
}

/// All blocks; what is missing of them is zeros.
fn read_blocks(path: &Path) -> Result<Vec<Vec<u8>>> {
    let mut bytes = fs::read(path).map_err(|error| Error::io(format!("reading \"{}\"", path.display()), &error))?;
    bytes.resize(BLOCKS * BLOCK_BYTES, 0);
    Ok(bytes.chunks(BLOCK_BYTES).map(<[u8]>::to_vec).collect())
}

/// A block.
pub(super) fn encode(testimony: &Testimony) -> Result<Vec<u8>> {
    let body = testimony.encode_to_vec();
    if body.len() > BLOCK_BYTES - HEADER_BYTES - CHECKSUM_BYTES {
        return Err(Error::internal(format!("writing the metadata's witness: {} bytes do not fit into a block", body.len())));
    }
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    block.extend_from_slice(MAGIC);
    block.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    block.extend_from_slice(&(body.len() as u32).to_le_bytes());
    block.extend_from_slice(&body);
    block.resize(BLOCK_BYTES - CHECKSUM_BYTES, 0);
    let checksum = xxhash_rust::xxh3::xxh3_128(&block);
    block.extend_from_slice(&checksum.to_le_bytes());
    Ok(block)
}

/// What a block says, if it is sound.
pub(super) fn decode(block: &[u8]) -> Option<Testimony> {
    let (content, checksum) = block.split_at_checked(BLOCK_BYTES - CHECKSUM_BYTES)?;
    if xxhash_rust::xxh3::xxh3_128(content).to_le_bytes()[..] != *checksum {
        return None;
    }
    let number = |at: usize| Some(u32::from_le_bytes(content.get(at..at + 4)?.try_into().ok()?));
    if !content.starts_with(MAGIC) || number(MAGIC.len())? != FORMAT_VERSION {
        return None;
    }
    let length = number(MAGIC.len() + 4)? as usize;
    Testimony::decode(content.get(HEADER_BYTES..HEADER_BYTES + length)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn testimony(index: u64) -> Testimony {
        let digest = Chain::digest_of(&index.to_le_bytes()).to_bytes();
        Testimony {
            sequence: 0,
            boot: 3,
            hard_state: Some(StoredHardState { term: 2, vote: 1, commit: index }),
            checkpoint: None,
            last: Some(StoredPlace { index, term: 2, digest }),
            takes_over: false,
        }
    }

    fn last_in(directory: &Path) -> Option<u64> {
        Witness::open(directory).ok().flatten().and_then(|witness| Some(witness.latest().last().ok()?.index))
    }

    /// One damaged block damages nothing; two of the newest testimony leave the one before; all four are an error.
    #[test]
    fn the_newest_sound_testimony_counts() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Witness::open(directory.path()).unwrap().is_none());
        Witness::create(directory.path(), Testimony::default()).unwrap();
        let mut witness = Witness::open(directory.path()).unwrap().unwrap();
        assert!(witness.latest().is_of_nothing());
        for index in 1..=5 {
            witness.write(testimony(index)).unwrap();
        }
        // One that is there is not replaced.
        Witness::create(directory.path(), Testimony::default()).unwrap();
        let path = directory.path().join(FILE);
        let sound = fs::read(&path).unwrap();
        assert_eq!((sound.len(), count_sound(directory.path()).unwrap()), (BLOCKS * BLOCK_BYTES, (4, 4)));
        for (blocks, expected) in [
            (vec![], Some(5)),
            (vec![1], Some(5)),
            (vec![3], Some(5)),
            (vec![0, 2], Some(5)),
            (vec![1, 3], Some(4)),
            (vec![0, 1, 3], Some(4)),
            (vec![0, 1, 2, 3], None),
        ] {
            for place in [0, 9, 17, 3000, BLOCK_BYTES - 1] {
                let mut damaged = sound.clone();
                blocks.iter().for_each(|block| damaged[block * BLOCK_BYTES + place] ^= 4);
                fs::write(&path, &damaged).unwrap();
                assert_eq!(last_in(directory.path()), expected, "{blocks:?} at {place}");
            }
        }
        // Cut: the first block is of the testimony before, the second one of the last.
        for (length, expected) in [(0, None), (BLOCK_BYTES, Some(4)), (2 * BLOCK_BYTES, Some(5)), (BLOCK_BYTES - 1, None)] {
            fs::write(&path, &sound[..length]).unwrap();
            assert_eq!(last_in(directory.path()), expected, "{length} bytes");
        }
    }
}

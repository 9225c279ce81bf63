//! The log store on sled.
//!
//! One tree, so that every call is one atomic batch. Values are cut into chunks that stay inside sled's own log, because
//! sled does not sync the side files it keeps larger values in. Each chunk has a checksum over its key and its bytes.
//!
//! | key | value |
//! |---|---|
//! | `m/format` | version of this layout, u32 little endian |
//! | `m/hard_state` | [`StoredHardState`] |
//! | `m/snapshot` | [`SnapshotHeader`] |
//! | `l` index chunk | chunk of a [`LogEntry`]; numbers big endian, u64 and u32 |
//! | `s` index chunk | chunk of a snapshot's body |

use super::log_store::{LogEntry, LogStore, StoredHardState, StoredSnapshot, check_append, check_snapshot, missing};
use bytes::Bytes;
use prost::Message;
use slipher_common::fail_point;
use slipher_common::{Error, ErrorKind, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

/// Version of the layout above.
const FORMAT_VERSION: u32 = 1;
/// Bytes of a chunk: sixteen of them in one sled page stay below the size at which sled moves a page to a side file.
const CHUNK_BYTES: usize = 4 * 1024;
/// Memory that sled may use to cache pages: the log is read only when it is opened.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
const CHECKSUM_BYTES: usize = 8;

const KEY_FORMAT: &[u8] = b"m/format";
const KEY_HARD_STATE: &[u8] = b"m/hard_state";
const KEY_SNAPSHOT: &[u8] = b"m/snapshot";
const PREFIX_LOG: u8 = b'l';
const PREFIX_SNAPSHOT: u8 = b's';
const TREE: &[u8] = b"raft";

/// What is known of the snapshot beside its body. Frozen: fields are added, never renumbered.
#[derive(Clone, PartialEq, prost::Message)]
struct SnapshotHeader {
    #[prost(uint64, tag = "1")]
    index: u64,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(uint64, repeated, tag = "3")]
    voters: Vec<u64>,
    #[prost(uint64, tag = "4")]
    bytes: u64,
}

/// A log store in a directory.
pub(super) struct SledStore {
    directory: PathBuf,
    tree: sled::Tree,
    database: sled::Db,
    /// sled's data file, to sync it: on Linux sled's flush uses sync_file_range, which leaves out the file's length and
    /// the disk's own cache.
    data: File,
    first_index: u64,
    last_index: u64,
}

/// A key with its new value; `None` removes it.
type Change = (Vec<u8>, Option<Vec<u8>>);

impl std::fmt::Debug for SledStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledStore").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl SledStore {
    /// Opens the store in `directory`, which is made if it is not there.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        let doing = format!("opening the metadata in \"{}\"", directory.display());
        std::fs::create_dir_all(directory).map_err(|error| Error::io(&doing, &error))?;
        let database = sled::Config::new()
            .path(directory)
            .cache_capacity(CACHE_BYTES)
            // Nothing is written behind our back: `flush` says when.
            .flush_every_ms(None)
            .open()
            .map_err(|error| open_error(&doing, &error))?;
        let tree = database.open_tree(TREE).map_err(|error| store_error(&doing, &error))?;
        let data = File::open(directory.join("db")).map_err(|error| Error::io(&doing, &error))?;
        let mut store = Self { directory: directory.to_owned(), tree, database, data, first_index: 1, last_index: 0 };
        store.check_format()?;
        let header = store.header()?;
        store.first_index = header.map_or(0, |header| header.index) + 1;
        store.last_index = store.find_last_index()?;
        Ok(store)
    }

    fn check_format(&mut self) -> Result<()> {
        let doing = format!("opening the metadata in \"{}\"", self.directory.display());
        let Some(stored) = self.read(KEY_FORMAT)? else {
            if !self.tree.is_empty() {
                return Err(Error::new(ErrorKind::DataCorrupted, format!("{doing}: it holds no format version")));
            }
            self.write(vec![(KEY_FORMAT.to_vec(), Some(FORMAT_VERSION.to_le_bytes().to_vec()))])?;
            self.flush()?;
            // The files themselves must survive too.
            return File::open(&self.directory).and_then(|file| file.sync_all()).map_err(|error| Error::io(&doing, &error));
        };
        if stored[..] != FORMAT_VERSION.to_le_bytes()[..] {
            let found = <[u8; 4]>::try_from(&stored[..]).map(u32::from_le_bytes).unwrap_or_default();
            return Err(Error::new(
                ErrorKind::Config,
                format!("{doing}: it is of format {found}, this release reads {FORMAT_VERSION}"),
            )
            .with_hint("start the release that wrote it"));
        }
        Ok(())
    }

    fn find_last_index(&self) -> Result<u64> {
        let last = self.tree.scan_prefix([PREFIX_LOG]).next_back();
        match last.transpose().map_err(|error| store_error("reading the metadata log", &error))? {
            Some((key, _)) => Ok(parse_key(&key).ok_or_else(|| damaged(&key, "its key is malformed"))?.0),
            None => Ok(self.first_index - 1),
        }
    }

    fn header(&self) -> Result<Option<SnapshotHeader>> {
        self.read(KEY_SNAPSHOT)?.map(|bytes| decode::<SnapshotHeader>(KEY_SNAPSHOT, &bytes)).transpose()
    }

    /// A value without its checksum.
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let found = self.tree.get(key).map_err(|error| store_error(&format!("reading {}", name_of(key)), &error))?;
        found.map(|value| unseal(key, &value).map(<[u8]>::to_vec)).transpose()
    }

    /// Writes (`Some`) and removes (`None`) keys, all or none; the last one wins where a key stands twice.
    fn write(&mut self, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<()> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => {
                    let sealed = seal(&key, &value);
                    batch.insert(key, sealed);
                }
                None => batch.remove(key),
            }
        }
        let written = self.tree.apply_batch(batch);
        written.map_err(|error| store_error(&format!("writing the metadata in \"{}\"", self.directory.display()), &error))
    }

    /// Removals of all chunks of one kind with an index in `range`.
    fn removals(&self, prefix: u8, range: std::ops::RangeInclusive<u64>) -> Result<Vec<Change>> {
        let keys = self.tree.range(chunk_key(prefix, *range.start(), 0)..=chunk_key(prefix, *range.end(), u32::MAX)).keys();
        keys.map(|key| Ok((key.map_err(|error| store_error("reading the metadata log", &error))?.to_vec(), None))).collect()
    }

    /// The chunks of one index, joined.
    fn read_chunks(&self, prefix: u8, index: u64) -> Result<Vec<u8>> {
        let mut joined = Vec::new();
        let chunks = self.tree.range(chunk_key(prefix, index, 0)..=chunk_key(prefix, index, u32::MAX));
        for (expected, found) in chunks.enumerate() {
            let (key, value) = found.map_err(|error| store_error("reading the metadata log", &error))?;
            if parse_key(&key).map(|(_, chunk)| chunk as usize) != Some(expected) {
                return Err(damaged(&key, "a chunk before it is missing"));
            }
            joined.extend_from_slice(unseal(&key, &value)?);
        }
        Ok(joined)
    }

    fn read_entry(&self, index: u64) -> Result<LogEntry> {
        let key = chunk_key(PREFIX_LOG, index, 0);
        let entry = decode::<LogEntry>(&key, &self.read_chunks(PREFIX_LOG, index)?)?;
        if entry.index != index {
            return Err(damaged(&key, &format!("it holds entry {}", entry.index)));
        }
        Ok(entry)
    }

    fn store_snapshot(&mut self, snapshot: &StoredSnapshot, mut with: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<()> {
        // Leftovers of a snapshot whose header was never written.
        let leftovers = self.removals(PREFIX_SNAPSHOT, self.first_index..=u64::MAX)?;
        self.write(leftovers)?;
        // The body is not in force before its header, so it need not be part of the atomic write.
        for (key, value) in chunks_of(PREFIX_SNAPSHOT, snapshot.index, &snapshot.data) {
            self.write(vec![(key, Some(value))])?;
        }
        let header = SnapshotHeader {
            index: snapshot.index,
            term: snapshot.term,
            voters: snapshot.voters.clone(),
            bytes: snapshot.data.len() as u64,
        };
        with.extend(self.removals(PREFIX_SNAPSHOT, 0..=snapshot.index - 1)?);
        with.push((KEY_SNAPSHOT.to_vec(), Some(header.encode_to_vec())));
        self.write(with)?;
        self.first_index = snapshot.index + 1;
        Ok(())
    }
}

impl LogStore for SledStore {
    fn hard_state(&self) -> Result<StoredHardState> {
        let stored = self.read(KEY_HARD_STATE)?;
        stored.map_or(Ok(StoredHardState::default()), |bytes| decode(KEY_HARD_STATE, &bytes))
    }

    fn first_index(&self) -> u64 {
        self.first_index
    }

    fn last_index(&self) -> u64 {
        self.last_index
    }

    fn entries(&self, low: u64, high: u64) -> Result<Vec<LogEntry>> {
        if low < self.first_index || high > self.last_index + 1 {
            return Err(missing(low, high, self.first_index, self.last_index));
        }
        (low..high).map(|index| self.read_entry(index)).collect()
    }

    fn append(&mut self, entries: &[LogEntry], hard_state: Option<&StoredHardState>) -> Result<()> {
        check_append(entries, self.first_index, self.last_index)?;
        fail_point::pass("log.append")?;
        let mut changes = match entries.first() {
            Some(first) if first.index <= self.last_index => self.removals(PREFIX_LOG, first.index..=u64::MAX)?,
            _ => Vec::new(),
        };
        for entry in entries {
            let chunks = chunks_of(PREFIX_LOG, entry.index, &entry.encode_to_vec());
            changes.extend(chunks.into_iter().map(|(key, value)| (key, Some(value))));
        }
        changes.extend(hard_state.map(|hard_state| (KEY_HARD_STATE.to_vec(), Some(hard_state.encode_to_vec()))));
        self.write(changes)?;
        self.last_index = entries.last().map_or(self.last_index, |last| last.index);
        Ok(())
    }

    fn snapshot(&self) -> Result<Option<StoredSnapshot>> {
        let Some(header) = self.header()? else {
            return Ok(None);
        };
        let data = self.read_chunks(PREFIX_SNAPSHOT, header.index)?;
        if data.len() as u64 != header.bytes {
            return Err(damaged(KEY_SNAPSHOT, &format!("its body has {} bytes instead of {}", data.len(), header.bytes)));
        }
        Ok(Some(StoredSnapshot { index: header.index, term: header.term, voters: header.voters, data: Bytes::from(data) }))
    }

    fn compact(&mut self, snapshot: &StoredSnapshot) -> Result<()> {
        check_snapshot(snapshot, self.first_index)?;
        let removals = self.removals(PREFIX_LOG, 0..=snapshot.index)?;
        self.store_snapshot(snapshot, removals)?;
        self.last_index = self.last_index.max(snapshot.index);
        Ok(())
    }

    fn install(&mut self, snapshot: &StoredSnapshot, hard_state: &StoredHardState) -> Result<()> {
        check_snapshot(snapshot, self.first_index)?;
        let mut changes = self.removals(PREFIX_LOG, 0..=u64::MAX)?;
        changes.push((KEY_HARD_STATE.to_vec(), Some(hard_state.encode_to_vec())));
        self.store_snapshot(snapshot, changes)?;
        self.last_index = snapshot.index;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let doing = || format!("syncing the metadata in \"{}\"", self.directory.display());
        fail_point::pass("log.flush")?;
        self.database.flush().map_err(|error| store_error(&doing(), &error))?;
        self.data.sync_data().map_err(|error| Error::io(doing(), &error))?;
        fail_point::synced_directory(&self.directory).map_err(|error| Error::io(doing(), &error))?;
        fail_point::pass("log.flushed")
    }
}

fn chunk_key(prefix: u8, index: u64, chunk: u32) -> Vec<u8> {
    [&[prefix][..], &index.to_be_bytes(), &chunk.to_be_bytes()].concat()
}

/// At least one chunk, so that an empty value is there.
fn chunks_of(prefix: u8, index: u64, value: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    if value.is_empty() {
        return vec![(chunk_key(prefix, index, 0), Vec::new())];
    }
    let numbered = value.chunks(CHUNK_BYTES).enumerate();
    numbered.map(|(chunk, bytes)| (chunk_key(prefix, index, chunk as u32), bytes.to_vec())).collect()
}

fn checksum(key: &[u8], value: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = Xxh3::new();
    hasher.update(key);
    hasher.update(value);
    hasher.digest().to_le_bytes()
}

fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    [&checksum(key, value)[..], value].concat()
}

fn unseal<'a>(key: &[u8], sealed: &'a [u8]) -> Result<&'a [u8]> {
    match sealed.split_at_checked(CHECKSUM_BYTES) {
        Some((stored, value)) if stored == checksum(key, value) => Ok(value),
        _ => Err(damaged(key, "its checksum is wrong")),
    }
}

fn decode<M: Message + Default>(key: &[u8], bytes: &[u8]) -> Result<M> {
    M::decode(bytes).map_err(|error| damaged(key, &error.to_string()))
}

/// A key as people read it.
fn name_of(key: &[u8]) -> String {
    match (key.first(), parse_key(key)) {
        (Some(&PREFIX_LOG), Some((index, chunk))) => format!("metadata log entry {index}, chunk {chunk}"),
        (Some(&PREFIX_SNAPSHOT), Some((index, chunk))) => format!("metadata snapshot {index}, chunk {chunk}"),
        _ => format!("metadata key \"{}\"", String::from_utf8_lossy(key)),
    }
}

fn parse_key(key: &[u8]) -> Option<(u64, u32)> {
    let (index, chunk) = key.get(1..)?.split_at_checked(8)?;
    Some((u64::from_be_bytes(index.try_into().ok()?), u32::from_be_bytes(chunk.try_into().ok()?)))
}

fn damaged(key: &[u8], why: &str) -> Error {
    Error::new(ErrorKind::DataCorrupted, format!("reading {}: {why}", name_of(key)))
        .with_hint("restore the leader's data directory, or let it join the group anew")
}

fn store_error(doing: &str, error: &sled::Error) -> Error {
    match error {
        sled::Error::Io(error) => Error::io(doing, error),
        sled::Error::Corruption { .. } => Error::new(ErrorKind::DataCorrupted, format!("{doing}: {error}")),
        _ => Error::new(ErrorKind::Io, format!("{doing}: {error}")),
    }
}

fn open_error(doing: &str, error: &sled::Error) -> Error {
    // sled has no variant for it.
    if error.to_string().contains("could not acquire lock") {
        return Error::new(ErrorKind::CannotConnectNow, format!("{doing}: another process uses it"))
            .with_hint("stop the other leader, or give this one a data directory of its own");
    }
    store_error(doing, error)
}

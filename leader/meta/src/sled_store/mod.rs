//! The log store on sled, with a witness beside it.
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
//!
//! The order of a flush is the point: sled's data are durable before the witness says that they are there. Before the log becomes shorter
//! (another leader's entries in place of the last ones, a snapshot in place of all) the witness is lowered first. So whenever the machine
//! stops, the log holds at least what the witness says; if it does not, it has lost something ([`opening`]).

mod files;
mod opening;

pub(super) use opening::name_damage;

use super::chain::{Chain, Link};
use super::log_store::{
    LogEntry, LogStore, SnapshotFiles as _, SnapshotPlace, StoredHardState, StoredSnapshot, check_append, check_snapshot, missing,
};
use super::witness::{Testimony, Witness, to_stored};
use bytes::Bytes;
use files::{SledBody, SledFiles};
use prost::Message;
use slipher_common::fail_point;
use slipher_common::{Error, ErrorKind, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use xxhash_rust::xxh3::Xxh3;

/// Version of the layout above: 2 has chains and a witness.
const FORMAT_VERSION: u32 = 2;
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
    /// The chain behind the last entry in it.
    #[prost(bytes = "bytes", tag = "6")]
    chain: Bytes,
    /// XXH3-128 of its body.
    #[prost(bytes = "bytes", tag = "9")]
    digest: Bytes,
}

impl SnapshotHeader {
    /// Where the log goes on.
    fn link(&self) -> Result<Link> {
        Ok(Link { index: self.index, term: self.term, chain: Chain::from_bytes(&self.chain)? })
    }

    /// Itself, for the witness.
    fn checkpoint(&self) -> Result<Link> {
        Ok(Link { index: self.index, term: self.term, chain: Chain::from_bytes(&self.digest)? })
    }
}

/// A log store in a directory.
pub(super) struct SledStore {
    directory: PathBuf,
    tree: sled::Tree,
    database: sled::Db,
    /// sled's data file, to sync it: on Linux sled's flush uses sync_file_range, which leaves out the file's length and
    /// the disk's own cache.
    data: File,
    /// There once it is open.
    witness: Option<Witness>,
    boot: u64,
    hard_state: StoredHardState,
    /// The snapshot, with the digest of its body.
    checkpoint: Link,
    /// The snapshot, with the chain behind its last entry.
    before_first: Link,
    /// The last entry.
    last: Link,
    /// The entries, as far as they were read when the log was opened and nobody has taken them.
    opened: Vec<LogEntry>,
}

/// A key with its new value; `None` removes it.
type Change = (Vec<u8>, Option<Vec<u8>>);

impl std::fmt::Debug for SledStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledStore").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl SledStore {
    fn find_last_index(&self) -> Result<u64> {
        let last = self.tree.scan_prefix([PREFIX_LOG]).next_back();
        match last.transpose().map_err(|error| store_error("reading the metadata log", &error))? {
            Some((key, _)) => Ok(parse_key(&key).ok_or_else(|| damaged(&key, "its key is malformed"))?.0),
            None => Ok(0),
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
        self.each_chunk(prefix, index, &mut |chunk| joined.extend_from_slice(chunk))?;
        Ok(joined)
    }

    /// The chunks of one index, one after the other.
    fn each_chunk(&self, prefix: u8, index: u64, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let chunks = self.tree.range(chunk_key(prefix, index, 0)..=chunk_key(prefix, index, u32::MAX));
        for (expected, found) in chunks.enumerate() {
            let (key, value) = found.map_err(|error| store_error("reading the metadata log", &error))?;
            if parse_key(&key).map(|(_, chunk)| chunk as usize) != Some(expected) {
                return Err(damaged(&key, "a chunk before it is missing"));
            }
            take(unseal(&key, &value)?);
        }
        Ok(())
    }

    fn read_entry(&self, index: u64) -> Result<LogEntry> {
        let key = chunk_key(PREFIX_LOG, index, 0);
        let bytes = self.read_chunks(PREFIX_LOG, index)?;
        if bytes.is_empty() {
            return Err(damaged(&key, "it is missing"));
        }
        let entry = decode::<LogEntry>(&key, &bytes)?;
        if entry.index != index {
            return Err(damaged(&key, &format!("it holds entry {}", entry.index)));
        }
        Ok(entry)
    }

    /// The entry that follows a place, without its chain, and its own place.
    fn read_chained(&self, before: Link) -> Result<(LogEntry, Link)> {
        let mut entry = self.read_entry(before.index + 1)?;
        let link = before.to(&entry);
        if entry.chain != link.chain.to_bytes() {
            return Err(damaged(&chunk_key(PREFIX_LOG, entry.index, 0), "it does not follow the entry before it"));
        }
        entry.chain = Bytes::new();
        Ok((entry, link))
    }

    /// The place of an entry, as its own text says.
    fn link_at(&self, index: u64) -> Result<Link> {
        if index == self.last.index {
            return Ok(self.last);
        }
        if index == self.before_first.index {
            return Ok(self.before_first);
        }
        let entry = self.read_entry(index)?;
        Ok(Link { index, term: entry.term, chain: Chain::from_bytes(&entry.chain)? })
    }

    /// What may be testified now: all of it must be durable.
    fn testimony(&self, last: Link) -> Testimony {
        Testimony {
            sequence: 0,
            boot: self.boot,
            hard_state: Some(self.hard_state),
            checkpoint: Some(to_stored(self.checkpoint)),
            last: Some(to_stored(last)),
            takes_over: false,
        }
    }

    fn witness_mut(&mut self) -> Result<&mut Witness> {
        self.witness.as_mut().ok_or_else(|| Error::internal("writing the metadata's witness: there is none"))
    }

    /// Before entries behind `index` go: the witness shall not miss them.
    fn lower_witness(&mut self, index: u64) -> Result<()> {
        let testified = self.witness_mut()?.latest().clone();
        if testified.last()?.index <= index {
            return Ok(());
        }
        // Only what it says of the last entry changes: nothing else is known to be durable.
        let lowered = Testimony { last: Some(to_stored(self.link_at(index)?)), ..testified };
        self.witness_mut()?.write(lowered)?;
        fail_point::pass("witness.lowered")
    }

    fn sync_log(&self) -> Result<()> {
        let doing = || format!("syncing the metadata in \"{}\"", self.directory.display());
        fail_point::pass("log.flush")?;
        self.database.flush().map_err(|error| store_error(&doing(), &error))?;
        self.data.sync_data().map_err(|error| Error::io(doing(), &error))?;
        fail_point::synced_directory(&self.directory).map_err(|error| Error::io(doing(), &error))
    }

    /// Puts a snapshot in force, and with it what else changes.
    fn put_in_force(&mut self, header: &SnapshotHeader, mut with: Vec<Change>) -> Result<()> {
        let (before_first, checkpoint) = (header.link()?, header.checkpoint()?);
        with.push((KEY_SNAPSHOT.to_vec(), Some(header.encode_to_vec())));
        self.write(with)?;
        (self.before_first, self.checkpoint) = (before_first, checkpoint);
        Ok(())
    }
}

impl LogStore for SledStore {
    type Files = SledFiles;

    fn snapshot_files(&self) -> Result<SledFiles> {
        let data = self.data.try_clone();
        let data = data.map_err(|error| Error::io(format!("opening \"{}\"", self.directory.join("db").display()), &error))?;
        let in_force = self.before_first.index;
        Ok(SledFiles { directory: self.directory.clone(), tree: self.tree.clone(), data, in_force })
    }

    fn hard_state(&self) -> Result<StoredHardState> {
        Ok(self.hard_state)
    }

    fn first_index(&self) -> u64 {
        self.before_first.index + 1
    }

    fn last_index(&self) -> u64 {
        self.last.index
    }

    fn entries(&self, low: u64, high: u64) -> Result<Vec<LogEntry>> {
        if low < self.first_index() || high > self.last.index + 1 {
            return Err(missing(low, high, self.first_index(), self.last.index));
        }
        let mut link = self.link_at(low - 1)?;
        let mut entries = Vec::new();
        while link.index + 1 < high {
            let (entry, next) = self.read_chained(link)?;
            entries.push(entry);
            link = next;
        }
        Ok(entries)
    }

    fn take_entries(&mut self) -> Result<Vec<LogEntry>> {
        let opened = std::mem::take(&mut self.opened);
        let are_all = opened.len() as u64 == self.last.index - self.before_first.index;
        if are_all && opened.first().is_none_or(|first| first.index == self.first_index()) {
            return Ok(opened);
        }
        self.entries(self.first_index(), self.last.index + 1)
    }

    fn append(&mut self, entries: &[LogEntry], hard_state: Option<&StoredHardState>) -> Result<()> {
        self.opened = Vec::new();
        check_append(entries, self.first_index(), self.last.index)?;
        fail_point::pass("log.append")?;
        let (mut link, mut changes) = (self.last, Vec::new());
        if let Some(first) = entries.first().filter(|first| first.index <= self.last.index) {
            link = self.link_at(first.index - 1)?;
            self.lower_witness(link.index)?;
            changes = self.removals(PREFIX_LOG, first.index..=u64::MAX)?;
        }
        for entry in entries {
            link = link.to(entry);
            let chained = LogEntry { chain: link.chain.to_bytes(), ..entry.clone() };
            let chunks = chunks_of(PREFIX_LOG, entry.index, &chained.encode_to_vec());
            changes.extend(chunks.into_iter().map(|(key, value)| (key, Some(value))));
        }
        changes.extend(hard_state.map(|hard_state| (KEY_HARD_STATE.to_vec(), Some(hard_state.encode_to_vec()))));
        self.write(changes)?;
        self.last = link;
        self.hard_state = hard_state.copied().unwrap_or(self.hard_state);
        Ok(())
    }

    fn read_snapshot(&self, take: &mut dyn FnMut(&[u8])) -> Result<Option<SnapshotPlace>> {
        let Some(header) = self.header()? else {
            return Ok(None);
        };
        let (mut bytes, mut hasher) = (0, Xxh3::new());
        self.each_chunk(PREFIX_SNAPSHOT, header.index, &mut |chunk| {
            bytes += chunk.len() as u64;
            hasher.update(chunk);
            take(chunk);
        })?;
        if bytes != header.bytes {
            return Err(damaged(KEY_SNAPSHOT, &format!("its body has {bytes} bytes instead of {}", header.bytes)));
        }
        if Chain::from_digest(hasher.digest128()).to_bytes() != header.digest {
            return Err(damaged(KEY_SNAPSHOT, "its body has another digest"));
        }
        Ok(Some(SnapshotPlace { index: header.index, term: header.term, voters: header.voters }))
    }

    fn compact(&mut self, snapshot: &SnapshotPlace, body: SledBody) -> Result<()> {
        check_snapshot(snapshot.index, self.first_index())?;
        let link = self.link_at(snapshot.index)?;
        if link.term != snapshot.term {
            let message = format!("storing the metadata snapshot at {}: its term is {}", snapshot.index, snapshot.term);
            return Err(Error::internal(format!("{message}, the entry's {}", link.term)));
        }
        let (SnapshotPlace { index, term, voters }, SledBody { bytes, digest }) = (snapshot.clone(), body);
        let (chain, digest) = (link.chain.to_bytes(), digest.to_bytes());
        // The entries in it, and the body before, are cleaned up later.
        self.put_in_force(&SnapshotHeader { index, term, voters, bytes, chain, digest }, Vec::new())
    }

    fn install(&mut self, snapshot: &StoredSnapshot, hard_state: &StoredHardState) -> Result<()> {
        check_snapshot(snapshot.index, self.first_index())?;
        // Committed entries are in the snapshot; others may go.
        self.lower_witness(self.hard_state.commit.clamp(self.before_first.index, self.last.index))?;
        let body = self.snapshot_files()?.write_body(
            snapshot.index,
            &mut std::iter::once(snapshot.data.to_vec()),
            &AtomicBool::new(false),
        )?;
        let mut changes = self.removals(PREFIX_LOG, 0..=u64::MAX)?;
        changes.push((KEY_HARD_STATE.to_vec(), Some(hard_state.encode_to_vec())));
        let chain = Chain::of_snapshot(snapshot.index, snapshot.term, body.digest);
        let StoredSnapshot { index, term, voters, .. } = snapshot.clone();
        let (chain, digest) = (chain.to_bytes(), body.digest.to_bytes());
        self.put_in_force(&SnapshotHeader { index, term, voters, bytes: body.bytes, chain, digest }, changes)?;
        self.last = self.before_first;
        self.hard_state = *hard_state;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.sync_log()?;
        let testimony = self.testimony(self.last);
        let witness = self.witness_mut()?;
        if !testimony.says_the_same_as(witness.latest()) {
            witness.write(testimony)?;
            fail_point::synced_directory(&self.directory)
                .map_err(|error| Error::io(format!("syncing \"{}\"", self.directory.display()), &error))?;
        }
        fail_point::pass("log.flushed")
    }

    fn boot(&self) -> u64 {
        self.boot
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
        .with_hint("restore the leader's data directory")
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
    match error {
        // What it says of sizes and versions is in a file of its own, which no other release of ours has written differently.
        sled::Error::Unsupported(why) => {
            Error::new(ErrorKind::DataCorrupted, "its file \"conf\" is damaged").with_detail(why.clone())
        }
        _ => store_error(doing, error),
    }
}

//! Logs that have lost something: damaged on purpose, in every file and in every way a disk may.
//!
//! `SLIPHER_DAMAGE_TRIALS=300` damages each kind of file so often; `SLIPHER_DAMAGE_SEED` in other places.

use super::*;
use crate::driver::{MetaOptions, open_replica};
use crate::log_store::LogEntry;
use crate::witness;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use slipher_proto::meta as proto;
use std::collections::BTreeMap;
use std::fs;

/// Damages of each kind of file in every run.
const TRIALS_DEFAULT: u64 = 12;
const PAGE_BYTES: usize = 4096;

fn entry(index: u64, term: u64, data: &str) -> LogEntry {
    LogEntry { index, term, kind: 0, data: Bytes::copy_from_slice(data.as_bytes()), context: Bytes::new(), chain: Bytes::new() }
}

fn hard_state(term: u64, commit: u64) -> StoredHardState {
    StoredHardState { term, vote: 1, commit }
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for found in fs::read_dir(from).unwrap() {
        let found = found.unwrap();
        if found.file_type().unwrap().is_file() {
            fs::copy(found.path(), to.join(found.file_name())).unwrap();
        }
    }
}

/// An error that names the directory, says what was found, and what to do.
fn refused(directory: &Path) -> Error {
    let error = SledStore::open(directory).unwrap_err();
    assert_eq!(error.kind, ErrorKind::DataCorrupted, "{error}");
    assert!(error.message.contains(&directory.display().to_string()), "{error}");
    assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("slipher admin check")), "{error:?}");
    error
}

/// A log with a snapshot at 3 and entries to 6, all durable.
fn six_entries(directory: &Path) -> SledStore {
    let mut store = SledStore::open(directory).unwrap();
    for index in 1..=6 {
        store.append(&[entry(index, 2, "some data")], Some(&hard_state(2, index - 1))).unwrap();
        store.flush().unwrap();
    }
    let body = store.snapshot_files().unwrap().write_body(3, &mut std::iter::once(vec![7; 10_000]), &AtomicBool::new(false));
    store.compact(&SnapshotPlace { index: 3, term: 2, voters: vec![1] }, body.unwrap()).unwrap();
    store.flush().unwrap();
    store
}

/// What is done to one entry of a log, given its key.
type Change<'a> = &'a dyn Fn(&mut SledStore, Vec<u8>);

/// Whatever is taken out of a log below the witness is missed; what was never promised may be torn.
#[test]
fn what_is_missing_below_the_witness_is_refused_and_what_is_above_is_cut() {
    let (base, trial) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut store = six_entries(base.path());
    // Not flushed, so that the witness says 6.
    store.append(&[entry(7, 2, "more"), entry(8, 2, "more")], None).unwrap();
    store.database.flush().unwrap();
    drop(store);
    let damaged = |index: u64, change: &dyn Fn(&mut SledStore, Vec<u8>)| {
        copy(base.path(), trial.path());
        let mut store = SledStore::attach(trial.path()).unwrap();
        change(&mut store, chunk_key(PREFIX_LOG, index, 0));
        store.database.flush().unwrap();
        drop(store);
    };
    let remove = |store: &mut SledStore, key: Vec<u8>| store.write(vec![(key, None)]).unwrap();
    let other = |store: &mut SledStore, key: Vec<u8>| {
        let mut entry = store.read_entry(parse_key(&key).unwrap().0).unwrap();
        entry.data = Bytes::from_static(b"other data");
        store.write(vec![(key, Some(entry.encode_to_vec()))]).unwrap();
    };
    let cut = |store: &mut SledStore, key: Vec<u8>| {
        let index = parse_key(&key).unwrap().0;
        let removals = store.removals(PREFIX_LOG, index..=u64::MAX).unwrap();
        store.write(removals).unwrap();
    };
    let changes: [Change<'_>; 3] = [&remove, &other, &cut];
    for change in changes {
        for index in 4..=6 {
            damaged(index, change);
            let error = refused(trial.path());
            assert!(error.message.contains("db") || error.message.contains("metadata log entry"), "{error}");
            // It does not help to try again.
            refused(trial.path());
        }
        for index in 7..=8 {
            damaged(index, change);
            assert_eq!(SledStore::open(trial.path()).unwrap().last_index(), index - 1);
            assert_eq!(SledStore::open(trial.path()).unwrap().last_index(), index - 1);
        }
    }
    for (key, name) in [(KEY_SNAPSHOT, "snapshot"), (KEY_FORMAT, "format"), (KEY_HARD_STATE, "commit index")] {
        damaged(1, &|store, _| store.write(vec![(key.to_vec(), None)]).unwrap());
        let error = refused(trial.path());
        assert!(format!("{error:?}").contains(name), "{error:?}");
    }
    // A snapshot's body is read when the replica is made of it.
    damaged(1, &|store, _| store.write(vec![(chunk_key(PREFIX_SNAPSHOT, 3, 1), Some(vec![8; CHUNK_BYTES]))]).unwrap());
    let store = SledStore::open(trial.path()).unwrap();
    assert!(store.snapshot().unwrap_err().message.contains("digest"));
}

#[test]
fn a_log_without_its_witness_is_refused_and_loss_can_be_accepted() {
    let directory = tempfile::tempdir().unwrap();
    drop(six_entries(directory.path()));
    let path = directory.path().join(witness::FILE);
    let sound = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(refused(directory.path()).message.contains("witness"));
    fs::write(&path, b"").unwrap();
    assert!(refused(directory.path()).message.contains("witness"));
    fs::write(&path, &sound).unwrap();
    assert_eq!(SledStore::open(directory.path()).unwrap().last_index(), 6);
    // The log is gone instead.
    let moved = directory.path().join("moved");
    fs::rename(directory.path().join("db"), &moved).unwrap();
    assert!(refused(directory.path()).message.contains("\"db\" is missing"));
    fs::rename(moved, directory.path().join("db")).unwrap();
    // Its end is gone.
    let mut store = SledStore::attach(directory.path()).unwrap();
    let removals = store.removals(PREFIX_LOG, 5..=5).unwrap();
    store.write(removals).unwrap();
    store.database.flush().unwrap();
    drop(store);
    assert!(refused(directory.path()).message.contains("entry 5"));
    assert_eq!(SledStore::accept_loss(directory.path()).unwrap().index, 4);
    let store = SledStore::open(directory.path()).unwrap();
    assert_eq!((store.last_index(), store.hard_state().unwrap()), (4, StoredHardState { term: 2, vote: 0, commit: 4 }));
    assert!(store.snapshot().unwrap().is_some());
}

/// Whoever stops between the steps of making a log shorter finds one that the witness does not miss.
#[test]
fn a_log_that_gets_shorter_is_not_missed_whenever_the_machine_stops() {
    let (base, trial) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut store = six_entries(base.path());
    let witness_of = |directory: &Path| Witness::open(directory).unwrap().unwrap().latest().last().unwrap().index;
    let before = tempfile::tempdir().unwrap();
    copy(base.path(), before.path());
    // Another leader's entry in place of the last one, which was not committed: sled has it, nothing was flushed.
    store.append(&[entry(6, 3, "another leader's")], Some(&hard_state(3, 5))).unwrap();
    assert_eq!(witness_of(base.path()), 5);
    for has_new_log in [false, true] {
        copy(before.path(), trial.path());
        if has_new_log {
            store.database.flush().unwrap();
            copy(base.path(), trial.path());
        }
        fs::copy(base.path().join(witness::FILE), trial.path().join(witness::FILE)).unwrap();
        let store = SledStore::open(trial.path()).unwrap();
        assert_eq!(store.entries(6, 7).unwrap()[0].term, if has_new_log { 3 } else { 2 });
    }
    store.flush().unwrap();
    assert_eq!(witness_of(base.path()), 6);
    // The log before does not pass any more.
    let newer = fs::read(base.path().join(witness::FILE)).unwrap();
    copy(before.path(), trial.path());
    fs::write(trial.path().join(witness::FILE), newer).unwrap();
    refused(trial.path());

    // A snapshot of another leader's in place of everything.
    let installed = StoredSnapshot { index: 9, term: 3, voters: vec![1], data: Bytes::from_static(b"state") };
    copy(base.path(), before.path());
    store.install(&installed, &hard_state(3, 9)).unwrap();
    assert_eq!(witness_of(base.path()), 5);
    copy(before.path(), trial.path());
    fs::copy(base.path().join(witness::FILE), trial.path().join(witness::FILE)).unwrap();
    assert_eq!(SledStore::open(trial.path()).unwrap().last_index(), 6);
    store.flush().unwrap();
    drop(store);
    assert_eq!(SledStore::open(base.path()).unwrap().last_index(), 9);
}

#[test]
fn every_start_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    for boot in 1..=4 {
        assert_eq!(SledStore::open(directory.path()).unwrap().boot(), boot);
    }
    let store = six_entries(directory.path());
    assert_eq!(store.boot(), 5);
    drop(store);
    // Whoever has lost the newest testimony counts on all the same.
    let path = directory.path().join(witness::FILE);
    let mut bytes = fs::read(&path).unwrap();
    let newest = (Witness::open(directory.path()).unwrap().unwrap().latest().sequence % 2) as usize;
    [newest, newest + 2].iter().for_each(|block| bytes[block * PAGE_BYTES + 20] ^= 1);
    fs::write(&path, bytes).unwrap();
    assert_eq!(SledStore::open(directory.path()).unwrap().boot(), 6);
}

/// A log as the first releases wrote it.
fn of_format_1(directory: &Path) -> BTreeMap<u64, LogEntry> {
    let mut store = SledStore::attach(directory).unwrap();
    let header = SnapshotHeader { index: 2, term: 1, voters: vec![1], bytes: 5, ..SnapshotHeader::default() };
    let mut changes = vec![
        (KEY_FORMAT.to_vec(), 1u32.to_le_bytes().to_vec()),
        (KEY_HARD_STATE.to_vec(), hard_state(2, 199).encode_to_vec()),
        (KEY_SNAPSHOT.to_vec(), header.encode_to_vec()),
        (chunk_key(PREFIX_SNAPSHOT, 2, 0), b"state".to_vec()),
    ];
    let entries: BTreeMap<u64, LogEntry> =
        (3..=200).map(|index| (index, entry(index, 2, &"x".repeat(index as usize * 40)))).collect();
    for (index, entry) in &entries {
        changes.extend(chunks_of(PREFIX_LOG, *index, &entry.encode_to_vec()));
    }
    for (key, value) in changes {
        store.write(vec![(key, Some(value))]).unwrap();
    }
    store.database.flush().unwrap();
    entries
}

#[test]
fn a_log_of_format_1_is_taken_over_once() {
    let (base, trial) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let entries = of_format_1(base.path());
    let check = |store: &SledStore| {
        assert_eq!((store.first_index(), store.last_index(), store.format().unwrap()), (3, 200, Some(2)));
        let read: BTreeMap<u64, LogEntry> =
            store.entries(3, 201).unwrap().into_iter().map(|entry| (entry.index, entry)).collect();
        assert!(read == entries);
        assert_eq!(&store.snapshot().unwrap().unwrap().data[..], b"state");
        assert_eq!(store.hard_state().unwrap(), hard_state(2, 199));
    };
    copy(base.path(), trial.path());
    check(&SledStore::open(trial.path()).unwrap());
    check(&SledStore::open(trial.path()).unwrap());
    // It stops after the witness was made, and before the format says so: it begins again.
    copy(base.path(), trial.path());
    let mut store = SledStore::attach(trial.path()).unwrap();
    store.take_over(None).unwrap();
    store.write_format(FORMAT_WITHOUT_WITNESS).unwrap();
    drop(store);
    check(&SledStore::open(trial.path()).unwrap());
    // A log that falls back to that format later, because it lost its end, is not taken over again.
    let mut store = SledStore::attach(trial.path()).unwrap();
    store.write_format(FORMAT_WITHOUT_WITNESS).unwrap();
    drop(store);
    refused(trial.path());
    // One that is damaged is not taken over.
    copy(base.path(), trial.path());
    let mut store = SledStore::attach(trial.path()).unwrap();
    store.write(vec![(chunk_key(PREFIX_LOG, 50, 0), None)]).unwrap();
    store.database.flush().unwrap();
    drop(store);
    refused(trial.path());
}

/// As a process of the first releases left it: a table with a row that is deleted, a schema, a view.
#[test]
fn a_directory_of_the_first_releases_is_taken_over() {
    // Cargo says it when it runs the tests, too: a binary from a shared cache may have been built elsewhere.
    let root = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let directory = tempfile::tempdir().unwrap();
    copy(&PathBuf::from(root).join("../../tests/golden/leader-v1"), directory.path());
    for boot in 1..=2 {
        let replica = open_replica(directory.path(), None).unwrap();
        let state = replica.state();
        let table = state.table("public", "t").unwrap();
        let live: u64 = table.segments.values().map(|segment| segment.live_rows()).sum();
        assert_eq!((live, state.view("s", "v").is_some(), replica.boot()), (1, true, boot));
    }
}

#[test]
fn a_log_of_a_format_to_come_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = SledStore::open(directory.path()).unwrap();
    store.write_format(FORMAT_VERSION + 1).unwrap();
    drop(store);
    let error = SledStore::open(directory.path()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("format 3"), "{error}");
}

/// What a disk may do to a file.
fn damage(path: &Path, others: &[u8], rng: &mut StdRng) -> String {
    let mut bytes = fs::read(path).unwrap();
    // Where something is written: files are mostly holes.
    let pages = |bytes: &[u8]| {
        let written = bytes.chunks(512).enumerate().filter(|(_, page)| page.iter().any(|byte| *byte != 0));
        written.map(|(page, _)| page * 512).collect::<Vec<_>>()
    };
    let written = pages(&bytes);
    let Some(at) = (!written.is_empty()).then(|| written[rng.random_range(0..written.len())]) else {
        return "nothing: the file is empty".to_owned();
    };
    let end = bytes.len().min(at + 512);
    let what = match rng.random_range(0..4) {
        0 | 1 => {
            let (place, bit) = (rng.random_range(at..end), rng.random_range(0..8));
            bytes[place] ^= 1 << bit;
            format!("bit {bit} of byte {place} flipped")
        }
        2 => {
            bytes.truncate(at);
            format!("cut at {at}")
        }
        _ => {
            // A block of somewhere else: of this file, or of an older state of it.
            let source = if rng.random_bool(0.5) { bytes.clone() } else { others.to_vec() };
            let (page, from) = (at / PAGE_BYTES, rng.random_range(0..source.len().div_ceil(PAGE_BYTES).max(1)));
            let block = &source[(from * PAGE_BYTES).min(source.len())..((from + 1) * PAGE_BYTES).min(source.len())];
            let start = page * PAGE_BYTES;
            let length = block.len().min(bytes.len() - start);
            bytes[start..start + length].copy_from_slice(&block[..length]);
            format!("block {page} replaced by block {from}")
        }
    };
    fs::write(path, bytes).unwrap();
    what
}

fn record(number: u64) -> Vec<u8> {
    use proto::operation::Kind;
    let init = proto::InitCluster {
        cluster_id: vec![1; 16],
        slice_count: 4,
        replication_factor: 1,
        hash_version: 1,
        slices_by_lanes: false,
    };
    let schema = proto::CreateSchema { name: format!("schema_{number}"), owner: "x".repeat(300), ..Default::default() };
    let kind = if number == 0 { Kind::InitCluster(init) } else { Kind::CreateSchema(schema) };
    let operations = vec![proto::Operation { kind: Some(kind) }];
    let transaction_id = (u128::from(number) + 1).to_le_bytes().to_vec();
    proto::Record { transaction_id, operations, ..Default::default() }.encode_to_vec()
}

struct Nobody;

impl crate::replica::Transport for Nobody {
    fn send(&mut self, _: raft::eraftpb::Message) {}
}

/// Commits that were acknowledged, in a directory; with a snapshot among them, and two lives.
fn acknowledged_commits(directory: &Path, older: &Path) -> u64 {
    let options = MetaOptions { snapshot_after_records: 150, kept_records: 5 };
    let mut number = 0;
    for commits in [120, 130] {
        let mut replica = open_replica(directory, Some(&options)).unwrap();
        for _ in 0..commits {
            replica.propose(record(number)).unwrap();
            let applied = replica.process(&mut Nobody).unwrap();
            assert!(applied.iter().all(|entry| entry.result.is_ok()));
            number += 1;
        }
        if number == 120 {
            drop(replica);
            copy(directory, older);
        }
    }
    number
}

/// The heart of the matter: whatever happens to a file, a commit that was acknowledged is there, or the leader does not start and says why.
#[test]
fn no_damage_loses_an_acknowledged_commit_silently() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (trials, seed) = (number("SLIPHER_DAMAGE_TRIALS", TRIALS_DEFAULT), number("SLIPHER_DAMAGE_SEED", 11));
    let root = tempfile::tempdir().unwrap();
    let (base, older, trial) = (root.path().join("base"), root.path().join("older"), root.path().join("trial"));
    let commits = acknowledged_commits(&base, &older);
    let whole = open_replica(&base, None).unwrap().state().to_proto();
    assert_eq!(whole.recent_transactions.len() as u64, commits);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut ends: BTreeMap<(String, &str), u64> = BTreeMap::new();
    let mut names: Vec<String> =
        fs::read_dir(&base).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| base.join(name).is_file());
    names.sort();
    assert!(names.iter().any(|name| name == "db") && names.iter().any(|name| name == witness::FILE), "{names:?}");
    for name in names {
        let others = fs::read(older.join(&name)).unwrap_or_default();
        for _ in 0..trials {
            copy(&base, &trial);
            let what = damage(&trial.join(&name), &others, &mut rng);
            let end = match open_replica(&trial, None) {
                Ok(replica) => {
                    let state = replica.state().to_proto();
                    assert!(state == whole, "seed {seed}, {name}: {what}: it starts without {} commits", commits - state.version);
                    "all there"
                }
                Err(error) => {
                    let told = error.message.contains(&trial.display().to_string()) && error.hint.is_some();
                    assert!(told, "seed {seed}, {name}: {what}: {error:?}");
                    "refused"
                }
            };
            let name = name.split('.').next().unwrap_or_default().to_owned();
            *ends.entry((name, end)).or_default() += 1;
        }
    }
    println!("seed {seed}: {ends:?}");
    assert!(
        ends.contains_key(&("db".to_owned(), "refused")) && ends.contains_key(&("witness".to_owned(), "all there")),
        "{ends:?}"
    );
}

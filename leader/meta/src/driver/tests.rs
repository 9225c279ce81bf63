//! The service as the rest of the leader uses it, on a real directory.

use super::*;
use proto::operation::Kind;

fn record(kinds: impl IntoIterator<Item = Kind>) -> proto::Record {
    let operations = kinds.into_iter().map(|kind| proto::Operation { kind: Some(kind) }).collect();
    proto::Record { operations, ..Default::default() }
}

fn init() -> proto::Record {
    let init = proto::InitCluster {
        cluster_id: vec![1; 16],
        slice_count: 4,
        replication_factor: 1,
        hash_version: 1,
        slices_by_lanes: false,
    };
    record([Kind::InitCluster(init)])
}

fn create_schema(name: &str) -> proto::Record {
    record([Kind::CreateSchema(proto::CreateSchema { name: name.into(), owner: "admin".into(), ..Default::default() })])
}

async fn open(directory: &Path) -> Meta {
    Meta::open(directory, MetaOptions::default()).await.unwrap()
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_drop_without_shutdown() {
    let directory = tempfile::tempdir().unwrap();
    let meta = open(directory.path()).await;
    let mut versions = meta.subscribe();
    meta.propose(init()).await.unwrap();
    let applied = meta.propose(create_schema("a")).await.unwrap();
    assert!(applied.state.find_schema("a").is_ok());
    assert_eq!(applied.version, meta.state().version());
    assert_eq!(*versions.borrow_and_update(), applied.version);
    let refused = meta.propose(create_schema("a")).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::DuplicateSchema);
    let before = meta.state();
    drop(meta);

    let meta = open(directory.path()).await;
    assert_eq!(*meta.state(), *before);
    meta.propose(create_schema("b")).await.unwrap();
    meta.shutdown().await;
    let ended = meta.propose(create_schema("c")).await.unwrap_err();
    assert_eq!(ended.kind, ErrorKind::AdminShutdown);
    let meta = open(directory.path()).await;
    let names: Vec<String> = meta.state().schemas().keys().cloned().collect();
    assert_eq!(names, ["a", "b", "public"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_proposals_and_snapshots_recover() {
    let directory = tempfile::tempdir().unwrap();
    let options = MetaOptions { snapshot_after_records: 50, kept_records: 5 };
    let meta = Meta::open(directory.path(), options.clone()).await.unwrap();
    meta.propose(init()).await.unwrap();
    let proposals = (0..300).map(|number| {
        let meta = meta.clone();
        tokio::spawn(async move { meta.propose(create_schema(&format!("s{}", number % 250))).await })
    });
    let results = futures::future::join_all(proposals.collect::<Vec<_>>()).await;
    let refused =
        results.into_iter().filter(|result| matches!(result, Ok(Err(error)) if error.kind == ErrorKind::DuplicateSchema));
    assert_eq!(refused.count(), 50);
    let before = meta.state();
    assert_eq!(before.schemas().len(), 251);
    drop(meta);
    let meta = Meta::open(directory.path(), options).await.unwrap();
    assert_eq!(*meta.state(), *before);

    // The same transaction again, over a restart: one effect, the same answer.
    let mut again = create_schema("again");
    again.transaction_id = vec![9; 16];
    let first = meta.propose(again.clone()).await.unwrap().version;
    meta.shutdown().await;
    let meta = open(directory.path()).await;
    assert_eq!(meta.propose(again).await.unwrap().version, first);
}

#[tokio::test]
async fn a_directory_in_use_and_a_record_too_long_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let meta = open(directory.path()).await;
    let error = Meta::open(directory.path(), MetaOptions::default()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::CannotConnectNow);
    assert!(error.message.contains("another process uses it"), "{error}");
    meta.propose(init()).await.unwrap();
    let long = create_schema(&"x".repeat(super::super::replica::RECORD_MAX_BYTES));
    assert_eq!(meta.propose(long).await.unwrap_err().kind, ErrorKind::ProgramLimit);
    // Many chunks, and the service goes on.
    meta.propose(create_schema(&"y".repeat(3_000_000))).await.unwrap();
    drop(meta);
    assert_eq!(open(directory.path()).await.state().schemas().len(), 2);
}

/// The database, as soon as sled's own threads have let go of the one before.
fn unlocked(directory: &Path) -> sled::Db {
    for _ in 0..100 {
        match sled::open(directory) {
            Err(sled::Error::Io(error)) if error.to_string().contains("lock") => std::thread::sleep(Duration::from_millis(50)),
            opened => return opened.unwrap(),
        }
    }
    panic!("the database stays locked");
}

#[tokio::test]
async fn damage_is_an_error_that_names_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let meta = open(directory.path()).await;
    meta.propose(init()).await.unwrap();
    meta.shutdown().await;
    let damage = |key: &[u8]| {
        let database = unlocked(directory.path());
        let tree = database.open_tree("raft").unwrap();
        let mut value = tree.get(key).unwrap().unwrap().to_vec();
        *value.last_mut().unwrap() ^= 1;
        tree.insert(key, value).unwrap();
        database.flush().unwrap();
    };
    let entry = [&b"l"[..], &2u64.to_be_bytes(), &0u32.to_be_bytes()].concat();
    damage(&entry);
    let error = Meta::open(directory.path(), MetaOptions::default()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::DataCorrupted);
    assert!(error.message.contains("metadata log entry 2"), "{error}");
    damage(&entry);
    damage(b"m/hard_state");
    let error = Meta::open(directory.path(), MetaOptions::default()).await.unwrap_err();
    assert!(error.message.contains("m/hard_state"), "{error}");
}

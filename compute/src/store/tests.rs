use super::*;
use crate::testing::*;
use arrow::array::Int64Array;
use slipher_common::SqlType;
use slipher_common::catalog::{Distribution, Table};
use slipher_common::fence::Fence;
use slipher_common::manifest::Segment;
use std::collections::HashSet;
use std::time::{Duration, SystemTime};

fn one_column() -> Arc<Table> {
    table(&[(SqlType::BigInt, true)], Distribution::Even, &[0])
}

async fn written(node: &TestNode, replicas: Vec<String>) -> Segment {
    let table = one_column();
    let rows = batch(&table, vec![Arc::new(Int64Array::from_iter_values(0..20_000))]);
    node.write(&table, vec![rows], replicas).await.unwrap().remove(0)
}

#[test]
fn a_directory_belongs_to_one_process_and_one_cluster() {
    let directory = tempfile::tempdir().unwrap();
    let (mine, other) = (ClusterId(Uuid::from_u128(1)), ClusterId(Uuid::from_u128(2)));
    let store = Store::open(directory.path()).unwrap();
    let node = store.node_id();
    assert!(Store::open(directory.path()).unwrap_err().message.contains("in use by another process"));
    store.join_cluster(mine).unwrap();
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    assert_eq!((store.node_id(), store.cluster_id()), (node, Some(mine)));
    store.join_cluster(mine).unwrap();
    assert_eq!(store.join_cluster(other).unwrap_err().kind, ErrorKind::Config);
}

#[tokio::test]
async fn every_flipped_byte_is_found() {
    let node = TestNode::new();
    let segment = written(&node, vec![]).await;
    let path = node.runtime.store().segment_path(segment.table, segment.id);
    let good = std::fs::read(&path).unwrap();
    assert_eq!(good.len() as u64, segment.bytes);
    let lane = scan_of(&one_column(), std::slice::from_ref(&segment));
    assert_eq!(node.scan(lane.clone()).await.unwrap().num_rows(), 20_000);
    let places = (0..good.len()).step_by(good.len() / 50).chain(good.len() - 20..good.len());
    for place in places {
        let mut bad = good.clone();
        bad[place] ^= 1 << (place % 8);
        std::fs::write(&path, &bad).unwrap();
        let error = node.scan(lane.clone()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::DataCorrupted, "byte {place}: {error}");
        let own = node.runtime.store().node_id().to_string();
        for part in [segment.id.to_string(), "public.t".into(), "slice 0".into(), own] {
            assert!(error.message.contains(&part), "{error}");
        }
    }
    std::fs::write(&path, &good[..good.len() - 1]).unwrap();
    assert_eq!(node.scan(lane.clone()).await.unwrap_err().kind, ErrorKind::DataCorrupted);
    std::fs::write(&path, &good).unwrap();
    assert_eq!(node.scan(lane.clone()).await.unwrap().num_rows(), 20_000);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(node.scan(lane).await.unwrap_err().kind, ErrorKind::UndefinedFile);
}

#[tokio::test]
async fn a_bad_file_is_replaced_by_the_replica_s() {
    let (node, replica) = (TestNode::new(), TestNode::new());
    let address = replica.serve().await;
    let segment = written(&node, vec![address.clone()]).await;
    assert_eq!(segment.nodes, [node.runtime.store().node_id(), replica.runtime.store().node_id()]);
    let path = node.runtime.store().segment_path(segment.table, segment.id);
    let good = std::fs::read(&path).unwrap();
    let mut lane = scan_of(&one_column(), std::slice::from_ref(&segment));
    // A node that does not answer is passed over.
    lane.segments[0].other_copies = [String::from("http://127.0.0.1:1"), address].into();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(node.scan(lane.clone()).await.unwrap().num_rows(), 20_000);
    assert_eq!(std::fs::read(&path).unwrap(), good);
    std::fs::write(&path, b"nonsense").unwrap();
    assert_eq!(node.scan(lane.clone()).await.unwrap().num_rows(), 20_000);
    // Both bad: an error, and nothing bad is stored.
    std::fs::write(&path, b"nonsense").unwrap();
    std::fs::write(replica.runtime.store().segment_path(segment.table, segment.id), vec![0u8; good.len()]).unwrap();
    let error = node.scan(lane).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::DataCorrupted);
    assert!(error.detail.unwrap().contains("the bytes that arrived are not the segment"));
    assert_eq!(std::fs::read(&path).unwrap(), b"nonsense");
    assert_eq!(std::fs::read_dir(node.directory.path().join("tmp")).unwrap().count(), 1, "only the spill directory");
}

#[tokio::test]
async fn a_sweep_keeps_live_young_and_running_files() {
    let node = TestNode::new();
    let (live, orphan) = (written(&node, vec![]).await, written(&node, vec![]).await);
    let store = node.runtime.store();
    let (live_ids, none, old) = (HashSet::from([live.id]), HashSet::new(), Duration::ZERO);
    // The transaction that the test nodes write under.
    let running = HashSet::from([TransactionId(Uuid::from_u128(1))]);
    let now = SystemTime::now() + Duration::from_secs(1);
    assert_eq!(store.sweep(&live_ids, &running, now, old).unwrap().files, 0);
    assert_eq!(store.sweep(&live_ids, &none, now, Duration::from_secs(3600)).unwrap().files, 0);
    // Lists from before it was written say nothing of it, however late they come.
    let before = SystemTime::now() - Duration::from_secs(60);
    assert_eq!(store.sweep(&live_ids, &none, before, old).unwrap().files, 0);
    assert_eq!(store.usage(), Usage { segments: 2, bytes: live.bytes + orphan.bytes });
    let swept = store.sweep(&live_ids, &none, now, old).unwrap();
    assert_eq!(swept, Swept { files: 1, bytes: orphan.bytes });
    assert!(store.contains(live.table, live.id) && !store.contains(orphan.table, orphan.id));
}

#[tokio::test]
async fn the_counters_are_what_a_walk_would_count() {
    let (node, copy) = (TestNode::new(), TestNode::new());
    let (address, table) = (copy.serve().await, one_column());
    let same = |node: &TestNode, segments| {
        let store = node.runtime.store();
        assert_eq!(store.usage(), store.walked_usage().unwrap());
        assert_eq!(store.usage().segments, segments);
    };
    same(&node, 0);
    let mut kept = written(&node, vec![address.clone()]).await;
    for _ in 0..3 {
        kept = written(&node, vec![address.clone()]).await;
    }
    same(&node, 4);
    same(&copy, 4);
    // A file that is replaced by its copy, and one that is missing and fetched, count once.
    let path = node.runtime.store().segment_path(kept.table, kept.id);
    let mut lane = scan_of(&table, std::slice::from_ref(&kept));
    lane.segments[0].other_copies = [address].into();
    for damage in [true, false] {
        match damage {
            true => std::fs::write(&path, b"short").unwrap(),
            false => std::fs::remove_file(&path).unwrap(),
        }
        node.scan(lane.clone()).await.unwrap();
    }
    let (live, none, later) = (HashSet::from([kept.id]), HashSet::new(), SystemTime::now() + Duration::from_secs(1));
    for node in [&node, &copy] {
        // It also finds what went without the process: the file that was removed above.
        assert_eq!(node.runtime.store().sweep(&live, &none, later, Duration::ZERO).unwrap().files, 3);
        same(node, 1);
    }
    written(&node, vec![]).await;
    let node = node.reopen();
    same(&node, 2);
}

#[tokio::test]
async fn swept_files_are_kept_for_a_day_and_come_back_when_they_are_needed() {
    let (node, nothing) = (TestNode::new(), HashSet::new());
    let segments = [written(&node, vec![]).await, written(&node, vec![]).await];
    let store = node.runtime.store();
    let now = SystemTime::now();
    let later = now + Duration::from_secs(1);
    assert_eq!(store.sweep(&HashSet::new(), &nothing, later, Duration::ZERO).unwrap().files, 2);
    assert_eq!((store.usage().segments, store.walked_usage().unwrap()), (0, Usage::default()));
    // The sweep was wrong: the rows are there, without any copy.
    let lane = scan_of(&one_column(), &segments[..1]);
    assert_eq!(node.scan(lane).await.unwrap().num_rows(), 20_000);
    assert_eq!((store.trash_rescued(), store.usage().segments), (1, 1));
    let roomy = || Ok(DiskSpace { bytes: 1_000_000, free_bytes: 60_000 });
    let after = |hours: u64| now + Duration::from_secs(hours * 3600);
    for (hours, space, removed) in [(23, 60_000, 0), (24, 60_000, 0), (23, 40_000, 1)] {
        let space = || Ok(DiskSpace { bytes: 1_000_000, free_bytes: space });
        assert_eq!(store.empty_trash(after(hours), space).unwrap().files, removed, "{hours}");
    }
    assert!(!store.rescue(segments[1].table, segments[1].id).unwrap());
    store.sweep(&HashSet::new(), &nothing, later, Duration::ZERO).unwrap();
    assert_eq!(store.empty_trash(after(26), roomy).unwrap().files, 1);
    assert!(!store.rescue(segments[0].table, segments[0].id).unwrap());
    assert_eq!(node.scan(scan_of(&one_column(), &segments[..1])).await.unwrap_err().kind, ErrorKind::UndefinedFile);
}

#[tokio::test]
async fn who_led_is_remembered_over_a_restart_and_who_is_behind_is_refused() {
    let node = TestNode::new();
    let fence = |leader: u128, term, since_version, version| Fence {
        cluster: ClusterId(Uuid::from_u128(1)),
        term,
        version,
        leader: Uuid::from_u128(leader),
        since_version,
        boot: 0,
    };
    let store = node.runtime.store();
    let users = Arc::strong_count(store);
    store.obey(fence(1, 3, 10, 10)).await.unwrap();
    store.obey(fence(1, 3, 10, 25)).await.unwrap();
    store.obey(fence(1, 3, 10, 20)).await.unwrap();
    assert_eq!(store.fence(), Some(fence(1, 3, 10, 25)));
    let error = store.obey(fence(2, 4, 24, 24)).await.unwrap_err();
    assert_eq!((error.kind, store.fence()), (ErrorKind::DataCorrupted, Some(fence(1, 3, 10, 25))));
    store.obey(fence(2, 4, 25, 25)).await.unwrap();
    // A version that comes right after another one is written a little later, without anybody coming again.
    store.obey(fence(2, 4, 25, 31)).await.unwrap();
    let path = node.directory.path().join("fence");
    while Arc::strong_count(store) > users || !std::fs::read_to_string(&path).unwrap().contains(" 31 ") {
        tokio::task::yield_now().await;
    }
    let node = node.reopen();
    assert_eq!(node.runtime.store().fence(), Some(fence(2, 4, 25, 31)));
    assert_eq!(node.runtime.store().obey(fence(1, 3, 10, 99)).await.unwrap_err().kind, ErrorKind::DataCorrupted);
    // One that is damaged is not taken for another.
    let path = node.directory.path().join("fence");
    let text = std::fs::read_to_string(&path).unwrap();
    drop(node.runtime);
    std::fs::write(&path, text.replacen(" 4 ", " 5 ", 1)).unwrap();
    assert_eq!(Store::open(node.directory.path()).unwrap_err().kind, ErrorKind::DataCorrupted);
}

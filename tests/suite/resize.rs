//! Compute nodes join a cluster that has data, while it is read and loaded.

use crate::bad_files::segment_files;
use crate::crash::{COUNT, all_counted, eventually, prepare};
use crate::harness::{Cluster, rows};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Slices that each node owns, by what the leader says of itself.
pub fn slices_owned(cluster: &Cluster) -> Vec<usize> {
    let metrics = cluster.metrics();
    let of_nodes = metrics.lines().filter(|line| line.starts_with("slipher_node_slices{"));
    let mut owned: Vec<usize> = of_nodes.map(|line| line.rsplit(' ').next().unwrap().parse().expect("a number")).collect();
    owned.sort_unstable();
    owned
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_gets_slices_while_work_goes_on() {
    let mut cluster = Cluster::start(3);
    let client = cluster.connect().await;
    prepare(&client).await;
    client.batch_execute("INSERT INTO everywhere SELECT n, 0, 'x' FROM src WHERE n < 100").await.expect("a load");
    assert_eq!(slices_owned(&cluster), [2, 3, 3]);

    // Somebody reads and somebody loads meanwhile; neither sees anything of it.
    let stop = Arc::new(AtomicBool::new(false));
    let (reader, writer) = (cluster.connect().await, cluster.connect().await);
    let ended = Arc::clone(&stop);
    let reading = tokio::spawn(async move {
        let mut reads = 0;
        while !ended.load(Ordering::SeqCst) {
            let counted = rows(&reader, COUNT).await.unwrap_or_else(|error| panic!("a read while slices move: {error:?}"));
            assert_eq!(counted, all_counted());
            reads += 1;
        }
        reads
    });
    let ended = Arc::clone(&stop);
    let writing = tokio::spawn(async move {
        let mut loads = 0u64;
        while !ended.load(Ordering::SeqCst) {
            let load = format!("INSERT INTO by_key SELECT n, {loads}, t FROM src WHERE n < 1000");
            writer.batch_execute(&load).await.unwrap_or_else(|error| panic!("a load while slices move: {error:?}"));
            loads += 1;
        }
        loads
    });
    cluster.add_node();
    eventually("every node owns two slices", || slices_owned(&cluster) == [2, 2, 2, 2]).await;
    stop.store(true, Ordering::SeqCst);
    assert!(reading.await.expect("the reader") > 0);
    let loads = writing.await.expect("the writer");

    // The new node has files of its own, and takes its share of what comes.
    let files = segment_files(&cluster.node_dir(3)).len();
    assert!(files > 0);
    client.batch_execute("INSERT INTO by_key SELECT n, -1, t FROM src").await.expect("a load");
    assert!(segment_files(&cluster.node_dir(3)).len() > files);
    let by_key = "SELECT count(*), count(DISTINCT n), min(load) FROM by_key";
    let expected = vec![vec![(20_000 + loads * 1000).to_string(), "20000".to_owned(), "-1".to_owned()]];
    assert_eq!(rows(&client, by_key).await.expect("an answer"), expected);
    let everywhere = "SELECT count(*) FROM everywhere e JOIN src s ON e.n = s.n";
    assert_eq!(rows(&client, everywhere).await.expect("an answer"), [["100"]]);
    // Every slice has its two copies: one of the old nodes may go.
    cluster.nodes[0].kill();
    let answer = crate::crash::after_recovery(|| rows(&client, by_key)).await;
    assert_eq!(answer, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_larger_node_gets_more_slices_and_tasks() {
    let mut cluster = Cluster::start_with_all(2, &["--slices", "20"], &["--lanes", "2"]);
    let client = cluster.connect().await;
    prepare(&client).await;
    assert_eq!(slices_owned(&cluster), [10, 10]);
    cluster.add_node_with(&["--lanes", "6"]);
    eventually("each node has slices by its lanes", || slices_owned(&cluster) == [4, 4, 12]).await;
    assert_eq!(rows(&client, COUNT).await.expect("an answer"), all_counted());
    let plan = rows(&client, "EXPLAIN VERBOSE SELECT count(*) FROM by_key").await.expect("a plan").concat().join("\n");
    assert!(plan.contains("tasks=5, partitions=10"), "{plan}");
    client.batch_execute("INSERT INTO by_key SELECT n, 1, t FROM src").await.expect("a load");
    let joined = "SELECT count(*), count(DISTINCT a.n) FROM by_key a JOIN src b ON a.n = b.n JOIN everywhere e ON e.n = a.n";
    client.batch_execute("INSERT INTO everywhere SELECT n, 0, 'x' FROM src WHERE n < 100").await.expect("a load");
    assert_eq!(rows(&client, joined).await.expect("an answer"), [["100", "100"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_gets_copies_of_everything() {
    let mut cluster = Cluster::start_with(1, &["--slices", "3"]);
    let client = cluster.connect().await;
    prepare(&client).await;
    cluster.add_node();
    eventually("both nodes own slices", || slices_owned(&cluster) == [1, 2]).await;
    let copies = |cluster: &Cluster| segment_files(&cluster.node_dir(1)).len() >= 3;
    eventually("the second node has copies", || copies(&cluster)).await;
    cluster.nodes[0].kill();
    let answer = crate::crash::after_recovery(|| rows(&client, COUNT)).await;
    assert_eq!(answer, all_counted());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_loaded_while_a_node_was_away_gets_its_copy() {
    let mut cluster = Cluster::start(2);
    let client = cluster.connect().await;
    prepare(&client).await;
    cluster.nodes[1].kill();
    let load = "INSERT INTO by_key SELECT n, 1, t FROM src";
    // Until the leader knows that the node is dead, loads fail with an error.
    crate::crash::after_recovery(|| async { client.batch_execute(load).await }).await;
    cluster.restart_node(1);
    let files = |cluster: &Cluster, node: usize| segment_files(&cluster.node_dir(node)).len();
    eventually("both nodes have every segment", || files(&cluster, 0) == files(&cluster, 1)).await;
    cluster.nodes[0].kill();
    let answer = crate::crash::after_recovery(|| rows(&client, "SELECT count(*), count(DISTINCT n) FROM by_key")).await;
    assert_eq!(answer, [["20000", "20000"]]);
}

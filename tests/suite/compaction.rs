//! Storage that looks after itself: many single rows, deleted rows, readers and writers meanwhile.

use crate::harness::{Cluster, rows};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// Clients that insert single rows, and rows of each.
const WRITERS: usize = 4;
const ROWS_EACH: usize = 60;
/// How long the background may take to come round.
const COMPACTED_MAX_SECONDS: u64 = 60;

/// A counter of the leader's.
fn rewritten(cluster: &Cluster, by: &str) -> u64 {
    let metrics = cluster.metrics();
    let name = format!("slipher_segments_rewritten_total{{by=\"{by}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
}

/// Waits until the background has done something.
async fn until(what: impl Fn() -> bool, waited_for: &str) {
    for second in 0.. {
        if what() {
            return;
        }
        assert!(second < COMPACTED_MAX_SECONDS, "waited {COMPACTED_MAX_SECONDS} s for {waited_for}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Segments on all nodes, every copy counted.
fn segments(cluster: &Cluster) -> u64 {
    let metrics = cluster.metrics();
    let of_nodes = metrics.lines().filter(|line| line.starts_with("slipher_node_segments{"));
    of_nodes.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_rows_are_merged_while_others_read_and_write() {
    let cluster = Cluster::start_with(2, &["--compact-seconds", "1", "--slices", "2"]);
    let client = cluster.connect().await;
    client.batch_execute("CREATE TABLE single (id int DISTKEY, writer int) SORTKEY(id)").await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let reader = {
        let (client, is_over) = (cluster.connect().await, Arc::clone(&is_over));
        tokio::spawn(async move {
            let mut seen = 0;
            while !is_over.load(Ordering::SeqCst) {
                let found = rows(&client, "SELECT count(*), count(DISTINCT id) FROM single").await.unwrap();
                let count: u64 = found[0][0].parse().unwrap();
                assert_eq!(found[0][0], found[0][1], "a row is there twice");
                assert!(count >= seen, "{seen} rows became {count}");
                seen = count;
            }
        })
    };
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let client = cluster.connect().await;
        writers.push(tokio::spawn(async move {
            for row in 0..ROWS_EACH {
                let id = writer * ROWS_EACH + row;
                client.batch_execute(&format!("INSERT INTO single VALUES ({id}, {writer})")).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    // Two slices with two copies each; what is left is too little to be merged.
    until(|| segments(&cluster) < 60, "fewer segments").await;
    is_over.store(true, Ordering::SeqCst);
    reader.await.unwrap();
    let all = (WRITERS * ROWS_EACH).to_string();
    assert_eq!(rows(&client, "SELECT count(DISTINCT id) FROM single").await.unwrap(), [[all.as_str()]]);

    // Deleted rows are worth a rewrite, too.
    client.batch_execute("DELETE FROM single WHERE id % 2 = 0").await.unwrap();
    client.batch_execute("VACUUM single").await.unwrap();
    let odd = rows(&client, "SELECT count(*), min(id) FROM single").await.unwrap();
    assert_eq!(odd, [[(WRITERS * ROWS_EACH / 2).to_string(), "1".to_owned()]]);
}

/// Loads whose sort keys overlap are brought into order by and by, while a block changes the table and others read it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_background_restores_the_order_of_rows() {
    let cluster = Cluster::start_with(2, &["--slices", "2"]);
    let client = cluster.connect().await;
    client.batch_execute("CREATE TABLE n AS SELECT CAST(s_suppkey AS int) AS i FROM tpchgen('supplier', 0.06)").await.unwrap();
    client.batch_execute("CREATE TABLE t (id int DISTKEY, k int) SORTKEY(k)").await.unwrap();
    // A block that has changed rows does not lose against the background.
    let block = cluster.connect().await;
    for load in 0..3 {
        let rows =
            format!("SELECT {load} * 360000 + a.i * 600 + b.i, (a.i * 7919 + b.i * 104729) % 100000 FROM n a CROSS JOIN n b");
        client.batch_execute(&format!("INSERT INTO t {rows}")).await.unwrap();
        if load == 1 {
            block.batch_execute("BEGIN; DELETE FROM t WHERE k = 77").await.unwrap();
        }
    }
    let all = "SELECT count(*), sum(id), sum(k), count(DISTINCT id) FROM t WHERE k <> 77";
    let before = rows(&client, all).await.unwrap();
    tokio::time::sleep(Duration::from_secs(15)).await;
    block.batch_execute("COMMIT").await.unwrap();
    until(|| rewritten(&cluster, "sorting") >= 6, "sorted segments").await;
    assert_eq!(rows(&client, all).await.unwrap(), before);
    // Rows of the third load, of which the block knew nothing.
    assert_eq!(rows(&client, "SELECT count(*) FROM t WHERE k = 77 AND id < 720000").await.unwrap(), [["0"]]);
    // What is in order stays as it is.
    let done = rewritten(&cluster, "sorting");
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(rewritten(&cluster, "sorting"), done);
    assert_eq!(rows(&client, all).await.unwrap(), before);
}

/// VACUUM and DELETE meet: whoever comes second runs again, and no deleted row comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vacuum_brings_no_deleted_row_back() {
    let cluster = Cluster::start_with(2, &["--compact-seconds", "0"]);
    let client = cluster.connect().await;
    client.batch_execute("CREATE TABLE t (id int DISTKEY, v int)").await.unwrap();
    client.batch_execute("INSERT INTO t SELECT l_orderkey, l_linenumber FROM tpchgen('lineitem', 0.01)").await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let vacuuming = {
        let (client, is_over) = (cluster.connect().await, Arc::clone(&is_over));
        tokio::spawn(async move {
            let mut done = 0;
            while !is_over.load(Ordering::SeqCst) {
                match client.batch_execute("VACUUM DELETE ONLY t").await {
                    Ok(()) => done += 1,
                    Err(error) => assert_eq!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{error:?}"),
                }
            }
            done
        })
    };
    for v in 1..=7 {
        loop {
            match client.batch_execute(&format!("DELETE FROM t WHERE v = {v}")).await {
                Ok(()) => break,
                Err(error) => assert_eq!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{error:?}"),
            }
        }
        let left = rows(&client, &format!("SELECT count(*) FROM t WHERE v <= {v}")).await.unwrap();
        assert_eq!(left, [["0"]], "rows came back after v = {v}");
    }
    is_over.store(true, Ordering::SeqCst);
    println!("{} times vacuumed", vacuuming.await.unwrap());
    assert_eq!(rows(&client, "SELECT count(*) FROM t").await.unwrap(), [["0"]]);
}

/// Segments change, rows do not: who has read the table has read nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_lose_nothing_to_what_is_rewritten() {
    let cluster = Cluster::start_with(1, &["--compact-seconds", "0", "--slices", "2"]);
    let (reader, other) = (cluster.connect().await, cluster.connect().await);
    other.batch_execute("CREATE TABLE t (n int); CREATE TABLE sum (n int)").await.unwrap();
    for n in 0..8 {
        other.batch_execute(&format!("INSERT INTO t VALUES ({n})")).await.unwrap();
    }
    let begin = "BEGIN ISOLATION LEVEL SERIALIZABLE";
    reader.batch_execute(begin).await.unwrap();
    assert_eq!(rows(&reader, "SELECT sum(n) FROM t").await.unwrap(), [["28"]]);
    other.batch_execute("VACUUM FULL t").await.unwrap();
    assert_eq!(rewritten(&cluster, "vacuum"), 8);
    reader.batch_execute("INSERT INTO sum VALUES (28); COMMIT").await.unwrap();

    // A change of rows is one all the same.
    reader.batch_execute(begin).await.unwrap();
    assert_eq!(rows(&reader, "SELECT sum(n) FROM t").await.unwrap(), [["28"]]);
    other.batch_execute("DELETE FROM t WHERE n = 7").await.unwrap();
    other.batch_execute("VACUUM FULL t").await.unwrap();
    let error = reader.batch_execute("INSERT INTO sum VALUES (28); COMMIT").await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE));
}

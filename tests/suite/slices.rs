//! A cluster gets more slices, while it is read and loaded.

use crate::crash::{after_recovery, prepare};
use crate::harness::{Cluster, rows};
use crate::resize::slices_owned;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// How long the background may take to split what is stored, and to move slices.
const SPLIT_MAX_SECONDS: u64 = 120;
/// What does not change meanwhile: loads below 10. Pruned, joined by the key, by others, and over several tables.
const ASKED: [&str; 7] = [
    "SELECT load, count(*), sum(n), count(DISTINCT n) FROM by_key WHERE load < 10 GROUP BY load ORDER BY load",
    "SELECT load, count(*), sum(n), count(DISTINCT n) FROM evenly WHERE load < 10 GROUP BY load ORDER BY load",
    "SELECT count(*), sum(a.n), min(b.load), max(b.load) FROM src a JOIN by_key b ON a.n = b.n WHERE b.load < 10",
    "SELECT count(*), sum(a.n), sum(b.n) FROM by_key a JOIN by_key b ON a.n = b.n AND a.load = b.load - 1 WHERE b.load < 10",
    "SELECT count(*), sum(a.n) FROM by_key a JOIN evenly b ON a.n = b.n + 1 JOIN everywhere c ON c.n = b.n WHERE a.load + b.load = 3",
    "SELECT n, load FROM by_key WHERE n = 1234 AND load < 10 ORDER BY load",
    "SELECT count(*) FROM by_key WHERE n IN (7, 8, 9, 19999, 20000) AND load < 10",
];

/// What the leader says of itself.
fn metric(cluster: &Cluster, name: &str) -> u64 {
    let metrics = cluster.metrics();
    let found = metrics.lines().find_map(|line| line.strip_prefix(&format!("slipher_{name} "))?.parse().ok());
    found.unwrap_or_else(|| panic!("no {name} in {metrics}"))
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for second in 0.. {
        if is_so() {
            return;
        }
        assert!(second < SPLIT_MAX_SECONDS, "waited {SPLIT_MAX_SECONDS} s until {what}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

async fn answers(client: &Client) -> Vec<Vec<Vec<String>>> {
    let mut answers = Vec::new();
    for sql in ASKED {
        answers.push(rows(client, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")));
    }
    answers
}

/// Four loads of every table, of which rows were deleted.
async fn load(client: &Client) {
    for load in 0..4 {
        run(client, &format!("INSERT INTO by_key SELECT n, {load}, t FROM src")).await;
        run(client, &format!("INSERT INTO evenly SELECT n, {load}, t FROM src")).await;
    }
    run(client, "INSERT INTO everywhere SELECT n, 0, 'x' FROM src WHERE n < 5000").await;
    run(client, "DELETE FROM by_key WHERE n % 7 = 3 AND load = 1").await;
    run(client, "DELETE FROM evenly WHERE n % 11 = 3 AND load > 1").await;
    run(client, "DELETE FROM everywhere WHERE n % 5 = 3").await;
}

/// Asks again and again; answers how often.
async fn read(cluster: &Cluster, expected: &[Vec<Vec<String>>], is_over: &Arc<AtomicBool>) -> JoinHandle<u64> {
    let (client, expected, is_over) = (cluster.connect().await, expected.to_vec(), Arc::clone(is_over));
    tokio::spawn(async move {
        let mut times = 0;
        while !is_over.load(Ordering::SeqCst) {
            assert_eq!(answers(&client).await, expected);
            times += 1;
        }
        times
    })
}

/// Inserts single rows of load 20, and many of load 21; answers how often.
async fn write(cluster: &Cluster, is_over: &Arc<AtomicBool>) -> JoinHandle<u64> {
    let (client, is_over) = (cluster.connect().await, Arc::clone(is_over));
    tokio::spawn(async move {
        let mut times = 0;
        while !is_over.load(Ordering::SeqCst) {
            run(&client, &format!("INSERT INTO by_key VALUES ({times}, 20, 'single')")).await;
            run(&client, "INSERT INTO by_key SELECT n, 21, t FROM src WHERE n < 1000").await;
            run(&client, &format!("INSERT INTO evenly VALUES ({times}, 20, 'single')")).await;
            times += 1;
        }
        times
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_gets_more_slices_while_others_read_and_write() {
    let mut cluster = Cluster::start_with(3, &["--compact-seconds", "1"]);
    let client = cluster.connect().await;
    prepare(&client).await;
    load(&client).await;
    let expected = answers(&client).await;
    assert!(expected.iter().all(|rows| !rows.is_empty()));
    let (adds, deletes, old) = (cluster.connect().await, cluster.connect().await, cluster.connect().await);
    run(&adds, "BEGIN; INSERT INTO by_key SELECT n, 30, t FROM src WHERE n < 500").await;
    run(&deletes, "BEGIN; DELETE FROM by_key WHERE load = 20 AND n < 0; INSERT INTO evenly VALUES (1, 31, 'x')").await;
    // One that may change rows would be waited for.
    run(&old, "BEGIN READ ONLY").await;
    assert_eq!(answers(&old).await, expected);

    let is_over = Arc::new(AtomicBool::new(false));
    let tasks = [read(&cluster, &expected, &is_over).await, read(&cluster, &expected, &is_over).await];
    let writer = write(&cluster, &is_over).await;
    run(&client, "ALTER SYSTEM SET slices TO 32").await;
    assert_eq!(rows(&client, "SHOW slices").await.unwrap(), [["32"]]);
    assert_eq!(metric(&cluster, "slices"), 32);
    let coarse = metric(&cluster, "coarse_segments");
    assert!(coarse > 0);
    assert_eq!(answers(&client).await, expected);
    // What began before goes on as it began, and commits what it wrote.
    assert_eq!(answers(&old).await, expected);
    run(&adds, "INSERT INTO by_key SELECT n, 30, t FROM src WHERE n >= 500 AND n < 600; COMMIT").await;
    run(&deletes, "DELETE FROM by_key WHERE load = 3 AND n = 0; ROLLBACK").await;
    until("nothing is coarse", || metric(&cluster, "coarse_segments") == 0).await;
    until("slices have moved", || slices_owned(&cluster) == [10, 11, 11]).await;
    assert_eq!(answers(&old).await, expected);
    run(&old, "COMMIT").await;
    is_over.store(true, Ordering::SeqCst);
    for task in tasks {
        assert!(task.await.expect("a reader") > 0);
    }
    let times = writer.await.expect("the writer");
    assert_eq!(answers(&client).await, expected);
    let written = "SELECT load, count(*), count(DISTINCT n) FROM by_key WHERE load >= 10 GROUP BY load ORDER BY load";
    let row = |load: u64, count: u64, distinct: u64| [load, count, distinct].map(|number| number.to_string()).to_vec();
    let all_written = [row(20, times, times), row(21, 1000 * times, 1000), row(30, 600, 600)];
    assert_eq!(rows(&client, written).await.unwrap(), all_written);

    // Again, and the leader dies in the middle of it.
    run(&client, "ALTER SYSTEM SET slices TO 64").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    cluster.leader.kill();
    cluster.restart_leader();
    let client = cluster.connect().await;
    assert_eq!(after_recovery(|| rows(&client, "SHOW slices")).await, [["64"]]);
    let first = after_recovery(|| rows(&client, ASKED[0])).await;
    assert_eq!(first, expected[0]);
    assert_eq!(answers(&client).await, expected);
    until("nothing is coarse", || metric(&cluster, "coarse_segments") == 0).await;
    until("slices have moved", || slices_owned(&cluster) == [21, 21, 22]).await;
    assert_eq!(answers(&client).await, expected);
    assert_eq!(rows(&client, written).await.unwrap(), all_written);
    // Every slice has its two copies: one of the nodes may go.
    cluster.nodes[0].kill();
    let first = after_recovery(|| rows(&client, ASKED[0])).await;
    assert_eq!(first, expected[0]);
    assert_eq!(answers(&client).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vacuum_splits_what_the_background_does_not() {
    let mut cluster = Cluster::start_with(2, &["--compact-seconds", "0", "--slices", "2"]);
    let client = cluster.connect().await;
    prepare(&client).await;
    load(&client).await;
    let expected = answers(&client).await;
    run(&client, "ALTER SYSTEM SET slices = 6").await;
    // While a node is away, its replicas serve what it has; when it is back, it gets what was written meanwhile.
    cluster.nodes[1].kill();
    let insert = "INSERT INTO by_key SELECT n, 15, t FROM src WHERE n < 100";
    after_recovery(|| async { client.batch_execute(insert).await }).await;
    assert_eq!(answers(&client).await, expected);
    cluster.restart_node(1);
    cluster.add_node();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(answers(&client).await, expected);
    assert_eq!(slices_owned(&cluster), [0, 3, 3], "slices cannot move yet");
    assert!(metric(&cluster, "coarse_segments") > 0);
    run(&client, "VACUUM").await;
    assert_eq!(metric(&cluster, "coarse_segments"), 0);
    until("slices have moved", || slices_owned(&cluster) == [2, 2, 2]).await;
    assert_eq!(answers(&client).await, expected);
    let pruned = rows(&client, "EXPLAIN SELECT n FROM by_key WHERE n = 1234").await.unwrap().concat().join("\n");
    assert!(pruned.contains("segments 1 of "), "{pruned}");
    cluster.nodes[0].kill();
    let first = after_recovery(|| rows(&client, ASKED[0])).await;
    assert_eq!(first, expected[0]);
    assert_eq!(answers(&client).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slices_follow_the_lanes_of_the_nodes() {
    let mut cluster = Cluster::start_as_told(1, &["--compact-seconds", "1"], &["--lanes", "2"]);
    let client = cluster.connect().await;
    let slices = "SHOW slices";
    assert_eq!(after_recovery(|| rows(&client, slices)).await, [["8"]]);
    // While nothing is stored they are dealt anew.
    cluster.add_node_with(&["--lanes", "6"]);
    until("there are 16 slices", || metric(&cluster, "slices") == 16).await;
    assert_eq!(slices_owned(&cluster), [4, 12]);
    prepare(&client).await;
    load(&client).await;
    let expected = answers(&client).await;
    cluster.add_node_with(&["--lanes", "8"]);
    until("there are 32 slices", || metric(&cluster, "slices") == 32).await;
    assert_eq!(answers(&client).await, expected);
    until("nothing is coarse", || metric(&cluster, "coarse_segments") == 0).await;
    until("slices have moved", || slices_owned(&cluster) == [4, 12, 16]).await;
    assert_eq!(answers(&client).await, expected);
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let cluster = Cluster::start(1);
    let client = cluster.connect().await;
    let refused = async |client: &Client, sql: &str| {
        let error = client.batch_execute(sql).await.expect_err(sql);
        let error = error.as_db_error().expect("an error of the server's");
        (error.code().clone(), error.hint().unwrap_or_default().to_owned())
    };
    let allowed = "it can be 16, or another multiple of 8 up to 4096";
    for wrong in ["4", "12", "0", "8192"] {
        let sql = format!("ALTER SYSTEM SET slices TO {wrong}");
        assert_eq!(refused(&client, &sql).await, (SqlState::INVALID_PARAMETER_VALUE, allowed.to_owned()), "{sql}");
    }
    let other = refused(&client, "ALTER SYSTEM SET work_mem TO '1GB'").await;
    assert!(other.0 == SqlState::FEATURE_NOT_SUPPORTED && other.1.contains("ALTER SYSTEM SET slices TO n"), "{other:?}");
    let session = refused(&client, "SET slices TO 16").await;
    assert!(session.0 == SqlState::FEATURE_NOT_SUPPORTED && session.1.contains("ALTER SYSTEM SET slices TO n"), "{session:?}");
    run(&client, "BEGIN").await;
    assert_eq!(refused(&client, "ALTER SYSTEM SET slices TO 16").await.0, SqlState::ACTIVE_SQL_TRANSACTION);
    run(&client, "ROLLBACK").await;
    run(&client, "CREATE USER eva PASSWORD 'Secret123'").await;
    let eva = crate::harness::connect_as(cluster.pg_port, "eva", "Secret123").await;
    assert_eq!(refused(&eva, "ALTER SYSTEM SET slices TO 16").await.0, SqlState::INSUFFICIENT_PRIVILEGE);
    assert_eq!(rows(&eva, "SHOW slices").await.unwrap(), [["8"]]);
    run(&client, "ALTER SYSTEM SET slices TO 8").await;
    run(&client, "ALTER SYSTEM SET slices TO 24").await;
    assert_eq!(rows(&eva, "SHOW slices").await.unwrap(), [["24"]]);
}

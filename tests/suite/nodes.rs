//! Nodes and who commands them: silence that is not death, leaders that are behind, beginnings and ends.

use crate::bad_files::{files_below, segment_files};
use crate::crash::{COUNT, all_counted, eventually, prepare};
use crate::harness::{Cluster, Process, rows};
use std::collections::BTreeSet;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a leader may take to end that has met a node which obeyed a newer one.
const STOPS_MAX: Duration = Duration::from_secs(15);
/// SIGTERM ends a process in a few seconds, whoever is connected and whatever runs.
const END_MAX: Duration = Duration::from_secs(12);
/// Clients that keep all threads busy.
const BUSY_CLIENTS: usize = 16;
/// Less than a node may be silent, more than several pings take.
const SILENCE: Duration = Duration::from_secs(5);

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(std::fs::copy(&path, &target).expect("a copy")),
        }
    }
}

fn all_segments(cluster: &Cluster) -> BTreeSet<PathBuf> {
    (0..cluster.nodes.len()).flat_map(|node| segment_files(&cluster.node_dir(node))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_the_leader_s_directory_stops_and_removes_nothing() {
    let mut cluster = Cluster::start_with(2, &["--sweep-seconds", "1", "--compact-seconds", "0"]);
    let client = cluster.connect().await;
    prepare(&client).await;
    cluster.leader.stop();
    let (leader_dir, older, newest) = (cluster.leader_dir(), cluster.dir().join("older"), cluster.dir().join("newest"));
    copy(&leader_dir, &older);
    cluster.restart_leader();
    let client = cluster.connect().await;
    client.batch_execute("CREATE TABLE newer AS SELECT n + 1 AS n, t FROM src").await.expect("newer rows");
    cluster.leader.stop();
    let segments = all_segments(&cluster);
    std::fs::rename(&leader_dir, &newest).expect("the newest directory, aside");
    copy(&older, &leader_dir);
    // However often it is started.
    for _ in 0..3 {
        let said = cluster.leader_refuses();
        assert!(said.contains("has obeyed a newer leader") && said.contains("version"), "{said}");
    }
    // No node is there to say so when it starts; it stops when the first one comes.
    cluster.nodes.iter_mut().for_each(Process::stop);
    cluster.restart_leader();
    let mut leader = std::thread::scope(|scope| {
        let nodes: Vec<_> = (0..2)
            .map(|node| {
                scope.spawn({
                    let cluster = &cluster;
                    move || cluster.start_node(node)
                })
            })
            .collect();
        // The nodes wait until a leader comes that they may obey.
        assert!(leader_ends(&cluster), "the older copy leads on");
        std::fs::remove_dir_all(&leader_dir).expect("away with the older copy");
        std::fs::rename(&newest, &leader_dir).expect("the newest directory, back");
        let leader = cluster.start_leader_again();
        (nodes.into_iter().map(|node| node.join().expect("a node")).collect::<Vec<_>>(), leader)
    });
    cluster.nodes = std::mem::take(&mut leader.0);
    cluster.leader = leader.1;
    assert_eq!(all_segments(&cluster), segments);
    let client = cluster.connect().await;
    assert_eq!(rows(&client, COUNT).await.expect("old rows"), all_counted());
    let newer = rows(&client, "SELECT count(*), sum(newer.n - src.n) FROM newer, src WHERE newer.n = src.n + 1").await;
    assert_eq!(newer.expect("newer rows"), [["20000", "20000"]]);
    assert!(
        cluster
            .metrics()
            .lines()
            .filter(|line| line.starts_with("slipher_node_trash_rescued_total{"))
            .all(|line| line.ends_with(" 0"))
    );
}

/// Nobody has committed anything since it was copied, as far as the nodes know; its last commits may be missing all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_knows_all_versions_but_was_not_the_last_to_be_started_stops() {
    let mut cluster = Cluster::start(1);
    prepare(&cluster.connect().await).await;
    cluster.leader.stop();
    let (leader_dir, copied, newest) = (cluster.leader_dir(), cluster.dir().join("copied"), cluster.dir().join("newest"));
    copy(&leader_dir, &copied);
    cluster.restart_leader();
    assert_eq!(rows(&cluster.connect().await, COUNT).await.expect("rows"), all_counted());
    cluster.leader.stop();
    std::fs::rename(&leader_dir, &newest).expect("the newest directory, aside");
    copy(&copied, &leader_dir);
    let said = cluster.leader_refuses();
    assert!(said.contains("has obeyed a newer leader") && said.contains("start"), "{said}");
    std::fs::remove_dir_all(&leader_dir).expect("away with the copy");
    std::fs::rename(&newest, &leader_dir).expect("the newest directory, back");
    cluster.restart_leader();
    assert_eq!(rows(&cluster.connect().await, COUNT).await.expect("rows"), all_counted());
}

fn leader_ends(cluster: &Cluster) -> bool {
    let deadline = Instant::now() + STOPS_MAX;
    // Its port is closed.
    while Instant::now() < deadline {
        if TcpStream::connect(("127.0.0.1", cluster.pg_port)).is_err() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_silent_for_a_while_is_not_dead() {
    let cluster = Cluster::start_with(2, &["--replication-factor", "1"]);
    let client = cluster.connect().await;
    prepare(&client).await;
    cluster.nodes[0].signal("STOP");
    let started = Instant::now();
    let running = tokio::spawn(async move { rows(&client, COUNT).await });
    while started.elapsed() < SILENCE {
        assert!(cluster.metrics().contains("slipher_compute_nodes_alive 2\n"), "after {:?}", started.elapsed());
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    cluster.nodes[0].signal("CONT");
    let answer = tokio::time::timeout(END_MAX, running).await.expect("no hang").expect("a task");
    assert_eq!(answer.expect("an answer"), all_counted());
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_end_though_connections_are_open_and_queries_run() {
    let mut cluster = Cluster::start(1);
    let client = cluster.connect().await;
    prepare(&client).await;
    for _ in 0..BUSY_CLIENTS {
        let client = cluster.connect().await;
        let endless = "SELECT count(*) FROM src a, src b WHERE a.n + b.n < 0";
        tokio::spawn(async move { drop(rows(&client, endless).await) });
    }
    let busy = || {
        let metrics = cluster.metrics();
        let running = metrics.lines().find_map(|line| line.strip_prefix("slipher_statements_running ")?.parse().ok());
        running == Some(BUSY_CLIENTS)
    };
    eventually("all of them run", busy).await;
    let ports = [cluster.internal_port(), cluster.flight_port, cluster.http_port, cluster.pg_port, cluster.node_port(0)];
    let strangers: Vec<TcpStream> =
        ports.iter().map(|port| TcpStream::connect(("127.0.0.1", *port)).expect("a connection")).collect();
    for process in [&mut cluster.leader, &mut cluster.nodes[0]] {
        let asked = Instant::now();
        process.stop();
        assert!(asked.elapsed() < END_MAX, "it took {:?}", asked.elapsed());
    }
    drop(strangers);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_before_the_first_node_waits_for_it() {
    let mut cluster = Cluster::start(0);
    assert!(cluster.get("/readyz").starts_with("HTTP/1.1 503"), "{}", cluster.get("/readyz"));
    let client = cluster.connect().await;
    client.batch_execute("CREATE TABLE t (n bigint)").await.expect("a definition needs no node");
    let running = tokio::spawn(async move {
        client.execute("INSERT INTO t VALUES (1), (2), (3)", &[]).await?;
        rows(&client, "SELECT sum(n) FROM t").await
    });
    cluster.add_node();
    assert_eq!(running.await.expect("a task").expect("rows"), [["6"]]);
    assert!(cluster.get("/readyz").starts_with("HTTP/1.1 200"));
    // After a restart the leader knows its nodes, but not yet whether they live.
    cluster.leader.stop();
    cluster.restart_leader();
    let client = cluster.connect().await;
    assert_eq!(rows(&client, "SELECT sum(n) FROM t").await.expect("at once"), [["6"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_is_for_its_own_user_only() {
    let cluster = Cluster::start(1);
    let client = cluster.connect().await;
    prepare(&client).await;
    let files: Vec<PathBuf> = [cluster.leader_dir(), cluster.node_dir(0)].iter().flat_map(|dir| files_below(dir)).collect();
    assert!(files.len() > 10, "{files:?}");
    for path in files.iter().flat_map(|file| [file.as_path(), file.parent().expect("a directory")]) {
        // Files of queries come and go.
        let Ok(metadata) = std::fs::metadata(path) else { continue };
        assert_eq!(metadata.permissions().mode() & 0o077, 0, "{} has mode {:o}", path.display(), metadata.permissions().mode());
    }
}

//! Processes that die at every named step of a load and a commit, machines that lose what was not synced, and disks that fill up.
//!
//! `SLIPHER_FAULTS=200` makes more faults than every run does; `SLIPHER_FAULT_SEED` others.

use crate::bad_files::segment_files;
use crate::harness::{Cluster, rows};
use crate::ledger::{Ledger, TABLES, check, connect, number, write};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use slipher_common::fail_point::STEPS;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Faults of every run: each step once, with two copies of everything and with one.
const FAULTS_DEFAULT: u64 = STEPS.len() as u64;
/// A step that is not passed so often within this time is not waited for any longer: the process is killed.
const FAULT_MAX: Duration = Duration::from_secs(6);
/// How long something that comes to pass by itself may take.
const EVENTUALLY_MAX: Duration = Duration::from_secs(20);
const NODES: usize = 2;
/// What a file system writes at a time.
const PAGE_BYTES: usize = 4096;

fn is_leaders(step: &str) -> bool {
    ["commit.", "log.", "witness."].iter().any(|prefix| step.starts_with(prefix))
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    path.with_file_name(format!("{name}.synced"))
}

/// What a machine without power forgets of what was not synced: everything, or some pages and not others, as they came to be written.
fn lose_unsynced_of_leader(cluster: &Cluster, torn: bool, rng: &mut StdRng) {
    let meta = cluster.leader_dir().join("meta");
    let kept = beside(&meta);
    if !kept.exists() {
        return;
    }
    let unsynced = meta.with_file_name("meta.unsynced");
    drop(std::fs::remove_dir_all(&unsynced));
    std::fs::rename(&meta, &unsynced).expect("removing what was not synced");
    copy(&kept, &meta);
    if torn {
        tear(&meta, &unsynced, rng);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory").flatten() {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).expect("copying")),
        }
    }
}

/// Brings some of the pages of `from` into the files of `into`, which has older ones.
fn tear(into: &Path, from: &Path, rng: &mut StdRng) {
    std::fs::create_dir_all(into).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory").flatten() {
        let target = into.join(entry.file_name());
        if entry.path().is_dir() {
            tear(&target, &entry.path(), rng);
            continue;
        }
        let new = std::fs::read(entry.path()).expect("reading a file");
        let Ok(mut pages) = std::fs::read(&target) else {
            // The name of a new file may have been written, or not.
            if rng.random_bool(0.5) {
                std::fs::write(&target, new).expect("writing a file");
            }
            continue;
        };
        for start in (0..new.len()).step_by(PAGE_BYTES).filter(|_| rng.random_bool(0.5)) {
            let end = new.len().min(start + PAGE_BYTES);
            // Pages in between that were not written are holes.
            pages.resize(pages.len().max(end), 0);
            pages[start..end].copy_from_slice(&new[start..end]);
        }
        std::fs::write(&target, pages).expect("writing a file");
    }
}

/// The same of a compute node: files whose names were not synced are gone, those that were being written are cut.
fn lose_unsynced_of_node(cluster: &Cluster, node: usize) {
    let dir = cluster.node_dir(node);
    let list = std::fs::read_to_string(beside(&dir)).unwrap_or_default();
    let synced: BTreeSet<&str> = list.lines().collect();
    for file in segment_files(&dir) {
        if !synced.contains(file.to_string_lossy().as_ref()) {
            std::fs::remove_file(file).expect("removing a file");
        }
    }
    let unfinished = std::fs::read_dir(dir.join("tmp")).into_iter().flatten().flatten();
    for entry in unfinished.filter(|entry| entry.path().is_file()) {
        let file = std::fs::OpenOptions::new().write(true).open(entry.path()).expect("a file");
        let length = file.metadata().expect("its length").len();
        file.set_len(length / 2).expect("cutting a file");
    }
}

/// One process dies at one step, and comes back.
fn fault(cluster: &mut Cluster, step: &str, pass: u64, lose: bool, rng: &mut StdRng) -> bool {
    let plan = format!("{step}#{pass}=abort");
    let armed = [("SLIPHER_FAIL_AT", plan.as_str()), ("SLIPHER_KEEP_SYNCED", "1")];
    let calm = [("SLIPHER_KEEP_SYNCED", "1")];
    if is_leaders(step) {
        cluster.leader.kill();
        // It may die while it starts: that counts, too.
        let died = cluster.restart_leader_with(&armed).is_err() || cluster.leader.ends_within(FAULT_MAX);
        if !died {
            cluster.leader.kill();
        }
        if lose {
            lose_unsynced_of_leader(cluster, rng.random_bool(0.5), rng);
        }
        cluster.restart_leader_with(&calm).expect("the leader starts again");
        return died;
    }
    let node = rng.random_range(0..NODES);
    cluster.nodes[node].kill();
    let died = cluster.restart_node_with(node, &armed).is_err() || cluster.nodes[node].ends_within(FAULT_MAX);
    if !died {
        cluster.nodes[node].kill();
    }
    if lose {
        lose_unsynced_of_node(cluster, node);
    }
    cluster.restart_node_with(node, &calm).expect("the node starts again");
    died
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_can_be_the_last() {
    survive_faults("2", STEPS).await;
}

/// Without copies, nobody can make good what one node loses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_can_be_the_last_without_copies() {
    let steps: Vec<&'static str> = STEPS.iter().copied().filter(|step| *step != "segment.copied").collect();
    survive_faults("1", &steps).await;
}

async fn survive_faults(copies: &str, steps: &[&'static str]) {
    let mut cluster = Cluster::start_with(NODES, &["--sweep-seconds", "1", "--replication-factor", copies]);
    let client = cluster.connect().await;
    client.batch_execute(TABLES).await.unwrap();
    drop(client);
    // From now on everybody keeps what is synced.
    let keep = [("SLIPHER_KEEP_SYNCED", "1")];
    cluster.leader.kill();
    cluster.restart_leader_with(&keep).unwrap();
    for node in 0..NODES {
        cluster.nodes[node].kill();
        cluster.restart_node_with(node, &keep).unwrap();
    }
    let (faults, seed) = (number("SLIPHER_FAULTS", FAULTS_DEFAULT), number("SLIPHER_FAULT_SEED", 5));
    let mut rng = StdRng::seed_from_u64(seed);
    let (ledger, is_over) = (Arc::new(Mutex::new(Ledger::default())), Arc::new(AtomicBool::new(false)));
    let writer = tokio::spawn(write(cluster.pg_port, Arc::clone(&ledger), Arc::clone(&is_over)));
    let (mut died, mut lost) = (0, 0);
    for number in 0..faults {
        let step = steps[number as usize % steps.len()];
        let (pass, lose) = (rng.random_range(1..12), rng.random_bool(0.5));
        let at_step = tokio::task::block_in_place(|| fault(&mut cluster, step, pass, lose, &mut rng));
        died += u64::from(at_step);
        lost += u64::from(lose);
        let client = connect(cluster.pg_port).await.expect("the leader");
        check(&client, &ledger).await;
        let blocks = ledger.lock().unwrap().acknowledged.len();
        println!(
            "fault {} of {faults}: {step}, pass {pass}, lost unsynced: {lose}, died there: {at_step}; {blocks} blocks",
            number + 1
        );
    }
    is_over.store(true, Ordering::SeqCst);
    writer.await.unwrap();
    let client = connect(cluster.pg_port).await.expect("the leader");
    check(&client, &ledger).await;
    let blocks = ledger.lock().unwrap().acknowledged.len();
    assert!(blocks > 0, "no block came through");
    assert!(died * 2 > faults, "only {died} of {faults} faults happened at their steps");
    // Nothing is left of what was never committed.
    client.batch_execute("DROP TABLE one, two, last").await.unwrap();
    eventually("no files are left", || (0..NODES).all(|node| segment_files(&cluster.node_dir(node)).is_empty())).await;
    println!(
        "{faults} faults survived, {died} at their steps, {lost} with what was not synced lost; {blocks} blocks, seed {seed}"
    );
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + EVENTUALLY_MAX;
    while !holds() {
        assert!(Instant::now() < deadline, "not so after {EVENTUALLY_MAX:?}: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn is_full(client: &Client, sql: &str) {
    let error = client.batch_execute(sql).await.expect_err(sql);
    assert_eq!(error.code(), Some(&SqlState::DISK_FULL), "{sql}: {error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_fails_what_writes_and_nothing_else() {
    let mut cluster = Cluster::start_with(NODES, &["--sweep-seconds", "1"]);
    let client = cluster.connect().await;
    let tables = "CREATE TABLE t (a int DISTKEY, b varchar(20)); CREATE TABLE other (a int); \
                  INSERT INTO t SELECT l_orderkey, 'x' FROM tpchgen('lineitem', 0.01); INSERT INTO other VALUES (1), (2)";
    client.batch_execute(tables).await.unwrap();
    let files = |cluster: &Cluster| (0..NODES).map(|node| segment_files(&cluster.node_dir(node)).len()).sum::<usize>();
    let before = files(&cluster);
    for (number, step) in ["segment.create", "segment.write", "segment.sync", "segment.rename"].into_iter().enumerate() {
        let plan = format!("{step}#1=disk_full");
        for node in 0..NODES {
            cluster.nodes[node].kill();
            cluster.restart_node_with(node, &[("SLIPHER_FAIL_AT", &plan)]).unwrap();
        }
        let client = connect(cluster.pg_port).await.expect("the leader");
        crate::crash::after_recovery(|| rows(&client, "SELECT count(*) FROM t")).await;
        // What is deleted takes no room, and gives VACUUM something to do.
        client.batch_execute(&format!("DELETE FROM t WHERE a = {}", number + 1)).await.unwrap();
        let count = rows(&client, "SELECT count(*), sum(a) FROM t").await.unwrap();
        is_full(&client, "INSERT INTO t SELECT a + 1, b FROM t").await;
        is_full(&client, "UPDATE t SET b = 'y'").await;
        is_full(&client, "VACUUM FULL t TO 100 PERCENT").await;
        is_full(&client, "CREATE TABLE new AS SELECT * FROM t").await;
        // In a block: it is rolled back, with what had come through.
        client.batch_execute("BEGIN; DELETE FROM other WHERE a = 1").await.unwrap();
        is_full(&client, "INSERT INTO t VALUES (1, 'z')").await;
        let error = client.batch_execute("SELECT 1").await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
        client.batch_execute("ROLLBACK").await.unwrap();
        // Everything that there is can be read, and what needs no room goes on.
        assert_eq!(rows(&client, "SELECT count(*), sum(a) FROM t").await.unwrap(), count, "{step}");
        assert_eq!(rows(&client, "SELECT count(*) FROM other").await.unwrap(), [["2"]], "{step}");
        client.batch_execute("BEGIN; DELETE FROM other; ROLLBACK").await.unwrap();
    }
    for node in 0..NODES {
        cluster.nodes[node].kill();
        cluster.restart_node(node);
    }
    let client = connect(cluster.pg_port).await.expect("the leader");
    crate::crash::after_recovery(|| rows(&client, "SELECT count(*) FROM t")).await;
    eventually("failed statements left no files", || files(&cluster) <= before).await;
    client.batch_execute("INSERT INTO other VALUES (3)").await.unwrap();
    assert_eq!(rows(&client, "SELECT count(*) FROM other").await.unwrap(), [["3"]]);

    // The leader's own disk: nothing is committed any more, everything can still be read.
    cluster.leader.kill();
    cluster.restart_leader_with(&[("SLIPHER_FAIL_AT", "log.append#20=disk_full*3")]).unwrap();
    let client = connect(cluster.pg_port).await.expect("the leader");
    crate::crash::after_recovery(|| rows(&client, "SELECT count(*) FROM t")).await;
    let mut inserted: i64 = 3;
    let error = loop {
        match client.batch_execute("INSERT INTO other VALUES (4)").await {
            Ok(()) => inserted += 1,
            Err(error) => break error,
        }
        assert!(inserted < 100, "the disk does not fill up");
    };
    assert_eq!(error.code(), Some(&SqlState::DISK_FULL), "{error:?}");
    assert_eq!(rows(&client, "SELECT count(*) FROM other").await.unwrap(), [[inserted.to_string()]]);
    // There is room again: it goes on without anybody's help.
    let deadline = Instant::now() + EVENTUALLY_MAX;
    while let Err(error) = client.batch_execute("DELETE FROM other WHERE a = 1").await {
        assert_eq!(error.code(), Some(&SqlState::DISK_FULL), "{error:?}");
        assert!(Instant::now() < deadline, "nothing can be committed, though there is room");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let there = rows(&client, "SELECT count(*) + 1 FROM other").await.unwrap();
    // The one that was not acknowledged may have been durable; its error said so.
    let in_doubt =
        error.as_db_error().and_then(|error| error.detail()).is_some_and(|detail| detail.contains("may be committed still"));
    let there: i64 = there[0][0].parse().unwrap();
    assert!(there == inserted || in_doubt && there == inserted + 1, "{there} rows, {inserted} were acknowledged: {error:?}");
    client.batch_execute("INSERT INTO other VALUES (5)").await.unwrap();
}

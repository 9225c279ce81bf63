//! Data directories that something happened to, and what `slipher admin` and the servers say of them.

use crate::bad_files::segment_files;
use crate::crash::prepare;
use crate::harness::{Cluster, Process, rows};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::path::Path;
use std::process::Command;

/// What `slipher admin check` says, and whether everything is sound.
fn check(arguments: &[&str]) -> (String, bool) {
    let said = Command::new(env!("CARGO_BIN_EXE_slipher")).args(["admin", "check"]).args(arguments).output();
    let said = said.expect("running slipher");
    (String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr), said.status.success())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}

/// A bit, somewhere where something is written.
fn flip_a_bit(path: &Path, rng: &mut StdRng) {
    let mut bytes = std::fs::read(path).expect("reading a file");
    let written: Vec<usize> = (0..bytes.len()).filter(|place| bytes[*place] != 0).collect();
    bytes[written[rng.random_range(0..written.len())]] ^= 1 << rng.random_range(0..8);
    std::fs::write(path, bytes).expect("writing a file");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_found_and_a_leader_that_has_lost_something_does_not_start() {
    let mut rng = StdRng::seed_from_u64(17);
    let mut cluster = Cluster::start(2);
    let client = cluster.connect().await;
    prepare(&client).await;
    for number in 0..20 {
        client.batch_execute(&format!("CREATE TABLE kept_{number} (n int)")).await.expect("a table");
    }
    let (leader, node) = (cluster.leader_dir(), cluster.node_dir(0));
    let (said, sound) = check(&[text(&leader)]);
    assert!(!sound && said.contains("a leader runs on it"), "{said}");
    cluster.leader.stop();
    cluster.nodes.iter_mut().for_each(Process::stop);
    let everything = [text(&node), "--leader-dir", text(&leader)];
    let (said, sound) = check(&everything);
    assert!(sound && said.contains("everything is sound"), "{said}");

    let segment = segment_files(&node).swap_remove(0);
    let whole = std::fs::read(&segment).expect("a segment");
    flip_a_bit(&segment, &mut rng);
    let (said, sound) = check(&everything);
    assert!(!sound && said.contains(text(&segment)) && said.contains("checksum"), "{said}");
    std::fs::remove_file(&segment).expect("removing a segment");
    let (said, sound) = check(&everything);
    assert!(!sound && said.contains(text(&segment)) && said.contains("missing"), "{said}");
    std::fs::write(&segment, whole).expect("bringing it back");
    assert!(check(&everything).1);

    let log = leader.join("meta").join("db");
    let whole = std::fs::read(&log).expect("the log");
    let mut refusals = 0;
    for _ in 0..5 {
        flip_a_bit(&log, &mut rng);
        let (said, sound) = check(&[text(&leader)]);
        if !sound {
            assert!(said.contains("DAMAGED") && said.contains(text(&leader)), "{said}");
            refusals += 1;
        }
        if refusals == 1 {
            let said = cluster.leader_refuses();
            assert!(said.contains(text(&leader)) && said.contains("slipher admin check"), "{said}");
        }
        std::fs::write(&log, &whole).expect("bringing it back");
    }
    assert!(refusals > 0, "no bit of the log matters");
    // What it refused, it did not change.
    assert!(check(&[text(&leader)]).1);
    cluster.restart_leader();
    (0..2).for_each(|node| cluster.restart_node(node));
    let client = cluster.connect().await;
    assert_eq!(rows(&client, "SELECT count(*) FROM kept_19").await.expect("a table"), [["0"]]);
}

/// The witness is gone: nobody knows how far the log went. Whoever wants to go on says so.
#[tokio::test(flavor = "multi_thread")]
async fn who_accepts_a_loss_goes_on_with_what_is_left() {
    let mut cluster = Cluster::start(1);
    let client = cluster.connect().await;
    client.batch_execute("CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2)").await.expect("rows");
    cluster.leader.stop();
    cluster.nodes[0].stop();
    let leader = cluster.leader_dir();
    std::fs::remove_file(leader.join("meta").join("witness")).expect("removing the witness");
    let said = cluster.leader_refuses();
    assert!(said.contains("witness") && said.contains("--accept-loss"), "{said}");
    let (said, sound) = check(&["--accept-loss", text(&leader)]);
    assert!(sound && said.contains("what was committed after it is lost"), "{said}");
    // The node remembers a leader that was started more often.
    cluster.restart_leader();
    std::fs::remove_file(cluster.node_dir(0).join("fence")).expect("forgetting the leader");
    cluster.restart_node(0);
    let client = cluster.connect().await;
    assert_eq!(rows(&client, "SELECT sum(n) FROM t").await.expect("rows"), [["3"]]);
}

/// The leader's side files.
fn side_files(leader: &Path) -> Vec<std::path::PathBuf> {
    let entries = |folder: &Path| std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries(&leader.join("side")).flat_map(|folder| entries(&folder).collect::<Vec<_>>()).collect()
}

/// What lies beside the metadata makes estimates better. Without it answers are the same, and who checks is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_side_file_costs_estimates_only() {
    let mut cluster = Cluster::start(1);
    let client = cluster.connect().await;
    client.batch_execute("CREATE TABLE side (k int, v varchar(20))").await.expect("a table");
    for part in 0..3 {
        let values: Vec<String> = (0..1_000).map(|k| format!("({k}, 'v {}')", k + part)).collect();
        client.batch_execute(&format!("INSERT INTO side VALUES {}", values.join(","))).await.expect("rows");
    }
    const QUESTIONS: [&str; 2] = ["EXPLAIN SELECT * FROM side WHERE v = 'v 5'", "SELECT count(*), count(DISTINCT v) FROM side"];
    let ask = async |cluster: &Cluster| {
        let client = cluster.connect().await;
        [rows(&client, QUESTIONS[0]).await.expect("a plan"), rows(&client, QUESTIONS[1]).await.expect("an answer")]
    };
    let [plan, answer] = ask(&cluster).await;
    assert!(plan.iter().any(|line| line[0].contains("rows=3 ")), "{plan:?}");
    assert_eq!(answer, [["3000", "1002"]]);
    let leader = cluster.leader_dir();
    cluster.leader.stop();
    let (said, sound) = check(&[text(&leader)]);
    assert!(sound && said.contains("side files: all that the metadata name"), "{said}");
    cluster.restart_leader();
    assert_eq!(ask(&cluster).await, [plan.clone(), answer.clone()]);

    cluster.leader.stop();
    let files = side_files(&leader);
    files.iter().for_each(|file| std::fs::remove_file(file).expect("removing a side file"));
    let (said, sound) = check(&[text(&leader)]);
    assert!(!sound && said.contains("3 cannot be read"), "{said}");
    cluster.restart_leader();
    let [worse, same] = ask(&cluster).await;
    assert!(worse != plan && same == answer, "{worse:?}\n{same:?}");
}

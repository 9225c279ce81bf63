//! Files of a node that go bad or are gone.

use crate::crash::{COUNT, RECOVERY_MAX, after_recovery, all_counted, eventually, in_time, prepare};
use crate::harness::{Cluster, rows};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio_postgres::error::SqlState;

/// All files below a directory; what goes away meanwhile is left out.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => left.push(path),
                path => found.push(path),
            }
        }
    }
    found
}

/// The segment files of a node.
pub fn segment_files(node_dir: &Path) -> Vec<PathBuf> {
    let mut found = files_below(node_dir);
    found.retain(|path| path.extension().is_some_and(|extension| extension == "vortex"));
    found
}

fn flip_a_byte(path: &Path, rng: &mut StdRng) {
    let mut bytes = std::fs::read(path).expect("reading a segment");
    let place = rng.random_range(0..bytes.len());
    bytes[place] ^= 1 << rng.random_range(0..8);
    std::fs::write(path, bytes).expect("writing a segment");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_or_missing_file_is_replaced_by_its_copy() {
    let mut rng = StdRng::seed_from_u64(11);
    let mut cluster = Cluster::start(2);
    let client = cluster.connect().await;
    prepare(&client).await;
    for restarted in [true, false] {
        // In the second round what was missing in the first has been fetched again.
        eventually("a node has its files", || segment_files(&cluster.node_dir(0)).len() >= 6).await;
        let files = segment_files(&cluster.node_dir(0));
        if restarted {
            cluster.nodes[0].stop();
        }
        for (nth, file) in files.iter().enumerate() {
            match nth % 2 {
                0 => flip_a_byte(file, &mut rng),
                _ => std::fs::remove_file(file).expect("removing a segment"),
            }
        }
        if restarted {
            cluster.restart_node(0);
        }
        assert_eq!(after_recovery(|| rows(&client, COUNT)).await, all_counted(), "restarted: {restarted}");
        assert_eq!(after_recovery(|| rows(&client, "SELECT sum(n) FROM digits")).await, [["45"]]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_copy_a_bad_or_missing_file_is_an_error_that_names_the_segment() {
    let mut rng = StdRng::seed_from_u64(12);
    for missing in [false, true] {
        let mut cluster = Cluster::start_with(1, &[]);
        let client = cluster.connect().await;
        prepare(&client).await;
        cluster.nodes[0].stop();
        for file in segment_files(&cluster.node_dir(0)) {
            match missing {
                true => std::fs::remove_file(file).expect("removing a segment"),
                false => flip_a_byte(&file, &mut rng),
            }
        }
        cluster.restart_node(0);
        // The leader may not have noticed the restart.
        let deadline = Instant::now() + RECOVERY_MAX;
        let error = loop {
            let error = in_time(&client, COUNT).await.expect_err("no row is readable");
            if error.code() != Some(&SqlState::SYSTEM_ERROR) || Instant::now() > deadline {
                break error;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let told = error.as_db_error().expect("an error of the server");
        assert_eq!(told.code(), if missing { &SqlState::UNDEFINED_FILE } else { &SqlState::DATA_CORRUPTED }, "{told:?}");
        assert!(told.message().contains("segment ") && told.message().contains("public.src"), "{told:?}");
    }
}

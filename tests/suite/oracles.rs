//! Oracles that look for wrong answers: random queries against PostgreSQL, DuckDB and Slipher itself, TPC-DS, and bad input.
//! `tests/oracles/README.md` says what each does and how to let them run for hours.

use super::clients::{check, python};
use super::harness::{Cluster, PASSWORD, in_project};
use std::process::Command;

/// Builds without optimisation may take so many times longer for large statements.
const PATIENCE: &str = if cfg!(debug_assertions) { "6" } else { "1" };

/// A script of tests/oracles against a cluster.
fn script(name: &str, cluster: &Cluster) -> Command {
    let mut command = Command::new(python());
    command.arg(in_project("tests/oracles").join(name));
    command.args(["127.0.0.1", &cluster.pg_port.to_string(), "admin", PASSWORD]);
    command
}

/// Prints what was tried, which the run's log keeps.
async fn report(command: Command) {
    println!("{}", check(command).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_queries_have_the_right_answers() {
    // Tables are small: with a limit smaller still, some joins copy a side to all nodes and some shuffle both.
    let (three, one) = (Cluster::start_with(3, &["--broadcast-rows-max", "20"]), Cluster::start(1));
    let mut command = script("run.py", &three);
    command.arg(one.pg_port.to_string());
    report(command).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_refused_in_good_time() {
    let cluster = Cluster::start(2);
    let mut command = script("bad_input.py", &cluster);
    command.arg(PATIENCE);
    report(command).await;
}

/// `SLIPHER_TPCDS_SCALE=1 cargo test --release --test suite tpcds` runs it at another scale factor than 0.01.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tpcds_is_answered_as_by_duckdb() {
    let cluster = Cluster::start(2);
    let mut command = script("tpcds.py", &cluster);
    command.arg(cluster.load_dir()).arg(std::env::var("SLIPHER_TPCDS_SCALE").unwrap_or_else(|_| "0.01".to_owned()));
    report(command).await;
}

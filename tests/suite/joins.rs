//! Random queries over tables of every distribution, on clusters with uneven slice ownership, against the oracle.
//!
//! `SLIPHER_JOIN_SEEDS=1000..1040` runs other seeds than the fixed ones, to hunt.

mod generate;
mod world;

use crate::harness::Cluster;
use crate::oracle::{Answer, Oracle, Rows, ask_slipher, difference};
use generate::{Generator, Query};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::ops::Range;
use tokio_postgres::Client;

/// Queries of one seed.
const QUERIES_PER_SEED: usize = 25;
/// So many failures are shown.
const FAILURES_SHOWN_MAX: usize = 8;

/// The queries of a seed, the same ones every time.
fn queries(seed: u64) -> Vec<Query> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut generator = Generator::new(&mut rng);
    (0..QUERIES_PER_SEED).map(|_| generator.query()).collect()
}

fn seeds(fixed: Range<u64>) -> Range<u64> {
    let Ok(wanted) = std::env::var("SLIPHER_JOIN_SEEDS") else { return fixed };
    let (from, to) = wanted.split_once("..").expect("SLIPHER_JOIN_SEEDS=FROM..TO");
    from.parse().expect("a seed")..to.parse().expect("a seed")
}

/// A fixed world in an oracle and a cluster.
async fn loaded(cluster: &Cluster) -> (Oracle, Client) {
    let oracle = Oracle::new();
    let statements = world::make(&mut StdRng::seed_from_u64(4711), &oracle);
    let client = cluster.connect().await;
    world::load(&client, &statements).await;
    (oracle, client)
}

/// Runs the queries of all seeds on both; panics with what differs.
async fn compare(oracle: &Oracle, client: &Client, seeds: Range<u64>) {
    let (mut compared, mut refused) = (0, 0);
    let mut failures = Vec::new();
    for seed in seeds.clone() {
        for (nth, query) in queries(seed).into_iter().enumerate() {
            let sql = &query.sql;
            let expected = match oracle.ask(sql).await {
                Ok(expected) => expected,
                // What the engine cannot plan at all, such as some correlated subqueries.
                Err(_) => {
                    refused += 1;
                    continue;
                }
            };
            compared += 1;
            let told = match ask_slipher(client, sql, &expected.floats).await {
                Ok(rows) => differs(&query, &expected, &rows),
                Err(error) => Some(format!("{:?}", error.as_db_error().map_or(error.to_string(), |known| format!("{known:?}")))),
            };
            if let Some(difference) = told {
                failures.push(format!("-- seed {seed}, query {nth}\n{sql}\n  {difference}"));
            }
        }
    }
    println!("seeds {seeds:?}: {compared} queries compared, {refused} refused by the oracle, {} differ", failures.len());
    assert!(refused * 10 < compared, "too few of the queries mean anything: {refused} refused, {compared} compared");
    if !failures.is_empty() {
        let plans = explained(client, &failures[0]).await;
        let shown = failures.iter().take(FAILURES_SHOWN_MAX).cloned().collect::<Vec<_>>().join("\n");
        panic!("{} of {compared} queries differ:\n{shown}\nPlan of the first:\n{plans}", failures.len());
    }
}

fn differs(query: &Query, expected: &Answer, rows: &Rows) -> Option<String> {
    let sequence = |rows: &Rows| -> Rows { rows.iter().map(|row| row[..query.ordered_columns].to_vec()).collect() };
    if query.all_rows_certain
        && let Some(difference) = difference(expected, rows)
    {
        return Some(difference);
    }
    let (wanted, got) = (sequence(&expected.rows), sequence(rows));
    (wanted != got).then(|| format!("another order: {:?}\n  instead of {:?}", first_few(&got), first_few(&wanted)))
}

fn first_few(rows: &Rows) -> Rows {
    rows.iter().take(20).cloned().collect()
}

async fn explained(client: &Client, failure: &str) -> String {
    let sql = failure.lines().nth(1).unwrap_or_default();
    match ask_slipher(client, &format!("EXPLAIN VERBOSE {sql}"), &[]).await {
        Ok(rows) => rows.into_iter().flatten().flatten().map(|line| format!("{line}\n")).collect(),
        Err(error) => format!("{error:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_queries_on_three_nodes_with_eight_slices() {
    let cluster = Cluster::start(3);
    let (oracle, client) = loaded(&cluster).await;
    compare(&oracle, &client, seeds(0..6)).await;
}

/// Joins that would copy one side shuffle instead.
#[tokio::test(flavor = "multi_thread")]
async fn random_queries_on_three_nodes_with_five_slices_and_shuffles() {
    let cluster = Cluster::start_with(3, &["--slices", "5", "--broadcast-rows-max", "0"]);
    let (oracle, client) = loaded(&cluster).await;
    compare(&oracle, &client, seeds(100..108)).await;
}

/// Copies and shuffles in one plan.
#[tokio::test(flavor = "multi_thread")]
async fn random_queries_on_two_nodes_with_seven_slices_and_three_lanes() {
    let cluster = Cluster::start_with(2, &["--slices", "7", "--lanes", "3", "--broadcast-rows-max", "100"]);
    let (oracle, client) = loaded(&cluster).await;
    compare(&oracle, &client, seeds(200..206)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_queries_on_one_node() {
    let cluster = Cluster::start_with(1, &["--slices", "3", "--broadcast-rows-max", "50"]);
    let (oracle, client) = loaded(&cluster).await;
    compare(&oracle, &client, seeds(300..303)).await;
}

/// The replicas of a dead node's slices answer, and its share of the slices lies unevenly on the others.
#[tokio::test(flavor = "multi_thread")]
async fn random_queries_after_a_node_died() {
    let mut cluster = Cluster::start_with(4, &["--slices", "9", "--broadcast-rows-max", "100"]);
    let (oracle, client) = loaded(&cluster).await;
    compare(&oracle, &client, seeds(400..401)).await;
    cluster.nodes[1].kill();
    compare(&oracle, &client, seeds(401..404)).await;
}

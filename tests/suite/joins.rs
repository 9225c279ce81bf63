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

/// What kind of queries a seed stands for.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Anything.
    Mixed,
    /// Many inner joins, which have many orders.
    Regions,
}

/// The queries of a seed, the same ones every time.
fn queries(seed: u64, kind: Kind) -> Vec<Query> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut generator = Generator::new(&mut rng);
    let mut one = || match kind {
        Kind::Mixed => generator.query(),
        Kind::Regions => Query { sql: generator.region_query(), ordered_columns: 0, all_rows_certain: true },
    };
    (0..QUERIES_PER_SEED).map(|_| one()).collect()
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
    compare_kind(oracle, client, seeds, Kind::Mixed).await;
}

async fn compare_kind(oracle: &Oracle, client: &Client, seeds: Range<u64>, kind: Kind) {
    let (mut compared, mut refused) = (0, 0);
    let mut failures = Vec::new();
    for seed in seeds.clone() {
        for (nth, query) in queries(seed, kind).into_iter().enumerate() {
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
                Ok(rows) => differs(&query, &expected, &as_compared(rows)),
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

/// Of equal strings any may be shown.
fn as_compared(rows: Rows) -> Rows {
    let cell = |cell: Option<String>| cell.map(|text| world::without_blanks(&text).to_owned());
    rows.into_iter().map(|row| row.into_iter().map(cell).collect()).collect()
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

/// Other orders of the joins, semi joins in other places: the same rows.
#[tokio::test(flavor = "multi_thread")]
async fn random_regions_of_inner_joins() {
    let cluster = Cluster::start_with(2, &["--slices", "5", "--broadcast-rows-max", "100"]);
    let (oracle, client) = loaded(&cluster).await;
    compare_kind(&oracle, &client, seeds(500..508), Kind::Regions).await;
}

/// What random queries found; each answered wrongly or failed once.
const FOUND: &[&str] = &[
    // A filter on the side that an outer join fills with NULLs went to the column of that name on the other side.
    "SELECT r2.id AS c0, r1.s AS c1, r1.dt AS c2 FROM k_s AS r2 RIGHT JOIN k_dtb AS r1 ON r2.v = r1.v WHERE r2.s IS NULL",
    "SELECT r1.i8 AS c0, r2.d AS c1, sum(r1.i4) OVER (ORDER BY r2.d) AS w FROM k_none AS r1 RIGHT JOIN e_a AS r2 ON r1.v = r2.i4 \
     WHERE NOT (r1.d IS NOT NULL) AND NOT EXISTS (SELECT 1 FROM k_d AS r3 WHERE r1.i2 = r3.d)",
    // A window took the order of its rows for known, which a boundary below it forgets.
    "SELECT r2.c0 AS c0, rank() OVER (PARTITION BY r2.c0 ORDER BY r2.c2) AS w FROM (SELECT r1.i4 AS c0, r1.f AS c2 FROM k_i4b AS r1 \
     ORDER BY r1.id DESC LIMIT 37) AS r2 WHERE EXISTS (SELECT 1 FROM k_s AS r4 WHERE r2.c0 = r4.i2)",
    "SELECT r2.c0 AS c0, count(*) OVER (PARTITION BY r2.c0) AS w FROM (SELECT column1 AS c0 FROM (VALUES (7), (8), (CAST(NULL AS int))) \
     AS x) AS r2 WHERE r2.c0 IN (SELECT r4.i4 FROM k_i2 AS r4 JOIN k_i4b AS r3 ON r4.i8 = r3.i4 WHERE r4.i4 IS NOT NULL)",
    // Columns of different SQL types under one aggregate.
    "SELECT count(*) AS n, min(c0) AS m FROM (SELECT i8 AS c0 FROM k_i8 UNION ALL SELECT v AS c0 FROM e_b) AS u",
    "SELECT dt AS c0, v AS c1, count(*) AS n FROM k_dtb GROUP BY ROLLUP (dt, v)",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_was_wrong_once_is_right() {
    let cluster = Cluster::start_with(2, &["--slices", "5", "--broadcast-rows-max", "100"]);
    let (oracle, client) = loaded(&cluster).await;
    for sql in FOUND {
        let expected = oracle.ask(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let rows = ask_slipher(&client, sql, &expected.floats).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(difference(&expected, &as_compared(rows)), None, "{sql}");
    }
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

/// Segments with rows of several slices meet those of one, and both meet rows that are shuffled.
#[tokio::test(flavor = "multi_thread")]
async fn random_queries_while_segments_are_coarse() {
    let options = ["--slices", "3", "--lanes", "2", "--broadcast-rows-max", "50", "--compact-seconds", "0"];
    let cluster = Cluster::start_with(3, &options);
    let (oracle, client) = loaded(&cluster).await;
    for statement in [
        "ALTER SYSTEM SET slices TO 6",
        "VACUUM k_s",
        "VACUUM k_i8",
        "ALTER SYSTEM SET slices TO 24",
        "VACUUM k_dtb",
        "VACUUM e_a",
    ] {
        client.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    compare(&oracle, &client, seeds(600..604)).await;
    client.batch_execute("VACUUM").await.expect("all segments are split");
    compare(&oracle, &client, seeds(604..605)).await;
}

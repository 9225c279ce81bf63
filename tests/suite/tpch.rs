//! TPC-H, generated into the cluster, against the oracle over the same rows.
//!
//! `SLIPHER_TPCH_SCALE=1 cargo test --release --test suite tpch` runs it at another scale factor than 0.01.

use crate::harness::Cluster;
use crate::oracle::{Answer, Oracle, Rows, ask_slipher};
use slipher_common::tpch::{TPCH_TABLES, tpch_batches, tpch_ddl, tpch_query, tpch_rows, tpch_schema};
use tokio_postgres::Client;

/// How far a float may be off, relative to its size.
const FLOAT_TOLERANCE: f64 = 1e-9;

fn scale() -> f64 {
    std::env::var("SLIPHER_TPCH_SCALE").map_or(0.01, |text| text.parse().expect("SLIPHER_TPCH_SCALE is a number"))
}

/// Makes and fills all tables.
pub async fn load(client: &Client, scale: f64) {
    for table in TPCH_TABLES {
        client.batch_execute(tpch_ddl(table)).await.expect("creating a table");
        let insert = format!("INSERT INTO {table} SELECT * FROM tpchgen('{table}', {scale})");
        let rows = client.execute(&insert, &[]).await.unwrap_or_else(|error| panic!("{insert}: {error:?}"));
        assert_eq!(rows, tpch_rows(table, scale), "rows loaded into {table}");
    }
}

fn oracle(scale: f64) -> Oracle {
    let oracle = Oracle::new();
    for table in TPCH_TABLES {
        let schema = tpch_schema(table).expect("its schema");
        oracle.add(table, schema, tpch_batches(table, scale, 0, 1).collect());
    }
    oracle
}

/// What differs, row by row in the order of the query.
fn difference(expected: &Answer, actual: &Rows) -> Option<String> {
    if expected.rows.len() != actual.len() {
        return Some(format!("{} rows instead of {}", actual.len(), expected.rows.len()));
    }
    let rows = expected.rows.iter().zip(actual).enumerate();
    let mut different = rows.filter(|(_, (wanted, got))| {
        let cells = wanted.iter().zip(got.iter()).zip(&expected.floats);
        wanted.len() != got.len() || cells.into_iter().any(|((wanted, got), float)| !same_cell(wanted, got, *float))
    });
    different.next().map(|(nth, (wanted, got))| format!("row {nth}: {got:?}\n  instead of {wanted:?}"))
}

fn same_cell(wanted: &Option<String>, got: &Option<String>, float: bool) -> bool {
    match (wanted, got) {
        (Some(wanted), Some(got)) if float => {
            let (wanted, got) = (wanted.parse::<f64>().expect("a float"), got.parse::<f64>().unwrap_or(f64::NAN));
            (wanted - got).abs() <= FLOAT_TOLERANCE * wanted.abs().max(1.0)
        }
        // CHAR pads with blanks.
        (Some(wanted), Some(got)) => wanted.trim_end_matches(' ') == got.trim_end_matches(' '),
        (wanted, got) => wanted == got,
    }
}

async fn all_answers_are_the_oracles(cluster: &Cluster) {
    let client = cluster.connect().await;
    load(&client, scale()).await;
    let oracle = oracle(scale());
    let mut failures = Vec::new();
    for number in 1..=22 {
        let sql = tpch_query(number);
        let expected = oracle.ask(sql).await.unwrap_or_else(|error| panic!("the oracle's query {number}: {error}"));
        if scale() >= 0.01 && ![2, 8, 18, 20, 21].contains(&number) {
            assert!(!expected.rows.is_empty(), "query {number} has an answer");
        }
        let told = match ask_slipher(&client, sql, &expected.floats).await {
            Ok(rows) => difference(&expected, &rows),
            Err(error) => Some(format!("{error:?}")),
        };
        failures.extend(told.map(|told| format!("query {number}: {told}")));
    }
    assert!(failures.is_empty(), "{} of 22 queries differ:\n{}", failures.len(), failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tpch_on_two_nodes() {
    all_answers_are_the_oracles(&Cluster::start(2)).await;
}

/// Slices lie unevenly, and what is small enough to be copied elsewhere is shuffled.
#[tokio::test(flavor = "multi_thread")]
async fn tpch_on_three_nodes_with_five_slices_and_shuffles() {
    all_answers_are_the_oracles(&Cluster::start_with(3, &["--slices", "5", "--broadcast-rows-max", "500"])).await;
}

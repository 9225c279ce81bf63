//! Prepared statements that run again, with plans of former runs, answer what they would answer if they were planned anew.

use crate::harness::{Cluster, rows};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Statement};

type Values<'a> = Vec<&'a (dyn ToSql + Sync)>;
/// A query, the types of its parameters, and values for them: as parameters, and as they are written.
type Tried<'a> = (&'static str, Vec<Type>, Vec<(Values<'a>, Vec<String>)>);

/// The rows of a prepared statement, all of whose columns are text.
async fn run(client: &Client, statement: &Statement, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Vec<String>>, String> {
    let found = client.query(statement, values).await.map_err(|error| code_of(&error))?;
    let cell = |row: &tokio_postgres::Row, column| row.get::<_, Option<String>>(column).unwrap_or_else(|| "NULL".to_owned());
    let mut found: Vec<Vec<_>> = found.iter().map(|row| (0..row.len()).map(|column| cell(row, column)).collect()).collect();
    found.sort();
    Ok(found)
}

fn code_of(error: &tokio_postgres::Error) -> String {
    error.code().map_or_else(|| format!("{error:?}"), |code| code.code().to_owned())
}

fn reused(cluster: &Cluster) -> u64 {
    let metrics = cluster.metrics();
    let line = metrics.lines().find_map(|line| line.strip_prefix("slipher_plans_reused_total "));
    line.expect("the counter").parse().expect("a number")
}

/// What is done between runs. Each time the prepared statements must see it.
const BETWEEN: [&str; 12] = [
    "SELECT 1",
    "INSERT INTO t VALUES (7, 'new', 7.5, date '2026-01-07')",
    "INSERT INTO t VALUES (8, 'blank  ', 8.5, NULL)",
    "DELETE FROM t WHERE k = 3",
    "UPDATE t SET v = 'a' WHERE k = 4",
    "ALTER TABLE t RENAME COLUMN v TO w; ALTER TABLE t RENAME COLUMN w TO v",
    "ALTER TABLE t ADD COLUMN more int",
    "CREATE OR REPLACE VIEW seen AS SELECT k, v FROM t WHERE k > 2",
    "BEGIN; INSERT INTO t VALUES (9, 'own', 9.5, date '2026-01-09')",
    "ROLLBACK",
    "CREATE TEMP TABLE t (k int, v varchar(20), d decimal(8,2), day date); INSERT INTO t VALUES (1, 'temporary', 0, NULL)",
    "DROP TABLE t",
];

/// Queries over text, with `?` for each value, and the values as types, as parameters, and as they are written.
fn queries<'a>(numbers: &'a [i32; 3], reals: &'a [f64; 2]) -> Vec<Tried<'a>> {
    let number = |n: &'a i32| (vec![n as &(dyn ToSql + Sync)], vec![n.to_string()]);
    let real = |d: &'a f64| (vec![d as &(dyn ToSql + Sync)], vec![format!("{d}::float8")]);
    let by_number = || numbers.iter().map(number).collect::<Vec<_>>();
    let none = || vec![(Vec::new(), Vec::new())];
    vec![
        ("SELECT k::varchar, v, d::varchar, day::varchar FROM t WHERE k = ?", vec![Type::INT4], by_number()),
        ("SELECT count(*)::varchar, max(v) FROM t WHERE k > ? AND v <> 'a'", vec![Type::INT4], by_number()),
        ("SELECT v FROM t WHERE v = 'blank' AND k >= ?", vec![Type::INT4], by_number()),
        ("SELECT (k / ?)::varchar FROM t", vec![Type::INT4], by_number()),
        ("SELECT v FROM t WHERE d > ?", vec![Type::FLOAT8], reals.iter().map(real).collect()),
        ("SELECT v, (d * ?)::varchar FROM seen JOIN t USING (k, v)", vec![Type::INT4], by_number()),
        ("SELECT v FROM t WHERE k IN (SELECT k FROM seen WHERE k < ?)", vec![Type::INT4], by_number()),
        ("SELECT k::varchar FROM t ORDER BY k LIMIT ?", vec![Type::INT4], by_number()),
        ("SELECT count(*)::varchar, count(distinct v)::varchar FROM t", vec![], none()),
        ("SELECT a.v FROM t a JOIN seen b ON a.v = b.v AND a.k = b.k WHERE a.v = 'blank' OR a.k = 7", vec![], none()),
        ("SELECT 'x' || 1 + 2", vec![], none()),
    ]
}

fn written(sql: &str, values: &[String]) -> String {
    values.iter().fold(sql.to_owned(), |sql, value| sql.replacen('?', value, 1))
}

fn numbered(sql: &str) -> String {
    sql.replacen('?', "$1", 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_is_kept_is_the_one_that_would_be_made() {
    let cluster = Cluster::start(2);
    let client = cluster.connect().await;
    let tables = "CREATE TABLE t (k int, v varchar(20), d decimal(8,2), day date) DISTKEY(k) SORTKEY(k); \
        INSERT INTO t SELECT n, 'v' || n, n * 1.25, date '2026-01-01' + n FROM generate_series(1, 6) g(n); \
        CREATE VIEW seen AS SELECT k, v FROM t WHERE k > 1";
    client.batch_execute(tables).await.expect("a table");
    let numbers = [4, 0, 7];
    let reals = [2.5, 7.5];
    let queries = queries(&numbers, &reals);
    let mut prepared = Vec::new();
    for (sql, types, _) in &queries {
        prepared.push(client.prepare_typed(&numbered(sql), types).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")));
    }
    for between in BETWEEN {
        client.batch_execute(between).await.unwrap_or_else(|error| panic!("{between}: {error:?}"));
        let in_block = between.starts_with("BEGIN");
        for ((sql, _, cases), statement) in queries.iter().zip(&prepared) {
            for (values, texts) in cases {
                let text = written(sql, texts);
                // In a block an error would end all that follows.
                if in_block && text.contains("/ 0") {
                    continue;
                }
                let mut expected = rows(&client, &text).await.map_err(|error| code_of(&error));
                expected.iter_mut().for_each(|rows| rows.sort());
                for run_number in 1..=3 {
                    assert_eq!(run(&client, statement, values).await, expected, "run {run_number} of {text} after {between}");
                }
            }
        }
    }
    assert!(reused(&cluster) > 0, "no plan was of use twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_time_it_is_and_who_asks_is_not_kept() {
    let cluster = Cluster::start(1);
    let client = cluster.connect().await;
    for (sql, changes) in
        [("SELECT now()::varchar", true), ("SELECT random()::varchar", true), ("SELECT pg_backend_pid()::varchar", false)]
    {
        let statement = client.prepare(sql).await.expect(sql);
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(run(&client, &statement, &[]).await.expect(sql));
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        seen.dedup();
        assert_eq!(seen.len(), if changes { 4 } else { 1 }, "{sql}: {seen:?}");
    }
    let before = reused(&cluster);
    let statement = client.prepare("SELECT 'a' || $1::int").await.expect("a constant");
    for number in 0..5 {
        assert_eq!(run(&client, &statement, &[&number]).await.unwrap(), vec![vec![format!("a{number}")]]);
    }
    assert_eq!(reused(&cluster) - before, 3, "from the third run on");
}

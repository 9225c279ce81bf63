//! EXPLAIN says what each join moved, and nothing moves that need not.

use crate::harness::{Cluster, rows};
use crate::tpch;
use slipher_common::tpch::tpch_query;
use std::collections::BTreeSet;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

async fn plan(client: &Client, sql: &str) -> String {
    let lines = rows(client, &format!("EXPLAIN {sql}")).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    lines.into_iter().map(|line| format!("{}\n", line.join(""))).collect()
}

/// The `DS_...` words of a plan, from the top.
fn labels(plan: &str) -> Vec<&str> {
    plan.split_whitespace().filter(|word| word.starts_with("DS_")).collect()
}

fn shuffles(plan: &str) -> usize {
    plan.matches("Network (Distribute)").count()
}

/// TPC-H in miniature, with a small EVEN table; joins shuffle what has more than 100 rows.
async fn warehouse() -> (Cluster, Client) {
    let cluster = Cluster::start_with(3, &["--slices", "5", "--broadcast-rows-max", "100"]);
    let client = cluster.connect().await;
    tpch::load(&client, 0.001).await;
    client.batch_execute("CREATE TABLE small (k bigint, name varchar(10)) DISTSTYLE EVEN").await.expect("create");
    client.batch_execute("INSERT INTO small VALUES (1, 'a'), (2, 'b'), (3, 'c')").await.expect("insert");
    for (name, style) in [("by_order", "DISTKEY(k)"), ("evenly", "DISTSTYLE EVEN"), ("everywhere", "DISTSTYLE ALL")] {
        client.batch_execute(&format!("CREATE TABLE {name} (k bigint, n int) {style}")).await.expect("create");
    }
    (cluster, client)
}

const LINES_OF_ORDERS: &str =
    "SELECT o_orderdate, sum(l_quantity) FROM lineitem JOIN orders ON l_orderkey = o_orderkey GROUP BY o_orderdate";

#[tokio::test(flavor = "multi_thread")]
async fn explain_names_what_each_join_moved() {
    let (_cluster, client) = warehouse().await;
    let cases: &[(&str, &str, usize)] = &[
        // Both lie by the order key.
        ("SELECT count(*) FROM lineitem JOIN orders ON l_orderkey = o_orderkey", "DS_DIST_NONE", 0),
        ("SELECT count(*) FROM lineitem LEFT JOIN orders ON l_orderkey = o_orderkey", "DS_DIST_NONE", 0),
        ("SELECT count(*) FROM lineitem FULL JOIN orders ON l_orderkey = o_orderkey", "DS_DIST_NONE", 0),
        ("SELECT count(*) FROM orders WHERE EXISTS (SELECT 1 FROM lineitem WHERE l_orderkey = o_orderkey)", "DS_DIST_NONE", 0),
        (
            "SELECT count(*) FROM orders WHERE NOT EXISTS (SELECT 1 FROM lineitem WHERE l_orderkey = o_orderkey)",
            "DS_DIST_NONE",
            0,
        ),
        ("DELETE FROM orders USING lineitem WHERE l_orderkey = o_orderkey", "DS_DIST_NONE", 0),
        ("UPDATE orders SET o_comment = l_comment FROM lineitem WHERE l_orderkey = o_orderkey", "DS_DIST_NONE", 0),
        // Orders move to where their customers are.
        ("SELECT count(*) FROM orders JOIN customer ON o_custkey = c_custkey", "DS_DIST_OUTER", 1),
        // Of two sides, the smaller one is the inner one: it moves to the orders.
        ("SELECT count(*) FROM orders JOIN partsupp ON o_orderkey = ps_suppkey", "DS_DIST_INNER", 1),
        ("SELECT count(*) FROM orders JOIN partsupp ON o_custkey = ps_suppkey", "DS_DIST_BOTH", 2),
        ("SELECT count(*) FROM orders JOIN small ON o_custkey = k", "DS_BCAST_INNER", 0),
        ("SELECT count(*) FROM customer JOIN nation ON c_nationkey = n_nationkey", "DS_DIST_ALL_NONE", 0),
        ("SELECT count(*) FROM nation JOIN region ON n_regionkey = r_regionkey", "DS_DIST_ALL_NONE", 0),
    ];
    for (sql, label, moved) in cases {
        let plan = plan(&client, sql).await;
        assert_eq!(labels(&plan), [*label], "{sql}\n{plan}");
        assert_eq!(shuffles(&plan), *moved, "{sql}\n{plan}");
    }
}

/// The rows that a scan of `table` with `filter` is taken to yield.
async fn estimated(client: &Client, table: &str, filter: &str) -> f64 {
    let plan = plan(client, &format!("SELECT * FROM {table} WHERE {filter}")).await;
    let line = plan.lines().find(|line| line.contains("Seq Scan")).unwrap_or_else(|| panic!("no scan in\n{plan}"));
    let rows = line.split("rows=").nth(1).and_then(|rest| rest.split_whitespace().next());
    rows.and_then(|rows| rows.parse().ok()).unwrap_or_else(|| panic!("no rows in {line}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn uneven_columns_are_estimated_by_their_histograms() {
    let (_cluster, client) = warehouse().await;
    let uneven = "CREATE TABLE uneven DISTKEY(k) AS SELECT k, CASE WHEN k % 50 = 0 THEN 'open' ELSE 'closed' END AS status, \
                  CASE WHEN k % 10 = 0 THEN k ELSE k / 1000 END AS v FROM \
                  (SELECT CAST(row_number() OVER (ORDER BY l_orderkey, l_linenumber) + a.o * 6000 AS bigint) AS k \
                   FROM lineitem CROSS JOIN (SELECT l_linenumber AS o FROM lineitem LIMIT 6) a) n";
    client.batch_execute(uneven).await.unwrap_or_else(|error| panic!("{error:?}"));
    for filter in [
        "status = 'open'",
        "status = 'closed'",
        "status <> 'closed'",
        "status LIKE 'clo%'",
        "status IN ('open', 'none')",
        "v < 20",
        "v BETWEEN 100 AND 10000",
        "v >= 17000",
    ] {
        let counted = rows(&client, &format!("SELECT count(*) FROM uneven WHERE {filter}")).await.unwrap();
        let (counted, estimated) = (counted[0][0].parse::<f64>().unwrap(), estimated(&client, "uneven", filter).await);
        assert!((counted - estimated).abs() < 36_000.0 * 0.03, "{filter}: {estimated} instead of {counted} rows");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_by_its_key_is_grouped_and_loaded_in_place() {
    let (_cluster, client) = warehouse().await;
    let cases = [
        (LINES_OF_ORDERS, 1),
        ("SELECT l_orderkey, count(*) FROM lineitem GROUP BY l_orderkey", 0),
        ("SELECT l_orderkey, l_partkey, count(*) FROM lineitem GROUP BY l_orderkey, l_partkey", 0),
        ("SELECT DISTINCT l_orderkey FROM lineitem", 0),
        ("SELECT o_orderkey, sum(l_tax) FROM lineitem JOIN orders ON l_orderkey = o_orderkey GROUP BY o_orderkey", 0),
        ("SELECT rank() OVER (PARTITION BY l_orderkey ORDER BY l_linenumber) FROM lineitem", 0),
        ("SELECT l_partkey, count(*) FROM lineitem GROUP BY l_partkey", 1),
        ("INSERT INTO by_order SELECT o_orderkey, 1 FROM orders", 0),
        ("INSERT INTO by_order SELECT o_custkey, 1 FROM orders", 1),
        ("INSERT INTO evenly SELECT o_custkey, 1 FROM orders", 0),
        ("INSERT INTO everywhere SELECT n_nationkey, 1 FROM nation", 0),
    ];
    for (sql, moved) in cases {
        let plan = plan(&client, sql).await;
        assert_eq!(shuffles(&plan), moved, "{sql}\n{plan}");
    }
}

/// How many segments the scan of a plan reads, and of how many.
fn segments(lines: &[tokio_postgres::Row]) -> String {
    let lines = lines.iter().map(|row| row.get::<_, String>(0));
    lines.filter_map(|line| line.trim().strip_prefix("segments ").map(str::to_owned)).collect::<Vec<_>>().join(", ")
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_parameters_leave_segments_out() {
    let cluster = Cluster::start(3);
    let client = cluster.connect().await;
    client.batch_execute("CREATE TABLE parts (d int, k int, s varchar(20)) DISTKEY(d) SORTKEY(k)").await.expect("create");
    for insert in ["(1, 1, 'a'), (1, 2, 'b')", "(1, 3, 'c'), (1, 4, 'd ')", "(1, 5, NULL), (1, 6, 'f')"] {
        client.batch_execute(&format!("INSERT INTO parts VALUES {insert}")).await.expect("insert");
    }
    let by_key = "EXPLAIN SELECT s FROM parts WHERE k = $1 OR k IS NULL";
    let by_key = client.prepare_typed(by_key, &[Type::INT4]).await.expect("prepare");
    for (key, wanted) in [(2, "1 of 3"), (7, "0 of 3"), (4, "1 of 3")] {
        assert_eq!(segments(&client.query(&by_key, &[&key]).await.expect("explain")), wanted, "{key}");
    }
    let by_text = client.prepare_typed("EXPLAIN SELECT s FROM parts WHERE s >= $1", &[Type::VARCHAR]).await.expect("prepare");
    for (text, wanted) in [("a", "3 of 3"), ("d", "2 of 3"), ("d  ", "2 of 3"), ("g", "0 of 3")] {
        assert_eq!(segments(&client.query(&by_text, &[&text]).await.expect("explain")), wanted, "{text}");
    }
}

/// Plans as users see them, one file each in `snapshots`: what moves in each kind of join, and in which order tables are joined.
#[tokio::test(flavor = "multi_thread")]
async fn plans_are_as_they_were_reviewed() {
    let (_cluster, client) = warehouse().await;
    let cases: &[(&str, &str)] = &[
        ("co_located", LINES_OF_ORDERS),
        ("one_sided", "SELECT c_mktsegment, count(*) FROM orders JOIN customer ON o_custkey = c_custkey GROUP BY c_mktsegment"),
        ("broadcast", "SELECT o_orderkey, name FROM orders JOIN small ON o_custkey = k WHERE o_totalprice > 100000"),
        (
            "all",
            "SELECT n_name, count(*) FROM customer JOIN nation ON c_nationkey = n_nationkey GROUP BY n_name ORDER BY 2 DESC LIMIT 3",
        ),
        // The small tables first, though they come last in FROM.
        ("join_order", tpch_query(5)),
        // lineitem is grouped for the parts that are asked for only.
        ("spared_groups", tpch_query(17)),
        // The semi join on orders comes before orders are joined.
        ("semi_join", tpch_query(18)),
    ];
    for (name, sql) in cases {
        let plan = plan(&client, sql.trim().trim_end_matches(';')).await;
        // Compaction may come between the load and this: how many segments there are is no matter of the plan.
        let lines = plan.lines().filter(|line| !line.trim_start().starts_with("segments "));
        insta::assert_snapshot!(*name, lines.map(|line| format!("{line}\n")).collect::<String>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_analyze_tells_of_each_stage_and_slice() {
    let (_cluster, client) = warehouse().await;
    let lines = plan(&client, "ANALYZE SELECT count(*) FROM lineitem JOIN orders ON l_orderkey = o_orderkey").await;
    let scanned = |table: &str| -> u64 {
        let scans = lines.lines().filter(|line| line.contains(&format!("SliceScanExec: table=public.{table},")));
        scans
            .flat_map(|line| line.split(", "))
            .filter(|part| part.contains("_rows={") && part.starts_with("slice_"))
            .map(rows_of)
            .sum()
    };
    let slices: BTreeSet<&str> = lines
        .split([' ', '['])
        .filter_map(|word| word.strip_prefix("slice_")?.split_once("_time={").map(|(slice, _)| slice))
        .collect();
    assert_eq!(slices.into_iter().collect::<Vec<_>>(), ["0", "1", "2", "3", "4"], "{lines}");
    assert_eq!(scanned("orders"), 1500, "{lines}");
    for wanted in ["Stage 1", "bytes_transferred=", "Rows: 1 ", "slice_0_bytes={"] {
        assert!(lines.contains(wanted), "{wanted}\n{lines}");
    }
}

/// The number in `slice_3_rows={1:310}]`.
fn rows_of(metric: &str) -> u64 {
    let digits: String = metric.rsplit(':').next().unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{metric}"))
}

/// How many lanes read of the slices of `table`, by what EXPLAIN ANALYZE says.
async fn lanes_of(client: &Client, query: &str) -> u64 {
    let lines = plan(client, &format!("ANALYZE {query}")).await;
    let words = lines.split([' ', '[', ',']).filter(|word| word.starts_with("slice_") && word.contains("_lanes={"));
    words.map(rows_of).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_large_slice_is_read_by_all_lanes() {
    let cluster = Cluster::start_with(1, &["--slices", "5", "--lanes", "4"]);
    let client = cluster.connect().await;
    client.batch_execute("CREATE TABLE big (id int, k int, v varchar(20)) DISTKEY(k)").await.expect("create");
    let load = "INSERT INTO big SELECT n, 7, 'v' || n % 10 FROM generate_series(1, 400000) g(n)";
    client.batch_execute(load).await.expect("load");
    assert_eq!(lanes_of(&client, "SELECT sum(id) FROM big").await, 4);
    // Who groups by the key needs its rows in one lane, as long as nothing moves them.
    assert_eq!(lanes_of(&client, "SELECT k, v, count(*) OVER (PARTITION BY k ORDER BY id) FROM big LIMIT 1").await, 1);
    let all = "SELECT count(*), count(DISTINCT id), sum(id), min(v), max(v) FROM big";
    assert_eq!(rows(&client, all).await.expect("all"), [["400000", "400000", "80000200000", "v0", "v9"]]);
    // Row ids of parts, and deleted rows in them.
    client.batch_execute("DELETE FROM big WHERE id % 10 = 3").await.expect("delete");
    client.batch_execute("UPDATE big SET id = -id WHERE id % 10 = 4 AND id > 100000").await.expect("update");
    assert_eq!(rows(&client, all).await.expect("all"), [["360000", "360000", "57000340000", "v0", "v9"]]);
    assert_eq!(rows(&client, "SELECT count(*) FROM big a JOIN big b ON a.id = b.id").await.expect("join"), [["360000"]]);
    assert_eq!(rows(&client, "SELECT id FROM big WHERE id IN (65536, 65537, 131072, 399999)").await.expect("edges").len(), 4);
}

//! EXPLAIN says what each join moved, and nothing moves that need not.

use crate::harness::{Cluster, rows};
use crate::tpch;
use tokio_postgres::Client;

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

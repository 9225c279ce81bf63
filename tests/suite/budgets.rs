//! Limits that all users share: the memory of a node, of results, and connections.

use crate::harness::{Cluster, PASSWORD, Process, connect_to, rows};
use slipher_common::tpch::tpch_ddl;
use std::io::{Read, Write};
use std::net::TcpStream;
use tokio::task::JoinSet;
use tokio_postgres::error::SqlState;

/// Queries at a time.
const HEAVY_QUERIES: usize = 64;

/// The body of the answer to an HTTP request, and its status.
fn http(cluster: &Cluster, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
    use base64::Engine as _;
    let credentials = base64::engine::general_purpose::STANDARD.encode(format!("admin:{PASSWORD}"));
    let mut stream = TcpStream::connect(("127.0.0.1", cluster.http_port)).expect("connecting");
    let request = format!(
        "{method} {path} HTTP/1.0\r\nauthorization: Basic {credentials}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("asking");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("reading");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
}

/// A sort, groups, distinct values and joins, none of which fits into 32 MiB, with their numbers of rows.
async fn heavy_queries(client: &tokio_postgres::Client) -> Vec<(String, String)> {
    let all = "SELECT count(*) FROM lineitem";
    let comments = "SELECT sum(c) FROM (SELECT count(*) AS c FROM lineitem GROUP BY l_comment) AS x";
    let count = rows(client, all).await.expect("a count")[0][0].clone();
    assert_eq!(rows(client, comments).await.expect("a sum")[0][0], count);
    [
        "SELECT count(*) FROM (SELECT row_number() OVER (ORDER BY l_comment, l_shipinstruct, l_orderkey) AS rn FROM lineitem) AS x WHERE rn > 0",
        "SELECT sum(c) FROM (SELECT l_comment, l_partkey, l_suppkey, count(*) AS c, max(l_shipinstruct) AS m FROM lineitem \
         GROUP BY l_comment, l_partkey, l_suppkey) AS x",
        "SELECT count(*) FROM lineitem a JOIN lineitem b ON a.l_orderkey = b.l_orderkey AND a.l_linenumber = b.l_linenumber \
         WHERE a.l_comment = b.l_comment",
        "SELECT count(*) FROM lineitem a JOIN (SELECT l_orderkey, l_linenumber, max(l_comment) AS m FROM lineitem GROUP BY 1, 2) AS b \
         ON a.l_comment = b.m AND a.l_orderkey = b.l_orderkey AND a.l_linenumber = b.l_linenumber",
    ]
    .map(|sql| (sql.to_owned(), count.clone()))
    .to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_heavy_queries_answer_or_are_told_that_memory_is_used_up() {
    let budget = ["--query-memory-mib", "32", "--node-memory-mib", "256"];
    let mut cluster = Cluster::start_with_all(2, &[], &budget);
    let client = cluster.connect().await;
    client.batch_execute(tpch_ddl("lineitem")).await.expect("create");
    client.batch_execute("INSERT INTO lineitem SELECT * FROM tpchgen('lineitem', 0.03)").await.expect("insert");
    let queries = heavy_queries(&client).await;
    let mut running = JoinSet::new();
    for number in 0..HEAVY_QUERIES {
        let client = cluster.connect().await;
        let (sql, expected) = queries[number % queries.len()].clone();
        running.spawn(async move { (rows(&client, &sql).await, sql, expected) });
    }
    let (mut answered, mut refused) = (0, 0);
    while let Some(ended) = running.join_next().await {
        let (answer, sql, expected) = ended.expect("a query");
        match answer {
            Ok(found) => {
                assert_eq!(found, [[expected]], "{sql}");
                answered += 1;
            }
            Err(error) => {
                assert_eq!(error.code(), Some(&SqlState::OUT_OF_MEMORY), "{sql}: {error:?}");
                println!("{sql}: {error:?}");
                refused += 1;
            }
        }
    }
    println!("{answered} answered, {refused} refused");
    assert!(answered >= HEAVY_QUERIES / 2, "only {answered} of {HEAVY_QUERIES} were answered");
    assert!(cluster.nodes.iter_mut().all(Process::is_running) && cluster.leader.is_running());
    for (sql, expected) in queries {
        assert_eq!(rows(&client, &sql).await.expect("alone it has all memory"), [[expected]], "{sql}");
    }
}

/// Submits a statement over HTTP that ends before the answer.
fn submit(cluster: &Cluster, sql: &str) -> serde_json::Value {
    let body = serde_json::json!({ "sql": sql, "wait_seconds": 30 }).to_string();
    let (status, answer) = http(cluster, "POST", "/v1/statements", &body);
    assert_eq!(status, 202, "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn results_over_http_take_so_much_memory_and_no_more() {
    let cluster = Cluster::start_with(1, &["--results-mib", "2", "--user-results-mib", "1"]);
    let client = cluster.connect().await;
    client.batch_execute("CREATE TABLE wide (k bigint, v varchar(200))").await.expect("create");
    let numbers =
        "SELECT l_orderkey, 'abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghij' FROM tpchgen('lineitem', 0.01)";
    client.batch_execute(&format!("INSERT INTO wide {numbers}")).await.expect("insert");
    // About 400 KiB each: the third one takes the place of the first.
    let kept: Vec<String> = (0..3)
        .map(|_| {
            let answer = submit(&cluster, "SELECT k, v FROM wide LIMIT 5000");
            assert_eq!((answer["status"].as_str(), answer["rows"].as_u64()), (Some("FINISHED"), Some(5_000)), "{answer}");
            answer["id"].as_str().expect("an id").to_owned()
        })
        .collect();
    let status_of = |id: &String| http(&cluster, "GET", &format!("/v1/statements/{id}/result?limit=1"), "").0;
    assert_eq!(kept.iter().map(status_of).collect::<Vec<_>>(), [404, 200, 200]);
    let (_, page) = http(&cluster, "GET", &format!("/v1/statements/{}/result?offset=4999", kept[2]), "");
    assert_eq!((page["rows"].as_array().map(Vec::len), page["total_rows"].as_u64()), (Some(1), Some(5_000)), "{page}");
    assert!(page["next_offset"].is_null(), "{page}");
    // One that does not fit at all says so; then there is room again.
    let failed = submit(&cluster, "SELECT k, v FROM wide");
    assert_eq!((failed["status"].as_str(), failed["error"]["sqlstate"].as_str()), (Some("FAILED"), Some("53200")), "{failed}");
    let answer = submit(&cluster, "SELECT k, v FROM wide LIMIT 5000");
    assert_eq!(answer["status"], "FINISHED", "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_connections_is_a_setting() {
    let cluster = Cluster::start_with(1, &["--max-connections", "2"]);
    let kept = [cluster.connect().await, cluster.connect().await];
    let refused = connect_to(cluster.pg_port, "admin", PASSWORD, "dev").await.expect_err("there are two already");
    assert_eq!(refused.code(), Some(&SqlState::TOO_MANY_CONNECTIONS), "{refused:?}");
    // HTTP has its own: the endpoint answers.
    assert_eq!(submit(&cluster, "SELECT 1")["status"], "FINISHED");
    for client in &kept {
        assert_eq!(rows(client, "SELECT 1").await.expect("an answer"), [["1"]]);
    }
}

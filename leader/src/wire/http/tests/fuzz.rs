//! Mutated requests: whatever comes, no task panics and the server answers the next client.

use crate::wire::flight_sql::tests::fake::FakeEngine;
use crate::wire::fuzz::{Run, converse, mutate};
use crate::wire::http::{HttpOptions, serve};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::Rng;
use slipher_common::ledger::LedgerLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Requests over one connection, one behind the other.
const REQUESTS_PER_CONNECTION: usize = 50;

/// Requests as a well-behaved client sends them.
fn corpus() -> Vec<Vec<u8>> {
    let credentials = STANDARD.encode("admin:secret");
    let bodies = [
        r#"{"sql": "select 1 as a"}"#,
        r#"{"sql": "select $1", "parameters": [1, "x", null, true, 1.5]}"#,
        r#"{"sql": "", "wait_seconds": 1}"#,
        r#"{"sql": "select 1", "unknown": {}}"#,
        "[]",
    ];
    let mut requests = vec![
        "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
        "GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
        "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
        "OPTIONS /v1/statements HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
    ];
    for body in bodies {
        requests.push(format!(
            "POST /v1/statements HTTP/1.1\r\nhost: a\r\nauthorization: Basic {credentials}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        ));
    }
    for (method, path) in [("GET", ""), ("DELETE", ""), ("GET", "/result?page=0"), ("GET", "/result?page=-1&x=%zz")] {
        let id = "00000000-0000-4000-8000-000000000000";
        requests.push(format!(
            "{method} /v1/statements/{id}{path} HTTP/1.1\r\nhost: a\r\nauthorization: Basic {credentials}\r\n\r\n"
        ));
    }
    requests.into_iter().map(String::into_bytes).collect()
}

#[tokio::test]
async fn mutated_requests_harm_nobody() {
    let mut run = Run::start();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let results = LedgerLimits { owner_bytes: 16 << 20, all_bytes: 64 << 20 };
    let options = HttpOptions { results, running_max: 500, tls: None };
    let server = tokio::spawn(serve(listener, FakeEngine::new(), options, shutdown.clone()));
    let corpus = corpus();
    let mut sent = 0;
    while sent < run.messages {
        let count = run.rng.random_range(1..=REQUESTS_PER_CONNECTION);
        let mut bytes = Vec::new();
        for _ in 0..count {
            let mut request = corpus[run.rng.random_range(0..corpus.len())].clone();
            // The server closes at the first request that is broken: most are whole.
            if run.rng.random_range(0..8) == 0 {
                mutate(&mut run.rng, &mut request);
            }
            bytes.extend(request);
        }
        converse(TcpStream::connect(address).await.unwrap(), &bytes).await;
        sent += count;
    }
    assert_eq!(run.panics(), 0);
    assert!(!server.is_finished());
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok\n"), "{answer}");
    println!("{sent} requests");
}

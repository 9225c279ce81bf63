//! The endpoint over loopback: real sockets, raw messages.

mod client;
mod engine;
mod fuzz;

use super::{PostgresOptions, serve};
use bytes::BufMut;
use client::{Client, Message, body, error, kinds};
use engine::{BATCHES, FakeEngine, PASSWORD, USER};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

struct Server {
    address: SocketAddr,
    engine: Arc<FakeEngine>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<slipher_common::Result<()>>,
}

async fn start(options: PostgresOptions) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let engine = Arc::new(FakeEngine::default());
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(serve(listener, Arc::clone(&engine) as _, options, shutdown.clone()));
    Server { address, engine, shutdown, task }
}

async fn logged_in() -> (Server, Client) {
    let server = start(PostgresOptions::default()).await;
    let (client, _) = Client::login(server.address).await;
    (server, client)
}

fn rows(messages: &[Message]) -> Vec<Vec<String>> {
    messages.iter().filter(|message| message.kind == 'D').map(Message::texts).collect()
}

fn tags(messages: &[Message]) -> Vec<String> {
    messages.iter().filter(|message| message.kind == 'C').map(Message::tag).collect()
}

#[tokio::test]
async fn encryption_is_declined_and_the_client_learns_what_drivers_want() {
    let server = start(PostgresOptions::default()).await;
    let mut client = Client::connect(server.address).await;
    for code in [80_877_104u32, 80_877_103] {
        client.packet(&code.to_be_bytes()).await;
        assert_eq!(client.stream.read_u8().await.unwrap(), b'N');
    }
    client
        .startup(&[("user", USER), ("database", "dev"), ("client_protocol_version", "2"), ("options", "-c timezone=CET")])
        .await;
    client.scram(PASSWORD).await;
    let messages = client.until('Z').await;
    assert_eq!(kinds(&messages), format!("RR{}KZ", "S".repeat(11)));
    let parameters: Vec<String> = messages
        .iter()
        .filter(|message| message.kind == 'S')
        .map(|message| String::from_utf8(message.body.clone()).unwrap().replace('\0', "="))
        .collect();
    for expected in ["server_version=8.0.2=", "client_encoding=UTF8=", "integer_datetimes=on=", "TimeZone=CET="] {
        assert!(parameters.iter().any(|parameter| parameter == expected), "{expected} in {parameters:?}");
    }
}

#[tokio::test]
async fn wrong_passwords_and_unknown_users_fail_alike() {
    let server = start(PostgresOptions::default()).await;
    for (user, password) in [(USER, "wrong"), ("nobody", PASSWORD)] {
        let mut client = Client::connect(server.address).await;
        client.startup(&[("user", user), ("database", "dev")]).await;
        client.scram(password).await;
        let messages = client.until('Z').await;
        assert_eq!(kinds(&messages), "E", "{user}");
        assert_eq!(error(&messages).field('C').as_deref(), Some("28P01"));
        assert_eq!(error(&messages).field('S').as_deref(), Some("FATAL"));
    }
    let mut client = Client::connect(server.address).await;
    client.startup(&[("user", USER), ("database", "other")]).await;
    client.scram(PASSWORD).await;
    assert_eq!(error(&client.until('Z').await).field('C').as_deref(), Some("3D000"));
}

#[tokio::test]
async fn simple_queries_answer_each_statement_until_one_fails() {
    let (_server, mut client) = logged_in().await;
    let messages = client.query("SELECT 1 AS x; NOTICE; SELECT b, c, n, t, tz FROM types ORDER BY b").await;
    assert_eq!(kinds(&messages), "TDCNCTDDCZ");
    assert_eq!(tags(&messages), ["SELECT 1", "CREATE TABLE", "SELECT 2"]);
    let row = ["1", "ab   ", "12.30", "2024-01-02 03:04:05.123", "2024-01-02 03:04:05.123+00"];
    assert_eq!(rows(&messages)[1], row);
    assert_eq!(rows(&messages)[2], ["2", "<null>", "<null>", "<null>", "<null>"]);

    let messages = client.query("SELECT 1; SELECT é, no_such; SELECT 2").await;
    assert_eq!(kinds(&messages), "TDCEZ");
    let failure = error(&messages);
    assert_eq!(failure.field('C').as_deref(), Some("42703"));
    // Counted in characters of the whole string.
    assert_eq!(failure.field('P').as_deref(), Some("21"));
    assert_eq!(failure.field('H').as_deref(), Some("did you mean \"b\"?"));

    assert_eq!(kinds(&client.query(" ; ").await), "IZ");
    let messages = client.query("BROKEN").await;
    assert_eq!(kinds(&messages), "TDDDEZ");
    assert_eq!(error(&messages).field('C').as_deref(), Some("22012"));
    // A stream that panics has not come to its end.
    let messages = client.query("PANIC").await;
    assert_eq!(kinds(&messages), "TEZ");
    assert_eq!(error(&messages).field('C').as_deref(), Some("XX000"));

    let messages = client.query("BEGIN").await;
    assert_eq!(messages.last().unwrap().body, b"T");
    let messages = client.query("SET application_name TO report").await;
    assert_eq!(kinds(&messages), "CSZ");
    assert_eq!(messages[1].body, b"application_name\0report\0");
}

#[tokio::test]
async fn columns_are_described_with_redshifts_types() {
    let (_server, mut client) = logged_in().await;
    let messages = client.query("SELECT *, 'x' AS e, b = 1 AS f FROM types").await;
    let mut rest = &messages[0].body[2..];
    let mut described = Vec::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == 0).unwrap();
        let fixed = &rest[end + 1..end + 19];
        let number = |at: usize| i32::from_be_bytes(fixed[at..at + 4].try_into().unwrap());
        described.push((String::from_utf8(rest[..end].to_vec()).unwrap(), number(6), number(12)));
        rest = &rest[end + 19..];
    }
    let expected = [
        ("b", 20, -1),
        ("c", 1042, 9),
        ("v", 1043, 24),
        ("n", 1700, (10 << 16 | 2) + 4),
        ("d", 1082, -1),
        ("t", 1114, -1),
        ("tz", 1184, -1),
        ("e", 1043, -1),
        ("f", 16, -1),
    ];
    assert_eq!(described, expected.map(|(name, oid, modifier)| (name.to_owned(), oid, modifier)));
}

#[tokio::test]
async fn prepared_statements_take_and_give_text_and_binary() {
    let (_server, mut client) = logged_in().await;
    client.parse("s", "SELECT b, n, d, $1 + 1 AS p FROM types WHERE b = $1", &[20]).await;
    client.about('D', 'S', "s").await;
    client.bind("", "s", 1, &[Some(&1i64.to_be_bytes())], 1).await;
    client.about('D', 'P', "").await;
    client.execute("", 0).await;
    client.bind("", "s", 0, &[Some(b" 2 ")], 0).await;
    client.execute("", 0).await;
    let messages = client.sync().await;
    assert_eq!(kinds(&messages), "1tT2TDC2DCZ");
    assert_eq!(messages[1].body, [0, 1, 0, 0, 0, 20]);
    let binary = messages[5].values();
    assert_eq!(binary[0].as_deref(), Some(1i64.to_be_bytes().as_slice()));
    assert_eq!(binary[1].as_deref(), Some([0, 2, 0, 0, 0, 0, 0, 2, 0, 12, 11, 184].as_slice()));
    assert_eq!(binary[2].as_deref(), Some((19_724 - 10_957i32).to_be_bytes().as_slice()));
    assert_eq!(messages[8].texts(), ["2", "<null>", "<null>", "3"]);

    client.about('C', 'S', "s").await;
    client.bind("", "s", 0, &[Some(b"1")], 0).await;
    client.execute("", 0).await;
    let messages = client.sync().await;
    assert_eq!(kinds(&messages), "3EZ", "an error skips to Sync");
    assert_eq!(error(&messages).field('C').as_deref(), Some("26000"));

    for (values, state) in [(vec![Some(b"x".as_slice())], "22P02"), (vec![], "08P01"), (vec![Some(b"\xff".as_slice())], "22021")]
    {
        client.parse("", "SELECT $1", &[]).await;
        client.bind("", "", 0, &values, 0).await;
        let messages = client.sync().await;
        assert_eq!(kinds(&messages), "1EZ");
        assert_eq!(error(&messages).field('C').as_deref(), Some(state));
    }
    client.parse("", "", &[]).await;
    client.about('D', 'S', "").await;
    client.bind("", "", 0, &[], 0).await;
    client.execute("", 0).await;
    assert_eq!(kinds(&client.sync().await), "1tn2IZ");
    client.parse("", "BROKEN", &[]).await;
    client.bind("", "", 0, &[], 0).await;
    client.execute("", 0).await;
    let messages = client.sync().await;
    assert_eq!(kinds(&messages), "12EZ", "rows that were not described are not sent");
    assert_eq!(error(&messages).field('C').as_deref(), Some("0A000"));
    client.parse("", "SELECT 1; SELECT 2", &[]).await;
    assert_eq!(error(&client.sync().await).field('C').as_deref(), Some("42601"));
}

#[tokio::test]
async fn portals_give_rows_in_portions_while_their_transaction_lasts() {
    let (_server, mut client) = logged_in().await;
    client.query("BEGIN").await;
    client.parse("", "BATCHES", &[]).await;
    client.bind("p", "", 0, &[], 0).await;
    client.execute("p", 1_500).await;
    let messages = client.sync().await;
    assert_eq!((rows(&messages).len(), messages[messages.len() - 2].kind), (1_500, 's'));
    // Another statement runs while the portal waits.
    assert_eq!(rows(&client.query("SELECT 7").await), [["7"]]);
    client.execute("p", 2).await;
    assert_eq!(rows(&client.sync().await), [["1500"], ["1501"]]);
    client.query("COMMIT").await;
    client.execute("p", 2).await;
    assert_eq!(error(&client.sync().await).field('C').as_deref(), Some("34000"));

    client.parse("", "SELECT b FROM types ORDER BY b", &[]).await;
    client.bind("", "", 0, &[], 0).await;
    client.execute("", 2).await;
    client.execute("", 2).await;
    client.execute("", 2).await;
    let messages = client.sync().await;
    assert_eq!(kinds(&messages), "12DDsCCZ");
    assert_eq!(tags(&messages), ["SELECT 0", "SELECT 0"]);
}

#[tokio::test]
async fn a_cancel_request_ends_the_statement_of_its_key_only() {
    let server = start(PostgresOptions::default()).await;
    let (mut client, welcome) = Client::login(server.address).await;
    let key = welcome.iter().find(|message| message.kind == 'K').unwrap().body.clone();
    client.send('Q', b"SLEEP\0").await;
    assert_eq!(client.next().await.unwrap().kind, 'T');
    let begin = Instant::now();
    for (secret, wrong) in [(key[7] ^ 1, true), (key[7], false)] {
        let mut canceller = Client::connect(server.address).await;
        let content = body(|out| {
            out.put_u32(80_877_102);
            out.put_slice(&key[..7]);
            out.put_u8(secret);
        });
        canceller.packet(&content).await;
        assert_eq!(canceller.next().await, None);
        assert_eq!(wrong, tokio::time::timeout(Duration::from_millis(200), client.stream.fill_buf()).await.is_err());
    }
    let messages = client.until('Z').await;
    assert_eq!(error(&messages).field('C').as_deref(), Some("57014"));
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert_eq!(rows(&client.query("SELECT 1").await), [["1"]]);
}

#[tokio::test]
async fn a_slow_client_holds_the_query_back_and_a_lost_one_ends_it() {
    let (server, mut client) = logged_in().await;
    client.send('Q', b"BATCHES\0").await;
    assert_eq!(client.next().await.unwrap().kind, 'T');
    let mut produced = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = server.engine.batches.load(Ordering::SeqCst);
        if now == produced {
            break;
        }
        produced = now;
    }
    assert!(produced < BATCHES / 2, "{produced} of {BATCHES} batches were produced for a client that reads nothing");
    let messages = client.until('Z').await;
    assert_eq!(tags(&messages), [format!("SELECT {}", BATCHES * 1_000)]);

    client.send('Q', b"SLEEP\0").await;
    assert_eq!(client.next().await.unwrap().kind, 'T');
    drop(client);
    tokio::time::timeout(Duration::from_secs(2), server.engine.sleep_dropped.cancelled()).await.expect("the stream is dropped");
}

#[tokio::test]
async fn broken_messages_end_the_connection() {
    let server = start(PostgresOptions::default()).await;
    for bytes in [
        b"Q\x7f\xff\xff\xff".as_slice(),
        b"Q\x00\x00\x00\x03",
        b"Q\x00\x00\x00\x06ab",
        b"B\x00\x00\x00\x08\0\0\xff\xff",
        b"\x16\x00\x00\x00\x04",
    ] {
        let (mut client, _) = Client::login(server.address).await;
        client.stream.write_all(bytes).await.unwrap();
        let messages = client.until('Z').await;
        assert_eq!(kinds(&messages), "E", "{bytes:?}");
        assert_eq!(error(&messages).field('C').as_deref(), Some("08P01"));
    }
    for packet in [b"\x00\x00\x40\x00".as_slice(), b"\x00\x00\x00\x0a\x00\x03\x00\x00us", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut client = Client::connect(server.address).await;
        client.stream.write_all(packet).await.unwrap();
        assert_eq!(error(&client.until('Z').await).field('C').as_deref(), Some("08P01"), "{packet:?}");
    }
}

#[tokio::test]
async fn connections_are_limited_in_number_and_in_time_to_start() {
    let options =
        PostgresOptions { connections_max: 1, startup_timeout: Duration::from_millis(1_000), ..PostgresOptions::default() };
    let server = start(options).await;
    let (first, _) = Client::login(server.address).await;
    let mut second = Client::connect(server.address).await;
    second.startup(&[("user", USER), ("database", "dev")]).await;
    assert_eq!(error(&second.until('Z').await).field('C').as_deref(), Some("53300"));
    let mut silent = Client::connect(server.address).await;
    assert_eq!(kinds(&silent.until('Z').await), "E");
    drop(first);
    tokio::time::sleep(Duration::from_millis(100)).await;
    Client::login(server.address).await;
}

#[tokio::test]
async fn the_last_places_are_the_administrators() {
    let options = PostgresOptions { connections_max: 10, ..PostgresOptions::default() };
    let server = start(options).await;
    let mut open = Vec::new();
    for _ in 0..9 {
        open.push(Client::login(server.address).await);
    }
    let mut one_more = Client::connect(server.address).await;
    one_more.startup(&[("user", "eve"), ("database", "dev")]).await;
    assert_eq!(error(&one_more.until('Z').await).field('C').as_deref(), Some("53300"));
    let mut admin = Client::connect(server.address).await;
    admin.startup(&[("user", USER), ("database", "dev")]).await;
    // It is asked for its password.
    assert_eq!(admin.next().await.unwrap().kind, 'R');
}

#[tokio::test]
async fn shutdown_ends_idle_and_busy_connections_with_57p01() {
    let server = start(PostgresOptions::default()).await;
    let (mut idle, _) = Client::login(server.address).await;
    let (mut busy, _) = Client::login(server.address).await;
    busy.send('Q', b"SLEEP\0").await;
    assert_eq!(busy.next().await.unwrap().kind, 'T');
    server.shutdown.cancel();
    for client in [&mut idle, &mut busy] {
        let messages = client.until('Z').await;
        assert_eq!(error(&messages).field('C').as_deref(), Some("57P01"));
    }
    server.task.await.unwrap().unwrap();
    assert!(server.engine.sleep_dropped.is_cancelled());
}

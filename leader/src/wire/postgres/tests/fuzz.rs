//! Mutated messages, before and after authentication: whatever comes, no task panics and the server answers the next client.

use super::client::{Client, body, kinds, put_string};
use super::{PostgresOptions, start};
use crate::wire::fuzz::{Run, converse, mutate_once};
use bytes::BufMut;
use rand::Rng;
use rand::rngs::StdRng;

const MESSAGES_PER_CONNECTION: usize = 250;

/// Messages as a well-behaved client sends them.
fn corpus() -> Vec<(u8, Vec<u8>)> {
    let text = |text: &str| body(|out| put_string(out, text));
    let parse = |name: &str, sql: &str| {
        body(|out| {
            put_string(out, name);
            put_string(out, sql);
            out.put_u16(1);
            out.put_u32(23);
        })
    };
    let bind = body(|out| {
        put_string(out, "p");
        put_string(out, "s");
        out.put_u16(1);
        out.put_u16(1);
        out.put_u16(1);
        out.put_u32(4);
        out.put_u32(7);
        out.put_u16(0);
    });
    let execute = body(|out| {
        put_string(out, "p");
        out.put_u32(1);
    });
    vec![
        (b'Q', text("SELECT 1")),
        (b'Q', text("SELECT 'it''s'; SELECT 2")),
        (b'P', parse("s", "SELECT $1 + 1")),
        (b'P', parse("", "SELECT 1")),
        (b'B', bind),
        (b'D', text("Sp")),
        (b'D', text("Pp")),
        (b'E', execute),
        (b'C', text("Ss")),
        (b'H', Vec::new()),
        (b'S', Vec::new()),
        (b'F', vec![0; 12]),
        (b'd', vec![1, 2, 3]),
        (b'c', Vec::new()),
        (b'f', text("no")),
        (b'p', text("SCRAM-SHA-256")),
    ]
}

/// A message's bytes with something wrong, or not.
fn mutated(rng: &mut StdRng, (kind, content): &(u8, Vec<u8>)) -> Vec<u8> {
    let mut bytes = vec![*kind];
    bytes.extend((content.len() as u32 + 4).to_be_bytes());
    bytes.extend(content);
    for _ in 0..rng.random_range(0..4) {
        if bytes.len() >= 5 && rng.random_range(0..7) == 0 {
            let length: u32 = [0, 3, 4, 5, 1 << 16, 64 << 20, u32::MAX][rng.random_range(0..7)];
            bytes[1..5].copy_from_slice(&length.to_be_bytes());
        } else {
            mutate_once(rng, &mut bytes);
        }
    }
    bytes
}

/// A startup packet, mutated.
fn mutated_startup(rng: &mut StdRng) -> Vec<u8> {
    let mut content = body(|out| {
        out.put_u32([3 << 16, (3 << 16) + 2, 80_877_102, 80_877_103, 80_877_104][rng.random_range(0..5)]);
        ["user", "eve", "database", "dev", "options", "-c a=b"].iter().for_each(|text| put_string(out, text));
        out.put_u8(0);
    });
    for _ in 0..rng.random_range(0..4) {
        let at = rng.random_range(0..content.len());
        content[at] = rng.random();
    }
    let length = if rng.random_range(0..4) == 0 { rng.random_range(0..20_000) } else { content.len() as u32 + 4 };
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(content);
    bytes
}

/// Sends what there is; reads along so that neither side waits for the other for ever.
#[tokio::test]
async fn mutated_messages_harm_nobody() {
    let mut run = Run::start();
    let server = start(PostgresOptions::default()).await;
    let corpus = corpus();
    let mut sent = 0;
    while sent < run.messages {
        if run.rng.random_range(0..4) == 0 {
            converse(Client::connect(server.address).await.stream.into_inner(), &mutated_startup(&mut run.rng)).await;
            sent += 1;
            continue;
        }
        let (client, _) = Client::login(server.address).await;
        let count = run.rng.random_range(1..=MESSAGES_PER_CONNECTION);
        let mut bytes = Vec::new();
        for _ in 0..count {
            let message = run.rng.random_range(0..corpus.len());
            bytes.extend(mutated(&mut run.rng, &corpus[message]));
        }
        converse(client.stream.into_inner(), &bytes).await;
        sent += count;
    }
    assert_eq!(run.panics(), 0);
    assert!(!server.task.is_finished());
    let (mut client, _) = Client::login(server.address).await;
    client.send('Q', b"SELECT 1\0").await;
    assert_eq!(kinds(&client.until('Z').await), "TDCZ");
    println!("{sent} messages");
}

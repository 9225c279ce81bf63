//! What the fuzz tests of all protocols share: a seed, a number of messages, broken bytes, and an eye on panics.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Messages that every run of a test sends.
const MESSAGES_DEFAULT: u64 = 20_000;
/// The seed of every run.
const SEED_DEFAULT: u64 = 7;
/// How long a server may think about what it got before the client goes.
const PATIENCE: Duration = Duration::from_millis(20);

/// One run: what it draws from, and how many messages it sends. `SLIPHER_FUZZ_MESSAGES=1000000` sends more than every run does,
/// `SLIPHER_FUZZ_SEED` others.
pub(super) struct Run {
    pub(super) rng: StdRng,
    pub(super) messages: usize,
    panics: Arc<AtomicUsize>,
}

impl Run {
    /// Begins to count panics of this thread, which a test's server runs on.
    pub(super) fn start() -> Self {
        let panics = Arc::new(AtomicUsize::new(0));
        let (counted, here) = (Arc::clone(&panics), std::thread::current().id());
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().id() == here {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            before(panic);
        }));
        let rng = StdRng::seed_from_u64(number("SLIPHER_FUZZ_SEED", SEED_DEFAULT));
        Self { rng, messages: number("SLIPHER_FUZZ_MESSAGES", MESSAGES_DEFAULT) as usize, panics }
    }

    /// Tasks that panicked.
    pub(super) fn panics(&self) -> usize {
        self.panics.load(Ordering::SeqCst)
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Breaks something in `bytes`, which are not empty, or not.
pub(super) fn mutate(rng: &mut StdRng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.random_range(0..4) {
        mutate_once(rng, bytes);
    }
}

/// Breaks one thing in `bytes`, which are not empty.
pub(super) fn mutate_once(rng: &mut StdRng, bytes: &mut Vec<u8>) {
    let at = rng.random_range(0..bytes.len());
    match rng.random_range(0..6) {
        0 => bytes[at] ^= 1 << rng.random_range(0..8),
        1 => bytes[at] = rng.random(),
        2 => bytes.truncate(at.max(1)),
        3 => bytes.insert(at, rng.random()),
        4 => {
            let end = rng.random_range(at..bytes.len());
            let piece = bytes[at..end].to_vec();
            bytes.extend(piece);
        }
        _ => bytes[0] = rng.random(),
    }
}

/// Sends `bytes` and reads what comes back, until the server closes or has had time enough.
pub(super) async fn converse(stream: TcpStream, bytes: &[u8]) {
    let (mut read, mut write) = stream.into_split();
    let sending = async move {
        // The server may have closed already.
        drop(write.write_all(bytes).await);
        tokio::time::sleep(PATIENCE).await;
    };
    let reading = async move {
        let mut buffer = [0; 4096];
        while matches!(read.read(&mut buffer).await, Ok(count) if count > 0) {}
    };
    tokio::select! {
        () = sending => {}
        () = reading => {}
    }
}

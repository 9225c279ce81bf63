//! Accepts a node's connections on the threads of control, keeps those that are for control, and hands the others on to the threads that
//! run queries: however busy these are, the node answers pings.

use slipher_common::control::CONTROL_PREFACE;
use slipher_common::{Error, ErrorKind, Result};
use std::io;
use std::net::TcpListener as StdListener;
use std::net::TcpStream as StdStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// Connections at a time that have not said anything yet; further ones wait in the listener's queue.
const SILENT_MAX_COUNT: usize = 512;
/// How long a connection may say nothing: whoever is at the other end speaks first.
const FIRST_BYTES_MAX_SECONDS: u64 = 5;
/// Connections that nobody has taken yet. More are ended.
const READY_MAX_COUNT: usize = 1_024;
/// Pause after a failed accept, which mostly means that file descriptors ran out.
const ACCEPT_PAUSE_MS: u64 = 100;

/// Connections for control, on the runtime that accepted them.
pub(crate) type ControlConnections = mpsc::Receiver<TcpStream>;
/// All others, on no runtime yet.
pub(crate) type OtherConnections = mpsc::Receiver<StdStream>;

/// Where sorted connections go.
#[derive(Clone)]
struct Sorted {
    control: mpsc::Sender<TcpStream>,
    others: mpsc::Sender<StdStream>,
}

/// Accepts from `listener` on the runtime it is polled on, until it is dropped.
pub(crate) fn sorted(listener: StdListener) -> (impl Future<Output = Result<()>> + Send, ControlConnections, OtherConnections) {
    let (control, control_ready) = mpsc::channel(READY_MAX_COUNT);
    let (others, others_ready) = mpsc::channel(READY_MAX_COUNT);
    (accept_forever(listener, Sorted { control, others }), control_ready, others_ready)
}

async fn accept_forever(listener: StdListener, sorted: Sorted) -> Result<()> {
    let listener = TcpListener::from_std(listener).map_err(|error| Error::io("listening for connections", &error))?;
    let places = Arc::new(Semaphore::new(SILENT_MAX_COUNT));
    let mut sorting = JoinSet::new();
    loop {
        while sorting.try_join_next().is_some() {}
        let place = Arc::clone(&places).acquire_owned().await;
        let place = place.map_err(|_| Error::new(ErrorKind::AdminShutdown, "accepting connections has ended"))?;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                continue;
            }
        };
        let sorted = sorted.clone();
        sorting.spawn(async move {
            let _place = place;
            let done = tokio::time::timeout(Duration::from_secs(FIRST_BYTES_MAX_SECONDS), sort(stream, &sorted)).await;
            if let Err(error) = done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                tracing::debug!(%error, "a connection ended before it was served");
            }
        });
    }
}

async fn sort(mut stream: TcpStream, sorted: &Sorted) -> io::Result<()> {
    // Without it small messages wait 40 ms for an acknowledgement.
    stream.set_nodelay(true)?;
    let mut first = [0; 1];
    if stream.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let full = || io::Error::new(io::ErrorKind::WouldBlock, "nobody takes connections");
    if first[0] != CONTROL_PREFACE[0] {
        // The other runtime may be busy: its connections must not keep this one from accepting.
        return sorted.others.try_send(stream.into_std()?).map_err(|_| full());
    }
    let mut preface = [0; CONTROL_PREFACE.len()];
    stream.read_exact(&mut preface).await?;
    match &preface == CONTROL_PREFACE {
        true => sorted.control.try_send(stream).map_err(|_| full()),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

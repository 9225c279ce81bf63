//! Accepts a node's connections on the threads of control, keeps those that are for control, and hands the others on to the threads that
//! serve them: however busy these are, the node answers pings.

use slipher_common::preface::{PREFACE_BYTES, PREFACE_FIRST, Preface};
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

/// Connections that nobody serves yet, on no runtime.
pub(crate) type Connections = mpsc::Receiver<StdStream>;

/// A node's connections by what they are for.
pub(crate) struct Sorted {
    pub(crate) control: Connections,
    pub(crate) service: Connections,
    /// Tasks of queries, and their rows.
    pub(crate) tasks: Connections,
}

/// Where sorted connections go.
#[derive(Clone)]
struct Sorting {
    control: mpsc::Sender<StdStream>,
    service: mpsc::Sender<StdStream>,
    tasks: mpsc::Sender<StdStream>,
}

/// Accepts from `listener` on the runtime it is polled on, until it is dropped.
pub(crate) fn sorted(listener: StdListener) -> (impl Future<Output = Result<()>> + Send, Sorted) {
    let (control, control_ready) = mpsc::channel(READY_MAX_COUNT);
    let (service, service_ready) = mpsc::channel(READY_MAX_COUNT);
    let (tasks, tasks_ready) = mpsc::channel(READY_MAX_COUNT);
    let ready = Sorted { control: control_ready, service: service_ready, tasks: tasks_ready };
    (accept_forever(listener, Sorting { control, service, tasks }), ready)
}

async fn accept_forever(listener: StdListener, sorted: Sorting) -> Result<()> {
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

async fn sort(mut stream: TcpStream, sorted: &Sorting) -> io::Result<()> {
    // Without it small messages wait 40 ms for an acknowledgement.
    stream.set_nodelay(true)?;
    let mut first = [0; 1];
    if stream.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let ready = match first[0] {
        PREFACE_FIRST => {
            let mut preface = [0; PREFACE_BYTES];
            stream.read_exact(&mut preface).await?;
            match Preface::of(&preface) {
                Some(Preface::Control) => &sorted.control,
                Some(Preface::Service) => &sorted.service,
                None => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        _ => &sorted.tasks,
    };
    // Those who serve it may be busy: their connections must not keep this one from accepting.
    let full = |_| io::Error::new(io::ErrorKind::WouldBlock, "nobody takes connections");
    ready.try_send(stream.into_std()?).map_err(full)
}

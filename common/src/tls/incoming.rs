//! Accepts connections for servers that take them when they are ready to be read: gRPC and HTTP.

use super::{HANDSHAKE_MAX_SECONDS, ServerTls, Stream, begins_handshake, handshake};
use crate::{Error, Result};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Connections at a time that have not ended their handshake; further ones wait in the listener's queue.
const HANDSHAKES_MAX_COUNT: usize = 128;
/// Connections that are ready and not taken yet.
const READY_MAX_COUNT: usize = 16;
/// Pause after a failed accept, which mostly means that file descriptors ran out.
const ACCEPT_PAUSE_MS: u64 = 100;
/// How long telling a plain client that it must encrypt may take.
const REFUSAL_MAX_SECONDS: u64 = 1;

/// The bytes that tell a plain client, in its protocol, that it must encrypt.
#[derive(Clone, Copy, Debug)]
pub struct Refusal(pub &'static [u8]);

impl Refusal {
    /// HTTP/1.1.
    pub const HTTP: Self = Self(
        b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: 42\r\n\r\n\
          this port takes encrypted requests: https\n",
    );
    /// HTTP/2: SETTINGS without any, then GOAWAY with INADEQUATE_SECURITY (RFC 9113, 6.5, 6.8, 7).
    pub const HTTP2: Self = Self(
        b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\
          \x00\x00\x36\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0cthis port takes encrypted calls: use grpc+tls\n",
    );
}

/// The connections of a listener, ready to be read. Ends accepting when dropped.
#[derive(Debug)]
pub struct Incoming {
    ready: mpsc::Receiver<Stream>,
    address: SocketAddr,
    // Its tasks end with it.
    _accepting: JoinSet<()>,
}

impl Incoming {
    /// Accepts from `listener`, with TLS for clients that speak one of `protocols` where `tls` is given.
    pub fn new(listener: TcpListener, tls: Option<&ServerTls>, protocols: &[&str], refusal: Refusal) -> Result<Self> {
        let address = listener.local_addr().map_err(|error| Error::io("asking for a listening address", &error))?;
        let tls = tls.map(|tls| Ok::<_, Error>((tls.acceptor(protocols)?, tls.is_required()))).transpose()?;
        let (sender, ready) = mpsc::channel(READY_MAX_COUNT);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept_forever(listener, tls, refusal, sender));
        Ok(Self { ready, address, _accepting: accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection; None when accepting has ended.
    pub async fn next(&mut self) -> Option<Stream> {
        self.ready.recv().await
    }
}

impl futures::Stream for Incoming {
    type Item = io::Result<Stream>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(context).map(|stream| stream.map(Ok))
    }
}

async fn accept_forever(listener: TcpListener, tls: Option<(TlsAcceptor, bool)>, refusal: Refusal, ready: mpsc::Sender<Stream>) {
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX_COUNT));
    let mut handshakes = JoinSet::new();
    loop {
        while handshakes.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                continue;
            }
        };
        // Messages are small writes that must not wait for each other.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "setting options of a connection failed");
        }
        let Some((acceptor, required)) = tls.clone() else {
            if ready.send(Stream::Plain(stream)).await.is_err() {
                return;
            }
            continue;
        };
        let ready = ready.clone();
        handshakes.spawn(async move {
            match prepare(stream, &acceptor, required, refusal).await {
                // Nobody takes connections any more once the server has ended.
                Ok(Some(stream)) => drop(ready.send(stream).await),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "a connection ended before its TLS handshake"),
            }
            drop(place);
        });
    }
}

/// A connection that can be read; None for a plain one that was refused.
async fn prepare(mut stream: TcpStream, acceptor: &TlsAcceptor, required: bool, refusal: Refusal) -> io::Result<Option<Stream>> {
    let first = tokio::time::timeout(Duration::from_secs(HANDSHAKE_MAX_SECONDS), begins_handshake(&stream)).await;
    if first.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? {
        return handshake(acceptor, stream).await.map(Some);
    }
    if !required {
        return Ok(Some(Stream::Plain(stream)));
    }
    let told = async {
        stream.write_all(refusal.0).await?;
        stream.shutdown().await
    };
    // The connection ends either way.
    drop(tokio::time::timeout(Duration::from_secs(REFUSAL_MAX_SECONDS), told).await);
    Ok(None)
}

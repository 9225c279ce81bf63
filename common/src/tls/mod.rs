//! TLS for everything that clients connect to. One port takes encrypted and plain connections: the first byte tells them apart.
//!
//! `certificates` reads the files and reads them again when they change, [`Stream`] is a connection of either kind,
//! [`Incoming`] accepts for servers that take finished connections.

mod certificates;
mod incoming;
mod stream;
#[cfg(test)]
mod tests;

pub use incoming::{Incoming, Refusal};
pub use stream::{Connection, Stream};

use crate::{Error, ErrorKind, Result};
use certificates::Certificates;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;

/// How long a client may take from connecting to the end of its TLS handshake.
pub const HANDSHAKE_MAX_SECONDS: u64 = 10;
/// The first byte of every TLS connection: a handshake record.
const HANDSHAKE_RECORD: u8 = 0x16;

/// Where certificate and key are, and whether connections must be encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// PEM file with the server's certificate, followed by those between it and the root.
    pub certificate: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
    /// Plain connections are refused.
    pub required: bool,
}

/// What a server needs to encrypt connections.
#[derive(Clone)]
pub struct ServerTls {
    certificates: Arc<Certificates>,
    required: bool,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("required", &self.required).finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Reads certificate and key. They are read again when the files change; connections keep what they began with.
    pub fn open(options: &TlsOptions) -> Result<Self> {
        let certificates = Certificates::open(options.certificate.clone(), options.key.clone())?;
        Ok(Self { certificates: Arc::new(certificates), required: options.required })
    }

    /// Whether plain connections are refused.
    pub fn is_required(&self) -> bool {
        self.required
    }

    /// Accepts clients that speak one of `protocols` (the names of ALPN), or name none.
    pub fn acceptor(&self, protocols: &[&str]) -> Result<TlsAcceptor> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new(ErrorKind::Config, format!("preparing TLS: {error}")))?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(self.certificates.clone());
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Whether the client's first byte begins a TLS handshake; waits for it and leaves it where it is.
pub async fn begins_handshake(stream: &TcpStream) -> std::io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first[0] == HANDSHAKE_RECORD)
}

/// Runs the handshake of a connection, in [`HANDSHAKE_MAX_SECONDS`].
pub async fn handshake(acceptor: &TlsAcceptor, stream: TcpStream) -> std::io::Result<Stream> {
    let handshake = acceptor.accept(stream);
    let done = tokio::time::timeout(Duration::from_secs(HANDSHAKE_MAX_SECONDS), handshake).await;
    let stream = done.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    Ok(Stream::Tls(Box::new(stream)))
}

//! What connections between processes are for, told by their first bytes. All go to one port of a node, but are connections of their own, each
//! kind served on threads of its own at both ends: pings and the rows of an INSERT wait for nobody's scan.

use hyper_util::rt::TokioIo;
use std::io;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

/// Bytes of a preface.
pub const PREFACE_BYTES: usize = 16;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preface {
    /// Pings and cancellations ([`Threads::control`](crate::threads::Threads::control)).
    Control,
    /// The node's own service: rows of statements that read or write little, copies of segments. Served on a process's usual threads.
    Service,
}

/// The first byte of each preface. Other connections, which carry tasks of queries and their rows, begin as HTTP/2 does, with another one.
pub const PREFACE_FIRST: u8 = b'S';

impl Preface {
    /// What the connection begins with, before HTTP/2.
    pub fn bytes(self) -> &'static [u8; PREFACE_BYTES] {
        match self {
            Self::Control => b"SLIPHER/CONTROL\n",
            Self::Service => b"SLIPHER/SERVICE\n",
        }
    }

    /// What a connection that begins so is for.
    pub fn of(bytes: &[u8; PREFACE_BYTES]) -> Option<Self> {
        [Self::Control, Self::Service].into_iter().find(|preface| preface.bytes() == bytes)
    }

    /// A channel to `endpoint` whose connections begin so; they are made lazily, and served by the runtime of the caller.
    pub fn channel(self, endpoint: &Endpoint) -> Channel {
        endpoint.connect_with_connector_lazy(tower::service_fn(move |address| connect(address, self)))
    }
}

async fn connect(address: Uri, preface: Preface) -> io::Result<TokioIo<TcpStream>> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, format!("\"{address}\" is not http://host:port"));
    let host = address.host().ok_or_else(invalid)?.trim_matches(['[', ']']);
    let port = address.port_u16().ok_or_else(invalid)?;
    let mut stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    stream.write_all(preface.bytes()).await?;
    Ok(TokioIo::new(stream))
}

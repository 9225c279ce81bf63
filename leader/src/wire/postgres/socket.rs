//! One client's socket: framed messages in, buffered messages out, and work that stops when the client is gone.

use super::error::{Failure, protocol_violation, shutting_down};
use bytes::{Buf, Bytes, BytesMut};
use pgwire::messages::Message;
use slipher_common::tls::{self, Stream};
use slipher_common::{Error, Result};
use std::future::Future;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Longest message of an authenticated client.
pub const MESSAGE_MAX_BYTES: usize = 64 << 20;
/// Longest message before authentication.
pub const AUTHENTICATION_MESSAGE_MAX_BYTES: usize = 64 << 10;
/// Longest startup packet.
pub const STARTUP_PACKET_MAX_BYTES: usize = 10_000;
/// Output is sent when so much has gathered.
pub const OUTPUT_BUFFER_BYTES: usize = 64 << 10;
/// Input read ahead while a statement runs; it is read to learn that the client went away.
pub const READ_AHEAD_MAX_BYTES: usize = 64 << 10;
/// A client that takes no byte for so long is taken for dead.
pub const WRITE_STALL_MAX_SECONDS: u64 = 900;
/// Rows wait so long for others before they are sent.
pub const FLUSH_PAUSE_MILLISECONDS: u64 = 20;
/// Time to tell a client why its connection ends.
pub const FAREWELL_MAX_SECONDS: u64 = 2;

const READ_CHUNK_BYTES: usize = 8 << 10;
/// Bytes of a length.
const LENGTH_BYTES: usize = 4;

/// A client's socket with its buffers.
pub(super) struct Socket {
    stream: Stream,
    input: BytesMut,
    output: BytesMut,
    shutdown: CancellationToken,
    /// Cancelled when the server stops, or somebody ends this session.
    ending: CancellationToken,
}

impl Socket {
    /// Takes over a connection; work on it ends when `shutdown` is cancelled.
    pub fn new(stream: TcpStream, shutdown: CancellationToken) -> Self {
        let stream = Stream::Plain(stream);
        let ending = shutdown.child_token();
        Self { stream, input: BytesMut::new(), output: BytesMut::with_capacity(READ_CHUNK_BYTES), shutdown, ending }
    }

    /// What ends this connection alone.
    pub fn ending(&self) -> CancellationToken {
        self.ending.clone()
    }

    /// Why the connection ends.
    fn ended(&self) -> Failure {
        let error = if self.shutdown.is_cancelled() { shutting_down() } else { crate::frontend::terminated() };
        Failure::Fatal(error)
    }

    /// Whether nobody between can read what is sent.
    pub fn is_encrypted(&self) -> bool {
        self.stream.is_encrypted()
    }

    /// Whether the client begins with a TLS handshake, without asking for it in a startup packet first.
    pub async fn begins_handshake(&self) -> Result<bool, Failure> {
        match &self.stream {
            Stream::Plain(stream) if self.input.is_empty() => Ok(tls::begins_handshake(stream).await?),
            _ => Ok(false),
        }
    }

    /// Encrypts the connection from here on. What the client sent in plain after asking for that may be somebody else's: it ends
    /// the connection.
    pub async fn encrypt(&mut self, acceptor: &TlsAcceptor) -> Result<(), Failure> {
        if !self.input.is_empty() {
            return Err(Failure::Fatal(protocol_violation("the client sent plain bytes after asking for encryption")));
        }
        match std::mem::replace(&mut self.stream, Stream::Closed) {
            Stream::Plain(stream) => self.stream = tls::handshake(acceptor, stream).await?,
            _ => return Err(Failure::Fatal(protocol_violation("encryption was asked for a second time"))),
        }
        Ok(())
    }

    /// The body of the next startup packet, which has no type.
    pub async fn startup_packet(&mut self) -> Result<Bytes, Failure> {
        self.body(0, STARTUP_PACKET_MAX_BYTES).await
    }

    /// Type and body of the next message.
    pub async fn message(&mut self, max_bytes: usize) -> Result<(u8, Bytes), Failure> {
        while self.input.is_empty() {
            self.fill().await?;
        }
        let message_type = self.input[0];
        let body = self.body(1, max_bytes).await?;
        Ok((message_type, body))
    }

    /// The body of the message whose length stands `at` bytes from here.
    async fn body(&mut self, at: usize, max_bytes: usize) -> Result<Bytes, Failure> {
        let head = at + LENGTH_BYTES;
        while self.input.len() < head {
            self.fill().await?;
        }
        let length = (&self.input[at..head]).get_u32() as usize;
        if !(LENGTH_BYTES..=max_bytes).contains(&length) {
            let message = format!("reading a message: its length is {length} bytes, allowed are {LENGTH_BYTES} to {max_bytes}");
            return Err(Failure::Fatal(protocol_violation(message)));
        }
        // The buffer grows with what arrives, not with what the length promises.
        while self.input.len() < at + length {
            self.fill().await?;
        }
        self.input.advance(head);
        Ok(self.input.split_to(length - LENGTH_BYTES).freeze())
    }

    async fn fill(&mut self) -> Result<(), Failure> {
        self.input.reserve(READ_CHUNK_BYTES);
        tokio::select! {
            read = self.stream.read_buf(&mut self.input) => match read? {
                0 => Err(Failure::Disconnected),
                _ => Ok(()),
            },
            () = self.ending.cancelled() => Err(self.ended()),
        }
    }

    /// Waits for `work`, but not longer than the client stays and the server runs. Dropping `work` must stop it.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::pin!(work);
        loop {
            let room = self.input.len() < READ_AHEAD_MAX_BYTES;
            if room {
                self.input.reserve(READ_CHUNK_BYTES);
            }
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = self.ending.cancelled() => return Err(self.ended()),
                read = self.stream.read_buf(&mut self.input), if room => {
                    if read? == 0 {
                        return Err(Failure::Disconnected);
                    }
                }
            }
        }
    }

    /// Waits for `work` as [`Socket::during`] does; when it takes a while, what has gathered is sent meanwhile.
    pub async fn flush_after_pause<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::pin!(work);
        let pause = Duration::from_millis(FLUSH_PAUSE_MILLISECONDS);
        if let Ok(done) = tokio::time::timeout(pause, &mut work).await {
            return Ok(done);
        }
        self.flush().await?;
        self.during(work).await
    }

    /// Puts a message into the output.
    pub fn send(&mut self, message: &impl Message) -> Result<()> {
        let start = self.output.len();
        message.encode(&mut self.output).map_err(|error| {
            self.output.truncate(start);
            Error::internal(format!("sending a message: {error}"))
        })
    }

    /// The output, for messages that are written in place.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Sends the output if much has gathered.
    pub async fn flush_if_full(&mut self) -> Result<(), Failure> {
        if self.output.len() < OUTPUT_BUFFER_BYTES { Ok(()) } else { self.flush().await }
    }

    /// Sends the output; waits as long as the client takes some of it now and then.
    pub async fn flush(&mut self) -> Result<(), Failure> {
        let stall = Duration::from_secs(WRITE_STALL_MAX_SECONDS);
        loop {
            let step = async {
                match self.output.is_empty() {
                    // An encrypted connection keeps some of what it took.
                    true => self.stream.flush().await.map(|()| true),
                    false => self.stream.write_buf(&mut self.output).await.map(|count| count == 0),
                }
            };
            let done = tokio::select! {
                done = tokio::time::timeout(stall, step) => done,
                () = self.ending.cancelled() => return Err(self.ended()),
            };
            match done {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) if self.output.is_empty() => return Ok(()),
                _ => return Err(Failure::Disconnected),
            }
        }
    }

    /// Sends what is left and closes; a client that does not listen is not waited for.
    pub async fn close(mut self) {
        let farewell = async {
            self.stream.write_all_buf(&mut self.output).await?;
            self.stream.shutdown().await
        };
        // The connection ends either way.
        let _ = tokio::time::timeout(Duration::from_secs(FAREWELL_MAX_SECONDS), farewell).await;
    }
}

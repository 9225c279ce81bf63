//! The PostgreSQL endpoint: version 3 of its protocol over the traits of `session`.
//!
//! One task per connection. `startup` authenticates, `connection` answers simple queries, `extended` prepared ones;
//! `rows` sends results as they come, with `wire::values` and `binary` for the forms of values. Messages come through
//! `socket`, which ends work whose client is gone. Limits are constants where they apply.

mod binary;
mod connection;
mod error;
mod extended;
mod message;
mod oid;
mod parameters;
mod prepared;
mod reply;
mod rows;
mod scram;
mod socket;
mod startup;
#[cfg(test)]
mod tests;

pub use prepared::{PORTALS_MAX, PREPARED_STATEMENTS_MAX};
pub use rows::RESULT_COLUMNS_MAX;
pub use socket::{MESSAGE_MAX_BYTES, OUTPUT_BUFFER_BYTES, READ_AHEAD_MAX_BYTES, WRITE_STALL_MAX_SECONDS};

use crate::frontend::{Engine, Session};
use connection::Connection;
use error::Failure;
use parking_lot::Mutex;
use reply::send_error;
use slipher_common::catalog::ADMIN_USER;
use slipher_common::tls::ServerTls;
use slipher_common::{Error, ErrorKind, Result};
use socket::Socket;
use startup::{CancelKey, Opening};
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Sessions at a time, unless configured otherwise.
pub const CONNECTIONS_MAX: usize = 500;
/// Places among them that only `admin` gets; fewer where the limit is small.
const ADMIN_CONNECTIONS_RESERVED: usize = 3;
/// Time from the first byte to an authenticated session, unless configured otherwise.
pub const STARTUP_MAX_SECONDS: u64 = 30;
/// Connections at a time that have not authenticated; further ones wait in the listener's queue.
pub const STARTING_CONNECTIONS_MAX: usize = 128;
/// Time that connections have to end when the server stops.
pub const SHUTDOWN_MAX_SECONDS: u64 = 5;
/// The protocol's name in TLS handshakes.
const ALPN: &str = "postgresql";
/// Pause after a failed accept, which mostly means that file descriptors ran out.
const ACCEPT_PAUSE_MILLISECONDS: u64 = 100;

/// What can be configured.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Sessions at a time; one more gets 53300.
    pub connections_max: usize,
    /// Time from the first byte to an authenticated session.
    pub startup_timeout: Duration,
    /// Encryption for clients that ask for it.
    pub tls: Option<ServerTls>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { connections_max: CONNECTIONS_MAX, startup_timeout: Duration::from_secs(STARTUP_MAX_SECONDS), tls: None }
    }
}

/// What all connections of one listener share.
struct Listener {
    engine: Arc<dyn Engine>,
    options: PostgresOptions,
    acceptor: Option<TlsAcceptor>,
    connections: Arc<Semaphore>,
    cancel_keys: Mutex<HashMap<CancelKey, Weak<dyn Session>>>,
    /// Makes the salts of unknown users.
    salt_secret: [u8; 32],
    shutdown: CancellationToken,
}

/// Answers PostgreSQL clients until `shutdown` is cancelled; then ends all connections with 57P01.
pub async fn serve(
    listener: TcpListener,
    engine: Arc<dyn Engine>,
    options: PostgresOptions,
    shutdown: CancellationToken,
) -> Result<()> {
    let shared = Arc::new(Listener {
        engine,
        connections: Arc::new(Semaphore::new(options.connections_max)),
        acceptor: options.tls.as_ref().map(|tls| tls.acceptor(&[ALPN])).transpose()?,
        options,
        cancel_keys: Mutex::default(),
        salt_secret: rand::random(),
        shutdown: shutdown.clone(),
    });
    let starting = Arc::new(Semaphore::new(STARTING_CONNECTIONS_MAX));
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(ended) = tasks.join_next() => log_panic(ended),
            accepted = accept(&listener, &starting) => match accepted {
                Ok((stream, permit)) => {
                    tasks.spawn(Arc::clone(&shared).handle(stream, permit));
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a PostgreSQL connection failed");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MILLISECONDS)).await;
                }
            },
        }
    }
    drop(listener);
    let drain = async {
        while let Some(ended) = tasks.join_next().await {
            log_panic(ended);
        }
    };
    if tokio::time::timeout(Duration::from_secs(SHUTDOWN_MAX_SECONDS), drain).await.is_err() {
        tracing::warn!(connections = tasks.len(), "PostgreSQL connections did not end in time");
        tasks.shutdown().await;
    }
    Ok(())
}

async fn accept(listener: &TcpListener, starting: &Arc<Semaphore>) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(starting).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

fn log_panic(ended: std::result::Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a PostgreSQL connection ended unexpectedly");
    }
}

impl Listener {
    async fn handle(self: Arc<Self>, stream: TcpStream, starting: OwnedSemaphorePermit) {
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%error, "setting options of a PostgreSQL connection failed");
        }
        let mut socket = Socket::new(stream, self.shutdown.clone());
        let opened = tokio::time::timeout(self.options.startup_timeout, self.open(&mut socket)).await;
        drop(starting);
        let failure = match opened {
            Ok(Ok(None)) => Failure::Disconnected,
            Ok(Ok(Some(opened))) => {
                let mut connection = Connection::new(socket, Arc::clone(&opened.session), &opened.application_name);
                let failure = connection.run().await;
                // Whatever still runs for this client is of no use to anybody.
                opened.session.cancel();
                socket = connection.into_socket();
                failure
            }
            Ok(Err(failure)) => failure,
            Err(_) => Failure::Fatal(Error::new(ErrorKind::QueryCanceled, "connecting: authentication took too long")),
        };
        if let Failure::Fatal(error) | Failure::Statement(error) = failure
            && let Err(error) = send_error(&mut socket, "FATAL", &error)
        {
            tracing::debug!(%error, "telling a client why its connection ends failed");
        }
        socket.close().await;
    }

    /// Negotiates and authenticates; `None` when the connection was for a cancel request, which is done.
    async fn open(&self, socket: &mut Socket) -> Result<Option<Opened<'_>>, Failure> {
        let parameters = match startup::negotiate(socket, self.acceptor.as_ref()).await? {
            Opening::Session(parameters) => parameters,
            Opening::Cancel(key) => {
                self.cancel(key);
                return Ok(None);
            }
        };
        if !socket.is_encrypted() && self.options.tls.as_ref().is_some_and(ServerTls::is_required) {
            let refused = Error::new(ErrorKind::InvalidAuthorization, "connecting: the server takes encrypted connections only");
            return Err(Failure::Fatal(
                refused.with_hint("set sslmode to require, or to verify-full with the certificate of the root"),
            ));
        }
        let identity = startup::identity(&parameters).map_err(Failure::Fatal)?;
        let permit = self.admit(&identity.user).map_err(Failure::Fatal)?;
        startup::authenticate(socket, self, &identity.user).await?;
        let application_name = parameters.get("application_name").cloned().unwrap_or_default();
        let session = self.engine.open_session(&identity.user, &identity.database, &application_name).map_err(Failure::Fatal)?;
        startup::apply_settings(&session, &parameters).map_err(Failure::Fatal)?;
        session.end_with(socket.ending());
        let key = self.register(&session);
        let opened = Opened { listener: self, key, session, application_name, _permit: permit };
        connection::welcome(socket, &opened.session, &opened.application_name, key).await?;
        Ok(Some(opened))
    }

    /// A place for one more session. The last ones are the administrator's, who must be able to see what takes all the others.
    fn admit(&self, user: &str) -> Result<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.connections).try_acquire_owned().map_err(|_| self.too_many())?;
        let reserved = ADMIN_CONNECTIONS_RESERVED.min(self.options.connections_max / 10);
        if user != ADMIN_USER && self.connections.available_permits() < reserved {
            return Err(self.too_many());
        }
        Ok(permit)
    }

    fn too_many(&self) -> Error {
        Error::new(ErrorKind::TooManyConnections, "connecting: too many clients are connected")
            .with_detail(format!("the limit is {}", self.options.connections_max))
            .with_hint("close idle connections, use a connection pool, or raise --max-connections")
    }

    /// Gives a session the key with which another connection can cancel its statement.
    fn register(&self, session: &Arc<dyn Session>) -> CancelKey {
        let key = (session.process_id(), rand::random());
        self.cancel_keys.lock().insert(key, Arc::downgrade(session));
        key
    }

    /// A wrong key is answered by nothing, like a right one: that is how the protocol has it.
    fn cancel(&self, key: CancelKey) {
        let session = self.cancel_keys.lock().get(&key).and_then(Weak::upgrade);
        match session {
            Some(session) => session.cancel(),
            None => tracing::debug!(process_id = key.0, "cancel request with an unknown key"),
        }
    }
}

/// An authenticated session with its place in the listener.
struct Opened<'a> {
    listener: &'a Listener,
    key: CancelKey,
    session: Arc<dyn Session>,
    application_name: String,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.listener.cancel_keys.lock().remove(&self.key);
    }
}

/// Small messages go out at once, and the kernel finds out when a silent client has vanished.
fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        // The options belong to the socket, not to the descriptor: a duplicate sets them for all.
        let duplicate = std::net::TcpStream::from(stream.as_fd().try_clone_to_owned()?);
        tokio::net::TcpSocket::from_std_stream(duplicate).set_keepalive(true)?;
    }
    Ok(())
}

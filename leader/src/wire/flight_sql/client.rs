//! Who calls: credentials to a session. A handshake gives a bearer token; every token is one session.

use super::FlightOptions;
use super::registry::Registry;
use crate::frontend::{Engine, Session};
use arrow_flight::BasicAuth;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use parking_lot::Mutex;
use prost::Message as _;
use slipher_common::catalog::DATABASE;
use slipher_common::{Error, ErrorKind, Result};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;

/// Longest accepted `authorization` value or handshake payload, in bytes.
const CREDENTIALS_MAX_BYTES: usize = 4096;
/// Header that names the database to connect to.
const DATABASE_HEADER: &str = "database";
/// Header in which older clients send the token of a handshake.
const TOKEN_HEADER: &str = "auth-token-bin";

/// One session and what this endpoint keeps for it.
pub(super) struct Client {
    /// The session.
    pub(super) session: Arc<dyn Session>,
    /// Id of the transaction that BeginTransaction opened.
    pub(super) transaction: Mutex<Option<String>>,
    active_count: AtomicUsize,
    closed: AtomicBool,
    /// Cancelled when somebody else ends the session.
    ended: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("session", &self.session).finish_non_exhaustive()
    }
}

impl Client {
    /// Keeps the session from expiring while the answer lives.
    pub(super) fn enter(self: &Arc<Self>) -> Active {
        self.active_count.fetch_add(1, Ordering::Relaxed);
        Active(self.clone())
    }

    /// Whether a statement of this session runs.
    pub(super) fn is_active(&self) -> bool {
        self.active_count.load(Ordering::Relaxed) > 0
    }

    /// Whether the client said good-bye.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed) || self.ended.is_cancelled()
    }

    /// Refuses an id that is not the open transaction's. Without an id a statement runs in the session as it is.
    pub(super) fn check_transaction(&self, id: Option<&[u8]>) -> Result<()> {
        let Some(id) = id.filter(|id| !id.is_empty()) else { return Ok(()) };
        match self.transaction.lock().as_ref() {
            Some(open) if open.as_bytes() == id => Ok(()),
            _ => Err(Error::new(ErrorKind::InvalidParameter, "no transaction of this id is open in the session")
                .with_hint("begin one with the BeginTransaction action")),
        }
    }
}

/// A session in use.
pub(super) struct Active(Arc<Client>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active_count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All sessions of the endpoint.
#[derive(Debug)]
pub(super) struct Clients {
    engine: Arc<dyn Engine>,
    sessions_max: usize,
    permits: Arc<Semaphore>,
    by_token: Registry<Arc<Client>>,
}

impl Clients {
    pub(super) fn new(engine: Arc<dyn Engine>, options: &FlightOptions) -> Self {
        Self {
            engine,
            sessions_max: options.sessions_max,
            permits: Arc::new(Semaphore::new(options.sessions_max)),
            by_token: Registry::new("session", options.sessions_max, options.session_idle_max),
        }
    }

    /// Opens a session for the credentials of a handshake; answers its token.
    pub(super) async fn handshake(&self, metadata: &MetadataMap, payload: &[u8]) -> Result<String> {
        let (user, password) = match header(metadata, "authorization")? {
            Some(value) => match credentials(value)? {
                Credentials::Basic { user, password } => (user, password),
                Credentials::Bearer(_) => return Err(no_credentials("a handshake takes a user and a password, not a token")),
            },
            None => payload_credentials(payload)?,
        };
        let client = self.open(&user, &password, metadata).await?;
        self.by_token.insert(client, self.sessions_max, |_| true)
    }

    /// The session of a call: the token's, or a new one for credentials in the call itself.
    pub(super) async fn authenticate(&self, metadata: &MetadataMap) -> Result<Arc<Client>> {
        let token = match header(metadata, "authorization")? {
            Some(value) => match credentials(value)? {
                Credentials::Basic { user, password } => return self.open(&user, &password, metadata).await,
                Credentials::Bearer(token) => token,
            },
            None => {
                let bytes = metadata.get_bin(TOKEN_HEADER).and_then(|value| value.to_bytes().ok());
                let bytes = bytes.ok_or_else(|| no_credentials("the call carries no credentials"))?;
                String::from_utf8(bytes.to_vec()).map_err(|_| no_credentials("the token is not text"))?
            }
        };
        self.by_token.get(&token).filter(|client| !client.is_closed()).ok_or_else(|| {
            Error::new(ErrorKind::InvalidAuthorization, "the session's token is unknown or has expired")
                .with_hint("connect again: a session ends when it is idle for long or when the leader restarts")
        })
    }

    /// Ends a session: its token is no longer known.
    pub(super) fn close(&self, client: &Arc<Client>) {
        client.closed.store(true, Ordering::Relaxed);
        self.sweep();
    }

    /// Ends sessions that were idle for long.
    pub(super) fn sweep(&self) {
        self.by_token.sweep(|client| client.is_active(), |client| client.is_closed());
    }

    async fn open(&self, user: &str, password: &str, metadata: &MetadataMap) -> Result<Arc<Client>> {
        let permit = self.permits.clone().try_acquire_owned().map_err(|_| {
            Error::new(ErrorKind::TooManyConnections, format!("too many Flight SQL sessions: {} are open", self.sessions_max))
                .with_hint("close sessions, wait until idle ones expire, or raise --max-connections")
        })?;
        let (engine, name, password) = (self.engine.clone(), user.to_owned(), password.to_owned());
        // Hashing a password takes milliseconds of computing.
        let checked = tokio::task::spawn_blocking(move || engine.check_password(&name, &password)).await;
        checked.map_err(|error| Error::internal(format!("checking the password of \"{user}\": {error}")))??;
        let database = header(metadata, DATABASE_HEADER)?.unwrap_or(DATABASE);
        let application = header(metadata, "user-agent")?.unwrap_or_default();
        let session = self.engine.open_session(user, database, application)?;
        let (active_count, closed, ended) = (AtomicUsize::new(0), AtomicBool::new(false), CancellationToken::new());
        session.end_with(ended.clone());
        Ok(Arc::new(Client { session, transaction: Mutex::new(None), active_count, closed, ended, _permit: permit }))
    }
}

enum Credentials {
    Basic { user: String, password: String },
    Bearer(String),
}

fn no_credentials(why: &str) -> Error {
    Error::new(ErrorKind::InvalidAuthorization, format!("authentication failed: {why}"))
        .with_hint("send the header \"authorization: Basic base64(user:password)\", or the bearer token of a handshake")
}

fn header<'a>(metadata: &'a MetadataMap, name: &str) -> Result<Option<&'a str>> {
    let Some(value) = metadata.get(name) else { return Ok(None) };
    match value.to_str() {
        Ok(text) if text.len() <= CREDENTIALS_MAX_BYTES => Ok(Some(text)),
        Ok(_) => Err(Error::new(ErrorKind::ProtocolViolation, format!("the header \"{name}\" is too long"))),
        Err(_) => Err(Error::new(ErrorKind::ProtocolViolation, format!("the header \"{name}\" is not ASCII text"))),
    }
}

/// Clients differ in whether they pad (the ADBC driver does not).
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn credentials(value: &str) -> Result<Credentials> {
    let Some((scheme, rest)) = value.trim().split_once(' ') else {
        return Err(no_credentials("the authorization header has no scheme"));
    };
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Credentials::Bearer(rest.trim().to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(no_credentials("the authorization scheme is neither Basic nor Bearer"));
    }
    let decoded = BASE64.decode(rest.trim()).map_err(|_| no_credentials("the credentials are not base64"))?;
    let decoded = String::from_utf8(decoded).map_err(|_| no_credentials("the credentials are not UTF-8"))?;
    match decoded.split_once(':') {
        Some((user, password)) => Ok(Credentials::Basic { user: user.to_owned(), password: password.to_owned() }),
        None => Err(no_credentials("the credentials have no colon between user and password")),
    }
}

/// What clients without the header protocol send in the handshake's message.
fn payload_credentials(payload: &[u8]) -> Result<(String, String)> {
    if payload.is_empty() || payload.len() > CREDENTIALS_MAX_BYTES {
        return Err(no_credentials("the handshake carries no credentials"));
    }
    match BasicAuth::decode(payload) {
        Ok(basic) if !basic.username.is_empty() => Ok((basic.username, basic.password)),
        _ => Err(no_credentials("the handshake's message holds no user and password")),
    }
}

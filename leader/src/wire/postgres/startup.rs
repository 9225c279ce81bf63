//! From the first byte to an authenticated session: negotiation, SCRAM-SHA-256, startup parameters.

use super::Listener;
use super::error::{Failure, protocol_violation};
use super::message::Fields;
use super::scram::{Conversation, ScramFailure};
use super::socket::{AUTHENTICATION_MESSAGE_MAX_BYTES, Socket};
use crate::frontend::Session;
use crate::users::ScramVerifier;
use bytes::{BufMut, Bytes};
use pgwire::api::auth::sasl::SCRAM_SHA_256_METHOD;
use pgwire::api::auth::sasl::scram::gen_salted_password;
use pgwire::messages::startup::{Authentication, NegotiateProtocolVersion};
use slipher_common::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// PBKDF2 rounds shown to a client that names an unknown user; what PostgreSQL uses by default.
const UNKNOWN_USER_ITERATIONS: u32 = 4_096;
/// Salt shown to such a client.
const UNKNOWN_USER_SALT_BYTES: usize = 16;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_ENCRYPTION_REQUEST: u32 = 80_877_104;
const PROTOCOL_MAJOR: u32 = 3;
const PROTOCOL_LATEST: u32 = PROTOCOL_MAJOR << 16;
/// Startup parameters with this prefix are protocol extensions.
const EXTENSION_PREFIX: &str = "_pq_.";
/// Startup parameters that are no settings.
const NO_SETTINGS: [&str; 5] = ["user", "database", "options", "replication", "client_encoding"];
/// Encodings in which bytes go over the wire as they are.
const PLAIN_ENCODINGS: [&str; 4] = ["utf8", "unicode", "sqlascii", "auto"];

/// A cancel request's key: process id and secret.
pub(super) type CancelKey = (i32, i32);

/// What a new connection is for.
pub(super) enum Opening {
    /// Statements, after authentication.
    Session(BTreeMap<String, String>),
    /// Cancelling another connection's statement.
    Cancel(CancelKey),
}

/// Reads startup packets until one says what the connection is for; encrypts it if the client asks for that and `tls` is there.
pub(super) async fn negotiate(socket: &mut Socket, tls: Option<&TlsAcceptor>) -> Result<Opening, Failure> {
    let (mut tls_asked, mut gss_asked) = (false, false);
    if let Some(acceptor) = tls
        && socket.begins_handshake().await?
    {
        tls_asked = true;
        socket.encrypt(acceptor).await?;
    }
    loop {
        let mut fields = Fields::new(socket.startup_packet().await?);
        let (asked, acceptor) = match fields.u32().map_err(Failure::Fatal)? {
            SSL_REQUEST => (&mut tls_asked, tls),
            GSS_ENCRYPTION_REQUEST => (&mut gss_asked, None),
            CANCEL_REQUEST => return cancel_key(fields).map(Opening::Cancel).map_err(Failure::Fatal),
            version => return startup(socket, version, fields).map(Opening::Session).map_err(Failure::Fatal),
        };
        if std::mem::replace(asked, true) {
            return Err(Failure::Fatal(protocol_violation("encryption was asked for a second time")));
        }
        socket.output().put_u8(if acceptor.is_some() { b'S' } else { b'N' });
        socket.flush().await?;
        if let Some(acceptor) = acceptor {
            socket.encrypt(acceptor).await?;
        }
    }
}

fn cancel_key(mut fields: Fields) -> Result<CancelKey> {
    let key = (fields.i32()?, fields.i32()?);
    fields.end()?;
    Ok(key)
}

fn startup(socket: &mut Socket, version: u32, mut fields: Fields) -> Result<BTreeMap<String, String>> {
    if version >> 16 != PROTOCOL_MAJOR {
        let message = format!("protocol version {}.{} is not supported", version >> 16, version & 0xffff);
        return Err(Error::new(ErrorKind::NotSupported, message).with_hint("use a client that speaks version 3"));
    }
    let mut parameters = BTreeMap::new();
    loop {
        let name = fields.string()?;
        if name.is_empty() {
            break;
        }
        parameters.insert(name, fields.string()?);
    }
    fields.end()?;
    // Clients of 3.0 do not all know the answer, and lose nothing when an extension is ignored.
    if version > PROTOCOL_LATEST {
        let extensions = parameters.keys().filter(|name| name.starts_with(EXTENSION_PREFIX)).cloned().collect();
        socket.send(&NegotiateProtocolVersion::new(PROTOCOL_LATEST as i32, extensions))?;
    }
    Ok(parameters)
}

/// Who wants which database.
pub(super) struct Identity {
    pub user: String,
    pub database: String,
}

/// The user and database that a startup packet names.
pub(super) fn identity(parameters: &BTreeMap<String, String>) -> Result<Identity> {
    let named = |name: &str| parameters.get(name).filter(|value| !value.is_empty()).cloned();
    let user = named("user")
        .ok_or_else(|| Error::new(ErrorKind::InvalidAuthorization, "connecting: the startup packet names no user"))?;
    if named("replication").is_some_and(|value| !matches!(value.as_str(), "false" | "off" | "no" | "0")) {
        return Err(Error::not_supported("a replication connection", "read the tables with SELECT or UNLOAD"));
    }
    let database = named("database").unwrap_or_else(|| user.clone());
    Ok(Identity { user, database })
}

/// Runs SCRAM-SHA-256. An unknown user gets the same conversation and the same end as a wrong password.
pub(super) async fn authenticate(socket: &mut Socket, listener: &Listener, user: &str) -> Result<(), Failure> {
    socket.send(&Authentication::SASL(vec![SCRAM_SHA_256_METHOD.to_owned()])).map_err(Failure::Fatal)?;
    let first = read_initial_response(socket).await?;
    let verifier = listener.engine.scram_verifier(user);
    let known = verifier.is_some();
    let verifier = verifier.unwrap_or_else(|| unknown_user_verifier(&listener.salt_secret, user));
    let (answer, conversation) = Conversation::begin(&first, verifier).map_err(|failure| scram_failure(failure, user))?;
    socket.send(&Authentication::SASLContinue(answer.into())).map_err(Failure::Fatal)?;
    let last = read_password_message(socket).await?;
    let answer = conversation.end(&last).map_err(|failure| scram_failure(failure, user))?;
    if !known {
        return Err(wrong_password(user));
    }
    socket.send(&Authentication::SASLFinal(answer.into())).map_err(Failure::Fatal)?;
    socket.send(&Authentication::Ok).map_err(Failure::Fatal)
}

async fn read_password_message(socket: &mut Socket) -> Result<Bytes, Failure> {
    socket.flush().await?;
    match socket.message(AUTHENTICATION_MESSAGE_MAX_BYTES).await? {
        (b'p', body) => Ok(body),
        // A client that has no password to give goes like this.
        (b'X', _) => Err(Failure::Disconnected),
        (other, _) => Err(Failure::Fatal(protocol_violation(format!("authenticating: unexpected message 0x{other:02x}")))),
    }
}

async fn read_initial_response(socket: &mut Socket) -> Result<Bytes, Failure> {
    let mut fields = Fields::new(read_password_message(socket).await?);
    let mechanism = fields.string().map_err(Failure::Fatal)?;
    if mechanism != SCRAM_SHA_256_METHOD {
        let message = format!("authenticating: the mechanism \"{mechanism}\" was not offered");
        return Err(Failure::Fatal(protocol_violation(message)));
    }
    let data = fields.value().map_err(Failure::Fatal)?;
    fields.end().map_err(Failure::Fatal)?;
    data.ok_or_else(|| Failure::Fatal(protocol_violation("authenticating: the first SCRAM message is missing")))
}

/// A verifier that no password fits. Its salt is the same for the same name, as a real one's is.
fn unknown_user_verifier(secret: &[u8], user: &str) -> ScramVerifier {
    let mut salt = gen_salted_password(user, secret, 1);
    salt.truncate(UNKNOWN_USER_SALT_BYTES);
    ScramVerifier { iterations: UNKNOWN_USER_ITERATIONS, salt, stored_key: rand::random(), server_key: rand::random() }
}

fn wrong_password(user: &str) -> Failure {
    Failure::Fatal(Error::new(ErrorKind::InvalidPassword, format!("password authentication failed for user \"{user}\"")))
}

fn scram_failure(failure: ScramFailure, user: &str) -> Failure {
    match failure {
        ScramFailure::WrongPassword => wrong_password(user),
        ScramFailure::Malformed(what) => {
            Failure::Fatal(protocol_violation(format!("authenticating: malformed SCRAM message: {what}")))
        }
    }
}

/// Applies the settings of a startup packet. Drivers send parameters of their own; those that are no settings here
/// are of no concern, but what stands in `options` is meant for the server.
pub(super) fn apply_settings(session: &Arc<dyn Session>, parameters: &BTreeMap<String, String>) -> Result<()> {
    if let Some(encoding) = parameters.get("client_encoding") {
        check_encoding(encoding)?;
    }
    for (name, value) in parameters {
        let known = !NO_SETTINGS.contains(&name.as_str()) && session.setting(&name.to_lowercase()).is_some();
        if known {
            session.set_setting(&name.to_lowercase(), value)?;
        } else {
            tracing::debug!(parameter = name.as_str(), "startup parameter is no setting");
        }
    }
    let options = parameters.get("options").map_or("", String::as_str);
    parse_options(options)?.iter().try_for_each(|(name, value)| session.set_setting(name, value))
}

/// Clients write `UTF8`, `utf-8`, `'UTF-8'`, `unicode`.
fn check_encoding(encoding: &str) -> Result<()> {
    let plain: String = encoding.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    if PLAIN_ENCODINGS.contains(&plain.as_str()) {
        return Ok(());
    }
    Err(Error::not_supported(
        format_args!("the client encoding \"{encoding}\""),
        "set client_encoding (PGCLIENTENCODING) to UTF8",
    ))
}

/// Reads `-c name=value` and `--name=value`; a backslash takes the next character as it is.
fn parse_options(options: &str) -> Result<Vec<(String, String)>> {
    let mut words = split_words(options).into_iter();
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let assignment = match (word.strip_prefix("--"), word.strip_prefix("-c")) {
            (Some(assignment), _) => Some(assignment.to_owned()),
            (None, Some("")) => words.next(),
            (None, Some(assignment)) => Some(assignment.to_owned()),
            (None, None) => None,
        };
        let Some((name, value)) = assignment.as_deref().and_then(|assignment| assignment.split_once('=')) else {
            let message = format!("reading the startup parameter \"options\": \"{word}\" is not understood");
            return Err(Error::new(ErrorKind::Syntax, message).with_hint("write -c name=value"));
        };
        settings.push((name.replace('-', "_").to_lowercase(), value.to_owned()));
    }
    Ok(settings)
}

fn split_words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut inside) = (Vec::new(), String::new(), false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c.is_ascii_whitespace() {
            if std::mem::take(&mut inside) {
                words.push(std::mem::take(&mut word));
            }
            continue;
        }
        inside = true;
        word.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    if inside {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_name_settings() {
        let parsed = parse_options(r"-c statement_timeout=5000  -csearch_path=a\ b --query-group=x").unwrap();
        let expected = [("statement_timeout", "5000"), ("search_path", "a b"), ("query_group", "x")];
        assert_eq!(parsed, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(parse_options("-d 5").unwrap_err().sqlstate(), "42601");
    }

    #[test]
    fn encodings_that_need_conversion_are_refused() {
        for encoding in ["UTF8", "'utf-8'", "unicode", "SQL_ASCII"] {
            check_encoding(encoding).unwrap();
        }
        assert_eq!(check_encoding("LATIN1").unwrap_err().sqlstate(), "0A000");
    }

    #[test]
    fn unknown_users_have_a_steady_salt_of_their_own() {
        let [first, again, other] = ["eve", "eve", "mallory"].map(|user| unknown_user_verifier(b"secret", user));
        assert_eq!(first.salt, again.salt);
        assert_ne!(first.salt, other.salt);
        assert_ne!(first.stored_key, again.stored_key);
    }
}

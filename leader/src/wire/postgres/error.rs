//! How a connection's work fails, and what the client is told.

use super::socket::Socket;
use pgwire::messages::response::{ErrorResponse, NoticeResponse};
use slipher_common::{Error, ErrorKind, Result};

/// Why a message was not dealt with.
#[derive(Debug)]
pub(super) enum Failure {
    /// The statement failed, the connection goes on.
    Statement(Error),
    /// The client is told and the connection ends.
    Fatal(Error),
    /// The client is gone.
    Disconnected,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Statement(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(_: std::io::Error) -> Self {
        Self::Disconnected
    }
}

/// The error of a client that breaks the protocol.
pub(super) fn protocol_violation(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::ProtocolViolation, message)
}

/// The error of a server that stops.
pub(super) fn shutting_down() -> Error {
    Error::new(ErrorKind::AdminShutdown, "terminating the connection: the server shuts down")
}

/// Moves an error's position from its statement to the string the client sent.
pub(super) fn shift_position(mut error: Error, offset: usize) -> Error {
    error.position = error.position.map(|position| position.saturating_add(offset));
    error
}

/// Tells the client of an error; `severity` is ERROR or FATAL.
pub(super) fn send_error(socket: &mut Socket, severity: &str, error: &Error) -> Result<()> {
    let mut fields = head(severity, error.sqlstate(), &error.message);
    fields.extend(error.detail.as_deref().map(|detail| (b'D', clean(detail))));
    fields.extend(error.hint.as_deref().map(|hint| (b'H', clean(hint))));
    fields.extend(error.position.map(|position| (b'P', position.to_string())));
    socket.send(&ErrorResponse::new(fields))
}

/// Sends a message beside the result.
pub(super) fn send_notice(socket: &mut Socket, message: &str) -> Result<()> {
    socket.send(&NoticeResponse::new(head("NOTICE", "00000", message)))
}

fn head(severity: &str, sqlstate: &str, message: &str) -> Vec<(u8, String)> {
    vec![(b'S', severity.to_owned()), (b'V', severity.to_owned()), (b'C', sqlstate.to_owned()), (b'M', clean(message))]
}

/// Strings end at the first NUL on this protocol.
pub(super) fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

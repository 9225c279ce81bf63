//! How a connection's work fails, and what the client is told.

use slipher_common::{Error, ErrorKind};

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

/// Strings end at the first NUL on this protocol.
pub(super) fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

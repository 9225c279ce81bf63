//! How a statement ends on the wire: its tag, its messages, its error.

use super::error::clean;
use super::socket::Socket;
use pgwire::messages::response::{CommandComplete, ErrorResponse, NoticeResponse};
use slipher_common::{Error, Result};

/// Ends a statement that yields rows. Only some tags carry a count.
pub(super) fn send_rows_tag(socket: &mut Socket, tag: &str, count: u64) -> Result<()> {
    let tag = match tag {
        "SELECT" | "FETCH" => format!("{tag} {count}"),
        other => other.to_owned(),
    };
    socket.send(&CommandComplete::new(tag))
}

/// Ends a statement that yields none.
pub(super) fn send_done(socket: &mut Socket, tag: String, notices: &[String]) -> Result<()> {
    notices.iter().try_for_each(|notice| send_notice(socket, notice))?;
    socket.send(&CommandComplete::new(tag))
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

//! Errors as a client of PostgreSQL would print them.

use arrow_flight::error::FlightError;
use std::io::{self, Write};
use tonic::{Code, Status};

/// Longest piece of a statement's line shown above the caret, in characters.
const LINE_MAX_CHARS: usize = 100;

/// Why a run ended.
#[derive(Debug)]
pub(super) enum Failure {
    /// The arguments are wrong.
    Usage(String),
    /// No session, or it broke.
    Connection(String),
    /// A statement failed.
    Sql {
        /// What the server said.
        error: Box<ServerError>,
        /// The statement.
        sql: String,
    },
    /// Ctrl-C while no statement ran.
    Interrupted,
    /// Standard output takes nothing any more.
    Output(io::Error),
}

/// What the server said about an error.
#[derive(Debug, Default)]
pub(super) struct ServerError {
    message: String,
    sqlstate: String,
    detail: Option<String>,
    hint: Option<String>,
    /// In characters from 1.
    position: Option<usize>,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl Failure {
    /// The server refused the session.
    pub(super) fn refused(status: &Status) -> Self {
        Self::Connection(server_error(status).message)
    }
}

/// The failure of a statement, or of the connection under it.
pub(super) fn sql_failure(error: FlightError, sql: &str) -> Failure {
    let sql = sql.to_owned();
    match error {
        FlightError::Tonic(status) if status.metadata().contains_key("sqlstate") => {
            Failure::Sql { error: Box::new(server_error(&status)), sql }
        }
        // Without an SQLSTATE it comes from the transport.
        FlightError::Tonic(status) if matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled) => {
            Failure::Connection(format!("the connection broke: {}", status.message()))
        }
        FlightError::Tonic(status) => Failure::Connection(format!("{}: {}", status.code(), status.message())),
        other => Failure::Connection(format!("reading the server's answer: {other}")),
    }
}

/// The failure of a statement that Ctrl-C cancelled.
pub(super) fn cancelled(sql: &str) -> Failure {
    let message = "the statement was cancelled".to_owned();
    let error = ServerError { message, sqlstate: "57014".to_owned(), ..Default::default() };
    Failure::Sql { error: Box::new(error), sql: sql.to_owned() }
}

fn server_error(status: &Status) -> ServerError {
    let part = |name: &str| {
        let whole = status.metadata().get_bin(format!("{name}-bin")).and_then(|value| value.to_bytes().ok());
        match whole {
            Some(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            None => status.metadata().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned),
        }
    };
    let sqlstate = part("sqlstate").unwrap_or_default();
    let message = status.message().strip_suffix(&format!(" (SQLSTATE {sqlstate})")).unwrap_or(status.message());
    let position = part("position").and_then(|text| text.parse().ok());
    ServerError { message: message.to_owned(), sqlstate, detail: part("detail"), hint: part("hint"), position }
}

/// Prints a failure. What cannot be printed is lost: there is nowhere else to say it.
pub(super) fn print(failure: &Failure, out: &mut dyn Write) {
    let printed = match failure {
        Failure::Usage(message) => writeln!(out, "slipher sql: {message}"),
        Failure::Connection(message) => writeln!(out, "slipher sql: {message}"),
        Failure::Sql { error, sql } => print_sql(error, sql, out),
        Failure::Interrupted => Ok(()),
        // The reader went away, as `head` does: no message.
        Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Failure::Output(error) => writeln!(out, "slipher sql: writing to standard output: {error}"),
    };
    drop(printed);
}

/// Prints a message of the server's beside a result.
pub(super) fn print_notice(notice: &str, out: &mut dyn Write) {
    drop(writeln!(out, "INFO:  {notice}"));
}

fn print_sql(error: &ServerError, sql: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "ERROR:  {}", error.message)?;
    if let Some((number, line, column)) = error.position.and_then(|position| line_of(sql, position)) {
        let prefix = format!("LINE {number}: ");
        writeln!(out, "{prefix}{line}")?;
        writeln!(out, "{:1$}^", "", prefix.len() + column)?;
    }
    if let Some(detail) = &error.detail {
        writeln!(out, "DETAIL:  {detail}")?;
    }
    if let Some(hint) = &error.hint {
        writeln!(out, "HINT:  {hint}")?;
    }
    if !error.sqlstate.is_empty() {
        writeln!(out, "SQLSTATE:  {}", error.sqlstate)?;
    }
    Ok(())
}

/// The line of a position (characters from 1): its number, a piece of its text, and the position's column in the piece.
fn line_of(sql: &str, position: usize) -> Option<(usize, String, usize)> {
    let before: String = sql.chars().take(position.checked_sub(1)?).collect();
    // Just behind the end is a position as well: the end of the input.
    if before.chars().count() + 1 < position {
        return None;
    }
    let number = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count());
    let line = sql.split('\n').nth(number - 1)?.trim_end_matches('\r');
    let skipped = column.saturating_sub(LINE_MAX_CHARS / 2).min(line.chars().count().saturating_sub(LINE_MAX_CHARS));
    let (start, end) = (if skipped > 0 { "..." } else { "" }, line.chars().count() - skipped > LINE_MAX_CHARS);
    // A tab would move the caret.
    let piece: String = line.chars().skip(skipped).take(LINE_MAX_CHARS).map(|c| if c == '\t' { ' ' } else { c }).collect();
    let line = format!("{start}{piece}{}", if end { "..." } else { "" });
    Some((number, line, column - skipped + start.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(error: ServerError, sql: &str) -> String {
        let mut out = Vec::new();
        print(&Failure::Sql { error: Box::new(error), sql: sql.to_owned() }, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_caret_stands_under_the_position() {
        let error = ServerError {
            message: "column \"ä\" does not exist".to_owned(),
            sqlstate: "42703".to_owned(),
            hint: Some("did you mean \"a\"?".to_owned()),
            position: Some(17),
            ..Default::default()
        };
        let expected = [
            "ERROR:  column \"ä\" does not exist",
            "LINE 2:   'é', nope",
            "               ^",
            "HINT:  did you mean \"a\"?",
            "SQLSTATE:  42703",
            "",
        ];
        assert_eq!(printed(error, "SELECT 1\n  'é', nope\nFROM t"), expected.join("\n"));
    }

    #[test]
    fn long_lines_are_cut_around_the_position() {
        let sql = format!("SELECT {}x", "1, ".repeat(200));
        let (number, line, column) = line_of(&sql, sql.len()).unwrap();
        assert_eq!((number, line.chars().nth(column)), (1, Some('x')));
        assert!(line.starts_with("...") && line.chars().count() <= LINE_MAX_CHARS + 6);
        assert_eq!(line_of("ab", 3), Some((1, "ab".to_owned(), 2)));
        assert_eq!(line_of("ab", 9), None);
        assert_eq!(line_of("ab", 0), None);
    }
}

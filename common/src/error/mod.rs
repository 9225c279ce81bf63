//! The one place where what went wrong becomes an SQLSTATE, a message, a detail, a hint and a position.

mod engine;
mod kind;
mod memory;
mod messages;
mod words;

pub use kind::ErrorKind;
pub use memory::{JOIN_OUT_OF_MEMORY, NODE_MEMORY_BUSY, NODE_MEMORY_USED_UP};

use datafusion::error::DataFusionError;
use engine::from_engine;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Result with Slipher's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Marks an [`Error`] that crossed a node boundary as text inside another error's message.
const WIRE_MARK: &str = "\u{1}slipher-error:";
const WIRE_END: char = '\u{2}';

/// An error as a client sees it. `Display` is the message alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// What kind of thing went wrong.
    pub kind: ErrorKind,
    /// What was being done and what stood in the way: lower case, no final stop, identifiers quoted.
    pub message: String,
    /// More about this one case.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Where in the statement, in characters from 1.
    pub position: Option<usize>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl Error {
    /// An error of `kind` with `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), detail: None, hint: None, position: None }
    }

    /// An unexpected state: a defect of Slipher's.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// A statement, clause or option that Slipher does not have; `instead` says what to use.
    pub fn not_supported(what: impl fmt::Display, instead: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotSupported, format!("{what} is not supported")).with_hint(instead)
    }

    /// Reading or writing failed while `doing`.
    pub fn io(doing: impl fmt::Display, source: &std::io::Error) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
            std::io::ErrorKind::NotFound => ErrorKind::UndefinedFile,
            _ => ErrorKind::Io,
        };
        Self::new(kind, format!("{doing}: {source}"))
    }

    /// The same error with a detail.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same error with a hint; an empty one is none.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into()).filter(|hint: &String| !hint.is_empty());
        self
    }

    /// The same error at a position (characters from 1).
    pub fn at(mut self, position: usize) -> Self {
        self.position = Some(position);
        self
    }

    /// The five-character SQLSTATE.
    pub fn sqlstate(&self) -> &'static str {
        self.kind.sqlstate()
    }

    /// This error as text that survives any number of wrappers; [`Error::from_wire_text`] finds it again.
    pub fn to_wire_text(&self) -> String {
        match serde_json::to_string(self) {
            Ok(json) => format!("{WIRE_MARK}{json}{WIRE_END}"),
            Err(_) => self.message.clone(),
        }
    }

    /// The error that `text` carries inside, if any.
    pub fn from_wire_text(text: &str) -> Option<Self> {
        let start = text.find(WIRE_MARK)? + WIRE_MARK.len();
        let end = text[start..].find(WIRE_END)? + start;
        let json = &text[start..end];
        // A wrapper may have printed the text with Debug, which escapes it.
        serde_json::from_str(json).or_else(|_| serde_json::from_str(&json.replace("\\\"", "\""))).ok()
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        // As text: that is what survives the way from a compute node to the leader.
        DataFusionError::Execution(error.to_wire_text())
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        let text = error.to_string();
        if let Some(own) = Error::from_wire_text(&text) {
            return own;
        }
        from_engine(&error)
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        DataFusionError::from(error).into()
    }
}

/// `did you mean "x"?` for the candidate nearest to `wanted`, or an empty string when none is near.
pub fn did_you_mean<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let wanted = wanted.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(similarity, _)| *similarity >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| format!("did you mean \"{candidate}\"?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::messages::from_message;
    use super::*;

    #[test]
    fn wire_text_survives_wrapping() {
        let error = Error::new(ErrorKind::StringTooLong, "value too long for \"name\"").with_detail("row 3").at(7);
        let wrapped = DataFusionError::Execution(error.to_wire_text()).context("task 3");
        let text = format!("status: {wrapped}, more");
        assert_eq!(Error::from_wire_text(&text), Some(error.clone()));
        assert_eq!(Error::from(wrapped), error);
    }

    #[test]
    fn the_engines_words_become_those_of_sql() {
        let of = |text: &str| from_message(text);
        let error = of("Can't cast value 40000 to type Int16");
        assert_eq!((error.sqlstate(), error.message.as_str()), ("22003", "value out of range for smallint"));
        let error = of("Cannot cast string 'it's' to value of Decimal128(38, 10) type");
        assert_eq!((error.sqlstate(), error.message.as_str()), ("22P02", "invalid input syntax for type numeric: \"it's\""));
        let error = of("Cannot coerce arithmetic expression Date32 + Utf8View to valid types");
        assert_eq!((error.sqlstate(), error.message.as_str()), ("42804", "operator does not exist: date + character varying"));
        let error =
            of("'substr' does not support zero arguments. No function matches the given name and argument types 'substr()'. \
             You might need to add explicit type casts.\n\tCandidate functions:\n\tsubstr(str: String, start_pos: Int64)");
        assert_eq!((error.sqlstate(), error.message.as_str()), ("42883", "function substr() does not exist"));
        for (text, sqlstate, message) in [
            (
                "There isn't a common type to coerce Int64 and Utf8 in LIKE expression",
                "42804",
                "operator does not exist: bigint LIKE character varying",
            ),
            (
                "Cannot infer common argument type for regex operation Utf8View ~ Int64",
                "42804",
                "operator does not exist: character varying ~ bigint",
            ),
            (
                "Cannot infer common argument type for logical boolean operation Int64 AND Boolean",
                "42804",
                "operator does not exist: bigint AND boolean",
            ),
            ("Invalid arithmetic operation: Boolean + Boolean", "42804", "operator does not exist: boolean + boolean"),
            (
                "Cannot automatically convert Utf8 to Interval(MonthDayNano)",
                "42804",
                "cannot convert type character varying to interval",
            ),
            (
                "Function 'signum' has signature Uniform(1, [Float64]) which does not support zero arguments",
                "42883",
                "function signum() does not exist",
            ),
            (
                "Incompatible inputs for Union: Previous inputs were of type Boolean, but got incompatible type Int32 on column 'a'",
                "42804",
                "UNION types boolean and integer cannot be matched",
            ),
        ] {
            assert_eq!((of(text).sqlstate(), of(text).message.as_str()), (sqlstate, message));
        }
        let error =
            of("Column in SELECT must be in GROUP BY or an aggregate function: While expanding wildcard, column \"t.a\" must \
                        appear in the GROUP BY clause or must be part of an aggregate function");
        assert_eq!(error.sqlstate(), "42803");
        assert!(error.message.starts_with("column \"t.a\" must appear"), "{error}");
        let error = of("code: 'Unknown error', message: \"h2 protocol error: error reading a body from connection\"");
        assert_eq!((error.kind, error.sqlstate()), (ErrorKind::NodeUnavailable, "58000"));
    }

    #[test]
    fn what_a_message_quotes_does_not_say_what_went_wrong() {
        assert_eq!(from_message("Arrow error: Divide by zero error").sqlstate(), "22012");
        for text in
            ["Invalid function 'divide by zero'", "Invalid function \"divide by zero\".", "Invalid function `divide by zero`"]
        {
            assert_eq!(from_message(text).sqlstate(), "42883", "{text}");
        }
        assert_eq!(from_message("it isn't so: divide by zero").sqlstate(), "22012");
    }

    #[test]
    fn near_names_are_proposed() {
        assert_eq!(did_you_mean("acount_length", ["account_length", "state"]), "did you mean \"account_length\"?");
        assert_eq!(did_you_mean("zzz", ["account_length"]), "");
    }
}

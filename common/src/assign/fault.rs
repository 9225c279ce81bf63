//! What is wrong with one value, before it is known which row of what it stands in.

use crate::error::{Error, ErrorKind, Result};
use crate::sql_type::SqlType;

/// How much of a bad value an error shows.
const SHOWN_VALUE_MAX_CHARS: usize = 64;
/// How many bad bytes an error shows.
const SHOWN_BYTES_MAX: usize = 4;

/// Called for each value that cannot be converted, with its row. `Err` ends the conversion; `Ok` makes the value NULL and goes on.
pub type OnFault<'a> = &'a mut dyn FnMut(usize, Fault) -> Result<()>;

/// Why a value does not fit its column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of thing is wrong.
    pub kind: ErrorKind,
    /// The message, as PostgreSQL words it.
    pub message: String,
    /// The value, shortened; `None` for NULL.
    pub value: Option<String>,
}

/// Why a text is not a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFault {
    /// It does not have the form.
    Syntax,
    /// It has, but the value is outside the type's range.
    Range,
}

impl Fault {
    /// `value` (as text) is outside `target`'s range.
    pub fn out_of_range(target: SqlType, value: &str) -> Self {
        let kind = match target {
            SqlType::Date | SqlType::Time | SqlType::TimeTz | SqlType::Timestamp | SqlType::TimestampTz => {
                ErrorKind::DatetimeOutOfRange
            }
            _ => ErrorKind::NumericOutOfRange,
        };
        Self { kind, message: format!("value out of range for {target}"), value: Some(shorten(value)) }
    }

    /// A string has more bytes than `target` takes.
    pub fn too_long(target: SqlType, value: &str) -> Self {
        Self {
            kind: ErrorKind::StringTooLong,
            message: format!("value too long for type {target}"),
            value: Some(format!("{} ({} bytes)", shorten(value), value.len())),
        }
    }

    /// `text` is not a value of `target`.
    pub fn of_text(target: SqlType, text: &str, fault: TextFault) -> Self {
        let shown = shorten(text);
        let temporal =
            matches!(target, SqlType::Date | SqlType::Time | SqlType::TimeTz | SqlType::Timestamp | SqlType::TimestampTz);
        let (kind, message) = match (fault, temporal) {
            (TextFault::Range, true) => {
                (ErrorKind::DatetimeOutOfRange, format!("date/time field value out of range: \"{shown}\""))
            }
            (TextFault::Range, false) => (ErrorKind::NumericOutOfRange, format!("value out of range for {target}")),
            (TextFault::Syntax, true) => {
                (ErrorKind::InvalidDatetime, format!("invalid input syntax for type {}: \"{shown}\"", base_name(target)))
            }
            (TextFault::Syntax, false) => {
                (ErrorKind::InvalidText, format!("invalid input syntax for type {}: \"{shown}\"", base_name(target)))
            }
        };
        Self { kind, message, value: Some(shown) }
    }

    /// Bytes for a string that are not UTF-8 from byte `from` on.
    pub fn not_utf8(bytes: &[u8], from: usize) -> Self {
        let bad = bytes.get(from..).unwrap_or_default().iter().take(SHOWN_BYTES_MAX);
        let shown: Vec<String> = bad.map(|byte| format!("0x{byte:02x}")).collect();
        Self {
            kind: ErrorKind::InvalidEncoding,
            message: "text is not valid UTF-8".to_owned(),
            value: Some(format!("bytes {}", shown.join(" "))),
        }
    }

    /// NULL where `column` has NOT NULL.
    pub fn null(column: &str) -> Self {
        Self {
            kind: ErrorKind::NotNullViolation,
            message: format!("null value in column \"{column}\" violates not-null constraint"),
            value: None,
        }
    }

    /// The error for this fault at a place (`row 3`, `file "x.csv", line 12`) in a column (`"c"`, `"c" of table "public.t"`).
    pub fn at(self, column: &str, place: &str) -> Error {
        let detail = match &self.value {
            Some(value) => format!("column {column}, {place}: value \"{value}\""),
            None => format!("column {column}, {place}"),
        };
        Error::new(self.kind, self.message).with_detail(detail)
    }
}

/// A type's name without its length or precision, as PostgreSQL shows it in messages.
pub fn base_name(sql_type: SqlType) -> String {
    let name = sql_type.to_string();
    name.split('(').next().unwrap_or_default().to_owned()
}

/// At most [`SHOWN_VALUE_MAX_CHARS`] characters of `value`, without control characters.
pub fn shorten(value: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    match value.char_indices().nth(SHOWN_VALUE_MAX_CHARS) {
        Some((end, _)) => value[..end].chars().map(clean).chain(['…']).collect(),
        None => value.chars().map(clean).collect(),
    }
}

//! SUPER values: their bytes (docs/formats.md), made and read without recursion; their JSON text; and the keys by which they are compared.
//!
//! A column of SUPER is a `BinaryView` column, and nothing else in a plan has that type. JSON's null as a whole value is SQL's NULL.

mod builder;
mod json_read;
mod json_write;
mod key;
mod number;
#[cfg(test)]
mod tests;
mod varint;
mod view;

pub use builder::Builder;
pub use json_read::{ParseOptions, parse_json};
pub use json_write::{write_json, write_string};
pub use key::{Rank, key_of, rank_of_key, write_key};
pub use number::{Number, number_text};
pub use view::{ArrayView, Node, ObjectView, Value};

use crate::{Error, ErrorKind};

/// Largest value, in bytes of its encoding.
pub const VALUE_MAX_BYTES: usize = 16 << 20;
/// Arrays and objects inside each other, at most.
pub const DEPTH_MAX_LEVELS: u32 = 1_000;
/// Longest string inside a value, in bytes.
pub const STRING_MAX_BYTES: usize = 65_535;

/// How much of a text an error shows.
const SHOWN_MAX_CHARS: usize = 64;

/// First bytes of nodes. Their numbers are stored: none is ever used anew.
mod tag {
    pub(super) const NULL: u8 = 0x00;
    pub(super) const FALSE: u8 = 0x01;
    pub(super) const TRUE: u8 = 0x02;
    pub(super) const INT8: u8 = 0x10;
    pub(super) const INT16: u8 = 0x11;
    pub(super) const INT32: u8 = 0x12;
    pub(super) const INT64: u8 = 0x13;
    pub(super) const DECIMAL: u8 = 0x14;
    pub(super) const DOUBLE: u8 = 0x15;
    pub(super) const STRING: u8 = 0x20;
    pub(super) const ARRAY: u8 = 0x30;
    pub(super) const OBJECT: u8 = 0x31;
}

/// The beginning of a text, for messages.
fn shown(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    match text.char_indices().nth(SHOWN_MAX_CHARS) {
        Some((end, _)) => text[..end].chars().map(clean).chain(['…']).collect(),
        None => text.chars().map(clean).collect(),
    }
}

/// Bytes that are no SUPER value.
fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::DataCorrupted, format!("reading a SUPER value: {what}"))
}

/// A value that would be nested too deeply.
fn too_deep() -> Error {
    Error::new(ErrorKind::TooComplex, format!("a SUPER value can be nested {DEPTH_MAX_LEVELS} levels deep at most"))
}

/// A value that would be too large.
fn too_large() -> Error {
    let most = VALUE_MAX_BYTES >> 20;
    Error::new(ErrorKind::StringTooLong, format!("a SUPER value can have {most} MB at most"))
}

/// A string that is too long to stand in a value.
fn string_too_long(bytes: usize) -> Error {
    Error::new(
        ErrorKind::StringTooLong,
        format!("a string of {bytes} bytes is too long for a SUPER value, which takes {STRING_MAX_BYTES} bytes"),
    )
}

/// JSON text that does not fit where it goes.
fn json_too_long(most_bytes: usize) -> Error {
    Error::new(ErrorKind::StringTooLong, format!("the JSON text of a SUPER value has more than {most_bytes} bytes"))
        .with_hint("JSON_SIZE tells how many bytes it has; take parts of it")
}

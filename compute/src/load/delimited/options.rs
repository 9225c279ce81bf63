//! COPY's options for delimited files, checked.

use super::scanner::Dialect;
use slipher_common::assign::{DatetimeFormat, TextFormats, Zone};
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::plan::CsvOptions;
use std::sync::Arc;

/// Longest delimiter.
const DELIMITER_MAX_BYTES: usize = 16;

/// How a file's bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Checked options.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub dialect: Dialect,
    pub compression: Compression,
    pub ignore_header: u32,
    pub empty_as_null: bool,
    pub blanks_as_null: bool,
    pub accept_invalid: bool,
    pub fill_record: bool,
    pub ignore_blank_lines: bool,
    /// The load fails at this bad row; 0 is as 1.
    pub max_error: u64,
    pub formats: TextFormats,
}

fn wrong(option: &str, value: &str, what: &str) -> Error {
    Error::new(ErrorKind::InvalidParameter, format!("{option} '{value}': {what}"))
}

impl Options {
    /// Fills in defaults: empty strings stand for options that were not given, but an empty `null_as` is NULL AS ''.
    pub(super) fn new(given: &CsvOptions) -> Result<Self> {
        let csv_quote = if given.csv_mode { Some(one_byte("QUOTE", &given.quote)?.unwrap_or(b'"')) } else { None };
        if given.csv_mode && (!given.escape.is_empty() || given.remove_quotes) {
            let option = if given.remove_quotes { "REMOVEQUOTES" } else { "ESCAPE" };
            return Err(Error::new(ErrorKind::InvalidParameter, format!("{option} cannot be used together with CSV"))
                .with_hint("CSV removes quotation marks by itself; double those inside a field"));
        }
        if !given.csv_mode && !given.quote.is_empty() {
            return Err(wrong("QUOTE", &given.quote, "it needs CSV").with_hint("add CSV, or use REMOVEQUOTES"));
        }
        let escape = one_byte("ESCAPE", &given.escape)?;
        let delimiter = delimiter(given)?;
        let clash = [csv_quote, escape, Some(b'\n'), Some(b'\r')].into_iter().flatten().any(|byte| delimiter.contains(&byte));
        if clash || given.remove_quotes && delimiter.iter().any(|byte| matches!(byte, b'"' | b'\'')) {
            return Err(wrong("DELIMITER", &given.delimiter, "it is a quotation mark, the escape or a line end"));
        }
        Ok(Self {
            dialect: Dialect {
                delimiter,
                csv_quote,
                escape,
                remove_quotes: given.remove_quotes,
                null_as: given.null_as.as_bytes().to_vec(),
            },
            compression: compression(&given.compression)?,
            ignore_header: given.ignore_header,
            empty_as_null: given.empty_as_null,
            blanks_as_null: given.blanks_as_null,
            accept_invalid: given.accept_inv_chars,
            fill_record: given.fill_record,
            ignore_blank_lines: given.ignore_blank_lines,
            max_error: given.max_error,
            formats: TextFormats {
                date: DatetimeFormat::parse("DATEFORMAT", &given.date_format)?,
                timestamp: DatetimeFormat::parse("TIMEFORMAT", &given.time_format)?,
                truncate_strings: given.truncate_columns,
                truncate_decimals: !given.round_decimals,
                bytes_are_hex: true,
                zone: Some(&given.time_zone)
                    .filter(|name| !name.is_empty())
                    .map(|name| Zone::parse(name))
                    .transpose()?
                    .map(Arc::new),
                now: None,
            },
        })
    }
}

fn one_byte(option: &str, value: &str) -> Result<Option<u8>> {
    match value.as_bytes() {
        [] => Ok(None),
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Ok(Some(*byte)),
        _ => Err(wrong(option, value, "it must be one ASCII character")),
    }
}

/// The delimiter: `\t` and octal `\011` stand for one character.
fn delimiter(given: &CsvOptions) -> Result<Vec<u8>> {
    let text = &given.delimiter;
    let bytes = match text.as_bytes() {
        [] => vec![if given.csv_mode { b',' } else { b'|' }],
        b"\\t" => vec![b'\t'],
        [b'\\', digits @ ..] if digits.len() == 3 && digits.iter().all(|digit| (b'0'..=b'7').contains(digit)) => {
            let value = u8::from_str_radix(&text[1..], 8).map_err(|_| wrong("DELIMITER", text, "it is beyond \\377"))?;
            vec![value]
        }
        bytes => bytes.to_vec(),
    };
    let max = if given.csv_mode { 1 } else { DELIMITER_MAX_BYTES };
    if bytes.len() > max || !bytes.is_ascii() || bytes.contains(&0) {
        let what = if given.csv_mode { "with CSV it must be one ASCII character" } else { "it must be a few ASCII characters" };
        return Err(wrong("DELIMITER", text, what));
    }
    Ok(bytes)
}

fn compression(name: &str) -> Result<Compression> {
    match name.to_ascii_lowercase().as_str() {
        "" | "none" => Ok(Compression::None),
        "gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        other => Err(Error::not_supported(
            format_args!("the compression {}", other.to_ascii_uppercase()),
            "use GZIP or ZSTD, or no compression",
        )),
    }
}

//! The options of COPY.

use super::copy_spec::{Access, CopyFormat};
use super::lex::Cursor;
use slipher_common::error::did_you_mean;
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::plan::CsvOptions;

/// Most rows that MAXERROR may let pass.
const MAX_ERROR_MAX_ROWS: i64 = 100_000;
/// What stands for NULL unless NULL AS says something else.
const NULL_AS_DEFAULT: &str = "\\N";

/// Options that Slipher has.
const KNOWN: &[&str] = &[
    "FORMAT",
    "CSV",
    "PARQUET",
    "DELIMITER",
    "QUOTE",
    "IGNOREHEADER",
    "HEADER",
    "NULL",
    "GZIP",
    "BZIP2",
    "ZSTD",
    "REMOVEQUOTES",
    "ESCAPE",
    "EMPTYASNULL",
    "BLANKSASNULL",
    "DATEFORMAT",
    "TIMEFORMAT",
    "ACCEPTINVCHARS",
    "TRUNCATECOLUMNS",
    "FILLRECORD",
    "IGNOREBLANKLINES",
    "MAXERROR",
    "ROUNDEC",
    "EXPLICIT_IDS",
    "CREDENTIALS",
    "IAM_ROLE",
    "ACCESS_KEY_ID",
    "SECRET_ACCESS_KEY",
    "SESSION_TOKEN",
    "REGION",
    "ENCODING",
    "COMPUPDATE",
    "STATUPDATE",
    "COMPROWS",
    "WITH",
];

/// Options of Redshift that Slipher does not have, and what to do.
const OTHER: &[(&str, &str)] = &[
    ("JSON", "convert the files to CSV or Parquet"),
    ("AVRO", "convert the files to Parquet"),
    ("ORC", "convert the files to Parquet"),
    ("SHAPEFILE", "convert the files to CSV"),
    ("FIXEDWIDTH", "convert the files to CSV"),
    ("LZOP", "compress the files with GZIP or ZSTD"),
    ("MANIFEST", "name the files by their common beginning"),
    ("NOLOAD", "COPY into an empty table and TRUNCATE it"),
    ("ACCEPTANYDATE", "load the column as VARCHAR and convert it in a query"),
    ("TRIMBLANKS", "trim in a query: RTRIM(column)"),
    ("ENCRYPTED", "decrypt the files first"),
    ("MASTER_SYMMETRIC_KEY", "decrypt the files first"),
    ("READRATIO", "leave it out"),
    ("SSH", "copy the files to the leader's side"),
    ("IGNOREALLERRORS", "use MAXERROR"),
    ("SERIALIZETOJSON", "convert the files so that columns are plain values"),
    ("USING", "write the options in COPY itself"),
];

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Options {
    csv: CsvOptions,
    parquet: bool,
    /// Options of text files and their positions, in order.
    of_text: Vec<(String, usize)>,
    delimiter: Option<String>,
    quote: Option<String>,
    null_as: Option<String>,
    access: Access,
    explicit_ids: bool,
    notices: Vec<String>,
}

fn invalid(message: impl Into<String>, position: usize) -> Error {
    Error::new(ErrorKind::InvalidParameter, message).at(position)
}

impl Options {
    /// Reads options to the end of the statement.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<Self> {
        let mut options = Self::default();
        while !cursor.at_end() {
            let position = cursor.position();
            let word = cursor.peek().and_then(|lexeme| lexeme.keyword()).unwrap_or_default();
            if let Some((name, instead)) = OTHER.iter().find(|(name, _)| *name == word) {
                return Err(Error::not_supported(format_args!("COPY option {name}"), *instead).at(position));
            }
            if !KNOWN.contains(&word.as_str()) {
                return Err(cursor.error("expected an option of COPY").with_hint(did_you_mean(&word, KNOWN.iter().copied())));
            }
            cursor.next += 1;
            if !options.parse_access(cursor, &word)? && !options.parse_load(cursor, &word, position)? {
                options.parse_text(cursor, &word, position)?;
            }
        }
        Ok(options)
    }

    /// Credentials and region; answers whether `word` was one of them.
    fn parse_access(&mut self, cursor: &mut Cursor<'_>, word: &str) -> Result<bool> {
        let part = match word {
            "WITH" => {
                return if cursor.looking_at(&["CREDENTIALS"]) { Ok(true) } else { Err(cursor.error("expected CREDENTIALS")) };
            }
            "CREDENTIALS" => {
                cursor.eat(&["AS"]);
                cursor.string("credentials in single quotes")?
            }
            "IAM_ROLE" if cursor.eat(&["DEFAULT"]) => "aws_iam_role=default".to_owned(),
            "IAM_ROLE" => format!("aws_iam_role={}", cursor.string("a role in single quotes, or DEFAULT")?),
            "ACCESS_KEY_ID" => format!("aws_access_key_id={}", cursor.string("a key in single quotes")?),
            "SECRET_ACCESS_KEY" => format!("aws_secret_access_key={}", cursor.string("a key in single quotes")?),
            "SESSION_TOKEN" => format!("token={}", cursor.string("a token in single quotes")?),
            "REGION" => {
                cursor.eat(&["AS"]);
                self.access.region = Some(cursor.string("a region in single quotes")?);
                return Ok(true);
            }
            _ => return Ok(false),
        };
        self.access.credentials = Some(match self.access.credentials.take() {
            Some(before) => format!("{before};{part}"),
            None => part,
        });
        Ok(true)
    }

    /// Format and load control; answers whether `word` was one of them.
    fn parse_load(&mut self, cursor: &mut Cursor<'_>, word: &str, position: usize) -> Result<bool> {
        match word {
            "FORMAT" => {
                cursor.eat(&["AS"]);
                if !["CSV", "PARQUET"].iter().chain(OTHER.iter().map(|(name, _)| name)).any(|name| cursor.looking_at(&[name])) {
                    return Err(cursor.error("expected CSV or PARQUET"));
                }
            }
            "PARQUET" => self.parquet = true,
            "COMPUPDATE" | "STATUPDATE" => {
                let mode = cursor.eat_one_of(&["ON", "OFF", "TRUE", "FALSE", "PRESET"]).unwrap_or("ON");
                self.notices.push(format!("{word} {mode} has no effect: encodings and statistics come with every segment"));
            }
            "COMPROWS" => {
                let rows = cursor.integer("a number of rows")?;
                self.notices.push(format!("COMPROWS {rows} has no effect: encodings come with every segment"));
            }
            "EXPLICIT_IDS" => self.explicit_ids = true,
            "MAXERROR" => {
                cursor.eat(&["AS"]);
                let at = cursor.position();
                let rows = cursor.integer("a number of rows")?;
                if !(0..=MAX_ERROR_MAX_ROWS).contains(&rows) {
                    return Err(invalid(format!("MAXERROR {rows} must be between 0 and {MAX_ERROR_MAX_ROWS}"), at));
                }
                self.csv.max_error = rows.unsigned_abs();
                self.of_text.push((word.to_owned(), position));
            }
            "ENCODING" => {
                cursor.eat(&["AS"]);
                let at = cursor.position();
                let name = match cursor.eat_one_of(&["UTF8", "UTF16", "UTF16LE", "UTF16BE", "ISO88591"]) {
                    Some(name) => name.to_owned(),
                    None => cursor.string("an encoding")?.to_uppercase(),
                };
                if !matches!(name.as_str(), "UTF8" | "UTF-8") {
                    return Err(
                        Error::not_supported(format_args!("COPY with ENCODING {name}"), "convert the files to UTF-8").at(at)
                    );
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Options of text files.
    fn parse_text(&mut self, cursor: &mut Cursor<'_>, word: &str, position: usize) -> Result<()> {
        self.of_text.push((word.to_owned(), position));
        let csv = &mut self.csv;
        match word {
            "CSV" => csv.csv_mode = true,
            "DELIMITER" => self.delimiter = Some(one_character(cursor, word)?),
            "QUOTE" => self.quote = Some(one_character(cursor, word)?),
            "NULL" => self.null_as = Some(unescape(&string(cursor, word)?)),
            "HEADER" => csv.ignore_header = 1,
            "IGNOREHEADER" => {
                cursor.eat(&["AS"]);
                let at = cursor.position();
                let lines = cursor.integer("a number of lines")?;
                csv.ignore_header =
                    u32::try_from(lines).map_err(|_| invalid(format!("IGNOREHEADER {lines} is not a number of lines"), at))?;
            }
            "GZIP" | "BZIP2" | "ZSTD" => {
                if !csv.compression.is_empty() {
                    return Err(invalid("COPY names two compressions", position));
                }
                csv.compression = word.to_lowercase();
            }
            "REMOVEQUOTES" => csv.remove_quotes = true,
            "ESCAPE" => csv.escape = "\\".to_owned(),
            "EMPTYASNULL" => csv.empty_as_null = true,
            "BLANKSASNULL" => csv.blanks_as_null = true,
            "DATEFORMAT" => csv.date_format = string(cursor, word)?,
            "TIMEFORMAT" => csv.time_format = string(cursor, word)?,
            "ACCEPTINVCHARS" => {
                csv.accept_inv_chars = true;
                let given = cursor.eat(&["AS"]) || cursor.peek().is_some_and(|lexeme| lexeme.keyword().is_none());
                let at = cursor.position();
                if given && cursor.string("a replacement in single quotes")? != "?" {
                    return Err(Error::not_supported("another replacement than '?' of ACCEPTINVCHARS", "leave it out").at(at));
                }
            }
            "TRUNCATECOLUMNS" => csv.truncate_columns = true,
            "FILLRECORD" => csv.fill_record = true,
            "ROUNDEC" => csv.round_decimals = true,
            "IGNOREBLANKLINES" => csv.ignore_blank_lines = true,
            _ => {
                cursor.next -= 1;
                return Err(cursor.error("expected an option of COPY"));
            }
        }
        Ok(())
    }

    /// EXPLICIT_IDS.
    pub fn explicit_ids(&self) -> bool {
        self.explicit_ids
    }

    /// Checks that the options fit together.
    pub fn finish(mut self) -> Result<(CopyFormat, Access, Vec<String>)> {
        if self.parquet {
            return match self.of_text.first() {
                Some((word, position)) => Err(Error::not_supported(
                    format_args!("{word} with FORMAT PARQUET"),
                    "leave it out; Parquet files say it themselves",
                )
                .at(*position)),
                None => Ok((CopyFormat::Parquet, self.access, self.notices)),
            };
        }
        let position_of = |word: &str| self.of_text.iter().find(|(name, _)| name == word).map_or(1, |(_, position)| *position);
        for word in ["REMOVEQUOTES", "ESCAPE"] {
            if self.csv.csv_mode && self.of_text.iter().any(|(name, _)| name == word) {
                return Err(invalid(format!("{word} cannot be used with CSV"), position_of(word))
                    .with_hint("CSV handles quotes by itself; QUOTE AS names another character"));
            }
        }
        if self.quote.is_some() && !self.csv.csv_mode {
            return Err(invalid("QUOTE needs CSV", position_of("QUOTE")).with_hint("write CSV QUOTE AS 'c', or REMOVEQUOTES"));
        }
        let (delimiter, quote) = if self.csv.csv_mode { (",", "\"") } else { ("|", "") };
        self.csv.delimiter = self.delimiter.unwrap_or_else(|| delimiter.to_owned());
        self.csv.quote = self.quote.unwrap_or_else(|| quote.to_owned());
        self.csv.null_as = self.null_as.unwrap_or_else(|| NULL_AS_DEFAULT.to_owned());
        if self.csv.delimiter == self.csv.quote {
            return Err(invalid("the delimiter and the quote are the same character", 1));
        }
        Ok((CopyFormat::Csv(self.csv), self.access, self.notices))
    }
}

/// `[AS] 'text'`.
fn string(cursor: &mut Cursor<'_>, word: &str) -> Result<String> {
    cursor.eat(&["AS"]);
    cursor.string(&format!("a value of {word} in single quotes"))
}

fn one_character(cursor: &mut Cursor<'_>, word: &str) -> Result<String> {
    cursor.eat(&["AS"]);
    let position = cursor.position();
    let value = unescape(&string(cursor, word)?);
    let mut characters = value.chars();
    match (characters.next(), characters.next()) {
        (Some(only), None) if only.is_ascii() && only != '\n' && only != '\r' => Ok(value),
        _ => Err(invalid(format!("{word} must be one ASCII character that does not end a line"), position)),
    }
}

/// Escapes that survived the string literal: `\t`, octal `\011`, hexadecimal `\x09`. A literal '\011' arrives as NUL and
/// "11".
fn unescape(value: &str) -> String {
    let octal = |digits: &str| u8::from_str_radix(digits, 8).ok().filter(u8::is_ascii);
    let byte = if let Some(digits) = value.strip_prefix('\0').filter(|digits| digits.len() == 2) {
        octal(digits)
    } else {
        match value.strip_prefix('\\') {
            Some("t") => Some(b'\t'),
            Some(rest) if rest.len() == 3 && rest.starts_with('x') => {
                u8::from_str_radix(&rest[1..], 16).ok().filter(u8::is_ascii)
            }
            Some(rest) if rest.len() == 3 => octal(rest),
            _ => None,
        }
    };
    byte.map_or_else(|| value.to_owned(), |byte| char::from(byte).to_string())
}

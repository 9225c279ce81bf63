//! Cuts a stream of bytes into records and fields.

use slipher_common::assign::Fault;
use slipher_common::{Error, ErrorKind, Result};
use std::io::Read;

/// How much is read at a time.
const READ_BUFFER_BYTES: usize = 256 * 1024;
/// Longest record, as in Redshift.
pub(super) const RECORD_MAX_BYTES: usize = 4 * 1024 * 1024;
/// The same where a column is SUPER, whose values may have 16 MB.
const SUPER_RECORD_MAX_BYTES: usize = 32 * 1024 * 1024;

/// What separates and protects fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    /// Between fields; one byte in CSV mode.
    pub delimiter: Vec<u8>,
    /// CSV mode: fields may stand in this quote, doubled inside; they may hold line ends.
    pub csv_quote: Option<u8>,
    /// Text mode: the next byte is data, whatever it is.
    pub escape: Option<u8>,
    /// Text mode: quotes around a field are removed; a quote inside is data.
    pub remove_quotes: bool,
    /// A field that is exactly this, unquoted and before escapes are resolved, is NULL.
    pub null_as: Vec<u8>,
}

/// Where a field's bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub start: u32,
    pub end: u32,
    pub quoted: bool,
    pub null: bool,
}

/// Where a record's fields lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub first_field: usize,
    pub field_count: usize,
    /// Line on which it starts; the scanner's first is 1.
    pub line: u64,
}

/// Records of one batch: their fields' bytes, one after the other, without delimiters, quotes and escapes.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub text: Vec<u8>,
    pub fields: Vec<Field>,
    pub records: Vec<Record>,
    /// They may hold SUPER values.
    pub supers: bool,
}

impl Records {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.fields.clear();
        self.records.clear();
    }

    /// The fields of a record.
    pub(super) fn fields_of(&self, record: &Record) -> &[Field] {
        &self.fields[record.first_field..record.first_field + record.field_count]
    }

    /// The bytes of a field.
    pub(super) fn bytes_of(&self, field: &Field) -> &[u8] {
        &self.text[field.start as usize..field.end as usize]
    }

    /// Takes the last record back.
    pub(super) fn pop(&mut self) {
        if let Some(record) = self.records.pop() {
            let start = self.fields.get(record.first_field).map(|field| field.start as usize);
            self.fields.truncate(record.first_field);
            self.text.truncate(start.unwrap_or(self.text.len()));
        }
    }
}

/// What came next.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A record, the last of the batch.
    Record,
    /// A record that cannot be cut into fields, and its line; the scanner stands behind it.
    Bad(u64, Fault),
    /// There is no more.
    End,
}

#[derive(Clone, Copy)]
enum State {
    FieldStart,
    Plain,
    Quoted(u8),
    /// Behind what may be the closing quote.
    Closing(u8),
}

enum Step {
    More(State),
    FieldEnd,
    RecordEnd,
    Bad(&'static str),
}

/// The part of a record that is being read.
struct Open {
    field_start: usize,
    quoted: bool,
    /// Up to here the text is protected by an escape.
    escaped_to: usize,
    escapes: Vec<usize>,
}

/// Reads records from bytes.
pub(super) struct Scanner {
    input: Box<dyn Read>,
    dialect: Dialect,
    special: [bool; 256],
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    /// Offset in the input of the buffer's first byte.
    base: u64,
    /// Records that start here or later are not this scanner's.
    limit: u64,
    line: u64,
    path: String,
}

impl Scanner {
    /// Reads `input`, whose first byte is byte `base` of the file, and yields the records that start before `limit`.
    pub(super) fn new(input: Box<dyn Read>, dialect: &Dialect, path: &str, base: u64, limit: u64) -> Self {
        let mut special = [false; 256];
        let bytes = [Some(b'\n'), dialect.delimiter.first().copied(), dialect.escape, dialect.csv_quote];
        bytes.into_iter().flatten().for_each(|byte| special[usize::from(byte)] = true);
        let (buffer, path) = (vec![0; READ_BUFFER_BYTES], path.to_owned());
        Self { input, dialect: dialect.clone(), special, buffer, at: 0, end: 0, base, limit, line: 1, path }
    }

    /// Offset of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Lets line numbers start again from 1.
    pub(super) fn restart_lines(&mut self) {
        self.line = 1;
    }

    /// Up to `count` of the next bytes, fewer only at the end.
    pub(super) fn peek(&mut self, count: usize) -> Result<&[u8]> {
        self.ensure(count)?;
        Ok(&self.buffer[self.at..self.end.min(self.at + count)])
    }

    /// Passes bytes that [`Scanner::peek`] has shown.
    pub(super) fn skip(&mut self, count: usize) {
        self.at = (self.at + count).min(self.end);
    }

    /// Passes the rest of the line and its end.
    pub(super) fn skip_line(&mut self) -> Result<()> {
        while self.ensure(1)? {
            match self.buffer[self.at..self.end].iter().position(|byte| *byte == b'\n') {
                Some(length) => {
                    self.at += length + 1;
                    self.line += 1;
                    return Ok(());
                }
                None => self.at = self.end,
            }
        }
        Ok(())
    }

    /// Whether at least `count` bytes lie ahead in the buffer, after reading more if need be.
    fn ensure(&mut self, count: usize) -> Result<bool> {
        while self.end - self.at < count {
            self.buffer.copy_within(self.at..self.end, 0);
            self.base += self.at as u64;
            (self.at, self.end) = (0, self.end - self.at);
            let read = loop {
                match self.input.read(&mut self.buffer[self.end..]) {
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    other => break other.map_err(|error| self.read_error(&error))?,
                }
            };
            if read == 0 {
                return Ok(false);
            }
            self.end += read;
        }
        Ok(true)
    }

    fn read_error(&self, error: &std::io::Error) -> Error {
        use std::io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
        let doing = format!("reading file \"{}\"", self.path);
        match error.kind() {
            // These come from a decompressor.
            InvalidData | InvalidInput | UnexpectedEof | Other => {
                Error::new(ErrorKind::BadFileFormat, format!("{doing}: {error}"))
                    .with_hint("check that the file is complete and compressed as the load says")
            }
            _ => Error::io(doing, error),
        }
    }

    /// Reads one record to the end of `records`.
    pub(super) fn next(&mut self, records: &mut Records) -> Result<Outcome> {
        if self.offset() >= self.limit || !self.ensure(1)? {
            return Ok(Outcome::End);
        }
        let (line, text_start, first_field) = (self.line, records.text.len(), records.fields.len());
        let mut open = Open { field_start: text_start, quoted: false, escaped_to: text_start, escapes: Vec::new() };
        let mut state = State::FieldStart;
        loop {
            let step = if self.ensure(1)? { self.step(state, &mut open, &mut records.text)? } else { self.at_end(state) };
            let most_bytes = if records.supers { SUPER_RECORD_MAX_BYTES } else { RECORD_MAX_BYTES };
            if records.text.len() - text_start > most_bytes {
                return Err(self.too_long(most_bytes));
            }
            match step {
                Step::More(next) => state = next,
                Step::FieldEnd | Step::RecordEnd => {
                    let field = self.close_field(&mut open, records);
                    records.fields.push(field);
                    state = State::FieldStart;
                    if matches!(step, Step::RecordEnd) {
                        let field_count = records.fields.len() - first_field;
                        records.records.push(Record { first_field, field_count, line });
                        return Ok(Outcome::Record);
                    }
                }
                Step::Bad(message) => {
                    let shown = String::from_utf8_lossy(&records.text[text_start..]).into_owned();
                    records.text.truncate(text_start);
                    records.fields.truncate(first_field);
                    self.skip_line()?;
                    let value = Some(slipher_common::assign::shorten(&shown));
                    let fault = Fault { kind: ErrorKind::BadFileFormat, message: message.to_owned(), value };
                    return Ok(Outcome::Bad(line, fault));
                }
            }
        }
    }

    fn too_long(&self, most_bytes: usize) -> Error {
        let limit = most_bytes / 1024 / 1024;
        Error::new(ErrorKind::ProgramLimit, format!("reading file \"{}\": a row is longer than {limit} MiB", self.path))
            .with_hint("check the delimiter and that every quotation mark is closed")
    }

    fn step(&mut self, state: State, open: &mut Open, text: &mut Vec<u8>) -> Result<Step> {
        match state {
            State::FieldStart => Ok(self.field_start(open)),
            State::Plain => self.plain(open, text),
            State::Quoted(quote) => self.quoted(quote, open, text),
            State::Closing(quote) => self.closing(quote, text),
        }
    }

    fn at_end(&self, state: State) -> Step {
        match state {
            State::Quoted(_) => Step::Bad("a quotation mark is not closed"),
            _ => Step::RecordEnd,
        }
    }

    fn field_start(&mut self, open: &mut Open) -> Step {
        let byte = self.buffer[self.at];
        if self.dialect.csv_quote == Some(byte) || self.dialect.remove_quotes && matches!(byte, b'"' | b'\'') {
            self.at += 1;
            open.quoted = true;
            return Step::More(State::Quoted(byte));
        }
        Step::More(State::Plain)
    }

    fn plain(&mut self, open: &mut Open, text: &mut Vec<u8>) -> Result<Step> {
        let special = &self.special;
        let (copied, stop) = copy_until(&self.buffer[self.at..self.end], text, |byte| special[usize::from(byte)]);
        self.at += copied;
        let Some(byte) = stop else { return Ok(Step::More(State::Plain)) };
        if byte == b'\n' {
            self.at += 1;
            self.line += 1;
            if text.len() > open.escaped_to.max(open.field_start) && text.last() == Some(&b'\r') {
                text.pop();
            }
            return Ok(Step::RecordEnd);
        }
        if self.dialect.escape == Some(byte) {
            self.take_escaped(open, text)?;
        } else if self.take_delimiter()? {
            return Ok(Step::FieldEnd);
        } else if self.dialect.csv_quote == Some(byte) {
            return Ok(Step::Bad("a quotation mark stands inside a field that does not begin with one"));
        } else {
            // The first byte of a longer delimiter alone.
            text.push(byte);
            self.at += 1;
        }
        Ok(Step::More(State::Plain))
    }

    fn quoted(&mut self, quote: u8, open: &mut Open, text: &mut Vec<u8>) -> Result<Step> {
        let escape = self.dialect.escape;
        let stops = |byte| byte == quote || byte == b'\n' || Some(byte) == escape;
        let (copied, stop) = copy_until(&self.buffer[self.at..self.end], text, stops);
        self.at += copied;
        let Some(byte) = stop else { return Ok(Step::More(State::Quoted(quote))) };
        if byte == quote {
            self.at += 1;
            return Ok(Step::More(State::Closing(quote)));
        }
        if Some(byte) == escape {
            self.take_escaped(open, text)?;
        } else if self.dialect.csv_quote.is_none() {
            return Ok(Step::Bad("a quotation mark is not closed"));
        } else {
            text.push(byte);
            self.at += 1;
            self.line += 1;
        }
        Ok(Step::More(State::Quoted(quote)))
    }

    fn closing(&mut self, quote: u8, text: &mut Vec<u8>) -> Result<Step> {
        let csv = self.dialect.csv_quote.is_some();
        let byte = self.buffer[self.at];
        if csv && byte == quote {
            text.push(quote);
            self.at += 1;
            return Ok(Step::More(State::Quoted(quote)));
        }
        if self.take_delimiter()? {
            return Ok(Step::FieldEnd);
        }
        let line_end = match self.peek(2)? {
            [b'\n', ..] => Some(1),
            [b'\r', b'\n'] => Some(2),
            [b'\r'] => {
                self.at += 1;
                return Ok(Step::RecordEnd);
            }
            _ => None,
        };
        if let Some(length) = line_end {
            self.at += length;
            self.line += 1;
            return Ok(Step::RecordEnd);
        }
        if csv {
            return Ok(Step::Bad("behind a closing quotation mark stands neither a delimiter nor the end of the line"));
        }
        // It did not close the field: it is part of it.
        text.push(quote);
        Ok(Step::More(State::Quoted(quote)))
    }

    /// Takes an escape and the byte behind it; at the end of the file it stands for itself.
    fn take_escaped(&mut self, open: &mut Open, text: &mut Vec<u8>) -> Result<()> {
        let (byte, length) = if self.ensure(2)? { (self.buffer[self.at + 1], 2) } else { (self.buffer[self.at], 1) };
        if length == 2 {
            open.escapes.push(text.len());
        }
        self.line += u64::from(length == 2 && byte == b'\n');
        text.push(byte);
        self.at += length;
        open.escaped_to = text.len();
        Ok(())
    }

    fn take_delimiter(&mut self) -> Result<bool> {
        let length = self.dialect.delimiter.len();
        if self.buffer[self.at] != self.dialect.delimiter[0] || !self.ensure(length)? {
            return Ok(false);
        }
        let found = self.buffer[self.at..self.at + length] == self.dialect.delimiter;
        self.at += if found { length } else { 0 };
        Ok(found)
    }

    fn close_field(&self, open: &mut Open, records: &Records) -> Field {
        let (start, end) = (open.field_start, records.text.len());
        let null = !open.quoted && self.is_null(&records.text[start..end], start, &open.escapes);
        // A batch's text is a few MiB.
        let field = Field { start: start as u32, end: end as u32, quoted: open.quoted, null };
        open.field_start = end;
        open.quoted = false;
        open.escapes.clear();
        field
    }

    /// NULL AS is compared with what stands in the file: `\N` with ESCAPE is NULL although it reads as `N`.
    fn is_null(&self, text: &[u8], start: usize, escapes: &[usize]) -> bool {
        let null_as = &self.dialect.null_as;
        if text.len() + escapes.len() != null_as.len() {
            return false;
        }
        let Some(escape) = self.dialect.escape.filter(|_| !escapes.is_empty()) else { return text == null_as };
        let mut written = Vec::with_capacity(null_as.len());
        for (index, byte) in text.iter().enumerate() {
            if escapes.contains(&(start + index)) {
                written.push(escape);
            }
            written.push(*byte);
        }
        written == *null_as
    }
}

/// Copies bytes up to the first that `stop` wants; yields how many, and that byte if it is there.
fn copy_until(ahead: &[u8], text: &mut Vec<u8>, stop: impl Fn(u8) -> bool) -> (usize, Option<u8>) {
    let length = ahead.iter().position(|byte| stop(*byte)).unwrap_or(ahead.len());
    text.extend_from_slice(&ahead[..length]);
    (length, ahead.get(length).copied())
}

//! JSON text (RFC 8259) as values, in one pass and without recursion.

use super::builder::Builder;
use super::number::Number;
use super::{STRING_MAX_BYTES, VALUE_MAX_BYTES, too_large};
use crate::{Error, ErrorKind, Result};
use std::borrow::Cow;

/// How JSON is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParseOptions {
    /// Of several attributes with one name the last one stays, instead of an error.
    pub dedup_attributes: bool,
    /// Strings that are too long are cut, instead of an error.
    pub truncate_strings: bool,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    ValueOrEnd,
    Name,
    NameOrEnd,
    CommaOrEnd,
}

/// The value of a JSON text.
pub fn parse_json(text: &str, options: ParseOptions) -> Result<Vec<u8>> {
    // Blanks aside, a value is seldom much smaller than its text.
    if text.len() > 4 * VALUE_MAX_BYTES {
        return Err(too_large());
    }
    let mut reader = Reader { text, at: 0, builder: Builder::default(), open: Vec::new(), options };
    reader.builder.last_of_equal_names = options.dedup_attributes;
    reader.run()?;
    reader.builder.finish()
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    builder: Builder,
    /// `{` and `[` around the place.
    open: Vec<u8>,
    options: ParseOptions,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn wrong(&self, expected: &str) -> Error {
        let place = self.text[..self.text.floor_char_boundary(self.at)].chars().count() + 1;
        let found = match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(_) => format!("at character {place}"),
            None => "at the end".to_owned(),
        };
        Error::new(ErrorKind::InvalidText, "invalid JSON text")
            .with_detail(format!("expected {expected} {found} of \"{}\"", super::shown(self.text)))
    }

    fn run(&mut self) -> Result<()> {
        let mut next = Next::Value;
        loop {
            self.blanks();
            let byte = self.peek();
            next = match (next, byte) {
                (Next::ValueOrEnd, Some(b']')) | (Next::NameOrEnd, Some(b'}')) => self.end()?,
                (Next::Name | Next::NameOrEnd, Some(b'"')) => self.name()?,
                (Next::Value | Next::ValueOrEnd, Some(b'{')) => {
                    self.builder.open_object()?;
                    self.begin(b'{', Next::NameOrEnd)
                }
                (Next::Value | Next::ValueOrEnd, Some(b'[')) => {
                    self.builder.open_array()?;
                    self.begin(b'[', Next::ValueOrEnd)
                }
                (Next::Value | Next::ValueOrEnd, Some(byte)) => {
                    self.scalar(byte)?;
                    Next::CommaOrEnd
                }
                (Next::CommaOrEnd, Some(b',')) => {
                    self.at += 1;
                    if self.open.last() == Some(&b'{') { Next::Name } else { Next::Value }
                }
                (Next::CommaOrEnd, Some(b'}')) if self.open.last() == Some(&b'{') => self.end()?,
                (Next::CommaOrEnd, Some(b']')) if self.open.last() == Some(&b'[') => self.end()?,
                (Next::CommaOrEnd, _) => {
                    let end = if self.open.last() == Some(&b'{') { "\",\" or \"}\"" } else { "\",\" or \"]\"" };
                    return Err(self.wrong(end));
                }
                (Next::Name | Next::NameOrEnd, _) => return Err(self.wrong("an attribute name in double quotes")),
                (Next::Value | Next::ValueOrEnd, None) => return Err(self.wrong("a value")),
            };
            if self.open.is_empty() && next == Next::CommaOrEnd {
                self.blanks();
                return if self.at == self.text.len() { Ok(()) } else { Err(self.wrong("nothing more")) };
            }
        }
    }

    fn begin(&mut self, byte: u8, next: Next) -> Next {
        self.open.push(byte);
        self.at += 1;
        next
    }

    fn end(&mut self) -> Result<Next> {
        self.open.pop();
        self.at += 1;
        self.builder.close()?;
        Ok(Next::CommaOrEnd)
    }

    fn name(&mut self) -> Result<Next> {
        let name = self.string()?;
        self.builder.name(&name)?;
        self.blanks();
        if self.peek() != Some(b':') {
            return Err(self.wrong("\":\""));
        }
        self.at += 1;
        Ok(Next::Value)
    }

    fn scalar(&mut self, byte: u8) -> Result<()> {
        match byte {
            b'"' => {
                let text = self.string()?;
                let kept = match self.options.truncate_strings && text.len() > STRING_MAX_BYTES {
                    true => &text[..text.floor_char_boundary(STRING_MAX_BYTES)],
                    false => &text,
                };
                self.builder.string(kept)
            }
            b't' if self.word("true") => self.builder.boolean(true),
            b'f' if self.word("false") => self.builder.boolean(false),
            b'n' if self.word("null") => self.builder.null(),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(self.wrong("a value")),
        }
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        if found {
            self.at += word.len();
        }
        found
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<()> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let zero = self.peek() == Some(b'0');
        let whole = self.digits();
        if whole == 0 || (zero && whole > 1) {
            return Err(self.wrong("a number without leading zeros"));
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.wrong("a digit"));
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.wrong("a digit"));
            }
        }
        let text = &self.text[start..self.at];
        let number = Number::of_json(text).ok_or_else(|| {
            let message = format!("number \"{}\" is out of range for a SUPER value", super::shown(text));
            Error::new(ErrorKind::NumericOutOfRange, message)
        })?;
        self.builder.number(number)
    }

    /// The string that begins here, without quotes and escapes.
    fn string(&mut self) -> Result<Cow<'a, str>> {
        self.at += 1;
        let start = self.at;
        let mut text: Option<String> = None;
        let mut plain = start;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let rest = &self.text[plain..self.at];
                    self.at += 1;
                    return Ok(match text {
                        None => Cow::Borrowed(rest),
                        Some(mut text) => {
                            text.push_str(rest);
                            Cow::Owned(text)
                        }
                    });
                }
                Some(b'\\') => {
                    let so_far = text.get_or_insert_with(String::new);
                    so_far.push_str(&self.text[plain..self.at]);
                    let letter = self.escape()?;
                    text.get_or_insert_with(String::new).push(letter);
                    plain = self.at;
                }
                Some(0..=0x1f) => return Err(self.wrong("an escape instead of a control character")),
                Some(_) => self.at += 1,
                None => return Err(self.wrong("the end of a string")),
            }
        }
    }

    /// The letter of the escape that begins here.
    fn escape(&mut self) -> Result<char> {
        self.at += 1;
        let letter = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.wrong("an escape")),
        };
        self.at += 1;
        Ok(letter)
    }

    /// Four hexadecimal digits behind `u`; of a pair of surrogates both.
    fn unicode(&mut self) -> Result<char> {
        let high = self.unit()?;
        let code = match high {
            0xd800..=0xdbff if self.text.as_bytes().get(self.at..self.at + 2) == Some(b"\\u") => {
                self.at += 1;
                let low = self.unit()?;
                if !(0xdc00..=0xdfff).contains(&low) {
                    return Err(self.wrong("the second half of a pair of surrogates"));
                }
                0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
            }
            other => other,
        };
        match char::from_u32(code) {
            Some('\0') | None => Err(self.wrong("a character other than zero or half of a pair of surrogates")),
            Some(letter) => Ok(letter),
        }
    }

    fn unit(&mut self) -> Result<u32> {
        let digits = self.text.as_bytes().get(self.at + 1..self.at + 5);
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let code =
            digits.and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let code = code.ok_or_else(|| self.wrong("four hexadecimal digits"))?;
        self.at += 5;
        Ok(code)
    }
}

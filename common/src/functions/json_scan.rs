//! Reads JSON in place: a value is the part of the text that it stands in. No recursion, so nesting costs no stack.

use std::borrow::Cow;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
    String,
    Number,
    Boolean,
    Null,
}

/// A value that has been found to be well formed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
}

/// The value that a text is, if it is one and nothing else.
pub(super) fn parse(text: &str) -> Option<Value<'_>> {
    let bytes = text.as_bytes();
    let start = blanks(bytes, 0);
    let end = value_end(bytes, start)?;
    (blanks(bytes, end) == bytes.len()).then_some(())?;
    value_at(text, start, end)
}

fn value_at(text: &str, start: usize, end: usize) -> Option<Value<'_>> {
    let part = text.get(start..end)?;
    let kind = match part.as_bytes().first()? {
        b'{' => Kind::Object,
        b'[' => Kind::Array,
        b'"' => Kind::String,
        b't' | b'f' => Kind::Boolean,
        b'n' => Kind::Null,
        _ => Kind::Number,
    };
    Some(Value { kind, text: part })
}

/// The first byte from `at` on that is no white space.
fn blanks(bytes: &[u8], at: usize) -> usize {
    at + bytes[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count()
}

/// What may come next inside an object or an array.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A value, or the end of an empty array.
    ValueOrEnd,
    Value,
    /// A name, or the end of an empty object.
    NameOrEnd,
    Name,
    CommaOrEnd,
}

/// Behind the value that begins at `at`; `None` where there is none that is well formed.
fn value_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut open: Vec<u8> = Vec::new();
    let mut at = at;
    let mut next = Next::Value;
    loop {
        at = blanks(bytes, at);
        let byte = *bytes.get(at)?;
        match (next, byte) {
            (Next::ValueOrEnd, b']') | (Next::NameOrEnd, b'}') => {
                open.pop();
                at += 1;
                next = Next::CommaOrEnd;
            }
            (Next::Name | Next::NameOrEnd, b'"') => {
                at = blanks(bytes, string_end(bytes, at)?);
                (bytes.get(at) == Some(&b':')).then_some(())?;
                at += 1;
                next = Next::Value;
            }
            (Next::Value | Next::ValueOrEnd, b'{' | b'[') => {
                open.push(byte);
                at += 1;
                next = if byte == b'{' { Next::NameOrEnd } else { Next::ValueOrEnd };
            }
            (Next::Value | Next::ValueOrEnd, _) => {
                at = scalar_end(bytes, at)?;
                next = Next::CommaOrEnd;
            }
            (Next::CommaOrEnd, b',') => {
                at += 1;
                next = if open.last() == Some(&b'{') { Next::Name } else { Next::Value };
            }
            (Next::CommaOrEnd, b'}' | b']') => {
                let opening = if byte == b'}' { b'{' } else { b'[' };
                (open.pop() == Some(opening)).then_some(())?;
                at += 1;
            }
            _ => return None,
        }
        if open.is_empty() && next == Next::CommaOrEnd {
            return Some(at);
        }
    }
}

fn scalar_end(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes[at] {
        b'"' => string_end(bytes, at),
        b't' => word_end(bytes, at, b"true"),
        b'f' => word_end(bytes, at, b"false"),
        b'n' => word_end(bytes, at, b"null"),
        _ => number_end(bytes, at),
    }
}

fn word_end(bytes: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    bytes[at..].starts_with(word).then_some(at + word.len())
}

fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        match *bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => match *bytes.get(at + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                b'u' => {
                    bytes.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                    at += 6;
                }
                _ => return None,
            },
            0..=0x1f => return None,
            _ => at += 1,
        }
    }
}

fn number_end(bytes: &[u8], at: usize) -> Option<usize> {
    let digits = |from: usize| from + bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = if bytes[at] == b'-' { at + 1 } else { at };
    let mut end = digits(whole);
    let leading_zero = bytes.get(whole) == Some(&b'0') && end > whole + 1;
    if end == whole || leading_zero {
        return None;
    }
    if bytes.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        (fraction > end + 1).then_some(())?;
        end = fraction;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let first = if matches!(bytes.get(end + 1), Some(b'+' | b'-')) { end + 2 } else { end + 1 };
        let exponent = digits(first.min(bytes.len()));
        (exponent > first).then_some(())?;
        end = exponent;
    }
    Some(end)
}

/// The elements of an array.
pub(super) fn elements<'a>(array: &Value<'a>) -> impl Iterator<Item = Value<'a>> + use<'a> {
    let (text, mut at) = (array.text, 1);
    std::iter::from_fn(move || {
        let bytes = text.as_bytes();
        let start = blanks(bytes, at);
        let end = value_end(bytes, start)?;
        let value = value_at(text, start, end);
        // Behind the comma, or behind the end, where no value begins.
        at = blanks(bytes, end) + 1;
        value
    })
}

/// The value of a name in an object; of the first, where it stands more than once.
pub(super) fn member<'a>(object: &Value<'a>, name: &str) -> Option<Value<'a>> {
    if object.kind != Kind::Object {
        return None;
    }
    let bytes = object.text.as_bytes();
    let mut at = 1;
    loop {
        let start = blanks(bytes, at);
        if bytes.get(start) != Some(&b'"') {
            return None;
        }
        let end = string_end(bytes, start)?;
        let value_start = blanks(bytes, blanks(bytes, end) + 1);
        let value_stop = value_end(bytes, value_start)?;
        if unescape(object.text.get(start..end)?) == name {
            return value_at(object.text, value_start, value_stop);
        }
        at = blanks(bytes, value_stop) + 1;
    }
}

/// A string without its quotes and escapes. Half of a pair of surrogates is the replacement character, as is a zero byte.
pub(super) fn unescape(quoted: &str) -> Cow<'_, str> {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut units: Vec<u16> = Vec::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        let plain = match c {
            '\\' => match rest.next() {
                Some('u') => {
                    let digits: String = rest.by_ref().take(4).collect();
                    let unit = u16::from_str_radix(&digits, 16).unwrap_or(0);
                    units.push(if unit == 0 { 0xfffd } else { unit });
                    continue;
                }
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(other) => other,
                None => break,
            },
            other => other,
        };
        units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
    Cow::Owned(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_values_are_json() {
        for good in ["{}", "[]", " [1, 2.5e-3,\"a\\u00e9\",null,true,{\"a\":[]}] ", "-0", "0.1", "\"\"", "{\"a\":1,\"b\":{}}"] {
            assert!(parse(good).is_some(), "{good}");
        }
        let bad = [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "1e",
            "1e+",
            "-",
            "nul",
            "tru",
            "[1 2]",
            "{\"a\" 1}",
            "{\"a\":}",
            "[}",
            "{]",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"a",
            "\"\n\"",
            "1 2",
            "[1]]",
            "'a'",
            "NaN",
            "[,1]",
            "{,}",
            "{1:2}",
        ];
        for bad in bad {
            assert!(parse(bad).is_none(), "{bad}");
        }
        let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
        assert!(parse(&deep).is_some());
        assert!(parse(&deep[1..]).is_none());
    }

    #[test]
    fn parts_are_found_where_they_stand() {
        let array = parse("[ 1 , \"b\" ,[2, 3], {}]").unwrap();
        let texts: Vec<&str> = elements(&array).map(|value| value.text).collect();
        assert_eq!(texts, ["1", "\"b\"", "[2, 3]", "{}"]);
        assert_eq!(elements(&parse("[ ]").unwrap()).count(), 0);
        let object = parse("{ \"a\" : {\"b\\\"c\" : [1]} , \"d\":null, \"a\": 2}").unwrap();
        assert_eq!(member(&object, "a").unwrap().text, "{\"b\\\"c\" : [1]}");
        assert_eq!(member(&member(&object, "a").unwrap(), "b\"c").unwrap().text, "[1]");
        assert_eq!(member(&object, "d").unwrap().kind, Kind::Null);
        assert!(member(&object, "x").is_none() && member(&array, "a").is_none());
        assert_eq!(unescape("\"\\u00e9\\ud83d\\ude00\\n\\/\\u0000\\ud83d\""), "é😀\n/\u{fffd}\u{fffd}");
    }
}

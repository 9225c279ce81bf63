//! Values as JSON text, without blanks, in the order in which they were written.

use super::view::{ArrayView, Node, ObjectView, Value};
use crate::{Error, Result};
use std::fmt::Write;

/// What is written around the current place.
enum Open<'a> {
    Array(ArrayView<'a>, usize),
    Object(ObjectView<'a>, usize),
}

/// Appends a value's JSON text; an error once it is longer than `most_bytes`.
pub fn write_json(node: Node<'_>, most_bytes: usize, out: &mut String) -> Result<()> {
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut next = Some(node);
    loop {
        if let Some(node) = next.take() {
            match node.read()? {
                Value::Null => out.push_str("null"),
                Value::Boolean(value) => out.push_str(if value { "true" } else { "false" }),
                Value::Number(number) => number.write_text(out).map_err(|_| Error::internal("a number has no text"))?,
                Value::String(text) => write_string(text, out),
                Value::Array(array) => {
                    out.push('[');
                    open.push(Open::Array(array, 0));
                }
                Value::Object(object) => {
                    out.push('{');
                    open.push(Open::Object(object, 0));
                }
            }
        }
        if out.len() > most_bytes {
            return Err(super::json_too_long(most_bytes));
        }
        match open.last_mut() {
            None => return Ok(()),
            Some(Open::Array(array, at)) => match array.get(*at)? {
                Some(element) => {
                    if *at > 0 {
                        out.push(',');
                    }
                    *at += 1;
                    next = Some(element);
                }
                None => {
                    out.push(']');
                    open.pop();
                }
            },
            Some(Open::Object(object, at)) if *at < object.len() => {
                if *at > 0 {
                    out.push(',');
                }
                let (name, value) = object.entry(*at)?;
                write_string(name, out);
                out.push(':');
                *at += 1;
                next = Some(value);
            }
            Some(Open::Object(..)) => {
                out.push('}');
                open.pop();
            }
        }
    }
}

/// Appends a string in quotes.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escaped = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..=0x1f => "",
            _ => continue,
        };
        out.push_str(&text[plain..at]);
        plain = at + 1;
        if escaped.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escaped);
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

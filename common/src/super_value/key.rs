//! Keys: bytes whose order is the order of values, and that are equal for equal values only.
//!
//! Booleans come before numbers, strings, arrays and objects. Numbers are equal when they are, whatever they are kept as: a double is taken for
//! the shortest decimal that reads back as itself. Strings are compared without their trailing blanks, arrays element by element, objects by
//! their entries in the order of names.

use super::number::{Number, number_text};
use super::view::{ArrayView, Node, ObjectView, Value};
use crate::Result;

/// What a value is among others: values of different ranks are not compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Null, inside of arrays and objects.
    Null,
    /// True and false.
    Boolean,
    /// Numbers.
    Number,
    /// Strings.
    String,
    /// Arrays.
    Array,
    /// Objects.
    Object,
}

/// Ends strings, arrays and objects.
const END: u8 = 0x00;
/// Stands behind a zero byte of a string.
const ESCAPE: u8 = 0xff;
const NULL: u8 = 0x04;
const BOOLEAN: u8 = 0x10;
const NUMBER: u8 = 0x20;
const STRING: u8 = 0x30;
const ARRAY: u8 = 0x40;
const OBJECT: u8 = 0x50;
/// Before a name.
const NAME: u8 = 0x08;

/// The rank of the value of a key.
pub fn rank_of_key(key: &[u8]) -> Option<Rank> {
    Some(match *key.first()? {
        NULL => Rank::Null,
        BOOLEAN => Rank::Boolean,
        NUMBER => Rank::Number,
        STRING => Rank::String,
        ARRAY => Rank::Array,
        OBJECT => Rank::Object,
        _ => return None,
    })
}

/// The key of a value.
pub fn key_of(node: Node<'_>) -> Result<Vec<u8>> {
    let mut key = Vec::new();
    write_key(node, &mut key)?;
    Ok(key)
}

enum Open<'a> {
    Array(ArrayView<'a>, usize),
    Object(ObjectView<'a>, usize),
}

/// Appends the key of a value.
pub fn write_key(node: Node<'_>, key: &mut Vec<u8>) -> Result<()> {
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut next = Some(node);
    loop {
        if let Some(node) = next.take() {
            match node.read()? {
                Value::Null => key.push(NULL),
                Value::Boolean(value) => key.extend_from_slice(&[BOOLEAN, u8::from(value)]),
                Value::Number(number) => write_number(number, key),
                Value::String(text) => {
                    key.push(STRING);
                    write_bytes(text.trim_end_matches(' '), key);
                }
                Value::Array(array) => {
                    key.push(ARRAY);
                    open.push(Open::Array(array, 0));
                }
                Value::Object(object) => {
                    key.push(OBJECT);
                    open.push(Open::Object(object, 0));
                }
            }
        }
        match open.last_mut() {
            None => return Ok(()),
            Some(Open::Array(array, at)) => {
                next = array.get(*at)?;
                *at += 1;
            }
            Some(Open::Object(object, at)) if *at < object.len() => {
                let (name, value) = object.entry_by_name(*at)?;
                key.push(NAME);
                write_bytes(name, key);
                *at += 1;
                next = Some(value);
            }
            Some(Open::Object(..)) => {}
        }
        if next.is_none() {
            key.push(END);
            open.pop();
        }
    }
}

fn write_bytes(text: &str, key: &mut Vec<u8>) {
    for byte in text.bytes() {
        key.push(byte);
        if byte == END {
            key.push(ESCAPE);
        }
    }
    key.extend_from_slice(&[END, END]);
}

/// Sign, then how many digits are before the point, then the digits, each as one more than itself, and an end; all of it turned round for
/// negative numbers.
fn write_number(number: Number, key: &mut Vec<u8>) {
    key.push(NUMBER);
    let text = match number {
        // The exponent must be known.
        Number::Double(value) => format!("{value:e}"),
        other => number_text(other),
    };
    let (negative, text) = text.strip_prefix('-').map_or((false, text.as_str()), |rest| (true, rest));
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let leading = digits.len() - digits.trim_start_matches('0').len();
    let significant = digits.trim_matches('0');
    if significant.is_empty() {
        key.push(1);
        return;
    }
    let exponent = exponent.parse::<i32>().unwrap_or(0) + whole.len() as i32 - leading as i32;
    let turned = if negative { 0xff } else { 0 };
    key.push(if negative { 0 } else { 2 });
    // Doubles have exponents of three digits.
    let biased = (exponent + 0x4000).clamp(0, 0x7fff) as u16;
    key.extend(biased.to_be_bytes().map(|byte| byte ^ turned));
    key.extend(significant.bytes().map(|digit| (digit - b'0' + 1) ^ turned));
    key.push(turned);
}

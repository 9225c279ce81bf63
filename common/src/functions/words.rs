//! SOUNDEX, DIFFERENCE, QUOTE_IDENT, QUOTE_LITERAL, OCTETINDEX, SPLIT_PART, and WIDTH_BUCKET.

use super::bounded::too_long;
use super::{Function, downcast, is_text, no_such_call};
use crate::sql_type::VARCHAR_LENGTH_MAX_BYTES;
use crate::{Error, ErrorKind, Result, numeric};
use arrow::array::{Array, ArrayRef, Float64Array, Int32Array, Int64Array, StringViewArray};
use arrow::datatypes::DataType;
use std::sync::Arc;

/// Characters of a Soundex code.
const SOUNDEX_LENGTH: usize = 4;

pub(super) fn functions() -> Vec<Function> {
    let (text, integer) = (|_: &[DataType]| Ok(DataType::Utf8View), |_: &[DataType]| Ok(DataType::Int32));
    vec![
        Function::new("soundex", |types| coerce("soundex", types, 1), text, |arguments| each(arguments, "soundex", soundex)),
        Function::new("difference", |types| coerce("difference", types, 2), integer, |arguments| of_two(arguments, difference)),
        Function::new("octetindex", |types| coerce("octetindex", types, 2), integer, |arguments| of_two(arguments, octetindex)),
        Function::new(
            "quote_ident",
            |types| coerce("quote_ident", types, 1),
            text,
            |arguments| each(arguments, "quote_ident", quote_ident),
        ),
        Function::new(
            "quote_literal",
            |types| coerce("quote_literal", types, 1),
            text,
            |arguments| each(arguments, "quote_literal", quote_literal),
        ),
        Function::new("split_part", coerce_split_part, text, split_part),
        Function::new("width_bucket", coerce_width_bucket, integer, width_bucket),
    ]
}

fn coerce(name: &str, types: &[DataType], count: usize) -> Result<Vec<DataType>> {
    let textual = |data_type: &DataType| is_text(data_type) || *data_type == DataType::Null;
    if types.len() == count && types.iter().all(textual) {
        return Ok(vec![DataType::Utf8View; count]);
    }
    let usage = if count == 1 { format!("{name}(a_text)") } else { format!("{name}(a_text, a_text)") };
    Err(no_such_call(name, types, &usage))
}

fn each(arguments: &[ArrayRef], name: &str, of: fn(&str) -> String) -> Result<ArrayRef> {
    let texts: &StringViewArray = downcast(&arguments[0])?;
    let answers = texts.iter().map(|text| match text.map(of) {
        Some(answer) if answer.len() > VARCHAR_LENGTH_MAX_BYTES as usize => Err(too_long(name, answer.len())),
        answer => Ok(answer),
    });
    Ok(Arc::new(answers.collect::<Result<StringViewArray>>()?))
}

fn of_two(arguments: &[ArrayRef], of: fn(&str, &str) -> i32) -> Result<ArrayRef> {
    let (a, b): (&StringViewArray, &StringViewArray) = (downcast(&arguments[0])?, downcast(&arguments[1])?);
    Ok(Arc::new(a.iter().zip(b.iter()).map(|(a, b)| Some(of(a?, b?))).collect::<Int32Array>()))
}

fn coerce_split_part(types: &[DataType]) -> Result<Vec<DataType>> {
    let textual = |data_type: &DataType| is_text(data_type) || *data_type == DataType::Null;
    match types {
        [text, delimiter, part] if textual(text) && textual(delimiter) && (part.is_integer() || textual(part)) => {
            Ok(vec![DataType::Utf8View, DataType::Utf8View, DataType::Int64])
        }
        _ => Err(no_such_call("split_part", types, "split_part(a_text, delimiter, part)")),
    }
}

/// Parts count from 1, from the front only.
fn split_part(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (texts, delimiters): (&StringViewArray, &StringViewArray) = (downcast(&arguments[0])?, downcast(&arguments[1])?);
    let parts: &Int64Array = downcast(&arguments[2])?;
    let one = |((text, delimiter), part): ((Option<_>, Option<_>), Option<i64>)| {
        let (Some(text), Some(delimiter), Some(part)) = (text, delimiter, part) else { return Ok(None) };
        match usize::try_from(part).ok().and_then(|part| part.checked_sub(1)) {
            Some(index) => Ok(Some(part_at(text, delimiter, index))),
            None => Err(Error::new(ErrorKind::InvalidParameter, "field position must be greater than zero")),
        }
    };
    Ok(Arc::new(texts.iter().zip(delimiters.iter()).zip(parts.iter()).map(one).collect::<Result<StringViewArray>>()?))
}

fn part_at<'a>(text: &'a str, delimiter: &str, index: usize) -> &'a str {
    match (delimiter.is_empty(), index) {
        (true, 0) => text,
        (true, _) => "",
        (false, _) => text.split(delimiter).nth(index).unwrap_or(""),
    }
}

/// How a letter sounds; vowels keep two letters of a sound apart, H and W do not.
fn sound(letter: u8) -> Option<u8> {
    match letter {
        b'B' | b'F' | b'P' | b'V' => Some(b'1'),
        b'C' | b'G' | b'J' | b'K' | b'Q' | b'S' | b'X' | b'Z' => Some(b'2'),
        b'D' | b'T' => Some(b'3'),
        b'L' => Some(b'4'),
        b'M' | b'N' => Some(b'5'),
        b'R' => Some(b'6'),
        _ => None,
    }
}

/// The American Soundex code of a text's ASCII letters; of none, nothing.
fn soundex(text: &str) -> String {
    let mut letters = text.bytes().filter(u8::is_ascii_alphabetic).map(|letter| letter.to_ascii_uppercase());
    let Some(first) = letters.next() else { return String::new() };
    let mut code = String::from(char::from(first));
    let mut last = sound(first);
    for letter in letters {
        let this = sound(letter);
        if let Some(digit) = this.filter(|_| this != last) {
            code.push(char::from(digit));
        }
        if code.len() == SOUNDEX_LENGTH {
            break;
        }
        if !matches!(letter, b'H' | b'W') {
            last = this;
        }
    }
    format!("{code:0<SOUNDEX_LENGTH$}")
}

/// Characters that two codes share. 0 when a text is empty, 1 when neither has a letter.
fn difference(a: &str, b: &str) -> i32 {
    if a.is_empty() || b.is_empty() {
        return 0;
    }
    let (a, b) = (soundex(a), soundex(b));
    if a.is_empty() && b.is_empty() {
        return 1;
    }
    a.bytes().zip(b.bytes()).filter(|(a, b)| a == b).count() as i32
}

/// The byte, from 1 on, at which the second text has the first.
fn octetindex(part: &str, text: &str) -> i32 {
    text.find(part).and_then(|at| i32::try_from(at + 1).ok()).unwrap_or(0)
}

fn quote_ident(name: &str) -> String {
    let plain = |at: usize, c: char| matches!(c, 'a'..='z' | '_') || (at > 0 && (c.is_ascii_digit() || c == '$'));
    if !name.is_empty() && name.chars().enumerate().all(|(at, c)| plain(at, c)) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Backslashes are doubled, as strings may escape with them.
fn quote_literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

fn coerce_width_bucket(types: &[DataType]) -> Result<Vec<DataType>> {
    let known = |data_type: &DataType| numeric::number(data_type).is_some() || *data_type == DataType::Null;
    match types {
        [_, _, _, count] if types.iter().all(known) && (count.is_integer() || *count == DataType::Null) => {
            Ok(vec![DataType::Float64, DataType::Float64, DataType::Float64, DataType::Int64])
        }
        _ => Err(no_such_call("width_bucket", types, "width_bucket(a_number, low, high, a_count)")),
    }
}

fn width_bucket(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let numbers = arguments[..3].iter().map(downcast::<Float64Array>).collect::<Result<Vec<_>>>()?;
    let counts: &Int64Array = downcast(&arguments[3])?;
    let one = |row: usize| {
        if counts.is_null(row) || numbers.iter().any(|column| column.is_null(row)) {
            return Ok(None);
        }
        bucket(numbers[0].value(row), numbers[1].value(row), numbers[2].value(row), counts.value(row)).map(Some)
    };
    Ok(Arc::new((0..counts.len()).map(one).collect::<Result<Int32Array>>()?))
}

/// Which of so many equal parts of [low, high) a value is in; 0 is before them, one more than their number behind.
fn bucket(value: f64, low: f64, high: f64, count: i64) -> Result<i32> {
    let invalid = |message: &str| Err(Error::new(ErrorKind::InvalidParameter, format!("width_bucket: {message}")));
    let count = match i32::try_from(count) {
        // One more than the number of buckets must be an INTEGER, too.
        Ok(count) if count > 0 && count < i32::MAX => count,
        _ => return invalid("the number of buckets must be greater than zero and fit an INTEGER"),
    };
    if value.is_nan() || !low.is_finite() || !high.is_finite() {
        return invalid("the operand must not be NaN, and the bounds must be finite");
    }
    if low == high {
        return invalid("the lower bound must not equal the upper bound");
    }
    let (from, to, at) = if low < high { (low, high, value) } else { (-low, -high, -value) };
    Ok(if at < from {
        0
    } else if at >= to {
        count + 1
    } else {
        ((f64::from(count) * (at - from) / (to - from)) as i32).min(count - 1) + 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_names_that_sound_alike() {
        let codes = ["Robert", "Rupert", "Tymczak", "Pfister", "Honeyman", "Ashcraft", "A", "Amazon", "+-*/%Amazon", "%"];
        let expected = ["R163", "R163", "T522", "P236", "H555", "A261", "A000", "A525", "A525", ""];
        assert_eq!(codes.map(soundex), expected);
        assert_eq!((difference("%", "@"), difference("Amazon", ""), difference("Amazon", "Ama")), (1, 0, 2));
        assert_eq!(difference("AC/DC", "Ay See Dee See"), 4);
    }

    #[test]
    fn buckets_have_their_lower_bounds() {
        let buckets = [-1.0, 0.0, 4.999, 5.0, 9.999, 10.0].map(|value| bucket(value, 0.0, 10.0, 2).unwrap());
        assert_eq!(buckets, [0, 1, 1, 2, 2, 3]);
        assert_eq!([11.0, 10.0, 5.0, 0.0].map(|value| bucket(value, 10.0, 0.0, 2).unwrap()), [0, 1, 2, 3]);
        assert_eq!(bucket(1.0, 2.0, 2.0, 1).unwrap_err().sqlstate(), "22023");
    }
}

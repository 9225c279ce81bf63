//! TO_CHAR and TO_NUMBER of numbers. `number_pattern` says what their patterns mean, `number_write` writes.

use super::number_pattern::{Item, Pattern};
use super::number_write::{Digits, write};
use super::{Function, downcast, is_text, no_such_call};
use crate::assign::{TextFault, parse_decimal_cut, shorten};
use crate::{Error, ErrorKind, Result};
use arrow::array::{Array, ArrayRef, Decimal128Array, Float32Array, Float64Array, Int64Array, StringArray, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use std::sync::Arc;

const USAGE: &str = "to_number(a_text, '99G999D99')";

pub(super) fn functions() -> Vec<Function> {
    // The pattern says how many digits the number has: it must be known when the query is planned.
    let unknown = |_: &[DataType]| {
        Err(Error::new(ErrorKind::InvalidParameter, "to_number: the format must be a literal")
            .with_hint(format!("write {USAGE}")))
    };
    let mut function =
        Function::new("to_number", coerce_to_number, unknown, |_| Err(Error::internal("to_number without a type")));
    function.describe = Some(describe_to_number);
    function.compute_as = Some(to_number);
    vec![function]
}

/// The type that a number is written from; `None` for what is no number.
pub(super) fn written_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Some(DataType::Int64),
        DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) => Some(data_type.clone()),
        other if other.is_integer() => Some(DataType::Decimal128(38, 0)),
        _ => None,
    }
}

/// TO_CHAR of numbers.
pub(super) fn number_to_char(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (numbers, patterns): (&ArrayRef, &StringArray) = (&arguments[0], downcast(&arguments[1])?);
    let of: Box<dyn Fn(usize, usize) -> Digits + '_> = match numbers.data_type() {
        DataType::Int64 => {
            let numbers: &Int64Array = downcast(numbers)?;
            Box::new(|row, places| Digits::of_decimal(numbers.value(row).into(), 0, places))
        }
        DataType::Float32 => {
            let numbers: &Float32Array = downcast(numbers)?;
            Box::new(|row, places| Digits::of_float(numbers.value(row).into(), places, f32::DIGITS as usize))
        }
        DataType::Float64 => {
            let numbers: &Float64Array = downcast(numbers)?;
            Box::new(|row, places| Digits::of_float(numbers.value(row), places, f64::DIGITS as usize))
        }
        DataType::Decimal128(_, scale) => {
            let numbers: &Decimal128Array = downcast(numbers)?;
            let scale = *scale;
            Box::new(move |row, places| Digits::of_decimal(numbers.value(row), scale, places))
        }
        other => return Err(Error::internal(format!("to_char got a column of {other}"))),
    };
    let mut last: Option<(&str, Pattern)> = None;
    let one = |row: usize| {
        if numbers.is_null(row) || patterns.is_null(row) {
            return Ok(None);
        }
        let text = patterns.value(row);
        let pattern = match last.take() {
            Some((seen, pattern)) if seen == text => pattern,
            _ => Pattern::parse(text)?,
        };
        let written = write(&pattern, &of(row, pattern.fraction));
        last = Some((text, pattern));
        Ok(Some(written))
    };
    Ok(Arc::new((0..numbers.len()).map(one).collect::<Result<StringViewArray>>()?))
}

fn coerce_to_number(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        // The pattern is left as it is: a cast would hide that it is a literal.
        [text, pattern] if super::becomes_text(text) && is_text(pattern) => Ok(vec![DataType::Utf8View, pattern.clone()]),
        _ => Err(no_such_call("to_number", types, USAGE)),
    }
}

fn describe_to_number(fields: &[FieldRef], literals: &[Option<&ScalarValue>]) -> Option<FieldRef> {
    let pattern = Pattern::parse(literals.get(1).copied().flatten()?.try_as_str().flatten()?).ok()?;
    let precision = u8::try_from((pattern.whole + pattern.fraction).max(1)).ok()?;
    let data_type = DataType::Decimal128(precision, i8::try_from(pattern.fraction).ok()?);
    let nullable = fields.iter().any(|field| field.is_nullable());
    Some(Arc::new(arrow::datatypes::Field::new("to_number", data_type, nullable)))
}

fn to_number(arguments: &[ArrayRef], target: &DataType) -> Result<ArrayRef> {
    let DataType::Decimal128(precision, scale) = *target else {
        return Err(Error::internal(format!("to_number makes no {target}")));
    };
    let texts: &StringViewArray = downcast(&arguments[0])?;
    let patterns = cast(&arguments[1], &DataType::Utf8)?;
    let patterns: &StringArray = downcast(&patterns)?;
    let mut last: Option<(&str, Pattern)> = None;
    let one = |row: usize| {
        if texts.is_null(row) || patterns.is_null(row) {
            return Ok(None);
        }
        let text = patterns.value(row);
        let pattern = match last.take() {
            Some((seen, pattern)) if seen == text => pattern,
            _ => Pattern::parse(text)?,
        };
        let number = read(&pattern, text, texts.value(row), precision, scale);
        last = Some((text, pattern));
        number.map(Some)
    };
    let numbers = (0..texts.len()).map(one).collect::<Result<Decimal128Array>>()?;
    Ok(Arc::new(numbers.with_precision_and_scale(precision, scale)?))
}

/// A number in a text: what the pattern puts around its digits is left out; digits behind those of the pattern's fraction are cut.
fn read(pattern: &Pattern, written: &str, text: &str, precision: u8, scale: i8) -> Result<i128> {
    let fault = |kind: ErrorKind| {
        Error::new(kind, format!("to_number: \"{}\" does not fit the format \"{}\"", shorten(text), shorten(written)))
    };
    if pattern.roman.is_some() {
        return Err(Error::not_supported("reading Roman numerals", "use TO_NUMBER with digits"));
    }
    let has = |item: Item| pattern.items.contains(&item);
    let mut number = String::with_capacity(text.len());
    let mut negative = false;
    for c in text.chars() {
        match c {
            '0'..='9' | '.' => number.push(c),
            ' ' => {}
            ',' if has(Item::Group) => {}
            '$' if has(Item::Currency) => {}
            '-' => negative = true,
            '+' => {}
            '<' | '>' if pattern.brackets => negative = true,
            other if has(Item::Literal(other)) => {}
            _ => return Err(fault(ErrorKind::InvalidText)),
        }
    }
    let signs = text.chars().filter(|c| matches!(c, '-' | '+')).count();
    if signs > 1 {
        return Err(fault(ErrorKind::InvalidText));
    }
    let value = parse_decimal_cut(&number, precision, scale).map_err(|reason| match reason {
        TextFault::Range => fault(ErrorKind::NumericOutOfRange),
        _ => fault(ErrorKind::InvalidText),
    })?;
    Ok(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str, pattern: &str) -> Result<i128> {
        let parsed = Pattern::parse(pattern)?;
        read(&parsed, pattern, text, (parsed.whole + parsed.fraction) as u8, parsed.fraction as i8)
    }

    #[test]
    fn text_is_read_by_its_format() {
        assert_eq!(number("12,454.8-", "99G999D9S").unwrap(), -124_548);
        assert_eq!(number("12.345", "99D999").unwrap(), 12_345);
        assert_eq!(number("$ 1,234.5", "L9,999.99").unwrap(), 123_450);
        assert_eq!(number("<7>", "9PR").unwrap(), -7);
        assert_eq!(number("12.39", "99D9").unwrap(), 123);
        assert_eq!(number("123", "99").unwrap_err().sqlstate(), "22003");
        assert_eq!(number("1,2", "99").unwrap_err().sqlstate(), "22P02");
        assert_eq!(number("x", "9").unwrap_err().sqlstate(), "22P02");
        assert_eq!(number("1--", "9S").unwrap_err().sqlstate(), "22P02");
        assert_eq!(number("", "9").unwrap_err().sqlstate(), "22P02");
    }
}

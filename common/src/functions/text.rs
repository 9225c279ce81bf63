//! Values as text, and text as numbers.

use super::{Function, TO_TEXT, downcast, is_text, no_such_call};
use crate::{Error, ErrorKind, Result, SqlType};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array, Int64Array, StringArray, StringViewArray,
    StringViewBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, TimeUnit, TimestampMicrosecondType};
use chrono::DateTime;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Cast;
use std::sync::Arc;

/// Significant digits of a DOUBLE PRECISION as text.
const DOUBLE_DIGITS: usize = 15;
/// Significant digits of a REAL as text.
const REAL_DIGITS: usize = 6;

pub(super) fn functions() -> Vec<Function> {
    let mut to_text = Function::new(TO_TEXT, to_text_coerce, |_| Ok(DataType::Utf8View), to_text);
    to_text.simplify = Some(|arguments, data_type| match arguments {
        [only] if *data_type == DataType::Utf8View => Some(only.clone()),
        [only] if is_text(data_type) => Some(Expr::Cast(Cast::new(Box::new(only.clone()), DataType::Utf8View))),
        _ => None,
    });
    to_text.describe = Some(describe_to_text);
    vec![
        to_text,
        Function::new("strtol", strtol_coerce, |_| Ok(DataType::Int64), strtol),
        Function::new("version", no_arguments, |_| Ok(DataType::Utf8View), version),
    ]
}

fn no_arguments(types: &[DataType]) -> Result<Vec<DataType>> {
    if types.is_empty() { Ok(Vec::new()) } else { Err(no_such_call("version", types, "version()")) }
}

/// Clients look for the number behind "PostgreSQL", which is Redshift's, and for the word "Redshift".
fn version(_arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let text = format!("PostgreSQL 8.0.2 on {}, Redshift 1.0, Slipher {}", std::env::consts::ARCH, crate::VERSION);
    Ok(Arc::new(StringViewArray::from(vec![text])))
}

fn to_text_coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    // One form per kind of value is enough below.
    let plain = |data_type: &DataType| match data_type {
        text if is_text(text) => DataType::Utf8View,
        DataType::Null => DataType::Utf8View,
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Date64 => DataType::Date32,
        other => other.clone(),
    };
    match types {
        [value] => Ok(vec![plain(value)]),
        [value, bytes] if bytes.is_integer() => Ok(vec![plain(value), DataType::Int64]),
        _ => Err(no_such_call(TO_TEXT, types, "CAST(a_value AS VARCHAR(n))")),
    }
}

/// The result knows its length, so that CREATE TABLE AS makes the right column of it.
fn describe_to_text(fields: &[FieldRef], literals: &[Option<&ScalarValue>]) -> Option<FieldRef> {
    let nullable = fields.iter().any(|field| field.is_nullable());
    if let Some(Some(ScalarValue::Int64(Some(bytes)))) = literals.get(1) {
        let length = u32::try_from(*bytes).ok()?;
        return Some(Arc::new(SqlType::VarChar(length).to_field(TO_TEXT, nullable)));
    }
    let [value] = fields else { return None };
    match SqlType::of_field(value).ok()? {
        text @ (SqlType::Char(_) | SqlType::VarChar(_)) if *value.data_type() == DataType::Utf8View => {
            Some(Arc::new(text.to_field(TO_TEXT, nullable)))
        }
        _ => None,
    }
}

fn to_text(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let texts = as_text(&arguments[0])?;
    let Some(bytes) = arguments.get(1) else { return Ok(texts) };
    let bytes: &Int64Array = downcast(bytes)?;
    let texts: &StringViewArray = downcast(&texts)?;
    let mut answer = StringViewBuilder::with_capacity(texts.len());
    for row in 0..texts.len() {
        if texts.is_null(row) || bytes.is_null(row) {
            answer.append_null();
        } else {
            let most = usize::try_from(bytes.value(row)).unwrap_or(0);
            answer.append_value(truncate(texts.value(row), most));
        }
    }
    Ok(Arc::new(answer.finish()))
}

/// The longest beginning of whole characters that has at most so many bytes.
fn truncate(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

fn collect(rows: impl Iterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(rows.collect::<StringViewArray>())
}

fn as_text(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Utf8View => Arc::clone(array),
        DataType::Boolean => collect(downcast::<BooleanArray>(array)?.iter().map(|value| value.map(|value| value.to_string()))),
        DataType::Float32 => {
            let digits = |value: f32| float_text(f64::from(value), REAL_DIGITS);
            collect(downcast::<Float32Array>(array)?.iter().map(|value| value.map(digits)))
        }
        DataType::Float64 => {
            let digits = |value: f64| float_text(value, DOUBLE_DIGITS);
            collect(downcast::<Float64Array>(array)?.iter().map(|value| value.map(digits)))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            // Instants are shown in UTC, the zone they are kept in.
            let suffix = if zone.is_some() { "+00" } else { "" };
            let values = array.as_primitive::<TimestampMicrosecondType>();
            let shown = values.iter().map(|micros| micros.map(|micros| timestamp_text(micros, suffix)).transpose());
            collect(shown.collect::<Result<Vec<_>>>()?.into_iter())
        }
        _ => cast(array, &DataType::Utf8View)?,
    })
}

fn timestamp_text(micros: i64, suffix: &str) -> Result<String> {
    let moment = DateTime::from_timestamp_micros(micros)
        .ok_or_else(|| Error::new(ErrorKind::DatetimeOutOfRange, "writing a timestamp: it is out of range"))?;
    let mut text = moment.format("%Y-%m-%d %H:%M:%S").to_string();
    let fraction = moment.timestamp_subsec_micros();
    if fraction > 0 {
        text.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
    text.push_str(suffix);
    Ok(text)
}

/// A float with so many significant digits, as C's `%g` writes it.
fn float_text(value: f64, digits: usize) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let scientific = format!("{value:.*e}", digits - 1);
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let strip = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", strip(mantissa), exponent.abs());
    }
    strip(&format!("{value:.*}", (digits as i32 - 1 - exponent).max(0) as usize))
}

fn strtol_coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [text, base] if (is_text(text) || *text == DataType::Null) && base.is_integer() => {
            Ok(vec![DataType::Utf8, DataType::Int64])
        }
        _ => Err(no_such_call("strtol", types, "strtol('ff', 16)")),
    }
}

fn strtol(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let texts: &StringArray = downcast(&arguments[0])?;
    let bases: &Int64Array = downcast(&arguments[1])?;
    let values = texts.iter().zip(bases.iter()).map(|row| match row {
        (Some(text), Some(base)) => read_number(text, base).map(Some),
        _ => Ok(None),
    });
    Ok(Arc::new(Int64Array::from(values.collect::<Result<Vec<_>>>()?)))
}

fn read_number(text: &str, base: i64) -> Result<i64> {
    let radix = u32::try_from(base)
        .ok()
        .filter(|radix| (2..=36).contains(radix))
        .ok_or_else(|| Error::new(ErrorKind::InvalidParameter, format!("strtol: base {base} must be between 2 and 36")))?;
    let trimmed = text.trim();
    let (sign, digits) = match trimmed.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    let prefixed = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")).filter(|_| radix == 16);
    i64::from_str_radix(&format!("{sign}{}", prefixed.unwrap_or(digits)), radix).map_err(|error| {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let kind = match error.kind() {
            PosOverflow | NegOverflow => ErrorKind::NumericOutOfRange,
            _ => ErrorKind::InvalidText,
        };
        Error::new(kind, format!("strtol: \"{text}\" is not a whole number of 64 bits in base {base}"))
    })
}

//! Values as text, and text as numbers.

use super::{Function, TEXT_OR_BYTES, TO_TEXT, downcast, is_text, no_such_call};
use crate::assign::{Zone, text_of};
use crate::{Error, ErrorKind, Result, SqlType};
use arrow::array::{Array, ArrayRef, Int32Array, Int64Array, StringArray, StringViewArray, StringViewBuilder};
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Cast;
use std::sync::Arc;

pub(super) fn functions() -> Vec<Function> {
    let mut function = Function::new(TO_TEXT, to_text_coerce, |_| Ok(DataType::Utf8View), |values| to_text(values, None, None));
    // A time with a zone is told from one without by its field.
    function.compute_fields =
        Some(|values, fields| to_text(values, fields.first().and_then(|field| SqlType::of_field(field).ok()), None));
    function.simplify = Some(|arguments, data_type| match arguments {
        [only] if *data_type == DataType::Utf8View => Some(only.clone()),
        [only] if is_text(data_type) => Some(Expr::Cast(Cast::new(Box::new(only.clone()), DataType::Utf8View))),
        _ => None,
    });
    function.describe = Some(describe_to_text);
    let mut or_bytes =
        Function::new(TEXT_OR_BYTES, text_or_bytes_coerce, text_or_bytes_type, |values| to_text(values, None, None));
    or_bytes.compute_fields = Some(|values, fields| match values {
        [bytes] if *bytes.data_type() == DataType::Binary => Ok(Arc::clone(bytes)),
        _ => to_text(values, fields.first().and_then(|field| SqlType::of_field(field).ok()), None),
    });
    or_bytes.describe = Some(|fields, literals| match fields {
        [only] if *only.data_type() == DataType::Binary => Some(Arc::clone(only)),
        _ => describe_to_text(fields, literals),
    });
    vec![
        function,
        or_bytes,
        Function::new("to_hex", to_hex_coerce, |_| Ok(DataType::Utf8View), to_hex),
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

fn text_or_bytes_coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::Binary | DataType::LargeBinary] => Ok(vec![DataType::Binary]),
        _ => to_text_coerce(types),
    }
}

fn text_or_bytes_type(types: &[DataType]) -> Result<DataType> {
    Ok(if types == [DataType::Binary] { DataType::Binary } else { DataType::Utf8View })
}

fn to_text_coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    // One form per kind of value is enough below.
    let plain = |data_type: &DataType| match data_type {
        text if is_text(text) => DataType::Utf8View,
        DataType::Null => DataType::Utf8View,
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Interval(_) | DataType::Duration(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        other => other.clone(),
    };
    match types {
        [value] => Ok(vec![plain(value)]),
        [value, bytes] if bytes.is_integer() => Ok(vec![plain(value), DataType::Int64]),
        _ => Err(no_such_call(TO_TEXT, types, "CAST(a_value AS VARCHAR(n))")),
    }
}

/// The result knows its length, so that CREATE TABLE AS makes the right column of it.
pub(super) fn describe_to_text(fields: &[FieldRef], literals: &[Option<&ScalarValue>]) -> Option<FieldRef> {
    // Arrays and objects have no text.
    let is_super = fields.first().is_some_and(|field| *field.data_type() == DataType::BinaryView);
    let nullable = is_super || fields.iter().any(|field| field.is_nullable());
    if let Some(Some(ScalarValue::Int64(Some(bytes)))) = literals.get(1) {
        let length = u32::try_from(*bytes).ok()?;
        return Some(Arc::new(SqlType::VarChar(length).to_field(TO_TEXT, nullable)));
    }
    let [value] = fields else { return None };
    if is_super {
        return Some(Arc::new(Field::new(TO_TEXT, DataType::Utf8View, true)));
    }
    match SqlType::of_field(value).ok()? {
        text @ (SqlType::Char(_) | SqlType::VarChar(_)) if *value.data_type() == DataType::Utf8View => {
            Some(Arc::new(text.to_field(TO_TEXT, nullable)))
        }
        _ => None,
    }
}

pub(super) fn to_text(arguments: &[ArrayRef], source: Option<SqlType>, zone: Option<&Zone>) -> Result<ArrayRef> {
    let texts = text_of(&arguments[0], source, zone)?;
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

fn to_hex_coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::Int8 | DataType::Int16 | DataType::Int32] => Ok(vec![DataType::Int32]),
        [DataType::Binary | DataType::LargeBinary] => Ok(vec![DataType::Binary]),
        [one] if one.is_integer() || *one == DataType::Null => Ok(vec![DataType::Int64]),
        _ => Err(no_such_call("to_hex", types, "to_hex(a_whole_number)")),
    }
}

/// As many digits as the number's own type has: those of INTEGER where BIGINT is not needed.
fn to_hex(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    if *arguments[0].data_type() == DataType::Binary {
        return super::bytes::hex_of(downcast(&arguments[0])?);
    }
    if *arguments[0].data_type() == DataType::Int32 {
        let numbers: &Int32Array = downcast(&arguments[0])?;
        return Ok(Arc::new(
            numbers.iter().map(|number| number.map(|number| format!("{number:x}"))).collect::<StringViewArray>(),
        ));
    }
    let numbers: &Int64Array = downcast(&arguments[0])?;
    Ok(Arc::new(numbers.iter().map(|number| number.map(|number| format!("{number:x}"))).collect::<StringViewArray>()))
}

//! Columns of SUPER: what other types become in one, and what its scalars become in others.

use super::fault::{Fault, OnFault, TextFault, base_name, shorten};
use super::json::append;
use super::scalar_text::{parse_bool, parse_decimal, parse_f32, parse_f64, parse_i64};
use super::text::TextFormats;
use crate::error::{Error, ErrorKind, Result};
use crate::sql_type::SqlType;
use crate::super_value::{Builder, Node, Number, Value, number_text, write_json};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryViewArray, BinaryViewBuilder, BooleanBuilder, PrimitiveBuilder,
    StringViewBuilder,
};
use arrow::datatypes::*;
use std::borrow::Cow;
use std::sync::Arc;

/// Decimals are read with all digits they may have.
const DECIMAL_MAX_DIGITS: u8 = 38;

/// A canonical column of numbers, booleans or strings as SUPER; a column of SUPER as it is.
pub fn super_of(array: &ArrayRef) -> Result<ArrayRef> {
    if *array.data_type() == DataType::BinaryView {
        return Ok(Arc::clone(array));
    }
    let mut values = BinaryViewBuilder::with_capacity(array.len());
    let mut builder = Builder::default();
    for row in 0..array.len() {
        if array.is_null(row) {
            values.append_null();
            continue;
        }
        put_scalar(&mut builder, array, row)?;
        append(&mut values, &builder.finish()?);
    }
    Ok(Arc::new(values.finish()))
}

/// Adds the value of a row of any column to a value that is built.
pub fn put_scalar(builder: &mut Builder, array: &ArrayRef, row: usize) -> Result<()> {
    if array.is_null(row) {
        return builder.null();
    }
    let double = |value: f64| {
        let message = || Error::new(ErrorKind::NumericOutOfRange, format!("{value} is no number that a SUPER value can have"));
        Number::double(value).ok_or_else(message)
    };
    match array.data_type() {
        DataType::Null => builder.null(),
        DataType::BinaryView => builder.value(Node::new(array.as_binary_view().value(row))),
        DataType::Boolean => builder.boolean(array.as_boolean().value(row)),
        DataType::Int16 => builder.number(Number::Int(array.as_primitive::<Int16Type>().value(row).into())),
        DataType::Int32 => builder.number(Number::Int(array.as_primitive::<Int32Type>().value(row).into())),
        DataType::Int64 => builder.number(Number::Int(array.as_primitive::<Int64Type>().value(row))),
        DataType::Decimal128(_, scale) => {
            let unscaled = array.as_primitive::<Decimal128Type>().value(row);
            builder.number(Number::decimal(unscaled, scale.unsigned_abs()))
        }
        // The shortest digits of the narrow one, not those of the wide one.
        DataType::Float32 => {
            let value = array.as_primitive::<Float32Type>().value(row);
            builder.number(double(value.to_string().parse().unwrap_or(f64::from(value)))?)
        }
        DataType::Float64 => builder.number(double(array.as_primitive::<Float64Type>().value(row))?),
        DataType::Utf8View => builder.string(array.as_string_view().value(row)),
        other => Err(Error::internal(format!("a value of {other} in a SUPER value"))),
    }
}

/// The JSON texts of a column of SUPER, of at most so many bytes each.
pub fn json_texts(values: &BinaryViewArray, most_bytes: usize) -> Result<ArrayRef> {
    let mut texts = StringViewBuilder::with_capacity(values.len());
    let mut text = String::new();
    for value in values {
        match value {
            Some(value) => {
                text.clear();
                write_json(Node::new(value), most_bytes, &mut text)?;
                texts.append_value(&text);
            }
            None => texts.append_null(),
        }
    }
    Ok(Arc::new(texts.finish()))
}

/// What casts make of a value.
enum Scalar<'a> {
    Boolean(bool),
    Number(Number),
    Text(&'a str),
    /// An array or object: no other type.
    Whole(&'static str),
}

impl<'a> Scalar<'a> {
    fn of(value: &'a [u8]) -> Result<Option<Self>> {
        Ok(Some(match Node::new(value).read()? {
            Value::Null => return Ok(None),
            Value::Boolean(value) => Self::Boolean(value),
            Value::Number(number) => Self::Number(number),
            Value::String(text) => Self::Text(text),
            Value::Array(_) => Self::Whole("an array"),
            Value::Object(_) => Self::Whole("an object"),
        }))
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::Whole(kind) => kind,
        }
    }

    fn text(&self) -> Option<Cow<'a, str>> {
        Some(match self {
            Self::Boolean(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Self::Number(number) => Cow::Owned(number_text(*number)),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Whole(_) => return None,
        })
    }

    fn whole(&self) -> Option<i64> {
        match self {
            Self::Boolean(value) => Some((*value).into()),
            Self::Number(Number::Int(value)) => Some(*value),
            Self::Number(Number::Double(value)) => {
                let rounded = value.round_ties_even();
                // 2^63 is the first double that is too large.
                (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded).then_some(rounded as i64)
            }
            Self::Number(decimal) => i64::try_from(parse_decimal(&number_text(*decimal), DECIMAL_MAX_DIGITS, 0).ok()?).ok(),
            Self::Text(text) => parse_i64(text).ok(),
            Self::Whole(_) => None,
        }
    }

    fn decimal(&self, precision: u8, scale: u8) -> Option<i128> {
        match self {
            Self::Number(_) | Self::Text(_) => parse_decimal(&self.text()?, precision, scale as i8).ok(),
            Self::Boolean(_) | Self::Whole(_) => None,
        }
    }

    fn real<T>(&self, parse: impl Fn(&str) -> Result<T, TextFault>) -> Option<T> {
        match self {
            Self::Number(_) | Self::Text(_) => parse(&self.text()?).ok(),
            Self::Boolean(_) | Self::Whole(_) => None,
        }
    }

    fn boolean(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            Self::Number(Number::Int(value)) => Some(*value != 0),
            Self::Text(text) => parse_bool(text).ok(),
            Self::Number(_) | Self::Whole(_) => None,
        }
    }
}

/// A column of SUPER cast to another type. A value that cannot be cast goes to `on_fault`; where it lets that pass, it is NULL.
pub fn from_super(values: &BinaryViewArray, target: SqlType, on_fault: OnFault<'_>) -> Result<ArrayRef> {
    let formats = TextFormats::default();
    match target {
        SqlType::Super => Ok(Arc::new(values.clone())),
        SqlType::SmallInt => each::<Int16Type>(values, target, |scalar| scalar.whole()?.try_into().ok(), on_fault),
        SqlType::Integer => each::<Int32Type>(values, target, |scalar| scalar.whole()?.try_into().ok(), on_fault),
        SqlType::BigInt => each::<Int64Type>(values, target, |scalar| scalar.whole(), on_fault),
        SqlType::Decimal { precision, scale } => {
            each::<Decimal128Type>(values, target, |scalar| scalar.decimal(precision, scale), on_fault)
        }
        SqlType::Real => each::<Float32Type>(values, target, |scalar| scalar.real(parse_f32), on_fault),
        SqlType::DoublePrecision => each::<Float64Type>(values, target, |scalar| scalar.real(parse_f64), on_fault),
        SqlType::Boolean => booleans(values, on_fault),
        SqlType::Char(_) | SqlType::VarChar(_) => texts(values, target, on_fault),
        // There is no such cast: the bytes of a string are those of its text.
        SqlType::VarByte(_) | SqlType::Date | SqlType::Time | SqlType::TimeTz | SqlType::Timestamp | SqlType::TimestampTz => {
            let texts = only_strings(values, target, on_fault)?;
            super::text::parse_column(texts.as_string_view().iter(), target, &formats, on_fault)
        }
    }
}

fn refused(scalar: &Scalar<'_>, target: SqlType) -> Fault {
    Fault {
        kind: ErrorKind::InvalidText,
        message: format!("cannot cast a super value that is {} to {}", scalar.kind(), base_name(target)),
        value: scalar.text().map(|text| shorten(&text)),
    }
}

fn each<T: ArrowPrimitiveType>(
    values: &BinaryViewArray,
    target: SqlType,
    read: impl Fn(&Scalar<'_>) -> Option<T::Native>,
    on_fault: OnFault<'_>,
) -> Result<ArrayRef> {
    let mut builder = PrimitiveBuilder::<T>::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        let scalar = value.map(Scalar::of).transpose()?.flatten();
        let read = scalar.as_ref().and_then(&read);
        if let (Some(scalar), None) = (&scalar, &read) {
            on_fault(row, refused(scalar, target))?;
        }
        builder.append_option(read);
    }
    Ok(Arc::new(builder.finish().with_data_type(target.to_arrow())))
}

fn booleans(values: &BinaryViewArray, on_fault: OnFault<'_>) -> Result<ArrayRef> {
    let mut builder = BooleanBuilder::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        let scalar = value.map(Scalar::of).transpose()?.flatten();
        let read = scalar.as_ref().and_then(Scalar::boolean);
        if let (Some(scalar), None) = (&scalar, read) {
            on_fault(row, refused(scalar, SqlType::Boolean))?;
        }
        builder.append_option(read);
    }
    Ok(Arc::new(builder.finish()))
}

fn texts(values: &BinaryViewArray, target: SqlType, on_fault: OnFault<'_>) -> Result<ArrayRef> {
    let mut builder = StringViewBuilder::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        let scalar = value.map(Scalar::of).transpose()?.flatten();
        let text = scalar.as_ref().and_then(Scalar::text);
        if let (Some(scalar), None) = (&scalar, &text) {
            on_fault(row, refused(scalar, target))?;
        }
        builder.append_option(text);
    }
    Ok(Arc::new(builder.finish()))
}

/// Only strings can be dates and times.
fn only_strings(values: &BinaryViewArray, target: SqlType, on_fault: OnFault<'_>) -> Result<ArrayRef> {
    let mut builder = StringViewBuilder::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        match value.map(Scalar::of).transpose()?.flatten() {
            None => builder.append_null(),
            Some(Scalar::Text(text)) => builder.append_value(text),
            Some(other) => {
                on_fault(row, refused(&other, target))?;
                builder.append_null();
            }
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// The strings of a column of SUPER as text; what is no string is NULL.
pub fn strings_of(values: &BinaryViewArray) -> Result<ArrayRef> {
    only_strings(values, SqlType::VarChar(0), &mut |_, _| Ok(()))
}

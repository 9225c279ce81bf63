//! A column of texts into a column's type: what INSERT's literals and the fields of delimited files go through.

use super::datetime_pattern::DatetimeFormat;
use super::fault::{Fault, OnFault, TextFault};
use super::scalar_text::{parse_bool, parse_decimal, parse_decimal_cut, parse_f32, parse_f64, parse_i64};
use super::strings;
use crate::error::{Error, Result};
use crate::sql_type::SqlType;
use arrow::array::{ArrayRef, BooleanBuilder, PrimitiveBuilder};
use arrow::datatypes::*;
use datafusion::common::ScalarValue;
use std::sync::Arc;

/// How texts are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextFormats {
    /// DATE columns.
    pub date: DatetimeFormat,
    /// TIMESTAMP and TIMESTAMPTZ columns.
    pub timestamp: DatetimeFormat,
    /// Strings that are too long are cut, not refused.
    pub truncate_strings: bool,
    /// Digits behind a decimal's scale are cut, not rounded.
    pub truncate_decimals: bool,
}

impl Default for TextFormats {
    fn default() -> Self {
        Self { date: DatetimeFormat::Auto, timestamp: DatetimeFormat::Auto, truncate_strings: false, truncate_decimals: false }
    }
}

/// Converts texts to `target`. Rows are counted from 0.
pub fn parse_column<'a>(
    values: impl Iterator<Item = Option<&'a str>>,
    target: SqlType,
    formats: &TextFormats,
    on_fault: OnFault<'_>,
) -> Result<ArrayRef> {
    let time_format = &DatetimeFormat::Auto;
    match target {
        SqlType::Super => super::json::read_json(values, on_fault),
        SqlType::SmallInt => primitives::<Int16Type>(values, target, |text| narrow(parse_i64(text)?), on_fault),
        SqlType::Integer => primitives::<Int32Type>(values, target, |text| narrow(parse_i64(text)?), on_fault),
        SqlType::BigInt => primitives::<Int64Type>(values, target, parse_i64, on_fault),
        SqlType::Decimal { precision, scale } => {
            let read = if formats.truncate_decimals { parse_decimal_cut } else { parse_decimal };
            primitives::<Decimal128Type>(values, target, |text| read(text, precision, scale as i8), on_fault)
        }
        SqlType::Real => primitives::<Float32Type>(values, target, parse_f32, on_fault),
        SqlType::DoublePrecision => primitives::<Float64Type>(values, target, parse_f64, on_fault),
        SqlType::Boolean => booleans(values, on_fault),
        SqlType::Char(_) | SqlType::VarChar(_) => strings::copy_column(values, target, formats.truncate_strings, on_fault),
        SqlType::Date => primitives::<Date32Type>(values, target, |text| formats.date.read(text)?.date(), on_fault),
        SqlType::Time => primitives::<Time64MicrosecondType>(values, target, |text| time_format.read(text)?.time(), on_fault),
        SqlType::TimeTz => {
            primitives::<Time64MicrosecondType>(values, target, |text| time_format.read(text)?.time_utc(), on_fault)
        }
        SqlType::Timestamp => {
            let read = |text: &str| formats.timestamp.read(text)?.timestamp();
            primitives::<TimestampMicrosecondType>(values, target, read, on_fault)
        }
        SqlType::TimestampTz => {
            let read = |text: &str| formats.timestamp.read(text)?.timestamp_utc();
            primitives::<TimestampMicrosecondType>(values, target, read, on_fault)
        }
    }
}

/// One text as a value of `target`: what a client sends for a parameter.
pub fn parse_scalar(text: &str, target: SqlType) -> Result<ScalarValue> {
    let mut refuse = |_: usize, fault: Fault| Err(Error::new(fault.kind, fault.message));
    let column = parse_column(std::iter::once(Some(text)), target, &TextFormats::default(), &mut refuse)?;
    Ok(ScalarValue::try_from_array(&column, 0)?)
}

fn narrow<T: TryFrom<i64>>(value: i64) -> Result<T, TextFault> {
    T::try_from(value).map_err(|_| TextFault::Range)
}

fn primitives<'a, T: ArrowPrimitiveType>(
    values: impl Iterator<Item = Option<&'a str>>,
    target: SqlType,
    read: impl Fn(&str) -> Result<T::Native, TextFault>,
    on_fault: OnFault<'_>,
) -> Result<ArrayRef> {
    let mut builder = PrimitiveBuilder::<T>::with_capacity(values.size_hint().0);
    for (row, text) in values.enumerate() {
        match text.map(|text| read(text).map_err(|fault| (text, fault))) {
            None => builder.append_null(),
            Some(Ok(value)) => builder.append_value(value),
            Some(Err((text, fault))) => {
                on_fault(row, Fault::of_text(target, text, fault))?;
                builder.append_null();
            }
        }
    }
    // Precision, scale and zone are not part of T.
    Ok(Arc::new(builder.finish().with_data_type(target.to_arrow())))
}

fn booleans<'a>(values: impl Iterator<Item = Option<&'a str>>, on_fault: OnFault<'_>) -> Result<ArrayRef> {
    let mut builder = BooleanBuilder::with_capacity(values.size_hint().0);
    for (row, text) in values.enumerate() {
        match text.map(|text| parse_bool(text).map_err(|fault| (text, fault))) {
            None => builder.append_null(),
            Some(Ok(value)) => builder.append_value(value),
            Some(Err((text, fault))) => {
                on_fault(row, Fault::of_text(SqlType::Boolean, text, fault))?;
                builder.append_null();
            }
        }
    }
    Ok(Arc::new(builder.finish()))
}

//! A column of texts into a column's type: what INSERT's literals and the fields of delimited files go through.

use super::datetime_pattern::DatetimeFormat;
use super::datetime_text::Moment;
use super::fault::{Fault, OnFault, TextFault};
use super::scalar_text::{parse_bool, parse_decimal, parse_decimal_cut, parse_f32, parse_f64, parse_i64};
use super::strings;
use super::zone::{Zone, special_moment};
use crate::error::{Error, Result};
use crate::sql_type::SqlType;
use crate::time_units::MICROS_PER_DAY;
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
    /// Texts of VARBYTE columns are hexadecimal digits, not the bytes themselves.
    pub bytes_are_hex: bool,
    /// The zone of what names none; None: UTC.
    pub zone: Option<Arc<Zone>>,
    /// What time it is for `now` and `today`, in microseconds since 1970; None: those are no moments.
    pub now: Option<i64>,
}

impl TextFormats {
    /// The moment that a word means: as an instant, or as the zone's wall clock.
    fn word(&self, text: &str, as_instant: bool) -> Option<i64> {
        let (now, zone) = (self.now?, self.zone.as_deref());
        let local = special_moment(text, now, zone)?;
        match zone.filter(|_| as_instant) {
            Some(_) if text.trim().eq_ignore_ascii_case("now") => Some(now),
            Some(_) if text.trim().eq_ignore_ascii_case("epoch") => Some(0),
            Some(zone) => zone.to_instant(local),
            None => Some(local),
        }
    }
}

impl Default for TextFormats {
    fn default() -> Self {
        let auto = || DatetimeFormat::Auto;
        let (date, timestamp) = (auto(), auto());
        Self { date, timestamp, truncate_strings: false, truncate_decimals: false, bytes_are_hex: false, zone: None, now: None }
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
        SqlType::VarByte(_) => super::bytes::parse(values, target, formats.bytes_are_hex, on_fault),
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
        SqlType::Date => {
            let read = |text: &str| match formats.word(text, false) {
                Some(micros) => Ok(micros.div_euclid(MICROS_PER_DAY) as i32),
                None => formats.date.read(text)?.date(),
            };
            primitives::<Date32Type>(values, target, read, on_fault)
        }
        SqlType::Time => primitives::<Time64MicrosecondType>(values, target, |text| time_format.read(text)?.time(), on_fault),
        SqlType::TimeTz => {
            primitives::<Time64MicrosecondType>(values, target, |text| time_format.read(text)?.time_utc(), on_fault)
        }
        SqlType::Timestamp => {
            let read = |text: &str| match formats.word(text, false) {
                Some(micros) => Ok(micros),
                None => formats.timestamp.read(text)?.timestamp(),
            };
            primitives::<TimestampMicrosecondType>(values, target, read, on_fault)
        }
        SqlType::TimestampTz => {
            let read = |text: &str| match formats.word(text, true) {
                Some(micros) => Ok(micros),
                None => instant_of(formats.timestamp.read(text)?, formats.zone.as_deref()),
            };
            primitives::<TimestampMicrosecondType>(values, target, read, on_fault)
        }
    }
}

/// The instant; where the text names no zone, it is in `zone`.
fn instant_of(moment: Moment, zone: Option<&Zone>) -> Result<i64, TextFault> {
    match zone.filter(|_| moment.zone_seconds.is_none()) {
        Some(zone) => zone.to_instant(moment.timestamp()?).ok_or(TextFault::Range),
        None => moment.timestamp_utc(),
    }
}

/// One text as a value of `target`: what a client sends for a parameter. What names no time zone is in `zone`, or in UTC.
pub fn parse_scalar(text: &str, target: SqlType, zone: Option<&Arc<Zone>>) -> Result<ScalarValue> {
    let mut refuse = |_: usize, fault: Fault| Err(Error::new(fault.kind, fault.message));
    let column = parse_column(
        std::iter::once(Some(text)),
        target,
        &TextFormats { zone: zone.cloned(), ..TextFormats::default() },
        &mut refuse,
    )?;
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

//! Functions that compare: DATE_CMP and its kin, INTERVAL_CMP, BPCHARCMP, BTTEXT_PATTERN_CMP.

use super::calendar::timestamp_of;
use super::{Function, MICROSECOND, downcast, is_text, no_such_call};
use crate::time_units::MICROS_PER_DAY;
use crate::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, StringViewArray};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimestampMicrosecondType};
use std::cmp::Ordering;
use std::sync::Arc;

const NANOS_PER_DAY: i128 = MICROS_PER_DAY as i128 * 1000;
/// What a month is taken for where intervals are compared.
const DAYS_PER_MONTH: i128 = 30;

/// Functions of two moments, each with what it takes. All compare instants; a time without a zone is one in UTC.
const MOMENTS: &[(&str, super::Coerce)] = &[
    ("date_cmp", dates),
    ("date_cmp_timestamp", |types| moments("date_cmp_timestamp", types)),
    ("date_cmp_timestamptz", |types| moments("date_cmp_timestamptz", types)),
    ("timestamp_cmp", |types| moments("timestamp_cmp", types)),
    ("timestamp_cmp_date", |types| moments("timestamp_cmp_date", types)),
    ("timestamp_cmp_timestamptz", |types| moments("timestamp_cmp_timestamptz", types)),
    ("timestamptz_cmp", |types| moments("timestamptz_cmp", types)),
    ("timestamptz_cmp_date", |types| moments("timestamptz_cmp_date", types)),
    ("timestamptz_cmp_timestamp", |types| moments("timestamptz_cmp_timestamp", types)),
];

pub(super) fn functions() -> Vec<Function> {
    let integer = |_: &[DataType]| Ok(DataType::Int32);
    let moments = MOMENTS.iter().map(|(name, coerce)| Function::new(name, *coerce, integer, compare_moments));
    let others = [
        Function::new("interval_cmp", coerce_intervals, integer, compare_intervals),
        Function::new("bpcharcmp", |types| texts("bpcharcmp", types), integer, compare_texts),
        Function::new("bttext_pattern_cmp", |types| texts("bttext_pattern_cmp", types), integer, compare_texts),
        Function::new("isfinite", coerce_isfinite, |_| Ok(DataType::Boolean), isfinite),
    ];
    moments.chain(others).collect()
}

fn sign(order: Ordering) -> i32 {
    order as i32
}

/// DATE_CMP looks at days alone.
fn dates(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [a, b] if timestamp_of(a).is_some() && timestamp_of(b).is_some() => Ok(vec![DataType::Date32; 2]),
        _ => Err(no_such_call("date_cmp", types, "date_cmp(a_date, a_date)")),
    }
}

fn moments(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    let known = |data_type: &DataType| match timestamp_of(data_type) {
        // Columns with a zone are kept in UTC: the numbers compare as they are.
        Some(moment @ DataType::Timestamp(..)) => Some(moment),
        _ => None,
    };
    match types {
        [a, b] => known(a).zip(known(b)).map(|(a, b)| vec![a, b]),
        _ => None,
    }
    .ok_or_else(|| no_such_call(name, types, &format!("{name}(a_moment, a_moment)")))
}

fn compare_moments(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    if *arguments[0].data_type() == DataType::Date32 {
        let (a, b) = (arguments[0].as_primitive::<arrow::datatypes::Date32Type>(), &arguments[1]);
        let b = b.as_primitive::<arrow::datatypes::Date32Type>();
        return Ok(Arc::new(a.iter().zip(b.iter()).map(|(a, b)| Some(sign(a?.cmp(&b?)))).collect::<Int32Array>()));
    }
    let moments = |array: &ArrayRef| {
        array
            .as_primitive_opt::<TimestampMicrosecondType>()
            .cloned()
            .ok_or_else(|| Error::internal(format!("a comparison got a column of {}", array.data_type())))
    };
    let (a, b) = (moments(&arguments[0])?, moments(&arguments[1])?);
    Ok(Arc::new(a.iter().zip(b.iter()).map(|(a, b)| Some(sign(a?.cmp(&b?)))).collect::<Int32Array>()))
}

fn coerce_intervals(types: &[DataType]) -> Result<Vec<DataType>> {
    let known = |data_type: &DataType| {
        is_text(data_type) || matches!(data_type, DataType::Interval(_) | DataType::Duration(_) | DataType::Null)
    };
    match types {
        [a, b] if known(a) && known(b) => Ok(vec![DataType::Interval(IntervalUnit::MonthDayNano); 2]),
        _ => Err(no_such_call("interval_cmp", types, "interval_cmp(interval '3 days', interval '1 year')")),
    }
}

fn length(interval: IntervalMonthDayNano) -> i128 {
    let days = i128::from(interval.months) * DAYS_PER_MONTH + i128::from(interval.days);
    days * NANOS_PER_DAY + i128::from(interval.nanoseconds)
}

fn compare_intervals(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let lengths = |array: &ArrayRef| {
        let intervals = array.as_primitive_opt::<IntervalMonthDayNanoType>();
        let intervals =
            intervals.ok_or_else(|| Error::internal(format!("interval_cmp got a column of {}", array.data_type())))?;
        Ok::<_, Error>(intervals.iter().map(|interval| interval.map(length)).collect::<Vec<_>>())
    };
    let (a, b) = (lengths(&arguments[0])?, lengths(&arguments[1])?);
    Ok(Arc::new(a.iter().zip(&b).map(|(a, b)| Some(sign((*a)?.cmp(&(*b)?)))).collect::<Int32Array>()))
}

fn texts(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    let textual = |data_type: &DataType| is_text(data_type) || *data_type == DataType::Null;
    match types {
        [a, b] if textual(a) && textual(b) => Ok(vec![DataType::Utf8View; 2]),
        _ => Err(no_such_call(name, types, &format!("{name}(a_text, a_text)"))),
    }
}

/// Without trailing blanks, byte by byte.
fn compare_texts(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (a, b): (&StringViewArray, &StringViewArray) = (downcast(&arguments[0])?, downcast(&arguments[1])?);
    let compared = |(a, b): (Option<&str>, Option<&str>)| Some(sign(a?.trim_end_matches(' ').cmp(b?.trim_end_matches(' '))));
    Ok(Arc::new(a.iter().zip(b.iter()).map(compared).collect::<Int32Array>()))
}

fn coerce_isfinite(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [interval @ DataType::Interval(_)] => Ok(vec![interval.clone()]),
        [moment @ DataType::Timestamp(..)] => Ok(vec![moment.clone()]),
        [DataType::Date32] => Ok(vec![DataType::Date32]),
        [DataType::Null] => Ok(vec![MICROSECOND]),
        _ => Err(no_such_call("isfinite", types, "isfinite(a_date)")),
    }
}

/// No date, time or interval that can be stored is infinite.
fn isfinite(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let values = &arguments[0];
    Ok(Arc::new((0..values.len()).map(|row| values.is_valid(row).then_some(true)).collect::<BooleanArray>()))
}

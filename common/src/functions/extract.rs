//! EXTRACT, DATE_PART and DATE_TRUNC.

use super::calendar::timestamp_of;
use super::{DatePart, Function, downcast, is_text, no_such_call};
use crate::assign::{civil_from_days, days_from_civil};
use crate::time_units::{DAYS_PER_MONTH, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, NANOS_PER_MICRO};
use crate::{Error, ErrorKind, Result};
use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Float64Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, StringArray,
    Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::error::Result as EngineResult;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use std::sync::Arc;

/// `slipher_extract(part, x)`: EXTRACT(part FROM x), the whole number of that part alone.
pub const EXTRACT: &str = "slipher_extract";
/// `slipher_extract_epoch('epoch', x)`: EXTRACT(epoch FROM x), whose numbers outgrow INTEGER.
pub const EXTRACT_EPOCH: &str = "slipher_extract_epoch";
/// `date_part(part, x)`: the part as a float; seconds with their fraction.
pub const DATE_PART: &str = "date_part";
/// `date_trunc(part, x)`: x with all smaller parts at their start.
pub const DATE_TRUNC: &str = "date_trunc";

/// A year of an interval's epoch has so many quarters of a day.
const QUARTER_DAYS_PER_YEAR: i64 = 1_461;
/// Years whose bounds pruning computes.
const PRUNED_YEARS: std::ops::RangeInclusive<i64> = 1..=9_998;

pub(super) fn functions() -> Vec<Function> {
    let mut extract = Function::new(EXTRACT, coerce, |types| Ok(extract_type(&types[1], DataType::Int32)), extract_whole);
    extract.preimage = Some(years);
    let mut date_part = Function::new(DATE_PART, coerce, |_| Ok(DataType::Float64), extract_float);
    date_part.preimage = Some(years);
    vec![
        extract,
        Function::new(EXTRACT_EPOCH, coerce, |types| Ok(extract_type(&types[1], DataType::Int64)), extract_whole),
        date_part,
        Function::new(DATE_TRUNC, coerce_trunc, |types| Ok(types[1].clone()), date_trunc),
    ]
}

/// Of a timestamp with time zone, Redshift yields a float.
fn extract_type(source: &DataType, whole: DataType) -> DataType {
    if matches!(source, DataType::Timestamp(_, Some(_))) { DataType::Float64 } else { whole }
}

fn source_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Date32 | DataType::Date64 => Some(DataType::Date32),
        DataType::Time32(_) | DataType::Time64(_) => Some(DataType::Time64(TimeUnit::Microsecond)),
        DataType::Interval(_) | DataType::Duration(_) => Some(DataType::Interval(IntervalUnit::MonthDayNano)),
        other => timestamp_of(other),
    }
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [part, source] if is_text(part) => source_type(source).map(|source| vec![DataType::Utf8, source]),
        _ => None,
    }
    .ok_or_else(|| no_such_call("date_part", types, "date_part('month', a_timestamp)"))
}

/// A day is truncated as its midnight.
fn coerce_trunc(types: &[DataType]) -> Result<Vec<DataType>> {
    let mut coerced = coerce(types).map_err(|_| no_such_call(DATE_TRUNC, types, "date_trunc('month', a_timestamp)"))?;
    if coerced[1] == DataType::Date32 {
        coerced[1] = super::MICROSECOND;
    }
    Ok(coerced)
}

/// What one value says of a part: thousandths of thousandths, so that fractions of seconds are exact.
type Millionths = i128;
const MILLION: i128 = 1_000_000;

fn unfit(part: DatePart, what: &str) -> Error {
    Error::new(ErrorKind::InvalidParameter, format!("date part \"{}\" does not fit {what}", part.name()))
}

/// The part of a day and time, in microseconds since 1970.
fn of_moment(part: DatePart, micros: i64) -> Result<Millionths> {
    let whole = |value: i64| Ok(i128::from(value) * MILLION);
    let (days, time) = (micros.div_euclid(MICROS_PER_DAY), micros.rem_euclid(MICROS_PER_DAY));
    let date = || civil_from_days(days as i32);
    match part {
        // There is no year 0: 1 BC is -1 here, as in PostgreSQL.
        DatePart::Year => whole(match date().0 {
            year @ 1.. => year,
            before => before - 1,
        }),
        DatePart::Millennium => whole((date().0 + 999).div_euclid(1_000)),
        DatePart::Century => whole((date().0 + 99).div_euclid(100)),
        // The first decade has the years 1 to 9.
        DatePart::Decade => whole(date().0.div_euclid(10) + 1),
        DatePart::Quarter => whole(i64::from(date().1 - 1) / 3 + 1),
        DatePart::Month => whole(i64::from(date().1)),
        DatePart::Week => whole(iso_week(days as i32)),
        DatePart::Day => whole(i64::from(date().2)),
        // 1970-01-01 was a Thursday.
        DatePart::DayOfWeek => whole((days + 4).rem_euclid(7)),
        DatePart::DayOfYear => whole(day_of_year(days as i32)),
        DatePart::Epoch => Ok(i128::from(micros)),
        DatePart::TimeZone | DatePart::TimeZoneHour | DatePart::TimeZoneMinute => Ok(0),
        _ => of_time(part, time),
    }
}

/// The part of a time of day in microseconds, or of an interval's time.
fn of_time(part: DatePart, micros: i64) -> Result<Millionths> {
    let whole = |value: i64| Ok(i128::from(value) * MILLION);
    match part {
        DatePart::Hour => whole(micros / MICROS_PER_HOUR),
        DatePart::Minute => whole(micros % MICROS_PER_HOUR / MICROS_PER_MINUTE),
        DatePart::Second => Ok(i128::from(micros % MICROS_PER_MINUTE)),
        DatePart::Millisecond => Ok(i128::from(micros % MICROS_PER_SECOND) * 1_000),
        DatePart::Microsecond => whole(micros % MICROS_PER_SECOND),
        DatePart::Epoch => Ok(i128::from(micros)),
        _ => Err(unfit(part, "a time of day")),
    }
}

fn of_interval(part: DatePart, interval: IntervalMonthDayNano) -> Result<Millionths> {
    let whole = |value: i64| Ok(i128::from(value) * MILLION);
    let (years, months) = (i64::from(interval.months / 12), i64::from(interval.months % 12));
    let micros = interval.nanoseconds / NANOS_PER_MICRO;
    match part {
        DatePart::Millennium => whole(years / 1_000),
        DatePart::Century => whole(years / 100),
        DatePart::Decade => whole(years / 10),
        DatePart::Year => whole(years),
        DatePart::Quarter => whole(months / 3 + 1),
        DatePart::Month => whole(months),
        DatePart::Week => whole(i64::from(interval.days) / 7),
        DatePart::Day => whole(i64::from(interval.days)),
        DatePart::Epoch => {
            let quarter_days = years * QUARTER_DAYS_PER_YEAR + (months * DAYS_PER_MONTH + i64::from(interval.days)) * 4;
            Ok(i128::from(quarter_days) * i128::from(MICROS_PER_DAY / 4) + i128::from(micros))
        }
        DatePart::DayOfWeek | DatePart::DayOfYear => Err(unfit(part, "an interval")),
        _ => of_time(part, micros),
    }
}

fn day_of_year(days: i32) -> i64 {
    let (year, ..) = civil_from_days(days);
    i64::from(days) - i64::from(days_from_civil(year, 1, 1)) + 1
}

/// The week that has the year's first Thursday is the first.
fn iso_week(days: i32) -> i64 {
    let monday = i64::from(days) - (i64::from(days) + 3).rem_euclid(7);
    (day_of_year((monday + 3) as i32) - 1) / 7 + 1
}

/// The part of each row. The first argument is the same in all rows: with_part in the leader wants a word.
fn parts_of(arguments: &[ArrayRef]) -> Result<Vec<Option<Millionths>>> {
    let words: &StringArray = downcast(&arguments[0])?;
    let Some(word) = words.iter().flatten().next() else { return Ok(vec![None; arguments[1].len()]) };
    let (part, source) = (DatePart::parse(word)?, &arguments[1]);
    match source.data_type() {
        DataType::Date32 => {
            let dates: &Date32Array = downcast(source)?;
            dates.iter().map(|days| days.map(|days| of_moment(part, i64::from(days) * MICROS_PER_DAY)).transpose()).collect()
        }
        DataType::Time64(_) => {
            let times: &Time64MicrosecondArray = downcast(source)?;
            times.iter().map(|micros| micros.map(|micros| of_time(part, micros)).transpose()).collect()
        }
        DataType::Interval(_) => {
            let intervals: &IntervalMonthDayNanoArray = downcast(source)?;
            intervals.iter().map(|interval| interval.map(|interval| of_interval(part, interval)).transpose()).collect()
        }
        DataType::Timestamp(_, None)
            if matches!(part, DatePart::TimeZone | DatePart::TimeZoneHour | DatePart::TimeZoneMinute) =>
        {
            Err(unfit(part, "a timestamp without time zone"))
        }
        _ => {
            let moments = source
                .as_primitive_opt::<TimestampMicrosecondType>()
                .ok_or_else(|| Error::internal(format!("date_part got a column of {}", source.data_type())))?;
            moments.iter().map(|micros| micros.map(|micros| of_moment(part, micros)).transpose()).collect()
        }
    }
}

pub(super) fn extract_whole(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let epoch = {
        let words: &StringArray = downcast(&arguments[0])?;
        words.iter().flatten().next().is_some_and(|word| DatePart::parse(word) == Ok(DatePart::Epoch))
    };
    let wholes = parts_of(arguments)?.into_iter().map(|part| part.map(|value| value.div_euclid(MILLION)));
    Ok(match extract_type(arguments[1].data_type(), DataType::Int32) {
        DataType::Float64 => Arc::new(wholes.map(|value| value.map(|value| value as f64)).collect::<Float64Array>()),
        // Seconds of 64 bits of microseconds fit; so do all parts but epochs into 32 bits.
        _ if epoch => Arc::new(wholes.map(|value| value.map(|value| value as i64)).collect::<Int64Array>()),
        _ => Arc::new(wholes.map(|value| value.map(|value| value as i32)).collect::<Int32Array>()),
    })
}

pub(super) fn extract_float(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let floats = parts_of(arguments)?.into_iter().map(|part| part.map(|value| value as f64 / MILLION as f64));
    Ok(Arc::new(floats.collect::<Float64Array>()))
}

/// The start of the part that holds a moment.
fn floor(part: DatePart, micros: i64) -> Result<i64> {
    let by = |unit: i64| Ok(micros.div_euclid(unit) * unit);
    let days = micros.div_euclid(MICROS_PER_DAY);
    let (year, month, _) = civil_from_days(days as i32);
    let first = |year: i64, month: u32| {
        let micros = i64::from(days_from_civil(year, month, 1)).checked_mul(MICROS_PER_DAY);
        micros.ok_or_else(|| Error::new(ErrorKind::DatetimeOutOfRange, "date_trunc: timestamp out of range"))
    };
    match part {
        DatePart::Millennium => first((year - 1).div_euclid(1_000) * 1_000 + 1, 1),
        DatePart::Century => first((year - 1).div_euclid(100) * 100 + 1, 1),
        DatePart::Decade => first(year.div_euclid(10) * 10, 1),
        DatePart::Year => first(year, 1),
        DatePart::Quarter => first(year, (month - 1) / 3 * 3 + 1),
        DatePart::Month => first(year, month),
        DatePart::Week => Ok((days - (days + 3).rem_euclid(7)) * MICROS_PER_DAY),
        DatePart::Day => Ok(days * MICROS_PER_DAY),
        DatePart::Hour => by(MICROS_PER_HOUR),
        DatePart::Minute => by(MICROS_PER_MINUTE),
        DatePart::Second => by(MICROS_PER_SECOND),
        DatePart::Millisecond => by(1_000),
        DatePart::Microsecond => Ok(micros),
        _ => Err(unfit(part, DATE_TRUNC)),
    }
}

fn floor_time(part: DatePart, micros: i64) -> Result<i64> {
    match part {
        DatePart::Hour | DatePart::Minute | DatePart::Second | DatePart::Millisecond | DatePart::Microsecond => {
            floor(part, micros)
        }
        _ => Err(unfit(part, "a time of day")),
    }
}

fn floor_interval(part: DatePart, interval: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    let months = |unit: i32| Ok(IntervalMonthDayNano::new(interval.months / unit * unit, 0, 0));
    let time = |unit: i64| {
        let unit = unit * NANOS_PER_MICRO;
        Ok(IntervalMonthDayNano::new(interval.months, interval.days, interval.nanoseconds / unit * unit))
    };
    match part {
        DatePart::Millennium => months(12_000),
        DatePart::Century => months(1_200),
        DatePart::Decade => months(120),
        DatePart::Year => months(12),
        DatePart::Quarter => months(3),
        DatePart::Month => months(1),
        DatePart::Day => Ok(IntervalMonthDayNano::new(interval.months, interval.days, 0)),
        DatePart::Hour => time(MICROS_PER_HOUR),
        DatePart::Minute => time(MICROS_PER_MINUTE),
        DatePart::Second => time(MICROS_PER_SECOND),
        DatePart::Millisecond => time(1_000),
        DatePart::Microsecond => Ok(interval),
        _ => Err(unfit(part, "an interval")),
    }
}

pub(super) fn date_trunc(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let words: &StringArray = downcast(&arguments[0])?;
    let source = &arguments[1];
    let Some(word) = words.iter().flatten().next() else {
        return Ok(arrow::array::new_null_array(source.data_type(), source.len()));
    };
    let part = DatePart::parse(word)?;
    match source.data_type() {
        DataType::Time64(_) => {
            let times: &Time64MicrosecondArray = downcast(source)?;
            let floors = times.iter().map(|micros| micros.map(|micros| floor_time(part, micros)).transpose());
            Ok(Arc::new(Time64MicrosecondArray::from(floors.collect::<Result<Vec<_>>>()?)))
        }
        DataType::Interval(_) => {
            let intervals: &IntervalMonthDayNanoArray = downcast(source)?;
            let floors = intervals.iter().map(|interval| interval.map(|interval| floor_interval(part, interval)).transpose());
            Ok(Arc::new(IntervalMonthDayNanoArray::from(floors.collect::<Result<Vec<_>>>()?)))
        }
        _ => {
            let moments = source
                .as_primitive_opt::<TimestampMicrosecondType>()
                .ok_or_else(|| Error::internal(format!("date_trunc got a column of {}", source.data_type())))?;
            let floors = moments.iter().map(|micros| micros.map(|micros| floor(part, micros)).transpose());
            let floors = TimestampMicrosecondArray::from(floors.collect::<Result<Vec<_>>>()?);
            Ok(Arc::new(floors.with_data_type(source.data_type().clone())))
        }
    }
}

/// A year's days: what a comparison with it can be pruned by.
fn years(arguments: &[Expr], literal: &Expr, context: &SimplifyContext) -> EngineResult<PreimageResult> {
    let [Expr::Literal(ScalarValue::Utf8(Some(word)) | ScalarValue::Utf8View(Some(word)), _), source] = arguments else {
        return Ok(PreimageResult::None);
    };
    let year = match literal {
        Expr::Literal(ScalarValue::Int32(Some(year)), _) => i64::from(*year),
        Expr::Literal(ScalarValue::Float64(Some(year)), _) if year.fract() == 0.0 => *year as i64,
        _ => return Ok(PreimageResult::None),
    };
    if DatePart::parse(word) != Ok(DatePart::Year) || !PRUNED_YEARS.contains(&year) {
        return Ok(PreimageResult::None);
    }
    let (first, next) = (days_from_civil(year, 1, 1), days_from_civil(year + 1, 1, 1));
    let bound = |days: i32, data_type: &DataType| match data_type {
        DataType::Date32 => Some(ScalarValue::Date32(Some(days))),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            Some(ScalarValue::TimestampMicrosecond(Some(i64::from(days) * MICROS_PER_DAY), zone.clone()))
        }
        _ => None,
    };
    let data_type = context.get_data_type(source)?;
    match (bound(first, &data_type), bound(next, &data_type)) {
        (Some(first), Some(next)) => {
            Ok(PreimageResult::Range { expr: source.clone(), interval: Box::new(Interval::try_new(first, next)?) })
        }
        _ => Ok(PreimageResult::None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Datelike, NaiveDate};

    fn micros(text: &str) -> i64 {
        text.parse::<chrono::NaiveDateTime>().unwrap().and_utc().timestamp_micros()
    }

    #[test]
    fn parts_are_those_that_redshift_documents() {
        let at = |part: &str, text: &str| of_moment(DatePart::parse(part).unwrap(), micros(text)).unwrap().div_euclid(MILLION);
        assert_eq!(at("ms", "2009-09-21T12:08:43.101"), 101);
        assert_eq!(at("us", "2009-09-21T12:08:43.101"), 101_000);
        assert_eq!(at("sec", "2009-09-21T11:10:03.189717"), 3);
        for (year, decade, century, millennium) in [("1999", 200, 20, 2), ("2000", 201, 20, 2), ("2001", 201, 21, 3)] {
            let text = format!("{year}-12-16T20:38:40");
            assert_eq!((at("decade", &text), at("century", &text), at("mil", &text)), (decade, century, millennium));
        }
        assert_eq!(at("epoch", "1969-12-31T23:59:59.5"), -1);
        assert_eq!(at("dow", "2024-02-29T00:00:00"), 4);
    }

    #[test]
    fn weeks_and_days_agree_with_chrono() {
        for days in (-800_000..200_000).step_by(13) {
            let date = NaiveDate::from_epoch_days(days).unwrap();
            assert_eq!(iso_week(days), i64::from(date.iso_week().week()), "{date}");
            assert_eq!(day_of_year(days), i64::from(date.ordinal()), "{date}");
        }
    }

    #[test]
    fn truncation_goes_to_the_start() {
        let at = |part: &str, text: &str| floor(DatePart::parse(part).unwrap(), micros(text)).unwrap();
        for (part, expected) in [
            ("second", "2024-05-05T17:08:09"),
            ("hour", "2024-05-05T17:00:00"),
            ("week", "2024-04-29T00:00:00"),
            ("quarter", "2024-04-01T00:00:00"),
            ("year", "2024-01-01T00:00:00"),
            ("decade", "2020-01-01T00:00:00"),
            ("century", "2001-01-01T00:00:00"),
            ("millennium", "2001-01-01T00:00:00"),
        ] {
            assert_eq!(at(part, "2024-05-05T17:08:09.5"), micros(expected), "{part}");
        }
        assert_eq!(at("month", "9999-12-31T23:59:59"), micros("9999-12-01T00:00:00"));
        assert_eq!(at("day", "1969-12-31T23:59:59"), micros("1969-12-31T00:00:00"));
    }
}

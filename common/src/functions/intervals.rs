//! Arithmetic with intervals, and their order by value: a month is 30 days, a day 24 hours.

use super::interval_text::parse_interval;
use super::{DatePart, Function, downcast, is_text, no_such_call};
use crate::assign::{TextFault, shorten};
use crate::sql_type::DECIMAL_PRECISION_MAX_DIGITS;
use crate::time_units::{DAYS_PER_MONTH, MICROS_PER_DAY, NANOS_PER_MICRO, interval_nanos};
use crate::{Error, ErrorKind, Result};
use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, IntervalMonthDayNanoArray, StringViewArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit, TimestampMicrosecondType};
use std::sync::Arc;

/// `slipher_interval(text [, unit])`: text as an interval; a number without a unit is of `unit`, else of seconds.
pub const PARSE_INTERVAL: &str = "slipher_interval";
/// `slipher_interval_between(later, earlier)`: timestamp - timestamp, in days and time of day; of two times of day, hours.
pub const INTERVAL_BETWEEN: &str = "slipher_interval_between";
/// `slipher_interval_times(interval, factor)`: interval * number.
pub const INTERVAL_TIMES: &str = "slipher_interval_times";
/// `slipher_interval_over(interval, divisor)`: interval / number.
pub const INTERVAL_OVER: &str = "slipher_interval_over";
/// `slipher_time_plus(time, interval)`: the time of day so much later; midnight is followed by 00:00.
pub const TIME_PLUS: &str = "slipher_time_plus";
/// `slipher_time_minus(time, interval)`: the time of day so much earlier.
pub const TIME_MINUS: &str = "slipher_time_minus";
/// `slipher_interval_value(interval)`: the interval in days and a time of day between 00:00 and 24:00: equal values look equal, and
/// the engine's order of such intervals is that of their values.
pub const INTERVAL_VALUE: &str = "slipher_interval_value";
/// `slipher_interval_nanos(interval)`: how long it is, as a number. Windows are ordered by it, as their ranges are of numbers only.
pub const INTERVAL_NANOS: &str = "slipher_interval_nanos";

const NANOS_PER_DAY: i64 = MICROS_PER_DAY * NANOS_PER_MICRO;
const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);
const NANOS: DataType = DataType::Decimal128(DECIMAL_PRECISION_MAX_DIGITS, 0);
const TIME: DataType = DataType::Time64(TimeUnit::Microsecond);

pub(super) fn functions() -> Vec<Function> {
    let interval: fn(&[DataType]) -> Result<DataType> = |_| Ok(INTERVAL);
    let time: fn(&[DataType]) -> Result<DataType> = |_| Ok(TIME);
    let mut plus = Function::new(TIME_PLUS, time_and_interval, time, |v| move_time(v, 1));
    let mut minus = Function::new(TIME_MINUS, time_and_interval, time, |v| move_time(v, -1));
    // A time with a zone stays one.
    plus.describe = Some(super::as_first_argument);
    minus.describe = Some(super::as_first_argument);
    vec![
        Function::new(PARSE_INTERVAL, text_and_unit, interval, parse),
        Function::new(INTERVAL_BETWEEN, two_moments, interval, between),
        Function::new(INTERVAL_TIMES, interval_and_number, interval, |v| scale(v, |part, factor| part * factor)),
        Function::new(INTERVAL_OVER, interval_and_number, interval, over),
        plus,
        minus,
        Function::new(INTERVAL_VALUE, one_interval, interval, value),
        Function::new(INTERVAL_NANOS, one_interval, |_| Ok(NANOS), nanos),
    ]
}

fn text_and_unit(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [text] | [text, DataType::Utf8 | DataType::Utf8View] if is_text(text) || *text == DataType::Null => {
            Ok(vec![DataType::Utf8View; types.len()])
        }
        [DataType::Interval(_)] => Ok(vec![INTERVAL]),
        _ => Err(no_such_call(PARSE_INTERVAL, types, "INTERVAL '1 day'")),
    }
}

fn two_moments(types: &[DataType]) -> Result<Vec<DataType>> {
    let is_time = |data_type: &DataType| matches!(data_type, DataType::Time32(_) | DataType::Time64(_));
    match types {
        [a, b] if is_time(a) && is_time(b) => Ok(vec![TIME, TIME]),
        [a, b] => {
            let moment = |data_type: &DataType| super::calendar::timestamp_of(data_type);
            match (moment(a), moment(b)) {
                (Some(a), Some(b)) if a == b => Ok(vec![a, b]),
                // With a zone on one side only, the other is read as UTC.
                (Some(_), Some(_)) => Ok(vec![crate::SqlType::TimestampTz.to_arrow(); 2]),
                _ => Err(no_such_call(INTERVAL_BETWEEN, types, "a_timestamp - an_earlier_timestamp")),
            }
        }
        _ => Err(no_such_call(INTERVAL_BETWEEN, types, "a_timestamp - an_earlier_timestamp")),
    }
}

fn interval_and_number(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::Interval(_), number] if number.is_numeric() || *number == DataType::Null => {
            Ok(vec![INTERVAL, DataType::Float64])
        }
        _ => Err(no_such_call(INTERVAL_TIMES, types, "an_interval * a_number")),
    }
}

fn time_and_interval(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::Time32(_) | DataType::Time64(_), DataType::Interval(_)] => Ok(vec![TIME, INTERVAL]),
        _ => Err(no_such_call(TIME_PLUS, types, "a_time + an_interval")),
    }
}

fn one_interval(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::Interval(_) | DataType::Null] => Ok(vec![INTERVAL]),
        _ => Err(no_such_call(INTERVAL_VALUE, types, "an_interval = another_interval")),
    }
}

fn out_of_range() -> Error {
    Error::new(ErrorKind::DatetimeOutOfRange, "interval out of range")
}

fn parse(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    if matches!(arguments[0].data_type(), DataType::Interval(_)) {
        return Ok(Arc::clone(&arguments[0]));
    }
    let texts: &StringViewArray = downcast(&arguments[0])?;
    let units = arguments.get(1).map(downcast::<StringViewArray>).transpose()?;
    let read = |(row, text): (usize, Option<&str>)| {
        let Some(text) = text else { return Ok(None) };
        let unit = match units {
            Some(units) => DatePart::parse(units.value(row))?,
            None => DatePart::Second,
        };
        parse_interval(text, unit).map(Some).map_err(|fault| match fault {
            TextFault::Syntax => {
                let message = format!("invalid input syntax for type interval: \"{}\"", shorten(text));
                Error::new(ErrorKind::InvalidDatetime, message).with_hint("write it as '1 year 2 months 3 days 04:05:06.7'")
            }
            TextFault::Range => {
                Error::new(ErrorKind::DatetimeOutOfRange, format!("interval field value out of range: \"{}\"", shorten(text)))
            }
        })
    };
    let values = texts.iter().enumerate().map(read).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(IntervalMonthDayNanoArray::from(values)))
}

fn between(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    if *arguments[0].data_type() == TIME {
        let (later, earlier) = (times(&arguments[0])?, times(&arguments[1])?);
        let values = later.iter().zip(earlier.iter()).map(|pair| match pair {
            (Some(later), Some(earlier)) => Some(IntervalMonthDayNano::new(0, 0, (later - earlier) * NANOS_PER_MICRO)),
            _ => None,
        });
        return Ok(Arc::new(values.collect::<IntervalMonthDayNanoArray>()));
    }
    let (later, earlier) = (timestamps(&arguments[0])?, timestamps(&arguments[1])?);
    let values = later.iter().zip(earlier.iter()).map(|pair| {
        let (Some(later), Some(earlier)) = pair else { return Ok(None) };
        let micros = later.checked_sub(earlier).ok_or_else(out_of_range)?;
        let days = i32::try_from(micros / MICROS_PER_DAY).map_err(|_| out_of_range())?;
        Ok(Some(IntervalMonthDayNano::new(0, days, micros % MICROS_PER_DAY * NANOS_PER_MICRO)))
    });
    Ok(Arc::new(IntervalMonthDayNanoArray::from(values.collect::<Result<Vec<_>>>()?)))
}

fn timestamps(array: &ArrayRef) -> Result<&TimestampMicrosecondArray> {
    array
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| Error::internal(format!("a function got a column of {}", array.data_type())))
}

fn times(array: &ArrayRef) -> Result<&Time64MicrosecondArray> {
    downcast(array)
}

fn over(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let divisors: &Float64Array = downcast(&arguments[1])?;
    if (0..divisors.len()).any(|row| divisors.is_valid(row) && arguments[0].is_valid(row) && divisors.value(row) == 0.0) {
        return Err(Error::new(ErrorKind::DivisionByZero, "division by zero"));
    }
    scale(arguments, |part, divisor| part / divisor)
}

/// Each part is scaled by itself; what is left of a month becomes days, of a day time.
fn scale(arguments: &[ArrayRef], apply: fn(f64, f64) -> f64) -> Result<ArrayRef> {
    let intervals: &IntervalMonthDayNanoArray = downcast(&arguments[0])?;
    let factors: &Float64Array = downcast(&arguments[1])?;
    let values = intervals.iter().zip(factors.iter()).map(|pair| match pair {
        (Some(interval), Some(factor)) => scaled(interval, factor, apply).map(Some),
        _ => Ok(None),
    });
    Ok(Arc::new(IntervalMonthDayNanoArray::from(values.collect::<Result<Vec<_>>>()?)))
}

fn scaled(interval: IntervalMonthDayNano, factor: f64, apply: fn(f64, f64) -> f64) -> Result<IntervalMonthDayNano> {
    let whole_i32 = |value: f64| {
        let fits = value.is_finite() && value.abs() <= f64::from(i32::MAX);
        fits.then_some(value as i32).ok_or_else(out_of_range)
    };
    // Products like 0.1 * 30 miss whole numbers by a rounding error.
    let rounded = |value: f64| {
        let near = value.round();
        if (value - near).abs() < 1e-9 { near } else { value }
    };
    let months = rounded(apply(f64::from(interval.months), factor));
    let days_of_months = rounded((months - months.trunc()) * DAYS_PER_MONTH as f64);
    let days = rounded(apply(f64::from(interval.days), factor));
    let day_part = (days - days.trunc()) + (days_of_months - days_of_months.trunc());
    let all_days = whole_i32(days.trunc())?.checked_add(whole_i32(days_of_months.trunc())?).ok_or_else(out_of_range)?;
    let micros = apply((interval.nanoseconds / NANOS_PER_MICRO) as f64, factor) + day_part * MICROS_PER_DAY as f64;
    // Beyond this, nanoseconds do not fit 64 bits.
    if !micros.is_finite() || micros.abs() > (i64::MAX / NANOS_PER_MICRO) as f64 {
        return Err(out_of_range());
    }
    let nanoseconds = (micros.round() as i64).checked_mul(NANOS_PER_MICRO).ok_or_else(out_of_range)?;
    Ok(IntervalMonthDayNano::new(whole_i32(months.trunc())?, all_days, nanoseconds))
}

/// Only the interval's time counts.
fn move_time(arguments: &[ArrayRef], sign: i64) -> Result<ArrayRef> {
    let intervals: &IntervalMonthDayNanoArray = downcast(&arguments[1])?;
    let values = times(&arguments[0])?.iter().zip(intervals.iter()).map(|pair| match pair {
        (Some(time), Some(interval)) => {
            let moved = interval.nanoseconds / NANOS_PER_MICRO % MICROS_PER_DAY * sign;
            Some((time + moved).rem_euclid(MICROS_PER_DAY))
        }
        _ => None,
    });
    Ok(Arc::new(values.collect::<Time64MicrosecondArray>()))
}

fn value(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let intervals: &IntervalMonthDayNanoArray = downcast(&arguments[0])?;
    let plain = |interval: IntervalMonthDayNano| {
        let days = i64::from(interval.months) * DAYS_PER_MONTH + i64::from(interval.days);
        let days = days + interval.nanoseconds.div_euclid(NANOS_PER_DAY);
        let days = i32::try_from(days).map_err(|_| out_of_range())?;
        Ok(IntervalMonthDayNano::new(0, days, interval.nanoseconds.rem_euclid(NANOS_PER_DAY)))
    };
    let values = intervals.iter().map(|interval| interval.map(plain).transpose());
    Ok(Arc::new(IntervalMonthDayNanoArray::from(values.collect::<Result<Vec<_>>>()?)))
}

fn nanos(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let intervals: &IntervalMonthDayNanoArray = downcast(&arguments[0])?;
    let lengths: Decimal128Array = intervals.iter().map(|interval| interval.map(interval_nanos)).collect();
    Ok(Arc::new(lengths.with_data_type(NANOS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compute(name: &str, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let function = functions().into_iter().find(|function| function.name == name).unwrap();
        (function.compute)(arguments)
    }

    fn interval(text: &str) -> ArrayRef {
        compute(PARSE_INTERVAL, &[Arc::new(StringViewArray::from(vec![text]))]).unwrap()
    }

    fn shown(array: &ArrayRef) -> String {
        crate::assign::text_of(array, None, None).unwrap().as_string_view().value(0).to_owned()
    }

    #[test]
    fn values_are_compared_not_spellings() {
        let value = |text: &str| {
            let array = compute(INTERVAL_VALUE, &[interval(text)]).unwrap();
            downcast::<IntervalMonthDayNanoArray>(&array).unwrap().value(0)
        };
        assert_eq!(value("1 day"), value("24 hours"));
        assert_eq!(value("1 month"), value("30 days"));
        assert_eq!(value("1 year"), value("12 months"));
        assert!(value("30 hours") > value("1 day"));
        assert!(value("-1 hour") < value("00:00") && value("-1 day 1 hour") < value("-22 hours"));
        assert!(value("1 month") < value("31 days"));
    }

    #[test]
    fn scaling_keeps_the_value() {
        let times = |text: &str, factor: f64| {
            compute(INTERVAL_TIMES, &[interval(text), Arc::new(Float64Array::from(vec![factor]))]).map(|array| shown(&array))
        };
        assert_eq!(times("3 days", 2.0).unwrap(), "6 days");
        assert_eq!(times("1 second", 1.5).unwrap(), "00:00:01.5");
        assert_eq!(times("1 day", 1.5).unwrap(), "1 day 12:00:00");
        assert_eq!(times("1 month", 0.1).unwrap(), "3 days");
        assert_eq!(times("1 year 1 day", -0.5).unwrap(), "-6 mons -12:00:00");
        assert_eq!(times("1 year", 1e12).unwrap_err().sqlstate(), "22008");
        let over = |divisor: f64| compute(INTERVAL_OVER, &[interval("1 hour"), Arc::new(Float64Array::from(vec![divisor]))]);
        assert_eq!(shown(&over(4.0).unwrap()), "00:15:00");
        assert_eq!(over(0.0).unwrap_err().sqlstate(), "22012");
    }

    #[test]
    fn times_of_day_go_round() {
        let ten: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![22 * 3_600_000_000]));
        assert_eq!(shown(&compute(TIME_PLUS, &[Arc::clone(&ten), interval("1 day 3 hours")]).unwrap()), "01:00:00");
        assert_eq!(shown(&compute(TIME_MINUS, &[Arc::clone(&ten), interval("23:30")]).unwrap()), "22:30:00");
    }
}

//! AGE: how much later one moment is than another, in years, months, days and time of day, as a calendar counts them.

use super::{Function, MICROSECOND, downcast, no_such_call};
use crate::assign::civil_from_days;
use crate::casts::Kind;
use crate::{Error, ErrorKind, Result};
use arrow::array::{ArrayRef, IntervalMonthDayNanoArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit};
use std::sync::Arc;

const MICROS_PER_DAY: i64 = 86_400_000_000;
const NANOS_PER_MICRO: i64 = 1_000;

pub(super) fn functions() -> Vec<Function> {
    vec![Function::new("age", coerce, |_| Ok(DataType::Interval(IntervalUnit::MonthDayNano)), age)]
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    let moment =
        |known: &DataType| matches!(known, DataType::Null | DataType::Utf8) || Kind::of_arrow(known).is_some_and(Kind::is_moment);
    match types {
        [later, earlier] if moment(later) && moment(earlier) => Ok(vec![MICROSECOND, MICROSECOND]),
        _ => Err(no_such_call("age", types, "age(a_later_timestamp, a_timestamp)")),
    }
}

fn age(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (later, earlier): (&TimestampMicrosecondArray, &TimestampMicrosecondArray) =
        (downcast(&arguments[0])?, downcast(&arguments[1])?);
    let ages = later.iter().zip(earlier.iter()).map(|pair| match pair {
        (Some(later), Some(earlier)) => between(later, earlier).map(Some),
        _ => Ok(None),
    });
    Ok(Arc::new(IntervalMonthDayNanoArray::from(ages.collect::<Result<Vec<_>>>()?)))
}

/// Days and times are borrowed from the month in which the earlier of both lies.
fn between(later: i64, earlier: i64) -> Result<IntervalMonthDayNano> {
    if later < earlier {
        let turned = between(earlier, later)?;
        return Ok(IntervalMonthDayNano::new(-turned.months, -turned.days, -turned.nanoseconds));
    }
    let out_of_range = || Error::new(ErrorKind::DatetimeOutOfRange, "interval out of range");
    let split = |moment: i64| {
        let days = i32::try_from(moment.div_euclid(MICROS_PER_DAY)).map_err(|_| out_of_range())?;
        let (year, month, day) = civil_from_days(days);
        Ok::<_, Error>((year, month, day, moment.rem_euclid(MICROS_PER_DAY)))
    };
    let ((year, month, day, time), (first_year, first_month, first_day, first_time)) = (split(later)?, split(earlier)?);
    let mut months = (year - first_year) * 12 + i64::from(month) - i64::from(first_month);
    let (mut days, mut micros) = (i64::from(day) - i64::from(first_day), time - first_time);
    if micros < 0 {
        micros += MICROS_PER_DAY;
        days -= 1;
    }
    if days < 0 {
        days += days_in_month(first_year, first_month);
        months -= 1;
    }
    let months = i32::try_from(months).map_err(|_| out_of_range())?;
    let days = i32::try_from(days).map_err(|_| out_of_range())?;
    Ok(IntervalMonthDayNano::new(months, days, micros * NANOS_PER_MICRO))
}

fn days_in_month(year: i64, month: u32) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assign::days_from_civil;

    #[test]
    fn calendars_count() {
        let at = |year: i64, month: u32, day: u32, hour: i64| {
            i64::from(days_from_civil(year, month, day)) * MICROS_PER_DAY + hour * 3_600_000_000
        };
        let age = |later, earlier| between(later, earlier).map(|age| (age.months, age.days, age.nanoseconds / 3_600_000_000_000));
        assert_eq!(age(at(2001, 4, 10, 0), at(1957, 6, 13, 0)).unwrap(), (43 * 12 + 9, 27, 0));
        assert_eq!(age(at(2024, 3, 1, 0), at(2024, 1, 31, 0)).unwrap(), (1, 1, 0));
        assert_eq!(age(at(2024, 3, 1, 1), at(2024, 2, 29, 2)).unwrap(), (0, 0, 23));
        assert_eq!(age(at(2019, 1, 1, 0), at(2020, 1, 1, 0)).unwrap(), (-12, 0, 0));
    }
}

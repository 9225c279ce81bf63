//! How many of one unit of time another has.

use arrow::datatypes::IntervalMonthDayNano;

/// Nanoseconds of a microsecond.
pub const NANOS_PER_MICRO: i64 = 1_000;
/// Microseconds of a second.
pub const MICROS_PER_SECOND: i64 = 1_000_000;
/// Microseconds of a minute.
pub const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
/// Microseconds of an hour.
pub const MICROS_PER_HOUR: i64 = 60 * MICROS_PER_MINUTE;
/// Microseconds of a day.
pub const MICROS_PER_DAY: i64 = 24 * MICROS_PER_HOUR;
/// Days of a month where an interval is compared or computed with.
pub const DAYS_PER_MONTH: i64 = 30;

/// How long an interval is, in nanoseconds: a month is 30 days, a day 24 hours.
pub fn interval_nanos(interval: IntervalMonthDayNano) -> i128 {
    let days = i128::from(interval.months) * i128::from(DAYS_PER_MONTH) + i128::from(interval.days);
    days * i128::from(MICROS_PER_DAY * NANOS_PER_MICRO) + i128::from(interval.nanoseconds)
}

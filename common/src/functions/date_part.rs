//! Names of the parts of dates and times.

use crate::error::did_you_mean;
use crate::{Error, ErrorKind, Result};

/// A part of a date or time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DatePart {
    /// 1000 years.
    Millennium,
    /// 100 years.
    Century,
    /// 10 years.
    Decade,
    /// Years.
    Year,
    /// Quarters.
    Quarter,
    /// Months.
    Month,
    /// Weeks.
    Week,
    /// Days.
    Day,
    /// Day of the week, Sunday is 0.
    DayOfWeek,
    /// Day of the year.
    DayOfYear,
    /// Hours.
    Hour,
    /// Minutes.
    Minute,
    /// Seconds.
    Second,
    /// Thousandths of a second.
    Millisecond,
    /// Millionths of a second.
    Microsecond,
    /// Seconds since 1970.
    Epoch,
    /// Seconds east of UTC.
    TimeZone,
    /// Whole hours of it.
    TimeZoneHour,
    /// Minutes of the rest.
    TimeZoneMinute,
}

/// The engine's name of each part, and what Redshift also calls it.
const NAMES: &[(DatePart, &str, &[&str])] = &[
    (DatePart::Millennium, "millennium", &["millennia", "mil", "mils"]),
    (DatePart::Century, "century", &["centuries", "c", "cent", "cents"]),
    (DatePart::Decade, "decade", &["decades", "dec", "decs"]),
    (DatePart::Year, "year", &["years", "y", "yr", "yrs"]),
    (DatePart::Quarter, "quarter", &["quarters", "qtr", "qtrs"]),
    (DatePart::Month, "month", &["months", "mon", "mons"]),
    (DatePart::Week, "week", &["weeks", "w"]),
    (DatePart::Day, "day", &["days", "d"]),
    (DatePart::DayOfWeek, "dow", &["dayofweek", "dw", "weekday"]),
    (DatePart::DayOfYear, "doy", &["dayofyear", "dy", "yearday"]),
    (DatePart::Hour, "hour", &["hours", "h", "hr", "hrs"]),
    (DatePart::Minute, "minute", &["minutes", "m", "min", "mins"]),
    (DatePart::Second, "second", &["seconds", "s", "sec", "secs"]),
    (
        DatePart::Millisecond,
        "millisecond",
        &["milliseconds", "ms", "msec", "msecs", "msecond", "mseconds", "millisec", "millisecs", "millisecon"],
    ),
    (
        DatePart::Microsecond,
        "microsecond",
        &["microseconds", "microsec", "microsecs", "usecond", "useconds", "us", "usec", "usecs"],
    ),
    (DatePart::Epoch, "epoch", &[]),
    (DatePart::TimeZone, "timezone", &[]),
    (DatePart::TimeZoneHour, "timezone_hour", &[]),
    (DatePart::TimeZoneMinute, "timezone_minute", &[]),
];

impl DatePart {
    /// The part of a name or abbreviation, in any case; 22023 for any other word.
    pub fn parse(word: &str) -> Result<Self> {
        let lower = word.to_lowercase();
        let found = NAMES.iter().find(|(_, name, others)| *name == lower || others.contains(&lower.as_str()));
        found.map(|(part, ..)| *part).ok_or_else(|| {
            let hint = did_you_mean(&lower, NAMES.iter().map(|(_, name, _)| *name));
            Error::new(ErrorKind::InvalidParameter, format!("date part \"{word}\" is not known")).with_hint(hint)
        })
    }

    /// The engine's name.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(part, ..)| *part == self).map_or("day", |(_, name, _)| name)
    }
}

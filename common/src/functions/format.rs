//! TO_CHAR of dates and times, TO_DATE and TO_TIMESTAMP, with PostgreSQL's patterns.

use super::number_format::{number_to_char, written_type};
use super::{Function, downcast, is_text, no_such_call};
use crate::assign::{UTC, Zone};
use crate::{Error, ErrorKind, Result};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, StringArray, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Datelike, Days, Duration, Months, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use std::borrow::Cow;
use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

const MONTHS: [&str; 12] =
    ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"];
const DAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
/// Names of months and days are padded to this many characters.
const NAME_WIDTH: usize = 9;
/// The Julian day before 0001-01-01.
const JULIAN_DAY_OF_CE: i64 = 1_721_425;

pub(super) fn functions() -> Vec<Function> {
    let timestamptz = |_: &[DataType]| Ok(DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))));
    vec![
        Function::new("to_char", to_char_coerce, |_| Ok(DataType::Utf8View), to_char),
        Function::new("to_date", |types| coerce_reading("to_date", types), |_| Ok(DataType::Date32), to_date),
        Function::new("to_timestamp", |types| coerce_reading("to_timestamp", types), timestamptz, to_timestamp_with),
    ]
}

fn to_char_coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::Timestamp(_, zone), pattern] if is_text(pattern) => {
            Some(vec![DataType::Timestamp(TimeUnit::Microsecond, zone.clone()), DataType::Utf8])
        }
        [DataType::Date32 | DataType::Null, pattern] if is_text(pattern) => Some(vec![super::MICROSECOND, DataType::Utf8]),
        [number, pattern] if is_text(pattern) => written_type(number).map(|number| vec![number, DataType::Utf8]),
        _ => None,
    }
    .ok_or_else(|| no_such_call("to_char", types, "to_char(a_timestamp, 'YYYY-MM-DD HH24:MI:SS') or to_char(a_number, '999D99')"))
}

/// A text, its pattern, and whether parts out of range are refused.
fn coerce_reading(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    let textual = super::becomes_text;
    match types {
        [text, pattern] if textual(text) && textual(pattern) => Ok(vec![DataType::Utf8; 2]),
        [text, pattern, DataType::Boolean | DataType::Null] if textual(text) && textual(pattern) => {
            Ok(vec![DataType::Utf8, DataType::Utf8, DataType::Boolean])
        }
        _ => Err(no_such_call(name, types, &format!("{name}('2024-12-31', 'YYYY-MM-DD' [, is_strict])"))),
    }
}

/// How a name is written: `MONTH`, `Month`, `month`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Upper,
    Title,
    Lower,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Literal(String),
    Year(u32),
    /// `2,024`
    YearWithComma,
    IsoYear(u32),
    /// AD or BC.
    Era {
        upper: bool,
        dots: bool,
    },
    /// A month as `VIII`.
    RomanMonth {
        upper: bool,
    },
    /// `st`, `nd`, `rd` or `th` behind the number before it.
    Ordinal {
        upper: bool,
    },
    Quarter,
    Month,
    MonthName {
        case: Case,
        short: bool,
    },
    IsoWeek,
    WeekOfYear,
    DayOfYear,
    Day,
    DayOfWeek,
    IsoDayOfWeek,
    WeekOfMonth,
    JulianDay,
    Century,
    DayName {
        case: Case,
        short: bool,
    },
    Hour24,
    Hour12,
    Minute,
    Second,
    SecondOfDay,
    Millisecond,
    Microsecond,
    HalfDay {
        upper: bool,
        dots: bool,
    },
    Zone,
}

/// A pattern's items, each with FM (no padding) or without.
#[derive(Debug)]
struct Pattern(Vec<(Item, bool)>);

/// Codes, longest first where one begins another; matched in any case.
const CODES: &[&str] = &[
    "SSSS", "HH24", "HH12", "Y,YYY", "YYYY", "IYYY", "MONTH", "A.M.", "P.M.", "A.D.", "B.C.", "YYY", "IYY", "DDD", "MON", "DAY",
    "YY", "IY", "MM", "DD", "DY", "HH", "MI", "SS", "MS", "US", "WW", "IW", "AM", "PM", "AD", "BC", "TZ", "TH", "CC", "ID", "RM",
    "Y", "I", "Q", "D", "W", "J",
];

impl Pattern {
    fn parse(text: &str) -> Result<Self> {
        let mut items = Vec::new();
        let mut rest = text;
        let mut trimmed = false;
        while let Some(first) = rest.chars().next() {
            if rest.get(..2).is_some_and(|two| two.eq_ignore_ascii_case("fm")) {
                trimmed = true;
                rest = &rest[2..];
                continue;
            }
            if first == '"' {
                let quoted = &rest[1..];
                let end = quoted.find('"').unwrap_or(quoted.len());
                items.push((Item::Literal(quoted[..end].to_owned()), false));
                rest = quoted.get(end + 1..).unwrap_or("");
                continue;
            }
            let code = CODES.iter().find(|code| rest.get(..code.len()).is_some_and(|head| head.eq_ignore_ascii_case(code)));
            if let Some(code) = code {
                items.push((item_of(code, &rest[..code.len()]), std::mem::take(&mut trimmed)));
                rest = &rest[code.len()..];
            } else if first.is_alphabetic() {
                return Err(Error::new(
                    ErrorKind::InvalidParameter,
                    format!("date pattern \"{text}\": \"{first}\" has no meaning"),
                )
                .with_hint("write letters that stand for themselves in double quotes inside the pattern"));
            } else {
                items.push((Item::Literal(first.to_string()), false));
                rest = &rest[first.len_utf8()..];
            }
        }
        Ok(Self(items))
    }
}

fn item_of(code: &str, written: &str) -> Item {
    let case = || {
        let mut letters = written.chars();
        match (letters.next().is_some_and(char::is_uppercase), letters.next().is_some_and(char::is_uppercase)) {
            (true, true) => Case::Upper,
            (true, false) => Case::Title,
            _ => Case::Lower,
        }
    };
    match code {
        "YYYY" => Item::Year(4),
        "YYY" => Item::Year(3),
        "YY" => Item::Year(2),
        "Y" => Item::Year(1),
        "Y,YYY" => Item::YearWithComma,
        "IYYY" => Item::IsoYear(4),
        "IYY" => Item::IsoYear(3),
        "IY" => Item::IsoYear(2),
        "I" => Item::IsoYear(1),
        "AD" | "BC" | "A.D." | "B.C." => Item::Era { upper: case() != Case::Lower, dots: code.contains('.') },
        "RM" => Item::RomanMonth { upper: case() != Case::Lower },
        "TH" => Item::Ordinal { upper: case() != Case::Lower },
        "Q" => Item::Quarter,
        "MM" => Item::Month,
        "MONTH" => Item::MonthName { case: case(), short: false },
        "MON" => Item::MonthName { case: case(), short: true },
        "IW" => Item::IsoWeek,
        "WW" => Item::WeekOfYear,
        "DDD" => Item::DayOfYear,
        "DD" => Item::Day,
        "D" => Item::DayOfWeek,
        "ID" => Item::IsoDayOfWeek,
        "W" => Item::WeekOfMonth,
        "J" => Item::JulianDay,
        "CC" => Item::Century,
        "DAY" => Item::DayName { case: case(), short: false },
        "DY" => Item::DayName { case: case(), short: true },
        "HH24" => Item::Hour24,
        "HH" | "HH12" => Item::Hour12,
        "MI" => Item::Minute,
        "SS" => Item::Second,
        "SSSS" => Item::SecondOfDay,
        "MS" => Item::Millisecond,
        "US" => Item::Microsecond,
        "TZ" => Item::Zone,
        _ => Item::HalfDay { upper: case() != Case::Lower, dots: code.contains('.') },
    }
}

fn write_name(name: &str, case: Case, short: bool, trimmed: bool) -> String {
    let name = if short { &name[..3] } else { name };
    let cased = match case {
        Case::Upper => name.to_uppercase(),
        Case::Lower => name.to_owned(),
        Case::Title => name[..1].to_uppercase() + &name[1..],
    };
    if short || trimmed { cased } else { format!("{cased:<NAME_WIDTH$}") }
}

const ROMAN_MONTHS: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];
/// They are padded to this many characters.
const ROMAN_WIDTH: usize = 4;

fn in_case(text: &str, upper: bool) -> String {
    if upper { text.to_uppercase() } else { text.to_lowercase() }
}

/// What stands behind a number that counts.
fn ordinal(number: i64) -> &'static str {
    match (number.rem_euclid(100), number.rem_euclid(10)) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    }
}

fn write(pattern: &Pattern, when: NaiveDateTime, zone: &str) -> String {
    let mut text = String::new();
    let mut last = 0;
    for (item, trimmed) in &pattern.0 {
        let mut padded = |value: i64, width: usize| {
            last = value;
            text.push_str(&if *trimmed { value.to_string() } else { format!("{value:0width$}") });
        };
        match item {
            Item::Year(digits @ 1..=3) => padded(i64::from(when.year()).rem_euclid(10_i64.pow(*digits)), *digits as usize),
            Item::Year(_) => padded(i64::from(when.year()), 4),
            Item::YearWithComma => text.push_str(&format!("{},{:03}", when.year() / 1000, when.year().rem_euclid(1000))),
            Item::IsoYear(digits @ 1..=3) => {
                padded(i64::from(when.iso_week().year()).rem_euclid(10_i64.pow(*digits)), *digits as usize);
            }
            Item::IsoYear(_) => padded(i64::from(when.iso_week().year()), 4),
            Item::Era { upper, dots } => {
                let era = match (when.year() > 0, dots) {
                    (true, true) => "a.d.",
                    (true, false) => "ad",
                    (false, true) => "b.c.",
                    (false, false) => "bc",
                };
                text.push_str(&in_case(era, *upper));
            }
            Item::RomanMonth { upper } => {
                let width = if *trimmed { 0 } else { ROMAN_WIDTH };
                let month = in_case(ROMAN_MONTHS[when.month0() as usize % 12], *upper);
                text.push_str(&format!("{month:<width$}"));
            }
            Item::Ordinal { upper } => text.push_str(&in_case(ordinal(last), *upper)),
            Item::Quarter => padded(i64::from(when.month0() / 3 + 1), 1),
            Item::Month => padded(i64::from(when.month()), 2),
            Item::IsoWeek => padded(i64::from(when.iso_week().week()), 2),
            Item::WeekOfYear => padded(i64::from(when.ordinal0() / 7 + 1), 2),
            Item::DayOfYear => padded(i64::from(when.ordinal()), 3),
            Item::Day => padded(i64::from(when.day()), 2),
            Item::DayOfWeek => padded(i64::from(when.weekday().num_days_from_sunday() + 1), 1),
            Item::IsoDayOfWeek => padded(i64::from(when.weekday().number_from_monday()), 1),
            Item::WeekOfMonth => padded(i64::from(when.day0() / 7 + 1), 1),
            Item::JulianDay => padded(i64::from(when.num_days_from_ce()) + JULIAN_DAY_OF_CE, 1),
            // The 21st began in 2001.
            Item::Century => padded(i64::from((when.year() - 1).div_euclid(100) + 1), 2),
            Item::Hour24 => padded(i64::from(when.hour()), 2),
            Item::Hour12 => padded(i64::from(when.hour12().1), 2),
            Item::Minute => padded(i64::from(when.minute()), 2),
            Item::Second => padded(i64::from(when.second()), 2),
            Item::SecondOfDay => padded(i64::from(when.num_seconds_from_midnight()), 1),
            Item::Millisecond => padded(i64::from(when.nanosecond() / 1_000_000), 3),
            Item::Microsecond => padded(i64::from(when.nanosecond() / 1_000), 6),
            Item::Literal(literal) => text.push_str(literal),
            Item::MonthName { case, short } => {
                text.push_str(&write_name(MONTHS[when.month0() as usize % 12], *case, *short, *trimmed));
            }
            Item::DayName { case, short } => {
                let day = when.weekday().num_days_from_sunday() as usize;
                text.push_str(&write_name(DAYS[day % 7], *case, *short, *trimmed));
            }
            Item::HalfDay { upper, dots } => {
                let half = match (when.hour() >= 12, dots) {
                    (true, true) => "p.m.",
                    (true, false) => "pm",
                    (false, true) => "a.m.",
                    (false, false) => "am",
                };
                text.push_str(&if *upper { half.to_uppercase() } else { half.to_owned() });
            }
            Item::Zone => text.push_str(zone),
        }
    }
    text
}

/// The pattern of each row; a constant, as it nearly always is, is read once.
fn with_patterns<T>(
    patterns: &StringArray,
    rows: usize,
    mut each: impl FnMut(usize, &Pattern) -> Result<Option<T>>,
) -> Result<Vec<Option<T>>> {
    let mut last: Option<(String, Pattern)> = None;
    (0..rows)
        .map(|row| {
            if patterns.is_null(row) {
                return Ok(None);
            }
            let text = patterns.value(row);
            let pattern = match last.take() {
                Some((seen, pattern)) if seen == text => pattern,
                _ => Pattern::parse(text)?,
            };
            let answer = each(row, &pattern);
            last = Some((text.to_owned(), pattern));
            answer
        })
        .collect()
}

fn to_char(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    to_char_with(arguments, None)
}

/// In a zone; without one, in UTC.
pub(super) fn to_char_with(arguments: &[ArrayRef], zone: Option<&Zone>) -> Result<ArrayRef> {
    if !matches!(arguments[0].data_type(), DataType::Timestamp(..)) {
        return number_to_char(arguments);
    }
    let moments: &TimestampMicrosecondArray = arguments[0]
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| Error::internal(format!("to_char got a column of {}", arguments[0].data_type())))?;
    let texts = with_patterns(downcast(&arguments[1])?, moments.len(), |row, pattern| {
        if moments.is_null(row) {
            return Ok(None);
        }
        let too_far = || Error::new(ErrorKind::DatetimeOutOfRange, "to_char: timestamp out of range");
        let instant = moments.value(row);
        // Those without a zone are said to be in UTC.
        let (local, name) = match zone {
            Some(zone) => (zone.to_local(instant).ok_or_else(too_far)?, Cow::Owned(zone.abbreviation(instant))),
            None => (instant, Cow::Borrowed(UTC)),
        };
        let when = DateTime::from_timestamp_micros(local).ok_or_else(too_far)?;
        Ok(Some(write(pattern, when.naive_utc(), &name)))
    })?;
    Ok(Arc::new(texts.into_iter().collect::<StringViewArray>()))
}

/// What the texts say by their patterns, made into numbers.
fn read_all<T>(arguments: &[ArrayRef], made: impl Fn(NaiveDateTime) -> T) -> Result<Vec<Option<T>>> {
    let texts: &StringArray = downcast(&arguments[0])?;
    let strict = arguments.get(2).map(downcast::<BooleanArray>).transpose()?;
    with_patterns(downcast(&arguments[1])?, texts.len(), |row, pattern| {
        if texts.is_null(row) || strict.is_some_and(|strict| strict.is_null(row)) {
            return Ok(None);
        }
        let strict = strict.is_some_and(|strict| strict.value(row));
        read(pattern, texts.value(row), strict).map(|when| Some(made(when)))
    })
}

fn to_date(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let days = read_all(arguments, |when| when.date().signed_duration_since(NaiveDate::default()).num_days() as i32)?;
    Ok(Arc::new(Date32Array::from(days)))
}

pub(super) fn to_timestamp_with(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let micros = read_all(arguments, |when| when.and_utc().timestamp_micros())?;
    Ok(Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC")))
}

/// What a text says, part by part.
#[derive(Default)]
struct Fields {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    hour: u32,
    afternoon: Option<bool>,
    minute: u32,
    second: u32,
    micros: u32,
}

/// Reads `text` by a pattern.
fn read(pattern: &Pattern, text: &str, strict: bool) -> Result<NaiveDateTime> {
    let wrong = |what: &str| Error::new(ErrorKind::InvalidDatetime, format!("\"{text}\" does not fit its date pattern: {what}"));
    let mut rest = text.trim().chars().peekable();
    let mut fields = Fields::default();
    for (index, (item, _)) in pattern.0.iter().enumerate() {
        // Digits that run into the next part must not be taken by this one.
        let next_is_number = pattern.0.get(index + 1).is_some_and(|(next, _)| !matches!(next, Item::Literal(_)));
        let mut digits = |most: usize| {
            let most = if next_is_number { most } else { most.max(if most == 4 { 6 } else { most }) };
            take_number(&mut rest, most).ok_or_else(|| wrong("a number is missing"))
        };
        match item {
            Item::Literal(literal) => skip_literal(&mut rest, literal),
            Item::Year(width) => {
                let (value, count) = digits(*width as usize)?;
                fields.year = Some(if *width <= 2 && count <= 2 {
                    value as i32 + if value < 70 { 2000 } else { 1900 }
                } else {
                    value as i32
                });
            }
            Item::Month => fields.month = Some(digits(2)?.0),
            Item::Day => fields.day = Some(digits(2)?.0),
            Item::DayOfYear => fields.day_of_year = Some(digits(3)?.0),
            Item::Hour24 | Item::Hour12 => fields.hour = digits(2)?.0,
            Item::Minute => fields.minute = digits(2)?.0,
            Item::Second => fields.second = digits(2)?.0,
            Item::SecondOfDay => {
                let of_day = digits(5)?.0;
                (fields.hour, fields.minute, fields.second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
            }
            Item::Millisecond | Item::Microsecond => {
                let (value, count) = digits(if *item == Item::Millisecond { 3 } else { 6 })?;
                // ".5" is half a second, not five thousandths.
                fields.micros = value * 10_u32.pow(6 - count.min(6) as u32);
            }
            Item::MonthName { short, .. } => {
                let month = take_name(&mut rest, &MONTHS, *short).ok_or_else(|| wrong("a month is missing"))?;
                fields.month = Some(month as u32 + 1);
            }
            Item::DayName { short, .. } => {
                take_name(&mut rest, &DAYS, *short).ok_or_else(|| wrong("a day of the week is missing"))?;
            }
            Item::HalfDay { .. } => {
                let word: String = std::iter::from_fn(|| rest.next_if(|c| c.is_ascii_alphabetic() || *c == '.')).collect();
                fields.afternoon = Some(match word.to_lowercase().as_str() {
                    "am" | "a.m." => false,
                    "pm" | "p.m." => true,
                    _ => return Err(wrong("AM or PM is missing")),
                });
            }
            Item::Quarter
            | Item::IsoWeek
            | Item::WeekOfYear
            | Item::DayOfWeek
            | Item::YearWithComma
            | Item::IsoYear(_)
            | Item::Era { .. }
            | Item::RomanMonth { .. }
            | Item::Ordinal { .. }
            | Item::Zone
            | Item::IsoDayOfWeek
            | Item::WeekOfMonth
            | Item::JulianDay
            | Item::Century => {
                return Err(Error::not_supported("reading a date by week, quarter, century or zone", "use YYYY, MM and DD"));
            }
        }
    }
    if rest.next().is_some() {
        return Err(wrong("there is more text than pattern"));
    }
    fields
        .moment(strict)
        .ok_or_else(|| Error::new(ErrorKind::DatetimeOutOfRange, format!("\"{text}\" is not a date and time that exists")))
}

impl Fields {
    /// Where it is not strict, days behind a month's last are in the next one, hours behind a day's last in the next day, and so on.
    fn moment(&self, strict: bool) -> Option<NaiveDateTime> {
        let year = self.year.unwrap_or(1);
        let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        let date = match self.day_of_year {
            Some(day) if strict => NaiveDate::from_yo_opt(year, day)?,
            Some(day) => NaiveDate::from_yo_opt(year, 1)?.checked_add_days(Days::new(day.checked_sub(1)?.into()))?,
            None if strict => NaiveDate::from_ymd_opt(year, month, day)?,
            None => {
                let first = NaiveDate::from_ymd_opt(year, 1, 1)?.checked_add_months(Months::new(month.checked_sub(1)?))?;
                first.checked_add_days(Days::new(day.checked_sub(1)?.into()))?
            }
        };
        let hour = match self.afternoon {
            Some(_) if !(1..=12).contains(&self.hour) => return None,
            Some(afternoon) => self.hour % 12 + if afternoon { 12 } else { 0 },
            None => self.hour,
        };
        if strict {
            return Some(date.and_time(NaiveTime::from_hms_micro_opt(hour, self.minute, self.second, self.micros)?));
        }
        let seconds = u64::from(hour) * 3600 + u64::from(self.minute) * 60 + u64::from(self.second);
        date.and_time(NaiveTime::MIN)
            .checked_add_signed(Duration::seconds(seconds as i64) + Duration::microseconds(self.micros.into()))
    }
}

/// Any separator may stand for another, and may be missing.
fn skip_literal(rest: &mut Peekable<Chars<'_>>, literal: &str) {
    for expected in literal.chars() {
        if expected.is_alphanumeric() {
            rest.next_if_eq(&expected);
        } else {
            rest.next_if(|found| !found.is_alphanumeric());
        }
    }
}

/// At most so many digits: their value, and how many there were.
fn take_number(rest: &mut Peekable<Chars<'_>>, most: usize) -> Option<(u32, usize)> {
    while rest.next_if(|c| c.is_whitespace()).is_some() {}
    let mut digits = String::new();
    while digits.len() < most
        && let Some(digit) = rest.next_if(char::is_ascii_digit)
    {
        digits.push(digit);
    }
    Some((digits.parse().ok()?, digits.len()))
}

fn take_name(rest: &mut Peekable<Chars<'_>>, names: &[&str], short: bool) -> Option<usize> {
    let mut word = String::new();
    while (!short || word.len() < 3)
        && let Some(letter) = rest.next_if(char::is_ascii_alphabetic)
    {
        word.push(letter.to_ascii_lowercase());
    }
    names.iter().position(|name| if short { word.len() == 3 && name.starts_with(&word) } else { *name == word })
}

//! Arithmetic with dates: DATEADD, DATEDIFF, ADD_MONTHS, MONTHS_BETWEEN, LAST_DAY, NEXT_DAY, CONVERT_TIMEZONE.

use super::{DatePart, Function, MICROSECOND, downcast, is_text, no_such_call};
use crate::assign::Zone;
use crate::time_units::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND};
use crate::{Error, ErrorKind, Result};
use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Float64Array, Int64Array, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, Weekday};
use std::sync::Arc;

/// Weeks begin on Sunday; day 0 of the epoch was a Thursday.
const DAYS_FROM_SUNDAY_TO_EPOCH: i64 = 4;
/// What MONTHS_BETWEEN takes a month for, in days.
const DAYS_PER_MONTH: f64 = 31.0;

pub(super) fn functions() -> Vec<Function> {
    vec![
        dateadd_function(),
        Function::new("datediff", coerce_datediff, |_| Ok(DataType::Int64), datediff),
        Function::new("add_months", coerce_add_months, |types| Ok(types[0].clone()), add_months),
        Function::new("months_between", coerce_months_between, |_| Ok(DataType::Float64), months_between),
        Function::new("last_day", coerce_last_day, |_| Ok(DataType::Date32), last_day),
        Function::new("next_day", coerce_next_day, |_| Ok(DataType::Date32), next_day),
        Function::new("convert_timezone", coerce_convert_timezone, |_| Ok(MICROSECOND), convert_timezone),
        Function::new("timezone", coerce_timezone, |types| Ok(timezone_type(&types[1])), timezone),
    ]
}

fn dateadd_function() -> Function {
    let mut function = Function::new("dateadd", coerce_dateadd, |types| Ok(types[2].clone()), dateadd);
    // A time with a zone stays one.
    function.describe = Some(|fields, literals| match fields.get(2) {
        Some(when) if matches!(when.data_type(), DataType::Time64(_)) => super::as_first_argument(&fields[2..], literals),
        _ => None,
    });
    function
}

/// The type a date or time is computed with, its zone kept.
pub(super) fn timestamp_of(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Date32 | DataType::Date64 | DataType::Null | DataType::Timestamp(_, None) => Some(MICROSECOND),
        DataType::Timestamp(_, Some(zone)) => Some(DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(zone)))),
        text if is_text(text) => Some(MICROSECOND),
        _ => None,
    }
}

fn is_number(data_type: &DataType) -> bool {
    // A number in quotes is read.
    data_type.is_numeric() || matches!(data_type, DataType::Null | DataType::Utf8)
}

fn coerce_dateadd(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [part, count, DataType::Time32(_) | DataType::Time64(_)] if is_text(part) && is_number(count) => {
            Some(vec![DataType::Utf8, DataType::Int64, DataType::Time64(TimeUnit::Microsecond)])
        }
        [part, count, when] if is_text(part) && is_number(count) => {
            timestamp_of(when).map(|when| vec![DataType::Utf8, DataType::Int64, when])
        }
        _ => None,
    }
    .ok_or_else(|| no_such_call("dateadd", types, "dateadd(month, 1, a_timestamp)"))
}

fn coerce_datediff(types: &[DataType]) -> Result<Vec<DataType>> {
    let wrong = || no_such_call("datediff", types, "datediff(month, a_timestamp, a_later_timestamp)");
    let [part, from, to] = types else { return Err(wrong()) };
    if !is_text(part) {
        return Err(wrong());
    }
    let time = |data_type: &DataType| matches!(data_type, DataType::Time32(_) | DataType::Time64(_));
    if time(from) && time(to) {
        let time = DataType::Time64(TimeUnit::Microsecond);
        return Ok(vec![DataType::Utf8, time.clone(), time]);
    }
    let both = (timestamp_of(from).ok_or_else(wrong)?, timestamp_of(to).ok_or_else(wrong)?);
    // With a zone on one side only, the other is read as UTC.
    let common = if both.0 == both.1 { both.0 } else { DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))) };
    Ok(vec![DataType::Utf8, common.clone(), common])
}

fn coerce_add_months(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [when, count] if is_number(count) => timestamp_of(when).map(|when| vec![when, DataType::Int64]),
        _ => None,
    }
    .ok_or_else(|| no_such_call("add_months", types, "add_months(a_date, 1)"))
}

fn coerce_months_between(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [a, b] if timestamp_of(a).is_some() && timestamp_of(b).is_some() => Ok(vec![MICROSECOND, MICROSECOND]),
        _ => Err(no_such_call("months_between", types, "months_between(a_date, an_earlier_date)")),
    }
}

fn coerce_last_day(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [when] if timestamp_of(when).is_some() => Ok(vec![MICROSECOND]),
        _ => Err(no_such_call("last_day", types, "last_day(a_date)")),
    }
}

fn coerce_next_day(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [when, day] if timestamp_of(when).is_some() && is_text(day) => Ok(vec![MICROSECOND, DataType::Utf8]),
        _ => Err(no_such_call("next_day", types, "next_day(a_date, 'monday')")),
    }
}

fn coerce_convert_timezone(types: &[DataType]) -> Result<Vec<DataType>> {
    let wrong = || no_such_call("convert_timezone", types, "convert_timezone('UTC', 'Asia/Seoul', a_timestamp)");
    let (when, zones) = types.split_last().ok_or_else(wrong)?;
    if !(1..=2).contains(&zones.len()) || !zones.iter().all(is_text) {
        return Err(wrong());
    }
    let mut coerced = vec![DataType::Utf8; zones.len()];
    coerced.push(timestamp_of(when).ok_or_else(wrong)?);
    Ok(coerced)
}

fn coerce_timezone(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [zone, when] if is_text(zone) => timestamp_of(when).map(|when| vec![DataType::Utf8, when]),
        _ => None,
    }
    .ok_or_else(|| no_such_call("timezone", types, "a_timestamp AT TIME ZONE 'Asia/Seoul'"))
}

/// An instant becomes the zone's wall clock, a wall clock an instant.
fn timezone_type(when: &DataType) -> DataType {
    match when {
        DataType::Timestamp(_, Some(_)) => MICROSECOND,
        _ => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))),
    }
}

fn timezone(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let [zone, when] = arguments else { return Err(Error::internal("timezone got too many arguments")) };
    if matches!(when.data_type(), DataType::Timestamp(_, Some(_))) {
        return convert_timezone(&[Arc::clone(zone), Arc::clone(when)]);
    }
    let utc: ArrayRef = Arc::new(StringArray::from(vec!["UTC"; when.len()]));
    let instants = convert_timezone(&[Arc::clone(zone), utc, Arc::clone(when)])?;
    Ok(Arc::new(instants.as_primitive::<TimestampMicrosecondType>().clone().with_timezone("UTC")))
}

fn out_of_range(doing: &str) -> Error {
    Error::new(ErrorKind::DatetimeOutOfRange, format!("{doing}: timestamp out of range"))
}

fn to_civil(micros: i64) -> Result<NaiveDateTime> {
    DateTime::from_timestamp_micros(micros).map(|when| when.naive_utc()).ok_or_else(|| out_of_range("reading a timestamp"))
}

fn from_civil(when: NaiveDateTime) -> i64 {
    when.and_utc().timestamp_micros()
}

fn shift_months(when: NaiveDateTime, months: i64) -> Result<NaiveDateTime> {
    let count = u32::try_from(months.unsigned_abs()).ok().map(Months::new);
    let moved = count.and_then(|count| if months < 0 { when.checked_sub_months(count) } else { when.checked_add_months(count) });
    moved.ok_or_else(|| out_of_range("adding months"))
}

/// So many months after a moment.
pub(super) fn shift_months_of(micros: i64, months: i64) -> Result<i64> {
    match months {
        0 => Ok(micros),
        _ => shift_months(to_civil(micros)?, months).map(from_civil),
    }
}

/// `count` parts after `micros`.
pub(super) fn add(part: DatePart, count: i64, micros: i64) -> Result<i64> {
    let overflow = || out_of_range("dateadd");
    let plus_months = |each: i64| {
        let months = count.checked_mul(each).ok_or_else(overflow)?;
        shift_months(to_civil(micros)?, months).map(from_civil)
    };
    // 29 February of a year that has none is 1 March, as Redshift documents it for years; months end with their own last day.
    let plus_years = |each: i64| {
        let moved = plus_months(each * 12)?;
        let (before, after) = (to_civil(micros)?, to_civil(moved)?);
        let lost = before.day() == 29 && before.month() == 2 && after.day() == 28;
        Ok(if lost { moved + MICROS_PER_DAY } else { moved })
    };
    let plus = |each: i64| count.checked_mul(each).and_then(|delta| micros.checked_add(delta)).ok_or_else(overflow);
    match part {
        DatePart::Millennium => plus_years(1_000),
        DatePart::Century => plus_years(100),
        DatePart::Decade => plus_years(10),
        DatePart::Year => plus_years(1),
        DatePart::Quarter => plus_months(3),
        DatePart::Month => plus_months(1),
        DatePart::Week => plus(7 * MICROS_PER_DAY),
        DatePart::Day => plus(MICROS_PER_DAY),
        DatePart::Hour => plus(MICROS_PER_HOUR),
        DatePart::Minute => plus(MICROS_PER_MINUTE),
        DatePart::Second => plus(MICROS_PER_SECOND),
        DatePart::Millisecond => plus(1_000),
        DatePart::Microsecond => plus(1),
        _ => Err(unfit(part, "dateadd")),
    }
}

fn unfit(part: DatePart, function: &str) -> Error {
    Error::new(ErrorKind::InvalidParameter, format!("date part \"{}\" does not fit {function}", part.name()))
        .with_hint("use year, quarter, month, week, day, hour, minute, second, millisecond or microsecond")
}

/// How many boundaries of a part lie between two moments.
fn difference(part: DatePart, from: i64, to: i64) -> Result<i64> {
    let by = |unit: i64| Ok(to.div_euclid(unit) - from.div_euclid(unit));
    let by_year = |ordinal: fn(NaiveDateTime) -> i64| Ok(ordinal(to_civil(to)?) - ordinal(to_civil(from)?));
    match part {
        // Year 1 begins the first century and the first millennium, year 0 a decade.
        DatePart::Millennium => by_year(|when| (i64::from(when.year()) - 1).div_euclid(1_000)),
        DatePart::Century => by_year(|when| (i64::from(when.year()) - 1).div_euclid(100)),
        DatePart::Decade => by_year(|when| i64::from(when.year()).div_euclid(10)),
        DatePart::Year => by_year(|when| i64::from(when.year())),
        DatePart::Quarter => by_year(|when| i64::from(when.year()) * 4 + i64::from(when.month0() / 3)),
        DatePart::Month => by_year(|when| i64::from(when.year()) * 12 + i64::from(when.month0())),
        DatePart::Week => {
            let week = |micros: i64| (micros.div_euclid(MICROS_PER_DAY) + DAYS_FROM_SUNDAY_TO_EPOCH).div_euclid(7);
            Ok(week(to) - week(from))
        }
        DatePart::Day => by(MICROS_PER_DAY),
        DatePart::Hour => by(MICROS_PER_HOUR),
        DatePart::Minute => by(MICROS_PER_MINUTE),
        DatePart::Second => by(MICROS_PER_SECOND),
        DatePart::Millisecond => by(1_000),
        DatePart::Microsecond => to.checked_sub(from).ok_or_else(|| out_of_range("datediff")),
        _ => Err(unfit(part, "datediff")),
    }
}

/// The part of each row; a constant, as it nearly always is, is read once.
struct Parts<'a> {
    words: &'a StringArray,
    last: Option<(String, DatePart)>,
}

impl<'a> Parts<'a> {
    fn new(array: &'a ArrayRef) -> Result<Self> {
        Ok(Self { words: downcast(array)?, last: None })
    }

    fn at(&mut self, row: usize) -> Result<Option<DatePart>> {
        if self.words.is_null(row) {
            return Ok(None);
        }
        let word = self.words.value(row);
        match &self.last {
            Some((last, part)) if last == word => Ok(Some(*part)),
            _ => {
                let part = DatePart::parse(word)?;
                self.last = Some((word.to_owned(), part));
                Ok(Some(part))
            }
        }
    }
}

fn timestamps(array: &ArrayRef) -> Result<&TimestampMicrosecondArray> {
    array
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| Error::internal(format!("a function got a column of {}", array.data_type())))
}

/// An array of microseconds with the zone of `like`.
fn with_zone_of(values: Vec<Option<i64>>, like: &ArrayRef) -> ArrayRef {
    let zone = match like.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    Arc::new(TimestampMicrosecondArray::from(values).with_timezone_opt(zone))
}

fn dateadd(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let mut parts = Parts::new(&arguments[0])?;
    let counts: &Int64Array = downcast(&arguments[1])?;
    if let DataType::Time64(_) = arguments[2].data_type() {
        return add_to_times(&mut parts, counts, downcast(&arguments[2])?);
    }
    let moments = timestamps(&arguments[2])?;
    let values = (0..moments.len()).map(|row| match (parts.at(row)?, counts.is_valid(row) && moments.is_valid(row)) {
        (Some(part), true) => add(part, counts.value(row), moments.value(row)).map(Some),
        _ => Ok(None),
    });
    Ok(with_zone_of(values.collect::<Result<_>>()?, &arguments[2]))
}

/// A time of day goes round at midnight and has no days.
fn add_to_times(parts: &mut Parts<'_>, counts: &Int64Array, times: &Time64MicrosecondArray) -> Result<ArrayRef> {
    let values = (0..times.len()).map(|row| match (parts.at(row)?, counts.is_valid(row) && times.is_valid(row)) {
        (Some(part), true) => {
            let fits = matches!(
                part,
                DatePart::Hour | DatePart::Minute | DatePart::Second | DatePart::Millisecond | DatePart::Microsecond
            );
            if !fits {
                return Err(unfit(part, "dateadd of a time of day"));
            }
            add(part, counts.value(row), times.value(row)).map(|micros| Some(micros.rem_euclid(MICROS_PER_DAY)))
        }
        _ => Ok(None),
    });
    Ok(Arc::new(Time64MicrosecondArray::from(values.collect::<Result<Vec<_>>>()?)))
}

pub(super) fn datediff(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let mut parts = Parts::new(&arguments[0])?;
    let micros = |array: &ArrayRef| -> Result<Vec<Option<i64>>> {
        match array.data_type() {
            DataType::Time64(_) => Ok(downcast::<Time64MicrosecondArray>(array)?.iter().collect()),
            _ => Ok(timestamps(array)?.iter().collect()),
        }
    };
    let (from, to) = (micros(&arguments[1])?, micros(&arguments[2])?);
    let values = from.into_iter().zip(to).enumerate().map(|(row, both)| match (parts.at(row)?, both) {
        (Some(part), (Some(from), Some(to))) => difference(part, from, to).map(Some),
        _ => Ok(None),
    });
    Ok(Arc::new(Int64Array::from(values.collect::<Result<Vec<_>>>()?)))
}

fn is_last_of_month(when: NaiveDate) -> bool {
    when.succ_opt().is_none_or(|next| next.month() != when.month())
}

fn last_of_month(when: NaiveDate) -> Result<NaiveDate> {
    let first = when.with_day(1).and_then(|first| first.checked_add_months(Months::new(1)));
    first.and_then(|first| first.pred_opt()).ok_or_else(|| out_of_range("last_day"))
}

/// The last day of a month stays the last day.
pub(super) fn add_months(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let moments = timestamps(&arguments[0])?;
    let counts: &Int64Array = downcast(&arguments[1])?;
    let values = moments.iter().zip(counts.iter()).map(|row| {
        let (Some(micros), Some(months)) = row else { return Ok(None) };
        let when = to_civil(micros)?;
        let moved = shift_months(when, months)?;
        let date = if is_last_of_month(when.date()) { last_of_month(moved.date())? } else { moved.date() };
        Ok(Some(from_civil(date.and_time(moved.time()))))
    });
    Ok(with_zone_of(values.collect::<Result<_>>()?, &arguments[0]))
}

fn months_between(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (left, right) = (timestamps(&arguments[0])?, timestamps(&arguments[1])?);
    let values = left.iter().zip(right.iter()).map(|row| {
        let (Some(a), Some(b)) = row else { return Ok(None) };
        let (a, b) = (to_civil(a)?, to_civil(b)?);
        let months = f64::from((a.year() - b.year()) * 12 + a.month0() as i32 - b.month0() as i32);
        if a.day() == b.day() || is_last_of_month(a.date()) && is_last_of_month(b.date()) {
            return Ok(Some(months));
        }
        let day = |when: NaiveDateTime| {
            f64::from(when.day()) + (when.time() - NaiveTime::MIN).num_microseconds().unwrap_or(0) as f64 / MICROS_PER_DAY as f64
        };
        Ok(Some(months + (day(a) - day(b)) / DAYS_PER_MONTH))
    });
    Ok(Arc::new(Float64Array::from(values.collect::<Result<Vec<_>>>()?)))
}

fn to_date32(date: NaiveDate) -> i32 {
    date.signed_duration_since(NaiveDate::default()).num_days() as i32
}

fn last_day(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let values = timestamps(&arguments[0])?.iter().map(|micros| match micros {
        Some(micros) => last_of_month(to_civil(micros)?.date()).map(|date| Some(to_date32(date))),
        None => Ok(None),
    });
    Ok(Arc::new(Date32Array::from(values.collect::<Result<Vec<_>>>()?)))
}

fn next_day(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let days: &StringArray = downcast(&arguments[1])?;
    let values = timestamps(&arguments[0])?.iter().zip(days.iter()).map(|row| {
        let (Some(micros), Some(name)) = row else { return Ok(None) };
        let wanted = weekday(name)?;
        let date = to_civil(micros)?.date();
        let ahead = (wanted.num_days_from_monday() + 6 - date.weekday().num_days_from_monday()) % 7 + 1;
        date.checked_add_days(Days::new(u64::from(ahead)))
            .map(|date| Some(to_date32(date)))
            .ok_or_else(|| out_of_range("next_day"))
    });
    Ok(Arc::new(Date32Array::from(values.collect::<Result<Vec<_>>>()?)))
}

/// `monday`, `mon`, `mo`, `m`; `t` and `s` stand for the first day they fit, Tuesday and Sunday.
fn weekday(name: &str) -> Result<Weekday> {
    use Weekday::*;
    let lower = name.trim().to_lowercase();
    let names = [
        (Sun, "sunday"),
        (Mon, "monday"),
        (Tue, "tuesday"),
        (Wed, "wednesday"),
        (Thu, "thursday"),
        (Fri, "friday"),
        (Sat, "saturday"),
    ];
    let fits = |full: &str| !lower.is_empty() && full.starts_with(&lower);
    names.into_iter().find(|(_, full)| fits(full)).map(|(day, _)| day).ok_or_else(|| {
        Error::new(ErrorKind::InvalidParameter, format!("\"{name}\" is not a day of the week"))
            .with_hint("write it in English: 'monday'")
    })
}

/// Zones that rows have named.
#[derive(Default)]
struct KnownZones(Vec<(String, Zone)>);

impl KnownZones {
    fn get(&mut self, name: &str) -> Result<&Zone> {
        let place = match self.0.iter().position(|(seen, _)| seen == name) {
            Some(place) => place,
            None => {
                self.0.push((name.to_owned(), Zone::parse(name)?));
                self.0.len() - 1
            }
        };
        Ok(&self.0[place].1)
    }
}

fn convert_timezone(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (moments, zones) = match arguments {
        [to, moments] => (moments, (None, downcast::<StringArray>(to)?)),
        [from, to, moments] => (moments, (Some(downcast::<StringArray>(from)?), downcast::<StringArray>(to)?)),
        _ => return Err(Error::internal("convert_timezone got too many arguments")),
    };
    let too_far = || out_of_range("convert_timezone");
    // An instant has no source zone: it is one already.
    let is_instant = matches!(moments.data_type(), DataType::Timestamp(_, Some(_)));
    let mut known = KnownZones::default();
    let values = timestamps(moments)?.iter().enumerate().map(|(row, micros)| {
        let (from, to) = zones;
        let Some(micros) = micros.filter(|_| to.is_valid(row) && from.is_none_or(|from| from.is_valid(row))) else {
            return Ok(None);
        };
        let instant = match from {
            Some(from) if !is_instant => known.get(from.value(row))?.to_instant(micros).ok_or_else(too_far)?,
            _ => micros,
        };
        known.get(to.value(row))?.to_local(instant).map(Some).ok_or_else(too_far)
    });
    Ok(Arc::new(TimestampMicrosecondArray::from(values.collect::<Result<Vec<_>>>()?)))
}

//! What functions and casts of timestamps with time zone mean in a session whose zone is not UTC. The zone is their first argument: nodes know
//! nothing of sessions.

use super::calendar::{add, add_months, datediff, shift_months_of};
use super::extract::{date_trunc, extract_float, extract_whole};
use super::format::{to_char_with, to_timestamp_with};
use super::text::to_text;
use super::{DatePart, Function, downcast, is_text, no_such_call};
use crate::assign::{Fault, TextFormats, UTC, Zone, parse_column};
use crate::time_units::{MICROS_PER_DAY, NANOS_PER_MICRO};
use crate::{Error, ErrorKind, Result, SqlType};
use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, IntervalMonthDayNanoArray, StringArray, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, IntervalUnit, TimeUnit, TimestampMicrosecondType};
use std::sync::Arc;

/// `timezone(zone, x)`: AT TIME ZONE, which a cast between timestamps with and without time zone becomes.
pub const IN_ZONE: &str = "timezone";

/// Functions that have a form with a zone, and that form's name; the other arguments stay in their order.
const ZONED: &[(&str, &str)] = &[
    (super::TO_TEXT, "slipher_text_in"),
    ("slipher_parse_timestamptz", "slipher_parse_timestamptz_in"),
    (super::EXTRACT, "slipher_extract_in"),
    (super::EXTRACT_EPOCH, "slipher_extract_in"),
    (super::DATE_PART, "slipher_date_part_in"),
    (super::DATE_TRUNC, "slipher_date_trunc_in"),
    ("dateadd", "slipher_dateadd_in"),
    ("datediff", "slipher_datediff_in"),
    ("add_months", "slipher_add_months_in"),
    ("to_char", "slipher_to_char_in"),
    ("to_timestamp", "slipher_to_timestamp_in"),
];

/// `slipher_plus_in(zone, x, interval)`: months and days are those of the zone's calendar.
pub const PLUS_IN: &str = "slipher_plus_in";
/// `slipher_minus_in(zone, x, interval)`.
pub const MINUS_IN: &str = "slipher_minus_in";

/// The form with a zone of a function that depends on it, where an argument of this type has one.
pub fn zoned_form(name: &str, arguments: &[DataType]) -> Option<&'static str> {
    let zoned = arguments.iter().any(|argument| matches!(argument, DataType::Timestamp(_, Some(_))));
    let reads = matches!(name, "slipher_parse_timestamptz" | "to_timestamp");
    let (_, form) = ZONED.iter().find(|(plain, _)| *plain == name && (zoned || reads))?;
    Some(form)
}

pub(super) fn functions() -> Vec<Function> {
    let instant = |_: &[DataType]| Ok(instant_type());
    let mut text = Function::new("slipher_text_in", coerce_as_given, |_| Ok(DataType::Utf8View), text_in);
    text.describe = Some(|fields, literals| super::text::describe_to_text(fields.get(1..)?, literals.get(1..)?));
    vec![
        text,
        Function::new("slipher_parse_timestamptz_in", coerce_as_given, instant, parse_in),
        Function::new("slipher_extract_in", coerce_as_given, |_| Ok(DataType::Float64), extract_in),
        Function::new("slipher_date_part_in", coerce_as_given, |_| Ok(DataType::Float64), date_part_in),
        Function::new("slipher_date_trunc_in", coerce_as_given, instant, date_trunc_in),
        Function::new("slipher_dateadd_in", coerce_as_given, instant, dateadd_in),
        Function::new("slipher_datediff_in", coerce_as_given, |_| Ok(DataType::Int64), datediff_in),
        Function::new("slipher_add_months_in", coerce_as_given, instant, add_months_in),
        Function::new("slipher_to_char_in", coerce_as_given, |_| Ok(DataType::Utf8View), to_char_in),
        Function::new("slipher_to_timestamp_in", coerce_as_given, instant, to_timestamp_in),
        Function::new(PLUS_IN, coerce_interval, instant, |arguments| plus_in(arguments, 1)),
        Function::new(MINUS_IN, coerce_interval, instant, |arguments| plus_in(arguments, -1)),
    ]
}

fn instant_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from(UTC)))
}

/// The arguments were brought to their types before the function got its zone.
fn coerce_as_given(types: &[DataType]) -> Result<Vec<DataType>> {
    Ok(types.to_vec())
}

fn coerce_interval(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [zone, when, DataType::Interval(_)] if is_text(zone) && matches!(when, DataType::Timestamp(..)) => {
            Ok(vec![DataType::Utf8, instant_type(), DataType::Interval(IntervalUnit::MonthDayNano)])
        }
        _ => Err(no_such_call(PLUS_IN, types, "a_timestamp + interval '1 day'")),
    }
}

fn out_of_range() -> Error {
    Error::new(ErrorKind::DatetimeOutOfRange, "timestamp out of range")
}

/// The zone, which is the same for all rows, and the other arguments.
fn parts_of(arguments: &[ArrayRef]) -> Result<(Zone, &[ArrayRef])> {
    let (zone, rest) = arguments.split_first().ok_or_else(|| Error::internal("a function got no time zone"))?;
    let names: &StringArray = downcast(zone)?;
    let name = names.iter().flatten().next().unwrap_or(UTC);
    Ok((Zone::parse(name)?, rest))
}

fn instants(array: &ArrayRef) -> Result<&TimestampMicrosecondArray> {
    let known = array.as_primitive_opt::<TimestampMicrosecondType>();
    known.ok_or_else(|| Error::internal(format!("a function got a column of {}", array.data_type())))
}

fn each(array: &ArrayRef, of: impl Fn(i64) -> Option<i64>) -> Result<ArrayRef> {
    let values = instants(array)?.iter().map(|value| value.map(|value| of(value).ok_or_else(out_of_range)).transpose());
    let values = TimestampMicrosecondArray::from(values.collect::<Result<Vec<_>>>()?);
    Ok(Arc::new(values.with_data_type(array.data_type().clone())))
}

/// The zone's wall clock, still said to be in UTC.
fn local(zone: &Zone, array: &ArrayRef) -> Result<ArrayRef> {
    each(array, |instant| zone.to_local(instant))
}

/// The instants of wall clocks that are said to be in UTC.
fn back(zone: &Zone, array: &ArrayRef) -> Result<ArrayRef> {
    each(array, |local| zone.to_instant(local))
}

fn part_of(words: &ArrayRef) -> Result<Option<DatePart>> {
    let words: &StringArray = downcast(words)?;
    words.iter().flatten().next().map(DatePart::parse).transpose()
}

/// Whether a part is one of the day's, which are as long in every zone.
fn is_of_day(part: DatePart) -> bool {
    use DatePart::{Hour, Microsecond, Millisecond, Minute, Second};
    matches!(part, Hour | Minute | Second | Millisecond | Microsecond)
}

fn text_in(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (zone, rest) = parts_of(arguments)?;
    to_text(rest, Some(SqlType::TimestampTz), Some(&zone))
}

fn parse_in(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (zone, rest) = parts_of(arguments)?;
    let [texts] = rest else { return Err(Error::internal("reading a timestamp got too many arguments")) };
    let texts: &StringViewArray = downcast(texts)?;
    let formats = TextFormats { zone: Some(Arc::new(zone)), ..TextFormats::default() };
    let mut refuse = |_: usize, fault: Fault| Err(Error::new(fault.kind, fault.message));
    parse_column(texts.iter(), SqlType::TimestampTz, &formats, &mut refuse)
}

/// How far east of UTC the zone is at each instant, as far as the part asks for it.
fn offsets(zone: &Zone, part: DatePart, array: &ArrayRef) -> Result<Option<ArrayRef>> {
    let of: fn(i32) -> i32 = match part {
        DatePart::TimeZone => |seconds| seconds,
        DatePart::TimeZoneHour => |seconds| seconds / 3_600,
        DatePart::TimeZoneMinute => |seconds| seconds % 3_600 / 60,
        _ => return Ok(None),
    };
    let values = instants(array)?.iter().map(|value| value.map(|instant| f64::from(of(zone.offset_seconds(instant)))));
    Ok(Some(Arc::new(values.collect::<Float64Array>())))
}

fn extracted(arguments: &[ArrayRef], plain: fn(&[ArrayRef]) -> Result<ArrayRef>) -> Result<ArrayRef> {
    let (zone, rest) = parts_of(arguments)?;
    let [words, source] = rest else { return Err(Error::internal("extract got too many arguments")) };
    match part_of(words)? {
        Some(DatePart::Epoch) | None => plain(rest),
        Some(part) => match offsets(&zone, part, source)? {
            Some(offsets) => Ok(offsets),
            None => plain(&[Arc::clone(words), local(&zone, source)?]),
        },
    }
}

fn extract_in(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    extracted(arguments, extract_whole)
}

fn date_part_in(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    extracted(arguments, extract_float)
}

fn date_trunc_in(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (zone, rest) = parts_of(arguments)?;
    let [words, source] = rest else { return Err(Error::internal("date_trunc got too many arguments")) };
    let floors = date_trunc(&[Arc::clone(words), local(&zone, source)?])?;
    if !part_of(words)?.is_some_and(is_of_day) {
        return back(&zone, &floors);
    }
    // The hour that the clocks go back happens twice: what is in the first one stays there.
    let (floors, source) = (instants(&floors)?, instants(source)?);
    let values = floors.iter().zip(source.iter()).map(|pair| match pair {
        (Some(floor), Some(instant)) => {
            let east = zone.to_local(instant).and_then(|local| local.checked_sub(instant));
            east.and_then(|east| floor.checked_sub(east)).map(Some).ok_or_else(out_of_range)
        }
        _ => Ok(None),
    });
    Ok(Arc::new(TimestampMicrosecondArray::from(values.collect::<Result<Vec<_>>>()?).with_timezone(UTC)))
}

fn dateadd_in(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (zone, rest) = parts_of(arguments)?;
    let [words, counts, source] = rest else { return Err(Error::internal("dateadd got too many arguments")) };
    let part = part_of(words)?;
    let counts: &Int64Array = downcast(counts)?;
    let values = instants(source)?.iter().zip(counts.iter()).map(|row| match (part, row) {
        (Some(part), (Some(instant), Some(count))) if is_of_day(part) => add(part, count, instant).map(Some),
        (Some(part), (Some(instant), Some(count))) => {
            let moved = add(part, count, zone.to_local(instant).ok_or_else(out_of_range)?)?;
            zone.to_instant(moved).map(Some).ok_or_else(out_of_range)
        }
        _ => Ok(None),
    });
    Ok(Arc::new(TimestampMicrosecondArray::from(values.collect::<Result<Vec<_>>>()?).with_timezone(UTC)))
}

fn datediff_in(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (zone, rest) = parts_of(arguments)?;
    let [words, from, to] = rest else { return Err(Error::internal("datediff got too many arguments")) };
    match part_of(words)? {
        Some(part) if !is_of_day(part) => datediff(&[Arc::clone(words), local(&zone, from)?, local(&zone, to)?]),
        _ => datediff(rest),
    }
}

fn add_months_in(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (zone, rest) = parts_of(arguments)?;
    let [source, counts] = rest else { return Err(Error::internal("add_months got too many arguments")) };
    back(&zone, &add_months(&[local(&zone, source)?, Arc::clone(counts)])?)
}

fn to_char_in(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (zone, rest) = parts_of(arguments)?;
    to_char_with(rest, Some(&zone))
}

fn to_timestamp_in(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (zone, rest) = parts_of(arguments)?;
    back(&zone, &to_timestamp_with(rest)?)
}

/// Months, then days, then the rest, as PostgreSQL adds them.
fn plus_in(arguments: &[ArrayRef], sign: i64) -> Result<ArrayRef> {
    let (zone, rest) = parts_of(arguments)?;
    let [source, intervals] = rest else { return Err(Error::internal("adding an interval got too many arguments")) };
    let intervals: &IntervalMonthDayNanoArray = downcast(intervals)?;
    let values = instants(source)?.iter().zip(intervals.iter()).map(|row| {
        let (Some(instant), Some(interval)) = row else { return Ok(None) };
        let (months, days) = (sign * i64::from(interval.months), sign * i64::from(interval.days));
        let moved = match (months, days) {
            (0, 0) => Some(instant),
            _ => {
                let local = zone.to_local(instant).ok_or_else(out_of_range)?;
                let local = shift_months_of(local, months)?;
                days.checked_mul(MICROS_PER_DAY).and_then(|days| local.checked_add(days)).and_then(|local| zone.to_instant(local))
            }
        };
        let micros = sign * (interval.nanoseconds / NANOS_PER_MICRO);
        moved.and_then(|moved| moved.checked_add(micros)).map(Some).ok_or_else(out_of_range)
    });
    Ok(Arc::new(TimestampMicrosecondArray::from(values.collect::<Result<Vec<_>>>()?).with_timezone(UTC)))
}

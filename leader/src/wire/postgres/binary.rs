//! Values in PostgreSQL's binary form.

use super::oid;
use crate::wire::values::text::Style;
use crate::wire::values::{Column, ValueType};
use bytes::{BufMut, BytesMut};
use slipher_common::time_units::MICROS_PER_DAY;
use slipher_common::{Error, ErrorKind, Result};

/// Days from 1970 to 2000, where PostgreSQL's day 0 is.
pub(super) const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
pub(super) const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * MICROS_PER_DAY;
/// Decimal digits in one digit of a binary numeric.
pub(super) const NUMERIC_GROUP_DIGITS: usize = 4;
/// Sign field of a binary numeric below zero.
pub(super) const NUMERIC_NEGATIVE: u16 = 0x4000;
/// Length of a NULL.
pub(super) const NULL_LENGTH: i32 = -1;

/// Writes the value of `row`, which is not NULL, without its length.
pub(super) fn write(column: &Column, value_type: &ValueType, row: usize, out: &mut BytesMut) -> Result<()> {
    match column {
        Column::Boolean(values) => out.put_u8(u8::from(values.value(row))),
        Column::SmallInt(values) => out.put_i16(values.value(row)),
        Column::Integer(values) => out.put_i32(values.value(row)),
        Column::BigInt(values) => out.put_i64(values.value(row)),
        Column::Real(values) => out.put_f32(values.value(row)),
        Column::Double(values) => out.put_f64(values.value(row)),
        Column::Decimal(values, scale) => write_numeric(&values.value(row).to_string(), *scale, out)?,
        Column::WideDecimal(values, scale) => write_numeric(&values.value(row).to_string(), *scale, out)?,
        Column::Text(..) => return write_as_text(column, row, &Style::default(), out),
        Column::Date(values) => {
            out.put_i32(values.value(row).checked_sub(EPOCH_DAYS).ok_or_else(|| out_of_range("date"))?);
        }
        Column::Time(values) => out.put_i64(values.value(row)),
        Column::TimeTz(values) => {
            out.put_i64(values.value(row));
            out.put_i32(0);
        }
        Column::Timestamp(values) | Column::TimestampTz(values) => {
            out.put_i64(values.value(row).checked_sub(EPOCH_MICROS).ok_or_else(|| out_of_range("timestamp"))?);
        }
        Column::Interval(values) => {
            let interval = values.value(row);
            out.put_i64(interval.nanoseconds / 1_000);
            out.put_i32(interval.days);
            out.put_i32(interval.months);
        }
        Column::Bytes(values) => out.put_slice(values.value(row)),
        Column::Array(lists, elements) => {
            let ValueType::Array(element_type) = value_type else {
                return Err(Error::internal("sending an array: its type is not an array's"));
            };
            let offsets = lists.value_offsets();
            write_array(elements, element_type, offsets[row] as usize..offsets[row + 1] as usize, out)?;
        }
    }
    Ok(())
}

/// The text form, which the binary form of strings is.
pub(super) fn write_as_text(column: &Column, row: usize, style: &Style, out: &mut BytesMut) -> Result<()> {
    column.write_text(row, style, out).map_err(|_| Error::internal("writing a value as text failed"))
}

fn out_of_range(sql_type: &str) -> Error {
    Error::new(ErrorKind::DatetimeOutOfRange, format!("sending a {sql_type}: it is outside of the binary form's range"))
        .with_hint("ask for text results, or cast the column to VARCHAR")
}

/// A numeric is a count of base-10000 digits, the weight of the first, a sign, the scale, and the digits.
fn write_numeric(unscaled: &str, scale: i8, out: &mut BytesMut) -> Result<()> {
    let negative = unscaled.starts_with('-');
    let mut digits = unscaled.trim_start_matches('-').to_owned();
    if scale < 0 {
        digits.push_str(&"0".repeat(usize::from(scale.unsigned_abs())));
    }
    let places = usize::try_from(scale).unwrap_or(0);
    // Whole digits and places are filled up to groups of four around the point.
    let whole = digits.len().saturating_sub(places);
    let lead = (NUMERIC_GROUP_DIGITS - whole % NUMERIC_GROUP_DIGITS) % NUMERIC_GROUP_DIGITS;
    let lead = lead + places.saturating_sub(digits.len());
    let trail = (NUMERIC_GROUP_DIGITS - places % NUMERIC_GROUP_DIGITS) % NUMERIC_GROUP_DIGITS;
    let filled = format!("{:0<lead$}{digits}{:0<trail$}", "", "");
    let groups: Vec<u16> = filled
        .as_bytes()
        .chunks(NUMERIC_GROUP_DIGITS)
        .map(|group| group.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0')))
        .collect();
    let first = groups.iter().position(|group| *group != 0).unwrap_or(groups.len());
    let last = groups.iter().rposition(|group| *group != 0).map_or(first, |last| last + 1);
    let too_long = |_| Error::internal("sending a numeric: too many digits");
    let weight =
        i16::try_from(whole.div_ceil(NUMERIC_GROUP_DIGITS)).map_err(too_long)? - 1 - i16::try_from(first).map_err(too_long)?;
    let zero = first == groups.len();
    out.put_u16(u16::try_from(last - first).map_err(too_long)?);
    out.put_i16(if zero { 0 } else { weight });
    out.put_u16(if negative && !zero { NUMERIC_NEGATIVE } else { 0 });
    out.put_u16(u16::try_from(places).map_err(too_long)?);
    groups[first..last].iter().for_each(|group| out.put_u16(*group));
    Ok(())
}

fn write_array(elements: &Column, element_type: &ValueType, rows: std::ops::Range<usize>, out: &mut BytesMut) -> Result<()> {
    let count = i32::try_from(rows.len()).map_err(|_| Error::new(ErrorKind::ProgramLimit, "sending an array: too long"))?;
    out.put_i32(i32::from(count > 0));
    out.put_i32(i32::from(rows.clone().any(|row| elements.is_null(row))));
    out.put_u32(oid::of_value_type(element_type));
    if count > 0 {
        out.put_i32(count);
        // Lower bound.
        out.put_i32(1);
    }
    for row in rows {
        if elements.is_null(row) {
            out.put_i32(NULL_LENGTH);
        } else {
            with_length(out, |out| write(elements, element_type, row, out))?;
        }
    }
    Ok(())
}

/// Writes what `write` writes with its length in front.
pub(super) fn with_length(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut) -> Result<()>) -> Result<()> {
    let at = out.len();
    out.put_i32(0);
    write(out)?;
    let length = i32::try_from(out.len() - at - 4)
        .map_err(|_| Error::new(ErrorKind::ProgramLimit, "sending a value: it is longer than 2 GiB"))?;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(unscaled: i128, scale: i8) -> Vec<i16> {
        let mut out = BytesMut::new();
        write_numeric(&unscaled.to_string(), scale, &mut out).unwrap();
        out.chunks(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect()
    }

    #[test]
    fn numerics_have_postgresqls_digits() {
        assert_eq!(numeric(0, 2), [0, 0, 0, 2]);
        assert_eq!(numeric(1230, 2), [2, 0, 0, 2, 12, 3000]);
        assert_eq!(numeric(-123_456_789, 4), [3, 1, 0x4000, 4, 1, 2345, 6789]);
        assert_eq!(numeric(5, 6), [1, -2, 0, 6, 500]);
        assert_eq!(numeric(10_000, 0), [1, 1, 0, 0, 1]);
        assert_eq!(numeric(3, -5), [1, 1, 0, 0, 30]);
    }
}

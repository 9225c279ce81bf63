//! Values as PostgreSQL prints them (DateStyle ISO, zone UTC, IntervalStyle postgres).

use super::Column;
use super::calendar::{CivilDate, MICROS_PER_DAY, MICROS_PER_SECOND};
use super::float::{write_double, write_real};
use arrow::datatypes::IntervalMonthDayNano;
use std::fmt::{self, Write};

/// Zone suffix: every zoned value is shown in UTC.
const UTC_SUFFIX: &str = "+00";
const NANOS_PER_MICRO: i64 = 1_000;
const MONTHS_PER_YEAR: i32 = 12;

impl Column {
    /// Writes the value of `row`, which is not NULL.
    pub fn write_text(&self, row: usize, out: &mut impl Write) -> fmt::Result {
        match self {
            Self::Boolean(values) => out.write_char(if values.value(row) { 't' } else { 'f' }),
            Self::SmallInt(values) => write!(out, "{}", values.value(row)),
            Self::Integer(values) => write!(out, "{}", values.value(row)),
            Self::BigInt(values) => write!(out, "{}", values.value(row)),
            Self::Real(values) => write_real(values.value(row), out),
            Self::Double(values) => write_double(values.value(row), out),
            Self::Decimal(values, scale) => write_decimal(&values.value(row).to_string(), *scale, out),
            Self::WideDecimal(values, scale) => write_decimal(&values.value(row).to_string(), *scale, out),
            Self::Text(values, width) => write_padded(values.value(row), *width, out),
            Self::Date(values) => write_date(i64::from(values.value(row)), out),
            Self::Time(values) => write_time(values.value(row), out),
            Self::TimeTz(values) => {
                write_time(values.value(row), out)?;
                out.write_str(UTC_SUFFIX)
            }
            Self::Timestamp(values) => write_timestamp(values.value(row), "", out),
            Self::TimestampTz(values) => write_timestamp(values.value(row), UTC_SUFFIX, out),
            Self::Interval(values) => write_interval(values.value(row), out),
            Self::Bytes(values) => write_bytes(values.value(row), out),
            Self::Array(lists, elements) => {
                let offsets = lists.value_offsets();
                write_array(elements, offsets[row] as usize..offsets[row + 1] as usize, out)
            }
        }
    }
}

/// Writes an unscaled number with its point `scale` digits from the right.
pub fn write_decimal(unscaled: &str, scale: i8, out: &mut impl Write) -> fmt::Result {
    let digits = unscaled.strip_prefix('-').unwrap_or(unscaled);
    if digits.len() < unscaled.len() {
        out.write_char('-')?;
    }
    let places = usize::from(scale.unsigned_abs());
    if scale <= 0 {
        let zeros = if digits == "0" { 0 } else { places };
        return write!(out, "{digits}{:0<zeros$}", "");
    }
    match digits.len().checked_sub(places) {
        None | Some(0) => write!(out, "0.{digits:0>places$}"),
        Some(whole) => write!(out, "{}.{}", &digits[..whole], &digits[whole..]),
    }
}

/// CHAR is stored without its blanks; its length counts bytes.
fn write_padded(value: &str, width: Option<u32>, out: &mut impl Write) -> fmt::Result {
    let blanks = width.map_or(0, |width| (width as usize).saturating_sub(value.len()));
    write!(out, "{value}{:blanks$}", "")
}

/// Writes a date; years before 1 end in ` BC`.
pub fn write_date(days: i64, out: &mut impl Write) -> fmt::Result {
    let date = CivilDate::from_days(days);
    write_day(date, out)?;
    write_era(date, out)
}

fn write_day(date: CivilDate, out: &mut impl Write) -> fmt::Result {
    let year = if date.year > 0 { date.year } else { 1 - date.year };
    write!(out, "{year:04}-{:02}-{:02}", date.month, date.day)
}

fn write_era(date: CivilDate, out: &mut impl Write) -> fmt::Result {
    if date.year > 0 { Ok(()) } else { out.write_str(" BC") }
}

/// Writes a time of day.
pub fn write_time(micros: i64, out: &mut impl Write) -> fmt::Result {
    let seconds = micros.div_euclid(MICROS_PER_SECOND);
    write!(out, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)?;
    write_fraction(micros.rem_euclid(MICROS_PER_SECOND), out)
}

/// Writes `.123` for 123,000 microseconds and nothing for none.
fn write_fraction(micros: i64, out: &mut impl Write) -> fmt::Result {
    if micros == 0 {
        return Ok(());
    }
    let (mut digits, mut width) = (micros, 6);
    while digits % 10 == 0 {
        digits /= 10;
        width -= 1;
    }
    write!(out, ".{digits:0width$}")
}

/// Writes a timestamp with the suffix of its zone.
pub fn write_timestamp(micros: i64, zone: &str, out: &mut impl Write) -> fmt::Result {
    let date = CivilDate::from_days(micros.div_euclid(MICROS_PER_DAY));
    write_day(date, out)?;
    out.write_char(' ')?;
    write_time(micros.rem_euclid(MICROS_PER_DAY), out)?;
    out.write_str(zone)?;
    write_era(date, out)
}

fn write_interval(interval: IntervalMonthDayNano, out: &mut impl Write) -> fmt::Result {
    let micros = interval.nanoseconds / NANOS_PER_MICRO;
    let parts = [(interval.months / MONTHS_PER_YEAR, "year"), (interval.months % MONTHS_PER_YEAR, "mon"), (interval.days, "day")];
    // A positive part behind a negative one needs its sign to be read back.
    let (mut empty, mut after_negative) = (true, false);
    for (count, name) in parts.into_iter().filter(|(count, _)| *count != 0) {
        let blank = if empty { "" } else { " " };
        let plus = if after_negative && count > 0 { "+" } else { "" };
        let plural = if count == 1 { "" } else { "s" };
        write!(out, "{blank}{plus}{count} {name}{plural}")?;
        (empty, after_negative) = (false, count < 0);
    }
    if micros == 0 && !empty {
        return Ok(());
    }
    let blank = if empty { "" } else { " " };
    let sign = if micros < 0 {
        "-"
    } else if after_negative {
        "+"
    } else {
        ""
    };
    let seconds = micros.unsigned_abs() / MICROS_PER_SECOND.unsigned_abs();
    write!(out, "{blank}{sign}{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)?;
    write_fraction((micros % MICROS_PER_SECOND).abs(), out)
}

fn write_bytes(bytes: &[u8], out: &mut impl Write) -> fmt::Result {
    out.write_str("\\x")?;
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

fn write_array(elements: &Column, rows: std::ops::Range<usize>, out: &mut impl Write) -> fmt::Result {
    out.write_char('{')?;
    let mut element = String::new();
    for (index, row) in rows.enumerate() {
        if index > 0 {
            out.write_char(',')?;
        }
        if elements.is_null(row) {
            out.write_str("NULL")?;
            continue;
        }
        element.clear();
        elements.write_text(row, &mut element)?;
        write_element(&element, out)?;
    }
    out.write_char('}')
}

fn write_element(element: &str, out: &mut impl Write) -> fmt::Result {
    let special = |c: char| matches!(c, '{' | '}' | ',' | '"' | '\\') || c.is_ascii_whitespace() || c == '\u{b}';
    if !element.is_empty() && !element.contains(special) && !element.eq_ignore_ascii_case("null") {
        return out.write_str(element);
    }
    out.write_char('"')?;
    for c in element.chars() {
        if matches!(c, '"' | '\\') {
            out.write_char('\\')?;
        }
        out.write_char(c)?;
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::super::ValueType;
    use super::*;
    use arrow::array::*;
    use arrow::datatypes::{DataType, Field, Int32Type, UInt16Type, i256};
    use slipher_common::SqlType;
    use std::sync::Arc;

    /// The texts of an array's values in a column of `field`.
    fn texts_of(field: &Field, values: ArrayRef) -> Vec<String> {
        let column = Column::new(&ValueType::of_field(field).unwrap(), &values).unwrap();
        (0..values.len())
            .map(|row| {
                let mut text = String::new();
                match column.is_null(row) {
                    true => text.push_str("<null>"),
                    false => column.write_text(row, &mut text).unwrap(),
                }
                text
            })
            .collect()
    }

    fn texts(values: ArrayRef) -> Vec<String> {
        texts_of(&Field::new("c", values.data_type().clone(), true), values)
    }

    #[test]
    fn decimals_keep_their_scale() {
        let decimals = Decimal128Array::from(vec![Some(1230), Some(-5), Some(0), None]).with_precision_and_scale(10, 2).unwrap();
        assert_eq!(texts(Arc::new(decimals)), ["12.30", "-0.05", "0.00", "<null>"]);
        let wide = Decimal256Array::from(vec![i256::from_i128(i128::MIN)]).with_precision_and_scale(76, 39).unwrap();
        assert_eq!(texts(Arc::new(wide)), ["-0.170141183460469231731687303715884105728"]);
        // Counts and ranks of the engine's are BIGINT to a client.
        assert_eq!(texts(Arc::new(UInt64Array::from(vec![i64::MAX as u64]))), ["9223372036854775807"]);
    }

    #[test]
    fn dates_and_times_trim_the_fraction_and_know_bc() {
        let timestamps = vec![1_704_164_645_123_000, 0, -1, -62_167_219_200_000_000 - MICROS_PER_DAY];
        assert_eq!(
            texts(Arc::new(TimestampMicrosecondArray::from(timestamps).with_timezone("UTC"))),
            [
                "2024-01-02 03:04:05.123+00",
                "1970-01-01 00:00:00+00",
                "1969-12-31 23:59:59.999999+00",
                "0002-12-31 00:00:00+00 BC"
            ]
        );
        let extremes = texts(Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN, i64::MAX])));
        assert_eq!(extremes, ["290309-12-21 19:59:05.224192 BC", "294247-01-10 04:00:54.775807"]);
        assert_eq!(texts(Arc::new(Date32Array::from(vec![-719_529]))), ["0002-12-31 BC"]);
        assert_eq!(texts(Arc::new(Time32SecondArray::from(vec![86_399]))), ["23:59:59"]);
        let timetz = SqlType::TimeTz.to_field("t", true);
        assert_eq!(texts_of(&timetz, Arc::new(Time64MicrosecondArray::from(vec![10]))), ["00:00:00.00001+00"]);
    }

    #[test]
    fn char_is_padded_in_bytes_and_other_strings_are_not() {
        let values: ArrayRef = Arc::new(StringViewArray::from(vec![Some("ab"), Some("é"), Some("too long"), None]));
        assert_eq!(texts_of(&SqlType::Char(5).to_field("c", true), Arc::clone(&values)), ["ab   ", "é   ", "too long", "<null>"]);
        assert_eq!(texts_of(&SqlType::VarChar(5).to_field("c", true), values), ["ab", "é", "too long", "<null>"]);
        let dictionary: DictionaryArray<UInt16Type> = vec![Some("x"), None].into_iter().collect();
        assert_eq!(texts(Arc::new(dictionary)), ["x", "<null>"]);
    }

    #[test]
    fn intervals_print_in_postgres_style() {
        let interval = |months, days, nanos| IntervalMonthDayNano::new(months, days, nanos);
        let values = vec![
            interval(14, 3, 14_706_789_000_000),
            interval(0, 0, 0),
            interval(-1, 3, -1_000_000_000),
            interval(-1, 0, 1_000_000_000),
            interval(0, 1, 0),
        ];
        assert_eq!(
            texts(Arc::new(IntervalMonthDayNanoArray::from(values))),
            ["1 year 2 mons 3 days 04:05:06.789", "00:00:00", "-1 mons +3 days -00:00:01", "-1 mons +00:00:01", "1 day"]
        );
        assert_eq!(texts(Arc::new(DurationSecondArray::from(vec![-3_661]))), ["-01:01:01"]);
    }

    #[test]
    fn arrays_quote_what_would_be_read_wrongly() {
        let mut builder = ListBuilder::new(StringBuilder::new());
        builder.append_value([Some("a"), None, Some("null"), Some("b c"), Some("q\"\\"), Some("")]);
        builder.append_value(Vec::<Option<&str>>::new());
        builder.append_null();
        assert_eq!(texts(Arc::new(builder.finish())), [r#"{a,NULL,"null","b c","q\"\\",""}"#, "{}", "<null>"]);
        let numbers = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), Some(vec![Some(3)])]);
        assert_eq!(texts(Arc::new(numbers.slice(1, 1))), ["{3}"]);
        assert_eq!(texts(Arc::new(BinaryArray::from(vec![b"\x00\xff".as_slice()]))), ["\\x00ff"]);
    }

    #[test]
    fn types_without_a_form_are_refused() {
        let fields = vec![Field::new("x", DataType::Int32, true)];
        let error = ValueType::of_field(&Field::new("s", DataType::Struct(fields.into()), true)).unwrap_err();
        assert_eq!(error.sqlstate(), "0A000");
        assert!(error.message.starts_with("column \"s\": "), "{}", error.message);
    }
}

//! Values as clients see them: the text forms of `slipher_common::assign`, and what only rows for clients have.

use super::Column;
use slipher_common::assign::{
    Zone, write_date, write_decimal, write_f32, write_f64, write_instant, write_interval, write_time, write_timestamp,
};
use std::fmt::{self, Write};
use std::sync::Arc;

/// How a session wants its values written.
#[derive(Clone, Debug, Default)]
pub struct Style {
    /// Digits of floats beyond their own (`extra_float_digits`).
    pub extra_float_digits: i32,
    /// The zone of timestamps with time zone; None: UTC.
    pub zone: Option<Arc<Zone>>,
}

impl Column {
    /// Writes the value of `row`, which is not NULL.
    pub fn write_text(&self, row: usize, style: &Style, out: &mut impl Write) -> fmt::Result {
        match self {
            Self::Boolean(values) => out.write_char(if values.value(row) { 't' } else { 'f' }),
            Self::SmallInt(values) => write!(out, "{}", values.value(row)),
            Self::Integer(values) => write!(out, "{}", values.value(row)),
            Self::BigInt(values) => write!(out, "{}", values.value(row)),
            Self::Real(values) => write_f32(out, values.value(row), style.extra_float_digits),
            Self::Double(values) => write_f64(out, values.value(row), style.extra_float_digits),
            Self::Decimal(values, scale) => write_decimal(out, values.value(row), *scale),
            Self::WideDecimal(values, _) => out.write_str(&values.value_as_string(row)),
            Self::Text(values, width) => write_padded(values.value(row), *width, out),
            Self::Date(values) => write_date(out, values.value(row)),
            Self::Time(values) => write_time(out, values.value(row), false),
            Self::TimeTz(values) => write_time(out, values.value(row), true),
            Self::Timestamp(values) => write_timestamp(out, values.value(row)),
            Self::TimestampTz(values) => write_instant(out, values.value(row), style.zone.as_deref()),
            Self::Interval(values) => write_interval(out, values.value(row)),
            Self::Bytes(values) => write_bytes(values.value(row), out),
            Self::Array(lists, elements) => {
                let offsets = lists.value_offsets();
                write_array(elements, offsets[row] as usize..offsets[row + 1] as usize, style, out)
            }
        }
    }
}

/// CHAR is stored without its blanks; its length counts bytes.
fn write_padded(value: &str, width: Option<u32>, out: &mut impl Write) -> fmt::Result {
    let blanks = width.map_or(0, |width| (width as usize).saturating_sub(value.len()));
    write!(out, "{value}{:blanks$}", "")
}

fn write_bytes(bytes: &[u8], out: &mut impl Write) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

fn write_array(elements: &Column, rows: std::ops::Range<usize>, style: &Style, out: &mut impl Write) -> fmt::Result {
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
        elements.write_text(row, style, &mut element)?;
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
    use arrow::datatypes::{DataType, Field, Int32Type, IntervalMonthDayNano, UInt16Type, i256};
    use slipher_common::SqlType;

    /// The texts of an array's values in a column of `field`.
    fn texts_of(field: &Field, values: ArrayRef) -> Vec<String> {
        let column = Column::new(&ValueType::of_field(field).unwrap(), &values).unwrap();
        (0..values.len())
            .map(|row| {
                let mut text = String::new();
                match column.is_null(row) {
                    true => text.push_str("<null>"),
                    false => column.write_text(row, &Style { extra_float_digits: 1, zone: None }, &mut text).unwrap(),
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
        let timestamps = vec![1_704_164_645_123_000, 0, -1, -62_167_219_200_000_000 - 86_400_000_000];
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
        assert_eq!(texts(Arc::new(BinaryArray::from(vec![b"\x00\xff".as_slice()]))), ["00ff"]);
    }

    #[test]
    fn types_without_a_form_are_refused() {
        let fields = vec![Field::new("x", DataType::Int32, true)];
        let error = ValueType::of_field(&Field::new("s", DataType::Struct(fields.into()), true)).unwrap_err();
        assert_eq!(error.sqlstate(), "0A000");
        assert!(error.message.starts_with("column \"s\": "), "{}", error.message);
    }
}

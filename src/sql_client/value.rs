//! Values as text, as psql shows them.

use super::report::Failure;
use arrow::array::{Array, ArrayRef, AsArray as _};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};

const TIMESTAMP_FORMAT: &str = "%Y-%m-%d %H:%M:%S%.f";
const TIMESTAMP_TZ_FORMAT: &str = "%Y-%m-%d %H:%M:%S%.f%:::z";
const TIME_FORMAT: &str = "%H:%M:%S%.f";

/// A column's values as text.
pub(super) enum Values<'a> {
    Bool(&'a ArrayRef),
    Text(&'a ArrayRef),
    Float32(&'a ArrayRef),
    Float64(&'a ArrayRef),
    Other(&'a ArrayRef, Box<ArrayFormatter<'a>>),
}

impl<'a> Values<'a> {
    pub(super) fn new(column: &'a ArrayRef) -> Result<Self, Failure> {
        Ok(match column.data_type() {
            DataType::Boolean => Self::Bool(column),
            DataType::Utf8 => Self::Text(column),
            DataType::Float32 => Self::Float32(column),
            DataType::Float64 => Self::Float64(column),
            _ => {
                const OPTIONS: FormatOptions<'_> = FormatOptions::new()
                    .with_timestamp_format(Some(TIMESTAMP_FORMAT))
                    .with_timestamp_tz_format(Some(TIMESTAMP_TZ_FORMAT))
                    .with_time_format(Some(TIME_FORMAT));
                let formatter = ArrayFormatter::try_new(column.as_ref(), &OPTIONS);
                Self::Other(column, Box::new(formatter.map_err(|error| unreadable(&error.to_string()))?))
            }
        })
    }

    /// The text of a value; `None` for NULL.
    pub(super) fn text(&self, row: usize) -> Result<Option<String>, Failure> {
        let (Self::Bool(column) | Self::Text(column) | Self::Float32(column) | Self::Float64(column) | Self::Other(column, _)) =
            self;
        if column.is_null(row) {
            return Ok(None);
        }
        Ok(Some(match self {
            Self::Bool(column) => if column.as_boolean().value(row) { "t" } else { "f" }.to_owned(),
            Self::Text(column) => column.as_string::<i32>().value(row).to_owned(),
            Self::Float32(column) => column.as_primitive::<Float32Type>().value(row).to_string(),
            Self::Float64(column) => float_text(column.as_primitive::<Float64Type>().value(row)),
            Self::Other(column, formatter) => {
                let text = formatter.value(row).try_to_string().map_err(|error| unreadable(&error.to_string()))?;
                match column.data_type() {
                    DataType::Timestamp(..) | DataType::Time64(_) | DataType::Time32(_) => without_zeros(&text),
                    _ => text,
                }
            }
        }))
    }
}

fn unreadable(why: &str) -> Failure {
    Failure::Connection(format!("reading a value the server sent: {why}"))
}

fn float_text(value: f64) -> String {
    match value.abs() {
        // Many digits say nothing.
        size if size.is_finite() && size != 0.0 && !(1e-5..1e16).contains(&size) => format!("{value:e}"),
        size if size.is_infinite() => if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        _ => value.to_string(),
    }
}

/// `12:00:00.500000+00` as `12:00:00.5+00`.
fn without_zeros(text: &str) -> String {
    let Some((whole, rest)) = text.split_once('.') else { return text.to_owned() };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let digits = rest[..end].trim_end_matches('0');
    let point = if digits.is_empty() { "" } else { "." };
    format!("{whole}{point}{digits}{}", &rest[end..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, TimestampMicrosecondArray};
    use std::sync::Arc;

    fn texts(column: ArrayRef) -> Vec<Option<String>> {
        let values = Values::new(&column).unwrap();
        (0..column.len()).map(|row| values.text(row).unwrap()).collect()
    }

    #[test]
    fn values_look_as_in_psql() {
        let micros = vec![Some(1_500_000), None, Some(0)];
        let plain: ArrayRef = Arc::new(TimestampMicrosecondArray::from(micros.clone()));
        let expected = [Some("1970-01-01 00:00:01.5".to_owned()), None, Some("1970-01-01 00:00:00".to_owned())];
        assert_eq!(texts(plain), expected);
        let zoned: ArrayRef = Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC"));
        assert_eq!(texts(zoned)[0].as_deref(), Some("1970-01-01 00:00:01.5+00"));
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 0.1, 1e300, f64::NEG_INFINITY]));
        assert_eq!(texts(floats), ["1", "0.1", "1e300", "-Infinity"].map(|text| Some(text.to_owned())));
    }
}

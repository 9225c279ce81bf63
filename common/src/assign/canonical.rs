//! The engine's and files' many Arrow types as the few that columns have.

use super::fault::{Fault, OnFault};
use super::numbers::map;
use crate::error::Result;
use crate::numeric::canonical_floats;
use crate::sql_type::SqlType;
use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, StringViewBuilder};
use arrow::datatypes::*;
use std::sync::Arc;

/// The canonical counterpart of a type: strings are `Utf8View` (binaries too: files often do not say that theirs are text), integers
/// have 16, 32 or 64 bits with sign, floats 32 or 64, decimals 128 or 256; times and timestamps are in microseconds, those with a
/// zone in UTC. Types that no column can take stay as they are.
pub fn canonical_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => canonical_type(value),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            DataType::Utf8View
        }
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => DataType::Decimal128(*precision, *scale),
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(_, None) => SqlType::Timestamp.to_arrow(),
        DataType::Timestamp(_, Some(_)) => SqlType::TimestampTz.to_arrow(),
        other => other.clone(),
    }
}

/// A file's schema as load plans carry it: canonical types, everything nullable, no metadata. Leader and compute node both derive
/// it from the schema that the Parquet reader gives by default (with the embedded Arrow schema), so that they agree.
pub fn normalize_load_schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| Field::new(field.name(), canonical_type(field.data_type()), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// An array in its [`canonical_type`].
pub fn canonical(array: &ArrayRef, on_fault: OnFault<'_>) -> Result<ArrayRef> {
    let from = array.data_type();
    let to = canonical_type(from);
    if *from == to {
        return Ok(canonical_floats(Arc::clone(array)));
    }
    match from {
        DataType::Dictionary(_, value) => canonical(&arrow::compute::cast(array, value)?, on_fault),
        DataType::Date64 => {
            let array = array.as_primitive::<Date64Type>();
            let days = |millis: i64| i32::try_from(millis.div_euclid(86_400_000)).ok();
            map::<_, Date32Type>(array, SqlType::Date, days, show_number, on_fault)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Ok(Arc::new(array.as_primitive::<TimestampMicrosecondType>().clone().with_data_type(to)))
        }
        DataType::Timestamp(unit, zone) => {
            let target = if zone.is_some() { SqlType::TimestampTz } else { SqlType::Timestamp };
            timestamp_micros(array, *unit, target, on_fault)
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            let micros: PrimitiveArray<Time64MicrosecondType> =
                array.as_primitive::<Time64NanosecondType>().unary(|nanos| nanos / 1000);
            Ok(Arc::new(micros))
        }
        // What is left is widening, and bytes that must be checked to be UTF-8.
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => utf8_of_binary(array, on_fault),
        _ => Ok(canonical_floats(arrow::compute::cast(array, &to)?)),
    }
}

fn show_number(out: &mut String, value: i64) {
    out.push_str(&value.to_string());
}

fn timestamp_micros(array: &ArrayRef, unit: TimeUnit, target: SqlType, on_fault: OnFault<'_>) -> Result<ArrayRef> {
    type Micros = TimestampMicrosecondType;
    match unit {
        TimeUnit::Second => {
            let array = array.as_primitive::<TimestampSecondType>();
            map::<_, Micros>(array, target, |value| value.checked_mul(1_000_000), show_number, on_fault)
        }
        TimeUnit::Millisecond => {
            let array = array.as_primitive::<TimestampMillisecondType>();
            map::<_, Micros>(array, target, |value| value.checked_mul(1000), show_number, on_fault)
        }
        TimeUnit::Nanosecond => {
            let array = array.as_primitive::<TimestampNanosecondType>();
            map::<_, Micros>(array, target, |value| Some(value.div_euclid(1000)), show_number, on_fault)
        }
        TimeUnit::Microsecond => Ok(Arc::clone(array)),
    }
}

/// Nothing that is not UTF-8 becomes a string: whoever reads it later relies on that.
fn utf8_of_binary(array: &ArrayRef, on_fault: OnFault<'_>) -> Result<ArrayRef> {
    let bytes = arrow::compute::cast(array, &DataType::BinaryView)?;
    let bytes = bytes.as_binary_view();
    if let Ok(texts) = bytes.clone().to_string_view() {
        return Ok(Arc::new(texts));
    }
    let mut texts = StringViewBuilder::with_capacity(bytes.len());
    for (row, value) in bytes.iter().enumerate() {
        match value.map(std::str::from_utf8) {
            Some(Ok(text)) => texts.append_value(text),
            Some(Err(error)) => {
                on_fault(row, Fault::not_utf8(value.unwrap_or_default(), error.valid_up_to()))?;
                texts.append_null();
            }
            None => texts.append_null(),
        }
    }
    Ok(Arc::new(texts.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use arrow::array::*;

    #[test]
    fn every_type_gets_the_type_its_schema_says() {
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![Some("a"), None])),
            Arc::new(LargeStringArray::from(vec![Some("a"), None])),
            Arc::new(BinaryArray::from(vec![Some(&b"a"[..]), None])),
            Arc::new(LargeBinaryArray::from(vec![Some(&b"a"[..]), None])),
            Arc::new(BinaryViewArray::from(vec![Some(&b"a"[..]), None])),
            Arc::new(vec![Some("a"), None].into_iter().collect::<DictionaryArray<Int8Type>>()),
            Arc::new(Int8Array::from(vec![Some(-1), None])),
            Arc::new(UInt8Array::from(vec![Some(255), None])),
            Arc::new(UInt32Array::from(vec![Some(u32::MAX), None])),
            Arc::new(UInt64Array::from(vec![Some(u64::MAX), None])),
            Arc::new(Decimal32Array::from(vec![Some(5), None]).with_precision_and_scale(9, 2).unwrap()),
            Arc::new(Date64Array::from(vec![Some(-1), None])),
            Arc::new(Time32SecondArray::from(vec![Some(1), None])),
            Arc::new(Time64NanosecondArray::from(vec![Some(1999), None])),
            Arc::new(TimestampSecondArray::from(vec![Some(-1), None])),
            Arc::new(TimestampNanosecondArray::from(vec![Some(-1), None]).with_timezone("Europe/Berlin")),
        ];
        let text: Vec<String> = arrays
            .iter()
            .map(|array| {
                let out = canonical(array, &mut |_, fault| Err(fault.at("c", "here"))).unwrap();
                assert_eq!(*out.data_type(), canonical_type(array.data_type()));
                assert!(out.is_null(1));
                arrow::util::display::array_value_to_string(&out, 0).unwrap()
            })
            .collect();
        assert_eq!(text[..6], ["a"; 6]);
        assert_eq!(text[6..11], ["-1", "255", "4294967295", "18446744073709551615", "0.05"]);
        assert_eq!(
            text[11..],
            ["1969-12-31", "00:00:01", "00:00:00.000001", "1969-12-31T23:59:59", "1969-12-31T23:59:59.999999Z"]
        );
        let broken: ArrayRef = Arc::new(BinaryArray::from(vec![&b"a"[..], &b"b\xff\xfe"[..]]));
        let error = canonical(&broken, &mut |row, fault| Err(fault.at("c", &format!("row {row}")))).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidEncoding);
        assert_eq!(error.detail.as_deref(), Some("column c, row 1: value \"bytes 0xff 0xfe\""));
        let far: ArrayRef = Arc::new(TimestampSecondArray::from(vec![i64::MAX]));
        let error = canonical(&far, &mut |_, fault| Err(fault.at("c", "here"))).unwrap_err();
        assert_eq!(error.kind, ErrorKind::DatetimeOutOfRange);
    }
}

//! Columns as text.

use super::canonical::canonical;
use super::display::{
    EXTRA_FLOAT_DIGITS_DEFAULT, write_date, write_decimal, write_f32, write_f64, write_instant, write_interval, write_time,
    write_timestamp,
};
use super::super_values::from_super;
use super::zone::Zone;
use crate::error::{Error, Result};
use crate::sql_type::{SqlType, VARCHAR_LENGTH_MAX_BYTES};
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, StringViewBuilder};
use arrow::datatypes::*;
use std::fmt::{self, Write};
use std::sync::Arc;

/// A canonical column as text, in the form that casts, `||`, columns of strings and clients share. `source` tells a time with a zone from
/// one without; those are written in `zone`, or in UTC. Types that no column has are written as the engine writes them.
pub fn text_of(array: &ArrayRef, source: Option<SqlType>, zone: Option<&Zone>) -> Result<ArrayRef> {
    let zoned = matches!(source, Some(SqlType::TimeTz | SqlType::TimestampTz));
    let extra = EXTRA_FLOAT_DIGITS_DEFAULT;
    match array.data_type() {
        DataType::Utf8View => Ok(Arc::clone(array)),
        DataType::Boolean => {
            let values = array.as_boolean();
            written(array, |out, row| out.write_str(if values.value(row) { "true" } else { "false" }))
        }
        DataType::Int16 => each::<Int16Type>(array, |out, value| write!(out, "{value}")),
        DataType::Int32 => each::<Int32Type>(array, |out, value| write!(out, "{value}")),
        DataType::Int64 => each::<Int64Type>(array, |out, value| write!(out, "{value}")),
        DataType::Decimal128(_, scale) => each::<Decimal128Type>(array, |out, value| write_decimal(out, value, *scale)),
        DataType::Decimal256(..) => {
            let values = array.as_primitive::<Decimal256Type>();
            written(array, |out, row| out.write_str(&values.value_as_string(row)))
        }
        DataType::Float32 => each::<Float32Type>(array, |out, value| write_f32(out, value, extra)),
        DataType::Float64 => each::<Float64Type>(array, |out, value| write_f64(out, value, extra)),
        DataType::Date32 => each::<Date32Type>(array, write_date),
        DataType::Time64(TimeUnit::Microsecond) => {
            each::<Time64MicrosecondType>(array, |out, value| write_time(out, value, zoned))
        }
        DataType::Timestamp(TimeUnit::Microsecond, None) => each::<TimestampMicrosecondType>(array, write_timestamp),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            each::<TimestampMicrosecondType>(array, |out, value| write_instant(out, value, zone))
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => each::<IntervalMonthDayNanoType>(array, write_interval),
        // Arrays and objects have none: JSON_SERIALIZE makes it.
        DataType::BinaryView => {
            from_super(array.as_binary_view(), SqlType::VarChar(VARCHAR_LENGTH_MAX_BYTES), &mut |_, _| Ok(()))
        }
        DataType::Binary | DataType::LargeBinary => {
            canonical(array, &mut |row, fault| Err(fault.at("of bytes", &format!("row {}", row + 1))))
        }
        _ => Ok(arrow::compute::cast(array, &DataType::Utf8View)?),
    }
}

fn each<T: ArrowPrimitiveType>(array: &ArrayRef, write: impl Fn(&mut String, T::Native) -> fmt::Result) -> Result<ArrayRef> {
    let values = array.as_primitive::<T>();
    written(array, |out, row| write(out, values.value(row)))
}

fn written(array: &ArrayRef, write: impl Fn(&mut String, usize) -> fmt::Result) -> Result<ArrayRef> {
    let mut builder = StringViewBuilder::with_capacity(array.len());
    let mut text = String::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
            continue;
        }
        text.clear();
        write(&mut text, row).map_err(|_| Error::internal(format!("a value of {} has no text", array.data_type())))?;
        builder.append_value(&text);
    }
    Ok(Arc::new(builder.finish()))
}

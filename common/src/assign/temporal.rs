//! Dates, times and timestamps among each other. The session's time zone is UTC.

use super::display::{write_date, write_timestamp};
use super::fault::OnFault;
use super::numbers::{map, shown};
use crate::error::Result;
use crate::sql_type::SqlType;
use crate::time_units::MICROS_PER_DAY;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::*;
use std::sync::Arc;

/// A canonical date, time or timestamp column (see `canonical`) as `target`. `None`: not such a column, or no such conversion.
pub fn convert(array: &ArrayRef, target: SqlType, on_fault: OnFault<'_>) -> Result<Option<ArrayRef>> {
    Ok(Some(match (array.data_type(), target) {
        (DataType::Date32, SqlType::Date) => Arc::clone(array),
        (DataType::Date32, SqlType::Timestamp | SqlType::TimestampTz) => map::<Date32Type, TimestampMicrosecondType>(
            array.as_primitive(),
            target,
            |days| i64::from(days).checked_mul(MICROS_PER_DAY),
            |out, days| shown(write_date(out, days)),
            on_fault,
        )?,
        (DataType::Timestamp(TimeUnit::Microsecond, _), SqlType::Timestamp | SqlType::TimestampTz) => {
            let array = array.as_primitive::<TimestampMicrosecondType>();
            // The instant stays, only the label changes.
            Arc::new(array.clone().with_data_type(target.to_arrow()))
        }
        (DataType::Timestamp(TimeUnit::Microsecond, _), SqlType::Date) => map::<TimestampMicrosecondType, Date32Type>(
            array.as_primitive(),
            target,
            |micros| i32::try_from(micros.div_euclid(MICROS_PER_DAY)).ok(),
            |out, micros| shown(write_timestamp(out, micros, false)),
            on_fault,
        )?,
        (DataType::Timestamp(TimeUnit::Microsecond, _), SqlType::Time | SqlType::TimeTz) => {
            map::<TimestampMicrosecondType, Time64MicrosecondType>(
                array.as_primitive(),
                target,
                |micros| Some(micros.rem_euclid(MICROS_PER_DAY)),
                |out, micros| shown(write_timestamp(out, micros, false)),
                on_fault,
            )?
        }
        (DataType::Time64(TimeUnit::Microsecond), SqlType::Time | SqlType::TimeTz) => Arc::clone(array),
        _ => return Ok(None),
    }))
}

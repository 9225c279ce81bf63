//! Dates, times and timestamps among each other, in the session's time zone.

use super::display::{write_date, write_timestamp};
use super::fault::OnFault;
use super::numbers::{map, shown};
use super::zone::Zone;
use crate::error::Result;
use crate::sql_type::SqlType;
use crate::time_units::MICROS_PER_DAY;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::*;
use std::sync::Arc;

/// A canonical date, time or timestamp column (see `canonical`) as `target`; wall clocks are those of `zone`, or of UTC. `None`: not such a
/// column, or no such conversion.
pub fn convert(array: &ArrayRef, target: SqlType, zone: Option<&Zone>, on_fault: OnFault<'_>) -> Result<Option<ArrayRef>> {
    let is_instant = matches!(array.data_type(), DataType::Timestamp(_, Some(_)));
    // Of an instant its wall clock, of a wall clock its instant, where the two differ.
    let local = |micros: i64| zone.filter(|_| is_instant).map_or(Some(micros), |zone| zone.to_local(micros));
    let instant = |local: i64| match zone {
        Some(zone) if target == SqlType::TimestampTz && !is_instant => zone.to_instant(local),
        _ => Some(local),
    };
    Ok(Some(match (array.data_type(), target) {
        (DataType::Date32, SqlType::Date) => Arc::clone(array),
        (DataType::Date32, SqlType::Timestamp | SqlType::TimestampTz) => map::<Date32Type, TimestampMicrosecondType>(
            array.as_primitive(),
            target,
            |days| i64::from(days).checked_mul(MICROS_PER_DAY).and_then(instant),
            |out, days| shown(write_date(out, days)),
            on_fault,
        )?,
        (DataType::Timestamp(TimeUnit::Microsecond, _), SqlType::Timestamp | SqlType::TimestampTz) => {
            let values = array.as_primitive::<TimestampMicrosecondType>();
            let moved: ArrayRef = match zone {
                // The instant stays, only the label changes.
                None => Arc::new(values.clone().with_data_type(target.to_arrow())),
                Some(_) if is_instant == (target == SqlType::TimestampTz) => Arc::clone(array),
                Some(_) => map::<TimestampMicrosecondType, TimestampMicrosecondType>(
                    values,
                    target,
                    |micros| if is_instant { local(micros) } else { instant(micros) },
                    |out, micros| shown(write_timestamp(out, micros)),
                    on_fault,
                )?,
            };
            moved
        }
        (DataType::Timestamp(TimeUnit::Microsecond, _), SqlType::Date) => map::<TimestampMicrosecondType, Date32Type>(
            array.as_primitive(),
            target,
            |micros| i32::try_from(local(micros)?.div_euclid(MICROS_PER_DAY)).ok(),
            |out, micros| shown(write_timestamp(out, micros)),
            on_fault,
        )?,
        (DataType::Timestamp(TimeUnit::Microsecond, _), SqlType::Time | SqlType::TimeTz) => {
            map::<TimestampMicrosecondType, Time64MicrosecondType>(
                array.as_primitive(),
                target,
                // A time with a zone is kept in UTC.
                |micros| Some(if target == SqlType::Time { local(micros)? } else { micros }.rem_euclid(MICROS_PER_DAY)),
                |out, micros| shown(write_timestamp(out, micros)),
                on_fault,
            )?
        }
        (DataType::Time64(TimeUnit::Microsecond), SqlType::Time | SqlType::TimeTz) => Arc::clone(array),
        _ => return Ok(None),
    }))
}

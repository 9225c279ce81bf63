//! Casts mean what they mean in loads: text is read in the same way, and a REAL holds what it is given.

use super::implicit::is_timetz;
use super::{call, is_text, reader_of, type_of};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Cast;
use slipher_common::casts::{self, Kind};
use slipher_common::functions::{TO_DOUBLE, TO_REAL, TO_TIME};
use slipher_common::{Error, ErrorKind, SqlType};

/// Moments and times of day with microseconds.
pub(super) fn in_micros(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(_, None) => SqlType::Timestamp.to_arrow(),
        DataType::Timestamp(_, Some(_)) => SqlType::TimestampTz.to_arrow(),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        other => other.clone(),
    }
}

/// The function that makes floats of numbers where the engine's cast does not find the nearest one.
pub(super) fn to_float(source: &DataType, target: &DataType) -> Option<&'static str> {
    match (source, target) {
        (DataType::Float64 | DataType::Decimal128(..), DataType::Float32) => Some(TO_REAL),
        (DataType::Decimal128(..), DataType::Float64) => Some(TO_DOUBLE),
        _ => None,
    }
}

/// Text is read as loads read it; times have microseconds.
pub(super) fn cast_as_loads_do(cast: Cast, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let target = in_micros(cast.field.data_type());
    let source = type_of(&cast.expr, schema);
    if let Some(source) = &source
        && let (Some(from), Some(to)) = (Kind::of_arrow(source), Kind::of_arrow(&target))
        && casts::cast(from, to).is_none()
    {
        let message = format!("cannot cast type {} to {}", from.name(), to.name());
        return Err(Error::new(ErrorKind::CannotCoerce, message).into());
    }
    if source.as_ref().is_some_and(is_text)
        && let Some(reader) = reader_of(&target)
    {
        return reader.read(*cast.expr);
    }
    if let Some(name) = source.and_then(|source| to_float(&source, &target)) {
        return call(name, vec![*cast.expr]);
    }
    // Only its field tells a time with a zone from one without: the engine's cast would leave it one.
    if matches!(target, DataType::Time64(_)) && is_timetz(&cast.expr, schema) {
        return call(TO_TIME, vec![*cast.expr]);
    }
    if target == *cast.field.data_type() {
        return Ok(Transformed::no(Expr::Cast(cast)));
    }
    Ok(Transformed::yes(Expr::Cast(Cast::new(cast.expr, target))))
}

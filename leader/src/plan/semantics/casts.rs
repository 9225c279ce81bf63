//! Casts mean what they mean in loads.

use super::{call, is_text, type_of};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Cast;
use slipher_common::SqlType;
use slipher_common::functions;

/// Text is read as loads read it; times have microseconds.
pub(super) fn cast_as_loads_do(cast: Cast, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let target = match cast.field.data_type() {
        DataType::Time64(TimeUnit::Nanosecond) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(_, Some(_)) => SqlType::TimestampTz.to_arrow(),
        DataType::Timestamp(_, None) => SqlType::Timestamp.to_arrow(),
        other => other.clone(),
    };
    if type_of(&cast.expr, schema).is_some_and(|source| is_text(&source))
        && let Some(name) = functions::text_parser(&target)
    {
        return call(name, vec![*cast.expr]);
    }
    if target == *cast.field.data_type() {
        return Ok(Transformed::no(Expr::Cast(cast)));
    }
    Ok(Transformed::yes(Expr::Cast(Cast::new(cast.expr, target))))
}

//! Casts mean what they mean in loads.

use super::coerced::in_micros;
use super::{call, is_text, type_of};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Cast;
use slipher_common::functions;

/// Text is read as loads read it; times have microseconds.
pub(super) fn cast_as_loads_do(cast: Cast, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let target = in_micros(cast.field.data_type());
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

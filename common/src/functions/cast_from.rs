//! What a cast starts from, under a name that says where it goes to.

use super::{Function, as_first_argument, no_such_call};
use arrow::datatypes::DataType;
use std::sync::Arc;

/// `slipher_cast_from(x, 'type')`: x. The engine calls a cast by the name of what is cast, and knows the results of aggregates, groups and
/// windows by their names: AVG(x) and AVG(x::float) would be the same, and were refused.
pub const CAST_FROM: &str = "slipher_cast_from";

pub(super) fn function() -> Function {
    let as_given = |types: &[DataType]| match types {
        [_, text] if super::is_text(text) => Ok(types.to_vec()),
        _ => Err(no_such_call(CAST_FROM, types, "a value and the name of a type")),
    };
    let mut function = Function::new(CAST_FROM, as_given, |types| Ok(types[0].clone()), |values| Ok(Arc::clone(&values[0])));
    function.describe = Some(as_first_argument);
    function.simplify = Some(|arguments, _| arguments.first().cloned());
    function
}

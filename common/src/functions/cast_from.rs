//! What a cast starts from, under a name that says where it goes to; and what stands where a condition must.

use super::{Function, as_first_argument, no_such_call};
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use std::sync::Arc;

/// `slipher_cast_from(x, 'type')`: x. The engine calls a cast by the name of what is cast, and knows the results of aggregates, groups and
/// windows by their names: AVG(x) and AVG(x::float) would be the same, and were refused.
pub const CAST_FROM: &str = "slipher_cast_from";

/// `slipher_condition(x, 'WHERE')`: x, where WHERE, HAVING and ON have something that may be no condition by its form: a column, a number. The engine would
/// refuse to filter by it before anybody could cast it. The plan takes it away.
pub const CONDITION: &str = "slipher_condition";

pub(super) fn condition() -> Function {
    let as_boolean = |types: &[DataType]| match types {
        [_, clause] if super::is_text(clause) => Ok(types.to_vec()),
        _ => Err(no_such_call(CONDITION, types, "WHERE a_condition")),
    };
    let truth = |values: &[ArrayRef]| Ok(arrow::compute::cast(&values[0], &DataType::Boolean)?);
    let mut function = Function::new(CONDITION, as_boolean, |_| Ok(DataType::Boolean), truth);
    function.simplify = Some(|arguments, data_type| match data_type {
        DataType::Boolean => arguments.first().cloned(),
        _ => None,
    });
    function
}

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

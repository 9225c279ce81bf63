//! Window functions that hand over values of other rows, NTILE, and those that number rows, the same on the leader and on compute nodes.
//!
//! They take the place of the engine's of the same names. What one means is in its name and its arguments alone: the engine keeps
//! IGNORE NULLS, and whether a window was turned round to fit its input's order, in flags that do not travel with a plan. So there is
//! a function of its own for IGNORE NULLS, and none of them is ever turned round. The engine's also want constants where a row may
//! have an offset, a default or a number of its own.

mod nth;
mod ntile;
mod ranks;
mod shift;
#[cfg(test)]
mod tests;

pub use ranks::row_number;

use super::no_such_call;
use crate::{Error, ErrorKind, Result};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{Result as EngineResult, ScalarValue};
use datafusion::logical_expr::type_coercion::binary::type_union_coercion;
use datafusion::logical_expr::{Signature, Volatility, WindowUDF};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use std::sync::{Arc, LazyLock};

/// Every function that knows IGNORE NULLS, and the name it has with it.
const IGNORING_NULLS: &[(&str, &str)] = &[
    ("lag", "lag_ignoring_nulls"),
    ("lead", "lead_ignoring_nulls"),
    ("first_value", "first_value_ignoring_nulls"),
    ("last_value", "last_value_ignoring_nulls"),
    ("nth_value", "nth_value_ignoring_nulls"),
];

/// Every function of this module.
pub fn window_functions() -> &'static [Arc<WindowUDF>] {
    static FUNCTIONS: LazyLock<Vec<Arc<WindowUDF>>> = LazyLock::new(|| {
        let mut all = vec![Arc::new(WindowUDF::new_from_impl(ntile::Ntile::new()))];
        all.extend(ranks::functions());
        for (respecting, ignoring) in IGNORING_NULLS {
            for (name, ignores_nulls) in [(*respecting, false), (*ignoring, true)] {
                all.push(Arc::new(match *respecting {
                    "lag" => WindowUDF::new_from_impl(shift::Shift::new(name, shift::Direction::Back, ignores_nulls)),
                    "lead" => WindowUDF::new_from_impl(shift::Shift::new(name, shift::Direction::Ahead, ignores_nulls)),
                    "first_value" => WindowUDF::new_from_impl(nth::Nth::new(name, nth::Which::First, ignores_nulls)),
                    "last_value" => WindowUDF::new_from_impl(nth::Nth::new(name, nth::Which::Last, ignores_nulls)),
                    _ => WindowUDF::new_from_impl(nth::Nth::new(name, nth::Which::Counted, ignores_nulls)),
                }));
            }
        }
        all
    });
    &FUNCTIONS
}

/// What the window function `name` is with IGNORE NULLS; `None` when it does not have that.
pub fn ignoring_nulls(name: &str) -> Option<Arc<WindowUDF>> {
    let (_, ignoring) = IGNORING_NULLS.iter().find(|(respecting, _)| *respecting == name)?;
    window_functions().iter().find(|function| function.name() == *ignoring).cloned()
}

fn signature() -> Signature {
    Signature::user_defined(Volatility::Immutable)
}

/// What an argument is for all rows, where that is known when the query is planned.
fn constant(argument: &Arc<dyn PhysicalExpr>) -> Option<Option<i64>> {
    match argument.downcast_ref::<Literal>()?.value() {
        ScalarValue::Int64(value) => Some(*value),
        other if other.is_null() => Some(None),
        _ => None,
    }
}

/// BIGINT for an argument that counts rows.
fn whole_number(name: &str, types: &[DataType], index: usize, usage: &str) -> Result<DataType> {
    match &types[index] {
        counted if counted.is_integer() || counted.is_null() => Ok(DataType::Int64),
        _ => Err(no_such_call(name, types, usage)),
    }
}

/// The type that a value and its default have together.
fn common_type(name: &str, types: &[DataType], usage: &str) -> Result<DataType> {
    let (value, default) = (&types[0], &types[2]);
    match (value, default) {
        (one, other) if one == other => Ok(one.clone()),
        (known, DataType::Null) | (DataType::Null, known) => Ok(known.clone()),
        // A literal in quotes has no type of its own.
        (known, DataType::Utf8) => Ok(known.clone()),
        (one, other) if one.is_numeric() && other.is_numeric() || super::is_text(one) && super::is_text(other) => {
            type_union_coercion(one, other).ok_or_else(|| no_such_call(name, types, usage))
        }
        _ => Err(no_such_call(name, types, usage)),
    }
}

fn numbers(column: &ArrayRef) -> Result<&Int64Array> {
    column.as_primitive_opt::<Int64Type>().ok_or_else(|| Error::internal(format!("rows are counted in {}", column.data_type())))
}

fn number_at(column: &ArrayRef, row: usize) -> Result<Option<i64>> {
    let numbers = numbers(column)?;
    Ok((row < numbers.len() && numbers.is_valid(row)).then(|| numbers.value(row)))
}

/// The field of a value of another row: NULL where there is no such row.
fn field_of(input: Option<&FieldRef>, name: &str) -> EngineResult<FieldRef> {
    let field = input.ok_or_else(|| Error::internal(format!("the window function {name} has no argument")))?;
    Ok(Arc::new(Field::clone(field).with_name(name).with_nullable(true)))
}

fn no_value(data_type: &DataType) -> EngineResult<ScalarValue> {
    ScalarValue::try_from(data_type)
}

fn not_positive(kind: ErrorKind, function: &str) -> Error {
    Error::new(kind, format!("argument of {function} must be greater than zero"))
}

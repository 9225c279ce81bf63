//! The value of a scalar subquery that could have had several rows.

use super::{Function, no_such_call};
use crate::{Error, ErrorKind};
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::logical_expr::ScalarUDF;
use std::sync::Arc;

/// `slipher_only_value(value, rows)`: the value; 21000 where it is one of several rows.
const ONLY_VALUE: &str = "slipher_only_value";

/// The function.
pub fn only_value_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(function()))
}

pub(super) fn function() -> Function {
    let as_given = |types: &[DataType]| match types {
        [_, DataType::Int64] => Ok(types.to_vec()),
        _ => Err(no_such_call(ONLY_VALUE, types, "a value and the number of rows")),
    };
    Function::new(
        ONLY_VALUE,
        as_given,
        |types| Ok(types[0].clone()),
        |v| {
            if v[1].as_primitive::<Int64Type>().iter().flatten().any(|rows| rows > 1) {
                return Err(several_rows());
            }
            Ok(Arc::clone(&v[0]))
        },
    )
}

fn several_rows() -> Error {
    let message = "more than one row returned by a subquery used as an expression";
    Error::new(ErrorKind::CardinalityViolation, message)
        .with_hint("aggregate it, or add a condition or LIMIT 1 that leaves one row")
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray};

    #[test]
    fn several_rows_are_an_error_and_no_row_is_null() {
        let values: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
        let compute = function().compute;
        let known: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        assert_eq!(compute(&[Arc::clone(&values), known]).unwrap().as_ref(), values.as_ref());
        let several: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        assert_eq!(compute(&[values, several]).unwrap_err().kind, ErrorKind::CardinalityViolation);
    }
}

//! Arithmetic that fails where the engine's own would wrap around or answer infinity.

use super::{Function, no_such_call};
use crate::{Error, ErrorKind, Result, SqlType};
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;

/// `slipher_add(a, b)`: the sum of two whole numbers; 22003 when it is outside their type.
pub const CHECKED_ADD: &str = "slipher_add";
/// `slipher_subtract(a, b)`: their difference.
pub const CHECKED_SUBTRACT: &str = "slipher_subtract";
/// `slipher_multiply(a, b)`: their product.
pub const CHECKED_MULTIPLY: &str = "slipher_multiply";
/// `slipher_negate(a)`: a whole number with the other sign.
pub const CHECKED_NEGATE: &str = "slipher_negate";
/// `slipher_divide(a, b)`: the quotient of two floats; 22012 when `b` is zero.
pub const CHECKED_DIVIDE: &str = "slipher_divide";
/// `slipher_modulo(a, b)`: the remainder of two floats; 22012 when `b` is zero.
pub const CHECKED_MODULO: &str = "slipher_modulo";

pub(super) fn functions() -> Vec<Function> {
    let first: fn(&[DataType]) -> Result<DataType> = |types| Ok(types[0].clone());
    vec![
        Function::new(CHECKED_ADD, whole, first, |v| in_range(numeric::add(&v[0], &v[1]), &v[0])),
        Function::new(CHECKED_SUBTRACT, whole, first, |v| in_range(numeric::sub(&v[0], &v[1]), &v[0])),
        Function::new(CHECKED_MULTIPLY, whole, first, |v| in_range(numeric::mul(&v[0], &v[1]), &v[0])),
        Function::new(CHECKED_NEGATE, whole, first, |v| in_range(numeric::neg(&v[0]), &v[0])),
        Function::new(CHECKED_DIVIDE, floats, first, |v| {
            refuse_zero(&v[0], &v[1])?;
            Ok(numeric::div(&v[0], &v[1])?)
        }),
        Function::new(CHECKED_MODULO, floats, first, |v| {
            refuse_zero(&v[0], &v[1])?;
            Ok(numeric::rem(&v[0], &v[1])?)
        }),
    ]
}

/// The widest of the arguments' types.
fn whole(types: &[DataType]) -> Result<Vec<DataType>> {
    let widest = [DataType::Int64, DataType::Int32, DataType::Int16].into_iter().find(|wide| types.contains(wide));
    match widest {
        Some(widest) => Ok(vec![widest; types.len()]),
        None => Err(no_such_call("slipher_add", types, "a number + a number")),
    }
}

fn floats(types: &[DataType]) -> Result<Vec<DataType>> {
    let real = types.iter().all(|data_type| *data_type == DataType::Float32);
    Ok(vec![if real { DataType::Float32 } else { DataType::Float64 }; types.len()])
}

fn in_range(result: std::result::Result<ArrayRef, ArrowError>, operand: &ArrayRef) -> Result<ArrayRef> {
    result.map_err(|error| match error {
        ArrowError::ArithmeticOverflow(what) => {
            let name = SqlType::from_arrow(operand.data_type()).map_or_else(|_| "number".to_owned(), |known| known.to_string());
            Error::new(ErrorKind::NumericOutOfRange, format!("{name} out of range")).with_detail(what)
        }
        other => other.into(),
    })
}

fn refuse_zero(dividend: &ArrayRef, divisor: &ArrayRef) -> Result<()> {
    fn any<T: ArrowPrimitiveType<Native: Into<f64>>>(dividend: &ArrayRef, divisor: &ArrayRef) -> bool {
        let values = divisor.as_primitive::<T>().iter().enumerate();
        let mut zeros = values.filter(|(_, value)| value.is_some_and(|value| value.into() == 0.0));
        zeros.any(|(row, _)| dividend.is_valid(row))
    }
    let zero = match divisor.data_type() {
        DataType::Float32 => any::<Float32Type>(dividend, divisor),
        _ => any::<Float64Type>(dividend, divisor),
    };
    if zero { Err(Error::new(ErrorKind::DivisionByZero, "division by zero")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int16Array, Int64Array};
    use std::sync::Arc;

    fn compute(name: &str, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let function = functions().into_iter().find(|function| function.name == name).unwrap();
        (function.compute)(arguments)
    }

    #[test]
    fn overflow_is_an_error_and_nulls_hide_what_is_under_them() {
        let two =
            |a: i64, b: i64| -> [ArrayRef; 2] { [Arc::new(Int64Array::from(vec![a])), Arc::new(Int64Array::from(vec![b]))] };
        assert_eq!(compute(CHECKED_ADD, &two(i64::MAX, 1)).unwrap_err().message, "bigint out of range");
        assert_eq!(compute(CHECKED_SUBTRACT, &two(i64::MIN, 1)).unwrap_err().sqlstate(), "22003");
        assert_eq!(compute(CHECKED_MULTIPLY, &two(i64::MAX, 2)).unwrap_err().sqlstate(), "22003");
        assert_eq!(compute(CHECKED_MULTIPLY, &two(-4, 5)).unwrap().as_primitive::<arrow::datatypes::Int64Type>().value(0), -20);
        let least: ArrayRef = Arc::new(Int16Array::from(vec![i16::MIN]));
        assert_eq!(compute(CHECKED_NEGATE, &[least]).unwrap_err().message, "smallint out of range");
        let hidden: ArrayRef = Arc::new(Int64Array::new(vec![i64::MAX].into(), Some(vec![false].into())));
        assert_eq!(compute(CHECKED_ADD, &[Arc::clone(&hidden), hidden]).unwrap().null_count(), 1);
    }

    #[test]
    fn floats_do_not_divide_by_zero() {
        let column = |values: Vec<Option<f64>>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
        let some = column(vec![Some(1.0), Some(4.0)]);
        assert_eq!(
            compute(CHECKED_DIVIDE, &[some.clone(), column(vec![Some(2.0), Some(-0.0)])]).unwrap_err().sqlstate(),
            "22012"
        );
        assert_eq!(compute(CHECKED_DIVIDE, &[some, column(vec![Some(2.0), None])]).unwrap().null_count(), 1);
        assert_eq!(compute(CHECKED_MODULO, &[column(vec![None]), column(vec![Some(0.0)])]).unwrap().null_count(), 1);
    }
}

//! Arithmetic with Redshift's types of results. It fails where the engine's own would wrap around or answer infinity.

mod decimal;
#[cfg(test)]
mod tests;

use super::{Function, no_such_call};
use crate::numeric::{self, Operation};
use crate::{Error, ErrorKind, Result, SqlType};
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Datum, Scalar};
use arrow::compute::kernels::numeric as kernels;
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Float32Type, Float64Type};
use arrow::error::ArrowError;
use datafusion::common::{Result as EngineResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use decimal::Operand;
use std::fmt::Write;
use std::sync::Arc;

/// `slipher_negate(a)`: a number with the other sign.
pub const CHECKED_NEGATE: &str = "slipher_negate";

pub(super) fn functions() -> Vec<Function> {
    let first: fn(&[DataType]) -> Result<DataType> = |types| Ok(types[0].clone());
    vec![Function::new(CHECKED_NEGATE, signed, first, |v| {
        checked(kernels::neg(&v[0]), v[0].data_type()).map(numeric::canonical_floats)
    })]
}

/// The functions that compute: `slipher_add(a, b)` and so on.
pub(super) fn binary() -> impl Iterator<Item = Arc<ScalarUDF>> {
    Operation::ALL.into_iter().map(|operation| Arc::new(ScalarUDF::new_from_impl(Arithmetic::new(operation))))
}

/// The name of the function that computes.
pub fn arithmetic_function(operation: Operation) -> &'static str {
    match operation {
        Operation::Add => "slipher_add",
        Operation::Subtract => "slipher_subtract",
        Operation::Multiply => "slipher_multiply",
        Operation::Divide => "slipher_divide",
        Operation::Modulo => "slipher_modulo",
    }
}

/// The operation that a function of this name computes.
pub fn arithmetic_operation(name: &str) -> Option<Operation> {
    Operation::ALL.into_iter().find(|operation| arithmetic_function(*operation) == name)
}

/// One operation over numbers of any types.
#[derive(Debug)]
struct Arithmetic {
    operation: Operation,
    signature: Signature,
}

impl Arithmetic {
    fn new(operation: Operation) -> Self {
        Self { operation, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn computation(&self, types: &[DataType]) -> Result<numeric::Computation> {
        let known = match types {
            [left, right] => numeric::computation(self.operation, left, right),
            _ => None,
        };
        let usage = || format!("a number {} a number", self.operation.symbol());
        known.ok_or_else(|| no_such_call(self.name(), types, &usage()))
    }
}

told_apart_by!(Arithmetic, operation);

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        arithmetic_function(self.operation)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Named as the engine names the operator, so that a column has one name wherever it is made.
    fn schema_name(&self, arguments: &[Expr]) -> EngineResult<String> {
        match arguments {
            [left, right] => Ok(chain_name(left, self.operation, right)),
            _ => Ok(self.name().to_owned()),
        }
    }

    fn return_type(&self, types: &[DataType]) -> EngineResult<DataType> {
        Ok(self.computation(types)?.result)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> EngineResult<FieldRef> {
        let types: Vec<DataType> = arguments.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let nullable = arguments.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, nullable)))
    }

    fn coerce_types(&self, types: &[DataType]) -> EngineResult<Vec<DataType>> {
        let computation = self.computation(types)?;
        Ok(vec![computation.left, computation.right])
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let [left, right] = arguments.args.as_slice() else {
            return Err(Error::internal(format!("{} of {} operands", self.name(), arguments.args.len())).into());
        };
        let result = self.computation(&[left.data_type(), right.data_type()])?.result;
        let rows = arguments.number_rows;
        match (left, right) {
            (ColumnarValue::Scalar(null), _) | (_, ColumnarValue::Scalar(null)) if null.is_null() => {
                Ok(ColumnarValue::Scalar(ScalarValue::try_from(&result)?))
            }
            (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)) => {
                let left = ColumnarValue::Array(left.to_array(1)?);
                let answer = compute(self.operation, &left, right, &result, 1)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&answer, 0)?))
            }
            _ => Ok(ColumnarValue::Array(compute(self.operation, left, right, &result, rows)?)),
        }
    }
}

/// The name of `left operation right`. A chain nests on its left side: its links are written one behind the other, not each into the name
/// of the next.
fn chain_name(left: &Expr, operation: Operation, right: &Expr) -> String {
    let mut links = vec![(operation, right)];
    let mut first = left;
    while let Expr::ScalarFunction(call) = first
        && let [left, right] = call.args.as_slice()
        && let Some(operation) = arithmetic_operation(call.name())
    {
        links.push((operation, right));
        first = left;
    }
    let mut name = first.schema_name().to_string();
    for (operation, right) in links.into_iter().rev() {
        // Writing to a string does not fail.
        let _ = write!(name, " {} {}", operation.symbol(), right.schema_name());
    }
    name
}

/// Computes a column; at least one operand is one, and no scalar is NULL.
fn compute(
    operation: Operation,
    left: &ColumnarValue,
    right: &ColumnarValue,
    result: &DataType,
    rows: usize,
) -> Result<ArrayRef> {
    if rows == 0 {
        return Ok(arrow::array::new_empty_array(result));
    }
    if let DataType::Decimal128(..) = result {
        let (left, right) = (side(left)?, side(right)?);
        return Ok(Arc::new(decimal::compute(operation, &left.operand(), &right.operand(), result)?));
    }
    let (left, right) = (datum(left)?, datum(right)?);
    let (left, right) = (left.as_ref(), right.as_ref());
    let float = result.is_floating();
    if float && matches!(operation, Operation::Divide | Operation::Modulo) {
        refuse_zero(left, right)?;
    }
    let answer = match operation {
        Operation::Add => kernels::add(left, right),
        Operation::Subtract => kernels::sub(left, right),
        Operation::Multiply => kernels::mul(left, right),
        Operation::Divide => kernels::div(left, right),
        Operation::Modulo => kernels::rem(left, right),
    };
    let answer = checked(answer, result)?;
    if float {
        refuse_overflow(&answer, left, right, result)?;
    }
    Ok(numeric::canonical_floats(answer))
}

fn datum(value: &ColumnarValue) -> Result<Box<dyn Datum>> {
    Ok(match value {
        ColumnarValue::Array(array) => Box::new(Arc::clone(array)),
        ColumnarValue::Scalar(scalar) => Box::new(scalar.to_scalar()?),
    })
}

/// A decimal operand with what it borrows from.
enum Side {
    Column(ArrayRef),
    One(Scalar<arrow::array::Decimal128Array>),
}

impl Side {
    fn operand(&self) -> Operand<'_> {
        match self {
            Self::Column(array) => Operand::Column(array.as_primitive::<Decimal128Type>()),
            Self::One(scalar) => Operand::One(scalar),
        }
    }
}

fn side(value: &ColumnarValue) -> Result<Side> {
    let array = match value {
        ColumnarValue::Array(array) => Arc::clone(array),
        ColumnarValue::Scalar(scalar) => scalar.to_array()?,
    };
    let decimal = array
        .as_primitive_opt::<Decimal128Type>()
        .ok_or_else(|| Error::internal(format!("a decimal operation got a {}", array.data_type())))?;
    Ok(match value {
        ColumnarValue::Array(_) => Side::Column(array),
        ColumnarValue::Scalar(_) => Side::One(Scalar::new(decimal.clone())),
    })
}

fn signed(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [one] => numeric::number(one).map(|one| vec![one]),
        _ => None,
    }
    .ok_or_else(|| no_such_call(CHECKED_NEGATE, types, "- a number"))
}

/// Overflow is told in the words of the type that overflows.
fn checked(result: std::result::Result<ArrayRef, ArrowError>, data_type: &DataType) -> Result<ArrayRef> {
    result.map_err(|error| match error {
        ArrowError::ArithmeticOverflow(what) => {
            let name = SqlType::from_arrow(data_type).map_or_else(|_| "number".to_owned(), |known| known.to_string());
            Error::new(ErrorKind::NumericOutOfRange, format!("{name} out of range")).with_detail(what)
        }
        ArrowError::DivideByZero => Error::new(ErrorKind::DivisionByZero, "division by zero"),
        other => other.into(),
    })
}

/// Floats would become infinite in silence.
fn refuse_overflow(answer: &ArrayRef, left: &dyn Datum, right: &dyn Datum, result: &DataType) -> Result<()> {
    fn any<T: ArrowPrimitiveType<Native: Into<f64>>>(answer: &ArrayRef, operands: [&dyn Datum; 2]) -> bool {
        let answers = answer.as_primitive::<T>();
        let is_infinite = |row: usize| answers.value(row).into().is_infinite();
        if !(0..answers.len()).any(is_infinite) {
            return false;
        }
        let finite = |operand: &dyn Datum, row: usize| {
            let (values, one) = operand.get();
            values.as_primitive::<T>().value(if one { 0 } else { row }).into().is_finite()
        };
        let overflowed = |row: usize| answers.is_valid(row) && is_infinite(row) && operands.iter().all(|one| finite(*one, row));
        (0..answers.len()).any(overflowed)
    }
    let overflowed = match result {
        DataType::Float32 => any::<Float32Type>(answer, [left, right]),
        _ => any::<Float64Type>(answer, [left, right]),
    };
    match overflowed {
        true => checked(Err(ArrowError::ArithmeticOverflow("the result is too large".to_owned())), result).map(|_| ()),
        false => Ok(()),
    }
}

/// Floats would divide by zero in silence.
fn refuse_zero(dividend: &dyn Datum, divisor: &dyn Datum) -> Result<()> {
    fn any<T: ArrowPrimitiveType<Native: Into<f64>>>(dividend: &dyn Datum, divisor: &dyn Datum) -> bool {
        let ((dividend, one_dividend), (divisor, one)) = (dividend.get(), divisor.get());
        let values = divisor.as_primitive::<T>();
        if !values.values().iter().any(|value| (*value).into() == 0.0) {
            return false;
        }
        let there = |row: usize| one_dividend || dividend.is_valid(row);
        if one {
            return (0..dividend.len()).any(there);
        }
        (0..values.len()).any(|row| values.is_valid(row) && values.value(row).into() == 0.0 && there(row))
    }
    let zero = match divisor.get().0.data_type() {
        DataType::Float32 => any::<Float32Type>(dividend, divisor),
        _ => any::<Float64Type>(dividend, divisor),
    };
    if zero { Err(Error::new(ErrorKind::DivisionByZero, "division by zero")) } else { Ok(()) }
}

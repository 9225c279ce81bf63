//! The types of numbers that are computed from numbers: Redshift's table, in one place.
//!
//! | operands | result |
//! |---|---|
//! | two whole numbers | the wider of both |
//! | a DECIMAL and a whole number | as of two DECIMALs; SMALLINT is DECIMAL(5,0), INTEGER (10,0), BIGINT (19,0) |
//! | DECIMAL ± DECIMAL | scale max(s1, s2), precision max(p1-s1, p2-s2) + 1 + scale |
//! | DECIMAL * DECIMAL | scale s1 + s2, precision p1 + p2 + 1 |
//! | DECIMAL / DECIMAL | scale max(4, s1 + p2 - s2 + 1), precision p1 - s1 + s2 + scale |
//! | DECIMAL % DECIMAL | scale max(s1, s2), precision min(p1-s1, p2-s2) + scale |
//! | two REALs | REAL |
//! | any other pair with a float | DOUBLE PRECISION |
//!
//! Two numbers are compared in the same way ([`compared_as`]). Where they only stand in one column ([`common_type`]), a REAL beside
//! exact numbers stays one.
//!
//! A precision is at most 38. A quotient that needs more gives up digits behind the point, all but four; other results keep
//! their scale, and a value that does not fit is an error. Quotients and averages are cut off behind their last digit.

use crate::sql_type::{DECIMAL_PRECISION_MAX_DIGITS, DECIMAL_SCALE_MAX_DIGITS};
use arrow::array::{ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use std::sync::Arc;

/// Digits behind the point that every quotient has.
const QUOTIENT_SCALE_MIN_DIGITS: u8 = 4;

/// What is computed from two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// a + b
    Add,
    /// a - b
    Subtract,
    /// a * b
    Multiply,
    /// a / b
    Divide,
    /// a % b
    Modulo,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 5] = [Self::Add, Self::Subtract, Self::Multiply, Self::Divide, Self::Modulo];

    /// As it is written between its operands.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
        }
    }
}

/// How a result comes about: the types that the operands are cast to first, and the type of the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Computation {
    /// What the left operand becomes.
    pub left: DataType,
    /// What the right operand becomes.
    pub right: DataType,
    /// What they make.
    pub result: DataType,
}

/// How `left operation right` is computed; `None` where one of them is no number.
pub fn computation(operation: Operation, left: &DataType, right: &DataType) -> Option<Computation> {
    // NULL has the type of what it meets.
    let (left, right) = match (left, right) {
        (DataType::Null, DataType::Null) => (DataType::Int32, DataType::Int32),
        (DataType::Null, known) | (known, DataType::Null) => (number(known)?, number(known)?),
        (left, right) => (number(left)?, number(right)?),
    };
    if is_float(&left) || is_float(&right) {
        let float = if left == right { left } else { DataType::Float64 };
        return Some(Computation { left: float.clone(), right: float.clone(), result: float });
    }
    if let (Some(a), Some(b)) = (whole_bits(&left), whole_bits(&right)) {
        let wider = if a >= b { left } else { right };
        return Some(Computation { left: wider.clone(), right: wider.clone(), result: wider });
    }
    let (one, other) = (as_decimal(&left)?, as_decimal(&right)?);
    let (precision, scale) = decimal_result(operation, one, other);
    let decimal = |(precision, scale): (u8, u8)| DataType::Decimal128(precision, scale as i8);
    Some(Computation { left: decimal(one), right: decimal(other), result: decimal((precision, scale)) })
}

/// The type that two numbers are compared in; `None` where one of them is no number.
///
/// Exact numbers are compared exactly, a float with anything as DOUBLE PRECISION, two REALs as REAL.
pub fn compared_as(left: &DataType, right: &DataType) -> Option<DataType> {
    let (left, right) = (number(left)?, number(right)?);
    match (is_float(&left) || is_float(&right), left == right) {
        (_, true) => Some(left),
        (true, false) => Some(DataType::Float64),
        (false, false) => Some(match exact_digits(&left, &right)? {
            // Both are held, whatever it takes.
            (precision, scale) if precision > DECIMAL_PRECISION_MAX_DIGITS => DataType::Decimal256(precision, scale as i8),
            _ => exact_type(&left, &right)?,
        }),
    }
}

/// The type of a column of numbers of two types, as in CASE, COALESCE, UNION; `None` where one of them is no number.
///
/// A float beside exact numbers keeps its type.
pub fn common_type(left: &DataType, right: &DataType) -> Option<DataType> {
    let (left, right) = (number(left)?, number(right)?);
    match [&left, &right] {
        [DataType::Float64, _] | [_, DataType::Float64] => Some(DataType::Float64),
        [DataType::Float32, _] | [_, DataType::Float32] => Some(DataType::Float32),
        _ => exact_type(&left, &right),
    }
}

/// The exact type that holds the values of both, as far as 38 digits go: digits behind the point are kept.
fn exact_type(left: &DataType, right: &DataType) -> Option<DataType> {
    if let (Some(a), Some(b)) = (whole_bits(left), whole_bits(right)) {
        return Some(if a >= b { left.clone() } else { right.clone() });
    }
    let (precision, scale) = exact_digits(left, right)?;
    Some(DataType::Decimal128(precision.min(DECIMAL_PRECISION_MAX_DIGITS), scale as i8))
}

/// The digits that the values of two exact types need, and how many of them are behind the point; at most 76.
fn exact_digits(left: &DataType, right: &DataType) -> Option<(u8, u8)> {
    let ((p1, s1), (p2, s2)) = (as_decimal(left)?, as_decimal(right)?);
    let scale = s1.max(s2);
    Some((p1.saturating_sub(s1).max(p2.saturating_sub(s2)) + scale, scale))
}

/// Precision and scale of what two DECIMALs make.
fn decimal_result(operation: Operation, (p1, s1): (u8, u8), (p2, s2): (u8, u8)) -> (u8, u8) {
    let wider = s1.max(s2);
    let before = (p1.saturating_sub(s1), p2.saturating_sub(s2));
    let capped = |precision: u8, scale: u8| (precision.min(DECIMAL_PRECISION_MAX_DIGITS), scale);
    match operation {
        Operation::Add | Operation::Subtract => capped(before.0.max(before.1) + 1 + wider, wider),
        Operation::Multiply => capped(p1 + p2 + 1, (s1 + s2).min(DECIMAL_SCALE_MAX_DIGITS)),
        Operation::Modulo => capped((before.0.min(before.1) + wider).max(1), wider),
        Operation::Divide => {
            let scale = QUOTIENT_SCALE_MIN_DIGITS.max(s1 + before.1 + 1);
            let precision = before.0 + s2 + scale;
            let excess = precision.saturating_sub(DECIMAL_PRECISION_MAX_DIGITS);
            let kept = scale.saturating_sub(excess).max(QUOTIENT_SCALE_MIN_DIGITS);
            capped(precision, kept.min(DECIMAL_SCALE_MAX_DIGITS))
        }
    }
}

/// What SUM of a type is: DOUBLE PRECISION of floats, BIGINT of SMALLINT and INTEGER, else NUMERIC with all 38 digits.
pub fn sum_type(of: &DataType) -> Option<DataType> {
    Some(match number(of)? {
        DataType::Int16 | DataType::Int32 => DataType::Int64,
        DataType::Int64 => DataType::Decimal128(DECIMAL_PRECISION_MAX_DIGITS, 0),
        DataType::Decimal128(_, scale) => DataType::Decimal128(DECIMAL_PRECISION_MAX_DIGITS, scale),
        _ => DataType::Float64,
    })
}

/// What AVG of a type is: DOUBLE PRECISION of floats, BIGINT of whole numbers, NUMERIC with the argument's scale of NUMERIC.
pub fn average_type(of: &DataType) -> Option<DataType> {
    Some(match number(of)? {
        DataType::Int16 | DataType::Int32 | DataType::Int64 => DataType::Int64,
        DataType::Decimal128(_, scale) => DataType::Decimal128(DECIMAL_PRECISION_MAX_DIGITS, scale),
        _ => DataType::Float64,
    })
}

/// The type of numbers that a type of the engine's stands for.
pub fn number(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        // The engine counts ranks so.
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => DataType::Decimal128(*precision, *scale),
        DataType::Decimal256(precision, scale) => DataType::Decimal128((*precision).min(DECIMAL_PRECISION_MAX_DIGITS), *scale),
        known @ (DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Decimal128(..)) => known.clone(),
        _ => return None,
    })
}

/// Precision and scale of the DECIMAL that holds every value of a type that is exact.
pub fn as_decimal(data_type: &DataType) -> Option<(u8, u8)> {
    match data_type {
        DataType::Int16 => Some((5, 0)),
        DataType::Int32 => Some((10, 0)),
        DataType::Int64 => Some((19, 0)),
        DataType::Decimal128(precision, scale) => Some((*precision, (*scale).max(0) as u8)),
        _ => None,
    }
}

fn whole_bits(data_type: &DataType) -> Option<u8> {
    match data_type {
        DataType::Int16 => Some(16),
        DataType::Int32 => Some(32),
        DataType::Int64 => Some(64),
        _ => None,
    }
}

fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}

/// A DOUBLE PRECISION in the one form that its value has: grouping, joins and DISTINCT compare bits, so there is one NaN and one zero.
pub fn canonical_f64(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

/// The same for a REAL.
pub fn canonical_f32(value: f32) -> f32 {
    if value.is_nan() { f32::NAN } else { value + 0.0 }
}

/// Floats in the one form that each value has; other columns as they are.
pub fn canonical_floats(array: ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float64 => in_one_form::<Float64Type>(array, canonical_f64),
        DataType::Float32 => in_one_form::<Float32Type>(array, canonical_f32),
        _ => array,
    }
}

/// The column itself where every value has its one form.
fn in_one_form<T: ArrowPrimitiveType>(array: ArrayRef, form: fn(T::Native) -> T::Native) -> ArrayRef {
    let values = array.as_primitive::<T>();
    if values.values().iter().all(|value| form(*value).is_eq(*value)) {
        return array;
    }
    let changed: PrimitiveArray<T> = values.unary(form);
    Arc::new(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_meet_have_one_type() {
        use DataType::{Decimal128, Decimal256, Float32, Float64, Int16, Int32, Int64, Utf8};
        let exact = [Int16, Int32, Int64, Decimal128(12, 2), Decimal128(38, 37)];
        for known in &exact {
            assert_eq!(compared_as(known, &Float64), Some(Float64), "{known}");
            assert_eq!(compared_as(&Float32, known), Some(Float64), "{known}");
            assert_eq!(common_type(known, &Float64), Some(Float64), "{known}");
            assert_eq!(common_type(known, &Float32), Some(Float32), "{known}");
            assert_eq!((compared_as(known, known), common_type(known, known)), (Some(known.clone()), Some(known.clone())));
            assert_eq!((compared_as(known, &Utf8), common_type(&Utf8, known)), (None, None), "{known}");
        }
        assert_eq!((compared_as(&Float32, &Float32), compared_as(&Float32, &Float64)), (Some(Float32), Some(Float64)));
        assert_eq!((compared_as(&Int16, &Int64), common_type(&Int32, &Int16)), (Some(Int64), Some(Int32)));
        assert_eq!(compared_as(&Int32, &Decimal128(12, 2)), Some(Decimal128(12, 2)));
        assert_eq!(common_type(&Decimal128(5, 4), &Decimal128(12, 2)), Some(Decimal128(14, 4)));
        assert_eq!(compared_as(&Int64, &Decimal128(38, 37)), Some(Decimal256(56, 37)));
        assert_eq!(common_type(&Int64, &Decimal128(38, 37)), Some(Decimal128(38, 37)));
    }
    use DataType::{Decimal128, Float32, Float64, Int16, Int32, Int64};
    use arrow::array::{Float32Array, Float64Array};

    fn result(left: &DataType, operation: Operation, right: &DataType) -> DataType {
        let forth = computation(operation, left, right).unwrap();
        // Casting the operands first changes nothing.
        assert_eq!(computation(operation, &forth.left, &forth.right).unwrap(), forth);
        forth.result
    }

    #[test]
    fn the_table_of_result_types() {
        let d = Decimal128(8, 2);
        let types = [Int16, Int32, Int64, d.clone(), Float32, Float64];
        // Rows are left operands, columns right ones, as in Redshift's guide.
        let whole = [[Int16, Int32, Int64], [Int32, Int32, Int64], [Int64, Int64, Int64]];
        for operation in Operation::ALL {
            for (row, left) in types.iter().enumerate() {
                for (column, right) in types.iter().enumerate() {
                    let found = result(left, operation, right);
                    match (row, column) {
                        (0..=2, 0..=2) => assert_eq!(found, whole[row][column]),
                        (4, 4) => assert_eq!(found, Float32),
                        (4.., _) | (_, 4..) => assert_eq!(found, Float64),
                        _ => assert!(matches!(found, Decimal128(..)), "{left} {operation:?} {right} is {found}"),
                    }
                }
            }
        }
    }

    #[test]
    fn precision_and_scale_of_decimals() {
        use Operation::{Add, Divide, Modulo, Multiply, Subtract};
        let d = |precision, scale| Decimal128(precision, scale);
        for (left, operation, right, expected) in [
            (d(8, 2), Add, d(8, 2), d(9, 2)),
            (d(8, 2), Subtract, d(5, 4), d(11, 4)),
            (d(8, 2), Multiply, d(8, 2), d(17, 4)),
            (d(8, 2), Divide, d(8, 2), d(17, 9)),
            (d(8, 2), Modulo, d(5, 4), d(5, 4)),
            // Whole numbers beside decimals.
            (d(8, 2), Multiply, Int16, d(14, 2)),
            (Int32, Subtract, d(15, 2), d(16, 2)),
            (d(8, 2), Add, Int64, d(22, 2)),
            (d(2, 2), Divide, Int32, d(13, 13)),
            // At 38 digits sums, differences and products keep their scale, quotients four digits.
            (d(38, 2), Add, d(38, 2), d(38, 2)),
            (d(38, 10), Multiply, d(38, 10), d(38, 20)),
            (d(38, 20), Multiply, d(38, 30), d(38, 37)),
            (d(38, 4), Divide, d(38, 4), d(38, 4)),
            (d(38, 2), Divide, d(2, 1), d(38, 4)),
            (d(20, 2), Divide, d(20, 2), d(38, 18)),
        ] {
            assert_eq!(result(&left, operation, &right), expected, "{left} {operation:?} {right}");
        }
    }

    #[test]
    fn there_is_one_nan_and_one_zero() {
        let strange: ArrayRef = Arc::new(Float64Array::from(vec![-0.0, -f64::NAN, 1.5, 0.0, f64::NAN, -1.0]));
        let bits: Vec<u64> =
            canonical_floats(strange).as_primitive::<Float64Type>().values().iter().map(|v| v.to_bits()).collect();
        assert_eq!(bits, [0.0, f64::NAN, 1.5, 0.0, f64::NAN, -1.0].map(f64::to_bits));
        let strange: ArrayRef = Arc::new(Float32Array::from(vec![-0.0, -f32::NAN]));
        let bits: Vec<u32> =
            canonical_floats(strange).as_primitive::<Float32Type>().values().iter().map(|v| v.to_bits()).collect();
        assert_eq!(bits, [0.0, f32::NAN].map(f32::to_bits));
    }

    #[test]
    fn aggregates() {
        let d = Decimal128(8, 2);
        for (of, sum, average) in [
            (Int16, Int64, Int64),
            (Int32, Int64, Int64),
            (Int64, Decimal128(38, 0), Int64),
            (d, Decimal128(38, 2), Decimal128(38, 2)),
            (Float32, Float64, Float64),
            (Float64, Float64, Float64),
        ] {
            assert_eq!((sum_type(&of), average_type(&of)), (Some(sum), Some(average)), "{of}");
        }
        assert_eq!((sum_type(&DataType::Utf8), average_type(&DataType::Date32)), (None, None));
    }
}

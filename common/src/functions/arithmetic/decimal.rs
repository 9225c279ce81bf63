//! Arithmetic of decimals, a column at a time. What the types rule out is not checked per row.

use crate::numeric::Operation;
use crate::sql_type::DECIMAL_PRECISION_MAX_DIGITS;
use crate::{Error, ErrorKind, Result};
use arrow::array::{Array, Decimal128Array, Scalar};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, i256};

/// One more than the greatest value of 38 digits.
const LIMIT: i128 = 10_i128.pow(DECIMAL_PRECISION_MAX_DIGITS as u32);
/// Values of so many digits fit 64 bits.
const DIGITS_64_BITS_MAX: u8 = 18;

/// An operand: a column, or one value for all rows.
pub(super) enum Operand<'a> {
    /// A value for each row.
    Column(&'a Decimal128Array),
    /// The same value for all rows, which is not NULL.
    One(&'a Scalar<Decimal128Array>),
}

/// Precision and scale.
#[derive(Clone, Copy)]
struct Digits {
    precision: u8,
    scale: u8,
}

impl Operand<'_> {
    fn array(&self) -> &Decimal128Array {
        match self {
            Self::Column(array) => array,
            Self::One(scalar) => arrow::array::AsArray::as_primitive(arrow::array::Datum::get(*scalar).0),
        }
    }

    fn digits(&self) -> Digits {
        let array = self.array();
        Digits { precision: array.precision(), scale: array.scale().max(0) as u8 }
    }
}

/// Computes a column of type `result` from at least one column; `result` is what the table of types says.
pub(super) fn compute(
    operation: Operation,
    left: &Operand<'_>,
    right: &Operand<'_>,
    result: &DataType,
) -> Result<Decimal128Array> {
    let DataType::Decimal128(precision, scale) = result else {
        return Err(Error::internal(format!("decimals do not make a {result}")));
    };
    let rows = Rows { left, right };
    let (l, r, scale_out) = (left.digits(), right.digits(), (*scale).max(0) as u8);
    let values = match operation {
        Operation::Add => sum(&rows, l, r, scale_out, false)?,
        Operation::Subtract => sum(&rows, l, r, scale_out, true)?,
        Operation::Multiply => product(&rows, l, r, scale_out)?,
        Operation::Divide => quotient(&rows, l, r, scale_out)?,
        Operation::Modulo => remainder(&rows, l, r, scale_out)?,
    };
    let nulls = rows.nulls();
    Ok(Decimal128Array::new(values.into(), nulls).with_precision_and_scale(*precision, *scale)?)
}

struct Rows<'a> {
    left: &'a Operand<'a>,
    right: &'a Operand<'a>,
}

/// Why a row has no result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Overflow,
    ZeroDivisor,
}

impl Rows<'_> {
    fn nulls(&self) -> Option<NullBuffer> {
        let of = |operand: &Operand<'_>| match operand {
            Operand::Column(array) => array.nulls().cloned(),
            Operand::One(_) => None,
        };
        NullBuffer::union(of(self.left).as_ref(), of(self.right).as_ref())
    }

    /// Applies what cannot fail.
    fn each(&self, f: impl Fn(i128, i128) -> i128) -> Vec<i128> {
        match (self.left, self.right) {
            (Operand::Column(left), Operand::Column(right)) => {
                left.values().iter().zip(right.values()).map(|(left, right)| f(*left, *right)).collect()
            }
            (Operand::Column(left), right) => {
                let right = right.array().value(0);
                left.values().iter().map(|left| f(*left, right)).collect()
            }
            (left, right) => {
                let left = left.array().value(0);
                right.array().values().iter().map(|right| f(left, *right)).collect()
            }
        }
    }

    /// Applies what can fail; a fault counts only where no operand is NULL.
    fn try_each(&self, f: impl Fn(i128, i128) -> std::result::Result<i128, Fault>) -> Result<Vec<i128>> {
        let failed = std::cell::Cell::new(false);
        let values = self.each(|left, right| {
            f(left, right).unwrap_or_else(|_| {
                failed.set(true);
                0
            })
        });
        if failed.get() {
            self.refuse(&f)?;
        }
        Ok(values)
    }

    /// The error of the first row that has a fault and no NULL.
    fn refuse(&self, f: &impl Fn(i128, i128) -> std::result::Result<i128, Fault>) -> Result<()> {
        let nulls = self.nulls();
        let at = |operand: &Operand<'_>, row: usize| match operand {
            Operand::Column(array) => array.value(row),
            Operand::One(_) => operand.array().value(0),
        };
        let length = [self.left, self.right].into_iter().map(|operand| operand.array().len()).max().unwrap_or(0);
        for row in (0..length).filter(|row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row))) {
            match f(at(self.left, row), at(self.right, row)) {
                Ok(_) => {}
                Err(Fault::Overflow) => return Err(overflow()),
                Err(Fault::ZeroDivisor) => return Err(Error::new(ErrorKind::DivisionByZero, "division by zero")),
            }
        }
        Ok(())
    }
}

/// 22003 of a value with more than 38 digits.
pub(super) fn overflow() -> Error {
    Error::new(ErrorKind::NumericOutOfRange, "numeric out of range")
        .with_detail(format!("the result has more than {DECIMAL_PRECISION_MAX_DIGITS} digits"))
        .with_hint("cast the operands to a smaller precision and scale, or to DOUBLE PRECISION")
}

fn power(digits: u8) -> i128 {
    10_i128.pow(u32::from(digits.min(DECIMAL_PRECISION_MAX_DIGITS)))
}

fn fits(value: i128) -> std::result::Result<i128, Fault> {
    if value > -LIMIT && value < LIMIT { Ok(value) } else { Err(Fault::Overflow) }
}

fn narrow(value: i256) -> std::result::Result<i128, Fault> {
    value.to_i128().ok_or(Fault::Overflow).and_then(fits)
}

fn wide(value: i128) -> i256 {
    i256::from_i128(value)
}

fn sum(rows: &Rows<'_>, l: Digits, r: Digits, scale: u8, minus: bool) -> Result<Vec<i128>> {
    let (by_l, by_r) = (power(scale - l.scale), power(scale - r.scale));
    let needed = (l.precision - l.scale.min(l.precision)).max(r.precision - r.scale.min(r.precision)) + 1 + scale;
    if needed > DECIMAL_PRECISION_MAX_DIGITS {
        return rows.try_each(|left, right| {
            let (left, right) = (left.checked_mul(by_l), right.checked_mul(by_r));
            let (Some(left), Some(right)) = (left, right) else { return Err(Fault::Overflow) };
            let sum = if minus { left.checked_sub(right) } else { left.checked_add(right) };
            sum.ok_or(Fault::Overflow).and_then(fits)
        });
    }
    // What stands under a NULL may be anything, so nothing here may panic.
    Ok(match (by_l == 1 && by_r == 1, minus) {
        (true, false) => rows.each(i128::wrapping_add),
        (true, true) => rows.each(i128::wrapping_sub),
        (false, false) => rows.each(|left, right| left.wrapping_mul(by_l).wrapping_add(right.wrapping_mul(by_r))),
        (false, true) => rows.each(|left, right| left.wrapping_mul(by_l).wrapping_sub(right.wrapping_mul(by_r))),
    })
}

fn product(rows: &Rows<'_>, l: Digits, r: Digits, scale: u8) -> Result<Vec<i128>> {
    if l.scale + r.scale > scale {
        let cut = wide(power(l.scale + r.scale - scale));
        return rows.try_each(|left, right| narrow(wide(left).wrapping_mul(wide(right)).wrapping_div(cut)));
    }
    if l.precision <= DIGITS_64_BITS_MAX && r.precision <= DIGITS_64_BITS_MAX {
        return Ok(rows.each(|left, right| i128::from(left as i64) * i128::from(right as i64)));
    }
    if l.precision + r.precision <= DECIMAL_PRECISION_MAX_DIGITS {
        return Ok(rows.each(i128::wrapping_mul));
    }
    rows.try_each(|left, right| match (i64::try_from(left), i64::try_from(right)) {
        // Two of 64 bits make less than 38 digits.
        (Ok(left), Ok(right)) => Ok(i128::from(left) * i128::from(right)),
        _ => left.checked_mul(right).ok_or(Fault::Overflow).and_then(fits),
    })
}

/// Cut off behind the last digit, as Redshift does it.
fn quotient(rows: &Rows<'_>, l: Digits, r: Digits, scale: u8) -> Result<Vec<i128>> {
    let raised = i16::from(scale) + i16::from(r.scale) - i16::from(l.scale);
    let (by, lowered) = (power(raised.max(0) as u8), power((-raised).max(0) as u8));
    let divide = |left: i128, right: i128| match (i64::try_from(left), i64::try_from(right)) {
        // 64 bits divide much faster than 128.
        (Ok(left), Ok(right)) => i128::from(left).wrapping_div(i128::from(right)),
        _ => left.wrapping_div(right),
    };
    if i16::from(l.precision) + raised <= i16::from(DECIMAL_PRECISION_MAX_DIGITS) {
        return rows.try_each(|left, right| match right {
            0 => Err(Fault::ZeroDivisor),
            _ => Ok(divide(left.wrapping_mul(by), right).wrapping_div(lowered)),
        });
    }
    rows.try_each(|left, right| match (left.checked_mul(by), right) {
        (_, 0) => Err(Fault::ZeroDivisor),
        (Some(left), right) => fits(divide(left, right)),
        (None, right) => narrow(wide(left).wrapping_mul(wide(by)).wrapping_div(wide(right))),
    })
}

fn remainder(rows: &Rows<'_>, l: Digits, r: Digits, scale: u8) -> Result<Vec<i128>> {
    let (by_l, by_r) = (power(scale - l.scale), power(scale - r.scale));
    rows.try_each(|left, right| match (left.checked_mul(by_l), right.checked_mul(by_r)) {
        (_, Some(0)) => Err(Fault::ZeroDivisor),
        (Some(left), Some(right)) => Ok(left.wrapping_rem(right)),
        _ => narrow(wide(left).wrapping_mul(wide(by_l)).wrapping_rem(wide(right).wrapping_mul(wide(by_r)))),
    })
}

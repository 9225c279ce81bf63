//! `+ - * / %` of SUPER values: what they are of numbers; `+` of strings joins them. Of anything else NULL.

use super::{Function, SUPER, documents, is_super, no_such_call, one_super};
use crate::super_value::{Builder, Node, Number, Value, number_text};
use crate::{Error, ErrorKind, Result};
use arrow::array::{Array, ArrayRef, BinaryViewBuilder};
use arrow::datatypes::DataType;
use std::sync::Arc;

/// `slipher_super_negate(x)`: what `- x` becomes.
pub const SUPER_NEGATE: &str = "slipher_super_negate";

/// Most digits of a decimal.
const DIGITS_MAX: u32 = 38;
/// Digits behind the point that a quotient has at least, if there is room for them.
const QUOTIENT_SCALE_MIN: u8 = 4;

/// The function of an operator.
pub fn super_arithmetic(symbol: &str) -> Option<&'static str> {
    Some(match symbol {
        "+" => "slipher_super_plus",
        "-" => "slipher_super_minus",
        "*" => "slipher_super_times",
        "/" => "slipher_super_over",
        "%" => "slipher_super_modulo",
        _ => return None,
    })
}

macro_rules! operators {
    ($($symbol:literal => $name:literal),* $(,)?) => {
        vec![$(Function::new($name, |types| two($symbol, types), is_super, |arguments| binary(arguments, $symbol))),*]
    };
}

pub(super) fn functions() -> Vec<Function> {
    let mut all = operators! {
        "+" => "slipher_super_plus",
        "-" => "slipher_super_minus",
        "*" => "slipher_super_times",
        "/" => "slipher_super_over",
        "%" => "slipher_super_modulo",
    };
    all.push(Function::new(
        SUPER_NEGATE,
        |types| one_super("-", types),
        is_super,
        |arguments| {
            unary(arguments, |number| match number {
                Number::Int(value) => Some(Number::decimal(-i128::from(value), 0)),
                Number::Decimal(unscaled, scale) => Some(Number::decimal(unscaled.checked_neg()?, scale)),
                Number::Double(value) => Number::double(-value),
            })
        },
    ));
    all
}

fn two(symbol: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::BinaryView | DataType::Null, DataType::BinaryView | DataType::Null] => Ok(vec![SUPER; 2]),
        _ => Err(no_such_call(symbol, types, &format!("a_super {symbol} a_number"))),
    }
}

fn overflow() -> Error {
    Error::new(ErrorKind::NumericOutOfRange, "numeric overflow in a computation with SUPER values")
}

fn unary(arguments: &[ArrayRef], compute: impl Fn(Number) -> Option<Number>) -> Result<ArrayRef> {
    let values = documents(&arguments[0])?;
    let mut answers = BinaryViewBuilder::with_capacity(values.len());
    let mut builder = Builder::default();
    for value in values {
        match value.map(|value| Node::new(value).read()).transpose()? {
            Some(Value::Number(number)) => {
                builder.number(compute(number).ok_or_else(overflow)?)?;
                answers.append_value(builder.finish()?);
            }
            _ => answers.append_null(),
        }
    }
    Ok(Arc::new(answers.finish()))
}

fn binary(arguments: &[ArrayRef], symbol: &str) -> Result<ArrayRef> {
    let (left, right) = (documents(&arguments[0])?, documents(&arguments[1])?);
    let mut answers = BinaryViewBuilder::with_capacity(left.len());
    let mut builder = Builder::default();
    for (one, other) in left.iter().zip(right) {
        let one = one.map(|value| Node::new(value).read()).transpose()?;
        let other = other.map(|value| Node::new(value).read()).transpose()?;
        match (one, other) {
            (Some(Value::Number(one)), Some(Value::Number(other))) => {
                builder.number(computed(one, other, symbol)?)?;
                answers.append_value(builder.finish()?);
            }
            (Some(Value::String(one)), Some(Value::String(other))) if symbol == "+" => {
                builder.string(&format!("{one}{other}"))?;
                answers.append_value(builder.finish()?);
            }
            _ => answers.append_null(),
        }
    }
    Ok(Arc::new(answers.finish()))
}

fn as_double(number: Number) -> f64 {
    match number {
        Number::Int(value) => value as f64,
        Number::Double(value) => value,
        decimal => number_text(decimal).parse().unwrap_or(f64::NAN),
    }
}

fn exact(number: Number) -> Option<(i128, u8)> {
    match number {
        Number::Int(value) => Some((value.into(), 0)),
        Number::Decimal(unscaled, scale) => Some((unscaled, scale)),
        Number::Double(_) => None,
    }
}

fn computed(one: Number, other: Number, symbol: &str) -> Result<Number> {
    let by_zero = || Error::new(ErrorKind::DivisionByZero, "division by zero");
    if let (Some(one), Some(other)) = (exact(one), exact(other)) {
        if matches!(symbol, "/" | "%") && other.0 == 0 {
            return Err(by_zero());
        }
        return exactly(one, other, symbol).ok_or_else(overflow);
    }
    let (one, other) = (as_double(one), as_double(other));
    if matches!(symbol, "/" | "%") && other == 0.0 {
        return Err(by_zero());
    }
    let value = match symbol {
        "+" => one + other,
        "-" => one - other,
        "*" => one * other,
        "/" => one / other,
        _ => one % other,
    };
    Number::double(value).ok_or_else(overflow)
}

/// Exact numbers; None where the answer has too many digits.
fn exactly((one, s1): (i128, u8), (other, s2): (i128, u8), symbol: &str) -> Option<Number> {
    let scaled = |value: i128, digits: u8| value.checked_mul(10i128.checked_pow(digits.into())?);
    let (unscaled, scale) = match symbol {
        "*" => (one.checked_mul(other)?, s1 + s2),
        "/" if s1 == 0 && s2 == 0 => (one / other, 0),
        "/" => {
            // Cut off, as quotients are elsewhere.
            let mut scale = s1.max(s2).max(QUOTIENT_SCALE_MIN);
            loop {
                match scaled(one, (scale + s2).checked_sub(s1)?) {
                    Some(dividend) => break (dividend / other, scale),
                    None if scale > s1 => scale -= 1,
                    None => return None,
                }
            }
        }
        _ => {
            let scale = s1.max(s2);
            let (one, other) = (scaled(one, scale - s1)?, scaled(other, scale - s2)?);
            let value = match symbol {
                "+" => one.checked_add(other)?,
                "-" => one.checked_sub(other)?,
                _ => one % other,
            };
            (value, scale)
        }
    };
    let fits = unscaled.unsigned_abs() < 10u128.pow(DIGITS_MAX) && u32::from(scale) < DIGITS_MAX;
    fits.then(|| Number::decimal(unscaled, scale))
}

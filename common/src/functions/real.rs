//! Functions of real numbers that fail where there is no real number that is right, or none that DOUBLE PRECISION holds. The engine's
//! answer NaN or Infinity there.

use super::{Function, downcast, is_text, no_such_call};
use crate::numeric;
use crate::{Error, ErrorKind, Result};
use arrow::array::{ArrayRef, Decimal128Array, Float32Array, Float64Array};
use arrow::datatypes::DataType;
use std::sync::Arc;

/// `slipher_to_real(a_number)`: the nearest REAL of a DOUBLE PRECISION or DECIMAL.
pub const TO_REAL: &str = "slipher_to_real";
/// `slipher_to_double(a_decimal)`: the nearest DOUBLE PRECISION. The engine rounds twice: the digits, and what their quotient is.
pub const TO_DOUBLE: &str = "slipher_to_double";

/// Whole numbers up to here are floats.
pub const WHOLE_DOUBLES_MAX: u128 = 1 << 53;
/// The powers of ten that are floats.
const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21,
    1e22,
];

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new(TO_REAL, |types| decimal_or_double(TO_REAL, types), |_| Ok(DataType::Float32), to_real),
        Function::new(TO_DOUBLE, |types| decimal_or_double(TO_DOUBLE, types), |_| Ok(DataType::Float64), to_double),
        real("exp", |types| one("exp", types), |v| each(v, exp)),
        real("ln", |types| one("ln", types), |v| each(v, |x| logarithm(x, f64::ln))),
        real("log10", |types| one("log10", types), |v| each(v, |x| logarithm(x, f64::log10))),
        real("log2", |types| one("log2", types), |v| each(v, |x| logarithm(x, f64::log2))),
        real("log", one_or_base, log),
        real("sqrt", |types| one("sqrt", types), |v| each(v, square_root)),
        real("asin", |types| one("asin", types), |v| each(v, |x| within_one(x, f64::asin))),
        real("acos", |types| one("acos", types), |v| each(v, |x| within_one(x, f64::acos))),
        real("sin", |types| one("sin", types), |v| each(v, |x| finite(x, f64::sin))),
        real("cos", |types| one("cos", types), |v| each(v, |x| finite(x, f64::cos))),
        real("tan", |types| one("tan", types), |v| each(v, |x| finite(x, f64::tan))),
        real("cot", |types| one("cot", types), |v| each(v, |x| finite(x, |x| x.tan().recip()))),
    ]
}

fn real(name: &'static str, coerce: super::Coerce, compute: super::Compute) -> Function {
    Function::new(name, coerce, |_| Ok(DataType::Float64), compute)
}

fn one(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [number] if numeric::number(number).is_some() || *number == DataType::Null || is_text(number) => {
            Ok(vec![DataType::Float64])
        }
        _ => Err(no_such_call(name, types, &format!("{name}(a_number)"))),
    }
}

fn one_or_base(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [base, number] => Ok([one("log", std::slice::from_ref(base))?, one("log", std::slice::from_ref(number))?].concat()),
        _ => one("log", types),
    }
}

/// `log(x)` has base 10, `log(base, x)` its own.
fn log(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let [bases, numbers] = arguments else { return each(arguments, |x| logarithm(x, f64::log10)) };
    let (bases, numbers) = (downcast::<Float64Array>(bases)?, downcast::<Float64Array>(numbers)?);
    let one = |(base, number): (Option<f64>, Option<f64>)| {
        let (Some(base), Some(number)) = (base, number) else { return Ok(None) };
        let (base, number) = (logarithm(base, f64::ln)?, logarithm(number, f64::ln)?);
        match base == 0.0 {
            true => Err(Error::new(ErrorKind::DivisionByZero, "division by zero").with_detail("the logarithm of base 1")),
            false => Ok(Some(number / base)),
        }
    };
    Ok(Arc::new(bases.iter().zip(numbers.iter()).map(one).collect::<Result<Float64Array>>()?))
}

fn each(arguments: &[ArrayRef], of: fn(f64) -> Result<f64>) -> Result<ArrayRef> {
    let values = downcast::<Float64Array>(&arguments[0])?;
    let answers = values.iter().map(|value| value.map(of).transpose()).collect::<Result<Float64Array>>()?;
    Ok(Arc::new(answers))
}

fn decimal_or_double(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [decimal @ DataType::Decimal128(..)] => Ok(vec![decimal.clone()]),
        _ => one(name, types),
    }
}

fn to_double(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let DataType::Decimal128(_, scale) = arguments[0].data_type() else { return Ok(Arc::clone(&arguments[0])) };
    let values = downcast::<Decimal128Array>(&arguments[0])?;
    let answers: Float64Array = values.iter().map(|value| value.map(|unscaled| nearest_double(unscaled, *scale))).collect();
    Ok(Arc::new(answers))
}

fn nearest_double(unscaled: i128, scale: i8) -> f64 {
    let power = usize::try_from(scale).ok().and_then(|scale| POWERS_OF_TEN.get(scale));
    match power.filter(|_| unscaled.unsigned_abs() <= WHOLE_DOUBLES_MAX) {
        // Both are exact, so their quotient is the nearest float.
        Some(power) => unscaled as f64 / power,
        None => format!("{unscaled}e{}", -i32::from(scale)).parse().unwrap_or(f64::NAN),
    }
}

/// The engine makes Infinity of what is too large for a REAL, and zero of what is too small.
fn to_real(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    if let DataType::Decimal128(_, scale) = arguments[0].data_type() {
        let values = downcast::<Decimal128Array>(&arguments[0])?;
        let nearest = |unscaled: i128| format!("{unscaled}e{}", -i32::from(*scale)).parse().unwrap_or(f32::NAN);
        return Ok(Arc::new(values.iter().map(|value| value.map(nearest)).collect::<Float32Array>()));
    }
    let one = |value: f64| {
        let real = value as f32;
        match real.is_infinite() && value.is_finite() || real == 0.0 && value != 0.0 {
            true => Err(Error::new(ErrorKind::NumericOutOfRange, "real out of range").with_detail(format!("value {value:e}"))),
            false => Ok(real),
        }
    };
    let values = downcast::<Float64Array>(&arguments[0])?;
    Ok(Arc::new(values.iter().map(|value| value.map(one).transpose()).collect::<Result<Float32Array>>()?))
}

fn exp(x: f64) -> Result<f64> {
    let answer = x.exp();
    match answer.is_infinite() && x.is_finite() {
        true => Err(Error::new(ErrorKind::NumericOutOfRange, "double precision out of range").with_detail(format!("exp({x})"))),
        false => Ok(answer),
    }
}

fn logarithm(x: f64, of: fn(f64) -> f64) -> Result<f64> {
    let invalid = |message| Err(Error::new(ErrorKind::InvalidLogarithmArgument, message));
    match x {
        0.0 => invalid("cannot take logarithm of zero"),
        x if x < 0.0 => invalid("cannot take logarithm of a negative number"),
        x => Ok(of(x)),
    }
}

fn square_root(x: f64) -> Result<f64> {
    match x < 0.0 {
        true => Err(Error::new(ErrorKind::InvalidPowerArgument, "cannot take square root of a negative number")),
        false => Ok(x.sqrt()),
    }
}

fn within_one(x: f64, of: fn(f64) -> f64) -> Result<f64> {
    match x.abs() > 1.0 {
        true => Err(out_of_range()),
        false => Ok(of(x)),
    }
}

fn finite(x: f64, of: fn(f64) -> f64) -> Result<f64> {
    match x.is_infinite() {
        true => Err(out_of_range()),
        false => Ok(of(x)),
    }
}

fn out_of_range() -> Error {
    Error::new(ErrorKind::NumericOutOfRange, "input is out of range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_become_the_nearest_float() {
        let texts =
            ["0.1", "123456789.123456789", "9007199254740993", "0.12345678901234567890123456789012345678", "-1e37", "7e-30"];
        for (unscaled, scale) in [
            (1, 1),
            (123_456_789_123_456_789, 9),
            (9_007_199_254_740_993, 0),
            (12345678901234567890123456789012345678, 38),
            (-(10i128.pow(37)), 0),
            (7, 30),
        ] {
            let near = nearest_double(unscaled, scale);
            assert!(texts.iter().any(|text| text.parse::<f64>().unwrap() == near), "{unscaled}e-{scale}: {near}");
        }
    }
}

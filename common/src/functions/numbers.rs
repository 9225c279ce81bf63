//! Rounding as Redshift does it: casts to whole numbers, and TRUNC; powers and bits.

use super::{BITWISE_NOT, Function, POWER, ROUND_TO_WHOLE, TRUNC, downcast, no_such_call};
use crate::{Error, ErrorKind, Result, numeric};
use arrow::array::{Array, ArrayRef, Decimal128Array, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Cast;
use std::sync::Arc;

/// Most digits of a 128-bit decimal.
const DECIMAL_DIGITS_MAX: u8 = 38;

pub(super) fn functions() -> Vec<Function> {
    let mut round = Function::new(ROUND_TO_WHOLE, round_coerce, round_type, round);
    round.simplify = Some(|arguments, data_type| match data_type {
        DataType::Float16 | DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) | DataType::Decimal256(..) => None,
        _ => arguments.first().cloned(),
    });
    let mut trunc = Function::new(TRUNC, trunc_coerce, trunc_type, trunc);
    trunc.simplify = Some(|arguments, data_type| match (arguments, data_type) {
        ([moment], DataType::Timestamp(..) | DataType::Date32) => {
            Some(Expr::Cast(Cast::new(Box::new(moment.clone()), DataType::Date32)))
        }
        _ => None,
    });
    let power = Function::new(POWER, power_coerce, |_| Ok(DataType::Float64), power);
    let bitwise_not = Function::new(BITWISE_NOT, whole_coerce, |types| Ok(types[0].clone()), bitwise_not);
    vec![round, trunc, power, bitwise_not]
}

fn round_coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [one] => Ok(vec![one.clone()]),
        [one, digits] if digits.is_integer() => Ok(vec![one.clone(), DataType::Int64]),
        _ => Err(no_such_call(ROUND_TO_WHOLE, types, "slipher_round(a_number [, digits])")),
    }
}

/// Rounding up may need one digit more: 9.9 is 10.
fn round_type(types: &[DataType]) -> Result<DataType> {
    Ok(match &types[0] {
        DataType::Decimal128(precision, scale) if *scale > 0 => {
            DataType::Decimal128((precision + 1).min(DECIMAL_DIGITS_MAX), *scale)
        }
        other => other.clone(),
    })
}

/// To the nearest whole number, or that with so many digits behind the point.
fn round(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    match arguments {
        [values, digits] => round_to_digits(values, downcast::<Int64Array>(digits)?),
        _ => round_to_whole(&arguments[0]),
    }
}

/// Decimals to the nearest with so many digits behind the point, halves away from zero. Whether it still fits is asked when it is cast.
fn round_to_digits(array: &ArrayRef, digits: &Int64Array) -> Result<ArrayRef> {
    let DataType::Decimal128(_, scale) = array.data_type() else { return Ok(Arc::clone(array)) };
    let scale = *scale;
    let DataType::Decimal128(wider, _) = round_type(&[array.data_type().clone()])? else {
        return Err(Error::internal("rounding changed a type"));
    };
    let rounded = |value: i128, digits: i64| match u32::try_from(i64::from(scale) - digits) {
        Ok(less @ 1..=38) => to_multiple_of(value, 10_i128.pow(less)),
        _ => value,
    };
    let values = downcast::<Decimal128Array>(array)?;
    let all: Decimal128Array = match digits.iter().next().flatten() {
        Some(first) if digits.null_count() == 0 && digits.values().iter().all(|other| *other == first) => {
            values.unary(|value| rounded(value, first))
        }
        _ => arrow::compute::binary(values, digits, rounded)?,
    };
    Ok(Arc::new(all.with_precision_and_scale(wider, scale)?))
}

/// The nearest multiple, halves away from zero. Half a unit more cannot overflow 38 digits in 128 bits; what stands under a NULL may be anything.
fn to_multiple_of(value: i128, unit: i128) -> i128 {
    let half = if value < 0 { -unit / 2 } else { unit / 2 };
    value.wrapping_add(half) / unit * unit
}

/// Floats to the nearest whole number, halves to the even one; decimals to the nearest, halves away from zero.
fn round_to_whole(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Float32 => {
            let values: Float32Array = downcast::<Float32Array>(array)?.unary(f32::round_ties_even);
            Arc::new(values)
        }
        DataType::Float64 => {
            let values: Float64Array = downcast::<Float64Array>(array)?.unary(f64::round_ties_even);
            Arc::new(values)
        }
        DataType::Decimal128(precision, scale) if *scale > 0 => {
            let (unit, result) = (10_i128.pow(*scale as u32), round_type(&[array.data_type().clone()])?);
            let rounded: Decimal128Array = downcast::<Decimal128Array>(array)?.unary(|value| to_multiple_of(value, unit));
            let DataType::Decimal128(wider, _) = result else { return Err(Error::internal("rounding changed a type")) };
            let checked = rounded.with_precision_and_scale(wider, *scale)?;
            if *precision == DECIMAL_DIGITS_MAX {
                checked.validate_decimal_precision(wider)?;
            }
            Arc::new(checked)
        }
        _ => Arc::clone(array),
    })
}

fn power_coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    let number =
        |data_type: &DataType| numeric::number(data_type).is_some() || *data_type == DataType::Null || super::is_text(data_type);
    if types.len() == 2 && types.iter().all(number) {
        return Ok(vec![DataType::Float64; 2]);
    }
    Err(no_such_call("power", types, "power(a_number, a_number) or a_number ^ a_number"))
}

/// Fails as PostgreSQL does where there is no real number that is right.
fn power(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (bases, exponents) = (downcast::<Float64Array>(&arguments[0])?, downcast::<Float64Array>(&arguments[1])?);
    let one = |(base, exponent): (Option<f64>, Option<f64>)| {
        let (Some(base), Some(exponent)) = (base, exponent) else { return Ok(None) };
        let invalid = |message: &str| Err(Error::new(ErrorKind::NumericOutOfRange, message));
        let no_power = |message: &str| Err(Error::new(ErrorKind::InvalidPowerArgument, message));
        if base == 0.0 && exponent < 0.0 {
            return no_power("zero raised to a negative power is undefined");
        }
        if base < 0.0 && base.is_finite() && exponent.is_finite() && exponent.fract() != 0.0 {
            return no_power("a negative number raised to a non-integer power yields a complex result");
        }
        let answer = base.powf(exponent);
        if answer.is_infinite() && base.is_finite() && exponent.is_finite() {
            return invalid("double precision out of range");
        }
        Ok(Some(answer))
    };
    Ok(Arc::new(bases.iter().zip(exponents.iter()).map(one).collect::<Result<Float64Array>>()?))
}

fn whole_coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    let whole = |data_type: &DataType| match numeric::number(data_type) {
        Some(whole @ (DataType::Int16 | DataType::Int32 | DataType::Int64)) => Some(whole),
        _ if *data_type == DataType::Null => Some(DataType::Int32),
        _ => None,
    };
    match types {
        [one] => whole(one).map(|one| vec![one]),
        _ => None,
    }
    .ok_or_else(|| no_such_call("~", types, "~ a_whole_number"))
}

fn bitwise_not(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    use arrow::compute::kernels::bitwise::bitwise_not;
    let array = &arguments[0];
    Ok(match array.data_type() {
        DataType::Int16 => Arc::new(bitwise_not(downcast::<Int16Array>(array)?)?),
        DataType::Int32 => Arc::new(bitwise_not(downcast::<Int32Array>(array)?)?),
        _ => Arc::new(bitwise_not(downcast::<Int64Array>(array)?)?),
    })
}

fn trunc_coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    let number = |data_type: &DataType| match data_type {
        DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) => Some(data_type.clone()),
        integer if integer.is_integer() => Some(DataType::Int64),
        DataType::Null => Some(DataType::Float64),
        text if super::is_text(text) => Some(DataType::Float64),
        _ => None,
    };
    let answer = match types {
        [moment @ (DataType::Timestamp(..) | DataType::Date32)] => Some(vec![moment.clone()]),
        [one] => number(one).map(|one| vec![one]),
        [one, digits] if digits.is_integer() || *digits == DataType::Null => number(one).map(|one| vec![one, DataType::Int64]),
        _ => None,
    };
    answer.ok_or_else(|| no_such_call("trunc", types, "trunc(a_number, digits) or trunc(a_timestamp)"))
}

fn trunc_type(types: &[DataType]) -> Result<DataType> {
    Ok(match &types[0] {
        DataType::Timestamp(..) => DataType::Date32,
        other => other.clone(),
    })
}

fn trunc(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let array = &arguments[0];
    let digits = match arguments.get(1) {
        Some(digits) => Some(downcast::<Int64Array>(digits)?),
        None => None,
    };
    // Beyond these, cutting changes nothing or leaves nothing.
    let at =
        |row: usize| digits.map_or(Some(0), |digits| digits.is_valid(row).then(|| digits.value(row).clamp(-400, 400) as i32));
    Ok(match array.data_type() {
        DataType::Float64 => {
            let values = downcast::<Float64Array>(array)?.iter().enumerate();
            Arc::new(values.map(|(row, value)| Some(trunc_float(value?, at(row)?))).collect::<Float64Array>())
        }
        DataType::Float32 => {
            let values = downcast::<Float32Array>(array)?.iter().enumerate();
            Arc::new(values.map(|(row, value)| Some(trunc_float(f64::from(value?), at(row)?) as f32)).collect::<Float32Array>())
        }
        DataType::Int64 => {
            let values = downcast::<Int64Array>(array)?.iter().enumerate();
            let cut = |value: i64, digits: i32| trunc_integer(i128::from(value), -digits) as i64;
            Arc::new(values.map(|(row, value)| Some(cut(value?, at(row)?))).collect::<Int64Array>())
        }
        DataType::Decimal128(precision, scale) => {
            let values = downcast::<Decimal128Array>(array)?.iter().enumerate();
            let cut = |value: i128, digits: i32| trunc_integer(value, i32::from(*scale) - digits);
            let cut_values: Decimal128Array = values.map(|(row, value)| Some(cut(value?, at(row)?))).collect();
            Arc::new(cut_values.with_precision_and_scale(*precision, *scale)?)
        }
        DataType::Timestamp(..) => cast(array, &DataType::Date32)?,
        DataType::Date32 => Arc::clone(array),
        other => return Err(Error::new(ErrorKind::UndefinedFunction, format!("trunc of {other}"))),
    })
}

/// The value with its last `places` digits made 0.
fn trunc_integer(value: i128, places: i32) -> i128 {
    match places {
        ..=0 => value,
        1..=38 => value - value % 10_i128.pow(places as u32),
        _ => 0,
    }
}

fn trunc_float(value: f64, digits: i32) -> f64 {
    let unit = 10_f64.powi(digits.abs());
    let cut = if digits >= 0 { (value * unit).trunc() / unit } else { (value / unit).trunc() * unit };
    // More digits than a float has: nothing to cut.
    if cut.is_finite() { cut } else { value }
}

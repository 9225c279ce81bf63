//! Numbers into number columns and booleans, range checked.

use super::display::{write_decimal, write_f32, write_f64};
use super::fault::{Fault, OnFault};
use super::scalar_text::parse_decimal;
use super::strings::without_rows;
use crate::error::Result;
use crate::sql_type::SqlType;
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::*;
use std::sync::Arc;

/// Integers up to here are exact in a double precision number.
const F64_EXACT_MAX: u128 = 1 << 53;
/// Powers of ten up to here are exact in a double precision number.
const F64_EXACT_POWER_MAX: u32 = 22;
/// Digits of a real number that PostgreSQL trusts when it makes a numeric of it.
const REAL_DIGITS: usize = 6;
/// The same of a double precision number.
const DOUBLE_DIGITS: usize = 15;

/// Writing to a String does not fail.
pub fn shown(written: std::fmt::Result) {
    debug_assert!(written.is_ok(), "a value has no text");
}

/// Converts each value with `convert`; where it yields `None`, the value is reported with the text that `show` writes.
pub fn map<S: ArrowPrimitiveType, T: ArrowPrimitiveType>(
    array: &PrimitiveArray<S>,
    target: SqlType,
    convert: impl Fn(S::Native) -> Option<T::Native>,
    show: impl Fn(&mut String, S::Native),
    on_fault: OnFault<'_>,
) -> Result<ArrayRef> {
    let mut bad = Vec::new();
    let mut values = Vec::with_capacity(array.len());
    for (row, value) in array.values().iter().enumerate() {
        values.push(convert(*value).unwrap_or_else(|| {
            bad.push(row);
            T::Native::default()
        }));
    }
    // What stands under a NULL is no value.
    bad.retain(|row| array.is_valid(*row));
    for row in &bad {
        let mut text = String::new();
        show(&mut text, array.value(*row));
        on_fault(*row, Fault::out_of_range(target, &text))?;
    }
    let nulls = without_rows(array.nulls(), array.len(), &bad);
    Ok(Arc::new(PrimitiveArray::<T>::try_new(values.into(), nulls)?.with_data_type(target.to_arrow())))
}

/// A canonical number column (see `canonical`) as `target`, any number type or BOOLEAN. `None`: not a number column.
pub fn convert(array: &ArrayRef, target: SqlType, on_fault: OnFault<'_>) -> Result<Option<ArrayRef>> {
    Ok(Some(match array.data_type() {
        DataType::Int16 => from_integer::<Int16Type>(array, target, on_fault)?,
        DataType::Int32 => from_integer::<Int32Type>(array, target, on_fault)?,
        DataType::Int64 => from_integer::<Int64Type>(array, target, on_fault)?,
        DataType::Decimal128(_, scale) => from_decimal(array, *scale, target, on_fault)?,
        DataType::Decimal256(_, scale) => {
            let narrow = from_decimal256(array, *scale, target, on_fault)?;
            return convert(&narrow, target, on_fault);
        }
        DataType::Float32 => {
            let digits = |out: &mut String, value| write_rounded(out, f64::from(value), REAL_DIGITS);
            from_float::<Float32Type>(array, target, digits, |out, value| shown(write_f32(out, value, 1)), on_fault)?
        }
        DataType::Float64 => {
            let digits = |out: &mut String, value| write_rounded(out, value, DOUBLE_DIGITS);
            from_float::<Float64Type>(array, target, digits, |out, value| shown(write_f64(out, value, 1)), on_fault)?
        }
        _ => return Ok(None),
    }))
}

fn from_integer<S: ArrowPrimitiveType>(array: &ArrayRef, target: SqlType, on_fault: OnFault<'_>) -> Result<ArrayRef>
where
    S::Native: Into<i64>,
{
    let array = array.as_primitive::<S>();
    let show = |out: &mut String, value: S::Native| shown(write_decimal(out, i128::from(value.into()), 0));
    match target {
        SqlType::SmallInt => map::<S, Int16Type>(array, target, |value| value.into().try_into().ok(), show, on_fault),
        SqlType::Integer => map::<S, Int32Type>(array, target, |value| value.into().try_into().ok(), show, on_fault),
        SqlType::BigInt => map::<S, Int64Type>(array, target, |value| Some(value.into()), show, on_fault),
        SqlType::Real => map::<S, Float32Type>(array, target, |value| Some(value.into() as f32), show, on_fault),
        SqlType::DoublePrecision => map::<S, Float64Type>(array, target, |value| Some(value.into() as f64), show, on_fault),
        SqlType::Decimal { precision, scale } => {
            let rescale = Rescale::new(0, scale as i8, precision);
            map::<S, Decimal128Type>(array, target, |value| rescale.apply(i128::from(value.into())), show, on_fault)
        }
        _ => {
            let values = array.values();
            let bits = BooleanBuffer::collect_bool(array.len(), |row| values[row].into() != 0);
            Ok(Arc::new(BooleanArray::new(bits, array.nulls().cloned())))
        }
    }
}

/// From one scale to another, rounding half away from zero, with the target's precision checked.
#[derive(Clone, Copy)]
pub struct Rescale {
    up: Option<i128>,
    down: Option<i128>,
    limit: i128,
}

impl Rescale {
    /// From `from` digits behind the point to `to`, with `precision` digits in all.
    pub fn new(from: i8, to: i8, precision: u8) -> Self {
        let distance = i32::from(to) - i32::from(from);
        let power = 10i128.checked_pow(distance.unsigned_abs());
        let (up, down) = if distance >= 0 { (power, Some(1)) } else { (Some(1), power) };
        Self { up, down, limit: 10i128.pow(u32::from(precision.min(38))) }
    }

    /// The rescaled value; `None` if it has too many digits.
    pub fn apply(self, value: i128) -> Option<i128> {
        let scaled = match (self.up, self.down) {
            // The powers are out of 128 bits: all but 0 overflow, all vanish.
            (None, _) => {
                if value == 0 {
                    0
                } else {
                    return None;
                }
            }
            (_, None) => 0,
            (Some(up), Some(1)) => value.checked_mul(up)?,
            (_, Some(down)) => {
                let (quotient, rest) = (value / down, value % down);
                quotient + if rest.unsigned_abs() >= down.unsigned_abs() / 2 { value.signum() } else { 0 }
            }
        };
        (scaled.unsigned_abs() < self.limit.unsigned_abs()).then_some(scaled)
    }
}

fn from_decimal(array: &ArrayRef, scale: i8, target: SqlType, on_fault: OnFault<'_>) -> Result<ArrayRef> {
    let array = array.as_primitive::<Decimal128Type>();
    let show = |out: &mut String, value| shown(write_decimal(out, value, scale));
    let whole = Rescale::new(scale, 0, 38);
    match target {
        SqlType::SmallInt => map::<_, Int16Type>(array, target, |value| whole.apply(value)?.try_into().ok(), show, on_fault),
        SqlType::Integer => map::<_, Int32Type>(array, target, |value| whole.apply(value)?.try_into().ok(), show, on_fault),
        SqlType::BigInt => map::<_, Int64Type>(array, target, |value| whole.apply(value)?.try_into().ok(), show, on_fault),
        SqlType::Decimal { precision, scale: to } => {
            if to as i8 == scale && array.precision() <= precision {
                return Ok(Arc::new(array.clone().with_data_type(target.to_arrow())));
            }
            let rescale = Rescale::new(scale, to as i8, precision);
            map::<_, Decimal128Type>(array, target, |value| rescale.apply(value), show, on_fault)
        }
        SqlType::Real => map::<_, Float32Type>(array, target, |value| decimal_to_f32(value, scale), show, on_fault),
        _ => map::<_, Float64Type>(array, target, |value| Some(decimal_to_f64(value, scale)), show, on_fault),
    }
}

/// 256 bits come from files with more than 38 digits only; what does not fit into 38 digits fits no column.
fn from_decimal256(array: &ArrayRef, scale: i8, target: SqlType, on_fault: OnFault<'_>) -> Result<ArrayRef> {
    let array = array.as_primitive::<Decimal256Type>();
    let to = match target {
        SqlType::Decimal { scale, .. } => scale as i8,
        SqlType::SmallInt | SqlType::Integer | SqlType::BigInt => 0,
        // Floats get all the digits that 38 can hold.
        _ => scale.clamp(0, 37),
    };
    let distance = (i32::from(scale) - i32::from(to)).unsigned_abs();
    let power = i256::from_i128(10).checked_pow(distance);
    let narrow = |value: i256| {
        let scaled = match power {
            Some(power) if i32::from(scale) <= i32::from(to) => value.checked_mul(power)?,
            Some(power) => {
                let (quotient, rest) = (value.checked_div(power)?, value.checked_rem(power)?);
                let half = power.checked_div(i256::from_i128(2))?;
                let up = power > i256::ONE && (rest >= half || rest <= half.wrapping_neg());
                let step = if value < i256::ZERO { i256::MINUS_ONE } else { i256::ONE };
                if up { quotient.checked_add(step)? } else { quotient }
            }
            None if value == i256::ZERO || i32::from(scale) > i32::from(to) => i256::ZERO,
            None => return None,
        };
        scaled.to_i128().filter(|value| value.unsigned_abs() < 10u128.pow(38))
    };
    let show = |out: &mut String, value: i256| out.push_str(&Decimal256Type::format_decimal(value, 76, scale));
    let wide = SqlType::Decimal { precision: 38, scale: to as u8 };
    let mut rename =
        |row: usize, fault: Fault| on_fault(row, Fault::out_of_range(target, fault.value.as_deref().unwrap_or_default()));
    map::<_, Decimal128Type>(array, wide, narrow, show, &mut rename)
}

fn decimal_to_f64(unscaled: i128, scale: i8) -> f64 {
    let power = u32::from(scale.unsigned_abs());
    if scale >= 0 && unscaled.unsigned_abs() <= F64_EXACT_MAX && power <= F64_EXACT_POWER_MAX {
        // Both are exact, so that the one division rounds once.
        return unscaled as f64 / 10f64.powi(power as i32);
    }
    let mut text = String::new();
    shown(write_decimal(&mut text, unscaled, scale));
    // A decimal's text is always a number within a double's range.
    text.parse().unwrap_or(f64::NAN)
}

fn decimal_to_f32(unscaled: i128, scale: i8) -> Option<f32> {
    let mut text = String::new();
    shown(write_decimal(&mut text, unscaled, scale));
    let value: f32 = text.parse().ok()?;
    value.is_finite().then_some(value)
}

fn write_rounded(out: &mut String, value: f64, digits: usize) {
    use std::fmt::Write;
    // Writing to a String does not fail.
    let _ = write!(out, "{value:.*e}", digits - 1);
}

fn from_float<S: ArrowPrimitiveType>(
    array: &ArrayRef,
    target: SqlType,
    digits: impl Fn(&mut String, S::Native),
    show: impl Fn(&mut String, S::Native),
    on_fault: OnFault<'_>,
) -> Result<ArrayRef>
where
    S::Native: Into<f64>,
{
    let array = array.as_primitive::<S>();
    // 2^63 is exact; i64::MAX as a float would be 2^63 too and let it through.
    let whole = |value: S::Native, bits: i32| {
        let rounded = value.into().round_ties_even();
        let limit = 2f64.powi(bits - 1);
        (rounded >= -limit && rounded < limit).then_some(rounded as i64)
    };
    match target {
        SqlType::SmallInt => map::<_, Int16Type>(array, target, |value| Some(whole(value, 16)? as i16), show, on_fault),
        SqlType::Integer => map::<_, Int32Type>(array, target, |value| Some(whole(value, 32)? as i32), show, on_fault),
        SqlType::BigInt => map::<_, Int64Type>(array, target, |value| whole(value, 64), show, on_fault),
        SqlType::Decimal { precision, scale } => {
            let decimal = |value: S::Native| {
                let mut text = String::new();
                digits(&mut text, value);
                parse_decimal(&text, precision, scale as i8).ok()
            };
            map::<_, Decimal128Type>(array, target, decimal, show, on_fault)
        }
        SqlType::Real => map::<_, Float32Type>(array, target, |value| to_f32(value.into()), show, on_fault),
        _ => map::<_, Float64Type>(array, target, |value| Some(value.into()), show, on_fault),
    }
}

/// A finite number must stay finite, and one that is not 0 must not become it.
fn to_f32(value: f64) -> Option<f32> {
    let narrow = value as f32;
    let lost = narrow.is_infinite() && value.is_finite() || narrow == 0.0 && value != 0.0;
    (!lost).then_some(narrow)
}

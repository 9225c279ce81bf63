//! Numbers: whole ones in as few bytes as they need, decimals with their scale, doubles.

use super::tag;
use std::fmt::Write;

/// Most digits of a decimal.
const DECIMAL_MAX_DIGITS: usize = 38;
/// Most digits behind its point.
const SCALE_MAX_DIGITS: usize = 37;
/// Doubles that are written without an exponent.
const PLAIN_DOUBLES: std::ops::Range<f64> = 1e-5..1e15;

/// A number of a SUPER value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number of 64 bits.
    Int(i64),
    /// `unscaled / 10^scale`; with scale 0 only where it has more than 64 bits.
    Decimal(i128, u8),
    /// A double; never NaN or infinite.
    Double(f64),
}

impl Number {
    /// `unscaled / 10^scale`.
    pub fn decimal(unscaled: i128, scale: u8) -> Self {
        match i64::try_from(unscaled) {
            Ok(whole) if scale == 0 => Self::Int(whole),
            _ => Self::Decimal(unscaled, scale),
        }
    }

    /// A double, if JSON has such a number. There is one zero.
    pub fn double(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self::Double(if value == 0.0 { 0.0 } else { value }))
    }

    /// The number of a well-formed JSON text: exact where it has at most 38 digits and no exponent, else the nearest double; `None` where
    /// that is infinite.
    pub fn of_json(text: &str) -> Option<Self> {
        let double = || text.parse::<f64>().ok().and_then(Self::double);
        if text.contains(['e', 'E']) {
            return double();
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = format!("{whole}{fraction}");
        let significant = digits.trim_start_matches(['-', '0']).len();
        if significant > DECIMAL_MAX_DIGITS || fraction.len() > SCALE_MAX_DIGITS {
            return double();
        }
        digits.parse().ok().map(|unscaled: i128| Self::decimal(unscaled, fraction.len() as u8))
    }

    /// Appends its node.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Int(value) => {
                if let Ok(small) = i8::try_from(value) {
                    out.push(tag::INT8);
                    out.extend_from_slice(&small.to_le_bytes());
                } else if let Ok(small) = i16::try_from(value) {
                    out.push(tag::INT16);
                    out.extend_from_slice(&small.to_le_bytes());
                } else if let Ok(small) = i32::try_from(value) {
                    out.push(tag::INT32);
                    out.extend_from_slice(&small.to_le_bytes());
                } else {
                    out.push(tag::INT64);
                    out.extend_from_slice(&value.to_le_bytes());
                }
            }
            Self::Decimal(unscaled, scale) => {
                out.push(tag::DECIMAL);
                let bytes = unscaled.to_le_bytes();
                let sign = if unscaled < 0 { 0xff } else { 0 };
                // As few bytes as keep the sign.
                let mut kept = bytes.len();
                while kept > 1 && bytes[kept - 1] == sign && (bytes[kept - 2] ^ sign) & 0x80 == 0 {
                    kept -= 1;
                }
                out.push(kept as u8 + 1);
                out.push(scale);
                out.extend_from_slice(&bytes[..kept]);
            }
            Self::Double(value) => {
                out.push(tag::DOUBLE);
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
    }

    /// Reads what follows the tag of a number.
    pub(super) fn read(first: u8, rest: &[u8]) -> Option<Self> {
        Some(match first {
            tag::INT8 => Self::Int(i8::from_le_bytes(rest.try_into().ok()?).into()),
            tag::INT16 => Self::Int(i16::from_le_bytes(rest.try_into().ok()?).into()),
            tag::INT32 => Self::Int(i32::from_le_bytes(rest.try_into().ok()?).into()),
            tag::INT64 => Self::Int(i64::from_le_bytes(rest.try_into().ok()?)),
            tag::DECIMAL => {
                let (length, rest) = rest.split_first()?;
                let (scale, digits) = rest.split_first()?;
                if usize::from(*length) != rest.len() || digits.is_empty() || digits.len() > 16 {
                    return None;
                }
                let sign = if digits.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
                let mut bytes = [sign; 16];
                bytes[..digits.len()].copy_from_slice(digits);
                Self::Decimal(i128::from_le_bytes(bytes), *scale)
            }
            tag::DOUBLE => Self::double(f64::from_le_bytes(rest.try_into().ok()?))?,
            _ => return None,
        })
    }

    /// Appends its digits, as JSON has them.
    pub fn write_text(self, out: &mut String) -> std::fmt::Result {
        match self {
            Self::Int(value) => write!(out, "{value}"),
            Self::Decimal(unscaled, scale) => write_decimal(out, unscaled, scale),
            // The fewest digits that read back as it.
            Self::Double(value) if value == 0.0 || PLAIN_DOUBLES.contains(&value.abs()) => write!(out, "{value}"),
            Self::Double(value) => write!(out, "{value:e}"),
        }
    }
}

fn write_decimal(out: &mut String, unscaled: i128, scale: u8) -> std::fmt::Result {
    let (sign, digits) = (if unscaled < 0 { "-" } else { "" }, unscaled.unsigned_abs());
    match 10u128.checked_pow(scale.into()) {
        Some(power) if scale > 0 => {
            write!(out, "{sign}{}.{:0width$}", digits / power, digits % power, width = usize::from(scale))
        }
        _ => write!(out, "{unscaled}"),
    }
}

/// A number's digits.
pub fn number_text(number: Number) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = number.write_text(&mut text);
    text
}

//! Floats as PostgreSQL prints them: the fewest digits that read back as the same number.

use std::fmt::{self, Write};

/// From this decimal exponent on, a DOUBLE PRECISION is printed as `1e+15`.
const DOUBLE_EXPONENT_MAX: i32 = 15;
/// From this decimal exponent on, a REAL is printed as `1e+06`.
const REAL_EXPONENT_MAX: i32 = 6;
/// Below this decimal exponent both are printed as `1e-05`.
const EXPONENT_MIN: i32 = -4;

/// Writes a DOUBLE PRECISION.
pub fn write_double(value: f64, out: &mut impl Write) -> fmt::Result {
    match special(value) {
        Some(name) => out.write_str(name),
        None => write_digits(&format!("{value:e}"), DOUBLE_EXPONENT_MAX, out),
    }
}

/// Writes a REAL.
pub fn write_real(value: f32, out: &mut impl Write) -> fmt::Result {
    match special(f64::from(value)) {
        Some(name) => out.write_str(name),
        None => write_digits(&format!("{value:e}"), REAL_EXPONENT_MAX, out),
    }
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value == f64::INFINITY {
        Some("Infinity")
    } else if value == f64::NEG_INFINITY {
        Some("-Infinity")
    } else {
        None
    }
}

/// `scientific` is Rust's form `-1.2345e-7`, which has the shortest digits.
fn write_digits(scientific: &str, exponent_max: i32, out: &mut impl Write) -> fmt::Result {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().map_err(|_| fmt::Error)?;
    let unsigned = mantissa.strip_prefix('-').unwrap_or(mantissa);
    if unsigned.len() < mantissa.len() {
        out.write_char('-')?;
    }
    if !(EXPONENT_MIN..exponent_max).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return write!(out, "{unsigned}e{sign}{:02}", exponent.unsigned_abs());
    }
    let (first, rest) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    if exponent < 0 {
        let zeros = usize::try_from(-exponent - 1).unwrap_or(0);
        return write!(out, "0.{:0<zeros$}{first}{rest}", "");
    }
    let whole = usize::try_from(exponent).unwrap_or(0);
    match rest.split_at_checked(whole) {
        Some((whole_digits, "")) => write!(out, "{first}{whole_digits}"),
        Some((whole_digits, fraction)) => write!(out, "{first}{whole_digits}.{fraction}"),
        None => write!(out, "{first}{rest:0<whole$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_postgresql_does() {
        let doubles = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (-1.5, "-1.5"),
            (0.3 - 0.1, "0.19999999999999998"),
            (100_000_000_000_000.0, "100000000000000"),
            (1e15, "1e+15"),
            (123_456_789_012_345.6, "123456789012345.6"),
            (9_007_199_254_740_991.0, "9.007199254740991e+15"),
            (0.0001, "0.0001"),
            (0.00001234, "1.234e-05"),
            (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in doubles {
            let mut text = String::new();
            write_double(value, &mut text).unwrap();
            assert_eq!(text, expected);
        }
        for (value, expected) in [(100_000f32, "100000"), (1e6, "1e+06"), (0.1, "0.1"), (16_777_216.0, "1.6777216e+07")] {
            let mut text = String::new();
            write_real(value, &mut text).unwrap();
            assert_eq!(text, expected);
        }
    }
}

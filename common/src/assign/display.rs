//! Values as PostgreSQL's text.

use super::calendar::{DAY_MICROS, civil_from_days};
use std::fmt::Write;

/// Appends `unscaled / 10^scale`.
pub fn write_decimal(out: &mut String, unscaled: i128, scale: i8) {
    // Writing to a String does not fail.
    let _ = if scale <= 0 {
        write!(out, "{unscaled}")
    } else {
        let (sign, digits) = (if unscaled < 0 { "-" } else { "" }, unscaled.unsigned_abs());
        match 10u128.checked_pow(scale as u32) {
            Some(power) => write!(out, "{sign}{}.{:0width$}", digits / power, digits % power, width = scale as usize),
            None => write!(out, "{unscaled}e-{scale}"),
        }
    };
    if scale < 0 && unscaled != 0 {
        out.extend(std::iter::repeat_n('0', usize::from(scale.unsigned_abs())));
    }
}

/// Appends a double precision number in its shortest form that reads back as itself.
pub fn write_f64(out: &mut String, value: f64) {
    write_float(out, value.is_nan(), value.is_infinite(), value < 0.0, format!("{value:e}"), 15);
}

/// Appends a real number in its shortest form that reads back as itself.
pub fn write_f32(out: &mut String, value: f32) {
    write_float(out, value.is_nan(), value.is_infinite(), value < 0.0, format!("{value:e}"), 6);
}

/// PostgreSQL writes numbers below 1e-4 and from 10^`plain_digits` on with an exponent of two digits or more.
fn write_float(out: &mut String, nan: bool, infinite: bool, negative: bool, scientific: String, plain_digits: i32) {
    if nan {
        return out.push_str("NaN");
    }
    if infinite {
        return out.push_str(if negative { "-Infinity" } else { "Infinity" });
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    out.push_str(sign);
    if !(-4..plain_digits).contains(&exponent) {
        let _ = write!(out, "{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
        return;
    }
    let digits = mantissa.replace('.', "");
    if exponent < 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', (-exponent - 1) as usize));
        out.push_str(&digits);
        return;
    }
    let whole = exponent as usize + 1;
    match digits.split_at_checked(whole) {
        Some((whole, "")) => out.push_str(whole),
        Some((whole, fraction)) => {
            let _ = write!(out, "{whole}.{fraction}");
        }
        None => {
            out.push_str(&digits);
            out.extend(std::iter::repeat_n('0', whole - digits.len()));
        }
    }
}

/// Appends `2024-01-31`.
pub fn write_date(out: &mut String, days: i32) {
    if write_day(out, days) {
        out.push_str(" BC");
    }
}

/// Appends the day without its era; yields whether it is before Christ.
fn write_day(out: &mut String, days: i32) -> bool {
    let (year, month, day) = civil_from_days(days);
    let shown = if year <= 0 { 1 - year } else { year };
    let _ = write!(out, "{shown:04}-{month:02}-{day:02}");
    year <= 0
}

/// Appends `13:14:15.5`, with `+00` if `zone`.
pub fn write_time(out: &mut String, micros: i64, zone: bool) {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction != 0 {
        let digits = format!("{fraction:06}");
        let _ = write!(out, ".{}", digits.trim_end_matches('0'));
    }
    if zone {
        out.push_str("+00");
    }
}

/// Appends `2024-01-31 13:14:15.5`, with `+00` if `zone`.
pub fn write_timestamp(out: &mut String, micros: i64, zone: bool) {
    // Micros of 64 bits are days of 28 bits.
    let before_christ = write_day(out, micros.div_euclid(DAY_MICROS) as i32);
    out.push(' ');
    write_time(out, micros.rem_euclid(DAY_MICROS), zone);
    if before_christ {
        out.push_str(" BC");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn floats_look_as_in_postgresql() {
        let doubles = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (0.1, "0.1"),
            (123_456.0, "123456"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (1.25e20, "1.25e+20"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-1.5e-7, "-1.5e-07"),
            (1e300, "1e+300"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in doubles {
            assert_eq!(text(|out| write_f64(out, value)), expected);
        }
        assert_eq!(text(|out| write_f32(out, 0.1)), "0.1");
        assert_eq!(text(|out| write_f32(out, 1e6)), "1e+06");
        assert_eq!(text(|out| write_f32(out, 123_456.0)), "123456");
    }

    #[test]
    fn decimals_and_times_look_as_in_postgresql() {
        assert_eq!(text(|out| write_decimal(out, -5, 2)), "-0.05");
        assert_eq!(text(|out| write_decimal(out, 1234, 2)), "12.34");
        assert_eq!(text(|out| write_decimal(out, 12, -2)), "1200");
        let most = 10i128.pow(38) - 1;
        assert_eq!(text(|out| write_decimal(out, -most, 37)), format!("-9.{}", "9".repeat(37)));
        assert_eq!(text(|out| write_date(out, 19_753)), "2024-01-31");
        assert_eq!(text(|out| write_date(out, -719_163)), "0001-12-31 BC");
        assert_eq!(text(|out| write_timestamp(out, -1, true)), "1969-12-31 23:59:59.999999+00");
        assert_eq!(text(|out| write_timestamp(out, 1_500_000, false)), "1970-01-01 00:00:01.5");
    }
}

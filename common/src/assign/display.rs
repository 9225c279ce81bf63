//! Values as text: the one form of each type, for casts, `||`, columns of strings and clients alike (DateStyle ISO,
//! IntervalStyle postgres).

use super::calendar::civil_from_days;
use super::zone::{Zone, offset_text};
use crate::time_units::{MICROS_PER_DAY, MICROS_PER_SECOND, NANOS_PER_MICRO};
use arrow::datatypes::IntervalMonthDayNano;
use std::fmt::{self, Write};

/// Digits beyond the type's own that floats are shown with unless the client asks for others (`extra_float_digits`).
pub const EXTRA_FLOAT_DIGITS_DEFAULT: i32 = 0;
/// Significant digits that every DOUBLE PRECISION keeps.
const DOUBLE_DIGITS: i32 = 15;
/// Significant digits that every REAL keeps.
const REAL_DIGITS: i32 = 6;
const MONTHS_PER_YEAR: i32 = 12;

/// Appends `unscaled / 10^scale`.
pub fn write_decimal(out: &mut impl Write, unscaled: i128, scale: i8) -> fmt::Result {
    if scale <= 0 {
        let zeros = if unscaled == 0 { 0 } else { usize::from(scale.unsigned_abs()) };
        return write!(out, "{unscaled}{:0<zeros$}", "");
    }
    let (sign, digits) = (if unscaled < 0 { "-" } else { "" }, unscaled.unsigned_abs());
    match 10u128.checked_pow(scale.unsigned_abs().into()) {
        Some(power) => {
            write!(out, "{sign}{}.{:0width$}", digits / power, digits % power, width = usize::from(scale.unsigned_abs()))
        }
        None => write!(out, "{unscaled}e-{scale}"),
    }
}

/// Appends a double precision number with so many digits more than 15; with one more or beyond, the fewest that read back as itself.
pub fn write_f64(out: &mut impl Write, value: f64, extra_digits: i32) -> fmt::Result {
    let scientific = match extra_digits {
        1.. => format!("{value:e}"),
        _ => rounded(value, DOUBLE_DIGITS + extra_digits),
    };
    write_float(out, value, &scientific, if extra_digits > 0 { DOUBLE_DIGITS } else { DOUBLE_DIGITS + extra_digits })
}

/// Appends a real number with so many digits more than 6; with one more or beyond, the fewest that read back as itself.
pub fn write_f32(out: &mut impl Write, value: f32, extra_digits: i32) -> fmt::Result {
    let wide = f64::from(value);
    let scientific = match extra_digits {
        1.. => format!("{value:e}"),
        _ => rounded(wide, REAL_DIGITS + extra_digits),
    };
    write_float(out, wide, &scientific, if extra_digits > 0 { REAL_DIGITS } else { REAL_DIGITS + extra_digits })
}

/// `1.25e-7`: so many significant digits, no zeros behind the last one that counts.
fn rounded(value: f64, digits: i32) -> String {
    let places = usize::try_from(digits - 1).unwrap_or(0);
    let text = format!("{value:.places$e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) if mantissa.contains('.') => {
            format!("{}e{exponent}", mantissa.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

/// PostgreSQL writes numbers below 1e-4 and from 10^`plain_digits` on with an exponent of two digits or more.
fn write_float(out: &mut impl Write, value: f64, scientific: &str, plain_digits: i32) -> fmt::Result {
    if value.is_nan() {
        return out.write_str("NaN");
    }
    if value.is_infinite() {
        return out.write_str(if value < 0.0 { "-Infinity" } else { "Infinity" });
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().map_err(|_| fmt::Error)?;
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    out.write_str(sign)?;
    if !(-4..plain_digits.max(1)).contains(&exponent) {
        return write!(out, "{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    let (first, rest) = mantissa.split_once('.').unwrap_or((mantissa, ""));
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

/// Appends `2024-01-31`; years before 1 end in ` BC`.
pub fn write_date(out: &mut impl Write, days: i32) -> fmt::Result {
    let before_christ = write_day(out, days)?;
    write_era(out, before_christ)
}

/// Appends the day without its era; yields whether it is before Christ.
fn write_day(out: &mut impl Write, days: i32) -> Result<bool, fmt::Error> {
    let (year, month, day) = civil_from_days(days);
    let shown = if year <= 0 { 1 - year } else { year };
    write!(out, "{shown:04}-{month:02}-{day:02}")?;
    Ok(year <= 0)
}

fn write_era(out: &mut impl Write, before_christ: bool) -> fmt::Result {
    if before_christ { out.write_str(" BC") } else { Ok(()) }
}

/// Appends `13:14:15.5`, with `+00` if `zone`: every zoned value is shown in UTC.
pub fn write_time(out: &mut impl Write, micros: i64, zone: bool) -> fmt::Result {
    write_clock(out, micros.unsigned_abs())?;
    if zone { out.write_str("+00") } else { Ok(()) }
}

/// Hours, minutes, seconds, and the fraction without the zeros behind it.
fn write_clock(out: &mut impl Write, micros: u64) -> fmt::Result {
    let per_second = MICROS_PER_SECOND.unsigned_abs();
    let (seconds, mut fraction) = (micros / per_second, micros % per_second);
    write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
    if fraction == 0 {
        return Ok(());
    }
    let mut width = 6;
    while fraction % 10 == 0 {
        fraction /= 10;
        width -= 1;
    }
    write!(out, ".{fraction:0width$}")
}

/// Appends `2024-01-31 13:14:15.5`.
pub fn write_timestamp(out: &mut impl Write, micros: i64) -> fmt::Result {
    write_moment(out, micros, "")
}

/// Appends an instant as its wall clock in a zone, `2024-01-31 13:14:15.5+09`; without one, in UTC. What has no wall clock there, at the end of
/// the range, is shown in UTC.
pub fn write_instant(out: &mut impl Write, micros: i64, zone: Option<&Zone>) -> fmt::Result {
    let local = zone.and_then(|zone| Some((zone.to_local(micros)?, offset_text(zone.offset_seconds(micros)))));
    match local {
        Some((local, offset)) => write_moment(out, local, &offset),
        None => write_moment(out, micros, "+00"),
    }
}

fn write_moment(out: &mut impl Write, micros: i64, offset: &str) -> fmt::Result {
    // Micros of 64 bits are days of 28 bits.
    let before_christ = write_day(out, micros.div_euclid(MICROS_PER_DAY) as i32)?;
    out.write_char(' ')?;
    write_time(out, micros.rem_euclid(MICROS_PER_DAY), false)?;
    out.write_str(offset)?;
    write_era(out, before_christ)
}

/// Appends `1 year 2 mons 3 days 04:05:06.7`.
pub fn write_interval(out: &mut impl Write, interval: IntervalMonthDayNano) -> fmt::Result {
    let micros = interval.nanoseconds / NANOS_PER_MICRO;
    let parts = [(interval.months / MONTHS_PER_YEAR, "year"), (interval.months % MONTHS_PER_YEAR, "mon"), (interval.days, "day")];
    // A positive part behind a negative one needs its sign to be read back.
    let (mut empty, mut after_negative) = (true, false);
    for (count, name) in parts.into_iter().filter(|(count, _)| *count != 0) {
        let blank = if empty { "" } else { " " };
        let plus = if after_negative && count > 0 { "+" } else { "" };
        let plural = if count == 1 { "" } else { "s" };
        write!(out, "{blank}{plus}{count} {name}{plural}")?;
        (empty, after_negative) = (false, count < 0);
    }
    if micros == 0 && !empty {
        return Ok(());
    }
    let sign = match (micros < 0, after_negative) {
        (true, _) => "-",
        (false, true) => "+",
        (false, false) => "",
    };
    write!(out, "{}{sign}", if empty { "" } else { " " })?;
    write_clock(out, micros.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
        let mut out = String::new();
        write(&mut out).unwrap();
        out
    }

    #[test]
    fn floats_with_one_digit_more_are_the_shortest_that_read_back() {
        let doubles = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (1.5, "1.5"),
            (0.1, "0.1"),
            (0.3 - 0.1, "0.19999999999999998"),
            (123_456.0, "123456"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (123_456_789_012_345.6, "123456789012345.6"),
            (9_007_199_254_740_991.0, "9.007199254740991e+15"),
            (1.25e20, "1.25e+20"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-1.5e-7, "-1.5e-07"),
            (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in doubles {
            assert_eq!(text(|out| write_f64(out, value, 1)), expected);
        }
        let reals = [(0.1, "0.1"), (100_000.0, "100000"), (1e6, "1e+06"), (123_456.0, "123456"), (16_777_216.0, "1.6777216e+07")];
        for (value, expected) in reals {
            assert_eq!(text(|out| write_f32(out, value, 1)), expected);
        }
    }

    #[test]
    fn floats_have_as_many_digits_as_are_asked_for() {
        assert_eq!(text(|out| write_f64(out, 0.3 - 0.1, 0)), "0.2");
        assert_eq!(text(|out| write_f64(out, 1.0 / 3.0, 0)), "0.333333333333333");
        assert_eq!(text(|out| write_f64(out, 2.0 / 3.0, -12)), "0.667");
        assert_eq!(text(|out| write_f64(out, 1234.5, -12)), "1.23e+03");
        assert_eq!(text(|out| write_f64(out, 9_007_199_254_740_991.0, 0)), "9.00719925474099e+15");
        assert_eq!(text(|out| write_f64(out, 999_999_999_999_999.9, 0)), "1e+15");
        assert_eq!(text(|out| write_f64(out, -0.0, 0)), "-0");
        assert_eq!(text(|out| write_f64(out, f64::INFINITY, 0)), "Infinity");
        assert_eq!(text(|out| write_f32(out, 0.1, 0)), "0.1");
        assert_eq!(text(|out| write_f32(out, 16_777_216.0, 0)), "1.67772e+07");
    }

    #[test]
    fn decimals_and_times_look_as_in_postgresql() {
        assert_eq!(text(|out| write_decimal(out, -5, 2)), "-0.05");
        assert_eq!(text(|out| write_decimal(out, 1234, 2)), "12.34");
        assert_eq!(text(|out| write_decimal(out, 12, -2)), "1200");
        assert_eq!(text(|out| write_decimal(out, 0, -2)), "0");
        let most = 10i128.pow(38) - 1;
        assert_eq!(text(|out| write_decimal(out, -most, 37)), format!("-9.{}", "9".repeat(37)));
        assert_eq!(text(|out| write_date(out, 19_753)), "2024-01-31");
        assert_eq!(text(|out| write_date(out, -719_163)), "0001-12-31 BC");
        assert_eq!(text(|out| write_instant(out, -1, None)), "1969-12-31 23:59:59.999999+00");
        assert_eq!(text(|out| write_timestamp(out, 1_500_000)), "1970-01-01 00:00:01.5");
        assert_eq!(text(|out| write_timestamp(out, i64::MIN)), "290309-12-21 19:59:05.224192 BC");
        assert_eq!(text(|out| write_timestamp(out, i64::MAX)), "294247-01-10 04:00:54.775807");
        assert_eq!(text(|out| write_time(out, 10, true)), "00:00:00.00001+00");
    }

    #[test]
    fn intervals_print_in_postgres_style() {
        let shown = |months, days, nanos| text(|out| write_interval(out, IntervalMonthDayNano::new(months, days, nanos)));
        assert_eq!(shown(14, 3, 14_706_789_000_000), "1 year 2 mons 3 days 04:05:06.789");
        assert_eq!(shown(0, 0, 0), "00:00:00");
        assert_eq!(shown(-1, 3, -1_000_000_000), "-1 mons +3 days -00:00:01");
        assert_eq!(shown(-1, 0, 1_000_000_000), "-1 mons +00:00:01");
        assert_eq!(shown(0, 1, 0), "1 day");
        assert_eq!(shown(0, 0, -3_661_000_000_000), "-01:01:01");
    }
}

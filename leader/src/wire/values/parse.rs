//! Text that a client sends as a typed value: read as casts and loads read it.

use datafusion::common::ScalarValue;
use slipher_common::assign::{Zone, parse_scalar};
use slipher_common::sql_type::DECIMAL_PRECISION_MAX_DIGITS;
use slipher_common::{Error, ErrorKind, Result, SqlType};
use std::sync::Arc;

/// Reads `text` as a value of `sql_type`; moments that name no zone are in `zone`, or in UTC. A decimal keeps the digits it was written with where the type's scale would
/// lose some: a parameter is compared with what the client wrote, not with it rounded.
pub fn parse_value(text: &str, sql_type: SqlType, zone: Option<&Arc<Zone>>) -> Result<ScalarValue> {
    match sql_type {
        SqlType::Decimal { precision, scale } => {
            let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace());
            fit_decimal(parse_decimal(trimmed)?, precision, scale)
        }
        // A parameter's length is a guess: it is as long as it is.
        SqlType::Char(_) => Ok(ScalarValue::Utf8View(Some(text.trim_end_matches(' ').to_owned()))),
        SqlType::VarChar(_) => Ok(ScalarValue::Utf8View(Some(text.to_owned()))),
        other => parse_scalar(text, other, zone),
    }
}

fn invalid(text: &str, sql_type: &str) -> Error {
    Error::new(ErrorKind::InvalidText, format!("invalid input syntax for type {sql_type}: \"{text}\""))
}

fn out_of_range(text: &str, sql_type: &str) -> Error {
    Error::new(ErrorKind::NumericOutOfRange, format!("value \"{text}\" is out of range for type {sql_type}"))
}

/// An exact number: `unscaled / 10^scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// All digits as one integer.
    pub unscaled: i128,
    /// Digits behind the point.
    pub scale: u8,
}

/// Reads `-12.30` or `1.5e3`.
pub fn parse_decimal(text: &str) -> Result<Decimal> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| invalid(text, "numeric"))?),
        None => (text, 0),
    };
    let unsigned = mantissa.strip_prefix(['+', '-']).unwrap_or(mantissa);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let all_digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if !all_digits || whole.len() + fraction.len() == 0 {
        return Err(invalid(text, "numeric"));
    }
    let mut digits = format!("{whole}{fraction}");
    let mut scale = i64::try_from(fraction.len()).unwrap_or(i64::MAX).saturating_sub(i64::from(exponent));
    if scale < 0 {
        let zeros = usize::try_from(-scale).unwrap_or(usize::MAX);
        if zeros > usize::from(DECIMAL_PRECISION_MAX_DIGITS) && digits.bytes().any(|digit| digit != b'0') {
            return Err(out_of_range(text, "numeric"));
        }
        digits.push_str(&"0".repeat(zeros.min(usize::from(DECIMAL_PRECISION_MAX_DIGITS))));
        scale = 0;
    }
    let significant = digits.trim_start_matches('0');
    if significant.len() > usize::from(DECIMAL_PRECISION_MAX_DIGITS) || scale > i64::from(DECIMAL_PRECISION_MAX_DIGITS) {
        return Err(out_of_range(text, "numeric").with_detail("a numeric has at most 38 digits"));
    }
    let magnitude: i128 =
        if significant.is_empty() { 0 } else { significant.parse().map_err(|_| out_of_range(text, "numeric"))? };
    let unscaled = if mantissa.starts_with('-') { -magnitude } else { magnitude };
    Ok(Decimal { unscaled, scale: scale as u8 })
}

/// `value` in the wanted precision and scale where that loses nothing, else in its own.
pub fn fit_decimal(value: Decimal, precision: u8, scale: u8) -> Result<ScalarValue> {
    let rescaled = scale
        .checked_sub(value.scale)
        .and_then(|places| 10i128.checked_pow(u32::from(places)))
        .and_then(|factor| value.unscaled.checked_mul(factor));
    if let Some(unscaled) = rescaled.filter(|unscaled| digits(*unscaled) <= precision) {
        return Ok(ScalarValue::Decimal128(Some(unscaled), precision, scale as i8));
    }
    let own_precision = digits(value.unscaled).max(value.scale).max(1);
    if own_precision > DECIMAL_PRECISION_MAX_DIGITS {
        return Err(Error::new(ErrorKind::NumericOutOfRange, "a numeric has at most 38 digits"));
    }
    Ok(ScalarValue::Decimal128(Some(value.unscaled), own_precision, value.scale as i8))
}

fn digits(unscaled: i128) -> u8 {
    unscaled.unsigned_abs().checked_ilog10().map_or(0, |log| log as u8 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(unscaled: i128, precision: u8, scale: i8) -> ScalarValue {
        ScalarValue::Decimal128(Some(unscaled), precision, scale)
    }

    #[test]
    fn decimals_take_the_type_they_fit_and_never_lose_digits() {
        let numeric = SqlType::Decimal { precision: 10, scale: 2 };
        for (text, expected) in [
            ("12.3", decimal(1230, 10, 2)),
            ("-0.05", decimal(-5, 10, 2)),
            ("12.345", decimal(12345, 5, 3)),
            ("123456789", decimal(123_456_789, 9, 0)),
            ("1.5e3", decimal(150_000, 10, 2)),
            (".5", decimal(50, 10, 2)),
            ("1e-3", decimal(1, 3, 3)),
        ] {
            assert_eq!(parse_value(text, numeric, None).unwrap(), expected, "{text}");
        }
        for (text, state) in [("", "22P02"), ("1.2.3", "22P02"), ("NaN", "22P02"), ("1e40", "22003"), ("1e-2000000000", "22003")]
        {
            assert_eq!(parse_value(text, numeric, None).unwrap_err().sqlstate(), state, "{text}");
        }
    }

    #[test]
    fn dates_and_times_read_what_drivers_write() {
        let micros = 1_704_164_645_123_000;
        for text in ["2024-01-02 03:04:05.123", "2024-01-02T03:04:05.123", "2024-01-02 03:04:05.123+05", "20240102 03:04:05.123"]
        {
            assert_eq!(
                parse_value(text, SqlType::Timestamp, None).unwrap(),
                ScalarValue::TimestampMicrosecond(Some(micros), None),
                "{text}"
            );
        }
        for text in ["2024-01-02 03:04:05.123Z", "2024-01-02 08:34:05.123+05:30", "2024-01-01 23:04:05.123 -0400"] {
            let expected = ScalarValue::TimestampMicrosecond(Some(micros), Some(Arc::from("UTC")));
            assert_eq!(parse_value(text, SqlType::TimestampTz, None).unwrap(), expected, "{text}");
        }
        for text in ["2024-01-02", "2024-01-02 +01", "2024-01-02 00:00:00", "20240102"] {
            assert_eq!(parse_value(text, SqlType::Date, None).unwrap(), ScalarValue::Date32(Some(19_724)), "{text}");
        }
        assert_eq!(parse_value("0001-01-01 BC", SqlType::Date, None).unwrap(), ScalarValue::Date32(Some(-719_528)));
        assert_eq!(parse_value("01:00+02", SqlType::TimeTz, None).unwrap(), ScalarValue::Time64Microsecond(Some(82_800_000_000)));
        assert_eq!(parse_value("24:00", SqlType::Time, None).unwrap(), ScalarValue::Time64Microsecond(Some(86_400_000_000)));
    }

    #[test]
    fn what_is_no_value_is_refused_with_its_sqlstate() {
        for (text, sql_type, state) in [
            ("2024-02-30", SqlType::Date, "22008"),
            ("yesterday", SqlType::Date, "22007"),
            ("2024-01-02 25:00", SqlType::Timestamp, "22008"),
            ("é", SqlType::Date, "22007"),
            ("aé bc", SqlType::Timestamp, "22007"),
            ("40000", SqlType::SmallInt, "22003"),
            ("12.5", SqlType::Integer, "22P02"),
            ("1e400", SqlType::DoublePrecision, "22003"),
            ("maybe", SqlType::Boolean, "22P02"),
        ] {
            assert_eq!(parse_value(text, sql_type, None).unwrap_err().sqlstate(), state, "{text}");
        }
    }
}

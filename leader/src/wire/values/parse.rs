//! Text that a client sends as a typed value: what PostgreSQL reads, dates and times in ISO order only.

use super::calendar::{CivilDate, MICROS_PER_DAY, MICROS_PER_SECOND};
use datafusion::common::ScalarValue;
use slipher_common::sql_type::DECIMAL_PRECISION_MAX_DIGITS;
use slipher_common::{Error, ErrorKind, Result, SqlType};
use std::str::FromStr;
use std::sync::Arc;

/// Last second of the widest zone offset.
const ZONE_OFFSET_MAX_SECONDS: i64 = 16 * 3_600;
/// Decimal places of a second that are kept.
const FRACTION_DIGITS: usize = 6;

/// Reads `text` as a value of `sql_type`. A decimal keeps the digits it was written with where the type's scale would
/// lose some: a parameter is compared with what the client wrote, not with it rounded.
pub fn parse_value(text: &str, sql_type: SqlType) -> Result<ScalarValue> {
    let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace());
    Ok(match sql_type {
        SqlType::SmallInt => ScalarValue::Int16(Some(parse_integer(trimmed, sql_type)?)),
        SqlType::Integer => ScalarValue::Int32(Some(parse_integer(trimmed, sql_type)?)),
        SqlType::BigInt => ScalarValue::Int64(Some(parse_integer(trimmed, sql_type)?)),
        SqlType::Decimal { precision, scale } => fit_decimal(parse_decimal(trimmed)?, precision, scale)?,
        SqlType::Real => ScalarValue::Float32(Some(parse_real(trimmed)?)),
        SqlType::DoublePrecision => ScalarValue::Float64(Some(parse_double(trimmed)?)),
        SqlType::Boolean => ScalarValue::Boolean(Some(parse_boolean(trimmed)?)),
        SqlType::Char(_) => ScalarValue::Utf8View(Some(text.trim_end_matches(' ').to_owned())),
        SqlType::VarChar(_) => ScalarValue::Utf8View(Some(text.to_owned())),
        SqlType::Date => ScalarValue::Date32(Some(parse_date(trimmed)?)),
        SqlType::Time => ScalarValue::Time64Microsecond(Some(parse_time(trimmed, false)?)),
        SqlType::TimeTz => ScalarValue::Time64Microsecond(Some(parse_time(trimmed, true)?)),
        SqlType::Timestamp => ScalarValue::TimestampMicrosecond(Some(parse_timestamp(trimmed, false)?), None),
        SqlType::TimestampTz => ScalarValue::TimestampMicrosecond(Some(parse_timestamp(trimmed, true)?), Some(Arc::from("UTC"))),
    })
}

fn invalid(text: &str, sql_type: &str) -> Error {
    Error::new(ErrorKind::InvalidText, format!("invalid input syntax for type {sql_type}: \"{text}\""))
}

fn out_of_range(text: &str, sql_type: &str) -> Error {
    Error::new(ErrorKind::NumericOutOfRange, format!("value \"{text}\" is out of range for type {sql_type}"))
}

fn parse_integer<T: FromStr>(text: &str, sql_type: SqlType) -> Result<T> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid(text, &sql_type.to_string()));
    }
    text.parse().map_err(|_| out_of_range(text, &sql_type.to_string()))
}

/// `inf` and `nan` in any case are Rust's and PostgreSQL's forms alike.
fn parse_double(text: &str) -> Result<f64> {
    let value: f64 = text.parse().map_err(|_| invalid(text, "double precision"))?;
    let infinite = value.is_infinite() && text.contains(|c: char| c.is_ascii_digit());
    if infinite { Err(out_of_range(text, "double precision")) } else { Ok(value) }
}

fn parse_real(text: &str) -> Result<f32> {
    let value: f32 = text.parse().map_err(|_| invalid(text, "real"))?;
    let infinite = value.is_infinite() && text.contains(|c: char| c.is_ascii_digit());
    if infinite { Err(out_of_range(text, "real")) } else { Ok(value) }
}

fn parse_boolean(text: &str) -> Result<bool> {
    match text.to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => Ok(true),
        "f" | "false" | "n" | "no" | "off" | "0" => Ok(false),
        _ => Err(invalid(text, "boolean")),
    }
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

/// Walks over the fields of a date or time.
struct Fields<'a> {
    whole: &'a str,
    rest: &'a str,
    sql_type: &'static str,
}

impl<'a> Fields<'a> {
    fn new(text: &'a str, sql_type: &'static str) -> Self {
        Self { whole: text, rest: text, sql_type }
    }

    fn invalid(&self) -> Error {
        Error::new(ErrorKind::InvalidDatetime, format!("invalid input syntax for type {}: \"{}\"", self.sql_type, self.whole))
            .with_hint("write dates and times as 2024-01-02 03:04:05.678+00")
    }

    fn out_of_range(&self) -> Error {
        Error::new(ErrorKind::DatetimeOutOfRange, format!("date/time field value out of range: \"{}\"", self.whole))
    }

    fn skip(&mut self, prefix: char) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }

    fn digits(&mut self, at_least: usize, at_most: usize) -> Result<i64> {
        let end = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        if end < at_least || end > at_most {
            return Err(self.invalid());
        }
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        digits.parse().map_err(|_| self.invalid())
    }

    /// `2024-01-02` or `20240102`; the era comes last and is looked for at once.
    fn date(&mut self) -> Result<i64> {
        let before_christ = match self.rest.get(self.rest.len().saturating_sub(3)..) {
            Some(end) if end.eq_ignore_ascii_case(" bc") => {
                self.rest = self.rest[..self.rest.len() - 3].trim_end();
                true
            }
            _ => false,
        };
        let run = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (year, month, day) = if run == 8 {
            let packed = self.digits(8, 8)?;
            (packed / 10_000, packed / 100 % 100, packed % 100)
        } else {
            let year = self.digits(4, 7)?;
            if !self.skip('-') {
                return Err(self.invalid());
            }
            let month = self.digits(1, 2)?;
            if !self.skip('-') {
                return Err(self.invalid());
            }
            (year, month, self.digits(1, 2)?)
        };
        if year == 0 {
            return Err(self.out_of_range());
        }
        let year = if before_christ { 1 - year } else { year };
        let date = CivilDate { year, month: month as u32, day: day as u32 };
        date.to_days().ok_or_else(|| self.out_of_range())
    }

    /// `03:04`, `03:04:05` or `03:04:05.678901`, to 24:00.
    fn time(&mut self) -> Result<i64> {
        let hour = self.digits(1, 2)?;
        if !self.skip(':') {
            return Err(self.invalid());
        }
        let minute = self.digits(2, 2)?;
        let second = if self.skip(':') { self.digits(2, 2)? } else { 0 };
        let fraction = if self.skip('.') { self.fraction()? } else { 0 };
        if hour > 24 || minute > 59 || second > 60 {
            return Err(self.out_of_range());
        }
        let micros = ((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + fraction;
        if micros > MICROS_PER_DAY { Err(self.out_of_range()) } else { Ok(micros) }
    }

    /// Digits behind the point as microseconds, rounded.
    fn fraction(&mut self) -> Result<i64> {
        let end = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        let kept = &digits[..end.min(FRACTION_DIGITS)];
        let micros: i64 = format!("{kept:0<FRACTION_DIGITS$}").parse().map_err(|_| self.invalid())?;
        let round_up = digits.as_bytes().get(FRACTION_DIGITS).is_some_and(|digit| *digit >= b'5');
        Ok(micros + i64::from(round_up))
    }

    /// `Z`, `UTC`, `+02`, `-0330`, `+05:30:00`; seconds east of UTC, `None` when nothing is there.
    fn zone(&mut self) -> Result<Option<i64>> {
        self.skip_blanks();
        for name in ["UTC", "GMT", "Z"] {
            if self.rest.eq_ignore_ascii_case(name) {
                self.rest = "";
                return Ok(Some(0));
            }
        }
        let east = match self.rest.chars().next() {
            Some('+') => 1,
            Some('-') => -1,
            _ => return Ok(None),
        };
        self.rest = &self.rest[1..];
        let packed = self.rest.bytes().take_while(u8::is_ascii_digit).count() == 4;
        let (hours, mut seconds) = if packed {
            let packed = self.digits(4, 4)?;
            (packed / 100, packed % 100 * 60)
        } else {
            (self.digits(1, 2)?, 0)
        };
        if self.skip(':') {
            seconds += self.digits(2, 2)? * 60;
        }
        if self.skip(':') {
            seconds += self.digits(2, 2)?;
        }
        let offset = hours * 3_600 + seconds;
        if offset > ZONE_OFFSET_MAX_SECONDS { Err(self.out_of_range()) } else { Ok(Some(east * offset)) }
    }

    fn end(&self) -> Result<()> {
        if self.rest.trim().is_empty() { Ok(()) } else { Err(self.invalid()) }
    }
}

/// Days since 1970. Drivers write a zone or a midnight behind a date; both mean nothing here.
fn parse_date(text: &str) -> Result<i32> {
    let mut fields = Fields::new(text, "date");
    let days = fields.date()?;
    if fields.skip('T') || fields.rest.starts_with(' ') {
        fields.skip_blanks();
        if fields.rest.starts_with(|c: char| c.is_ascii_digit()) {
            fields.time()?;
        }
    }
    fields.zone()?;
    fields.end()?;
    i32::try_from(days).map_err(|_| fields.out_of_range())
}

/// Microseconds of the day, in UTC when `zoned`; without `zoned` a zone is read over.
fn parse_time(text: &str, zoned: bool) -> Result<i64> {
    let mut fields = Fields::new(text, if zoned { "time with time zone" } else { "time" });
    let micros = fields.time()?;
    let zone = fields.zone()?;
    fields.end()?;
    match zone.filter(|_| zoned) {
        Some(east) if east != 0 => Ok((micros - east * MICROS_PER_SECOND).rem_euclid(MICROS_PER_DAY)),
        _ => Ok(micros),
    }
}

/// Microseconds since 1970, in UTC when `zoned`; without `zoned` a zone is read over.
fn parse_timestamp(text: &str, zoned: bool) -> Result<i64> {
    let mut fields = Fields::new(text, if zoned { "timestamp with time zone" } else { "timestamp" });
    let days = fields.date()?;
    if !fields.skip('T') {
        fields.skip_blanks();
    }
    let time = if fields.rest.starts_with(|c: char| c.is_ascii_digit()) { fields.time()? } else { 0 };
    let zone = fields.zone()?;
    fields.end()?;
    let east = zone.filter(|_| zoned).unwrap_or(0);
    days.checked_mul(MICROS_PER_DAY)
        .and_then(|micros| micros.checked_add(time - east * MICROS_PER_SECOND))
        .ok_or_else(|| fields.out_of_range())
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
            assert_eq!(parse_value(text, numeric).unwrap(), expected, "{text}");
        }
        for (text, state) in [("", "22P02"), ("1.2.3", "22P02"), ("NaN", "22P02"), ("1e40", "22003"), ("1e-2000000000", "22003")]
        {
            assert_eq!(parse_value(text, numeric).unwrap_err().sqlstate(), state, "{text}");
        }
    }

    #[test]
    fn dates_and_times_read_what_drivers_write() {
        let micros = 1_704_164_645_123_000;
        for text in ["2024-01-02 03:04:05.123", "2024-01-02T03:04:05.123", "2024-01-02 03:04:05.123+05", "20240102 03:04:05.123"]
        {
            assert_eq!(
                parse_value(text, SqlType::Timestamp).unwrap(),
                ScalarValue::TimestampMicrosecond(Some(micros), None),
                "{text}"
            );
        }
        for text in ["2024-01-02 03:04:05.123Z", "2024-01-02 08:34:05.123+05:30", "2024-01-01 23:04:05.123 -0400"] {
            let expected = ScalarValue::TimestampMicrosecond(Some(micros), Some(Arc::from("UTC")));
            assert_eq!(parse_value(text, SqlType::TimestampTz).unwrap(), expected, "{text}");
        }
        for text in ["2024-01-02", "2024-01-02 +01", "2024-01-02 00:00:00", "20240102"] {
            assert_eq!(parse_value(text, SqlType::Date).unwrap(), ScalarValue::Date32(Some(19_724)), "{text}");
        }
        assert_eq!(parse_value("0001-01-01 BC", SqlType::Date).unwrap(), ScalarValue::Date32(Some(-719_528)));
        assert_eq!(parse_value("01:00+02", SqlType::TimeTz).unwrap(), ScalarValue::Time64Microsecond(Some(82_800_000_000)));
        assert_eq!(parse_value("24:00", SqlType::Time).unwrap(), ScalarValue::Time64Microsecond(Some(MICROS_PER_DAY)));
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
            assert_eq!(parse_value(text, sql_type).unwrap_err().sqlstate(), state, "{text}");
        }
    }
}

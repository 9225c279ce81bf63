//! Numbers and booleans from text, as PostgreSQL reads them.

use super::fault::TextFault;
use crate::numeric::{canonical_f32, canonical_f64};

/// Largest exponent that is looked at; beyond it a number is 0 or out of range anyway.
const EXPONENT_MAX: i64 = 100_000;

/// Without the blanks around it.
pub fn trim(text: &str) -> &str {
    text.trim_ascii()
}

/// `t`, `yes`, `off`, `1` and the like.
pub fn parse_bool(text: &str) -> Result<bool, TextFault> {
    let text = trim(text);
    let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is(&["t", "true", "1", "y", "yes", "on", "tr", "tru", "ye"]) {
        Ok(true)
    } else if is(&["f", "false", "0", "n", "no", "off", "fa", "fal", "fals", "of"]) {
        Ok(false)
    } else {
        Err(TextFault::Syntax)
    }
}

/// An optionally signed run of digits.
pub fn parse_i64(text: &str) -> Result<i64, TextFault> {
    let text = trim(text).as_bytes();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return Err(TextFault::Syntax);
    }
    // Negative all the way: i64::MIN has no positive counterpart.
    let mut value = Some(0i64);
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(TextFault::Syntax);
        }
        value = value.and_then(|value| value.checked_mul(10)).and_then(|value| value.checked_sub(i64::from(digit)));
    }
    if negative { value } else { value.and_then(i64::checked_neg) }.ok_or(TextFault::Range)
}

/// A number with optional sign, point and exponent as an unscaled DECIMAL(`precision`, `scale`), rounded half away from zero.
pub fn parse_decimal(text: &str, precision: u8, scale: i8) -> Result<i128, TextFault> {
    read_decimal(text, precision, scale, true)
}

/// The same; digits behind the scale are cut, not rounded.
pub fn parse_decimal_cut(text: &str, precision: u8, scale: i8) -> Result<i128, TextFault> {
    read_decimal(text, precision, scale, false)
}

fn read_decimal(text: &str, precision: u8, scale: i8, round: bool) -> Result<i128, TextFault> {
    let number = Number::split(trim(text).as_bytes())?;
    let limit = 10i128.pow(u32::from(precision.min(38)));
    let unscaled = number.unscaled(i64::from(scale), round).ok_or(TextFault::Range)?;
    if unscaled >= limit {
        return Err(TextFault::Range);
    }
    Ok(if number.negative { -unscaled } else { unscaled })
}

/// The parts of a number's text.
struct Number<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Number<'a> {
    fn split(text: &'a [u8]) -> Result<Self, TextFault> {
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        let (whole, rest) = rest.split_at(rest.iter().take_while(|byte| byte.is_ascii_digit()).count());
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => rest.split_at(rest.iter().take_while(|byte| byte.is_ascii_digit()).count()),
            _ => (&[][..], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(TextFault::Syntax);
        }
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', digits @ ..] => {
                let digits = std::str::from_utf8(digits).map_err(|_| TextFault::Syntax)?;
                match parse_i64(digits) {
                    Ok(exponent) if !digits.contains(|c: char| c.is_ascii_whitespace()) => {
                        exponent.clamp(-EXPONENT_MAX, EXPONENT_MAX)
                    }
                    Err(TextFault::Range) => {
                        if digits.starts_with('-') {
                            -EXPONENT_MAX
                        } else {
                            EXPONENT_MAX
                        }
                    }
                    _ => return Err(TextFault::Syntax),
                }
            }
            _ => return Err(TextFault::Syntax),
        };
        Ok(Self { negative, whole, fraction, exponent })
    }

    fn digit(&self, index: i64) -> i128 {
        let Ok(index) = usize::try_from(index) else { return 0 };
        let byte = self.whole.get(index).or_else(|| self.fraction.get(index.wrapping_sub(self.whole.len())));
        byte.map_or(0, |byte| i128::from(byte - b'0'))
    }

    /// The absolute value times 10^scale, rounded half up or cut; `None` beyond 39 digits.
    fn unscaled(&self, scale: i64, round: bool) -> Option<i128> {
        let digits = (self.whole.len() + self.fraction.len()) as i64;
        let kept = self.whole.len() as i64 + self.exponent + scale;
        let mut value = 0i128;
        for index in 0..kept {
            // Behind the last digit only zeros follow: nothing changes for 0, all else overflows within 39 steps.
            if index >= digits && value == 0 {
                break;
            }
            value = value.checked_mul(10)?.checked_add(self.digit(index))?;
        }
        let up = round && kept >= 0 && self.digit(kept) >= 5;
        value.checked_add(i128::from(up))
    }

    fn is_zero(&self) -> bool {
        self.whole.iter().chain(self.fraction).all(|digit| *digit == b'0')
    }
}

/// A double precision number.
pub fn parse_f64(text: &str) -> Result<f64, TextFault> {
    let text = trim(text);
    let value: f64 = text.parse().map_err(|_| TextFault::Syntax)?;
    check_float(text, value == 0.0, value.is_infinite())?;
    Ok(canonical_f64(value))
}

/// A real number.
pub fn parse_f32(text: &str) -> Result<f32, TextFault> {
    let text = trim(text);
    let value: f32 = text.parse().map_err(|_| TextFault::Syntax)?;
    check_float(text, value == 0.0, value.is_infinite())?;
    Ok(canonical_f32(value))
}

/// A number too large or too small for the type reads as infinite or zero: that is out of range, not a value.
fn check_float(text: &str, zero: bool, infinite: bool) -> Result<(), TextFault> {
    let written = || Number::split(text.as_bytes());
    if infinite && written().is_ok() || zero && written().is_ok_and(|number| !number.is_zero()) {
        return Err(TextFault::Range);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_booleans() {
        assert_eq!(parse_i64(" 9223372036854775807 "), Ok(i64::MAX));
        assert_eq!(parse_i64("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(parse_i64("9223372036854775808"), Err(TextFault::Range));
        assert_eq!(parse_i64("+7"), Ok(7));
        for bad in ["", "-", "1.0", "1 2", "abc", "--1", "99999999999999999999x"] {
            assert_eq!(parse_i64(bad), Err(TextFault::Syntax), "{bad}");
        }
        for (text, expected) in [("t", true), (" YES ", true), ("on", true), ("0", false), ("False", false), ("off", false)] {
            assert_eq!(parse_bool(text), Ok(expected), "{text}");
        }
        assert_eq!(parse_bool("2"), Err(TextFault::Syntax));
    }

    #[test]
    fn decimals_round_half_away_from_zero_and_have_38_digits() {
        let nines = "9".repeat(38);
        let most = 10i128.pow(38) - 1;
        assert_eq!(parse_decimal(&nines, 38, 0), Ok(most));
        assert_eq!(parse_decimal(&format!("-{nines}"), 38, 0), Ok(-most));
        assert_eq!(parse_decimal(&format!("{nines}.5"), 38, 0), Err(TextFault::Range));
        assert_eq!(parse_decimal(&"9".repeat(60), 38, 0), Err(TextFault::Range));
        assert_eq!(parse_decimal("9.99", 3, 2), Ok(999));
        assert_eq!(parse_decimal("9.995", 3, 2), Err(TextFault::Range));
        assert_eq!(parse_decimal("0.005", 5, 2), Ok(1));
        assert_eq!(parse_decimal("-0.005", 5, 2), Ok(-1));
        assert_eq!(parse_decimal("0.00499999999999999999999999999999999999999999", 5, 2), Ok(0));
        assert_eq!(parse_decimal("1.5e3", 10, 2), Ok(150_000));
        assert_eq!(parse_decimal("15E-1", 10, 0), Ok(2));
        assert_eq!(parse_decimal("5e-1", 10, 0), Ok(1));
        assert_eq!(parse_decimal("5e-2", 10, 0), Ok(0));
        assert_eq!(parse_decimal("0e99999999999999999999", 10, 2), Ok(0));
        assert_eq!(parse_decimal("1e99999999999999999999", 10, 2), Err(TextFault::Range));
        assert_eq!(parse_decimal("1e-99999999999999999999", 10, 2), Ok(0));
        assert_eq!(parse_decimal_cut("20.259", 8, 2), Ok(2025));
        assert_eq!(parse_decimal_cut("-20.259", 8, 2), Ok(-2025));
        assert_eq!(parse_decimal_cut("9.999", 3, 2), Ok(999));
        assert_eq!(parse_decimal(" .5 ", 3, 1), Ok(5));
        assert_eq!(parse_decimal("5.", 3, 1), Ok(50));
        for bad in ["", ".", "1.2.3", "NaN", "1e", "e5", "1 2", "1e 5", "0x10"] {
            assert_eq!(parse_decimal(bad, 10, 2), Err(TextFault::Syntax), "{bad}");
        }
    }

    #[test]
    fn floats_refuse_what_they_cannot_hold() {
        assert_eq!(parse_f64(" 1.5e3 "), Ok(1500.0));
        assert!(parse_f64("NaN").is_ok_and(f64::is_nan));
        assert_eq!(parse_f64("-Infinity"), Ok(f64::NEG_INFINITY));
        assert_eq!(parse_f64("1e400"), Err(TextFault::Range));
        assert_eq!(parse_f64("1e-400"), Err(TextFault::Range));
        assert_eq!(parse_f64("0e-400"), Ok(0.0));
        assert_eq!(parse_f32("1e39"), Err(TextFault::Range));
        assert_eq!(parse_f64("1,5"), Err(TextFault::Syntax));
    }
}

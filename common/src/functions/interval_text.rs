//! Intervals from text: PostgreSQL's and Redshift's forms.

use super::DatePart;
use crate::assign::TextFault;
use crate::time_units::{DAYS_PER_MONTH, MICROS_PER_DAY, MICROS_PER_SECOND};
use arrow::datatypes::IntervalMonthDayNano;

/// Fractions of a number are kept in billionths.
const FRACTION_DIGITS: usize = 9;
const FRACTION_UNIT: i64 = 1_000_000_000;
const MONTHS_PER_YEAR: i64 = 12;

/// Months, days and microseconds, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    months: i64,
    days: i64,
    micros: i64,
}

/// A number as it is written: its whole part, and billionths with the same sign.
#[derive(Clone, Copy, Debug)]
struct Number {
    negative: bool,
    whole: i64,
    billionths: i64,
}

impl Number {
    fn parse(text: &str) -> Result<Self, TextFault> {
        let (negative, digits) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
        if !all_digits || whole.len() + fraction.len() == 0 {
            return Err(TextFault::Syntax);
        }
        let read = |digits: &str| if digits.is_empty() { Ok(0) } else { digits.parse::<i64>().map_err(|_| TextFault::Range) };
        let kept = &fraction[..fraction.len().min(FRACTION_DIGITS)];
        Ok(Self { negative, whole: read(whole)?, billionths: read(&format!("{kept:0<FRACTION_DIGITS$}"))? })
    }

    fn sign(self) -> i64 {
        if self.negative { -1 } else { 1 }
    }

    /// The fraction of so many smaller units: whole ones, and the billionths that are left.
    fn fraction_of(self, units: i64) -> (i64, i64) {
        let all = i128::from(self.billionths) * i128::from(units);
        let unit = i128::from(FRACTION_UNIT);
        ((all / unit) as i64, (all % unit) as i64)
    }
}

fn add(into: &mut i64, value: Option<i64>) -> Result<(), TextFault> {
    *into = value.and_then(|value| into.checked_add(value)).ok_or(TextFault::Range)?;
    Ok(())
}

impl Sum {
    fn add_micros(&mut self, number: Number, unit: i64) -> Result<(), TextFault> {
        let (part, rest) = number.fraction_of(unit);
        let rounded = part + i64::from(rest * 2 >= FRACTION_UNIT);
        let all = number.whole.checked_mul(unit).and_then(|whole| whole.checked_add(rounded));
        add(&mut self.micros, all.map(|all| all * number.sign()))
    }

    fn add_days(&mut self, number: Number, unit: i64) -> Result<(), TextFault> {
        let (part, rest) = number.fraction_of(unit);
        let all = number.whole.checked_mul(unit).and_then(|whole| whole.checked_add(part));
        add(&mut self.days, all.map(|all| all * number.sign()))?;
        self.add_micros(Number { whole: 0, billionths: rest, ..number }, MICROS_PER_DAY)
    }

    fn add_months(&mut self, number: Number, unit: i64) -> Result<(), TextFault> {
        let (part, rest) = number.fraction_of(unit);
        let all = number.whole.checked_mul(unit).and_then(|whole| whole.checked_add(part));
        add(&mut self.months, all.map(|all| all * number.sign()))?;
        self.add_days(Number { whole: 0, billionths: rest, ..number }, DAYS_PER_MONTH)
    }

    fn add(&mut self, number: Number, part: DatePart) -> Result<(), TextFault> {
        match part {
            DatePart::Millennium => self.add_months(number, 1000 * MONTHS_PER_YEAR),
            DatePart::Century => self.add_months(number, 100 * MONTHS_PER_YEAR),
            DatePart::Decade => self.add_months(number, 10 * MONTHS_PER_YEAR),
            DatePart::Year => self.add_months(number, MONTHS_PER_YEAR),
            DatePart::Quarter => self.add_months(number, 3),
            DatePart::Month => self.add_months(number, 1),
            DatePart::Week => self.add_days(number, 7),
            DatePart::Day => self.add_days(number, 1),
            DatePart::Hour => self.add_micros(number, 3600 * MICROS_PER_SECOND),
            DatePart::Minute => self.add_micros(number, 60 * MICROS_PER_SECOND),
            DatePart::Second => self.add_micros(number, MICROS_PER_SECOND),
            DatePart::Millisecond => self.add_micros(number, 1_000),
            DatePart::Microsecond => self.add_micros(number, 1),
            _ => Err(TextFault::Syntax),
        }
    }

    /// `2:03`, `-02:03:04.5`: hours and minutes, and seconds.
    fn add_clock(&mut self, text: &str) -> Result<(), TextFault> {
        let (negative, digits) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let units = [DatePart::Hour, DatePart::Minute, DatePart::Second];
        let mut count = 0;
        for (index, part) in digits.split(':').enumerate() {
            let unit = units.get(index).ok_or(TextFault::Syntax)?;
            if part.starts_with(['-', '+']) || (index < 2 && part.contains('.')) {
                return Err(TextFault::Syntax);
            }
            let number = Number { negative, ..Number::parse(part)? };
            if index > 0 && number.whole > 59 {
                return Err(TextFault::Range);
            }
            self.add(number, *unit)?;
            count += 1;
        }
        if count < 2 { Err(TextFault::Syntax) } else { Ok(()) }
    }

    fn negate(self) -> Self {
        Self { months: self.months.saturating_neg(), days: self.days.saturating_neg(), micros: self.micros.saturating_neg() }
    }

    fn finish(self) -> Result<IntervalMonthDayNano, TextFault> {
        let months = i32::try_from(self.months).map_err(|_| TextFault::Range)?;
        let days = i32::try_from(self.days).map_err(|_| TextFault::Range)?;
        let nanoseconds = self.micros.checked_mul(1_000).ok_or(TextFault::Range)?;
        Ok(IntervalMonthDayNano::new(months, days, nanoseconds))
    }
}

/// Reads `1 year 2 mons -3 days 04:05:06.7`, `5 weeks ago`, `1-2`, `P1DT2H`; a number without a unit is of `unit`.
pub(super) fn parse_interval(text: &str, unit: DatePart) -> Result<IntervalMonthDayNano, TextFault> {
    let text = text.trim_ascii();
    if let Some(rest) = text.strip_prefix(['P', 'p']) {
        return iso(rest);
    }
    let tokens = split(text.strip_prefix('@').unwrap_or(text));
    let mut sum = Sum::default();
    let mut ago = false;
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        index += 1;
        let next = tokens.get(index).copied();
        if token.eq_ignore_ascii_case("ago") && next.is_none() && index > 1 {
            ago = true;
        } else if token.contains(':') {
            sum.add_clock(token)?;
        } else if let Some((years, months)) = years_and_months(token) {
            let (years, months) = (Number::parse(years)?, Number::parse(months)?);
            sum.add(years, DatePart::Year)?;
            sum.add(Number { negative: years.negative, ..months }, DatePart::Month)?;
        } else {
            let number = Number::parse(token)?;
            let part = match next {
                Some(word) if is_word(word) && !word.eq_ignore_ascii_case("ago") => {
                    index += 1;
                    DatePart::parse(word).map_err(|_| TextFault::Syntax)?
                }
                // The days before a time of day.
                Some(clock) if clock.contains(':') => DatePart::Day,
                Some(rest) if !is_word(rest) && unit == DatePart::Hour => DatePart::Day,
                Some(rest) if !is_word(rest) && unit == DatePart::Month => DatePart::Year,
                _ => unit,
            };
            sum.add(number, part)?;
        }
    }
    if index == 0 {
        return Err(TextFault::Syntax);
    }
    if ago { sum.negate() } else { sum }.finish()
}

fn is_word(token: &str) -> bool {
    token.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
}

/// Parts between blanks and commas; a unit may stand right behind its number.
fn split(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    for token in text.split(|c: char| c.is_ascii_whitespace() || c == ',').filter(|token| !token.is_empty()) {
        match token.find(|c: char| c.is_ascii_alphabetic()) {
            Some(at) if at > 0 => tokens.extend([&token[..at], &token[at..]]),
            _ => tokens.push(token),
        }
    }
    tokens
}

/// `1-2`, with a sign in front or without.
fn years_and_months(token: &str) -> Option<(&str, &str)> {
    let at = 1 + token.get(1..)?.find('-')?;
    Some((&token[..at], &token[at + 1..]))
}

/// ISO 8601 behind its `P`: `1Y2M3DT4H5M6.7S`, `4W`.
fn iso(text: &str) -> Result<IntervalMonthDayNano, TextFault> {
    let mut sum = Sum::default();
    let mut rest = text;
    let mut in_time = false;
    let mut count = 0;
    while let Some(first) = rest.bytes().next() {
        if matches!(first, b'T' | b't') && !in_time {
            in_time = true;
            rest = &rest[1..];
            continue;
        }
        let at = rest.find(|c: char| c.is_ascii_alphabetic()).ok_or(TextFault::Syntax)?;
        let part = match (rest.as_bytes()[at].to_ascii_uppercase(), in_time) {
            (b'Y', false) => DatePart::Year,
            (b'M', false) => DatePart::Month,
            (b'W', false) => DatePart::Week,
            (b'D', false) => DatePart::Day,
            (b'H', true) => DatePart::Hour,
            (b'M', true) => DatePart::Minute,
            (b'S', true) => DatePart::Second,
            _ => return Err(TextFault::Syntax),
        };
        sum.add(Number::parse(&rest[..at])?, part)?;
        rest = &rest[at + 1..];
        count += 1;
    }
    if count == 0 { Err(TextFault::Syntax) } else { sum.finish() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let shown = |text: &str| {
            let mut out = String::new();
            let interval = parse_interval(text, DatePart::Second).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
            crate::assign::write_interval(&mut out, interval).unwrap();
            out
        };
        for (text, expected) in [
            ("100", "00:01:40"),
            ("1 day 02:03:04", "1 day 02:03:04"),
            ("1 2:03:04", "1 day 02:03:04"),
            ("1 year 2 months 3 days 4 hours 5 minutes 6.789 seconds", "1 year 2 mons 3 days 04:05:06.789"),
            ("2 weeks ago", "-14 days"),
            ("@ 1 minute", "00:01:00"),
            ("-1 day +02:03", "-1 days +02:03:00"),
            ("-00:30", "-00:30:00"),
            ("1.5 years", "1 year 6 mons"),
            ("1.5 months", "1 mon 15 days"),
            ("1.5 weeks", "10 days 12:00:00"),
            ("0.5 days", "12:00:00"),
            ("1.0000005 seconds", "00:00:01.000001"),
            ("1-2", "1 year 2 mons"),
            ("-1-2", "-1 years -2 mons"),
            ("3h", "03:00:00"),
            ("5d 3h, 2m", "5 days 03:02:00"),
            ("1 mon", "1 mon"),
            ("2 qtrs", "6 mons"),
            ("1 c", "100 years"),
            ("1 millennium", "1000 years"),
            ("250 ms 5 us", "00:00:00.250005"),
            ("36 hours", "36:00:00"),
            ("P1Y2M3DT4H5M6.5S", "1 year 2 mons 3 days 04:05:06.5"),
            ("P4W", "28 days"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        for bad in ["", "day", "1 fortnight", "ago", "1:2:3:4", "1x:00", "P", "P1", "1 dow", "--1 day", "é"] {
            assert_eq!(parse_interval(bad, DatePart::Second), Err(TextFault::Syntax), "{bad}");
        }
        for far in ["300 c 99999999999 years", "99999999999999999999 days", "9999999999 hours", "1:60"] {
            assert_eq!(parse_interval(far, DatePart::Second), Err(TextFault::Range), "{far}");
        }
    }

    #[test]
    fn numbers_without_a_unit_have_the_one_behind_the_literal() {
        assert_eq!(parse_interval("3", DatePart::Day), Ok(IntervalMonthDayNano::new(0, 3, 0)));
        assert_eq!(parse_interval("1.5", DatePart::Hour), Ok(IntervalMonthDayNano::new(0, 0, 5_400_000_000_000)));
        assert_eq!(parse_interval("3 04:00", DatePart::Second), Ok(IntervalMonthDayNano::new(0, 3, 14_400_000_000_000)));
        assert_eq!(parse_interval("3 4", DatePart::Hour), Ok(IntervalMonthDayNano::new(0, 3, 14_400_000_000_000)));
        assert_eq!(parse_interval("3-4", DatePart::Month), Ok(IntervalMonthDayNano::new(40, 0, 0)));
    }
}

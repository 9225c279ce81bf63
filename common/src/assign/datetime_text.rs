//! Dates and times from text: the forms PostgreSQL reads with DateStyle "ISO, MDY".

use super::calendar::{days_from_civil, is_day};
use super::fault::TextFault;
use super::scalar_text::trim;
use crate::time_units::MICROS_PER_DAY;

/// Furthest offset from UTC, in seconds (15:59:59, as in PostgreSQL).
const ZONE_OFFSET_MAX_SECONDS: i32 = 15 * 3600 + 59 * 60 + 59;
/// Months by their first three letters.
const MONTHS: [&str; 12] =
    ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"];
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
/// Zone names and their offset in hours.
const ZONES: [(&str, i32); 12] = [
    ("z", 0),
    ("utc", 0),
    ("gmt", 0),
    ("zulu", 0),
    ("est", -5),
    ("edt", -4),
    ("cst", -6),
    ("cdt", -5),
    ("mst", -7),
    ("mdt", -6),
    ("pst", -8),
    ("pdt", -7),
];

/// What a text says of a point in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Days from 1970-01-01.
    pub days: Option<i32>,
    /// Microseconds from midnight; 24:00:00 and a leap second reach the next day.
    pub time_micros: Option<i64>,
    /// Seconds east of UTC.
    pub zone_seconds: Option<i32>,
}

impl Moment {
    /// The day.
    pub fn date(self) -> Result<i32, TextFault> {
        self.days.ok_or(TextFault::Syntax)
    }

    /// The time of day, whatever its zone; 24:00 is the end of the day.
    pub fn time(self) -> Result<i64, TextFault> {
        let micros = self.time_micros.ok_or(TextFault::Syntax)?;
        if micros <= MICROS_PER_DAY { Ok(micros) } else { Err(TextFault::Range) }
    }

    /// The time of day in UTC.
    pub fn time_utc(self) -> Result<i64, TextFault> {
        Ok((self.time()? - self.offset_micros()).rem_euclid(MICROS_PER_DAY))
    }

    /// Day and time, whatever the zone; a day alone is its midnight.
    pub fn timestamp(self) -> Result<i64, TextFault> {
        let midnight = i64::from(self.date()?).checked_mul(MICROS_PER_DAY).ok_or(TextFault::Range)?;
        midnight.checked_add(self.time_micros.unwrap_or_default()).ok_or(TextFault::Range)
    }

    /// Day and time in UTC; without a zone it is UTC already.
    pub fn timestamp_utc(self) -> Result<i64, TextFault> {
        self.timestamp()?.checked_sub(self.offset_micros()).ok_or(TextFault::Range)
    }

    fn offset_micros(self) -> i64 {
        i64::from(self.zone_seconds.unwrap_or_default()) * 1_000_000
    }
}

/// Reads `text`. With `year_first`, dates in numbers must begin with the year: `01/02/2024` is refused, not guessed.
pub fn parse_moment(text: &str, year_first: bool) -> Result<Moment, TextFault> {
    let text = trim(text);
    if let Some(moment) = iso(text.as_bytes()) {
        return Ok(moment);
    }
    let mut parts = Parts { year_first, ..Parts::default() };
    for token in text.split(|c: char| c.is_ascii_whitespace() || c == ',').filter(|token| !token.is_empty()) {
        parts.take(token)?;
    }
    parts.finish()
}

fn two_digits(text: &[u8]) -> Option<u32> {
    match text {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some(u32::from(tens - b'0') * 10 + u32::from(ones - b'0')),
        _ => None,
    }
}

/// The common case without any search: `2024-01-31`, and behind it `[ T]10:11:12[.fraction][zone]`. `None`: look closer.
fn iso(text: &[u8]) -> Option<Moment> {
    let (date, rest) = text.split_at_checked(10)?;
    if date[4] != b'-' || date[7] != b'-' {
        return None;
    }
    let year = i64::from(two_digits(&date[..2])? * 100 + two_digits(&date[2..4])?);
    let (month, day) = (two_digits(&date[5..7])?, two_digits(&date[8..])?);
    if year == 0 || !is_day(year, month, day) {
        return None;
    }
    let days = Some(days_from_civil(year, month, day));
    match rest {
        [] => Some(Moment { days, ..Moment::default() }),
        [b' ' | b'T', rest @ ..] => {
            let (time_micros, rest) = clock(rest).ok()?;
            let zone_seconds = if rest.is_empty() { None } else { Some(zone_offset(rest).ok()?) };
            Some(Moment { days, time_micros: Some(time_micros), zone_seconds })
        }
        _ => None,
    }
}

/// Up to `max` digits at the start of `text`, and the rest.
pub(super) fn leading_number(text: &[u8], max: usize) -> Option<(u32, &[u8])> {
    let count = text.iter().take(max).take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(count);
    let value = digits.iter().try_fold(0u32, |value, digit| value.checked_mul(10)?.checked_add(u32::from(digit - b'0')))?;
    (count > 0).then_some((value, rest))
}

/// A fraction of a second in microseconds (rounded) behind its point, and the rest.
pub(super) fn fraction_micros(text: &[u8]) -> (i64, &[u8]) {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(count);
    let digit = |index: usize| digits.get(index).map_or(0, |digit| i64::from(digit - b'0'));
    let micros = (0..6).fold(0, |value, index| value * 10 + digit(index));
    (micros + i64::from(digit(6) >= 5), rest)
}

/// Microseconds of hour, minute and second.
pub(super) fn clock_micros(hour: u32, minute: u32, second: u32, fraction: i64) -> Result<i64, TextFault> {
    let midnight = hour == 24 && minute == 0 && second == 0 && fraction == 0;
    if (hour > 23 && !midnight) || minute > 59 || second > 60 || (second == 60 && fraction > 0) {
        return Err(TextFault::Range);
    }
    Ok((i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second)) * 1_000_000 + fraction)
}

/// `10:11[:12[.5]]` at the start of `text` in microseconds, and the rest.
fn clock(text: &[u8]) -> Result<(i64, &[u8]), TextFault> {
    let (hour, rest) = leading_number(text, 2).ok_or(TextFault::Syntax)?;
    let rest = rest.strip_prefix(b":").ok_or(TextFault::Syntax)?;
    let (minute, rest) = leading_number(rest, 2).ok_or(TextFault::Syntax)?;
    let (mut second, mut fraction, mut rest) = (0, 0, rest);
    if let Some(behind) = rest.strip_prefix(b":") {
        (second, rest) = leading_number(behind, 2).ok_or(TextFault::Syntax)?;
        if let Some(behind) = rest.strip_prefix(b".") {
            (fraction, rest) = fraction_micros(behind);
        }
    }
    Ok((clock_micros(hour, minute, second, fraction)?, rest))
}

/// Hours east of UTC of a zone's abbreviation.
pub fn zone_of_abbreviation(name: &str) -> Option<i32> {
    ZONES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, hours)| *hours)
}

/// `Z`, `UTC`, `EST`, `+02`, `+0230`, `-02:30[:15]` in seconds east of UTC; blanks in front are skipped.
pub(super) fn zone_offset(text: &[u8]) -> Result<i32, TextFault> {
    let text = text.trim_ascii();
    let (sign, digits) = match text {
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => {
            let name = std::str::from_utf8(text).map_err(|_| TextFault::Syntax)?;
            return zone_of_abbreviation(name).map(|hours| hours * 3600).ok_or(TextFault::Syntax);
        }
    };
    let (hours, rest) = leading_number(digits, 2).ok_or(TextFault::Syntax)?;
    let mut parts = [hours, 0, 0];
    let mut rest = rest;
    for part in &mut parts[1..] {
        if rest.is_empty() {
            break;
        }
        let digits = rest.strip_prefix(b":").unwrap_or(rest);
        (*part, rest) = leading_number(digits, 2).ok_or(TextFault::Syntax)?;
    }
    if !rest.is_empty() {
        return Err(TextFault::Syntax);
    }
    let seconds = parts.iter().fold(0i32, |sum, part| sum * 60 + *part as i32);
    if parts[1] > 59 || parts[2] > 59 || seconds > ZONE_OFFSET_MAX_SECONDS {
        return Err(TextFault::Range);
    }
    Ok(sign * seconds)
}

/// The month (from 1) that `word` names or abbreviates to three letters or more.
pub(super) fn month_of(word: &str) -> Option<u32> {
    let word = word.trim_end_matches('.').to_ascii_lowercase();
    let index = MONTHS.iter().position(|month| word.len() >= 3 && month.starts_with(&word))?;
    Some(index as u32 + 1)
}

/// A year of two digits is one of 1970 to 2069.
pub(super) fn full_year(year: u32, digits: usize) -> i64 {
    let year = i64::from(year);
    match (digits, year) {
        (1 | 2, 0..70) => 2000 + year,
        (1 | 2, _) => 1900 + year,
        _ => year,
    }
}

/// A text's parts in any order.
#[derive(Default)]
struct Parts {
    year_first: bool,
    date: Option<(i64, u32, u32)>,
    month: Option<u32>,
    day: Option<u32>,
    year: Option<i64>,
    time: Option<i64>,
    zone: Option<i32>,
    afternoon: Option<bool>,
    before_christ: bool,
}

impl Parts {
    fn take(&mut self, token: &str) -> Result<(), TextFault> {
        let bytes = token.as_bytes();
        let split = (1..bytes.len()).find(|at| {
            matches!(bytes[*at], b'T' | b't')
                && bytes[at - 1].is_ascii_digit()
                && bytes.get(at + 1).is_some_and(|next| next.is_ascii_digit())
        });
        if let Some(at) = split {
            self.take(&token[..at])?;
            return self.take_time(&bytes[at + 1..]);
        }
        match bytes {
            [b'+' | b'-', ..] => self.take_zone(bytes),
            _ if bytes.contains(&b':') => self.take_time(bytes),
            _ if bytes.iter().all(u8::is_ascii_digit) => self.take_number(token),
            _ if bytes[0].is_ascii_alphabetic() => self.take_word(token),
            _ => self.take_date(token),
        }
    }

    fn take_zone(&mut self, text: &[u8]) -> Result<(), TextFault> {
        if (self.time.is_none() && self.date.is_none()) || self.zone.is_some() {
            return Err(TextFault::Syntax);
        }
        self.zone = Some(zone_offset(text)?);
        Ok(())
    }

    /// `10:11:12.5`, `101112`, and a zone or AM or PM right behind.
    fn take_time(&mut self, text: &[u8]) -> Result<(), TextFault> {
        if self.time.is_some() {
            return Err(TextFault::Syntax);
        }
        let (micros, rest) = if text.contains(&b':') {
            match text.iter().take_while(|byte| byte.is_ascii_digit()).count() {
                1 | 2 => clock(text)?,
                // 101112+02:00
                _ => compact_clock(text)?,
            }
        } else {
            compact_clock(text)?
        };
        self.time = Some(micros);
        match rest {
            [] => Ok(()),
            [b'+' | b'-', ..] => self.take_zone(rest),
            _ => self.take_word(std::str::from_utf8(rest).map_err(|_| TextFault::Syntax)?),
        }
    }

    fn take_word(&mut self, word: &str) -> Result<(), TextFault> {
        let lower = word.to_ascii_lowercase();
        match lower.as_str() {
            // 1970-01-01.
            "epoch" if self.date.is_none() && self.time.is_none() => (self.date, self.time) = (Some((1970, 1, 1)), Some(0)),
            "am" | "a.m." => self.afternoon = Some(false),
            "pm" | "p.m." => self.afternoon = Some(true),
            "bc" => self.before_christ = true,
            "ad" => {}
            _ if month_of(&lower).is_some() && self.month.is_none() => self.month = month_of(&lower),
            _ if lower.len() >= 3 && WEEKDAYS.iter().any(|day| day.starts_with(&lower)) => {}
            // Jan-31-2024
            _ if lower.contains(['-', '/', '.']) && lower.ends_with(|c: char| c.is_ascii_digit()) => return self.take_date(word),
            _ => return self.take_zone(lower.as_bytes()),
        }
        Ok(())
    }

    /// `20240131` is a day; beside the name of a month, a number is its day first and then its year.
    fn take_number(&mut self, token: &str) -> Result<(), TextFault> {
        let value: u32 = token.parse().map_err(|_| TextFault::Range)?;
        if token.len() == 8 && self.date.is_none() && self.month.is_none() {
            self.date = Some((i64::from(value / 10_000), value / 100 % 100, value % 100));
        } else if token.len() > 2 && self.year.is_none() {
            self.year = Some(i64::from(value));
        } else if token.len() <= 2 && self.day.is_none() {
            self.day = Some(value);
        } else if token.len() <= 2 && self.year.is_none() {
            self.year = Some(full_year(value, token.len()));
        } else {
            return Err(TextFault::Syntax);
        }
        Ok(())
    }

    /// Three parts between `-`, `/` or `.`: year first if it has more than two digits, else month, day, year.
    fn take_date(&mut self, token: &str) -> Result<(), TextFault> {
        let mut parts = token.split(['-', '/', '.']);
        let (Some(a), Some(b), Some(c), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(TextFault::Syntax);
        };
        if self.date.is_some() {
            return Err(TextFault::Syntax);
        }
        if let Some(month) = month_of(b).or_else(|| month_of(a)) {
            let day_or_year = if month_of(b).is_some() { a } else { b };
            self.month = Some(month);
            self.take_digits(day_or_year)?;
            return self.take_digits(c);
        }
        let number = |text: &str| -> Result<u32, TextFault> {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            if digits && !text.is_empty() { text.parse().map_err(|_| TextFault::Range) } else { Err(TextFault::Syntax) }
        };
        let (first, second, third) = (number(a)?, number(b)?, number(c)?);
        self.date = Some(match a.len() {
            3.. => (i64::from(first), second, third),
            _ if self.year_first => return Err(TextFault::Syntax),
            _ => (full_year(third, c.len()), first, second),
        });
        Ok(())
    }

    fn take_digits(&mut self, token: &str) -> Result<(), TextFault> {
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(TextFault::Syntax);
        }
        self.take_number(token)
    }

    fn finish(self) -> Result<Moment, TextFault> {
        let date = match (self.date, self.month, self.day, self.year) {
            (Some(date), None, None, None) => Some(date),
            (None, Some(month), Some(day), Some(year)) => Some((year, month, day)),
            (None, None, None, None) => None,
            _ => return Err(TextFault::Syntax),
        };
        if date.is_none() && self.time.is_none() || self.time.is_none() && self.afternoon.is_some() {
            return Err(TextFault::Syntax);
        }
        let days = match date {
            Some((year, month, day)) => Some(self.day_number(year, month, day)?),
            None => None,
        };
        let time_micros = match (self.time, self.afternoon) {
            (Some(time), Some(afternoon)) => Some(half_day_time(time, afternoon)?),
            (time, _) => time,
        };
        Ok(Moment { days, time_micros, zone_seconds: self.zone })
    }

    fn day_number(&self, year: i64, month: u32, day: u32) -> Result<i32, TextFault> {
        // There is no year 0: 1 BC is followed by 1 AD.
        let astronomical = if self.before_christ { 1 - year } else { year };
        if year == 0 || !is_day(astronomical, month, day) {
            return Err(TextFault::Range);
        }
        Ok(days_from_civil(astronomical, month, day))
    }
}

/// A time between 1:00 and 12:59 with AM or PM.
pub(super) fn half_day_time(micros: i64, afternoon: bool) -> Result<i64, TextFault> {
    const HOUR_MICROS: i64 = 3_600_000_000;
    if !(HOUR_MICROS..13 * HOUR_MICROS).contains(&micros) {
        return Err(TextFault::Range);
    }
    Ok(micros % (12 * HOUR_MICROS) + if afternoon { 12 * HOUR_MICROS } else { 0 })
}

/// `1011[12[.5]]` at the start of `text`, and the rest.
fn compact_clock(text: &[u8]) -> Result<(i64, &[u8]), TextFault> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(count);
    let pair = |at: usize| digits.get(at..at + 2).and_then(two_digits);
    let (hour, minute, second) = match count {
        4 => (pair(0), pair(2), Some(0)),
        6 => (pair(0), pair(2), pair(4)),
        _ => return Err(TextFault::Syntax),
    };
    let (Some(hour), Some(minute), Some(second)) = (hour, minute, second) else { return Err(TextFault::Syntax) };
    let (fraction, rest) = match rest {
        [b'.', behind @ ..] if count == 6 => fraction_micros(behind),
        _ => (0, rest),
    };
    Ok((clock_micros(hour, minute, second, fraction)?, rest))
}

#[cfg(test)]
mod tests {
    use super::super::display::{write_date, write_time, write_timestamp};
    use super::*;

    fn timestamp(text: &str) -> Result<String, TextFault> {
        let mut out = String::new();
        write_timestamp(&mut out, parse_moment(text, false)?.timestamp_utc()?).unwrap();
        Ok(out)
    }

    #[test]
    fn dates_in_many_forms() {
        let forms = [
            "2024-01-31",
            " 2024-01-31 ",
            "20240131",
            "2024/01/31",
            "2024.1.31",
            "01/31/2024",
            "1/31/24",
            "31-Jan-2024",
            "31 jan 2024",
            "January 31, 2024",
            "Jan-31-2024",
            "2024-Jan-31",
            "Wed 31 January 2024",
            "2024-01-31 10:00:00",
        ];
        for form in forms {
            let mut out = String::new();
            let days = parse_moment(form, false).and_then(Moment::date).unwrap_or_else(|fault| panic!("{form}: {fault:?}"));
            write_date(&mut out, days).unwrap();
            assert_eq!(out, "2024-01-31", "{form}");
        }
        assert_eq!(parse_moment("01/02/2024", true), Err(TextFault::Syntax));
        for outside in ["2024-02-30", "2023-02-29", "2024-13-01", "13/13/2024", "0000-01-01", "294277-01-01"] {
            assert_eq!(parse_moment(outside, false).and_then(Moment::date), Err(TextFault::Range), "{outside}");
        }
        for bad in
            ["", "abc", "2024", "2024-01", "2024-01-31-01", "31 foo 2024", "2024-01-31 x", "2024-01-31 2024-01-31", "1-2-", "é"]
        {
            assert_eq!(parse_moment(bad, false).and_then(Moment::date), Err(TextFault::Syntax), "{bad}");
        }
    }

    #[test]
    fn timestamps_with_fractions_and_zones() {
        for (text, expected) in [
            ("2024-01-31", "2024-01-31 00:00:00"),
            ("2024-01-31 13:14", "2024-01-31 13:14:00"),
            ("2024-01-31T13:14:15.1234567Z", "2024-01-31 13:14:15.123457"),
            ("2024-01-31 13:14:15.5+02", "2024-01-31 11:14:15.5"),
            ("2024-01-31 13:14:15 -02:30", "2024-01-31 15:44:15"),
            ("2024-01-31 13:14:15 +0230", "2024-01-31 10:44:15"),
            ("2024-01-31 13:14:15 EST", "2024-01-31 18:14:15"),
            ("20240131T131415Z", "2024-01-31 13:14:15"),
            ("Jan 31, 2024 1:14 PM", "2024-01-31 13:14:00"),
            ("01/31/24 12:00:00AM", "2024-01-31 00:00:00"),
            ("2024-12-31 24:00:00", "2025-01-01 00:00:00"),
            ("2024-12-31 23:59:60", "2025-01-01 00:00:00"),
            ("0044-03-15 12:00 BC", "0044-03-15 12:00:00 BC"),
            ("294246-12-31 23:59:59.999999", "294246-12-31 23:59:59.999999"),
        ] {
            assert_eq!(timestamp(text).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(timestamp("294276-12-31"), Err(TextFault::Range));
        for outside in ["2024-01-31 25:00:00", "2024-01-31 10:60", "2024-01-31 10:00:00+16", "2024-01-31 13:00 PM"] {
            assert_eq!(timestamp(outside), Err(TextFault::Range), "{outside}");
        }
        for bad in ["2024-01-31 1x:00", "2024-01-31 10", "2024-01-31 10:00:00 Mars", "10:00"] {
            assert_eq!(timestamp(bad), Err(TextFault::Syntax), "{bad}");
        }
    }

    #[test]
    fn times_of_day() {
        let time = |text: &str, utc: bool| {
            let moment = parse_moment(text, false)?;
            let mut out = String::new();
            write_time(&mut out, if utc { moment.time_utc()? } else { moment.time()? }, false).unwrap();
            Ok::<_, TextFault>(out)
        };
        assert_eq!(time("10:11:12.5+02", false).as_deref(), Ok("10:11:12.5"));
        assert_eq!(time("01:11:12.5+02", true).as_deref(), Ok("23:11:12.5"));
        assert_eq!(time("11:30 pm", false).as_deref(), Ok("23:30:00"));
        assert_eq!(time("24:00:00", false).as_deref(), Ok("24:00:00"));
        assert_eq!(time("2024-01-31", false), Err(TextFault::Syntax));
    }
}

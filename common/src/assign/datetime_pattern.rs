//! DATEFORMAT and TIMEFORMAT: explicit patterns such as `DD.MM.YYYY HH24:MI:SS`.

use super::calendar::{days_from_civil, is_day};
use super::datetime_text::{
    Moment, clock_micros, fraction_micros, full_year, half_day_time, leading_number, month_of, parse_moment, zone_offset,
};
use super::fault::TextFault;
use super::scalar_text::{parse_decimal, trim};
use crate::error::{Error, ErrorKind, Result};

/// Longest pattern.
const PATTERN_MAX_BYTES: usize = 100;

/// How dates or timestamps are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatetimeFormat {
    /// Any form that begins with the year, and any that names the month.
    YearFirst,
    /// `'auto'`: any form that PostgreSQL reads, `01/31/2024` included (month first).
    Auto,
    /// An explicit pattern.
    Pattern(Pattern),
    /// `'epochsecs'`: seconds from 1970-01-01, with an optional fraction.
    EpochSeconds,
    /// `'epochmillisecs'`: milliseconds from 1970-01-01.
    EpochMilliseconds,
}

impl DatetimeFormat {
    /// Reads what stood after `option`, DATEFORMAT or TIMEFORMAT; empty means it was not given.
    pub fn parse(option: &str, text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::YearFirst);
        }
        let timestamps = option.eq_ignore_ascii_case("timeformat");
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "epochsecs" if timestamps => Ok(Self::EpochSeconds),
            "epochmillisecs" if timestamps => Ok(Self::EpochMilliseconds),
            _ => Pattern::compile(option, text).map(Self::Pattern),
        }
    }

    /// Reads a value.
    pub fn read(&self, text: &str) -> Result<Moment, TextFault> {
        match self {
            Self::YearFirst => parse_moment(text, true),
            Self::Auto => parse_moment(text, false),
            Self::Pattern(pattern) => pattern.read(text),
            Self::EpochSeconds => from_epoch(parse_decimal(text, 38, 6)?),
            Self::EpochMilliseconds => from_epoch(parse_decimal(text, 38, 3)?),
        }
    }
}

fn from_epoch(micros: i128) -> Result<Moment, TextFault> {
    let day = i128::from(crate::time_units::MICROS_PER_DAY);
    let days = i32::try_from(micros.div_euclid(day)).map_err(|_| TextFault::Range)?;
    // It counts from midnight in UTC, wherever it is read.
    Ok(Moment { days: Some(days), time_micros: Some(micros.rem_euclid(day) as i64), zone_seconds: Some(0) })
}

/// One part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Year,
    ShortYear,
    Month,
    MonthName,
    Day,
    Hour,
    HalfDayHour,
    Minute,
    /// With an optional fraction behind it.
    Second,
    Fraction,
    Meridiem,
    Offset,
    /// One or more blanks.
    Blanks,
    Literal(char),
}

/// What patterns are made of, longer before shorter.
const KEYWORDS: [(&str, Part); 19] = [
    ("YYYY", Part::Year),
    ("YY", Part::ShortYear),
    ("MONTH", Part::MonthName),
    ("MON", Part::MonthName),
    ("MM", Part::Month),
    ("MI", Part::Minute),
    ("DD", Part::Day),
    ("HH24", Part::Hour),
    ("HH12", Part::HalfDayHour),
    ("HH", Part::Hour),
    ("SS", Part::Second),
    ("MS", Part::Fraction),
    ("US", Part::Fraction),
    ("AM", Part::Meridiem),
    ("PM", Part::Meridiem),
    ("A.M.", Part::Meridiem),
    ("P.M.", Part::Meridiem),
    ("OF", Part::Offset),
    ("TZ", Part::Offset),
];

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
    half_day: bool,
}

impl Pattern {
    fn compile(option: &str, text: &str) -> Result<Self> {
        let name = option.to_ascii_uppercase();
        let wrong = |what: String| {
            Error::new(ErrorKind::InvalidParameter, format!("{name} '{text}': {what}"))
                .with_hint("use 'auto', or a pattern of YYYY, YY, MM, MON, DD, HH24, HH12, MI, SS, AM, OF and separators")
        };
        if text.len() > PATTERN_MAX_BYTES {
            return Err(wrong(format!("the pattern is longer than {PATTERN_MAX_BYTES} bytes")));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let keyword = KEYWORDS.iter().find(|(word, _)| rest.get(..word.len()).is_some_and(|s| s.eq_ignore_ascii_case(word)));
            if let Some((word, part)) = keyword {
                parts.push(*part);
                rest = &rest[word.len()..];
                if *part == Part::Second {
                    rest = without_fraction(rest);
                }
            } else if let Some(quoted) = rest.strip_prefix('"') {
                let (literal, behind) = quoted.split_once('"').ok_or_else(|| wrong("a quotation mark is not closed".into()))?;
                parts.extend(literal.chars().map(Part::Literal));
                rest = behind;
            } else if first.is_ascii_alphanumeric() && !matches!(first, 'T' | 'Z') {
                return Err(wrong(format!("\"{rest}\" does not begin with a date or time part")));
            } else {
                parts.push(if first == ' ' { Part::Blanks } else { Part::Literal(first) });
                rest = &rest[first.len_utf8()..];
            }
        }
        let half_day = parts.iter().any(|part| matches!(part, Part::Meridiem | Part::HalfDayHour));
        for part in [Part::Month, Part::Day, Part::Minute, Part::Second, Part::Fraction, Part::Offset, Part::Meridiem] {
            if parts.iter().filter(|other| **other == part).count() > 1 {
                return Err(wrong("a part stands more than once".into()));
            }
        }
        if !parts.iter().any(|part| !matches!(part, Part::Blanks | Part::Literal(_))) {
            return Err(wrong("there is no date or time part in it".into()));
        }
        Ok(Self { parts, half_day })
    }

    /// Reads a value, all of it.
    pub fn read(&self, text: &str) -> Result<Moment, TextFault> {
        let mut found = Found::default();
        let mut rest = trim(text).as_bytes();
        for part in &self.parts {
            rest = found.take(*part, rest)?;
        }
        if !rest.trim_ascii().is_empty() {
            return Err(TextFault::Syntax);
        }
        found.finish(self.half_day)
    }
}

/// Behind SS a fraction is optional: `.SSS`, `.MS`, `.US`, `.FF` in the pattern say no more than SS does.
fn without_fraction(rest: &str) -> &str {
    let Some(behind) = rest.strip_prefix('.') else { return rest };
    for word in ["MS", "US", "FF"] {
        if behind.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(word)) {
            return behind[2..].trim_start_matches(|c: char| c.is_ascii_digit());
        }
    }
    let trimmed = behind.trim_start_matches(['S', 's']);
    if trimmed.len() < behind.len() { trimmed } else { rest }
}

/// What has been read so far.
#[derive(Default)]
struct Found {
    year: Option<i64>,
    month: Option<u32>,
    day: Option<u32>,
    hour: Option<u32>,
    minute: u32,
    second: u32,
    fraction: i64,
    afternoon: bool,
    zone_seconds: Option<i32>,
}

impl Found {
    /// Reads one part at the start of `text`; yields the rest.
    fn take<'a>(&mut self, part: Part, text: &'a [u8]) -> Result<&'a [u8], TextFault> {
        let number = |digits: usize| leading_number(text, digits).ok_or(TextFault::Syntax);
        let rest = match part {
            Part::Year => {
                let (year, rest) = number(4)?;
                self.year = Some(i64::from(year));
                rest
            }
            Part::ShortYear => {
                let (year, rest) = number(2)?;
                self.year = Some(full_year(year, 2));
                rest
            }
            Part::Month => store(&mut self.month, number(2)?),
            Part::Day => store(&mut self.day, number(2)?),
            Part::Hour | Part::HalfDayHour => store(&mut self.hour, number(2)?),
            Part::Minute => {
                let rest;
                (self.minute, rest) = number(2)?;
                rest
            }
            Part::Second => {
                let mut rest;
                (self.second, rest) = number(2)?;
                if let [b'.', b'0'..=b'9', ..] = rest {
                    (self.fraction, rest) = fraction_micros(&rest[1..]);
                }
                rest
            }
            Part::Fraction => {
                number(9)?;
                let rest;
                (self.fraction, rest) = fraction_micros(text);
                rest
            }
            Part::MonthName => {
                let (word, rest) = text.split_at(text.iter().take_while(|byte| byte.is_ascii_alphabetic()).count());
                let word = std::str::from_utf8(word).map_err(|_| TextFault::Syntax)?;
                self.month = Some(month_of(word).ok_or(TextFault::Syntax)?);
                rest
            }
            Part::Meridiem => self.take_meridiem(text)?,
            Part::Offset => {
                // It may hold blanks in front, letters, digits and colons.
                let end = text.iter().skip(1).position(|byte| *byte == b' ').map_or(text.len(), |at| at + 1);
                let (zone, rest) = text.split_at(end);
                if !zone.is_empty() {
                    self.zone_seconds = Some(zone_offset(zone)?);
                }
                rest
            }
            Part::Blanks => text.trim_ascii_start(),
            Part::Literal(literal) => {
                let mut bytes = [0; 4];
                text.strip_prefix(literal.encode_utf8(&mut bytes).as_bytes()).ok_or(TextFault::Syntax)?
            }
        };
        Ok(rest)
    }

    fn take_meridiem<'a>(&mut self, text: &'a [u8]) -> Result<&'a [u8], TextFault> {
        let first = text.first().ok_or(TextFault::Syntax)?.to_ascii_lowercase();
        self.afternoon = match first {
            b'a' => false,
            b'p' => true,
            _ => return Err(TextFault::Syntax),
        };
        let long = text.get(..4).is_some_and(|word| word[1..].eq_ignore_ascii_case(b".m."));
        let short = text.get(1).is_some_and(|m| m.eq_ignore_ascii_case(&b'm'));
        match (long, short) {
            (true, _) => Ok(&text[4..]),
            (_, true) => Ok(&text[2..]),
            _ => Err(TextFault::Syntax),
        }
    }

    fn finish(self, half_day: bool) -> Result<Moment, TextFault> {
        let days = match (self.year, self.month, self.day) {
            (None, None, None) => None,
            (Some(year), month, day) => {
                let (month, day) = (month.unwrap_or(1), day.unwrap_or(1));
                if year == 0 || !is_day(year, month, day) {
                    return Err(TextFault::Range);
                }
                Some(days_from_civil(year, month, day))
            }
            _ => return Err(TextFault::Syntax),
        };
        let time_micros = match self.hour {
            Some(hour) => {
                let micros = clock_micros(hour, self.minute, self.second, self.fraction)?;
                Some(if half_day { half_day_time(micros, self.afternoon)? } else { micros })
            }
            None => None,
        };
        Ok(Moment { days, time_micros, zone_seconds: self.zone_seconds })
    }
}

fn store<'a>(slot: &mut Option<u32>, (value, rest): (u32, &'a [u8])) -> &'a [u8] {
    *slot = Some(value);
    rest
}

#[cfg(test)]
mod tests {
    use super::super::display::write_timestamp;
    use super::*;

    fn read(pattern: &str, text: &str) -> Result<String, TextFault> {
        let format = DatetimeFormat::parse("timeformat", pattern).unwrap();
        let mut out = String::new();
        write_timestamp(&mut out, format.read(text)?.timestamp_utc()?).unwrap();
        Ok(out)
    }

    #[test]
    fn patterns_read_what_they_say() {
        for (pattern, text, expected) in [
            ("DD.MM.YYYY", "31.01.2024", "2024-01-31 00:00:00"),
            ("YYYYMMDD", "20240131", "2024-01-31 00:00:00"),
            ("MM/DD/YY", "1/31/99", "1999-01-31 00:00:00"),
            ("DD-MON-YYYY HH24:MI:SS", "31-Jan-2024 23:59:58.25", "2024-01-31 23:59:58.25"),
            ("yyyy-mm-ddThh:mi:ss.sss", "2024-01-31T10:11:12.123", "2024-01-31 10:11:12.123"),
            ("YYYY-MM-DD HH12:MI AM", "2024-01-31 12:05 pm", "2024-01-31 12:05:00"),
            ("YYYY-MM-DD HH:MI:SSOF", "2024-01-31 10:11:12+02:00", "2024-01-31 08:11:12"),
            ("MM.DD.YYYY HH:MI:SS", "01.31.2024   10:11:12", "2024-01-31 10:11:12"),
            ("epochsecs", "1706659200.5", "2024-01-31 00:00:00.5"),
            ("epochmillisecs", "-1", "1969-12-31 23:59:59.999"),
        ] {
            assert_eq!(read(pattern, text).as_deref(), Ok(expected), "{pattern} {text}");
        }
        assert_eq!(read("DD.MM.YYYY", "2024-01-31"), Err(TextFault::Syntax));
        assert_eq!(read("DD.MM.YYYY", "31.01.2024 10:00"), Err(TextFault::Syntax));
        assert_eq!(read("DD.MM.YYYY", "31.13.2024"), Err(TextFault::Range));
        assert_eq!(read("HH12:MI AM", "13:00 AM"), Err(TextFault::Range));
        assert_eq!(read("epochsecs", "1e30"), Err(TextFault::Range));
        for bad in ["QQ", "YYYY-MM-DD-MM", "--", "\"x"] {
            assert!(DatetimeFormat::parse("dateformat", bad).is_err(), "{bad}");
        }
        assert!(DatetimeFormat::parse("dateformat", "epochsecs").is_err());
    }
}

//! Time zones: of a session, and of CONVERT_TIMEZONE and AT TIME ZONE.

use super::datetime_text::{zone_of_abbreviation, zone_offset};
use crate::error::{Error, ErrorKind, Result};
use crate::time_units::{MICROS_PER_DAY, MICROS_PER_SECOND};
use chrono::{DateTime, FixedOffset, LocalResult, NaiveDateTime, Offset, TimeZone};
use chrono_tz::{OffsetName, TZ_VARIANTS, Tz};

/// The zone that an instant without one is read and written in.
pub const UTC: &str = "UTC";

/// A time zone: of the time zone database, or so far from UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    name: String,
    rule: Rule,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Named(Tz),
    Fixed(FixedOffset),
}

impl Zone {
    /// A name of the database in any case, an abbreviation (`EST`), or an offset: `+09:00`, `-8`, hours and minutes east of UTC.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let exact = text.parse::<Tz>().ok();
        let named = exact.or_else(|| TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(text)).copied());
        if let Some(zone) = named {
            return Ok(Self { name: zone.name().to_owned(), rule: Rule::Named(zone) });
        }
        let hours = zone_of_abbreviation(text).map(|hours| hours * 3_600);
        // `8` is `+8`.
        let digits = text.starts_with(|first: char| first.is_ascii_digit());
        let signed = if digits { format!("+{text}") } else { text.to_owned() };
        let seconds = hours.or_else(|| zone_offset(signed.as_bytes()).ok());
        let rule = seconds.and_then(FixedOffset::east_opt).map(Rule::Fixed);
        rule.map(|rule| Self { name: if hours.is_some() { text.to_uppercase() } else { signed }, rule }).ok_or_else(|| {
            Error::new(ErrorKind::InvalidParameter, format!("time zone \"{text}\" is not known"))
                .with_hint("use a name of the time zone database, for example 'Asia/Seoul', or an offset, for example '+09:00'")
        })
    }

    /// As the database writes it, or as the user did.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is UTC at all times.
    pub fn is_utc(&self) -> bool {
        match self.rule {
            Rule::Named(zone) => matches!(zone, Tz::UTC | Tz::Etc__UTC | Tz::GMT | Tz::Etc__GMT | Tz::Zulu | Tz::Etc__Zulu),
            Rule::Fixed(offset) => offset.local_minus_utc() == 0,
        }
    }

    /// How far east of UTC it is at an instant (microseconds since 1970), in seconds.
    pub fn offset_seconds(&self, instant: i64) -> i32 {
        match self.rule {
            Rule::Fixed(offset) => offset.local_minus_utc(),
            // Instants beyond the calendar's end have the offset of its end.
            Rule::Named(zone) => zone.offset_from_utc_datetime(&nearest_civil(instant)).fix().local_minus_utc(),
        }
    }

    /// What it is called at an instant: `EST`, `+09`.
    pub fn abbreviation(&self, instant: i64) -> String {
        match self.rule {
            Rule::Named(zone) => {
                let offset = zone.offset_from_utc_datetime(&nearest_civil(instant));
                offset.abbreviation().map_or_else(|| offset_text(offset.fix().local_minus_utc()), str::to_owned)
            }
            Rule::Fixed(_) if zone_of_abbreviation(&self.name).is_some() => self.name.clone(),
            Rule::Fixed(offset) => offset_text(offset.local_minus_utc()),
        }
    }

    /// The wall clock of an instant, both in microseconds since 1970; None where that is out of range.
    pub fn to_local(&self, instant: i64) -> Option<i64> {
        instant.checked_add(i64::from(self.offset_seconds(instant)) * MICROS_PER_SECOND)
    }

    /// The instant of a wall clock, as PostgreSQL reads it: one that happens twice is the second of the two, when the clocks are back at
    /// standard time; one that never happens is read with the offset in force before the gap.
    pub fn to_instant(&self, local: i64) -> Option<i64> {
        let zone = match self.rule {
            Rule::Fixed(offset) => return local.checked_sub(i64::from(offset.local_minus_utc()) * MICROS_PER_SECOND),
            Rule::Named(zone) => zone,
        };
        let civil = DateTime::from_timestamp_micros(local)?.naive_utc();
        match zone.from_local_datetime(&civil) {
            LocalResult::Single(when) | LocalResult::Ambiguous(_, when) => Some(when.timestamp_micros()),
            LocalResult::None => {
                let before = DateTime::from_timestamp_micros(local.checked_sub(MICROS_PER_DAY)?)?.naive_utc();
                let earlier = zone.from_local_datetime(&before).earliest();
                earlier.map(|when| when.timestamp_micros() + MICROS_PER_DAY)
            }
        }
    }
}

/// The wall clock (microseconds since 1970, in `zone`) that a word means where a date or a timestamp is read, at `now`.
pub fn special_moment(text: &str, now: i64, zone: Option<&Zone>) -> Option<i64> {
    // Most texts are digits.
    let text = text.trim();
    if !text.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return None;
    }
    let local = zone.map_or(Some(now), |zone| zone.to_local(now))?;
    let today = local.div_euclid(MICROS_PER_DAY) * MICROS_PER_DAY;
    match text.to_ascii_lowercase().as_str() {
        "now" => Some(local),
        "today" => Some(today),
        "tomorrow" => today.checked_add(MICROS_PER_DAY),
        "yesterday" => today.checked_sub(MICROS_PER_DAY),
        "epoch" => Some(0),
        _ => None,
    }
}

fn nearest_civil(instant: i64) -> NaiveDateTime {
    match DateTime::from_timestamp_micros(instant) {
        Some(when) => when.naive_utc(),
        None if instant < 0 => NaiveDateTime::MIN,
        None => NaiveDateTime::MAX,
    }
}

/// `+09`, `-03:30`, `+00:53:28`.
pub(super) fn offset_text(seconds: i32) -> String {
    let (sign, size) = if seconds < 0 { ('-', -seconds) } else { ('+', seconds) };
    let (hours, minutes, seconds) = (size / 3_600, size / 60 % 60, size % 60);
    match (minutes, seconds) {
        (0, 0) => format!("{sign}{hours:02}"),
        (_, 0) => format!("{sign}{hours:02}:{minutes:02}"),
        _ => format!("{sign}{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMER_2024: i64 = 1_720_000_000 * MICROS_PER_SECOND;

    #[test]
    fn zones_have_names_abbreviations_and_offsets() {
        for (text, name, hours) in [
            ("america/new_york", "America/New_York", -4),
            ("Asia/Seoul", "Asia/Seoul", 9),
            ("utc", "UTC", 0),
            ("pst", "PST", -8),
            ("-8", "-8", -8),
            ("9", "+9", 9),
            ("+09:00", "+09:00", 9),
            ("Etc/GMT+4", "Etc/GMT+4", -4),
        ] {
            let zone = Zone::parse(text).unwrap();
            assert_eq!((zone.name(), zone.offset_seconds(SUMMER_2024)), (name, hours * 3_600), "{text}");
        }
        for text in ["Mars/Olympus", "", "+25", "+16:00"] {
            assert_eq!(Zone::parse(text).unwrap_err().sqlstate(), "22023", "{text}");
        }
    }

    #[test]
    fn wall_clocks_and_instants_meet() {
        let zone = Zone::parse("America/New_York").unwrap();
        let micros = |text: &str| text.parse::<NaiveDateTime>().unwrap().and_utc().timestamp_micros();
        // The gap of March 10th, and the hour of November 3rd that happens twice.
        assert_eq!(zone.to_instant(micros("2024-03-10T02:30:00")), Some(micros("2024-03-10T07:30:00")));
        assert_eq!(zone.to_instant(micros("2024-11-03T01:30:00")), Some(micros("2024-11-03T06:30:00")));
        assert_eq!(zone.to_local(micros("2024-07-01T00:00:00")), Some(micros("2024-06-30T20:00:00")));
        assert_eq!(zone.abbreviation(SUMMER_2024), "EDT");
        assert_eq!(zone.to_local(i64::MIN), None);
        assert!(zone.to_instant(i64::MAX).is_none());
        assert_eq!([offset_text(-12_600), offset_text(0), offset_text(3_208)], ["-03:30", "+00", "+00:53:28"]);
    }
}

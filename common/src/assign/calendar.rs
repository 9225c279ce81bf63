//! The proleptic Gregorian calendar over all years that PostgreSQL's types have.

/// Earliest year, 4713 BC, counted astronomically (1 BC is year 0).
pub const YEAR_MIN: i64 = -4712;
/// Latest year.
pub const YEAR_MAX: i64 = 294_276;

/// Whether year, month and day name a day within PostgreSQL's range.
pub fn is_day(year: i64, month: u32, day: u32) -> bool {
    (YEAR_MIN..=YEAR_MAX).contains(&year) && (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month)
}

fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a day that [`is_day`] accepts. Years are counted from March, so that the leap day ends a year.
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i32 {
    let (month, day) = (i64::from(month), i64::from(day));
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    // Within YEAR_MIN..=YEAR_MAX this is below 1.1e8.
    (era * 146_097 + day_of_era - 719_468) as i32
}

/// Year, month and day of a number of days from 1970-01-01.
pub fn civil_from_days(days: i32) -> (i64, u32, u32) {
    let shifted = i64::from(days) + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = ((month_from_march + 2) % 12 + 1) as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Datelike, NaiveDate};

    #[test]
    fn days_agree_with_chrono() {
        let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        for days in (-2_400_000..90_000_000).step_by(9_973).chain(-1000..1000) {
            let expected = epoch + chrono::Duration::days(i64::from(days));
            let (year, month, day) = civil_from_days(days);
            assert_eq!((year as i32, month, day), (expected.year(), expected.month(), expected.day()));
            assert_eq!(days_from_civil(year, month, day), days);
        }
        assert!(is_day(2000, 2, 29) && !is_day(1900, 2, 29) && !is_day(2024, 13, 1) && !is_day(2024, 4, 31));
    }
}

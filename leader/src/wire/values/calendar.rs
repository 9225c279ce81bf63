//! Days to years, months and days, and back, in the proleptic Gregorian calendar, for any day number.

/// Microseconds of a second.
pub const MICROS_PER_SECOND: i64 = 1_000_000;
/// Microseconds of a day.
pub const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// Years after which the calendar repeats, and their days.
const ERA_YEARS: i64 = 400;
const ERA_DAYS: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// A day. Year 0 is 1 BC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CivilDate {
    /// Astronomical year.
    pub year: i64,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
}

impl CivilDate {
    /// The day `days` after 1970-01-01.
    pub fn from_days(days: i64) -> Self {
        // Years start in March here, so that the leap day is a year's last.
        let shifted = days + EPOCH_DAYS;
        let era = shifted.div_euclid(ERA_DAYS);
        let day_of_era = shifted.rem_euclid(ERA_DAYS);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * ERA_YEARS + i64::from(month <= 2);
        Self { year, month: month as u32, day: day as u32 }
    }

    /// Days since 1970-01-01, `None` when there is no such day.
    pub fn to_days(self) -> Option<i64> {
        if !(1..=12).contains(&self.month) || self.day == 0 || self.day > days_of_month(self.year, self.month) {
            return None;
        }
        let year = self.year - i64::from(self.month <= 2);
        let era = year.div_euclid(ERA_YEARS);
        let year_of_era = year.rem_euclid(ERA_YEARS);
        let month_from_march = i64::from((self.month + 9) % 12);
        let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(self.day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        Some(era * ERA_DAYS + day_of_era - EPOCH_DAYS)
    }
}

fn days_of_month(year: i64, month: u32) -> u32 {
    let leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree_with_chrono_and_each_other() {
        let epoch = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        for days in (-900_000i64..900_000).step_by(97) {
            use chrono::Datelike;
            let expected = epoch + chrono::Duration::days(days);
            let date = CivilDate::from_days(days);
            assert_eq!((date.year, date.month, date.day), (i64::from(expected.year()), expected.month(), expected.day()));
            assert_eq!(date.to_days(), Some(days));
        }
        assert_eq!(CivilDate { year: 1900, month: 2, day: 29 }.to_days(), None);
        assert_eq!(CivilDate::from_days(i64::from(i32::MIN)).to_days(), Some(i64::from(i32::MIN)));
    }
}

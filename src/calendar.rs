//! The Gregorian calendar: days since 1970-01-01 as dates, and the reverse.
//!
//! Years begin in March here, so that a leap day is the last one of its year.

/// Days from the first of March of the year 0 to 1970-01-01.
const EPOCH: u64 = 719_468;

/// Year, month and day of the day that is `days` after 1970-01-01.
pub(crate) fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH;
    // The calendar repeats itself every 400 years.
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day_of_year - (153 * month_from_march + 2) / 5 + 1)
}

/// Days from 1970-01-01 to a date of the year 0 or later; negative before. A day that its month
/// lacks counts on into the next one.
pub(crate) fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month < 3 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + of_year - EPOCH as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_days_are_each_others_reverse() {
        for (date, days) in [
            ((1970, 1, 1), 0),
            ((1999, 12, 31), 10_956),
            ((2000, 2, 29), 11_016),
            ((2000, 3, 1), 11_017),
            ((2100, 3, 1), 47_541),
        ] {
            assert_eq!(date_of(days), date);
        }
        let mut last = (1969, 12, 31);
        for days in 0..600 * 365 {
            let (year, month, day) = date_of(days);
            assert_eq!(days_of(year as i64, month as i64, day as i64), days as i64);
            assert!((year, month, day) > last, "{last:?}");
            last = (year, month, day);
        }
        assert_eq!(days_of(1950, 1, 1), -7305);
        assert_eq!(days_of(2001, 2, 29), days_of(2001, 3, 1));
    }
}

//! Wall-clock times as RFC 3339 text, in UTC.

use std::fmt;

use crate::calendar;

const NS_PER_SECOND: u64 = 1_000_000_000;
const SECONDS_PER_DAY: u64 = 86_400;

/// A wall-clock time, displayed as RFC 3339 with nanoseconds: `2026-01-31T23:59:59.000000001Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Nanoseconds since 1970-01-01T00:00:00Z; reaches into the year 2554.
    pub unix_ns: u64,
}

/// Date and time of a second, without a time zone of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CivilTime {
    date: (u64, u64, u64),
    second_of_day: u64,
}

impl CivilTime {
    /// The second `unix_s` after 1970-01-01T00:00:00.
    pub(super) fn of(unix_s: u64) -> Self {
        Self {
            date: calendar::date_of(unix_s / SECONDS_PER_DAY),
            second_of_day: unix_s % SECONDS_PER_DAY,
        }
    }

    /// The texts of date and time, such as `2026-01-31` and `23:59:59`.
    pub(super) fn digits(&self) -> ([u8; 10], [u8; 8]) {
        let (year, month, day) = self.date;
        let two = |value: u64| [b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8];
        let ([y0, y1], [y2, y3]) = (two(year / 100), two(year % 100));
        let ([m0, m1], [d0, d1]) = (two(month), two(day));
        let of_day = self.second_of_day;
        let ([h0, h1], [n0, n1], [s0, s1]) =
            (two(of_day / 3600), two(of_day / 60 % 60), two(of_day % 60));
        ([y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1], [h0, h1, b':', n0, n1, b':', s0, s1])
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.unix_ns / NS_PER_SECOND;
        let (year, month, day) = calendar::date_of(seconds / SECONDS_PER_DAY);
        let of_day = seconds % SECONDS_PER_DAY;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
            of_day / 3600,
            of_day / 60 % 60,
            of_day % 60,
            self.unix_ns % NS_PER_SECOND,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_leap(year: u64) -> bool {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    }

    fn month_lengths(year: u64) -> [u64; 12] {
        [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    }

    fn text(unix_s: u64, nanos: u64) -> String {
        Timestamp { unix_ns: unix_s * NS_PER_SECOND + nanos }.to_string()
    }

    #[test]
    fn known_times() {
        assert_eq!(text(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(text(951_782_400, 0), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(text(1_000_000_000, 1), "2001-09-09T01:46:40.000000001Z");
        assert_eq!(text(1_735_689_599, 999_999_999), "2024-12-31T23:59:59.999999999Z");
        assert_eq!(text(4_107_542_400, 0), "2100-03-01T00:00:00.000000000Z");
        assert_eq!(Timestamp { unix_ns: u64::MAX }.to_string(), "2554-07-21T23:34:33.709551615Z");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut expected = (1970, 1, 1);
        for days in 0..213_000 {
            assert_eq!(calendar::date_of(days), expected);
            let (year, month, day) = expected;
            expected = if day < month_lengths(year)[month as usize - 1] {
                (year, month, day + 1)
            } else if month < 12 {
                (year, month + 1, 1)
            } else {
                (year + 1, 1, 1)
            };
        }
    }
}

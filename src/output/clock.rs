//! Times of records in the formats of a run's files.

use std::time::{SystemTime, UNIX_EPOCH};

use gossipper_uring::sys;

use super::timestamp::{CivilTime, Timestamp};
use crate::stats::RunStart;

const NS_PER_SECOND: u64 = 1_000_000_000;
/// Interval at which the distance to UTC is looked up: it changes twice a year, on a whole quarter
/// hour.
const REFRESH_S: u64 = 60;

/// Converter from the monotonic clock of a run to the text of its files.
#[derive(Clone, Debug)]
pub struct Clock {
    start: RunStart,
    /// True for times as in RFC 3339 (`-rfc3339`) instead of SIPp's.
    rfc3339: bool,
    /// Seconds that local time is ahead of UTC.
    ahead_s: i64,
    looked_up_s: u64,
    /// The second that was written last, in local time; `cached` has its text, as `2026-01-31` and
    /// `23:59:59`.
    cached_s: Option<u64>,
    cached: ([u8; 10], [u8; 8]),
}

impl Clock {
    /// The clock of a run that began at `start`, in local time.
    pub fn new(start: RunStart, rfc3339: bool) -> Self {
        let mut clock = Self::fixed(start, rfc3339, 0);
        clock.looked_up_s = 0;
        clock.refresh();
        clock
    }

    /// A clock that is always `ahead_s` seconds ahead of UTC, for tests.
    pub fn fixed(start: RunStart, rfc3339: bool, ahead_s: i64) -> Self {
        Self {
            start,
            rfc3339,
            ahead_s,
            looked_up_s: u64::MAX,
            cached_s: None,
            cached: ([b'0'; 10], [b'0'; 8]),
        }
    }

    /// Looks up the distance to UTC again, if it is time.
    pub fn refresh(&mut self) {
        let now_s = self.now_unix_s();
        if self.looked_up_s != u64::MAX && now_s >= self.looked_up_s.saturating_add(REFRESH_S) {
            self.looked_up_s = now_s;
            let ahead_s = sys::utc_offset_s(now_s);
            if ahead_s != self.ahead_s {
                self.ahead_s = ahead_s;
                self.cached_s = None;
            }
        }
    }

    /// The start of the run.
    pub fn start(&self) -> RunStart {
        self.start
    }

    /// Wall time of a moment on the monotonic clock, in nanoseconds since 1970 UTC.
    pub fn unix_ns(&self, monotonic_ns: u64) -> u64 {
        let RunStart { unix_ns, monotonic_ns: start_ns } = self.start;
        match monotonic_ns.checked_sub(start_ns) {
            Some(since_ns) => unix_ns.saturating_add(since_ns),
            None => unix_ns.saturating_sub(start_ns - monotonic_ns),
        }
    }

    /// The current time in seconds since 1970 UTC.
    pub fn now_unix_s(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    /// Appends a time as in SIPp's files: date, time and seconds since 1970, between tabs. With
    /// `-rfc3339` it is written as in RFC 3339, in UTC.
    pub fn put(&mut self, unix_ns: u64, out: &mut Vec<u8>) {
        if self.rfc3339 {
            return put_rfc3339_us(unix_ns, out);
        }
        self.put_date_time(unix_ns, b'\t', out);
        out.push(b'\t');
        put_number(unix_ns / NS_PER_SECOND, 1, out);
        out.push(b'.');
        put_number(unix_ns % NS_PER_SECOND / 1000, 6, out);
    }

    /// Appends local date and time with microseconds, `separator` between the two.
    pub fn put_date_time(&mut self, unix_ns: u64, separator: u8, out: &mut Vec<u8>) {
        let second = unix_ns / NS_PER_SECOND;
        if self.cached_s != Some(second) {
            self.cached_s = Some(second);
            let local_s = second.saturating_add_signed(self.ahead_s);
            self.cached = CivilTime::of(local_s).digits();
        }
        out.extend_from_slice(&self.cached.0);
        out.push(separator);
        out.extend_from_slice(&self.cached.1);
        out.push(b'.');
        put_number(unix_ns % NS_PER_SECOND / 1000, 6, out);
    }

    /// Appends local time as in RFC 3339 with nanoseconds and the distance to UTC.
    pub fn put_rfc3339_local(&mut self, unix_ns: u64, out: &mut Vec<u8>) {
        self.put_date_time(unix_ns, b'T', out);
        put_number(unix_ns % 1000, 3, out);
        if self.ahead_s == 0 {
            out.push(b'Z');
            return;
        }
        out.push(if self.ahead_s < 0 { b'-' } else { b'+' });
        let minutes = self.ahead_s.unsigned_abs() / 60;
        put_number(minutes / 60, 2, out);
        out.push(b':');
        put_number(minutes % 60, 2, out);
    }
}

/// Appends a time in UTC with microseconds, as in RFC 3339.
fn put_rfc3339_us(unix_ns: u64, out: &mut Vec<u8>) {
    let text = Timestamp { unix_ns }.to_string();
    // The nanoseconds and the Z are left out.
    out.extend_from_slice(&text.as_bytes()[..text.len() - 4]);
    out.push(b'Z');
}

/// Appends a number with at least `width` digits.
pub fn put_number(mut value: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while value > 0 {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits[at.min(digits.len() - width.min(digits.len()))..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: RunStart = RunStart { unix_ns: 1_795_622_454_336_869_123, monotonic_ns: 5_000 };

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_written_as_sipp_has_them() {
        let mut clock = Clock::fixed(START, false, 3600);
        let first = text(|out| clock.put(START.unix_ns, out));
        assert_eq!(first, "2026-11-25\t17:00:54.336869\t1795622454.336869");
        let next = text(|out| clock.put(START.unix_ns + 700_000_000, out));
        assert_eq!(next, "2026-11-25\t17:00:55.036869\t1795622455.036869");
        let spaced = text(|out| clock.put_date_time(START.unix_ns, b' ', out));
        assert_eq!(spaced, "2026-11-25 17:00:54.336869");
    }

    #[test]
    fn times_are_written_as_in_rfc_3339() {
        let mut clock = Clock::fixed(START, true, -12_600);
        assert_eq!(text(|out| clock.put(START.unix_ns, out)), "2026-11-25T16:00:54.336869Z");
        let local = text(|out| clock.put_rfc3339_local(START.unix_ns, out));
        assert_eq!(local, "2026-11-25T12:30:54.336869123-03:30");
        let mut utc = Clock::fixed(START, true, 0);
        let zulu = text(|out| utc.put_rfc3339_local(START.unix_ns, out));
        assert_eq!(zulu, "2026-11-25T16:00:54.336869123Z");
    }

    #[test]
    fn records_may_be_older_than_the_run() {
        let clock = Clock::fixed(START, false, 0);
        assert_eq!(clock.unix_ns(6_000), START.unix_ns + 1_000);
        assert_eq!(clock.unix_ns(4_000), START.unix_ns - 1_000);
    }

    #[test]
    fn numbers_have_the_width_they_need() {
        assert_eq!(text(|out| put_number(0, 1, out)), "0");
        assert_eq!(text(|out| put_number(0, 0, out)), "");
        assert_eq!(text(|out| put_number(7, 3, out)), "007");
        assert_eq!(text(|out| put_number(12_345, 3, out)), "12345");
        assert_eq!(text(|out| put_number(u64::MAX, 1, out)), u64::MAX.to_string());
    }
}

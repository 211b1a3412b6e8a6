//! Dates in files (RFC 3339).

use super::list::Expiry;
use crate::calendar;

const NS_PER_SECOND: u64 = 1_000_000_000;
const FORM: &str =
    "write a date and a time as 2026-12-31T23:59:59Z, or with +01:00 in place of the Z";

/// Reads a date and a time with its zone (RFC 3339, section 5.6).
///
/// # Errors
/// A sentence that shows the right form.
pub fn parse_expiry(text: &str) -> Result<Expiry, &'static str> {
    let unix_ns = unix_ns(text).ok_or(FORM)?;
    Ok(Expiry { text: text.to_owned(), unix_ns })
}

fn unix_ns(text: &str) -> Option<u64> {
    let (date, time) = text.split_at_checked(10)?;
    let [year, month, day] = numbers(date, b'-', [4, 2, 2])?;
    let rest = time.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let [hour, minute, second] = numbers(clock, b':', [2, 2, 2])?;
    let (fraction_ns, zone) = fraction(rest)?;
    let offset_minutes = offset(zone)?;
    if !(1970..=2500).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let [of_year, of_month, of_day] = [year, month, day].map(|number| number as i64);
    let days = u64::try_from(calendar::days_of(of_year, of_month, of_day)).ok()?;
    // If the date changes in conversion, the month has no such day. A leap second counts as the
    // last second of its minute.
    let is_right = calendar::date_of(days) == (year, month, day);
    if !is_right || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    let seconds = i64::try_from(seconds).ok()? - offset_minutes * 60;
    u64::try_from(seconds).ok()?.checked_mul(NS_PER_SECOND)?.checked_add(fraction_ns)
}

/// Reads three numbers with the given numbers of digits.
fn numbers(text: &str, separator: u8, digits: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(char::from(separator));
    let mut values = [0; 3];
    for (value, digits) in values.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits)?;
        *value = whole(part)?;
    }
    parts.next().is_none().then_some(values)
}

fn whole(text: &str) -> Option<u64> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

/// Reads a fraction of a second in nanoseconds, 0 without one, and returns the rest of the text.
fn fraction(text: &str) -> Option<(u64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = rest.bytes().position(|byte| !byte.is_ascii_digit())?;
    let (digits, zone) = rest.split_at(end);
    let kept = &digits[..digits.len().min(9)];
    let value = whole(kept)? * 10_u64.pow(9 - kept.len() as u32);
    Some((value, zone))
}

/// Reads the zone as minutes east of Greenwich.
fn offset(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => return Some(0),
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let is_right = hours.len() == 2 && minutes.len() == 2;
    let (hours, minutes) = (whole(hours)?, whole(minutes)?);
    (is_right && hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_rfc() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1996-12-19T16:39:57-08:00", 851_042_397),
            ("1990-12-31T23:59:60Z", 662_688_000),
            ("2000-03-01t00:00:00z", 951_868_800),
            ("2026-12-31 23:59:59+01:00", 1_798_757_999),
        ] {
            assert_eq!(unix_ns(text), Some(seconds * NS_PER_SECOND), "{text}");
        }
        assert_eq!(unix_ns("1970-01-01T00:00:00.25Z"), Some(250_000_000));
        for text in [
            "",
            "2026-12-31",
            "2026-12-31T23:59:59",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-12-31T24:00:00Z",
            "2026-12-31T23:59Z",
            "2026-12-31T23:59:59+1:00",
            "2026-12-31T23:59:59.Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "2026-12-31T23:59:59Zulu",
            "ääääääääää",
        ] {
            assert!(parse_expiry(text).is_err(), "{text}");
        }
    }
}

//! The second screen: counts of the last interval, and since the start.

use super::Frame;
use crate::output::Timestamp;
use crate::stats::{DurationSummary, Snapshot};

const RULE: &str =
    "-------------------------+---------------------------+--------------------------";

pub(super) fn lines(frame: &Frame<'_>, lines: &mut Vec<String>) {
    let (now, before) = (frame.now, frame.before);
    let since_ns = before.map_or(0, |before| before.elapsed_ns);
    for (name, unix_ns) in [
        ("Start Time", now.start.unix_ns),
        ("Last Reset Time", now.start.unix_ns + since_ns),
        ("Current Time", now.now_unix_ns()),
    ] {
        lines.push(format!("  {name:<22} | {}", wall_time(unix_ns)));
    }
    lines.push(RULE.to_owned());
    row(lines, "Counter Name", "Periodic value", "Cumulative value");
    lines.push(RULE.to_owned());
    let period_ns = now.elapsed_ns.saturating_sub(since_ns);
    let created = |snapshot: &Snapshot| snapshot.calls.started;
    let new_calls = now.calls.started.saturating_sub(before.map_or(0, created));
    row(lines, "Elapsed Time", &hms(period_ns), &hms(now.elapsed_ns));
    let rate = |calls: u64, ns: u64| match ns {
        0 => format!("{:>8.3} cps", 0.0),
        ns => format!("{:>8.3} cps", calls as f64 * 1e9 / ns as f64),
    };
    row(lines, "Call Rate", &rate(new_calls, period_ns), &rate(now.calls.started, now.elapsed_ns));
    lines.push(RULE.to_owned());
    counter(frame, lines, "Incoming calls created", |s| s.counters.calls_incoming);
    counter(frame, lines, "Outgoing calls created", |s| s.counters.calls_outgoing);
    row(lines, "Total Calls created", "", &format!("{:>8}", now.calls.started));
    row(lines, "Current Calls", &format!("{:>8}", now.calls.active), "");
    if !now.generic_counters.is_empty() {
        lines.push(RULE.to_owned());
        for (index, name) in now.layout.counters.iter().enumerate() {
            let value = |s: &Snapshot| s.generic_counters.get(index).copied().unwrap_or(0);
            counter(frame, lines, &format!("Counter {name}"), value);
        }
    }
    lines.push(RULE.to_owned());
    counter(frame, lines, "Successful call", |s| s.calls.succeeded);
    counter(frame, lines, "Failed call", |s| s.calls.failed);
    lines.push(RULE.to_owned());
    for (index, name) in now.layout.rtds.iter().enumerate() {
        let value = |s: &Snapshot| s.rtds.get(index).copied().unwrap_or_default();
        mean(frame, lines, &format!("Response Time {name}"), value);
    }
    mean(frame, lines, "Call Length", |s| s.call_length);
}

fn row(lines: &mut Vec<String>, name: &str, periodic: &str, cumulative: &str) {
    let name: String = name.chars().take(22).collect();
    let line = format!("  {name:<22} | {periodic:<25} | {cumulative}");
    lines.push(line.trim_end().to_owned());
}

fn counter(
    frame: &Frame<'_>,
    lines: &mut Vec<String>,
    name: &str,
    value: impl Fn(&Snapshot) -> u64,
) {
    let now = value(frame.now);
    let periodic = now.saturating_sub(frame.before.map_or(0, &value));
    row(lines, name, &format!("{periodic:>8}"), &format!("{now:>8}"));
}

fn mean(
    frame: &Frame<'_>,
    lines: &mut Vec<String>,
    name: &str,
    value: impl Fn(&Snapshot) -> DurationSummary,
) {
    let now = value(frame.now);
    let before = frame.before.map(value).unwrap_or_default();
    let count = u128::from(now.count.saturating_sub(before.count));
    let sum_ns = now.sum_ns.saturating_sub(before.sum_ns);
    let periodic_ns = sum_ns.checked_div(count).unwrap_or(0);
    let periodic = hms(u64::try_from(periodic_ns).unwrap_or(u64::MAX));
    row(lines, name, &periodic, &hms(now.average_ns));
}

/// A duration as `HH:MM:SS:uuuuuu`, with the precision of a millisecond.
fn hms(duration_ns: u64) -> String {
    let ms = duration_ns / 1_000_000;
    let seconds = ms / 1000;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}:{:06}", seconds % 60, ms % 1000 * 1000)
}

/// Date, time and seconds since 1970, separated by tabs. The time is UTC.
fn wall_time(unix_ns: u64) -> String {
    let text = Timestamp { unix_ns }.to_string();
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    let time = time.get(..15).unwrap_or(time);
    format!("{date}\t{time}\t{}.{:06}", unix_ns / 1_000_000_000, unix_ns % 1_000_000_000 / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_milliseconds() {
        assert_eq!(hms(0), "00:00:00:000000");
        assert_eq!(hms(1_004_999_999), "00:00:01:004000");
        assert_eq!(hms(100 * 3_600_000_000_000 + 61_000_000_000), "100:01:01:000000");
    }

    #[test]
    fn wall_times_have_three_parts() {
        assert_eq!(
            wall_time(1_790_000_000_123_456_789),
            "2026-09-21\t14:13:20.123456\t1790000000.123456"
        );
    }
}

//! Figures in the form that people read: durations, counts, shares.

/// A duration with three significant digits and a fitting unit: `87ns`, `412µs`, `1.20ms`, `3.05s`,
/// and from a minute on `1m05s`, `2h00m03s`.
pub fn duration(duration_ns: u64) -> String {
    if duration_ns < 1000 {
        return if duration_ns == 0 { "0".to_owned() } else { format!("{duration_ns}ns") };
    }
    for (unit, name) in [(1e3, "µs"), (1e6, "ms")] {
        let value = duration_ns as f64 / unit;
        // Rounding 999.5 up would show a thousand of the smaller unit.
        if value < 999.5 {
            return format!("{}{name}", three_digits(value));
        }
    }
    let seconds = duration_ns as f64 / 1e9;
    if seconds < 59.95 {
        return format!("{}s", three_digits(seconds));
    }
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes:02}m{seconds:02}s"),
    }
}

/// A value below 1000 with three significant digits.
fn three_digits(value: f64) -> String {
    let decimals = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

/// A count with commas between thousands: `1,234,567`.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.char_indices() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate per second, with one decimal unless it is large: `0.5`, `99.8`, `12,345`.
pub fn rate(per_second: f64) -> String {
    if per_second < 9999.95 {
        format!("{:.1}", per_second.max(0.0))
    } else {
        count(per_second.round() as u64)
    }
}

/// A share (0 to 1) in percent. Only a full share shows as 100 %, and only none as 0 %: one failure
/// in a million must not disappear.
pub fn percent(share: f64) -> String {
    if share <= 0.0 {
        "0 %".to_owned()
    } else if share >= 1.0 {
        "100 %".to_owned()
    } else {
        format!("{:.2} %", (share * 100.0).clamp(0.01, 99.99))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fit_their_unit() {
        let cases = [
            (0, "0"),
            (999, "999ns"),
            (1000, "1.00µs"),
            (9_994, "9.99µs"),
            (9_996, "10.0µs"),
            (412_000, "412µs"),
            (999_499, "999µs"),
            (999_500, "1.00ms"),
            (1_204_000, "1.20ms"),
            (99_960_000, "100ms"),
            (999_600_000, "1.00s"),
            (3_049_999_999, "3.05s"),
            (59_940_000_000, "59.9s"),
            (59_960_000_000, "1m00s"),
            (65_000_000_000, "1m05s"),
            (3_599_600_000_000, "1h00m00s"),
            (7_203_000_000_000, "2h00m03s"),
        ];
        for (duration_ns, text) in cases {
            assert_eq!(duration(duration_ns), text, "{duration_ns}");
        }
    }

    #[test]
    fn counts_are_grouped() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        for (value, text) in cases {
            assert_eq!(count(value), text);
        }
    }

    #[test]
    fn a_single_failure_is_visible_in_a_percentage() {
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.999_999_9), "99.99 %");
        assert_eq!(percent(0.000_000_1), "0.01 %");
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(0.5), "50.00 %");
    }

    #[test]
    fn rates() {
        assert_eq!(rate(0.5), "0.5");
        assert_eq!(rate(9999.96), "10,000");
        assert_eq!(rate(0.0), "0.0");
    }
}

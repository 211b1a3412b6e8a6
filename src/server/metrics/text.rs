//! The text of the exposition format, version 0.0.4: families, samples, escapes.

use std::fmt::Write;

use super::catalogue::Family;
use crate::stats::Buckets;

/// Exposition text that grows line by line. Samples follow the head of their family.
#[derive(Debug, Default)]
pub(super) struct Text {
    out: String,
}

impl Text {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { out: String::with_capacity(bytes) }
    }

    pub(super) fn into_string(self) -> String {
        self.out
    }

    /// Appends text that is exposition already.
    pub(super) fn append(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// The lines that begin a family.
    pub(super) fn family(&mut self, family: &Family) {
        let Family { name, kind, help, .. } = family;
        self.out.push_str("# HELP ");
        self.out.push_str(name);
        self.out.push(' ');
        for c in help.chars() {
            match c {
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                c => self.out.push(c),
            }
        }
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(self.out, "\n# TYPE {name} {}", kind.label());
    }

    /// One sample; `labels` are in the order of [`Family::labels`].
    pub(super) fn sample(&mut self, family: &Family, labels: &[&str], value: impl Into<Number>) {
        self.line(family.name, "", family.labels, labels, None, value.into());
    }

    /// The samples of a histogram of durations.
    pub(super) fn histogram(&mut self, family: &Family, labels: &[&str], buckets: &Buckets) {
        self.histogram_in(1_000_000, family, labels, buckets);
    }

    /// The samples of a histogram, in units of which each was recorded as `unit_us`.
    pub(super) fn histogram_in(
        &mut self,
        unit_us: u32,
        family: &Family,
        labels: &[&str],
        buckets: &Buckets,
    ) {
        let unit_us = f64::from(unit_us);
        let mut count = 0;
        let mut room = String::with_capacity(16);
        for (index, in_bucket) in buckets.counts.iter().enumerate() {
            count += in_bucket;
            room.clear();
            let _ = match buckets.bounds_us.get(index) {
                Some(&bound_us) => write!(room, "{}", bound_us as f64 / unit_us),
                None => write!(room, "+Inf"),
            };
            let value = Number::Integer(count);
            self.line(family.name, "_bucket", family.labels, labels, Some(&room), value);
        }
        let sum = Number::Real(buckets.sum_ns as f64 / (unit_us * 1e3));
        self.line(family.name, "_sum", family.labels, labels, None, sum);
        self.line(family.name, "_count", family.labels, labels, None, Number::Integer(count));
    }

    fn line(
        &mut self,
        name: &str,
        suffix: &str,
        label_names: &[&str],
        labels: &[&str],
        bound: Option<&str>,
        value: Number,
    ) {
        debug_assert_eq!(label_names.len(), labels.len(), "{name}");
        self.out.push_str(name);
        self.out.push_str(suffix);
        let pairs = label_names.iter().copied().zip(labels.iter().copied());
        let pairs = pairs.chain(bound.map(|bound| ("le", bound)));
        let mut separator = '{';
        for (label, text) in pairs {
            self.out.push(separator);
            separator = ',';
            self.out.push_str(label);
            self.out.push_str("=\"");
            for c in text.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        if separator == ',' {
            self.out.push('}');
        }
        let _ = match value {
            Number::Integer(value) => writeln!(self.out, " {value}"),
            Number::Real(value) => writeln!(self.out, " {value}"),
        };
    }
}

/// The value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Integer(u64),
    Real(f64),
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::metrics::catalogue::{CALLS_FAILED, SCHEDULER_LAG, WS_CLIENTS};
    use crate::stats::LAG_BOUNDS_US;

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::default();
        text.sample(&CALLS_FAILED, &["a\"b\\c\nd", "x"], 3);
        text.sample(&WS_CLIENTS, &[], 0.5);
        assert_eq!(
            text.into_string(),
            "gossipper_calls_failed_total{engine=\"a\\\"b\\\\c\\nd\",reason=\"x\"} 3\n\
             gossipper_ws_clients 0.5\n"
        );
    }

    #[test]
    fn buckets_are_cumulative_and_in_seconds() {
        let mut buckets = Buckets::new(LAG_BOUNDS_US);
        buckets.counts[0] = 2;
        buckets.counts[2] = 1;
        *buckets.counts.last_mut().unwrap() = 4;
        buckets.sum_ns = 1_500_000_000;
        let mut text = Text::default();
        text.histogram(&SCHEDULER_LAG, &["e"], &buckets);
        let text = text.into_string();
        let lines: Vec<&str> = text.lines().collect();
        let name = "gossipper_scheduler_lag_seconds";
        assert_eq!(lines[0], format!("{name}_bucket{{engine=\"e\",le=\"0.00001\"}} 2"));
        assert_eq!(lines[2], format!("{name}_bucket{{engine=\"e\",le=\"0.00005\"}} 3"));
        let end = [
            format!("{name}_bucket{{engine=\"e\",le=\"1\"}} 3"),
            format!("{name}_bucket{{engine=\"e\",le=\"+Inf\"}} 7"),
            format!("{name}_sum{{engine=\"e\"}} 1.5"),
            format!("{name}_count{{engine=\"e\"}} 7"),
        ];
        assert_eq!(lines[lines.len() - 4..], end);
    }
}

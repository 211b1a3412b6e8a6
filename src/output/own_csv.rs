//! Our own statistics files (`-trace_format gossipper`): CSV with a comma, times as in RFC 3339.
//!
//! The headers are an interface: columns are neither renamed nor removed.

use std::fmt::Write as _;

use super::clock::Clock;
use crate::stats::{Counters, FailureCause, Snapshot, StepKind};

/// The first line of the statistics file.
pub const STAT_HEADER: &str = "timestamp,elapsed_ms,total_calls,success_calls,failed_calls,\
active_calls,success_ratio,calls_per_second,retransmits,timeouts,avg_call_ms,call_stddev_ms,\
avg_invite_ms,invite_stddev_ms,rtp_packets_sent,rtp_packets_received,rtcp_sender_reports,\
rtcp_receiver_reports,rtcp_packets_received,failure_timeout,failure_unexpected_sip,\
failure_transport_error,failure_parse_error,failure_scenario_error,failure_cancelled,interval_ms,\
interval_calls_per_second,delta_total_calls,delta_success_calls,delta_failed_calls,\
delta_retransmits,delta_timeouts,delta_rtp_packets_sent,delta_rtp_packets_received,\
delta_rtcp_sender_reports,delta_rtcp_receiver_reports,delta_rtcp_packets_received,\
delta_failure_timeout,delta_failure_unexpected_sip,delta_failure_transport_error,\
delta_failure_parse_error,delta_failure_scenario_error,delta_failure_cancelled\n";

/// The first line of the screen file.
pub const SCREEN_HEADER: &str = "timestamp,total_calls,success_calls,failed_calls,active_calls,\
success_ratio,calls_per_second,interval_ms,interval_calls_per_second,avg_call_ms,avg_invite_ms,\
retransmits,timeouts,failure_timeout,failure_unexpected_sip\n";

/// Classes of failures that have columns, in order. A malformed message belongs to no call, so that
/// its column stays 0.
const CLASSES: [&str; 6] =
    ["timeout", "unexpected_sip", "transport_error", "parse_error", "scenario_error", "cancelled"];

/// RTP packets out and in, RTCP sender and receiver reports, RTCP packets in.
type Media = [u64; 5];

/// Figures that appear as totals and as differences between rows.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    elapsed_ns: u64,
    total: u64,
    success: u64,
    failed: u64,
    retransmits: u64,
    timeouts: u64,
    media: Media,
    classes: [u64; 6],
}

impl Figures {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            elapsed_ns: snapshot.elapsed_ns,
            total: snapshot.calls.started,
            success: snapshot.calls.succeeded,
            failed: snapshot.calls.failed,
            retransmits: snapshot.counters.retransmissions_sent,
            timeouts: snapshot.timeouts(),
            media: [
                snapshot.counters.media.rtp_packets_sent,
                snapshot.counters.media.rtp_packets_received,
                snapshot.counters.media.rtcp_sender_reports,
                snapshot.counters.media.rtcp_receiver_reports,
                snapshot.counters.media.rtcp_received,
            ],
            classes: CLASSES.map(|class| failures_of(&snapshot.counters, class)),
        }
    }

    fn since(&self, last: &Self) -> Self {
        let difference = |now: u64, last: u64| now.saturating_sub(last);
        let zip = |now: &[u64], last: &[u64], at: usize| difference(now[at], last[at]);
        Self {
            elapsed_ns: difference(self.elapsed_ns, last.elapsed_ns),
            total: difference(self.total, last.total),
            success: difference(self.success, last.success),
            failed: difference(self.failed, last.failed),
            retransmits: difference(self.retransmits, last.retransmits),
            timeouts: difference(self.timeouts, last.timeouts),
            media: std::array::from_fn(|at| zip(&self.media, &last.media, at)),
            classes: std::array::from_fn(|at| zip(&self.classes, &last.classes, at)),
        }
    }

    fn calls_per_second(&self) -> f64 {
        match self.elapsed_ns {
            0 => 0.0,
            elapsed_ns => self.total as f64 * 1e9 / elapsed_ns as f64,
        }
    }
}

fn failures_of(counters: &Counters, class: &str) -> u64 {
    let causes = FailureCause::ALL.iter().filter(|cause| cause.class() == class);
    causes.map(|&cause| counters.failures.count(cause)).sum()
}

/// Maker of rows, which keeps the figures of the row before.
#[derive(Clone, Debug, Default)]
pub struct OwnCsv {
    stat: Figures,
    screen: Figures,
}

impl OwnCsv {
    /// A row of the statistics file.
    pub fn stat_row(&mut self, snapshot: &Snapshot, clock: &mut Clock) -> Vec<u8> {
        let now = Figures::of(snapshot);
        let since = now.since(&self.stat);
        self.stat = now;
        let mut row = timestamp(snapshot, clock);
        let calls = &snapshot.calls;
        integers(&mut row, &[now.elapsed_ns / 1_000_000, now.total, now.success, now.failed]);
        integers(&mut row, &[calls.active]);
        floats(&mut row, &[calls.success_ratio(), now.calls_per_second()]);
        integers(&mut row, &[now.retransmits, now.timeouts]);
        let (length, invite) = (&snapshot.call_length, &snapshot.invite_rtt);
        floats(&mut row, &[ms(length.average_ns), ms(length.stddev_ns)]);
        floats(&mut row, &[ms(invite.average_ns), ms(invite.stddev_ns)]);
        integers(&mut row, &now.media);
        integers(&mut row, &now.classes);
        integers(&mut row, &[since.elapsed_ns / 1_000_000]);
        floats(&mut row, &[since.calls_per_second()]);
        integers(&mut row, &[since.total, since.success, since.failed]);
        integers(&mut row, &[since.retransmits, since.timeouts]);
        integers(&mut row, &since.media);
        integers(&mut row, &since.classes);
        row.push('\n');
        row.into_bytes()
    }

    /// A row of the screen file.
    pub fn screen_row(&mut self, snapshot: &Snapshot, clock: &mut Clock) -> Vec<u8> {
        let now = Figures::of(snapshot);
        let since = now.since(&self.screen);
        self.screen = now;
        let mut row = timestamp(snapshot, clock);
        integers(&mut row, &[now.total, now.success, now.failed, snapshot.calls.active]);
        floats(&mut row, &[snapshot.calls.success_ratio(), now.calls_per_second()]);
        integers(&mut row, &[since.elapsed_ns / 1_000_000]);
        floats(&mut row, &[since.calls_per_second()]);
        floats(
            &mut row,
            &[ms(snapshot.call_length.average_ns), ms(snapshot.invite_rtt.average_ns)],
        );
        integers(&mut row, &[now.retransmits, now.timeouts, now.classes[0], now.classes[1]]);
        row.push('\n');
        row.into_bytes()
    }
}

/// The first line of the file of counts.
pub fn counts_header(snapshot: &Snapshot) -> Vec<u8> {
    let mut line = "timestamp".to_owned();
    for (index, step) in main_steps(snapshot).iter().enumerate() {
        if !is_message(step.kind) {
            continue;
        }
        let label = label(step);
        for suffix in ["sent", "recv", "unexp"] {
            // Writing to a string cannot fail.
            let _ = write!(line, ",{index}_{label}_{suffix}");
        }
    }
    line.push('\n');
    line.into_bytes()
}

/// A row of the file of counts.
pub fn counts_row(snapshot: &Snapshot, clock: &mut Clock) -> Vec<u8> {
    let mut row = timestamp(snapshot, clock);
    for (step, counts) in main_steps(snapshot).iter().zip(snapshot.steps_of(0)) {
        let messages = counts.messages;
        match step.kind {
            StepKind::Send { .. } => integers(&mut row, &[messages, 0, counts.unexpected]),
            StepKind::Recv { .. } => integers(&mut row, &[0, messages, counts.unexpected]),
            StepKind::Pause | StepKind::Nop | StepKind::SendCommand | StepKind::RecvCommand => {}
        }
    }
    row.push('\n');
    row.into_bytes()
}

fn main_steps(snapshot: &Snapshot) -> &[crate::stats::StepLayout] {
    snapshot.layout.programs.first().map_or(&[], |program| &program.steps)
}

fn is_message(kind: StepKind) -> bool {
    matches!(kind, StepKind::Send { .. } | StepKind::Recv { .. })
}

/// A method, or `RESP_` and a code; any character but letters and digits becomes `_`.
fn label(step: &crate::stats::StepLayout) -> String {
    let is_code = step.name.len() == 3 && step.name.bytes().all(|byte| byte.is_ascii_digit());
    let plain = |character: char| match character.to_ascii_uppercase() {
        character if character.is_ascii_alphanumeric() => character,
        _ => '_',
    };
    let name: String = step.name.chars().map(plain).collect();
    if is_code { format!("RESP_{name}") } else { name }
}

fn timestamp(snapshot: &Snapshot, clock: &mut Clock) -> String {
    let mut out = Vec::with_capacity(512);
    clock.put_rfc3339_local(snapshot.now_unix_ns(), &mut out);
    String::from_utf8(out).unwrap_or_default()
}

fn integers(row: &mut String, values: &[u64]) {
    for value in values {
        // Writing to a string cannot fail.
        let _ = write!(row, ",{value}");
    }
}

fn floats(row: &mut String, values: &[f64]) {
    for value in values {
        // Writing to a string cannot fail.
        let _ = write!(row, ",{value:.6}");
    }
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::stats::{Aggregate, RunStart};

    #[test]
    fn the_statistics_file_has_its_43_columns() {
        assert_eq!(STAT_HEADER.split(',').count(), 43);
        assert_eq!(SCREEN_HEADER.split(',').count(), 15);
    }

    #[test]
    fn every_class_has_a_column() {
        for cause in FailureCause::ALL {
            assert!(CLASSES.contains(&cause.class()), "{cause:?}");
        }
    }

    #[test]
    fn columns_of_media_are_totals_and_differences() {
        let start = RunStart { unix_ns: 1_790_000_000_000_000_000, monotonic_ns: 0 };
        let mut snapshot = Aggregate::new(Arc::default(), 1, start).snapshot();
        let mut clock = Clock::fixed(start, false, 0);
        let mut csv = OwnCsv::default();
        let mut columns = || {
            let media = &mut snapshot.counters.media;
            media.rtp_packets_sent += 100;
            media.rtp_packets_received += 90;
            media.rtcp_sender_reports += 3;
            media.rtcp_receiver_reports += 2;
            media.rtcp_received += 5;
            let row = String::from_utf8(csv.stat_row(&snapshot, &mut clock)).unwrap();
            let named = STAT_HEADER.trim().split(',').map(str::to_owned);
            let named = named.zip(row.trim().split(',').map(str::to_owned));
            let of_media = |name: &str| name.contains("rtp_") || name.contains("rtcp_");
            named.filter(|(name, _)| of_media(name)).map(|(_, value)| value).collect::<Vec<_>>()
        };
        columns();
        assert_eq!(columns(), ["200", "180", "6", "4", "10", "100", "90", "3", "2", "5"]);
    }
}

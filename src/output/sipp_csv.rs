//! SIPp's statistics and count files: columns, their order and their formats.
//!
//! Rows are made from snapshots, so that all columns of a row are taken at one moment, the end of
//! the last report. SIPp has averages and deviations in whole milliseconds; so do these files.

use super::clock::{Clock, put_number};
use crate::stats::{
    Counters, DurationSummary, FailureCause, Snapshot, StepCounts, StepKind, StepLayout,
};

const NS_PER_SECOND: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;

/// Causes of failed calls that have a column, in order.
const FAILURES: [&str; 17] = [
    "FailedCannotSendMessage",
    "FailedMaxUDPRetrans",
    "FailedTcpConnect",
    "FailedTcpClosed",
    "FailedUnexpectedMessage",
    "FailedCallRejected",
    "FailedCmdNotSent",
    "FailedRegexpDoesntMatch",
    "FailedRegexpShouldntMatch",
    "FailedRegexpHdrNotFound",
    "FailedOutboundCongestion",
    "FailedTimeoutOnRecv",
    "FailedTimeoutOnSend",
    "FailedTestDoesntMatch",
    "FailedTestShouldntMatch",
    "FailedStrcmpDoesntMatch",
    "FailedStrcmpShouldntMatch",
];

/// Settings and state of SIPp's CSV files.
#[derive(Clone, Debug)]
pub struct SippCsv {
    delimiter: String,
    /// True if repartitions begin anew with each row (`-periodic_rtd`).
    periodic_repartitions: bool,
    /// The figures of the row before.
    last: Option<Figures>,
    /// The last target rate that was known: a schedule that has ended has none.
    target: f64,
}

/// The figures of a snapshot that a row shows.
#[derive(Clone, Debug, Default)]
struct Figures {
    unix_ns: u64,
    elapsed_ns: u64,
    started: u64,
    active: u64,
    /// Cumulative counts that appear as (P) and (C): incoming, outgoing, successful, failed calls.
    calls: [u64; 4],
    failures: Vec<u64>,
    others: [u64; 8],
    rtds: Vec<DurationSummary>,
    rtd_repartitions: Vec<Vec<u64>>,
    length: DurationSummary,
    length_repartition: Vec<u64>,
    generic: Vec<u64>,
}

/// Columns behind the failures.
const OTHERS: [&str; 8] = [
    "OutOfCallMsgs",
    "DeadCallMsgs",
    "Retransmissions",
    "AutoAnswered",
    "Warnings",
    "FatalErrors",
    "WatchdogMajor",
    "WatchdogMinor",
];

impl Figures {
    fn of(snapshot: &Snapshot) -> Self {
        let counters = &snapshot.counters;
        let count = |name: &&str| {
            let named = |cause: &&FailureCause| cause.sipp_statistic() == Some(*name);
            let causes = FailureCause::ALL.iter().filter(named);
            causes.map(|&cause| counters.failures.count(cause)).sum()
        };
        Self {
            unix_ns: snapshot.now_unix_ns(),
            elapsed_ns: snapshot.elapsed_ns,
            started: snapshot.calls.started,
            active: snapshot.calls.active,
            calls: [
                counters.calls_incoming,
                counters.calls_outgoing,
                snapshot.calls.succeeded,
                snapshot.calls.failed,
            ],
            failures: FAILURES.iter().map(count).collect(),
            others: [
                counters.out_of_call_messages,
                counters.dead_call_messages,
                // SIPp counts the messages that its timers send again, not the answers to
                // repetitions.
                counters.retransmissions_sent.saturating_sub(counters.acks_repeated),
                counters.auto_answered,
                warnings(counters),
                counters.fatal_errors,
                counters.watchdog_major,
                counters.watchdog_minor,
            ],
            rtds: snapshot.rtds.clone(),
            rtd_repartitions: snapshot.rtd_repartitions.clone(),
            length: snapshot.call_length,
            length_repartition: snapshot.call_length_repartition.clone(),
            generic: snapshot.generic_counters.clone(),
        }
    }

    fn empty(snapshot: &Snapshot) -> Self {
        let now = Self::of(snapshot);
        let zeros = |counts: &[u64]| vec![0; counts.len()];
        Self {
            unix_ns: snapshot.start.unix_ns,
            failures: zeros(&now.failures),
            rtds: vec![DurationSummary::default(); now.rtds.len()],
            rtd_repartitions: now.rtd_repartitions.iter().map(|counts| zeros(counts)).collect(),
            length_repartition: zeros(&now.length_repartition),
            generic: zeros(&now.generic),
            ..Self::default()
        }
    }

    /// Makes room for the additional names of `now`, which other programs have brought.
    fn widen(mut self, now: &Self) -> Self {
        self.rtds.resize(now.rtds.len(), DurationSummary::default());
        self.generic.resize(now.generic.len(), 0);
        let more = now.rtd_repartitions.iter().skip(self.rtd_repartitions.len());
        let more: Vec<_> = more.map(|counts| vec![0; counts.len()]).collect();
        self.rtd_repartitions.extend(more);
        self
    }
}

/// SIPp warns once for every call that it aborts, and for every message without a call.
fn warnings(counters: &Counters) -> u64 {
    let cancelled = counters.failures.count(FailureCause::Cancelled);
    let aborted = counters.calls_failed.saturating_sub(cancelled);
    counters.warnings + aborted + counters.out_of_call_messages
}

impl SippCsv {
    /// Makes files with `delimiter` between columns, and after the last one.
    pub fn new(delimiter: &str, periodic_repartitions: bool) -> Self {
        Self { delimiter: delimiter.to_owned(), periodic_repartitions, last: None, target: 0.0 }
    }

    /// The first line of the statistics file.
    pub fn stat_header(&self, snapshot: &Snapshot) -> Vec<u8> {
        let mut line = Line::new(&self.delimiter);
        for name in ["StartTime", "LastResetTime", "CurrentTime"] {
            line.text(name);
        }
        line.pair("ElapsedTime");
        line.text("TargetRate");
        for name in ["CallRate", "IncomingCall", "OutgoingCall"] {
            line.pair(name);
        }
        line.text("TotalCallCreated");
        line.text("CurrentCall");
        for name in ["SuccessfulCall", "FailedCall"].iter().chain(&FAILURES).chain(&OTHERS) {
            line.pair(name);
        }
        let layout = &snapshot.layout;
        for rtd in &layout.rtds {
            line.pair(&format!("ResponseTime{rtd}"));
            line.pair(&format!("ResponseTime{rtd}StDev"));
        }
        line.pair("CallLength");
        line.pair("CallLengthStDev");
        for counter in &layout.counters {
            let is_number = counter.bytes().all(|byte| byte.is_ascii_digit());
            match is_number {
                true => line.pair(&format!("GenericCounter{counter}")),
                false => line.pair(counter),
            }
        }
        for rtd in &layout.rtds {
            let name = format!("ResponseTimeRepartition{rtd}");
            line.repartition(&name, &layout.rtd_repartition_ms);
        }
        line.repartition("CallLengthRepartition", &layout.call_length_repartition_ms);
        line.end()
    }

    /// A row of the statistics file. `target_rate` is the rate that the user asked for (calls per
    /// second, or users). It is shown until the schedule has another one.
    pub fn stat_row(
        &mut self,
        snapshot: &Snapshot,
        target_rate: f64,
        clock: &mut Clock,
    ) -> Vec<u8> {
        let now = Figures::of(snapshot);
        let last = self.last.take().unwrap_or_else(|| Figures::empty(snapshot)).widen(&now);
        if snapshot.rate.target_now > 0.0 {
            self.target = snapshot.rate.target_now;
        } else if self.target == 0.0 {
            self.target = target_rate;
        }
        let mut line = Line::new(&self.delimiter);
        for unix_ns in [snapshot.start.unix_ns, last.unix_ns, now.unix_ns] {
            line.put(|out| clock.put(unix_ns, out));
        }
        let period_ns = now.elapsed_ns.saturating_sub(last.elapsed_ns);
        line.put(|out| put_elapsed(period_ns, out));
        line.put(|out| put_elapsed(now.elapsed_ns, out));
        line.rate(self.target);
        line.rate(rate(now.started - last.started.min(now.started), period_ns));
        line.rate(rate(now.started, now.elapsed_ns));
        line.both(last.calls[0], now.calls[0]);
        line.both(last.calls[1], now.calls[1]);
        line.number(now.started);
        line.number(now.active);
        line.both(last.calls[2], now.calls[2]);
        line.both(last.calls[3], now.calls[3]);
        for (&last, &now) in last.failures.iter().zip(&now.failures) {
            line.both(last, now);
        }
        for (&last, &now) in last.others.iter().zip(&now.others) {
            line.both(last, now);
        }
        for (last, now) in last.rtds.iter().zip(&now.rtds) {
            line.durations(last, now);
        }
        line.durations(&last.length, &now.length);
        for (&last, &now) in last.generic.iter().zip(&now.generic) {
            line.both(last, now);
        }
        for (last, now) in last.rtd_repartitions.iter().zip(&now.rtd_repartitions) {
            line.counts(last, now, self.periodic_repartitions);
        }
        line.counts(&last.length_repartition, &now.length_repartition, self.periodic_repartitions);
        self.last = Some(now);
        line.end()
    }

    /// The first line of the file of counts. `has_losses` says that messages may be lost on
    /// purpose.
    pub fn counts_header(&self, snapshot: &Snapshot, has_losses: bool) -> Vec<u8> {
        let mut line = Line::new(&self.delimiter);
        line.text("CurrentTime");
        line.text("ElapsedTime");
        let steps = snapshot.layout.programs.first().map_or(&[][..], |program| &program.steps);
        for (index, step) in steps.iter().enumerate() {
            for (suffix, _) in step_columns(step, has_losses) {
                let name = match step.kind {
                    // SIPp calls every step without a message a pause.
                    StepKind::Pause
                    | StepKind::Nop
                    | StepKind::SendCommand
                    | StepKind::RecvCommand => "Pause",
                    StepKind::Send { .. } | StepKind::Recv { .. } => &step.name,
                };
                line.text(&format!("{index}_{name}_{suffix}"));
            }
        }
        line.end()
    }

    /// A row of the file of counts.
    pub fn counts_row(&self, snapshot: &Snapshot, has_losses: bool, clock: &mut Clock) -> Vec<u8> {
        let mut line = Line::new(&self.delimiter);
        line.put(|out| clock.put(snapshot.now_unix_ns(), out));
        line.put(|out| put_duration_ms(snapshot.elapsed_ns / NS_PER_MS, out));
        let steps = snapshot.layout.programs.first().map_or(&[][..], |program| &program.steps);
        for (step, counts) in steps.iter().zip(snapshot.steps_of(0)) {
            for (_, count) in step_columns(step, has_losses) {
                line.number(count(counts));
            }
        }
        line.end()
    }
}

/// The columns of a step: the name of each, and the count that it shows.
fn step_columns(
    step: &StepLayout,
    has_losses: bool,
) -> impl Iterator<Item = (&'static str, fn(&StepCounts) -> u64)> {
    let messages: fn(&StepCounts) -> u64 = |counts| counts.messages;
    let retransmissions: fn(&StepCounts) -> u64 = |counts| counts.retransmissions;
    let timeouts: fn(&StepCounts) -> u64 = |counts| counts.timeouts;
    let unexpected: fn(&StepCounts) -> u64 = |counts| counts.unexpected;
    let lost: fn(&StepCounts) -> u64 = |counts| counts.lost;
    let is_pause = !matches!(step.kind, StepKind::Send { .. } | StepKind::Recv { .. });
    let columns = match step.kind {
        StepKind::Send { retransmits } => [
            Some(("Sent", messages)),
            Some(("Retrans", retransmissions)),
            retransmits.then_some(("Timeout", timeouts)),
            None,
        ],
        StepKind::Recv { .. } => [
            Some(("Recv", messages)),
            Some(("Retrans", retransmissions)),
            Some(("Timeout", timeouts)),
            Some(("Unexp", unexpected)),
        ],
        StepKind::Pause | StepKind::Nop | StepKind::SendCommand | StepKind::RecvCommand => {
            [Some(("Sessions", messages)), Some(("Unexp", unexpected)), None, None]
        }
    };
    let lost = (has_losses && !is_pause).then_some(("Lost", lost));
    columns.into_iter().flatten().chain(lost)
}

/// A line under construction; each column ends with the delimiter.
struct Line<'d> {
    delimiter: &'d str,
    out: Vec<u8>,
}

impl<'d> Line<'d> {
    fn new(delimiter: &'d str) -> Self {
        Self { delimiter, out: Vec::with_capacity(2048) }
    }

    fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.out);
        self.out.extend_from_slice(self.delimiter.as_bytes());
    }

    fn text(&mut self, text: &str) {
        self.put(|out| out.extend_from_slice(text.as_bytes()));
    }

    /// The names of a periodic and a cumulative column.
    fn pair(&mut self, name: &str) {
        self.text(&format!("{name}(P)"));
        self.text(&format!("{name}(C)"));
    }

    fn number(&mut self, value: u64) {
        self.put(|out| put_number(value, 1, out));
    }

    fn rate(&mut self, value: f64) {
        self.put(|out| out.extend_from_slice(general(value).as_bytes()));
    }

    fn both(&mut self, last: u64, now: u64) {
        self.number(now.saturating_sub(last));
        self.number(now);
    }

    /// Average and deviation of the durations between two summaries, and of all.
    fn durations(&mut self, last: &DurationSummary, now: &DurationSummary) {
        let period = Moments {
            count: now.count.saturating_sub(last.count),
            sum: now.sum_ns.saturating_sub(last.sum_ns),
            squares: now.sum_squares_ns2.saturating_sub(last.sum_squares_ns2),
        };
        let all = Moments { count: now.count, sum: now.sum_ns, squares: now.sum_squares_ns2 };
        self.put(|out| put_duration_ms(period.average_ms(), out));
        self.put(|out| put_duration_ms(all.average_ms(), out));
        self.put(|out| put_duration_ms(period.deviation_ms(), out));
        self.put(|out| put_duration_ms(all.deviation_ms(), out));
    }

    /// The names of a repartition's columns.
    fn repartition(&mut self, name: &str, bounds_ms: &[u64]) {
        self.text(name);
        for bound_ms in bounds_ms {
            self.text(&format!("{name}_<{bound_ms}"));
        }
        if let Some(bound_ms) = bounds_ms.last() {
            self.text(&format!("{name}_>={bound_ms}"));
        }
    }

    /// A repartition: an empty column, then the counts.
    fn counts(&mut self, last: &[u64], now: &[u64], is_periodic: bool) {
        self.text("");
        if now.len() < 2 {
            // The scenario sets no bounds.
            return;
        }
        for (last, now) in last.iter().zip(now) {
            self.number(if is_periodic { now.saturating_sub(*last) } else { *now });
        }
    }

    fn end(mut self) -> Vec<u8> {
        self.out.push(b'\n');
        self.out
    }
}

/// Count, sum and sum of squares of durations in nanoseconds.
struct Moments {
    count: u64,
    sum: u128,
    squares: u128,
}

impl Moments {
    fn average_ms(&self) -> u64 {
        let average = self.sum.checked_div(u128::from(self.count)).unwrap_or(0);
        u64::try_from(average / u128::from(NS_PER_MS)).unwrap_or(u64::MAX)
    }

    /// The sample standard deviation, as in SIPp; 0 for a single duration.
    fn deviation_ms(&self) -> u64 {
        if self.count < 2 {
            return 0;
        }
        let count = self.count as f64;
        let mean = self.sum as f64 / count;
        let variance = (self.squares as f64 - mean * self.sum as f64) / (count - 1.0);
        (variance.max(0.0).sqrt() / NS_PER_MS as f64) as u64
    }
}

fn rate(calls: u64, elapsed_ns: u64) -> f64 {
    match elapsed_ns {
        0 => 0.0,
        elapsed_ns => calls as f64 * NS_PER_SECOND as f64 / elapsed_ns as f64,
    }
}

/// Six significant digits without trailing zeros, and never an exponent.
fn general(value: f64) -> String {
    let digits_before = if value.abs() < 1.0 { 1 } else { value.abs().log10() as usize + 1 };
    let text = format!("{value:.*}", 6_usize.saturating_sub(digits_before));
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Appends a time as `HH:MM:SS`.
fn put_elapsed(elapsed_ns: u64, out: &mut Vec<u8>) {
    let seconds = elapsed_ns / NS_PER_SECOND;
    put_number(seconds / 3600, 2, out);
    out.push(b':');
    put_number(seconds / 60 % 60, 2, out);
    out.push(b':');
    put_number(seconds % 60, 2, out);
}

/// Appends a time as `HH:MM:SS:uuuuuu`, of which the last three digits are 0.
pub fn put_duration_ms(duration_ms: u64, out: &mut Vec<u8>) {
    put_elapsed(duration_ms.saturating_mul(NS_PER_MS), out);
    out.push(b':');
    put_number(duration_ms % 1000 * 1000, 6, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_a_column_or_none() {
        for cause in FailureCause::ALL {
            if let Some(name) = cause.sipp_statistic() {
                assert!(FAILURES.contains(&name), "{cause:?}: {name}");
            }
        }
    }

    #[test]
    fn rates_have_six_digits() {
        for (value, text) in [
            (0.0, "0"),
            (5.0, "5"),
            (3.996, "3.996"),
            (6.472_491_3, "6.47249"),
            (0.25, "0.25"),
            (99_999.97, "100000"),
            (12_345.678, "12345.7"),
            (1_234_567.8, "1234568"),
        ] {
            assert_eq!(general(value), text);
        }
    }

    #[test]
    fn averages_and_deviations_are_those_of_samples() {
        // Response times for which SIPp wrote 79 and 43 ms.
        let values_ms = [100_u128, 84, 92, 8, 120, 96, 16, 120];
        let moments = Moments {
            count: 8,
            sum: values_ms.iter().map(|ms| ms * 1_000_000).sum(),
            squares: values_ms.iter().map(|ms| ms * ms * 1_000_000_000_000).sum(),
        };
        assert_eq!((moments.average_ms(), moments.deviation_ms()), (79, 43));
        let one = Moments { count: 1, sum: 5_000_000, squares: 25_000_000_000_000 };
        assert_eq!((one.average_ms(), one.deviation_ms()), (5, 0));
    }

    #[test]
    fn durations_have_milliseconds() {
        let mut out = Vec::new();
        put_duration_ms(3_723_004, &mut out);
        assert_eq!(out, b"01:02:03:004000");
    }
}

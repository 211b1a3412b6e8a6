//! `summary.json`: the result of a run as a file for other programs.
//!
//! The keys are an interface (`docs/summary.schema.json`). Durations are whole nanoseconds, times
//! RFC 3339 with nanoseconds. `total_calls = success_calls + failed_calls + active_calls` always.

mod about;
mod media;
mod rate_steps;
mod series;
mod worst;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::atomic_file::{WriteFileError, write_file};
use super::failures::FailureEntry;
use super::findings::findings;
use super::timestamp::Timestamp;
use super::verdict::verdict_sentences;
use crate::stats::{
    self, BUCKET_BOUNDS_MS, Counters, CpuUse, DurationSummary, FailureCause, Health, History,
    RecentSummary, RecordingTotals, Snapshot, Unwritten, WorkerCpu,
};

pub use about::About;
pub use media::{Band, Media, MediaMode, Mos, Streams};
pub use rate_steps::{BadStep, RateSteps, Step};
pub use series::{POINTS_MAX, Point, Series};
pub use worst::BadCall;

/// The value of [`Summary::schema_version`].
pub const SCHEMA_VERSION: &str = "gossipper_summary_v1";

/// Classes of failures in `failure_classes`, which has all of them or is absent.
const FAILURE_CLASSES: [&str; 6] =
    ["timeout", "unexpected_sip", "transport_error", "parse_error", "scenario_error", "cancelled"];

/// Facts for the summary that the snapshot does not have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SummaryContext {
    /// Name of the I/O driver in use.
    pub driver: String,
    /// The transport as in a Via header: `UDP`, `TCP`, `TLS`, `WS` or `WSS`.
    pub transport: String,
    /// Result of the health gates.
    pub health: Health,
    /// The way in which streams of media share sockets.
    pub media_mode: MediaMode,
    /// Rows of statistics files that were lost because their queue was full.
    pub trace_rows_dropped: u64,
    /// Entries of traces and statistics files that could not be written.
    pub unwritten: Unwritten,
    /// Packets that could not be sent to the HEP collector.
    pub hep_packets_dropped: u64,
    /// Events that could not be sent to the collector of the event log.
    pub events_dropped: u64,
    /// Recordings of media, if there may be some; known at the end of the run.
    pub recordings: Option<RecordingTotals>,
}

/// The content of `summary.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// Version of this format.
    pub schema_version: String,
    /// Version of the program.
    pub tool_version: String,
    /// Begin of the run.
    pub started_at: String,
    /// End of the run, or the time of the snapshot.
    pub finished_at: String,
    /// Time between begin and end.
    pub duration: u64,
    /// Calls started.
    pub total_calls: u64,
    /// Calls that reached the end of the scenario.
    pub success_calls: u64,
    /// Calls that failed.
    pub failed_calls: u64,
    /// Calls still open.
    pub active_calls: u64,
    /// The most calls open at once.
    pub peak_active_calls: u64,
    /// Share of `total_calls` that succeeded, 0 to 1.
    pub success_ratio: f64,
    /// `total_calls` per second of `duration`.
    pub calls_per_second: f64,
    /// Target rate on average while calls were being placed; 0 if calls are not paced.
    pub target_calls_per_second: f64,
    /// Calls that we started per second while calls were being placed.
    pub achieved_calls_per_second: f64,
    /// Messages sent again.
    pub retransmits: u64,
    /// Calls that failed for want of an answer.
    pub timeouts: u64,
    /// Mean length of a call.
    pub average_call_latency: u64,
    /// Mean service time of an INVITE that was answered with a 2xx.
    pub average_invite_rtt: u64,
    /// Lengths of calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_length: Option<Durations>,
    /// Service times of INVITEs that were answered with a 2xx.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invite_rtt: Option<Durations>,
    /// Media that calls sent, received and heard.
    pub media: Media,
    /// Response-time timers by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rtd: BTreeMap<String, Durations>,
    /// Transactions by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub transactions: BTreeMap<String, Transaction>,
    /// Service times of the last minutes; only in states of a running run that the API reports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<Recent>,
    /// The scenario's counters by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, u64>,
    /// Passes of the scenario's displayed steps by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub displays: BTreeMap<String, u64>,
    /// Failed calls by class.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub failure_classes: BTreeMap<String, u64>,
    /// Failed calls by cause.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub failure_causes: BTreeMap<String, u64>,
    /// Failed calls in groups of those that failed alike, the largest first, then calls without a
    /// group by cause.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<FailureEntry>,
    /// Planned calls that were not started, by cause.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub withheld: BTreeMap<String, u64>,
    /// Malformed datagrams by cause.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub drops: BTreeMap<String, u64>,
    /// Losses of traces and statistics files, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces: Option<TraceLosses>,
    /// Recordings of media, if there may be some; only once the run is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recordings: Option<RecordingTotals>,
    /// The generator's measurements of itself.
    pub generator: Generator,
    /// All counters by name.
    pub engine_counters: BTreeMap<String, u64>,
    /// Outcome of the calls of each rate, if there were several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_steps: Option<RateSteps>,
    /// The run by time; only once it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<Series>,
    /// The run itself; only once it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<About>,
    /// The health gates, if any is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthSection>,
    /// The run in sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
}

/// Records that traces, statistics files and collectors lack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TraceLosses {
    /// Records that were lost because their queue was full, by kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dropped_records: BTreeMap<String, u64>,
    /// Rows of statistics files that were lost because their queue was full.
    pub dropped_rows: u64,
    /// Entries that could not be written, by kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unwritten_records: BTreeMap<String, u64>,
    /// Bytes that could not be written.
    pub unwritten_bytes: u64,
    /// Packets that could not be sent to the HEP collector.
    pub dropped_hep_packets: u64,
    /// Events that could not be sent to the collector of the event log.
    pub dropped_events: u64,
}

impl TraceLosses {
    fn unless_none(counters: &Counters, context: &SummaryContext) -> Option<Self> {
        let dropped = counters.trace_drops.nonzero().map(|(kind, n)| (kind.label(), n));
        let unwritten = &context.unwritten;
        let losses = Self {
            dropped_records: labelled(dropped),
            dropped_rows: context.trace_rows_dropped,
            unwritten_records: labelled(unwritten.by_label().filter(|(_, n)| *n > 0)),
            unwritten_bytes: unwritten.bytes,
            dropped_hep_packets: context.hep_packets_dropped,
            dropped_events: context.events_dropped,
        };
        (losses != Self::default()).then_some(losses)
    }
}

/// Durations of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Durations {
    /// Number of durations.
    pub count: u64,
    /// Mean.
    pub average: u64,
    /// Shortest.
    pub min: u64,
    /// Longest.
    pub max: u64,
    /// The one recorded last.
    pub last: u64,
    /// Population standard deviation.
    pub stddev: u64,
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 95th percentile.
    pub p95: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// Counts by range; each duration is in one bucket.
    pub buckets: Vec<Bucket>,
}

/// Durations within one range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bucket {
    /// `le_<bound>ms`, or `gt_<bound>ms` for durations above all bounds.
    pub label: String,
    /// Number of durations.
    pub count: u64,
}

/// One kind of transaction that was answered with a 2xx, on both clocks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Transaction {
    /// Times from the request's first transmission to the final response.
    pub service: Durations,
    /// Times from the moment at which the request was planned.
    pub response: Durations,
    /// Times as in `service`, if the final response was 3xx to 6xx; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Durations>,
}

/// Service times within the last minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recent {
    /// Length of the window in seconds; it begins up to 10 s later.
    pub seconds: u64,
    /// The transaction: the first INVITE, else the first of all.
    pub transaction: String,
    /// Number of transactions that were answered within the window.
    pub count: u64,
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 95th percentile.
    pub p95: u64,
    /// 99th percentile.
    pub p99: u64,
}

/// The generator's measurements of itself, and the verdict that follows for the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Generator {
    /// `ok`, `generator_limited` or `not_judged`.
    pub verdict: String,
    /// Seconds judged.
    pub judged_seconds: u64,
    /// Seconds in which the generator was the limit.
    pub limited_seconds: u64,
    /// Limited seconds by cause.
    pub causes: BTreeMap<String, u64>,
    /// The verdict in sentences: the observation, the affected figures, and advice.
    pub reasons: Vec<String>,
    /// The worst limited second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worst_second: Option<LimitedSecond>,
    /// The last limited second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_limited_second: Option<LimitedSecond>,
    /// Calls started in judged seconds whose times may be the generator's.
    pub affected_calls: u64,
    /// The highest percentile that those calls leave unchanged, if a second was limited: `p50` to
    /// `p99.9`, or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unaffected_up_to: Option<String>,
    /// CPU times of the first 64 workers, if the kernel tells.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub worker_cpus: Vec<WorkerCpus>,
    /// Lateness of the starts of calls.
    pub planned_send_error: Durations,
    /// Durations of the turns of the workers' loops.
    pub loop_time: Durations,
    /// Busy share of the busiest worker in its busiest second, 0 to 1.
    pub busy_share_max: f64,
    /// Busy share of all workers over the run, 0 to 1.
    pub busy_share_avg: f64,
    /// Name of the I/O driver.
    pub driver: String,
    /// The transport of messages: `UDP`, `TCP`, `TLS`, `WS` or `WSS`.
    pub transport: String,
    /// Number of workers.
    pub workers: u64,
    /// Datagrams that the kernel dropped because our receive queue was full.
    pub receive_overflow: u64,
    /// Times that receiving stopped for want of buffers.
    pub receive_rearms: u64,
    /// Completion-queue overflows.
    pub cq_overflow: u64,
    /// Datagrams lost between workers.
    pub handover_dropped: u64,
    /// Messages that the kernel had no buffer for.
    pub send_no_buffer: u64,
}

/// A second in which the generator was the limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitedSecond {
    /// Whole seconds since the start: 0 is the second that status lines show at 00:01.
    pub second: u64,
    /// The reasons.
    pub causes: Vec<String>,
    /// 99th percentile of the lateness of call starts.
    pub planned_send_error_p99: u64,
    /// 99th percentile of the lateness of RTP packets; absent if none were sent.
    #[serde(skip_serializing_if = "media::is_zero")]
    pub rtp_send_error_p99: u64,
    /// Busy share of the busiest worker, 0 to 1.
    pub busy_share: f64,
}

/// CPU times of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerCpus {
    /// The worker, counted from 0.
    pub worker: u64,
    /// All of the run.
    pub total: CpuTimes,
    /// The seconds in which the generator was the limit.
    pub limited: CpuTimes,
}

/// The time of a worker's CPU, by use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuTimes {
    /// The whole time.
    pub time: u64,
    /// The worker ran.
    pub busy: u64,
    /// The worker was ready to run and waited for the CPU.
    pub waited: u64,
    /// Other programs ran on that CPU, at least.
    pub other_programs: u64,
    /// Other workers of the run ran on it.
    pub other_workers: u64,
    /// The hypervisor gave it to other machines.
    pub stolen: u64,
    /// The quota of the control group was used up.
    pub throttled: u64,
}

impl From<&CpuUse> for CpuTimes {
    fn from(cpu: &CpuUse) -> Self {
        Self {
            time: cpu.time_ns,
            busy: cpu.busy_ns,
            waited: cpu.waited_ns,
            other_programs: cpu.others_ns,
            other_workers: cpu.workers_ns,
            stolen: cpu.stolen_ns,
            throttled: cpu.throttled_ns,
        }
    }
}

/// Outcome of the health gates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthSection {
    /// True if at least one gate is set.
    pub active: bool,
    /// True if all gates hold.
    pub pass: bool,
    /// One sentence for each gate that does not hold.
    pub reasons: Vec<String>,
}

impl Summary {
    /// The summary of a run.
    pub fn new(snapshot: &Snapshot, context: &SummaryContext) -> Self {
        let calls = snapshot.calls;
        let counters = &snapshot.counters;
        let layout = &snapshot.layout;
        let transactions = snapshot.transactions.iter().map(|transaction| Transaction {
            service: Durations::new(&transaction.service),
            response: Durations::new(&transaction.response),
            refused: Durations::unless_empty(&transaction.refused),
        });
        let rtds = snapshot.rtds.iter().map(Durations::new);
        let health = &context.health;
        Self {
            schema_version: SCHEMA_VERSION.to_owned(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: Timestamp { unix_ns: snapshot.start.unix_ns }.to_string(),
            finished_at: Timestamp { unix_ns: snapshot.now_unix_ns() }.to_string(),
            duration: snapshot.elapsed_ns,
            total_calls: calls.started,
            success_calls: calls.succeeded,
            failed_calls: calls.failed,
            active_calls: calls.active,
            peak_active_calls: snapshot.peak_active,
            success_ratio: calls.success_ratio(),
            calls_per_second: snapshot.calls_per_second(),
            target_calls_per_second: snapshot.rate.target_average,
            achieved_calls_per_second: snapshot.rate.achieved,
            retransmits: counters.retransmissions_sent,
            timeouts: snapshot.timeouts(),
            average_call_latency: snapshot.call_length.average_ns,
            average_invite_rtt: snapshot.invite_rtt.average_ns,
            call_length: Durations::unless_empty(&snapshot.call_length),
            invite_rtt: Durations::unless_empty(&snapshot.invite_rtt),
            media: Media::of(snapshot, context.media_mode),
            rtd: layout.rtds.iter().cloned().zip(rtds).collect(),
            transactions: layout.transactions.iter().cloned().zip(transactions).collect(),
            recent: Vec::new(),
            counters: named(&layout.counters, &snapshot.generic_counters),
            displays: named(&layout.displays, &snapshot.displays),
            failure_classes: failure_classes(counters),
            failure_causes: labelled(counters.failures.nonzero().map(|(c, n)| (c.label(), n))),
            failures: FailureEntry::all(snapshot),
            withheld: labelled(counters.withheld.nonzero().map(|(c, n)| (c.label(), n))),
            drops: labelled(counters.drops.nonzero().map(|(c, n)| (c.label(), n))),
            traces: TraceLosses::unless_none(counters, context),
            recordings: context.recordings,
            generator: Generator::new(snapshot, context),
            engine_counters: labelled(counters.each()),
            rate_steps: RateSteps::of(snapshot, health),
            series: None,
            run: None,
            health: health.active.then(|| HealthSection {
                active: health.active,
                pass: health.pass,
                reasons: health.reasons.clone(),
            }),
            findings: findings(snapshot, health),
        }
    }

    /// The same summary with the run by time.
    pub fn with_series(self, history: &History) -> Self {
        Self { series: Some(Series::of(history)), ..self }
    }

    /// The same summary with the circumstances of the run.
    pub fn with_run(self, about: About) -> Self {
        Self { run: Some(about), ..self }
    }

    /// The text of the file: indented JSON with a final newline.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        let mut text = text.expect("only maps with other keys than strings fail to serialize");
        text.push('\n');
        text
    }

    /// Writes the file, which is then complete or absent.
    pub fn write(&self, path: &Path) -> Result<(), WriteFileError> {
        write_file(path, |file| file.write_all(self.to_json().as_bytes()))
    }
}

impl Durations {
    fn new(summary: &DurationSummary) -> Self {
        let counts = bucket_labels().zip(summary.buckets);
        Self {
            count: summary.count,
            average: summary.average_ns,
            min: summary.min_ns,
            max: summary.max_ns,
            last: summary.last_ns,
            stddev: summary.stddev_ns,
            p50: summary.p50_ns,
            p90: summary.p90_ns,
            p95: summary.p95_ns,
            p99: summary.p99_ns,
            p999: summary.p999_ns,
            buckets: counts.map(|(label, count)| Bucket { label, count }).collect(),
        }
    }

    fn unless_empty(summary: &DurationSummary) -> Option<Self> {
        (summary.count > 0).then(|| Self::new(summary))
    }
}

impl Generator {
    fn new(snapshot: &Snapshot, context: &SummaryContext) -> Self {
        let tally = &snapshot.verdict;
        let counters = &snapshot.counters;
        Self {
            verdict: tally.verdict().label().to_owned(),
            judged_seconds: tally.judged_seconds,
            limited_seconds: tally.limited_seconds,
            causes: labelled(tally.causes.nonzero().map(|(cause, count)| (cause.label(), count))),
            reasons: verdict_sentences(snapshot),
            worst_second: tally.worst.as_ref().map(LimitedSecond::from),
            last_limited_second: tally.last.as_ref().map(LimitedSecond::from),
            affected_calls: tally.affected_calls,
            unaffected_up_to: tally
                .doubt()
                .map(|doubt| doubt.sound_up_to.unwrap_or("none").to_owned()),
            worker_cpus: worker_cpus(snapshot),
            planned_send_error: Durations::new(&snapshot.planned_send_error),
            loop_time: Durations::new(&snapshot.loop_time),
            busy_share_max: snapshot.busy.share_max,
            busy_share_avg: snapshot.busy.share_average,
            driver: context.driver.clone(),
            transport: context.transport.clone(),
            workers: snapshot.workers as u64,
            receive_overflow: counters.receive_overflow,
            receive_rearms: counters.receive_rearms,
            cq_overflow: counters.cq_overflow,
            handover_dropped: counters.handover_dropped,
            send_no_buffer: counters.send_no_buffer,
        }
    }
}

impl From<&stats::LimitedSecond> for LimitedSecond {
    fn from(limited: &stats::LimitedSecond) -> Self {
        Self {
            second: limited.second,
            causes: limited.causes.iter().map(|cause| cause.label().to_owned()).collect(),
            planned_send_error_p99: limited.planned_send_error_p99_ns,
            rtp_send_error_p99: limited.rtp_send_error_p99_ns,
            busy_share: limited.busy_share_max,
        }
    }
}

/// Returns the workers for which the kernel reported something.
fn worker_cpus(snapshot: &Snapshot) -> Vec<WorkerCpus> {
    let known = snapshot.cpu.iter().enumerate().filter(|(_, cpu)| cpu.total.time_ns > 0);
    let of = |(worker, cpu): (usize, &WorkerCpu)| WorkerCpus {
        worker: worker as u64,
        total: CpuTimes::from(&cpu.total),
        limited: CpuTimes::from(&cpu.limited),
    };
    known.map(of).collect()
}

/// The service times of the last minutes; empty for a scenario without transactions.
pub(crate) fn recent(snapshot: &Snapshot) -> Vec<Recent> {
    let layout = &snapshot.layout;
    let Some(name) = layout.primary_transaction().and_then(|index| layout.transactions.get(index))
    else {
        return Vec::new();
    };
    let of = |window: &RecentSummary| Recent {
        seconds: window.seconds,
        transaction: name.clone(),
        count: window.count,
        p50: window.p50_ns,
        p90: window.p90_ns,
        p95: window.p95_ns,
        p99: window.p99_ns,
    };
    snapshot.recent.iter().map(of).collect()
}

fn bucket_labels() -> impl Iterator<Item = String> {
    let within = BUCKET_BOUNDS_MS.iter().map(|bound_ms| format!("le_{bound_ms}ms"));
    let above = BUCKET_BOUNDS_MS.last().map(|bound_ms| format!("gt_{bound_ms}ms"));
    within.chain(above)
}

fn failure_classes(counters: &Counters) -> BTreeMap<String, u64> {
    if counters.failures.total() == 0 {
        return BTreeMap::new();
    }
    let mut classes = labelled(FAILURE_CLASSES.into_iter().map(|class| (class, 0)));
    for &cause in FailureCause::ALL {
        *classes.entry(cause.class().to_owned()).or_default() += counters.failures.count(cause);
    }
    classes
}

fn named(names: &[String], values: &[u64]) -> BTreeMap<String, u64> {
    names.iter().cloned().zip(values.iter().copied()).collect()
}

fn labelled(counts: impl Iterator<Item = (&'static str, u64)>) -> BTreeMap<String, u64> {
    counts.map(|(label, count)| (label.to_owned(), count)).collect()
}

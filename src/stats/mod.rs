//! Counters, histograms, snapshots, verdict and health gates.
//!
//! Workers own [`Counters`] and the [`Histograms`] of their current [`Report`]; the control side
//! merges reports in an [`Aggregate`] and reads [`Snapshot`]s. This module knows nothing of sockets
//! or of the readers of its figures.

#[macro_use]
mod cause;
mod aggregate;
mod cells;
mod counters;
mod cpu;
mod delta;
mod distribution;
mod exit;
mod failures;
mod handshake_fault;
mod health;
mod histograms;
mod history;
mod layout;
mod lifetime;
mod media;
mod messages;
mod rate_steps;
mod recent;
mod recording;
mod relay_fault;
mod report;
mod rtp_fault;
mod snapshot;
mod srtp_fault;
mod steps;
mod unwritten;
mod verdict;
mod worst;

pub use aggregate::Aggregate;
pub use cause::{
    DropCause, DropCounts, FailureCause, FailureCounts, TraceDropCounts, TraceKind, WithheldCause,
    WithheldCounts,
};
pub use counters::Counters;
pub use cpu::{CpuCause, CpuUse, WorkerCpu};
pub use delta::{
    Added, COUNT_MAX, Delta, DeltaError, DeltaSum, Durations, Figures, LAYOUTS_MAX, Moment,
    RateStepCalls, SOURCE_MAX, SOURCES_MAX, Source, SourceSum, StepCalls, TransactionDurations,
    WINDOW, WorkerTime,
};
pub use distribution::{
    BUCKET_BOUNDS_MS, Cell, DURATION_MAX_US, Distribution, DurationSummary, Moments,
    SIGNIFICANT_DIGITS,
};
pub use exit::{ExitCode, Outcome, RunEnd, exit_code};
pub use failures::{
    FAILURE_GROUPS_MAX, FailureGroup, FailureKey, FailureTable, Failures, FirstFailure, Happening,
    ShortText, Unreachable,
};
pub use handshake_fault::{HandshakeFault, HandshakeFaultCounts};
pub use health::{CallsGate, Health, HealthGates};
pub use histograms::{Histograms, TransactionHistograms};
pub use history::{HISTORY_ROWS_MAX, History, HistoryRow};
pub use layout::{Layout, LayoutId};
pub use lifetime::{
    Buckets, CALL_LENGTH_BOUNDS_US, JudgedSeconds, LAG_BOUNDS_US, Lifetime, Measured,
    RESPONSE_BOUNDS_US, TransactionBuckets, media_bounds_us,
};
pub use media::{
    DelayCause, DelayCounts, HeardCounts, HeardVerdict, MOS_BANDS, MediaCounters, MediaHistograms,
    MediaMeasure, MediaSummary, StrayCause, StrayCounts, UnsentCause, UnsentCounts, count_of_ns,
    units_of_ns,
};
pub use messages::{METHOD_NAMES, MessageCounts, OneWay};
pub use rate_steps::{
    NO_RATE_STEP, RATE_STEPS_MAX, RateStep, RateStepCounts, RateStepDurations, RateStepProblem,
    RateSteps, clean_and_bad,
};
pub use recent::{RECENT_SECONDS, RecentSummary};
pub use recording::{RecordingLoss, RecordingLosses, RecordingTotals};
pub use relay_fault::{RelayFault, RelayFaultCounts};
pub use report::{CounterSample, Report};
pub use rtp_fault::{RtpFault, RtpFaultCounts};
pub use snapshot::{
    BusySummary, CallTotals, RATE_NS_MIN, RateSummary, RunStart, Snapshot, TransactionSummary,
};
pub use srtp_fault::{SrtpFault, SrtpFaultCounts};
pub use steps::{ProgramLayout, StepCounts, StepKind, StepLayout};
pub use unwritten::Unwritten;
pub use verdict::{
    BUSY_SHARE_LIMIT, Doubt, Evidence, LATE_STARTS_MIN, LIMITED_SHARE_LIMIT, LimitCause,
    LimitCauses, LimitCounts, LimitedSecond, PLANNED_SEND_ERROR_LIMIT_NS,
    PLANNED_SEND_ERROR_SAMPLES_MIN, Verdict, VerdictTally, withheld_by_generator,
};
pub use worst::{HeardCall, WORST_CALLS_MAX, WorstCall, WorstCalls};

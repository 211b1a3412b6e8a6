//! Was it the system under test that was measured, or the generator?
//!
//! Every second is judged from what the workers measured about themselves. A run with too many
//! limited seconds is reported as generator-limited: its figures say what the generator could do,
//! not what the system could.

use super::{Counters, FailureCause, WithheldCause, WithheldCounts};

/// Limit of the 99th percentile of the lateness of call starts within a second. At a millisecond
/// the lateness is of the order of the response time of a healthy SIP server, so the two can no
/// longer be told apart; an undisturbed worker stays far below it.
pub const PLANNED_SEND_ERROR_LIMIT_NS: u64 = 1_000_000;

/// From this many starts per second on, the 99th percentile is more than the single latest one.
pub const PLANNED_SEND_ERROR_SAMPLES_MIN: u64 = 100;

/// Limit instead of [`PLANNED_SEND_ERROR_LIMIT_NS`] when there are fewer starts: one ordinary
/// scheduling delay of a few milliseconds then decides the percentile, without distorting the load.
pub const PLANNED_SEND_ERROR_SPARSE_LIMIT_NS: u64 = 10_000_000;

/// Limit of the share of a second that any worker may be busy. Above it the queue in front of the
/// worker grows on average, and latency measures that queue.
pub const BUSY_SHARE_LIMIT: f64 = 0.95;

/// Share of limited seconds from which on the run's figures are the generator's. A single hiccup
/// in a minute of load (under 2 %) leaves percentiles up to p95 intact.
pub const LIMITED_SHARE_LIMIT: f64 = 0.05;
/// Runs of at least this many judged seconds are not condemned by a single limited one.
const LONE_SECOND_RUN_MIN: u64 = 5;

causes! {
    /// Why a second counts as limited by the generator.
    LimitCause,
    /// Limited seconds by cause; a second may have several.
    LimitCounts {
        /// Calls were started later than planned.
        LateSends = "late_sends",
        /// A worker was busy for almost all of the second.
        WorkerBusy = "worker_busy",
        /// A worker gave no report for the second: it or its core was stalled.
        WorkerStalled = "worker_stalled",
        /// The kernel dropped datagrams because our receive queue was full.
        ReceiveOverflow = "receive_overflow",
        /// Receiving stopped for want of buffers and had to be armed again.
        ReceiveBuffers = "receive_buffers",
        /// The completion queue overflowed.
        CqOverflow = "cq_overflow",
        /// Datagrams were lost between our own workers.
        HandoverDropped = "handover_dropped",
        /// The kernel had no buffer for messages of ours (`ENOBUFS`).
        SendNoBuffer = "send_no_buffer",
        /// Planned calls were not started, or failed, because a pool of ours was full.
        PoolFull = "pool_full",
        /// Planned calls were not started because of the socket limit.
        SocketLimit = "socket_limit",
    }
}

/// A set of [`LimitCause`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitCauses(u16);

const _: () = assert!(LimitCause::ALL.len() <= u16::BITS as usize);

impl LimitCauses {
    /// Adds `cause`.
    pub fn insert(&mut self, cause: LimitCause) {
        self.0 |= 1 << cause as u16;
    }

    /// Whether `cause` is in the set.
    pub fn contains(self, cause: LimitCause) -> bool {
        self.0 & (1 << cause as u16) != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Number of causes.
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// What is in either set.
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The causes in declaration order.
    pub fn iter(self) -> impl Iterator<Item = LimitCause> {
        LimitCause::ALL.iter().copied().filter(move |&cause| self.contains(cause))
    }
}

impl FromIterator<LimitCause> for LimitCauses {
    fn from_iter<I: IntoIterator<Item = LimitCause>>(causes: I) -> Self {
        let mut set = Self::default();
        causes.into_iter().for_each(|cause| set.insert(cause));
        set
    }
}

/// The judgement of a second or of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// There is nothing to judge by yet.
    #[default]
    NotJudged,
    /// The generator kept up: the figures are those of the system under test.
    Ok,
    /// The generator was the limit, for these reasons.
    GeneratorLimited {
        /// What was seen.
        causes: LimitCauses,
    },
}

impl Verdict {
    /// The stable snake_case name: JSON value and metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotJudged => "not_judged",
            Self::Ok => "ok",
            Self::GeneratorLimited { .. } => "generator_limited",
        }
    }

    /// Whether the generator was the limit.
    pub fn is_limited(self) -> bool {
        matches!(self, Self::GeneratorLimited { .. })
    }
}

/// What one second is judged by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Workers that should have reported.
    pub workers_expected: usize,
    /// Workers that did.
    pub workers_reported: usize,
    /// Calls started on a plan.
    pub planned_sends: u64,
    /// 99th percentile of their lateness.
    pub planned_send_error_p99_ns: u64,
    /// Busy share of the busiest worker, 0 to 1.
    pub busy_share_max: f64,
    /// What all workers counted in this second.
    pub counted: Counters,
}

impl Evidence {
    /// Judges the second.
    pub fn judge(&self) -> Verdict {
        if self.workers_expected == 0 {
            return Verdict::NotJudged;
        }
        let counted = &self.counted;
        let withheld = |cause| counted.withheld.count(cause);
        let lateness_limit_ns = if self.planned_sends < PLANNED_SEND_ERROR_SAMPLES_MIN {
            PLANNED_SEND_ERROR_SPARSE_LIMIT_NS
        } else {
            PLANNED_SEND_ERROR_LIMIT_NS
        };
        let pool_exhausted = counted.failures.count(FailureCause::PoolExhausted);
        let tests = [
            (LimitCause::LateSends, self.planned_send_error_p99_ns > lateness_limit_ns),
            (LimitCause::WorkerBusy, self.busy_share_max > BUSY_SHARE_LIMIT),
            (LimitCause::WorkerStalled, self.workers_reported < self.workers_expected),
            (LimitCause::ReceiveOverflow, counted.receive_overflow > 0),
            (LimitCause::ReceiveBuffers, counted.receive_rearms > 0),
            (LimitCause::CqOverflow, counted.cq_overflow > 0),
            (LimitCause::HandoverDropped, counted.handover_dropped > 0),
            (LimitCause::SendNoBuffer, counted.send_no_buffer > 0),
            (LimitCause::PoolFull, withheld(WithheldCause::PoolFull) + pool_exhausted > 0),
            (LimitCause::SocketLimit, withheld(WithheldCause::SocketLimit) > 0),
        ];
        let seen = tests.into_iter().filter(|&(_, is_seen)| is_seen);
        let causes: LimitCauses = seen.map(|(cause, _)| cause).collect();
        if causes.is_empty() { Verdict::Ok } else { Verdict::GeneratorLimited { causes } }
    }
}

/// A limited second and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LimitedSecond {
    /// Whole seconds since the start of the run.
    pub second: u64,
    /// Why it counts as limited.
    pub causes: LimitCauses,
    /// 99th percentile of the lateness of call starts.
    pub planned_send_error_p99_ns: u64,
    /// Busy share of the busiest worker, 0 to 1.
    pub busy_share_max: f64,
}

impl LimitedSecond {
    /// More things going wrong at once is worse; lateness decides between equals.
    fn is_worse_than(&self, other: &Self) -> bool {
        (self.causes.len(), self.planned_send_error_p99_ns)
            > (other.causes.len(), other.planned_send_error_p99_ns)
    }
}

/// The judgements of a run's seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct VerdictTally {
    /// Seconds judged.
    pub judged_seconds: u64,
    /// Seconds in which the generator was the limit.
    pub limited_seconds: u64,
    /// Limited seconds by cause.
    pub causes: LimitCounts,
    /// The worst of the limited seconds.
    pub worst: Option<LimitedSecond>,
}

impl VerdictTally {
    /// Judges one more second and counts the result.
    pub fn judge(&mut self, second: u64, evidence: &Evidence) -> Verdict {
        let verdict = evidence.judge();
        if verdict != Verdict::NotJudged {
            self.judged_seconds += 1;
        }
        if let Verdict::GeneratorLimited { causes } = verdict {
            self.limited_seconds += 1;
            causes.iter().for_each(|cause| self.causes.bump(cause));
            let limited = LimitedSecond {
                second,
                causes,
                planned_send_error_p99_ns: evidence.planned_send_error_p99_ns,
                busy_share_max: evidence.busy_share_max,
            };
            if self.worst.is_none_or(|worst| limited.is_worse_than(&worst)) {
                self.worst = Some(limited);
            }
        }
        verdict
    }

    /// Share of limited seconds, 0 to 1.
    pub fn limited_share(&self) -> f64 {
        match self.judged_seconds {
            0 => 0.0,
            judged => self.limited_seconds as f64 / judged as f64,
        }
    }

    /// One bad second does not condemn a run of some seconds: a share of one in ten says little.
    fn is_lone_second(&self) -> bool {
        self.limited_seconds == 1 && self.judged_seconds >= LONE_SECOND_RUN_MIN
    }

    /// The run's verdict.
    pub fn verdict(&self) -> Verdict {
        if self.judged_seconds == 0 {
            Verdict::NotJudged
        } else if self.limited_share() > LIMITED_SHARE_LIMIT && !self.is_lone_second() {
            let causes = self.causes.nonzero().map(|(cause, _)| cause).collect();
            Verdict::GeneratorLimited { causes }
        } else {
            Verdict::Ok
        }
    }
}

/// Whose limit withheld calls: `-l` and a listener that is off are what the user asked for, the
/// rest is the generator.
pub fn withheld_by_generator(withheld: &WithheldCounts) -> u64 {
    withheld.total()
        - withheld.count(WithheldCause::CallLimit)
        - withheld.count(WithheldCause::ListenerOff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> Evidence {
        Evidence {
            workers_expected: 2,
            workers_reported: 2,
            planned_sends: 1000,
            planned_send_error_p99_ns: 40_000,
            busy_share_max: 0.4,
            counted: Counters::default(),
        }
    }

    fn causes(evidence: &Evidence) -> Vec<LimitCause> {
        match evidence.judge() {
            Verdict::GeneratorLimited { causes } => causes.iter().collect(),
            verdict => panic!("{verdict:?}"),
        }
    }

    #[test]
    fn a_healthy_second_is_ok() {
        assert_eq!(healthy().judge(), Verdict::Ok);
    }

    #[test]
    fn each_kind_of_evidence_limits_a_second() {
        let late = Evidence { planned_send_error_p99_ns: 1_000_001, ..healthy() };
        assert_eq!(causes(&late), [LimitCause::LateSends]);
        let busy = Evidence { busy_share_max: 0.96, ..healthy() };
        assert_eq!(causes(&busy), [LimitCause::WorkerBusy]);
        let stalled = Evidence { workers_reported: 1, ..healthy() };
        assert_eq!(causes(&stalled), [LimitCause::WorkerStalled]);

        let counted = |change: fn(&mut Counters)| {
            let mut evidence = healthy();
            change(&mut evidence.counted);
            causes(&evidence)
        };
        assert_eq!(counted(|c| c.receive_overflow = 1), [LimitCause::ReceiveOverflow]);
        assert_eq!(counted(|c| c.receive_rearms = 1), [LimitCause::ReceiveBuffers]);
        assert_eq!(counted(|c| c.cq_overflow = 1), [LimitCause::CqOverflow]);
        assert_eq!(counted(|c| c.handover_dropped = 1), [LimitCause::HandoverDropped]);
        assert_eq!(counted(|c| c.send_no_buffer = 1), [LimitCause::SendNoBuffer]);
        assert_eq!(counted(|c| c.withheld.bump(WithheldCause::PoolFull)), [LimitCause::PoolFull]);
        assert_eq!(
            counted(|c| c.failures.bump(FailureCause::PoolExhausted)),
            [LimitCause::PoolFull]
        );
        assert_eq!(
            counted(|c| c.withheld.bump(WithheldCause::SocketLimit)),
            [LimitCause::SocketLimit]
        );
    }

    #[test]
    fn the_users_own_call_limit_is_not_the_generators() {
        let mut evidence = healthy();
        evidence.counted.withheld.bump(WithheldCause::CallLimit);
        assert_eq!(evidence.judge(), Verdict::Ok);
        assert_eq!(withheld_by_generator(&evidence.counted.withheld), 0);
    }

    #[test]
    fn one_late_call_among_few_needs_to_be_very_late() {
        let few = Evidence { planned_sends: 5, ..healthy() };
        let late = Evidence { planned_send_error_p99_ns: 3_000_000, ..few };
        assert_eq!(late.judge(), Verdict::Ok);
        let stalled = Evidence { planned_send_error_p99_ns: 11_000_000, ..few };
        assert!(stalled.judge().is_limited());
    }

    #[test]
    fn a_run_is_limited_above_five_percent_of_its_seconds() {
        let mut tally = VerdictTally::default();
        assert_eq!(tally.verdict(), Verdict::NotJudged);
        let late = Evidence { planned_send_error_p99_ns: 2_000_000, ..healthy() };
        for second in 0..19 {
            tally.judge(second, &healthy());
        }
        tally.judge(19, &late);
        assert_eq!(tally.verdict(), Verdict::Ok);
        tally.judge(20, &Evidence { planned_send_error_p99_ns: 3_000_000, ..late });
        tally.judge(21, &late);
        assert!(tally.verdict().is_limited());
        assert_eq!(tally.worst.map(|worst| worst.second), Some(20));
        assert_eq!(tally.causes.count(LimitCause::LateSends), 3);
        assert_eq!((tally.limited_seconds, tally.judged_seconds), (3, 22));
    }
}

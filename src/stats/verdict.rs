//! The judgement of whether the system under test was measured, or the generator.
//!
//! Every second is judged from the workers' measurements of themselves. A run with too many limited
//! seconds is reported as `generator_limited`: its figures show the limit of the generator, not
//! that of the system.

use super::{Counters, FailureCause, WithheldCause, WithheldCounts};

/// Lateness above which a call counts as started late, and a packet of RTP as sent late. At a
/// millisecond the lateness is of the order of the response time of a healthy SIP server, and of
/// the jitter of a healthy network, so that ours can no longer be told apart from theirs. An
/// undisturbed worker stays far below it.
pub const PLANNED_SEND_ERROR_LIMIT_NS: u64 = 1_000_000;

/// Fewest starts among which late ones are judged: a 99th percentile of fewer is their maximum.
/// Seconds with fewer starts are judged together with those before them.
pub const PLANNED_SEND_ERROR_SAMPLES_MIN: u64 = 100;

/// Fewest late starts, or late packets of RTP, that limit a second: a handful may be one scheduling
/// delay.
pub const LATE_STARTS_MIN: u64 = 5;

/// Limit of the share of a second that any worker may be busy. Above it the queue in front of the
/// worker grows on average, and latency measures that queue.
pub const BUSY_SHARE_LIMIT: f64 = 0.95;

/// Share of limited seconds above which the run's figures are those of the generator. A single
/// hiccup in a minute of load (under 2 %) leaves percentiles up to p95 intact.
pub const LIMITED_SHARE_LIMIT: f64 = 0.05;
/// Fewest judged seconds of a run that a single limited second does not condemn.
const LONE_SECOND_RUN_MIN: u64 = 5;

causes! {
    /// The reason why a second counts as limited by the generator.
    LimitCause,
    /// Limited seconds by cause; a second may have several.
    LimitCounts {
        /// Calls were started later than planned.
        LateSends = "late_sends",
        /// Packets of RTP were sent later than planned.
        LateRtp = "late_rtp",
        /// A worker was busy for almost all of the second.
        WorkerBusy = "worker_busy",
        /// A worker gave no report for the second: it or its core was stalled.
        WorkerStalled = "worker_stalled",
        /// The kernel dropped datagrams because our receive queue was full.
        ReceiveOverflow = "receive_overflow",
        /// Receiving stopped because there was no buffer, and had to be armed again.
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

    /// Tells whether `cause` is in the set.
    pub fn contains(self, cause: LimitCause) -> bool {
        self.0 & (1 << cause as u16) != 0
    }

    /// Tells whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Number of causes.
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// The causes that are in either set.
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
    /// Nothing can be judged yet.
    #[default]
    NotJudged,
    /// The generator kept up: the figures are those of the system under test.
    Ok,
    /// The generator was the limit, for these reasons.
    GeneratorLimited {
        /// The reasons.
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

    /// Tells whether the generator was the limit.
    pub fn is_limited(self) -> bool {
        matches!(self, Self::GeneratorLimited { .. })
    }
}

/// The facts by which one second is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Workers that should have reported.
    pub workers_expected: usize,
    /// Workers that have reported.
    pub workers_reported: usize,
    /// True if all workers had placed their last call before: open calls come to their end.
    pub is_draining: bool,
    /// True if the run ended before half of the second was over.
    pub is_fraction: bool,
    /// Calls started on a plan.
    pub planned_sends: u64,
    /// Number of them that were started later than [`PLANNED_SEND_ERROR_LIMIT_NS`].
    pub late_starts: u64,
    /// 99th percentile of their lateness.
    pub planned_send_error_p99_ns: u64,
    /// Packets of RTP sent on a plan.
    pub rtp_sends: u64,
    /// Number of them that were sent later than [`PLANNED_SEND_ERROR_LIMIT_NS`].
    pub late_rtp: u64,
    /// 99th percentile of their lateness.
    pub rtp_send_error_p99_ns: u64,
    /// Busy share of the busiest worker, 0 to 1.
    pub busy_share_max: f64,
    /// Counts of all workers in this second.
    pub counted: Counters,
}

/// Starts, or packets of RTP, of this second and of those before it, as far back as a judgement
/// needs. Older ones are forgotten by halves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct RecentStarts {
    planned: u64,
    late: u64,
}

impl RecentStarts {
    fn take(&mut self, planned: u64, late: u64) {
        if planned >= PLANNED_SEND_ERROR_SAMPLES_MIN {
            // Those of this second suffice.
            *self = Self::default();
        }
        while self.planned >= 2 * PLANNED_SEND_ERROR_SAMPLES_MIN {
            self.planned /= 2;
            self.late /= 2;
        }
        self.planned += planned;
        self.late += late;
    }

    /// Tells whether more than one in a hundred is late, and more than a handful.
    fn are_late(&self) -> bool {
        self.late >= LATE_STARTS_MIN && self.late > self.planned / 100
    }

    /// Tells whether there are some, but not enough to say that they were in time.
    fn are_too_few(&self) -> bool {
        self.planned > 0 && self.planned < PLANNED_SEND_ERROR_SAMPLES_MIN
    }
}

impl Evidence {
    /// Judges the second by itself and by the starts and packets up to its end. `is_begun` says
    /// that the run had a call so far: a generator without calls has not yet kept up with anything.
    fn judge(&self, recent: &RecentStarts, rtp: &RecentStarts, is_begun: bool) -> Verdict {
        // A call that only has to end measures nothing, but one that still sends RTP does.
        let is_idle = self.is_draining && self.rtp_sends == 0;
        if self.workers_expected == 0 || is_idle {
            return Verdict::NotJudged;
        }
        let counted = &self.counted;
        let withheld = |cause| counted.withheld.count(cause);
        let pool_exhausted = counted.failures.count(FailureCause::PoolExhausted);
        let tests = [
            (LimitCause::LateSends, self.late_starts > 0 && recent.are_late()),
            (LimitCause::LateRtp, self.late_rtp > 0 && rtp.are_late()),
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
        match causes.is_empty() {
            false => Verdict::GeneratorLimited { causes },
            true if !is_begun => Verdict::NotJudged,
            // Packets of RTP tell as much as starts of calls do.
            true if recent.are_too_few() && (self.rtp_sends == 0 || rtp.are_too_few()) => {
                Verdict::NotJudged
            }
            true => Verdict::Ok,
        }
    }

    /// Calls of the second whose times may be the generator's. Lateness is known for each call, and
    /// that of RTP is apart from it; any other limit of the second may concern all of them.
    fn calls_affected(&self, verdict: Verdict) -> u64 {
        let started = self.counted.calls_started();
        let late = LimitCauses::from_iter([LimitCause::LateSends, LimitCause::LateRtp]);
        match verdict {
            Verdict::NotJudged => 0,
            Verdict::GeneratorLimited { causes } if causes.union(late) != late => started,
            Verdict::GeneratorLimited { .. } | Verdict::Ok => self.late_starts.min(started),
        }
    }
}

/// A limited second and its causes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LimitedSecond {
    /// Whole seconds since the start of the run.
    pub second: u64,
    /// The reasons why the second counts as limited.
    pub causes: LimitCauses,
    /// 99th percentile of the lateness of call starts.
    pub planned_send_error_p99_ns: u64,
    /// 99th percentile of the lateness of RTP packets; 0 if none were sent.
    pub rtp_send_error_p99_ns: u64,
    /// Busy share of the busiest worker, 0 to 1.
    pub busy_share_max: f64,
}

impl LimitedSecond {
    /// Tells whether more went wrong at once; lateness decides between equals.
    fn is_worse_than(&self, other: &Self) -> bool {
        let rank = |second: &Self| {
            let late_ns = second.planned_send_error_p99_ns.max(second.rtp_send_error_p99_ns);
            (second.causes.len(), late_ns)
        };
        rank(self) > rank(other)
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
    /// The last of the limited seconds.
    pub last: Option<LimitedSecond>,
    /// Calls started in judged seconds.
    pub judged_calls: u64,
    /// Number of them whose times may be the generator's.
    pub affected_calls: u64,
    recent: RecentStarts,
    recent_rtp: RecentStarts,
    /// True if a call was started, before a reset or after.
    is_begun: bool,
}

/// Percentiles that reports show, lowest first.
const PERCENTILES: [(f64, &str); 5] =
    [(0.5, "p50"), (0.9, "p90"), (0.95, "p95"), (0.99, "p99"), (0.999, "p99.9")];

/// The percentiles that can be believed although the generator was the limit for some calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The highest percentile that is not affected, if any.
    pub sound_up_to: Option<&'static str>,
    /// The lowest percentile that is in doubt, if any.
    pub doubtful_from: Option<&'static str>,
}

impl VerdictTally {
    /// Judges one more second and counts the result.
    pub fn judge(&mut self, second: u64, evidence: &Evidence) -> Verdict {
        self.recent.take(evidence.planned_sends, evidence.late_starts);
        self.recent_rtp.take(evidence.rtp_sends, evidence.late_rtp);
        self.is_begun |= evidence.counted.calls_started() > 0;
        let verdict = match evidence.judge(&self.recent, &self.recent_rtp, self.is_begun) {
            // A run of 1.01 s has kept up in one second, not in two.
            Verdict::Ok if evidence.is_fraction && self.judged_seconds > 0 => Verdict::NotJudged,
            verdict => verdict,
        };
        if verdict != Verdict::NotJudged {
            self.judged_seconds += 1;
            self.judged_calls += evidence.counted.calls_started();
            self.affected_calls += evidence.calls_affected(verdict);
        }
        if let Verdict::GeneratorLimited { causes } = verdict {
            self.limited_seconds += 1;
            causes.iter().for_each(|cause| self.causes.bump(cause));
            let limited = LimitedSecond {
                second,
                causes,
                planned_send_error_p99_ns: evidence.planned_send_error_p99_ns,
                rtp_send_error_p99_ns: evidence.rtp_send_error_p99_ns,
                busy_share_max: evidence.busy_share_max,
            };
            if self.worst.is_none_or(|worst| limited.is_worse_than(&worst)) {
                self.worst = Some(limited);
            }
            self.last = Some(limited);
        }
        verdict
    }

    /// Forgets the judgements; the starts and packets that the next second is judged with stay.
    pub fn reset(&mut self) {
        let Self { recent, recent_rtp, is_begun, .. } = *self;
        *self = Self { recent, recent_rtp, is_begun, ..Self::default() };
    }

    /// A tally of seconds that were judged elsewhere.
    pub(super) fn of_seconds(judged_seconds: u64, limited_seconds: u64) -> Self {
        Self { judged_seconds, limited_seconds, ..Self::default() }
    }

    /// Share of limited seconds, 0 to 1.
    pub fn limited_share(&self) -> f64 {
        match self.judged_seconds {
            0 => 0.0,
            judged => self.limited_seconds as f64 / judged as f64,
        }
    }

    /// Share of the calls of judged seconds whose times may be the generator's, 0 to 1.
    pub fn affected_share(&self) -> f64 {
        match self.judged_calls {
            0 => 0.0,
            judged => self.affected_calls as f64 / judged as f64,
        }
    }

    /// Tells which percentiles are in doubt; `None` if no second was limited.
    ///
    /// If the share `s` of all calls seems slower than it was, a percentile `q` moves to that of `q
    /// / (1 - s)` at worst. While `s` is at most half of `1 - q`, that lies in the lower half of
    /// the calls above `q`.
    pub fn doubt(&self) -> Option<Doubt> {
        if self.limited_seconds == 0 {
            return None;
        }
        let affected = self.affected_share();
        let is_sound = |quantile: f64| affected <= (1.0 - quantile) / 2.0;
        let sound = PERCENTILES.iter().rfind(|(quantile, _)| is_sound(*quantile));
        let doubtful = PERCENTILES.iter().find(|(quantile, _)| !is_sound(*quantile));
        Some(Doubt {
            sound_up_to: sound.map(|(_, name)| *name),
            doubtful_from: doubtful.map(|(_, name)| *name),
        })
    }

    /// Tells whether one bad second is all: it does not condemn a run of some seconds, as a share
    /// of one in ten says little.
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

/// Sums the calls that the generator's limits withheld. `-l` and a listener that is off are limits
/// that the user asked for.
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
            counted: Counters { calls_outgoing: 1000, ..Counters::default() },
            ..Evidence::default()
        }
    }

    fn late() -> Evidence {
        Evidence { late_starts: 11, planned_send_error_p99_ns: 2_000_000, ..healthy() }
    }

    fn judge(evidence: &Evidence) -> Verdict {
        VerdictTally::default().judge(0, evidence)
    }

    fn causes(evidence: &Evidence) -> Vec<LimitCause> {
        match judge(evidence) {
            Verdict::GeneratorLimited { causes } => causes.iter().collect(),
            verdict => panic!("{verdict:?}"),
        }
    }

    #[test]
    fn a_healthy_second_is_ok() {
        assert_eq!(judge(&healthy()), Verdict::Ok);
    }

    #[test]
    fn each_kind_of_evidence_limits_a_second() {
        assert_eq!(causes(&late()), [LimitCause::LateSends]);
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
        assert_eq!(judge(&evidence), Verdict::Ok);
        assert_eq!(withheld_by_generator(&evidence.counted.withheld), 0);
    }

    #[test]
    fn a_handful_of_starts_is_not_judged() {
        let few = Evidence { planned_sends: 50, ..healthy() };
        let mut tally = VerdictTally::default();
        // Any lateness: these four are the last four percentiles of fifty.
        let four_late = Evidence { late_starts: 4, planned_send_error_p99_ns: 90_000_000, ..few };
        assert_eq!(tally.judge(0, &four_late), Verdict::NotJudged);
        assert_eq!(tally.verdict(), Verdict::NotJudged);
        // Two seconds together are enough, and a fifth late start among them is no accident.
        assert_eq!(tally.judge(1, &few), Verdict::Ok);
        assert!(tally.judge(2, &Evidence { late_starts: 1, ..few }).is_limited());
        assert_eq!(tally.judge(3, &few), Verdict::Ok);
        // Late starts of long ago are forgotten.
        (4..12).for_each(|second| _ = tally.judge(second, &few));
        assert_eq!(tally.judge(12, &Evidence { late_starts: 1, ..few }), Verdict::Ok);
        // A limit that is no matter of chance needs no minimum of starts.
        let overflow = Counters { receive_overflow: 1, ..Counters::default() };
        assert!(judge(&Evidence { counted: overflow, ..few }).is_limited());
    }

    #[test]
    fn late_starts_of_slow_runs_are_seen_once_there_are_some() {
        let one_late = Evidence { planned_sends: 1, late_starts: 1, ..healthy() };
        let mut tally = VerdictTally::default();
        for second in 0..20 {
            let is_limited = tally.judge(second, &one_late).is_limited();
            assert_eq!(is_limited, second >= LATE_STARTS_MIN - 1, "{second}");
        }
    }

    #[test]
    fn seconds_before_the_first_call_are_not_judged() {
        let idle = Evidence { planned_sends: 0, counted: Counters::default(), ..healthy() };
        let mut tally = VerdictTally::default();
        assert_eq!(tally.judge(0, &idle), Verdict::NotJudged);
        assert_eq!(tally.verdict(), Verdict::NotJudged);
        assert_eq!(tally.judge(1, &healthy()), Verdict::Ok);
        assert_eq!(tally.judge(2, &idle), Verdict::Ok);
        // A limit that keeps calls from starting condemns a run that has none.
        let overflow = Counters { receive_overflow: 1, ..Counters::default() };
        assert!(judge(&Evidence { counted: overflow, ..idle }).is_limited());
    }

    #[test]
    fn the_fraction_of_a_second_that_a_run_ends_with_is_no_second() {
        let mut tally = VerdictTally::default();
        let fraction = Evidence { is_fraction: true, ..healthy() };
        assert_eq!(tally.judge(0, &fraction), Verdict::Ok);
        assert_eq!(tally.judge(1, &fraction), Verdict::NotJudged);
        assert!(tally.judge(2, &Evidence { is_fraction: true, ..late() }).is_limited());
    }

    #[test]
    fn seconds_of_the_drain_are_not_judged() {
        let overflow = Counters { receive_overflow: 9, ..Counters::default() };
        let drain = Evidence { is_draining: true, counted: overflow, ..healthy() };
        assert_eq!(judge(&drain), Verdict::NotJudged);
    }

    #[test]
    fn rtp_that_left_late_limits_a_second() {
        let rtp = Evidence { rtp_sends: 5_000, rtp_send_error_p99_ns: 60_000, ..healthy() };
        assert_eq!(judge(&rtp), Verdict::Ok);
        // As many as one in a hundred may be late: the 99th percentile is in time.
        assert_eq!(judge(&Evidence { late_rtp: 50, ..rtp }), Verdict::Ok);
        let late = Evidence { late_rtp: 51, rtp_send_error_p99_ns: 3_000_000, ..rtp };
        assert_eq!(causes(&late), [LimitCause::LateRtp]);
        let mut tally = VerdictTally::default();
        tally.judge(0, &late);
        assert_eq!(tally.affected_calls, 0, "the calls themselves started in time");
        assert_eq!(tally.worst.map(|worst| worst.rtp_send_error_p99_ns), Some(3_000_000));
        // Two streams have a hundred packets in a second, one needs two seconds.
        let one = Evidence { rtp_sends: 50, planned_sends: 1, ..rtp };
        let mut tally = VerdictTally::default();
        assert_eq!(tally.judge(0, &one), Verdict::NotJudged);
        assert_eq!(tally.judge(1, &one), Verdict::Ok);
        assert!(tally.judge(2, &Evidence { late_rtp: 5, ..one }).is_limited());
    }

    #[test]
    fn open_calls_that_send_rtp_are_judged_to_their_end() {
        let drain = Evidence { is_draining: true, planned_sends: 0, rtp_sends: 900, ..healthy() };
        let mut tally = VerdictTally::default();
        tally.judge(0, &healthy());
        assert_eq!(tally.judge(1, &drain), Verdict::Ok);
        assert!(tally.judge(2, &Evidence { late_rtp: 90, ..drain }).is_limited());
        assert_eq!(tally.judge(3, &Evidence { rtp_sends: 0, ..drain }), Verdict::NotJudged);
    }

    #[test]
    fn a_run_is_limited_above_five_percent_of_its_seconds() {
        let mut tally = VerdictTally::default();
        assert_eq!(tally.verdict(), Verdict::NotJudged);
        for second in 0..19 {
            tally.judge(second, &healthy());
        }
        tally.judge(19, &late());
        assert_eq!(tally.verdict(), Verdict::Ok);
        tally.judge(20, &Evidence { planned_send_error_p99_ns: 3_000_000, ..late() });
        tally.judge(21, &late());
        assert!(tally.verdict().is_limited());
        assert_eq!(tally.worst.map(|worst| worst.second), Some(20));
        assert_eq!(tally.last.map(|last| last.second), Some(21));
        assert_eq!(tally.causes.count(LimitCause::LateSends), 3);
        assert_eq!((tally.limited_seconds, tally.judged_seconds), (3, 22));
        tally.reset();
        assert_eq!(tally.verdict(), Verdict::NotJudged);
    }

    #[test]
    fn percentiles_are_in_doubt_by_the_share_of_calls_that_are() {
        let doubt = |late_starts, other_seconds| {
            let mut tally = VerdictTally::default();
            tally.judge(0, &Evidence { late_starts, ..healthy() });
            (0..other_seconds).for_each(|second| _ = tally.judge(second + 1, &healthy()));
            tally.doubt().map(|doubt| (doubt.sound_up_to, doubt.doubtful_from))
        };
        assert_eq!(doubt(0, 9), None);
        // 20 of 1,000, of 5,000, of 100,000.
        assert_eq!(doubt(20, 0), Some((Some("p95"), Some("p99"))));
        assert_eq!(doubt(20, 4), Some((Some("p99"), Some("p99.9"))));
        assert_eq!(doubt(20, 99), Some((Some("p99.9"), None)));
        assert_eq!(doubt(900, 0), Some((None, Some("p50"))));
        // A second with more causes than lateness counts with all of its calls.
        let mut tally = VerdictTally::default();
        tally.judge(0, &Evidence { busy_share_max: 1.0, ..late() });
        (1..10).for_each(|second| _ = tally.judge(second, &healthy()));
        assert_eq!(tally.affected_calls, 1000);
        assert_eq!(tally.doubt().and_then(|doubt| doubt.sound_up_to), Some("p50"));
    }
}

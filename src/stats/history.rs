//! The run second by second, within bounded memory.

use super::verdict::{LimitCauses, Verdict, VerdictTally};

/// Rows kept: two hours of seconds, about 1.5 MB for each engine. A longer run keeps coarser rows.
pub const HISTORY_ROWS_MAX: usize = 7_200;

/// Events of one second, or of several that were merged.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HistoryRow {
    /// Whole seconds since the start of the run.
    pub second: u64,
    /// Seconds that this row stands for.
    pub seconds: u64,
    /// Time that the row covers; less than `seconds` at the end of a run.
    pub duration_ns: u64,
    /// Calls started, by us or by peers.
    pub calls_started: u64,
    /// Calls that reached the end of the scenario.
    pub calls_succeeded: u64,
    /// Calls that failed.
    pub calls_failed: u64,
    /// Calls open at the end.
    pub calls_active: u64,
    /// The most calls open at once: the sum of the workers' peaks.
    pub peak_active: u64,
    /// Calls started by us while calls were being placed.
    pub paced_calls: u64,
    /// Calls that the target rate asked for while calls were being placed.
    pub planned_calls: f64,
    /// Time during which calls were being placed.
    pub pacing_ns: u64,
    /// Planned calls not started because of the user's own limit `-l`.
    pub withheld_by_user: u64,
    /// Planned calls not started because of the generator.
    pub withheld_by_generator: u64,
    /// Messages that we sent again.
    pub retransmissions_sent: u64,
    /// Calls that failed for want of an answer.
    pub timeouts: u64,
    /// Median service time of the primary transaction; the highest of merged seconds.
    pub service_p50_ns: u64,
    /// 99th percentile of the same.
    pub service_p99_ns: u64,
    /// Median response time of the primary transaction; the highest of merged seconds.
    pub response_p50_ns: u64,
    /// 99th percentile of the same.
    pub response_p99_ns: u64,
    /// 99th percentile of the lateness of call starts; the highest of merged seconds.
    pub planned_send_error_p99_ns: u64,
    /// RTP packets sent.
    pub rtp_packets_sent: u64,
    /// RTP packets received.
    pub rtp_packets_received: u64,
    /// 99th percentile of the lateness of RTP packets; the highest of merged seconds.
    pub rtp_send_error_p99_ns: u64,
    /// Busy share of the busiest worker, 0 to 1; the highest of merged seconds.
    pub busy_share_max: f64,
    /// Seconds judged.
    pub judged_seconds: u64,
    /// Seconds limited by the generator.
    pub limited_seconds: u64,
    /// The reasons why seconds were limited.
    pub limit_causes: LimitCauses,
}

impl HistoryRow {
    /// Calls started per second.
    pub fn calls_per_second(&self) -> f64 {
        per_second(self.calls_started as f64, self.duration_ns)
    }

    /// The target rate while calls were being placed; 0 if none were.
    pub fn target_rate(&self) -> f64 {
        per_second(self.planned_calls, self.pacing_ns)
    }

    /// The judgement of the seconds that the row stands for.
    pub fn verdict(&self) -> Verdict {
        match VerdictTally::of_seconds(self.judged_seconds, self.limited_seconds).verdict() {
            Verdict::GeneratorLimited { .. } => {
                Verdict::GeneratorLimited { causes: self.limit_causes }
            }
            verdict => verdict,
        }
    }

    /// Adds the row that follows this one: amounts add up, and the worse of two figures stays.
    fn merge(&mut self, next: &Self) {
        self.seconds += next.seconds;
        self.duration_ns += next.duration_ns;
        self.calls_started += next.calls_started;
        self.calls_succeeded += next.calls_succeeded;
        self.calls_failed += next.calls_failed;
        self.calls_active = next.calls_active;
        self.peak_active = self.peak_active.max(next.peak_active);
        self.paced_calls += next.paced_calls;
        self.planned_calls += next.planned_calls;
        self.pacing_ns += next.pacing_ns;
        self.withheld_by_user += next.withheld_by_user;
        self.withheld_by_generator += next.withheld_by_generator;
        self.retransmissions_sent += next.retransmissions_sent;
        self.timeouts += next.timeouts;
        self.service_p50_ns = self.service_p50_ns.max(next.service_p50_ns);
        self.service_p99_ns = self.service_p99_ns.max(next.service_p99_ns);
        self.response_p50_ns = self.response_p50_ns.max(next.response_p50_ns);
        self.response_p99_ns = self.response_p99_ns.max(next.response_p99_ns);
        self.planned_send_error_p99_ns =
            self.planned_send_error_p99_ns.max(next.planned_send_error_p99_ns);
        self.rtp_packets_sent += next.rtp_packets_sent;
        self.rtp_packets_received += next.rtp_packets_received;
        self.rtp_send_error_p99_ns = self.rtp_send_error_p99_ns.max(next.rtp_send_error_p99_ns);
        self.busy_share_max = self.busy_share_max.max(next.busy_share_max);
        self.judged_seconds += next.judged_seconds;
        self.limited_seconds += next.limited_seconds;
        self.limit_causes = self.limit_causes.union(next.limit_causes);
    }
}

/// `amount` per second over `duration_ns`; 0 over no time.
pub(super) fn per_second(amount: f64, duration_ns: u64) -> f64 {
    if duration_ns == 0 { 0.0 } else { amount * 1e9 / duration_ns as f64 }
}

/// Rows in order of time. When full, neighbours are merged and rows stand for twice as long.
#[derive(Clone, Debug)]
pub struct History {
    rows: Vec<HistoryRow>,
    rows_max: usize,
    seconds_per_row: u64,
}

impl Default for History {
    fn default() -> Self {
        Self::new(HISTORY_ROWS_MAX)
    }
}

impl History {
    /// An empty history of at most `rows_max` rows (at least 2).
    pub fn new(rows_max: usize) -> Self {
        Self { rows: Vec::new(), rows_max: rows_max.max(2), seconds_per_row: 1 }
    }

    /// Appends a second that follows all others.
    pub fn push(&mut self, row: HistoryRow) {
        if let Some(last) = self.rows.last_mut().filter(|last| last.seconds < self.seconds_per_row)
        {
            last.merge(&row);
            return;
        }
        if self.rows.len() >= self.rows_max {
            self.halve();
            self.push(row);
            return;
        }
        self.rows.push(row);
    }

    /// The rows, oldest first.
    pub fn rows(&self) -> &[HistoryRow] {
        &self.rows
    }

    /// Seconds that each row but the last stands for.
    pub fn seconds_per_row(&self) -> u64 {
        self.seconds_per_row
    }

    /// The run in at most `rows_max` rows (at least 1), all but the last of the same length.
    pub fn thinned(&self, rows_max: usize) -> Vec<HistoryRow> {
        merged(&self.rows, self.rows.len().div_ceil(rows_max.max(1)))
    }

    fn halve(&mut self) {
        self.rows = merged(&self.rows, 2);
        self.seconds_per_row *= 2;
    }
}

/// Merges each `count` neighbours into one row.
fn merged(rows: &[HistoryRow], count: usize) -> Vec<HistoryRow> {
    let merge = |rows: &[HistoryRow]| {
        let mut row = rows[0];
        rows[1..].iter().for_each(|next| row.merge(next));
        row
    };
    rows.chunks(count.max(1)).map(merge).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn downsampling_keeps_sums_and_order() {
        for rows_max in [2, 3, 7, 8] {
            let mut history = History::new(rows_max);
            for second in 0..1000 {
                history.push(HistoryRow {
                    second,
                    seconds: 1,
                    calls_started: second,
                    calls_active: second,
                    service_p99_ns: second,
                    ..HistoryRow::default()
                });
            }
            let rows = history.rows();
            assert!(rows.len() <= rows_max);
            assert_eq!(rows.iter().map(|row| row.seconds).sum::<u64>(), 1000);
            assert_eq!(rows.iter().map(|row| row.calls_started).sum::<u64>(), 999 * 500);
            let mut next_second = 0;
            for row in rows {
                assert_eq!(row.second, next_second);
                next_second += row.seconds;
                assert_eq!(row.calls_active, next_second - 1);
                assert_eq!(row.service_p99_ns, next_second - 1);
            }
        }
    }

    proptest! {
        /// The history and the series of a run keep its sums, its order and its worst second,
        /// whatever their sizes; the series has no gap.
        #[test]
        fn a_series_adds_up_to_the_run(
            seconds in proptest::collection::vec((0..50_u64, 0..50_u64, 0..9_u64, 0..9_000_u64), 1..600),
            rows_max in 2..80_usize,
            points_max in 1..40_usize,
        ) {
            let mut history = History::new(rows_max);
            let mut active = 0;
            for (second, &(started, ended, failed, response)) in seconds.iter().enumerate() {
                let (succeeded, failed) = (ended.min(active + started), failed);
                let failed = failed.min(active + started - succeeded);
                active = active + started - succeeded - failed;
                history.push(HistoryRow {
                    second: second as u64,
                    seconds: 1,
                    duration_ns: 1_000_000_000,
                    calls_started: started,
                    calls_succeeded: succeeded,
                    calls_failed: failed,
                    calls_active: active,
                    response_p99_ns: response,
                    judged_seconds: 1,
                    limited_seconds: u64::from(response > 8_000),
                    ..HistoryRow::default()
                });
            }
            let series = history.thinned(points_max);
            prop_assert!((1..=points_max).contains(&series.len()));
            let mut open = 0;
            let mut next_second = 0;
            for row in &series {
                prop_assert_eq!(row.second, next_second);
                next_second += row.seconds;
                open = open + row.calls_started - row.calls_succeeded - row.calls_failed;
                prop_assert_eq!(row.calls_active, open);
            }
            prop_assert_eq!(next_second, seconds.len() as u64);
            prop_assert_eq!(series.last().unwrap().calls_active, active);
            let started: u64 = seconds.iter().map(|second| second.0).sum();
            prop_assert_eq!(series.iter().map(|row| row.calls_started).sum::<u64>(), started);
            let limited = seconds.iter().filter(|second| second.3 > 8_000).count() as u64;
            prop_assert_eq!(series.iter().map(|row| row.limited_seconds).sum::<u64>(), limited);
            let worst = seconds.iter().map(|second| second.3).max();
            prop_assert_eq!(series.iter().map(|row| row.response_p99_ns).max(), worst);
            let lengths: Vec<u64> = series.iter().map(|row| row.seconds).collect();
            prop_assert!(lengths[..lengths.len() - 1].windows(2).all(|pair| pair[0] == pair[1]));
        }
    }

    #[test]
    fn rates_over_no_time_are_zero() {
        assert_eq!(HistoryRow::default().calls_per_second(), 0.0);
        assert_eq!(HistoryRow::default().target_rate(), 0.0);
    }
}

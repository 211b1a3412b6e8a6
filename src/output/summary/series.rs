//! The run by time, in a bounded number of points. It shows the drift in a soak test.

use serde::{Deserialize, Serialize};

use super::media::is_zero;
use crate::stats::{History, HistoryRow};

/// Most points. A run of five minutes has one for each second, one of a day one for five minutes.
pub const POINTS_MAX: usize = 300;

/// The run by time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Series {
    /// Seconds that each point but the last stands for.
    pub seconds_per_point: u64,
    /// The points, oldest first.
    pub points: Vec<Point>,
}

/// A piece of the run with its counts. Amounts add up to those of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Point {
    /// Whole seconds from the start of the run to the begin of the piece.
    pub second: u64,
    /// Length of the piece; shorter than the others at the end of a run.
    pub duration: u64,
    /// Calls started.
    pub started: u64,
    /// Calls that reached the end of the scenario.
    pub succeeded: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Calls open at the end of the piece.
    pub active: u64,
    /// Target rate while calls were being placed; 0 if none were.
    pub target_calls_per_second: f64,
    /// Median response time of the primary transaction, the highest of its seconds.
    pub response_p50: u64,
    /// 99th percentile of the same.
    pub response_p99: u64,
    /// RTP packets sent; absent without any.
    #[serde(skip_serializing_if = "is_zero")]
    pub rtp_packets_sent: u64,
    /// RTP packets received; absent without any.
    #[serde(skip_serializing_if = "is_zero")]
    pub rtp_packets_received: u64,
    /// 99th percentile of the lateness of RTP packets, the highest of the seconds; absent if none
    /// were sent.
    #[serde(skip_serializing_if = "is_zero")]
    pub rtp_send_error_p99: u64,
    /// `ok`, `generator_limited` or `not_judged`.
    pub verdict: String,
}

impl Series {
    /// The series of a run.
    pub fn of(history: &History) -> Self {
        let rows = history.thinned(POINTS_MAX);
        Self {
            seconds_per_point: rows.first().map_or(1, |row| row.seconds),
            points: rows.iter().map(Point::of).collect(),
        }
    }
}

impl Point {
    fn of(row: &HistoryRow) -> Self {
        Self {
            second: row.second,
            duration: row.duration_ns,
            started: row.calls_started,
            succeeded: row.calls_succeeded,
            failed: row.calls_failed,
            active: row.calls_active,
            target_calls_per_second: row.target_rate(),
            response_p50: row.response_p50_ns,
            response_p99: row.response_p99_ns,
            rtp_packets_sent: row.rtp_packets_sent,
            rtp_packets_received: row.rtp_packets_received,
            rtp_send_error_p99: row.rtp_send_error_p99_ns,
            verdict: row.verdict().label().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soak_of_three_days_fits_and_adds_up() {
        const SECONDS: u64 = 3 * 86_400;
        let mut history = History::default();
        for second in 0..SECONDS {
            history.push(HistoryRow {
                second,
                seconds: 1,
                duration_ns: 1_000_000_000,
                calls_started: 7,
                response_p50_ns: 1_000 + second,
                judged_seconds: 1,
                ..HistoryRow::default()
            });
        }
        let series = Series::of(&history);
        assert!((POINTS_MAX / 2..=POINTS_MAX).contains(&series.points.len()));
        assert_eq!(series.points.iter().map(|point| point.started).sum::<u64>(), 7 * SECONDS);
        assert_eq!(series.points[1].second, series.seconds_per_point);
        // The drift is there.
        assert!(series.points.is_sorted_by_key(|point| point.response_p50));
        assert!(series.points.iter().all(|point| point.verdict == "ok"));
    }

    #[test]
    fn a_run_without_a_second_has_no_point() {
        let series = Series::of(&History::default());
        assert_eq!((series.seconds_per_point, series.points.len()), (1, 0));
    }
}

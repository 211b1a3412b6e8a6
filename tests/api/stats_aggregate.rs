//! Properties of merged reports, for any run and any order of arrival.

use std::sync::Arc;

use gossipper::stats::{
    Aggregate, CounterSample, Counters, Distribution, DurationSummary, FailureCause, Layout,
    LimitCause, Report, RunStart, Snapshot, WithheldCause,
};
use proptest::prelude::*;

const SECOND_NS: u64 = 1_000_000_000;
const START: RunStart =
    RunStart { unix_ns: 1_700_000_000 * SECOND_NS, monotonic_ns: 77 * SECOND_NS };

/// One worker's second, as a test case describes it.
#[derive(Clone, Debug)]
struct Interval {
    started: u64,
    succeeded: u64,
    failed: u64,
    durations_ns: Vec<u64>,
    late_ns: u64,
}

fn interval() -> impl Strategy<Value = Interval> {
    let durations_ns = prop::collection::vec(0..20 * SECOND_NS, 0..8);
    (0..50_u64, 0..50_u64, 0..5_u64, durations_ns, 0..SECOND_NS / 2).prop_map(
        |(started, succeeded, failed, durations_ns, late_ns)| Interval {
            started: started + succeeded + failed,
            succeeded,
            failed,
            durations_ns,
            late_ns,
        },
    )
}

/// Per worker its intervals.
fn run() -> impl Strategy<Value = Vec<Vec<Interval>>> {
    prop::collection::vec(prop::collection::vec(interval(), 1..6), 1..4)
}

fn layout() -> Arc<Layout> {
    Arc::new(Layout {
        transactions: vec!["INVITE".into()],
        rtds: vec!["1".into()],
        counters: vec!["a".into()],
        displays: vec!["b".into()],
        rtd_repartition_ms: vec![10, 1000],
        call_length_repartition_ms: vec![5000],
        programs: Vec::new(),
        generation: 0,
    })
}

fn reports_of(layout: &Layout, worker: usize, intervals: &[Interval]) -> Vec<Report> {
    let mut counters = Counters::default();
    let mut start_ns = START.monotonic_ns;
    let mut reports = Vec::new();
    for (index, interval) in intervals.iter().enumerate() {
        counters.calls_outgoing += interval.started;
        counters.calls_succeeded += interval.succeeded;
        counters.calls_failed += interval.failed;
        (0..interval.failed).for_each(|_| counters.failures.bump(FailureCause::RecvTimeout));
        let mut report = Report::new(layout, worker as u16);
        report.sequence = index as u64;
        report.start_ns = start_ns;
        start_ns = START.monotonic_ns + (index as u64 + 1) * SECOND_NS + interval.late_ns / 4;
        report.end_ns = start_ns;
        report.counters = counters;
        report.generic_counters[0] = counters.calls_outgoing * 2;
        report.displays[0] = counters.calls_succeeded;
        for &duration_ns in &interval.durations_ns {
            report.histograms.record_service(0, duration_ns / 2);
            report.histograms.record_response(0, duration_ns);
            report.histograms.record_rtd(0, duration_ns);
            report.histograms.record_call_length(duration_ns);
        }
        report.histograms.record_planned_send_error(interval.late_ns);
        report.busy_ns = SECOND_NS / 4;
        report.target_rate = 50.0;
        report.pacing_ns = SECOND_NS;
        report.peak_active = interval.started;
        report.is_last = index + 1 == intervals.len();
        reports.push(report);
    }
    reports
}

fn assert_identity(snapshot: &Snapshot) {
    let calls = &snapshot.calls;
    assert_eq!(calls.started, calls.succeeded + calls.failed + calls.active);
}

/// The figures that do not depend on which report came last.
fn totals(snapshot: &Snapshot) -> impl PartialEq + std::fmt::Debug + use<> {
    let orderless = |summary: DurationSummary| DurationSummary { last_ns: 0, ..summary };
    (
        snapshot.calls,
        snapshot.counters,
        (snapshot.generic_counters.clone(), snapshot.displays.clone()),
        orderless(snapshot.transactions[0].service),
        orderless(snapshot.transactions[0].response),
        (orderless(snapshot.rtds[0]), snapshot.rtd_repartitions.clone()),
        (orderless(snapshot.call_length), snapshot.call_length_repartition.clone()),
        orderless(snapshot.planned_send_error),
        snapshot.elapsed_ns,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_order_of_reports_does_not_change_totals(
        (run, order) in run().prop_flat_map(|run| {
            let reports: usize = run.iter().map(Vec::len).sum();
            (Just(run), Just((0..reports).collect::<Vec<_>>()).prop_shuffle())
        })
    ) {
        let layout = layout();
        let reports_of = |(worker, intervals): (usize, &Vec<_>)| {
            reports_of(&layout, worker, intervals)
        };
        let reports: Vec<_> = run.iter().enumerate().flat_map(reports_of).collect();
        let absorb = |order: &mut dyn Iterator<Item = usize>| {
            let mut aggregate = Aggregate::new(Arc::clone(&layout), run.len(), START);
            for index in order {
                aggregate.absorb(&reports[index]);
                assert_identity(&aggregate.snapshot());
            }
            aggregate.finish();
            aggregate
        };
        let one = absorb(&mut (0..reports.len()));
        let other = absorb(&mut order.iter().copied());
        prop_assert_eq!(totals(&one.snapshot()), totals(&other.snapshot()));

        for aggregate in [&one, &other] {
            let snapshot = aggregate.snapshot();
            prop_assert!(snapshot.is_finished);
            let sum = |of: fn(&gossipper::stats::HistoryRow) -> u64| {
                aggregate.history().rows().iter().map(of).sum::<u64>()
            };
            prop_assert_eq!(sum(|row| row.calls_started), snapshot.calls.started);
            prop_assert_eq!(sum(|row| row.calls_succeeded), snapshot.calls.succeeded);
            prop_assert_eq!(sum(|row| row.calls_failed), snapshot.calls.failed);
            let last = aggregate.history().rows().last().map(|row| row.calls_active);
            prop_assert_eq!(last, Some(snapshot.calls.active));
        }
    }

    #[test]
    fn percentiles_agree_with_a_sorted_list(
        mut durations_ns in prop::collection::vec(
            prop_oneof![0..2_000_000_u64, 0..10 * SECOND_NS, 0..4000 * SECOND_NS], 1..400),
        parts in 1..4_usize,
    ) {
        let mut merged = Distribution::<u64>::new();
        for part in durations_ns.chunks(durations_ns.len().div_ceil(parts)) {
            let mut distribution = Distribution::<u32>::new();
            part.iter().for_each(|&duration_ns| distribution.record(duration_ns));
            merged.add(&distribution);
        }
        let summary = merged.summarize();
        durations_ns.sort_unstable();
        let count = durations_ns.len();
        let sum: u128 = durations_ns.iter().map(|&duration_ns| u128::from(duration_ns)).sum();
        prop_assert_eq!(summary.count, count as u64);
        prop_assert_eq!(u128::from(summary.average_ns), sum / count as u128);
        prop_assert_eq!(summary.min_ns, durations_ns[0]);
        prop_assert_eq!(summary.max_ns, durations_ns[count - 1]);
        prop_assert_eq!(summary.buckets.iter().sum::<u64>(), count as u64);
        let mean = sum as f64 / count as f64;
        let squares = durations_ns.iter().map(|&duration_ns| (duration_ns as f64 - mean).powi(2));
        let stddev = (squares.sum::<f64>() / count as f64).sqrt();
        prop_assert!((summary.stddev_ns as f64 - stddev).abs() <= 1.0 + stddev * 1e-9);

        let quantiles = [
            (0.5, summary.p50_ns), (0.9, summary.p90_ns), (0.95, summary.p95_ns),
            (0.99, summary.p99_ns), (0.999, summary.p999_ns),
        ];
        for (quantile, measured_ns) in quantiles {
            let rank = ((quantile * count as f64).ceil() as usize).clamp(1, count);
            let exact_ns = durations_ns[rank - 1];
            // Above an hour the histogram only knows that it was longer.
            let exact_ns = if exact_ns > 3600 * SECOND_NS { 3600 * SECOND_NS } else { exact_ns };
            let error_ns = measured_ns.abs_diff(exact_ns);
            prop_assert!(
                error_ns <= 1000 + exact_ns / 1000,
                "p{quantile}: {measured_ns} instead of {exact_ns}"
            );
        }
    }

    #[test]
    fn counters_since_undoes_add(values in prop::collection::vec(0..1000_u64, 6)) {
        let block = |values: &[u64]| {
            let mut counters = Counters {
                calls_outgoing: values[0],
                gso_fallbacks: values[1],
                ..Counters::default()
            };
            (0..values[2] % 9).for_each(|_| counters.failures.bump(FailureCause::Cancelled));
            (0..values[2] % 7).for_each(|_| counters.withheld.bump(WithheldCause::CallLimit));
            counters
        };
        let (earlier, growth) = (block(&values[..3]), block(&values[3..]));
        let mut later = earlier;
        later.add(&growth);
        prop_assert_eq!(later.since(&earlier), growth);
        prop_assert_eq!(later.since(&later), Counters::default());
    }
}

/// A report of a healthy second without calls.
fn idle(layout: &Layout, worker: u16, second: u64) -> Report {
    let mut report = Report::new(layout, worker);
    report.sequence = second;
    report.start_ns = START.monotonic_ns + second * SECOND_NS;
    report.end_ns = report.start_ns + SECOND_NS;
    report
}

/// The same in a run with one call from its beginning.
fn quiet(layout: &Layout, worker: u16, second: u64) -> Report {
    let mut report = idle(layout, worker, second);
    report.counters.calls_outgoing = 1;
    report
}

#[test]
fn a_second_is_complete_when_all_workers_have_reported_it() {
    let layout = layout();
    let mut aggregate = Aggregate::new(Arc::clone(&layout), 2, START);
    assert_eq!(aggregate.absorb(&quiet(&layout, 0, 0)), 0);
    assert_eq!(aggregate.absorb(&quiet(&layout, 0, 1)), 0);
    assert_eq!(aggregate.absorb(&quiet(&layout, 1, 0)), 1);
    assert_eq!(aggregate.last_second().map(|(row, _)| row.second), Some(0));
    assert_eq!(aggregate.absorb(&quiet(&layout, 1, 1)), 1);
    assert_eq!(aggregate.snapshot().verdict.limited_seconds, 0);
    assert_eq!(aggregate.snapshot().verdict.judged_seconds, 2);
}

#[test]
fn the_last_minute_is_not_the_whole_run() {
    let layout = layout();
    let mut aggregate = Aggregate::new(Arc::clone(&layout), 1, START);
    let primary = layout.primary_transaction().expect("it has transactions");
    for second in 0..600 {
        let mut report = idle(&layout, 0, second);
        let service_ns = if second < 540 { 1_000_000 } else { 50_000_000 };
        report.histograms.record_service(primary, service_ns);
        aggregate.absorb(&report);
    }
    let snapshot = aggregate.snapshot();
    assert!(snapshot.transactions[primary].service.p50_ns < 1_100_000);
    let [minute, five] = snapshot.recent;
    assert_eq!((minute.seconds, five.seconds), (60, 300));
    assert_eq!((minute.count, five.count), (60, 300));
    assert!(minute.p50_ns > 49_000_000 && five.p50_ns < 1_100_000, "{minute:?} {five:?}");
    aggregate.reset();
    assert_eq!(aggregate.snapshot().recent[0].count, 0);
}

#[test]
fn a_worker_that_ended_is_not_waited_for() {
    let layout = layout();
    let mut aggregate = Aggregate::new(Arc::clone(&layout), 2, START);
    aggregate.absorb(&idle(&layout, 0, 0));
    aggregate.absorb(&Report { is_last: true, ..idle(&layout, 1, 0) });
    assert_eq!(aggregate.absorb(&idle(&layout, 0, 1)), 1);
    assert!(!aggregate.is_finished());
    assert_eq!(aggregate.absorb(&Report { is_last: true, ..idle(&layout, 0, 2) }), 1);
    assert!(aggregate.is_finished());
    assert_eq!(aggregate.snapshot().verdict.limited_seconds, 0);
}

#[test]
fn a_worker_that_stalls_limits_the_seconds_it_missed() {
    let layout = layout();
    let mut aggregate = Aggregate::new(Arc::clone(&layout), 2, START);
    for second in 0..4 {
        assert_eq!(aggregate.absorb(&quiet(&layout, 0, second)), 0);
    }
    let mut long = quiet(&layout, 1, 0);
    long.end_ns = START.monotonic_ns + 3 * SECOND_NS + SECOND_NS / 5;
    assert_eq!(aggregate.absorb(&long), 3);
    let verdict = aggregate.snapshot().verdict;
    assert_eq!(verdict.judged_seconds, 3);
    assert_eq!(verdict.causes.count(LimitCause::WorkerStalled), 2);
}

#[test]
fn the_only_worker_stalling_is_seen_too() {
    let layout = layout();
    let mut aggregate = Aggregate::new(Arc::clone(&layout), 1, START);
    let mut long = quiet(&layout, 0, 0);
    long.end_ns = START.monotonic_ns + 20 * SECOND_NS;
    aggregate.absorb(&Report { is_last: true, ..long });
    aggregate.finish();
    let verdict = aggregate.snapshot().verdict;
    assert_eq!(verdict.judged_seconds, 20);
    assert_eq!(verdict.causes.count(LimitCause::WorkerStalled), 19);
}

#[test]
fn a_dead_worker_does_not_hold_back_the_others_forever() {
    let layout = layout();
    let mut aggregate = Aggregate::new(Arc::clone(&layout), 2, START);
    let completed: u64 = (0..60).map(|second| aggregate.absorb(&idle(&layout, 0, second))).sum();
    assert!(completed >= 50, "{completed}");
    assert_eq!(completed + aggregate.finish(), 60);
    assert_eq!(aggregate.snapshot().verdict.limited_seconds, 60);
    assert_eq!(aggregate.history().rows().len(), 60);
}

#[test]
fn a_report_for_a_closed_second_still_counts() {
    let layout = layout();
    let mut aggregate = Aggregate::new(Arc::clone(&layout), 2, START);
    (0..20).for_each(|second| _ = aggregate.absorb(&idle(&layout, 0, second)));
    let mut late = idle(&layout, 1, 0);
    late.counters.calls_incoming = 7;
    late.histograms.record_call_length(SECOND_NS);
    aggregate.absorb(&late);
    aggregate.finish();
    let snapshot = aggregate.snapshot();
    assert_eq!((snapshot.calls.started, snapshot.calls.active), (7, 7));
    assert_eq!(snapshot.call_length.count, 1);
    let started: u64 = aggregate.history().rows().iter().map(|row| row.calls_started).sum();
    assert_eq!(started, 7);
}

#[test]
fn a_broken_clock_or_rate_stays_bounded() {
    let layout = layout();
    let mut aggregate = Aggregate::new(Arc::clone(&layout), 1, START);
    let mut absurd = idle(&layout, 0, 0);
    absurd.start_ns = u64::MAX - 1;
    absurd.end_ns = u64::MAX;
    absurd.target_rate = f64::NAN;
    absurd.pacing_ns = 5;
    aggregate.absorb(&absurd);
    absurd.start_ns = 5;
    absurd.end_ns = 1;
    aggregate.absorb(&absurd);
    aggregate.finish();
    assert!(aggregate.history().rows().len() < 10_000);
    assert!(aggregate.snapshot().rate.target_average.is_finite());
}

#[test]
fn the_rate_is_compared_while_calls_are_placed() {
    let layout = layout();
    let mut aggregate = Aggregate::new(Arc::clone(&layout), 1, START);
    for second in 0..4 {
        let mut report = idle(&layout, 0, second);
        // 100 calls/s asked for and 99 made, for two seconds; then the calls run out.
        report.target_rate = 100.0;
        report.pacing_ns = if second < 2 { SECOND_NS } else { 0 };
        report.counters.calls_outgoing = 99 * (second + 1).min(2);
        report.is_last = second == 3;
        aggregate.absorb(&report);
    }
    let rate = aggregate.snapshot().rate;
    assert_eq!((rate.target_average, rate.achieved), (100.0, 99.0));
    assert_eq!(rate.target_now, 0.0);
    assert_eq!(aggregate.snapshot().calls_per_second(), 49.5);
}

#[test]
fn a_recycled_report_is_as_new() {
    let layout = layout();
    let intervals =
        [Interval { started: 3, succeeded: 1, failed: 1, durations_ns: vec![5, 9], late_ns: 1 }];
    let mut report = reports_of(&layout, 0, &intervals).remove(0);
    report.recycle();
    let mut aggregate = Aggregate::new(Arc::clone(&layout), 1, START);
    aggregate.absorb(&report);
    let fresh = {
        let mut aggregate = Aggregate::new(Arc::clone(&layout), 1, START);
        aggregate.absorb(&Report::new(&layout, 0));
        aggregate.snapshot()
    };
    assert_eq!(totals(&aggregate.snapshot()), totals(&fresh));
}

#[test]
fn looks_between_reports_are_told_at_once_and_leave_the_history_alone() {
    let layout = layout();
    let interval = |started| Interval {
        started,
        succeeded: started,
        failed: 0,
        durations_ns: Vec::new(),
        late_ns: 0,
    };
    let reports = reports_of(&layout, 0, &[interval(10), interval(30)]);
    let look = |at_ms: u64, started: u64| {
        let counters =
            Counters { calls_outgoing: started, calls_succeeded: started, ..Counters::default() };
        let at_ns = START.monotonic_ns + at_ms * 1_000_000;
        CounterSample { worker: 0, at_ns, counters, target_rate: 7.0 }
    };
    let mut aggregate = Aggregate::new(Arc::clone(&layout), 1, START);
    aggregate.sample(&look(500, 4));
    let snapshot = aggregate.snapshot();
    assert_eq!((snapshot.calls.started, snapshot.elapsed_ns), (4, 500_000_000));
    assert_eq!(snapshot.rate.target_now, 7.0);
    aggregate.absorb(&reports[0]);
    // A look that is older than the last report changes nothing.
    aggregate.sample(&look(750, 6));
    assert_eq!(aggregate.snapshot().calls.started, 10);
    aggregate.sample(&look(1_250, 15));
    assert_eq!(aggregate.snapshot().calls.started, 15);
    aggregate.reset();
    assert_eq!(aggregate.snapshot().calls.started, 0);
    aggregate.sample(&look(1_500, 21));
    assert_eq!(aggregate.snapshot().calls.started, 6);
    aggregate.absorb(&reports[1]);
    assert_eq!(aggregate.snapshot().calls.started, 25);
    let rows = aggregate.history().rows().iter();
    let started: Vec<u64> = rows.map(|row| row.calls_started).collect();
    assert_eq!(started, [10, 30]);
    aggregate.sample(&CounterSample { worker: 9, ..look(9_000, 1) });
    assert_eq!(aggregate.snapshot().calls.started, 25);
}

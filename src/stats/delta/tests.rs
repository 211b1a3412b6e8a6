use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::stats::{
    Aggregate, DropCause, FailureCause, HandshakeFault, ProgramLayout, RateSteps, RelayFault,
    RunStart, SrtpFault, StepKind, StepLayout, StrayCause, WithheldCause,
};

const SECOND_NS: u64 = 1_000_000_000;

fn layout() -> Layout {
    let steps = ["INVITE", "200"].map(|name| StepLayout::plain(StepKind::Nop, name));
    let program =
        ProgramLayout { name: "uac".to_owned(), steps: steps.into(), ..Default::default() };
    Layout {
        transactions: vec!["INVITE".to_owned(), "BYE".to_owned()],
        rtds: vec!["1".to_owned()],
        counters: vec!["a".to_owned()],
        displays: vec!["d".to_owned()],
        rtd_repartition_ms: vec![10, 100],
        call_length_repartition_ms: vec![1000],
        programs: vec![program],
        generation: 0,
    }
}

fn source(name: &str) -> Source {
    Source::try_from(name.to_owned()).unwrap()
}

/// An event that a worker counts or measures: the index of its kind, and a number for it.
type Event = (u8, u64);

/// A worker that reports its events every second.
struct Worker {
    report: Report,
    steps: RateSteps,
}

impl Worker {
    fn new(layout: &Layout, index: u16) -> Self {
        let report = Report::new(layout, index);
        Self { report, steps: RateSteps::new(10.0, 0) }
    }

    /// Reports one second in which `events` happen.
    fn second(&mut self, layout: &Layout, events: &[Event]) -> Report {
        let report = &mut self.report;
        report.histograms = Report::new(layout, 0).histograms;
        report.start_ns = report.sequence * SECOND_NS;
        report.end_ns = report.start_ns + SECOND_NS;
        report.target_rate = 0.0;
        for &(kind, number) in events {
            happen(report, &mut self.steps, kind, number);
        }
        report.busy_ns = events.len() as u64;
        report.pacing_ns = SECOND_NS / 2;
        report.rate_steps.copy_from(&self.steps);
        let told = report.clone();
        report.sequence += 1;
        told
    }
}

fn happen(report: &mut Report, steps: &mut RateSteps, kind: u8, number: u64) {
    let (counters, histograms) = (&mut report.counters, &mut report.histograms);
    match kind % 19 {
        0 => histograms.record_service((number % 2) as usize, number),
        1 => histograms.record_response(0, number),
        2 => histograms.record_refused(1, number),
        3 => histograms.record_rtd(0, number),
        4 => histograms.record_call_length(number),
        5 => histograms.record_planned_send_error(number),
        6 => histograms.record_loop_time(number),
        7 => counters.wait_ns += number,
        8 => counters.drops.bump(DropCause::NotSip),
        9 => report.messages.sent.request((number % 20) as usize),
        10 => report.messages.received.response(0, (number % 800) as u16),
        11 => report.generic_counters[0] += number,
        12 => report.displays[0] += 1,
        13 => report.steps[(number % 2) as usize].messages += 1,
        15 => counters.media.rtp_octets_sent += number,
        16 => {
            counters.media.strays.bump(StrayCause::Foreign);
            counters.media.srtp_faults.bump(SrtpFault::TooOld);
            counters.media.handshake_faults.bump(HandshakeFault::DtlsBroken);
            counters.media.relay_faults.bump(RelayFault::Quota);
        }
        17 => histograms.media.record_n(MediaMeasure::SendError, number, 3),
        14 => steps.begin(number as f64, report.start_ns),
        _ => {
            let step = steps.start();
            counters.calls_outgoing += 1;
            counters.calls_failed += 1;
            counters.failures.bump(FailureCause::RecvTimeout);
            counters.withheld.bump(WithheldCause::CallLimit);
            steps.withhold(WithheldCause::CallLimit);
            steps.end(step, Some(FailureCause::RecvTimeout));
            report.target_rate += number as f64 / 1e9;
        }
    }
}

/// A run with a recorder, and the deltas recorded so far.
struct Run {
    aggregate: Aggregate,
    deltas: Vec<Delta>,
}

impl Run {
    fn new(name: &str, workers: usize) -> Self {
        let start = RunStart { unix_ns: 1_700_000_000 * SECOND_NS, monotonic_ns: 0 };
        let mut aggregate = Aggregate::new(Arc::new(layout()), workers, start);
        assert!(aggregate.record_deltas(source(name)));
        Self { aggregate, deltas: Vec::new() }
    }

    /// Takes the pending deltas, as they come out at the other end of a wire.
    fn take(&mut self) {
        for delta in self.aggregate.take_deltas() {
            let text = serde_json::to_string(&delta).unwrap();
            let back: Delta = serde_json::from_str(&text).unwrap();
            assert_eq!(back, delta, "{text}");
            self.deltas.push(back);
        }
    }
}

fn sum<'d>(deltas: impl IntoIterator<Item = &'d Delta>) -> DeltaSum {
    let mut sum = DeltaSum::default();
    for delta in deltas {
        sum.add(delta).unwrap();
    }
    sum
}

/// Generates the events of a worker by second, and the seconds after which deltas are taken.
fn life() -> impl Strategy<Value = Vec<(Vec<Event>, bool)>> {
    let event = (any::<u8>(), prop_oneof![0..5_000_u64, 0..20_000_000_000_u64]);
    vec((vec(event, 0..30), any::<bool>()), 4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn the_deltas_of_two_runs_add_up_to_those_of_one_that_saw_both(
        one_life in life(),
        other_life in life(),
        order in any::<u64>(),
    ) {
        let layout = layout();
        let (mut one, mut other, mut both) =
            (Run::new("one", 1), Run::new("other", 1), Run::new("both", 2));
        let mut workers = [Worker::new(&layout, 0), Worker::new(&layout, 0)];
        for ((events, takes), (other_events, other_takes)) in one_life.iter().zip(&other_life) {
            let [first, second] = &mut workers;
            let first = first.second(&layout, events);
            let mut second = second.second(&layout, other_events);
            one.aggregate.absorb(&first);
            other.aggregate.absorb(&second);
            second.worker = 1;
            both.aggregate.absorb(&second);
            both.aggregate.absorb(&first);
            if *takes {
                one.take();
                // A reset only affects those who watch the run, and takes nothing out of its
                // deltas.
                one.aggregate.reset();
            }
            if *other_takes {
                other.take();
            }
            if *takes != *other_takes {
                both.take();
            }
        }
        for run in [&mut one, &mut other, &mut both] {
            run.aggregate.finish();
            run.take();
        }
        // In another order, and all of them twice.
        let all: Vec<Delta> = one.deltas.iter().chain(&other.deltas).cloned().collect();
        let mut shuffled: Vec<&Delta> = all.iter().chain(&all).collect();
        let mut state = order | 1;
        for index in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(index, (state >> 33) as usize % (index + 1));
        }
        let added = sum(shuffled);
        let seen = sum(&both.deltas);
        prop_assert_eq!(added.figures(), seen.figures());
        prop_assert_eq!(added.between_unix_ns(), seen.between_unix_ns());
        prop_assert_eq!(added.sources().len(), 2);
        // Percentiles are those of the run itself.
        let figures = &seen.figures()[&layout.id()];
        let made = figures.histograms(&layout).unwrap();
        let own = both.aggregate.totals();
        for (made, own) in made.transactions.iter().zip(&own.transactions) {
            prop_assert_eq!(made.service.summarize().p99_ns, own.service.summarize().p99_ns);
            prop_assert_eq!(made.refused.cells().collect::<Vec<_>>(), own.refused.cells().collect::<Vec<_>>());
        }
        prop_assert_eq!(made.rtds[0].repartition(), own.rtds[0].repartition());
        prop_assert_eq!(made.call_length.moments().sum_ns, own.call_length.moments().sum_ns);
    }
}

fn delta(sequence: u64) -> Delta {
    let layout = layout();
    let mut run = Run::new("a", 1);
    let mut worker = Worker::new(&layout, 0);
    let events = (0..19).map(|kind| (kind, 4_000_000)).collect::<Vec<_>>();
    run.aggregate.absorb(&worker.second(&layout, &events));
    run.take();
    Delta { sequence, ..run.deltas.remove(0) }
}

#[test]
fn a_delta_that_does_not_come_is_given_up_in_bounded_memory() {
    let window = WINDOW as u64;
    let (mut sum, delta) = (DeltaSum::default(), delta(0));
    let mut add = |sequence| sum.add(&Delta { sequence, ..delta.clone() }).unwrap();
    for sequence in 1..=window {
        assert_eq!(add(sequence), Added::New);
    }
    // The first one may still come, and then no more.
    assert_eq!((add(0), add(0), add(1)), (Added::New, Added::Known, Added::Known));
    assert_eq!(add(u64::MAX - 1), Added::New);
    for sequence in window + 2..2 * window + 3 {
        add(sequence);
    }
    assert_eq!((add(window + 1), add(window + 2)), (Added::Known, Added::Known));
    let source = &sum.sources()[&delta.source];
    assert_eq!((source.lost(), source.ahead.len()), (1, 1));
    assert_eq!(sum.figures()[&delta.layout].counters.calls_outgoing, 2 * window + 3);
}

#[test]
fn a_sum_has_room_for_so_many_sources_and_layouts() {
    let (mut sum, small) = (DeltaSum::default(), delta(0));
    for index in 0..LAYOUTS_MAX as u64 {
        let layout = LayoutId(index);
        sum.add(&Delta { source: source("b"), sequence: index, layout, ..small.clone() }).unwrap();
    }
    assert_eq!(sum.add(&small), Err(DeltaError::Layouts));
    let layout = LayoutId(0);
    for index in 1..SOURCES_MAX {
        let source = source(&format!("s{index}"));
        sum.sources.insert(source, SourceSum::default());
    }
    assert_eq!(sum.add(&Delta { layout, ..small.clone() }), Err(DeltaError::Sources));
    let again = Delta { source: source("s1"), layout, ..small };
    assert_eq!(sum.add(&again), Ok(Added::New));
}

#[test]
fn what_does_not_fit_leaves_the_sum_as_it_was() {
    let (mut sum, small) = (DeltaSum::default(), delta(0));
    sum.add(&small).unwrap();
    let before = sum.figures().clone();
    let mut large = small.clone();
    large.sequence = 1;
    large.figures.counters.wait_ns = COUNT_MAX;
    assert_eq!(sum.add(&large), Err(DeltaError::TooLarge));
    let mut other = small.clone();
    other.sequence = 1;
    other.figures.steps.pop();
    assert_eq!(sum.add(&other), Err(DeltaError::Shape));
    assert_eq!(sum.figures(), &before);
    assert_eq!(sum.add(&Delta { sequence: 1, ..small }), Ok(Added::New));
}

#[test]
fn a_delta_that_nobody_makes_is_an_error() {
    let good = serde_json::to_value(delta(0)).unwrap();
    assert!(serde_json::from_value::<Delta>(good.clone()).is_ok());
    let long = vec![0; ENTRIES_MAX + 1];
    let path = "/figures/call_length";
    for (at, value, part) in [
        ("/source".to_owned(), "a b".into(), "letters"),
        ("/source".to_owned(), "x".repeat(SOURCE_MAX + 1).into(), "letters"),
        ("/sequence".to_owned(), u64::MAX.into(), "interval"),
        ("/end_unix_ns".to_owned(), 0.into(), "interval"),
        ("/moment/target_rate".to_owned(), (-1.0).into(), "rate"),
        ("/figures/counters/plain/wait_ns".to_owned(), (COUNT_MAX + 1).into(), "above"),
        ("/figures/counters/plain".to_owned(), serde_json::json!({ "waits": 1 }), "no count"),
        ("/figures/counters/failures".to_owned(), serde_json::json!({ "luck": 1 }), "no count"),
        ("/figures/messages/sent".to_owned(), serde_json::json!([99_999, 1]), "beyond the last"),
        ("/figures/displays".to_owned(), long.clone().into(), "more than"),
        ("/figures/steps/0/0".to_owned(), u64::MAX.into(), "above"),
        ("/figures/rate_steps/shift".to_owned(), 32.into(), "rate steps"),
        ("/figures/time/busy_ns".to_owned(), u64::MAX.into(), "above"),
        (format!("{path}/cells"), serde_json::json!([u64::MAX, 1]), "beyond the last"),
        (format!("{path}/cells"), serde_json::json!([1, 1, u64::MAX, 1]), "beyond the last"),
        (format!("{path}/cells"), serde_json::json!([1, 0]), "without a count"),
        (format!("{path}/cells"), serde_json::json!([1]), "without a count"),
        (format!("{path}/cells"), serde_json::json!([1, COUNT_MAX, 1, 1]), "sum above"),
        (format!("{path}/cells"), serde_json::json!([1, 2]), "contradict"),
        (format!("{path}/buckets/0"), 9.into(), "contradict"),
        (format!("{path}/min_ns"), u64::MAX.into(), "contradict"),
        (format!("{path}/repartition"), serde_json::json!([]), "contradict"),
        (format!("{path}/repartition"), long.into(), "more than"),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(&at).unwrap_or_else(|| panic!("{at}")) = value;
        let error = serde_json::from_value::<Delta>(bad).unwrap_err().to_string();
        assert!(error.contains(part), "{at}: {error}");
    }
    let twice = r#"{"not_sip":1,"not_sip":1}"#;
    let error = serde_json::from_str::<crate::stats::DropCounts>(twice).unwrap_err().to_string();
    assert!(error.contains("twice"), "{error}");
}

#[test]
fn an_exchanged_scenario_has_deltas_of_its_own_and_nothing_is_lost_between() {
    let before = layout();
    let mut after = Layout { generation: 1, ..layout() };
    after.programs[0] = ProgramLayout { number: 1, generation: 1, ..after.programs[0].clone() };
    after.programs[0].name = "other".to_owned();
    after.programs.push(before.programs[0].clone());
    after.displays.push("e".to_owned());
    let mut run = Run::new("a", 2);
    let (mut first, mut second) = (Worker::new(&before, 0), Worker::new(&before, 1));
    let step = [(13, 0), (12, 0), (4, 5_000)];
    run.aggregate.absorb(&first.second(&before, &step));
    run.aggregate.change_layout(Arc::new(after.clone()));
    assert!(!run.aggregate.record_deltas(source("late")));
    // One worker has the new layout already, in which the old program comes second.
    let mut told = first.second(&after, &step);
    told.generation = 1;
    told.displays.push(7);
    told.steps = [vec![StepCounts::default(); 2], told.steps].concat();
    run.aggregate.absorb(&told);
    run.aggregate.absorb(&second.second(&before, &step));
    run.take();
    let added = sum(&run.deltas);
    let (old, new) = (&added.figures()[&before.id()], &added.figures()[&after.id()]);
    let messages = |figures: &Figures| -> Vec<u64> {
        figures.steps.iter().map(|step| step.messages).collect()
    };
    assert_eq!((messages(old), messages(new)), (vec![2, 0], vec![0, 0, 1, 0]));
    assert_eq!((&old.displays, &new.displays), (&vec![2], &vec![1, 7]));
    assert_eq!((old.call_length.count(), new.call_length.count()), (2, 1));
}

#[test]
fn who_listens_late_hears_of_what_happens_from_then_on() {
    let layout = layout();
    let mut run = Run::new("a", 1);
    run.aggregate.forget_deltas();
    let mut worker = Worker::new(&layout, 0);
    let events: Vec<Event> = (0..19).map(|kind| (kind, 4_000_000)).collect();
    run.aggregate.absorb(&worker.second(&layout, &events));
    assert_eq!(run.aggregate.take_deltas(), []);
    assert!(run.aggregate.record_deltas(source("a")));
    run.aggregate.absorb(&worker.second(&layout, &events));
    run.take();
    let late = &mut run.deltas[0].figures;
    // The calls of the second step started in it, and are told by its number.
    late.rate_steps = RateStepCalls::default();
    assert_eq!(*late, delta(0).figures.later_by(SECOND_NS));
}

impl Figures {
    /// The figures with all times `ns` later.
    fn later_by(mut self, ns: u64) -> Self {
        let transactions = self.transactions.iter_mut();
        let all = transactions
            .flat_map(|kind| [&mut kind.service, &mut kind.response, &mut kind.refused]);
        let others = [&mut self.call_length, &mut self.planned_send_error, &mut self.loop_time];
        for durations in all.chain(&mut self.rtds).chain(others).chain(&mut self.media) {
            durations.delay(ns);
        }
        self.rate_steps = RateStepCalls::default();
        self
    }
}

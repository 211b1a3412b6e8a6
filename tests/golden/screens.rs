//! SIPp's screens, character for character.
//!
//! `UPDATE_GOLDEN=1 cargo test --locked --test golden screens` writes the expected pages anew.

use std::sync::Arc;
use std::time::Duration;

use gossipper::output::dashboard::{Caption, Dashboard, to_text};
use gossipper::output::screen::{Footer, Frame, RunFacts, Screen, join};
use gossipper::stats::{
    Aggregate, CallTotals, Counters, FailureCause, HeardVerdict, Layout, Report, RunStart,
    Snapshot, StepCounts,
};
use ratatui::layout::Rect;

use crate::golden_file::compare;

const SECOND_NS: u64 = 1_000_000_000;
const START: RunStart = RunStart { unix_ns: 1_790_000_000_123_456_789, monotonic_ns: SECOND_NS };

fn layout(xml: &str) -> Arc<Layout> {
    let program = gossipper::scenario::compile(xml, "shapes.xml", &[]).unwrap();
    Arc::new(gossipper::engine::layout(&[&program], 300))
}

fn client() -> Arc<Layout> {
    layout(include_str!("../scenarios/screen_shapes.xml"))
}

fn server() -> Arc<Layout> {
    let uas = gossipper::scenario::find_builtin("uas").unwrap();
    layout(uas.text)
}

/// The state after each of two seconds of ten calls.
fn two_seconds(layout: &Arc<Layout>, is_client: bool) -> [Snapshot; 2] {
    let mut aggregate = Aggregate::new(Arc::clone(layout), 1, START);
    [0, 1].map(|second| {
        let mut report = Report::new(layout, 0);
        report.sequence = second;
        report.start_ns = START.monotonic_ns + second * SECOND_NS;
        report.end_ns = report.start_ns + SECOND_NS;
        let so_far = second + 1;
        let calls = if is_client {
            &mut report.counters.calls_outgoing
        } else {
            &mut report.counters.calls_incoming
        };
        *calls = 10 * so_far;
        report.counters.calls_succeeded = 7 * so_far;
        report.counters.dead_call_messages = so_far;
        report.counters.out_of_call_messages = 2;
        report.counters.receive_overflow = 3;
        report.generic_counters.fill(9 * so_far);
        for (index, step) in report.steps.iter_mut().enumerate() {
            let messages = (10 * so_far).saturating_sub(index as u64);
            *step = StepCounts { messages, retransmissions: 1, ..StepCounts::default() };
            step.timeouts = u64::from(index == 4);
            step.unexpected = u64::from(index == 6);
            step.lost = u64::from(index == 8);
        }
        for call in 0..10 {
            for rtd in 0..layout.rtds.len() {
                report.histograms.record_rtd(rtd, (1 + call * second) * 4_000_000);
            }
            report.histograms.record_call_length(300_000_000 + second * 1_000_000_000);
        }
        report.busy_ns = 120_000_000;
        report.peak_active = 3 * so_far + 1;
        aggregate.absorb(&report);
        aggregate.snapshot()
    })
}

fn facts(is_client: bool) -> RunFacts {
    RunFacts {
        is_client,
        rate: 10.0,
        rate_period_ms: 1000,
        pause_ms: 300,
        local_port: 5061,
        remote: if is_client { "192.0.2.1:5060".to_owned() } else { String::new() },
        transport: "UDP".to_owned(),
        call_limit: is_client.then_some(30),
        driver: "uring".to_owned(),
        has_losses: is_client,
        ..RunFacts::default()
    }
}

fn page(frame: &Frame<'_>, digits: std::ops::RangeInclusive<u8>) -> String {
    digits.map(|digit| join(&frame.lines(Screen::from_digit(digit).unwrap()))).collect()
}

fn frame<'a>(facts: &'a RunFacts, [before, now]: &'a [Snapshot; 2]) -> Frame<'a> {
    Frame {
        facts,
        now,
        before: Some(before),
        program: 0,
        shows_hidden: false,
        peak_at: Duration::from_secs(2),
        last_error: None,
        footer: if facts.is_client { Footer::Client } else { Footer::Server },
    }
}

#[test]
fn the_screens_of_a_client() {
    let mut facts = facts(true);
    facts.actions = vec![(1, vec!["$v = 3".to_owned(), "log".to_owned()])];
    let states = two_seconds(&client(), true);
    let frame = frame(&facts, &states);
    compare("tests/golden/screens_client.txt", &page(&frame, 1..=9));
    for line in page(&frame, 1..=9).lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn the_screens_of_a_server() {
    let facts = facts(false);
    let states = two_seconds(&server(), false);
    let mut frame = frame(&facts, &states);
    frame.last_error = Some("unknown command \"x\"");
    compare("tests/golden/screens_server.txt", &page(&frame, 1..=5));
}

#[test]
fn a_scenario_with_rtp_has_lines_on_it() {
    let facts = facts(true);
    let mut states = two_seconds(&client(), true);
    for (state, seconds) in states.iter_mut().zip(1..) {
        let media = &mut state.counters.media;
        media.legs_opened = 10 * seconds;
        (media.rtp_packets_sent, media.rtp_octets_sent) = (500 * seconds, 80_000 * seconds);
        (media.rtp_packets_received, media.rtp_octets_received) = (400 * seconds, 64_000 * seconds);
        media.rtp_packets_echoed = 3;
    }
    let lines = frame(&facts, &states).lines(Screen::Scenario);
    let media: Vec<&str> =
        lines.iter().map(String::as_str).filter(|line| line.contains("RTP")).collect();
    assert_eq!(
        media,
        [
            "  1000 Total RTP pckts sent             80.000 last period RTP rate (kB/s)",
            "  800 Total RTP pckts received          64.000 last period RTP rate (kB/s)",
            "  3 Total echo RTP pckts",
        ]
    );
}

#[test]
fn a_dashboard_of_a_run_with_media() {
    let mut states = two_seconds(&client(), true);
    let media = &mut states[1].counters.media;
    (media.legs_opened, media.legs_closed, media.silent_calls) = (20, 14, 1);
    media.heard.bump_by(HeardVerdict::TwoWay, 13);
    media.heard.bump(HeardVerdict::None);
    (media.rtp_expected, media.rtp_lost) = (1000, 5);
    let caption = Caption { title: "UDP to 192.0.2.1:5060", state: "", message: None, now: None };
    let page = Dashboard::default().draw(&states[1], &caption, Rect::new(0, 0, 100, 30));
    let page = to_text(&page);
    let shown = |line: &str| assert!(page.iter().any(|row| row == line), "{page:#?}");
    shown("media 13 heard both ways, 0 one way, 1 silent, 0 unknown, 6 open");
    shown("RTP out 0 packets/s  in 0  off by 0 (p99)  lost 0.50 %  MOS not yet known");
}

/// A dashboard after ninety seconds: a rate that climbs to a limit that is not quite reached,
/// answers that become slower, and some calls that fail.
fn ninety_seconds(layout: &Arc<Layout>) -> (Dashboard, Snapshot) {
    let mut aggregate = Aggregate::new(Arc::clone(layout), 1, START);
    let mut dashboard = Dashboard::default();
    let mut counters = Counters::default();
    for second in 0..90 {
        let mut report = Report::new(layout, 0);
        report.sequence = second;
        report.start_ns = START.monotonic_ns + second * SECOND_NS;
        report.end_ns = report.start_ns + SECOND_NS;
        report.pacing_ns = SECOND_NS;
        report.busy_ns = 200_000_000;
        let target = (second + 1).min(60);
        let calls = target.min(55);
        report.target_rate = target as f64;
        counters.calls_outgoing += calls;
        let is_slow = second % 30 == 29;
        for call in 0..calls {
            let service_ns = (second + 1) * 100_000 + call * 20_000;
            let service_ns = if is_slow { 10 * service_ns } else { service_ns };
            for transaction in 0..layout.transactions.len() {
                let later_ns = transaction as u64 * 250_000;
                report.histograms.record_service(transaction, service_ns + later_ns);
            }
        }
        let refused = calls / 10;
        counters.calls_succeeded += calls - refused;
        counters.calls_failed += refused;
        for call in 0..refused {
            counters.failures.bump(match call {
                0 => FailureCause::RecvTimeout,
                1 => FailureCause::MaxUdpRetrans,
                _ => FailureCause::UnexpectedMessage,
            });
        }
        counters.retransmissions_sent += refused;
        report.counters = counters;
        aggregate.absorb(&report);
        dashboard.note(&aggregate.snapshot());
    }
    (dashboard, aggregate.snapshot())
}

#[test]
fn a_dashboard_of_a_minute_and_a_half() {
    let (dashboard, snapshot) = ninety_seconds(&client());
    let calls = CallTotals { started: 4250, succeeded: 3850, failed: 390, active: 10 };
    let caption = Caption {
        title: "UDP to 192.0.2.1:5060",
        state: "",
        message: None,
        now: Some((Duration::from_millis(90_750), calls)),
    };
    let cells = dashboard.draw(&snapshot, &caption, Rect::new(0, 0, 100, 34));
    compare("tests/golden/dashboard_busy.txt", &(to_text(&cells).join("\n") + "\n"));
}

#[test]
fn the_dashboard() {
    let states = two_seconds(&client(), true);
    let mut dashboard = Dashboard::default();
    let caption =
        Caption { title: "UDP to 192.0.2.1:5060", state: "paused", message: None, now: None };
    for state in &states {
        dashboard.note(state);
        // The same second again adds nothing.
        dashboard.note(state);
    }
    let page = |columns, rows| {
        let cells = dashboard.draw(&states[1], &caption, Rect::new(0, 0, columns, rows));
        to_text(&cells).join("\n") + "\n"
    };
    compare("tests/golden/dashboard.txt", &page(100, 30));
    // No size is too small.
    for (columns, rows) in [(1, 1), (20, 5), (300, 2)] {
        assert_eq!(page(columns, rows).lines().count(), usize::from(rows));
    }
}

#[test]
fn a_hidden_step_is_shown_when_it_is_asked_for() {
    let facts = facts(true);
    let states = two_seconds(&client(), true);
    let mut frame = frame(&facts, &states);
    let steps = |frame: &Frame<'_>| join(&frame.lines(Screen::Scenario));
    assert!(!steps(&frame).contains("OPTIONS"));
    frame.shows_hidden = true;
    assert!(steps(&frame).contains("OPTIONS"));
}

#[test]
fn statistics_begin_anew_and_calls_still_add_up() {
    let layout = client();
    let mut aggregate = Aggregate::new(Arc::clone(&layout), 1, START);
    let mut report = Report::new(&layout, 0);
    (report.start_ns, report.end_ns) = (SECOND_NS, 2 * SECOND_NS);
    report.counters.calls_outgoing = 10;
    report.counters.calls_succeeded = 7;
    report.steps[3].messages = 10;
    report.histograms.record_call_length(5);
    aggregate.absorb(&report);
    aggregate.reset();
    let state = aggregate.snapshot();
    assert_eq!((state.calls.started, state.calls.active, state.calls.succeeded), (3, 3, 0));
    assert_eq!((state.elapsed_ns, state.steps[3].messages, state.call_length.count), (0, 0, 0));
    assert_eq!(state.start.unix_ns, START.unix_ns + SECOND_NS);
    report.sequence = 1;
    (report.start_ns, report.end_ns) = (2 * SECOND_NS, 3 * SECOND_NS);
    report.counters.calls_outgoing = 12;
    report.counters.calls_succeeded = 12;
    report.steps[3].messages = 12;
    aggregate.absorb(&report);
    let state = aggregate.snapshot();
    assert_eq!((state.calls.started, state.calls.active, state.calls.succeeded), (5, 0, 5));
    assert_eq!((state.elapsed_ns, state.steps[3].messages), (SECOND_NS, 2));
}

//! The exposition as a whole: its text for known figures, counters that never fall, and the largest
//! number of series.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::catalogue::{ALL, Kind};
use super::*;
use crate::stats::{
    Aggregate, Counters, FailureCause, HandshakeFault, HeardVerdict, Layout, Lifetime,
    MediaMeasure, MessageCounts, ProgramLayout, Report, RunStart, SrtpFault, StepKind, StepLayout,
    StrayCause,
};

const SECOND_NS: u64 = 1_000_000_000;

fn process() -> Process {
    Process {
        cpu_seconds: Some(1.25),
        resident_bytes: Some(20 << 20),
        virtual_bytes: Some(400 << 20),
        fds: Some(40),
        fds_max: Some(1024),
        threads: Some(6),
        start_seconds: Some(1_790_000_000.0),
    }
}

/// A run that a test advances second by second.
struct Run {
    id: &'static str,
    kind: &'static str,
    run_id: String,
    aggregate: Aggregate,
    counters: Counters,
    messages: MessageCounts,
    seconds: u64,
}

impl Run {
    fn new(id: &'static str, kind: &'static str, layout: Layout) -> Self {
        Self::started_at(id, kind, layout, 1000)
    }

    fn started_at(id: &'static str, kind: &'static str, layout: Layout, second: u64) -> Self {
        let start = RunStart {
            unix_ns: (1_790_000_000 + second) * SECOND_NS,
            monotonic_ns: second * SECOND_NS,
        };
        Self {
            id,
            kind,
            run_id: format!("{second:016x}"),
            aggregate: Aggregate::new(Arc::new(layout), 1, start),
            counters: Counters::default(),
            messages: MessageCounts::default(),
            seconds: 0,
        }
    }

    /// One more second of ten calls, of which one fails and one stays open.
    fn second(&mut self) {
        let layout = Arc::clone(self.aggregate.layout());
        let mut report = Report::new(&layout, 0);
        self.counters.calls_outgoing += 10;
        self.counters.calls_succeeded += 8;
        self.counters.calls_failed += 1;
        self.counters.failures.bump(FailureCause::RecvTimeout);
        self.counters.retransmissions_sent += 2;
        self.messages.sent.request(0);
        self.messages.received.response(0, 200);
        report.sequence = self.seconds;
        report.start_ns = self.start_ns() + self.seconds * SECOND_NS;
        report.end_ns = report.start_ns + SECOND_NS;
        report.counters = self.counters;
        report.messages.copy_from(&self.messages);
        report.busy_ns = SECOND_NS / 4;
        report.target_rate = 10.0;
        report.pacing_ns = SECOND_NS;
        for transaction in 0..layout.transactions.len() {
            report.histograms.record_service(transaction, 300_000);
            report.histograms.record_response(transaction, 600_000);
        }
        for rtd in 0..layout.rtds.len() {
            report.histograms.record_rtd(rtd, 40_000_000);
        }
        report.histograms.record_call_length(2 * SECOND_NS);
        // As many as a judgement needs.
        (0..100).for_each(|_| report.histograms.record_planned_send_error(15_000));
        let media = &mut self.counters.media;
        media.legs_opened += 10;
        media.legs_closed += 9;
        media.heard.bump_by(HeardVerdict::TwoWay, 7);
        media.heard.bump(HeardVerdict::OneWay);
        media.heard.bump(HeardVerdict::None);
        media.silent_calls += 1;
        media.rtp_packets_sent += 500;
        media.strays.bump(StrayCause::Foreign);
        media.srtp_faults.bump(SrtpFault::BadTag);
        media.handshake_faults.bump(HandshakeFault::DtlsFingerprint);
        report.counters.media = *media;
        report.histograms.media.record_mos(4.41);
        report.histograms.media.record_loss(1, 40);
        report.histograms.media.record_n(MediaMeasure::SendError, 60_000, 500);
        report.histograms.record_loop_time(20_000);
        for step in &mut report.steps {
            step.messages = 10 * (self.seconds + 1);
        }
        self.seconds += 1;
        self.aggregate.absorb(&report);
    }

    fn start_ns(&self) -> u64 {
        self.aggregate.lifetime().start.monotonic_ns
    }

    fn figures(&self) -> EngineFigures {
        EngineFigures {
            id: self.id.to_owned(),
            kind: self.kind,
            state: "running",
            run_id: self.run_id.clone(),
            scenario: "Basic \"call\"".to_owned(),
            started_at_unix_ns: self.aggregate.lifetime().start.unix_ns,
            snapshot: Arc::new(self.aggregate.snapshot()),
            lifetime: Arc::new(self.aggregate.lifetime()),
        }
    }
}

fn layout() -> Layout {
    Layout {
        transactions: ["INVITE", "BYE", "INVITE#2"].map(str::to_owned).into(),
        rtds: vec!["1".to_owned()],
        programs: vec![ProgramLayout {
            steps: vec![
                StepLayout::plain(StepKind::Send { retransmits: true }, "INVITE"),
                StepLayout::plain(StepKind::Recv { is_optional: true }, "180"),
                StepLayout::plain(StepKind::Pause, ""),
            ],
            ..ProgramLayout::default()
        }],
        ..Layout::default()
    }
}

/// A layout with more names of every kind than are told apart.
fn sprawling_layout() -> Layout {
    let names = |prefix: &str| (0..60).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
    let steps = (0..200).map(|n| StepLayout::plain(StepKind::Pause, &n.to_string())).collect();
    Layout {
        transactions: names("METHOD"),
        rtds: names("timer"),
        programs: vec![ProgramLayout { steps, ..ProgramLayout::default() }],
        ..Layout::default()
    }
}

fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let samples: Vec<(String, f64)> = lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect();
    let count = samples.len();
    let samples: BTreeMap<String, f64> = samples.into_iter().collect();
    assert_eq!(samples.len(), count, "a series is exposed twice");
    samples
}

/// The kind of the family that a series belongs to.
fn kind_of(series: &str) -> Kind {
    let name = series.split('{').next().unwrap();
    let kinds: HashMap<&str, Kind> = ALL.iter().map(|family| (family.name, family.kind)).collect();
    let suffixes = ["", "_bucket", "_sum", "_count"];
    let stems = suffixes.iter().filter_map(|suffix| name.strip_suffix(suffix));
    *stems.filter_map(|stem| kinds.get(stem)).next().unwrap_or_else(|| panic!("{name} is unknown"))
}

/// Fails if a sample that may only grow has fallen; series may come and go.
fn assert_monotonic(before: &str, after: &str) {
    let after = samples(after);
    for (series, value) in samples(before) {
        if kind_of(&series) != Kind::Gauge
            && let Some(&now) = after.get(&series)
        {
            assert!(now >= value, "{series} fell from {value} to {now}");
        }
    }
}

fn assert_is(text: &str, line: &str) {
    assert!(text.lines().any(|other| other == line), "no line {line}\n{text}");
}

#[test]
fn known_figures_are_exposed() {
    let mut run = Run::new("primary", "primary", layout());
    run.second();
    run.second();
    let metrics = Metrics::new();
    metrics.request("/api/v1/stats", 200, Duration::from_millis(2));
    let text = metrics.render_figures(&[run.figures()], &process());
    for line in [
        "# TYPE gossipper_calls_started_total counter",
        "gossipper_calls_started_total{engine=\"primary\"} 20",
        "gossipper_calls_completed_total{engine=\"primary\"} 16",
        "gossipper_calls_failed_total{engine=\"primary\",reason=\"recv_timeout\"} 2",
        "gossipper_calls_failed_total{engine=\"primary\",reason=\"tls_handshake\"} 0",
        "gossipper_calls_active{engine=\"primary\"} 2",
        "gossipper_sip_requests_sent_total{engine=\"primary\",method=\"INVITE\"} 2",
        "gossipper_sip_requests_sent_total{engine=\"primary\",method=\"PING\"} 0",
        "gossipper_sip_responses_received_total{engine=\"primary\",method=\"INVITE\",code=\"200\"} 2",
        "gossipper_sip_responses_sent_total{engine=\"primary\",method=\"BYE\",code=\"200\"} 0",
        "gossipper_target_call_rate{engine=\"primary\"} 10",
        "gossipper_run_state{engine=\"primary\",state=\"running\"} 1",
        "gossipper_run_state{engine=\"primary\",state=\"paused\"} 0",
        "gossipper_run_start_timestamp_seconds{engine=\"primary\"} 1790001000",
        "gossipper_run_info{engine=\"primary\",run_id=\"00000000000003e8\",profile=\"primary\",\
         scenario=\"Basic \\\"call\\\"\",kind=\"primary\"} 1",
        // Both INVITEs of two seconds.
        "gossipper_sip_service_seconds_bucket{engine=\"primary\",method=\"INVITE\",le=\"0.00025\"} 0",
        "gossipper_sip_service_seconds_bucket{engine=\"primary\",method=\"INVITE\",le=\"0.0005\"} 4",
        "gossipper_sip_response_seconds_bucket{engine=\"primary\",method=\"BYE\",le=\"0.001\"} 2",
        "gossipper_sip_service_seconds_count{engine=\"primary\",method=\"INVITE\"} 4",
        "gossipper_sip_service_seconds_sum{engine=\"primary\",method=\"INVITE\"} 0.0012",
        "gossipper_response_time_seconds_sum{engine=\"primary\",timer=\"1\"} 0.08",
        "gossipper_call_duration_seconds_bucket{engine=\"primary\",le=\"5\"} 2",
        "gossipper_scenario_step_messages_total{engine=\"primary\",step=\"00 send INVITE\"} 20",
        "gossipper_scenario_step_messages_total{engine=\"primary\",step=\"02 pause\"} 20",
        "gossipper_media_calls_active{engine=\"primary\"} 2",
        "gossipper_media_calls_ended_total{engine=\"primary\",heard=\"two_way\"} 14",
        "gossipper_media_calls_ended_total{engine=\"primary\",heard=\"unknown\"} 0",
        "gossipper_rtp_streams_oneway_total{engine=\"primary\"} 2",
        "gossipper_rtp_streams_silent_total{engine=\"primary\"} 2",
        "gossipper_rtp_packets_sent_total{engine=\"primary\"} 1000",
        "gossipper_rtp_strays_total{engine=\"primary\",cause=\"foreign\"} 2",
        "gossipper_rtp_malformed_total{engine=\"primary\",cause=\"srtp_bad_tag\"} 2",
        "gossipper_dtls_faults_total{engine=\"primary\",cause=\"dtls_fingerprint\"} 2",
        // A MOS of 4.41, and a loss of 2.5 %.
        "gossipper_rtp_mos_bucket{engine=\"primary\",le=\"4.25\"} 0",
        "gossipper_rtp_mos_bucket{engine=\"primary\",le=\"5\"} 2",
        "gossipper_rtp_mos_sum{engine=\"primary\"} 8.82",
        "gossipper_rtp_loss_ratio_bucket{engine=\"primary\",le=\"0.02\"} 0",
        "gossipper_rtp_loss_ratio_bucket{engine=\"primary\",le=\"0.05\"} 2",
        "gossipper_rtp_loss_ratio_sum{engine=\"primary\"} 0.05",
        "gossipper_rtp_send_lag_seconds_bucket{engine=\"primary\",le=\"0.0001\"} 1000",
        "gossipper_core_busy_seconds_total{engine=\"primary\",core=\"0\"} 0.5",
        "gossipper_headroom_ratio{engine=\"primary\"} 0.75",
        "gossipper_verdict_seconds_total{engine=\"primary\",cause=\"none\"} 2",
        "gossipper_api_requests_total{route=\"/api/v1/stats\",code=\"200\"} 1",
        "gossipper_engines{kind=\"primary\",state=\"running\"} 1",
        "gossipper_engines{kind=\"dynamic\",state=\"running\"} 0",
        "process_resident_memory_bytes 20971520",
    ] {
        assert_is(&text, line);
    }
}

#[test]
fn every_family_is_described_once_and_as_declared() {
    let mut run = Run::new("primary", "primary", layout());
    // Only an engine with a relay has series about it.
    run.counters.media.relays_opened = 1;
    run.second();
    let metrics = Metrics::new();
    metrics.declare("/api/v1/stats");
    let text = metrics.render_figures(&[run.figures()], &process());
    for family in ALL {
        let head = format!("# TYPE {} {}", family.name, family.kind.label());
        assert_eq!(text.lines().filter(|line| **line == head).count(), 1, "{head}");
        let help = format!("# HELP {} ", family.name);
        assert_eq!(text.lines().filter(|line| line.starts_with(&help)).count(), 1, "{help}");
        let of_family = |series: &&String| {
            let name = series.split('{').next().unwrap();
            name == family.name
                || (family.kind == Kind::Histogram && name == format!("{}_bucket", family.name))
        };
        let samples = samples(&text);
        let series = samples.keys().find(of_family);
        let series = series.unwrap_or_else(|| panic!("{} has no sample", family.name));
        for label in family.labels {
            assert!(series.contains(&format!("{label}=\"")), "{series} lacks {label}");
        }
    }
    samples(&text).keys().for_each(|series| {
        kind_of(series);
    });
}

#[test]
fn resets_take_nothing_back() {
    let mut run = Run::new("primary", "primary", layout());
    let metrics = Metrics::new();
    let mut before = metrics.render_figures(&[run.figures()], &process());
    for second in 0..6 {
        if second % 2 == 1 {
            run.aggregate.reset();
        }
        run.second();
        let after = metrics.render_figures(&[run.figures()], &process());
        assert_monotonic(&before, &after);
        before = after;
    }
    assert_is(&before, "gossipper_calls_started_total{engine=\"primary\"} 60");
    assert_is(&before, "gossipper_sip_service_seconds_count{engine=\"primary\",method=\"BYE\"} 6");
    assert_is(&before, "gossipper_core_busy_seconds_total{engine=\"primary\",core=\"0\"} 1.5");
}

#[test]
fn a_run_that_begins_anew_goes_on_where_the_last_one_ended() {
    let metrics = Metrics::new();
    let mut first = Run::new("primary", "primary", layout());
    first.second();
    first.second();
    let before = metrics.render_figures(&[first.figures()], &process());
    // Another scenario: other methods and steps, and figures that begin at 0.
    let other = Layout {
        transactions: vec!["OPTIONS".to_owned()],
        programs: vec![ProgramLayout {
            steps: vec![StepLayout::plain(StepKind::Send { retransmits: true }, "OPTIONS")],
            ..ProgramLayout::default()
        }],
        ..Layout::default()
    };
    let mut second = Run::started_at("primary", "primary", other, 2000);
    let between = metrics.render_figures(&[second.figures()], &process());
    assert_monotonic(&before, &between);
    second.second();
    let after = metrics.render_figures(&[second.figures()], &process());
    assert_monotonic(&between, &after);
    assert_is(&after, "gossipper_calls_started_total{engine=\"primary\"} 30");
    assert_is(&after, "gossipper_calls_active{engine=\"primary\"} 1");
    // The two calls that were open when the first run ended.
    let cancelled = "gossipper_calls_failed_total{engine=\"primary\",reason=\"cancelled\"}";
    assert_is(&after, &format!("{cancelled} 2"));
    assert_is(&after, "gossipper_sip_service_seconds_count{engine=\"primary\",method=\"BYE\"} 2");
    let options = "gossipper_sip_service_seconds_count{engine=\"primary\",method=\"OPTIONS\"}";
    assert_is(&after, &format!("{options} 1"));
}

#[test]
fn steps_of_a_program_that_goes_stay() {
    // As a swap has it: both programs for a while, then the new one alone.
    let program = |name: &str| ProgramLayout {
        number: u8::from(name == "OPTIONS"),
        steps: vec![StepLayout::plain(StepKind::Send { retransmits: true }, name)],
        ..ProgramLayout::default()
    };
    let metrics = Metrics::new();
    let mut run = Run::new(
        "primary",
        "primary",
        Layout { programs: vec![program("INVITE"), program("OPTIONS")], ..Layout::default() },
    );
    run.second();
    let before = metrics.render_figures(&[run.figures()], &process());
    let mut figures = run.figures();
    let mut lifetime = Lifetime::clone(&figures.lifetime);
    lifetime.layout = Arc::new(Layout { programs: vec![program("INVITE")], ..Layout::default() });
    lifetime.steps.truncate(1);
    figures.lifetime = Arc::new(lifetime);
    let after = metrics.render_figures(&[figures], &process());
    assert_monotonic(&before, &after);
    let gone =
        "gossipper_scenario_step_messages_total{engine=\"primary\",step=\"00 send OPTIONS\"}";
    assert_is(&after, &format!("{gone} 10"));
}

#[test]
fn a_program_with_the_number_of_an_earlier_one_counts_on() {
    let layout = || Layout {
        programs: vec![ProgramLayout {
            steps: vec![StepLayout::plain(StepKind::Send { retransmits: true }, "INVITE")],
            ..ProgramLayout::default()
        }],
        ..Layout::default()
    };
    let metrics = Metrics::new();
    let mut run = Run::new("primary", "primary", layout());
    run.second();
    run.second();
    metrics.render_figures(&[run.figures()], &process());
    let mut figures = run.figures();
    let mut lifetime = Lifetime::clone(&figures.lifetime);
    lifetime.steps[0].messages = 3;
    figures.lifetime = Arc::new(lifetime);
    let after = metrics.render_figures(&[figures], &process());
    let name = "gossipper_scenario_step_messages_total";
    assert_is(&after, &format!("{name}{{engine=\"primary\",step=\"00 send INVITE\"}} 23"));
}

#[test]
fn dynamic_engines_share_few_labels() {
    let metrics = Metrics::new();
    let primary = Run::new("primary", "primary", layout());
    let mut labels = HashSet::new();
    let mut before = String::new();
    for client in 0..50 {
        let id: &'static str = format!("client-{client}").leak();
        let mut run = Run::started_at(id, "dynamic", layout(), 3000 + client);
        run.second();
        let text = metrics.render_figures(&[primary.figures(), run.figures()], &process());
        assert_monotonic(&before, &text);
        let started = samples(&text).into_keys();
        labels.extend(started.filter(|series| series.contains("calls_started")));
        assert!(text.contains(&format!("profile=\"{id}\"")), "{id}");
        // Between two clients there may be a moment without one.
        if client % 3 == 0 {
            let without = metrics.render_figures(&[primary.figures()], &process());
            assert!(!without.contains("dynamic-0"));
        }
        before = text;
    }
    assert_eq!(labels.len(), 2, "{labels:?}");
    assert_is(&before, "gossipper_calls_started_total{engine=\"dynamic-0\"} 500");
}

#[test]
fn two_dynamic_engines_keep_their_labels() {
    let metrics = Metrics::new();
    let mut one = Run::started_at("a", "dynamic", layout(), 1);
    let mut two = Run::started_at("b", "dynamic", layout(), 2);
    one.second();
    let both = [one.figures(), two.figures()];
    metrics.render_figures(&both, &process());
    two.second();
    // The first client goes; the second must not take its label over.
    let text = metrics.render_figures(&[two.figures()], &process());
    assert_is(&text, "gossipper_calls_started_total{engine=\"dynamic-1\"} 10");
    assert!(!text.contains("dynamic-0"), "{text}");
}

#[test]
fn series_are_bounded() {
    let metrics = Metrics::new();
    for route in 0..30 {
        for code in [200, 400, 401, 500] {
            metrics.request(&format!("/api/v1/{route}"), code, Duration::ZERO);
        }
    }
    let mut run = Run::new("primary", "primary", layout());
    run.second();
    let usual = samples(&metrics.render_figures(&[run.figures()], &process())).len();
    assert!(usual <= 1100, "{usual} series of one usual engine");
    let mut run = Run::new("primary", "primary", sprawling_layout());
    // Every method with every code.
    for method in 0..16 {
        for code in 100..700 {
            run.messages.sent.response(method, code);
            run.messages.received.response(method, code);
        }
    }
    run.second();
    let most = samples(&metrics.render_figures(&[run.figures()], &process())).len();
    assert!(most <= 1650, "{most} series of one engine");
    println!("{usual} series of one usual engine, {most} at most");
}

#[test]
fn sixteen_engines_are_rendered() {
    let ids: Vec<&'static str> = (0..16).map(|n| &*format!("load-{n}").leak()).collect();
    let mut runs: Vec<Run> = ids.iter().map(|id| Run::new(id, "static", layout())).collect();
    runs.iter_mut().for_each(Run::second);
    let figures: Vec<EngineFigures> = runs.iter().map(Run::figures).collect();
    let metrics = Metrics::new();
    for count in [1, 16] {
        let begin = Instant::now();
        let text = metrics.render_figures(&figures[..count], &Process::read());
        let took = begin.elapsed();
        let series = samples(&text).len();
        println!("{count} engines: {series} series, {} bytes, {took:?}", text.len());
        assert!(series <= 10_000);
    }
}

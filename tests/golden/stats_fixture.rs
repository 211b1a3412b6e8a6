//! Runs with known figures, for tests of the output about them.

use std::sync::Arc;

use gossipper::output::SummaryContext;
use gossipper::stats::{
    Aggregate, CallsGate, Counters, CpuUse, DelayCause, FailureCause, FailureKey, FirstFailure,
    HandshakeFault, Happening, HealthGates, HeardCall, HeardVerdict, History, Layout, Lifetime,
    MediaCounters, MediaHistograms, MediaMeasure, RateSteps, RelayFault, Report, RtpFault,
    RunStart, ShortText, Snapshot, SrtpFault, StrayCause, UnsentCause, WithheldCause, WorstCall,
};

const SECOND_NS: u64 = 1_000_000_000;
const WORKERS: u16 = 2;
const CALLS_PER_SECOND: u64 = 50;

/// A run and the gates that apply to it.
pub(crate) struct Fixture {
    aggregate: Aggregate,
    gates: HealthGates,
}

impl Fixture {
    /// 20 seconds at 100 calls/s, in which a few calls fail and the user's limit withholds some.
    pub(crate) fn healthy() -> Self {
        Self::run(20, false)
    }

    /// The same, but in every fourth second the generator is too slow, and a gate fails.
    pub(crate) fn limited() -> Self {
        Self::run(20, true)
    }

    /// A ramp of three steps of three seconds: 100, 200 and 300 calls/s, of which the peer does not
    /// hold the last.
    pub(crate) fn ramp() -> Self {
        let layout = Arc::new(Layout { transactions: vec!["INVITE".into()], ..Layout::default() });
        let mut aggregate = Aggregate::new(Arc::clone(&layout), 1, start());
        let mut totals = Counters::default();
        let mut steps = RateSteps::new(100.0, start().monotonic_ns);
        for second in 0..9 {
            let rate = 100 * (second / 3 + 1);
            let mut report = Report::new(&layout, 0);
            report.sequence = second;
            report.start_ns = start().monotonic_ns + second * SECOND_NS;
            report.end_ns = report.start_ns + SECOND_NS;
            report.is_last = second == 8;
            report.rate_step = steps.current();
            for call in 0..rate {
                let step = steps.start();
                let is_refused = rate == 300 && call % 10 == 0;
                let cause = is_refused.then_some(FailureCause::UnexpectedMessage);
                steps.end(step, cause);
                totals.calls_outgoing += 1;
                totals.calls_succeeded += u64::from(cause.is_none());
                totals.calls_failed += u64::from(is_refused);
                cause.into_iter().for_each(|cause| totals.failures.bump(cause));
                report.histograms.record_planned_send_error(20_000);
                report.histograms.record_service(0, rate * 10_000 + call * 1_000);
                report.histograms.record_response(0, rate * 10_000 + call * 1_000 + 20_000);
            }
            steps.pace(SECOND_NS, rate as f64);
            report.rate_steps = steps.clone();
            report.counters = totals;
            report.busy_ns = SECOND_NS / 10;
            report.target_rate = rate as f64;
            report.pacing_ns = SECOND_NS;
            aggregate.absorb(&report);
            if second % 3 == 2 && second < 8 {
                steps.begin(rate as f64 + 100.0, report.end_ns);
            }
        }
        Self { aggregate, gates: HealthGates::default() }
    }

    /// Ten seconds of ten calls with media each. Of a hundred, one is silent and one is heard one
    /// way only; RTP leaves late in one second.
    pub(crate) fn media() -> Self {
        let layout = Arc::new(Layout { transactions: vec!["INVITE".into()], ..Layout::default() });
        let mut aggregate = Aggregate::new(Arc::clone(&layout), 1, start());
        let mut totals = Counters::default();
        for second in 0..10 {
            let mut report = Report::new(&layout, 0);
            report.sequence = second;
            report.start_ns = start().monotonic_ns + second * SECOND_NS;
            report.end_ns = report.start_ns + SECOND_NS;
            report.is_last = second == 9;
            totals.calls_outgoing += 10;
            totals.calls_succeeded += 10;
            totals.datagrams_sent += 560;
            totals.trains_sent += 140;
            totals.datagrams_received += 540;
            talk(&mut totals.media, second);
            hear(&mut report.histograms.media, second);
            complain(&mut report, second);
            report.counters = totals;
            report.busy_ns = SECOND_NS / 10;
            aggregate.absorb(&report);
        }
        let gates = HealthGates {
            silent_calls: CallsGate::Standing,
            unknown_calls: CallsGate::Standing,
            mos_min: Some(3.6),
            ..HealthGates::default()
        };
        Self { aggregate, gates }
    }

    /// A run that ends before anything happens.
    pub(crate) fn empty() -> Self {
        let aggregate = Aggregate::new(Arc::new(Layout::default()), 1, start());
        Self { aggregate, gates: HealthGates::default() }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.aggregate.snapshot()
    }

    pub(crate) fn history(&self) -> &History {
        self.aggregate.history()
    }

    pub(crate) fn lifetime(&self) -> Lifetime {
        self.aggregate.lifetime()
    }

    pub(crate) fn context(&self) -> SummaryContext {
        SummaryContext {
            driver: "syscall".into(),
            transport: "UDP".to_owned(),
            health: self.gates.evaluate(&self.snapshot()),
            ..SummaryContext::default()
        }
    }

    fn run(seconds: u64, is_limited: bool) -> Self {
        let layout = Arc::new(Layout {
            transactions: vec!["INVITE".into(), "BYE".into()],
            rtds: vec!["1".into()],
            counters: vec!["answered".into()],
            displays: vec!["established".into()],
            rtd_repartition_ms: vec![10, 100],
            call_length_repartition_ms: vec![1000, 5000],
            programs: Vec::new(),
            generation: 0,
        });
        let mut aggregate = Aggregate::new(Arc::clone(&layout), WORKERS.into(), start());
        let mut counters = [Counters::default(); WORKERS as usize];
        for second in 0..seconds {
            for worker in 0..WORKERS {
                let mut report = Report::new(&layout, worker);
                report.sequence = second;
                report.start_ns = start().monotonic_ns + second * SECOND_NS;
                report.end_ns = report.start_ns + SECOND_NS;
                report.is_last = second + 1 == seconds;
                let is_bad = is_limited && second % 4 == 3;
                let totals = &mut counters[usize::from(worker)];
                fill(&mut report, totals, u64::from(worker), is_bad);
                aggregate.absorb(&report);
            }
        }
        let success_ratio_min = Some(if is_limited { 0.999 } else { 0.9 });
        let gates = HealthGates { success_ratio_min, ..HealthGates::default() };
        Self { aggregate, gates }
    }
}

/// Counts the media of a second's ten calls.
fn talk(media: &mut MediaCounters, second: u64) {
    media.legs_opened += 10;
    media.legs_closed += 10;
    media.legs_receiving += 10;
    media.heard.bump_by(HeardVerdict::TwoWay, if second < 2 { 9 } else { 10 });
    match second {
        0 => media.heard.bump(HeardVerdict::OneWay),
        1 => {
            media.heard.bump(HeardVerdict::None);
            media.silent_calls += 1;
            media.legs_receiving -= 1;
        }
        _ => {}
    }
    media.rtp_packets_sent += 500;
    media.rtp_octets_sent += 80_000;
    media.rtp_packets_received += 480;
    media.rtp_octets_received += 76_800;
    media.rtcp_sent += 20;
    media.rtcp_sender_reports += 20;
    media.rtcp_received += 20;
    media.receive_calls += 270;
    media.rtp_expected += 490;
    media.rtp_lost += 10;
    media.rtp_discarded += 2;
    media.rtp_reordered += 3;
    media.rtp_duplicates += 1;
    media.strays.bump(StrayCause::AfterEnd);
    media.faults.bump(RtpFault::TooShort);
    media.srtp_faults.bump(SrtpFault::BadTag);
    media.handshakes += 10;
    media.relay_faults.bump(RelayFault::Quota);
    media.relays_opened += 2;
    if second == 5 {
        media.handshake_faults.bump(HandshakeFault::DtlsTimedOut);
        media.delays.bump_by(DelayCause::LateWorker, 40);
        media.unsent.bump(UnsentCause::NoBuffer);
    }
}

/// Measures the media of a second's ten calls.
fn hear(measured: &mut MediaHistograms, second: u64) {
    let late_ns = if second == 5 { 3_000_000 } else { 60_000 };
    measured.record_n(MediaMeasure::SendError, 60_000, 460);
    measured.record_n(MediaMeasure::SendError, late_ns, 40);
    for call in 0..10 {
        measured.record(MediaMeasure::Jitter, 500_000 + call * 20_000);
        measured.record_count(MediaMeasure::JitterPeak, 4 + call);
        measured.record_loss(1, 49);
        measured.record_count(MediaMeasure::Lost, 1);
        measured.record_mos(if second == 1 && call == 0 { 3.2 } else { 4.37 });
        measured.record(MediaMeasure::FirstAudio, 21_000_000 + call * 100_000);
        measured.record(MediaMeasure::RoundTrip, 400_000 + call * 1_000);
        measured.record(MediaMeasure::Handshake, 3_000_000 + call * 100_000);
        measured.record_peer(if call == 0 { 16 } else { 0 }, 4 + call as u32);
        measured.record_count(MediaMeasure::CallPackets, if second == 1 { call } else { 48 });
    }
}

/// Lists the calls of a second with bad media: the silent one, the one-way one, and lossy ones.
fn complain(report: &mut Report, second: u64) {
    let good = HeardCall {
        heard: HeardVerdict::TwoWay,
        packets_sent: 50,
        packets_received: 48,
        packets_expected: 49,
        packets_lost: 1,
        packets_discarded: 0,
        jitter_max_ns: 680_000,
        mos_hundredths: Some(437),
        mos_min_hundredths: Some(437),
        first_audio_ns: Some(21_000_000),
        dead_air_ns: 20_000_000,
    };
    let media = match second {
        3 => HeardCall {
            heard: HeardVerdict::None,
            packets_received: 0,
            packets_expected: 0,
            packets_lost: 0,
            jitter_max_ns: 0,
            mos_hundredths: None,
            mos_min_hundredths: None,
            first_audio_ns: None,
            dead_air_ns: 1_000_000_000,
            ..good
        },
        5 => HeardCall { heard: HeardVerdict::OneWay, ..good },
        7 => HeardCall { mos_hundredths: Some(320), mos_min_hundredths: Some(280), ..good },
        _ => good,
    };
    let cause = (second == 3).then_some(FailureCause::RtpCheck);
    report.worst.add(WorstCall {
        badness: media.badness().unwrap(),
        at_ns: report.start_ns + 500_000_000,
        length_ns: 1_000_000_000,
        call: 10 * second + 1,
        call_id: ShortText::of(format!("{second}-<b>&amp;@192.0.2.1").as_bytes()),
        cause,
        media,
    });
}

fn start() -> RunStart {
    RunStart { unix_ns: 1_790_000_000_123_456_789, monotonic_ns: 1234 * SECOND_NS }
}

/// One worker's second: all calls of a second but the failed ones end within it.
fn fill(report: &mut Report, totals: &mut Counters, worker: u64, is_bad: bool) {
    let histograms = &mut report.histograms;
    let late_ns = if is_bad { 2_500_000 } else { 20_000 };
    for call in 0..CALLS_PER_SECOND {
        let service_ns = 1_000_000 + call * 40_000 + worker * 5_000;
        histograms.record_planned_send_error(late_ns + call * 400);
        histograms.record_service(0, service_ns);
        histograms.record_response(0, service_ns + late_ns);
        histograms.record_rtd(0, service_ns);
        histograms.record_service(1, service_ns / 2);
        histograms.record_response(1, service_ns / 2 + late_ns / 10);
        histograms.record_call_length(500_000_000 + call * 30_000_000);
        histograms.record_loop_time(30_000 + call * 100);
    }
    totals.calls_outgoing += CALLS_PER_SECOND;
    totals.calls_succeeded += CALLS_PER_SECOND - 2;
    totals.requests_sent += 3 * CALLS_PER_SECOND;
    totals.responses_received += 3 * CALLS_PER_SECOND;
    totals.retransmissions_sent += 3;
    totals.datagrams_sent += 3 * CALLS_PER_SECOND + 3;
    totals.trains_sent += CALLS_PER_SECOND / 2;
    totals.datagrams_received += 3 * CALLS_PER_SECOND;
    // One call of every worker and second fails; the other stays open.
    let cause = if totals.calls_failed % 10 == 9 {
        FailureCause::UnexpectedMessage
    } else {
        FailureCause::MaxUdpRetrans
    };
    totals.calls_failed += 1;
    totals.failures.bump(cause);
    if worker == 0 {
        note_failure(report, cause, totals.calls_failed);
        totals.withheld.bump(WithheldCause::CallLimit);
    }
    if is_bad {
        totals.receive_overflow += 5;
        totals.withheld.bump(WithheldCause::SocketLimit);
    }
    report.counters = *totals;
    report.generic_counters[0] = totals.calls_succeeded;
    report.displays[0] = totals.calls_succeeded;
    report.busy_ns = if is_bad { 970_000_000 } else { 250_000_000 };
    report.cpu = CpuUse {
        time_ns: SECOND_NS,
        busy_ns: report.busy_ns,
        waited_ns: if is_bad { 20_000_000 } else { 1_000_000 },
        ..CpuUse::default()
    };
    report.target_rate = CALLS_PER_SECOND as f64 + 1.0;
    report.pacing_ns = SECOND_NS;
    report.peak_active = totals.calls_active() + 7;
}

/// The failure of one worker's second, which is refused or never answered; the other's have no
/// group.
fn note_failure(report: &mut Report, cause: FailureCause, call: u64) {
    let happening = match cause {
        FailureCause::UnexpectedMessage => Happening::Response { method: 0, code: 503 },
        _ => Happening::NoAnswer { method: 0 },
    };
    if let Happening::Response { .. } = happening {
        report.histograms.record_refused(0, 300_000);
    }
    let peer = "192.0.2.2:5060".parse().unwrap();
    let first = FirstFailure {
        at_ns: report.start_ns,
        call,
        call_id: ShortText::of(format!("{call}-42@192.0.2.1").as_bytes()),
        words: ShortText::of(b"Service\tUnavailable"),
    };
    report.failures.begin(FailureKey { cause, program: 0, step: 1, happening, peer }, first);
}

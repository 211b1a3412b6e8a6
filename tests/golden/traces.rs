//! Every trace and statistics file, byte for byte, from records and figures that are made up.
//!
//! `UPDATE_GOLDEN=1 cargo test --locked --test golden traces` writes the expected files anew; the
//! difference is then for the reviewer to judge.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gossipper::config::LogLevel;
use gossipper::engine::layout;
use gossipper::files::Access;
use gossipper::output::{Clock, SippCsv, own_csv};
use gossipper::scenario::load_builtin;
use gossipper::sinks::{
    FileId, FileSpec, Files, Log, Order, Queues, RecordSink, Rotation, RunTotals, Writer,
    call_debug::CallDebug, call_records::CallRecords, events, own, sipp, srtp_keys::SrtpKeys,
};
use gossipper::stats::{
    Aggregate, CallTotals, FailureCause, HeardVerdict, Layout, Report, RunStart, ShortText,
    Snapshot, TraceDropCounts, TraceKind,
};
use gossipper::trace::{
    AudioPath, CallMedia, Ends, Event, Kinds, NO_CALL, NO_STEP, Patience, Protocol, Tracer, queue,
};

use crate::golden_file;
use crate::summary_schema;

const SECOND_NS: u64 = 1_000_000_000;
const START: RunStart =
    RunStart { unix_ns: 1_795_622_454_336_869_000, monotonic_ns: 77 * SECOND_NS };

const INVITE: &[u8] = b"INVITE sip:service@192.0.2.2:5060 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-1\r\n\
    From: <sip:a@192.0.2.1>;tag=1\r\nTo: <sip:service@192.0.2.2>\r\nCall-ID: 1-42@192.0.2.1\r\n\
    CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
const BUSY: &[u8] = b"SIP/2.0 486 Busy, \"really\"\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-1\r\n\
    From: <sip:a@192.0.2.1>;tag=1\r\nTo: <sip:service@192.0.2.2>;tag=2\r\n\
    Call-ID: 1-42@192.0.2.1\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
const ACK: &[u8] = b"ACK sip:service@192.0.2.2:5060 SIP/2.0\r\n\
    i: 1-42@192.0.2.1\r\nCSeq: 1 ACK\r\nl: 0\r\n\r\n";
const OK_COMPACT: &[u8] = b"SIP/2.0 200 OK\r\ni: 2-42@192.0.2.1\r\nCSeq: 1 INVITE\r\n\r\n";

const MEDIA: CallMedia = CallMedia {
    crosstalk_packets: 12,
    heard: HeardVerdict::OneWay,
    packets_sent: 250,
    octets_sent: 40_000,
    packets_received: 248,
    octets_received: 39_680,
    packets_expected: 250,
    packets_lost: 2,
    packets_discarded: 1,
    packets_reordered: 0,
    packets_duplicate: 0,
    jitter_ns: 250_000,
    jitter_mean_ns: 500_000,
    jitter_max_ns: 1_250_000,
    delta_max_ns: 61_000_000,
    mos_hundredths: Some(405),
    mos_min_hundredths: None,
    first_audio_ns: Some(61_500_000),
    first_audio_after_answer_ns: None,
    round_trip_ns: Some(12_000_000),
    peer_fraction_lost: Some(255),
    peer_jitter_ns: None,
    path: None,
};

fn path() -> AudioPath {
    AudioPath {
        local: "192.0.2.1:6000".parse().unwrap(),
        remote: "192.0.2.2:7000".parse().unwrap(),
        ssrc: 0x11,
        peer_ssrc: Some(0x12_abcd),
        payload_type: 0,
        clock_rate: 8000,
        encoding: ShortText::of(b"PCMU"),
    }
}

fn uac() -> Arc<Layout> {
    Arc::new(layout(&[&load_builtin("uac", &[]).unwrap()], 250))
}

/// A folder for one test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("gossipper-trace-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn open(&self, files: &mut Files, name: &str) -> FileId {
        let path = self.0.join(name);
        files.open(FileSpec { path, overwrite: true, rotation: Rotation::default() }).unwrap()
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8(fs::read(self.0.join(name)).unwrap()).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn at(ms: u64) -> u64 {
    START.monotonic_ns + ms * 1_000_000 + 5_000
}

fn ends(protocol: Protocol) -> Ends {
    let (local, remote) = ("192.0.2.1:5060".parse().unwrap(), "192.0.2.2:5060".parse().unwrap());
    Ends { local, remote, protocol }
}

/// A call that is refused, one that waits in vain, and records of the other kinds.
fn story() -> Tracer {
    let mut tracer = Tracer::new(0, Kinds::of(TraceKind::ALL), 1 << 20);
    let (first, second, third): (&[u8], &[u8], &[u8]) =
        (b"1-42@192.0.2.1", b"2-42@192.0.2.1", b"3-42@192.0.2.1");
    let udp = ends(Protocol::Udp);
    let mut tell = |ms: u64, call: u64, step: u16, event: Event<'_>| {
        tracer.record_at(at(ms), call, 0, step, event);
    };
    let start = |call_id| Event::CallStarted { call_id, is_incoming: false, ends: udp };
    let sent = |message| Event::Sent { ends: udp, is_repeated: false, message };
    tell(100, 1, NO_STEP, start(first));
    tell(100, 1, 0, Event::Step { call_id: first });
    tell(100, 1, 0, sent(INVITE));
    tell(100, 1, 1, Event::Step { call_id: first });
    tell(600, 1, 0, Event::Sent { ends: udp, is_repeated: true, message: INVITE });
    tell(700, 1, 1, Event::Received { ends: udp, message: BUSY });
    tell(701, 1, 1, Event::Unexpected { message: BUSY, aborts: true });
    let cause = Some(FailureCause::UnexpectedMessage);
    let length_ns = 601 * 1_000_000;
    tell(701, 1, 1, Event::CallEnded { call_id: first, cause, code: 486, length_ns, media: None });
    tell(701, 1, NO_STEP, sent(ACK));
    tell(800, 2, NO_STEP, start(second));
    tell(800, 2, 0, Event::Log(b"call 2, \"quoted\""));
    tell(800, 2, 0, Event::SrtpKeys(b"the keys of call 2\n"));
    tell(801, 2, 4, Event::ResponseTime { rtd: 0, duration_ns: 1_234_567_890 });
    let tls = ends(Protocol::Tls);
    tell(900, 2, 4, Event::Received { ends: tls, message: OK_COMPACT });
    tell(950, 2, 4, Event::Unexpected { message: OK_COMPACT, aborts: false });
    tell(960, 2, 4, Event::Warning(b"strange"));
    tell(
        970,
        2,
        9,
        Event::CallEnded {
            call_id: second,
            cause: None,
            code: 200,
            length_ns: 170_000_000,
            media: Some(CallMedia { path: Some(path()), ..MEDIA }),
        },
    );
    let packet = b"\x80\xc9\0\x01\0\0\0\x01";
    tell(970, 2, NO_STEP, Event::Rtcp { ends: udp, is_sent: true, call_id: second, packet });
    tell(990, NO_CALL, NO_STEP, Event::Late { message: OK_COMPACT });
    tell(1100, 3, NO_STEP, start(third));
    let patience = Patience::Retransmission;
    let timeout = Event::TimedOut { call_id: third, patience, aborts: true, waited_ms: 16_000 };
    tell(1200, 3, 0, timeout);
    let cause = Some(FailureCause::MaxUdpRetrans);
    tell(
        1200,
        3,
        1,
        Event::CallEnded { call_id: third, cause, code: 0, length_ns: 100_000_000, media: None },
    );
    let patience = Patience::Receive;
    let timeout = Event::TimedOut { call_id: first, patience, aborts: true, waited_ms: 300 };
    tell(1300, 4, 1, timeout);
    let cause = Some(FailureCause::SetDestFailed);
    tell(
        1310,
        4,
        4,
        Event::CallEnded { call_id: first, cause, code: 0, length_ns: 100_000_000, media: None },
    );
    tell(1400, 4, 8, Event::ResponseTime { rtd: 0, duration_ns: 999_999 });
    tell(1500, NO_CALL, NO_STEP, Event::OutOfCall { message: BUSY });
    tell(1600, 4, 2, Event::Error(b"the end"));
    tracer
}

/// Runs the writer thread over the story.
fn write(files: Files, sinks: Vec<Box<dyn RecordSink>>, use_uring: bool) {
    let mut tracer = story();
    let (mut records_in, records_out) = queue(1 << 20);
    tracer.hand_on(|bytes| records_in.push(bytes));
    let clock = Clock::fixed(START, false, 3600);
    let mut writer = Writer::start(
        files,
        sinks,
        Queues { queues: vec![records_out], bell: Arc::default() },
        clock,
        uac(),
        use_uring,
    )
    .unwrap();
    for second in [0, 1, 2] {
        let elapsed_ns = second * SECOND_NS;
        writer.order(Order::Period { unix_ns: START.unix_ns + elapsed_ns, elapsed_ns });
    }
    let calls = CallTotals { started: 4, succeeded: 1, failed: 3, active: 0 };
    let unix_ns = START.unix_ns + 3 * SECOND_NS;
    let mut dropped = TraceDropCounts::default();
    dropped.bump(TraceKind::MessageSent);
    dropped.bump(TraceKind::Step);
    let end = writer.finish(RunTotals { unix_ns, calls, dropped });
    assert_eq!((end.unwritten.bytes, end.lost_orders), (0, 0));
}

fn sipp_sinks(scratch: &Scratch, files: &mut Files) -> Vec<Box<dyn RecordSink>> {
    let mut open = |name: &str| scratch.open(files, name);
    let rtt = open("rtt.csv");
    let sinks: Vec<Box<dyn RecordSink>> = vec![
        Box::new(sipp::Messages::new(open("messages.log"))),
        Box::new(sipp::ShortMessages(open("shortmessages.log"))),
        Box::new(sipp::Errors::new(open("errors.log"))),
        Box::new(sipp::Logs(open("logs.log"))),
        Box::new(sipp::ResponseTimes::new(rtt, ";", 200)),
        Box::new(sipp::ErrorCodes::new(open("error_codes.csv"), ";")),
        Box::new(CallDebug::new(open("calldebug.log"))),
    ];
    files.append(rtt, &sipp::ResponseTimes::header(";"), 0);
    sinks
}

const SIPP_FILES: [&str; 7] = [
    "messages.log",
    "shortmessages.log",
    "errors.log",
    "logs.log",
    "rtt.csv",
    "error_codes.csv",
    "calldebug.log",
];

/// Compares a file with the golden one. Line ends of messages are made visible, as a checkout might
/// change them.
fn compare(folder: &str, name: &str, text: &str) {
    let text = text.replace('\r', "<CR>");
    golden_file::compare(&format!("tests/golden/{folder}/{name}"), &text);
}

#[test]
fn sipps_logs() {
    let scratch = Scratch::new("sipp");
    let mut files = Files::default();
    let sinks = sipp_sinks(&scratch, &mut files);
    write(files, sinks, false);
    for name in SIPP_FILES {
        compare("trace_sipp", name, &scratch.read(name));
    }
}

#[test]
fn io_uring_writes_what_plain_calls_write() {
    let [plain, uring] = [false, true].map(|use_uring| {
        let scratch = Scratch::new(if use_uring { "uring" } else { "plain" });
        let mut files = Files::default();
        let sinks = sipp_sinks(&scratch, &mut files);
        write(files, sinks, use_uring);
        SIPP_FILES.map(|name| scratch.read(name))
    });
    assert_eq!(plain, uring);
}

#[test]
fn our_own_logs() {
    let scratch = Scratch::new("own");
    let mut files = Files::default();
    let mut open = |name: &str| scratch.open(&mut files, name);
    let (short, codes, rtt) = (open("shortmessages.csv"), open("codes.csv"), open("rtt.csv"));
    let sinks: Vec<Box<dyn RecordSink>> = vec![
        Box::new(own::Messages(open("messages.log"))),
        Box::new(own::ShortMessages(short)),
        Box::new(own::Errors(open("errors.log"))),
        Box::new(own::Logs(open("logs.log"))),
        Box::new(own::ResponseTimes(rtt)),
        Box::new(own::ErrorCodes(codes)),
    ];
    files.append(short, own::ShortMessages::HEADER, 0);
    files.append(codes, own::ErrorCodes::HEADER, 0);
    files.append(rtt, own::ResponseTimes::HEADER, 0);
    write(files, sinks, false);
    for name in
        ["messages.log", "shortmessages.csv", "errors.log", "logs.log", "rtt.csv", "codes.csv"]
    {
        compare("trace_own", name, &scratch.read(name));
    }
}

#[test]
fn call_records() {
    let scratch = Scratch::new("calls");
    let mut files = Files::default();
    let file = scratch.open(&mut files, "calls.jsonl");
    write(files, vec![Box::new(CallRecords::new(file))], false);
    let text = scratch.read("calls.jsonl");
    for line in text.lines() {
        let record = serde_json::from_str(line).unwrap();
        summary_schema::check_call_record(&record).unwrap();
    }
    compare("exports", "calls.jsonl", &text);
}

#[test]
fn keys_of_srtp_stand_in_their_log_and_nowhere_else() {
    let scratch = Scratch::new("keys");
    let access = Access::default();
    let path = scratch.0.join("keys.log");
    fs::write(&path, "older").unwrap();
    let mut readers = fs::File::open(&path).unwrap();
    let mut files = Files::default();
    let file = files.adopt("keys", access.open_private(&path).unwrap());
    write(files, vec![Box::new(SrtpKeys::new(file))], false);
    assert_eq!(scratch.read("keys.log"), "the keys of call 2\n");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut seen = String::new();
    readers.read_to_string(&mut seen).unwrap();
    assert_eq!(seen, "older", "who had the older file open reads no keys");
}

#[test]
fn the_event_log() {
    for (level, name) in [(LogLevel::Info, "events"), (LogLevel::Error, "events_error")] {
        let scratch = Scratch::new(name);
        let mut files = Files::default();
        let common = vec![("site".to_owned(), "lab 1".to_owned())];
        let intent = events::Intent { calls: 4, rate: 2.5 };
        let mut log = events::EventLog::new(level, intent, common);
        log.write_json(scratch.open(&mut files, "events.jsonl"));
        log.write_text(scratch.open(&mut files, "events.log"));
        write(files, vec![Box::new(log)], false);
        for end in ["jsonl", "log"] {
            let text = scratch.read(&format!("events.{end}"));
            compare("exports", &format!("{name}.{end}"), &text);
        }
    }
}

#[test]
fn a_log_can_be_switched_while_the_run_goes_on() {
    let scratch = Scratch::new("switch");
    let (mut records_in, records_out) = queue(1 << 20);
    let clock = Clock::fixed(START, false, 0);
    let mut writer = Writer::start(
        Files::default(),
        Vec::new(),
        Queues { queues: vec![records_out], bell: Arc::default() },
        clock,
        uac(),
        false,
    )
    .unwrap();
    assert!(writer.kinds().is_none() && !writer.knows(Log::Logs));
    let path = scratch.0.join("logs.log");
    let spec = FileSpec { path, overwrite: true, rotation: Rotation::default() };
    writer.adopt(Log::Logs, spec, |file| Box::new(sipp::Logs(file)));
    assert!(writer.switch(Log::Logs, true).has(TraceKind::Log));
    // The thread is done with an order once it has given up its place to those that follow.
    story().hand_on(|bytes| records_in.push(bytes));
    writer.order(Order::Dump);
    while !Path::new(&scratch.0.join("logs.log")).exists() || scratch.read("logs.log").is_empty() {
        std::thread::yield_now();
    }
    assert!(writer.switch(Log::Logs, false).is_none());
    writer.finish(RunTotals::default());
    assert_eq!(scratch.read("logs.log"), "call 2, \"quoted\"\n");
}

/// Three seconds of a caller's figures.
fn snapshots() -> Vec<Snapshot> {
    let layout = uac();
    let mut aggregate = Aggregate::new(Arc::clone(&layout), 1, START);
    let mut snapshots = vec![aggregate.snapshot()];
    let mut report = Report::new(&layout, 0);
    for second in 0..3_u64 {
        report.sequence = second;
        report.start_ns = START.monotonic_ns + second * SECOND_NS;
        report.end_ns = report.start_ns + if second == 2 { SECOND_NS / 4 } else { SECOND_NS };
        report.histograms.clear();
        let counters = &mut report.counters;
        counters.calls_outgoing += 4;
        counters.calls_succeeded += 2;
        counters.calls_failed += 1 + u64::from(second == 1);
        counters.failures.bump(FailureCause::MaxUdpRetrans);
        counters.retransmissions_sent += 5;
        if second == 1 {
            counters.failures.bump(FailureCause::UnexpectedMessage);
            counters.out_of_call_messages += 1;
            counters.dead_call_messages += 2;
        }
        for call in 0..4_u64 {
            let ms = 5 + second * 40 + call * 9;
            report.histograms.record_rtd(0, ms * 1_000_000 + 700_000);
            report.histograms.record_service(0, ms * 1_000_000);
            report.histograms.record_response(0, ms * 1_000_000);
        }
        for ms in [101, 260, 6_000] {
            report.histograms.record_call_length((ms + second) * 1_000_000);
        }
        for (index, counts) in report.steps.iter_mut().enumerate() {
            counts.messages += 4 - second.min(index as u64 / 4);
            counts.retransmissions += u64::from(index == 0) * 5;
            counts.timeouts += u64::from(index == 0);
            counts.unexpected += u64::from(index == 1 && second == 1);
            counts.lost += u64::from(index == 8);
        }
        report.target_rate = if second < 2 { 4.0 } else { 0.0 };
        report.pacing_ns = SECOND_NS;
        report.is_last = second == 2;
        aggregate.absorb(&report);
        snapshots.push(aggregate.snapshot());
    }
    snapshots
}

#[test]
fn sipps_statistics() {
    let snapshots = snapshots();
    let mut clock = Clock::fixed(START, false, 0);
    let mut rfc3339 = Clock::fixed(START, true, 0);
    let (mut csv, mut periodic) = (SippCsv::new(";", false), SippCsv::new(",", true));
    let mut stat = csv.stat_header(&snapshots[0]);
    let mut stat_periodic = periodic.stat_header(&snapshots[0]);
    let mut counts = csv.counts_header(&snapshots[0], false);
    let mut counts_lost = csv.counts_header(&snapshots[0], true);
    for snapshot in &snapshots {
        stat.extend(csv.stat_row(snapshot, 4.0, &mut clock));
        stat_periodic.extend(periodic.stat_row(snapshot, 4.0, &mut rfc3339));
        counts.extend(csv.counts_row(snapshot, false, &mut clock));
        counts_lost.extend(csv.counts_row(snapshot, true, &mut clock));
    }
    for (name, text) in [
        ("stat.csv", stat),
        ("stat_periodic.csv", stat_periodic),
        ("counts.csv", counts),
        ("counts_lost.csv", counts_lost),
    ] {
        let text = String::from_utf8(text).unwrap();
        let columns: Vec<usize> =
            text.lines().map(|line| line.matches([';', ',']).count()).collect();
        assert!(columns.iter().all(|&count| count == columns[0]), "{name}: {columns:?}");
        compare("trace_sipp", name, &text);
    }
}

#[test]
fn our_own_statistics() {
    let snapshots = snapshots();
    let mut clock = Clock::fixed(START, false, -5 * 3600);
    let mut csv = own_csv::OwnCsv::default();
    let mut stat = own_csv::STAT_HEADER.as_bytes().to_vec();
    let mut screen = own_csv::SCREEN_HEADER.as_bytes().to_vec();
    let mut counts = own_csv::counts_header(&snapshots[0]);
    for snapshot in &snapshots {
        stat.extend(csv.stat_row(snapshot, &mut clock));
        screen.extend(csv.screen_row(snapshot, &mut clock));
        counts.extend(own_csv::counts_row(snapshot, &mut clock));
    }
    for (name, text) in [("stats.csv", stat), ("screen.csv", screen), ("counts.csv", counts)] {
        let text = String::from_utf8(text).unwrap();
        let columns: Vec<usize> = text.lines().map(|line| line.matches(',').count()).collect();
        assert!(columns.iter().all(|&count| count == columns[0]), "{name}: {columns:?}");
        compare("trace_own", name, &text);
    }
}

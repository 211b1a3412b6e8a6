//! Exports of a run to other programs: call records, HEP and the event log, held against the known
//! counts of real runs.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::iter;
use std::net::UdpSocket;
use std::path::Path;
use std::thread;

use serde_json::{Value, json};

use crate::harness;
use crate::harness::summary::Summary;
use crate::harness::{PATIENCE, gossipper, lock};
use crate::summary_schema;

/// An answerer that refuses every fifth call.
const REFUSING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/scenarios/refusing_uas.xml");

/// A caller with a place for media.
const CALLER: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/scenarios/media_uac.xml"));
/// A second of audio.
const TALK: &str = "<nop><action><exec rtp_stream=\"synthetic\"/></action></nop>
  <pause milliseconds=\"1000\"/>";

/// The lines of a file, as JSON.
#[track_caller]
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'), "the last line is not whole");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Calls `REFUSING` ten times; two calls are refused. Returns the run and the folders of both
/// sides.
#[track_caller]
fn ten_calls(flags: &[&str], server_flags: &[&str]) -> (gossipper::Over, Folders) {
    let server_line = ["-sf", REFUSING, "-m", "10", "-i", "127.0.0.1"];
    let (server, address) = gossipper::serve(&[&server_line, server_flags].concat());
    let remote = address.to_string();
    let load = ["-sn", "uac", "-i", "127.0.0.1", "-p", "0", "-m", "10", "-r", "100", "-d", "10"];
    let client = gossipper::start(&[&load[..], flags, &[&remote]].concat());
    let (over, client) = client.finish_with_files();
    let (served, server) = server.finish_with_files();
    served.expect_code(0);
    (over.expect_code(1), Folders { client, server })
}

/// The folders of both sides.
struct Folders {
    client: harness::scratch::Scratch,
    server: harness::scratch::Scratch,
}

#[test]
fn every_call_that_ends_has_a_record() {
    let _turn = lock::light();
    let flags = ["-call_records_jsonl", "calls.jsonl"];
    let (_, folders) = ten_calls(&flags, &flags);
    for (folder, failed) in [(&folders.client, 2), (&folders.server, 0)] {
        let records = lines(&folder.join("calls.jsonl"));
        let mut numbers = Vec::new();
        for record in &records {
            summary_schema::check_call_record(record).unwrap();
            numbers.push(record["call_number"].as_u64().unwrap());
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=10).collect::<Vec<u64>>());
        let failures: Vec<&Value> =
            records.iter().filter(|record| record["success"] == false).collect();
        assert_eq!(failures.len(), failed);
        for failure in failures {
            assert_eq!(failure["error"], "unexpected_message");
            assert_eq!(failure["sip_unexpected"], true);
        }
    }
    let ids = |folder: &harness::scratch::Scratch| {
        let records = lines(&folder.join("calls.jsonl"));
        let mut ids: Vec<String> =
            records.iter().map(|record| record["call_id"].to_string()).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids(&folders.client), ids(&folders.server));
}

#[test]
fn call_records_on_a_full_disk_are_told_and_counted() {
    let _turn = lock::light();
    let (over, _) = ten_calls(&["-call_records_jsonl", "/dev/full"], &[]);
    let said = &over.finished.stderr;
    // One complaint at once, and one at the end with all later losses.
    assert!((1..=2).contains(&said.matches("cannot write /dev/full").count()), "{said}");
    assert!(over.summary().number("/traces/unwritten_bytes") > 1000);
}

/// A packet's chunks by their type.
type Chunks = HashMap<u16, Vec<u8>>;

/// A collector that reads until it has `count` packets.
fn collector(count: usize) -> (String, thread::JoinHandle<Vec<Chunks>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let packets = move || {
        let mut buffer = vec![0; 65_536];
        (0..count)
            .map(|index| {
                let length = socket
                    .recv(&mut buffer)
                    .unwrap_or_else(|error| panic!("packet {index} of {count}: {error}"));
                chunks(&buffer[..length])
            })
            .collect()
    };
    (address, thread::spawn(packets))
}

/// The chunks of a HEP3 packet by type.
#[track_caller]
fn chunks(packet: &[u8]) -> HashMap<u16, Vec<u8>> {
    let number = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    assert_eq!(&packet[..4], b"HEP3");
    assert_eq!(usize::from(number(4)), packet.len());
    let mut chunks = HashMap::new();
    let mut at = 6;
    while at < packet.len() {
        let length = usize::from(number(at + 4));
        assert_eq!(number(at), 0, "vendor");
        chunks.insert(number(at + 2), packet[at + 6..at + length].to_vec());
        at += length;
    }
    chunks
}

/// Messages of `ten_calls` at one side: eight calls of six and two of three.
const MESSAGES: usize = 8 * 6 + 2 * 3;

#[test]
fn a_collector_sees_every_message() {
    let _turn = lock::light();
    let (address, packets) = collector(MESSAGES);
    let flags = ["-hep_addr", &address, "-hep_capture_id", "4711", "-hep_password", "secret"];
    let (over, _) = ten_calls(&flags, &[]);
    let packets = packets.join().unwrap();
    assert!(over.summary().0.pointer("/traces").is_none());
    let mut methods: HashMap<String, usize> = HashMap::new();
    for packet in &packets {
        let port = |kind: u16| u16::from_be_bytes([packet[&kind][0], packet[&kind][1]]);
        assert_eq!((packet[&1][0], packet[&2][0], packet[&11][0]), (2, 17, 1));
        assert_eq!((&packet[&3][..], &packet[&4][..]), (&[127, 0, 0, 1][..], &[127, 0, 0, 1][..]));
        assert_eq!(packet[&12], 4711_u32.to_be_bytes());
        assert_eq!(packet[&14], b"secret");
        let message = String::from_utf8(packet[&15].clone()).unwrap();
        let word = message.split(' ').next().unwrap().to_owned();
        // The caller's own port is in its requests' Via, and the requests come from it.
        let via = message.lines().find(|line| line.starts_with("Via:")).unwrap();
        let own = via.split(';').next().unwrap().rsplit(':').next().unwrap();
        let is_request = word != "SIP/2.0";
        assert_eq!(if is_request { port(7) } else { port(8) }.to_string(), own);
        assert_ne!(port(7), port(8));
        *methods.entry(word).or_default() += 1;
    }
    let count = |word: &str| methods.get(word).copied().unwrap_or(0);
    assert_eq!((count("INVITE"), count("ACK"), count("BYE"), count("SIP/2.0")), (10, 10, 8, 26));
}

#[test]
fn a_collector_that_is_down_costs_packets_and_no_calls() {
    let _turn = lock::light();
    // Bound, so that the port is free, then closed: packets are answered by ICMP.
    let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (over, _) = ten_calls(&["-hep_addr", &address], &[]);
    let said = &over.finished.stderr;
    assert_eq!(said.matches("cannot send to the HEP collector").count(), 1, "{said}");
    let summary = over.summary();
    let lost = summary.number("/traces/dropped_hep_packets");
    let end = format!("warning: {lost} packets did not reach the HEP collector");
    assert!(said.contains(&end), "{said}");
    assert!(summary.number("/traces/dropped_hep_packets") > 0);
    assert_eq!(summary.number("/success_calls"), 8);
    summary_schema::check(&summary.0).unwrap();
}

/// Counts events of a kind and level.
fn count(events: &[Value], kind: &str, level: &str) -> usize {
    events.iter().filter(|event| event["kind"] == kind && event["level"] == level).count()
}

#[test]
fn the_event_log_tells_of_every_call_and_message() {
    let _turn = lock::light();
    let flags = ["-log_file_jsonl", "events.jsonl", "-log_attr", "site=lab 1", "-log_stdout"];
    let (over, folders) = ten_calls(&flags, &["-log_file_jsonl", "events.jsonl"]);
    let events = lines(&folders.client.join("events.jsonl"));
    assert_eq!(count(&events, "call.started", "info"), 10);
    assert_eq!(count(&events, "call.ended", "info"), 8);
    assert_eq!(count(&events, "call.ended", "warn"), 2);
    assert_eq!(count(&events, "sip.unexpected", "warn"), 2);
    assert_eq!(count(&events, "sip.send", "info"), 8 * 3 + 2 * 2);
    assert_eq!(count(&events, "sip.recv", "info"), 8 * 3 + 2);
    assert!(events.iter().all(|event| event["attrs"]["site"] == "lab 1"));
    let (first, last) = (&events[0], events.last().unwrap());
    assert_eq!(
        (&first["kind"], &first["attrs"]["total_calls"]),
        (&"engine.started".into(), &10.into())
    );
    assert_eq!(first["attrs"]["rate"], 100);
    assert_eq!(last["kind"], "engine.stopped");
    for (key, value) in [("total_calls", 10), ("successful", 8), ("failed", 2), ("dropped_logs", 0)]
    {
        assert_eq!(last["attrs"][key], value, "{key}");
    }
    for number in 1..=10 {
        let of_call: Vec<&str> = events
            .iter()
            .filter(|event| event["attrs"]["call_num"] == number)
            .map(|event| event["kind"].as_str().unwrap())
            .collect();
        assert_eq!(of_call.first(), Some(&"call.started"), "call {number}: {of_call:?}");
        assert_eq!(of_call.iter().filter(|kind| **kind == "call.ended").count(), 1);
    }
    let refused = events.iter().find(|event| event["attrs"]["sip.status"] == 486).unwrap();
    assert_eq!(refused["attrs"]["sip.method"], "INVITE");
    assert_eq!(refused["attrs"]["sip.reason"], "Busy Here");
    // The same on stderr, as text.
    let text: Vec<&str> =
        over.finished.stderr.lines().filter(|line| line.contains(" site=\"lab 1\"")).collect();
    assert_eq!(text.len(), events.len());
    for (line, event) in text.iter().zip(&events) {
        let kind = event["kind"].as_str().unwrap();
        assert_eq!(line.split(' ').nth(2), Some(kind), "{line}");
        assert!(line.starts_with(event["time"].as_str().unwrap()), "{line}");
    }
    let served = lines(&folders.server.join("events.jsonl"));
    assert_eq!(count(&served, "call.started", "info"), 10);
    assert_eq!(count(&served, "call.ended", "info"), 10);
    assert_eq!(served[0]["attrs"]["rate"], 0);
}

#[test]
fn the_event_log_leaves_out_what_is_below_its_level() {
    let _turn = lock::light();
    let flags = ["-log_file_jsonl", "events.jsonl", "-log_level", "warn"];
    let (_, folders) = ten_calls(&flags, &[]);
    let events = lines(&folders.client.join("events.jsonl"));
    let kinds: Vec<&str> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    let pair = ["sip.unexpected", "call.ended"];
    assert_eq!(kinds, [pair, pair].concat());
}

#[test]
fn events_on_a_full_disk_are_told_and_counted() {
    let _turn = lock::light();
    let (over, _) = ten_calls(&["-log_file_jsonl", "/dev/full"], &[]);
    let said = &over.finished.stderr;
    // One complaint at once, and one at the end with all later losses.
    assert!((1..=2).contains(&said.matches("cannot write /dev/full").count()), "{said}");
    assert!(over.summary().number("/traces/unwritten_bytes") > 5000);
    summary_schema::check(&over.summary().0).unwrap();
}

/// Two calls with media between two of our ends, of which the caller tells a collector. Returns its
/// packets that are not SIP, and the summaries of caller and answerer.
#[track_caller]
fn calls_with_media(flags: &[&str]) -> (Vec<Chunks>, Summary, Summary) {
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = collector.local_addr().unwrap().to_string();
    let calls = ["-i", "127.0.0.1", "-m", "2", "-rtp_shared", "-rtcp_interval", "200ms"];
    let (server, remote) = gossipper::serve(&[&["-sn", "uas_media"], &calls[..]].concat());
    let remote = remote.to_string();
    let scratch = harness::scratch::Scratch::new();
    let caller = scratch.write("caller.xml", &CALLER.replace("<!-- media -->", TALK));
    let load = ["-sf", &caller, "-p", "0", "-hep_addr", &address];
    let client = gossipper::run(&[&load[..], &calls, flags, &[&remote]].concat()).expect_code(0);
    let server = server.finish().expect_code(0);
    collector.set_nonblocking(true).unwrap();
    let mut buffer = vec![0; 65_536];
    let packets = iter::from_fn(|| {
        let length = collector.recv(&mut buffer).ok()?;
        Some(chunks(&buffer[..length]))
    });
    let packets: Vec<Chunks> = packets.filter(|packet| packet[&11] != [1]).collect();
    let summaries = [&client, &server].map(|over| Summary(over.summary().0.clone()));
    let [client, server] = summaries;
    (packets, client, server)
}

/// The Call-ID to which a packet belongs.
fn call_id(packet: &Chunks) -> &str {
    std::str::from_utf8(&packet[&17]).unwrap()
}

#[test]
fn a_collector_sees_the_rtcp_that_was_sent_and_received_as_it_was() {
    let _turn = lock::light();
    let (packets, client, server) = calls_with_media(&["-hep_raw_rtcp"]);
    let mut sources = HashMap::new();
    for packet in &packets {
        assert_eq!((&packet[&11][..], &packet[&2][..]), (&[5][..], &[17][..]));
        // A report of a sender or a receiver, version 2.
        let rtcp = &packet[&15];
        assert!(rtcp[0] >> 6 == 2 && [200, 201].contains(&rtcp[1]), "{rtcp:x?}");
        *sources.entry(packet[&7].clone()).or_insert(0) += 1;
    }
    let ids: HashSet<&str> = packets.iter().map(call_id).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    let mut counts: Vec<u64> = sources.into_values().collect();
    let media = |side: &Summary, key: &str| side.number(&format!("/media/{key}"));
    let [sent, received] =
        ["rtcp_packets_sent", "rtcp_packets_received"].map(|key| media(&client, key));
    let mut expected = [sent, received];
    counts.sort_unstable();
    expected.sort_unstable();
    assert_eq!(counts, expected, "{:#}", client.0["media"]);
    assert!(received > 0 && received <= media(&server, "rtcp_packets_sent"));
}

#[test]
fn a_collector_gets_rtcp_as_json_and_a_report_on_each_stream() {
    let _turn = lock::light();
    let flags = ["-hep_raw_rtcp", "-hep_homer_lake_rtcp", "-send_media_report"];
    let (packets, client, _) = calls_with_media(&flags);
    let json = |kind: u8| {
        let of_kind = packets.iter().filter(move |packet| packet[&11] == [kind]);
        of_kind.map(|packet| {
            let json: Value = serde_json::from_slice(&packet[&15]).unwrap();
            (call_id(packet).to_owned(), json)
        })
    };
    let reports: Vec<_> = json(5).collect();
    let media = |key: &str| client.number(&format!("/media/{key}"));
    let all = media("rtcp_packets_sent") + media("rtcp_packets_received");
    assert_eq!(reports.len() as u64, all);
    assert!(reports.iter().any(|(_, report)| {
        report["type"] == 200 && report["report_blocks"][0]["fraction_lost"] == 0
    }));
    let streams: Vec<_> = json(35).collect();
    assert_eq!(streams.len(), 4, "{streams:#?}");
    let (mut sent, mut received) = (0, 0);
    for (id, stream) in &streams {
        assert_eq!((&stream["CORRELATION_ID"], &stream["TYPE"]), (&json!(id), &json!("FINAL")));
        assert_eq!((&stream["CODEC_NAME"], &stream["HEARD"]), (&json!("PCMU"), &json!("two_way")));
        let packets = stream["PACKET_COUNT"].as_u64().unwrap();
        if stream["DIR"] == 1 {
            sent += packets;
            continue;
        }
        received += packets;
        assert_eq!(stream["PACKET_LOSS"], 0);
        assert!(stream["MOS"].as_f64().unwrap() > 4.0, "{stream:#}");
    }
    assert_eq!(
        [sent, received],
        ["sent", "received"].map(|way| media(&format!("rtp_packets_{way}")))
    );
    let told: Vec<_> = json(37).collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told.iter().all(|(_, report)| report["FRACTION_LOST"] == 0), "{told:#?}");
}

#[test]
fn reports_without_a_collector_are_no_secret() {
    let _turn = lock::light();
    for flag in ["-hep_raw_rtcp", "-hep_homer_lake_rtcp", "-send_media_report"] {
        let line = ["-sn", "uac", flag, "-m", "1", "-timeout", "1s", "127.0.0.1:9"];
        let said = gossipper::run(&line).finished.stderr;
        assert!(said.contains("-hep_addr is not given"), "{said}");
    }
}

#[test]
fn credentials_that_are_made_and_checked_are_events() {
    let _turn = lock::light();
    let scratch = harness::scratch::Scratch::new();
    let users = scratch.write("users.csv", "SEQUENTIAL\nalice;se cret\n");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/data");
    let registrar = format!("{folder}/registrar_digest.xml");
    let client = format!("{folder}/register_digest.xml");
    let log = ["-log_file_jsonl", "events.jsonl"];
    let keys = ["-key", "alg", "SHA-256", "-key", "qop", ", qop=\"auth\""];
    let line = ["-sf", &registrar, "-i", "127.0.0.1", "-m", "3"];
    let (server, address) = gossipper::serve(&[&line[..], &keys, &log].concat());
    let remote = address.to_string();
    let line = ["-sf", &client, "-i", "127.0.0.1", "-p", "0", "-m", "3", "-inf", &users];
    let run = gossipper::start(&[&line[..], &log, &[&remote]].concat());
    let (over, client) = run.finish_with_files();
    over.expect_code(0);
    let (over, server) = server.finish_with_files();
    over.expect_code(0);
    // Each call answers twice. The registrar checks each answer, and one of them again, wrongly.
    for (folder, challenge, made, wrong) in [(client, 401, 6, 0), (server, 0, 9, 3)] {
        let events = lines(&folder.join("events.jsonl"));
        let auth: Vec<&Value> = events.iter().filter(|event| event["kind"] == "auth").collect();
        assert_eq!(auth.len(), made);
        let failed = auth.iter().filter(|event| event["attrs"]["result"] == "failure");
        assert_eq!(failed.count(), wrong);
        assert_eq!(count(&events, "auth", "error"), wrong);
        for event in auth {
            let attributes = &event["attrs"];
            for (key, value) in [("username", "alice"), ("algorithm", "SHA-256"), ("qop", "auth")] {
                assert_eq!(attributes[key], value);
            }
            assert_eq!(attributes["challenge.status"], challenge);
            assert!(!attributes["realm"].as_str().unwrap().is_empty());
            assert!(attributes["call_num"].as_u64().unwrap() >= 1);
        }
    }
}

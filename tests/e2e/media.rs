//! Calls with media: our two ends, SIPp, and a peer on plain sockets whose capture tshark reads.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::peer::Peer;
use crate::harness::phone::{self, Capture, PACKET, Phone};
use crate::harness::scratch::Scratch;
use crate::harness::service::{self as daemon, management, until};
use crate::harness::summary::Summary;
use crate::harness::{gossipper, lock, ports, sipp, tools};
use crate::summary_schema;

/// A caller without media between its ACK and its BYE.
const CALLER: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/scenarios/media_uac.xml"));
/// The place where the media of `CALLER` goes.
const MARK: &str = "<!-- media -->";
/// A second and a half of audio, which is 75 packets.
const TALK: &str = "<nop><action><exec rtp_stream=\"synthetic\"/></action></nop>
  <pause milliseconds=\"1500\"/>
  <nop><action><exec rtp_stream=\"stop\"/></action></nop>";

/// Writes `CALLER` with media.
pub(crate) fn caller(scratch: &Scratch, media: &str) -> String {
    assert!(CALLER.contains(MARK));
    scratch.write("media_uac.xml", &CALLER.replace(MARK, media))
}

/// The options of a range of ports for so many calls.
pub(crate) fn port_range(calls: u16) -> [String; 4] {
    let first = ports::free_range(2 * calls);
    [
        "-min_rtp_port".into(),
        first.to_string(),
        "-max_rtp_port".into(),
        (first + 2 * calls - 1).to_string(),
    ]
}

/// A count below `media`.
pub(crate) fn media(summary: &Summary, key: &str) -> u64 {
    summary.number(&format!("/media/{key}"))
}

/// Well-formed datagrams that count for no stream.
fn strays(summary: &Summary) -> u64 {
    let strays = summary.0.pointer("/media/strays").and_then(Value::as_object);
    strays.into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
}

/// Calls whose two ends are ours.
#[track_caller]
fn both_ends_hear(flags: &[&str], mode: &str) {
    let _turn = lock::load();
    const CALLS: u64 = 10;
    let scratch = Scratch::new();
    let load = ["-i", "127.0.0.1", "-m", "10", "-l", "10"];
    let [ours, theirs] = [port_range(10), port_range(10)];
    let [ours, theirs] = [&ours, &theirs].map(|range| range.each_ref().map(String::as_str));
    let server = [&["-sn", "uas_media"], &load[..], &theirs, flags].concat();
    let (server, address) = gossipper::serve(&server);
    let (file, remote) = (caller(&scratch, TALK), address.to_string());
    let line = [&["-sf", &file, "-p", "0", "-r", "10"], &load[..], &ours, flags, &[&remote]];
    let client = gossipper::run(&line.concat()).expect_code(0);
    let server = server.finish().expect_code(0);
    let sides = [client.summary(), server.summary()];
    for (side, other) in [(sides[0], sides[1]), (sides[1], sides[0])] {
        side.expect_all_succeeded(CALLS);
        let text = format!("{:#}\n{:#}", side.0["media"], other.0["media"]);
        assert_eq!(side.0["media"]["mode"], mode);
        assert_eq!(media(side, "calls"), CALLS, "{text}");
        assert_eq!(media(side, "heard/two_way"), CALLS, "{text}");
        assert_eq!(media(side, "rtp_packets_lost"), 0, "{text}");
        assert_eq!(side.0["media"]["malformed"], json!({}), "{text}");
        let received = media(side, "rtp_packets_received");
        assert!(received >= CALLS * 70, "{text}");
        assert_eq!(received, media(side, "rtp_packets_expected"), "{text}");
        // Each packet of one side was counted by the other one. The last one may come behind a BYE.
        let sent = media(side, "rtp_packets_sent");
        let counted = media(other, "rtp_packets_received");
        assert!((counted..=counted + strays(other)).contains(&sent), "{text}");
    }
    // The answerer stays for longer than the caller, and so receives all that the caller sent.
    let [client, server] = sides;
    let sent = media(client, "rtp_packets_sent") + media(client, "rtcp_packets_sent");
    let came = media(server, "rtp_packets_received") + media(server, "rtcp_packets_received");
    assert_eq!(sent, came + strays(server), "{:#}\n{:#}", client.0, server.0);
}

#[test]
fn both_ends_hear_each_other_on_ports_of_their_own() {
    both_ends_hear(&[], "ports");
}

#[test]
fn both_ends_hear_each_other_on_one_shared_port() {
    both_ends_hear(&["-rtp_shared"], "shared");
}

/// The lines that tshark prints about a capture, whose messages of SIP are at `sip`. It learns from
/// them which ports have RTP.
#[track_caller]
pub(crate) fn tshark(capture: &Path, sip: u16, args: &[&str]) -> Vec<String> {
    tools::need("tshark");
    let output = Command::new("tshark")
        .args(["-n", "-r"])
        .arg(capture)
        .args(["-d", &format!("udp.port=={sip},sip")])
        .args(args)
        .output()
        .expect("tshark can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// A packet of a stream, as tshark sees it.
#[derive(Debug)]
struct Packet {
    sequence: u64,
    timestamp: u32,
    has_marker: bool,
    ssrc: String,
    payload_type: u64,
    /// Digit, end bit and duration of a telephone event.
    event: Option<(u64, bool, u64)>,
}

/// The packets of RTP from `port`.
#[track_caller]
fn packets_from(capture: &Path, sip: u16, port: u16) -> Vec<Packet> {
    let filter = format!("rtp && udp.srcport=={port}");
    let fields = [
        "rtp.seq",
        "rtp.timestamp",
        "rtp.marker",
        "rtp.ssrc",
        "rtp.p_type",
        "rtpevent.event_id",
        "rtpevent.end_of_event",
        "rtpevent.duration",
    ];
    let mut args = vec!["-Y", &filter, "-T", "fields"];
    args.extend(fields.iter().flat_map(|field| ["-e", field]));
    let number = |text: &str| match text {
        "True" => 1,
        "False" => 0,
        _ => text.parse().unwrap_or_else(|_| panic!("{text} is no number")),
    };
    let packet = |line: &String| {
        let columns: Vec<&str> = line.split('\t').collect();
        let event = columns.get(5).filter(|digit| !digit.is_empty());
        Packet {
            sequence: number(columns[0]),
            timestamp: number(columns[1]) as u32,
            has_marker: number(columns[2]) == 1,
            ssrc: columns[3].to_owned(),
            payload_type: number(columns[4]),
            event: event.map(|d| (number(d), number(columns[6]) == 1, number(columns[7]))),
        }
    };
    tshark(capture, sip, &args).iter().map(packet).collect()
}

/// Packets and lost packets of the stream from `port` by tshark, and in milliseconds the longest
/// time between two, the mean and the highest jitter.
#[track_caller]
fn stream_from(capture: &Path, sip: u16, port: u16) -> (u64, u64, [f64; 3]) {
    let lines = tshark(capture, sip, &["-q", "-z", "rtp,streams"]);
    for line in &lines {
        let columns: Vec<&str> = line.split_whitespace().collect();
        if columns.get(3) != Some(&port.to_string().as_str()) {
            continue;
        }
        let share = columns.iter().position(|column| column.starts_with('(')).unwrap();
        let count = |at: usize| columns[at].parse().unwrap();
        // Three columns of the time between packets, then three of jitter.
        let times = [3, 5, 6].map(|at| columns[share + at].parse().unwrap());
        return (count(share - 2), count(share - 1), times);
    }
    panic!("no stream from {port}: {lines:#?}");
}

/// A call of `media` to `phone`, which talks in `packets`. Returns the run, its folder, and the
/// port of its audio.
#[track_caller]
fn call_phone(
    phone: &Phone,
    media: &str,
    flags: &[&str],
    packets: impl IntoIterator<Item = Option<Vec<u8>>>,
) -> (gossipper::Over, Scratch, u16) {
    let scratch = Scratch::new();
    let (file, remote) = (caller(&scratch, media), phone.address().to_string());
    let range = port_range(1);
    let range = range.each_ref().map(String::as_str);
    let line = ["-sf", &file, "-i", "127.0.0.1", "-p", "0", "-m", "1", &remote];
    let records = ["-call_records_jsonl", "calls.jsonl"];
    let run = gossipper::start(&[&line[..], &range, &records, flags].concat());
    let theirs = phone::audio_address(&phone.answer("127.0.0.1"));
    phone.talk(theirs, packets);
    phone.wait_for_end();
    let (over, folder) = run.finish_with_files();
    (over, folder, theirs.port())
}

/// The media of the only call in the file of call records.
fn media_of_call(folder: &Scratch) -> Value {
    let text = fs::read_to_string(folder.join("calls.jsonl")).unwrap();
    let record: Value = serde_json::from_str(text.trim()).unwrap();
    record["media"].clone()
}

#[test]
fn tshark_sees_the_stream_and_the_digits_that_we_claim() {
    tshark_sees_what_we_claim(&[]);
}

#[test]
fn tshark_sees_the_same_from_a_shared_port() {
    tshark_sees_what_we_claim(&["-rtp_shared"]);
}

/// A call with audio and digits.
#[track_caller]
fn tshark_sees_what_we_claim(flags: &[&str]) {
    let _turn = lock::light();
    let phone = Phone::new();
    let sip = phone.address().port();
    let talk = "<nop><action><exec rtp_stream=\"synthetic\"/></action></nop>
      <pause milliseconds=\"300\"/>
      <nop><action><exec play_dtmf=\"12#\"/></action></nop>
      <pause milliseconds=\"1500\"/>";
    let gates = ["-health_max_silent_calls", "-1", "-health_max_unknown_calls", "-1"];
    let (over, folder, port) = call_phone(&phone, talk, &[&gates[..], flags].concat(), []);
    let over = over.expect_code(0);
    let capture = folder.join("call.pcap");
    phone.into_capture().write(&capture);

    let packets = packets_from(&capture, sip, port);
    assert_eq!(packets.len() as u64, media(over.summary(), "rtp_packets_sent"));
    for pair in packets.windows(2) {
        assert_eq!((pair[0].sequence + 1) % 65_536, pair[1].sequence % 65_536, "{pair:?}");
        assert_eq!(pair[0].ssrc, pair[1].ssrc);
        let are_audio = pair.iter().all(|packet| packet.event.is_none());
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert!(!are_audio || step == 160, "{pair:?}");
    }
    let (audio, events): (Vec<_>, Vec<_>) = packets.iter().partition(|p| p.event.is_none());
    assert!(audio.iter().all(|p| p.payload_type == 0), "{audio:?}");
    assert!(audio.first().is_some_and(|p| p.has_marker));

    let mut digits = Vec::new();
    for digit in events.chunk_by(|a, b| a.timestamp == b.timestamp) {
        let parts: Vec<_> = digit.iter().map(|packet| packet.event.unwrap()).collect();
        assert!(digit.iter().all(|p| p.payload_type == 101 && p.event.unwrap().0 == parts[0].0));
        // The marker is on the first packet of a digit only, and the last one comes three times.
        assert!(digit.iter().enumerate().all(|(at, p)| p.has_marker == (at == 0)), "{digit:?}");
        let (growing, ends) = parts.split_at(parts.len() - 3);
        assert!(growing.iter().all(|part| !part.1), "{parts:?}");
        assert!(growing.windows(2).all(|pair| pair[0].2 < pair[1].2), "{parts:?}");
        assert_eq!(ends, [(parts[0].0, true, 1600); 3], "{parts:?}");
        digits.push(parts[0].0);
    }
    assert_eq!(digits, [1, 2, 11]);

    let (count, lost, _) = stream_from(&capture, sip, port);
    assert_eq!((count, lost), (packets.len() as u64, 0));
    // The report of the end has the same figures.
    let fields = ["-e", "rtcp.senderssrc", "-e", "rtcp.sender.packetcount"];
    let reports =
        tshark(&capture, sip, &[&["-Y", "rtcp.pt==200", "-T", "fields"], &fields[..]].concat());
    let last: Vec<&str> = reports.last().expect("a sender report").split('\t').collect();
    assert_eq!(last[1].parse(), Ok(packets.len()), "{reports:?}");
    let ssrc = |text: &str| {
        u32::from_str_radix(text.split(',').next().unwrap().trim_start_matches("0x"), 16).unwrap()
    };
    assert_eq!(ssrc(last[0]), ssrc(&packets[0].ssrc), "{reports:?}");
}

#[test]
fn tshark_and_our_report_agree_about_loss_and_jitter() {
    let _turn = lock::light();
    let phone = Phone::new();
    let sip = phone.address().port();
    let own = phone.audio_port();
    // Every fifth of 75 packets is lost from the 20th to the 55th. Every second timestamp is 50 ms
    // ahead, so that the jitter does not come from how busy this machine is.
    let packets = (0..75_u16).map(|at| {
        let is_lost = (20..60).contains(&at) && at % 5 == 0;
        let ahead = if at % 2 == 1 { 400 } else { 0 };
        (!is_lost).then(|| phone::rtp(0, at, 160 * u32::from(at) + ahead))
    });
    let talk = TALK.replace("1500", "2500");
    let flags = ["-health_max_unknown_calls", "-1"];
    let (over, folder, _) = call_phone(&phone, &talk, &flags, packets);
    let over = over.expect_code(0);
    let capture = folder.join("call.pcap");
    phone.into_capture().write(&capture);

    let (count, lost, times_ms) = stream_from(&capture, sip, own);
    assert_eq!((count, lost), (67, 8));
    let (summary, call) = (over.summary(), media_of_call(&folder));
    assert_eq!(media(summary, "rtp_packets_received"), count);
    assert_eq!(media(summary, "rtp_packets_lost"), lost);
    assert_eq!(call["RTPPacketsReceived"], count);
    assert_eq!(call["RTPRecvMaxCumulativeLost"], lost);
    let stream = &call["rtp_stream"];
    assert_eq!((&stream["packets"], &stream["lost"]), (&json!(count), &json!(lost)));
    assert_eq!(stream["source_port"], own);
    assert_eq!(stream["max_jitter_ms"], call["jitter_max_ms"]);
    let [_, _, jitter_ms] = times_ms;
    assert!(jitter_ms > 40.0, "{jitter_ms}");
    let columns = ["max_delta_ms", "mean_jitter_ms", "max_jitter_ms"];
    for (column, theirs_ms) in columns.into_iter().zip(times_ms) {
        let ours_ms = stream[column].as_f64().unwrap();
        assert!((ours_ms - theirs_ms).abs() < 5.0, "{column}: {ours_ms} {theirs_ms}");
    }
}

#[test]
fn a_call_to_a_peer_that_sends_nothing_is_silent_and_the_run_fails() {
    let _turn = lock::light();
    let phone = Phone::new();
    let page = ["-summary_html", "page.html", "-key", "note", "<b>&</b>", "-ap", "hidden"];
    let (over, folder, _) = call_phone(&phone, &TALK.replace("1500", "500"), &page, []);
    let over = over.expect_code(2);
    let summary = over.summary();
    assert_eq!((media(summary, "heard/none"), media(summary, "silent_calls")), (1, 1));
    assert_eq!(media_of_call(&folder)["heard"], "none");
    let said = format!("{}{}", over.finished.stdout, over.finished.stderr);
    let reason = "1 call was silent, 0 are allowed (-health_max_silent_calls)";
    assert!(said.contains(reason), "{said}");
    // It is the worst call in all reports.
    let worst = &summary.0["media"]["worst_calls"][0];
    let call_id = worst["call_id"].as_str().unwrap();
    assert_eq!((&worst["heard"], &worst["call"]), (&json!("none"), &json!(1)));
    assert_eq!(worst["first_audio"], Value::Null);
    assert!(said.contains("Worst calls"), "{said}");
    assert!(said.contains(&format!("Call-ID {call_id}")), "{said}");
    summary_schema::check(&summary.0).unwrap();
    let page = fs::read_to_string(folder.join("page.html")).unwrap();
    for part in ["FAILED", reason, call_id, "Exit code 2", "&lt;b&gt;&amp;&lt;/b&gt;", "-ap ***"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("<b>&</b>") && !page.contains("hidden"), "{page}");
    assert_eq!(summary.0["run"]["exit_code"], 2);
}

#[test]
fn a_caller_hears_itself_from_sipps_echo_and_nobody_knows_what_sipp_heard() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    // SIPp has its audio on the first port and its video two above.
    let (port, echo) = (ports::free(), ports::free_range(4).to_string());
    let server = ["-sn", "uas", "-i", "127.0.0.1", "-m", "2", "-rtp_echo", "-mp", &echo];
    let server = sipp::serve(port, &server);
    let (file, remote) = (caller(&scratch, TALK), format!("127.0.0.1:{port}"));
    let range = port_range(2);
    let range = range.each_ref().map(String::as_str);
    let line = ["-sf", &file, "-i", "127.0.0.1", "-p", "0", "-m", "2", "-l", "2", &remote];
    let over = gossipper::run(&[&line[..], &range].concat()).expect_code(2);
    server.finish().expect_all_succeeded(2);
    let summary = over.summary();
    summary.expect_all_succeeded(2);
    let text = format!("{:#}", summary.0["media"]);
    assert_eq!((media(summary, "heard/unknown"), media(summary, "silent_calls")), (2, 0), "{text}");
    assert_eq!(media(summary, "media_calls_with_rtp_received"), 2, "{text}");
    assert!(media(summary, "per_call_min_rtp_packets_received") >= 70, "{text}");
    assert_eq!(media(summary, "rtp_packets_lost"), 0, "{text}");
    let said = format!("{}{}", over.finished.stdout, over.finished.stderr);
    let reason = "of 2 calls it is not known who heard whom, 0 are allowed \
                  (-health_max_unknown_calls)";
    assert!(said.contains(reason), "{said}");
}

/// A second and a half of a pattern.
const PATTERN: &str = "<nop><action><exec rtp_stream=\"apattern,1,0,PCMU/8000\"/></action></nop>
  <pause milliseconds=\"1500\"/>
  <nop><action><exec rtp_stream=\"pauseapattern\"/></action></nop>
  <pause milliseconds=\"200\"/>";

#[test]
fn a_pattern_that_sipp_sends_back_as_it_was_passes() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let (port, echo) = (ports::free(), ports::free_range(4).to_string());
    let server = ["-sn", "uas", "-i", "127.0.0.1", "-m", "1", "-rtp_echo", "-mp", &echo];
    let server = sipp::serve(port, &server);
    let (file, remote) = (caller(&scratch, PATTERN), format!("127.0.0.1:{port}"));
    let range = port_range(1);
    let range = range.each_ref().map(String::as_str);
    let line = ["-sf", &file, "-i", "127.0.0.1", "-p", "0", "-m", "1", &remote];
    let check = ["-audiotolerance", "0.1", "-health_max_unknown_calls", "-1"];
    let over = gossipper::run(&[&line[..], &range, &check].concat()).expect_code(0);
    server.finish().expect_all_succeeded(1);
    let patterns = &over.summary().0["media"]["patterns"];
    assert_eq!((&patterns["streams"], &patterns["failed"]), (&json!(1), &json!(0)), "{patterns}");
    assert!(patterns["packets"].as_u64().unwrap() >= 70, "{patterns}");
}

#[test]
fn a_pattern_that_is_damaged_on_its_way_fails_the_call_and_the_run() {
    let _turn = lock::light();
    // The last byte of every second packet.
    let damage = |count, packet: &mut [u8]| packet[171] ^= u8::from(count % 2 == 1);
    let phone = Phone::echoing(damage);
    let check = ["-audiotolerance", "0.25", "-rtpcheck_debug"];
    let (over, folder, _) = call_phone(&phone, PATTERN, &check, []);
    let over = over.expect_code(253);
    let summary = over.summary();
    assert_eq!(summary.failed_by("rtp_check"), 1);
    let patterns = &summary.0["media"]["patterns"];
    let count = |key: &str| patterns[key].as_u64().unwrap();
    assert_eq!((count("streams"), count("failed")), (1, 1));
    // Those that damaged and others took turns.
    assert!(count("packets").abs_diff(2 * count("packets_bad")) <= 2, "{patterns}");
    let name = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let name = name.into_iter().find(|name| name.to_string_lossy().ends_with("_rtpcheck.log"));
    let text = fs::read_to_string(folder.join(&name.unwrap().to_string_lossy())).unwrap();
    let [line] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    for part in ["failed", "call=1 audio pattern=1 ", "first_wrong_byte=159", "call_id="] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

/// The only file of a folder.
#[track_caller]
fn only_file(folder: &Path) -> PathBuf {
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    file.clone()
}

#[test]
fn audio_and_packets_of_a_call_are_recorded() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let [wav, pcap, own] = ["wav", "pcap", "own"].map(|name| scratch.join(name));
    // The name leads to no other folder, whatever the call puts into it.
    let record = format!(
        "<nop><action><assignstr assign_to=\"name\" value=\"../../[call_number]\"/>
         <exec rtp_record=\"start,{}/[$name].wav\"/></action></nop>
         {TALK}
         <nop><action><exec rtp_record=\"stop\"/></action></nop>",
        own.display()
    );
    let [ours, theirs] = [port_range(1), port_range(1)];
    let [ours, theirs] = [&ours, &theirs].map(|range| range.each_ref().map(String::as_str));
    let server = ["-sn", "uas_media", "-i", "127.0.0.1", "-m", "1"];
    let (server, address) = gossipper::serve(&[&server[..], &theirs].concat());
    let (file, remote) = (caller(&scratch, &record), address.to_string());
    let folders = [wav.display().to_string(), pcap.display().to_string()];
    let [audio, packets] = &folders;
    let recordings = ["-record_wav_dir", audio, "-record_wav_duplex", "-record_pcap_dir", packets];
    let line = ["-sf", &file, "-i", "127.0.0.1", "-p", "0", "-m", "1", &remote];
    let over = gossipper::run(&[&line[..], &ours, &recordings].concat()).expect_code(0);
    server.finish().expect_code(0);
    let summary = over.summary();
    let recorded = &summary.0["recordings"];
    assert_eq!((&recorded["files"], &recorded["losses"]), (&json!(3), &json!({})), "{recorded}");

    // A tone of -10 dBov has an amplitude of 14,650. The last 100 ms may lack packets of the peer.
    fn loud(mut samples: impl Iterator<Item = i16>) -> bool {
        samples.any(|sample| sample > 14_000)
    }
    let file = fs::read(only_file(&wav)).unwrap();
    assert_eq!((file[22], &file[..4]), (2, &b"RIFF"[..]));
    let samples: Vec<i16> =
        file[44..].chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect();
    assert!(samples.len() > 2 * 10_400, "{}", samples.len());
    for second in samples.chunks_exact(2 * 4000).take(2) {
        assert!(loud(second.iter().step_by(2).copied()), "ours is missing");
        assert!(loud(second.iter().skip(1).step_by(2).copied()), "theirs is missing");
    }
    let own = only_file(&own);
    assert_eq!(own.file_name().unwrap(), "_._.._1.wav");
    let own = fs::read(own).unwrap();
    assert_eq!(own[22], 1);
    assert!(own.len() > 2 * 10_400, "{}", own.len());

    let fields = ["-T", "fields", "-e", "udp.length", "-e", "ip.src"];
    let packets =
        tshark(&only_file(&pcap), address.port(), &[&["-Y", "udp"], &fields[..]].concat());
    assert!(packets.iter().all(|packet| packet.ends_with("\t127.0.0.1")), "{packets:#?}");
    let rtp = packets.iter().filter(|packet| packet.starts_with("180\t")).count() as u64;
    let sum = |keys: [&str; 2]| keys.iter().map(|key| media(summary, key)).sum::<u64>();
    assert_eq!(rtp, sum(["rtp_packets_sent", "rtp_packets_received"]));
    // The last message that is recorded is the 200 to the BYE.
    let sip = tshark(
        &only_file(&pcap),
        address.port(),
        &["-Y", "sip", "-T", "fields", "-e", "sip.Method"],
    );
    let methods: Vec<&str> = sip.iter().map(String::as_str).filter(|m| !m.is_empty()).collect();
    assert_eq!(methods, ["INVITE", "ACK", "BYE"]);
    let rtcp = packets.len() as u64 - rtp - sip.len() as u64;
    assert_eq!(rtcp, sum(["rtcp_packets_sent", "rtcp_packets_received"]));
}

#[test]
fn the_answerer_of_calls_without_media_sends_back_what_it_hears_if_told_to() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let [ours, theirs] = [port_range(2), port_range(3)];
    let [ours, theirs] = [&ours, &theirs].map(|range| range.each_ref().map(String::as_str));
    let line = ["-sn", "uas", "-i", "127.0.0.1", "-m", "3", "-l", "3", "-rtp_echo"];
    let (server, address) = gossipper::serve(&[&line[..], &theirs].concat());
    let (file, remote) = (caller(&scratch, TALK), address.to_string());
    let line = ["-sf", &file, "-i", "127.0.0.1", "-p", "0", "-m", "2", "-l", "2", &remote];
    let client = gossipper::run(&[&line[..], &ours].concat()).expect_code(0);
    // A caller without media is answered as ever.
    let line = ["-sn", "uac", "-i", "127.0.0.1", "-p", "0", "-m", "1", &remote];
    gossipper::run(&line).expect_code(0).summary().expect_all_succeeded(1);
    let server = server.finish();
    let (client, server) = (client.summary(), server.summary());
    client.expect_all_succeeded(2);
    server.expect_all_succeeded(3);
    let text = format!("{:#}\n{:#}", client.0["media"], server.0["media"]);
    for summary in [client, server] {
        assert_eq!(media(summary, "heard/two_way"), 2, "{text}");
        assert_eq!(media(summary, "rtp_packets_lost"), 0, "{text}");
    }
    let echoed = media(server, "rtp_packets_sent");
    assert_eq!(media(server, "rtp_packets_received"), echoed, "{text}");
    assert_eq!(media(client, "rtp_packets_sent"), echoed, "{text}");
    assert_eq!(media(client, "rtp_packets_received"), echoed, "{text}");
}

#[test]
fn what_sipp_replays_from_a_capture_is_heard() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let capture = Capture::default();
    for at in 0..50_u16 {
        let [from, to] = [4000, 5000].map(|port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
        capture.add(PACKET * u32::from(at), from, to, &phone::rtp(0, at, 160 * u32::from(at)));
    }
    let file = scratch.join("audio.pcap");
    capture.write(&file);
    let play = format!(
        "<nop><action><exec play_pcap_audio=\"{}\"/></action></nop>
         <pause milliseconds=\"1300\"/>",
        file.display()
    );
    let file = caller(&scratch, &play);
    let range = port_range(1);
    let range = range.each_ref().map(String::as_str);
    let line =
        ["-sn", "uas_media", "-i", "127.0.0.1", "-m", "1", "-health_max_unknown_calls", "-1"];
    let (server, address) = gossipper::serve(&[&line[..], &range].concat());
    let (remote, port) = (address.to_string(), ports::free().to_string());
    let rtp = ports::free_range(4).to_string();
    let line = ["-sf", &file, "-i", "127.0.0.1", "-p", &port, "-mp", &rtp, "-m", "1"];
    sipp::start(&[&line[..], &[&remote]].concat()).finish().expect_all_succeeded(1);
    let over = server.finish().expect_code(0);
    let summary = over.summary();
    let text = format!("{:#}", summary.0["media"]);
    assert_eq!(media(summary, "rtp_packets_received"), 50, "{text}");
    assert_eq!((media(summary, "rtp_packets_lost"), strays(summary)), (0, 0), "{text}");
    // SIPp tells nobody what it heard.
    assert_eq!(media(summary, "heard/unknown"), 1, "{text}");
}

#[test]
fn a_description_that_names_an_address_outside_of_the_targets_fails_the_call() {
    let _turn = lock::light();
    let mut config = management();
    config["targets"] = json!([]);
    let daemon = daemon::start(&config);
    let client = daemon.client();
    for (id, media_ip, blocked) in [("a", "127.0.0.1", 0), ("b", "192.0.2.1", 1)] {
        let phone = Phone::new();
        let snippet = json!({
            "scenario_name": "uac_media", "remote_addr": phone.address().to_string(),
            "local_ip": "127.0.0.1", "rate": 10, "total_calls": 1,
            "extra_args": port_range(1),
        });
        client.post(&format!("/api/v1/clients?id={id}"), &snippet).expect(201);
        let invite = phone.answer(media_ip);
        match blocked {
            // This scenario hangs up when it is asked to.
            0 => phone.hang_up(&invite),
            _ => phone.wait_for_end(),
        }
        let stats = until("end", || {
            let stats = client.get("/api/v1/stats").json();
            let rows = stats["engines"].as_array().unwrap().clone();
            rows.into_iter().find(|row| row["id"] == id && row["state"]["phase"] == "finished")
        });
        let by_cause = &stats["stats"]["failure_causes"]["blocked_target"];
        assert_eq!(by_cause.as_u64().unwrap_or(0), blocked, "{stats}");
        let sent = stats["stats"]["media"]["rtp_packets_sent"].as_u64().unwrap();
        assert_eq!(sent == 0, blocked == 1, "{stats}");
    }
    daemon.stop();
}

#[test]
fn a_range_of_ports_too_small_for_the_calls_is_refused_before_the_run() {
    let scratch = Scratch::new();
    let file = caller(&scratch, TALK);
    let range = ["-min_rtp_port", "30000", "-max_rtp_port", "30005"];
    let line = ["-sf", &file, "-i", "127.0.0.1", "-p", "0", "-m", "10", "-l", "4", "127.0.0.1:9"];
    let over = gossipper::run(&[&line[..], &range].concat());
    assert!(over.summary.is_none());
    let said = over.finished.stderr;
    assert_ne!(over.finished.code, Some(0), "{said}");
    for part in ["8 ports", "6 from 30000 to 30005", "-min_rtp_port", "-max_rtp_port", "-l"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_port_that_another_program_holds_is_never_advertised() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let peer = Peer::new();
    let first = ports::free_range(8);
    // RTP of the first pair, and RTCP of the third one.
    let _held = [first, first + 5].map(|port| UdpSocket::bind(("127.0.0.1", port)).unwrap());
    let range = [
        "-min_rtp_port".into(),
        first.to_string(),
        "-max_rtp_port".into(),
        (first + 7).to_string(),
    ];
    let range = range.each_ref().map(String::as_str);
    let (file, remote) = (caller(&scratch, TALK), peer.address().to_string());
    let line = ["-sf", &file, "-i", "127.0.0.1", "-p", "0", "-m", "6", "-l", "2", "-r", "100"];
    let run = gossipper::start(&[&line[..], &range, &[&remote]].concat());
    let mut advertised = BTreeSet::new();
    for _ in 0..6 {
        let invite = peer.receive_kind("INVITE");
        advertised.insert(phone::audio_address(&invite).port());
        peer.answer(&invite, "486 Busy Here", "");
        peer.receive_kind("ACK");
    }
    assert_eq!(advertised, BTreeSet::from([first + 2, first + 6]));
    let over = run.finish().expect_code(1);
    assert_eq!(over.summary().failed_by("no_media_port"), 0);
}

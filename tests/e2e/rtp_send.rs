//! RTP without SIP: `-rtp_send`, with tshark as the judge and with another one as the peer.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::process::Signal;

use crate::harness::gossipper::{self, Over};
use crate::harness::phone::Phone;
use crate::harness::scratch::Scratch;
use crate::harness::{lock, ports};
use crate::media::{media, port_range, tshark};

/// The last line of stdout: how many streams there were, and their packets.
#[track_caller]
fn last_line(over: &Over) -> BTreeMap<String, u64> {
    let text = over.finished.stdout.trim_end();
    let line = text.lines().last().unwrap_or_default();
    let pair = |word: &str| {
        let (key, value) = word.split_once('=')?;
        Some((key.to_owned(), value.parse().ok()?))
    };
    let pairs: Option<BTreeMap<String, u64>> = line.split(' ').map(pair).collect();
    pairs.unwrap_or_else(|| panic!("{line:?} is no line of streams: {text}"))
}

/// The packets that came to `port`, by the port of their stream: sequence, timestamp, payload type
/// and SSRC.
#[track_caller]
fn streams_to(capture: &Path, port: u16) -> BTreeMap<u16, Vec<(u64, u32, u8, String)>> {
    let decode = format!("udp.port=={port},rtp");
    let filter = format!("rtp && udp.dstport=={port}");
    let fields = ["udp.srcport", "rtp.seq", "rtp.timestamp", "rtp.p_type", "rtp.ssrc"];
    let mut args = vec!["-d", decode.as_str(), "-Y", filter.as_str(), "-T", "fields"];
    args.extend(fields.iter().flat_map(|field| ["-e", field]));
    let mut streams: BTreeMap<u16, Vec<_>> = BTreeMap::new();
    for line in tshark(capture, 1, &args) {
        let columns: Vec<&str> = line.split('\t').collect();
        let packet = (
            columns[1].parse().unwrap(),
            columns[2].parse().unwrap(),
            columns[3].parse().unwrap(),
            columns[4].to_owned(),
        );
        streams.entry(columns[0].parse().unwrap()).or_default().push(packet);
    }
    streams
}

#[test]
fn tshark_sees_the_streams_that_the_options_say() {
    let _turn = lock::light();
    let sink = Phone::new();
    let target = format!("127.0.0.1:{}", sink.audio_port());
    let range = port_range(4);
    let range = range.each_ref().map(String::as_str);
    let line = ["-rtp_send", "-rtp_addr", &target, "-rtp_streams", "4", "-rtp_dur", "1000"];
    let format = ["-rtp_codec", "PCMA/8000", "-rtp_freq", "40", "-rtcp_interval", "300"];
    let over = gossipper::run(&[&line[..], &format, &range].concat()).expect_code(0);
    let scratch = Scratch::new();
    let capture = scratch.join("rtp.pcap");
    sink.into_capture().write(&capture);

    let streams = streams_to(&capture, target[10..].parse().unwrap());
    let said = last_line(&over);
    let sent: usize = streams.values().map(Vec::len).sum();
    assert_eq!((said["streams"], said["sent"]), (4, sent as u64));
    assert_eq!((said["octets"], said["received"], said["lost"]), (320 * sent as u64, 0, 0));
    over.summary().expect_all_succeeded(4);
    assert_eq!(media(over.summary(), "rtp_packets_sent"), sent as u64);
    assert_eq!(streams.len(), 4);
    let mut ssrcs = Vec::new();
    for packets in streams.values() {
        assert!((24..=26).contains(&packets.len()), "{packets:?}");
        for pair in packets.windows(2) {
            let ((sequence, timestamp, ..), (next, later, ..)) = (&pair[0], &pair[1]);
            assert_eq!((sequence + 1) % 65_536, next % 65_536);
            assert_eq!(later.wrapping_sub(*timestamp), 320);
        }
        let (.., ssrc) = &packets[0];
        assert!(packets.iter().all(|(.., payload_type, own)| (*payload_type, own) == (8, ssrc)));
        ssrcs.push(ssrc.clone());
    }
    ssrcs.dedup();
    assert_eq!(ssrcs.len(), 4);
    // Each stream says good-bye by RTCP.
    let reports = ["-Y", "rtcp.pt==203", "-T", "fields", "-e", "frame.number"];
    let decode = format!("udp.port=={},rtcp", sink_rtcp(&target));
    let farewells = tshark(&capture, 1, &[&["-d", decode.as_str()][..], &reports].concat());
    assert_eq!(farewells.len(), 4, "{farewells:?}");
}

/// The port behind that of a target.
fn sink_rtcp(target: &str) -> u16 {
    target[10..].parse::<u16>().unwrap() + 1
}

#[test]
fn two_ends_without_sip_hear_each_other_on_one_port_each() {
    let _turn = lock::light();
    let [first, second] = [ports::free_range(2), ports::free_range(2)];
    let end = |own: u16, other: u16| {
        let (own, next, target) =
            (own.to_string(), (own + 1).to_string(), format!("127.0.0.1:{other}"));
        let line = ["-rtp_send", "-rtp_addr", &target, "-rtp_streams", "20", "-rtp_dur", "3000"];
        let place = ["-i", "127.0.0.1", "-rtp_shared", "-workers", "1", "-r", "1000"];
        let range = ["-min_rtp_port", &own, "-max_rtp_port", &next];
        gossipper::start(&[&line[..], &place, &range, &["-rtcp_interval", "500"]].concat())
    };
    let (one, other) = (end(first, second), end(second, first));
    for over in [one.finish(), other.finish()] {
        let over = over.expect_code(0);
        let summary = over.summary();
        summary.expect_all_succeeded(20);
        let text = format!("{:#}", summary.0["media"]);
        assert_eq!(media(summary, "heard/two_way"), 20, "{text}");
        assert_eq!(summary.0["media"]["mode"], "shared");
        assert_eq!(media(summary, "rtp_packets_lost"), 0, "{text}");
        let said = last_line(&over);
        assert_eq!(said["received"], media(summary, "rtp_packets_received"));
        assert!(said["received"] >= 20 * 50, "{text}");
    }
}

#[test]
fn streams_without_end_end_well_when_the_run_is_interrupted() {
    let _turn = lock::light();
    let sink = Phone::new();
    let target = format!("127.0.0.1:{}", sink.audio_port());
    let range = port_range(2);
    let range = range.each_ref().map(String::as_str);
    let line = ["-rtp_send", "-rtp_addr", &target, "-rtp_streams", "2", "-r", "1000"];
    let mut run = gossipper::start(&[&line[..], &range, &["-stat_period", "100ms"]].concat());
    // The line of figures says that both streams have begun.
    run.wait_for_stderr("calls=2 ");
    run.signal(Signal::INT);
    let over = run.finish().expect_code(0);
    over.summary().expect_all_succeeded(2);
    assert_eq!(last_line(&over)["streams"], 2);
}

#[test]
fn values_that_cannot_be_are_refused_before_the_first_packet() {
    let target = ["-rtp_send", "-rtp_addr", "127.0.0.1:9"];
    for (more, part) in [
        (&["-rtp_streams", "0"][..], "-rtp_streams"),
        (&["-rtp_streams", "99999999999"], "-rtp_streams"),
        (&["-rtp_streams", "4000000000"], "-rtp_streams"),
        (&["-rtp_streams", "100", "-max_rtp_port", "6009"], "lower -rtp_streams"),
        (&["-rtp_codec", "MP3"], "-rtp_codec"),
        (&["-rtp_freq", "7"], "-rtp_freq"),
        (&["-rtp_source", "no-such.wav"], "no-such.wav"),
        (&["-sn", "uac"], "-rtp_send and -sn exclude each other"),
    ] {
        let over = gossipper::run(&[&target[..], more].concat()).expect_code(255);
        let text = &over.finished.stderr;
        assert!(text.contains(part), "{more:?}: {text}");
    }
}

//! Calls with media beside programs that know nothing of us: baresip and rtpengine, from Debian.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::baresip::Baresip;
use crate::harness::rtpengine::{Border, Rtpengine};
use crate::harness::scratch::Scratch;
use crate::harness::summary::Summary;
use crate::harness::{gossipper, lock, ports};

/// A caller without media between its ACK and its BYE.
const CALLER: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/scenarios/media_uac.xml"));
/// A key of SRTP for its description.
const KEY: &str = "a=crypto:[cryptotag1audio] [cryptosuiteaescm128sha1801audio] \
                   inline:[cryptokeyparams1audio]";

/// Writes `CALLER` with so much audio, and with a key if its audio is to be protected.
fn caller(scratch: &Scratch, ms: u32, is_protected: bool) -> String {
    // What is on its way when it stops arrives before the BYE.
    let talk = format!(
        "<nop><action><exec rtp_stream=\"synthetic\"/></action></nop>
        <pause milliseconds=\"{ms}\"/>
        <nop><action><exec rtp_stream=\"stop\"/></action></nop>
        <pause milliseconds=\"200\"/>"
    );
    let mut text = CALLER.replace("<!-- media -->", &talk);
    if is_protected {
        let last = "a=fmtp:101 0-15";
        text = text.replace(last, &format!("{last}\n      {KEY}"));
        text = text.replace("RTP/AVP", "RTP/SAVP");
    }
    scratch.write("media_uac.xml", &text)
}

/// The options of a range of ports for one call.
fn port_range() -> [String; 4] {
    let first = ports::free_range(2);
    ["-min_rtp_port".into(), first.to_string(), "-max_rtp_port".into(), (first + 1).to_string()]
}

/// A count below `media`.
fn media(summary: &Summary, key: &str) -> u64 {
    summary.number(&format!("/media/{key}"))
}

/// A call to baresip. It reports every five seconds, so that the call is longer than that.
#[track_caller]
fn baresip_and_we_hear_each_other(parameters: &str, is_protected: bool) {
    let _turn = lock::light();
    let mut baresip = Baresip::start(parameters);
    let scratch = Scratch::new();
    let file = caller(&scratch, 6000, is_protected);
    let (range, remote) = (port_range(), baresip.address().to_string());
    let range = range.each_ref().map(String::as_str);
    let line = ["-sf", &file, "-s", "bob", "-i", "127.0.0.1", "-p", "0", "-m", "1", &remote];
    let over = gossipper::run(&[&line[..], &range].concat()).expect_code(0);
    let summary = over.summary();
    summary.expect_all_succeeded(1);
    let text = format!("{:#}", summary.0["media"]);
    assert_eq!(media(summary, "heard/two_way"), 1, "{text}");
    // It opens a way for reports with a lonely APP, before it has keys, and its BYE stands first:
    // both are no compounds of RTCP (RFC 3550 section 6.1).
    let malformed = summary.0["media"]["malformed"].as_object().expect("counts by cause");
    let malformed: u64 = malformed.values().filter_map(Value::as_u64).sum();
    assert!(malformed <= 2, "{text}");
    assert_eq!(media(summary, "rtp_packets_lost"), 0, "{text}");
    let theirs = baresip.figures();
    assert_eq!(theirs.packets[1], media(summary, "rtp_packets_sent"), "{theirs:?} {text}");
    assert_eq!(theirs.lost, [0, 0], "{theirs:?}");
    // It goes on until it gets the BYE.
    let received = media(summary, "rtp_packets_received");
    assert!(received >= 290 && theirs.packets[0].abs_diff(received) <= 5, "{theirs:?} {text}");
}

#[test]
fn baresip_and_we_hear_each_other_in_the_clear() {
    baresip_and_we_hear_each_other("", false);
}

#[test]
fn baresip_and_we_hear_each_other_through_srtp() {
    baresip_and_we_hear_each_other(";mediaenc=srtp-mand", true);
}

#[test]
fn rtpengine_counts_the_packets_that_we_count_and_what_it_drops_is_our_loss() {
    let _turn = lock::light();
    let engine = Arc::new(Rtpengine::start());
    let ranges = [port_range(), port_range()];
    let [ours, theirs] = ranges.each_ref().map(|range| range.each_ref().map(String::as_str));
    let line = ["-sn", "uas_media", "-i", "127.0.0.1", "-m", "1"];
    let (server, address) = gossipper::serve(&[&line[..], &theirs].concat());
    let border = Border::start(&engine, address);
    let scratch = Scratch::new();
    let (file, remote) = (caller(&scratch, 3000, false), border.address().to_string());
    let line = ["-sf", &file, "-i", "127.0.0.1", "-p", "0", "-m", "1", &remote];
    let mut client = gossipper::start(&[&line[..], &ours].concat());
    let call = client.process().wait_until("answered call", || border.answered());
    thread::sleep(Duration::from_millis(1000));
    engine.ask("block media", &call, &[]);
    thread::sleep(Duration::from_millis(300));
    engine.ask("unblock media", &call, &[]);
    let relayed = client.process().wait_until("end of the audio", || {
        let before = engine.packets(&call)[0];
        thread::sleep(Duration::from_millis(100));
        let packets = engine.packets(&call);
        (packets[0] > 0 && packets[0] == before).then_some(packets)
    });
    let (client, server) = (client.finish().expect_code(0), server.finish().expect_code(0));
    let (ours, theirs) = (client.summary(), server.summary());
    let text = format!("{relayed:?} {:#} {:#}", ours.0["media"], theirs.0["media"]);
    for summary in [ours, theirs] {
        summary.expect_all_succeeded(1);
        assert_eq!(media(summary, "heard/two_way"), 1, "{text}");
    }
    let sent = media(ours, "rtp_packets_sent");
    assert_eq!(relayed[0], sent, "{text}");
    let lost = media(theirs, "rtp_packets_lost");
    assert_eq!(sent - media(theirs, "rtp_packets_received"), lost, "{text}");
    assert!(lost >= 5, "{text}");
    // The answerer goes on after the last look.
    assert!(media(ours, "rtp_packets_received") >= relayed[1], "{text}");
    assert_eq!(media(ours, "rtp_packets_lost"), 0, "{text}");
}

//! Calls whose streams are protected by DTLS and connected by ICE: our two ends, and a browser.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::harness::browser::{Browser, Tab};
use crate::harness::peer::{Peer, Received};
use crate::harness::scratch::Scratch;
use crate::harness::summary::Summary;
use crate::harness::{gossipper, lock, ports};

const CALLS: u64 = 5;

fn number(summary: &Summary, key: &str) -> u64 {
    summary.number(&format!("/media/{key}"))
}

/// The options of a range of ports for all calls.
fn port_range() -> [String; 4] {
    let first = ports::free_range(4 * CALLS as u16);
    let last = first + 4 * CALLS as u16 - 1;
    ["-min_rtp_port".into(), first.to_string(), "-max_rtp_port".into(), last.to_string()]
}

/// Lets a built-in caller call a built-in answerer, and checks that they heard each other.
#[track_caller]
fn meet(caller: &str, callee: &str, flags: [&[&str]; 2]) {
    let _turn = lock::load();
    let load = ["-i", "127.0.0.1", "-m", "5", "-l", "5"];
    let [ours, theirs] = [port_range(), port_range()];
    let [ours, theirs] = [&ours, &theirs].map(|range| range.each_ref().map(String::as_str));
    let server = [&["-sn", callee], &load[..], &theirs, flags[1]].concat();
    let (server, address) = gossipper::serve(&server);
    let remote = address.to_string();
    let line = [&["-sn", caller, "-p", "0", "-r", "10"], &load[..], &ours, flags[0], &[&remote]];
    let client = gossipper::run(&line.concat()).expect_code(0);
    let server = server.finish().expect_code(0);
    for side in [client.summary(), server.summary()] {
        side.expect_all_succeeded(CALLS);
        let text = format!("{caller} calls {callee}: {:#}", side.0["media"]);
        assert_eq!(number(side, "heard/two_way"), CALLS, "{text}");
        assert_eq!(number(side, "handshakes/completed"), CALLS, "{text}");
        assert_eq!(number(side, "handshakes/duration/count"), CALLS, "{text}");
        assert_eq!(side.0.pointer("/media/handshakes/faults"), Some(&json!({})), "{text}");
        assert!(number(side, "rtp_packets_received") > CALLS * 100, "{text}");
    }
}

#[test]
fn calls_with_the_descriptions_of_a_browser_hear_each_other() {
    meet("webrtc_uac", "webrtc_uas", [&[], &[]]);
}

#[test]
fn any_answerer_answers_dtls_and_ice_and_both_sides_log_the_same_keys() {
    let scratch = Scratch::new();
    let logs = ["caller.keys", "callee.keys"].map(|name| scratch.join(name));
    // Whoever could read an older file cannot read the keys.
    fs::write(&logs[0], "older\n").unwrap();
    fs::set_permissions(&logs[0], fs::Permissions::from_mode(0o644)).unwrap();
    let [ours, theirs] = logs.each_ref().map(|path| path.to_str().unwrap());
    let flags = [&["-srtp_keylog", ours][..], &["-srtp_keylog", theirs]];
    meet("invite_media_savpf", "uas_media", flags);
    let [ours, theirs] = logs.map(|path| {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::read_to_string(&path).unwrap()
    });
    // Source, destination, SSRC, suite, key, Call-ID.
    let streams = |text: &str| -> BTreeSet<Vec<String>> {
        let words = text.lines().map(|line| line.split(' ').map(str::to_owned).collect());
        words.map(|words: Vec<String>| [&words[..2], &words[3..]].concat()).collect()
    };
    assert_eq!(streams(&ours).len(), 2 * CALLS as usize, "{ours}");
    assert_eq!(streams(&ours), streams(&theirs));
}

#[test]
fn streams_that_share_a_port_are_refused_before_the_run() {
    let line = ["-sn", "webrtc_uas", "-i", "127.0.0.1", "-p", "0", "-rtp_shared", "-m", "1"];
    let over = gossipper::run(&line);
    assert!(over.summary.is_none());
    let said = over.finished.stderr;
    for part in ["webrtc_uas", "a port each", "-rtp_shared"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// A page with a connection of its own, which plays a tone and hears what comes.
const PAGE: &str = "data:text/html,<audio autoplay></audio>";
const SCRIPT: &str = "
    const context = new AudioContext();
    const tone = context.createOscillator();
    const out = context.createMediaStreamDestination();
    tone.connect(out);
    tone.start();
    window.pc = new RTCPeerConnection();
    pc.addTrack(out.stream.getAudioTracks()[0], out.stream);
    pc.ontrack = event => {
        document.querySelector('audio').srcObject = new MediaStream([event.track]);
    };
    window.description = async () => {
        while (pc.iceGatheringState !== 'complete') {
            await new Promise(done => { pc.onicegatheringstatechange = done; });
        }
        return pc.localDescription.sdp;
    };
    window.heard = async () => {
        for (const report of (await pc.getStats()).values()) {
            if (report.type === 'inbound-rtp') {
                return { level: report.audioLevel, energy: report.totalAudioEnergy,
                    packets: report.packetsReceived, lost: report.packetsLost,
                    samples: report.totalSamplesReceived, concealed: report.concealedSamples };
            }
        }
        return null;
    };
    context.resume()";

/// A tab with that page.
fn page(browser: &Browser) -> Tab {
    let mut tab = browser.open(PAGE);
    // Sound needs somebody who has touched the page.
    let params = json!({ "expression": SCRIPT, "awaitPromise": true, "userGesture": true });
    let result = tab.call("Runtime.evaluate", params);
    assert!(result["exceptionDetails"].is_null(), "{result:#}");
    tab
}

/// The description that a script of the page makes.
fn description(tab: &mut Tab, script: &str) -> String {
    let text = tab.eval(&format!("(async () => {{ {script}; return description(); }})()"));
    text.as_str().expect("a description").to_owned()
}

/// Waits until the page has heard a tone in so many packets.
fn until_heard(tab: &mut Tab, packets: u32) {
    let has_heard = format!("h !== null && h.energy > 0.01 && h.packets > {packets}");
    tab.until("audio in the page", &format!("heard().then(h => {has_heard})"));
    let heard = tab.eval("heard()");
    assert!(heard["level"].as_f64() > Some(0.05), "{heard}");
    assert_eq!(heard["lost"], 0, "{heard}");
    // What is made up instead of audio is no audio.
    let share = heard["concealed"].as_f64().unwrap() / heard["samples"].as_f64().unwrap();
    assert!(share < 0.5, "{heard}");
}

fn with_body(message: &str, sdp: &str) -> String {
    let length = format!("Content-Type: application/sdp\r\nContent-Length: {}", sdp.len());
    message.replace("Content-Length: 0", &length) + sdp
}

fn body(message: &Received) -> &str {
    message.text.split_once("\r\n\r\n").expect("a whole message").1
}

#[track_caller]
fn expect_two_way(summary: &Summary) {
    summary.expect_all_succeeded(1);
    let text = format!("{:#}", summary.0["media"]);
    assert_eq!(number(summary, "heard/two_way"), 1, "{text}");
    assert_eq!(number(summary, "handshakes/completed"), 1, "{text}");
    assert!(number(summary, "rtp_packets_received") > 50, "{text}");
}

#[test]
fn a_browser_that_we_call_hears_us_and_is_heard() {
    let _turn = lock::load();
    let browser = Browser::start_with(&["--allow-loopback-in-peer-connection"]);
    let mut tab = page(&browser);
    let peer = Peer::new();
    let range = port_range();
    let remote = peer.address().to_string();
    let line = ["-sn", "webrtc_uac", "-i", "127.0.0.1", "-p", "0", "-m", "1", &remote];
    let run = gossipper::start(&[&line[..], &range.each_ref().map(String::as_str)].concat());
    let invite = peer.receive();
    let answer = description(
        &mut tab,
        &format!(
            "await pc.setRemoteDescription({{ type: 'offer', sdp: {} }});
             await pc.setLocalDescription()",
            json!(body(&invite))
        ),
    );
    let contact = format!("Contact: <sip:page@{remote}>\r\n");
    let ok = with_body(&invite.response("200 OK", &contact), &answer);
    peer.send(invite.source, &ok);
    assert_eq!(peer.receive().kind(), "ACK");
    until_heard(&mut tab, 50);
    let bye = peer.receive();
    assert_eq!(bye.kind(), "BYE");
    peer.answer(&bye, "200 OK", "");
    expect_two_way(run.finish().expect_code(0).summary());
}

#[test]
fn a_browser_that_calls_us_hears_us_and_is_heard() {
    let _turn = lock::load();
    let browser = Browser::start_with(&["--allow-loopback-in-peer-connection"]);
    let mut tab = page(&browser);
    let range = port_range();
    let line = ["-sn", "webrtc_uas", "-i", "127.0.0.1", "-m", "1"];
    let line = [&line[..], &range.each_ref().map(String::as_str)].concat();
    let (run, address) = gossipper::serve(&line);
    let peer = Peer::new();
    let request = |method: &str, cseq: u32, tag: &str| {
        format!(
            "{method} sip:us@{address} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {local};branch=z9hG4bK{cseq}{method}\r\nFrom: <sip:page@{local}>;tag=p\r\n\
             To: <sip:us@{address}>{tag}\r\nCall-ID: page\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:page@{local}>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            local = peer.address()
        )
    };
    let offer = description(&mut tab, "await pc.setLocalDescription()");
    peer.send(address, with_body(&request("INVITE", 1, ""), &offer));
    let ok = peer.receive();
    assert_eq!(ok.kind(), "200", "{}", ok.text);
    let tag = ok.header("To").split_once(";tag=").map(|(_, tag)| format!(";tag={tag}")).unwrap();
    peer.send(address, request("ACK", 1, &tag));
    let script = format!(
        "pc.setRemoteDescription({{ type: 'answer', sdp: {} }}).then(() => true)",
        json!(body(&ok))
    );
    assert_eq!(tab.eval(&script), true);
    // Chromium reports what it hears after two seconds and a half.
    until_heard(&mut tab, 200);
    peer.send(address, request("BYE", 2, &tag));
    assert_eq!(peer.receive().kind(), "200");
    expect_two_way(run.finish().expect_code(0).summary());
}

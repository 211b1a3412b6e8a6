//! Our messages beside SIPp's for the same scenario: after ids and ports are replaced, the bytes
//! are equal.

use std::process::Command;

use crate::harness::peer::{Peer, Received};
use crate::harness::process::Process;
use crate::harness::scratch::Scratch;
use crate::harness::{gossipper, lock, ports, tools};

/// Answers the requests of the scenario; returns them.
fn play(peer: &Peer) -> Vec<Received> {
    let options = peer.receive_kind("OPTIONS");
    let extra = "Contact: <sip:42x@127.0.0.1:5099;ob>\r\n\
                 Record-Route: <sip:127.0.0.2;lr>, <sip:127.0.0.3;lr>\r\n\
                 X-Text: xabcd\r\nX-Twice: one\r\nX-Twice: two\r\n";
    peer.answer(&options, "200 OK", extra);
    let message = peer.receive_kind("MESSAGE");
    peer.answer(&message, "200 OK", "");
    let info = peer.receive_kind("INFO");
    peer.answer(&info, "200 OK", "");
    vec![options, message, info]
}

/// Replaces ids, the sender's port and process id, and the peer's port by words.
fn normalised(message: &Received, pid: u32, peer: u16) -> String {
    let mut text = message.text.clone();
    let call_id = message.header("Call-ID").to_owned();
    text = text.replace(&call_id, "CALL-ID");
    text = text.replace(&format!(":{}", message.source.port()), ":OURS");
    text = text.replace(&format!(":{peer}"), ":PEER");
    text = text.replace(&format!("tag={pid}SIPp"), "tag=PIDSIPp");
    // Each program has its own form of branch and its own media port.
    let lines: Vec<String> = text.split("\r\n").map(without_branch).collect();
    lines.join("\r\n")
}

fn without_branch(line: &str) -> String {
    if let Some(rest) = line.strip_prefix("m=audio ") {
        let port = rest.split(' ').next().unwrap_or_default();
        assert!(port.parse::<u16>().is_ok(), "{line}");
        return line.replacen(port, "PORT", 1);
    }
    match line.find("z9hG4bK") {
        Some(at) => format!("{}BRANCH", &line[..at]),
        None => line.to_owned(),
    }
}

#[test]
fn the_bytes_are_those_of_sipp() {
    let _turn = lock::light();
    tools::need("sipp");
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/scenarios/bytes.xml");
    let keys = ["-key", "mykey", "my value", "-key", "nothing", ""];
    let common = ["-sf", scenario, "-i", "127.0.0.1", "-m", "1", "-s", "some.body"];

    let peer = Peer::new();
    let (port, remote) = (ports::free().to_string(), peer.address().to_string());
    let scratch = Scratch::new();
    let mut command = Command::new("sipp");
    command.args(common).args(keys).args(["-p", &port, &remote, "-nostdin", "-timeout", "60"]);
    command.env("TERM", "dumb").current_dir(scratch.path());
    let sipp = Process::spawn(command);
    let pid = sipp.id();
    let theirs: Vec<String> =
        play(&peer).iter().map(|message| normalised(message, pid, peer.address().port())).collect();
    sipp.finish().expect_code(0);

    let peer = Peer::new();
    let (port, remote) = (ports::free().to_string(), peer.address().to_string());
    let line = [&common[..], &keys, &["-p", &port, &remote]].concat();
    let client = gossipper::start(&line);
    let pid = client.id();
    let ours: Vec<String> =
        play(&peer).iter().map(|message| normalised(message, pid, peer.address().port())).collect();
    client.finish().expect_code(0).summary().expect_all_succeeded(1);

    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
}

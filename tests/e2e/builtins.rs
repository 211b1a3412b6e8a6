//! Built-in scenarios beside SIPp's own: each is known, ours run under SIPp, and all combinations
//! of caller and answerer get along.

use std::process::Command;

use ::gossipper::scenario::{self, compile};

use crate::harness::peer::Peer;
use crate::harness::scratch::Scratch;
use crate::harness::{gossipper, lock, ports, sipp, tools};

/// The output of SIPp for `-sd NAME`; SIPp exits with 99.
fn dumped_by_sipp(name: &str) -> String {
    tools::need("sipp");
    let output = Command::new("sipp").args(["-sd", name]).output().expect("sipp starts");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("<scenario"), "{name}: {text}");
    text[text.find("<?xml").expect("an XML file")..].to_owned()
}

#[test]
fn sipps_own_scenarios_compile_or_are_refused_for_what_is_missing() {
    let names = ["uac", "uas", "regexp", "branchc", "branchs", "ooc_default", "ooc_dummy"];
    for name in names.into_iter().chain(["uac_pcap"]) {
        compile(&dumped_by_sipp(name), name, &[]).unwrap_or_else(|error| panic!("{error}"));
    }
    // The rest is third-party call control: known, or refused by name.
    for name in ["3pcc-A", "3pcc-B", "3pcc-C-A", "3pcc-C-B"] {
        if let Err(error) = compile(&dumped_by_sipp(name), name, &[]) {
            assert!(error.message.contains("third-party call control"), "{error}");
        }
    }
}

#[test]
fn every_builtin_of_sipp_has_a_name_here() {
    let names = ["uac", "uas", "regexp", "branchc", "branchs", "ooc_default", "ooc_dummy"];
    for name in names.into_iter().chain(["uac_pcap"]) {
        assert!(scenario::builtin(name).is_some(), "{name}");
    }
}

/// The program of a side, and its scenario.
#[derive(Clone, Copy)]
enum Player {
    /// Our built-in, played by us.
    Ours(&'static str),
    /// SIPp's text, played by us.
    Theirs(&'static str),
    /// Our built-in's text, played by SIPp.
    OursOnSipp(&'static str),
    /// SIPp's built-in, played by SIPp.
    Sipp(&'static str),
}

impl Player {
    fn is_sipp(self) -> bool {
        matches!(self, Self::OursOnSipp(_) | Self::Sipp(_))
    }

    /// The options that choose the scenario.
    fn scenario(self, scratch: &Scratch) -> [String; 2] {
        match self {
            Self::Ours(name) | Self::Sipp(name) => ["-sn".to_owned(), name.to_owned()],
            Self::Theirs(name) => {
                let file = scratch.write(&format!("sipp-{name}.xml"), &dumped_by_sipp(name));
                ["-sf".to_owned(), file]
            }
            Self::OursOnSipp(name) => {
                let text = scenario::builtin(name).expect("a built-in").text;
                ["-sf".to_owned(), scratch.write(&format!("our-{name}.xml"), text)]
            }
        }
    }
}

/// `calls` calls from one player to the other; all succeed on both sides.
fn play(caller: Player, answerer: Player, calls: u64) {
    let scratch = Scratch::new();
    let calls_text = calls.to_string();
    let common = ["-i", "127.0.0.1", "-m", &calls_text];
    let [caller_args, answerer_args] = [caller, answerer].map(|player| player.scenario(&scratch));
    let args = |chosen: &[String; 2], more: &[&str]| -> Vec<String> {
        let more = common.iter().chain(more).map(|&arg| arg.to_owned());
        chosen.iter().cloned().chain(more).collect()
    };
    let as_str = |args: &[String]| -> Vec<&'static str> {
        // A test's few arguments may live for the whole process.
        args.iter().map(|arg| &*Box::leak(arg.clone().into_boxed_str())).collect()
    };
    let server_args = as_str(&args(&answerer_args, &[]));
    let (sipp_server, our_server, port) = if answerer.is_sipp() {
        let port = ports::free();
        (Some(sipp::serve(port, &server_args)), None, port)
    } else {
        let (server, address) = gossipper::serve(&server_args);
        (None, Some(server), address.port())
    };
    let remote = format!("127.0.0.1:{port}");
    if caller.is_sipp() {
        let own_port = ports::free().to_string();
        let line = as_str(&args(&caller_args, &["-r", "20", "-p", &own_port, &remote]));
        sipp::start(&line).finish().expect_all_succeeded(calls);
    } else {
        let line = as_str(&args(&caller_args, &["-r", "20", "-p", "0", &remote]));
        let client = gossipper::run(&line).expect_code(0);
        client.summary().expect_all_succeeded(calls);
    }
    if let Some(server) = sipp_server {
        server.finish().expect_all_succeeded(calls);
    }
    if let Some(server) = our_server {
        server.finish().expect_code(0).summary().expect_all_succeeded(calls);
    }
}

#[test]
fn ours_call_ours() {
    let _turn = lock::light();
    play(Player::Ours("regexp"), Player::Ours("uas"), 3);
    play(Player::Ours("branchc"), Player::Ours("branchs"), 30);
    play(Player::Ours("invite_media"), Player::Ours("uas_media"), 3);
}

#[test]
fn ours_call_sipp_and_sipp_calls_ours() {
    let _turn = lock::light();
    play(Player::Ours("regexp"), Player::Sipp("uas"), 3);
    play(Player::Ours("branchc"), Player::Sipp("branchs"), 30);
    play(Player::Sipp("regexp"), Player::Ours("uas"), 3);
    play(Player::Sipp("branchc"), Player::Ours("branchs"), 30);
}

#[test]
fn ours_run_under_sipp() {
    let _turn = lock::light();
    play(Player::OursOnSipp("uac"), Player::OursOnSipp("uas"), 3);
    play(Player::OursOnSipp("regexp"), Player::Sipp("uas"), 3);
    play(Player::OursOnSipp("branchc"), Player::OursOnSipp("branchs"), 30);
    play(Player::Ours("options"), Player::OursOnSipp("management"), 3);
}

#[test]
fn sipps_run_under_ours() {
    let _turn = lock::light();
    play(Player::Theirs("uac"), Player::Sipp("uas"), 3);
    play(Player::Sipp("uac"), Player::Theirs("uas"), 3);
    play(Player::Theirs("regexp"), Player::Sipp("uas"), 3);
    play(Player::Theirs("branchc"), Player::Sipp("branchs"), 30);
    play(Player::Sipp("branchc"), Player::Theirs("branchs"), 30);
}

#[test]
fn the_options_server_refuses_what_it_does_not_do() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "management", "-i", "127.0.0.1", "-m", "5"]);
    let peer = Peer::new();
    let request = |method: &str, number: u32| {
        format!(
            "{method} sip:probe@{address} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {};branch=z9hG4bKoptions{number}\r\n\
             From: <sip:probe@127.0.0.1>;tag=1\r\nTo: <sip:probe@{address}>\r\n\
             Call-ID: {number}@probe\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n\
             Content-Length: 0\r\n\r\n",
            peer.address()
        )
    };
    let expected = [
        ("OPTIONS", "200", "OPTIONS"),
        ("INVITE", "405", "OPTIONS"),
        ("REGISTER", "405", "OPTIONS"),
        ("BYE", "481", ""),
        ("FROBNICATE", "501", "OPTIONS"),
    ];
    for (number, (method, code, allow)) in (1..).zip(expected) {
        // Sent twice, like by a peer that hears nothing: both answers are alike.
        let times = if code == "200" { 1 } else { 2 };
        for _ in 0..times {
            peer.send(address, request(method, number));
            let answer = peer.receive();
            let cseq = format!("1 {method}");
            assert_eq!((answer.kind(), answer.header("Allow")), (code, allow), "{method}");
            assert_eq!(answer.header("CSeq"), cseq);
        }
    }
    peer.send(address, request("ACK", 2));
    server.finish().expect_code(0).summary().expect_all_succeeded(5);
}

/// A file with a built-in scenario of media whose descriptions also have a key of SRTP. Its calls
/// last for a second.
fn protected(scratch: &Scratch, name: &str) -> String {
    const KEY: &str = "\n      a=crypto:[cryptotag1audio] [cryptosuiteaescm128sha1801audio] \
                       inline:[cryptokeyparams1audio]";
    let mut text = scenario::builtin(name).expect("a built-in").text.to_owned();
    for last in ["a=rtpmap:8 PCMA/8000", "[audio_sdp]"] {
        text = text.replace(last, &format!("{last}{KEY}"));
    }
    text = text.replace("timeout=\"10000\"", "timeout=\"1000\"");
    text = text.replace("timewait milliseconds=\"1000\"", "timewait milliseconds=\"300\"");
    scratch.write(&format!("{name}.xml"), &text)
}

#[test]
fn protected_media_is_heard_and_can_be_refused() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let [caller, answerer] = ["uac_media", "uas_media"].map(|name| protected(&scratch, name));
    let call = |calls: &str, flags: &[&str]| {
        let load = ["-i", "127.0.0.1", "-m", calls];
        let line = [&["-sf", &answerer], &load[..]].concat();
        let (server, address) = gossipper::serve(&line);
        let remote = address.to_string();
        let line = ["-sf", &caller, "-p", "0", "-r", "20", &remote];
        (gossipper::start(&[&line[..], &load, flags].concat()), server)
    };
    let (refusing, deaf) = call("1", &["-media_reject_srtp"]);
    let (client, server) = call("3", &[]);
    for over in [client.finish().expect_code(0), server.finish().expect_code(0)] {
        let summary = over.summary();
        summary.expect_all_succeeded(3);
        assert_eq!(summary.number("/media/heard/two_way"), 3, "{:#}", summary.0);
        assert_eq!(
            summary.0["media"]["malformed"],
            serde_json::json!({}),
            "{:#}",
            summary.0["media"]
        );
    }
    assert_eq!(refusing.finish().expect_code(1).summary().failed_by("srtp_failed"), 1);
    drop(deaf);
}

//! The messages of a call, byte for byte: the same under every I/O driver with the same `-seed`,
//! and the same as those committed in `tests/golden`.

use crate::golden_file::compare;
use crate::harness::peer::{Peer, Received};
use crate::harness::{gossipper, lock, ports};

const DRIVERS: [&str; 2] = ["uring", "syscall"];
const SEED: &[&str] = &["-seed", "4711", "-i", "127.0.0.1"];

/// Replaces the parts that differ from run to run: the process id and the ports.
fn normalised(messages: &[String], pid: u32, ours: u16, peers: u16) -> String {
    let mut text = messages.join("--------\n");
    text = text.replace(&format!("{pid}SIPpTag"), "PIDSIPpTag");
    text = text.replace(&format!(":{ours}"), ":PORT").replace(&format!(":{peers}"), ":PEER");
    text.replace("\r\n", "\n")
}

/// One call of our client with a peer that plays `play`; returns all that the client sent.
fn calling(driver: &str, exit_code: i32, play: impl Fn(&Peer) -> Vec<Received>) -> String {
    let peer = Peer::new();
    let (port, remote) = (ports::free(), peer.address().to_string());
    let port_text = port.to_string();
    let line = ["-sn", "uac", "-io", driver, "-p", &port_text, &remote];
    let client = gossipper::start(&[&line, SEED].concat());
    let pid = client.id();
    let messages: Vec<String> = play(&peer).into_iter().map(|message| message.text).collect();
    client.finish().expect_code(exit_code);
    normalised(&messages, pid, port, peer.address().port())
}

/// One call to our server by a peer; returns all that the server sent.
fn called(driver: &str) -> String {
    let (server, address) =
        gossipper::serve(&[&["-sn", "uas", "-io", driver, "-m", "1"], SEED].concat());
    let pid = server.id();
    let peer = Peer::new();
    let request = |method: &str, cseq: u32, to_tag: &str| {
        let (host, port) = (address, peer.address().port());
        format!(
            "{method} sip:service@{host} SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK-{method}\r\n\
             From: caller <sip:caller@127.0.0.1:{port}>;tag=caller\r\n\
             To: service <sip:service@{host}>{to_tag}\r\n\
             Call-ID: transcript@127.0.0.1\r\n\
             CSeq: {cseq} {method}\r\n\
             Contact: <sip:caller@127.0.0.1:{port}>\r\n\
             Max-Forwards: 70\r\n\
             Content-Length: 0\r\n\r\n"
        )
    };
    peer.send(address, request("INVITE", 1, ""));
    let ringing = peer.receive_kind("180");
    let answer = peer.receive_kind("200");
    let tag = answer.header("To").split_once(";tag=").expect("the server has a tag").1.to_owned();
    let tag = format!(";tag={tag}");
    peer.send(address, request("ACK", 1, &tag));
    peer.send(address, request("BYE", 2, &tag));
    // A repeated 200 of the INVITE may have crossed the ACK.
    let end = std::iter::repeat_with(|| peer.receive_kind("200"))
        .find(|message| message.header("CSeq") == "2 BYE")
        .expect("the iterator has no end");
    server.finish().expect_code(0).summary().expect_all_succeeded(1);
    let messages = [ringing, answer, end].map(|message| message.text);
    normalised(&messages, pid, address.port(), peer.address().port())
}

fn answered(peer: &Peer) -> Vec<Received> {
    let invite = peer.receive_kind("INVITE");
    peer.answer(&invite, "100 Trying", "");
    peer.answer(&invite, "180 Ringing", "");
    peer.answer(&invite, "200 OK", "Contact: <sip:peer@127.0.0.1>\r\n");
    let ack = peer.receive_kind("ACK");
    let bye = peer.receive_kind("BYE");
    peer.answer(&bye, "200 OK", "");
    vec![invite, ack, bye]
}

fn refused(peer: &Peer) -> Vec<Received> {
    let invite = peer.receive_kind("INVITE");
    peer.answer(&invite, "486 Busy Here", "");
    vec![invite, peer.receive_kind("ACK")]
}

#[test]
fn an_answered_call_of_ours() {
    let _turn = lock::light();
    for driver in DRIVERS {
        compare("tests/golden/transcript_uac.txt", &calling(driver, 0, answered));
    }
}

#[test]
fn a_refused_call_of_ours() {
    let _turn = lock::light();
    for driver in DRIVERS {
        compare("tests/golden/transcript_uac_refused.txt", &calling(driver, 1, refused));
    }
}

#[test]
fn a_call_to_us() {
    let _turn = lock::light();
    for driver in DRIVERS {
        compare("tests/golden/transcript_uas.txt", &called(driver));
    }
}

#[test]
fn another_seed_changes_the_ids() {
    let _turn = lock::light();
    let peer = Peer::new();
    let remote = peer.address().to_string();
    let call_ids = ["1", "2"].map(|seed| {
        let client = gossipper::start(&["-sn", "uac", "-p", "0", "-seed", seed, &remote]);
        let messages = answered(&peer);
        client.finish().expect_code(0);
        messages[0].header("Call-ID").to_owned()
    });
    assert_ne!(call_ids[0], call_ids[1]);
}

#[test]
fn a_retransmission_is_the_message_again() {
    let _turn = lock::light();
    let peer = Peer::new();
    let remote = peer.address().to_string();
    let client = gossipper::start(&["-sn", "uac", "-p", "0", &remote]);
    let [first, second, third] = [(); 3].map(|()| peer.receive());
    assert_eq!((&first, &second), (&second, &third));
    peer.answer(&first, "200 OK", "");
    let bye = peer.receive_kind("BYE");
    let again = peer.receive_kind("BYE");
    assert_eq!(bye, again);
    peer.answer(&bye, "200 OK", "");
    let summary = client.finish().expect_code(0);
    assert!(summary.summary().counter("retransmissions_sent") >= 3);
    summary.summary().expect_all_succeeded(1);
}

#[test]
fn a_repeated_final_response_gets_the_ack_again() {
    let _turn = lock::light();
    let peer = Peer::new();
    let remote = peer.address().to_string();
    // The call is held open, so that the repetition meets it.
    let client = gossipper::start(&["-sn", "uac", "-p", "0", "-d", "1s", &remote]);
    let invite = peer.receive_kind("INVITE");
    peer.answer(&invite, "200 OK", "");
    let ack = peer.receive_kind("ACK");
    peer.answer(&invite, "200 OK", "");
    assert_eq!(peer.receive_kind("ACK"), ack);
    let bye = peer.receive_kind("BYE");
    peer.answer(&bye, "200 OK", "");
    client.finish().expect_code(0).summary().expect_all_succeeded(1);
}

//! A run with two scenarios: one makes calls, the other answers what arrives meanwhile.

use crate::harness::peer::Peer;
use crate::harness::scratch::Scratch;
use crate::harness::{gossipper, lock, ports, sipp};

const REQUEST: &str = "OPTIONS sip:service@HERE SIP/2.0\r\n\
    Via: SIP/2.0/UDP THERE;branch=z9hG4bK-NUMBER\r\n\
    From: <sip:peer@THERE>;tag=1\r\n\
    To: <sip:service@HERE>\r\n\
    Call-ID: NUMBER@peer\r\n\
    CSeq: 1 OPTIONS\r\n\
    Max-Forwards: 70\r\n\
    Content-Length: 0\r\n\r\n";

fn request(peer: &Peer, to: std::net::SocketAddr, number: &str) -> String {
    let text = REQUEST.replace("HERE", &to.to_string());
    text.replace("THERE", &peer.address().to_string()).replace("NUMBER", number)
}

fn options(peer: &Peer, to: std::net::SocketAddr, number: &str) -> String {
    peer.send(to, request(peer, to, number));
    let answer = peer.receive();
    assert_eq!(answer.header("Call-ID"), format!("{number}@peer"));
    answer.first_line().to_owned()
}

#[test]
fn calls_are_made_and_answered_at_the_same_time() {
    let _turn = lock::light();
    let port = ports::free();
    let local = ["-i", "127.0.0.1"];
    let callee = sipp::serve(port, &[&["-sn", "uas", "-m", "200"], &local[..]].concat());
    let remote = format!("127.0.0.1:{port}");
    let line = ["-sn", "uac", "-rxrn", "uas", "-p", "0", "-m", "500", "-r", "50", "-d", "100ms"];
    let mut both = gossipper::start(&[&line, &local[..], &[&remote]].concat());
    let here = both.wait_until_listening().to_string();
    let caller_port = ports::free().to_string();
    let line = ["-sn", "uac", "-m", "300", "-r", "100", "-p", &caller_port];
    let caller = sipp::start(&[&line, &local[..], &[&here]].concat());
    caller.finish().expect_all_succeeded(300);
    callee.finish().expect_all_succeeded(200);
    let both = both.finish().expect_code(0);
    let summary = both.summary();
    summary.expect_all_succeeded(500);
    assert_eq!(summary.counter("calls_outgoing"), 200);
    assert_eq!(summary.counter("calls_incoming"), 300);
    assert_eq!(summary.counter("out_of_call_messages"), 0);
}

const ASKING: &str = r#"<scenario name="asking"><send retrans="500"><![CDATA[

    OPTIONS sip:[field0]@[remote_ip]:[remote_port] SIP/2.0
    Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
    From: <sip:us@[local_ip]>;tag=[call_number]
    To: <sip:[field0]@[remote_ip]>
    Call-ID: [call_id]
    CSeq: [cseq] OPTIONS
    Content-Length: 0

  ]]></send><recv response="200"/><pause milliseconds="300"/></scenario>"#;

const ANSWERING: &str = r#"<scenario name="answering"><recv request="OPTIONS"/><send><![CDATA[

    SIP/2.0 200 OK
    [last_Via:]
    [last_From:]
    [last_To:];tag=[call_number]
    [last_Call-ID:]
    [last_CSeq:]
    X-Rows: [field0] [field0 file="asking.csv" line=1]
    Content-Length: 0

  ]]></send></scenario>"#;

#[test]
fn each_scenario_reads_the_file_that_is_given_for_it() {
    let _turn = lock::light();
    let (scratch, callee, peer) = (Scratch::new(), Peer::new(), Peer::new());
    let asking = scratch.write("asking.xml", ASKING);
    let answering = scratch.write("answering.xml", ANSWERING);
    let own = scratch.write("asking.csv", "SEQUENTIAL\nanna\nben\n");
    let other = scratch.write("answering.csv", "SEQUENTIAL\nxenia\nyves\n");
    let remote = callee.address().to_string();
    let files = ["-sf", &asking, "-rxsf", &answering, "-inf", &own, "-rxinf", &other];
    let line = ["-i", "127.0.0.1", "-p", "0", "-m", "4", "-r", "20", "-l", "10", &remote];
    let mut run = gossipper::start(&[&files[..], &line].concat());
    let here = run.wait_until_listening();
    let mut called = Vec::new();
    for number in 0..2 {
        let message = callee.receive();
        callee.answer(&message, "200 OK", "");
        called.push(message.first_line().split([':', '@']).nth(1).unwrap_or_default().to_owned());
        peer.send(here, request(&peer, here, &number.to_string()));
        let rows = peer.receive();
        // Rows go by the number of the call, whichever side begins it.
        assert!(["xenia ben", "yves ben"].contains(&rows.header("X-Rows")), "{rows:?}");
    }
    assert!(called.iter().all(|name| name == "anna" || name == "ben"), "{called:?}");
    let over = run.finish().expect_code(0);
    over.summary().expect_all_succeeded(4);
    assert_eq!(over.summary().counter("calls_incoming"), 2);

    // Scenarios tell files apart by name: another one of that name would never be read.
    let elsewhere = Scratch::new();
    let third_party = elsewhere.write("asking.csv", "SEQUENTIAL\nzoe\n");
    let files = ["-sf", &asking, "-rxsf", &answering, "-inf", &own, "-rxinf", &third_party];
    let over = gossipper::run(&[&files[..], &["-m", "1", &remote]].concat()).expect_code(255);
    assert!(over.finished.stderr.contains("two injection files"), "{}", over.finished.stderr);
}

#[test]
fn what_belongs_to_no_call_is_answered_by_a_scenario_of_its_own() {
    let _turn = lock::light();
    let (callee, peer) = (Peer::new(), Peer::new());
    let remote = callee.address().to_string();
    let line = ["-sn", "uac", "-oocsn", "ooc_default", "-i", "127.0.0.1", "-p", "0", "-m", "1"];
    let mut run = gossipper::start(&[&line[..], &[&remote]].concat());
    let here = run.wait_until_listening();
    let invite = callee.receive();
    assert_eq!(options(&peer, here, "first"), "SIP/2.0 200 OK");
    assert_eq!(options(&peer, here, "second"), "SIP/2.0 200 OK");
    callee.answer(&invite, "486 Busy Here", "");
    assert_eq!(callee.receive().kind(), "ACK");
    let over = run.finish().expect_code(1);
    let summary = over.summary();
    assert_eq!(summary.counter("calls_outgoing"), 1);
    assert_eq!(summary.counter("out_of_call_messages"), 0);
    assert_eq!(summary.counter("auto_answered"), 2);
    assert_eq!(summary.counter("calls_incoming"), 2);
}

#[test]
fn a_second_scenario_must_fit() {
    let refused = |args: &[&str], why: &str| {
        let over = gossipper::run(args).expect_code(255);
        assert!(over.finished.stderr.contains(why), "{}", over.finished.stderr);
    };
    refused(&["-sn", "uas", "-rxrn", "uas"], "-rxsf needs a main scenario that makes calls");
    refused(&["-sn", "uac", "-rxrn", "uac", "127.0.0.1"], "begins with <send>");
    refused(
        &["-sn", "uac", "-rxrn", "uas", "-oocsn", "ooc_default", "127.0.0.1"],
        "every incoming call",
    );
    refused(&["-sn", "uac", "-rxsf", "missing.xml", "127.0.0.1"], "missing.xml");
}

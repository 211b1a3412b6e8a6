//! The content of messages, byte for byte, beside SIPp on the same scenario: lines with empty
//! values, and characters of any encoding.

use crate::harness::peer::Peer;
use crate::harness::scratch::Scratch;
use crate::harness::{gossipper, lock, ports, sipp};

/// Bytes that SIPp and we send behind the CSeq line for the message of a scenario; they must be
/// equal.
fn beside_sipp(scenario: &[u8], rows: &str) -> String {
    let scratch = Scratch::new();
    let path = scratch.path().join("message.xml").display().to_string();
    std::fs::write(&path, scenario).unwrap();
    let rows = scratch.write("rows.csv", rows);
    let fixed = ["-sf", &path, "-inf", &rows, "-i", "127.0.0.1", "-m", "1", "-s", "alice"];
    let behind_cseq = |text: &str| {
        let (_, rest) = text.split_once("CSeq: 1 OPTIONS\r\n").expect("the message has a CSeq");
        rest.to_owned()
    };
    let (peer, port) = (Peer::new(), ports::free().to_string());
    let remote = peer.address().to_string();
    let client = sipp::start(&[&fixed[..], &["-p", &port, &remote]].concat());
    let message = peer.receive();
    peer.answer(&message, "200 OK", "");
    client.finish().expect_all_succeeded(1);
    let theirs = behind_cseq(&message.text);
    let peer = Peer::new();
    let remote = peer.address().to_string();
    let client = gossipper::start(&[&fixed[..], &[&remote]].concat());
    let message = peer.receive();
    peer.answer(&message, "200 OK", "");
    client.finish().expect_code(0);
    let ours = behind_cseq(&message.text);
    assert_eq!(ours, theirs);
    ours
}

const BEGIN: &str = "\
<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>
<scenario name=\"message\">
  <nop><action>
    <assignstr assign_to=\"e\" value=\"\"/><assignstr assign_to=\"v\" value=\"X-V: 1\"/>
  </action></nop>
  <Reference variables=\"e,v\"/>
  <send retrans=\"500\"><![CDATA[
    OPTIONS sip:[service]@[remote_ip]:[remote_port] SIP/2.0
    Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
    From: <sip:a@[local_ip]>;tag=[call_number]
    To: <sip:b@[remote_ip]>
    Call-ID: [call_id]
    CSeq: 1 OPTIONS
";
const END: &str = "
  ]]></send>
  <recv response=\"200\"/>
</scenario>
";

#[test]
fn a_line_of_empty_values_is_left_out_and_every_other_line_stays() {
    const LINES: &str = "
    [$e]
    X-A: foo [last_X-None:] bar
    X-B: [last_X-None]
    [last_X-None:] X-C: 1
    [$e] [$e]
    [$e]X-D: 1
    [$v]
    [field1]
    [field0]
    [field1 line=0] [$e] [last_X-None:]
    [last_X-None:]
    Route: [routes]
    [routes]
    X-E: [last_message]z
    X-F: [$e]
    [$e]
    X-H: [field1];
    Content-Type: application/x
    Content-Length: [len]

    b1
    [$e]
    b2
    [$e] [field1]
    b3 [$e]
    [$e]b4
    [last_X-None:]
    b5 [last_X-None:] q
    [field1]
";
    let _turn = lock::light();
    let scenario = format!("{BEGIN}{}{END}", LINES.trim_start_matches('\n'));
    let sent = beside_sipp(scenario.as_bytes(), "SEQUENTIAL\nX-Row: 1;;\n");
    let (head, body) = sent.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        head.lines().take(6).collect::<Vec<_>>(),
        ["X-A: foo  bar", "X-B: ", "X-C: 1", "X-D: 1", "X-V: 1", "X-Row: 1"]
    );
    assert_eq!(body, "b1\r\nb2\r\nb3 \r\nb4\r\nb5  q\r\n");
    assert!(head.contains(&format!("Content-Length: {:5}", body.len())), "{head}");
    // The end of the last line of a head stays, whatever the line is: SIPp would join it to the
    // body.
    let scenario = format!("{BEGIN}    Content-Length: [len]\n    [$e]\n\n    body{END}");
    let scratch = Scratch::new();
    let (path, peer) = (scratch.write("last.xml", &scenario), Peer::new());
    let remote = peer.address().to_string();
    let client = gossipper::start(&["-sf", &path, "-i", "127.0.0.1", "-m", "1", &remote]);
    let message = peer.receive();
    assert!(message.text.ends_with("Content-Length:     6\r\n\r\nbody\r\n"), "{}", message.text);
    peer.answer(&message, "200 OK", "");
    client.finish().expect_code(0);
}

#[test]
fn the_bytes_of_a_file_are_sent_whatever_encoding_it_declares() {
    let _turn = lock::light();
    let lines = "    X-Name: \"Zoé\"\n    Content-Length: [len]\n\n    é";
    let sent = beside_sipp(format!("{BEGIN}{lines}{END}").as_bytes(), "SEQUENTIAL\na\n");
    assert!(sent.starts_with("X-Name: \"Zoé\"\r\n"), "{sent}");
    assert!(sent.contains("Content-Length:     4\r\n"), "{sent}");
    // The same in ISO-8859-1, where the letter has one byte.
    let latin: Vec<u8> =
        format!("{BEGIN}{lines}{END}").chars().map(|c| u8::try_from(c).unwrap()).collect();
    let sent = beside_sipp(&latin, "SEQUENTIAL\na\n");
    assert!(sent.contains("Content-Length:     3\r\n"), "{sent}");
    assert!(sent.starts_with("X-Name: \"Zo\u{fffd}\"\r\n"), "{sent}");
}

#[test]
fn variables_have_the_values_that_sipp_gives_them() {
    const ACTIONS: &str = "
  <nop><action>
    <assignstr assign_to=\"a\" value=\"12\"/><assignstr assign_to=\"b\" value=\"0x10\"/>
    <assign assign_to=\"zero\" value=\"0\"/><assign assign_to=\"tiny\" value=\"0.0000001\"/>
    <todouble assign_to=\"da\" variable=\"a\"/><todouble assign_to=\"db\" variable=\"b\"/>
    <test assign_to=\"no\" variable=\"zero\" compare=\"equal\" value=\"1\"/>
    <assignstr assign_to=\"x\" value=\"ab\"/>
    <strcmp assign_to=\"c1\" variable=\"x\" value=\"ab\"/>
    <strcmp assign_to=\"c2\" variable=\"x\" value=\"ad\"/>
    <strcmp assign_to=\"c3\" variable=\"x\" value=\"a\"/>
  </action></nop>
  <Reference variables=\"a,b\"/>
  <send";
    const LINES: &str = "    X-A: [$zero]|[$tiny]|[$no]|[$da]|[$db]|[$c1]|[$c2]|[$c3]
    X-B: [last_cseq_number]|[last_cseq_number+1]
    [$zero]
    Content-Length: 0

";
    let _turn = lock::light();
    let begin = BEGIN.replacen("\n  <send", ACTIONS, 1);
    let sent = beside_sipp(format!("{begin}{LINES}{END}").as_bytes(), "SEQUENTIAL\na\n");
    assert_eq!(
        sent.lines().take(3).collect::<Vec<_>>(),
        [
            "X-A: |0.000000|false|12.000000|16.000000||-2.000000|98.000000",
            "X-B: 0|1",
            "Content-Length: 0"
        ]
    );
}

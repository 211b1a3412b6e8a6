//! Scenarios of `tests/scenarios`, one for each part of the language that needs several steps, each
//! against a scripted peer.

use std::sync::Arc;

use gossipper::engine::{Engine, Input, Sockets, WorkerRequest};
use gossipper::scenario::Program;
use gossipper::stats::{Counters, FailureCause, Report};
use gossipper_uring::{SocketId, TxArena};

use crate::harness::MS;
use crate::harness::rig::{Rig, answer, header, request_back};
use crate::harness::scenarios::{expand, file, inline, spelled_out};
use crate::harness::side::SideOptions;

#[track_caller]
fn assert_succeeded(counters: &Counters) {
    assert_eq!((counters.calls_succeeded, counters.calls_failed), (1, 0), "{counters:?}");
}

#[track_caller]
fn assert_failed(counters: &Counters, cause: FailureCause) {
    let failures: Vec<_> = counters.failures.nonzero().collect();
    assert_eq!(failures, [(cause, 1)], "{counters:?}");
}

fn named() -> Program {
    file(include_str!("../scenarios/named_transactions.xml"))
}

fn own_texts() -> Program {
    file(include_str!("../scenarios/default_messages.xml"))
}

/// The branch of a message's Via.
fn branch(text: &str) -> &str {
    header(text, "Via").split_once("branch=").expect("a branch").1
}

#[test]
fn responses_go_to_the_transaction_that_they_answer() {
    let mut rig = Rig::new(named());
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 180, "t"));
    let info = rig.expect("INFO").text;
    rig.send(&answer(&info, 200, "t"));
    // A late provisional response of no step has no effect.
    rig.send(&answer(&invite, 183, "t"));
    rig.send(&answer(&invite, 200, "t"));
    let ack = rig.expect("ACK").text;
    // The ACK belongs to the INVITE, whatever was sent since, and has its own transaction.
    assert_eq!(header(&ack, "CSeq"), header(&invite, "CSeq").replace("INVITE", "ACK"));
    assert_ne!(branch(&ack), branch(&invite));
    let bye = rig.expect("BYE").text;
    // The same response again, and another one of the same transaction: the ACK again.
    rig.send(&answer(&invite, 200, "t"));
    assert_eq!(rig.expect("ACK").text, ack);
    rig.send(&answer(&invite, 200, "t").replace("Some Reason", "Another Way"));
    assert_eq!(rig.expect("ACK").text, ack);
    rig.send(&answer(&bye, 200, "t"));
    let counters = rig.end();
    assert_succeeded(&counters);
    assert_eq!(counters.retransmissions_received, 2);
}

#[test]
fn a_response_of_another_transaction_is_not_taken() {
    let mut rig = Rig::new(named());
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 180, "t"));
    rig.expect("INFO");
    // A 200 is expected, but not this one.
    rig.send(&answer(&invite, 200, "t"));
    rig.expect("ACK");
    rig.expect("BYE");
    assert_failed(&rig.end(), FailureCause::UnexpectedMessage);
}

/// A client that sends OPTIONS twice, in transactions `a` and `b`, and waits for `b` first.
fn two_transactions(head_of_a: &str, head_of_b: &str) -> Program {
    let send = |name: &str, head: &str| {
        format!(
            "<send start_txn=\"{name}\"><![CDATA[\nOPTIONS sip:b SIP/2.0\n{head}\n\
             From: <sip:a>;tag=1\nTo: <sip:b>\nCall-ID: [call_id]\nX-Name: {name}\n\
             Content-Length: 0\n\n]]></send>"
        )
    };
    let steps = [
        &send("a", head_of_a),
        &send("b", head_of_b),
        "<recv response=\"200\" response_txn=\"b\"/><recv response=\"404\" response_txn=\"a\"/>",
    ];
    spelled_out("client", &steps.concat())
}

/// Two responses are told apart by the branch of the topmost Via, however it is written, and where
/// the scenario gives both the same, by the CSeq number.
#[test]
fn a_response_is_told_by_the_branch_of_its_topmost_via() {
    let via = "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK";
    let heads = [
        // One CSeq number for both, and two Vias each.
        (
            format!("{via}-a\n{via}-in\nCSeq: 1 OPTIONS"),
            format!("{via}-b\n{via}-in\nCSeq: 1 OPTIONS"),
        ),
        // A branch that is none, and a compact name.
        (
            format!("X-Old: branch=x\nv:{}-a\nCSeq: 7 OPTIONS", &via[4..]),
            format!("X-Old: branch=x\nv:{}-b\nCSeq: 7 OPTIONS", &via[4..]),
        ),
        // One branch for both.
        (format!("{via}\nCSeq: 5 OPTIONS"), format!("{via}\nCSeq: 9 OPTIONS")),
    ];
    for (a, b) in heads {
        let mut rig = Rig::new(two_transactions(&a, &b));
        let sent = [rig.expect("OPTIONS").text, rig.expect("OPTIONS").text];
        // As a peer that writes all Vias into one line.
        let reply = |request: &str, code: u16| {
            let vias = request.lines().filter_map(|line| {
                line.strip_prefix("Via:").or(line.strip_prefix("v:")).map(str::trim)
            });
            let vias = vias.collect::<Vec<_>>().join(", ");
            answer(&format!("Via: {vias}\r\n{request}"), code, "t")
        };
        rig.send(&reply(&sent[1], 200));
        rig.send(&reply(&sent[0], 404));
        assert_succeeded(&rig.end());
        // In the other order the first response belongs to the other transaction.
        let mut rig = Rig::new(two_transactions(&a, &b));
        let sent = [rig.expect("OPTIONS").text, rig.expect("OPTIONS").text];
        rig.send(&reply(&sent[0], 200));
        assert_failed(&rig.end(), FailureCause::UnexpectedMessage);
    }
}

#[test]
fn the_ack_of_a_refusal_is_of_the_same_transaction() {
    let mut rig = Rig::new(named());
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 180, "t"));
    let info = rig.expect("INFO").text;
    rig.send(&answer(&info, 200, "t"));
    rig.send(&answer(&invite, 486, "t"));
    let ack = rig.expect("ACK").text;
    assert_eq!(branch(&ack), branch(&invite));
    assert_succeeded(&rig.end());
}

#[test]
fn a_refusal_is_acked_in_the_scenarios_own_words() {
    let mut rig = Rig::new(own_texts());
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 486, "t"));
    let ack = rig.expect("ACK").text;
    assert_eq!(header(&ack, "X-Own"), "ack");
    assert_eq!(branch(&ack), branch(&invite));
    assert_eq!(header(&ack, "X-Branch"), branch(&invite));
    assert!(header(&ack, "To").ends_with(";tag=t"), "{ack}");
    assert_failed(&rig.end(), FailureCause::UnexpectedMessage);
}

#[test]
fn a_call_is_cancelled_in_the_scenarios_own_words() {
    let mut rig = Rig::new(own_texts());
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 180, "t"));
    let cancel = rig.expect("CANCEL").text;
    assert_eq!(header(&cancel, "X-Own"), "cancel");
    assert_eq!(branch(&cancel), branch(&invite));
    assert_eq!(header(&cancel, "CSeq"), header(&invite, "CSeq").replace("INVITE", "CANCEL"));
    rig.send(&answer(&cancel, 200, "t"));
    rig.send(&answer(&invite, 487, "t"));
    assert_eq!(header(&rig.expect("ACK").text, "X-Own"), "ack");
    assert_failed(&rig.end(), FailureCause::RecvTimeout);
}

#[test]
fn a_dialog_is_ended_in_the_scenarios_own_words() {
    let mut rig = Rig::new(own_texts());
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 200, "t"));
    rig.expect("ACK");
    let bye = rig.expect("BYE").text;
    assert_eq!(header(&bye, "X-Own"), "bye");
    assert_eq!(header(&bye, "CSeq"), "2 BYE");
    assert!(header(&bye, "To").ends_with(";tag=t"), "{bye}");
    rig.send(&answer(&bye, 200, "t"));
    assert_failed(&rig.end(), FailureCause::RecvTimeout);
}

#[test]
fn an_answered_call_that_fails_is_acked_and_ended_in_the_scenarios_own_words() {
    let check = r#"<ereg regexp="sip:" search_in="hdr" header="Contact:" check_it="true"/>"#;
    let text = include_str!("../scenarios/default_messages.xml");
    assert!(text.contains(check));
    let divides = r#"<assign assign_to="n" value="0"/><divide assign_to="n" variable="n"/>"#;
    let mut rig = Rig::new(file(&text.replace(check, divides)));
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 200, "t"));
    let ack = rig.expect("ACK").text;
    assert_eq!((header(&ack, "X-Own"), header(&ack, "CSeq")), ("ack2", "1 ACK"));
    assert_ne!(branch(&ack), branch(&invite));
    let bye = rig.expect("BYE").text;
    assert_eq!((header(&bye, "X-Own"), header(&bye, "CSeq")), ("bye", "2 BYE"));
    rig.send(&answer(&bye, 200, "t"));
    assert_failed(&rig.end(), FailureCause::ScenarioError);
}

#[test]
fn what_is_answered_automatically_is_answered_in_the_scenarios_own_words() {
    let options = SideOptions::new(own_texts()).with(|engine| engine.rules.auto_answer = true);
    let mut rig = Rig::with(options);
    let invite = rig.expect("INVITE").text;
    rig.send(&request_back("OPTIONS", &invite, 7));
    let ok = rig.expect("SIP/2.0 200 Fine").text;
    assert_eq!((header(&ok, "X-Own"), header(&ok, "CSeq")), ("200", "7 OPTIONS"));
    rig.send(&answer(&invite, 200, "t"));
    rig.expect("ACK");
    rig.send(&request_back("BYE", &invite, 8));
    assert_succeeded(&rig.end());
}

#[test]
fn an_interrupted_pause_ends_when_it_would_have() {
    let mut rig = Rig::new(file(include_str!("../scenarios/pause_restored.xml")));
    let options = rig.expect("OPTIONS");
    rig.send(&answer(&options.text, 200, "t"));
    rig.run(700);
    rig.send(&request_back("NOTIFY", &options.text, 3));
    rig.expect("SIP/2.0 200");
    rig.run(600);
    rig.send(&request_back("MESSAGE", &options.text, 4));
    rig.expect("SIP/2.0 200");
    let info = rig.expect("INFO");
    assert_eq!(info.at_ms, options.at_ms + 2000);
    rig.send(&answer(&info.text, 200, "t"));
    assert_succeeded(&rig.end());
}

#[test]
fn a_strict_router_is_addressed_and_the_target_goes_last() {
    let mut rig = Rig::new(file(include_str!("../scenarios/unexpected_label.xml")));
    let invite = rig.expect("INVITE").text;
    let routes = "Contact: <sip:peer@192.0.2.2:5060>\r\n\
                  Record-Route: <sip:far.example;lr>, <sip:near.example;maddr=x>";
    let ok = answer(&invite, 200, "t").replace("Contact: <sip:peer@192.0.2.2:5060>", routes);
    rig.send(&ok);
    let ack = rig.expect("ACK").text;
    assert!(ack.starts_with("ACK sip:near.example;maddr=x SIP/2.0\r\n"), "{ack}");
    assert_eq!(header(&ack, "Route"), "<sip:far.example;lr>, <sip:peer@192.0.2.2:5060>");
    rig.send(&request_back("BYE", &invite, 3));
    rig.expect("SIP/2.0 200");
    assert_succeeded(&rig.end());
}

#[test]
fn srtp_keys_are_fresh_unless_the_last_one_is_asked_for() {
    let key = |text: &str, name: &str| {
        let value = header(text, name).to_owned();
        let key =
            value.split_once("inline:").expect("a key").1.split(' ').next().unwrap().to_owned();
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
        assert!(key.len() == 40 && key.bytes().all(is_base64), "{key}");
        (value, key)
    };
    let mut rig = Rig::new(file(include_str!("../scenarios/srtp_keys.xml")));
    let options = rig.expect("OPTIONS").text;
    let (audio, first) = key(&options, "X-Audio-1");
    assert_eq!(audio, format!("1 AES_CM_128_HMAC_SHA1_80 inline:{first}"));
    let (audio, second) = key(&options, "X-Audio-2");
    assert_eq!(audio, format!("2 AES_CM_128_HMAC_SHA1_32 inline:{second}"));
    let (video, third) = key(&options, "X-Video-1");
    assert_eq!(video, format!("1 NULL_HMAC_SHA1_80 inline:{third} UNENCRYPTED_SRTP"));
    assert_eq!(key(&options, "X-Again").1, first);
    let mut all = [first, second, third, key(&options, "X-New").1];
    all.sort();
    assert!(all.windows(2).all(|two| two[0] != two[1]), "{all:?}");
    rig.send(&answer(&options, 200, "t"));
    assert_succeeded(&rig.end());
}

#[test]
fn expressions_take_the_longest_of_the_leftmost_matches() {
    let mut rig = Rig::new(file(include_str!("../scenarios/posix_ereg.xml")));
    let options = rig.expect("OPTIONS").text;
    let headers = "X-Text: xabcd\r\nX-Text: a foobar bar bar\r\nX-Other: Side";
    let ok = answer(&options, 200, "t")
        .replace("Content-Length", &format!("{headers}\r\nContent-Length"));
    rig.send(&ok);
    let info = rig.expect("INFO").text;
    for (name, value) in [
        ("X-Whole", "abcd"),
        ("X-Groups", "ab,c,d"),
        ("X-Longest", "foobar"),
        ("X-Again", "bar bar"),
        ("X-Variable", "b"),
    ] {
        assert_eq!(header(&info, name), value, "{name}");
    }
    assert!(header(&info, "X-Case").starts_with("X-Other: Side"), "{info}");
    rig.send(&answer(&info, 200, "t"));
    assert_succeeded(&rig.end());
}

/// An INFO with another header line.
fn info_with(line: &str) -> String {
    expand("@INFO@").replace("\nMax-Forwards", &format!("\n{line}\nMax-Forwards"))
}

/// Text found in a 200 with `header="..."` and more attributes, as `<...>`.
fn found_with(attributes: &str) -> String {
    let steps = format!(
        "<send>{}</send><recv response=\"200\"><action><ereg regexp=\"[^;>]*\" \
         search_in=\"hdr\" {attributes} assign_to=\"it\"/></action></recv>\
         <send>{}</send><recv response=\"200\"/>",
        expand("@INFO@"),
        info_with("X-Found: <[$it]>")
    );
    let mut rig = Rig::new(spelled_out("found", &steps));
    let info = rig.expect("INFO").text;
    let body = "\r\nX-Busy: text=\"busy\"\r\nContent-Length: 9\r\n\r\nm=audio 4";
    rig.send(&answer(&info, 200, "t").replace("\r\nContent-Length: 0\r\n\r\n", body));
    let second = rig.expect("INFO").text;
    rig.send(&answer(&second, 200, "t"));
    assert_succeeded(&rig.end());
    header(&second, "X-Found").to_owned()
}

#[test]
fn an_action_answers_the_last_challenge_as_the_last_request_would() {
    let credentials = "[authentication username=joe password=x]";
    let steps = format!(
        "<send>{}</send><recv response=\"401\" auth=\"true\"/>\
         <nop><action><assignstr assign_to=\"it\" value=\"{credentials}\"/></action></nop>\
         <send>{}</send><recv response=\"200\"/>",
        expand("@INFO@"),
        info_with(&format!("X-It: [$it]\n{credentials}"))
    );
    let mut rig = Rig::new(spelled_out("challenged", &steps));
    let info = rig.expect("INFO").text;
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\nContent-Length";
    rig.send(&answer(&info, 401, "t").replace("Content-Length", challenge));
    let second = rig.expect("INFO").text;
    rig.send(&answer(&second, 200, "t"));
    assert_succeeded(&rig.end());
    let own = header(&second, "Authorization");
    assert!(own.starts_with("Digest username=\"joe\""), "{own}");
    assert_eq!(header(&second, "X-It").trim(), format!("Authorization: {own}"));
}

#[test]
fn a_variable_without_a_group_keeps_what_it_has() {
    let steps = format!(
        "<send>{}</send><recv response=\"200\"><action><assignstr assign_to=\"old\" \
         value=\"kept\"/><ereg regexp=\"S(I)P\" search_in=\"msg\" assign_to=\"all,one,old\"/>\
         </action></recv><send>{}</send><recv response=\"200\"/>",
        expand("@INFO@"),
        info_with("X-It: [$all],[$one],[$old]")
    );
    let mut rig = Rig::new(spelled_out("groups", &steps));
    let info = rig.expect("INFO").text;
    rig.send(&answer(&info, 200, "t"));
    let second = rig.expect("INFO").text;
    rig.send(&answer(&second, 200, "t"));
    assert_succeeded(&rig.end());
    assert_eq!(header(&second, "X-It"), "SIP,I,kept");
}

#[test]
fn a_header_that_is_no_name_is_searched_for_as_a_text() {
    for (attributes, found) in [
        ("header=\"Via: SIP/2.0/\"", "<UDP 192.0.2.1:5060>"),
        ("header=\"m=audio \"", "<4>"),
        ("header=\"text=\"", "<\"busy\">"),
        ("header=\"text\"", "<=\"busy\">"),
        ("header=\"text=\" start_line=\"true\"", "<>"),
        ("header=\"tag=\" occurrence=\"2\"", "<t>"),
        ("header=\"tag=\" occurrence=\"3\"", "<>"),
        ("header=\"nowhere=\"", "<>"),
        ("header=\"X-Busy:\"", "< text=\"busy\">"),
    ] {
        assert_eq!(found_with(attributes), found, "{attributes}");
    }
}

#[test]
fn an_optional_receive_at_the_end_is_waited_for() {
    let mut rig = Rig::new(inline(
        "last",
        r#"<send>@OPTIONS@</send><recv response="200"/>
        <recv request="NOTIFY" optional="true" timeout="3000" ontimeout="end"/>
        <label id="end"/>"#,
    ));
    let options = rig.expect("OPTIONS").text;
    rig.send(&answer(&options, 200, "t"));
    rig.run(2_000);
    assert_eq!(rig.counters().calls_succeeded, 0);
    rig.send(&request_back("NOTIFY", &options, 3));
    assert_succeeded(&rig.end());
}

#[test]
fn a_duration_that_no_step_starts_begins_with_the_call() {
    let mut rig = Rig::new(inline(
        "measured",
        r#"<pause milliseconds="300"/><send>@OPTIONS@</send><recv response="200" rtd="total"/>"#,
    ));
    let options = rig.expect("OPTIONS").text;
    rig.run(200);
    rig.send(&answer(&options, 200, "t"));
    rig.run(2_000);
    let durations = &rig.side().histograms.rtds[0];
    assert_eq!(durations.count(), 1);
    let longest_ms = durations.quantile_ns(1.0) / MS;
    assert!((490..=510).contains(&longest_ms), "{longest_ms}");
    assert_succeeded(&rig.end());
}

/// A call whose second message finds no room.
fn crowded(timeout: &str, send_timeout_ms: u64) -> (Engine, TxArena) {
    let steps = format!(
        r#"<send>@OPTIONS@</send>
        <send {timeout}>@INFO@</send>
        <recv response="200"/>
        <label id="late"/>
        <nop counter="late"/>"#
    );
    let program = Arc::new(inline("crowded", &steps));
    let mut config = SideOptions::new(inline("same", &steps)).engine;
    config.rules.send_timeout_ms = send_timeout_ms;
    let layout = gossipper::engine::layout(&[&program], 0);
    let mut engine = Engine::new(Arc::clone(&program), &layout, config);
    engine.set_sockets(Sockets::Shared(SocketId(0)));
    let mut full = TxArena::standalone(2, 0).unwrap();
    let taken = full.reserve(100).expect("room for two");
    engine.handle(Input::Arrivals { lead_ns: 0, reserve: 0 }, 0, &mut full);
    assert_eq!(engine.next_deadline_ns(), 0, "the call waits for room");
    full.release(taken);
    (engine, full)
}

/// Timers that are due fire.
const TIMERS: Input<'static> = Input::Timers { reserve: 0 };

#[test]
fn a_message_that_finds_no_room_for_too_long_fails_its_call() {
    for (timeout, run_ms, due_ms) in [(r#"timeout="500""#, 9_000, 500), ("", 700, 700)] {
        let (mut engine, mut tx) = crowded(timeout, run_ms);
        engine.handle(TIMERS, (due_ms - 1) * MS, &mut tx);
        assert_eq!(engine.active(), 1, "{timeout}");
        engine.handle(TIMERS, (due_ms + 1) * MS, &mut tx);
        assert_failed(engine.counters(), FailureCause::SendTimeout);
    }
    let (mut engine, mut tx) = crowded("", 0);
    engine.handle(TIMERS, 60_000 * MS, &mut tx);
    assert_eq!(engine.active(), 1);
}

#[test]
fn a_message_that_finds_no_room_for_too_long_goes_to_its_label() {
    let (mut engine, mut tx) = crowded(r#"timeout="500" ontimeout="late""#, 0);
    engine.handle(TIMERS, 501 * MS, &mut tx);
    assert_succeeded(engine.counters());
    assert_eq!(engine.report_mut().generic_counters, [1]);
}

/// A call that closes its connection between ACK and BYE, over UDP: from where each message comes,
/// and which port its Via names.
fn closing_over_udp(sockets: Option<usize>) -> [(u16, String); 2] {
    let mut options = SideOptions::new(file(include_str!("../scenarios/uac_closecon.xml")));
    options.per_call_sockets = sockets;
    options.engine.rules.pause_ms = 100;
    let mut rig = Rig::with(options);
    let invite = rig.expect("INVITE");
    rig.send_from(0, invite.source, answer(&invite.text, 200, "t").as_bytes());
    rig.expect("ACK");
    let bye = rig.expect("BYE");
    rig.send_from(0, bye.source, answer(&bye.text, 200, "t").as_bytes());
    let via = |text: &str| {
        let sent_by = header(text, "Via").split([' ', ';']).nth(1).expect("a host and a port");
        sent_by.rsplit_once(':').expect("a port").1.to_owned()
    };
    let seen = [&invite, &bye].map(|got| (got.source.port(), via(&got.text)));
    assert_succeeded(&rig.end());
    seen
}

#[test]
fn closecon_over_udp_takes_another_socket_where_calls_have_their_own() {
    let [invite, bye] = closing_over_udp(Some(4));
    assert_ne!(invite.0, bye.0);
    for (port, via) in [invite, bye] {
        assert_eq!(via, port.to_string());
    }
    // Without another socket its own is as good.
    let [invite, bye] = closing_over_udp(Some(1));
    assert_eq!(invite, bye);
    // The socket of all calls stays.
    let [invite, bye] = closing_over_udp(None);
    assert_eq!(invite, bye);
}

/// SIPp has these keywords from 3.7 on.
#[test]
fn parts_of_the_last_headers_are_taken_out_of_them() {
    let steps = r#"<recv request="OPTIONS"/>
        <pause milliseconds="10"/>
        <send><![CDATA[
          SIP/2.0 200 OK
          Via: [last_Via:value]
          From: [last_From:value]
          To: [last_To:value];tag=own
          Call-ID: [last_Call-ID:value]
          CSeq: [last_CSeq:value]
          X-Uri: [last_From:uri]|[last_Contact:uri]|[last_Via:uri]
          X-Parameter: [last_From:param.tag]|[last_Via:param.branch]|[last_From:param.none]
          [last_X-None:value]
          Content-Length: 0

        ]]></send>"#;
    let mut rig = Rig::with(SideOptions::new(spelled_out("server", steps)));
    let text = "OPTIONS sip:b@192.0.2.1 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1\r\nVia: SIP/2.0/UDP 192.0.2.3;branch=z9hG4bK2\r\n\
        f: \"A;tag=no\" <sip:al@192.0.2.2;tag=no>;x=1;tag=yes\r\nTo: <sip:b@192.0.2.1>\r\n\
        Contact: sip:al@192.0.2.4;expires=1\r\n\
        Call-ID: parts\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
    rig.send(text);
    let answer = rig.expect("SIP/2.0 200").text;
    let (_, lines) = answer.split_once("\r\n").unwrap();
    assert_eq!(
        lines,
        "Via: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1, SIP/2.0/UDP 192.0.2.3;branch=z9hG4bK2\r\n\
         From: \"A;tag=no\" <sip:al@192.0.2.2;tag=no>;x=1;tag=yes\r\n\
         To: <sip:b@192.0.2.1>;tag=own\r\nCall-ID: parts\r\nCSeq: 1 OPTIONS\r\n\
         X-Uri: sip:al@192.0.2.2;tag=no|sip:al@192.0.2.4|\r\n\
         X-Parameter: yes|z9hG4bK1|\r\nContent-Length: 0\r\n\r\n"
    );
    rig.end();
}

#[test]
fn an_engine_around_a_used_report_counts_like_the_first() {
    let side = SideOptions::new(inline("asked", r#"<send>@OPTIONS@</send><recv response="200"/>"#));
    let layout = gossipper::engine::layout(&[&side.program], 0);
    let mut tx = TxArena::standalone(4, 0).unwrap();
    let mut play = |report| {
        let (program, config) = (Arc::clone(&side.program), side.engine.clone());
        let mut engine = Engine::with_report(program, &layout, config, report);
        engine.set_sockets(Sockets::Shared(SocketId(0)));
        engine.handle(Input::Arrivals { lead_ns: 0, reserve: 0 }, 0, &mut tx);
        tx.take_staged(|_, _, _, _| {});
        engine.handle(Input::Request(WorkerRequest::CancelCalls), MS, &mut tx);
        engine.handle(Input::EndCalls { reserve: 0 }, MS, &mut tx);
        engine.check_invariants().unwrap();
        engine.into_report()
    };
    let first = play(Box::new(Report::new(&layout, 0)));
    assert_eq!(first.histograms.call_length.count(), 1);
    let mut used = first.clone();
    used.recycle();
    let second = play(used);
    assert_eq!((&second.steps, &second.messages), (&first.steps, &first.messages));
    assert_eq!(second.histograms.call_length.count(), 1);
}

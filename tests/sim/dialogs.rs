//! Dialogs: the tag, target and route set of a call's requests (RFC 3261 section 12). Each answer
//! of a forked INVITE gets its own.

use gossipper::stats::{Counters, FailureCause};

use crate::harness::rig::{Rig, answer, header, request, request_back, to_tag};
use crate::harness::scenarios::{builtin, expand, inline, spelled_out};
use crate::harness::side::SideOptions;

const OWN_CONTACT: &str = "Contact: <sip:peer@192.0.2.2:5060>\r\n";
const TWO_ROUTES: &str = "Record-Route: <sip:far.example;lr>, <sip:near.example;lr>\r\n";

#[track_caller]
fn assert_succeeded(counters: &Counters) {
    assert_eq!((counters.calls_succeeded, counters.calls_failed), (1, 0), "{counters:?}");
}

/// A scenario of these steps. `#METHOD n#` is a request of the dialog with that CSeq; target and
/// routes are those of the dialog.
fn dialog(steps: &str) -> SideOptions {
    let spell = |(index, piece): (usize, &str)| match piece.split_once(' ') {
        Some((method, cseq)) if index % 2 == 1 => format!(
            "<send retrans=\"500\"><![CDATA[\n\
             {method} [next_url] SIP/2.0\n\
             Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n\
             [routes]\n\
             From: <sip:caller@[local_ip]>;tag=[call_number]\n\
             To: <sip:service@[remote_ip]>[peer_tag_param]\n\
             Call-ID: [call_id]\n\
             CSeq: {cseq} {method}\n\
             Contact: <sip:caller@[local_ip]:[local_port]>\n\
             Content-Length: 0\n]]></send>"
        )
        .replace(if method == "ACK" { " retrans=\"500\"" } else { "\u{0}" }, ""),
        _ => piece.to_owned(),
    };
    let spelled: String = expand(steps).split('#').enumerate().map(spell).collect();
    SideOptions::new(spelled_out("dialog", &spelled))
}

/// An answer with these header lines in place of Contact.
fn answer_with(request: &str, code: u16, tag: &str, lines: &str) -> String {
    answer(request, code, tag).replace(OWN_CONTACT, lines)
}

/// The Request-URI, tag in To and routes of a request.
fn goes_to(request: &str) -> (&str, &str, &str) {
    let route = if request.contains("\r\nRoute:") { header(request, "Route") } else { "" };
    (request.split(' ').nth(1).unwrap_or_default(), to_tag(request), route)
}

const CALL: &str = r#"<send retrans="500">@INVITE@</send>
    <recv response="180" optional="true" rrs="true"/>
    <recv response="200" rrs="true"/>
    #ACK 1#
    #BYE 2#
    <recv response="200"/>"#;

#[test]
fn the_answer_that_made_the_dialog_says_where_its_requests_go() {
    let proxy = "Record-Route: <sip:p.example;lr>\r\n";
    let early = format!("{proxy}Contact: <sip:early@192.0.2.2>\r\n");
    let late = "Contact: <sip:late@192.0.2.2>\r\n";
    let both = format!("{TWO_ROUTES}{late}");
    let cases: [(&str, &str, &str, (&str, &str)); 6] = [
        // Ringing has no Contact: the answer has.
        (proxy, "t", &format!("{proxy}{late}"), ("sip:late@192.0.2.2", "<sip:p.example;lr>")),
        // Section 13.2.2.4: the answer's route set counts, also where it has none.
        (&early, "t", late, ("sip:late@192.0.2.2", "")),
        (&early, "t", &both, ("sip:late@192.0.2.2", "<sip:near.example;lr>, <sip:far.example;lr>")),
        // Another To tag is another dialog, with nothing of the first.
        (&early, "other", late, ("sip:late@192.0.2.2", "")),
        (&early, "other", "", ("sip:service@192.0.2.2:5060", "")),
        // The early dialog's own target stays if the answer names none.
        (&early, "t", "", ("sip:early@192.0.2.2", "")),
    ];
    for (ringing, tag, ok, (target, route)) in cases {
        let mut rig = Rig::with(dialog(CALL));
        let invite = rig.expect("INVITE").text;
        rig.send(&answer_with(&invite, 180, "t", ringing));
        rig.send(&answer_with(&invite, 200, tag, ok));
        assert_eq!(goes_to(&rig.expect("ACK").text), (target, tag, route), "{ringing}{ok}");
        let bye = rig.expect("BYE").text;
        assert_eq!(goes_to(&bye), (target, tag, route), "{ringing}{ok}");
        rig.send(&answer(&bye, 200, ""));
        assert_succeeded(&rig.end());
    }
}

#[test]
fn a_request_is_never_without_a_uri() {
    let steps = CALL.replace(" rrs=\"true\"", "");
    for (lines, uri) in [
        ("Contact: <sip:bob@192.0.2.2>\r\nRecord-Route: <sip:p;lr>\r\n", "sip:bob@192.0.2.2"),
        ("Contact: sip:bob@192.0.2.2;x=y\r\n", "sip:bob@192.0.2.2"),
        ("Contact: *\r\n", "sip:service@192.0.2.2:5060"),
        ("", "sip:service@192.0.2.2:5060"),
    ] {
        let mut rig = Rig::with(dialog(&steps));
        let invite = rig.expect("INVITE").text;
        rig.send(&answer_with(&invite, 200, "t", lines));
        // Without `rrs` there are no routes, as in SIPp.
        assert_eq!(goes_to(&rig.expect("ACK").text), (uri, "t", ""), "{lines}");
        let bye = rig.expect("BYE").text;
        assert_eq!(goes_to(&bye), (uri, "t", ""), "{lines}");
        rig.send(&answer(&bye, 200, ""));
        assert_succeeded(&rig.end());
    }
    // A callee knows its caller.
    let mut rig = Rig::with(dialog(
        r#"<recv request="INVITE"/><send>@200@</send><recv request="ACK"/>#BYE 7#<recv response="200"/>"#,
    ));
    let invite = request("INVITE", "c", 1, "");
    rig.send(&invite.replace("Contact: <sip:peer@192.0.2.1:5060>\r\n", ""));
    let ok = rig.expect("SIP/2.0 200").text;
    rig.send(&request("ACK", "c", 1, to_tag(&ok)));
    let bye = rig.expect("BYE").text;
    assert_eq!(goes_to(&bye).0, "sip:peer@192.0.2.1:5060");
    rig.send(&answer(&bye, 200, ""));
    assert_succeeded(&rig.end());
}

#[test]
fn what_refreshes_the_target_changes_no_route() {
    let mut rig = Rig::with(dialog(
        r#"<send retrans="500">@INVITE@</send>
        <recv response="200" rrs="true"/>
        #ACK 1#
        #INVITE 2#
        <recv response="200" rrs="true"/>
        #ACK 2#
        <recv request="UPDATE"/><send>@200=@</send>
        #INFO 4#
        <recv response="200"/>
        <recv request="NOTIFY"/><send>@200=@</send>
        #BYE 6#
        <recv response="200"/>"#,
    ));
    let route = "<sip:near.example;lr>, <sip:far.example;lr>";
    let contact = |user: &str| format!("Contact: <sip:{user}@192.0.2.2>\r\n");
    let invite = rig.expect("INVITE").text;
    rig.send(&answer_with(&invite, 200, "peer", &(TWO_ROUTES.to_owned() + &contact("a"))));
    assert_eq!(goes_to(&rig.expect("ACK").text), ("sip:a@192.0.2.2", "peer", route));
    let again = rig.expect("INVITE").text;
    assert_eq!(goes_to(&again), ("sip:a@192.0.2.2", "peer", route));
    let elsewhere = "Record-Route: <sip:elsewhere.example;lr>\r\n".to_owned();
    rig.send(&answer_with(&again, 200, "peer", &(elsewhere.clone() + &contact("b"))));
    assert_eq!(goes_to(&rig.expect("ACK").text), ("sip:b@192.0.2.2", "peer", route));
    let ask = |method: &str, cseq: u32, user: &str| {
        request_back(method, &invite, cseq)
            .replace(OWN_CONTACT, &(elsewhere.clone() + &contact(user)))
    };
    rig.send(&ask("UPDATE", 3, "c"));
    rig.expect("SIP/2.0 200");
    let info = rig.expect("INFO").text;
    assert_eq!(goes_to(&info), ("sip:c@192.0.2.2", "peer", route));
    // INFO refreshes nothing.
    rig.send(&answer_with(&info, 200, "peer", &contact("no")));
    rig.send(&ask("NOTIFY", 5, "d"));
    rig.expect("SIP/2.0 200");
    let bye = rig.expect("BYE").text;
    assert_eq!(goes_to(&bye), ("sip:d@192.0.2.2", "peer", route));
    rig.send(&answer(&bye, 200, ""));
    assert_succeeded(&rig.end());
}

#[test]
fn a_callee_follows_its_caller() {
    let mut rig = Rig::with(dialog(
        r#"<recv request="INVITE" rrs="true"/><send>@200@</send><recv request="ACK"/>
        <recv request="INVITE"/><send>@200=@</send><recv request="ACK"/>
        #BYE 3#
        <recv response="200"/>"#,
    ));
    let ask = |method: &str, cseq: u32, tag: &str, lines: &str| {
        request(method, "c", cseq, tag).replace("Contact: <sip:peer@192.0.2.1:5060>\r\n", lines)
    };
    let strict = "Record-Route: <sip:near.example>, <sip:far.example;lr>\r\nContact: <sip:a@h>\r\n";
    rig.send(&ask("INVITE", 1, "", strict));
    let ok = rig.expect("SIP/2.0 200").text;
    rig.send(&ask("ACK", 1, to_tag(&ok), ""));
    rig.send(&ask("INVITE", 2, to_tag(&ok), "Contact: <sip:b@h>\r\n"));
    rig.expect("SIP/2.0 200");
    rig.send(&ask("ACK", 2, to_tag(&ok), ""));
    // As received. A strict router gets the request itself, with the new target after the routes.
    let bye = rig.expect("BYE").text;
    assert_eq!(goes_to(&bye), ("sip:near.example", "peer", "<sip:far.example;lr>, <sip:b@h>"));
    rig.send(&answer(&bye, 200, ""));
    assert_succeeded(&rig.end());
}

#[test]
fn a_failed_call_is_hung_up_where_its_answer_said() {
    let options = SideOptions::new(builtin("uac")).with(|engine| {
        engine.rules.pause_ms = 10_000;
        engine.rules.auto_answer = true;
    });
    let lines = format!("{TWO_ROUTES}Contact: <sip:bob@192.0.2.2>\r\n");
    let route = "<sip:near.example;lr>, <sip:far.example;lr>";
    let mut rig = Rig::with(options);
    let invite = rig.expect("INVITE").text;
    rig.send(&answer_with(&invite, 200, "peer", &lines));
    rig.expect("ACK");
    // The peer moves, and our last message is no request.
    let moved = "Contact: <sip:moved@192.0.2.2>\r\n";
    rig.send(&request_back("INFO", &invite, 7).replace(OWN_CONTACT, moved));
    rig.expect("SIP/2.0 200");
    rig.send(&request_back("MESSAGE", &invite, 8));
    let bye = rig.expect("BYE").text;
    assert_eq!(goes_to(&bye), ("sip:bob@192.0.2.2", "peer", route));
    rig.send(&answer(&bye, 200, ""));
    let counters = rig.end();
    assert_eq!(counters.failures.nonzero().next(), Some((FailureCause::UnexpectedMessage, 1)));

    // An unexpected answer, after the early dialog of another branch.
    let mut rig = Rig::with(dialog(
        r#"<send retrans="500">@INVITE@</send><recv response="180"/><recv response="183"/>"#,
    ));
    let invite = rig.expect("INVITE").text;
    rig.send(&answer_with(&invite, 180, "early", "Contact: <sip:early@192.0.2.2>\r\n"));
    rig.send(&answer_with(&invite, 200, "peer", &lines));
    for method in ["ACK", "BYE"] {
        let request = rig.expect(method).text;
        assert_eq!(goes_to(&request), ("sip:bob@192.0.2.2", "peer", route), "{method}");
    }
    rig.end();
}

#[test]
fn a_failed_call_is_hung_up_after_an_answer_of_its_own() {
    let mut rig = Rig::with(dialog(
        r#"<send retrans="500">@INVITE@</send><recv response="200"/>#ACK 1#
        <recv request="INFO"/><send>@200=@</send><recv request="INFO"/>"#,
    ));
    let invite = rig.expect("INVITE").text;
    rig.send(&answer_with(&invite, 200, "peer", "Contact: <sip:bob@192.0.2.2>\r\n"));
    rig.expect("ACK");
    rig.send(&request_back("INFO", &invite, 7));
    rig.expect("SIP/2.0 200");
    rig.send(&request_back("MESSAGE", &invite, 8));
    assert_eq!(goes_to(&rig.expect("BYE").text), ("sip:bob@192.0.2.2", "peer", ""));
    rig.end();
}

/// The answer of another branch of the INVITE.
fn other(invite: &str) -> String {
    let routes = "Record-Route: <sip:q2.example;lr>\r\nRecord-Route: <sip:q1.example;lr>\r\n";
    answer_with(invite, 200, "two", &format!("{routes}Contact: <sip:two@192.0.2.2>\r\n"))
}

const OTHER: (&str, &str, &str) =
    ("sip:two@192.0.2.2", "two", "<sip:q1.example;lr>, <sip:q2.example;lr>");

/// Both messages to the other dialog; the BYE.
#[track_caller]
fn expect_other_ends(rig: &mut Rig) -> String {
    let ack = rig.expect("ACK").text;
    assert_eq!(goes_to(&ack), OTHER);
    assert_eq!(header(&ack, "CSeq"), "1 ACK");
    let bye = rig.expect("BYE").text;
    assert_eq!(goes_to(&bye), OTHER);
    assert_eq!(header(&bye, "CSeq"), "2 BYE");
    assert_ne!(header(&ack, "Via"), header(&bye, "Via"));
    bye
}

#[test]
fn the_answer_of_another_branch_is_acknowledged_and_hung_up() {
    let steps = CALL.replace("#BYE 2#", "<pause milliseconds=\"1000\"/>#BYE 2#");
    let one = ("sip:one@192.0.2.2", "one", "<sip:p.example;lr>");
    let lines = "Record-Route: <sip:p.example;lr>\r\nContact: <sip:one@192.0.2.2>\r\n";
    let mut rig = Rig::with(dialog(&steps));
    let invite = rig.expect("INVITE").text;
    rig.send(&answer_with(&invite, 200, "one", lines));
    assert_eq!(goes_to(&rig.expect("ACK").text), one);
    rig.send(&other(&invite));
    let bye = expect_other_ends(&mut rig);
    // Its ACK was lost.
    rig.send(&other(&invite));
    assert_eq!(expect_other_ends(&mut rig), bye);
    rig.send(&answer(&bye, 200, ""));
    // The other peer has not heard it yet.
    let its =
        |method: &str, cseq| request_back(method, &invite, cseq).replace(";tag=peer", ";tag=two");
    rig.send(&its("INFO", 6));
    rig.expect("SIP/2.0 481");
    rig.send(&its("BYE", 7));
    rig.expect("SIP/2.0 200");
    // The call goes on with the first, and takes no answer of the other for its own.
    let own = rig.expect("BYE");
    assert_eq!((own.at_ms, goes_to(&own.text)), (1000, one));
    rig.send(&answer(&bye, 200, ""));
    rig.send(&other(&invite));
    expect_other_ends(&mut rig);
    assert_eq!(rig.counters().calls_succeeded, 0);
    rig.send(&answer(&own.text, 200, ""));
    assert_succeeded(&rig.end());
}

#[test]
fn another_branch_may_answer_before_the_ack() {
    let steps = CALL.replace("#ACK 1#", "<pause milliseconds=\"300\"/>#ACK 1#");
    let steps = steps.replace("optional=\"true\"", "optional=\"global\"");
    let options = dialog(&steps).with(|engine| engine.rules.default_behaviors.bye = false);
    let mut rig = Rig::with(options);
    let invite = rig.expect("INVITE").text;
    rig.send(&answer_with(&invite, 200, "one", "Contact: <sip:one@192.0.2.2>\r\n"));
    rig.send(&other(&invite));
    // Without automatic BYE there is none.
    assert_eq!(goes_to(&rig.expect("ACK").text), OTHER);
    // A third one rings on.
    rig.send(&answer_with(&invite, 180, "three", "Contact: <sip:three@192.0.2.2>\r\n"));
    let ack = rig.expect("ACK");
    assert_eq!((ack.at_ms, goes_to(&ack.text)), (300, ("sip:one@192.0.2.2", "one", "")));
    let bye = rig.expect("BYE").text;
    assert_eq!(goes_to(&bye).1, "one");
    rig.send(&answer(&bye, 200, ""));
    assert_succeeded(&rig.end());
}

#[test]
fn a_scenario_that_waits_for_both_answers_gets_both() {
    let mut rig = Rig::with(dialog(
        r#"<send retrans="500">@INVITE@</send>
        <recv response="200" rrs="true"/>#ACK 1#
        <recv response="200" rrs="true"/>#ACK 1#
        #BYE 2#
        <recv response="200"/>"#,
    ));
    let invite = rig.expect("INVITE").text;
    rig.send(&answer_with(&invite, 200, "one", "Contact: <sip:one@192.0.2.2>\r\n"));
    assert_eq!(goes_to(&rig.expect("ACK").text), ("sip:one@192.0.2.2", "one", ""));
    rig.send(&other(&invite));
    assert_eq!(goes_to(&rig.expect("ACK").text), OTHER);
    let bye = rig.expect("BYE").text;
    assert_eq!(goes_to(&bye), OTHER);
    rig.send(&answer(&bye, 200, ""));
    assert_succeeded(&rig.end());
}

#[test]
fn another_branch_may_answer_while_the_call_is_being_ended() {
    let options =
        SideOptions::new(builtin("uac")).with(|engine| engine.rules.recv_timeout_ms = 5_000);
    let mut rig = Rig::with(options);
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 180, "one"));
    rig.expect("CANCEL");
    rig.send(&answer_with(&invite, 200, "one", "Contact: <sip:one@192.0.2.2>\r\n"));
    assert_eq!(goes_to(&rig.expect("ACK").text), ("sip:one@192.0.2.2", "one", ""));
    let own = rig.expect("BYE").text;
    assert_eq!(goes_to(&own), ("sip:one@192.0.2.2", "one", ""));
    rig.send(&other(&invite));
    let bye = expect_other_ends(&mut rig);
    rig.send(&answer(&bye, 200, ""));
    assert_eq!(rig.side().lingering(), 1);
    rig.send(&answer(&own, 200, ""));
    assert_eq!(rig.side().lingering(), 0);
    rig.end();
}

/// Some peers leave the tag out of the answer to a BYE, or give another one: it still answers ours.
#[test]
fn the_answer_to_our_bye_is_told_by_its_branch_not_by_its_tag() {
    for tag in ["", "three"] {
        let mut rig = Rig::with(dialog(CALL));
        let invite = rig.expect("INVITE").text;
        rig.send(&answer(&invite, 200, "one"));
        rig.expect("ACK");
        let own = rig.expect("BYE").text;
        rig.send(&other(&invite));
        let bye = expect_other_ends(&mut rig);
        let without = own.replace(";tag=one", "");
        rig.send(&answer(&bye.replace(";tag=two", ""), 200, ""));
        rig.send(&answer(&without, 200, tag));
        assert_succeeded(&rig.end());
    }
}

/// The dialog keeps its tag under messages of another branch after the answer, and under messages
/// of no dialog, whether its target is in use or not.
#[test]
fn the_tag_of_a_dialog_stays_what_its_answer_said() {
    let steps = r#"<send retrans="500">@INVITE@</send>
        <recv response="180" optional="true"/>
        <recv response="200"/>
        <recv response="180" optional="true"/>
        <recv request="INFO"/>
        <send>@200@</send>
        <send>@ACK@</send>"#;
    for bye in [true, false] {
        let options = SideOptions::new(inline("tags", steps));
        let mut rig = Rig::with(options.with(|engine| engine.rules.default_behaviors.bye = bye));
        let invite = rig.expect("INVITE").text;
        rig.send(&answer(&invite, 200, "one"));
        rig.send(&answer(&invite, 180, "two"));
        rig.send(&request_back("INFO", &invite, 6).replace(";tag=peer", ";tag=one"));
        rig.expect("SIP/2.0 200");
        assert_eq!(to_tag(&rig.expect("ACK").text), "one");
        assert_succeeded(&rig.end());
    }
}

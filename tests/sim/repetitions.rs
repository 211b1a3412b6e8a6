//! Repeated requests: each gets its own answer again (RFC 3261 section 17.2), from the scenario, a
//! default behaviour or the memory of ended calls.

use gossipper::stats::{Counters, FailureCause};

use crate::harness::rig::{Rig, answer, header, request, request_back, to_tag};
use crate::harness::scenarios::{builtin, inline};
use crate::harness::side::{SideOptions, rate};

fn server(steps: &str) -> SideOptions {
    SideOptions::new(inline("server", steps))
}

fn answers_pings(options: SideOptions) -> SideOptions {
    options.with(|engine| engine.rules.auto_answer = true)
}

#[track_caller]
fn assert_succeeded(counters: &Counters, calls: u64) {
    assert_eq!((counters.calls_succeeded, counters.calls_failed), (calls, 0), "{counters:?}");
}

/// Plays a call up to the ACK; returns the tag of its answer.
fn answered(rig: &mut Rig) -> String {
    rig.send(&request("INVITE", "a", 1, ""));
    let ok = rig.expect("SIP/2.0 200").text;
    let tag = to_tag(&ok).to_owned();
    rig.send(&request("ACK", "a", 1, &tag));
    tag
}

const ANSWERED: &str =
    r#"<recv request="INVITE"/><send retrans="500">@200@</send><recv request="ACK"/>"#;

#[test]
fn what_was_answered_automatically_is_answered_again() {
    let steps = format!(r#"{ANSWERED}<recv request="BYE"/><send>@200=@</send>"#);
    let mut rig = Rig::with(answers_pings(server(&steps)));
    let tag = answered(&mut rig);
    for (cseq, method) in (2..).zip(["INFO", "UPDATE", "OPTIONS", "NOTIFY"]) {
        let ping = request(method, "a", cseq, &tag);
        rig.send(&ping);
        let ok = rig.expect("SIP/2.0 200").text;
        assert_eq!(header(&ok, "CSeq"), format!("{cseq} {method}"));
        for _ in 0..3 {
            rig.send(&ping);
            assert_eq!(rig.expect("SIP/2.0 200").text, ok);
        }
    }
    // An older one after newer ones.
    rig.send(&request("UPDATE", "a", 3, &tag));
    assert_eq!(header(&rig.expect("SIP/2.0 200").text, "CSeq"), "3 UPDATE");
    rig.send(&request("BYE", "a", 9, &tag));
    assert_eq!(header(&rig.expect("SIP/2.0 200").text, "CSeq"), "9 BYE");
    let counters = rig.end();
    assert_succeeded(&counters, 1);
    assert_eq!((counters.auto_answered, counters.retransmissions_received), (4, 13));
}

/// Outside a dialog, a repetition with other bytes could be another request. Answers of calls
/// without a scenario have one tag for one request.
#[test]
fn an_automatic_answer_has_one_tag_each_time() {
    let steps = format!(r#"{ANSWERED}<recv request="BYE"/><send>@200=@</send>"#);
    let mut rig = Rig::with(answers_pings(server(&steps)));
    answered(&mut rig);
    let ping = request("OPTIONS", "a", 2, "");
    rig.send(&ping);
    let ok = rig.expect("SIP/2.0 200").text;
    assert!(!to_tag(&ok).is_empty(), "{ok}");
    rig.send(&ping);
    assert_eq!(rig.expect("SIP/2.0 200").text, ok);
    rig.send(&request("OPTIONS", "a", 3, ""));
    assert_ne!(to_tag(&rig.expect("SIP/2.0 200").text), to_tag(&ok));
}

#[test]
fn an_older_request_gets_its_own_answer_again() {
    let steps = format!(
        r#"{ANSWERED}
        <recv request="INFO"/><send>@200=@</send>
        <recv request="MESSAGE"/><send>@486=@</send>
        <recv request="BYE"/><send>@200=@</send>
        <timewait milliseconds="60000"/>"#
    );
    let mut rig = Rig::with(server(&steps));
    let tag = answered(&mut rig);
    let [info, message, bye] = [(2, "INFO"), (3, "MESSAGE"), (4, "BYE")]
        .map(|(cseq, method)| request(method, "a", cseq, &tag));
    let ask = |rig: &mut Rig, request: &str| {
        rig.send(request);
        rig.expect("SIP/2.0").text
    };
    let of_info = ask(&mut rig, &info);
    // The INVITE has its ACK: its answer is not repeated.
    rig.send(&request("INVITE", "a", 1, ""));
    rig.silence(10);
    let answers = [of_info, ask(&mut rig, &message), ask(&mut rig, &bye)];
    for (request, answer) in [&bye, &info, &message, &info].into_iter().zip([2, 0, 1, 0]) {
        rig.send(request);
        assert_eq!(rig.expect("SIP/2.0").text, answers[answer]);
    }
    // By another path, and so with other bytes.
    rig.send(&info.replace("Max-Forwards: 70", "Max-Forwards: 69"));
    assert_eq!(rig.expect("SIP/2.0").text, answers[0]);
    // Timer J: the transaction is over.
    rig.run(33_000);
    rig.send(&info);
    rig.silence(10);
    let (counters, steps) = rig.end_by_step();
    assert_succeeded(&counters, 1);
    assert_eq!(counters.retransmissions_received, 7);
    // Both sides of what was repeated: INFO, and its answer.
    assert_eq!((steps[3].retransmissions, steps[4].retransmissions), (3, 3));
}

/// An answer belongs to the request that it names, and not to the last one.
#[test]
fn answers_out_of_order_are_repeated_to_whom_they_belong() {
    let steps = r#"<recv request="INVITE"><action>
        <ereg regexp=".*" search_in="hdr" header="Via:" assign_to="via"/></action></recv>
        <send>@183@</send>
        <recv request="PRACK"/>
        <send>@200=@</send>
        <pause milliseconds="1000"/>
        <send><![CDATA[
SIP/2.0 200 OK
Via:[$via]
[last_From:]
[last_To:]
[last_Call-ID:]
CSeq: 1 INVITE
Content-Length: 0

]]></send>
        <recv request="ACK"/>"#;
    let mut rig = Rig::with(server(steps));
    let invite = request("INVITE", "a", 1, "");
    rig.send(&invite);
    let progress = rig.expect("SIP/2.0 183").text;
    let prack = request("PRACK", "a", 2, to_tag(&progress));
    rig.send(&prack);
    let of_prack = rig.expect("SIP/2.0 200").text;
    rig.send(&invite);
    assert_eq!(rig.expect("SIP/2.0 183").text, progress);
    rig.run(1_000);
    let of_invite = rig.expect("SIP/2.0 200").text;
    rig.send(&prack);
    assert_eq!(rig.expect("SIP/2.0 200").text, of_prack);
    rig.send(&invite);
    assert_eq!(rig.expect("SIP/2.0 200").text, of_invite);
    rig.send(&request("ACK", "a", 1, to_tag(&progress)));
    assert_succeeded(&rig.end(), 1);
}

/// A call that only ends its dialog still repeats its earlier answers.
#[test]
fn what_was_answered_is_answered_again_while_a_call_lingers() {
    let options = SideOptions::new(inline(
        "client",
        r#"<send retrans="500">@INVITE@</send><recv response="180"/>
        <recv request="INFO"/><send>@200=@</send>
        <recv response="200" timeout="1000"/>"#,
    ));
    let options = options.with(|engine| {
        engine.calls_total = Some(2);
        engine.arrivals = rate(0.01);
    });
    let mut rig = Rig::with(answers_pings(options));
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 180, "peer"));
    let [info, options] =
        [(1, "INFO"), (2, "OPTIONS")].map(|(cseq, method)| request_back(method, &invite, cseq));
    let answers = [&info, &options].map(|request| {
        rig.send(request);
        rig.expect("SIP/2.0 200").text
    });
    let cancel = rig.expect("CANCEL").text;
    rig.send(&answer(&cancel, 200, "peer"));
    for (request, before) in [&info, &options].into_iter().zip(&answers) {
        rig.send(request);
        assert_eq!(&rig.expect("SIP/2.0 200").text, before);
    }
    // Another request belongs to a dialog that is ending.
    rig.send(&request_back("INFO", &invite, 3));
    rig.expect("SIP/2.0 481");
    // The peer hangs up, and does not hear our answer.
    let bye = request_back("BYE", &invite, 4);
    rig.send(&bye);
    let ok = rig.expect("SIP/2.0 200").text;
    assert_eq!(rig.side().lingering(), 0);
    rig.send(&bye);
    assert_eq!(rig.expect("SIP/2.0 200").text, ok);
    let counters = rig.end();
    assert_eq!(counters.failures.count(FailureCause::RecvTimeout), 1);
    assert_eq!(counters.dead_call_messages, 0);
}

/// The last answer of a call may be lost like any other.
#[test]
fn the_request_that_ended_a_call_is_answered_again() {
    let steps = format!(r#"{ANSWERED}<recv request="BYE"/><send>@200=@</send>"#);
    let mut rig = Rig::with(server(&steps));
    let tag = answered(&mut rig);
    let bye = request("BYE", "a", 2, &tag);
    rig.send(&bye);
    let ok = rig.expect("SIP/2.0 200").text;
    assert_succeeded(&rig.counters(), 1);
    rig.send(&bye);
    let again = rig.expect("SIP/2.0 200").text;
    for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
        assert_eq!(header(&again, name), header(&ok, name));
    }
    // Another request with that Call-ID was never answered by the call.
    rig.send(&request("BYE", "a", 3, &tag));
    rig.send(&request("INVITE", "a", 1, ""));
    rig.silence(100);
    assert_eq!(rig.counters().dead_call_messages, 2);

    // A call of ours, which the peer ends against the scenario.
    let mut rig = Rig::with(SideOptions::new(builtin("uac")).with(|engine| {
        engine.calls_total = Some(2);
        engine.arrivals = rate(0.01);
    }));
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 180, "peer"));
    let bye = request_back("BYE", &invite, 7);
    for _ in 0..3 {
        rig.send(&bye);
        assert_eq!(header(&rig.expect("SIP/2.0 200").text, "CSeq"), "7 BYE");
    }
    rig.send(&request_back("BYE", &invite, 8));
    rig.silence(100);
    let counters = rig.end();
    assert_eq!(counters.failures.count(FailureCause::PeerHangup), 1);
    assert_eq!((counters.retransmissions_received, counters.dead_call_messages), (2, 1));
}

/// A 200 cannot be made again if it had more headers than the request. Without Contact, the answer
/// to a REGISTER would say that no contact is registered.
#[test]
fn an_answer_with_more_than_the_request_has_is_not_made_up_once_its_call_is_over() {
    let mut rig = Rig::with(server(r#"<recv request="REGISTER"/><send>@200@</send>"#));
    let register = request("REGISTER", "a", 1, "");
    rig.send(&register);
    rig.expect("SIP/2.0 200");
    rig.send(&register);
    rig.silence(100);
    assert_eq!(rig.end().dead_call_messages, 1);
}

/// The store of answers of a call is bounded, and a plain call keeps nothing beside its last
/// message.
#[test]
fn kept_answers_are_few() {
    let steps = format!(
        r#"{ANSWERED}<label id="more"/><recv request="INFO" timeout="40000" ontimeout="e"/>
        <send next="more">@200=@</send><label id="e"/>"#
    );
    let mut rig = Rig::with(server(&steps));
    let tag = answered(&mut rig);
    let plain = rig.side().blob_usage().0;
    for cseq in 2..200 {
        rig.send(&request("INFO", "a", cseq, &tag));
        rig.expect("SIP/2.0 200");
    }
    let (strings, bytes) = rig.side().blob_usage();
    assert_eq!(strings, plain + 1);
    assert!(bytes < 64 << 10, "{bytes}");
    rig.send(&request("INFO", "a", 195, &tag));
    assert_eq!(header(&rig.expect("SIP/2.0 200").text, "CSeq"), "195 INFO");
    rig.run(60_000);
    assert_succeeded(&rig.end(), 1);
}

// Pings.

/// With `-m 1` the call comes after the ping.
#[test]
fn a_ping_that_is_answered_automatically_is_no_call() {
    let steps = format!(r#"{ANSWERED}<recv request="BYE"/><send>@200=@</send>"#);
    let once = server(&steps).with(|engine| engine.calls_total = Some(1));
    let mut rig = Rig::with(answers_pings(once));
    for (cseq, method) in (1..).zip(["OPTIONS", "NOTIFY", "INFO", "UPDATE"]) {
        let ping = request(method, &format!("ping{cseq}"), cseq, "");
        rig.send(&ping);
        let ok = rig.expect("SIP/2.0 200").text;
        rig.send(&ping);
        assert_eq!(rig.expect("SIP/2.0 200").text, ok);
    }
    assert_eq!((rig.counters().auto_answered, rig.counters().calls_incoming), (8, 0));
    let tag = answered(&mut rig);
    // A ping after the begin of all calls is answered, too.
    rig.send(&request("OPTIONS", "late", 1, ""));
    rig.expect("SIP/2.0 200");
    rig.send(&request("BYE", "a", 2, &tag));
    rig.expect("SIP/2.0 200");
    let counters = rig.end();
    assert_succeeded(&counters, 1);
    assert_eq!((counters.calls_incoming, counters.out_of_call_messages), (1, 0));
}

#[test]
fn what_the_scenario_begins_with_is_a_call() {
    let steps = r#"<recv request="OPTIONS" optional="true" next="ping"/>
        <recv request="INVITE"/><send>@486@</send><recv request="ACK" next="end"/>
        <label id="ping"/><send>@200@</send><label id="end"/>"#;
    let mut rig = Rig::with(answers_pings(server(steps)));
    rig.send(&request("OPTIONS", "a", 1, ""));
    rig.expect("SIP/2.0 200");
    rig.send(&request("NOTIFY", "b", 1, ""));
    rig.expect("SIP/2.0 200");
    let counters = rig.end();
    assert_succeeded(&counters, 1);
    assert_eq!((counters.calls_incoming, counters.auto_answered), (1, 1));
}

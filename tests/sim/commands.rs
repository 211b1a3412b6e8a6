//! Third-party call control: commands meet calls, one rule per test; the test is the other
//! instance.

use gossipper::dataplane::third_party::link::Tell;
use gossipper::engine::{Peering, StopRequest};
use gossipper::stats::{DropCause, FailureCause};

use crate::harness::rig::{Rig, answer, header, request_back};
use crate::harness::scenarios::{builtin, expand, spelled_out};
use crate::harness::side::SideOptions;

const OFFER: &str = "Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n";

fn side(program: gossipper::scenario::Program, peering: Peering) -> SideOptions {
    let mut side = SideOptions::new(program);
    side.peering = Some(peering);
    side
}

/// A run of these steps. `{}` in a command is `Call-ID: [call_id]`.
fn rig(peering: Peering, steps: &str) -> Rig {
    let steps = steps.replace("{}", "Call-ID: [call_id]");
    Rig::with(side(spelled_out("twin", &expand(&steps)), peering))
}

fn third_party(steps: &str) -> Rig {
    rig(Peering::Pair, steps)
}

/// The answer to `request`, with an offer.
fn answer_with_offer(request: &str) -> String {
    let text = answer(request, 200, "t");
    text.replace("Content-Length: 0\r\n\r\n", OFFER)
}

#[test]
fn controller_a_hands_the_offer_over_and_acknowledges_with_the_answer() {
    let mut rig = Rig::with(side(builtin("3pcc-C-A"), Peering::Pair));
    rig.tell(Tell::Reachable(0));
    let invite = rig.expect("INVITE").text;
    rig.says_nothing();
    rig.send(&answer_with_offer(&invite));
    let call_id = header(&invite, "Call-ID").to_owned();
    // As with SIPp's `-3pcc`: the offer ends the head and the command.
    assert_eq!(rig.said(0), format!("Call-ID: {call_id}\r\n{OFFER}"));
    rig.silence(3_000);
    rig.tell(Tell::Command(format!("Call-ID: {call_id}\r\n{OFFER}").as_bytes()));
    let ack = rig.expect("ACK").text;
    assert!(ack.ends_with(&format!("Subject: Performance Test\r\n{OFFER}")), "{ack}");
    let bye = rig.expect("BYE").text;
    rig.send(&answer(&bye, 200, "t"));
    let counters = rig.end();
    assert_eq!((counters.calls_succeeded, counters.calls_failed), (1, 0));
    assert_eq!((counters.commands_sent, counters.commands_received), (1, 1));
}

#[test]
fn controller_b_calls_when_it_is_told_to() {
    let mut rig = Rig::with(side(builtin("3pcc-C-B"), Peering::Pair));
    rig.tell(Tell::Reachable(0));
    rig.silence(1_000);
    rig.tell(Tell::Command(format!("Call-ID: leg///one@a\r\n{OFFER}").as_bytes()));
    let invite = rig.expect("INVITE").text;
    // The legs are one call: their Call-IDs are equal after the slashes.
    assert_eq!(header(&invite, "Call-ID"), "one@a");
    assert!(invite.ends_with(OFFER), "{invite}");
    rig.send(&answer_with_offer(&invite));
    rig.expect("ACK");
    assert_eq!(rig.said(0), format!("Call-ID: one@a\r\n{OFFER}"));
    let bye = rig.expect("BYE").text;
    rig.send(&answer(&bye, 200, "t"));
    let counters = rig.end();
    assert_eq!((counters.calls_succeeded, counters.calls_failed), (1, 0));
}

#[test]
fn call_ids_can_be_told_to_count_as_a_whole() {
    let mut options = side(builtin("3pcc-C-B"), Peering::Pair);
    options.engine.rules.whole_call_ids = true;
    let mut rig = Rig::with(options);
    rig.tell(Tell::Reachable(0));
    rig.tell(Tell::Command(b"Call-ID: leg///one@a\r\n\r\n"));
    assert_eq!(header(&rig.expect("INVITE").text, "Call-ID"), "leg///one@a");
    rig.tell(Tell::Command(b"Call-ID: other///one@a\r\n\r\n"));
    rig.expect("INVITE");
    assert_eq!(rig.counters().calls_started(), 2);
    rig.end();
}

#[test]
fn sip_of_unknown_calls_starts_nothing_where_commands_do() {
    let mut rig = Rig::with(side(builtin("3pcc-C-B"), Peering::Pair));
    rig.send(&request_back("OPTIONS", &fake_invite(), 1));
    rig.silence(1_000);
    let counters = rig.end();
    assert_eq!((counters.calls_started(), counters.out_of_call_messages), (0, 1));
}

fn fake_invite() -> String {
    "INVITE x SIP/2.0\r\nTo: <sip:a@b>\r\nFrom: <sip:c@d>\r\nCall-ID: stray@x\r\n\r\n".to_owned()
}

#[test]
fn a_call_that_cannot_say_its_command_fails() {
    let mut rig = third_party(
        r#"<send retrans="500">@INVITE@</send>
        <recv response="200"/>
        <send>@ACK@</send>
        <sendCmd>{}</sendCmd>
        <pause milliseconds="1000"/>
        <send retrans="500">@BYE@</send>
        <recv response="200"/>"#,
    );
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 200, "t"));
    rig.expect("ACK");
    // Its dialog is ended all the same.
    let bye = rig.expect("BYE").text;
    rig.send(&answer(&bye, 200, "t"));
    assert_eq!(rig.failures(), [(FailureCause::CmdNotSent, 1)]);
    rig.end();
}

const WAITING: &str = r#"<sendCmd>{}</sendCmd>
    <recvCmd/>
    <send retrans="500">@OPTIONS@</send>
    <recv response="200"/>"#;

/// A call that waits for a command, and its Call-ID.
fn waiting() -> (Rig, String) {
    let mut rig = third_party(WAITING);
    rig.tell(Tell::Reachable(0));
    rig.run(200);
    let text = rig.said(0);
    let call_id = header(&text, "Call-ID").to_owned();
    (rig, call_id)
}

#[test]
fn calls_that_wait_for_a_twin_that_is_gone_fail_and_no_new_ones_are_made() {
    let (mut rig, _) = waiting();
    rig.tell(Tell::Gone(None));
    rig.run(1_000);
    assert_eq!(rig.failures(), [(FailureCause::PeerGone, 1)]);
    rig.says_nothing();
    assert_eq!(rig.side().stops, [StopRequest::PeerGone]);
    rig.end();
}

#[test]
fn noise_is_counted_and_touches_no_call() {
    let (mut rig, call_id) = waiting();
    rig.tell(Tell::Command(b"hello"));
    rig.tell(Tell::Command(b""));
    rig.tell(Tell::Command(b"Call-ID: \r\n\r\n"));
    rig.tell(Tell::Command(&[0xff; 1000]));
    rig.tell(Tell::Unfinished);
    rig.tell(Tell::Command(b"Call-ID: nobody@x\r\n\r\n"));
    rig.tell(Tell::Command(b"Call-ID: nobody@x\r\nInternal-Cmd: abort_call\r\n\r\n"));
    rig.says_nothing();
    rig.tell(Tell::Command(format!("call-id: {call_id}\r\n\r\n").as_bytes()));
    let options = rig.expect("OPTIONS").text;
    rig.send(&answer(&options, 200, "t"));
    let counters = rig.end();
    assert_eq!((counters.calls_succeeded, counters.calls_failed), (1, 0));
    let drops = |cause| counters.drops.count(cause);
    assert_eq!(drops(DropCause::CommandWithoutCallId), 4);
    assert_eq!(drops(DropCause::CommandUnfinished), 1);
    assert_eq!(counters.out_of_call_messages, 2);
    assert_eq!(counters.commands_received, 1);
}

#[test]
fn a_command_out_of_turn_ends_the_call() {
    let (mut rig, call_id) = waiting();
    let command = format!("Call-ID: {call_id}\r\n\r\n");
    rig.tell(Tell::Command(command.as_bytes()));
    rig.expect("OPTIONS");
    rig.tell(Tell::Command(command.as_bytes()));
    assert_eq!(rig.failures(), [(FailureCause::CallRejected, 1)]);
    rig.says_nothing();
    let (_, steps) = rig.end_by_step();
    assert_eq!(steps[3].unexpected, 1);
    assert_eq!((steps[0].messages, steps[1].messages), (1, 1));
}

#[test]
fn failure_travels_both_ways() {
    let (mut rig, call_id) = waiting();
    rig.tell(Tell::Command(format!("Call-ID: {call_id}\r\n\r\n").as_bytes()));
    let options = rig.expect("OPTIONS").text;
    rig.send(&answer(&options, 486, "t"));
    let said = rig.said(0);
    assert_eq!(said, format!("call-id: {call_id}\r\ninternal-cmd: abort_call\r\n\r\n"));
    assert_eq!(rig.failures(), [(FailureCause::UnexpectedMessage, 1)]);
    rig.end();

    let (mut rig, call_id) = waiting();
    let abort = format!("call-id: {call_id}\r\ninternal-cmd: abort_call\r\n\r\n");
    rig.tell(Tell::Command(abort.as_bytes()));
    assert_eq!(rig.failures(), [(FailureCause::CallRejected, 1)]);
    rig.says_nothing();
    rig.end();
}

#[test]
fn the_scenario_has_its_own_words_for_a_failure() {
    let mut rig = third_party(
        r#"<DefaultMessage id="3pcc_abort">Call-ID: [call_id]
        Reason: broken</DefaultMessage>
        <sendCmd>{}</sendCmd>
        <recvCmd timeout="500"/>
        <send>@OPTIONS@</send>"#,
    );
    rig.tell(Tell::Reachable(0));
    rig.run(200);
    let call_id = header(&rig.said(0), "Call-ID").to_owned();
    rig.run(1_000);
    assert_eq!(rig.failures(), [(FailureCause::RecvTimeout, 1)]);
    assert_eq!(rig.said(0), format!("Call-ID: {call_id}\r\nReason: broken\r\n\r\n"));
    rig.end();
}

#[test]
fn a_command_that_does_not_come_can_lead_elsewhere() {
    let mut rig = third_party(
        r#"<sendCmd>{}</sendCmd>
        <recvCmd timeout="700" ontimeout="late"/>
        <send>@OPTIONS@</send>
        <label id="late"/>
        <send>@MESSAGE@</send>"#,
    );
    rig.tell(Tell::Reachable(0));
    let message = rig.expect("MESSAGE");
    assert!((700..900).contains(&message.at_ms), "{}", message.at_ms);
    assert_eq!(rig.end().calls_succeeded, 1);
}

#[test]
fn optional_commands_are_waited_for_a_moment() {
    let mut rig = third_party(
        r#"<sendCmd>{}</sendCmd>
        <recvCmd optional="true"/>
        <send>@OPTIONS@</send>"#,
    );
    rig.tell(Tell::Reachable(0));
    let options = rig.expect("OPTIONS");
    assert!((250..400).contains(&options.at_ms), "{}", options.at_ms);
    assert_eq!(rig.end().calls_succeeded, 1);
}

#[test]
fn messages_and_commands_pass_optional_steps_of_the_other_kind() {
    let steps = r#"<send retrans="500">@OPTIONS@</send>
        <recv response="180" optional="true"/>
        <recvCmd optional="true" counter="commands"/>
        <recv response="200"/>
        <recv request="INFO" optional="true"/>
        <recvCmd/>
        <send>@MESSAGE@</send>"#;
    for with_command in [true, false] {
        let mut rig = third_party(steps);
        rig.tell(Tell::Reachable(0));
        let options = rig.expect("OPTIONS").text;
        let command = format!("Call-ID: {}\r\n\r\n", header(&options, "Call-ID"));
        if with_command {
            rig.tell(Tell::Command(command.as_bytes()));
        }
        rig.send(&answer(&options, 200, "t"));
        rig.tell(Tell::Command(command.as_bytes()));
        rig.expect("MESSAGE");
        assert_eq!(rig.end().calls_succeeded, 1);
    }
}

#[test]
fn actions_search_the_command() {
    let mut rig = third_party(
        r#"<sendCmd>{}</sendCmd>
        <recvCmd>
          <action>
            <ereg regexp="[0-9]+" search_in="hdr" header="X-Number" occurrence="2" assign_to="n"/>
            <ereg regexp="o=.*" search_in="body" assign_to="o" check_it="true"/>
            <ereg regexp="From: (m)" search_in="msg" assign_to="all,who" check_it="true"/>
            <test assign_to="ok" variable="n" compare="equal" value="8"/>
          </action>
        </recvCmd>
        <send><![CDATA[
          MESSAGE sip:x SIP/2.0
          Call-ID: [call_id]
          CSeq: [cseq] MESSAGE
          Found: [$n] [$who] [$ok] [$all]
          Content-Length: [len]

          [$o]
        ]]></send>"#,
    );
    rig.tell(Tell::Reachable(0));
    rig.run(200);
    let call_id = header(&rig.said(0), "Call-ID").to_owned();
    let command =
        format!("Call-ID: {call_id}\r\nFrom: m\r\nX-Number: 7\r\nx-number: 8\r\n\r\nv=0\r\no=me");
    rig.tell(Tell::Command(command.as_bytes()));
    let message = rig.expect("MESSAGE").text;
    assert!(header(&message, "Found").starts_with("8 m "), "{message}");
    assert!(message.contains("From: m"), "{message}");
    assert!(message.contains("\r\n\r\no=me"), "{message}");
    rig.end();
}

#[test]
fn what_the_scenario_keeps_of_messages_outlives_commands() {
    let mut rig = third_party(
        r#"<send retrans="500">@OPTIONS@</send>
        <recv response="200"/>
        <sendCmd>{}
          [last_Contact:]</sendCmd>
        <recvCmd/>
        <send><![CDATA[
          MESSAGE sip:x SIP/2.0
          Call-ID: [call_id]
          CSeq: [cseq] MESSAGE
          Was: [last_To]
        ]]></send>"#,
    );
    rig.tell(Tell::Reachable(0));
    let options = rig.expect("OPTIONS").text;
    rig.send(&answer(&options, 200, "kept"));
    let said = rig.said(0);
    assert!(header(&said, "Contact").contains("peer@"), "{said}");
    rig.tell(Tell::Command(said.as_bytes()));
    let message = rig.expect("MESSAGE").text;
    assert!(header(&message, "Was").contains("tag=kept"), "{message}");
    rig.end();
}

const NAMED: &str = r#"<sendCmd dest="s1">{}
        From: m</sendCmd>
    <sendCmd dest="s2">{}
        From: m</sendCmd>
    <recvCmd src="s2"/>
    <send>@OPTIONS@</send>"#;

#[test]
fn several_instances_are_told_apart_by_name() {
    let mut rig = rig(Peering::Named, NAMED);
    rig.tell_all(&[Tell::Reachable(0), Tell::Reachable(1)]);
    rig.run(200);
    let first = rig.said(0);
    assert_eq!(rig.said(1), first);
    let call_id = header(&first, "Call-ID").to_owned();
    for stranger in ["From: s1\r\n", "From: m\r\n", ""] {
        rig.tell(Tell::Command(format!("Call-ID: {call_id}\r\n{stranger}\r\n").as_bytes()));
    }
    rig.silence(1_000);
    rig.tell(Tell::Command(format!("Call-ID: {call_id}\r\nFrom: s2\r\n\r\n").as_bytes()));
    rig.expect("OPTIONS");
    let counters = rig.end();
    assert_eq!(counters.drops.count(DropCause::CommandFromStranger), 3);
    assert_eq!(counters.calls_succeeded, 1);
}

#[test]
fn a_call_does_not_care_for_the_end_of_an_instance_that_it_does_not_wait_for() {
    let mut rig = rig(Peering::Named, NAMED);
    rig.tell_all(&[Tell::Reachable(0), Tell::Reachable(1)]);
    rig.run(200);
    rig.tell(Tell::Gone(Some(0)));
    rig.run(200);
    assert_eq!(rig.failures(), []);
    rig.tell(Tell::Gone(Some(1)));
    rig.run(200);
    assert_eq!(rig.failures(), [(FailureCause::PeerGone, 1)]);
    rig.end();
}

#[test]
fn calls_beyond_the_limit_are_refused_so_that_nobody_waits() {
    let mut options = side(builtin("3pcc-C-B"), Peering::Pair);
    options.engine.calls_total = Some(1);
    let mut rig = Rig::with(options);
    rig.tell(Tell::Command(b"Call-ID: one@a\r\n\r\n"));
    rig.tell(Tell::Reachable(0));
    rig.tell(Tell::Command(b"Call-ID: two@a\r\n\r\n"));
    assert_eq!(rig.said(0), "call-id: two@a\r\ninternal-cmd: abort_call\r\n\r\n");
    rig.expect("INVITE");
    assert_eq!(rig.counters().calls_started(), 1);
    rig.end();
}

#[test]
fn commands_for_a_call_that_is_over_come_too_late() {
    let mut rig = Rig::with(side(builtin("3pcc-C-B"), Peering::Pair));
    rig.tell(Tell::Reachable(0));
    rig.tell(Tell::Command(b"Call-ID: one@a\r\n\r\n"));
    rig.expect("INVITE");
    rig.tell(Tell::Command(b"Call-ID: one@a\r\nInternal-Cmd: abort_call\r\n\r\n"));
    assert_eq!(rig.failures(), [(FailureCause::CallRejected, 1)]);
    rig.tell(Tell::Command(b"Call-ID: one@a\r\n\r\n"));
    let counters = rig.end();
    assert_eq!((counters.dead_call_messages, counters.calls_started()), (1, 1));
}

#[test]
fn calls_that_commands_start_have_sockets_of_their_own() {
    let mut options = side(builtin("3pcc-C-B"), Peering::Pair);
    options.per_call_sockets = Some(2);
    let mut rig = Rig::with(options);
    rig.tell(Tell::Reachable(0));
    for number in 0..3 {
        rig.tell(Tell::Command(format!("Call-ID: {number}@a\r\n\r\n").as_bytes()));
    }
    let sources: Vec<_> = (0..3).map(|_| rig.expect("INVITE").source).collect();
    assert_ne!(sources[0], sources[1]);
    // The third shares one of them.
    assert!(sources[..2].contains(&sources[2]), "{sources:?}");
    rig.end();
}

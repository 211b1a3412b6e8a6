//! Matching of received messages to steps, and jumps between steps: one rule of the scenario
//! language per test.

use gossipper::dataplane::WorkerRequest;
use gossipper::stats::{Counters, FailureCause};

use crate::harness;
use crate::harness::MS;
use crate::harness::rig::{Got, Rig, answer, header, request, request_back};
use crate::harness::scenarios::{inline, spelled_out};
use crate::harness::side::{CALLEE, SideOptions};

fn client(steps: &str) -> SideOptions {
    SideOptions::new(inline("client", steps))
}

fn server(steps: &str) -> SideOptions {
    SideOptions::new(inline("server", steps))
}

#[track_caller]
fn assert_succeeded(counters: &Counters, calls: u64) {
    assert_eq!((counters.calls_succeeded, counters.calls_failed), (calls, 0), "{counters:?}");
}

#[test]
fn optional_receives_match_ahead_and_behind() {
    let mut rig = Rig::with(client(
        r#"<send retrans="500">@INVITE@</send>
        <recv response="100" optional="true"/>
        <recv response="180" optional="true"/>
        <recv response="183" optional="true"/>
        <recv response="200"/>
        <send>@ACK@</send>"#,
    ));
    let invite = rig.expect("INVITE").text;
    for code in [183, 100, 180] {
        rig.send(&answer(&invite, code, "t"));
    }
    rig.send(&answer(&invite, 200, "t"));
    rig.expect("ACK");
    assert_succeeded(&rig.end(), 1);
}

#[test]
fn a_global_receive_matches_at_any_later_point() {
    let mut rig = Rig::with(client(
        r#"<send retrans="500">@INVITE@</send>
        <recv response="180" optional="global"/>
        <recv response="200"/>
        <send>@ACK@</send>
        <pause milliseconds="1000"/>
        <send retrans="500">@BYE@</send>
        <recv response="200"/>"#,
    ));
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 200, "t"));
    rig.expect("ACK");
    rig.send(&answer(&invite, 180, "t"));
    let bye = rig.expect("BYE");
    assert_eq!(bye.at_ms, 1000);
    rig.send(&answer(&bye.text, 200, "t"));
    assert_succeeded(&rig.end(), 1);
}

#[test]
fn advance_state_false_runs_the_actions_in_place() {
    let mut rig = Rig::with(client(
        r#"<send retrans="500">@INVITE@</send>
        <recv response="183" optional="true" advance_state="false" counter="progress"/>
        <recv response="180" optional="true"/>
        <recv response="200"/>
        <send>@ACK@</send>"#,
    ));
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 183, "t"));
    rig.send(&answer(&invite, 180, "t"));
    rig.send(&answer(&invite, 183, "other"));
    rig.send(&answer(&invite, 200, "t"));
    rig.expect("ACK");
    rig.run(5_000);
    assert!(rig.world.is_finished(0));
    rig.world.sides[0].check_end(false).unwrap();
    assert_eq!(rig.side().generic_counters, [2]);
}

#[test]
fn patterns_match_methods_and_codes() {
    let mut rig = Rig::with(client(
        r#"<send retrans="500">@OPTIONS@</send>
        <recv response="1.." regexp_match="true" optional="true"/>
        <recv response="[45].." regexp_match="true"/>
        <recv request="INFO|NOTIFY" regexp_match="true"/>
        <send>@200@</send>"#,
    ));
    let options = rig.expect("OPTIONS").text;
    rig.send(&answer(&options, 199, "t"));
    rig.send(&answer(&options, 404, "t"));
    rig.send(&request_back("NOTIFY", &options, 3));
    let ok = rig.expect("SIP/2.0 200").text;
    assert_eq!(header(&ok, "CSeq"), "3 NOTIFY");
    assert_succeeded(&rig.end(), 1);
}

#[test]
fn the_label_for_unexpected_messages_takes_over() {
    let mut rig = Rig::with(client(
        r#"<send retrans="500">@OPTIONS@</send>
        <recv response="200"/>
        <label id="end"/>
        <nop next="done"/>
        <label id="_unexp.main"/>
        <send retrans="500" next="end">@INFO@</send>
        <label id="done"/>
        <pause milliseconds="10"/>"#,
    ));
    let options = rig.expect("OPTIONS").text;
    rig.send(&answer(&options, 404, "t"));
    rig.expect("INFO");
    rig.end();
}

#[test]
fn a_timeout_goes_to_its_label() {
    let mut rig = Rig::with(client(
        r#"<send retrans="500">@OPTIONS@</send>
        <recv response="200" timeout="300" ontimeout="late"/>
        <nop next="over"/>
        <label id="late"/>
        <send>@INFO@</send>
        <recv response="200"/>
        <label id="over"/>
        <nop counter="over"/>"#,
    ));
    rig.expect("OPTIONS");
    // Sends wait while an earlier message is being repeated, as in SIPp.
    rig.silence(400);
    let again = rig.expect("OPTIONS");
    assert_eq!(again.at_ms, 500);
    rig.end();
}

#[test]
fn exhausted_retransmission_goes_to_its_label() {
    let mut rig = Rig::with(client(
        r#"<send retrans="500" ontimeout="late">@OPTIONS@</send>
        <recv response="200"/>
        <nop next="over"/>
        <label id="late"/>
        <send>@INFO@</send>
        <recv response="200"/>
        <label id="over"/>
        <nop counter="over"/>"#,
    ));
    for _ in 0..10 {
        rig.expect("OPTIONS");
    }
    let info = rig.expect("INFO");
    assert_eq!(info.at_ms, 31_500, "at the end of the tenth interval");
    rig.send(&answer(&info.text, 200, "t"));
    assert_succeeded(&rig.end(), 1);
}

#[test]
fn next_follows_its_test_and_its_chance() {
    let taken = |set: &str, chance: &str| -> Got {
        let mut rig = Rig::with(client(&format!(
            r#"<nop>{set}</nop>
            <send retrans="500" next="jump" test="t" {chance}>@OPTIONS@</send>
            <send>@INFO@</send>
            <pause milliseconds="10" next="over"/>
            <label id="jump"/>
            <recv response="200"/>
            <label id="over"/>
            <nop><action><assign assign_to="t" value="0"/></action></nop>"#
        )));
        let options = rig.expect("OPTIONS").text;
        rig.run(20);
        let found = rig.inbox.pop();
        rig.send(&answer(&options, 200, "t"));
        rig.end();
        found.unwrap_or(Got { at_ms: 0, source: CALLEE, text: String::new() })
    };
    let set = r#"<action><assign assign_to="t" value="1"/></action>"#;
    assert_eq!(taken(set, "").text, "");
    // Unset, or not chosen by chance: goes on to a send, which waits for the pending
    // retransmission.
    assert_eq!(taken("", "").text, "");
    assert_eq!(taken(set, r#"chance="0""#).text, "");
}

#[test]
fn durations_and_counters_are_recorded() {
    let mut rig = Rig::with(client(
        r#"<send retrans="500" start_rtd="setup" counter="sent">@INVITE@</send>
        <recv response="180" optional="true" rtd="setup" repeat_rtd="true"/>
        <recv response="200" rtd="setup"/>
        <send counter="sent">@ACK@</send>"#,
    ));
    let invite = rig.expect("INVITE").text;
    rig.run(100);
    rig.send(&answer(&invite, 180, "t"));
    rig.run(300);
    rig.send(&answer(&invite, 200, "t"));
    rig.expect("ACK");
    rig.run(5_000);
    rig.world.sides[0].check_end(false).unwrap();
    let setup = &rig.side().histograms.rtds[0];
    assert_eq!(setup.count(), 2);
    assert!((setup.quantile_ns(1.0) as i64 - 400 * MS as i64).abs() < 2 * MS as i64);
    assert_eq!(rig.side().generic_counters, [2]);
}

#[test]
fn global_variables_are_set_before_the_first_call() {
    let program = spelled_out(
        "client",
        r#"<Global variables="where,count"/>
        <init><nop><action><assign assign_to="count" value="41"/>
        <add assign_to="count" value="1"/></action></nop></init>
        <send retrans="500"><![CDATA[
OPTIONS sip:[$where]@[remote_ip] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: <sip:a@b>;tag=[call_number]
To: <sip:c@d>
Call-ID: [call_id]
CSeq: [cseq] OPTIONS
Max-Forwards: 70
X-Count: [$count]
Content-Length: 0

]]></send>
        <recv response="200"/>"#,
    );
    let options = SideOptions::new(program)
        .with(|engine| engine.rules.sets = vec![("where".to_owned(), "room".to_owned())]);
    let mut rig = Rig::with(options);
    let options = rig.expect("OPTIONS sip:room@192.0.2.2 SIP/2.0").text;
    assert_eq!(header(&options, "X-Count"), "42.000000");
    rig.send(&answer(&options, 200, "t"));
    rig.run(5_000);
    assert!(rig.world.is_finished(0));
}

#[test]
fn a_call_is_known_by_what_stands_behind_three_slashes() {
    let caller = harness::scenarios::expand(
        r#"<send retrans="500">@INVITE@</send><recv response="180"/><recv response="200"/>"#,
    );
    let program = spelled_out("client", &caller.replace("[call_id]", "leg///[call_id]"));
    let mut rig = Rig::with(SideOptions::new(program));
    let invite = rig.expect("INVITE").text;
    assert!(header(&invite, "Call-ID").starts_with("leg///"));
    rig.send(&answer(&invite, 180, "t"));
    rig.request(WorkerRequest::CancelCalls);
    let cancel = rig.expect("CANCEL").text;
    assert_eq!(header(&cancel, "Call-ID"), header(&invite, "Call-ID"));
    rig.send(&answer(&cancel, 200, "t"));
    rig.send(&answer(&invite, 487, "t"));
    let ack = rig.expect("ACK").text;
    assert_eq!(header(&ack, "Call-ID"), header(&invite, "Call-ID"));
    let counters = rig.end();
    assert_eq!(counters.failures.count(FailureCause::Cancelled), 1);
    assert_eq!(counters.out_of_call_messages, 0);
}

#[test]
fn a_failed_regular_expression_fails_the_call_at_its_end() {
    let mut rig = Rig::with(server(
        r#"<recv request="OPTIONS"><action>
        <ereg regexp="gold" search_in="hdr" header="X-Class:" check_it="true" assign_to="class"/>
        </action></recv>
        <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=x
[last_Call-ID:]
[last_CSeq:]
X-Answer: [$class]
Content-Length: 0

]]></send>"#,
    ));
    let plain = request("OPTIONS", "a", 1, "");
    rig.send(&plain.replace("Max-Forwards", "X-Class: gold\r\nMax-Forwards"));
    assert_eq!(header(&rig.expect("SIP/2.0 200").text, "X-Answer"), "gold");
    let silver = plain.replace("Call-ID: a", "Call-ID: b");
    rig.send(&silver.replace("Max-Forwards", "X-Class: silver\r\nMax-Forwards"));
    rig.expect("SIP/2.0 200");
    rig.send(&plain.replace("Call-ID: a", "Call-ID: c"));
    rig.expect("SIP/2.0 200");
    let counters = rig.end();
    assert_eq!(counters.calls_succeeded, 1);
    assert_eq!(counters.failures.count(FailureCause::RegexpDoesntMatch), 1);
    assert_eq!(counters.failures.count(FailureCause::RegexpHdrNotFound), 1);
}

/// Every kind of check, alone. The rest of its actions is skipped, the rest of the scenario is not.
/// The call fails because of it at its end.
#[test]
fn a_failed_check_ends_its_actions_and_not_the_scenario() {
    let checks = [
        (
            FailureCause::RegexpDoesntMatch,
            r#"<ereg regexp="no" search_in="body" check_it="true" assign_to="x"/>"#,
        ),
        (
            FailureCause::RegexpShouldntMatch,
            r#"<ereg regexp="SIP" search_in="msg" check_it_inverse="true" assign_to="x"/>"#,
        ),
        // An absent header is empty text for an action that does not insist on it.
        (
            FailureCause::RegexpShouldntMatch,
            r#"<ereg regexp="^$" search_in="hdr" header="X-No:" check_it_inverse="true"
                 assign_to="x"/>"#,
        ),
        (
            FailureCause::RegexpHdrNotFound,
            r#"<ereg regexp="." search_in="hdr" header="X-No:" check_it="true" assign_to="x"/>"#,
        ),
        (
            FailureCause::TestDoesntMatch,
            r#"<test variable="one" compare="equal" value="2" check_it="true"/>"#,
        ),
        (
            FailureCause::TestShouldntMatch,
            r#"<test variable="one" compare="equal" value="1" check_it_inverse="true"/>"#,
        ),
        (
            FailureCause::StrcmpDoesntMatch,
            r#"<strcmp assign_to="x" variable="text" value="b" check_it="true"/>"#,
        ),
        (
            FailureCause::StrcmpShouldntMatch,
            r#"<strcmp assign_to="x" variable="text" value="a" check_it_inverse="true"/>"#,
        ),
    ];
    for (cause, check) in checks {
        let mut rig = Rig::with(client(&format!(
            r#"<send retrans="500">@OPTIONS@</send>
            <recv response="200"><action>
            <assign assign_to="one" value="1"/>
            <assignstr assign_to="text" value="a"/>
            <assignstr assign_to="x" value="-"/>
            <assignstr assign_to="state" value="before"/>
            {check}
            <assignstr assign_to="state" value="behind"/>
            </action></recv>
            <send retrans="500">{}</send>
            <recv response="200"/>"#,
            "<![CDATA[
MESSAGE sip:[remote_ip] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:b>;tag=1
To: <sip:d>
Call-ID: [call_id]
CSeq: [cseq] MESSAGE
X-State: [$state] [$x] [$one] [$text]
Content-Length: 0

]]>"
        )));
        let options = rig.expect("OPTIONS").text;
        rig.send(&answer(&options, 200, "t"));
        let message = rig.expect("MESSAGE").text;
        assert!(header(&message, "X-State").starts_with("before"), "{cause:?}");
        assert_eq!(rig.failures(), [], "{cause:?}");
        rig.send(&answer(&message, 200, "t"));
        let counters = rig.end();
        assert_eq!(counters.failures.nonzero().collect::<Vec<_>>(), [(cause, 1)]);
        assert_eq!((counters.calls_succeeded, counters.warnings), (0, 1), "{cause:?}");
    }
}

/// As in SIPp: the last failed check is the cause, unless the call ends for another reason.
#[test]
fn the_last_failed_check_is_the_cause_unless_the_call_ends_of_something_else() {
    let steps = r#"<send retrans="500">@OPTIONS@</send>
        <recv response="200"><action>
        <ereg regexp="no" search_in="msg" check_it="true" assign_to="x"/>
        </action></recv>
        <send retrans="500">@INFO@</send>
        <recv response="200" timeout="1000"><action>
        <test variable="x" compare="equal" value="7" check_it="true"/>
        </action></recv>"#;
    for (is_answered, cause) in
        [(true, FailureCause::TestDoesntMatch), (false, FailureCause::RecvTimeout)]
    {
        let mut rig = Rig::with(client(steps));
        let options = rig.expect("OPTIONS").text;
        rig.send(&answer(&options, 200, "t"));
        let info = rig.expect("INFO").text;
        if is_answered {
            rig.send(&answer(&info, 200, "t"));
        }
        let counters = rig.end();
        assert_eq!(counters.failures.nonzero().collect::<Vec<_>>(), [(cause, 1)]);
    }
}

/// As in SIPp: a check that fails before any message was received is a warning.
#[test]
fn a_check_that_fails_outside_a_receive_is_a_warning() {
    let check =
        r#"<action><test variable="x" compare="equal" value="7" check_it="true"/></action>"#;
    let mut rig = Rig::with(client(&format!(
        r#"<nop><action><assign assign_to="x" value="1"/></action></nop>
        <nop>{check}</nop>
        <send retrans="500">@OPTIONS@{check}</send>
        <recv response="200"/>
        <pause milliseconds="10">{check}</pause>"#
    )));
    let options = rig.expect("OPTIONS").text;
    rig.send(&answer(&options, 200, "t"));
    let counters = rig.end();
    assert_succeeded(&counters, 1);
    assert_eq!(counters.warnings, 3);
}

/// The actions of a send look at the sent message; `[last_*]` is still the last received one.
#[test]
fn actions_of_a_send_look_at_the_message_just_sent() {
    let mut rig = Rig::with(client(
        r#"<send retrans="500">@OPTIONS@
        <action>
        <ereg regexp="branch=(.*)" search_in="hdr" header="Via:" assign_to="whole,branch"/>
        </action></send>
        <recv response="200"/>
        <send retrans="500"><![CDATA[
MESSAGE sip:[remote_ip] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:b>;tag=1
To: <sip:d>
Call-ID: [call_id]
CSeq: [cseq] MESSAGE
X-Before: [$branch] [$whole]
Content-Length: [len]

hello]]>
        <action>
        <ereg regexp="h.*o" search_in="body" assign_to="body"/>
        <ereg regexp="^MESSAGE" search_in="msg" assign_to="method"/>
        <assignstr assign_to="last" value="[last_CSeq]"/>
        </action></send>
        <recv response="200"/>
        <send><![CDATA[
INFO sip:[remote_ip] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:b>;tag=1
To: <sip:d>
Call-ID: [call_id]
CSeq: [cseq] INFO
X-Found: [$body] [$method] [$last]
Content-Length: 0

]]></send>"#,
    ));
    let options = rig.expect("OPTIONS").text;
    let branch = header(&options, "Via").split_once("branch=").unwrap().1;
    rig.send(&answer(&options, 200, "t"));
    let message = rig.expect("MESSAGE").text;
    assert_eq!(header(&message, "X-Before"), format!("{branch} branch={branch}"));
    rig.send(&answer(&message, 200, "t"));
    let info = rig.expect("INFO").text;
    let last = header(&options, "CSeq");
    assert_eq!(header(&info, "X-Found"), format!("hello MESSAGE CSeq: {last}"));
    assert_succeeded(&rig.end(), 1);
}

/// The request that SIPp sends with an empty `[next_url]`.
#[test]
fn a_request_without_a_request_uri_is_taken_by_its_method() {
    let mut rig = Rig::with(server(r#"<recv request="OPTIONS"/><send>@200@</send>"#));
    rig.send(&request("OPTIONS", "a", 1, "").replace("sip:service@192.0.2.2:5060 SIP", " SIP"));
    rig.expect("SIP/2.0 200");
    rig.send(&request("OPTIONS", "b", 1, "").replace("sip:service@192.0.2.2:5060 ", ""));
    rig.expect("SIP/2.0 400");
    let counters = rig.end();
    assert_succeeded(&counters, 1);
    assert_eq!((counters.warnings, counters.parse_errors), (1, 1));
}

/// `_unexp.retaddr` holds the step that the call waited at, so that a scenario can go back to it.
#[test]
fn the_label_for_unexpected_messages_can_jump_back() {
    let mut rig = Rig::with(client(
        r#"<send retrans="500">@OPTIONS@</send>
        <recv response="200"/>
        <nop next="done"/>
        <label id="_unexp.main"/>
        <nop>
          <action><jump variable="_unexp.retaddr"/></action>
        </nop>
        <label id="done"/>
        <send>@INFO@</send>"#,
    ));
    let options = rig.expect("OPTIONS").text;
    rig.send(&answer(&options, 404, "t"));
    rig.send(&answer(&options, 200, "t"));
    rig.expect("INFO");
    let counters = rig.end();
    assert_eq!((counters.calls_succeeded, counters.calls_failed), (1, 0), "{counters:?}");
}

/// A receive whose `condexec` does not hold is skipped, also when looking ahead.
#[test]
fn a_receive_that_is_switched_off_matches_nothing() {
    let mut rig = Rig::with(client(
        r#"<nop>
          <action>
            <assign assign_to="off" value="0"/>
          </action>
        </nop>
        <send retrans="500">@OPTIONS@</send>
        <recv response="100" optional="true"/>
        <recv response="404" optional="true" condexec="off"/>
        <recv response="200"/>"#,
    ));
    let options = rig.expect("OPTIONS").text;
    rig.send(&answer(&options, 404, "t"));
    let counters = rig.end();
    assert_eq!((counters.calls_succeeded, counters.calls_failed), (0, 1), "{counters:?}");
}

#[test]
fn a_message_may_have_a_thousand_header_lines() {
    // The answer copies those headers of the request that decide its way.
    let many = |text: &str, lines: usize| {
        let more = "X-More: of the same\r\n".repeat(lines - text.matches("\r\n").count() + 2);
        text.replacen("\r\nCall-ID", &format!("\r\n{more}Call-ID"), 1)
    };
    let mut rig = Rig::with(server(r#"<recv request="OPTIONS"/><send>@200@</send>"#));
    rig.send(&many(&request("OPTIONS", "c", 1, ""), 1024));
    assert_eq!(header(&rig.expect("SIP/2.0 200").text, "Call-ID"), "c");
    rig.send(&many(&request("OPTIONS", "d", 1, ""), 1025));
    rig.expect("SIP/2.0 513");
    assert_succeeded(&rig.end(), 1);

    let mut rig = Rig::with(client(r#"<send>@OPTIONS@</send><recv response="200"/>"#));
    let options = rig.expect("OPTIONS").text;
    rig.send(&many(&answer(&options, 200, "t"), 200));
    assert_succeeded(&rig.end(), 1);
}

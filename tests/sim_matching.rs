//! How received messages meet steps, and where steps lead: one rule of the scenario language per
//! test.

mod sim;

use gossipper::dataplane::Command;
use gossipper::stats::{Counters, FailureCause};

use sim::MS;
use sim::rig::{Got, Rig, answer, header, request, request_back};
use sim::scenarios::{inline, spelled_out};
use sim::side::{CALLEE, SideOptions};

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
    // Unset, or no luck: falls through to a send, which waits for the pending retransmission.
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
        .with(|engine| engine.sets = vec![("where".to_owned(), "room".to_owned())]);
    let mut rig = Rig::with(options);
    let options = rig.expect("OPTIONS sip:room@192.0.2.2 SIP/2.0").text;
    assert_eq!(header(&options, "X-Count"), "42.000000");
    rig.send(&answer(&options, 200, "t"));
    rig.run(5_000);
    assert!(rig.world.is_finished(0));
}

#[test]
fn a_call_is_known_by_what_stands_behind_three_slashes() {
    let caller = sim::scenarios::expand(
        r#"<send retrans="500">@INVITE@</send><recv response="180"/><recv response="200"/>"#,
    );
    let program = spelled_out("client", &caller.replace("[call_id]", "leg///[call_id]"));
    let mut rig = Rig::with(SideOptions::new(program));
    let invite = rig.expect("INVITE").text;
    assert!(header(&invite, "Call-ID").starts_with("leg///"));
    rig.send(&answer(&invite, 180, "t"));
    rig.command(Command::CancelCalls);
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
fn a_failed_regular_expression_fails_the_call() {
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
    rig.send(&plain.replace("Call-ID: a", "Call-ID: c"));
    rig.silence(100);
    let counters = rig.end();
    assert_eq!(counters.calls_succeeded, 1);
    assert_eq!(counters.failures.count(FailureCause::RegexpDoesntMatch), 1);
    assert_eq!(counters.failures.count(FailureCause::RegexpHdrNotFound), 1);
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

/// A receive whose `condexec` does not hold is not there, also when looking ahead.
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
    // The answer copies those of the request that say where it goes.
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

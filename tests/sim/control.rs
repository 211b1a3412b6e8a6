//! Changes by an operator during calls (users, the limit of open calls, pauses), and differences
//! under the name `sipp`: an absent peer, and the end of a run.

use gossipper::dataplane::WorkerRequest;
use gossipper::engine::{Arrivals, StopRequest};
use gossipper::scenario::{Program, compile};
use gossipper::stats::{FailureCause, WithheldCause};

use crate::harness::rig::{Rig, answer, header, request, to_tag};
use crate::harness::scenarios::{builtin, inline};
use crate::harness::side::{CALLEE, CALLER, SideOptions, rate};

/// A caller whose calls last as long as the test wants: they end with the final response.
fn options() -> Program {
    let xml = r#"<scenario name="o"><send><![CDATA[
OPTIONS sip:[service]@[remote_ip] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: <sip:a@[local_ip]>;tag=[call_number]
To: <sip:[service]@[remote_ip]>
Call-ID: [call_id]
CSeq: 1 OPTIONS
User: [userid]
Content-Length: 0
]]></send><recv response="200"/></scenario>"#;
    compile(xml, "o.xml", &[]).unwrap_or_else(|error| panic!("{error}"))
}

fn users(count: u64) -> Rig {
    Rig::with(SideOptions::new(options()).with(|engine| {
        engine.arrivals = Arrivals::Users(count);
        engine.calls_total = None;
    }))
}

/// The requests that have come since the last look.
fn calls(rig: &mut Rig, ms: u64) -> Vec<String> {
    rig.run(ms);
    rig.inbox.drain(..).map(|got| got.text).collect()
}

fn user_ids(calls: &[String]) -> Vec<String> {
    let mut ids: Vec<String> = calls.iter().map(|text| header(text, "User").to_owned()).collect();
    ids.sort();
    ids
}

#[test]
fn more_users_begin_at_once_and_each_has_an_id_of_its_own() {
    let mut rig = users(2);
    let mut open = calls(&mut rig, 100);
    assert_eq!(open.len(), 2);
    rig.request(WorkerRequest::SetUsers(5));
    open.extend(calls(&mut rig, 100));
    assert_eq!(open.len(), 5);
    let ids = user_ids(&open);
    let mut distinct = ids.clone();
    distinct.dedup();
    assert_eq!(ids, distinct);
}

#[test]
fn users_that_are_too_many_finish_their_call_and_start_no_other() {
    let mut rig = users(4);
    let open = calls(&mut rig, 100);
    assert_eq!(open.len(), 4);
    rig.request(WorkerRequest::SetUsers(1));
    assert_eq!(calls(&mut rig, 100).len(), 0);
    for call in &open {
        rig.send(&answer(call, 200, "t"));
    }
    let again = calls(&mut rig, 100);
    assert_eq!(again.len(), 1);
    // Returning users are the same again, and no user has two calls.
    rig.request(WorkerRequest::SetUsers(4));
    let open = [again, calls(&mut rig, 100)].concat();
    assert_eq!(open.len(), 4);
    let mut ids = user_ids(&open);
    ids.dedup();
    assert_eq!(ids.len(), 4);
    assert_eq!(rig.counters().calls_succeeded, 4);
}

#[test]
fn a_user_taken_away_and_given_back_within_a_call_still_has_one_call() {
    let mut rig = users(3);
    let open = calls(&mut rig, 100);
    rig.request(WorkerRequest::SetUsers(1));
    rig.request(WorkerRequest::SetUsers(3));
    assert_eq!(calls(&mut rig, 100).len(), 0);
    for call in &open {
        rig.send(&answer(call, 200, "t"));
    }
    assert_eq!(calls(&mut rig, 100).len(), 3);
}

/// A caller that waits for answers measures the peer's speed, and no longer its own.
#[test]
fn seconds_after_the_last_start_are_not_judged() {
    let mut rig = Rig::with(SideOptions::new(options()).with(|engine| {
        engine.arrivals = rate(200.0);
        engine.calls_total = Some(500);
        engine.pool_calls = 512;
    }));
    let start_ns = rig.world.start_ns;
    rig.world.sides[0].aggregate(start_ns);
    assert_eq!(calls(&mut rig, 10_100).len(), 500);
    let snapshot = rig.world.sides[0].aggregate.as_ref().expect("it aggregates").snapshot();
    assert_eq!(snapshot.elapsed_ns / 1_000_000_000, 10);
    // The last call is due after two and a half seconds, within the third.
    assert_eq!(snapshot.verdict.judged_seconds, 3);
}

#[test]
fn paused_users_start_no_calls_until_they_go_on() {
    let mut rig = users(2);
    let open = calls(&mut rig, 100);
    rig.request(WorkerRequest::SetPaused(true));
    for call in &open {
        rig.send(&answer(call, 200, "t"));
    }
    assert_eq!(calls(&mut rig, 5000).len(), 0);
    rig.request(WorkerRequest::SetPaused(false));
    assert_eq!(calls(&mut rig, 100).len(), 2);
}

#[test]
fn a_lower_limit_holds_calls_back_and_a_higher_one_lets_them_go() {
    let mut rig = Rig::with(SideOptions::new(options()).with(|engine| {
        engine.arrivals = rate(100.0);
        engine.calls_total = None;
        engine.concurrent_max = Some(10);
    }));
    assert_eq!(calls(&mut rig, 1000).len(), 10);
    rig.request(WorkerRequest::SetCallLimit(4));
    assert_eq!(calls(&mut rig, 1000).len(), 0);
    rig.request(WorkerRequest::SetCallLimit(15));
    assert_eq!(calls(&mut rig, 1000).len(), 5);
    assert!(rig.counters().withheld.count(WithheldCause::CallLimit) > 200);
}

#[test]
fn users_of_a_run_without_users_are_ignored() {
    let mut rig = Rig::with(SideOptions::new(options()).with(|engine| {
        engine.arrivals = rate(10.0);
        engine.calls_total = None;
    }));
    rig.request(WorkerRequest::SetUsers(50));
    assert_eq!(calls(&mut rig, 950).len(), 10);
}

#[test]
fn a_listener_that_is_off_refuses_new_calls_and_keeps_open_ones() {
    let mut rig = Rig::new(builtin("uas"));
    rig.send(&request("INVITE", "open", 1, ""));
    rig.expect("SIP/2.0 180");
    let tag = to_tag(&rig.expect("SIP/2.0 200").text).to_owned();
    rig.send(&request("ACK", "open", 1, &tag));
    rig.request(WorkerRequest::SetAccepting(false));
    // A refused request leaves no memory: a repetition is refused again.
    for _ in 0..2 {
        rig.send(&request("INVITE", "refused", 1, ""));
        let busy = rig.expect("SIP/2.0 503").text;
        assert_eq!(header(&busy, "Retry-After"), "10");
        assert_eq!(header(&busy, "Call-ID"), "refused");
        assert!(!to_tag(&busy).is_empty());
    }
    rig.send(&request("ACK", "refused", 1, "t"));
    rig.run(1000);
    assert!(rig.inbox.is_empty(), "{:?}", rig.inbox);
    rig.send(&request("BYE", "open", 2, &tag));
    rig.expect("SIP/2.0 200");
    rig.run(5000);
    let counters = rig.counters();
    assert_eq!((counters.calls_started(), counters.calls_succeeded), (1, 1), "{counters:?}");
    assert_eq!(counters.withheld.count(WithheldCause::ListenerOff), 2);
    assert_eq!(counters.out_of_call_messages, 1);
    rig.request(WorkerRequest::SetAccepting(true));
    rig.send(&request("INVITE", "later", 1, ""));
    rig.expect("SIP/2.0 180");
}

#[test]
fn a_new_rate_takes_effect_within_a_tenth_of_a_second() {
    let mut rig = Rig::with(SideOptions::new(options()).with(|engine| {
        engine.arrivals = rate(0.1);
        engine.calls_total = None;
        engine.pool_calls = 4096;
    }));
    assert!(calls(&mut rig, 3_000).len() <= 1);
    let told_ms = rig.ms();
    rig.request(WorkerRequest::SetRate(100.0));
    let first = rig.expect("OPTIONS").at_ms - told_ms;
    assert!(first <= 11, "the first call at the new rate comes after {first} ms");
    let second = calls(&mut rig, 1_000).len();
    assert!((99..=101).contains(&second), "{second} calls in a second");
    // Down again: nothing that was planned at the old rate comes.
    rig.request(WorkerRequest::SetRate(1.0));
    let rest = calls(&mut rig, 990);
    assert!(rest.len() <= 1, "{} calls at the old rate", rest.len());
}

#[test]
fn a_lighter_request_to_stop_does_not_replace_a_heavier_one() {
    let (now, softly) = (r#"<exec int_cmd="stop_now"/>"#, r#"<exec int_cmd="stop_gracefully"/>"#);
    let error = r#"<error message="boom"/>"#;
    let fatal = || StopRequest::Fatal("boom".to_owned());
    for (actions, expected) in [
        ([error, softly], fatal()),
        ([softly, error], fatal()),
        ([error, now], fatal()),
        ([now, softly], StopRequest::Now),
        ([softly, now], StopRequest::Now),
    ] {
        let actions = actions.concat();
        let recv = format!(r#"<recv response="200"><action>{actions}</action></recv>"#);
        let mut rig = Rig::new(inline("client", &format!("<send>@OPTIONS@</send>{recv}")));
        let options = rig.expect("OPTIONS").text;
        rig.send(&answer(&options, 200, "t"));
        rig.run(10);
        assert_eq!(rig.side().stops, [expected], "{actions}");
    }
}

#[test]
fn whoever_starts_later_is_reached_by_a_repetition_where_icmp_fails_no_calls() {
    let mut rig = Rig::with(SideOptions::new(builtin("options")).with(|engine| {
        engine.rules.icmp_fails_calls = false;
    }));
    rig.close_peer();
    rig.run(1_000);
    assert_eq!(rig.counters().calls_failed, 0);
    rig.open(CALLEE.port());
    let options = rig.expect("OPTIONS");
    assert_eq!(options.at_ms, 1_500);
    rig.send_from(1, CALLER, answer(&options.text, 200, "t").as_bytes());
    let counters = rig.end();
    assert_eq!((counters.calls_succeeded, counters.icmp_errors), (1, 2));
}

#[test]
fn where_icmp_fails_no_calls_nobody_there_is_silence() {
    let mut rig = Rig::with(SideOptions::new(builtin("uac")).with(|engine| {
        engine.rules.icmp_fails_calls = false;
    }));
    rig.close_peer();
    rig.run(60_000);
    let counters = rig.end();
    let failures: Vec<_> = counters.failures.nonzero().collect();
    assert_eq!(failures, [(FailureCause::MaxUdpRetrans, 1)]);
    assert_eq!((counters.retransmissions_sent, counters.icmp_errors), (5, 6));
    // A request that is not repeated is waited for, for as long as the scenario says.
    let mut rig = Rig::with(SideOptions::new(options()).with(|engine| {
        engine.rules.icmp_fails_calls = false;
        engine.rules.recv_timeout_ms = 30_000;
    }));
    rig.close_peer();
    rig.run(29_000);
    assert_eq!(rig.side().active(), 1);
    rig.run(2_000);
    let failures: Vec<_> = rig.end().failures.nonzero().collect();
    assert_eq!(failures, [(FailureCause::RecvTimeout, 1)]);
}

#[test]
fn a_run_that_waits_for_no_dialogs_ends_with_its_last_call() {
    let mut options = SideOptions::new(builtin("uac"));
    options.engine.rules.recv_timeout_ms = 5_000;
    options.linger_ns = 0;
    let mut rig = Rig::with(options);
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 180, "t"));
    assert_eq!(rig.expect("CANCEL").at_ms, 5_000);
    rig.run(1);
    assert!(rig.world.is_finished(rig.side));
    assert_eq!(rig.end().failures.count(FailureCause::RecvTimeout), 1);
}

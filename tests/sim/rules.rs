//! One rule of a call per test: exact messages, exact virtual times, exact counts.

use gossipper::dataplane::WorkerRequest;
use gossipper::engine::pacing::RatePlan;
use gossipper::engine::{Arrivals, DuplicateCheck};
use gossipper::stats::{Counters, FailureCause, WithheldCause};
use gossipper_uring::SimConfig;

use crate::harness::rig::{Rig, answer, header, request, request_back, to_tag};
use crate::harness::scenarios::builtin;
use crate::harness::side::{CALLEE, SideOptions, rate};
use crate::harness::{MS, SECOND, World};

/// Fails unless the side's calls failed by this cause, once.
#[track_caller]
fn assert_failed(counters: &Counters, cause: FailureCause) {
    let failures: Vec<_> = counters.failures.nonzero().collect();
    assert_eq!(failures, [(cause, 1)], "{counters:?}");
}

#[track_caller]
fn assert_succeeded(counters: &Counters, calls: u64) {
    assert_eq!((counters.calls_succeeded, counters.calls_failed), (calls, 0), "{counters:?}");
}

// Retransmission.

#[test]
fn an_unanswered_invite_is_sent_six_times() {
    let mut rig = Rig::new(builtin("uac"));
    assert_eq!(rig.times("INVITE"), [0, 500, 1500, 3500, 7500, 15_500]);
    let counters = rig.end();
    assert_failed(&counters, FailureCause::MaxUdpRetrans);
    assert_eq!(counters.retransmissions_sent, 5);
}

#[test]
fn an_unanswered_bye_is_repeated_nine_times_at_most_every_t2() {
    let mut rig = Rig::new(builtin("uac"));
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 200, "t"));
    rig.expect("ACK");
    let times = rig.times("BYE");
    let expected = [0, 500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500];
    assert_eq!(times, expected);
    assert_failed(&rig.end(), FailureCause::MaxUdpRetrans);
}

#[test]
fn a_provisional_answer_slows_a_request_down_to_t2() {
    let mut rig = Rig::new(builtin("options"));
    let options = rig.expect("OPTIONS").text;
    rig.send(&answer(&options, 100, ""));
    // The running interval ends as it was; later ones are T2.
    let mut times = rig.times("OPTIONS");
    times.truncate(3);
    assert_eq!(times, [500, 4500, 8500]);
    assert_failed(&rig.end(), FailureCause::MaxUdpRetrans);
}

#[test]
fn without_retransmission_nothing_is_repeated() {
    let options = SideOptions::new(builtin("uac")).with(|engine| {
        engine.rules.retransmission.enabled = false;
        engine.rules.recv_timeout_ms = 20_000;
    });
    let mut rig = Rig::with(options);
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 180, "t"));
    assert_eq!(rig.times("CANCEL"), [20_000]);
    assert_failed(&rig.end(), FailureCause::RecvTimeout);
}

#[test]
fn a_send_without_buffers_is_repeated_by_its_timer() {
    let full = SimConfig { no_buffer_ppm: 1_000_000, ..SimConfig::default() };
    let mut rig = Rig::on(SideOptions::new(builtin("options")), full.clone());
    rig.run(100);
    assert_eq!(rig.counters().send_no_buffer, 1);
    rig.world.net.set_config(SimConfig { no_buffer_ppm: 0, ..full });
    let options = rig.expect("OPTIONS");
    assert_eq!(options.at_ms, 500);
    rig.send(&answer(&options.text, 200, "t"));
    assert_succeeded(&rig.end(), 1);
}

// Ending a call.

#[test]
fn silence_after_ringing_is_cancelled() {
    let options =
        SideOptions::new(builtin("uac")).with(|engine| engine.rules.recv_timeout_ms = 5_000);
    let mut rig = Rig::with(options);
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 180, "t"));
    let cancel = rig.expect("CANCEL");
    assert_eq!(cancel.at_ms, 5_000);
    // RFC 3261 section 9.1: identified like the INVITE.
    assert_eq!(header(&cancel.text, "Via"), header(&invite, "Via"));
    assert_eq!(header(&cancel.text, "CSeq"), "1 CANCEL");
    assert_eq!(header(&cancel.text, "To"), header(&invite, "To"));
    assert_failed(&rig.counters(), FailureCause::RecvTimeout);
    assert_eq!(rig.side().lingering(), 1);
    // Repeated until answered.
    assert_eq!(rig.expect("CANCEL").at_ms, 5_500);
    rig.send(&answer(&cancel.text, 200, "t"));
    rig.silence(3_000);
    rig.send(&answer(&invite, 487, "t"));
    let ack = rig.expect("ACK").text;
    assert_eq!(header(&ack, "Via"), header(&invite, "Via"));
    assert_eq!(to_tag(&ack), "t");
    assert_eq!(rig.side().lingering(), 0);
    rig.end();
}

#[test]
fn a_cancel_that_found_nothing_is_not_repeated() {
    let options =
        SideOptions::new(builtin("uac")).with(|engine| engine.rules.recv_timeout_ms = 5_000);
    let mut rig = Rig::with(options);
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 180, "t"));
    let cancel = rig.expect("CANCEL").text;
    rig.send(&answer(&cancel, 481, "t"));
    rig.silence(40_000);
    rig.end();
}

#[test]
fn an_answer_that_crosses_the_cancel_is_hung_up() {
    let options =
        SideOptions::new(builtin("uac")).with(|engine| engine.rules.recv_timeout_ms = 5_000);
    let mut rig = Rig::with(options);
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 180, "t"));
    rig.expect("CANCEL");
    rig.send(&answer(&invite, 200, "t"));
    let ack = rig.expect("ACK").text;
    assert_eq!(header(&ack, "CSeq"), "1 ACK");
    assert_ne!(header(&ack, "Via"), header(&invite, "Via"));
    let bye = rig.expect("BYE").text;
    assert_eq!(header(&bye, "CSeq"), "2 BYE");
    assert_eq!(to_tag(&bye), "t");
    // The 200 again: the ACK again, and no second BYE for it.
    rig.send(&answer(&invite, 200, "t"));
    assert_eq!(rig.expect("ACK").text, ack);
    rig.send(&answer(&bye, 200, "t"));
    rig.silence(40_000);
    assert_failed(&rig.end(), FailureCause::RecvTimeout);
}

#[test]
fn the_answer_to_a_cancel_does_not_stop_the_bye_that_followed_it() {
    let options =
        SideOptions::new(builtin("uac")).with(|engine| engine.rules.recv_timeout_ms = 5_000);
    let mut rig = Rig::with(options);
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 180, "t"));
    let cancel = rig.expect("CANCEL").text;
    rig.send(&answer(&invite, 200, "t"));
    rig.expect("ACK");
    rig.expect("BYE");
    rig.send(&answer(&cancel, 200, "t"));
    assert_eq!(rig.expect("BYE").at_ms, 5_500);
    let bye = rig.expect("BYE");
    assert_eq!(bye.at_ms, 6_500);
    rig.send(&answer(&bye.text, 200, "t"));
    rig.silence(40_000);
    rig.end();
}

#[test]
fn a_refusal_is_acknowledged_and_fails_the_call() {
    let mut rig = Rig::new(builtin("uac"));
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 486, "t"));
    let ack = rig.expect("ACK").text;
    assert_eq!(header(&ack, "Via"), header(&invite, "Via"));
    assert_eq!(header(&ack, "CSeq"), "1 ACK");
    rig.silence(40_000);
    assert_failed(&rig.end(), FailureCause::UnexpectedMessage);
}

#[test]
fn a_failure_while_the_bye_is_under_way_does_not_stop_the_bye() {
    let mut rig = Rig::new(builtin("uac"));
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 200, "t"));
    rig.expect("ACK");
    let bye = rig.expect("BYE");
    // Ringing that was overtaken by the answer.
    rig.send(&answer(&invite, 183, "t"));
    assert_failed(&rig.counters(), FailureCause::UnexpectedMessage);
    assert_eq!(rig.expect("BYE").at_ms, 500);
    assert_eq!(rig.expect("BYE").at_ms, 1500);
    rig.send(&answer(&bye.text, 200, "t"));
    rig.silence(40_000);
    rig.end();
}

#[test]
fn a_late_refusal_does_not_stop_the_bye() {
    let mut rig = Rig::new(builtin("uac"));
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 200, "t"));
    rig.expect("ACK");
    rig.expect("BYE");
    for code in [183, 486] {
        rig.send(&answer(&invite, code, "t"));
    }
    rig.send(&answer(&invite, 486, "t").replace("CSeq: 1 INVITE", "CSeq: 0 INVITE"));
    let bye = rig.expect("BYE");
    assert_eq!(bye.at_ms, 500);
    rig.send(&answer(&bye.text, 200, "t"));
    rig.silence(40_000);
    rig.end();
}

#[test]
fn a_cancelled_call_is_hung_up() {
    let options = SideOptions::new(builtin("uac")).with(|engine| engine.rules.pause_ms = 10_000);
    let mut rig = Rig::with(options);
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 200, "t"));
    rig.expect("ACK");
    rig.run(1000);
    rig.request(WorkerRequest::CancelCalls);
    let bye = rig.expect("BYE").text;
    rig.send(&answer(&bye, 200, "t"));
    assert_failed(&rig.end(), FailureCause::Cancelled);
}

#[test]
fn calls_beyond_the_room_for_their_last_words_count_as_cancelled() {
    let mut options = SideOptions::new(builtin("uac")).with(|engine| {
        engine.rules.pause_ms = 60_000;
        engine.calls_total = Some(60);
    });
    options.driver.tx_small_slots = 100;
    let mut rig = Rig::with(options);
    for _ in 0..60 {
        let invite = rig.expect("INVITE").text;
        rig.send(&answer(&invite, 200, "t"));
        rig.expect("ACK");
    }
    // As with -timeout_error: one turn gets both, and no other turn follows.
    rig.request(WorkerRequest::CancelCalls);
    rig.request(WorkerRequest::StopNow);
    let farewells = rig.times("BYE").len();
    assert!((1..60).contains(&farewells), "{farewells}");
    let counters = rig.end();
    assert_eq!(counters.failures.count(FailureCause::Cancelled), 60, "{counters:?}");
}

#[test]
fn without_default_byes_a_failed_call_is_just_dropped() {
    let options = SideOptions::new(builtin("uac")).with(|engine| {
        engine.rules.recv_timeout_ms = 5_000;
        engine.rules.default_behaviors.bye = false;
    });
    let mut rig = Rig::with(options);
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 180, "t"));
    rig.silence(60_000);
    assert_failed(&rig.end(), FailureCause::RecvTimeout);
}

#[test]
fn a_hang_up_during_the_pause_is_answered() {
    let options = SideOptions::new(builtin("uac")).with(|engine| engine.rules.pause_ms = 10_000);
    let mut rig = Rig::with(options);
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 200, "peer"));
    rig.expect("ACK");
    rig.run(2_000);
    let bye = request_back("BYE", &invite, 7);
    rig.send(&bye);
    let ok = rig.expect("SIP/2.0 200").text;
    assert_eq!(header(&ok, "CSeq"), "7 BYE");
    rig.silence(40_000);
    assert_failed(&rig.end(), FailureCause::PeerHangup);
}

#[test]
fn nobody_there_fails_the_call_at_once() {
    let mut rig = Rig::new(builtin("uac"));
    rig.close_peer();
    rig.run(10);
    assert_failed(&rig.counters(), FailureCause::IcmpUnreachable);
    assert_eq!(rig.side().active(), 0);
    rig.end();
}

// Repetitions by the peer.

#[test]
fn a_repeated_answer_is_acknowledged_again() {
    let options = SideOptions::new(builtin("uac")).with(|engine| engine.rules.pause_ms = 5_000);
    let mut rig = Rig::with(options);
    let invite = rig.expect("INVITE").text;
    let ok = answer(&invite, 200, "t");
    rig.send(&ok);
    let ack = rig.expect("ACK").text;
    rig.send(&ok);
    assert_eq!(rig.expect("ACK").text, ack);
    let bye = rig.expect("BYE").text;
    // Also after another message was sent.
    rig.send(&ok);
    assert_eq!(rig.expect("ACK").text, ack);
    rig.send(&answer(&bye, 200, "t"));
    let counters = rig.end();
    assert_succeeded(&counters, 1);
    assert_eq!(counters.retransmissions_received, 2);
    assert_eq!((counters.retransmissions_sent, counters.acks_repeated), (2, 0));
}

#[test]
fn a_repeated_request_gets_its_answer_again_and_no_second_call() {
    let mut rig = Rig::new(builtin("uas"));
    rig.send(&request("INVITE", "a", 1, ""));
    rig.expect("SIP/2.0 180");
    let ok = rig.expect("SIP/2.0 200").text;
    rig.send(&request("INVITE", "a", 1, ""));
    assert_eq!(rig.expect("SIP/2.0 200").text, ok);
    let tag = to_tag(&ok).to_owned();
    rig.send(&request("ACK", "a", 1, &tag));
    rig.send(&request("BYE", "a", 2, &tag));
    let bye_ok = rig.expect("SIP/2.0 200").text;
    rig.run(1000);
    rig.send(&request("BYE", "a", 2, &tag));
    assert_eq!(rig.expect("SIP/2.0 200").text, bye_ok);
    let counters = rig.end();
    assert_succeeded(&counters, 1);
    assert_eq!(counters.calls_incoming, 1);
    assert_eq!(counters.retransmissions_received, 2);
    assert_eq!(counters.retransmissions_sent, 2);
}

#[test]
fn an_answer_without_ack_is_repeated_until_the_ack() {
    let mut rig = Rig::new(builtin("uas"));
    rig.send(&request("INVITE", "a", 1, ""));
    rig.expect("SIP/2.0 180");
    let ok = rig.expect("SIP/2.0 200").text;
    assert_eq!(rig.expect("SIP/2.0 200").at_ms, 500);
    assert_eq!(rig.expect("SIP/2.0 200").at_ms, 1500);
    rig.send(&request("ACK", "a", 1, to_tag(&ok)));
    rig.silence(20_000);
    rig.end();
}

#[test]
fn loose_duplicates_may_differ_in_via() {
    let options = SideOptions::new(builtin("uas"))
        .with(|engine| engine.rules.duplicate_check = DuplicateCheck::Loose);
    let mut rig = Rig::with(options);
    rig.send(&request("INVITE", "a", 1, ""));
    rig.expect("SIP/2.0 180");
    rig.expect("SIP/2.0 200");
    rig.send(&request("INVITE", "a", 1, "").replace("branch=", "received=192.0.2.9;branch="));
    rig.expect("SIP/2.0 200");
    let counters = rig.counters();
    assert_eq!((counters.calls_incoming, counters.retransmissions_received), (1, 1));
    rig.end();
}

// Late and strange messages.

#[test]
fn a_late_message_to_an_ended_call_is_counted_and_starts_nothing() {
    let mut rig = Rig::new(builtin("uas"));
    rig.send(&request("INVITE", "a", 1, ""));
    rig.expect("SIP/2.0 180");
    let ok = rig.expect("SIP/2.0 200").text;
    let tag = to_tag(&ok).to_owned();
    rig.send(&request("ACK", "a", 1, &tag));
    rig.send(&request("BYE", "a", 2, &tag));
    rig.expect("SIP/2.0 200");
    rig.run(5_000);
    assert_succeeded(&rig.counters(), 1);
    rig.send(&request("BYE", "a", 3, &tag));
    rig.send(&request("INVITE", "a", 1, ""));
    rig.silence(1_000);
    let counters = rig.counters();
    assert_eq!((counters.dead_call_messages, counters.calls_incoming), (2, 1));
    // Forgotten after the wait.
    rig.run(33_000);
    rig.send(&request("INVITE", "a", 1, ""));
    rig.expect("SIP/2.0 180");
    assert_eq!(rig.counters().calls_incoming, 2);
    rig.end();
}

#[test]
fn a_late_answer_to_an_ended_call_is_counted() {
    let options = SideOptions::new(builtin("uac")).with(|engine| {
        engine.calls_total = Some(2);
        engine.arrivals = rate(0.1);
    });
    let mut rig = Rig::with(options);
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 200, "t"));
    rig.expect("ACK");
    let bye = rig.expect("BYE").text;
    rig.send(&answer(&bye, 200, "t"));
    rig.send(&answer(&bye, 200, "t"));
    assert_eq!(rig.counters().dead_call_messages, 1);
    // A call that a client does not know.
    rig.send(&request("INVITE", "strange", 1, ""));
    assert_eq!(rig.counters().out_of_call_messages, 1);
    rig.silence(5_000);
    rig.end();
}

#[test]
fn an_ack_of_another_invite_fails_the_call() {
    for check in [true, false] {
        let options = SideOptions::new(builtin("uas"))
            .with(|engine| engine.rules.default_behaviors.cseq_check = check);
        let mut rig = Rig::with(options);
        rig.send(&request("INVITE", "a", 1, ""));
        rig.expect("SIP/2.0 180");
        let ok = rig.expect("SIP/2.0 200").text;
        rig.send(&request("ACK", "a", 3, to_tag(&ok)));
        assert_eq!(rig.counters().failures.count(FailureCause::AckCseqMismatch), u64::from(check));
        rig.end();
    }
}

#[test]
fn ringing_behind_the_answer_fails_the_call_as_in_sipp() {
    let options = SideOptions::new(builtin("uac")).with(|engine| engine.rules.pause_ms = 5_000);
    let mut rig = Rig::with(options);
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 200, "t"));
    rig.expect("ACK");
    rig.send(&answer(&invite, 180, "t"));
    let bye = rig.expect("BYE").text;
    rig.send(&answer(&bye, 200, "t"));
    assert_failed(&rig.end(), FailureCause::UnexpectedMessage);
}

// Default behaviours.

fn in_pause(change: impl FnOnce(&mut gossipper::engine::EngineConfig)) -> (Rig, String) {
    let options = SideOptions::new(builtin("uac")).with(|engine| {
        engine.rules.pause_ms = 10_000;
        change(engine);
    });
    let mut rig = Rig::with(options);
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 200, "peer"));
    rig.expect("ACK");
    (rig, invite)
}

#[test]
fn auto_answer_answers_what_the_scenario_does_not_expect() {
    let (mut rig, invite) = in_pause(|engine| engine.rules.auto_answer = true);
    for (method, cseq) in [("INFO", 1), ("NOTIFY", 2), ("OPTIONS", 3), ("UPDATE", 4)] {
        rig.send(&request_back(method, &invite, cseq));
        let ok = rig.expect("SIP/2.0 200").text;
        assert_eq!(header(&ok, "CSeq"), format!("{cseq} {method}"));
    }
    let bye = rig.expect("BYE").text;
    rig.send(&answer(&bye, 200, "peer"));
    let counters = rig.end();
    assert_succeeded(&counters, 1);
    assert_eq!(counters.auto_answered, 4);
}

#[test]
fn without_auto_answer_such_a_request_fails_the_call() {
    let (mut rig, invite) = in_pause(|_| {});
    rig.send(&request_back("INFO", &invite, 1));
    let bye = rig.expect("BYE").text;
    rig.send(&answer(&bye, 200, "peer"));
    assert_failed(&rig.end(), FailureCause::UnexpectedMessage);
}

#[test]
fn unexpected_messages_may_be_let_pass() {
    let (mut rig, invite) =
        in_pause(|engine| engine.rules.default_behaviors.abort_unexpected = false);
    rig.send(&request_back("INFO", &invite, 1));
    let bye = rig.expect("BYE");
    assert_eq!(bye.at_ms, 10_000);
    rig.send(&answer(&bye.text, 200, "peer"));
    let counters = rig.end();
    assert_succeeded(&counters, 1);
    assert_eq!(counters.warnings, 1);
}

#[test]
fn a_ping_is_answered_and_ends_the_call() {
    let (mut rig, invite) = in_pause(|_| {});
    rig.send(&request_back("PING", &invite, 1));
    rig.expect("SIP/2.0 200");
    let bye = rig.expect("BYE").text;
    rig.send(&answer(&bye, 200, "peer"));
    assert_failed(&rig.end(), FailureCause::UnexpectedMessage);
}

#[test]
fn messages_in_a_pause_may_be_ignored() {
    let (mut rig, invite) = in_pause(|engine| engine.rules.pause_drops_messages = true);
    rig.send(&request_back("INFO", &invite, 1));
    rig.send(&answer(&invite, 183, "peer"));
    let bye = rig.expect("BYE");
    assert_eq!(bye.at_ms, 10_000);
    rig.send(&answer(&bye.text, 200, "peer"));
    assert_succeeded(&rig.end(), 1);
}

// Datagrams that are no messages.

fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let invite = |text: &str| request("INVITE", text, 1, "");
    let mut noise = Vec::new();
    let mut random = gossipper_uring::sim::Random::new(5);
    for _ in 0..900 {
        noise.push(random.next_u64() as u8);
    }
    let many = invite("many").replace("Max-Forwards: 70\r\n", &"X: y\r\n".repeat(5_000));
    let truncated = invite("cut")[..120].to_owned();
    let short_body = invite("short").replace("Content-Length: 0", "Content-Length: 400");
    vec![
        ("no Call-ID", invite("none").replace("Call-ID: none\r\n", "").into_bytes()),
        ("empty Call-ID", invite("none").replace("Call-ID: none\r\n", "Call-ID:\r\n").into_bytes()),
        ("bad CSeq", invite("cseq").replace("CSeq: 1 INVITE", "CSeq: x INVITE").into_bytes()),
        ("huge CSeq", invite("cseq").replace("CSeq: 1 ", "CSeq: 99999999999 ").into_bytes()),
        ("cut off", truncated.into_bytes()),
        ("body too short", short_body.into_bytes()),
        ("many headers", many.into_bytes()),
        ("noise", noise),
        ("zeros", vec![0; 1000]),
        ("one byte", vec![b'I']),
        ("empty", Vec::new()),
        ("keep-alive", b"\r\n\r\n".to_vec()),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("version", invite("v").replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia").into_bytes()),
    ]
}

#[test]
fn what_is_no_message_disturbs_no_call() {
    for (what, bytes) in malformed() {
        let mut rig = Rig::new(builtin("uas"));
        rig.send(&request("INVITE", "a", 1, ""));
        rig.expect("SIP/2.0 180");
        let ok = rig.expect("SIP/2.0 200").text;
        rig.send_bytes(&bytes);
        let answers = std::mem::take(&mut rig.inbox);
        assert!(answers.len() <= 1, "{what}: {answers:?}");
        assert!(
            answers
                .iter()
                .all(|got| got.text.starts_with("SIP/2.0 4") || got.text.starts_with("SIP/2.0 5")),
            "{what}: {answers:?}"
        );
        let tag = to_tag(&ok).to_owned();
        rig.send(&request("ACK", "a", 1, &tag));
        rig.send_bytes(&bytes);
        rig.inbox.clear();
        rig.send(&request("BYE", "a", 2, &tag));
        rig.expect("SIP/2.0 200");
        rig.run(5_000);
        let counters = rig.end();
        assert_eq!(counters.calls_succeeded, 1, "{what}");
        let seen = counters.parse_errors + counters.keepalives_received;
        // A call may begin with an unusable CSeq; it must not end well.
        assert!(seen == 2 || counters.calls_failed == 1, "{what}: {counters:?}");
    }
}

#[test]
fn a_call_survives_nonsense_in_its_own_name() {
    let (mut rig, invite) = in_pause(|_| {});
    let ok = answer(&invite, 200, "peer");
    for (from, to) in [
        ("CSeq: 1 INVITE", "CSeq: INVITE"),
        ("CSeq: 1 INVITE\r\n", ""),
        ("Content-Length: 0", "Content-Length: 99"),
        ("Content-Length: 0", "Content-Length: -1"),
        ("SIP/2.0 200", "SIP/2.0 2x0"),
    ] {
        rig.send(&ok.replace(from, to));
        assert!(rig.inbox.is_empty(), "{from}: {:?}", rig.inbox);
        assert_eq!(rig.side().active(), 1, "{from}");
    }
    let bye = rig.expect("BYE").text;
    rig.send(&answer(&bye, 200, "peer"));
    let counters = rig.end();
    assert_succeeded(&counters, 1);
    assert_eq!(counters.parse_errors, 5);
}

// How many calls, and when.

/// A caller and the built-in answerer, run to the caller's end.
fn pair(caller: SideOptions, callee: SideOptions) -> (World, usize, usize) {
    let mut world = World::new(1, SimConfig::default());
    let callee = world.add(&callee);
    let caller = world.add(&caller);
    let limit_ns = world.net.now() + 600 * SECOND;
    world.run_until(limit_ns, |world| world.is_finished(caller)).unwrap();
    world.request(callee, WorkerRequest::StopNewCalls);
    let limit_ns = world.net.now() + 60 * SECOND;
    world.run_until(limit_ns, |world| world.is_finished(callee)).unwrap();
    for side in [caller, callee] {
        assert!(world.is_finished(side), "side {side} does not end");
        world.sides[side].check_end(false).unwrap();
    }
    (world, caller, callee)
}

fn uac(calls: u64, per_second: f64) -> SideOptions {
    SideOptions::new(builtin("uac")).with(|engine| {
        engine.calls_total = Some(calls);
        engine.arrivals = rate(per_second);
        engine.pool_calls = 4096;
        engine.blob_bytes_max = 16 << 20;
    })
}

fn uas() -> SideOptions {
    SideOptions::new(builtin("uas")).with(|engine| {
        engine.seed = 2;
        engine.pool_calls = 16_384;
        engine.dead_calls_max = 65_536;
        engine.blob_bytes_max = 64 << 20;
    })
}

/// The times at which calls began, in milliseconds.
fn arrivals_ms(world: &World) -> Vec<f64> {
    let invites = world.log.entries();
    let invites = invites.iter().filter(|sent| sent.payload.starts_with(b"INVITE "));
    invites.map(|sent| (sent.at_ns - world.start_ns) as f64 / MS as f64).collect()
}

#[test]
fn arrivals_beyond_the_limit_are_counted_and_not_made_up() {
    let mut caller = uac(20, 10.0);
    caller.engine.concurrent_max = Some(2);
    caller.engine.rules.pause_ms = 1_000;
    let (world, caller, _) = pair(caller, uas());
    let counters = world.sides[caller].reported();
    assert_succeeded(&counters, 20);
    assert_eq!(world.sides[caller].peak_active, 2);
    // Two calls of a second each at ten arrivals per second: eight of ten are withheld.
    let withheld = counters.withheld.count(WithheldCause::CallLimit);
    assert!((70..=95).contains(&withheld), "{withheld}");
    // Each began at a planned time: none was made up in between.
    for at_ms in arrivals_ms(&world) {
        assert!(at_ms % 100.0 < 0.2, "{at_ms}");
    }
}

#[test]
fn the_number_of_calls_is_exact_over_workers() {
    for (workers, calls) in [(1, 7), (2, 7), (3, 100), (3, 2)] {
        let mut caller = uac(calls, 1000.0);
        caller.workers = workers;
        let mut callee = uas();
        callee.workers = workers;
        callee.share_port = true;
        let (world, caller, callee) = pair(caller, callee);
        assert_succeeded(&world.sides[caller].reported(), calls);
        assert_succeeded(&world.sides[callee].reported(), calls);
        assert_eq!(arrivals_ms(&world).len() as u64, calls);
    }
}

#[test]
fn a_server_answers_so_many_calls_and_ends_whoever_calls_it() {
    // One peer, whose datagrams all reach one of three workers.
    let mut callee = uas();
    callee.workers = 3;
    callee.share_port = true;
    callee.engine.calls_total = Some(9);
    let mut world = World::new(1, SimConfig::default());
    let callee = world.add(&callee);
    let caller = world.add(&uac(9, 100.0));
    let limit_ns = world.net.now() + 20 * SECOND;
    world.run_until(limit_ns, |_| false).unwrap();
    assert!(world.is_finished(caller) && world.is_finished(callee));
    assert_succeeded(&world.sides[caller].reported(), 9);
    assert_succeeded(&world.sides[callee].reported(), 9);
}

#[test]
fn the_rate_ramps_up_to_its_ceiling() {
    let mut caller = uac(100_000, 0.0);
    caller.engine.arrivals = Arrivals::Open(RatePlan {
        rate: 10.0,
        period_ns: SECOND,
        increase: 10.0,
        interval_ns: 2 * SECOND,
        rate_max: 30.0,
        quit_at_max: true,
    });
    let (world, caller, _) = pair(caller, uas());
    let times = arrivals_ms(&world);
    let in_second = |second: u32| {
        let from = f64::from(second) * 1000.0 - 0.2;
        times.iter().filter(|&&at| at >= from && at < from + 1000.0).count()
    };
    assert_eq!([0, 1, 2, 3, 4, 5].map(in_second), [10, 10, 20, 20, 30, 30]);
    assert_eq!(times.len(), 120);
    assert_succeeded(&world.sides[caller].reported(), 120);
}

#[test]
fn users_keep_their_calls_open() {
    let mut caller = uac(40, 0.0);
    caller.engine.arrivals = Arrivals::Users(4);
    caller.engine.rules.pause_ms = 1_000;
    caller.workers = 2;
    let (world, caller, _) = pair(caller, uas());
    assert_succeeded(&world.sides[caller].reported(), 40);
    let times = arrivals_ms(&world);
    // Four at once; each user calls again as soon as a call ends.
    assert!(times[..4].iter().all(|&at| at < 0.2), "{times:?}");
    assert!(times[4..8].iter().all(|&at| (1000.0..1001.0).contains(&at)), "{times:?}");
    assert_eq!(world.sides[caller].peak_active, 2, "per worker");
}

#[test]
fn a_paused_schedule_loses_its_arrivals() {
    let mut world = World::new(1, SimConfig::default());
    world.add(&uas());
    let caller = world.add(&uac(30, 10.0));
    let at = |world: &World, second: u64| world.start_ns + second * SECOND + SECOND / 2;
    let until = at(&world, 0);
    world.run_until(until, |_| false).unwrap();
    world.request(caller, WorkerRequest::SetPaused(true));
    let until = at(&world, 3);
    world.run_until(until, |_| false).unwrap();
    let before = arrivals_ms(&world).len();
    world.request(caller, WorkerRequest::SetPaused(false));
    let until = at(&world, 4);
    world.run_until(until, |_| false).unwrap();
    assert!((5..=6).contains(&before), "{before}");
    let after = arrivals_ms(&world).len() - before;
    assert!((9..=11).contains(&after), "{after}");
}

#[test]
fn a_stalled_sender_shows_in_the_response_time_alone() {
    let mut world = World::new(1, SimConfig::default());
    world.check_every = 200;
    let mut callee = uas();
    callee.engine.pool_calls = 20_000;
    world.add(&callee);
    let mut caller = uac(6_000, 1000.0);
    caller.engine.pool_calls = 8192;
    caller.driver.tx_small_slots = 4096;
    let caller = world.add(&caller);
    let start = world.start_ns;
    world.run_until(start + SECOND, |_| false).unwrap();
    world.sides[caller].stall(start + 3 * SECOND);
    world.run_until(start + 60 * SECOND, |world| world.is_finished(caller)).unwrap();
    world.sides[caller].check_end(false).unwrap();
    assert_succeeded(&world.sides[caller].reported(), 6_000);
    let histograms = &world.sides[caller].histograms;
    let invite = &histograms.transactions[0];
    let (service, response) = (invite.service.quantile_ns(0.99), invite.response.quantile_ns(0.99));
    assert!(service < 5 * MS, "service p99 {service}");
    assert!((1900 * MS..2100 * MS).contains(&response), "response p99 {response}");
    // A third of the calls were due in the stall, on average a second before its end.
    let median = invite.response.quantile_ns(0.5);
    assert!(median < 5 * MS, "response p50 {median}");
    let late = histograms.planned_send_error.quantile_ns(0.99);
    assert!((1900 * MS..2100 * MS).contains(&late), "lateness p99 {late}");
}

/// An idle worker must not end early. It would leave its share of the port to the others, and a gap
/// in the circle through which they pass on messages of other workers' calls.
#[test]
fn workers_end_together() {
    let mut options = uas();
    options.workers = 3;
    options.share_port = true;
    let mut rig = Rig::with(options);
    rig.open(6001);
    let mut tags = Vec::new();
    for (socket, id) in ["a", "b"].into_iter().enumerate() {
        rig.send_from(socket, CALLEE, request("INVITE", id, 1, "").as_bytes());
        rig.expect("SIP/2.0 180");
        tags.push(to_tag(&rig.expect("SIP/2.0 200").text).to_owned());
        rig.send_from(socket, CALLEE, request("ACK", id, 1, &tags[socket]).as_bytes());
    }
    rig.request(WorkerRequest::StopNewCalls);
    rig.silence(2_000);
    for (socket, id) in ["a", "b"].into_iter().enumerate() {
        rig.send_from(socket, CALLEE, request("BYE", id, 2, &tags[socket]).as_bytes());
        rig.expect("SIP/2.0 200");
    }
    rig.run(5_000);
    assert!(rig.world.is_finished(rig.side));
    assert_succeeded(&rig.end(), 2);
}

#[test]
fn a_request_at_the_wrong_worker_reaches_its_call() {
    let mut options = uas();
    options.workers = 3;
    options.share_port = true;
    let mut rig = Rig::with(options);
    for port in [6001, 6002] {
        rig.open(port);
    }
    let mut handed_over = 0;
    // The network spreads by source port: each socket of the peer reaches another worker.
    for (number, (first, second)) in [(0, 1), (1, 2), (2, 0), (1, 0)].into_iter().enumerate() {
        let id = format!("call{number}");
        rig.send_from(first, CALLEE, request("INVITE", &id, 1, "").as_bytes());
        rig.expect("SIP/2.0 180");
        let ok = rig.expect("SIP/2.0 200").text;
        let tag = to_tag(&ok).to_owned();
        rig.send_from(second, CALLEE, request("ACK", &id, 1, &tag).as_bytes());
        rig.send_from(second, CALLEE, request("BYE", &id, 2, &tag).as_bytes());
        rig.expect("SIP/2.0 200");
        rig.send_from(first, CALLEE, request("BYE", &id, 2, &tag).as_bytes());
        rig.expect("SIP/2.0 200");
        rig.silence(400);
        handed_over += 2;
    }
    rig.run(5_000);
    let counters = rig.end();
    assert_succeeded(&counters, 4);
    assert!(counters.handed_over >= handed_over, "{}", counters.handed_over);
    assert_eq!(counters.handover_dropped, 0);
}

//! Reports of failed calls, against scripts that make them fail in a known way.

use gossipper::stats::{FailureCause, FailureGroup, Snapshot};

use crate::harness::rig::{Rig, answer, header, request};
use crate::harness::scenarios::{builtin, inline};
use crate::harness::side::{CALLEE, CALLER, SideOptions};

/// Makes a run fail by `script`; returns the figures at its end.
#[track_caller]
fn failing(options: SideOptions, script: impl FnOnce(&mut Rig)) -> Snapshot {
    let mut rig = Rig::with(options);
    let start_ns = rig.world.start_ns;
    rig.world.sides[0].aggregate(start_ns);
    script(&mut rig);
    rig.run(120_000);
    assert!(rig.world.is_finished(rig.side), "the run does not end");
    let side = &mut rig.world.sides[0];
    side.check_end(false).unwrap();
    side.aggregate.as_ref().expect("it aggregates").snapshot()
}

/// The one group of a run whose calls all failed alike.
#[track_caller]
fn only(snapshot: &Snapshot) -> &FailureGroup {
    let [group] = snapshot.failures.groups.as_slice() else { panic!("{:?}", snapshot.failures) };
    assert_eq!((group.count, snapshot.failures.others.total()), (snapshot.calls.failed, 0));
    group
}

/// Cause, step, method, code and missing message of a group.
fn told(group: &FailureGroup) -> (FailureCause, Option<u16>, Option<String>, Option<u16>, String) {
    let missing = group.missing().unwrap_or_default();
    (group.cause, group.step, group.method(), group.code(), missing)
}

fn method(name: &str) -> Option<String> {
    Some(name.to_owned())
}

#[test]
fn a_refusal_is_told_by_its_response_and_flatters_no_service_time() {
    let mut call_id = String::new();
    let snapshot = failing(SideOptions::new(builtin("uac")), |rig| {
        let invite = rig.expect("INVITE").text;
        header(&invite, "Call-ID").clone_into(&mut call_id);
        rig.run(40);
        rig.send(&answer(&invite, 503, "t"));
        rig.expect("ACK");
    });
    let group = only(&snapshot);
    let cause = FailureCause::UnexpectedMessage;
    assert_eq!(told(group), (cause, Some(1), method("INVITE"), Some(503), String::new()));
    assert_eq!(group.reason().as_deref(), Some("Some Reason"));
    assert_eq!((group.peer, group.first.call_id.shown()), (CALLEE, call_id));
    assert_eq!((group.first.at_ns - snapshot.start.monotonic_ns) / 1_000_000, 40);
    let invite = &snapshot.transactions[0];
    assert_eq!((invite.service.count, invite.response.count, invite.refused.count), (0, 0, 1));
    assert_eq!(snapshot.invite_rtt.count, 0);
}

#[test]
fn a_call_without_an_answer_is_told_by_what_it_lacks() {
    let silent = failing(SideOptions::new(builtin("uac")), |rig| _ = rig.times("INVITE"));
    let (cause, missing) = (FailureCause::MaxUdpRetrans, "answer".to_owned());
    assert_eq!(told(only(&silent)), (cause, Some(1), method("INVITE"), None, missing));
    // The steps before the one that is missing are optional.
    let options =
        SideOptions::new(builtin("uac")).with(|engine| engine.rules.recv_timeout_ms = 300);
    let slow = failing(options, |rig| {
        let invite = rig.expect("INVITE").text;
        rig.send(&answer(&invite, 180, "t"));
        let cancel = rig.expect("CANCEL").text;
        rig.send(&answer(&cancel, 200, "t"));
        rig.send(&answer(&invite, 487, "t"));
        rig.expect("ACK");
    });
    let (cause, missing) = (FailureCause::RecvTimeout, "200".to_owned());
    assert_eq!(told(only(&slow)), (cause, Some(4), method("INVITE"), None, missing));
}

#[test]
fn a_caller_that_hangs_up_early_is_told_without_its_port() {
    let steps = r#"<recv request="INVITE"/>
        <send>@200@</send>
        <recv request="ACK"/>
        <recv request="BYE"/>"#;
    let options = SideOptions::new(inline("server", steps));
    let options = options.with(|engine| engine.calls_total = Some(1));
    let snapshot = failing(options, |rig| {
        rig.send(&request("INVITE", "early", 1, ""));
        let ok = rig.expect("SIP/2.0 200").text;
        let tag = header(&ok, "To").split_once(";tag=").unwrap().1.to_owned();
        rig.send(&request("BYE", "early", 2, &tag));
        rig.expect("SIP/2.0 200");
    });
    let group = only(&snapshot);
    let cause = FailureCause::PeerHangup;
    assert_eq!(told(group), (cause, Some(2), method("BYE"), None, String::new()));
    assert_eq!((group.peer.ip(), group.peer.port()), (CALLER.ip(), 0));
    assert_eq!(group.first.call_id.shown(), "early");
}

#[test]
fn a_check_that_does_not_hold_is_told_by_its_own_step() {
    let steps = r#"<send retrans="500">@INVITE@</send>
        <recv response="180" optional="true"/>
        <recv response="200"><action>
            <ereg regexp="gold" search_in="hdr" header="Contact:" check_it="true"/>
        </action></recv>
        <send>@ACK@</send>
        <pause milliseconds="500"/>"#;
    let snapshot = failing(SideOptions::new(inline("client", steps)), |rig| {
        let invite = rig.expect("INVITE").text;
        rig.send(&answer(&invite, 200, "t"));
        rig.expect("ACK");
    });
    let (cause, step) = (FailureCause::RegexpDoesntMatch, Some(2));
    assert_eq!(told(only(&snapshot)), (cause, step, None, None, String::new()));
    assert_eq!(snapshot.transactions[0].service.count, 1);
}

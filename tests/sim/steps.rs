//! The counts of each step of a scenario, against scripts whose counts are known.

use gossipper::stats::{FailureCause, StepCounts};

use crate::harness::rig::{Rig, answer, header, request};
use crate::harness::scenarios::{builtin, inline};
use crate::harness::side::SideOptions;

/// Messages, retransmissions, timeouts, unexpected and lost messages of a step.
fn row(counts: &StepCounts) -> [u64; 5] {
    [counts.messages, counts.retransmissions, counts.timeouts, counts.unexpected, counts.lost]
}

fn rows(steps: &[StepCounts]) -> Vec<[u64; 5]> {
    steps.iter().map(row).collect()
}

#[test]
fn a_caller_counts_by_step() {
    let options = SideOptions::new(builtin("uac")).with(|engine| engine.rules.pause_ms = 5_000);
    let mut rig = Rig::with(options);
    rig.expect("INVITE");
    let invite = rig.expect("INVITE").text;
    let ringing = answer(&invite, 180, "t");
    rig.send(&ringing);
    rig.send(&ringing);
    let ok = answer(&invite, 200, "t");
    rig.send(&ok);
    rig.expect("ACK");
    rig.send(&ok);
    rig.expect("ACK");
    let bye = rig.expect("BYE").text;
    rig.send(&answer(&bye, 200, "t"));
    let (_, steps) = rig.end_by_step();
    let expected = [
        [1, 1, 0, 0, 0], // INVITE
        [0, 0, 0, 0, 0], // 100
        [1, 1, 0, 0, 0], // 180
        [0, 0, 0, 0, 0], // 183
        [1, 1, 0, 0, 0], // 200
        [1, 1, 0, 0, 0], // ACK
        [1, 0, 0, 0, 0], // pause
        [1, 0, 0, 0, 0], // BYE
        [1, 0, 0, 0, 0], // 200
    ];
    assert_eq!(rows(&steps), expected);
}

#[test]
fn an_answerer_counts_by_step() {
    let mut rig = Rig::new(builtin("uas"));
    rig.send(&request("INVITE", "a", 1, ""));
    rig.expect("SIP/2.0 180");
    let ok = rig.expect("SIP/2.0 200").text;
    rig.send(&request("INVITE", "a", 1, ""));
    rig.expect("SIP/2.0 200");
    let tag = header(&ok, "To").split_once(";tag=").unwrap().1.to_owned();
    rig.send(&request("ACK", "a", 1, &tag));
    rig.send(&request("BYE", "a", 2, &tag));
    rig.expect("SIP/2.0 200");
    let (_, steps) = rig.end_by_step();
    let expected = [
        [1, 1, 0, 0, 0], // INVITE
        [1, 0, 0, 0, 0], // 180
        [1, 1, 0, 0, 0], // 200
        [1, 0, 0, 0, 0], // ACK
        [1, 0, 0, 0, 0], // BYE
        [1, 0, 0, 0, 0], // 200
        [1, 0, 0, 0, 0], // timewait
    ];
    assert_eq!(rows(&steps), expected);
}

#[test]
fn what_was_not_expected_counts_where_the_call_was() {
    let mut rig = Rig::new(builtin("uac"));
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 486, "t"));
    rig.expect("ACK");
    let (counters, steps) = rig.end_by_step();
    assert_eq!(counters.failures.count(FailureCause::UnexpectedMessage), 1);
    assert_eq!(row(&steps[1]), [0, 0, 0, 1, 0]);
    // The ACK belongs to no step of the scenario.
    assert_eq!(row(&steps[5]), [0; 5]);
}

#[test]
fn timeouts_count_at_the_step_that_waited() {
    let mut rig = Rig::new(builtin("uac"));
    assert_eq!(rig.times("INVITE").len(), 6);
    let (_, steps) = rig.end_by_step();
    assert_eq!(row(&steps[0]), [1, 5, 1, 0, 0]);

    let options = r#"<send>@OPTIONS@</send><recv response="200" timeout="300"/>"#;
    let mut rig = Rig::new(inline("client", options));
    rig.expect("OPTIONS");
    let (_, steps) = rig.end_by_step();
    assert_eq!(rows(&steps), [[1, 0, 0, 0, 0], [0, 0, 1, 0, 0]]);
}

#[test]
fn losses_count_at_their_step() {
    // Repetitions are lost as the first was.
    let steps = r#"<send lost="100" retrans="500">@OPTIONS@</send><recv response="200"/>"#;
    let mut rig = Rig::new(inline("client", steps));
    rig.silence(40_000);
    let (_, steps) = rig.end_by_step();
    assert_eq!(rows(&steps), [[1, 9, 1, 0, 10], [0, 0, 0, 0, 0]]);
    let steps = r#"<send>@OPTIONS@</send><recv response="200" lost="100" timeout="500"/>"#;
    let mut rig = Rig::new(inline("client", steps));
    let options = rig.expect("OPTIONS").text;
    rig.send(&answer(&options, 200, "t"));
    rig.run(1_000);
    let (_, steps) = rig.end_by_step();
    assert_eq!(rows(&steps), [[1, 0, 0, 0, 0], [0, 0, 1, 0, 1]]);
}

#[test]
fn the_loss_of_a_message_overrides_that_of_the_run() {
    let steps = r#"<send lost="0">@OPTIONS@</send><recv response="200" lost="0"/>"#;
    let options = SideOptions::new(inline("client", steps));
    let mut rig = Rig::with(options.with(|engine| engine.rules.lost_percent = 100.0));
    let options = rig.expect("OPTIONS").text;
    rig.send(&answer(&options, 200, "t"));
    let (counters, steps) = rig.end_by_step();
    assert_eq!(counters.calls_succeeded, 1);
    assert_eq!(rows(&steps), [[1, 0, 0, 0, 0], [1, 0, 0, 0, 0]]);
}

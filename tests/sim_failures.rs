//! What is told of calls that fail, against scripts that make them fail in a known way.

mod sim;

use gossipper::stats::Snapshot;

use sim::rig::{Rig, answer};
use sim::scenarios::builtin;
use sim::side::SideOptions;

/// Makes a run fail by `script`; the figures at its end.
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

#[test]
fn a_refusal_flatters_no_service_time() {
    let snapshot = failing(SideOptions::new(builtin("uac")), |rig| {
        let invite = rig.expect("INVITE").text;
        rig.run(40);
        rig.send(&answer(&invite, 503, "t"));
        rig.expect("ACK");
    });
    let invite = &snapshot.transactions[0];
    assert_eq!((invite.service.count, invite.response.count, invite.refused.count), (0, 0, 1));
    assert_eq!(snapshot.invite_rtt.count, 0);
}

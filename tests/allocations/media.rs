//! Once warm, streams cost no allocation: neither packets, nor reports, nor legs that come and go.

use gossipper::media::{LegId, Mode, RtcpInterval};
use gossipper_uring::SimConfig;

use crate::counter::{counted, so_far};
use crate::harness::MS;
use crate::harness::pair::{Pair, play, tone};

/// Plays a call after the other, a few at a time.
fn churn(pair: &mut Pair, open: &mut Vec<[LegId; 2]>, calls: u64) {
    let clips = tone();
    for call in 0..calls {
        let now = pair.net.now();
        let before = so_far();
        let legs = [0, 1].map(|end| {
            let end = &mut pair.ends[end];
            counted(|| end.open(call, now))
        });
        assert!(call < calls / 2 || so_far() == before, "a leg allocates");
        pair.describe(legs, ["0 101", "0 101"]);
        for (end, leg) in legs.into_iter().enumerate() {
            let command = play(&clips);
            counted(|| pair.act(end, leg, command));
        }
        open.push(legs);
        pair.run_for(100 * MS);
        if open.len() > 5 {
            for (end, leg) in open.remove(0).into_iter().enumerate() {
                counted(|| pair.close(end, leg));
            }
        }
    }
}

#[test]
fn streams_allocate_nothing_once_warm() {
    for mode in [Mode::Ports, Mode::Shared] {
        let mut pair = Pair::new(1, SimConfig::default(), |config| {
            config.mode = mode;
            config.rtcp = RtcpInterval::Fixed(50 * MS);
        });
        pair.ends.iter_mut().for_each(|end| end.watch = |work| counted(work));
        let mut open = Vec::new();
        churn(&mut pair, &mut open, 60);
        let (before, packets) = (so_far(), pair.ends[0].counters().rtp_packets_sent);
        churn(&mut pair, &mut open, 40);
        let sent = pair.ends[0].counters().rtp_packets_sent - packets;
        assert!(sent > 500, "{sent}");
        assert_eq!(so_far() - before, 0, "{mode:?}");
    }
}

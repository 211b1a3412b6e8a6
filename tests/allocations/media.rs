//! Once warm, streams cost no allocation: neither packets, nor reports, nor legs that come and go.

use gossipper::media::tap::Form;
use gossipper::media::{LegId, Medium as _, Mode, Recordings, RtcpInterval};
use gossipper_uring::SimConfig;

use crate::counter::{counted, so_far};
use crate::harness::MS;
use crate::harness::pair::{Pair, play, tone};

/// Plays a call after the other, a few at a time.
fn churn(pair: &mut Pair, open: &mut Vec<[LegId; 2]>, calls: u64, audio: &str) {
    let clips = tone();
    for call in 0..calls {
        let now = pair.net.now();
        let before = so_far();
        let legs = [0, 1].map(|end| {
            let end = &mut pair.ends[end];
            counted(|| end.open(call, now))
        });
        assert!(call < calls / 2 || so_far() == before, "a leg allocates");
        describe(pair, legs, audio);
        for (end, leg) in legs.into_iter().enumerate() {
            let command = play(&clips);
            counted(|| pair.act(end, leg, command));
        }
        open.push(legs);
        pair.run_for(100 * MS);
        for end in &mut pair.ends {
            counted(|| end.media.hand_on_copies(&mut |_| true));
        }
        if open.len() > 5 {
            for (end, leg) in open.remove(0).into_iter().enumerate() {
                counted(|| pair.close(end, leg));
            }
        }
    }
}

/// Offers and answers.
fn describe(pair: &mut Pair, legs: [LegId; 2], audio: &str) {
    let now = pair.net.now();
    for (end, other) in [(0, 1), (1, 0)] {
        let sdp = pair.sdp(end, legs[end], audio);
        counted(|| pair.ends[end].media.local_description(legs[end], sdp.as_bytes(), now)).unwrap();
        counted(|| pair.ends[other].media.remote_description(legs[other], sdp.as_bytes(), now))
            .unwrap();
    }
}

/// Formats without a key, with one for AES and HMAC, and with one for AES-GCM.
const AUDIO: [&str; 3] = [
    "0 101",
    "0 101\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e",
    "0 101\r\na=crypto:1 AEAD_AES_128_GCM inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHA==",
];

#[test]
fn streams_allocate_nothing_once_warm() {
    let modes = [Mode::Ports, Mode::Shared].into_iter();
    for (mode, audio) in modes.flat_map(|mode| AUDIO.map(|audio| (mode, audio))) {
        let mut pair = Pair::new(1, SimConfig::default(), |config| {
            config.mode = mode;
            config.rtcp = RtcpInterval::Fixed(50 * MS);
            // Half of them are recorded, too.
            config.recordings = (mode == Mode::Shared).then_some(Recordings {
                audio: Some(Form::Duplex),
                packets: true,
                every: 1,
                only_bad: false,
            });
        });
        pair.ends.iter_mut().for_each(|end| end.watch = |work| counted(work));
        let mut open = Vec::new();
        churn(&mut pair, &mut open, 60, audio);
        let (before, packets) = (so_far(), pair.ends[0].counters().rtp_packets_sent);
        churn(&mut pair, &mut open, 40, audio);
        let sent = pair.ends[0].counters().rtp_packets_sent - packets;
        assert!(sent > 500, "{sent}");
        assert_eq!(so_far() - before, 0, "{mode:?} {audio}");
        let refused = pair.ends.iter().map(|end| end.counters().srtp_faults.total());
        assert_eq!(refused.sum::<u64>(), 0, "{mode:?} {audio}");
    }
}

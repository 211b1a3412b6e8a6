//! Two medias on the simulated network, and the checks of what came back or came from elsewhere.

use std::sync::Arc;

use gossipper::media::clip::ClipSet;
use gossipper::media::codec::Encoding;
use gossipper::media::tap::{Entries, Entry, Form, Origin};
use gossipper::media::{Command, LegReport, Medium as _, Recordings, tone};
use gossipper_uring::SimConfig;

use crate::harness::pair::{self, Pair, play};
use crate::harness::{MS, SECOND};

/// The first pattern of SIPp, in PCMU.
fn pattern() -> Arc<ClipSet> {
    let pcmu = Encoding::by_name("PCMU").unwrap();
    let clip = tone::pattern(1, pcmu, 20).unwrap();
    Arc::new(ClipSet { clips: vec![("PCMU", Arc::new(clip))] })
}

#[test]
fn a_pattern_passes_if_it_comes_back_and_fails_with_as_many_losses_as_are_not_tolerated() {
    for (loss_ppm, tolerance, is_failed) in
        [(0, 0.001, false), (100_000, 0.5, false), (100_000, 0.05, true), (1_000_000, 1.0, true)]
    {
        let network = SimConfig {
            delay_ns_min: 5 * MS,
            delay_ns_max: 35 * MS,
            reorder: true,
            loss_ppm,
            ..SimConfig::default()
        };
        let mut pair = Pair::new(7, network, |config| config.pattern_tolerances = [tolerance, 2.0]);
        let legs = pair.connect(1, "0 101");
        pair.act(1, legs[1], Command::Echo(true));
        pair.act(0, legs[0], play(&pattern()));
        pair.run_for(20 * SECOND);
        let dial = Command::Digits {
            digits: b"1".as_slice().into(),
            digit_ms: 100,
            pause_ms: 100,
            payload_type: None,
        };
        pair.act(0, legs[0], dial);
        pair.run_for(SECOND);
        let [echoed, played] = [1, 0].map(|end| pair.close(end, legs[end]));
        let text = format!("{loss_ppm} ppm, {tolerance}: {played:?}");
        let [Some(check), None] = played.patterns else { panic!("{text}") };
        assert_eq!((check.is_failed, played.is_pattern_failed()), (is_failed, is_failed), "{text}");
        assert!(check.sent > 1000 && check.wrong == 0, "{text}");
        assert_eq!(echoed.patterns, [None, None]);
        let counters = pair.ends[0].counters();
        assert_eq!((counters.patterns_checked, counters.patterns_failed), (1, is_failed.into()));
        let bad = (check.sent, check.bad());
        assert_eq!((counters.pattern_packets_checked, counters.pattern_packets_bad), bad);
    }
}

/// Plays a call of a second and a half with recordings of this form. Returns the report of the
/// caller and the bytes of its copies.
fn recorded(call: u64, has_failed: bool, recordings: Option<Recordings>) -> (LegReport, Vec<u8>) {
    let mut pair = Pair::new(3, SimConfig::default(), |config| config.recordings = recordings);
    let legs = pair.connect(call, "0 101");
    (0..2).for_each(|end| pair.act(end, legs[end], play(&pair::tone())));
    pair.run_for(1500 * MS);
    if has_failed {
        pair.ends[0].media.note_failed(legs[0]);
    }
    let report = pair.close(0, legs[0]);
    let mut copies = Vec::new();
    pair.ends[0].media.hand_on_copies(&mut |bytes| {
        copies.extend_from_slice(bytes);
        true
    });
    (report, copies)
}

#[test]
fn what_a_recorded_call_sends_and_receives_is_copied() {
    let recordings =
        Recordings { audio: Some(Form::Duplex), packets: true, every: 2, only_bad: true };
    for has_failed in [false, true] {
        let (report, copies) = recorded(3, has_failed, Some(recordings));
        let (mut begun, mut ended, mut rtp) = (Vec::new(), Vec::new(), [0; 2]);
        let mut reports = [0; 2];
        for entry in Entries::new(&copies) {
            match entry {
                Entry::Begin(begin) => {
                    assert_eq!((begin.call, begin.name), (3, &b""[..]));
                    begun.push((begin.origin, begin.form));
                }
                Entry::End { origin, is_kept, .. } => ended.push((origin, is_kept)),
                Entry::Packet(packet) if packet.bytes[1] >= 200 => {
                    reports[usize::from(packet.is_sent)] += 1;
                    assert_eq!(packet.remote.port() % 2, 1, "{packet:?}");
                }
                Entry::Packet(packet) => {
                    rtp[usize::from(packet.is_sent)] += 1;
                    assert_eq!(packet.encoding, Encoding::by_name("PCMU"));
                    let ips = [packet.local, packet.remote].map(|address| address.ip());
                    assert_eq!(ips, pair::IPS);
                }
            }
        }
        assert_eq!(begun, [(Origin::Audio, Form::Duplex), (Origin::Packets, Form::Capture)]);
        // Without a failure both sides heard each other, and nothing is kept.
        assert_eq!(ended, [(Origin::Audio, has_failed), (Origin::Packets, has_failed)]);
        assert_eq!(rtp, [report.reception.packets, report.packets_sent]);
        assert!(rtp[0] > 70 && reports[0] > 0 && reports[1] > 0, "{rtp:?} {reports:?}");
    }
    // Another call is not recorded, and without recordings none is.
    assert!(recorded(2, false, Some(recordings)).1.is_empty());
    assert!(recorded(3, false, None).1.is_empty());
}

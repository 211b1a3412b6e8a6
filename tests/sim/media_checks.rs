//! Two medias on the simulated network, and the checks of what came back or came from elsewhere.

use std::sync::Arc;

use gossipper::media::clip::ClipSet;
use gossipper::media::codec::Encoding;
use gossipper::media::{Command, tone};
use gossipper_uring::SimConfig;

use crate::harness::pair::{Pair, play};
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

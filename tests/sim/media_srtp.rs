//! Two medias whose session descriptions have keys of SRTP.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use gossipper::media::clip::{Clip, ClipSet, Content, Frame};
use gossipper::media::rtcp::{Compound, Packet};
use gossipper::media::{Command, Event, Heard, LegId, Local, Mode, RtcpInterval, Track};
use gossipper::stats::{SrtpFault, StrayCause};
use gossipper_uring::SimConfig;

use crate::harness::pair::{Came, IPS, Pair, play, tone};
use crate::harness::{MS, SECOND};

/// Suites with the length of their key and salt, and what they add to a packet.
const SUITES: [(&str, usize, usize); 6] = [
    ("AES_CM_128_HMAC_SHA1_80", 30, 10),
    ("AES_CM_128_HMAC_SHA1_32", 30, 4),
    ("NULL_HMAC_SHA1_80", 30, 10),
    ("NULL_HMAC_SHA1_32", 30, 4),
    ("AEAD_AES_128_GCM", 28, 16),
    ("AEAD_AES_256_GCM", 44, 16),
];

/// Formats with a key that begins with `letter`.
fn audio((suite, bytes, _): (&str, usize, usize), letter: char) -> String {
    let zeros = "A".repeat((4 * bytes).div_ceil(3) - 1);
    format!("0 101\r\na=crypto:1 {suite} inline:{letter}{zeros}")
}

/// Connects a leg of each side with the given formats.
fn connect(pair: &mut Pair, call: u64, audio: [&str; 2]) -> [LegId; 2] {
    let now = pair.net.now();
    let legs = [0, 1].map(|end| pair.ends[end].open(call, now));
    pair.describe(legs, audio);
    for (end, &leg) in pair.ends.iter_mut().zip(&legs) {
        end.media.answered(leg, now);
    }
    legs
}

/// Checks that each packet that was sent came, and that nothing was refused.
fn check_all_came(pair: &Pair, of: &str) {
    let [one, two] = [0, 1].map(|end| pair.ends[end].counters());
    for (sender, receiver) in [(&one, &two), (&two, &one)] {
        assert_eq!(sender.rtp_packets_sent, receiver.rtp_packets_received, "{of}");
        assert_eq!(sender.rtcp_sent, receiver.rtcp_received, "{of}");
        assert!(receiver.rtcp_received > 0, "{of}");
        let refused = [receiver.srtp_faults.total(), receiver.faults.total()];
        assert_eq!((refused, receiver.strays.total()), ([0; 2], 0), "{of}");
    }
}

#[test]
fn protected_sides_hear_each_other() {
    let clips = tone();
    for (suite, mode) in
        SUITES.into_iter().flat_map(|suite| [Mode::Ports, Mode::Shared].map(|mode| (suite, mode)))
    {
        let of = format!("{suite:?} {mode:?}");
        let mut pair = Pair::new(21, SimConfig::default(), |config| {
            config.mode = mode;
            config.rtcp = RtcpInterval::Fixed(300 * MS);
        });
        let wire: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
        let tap = Rc::clone(&wire);
        pair.net.set_tap(Box::new(move |_, _, _, payload| tap.borrow_mut().push(payload.into())));
        // Clear calls go on beside the protected one.
        let clear = connect(&mut pair, 1, ["0 101"; 2]);
        let legs = connect(&mut pair, 2, [&audio(suite, 'B'), &audio(suite, 'C')]);
        for end in 0..2 {
            pair.act(end, clear[end], play(&clips));
            pair.act(end, legs[end], play(&clips));
        }
        pair.run_for(2 * SECOND);
        let digits = Command::Digits {
            digits: (*b"42").into(),
            digit_ms: 100,
            pause_ms: 100,
            payload_type: None,
        };
        pair.act(0, legs[0], digits);
        pair.act(1, legs[1], Command::Stop);
        pair.act(1, legs[1], Command::Echo(true));
        pair.run_for(SECOND);
        pair.act(0, legs[0], Command::Stop);
        pair.act(0, clear[0], Command::Stop);
        pair.act(1, clear[1], Command::Stop);
        pair.run_for(200 * MS);
        check_all_came(&pair, &of);
        let told: Vec<_> = pair.ends[1].events.clone();
        assert_eq!(told, [(2, Event::Digit(b'4')), (2, Event::Digit(b'2'))], "{of}");
        let counters = pair.ends[1].counters();
        assert!(counters.rtp_packets_echoed > 40, "{of}: {}", counters.rtp_packets_echoed);
        for end in 0..2 {
            for leg in [legs[end], clear[end]] {
                let report = pair.close(end, leg);
                assert_eq!(report.heard, Heard::TwoWay, "{of}");
                assert!(report.round_trip_ns.is_some(), "{of}");
                assert_eq!(report.reception.lost, 0, "{of}");
            }
        }
        // The last reports of one side come when the other one has forgotten the key.
        pair.run_for(200 * MS);
        for end in &pair.ends {
            let counters = end.counters();
            assert_eq!(counters.faults.total() + counters.srtp_faults.total(), 0, "{of}");
        }
        assert!(pair.ends[1].counters().strays.count(StrayCause::AfterEnd) > 0, "{of}");
        let wire = wire.borrow();
        let tones = wire.iter().filter(|packet| packet.len() == 172).count();
        let protected = wire.iter().filter(|packet| packet.len() == 172 + suite.2);
        let protected: Vec<_> = protected.collect();
        assert!(tones > 280 && protected.len() > 200, "{of}: {tones} {}", protected.len());
        // The clear call plays the same tone, whose end no watermark changes.
        let tone = wire.iter().find(|packet| packet.len() == 172).unwrap();
        let is_readable = protected.iter().any(|packet| packet[108..172] == tone[108..]);
        assert_eq!(is_readable, suite.0.starts_with("NULL"), "{of}");
    }
}

#[test]
fn a_wrong_key_is_heard_by_nobody_and_counted() {
    let clips = tone();
    for mode in [Mode::Ports, Mode::Shared] {
        let mut pair = Pair::new(22, SimConfig::default(), |config| config.mode = mode);
        let [right, wrong] = ['B', 'C'].map(|letter| audio(SUITES[0], letter));
        let legs = connect(&mut pair, 1, [&right, &right]);
        // The answerer hears of another key than the caller has.
        let now = pair.net.now();
        let lie = pair.sdp(0, legs[0], &wrong);
        for sdp in [&lie, &pair.sdp(0, legs[0], &wrong)] {
            pair.ends[1].media.remote_description(legs[1], sdp.as_bytes(), now).unwrap();
        }
        pair.run_for(100 * MS);
        pair.act(0, legs[0], play(&clips));
        pair.run_for(SECOND);
        let counters = pair.ends[1].counters();
        let sent = pair.ends[0].counters();
        assert!(sent.rtp_packets_sent >= 49);
        // The former key is the right one, and is tried too.
        assert_eq!(counters.srtp_faults.total(), 0);
        // Two keys later it is forgotten.
        let other = pair.sdp(0, legs[0], &audio(SUITES[0], 'D'));
        pair.ends[1].media.remote_description(legs[1], other.as_bytes(), now).unwrap();
        pair.run_for(SECOND);
        let late = pair.ends[1].counters();
        let refused = late.srtp_faults.count(SrtpFault::BadTag);
        assert!((49..=54).contains(&refused), "{refused}");
        assert!(late.rtp_packets_received - counters.rtp_packets_received <= 1);
        assert_eq!(late.strays.total(), 0);

        // A call that never had the right key is a silent one.
        let now = pair.net.now();
        let legs = [0, 1].map(|end| pair.ends[end].open(2, now));
        for (end, other, told) in [(0, 1, &wrong), (1, 0, &right)] {
            let sdp = pair.sdp(end, legs[end], &right);
            pair.ends[end].media.local_description(legs[end], sdp.as_bytes(), now).unwrap();
            let sdp = pair.sdp(end, legs[end], told);
            pair.ends[other].media.remote_description(legs[other], sdp.as_bytes(), now).unwrap();
        }
        pair.act(0, legs[0], play(&clips));
        pair.run_for(SECOND);
        let report = pair.close(1, legs[1]);
        assert_eq!((report.reception.packets, report.heard), (0, Heard::None));
    }
}

#[test]
fn calls_go_on_over_new_keys() {
    let clips = tone();
    let network =
        SimConfig { delay_ns_min: 10 * MS, delay_ns_max: 10 * MS, ..SimConfig::default() };
    let mut pair = Pair::new(23, network, |config| config.rtcp = RtcpInterval::Fixed(100 * MS));
    let keys: Vec<_> = ('B'..='K').map(|letter| audio(SUITES[4], letter)).collect();
    let legs = connect(&mut pair, 1, [&keys[0], &keys[1]]);
    (0..2).for_each(|end| pair.act(end, legs[end], play(&clips)));
    for pair_of_keys in keys.chunks(2).chain([&keys[8..]]) {
        pair.describe(legs, [&pair_of_keys[0], &pair_of_keys[1]]);
        pair.run_for(500 * MS);
    }
    // Another suite, no keys, and keys again.
    for formats in [audio(SUITES[0], 'B'), "0 101".to_owned(), audio(SUITES[1], 'B')] {
        (0..2).for_each(|end| pair.act(end, legs[end], Command::Stop));
        pair.run_for(100 * MS);
        pair.describe(legs, [&formats, &formats]);
        (0..2).for_each(|end| pair.act(end, legs[end], play(&clips)));
        pair.run_for(500 * MS);
    }
    (0..2).for_each(|end| pair.act(end, legs[end], Command::Stop));
    pair.run_for(100 * MS);
    let counters = [0, 1].map(|end| pair.ends[end].counters());
    for (sender, receiver) in [(0, 1), (1, 0)] {
        let sent = counters[sender].rtp_packets_sent;
        assert_eq!(counters[receiver].rtp_packets_received, sent);
        assert!(sent > 200, "{sent}");
        // Reports that are on their way when the suite changes cannot be read.
        assert!(counters[receiver].srtp_faults.total() <= 1);
        let report = pair.close(receiver, legs[receiver]);
        assert_eq!((report.reception.lost, report.heard), (0, Heard::TwoWay));
    }
}

/// A sound without end, in packets of 2 ms.
fn quick() -> Arc<ClipSet> {
    let frame = |at: u32| Frame {
        offset: at * 16,
        len: 16,
        marker: false,
        payload_type: None,
        gap_ns: 2 * MS,
        ticks: 16,
    };
    let clip = Clip {
        bytes: vec![0x10; 160].into(),
        frames: (0..10).map(frame).collect(),
        content: Content::Payload,
        clock_rate: 8000,
        is_silent: false,
        pattern: None,
        is_marked: false,
    };
    Arc::new(ClipSet { clips: vec![("PCMU", Arc::new(clip))] })
}

#[test]
fn loss_does_not_break_the_count_of_rollovers() {
    let network = SimConfig { loss_ppm: 200_000, ..SimConfig::default() };
    let mut pair = Pair::new(24, network, |config| config.rtcp = RtcpInterval::Off);
    let keys = audio(SUITES[4], 'B');
    let legs = connect(&mut pair, 1, [&keys, &keys]);
    pair.act(0, legs[0], play(&quick()));
    // More packets than there are sequence numbers.
    pair.run_for(140 * SECOND);
    let came = pair.ends[1].came.values().next().unwrap();
    let wraps = |pair: &[Came]| pair[0].sequence > 0xff00 && pair[1].sequence < 0x100;
    assert!(came[0].sequence < 0x8000 && came.windows(2).any(wraps));
    let counters = pair.ends[1].counters();
    assert!(counters.rtp_packets_received > 50_000);
    assert_eq!(counters.rtp_packets_received, came.len() as u64);
    assert_eq!(counters.srtp_faults.total(), 0);
}

#[test]
fn keys_are_logged_once_with_the_direction_that_they_are_for() {
    let mut pair = Pair::new(26, SimConfig::default(), |_| {});
    let [one, two] = ['B', 'C'].map(|letter| audio(SUITES[0], letter));
    let legs = connect(&mut pair, 1, [&one, &two]);
    let log = |pair: &mut Pair, end: usize| {
        let mut lines = String::new();
        pair.ends[end].media.log_keys(legs[end], Track::Audio, "a@b", &mut lines);
        lines
    };
    let at = |pair: &Pair, end: usize| pair.ends[end].media.local(legs[end], Track::Audio).unwrap();
    let [here, there] = [at(&pair, 0), at(&pair, 1)];
    let line = |from: &Local, to: &Local, letter: char| {
        let key = format!("{letter}{}", "A".repeat(39));
        let (from, to, ssrc) = (from.rtp, to.rtp, from.ssrc);
        format!("{from} {to} 0x{ssrc:08x} AES_CM_128_HMAC_SHA1_80 {key} call-id=a@b\n")
    };
    let [ours, theirs] = [line(&here, &there, 'B'), line(&there, &here, 'C')];
    assert_eq!(log(&mut pair, 0), format!("{ours}{theirs}"));
    assert_eq!(log(&mut pair, 1), format!("{theirs}{ours}"));
    assert_eq!(log(&mut pair, 0), "");
    pair.describe(legs, [&one, &two]);
    assert_eq!(log(&mut pair, 0), "");
    let other = audio(SUITES[0], 'D');
    pair.describe(legs, [&other, &two]);
    assert_eq!(log(&mut pair, 0), format!("{}{theirs}", line(&here, &there, 'D')));
}

#[test]
fn nothing_is_clear_before_both_keys_are_known() {
    let clips = tone();
    let mut pair =
        Pair::new(25, SimConfig::default(), |config| config.rtcp = RtcpInterval::Fixed(50 * MS));
    let now = pair.net.now();
    let legs = [0, 1].map(|end| pair.ends[end].open(1, now));
    let keys = audio(SUITES[0], 'B');
    let offer = pair.sdp(0, legs[0], &keys).replace("RTP/AVP", "RTP/SAVP");
    pair.ends[0].media.local_description(legs[0], offer.as_bytes(), now).unwrap();
    pair.ends[1].media.remote_description(legs[1], offer.as_bytes(), now).unwrap();
    (0..2).for_each(|end| pair.act(end, legs[end], play(&clips)));
    pair.run_for(SECOND);
    assert!(pair.sent_to.borrow().is_empty());
    // An answer without a key is refused, and nothing is sent then either.
    let now = pair.net.now();
    let clear = pair.sdp(1, legs[1], "0 101");
    let refused = pair.ends[0].media.remote_description(legs[0], clear.as_bytes(), now);
    assert_eq!(refused.unwrap_err().label(), "crypto_no_key");
    let refused = pair.ends[1].media.local_description(legs[1], clear.as_bytes(), now);
    assert_eq!(refused.unwrap_err().label(), "crypto_no_key");
    pair.run_for(SECOND);
    assert!(pair.sent_to.borrow().is_empty());
}

#[test]
fn reports_are_copied_as_they_are_without_srtcp_where_they_are_wanted() {
    for mode in [Mode::Ports, Mode::Shared] {
        let mut pair = Pair::new(24, SimConfig::default(), |config| {
            config.mode = mode;
            config.rtcp = RtcpInterval::Fixed(300 * MS);
        });
        pair.ends[0].media.monitor_reports(true);
        let clips = tone();
        let legs = connect(&mut pair, 7, [&audio(SUITES[4], 'B'), &audio(SUITES[4], 'C')]);
        (0..2).for_each(|end| pair.act(end, legs[end], play(&clips)));
        pair.run_for(2 * SECOND);
        pair.close(0, legs[0]);
        pair.run_for(100 * MS);
        let (mut sent, mut received, mut goodbyes) = (0, 0, 0);
        let lost = pair.ends[0].media.take_reports(|report| {
            *(if report.is_sent { &mut sent } else { &mut received }) += 1;
            assert_eq!((report.call, report.local.ip()), (7, IPS[0]));
            assert_eq!(report.remote.ip(), IPS[1]);
            let compound = Compound::parse(report.packet).expect("a report in the clear");
            let packets: Vec<Packet<'_>> = compound.map(|packet| packet.unwrap()).collect();
            assert!(matches!(packets[0], Packet::SenderReport { .. }), "{packets:?}");
            goodbyes += packets.iter().filter(|one| matches!(one, Packet::Goodbye(_))).count();
        });
        let counters = pair.ends[0].counters();
        let counted = (counters.rtcp_sent, counters.rtcp_received);
        assert_eq!(((sent, received), lost, goodbyes), (counted, 0, 1), "{mode:?}");
        assert!(received > 3, "{received}");
        // They are taken once, and the other side copies none.
        for end in &mut pair.ends {
            assert_eq!(end.media.take_reports(|report| panic!("{report:?}")), 0);
        }
    }
}

//! Two medias on the simulated network, and the checks of what came back or came from elsewhere.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::Arc;

use gossipper::media::clip::ClipSet;
use gossipper::media::codec::Encoding;
use gossipper::media::tap::{Entries, Entry, Form, Origin};
use gossipper::media::tone::{TONE_DBOV, TONE_HZ, Tone};
use gossipper::media::{Command, LegId, LegReport, Medium as _, Recordings, Track, tone};
use gossipper_uring::{Driver as _, DriverConfig, Event, SimConfig, SimDriver, SocketId, TxOrder};

use crate::harness::pair::{self, Pair, play};
use crate::harness::{MS, SECOND, plain_socket};

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

/// A relay between two calls, whose tables may be wrong. Its ports, and the legs at them, are the
/// callers of both calls and then the answerers.
struct Relay {
    driver: SimDriver,
    sockets: [SocketId; 4],
    legs: [(usize, LegId); 4],
    targets: [SocketAddr; 4],
    /// The leg that gets what a leg sends.
    routes: [usize; 4],
}

impl Relay {
    const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3));

    /// A relay between legs that send a tone, with watermarks or without.
    fn new(pair: &mut Pair, watermarks: bool) -> Self {
        let mut driver =
            SimDriver::new(&pair.net, &DriverConfig::default()).expect("memory for a driver");
        let now = pair.net.now();
        let pcmu = Encoding::by_name("PCMU").unwrap();
        let tone = Tone { hz: TONE_HZ, dbov: TONE_DBOV };
        let mut clip = tone::tone(tone, pcmu, 20).unwrap().unwrap();
        clip.is_marked &= watermarks;
        let clips = Arc::new(ClipSet { clips: vec![("PCMU", Arc::new(clip))] });
        let legs = [(0, 1), (0, 2), (1, 1), (1, 2)]
            .map(|(end, call)| (end, pair.ends[end].open(call, now)));
        let places = [0, 1, 2, 3];
        let sockets = places.map(|at| {
            let local = SocketAddr::new(Self::IP, 5000 + 2 * at);
            driver.open(&plain_socket(local)).expect("a free port")
        });
        let targets = places.map(|at| {
            let (end, leg) = legs[usize::from(at)];
            let sdp = pair.sdp(end, leg, "0");
            let media = &mut pair.ends[end].media;
            let local = media.local(leg, Track::Audio).unwrap().rtp;
            media.local_description(leg, sdp.as_bytes(), now).unwrap();
            let theirs = format!(
                "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
                 m=audio {port} RTP/AVP 0\r\n",
                ip = Self::IP,
                port = 5000 + 2 * at,
            );
            media.remote_description(leg, theirs.as_bytes(), now).unwrap();
            media.answered(leg, now);
            pair.act(end, leg, play(&clips));
            local
        });
        Self { driver, sockets, legs, targets, routes: [2, 3, 0, 1] }
    }

    /// Passes on what comes in the next `time_ms`.
    fn run(&mut self, pair: &mut Pair, time_ms: u64) {
        for _ in 0..time_ms {
            pair.run_for(MS);
            let Self { driver, sockets, targets, routes, .. } = self;
            driver.turn(u64::MAX).expect("a simulated driver does not fail");
            let _ = driver.drain(|event, tx| {
                if let Event::Datagram { socket, payload, .. } = event {
                    let at = sockets.iter().position(|&one| one == socket).unwrap();
                    let to = routes[at];
                    let order = &mut TxOrder::default();
                    assert!(tx.send_copy(payload, sockets[to], targets[to], 0, order));
                }
                ControlFlow::Continue(())
            });
        }
    }
}

/// Packets of cross-talk of both callers and both answerers, if their relay has `routes` for
/// two seconds.
fn crosstalk(watermarks: bool, routes: [usize; 4]) -> [u64; 4] {
    let network = SimConfig { delay_ns_min: 5 * MS, delay_ns_max: 5 * MS, ..SimConfig::default() };
    let mut pair = Pair::new(5, network, |_| ());
    let mut relay = Relay::new(&mut pair, watermarks);
    relay.run(&mut pair, 1000);
    let before = std::mem::replace(&mut relay.routes, routes);
    relay.run(&mut pair, 2000);
    relay.routes = before;
    relay.run(&mut pair, 500);
    let reports = relay.legs.map(|(end, leg)| pair.close(end, leg));
    assert!(reports.iter().all(|report| report.has_watermarks == watermarks));
    assert!(reports.iter().all(|report| report.reception.packets > 60));
    for (end, reports) in reports.chunks(2).enumerate() {
        let counters = pair.ends[end].counters();
        let crossed = reports.iter().filter(|report| report.crosstalk_packets > 0).count();
        assert_eq!(counters.legs_crosstalk, crossed as u64);
        assert_eq!(counters.legs_marked, if watermarks { 2 } else { 0 });
        let packets: u64 = reports.iter().map(|report| report.crosstalk_packets).sum();
        assert_eq!(counters.crosstalk_packets, packets);
    }
    reports.map(|report| report.crosstalk_packets)
}

#[test]
fn audio_of_another_call_is_noticed_by_its_mark() {
    const RIGHT: [usize; 4] = [2, 3, 0, 1];
    assert_eq!(crosstalk(true, RIGHT), [0; 4]);
    // Both calls have new partners, and both sides of each: a transfer.
    assert_eq!(crosstalk(true, [3, 2, 1, 0]), [0; 4]);
    // Everybody hears itself.
    assert_eq!(crosstalk(true, [0, 1, 2, 3]), [0; 4]);
    // The callers hear the other answerer, which hears its own caller. The answerers learn that
    // their callers hear another one.
    let crossed = crosstalk(true, [2, 3, 1, 0]);
    assert!(crossed.iter().all(|packets| (90..=110).contains(packets)), "{crossed:?}");
    // One caller hears both answerers in turn, and the other one nobody.
    let [one, two, three, _] = crosstalk(true, [2, 3, 1, 1]);
    assert!((90..=110).contains(&two), "{two}");
    assert_eq!((one, three), (0, 0));
    assert_eq!(crosstalk(false, [2, 3, 1, 0]), [0; 4]);
}

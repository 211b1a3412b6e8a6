//! Two medias whose session descriptions ask for keys by DTLS.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use gossipper::media::dtls::Identity;
use gossipper::media::{
    Command, Event, Gate, Heard, LegId, MediaConfig, MediaFault, Medium, Mode, RtcpInterval, Track,
};
use gossipper::stats::{
    HandshakeFault, MediaHistograms, MediaMeasure, SrtpFault, StrayCause, UnsentCause,
};
use gossipper_uring::{Driver, SimConfig, TxOrder};

use crate::harness::pair::{IPS, Pair, play, tone};
use crate::harness::{MS, SECOND, plain_socket};

/// A datagram on the wire, with the time at which it left.
type Wire = Rc<RefCell<Vec<(u64, Vec<u8>)>>>;

/// Two sides with a certificate each.
struct Sides {
    pair: Pair,
    identities: [Arc<Identity>; 2],
    wire: Wire,
    /// Addresses that something was sent to.
    to: Rc<RefCell<Vec<SocketAddr>>>,
}

impl Sides {
    fn new(seed: u64, network: SimConfig, change: impl Fn(&mut MediaConfig)) -> Self {
        let identities = [0, 1].map(|_| Arc::new(Identity::new(Instant::now()).unwrap()));
        let of = RefCell::new(identities.clone().into_iter());
        let pair = Pair::new(seed, network, |config| {
            config.identity = of.borrow_mut().next();
            config.rtcp = RtcpInterval::Fixed(200 * MS);
            change(config);
        });
        let wire: Wire = Rc::default();
        let tap = Rc::clone(&wire);
        let to: Rc<RefCell<Vec<SocketAddr>>> = Rc::default();
        let targets = Rc::clone(&to);
        pair.net.set_tap(Box::new(move |now, _, to, payload| {
            tap.borrow_mut().push((now, payload.to_vec()));
            targets.borrow_mut().push(to);
        }));
        Self { pair, identities, wire, to }
    }

    /// The description of a side, with a word about its role.
    fn sdp(&self, end: usize, leg: LegId, setup: &str) -> String {
        let lines = format!(
            "a=fingerprint:{}\r\na=setup:{setup}\r\na=rtcp-mux\r\n",
            self.identities[end].fingerprint()
        );
        self.pair.sdp(end, leg, "0 101").replace("RTP/AVP", "UDP/TLS/RTP/SAVP") + &lines
    }

    /// Offers and answers with what `change` makes of the descriptions of each side.
    fn describe(&mut self, legs: [LegId; 2], change: impl Fn(usize, String) -> String) {
        let now = self.pair.net.now();
        for (end, other, setup) in [(0, 1, "actpass"), (1, 0, "active")] {
            let sdp = self.sdp(end, legs[end], setup);
            let told = change(end, sdp.clone());
            self.pair.ends[end].media.local_description(legs[end], sdp.as_bytes(), now).unwrap();
            let told =
                self.pair.ends[other].media.remote_description(legs[other], told.as_bytes(), now);
            told.unwrap();
        }
    }

    /// Connects a call whose sides both play.
    fn connect(&mut self, call: u64, change: impl Fn(usize, String) -> String) -> [LegId; 2] {
        let now = self.pair.net.now();
        let legs = [0, 1].map(|end| self.pair.ends[end].open(call, now));
        self.describe(legs, change);
        for (end, leg) in legs.into_iter().enumerate() {
            self.pair.ends[end].media.answered(leg, now);
            self.pair.act(end, leg, play(&tone()));
        }
        legs
    }

    fn failures(&self, end: usize) -> Vec<HandshakeFault> {
        let events = self.pair.ends[end].events.iter();
        let fault = |(_, event): &(u64, Event)| match event {
            Event::Failed(MediaFault::Handshake(fault)) => Some(*fault),
            _ => None,
        };
        events.filter_map(fault).collect()
    }
}

/// True for a datagram of DTLS.
fn is_dtls(payload: &[u8]) -> bool {
    matches!(payload.first(), Some(20..=63))
}

#[test]
fn sides_hear_each_other_once_they_have_shaken_hands() {
    const CALLS: u64 = 10;
    let lossy = SimConfig {
        delay_ns_min: 5 * MS,
        delay_ns_max: 20 * MS,
        loss_ppm: 100_000,
        duplicate_ppm: 50_000,
        reorder: true,
        ..SimConfig::default()
    };
    for (seed, network) in [(31, SimConfig::default()), (32, lossy)] {
        let mut sides = Sides::new(seed, network, |_| {});
        let legs: Vec<_> = (0..CALLS).map(|call| sides.connect(call, |_, sdp| sdp)).collect();
        sides.pair.run_for(5 * SECOND);
        for end in 0..2 {
            let counters = sides.pair.ends[end].counters();
            assert_eq!((counters.handshakes, counters.handshake_faults.total()), (CALLS, 0));
            assert_eq!(
                counters.srtp_faults.total(),
                counters.srtp_faults.count(SrtpFault::Replayed)
            );
            let mut measured = MediaHistograms::default();
            sides.pair.ends[end].media.swap_measured(&mut measured);
            assert_eq!(measured.of(MediaMeasure::Handshake).count(), CALLS);
            for legs in &legs {
                let report = sides.pair.close(end, legs[end]);
                assert_eq!(report.heard, Heard::TwoWay, "seed {seed}: {report:?}");
            }
        }
        // Each side plays the same tone, and none of its packets can be read on the wire.
        let wire = sides.wire.borrow();
        let media = || wire.iter().filter(|(_, payload)| !is_dtls(payload));
        assert!(media().count() > 3_000 && wire.iter().any(|(_, payload)| is_dtls(payload)));
        assert!(media().all(|(_, payload)| payload.len() != 172));
    }
}

#[test]
fn nothing_leaves_before_the_keys_and_nobody_is_silent_with_a_description_that_comes_late() {
    let mut sides = Sides::new(34, SimConfig::default(), |_| {});
    let now = sides.pair.net.now();
    let legs = [0, 1].map(|end| sides.pair.ends[end].open(1, now));
    let [offer, answer] =
        [(0, "actpass"), (1, "active")].map(|(end, setup)| sides.sdp(end, legs[end], setup));
    sides.pair.ends[0].media.local_description(legs[0], offer.as_bytes(), now).unwrap();
    sides.pair.ends[1].media.remote_description(legs[1], offer.as_bytes(), now).unwrap();
    sides.pair.ends[1].media.local_description(legs[1], answer.as_bytes(), now).unwrap();
    (0..2).for_each(|end| sides.pair.act(end, legs[end], play(&tone())));
    // The answerer begins. Its description is still on its way.
    sides.pair.run_for(150 * MS);
    let sent = sides.wire.borrow().len();
    assert_eq!(sent, 1, "the first datagram of the handshake, and no media");
    let now = sides.pair.net.now();
    sides.pair.ends[0].media.remote_description(legs[0], answer.as_bytes(), now).unwrap();
    sides.pair.run_for(20 * MS);
    assert_eq!(sides.pair.ends[1].counters().handshakes, 1, "without waiting for a repetition");
    sides.pair.run_for(SECOND);
    let first = sides.wire.borrow().iter().position(|(_, payload)| !is_dtls(payload)).unwrap();
    assert!(sides.wire.borrow()[..first].iter().all(|(_, payload)| is_dtls(payload)));
    assert!((45..=51).contains(&sides.pair.ends[0].counters().rtp_packets_received));
}

#[test]
fn a_stranger_with_another_certificate_gets_no_media() {
    let mut sides = Sides::new(35, SimConfig::default(), |_| {});
    let stranger = Identity::new(Instant::now()).unwrap();
    let own = sides.identities[0].fingerprint().to_owned();
    let legs = sides.connect(1, |end, sdp| match end {
        0 => sdp.replace(&own, stranger.fingerprint()),
        _ => sdp,
    });
    sides.pair.run_for(12 * SECOND);
    assert_eq!(sides.failures(1), [HandshakeFault::DtlsFingerprint]);
    assert_eq!(sides.failures(0), [HandshakeFault::DtlsTimedOut]);
    for (end, leg) in legs.into_iter().enumerate() {
        assert_eq!(sides.pair.ends[end].counters().handshakes, 0);
        let report = sides.pair.close(end, leg);
        assert_eq!(report.packets_sent, 0, "side {end}");
    }
    assert!(sides.wire.borrow().iter().all(|(_, payload)| is_dtls(payload)));
}

#[test]
fn descriptions_that_do_not_go_together_are_refused() {
    let mut sides = Sides::new(36, SimConfig::default(), |_| {});
    let refused = |sides: &mut Sides, change: &dyn Fn(String) -> String| {
        let now = sides.pair.net.now();
        let legs = [0, 1].map(|end| sides.pair.ends[end].open(1, now));
        let offer = sides.sdp(0, legs[0], "active");
        let answer = change(sides.sdp(1, legs[1], "passive"));
        sides.pair.ends[0].media.local_description(legs[0], offer.as_bytes(), now).unwrap();
        let told = sides.pair.ends[0].media.remote_description(legs[0], answer.as_bytes(), now);
        sides.pair.act(0, legs[0], play(&tone()));
        sides.pair.run_for(300 * MS);
        assert!(sides.wire.borrow().is_empty());
        sides.pair.close(0, legs[0]);
        told.unwrap_err().label()
    };
    let without = |what: &'static str| move |sdp: String| sdp.replace(what, "a=x-");
    assert_eq!(refused(&mut sides, &without("a=fingerprint:")), "crypto_no_fingerprint");
    assert_eq!(refused(&mut sides, &without("sha-256")), "crypto_bad_fingerprint");
    let same = |sdp: String| sdp.replace("setup:passive", "setup:active");
    assert_eq!(refused(&mut sides, &same), "crypto_same_role");
    let mut shared = Sides::new(36, SimConfig::default(), |config| config.mode = Mode::Shared);
    let now = shared.pair.net.now();
    let leg = shared.pair.ends[0].open(1, now);
    let sdp = shared.sdp(0, leg, "actpass");
    let told = shared.pair.ends[0].media.local_description(leg, sdp.as_bytes(), now);
    assert_eq!(told.unwrap_err().label(), "crypto_no_dtls");
}

#[test]
fn noise_and_floods_are_counted_and_harm_no_call() {
    let mut sides = Sides::new(37, SimConfig::default(), |_| {});
    let legs = sides.connect(1, |_, sdp| sdp);
    let victim = sides.pair.ends[0].media.local(legs[0], Track::Audio).unwrap();
    // From the peer's own address, and from another host.
    let foreign = "192.0.2.99:7000".parse().unwrap();
    let near = "192.0.2.2:0".parse().unwrap();
    let sockets =
        [near, foreign].map(|at| sides.pair.ends[1].driver.open(&plain_socket(at)).unwrap());
    for round in 0..50u8 {
        for socket in sockets {
            let noise = [&[20 + round % 44, 0xfe, 0xfd][..], &[round; 60]].concat();
            let tx = sides.pair.ends[1].driver.tx();
            tx.send_copy(&noise, socket, victim.rtp, 0, &mut TxOrder::default());
        }
        sides.pair.run_for(MS);
    }
    sides.pair.run_for(2 * SECOND);
    let counters = sides.pair.ends[0].counters();
    assert!(counters.strays.count(StrayCause::Foreign) >= 50);
    assert_eq!(counters.handshakes, 1);
    assert_eq!(counters.unsent.count(UnsentCause::NoSlot), 0);
    assert_eq!(sides.pair.close(0, legs[0]).heard, Heard::TwoWay);
}

#[test]
fn a_reinvite_keeps_the_keys() {
    let mut sides = Sides::new(38, SimConfig::default(), |_| {});
    let legs = sides.connect(1, |_, sdp| sdp);
    sides.pair.run_for(SECOND);
    sides.describe(legs, |_, sdp| sdp);
    sides.pair.run_for(SECOND);
    assert_eq!(sides.pair.ends[0].counters().handshakes, 1);
    // Hold and resume leave the keys alone.
    sides.describe(legs, |_, sdp| sdp + "a=inactive\r\n");
    sides.pair.run_for(SECOND);
    sides.describe(legs, |_, sdp| sdp);
    sides.pair.run_for(SECOND);
    let counters = sides.pair.ends[0].counters();
    assert_eq!((counters.handshakes, counters.srtp_faults.total()), (1, 0));
    for (end, leg) in legs.into_iter().enumerate() {
        sides.pair.act(end, leg, Command::Stop);
        assert_eq!(sides.pair.close(end, leg).heard, Heard::TwoWay);
    }
}

#[test]
fn a_burst_of_calls_takes_few_steps_in_each_millisecond() {
    let mut sides = Sides::new(39, SimConfig::default(), |_| {});
    (0..200).for_each(|call| _ = sides.connect(call, |_, sdp| sdp));
    sides.pair.run_for(2 * SECOND);
    let counters = [0, 1].map(|end| sides.pair.ends[end].counters());
    assert_eq!(counters.map(|counters| counters.handshakes), [200; 2]);
    assert_eq!(counters.map(|counters| counters.handshake_faults.total()), [0; 2]);
    let mut by_tick = std::collections::HashMap::<u64, usize>::new();
    for (time, _) in sides.wire.borrow().iter().filter(|(_, payload)| is_dtls(payload)) {
        *by_tick.entry(time / MS).or_default() += 1;
    }
    // A step of each of two sides sends two datagrams at most.
    let most = *by_tick.values().max().unwrap();
    assert!((8..=64).contains(&most), "{most}");
}

/// The words of a side about ICE, with candidates.
fn ice(letter: &str, candidates: &[&str]) -> String {
    let lines = candidates.iter().map(|at| format!("a=candidate:1 1 UDP 9 {at} typ host\r\n"));
    let lines: String = lines.collect();
    format!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n{lines}", letter.repeat(4), letter.repeat(24))
}

/// A gate that lets nothing pass but the hosts of the test.
#[derive(Debug)]
struct Inside;

impl Gate for Inside {
    fn lets_pass(&self, to: SocketAddr, _: u64) -> bool {
        IPS.contains(&to.ip())
    }
}

#[test]
fn candidates_that_may_not_be_sent_to_get_no_checks() {
    let mut sides =
        Sides::new(40, SimConfig::default(), |config| config.gate = Some(Arc::new(Inside)));
    let now = sides.pair.net.now();
    let legs = [0, 1].map(|end| sides.pair.ends[end].open(1, now));
    let port = sides.pair.ends[1].media.local(legs[1], Track::Audio).unwrap().rtp.port();
    let own = format!("192.0.2.2 {port}");
    let offer = sides.sdp(0, legs[0], "actpass") + &ice("a", &[]);
    let answer = sides.sdp(1, legs[1], "active") + &ice("b", &["198.51.100.7 4000", &own]);
    let only_outside = sides.sdp(1, legs[1], "active") + &ice("c", &["198.51.100.7 4000"]);
    let ends = &mut sides.pair.ends;
    ends[0].media.local_description(legs[0], offer.as_bytes(), now).unwrap();
    ends[1].media.remote_description(legs[1], offer.as_bytes(), now).unwrap();
    ends[1].media.local_description(legs[1], answer.as_bytes(), now).unwrap();
    ends[0].media.remote_description(legs[0], answer.as_bytes(), now).unwrap();
    for (end, leg) in legs.into_iter().enumerate() {
        sides.pair.ends[end].media.answered(leg, now);
        sides.pair.act(end, leg, play(&tone()));
    }
    sides.pair.run_for(2 * SECOND);
    let counters = sides.pair.ends[0].counters();
    assert_eq!(counters.handshake_faults.count(HandshakeFault::IceBlocked), 1);
    assert_eq!((counters.handshakes, counters.handshake_faults.total()), (1, 1));
    assert!(sides.to.borrow().iter().all(|to| IPS.contains(&to.ip())));
    let now = sides.pair.net.now();
    let media = &mut sides.pair.ends[0].media;
    let told = media.remote_description(legs[0], only_outside.as_bytes(), now);
    assert_eq!(told, Err(MediaFault::BlockedTarget));
    assert_eq!(sides.pair.close(0, legs[0]).heard, Heard::TwoWay);
}

#[test]
fn a_peer_whose_address_is_not_found_fails_the_call_and_gets_no_media() {
    let mut sides = Sides::new(41, SimConfig::default(), |_| {});
    let now = sides.pair.net.now();
    let [leg, other] = [0, 1].map(|end| sides.pair.ends[end].open(1, now));
    let offer = sides.sdp(0, leg, "actpass") + &ice("a", &[]);
    // The peer is where nobody answers, and sends no check either.
    let answer = sides.sdp(1, other, "active") + &ice("b", &["192.0.2.9 4002"]);
    let media = &mut sides.pair.ends[0].media;
    media.local_description(leg, offer.as_bytes(), now).unwrap();
    media.remote_description(leg, answer.as_bytes(), now).unwrap();
    sides.pair.act(0, leg, play(&tone()));
    sides.pair.run_for(12 * SECOND);
    assert_eq!(sides.failures(0), [HandshakeFault::IceTimedOut]);
    assert_eq!(sides.pair.close(0, leg).packets_sent, 0);
}

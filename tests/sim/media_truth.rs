//! One stream over a bad network, from a talker whose clock steps: what a media reports of it is
//! what a model finds that keeps all packets.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use gossipper::media::quality::{CODECS, Path, Rating};
use gossipper::media::{Mode, Reception, RtcpInterval, Track};
use gossipper_uring::{Driver, DriverConfig, SimConfig, SimDriver, SimNet, SocketId, TxOrder};

use crate::harness::pair::{Came, Pair};
use crate::harness::{MS, SECOND, plain_socket};

/// Packets of 20 ms, for which one estimate of MOS is made.
const PACKETS: u16 = 240;
/// Numbers of the first packet. Both wrap on the way.
const FIRST: (u16, u32) = (65_500, u32::MAX - 1_000);
/// Steps of the talker's clock: the first packet behind each, and seconds.
const STEPS: [(u16, i32); 3] = [(80, 10), (160, -10), (200, 1)];
const TALKER: SocketAddr =
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 77)), 4000);
const SSRC: u32 = 7;

/// A host that sends packets one by one.
struct Talker {
    driver: SimDriver,
    socket: SocketId,
}

impl Talker {
    fn new(net: &SimNet) -> Self {
        let mut driver = SimDriver::new(net, &DriverConfig::default()).expect("memory");
        let spec = plain_socket(TALKER);
        let socket = driver.open(&spec).expect("a free port");
        Self { driver, socket }
    }

    fn say(&mut self, number: u16, to: SocketAddr) {
        let steps = STEPS.iter().filter(|(from, _)| number >= *from);
        let stepped: i32 = steps.map(|(_, seconds)| seconds * 8000).sum();
        let ticks = 160 * u32::from(number);
        let timestamp = FIRST.1.wrapping_add(ticks).wrapping_add_signed(stepped);
        let mut packet = vec![0x80, 0];
        packet.extend(FIRST.0.wrapping_add(number).to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(SSRC.to_be_bytes());
        packet.resize(172, 0x10);
        let order = &mut TxOrder::default();
        assert!(self.driver.tx().send_copy(&packet, self.socket, to, 0, order));
        self.driver.turn(u64::MAX).expect("a simulated driver does not fail");
    }
}

/// The truth about the packets that came.
#[derive(Debug, Default)]
struct Truth {
    packets: u64,
    lost: u64,
    duplicates: u64,
    reordered: u64,
    discarded: u64,
    jitter_ns: f64,
    mos: f32,
}

impl Truth {
    fn of(came: &[Came]) -> Self {
        let mut truth = Self::default();
        // Packets by number, and whether each is played.
        let mut played: BTreeMap<u16, bool> = BTreeMap::new();
        // Transit times since the talker's clock last jumped, in the order of arrival.
        let mut transits: Vec<(i64, u64)> = Vec::new();
        for packet in came {
            let number = packet.sequence.wrapping_sub(FIRST.0);
            if played.contains_key(&number) {
                truth.duplicates += 1;
                continue;
            }
            truth.packets += 1;
            let highest = played.last_key_value().map_or(number, |(&number, _)| number);
            truth.reordered += u64::from(number < highest);
            let ticks = packet.timestamp.wrapping_sub(FIRST.1) as i32;
            let transit_ns = packet.received_ns as i64 - i64::from(ticks) * 125_000;
            played.insert(number, truth.play(&mut transits, transit_ns, packet.received_ns));
        }
        truth.judge(&played);
        truth
    }

    /// Takes a packet into jitter (RFC 3550 section 6.4.1), unless the clock has jumped by more
    /// than two seconds. Tells whether a jitter buffer of 60 ms plays it.
    fn play(&mut self, transits: &mut Vec<(i64, u64)>, transit_ns: i64, received_ns: u64) -> bool {
        if let Some(&(before_ns, _)) = transits.last() {
            let step_ns = (transit_ns - before_ns).abs();
            if step_ns > 2 * SECOND as i64 {
                transits.clear();
            } else {
                self.jitter_ns += (step_ns as f64 - self.jitter_ns) / 16.0;
            }
        }
        transits.push((transit_ns, received_ns));
        // The fastest way becomes slower by 1/5000, so that a slow clock does no harm.
        let way =
            |&(way_ns, at_ns): &(i64, u64)| way_ns as f64 + (received_ns - at_ns) as f64 / 5e3;
        let fastest_ns = transits.iter().map(way).fold(f64::MAX, f64::min);
        transit_ns as f64 - fastest_ns <= 60e6
    }

    /// Rates what a listener heard (G.107).
    fn judge(&mut self, played: &BTreeMap<u16, bool>) {
        let numbers = played.keys().min().zip(played.keys().max());
        let (&first, &last) = numbers.expect("something came");
        let heard: Vec<bool> =
            (first..=last).map(|number| played.get(&number) == Some(&true)).collect();
        let expected = heard.len() as f32;
        let missing = heard.iter().filter(|&&heard| !heard).count() as f32;
        let runs = heard.windows(2).filter(|pair| pair[0] && !pair[1]).count().max(1) as f32;
        self.lost = heard.len() as u64 - self.packets;
        self.discarded = played.values().filter(|&&is_played| !is_played).count() as u64;
        let path = Path {
            loss: missing / expected,
            burst_ratio: missing / runs * (1.0 - missing / expected),
            // The buffer and one packet.
            delay_ms: 80.0,
        };
        let codec = CODECS.iter().find(|codec| codec.name == "PCMU").expect("a codec");
        self.mos = Rating::of(codec, &path).mos;
    }

    fn check(&self, reception: &Reception, of: &str) {
        let counted = [
            reception.packets,
            reception.lost,
            reception.duplicates,
            reception.reordered,
            reception.discarded,
        ];
        let known = [self.packets, self.lost, self.duplicates, self.reordered, self.discarded];
        assert_eq!(counted, known, "{of}: {self:?} {reception:?}");
        let jitter_ns = reception.jitter_ns as f64;
        assert!((jitter_ns - self.jitter_ns).abs() < 1e3, "{of}: {self:?} {reception:?}");
        let mos = reception.mos.expect("it was measured");
        assert!((mos - self.mos).abs() < 0.001, "{of}: {self:?} {reception:?}");
    }
}

/// A call that listens to a talker; returns what it reports, and the packets that came.
fn listen(seed: u64, mode: Mode) -> (Reception, Vec<Came>) {
    let network = SimConfig {
        delay_ns_min: 5 * MS,
        delay_ns_max: 85 * MS,
        reorder: true,
        loss_ppm: 40_000,
        duplicate_ppm: 20_000,
        ..SimConfig::default()
    };
    let mut pair = Pair::new(seed, network, |config| {
        config.mode = mode;
        config.rtcp = RtcpInterval::Off;
    });
    let now = pair.net.now();
    let leg = pair.ends[0].open(1, now);
    let ours = pair.sdp(0, leg, "0");
    let theirs = format!("v=0\r\nc=IN IP4 {}\r\nm=audio 4000 RTP/AVP 0\r\n", TALKER.ip());
    let media = &mut pair.ends[0].media;
    let to = media.local(leg, Track::Audio).expect("a track").rtp;
    media.remote_description(leg, theirs.as_bytes(), now).unwrap();
    media.local_description(leg, ours.as_bytes(), now).unwrap();
    media.answered(leg, now);
    let mut talker = Talker::new(&pair.net);
    for number in 0..PACKETS {
        talker.say(number, to);
        pair.run_for(20 * MS);
    }
    pair.run_for(SECOND);
    let reception = pair.close(0, leg).reception;
    let came = pair.ends[0].came.remove(&SSRC).expect("something came");
    (reception, came)
}

#[test]
fn loss_jitter_and_mos_are_those_of_the_packets_that_came() {
    let mut all = Truth::default();
    for seed in 1..=16 {
        for mode in [Mode::Ports, Mode::Shared] {
            let (reception, came) = listen(seed, mode);
            let truth = Truth::of(&came);
            truth.check(&reception, &format!("seed {seed} {mode:?}"));
            all.lost += truth.lost;
            all.duplicates += truth.duplicates;
            all.reordered += truth.reordered;
            all.discarded += truth.discarded;
        }
    }
    // The network and the clock did all that they can do.
    assert!(all.lost > 100 && all.duplicates > 50, "{all:?}");
    assert!(all.reordered > 500 && all.discarded > 20, "{all:?}");
}

//! Streams under arbitrary treatment: commands, descriptions, datagrams and pauses in any order,
//! also for legs that have ended. Two medias talk with each other, and strangers with both. Tests
//! draw the operations from a seed, and a fuzz target from its input.
//!
//! Whatever happens, each datagram is counted once, and what legs have taken is given back.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use gossipper::media::clip::ClipSet;
use gossipper::media::{
    Command, Gate, LegId, LegSpec, Medium, MediumInput, Mode, Opening, RtcpInterval, Track,
};
use gossipper_uring::{
    Driver, DriverConfig, RxClass, SimConfig, SimDriver, SocketId, SocketSpec, TxOrder,
};

use super::pair::{IPS, Pair, tone};
use super::{MS, SECOND};

/// Most operations of one input.
const OPS_MAX: usize = 256;
/// Most legs of a side.
const LEGS_MAX: usize = 6;
/// The host that descriptions name beside the other side, and one that nothing may be sent to.
const NAMED: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 77));
const FORBIDDEN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 66));
/// Keys of SRTP for descriptions.
const KEYS: [&str; 3] = [
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e\r\n",
    "a=crypto:1 AEAD_AES_128_GCM inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHA==\r\n",
    "a=crypto:1 NULL_HMAC_SHA1_32 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0f\r\na=crypto:2 F8 x\r\n",
];

/// Lets nothing pass to [`FORBIDDEN`].
#[derive(Debug)]
struct Closed;

impl Gate for Closed {
    fn lets_pass(&self, to: SocketAddr, _: u64) -> bool {
        to.ip() != FORBIDDEN
    }
}

/// The bytes of an input, as choices.
struct Choices<'b>(&'b [u8]);

impl Choices<'_> {
    /// A number below `bound`; 0 at the end of the input.
    fn below(&mut self, bound: usize) -> usize {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(byte) % bound
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }
}

/// Does to two medias what the bytes say. Panics if a media does, or if its figures do not add up.
pub fn any_operations(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let mut field = Field::new(choices.below(256));
    for _ in 0..OPS_MAX {
        if choices.0.is_empty() {
            break;
        }
        field.operate(&mut choices);
        field.check();
    }
    field.finish();
}

/// Two sides, their legs, and strangers.
struct Field {
    pair: Pair,
    clips: Arc<ClipSet>,
    /// Legs of both sides that belong together. Those that have ended stay in the list.
    legs: Vec<[Option<LegId>; 2]>,
    strangers: SimDriver,
    sockets: [SocketId; 2],
    /// Datagrams that each side sent.
    sent: Rc<RefCell<[u64; 2]>>,
    slots: [usize; 2],
    is_cut_off: bool,
}

impl Field {
    fn new(setup: usize) -> Self {
        let is_bad = setup & 1 != 0;
        let network = SimConfig {
            delay_ns_min: MS,
            delay_ns_max: if is_bad { 50 * MS } else { MS },
            reorder: is_bad,
            loss_ppm: if is_bad { 50_000 } else { 0 },
            duplicate_ppm: if is_bad { 20_000 } else { 0 },
            ..SimConfig::default()
        };
        let pair = Pair::new(1 + setup as u64, network, |config| {
            config.mode = if setup & 2 != 0 { Mode::Shared } else { Mode::Ports };
            config.rtcp = match setup >> 2 & 3 {
                0 => RtcpInterval::Off,
                1 => RtcpInterval::Fixed(70 * MS),
                _ => RtcpInterval::Standard,
            };
            config.echo = setup & 16 != 0;
            config.rejects_srtp = setup & 32 != 0;
            config.legs_max = LEGS_MAX;
            config.gate = Some(Arc::new(Closed));
        });
        let sent: Rc<RefCell<[u64; 2]>> = Rc::default();
        let tap = Rc::clone(&sent);
        pair.net.set_tap(Box::new(move |_, source, to, _| {
            if let Some(end) = IPS.iter().position(|&ip| ip == source.ip()) {
                tap.borrow_mut()[end] += 1;
                assert!(IPS.contains(&to.ip()) || to.ip() == NAMED, "{to}");
            }
        }));
        let mut strangers = SimDriver::new(&pair.net, &DriverConfig::default()).expect("memory");
        let sockets = [NAMED, IpAddr::from([192, 0, 2, 99])].map(|ip| {
            let spec = SocketSpec {
                local: SocketAddr::new(ip, 4000),
                remote: None,
                reuse_port: false,
                rx_class: RxClass::Small,
                receive_buffer_bytes: 0,
                send_buffer_bytes: 0,
                device: None,
            };
            strangers.open(&spec).expect("a free port")
        });
        let mut field = Self {
            pair,
            clips: tone(),
            legs: Vec::new(),
            strangers,
            sockets,
            sent,
            slots: [0; 2],
            is_cut_off: setup & 64 != 0,
        };
        field.slots = [0, 1].map(|end| field.pair.ends[end].driver.tx().free());
        field
    }

    fn operate(&mut self, choices: &mut Choices<'_>) {
        let end = choices.below(2);
        let now = self.pair.net.now();
        let legs = match self.legs.len() {
            0 => [None; 2],
            len => self.legs[choices.below(len)],
        };
        match choices.below(12) {
            0 | 1 if self.legs.len() < 3 * LEGS_MAX => {
                let wants_video = choices.below(3) == 0;
                let legs = [0, 1].map(|end| self.open(end, wants_video));
                self.legs.push(legs);
            }
            2 => legs[end].into_iter().for_each(|leg| _ = self.pair.close(end, leg)),
            3 => legs[end].into_iter().for_each(|leg| self.pair.ends[end].media.answered(leg, now)),
            4 | 5 => self.negotiate(end, legs, choices),
            6 => {
                let sdp = foreign(choices);
                let Some(leg) = legs[end] else { return };
                let media = &mut self.pair.ends[end].media;
                _ = match choices.below(2) {
                    0 => media.local_description(leg, sdp.as_bytes(), now),
                    _ => media.remote_description(leg, sdp.as_bytes(), now),
                };
            }
            7 | 8 => {
                let track = choices.of(&[Track::Audio, Track::Audio, Track::Video]);
                let command = command(choices, &self.clips);
                let Some(leg) = legs[end] else { return };
                _ = self.pair.ends[end].media.act(leg, track, command, now);
            }
            9 => self.forge(end, legs[end], choices),
            10 => self.pair.run_for(choices.below(256) as u64 * MS),
            11 if choices.below(8) == 0 => {
                // A stall: nobody gets the processor.
                self.pair.net.advance_to(now + choices.below(64) as u64 * 200 * MS);
            }
            _ => self.pair.run_for(20 * MS),
        }
    }

    fn open(&mut self, end: usize, wants_video: bool) -> Option<LegId> {
        let now = self.pair.net.now();
        let end = &mut self.pair.ends[end];
        loop {
            match end.media.open(LegSpec { call: 7, number: 1, wants_video, is_sent: false }, now) {
                Ok(leg) => return Some(leg),
                Err(Opening::NotReady) => end.carry_out(now),
                Err(Opening::Exhausted) => return None,
            }
        }
    }

    /// Offers and answers, as calls do; each description may be left out.
    fn negotiate(&mut self, end: usize, legs: [Option<LegId>; 2], choices: &mut Choices<'_>) {
        let now = self.pair.net.now();
        let formats = choices.of(&["0", "0 101", "8 0 101", "0 13", "9"]);
        let more = choices.of(&["", "", "", "a=sendonly\r\n", "a=inactive\r\n", "a=rtcp-mux\r\n"]);
        let key = choices.of(&["", "", KEYS[0], KEYS[1], KEYS[2]]);
        let left_out = choices.below(8);
        for (place, side) in [(0, end), (1, 1 - end)] {
            let [Some(own), Some(other)] = [legs[side], legs[1 - side]] else { return };
            let Some(local) = self.pair.ends[side].media.local(own, Track::Audio) else { return };
            let sdp = format!(
                "v=0\r\nc=IN IP4 {}\r\nm=audio {} RTP/AVP {formats}\r\n{more}{key}\
                 a=rtpmap:101 telephone-event/8000\r\na=ssrc:{} cname:x\r\n",
                IPS[side],
                local.rtp.port(),
                local.ssrc,
            );
            if left_out != 2 * place {
                _ = self.pair.ends[side].media.local_description(own, sdp.as_bytes(), now);
            }
            if left_out != 2 * place + 1 {
                let media = &mut self.pair.ends[1 - side].media;
                _ = media.remote_description(other, sdp.as_bytes(), now);
            }
        }
    }

    /// Sends a datagram with lies to a leg.
    fn forge(&mut self, end: usize, leg: Option<LegId>, choices: &mut Choices<'_>) {
        let local = leg.and_then(|leg| self.pair.ends[end].media.local(leg, Track::Audio));
        let Some(local) = local else { return };
        let mut datagram = vec![choices.of(&[0x80, 0x81, 0x90, 0xa0, 0x00, 0x16])];
        datagram.push(choices.of(&[0x00, 0x80, 0x65, 0xc8, 0xc9, 0xcb, 0xcf, 0x08]));
        let len = choices.below(80);
        datagram.extend(choices.take(len));
        let place = choices.of(&[4, 8]);
        if let Some(ssrc) = datagram.get_mut(place..place + 4) {
            ssrc.copy_from_slice(&local.ssrc.to_be_bytes());
        }
        let to = choices.of(&[local.rtp, local.rtcp]);
        let socket = choices.of(&self.sockets);
        let order = &mut TxOrder::default();
        assert!(self.strangers.tx().send_copy(&datagram, socket, to, 0, order));
        self.strangers.turn(u64::MAX).expect("a simulated driver does not fail");
        let _ = self.strangers.drain(|_, _| ControlFlow::Continue(()));
    }

    /// Checks what holds at any time.
    fn check(&self) {
        for end in &self.pair.ends {
            let counters = end.counters();
            let open = counters.legs_opened - counters.legs_closed;
            assert_eq!(end.media.legs() as u64, open);
            assert!(end.media.legs() <= LEGS_MAX);
            assert_eq!(counters.heard.total(), counters.legs_closed);
            // Each datagram has one place; one that lies may also be counted as a fault.
            let taken = counters.rtp_packets_received
                + counters.rtcp_received
                + counters.datagrams_received
                + counters.strays.total();
            let faults = counters.faults.total() + counters.srtp_faults.total();
            assert!(taken <= end.delivered && end.delivered <= taken + faults, "{counters:?}");
        }
    }

    /// Ends all legs, and checks that nothing is left of them.
    fn finish(mut self) {
        if self.is_cut_off {
            let now = self.pair.net.now();
            for end in &mut self.pair.ends {
                end.media.handle(MediumInput::RunOver, now, end.driver.tx());
            }
            // Only last reports are left to be sent.
            let deadlines = self.pair.ends.each_ref().map(|end| end.media.next_deadline_ns());
            assert!(deadlines.iter().all(|ns| matches!(ns, 0 | &u64::MAX)), "{deadlines:?}");
        }
        for legs in std::mem::take(&mut self.legs) {
            for (end, leg) in legs.into_iter().enumerate() {
                leg.into_iter().for_each(|leg| _ = self.pair.close(end, leg));
            }
        }
        self.pair.run_for(2 * SECOND);
        self.check();
        for end in 0..2 {
            let side = &mut self.pair.ends[end];
            let counters = side.counters();
            assert_eq!(side.media.next_deadline_ns(), u64::MAX, "a timer of an ended leg");
            assert_eq!(side.driver.tx().free(), self.slots[end], "slots of the arena");
            let sent = counters.rtp_packets_sent + counters.rtcp_sent + counters.datagrams_sent;
            assert_eq!(sent, self.sent.borrow()[end], "{counters:?}");
            // All sockets serve again.
            for _ in 0..LEGS_MAX {
                assert!(self.open(end, true).is_some(), "a leg kept its sockets");
            }
            assert_eq!(self.open(end, false), None);
        }
    }
}

/// A description that is nobody's.
fn foreign(choices: &mut Choices<'_>) -> String {
    let ip = choices.of(&[
        "192.0.2.77",
        "192.0.2.77",
        "192.0.2.66",
        "224.1.2.3",
        "0.0.0.0",
        "media.example.com",
    ]);
    let port = choices.of(&["4000", "0", "65535", "65536", "x"]);
    let section = choices.of(&["audio", "audio", "video", "image", "application"]);
    let formats = choices.of(&["0", "8 101", "96", "0 0 300 x 127", ""]);
    let protocol = choices.of(&["RTP/AVP", "RTP/SAVP", "udptl", "UDP/TLS/RTP/SAVPF"]);
    let more = choices.of(&[
        "",
        "a=rtpmap:96 opus/48000/2\r\n",
        "a=rtcp:9 IN IP4 192.0.2.66\r\n",
        "a=ptime:9999\r\n",
        "a=ssrc:7\r\na=rtcp-mux\r\n",
        KEYS[0],
        KEYS[2],
    ]);
    let cut = choices.of(&[usize::MAX, usize::MAX, 12, 40]);
    let sdp = format!("v=0\r\nc=IN IP4 {ip}\r\nm={section} {port} {protocol} {formats}\r\n{more}");
    sdp[..cut.min(sdp.len())].to_owned()
}

/// A command with arguments as a scenario could have them.
fn command(choices: &mut Choices<'_>, clips: &Arc<ClipSet>) -> Command {
    match choices.below(9) {
        0 => Command::Pause,
        1 => Command::Resume,
        2 => Command::Stop,
        3 => Command::Echo(choices.below(2) == 0),
        4 => Command::Digits {
            digits: choices.of(&["12#", "A", "x", ""]).as_bytes().into(),
            digit_ms: choices.of(&[0, 1, 50, 8000]),
            pause_ms: choices.of(&[0, 50]),
            payload_type: choices.of(&[None, Some(101), Some(0)]),
        },
        5 => Command::Check {
            received: choices.of(&[0, 5, u32::MAX]),
            sent: choices.of(&[0, 5, u32::MAX]),
            timeout_ns: choices.of(&[0, 500 * MS, u64::MAX]),
        },
        _ => Command::Play {
            clips: Arc::clone(clips),
            loops: choices.of(&[None, None, Some(0), Some(1)]),
            stop_after_ns: choices.of(&[None, Some(0), Some(300 * MS)]),
            payload_type: choices.of(&[None, Some(97)]),
            encoding: choices.of(&[None, Some("PCMA"), Some("opus")]),
        },
    }
}

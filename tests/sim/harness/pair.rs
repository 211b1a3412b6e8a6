//! Two medias on a simulated network, driven as a worker drives them, without engines: legs,
//! descriptions and commands are the test's.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use gossipper::media::clip::ClipSet;
use gossipper::media::codec::Encoding;
use gossipper::media::tone::{self, TONE_DBOV, TONE_HZ, Tone};
use gossipper::media::{
    Command, Event, LegId, LegReport, LegSpec, Media, MediaConfig, Medium, MediumEffect,
    MediumInput, Opening, Track,
};
use gossipper::stats::MediaCounters;
use gossipper_uring::{Driver, DriverConfig, Event as DriverEvent, SimConfig, SimDriver, SimNet};

pub const IPS: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)),
];

/// A packet of RTP that came.
#[derive(Clone, Copy, Debug)]
pub struct Came {
    pub sequence: u16,
    pub timestamp: u32,
    pub received_ns: u64,
}

/// One side: a media and its driver.
pub struct End {
    pub driver: SimDriver,
    pub media: Media,
    pub events: Vec<(u64, Event)>,
    /// Packets of RTP that came, by SSRC, in their order.
    pub came: HashMap<u32, Vec<Came>>,
    /// Datagrams that came.
    pub delivered: u64,
    /// Runs what the media does, for a test that watches it.
    pub watch: fn(&mut dyn FnMut()),
}

impl End {
    pub fn new(net: &SimNet, config: MediaConfig) -> Self {
        let sizes =
            DriverConfig { tx_small_slots: 512, sockets_max: 2048, ..DriverConfig::default() };
        let driver = SimDriver::new(net, &sizes).expect("memory for a driver");
        let media = Media::new(config, net.now());
        Self {
            driver,
            media,
            events: Vec::new(),
            came: HashMap::new(),
            delivered: 0,
            watch: |work| work(),
        }
    }

    pub fn carry_out(&mut self, now: u64) {
        while let Some(effect) = self.media.next_effect() {
            match effect {
                MediumEffect::Open(spec) => {
                    let input = match self.driver.open(&spec) {
                        Ok(socket) => MediumInput::Opened(socket, self.driver.local_addr(socket)),
                        Err(error) => MediumInput::NotOpened(error),
                    };
                    self.media.handle(input, now, self.driver.tx());
                }
                MediumEffect::Close(socket) => self.driver.close(socket),
                MediumEffect::Tell { call, event } => self.events.push((call, event)),
            }
        }
    }

    pub fn turn(&mut self) {
        let now = self.driver.now();
        let watch = self.watch;
        let Self { driver, media, came, delivered, .. } = self;
        watch(&mut || media.handle(MediumInput::Flushed, now, driver.tx()));
        driver.turn(u64::MAX).expect("a simulated driver does not fail");
        let _ = driver.drain(|event, tx| {
            let input = match event {
                DriverEvent::Datagram { socket, source, payload, received_ns } => {
                    *delivered += 1;
                    note(came, payload, received_ns);
                    MediumInput::Datagram { socket, source, payload, received_ns }
                }
                DriverEvent::SendFailed { socket, cookie, cause, .. } => {
                    MediumInput::SendFailed { socket, cookie, cause }
                }
                DriverEvent::Unreachable { socket, destination, cause, .. } => {
                    MediumInput::Unreachable { socket, destination, cause }
                }
                DriverEvent::Stream(_) => return ControlFlow::Continue(()),
            };
            let mut input = Some(input);
            watch(&mut || media.handle(input.take().expect("one run"), now, tx));
            ControlFlow::Continue(())
        });
        if media.next_deadline_ns() <= now {
            let input = || MediumInput::Time { reserve: 16 };
            watch(&mut || media.handle(input(), now, driver.tx()));
        }
        self.carry_out(now);
    }

    pub fn counters(&self) -> MediaCounters {
        let mut counters = MediaCounters::default();
        self.media.count(&mut counters);
        counters
    }

    pub fn open(&mut self, call: u64, now: u64) -> LegId {
        let spec = LegSpec { call, wants_video: false, is_sent: false, number: call };
        loop {
            match self.media.open(spec, now) {
                Ok(leg) => return leg,
                Err(Opening::NotReady) => self.carry_out(now),
                Err(Opening::Exhausted) => panic!("no port for call {call}"),
            }
        }
    }
}

/// Notes a packet of RTP.
fn note(came: &mut HashMap<u32, Vec<Came>>, payload: &[u8], received_ns: u64) {
    if payload.len() >= 12 && payload[0] >> 6 == 2 && payload[1] & 0x7f < 64 {
        let word = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        let sequence = u16::from_be_bytes([payload[2], payload[3]]);
        let packet = Came { sequence, timestamp: word(4), received_ns };
        came.entry(word(8)).or_default().push(packet);
    }
}

/// Two sides on one network.
pub struct Pair {
    pub net: SimNet,
    pub ends: [End; 2],
    /// Datagrams that entered the network, by destination.
    pub sent_to: Rc<RefCell<HashMap<SocketAddr, u64>>>,
}

impl Pair {
    pub fn new(seed: u64, network: SimConfig, change: impl Fn(&mut MediaConfig)) -> Self {
        let net = SimNet::new(seed, network);
        let sent_to: Rc<RefCell<HashMap<SocketAddr, u64>>> = Rc::default();
        let tap = Rc::clone(&sent_to);
        net.set_tap(Box::new(move |_, _, to, _| *tap.borrow_mut().entry(to).or_default() += 1));
        let ends = [0, 1].map(|end| {
            let mut config = MediaConfig::new(IPS[end]);
            config.seed = seed * 2 + end as u64;
            config.legs_max = 256;
            change(&mut config);
            End::new(&net, config)
        });
        Self { net, ends, sent_to }
    }

    pub fn run_until(&mut self, end_ns: u64) {
        while self.net.now() < end_ns {
            for end in &mut self.ends {
                end.turn();
            }
            let staged = self.ends.iter_mut().any(|end| end.driver.tx().staged() > 0);
            let mut next = end_ns.min(self.net.next_delivery().unwrap_or(u64::MAX));
            for end in &self.ends {
                next = next.min(end.media.next_deadline_ns()).min(end.driver.next_deadline());
            }
            if !staged {
                self.net.advance_to(next.max(self.net.now() + 1));
            }
        }
    }

    pub fn run_for(&mut self, time_ns: u64) {
        self.run_until(self.net.now() + time_ns);
    }

    /// Connects a leg of each side: offer, answer, and that the call was answered.
    pub fn connect(&mut self, call: u64, audio: &str) -> [LegId; 2] {
        let now = self.net.now();
        let legs = [0, 1].map(|end| self.ends[end].open(call, now));
        self.describe(legs, [audio, audio]);
        for (end, &leg) in self.ends.iter_mut().zip(&legs) {
            end.media.answered(leg, now);
        }
        legs
    }

    /// Offers and answers; the caller offers.
    pub fn describe(&mut self, legs: [LegId; 2], audio: [&str; 2]) {
        let now = self.net.now();
        for (end, other) in [(0, 1), (1, 0)] {
            let sdp = self.sdp(end, legs[end], audio[end]);
            self.ends[end].media.local_description(legs[end], sdp.as_bytes(), now).unwrap();
            self.ends[other].media.remote_description(legs[other], sdp.as_bytes(), now).unwrap();
        }
    }

    pub fn sdp(&self, end: usize, leg: LegId, audio: &str) -> String {
        let local = self.ends[end].media.local(leg, Track::Audio).expect("a track");
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP {audio}\r\na=rtpmap:101 telephone-event/8000\r\n\
             a=ssrc:{ssrc} cname:x\r\n",
            ip = IPS[end],
            port = local.rtp.port(),
            ssrc = local.ssrc,
        )
    }

    pub fn act(&mut self, end: usize, leg: LegId, command: Command) {
        let now = self.net.now();
        self.ends[end].media.act(leg, Track::Audio, command, now).unwrap();
    }

    pub fn close(&mut self, end: usize, leg: LegId) -> LegReport {
        let now = self.net.now();
        self.ends[end].media.close(leg, now)
    }
}

/// A tone in PCMU and PCMA.
pub fn tone() -> Arc<ClipSet> {
    let coded = |name: &'static str| {
        let encoding = Encoding::by_name(name).unwrap();
        let tone = Tone { hz: TONE_HZ, dbov: TONE_DBOV };
        (encoding.name, Arc::new(tone::tone(tone, encoding, 20).unwrap().unwrap()))
    };
    Arc::new(ClipSet { clips: vec![coded("PCMU"), coded("PCMA")] })
}

pub fn play(clips: &Arc<ClipSet>) -> Command {
    Command::Play {
        clips: Arc::clone(clips),
        loops: None,
        stop_after_ns: None,
        payload_type: None,
        encoding: None,
    }
}

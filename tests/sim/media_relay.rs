//! Media behind a relay: a TURN server on the simulated network, which forgets what is not kept.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use gossipper::media::clip::{Clip, ClipSet, Content, Frame};
use gossipper::media::stun::{Class, Message, Method, Writer, attribute};
use gossipper::media::turn::Account;
use gossipper::media::{Heard, LegId, LegSpec, Opening, RtcpInterval, Track};
use gossipper::stats::RelayFault;
use gossipper_uring::{
    Driver, DriverConfig, Event, SimConfig, SimDriver, SimNet, SocketId, TxOrder,
};

use crate::harness::pair::{IPS, Pair, play};
use crate::harness::{MS, SECOND, plain_socket};

const SERVER: &str = "192.0.2.9:3478";
const LIFETIME_S: u32 = 600;
const PERMISSION_NS: u64 = 300 * SECOND;
/// Time between two turns of the server.
const STEP_NS: u64 = 20 * MS;

/// A relayed address.
struct Relayed {
    client: SocketAddr,
    until_ns: u64,
    /// Peers by channel, each with the end of its permission.
    channels: HashMap<u16, (SocketAddr, u64)>,
}

/// A server that asks for no credentials.
struct Server {
    driver: SimDriver,
    main: SocketId,
    relayed: HashMap<SocketId, Relayed>,
    /// The next even port.
    next_port: u16,
    /// Datagrams to peers, and to clients.
    carried: [u64; 2],
}

impl Server {
    fn new(net: &SimNet) -> Self {
        let sizes = DriverConfig { sockets_max: 64, ..DriverConfig::default() };
        let mut driver = SimDriver::new(net, &sizes).unwrap();
        let main = driver.open(&plain_socket(SERVER.parse().unwrap())).unwrap();
        Self { driver, main, relayed: HashMap::new(), next_port: 40_000, carried: [0, 0] }
    }

    fn turn(&mut self) {
        let now = self.driver.now();
        self.driver.turn(0).unwrap();
        let mut came = Vec::new();
        let _ = self.driver.drain(|event, _| {
            if let Event::Datagram { socket, source, payload, .. } = event {
                came.push((socket, source, payload.to_vec()));
            }
            ControlFlow::Continue(())
        });
        for (socket, source, payload) in came {
            match (socket == self.main, payload[0]) {
                (true, 0x40..) => self.hand_to_peer(source, &payload, now),
                (true, _) => self.answer(source, &payload, now),
                (false, _) => self.hand_to_client(socket, source, &payload, now),
            }
        }
        self.driver.turn(0).unwrap();
    }

    fn send(&mut self, socket: SocketId, to: SocketAddr, bytes: &[u8]) {
        assert!(self.driver.tx().send_copy(bytes, socket, to, 0, &mut TxOrder::default()));
    }

    fn socket_of(&self, client: SocketAddr) -> Option<SocketId> {
        self.relayed.iter().find(|(_, relayed)| relayed.client == client).map(|(id, _)| *id)
    }

    fn hand_to_peer(&mut self, client: SocketAddr, payload: &[u8], now: u64) {
        let Some(socket) = self.socket_of(client) else { return };
        let relayed = &self.relayed[&socket];
        let number = u16::from_be_bytes([payload[0], payload[1]]);
        let len = usize::from(u16::from_be_bytes([payload[2], payload[3]]));
        let Some(&(peer, until_ns)) = relayed.channels.get(&number) else { return };
        if now < until_ns.min(relayed.until_ns) {
            self.carried[0] += 1;
            self.send(socket, peer, &payload[4..4 + len]);
        }
    }

    fn hand_to_client(&mut self, socket: SocketId, source: SocketAddr, payload: &[u8], now: u64) {
        let relayed = &self.relayed[&socket];
        let known = relayed.channels.iter().find(|(_, (peer, _))| *peer == source);
        let Some((&number, &(_, until_ns))) = known else { return };
        if now < until_ns.min(relayed.until_ns) {
            let mut out = number.to_be_bytes().to_vec();
            out.extend((payload.len() as u16).to_be_bytes());
            out.extend(payload);
            let client = relayed.client;
            self.carried[1] += 1;
            self.send(self.main, client, &out);
        }
    }

    fn answer(&mut self, client: SocketAddr, payload: &[u8], now: u64) {
        let request = Message::parse(payload).unwrap();
        let mut out = [0; 200];
        let (method, id) = (request.method(), request.transaction());
        let mut writer = Writer::new(&mut out, Class::Success, method, id).unwrap();
        let until_ns = now + u64::from(LIFETIME_S) * SECOND;
        match method {
            Method::Allocate => {
                // The token is the port that was reserved.
                let reserved = request.attribute(attribute::RESERVATION_TOKEN);
                let port = match reserved {
                    Some(token) => u16::from_be_bytes([token[0], token[1]]),
                    None => self.next_port,
                };
                let address = SocketAddr::new("192.0.2.9".parse().unwrap(), port);
                let socket = self.driver.open(&plain_socket(address)).unwrap();
                let relayed = Relayed { client, until_ns, channels: HashMap::new() };
                self.relayed.insert(socket, relayed);
                writer.put_address(attribute::XOR_RELAYED_ADDRESS, address).unwrap();
                if reserved.is_none() {
                    let mut token = [0; 8];
                    token[..2].copy_from_slice(&(port + 1).to_be_bytes());
                    writer.put(attribute::RESERVATION_TOKEN, &token).unwrap();
                    self.next_port += 2;
                }
                writer.put_number(attribute::LIFETIME, LIFETIME_S).unwrap();
            }
            Method::Refresh => {
                let socket = self.socket_of(client).unwrap();
                let relayed = self.relayed.get_mut(&socket).unwrap();
                assert!(now < relayed.until_ns, "the refresh came too late");
                relayed.until_ns = until_ns;
                writer.put_number(attribute::LIFETIME, LIFETIME_S).unwrap();
            }
            Method::ChannelBind => {
                let socket = self.socket_of(client).unwrap();
                let number = (request.number(attribute::CHANNEL_NUMBER).unwrap() >> 16) as u16;
                let peer = request.address(attribute::XOR_PEER_ADDRESS).unwrap();
                let channels = &mut self.relayed.get_mut(&socket).unwrap().channels;
                let before = channels.insert(number, (peer, now + PERMISSION_NS));
                assert!(before.is_none_or(|(known, _)| known == peer));
            }
            other => panic!("{other:?} was not expected"),
        }
        let len = writer.len();
        self.send(self.main, client, &out[..len]);
    }
}

/// A packet of a sound each second.
fn slow() -> Arc<ClipSet> {
    let frame = Frame {
        offset: 0,
        len: 160,
        marker: false,
        payload_type: None,
        gap_ns: SECOND,
        ticks: 8000,
    };
    let clip = Clip {
        is_marked: false,
        bytes: vec![0x10; 160].into(),
        frames: [frame].into_iter().collect(),
        content: Content::Payload,
        clock_rate: 8000,
        is_silent: false,
        pattern: None,
    };
    Arc::new(ClipSet { clips: vec![("PCMU", Arc::new(clip))] })
}

/// Lets media and server do what they have to do for a time.
fn run(pair: &mut Pair, server: &mut Server, time_ns: u64) {
    let end_ns = pair.net.now() + time_ns;
    while pair.net.now() < end_ns {
        server.turn();
        pair.run_for(STEP_NS);
    }
}

/// A leg of each side, of which the first is behind the relay, and what they know of each other.
fn connect(pair: &mut Pair, server: &mut Server) -> [LegId; 2] {
    let spec = LegSpec { call: 1, number: 1, wants_video: false, is_sent: false };
    let mut tries = 0;
    let first = loop {
        let now = pair.net.now();
        match pair.ends[0].media.open(spec, now) {
            Ok(leg) => break leg,
            Err(Opening::NotReady) => run(pair, server, MS),
            Err(Opening::Exhausted) => panic!("the relay gave nothing"),
        }
        tries += 1;
        assert!(tries < 1000, "the relay does not answer");
    };
    let now = pair.net.now();
    let legs = [first, pair.ends[1].open(1, now)];
    for (end, other) in [(0, 1), (1, 0)] {
        let local = pair.ends[end].media.local(legs[end], Track::Audio).unwrap();
        assert_eq!(local.rtcp.port(), local.rtp.port() + 1);
        let sdp = format!(
            "v=0\r\nc=IN IP4 {}\r\nm=audio {} RTP/AVP 0\r\n",
            local.rtp.ip(),
            local.rtp.port()
        );
        pair.ends[end].media.local_description(legs[end], sdp.as_bytes(), now).unwrap();
        pair.ends[other].media.remote_description(legs[other], sdp.as_bytes(), now).unwrap();
    }
    for (end, &leg) in pair.ends.iter_mut().zip(&legs) {
        end.media.answered(leg, now);
    }
    legs
}

fn behind_relay(rtcp: RtcpInterval) -> (Pair, Server) {
    let network = SimConfig { delay_ns_min: MS, delay_ns_max: MS, ..SimConfig::default() };
    let mut pair = Pair::new(21, network, |config| {
        config.rtcp = rtcp;
        if config.ip.to_string() == "192.0.2.1" {
            let server = SERVER.parse().unwrap();
            let (user, password) = (String::new(), String::new());
            config.relay = Some(Arc::new(Account { server, user, password, realm: None }));
            config.legs_max = 1;
        }
    });
    let server = Server::new(&pair.net);
    // Sockets are opened ahead.
    let now = pair.net.now();
    pair.ends[0].carry_out(now);
    (pair, server)
}

#[test]
fn a_stream_goes_through_the_relay_for_longer_than_anything_lasts_there() {
    let (mut pair, mut server) = behind_relay(RtcpInterval::Fixed(30 * SECOND));
    let clips = slow();
    let legs = connect(&mut pair, &mut server);
    let local = pair.ends[0].media.local(legs[0], Track::Audio).unwrap();
    assert_eq!(local.rtp.ip().to_string(), "192.0.2.9");
    (0..2).for_each(|end| pair.act(end, legs[end], play(&clips)));
    run(&mut pair, &mut server, 700 * SECOND);
    let counters = [0, 1].map(|end| pair.ends[end].counters());
    let reports = [0, 1].map(|end| pair.close(end, legs[end]));
    for (report, counters) in reports.iter().zip(&counters) {
        assert_eq!(report.heard, Heard::TwoWay, "{report:?}");
        assert_eq!(report.reception.lost, 0, "{report:?} {counters:?}");
        assert!(report.reception.packets > 690, "{report:?}");
        assert_eq!(counters.strays.total() + counters.relay_faults.total(), 0, "{counters:?}");
    }
    // Not one packet of either side went another way.
    assert!(server.carried.iter().all(|&carried| carried > 690), "{:?}", server.carried);
    let sent_to = pair.sent_to.borrow();
    let to_second: u64 =
        sent_to.iter().filter(|(to, _)| to.ip() == IPS[1]).map(|(_, sent)| sent).sum();
    assert_eq!(to_second, server.carried[0]);
}

#[test]
fn what_comes_past_the_relay_is_dropped() {
    let (mut pair, mut server) = behind_relay(RtcpInterval::Off);
    let legs = connect(&mut pair, &mut server);
    // The port behind the relay.
    let port: SocketAddr = "192.0.2.1:6000".parse().unwrap();
    let sizes = DriverConfig { sockets_max: 8, ..DriverConfig::default() };
    let mut stranger = SimDriver::new(&pair.net, &sizes).unwrap();
    let socket = stranger.open(&plain_socket("192.0.2.2:5555".parse().unwrap())).unwrap();
    for datagram in [&b"\x80\x00\x00\x01\x00\x00\x00\x00ssrcaudio"[..], b"\x40\x00\x00\x00", b"x"] {
        let order = &mut TxOrder::default();
        assert!(stranger.tx().send_copy(datagram, socket, port, 0, order));
    }
    stranger.turn(0).unwrap();
    run(&mut pair, &mut server, 10 * MS);
    let counters = pair.ends[0].counters();
    assert_eq!(counters.relay_faults.count(RelayFault::Foreign), 3);
    assert_eq!(pair.close(0, legs[0]).reception.packets, 0);
}

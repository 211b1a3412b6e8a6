//! Datagrams of handshakes: what comes to a stream while DTLS and ICE connect it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use gossipper::media::dtls::{Description, Handshake, Identity, Progress, Role};
use gossipper::media::ice::{self, Ice};
use gossipper::media::{
    LegId, LegSpec, Media, MediaConfig, Medium, MediumEffect, MediumInput, Opening, Track,
};
use gossipper::sip::Sdp;
use gossipper_uring::{SocketId, TxArena};

const OURS: &str = "192.0.2.1";
const PEER: &str = "192.0.2.2:5000";
const MS: u64 = 1_000_000;
/// Most operations of an input.
const OPERATIONS_MAX: usize = 200;

/// Certificates of both sides. Their keys are made once, and are others in each process: what a
/// finding depends on is the order of what comes.
static IDENTITIES: LazyLock<[Arc<Identity>; 2]> = LazyLock::new(|| {
    [0, 1].map(|_| Arc::new(Identity::new(Instant::now()).expect("random numbers")))
});

/// A stream of ours, and a peer that plays by the rules.
struct World {
    media: Media,
    tx: TxArena,
    socket: SocketId,
    leg: LegId,
    now: u64,
    /// `None` once its handshake has failed.
    peer: Option<Handshake>,
    checks: Ice,
    /// Datagrams of the peer that have not been sent.
    outbox: VecDeque<Vec<u8>>,
    room: Vec<u8>,
}

/// Takes any bytes as what happens to a stream that is being connected: datagrams of the peer,
/// changed or not, datagrams of anybody, and time that passes.
pub fn any_handshake(bytes: &[u8]) {
    let Some((&setup, mut rest)) = bytes.split_first() else { return };
    let Some(mut world) = World::new(setup & 1 != 0, setup & 2 != 0) else { return };
    for _ in 0..OPERATIONS_MAX {
        let Some(([kind, value], behind)) = rest.split_first_chunk::<2>() else { break };
        rest = behind;
        match kind % 5 {
            0 => world.pass(u64::from(*value) * 20 * MS),
            1 => {
                let len = usize::from(*value).min(rest.len());
                let datagram;
                (datagram, rest) = rest.split_at(len);
                world.come(PEER, datagram);
            }
            2 => world.send_next(None),
            3 => {
                let Some((change, behind)) = rest.split_first_chunk::<2>() else { break };
                rest = behind;
                world.send_next(Some((
                    usize::from(*value) << 8 | usize::from(change[0]),
                    change[1],
                )));
            }
            _ => {
                let len = usize::from(*value).min(rest.len());
                world.come("192.0.2.9:9", &rest[..len]);
            }
        }
    }
    world.end();
}

impl World {
    fn new(has_ice: bool, we_begin: bool) -> Option<Self> {
        let now = 1000 * MS;
        let mut config = MediaConfig::new(OURS.parse().ok()?);
        config.legs_max = 2;
        config.identity = Some(Arc::clone(&IDENTITIES[0]));
        let mut media = Media::new(config, now);
        let mut tx = TxArena::standalone(256, 2).expect("memory");
        let (leg, socket) = open(&mut media, &mut tx, now);
        let port = media.local(leg, Track::Audio)?.rtp.port();
        let role = if we_begin { ["active", "passive"] } else { ["passive", "active"] };
        let text = |side: usize, at: SocketAddr, setup: &str| {
            let letter = ["a", "b"][side];
            let ice = format!(
                "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=candidate:1 1 UDP 9 {} {} typ host\r\n",
                letter.repeat(8),
                letter.repeat(24),
                at.ip(),
                at.port()
            );
            format!(
                "v=0\r\nc=IN IP4 {}\r\nm=audio {} UDP/TLS/RTP/SAVPF 0\r\na=rtcp-mux\r\n\
                 a=fingerprint:{}\r\na=setup:{setup}\r\n{}",
                at.ip(),
                at.port(),
                IDENTITIES[side].fingerprint(),
                if has_ice { ice.as_str() } else { "" }
            )
        };
        let (here, there) = (SocketAddr::new(OURS.parse().ok()?, port), PEER.parse().ok()?);
        let [ours, theirs] = [text(0, here, role[0]), text(1, there, role[1])];
        media.local_description(leg, ours.as_bytes(), now).expect("a sound description");
        media.remote_description(leg, theirs.as_bytes(), now).expect("a sound description");
        media.answered(leg, now);
        let read = |text: &str| {
            let sdp = Sdp::parse(text.as_bytes()).ok()?;
            let section = sdp.media().next()?.ok()?;
            let prints = Description::read(&sdp, &section)?.fingerprints;
            Some((prints, ice::Description::read(&sdp, &section, there.ip())))
        };
        let ((prints, our_words), (_, their_words)) = (read(&ours)?, read(&theirs)?);
        let peer_role = if we_begin { Role::Server } else { Role::Client };
        let peer = Some(Handshake::new(&IDENTITIES[1], peer_role, prints, now));
        let mut checks = Ice::new(there, IDENTITIES[1].origin());
        checks.describe_theirs(our_words, now);
        checks.describe_ours(their_words, now);
        let (outbox, room) = (VecDeque::new(), Vec::new());
        Some(Self { media, tx, socket, leg, now, peer, checks, outbox, room })
    }

    fn pass(&mut self, time_ns: u64) {
        self.now += time_ns;
        self.media.handle(MediumInput::Time { reserve: 0 }, self.now, &mut self.tx);
        self.checks.pass_time(self.now);
        self.step(None);
        self.carry();
    }

    fn come(&mut self, source: &str, payload: &[u8]) {
        let source = source.parse().expect("an address");
        let input =
            MediumInput::Datagram { socket: self.socket, source, payload, received_ns: self.now };
        self.media.handle(input, self.now, &mut self.tx);
        self.media.handle(MediumInput::Time { reserve: 0 }, self.now, &mut self.tx);
        self.carry();
    }

    /// Lets the next datagram of the peer come, with one byte changed.
    fn send_next(&mut self, change: Option<(usize, u8)>) {
        let Some(mut datagram) = self.outbox.pop_front() else { return self.pass(MS) };
        if let Some((at, bits)) = change {
            let len = datagram.len();
            datagram[at % len] ^= bits;
        }
        self.come(PEER, &datagram);
    }

    fn step(&mut self, datagram: Option<&[u8]>) {
        let Some(peer) = &mut self.peer else { return };
        let send = &mut |packet: &[u8]| self.outbox.push_back(packet.to_vec());
        let progress = peer.step(datagram, self.now, &mut self.room, send);
        if matches!(progress, Progress::Failed(_)) {
            self.peer = None;
        }
    }

    /// Hands what we sent to the peer.
    fn carry(&mut self) {
        let mut sent = Vec::new();
        self.tx.take_staged(|_, to, _, bytes| sent.push((to, bytes.to_vec())));
        for (to, bytes) in sent {
            assert_eq!(to.to_string(), PEER, "only the peer is sent to");
            match bytes.first() {
                Some(20..=63) => self.step(Some(&bytes)),
                Some(0..=3) => {
                    let from = SocketAddr::new(OURS.parse().expect("an address"), self.port());
                    let _ = self.checks.receive(from, &bytes, self.now);
                }
                _ => {}
            }
        }
        while let Some(outgoing) = self.checks.next_datagram() {
            self.outbox.push_back(outgoing.bytes);
        }
        while self.checks.next_news(self.now).is_some() {}
        while self.media.next_effect().is_some() {}
        self.outbox.truncate(64);
    }

    fn port(&self) -> u16 {
        self.media.local(self.leg, Track::Audio).map_or(0, |local| local.rtp.port())
    }

    fn end(mut self) {
        self.pass(30_000 * MS);
        self.media.close(self.leg, self.now);
        assert_eq!(self.media.legs(), 0);
    }
}

fn open(media: &mut Media, tx: &mut TxArena, now: u64) -> (LegId, SocketId) {
    let spec = LegSpec { call: 1, number: 1, wants_video: false, is_sent: false };
    let mut sockets = 0;
    loop {
        match media.open(spec, now) {
            Ok(leg) => {
                let port = media.local(leg, Track::Audio).expect("a track").rtp.port();
                return (leg, SocketId(u32::from(port)));
            }
            Err(Opening::Exhausted) => panic!("there are ports"),
            Err(Opening::NotReady) => {
                while let Some(effect) = media.next_effect() {
                    let MediumEffect::Open(spec) = effect else { continue };
                    sockets += 1;
                    assert!(sockets < 10_000);
                    let socket = SocketId(u32::from(spec.local.port()));
                    media.handle(MediumInput::Opened(socket, spec.local), now, tx);
                }
            }
        }
    }
}

//! One side of the product against a script. The test writes down, in order, the messages that
//! arrive at the peer, their times, and the peer's answers. The network takes no time, so times are
//! exact up to the timer wheel's tick.

use std::net::SocketAddr;

use gossipper::dataplane::WorkerRequest;
use gossipper::dataplane::third_party::link::Tell;
use gossipper::scenario::Program;
use gossipper::stats::{Counters, FailureCause, StepCounts};
use gossipper_uring::{Driver, DriverConfig, Event, SimConfig, SimDriver, SocketId, TxOrder};

use super::side::{CALLEE, CALLER, Side, SideOptions};
use super::{MS, World};

/// The virtual time for which the peer waits for an expected message.
const PATIENCE_MS: u64 = 70_000;

/// A message that arrived at the peer.
#[derive(Clone, Debug)]
pub struct Got {
    pub at_ms: u64,
    pub source: SocketAddr,
    pub text: String,
}

/// One side, the scripted peer, and the messages that arrived at the peer.
pub struct Rig {
    pub world: World,
    pub side: usize,
    peer: SimDriver,
    pub sockets: Vec<SocketId>,
    pub inbox: Vec<Got>,
    target: SocketAddr,
    peer_address: SocketAddr,
}

impl Rig {
    pub fn new(program: Program) -> Self {
        Self::with(SideOptions::new(program))
    }

    pub fn with(options: SideOptions) -> Self {
        let network = SimConfig { delay_ns_min: 0, delay_ns_max: 0, ..SimConfig::default() };
        Self::on(options, network)
    }

    pub fn on(options: SideOptions, network: SimConfig) -> Self {
        let mut world = World::new(1, network);
        let target = options.address;
        let peer_address = if target == CALLER { CALLEE } else { CALLER };
        let config = DriverConfig { sockets_max: 64, ..DriverConfig::default() };
        let mut peer = SimDriver::new(&world.net, &config).expect("memory for a driver");
        let spec = gossipper::dataplane::sip_socket(peer_address, 0, false);
        let sockets = vec![peer.open(&spec).expect("a free port")];
        let side = world.add(&options);
        Self { world, side, peer, sockets, inbox: Vec::new(), target, peer_address }
    }

    /// One more address of the peer.
    pub fn open(&mut self, port: u16) -> SocketId {
        let address = SocketAddr::new(self.peer_address.ip(), port);
        let spec = gossipper::dataplane::sip_socket(address, 0, false);
        let socket = self.peer.open(&spec).expect("a free port");
        self.sockets.push(socket);
        socket
    }

    /// Closes the peer's main socket: datagrams to it are answered with an ICMP error.
    pub fn close_peer(&mut self) {
        let socket = self.sockets[0];
        self.peer.close(socket);
    }

    pub fn ms(&self) -> u64 {
        self.world.ms()
    }

    fn instant(&mut self) {
        self.world.settle().unwrap_or_else(|problem| self.fail(&problem));
        // With a network that takes no time, answers arrive within the instant.
        let now = self.world.net.now();
        self.world.net.advance_to(now);
        self.world.settle().unwrap_or_else(|problem| self.fail(&problem));
        let at_ms = self.world.ms();
        let inbox = &mut self.inbox;
        self.peer.turn(0).expect("a simulated driver does not fail");
        let _ = self.peer.drain(|event, _| {
            if let Event::Datagram { source, payload, .. } = event {
                let text = String::from_utf8_lossy(payload).into_owned();
                inbox.push(Got { at_ms, source, text });
            }
            std::ops::ControlFlow::Continue(())
        });
    }

    /// Runs for `ms` of virtual time.
    pub fn run(&mut self, ms: u64) {
        let until_ns = self.world.net.now() + ms * MS;
        loop {
            self.instant();
            if self.world.net.now() >= until_ns {
                return;
            }
            self.advance(until_ns);
        }
    }

    fn advance(&mut self, until_ns: u64) {
        let next = self.world.next_event_ns().unwrap_or(u64::MAX).min(until_ns);
        self.world.net.advance_to(next.max(self.world.net.now() + 1));
    }

    /// The next message to the peer; its first line must begin with `start`.
    #[track_caller]
    pub fn expect(&mut self, start: &str) -> Got {
        let until_ns = self.world.net.now() + PATIENCE_MS * MS;
        loop {
            self.instant();
            if !self.inbox.is_empty() {
                let got = self.inbox.remove(0);
                let begins = got.text.starts_with(start);
                assert!(
                    begins,
                    "expected {start}, got:\n{}\n{}",
                    got.text,
                    self.world.log.tail(30)
                );
                return got;
            }
            if self.world.net.now() >= until_ns || self.world.is_finished(self.side) {
                panic!("{start} did not come:\n{}", self.world.log.tail(30));
            }
            self.advance(until_ns);
        }
    }

    /// Fails if a message comes within `ms`.
    #[track_caller]
    pub fn silence(&mut self, ms: u64) {
        self.run(ms);
        assert!(self.inbox.is_empty(), "expected nothing:\n{}", self.world.log.tail(30));
    }

    /// The times, in milliseconds, at which `start` came, until there is silence for a minute.
    #[track_caller]
    pub fn times(&mut self, start: &str) -> Vec<u64> {
        let mut times = Vec::new();
        let mut quiet_until = self.ms() + 60_000;
        while self.ms() < quiet_until && !self.world.is_finished(self.side) {
            self.run(100);
            for got in std::mem::take(&mut self.inbox) {
                assert!(got.text.starts_with(start), "expected only {start}:\n{}", got.text);
                times.push(got.at_ms);
                quiet_until = got.at_ms + 60_000;
            }
        }
        times
    }

    pub fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes());
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.send_from(0, self.target, bytes);
    }

    pub fn send_from(&mut self, socket: usize, target: SocketAddr, bytes: &[u8]) {
        let socket = self.sockets[socket];
        let sent = self.peer.tx().send_copy(bytes, socket, target, 0, &mut TxOrder::default());
        assert!(sent);
        self.peer.turn(0).expect("a simulated driver does not fail");
        self.instant();
    }

    pub fn side(&self) -> &Side {
        &self.world.sides[self.side]
    }

    /// Delivers a command of another instance.
    pub fn tell(&mut self, what: Tell<'_>) {
        self.tell_all(&[what]);
    }

    /// Delivers several commands at once.
    pub fn tell_all(&mut self, what: &[Tell<'_>]) {
        for &what in what {
            self.world.sides[self.side].tell(what);
        }
        self.instant();
    }

    /// Returns the next command to instance `peer`.
    #[track_caller]
    pub fn said(&mut self, peer: u16) -> String {
        self.instant();
        match self.world.sides[self.side].said() {
            Some((to, text)) if to == peer => text,
            said => panic!("nothing is said to {peer}: {said:?}\n{}", self.world.log.tail(30)),
        }
    }

    /// Fails if a command to another instance was sent.
    #[track_caller]
    pub fn says_nothing(&mut self) {
        self.instant();
        assert_eq!(self.world.sides[self.side].said(), None);
    }

    pub fn counters(&self) -> Counters {
        self.side().counters()
    }

    pub fn request(&mut self, request: WorkerRequest) {
        self.world.request(self.side, request);
    }

    /// The failures so far, by label.
    pub fn failures(&self) -> Vec<(FailureCause, u64)> {
        self.counters().failures.nonzero().collect()
    }

    /// Ends the run like an operator (no more calls, then cancelled), and checks its end.
    #[track_caller]
    pub fn end(self) -> Counters {
        self.end_by_step().0
    }

    /// Like [`Self::end`]; also returns the counts of each step.
    #[track_caller]
    pub fn end_by_step(mut self) -> (Counters, Vec<StepCounts>) {
        self.request(WorkerRequest::StopNewCalls);
        self.run(60_000);
        if !self.world.is_finished(self.side) {
            self.request(WorkerRequest::CancelCalls);
            self.run(60_000);
        }
        assert!(self.world.is_finished(self.side), "the run does not end");
        let side = &mut self.world.sides[self.side];
        if let Err(problem) = side.check_end(false) {
            panic!("{problem}\n{}", self.world.log.tail(30));
        }
        (side.reported(), side.steps.clone())
    }

    fn fail(&self, problem: &str) -> ! {
        panic!("{problem}\n{}", self.world.log.tail(30));
    }
}

/// The value of a header of `text`, by its full name.
pub fn header<'t>(text: &'t str, name: &str) -> &'t str {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .unwrap_or_else(|| panic!("no {name} in:\n{text}"))
        .trim()
}

/// The answer to `request`, with `tag` in To unless there is one.
pub fn answer(request: &str, code: u16, tag: &str) -> String {
    let to = header(request, "To");
    let to = if to.contains(";tag=") || tag.is_empty() {
        to.to_owned()
    } else {
        format!("{to};tag={tag}")
    };
    format!(
        "SIP/2.0 {code} Some Reason\r\nVia: {}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\n\
         CSeq: {}\r\nContact: <sip:peer@192.0.2.2:5060>\r\nContent-Length: 0\r\n\r\n",
        header(request, "Via"),
        header(request, "From"),
        header(request, "Call-ID"),
        header(request, "CSeq"),
    )
}

/// A request of the peer, as the caller of a dialog `call_id`.
pub fn request(method: &str, call_id: &str, cseq: u32, to_tag: &str) -> String {
    let to_tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
    format!(
        "{method} sip:service@192.0.2.2:5060 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-{call_id}-{cseq}-{method}\r\n\
         From: <sip:peer@192.0.2.1:5060>;tag=peer\r\nTo: <sip:service@192.0.2.2:5060>{to_tag}\r\n\
         Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:peer@192.0.2.1:5060>\r\n\
         Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}

/// A request of the peer towards a caller, inside the dialog that `invite` began.
pub fn request_back(method: &str, invite: &str, cseq: u32) -> String {
    format!(
        "{method} sip:caller@192.0.2.1:5060 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK-back-{cseq}-{method}\r\n\
         From: {};tag=peer\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:peer@192.0.2.2:5060>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        header(invite, "To"),
        header(invite, "From"),
        header(invite, "Call-ID"),
    )
}

/// The tag in To of `text`.
pub fn to_tag(text: &str) -> &str {
    header(text, "To").split_once(";tag=").map_or("", |(_, tag)| tag)
}

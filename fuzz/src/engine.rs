//! Engines under arbitrary treatment: what arrives, in which order, how often and how mangled.
//! Whatever happens, the engines stay sound and every call ends once.

use gossipper::dataplane::{Command, sip_socket};
use gossipper::scenario::Program;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use gossipper_uring::{Driver, DriverConfig, Event, SimConfig, SimDriver, SocketId, TxOrder};
use std::net::SocketAddr;

use crate::sim::scenarios::{PAIRS, builtin};
use crate::sim::side::{CALLEE, CALLER, SideOptions, rate};
use crate::sim::{MS, SECOND, World};

/// Where the answerer really is; the caller knows only whoever sits in between.
const BEHIND: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 3)), 5060);

/// Datagrams held back at most; beyond that the oldest is lost.
const HELD_MAX: usize = 64;

/// What is done next.
#[derive(Arbitrary, Clone, Debug)]
pub enum Op {
    /// The datagram in hand goes where it should; true: from the other port.
    Deliver { which: u8, other_port: bool },
    /// It goes back to where it came from.
    Reflect { which: u8 },
    /// It is lost.
    Drop { which: u8 },
    /// It goes where it should, and stays in hand.
    Duplicate { which: u8 },
    /// It goes where it should with bytes changed: place, bytes left out, bytes put in.
    Mangle { which: u8, at: u16, without: u8, with: Vec<u8> },
    /// These bytes go to the caller or the answerer.
    Raw { to_caller: bool, bytes: Vec<u8> },
    /// Time passes, in units of 20 ms.
    Wait { steps: u8 },
    /// Time passes until something happens.
    WaitForEvent,
    /// The operator acts, on the caller or the answerer.
    Tell { caller: bool, command: u8 },
}

/// A caller, an answerer, and somebody in between who holds what they say.
struct Between {
    world: World,
    driver: SimDriver,
    sockets: [SocketId; 2],
    held: Vec<(SocketAddr, Vec<u8>)>,
}

impl Between {
    fn new(caller: Program, callee: Program) -> Self {
        let network = SimConfig { delay_ns_min: 0, delay_ns_max: 0, ..SimConfig::default() };
        let mut world = World::new(1, network);
        let config = DriverConfig { sockets_max: 8, ..DriverConfig::default() };
        let mut driver = SimDriver::new(&world.net, &config).expect("memory");
        let sockets = [0, 1].map(|offset| {
            let address = SocketAddr::new(CALLEE.ip(), CALLEE.port() + offset);
            driver.open(&sip_socket(address, 0, false)).expect("a free port")
        });
        let mut callee = SideOptions::new(callee);
        callee.address = BEHIND;
        callee.workers = 2;
        callee.share_port = true;
        callee.engine.seed = 2;
        callee.engine.rules.recv_timeout_ms = 20_000;
        let mut caller = SideOptions::new(caller);
        caller.engine.calls_total = Some(6);
        caller.engine.arrivals = rate(5.0);
        caller.engine.concurrent_max = Some(4);
        caller.engine.rules.recv_timeout_ms = 10_000;
        caller.engine.rules.pause_ms = 300;
        for side in [&mut caller, &mut callee] {
            side.engine.pool_calls = 5;
            side.engine.dead_calls_max = 3;
            side.engine.blob_bytes_max = 1 << 16;
            side.driver.tx_small_slots = 96;
            side.driver.tx_large_slots = 2;
            side.collect_ns = 1000 * SECOND;
            side.engine.rules.auto_answer = true;
        }
        world.add(&caller);
        world.add(&callee);
        Self { world, driver, sockets, held: Vec::new() }
    }

    /// Lets everybody act at this instant, and takes what they say.
    fn settle(&mut self) {
        loop {
            self.world.settle().unwrap_or_else(|problem| panic!("{problem}"));
            self.driver.turn(0).expect("a simulated driver does not fail");
            let before = self.held.len();
            let held = &mut self.held;
            let _ = self.driver.drain(|event, _| {
                if let Event::Datagram { source, payload, .. } = event {
                    held.push((source, payload.to_vec()));
                }
                std::ops::ControlFlow::Continue(())
            });
            if self.held.len() == before {
                break;
            }
        }
        let excess = self.held.len().saturating_sub(HELD_MAX);
        self.held.drain(..excess);
    }

    fn wait(&mut self, until_ns: u64) {
        while self.world.net.now() < until_ns {
            self.settle();
            let next = self.world.next_event_ns().unwrap_or(u64::MAX).min(until_ns);
            self.world.net.advance_to(next.max(self.world.net.now() + 1));
        }
        self.settle();
    }

    fn send(&mut self, port: usize, to: SocketAddr, bytes: &[u8]) {
        let tx = self.driver.tx();
        if tx.send_copy(bytes, self.sockets[port], to, 0, &mut TxOrder::default()) {
            self.driver.turn(0).expect("a simulated driver does not fail");
        }
        self.settle();
    }

    fn index(&self, which: u8) -> Option<usize> {
        usize::from(which).checked_rem(self.held.len())
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Deliver { which, other_port } => {
                let Some(index) = self.index(which) else { return };
                let (source, bytes) = self.held.remove(index);
                self.send(usize::from(other_port), opposite(source), &bytes);
            }
            Op::Reflect { which } => {
                let Some(index) = self.index(which) else { return };
                let (source, bytes) = self.held.remove(index);
                self.send(0, source, &bytes);
            }
            Op::Drop { which } => {
                let Some(index) = self.index(which) else { return };
                self.held.remove(index);
            }
            Op::Duplicate { which } => {
                let Some(index) = self.index(which) else { return };
                let (source, bytes) = self.held[index].clone();
                self.send(0, opposite(source), &bytes);
            }
            Op::Mangle { which, at, without, with } => {
                let Some(index) = self.index(which) else { return };
                let (source, mut bytes) = self.held[index].clone();
                let from = usize::from(at) % (bytes.len() + 1);
                let to = (from + usize::from(without)).min(bytes.len());
                bytes.splice(from..to, with);
                self.send(0, opposite(source), &bytes);
            }
            Op::Raw { to_caller, bytes } => {
                self.send(0, if to_caller { CALLER } else { BEHIND }, &bytes);
            }
            Op::Wait { steps } => {
                let until_ns = self.world.net.now() + u64::from(steps) * 20 * MS;
                self.wait(until_ns);
            }
            Op::WaitForEvent => {
                let next = self.world.next_event_ns().unwrap_or(0);
                // Never longer than the longest timer; a run that is over has none.
                self.wait(next.min(self.world.net.now() + 40 * SECOND));
            }
            Op::Tell { caller, command } => {
                let command = match command % 6 {
                    0 => Command::StopNewCalls,
                    1 => Command::CancelCalls,
                    2 => Command::SetRate(50.0),
                    3 => Command::SetPaused(true),
                    _ => Command::SetPaused(false),
                };
                self.world.command(usize::from(!caller), command);
                self.settle();
            }
        }
    }

    /// Nothing is delivered any more: all calls must end.
    fn end(mut self) {
        for command in [Command::StopNewCalls, Command::CancelCalls] {
            for side in 0..2 {
                self.world.command(side, command);
            }
            let until_ns = self.world.net.now() + 45 * SECOND;
            while self.world.net.now() < until_ns && !(0..2).all(|side| self.world.is_finished(side))
            {
                self.wait((self.world.net.now() + SECOND).min(until_ns));
            }
        }
        for side in 0..2 {
            assert!(self.world.is_finished(side), "side {side} does not end");
            let check = self.world.sides[side].check_end(false);
            check.unwrap_or_else(|problem| panic!("side {side}: {problem}"));
        }
    }
}

fn opposite(source: SocketAddr) -> SocketAddr {
    if source.ip() == CALLER.ip() { BEHIND } else { CALLER }
}

/// Any operations on the messages of a pair of scenarios.
pub fn ops(pair: u8, ops: Vec<Op>) {
    let pair = &PAIRS[usize::from(pair) % PAIRS.len()];
    let mut between = Between::new((pair.caller)(), (pair.callee)());
    between.settle();
    for op in ops {
        between.apply(op);
    }
    between.end();
}

/// Any bytes to a caller and to an answerer with calls in progress: as they are, and in place of a
/// part of a message that they would understand.
pub fn datagrams(bytes: &[u8]) {
    let Some((&[kind, which, low, high, without], bytes)) = bytes.split_first_chunk::<5>() else {
        return;
    };
    let mut between = Between::new(builtin("uac"), builtin("uas"));
    between.settle();
    // So many datagrams are delivered before, so that calls are in every state.
    for _ in 0..kind % 8 {
        between.apply(Op::Deliver { which: 0, other_port: false });
    }
    let at = u16::from_le_bytes([low, high]);
    for piece in bytes.split(|&byte| byte == 0xff).take(16) {
        if kind & 0x80 == 0 {
            between.apply(Op::Raw { to_caller: which & 1 == 0, bytes: piece.to_vec() });
        } else {
            between.apply(Op::Mangle { which, at, without, with: piece.to_vec() });
        }
    }
    between.apply(Op::Wait { steps: 30 });
    between.end();
}

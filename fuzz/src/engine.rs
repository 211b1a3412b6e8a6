//! Engines under arbitrary treatment: any datagrams, in any order, repeated and mangled. The
//! engines must stay sound, and every call must end once.
//!
//! The engines stand alone. The target is their driver, their clock and their network, and does in
//! a turn what a worker does. Each input has engines of its own, so that a finding follows from its
//! input. Two things outlive an input, because they are large: the arena, which must be empty
//! again, and the report, whose histograms are written and never read by an engine.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use gossipper::engine::{
    Arrivals, DuplicateCheck, Engine, EngineConfig, Handled, Incoming, Input, Sockets,
    WorkerRequest,
};
use gossipper::sip::write_error_response_with;
use gossipper::stats::{Counters, CpuUse, RateSteps, Report, StepCounts, TraceKind, WorstCalls};
use gossipper::trace::{Kinds, Records, each_record};
use gossipper_uring::{IcmpCause, SendFailure, SocketId, TxArena};
use libfuzzer_sys::arbitrary::{self, Arbitrary};

use crate::casts::{Cast, Role};
use crate::sim::side::CALLEE;
use crate::sim::{MS, SECOND};

/// The answerer's real address. The caller only knows the address of the element in between.
const BEHIND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3)), 5060);

/// Most datagrams held back; beyond that the oldest is lost.
const HELD_MAX: usize = 32;
/// Most operations of one input: longer inputs find nothing that shorter ones do not find faster.
const OPS_MAX: usize = 48;
/// Slots of an arena: so few that calls have to wait for one.
const TX_SLOTS: usize = 12;
/// Slots that are left for answers, as in a worker.
const TX_RESERVE: usize = 4;
/// Sockets of a caller with one socket per call; further calls share them.
const SOCKETS_MAX: u32 = 2;
/// Turns without the clock moving, before the engines count as hung.
const TURNS_PER_INSTANT_MAX: usize = 5_000;
/// Longest time that calls may take to end, once no datagram is delivered any more.
const END_NS: u64 = 45 * SECOND;
/// The time at which every input begins.
const START_NS: u64 = 1000 * SECOND;
/// Longest message in a datagram over IPv4.
const DATAGRAM_MAX: usize = 65_507;

/// The next operation.
#[derive(Arbitrary, Clone, Debug)]
pub enum Op {
    /// Delivers the datagram in hand to its destination; with `other_port`, from the other port.
    Deliver { which: u8, other_port: bool },
    /// Sends the datagram back to its sender.
    Reflect { which: u8 },
    /// Loses the datagram.
    Drop { which: u8 },
    /// Delivers the datagram, and keeps it in hand.
    Duplicate { which: u8 },
    /// Delivers the datagram with bytes changed: place, bytes left out, bytes put in.
    Mangle { which: u8, at: u16, without: u8, with: Vec<u8> },
    /// Tells the sender that the kernel did not take the datagram.
    Refuse { which: u8, why: u8 },
    /// Tells the sender by ICMP that the datagram did not arrive; `quoted` is the quoted part.
    Unreachable { which: u8, cause: u8, quoted: u8 },
    /// Answers the sender as an element in between would, with header lines of its own.
    Answer { which: u8, code: u16, headers: Vec<u8> },
    /// Delivers the datagram with another method, and keeps it in hand.
    Rename { which: u8, method: u8 },
    /// Delivers these bytes to the caller or the answerer.
    Raw { to_caller: bool, bytes: Vec<u8> },
    /// Lets time pass, in units of 20 ms.
    Wait { steps: u8 },
    /// Lets time pass until something happens.
    WaitForEvent,
    /// Sends a request of the operator to the caller or the answerer.
    Tell { caller: bool, command: u8 },
}

/// The players of an input, and their rules.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Setup {
    /// The pair of scenarios.
    pub cast: u8,
    /// One bit for each rule that differs from the usual one.
    pub switches: u16,
}

impl Setup {
    fn has(self, bit: u32) -> bool {
        self.switches & 1 << bit != 0
    }

    fn answerers(self) -> usize {
        1 + usize::from(self.has(0))
    }

    /// Changes the rules of one side.
    fn apply(self, config: &mut EngineConfig, role: Role) {
        if self.has(1) {
            config.rules.duplicate_check = DuplicateCheck::Loose;
        }
        config.rules.pause_drops_messages = self.has(2);
        config.rules.whole_call_ids = self.has(3);
        config.rules.retransmission.enabled = !self.has(4);
        config.rules.auto_answer = !self.has(5);
        config.rules.default_behaviors.abort_unexpected = !self.has(6);
        config.rules.default_behaviors.bye = !self.has(7);
        config.rules.default_behaviors.cseq_check = !self.has(8);
        config.rules.icmp_fails_calls = !self.has(9);
        if self.has(10) {
            config.trace = Kinds::of(TraceKind::ALL);
        }
        if self.has(11) {
            config.rules.recv_timeout_ms = 0;
        }
        if self.has(12) {
            // Too little for everything that calls keep.
            config.blob_bytes_max = 2048;
        }
        if role == Role::Caller && self.has(13) {
            config.arrivals = Arrivals::Users(2);
            config.environment.users = Some(2);
        }
        if role == Role::Caller && self.has(14) {
            config.environment.local_port = None;
        }
    }

    /// Returns `true` if calls are cancelled at the end, instead of ending by themselves.
    fn cancels(self) -> bool {
        self.has(15)
    }
}

/// A datagram on its way.
struct Held {
    /// The seat of the engine that sent it.
    seat: usize,
    cookie: u64,
    bytes: Vec<u8>,
}

/// An engine, and the parts that a worker would hold for it.
struct Seat {
    engine: Engine,
    tx: TxArena,
    slots: usize,
    /// The number of call lengths in the report's histogram that come from earlier inputs.
    lengths_before: u64,
    sockets: u32,
    finished: bool,
}

/// A caller in the first seat, answerers in the others, and the element between them, which holds
/// their datagrams.
struct Between {
    setup: Setup,
    now: u64,
    seats: Vec<Seat>,
    held: VecDeque<Held>,
}

impl Between {
    fn new(cast: &mut Cast, arenas: &mut Vec<TxArena>, setup: Setup) -> Self {
        let answerers = setup.answerers();
        let seats = (0..=answerers)
            .map(|seat| {
                let role = if seat == 0 { Role::Caller } else { Role::Answerer };
                let part = cast.part(seat);
                let mut config = part.config.clone();
                config.start_ns = START_NS;
                if role == Role::Answerer {
                    config.worker = seat - 1;
                    config.workers = answerers;
                    config.environment.local_ip = BEHIND.ip();
                }
                setup.apply(&mut config, role);
                let has_port = config.environment.local_port.is_some();
                let report = part.take_report();
                let lengths_before = report.histograms.call_length.count();
                let mut engine =
                    Engine::with_report(part.program.clone(), &part.layout, config, report);
                if has_port {
                    engine.set_sockets(Sockets::Shared(SocketId(0)));
                }
                let tx = arenas.pop().unwrap_or_else(|| {
                    TxArena::standalone(TX_SLOTS, 1).expect("memory for an arena")
                });
                let slots = tx.free() + tx.free_large();
                Seat { engine, tx, slots, lengths_before, sockets: 0, finished: false }
            })
            .collect();
        Self { setup, now: START_NS, seats, held: VecDeque::new() }
    }

    /// Lets all engines act at this instant, and takes their datagrams.
    fn settle(&mut self) {
        for _ in 0..TURNS_PER_INSTANT_MAX {
            let mut quiet = true;
            for seat in 0..self.seats.len() {
                quiet &= !self.turn(seat);
            }
            if quiet {
                return;
            }
        }
        panic!("somebody is always busy and the clock stands still");
    }

    /// Does the work of a worker's turn, except for receiving. Returns `false` if there was none.
    fn turn(&mut self, index: usize) -> bool {
        let (now, held) = (self.now, &mut self.held);
        let seat = &mut self.seats[index];
        if seat.finished {
            return false;
        }
        let is_due = seat.engine.next_deadline_ns() <= now;
        if !is_due && seat.tx.staged() == 0 {
            return false;
        }
        seat.engine.handle(Input::Flushed, now, &mut seat.tx);
        seat.tx.take_staged(|_, _, cookie, bytes| {
            assert!(bytes.len() <= DATAGRAM_MAX, "{} bytes in a datagram", bytes.len());
            held.push_back(Held { seat: index, cookie, bytes: bytes.to_vec() });
        });
        if held.len() > HELD_MAX {
            held.drain(..held.len() - HELD_MAX);
        }
        seat.pass_time(now);
        seat.finish_turn();
        true
    }

    /// Gives `bytes` to the engine in `seat`, or to the engine that it hands them over to.
    fn give(&mut self, mut index: usize, source: SocketAddr, bytes: &[u8]) {
        let answerers = self.seats.len() - 1;
        let now = self.now;
        for hops in 0.. {
            let seat = &mut self.seats[index];
            if seat.finished {
                return;
            }
            let is_final = hops >= if index == 0 { 1 } else { answerers };
            let datagram = Incoming {
                socket: SocketId(0),
                source,
                payload: bytes,
                received_ns: now,
                is_final,
            };
            let handled = seat.engine.handle(Input::Datagram(datagram), now, &mut seat.tx);
            seat.finish_turn();
            match handled {
                Handled::HandOver(owner) => {
                    let is_known = owner.is_none_or(|owner| owner < answerers);
                    assert!(index > 0 && is_known, "handed over to a seat that is not there");
                }
                _ => break,
            }
            assert!(!is_final, "handed on for ever");
            index = index % answerers + 1;
        }
        self.settle();
    }

    /// Gives `bytes`, which `seat` sent, to the engine at the other end, from the address that this
    /// end knows.
    fn pass_on(&mut self, seat: usize, bytes: &[u8], other_port: bool) {
        match seat {
            0 => {
                // A kernel also spreads peers over sockets that share a port.
                let answerer = 1 + usize::from(other_port) % (self.seats.len() - 1);
                self.give(answerer, with_port(CALLEE, other_port), bytes);
            }
            _ => self.give(0, with_port(CALLEE, other_port), bytes),
        }
    }

    fn tell(&mut self, seat: usize, event: impl Fn(&mut Engine, &mut TxArena, u64)) {
        if !self.seats[seat].finished {
            let Seat { engine, tx, .. } = &mut self.seats[seat];
            event(engine, tx, self.now);
            self.seats[seat].finish_turn();
            self.settle();
        }
    }

    fn wait(&mut self, until_ns: u64) {
        loop {
            self.settle();
            let seats = self.seats.iter().filter(|seat| !seat.finished);
            let next = seats.map(|seat| seat.engine.next_deadline_ns()).min().unwrap_or(u64::MAX);
            if next > until_ns {
                self.now = until_ns;
                return;
            }
            assert!(next > self.now, "what is due is left undone");
            self.now = next;
        }
    }

    fn index(&self, which: u8) -> Option<usize> {
        usize::from(which).checked_rem(self.held.len())
    }

    fn take(&mut self, which: u8) -> Option<Held> {
        self.held.remove(self.index(which)?)
    }

    /// Copies a datagram that stays in hand.
    fn look(&self, which: u8) -> Option<(usize, Vec<u8>)> {
        let held = &self.held[self.index(which)?];
        Some((held.seat, held.bytes.clone()))
    }

    fn apply(&mut self, op: Op) -> Option<()> {
        match op {
            Op::Deliver { which, other_port } => {
                let held = self.take(which)?;
                self.pass_on(held.seat, &held.bytes, other_port);
            }
            Op::Reflect { which } => {
                let held = self.take(which)?;
                self.give(held.seat, CALLEE, &held.bytes);
            }
            Op::Drop { which } => drop(self.take(which)?),
            Op::Duplicate { which } => {
                let (seat, bytes) = self.look(which)?;
                self.pass_on(seat, &bytes, false);
            }
            Op::Mangle { which, at, without, with } => {
                let (seat, mut bytes) = self.look(which)?;
                let from = usize::from(at) % (bytes.len() + 1);
                let to = (from + usize::from(without)).min(bytes.len());
                bytes.splice(from..to, with);
                self.pass_on(seat, &bytes, false);
            }
            Op::Refuse { .. } | Op::Unreachable { .. } | Op::Answer { .. } | Op::Rename { .. } => {
                self.interfere(op)?
            }
            Op::Raw { to_caller, bytes } => self.give(usize::from(!to_caller), CALLEE, &bytes),
            Op::Wait { steps } => self.wait(self.now + u64::from(steps) * 20 * MS),
            Op::WaitForEvent => {
                let seats = self.seats.iter().filter(|seat| !seat.finished);
                let next = seats.map(|seat| seat.engine.next_deadline_ns()).min();
                // Never longer than the longest timer; a run that is over has none.
                self.wait(next.unwrap_or(0).clamp(self.now, self.now + 40 * SECOND));
            }
            Op::Tell { caller, command } => {
                let number = command / 8;
                let request = match command % 8 {
                    0 => WorkerRequest::StopNewCalls,
                    1 => {
                        self.tell(usize::from(!caller), cancel);
                        return Some(());
                    }
                    2 => WorkerRequest::SetRate(20.0),
                    3 => WorkerRequest::SetUsers(u64::from(number)),
                    4 => WorkerRequest::SetCallLimit(u64::from(number)),
                    5 => WorkerRequest::SetAccepting(number % 2 == 0),
                    6 => WorkerRequest::SetPaused(number % 2 == 0),
                    _ if number % 2 == 0 => WorkerRequest::TellVariables,
                    _ => WorkerRequest::TellWaits,
                };
                self.tell(usize::from(!caller), |engine, tx, now| {
                    engine.handle(Input::Request(request), now, tx);
                });
            }
        }
        Some(())
    }

    /// Does to a datagram in hand what the network, the kernel or an element in between may do.
    fn interfere(&mut self, op: Op) -> Option<()> {
        match op {
            Op::Refuse { which, why } => {
                let Held { seat, cookie, .. } = self.take(which)?;
                let causes = [
                    SendFailure::NoBuffer,
                    SendFailure::TooLarge,
                    SendFailure::NoRoute,
                    SendFailure::NotPermitted,
                    SendFailure::Refused,
                    SendFailure::Other(5),
                ];
                let cause = causes[usize::from(why) % causes.len()];
                self.tell(seat, |engine, tx, now| {
                    engine.handle(Input::SendFailed { cookie, cause }, now, tx);
                });
            }
            Op::Unreachable { which, cause, quoted } => {
                let held = self.take(which)?;
                let causes = [
                    IcmpCause::Port,
                    IcmpCause::Host,
                    IcmpCause::Prohibited,
                    IcmpCause::TooBig,
                    IcmpCause::Other,
                ];
                let cause = causes[usize::from(cause) % causes.len()];
                let quoted = &held.bytes[..held.bytes.len().min(8 * usize::from(quoted))];
                self.tell(held.seat, |engine, tx, now| {
                    engine.handle(Input::Unreachable { cause, quoted }, now, tx);
                });
            }
            Op::Answer { which, code, headers } => {
                let (seat, bytes) = self.look(which)?;
                let mut out = [0; 4096];
                let code = 100 + code % 600;
                let len =
                    write_error_response_with(&bytes, code, "Other", b"tag", &headers, &mut out)?;
                self.give(seat, CALLEE, &out[..len]);
            }
            Op::Rename { which, method } => {
                let (seat, bytes) = self.look(which)?;
                let methods = ["CANCEL", "BYE", "ACK", "INVITE", "OPTIONS", "UPDATE", "PRACK", "X"];
                let method = methods[usize::from(method) % methods.len()];
                self.pass_on(seat, &renamed(&bytes, method)?, false);
            }
            _ => {}
        }
        Some(())
    }

    /// Stops all delivery: all calls must end.
    fn end(&mut self) {
        for seat in 0..self.seats.len() {
            self.tell(seat, |engine, tx, now| {
                engine.handle(Input::Request(WorkerRequest::StopNewCalls), now, tx);
            });
        }
        if !self.setup.cancels() {
            self.wait_for_the_end(true);
        }
        for seat in 0..self.seats.len() {
            self.tell(seat, cancel);
        }
        self.wait_for_the_end(false);
        for (index, seat) in self.seats.iter_mut().enumerate() {
            assert!(seat.finished, "seat {index} does not end");
            seat.check_end().unwrap_or_else(|problem| panic!("seat {index}: {problem}"));
        }
    }

    /// Lets time pass until the last call has ended, and with `waits` its dialog too.
    fn wait_for_the_end(&mut self, waits: bool) {
        let until_ns = self.now + END_NS;
        loop {
            self.settle();
            let now = self.now;
            for seat in &mut self.seats {
                seat.finish(now, waits);
            }
            let seats = self.seats.iter().filter(|seat| !seat.finished);
            let Some(next) = seats.map(|seat| seat.engine.next_deadline_ns()).min() else { return };
            if next > until_ns {
                self.now = until_ns;
                return;
            }
            assert!(next > self.now, "what is due is left undone");
            self.now = next;
        }
    }
}

impl Seat {
    /// Lets waiting calls go on, fires timers, and starts the calls that are due.
    fn pass_time(&mut self, now: u64) {
        let reserve = TX_RESERVE;
        self.drive(now, || Input::Reopen { reserve });
        self.engine.handle(Input::Resume, now, &mut self.tx);
        self.drive(now, || Input::Timers { reserve });
        self.drive(now, || Input::Arrivals { lead_ns: 0, reserve });
    }

    /// Hands an input in until it is done, with the sockets that it asks for.
    fn drive(&mut self, now: u64, input: impl Fn() -> Input<'static>) {
        while self.engine.handle(input(), now, &mut self.tx) == Handled::NeedsSocket {
            let socket = (self.sockets < SOCKETS_MAX).then(|| {
                self.sockets += 1;
                (SocketId(self.sockets), 6000 + self.sockets as u16)
            });
            self.engine.handle(Input::Socket(socket), now, &mut self.tx);
        }
    }

    /// Takes the effects and records that a worker would hand on.
    fn finish_turn(&mut self) {
        while self.engine.next_effect().is_some() {}
        self.engine.tracer_mut().hand_on(|bytes| {
            let mut written = 0;
            each_record(bytes, |_, _| written += 1);
            assert_eq!(Records::new(bytes).count(), written, "a record cannot be read");
            true
        });
    }

    fn check(&self) {
        self.engine.check_invariants().unwrap_or_else(|problem| panic!("{problem}"));
    }

    /// Finishes as a worker does when all calls have ended; with `waits`, when all dialogs have
    /// too.
    fn finish(&mut self, now: u64, waits: bool) {
        let is_over = self.engine.is_finished() && (!waits || self.engine.lingering() == 0);
        if self.finished || !is_over {
            return;
        }
        self.engine.handle(Input::Flushed, now, &mut self.tx);
        self.tx.take_staged(|_, _, _, _| {});
        self.engine.handle(Input::RunOver, now, &mut self.tx);
        self.finished = true;
    }

    /// Checks the conditions that must hold once all calls have ended.
    fn check_end(&mut self) -> Result<(), String> {
        self.check();
        let engine = &mut self.engine;
        let counters = *engine.counters();
        let lengths = engine.report_mut().histograms.call_length.count() - self.lengths_before;
        let ended = counters.calls_succeeded + counters.calls_failed;
        let kept = engine.blob_usage().0;
        for (what, left, right) in [
            ("calls that linger", engine.lingering() as u64, 0),
            ("calls that are open", engine.active() as u64, 0),
            ("strings that are stored", kept as u64, 0),
            ("calls started, and ended", counters.calls_started(), ended),
            ("calls ended, and lengths recorded", ended, lengths),
            ("datagrams that are staged", self.tx.staged() as u64, 0),
            (
                "slots, all and free",
                self.slots as u64,
                (self.tx.free() + self.tx.free_large()) as u64,
            ),
        ] {
            if left != right {
                return Err(format!("{what}: {left} against {right}"));
            }
        }
        Ok(())
    }
}

/// Ends all open calls, in as many turns as the arena needs.
fn cancel(engine: &mut Engine, tx: &mut TxArena, now: u64) {
    engine.handle(Input::Request(WorkerRequest::CancelCalls), now, tx);
    while engine.handle(Input::EndCalls { reserve: TX_RESERVE }, now, tx) == Handled::NeedsRoom {
        // Messages between two of these turns are lost.
        engine.handle(Input::Flushed, now, tx);
        tx.take_staged(|_, _, _, _| {});
    }
}

fn with_port(address: SocketAddr, other: bool) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port() + u16::from(other))
}

/// A request with another method, in its first line and in CSeq. `None` if it is no request.
fn renamed(request: &[u8], method: &str) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(request).ok()?;
    let (old, rest) = text.split_once(' ')?;
    if old.starts_with("SIP/") {
        return None;
    }
    let (before, number) = rest.split_once("CSeq: ")?;
    let (number, after) = number.split_once(' ')?;
    let after = after.strip_prefix(old)?;
    Some(format!("{method} {before}CSeq: {number} {method}{after}").into_bytes())
}

/// Empties a used report except for its histograms. Clearing those would take longer than all the
/// rest, and no engine reads them.
pub fn empty(report: &mut Report) {
    // All fields by name, so that a new one is not forgotten.
    let Report {
        worker: _,
        sequence,
        generation: _,
        start_ns,
        end_ns,
        counters,
        messages,
        histograms: _,
        failures,
        worst,
        generic_counters,
        displays,
        steps,
        program_calls,
        busy_ns,
        target_rate,
        pacing_ns,
        rate_steps,
        rate_step,
        peak_active,
        cpu,
        is_draining,
        is_last,
    } = report;
    (*sequence, *start_ns, *end_ns) = (0, 0, 0);
    *counters = Counters::default();
    messages.clear();
    failures.clear();
    *worst = WorstCalls::default();
    generic_counters.fill(0);
    displays.fill(0);
    steps.fill(StepCounts::default());
    program_calls.fill(0);
    (*busy_ns, *target_rate, *pacing_ns) = (0, 0.0, 0);
    *rate_steps = RateSteps::default();
    (*rate_step, *peak_active) = (0, 0);
    *cpu = CpuUse::default();
    (*is_draining, *is_last) = (false, false);
}

/// The things that outlive an input.
#[derive(Default)]
struct Stage {
    casts: Vec<Cast>,
    arenas: Vec<TxArena>,
}

thread_local! {
    static STAGE: std::cell::RefCell<Stage> = std::cell::RefCell::default();
}

/// Plays `ops` with the cast that `setup` names.
fn play(setup: Setup, ops: impl IntoIterator<Item = Op>) {
    STAGE.with_borrow_mut(|stage| {
        let Stage { casts, arenas } = stage;
        if casts.is_empty() {
            *casts = crate::casts::all();
        }
        let count = casts.len();
        let cast = &mut casts[usize::from(setup.cast) % count];
        let mut between = Between::new(cast, arenas, setup);
        between.settle();
        for (done, op) in (1_usize..).zip(ops.into_iter().take(OPS_MAX)) {
            // An operation on a datagram does nothing if there is no datagram.
            let _ = between.apply(op);
            // A check costs as much as many operations, and a broken state mostly stays broken.
            if done % 4 == 0 {
                between.seats.iter().for_each(Seat::check);
            }
        }
        between.end();
        for (index, seat) in between.seats.into_iter().enumerate() {
            cast.part(index).give_report(seat.engine.into_report());
            arenas.push(seat.tx);
        }
    });
}

/// Applies any operations to the messages of a pair of scenarios.
pub fn ops(setup: Setup, ops: Vec<Op>) {
    play(setup, ops);
}

/// Sends any bytes to a caller and to an answerer with calls in progress: unchanged, and in place
/// of a part of a valid message.
pub fn datagrams(bytes: &[u8]) {
    let Some((&[kind, cast, low, high, at_low, at_high, without], bytes)) =
        bytes.split_first_chunk::<7>()
    else {
        return;
    };
    let setup = Setup { cast, switches: u16::from_le_bytes([low, high]) };
    let at = u16::from_le_bytes([at_low, at_high]);
    let which = kind >> 3 & 7;
    // This many datagrams are delivered first, so that calls are in every state.
    let before = (0..kind % 8).map(|_| Op::Deliver { which: 0, other_port: false });
    let pieces = bytes.split(|&byte| byte == 0xff).take(16).map(|piece| {
        let with = piece.to_vec();
        match kind & 0x80 {
            0 => Op::Raw { to_caller: kind & 0x40 == 0, bytes: with },
            _ => Op::Mangle { which, at, without, with },
        }
    });
    play(setup, before.chain(pieces).chain([Op::Wait { steps: 30 }]));
}

//! Starting calls: planned arrivals, users, and calls that a peer starts.

use std::net::SocketAddr;

use gossipper_uring::{SocketId, TxArena};

use crate::engine::call::lookup::CallIdHash;
use crate::engine::call::{NO_CIRCUIT, Slot};
use crate::engine::{Arrivals, Cx, Engine, Handled, SocketPool};
use crate::media::{LegId, Opening};
use crate::scenario::Mode;
use crate::stats::{FailureCause, WithheldCause};

/// Time that a user waits if its call could not start.
const USER_RETRY_NS: u64 = 1_000_000_000;

impl Engine {
    /// Starts every call that is due within `lead_ns` from `now`, until only `reserve` slots of the
    /// arena are left.
    pub(in crate::engine) fn start_calls(
        &mut self,
        now: u64,
        lead_ns: u64,
        tx: &mut TxArena,
        reserve: usize,
    ) -> Handled {
        while let Some(planned_ns) = self.due(now + lead_ns) {
            if tx.free() <= reserve {
                return Handled::NeedsRoom;
            }
            if self.is_at_limit() {
                self.withhold(WithheldCause::CallLimit);
                continue;
            }
            if !self.calls.has_room() {
                self.withhold(WithheldCause::PoolFull);
                continue;
            }
            if self.circuits.as_ref().is_some_and(crate::engine::Circuits::is_empty) {
                self.withhold(WithheldCause::CircuitsBusy);
                continue;
            }
            let Some((socket, local_port, owns_socket)) = self.take_socket() else {
                match &mut self.sockets {
                    SocketPool::PerCall { exhausted: true, .. } => {
                        self.withhold(WithheldCause::SocketLimit);
                    }
                    SocketPool::Connections { refused: refused @ true, .. } => {
                        *refused = false;
                        self.withhold(WithheldCause::SocketLimit);
                    }
                    SocketPool::Lost(_) => self.withhold(WithheldCause::NoConnection),
                    _ => return Handled::NeedsSocket,
                }
                continue;
            };
            let leg = match self.open_leg(self.main, now) {
                Err(Opening::NotReady) => {
                    self.give_back_socket((socket, local_port, owns_socket));
                    return Handled::NeedsMedia;
                }
                leg => leg,
            };
            self.start_call(planned_ns, now, (socket, local_port, owns_socket), leg, tx);
        }
        Handled::Done
    }

    /// Time at which the next call is due.
    pub(in crate::engine) fn next_arrival_ns(&self) -> u64 {
        if !self.accepting || self.created >= self.created_max {
            return u64::MAX;
        }
        match &self.pacer {
            Some(pacer) => pacer.next_deadline_ns(),
            None if self.users_paused => u64::MAX,
            None => self.idle_users.last().map_or(u64::MAX, |&(_, due_ns)| due_ns),
        }
    }

    fn due(&mut self, now: u64) -> Option<u64> {
        if !self.accepting || self.created >= self.created_max {
            return None;
        }
        match &mut self.pacer {
            Some(pacer) => pacer.due(now),
            None if self.users_paused => None,
            None => self.idle_users.last().map(|&(_, due_ns)| due_ns).filter(|&due| due <= now),
        }
    }

    /// Makes a user whose call could not even begin try again in a second: an immediate retry would
    /// loop forever.
    fn rest(&mut self, user: u32, now: u64) {
        if let Some((last, _)) = self.idle_users.pop_if(|&mut (last, _)| last == user) {
            self.idle_users.insert(0, (last, now + USER_RETRY_NS));
        }
    }

    /// Counts a due call that cannot be started. A user tries again in a second.
    fn withhold(&mut self, cause: WithheldCause) {
        self.counters.withheld.bump(cause);
        match &mut self.pacer {
            Some(pacer) => {
                pacer.steps_mut().withhold(cause);
                pacer.advance();
            }
            None => {
                if let Some((user, due_ns)) = self.idle_users.pop() {
                    self.idle_users.insert(0, (user, due_ns + USER_RETRY_NS));
                }
            }
        }
    }

    pub(in crate::engine) fn take_socket(&mut self) -> Option<(SocketId, u16, bool)> {
        match &mut self.sockets {
            SocketPool::Shared(socket) => {
                Some((*socket, self.config.environment.local_port.unwrap_or(0), false))
            }
            SocketPool::Lost(_) => None,
            SocketPool::Connections { fresh, all, max, refused, next_shared } => {
                let port = self.config.environment.local_port.unwrap_or(0);
                if let Some(socket) = fresh.take() {
                    return Some((socket, port, true));
                }
                if (all.len() < *max && !*refused) || all.is_empty() {
                    return None;
                }
                *refused = false;
                *next_shared += 1;
                Some((all[*next_shared % all.len()], port, false))
            }
            SocketPool::PerCall { free, all, exhausted, next_shared } => {
                if let Some((socket, port)) = free.pop() {
                    return Some((socket, port, true));
                }
                if !*exhausted || all.is_empty() {
                    return None;
                }
                let (socket, port) = all[*next_shared % all.len()];
                *next_shared += 1;
                Some((socket, port, false))
            }
        }
    }

    /// Gives back a socket of [`take_socket`](Self::take_socket) that no call has used.
    pub(in crate::engine) fn give_back_socket(&mut self, taken: (SocketId, u16, bool)) {
        let (socket, port, owns_socket) = taken;
        match &mut self.sockets {
            SocketPool::PerCall { free, .. } if owns_socket => free.push((socket, port)),
            SocketPool::Connections { fresh, .. } if owns_socket => *fresh = Some(socket),
            _ => {}
        }
    }

    fn start_call(
        &mut self,
        planned_ns: u64,
        now: u64,
        (socket, local_port, owns_socket): (SocketId, u16, bool),
        leg: Result<Option<LegId>, Opening>,
        tx: &mut TxArena,
    ) {
        let user = match &mut self.pacer {
            Some(pacer) => {
                pacer.advance();
                0
            }
            None => self.idle_users.pop().map_or(0, |(user, _)| user),
        };
        let Some(remote) = self.config.environment.next_hop else { return };
        let Some(slot) = self.new_call(self.main, now) else { return };
        let call = &mut self.calls[slot];
        call.media.leg = leg.unwrap_or_default();
        call.incoming = false;
        call.owns_socket = owns_socket;
        call.local_port = local_port;
        call.remote = remote;
        call.user = user;
        call.due_ns = planned_ns;
        self.attach(slot, socket);
        self.counters.calls_outgoing += 1;
        if let Some(pacer) = &mut self.pacer {
            self.calls[slot].rate_step = pacer.steps_mut().start();
        }
        if let Some(circuits) = &mut self.circuits {
            self.calls[slot].circuit = circuits.take().unwrap_or(NO_CIRCUIT);
        }
        if !self.take_source(slot) {
            self.end(slot, Some(FailureCause::InjectionFailed), now);
            return self.rest(user, now);
        }
        if !self.give_call_id(slot, now) {
            return self.end(slot, Some(FailureCause::PoolExhausted), now);
        }
        self.trace_start(slot);
        if leg.is_err() {
            return self.end(slot, Some(FailureCause::NoMediaPort), now);
        }
        let mut cx = Cx { now, at: now, tx, last: None, last_is_saved: false };
        self.run(slot, &mut cx);
    }

    /// Creates a call that a peer starts with the Call-ID `call_id`, to follow `program` with the
    /// media of `leg`; `None` if there is no room. The leg is closed then.
    pub(in crate::engine) fn accept_call(
        &mut self,
        program: u8,
        hash: CallIdHash,
        call_id: &[u8],
        (socket, source): (SocketId, SocketAddr),
        leg: Option<LegId>,
        now: u64,
    ) -> Option<Slot> {
        let slot = self.accept_call_without_leg(program, hash, call_id, (socket, source), now);
        match slot {
            Some(slot) => self.calls[slot].media.leg = leg,
            None => self.give_back_leg(leg, now),
        }
        slot
    }

    fn accept_call_without_leg(
        &mut self,
        program: u8,
        hash: CallIdHash,
        call_id: &[u8],
        (socket, source): (SocketId, SocketAddr),
        now: u64,
    ) -> Option<Slot> {
        // `-l` bounds the open calls of the main program, whichever side starts them.
        if program == self.main && self.is_at_limit() {
            self.counters.withheld.bump(WithheldCause::CallLimit);
            return None;
        }
        let stored = self.blobs.store(call_id);
        let slot = match stored {
            Some(mut stored) => match self.new_call(program, now) {
                Some(slot) => {
                    self.calls[slot].call_id = stored;
                    slot
                }
                None => {
                    self.blobs.free(&mut stored);
                    self.counters.withheld.bump(WithheldCause::PoolFull);
                    return None;
                }
            },
            None => {
                self.counters.withheld.bump(WithheldCause::PoolFull);
                return None;
            }
        };
        let remote = self.answers_to().unwrap_or(source);
        let local_port = self.config.environment.local_port.unwrap_or(0);
        let call = &mut self.calls[slot];
        call.incoming = true;
        call.foreign = true;
        call.hash = hash;
        call.local_port = local_port;
        call.remote = remote;
        call.due_ns = now;
        self.attach(slot, socket);
        // The slab and the table have the same capacity.
        let inserted = self.map.insert(hash, slot);
        debug_assert!(inserted);
        self.counters.calls_incoming += 1;
        self.trace_start(slot);
        Some(slot)
    }

    /// Returns `true` if as many calls are open as `-l` allows. Calls that only answer messages of
    /// no call are not part of the load.
    fn is_at_limit(&self) -> bool {
        (self.active - self.active_out_of_call) as u64 >= self.active_max
    }

    /// The number of the next call, unique in the run.
    pub(in crate::engine) fn next_number(&self) -> u64 {
        let workers = self.config.workers.max(1) as u64;
        (self.created + self.created_out_of_call) * workers + self.config.worker as u64 + 1
    }

    fn new_call(&mut self, program: u8, now: u64) -> Option<Slot> {
        let slot = self.calls.allocate()?;
        let number = self.next_number();
        let call = &mut self.calls[slot];
        call.number = number;
        call.program = program;
        call.started_ns = now;
        call.cseq = self.config.rules.base_cseq.wrapping_sub(1);
        if self.out_of_call == Some(program) {
            self.created_out_of_call += 1;
            self.active_out_of_call += 1;
            self.calls[slot].out_of_call = true;
        } else {
            self.created += 1;
        }
        self.active += 1;
        self.calls_of[usize::from(program)] += 1;
        let peak = &mut self.report.peak_active;
        *peak = (*peak).max(self.active as u64);
        self.reset_call_values(slot);
        self.reset_named(slot);
        self.start_rtds(slot, now);
        Some(slot)
    }

    /// The address for answers to arriving calls, if it is not the source of their messages.
    pub(in crate::engine) fn answers_to(&self) -> Option<SocketAddr> {
        let is_server = self.main_program().program.mode == Mode::Server;
        self.config.environment.next_hop.filter(|_| is_server)
    }

    /// Returns `true` if users start the calls rather than a schedule.
    pub(in crate::engine) fn has_users(&self) -> bool {
        matches!(self.config.arrivals, Arrivals::Users(_))
    }
}

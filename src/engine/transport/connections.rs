//! Which calls are on which connection (TCP, TLS, WebSocket), so that a loss ends those and no
//! others.
//!
//! Knows connections by their ids only. Over UDP it does nothing.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use gossipper_uring::SocketId;

use crate::engine::call::ids::CallRef;
use crate::engine::call::{Phase, Slot};
use crate::engine::{Engine, SocketPool};
use crate::scenario::StepKind;
use crate::stats::FailureCause;

/// The connection of a call that has none any more.
pub(in crate::engine) const GONE: SocketId = SocketId(u32::MAX);
/// Connections for which there is room without an allocation.
const ROOM_AT_START: usize = 1024;
/// The end of a list of calls.
pub(in crate::engine) const NO_SLOT: Slot = Slot::MAX;

/// Connections with calls, and those that we opened for calls.
#[derive(Debug, Default)]
pub(in crate::engine) struct Connections {
    table: HashMap<SocketId, Connection, FixedState>,
    /// Connections without calls that nobody needs any more.
    closable: Vec<SocketId>,
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    first: Slot,
    calls: u32,
    /// Its place among the connections opened for calls; [`NO_SLOT`] if it is none of them.
    pooled: u32,
    congested: bool,
}

impl Connection {
    const EMPTY: Self = Self { first: NO_SLOT, calls: 0, pooled: NO_SLOT, congested: false };
}

impl Connections {
    /// A table that grows with the connections that are open at once, up to `most` and beyond. Room
    /// for all of them from the start would be touched all over by a few that come and go.
    pub(in crate::engine) fn for_at_most(most: usize) -> Self {
        let room = most.min(ROOM_AT_START);
        let table = HashMap::with_capacity_and_hasher(room, FixedState::default());
        Self { table, closable: Vec::with_capacity(64) }
    }

    /// Notes a connection opened for calls, at `place` among them.
    pub(in crate::engine) fn note_pooled(&mut self, socket: SocketId, place: usize) {
        self.table.entry(socket).or_insert(Connection::EMPTY).pooled = place as u32;
    }

    /// Calls on all connections, for checks.
    pub(in crate::engine) fn calls(&self) -> u64 {
        self.table.values().map(|connection| u64::from(connection.calls)).sum()
    }
}

impl Engine {
    /// Tells the engine where connections are accepted: a message said to come from there was
    /// handed over by another worker, whose connection it is.
    pub fn set_listener(&mut self, listener: SocketId) {
        self.listener = listener;
    }

    /// Lets each call have a connection of its own, `max` at one time; calls beyond that share
    /// them in turn. `local_port` stands in messages.
    pub fn use_connections(&mut self, max: usize) {
        let all = Vec::with_capacity(max.min(1 << 16));
        self.sockets =
            SocketPool::Connections { fresh: None, all, max, refused: false, next_shared: 0 };
    }

    /// A connection that is not needed any more; its messages may still be on their way.
    pub fn take_closable(&mut self) -> Option<SocketId> {
        self.connections.closable.pop()
    }

    /// `true` if connections wait to be closed.
    pub fn has_closable(&self) -> bool {
        !self.connections.closable.is_empty()
    }

    /// Whether messages travel over connections.
    fn is_reliable(&self) -> bool {
        self.config.environment.protocol.is_stream()
    }

    /// The call in `slot` sends on `socket` from now on.
    pub(in crate::engine) fn attach(&mut self, slot: Slot, socket: SocketId) {
        if !self.is_reliable() {
            let call = &mut self.calls[slot];
            call.socket = socket;
            call.reopens = false;
            return;
        }
        self.detach(slot);
        let connection = self.connections.table.entry(socket).or_insert(Connection::EMPTY);
        let next = std::mem::replace(&mut connection.first, slot);
        connection.calls += 1;
        if next != NO_SLOT {
            self.calls[next].previous_on_connection = slot;
        }
        let call = &mut self.calls[slot];
        call.socket = socket;
        call.attached = true;
        call.reopens = false;
        call.next_on_connection = next;
        call.previous_on_connection = NO_SLOT;
    }

    /// The call in `slot` leaves its connection. One that was opened for calls and has none left
    /// becomes closable.
    pub(in crate::engine) fn detach(&mut self, slot: Slot) {
        self.leave(slot, false);
    }

    /// As [`detach`](Self::detach), but a connection that has no calls left becomes closable
    /// whoever opened it.
    pub(in crate::engine) fn detach_and_close(&mut self, slot: Slot) {
        self.leave(slot, true);
    }

    fn leave(&mut self, slot: Slot, closes: bool) {
        let call = &mut self.calls[slot];
        if !call.attached {
            return;
        }
        call.attached = false;
        let socket = std::mem::replace(&mut call.socket, GONE);
        let next = std::mem::replace(&mut call.next_on_connection, NO_SLOT);
        let previous = std::mem::replace(&mut call.previous_on_connection, NO_SLOT);
        if next != NO_SLOT {
            self.calls[next].previous_on_connection = previous;
        }
        if previous != NO_SLOT {
            self.calls[previous].next_on_connection = next;
        }
        let Some(connection) = self.connections.table.get_mut(&socket) else { return };
        if previous == NO_SLOT {
            connection.first = next;
        }
        connection.calls -= 1;
        if connection.calls == 0 {
            let was_pooled = connection.pooled != NO_SLOT;
            self.forget(socket);
            if was_pooled || closes {
                self.connections.closable.push(socket);
            }
        }
    }

    fn forget(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.table.remove(&socket) else { return };
        if connection.pooled == NO_SLOT {
            return;
        }
        let SocketPool::Connections { fresh, all, .. } = &mut self.sockets else { return };
        if fresh.is_some_and(|fresh| fresh == socket) {
            *fresh = None;
        }
        let place = connection.pooled as usize;
        if place < all.len() {
            all.swap_remove(place);
            if let Some(moved) = all.get(place)
                && let Some(connection) = self.connections.table.get_mut(moved)
            {
                connection.pooled = place as u32;
            }
        }
    }

    /// Moves a call to the connection that a request came by: that is where the answer goes
    /// (RFC 3261 section 18.2.2).
    pub(in crate::engine) fn follow(&mut self, slot: Slot, socket: SocketId) {
        let call = &self.calls[slot];
        let stays = call.socket == socket || (call.owns_socket && call.attached);
        if self.is_reliable() && !stays && socket != self.listener {
            self.attach(slot, socket);
        }
    }

    /// Whether the call's connection is gone. One that has to say or hear something then fails.
    pub(in crate::engine) fn is_cut_off(&self, slot: Slot) -> bool {
        self.is_reliable() && self.calls[slot].socket == GONE
    }

    /// Whether the call's connection takes no messages at present.
    pub(in crate::engine) fn is_congested(&self, slot: Slot) -> bool {
        self.is_reliable()
            && self
                .connections
                .table
                .get(&self.calls[slot].socket)
                .is_some_and(|connection| connection.congested)
    }

    /// A connection is gone: the calls on it that have something to say or to hear fail by `cause`.
    /// Those in a pause go on, and fail if they need it afterwards.
    pub fn connection_lost(&mut self, socket: SocketId, cause: FailureCause, now: u64) {
        if let SocketPool::Shared(shared) = self.sockets
            && shared == socket
        {
            self.sockets = SocketPool::Lost(socket);
        }
        while let Some(slot) = self.first_on(socket) {
            // Before the last call leaves it, so that nobody closes what is closed.
            if self.connections.table.get(&socket).is_some_and(|found| found.calls == 1) {
                self.forget_pooled(socket);
            }
            self.detach(slot);
            match self.calls[slot].phase {
                Phase::Lingering => self.end_linger(slot, now),
                Phase::Running if self.is_pausing(slot) => {}
                Phase::Running => self.end(slot, Some(cause), now),
                Phase::Free => {}
            }
        }
        self.forget(socket);
    }

    fn first_on(&self, socket: SocketId) -> Option<Slot> {
        let connection = self.connections.table.get(&socket)?;
        Some(connection.first).filter(|&slot| slot != NO_SLOT)
    }

    fn forget_pooled(&mut self, socket: SocketId) {
        let Some(&connection) = self.connections.table.get(&socket) else { return };
        self.forget(socket);
        self.connections.table.insert(socket, Connection { pooled: NO_SLOT, ..connection });
    }

    pub(in crate::engine) fn is_pausing(&self, slot: Slot) -> bool {
        let call = &self.calls[slot];
        let step = self.program_of(slot).program.steps.get(usize::from(call.step));
        step.is_some_and(|step| matches!(step.kind, StepKind::Pause(_) | StepKind::Timewait(_)))
    }

    /// The shared connection cannot be used for new calls at present; calls on it stay.
    pub fn connection_suspended(&mut self, socket: SocketId) {
        if let SocketPool::Shared(shared) = self.sockets
            && shared == socket
        {
            self.sockets = SocketPool::Lost(socket);
        }
    }

    /// The peer has closed a connection that it opened: the calls on it wait for it to come back on
    /// another, and fail if they have something to say before.
    pub fn connection_left(&mut self, socket: SocketId) {
        while let Some(slot) = self.first_on(socket) {
            self.detach(slot);
            self.calls[slot].reopens = true;
        }
        self.forget(socket);
    }

    /// A connection is up, again or for the first time.
    pub fn connection_up(&mut self, socket: SocketId) {
        if let SocketPool::Lost(lost) = self.sockets
            && lost == socket
        {
            self.sockets = SocketPool::Shared(socket);
        }
    }

    /// A connection takes no more messages: the calls on it wait with their next one.
    pub fn connection_congested(&mut self, socket: SocketId) {
        if let Some(connection) = self.connections.table.get_mut(&socket) {
            connection.congested = true;
        }
    }

    /// A connection takes messages again: the calls that wait for it are resumed in the next turn.
    pub fn connection_drained(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.table.get_mut(&socket) else { return };
        connection.congested = false;
        let mut next = connection.first;
        while next != NO_SLOT {
            let call = &self.calls[next];
            if call.deferred {
                self.deferred.push((next, call.generation));
            }
            next = call.next_on_connection;
        }
    }

    /// A staged message, named by the cookie that it was committed with, could not be sent.
    pub fn message_not_sent(&mut self, cookie: u64, cause: FailureCause, now: u64) {
        if cause == FailureCause::OutboundCongestion && self.config.congestion_warns {
            self.counters.warnings += 1;
            return;
        }
        self.fail_transport(CallRef::from_bits(cookie), cause, now);
    }

    /// Lets a call that cannot be given a connection have one of the others, or be withheld.
    pub(in crate::engine) fn refuse_connection(&mut self) -> bool {
        let SocketPool::Connections { refused, .. } = &mut self.sockets else { return false };
        *refused = true;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_come_and_go_take_no_more_room_than_those_that_are_open() {
        let mut connections = Connections::for_at_most(1 << 20);
        let before = connections.table.capacity();
        assert!(before < 8 * ROOM_AT_START);
        for id in 0..100_000 {
            connections.note_pooled(SocketId(id), 0);
            if let Some(old) = id.checked_sub(100) {
                connections.table.remove(&SocketId(old));
            }
        }
        assert_eq!(connections.table.capacity(), before);
    }
}

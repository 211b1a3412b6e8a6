//! The calls on each connection (TCP, TLS, WebSocket). When a connection is lost, its calls end and
//! no others do.
//!
//! This file knows connections by their ids only. Over UDP it does nothing.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use gossipper_uring::SocketId;

use crate::engine::call::ids::CallRef;
use crate::engine::call::{Phase, Slot};
use crate::engine::{Engine, SocketPool, StopRequest};
use crate::scenario::StepKind;
use crate::stats::{DropCause, FailureCause};

/// The connection id of a call that has lost its connection.
pub(in crate::engine) const GONE: SocketId = SocketId(u32::MAX);
/// Connections for which there is room without an allocation.
const ROOM_AT_START: usize = 1024;
/// The end of a list of calls.
pub(in crate::engine) const NO_SLOT: Slot = Slot::MAX;

/// Notes about connections that wait to be taken: connections may fail as fast as calls come.
pub(in crate::engine) const NOTES_MAX: usize = 16;

/// An event of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// The connection is up.
    Up(SocketId),
    /// The connection is lost.
    Lost {
        /// The connection's id.
        socket: SocketId,
        /// The cause by which its calls fail; `None` if they go on once the connection or the peer
        /// is back.
        fails: Option<FailureCause>,
        /// The fault in the peer's stream, if that ended the connection.
        drop: Option<DropCause>,
        /// True if it will be opened again, under the same id.
        comes_back: bool,
        /// True if the connection had been up.
        was_open: bool,
        /// A sentence for the user about the loss.
        text: String,
    },
    /// The connection takes no more messages for now.
    Congested(SocketId),
    /// The connection takes messages again.
    Drained(SocketId),
    /// A staged message could not be sent.
    NotSent {
        /// The cookie that it was committed with.
        cookie: u64,
        /// The error of the system.
        cause: FailureCause,
    },
}

/// Connections with calls, and those that the engine opened for calls.
#[derive(Debug, Default)]
pub(in crate::engine) struct Connections {
    table: HashMap<SocketId, Connection, FixedState>,
    /// Connections that have no calls and can be closed.
    closable: Vec<SocketId>,
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    first: Slot,
    calls: u32,
    /// Index among the connections opened for calls; [`NO_SLOT`] if it is none of them.
    pooled: u32,
    congested: bool,
}

impl Connection {
    const EMPTY: Self = Self { first: NO_SLOT, calls: 0, pooled: NO_SLOT, congested: false };
}

impl Connections {
    /// Creates a table that grows with the number of open connections, up to `most` and beyond.
    /// With room for all of them from the start, a few that come and go would touch all of it.
    pub(in crate::engine) fn for_at_most(most: usize) -> Self {
        let room = most.min(ROOM_AT_START);
        let table = HashMap::with_capacity_and_hasher(room, FixedState::default());
        Self { table, closable: Vec::with_capacity(64) }
    }

    /// Notes a connection opened for calls, with its index `place` among them.
    pub(in crate::engine) fn note_pooled(&mut self, socket: SocketId, place: usize) {
        self.table.entry(socket).or_insert(Connection::EMPTY).pooled = place as u32;
    }

    /// Returns a connection that is no longer needed; its messages may still be on their way.
    pub(in crate::engine) fn take_closable(&mut self) -> Option<SocketId> {
        self.closable.pop()
    }

    /// Number of calls on all connections, for checks.
    pub(in crate::engine) fn calls(&self) -> u64 {
        self.table.values().map(|connection| u64::from(connection.calls)).sum()
    }
}

impl Engine {
    /// Handles an event of a connection.
    pub(in crate::engine) fn on_connection(&mut self, event: ConnectionEvent, now: u64) {
        match event {
            ConnectionEvent::Up(socket) => {
                self.was_connected |= self.only_connection == Some(socket);
                self.connection_up(socket);
            }
            ConnectionEvent::Congested(socket) => self.connection_congested(socket),
            ConnectionEvent::Drained(socket) => self.connection_drained(socket),
            ConnectionEvent::NotSent { cookie, cause } => self.message_not_sent(cookie, cause, now),
            ConnectionEvent::Lost { socket, fails, drop, comes_back, was_open, text } => {
                if let Some(drop) = drop {
                    self.drop_malformed(drop);
                }
                // As in SIPp, the run is over without its one connection.
                let is_only = self.only_connection == Some(socket);
                let ends_run = is_only && !comes_back && !self.all_created();
                if !was_open {
                    self.warn(&text);
                    // The error of the run contains the same text.
                    if !ends_run && self.outbox.notes.len() < NOTES_MAX {
                        self.outbox.notes.push_back(text.clone());
                    }
                }
                match fails {
                    Some(cause) => self.connection_lost(socket, cause, now),
                    None if comes_back => self.connection_suspended(socket),
                    None => self.connection_left(socket),
                }
                if ends_run {
                    self.outbox.disconnected = Some(match self.was_connected {
                        true => StopRequest::Disconnected(text),
                        false => StopRequest::NotConnected(text),
                    });
                }
            }
        }
    }

    /// Tells whether messages travel over connections.
    fn is_reliable(&self) -> bool {
        self.config.environment.protocol.is_stream()
    }

    /// Puts the call in `slot` on `socket`, on which it sends from now on.
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

    /// Takes the call in `slot` off its connection. A connection that was opened for calls becomes
    /// closable with the last of them.
    pub(in crate::engine) fn detach(&mut self, slot: Slot) {
        self.leave(slot, false);
    }

    /// Does the same as [`detach`](Self::detach), but a connection without calls becomes closable
    /// even if the peer opened it.
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

    /// Moves a call to the connection on which a request arrived: the answer goes there (RFC 3261
    /// section 18.2.2).
    pub(in crate::engine) fn follow(&mut self, slot: Slot, socket: SocketId) {
        let call = &self.calls[slot];
        let stays = call.socket == socket || (call.owns_socket && call.attached);
        if self.is_reliable() && !stays && socket != self.listener {
            self.attach(slot, socket);
        }
    }

    /// Tells whether the call's connection is gone. The call fails once it has to send or receive.
    pub(in crate::engine) fn is_cut_off(&self, slot: Slot) -> bool {
        self.is_reliable() && self.calls[slot].socket == GONE
    }

    /// Tells whether the call's connection takes no messages at present.
    pub(in crate::engine) fn is_congested(&self, slot: Slot) -> bool {
        self.is_reliable()
            && self
                .connections
                .table
                .get(&self.calls[slot].socket)
                .is_some_and(|connection| connection.congested)
    }

    /// Notes that a connection is lost: calls on it that have to send or receive fail by `cause`.
    /// Calls in a pause go on, and fail if they need the connection afterwards.
    fn connection_lost(&mut self, socket: SocketId, cause: FailureCause, now: u64) {
        if let SocketPool::Shared(shared) = self.sockets
            && shared == socket
        {
            self.sockets = SocketPool::Lost(socket);
        }
        while let Some(slot) = self.first_on(socket) {
            // This precedes the last call's departure, so that a closed connection is not closed
            // again.
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

    /// Notes that the shared connection cannot take new calls at present; calls on it stay.
    fn connection_suspended(&mut self, socket: SocketId) {
        if let SocketPool::Shared(shared) = self.sockets
            && shared == socket
        {
            self.sockets = SocketPool::Lost(socket);
        }
    }

    /// Notes that the peer has closed a connection that it opened. The calls on it wait for the
    /// peer to open another one, and fail if they have to send before that.
    fn connection_left(&mut self, socket: SocketId) {
        while let Some(slot) = self.first_on(socket) {
            self.detach(slot);
            self.calls[slot].reopens = true;
        }
        self.forget(socket);
    }

    /// Notes that a connection is up, again or for the first time.
    fn connection_up(&mut self, socket: SocketId) {
        if let SocketPool::Lost(lost) = self.sockets
            && lost == socket
        {
            self.sockets = SocketPool::Shared(socket);
        }
    }

    /// Notes that a connection takes no more messages: the calls on it wait with their next one.
    fn connection_congested(&mut self, socket: SocketId) {
        if let Some(connection) = self.connections.table.get_mut(&socket) {
            connection.congested = true;
        }
    }

    /// Notes that a connection takes messages again: the calls that wait for it are resumed in the
    /// next turn.
    fn connection_drained(&mut self, socket: SocketId) {
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

    /// Notes that a staged message could not be sent; `cookie` is the one that it was committed
    /// with.
    fn message_not_sent(&mut self, cookie: u64, cause: FailureCause, now: u64) {
        if cause == FailureCause::OutboundCongestion && self.config.rules.congestion_warns {
            self.counters.warnings += 1;
            return;
        }
        self.fail_transport(CallRef::from_bits(cookie), cause, now);
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

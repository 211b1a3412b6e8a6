//! A new connection, or socket, in the middle of a call (`<closecon/>`).
//!
//! The call only notes that it wants one; it takes it with its next message. What has to be opened
//! first is the worker's to open: the call waits in line meanwhile, as one does that found the send
//! arena full.

use gossipper_uring::TxArena;

use crate::engine::call::{Phase, Slot};
use crate::engine::{Engine, SocketPool};
use crate::stats::FailureCause;

impl Engine {
    /// The call in `slot` is done with its connection, which closes with the last call on it,
    /// whoever opened it. Over UDP a socket of the call's own goes back to the others with the next
    /// message, until when the call hears what comes there. What all calls share stays.
    pub(in crate::engine) fn close_connection(&mut self, slot: Slot) {
        let call = &mut self.calls[slot];
        if self.config.environment.protocol.is_stream() {
            // All calls are on the one connection: nobody closes it for one of them.
            if !call.incoming && !matches!(self.sockets, SocketPool::Connections { .. }) {
                return;
            }
            call.owns_socket = false;
            call.reopens = true;
            self.detach_and_close(slot);
        } else {
            call.reopens = matches!(self.sockets, SocketPool::PerCall { .. });
        }
    }

    /// Gives a call that left its connection another one; `false` if one has to be opened first.
    pub(in crate::engine) fn reopen(&mut self, slot: Slot) -> bool {
        let Some((socket, local_port, owns_socket)) = self.take_socket() else { return false };
        let call = &mut self.calls[slot];
        if call.owns_socket
            && let SocketPool::PerCall { free, .. } = &mut self.sockets
        {
            if !owns_socket {
                // None is free and none will come: its own is better than a shared one.
                call.reopens = false;
                return true;
            }
            free.push((call.socket, call.local_port));
        }
        call.owns_socket = owns_socket;
        call.local_port = local_port;
        self.attach(slot, socket);
        true
    }

    /// Whether the call can have another connection: one that a peer opened only the peer can open
    /// again, and a request on it then takes the call there.
    pub(in crate::engine) fn can_reopen(&self, slot: Slot) -> bool {
        let call = &self.calls[slot];
        let is_theirs = call.incoming && self.config.environment.protocol.is_stream();
        call.reopens && !is_theirs
    }

    /// Lets the call in `slot` stand in line for a connection.
    pub(in crate::engine) fn queue_for_socket(&mut self, slot: Slot) {
        self.reopening.push_back((slot, self.calls[slot].generation));
    }

    /// Whether a call stands in line for a connection: add a socket or say that there are no more,
    /// then let it go on ([`give_socket`](Self::give_socket)).
    pub fn wants_socket(&mut self) -> bool {
        while let Some(&(slot, generation)) = self.reopening.front() {
            let waits = self
                .calls
                .current(slot, generation)
                .is_some_and(|call| call.phase == Phase::Running && call.deferred && call.reopens);
            if waits {
                return true;
            }
            // It ended, or went on without: its message timed out, or its peer came to it.
            self.reopening.pop_front();
        }
        false
    }

    /// Lets the first call in line go on. Without a connection that it could share it fails.
    pub fn give_socket(&mut self, now: u64, tx: &mut TxArena) {
        self.tracer.set_now(now);
        if !self.wants_socket() {
            return;
        }
        let Some((slot, _)) = self.reopening.pop_front() else { return };
        self.calls[slot].deferred = false;
        if self.reopen(slot) {
            return self.resume(slot, now, tx);
        }
        if let SocketPool::Connections { refused, .. } = &mut self.sockets {
            *refused = false;
        }
        self.end(slot, Some(FailureCause::TcpConnect), now);
    }
}

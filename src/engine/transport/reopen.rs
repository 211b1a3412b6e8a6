//! A new connection, or socket, in the middle of a call (`<closecon/>`).
//!
//! The call only notes that it wants one, and takes it with its next message. If a connection or
//! socket must be opened first, the worker opens it. Meanwhile the call waits in a queue, like one
//! that found the send arena full.

use gossipper_uring::{SocketId, TxArena};

use crate::engine::call::{Phase, Slot};
use crate::engine::{Engine, Handled, SocketPool};
use crate::stats::FailureCause;

impl Engine {
    /// Lets the call in `slot` leave its connection, which closes with the last call on it, no
    /// matter which side opened it. Over UDP, a socket of the call's own returns to the pool with
    /// the next message; until then the call still receives on it. Shared sockets stay open.
    pub(in crate::engine) fn close_connection(&mut self, slot: Slot) {
        let call = &mut self.calls[slot];
        if self.config.environment.protocol.is_stream() {
            // All calls share the one connection: it is not closed for one of them.
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
                // No socket is free and none will come: the call's own is better than a shared one.
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

    /// Tells whether the call can have another connection. Only the peer can reopen a connection
    /// that it opened; its next request then moves the call there.
    pub(in crate::engine) fn can_reopen(&self, slot: Slot) -> bool {
        let call = &self.calls[slot];
        let is_theirs = call.incoming && self.config.environment.protocol.is_stream();
        call.reopens && !is_theirs
    }

    /// Puts the call in `slot` into the queue for a connection.
    pub(in crate::engine) fn queue_for_socket(&mut self, slot: Slot) {
        self.reopening.push_back((slot, self.calls[slot].generation));
    }

    /// Asks for a connection for the first waiting call, if there is one.
    pub(in crate::engine) fn reopen_next(&mut self, tx: &TxArena, reserve: usize) -> Handled {
        self.line_asks = self.wants_socket() && tx.free() > reserve;
        if self.line_asks { Handled::NeedsSocket } else { Handled::Done }
    }

    /// Takes the requested socket, or notes that there is none.
    pub(in crate::engine) fn take_given_socket(
        &mut self,
        socket: Option<(SocketId, u16)>,
        now: u64,
        tx: &mut TxArena,
    ) {
        match socket {
            Some((socket, local_port)) => self.add_socket(socket, local_port),
            None => self.no_more_sockets(),
        }
        if std::mem::take(&mut self.line_asks) {
            self.give_socket(now, tx);
        }
    }

    /// Returns `true` if a call waits for a connection.
    fn wants_socket(&mut self) -> bool {
        while let Some(&(slot, generation)) = self.reopening.front() {
            let waits = self
                .calls
                .current(slot, generation)
                .is_some_and(|call| call.phase == Phase::Running && call.deferred && call.reopens);
            if waits {
                return true;
            }
            // The call ended or no longer needs one: its message timed out, or its peer
            // reconnected.
            self.reopening.pop_front();
        }
        false
    }

    /// Resumes the first call in the queue. If it has no connection to share either, it fails.
    fn give_socket(&mut self, now: u64, tx: &mut TxArena) {
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

//! Sockets of calls, and sending on them: connections over byte streams, reopening them, and source
//! addresses.

pub(in crate::engine) mod connections;
pub(in crate::engine) mod reopen;
pub(in crate::engine) mod sources;

use std::net::IpAddr;

use gossipper_uring::{SocketId, TxArena, TxSlot};

use super::call::Slot;
use super::{Engine, SocketPool};
use crate::stats::TraceKind;
use crate::trace::Event;

/// The sockets of an engine's calls.
#[derive(Debug)]
pub enum Sockets {
    /// One socket for all calls.
    Shared(SocketId),
    /// A socket for each call, opened on request ([`Handled::NeedsSocket`](super::Handled)).
    PerCall,
    /// A socket for each source address of the first injection file, all on one port.
    BySource {
        /// The column with the address.
        column: u16,
        /// Addresses and their sockets.
        sockets: Vec<(IpAddr, SocketId)>,
    },
    /// Only connections that peers open.
    Accepted {
        /// The socket on which they come in.
        listener: SocketId,
    },
    /// One connection for all calls that the engine makes. The run ends with it.
    OneConnection {
        /// The socket on which peers open connections.
        listener: SocketId,
        /// The shared connection.
        connection: SocketId,
    },
    /// A connection for each call, opened on request. `local_port` stands in messages.
    Connections {
        /// The socket on which peers open connections.
        listener: SocketId,
        /// Most connections at one time; calls beyond that share them in turn.
        max: usize,
    },
}

impl Engine {
    /// Gives the engine its sockets.
    pub fn set_sockets(&mut self, sockets: Sockets) {
        match sockets {
            Sockets::Shared(socket) => self.sockets = SocketPool::Shared(socket),
            Sockets::PerCall => self.sockets = SocketPool::per_call(),
            Sockets::BySource { column, sockets } => self.use_sources(column, sockets),
            Sockets::Accepted { listener } => {
                self.listener = listener;
                self.sockets = SocketPool::Shared(listener);
            }
            Sockets::OneConnection { listener, connection } => {
                self.listener = listener;
                self.only_connection = Some(connection);
                self.sockets = SocketPool::Shared(connection);
            }
            Sockets::Connections { listener, max } => {
                self.listener = listener;
                self.sockets = SocketPool::Connections {
                    fresh: None,
                    all: Vec::with_capacity(max.min(1 << 16)),
                    max,
                    refused: false,
                    next_shared: 0,
                };
            }
        }
    }

    /// Stages a message of the call, which stands in `tx_slot`, and records that it was sent.
    pub(in crate::engine) fn dispatch(
        &mut self,
        slot: Slot,
        step: u16,
        is_repeated: bool,
        (tx_slot, len): (TxSlot, usize),
        tx: &mut TxArena,
    ) {
        if self.copies_messages() {
            let ends = self.ends(slot);
            self.copy_message(slot, &ends, true, &tx.buffer(&tx_slot)[..len], self.tracer.now());
        }
        if self.tracer.wants(TraceKind::MessageSent) {
            let ends = self.ends(slot);
            let message = &tx.buffer(&tx_slot)[..len];
            self.trace(slot, step, Event::Sent { ends, is_repeated, message });
        }
        let cookie = self.call_ref(slot).to_bits();
        let call = &mut self.calls[slot];
        tx.commit(tx_slot, len, call.socket, call.remote, cookie, &mut call.order);
    }

    /// Takes one more socket to use for one call at a time.
    fn add_socket(&mut self, socket: SocketId, local_port: u16) {
        match &mut self.sockets {
            SocketPool::PerCall { free, all, .. } => {
                free.push((socket, local_port));
                all.push((socket, local_port));
            }
            SocketPool::Connections { fresh, all, .. } => {
                *fresh = Some(socket);
                self.connections.note_pooled(socket, all.len());
                all.push(socket);
            }
            SocketPool::Shared(_) | SocketPool::Lost(_) => {}
        }
    }

    /// Notes that no more sockets will come: calls then share the existing ones in turn. With one
    /// connection per call this refuses only the pending open.
    fn no_more_sockets(&mut self) {
        match &mut self.sockets {
            SocketPool::Connections { refused, .. } => *refused = true,
            SocketPool::PerCall { exhausted, .. } => *exhausted = true,
            SocketPool::Shared(_) | SocketPool::Lost(_) => {}
        }
    }
}

//! SIP over byte streams: messages are read from connections and written to them.
//!
//! A message staged for a connection goes through its [`Session`](crate::stream::Session) and
//! leaves as bytes; bytes that arrive come out as messages. All other news of connections are
//! [`ConnectionEvent`]s. This module knows nothing of calls: a message carries only a cookie.
//!
//! A connection keeps its id while it is opened again (`-max_reconnect`). TCP allocates nothing per
//! message; TLS and WebSocket allocate inside their libraries.

mod connection;
mod table;

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;

use gossipper_uring::{
    ConnectSpec, Driver, DriverCounters, Event, ListenSpec, SocketId, SocketSpec, TxArena,
};

use crate::dataplane::demux::{Arrival, Demux};
use crate::engine::ConnectionEvent;
use crate::stats::Counters;
use crate::stream::SessionConfig;
use table::Table;

/// The rules for opening our connections again after a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconnect {
    /// Most attempts of this worker; `None` is no limit.
    pub max: Option<u64>,
    /// True if the calls on the connection fail; otherwise they go on with the new one.
    pub fails_calls: bool,
    /// Wait before an attempt, in nanoseconds.
    pub sleep_ns: u64,
}

/// The configuration of connections.
#[derive(Clone, Debug)]
pub struct StreamsConfig {
    /// The configuration of sessions.
    pub session: SessionConfig,
    /// The reaction to the loss of a connection that we opened.
    pub reconnect: Reconnect,
    /// True if each connection is opened for one call: it is not opened again once its call has
    /// failed.
    pub per_call: bool,
    /// Most connections at one time.
    pub connections_max: usize,
    /// Small and large send slots of the arena in which messages are rendered.
    pub tx_slots: (usize, usize),
}

/// The connections of a worker, with the arena in which their messages are rendered.
pub(in crate::dataplane) struct Streams {
    arena: TxArena,
    table: Table,
    /// The listener's socket in the driver, and its address.
    listener: Option<(SocketId, SocketAddr)>,
}

/// Counts of connections and messages.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    opened: u64,
    accepted: u64,
    failed: u64,
    lost: u64,
    reconnects: u64,
    handshakes: u64,
    resumed: u64,
    messages_sent: u64,
    messages_received: u64,
    keepalives: u64,
}

impl Streams {
    /// Creates it without connections.
    ///
    /// # Errors
    /// Lack of memory for the arena.
    pub(in crate::dataplane) fn new(config: StreamsConfig) -> io::Result<Self> {
        let (small, large) = config.tx_slots;
        let arena = TxArena::standalone(small, large)?;
        Ok(Self { arena, table: Table::new(config), listener: None })
    }

    /// Opens a connection to `spec.remote`; without that, a listener at `spec.local`.
    pub(in crate::dataplane) fn open<D: Driver>(
        &mut self,
        driver: &mut D,
        spec: &SocketSpec,
    ) -> io::Result<SocketId> {
        if let Some(remote) = spec.remote {
            let is_free = spec.local.ip().is_unspecified() && spec.local.port() == 0;
            let spec = ConnectSpec {
                remote,
                local: (!is_free).then_some(spec.local),
                reuse_port: spec.reuse_port,
                device: spec.device.clone(),
                receive_buffer_bytes: spec.receive_buffer_bytes,
                send_buffer_bytes: spec.send_buffer_bytes,
            };
            return self.table.open(driver, spec);
        }
        let listener = driver.listen(&ListenSpec {
            reuse_port: spec.reuse_port,
            device: spec.device.clone(),
            receive_buffer_bytes: spec.receive_buffer_bytes,
            send_buffer_bytes: spec.send_buffer_bytes,
            ..ListenSpec::new(spec.local)
        })?;
        self.listener = Some((listener, driver.local_addr(listener)));
        Ok(listener)
    }

    /// Returns the address of the listener, or without one the address of `socket` by the driver.
    pub(in crate::dataplane) fn local_addr<D: Driver>(
        &self,
        driver: &D,
        socket: SocketId,
    ) -> SocketAddr {
        self.listener.map_or_else(|| driver.local_addr(socket), |(_, address)| address)
    }

    /// Closes a connection or the listener.
    pub(in crate::dataplane) fn close<D: Driver>(&mut self, driver: &mut D, socket: SocketId) {
        if self.listener.is_some_and(|(listener, _)| listener == socket) {
            driver.close(socket);
            return;
        }
        self.send_staged(driver);
        self.table.close(driver, socket);
    }

    /// Closes all connections in good order.
    pub(in crate::dataplane) fn close_all<D: Driver>(&mut self, driver: &mut D) {
        self.send_staged(driver);
        self.table.write_all(driver);
        self.table.close_all(driver);
    }

    /// The arena in which messages are rendered and staged.
    pub(in crate::dataplane) fn tx(&mut self) -> &mut TxArena {
        &mut self.arena
    }

    /// The time at which connections need a turn.
    pub(in crate::dataplane) fn next_deadline_ns(&self) -> u64 {
        self.table.next_deadline_ns()
    }

    /// Opens lost connections again when that is due, and writes all staged messages to their
    /// streams.
    pub(in crate::dataplane) fn write_out<D: Driver>(&mut self, driver: &mut D) {
        self.table.sweep(driver);
        self.send_staged(driver);
        self.table.write_all(driver);
    }

    /// Hands out messages, and the driver's events for other owners. Returns `Break` if some are
    /// left.
    pub(in crate::dataplane) fn drain<D, F>(
        &mut self,
        driver: &mut D,
        demux: &Demux,
        mut handler: F,
    ) -> ControlFlow<()>
    where
        D: Driver,
        F: FnMut(Arrival<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        let now_ns = driver.now();
        let Self { arena, table, .. } = self;
        table.deliver_ready(now_ns, arena, &mut handler)?;
        driver.drain(|event, driver_tx| match event {
            Event::Stream(event) => table.on_event(&event, now_ns, arena, &mut handler),
            event => handler(demux.arrival(event), driver_tx),
        })
    }

    /// The next event of a connection.
    pub(in crate::dataplane) fn take_event(&mut self) -> Option<ConnectionEvent> {
        self.table.take_event()
    }

    fn send_staged<D: Driver>(&mut self, driver: &mut D) {
        let Self { arena, table, .. } = self;
        if arena.staged() > 0 {
            arena.take_staged(|socket, _, cookie, message| {
                table.send(driver, socket, cookie, message);
            });
        }
    }

    /// Adds the counts of connections. A message counts where a datagram would.
    pub(in crate::dataplane) fn count(&self, driver: &DriverCounters, counters: &mut Counters) {
        let totals = &self.table.totals;
        counters.datagrams_sent = totals.messages_sent;
        counters.datagrams_received = totals.messages_received;
        counters.connections_opened = totals.opened;
        counters.connections_accepted = totals.accepted;
        counters.connections_failed = totals.failed;
        counters.connections_lost = totals.lost;
        counters.reconnects = totals.reconnects;
        counters.handshakes = totals.handshakes;
        counters.handshakes_resumed = totals.resumed;
        counters.keepalives_received += totals.keepalives;
        counters.stream_bytes_sent = driver.stream_bytes_sent;
        counters.stream_bytes_received = driver.stream_bytes_received;
    }
}

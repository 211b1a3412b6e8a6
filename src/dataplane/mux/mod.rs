//! Connections that look like sockets with datagrams.
//!
//! A [`StreamMux`] is a driver on top of a driver with streams. A message staged for a connection
//! goes through the connection's [`Session`](crate::stream::Session) and leaves as bytes; bytes
//! that arrive come out as one [`Event::Datagram`] per message. What happens to connections is told
//! as [`ConnectionEvent`]. It knows nothing of calls: a message carries a cookie, and that is all.
//!
//! A connection keeps its id while it is opened again (`-max_reconnect`). TCP allocates nothing per
//! message; TLS and WebSocket allocate inside their libraries.

mod connection;
mod table;

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;

use gossipper_uring::{
    ConnectSpec, Driver, DriverCounters, Event, ListenSpec, Nanos, SocketId, SocketSpec,
    StreamWriteError, TxArena, Waker,
};

use super::link::Link;
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

/// The configuration of a [`StreamMux`], apart from its driver.
#[derive(Clone, Debug)]
pub struct MuxConfig {
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

/// A driver whose sockets are connections, and whose datagrams are messages.
pub struct StreamMux<D: Driver> {
    driver: D,
    arena: TxArena,
    table: Table,
    /// The listener's socket in the driver below, and its address.
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

impl<D: Driver> StreamMux<D> {
    /// Creates a multiplexer on top of `driver`.
    ///
    /// # Errors
    /// There is not enough memory for the arena.
    pub fn new(driver: D, config: MuxConfig) -> io::Result<Self> {
        let (small, large) = config.tx_slots;
        let arena = TxArena::standalone(small, large)?;
        Ok(Self { driver, arena, table: Table::new(config), listener: None })
    }

    /// The driver below, for tests.
    pub fn inner(&self) -> &D {
        &self.driver
    }

    /// Time at which connections want a turn, on the driver's clock; for tests.
    pub fn next_deadline_ns(&self) -> Nanos {
        self.table.next_deadline_ns()
    }
}

impl<D: Driver> Driver for StreamMux<D> {
    fn now(&self) -> Nanos {
        self.driver.now()
    }

    /// Opens a connection to `spec.remote`; without that, a listener at `spec.local`.
    fn open(&mut self, spec: &SocketSpec) -> io::Result<SocketId> {
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
            return self.table.open(&mut self.driver, spec);
        }
        let listener = self.driver.listen(&ListenSpec {
            reuse_port: spec.reuse_port,
            device: spec.device.clone(),
            receive_buffer_bytes: spec.receive_buffer_bytes,
            send_buffer_bytes: spec.send_buffer_bytes,
            ..ListenSpec::new(spec.local)
        })?;
        self.listener = Some((listener, self.driver.local_addr(listener)));
        Ok(listener)
    }

    /// The listener's address: messages contain it, no matter which connection they leave by.
    fn local_addr(&self, socket: SocketId) -> SocketAddr {
        self.listener.map_or_else(|| self.driver.local_addr(socket), |(_, address)| address)
    }

    fn listen(&mut self, spec: &ListenSpec) -> io::Result<SocketId> {
        self.driver.listen(spec)
    }

    fn connect(&mut self, spec: &ConnectSpec) -> io::Result<SocketId> {
        self.table.open(&mut self.driver, spec.clone())
    }

    /// Always fails: connections carry messages, which are staged in the arena.
    fn stream_write(&mut self, _stream: SocketId, _bytes: &[u8]) -> Result<(), StreamWriteError> {
        Err(StreamWriteError::Closed)
    }

    fn abort(&mut self, stream: SocketId) {
        self.table.abort(&mut self.driver, stream);
    }

    fn close(&mut self, socket: SocketId) {
        if self.listener.is_some_and(|(listener, _)| listener == socket) {
            self.driver.close(socket);
            return;
        }
        self.send_staged();
        self.table.close(&mut self.driver, socket);
    }

    fn tx(&mut self) -> &mut TxArena {
        &mut self.arena
    }

    fn turn_gathering(&mut self, gather_until: Nanos, deadline: Nanos) -> io::Result<()> {
        self.table.sweep(&mut self.driver);
        self.send_staged();
        self.table.write_all(&mut self.driver);
        let deadline = deadline.min(self.table.next_deadline_ns());
        let gather_until = gather_until.min(deadline);
        self.driver.turn_gathering(gather_until, deadline)
    }

    fn drain<F>(&mut self, mut handler: F) -> ControlFlow<()>
    where
        F: FnMut(Event<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        let now_ns = self.driver.now();
        let Self { driver, arena, table, .. } = self;
        table.deliver_ready(now_ns, arena, &mut handler)?;
        driver.drain(|event, _| match event {
            Event::Stream(event) => table.on_event(&event, now_ns, arena, &mut handler),
            _ => ControlFlow::Continue(()),
        })
    }

    fn waker(&self) -> Waker {
        self.driver.waker()
    }

    /// The driver's counters, with messages in place of datagrams.
    fn counters(&self) -> DriverCounters {
        let totals = &self.table.totals;
        DriverCounters {
            datagrams_sent: totals.messages_sent,
            datagrams_received: totals.messages_received,
            ..self.driver.counters()
        }
    }

    fn cpu_time_ns(&self) -> u64 {
        self.driver.cpu_time_ns()
    }

    fn shutdown(&mut self, deadline: Nanos) {
        self.send_staged();
        self.table.write_all(&mut self.driver);
        self.table.close_all(&mut self.driver);
        self.driver.shutdown(deadline);
    }
}

impl<D: Driver> StreamMux<D> {
    fn send_staged(&mut self) {
        let Self { driver, arena, table, .. } = self;
        if arena.staged() > 0 {
            arena.take_staged(|socket, _, cookie, message| {
                table.send(driver, socket, cookie, message);
            });
        }
    }
}

impl<D: Driver> Link for StreamMux<D> {
    fn take_news(&mut self) -> Option<ConnectionEvent> {
        self.table.take_news()
    }

    fn count(&self, counters: &mut Counters) {
        let totals = &self.table.totals;
        let driver = self.driver.counters();
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

//! The transport of a worker's messages on the simulated network: datagrams or connections.

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;

use gossipper::dataplane::{Launch, Link, Reconnect, StreamMux};
use gossipper::engine::ConnectionEvent;
use gossipper::stats::Counters;
use gossipper_uring::{
    ConnectSpec, Driver, DriverCounters, Event, ListenSpec, Nanos, SimDriver, SimNet, SocketId,
    SocketSpec, StreamWriteError, TxArena, Waker,
};

/// The use of connections by a side.
#[derive(Clone)]
pub struct Streams {
    /// Most connections, one for each call; `None` if all calls share one.
    pub per_call: Option<usize>,
    pub reconnect: Reconnect,
    pub websocket: bool,
}

impl Streams {
    /// One connection for all calls, never opened again.
    pub fn shared() -> Self {
        let reconnect = Reconnect { max: Some(0), fails_calls: true, sleep_ns: 1_000_000_000 };
        Self { per_call: None, reconnect, websocket: false }
    }

    /// A connection for each call.
    pub fn per_call(max: usize) -> Self {
        Self { per_call: Some(max), ..Self::shared() }
    }
}

/// The driver of a worker, for datagrams or for connections.
pub enum Carrier {
    Datagrams(Box<SimDriver>),
    Streams(Box<StreamMux<SimDriver>>),
}

impl Carrier {
    pub fn new(net: &SimNet, launch: &Launch) -> Self {
        let driver = SimDriver::new(net, &launch.driver).expect("memory for a driver");
        match launch.mux().expect("a good name") {
            None => Self::Datagrams(Box::new(driver)),
            Some(config) => {
                let mux = StreamMux::new(driver, config).expect("memory for a driver");
                Self::Streams(Box::new(mux))
            }
        }
    }

    /// Like [`SimDriver::next_deadline`].
    pub fn next_deadline(&self) -> Nanos {
        match self {
            Self::Datagrams(driver) => driver.next_deadline(),
            Self::Streams(mux) => mux.inner().next_deadline().min(mux.next_deadline_ns()),
        }
    }
}

macro_rules! delegate {
    ($self:ident, $driver:ident => $call:expr) => {
        match $self {
            Carrier::Datagrams($driver) => $call,
            Carrier::Streams($driver) => $call,
        }
    };
}

impl Driver for Carrier {
    fn now(&self) -> Nanos {
        delegate!(self, driver => driver.now())
    }

    fn open(&mut self, spec: &SocketSpec) -> io::Result<SocketId> {
        delegate!(self, driver => driver.open(spec))
    }

    fn local_addr(&self, socket: SocketId) -> SocketAddr {
        delegate!(self, driver => driver.local_addr(socket))
    }

    fn listen(&mut self, spec: &ListenSpec) -> io::Result<SocketId> {
        delegate!(self, driver => driver.listen(spec))
    }

    fn connect(&mut self, spec: &ConnectSpec) -> io::Result<SocketId> {
        delegate!(self, driver => driver.connect(spec))
    }

    fn stream_write(&mut self, stream: SocketId, bytes: &[u8]) -> Result<(), StreamWriteError> {
        delegate!(self, driver => driver.stream_write(stream, bytes))
    }

    fn abort(&mut self, stream: SocketId) {
        delegate!(self, driver => driver.abort(stream))
    }

    fn close(&mut self, socket: SocketId) {
        delegate!(self, driver => driver.close(socket))
    }

    fn tx(&mut self) -> &mut TxArena {
        delegate!(self, driver => driver.tx())
    }

    fn turn_gathering(&mut self, gather_until: Nanos, deadline: Nanos) -> io::Result<()> {
        delegate!(self, driver => driver.turn_gathering(gather_until, deadline))
    }

    fn drain<F>(&mut self, handler: F) -> ControlFlow<()>
    where
        F: FnMut(Event<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        delegate!(self, driver => driver.drain(handler))
    }

    fn waker(&self) -> Waker {
        delegate!(self, driver => driver.waker())
    }

    fn counters(&self) -> DriverCounters {
        delegate!(self, driver => driver.counters())
    }

    fn cpu_time_ns(&self) -> u64 {
        0
    }

    fn shutdown(&mut self, deadline: Nanos) {
        delegate!(self, driver => driver.shutdown(deadline))
    }
}

impl Link for Carrier {
    fn take_news(&mut self) -> Option<ConnectionEvent> {
        delegate!(self, driver => driver.take_news())
    }

    fn count(&self, counters: &mut Counters) {
        delegate!(self, driver => driver.count(counters))
    }
}

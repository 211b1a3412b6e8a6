//! A worker's network: the driver at the bottom, and above it, side by side, the transport of SIP
//! and the sockets of a medium.

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;

use gossipper_uring::{Driver, SocketId, SocketSpec, TxArena, Waker};

use super::demux::{Arrival, Demux, Owner};
use super::launch::Launch;
use super::transport::streams::{Streams, StreamsConfig};
use super::transport::{Transport, udp};
use crate::engine::ConnectionEvent;
use crate::stats::Counters;

/// The network of a worker: a driver, with SIP and a medium as its two users.
pub struct Network<D: Driver> {
    driver: D,
    transport: Transport,
    demux: Demux,
}

impl<D: Driver> Network<D> {
    /// Creates the network of a worker of `launch` on `driver`.
    ///
    /// # Errors
    /// Lack of memory, or a setting that the sessions of connections cannot take.
    pub fn new(driver: D, launch: &Launch) -> io::Result<Self> {
        Self::with(driver, launch.streams_config()?)
    }

    /// Creates a network with SIP on connections as `streams` configures them; on datagrams if
    /// `None`.
    ///
    /// # Errors
    /// Lack of memory.
    pub fn with(driver: D, streams: Option<StreamsConfig>) -> io::Result<Self> {
        let transport = match streams {
            None => Transport::Udp,
            Some(config) => Transport::Streams(Box::new(Streams::new(config)?)),
        };
        Ok(Self { driver, transport, demux: Demux::default() })
    }

    /// The driver at the bottom.
    pub fn driver(&self) -> &D {
        &self.driver
    }

    /// The current time on the driver's clock.
    pub fn now(&self) -> u64 {
        self.driver.now()
    }

    /// A handle that ends a wait from another thread.
    pub fn waker(&self) -> Waker {
        self.driver.waker()
    }

    /// Opens a socket for SIP. Over streams that is a connection to `spec.remote`, or a listener if
    /// there is no remote address.
    ///
    /// # Errors
    /// The error of the driver.
    pub fn open_sip(&mut self, spec: &SocketSpec) -> io::Result<SocketId> {
        match &mut self.transport {
            Transport::Udp => {
                let socket = self.driver.open(spec)?;
                self.demux.note(socket, Owner::Sip);
                Ok(socket)
            }
            Transport::Streams(streams) => streams.open(&mut self.driver, spec),
        }
    }

    /// The address of SIP on `socket`. Over streams it is the listener's: messages name that one,
    /// no matter which connection they leave by.
    pub fn sip_addr(&self, socket: SocketId) -> SocketAddr {
        match &self.transport {
            Transport::Udp => self.driver.local_addr(socket),
            Transport::Streams(streams) => streams.local_addr(&self.driver, socket),
        }
    }

    /// Closes a socket of SIP; messages staged on it leave first.
    pub fn close_sip(&mut self, socket: SocketId) {
        match &mut self.transport {
            Transport::Udp => {
                self.demux.note(socket, Owner::Nobody);
                self.driver.close(socket);
            }
            Transport::Streams(streams) => streams.close(&mut self.driver, socket),
        }
    }

    /// The arena in which SIP messages are staged.
    pub fn sip_tx(&mut self) -> &mut TxArena {
        match &mut self.transport {
            Transport::Udp => self.driver.tx(),
            Transport::Streams(streams) => streams.tx(),
        }
    }

    /// Opens a UDP socket for the medium, independent of the transport of SIP.
    ///
    /// # Errors
    /// The error of the driver.
    pub fn open_medium(&mut self, spec: &SocketSpec) -> io::Result<(SocketId, SocketAddr)> {
        let socket = self.driver.open(spec)?;
        self.demux.note(socket, Owner::Medium);
        Ok((socket, self.driver.local_addr(socket)))
    }

    /// Closes a socket of the medium; datagrams staged on it leave first.
    pub fn close_medium(&mut self, socket: SocketId) {
        self.demux.note(socket, Owner::Nobody);
        self.driver.close(socket);
    }

    /// The arena in which the medium stages datagrams.
    pub fn medium_tx(&mut self) -> &mut TxArena {
        self.driver.tx()
    }

    /// The number of datagrams and messages that wait for the next turn.
    pub fn staged(&mut self) -> usize {
        let messages = match &mut self.transport {
            Transport::Udp => 0,
            Transport::Streams(streams) => streams.tx().staged(),
        };
        messages + self.driver.tx().staged()
    }

    /// The time at which connections need a turn; never over UDP.
    pub fn next_deadline_ns(&self) -> u64 {
        match &self.transport {
            Transport::Udp => u64::MAX,
            Transport::Streams(streams) => streams.next_deadline_ns(),
        }
    }

    /// Does the same as [`Driver::turn_gathering`], for all users of the driver.
    ///
    /// # Errors
    /// The error that makes the driver unusable.
    pub fn turn_gathering(&mut self, mut gather_until: u64, mut deadline: u64) -> io::Result<()> {
        if let Transport::Streams(streams) = &mut self.transport {
            streams.write_out(&mut self.driver);
            deadline = deadline.min(streams.next_deadline_ns());
            gather_until = gather_until.min(deadline);
        }
        self.driver.turn_gathering(gather_until, deadline)
    }

    /// Hands received messages and datagrams to `handler`, with the arena of their owner. Stops
    /// early, keeping the rest for the next call, when `handler` breaks. Returns `Break` if
    /// something remains.
    pub fn drain<F>(&mut self, mut handler: F) -> ControlFlow<()>
    where
        F: FnMut(Arrival<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        let Self { driver, transport, demux } = self;
        match transport {
            Transport::Udp => driver.drain(|event, tx| handler(demux.arrival(event), tx)),
            Transport::Streams(streams) => streams.drain(driver, demux, handler),
        }
    }

    /// The next event of a connection; `None` if there are no more. It is called after
    /// [`drain`](Self::drain).
    pub fn take_connection_event(&mut self) -> Option<ConnectionEvent> {
        match &mut self.transport {
            Transport::Udp => None,
            Transport::Streams(streams) => streams.take_event(),
        }
    }

    /// Adds the counts of the driver and of the transport to `counters`.
    pub fn count(&self, counters: &mut Counters) {
        let driver = self.driver.counters();
        counters.trains_sent = driver.trains_sent;
        counters.kernel_enters = driver.enters;
        counters.wait_ns = driver.wait_ns;
        counters.receive_overflow = driver.receive_overflow;
        counters.receive_truncated = driver.receive_truncated;
        counters.receive_rearms = driver.receive_rearms_nobufs;
        counters.cq_overflow = driver.cq_overflow;
        counters.icmp_errors = driver.icmp_errors;
        counters.gso_fallbacks = driver.gso_fallbacks;
        counters.media.receive_calls = driver.receives;
        match &self.transport {
            Transport::Udp => udp::count(&driver, counters),
            Transport::Streams(streams) => streams.count(&driver, counters),
        }
    }

    /// CPU time of the worker's thread.
    pub fn cpu_time_ns(&self) -> u64 {
        self.driver.cpu_time_ns()
    }

    /// Ends connections in good order, and waits for the kernel until `deadline`.
    pub fn shutdown(&mut self, deadline: u64) {
        if let Transport::Streams(streams) = &mut self.transport {
            streams.close_all(&mut self.driver);
        }
        self.driver.shutdown(deadline);
    }
}

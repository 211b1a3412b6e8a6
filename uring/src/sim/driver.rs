//! A driver on the simulated network.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;

use super::SimNet;
use super::net::Arrival;
use crate::config::{DriverConfig, LARGE_BYTES, SMALL_BYTES};
use crate::settle;
use crate::tx::TxArena;
use crate::{Driver, DriverCounters, Event, NEVER, Nanos, RxClass, SocketId, SocketSpec, Waker};

/// One worker's view of a [`SimNet`]. [`turn`](Driver::turn) never blocks.
#[derive(Debug)]
pub struct SimDriver {
    net: SimNet,
    arena: TxArena,
    counters: DriverCounters,
    places: Vec<Place>,
    free_places: Vec<u32>,
    sockets_max: usize,
    gso: bool,
    waker: Waker,
    /// Trains of one whose send failed, with the errno.
    failed: VecDeque<Failure>,
    deadline: Nanos,
}

#[derive(Debug, Default)]
struct Place {
    generation: u32,
    /// The socket's key in the network, and its address.
    socket: Option<(u64, SocketAddr)>,
    overflow_seen: u64,
}

/// One datagram that the network refused.
#[derive(Clone, Copy, Debug)]
struct Failure {
    socket: SocketId,
    destination: SocketAddr,
    cookie: u64,
    errno: i32,
}

impl SimDriver {
    /// A driver on `net`.
    ///
    /// # Errors
    /// Want of memory for the arena.
    pub fn new(net: &SimNet, config: &DriverConfig) -> io::Result<Self> {
        Ok(Self {
            net: net.clone(),
            arena: TxArena::new(config)?,
            counters: DriverCounters::default(),
            places: Vec::new(),
            free_places: Vec::new(),
            sockets_max: config.sockets_max,
            gso: config.gso,
            waker: Waker::flag(),
            failed: VecDeque::new(),
            deadline: NEVER,
        })
    }

    /// The deadline of the last [`turn`](Driver::turn); the current time if events or a wake are
    /// pending, so that a harness never jumps past them.
    #[must_use]
    pub fn next_deadline(&self) -> Nanos {
        if self.pending() { self.net.now() } else { self.deadline }
    }

    fn pending(&self) -> bool {
        if !self.failed.is_empty() {
            return true;
        }
        let mut net = self.net.net.borrow_mut();
        self.places.iter().any(|place| {
            let key = place.socket.map(|(key, _)| key);
            key.and_then(|key| net.socket(key)).is_some_and(|socket| !socket.queue.is_empty())
        })
    }

    fn send_staged(&mut self) {
        self.arena.seal();
        let mut net = self.net.net.borrow_mut();
        while let Some(id) = self.arena.first_staged() {
            self.arena.hand_over();
            let (index, current) = self.arena.socket_of(id);
            let destination = self.arena.destination_of(id);
            let place = self.places.get(index as usize).filter(|_| current);
            let key = place.and_then(|place| place.socket).map(|(key, _)| key);
            self.counters.trains_sent += 1;
            for (payload, cookie) in self.arena.payloads(id) {
                let sent = key.map_or(Err(libc::EBADF), |key| net.send(key, destination, payload));
                match sent {
                    Ok(()) => {
                        self.counters.datagrams_sent += 1;
                        self.counters.bytes_sent += payload.len() as u64;
                    }
                    Err(errno) => {
                        settle::count_failed(&mut self.counters, errno, 1);
                        if current {
                            let socket = SocketId(index);
                            self.failed.push_back(Failure { socket, destination, cookie, errno });
                        }
                    }
                }
            }
            self.arena.finish(id);
        }
    }

    /// Takes the next arrival at `place`, and counts what its queue has dropped meanwhile.
    fn next_arrival(&mut self, place: usize) -> Option<(Arrival, RxClass)> {
        let place = self.places.get_mut(place)?;
        let (key, _) = place.socket?;
        let mut net = self.net.net.borrow_mut();
        let socket = net.socket(key)?;
        self.counters.receive_overflow += socket.overflow - place.overflow_seen;
        place.overflow_seen = socket.overflow;
        let class = socket.class;
        socket.queue.pop_front().map(|arrival| (arrival, class))
    }

    fn deliver<F>(
        &mut self,
        socket: SocketId,
        arrival: &Arrival,
        class: RxClass,
        handler: &mut F,
    ) -> ControlFlow<()>
    where
        F: FnMut(Event<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        let event = match arrival {
            Arrival::Datagram { source, payload, received_ns } => {
                let room = match class {
                    RxClass::Small => SMALL_BYTES,
                    RxClass::Large => LARGE_BYTES,
                };
                self.counters.receives += 1;
                if payload.len() > room {
                    self.counters.receive_truncated += 1;
                    return ControlFlow::Continue(());
                }
                self.counters.datagrams_received += 1;
                self.counters.bytes_received += payload.len() as u64;
                let received_ns = *received_ns;
                Event::Datagram { socket, source: *source, payload, received_ns }
            }
            Arrival::Unreachable { destination, cause, quoted } => {
                self.counters.icmp_errors += 1;
                Event::Unreachable { socket, destination: *destination, cause: *cause, quoted }
            }
        };
        handler(event, &mut self.arena)
    }
}

impl Driver for SimDriver {
    fn now(&self) -> Nanos {
        self.net.now()
    }

    fn open(&mut self, spec: &SocketSpec) -> io::Result<SocketId> {
        if self.free_places.is_empty() && self.places.len() >= self.sockets_max {
            let text = format!("all {} sockets of this driver are open", self.sockets_max);
            return Err(io::Error::other(text));
        }
        let mut net = self.net.net.borrow_mut();
        let key = net.open(spec)?;
        let local = net.socket(key).map_or(spec.local, |socket| socket.local);
        let index = self.free_places.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() as u32 - 1
        });
        let place = &mut self.places[index as usize];
        place.socket = Some((key, local));
        place.overflow_seen = 0;
        self.arena.socket_opened(index, place.generation, spec.remote, self.gso);
        Ok(SocketId(index))
    }

    fn local_addr(&self, socket: SocketId) -> SocketAddr {
        let place = self.places.get(socket.0 as usize);
        place
            .and_then(|place| place.socket)
            .map_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), |(_, local)| local)
    }

    fn close(&mut self, socket: SocketId) {
        self.send_staged();
        let Some(place) = self.places.get_mut(socket.0 as usize) else { return };
        let Some((key, _)) = place.socket.take() else { return };
        place.generation = place.generation.wrapping_add(1) % u32::MAX;
        let mut net = self.net.net.borrow_mut();
        if let Some(closed) = net.socket(key) {
            self.counters.receive_overflow += closed.overflow - place.overflow_seen;
        }
        net.close(key);
        self.arena.socket_closed(socket.0);
        self.free_places.push(socket.0);
        self.failed.retain(|failure| failure.socket != socket);
    }

    fn tx(&mut self) -> &mut TxArena {
        &mut self.arena
    }

    fn turn_gathering(&mut self, _gather_until: Nanos, deadline: Nanos) -> io::Result<()> {
        self.counters.enters += 1;
        self.send_staged();
        let now = self.net.now();
        // Deliveries due already, with a network delay of zero for example.
        self.net.advance_to(now);
        let woken = self.waker.unpark();
        self.deadline = if woken { now } else { deadline };
        Ok(())
    }

    fn drain<F>(&mut self, mut handler: F) -> ControlFlow<()>
    where
        F: FnMut(Event<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        while let Some(failure) = self.failed.pop_front() {
            let event = Event::SendFailed {
                socket: failure.socket,
                destination: failure.destination,
                cookie: failure.cookie,
                cause: settle::failure(failure.errno),
            };
            if handler(event, &mut self.arena).is_break() {
                return remains(self.pending());
            }
        }
        for place in 0..self.places.len() {
            while let Some((arrival, class)) = self.next_arrival(place) {
                let socket = SocketId(place as u32);
                if self.deliver(socket, &arrival, class, &mut handler).is_break() {
                    return remains(self.pending());
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Nothing: virtual time passes without work.
    fn cpu_time_ns(&self) -> u64 {
        0
    }

    fn counters(&self) -> DriverCounters {
        let mut counters = self.counters;
        self.arena.count(&mut counters);
        counters
    }

    fn shutdown(&mut self, _deadline: Nanos) {
        for index in 0..self.places.len() as u32 {
            self.close(SocketId(index));
        }
    }
}

impl Drop for SimDriver {
    fn drop(&mut self) {
        self.shutdown(0);
    }
}

fn remains(pending: bool) -> ControlFlow<()> {
    if pending { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

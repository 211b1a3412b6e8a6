//! A driver on the simulated network.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;

use super::SimNet;
use super::net::Arrival;
use super::streams::{Allowance, StreamArrival};
use crate::config::{DriverConfig, LARGE_BYTES, SMALL_BYTES};
use crate::settle;
use crate::tx::TxArena;
use crate::{
    ConnectSpec, Driver, DriverCounters, Event, ListenSpec, NEVER, Nanos, RxClass, SocketId,
    SocketSpec, StreamCause, StreamEvent, StreamWriteError, Waker,
};

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
    /// Failed trains of one datagram each, with the errno.
    failed: VecDeque<Failure>,
    deadline: Nanos,
    streams: Streams,
}

/// The driver's side of streams.
#[derive(Debug)]
struct Streams {
    /// The driver's index in the network.
    number: usize,
    places: Vec<StreamPlace>,
    free: VecDeque<u32>,
    /// Places in the table, by key in the network.
    by_key: BTreeMap<u64, u32>,
    /// Streams that were written to since the last turn.
    to_pump: Vec<u64>,
    places_max: usize,
    allowance: Allowance,
}

#[derive(Debug, Default)]
struct StreamPlace {
    generation: u32,
    key: Option<u64>,
    listener: bool,
}

impl Streams {
    /// Looks up the place and the network key of a stream or listener, if `id` is still valid.
    fn find(&self, id: SocketId) -> Option<(u32, u64)> {
        let place = id.stream_place()? as u32;
        let slot = self.places.get(place as usize)?;
        (SocketId::stream(place, slot.generation) == id).then_some((place, slot.key?))
    }

    fn check_room(&self) -> io::Result<()> {
        if self.places.len() - self.free.len() < self.places_max {
            return Ok(());
        }
        Err(io::Error::other(format!("all {} streams of this driver are open", self.places_max)))
    }

    fn insert(&mut self, key: u64, listener: bool) -> SocketId {
        let place = self.free.pop_front().unwrap_or_else(|| {
            self.places.push(StreamPlace::default());
            self.places.len() as u32 - 1
        });
        self.by_key.insert(key, place);
        let slot = &mut self.places[place as usize];
        (slot.key, slot.listener) = (Some(key), listener);
        SocketId::stream(place, slot.generation)
    }

    /// Frees a place. Returns `true` if a stream held it.
    fn remove(&mut self, place: u32) -> bool {
        let slot = &mut self.places[place as usize];
        let Some(key) = slot.key.take() else { return false };
        slot.generation = slot.generation.wrapping_add(1);
        self.by_key.remove(&key);
        self.free.push_back(place);
        !slot.listener
    }

    fn id_of(&self, key: u64) -> Option<(u32, SocketId)> {
        let place = *self.by_key.get(&key)?;
        Some((place, SocketId::stream(place, self.places[place as usize].generation)))
    }
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
        let number = net.net.borrow_mut().streams.join();
        let streams = Streams {
            number,
            places: Vec::new(),
            free: VecDeque::new(),
            by_key: BTreeMap::new(),
            to_pump: Vec::new(),
            places_max: config.streams_max,
            allowance: Allowance {
                output_bytes: config.stream_output_bytes,
                linger_ns: config.stream_linger_ns,
            },
        };
        Ok(Self {
            streams,
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
        if net.streams.has_arrivals(self.streams.number) {
            return true;
        }
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

    /// Sends the bytes that were written to streams.
    fn pump_streams(&mut self) {
        let net = &mut *self.net.net.borrow_mut();
        for key in self.streams.to_pump.drain(..) {
            net.streams.pump(net.now, &net.config, key);
        }
    }

    /// Hands out the next arrival of a stream. Returns `None` if there is none.
    fn deliver_stream<F>(&mut self, handler: &mut F) -> Option<ControlFlow<()>>
    where
        F: FnMut(Event<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        let mut guard = self.net.net.borrow_mut();
        let net = &mut *guard;
        let (key, arrival) = net.streams.next_arrival(self.streams.number)?;
        let Some((place, socket)) = self.streams.id_of(key) else {
            match arrival {
                // The owner gets no data any more; the window opens, so that the peer can go on
                // sending.
                StreamArrival::Data { bytes, .. } => {
                    net.streams.taken(net.now, &net.config, key, bytes.len());
                }
                // The listener was closed meanwhile.
                StreamArrival::Accepted { stream, .. } => {
                    net.streams.abort(net.now, &net.config, stream);
                }
                _ => {}
            }
            return Some(ControlFlow::Continue(()));
        };
        let data;
        let event = match arrival {
            StreamArrival::Accepted { stream, .. } if self.streams.check_room().is_err() => {
                self.counters.accept_errors += 1;
                net.streams.abort(net.now, &net.config, stream);
                return Some(ControlFlow::Continue(()));
            }
            StreamArrival::Accepted { stream, peer } => {
                self.counters.streams_accepted += 1;
                let accepted = self.streams.insert(stream, false);
                StreamEvent::Accepted { listener: socket, socket: accepted, peer }
            }
            StreamArrival::Connected => StreamEvent::Connected { socket },
            StreamArrival::Data { bytes, received_ns } => {
                net.streams.taken(net.now, &net.config, key, bytes.len());
                self.counters.receives += 1;
                self.counters.stream_bytes_received += bytes.len() as u64;
                data = bytes;
                StreamEvent::Data { socket, bytes: &data, received_ns }
            }
            StreamArrival::Closed(cause) => {
                net.streams.mute(key);
                self.streams.remove(place);
                self.counters.streams_closed += 1;
                let refused = matches!(cause, StreamCause::Refused | StreamCause::TimedOut);
                self.counters.connect_errors += u64::from(refused);
                StreamEvent::Closed { socket, cause }
            }
            StreamArrival::Drained => StreamEvent::Drained { socket },
        };
        drop(guard);
        Some(handler(Event::Stream(event), &mut self.arena))
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

    fn listen(&mut self, spec: &ListenSpec) -> io::Result<SocketId> {
        self.streams.check_room()?;
        let net = &mut *self.net.net.borrow_mut();
        let key = net.streams.listen(self.streams.number, spec, self.streams.allowance)?;
        Ok(self.streams.insert(key, true))
    }

    fn connect(&mut self, spec: &ConnectSpec) -> io::Result<SocketId> {
        self.streams.check_room()?;
        let net = &mut *self.net.net.borrow_mut();
        let (number, allowance) = (self.streams.number, self.streams.allowance);
        let key = net.streams.connect(net.now, &net.config, number, spec, allowance)?;
        self.counters.streams_opened += 1;
        Ok(self.streams.insert(key, false))
    }

    fn stream_write(&mut self, stream: SocketId, bytes: &[u8]) -> Result<(), StreamWriteError> {
        let (place, key) = self.streams.find(stream).ok_or(StreamWriteError::Closed)?;
        if self.streams.places[place as usize].listener {
            return Err(StreamWriteError::Closed);
        }
        if bytes.len() > self.streams.allowance.output_bytes {
            return Err(StreamWriteError::TooLarge);
        }
        if !self.net.net.borrow_mut().streams.write(key, bytes) {
            self.counters.stream_writes_full += 1;
            return Err(StreamWriteError::Full);
        }
        self.streams.to_pump.push(key);
        Ok(())
    }

    fn abort(&mut self, stream: SocketId) {
        let Some((place, key)) = self.streams.find(stream) else { return };
        if self.streams.places[place as usize].listener {
            return;
        }
        let net = &mut *self.net.net.borrow_mut();
        net.streams.abort(net.now, &net.config, key);
        self.counters.streams_closed += u64::from(self.streams.remove(place));
    }

    fn local_addr(&self, socket: SocketId) -> SocketAddr {
        if socket.is_stream() {
            let key = self.streams.find(socket).map(|(_, key)| key);
            let local = key.and_then(|key| self.net.net.borrow().streams.local_addr(key));
            return local.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        }
        let place = self.places.get(socket.0 as usize);
        place
            .and_then(|place| place.socket)
            .map_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), |(_, local)| local)
    }

    fn close(&mut self, socket: SocketId) {
        if socket.is_stream() {
            let Some((place, key)) = self.streams.find(socket) else { return };
            let net = &mut *self.net.net.borrow_mut();
            net.streams.close(net.now, &net.config, key);
            self.counters.streams_closed += u64::from(self.streams.remove(place));
            return;
        }
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
        self.pump_streams();
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
        while let Some(flow) = self.deliver_stream(&mut handler) {
            if flow.is_break() {
                return remains(self.pending());
            }
        }
        ControlFlow::Continue(())
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Always 0: virtual time passes without work.
    fn cpu_time_ns(&self) -> u64 {
        0
    }

    fn counters(&self) -> DriverCounters {
        let mut counters = self.counters;
        self.arena.count(&mut counters);
        counters.stream_bytes_sent = self.net.net.borrow().streams.sent(self.streams.number);
        counters
    }

    fn shutdown(&mut self, _deadline: Nanos) {
        self.pump_streams();
        for place in 0..self.streams.places.len() as u32 {
            let generation = self.streams.places[place as usize].generation;
            self.close(SocketId::stream(place, generation));
        }
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

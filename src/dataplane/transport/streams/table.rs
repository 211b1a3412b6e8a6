//! All connections of one worker, apart from the driver that carries them.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;

use gossipper_uring::{ConnectSpec, Driver, SocketId, StreamEvent, StreamWriteError, TxArena};

use super::connection::{Connection, State};
use super::{StreamsConfig, Totals};
use crate::dataplane::demux::Arrival;
use crate::engine::{ConnectionEvent, Incoming};
use crate::stats::{DropCause, FailureCause};
use crate::stream::{Role, Session, SessionFailure};

/// Waiting bytes from which on a connection counts as congested. This is below the limit of its
/// session, so that messages of calls that do not know it yet still fit.
const CONGESTED_BYTES: usize = 65_536;
/// Time between two checks of peers' deadlines while there are connections.
const SWEEP_NS: u64 = 250_000_000;
/// Bits of an id that are the place; those above are the generation.
const PLACE_BITS: u32 = 20;
/// Number of generations: few enough that they end below the mark.
const GENERATIONS: u32 = 1 << 10;
/// The mark of a connection's id: the driver's UDP sockets have small ids, and its streams the bit
/// above, so that an id is never taken for one of another kind.
const CONNECTION: u32 = 1 << 30;
const NONE: u32 = u32::MAX;

pub(super) struct Table {
    config: StreamsConfig,
    connections: Vec<Connection>,
    free: Vec<u32>,
    /// The connection's place for each of the driver's streams, by the stream's place.
    of_stream: Vec<u32>,
    events: VecDeque<ConnectionEvent>,
    /// Connections with bytes to write.
    dirty: Vec<u32>,
    /// Connections with messages that were not taken yet.
    ready: VecDeque<u32>,
    /// Connections to be opened again, and the time for it. The wait is always the same, so the
    /// first one is due first.
    waiting: VecDeque<(u64, u32, u32)>,
    /// Streams to be closed, and the bytes to send before.
    farewells: Vec<(SocketId, Vec<u8>)>,
    attempts_left: Option<u64>,
    next_sweep_ns: u64,
    pub(super) totals: Totals,
}

impl Table {
    pub(super) fn new(config: StreamsConfig) -> Self {
        Self {
            attempts_left: config.reconnect.max,
            config,
            connections: Vec::new(),
            free: Vec::new(),
            of_stream: Vec::new(),
            events: VecDeque::with_capacity(64),
            dirty: Vec::with_capacity(64),
            ready: VecDeque::with_capacity(64),
            waiting: VecDeque::new(),
            farewells: Vec::new(),
            next_sweep_ns: 0,
            totals: Totals::default(),
        }
    }

    /// Opens a connection. Messages can be sent on it at once: they wait until it is up.
    pub(super) fn open<D: Driver>(
        &mut self,
        driver: &mut D,
        spec: ConnectSpec,
    ) -> io::Result<SocketId> {
        let now_ns = driver.now();
        let place = self.begin(Role::Client, spec.remote, now_ns)?;
        let stream = match driver.connect(&spec) {
            Ok(stream) => stream,
            Err(error) => {
                self.release(place);
                return Err(error);
            }
        };
        self.totals.opened += 1;
        self.connections[place as usize].target = Some(spec);
        self.bind_stream(place, stream);
        Ok(self.id_of(place))
    }

    fn begin(&mut self, role: Role, peer: SocketAddr, now_ns: u64) -> io::Result<u32> {
        let config = &self.config.session;
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                let max = self.config.connections_max.min(1 << PLACE_BITS);
                if self.connections.len() >= max {
                    return Err(io::Error::other(format!("all {max} connections are in use")));
                }
                let session = Session::new(config, role, now_ns).map_err(io::Error::other)?;
                self.connections.push(Connection::new(session));
                self.connections.len() as u32 - 1
            }
        };
        if let Err(failure) = self.connections[place as usize].begin(config, role, peer, now_ns) {
            self.free.push(place);
            return Err(io::Error::other(failure));
        }
        Ok(place)
    }

    fn bind_stream(&mut self, place: u32, stream: SocketId) {
        let Some(index) = stream.stream_place() else { return };
        if self.of_stream.len() <= index {
            self.of_stream.resize(index + 1, NONE);
        }
        self.of_stream[index] = place;
        self.connections[place as usize].stream = Some(stream);
    }

    fn id_of(&self, place: u32) -> SocketId {
        let generation = self.connections[place as usize].generation % GENERATIONS;
        SocketId(CONNECTION | generation << PLACE_BITS | place)
    }

    /// The place of the connection with `id`; `None` if it has ended.
    fn place_of(&self, id: SocketId) -> Option<u32> {
        let place = id.0 & ((1 << PLACE_BITS) - 1);
        let connection = self.connections.get(place as usize)?;
        (connection.state != State::Free && self.id_of(place) == id).then_some(place)
    }

    /// The place of the connection on one of the driver's streams.
    fn place_on(&self, stream: SocketId) -> Option<u32> {
        let place = *self.of_stream.get(stream.stream_place()?)?;
        let connection = self.connections.get(place as usize)?;
        (connection.stream == Some(stream)).then_some(place)
    }

    /// Frees a place. Its id is invalid from now on.
    fn release(&mut self, place: u32) {
        self.connections[place as usize].end();
        self.free.push(place);
    }

    pub(super) fn take_event(&mut self) -> Option<ConnectionEvent> {
        self.events.pop_front()
    }

    /// Encodes and writes one message.
    pub(super) fn send<D: Driver>(
        &mut self,
        driver: &mut D,
        socket: SocketId,
        cookie: u64,
        message: &[u8],
    ) {
        let Some(place) = self.place_of(socket) else {
            return self.not_sent(cookie, FailureCause::TcpClosed);
        };
        let connection = &mut self.connections[place as usize];
        if connection.session.is_transparent()
            && connection.state == State::Up
            && let Some(stream) = connection.stream
        {
            match driver.stream_write(stream, message) {
                Ok(()) => {
                    self.totals.messages_sent += 1;
                    return;
                }
                // The message waits in the session.
                Err(StreamWriteError::Full) => {}
                Err(StreamWriteError::TooLarge) => {
                    return self.not_sent(cookie, FailureCause::CannotSendMessage);
                }
                // An event about the end of the stream is on its way.
                Err(StreamWriteError::Closed) => {
                    return self.not_sent(cookie, FailureCause::TcpClosed);
                }
            }
        }
        if connection.session.send(message).is_err() {
            return self.not_sent(cookie, FailureCause::OutboundCongestion);
        }
        self.totals.messages_sent += 1;
        self.note_dirty(place);
    }

    fn not_sent(&mut self, cookie: u64, cause: FailureCause) {
        self.events.push_back(ConnectionEvent::NotSent { cookie, cause });
    }

    fn note_dirty(&mut self, place: u32) {
        let connection = &mut self.connections[place as usize];
        if !connection.is_dirty {
            connection.is_dirty = true;
            self.dirty.push(place);
        }
    }

    /// Writes the sessions' output to their peers, and closes streams whose sessions failed.
    pub(super) fn write_all<D: Driver>(&mut self, driver: &mut D) {
        while let Some(place) = self.dirty.pop() {
            self.connections[place as usize].is_dirty = false;
            self.write(driver, place);
        }
        for (stream, last_words) in self.farewells.drain(..) {
            // An alert or an HTTP error, if there is room.
            let _ = driver.stream_write(stream, &last_words);
            driver.close(stream);
        }
    }

    fn write<D: Driver>(&mut self, driver: &mut D, place: u32) {
        /// A write of a stream's whole buffer size would fit only into an empty buffer.
        const PIECE_BYTES: usize = 16_384;
        let id = self.id_of(place);
        let connection = &mut self.connections[place as usize];
        if connection.state == State::Up
            && let Some(stream) = connection.stream
        {
            loop {
                let output = connection.session.output();
                let len = output.len().min(PIECE_BYTES);
                if len == 0 || driver.stream_write(stream, &output[..len]).is_err() {
                    break;
                }
                connection.session.written(len);
            }
        }
        let waits = connection.session.waits();
        if waits >= CONGESTED_BYTES && !connection.is_congested {
            connection.is_congested = true;
            self.events.push_back(ConnectionEvent::Congested(id));
        } else if waits == 0 && connection.is_congested {
            connection.is_congested = false;
            self.events.push_back(ConnectionEvent::Drained(id));
        }
    }

    /// Handles an event of the driver.
    pub(super) fn on_event<F>(
        &mut self,
        event: &StreamEvent<'_>,
        now_ns: u64,
        arena: &mut TxArena,
        handler: &mut F,
    ) -> ControlFlow<()>
    where
        F: FnMut(Arrival<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        if let StreamEvent::Accepted { socket, peer, .. } = *event {
            match self.begin(Role::Server, peer, now_ns) {
                Ok(place) => {
                    self.totals.accepted += 1;
                    self.bind_stream(place, socket);
                }
                Err(_) => {
                    self.totals.failed += 1;
                    self.farewells.push((socket, Vec::new()));
                }
            }
            return ControlFlow::Continue(());
        }
        let Some(place) = self.place_on(event.socket()) else { return ControlFlow::Continue(()) };
        let connection = &mut self.connections[place as usize];
        match *event {
            StreamEvent::Accepted { .. } => {}
            StreamEvent::Connected { .. } => {
                connection.state = State::Up;
                connection.session.connected();
                if connection.session.is_open() {
                    let id = self.id_of(place);
                    self.events.push_back(ConnectionEvent::Up(id));
                }
                self.note_dirty(place);
            }
            StreamEvent::Drained { .. } => self.note_dirty(place),
            StreamEvent::Data { bytes, received_ns, .. } => {
                connection.received_ns = received_ns;
                connection.session.receive(bytes, received_ns);
                return self.deliver(place, now_ns, arena, handler);
            }
            StreamEvent::Closed { cause, .. } => {
                connection.ended = Some(cause);
                if !connection.is_ready {
                    return self.deliver(place, now_ns, arena, handler);
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Passes on messages that were left over. Returns `Break` if some are left again.
    pub(super) fn deliver_ready<F>(
        &mut self,
        now_ns: u64,
        arena: &mut TxArena,
        handler: &mut F,
    ) -> ControlFlow<()>
    where
        F: FnMut(Arrival<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        while let Some(place) = self.ready.pop_front() {
            self.connections[place as usize].is_ready = false;
            self.deliver(place, now_ns, arena, handler)?;
        }
        ControlFlow::Continue(())
    }

    fn deliver<F>(
        &mut self,
        place: u32,
        now_ns: u64,
        arena: &mut TxArena,
        handler: &mut F,
    ) -> ControlFlow<()>
    where
        F: FnMut(Arrival<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        let socket = self.id_of(place);
        let connection = &mut self.connections[place as usize];
        if connection.state == State::Free || connection.is_ready {
            // The connection was closed meanwhile, or earlier messages are still to be taken.
            return ControlFlow::Continue(());
        }
        if let Some(shake) = connection.session.take_shake() {
            self.totals.handshakes += 1;
            self.totals.resumed += u64::from(shake.resumed);
            self.events.push_back(ConnectionEvent::Up(socket));
        }
        let (source, received_ns) = (connection.peer, connection.received_ns);
        let mut failure = None;
        while let Some(next) = connection.session.take_next() {
            match next {
                Ok(payload) => {
                    self.totals.messages_received += 1;
                    let message =
                        Incoming { socket, source, payload, received_ns, is_final: false };
                    if handler(Arrival::Message(message), arena).is_break() {
                        connection.is_ready = true;
                        self.ready.push_back(place);
                        self.note_dirty(place);
                        return ControlFlow::Break(());
                    }
                }
                Err(found) => {
                    failure = Some(found);
                    break;
                }
            }
        }
        self.totals.keepalives += u64::from(connection.session.take_keepalives());
        if !connection.session.output().is_empty() {
            self.note_dirty(place);
        }
        if let Some(failure) = failure {
            self.break_off(place, &failure, now_ns);
        } else if let Some(cause) = self.connections[place as usize].ended {
            let (cause, text) = self.connections[place as usize].cause_of(cause);
            self.lose(place, cause, None, text, now_ns);
        }
        ControlFlow::Continue(())
    }

    /// Ends a connection whose session failed: the stream is closed once the session's last output
    /// is sent.
    fn break_off(&mut self, place: u32, failure: &SessionFailure, now_ns: u64) {
        let (cause, drop) = self.connections[place as usize].cause_of_failure(failure);
        self.lose(place, cause, drop, failure.to_string(), now_ns);
    }

    /// Ends a lost connection, and opens it again later if that is configured.
    fn lose(
        &mut self,
        place: u32,
        cause: FailureCause,
        drop: Option<DropCause>,
        text: String,
        now_ns: u64,
    ) {
        let socket = self.id_of(place);
        let reconnect = self.config.reconnect;
        let connection = &mut self.connections[place as usize];
        let was_open = connection.state == State::Up && connection.session.is_open();
        if was_open {
            self.totals.lost += 1;
        } else {
            self.totals.failed += 1;
        }
        if connection.is_congested {
            // Calls that go on have room in the new session.
            connection.is_congested = false;
            self.events.push_back(ConnectionEvent::Drained(socket));
        }
        let is_ours = connection.target.is_some();
        let is_wanted = !reconnect.fails_calls || !self.config.per_call;
        let comes_back = is_ours && is_wanted && self.attempts_left != Some(0);
        // A peer may open its own connection again.
        let is_final = is_ours && !comes_back;
        let fails = (reconnect.fails_calls || is_final).then_some(cause);
        let text = match (was_open, is_ours) {
            (true, _) => format!("the connection with {} is lost: {text}", connection.peer),
            (false, true) => {
                format!("the connection with {} could not be established: {text}", connection.peer)
            }
            // Each has a port of its own, which would be useless in the text.
            (false, false) => format!("no connection with {}: {text}", connection.peer.ip()),
        };
        self.events.push_back(ConnectionEvent::Lost {
            socket,
            fails,
            drop,
            comes_back,
            was_open,
            text,
        });
        // A stream that has not ended by itself may have output left; it is written with the rest.
        if connection.ended.is_none()
            && let Some(stream) = connection.stream
        {
            self.farewells.push((stream, connection.session.output().to_vec()));
        }
        if !comes_back {
            return self.release(place);
        }
        if let Some(left) = &mut self.attempts_left {
            *left -= 1;
        }
        connection.stream = None;
        let peer = connection.peer;
        // Messages of calls that go on wait in the new session.
        if connection.begin(&self.config.session, Role::Client, peer, now_ns).is_err() {
            return self.release(place);
        }
        connection.state = State::Waiting;
        let generation = connection.generation;
        self.waiting.push_back((now_ns + reconnect.sleep_ns, place, generation));
    }

    /// Time at which the table has work without an event.
    pub(super) fn next_deadline_ns(&self) -> u64 {
        if !self.dirty.is_empty() || !self.farewells.is_empty() {
            return 0;
        }
        let again = self.waiting.front().map_or(u64::MAX, |&(due_ns, ..)| due_ns);
        let is_idle = self.connections.len() == self.free.len();
        again.min(if is_idle { u64::MAX } else { self.next_sweep_ns })
    }

    /// Ends connections whose peers exceeded their time, and reopens those that were lost.
    pub(super) fn sweep<D: Driver>(&mut self, driver: &mut D) {
        let now_ns = driver.now();
        while let Some(&(due_ns, place, generation)) = self.waiting.front() {
            if due_ns > now_ns {
                break;
            }
            self.waiting.pop_front();
            let connection = &self.connections[place as usize];
            if connection.state == State::Waiting && connection.generation == generation {
                self.open_again(driver, place, now_ns);
            }
        }
        if now_ns < self.next_sweep_ns {
            return;
        }
        self.next_sweep_ns = now_ns + SWEEP_NS;
        let longest_ns = self.config.session.limits().handshake_ns_max;
        for place in 0..self.connections.len() as u32 {
            let connection = &self.connections[place as usize];
            let failure = match connection.state {
                State::Free | State::Waiting => None,
                State::Up => connection.session.overdue(now_ns),
                State::Connecting => (now_ns >= connection.begun_ns + longest_ns)
                    .then_some(SessionFailure::SlowHandshake),
            };
            if let Some(failure) = failure {
                self.break_off(place, &failure, now_ns);
            }
        }
    }

    fn open_again<D: Driver>(&mut self, driver: &mut D, place: u32, now_ns: u64) {
        let connection = &mut self.connections[place as usize];
        let Some(spec) = &connection.target else { return };
        self.totals.reconnects += 1;
        connection.state = State::Connecting;
        connection.begun_ns = now_ns;
        connection.session.restart_clock(now_ns);
        match driver.connect(spec) {
            Ok(stream) => self.bind_stream(place, stream),
            Err(error) => {
                let cause = FailureCause::TcpConnect;
                self.lose(place, cause, None, error.to_string(), now_ns);
            }
        }
    }

    /// Closes a connection after its output, with a FIN.
    pub(super) fn close<D: Driver>(&mut self, driver: &mut D, socket: SocketId) {
        let Some(place) = self.place_of(socket) else { return };
        let connection = &mut self.connections[place as usize];
        if connection.state == State::Up {
            connection.session.close();
            self.write(driver, place);
        }
        if let Some(stream) = self.connections[place as usize].stream {
            driver.close(stream);
        }
        self.release(place);
    }

    /// Closes all connections after their output, with a FIN.
    pub(super) fn close_all<D: Driver>(&mut self, driver: &mut D) {
        for place in 0..self.connections.len() as u32 {
            if self.connections[place as usize].state != State::Free {
                self.close(driver, self.id_of(place));
            }
        }
    }
}

//! The driver for kernels and containers that forbid io_uring: epoll, `recvmmsg`, `sendmmsg`.
//!
//! The same semantics as the `uring` driver, error queue and trains included. A socket whose send
//! buffer is full keeps its trains in a backlog, in order, until epoll reports room.

mod batch;
mod deliver;
mod send;
mod streams;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use self::batch::{Inbox, Outbox};
use self::streams::Streams;
use crate::cmsg::ReceiveClock;
use crate::config::{DriverConfig, LARGE_BYTES, SMALL_BYTES};
use crate::errqueue::ErrorReader;
use crate::kernel;
use crate::sys::monotonic_now;
use crate::tx::{NONE, TxArena};
use crate::{
    ConnectSpec, Driver, DriverCounters, Event, ListenSpec, NEVER, Nanos, RxClass, SocketId,
    SocketSpec, StreamWriteError, Waker, socket,
};

/// Readiness reports per `epoll_wait`; the rest come with the next turn.
const READY: usize = 256;

/// Marks the waker among the epoll data words.
const WAKE: u64 = u64::MAX;

/// Drives UDP sockets with plain system calls. Made, used and dropped on one thread.
#[derive(Debug)]
pub struct SyscallDriver {
    arena: TxArena,
    counters: DriverCounters,
    config: DriverConfig,
    epoll: OwnedFd,
    waker: Waker,
    places: Vec<Place>,
    free_places: Vec<u32>,
    polled: Box<[libc::epoll_event]>,
    /// Sockets with something to read, from the last wait.
    ready: Vec<Ready>,
    ready_next: usize,
    /// Trains whose remaining datagrams failed, with the errno.
    failed: Vec<(u32, i32)>,
    failed_next: usize,
    large: Option<Inbox>,
    small: Option<Inbox>,
    outbox: Outbox,
    errors: ErrorReader,
    /// The receive batch that is being handed out.
    open_batch: Option<OpenBatch>,
    /// The clock reading of the last receive.
    clock: ReceiveClock,
    streams: Streams,
}

/// One place in the socket table.
#[derive(Debug, Default)]
struct Place {
    generation: u32,
    socket: Option<Socket>,
}

#[derive(Debug)]
struct Socket {
    fd: OwnedFd,
    local: SocketAddr,
    remote: Option<SocketAddr>,
    class: RxClass,
    drops: u32,
    /// First and last train of the list that waits for room in the send buffer.
    backlog: Option<(u32, u32)>,
}

/// A socket that epoll reported.
#[derive(Clone, Copy, Debug)]
struct Ready {
    index: u32,
    generation: u32,
    errors: bool,
    /// Batches that may still be read before the next turn.
    batches: u8,
}

/// Position in a receive batch.
#[derive(Clone, Copy, Debug)]
struct OpenBatch {
    index: u32,
    generation: u32,
    class: RxClass,
    /// Index of the message being handed out; `count` is their number.
    at: usize,
    len: usize,
    /// Bytes of that message already delivered, when it is a GRO train.
    delivered: usize,
}

impl SyscallDriver {
    /// Sets up epoll and reserves memory.
    ///
    /// # Errors
    /// The error of `epoll_create`, `eventfd` or `mmap`.
    pub fn new(config: &DriverConfig) -> io::Result<Self> {
        // SAFETY: plain system call without pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just returned to us and has no other owner.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        let waker = Waker::new(libc::EFD_NONBLOCK)?;
        let driver = Self {
            arena: TxArena::new(config)?,
            counters: DriverCounters::default(),
            config: config.clone(),
            epoll,
            waker,
            places: Vec::new(),
            free_places: Vec::new(),
            polled: vec![libc::epoll_event { events: 0, u64: 0 }; READY].into_boxed_slice(),
            ready: Vec::with_capacity(READY),
            ready_next: 0,
            failed: Vec::with_capacity(config.tx_small_slots + config.tx_large_slots),
            failed_next: 0,
            large: None,
            small: None,
            outbox: Outbox::new()?,
            errors: ErrorReader::new(),
            open_batch: None,
            clock: ReceiveClock::now(),
            streams: Streams::new(config),
        };
        driver.watch(libc::EPOLL_CTL_ADD, driver.waker.fd(), libc::EPOLLIN, WAKE)?;
        Ok(driver)
    }

    fn watch(&self, operation: i32, fd: RawFd, events: i32, data: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: data };
        // SAFETY: passes a live structure.
        match unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &raw mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn events_pending(&self) -> bool {
        self.open_batch.is_some()
            || self.ready_next < self.ready.len()
            || self.failed_next < self.failed.len()
            || self.streams.has_notes()
    }

    /// Waits for readiness, or only looks when `deadline` is `None`.
    fn wait(&mut self, deadline: Option<Nanos>) -> io::Result<()> {
        let before = monotonic_now();
        let timeout = match deadline {
            None => Some(0),
            Some(NEVER) => None,
            Some(deadline) => Some(deadline.saturating_sub(before)),
        };
        self.counters.enters += 1;
        let found = kernel::epoll_wait(self.epoll.as_raw_fd(), &mut self.polled, timeout);
        if timeout != Some(0) {
            self.counters.wait_ns += monotonic_now().saturating_sub(before);
        }
        let found = match found {
            Ok(found) => found,
            // A signal, or want of memory: the worker comes back on its own.
            Err(libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => 0,
            Err(errno) => return Err(io::Error::from_raw_os_error(errno)),
        };
        for at in 0..found {
            let Some(&event) = self.polled.get(at) else { break };
            self.note(event.events, event.u64);
        }
        Ok(())
    }

    fn note(&mut self, events: u32, data: u64) {
        if data == WAKE {
            let mut word = 0_u64;
            // SAFETY: reads eight bytes into a live integer from a descriptor that does not block.
            unsafe { libc::read(self.waker.fd(), (&raw mut word).cast(), size_of::<u64>()) };
            return;
        }
        let (index, generation) = (data as u32, (data >> 32) as u32);
        if SocketId(index).is_stream() {
            self.note_stream(events, index, generation);
            return;
        }
        if events & libc::EPOLLOUT as u32 != 0 {
            self.flush_backlog(index, generation);
        }
        let errors = events & libc::EPOLLERR as u32 != 0;
        if errors || events & libc::EPOLLIN as u32 != 0 {
            self.ready.push(Ready {
                index,
                generation,
                errors,
                batches: deliver::BATCHES_PER_TURN,
            });
        }
    }

    fn socket(&self, index: u32, generation: u32) -> Option<&Socket> {
        let place = self.places.get(index as usize)?;
        if place.generation == generation { place.socket.as_ref() } else { None }
    }

    fn socket_mut(&mut self, index: u32, generation: u32) -> Option<&mut Socket> {
        let place = self.places.get_mut(index as usize)?;
        if place.generation == generation { place.socket.as_mut() } else { None }
    }
}

impl Driver for SyscallDriver {
    fn now(&self) -> Nanos {
        monotonic_now()
    }

    fn open(&mut self, spec: &SocketSpec) -> io::Result<SocketId> {
        let (inbox, bytes) = match spec.rx_class {
            RxClass::Large => (&mut self.large, LARGE_BYTES),
            RxClass::Small => (&mut self.small, SMALL_BYTES),
        };
        if inbox.is_none() {
            *inbox = Some(Inbox::new(bytes)?);
        }
        if self.free_places.is_empty() && self.places.len() >= self.config.sockets_max {
            let text = format!("all {} sockets of this driver are open", self.config.sockets_max);
            return Err(io::Error::other(text));
        }
        let (fd, local) = socket::open(spec, self.config.gro)?;
        let index = self.free_places.last().copied().unwrap_or(self.places.len() as u32);
        let generation = self.places.get(index as usize).map_or(0, |place| place.generation);
        let data = u64::from(generation) << 32 | u64::from(index);
        self.watch(libc::EPOLL_CTL_ADD, fd.as_raw_fd(), libc::EPOLLIN, data)?;
        if self.free_places.pop().is_none() {
            self.places.push(Place::default());
            self.free_places.reserve(self.places.len());
        }
        let remote = spec.remote;
        self.places[index as usize].socket =
            Some(Socket { fd, local, remote, class: spec.rx_class, drops: 0, backlog: None });
        self.arena.socket_opened(index, generation, remote, self.config.gso);
        Ok(SocketId(index))
    }

    fn listen(&mut self, spec: &ListenSpec) -> io::Result<SocketId> {
        self.open_listener(spec)
    }

    fn connect(&mut self, spec: &ConnectSpec) -> io::Result<SocketId> {
        self.open_stream(spec)
    }

    fn stream_write(&mut self, stream: SocketId, bytes: &[u8]) -> Result<(), StreamWriteError> {
        self.write_stream(stream, bytes)
    }

    fn abort(&mut self, stream: SocketId) {
        self.abort_stream(stream);
    }

    fn local_addr(&self, socket: SocketId) -> SocketAddr {
        if socket.is_stream() {
            return self.streams.local_addr(socket);
        }
        let place = self.places.get(socket.0 as usize);
        place
            .and_then(|place| place.socket.as_ref())
            .map_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), |socket| socket.local)
    }

    fn close(&mut self, socket: SocketId) {
        if socket.is_stream() {
            self.close_stream(socket);
            return;
        }
        self.send_staged();
        let Some(place) = self.places.get_mut(socket.0 as usize) else { return };
        let Some(closed) = place.socket.take() else { return };
        // Closing the descriptor also ends epoll's interest in it.
        place.generation = (place.generation + 1) % (NONE - 1);
        if let Some(drops) = socket::drops(closed.fd.as_raw_fd()) {
            self.counters.receive_overflow += u64::from(drops.wrapping_sub(closed.drops));
        }
        self.arena.socket_closed(socket.0);
        self.free_places.push(socket.0);
        self.drop_backlog(closed.backlog);
    }

    fn tx(&mut self) -> &mut TxArena {
        &mut self.arena
    }

    fn turn_gathering(&mut self, gather_until: Nanos, deadline: Nanos) -> io::Result<()> {
        self.send_staged();
        let deadline = self.drive_streams(deadline);
        if self.events_pending() {
            return Ok(());
        }
        if gather_until > 0 {
            let before = monotonic_now();
            kernel::sleep_until(gather_until);
            self.counters.wait_ns += monotonic_now().saturating_sub(before);
        }
        if deadline <= monotonic_now() {
            return self.wait(None);
        }
        if self.waker.park() {
            let waited = self.wait(Some(deadline));
            self.waker.unpark();
            waited?;
        }
        Ok(())
    }

    fn drain<F>(&mut self, handler: F) -> ControlFlow<()>
    where
        F: FnMut(Event<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        self.deliver_all(handler)
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn counters(&self) -> DriverCounters {
        let mut counters = self.counters;
        self.arena.count(&mut counters);
        counters
    }

    fn shutdown(&mut self, deadline: Nanos) {
        self.send_staged();
        while self.arena.in_kernel() > 0 && monotonic_now() < deadline {
            if self.wait(Some(deadline)).is_err() {
                break;
            }
            self.ready.clear();
            self.ready_next = 0;
        }
        for index in 0..self.places.len() as u32 {
            self.close(SocketId(index));
        }
        self.shut_streams_down(deadline);
    }
}

impl Drop for SyscallDriver {
    fn drop(&mut self) {
        // Releases the trains in backlogs; no operation is ever in the kernel between two calls.
        self.shutdown(0);
    }
}

//! The io_uring driver: one ring per thread, one enter per turn.
//!
//! Receives are multishot operations into provided buffers, one per socket; sends are submitted in
//! batches and normally complete inside the enter that submits them. The next deadline rides on the
//! enter call. A turn that has sends or finds events does not wait; only a turn that has nothing to
//! do enters a second time, to sleep, so that [`DriverCounters::wait_ns`] holds sleep and nothing
//! else.
//!
//! Streams ([`streams`]) have operations of their own, and cost a turn without streams one branch.
//!
//! A send that meets a full send buffer waits in the kernel, and later sends of the same socket may
//! overtake it then; nothing else reorders the datagrams of a call.

mod buffers;
mod core;
mod deliver;
mod events;
mod oneshot;
pub(crate) mod ring;
mod sockets;
mod streams;
mod teardown;
mod window;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;

use io_uring::{opcode, types};

use self::buffers::Buffers;
use self::core::Core;
use self::deliver::{CONTROL_FIELD, HEADER_BYTES, NAME_FIELD};
use self::ring::{Entered, Ring};
use self::sockets::{CANCEL, RECEIVE, SEND, Tag, WAKE};
use crate::config::{DriverConfig, LARGE_BYTES, SMALL_BYTES};
use crate::fault::{self, Site};
use crate::sys::monotonic_now;
use crate::tx::TxArena;
use crate::{
    ConnectSpec, Driver, DriverCounters, Event, ListenSpec, NEVER, Nanos, RxClass, SocketId,
    SocketSpec, StreamWriteError, Waker,
};

/// Most times in one turn that the driver goes back to sleep after a wake-up that brought the
/// worker nothing.
const IDLE_WAKES_MAX: usize = 8;
/// Completions at which a gathering ends early: a quarter of the large receive buffers, so that the
/// kernel never runs out of them while a worker sleeps.
const GATHERED_MAX: u32 = 64;

/// Connections that may be accepted between two reaps without the completion queue overflowing.
const ACCEPTS: usize = 1024;

/// Drives UDP sockets and TCP streams through one io_uring. Made, used and dropped on one thread.
pub struct UringDriver {
    // Field order is drop order: the ring goes before the memory that its operations use.
    ring: Ring,
    core: Core,
    config: DriverConfig,
    waker: Waker,
    wake_word: Box<u64>,
    /// Field lengths of multishot receives; the kernel copies it on submission.
    header: Box<libc::msghdr>,
    enters: u64,
    wait_ns: u64,
    shut_down: bool,
}

impl std::fmt::Debug for UringDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UringDriver").field("config", &self.config).finish_non_exhaustive()
    }
}

impl UringDriver {
    /// Sets up the ring and reserves memory.
    ///
    /// # Errors
    /// The error of `io_uring_setup`, of a registration or of `mmap`; see [`probe`](crate::probe())
    /// for the causes.
    pub fn new(config: &DriverConfig) -> io::Result<Self> {
        // Room for everything that can complete between two reaps: each receive buffer once, two
        // batches of sends, and a burst of connections with what they bring. An overflow loses
        // nothing, but it is slow and ends multishot receives.
        let computed = config.rx_large_buffers
            + config.rx_small_buffers
            + config.stream_rx_buffers
            + ACCEPTS
            + 2 * config.sq_entries;
        let cq_entries = if config.cq_entries == 0 { computed } else { config.cq_entries };
        let ring = Ring::new(config, u32::try_from(cq_entries).unwrap_or(u32::MAX))?;
        // SAFETY: all-zero is a valid msghdr.
        let mut header: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
        header.msg_namelen = NAME_FIELD as u32;
        header.msg_controllen = CONTROL_FIELD as _;
        Ok(Self {
            ring,
            core: Core::new(config)?,
            config: config.clone(),
            waker: Waker::new(0)?,
            wake_word: Box::new(0),
            header,
            enters: 0,
            wait_ns: 0,
            shut_down: false,
        })
    }

    fn class_buffers(&mut self, class: RxClass) -> io::Result<()> {
        // Without multishot the payload stands alone; the room in front is then merely spare.
        let (place, count, bytes, group) = match class {
            RxClass::Large => (&mut self.core.large, self.config.rx_large_buffers, LARGE_BYTES, 0),
            RxClass::Small => (&mut self.core.small, self.config.rx_small_buffers, SMALL_BYTES, 1),
        };
        if place.is_none() {
            *place = Some(Buffers::new(&self.ring, count, HEADER_BYTES + bytes, group)?);
        }
        Ok(())
    }

    /// Submits and collects without waiting.
    fn poll(&mut self) -> io::Result<Entered> {
        self.enters += 1;
        let entered = self.ring.poll()?;
        self.reap(entered);
        Ok(entered)
    }

    /// Submits and sleeps until a completion, a wake or `deadline`.
    fn sleep(&mut self, now: Nanos, deadline: Nanos) -> io::Result<Entered> {
        self.enters += 1;
        let entered = self.ring.wait((deadline != NEVER).then_some(deadline));
        self.wait_ns += monotonic_now().saturating_sub(now);
        let entered = entered?;
        self.reap(entered);
        Ok(entered)
    }

    /// Submits and sleeps until `until`, or until very many completions are there. Returns `false`
    /// if the time has passed already, or the kernel wants completions reaped first.
    fn gather(&mut self, until: Nanos) -> io::Result<bool> {
        let now = monotonic_now();
        if until <= now {
            return Ok(false);
        }
        self.enters += 1;
        // The sends that are submitted now complete too; they must not end the sleep.
        let completions = self.ring.queued() + GATHERED_MAX;
        let entered = self.ring.wait_for(completions, until);
        self.wait_ns += monotonic_now().saturating_sub(now);
        let entered = entered?;
        self.reap(entered);
        Ok(entered != Entered::Busy)
    }

    fn reap(&mut self, entered: Entered) {
        self.core.reap(&mut self.ring);
        if entered == Entered::Dropped {
            self.core.counters.cq_overflow += 1;
        }
        // The kernel moves its overflow list to the queue only when entered.
        for _ in 0..64 {
            if !self.ring.overflowed() {
                break;
            }
            self.core.counters.cq_overflow += 1;
            self.enters += 1;
            if self.ring.poll().is_err() {
                break;
            }
            self.core.reap(&mut self.ring);
        }
        self.core.finish_closing(&self.ring);
    }

    /// Queues an entry, submitting first if the queue is full. Returns `false` if even that makes
    /// no room.
    ///
    /// # Safety
    /// The memory behind the entry must stay valid until its last completion.
    unsafe fn push(&mut self, entry: &io_uring::squeue::Entry) -> io::Result<bool> {
        // SAFETY: passed on to the caller.
        if unsafe { self.ring.push(entry) } {
            return Ok(true);
        }
        self.poll()?;
        // SAFETY: passed on to the caller.
        Ok(unsafe { self.ring.push(entry) })
    }

    /// Queues the wake-up read and the receives that are not in the kernel.
    fn arm(&mut self) -> io::Result<()> {
        self.core.publish();
        if !self.core.wake_armed && !self.shut_down {
            let word = (&raw mut *self.wake_word).cast();
            let entry = opcode::Read::new(types::Fd(self.waker.fd()), word, 8).build();
            let tag = Tag { kind: WAKE, generation: 0, index: 0 };
            // SAFETY: the word is boxed, and leaked should the read still be in flight at the end.
            self.core.wake_armed = unsafe { self.push(&entry.user_data(tag.pack())) }?;
        }
        if self.core.to_arm.is_empty() {
            return Ok(());
        }
        let mut waiting = std::mem::take(&mut self.core.to_arm);
        let mut kept = 0;
        for at in 0..waiting.len() {
            let index = waiting[at];
            if !self.arm_one(index)? {
                waiting[kept] = index;
                kept += 1;
            }
        }
        waiting.truncate(kept);
        // Submitting on the way may have found more to arm.
        waiting.append(&mut self.core.to_arm);
        self.core.to_arm = waiting;
        Ok(())
    }

    /// Queues the receive of one socket. Returns `false` if that must wait.
    fn arm_one(&mut self, index: u32) -> io::Result<bool> {
        let header: *const libc::msghdr = &raw const *self.header;
        let core = &mut self.core;
        let Some(place) = core.places.get_mut(index as usize) else { return Ok(true) };
        let generation = place.generation;
        let Some(socket) = place.socket.as_mut() else { return Ok(true) };
        if socket.closing || socket.armed {
            socket.arm_queued = false;
            return Ok(true);
        }
        let (buffers, bytes) = match socket.class {
            RxClass::Large => (&core.large, LARGE_BYTES),
            RxClass::Small => (&core.small, SMALL_BYTES),
        };
        // Armed without a buffer the receive would fail at once, again and again. Armed on a socket
        // with unread errors it would spin on its error state.
        let Some(buffers) = buffers.as_ref().filter(|buffers| buffers.available()) else {
            return Ok(false);
        };
        if socket.errors_pending {
            return Ok(false);
        }
        let group = buffers.group();
        let once = socket.header.as_mut().map(|header| header.arm(bytes));
        let entry = match once {
            None => socket.receive(index, header, group),
            Some(header) => socket.receive_once(index, header, group),
        };
        let tag = Tag { kind: RECEIVE, generation, index };
        // SAFETY: the header is copied on submission, or boxed in a socket that lives until the
        // last completion; buffers are leaked should the receive still be in flight at the end.
        if !unsafe { self.push(&entry.user_data(tag.pack())) }? {
            return Ok(false);
        }
        if let Some(socket) = self.core.socket_mut(index) {
            socket.armed = true;
            socket.arm_queued = false;
            self.core.armed += 1;
        }
        Ok(true)
    }

    /// Queues a send for every staged train, as far as there is room.
    fn send_staged(&mut self) -> io::Result<()> {
        self.core.arena.seal();
        while let Some(id) = self.core.arena.first_staged() {
            let (index, _) = self.core.arena.socket_of(id);
            let generation = self.core.arena.generation_of(id);
            let place = self.core.places.get(index as usize);
            let socket =
                place.filter(|p| p.generation == generation).and_then(|p| p.socket.as_ref());
            let failure = match socket {
                None => Some(libc::EBADF),
                Some(_) => fault::take(Site::Send),
            };
            if let Some(errno) = failure {
                self.core.arena.hand_over();
                self.core.injected.push((id, -errno));
                continue;
            }
            let Some(socket) = socket else { continue };
            let entry = if self.core.arena.shape(id).0 == 1 {
                socket.send(index, self.core.arena.plain(id))
            } else {
                socket.send_message(index, self.core.arena.message(id))
            };
            let tag = Tag { kind: SEND, generation: 0, index: id };
            // SAFETY: slots and header of a train stay put until it is finished, and the arena
            // leaks its memory while a train is in the kernel.
            if !unsafe { self.push(&entry.user_data(tag.pack())) }? {
                break;
            }
            self.core.arena.hand_over();
        }
        Ok(())
    }

    /// Queues the cancellation of receives that must end.
    fn cancel(&mut self) -> io::Result<()> {
        while let Some(index) = self.core.to_cancel.pop() {
            let Some(place) = self.core.places.get(index as usize) else { continue };
            let Some(socket) = place.socket.as_ref() else { continue };
            if !socket.armed || socket.cancelling {
                continue;
            }
            let receive = Tag { kind: RECEIVE, generation: place.generation, index };
            let entry = opcode::AsyncCancel::new(receive.pack()).build();
            let tag = Tag { kind: CANCEL, generation: 0, index };
            // SAFETY: the entry points to nothing.
            if !unsafe { self.push(&entry.user_data(tag.pack())) }? {
                self.core.to_cancel.push(index);
                break;
            }
            if let Some(socket) = self.core.socket_mut(index) {
                socket.cancelling = true;
            }
        }
        Ok(())
    }
}

impl Driver for UringDriver {
    fn now(&self) -> Nanos {
        monotonic_now()
    }

    fn open(&mut self, spec: &SocketSpec) -> io::Result<SocketId> {
        self.class_buffers(spec.rx_class)?;
        self.core.open(&self.ring, spec, &self.config).map(SocketId)
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
            return self.core.streams.local_addr(socket);
        }
        let place = self.core.places.get(socket.0 as usize);
        place
            .and_then(|place| place.socket.as_ref())
            .map_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), |socket| socket.local)
    }

    fn close(&mut self, socket: SocketId) {
        if socket.is_stream() {
            self.close_stream(socket);
        } else {
            self.core.close(socket.0);
        }
    }

    fn tx(&mut self) -> &mut TxArena {
        &mut self.core.arena
    }

    fn turn_gathering(&mut self, gather_until: Nanos, deadline: Nanos) -> io::Result<()> {
        self.arm()?;
        self.send_staged()?;
        self.drive_streams(deadline)?;
        self.cancel()?;
        let mut polled = false;
        if gather_until > 0 && self.core.events.is_empty() && self.core.injected.is_empty() {
            polled = self.gather(gather_until)?;
        }
        let looks = !self.core.events.is_empty() || deadline == 0;
        if self.ring.queued() > 0 || (looks && !polled) {
            polled = self.poll()? != Entered::Busy;
        }
        if !self.core.injected.is_empty() {
            self.core.reap(&mut self.ring);
        }
        self.core.finish_closing(&self.ring);
        for _ in 0..IDLE_WAKES_MAX {
            if !self.core.events.is_empty() {
                break;
            }
            let now = monotonic_now();
            if deadline <= now {
                if !polled {
                    self.poll()?;
                }
                break;
            }
            self.arm()?;
            self.cancel()?;
            let until = self.drive_streams(deadline)?;
            // Submitting on the way may have brought events.
            if !self.core.events.is_empty() {
                break;
            }
            if until <= now {
                self.poll()?;
                polled = true;
                continue;
            }
            if !self.waker.park() {
                break;
            }
            self.core.send_completed = false;
            let entered = self.sleep(now, until);
            let woken = self.waker.unpark();
            polled = true;
            // A worker that had run out of slots waits for freed ones.
            if entered? != Entered::Done || woken || self.core.send_completed {
                break;
            }
        }
        Ok(())
    }

    fn drain<F>(&mut self, handler: F) -> ControlFlow<()>
    where
        F: FnMut(Event<'_>, &mut TxArena) -> ControlFlow<()>,
    {
        self.core.drain(handler)
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn counters(&self) -> DriverCounters {
        let mut counters = self.core.counters;
        counters.enters = self.enters;
        counters.wait_ns = self.wait_ns;
        self.core.arena.count(&mut counters);
        counters
    }

    fn shutdown(&mut self, deadline: Nanos) {
        self.tear_down(deadline);
    }
}

//! Batched UDP and TCP I/O for a thread-per-core worker.
//!
//! A [`Driver`] opens sockets, hands received datagrams and bytes to a closure, and sends the
//! datagrams staged in its [`TxArena`] and the bytes written to its streams, all on the one thread
//! that made it. Three drivers share the same semantics: `uring` (the product), `syscall` (epoll
//! with `sendmmsg`/`recvmmsg`, for kernels and containers that forbid io_uring) and `sim` (in
//! memory, virtual clock, seeded faults). The crate knows nothing of SIP; it is also the only place
//! in the workspace where `unsafe` is allowed.

mod addr;
mod bell;
mod cmsg;
mod config;
mod errqueue;
#[cfg(any(test, feature = "fault-injection"))]
pub mod fault;
#[cfg(not(any(test, feature = "fault-injection")))]
#[path = "fault/off.rs"]
mod fault;
mod kernel;
pub mod probe;
mod region;
mod settle;
pub mod sim;
mod socket;
mod stream;
pub mod sys;
mod syscall;
mod tx;
mod uring;
mod wake;

pub use bell::Bell;
pub use config::{DriverConfig, LARGE_BYTES, SMALL_BYTES, UDP_PAYLOAD_MAX};
pub use probe::{Features, IoChoice, Refusal, Resolved, probe};
pub use sim::{SimConfig, SimDriver, SimNet, SimNetHandle};
pub use stream::{ConnectSpec, ListenSpec, StreamCause, StreamEvent, StreamWriteError};
pub use syscall::SyscallDriver;
pub use tx::{TxArena, TxOrder, TxSlot};
pub use uring::UringDriver;
pub use wake::Waker;

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;

/// Nanoseconds on `CLOCK_MONOTONIC`, or virtual nanoseconds under the `sim` driver.
pub type Nanos = u64;

/// A deadline that never comes: [`Driver::turn`] then waits for traffic or a wake only.
pub const NEVER: Nanos = u64::MAX;

/// Id of a socket of one driver: an index into its socket table, valid until [`Driver::close`].
/// Streams and listeners have a table of their own; their ids never equal those of UDP sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u32);

/// The class of provided buffers that a socket receives into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RxClass {
    /// Buffers of 2 KiB: for sockets that never see more (RTP).
    Small,
    /// Buffers that hold a full 64 KiB datagram or a GRO train: for SIP.
    Large,
}

/// The options of a UDP socket, for [`Driver::open`].
#[derive(Clone, Debug)]
pub struct SocketSpec {
    /// Address to bind; port 0 lets the kernel choose.
    pub local: SocketAddr,
    /// Peer to connect to; `None` leaves the socket open to any peer.
    pub remote: Option<SocketAddr>,
    /// Set `SO_REUSEPORT`, so that several workers share one port.
    pub reuse_port: bool,
    /// Buffer class for receives.
    pub rx_class: RxClass,
    /// `SO_RCVBUF` in bytes (forced past the sysctl where permitted); 0 leaves the default.
    pub receive_buffer_bytes: usize,
    /// `SO_SNDBUF` in bytes (forced past the sysctl where permitted); 0 leaves the default.
    pub send_buffer_bytes: usize,
    /// Network interface to bind to (`SO_BINDTODEVICE`).
    pub device: Option<String>,
}

/// Something that happened on a socket, handed to the closure of [`Driver::drain`].
#[derive(Debug)]
pub enum Event<'a> {
    /// One datagram (a GRO train is already split).
    Datagram {
        /// The socket that received it.
        socket: SocketId,
        /// The address of the sender.
        source: SocketAddr,
        /// The payload, valid during the call.
        payload: &'a [u8],
        /// The time at which the kernel took the datagram from the network, on this driver's clock.
        /// A worker that handles events late still measures correctly. All datagrams of a GRO train
        /// have one time.
        received_ns: Nanos,
    },
    /// A staged datagram could not be sent. Called once per datagram of a failed train.
    SendFailed {
        /// The socket that should have sent it.
        socket: SocketId,
        /// The address that it was staged for.
        destination: SocketAddr,
        /// The `cookie` given to [`TxArena::commit`].
        cookie: u64,
        /// The reason.
        cause: SendFailure,
    },
    /// An ICMP message reported that an earlier datagram did not arrive.
    Unreachable {
        /// The socket whose error queue held the report.
        socket: SocketId,
        /// The address that the lost datagram was sent to.
        destination: SocketAddr,
        /// The reason that the ICMP message gave.
        cause: IcmpCause,
        /// The beginning of the lost datagram's payload, as far as the ICMP message quoted it.
        quoted: &'a [u8],
    },
    /// Something happened on a TCP stream.
    Stream(StreamEvent<'a>),
}

/// The reason why a datagram was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SendFailure {
    /// `ENOBUFS`, `EAGAIN`, `ENOMEM`: the kernel had no room; a retransmission may succeed.
    NoBuffer,
    /// `EMSGSIZE`: larger than the path or the protocol allows.
    TooLarge,
    /// `ENETUNREACH`, `EHOSTUNREACH`, `ENETDOWN`, `EHOSTDOWN`, `EADDRNOTAVAIL`: no route.
    NoRoute,
    /// `EPERM`, `EACCES`: a firewall or policy refused it.
    NotPermitted,
    /// `ECONNREFUSED` that stayed after one resend.
    Refused,
    /// Any other errno.
    Other(i32),
}

/// The reason that an ICMP error gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IcmpCause {
    /// Port unreachable: no socket is bound to the port.
    Port,
    /// Host or network unreachable.
    Host,
    /// Administratively prohibited.
    Prohibited,
    /// Fragmentation needed or packet too big.
    TooBig,
    /// Any other type and code.
    Other,
}

/// Single-writer counters of one driver; plain numbers, read by the worker that owns the driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverCounters {
    /// Datagrams handed to the kernel.
    pub datagrams_sent: u64,
    /// Payload bytes handed to the kernel.
    pub bytes_sent: u64,
    /// Send operations (a GSO train counts once).
    pub trains_sent: u64,
    /// Datagrams received, after GRO trains were split.
    pub datagrams_received: u64,
    /// Payload bytes received.
    pub bytes_received: u64,
    /// Receive operations that delivered data (a GRO train counts once).
    pub receives: u64,
    /// Calls into the kernel that submit or wait (`io_uring_enter`, `epoll_wait`, `*mmsg`).
    pub enters: u64,
    /// Nanoseconds spent waiting for work inside the kernel.
    pub wait_ns: u64,
    /// Datagrams that the kernel dropped because the socket's receive queue was full
    /// (`SO_RXQ_OVFL`). A GRO train dropped whole counts once. The kernel reports drops with the
    /// next datagram that finds room, or when the socket is closed.
    pub receive_overflow: u64,
    /// Datagrams larger than their buffer class.
    pub receive_truncated: u64,
    /// Times a multishot receive ended for want of a provided buffer, and was armed again.
    pub receive_rearms_nobufs: u64,
    /// Completion-queue overflows (slow path, nothing lost).
    pub cq_overflow: u64,
    /// Datagrams not sent for want of kernel buffers.
    pub send_no_buffer: u64,
    /// Datagrams not sent for any other cause.
    pub send_errors: u64,
    /// Trains split into single sends because GSO was refused.
    pub gso_fallbacks: u64,
    /// Times [`TxArena::reserve`] found no free slot.
    pub tx_exhausted: u64,
    /// ICMP errors read from error queues.
    pub icmp_errors: u64,
    /// Streams that [`Driver::connect`] has begun.
    pub streams_opened: u64,
    /// Streams that came from listeners.
    pub streams_accepted: u64,
    /// Streams that have ended, for any reason. Those opened or accepted, less these, still exist.
    pub streams_closed: u64,
    /// Streams cut off because they could not send their written bytes within the linger time.
    pub streams_cut: u64,
    /// Bytes handed to the kernel on streams.
    pub stream_bytes_sent: u64,
    /// Bytes received on streams.
    pub stream_bytes_received: u64,
    /// Writes refused because the stream's buffer, or the pool that all streams share, was full.
    pub stream_writes_full: u64,
    /// Accepts that failed, for example for want of descriptors or of a place in the table.
    pub accept_errors: u64,
    /// Connects that failed.
    pub connect_errors: u64,
}

/// One thread's access to the network. A driver is made, used and dropped on the same thread.
pub trait Driver {
    /// The current time on this driver's clock.
    fn now(&self) -> Nanos;

    /// Opens and binds a UDP socket and starts receiving on it.
    ///
    /// # Errors
    /// The error of `socket`, `bind`, `connect` or of the registration.
    fn open(&mut self, spec: &SocketSpec) -> io::Result<SocketId>;

    /// The address that `socket` is bound to.
    fn local_addr(&self, socket: SocketId) -> SocketAddr;

    /// Opens a TCP listener, which accepts by itself ([`StreamEvent::Accepted`]) until it is
    /// closed. When descriptors run out, it pauses, counts that, and goes on.
    ///
    /// # Errors
    /// The error of `socket`, `bind` or `listen`.
    fn listen(&mut self, spec: &ListenSpec) -> io::Result<SocketId>;

    /// Begins to connect a TCP stream, without waiting. [`StreamEvent::Connected`] or
    /// [`StreamEvent::Closed`] follows.
    ///
    /// # Errors
    /// The error of `socket` or `bind`. An error of `connect` comes as an event.
    fn connect(&mut self, spec: &ConnectSpec) -> io::Result<SocketId>;

    /// Appends `bytes` to the unsent bytes of `stream`, all or nothing; also before it is
    /// connected.
    /// They leave with the next [`turn`](Self::turn), in the order of the writes.
    ///
    /// # Errors
    /// The stream has no room or is gone.
    fn stream_write(&mut self, stream: SocketId, bytes: &[u8]) -> Result<(), StreamWriteError>;

    /// Ends `stream` with a reset and drops its unsent bytes. Its later events are swallowed. Does
    /// nothing if `stream` is a listener or a UDP socket.
    fn abort(&mut self, stream: SocketId);

    /// Closes `socket`. Its staged datagrams are sent first; its later events are swallowed. Its
    /// port and its place in the table are free again after the next [`turn`](Self::turn).
    ///
    /// A stream first sends the bytes that were written to it, then a FIN, and waits for the FIN of
    /// the peer; all that within [`DriverConfig::stream_linger_ns`]. Its id is invalid at once.
    fn close(&mut self, socket: SocketId);

    /// The arena in which datagrams are rendered and staged.
    fn tx(&mut self) -> &mut TxArena;

    /// Sends all that is staged, then waits for an event, a wake or `deadline`, whichever is first.
    /// A deadline in the past sends and reaps without waiting.
    ///
    /// # Errors
    /// Errors that make the driver unusable; failures of single datagrams arrive as events.
    fn turn(&mut self, deadline: Nanos) -> io::Result<()> {
        self.turn_gathering(0, deadline)
    }

    /// Like [`turn`](Driver::turn), but lets events gather in the kernel until `gather_until`
    /// before it reads any. The gathering ends early if very many come, and is skipped if some are
    /// pending already. Fewer and larger turns cost less; a wake may be noticed only at the end of
    /// the gathering.
    ///
    /// # Errors
    /// The errors of [`turn`](Driver::turn).
    fn turn_gathering(&mut self, gather_until: Nanos, deadline: Nanos) -> io::Result<()>;

    /// Hands pending events to `handler` in order, with the arena for replies. Stops early, keeping
    /// the rest for the next call, when `handler` breaks. Returns `Break` if events remain.
    fn drain<F>(&mut self, handler: F) -> ControlFlow<()>
    where
        F: FnMut(Event<'_>, &mut TxArena) -> ControlFlow<()>;

    /// A handle with which another thread ends a wait in [`Driver::turn`].
    fn waker(&self) -> Waker;

    /// Counters so far.
    fn counters(&self) -> DriverCounters;

    /// CPU time that the driver's thread has used, in user space and in the kernel. Divided by the
    /// elapsed time it tells how busy a worker is. The time inside an enter does not, because the
    /// kernel also carries out sends there.
    fn cpu_time_ns(&self) -> u64 {
        sys::thread_cpu_time_ns()
    }

    /// Cancels receives, lets sends finish, and returns once the kernel has no operation left or
    /// `deadline` has passed. Memory that the kernel may still write is then leaked, not freed.
    fn shutdown(&mut self, deadline: Nanos);
}

//! Sizes and switches of a driver, chosen once at start.

use crate::Nanos;

/// Bytes in a small send slot, and the largest payload of a [`RxClass::Small`](crate::RxClass)
/// buffer.
pub const SMALL_BYTES: usize = 2048;

/// Bytes in a large send slot, and the largest payload of a [`RxClass::Large`](crate::RxClass)
/// buffer.
pub const LARGE_BYTES: usize = 65_536;

/// The largest UDP payload over IPv4; a GSO train may not be longer in total either.
pub const UDP_PAYLOAD_MAX: usize = 65_507;

/// Sizes and switches of a driver. Memory is reserved at start and touched only when used.
///
/// The switches (`gro`, `gso`, `multishot`, `registered_files`, `registered_ring_fd`) exist so that
/// a bench can turn one mechanism off at a time; production uses the defaults. There is no switch
/// for sends from registered buffers: the kernel ignores registration for ordinary sends, and
/// zero-copy sends lose below a few KiB and always copy on loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverConfig {
    /// Send slots of [`SMALL_BYTES`].
    pub tx_small_slots: usize,
    /// Send slots of [`LARGE_BYTES`].
    pub tx_large_slots: usize,
    /// Most datagrams in one GSO train, 1 to 64 (what kernels before 6.9 take).
    pub train_segments_max: usize,
    /// Receive buffers of [`LARGE_BYTES`], at most 32,768.
    pub rx_large_buffers: usize,
    /// Receive buffers of [`SMALL_BYTES`], at most 32,768. Set up with the first socket of that
    /// class.
    pub rx_small_buffers: usize,
    /// Submission-queue entries. More sends than this per turn cost one extra enter each time the
    /// queue fills; a short queue stays in the first-level cache.
    pub sq_entries: usize,
    /// Completion-queue entries; 0 computes the most that buffers and sends can produce between two
    /// reaps, so that the kernel's slow overflow list is not used.
    pub cq_entries: usize,
    /// Sockets open at one time. Also the size of the registered file table, which the kernel
    /// limits to `RLIMIT_NOFILE`; sockets past that limit use plain descriptors.
    pub sockets_max: usize,
    /// TCP streams and listeners at one time, at most 1,048,576. Memory is taken as they come.
    pub streams_max: usize,
    /// Most bytes that may wait to be sent on one stream.
    pub stream_output_bytes: usize,
    /// Most bytes that may wait to be sent on all streams together, in chunks of 4 KiB that belong
    /// to one stream each. Memory is taken from the system as needed, and kept.
    pub stream_pool_bytes: usize,
    /// Receive buffers of 8 KiB for streams, at most 32,768. Set up with the first stream.
    pub stream_rx_buffers: usize,
    /// Time that a closed stream has to send its written bytes and to receive the peer's FIN.
    pub stream_linger_ns: Nanos,
    /// Let the kernel join received datagrams of one flow (`UDP_GRO`), on large-class sockets.
    pub gro: bool,
    /// Join staged datagrams of one flow and length into one send (`UDP_SEGMENT`).
    pub gso: bool,
    /// Receive with one multishot operation per socket instead of one operation per datagram.
    pub multishot: bool,
    /// Refer to sockets by registered index instead of file descriptor.
    pub registered_files: bool,
    /// Refer to the ring by registered index instead of file descriptor.
    pub registered_ring_fd: bool,
}

impl Default for DriverConfig {
    fn default() -> Self {
        Self {
            tx_small_slots: 4096,
            tx_large_slots: 16,
            train_segments_max: 64,
            rx_large_buffers: 256,
            rx_small_buffers: 4096,
            sq_entries: 256,
            cq_entries: 0,
            sockets_max: 65_536,
            streams_max: 65_536,
            stream_output_bytes: 256 << 10,
            stream_pool_bytes: 256 << 20,
            stream_rx_buffers: 1024,
            stream_linger_ns: 1_000_000_000,
            gro: true,
            gso: true,
            multishot: true,
            registered_files: true,
            registered_ring_fd: true,
        }
    }
}

//! The ring: set-up, the one enter call, registration. It knows nothing of sockets.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use io_uring::{IoUring, cqueue, squeue};

use crate::Nanos;
use crate::config::DriverConfig;
use crate::kernel::{self, Timespec};
use crate::sys::monotonic_now;

const ENTER_GETEVENTS: u32 = 1 << 0;
const ENTER_REGISTERED_RING: u32 = 1 << 4;
const ENTER_ABS_TIMER: u32 = 1 << 5;
const REGISTER_RING_FDS: u32 = 20;
const UNREGISTER_RING_FDS: u32 = 21;

/// The longest file table that the kernel takes.
const FILES_MAX: u64 = 1 << 20;

/// The result of an enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// Normally, with or without completions; also at the deadline.
    Done,
    /// A signal came.
    Interrupted,
    /// The kernel wants completions reaped, or memory, before it takes more.
    Busy,
    /// The kernel had to drop completions for want of memory.
    Dropped,
}

/// One io_uring, owned by one thread.
pub(super) struct Ring {
    io: IoUring,
    /// Index or descriptor to enter with.
    enter_fd: i32,
    registered: bool,
    /// The kernel takes absolute timeouts on enter (6.12).
    absolute: bool,
    /// Size of the registered file table.
    files: u32,
}

impl Ring {
    pub(super) fn new(config: &DriverConfig, cq_entries: u32) -> io::Result<Self> {
        let sq_entries = u32::try_from(config.sq_entries).unwrap_or(u32::MAX).clamp(8, 32_768);
        let io = build(sq_entries, cq_entries)?;
        let absolute = io.params().is_feature_min_timeout();
        let mut ring = Self { enter_fd: io.as_raw_fd(), io, registered: false, absolute, files: 0 };
        if config.registered_ring_fd {
            // At most 16 per thread; without a place the plain descriptor serves.
            ring.register_ring_fd();
        }
        if config.registered_files {
            let limit = crate::sys::nofile_limit().unwrap_or(1024);
            let wanted = (config.sockets_max as u64).min(limit).min(FILES_MAX);
            ring.files = u32::try_from(wanted).unwrap_or(u32::MAX);
            ring.io.submitter().register_files_sparse(ring.files)?;
        }
        Ok(ring)
    }

    /// Puts `fd` at `index` of the registered file table. `false` if the table is too short.
    pub(super) fn register_file(&self, index: u32, fd: RawFd) -> io::Result<bool> {
        if index >= self.files {
            return Ok(false);
        }
        self.io.submitter().register_files_update(index, &[fd])?;
        Ok(true)
    }

    /// Registers a provided-buffer ring of `entries` at `address`.
    ///
    /// # Safety
    /// The memory must stay valid until the group is unregistered or the ring is gone.
    pub(super) unsafe fn register_buffers(
        &self,
        address: u64,
        entries: u16,
        group: u16,
    ) -> io::Result<()> {
        // SAFETY: passed on to the caller.
        unsafe { self.io.submitter().register_buf_ring_with_flags(address, entries, group, 0) }
    }

    /// Queues an entry. `false` if the submission queue is full.
    ///
    /// # Safety
    /// The memory behind the entry must stay valid until its last completion.
    #[inline]
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: passed on to the caller.
        unsafe { self.io.submission().push(entry).is_ok() }
    }

    /// Entries queued and not yet submitted.
    #[inline]
    pub(super) fn queued(&mut self) -> u32 {
        self.io.submission().len() as u32
    }

    /// Tells whether the completion queue has overflowed into the kernel's list.
    #[inline]
    pub(super) fn overflowed(&mut self) -> bool {
        self.io.submission().cq_overflow()
    }

    /// The completions that are there.
    #[inline]
    pub(super) fn completions(&mut self) -> cqueue::CompletionQueue<'_> {
        self.io.completion()
    }

    /// Submits the queued entries and collects completions without waiting.
    pub(super) fn poll(&mut self) -> io::Result<Entered> {
        self.enter(0, None)
    }

    /// Submits the queued entries and waits for a completion until `deadline`; `None` waits for
    /// ever.
    pub(super) fn wait(&mut self, deadline: Option<Nanos>) -> io::Result<Entered> {
        self.enter(1, deadline)
    }

    /// Submits the queued entries and waits for `completions` completions until `deadline`.
    pub(super) fn wait_for(&mut self, completions: u32, deadline: Nanos) -> io::Result<Entered> {
        self.enter(completions, Some(deadline))
    }

    fn enter(&mut self, min_complete: u32, deadline: Option<Nanos>) -> io::Result<Entered> {
        let mut flags = ENTER_GETEVENTS;
        if self.registered {
            flags |= ENTER_REGISTERED_RING;
        }
        let timeout = deadline.map(|deadline| {
            if self.absolute {
                flags |= ENTER_ABS_TIMER;
                Timespec::from_nanos(deadline)
            } else {
                Timespec::from_nanos(deadline.saturating_sub(monotonic_now()))
            }
        });
        let queued = self.queued();
        // SAFETY: the descriptor is this ring's, and `push` made its callers vouch for the entries.
        let entered =
            unsafe { kernel::io_uring_enter(self.enter_fd, queued, min_complete, flags, timeout) };
        match entered {
            Ok(_) | Err(libc::ETIME) => Ok(Entered::Done),
            Err(libc::EINTR) => Ok(Entered::Interrupted),
            Err(libc::EBUSY | libc::EAGAIN) => Ok(Entered::Busy),
            Err(libc::EBADR) => Ok(Entered::Dropped),
            Err(errno) => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    fn register_ring_fd(&mut self) {
        let fd = self.io.as_raw_fd();
        let mut update = RingFd { offset: u32::MAX, reserved: 0, data: fd as u64 };
        // SAFETY: the kernel reads and writes one live structure of this layout.
        let done = unsafe {
            libc::syscall(libc::SYS_io_uring_register, fd, REGISTER_RING_FDS, &raw mut update, 1)
        };
        if done == 1 {
            self.enter_fd = update.offset as i32;
            self.registered = true;
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.registered {
            // The kernel keeps the registration with the thread, not with the descriptor.
            let update = RingFd { offset: self.enter_fd as u32, reserved: 0, data: 0 };
            // SAFETY: the kernel reads one live structure of this layout.
            unsafe {
                libc::syscall(
                    libc::SYS_io_uring_register,
                    self.io.as_raw_fd(),
                    UNREGISTER_RING_FDS,
                    &raw const update,
                    1,
                )
            };
        }
    }
}

/// `struct io_uring_rsrc_update`.
#[repr(C)]
struct RingFd {
    offset: u32,
    reserved: u32,
    data: u64,
}

/// Creates a ring with the flags that suit one thread per ring: completions are worked off only
/// when that thread enters, never by interrupting it.
pub(crate) fn build(sq_entries: u32, cq_entries: u32) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_submit_all()
        .setup_clamp()
        .dontfork()
        .setup_cqsize(cq_entries.max(sq_entries));
    let mut direct = builder.clone();
    match direct.setup_no_sqarray().build(sq_entries) {
        // Before 6.6 the index array cannot be left out.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => builder.build(sq_entries),
        built => built,
    }
}

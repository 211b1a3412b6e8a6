//! Waking a driver from another thread.
//!
//! A wake costs the waker one atomic swap; only when the worker has said that it is about to sleep
//! does it also cost a write to the eventfd that the driver sleeps on.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const RUNNING: u32 = 0;
const PARKED: u32 = 1;
const NOTIFIED: u32 = 2;

/// Wakes a driver that waits in [`Driver::turn`](crate::Driver::turn), from any thread.
#[derive(Clone, Debug)]
pub struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: AtomicU32,
    /// The eventfd; absent under the `sim` driver, which never sleeps.
    event: Option<OwnedFd>,
}

impl Waker {
    /// Ends the current or the next wait. Cheap when the worker is running.
    pub fn wake(&self) {
        if self.shared.state.swap(NOTIFIED, Ordering::AcqRel) == PARKED
            && let Some(event) = &self.shared.event
        {
            let one = 1_u64;
            // SAFETY: writes eight bytes from a live integer to a descriptor we own. It can only
            // fail if the counter is full, and then the sleeper is awake anyway.
            unsafe { libc::write(event.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
        }
    }

    /// A waker with an eventfd. `flags` as for `eventfd(2)`.
    pub(crate) fn new(flags: i32) -> io::Result<Self> {
        // SAFETY: plain system call without pointers.
        let fd = unsafe { libc::eventfd(0, flags | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just returned to us and has no other owner.
        let event = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self::with(Some(event)))
    }

    /// A waker that only sets a flag.
    pub(crate) fn flag() -> Self {
        Self::with(None)
    }

    fn with(event: Option<OwnedFd>) -> Self {
        Self { shared: Arc::new(Shared { state: AtomicU32::new(RUNNING), event }) }
    }

    /// The descriptor to sleep on.
    pub(crate) fn fd(&self) -> RawFd {
        self.shared.event.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Announces a wait. Returns `false` if a wake has come meanwhile, which this call then
    /// consumes.
    pub(crate) fn park(&self) -> bool {
        let parked = self.shared.state.compare_exchange(
            RUNNING,
            PARKED,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if parked.is_err() {
            self.shared.state.store(RUNNING, Ordering::Release);
        }
        parked.is_ok()
    }

    /// Ends a wait. Returns `true` if a wake came during it.
    pub(crate) fn unpark(&self) -> bool {
        self.shared.state.swap(RUNNING, Ordering::AcqRel) == NOTIFIED
    }
}

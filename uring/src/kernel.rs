//! System calls of the packet path, thinly wrapped; each asks the fault shim first.
//!
//! Errors are plain errno values: the callers branch on them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use crate::Nanos;
use crate::addr::{self, NAME_BYTES};
use crate::fault::{self, Site};

/// The errno of the last failed call on this thread.
pub(crate) fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// Sleeps until a monotonic time; a signal or a time in the past ends the sleep early.
pub(crate) fn sleep_until(until: Nanos) {
    let time = libc::timespec {
        tv_sec: (until / 1_000_000_000) as libc::time_t,
        tv_nsec: (until % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: passes a live structure; no remaining time is asked for.
    unsafe {
        libc::clock_nanosleep(
            libc::CLOCK_MONOTONIC,
            libc::TIMER_ABSTIME,
            &raw const time,
            std::ptr::null_mut(),
        )
    };
}

/// `sendmsg` without waiting.
///
/// # Safety
/// `message` and all that it points to must be valid to read.
pub(crate) unsafe fn sendmsg(fd: RawFd, message: *const libc::msghdr) -> Result<usize, i32> {
    if let Some(errno) = fault::take(Site::Resend) {
        return Err(errno);
    }
    // SAFETY: the caller vouches for the message.
    let sent = unsafe { libc::sendmsg(fd, message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| errno())
}

/// `sendmmsg` without waiting.
///
/// # Safety
/// The `count` messages and all that they point to must be valid, the headers also to write.
pub(crate) unsafe fn sendmmsg(
    fd: RawFd,
    messages: *mut libc::mmsghdr,
    count: u32,
) -> Result<usize, i32> {
    // SAFETY: the caller vouches for the messages. The flag type differs between C libraries.
    let sent = unsafe {
        libc::sendmmsg(fd, messages, count, (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _)
    };
    usize::try_from(sent).map_err(|_| errno())
}

/// `recvmmsg` without waiting.
///
/// # Safety
/// The `count` messages and all that they point to must be valid to write.
pub(crate) unsafe fn recvmmsg(
    fd: RawFd,
    messages: *mut libc::mmsghdr,
    count: u32,
) -> Result<usize, i32> {
    if let Some(errno) = fault::take(Site::Receive) {
        return Err(errno);
    }
    // SAFETY: the caller vouches for the messages; no timeout is given.
    let received = unsafe {
        libc::recvmmsg(fd, messages, count, libc::MSG_DONTWAIT as _, std::ptr::null_mut())
    };
    usize::try_from(received).map_err(|_| errno())
}

/// `recvmsg` without waiting, with further `flags`.
///
/// # Safety
/// `message` and all that it points to must be valid to write.
pub(crate) unsafe fn recvmsg(
    fd: RawFd,
    message: *mut libc::msghdr,
    flags: i32,
) -> Result<usize, i32> {
    // SAFETY: the caller vouches for the message.
    let received = unsafe { libc::recvmsg(fd, message, flags | libc::MSG_DONTWAIT) };
    usize::try_from(received).map_err(|_| errno())
}

/// The argument of an extended `io_uring_enter`.
#[repr(C)]
pub(crate) struct EnterArgument {
    pub(crate) sigmask: u64,
    pub(crate) sigmask_bytes: u32,
    pub(crate) min_wait_us: u32,
    pub(crate) timeout: u64,
}

/// The kernel's 64-bit timespec, on every architecture.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timespec {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: i64,
}

impl Timespec {
    pub(crate) fn from_nanos(nanos: u64) -> Self {
        Self {
            seconds: (nanos / 1_000_000_000) as i64,
            nanoseconds: (nanos % 1_000_000_000) as i64,
        }
    }
}

/// `io_uring_enter` with an optional timeout. Called directly because the ring crate can neither
/// carry an absolute timeout nor keep a registered ring descriptor beside an owned ring.
///
/// # Safety
/// `fd` must be an io_uring (or a registered index, with the flag that says so), and every entry
/// submitted must stay valid until it completes.
pub(crate) unsafe fn io_uring_enter(
    fd: i32,
    to_submit: u32,
    min_complete: u32,
    flags: u32,
    timeout: Option<Timespec>,
) -> Result<u32, i32> {
    if let Some(errno) = fault::take(Site::Enter) {
        return Err(errno);
    }
    const EXT_ARG: u32 = 1 << 3;
    let mut argument = EnterArgument { sigmask: 0, sigmask_bytes: 0, min_wait_us: 0, timeout: 0 };
    let (pointer, bytes, flags) = match &timeout {
        Some(timeout) => {
            argument.timeout = std::ptr::from_ref(timeout) as u64;
            (&raw const argument, size_of::<EnterArgument>(), flags | EXT_ARG)
        }
        None => (std::ptr::null(), 0, flags),
    };
    // SAFETY: the caller vouches for the ring and its entries; the argument and the timeout it
    // points to live on this stack frame until the call returns.
    let entered = unsafe {
        libc::syscall(libc::SYS_io_uring_enter, fd, to_submit, min_complete, flags, pointer, bytes)
    };
    u32::try_from(entered).map_err(|_| errno())
}

/// `epoll_pwait2`, or `epoll_wait` rounded up to a millisecond where the kernel or a seccomp filter
/// refuses it. `None` waits for ever.
pub(crate) fn epoll_wait(
    fd: RawFd,
    events: &mut [libc::epoll_event],
    timeout_ns: Option<u64>,
) -> Result<usize, i32> {
    if let Some(errno) = fault::take(Site::Enter) {
        return Err(errno);
    }
    let timeout = timeout_ns.map(Timespec::from_nanos);
    let timeout_ptr = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let capacity = i32::try_from(events.len()).unwrap_or(i32::MAX);
    // SAFETY: the kernel writes at most `capacity` events to the slice and reads a live timespec.
    let ready = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            fd,
            events.as_mut_ptr(),
            capacity,
            timeout_ptr,
            std::ptr::null::<libc::sigset_t>(),
            0_usize,
        )
    };
    if let Ok(ready) = usize::try_from(ready) {
        return Ok(ready);
    }
    match errno() {
        libc::ENOSYS | libc::EPERM => {}
        other => return Err(other),
    }
    let millis =
        timeout_ns.map_or(-1, |ns| i32::try_from(ns.div_ceil(1_000_000)).unwrap_or(i32::MAX));
    // SAFETY: as above.
    let ready = unsafe { libc::epoll_wait(fd, events.as_mut_ptr(), capacity, millis) };
    usize::try_from(ready).map_err(|_| errno())
}

/// Begins to connect a socket that does not block: `Err(EINPROGRESS)` is the usual answer.
pub(crate) fn connect(fd: RawFd, remote: &SocketAddr) -> Result<(), i32> {
    if let Some(errno) = fault::take(Site::Connect) {
        return Err(errno);
    }
    let mut name = [0; NAME_BYTES];
    let bytes = addr::encode(remote, &mut name);
    // SAFETY: passes a live buffer that holds an address of the stated length.
    let done = unsafe { libc::connect(fd, name.as_ptr().cast(), bytes) };
    if done == 0 { Ok(()) } else { Err(errno()) }
}

/// Accepts from a listener that does not block; the new socket does not block either.
pub(crate) fn accept(fd: RawFd) -> Result<OwnedFd, i32> {
    if let Some(errno) = fault::take(Site::Accept) {
        return Err(errno);
    }
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: asks for no address.
    let fd = unsafe { libc::accept4(fd, std::ptr::null_mut(), std::ptr::null_mut(), flags) };
    if fd < 0 {
        return Err(errno());
    }
    // SAFETY: the descriptor was just returned to us and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `sendmsg` on a stream, without waiting.
///
/// # Safety
/// `message` and all that it points to must be valid to read.
pub(crate) unsafe fn stream_send(fd: RawFd, message: *const libc::msghdr) -> Result<usize, i32> {
    if let Some(errno) = fault::take(Site::StreamSend) {
        return Err(errno);
    }
    // SAFETY: the caller vouches for the message.
    let sent = unsafe { libc::sendmsg(fd, message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| errno())
}

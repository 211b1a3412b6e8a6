//! Treatment of a train once the kernel has answered: it is counted, tried again, or failed.
//!
//! Both kernel drivers come here with the result of a send. Second tries are plain system calls:
//! they are rare, and a direct call leaves no room for another datagram's error to slip in between.

use std::os::fd::RawFd;

use crate::tx::TxArena;
use crate::{DriverCounters, SendFailure};

/// Most times that one datagram is tried again, when each try meets the pending error of another
/// one.
const RESENDS: usize = 3;

/// The work that is left for a train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Nothing; the train is finished.
    Done,
    /// The remaining datagrams failed with this errno and must be reported.
    Failed(i32),
}

/// Settles train `id`, for which the kernel returned `result` (bytes, or a negated errno).
pub(crate) fn settle(
    arena: &mut TxArena,
    counters: &mut DriverCounters,
    fd: RawFd,
    id: u32,
    result: i32,
) -> Settled {
    if result >= 0 {
        let (count, _) = arena.shape(id);
        counters.trains_sent += 1;
        counters.datagrams_sent += u64::from(count);
        counters.bytes_sent += result as u64;
        arena.finish(id);
        return Settled::Done;
    }
    refused(arena, counters, fd, id, -result)
}

#[cold]
fn refused(
    arena: &mut TxArena,
    counters: &mut DriverCounters,
    fd: RawFd,
    id: u32,
    errno: i32,
) -> Settled {
    let (count, length) = arena.shape(id);
    let (socket, current) = arena.socket_of(id);
    if current && count > 1 && matches!(errno, libc::EIO | libc::EINVAL | libc::EMSGSIZE) {
        // EIO: the route has no checksum offload, so no train will ever pass. Otherwise: segments
        // of this length do not fit the path unfragmented, shorter ones may.
        arena.limit_segments(socket, if errno == libc::EIO { 0 } else { length });
        counters.gso_fallbacks += 1;
        return send_singly(arena, counters, fd, id);
    }
    let mut errno = errno;
    if current && is_pending_error(errno) {
        for _ in 0..RESENDS {
            // SAFETY: the header and the memory behind it belong to a train that the kernel has
            // returned, and stay valid during the call.
            match unsafe { crate::kernel::sendmsg(fd, arena.message(id)) } {
                Ok(sent) => {
                    return settle(
                        arena,
                        counters,
                        fd,
                        id,
                        i32::try_from(sent).unwrap_or(i32::MAX),
                    );
                }
                Err(again) => {
                    // Only a refusal always belongs to another datagram; the other errors may be
                    // our own by now.
                    let other = again == libc::ECONNREFUSED || errno == libc::ECONNREFUSED;
                    errno = again;
                    if !other {
                        break;
                    }
                }
            }
        }
    }
    count_failed(counters, errno, count);
    arena.returned();
    Settled::Failed(errno)
}

/// Sends each datagram of a train by itself. Those that fail stay in the train.
fn send_singly(arena: &mut TxArena, counters: &mut DriverCounters, fd: RawFd, id: u32) -> Settled {
    let (count, length) = arena.shape(id);
    arena.returned();
    let mut failed = 0;
    let mut last = 0;
    for _ in 0..count {
        let mut outcome = Err(0);
        for _ in 0..RESENDS {
            // SAFETY: as in `refused`.
            outcome = unsafe { crate::kernel::sendmsg(fd, arena.message_of_first(id)) };
            match outcome {
                Err(errno) if is_pending_error(errno) && errno != libc::EMSGSIZE => {}
                _ => break,
            }
        }
        match outcome {
            Ok(_) => {
                counters.trains_sent += 1;
                counters.datagrams_sent += 1;
                counters.bytes_sent += u64::from(length);
                if !arena.free_first(id) {
                    return Settled::Done;
                }
            }
            Err(errno) => {
                failed += 1;
                last = errno;
                arena.rotate(id);
            }
        }
    }
    count_failed(counters, last, failed);
    Settled::Failed(last)
}

/// Tells whether `errno` may be an ICMP error that an earlier datagram of the socket has met.
pub(crate) fn is_pending_error(errno: i32) -> bool {
    matches!(
        errno,
        libc::ECONNREFUSED
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::ENOPROTOOPT
            | libc::EOPNOTSUPP
            | libc::EPROTO
            | libc::EACCES
            | libc::EMSGSIZE
    )
}

/// Maps an errno to its public name.
pub(crate) fn failure(errno: i32) -> SendFailure {
    match errno {
        libc::ENOBUFS | libc::EAGAIN | libc::ENOMEM => SendFailure::NoBuffer,
        libc::EMSGSIZE => SendFailure::TooLarge,
        libc::ENETUNREACH
        | libc::EHOSTUNREACH
        | libc::ENETDOWN
        | libc::EHOSTDOWN
        | libc::EADDRNOTAVAIL => SendFailure::NoRoute,
        libc::EPERM | libc::EACCES => SendFailure::NotPermitted,
        libc::ECONNREFUSED => SendFailure::Refused,
        other => SendFailure::Other(other),
    }
}

/// Counts datagrams that were not sent.
pub(crate) fn count_failed(counters: &mut DriverCounters, errno: i32, datagrams: u32) {
    if failure(errno) == SendFailure::NoBuffer {
        counters.send_no_buffer += u64::from(datagrams);
    } else {
        counters.send_errors += u64::from(datagrams);
    }
}

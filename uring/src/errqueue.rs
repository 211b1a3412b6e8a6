//! ICMP errors, read from a socket's error queue (`IP_RECVERR`, `IPV6_RECVERR`).

use std::net::SocketAddr;
use std::os::fd::RawFd;

use crate::IcmpCause;
use crate::addr::{self, NAME_BYTES};
use crate::cmsg::Messages;
use crate::kernel;

/// The kernel quotes no more of a datagram than fits the ICMP message (576 bytes).
const QUOTE_BYTES: usize = 2048;
const CONTROL_BYTES: usize = 256;

/// Reusable memory for reading error queues.
#[derive(Debug)]
pub(crate) struct ErrorReader {
    name: Box<[u8; NAME_BYTES]>,
    control: Box<[u8; CONTROL_BYTES]>,
    quote: Box<[u8; QUOTE_BYTES]>,
}

/// One ICMP error, with the destination and payload of the datagram that met it.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) destination: SocketAddr,
    pub(crate) cause: IcmpCause,
    pub(crate) quoted: &'a [u8],
}

impl ErrorReader {
    pub(crate) fn new() -> Self {
        Self {
            name: Box::new([0; NAME_BYTES]),
            control: Box::new([0; CONTROL_BYTES]),
            quote: Box::new([0; QUOTE_BYTES]),
        }
    }

    /// Takes the next report of an ICMP error off the queue of `fd`; `None` when it is empty.
    /// Reports of our own stack are skipped: the send that met them has already failed.
    pub(crate) fn next(&mut self, fd: RawFd, fallback: Option<SocketAddr>) -> Option<Report<'_>> {
        loop {
            let (name_bytes, control_bytes, quote_bytes) = self.read(fd)?;
            let control = &self.control[..control_bytes.min(CONTROL_BYTES)];
            let Some(cause) = Messages(control).find_map(|message| {
                let received_error = matches!(
                    (message.level, message.kind),
                    (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR)
                );
                if received_error { cause_of(message.data) } else { None }
            }) else {
                continue;
            };
            // The name is where the datagram was going; a connected socket may leave it out.
            let name = &self.name[..name_bytes.min(NAME_BYTES)];
            let Some(destination) = addr::decode(name).or(fallback) else { continue };
            let quoted = &self.quote[..quote_bytes.min(QUOTE_BYTES)];
            return Some(Report { destination, cause, quoted });
        }
    }

    fn read(&mut self, fd: RawFd) -> Option<(usize, usize, usize)> {
        let mut iov =
            libc::iovec { iov_base: self.quote.as_mut_ptr().cast(), iov_len: QUOTE_BYTES };
        // SAFETY: all-zero is a valid msghdr.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_name = self.name.as_mut_ptr().cast();
        header.msg_namelen = NAME_BYTES as u32;
        header.msg_iov = &raw mut iov;
        header.msg_iovlen = 1;
        header.msg_control = self.control.as_mut_ptr().cast();
        header.msg_controllen = CONTROL_BYTES as _;
        // SAFETY: the header points to live buffers of the lengths it states.
        let quoted = unsafe { kernel::recvmsg(fd, &raw mut header, libc::MSG_ERRQUEUE) }.ok()?;
        Some((header.msg_namelen as usize, header.msg_controllen as usize, quoted))
    }
}

/// Reads `struct sock_extended_err`: errno, then origin, type and code, a byte each.
fn cause_of(data: &[u8]) -> Option<IcmpCause> {
    let &[origin, kind, code] = data.get(4..)?.first_chunk()?;
    Some(match (origin, kind, code) {
        // RFC 792 and RFC 1812 5.2.7.1: destination unreachable, by code.
        (libc::SO_EE_ORIGIN_ICMP, 3, 3) => IcmpCause::Port,
        (libc::SO_EE_ORIGIN_ICMP, 3, 4) => IcmpCause::TooBig,
        (libc::SO_EE_ORIGIN_ICMP, 3, 9 | 10 | 13) => IcmpCause::Prohibited,
        (libc::SO_EE_ORIGIN_ICMP, 3, _) => IcmpCause::Host,
        // RFC 4443 3.1 and 3.2.
        (libc::SO_EE_ORIGIN_ICMP6, 1, 4) => IcmpCause::Port,
        (libc::SO_EE_ORIGIN_ICMP6, 1, 1 | 5 | 6) => IcmpCause::Prohibited,
        (libc::SO_EE_ORIGIN_ICMP6, 1, _) => IcmpCause::Host,
        (libc::SO_EE_ORIGIN_ICMP6, 2, _) => IcmpCause::TooBig,
        (libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6, _, _) => IcmpCause::Other,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_follow_type_and_code() {
        let report = |origin, kind, code| cause_of(&[111, 0, 0, 0, origin, kind, code, 0]);
        assert_eq!(report(2, 3, 3), Some(IcmpCause::Port));
        assert_eq!(report(2, 3, 1), Some(IcmpCause::Host));
        assert_eq!(report(2, 3, 13), Some(IcmpCause::Prohibited));
        assert_eq!(report(2, 3, 4), Some(IcmpCause::TooBig));
        assert_eq!(report(2, 11, 0), Some(IcmpCause::Other));
        assert_eq!(report(3, 1, 4), Some(IcmpCause::Port));
        assert_eq!(report(3, 2, 0), Some(IcmpCause::TooBig));
        assert_eq!(report(1, 0, 0), None, "a local error is not an ICMP error");
        assert_eq!(cause_of(&[1, 2]), None);
    }
}

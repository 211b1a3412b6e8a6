//! The socket table of the `uring` driver.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::types::{Fd, Fixed};
use io_uring::{opcode, squeue};

use super::oneshot::Header;
use crate::RxClass;

/// Identity of a completion's operation: kind (8 bits), generation (24), index (32).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) kind: u8,
    pub(super) generation: u32,
    pub(super) index: u32,
}

pub(super) const SEND: u8 = 1;
pub(super) const RECEIVE: u8 = 2;
pub(super) const WAKE: u8 = 3;
pub(super) const CANCEL: u8 = 4;

/// Number of generations, after which they start again at 0.
pub(super) const GENERATIONS: u32 = 1 << 24;

impl Tag {
    #[inline]
    pub(super) fn pack(self) -> u64 {
        u64::from(self.kind) << 56 | u64::from(self.generation) << 32 | u64::from(self.index)
    }

    #[inline]
    pub(super) fn unpack(word: u64) -> Self {
        Self {
            kind: (word >> 56) as u8,
            generation: (word >> 32) as u32 & (GENERATIONS - 1),
            index: word as u32,
        }
    }
}

/// One place in the socket table.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub(super) generation: u32,
    pub(super) socket: Option<Socket>,
}

/// An open socket, or one that is closing while the kernel still holds its receive.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) fd: OwnedFd,
    pub(super) local: SocketAddr,
    pub(super) remote: Option<SocketAddr>,
    pub(super) class: RxClass,
    /// The socket is in the registered file table.
    pub(super) registered: bool,
    /// A receive is in the kernel.
    pub(super) armed: bool,
    /// The socket waits in the list of receives to arm.
    pub(super) arm_queued: bool,
    /// An event that reads the error queue is pending.
    pub(super) errors_pending: bool,
    pub(super) closing: bool,
    /// A cancellation of the receive is in the kernel.
    pub(super) cancelling: bool,
    /// The cumulative drop count last seen.
    pub(super) drops: u32,
    /// Header in which a receive that is not multishot leaves name and control messages.
    pub(super) header: Option<Box<Header>>,
}

impl Socket {
    /// A send of one datagram.
    #[inline]
    pub(super) fn send(&self, index: u32, plain: crate::tx::Plain) -> squeue::Entry {
        let name: *const libc::sockaddr = plain.name.cast();
        let bytes = plain.name_bytes;
        if self.registered {
            opcode::Send::new(Fixed(index), plain.data, plain.bytes)
                .dest_addr(name)
                .dest_addr_len(bytes)
                .build()
        } else {
            opcode::Send::new(Fd(self.fd.as_raw_fd()), plain.data, plain.bytes)
                .dest_addr(name)
                .dest_addr_len(bytes)
                .build()
        }
    }

    /// A send of a train.
    pub(super) fn send_message(&self, index: u32, message: *const libc::msghdr) -> squeue::Entry {
        if self.registered {
            opcode::SendMsg::new(Fixed(index), message).build()
        } else {
            opcode::SendMsg::new(Fd(self.fd.as_raw_fd()), message).build()
        }
    }

    /// A multishot receive into buffer group `group`, with the field lengths of `header`.
    pub(super) fn receive(
        &self,
        index: u32,
        header: *const libc::msghdr,
        group: u16,
    ) -> squeue::Entry {
        if self.registered {
            opcode::RecvMsgMulti::new(Fixed(index), header, group).build()
        } else {
            opcode::RecvMsgMulti::new(Fd(self.fd.as_raw_fd()), header, group).build()
        }
    }

    /// A receive of one datagram into buffer group `group`.
    pub(super) fn receive_once(
        &self,
        index: u32,
        header: *mut libc::msghdr,
        group: u16,
    ) -> squeue::Entry {
        let entry = if self.registered {
            opcode::RecvMsg::new(Fixed(index), header).buf_group(group).build()
        } else {
            opcode::RecvMsg::new(Fd(self.fd.as_raw_fd()), header).buf_group(group).build()
        };
        entry.flags(squeue::Flags::BUFFER_SELECT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_survive_packing() {
        let tag = Tag { kind: RECEIVE, generation: GENERATIONS - 1, index: u32::MAX };
        assert_eq!(Tag::unpack(tag.pack()), tag);
    }
}

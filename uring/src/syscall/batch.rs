//! Message arrays for `recvmmsg` and `sendmmsg`, with the memory they point to.

use std::io;
use std::os::fd::RawFd;

use crate::addr::NAME_BYTES;
use crate::cmsg::RECEIVE_BYTES;
use crate::kernel;
use crate::region::Region;

/// Datagrams (or GRO trains) per `recvmmsg`, and trains per `sendmmsg`.
pub(super) const BATCH: usize = 32;

/// Buffers that one received message needs besides its payload.
#[repr(C)]
struct Meta {
    iov: libc::iovec,
    name: [u8; NAME_BYTES],
    control: [u8; RECEIVE_BYTES],
}

/// One receive batch: filled by [`receive`](Self::receive), read by [`message`](Self::message).
#[derive(Debug)]
pub(super) struct Inbox {
    headers: Region,
    metas: Region,
    payloads: Region,
    payload_bytes: usize,
    filled: usize,
}

/// One received message.
pub(super) struct Message<'a> {
    pub(super) name: &'a [u8],
    pub(super) control: &'a [u8],
    pub(super) flags: i32,
    pub(super) payload: &'a [u8],
}

impl Inbox {
    pub(super) fn new(payload_bytes: usize) -> io::Result<Self> {
        let mut inbox = Self {
            headers: Region::new(BATCH * size_of::<libc::mmsghdr>())?,
            metas: Region::new(BATCH * size_of::<Meta>())?,
            payloads: Region::new(BATCH * payload_bytes)?,
            payload_bytes,
            filled: BATCH,
        };
        inbox.reset();
        Ok(inbox)
    }

    /// Receives a batch in place of the last one and returns its size.
    pub(super) fn receive(&mut self, fd: RawFd) -> Result<usize, i32> {
        self.reset();
        // SAFETY: `reset` has pointed every header at live memory of the stated lengths, and no
        // reference into it exists while `self` is borrowed exclusively.
        self.filled = unsafe { kernel::recvmmsg(fd, self.header(0), BATCH as u32) }?;
        Ok(self.filled)
    }

    /// Message `at` of the last batch.
    #[inline]
    #[allow(clippy::unnecessary_cast, reason = "the field's type differs between C libraries")]
    pub(super) fn message(&self, at: usize) -> Message<'_> {
        assert!(at < self.filled, "message past the batch");
        // SAFETY: in bounds and initialised by `reset`; the kernel writes only during `receive`.
        let (header, meta) = unsafe { (&*self.header(at), &*self.meta(at)) };
        let name = (header.msg_hdr.msg_namelen as usize).min(NAME_BYTES);
        let control = (header.msg_hdr.msg_controllen as usize).min(RECEIVE_BYTES);
        let bytes = (header.msg_len as usize).min(self.payload_bytes);
        // SAFETY: the kernel writes only during `receive`, which needs `&mut self`.
        let payload = unsafe { self.payloads.slice(at * self.payload_bytes, bytes) };
        Message {
            name: &meta.name[..name],
            control: &meta.control[..control],
            flags: header.msg_hdr.msg_flags,
            payload,
        }
    }

    /// Restores the fields that the kernel has overwritten.
    fn reset(&mut self) {
        for at in 0..self.filled {
            let payload = self.payloads.at(at * self.payload_bytes);
            let (header, meta) = (self.header(at), self.meta(at));
            // SAFETY: both are in bounds, aligned and zero-initialised, and nothing else refers to
            // them; all-zero is a valid mmsghdr.
            unsafe {
                (*meta).iov = libc::iovec { iov_base: payload.cast(), iov_len: self.payload_bytes };
                let mut message: libc::mmsghdr = std::mem::zeroed();
                message.msg_hdr.msg_name = (&raw mut (*meta).name).cast();
                message.msg_hdr.msg_namelen = NAME_BYTES as u32;
                message.msg_hdr.msg_iov = &raw mut (*meta).iov;
                message.msg_hdr.msg_iovlen = 1;
                message.msg_hdr.msg_control = (&raw mut (*meta).control).cast();
                message.msg_hdr.msg_controllen = RECEIVE_BYTES as _;
                header.write(message);
            }
        }
        self.filled = 0;
    }

    fn header(&self, at: usize) -> *mut libc::mmsghdr {
        self.headers.at(at * size_of::<libc::mmsghdr>()).cast()
    }

    fn meta(&self, at: usize) -> *mut Meta {
        self.metas.at(at * size_of::<Meta>()).cast()
    }
}

/// One send batch.
#[derive(Debug)]
pub(super) struct Outbox {
    headers: Region,
    trains: [u32; BATCH],
    filled: usize,
}

impl Outbox {
    pub(super) fn new() -> io::Result<Self> {
        let headers = Region::new(BATCH * size_of::<libc::mmsghdr>())?;
        Ok(Self { headers, trains: [0; BATCH], filled: 0 })
    }

    pub(super) fn is_full(&self) -> bool {
        self.filled == BATCH
    }

    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }

    /// The trains of the batch, in order.
    pub(super) fn trains(&self) -> [u32; BATCH] {
        self.trains
    }

    pub(super) fn len(&self) -> usize {
        self.filled
    }

    /// Appends a train with its message header.
    ///
    /// # Safety
    /// `message` must be readable, and the memory behind it must stay valid until
    /// [`clear`](Self::clear).
    pub(super) unsafe fn push(&mut self, train: u32, message: *const libc::msghdr) {
        let header: *mut libc::mmsghdr =
            self.headers.at(self.filled * size_of::<libc::mmsghdr>()).cast();
        // SAFETY: `at` checks the bound; the caller vouches for the message.
        unsafe { header.write(libc::mmsghdr { msg_hdr: message.read(), msg_len: 0 }) };
        self.trains[self.filled] = train;
        self.filled += 1;
    }

    /// Sends the batch from message `from` on and returns the number of messages taken.
    pub(super) fn send(&mut self, fd: RawFd, from: usize) -> Result<usize, i32> {
        assert!(from < self.filled, "empty send batch");
        let header = self.headers.at(from * size_of::<libc::mmsghdr>()).cast();
        // SAFETY: `push` made its caller vouch for all messages of the batch.
        unsafe { kernel::sendmmsg(fd, header, (self.filled - from) as u32) }
    }

    /// Bytes of message `at` that the kernel took.
    pub(super) fn sent_bytes(&self, at: usize) -> i32 {
        assert!(at < self.filled, "message past the batch");
        let header: *const libc::mmsghdr = self.headers.at(at * size_of::<libc::mmsghdr>()).cast();
        // SAFETY: in bounds and initialised by `push`.
        i32::try_from(unsafe { (*header).msg_len }).unwrap_or(i32::MAX)
    }
}

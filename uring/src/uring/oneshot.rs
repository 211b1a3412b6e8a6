//! Header of a receive that is not multishot, where the kernel leaves name and control messages.
//! Only the ablation of multishot uses it: a multishot receive has them in front of the payload.

use crate::addr::NAME_BYTES;
use crate::cmsg::RECEIVE_BYTES;

/// A message header and all that it points to except the payload. Lives in a box and is reached
/// only through raw pointers while the kernel has it.
pub(super) struct Header {
    message: libc::msghdr,
    name: [u8; NAME_BYTES],
    control: [u8; RECEIVE_BYTES],
    iov: libc::iovec,
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Header").finish_non_exhaustive()
    }
}

impl Header {
    pub(super) fn new() -> Box<Self> {
        // SAFETY: all-zero is valid for every field.
        Box::new(unsafe { std::mem::zeroed() })
    }

    /// Prepares a receive of up to `bytes` and returns the header for the kernel.
    pub(super) fn arm(&mut self, bytes: usize) -> *mut libc::msghdr {
        self.iov = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: bytes };
        self.message.msg_name = self.name.as_mut_ptr().cast();
        self.message.msg_namelen = NAME_BYTES as u32;
        self.message.msg_iov = &raw mut self.iov;
        self.message.msg_iovlen = 1;
        self.message.msg_control = self.control.as_mut_ptr().cast();
        self.message.msg_controllen = RECEIVE_BYTES as _;
        self.message.msg_flags = 0;
        &raw mut self.message
    }

    /// Name, control messages and flags of the completed receive.
    #[allow(clippy::unnecessary_cast, reason = "the field's type differs between C libraries")]
    pub(super) fn parts(&self) -> (&[u8], &[u8], i32) {
        let name = (self.message.msg_namelen as usize).min(NAME_BYTES);
        let control = (self.message.msg_controllen as usize).min(RECEIVE_BYTES);
        (&self.name[..name], &self.control[..control], self.message.msg_flags)
    }
}

//! Memory with a fixed address that the kernel may read or write while the program runs on.
//!
//! Anonymous mappings rather than boxes: pages are touched only when used, the address never moves,
//! and a mapping can be leaked on purpose when an operation outlives its driver.

use std::io;
use std::ptr::{self, NonNull};
use std::slice;

/// An anonymous private mapping.
#[derive(Debug)]
pub(crate) struct Region {
    base: NonNull<u8>,
    bytes: usize,
}

impl Region {
    /// Maps `bytes` zeroed bytes (at least one page).
    pub(crate) fn new(bytes: usize) -> io::Result<Self> {
        let bytes = bytes.max(4096);
        // SAFETY: an anonymous mapping at an address of the kernel's choice affects no other
        // memory.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        match NonNull::new(base.cast()) {
            Some(base) => Ok(Self { base, bytes }),
            None => Err(io::Error::from_raw_os_error(libc::ENOMEM)),
        }
    }

    /// The address of byte `offset`, which must lie inside.
    pub(crate) fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset < self.bytes, "offset past the mapping");
        // SAFETY: the offset was just checked to be inside the mapping.
        unsafe { self.base.as_ptr().add(offset) }
    }

    /// Reads a range.
    ///
    /// # Safety
    /// The kernel must not be able to write to the range while the slice lives.
    pub(crate) unsafe fn slice(&self, offset: usize, bytes: usize) -> &[u8] {
        assert!(offset <= self.bytes && bytes <= self.bytes - offset, "range past the mapping");
        // SAFETY: in bounds as just checked, initialised (zeroed by mmap), and the caller rules out
        // writers in the kernel; writers in this process need `&mut self`.
        unsafe { slice::from_raw_parts(self.base.as_ptr().add(offset), bytes) }
    }

    /// Writes a range.
    ///
    /// # Safety
    /// The kernel must neither read nor write the range while the slice lives.
    pub(crate) unsafe fn slice_mut(&mut self, offset: usize, bytes: usize) -> &mut [u8] {
        assert!(offset <= self.bytes && bytes <= self.bytes - offset, "range past the mapping");
        // SAFETY: in bounds as just checked, initialised (zeroed by mmap), exclusive through
        // `&mut self`, and the caller rules out the kernel.
        unsafe { slice::from_raw_parts_mut(self.base.as_ptr().add(offset), bytes) }
    }

    /// Gives the mapping away for good: the kernel may still use it.
    pub(crate) fn leak(&mut self) {
        self.bytes = 0;
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if self.bytes > 0 {
            // SAFETY: the mapping was made by `new`, is not shared, and no slice outlives `self`.
            unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
        }
    }
}

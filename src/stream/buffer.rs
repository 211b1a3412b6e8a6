//! Byte queue: bytes are appended at one end and taken from the other, without moving them each
//! time.

/// A queue of bytes in one vector.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    /// Length of the bytes that were taken last; they end at `start`.
    taken: usize,
}

/// Capacity beyond which a buffer gives its memory back when it is emptied for reuse.
const KEPT_BYTES_MAX: usize = 65_536;

impl Buffer {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The vector to which new bytes are appended. Bytes that were taken before are forgotten.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
            self.taken = 0;
        }
        &mut self.bytes
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.tail().extend_from_slice(bytes);
    }

    /// Takes `len` bytes from the front; they can be read until the next change.
    pub(super) fn take(&mut self, len: usize) -> &[u8] {
        self.taken = len.min(self.len());
        self.start += self.taken;
        self.taken()
    }

    /// The bytes that were taken last.
    pub(super) fn taken(&self) -> &[u8] {
        &self.bytes[self.start - self.taken..self.start]
    }

    pub(super) fn clear(&mut self) {
        self.start = 0;
        self.taken = 0;
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
    }
}

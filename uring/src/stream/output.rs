//! Unsent bytes of streams: queues of bytes in chunks from one pool.
//!
//! An idle stream holds no chunk. Chunks are carved from mappings that never move, because the
//! kernel reads from them while a write is under way.

use std::io;

use crate::region::Region;

/// Bytes of a chunk: a few SIP messages, or a quarter of a TLS record.
const CHUNK_BYTES: usize = 4096;

/// Chunks that are mapped at a time.
const SLAB_CHUNKS: usize = 64;

/// Most chunks in one write: 256 KiB, more than a socket's send buffer usually takes.
pub(crate) const CHUNKS_PER_WRITE: usize = 64;

/// Free chunks that count as room: as much as the largest SIP message takes.
const ROOM_CHUNKS: usize = 16;

/// No chunk.
const NONE: u32 = u32::MAX;

/// The header of a write of several chunks, kept in a chunk of its own.
#[repr(C)]
struct Header {
    message: libc::msghdr,
    parts: [libc::iovec; CHUNKS_PER_WRITE],
}

const _: () = assert!(size_of::<Header>() <= CHUNK_BYTES);

/// One stream's queue.
#[derive(Debug)]
pub(crate) struct Output {
    head: u32,
    tail: u32,
    /// Offset of the first byte in the first chunk; `to` is the end of the last byte in the last
    /// chunk.
    from: u16,
    to: u16,
    bytes: u32,
}

impl Default for Output {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, from: 0, to: 0, bytes: 0 }
    }
}

impl Output {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes as usize
    }
}

/// The chunks of all streams of a driver.
#[derive(Debug)]
pub(crate) struct Pool {
    slabs: Vec<Region>,
    /// The next chunk in its queue, for each chunk.
    next: Vec<u32>,
    free: Vec<u32>,
    chunks_max: usize,
}

impl Pool {
    pub(crate) fn new(bytes: usize) -> Self {
        let chunks_max = (bytes / CHUNK_BYTES).clamp(1, NONE as usize - 1);
        Self { slabs: Vec::new(), next: Vec::new(), free: Vec::new(), chunks_max }
    }

    /// Chunks that are in use.
    #[cfg(test)]
    fn used(&self) -> usize {
        self.next.len() - self.free.len()
    }

    /// Tells whether refused writes can be tried again. One free chunk is not enough, or they would
    /// be refused over and over.
    pub(crate) fn has_room(&self) -> bool {
        let free = self.free.len() + (self.chunks_max - self.next.len());
        free >= ROOM_CHUNKS.min(self.chunks_max.div_ceil(4))
    }

    /// Appends `bytes`, all or nothing.
    pub(crate) fn append(&mut self, output: &mut Output, mut bytes: &[u8]) -> bool {
        let in_tail = if output.is_empty() { 0 } else { CHUNK_BYTES - usize::from(output.to) };
        let wanted = bytes.len().saturating_sub(in_tail).div_ceil(CHUNK_BYTES);
        let total = output.bytes() + bytes.len();
        let Ok(total) = u32::try_from(total) else { return false };
        if !self.ensure_free(wanted) {
            return false;
        }
        output.bytes = total;
        while !bytes.is_empty() {
            if output.tail == NONE || usize::from(output.to) == CHUNK_BYTES {
                let Some(chunk) = self.take() else {
                    unreachable!("enough chunks were free a moment ago")
                };
                if output.tail == NONE {
                    (output.head, output.from) = (chunk, 0);
                } else {
                    self.next[output.tail as usize] = chunk;
                }
                (output.tail, output.to) = (chunk, 0);
            }
            let at = usize::from(output.to);
            let (now, rest) = bytes.split_at(bytes.len().min(CHUNK_BYTES - at));
            self.write(output.tail, at, now);
            output.to += now.len() as u16;
            bytes = rest;
        }
        true
    }

    /// Returns the pieces of a queue, in order, at most [`CHUNKS_PER_WRITE`] of them. The memory
    /// that they point to stays put until it is [`consumed`](Self::consume); more may be appended
    /// meanwhile.
    pub(crate) fn pieces(&self, output: &Output) -> impl Iterator<Item = (*mut u8, usize)> {
        let (mut chunk, mut from) = (output.head, usize::from(output.from));
        let (tail, to) = (output.tail, usize::from(output.to));
        std::iter::from_fn(move || {
            if chunk == NONE {
                return None;
            }
            let end = if chunk == tail { to } else { CHUNK_BYTES };
            let piece = (self.data(chunk, from), end - from);
            chunk = if chunk == tail { NONE } else { self.next[chunk as usize] };
            from = 0;
            Some(piece)
        })
        .take(CHUNKS_PER_WRITE)
    }

    /// Builds the header of a write of several pieces in a chunk of its own, to be given back with
    /// [`free_header`](Self::free_header). `None` if there is no chunk for it.
    pub(crate) fn header(&mut self, output: &Output) -> Option<(u32, *const libc::msghdr)> {
        if !self.ensure_free(1) {
            return None;
        }
        let chunk = self.take()?;
        let header: *mut Header = self.data(chunk, 0).cast();
        // SAFETY: the chunk is large enough, aligned to a page part of its own size, and was free,
        // so that nothing else refers to it. All-zero is a valid msghdr.
        unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            let parts: *mut libc::iovec = (&raw mut (*header).parts).cast();
            for (at, (data, bytes)) in self.pieces(output).enumerate() {
                parts.add(at).write(libc::iovec { iov_base: data.cast(), iov_len: bytes });
                message.msg_iovlen += 1;
            }
            message.msg_iov = parts;
            (*header).message = message;
            Some((chunk, &raw const (*header).message))
        }
    }

    /// Takes back the chunk of a header that the kernel no longer needs.
    pub(crate) fn free_header(&mut self, chunk: u32) {
        self.free.push(chunk);
    }

    /// Drops the first `bytes` of a queue, which have been sent.
    pub(crate) fn consume(&mut self, output: &mut Output, bytes: usize) {
        let mut bytes = bytes.min(output.bytes());
        output.bytes -= bytes as u32;
        while bytes > 0 {
            let last = output.head == output.tail;
            let end = usize::from(if last { output.to } else { CHUNK_BYTES as u16 });
            let here = end - usize::from(output.from);
            if bytes < here {
                output.from += bytes as u16;
                return;
            }
            bytes -= here;
            let done = output.head;
            if last {
                *output = Output::default();
            } else {
                (output.head, output.from) = (self.next[done as usize], 0);
            }
            self.free.push(done);
        }
    }

    /// Drops the whole queue of a stream.
    pub(crate) fn clear(&mut self, output: &mut Output) {
        self.consume(output, output.bytes());
    }

    /// Gives the memory away for good: the kernel may still read it.
    pub(crate) fn leak(&mut self) {
        for slab in &mut self.slabs {
            slab.leak();
        }
    }

    fn take(&mut self) -> Option<u32> {
        let chunk = self.free.pop()?;
        self.next[chunk as usize] = NONE;
        Some(chunk)
    }

    fn ensure_free(&mut self, chunks: usize) -> bool {
        while self.free.len() < chunks {
            if self.grow().is_err() {
                return false;
            }
        }
        true
    }

    fn grow(&mut self) -> io::Result<()> {
        let first = self.next.len();
        let more = SLAB_CHUNKS.min(self.chunks_max.saturating_sub(first));
        if more == 0 {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        // A slab that is not full is the last one, so that a chunk's number says where it is.
        self.slabs.push(Region::new(SLAB_CHUNKS * CHUNK_BYTES)?);
        self.next.resize(first + more, NONE);
        self.free.extend((first as u32..(first + more) as u32).rev());
        Ok(())
    }

    fn data(&self, chunk: u32, at: usize) -> *mut u8 {
        let chunk = chunk as usize;
        self.slabs[chunk / SLAB_CHUNKS].at(chunk % SLAB_CHUNKS * CHUNK_BYTES + at)
    }

    fn write(&mut self, chunk: u32, at: usize, bytes: &[u8]) {
        let chunk = chunk as usize;
        let offset = chunk % SLAB_CHUNKS * CHUNK_BYTES + at;
        // SAFETY: this part of the chunk lies past the end of its queue, and the kernel only ever
        // saw the part before it.
        let room = unsafe { self.slabs[chunk / SLAB_CHUNKS].slice_mut(offset, bytes.len()) };
        room.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Random;

    fn content(pool: &Pool, output: &Output) -> Vec<u8> {
        let mut all = Vec::new();
        for (data, bytes) in pool.pieces(output) {
            // SAFETY: the pieces of a queue are live and nothing writes to them here.
            all.extend_from_slice(unsafe { std::slice::from_raw_parts(data, bytes) });
        }
        all
    }

    #[test]
    fn queues_behave_as_byte_queues() {
        let mut random = Random::new(1);
        let mut pool = Pool::new(64 * CHUNK_BYTES);
        let mut queues: Vec<(Output, Vec<u8>)> = (0..5).map(|_| Default::default()).collect();
        let mut next = 0_u8;
        for _ in 0..20_000 {
            let at = random.below(5) as usize;
            let (output, expected) = &mut queues[at];
            if random.chance(500_000) {
                let mut bytes = vec![0; random.below(9000) as usize];
                bytes.fill_with(|| {
                    next = next.wrapping_add(1);
                    next
                });
                let used = pool.used();
                if pool.append(output, &bytes) {
                    expected.extend_from_slice(&bytes);
                } else {
                    assert_eq!(pool.used(), used, "all or nothing");
                    assert!(used > 50, "refused with {used} chunks in use");
                }
            } else {
                let bytes = random.below(9000) as usize;
                pool.consume(output, bytes);
                expected.drain(..bytes.min(expected.len()));
            }
            assert_eq!(output.bytes(), expected.len());
            assert!(content(&pool, output) == *expected);
        }
        for (output, _) in &mut queues {
            pool.clear(output);
            assert!(output.is_empty());
        }
        assert_eq!(pool.used(), 0, "no chunk is lost");
        assert_eq!(pool.next.len(), 64, "no more than allowed");
    }

    #[test]
    fn a_header_lists_the_pieces_in_a_chunk_of_its_own() {
        let mut pool = Pool::new(4 * CHUNK_BYTES);
        let mut output = Output::default();
        assert!(pool.append(&mut output, &[7; 2 * CHUNK_BYTES + 5]));
        let (chunk, message) = pool.header(&output).expect("room");
        // SAFETY: the header was just built and stays until its chunk is freed.
        let (parts, last) = unsafe { ((*message).msg_iovlen, *(*message).msg_iov.add(2)) };
        assert_eq!((parts, last.iov_len), (3, 5));
        assert!(pool.header(&output).is_none(), "no chunk is left for another");
        pool.free_header(chunk);
        pool.clear(&mut output);
        assert_eq!(pool.used(), 0);
    }
}

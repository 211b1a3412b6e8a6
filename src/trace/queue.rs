//! The queue for a worker's records: bounded, without locks, and using little more memory than the
//! waiting records need.
//!
//! A single ring of bytes touches all of its memory before it uses any again, even if few bytes
//! wait in it. This is a row of rings, each larger than the one before. New bytes go to the last
//! ring that holds any, or to a later one if that has no room. While the reader keeps up, that is
//! the small first ring. The bytes in one ring are older than those in later rings, so that the
//! order of records is kept.

use rtrb::{Consumer, Producer, RingBuffer};

/// Bytes of the first ring: two stay in the cache of a core.
const FIRST_BYTES: usize = 256 << 10;
/// Factor by which each ring is larger than the one before.
const GROWTH: usize = 4;
/// Number of rings that suffices for any number of bytes.
const RINGS_MAX: usize = 24;

/// The worker's end.
#[derive(Debug)]
pub struct RecordsIn(Vec<Producer<u8>>);

/// The reader's end.
#[derive(Debug)]
pub struct RecordsOut(Vec<Consumer<u8>>);

/// A queue of `bytes` in all.
pub fn queue(bytes: usize) -> (RecordsIn, RecordsOut) {
    let (mut ins, mut outs) = (Vec::new(), Vec::new());
    let (mut left, mut next) = (bytes.max(1), FIRST_BYTES);
    while left > 0 {
        // The rest is one ring, if a further ring would be smaller than this one.
        let size = if left / 2 < next { left } else { next };
        let (producer, consumer) = RingBuffer::new(size);
        ins.push(producer);
        outs.push(consumer);
        left -= size;
        next = next.saturating_mul(GROWTH);
    }
    (RecordsIn(ins), RecordsOut(outs))
}

impl RecordsIn {
    /// Appends all of `bytes`, or nothing: `false` if there is no room for them in one piece.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let is_used = |ring: &Producer<u8>| ring.slots() < ring.buffer().capacity();
        let last = self.0.iter().rposition(is_used).unwrap_or(0);
        self.0[last..].iter_mut().any(|ring| ring.push_entire_slice(bytes).is_ok())
    }
}

impl RecordsOut {
    /// Tells whether no ring holds any bytes.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Consumer::is_empty)
    }

    /// Appends waiting bytes to `out`, oldest first, at most about `most` bytes. Returns `false` if
    /// there were none.
    pub fn take(&mut self, most: usize, out: &mut Vec<u8>) -> bool {
        // The rings are looked at from the last to the first. Bytes that come into an earlier ring
        // before it is read are then older than those seen in later ones, or the later ones were
        // empty.
        let mut seen = [0; RINGS_MAX];
        for (seen, ring) in seen.iter_mut().zip(&self.0).rev() {
            *seen = ring.slots();
        }
        let before = out.len();
        for (ring, seen) in self.0.iter_mut().zip(seen) {
            let count = seen.min(most.saturating_sub(out.len() - before));
            let Ok(chunk) = ring.read_chunk(count) else { break };
            let (first, second) = chunk.as_slices();
            out.extend_from_slice(first);
            out.extend_from_slice(second);
            chunk.commit_all();
            if count < seen {
                break;
            }
        }
        out.len() > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(bytes: &[u8]) -> Vec<u32> {
        bytes.chunks(4).map(|four| u32::from_le_bytes(four.try_into().unwrap())).collect()
    }

    #[test]
    fn the_room_is_what_was_asked_for() {
        for bytes in [1, 1000, 1 << 20, 4 << 20, 32 << 20] {
            let (records_in, _out) = queue(bytes);
            let sizes: Vec<usize> =
                records_in.0.iter().map(|ring| ring.buffer().capacity()).collect();
            assert_eq!(sizes.iter().sum::<usize>(), bytes, "{sizes:?}");
            assert!(sizes.len() <= RINGS_MAX && sizes.is_sorted(), "{sizes:?}");
        }
    }

    #[test]
    fn a_reader_that_keeps_up_leaves_the_later_rings_alone() {
        let (mut records_in, mut records_out) = queue(32 << 20);
        let mut taken = Vec::new();
        // Twice as much as there is room for.
        for _ in 0..600 {
            assert!(records_in.push(&[1; 100_000]));
            taken.clear();
            assert!(records_out.take(4 << 20, &mut taken));
            assert_eq!(taken.len(), 100_000);
            let later = &records_in.0[1..];
            assert!(later.iter().all(|ring| ring.slots() == ring.buffer().capacity()));
        }
        assert!(records_out.is_empty());
    }

    /// A reader that falls behind and catches up, again and again, gets everything in order.
    #[test]
    fn order_is_kept_from_ring_to_ring() {
        let (mut records_in, mut records_out) = queue(2 << 20);
        let (mut next, mut lost) = (0u32, 0);
        let mut taken = Vec::new();
        for round in 0..60u32 {
            for _ in 0..round * 170 % 901 {
                let entry = [next.to_le_bytes(); 256].concat();
                if records_in.push(&entry) {
                    next += 1;
                } else {
                    lost += 1;
                }
            }
            // The reader takes everything at times, and mostly a piece.
            let most = if round % 10 == 9 { usize::MAX } else { 300 << 10 };
            records_out.take(most, &mut taken);
        }
        while records_out.take(usize::MAX, &mut taken) {}
        assert!(lost > 0, "the queue was never full");
        let expected: Vec<u32> = (0..next).flat_map(|number| [number; 256]).collect();
        assert!(numbers(&taken) == expected, "out of order");
    }

    #[test]
    fn order_is_kept_between_threads() {
        let (mut records_in, mut records_out) = queue(2 << 20);
        const COUNT: u32 = 100_000;
        let writer = std::thread::spawn(move || {
            for number in 0..COUNT {
                while !records_in.push(&number.to_le_bytes()) {
                    std::thread::yield_now();
                }
            }
        });
        let (mut taken, mut expected) = (Vec::new(), 0);
        while expected < COUNT {
            taken.clear();
            if !records_out.take(100_000, &mut taken) {
                std::thread::yield_now();
            }
            for number in numbers(&taken) {
                assert_eq!(number, expected);
                expected += 1;
            }
        }
        writer.join().unwrap();
    }
}

//! Records of several workers in the order of their times.
//!
//! Each worker's records stay in their order. Between workers the order is exact among the records
//! that were in the queues at the same look. A record that a worker passes on later comes later, by
//! some milliseconds.

use crate::trace::{Record, Records, RecordsOut};

/// Bytes taken from one queue at a time. This bounds the bytes in memory between two writes.
const PIECE_BYTES: usize = 4 << 20;

/// The receiving ends of all workers' queues.
#[derive(Debug)]
pub(super) struct Merge {
    queues: Vec<Queue>,
}

#[derive(Debug)]
struct Queue {
    records: RecordsOut,
    taken: Vec<u8>,
}

impl Merge {
    pub(super) fn new(queues: Vec<RecordsOut>) -> Self {
        let queue = |records| Queue { records, taken: Vec::new() };
        Self { queues: queues.into_iter().map(queue).collect() }
    }

    /// Tells whether all queues are empty.
    pub(super) fn is_empty(&self) -> bool {
        self.queues.iter().all(|queue| queue.records.is_empty())
    }

    /// Takes waiting records, up to a piece per queue, and visits them in order. `false` if there
    /// were none.
    pub(super) fn visit(&mut self, mut visit: impl FnMut(&Record<'_>)) -> bool {
        let mut any = false;
        for queue in &mut self.queues {
            any |= queue.records.take(PIECE_BYTES, &mut queue.taken);
        }
        let mut streams: Vec<Records<'_>> =
            self.queues.iter().map(|queue| Records::new(&queue.taken)).collect();
        let mut heads: Vec<Option<Record<'_>>> = streams.iter_mut().map(Iterator::next).collect();
        loop {
            let pending = heads.iter().enumerate();
            let first = pending.filter_map(|(at, head)| head.map(|record| (record.at_ns, at)));
            let Some((_, at)) = first.min() else { break };
            if let Some(record) = heads[at].take() {
                visit(&record);
            }
            heads[at] = streams[at].next();
        }
        let rests: Vec<usize> = streams.iter().map(|stream| stream.rest().len()).collect();
        for (queue, rest) in self.queues.iter_mut().zip(rests) {
            let done = queue.taken.len() - rest;
            queue.taken.drain(..done);
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::TraceKind;
    use crate::trace::{Event, Kinds, Tracer, queue};

    fn logs(worker: u16, times: &[u64]) -> RecordsOut {
        let mut tracer = Tracer::new(worker, Kinds::of(&[TraceKind::Log]), 1 << 20);
        for &at_ns in times {
            tracer.record_at(at_ns, 1, 0, 0, Event::Log(b"text"));
        }
        let (mut records_in, records_out) = queue(1 << 20);
        tracer.hand_on(|bytes| records_in.push(bytes));
        records_out
    }

    #[test]
    fn workers_are_merged_by_time_and_keep_their_own_order() {
        let mut merge = Merge::new(vec![logs(0, &[10, 30, 25, 60]), logs(1, &[20, 26, 40])]);
        let mut seen = Vec::new();
        assert!(merge.visit(|record| seen.push((record.at_ns, record.worker))));
        let expected = [(10, 0), (20, 1), (26, 1), (30, 0), (25, 0), (40, 1), (60, 0)];
        assert_eq!(seen, expected);
        assert!(!merge.visit(|_| panic!("nothing is left")));
    }

    #[test]
    fn a_record_that_is_cut_by_the_piece_comes_whole_with_the_next() {
        let text = vec![b'x'; 3 << 20];
        let mut tracer = Tracer::new(0, Kinds::of(&[TraceKind::Log]), 16 << 20);
        for at_ns in 0..3 {
            tracer.record_at(at_ns, 1, 0, 0, Event::Log(&text));
        }
        let (mut records_in, records_out) = queue(16 << 20);
        tracer.hand_on(|bytes| records_in.push(bytes));
        let mut merge = Merge::new(vec![records_out]);
        let mut seen = Vec::new();
        while merge.visit(|record| {
            assert_eq!(record.event, Event::Log(&text));
            seen.push(record.at_ns);
        }) {}
        assert_eq!(seen, [0, 1, 2]);
    }
}

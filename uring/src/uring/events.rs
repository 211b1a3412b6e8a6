//! Events that wait for [`Driver::drain`](crate::Driver::drain), in the order in which they came.

use crate::RxClass;

/// One pending event.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pending {
    /// A buffer with a datagram or a GRO train.
    Received { index: u32, generation: u32, buffer: u16, class: RxClass, bytes: u32 },
    /// A train whose remaining datagrams failed.
    SendFailed { train: u32, errno: i32 },
    /// A socket whose error queue must be read.
    Errors { index: u32, generation: u32 },
    /// A listener has accepted this stream.
    Accepted { place: u32, generation: u32 },
    /// A stream is connected.
    Connected { place: u32, generation: u32 },
    /// A buffer with bytes of a stream.
    Data { place: u32, generation: u32, buffer: u16, bytes: u32 },
    /// A stream has ended.
    Closed { place: u32, generation: u32, errno: i32 },
    /// A stream has room again.
    Drained { place: u32, generation: u32 },
}

// Events of streams must not make those of datagrams larger.
const _: () = assert!(size_of::<Pending>() == 16);

/// A queue that starts over at the beginning of its memory each time it runs empty, so that the
/// same few cache lines serve every turn.
#[derive(Debug)]
pub(super) struct Events {
    list: Vec<Pending>,
    next: usize,
    /// Bytes of the first event already delivered, when a GRO train was left half way.
    pub(super) delivered: usize,
}

impl Events {
    pub(super) fn new(capacity: usize) -> Self {
        Self { list: Vec::with_capacity(capacity), next: 0, delivered: 0 }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.next == self.list.len()
    }

    #[inline]
    pub(super) fn push(&mut self, event: Pending) {
        if self.list.len() == self.list.capacity() && self.next > 0 {
            self.list.drain(..self.next);
            self.next = 0;
        }
        self.list.push(event);
    }

    #[inline]
    pub(super) fn first(&self) -> Option<Pending> {
        self.list.get(self.next).copied()
    }

    /// Drops the first event.
    #[inline]
    pub(super) fn pop(&mut self) {
        self.delivered = 0;
        self.next += 1;
        if self.next >= self.list.len() {
            self.list.clear();
            self.next = 0;
        }
    }
}

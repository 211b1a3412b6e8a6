//! A worker's ends of the queues that connect it with other workers and the control side.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Thread;

use gossipper_uring::{Bell, SocketId, Waker};
use rtrb::{Consumer, Producer, PushError};

use crate::dataplane::third_party::link::WorkerEnd;
use crate::engine::{Answer, Incoming, StopRequest, Swap, WorkerRequest};
use crate::stats::{CounterSample, Counters, Report};
use crate::trace::RecordsIn;

/// Reports in circulation per worker.
pub(in crate::dataplane) const REPORTS: usize = 4;
/// Most notes on their way to the control side.
pub const NOTES: usize = 16;
/// Most uncollected answers of one worker.
pub const ANSWERS: usize = 8;

/// A datagram on its way to the worker that owns its call.
#[derive(Debug)]
pub struct Handover {
    /// The payload.
    pub payload: Box<[u8]>,
    /// The address that it came from.
    pub source: SocketAddr,
    /// Time of arrival, on the monotonic clock.
    pub received_ns: u64,
    /// The socket of the receiving worker on which it arrived.
    pub socket: SocketId,
    /// The worker that received it.
    pub receiver: usize,
    /// The number of workers that have looked at it.
    pub hops: usize,
    /// The worker that owns the call, if the Call-ID says so.
    pub owner: Option<usize>,
}

impl Handover {
    /// A datagram that `receiver` found to belong to another worker.
    pub(super) fn of(datagram: &Incoming<'_>, receiver: usize, owner: Option<usize>) -> Self {
        let &Incoming { socket, source, payload, received_ns, .. } = datagram;
        Self { payload: payload.into(), source, received_ns, socket, receiver, hops: 1, owner }
    }
}

/// Requests to stop the run on their way to the control side. One that finds the queue full is kept
/// for the next turn; of several the heaviest.
pub struct Stops {
    queue: Producer<StopRequest>,
    kept: Option<StopRequest>,
}

impl Stops {
    /// The sender's end of `queue`.
    pub fn new(queue: Producer<StopRequest>) -> Self {
        Self { queue, kept: None }
    }

    pub(super) fn push(&mut self, request: StopRequest) {
        self.kept = StopRequest::heavier(self.kept.take(), request);
        self.push_kept();
    }

    /// Sends the request that was kept; returns `true` if there was one, and room for it.
    pub(super) fn push_kept(&mut self) -> bool {
        let Some(request) = self.kept.take() else { return false };
        match self.queue.push(request) {
            Ok(()) => true,
            Err(PushError::Full(request)) => {
                self.kept = Some(request);
                false
            }
        }
    }
}

/// A worker's ends of the queues that connect it. Each has a fixed capacity.
pub struct Links {
    /// Requests of the control side.
    pub requests: Consumer<WorkerRequest>,
    /// Reports to the control side.
    pub reports: Producer<Box<Report>>,
    /// Counters between two reports, if they were requested.
    pub samples: Option<Producer<CounterSample>>,
    /// Empty reports from the control side.
    pub empties: Consumer<Box<Report>>,
    /// Programs for new calls; taken at the end of an interval.
    pub swaps: Consumer<Box<Swap>>,
    /// The remains of exchanged programs, for the control side to free.
    pub swapped: Producer<Box<Swap>>,
    /// Requests of the scenario to stop the run.
    pub stops: Stops,
    /// Notes for the user; they are rare enough to be texts.
    pub notes: Producer<String>,
    /// Answers to questions of the control side.
    pub answers: Producer<Answer>,
    /// Shell commands of the scenario, if it has some.
    pub shell: Option<Producer<Box<[u8]>>>,
    /// Records to the writer thread, if the run has sinks for them.
    pub records: Option<(RecordsIn, Arc<Bell>)>,
    /// Copies of media to the thread of recordings, if there are some.
    pub copies: Option<RecordsIn>,
    /// The control side's thread, to be woken when its queues are not empty.
    pub control: Thread,
    /// Datagrams for the next worker in the circle, and the handle that wakes it.
    pub handover_out: Option<(Producer<Handover>, Waker)>,
    /// Datagrams from the previous worker in the circle.
    pub handover_in: Option<Consumer<Handover>>,
    /// Commands to and from other instances (3PCC), and notices about them.
    pub third_party: Option<WorkerEnd>,
    /// The number of workers of the run that are not done yet.
    pub undone: Undone,
}

/// The number of workers that are not done. Workers end together: one that ended alone would break
/// the circle. If workers share a port, the kernel would also give the datagrams of its socket, and
/// some of other sockets, to other workers.
#[derive(Clone, Debug)]
pub struct Undone(Arc<AtomicUsize>);

impl Undone {
    /// The count for a run of `workers`; each worker gets a clone.
    pub fn new(workers: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(workers)))
    }

    pub(super) fn is_none(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }

    pub(super) fn take_one(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }

    /// Undoes [`take_one`](Self::take_one); `false` if all workers were already done.
    pub(super) fn give_back_one(&self) -> bool {
        let one_more = |undone: usize| (undone > 0).then_some(undone + 1);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_ok()
    }
}

impl Links {
    /// Wakes the control side.
    pub(super) fn wake_control(&self) {
        self.control.unpark();
    }

    /// Sends a datagram to the next worker. A datagram that finds no room is dropped and counted.
    pub(super) fn hand_over(&mut self, handover: Handover, own: &mut Counters) {
        let Some((queue, waker)) = &mut self.handover_out else {
            own.handover_dropped += 1;
            return;
        };
        match queue.push(handover) {
            Ok(()) => {
                own.handed_over += 1;
                waker.wake();
            }
            Err(_) => own.handover_dropped += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use rtrb::RingBuffer;

    use super::*;

    #[test]
    fn the_heaviest_request_to_stop_waits_for_room() {
        let (queue, mut control) = RingBuffer::new(1);
        let mut stops = Stops::new(queue);
        let error = |text: &str| StopRequest::Fatal(text.to_owned());
        let requests = [
            StopRequest::PeerGone,
            StopRequest::Gracefully,
            error("first"),
            StopRequest::Now,
            error("second"),
        ];
        requests.into_iter().for_each(|request| stops.push(request));
        assert!(!stops.push_kept());
        assert_eq!(control.pop(), Ok(StopRequest::PeerGone));
        assert!(stops.push_kept() && !stops.push_kept());
        assert_eq!(control.pop(), Ok(error("first")));
    }
}

//! Started workers as the control side sees them: requests in, reports out, exchange of programs.

use std::collections::VecDeque;
use std::io;
use std::mem::discriminant;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gossipper_uring::Waker;
use rtrb::{Consumer, Producer};

use super::third_party::ThirdParty;
use super::worker::REPORTS;
use crate::engine::{Answer, Generations, Programs, StopRequest, Swap, SwapRefused, WorkerRequest};
use crate::stats::{Aggregate, CounterSample, Report};
use crate::trace::RecordsOut;

/// The started workers of a run.
pub struct Running {
    /// The handles of the workers.
    pub workers: Vec<WorkerHandle>,
    /// Start of the run on the monotonic clock.
    pub start_ns: u64,
    /// The address that the first worker listens on.
    pub local: SocketAddr,
    /// The thread with the connections to other instances (3PCC).
    pub third_party: Option<ThirdParty>,
}

/// Lets new calls of a run follow `programs`, from the end of each worker's interval on: within a
/// second. Open calls keep their programs, and the totals of the run go on.
///
/// `parts` are all workers of the run; `generations` and `aggregate` belong to all of them. `hosts`
/// are the addresses of names in the programs' `<setdest>` actions
/// ([`Program::written_hosts`](crate::scenario::Program::written_hosts)). All workers have the
/// programs once [`Aggregate::is_changing_layout`] is over.
///
/// # Errors
/// The reason why the run cannot go on with them; nothing has changed then.
pub fn swap<'r>(
    parts: impl IntoIterator<Item = &'r mut Running>,
    generations: &mut Generations,
    aggregate: &mut Aggregate,
    programs: Programs,
    hosts: &[(String, IpAddr)],
) -> Result<(), SwapRefused> {
    if aggregate.is_changing_layout() {
        return Err(SwapRefused::UnderWay);
    }
    let layout = generations.advance(programs.clone(), &aggregate.program_calls())?;
    aggregate.change_layout(Arc::clone(&layout));
    for part in parts {
        for (worker, handle) in part.workers.iter_mut().enumerate() {
            let empty = || Box::new(Report::new(&layout, worker as u16));
            handle.swap(Box::new(Swap {
                programs: programs.clone(),
                layout: Arc::clone(&layout),
                hosts: hosts.to_vec(),
                reports: std::iter::repeat_with(empty).take(REPORTS).collect(),
                stale: Vec::with_capacity(REPORTS),
            }));
        }
    }
    Ok(())
}

/// The period at which a worker that has not taken its requests yet is looked at.
const PUSH_PERIOD: Duration = Duration::from_millis(1);

/// Requests to one worker. Those that find its queue full wait in front of it, so that none is
/// lost. A newer one replaces a waiting one of its kind: no more wait than there are kinds.
pub(super) struct Requests {
    queue: Producer<WorkerRequest>,
    waiting: VecDeque<WorkerRequest>,
}

impl Requests {
    pub(super) fn new(queue: Producer<WorkerRequest>) -> Self {
        Self { queue, waiting: VecDeque::new() }
    }

    /// Sends a request, behind those that wait. Returns `false` for a question that found the queue
    /// full: its requester is better told than kept waiting.
    fn send(&mut self, request: WorkerRequest) -> bool {
        if self.push_waiting() && self.queue.push(request).is_ok() {
            return true;
        }
        if request.is_question() {
            return false;
        }
        self.waiting.retain(|waiting| discriminant(waiting) != discriminant(&request));
        self.waiting.push_back(request);
        true
    }

    /// Moves waiting requests into the queue; returns `true` if none waits any more.
    fn push_waiting(&mut self) -> bool {
        while let Some(&request) = self.waiting.front() {
            if self.queue.push(request).is_err() {
                return false;
            }
            self.waiting.pop_front();
        }
        true
    }
}

/// One worker, as the control side sees it.
pub struct WorkerHandle {
    pub(super) requests: Requests,
    pub(super) waker: Waker,
    /// Reports from the worker.
    pub reports: Consumer<Box<Report>>,
    /// Counters between two reports, if they were requested.
    pub samples: Option<Consumer<CounterSample>>,
    pub(super) empties: Producer<Box<Report>>,
    pub(super) swaps: Producer<Box<Swap>>,
    pub(super) swapped: Consumer<Box<Swap>>,
    /// Generation of the layout that the worker has, or was sent last.
    pub(super) generation: u32,
    /// Requests of the scenario to stop the run.
    pub stops: Consumer<StopRequest>,
    /// Notes for the user.
    pub notes: Consumer<String>,
    /// Answers to questions.
    pub answers: Consumer<Answer>,
    /// Records of the worker, if it has a queue for them.
    pub records: Option<RecordsOut>,
    /// Copies of the worker's media, if it has a queue for them.
    pub copies: Option<RecordsOut>,
    /// The scenario's shell commands, if it has some.
    pub shell: Option<Consumer<Box<[u8]>>>,
    /// The kernel's id of the worker's thread.
    pub thread_id: u32,
    pub(super) thread: Option<JoinHandle<io::Result<()>>>,
}

impl WorkerHandle {
    /// Sends a request. If the worker's queue is full, a question is dropped and the result is
    /// `false`; any other request waits until [`push_waiting`](Self::push_waiting) finds room.
    pub fn send(&mut self, request: WorkerRequest) -> bool {
        let is_taken = self.requests.send(request);
        self.waker.wake();
        is_taken
    }

    /// Sends the requests that wait for room in the worker's queue.
    pub fn push_waiting(&mut self) {
        if !self.requests.waiting.is_empty() {
            self.requests.push_waiting();
            self.waker.wake();
        }
    }

    /// Returns a report to the worker once it was added to the aggregate.
    pub fn give_back(&mut self, mut report: Box<Report>) {
        // Frees the remains of an exchange of programs.
        while self.swapped.pop().is_ok() {}
        if report.generation == self.generation {
            report.recycle();
            // The queue has room for all reports; a worker that is gone needs none.
            let _ = self.empties.push(report);
        }
    }

    /// Sends the programs that new calls follow from the end of the worker's interval on.
    fn swap(&mut self, swap: Box<Swap>) {
        while self.swapped.pop().is_ok() {}
        self.generation = swap.layout.generation;
        // The worker has taken the previous ones; see `swap`.
        let _ = self.swaps.push(swap);
    }

    /// Returns `true` if the worker's thread has ended.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the thread to end, which takes the requests that still wait.
    ///
    /// # Errors
    /// The error that made its driver unusable, or that it panicked.
    pub fn join(&mut self) -> io::Result<()> {
        while !self.requests.waiting.is_empty() && !self.is_over() {
            self.push_waiting();
            thread::sleep(PUSH_PERIOD);
        }
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the worker panicked")),
        }
    }
}

#[cfg(test)]
mod tests {
    use rtrb::RingBuffer;

    use super::*;

    #[test]
    fn no_change_is_lost_to_a_full_queue() {
        let (queue, mut worker) = RingBuffer::new(4);
        let mut requests = Requests::new(queue);
        for rate in 0..1000 {
            assert!(requests.send(WorkerRequest::SetRate(rate.into())));
            assert!(requests.send(WorkerRequest::SetPaused(rate % 2 == 0)));
        }
        assert!(requests.send(WorkerRequest::StopNewCalls));
        assert!(requests.send(WorkerRequest::SetRate(7.0)));
        // A question waits with its requester.
        assert!(!requests.send(WorkerRequest::TellCalls));
        assert_eq!(requests.waiting.len(), 3);
        let mut taken = Vec::new();
        while !requests.push_waiting() || !worker.is_empty() {
            taken.extend(worker.pop());
        }
        assert_eq!(
            taken[4..],
            [
                WorkerRequest::SetPaused(false),
                WorkerRequest::StopNewCalls,
                WorkerRequest::SetRate(7.0)
            ]
        );
        assert!(requests.send(WorkerRequest::TellCalls));
    }
}

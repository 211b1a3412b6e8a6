//! The way to a run of this process: its state to read, and a queue for requests to it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel,
};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::reply::{Refusal, Reply, Told};
use super::request::{NewScenario, Request};
use super::state::Published;
use crate::config::ScenarioSource;
use crate::run::RunError;
use crate::run::supervised::{Compiler, Replacement, Text};
use crate::stats::{Delta, Source};

/// Most requests that wait at one time.
const ASKS: usize = 32;
/// The longest wait for an answer. The supervising thread reads its queue at once, unless it writes
/// a row to a disk that hangs.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest wait if a scenario is compiled and all workers have to take it.
const PATIENCE_SWAP: Duration = Duration::from_secs(10);

/// The number of waiting deltas from which on the next one covers a longer time.
const DELTAS: usize = 8;
/// The number of waiting deltas that stands for a receiver that is gone.
const GONE: usize = usize::MAX;

/// The deltas of a run, in order. They end with the run.
#[derive(Debug)]
pub struct Deltas {
    deltas: Receiver<Delta>,
    waiting: Arc<AtomicUsize>,
}

impl Iterator for Deltas {
    type Item = Delta;

    /// Waits for the next delta.
    fn next(&mut self) -> Option<Delta> {
        let delta = self.deltas.recv().ok()?;
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        Some(delta)
    }
}

impl Drop for Deltas {
    fn drop(&mut self) {
        self.waiting.store(GONE, Ordering::Release);
    }
}

/// The other end of [`Deltas`].
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) source: Source,
    deltas: Sender<Delta>,
    waiting: Arc<AtomicUsize>,
}

impl Listener {
    /// Returns `true` while the receiver exists.
    pub(super) fn is_there(&self) -> bool {
        self.waiting.load(Ordering::Acquire) != GONE
    }

    /// Returns `true` if so many deltas wait that the next ones are better joined in one.
    pub(super) fn is_behind(&self) -> bool {
        self.waiting.load(Ordering::Acquire) >= DELTAS
    }

    /// Sends a delta, even if more than [`DELTAS`] wait.
    pub(super) fn send(&self, delta: Delta) {
        // The receiver may go at any moment, and must stay gone.
        let one_more = |waiting: usize| (waiting != GONE).then(|| waiting + 1);
        if self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_ok()
            && self.deltas.send(delta).is_err()
        {
            self.waiting.store(GONE, Ordering::Release);
        }
    }
}

/// The permissions of scenarios, which may change at any time. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    api_commands: Arc<AtomicBool>,
}

impl Policy {
    /// A policy; scenarios that come over the API may run shell commands if `api_commands`.
    pub fn new(api_commands: bool) -> Self {
        Self { api_commands: Arc::new(AtomicBool::new(api_commands)) }
    }

    /// Tells whether scenarios that come over the API may run shell commands now.
    pub fn allows_commands(&self) -> bool {
        self.api_commands.load(Ordering::Acquire)
    }

    /// Allows or forbids shell commands of scenarios that come over the API. It takes effect at
    /// once, also for scenarios that came before.
    pub fn set_commands(&self, are_allowed: bool) {
        self.api_commands.store(are_allowed, Ordering::Release);
    }

    /// The permission, for the code that starts shell commands.
    pub(crate) fn commands(&self) -> &Arc<AtomicBool> {
        &self.api_commands
    }
}

/// The name, in errors, of a scenario that came as a text.
pub(crate) const DOCUMENT: &str = "scenario";

/// The claim to a request. The run takes it, or the requester that waits no longer withdraws it:
/// whoever claims it first decides. Clones are the same claim.
#[derive(Clone, Debug, Default)]
pub(super) struct Claim(Arc<AtomicBool>);

impl Claim {
    /// Claims the request; `false` if the other side has.
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// A request, and the channel for its answer.
pub(super) enum Queued {
    /// A request to answer.
    Request {
        request: Request,
        /// The scenario of [`Request::Swap`], which the requesting thread has compiled.
        replacement: Option<Box<Replacement>>,
        answer: SyncSender<Reply>,
        claim: Claim,
    },
    /// A request for deltas.
    Listen(Listener),
}

/// The end of the queue that the supervising thread reads.
pub(crate) struct Queue {
    queued: Receiver<Queued>,
    withdrawn: usize,
}

impl Queue {
    fn new(queued: Receiver<Queued>) -> Self {
        Self { queued, withdrawn: 0 }
    }

    /// The next request that waits and was not withdrawn. It is carried out for certain: its
    /// requester cannot withdraw it any more.
    pub(super) fn next(&mut self) -> Option<Queued> {
        while let Ok(queued) = self.queued.try_recv() {
            match &queued {
                Queued::Request { claim, .. } if !claim.take() => self.withdrawn += 1,
                _ => return Some(queued),
            }
        }
        None
    }

    /// The number of withdrawn requests since the last question.
    pub(super) fn take_withdrawn(&mut self) -> usize {
        std::mem::take(&mut self.withdrawn)
    }
}

/// Waits for the answer to a request. One that the run has not begun with after `patience` is
/// withdrawn.
fn wait_for(
    answers: &Receiver<Reply>,
    claim: &Claim,
    patience: Duration,
) -> Result<Reply, Refusal> {
    let reply = match answers.recv_timeout(patience) {
        // The run is about to answer.
        Err(RecvTimeoutError::Timeout) if !claim.take() => answers.recv_timeout(PATIENCE),
        reply => reply,
    };
    reply.map_err(|error| match error {
        RecvTimeoutError::Timeout => Refusal::Timeout,
        RecvTimeoutError::Disconnected => Refusal::Over,
    })
}

/// The part that all handles of a run share.
pub(super) struct Shared {
    pub(super) id: String,
    pub(super) policy: Policy,
    pub(super) state: ArcSwap<Published>,
    queue: SyncSender<Queued>,
    /// The compiler of the run, once the run is planned.
    pub(super) compiler: OnceLock<Arc<Compiler>>,
    /// The supervising thread, which requests wake.
    thread: OnceLock<Thread>,
    join: Mutex<Option<JoinHandle<()>>>,
    /// The earliest of the workers' last reports: its time on the monotonic clock.
    pub(super) beat_ns: AtomicU64,
    /// The time by which the engine must have ended, on the monotonic clock; `u64::MAX` for never.
    pub(super) end_by_ns: AtomicU64,
}

/// A handle to a run of this process, for reading its state and for requests. Clones are the same
/// run.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// A handle, and the end of the queue that the supervising thread reads.
    pub(crate) fn new(id: &str, policy: Policy, state: Published) -> (Self, Queue) {
        let (queue, receiver) = sync_channel(ASKS);
        let shared = Shared {
            id: id.to_owned(),
            policy,
            state: ArcSwap::from_pointee(state),
            queue,
            compiler: OnceLock::new(),
            thread: OnceLock::new(),
            join: Mutex::new(None),
            beat_ns: AtomicU64::new(u64::MAX),
            end_by_ns: AtomicU64::new(u64::MAX),
        };
        (Self { shared: Arc::new(shared) }, Queue::new(receiver))
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Stores the thread that was started for the engine.
    pub(crate) fn adopt(&self, thread: JoinHandle<()>) {
        let _ = self.shared.thread.set(thread.thread().clone());
        *self.shared.join.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    }

    /// Makes the calling thread the one that answers requests. Handles do not wait for its end.
    pub(crate) fn adopt_this_thread(&self) {
        let _ = self.shared.thread.set(thread::current());
    }

    /// Stores the compiler for scenario swaps of its run.
    pub(crate) fn adopt_compiler(&self, compiler: &Arc<Compiler>) {
        let _ = self.shared.compiler.set(Arc::clone(compiler));
    }

    /// The engine's id.
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// The state of the engine. Never blocks.
    pub fn state(&self) -> Arc<Published> {
        self.shared.state.load_full()
    }

    /// Publishes the present state.
    pub(crate) fn publish(&self, state: Published) {
        self.shared.state.store(Arc::new(state));
    }

    /// The permissions of scenarios.
    pub(crate) fn policy(&self) -> &Policy {
        &self.shared.policy
    }

    /// Sends a request to the run and waits until it is carried out: the workers have been told,
    /// and all of them have taken a new scenario.
    ///
    /// # Errors
    /// The reason why the request is refused.
    pub fn ask(&self, request: Request) -> Result<(), Refusal> {
        self.tell(request).map(|_| ())
    }

    /// Does the same as [`ask`](Self::ask), and returns the facts that the run gives in answer.
    ///
    /// # Errors
    /// The same as for [`ask`](Self::ask).
    pub fn tell(&self, request: Request) -> Result<Option<Told>, Refusal> {
        request.check()?;
        let (replacement, patience) = match &request {
            Request::Swap(new) => (Some(Box::new(self.compile(new)?)), PATIENCE_SWAP),
            _ => (None, PATIENCE),
        };
        let (answer, answers) = sync_channel(1);
        let claim = Claim::default();
        self.put(Queued::Request { request, replacement, answer, claim: claim.clone() })?;
        wait_for(&answers, &claim, patience)?.into_result()
    }

    /// The deltas of the run from now on, one a second, under the name of `source`. Together they
    /// add up to everything counted from now on, even if they are taken late. While workers change
    /// to another scenario, that begins when they have it: what they count before is in no delta. A
    /// later call takes over from an earlier one.
    ///
    /// # Errors
    /// The run is over or busy.
    pub fn listen(&self, source: Source) -> Result<Deltas, Refusal> {
        let (sender, deltas) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let listener = Listener { source, deltas: sender, waiting: Arc::clone(&waiting) };
        self.put(Queued::Listen(listener))?;
        Ok(Deltas { deltas, waiting })
    }

    fn put(&self, queued: Queued) -> Result<(), Refusal> {
        self.shared.queue.try_send(queued).map_err(|error| match error {
            TrySendError::Full(_) => Refusal::Busy,
            TrySendError::Disconnected(_) => Refusal::Over,
        })?;
        self.wake();
        Ok(())
    }

    /// Makes new calls follow the scenario at `source`, which the configuration names. Returns
    /// `false` if they do already: the same text from the same place changes nothing.
    ///
    /// # Errors
    /// The same as for [`ask`](Self::ask).
    pub fn follow(&self, source: ScenarioSource) -> Result<bool, Refusal> {
        let compiler = self.shared.compiler.get().ok_or(Refusal::Busy)?;
        let text = compiler.read(&source).map_err(|error| Refusal::Invalid(error.to_string()))?;
        let scenario = &self.state().scenario;
        if scenario.source == source && *scenario.xml == *text.xml {
            return Ok(false);
        }
        let Text { xml: text, is_sent, .. } = text;
        self.ask(Request::Swap(NewScenario::Configured { source, text, is_sent })).map(|()| true)
    }

    /// Checks whether a text from a client of the API could replace the run's scenario and its
    /// file. It makes the same checks as [`Request::Swap`], as far as they need no worker.
    ///
    /// # Errors
    /// The mistake in the text.
    pub fn check_scenario(&self, xml: &str) -> Result<(), Refusal> {
        self.compile(&NewScenario::Sent(xml.to_owned())).map(|_| ())
    }

    /// Compiles a scenario that shall replace the run's.
    fn compile(&self, new: &NewScenario) -> Result<Replacement, Refusal> {
        let state = self.state();
        let missing = if state.phase.is_over() { Refusal::Over } else { Refusal::Busy };
        let compiler = self.shared.compiler.get().ok_or(missing)?;
        let invalid = |error: RunError| match error {
            RunError::Swap(_) | RunError::Limit { .. } => Refusal::Refused(error.to_string()),
            RunError::Target { .. } => Refusal::Forbidden(error.to_string()),
            _ => Refusal::Invalid(error.to_string()),
        };
        let current = &state.scenario.source;
        let (text, source) = match new {
            // The client that sent it does not know the names of our files.
            NewScenario::Sent(xml) => {
                (Text { name: DOCUMENT.to_owned(), xml: xml.clone(), is_sent: true }, None)
            }
            NewScenario::Reload if matches!(current, ScenarioSource::Builtin(_)) => {
                let why = "the engine runs a built-in scenario: there is no file to read again";
                return Err(Refusal::Refused(why.to_owned()));
            }
            NewScenario::Reload => (compiler.read(current).map_err(invalid)?, None),
            NewScenario::Configured { source, text, is_sent } => {
                let name = match source {
                    ScenarioSource::File(path) => path.display().to_string(),
                    ScenarioSource::Builtin(name) => name.clone(),
                };
                (Text { name, xml: text.clone(), is_sent: *is_sent }, Some(source.clone()))
            }
        };
        let allows_commands = self.shared.policy.allows_commands();
        let embedded = source.as_ref().unwrap_or(current);
        // No client of the API waits for this request, so there is none to tell.
        let is_kept = matches!(new, NewScenario::Configured { is_sent: true, .. });
        let replacement = compiler.compile(text, embedded, allows_commands, is_kept);
        let replacement = replacement.map_err(invalid)?;
        Ok(Replacement { source, ..replacement })
    }

    /// Tells the run by when it must have ended; does not wait.
    pub(crate) fn end_by(&self, monotonic_ns: u64) {
        // The earliest time counts: a later request cannot extend it.
        self.shared.end_by_ns.fetch_min(monotonic_ns, Ordering::Relaxed);
        self.wake();
    }

    /// The time by which the run must have ended, on the monotonic clock, if there is one.
    pub(crate) fn end_by_ns(&self) -> Option<u64> {
        let end_by_ns = self.shared.end_by_ns.load(Ordering::Relaxed);
        (end_by_ns != u64::MAX).then_some(end_by_ns)
    }

    /// The earliest of the workers' last reports: its time on the monotonic clock.
    pub(crate) fn beat_ns(&self) -> u64 {
        self.shared.beat_ns.load(Ordering::Relaxed)
    }

    /// Tells whether the run's thread has ended, which happens soon after the state says so.
    pub(crate) fn is_gone(&self) -> bool {
        let join = self.shared.join.lock().unwrap_or_else(PoisonError::into_inner);
        join.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn wake(&self) {
        if let Some(thread) = self.shared.thread.get() {
            thread.unpark();
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = self.state().phase.clone();
        f.debug_struct("Handle")
            .field("id", &self.shared.id)
            .field("phase", &phase)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Aggregate, Layout, Report, RunStart};

    /// A listener, its receiver, and a delta for it.
    fn listening() -> (Listener, Deltas, Delta) {
        let source = Source::try_from("a".to_owned()).unwrap();
        let layout = Arc::new(Layout::default());
        let mut aggregate = Aggregate::new(Arc::clone(&layout), 1, RunStart::default());
        assert!(aggregate.record_deltas(source.clone()));
        aggregate.absorb(&Report { end_ns: 5, ..Report::new(&layout, 0) });
        let (sender, deltas) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let listener = Listener { source, deltas: sender, waiting: Arc::clone(&waiting) };
        (listener, Deltas { deltas, waiting }, aggregate.take_deltas().remove(0))
    }

    #[test]
    fn a_listener_that_is_gone_stays_gone() {
        let (mut listener, mut deltas, delta) = listening();
        listener.send(delta.clone());
        assert!(deltas.next().is_some() && listener.is_there());
        // It goes while a delta is sent, at one moment or another.
        for _ in 0..1000 {
            let end = thread::spawn(move || drop(deltas));
            while !end.is_finished() {
                listener.send(delta.clone());
            }
            end.join().unwrap();
            assert!(!listener.is_there());
            (listener, deltas, _) = listening();
        }
        // It left no mark.
        let (sender, receiver) = channel();
        drop(receiver);
        listener.deltas = sender;
        listener.send(delta);
        assert!(!listener.is_there());
    }

    #[test]
    fn a_request_is_carried_out_or_withdrawn_and_never_both() {
        let (sender, receiver) = sync_channel(ASKS);
        let mut queue = Queue::new(receiver);
        let put = |request: Request| {
            let (answer, answers) = sync_channel(1);
            let claim = Claim::default();
            let (replacement, own) = (None, claim.clone());
            sender.send(Queued::Request { request, replacement, answer, claim }).ok().unwrap();
            (answers, own)
        };
        // The run is busy, or has not started yet.
        let (late, claim) = put(Request::SetUsers(50));
        assert_eq!(wait_for(&late, &claim, Duration::ZERO), Err(Refusal::Timeout));
        let (taken, claim) = put(Request::Drain);
        let Some(Queued::Request { request, answer, .. }) = queue.next() else { panic!() };
        assert_eq!(request, Request::Drain);
        assert_eq!((queue.take_withdrawn(), queue.take_withdrawn()), (1, 0));
        // An answer that is on its way when patience ends is waited for.
        let run = thread::spawn(move || answer.send(Reply::Done));
        assert_eq!(wait_for(&taken, &claim, Duration::ZERO), Ok(Reply::Done));
        run.join().unwrap().unwrap();
        assert!(queue.next().is_none());
    }
}

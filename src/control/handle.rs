//! The way to a run of this process: its state to read, and a queue for what is asked of it.

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
/// The longest wait for an answer. The supervising thread looks at its queue at once, unless it
/// writes a row to a disk that hangs.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest wait if a scenario is compiled and all workers have to take it.
const PATIENCE_SWAP: Duration = Duration::from_secs(10);

/// Deltas that wait for who listens. While they do, what follows is recorded in the next one.
const DELTAS: usize = 8;
/// The same once nobody listens any more.
const GONE: usize = usize::MAX;

/// The deltas of a run, as they come. Ends with the run.
#[derive(Debug)]
pub struct Deltas {
    deltas: Receiver<Delta>,
    waiting: Arc<AtomicUsize>,
}

impl Iterator for Deltas {
    type Item = Delta;

    /// Waits for the next one.
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
    /// Tells whether anybody listens.
    pub(super) fn is_there(&self) -> bool {
        self.waiting.load(Ordering::Acquire) != GONE
    }

    /// Tells whether so many wait already that the next ones are better recorded in one.
    pub(super) fn is_behind(&self) -> bool {
        self.waiting.load(Ordering::Acquire) >= DELTAS
    }

    /// Sends one, whether there is room or not.
    pub(super) fn send(&self, delta: Delta) {
        if self.is_there() {
            self.waiting.fetch_add(1, Ordering::AcqRel);
            let _ = self.deltas.send(delta);
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

    /// The permission, for those who start their commands.
    pub(crate) fn commands(&self) -> &Arc<AtomicBool> {
        &self.api_commands
    }
}

/// The name, in errors, of a scenario that came as a text.
pub(crate) const DOCUMENT: &str = "scenario";

/// A request, and the channel for its answer.
pub(super) enum Queued {
    /// Something is asked.
    Request {
        request: Request,
        /// The scenario of [`Request::Swap`], compiled by whoever asks.
        replacement: Option<Replacement>,
        answer: SyncSender<Reply>,
    },
    /// Deltas are wanted under this name.
    Listen(Listener),
}

/// The end of the queue that the supervising thread reads.
pub(crate) struct Queue(pub(super) Receiver<Queued>);

/// The part that all handles of a run share.
pub(super) struct Shared {
    pub(super) id: String,
    pub(super) policy: Policy,
    pub(super) state: ArcSwap<Published>,
    queue: SyncSender<Queued>,
    /// The compiler of its run, once that is planned.
    pub(super) compiler: OnceLock<Arc<Compiler>>,
    /// The supervising thread, to wake it.
    thread: OnceLock<Thread>,
    join: Mutex<Option<JoinHandle<()>>>,
    /// The oldest of the times at which its workers sent their last report, on the monotonic clock.
    pub(super) beat_ns: AtomicU64,
    /// Time by which the engine must have ended, on the monotonic clock; `u64::MAX` for never.
    pub(super) end_by_ns: AtomicU64,
}

/// A run of this process, to be read and asked. Clones are the same run.
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
        (Self { shared: Arc::new(shared) }, Queue(receiver))
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Stores the thread that was started for the engine.
    pub(crate) fn adopt(&self, thread: JoinHandle<()>) {
        let _ = self.shared.thread.set(thread.thread().clone());
        *self.shared.join.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    }

    /// Makes the calling thread the one that answers; no handle waits for its end.
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

    /// Publishes how it is doing.
    pub(crate) fn publish(&self, state: Published) {
        self.shared.state.store(Arc::new(state));
    }

    /// The permissions of scenarios.
    pub(crate) fn policy(&self) -> &Policy {
        &self.shared.policy
    }

    /// Asks something of the run, and waits until it is done: the workers have been told, and a
    /// new scenario has been taken by all of them.
    ///
    /// # Errors
    /// The reason why it is not done.
    pub fn ask(&self, request: Request) -> Result<(), Refusal> {
        self.tell(request).map(|_| ())
    }

    /// As [`ask`](Self::ask), and returns what the run tells of itself.
    ///
    /// # Errors
    /// As there.
    pub fn tell(&self, request: Request) -> Result<Option<Told>, Refusal> {
        request.check()?;
        let (replacement, patience) = match &request {
            Request::Swap(new) => (Some(self.compile(new)?), PATIENCE_SWAP),
            _ => (None, PATIENCE),
        };
        let (answer, answers) = sync_channel(1);
        self.put(Queued::Request { request, replacement, answer })?;
        let reply = answers.recv_timeout(patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => Refusal::Timeout,
            RecvTimeoutError::Disconnected => Refusal::Over,
        });
        reply?.into_result()
    }

    /// The deltas of the run from now on, one a second, under the name of `source`. They add up to
    /// what was counted from here on, however late they are taken. Another call takes them over.
    ///
    /// # Errors
    /// If the run is over or busy.
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

    /// Makes new calls follow the scenario at `source`, which the configuration names. `false` if
    /// they do already: the same text from the same place changes nothing.
    ///
    /// # Errors
    /// As for [`ask`](Self::ask).
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

    /// Checks whether a text of a client of the API could take the place of the run's scenario and
    /// of its file, as [`Request::Swap`] would say, as far as that is known without the workers.
    ///
    /// # Errors
    /// The mistake in it.
    pub fn check_scenario(&self, xml: &str) -> Result<(), Refusal> {
        self.compile(&NewScenario::Sent(xml.to_owned())).map(|_| ())
    }

    /// Compiles a scenario as one that shall take the place of the run's.
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
        // No client of the API waits for this request, so none could be told.
        let is_kept = matches!(new, NewScenario::Configured { is_sent: true, .. });
        let replacement = compiler.compile(text, embedded, allows_commands, is_kept);
        let replacement = replacement.map_err(invalid)?;
        Ok(Replacement { source, ..replacement })
    }

    /// Tells the run when it must have ended; does not wait.
    pub(crate) fn end_by(&self, monotonic_ns: u64) {
        // The earliest time counts: a later request cannot extend it.
        self.shared.end_by_ns.fetch_min(monotonic_ns, Ordering::Relaxed);
        self.wake();
    }

    /// Time by which it must have ended, on the monotonic clock, if there is one.
    pub(crate) fn end_by_ns(&self) -> Option<u64> {
        let end_by_ns = self.shared.end_by_ns.load(Ordering::Relaxed);
        (end_by_ns != u64::MAX).then_some(end_by_ns)
    }

    /// The oldest of the times at which its workers sent their last report, on the monotonic clock.
    pub(crate) fn beat_ns(&self) -> u64 {
        self.shared.beat_ns.load(Ordering::Relaxed)
    }

    /// Tells whether its thread has ended, which happens soon after its state says so.
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

//! The handle of an engine: its state for reading, and the queue of requests.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::error::AskError;
use super::registry::Policy;
use super::spec::{Bind, Claim, EngineKind, EngineSpec};
use super::state::EngineState;
use crate::config::ScenarioSource;
use crate::run::RunError;
use crate::run::supervised::{Compiler, Replacement, Text};

/// Most requests that wait at one time.
const ASKS: usize = 32;
/// Longest wait for an answer. The engine's thread handles requests at once, unless it writes a row
/// to a disk that hangs.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest wait if a scenario is compiled and all workers have to take it.
const PATIENCE_SWAP: Duration = Duration::from_secs(10);

/// A request to an engine.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// Set the rate, in calls per second.
    SetRate(f64),
    /// Pause the start of calls, or resume it. An engine that answers calls takes no new ones.
    SetPaused(bool),
    /// Set the number of users.
    SetUsers(u64),
    /// Set the limit of open calls.
    SetCallLimit(u64),
    /// Set the number of calls since the start; `None` is no limit.
    SetCallsTotal(Option<u64>),
    /// Make a listener accept or refuse calls; open ones go on.
    SetListener {
        /// Index of the listener, from 0.
        index: usize,
        /// True to accept calls.
        enabled: bool,
    },
    /// Set the scenario of new calls; open ones keep theirs.
    Swap(NewScenario),
    /// Start no new calls; open ones end by themselves.
    Drain,
    /// Start no new calls and end the open ones, which takes at most five seconds.
    Stop,
    /// Reset the statistics.
    ResetStats,
}

/// The source of another scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewScenario {
    /// The text that a client of the API sent. The client may call only permitted addresses
    /// (`targets`). The engine's file stays as it is.
    Sent(String),
    /// The engine's file, which is read again.
    Reload,
    /// The scenario that the configuration names now; it becomes the engine's source.
    Configured {
        /// The source.
        source: ScenarioSource,
        /// The text that was read from it.
        text: String,
        /// `true` if a client of the API wrote the file.
        is_sent: bool,
    },
}

/// The name, in errors, of a scenario that came as a text.
pub(crate) const DOCUMENT: &str = "scenario";

/// A request, and the channel for its answer.
pub(in crate::server) struct Question {
    pub(super) ask: Ask,
    /// The scenario of [`Ask::Swap`], compiled by the caller.
    pub(super) replacement: Option<Replacement>,
    pub(super) answer: SyncSender<Result<(), AskError>>,
}

/// The state that all handles of an engine share.
pub(super) struct Shared {
    pub(super) id: String,
    pub(super) kind: EngineKind,
    /// Files that it writes under configured names.
    files: Vec<PathBuf>,
    pub(super) policy: Policy,
    pub(super) state: ArcSwap<EngineState>,
    questions: SyncSender<Question>,
    /// The compiler of its run, once that is planned.
    pub(super) compiler: OnceLock<Arc<Compiler>>,
    /// The engine's thread, to be woken.
    thread: OnceLock<Thread>,
    join: Mutex<Option<JoinHandle<()>>>,
    /// The oldest of the times at which its workers sent their last report, on the monotonic clock.
    pub(super) beat_ns: AtomicU64,
    /// Time by which the engine must have ended, on the monotonic clock; `u64::MAX` for never.
    pub(super) end_by_ns: AtomicU64,
}

/// An engine's state and requests. Clones refer to the same engine.
#[derive(Clone)]
pub struct EngineHandle {
    shared: Arc<Shared>,
}

impl EngineHandle {
    /// Creates a handle, and the end of the queue that the engine's thread reads.
    pub(super) fn new(
        spec: &EngineSpec,
        policy: Policy,
        state: EngineState,
    ) -> (Self, Receiver<Question>) {
        let (questions, queue) = sync_channel(ASKS);
        let shared = Shared {
            id: spec.id.clone(),
            kind: spec.kind,
            files: Claim::of(spec).files,
            policy,
            state: ArcSwap::from_pointee(state),
            questions,
            compiler: OnceLock::new(),
            thread: OnceLock::new(),
            join: Mutex::new(None),
            beat_ns: AtomicU64::new(u64::MAX),
            end_by_ns: AtomicU64::new(u64::MAX),
        };
        (Self { shared: Arc::new(shared) }, queue)
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Stores the thread that was started for the engine.
    pub(super) fn adopt(&self, thread: JoinHandle<()>) {
        let _ = self.shared.thread.set(thread.thread().clone());
        *self.shared.join.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    }

    /// Makes the calling thread the one that answers; no handle waits for its end.
    pub(super) fn adopt_this_thread(&self) {
        let _ = self.shared.thread.set(thread::current());
    }

    /// Stores the compiler for scenario swaps of its run.
    pub(in crate::server) fn adopt_compiler(&self, compiler: &Arc<Compiler>) {
        let _ = self.shared.compiler.set(Arc::clone(compiler));
    }

    /// The engine's id.
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// The origin of the engine.
    pub fn kind(&self) -> EngineKind {
        self.shared.kind
    }

    /// The state of the engine. Never blocks.
    pub fn state(&self) -> Arc<EngineState> {
        self.shared.state.load_full()
    }

    /// Sends a request to the engine, and waits until it is done: the workers have been told, and a
    /// new scenario has been taken by all of them.
    ///
    /// # Errors
    /// The reason why it could not be done.
    pub fn ask(&self, ask: Ask) -> Result<(), AskError> {
        let (replacement, patience) = match &ask {
            Ask::Swap(new) => (Some(self.compile(new)?), PATIENCE_SWAP),
            _ => (None, PATIENCE),
        };
        let (answer, answers) = sync_channel(1);
        let question = Question { ask, replacement, answer };
        self.shared.questions.try_send(question).map_err(|error| match error {
            TrySendError::Full(_) => AskError::Busy,
            TrySendError::Disconnected(_) => AskError::Over,
        })?;
        self.wake();
        answers.recv_timeout(patience).unwrap_or_else(|error| {
            Err(match error {
                RecvTimeoutError::Timeout => AskError::Timeout,
                RecvTimeoutError::Disconnected => AskError::Over,
            })
        })
    }

    /// Makes new calls follow the scenario at `source`, which the configuration names. `false` if
    /// they do already: the same text from the same place changes nothing.
    ///
    /// # Errors
    /// Those of [`ask`](Self::ask).
    pub fn follow(&self, source: ScenarioSource) -> Result<bool, AskError> {
        let compiler = self.shared.compiler.get().ok_or(AskError::Busy)?;
        let text = compiler.read(&source).map_err(|error| AskError::Invalid(error.to_string()))?;
        let scenario = &self.state().scenario;
        if scenario.source == source && *scenario.xml == *text.xml {
            return Ok(false);
        }
        let Text { xml: text, is_sent, .. } = text;
        self.ask(Ask::Swap(NewScenario::Configured { source, text, is_sent })).map(|()| true)
    }

    /// Checks that a text from a client of the API could replace the engine's scenario and its
    /// file, as [`Ask::Swap`] would, as far as this is known without the workers.
    ///
    /// # Errors
    /// The error of the text.
    pub fn check_scenario(&self, xml: &str) -> Result<(), AskError> {
        self.compile(&NewScenario::Sent(xml.to_owned())).map(|_| ())
    }

    /// Compiles a scenario that is to replace the engine's.
    fn compile(&self, new: &NewScenario) -> Result<Replacement, AskError> {
        let state = self.state();
        let missing = if state.phase.is_over() { AskError::Over } else { AskError::Busy };
        let compiler = self.shared.compiler.get().ok_or(missing)?;
        let invalid = |error: RunError| match error {
            RunError::Swap(_) | RunError::Limit { .. } => AskError::Refused(error.to_string()),
            RunError::Target { .. } => AskError::Forbidden(error.to_string()),
            _ => AskError::Invalid(error.to_string()),
        };
        let current = &state.scenario.source;
        let (text, source) = match new {
            // The client that sent it does not know the names of our files.
            NewScenario::Sent(xml) => {
                (Text { name: DOCUMENT.to_owned(), xml: xml.clone(), is_sent: true }, None)
            }
            NewScenario::Reload if matches!(current, ScenarioSource::Builtin(_)) => {
                let why = "the engine runs a built-in scenario: there is no file to read again";
                return Err(AskError::Refused(why.to_owned()));
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

    /// Sets the time by which the engine must have ended; does not block.
    pub(super) fn end_by(&self, monotonic_ns: u64) {
        // The earliest time counts: a later request cannot extend it.
        self.shared.end_by_ns.fetch_min(monotonic_ns, Ordering::Relaxed);
        self.wake();
    }

    /// The addresses and files that the engine claims, as long as it is not over.
    pub(super) fn claim(&self) -> Claim {
        let state = self.state();
        if state.phase.is_over() {
            return Claim::default();
        }
        let listeners = state.listeners.iter().map(|listener| Bind {
            is_stream: listener.transport.is_stream(),
            ip: Some(listener.local_ip),
            port: listener.local_port,
        });
        let client = state.client.iter().map(|client| Bind {
            is_stream: client.transport.is_stream(),
            ip: Some(client.local_ip),
            port: client.local_port,
        });
        Claim { binds: listeners.chain(client).collect(), files: self.shared.files.clone() }
    }

    /// The oldest of the times at which its workers sent their last report, on the monotonic clock.
    pub(super) fn beat_ns(&self) -> u64 {
        self.shared.beat_ns.load(Ordering::Relaxed)
    }

    /// Tells whether its thread has ended, which happens soon after its state says so.
    pub(super) fn is_gone(&self) -> bool {
        let join = self.shared.join.lock().unwrap_or_else(PoisonError::into_inner);
        join.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn wake(&self) {
        if let Some(thread) = self.shared.thread.get() {
            thread.unpark();
        }
    }
}

impl fmt::Debug for EngineHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = self.state().phase.clone();
        f.debug_struct("EngineHandle")
            .field("id", &self.shared.id)
            .field("kind", &self.shared.kind)
            .field("phase", &phase)
            .finish_non_exhaustive()
    }
}

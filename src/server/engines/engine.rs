//! The thread of an engine: it starts the run, supervises it to the end, answers requests, and
//! publishes its state.

use std::any::Any;
use std::error::Error;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use gossipper_uring::sys;

use super::desk::Desk;
use super::error::{AskError, StartFailure};
use super::handle::{DOCUMENT, EngineHandle, Question, Shared};
use super::registry::Told;
use super::spec::{EngineKind, EngineSpec};
use super::state::{ClientState, EngineState, Phase, ScenarioState};
use crate::config::targets::{Hold, Refusal};
use crate::config::{ControlPort, RunConfig, ScenarioSource, TraceFormat};
use crate::output::ConsoleLine;
use crate::output::summary::Media;
use crate::run::RunError;
use crate::run::supervised::{BESIDE_PART, ListenAt, Planned, Steered, Supervisor, Terms, Text};
use crate::stats::{Aggregate, CallTotals, Health, RunStart};

/// Period at which an engine checks its clock. Workers and requests wake it earlier.
const POLL: Duration = Duration::from_millis(50);
/// Most of the time to a deadline that is kept for ending calls with BYE.
const GOODBYE_NS: u64 = 3_000_000_000;
/// Most of the time to a deadline that is kept for writing the last reports.
const REPORTS_NS: u64 = 1_000_000_000;

/// The part of the time to a deadline in which open calls may end by themselves.
fn own_time_ns(left_ns: u64) -> u64 {
    left_ns - REPORTS_NS.min(left_ns / 4) - GOODBYE_NS.min(left_ns / 3)
}

/// The time for which open calls may go on if engines must have ended `within` a given time. The
/// rest is for ending them with BYE, and for reports.
pub(in crate::server) fn own_time(within: Duration) -> Duration {
    Duration::from_nanos(own_time_ns(u64::try_from(within.as_nanos()).unwrap_or(u64::MAX)))
}

/// The data for the start of an engine.
pub(super) struct Start {
    pub(super) handle: EngineHandle,
    pub(super) spec: EngineSpec,
    pub(super) questions: Receiver<Question>,
    /// The channel for the result of the start, which is sent once.
    pub(super) started: SyncSender<Result<(), StartFailure>>,
    /// Number of workers for each listener, if the engine shares the CPUs with others.
    pub(super) workers: Option<usize>,
    /// A scenario that a client sent, in place of that of the specification.
    pub(super) sent: Option<String>,
    pub(super) told: Told,
}

/// The state of an engine that has not started yet.
pub(super) fn initial_state(spec: &EngineSpec) -> EngineState {
    let started_at_unix_ns = sys::realtime_now_ns();
    let start = RunStart { unix_ns: started_at_unix_ns, monotonic_ns: 0 };
    let source = spec.run.scenario.clone();
    let (file, name) = match &source {
        ScenarioSource::File(path) => (Some(path.clone()), String::new()),
        ScenarioSource::Builtin(name) => (None, name.clone()),
    };
    let nothing = Aggregate::new(Arc::default(), 0, start);
    EngineState {
        phase: Phase::Starting,
        run_id: run_id(),
        started_at_unix_ns,
        snapshot: Arc::new(nothing.snapshot()),
        lifetime: Arc::new(nothing.lifetime()),
        health: Health::default(),
        rate: 0.0,
        users: spec.run.users,
        call_limit: None,
        is_client: false,
        is_paused: false,
        listeners: Vec::new(),
        client: None,
        scenario: ScenarioState { builtin: file.is_none(), name, source, file, xml: Arc::from("") },
        driver: "",
        notices: Vec::new(),
        protocol: spec.run.transport.protocol(),
        summary: OnceLock::new(),
    }
}

/// The engine's thread.
pub(super) fn run(start: Start) {
    let handle = start.handle.clone();
    let started = start.started.clone();
    let mut has_run = false;
    guard(handle.shared(), &started, || {
        let mut engine = Engine::start(&handle, start)?;
        has_run = true;
        engine.desk.publish_start(&engine.run);
        let _ = started.try_send(Ok(()));
        engine.supervise();
        engine.finish();
        Ok(())
    });
    // Memory of an ended client is not kept for the next one. A refused engine never had pools, and
    // repeated requests must not make all others wait for the allocator.
    if has_run {
        sys::return_free_memory();
    }
}

/// Does `work`. An error, or a panic, ends this engine and no other.
fn guard(
    shared: &Shared,
    started: &SyncSender<Result<(), StartFailure>>,
    work: impl FnOnce() -> Result<(), Box<dyn Error>>,
) {
    let (reason, is_bind) = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => return,
        Ok(Err(error)) => {
            let is_bind = error.downcast_ref::<RunError>().is_some_and(RunError::is_bind);
            (error.to_string(), is_bind)
        }
        Err(panic) => (format!("the engine panicked: {}", panic_text(&*panic)), false),
    };
    fail(shared, reason.clone());
    // If the engine was already running, no one waits for the start any more. The code that starts
    // the process reports why it does not start.
    let is_told = started.try_send(Err(StartFailure { reason: reason.clone(), is_bind })).is_ok();
    if !(is_told && shared.kind == EngineKind::Primary) {
        tracing::error!("engine {}: {reason}", shared.id);
    }
}

/// Publishes the last state again, with the reason of the failure.
fn fail(shared: &Shared, reason: String) {
    let last = shared.state.load_full();
    shared.state.store(Arc::new(EngineState {
        phase: Phase::Failed { reason },
        run_id: last.run_id.clone(),
        snapshot: Arc::clone(&last.snapshot),
        lifetime: Arc::clone(&last.lifetime),
        health: last.health.clone(),
        listeners: Vec::new(),
        client: last.client.clone().map(|client| ClientState { accepting: false, ..client }),
        scenario: last.scenario.clone(),
        notices: last.notices.clone(),
        summary: OnceLock::new(),
        ..*last
    }));
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

/// Logs the warnings and notices of a plan that no other engine has logged, and returns all of
/// them.
fn tell_notices(id: &str, planned: &Planned, told: &Told) -> Vec<String> {
    let notices = planned.warnings().chain(planned.notices());
    let notices: Vec<String> = notices.cloned().collect();
    for notice in notices.iter().filter(|notice| told.is_new(notice)) {
        tracing::warn!("engine {id}: {notice}");
    }
    notices
}

/// Random bits that distinguish this run from others.
fn run_id() -> String {
    use std::hash::{BuildHasher, Hasher};
    // The standard library keys its hash maps from the system's random source.
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u64(sys::realtime_now_ns());
    format!("{:016x}", hasher.finish())
}

/// A running engine.
struct Engine<'s> {
    shared: &'s Shared,
    config: Arc<RunConfig>,
    run: Supervisor,
    desk: Desk,
    next_line_ns: u64,
    is_shutting_down: bool,
}

impl<'s> Engine<'s> {
    fn start(handle: &'s EngineHandle, start: Start) -> Result<Self, Box<dyn Error>> {
        let Start { spec, questions, started, workers, sent, told, .. } = start;
        check_run(&spec.run)?;
        let shared = handle.shared();
        let places = spec.places();
        let mut config = spec.run;
        if let Some(first) = places.first() {
            config.transport = first.transport;
            config.local_ip = first.local_ip;
            config.local_port = first.local_port;
        }
        let shares_cpus = workers.is_some() && config.cpus.is_empty();
        config.workers = config.workers.or(workers);
        let more: Vec<ListenAt> = places
            .iter()
            .skip(1)
            .map(|place| ListenAt {
                transport: place.transport,
                local_ip: place.local_ip,
                local_port: place.local_port,
            })
            .collect();
        let config = Arc::new(config);
        let is_given = sent.is_some();
        let given = sent.map(|xml| Text { name: DOCUMENT.to_owned(), xml, is_sent: true });
        let steered = Steered {
            more: &more,
            given,
            sent_may_command: Arc::clone(shared.policy.commands()),
            is_gated: shared.kind == EngineKind::Dynamic,
            expects_commands: true,
            terms: terms(shared.kind),
        };
        let mut planned = Planned::with_listeners(Arc::clone(&config), steered)?;
        if is_ended(shared) {
            return Err("it was ended before it began".into());
        }
        planned.look_often();
        handle.adopt_compiler(planned.compiler());
        let hold = hold(&config, &planned)?;
        if shares_cpus {
            planned.leave_cpus_alone();
        }
        let notices = tell_notices(&shared.id, &planned, &told);
        if config.start_delay_ms > 0 {
            // The other engines need not wait for the delay of this one.
            let _ = started.try_send(Ok(()));
            let delay = Duration::from_millis(config.start_delay_ms);
            if !sleep_unless_ended(shared, delay) {
                planned.make_no_call();
            }
        }
        let run = planned.open(Some(&shared.id))?.launch()?;
        let start_ns = run.start_ns();
        tracing::debug!("engine {}: it runs {}", shared.id, run.scenario_name());
        let mut desk = Desk::open(handle, questions, Arc::clone(&config), places, notices, &run);
        if is_given {
            desk.note_sent();
        }
        Ok(Self {
            shared,
            desk: desk.holding(hold),
            next_line_ns: match config.stat_period_ms {
                Some(period_ms) if period_ms > 0 => start_ns + period_ms * 1_000_000,
                _ => u64::MAX,
            },
            is_shutting_down: false,
            run,
            config,
        })
    }

    /// Supervises the run to its end.
    fn supervise(&mut self) {
        while !self.run.is_over() {
            thread::park_timeout(POLL);
            let now = sys::monotonic_now();
            let has_reports = self.run.poll(now);
            for note in self.run.take_notes() {
                self.desk.note(note);
            }
            if self.run.has_lost_worker() && !self.run.is_ending() {
                let text = "a worker has ended unexpectedly: the engine is stopped";
                self.desk.note(text.to_owned());
                self.run.stop();
            }
            self.look_at_the_end(now);
            self.desk.look_at_targets(&mut self.run, now);
            self.desk.serve(&mut self.run, has_reports, now);
            if now >= self.next_line_ns {
                let period_ms = self.config.stat_period_ms.unwrap_or(1000);
                self.next_line_ns = now + period_ms * 1_000_000;
                let line = ConsoleLine {
                    snapshot: self.desk.snapshot(),
                    media: &Media::default(),
                    engine: Some(&self.shared.id),
                };
                let _ = writeln!(io::stderr(), "{line}");
            }
        }
    }

    /// Begins to end the run once the process wants to end, within the time that is left.
    fn look_at_the_end(&mut self, now: u64) {
        let end_by_ns = self.shared.end_by_ns.load(Ordering::Relaxed);
        if end_by_ns == u64::MAX || self.is_shutting_down {
            return;
        }
        self.is_shutting_down = true;
        let left_ns = end_by_ns.saturating_sub(now);
        let stop_ns = end_by_ns.saturating_sub(REPORTS_NS.min(left_ns / 4));
        self.run.end_by(now + own_time_ns(left_ns), stop_ns);
    }

    /// Ends the engine: all reports are written, and the last state has the result.
    fn finish(mut self) {
        let failed = self.run.join();
        let shell = self.run.take_shell();
        let state = self.desk.last_state(&self.run);
        let finished = self.run.finish(None, failed);
        let commands_lost = shell.map_or(0, |shell| shell.finish());
        for notice in self.desk.close(state, &finished, commands_lost) {
            tracing::warn!("engine {}: {notice}", self.shared.id);
        }
        let (id, totals) = (&self.shared.id, totals(&finished.snapshot.calls));
        match &self.shared.state.load().phase {
            Phase::Failed { reason } => tracing::error!("engine {id}: failed: {totals}: {reason}"),
            _ => tracing::info!("engine {id}: ended: {totals}"),
        }
    }
}

/// The numbers of calls of a run, in a line.
pub(super) fn totals(calls: &CallTotals) -> String {
    let CallTotals { started, succeeded, failed, .. } = calls;
    let open = match calls.active {
        0 => String::new(),
        active => format!(", {active} open"),
    };
    format!("{started} calls, {succeeded} successful, {failed} failed{open}")
}

/// The terms that the process sets for an engine. A default pool of the primary one may take half
/// of the memory that is left. Those of the others take so little that all possible engines find
/// some. Dynamic engines are not in the configuration, so no reload changes them.
fn terms(kind: EngineKind) -> Terms {
    match kind {
        EngineKind::Primary => Terms { part: 2, total_may_grow: true },
        EngineKind::Static => Terms { part: BESIDE_PART, total_may_grow: true },
        EngineKind::Dynamic => Terms { part: BESIDE_PART, total_may_grow: false },
    }
}

/// Takes the run's share of the ceilings of its targets, if it was requested over the API.
fn hold(config: &RunConfig, planned: &Planned) -> Result<Option<Hold>, Refusal> {
    let Some(targets) = config.reach.for_run() else { return Ok(None) };
    let (places, load) = planned.outgoing();
    let is_websocket = config.transport.is_websocket();
    let hold = targets.hold(places, is_websocket, load, sys::realtime_now_ns());
    hold.map(Some).inspect_err(|_| config.reach.note_refusal())
}

/// Refuses options that need a process of their own.
fn check_run(run: &RunConfig) -> Result<(), AskError> {
    let refused = [
        (run.background, "-bg", "the service manager puts the server into the background"),
        (run.interactive, "-interactive", "an engine of the server has no terminal"),
        (
            run.trace.screen.is_on && run.trace.format == TraceFormat::Sipp,
            "-trace_screen",
            "an engine of the server has no screens",
        ),
        (
            run.control_socket.port != ControlPort::Closed,
            "-cp and -ci",
            "engines of the server are controlled over its API",
        ),
    ];
    match refused.into_iter().find(|(is_given, ..)| *is_given) {
        Some((_, option, why)) => {
            Err(AskError::Refused(format!("{option} cannot be given: {why}")))
        }
        None => Ok(()),
    }
}

/// Tells whether the engine has got a time by which it must have ended.
fn is_ended(shared: &Shared) -> bool {
    shared.end_by_ns.load(Ordering::Relaxed) != u64::MAX
}

/// Sleeps; `false` if the process wants to end meanwhile.
fn sleep_unless_ended(shared: &Shared, length: Duration) -> bool {
    let end_ns = sys::monotonic_now() + u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
    loop {
        if is_ended(shared) {
            return false;
        }
        let left_ns = end_ns.saturating_sub(sys::monotonic_now());
        if left_ns == 0 {
            return true;
        }
        thread::park_timeout(Duration::from_nanos(left_ns).min(POLL));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::config::{Flavor, RunDraft};
    use crate::server::engines::{EngineKind, Policy};

    fn spec() -> EngineSpec {
        let run = RunDraft::default().resolve(Flavor::Gossipper).unwrap();
        EngineSpec { id: "one".to_owned(), kind: EngineKind::Static, listeners: Vec::new(), run }
    }

    #[test]
    fn a_panic_is_a_reason_and_no_end_of_anybody_else() {
        let spec = spec();
        let (handle, _questions) =
            EngineHandle::new(&spec, Policy::default(), initial_state(&spec));
        let (started, starts) = sync_channel(1);
        guard(handle.shared(), &started, || panic!("out of {}", "luck"));
        let Phase::Failed { reason } = &handle.state().phase else { panic!("it has not failed") };
        assert_eq!(reason, "the engine panicked: out of luck");
        assert_eq!(&starts.recv().unwrap().unwrap_err().reason, reason);
        assert_eq!(handle.state().run_id.len(), 16);
    }

    #[test]
    fn options_of_a_process_are_refused_by_name() {
        assert!(check_run(&spec().run).is_ok());
        let mut run = spec().run;
        run.background = true;
        let error = check_run(&run).unwrap_err().to_string();
        assert!(error.contains("-bg"), "{error}");
        run.background = false;
        run.control_socket.port = ControlPort::Given(8888);
        let error = check_run(&run).unwrap_err().to_string();
        assert!(error.contains("-cp"), "{error}");
    }
}

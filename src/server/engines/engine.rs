//! The thread of an engine: it starts the run and is its front, to the end.

use std::any::Any;
use std::error::Error;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use gossipper_uring::sys;

use super::error::StartFailure;
use super::handle::EngineHandle;
use super::registry::Told;
use super::spec::{EngineKind, EngineSpec};
use crate::config::targets::{self, Hold};
use crate::config::{ControlPort, RunConfig, TraceFormat};
use crate::control::{
    self, ClientState, ControlledRun, DOCUMENT, EndedRun, Front, Phase, Queue, Refusal, Request,
    State, own_time_ns,
};
use crate::run::RunError;
use crate::run::supervised::{BESIDE_PART, Planned, Steered, Terms, Text};
use crate::stats::CallTotals;

/// The longest time between two turns of an engine.
const POLL: Duration = Duration::from_millis(50);

/// The time for which open calls may go on if engines must have ended `within` a given time. The
/// rest is for ending them with BYE, and for reports.
pub(in crate::server) fn own_time(within: Duration) -> Duration {
    Duration::from_nanos(own_time_ns(u64::try_from(within.as_nanos()).unwrap_or(u64::MAX)))
}

/// The data for the start of an engine.
pub(super) struct Start {
    pub(super) handle: EngineHandle,
    pub(super) spec: EngineSpec,
    pub(super) queue: Queue,
    /// The channel for the result of the start, which is sent once.
    pub(super) started: SyncSender<Result<(), StartFailure>>,
    /// Number of workers for each listener, if the engine shares the CPUs with others.
    pub(super) workers: Option<usize>,
    /// A scenario that a client sent, in place of that of the specification.
    pub(super) sent: Option<String>,
    pub(super) told: Told,
}

/// The engine's thread.
pub(super) fn run(start: Start) {
    let handle = start.handle.clone();
    let started = start.started.clone();
    let mut has_run = false;
    guard(&handle, &started, || {
        let run = start_run(&handle, start)?;
        has_run = true;
        let _ = started.try_send(Ok(()));
        finish(&handle, run.watch(&mut EngineFront { engine: &handle }));
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
    engine: &EngineHandle,
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
    fail(engine, reason.clone());
    // If the engine was already running, no one waits for the start any more. The code that starts
    // the process reports why it does not start.
    let is_told = started.try_send(Err(StartFailure { reason: reason.clone(), is_bind })).is_ok();
    if !(is_told && engine.kind() == EngineKind::Primary) {
        tracing::error!("engine {}: {reason}", engine.id());
    }
}

/// Publishes the last state again, with the reason of the failure.
fn fail(engine: &EngineHandle, reason: String) {
    let last = engine.state();
    let client = last.client.clone().map(|client| ClientState { accepting: false, ..client });
    engine.publish(last.with(State {
        phase: Phase::Failed { reason },
        listeners: Vec::new(),
        client,
        ..last.state.clone()
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

/// Plans and starts the run of an engine.
fn start_run(engine: &EngineHandle, start: Start) -> Result<ControlledRun, Box<dyn Error>> {
    let Start { spec, queue, started, workers, sent, told, .. } = start;
    check_run(&spec.run)?;
    let places = spec.places();
    let mut config = spec.run;
    if let Some(first) = places.first() {
        config.transport = first.transport;
        config.local_ip = first.local_ip;
        config.local_port = first.local_port;
    }
    let shares_cpus = workers.is_some() && config.cpus.is_empty();
    config.workers = config.workers.or(workers);
    let config = Arc::new(config);
    let is_sent = sent.is_some();
    let steered = Steered {
        more: places.get(1..).unwrap_or_default(),
        given: sent.map(|xml| Text { name: DOCUMENT.to_owned(), xml, is_sent: true }),
        sent_may_command: Arc::clone(engine.policy().commands()),
        is_gated: engine.kind() == EngineKind::Dynamic,
        expects_commands: true,
        terms: terms(engine.kind()),
    };
    let mut planned = Planned::with_listeners(Arc::clone(&config), steered)?;
    if is_ended(engine) {
        return Err("it was ended before it began".into());
    }
    planned.look_often();
    engine.adopt_compiler(planned.compiler());
    let hold = hold(&config, &planned)?;
    if shares_cpus {
        planned.leave_cpus_alone();
    }
    let notices = tell_notices(engine.id(), &planned, &told);
    if config.start_delay_ms > 0 {
        // The other engines need not wait for the delay of this one.
        let _ = started.try_send(Ok(()));
        let delay = Duration::from_millis(config.start_delay_ms);
        if !sleep_unless_ended(engine, delay) {
            planned.make_no_call();
        }
    }
    let run = planned.open(Some(engine.id()))?.launch()?;
    tracing::debug!("engine {}: it runs {}", engine.id(), run.scenario_name());
    let terms = control::Terms { places, notices, hold, is_sent };
    Ok(ControlledRun::new(engine, queue, config, terms, run))
}

/// The thread of an engine, as the front of its run.
struct EngineFront<'h> {
    engine: &'h EngineHandle,
}

impl Front for EngineFront<'_> {
    const POLL: Duration = POLL;

    fn note(&mut self, run: &mut ControlledRun, note: String) {
        run.note(note);
    }

    fn turn(&mut self, run: &mut ControlledRun, now: u64) {
        if run.run().has_lost_worker() && !run.run().is_ending() {
            let text = "a worker has ended unexpectedly: the engine is stopped";
            run.note(text.to_owned());
            // This request is never refused.
            let _ = run.ask(Request::StopNow, now);
        }
        if let Some(line) = run.line(Some(self.engine.id()), now) {
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}

/// Ends the engine: all reports are written, and the last state has the result.
fn finish(engine: &EngineHandle, mut run: EndedRun) {
    let shell = run.take_shell();
    let (finished, notices) = run.finish(None, shell);
    let id = engine.id();
    for notice in notices {
        tracing::warn!("engine {id}: {notice}");
    }
    let totals = totals(&finished.snapshot.calls);
    match &engine.state().phase {
        Phase::Failed { reason } => tracing::error!("engine {id}: failed: {totals}: {reason}"),
        _ => tracing::info!("engine {id}: ended: {totals}"),
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
fn hold(config: &RunConfig, planned: &Planned) -> Result<Option<Hold>, targets::Refusal> {
    let Some(targets) = config.reach.for_run() else { return Ok(None) };
    let (places, load) = planned.outgoing();
    let is_websocket = config.transport.is_websocket();
    let hold = targets.hold(places, is_websocket, load, sys::realtime_now_ns());
    hold.map(Some).inspect_err(|_| config.reach.note_refusal())
}

/// Refuses options that need a process of their own.
fn check_run(run: &RunConfig) -> Result<(), Refusal> {
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
        Some((_, option, why)) => Err(Refusal::Refused(format!("{option} cannot be given: {why}"))),
        None => Ok(()),
    }
}

/// Tells whether the engine has got a time by which it must have ended.
fn is_ended(engine: &EngineHandle) -> bool {
    engine.end_by_ns().is_some()
}

/// Sleeps; `false` if the process wants to end meanwhile.
fn sleep_unless_ended(engine: &EngineHandle, length: Duration) -> bool {
    let end_ns = sys::monotonic_now() + u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
    loop {
        if is_ended(engine) {
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
    use crate::control::{Policy, Published};

    fn spec() -> EngineSpec {
        let run = RunDraft::default().resolve(Flavor::Gossipper).unwrap();
        EngineSpec { id: "one".to_owned(), kind: EngineKind::Static, listeners: Vec::new(), run }
    }

    #[test]
    fn a_panic_is_a_reason_and_no_end_of_anybody_else() {
        let spec = spec();
        let (handle, _queue) =
            EngineHandle::new(&spec, Policy::default(), Published::starting(&spec.run));
        let (started, starts) = sync_channel(1);
        guard(&handle, &started, || panic!("out of {}", "luck"));
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

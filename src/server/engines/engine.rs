//! The thread of an engine: it starts the run, supervises it, answers what is asked, and publishes
//! its state, to the end.

use std::any::Any;
use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use gossipper_uring::sys;

use super::error::AskError;
use super::handle::{Ask, EngineHandle, Question, Shared};
use super::spec::{EngineSpec, ListenerSpec};
use super::state::{ClientState, EngineState, ListenerState, Phase, ScenarioState};
use crate::config::{ControlPort, RunConfig, ScenarioSource, TraceFormat};
use crate::output::ConsoleLine;
use crate::output::summary::Media;
use crate::run::supervised::{Finished, ListenAt, Planned, Supervisor};
use crate::stats::{Aggregate, Health, Lifetime, RunStart, Snapshot};

/// How often an engine looks at its clock. Workers and questions wake it.
const POLL: Duration = Duration::from_millis(50);
/// Figures are published this far apart at least: workers tell theirs four times a second, and not
/// at the same time.
const PUBLISH_NS: u64 = 100_000_000;
/// Notices that are kept.
const NOTICES_MAX: usize = 50;
/// Rates beyond this are mistakes.
const RATE_MAX: f64 = 1e9;
/// Part of the time to a deadline, and at most this, that is kept for ending calls with BYE.
const GOODBYE_NS: u64 = 3_000_000_000;
/// The same for writing what the run leaves behind.
const REPORTS_NS: u64 = 1_000_000_000;

/// What an engine is given at its start.
pub(super) struct Start {
    pub(super) handle: EngineHandle,
    pub(super) spec: EngineSpec,
    pub(super) questions: Receiver<Question>,
    /// Told once: it runs, or why it does not.
    pub(super) started: SyncSender<Result<(), String>>,
    /// It shares the CPUs with others, and takes so many workers for each listener.
    pub(super) workers: Option<usize>,
}

/// The state of an engine that has not started yet.
pub(super) fn initial_state(spec: &EngineSpec) -> EngineState {
    let started_at_unix_ns = sys::realtime_now_ns();
    let start = RunStart { unix_ns: started_at_unix_ns, monotonic_ns: 0 };
    let (file, name) = match &spec.run.scenario {
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
        scenario: ScenarioState { builtin: file.is_none(), name, file, xml: Arc::from("") },
        driver: "",
        notices: Vec::new(),
        protocol: spec.run.transport.protocol(),
        summary: OnceLock::new(),
    }
}

/// The engine's thread.
pub(super) fn run(start: Start) {
    let Start { handle, spec, questions, started, workers } = start;
    let shared = Arc::clone(handle.shared());
    guard(&shared, &started, || {
        let mut engine = Engine::start(&shared, spec, workers, &started)?;
        engine.publish(Phase::Running);
        let _ = started.try_send(Ok(()));
        engine.supervise(&questions);
        engine.finish();
        Ok(())
    });
}

/// Does `work`. An error, and a panic, is the end of this engine and of no other.
fn guard(
    shared: &Shared,
    started: &SyncSender<Result<(), String>>,
    work: impl FnOnce() -> Result<(), Box<dyn Error>>,
) {
    let reason = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(panic) => format!("the engine panicked: {}", panic_text(&*panic)),
    };
    tracing::error!(engine = shared.id, "failed: {reason}");
    fail(shared, reason.clone());
    // Nobody waits any more if it was running already.
    let _ = started.try_send(Err(reason));
}

/// The state as it was, and the reason why nothing follows.
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

/// Bits that no other run has, with a probability that is good enough to tell runs apart.
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
    places: Vec<ListenerSpec>,
    /// By listener.
    enabled: Vec<bool>,
    xml: Arc<str>,
    /// Whether `xml` took the place of the scenario that the engine was started with.
    has_swapped: bool,
    /// The snapshot published last.
    snapshot: Arc<Snapshot>,
    /// As of the same report.
    lifetime: Arc<Lifetime>,
    health: Health,
    notices: VecDeque<String>,
    next_publish_ns: u64,
    next_line_ns: u64,
    is_shutting_down: bool,
    /// Who waits for all workers to have a new scenario.
    swap_answer: Option<SyncSender<Result<(), AskError>>>,
}

impl<'s> Engine<'s> {
    fn start(
        shared: &'s Shared,
        spec: EngineSpec,
        workers: Option<usize>,
        started: &SyncSender<Result<(), String>>,
    ) -> Result<Self, Box<dyn Error>> {
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
        let mut planned = Planned::with_listeners(Arc::clone(&config), &more)?;
        planned.look_often();
        let _ = shared.compiler.set(Arc::clone(planned.compiler()));
        if shares_cpus {
            planned.leave_cpus_alone();
        }
        let notices: VecDeque<String> = planned.notices().take(NOTICES_MAX).cloned().collect();
        for notice in &notices {
            tracing::warn!(engine = shared.id, "{notice}");
        }
        if config.start_delay_ms > 0 {
            // The others need not wait for it.
            let _ = started.try_send(Ok(()));
            let delay = Duration::from_millis(config.start_delay_ms);
            if !sleep_unless_ended(shared, delay) {
                planned.make_no_call();
            }
        }
        let run = planned.open(Some(&shared.id))?.launch()?;
        let snapshot = Arc::new(run.snapshot());
        let start_ns = run.start_ns();
        tracing::info!(engine = shared.id, scenario = run.scenario_name(), "running");
        Ok(Self {
            shared,
            enabled: vec![true; places.len()],
            places,
            xml: Arc::from(run.text().xml.as_str()),
            has_swapped: false,
            health: run.health(&snapshot),
            snapshot,
            lifetime: Arc::new(run.lifetime()),
            notices,
            next_publish_ns: start_ns,
            next_line_ns: match config.stat_period_ms {
                Some(period_ms) if period_ms > 0 => start_ns + period_ms * 1_000_000,
                _ => u64::MAX,
            },
            is_shutting_down: false,
            swap_answer: None,
            run,
            config,
        })
    }

    /// Watches the run to its end.
    fn supervise(&mut self, questions: &Receiver<Question>) {
        let mut has_news = false;
        while !self.run.is_over() {
            thread::park_timeout(POLL);
            let now = sys::monotonic_now();
            has_news |= self.run.poll(now);
            for note in self.run.take_notes() {
                self.note(note);
            }
            if self.run.has_lost_worker() && !self.run.is_ending() {
                self.note("a worker has ended before its time: the engine is stopped".to_owned());
                self.run.stop();
            }
            self.look_at_the_end(now);
            while let Ok(question) = questions.try_recv() {
                self.take(question, now);
            }
            self.look_at_the_swap();
            self.shared.beat_ns.store(self.run.oldest_report_ns(), Ordering::Relaxed);
            if has_news && now >= self.next_publish_ns {
                has_news = false;
                self.next_publish_ns = now + PUBLISH_NS;
                self.refresh();
                self.publish(self.phase());
            }
            if now >= self.next_line_ns {
                let period_ms = self.config.stat_period_ms.unwrap_or(1000);
                self.next_line_ns = now + period_ms * 1_000_000;
                let line = ConsoleLine {
                    snapshot: &self.snapshot,
                    media: &Media::default(),
                    engine: Some(&self.shared.id),
                };
                let _ = writeln!(io::stderr(), "{line}");
            }
        }
    }

    /// Whether the process wants to end, and by when.
    fn look_at_the_end(&mut self, now: u64) {
        let end_by_ns = self.shared.end_by_ns.load(Ordering::Relaxed);
        if end_by_ns == u64::MAX || self.is_shutting_down {
            return;
        }
        self.is_shutting_down = true;
        let left_ns = end_by_ns.saturating_sub(now);
        let reports_ns = REPORTS_NS.min(left_ns / 4);
        let goodbye_ns = GOODBYE_NS.min(left_ns / 3);
        let stop_ns = end_by_ns.saturating_sub(reports_ns);
        self.run.end_by(stop_ns.saturating_sub(goodbye_ns), stop_ns);
    }

    fn take(&mut self, question: Question, now: u64) {
        let Question { ask, replacement, answer } = question;
        let result = match replacement {
            None => self.answer(ask, now),
            Some(replacement) => match self.run.swap(replacement) {
                Ok(()) => {
                    self.xml = Arc::from(self.run.text().xml.as_str());
                    self.has_swapped = true;
                    self.refresh();
                    self.publish(self.phase());
                    self.swap_answer = Some(answer);
                    return;
                }
                Err(refused) => Err(AskError::Refused(refused.to_string())),
            },
        };
        // Published first: who asked sees what came of it.
        self.publish(self.phase());
        // Whoever asked may have lost patience.
        let _ = answer.try_send(result);
    }

    /// Answers who brought another scenario, once all workers have it.
    fn look_at_the_swap(&mut self) {
        if !self.run.is_swapping()
            && let Some(answer) = self.swap_answer.take()
        {
            let _ = answer.try_send(Ok(()));
        }
    }

    fn answer(&mut self, ask: Ask, now: u64) -> Result<(), AskError> {
        let refused = |why: &str| AskError::Refused(why.to_owned());
        match ask {
            Ask::SetRate(rate) if !(0.0..=RATE_MAX).contains(&rate) => {
                return Err(AskError::Invalid(format!("a rate is a number from 0 to {RATE_MAX}")));
            }
            Ask::SetRate(rate) => {
                let per_period = rate * self.config.rate_period_ms as f64 / 1e3;
                self.run.set_rate(per_period).map_err(refused)?;
            }
            Ask::SetUsers(users) => self.run.set_users(users).map_err(refused)?,
            Ask::SetCallLimit(limit) => self.run.set_call_limit(limit),
            Ask::SetPaused(is_paused) => {
                self.run.set_paused(is_paused);
                self.tell_listeners();
            }
            Ask::SetListener { index, .. } if self.run.is_client() => {
                let why = format!("this engine makes calls: it has no listener {index}");
                return Err(AskError::Invalid(why));
            }
            Ask::SetListener { index, enabled } => {
                let last = self.enabled.len().saturating_sub(1);
                let listener = self.enabled.get_mut(index).ok_or_else(|| {
                    let why = format!("there is no listener {index}; the last one is {last}");
                    AskError::Invalid(why)
                })?;
                *listener = enabled;
                self.tell_listeners();
            }
            // It comes with what was compiled.
            Ask::Swap(_) => return Err(AskError::Busy),
            Ask::Drain => self.run.drain(u64::MAX),
            Ask::Stop => self.run.cancel(now),
            Ask::ResetStats => {
                self.run.reset_stats();
                self.refresh();
            }
        }
        Ok(())
    }

    /// Listeners that are on accept calls while the engine is not paused.
    fn tell_listeners(&mut self) {
        if self.run.is_client() {
            return;
        }
        for (index, &is_enabled) in self.enabled.iter().enumerate() {
            self.run.set_accepting(index, is_enabled && !self.run.is_paused());
        }
    }

    fn note(&mut self, text: String) {
        tracing::warn!(engine = self.shared.id, "{text}");
        if self.notices.len() == NOTICES_MAX {
            self.notices.pop_front();
        }
        self.notices.push_back(text);
    }

    fn refresh(&mut self) {
        let snapshot = self.run.snapshot();
        // It takes longer to make than a snapshot, and what it measures comes with reports only.
        let second = |snapshot: &Snapshot| snapshot.last_second.map(|row| row.second);
        let generation = |snapshot: &Snapshot| snapshot.layout.generation;
        if second(&snapshot) != second(&self.snapshot)
            || generation(&snapshot) != generation(&self.snapshot)
            || snapshot.is_finished
        {
            self.lifetime = Arc::new(self.run.lifetime());
        }
        self.snapshot = Arc::new(snapshot);
        self.health = self.run.health(&self.snapshot);
    }

    fn phase(&self) -> Phase {
        match (self.run.is_ending(), self.run.is_paused()) {
            (true, _) => Phase::Draining,
            (false, true) => Phase::Paused,
            (false, false) => Phase::Running,
        }
    }

    fn publish(&self, phase: Phase) {
        self.shared.state.store(Arc::new(self.state(phase)));
    }

    fn state(&self, phase: Phase) -> EngineState {
        let run = &self.run;
        let is_client = run.is_client();
        let is_over = phase.is_over();
        let is_paused = run.is_paused();
        let source = &self.config.scenario;
        let scenario = ScenarioState::of(source, run.scenario_name(), &self.xml, self.has_swapped);
        let listener = |(index, (place, address)): (usize, (&ListenerSpec, _))| {
            let address: std::net::SocketAddr = address;
            ListenerState {
                index,
                transport: place.transport,
                local_ip: address.ip(),
                local_port: address.port(),
                enabled: self.enabled.get(index).copied().unwrap_or(false) && !is_over,
                scenario_name: scenario.name.clone(),
            }
        };
        let listeners = self.places.iter().zip(run.addresses()).enumerate().map(listener);
        let client = run.addresses().next().zip(self.places.first());
        let client = client.map(|(address, place)| ClientState {
            transport: place.transport,
            local_ip: address.ip(),
            local_port: address.port(),
            remote_addr: self.config.next_hop().map_or(String::new(), ToString::to_string),
            accepting: !is_paused && !run.is_ending() && !is_over,
        });
        let last = self.shared.state.load();
        let has_rate = is_client && run.users().is_none();
        EngineState {
            phase,
            run_id: last.run_id.clone(),
            started_at_unix_ns: last.started_at_unix_ns,
            snapshot: Arc::clone(&self.snapshot),
            lifetime: Arc::clone(&self.lifetime),
            health: self.health.clone(),
            rate: match has_rate {
                true => run.rate() * 1e3 / self.config.rate_period_ms.max(1) as f64,
                false => 0.0,
            },
            users: run.users(),
            call_limit: run.call_limit(),
            is_client,
            is_paused,
            listeners: if is_client { Vec::new() } else { listeners.collect() },
            client: client.filter(|_| is_client),
            scenario,
            driver: run.driver_name(),
            notices: self.notices.iter().cloned().collect(),
            protocol: self.config.transport.protocol(),
            summary: OnceLock::new(),
        }
    }

    /// The end: every report is written, and the last state says how it went.
    fn finish(mut self) {
        // Disks may take their time; no worker is waited for any more.
        self.shared.beat_ns.store(u64::MAX, Ordering::Relaxed);
        let failed = self.run.join();
        let shell = self.run.take_shell();
        self.refresh();
        let mut state = self.state(Phase::Draining);
        let Finished { snapshot, health, losses, summary, written, fatal, failed, code } =
            self.run.finish(None, failed);
        let mut notices = Vec::new();
        let lost = [
            (losses.losses.hep_packets, "packets did not reach the HEP collector"),
            (losses.losses.events, "events did not reach the collector of the event log"),
            (snapshot.counters.trace_drops.total(), "records are missing in the trace files"),
            (shell.map_or(0, |shell| shell.finish() as u64), "shell commands were not run"),
        ];
        for (count, what) in lost.into_iter().filter(|(count, _)| *count > 0) {
            notices.push(format!("{count} {what}"));
        }
        let error = fatal.or(failed).map(|error| error.to_string());
        let error = error.or(written.err().map(|error| error.to_string()));
        for notice in &notices {
            tracing::warn!(engine = self.shared.id, "{notice}");
        }
        state.notices.extend(notices);
        state.phase = match error {
            None => Phase::Finished { code: code.code() },
            Some(reason) => Phase::Failed { reason },
        };
        match &state.phase {
            Phase::Failed { reason } => {
                tracing::error!(engine = self.shared.id, "failed: {reason}")
            }
            _ => tracing::info!(engine = self.shared.id, code = code.code(), "finished"),
        }
        state.snapshot = Arc::new(snapshot);
        state.health = health;
        state.is_paused = false;
        if let Some(client) = &mut state.client {
            client.accepting = false;
        }
        for listener in &mut state.listeners {
            listener.enabled = false;
        }
        state.summary = OnceLock::from(Arc::new(summary));
        self.shared.state.store(Arc::new(state));
    }
}

/// Options that are about a process of its own.
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

/// Sleeps; `false` if the process wants to end meanwhile.
fn sleep_unless_ended(shared: &Shared, length: Duration) -> bool {
    let end_ns = sys::monotonic_now() + u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
    loop {
        if shared.end_by_ns.load(Ordering::Relaxed) != u64::MAX {
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
        assert_eq!(starts.recv().unwrap().as_ref().unwrap_err(), reason);
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

//! A run from its start to its reports, driven by the terminal or by an engine of the server.
//!
//! The supervisor takes the reports of workers, writes the rows that are due, ends the run at its
//! time, and passes requests on. It knows no terminal, no key, no signal and no socket, and prints
//! nothing. All of it happens on the thread that created it, which workers wake.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::{io, iter};

use gossipper_uring::sys;
use rtrb::Consumer;

use super::RunError;
use super::cpus::CpuWatch;
use super::exchange::Replacement;
use super::finished::Finished;
use super::gates::{gates, media_mode};
use super::memory::Promise;
use super::plan::Plan;
use super::planned::Plans;
use super::recording;
use super::reports;
use super::scenario::Text;
use super::shell::Shell;
use super::traces::{Prepared, Traces};
use super::watchdog::{Guard, Stalls};
use crate::config::{Flavor, RunConfig};
use crate::dataplane::{self, Running, WorkerHandle, WorkerRequest};
use crate::engine::{CircuitMap, Generations, Programs, StopRequest};
use crate::output::{Summary, SummaryContext};
use crate::recorder::{Places, Recorder};
use crate::scenario::{Mode, Program};
use crate::sinks::{Log, Queues};
use crate::stats::{
    Aggregate, Delta, FailureCause, Health, Layout, Lifetime, Outcome, RunEnd, RunStart, Snapshot,
    Source, Verdict, exit_code,
};
use crate::trace::RecordsOut;

/// Time in which open calls may finish by themselves after a request to stop.
const DRAIN_NS: u64 = 5_000_000_000;
/// The same time once `-duration` is over, when no user waits for the end. It is 64 * T1: a request
/// without an answer takes that long to fail (RFC 3261 timers B and F).
const DURATION_DRAIN_NS: u64 = 32_000_000_000;
/// Most different notes of workers that are passed on.
const NOTES_MAX: usize = 64;
/// Time in which workers must end their calls after a request to do so.
const CANCEL_NS: u64 = 5_000_000_000;

/// The progress of the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    Running,
    /// No new calls; open ones may finish until this time.
    Draining {
        until_ns: u64,
    },
    /// Open calls are being ended.
    Cancelling {
        until_ns: u64,
    },
    /// Workers were asked to stop.
    Stopping,
}

/// The workers of one listener, or of the whole run if it has one.
struct Part {
    plan: Plan,
    running: Running,
    /// Index of its first worker among those of all parts.
    first_worker: u16,
    /// By worker: the time of its last report or sample, and its end.
    heard: Vec<Heard>,
}

/// The state of a worker as its reports show it.
#[derive(Clone, Copy, Debug)]
struct Heard {
    at_ns: u64,
    /// True once it has sent its last report.
    is_done: bool,
    /// True if its thread ended without a last report.
    is_lost: bool,
}

/// All workers of a run. They are ended with it, even after an error.
struct Parts {
    first: Part,
    others: Vec<Part>,
}

impl Parts {
    fn launch(plans: Plans) -> Result<Self, RunError> {
        let start = |plan: Plan, first_worker| -> Result<Part, RunError> {
            let running = dataplane::launch(&plan.launch)?;
            let heard = Heard { at_ns: running.start_ns, is_done: false, is_lost: false };
            let heard = vec![heard; running.workers.len()];
            Ok(Part { plan, running, first_worker, heard })
        };
        let mut parts = Self { first: start(plans.first, 0)?, others: Vec::new() };
        for plan in plans.others {
            // There are at most a few hundred.
            let first_worker = u16::try_from(parts.workers().count()).unwrap_or(u16::MAX);
            parts.others.push(start(plan, first_worker)?);
        }
        Ok(parts)
    }

    fn all(&self) -> impl Iterator<Item = &Part> {
        iter::once(&self.first).chain(&self.others)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        iter::once(&mut self.first).chain(&mut self.others)
    }

    fn workers(&self) -> impl Iterator<Item = &WorkerHandle> {
        self.all().flat_map(|part| &part.running.workers)
    }

    fn workers_mut(&mut self) -> impl Iterator<Item = &mut WorkerHandle> {
        self.all_mut().flat_map(|part| &mut part.running.workers)
    }

    /// Takes the queues of copies of media, each with the number of its listener.
    fn take_copies(&mut self) -> impl Iterator<Item = (usize, RecordsOut)> {
        let parts = self.all_mut().enumerate();
        parts.flat_map(|(listener, part)| {
            let workers = part.running.workers.iter_mut();
            workers.filter_map(move |worker| Some((listener, worker.copies.take()?)))
        })
    }

    /// Sends a change to all workers. One whose queue is full gets it at a later poll.
    fn send(&mut self, request: WorkerRequest) {
        self.workers_mut().for_each(|worker| _ = worker.send(request));
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        // Workers that have ended ignore this.
        self.send(WorkerRequest::StopNow);
        self.workers_mut().for_each(|worker| _ = worker.join());
    }
}

/// A running run, its workers and its statistics.
pub(crate) struct Supervisor {
    config: Arc<RunConfig>,
    parts: Parts,
    /// Memory that the workers were promised.
    promise: Promise,
    text: Text,
    aggregate: Aggregate,
    generations: Generations,
    ending: Ending,
    /// Time from which on calls are no longer waited for.
    deadline_ns: u64,
    end: RunEnd,
    fatal: Option<RunError>,
    guard: Guard,
    /// Time from which on no more calls are started.
    duration_ns: u64,
    cpus: CpuWatch,
    timeout_ns: u64,
    /// The traces, until the end of the run.
    traces: Option<Traces>,
    /// The recordings, until the end of the run.
    recorder: Option<Recorder>,
    shell: Option<Shell>,
    /// Queues of shell commands, until a scenario with such commands comes.
    commands: Vec<Consumer<Box<[u8]>>>,
    is_client: bool,
    /// Calls per period, as last requested.
    rate: f64,
    users: Option<u64>,
    call_limit: Option<u64>,
    is_paused: bool,
    /// True if a request set the limit of open calls, so that it no longer follows the rate.
    is_limit_set: bool,
    /// Notes of workers that were already passed on.
    told: Vec<String>,
}

impl Supervisor {
    /// Starts the workers, which wake this thread from now on. There is one plan for each listener,
    /// all for the same programs and one layout. Shell commands start only while the gate is open,
    /// if there is one.
    pub(super) fn start(
        config: Arc<RunConfig>,
        promise: Promise,
        plans: Plans,
        text: Text,
        (traces, places): (Prepared, Option<Places>),
        commands_gate: Option<Arc<AtomicBool>>,
    ) -> Result<Self, RunError> {
        let mut parts = Parts::launch(plans)?;
        let cpus = CpuWatch::begin(parts.workers().map(|worker| worker.thread_id));
        let mut commands: Vec<_> =
            parts.workers_mut().filter_map(|worker| worker.shell.take()).collect();
        let first = &parts.first;
        let runs_commands = first.plan.launch.programs.all().any(|program| program.runs_commands());
        let shell = match runs_commands {
            false => None,
            true => {
                let shell = Shell::start(std::mem::take(&mut commands), commands_gate);
                Some(shell.map_err(RunError::Shell)?)
            }
        };
        let start_ns = first.running.start_ns;
        let unix_ns =
            sys::realtime_now_ns().saturating_sub(sys::monotonic_now().saturating_sub(start_ns));
        let start = RunStart { unix_ns, monotonic_ns: start_ns };
        let layout = Arc::clone(&first.plan.launch.layout);
        let use_uring = first.plan.launch.use_uring;
        let is_client = first.plan.launch.programs.main.mode == Mode::Client;
        let is_limit_set = first.plan.limit_per_rate.is_none();
        let call_limit = first.plan.launch.engine.concurrent_max;
        let aggregate = Aggregate::new(Arc::clone(&layout), parts.workers().count(), start);
        let generations = first.plan.launch.generations(parts.workers().count());
        let bell = Arc::clone(&parts.first.plan.launch.bell);
        let queues = parts.workers_mut().filter_map(|worker| worker.records.take()).collect();
        let queues = Queues { queues, bell };
        let mut traces = traces.start(&config, use_uring, queues, &layout, start)?;
        traces.begin(&aggregate.snapshot());
        let recorder = recording::start(places, parts.take_copies(), start)?;
        let after = |period_ms: Option<u64>| match period_ms {
            Some(period_ms) if period_ms > 0 => start_ns + period_ms * 1_000_000,
            _ => u64::MAX,
        };
        Ok(Self {
            parts,
            promise,
            text,
            aggregate,
            generations,
            ending: Ending::Running,
            deadline_ns: u64::MAX,
            end: RunEnd::Completed,
            fatal: None,
            guard: Guard::new(config.watchdog),
            duration_ns: after(config.duration_ms),
            timeout_ns: after(config.timeout_ms),
            cpus,
            traces: Some(traces),
            recorder,
            shell,
            commands,
            is_client,
            rate: config.rate,
            users: config.users,
            call_limit,
            is_paused: false,
            is_limit_set,
            told: Vec::new(),
            config,
        })
    }

    /// Workers of each listener.
    pub(crate) fn workers_each(&self) -> usize {
        self.parts.first.plan.launch.workers
    }

    /// The circuits that calls share, if there are some.
    pub(crate) fn circuits(&self) -> Option<CircuitMap> {
        self.parts.first.plan.launch.engine.data.circuits
    }

    /// Calls that the run will make or answer, if there is an end.
    pub(crate) fn calls_total(&self) -> Option<u64> {
        self.parts.first.plan.calls_total
    }

    /// The programs that the run began with.
    pub(crate) fn first_programs(&self) -> &Programs {
        &self.parts.first.plan.launch.programs
    }

    /// All workers of the run, to send questions and take answers.
    pub(crate) fn workers_mut(&mut self) -> impl Iterator<Item = &mut WorkerHandle> {
        self.parts.workers_mut()
    }

    /// The addresses of the listeners, in order.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.parts.all().map(|part| part.running.local)
    }

    /// The destination of messages of calls that we make.
    pub(crate) fn next_hop(&self) -> Option<SocketAddr> {
        self.parts.first.plan.launch.engine.environment.next_hop
    }

    /// Start of the run on the monotonic clock.
    pub(crate) fn start_ns(&self) -> u64 {
        self.parts.first.running.start_ns
    }

    /// The name of the main scenario.
    pub(crate) fn scenario_name(&self) -> &str {
        &self.generations.programs().main.name
    }

    /// The main scenario of new calls.
    pub(crate) fn program(&self) -> &Arc<Program> {
        &self.generations.programs().main
    }

    /// The text of the main scenario.
    pub(crate) fn text(&self) -> &Text {
        &self.text
    }

    /// Name of the I/O driver.
    pub(crate) fn driver_name(&self) -> &'static str {
        self.parts.first.plan.driver_name
    }

    /// Takes the thread that runs shell commands, if the scenario has some. The caller lets it
    /// finish.
    pub(crate) fn take_shell(&mut self) -> Option<Shell> {
        self.shell.take()
    }

    /// Tells whether every worker has sent its last report, or cannot send one any more.
    pub(crate) fn is_over(&self) -> bool {
        self.aggregate.is_finished()
            || self.parts.workers().all(|worker| worker.is_over() && worker.reports.is_empty())
    }

    /// Takes the reports of workers, and does the work that is due at `now`. Returns whether there
    /// was a report.
    pub(crate) fn poll(&mut self, now: u64) -> bool {
        self.parts.workers_mut().for_each(WorkerHandle::push_waiting);
        let has_reports = self.take_reports(now);
        self.write_rows();
        self.take_stops(now);
        self.watch_stalls(now);
        self.advance_ending(now);
        has_reports
    }

    /// The oldest of the times at which the workers that have not ended last sent a report or a
    /// sample, on the monotonic clock.
    pub(crate) fn oldest_report_ns(&self) -> u64 {
        let running = self.parts.all().flat_map(|part| &part.heard).filter(|heard| !heard.is_done);
        running.map(|heard| heard.at_ns).min().unwrap_or(u64::MAX)
    }

    /// Tells whether the thread of a worker ended without a last report.
    pub(crate) fn has_lost_worker(&self) -> bool {
        self.parts.all().flat_map(|part| &part.heard).any(|heard| heard.is_lost)
    }

    /// The state of the last reports.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.aggregate.snapshot()
    }

    /// Tells whether a whole second has been reported.
    pub(crate) fn has_second(&self) -> bool {
        self.aggregate.last_second().is_some()
    }

    /// The figures of the run since its start; resets do not change them.
    pub(crate) fn lifetime(&self) -> Lifetime {
        let unwritten = self.traces.as_ref().map(Traces::unwritten).unwrap_or_default();
        Lifetime { unwritten, ..self.aggregate.lifetime() }
    }

    /// The outcome of the health gates for `snapshot`.
    pub(crate) fn health(&self, snapshot: &Snapshot) -> Health {
        gates(&self.config).evaluate(snapshot)
    }

    /// Takes new notes: of the thread with connections to other instances, of the workers about
    /// missing connections, and about files that cannot be written.
    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        let third_parties = self.parts.all().filter_map(|part| part.running.third_party.as_ref());
        let mut notes: Vec<String> =
            third_parties.flat_map(|third_party| third_party.notes()).collect();
        let Self { parts, told, traces, recorder, .. } = self;
        notes.extend(traces.iter_mut().flat_map(Traces::take_complaints));
        notes.extend(recorder.iter_mut().flat_map(Recorder::take_complaints));
        for worker in parts.workers_mut() {
            while let Ok(note) = worker.notes.pop() {
                if told.len() < NOTES_MAX && !told.contains(&note) {
                    told.push(note.clone());
                    notes.push(note);
                }
            }
        }
        notes
    }

    /// Tells whether calls are made rather than answered.
    pub(crate) fn is_client(&self) -> bool {
        self.is_client
    }

    /// Calls per period, as last requested.
    pub(crate) fn rate(&self) -> f64 {
        self.rate
    }

    /// The number of users, as last requested.
    pub(crate) fn users(&self) -> Option<u64> {
        self.users
    }

    /// The limit of open calls, if there is one.
    pub(crate) fn call_limit(&self) -> Option<u64> {
        self.call_limit
    }

    /// Tells whether the start of calls is paused.
    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Tells whether the run has begun to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending != Ending::Running
    }

    /// The rate from which a step starts, in calls per period: a ramp may have changed it.
    pub(crate) fn rate_now(&self) -> f64 {
        let now = self.aggregate.target_rate() * self.config.rate_period_ms as f64 / 1e3;
        if self.config.rate_increase != 0.0 && now > 0.0 { now } else { self.rate }
    }

    /// Sets another rate, in calls per period. The limit of open calls follows it, unless a request
    /// set that.
    ///
    /// # Errors
    /// A sentence, if calls are not started at a rate.
    pub(crate) fn set_rate(&mut self, rate: f64) -> Result<(), &'static str> {
        if self.users.is_some() || !self.is_client {
            return Err("calls are not started at a rate in this run");
        }
        self.rate = rate;
        self.parts.send(WorkerRequest::SetRate(rate));
        let per_rate = self.parts.first.plan.limit_per_rate;
        if let (false, Some(per_rate)) = (self.is_limit_set, per_rate) {
            self.tell_call_limit(((per_rate * rate) as u64).max(1));
        }
        Ok(())
    }

    /// Sets another number of users.
    ///
    /// # Errors
    /// A sentence, if calls are not started by users, or there is not enough memory for so many.
    pub(crate) fn set_users(&mut self, users: u64) -> Result<(), String> {
        if self.users.is_none() {
            return Err("this run has no users; start one with -users".to_owned());
        }
        self.promise.grow_to_users(users).map_err(|refusal| refusal.to_string())?;
        self.users = Some(users);
        self.parts.send(WorkerRequest::SetUsers(users));
        Ok(())
    }

    /// Sets another limit of open calls, which no longer follows the rate.
    pub(crate) fn set_call_limit(&mut self, limit: u64) {
        self.is_limit_set = true;
        self.tell_call_limit(limit);
    }

    /// Sets another number of calls since the start; `None` is no limit.
    ///
    /// # Errors
    /// A sentence, if there are several listeners: their calls are not added up.
    pub(crate) fn set_calls_total(&mut self, total: Option<u64>) -> Result<(), &'static str> {
        if total.is_some() && !self.parts.others.is_empty() {
            return Err("several listeners count their calls separately, but -m needs one count");
        }
        self.parts.send(WorkerRequest::SetCallsTotal(total));
        Ok(())
    }

    fn tell_call_limit(&mut self, limit: u64) {
        self.call_limit = Some(limit);
        self.parts.send(WorkerRequest::SetCallLimit(limit));
    }

    /// Pauses the start of calls, or resumes it.
    pub(crate) fn set_paused(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
        self.parts.send(WorkerRequest::SetPaused(is_paused));
    }

    /// Makes the listener at `index` accept or refuse calls; open ones go on.
    pub(crate) fn set_accepting(&mut self, index: usize, is_accepting: bool) {
        if let Some(part) = self.parts.all_mut().nth(index) {
            for worker in &mut part.running.workers {
                worker.send(WorkerRequest::SetAccepting(is_accepting));
            }
        }
    }

    /// Makes new calls follow another scenario. All workers have it once
    /// [`is_swapping`](Self::is_swapping) is over, within a second or so.
    ///
    /// # Errors
    /// The reason why the run cannot go on with it, or too little memory for its variables; nothing
    /// has changed then.
    pub(crate) fn swap(&mut self, replacement: Replacement) -> Result<(), RunError> {
        let Replacement { programs, text, hosts, .. } = replacement;
        let footprint = self.generations.footprint_with(&programs)?;
        let widened = self.promise.widen(footprint)?;
        let parts = self.parts.all_mut().map(|part| &mut part.running);
        let (generations, aggregate) = (&mut self.generations, &mut self.aggregate);
        if let Err(refused) = dataplane::swap(parts, generations, aggregate, programs, &hosts) {
            self.promise.narrow(widened);
            return Err(refused.into());
        }
        self.text = text;
        if let Some(traces) = &mut self.traces {
            traces.change_layout(&self.aggregate.snapshot());
        }
        Ok(())
    }

    /// Prepares for the shell commands of `replacement`, if it has some. From now on commands of
    /// all scenarios start only while `is_allowed`.
    ///
    /// # Errors
    /// There is no thread left.
    pub(crate) fn expect_commands(
        &mut self,
        replacement: &Replacement,
        is_allowed: &Arc<AtomicBool>,
    ) -> io::Result<()> {
        if !replacement.programs.main.runs_commands() {
            return Ok(());
        }
        if self.shell.is_none() && !self.commands.is_empty() {
            let gate = Some(Arc::clone(is_allowed));
            self.shell = Some(Shell::start(std::mem::take(&mut self.commands), gate)?);
        }
        if let Some(shell) = &self.shell {
            shell.obey(is_allowed);
        }
        Ok(())
    }

    /// Tells whether a worker has not taken the last scenario yet.
    pub(crate) fn is_swapping(&self) -> bool {
        self.aggregate.is_changing_layout()
    }

    /// Records deltas under the name of `source` from now on; `false` while workers change their
    /// layout.
    pub(crate) fn record_deltas(&mut self, source: Source) -> bool {
        self.aggregate.record_deltas(source)
    }

    /// Records no deltas any more.
    pub(crate) fn forget_deltas(&mut self) {
        self.aggregate.forget_deltas();
    }

    /// Takes the figures since the last time, where deltas are recorded.
    pub(crate) fn take_deltas(&mut self) -> Vec<Delta> {
        self.aggregate.take_deltas()
    }

    /// The names of what is measured.
    pub(crate) fn layout(&self) -> &Arc<Layout> {
        self.aggregate.layout()
    }

    /// Resets the statistics.
    pub(crate) fn reset_stats(&mut self) {
        self.aggregate.reset();
    }

    /// Switches a log on or off.
    pub(crate) fn switch_trace(&mut self, log: Log, is_on: bool) {
        if let Some(traces) = &mut self.traces {
            let kinds = traces.switch(log, is_on);
            self.parts.send(WorkerRequest::SetTrace(kinds));
        }
    }

    /// Appends `screens` to the screen file, and flushes waiting output; `false` if there is no
    /// screen file.
    pub(crate) fn dump(&mut self, screens: &str) -> bool {
        self.traces.as_mut().is_some_and(|traces| {
            traces.dump();
            traces.put_screens(screens)
        })
    }

    /// Starts no new calls; open ones may finish until `until_ns`.
    pub(crate) fn drain(&mut self, until_ns: u64) {
        if self.ending == Ending::Running {
            self.ending = Ending::Draining { until_ns };
            self.parts.send(WorkerRequest::StopNewCalls);
        }
    }

    /// Starts no new calls; open ones may finish for the time of `-drain`.
    pub(crate) fn wind_down(&mut self, now: u64) {
        self.drain(self.winds_down_until_ns(now));
    }

    /// Time until which open calls may finish after a request to stop. SIPp waits for all of them;
    /// a second request ends them sooner.
    fn winds_down_until_ns(&self, now: u64) -> u64 {
        match (self.config.flavor, self.config.drain_ms) {
            (Flavor::Sipp, None) => u64::MAX,
            _ => now + self.drain_ns(DRAIN_NS),
        }
    }

    fn drain_ns(&self, default_ns: u64) -> u64 {
        self.config.drain_ms.map_or(default_ns, |drain_ms| drain_ms * 1_000_000)
    }

    /// Time until which open calls may finish by themselves, if no new ones start and there is a
    /// limit.
    pub(crate) fn drains_until_ns(&self) -> Option<u64> {
        match self.ending {
            Ending::Draining { until_ns } => {
                Some(until_ns).filter(|&until_ns| until_ns != u64::MAX)
            }
            _ => None,
        }
    }

    /// Tells whether no more calls are made and open ones are waited for.
    pub(crate) fn is_waiting(&self) -> bool {
        let placed = match self.ending {
            Ending::Running => {
                let second = self.aggregate.last_second();
                let is_over = second.is_some_and(|(row, _)| row.pacing_ns == 0);
                self.is_client && self.users.is_none() && !self.is_paused && is_over
            }
            Ending::Draining { .. } => true,
            _ => false,
        };
        placed && self.aggregate.calls_active() > 0
    }

    /// Ends the run by `stop_ns`: there are no new calls, and those that are still open at
    /// `cancel_ns` are ended.
    pub(crate) fn end_by(&mut self, cancel_ns: u64, stop_ns: u64) {
        self.deadline_ns = stop_ns;
        match &mut self.ending {
            Ending::Running => self.drain(cancel_ns),
            Ending::Draining { until_ns } => *until_ns = cancel_ns.min(*until_ns),
            Ending::Cancelling { until_ns } => *until_ns = stop_ns.min(*until_ns),
            Ending::Stopping => {}
        }
    }

    /// Does the action of `q`: no new calls; a second time, open ones are ended too.
    pub(crate) fn quit(&mut self, now: u64) {
        match self.ending {
            Ending::Running => self.wind_down(now),
            _ => self.cancel(now),
        }
    }

    /// Starts no new calls, and ends the open ones.
    pub(crate) fn cancel(&mut self, now: u64) {
        if self.ending < (Ending::Cancelling { until_ns: 0 }) {
            let until_ns = (now + CANCEL_NS).min(self.deadline_ns);
            self.ending = Ending::Cancelling { until_ns };
            self.parts.send(WorkerRequest::CancelCalls);
        }
    }

    /// Ends the run at once, even if calls are open.
    pub(crate) fn stop(&mut self) {
        self.ending = Ending::Stopping;
        self.parts.send(WorkerRequest::StopNow);
    }

    fn take_reports(&mut self, now: u64) -> bool {
        let mut any = false;
        for part in self.parts.all_mut() {
            for (worker, heard) in part.running.workers.iter_mut().zip(&mut part.heard) {
                // Asked first, so that no report before its end is missed.
                let is_gone = worker.is_over();
                while let Ok(mut report) = worker.reports.pop() {
                    any = true;
                    heard.at_ns = now;
                    heard.is_done |= report.is_last;
                    report.worker += part.first_worker;
                    report.cpu = self.cpus.take(usize::from(report.worker));
                    let stalls = self.aggregate.stalls();
                    self.aggregate.absorb(&report);
                    if self.aggregate.stalls() != stalls {
                        self.guard.note_cpu(report.cpu);
                    }
                    worker.give_back(report);
                }
                while let Some(Ok(mut sample)) = worker.samples.as_mut().map(Consumer::pop) {
                    any = true;
                    heard.at_ns = now;
                    sample.worker += part.first_worker;
                    self.aggregate.sample(&sample);
                }
                heard.is_lost |= is_gone && !heard.is_done;
            }
        }
        if any && !self.is_swapping() {
            self.promise.settle();
        }
        any
    }

    /// Writes the rows of the statistics files that are due.
    fn write_rows(&mut self) {
        if self.aggregate.is_finished() {
            // The last row follows, with all figures.
            return;
        }
        let Some(seconds) = self.aggregate.last_second().map(|(row, _)| row.second + 1) else {
            return;
        };
        if let Some(traces) = self.traces.as_mut().filter(|traces| traces.is_due(seconds)) {
            traces.row(&self.aggregate.snapshot(), seconds);
        }
    }

    fn take_stops(&mut self, now: u64) {
        let mut stops = Vec::new();
        for worker in self.parts.workers_mut() {
            while let Ok(stop) = worker.stops.pop() {
                stops.push(stop);
            }
        }
        for stop in stops {
            // The first error is the one that ends the run.
            if self.fatal.is_some() {
                return;
            }
            match stop {
                StopRequest::Gracefully => self.wind_down(now),
                // As in SIPp, open calls go on for as long as they take.
                StopRequest::PeerGone => self.parts.send(WorkerRequest::StopNewCalls),
                StopRequest::Now => {
                    self.end = RunEnd::StoppedByScenario;
                    self.stop();
                }
                StopRequest::Fatal(text) => self.fail(RunError::Scripted(text)),
                StopRequest::Disconnected(text) => self.fail(RunError::Disconnected(text)),
                StopRequest::NotConnected(text) => self.fail(RunError::NotConnected(text)),
            }
        }
    }

    /// Ends the run with an error.
    fn fail(&mut self, error: RunError) {
        self.end = RunEnd::Fatal;
        self.fatal = Some(error);
        self.stop();
    }

    /// Ends the run if its workers stall too often.
    fn watch_stalls(&mut self, now: u64) {
        let (minor, major) = self.aggregate.stalls();
        let stalls = Stalls { minor, major };
        if self.fatal.is_none()
            && let Some(text) = self.guard.check(stalls, now)
        {
            self.fail(RunError::Watchdog(text));
        }
    }

    fn advance_ending(&mut self, now: u64) {
        if now >= self.duration_ns && self.ending == Ending::Running {
            self.end = RunEnd::TimeUp;
            self.drain(now + self.drain_ns(DURATION_DRAIN_NS));
        }
        // Calls that -duration leaves open do not outlast our own -timeout.
        let waits = self.ending == Ending::Running || self.end == RunEnd::TimeUp;
        if now >= self.timeout_ns && waits && self.ending < (Ending::Cancelling { until_ns: 0 }) {
            self.time_out(now);
        }
        match self.ending {
            Ending::Draining { until_ns } if now >= until_ns => self.cancel(now),
            Ending::Cancelling { until_ns } if now >= until_ns => self.stop(),
            _ => {}
        }
    }

    /// Ends the run because of `-timeout`.
    fn time_out(&mut self, now: u64) {
        if self.config.timeout_error {
            self.end = RunEnd::TimedOutAsError;
            // Workers get both requests at once: the last messages of open calls leave, as far as
            // one turn takes them, without waiting for answers. All these calls are counted.
            self.cancel(now);
            self.stop();
            return;
        }
        self.end = RunEnd::TimedOut;
        match (&mut self.ending, self.config.flavor) {
            (Ending::Draining { until_ns }, Flavor::Gossipper) => *until_ns = now,
            // As in SIPp, it limits the start of calls and not their end. A drain goes on.
            _ => self.wind_down(now),
        }
    }

    /// Waits for the workers, which must be ending, and takes their last reports.
    pub(crate) fn join(&mut self) -> Option<RunError> {
        let mut failed = None;
        for (worker, handle) in self.parts.workers_mut().enumerate() {
            if let Err(source) = handle.join() {
                failed.get_or_insert(RunError::Worker { worker, source });
            }
        }
        for part in self.parts.all_mut() {
            if let Some(third_party) = &mut part.running.third_party {
                third_party.join();
            }
        }
        self.take_reports(sys::monotonic_now());
        self.aggregate.finish();
        failed
    }

    /// Writes the last rows and the summary. `screens` are appended to the screen file, if there is
    /// one. `failed` is the result of [`join`](Self::join), which must be called first.
    pub(crate) fn finish(mut self, screens: Option<&str>, failed: Option<RunError>) -> Finished {
        let snapshot = self.aggregate.snapshot();
        let health = self.health(&snapshot);
        if let (Some(traces), Some(screens)) = (&mut self.traces, screens) {
            traces.put_screens(screens);
        }
        let finish = |traces: Traces| traces.finish(&snapshot);
        let mut losses = self.traces.take().map(finish).unwrap_or_default();
        let recorded = self.recorder.take().map(Recorder::finish);
        let recordings = recorded.as_ref().map(|recorded| recorded.totals);
        losses.complaints.extend(recorded.into_iter().flat_map(|recorded| recorded.complaints));
        let context = SummaryContext {
            driver: self.driver_name().to_owned(),
            transport: self.config.transport.protocol().to_owned(),
            health: health.clone(),
            media_mode: media_mode(&self.config),
            trace_rows_dropped: losses.lost_orders,
            unwritten: losses.unwritten,
            hep_packets_dropped: losses.losses.hep_packets,
            events_dropped: losses.losses.events,
            recordings,
        };
        let limited = matches!(snapshot.verdict.verdict(), Verdict::GeneratorLimited { .. });
        let cancelled = snapshot.counters.failures.count(FailureCause::Cancelled);
        let code = exit_code(&Outcome {
            end: self.end,
            calls_succeeded: snapshot.calls.succeeded,
            // Calls that were open when the user ended the run have not failed.
            calls_failed: snapshot.calls.failed - cancelled,
            gates_pass: health.active.then_some(health.pass),
            is_limited_failure: limited && self.config.fail_if_limited,
            is_rtp_check_failed: snapshot.counters.media.patterns_failed > 0,
        });
        let fatal = self.fatal.take();
        let programs = self.generations.programs();
        let error = fatal.as_ref().or(failed.as_ref());
        let summary = Summary::new(&snapshot, &context)
            .with_series(self.aggregate.history())
            .with_run(reports::about(&self.config, programs, code, error));
        let written = reports::write(&self.config, &summary);
        Finished { snapshot, health, losses, summary, written, fatal, failed, code }
    }
}

//! Watching a run: reports in, status out, signals and limits to the workers, and the end.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use gossipper_uring::sys;

use super::action::{Action, Display};
use super::face::Face;
use super::plan::Plan;
use super::signals::Signals;
use super::socket::ControlSocket;
use super::traces::{Prepared, Traces};
use super::watchdog::{Guard, Stalls};
use super::{RunError, facts, palette};
use crate::config::{Flavor, RunConfig};
use crate::dataplane::{Command, Running};
use crate::engine::StopRequest;
use crate::output::screen::Footer;
use crate::output::summary::Media;
use crate::output::{ConsoleLine, FinalTable, Palette, Summary, SummaryContext};
use crate::stats::{
    Aggregate, ExitCode, FailureCause, HealthGates, Outcome, RunEnd, RunStart, Snapshot, Verdict,
    exit_code,
};

/// How often the control side looks at its clock. Workers and signals wake it when they have
/// something for it; they never wait for it.
const POLL: Duration = Duration::from_millis(100);
/// How long open calls may finish by themselves after a request to stop.
const DRAIN_NS: u64 = 5_000_000_000;
/// How long workers may take after they were told to end their calls.
const CANCEL_NS: u64 = 5_000_000_000;

/// How far the end of a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    Running,
    /// No new calls; open ones may finish until then.
    Draining {
        until_ns: u64,
    },
    /// Open calls were told to end.
    Cancelling {
        until_ns: u64,
    },
    /// Workers were told to stop.
    Stopping,
}

pub(super) struct Control<'c> {
    config: &'c RunConfig,
    plan: Plan,
    running: Running,
    signals: Signals,
    aggregate: Aggregate,
    ending: Ending,
    end: RunEnd,
    fatal: Option<RunError>,
    guard: Guard,
    stops_seen: usize,
    next_status_ns: u64,
    next_line_ns: u64,
    timeout_ns: u64,
    palette: Palette,
    /// Until the end of the run.
    traces: Option<Traces>,
    socket: Option<ControlSocket>,
    face: Face,
    /// Calls per period, as last asked for.
    rate: f64,
    /// Step of the keys that change it.
    rate_scale: f64,
    users: Option<u64>,
    is_paused: bool,
    /// Somebody set the limit of open calls, so that it no longer follows the rate.
    is_limit_set: bool,
}

impl<'c> Control<'c> {
    pub(super) fn new(
        config: &'c RunConfig,
        plan: Plan,
        mut running: Running,
        signals: Signals,
        traces: Prepared,
        socket: Option<ControlSocket>,
    ) -> Result<Self, RunError> {
        let palette = palette(config, io::stdout().is_terminal());
        let facts = facts::facts(config, &plan, running.local.port());
        let start_ns = running.start_ns;
        let unix_ns =
            sys::realtime_now_ns().saturating_sub(sys::monotonic_now().saturating_sub(start_ns));
        let start = RunStart { unix_ns, monotonic_ns: start_ns };
        let aggregate = Aggregate::new(Arc::clone(&plan.launch.layout), plan.launch.workers, start);
        let layout = &plan.launch.layout;
        let mut traces =
            traces.start(config, plan.launch.use_uring, &mut running, layout, start)?;
        traces.begin(&aggregate.snapshot());
        let after = |period_ms: Option<u64>| match period_ms {
            Some(period_ms) if period_ms > 0 => start_ns + period_ms * 1_000_000,
            _ => u64::MAX,
        };
        Ok(Self {
            config,
            aggregate,
            signals,
            ending: Ending::Running,
            end: RunEnd::Completed,
            fatal: None,
            guard: Guard::new(config.watchdog),
            stops_seen: 0,
            next_status_ns: after(Some(config.screen_period_ms)),
            next_line_ns: after(config.stat_period_ms),
            timeout_ns: after(config.timeout_ms),
            palette,
            socket,
            face: Face::new(config, facts, palette),
            rate: config.rate,
            rate_scale: config.rate_scale,
            users: config.users,
            is_paused: false,
            is_limit_set: plan.limit_per_rate.is_none(),
            plan,
            running,
            traces: Some(traces),
        })
    }

    /// Watches the run to its end and writes every report.
    pub(super) fn watch(mut self) -> Result<ExitCode, RunError> {
        self.announce();
        let mut actions = Vec::new();
        while !self.aggregate.is_finished() && !self.workers_are_over() {
            thread::park_timeout(POLL);
            let now = sys::monotonic_now();
            self.take_reports();
            self.write_rows();
            self.take_stops(now);
            self.watch_stalls(now);
            self.tell_notes();
            self.take_signals(now);
            if let Some(socket) = &mut self.socket {
                socket.poll(&mut actions);
            }
            self.face.poll(&mut actions, self.footer());
            for action in actions.drain(..) {
                self.perform(action, now);
            }
            self.advance_ending(now);
            if now >= self.next_status_ns {
                self.next_status_ns = now + self.config.screen_period_ms * 1_000_000;
                if self.aggregate.last_second().is_some() {
                    self.face.update(self.aggregate.snapshot(), self.footer());
                }
            }
            if now >= self.next_line_ns {
                let period_ms = self.config.stat_period_ms.unwrap_or(1000);
                self.next_line_ns = now + period_ms * 1_000_000;
                let _ = writeln!(io::stderr(), "{}", self.line(&self.aggregate.snapshot()));
            }
        }
        let mut failed = None;
        for (worker, handle) in self.running.workers.iter_mut().enumerate() {
            if let Err(source) = handle.join() {
                failed.get_or_insert(RunError::Worker { worker, source });
            }
        }
        if let Some(twin) = &mut self.running.twin {
            twin.join();
        }
        self.tell_notes();
        self.take_reports();
        self.aggregate.finish();
        self.face.close();
        let code = self.finish()?;
        match failed {
            Some(error) => Err(error),
            None => Ok(code),
        }
    }

    /// One line that says what runs where.
    fn announce(&self) {
        let launch = &self.plan.launch;
        let workers = match launch.workers {
            1 => "1 worker".to_owned(),
            workers => format!("{workers} workers"),
        };
        let peer = launch.engine.environment.next_hop;
        let peer = peer.map_or(String::new(), |peer| format!(" -> {peer}"));
        let dim = self.palette.dim;
        // SIPp prints nothing on stdout before its screens.
        let mut out: Box<dyn Write> = match self.config.flavor {
            Flavor::Sipp => Box::new(io::stderr()),
            Flavor::Gossipper => Box::new(io::stdout()),
        };
        let control = self.socket.as_ref().and_then(ControlSocket::address);
        let control = control.map_or(String::new(), |at| format!(" | control {at}"));
        let _ = writeln!(
            out,
            "{dim}{} | {} {} {}{peer} | {workers}, {} driver{control}{dim:#}",
            launch.programs.main.name,
            self.config.transport.code(),
            self.config.transport.protocol(),
            self.running.local,
            self.plan.driver_name,
        );
    }

    fn workers_are_over(&self) -> bool {
        self.running.workers.iter().all(|worker| worker.is_over() && worker.reports.is_empty())
    }

    fn take_reports(&mut self) {
        for worker in &mut self.running.workers {
            while let Ok(report) = worker.reports.pop() {
                self.aggregate.absorb(&report);
                worker.give_back(report);
            }
        }
    }

    /// Rows of the statistics files that are due.
    fn write_rows(&mut self) {
        if self.aggregate.is_finished() {
            // The last row follows, with everything.
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
        for index in 0..self.running.workers.len() {
            while let Ok(stop) = self.running.workers[index].stops.pop() {
                match stop {
                    StopRequest::Gracefully => self.drain(now + DRAIN_NS),
                    // As SIPp has it: open calls go on for as long as they take.
                    StopRequest::PeerGone => self.send(Command::StopNewCalls),
                    StopRequest::Now => {
                        self.end = RunEnd::StoppedByScenario;
                        self.stop();
                    }
                    StopRequest::Fatal(text) => {
                        self.end = RunEnd::Fatal;
                        self.fatal = Some(RunError::Scripted(text));
                        self.stop();
                    }
                    StopRequest::Disconnected(text) => {
                        self.end = RunEnd::Fatal;
                        self.fatal = Some(RunError::Disconnected(text));
                        self.stop();
                    }
                }
            }
        }
    }

    /// Ends the run if its workers are kept from their work too often.
    fn watch_stalls(&mut self, now: u64) {
        let (minor, major) = self.aggregate.stalls();
        let stalls = Stalls { minor, major };
        if self.fatal.is_none()
            && let Some(text) = self.guard.check(stalls, now)
        {
            self.end = RunEnd::Fatal;
            self.fatal = Some(RunError::Watchdog(text));
            self.stop();
        }
    }

    /// What the thread that talks to other instances has to say.
    fn tell_notes(&mut self) {
        let Some(twin) = &self.running.twin else { return };
        let notes: Vec<String> = twin.notes().collect();
        for note in notes {
            self.face.say(&format!("note: {note}"));
        }
    }

    fn take_signals(&mut self, now: u64) {
        let stops = self.signals.stops();
        if stops > self.stops_seen {
            let first = self.stops_seen == 0 && stops == 1;
            self.stops_seen = stops;
            if first && self.ending == Ending::Running && self.config.flavor == Flavor::Gossipper {
                self.face
                    .say("stopping: no new calls, open ones are ended (again to stop at once)");
                self.drain(now + DRAIN_NS);
            } else {
                self.perform(Action::Stop, now);
            }
        }
        if self.signals.take_quit() {
            self.perform(Action::Quit, now);
        }
        if self.signals.take_dump() {
            match self.config.flavor {
                Flavor::Sipp => self.perform(Action::DumpScreens, now),
                Flavor::Gossipper => {
                    self.face.clear();
                    let snapshot = self.aggregate.snapshot();
                    self.print_table(&snapshot);
                }
            }
        }
        if self.signals.take_resumed() {
            self.face.resume(self.footer());
        }
    }

    /// Carries out what keys, the control socket and signals ask for.
    fn perform(&mut self, action: Action, now: u64) {
        match action {
            Action::Show(screen) => self.face.show(screen, self.footer()),
            Action::ShowStatusLine => self.face.show_status_line(),
            Action::Step(steps) => match self.users {
                Some(users) => {
                    let users = (users as f64 + steps * self.rate_scale).max(0.0);
                    self.set_users(users as u64);
                }
                None => self.set_rate((self.current_rate() + steps * self.rate_scale).max(0.0)),
            },
            Action::SetRate(rate) => self.set_rate(rate),
            Action::SetRateScale(scale) => self.rate_scale = scale,
            Action::SetUsers(users) => self.set_users(users),
            Action::SetCallLimit(limit) => {
                self.is_limit_set = true;
                self.set_call_limit(limit);
            }
            Action::TogglePause => {
                self.is_paused = !self.is_paused;
                self.send(Command::SetPaused(self.is_paused));
            }
            Action::Quit => match (self.ending, self.config.flavor) {
                // As SIPp: whoever wants it sooner asks again.
                (Ending::Running, Flavor::Sipp) => self.drain(u64::MAX),
                (Ending::Running, Flavor::Gossipper) => self.drain(now + DRAIN_NS),
                _ => self.cancel(now),
            },
            Action::Abort => self.cancel(now),
            Action::Stop => self.stop(),
            Action::DumpScreens => self.dump_screens(),
            Action::ResetStats => {
                self.aggregate.reset();
                self.face.forget();
            }
            Action::Display(display) => self.display(display),
            Action::Hide(hides) => self.face.shows_hidden = !hides,
            Action::Trace(log, is_on) => {
                if let Some(traces) = &mut self.traces {
                    let kinds = traces.switch(log, is_on);
                    self.send(Command::SetTrace(kinds));
                }
            }
            Action::DumpTasks => {
                let calls = self.aggregate.snapshot().calls;
                let workers = self.running.workers.len();
                let text = format!("{} calls are open, in {workers} workers", calls.active);
                self.face.say(&text);
            }
            Action::DumpVariables => self.face.say(
                "variables live with the workers and cannot be read while calls go on; a <log> \
                 action writes them",
            ),
        }
    }

    /// The rate that a step starts from: a ramp may have moved it.
    fn current_rate(&self) -> f64 {
        let now = self.aggregate.target_rate() * self.config.rate_period_ms as f64 / 1e3;
        if self.config.rate_increase != 0.0 && now > 0.0 { now } else { self.rate }
    }

    fn set_rate(&mut self, rate: f64) {
        if self.users.is_some() || !self.face.facts.is_client {
            self.face.say("calls are not started at a rate in this run");
            return;
        }
        self.rate = rate;
        self.face.facts.rate = rate;
        self.send(Command::SetRate(rate));
        if let (false, Some(per_rate)) = (self.is_limit_set, self.plan.limit_per_rate) {
            self.set_call_limit(((per_rate * rate) as u64).max(1));
        }
    }

    fn set_users(&mut self, users: u64) {
        if self.users.is_none() {
            self.face.say("calls are not started by users in this run; -users starts one");
            return;
        }
        self.users = Some(users);
        self.face.facts.users = Some(users);
        self.send(Command::SetUsers(users));
    }

    fn set_call_limit(&mut self, limit: u64) {
        self.face.facts.call_limit = Some(limit);
        self.send(Command::SetCallLimit(limit));
    }

    /// Shows the steps of another scenario of the run, if it has that one.
    fn display(&mut self, display: Display) {
        let programs = &self.plan.launch.programs;
        let wanted = match display {
            Display::Main => Some(&programs.main),
            Display::Receiving => programs.receiving.as_ref(),
            Display::OutOfCall => programs.out_of_call.as_ref(),
        };
        let index =
            wanted.and_then(|wanted| programs.all().position(|known| Arc::ptr_eq(known, wanted)));
        match index {
            Some(index) => self.face.program = index,
            None => self.face.say("this run has no such scenario"),
        }
    }

    /// Appends all screens to the screen file; without one, to `<scenario>_<pid>_screen.log`.
    fn dump_screens(&mut self) {
        let text = self.face.pages(&self.aggregate.snapshot(), self.footer());
        if let Some(traces) = &mut self.traces {
            traces.dump();
            if traces.put_screens(&text) {
                return;
            }
        }
        let name =
            format!("{}_{}_screen.log", self.plan.launch.programs.main.name, sys::process_id());
        // The scenario's name may be anything, and must not lead out of this directory.
        let name = name.replace(['/', '\0'], "_");
        let mut options = OpenOptions::new();
        let written = options
            .create(true)
            .append(true)
            .open(&name)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        match written {
            Ok(()) => self.face.say(&format!("the screens are in {name}")),
            Err(error) => self.face.say(&format!("cannot write {name}: {error}")),
        }
    }

    fn footer(&self) -> Footer {
        match (self.ending, self.is_paused) {
            (Ending::Running, true) => Footer::Paused,
            (Ending::Running, false) if self.face.facts.is_client => Footer::Client,
            (Ending::Running, false) => Footer::Server,
            _ => Footer::Quitting,
        }
    }

    fn advance_ending(&mut self, now: u64) {
        if now >= self.timeout_ns && self.ending == Ending::Running {
            self.end =
                if self.config.timeout_error { RunEnd::TimedOutAsError } else { RunEnd::TimedOut };
            self.drain(now + DRAIN_NS);
        }
        match self.ending {
            Ending::Draining { until_ns } if now >= until_ns => self.cancel(now),
            Ending::Cancelling { until_ns } if now >= until_ns => self.stop(),
            _ => {}
        }
    }

    /// No new calls; open ones may finish until `until_ns`.
    fn drain(&mut self, until_ns: u64) {
        if self.ending == Ending::Running {
            self.ending = Ending::Draining { until_ns };
            self.send(Command::StopNewCalls);
        }
    }

    fn cancel(&mut self, now: u64) {
        if self.ending < (Ending::Cancelling { until_ns: 0 }) {
            self.ending = Ending::Cancelling { until_ns: now + CANCEL_NS };
            self.send(Command::CancelCalls);
        }
    }

    fn stop(&mut self) {
        self.ending = Ending::Stopping;
        self.send(Command::StopNow);
    }

    fn send(&mut self, command: Command) {
        for worker in &mut self.running.workers {
            worker.send(command);
        }
    }

    fn line(&self, snapshot: &Snapshot) -> String {
        ConsoleLine { snapshot, media: &Media::default(), engine: None }.to_string()
    }

    fn print_table(&self, snapshot: &Snapshot) {
        let health = self.gates().evaluate(snapshot);
        let table = FinalTable {
            snapshot,
            health: &health,
            driver: self.plan.driver_name,
            palette: &self.palette,
        };
        let _ = writeln!(io::stdout(), "{table}");
    }

    /// What SIPp prints at its end, and on stderr what it does not know.
    fn print_screens(&self, snapshot: &Snapshot) {
        let _ = write!(io::stdout(), "{}", self.face.last_pages(snapshot));
        if let Verdict::GeneratorLimited { .. } = snapshot.verdict.verdict() {
            let warn = self.palette.warning;
            let _ = writeln!(
                io::stderr(),
                "{warn}note:{warn:#} the generator limited this run: its figures are not those of \
                 the peer; -summary_json has the reasons"
            );
        }
        if let Some((noise @ 1.., error)) = self.socket.as_ref().map(ControlSocket::noise) {
            let error = error.map_or(String::new(), |error| format!("; the last one: {error}"));
            let _ = writeln!(
                io::stderr(),
                "note: {noise} datagrams on the control socket meant nothing{error}"
            );
        }
    }

    fn gates(&self) -> HealthGates {
        let gates = &self.config.health;
        HealthGates {
            success_ratio_min: gates.min_success_ratio,
            failed_calls_max: gates.max_failed_calls,
            timeouts_max: gates.max_timeouts,
        }
    }

    /// The final reports and the exit code.
    fn finish(&mut self) -> Result<ExitCode, RunError> {
        let snapshot = self.aggregate.snapshot();
        let health = self.gates().evaluate(&snapshot);
        if let Some(traces) = &mut self.traces {
            traces.put_screens(&self.face.pages(&snapshot, Footer::Over));
        }
        let losses = self.traces.take().map(|traces| traces.finish(&snapshot));
        let losses = losses.unwrap_or_default();
        match self.config.flavor {
            Flavor::Sipp => self.print_screens(&snapshot),
            Flavor::Gossipper => {
                self.print_table(&snapshot);
                let _ = writeln!(io::stdout(), "{}", self.line(&snapshot));
            }
        }
        if let Some(path) = &self.config.summary_json {
            let context = SummaryContext {
                driver: self.plan.driver_name.to_owned(),
                transport: self.config.transport.protocol().to_owned(),
                health: health.clone(),
                media: Media::default(),
                trace_rows_dropped: losses.lost_orders,
                trace_bytes_unwritten: losses.lost_bytes,
                hep_packets_dropped: losses.losses.hep_packets,
                events_dropped: losses.losses.events,
            };
            Summary::new(&snapshot, &context).write(path)?;
        }
        for (lost, what, whom) in [
            (losses.losses.hep_packets, "packets", "the HEP collector"),
            (losses.losses.events, "events", "the collector of the event log"),
        ] {
            if lost > 0 {
                let _ = writeln!(io::stderr(), "warning: {lost} {what} did not reach {whom}");
            }
        }
        let dropped = snapshot.counters.trace_drops.total();
        if dropped > 0 {
            let _ = writeln!(
                io::stderr(),
                "warning: the trace files lack {dropped} records that came faster than they could \
                 be written"
            );
        }
        if let Some(error) = self.fatal.take() {
            return Err(error);
        }
        for reason in health.reasons.iter().filter(|_| health.active && !health.pass) {
            let bad = self.palette.bad;
            let _ = writeln!(io::stderr(), "{bad}health:{bad:#} {reason}");
        }
        let limited = matches!(snapshot.verdict.verdict(), Verdict::GeneratorLimited { .. });
        let cancelled = snapshot.counters.failures.count(FailureCause::Cancelled);
        Ok(exit_code(&Outcome {
            end: self.end,
            calls_succeeded: snapshot.calls.succeeded,
            // Calls that were open when the user ended the run have not failed.
            calls_failed: snapshot.calls.failed - cancelled,
            gates_pass: health.active.then_some(health.pass),
            is_limited_failure: limited && self.config.fail_if_limited,
            is_rtp_check_failed: false,
        }))
    }
}

//! Watching a run: reports in, status out, signals and limits to the workers, and the end.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gossipper_uring::sys;
use signal_hook::consts::{SIGINT, SIGPIPE, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag;

use super::plan::Plan;
use super::traces::{Prepared, Traces};
use super::{RunError, palette};
use crate::config::RunConfig;
use crate::dataplane::{Command, Running};
use crate::engine::StopRequest;
use crate::output::summary::Media;
use crate::output::{
    ConsoleLine, FinalTable, LiveStatus, Palette, StatusMode, Summary, SummaryContext,
};
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
/// Columns where the terminal does not tell.
const COLUMNS_DEFAULT: usize = 100;

/// Signals that the run listens to, as flags that handlers set.
pub(super) struct Signals {
    /// SIGINT and SIGTERM, counted: the first drains, the second stops.
    stops: Arc<AtomicUsize>,
    /// SIGUSR1: the same as the key `q`.
    quit: Arc<AtomicBool>,
    /// SIGUSR2: print the state.
    dump: Arc<AtomicBool>,
}

impl Signals {
    pub(super) fn install() -> Result<Self, RunError> {
        let signals = Self {
            stops: Arc::new(AtomicUsize::new(0)),
            quit: Arc::new(AtomicBool::new(false)),
            dump: Arc::new(AtomicBool::new(false)),
        };
        let flags = || -> io::Result<()> {
            flag::register(SIGUSR1, Arc::clone(&signals.quit))?;
            flag::register(SIGUSR2, Arc::clone(&signals.dump))?;
            // A closed pipe is an error of the write, not the end of the run.
            flag::register(SIGPIPE, Arc::new(AtomicBool::new(false)))?;
            let mut all = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGUSR1, SIGUSR2])?;
            let (stops, control) = (Arc::clone(&signals.stops), thread::current());
            thread::Builder::new().name("signals".to_owned()).spawn(move || {
                for signal in all.forever() {
                    if matches!(signal, SIGINT | SIGTERM) {
                        stops.fetch_add(1, Ordering::Relaxed);
                    }
                    control.unpark();
                }
            })?;
            Ok(())
        };
        flags().map_err(RunError::Signals)?;
        Ok(signals)
    }

    /// Whether a signal came that ends the run.
    pub(super) fn ask_to_end(&self) -> bool {
        self.stops.load(Ordering::Relaxed) > 0 || self.quit.load(Ordering::Relaxed)
    }

    /// Sleeps for `length`, or until a signal comes that ends the run.
    pub(super) fn sleep(&self, length: Duration) {
        let end = Instant::now() + length;
        while !self.ask_to_end() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(POLL));
        }
    }
}

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
    fatal: Option<String>,
    stops_seen: usize,
    next_status_ns: u64,
    next_line_ns: u64,
    timeout_ns: u64,
    palette: Palette,
    /// Until the end of the run.
    traces: Option<Traces>,
}

impl<'c> Control<'c> {
    pub(super) fn new(
        config: &'c RunConfig,
        plan: Plan,
        mut running: Running,
        signals: Signals,
        traces: Prepared,
    ) -> Result<Self, RunError> {
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
            stops_seen: 0,
            next_status_ns: after(Some(config.screen_period_ms)),
            next_line_ns: after(config.stat_period_ms),
            timeout_ns: after(config.timeout_ms),
            palette: palette(config, io::stdout().is_terminal()),
            plan,
            running,
            traces: Some(traces),
        })
    }

    /// Watches the run to its end and writes every report.
    pub(super) fn watch(mut self) -> Result<ExitCode, RunError> {
        self.announce();
        let is_terminal = io::stdout().is_terminal();
        let mode = match terminal_columns() {
            Some(columns) if is_terminal => StatusMode::Rewrite { columns },
            _ => StatusMode::Lines,
        };
        let mut status = LiveStatus::new(io::stdout(), mode, self.palette, self.plan.calls_total);
        while !self.aggregate.is_finished() && !self.workers_are_over() {
            thread::park_timeout(POLL);
            let now = sys::monotonic_now();
            self.take_reports();
            self.write_rows();
            self.take_stops(now);
            self.take_signals(now, &mut status);
            self.advance_ending(now);
            if now >= self.next_status_ns {
                self.next_status_ns = now + self.config.screen_period_ms * 1_000_000;
                if self.aggregate.last_second().is_some() && self.config.stat_period_ms.is_none() {
                    let _ = status.update(&self.aggregate.snapshot());
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
        self.take_reports();
        self.aggregate.finish();
        let _ = status.clear();
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
        let _ = writeln!(
            io::stdout(),
            "{dim}{} | {} UDP {}{peer} | {workers}, {} driver{dim:#}",
            launch.programs.main.name,
            self.config.transport.code(),
            self.running.local,
            self.plan.driver_name,
        );
    }

    fn workers_are_over(&self) -> bool {
        self.running.workers.iter().all(|worker| worker.is_over() && worker.reports.is_empty())
    }

    fn take_reports(&mut self) {
        for worker in &mut self.running.workers {
            while let Ok(mut report) = worker.reports.pop() {
                self.aggregate.absorb(&report);
                report.recycle();
                // The queue is as long as the reports are many; a worker that is gone needs none.
                let _ = worker.empties.push(report);
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
                    StopRequest::Gracefully => self.drain(now),
                    StopRequest::Now => {
                        self.end = RunEnd::StoppedByScenario;
                        self.stop();
                    }
                    StopRequest::Fatal(text) => {
                        self.end = RunEnd::Fatal;
                        self.fatal = Some(text);
                        self.stop();
                    }
                }
            }
        }
    }

    fn take_signals(&mut self, now: u64, status: &mut LiveStatus<io::Stdout>) {
        let stops = self.signals.stops.load(Ordering::Relaxed);
        if stops > self.stops_seen {
            let first = self.stops_seen == 0 && stops == 1;
            self.stops_seen = stops;
            let _ = status.clear();
            if first && self.ending == Ending::Running {
                let _ = writeln!(
                    io::stderr(),
                    "stopping: no new calls, open ones are ended (again to stop at once)"
                );
                self.drain(now);
            } else {
                self.stop();
            }
        }
        if self.signals.quit.swap(false, Ordering::Relaxed) {
            match self.ending {
                Ending::Running => self.drain(now),
                _ => self.cancel(now),
            }
        }
        if self.signals.dump.swap(false, Ordering::Relaxed) {
            let _ = status.clear();
            let snapshot = self.aggregate.snapshot();
            self.print_table(&snapshot);
            self.put_screens(&snapshot);
            if let Some(traces) = &mut self.traces {
                traces.dump();
            }
        }
    }

    fn advance_ending(&mut self, now: u64) {
        if now >= self.timeout_ns && self.ending == Ending::Running {
            self.end =
                if self.config.timeout_error { RunEnd::TimedOutAsError } else { RunEnd::TimedOut };
            self.drain(now);
        }
        match self.ending {
            Ending::Draining { until_ns } if now >= until_ns => self.cancel(now),
            Ending::Cancelling { until_ns } if now >= until_ns => self.stop(),
            _ => {}
        }
    }

    fn drain(&mut self, now: u64) {
        if self.ending == Ending::Running {
            self.ending = Ending::Draining { until_ns: now + DRAIN_NS };
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

    /// What the terminal shows, into the screen file.
    fn put_screens(&mut self, snapshot: &Snapshot) {
        let health = self.gates().evaluate(snapshot);
        if let Some(traces) = &mut self.traces {
            let palette = Palette::plain();
            let driver = self.plan.driver_name;
            let table = FinalTable { snapshot, health: &health, driver, palette: &palette };
            traces.put_screens(&format!("{table}\n"));
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
        self.put_screens(&snapshot);
        let losses = self.traces.take().map(|traces| traces.finish(&snapshot));
        let losses = losses.unwrap_or_default();
        self.print_table(&snapshot);
        let _ = writeln!(io::stdout(), "{}", self.line(&snapshot));
        if let Some(path) = &self.config.summary_json {
            let context = SummaryContext {
                driver: self.plan.driver_name.to_owned(),
                health: health.clone(),
                media: Media::default(),
                trace_rows_dropped: losses.lost_orders,
                trace_bytes_unwritten: losses.lost_bytes,
            };
            Summary::new(&snapshot, &context).write(path)?;
        }
        let dropped = snapshot.counters.trace_drops.total();
        if dropped > 0 {
            let _ = writeln!(
                io::stderr(),
                "warning: the trace files lack {dropped} records that came faster than they could \
                 be written"
            );
        }
        if let Some(text) = self.fatal.take() {
            return Err(RunError::Scripted(text));
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

/// Columns of the terminal on stdout.
fn terminal_columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(match size.ws_col {
        0 => COLUMNS_DEFAULT,
        columns => usize::from(columns),
    })
}

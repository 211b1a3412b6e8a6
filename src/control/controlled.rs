//! A run under control. One loop supervises the run to its end, serves the requests that come over
//! its handle, and gives its front a turn.
//!
//! The front owns the thread of the loop: it is an engine of the server, or a terminal. All other
//! parts reach the run through a [`Handle`].

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use gossipper_uring::sys;

use super::handle::{Handle, Queue};
use super::reply::{Refusal, Reply};
use super::request::Request;
use super::service::Service;
use super::state::Published;
use crate::config::targets::Hold;
use crate::config::{ListenerSpec, RunConfig};
use crate::output::ConsoleLine;
use crate::run::RunError;
use crate::run::supervised::{Finished, Shell, Supervisor};

/// Most of the time before a deadline that is kept for ending calls with BYE.
const GOODBYE_NS: u64 = 3_000_000_000;
/// Most of the time before a deadline that is kept for writing the last reports.
const REPORTS_NS: u64 = 1_000_000_000;

/// The part of the time before a deadline in which open calls may end by themselves.
pub(crate) fn own_time_ns(left_ns: u64) -> u64 {
    left_ns - REPORTS_NS.min(left_ns / 4) - GOODBYE_NS.min(left_ns / 3)
}

/// The owner of the thread that supervises a run.
pub(crate) trait Front {
    /// The longest time between two turns. Workers and the queue wake the thread earlier.
    const POLL: Duration;

    /// Shows a note of the run.
    fn note(&mut self, run: &mut ControlledRun, note: String);

    /// Does the work that is due at `now`.
    fn turn(&mut self, run: &mut ControlledRun, now: u64);
}

/// The settings of a run under control, beside those of the run itself.
pub(crate) struct Terms {
    /// The places where the run listens.
    pub(crate) places: Vec<ListenerSpec>,
    /// Sentences of the plan that an operator should read.
    pub(crate) notices: Vec<String>,
    /// The run's share of the rate and call ceilings of its targets.
    pub(crate) hold: Option<Hold>,
    /// True if the scenario was sent with the request that started the run.
    pub(crate) is_sent: bool,
}

/// A running run, its workers and its statistics.
pub(crate) struct ControlledRun {
    config: Arc<RunConfig>,
    run: Supervisor,
    service: Service,
    next_line_ns: u64,
    is_ending_by: bool,
}

impl ControlledRun {
    /// Takes control of a run that has just started, and publishes its first state.
    pub(crate) fn new(
        handle: &Handle,
        queue: Queue,
        config: Arc<RunConfig>,
        terms: Terms,
        run: Supervisor,
    ) -> Self {
        let next_line_ns = match config.stat_period_ms {
            Some(period_ms) if period_ms > 0 => run.start_ns() + period_ms * 1_000_000,
            _ => u64::MAX,
        };
        let service = Service::open(handle, queue, Arc::clone(&config), terms, &run);
        service.publish_start(&run);
        Self { config, run, service, next_line_ns, is_ending_by: false }
    }

    /// Supervises the run to the end of its workers.
    pub(crate) fn watch<F: Front>(mut self, front: &mut F) -> EndedRun {
        while !self.run.is_over() {
            thread::park_timeout(F::POLL);
            let now = sys::monotonic_now();
            let has_reports = self.run.poll(now);
            for note in self.run.take_notes() {
                front.note(&mut self, note);
            }
            self.look_at_the_end(now);
            self.service.look_at_targets(&mut self.run, now);
            self.service.serve(&mut self.run, has_reports, now);
            front.turn(&mut self, now);
        }
        let Self { mut run, mut service, .. } = self;
        let failed = run.join();
        let last = service.last_state(&mut run);
        EndedRun { run, service, last, failed }
    }

    /// Carries out a request of the front. Requests that workers have to answer go through
    /// [`tell`](Self::tell).
    ///
    /// # Errors
    /// The reason why the request is refused.
    pub(crate) fn ask(&mut self, request: Request, now: u64) -> Result<(), Refusal> {
        self.service.ask(&mut self.run, request, now)
    }

    /// Asks the run about itself; the reply follows on the channel.
    pub(crate) fn tell(&mut self, request: Request, now: u64) -> Receiver<Reply> {
        self.service.tell(&mut self.run, request, now)
    }

    /// The run, for reading.
    pub(crate) fn run(&self) -> &Supervisor {
        &self.run
    }

    /// Writes pending output, and `screens` if the run has a file for them. Returns `false` if it
    /// has none.
    pub(crate) fn dump(&mut self, screens: &str) -> bool {
        self.run.dump(screens)
    }

    /// Adds a note to the published state.
    pub(crate) fn note(&mut self, text: String) {
        self.service.note(text);
    }

    /// The line of progress, if one is due (`-stat_period`).
    pub(crate) fn line(&mut self, engine: Option<&str>, now: u64) -> Option<String> {
        if now < self.next_line_ns {
            return None;
        }
        self.next_line_ns = now + self.config.stat_period_ms.unwrap_or(1000) * 1_000_000;
        let snapshot = self.run.snapshot();
        Some(ConsoleLine { snapshot: &snapshot, engine }.to_string())
    }

    /// Ends the run in time, once a handle has set a deadline.
    fn look_at_the_end(&mut self, now: u64) {
        let Some(end_by_ns) = self.service.end_by_ns().filter(|_| !self.is_ending_by) else {
            return;
        };
        self.is_ending_by = true;
        let left_ns = end_by_ns.saturating_sub(now);
        let stop_ns = end_by_ns.saturating_sub(REPORTS_NS.min(left_ns / 4));
        self.run.end_by(now + own_time_ns(left_ns), stop_ns);
    }
}

/// A run whose workers have ended: its reports are still to be written.
pub(crate) struct EndedRun {
    run: Supervisor,
    service: Service,
    last: Published,
    failed: Option<RunError>,
}

impl EndedRun {
    /// The run, for reading.
    pub(crate) fn run(&self) -> &Supervisor {
        &self.run
    }

    /// Takes the remaining notes of the run.
    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        self.run.take_notes()
    }

    /// The thread of the run's shell commands, if it has one.
    pub(crate) fn take_shell(&mut self) -> Option<Shell> {
        self.run.take_shell()
    }

    /// Writes all reports, lets `shell` finish, and publishes the outcome. `screens` are appended
    /// to the screen file, if there is one. Returns the outcome, and sentences about what is
    /// missing.
    pub(crate) fn finish(
        self,
        screens: Option<&str>,
        shell: Option<Shell>,
    ) -> (Finished, Vec<String>) {
        let Self { run, service, last, failed } = self;
        let finished = run.finish(screens, failed);
        let commands_lost = shell.map_or(0, Shell::finish);
        let notices = service.close(last, &finished, commands_lost);
        (finished, notices)
    }
}

//! The front of a run at a terminal: status out, keys, signals and the control socket in.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gossipper_uring::sys;

use super::action::{Action, Display};
use super::facts;
use super::questions::Questions;
use super::signals::Signals;
use super::socket::ControlSocket;
use super::start::palette;
use super::view::View;
use crate::config::targets::AddressClass;
use crate::config::{Flavor, RunConfig};
use crate::control::{self, ControlledRun, EndedRun, Rate, Request};
use crate::output::screen::Footer;
use crate::output::{
    ConsoleLine, FinalTable, Palette, StreamsLine, ended_with_run, next_look, sentence,
    verdict_note,
};
use crate::run::supervised::{Finished, Shell, Supervisor, notes_path};
use crate::run::{RunError, media_mode};
use crate::scenario::Program;
use crate::stats::{ExitCode, Snapshot};

/// Most groups of failed calls that are named on stderr.
const FAILURES_SAID: usize = 3;

/// The terminal as the front of a run.
pub(super) struct Front<'c> {
    config: &'c RunConfig,
    signals: Signals,
    stops_seen: usize,
    next_status_ns: u64,
    palette: Palette,
    socket: Option<ControlSocket>,
    view: View,
    /// Step of the keys that change the rate.
    rate_scale: f64,
    questions: Questions,
    actions: Vec<Action>,
    /// The scenario whose actions the screens show.
    shown: Arc<Program>,
}

impl control::Front for Front<'_> {
    /// Signals wake the thread too.
    const POLL: Duration = Duration::from_millis(100);

    fn note(&mut self, _: &mut ControlledRun, note: String) {
        self.view.say(&format!("note: {note}"));
    }

    fn turn(&mut self, run: &mut ControlledRun, now: u64) {
        self.note_changes(run.run());
        let shown = footer(run.run());
        self.questions.take_answers(run, &mut self.view, shown, now);
        self.questions.ask(run, &self.view, now);
        self.take_signals(run, now);
        let mut actions = std::mem::take(&mut self.actions);
        if let Some(socket) = &mut self.socket {
            socket.poll(&mut actions);
        }
        self.view.poll(&mut actions, footer(run.run()));
        for action in actions.drain(..) {
            self.perform(run, action, now);
        }
        self.actions = actions;
        if now >= self.next_status_ns {
            self.next_status_ns = now + self.config.screen_period_ms * 1_000_000;
            if !run.run().is_waiting() {
                self.view.show_no_waiting();
            }
            if run.run().has_second() {
                self.view.update(run.run().snapshot(), footer(run.run()));
            }
        }
        if let Some(line) = run.line(None, now) {
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}

impl<'c> Front<'c> {
    /// The front of a run that has just started.
    pub(super) fn new(
        config: &'c RunConfig,
        run: &Supervisor,
        signals: Signals,
        socket: Option<ControlSocket>,
    ) -> Self {
        let next_status_ns = match config.screen_period_ms {
            0 => u64::MAX,
            period_ms => run.start_ns() + period_ms * 1_000_000,
        };
        let period_ns = config.screen_period_ms.max(100) * 1_000_000;
        Self {
            config,
            signals,
            stops_seen: 0,
            next_status_ns,
            palette: palette(config, io::stdout().is_terminal()),
            socket,
            view: View::new(config, facts::facts(config, run)),
            rate_scale: config.rate_scale,
            questions: Questions::new(run.circuits(), period_ns),
            actions: Vec::new(),
            shown: Arc::clone(run.program()),
        }
    }

    /// Prints one line with the scenario, its addresses and the place of control.
    pub(super) fn announce(&self, run: &Supervisor, place: Option<&str>) {
        let workers = match run.workers_each() {
            1 => "1 worker".to_owned(),
            workers => format!("{workers} workers"),
        };
        let peer = self.target(run).map_or(String::new(), |target| format!(" -> {target}"));
        let dim = self.palette.dim;
        // SIPp prints nothing on stdout before its screens.
        let mut out: Box<dyn Write> = match self.config.flavor {
            Flavor::Sipp => Box::new(io::stderr()),
            Flavor::Gossipper => Box::new(io::stdout()),
        };
        let control = self.socket.as_ref().and_then(ControlSocket::address);
        let control = control.map_or(String::new(), |at| format!(" | control {at}"));
        let place = place.map_or(String::new(), |place| format!(" | {place}"));
        let _ = writeln!(
            out,
            "{dim}{} | {} {} {}{peer} | {workers}, {} driver{control}{place}{dim:#}",
            run.first_programs().main.name,
            self.config.transport.code(),
            self.config.transport.protocol(),
            run.addresses().next().map_or(String::new(), |address| address.to_string()),
            run.driver_name(),
        );
    }

    /// The target that the run calls: the given name, and the address that it stands for.
    fn target(&self, run: &Supervisor) -> Option<String> {
        let address = run.next_hop()?;
        let given = self.config.next_hop().filter(|given| given.ip() != Some(address.ip()));
        let name = given.map(|given| format!("{} ", given.host));
        // The kind of address is shown, because a run at a terminal has no permitted targets to
        // check it.
        let class = AddressClass::of(address.ip()).label();
        Some(format!("{}{address} ({class})", name.unwrap_or_default()))
    }

    /// Notes for the screens the changes made from any side.
    fn note_changes(&mut self, run: &Supervisor) {
        let facts = &mut self.view.facts;
        facts.rate = run.rate();
        facts.users = run.users();
        facts.call_limit = run.call_limit();
        if !Arc::ptr_eq(run.program(), &self.shown) {
            self.shown = Arc::clone(run.program());
            facts.actions = facts::actions(&self.shown);
        }
    }

    fn take_signals(&mut self, run: &mut ControlledRun, now: u64) {
        let stops = self.signals.stops();
        if stops > self.stops_seen {
            let first = self.stops_seen == 0 && stops == 1;
            self.stops_seen = stops;
            if first && !run.run().is_ending() && self.config.flavor == Flavor::Gossipper {
                self.view
                    .say("stopping: no new calls, open ones are ended (again to stop at once)");
                self.ask(run, Request::Quit, now);
                self.questions.hurry();
            } else {
                self.ask(run, Request::StopNow, now);
            }
        }
        if self.signals.take_quit() {
            self.ask(run, Request::Quit, now);
        }
        if self.signals.take_dump() {
            match self.config.flavor {
                Flavor::Sipp => self.dump_screens(run),
                Flavor::Gossipper => {
                    self.view.clear();
                    self.print_table(run.run(), &run.run().snapshot());
                }
            }
        }
        if self.signals.take_resumed() {
            self.view.resume(footer(run.run()));
        }
    }

    /// Carries out an action of keys or of the control socket.
    fn perform(&mut self, run: &mut ControlledRun, action: Action, now: u64) {
        match action {
            Action::Ask(request) => self.ask(run, request, now),
            Action::SetRate(rate) => self.ask_for_rate(run, rate, now),
            Action::Step(steps) => match run.run().users() {
                Some(users) => {
                    let users = (users as f64 + steps * self.rate_scale).max(0.0);
                    self.ask(run, Request::SetUsers(users as u64), now);
                }
                None => {
                    let rate = run.run().rate_now() + steps * self.rate_scale;
                    self.ask_for_rate(run, rate.max(0.0), now);
                }
            },
            Action::TogglePause => {
                let is_paused = run.run().is_paused();
                self.ask(run, Request::SetStartsPaused(!is_paused), now);
            }
            Action::SetRateScale(scale) => self.rate_scale = scale,
            Action::Show(screen) => {
                self.view.show(screen, footer(run.run()));
                self.questions.hurry();
            }
            Action::ShowStatusLine => self.view.show_status_line(),
            Action::Display(display) => self.display(run.run(), display),
            Action::Hide(hides) => self.view.shows_hidden = !hides,
            Action::DumpScreens => self.dump_screens(run),
            Action::DumpTasks => {
                let snapshot = run.run().snapshot();
                let (active, workers) = (snapshot.calls.active, snapshot.workers);
                let text = format!("{active} calls are open, in {workers} workers");
                self.view.say(&text);
            }
        }
    }

    /// Asks for a rate that is given in calls per period.
    fn ask_for_rate(&mut self, run: &mut ControlledRun, calls: f64, now: u64) {
        let rate = Rate { calls, period_ms: self.config.rate_period_ms.max(1) };
        self.ask(run, Request::SetRate(rate), now);
    }

    /// Sends a request to the run, and shows the outcome.
    fn ask(&mut self, run: &mut ControlledRun, request: Request, now: u64) {
        if request == Request::TellVariables {
            if let Err(refusal) = self.questions.command(run, request, now) {
                self.view.say(&refusal.to_string());
            }
            return;
        }
        let is_reset = request == Request::ResetStats;
        match run.ask(request, now) {
            Ok(()) if is_reset => {
                self.questions.note_reset();
                self.view.forget();
            }
            Ok(()) => self.note_changes(run.run()),
            Err(refusal) => self.view.say(&refusal.to_string()),
        }
    }

    /// Shows the steps of another scenario of the run, if it has that one.
    fn display(&mut self, run: &Supervisor, display: Display) {
        let programs = run.first_programs();
        let wanted = match display {
            Display::Main => Some(&programs.main),
            Display::Receiving => programs.receiving.as_ref(),
            Display::OutOfCall => programs.out_of_call.as_ref(),
        };
        let index =
            wanted.and_then(|wanted| programs.all().position(|known| Arc::ptr_eq(known, wanted)));
        match index {
            Some(index) => self.view.program = index,
            None => self.view.say("this run has no such scenario"),
        }
    }

    /// Appends all screens to the screen file; without one, to `<scenario>_<pid>_screen.log`.
    fn dump_screens(&mut self, run: &mut ControlledRun) {
        let text = self.view.pages(&run.run().snapshot(), footer(run.run()));
        if run.dump(&text) {
            return;
        }
        let scenario = &run.run().first_programs().main.name;
        let name = format!("{scenario}_{}_screen.log", sys::process_id());
        // The scenario's name may be anything, and must not lead out of this directory.
        let name = name.replace(['/', '\0'], "_");
        let written = append(Path::new(&name), &text);
        match written {
            Ok(()) => self.view.say(&format!("the screens are in {name}")),
            Err(error) => self.view.say(&format!("cannot write {name}: {error}")),
        }
    }

    fn print_table(&self, run: &Supervisor, snapshot: &Snapshot) {
        let health = run.health(snapshot);
        let table = FinalTable {
            snapshot,
            health: &health,
            driver: run.driver_name(),
            media_mode: media_mode(self.config),
            next_look: self.next_look(),
            palette: &self.palette,
        };
        let _ = writeln!(io::stdout(), "{table}");
    }

    /// Notes for the end of the run that SIPp's screens do not contain.
    fn notes(&self, snapshot: &Snapshot) -> Vec<String> {
        let mut notes = self.failure_notes(snapshot);
        notes.extend(verdict_note(snapshot));
        if let Some((noise @ 1.., error)) = self.socket.as_ref().map(ControlSocket::noise) {
            let error = error.map_or(String::new(), |error| format!("; the last one: {error}"));
            notes.push(format!(
                "{noise} datagrams on the control socket were not understood{error}"
            ));
        }
        notes
    }

    /// Notes on the causes of failed calls, as SIPp prints its last error.
    fn failure_notes(&self, snapshot: &Snapshot) -> Vec<String> {
        let mut causes: Vec<_> = snapshot.counters.failures.nonzero().collect();
        causes.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        if causes.is_empty() {
            return Vec::new();
        }
        let named: Vec<String> =
            causes.iter().map(|(cause, count)| format!("{count} {}", cause.label())).collect();
        let more = match (ended_with_run(snapshot), self.config.trace.errors.is_on) {
            (Some(_), _) => "nothing is wrong with them: the run ended before they did",
            (None, true) => "the error log names each",
            (None, false) => "-trace_err names each",
        };
        let groups = snapshot.failures.groups.iter().take(FAILURES_SAID);
        let all = format!("failed calls: {}; {more}", named.join(", "));
        std::iter::once(all).chain(groups.map(|group| sentence(group, snapshot))).collect()
    }

    /// Writes the notes of the end: to stderr under the name `sipp`, and with `-bg` to a file, as
    /// stderr has no reader then.
    fn tell_end(&self, snapshot: &Snapshot) {
        let notes = self.notes(snapshot);
        if self.config.flavor == Flavor::Sipp {
            let warn = self.palette.warning;
            for note in &notes {
                let _ = writeln!(io::stderr(), "{warn}note:{warn:#} {note}");
            }
        }
        if self.config.background && !notes.is_empty() {
            // A failure to write the file cannot be reported any more.
            let path = notes_path(self.config, sys::process_id());
            let _ = append(&path, &(notes.join("\n") + "\n"));
        }
    }

    /// The advice for examining failed calls, unless the run already writes a file that helps.
    fn next_look(&self) -> Option<&'static str> {
        next_look(self.config.trace.errors.is_on, self.config.export.events.is_on())
    }
}

/// The keys that a screen names at its foot.
fn footer(run: &Supervisor) -> Footer {
    match (run.is_ending(), run.is_paused()) {
        (true, _) => Footer::Quitting,
        (false, true) => Footer::Paused,
        (false, false) if run.is_client() => Footer::Client,
        (false, false) => Footer::Server,
    }
}

/// A run at a terminal whose workers have ended.
pub(crate) struct Over<'c> {
    front: Front<'c>,
    run: EndedRun,
    shell: Option<Shell>,
}

impl<'c> Over<'c> {
    /// Gives the terminal back.
    pub(super) fn new(mut front: Front<'c>, mut run: EndedRun, shell: Option<Shell>) -> Self {
        for note in run.take_notes() {
            front.view.say(&format!("note: {note}"));
        }
        front.view.close();
        Self { front, run, shell }
    }

    /// Writes the final reports, and returns the exit code.
    ///
    /// # Errors
    /// The error that ended the run before its time, or keeps a report from being written.
    pub(crate) fn finish(self) -> Result<ExitCode, RunError> {
        let Self { front, run, shell } = self;
        let code = front.finish(run);
        let dropped = shell.map_or(0, Shell::finish);
        if dropped > 0 {
            let text = "note: commands of exec command= that were not run";
            let _ = writeln!(io::stderr(), "{text}: {dropped}");
        }
        code
    }
}

impl Front<'_> {
    /// The final reports and the exit code.
    fn finish(self, run: EndedRun) -> Result<ExitCode, RunError> {
        let snapshot = run.run().snapshot();
        match self.config.flavor {
            Flavor::Sipp => {
                let _ = write!(io::stdout(), "{}", self.view.last_pages(&snapshot));
            }
            Flavor::Gossipper => self.print_table(run.run(), &snapshot),
        }
        // A line for programs that read the output.
        let is_for_programs =
            self.config.flavor == Flavor::Gossipper && !io::stdout().is_terminal();
        if self.config.stat_line || is_for_programs {
            let line = ConsoleLine { snapshot: &snapshot, engine: None };
            let _ = writeln!(io::stdout(), "{line}");
        }
        if self.config.rtp_send.is_some() {
            let _ = writeln!(io::stdout(), "{}", StreamsLine(&snapshot));
        }
        self.tell_end(&snapshot);
        let screens = self.view.pages(&snapshot, Footer::Over);
        // The run itself prints the sentences about what is missing.
        let (finished, _) = run.finish(Some(&screens), None);
        let lost = finished.losses_told();
        let Finished { health, written, fatal, failed, code, .. } = finished;
        written?;
        for text in &lost {
            let _ = writeln!(io::stderr(), "warning: {text}");
        }
        if let Some(error) = fatal {
            return Err(error);
        }
        for reason in health.reasons.iter().filter(|_| health.active && !health.pass) {
            let bad = self.palette.bad;
            let _ = writeln!(io::stderr(), "{bad}health:{bad:#} {reason}");
        }
        failed.map_or(Ok(code), Err)
    }
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(text.as_bytes())
}

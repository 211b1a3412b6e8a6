//! Watching a run: reports in, status out, signals and limits to the workers, and the end.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use gossipper_uring::sys;

use super::action::{Action, Display};
use super::companion::Companion;
use super::questions::Questions;
use super::signals::Signals;
use super::socket::ControlSocket;
use super::supervisor::{Finished, Supervisor};
use super::traces::notes_path;
use super::view::View;
use super::{RunError, facts, palette};
use crate::config::targets::AddressClass;
use crate::config::{Flavor, RunConfig};
use crate::output::screen::Footer;
use crate::output::summary::Media;
use crate::output::{
    ConsoleLine, FinalTable, Palette, ended_with_run, next_look, sentence, verdict_note,
};
use crate::scenario::Program;
use crate::stats::{ExitCode, Snapshot};

/// How often the control side looks at its clock. Workers and signals wake it when they have
/// something for it; they never wait for it.
const POLL: Duration = Duration::from_millis(100);

/// Groups of failed calls that are said on stderr.
const FAILURES_SAID: usize = 3;

pub(super) struct Control<'c> {
    config: &'c RunConfig,
    run: Supervisor,
    signals: Signals,
    stops_seen: usize,
    next_status_ns: u64,
    next_line_ns: u64,
    palette: Palette,
    socket: Option<ControlSocket>,
    view: View,
    /// Step of the keys that change the rate.
    rate_scale: f64,
    questions: Questions,
    companion: Option<&'c mut dyn Companion>,
    /// The scenario whose actions the screens show.
    shown: Arc<Program>,
}

impl<'c> Control<'c> {
    pub(super) fn new(
        config: &'c RunConfig,
        run: Supervisor,
        signals: Signals,
        socket: Option<ControlSocket>,
        companion: Option<&'c mut dyn Companion>,
    ) -> Self {
        let palette = palette(config, io::stdout().is_terminal());
        let first = run.first();
        let facts = facts::facts(config, &first.plan, first.running.local.port());
        let after = |period_ms: Option<u64>| match period_ms {
            Some(period_ms) if period_ms > 0 => run.start_ns() + period_ms * 1_000_000,
            _ => u64::MAX,
        };
        Self {
            config,
            signals,
            stops_seen: 0,
            next_status_ns: after(Some(config.screen_period_ms)),
            next_line_ns: after(config.stat_period_ms),
            palette,
            socket,
            view: View::new(config, facts),
            rate_scale: config.rate_scale,
            questions: Questions::new(
                run.workers().count(),
                first.plan.launch.engine.data.circuits,
                config.screen_period_ms.max(100) * 1_000_000,
            ),
            companion,
            shown: Arc::clone(run.program()),
            run,
        }
    }

    /// Watches the run to its end and writes every report. `place` is where else it is steered
    /// from.
    pub(super) fn watch(mut self, place: Option<&str>) -> Result<ExitCode, RunError> {
        self.announce(place);
        let mut actions = Vec::new();
        while !self.run.is_over() {
            thread::park_timeout(POLL);
            let now = sys::monotonic_now();
            let has_reports = self.run.poll(now);
            self.take_company(has_reports, now);
            let footer = self.footer();
            self.questions.take_answers(&mut self.run, &mut self.view, footer, now);
            self.questions.ask(&mut self.run, &self.view, now);
            self.tell_notes();
            self.take_signals(now);
            if let Some(socket) = &mut self.socket {
                socket.poll(&mut actions);
            }
            self.view.poll(&mut actions, self.footer());
            for action in actions.drain(..) {
                self.perform(action, now);
            }
            if now >= self.next_status_ns {
                self.next_status_ns = now + self.config.screen_period_ms * 1_000_000;
                if !self.run.is_waiting() {
                    self.view.show_no_waiting();
                }
                if self.run.has_second() {
                    self.view.update(self.run.snapshot(), self.footer());
                }
            }
            if now >= self.next_line_ns {
                let period_ms = self.config.stat_period_ms.unwrap_or(1000);
                self.next_line_ns = now + period_ms * 1_000_000;
                let _ = writeln!(io::stderr(), "{}", line(&self.run.snapshot()));
            }
        }
        let failed = self.run.join();
        if let Some(companion) = &mut self.companion {
            companion.end(&self.run);
        }
        self.tell_notes();
        self.view.close();
        self.finish(failed)
    }

    /// One line that says what runs where.
    fn announce(&self, place: Option<&str>) {
        let first = self.run.first();
        let launch = &first.plan.launch;
        let workers = match launch.workers {
            1 => "1 worker".to_owned(),
            workers => format!("{workers} workers"),
        };
        let peer = self.target().map_or(String::new(), |target| format!(" -> {target}"));
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
            launch.programs.main.name,
            self.config.transport.code(),
            self.config.transport.protocol(),
            first.running.local,
            first.plan.driver_name,
        );
    }

    /// The target that we call, by the name that was given and the address that it stands for.
    fn target(&self) -> Option<String> {
        let address = self.run.first().plan.launch.engine.environment.next_hop?;
        let given = self.config.next_hop().filter(|given| given.ip() != Some(address.ip()));
        let name = given.map(|given| format!("{} ", given.host));
        // Whose address it is should be no surprise: nobody else asks at a terminal.
        let class = AddressClass::of(address.ip()).label();
        Some(format!("{}{address} ({class})", name.unwrap_or_default()))
    }

    /// Lets the companion do with the run what it is asked for, and shows what has come of it.
    fn take_company(&mut self, has_reports: bool, now: u64) {
        let Some(companion) = &mut self.companion else { return };
        companion.poll(&mut self.run, has_reports, now);
        let facts = &mut self.view.facts;
        facts.rate = self.run.rate();
        facts.users = self.run.users();
        facts.call_limit = self.run.call_limit();
        if !Arc::ptr_eq(self.run.program(), &self.shown) {
            self.shown = Arc::clone(self.run.program());
            facts.actions = facts::actions(&self.shown);
        }
    }

    /// Tells what the thread that talks to other instances has to say, and why there are no
    /// connections.
    fn tell_notes(&mut self) {
        for note in self.run.take_notes() {
            self.view.say(&format!("note: {note}"));
        }
    }

    fn take_signals(&mut self, now: u64) {
        let stops = self.signals.stops();
        if stops > self.stops_seen {
            let first = self.stops_seen == 0 && stops == 1;
            self.stops_seen = stops;
            if first && !self.run.is_ending() && self.config.flavor == Flavor::Gossipper {
                self.view
                    .say("stopping: no new calls, open ones are ended (again to stop at once)");
                self.run.wind_down(now);
                self.questions.hurry();
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
                    self.view.clear();
                    let snapshot = self.run.snapshot();
                    self.print_table(&snapshot);
                }
            }
        }
        if self.signals.take_resumed() {
            self.view.resume(self.footer());
        }
    }

    /// Carries out what keys, the control socket and signals ask for.
    fn perform(&mut self, action: Action, now: u64) {
        match action {
            Action::Show(screen) => {
                self.view.show(screen, self.footer());
                self.questions.hurry();
            }
            Action::ShowStatusLine => self.view.show_status_line(),
            Action::Step(steps) => match self.run.users() {
                Some(users) => {
                    let users = (users as f64 + steps * self.rate_scale).max(0.0);
                    self.set_users(users as u64);
                }
                None => self.set_rate((self.run.rate_now() + steps * self.rate_scale).max(0.0)),
            },
            Action::SetRate(rate) => self.set_rate(rate),
            Action::SetRateScale(scale) => self.rate_scale = scale,
            Action::SetUsers(users) => self.set_users(users),
            Action::SetCallLimit(limit) => {
                self.run.set_call_limit(limit);
                self.view.facts.call_limit = self.run.call_limit();
            }
            Action::TogglePause => self.run.set_paused(!self.run.is_paused()),
            Action::Quit => self.run.quit(now),
            Action::Abort => self.run.cancel(now),
            Action::Stop => self.run.stop(),
            Action::DumpScreens => self.dump_screens(),
            Action::ResetStats => {
                self.run.reset_stats();
                self.questions.note_reset();
                self.view.forget();
            }
            Action::Display(display) => self.display(display),
            Action::Hide(hides) => self.view.shows_hidden = !hides,
            Action::Trace(log, is_on) => self.run.switch_trace(log, is_on),
            Action::DumpTasks => {
                let snapshot = self.run.snapshot();
                let (active, workers) = (snapshot.calls.active, snapshot.workers);
                let text = format!("{active} calls are open, in {workers} workers");
                self.view.say(&text);
            }
            Action::DumpVariables => Questions::ask_for_variables(&mut self.run),
        }
    }

    fn set_rate(&mut self, rate: f64) {
        match self.run.set_rate(rate) {
            Ok(()) => {
                self.view.facts.rate = rate;
                self.view.facts.call_limit = self.run.call_limit();
            }
            Err(why) => self.view.say(why),
        }
    }

    fn set_users(&mut self, users: u64) {
        match self.run.set_users(users) {
            Ok(()) => self.view.facts.users = Some(users),
            Err(why) => self.view.say(&why),
        }
    }

    /// Shows the steps of another scenario of the run, if it has that one.
    fn display(&mut self, display: Display) {
        let programs = &self.run.first().plan.launch.programs;
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
    fn dump_screens(&mut self) {
        let text = self.view.pages(&self.run.snapshot(), self.footer());
        if self.run.dump(&text) {
            return;
        }
        let scenario = &self.run.first().plan.launch.programs.main.name;
        let name = format!("{scenario}_{}_screen.log", sys::process_id());
        // The scenario's name may be anything, and must not lead out of this directory.
        let name = name.replace(['/', '\0'], "_");
        let written = append(Path::new(&name), &text);
        match written {
            Ok(()) => self.view.say(&format!("the screens are in {name}")),
            Err(error) => self.view.say(&format!("cannot write {name}: {error}")),
        }
    }

    fn footer(&self) -> Footer {
        match (self.run.is_ending(), self.run.is_paused()) {
            (true, _) => Footer::Quitting,
            (false, true) => Footer::Paused,
            (false, false) if self.run.is_client() => Footer::Client,
            (false, false) => Footer::Server,
        }
    }

    fn print_table(&self, snapshot: &Snapshot) {
        let health = self.run.health(snapshot);
        let table = FinalTable {
            snapshot,
            health: &health,
            driver: self.run.driver_name(),
            next_look: self.next_look(),
            palette: &self.palette,
        };
        let _ = writeln!(io::stdout(), "{table}");
    }

    /// Tells what is worth knowing at the end beside SIPp's screens, which do not say it.
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

    /// Says what calls failed of, as SIPp says its last error.
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

    /// Says what is worth knowing at the end: on stderr under the name `sipp`, and with `-bg`,
    /// where nobody reads that, in a file.
    fn tell_end(&self, snapshot: &Snapshot) {
        let notes = self.notes(snapshot);
        if self.config.flavor == Flavor::Sipp {
            let warn = self.palette.warning;
            for note in &notes {
                let _ = writeln!(io::stderr(), "{warn}note:{warn:#} {note}");
            }
        }
        if self.config.background && !notes.is_empty() {
            // Nobody is there to be told that it cannot be written.
            let path = notes_path(self.config, sys::process_id());
            let _ = append(&path, &(notes.join("\n") + "\n"));
        }
    }

    /// Tells what a second look at failed calls needs, beyond what the run writes already.
    fn next_look(&self) -> Option<&'static str> {
        next_look(self.config.trace.errors.is_on, self.config.export.events.is_on())
    }

    /// The final reports and the exit code.
    fn finish(mut self, failed: Option<RunError>) -> Result<ExitCode, RunError> {
        let snapshot = self.run.snapshot();
        match self.config.flavor {
            Flavor::Sipp => {
                let _ = write!(io::stdout(), "{}", self.view.last_pages(&snapshot));
            }
            Flavor::Gossipper => {
                self.print_table(&snapshot);
            }
        }
        // A line for programs, which do not read terminals.
        let is_for_programs =
            self.config.flavor == Flavor::Gossipper && !io::stdout().is_terminal();
        if self.config.stat_line || is_for_programs {
            let _ = writeln!(io::stdout(), "{}", line(&snapshot));
        }
        self.tell_end(&snapshot);
        let screens = self.view.pages(&snapshot, Footer::Over);
        let finished = self.run.finish(Some(&screens), failed);
        if let Some(companion) = self.companion.take() {
            companion.finish(&finished);
        }
        let Finished { losses, health, written, fatal, failed, code, .. } = finished;
        written?;
        for (lost, what, whom) in [
            (losses.losses.hep_packets, "packets", "the HEP collector"),
            (losses.losses.events, "events", "the collector of the event log"),
        ] {
            if lost > 0 {
                let _ = writeln!(io::stderr(), "warning: {lost} {what} did not reach {whom}");
            }
        }
        for complaint in &losses.complaints {
            let _ = writeln!(io::stderr(), "warning: {complaint}");
        }
        let dropped = snapshot.counters.trace_drops.total();
        if dropped > 0 {
            let _ = writeln!(
                io::stderr(),
                "warning: the trace files lack {dropped} records that came faster than they could \
                 be written"
            );
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

fn line(snapshot: &Snapshot) -> String {
    ConsoleLine { snapshot, media: &Media::default(), engine: None }.to_string()
}

//! The display of a run while it goes on, and its keys.
//!
//! Under the name `sipp` these are SIPp's screens, drawn if stdout is a terminal. Otherwise it is
//! one status line on stderr, which the keys `1` to `9` replace with the screens. Without a
//! terminal nothing is shown until the end: results go to stdout, and progress is for people.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::time::Duration;

use ratatui::layout::Rect;

use super::action::{self, Action};
use super::keys::Key;
use super::page::{self, Keyboard, Page};
use super::start::palette;
use crate::config::{Flavor, RunConfig};
use crate::control::Request;
use crate::output::dashboard::{Caption, Dashboard, to_ansi};
use crate::output::screen::{Footer, Frame, RunFacts, Screen};
use crate::output::{LiveStatus, StatusMode};
use crate::stats::{CallTotals, Snapshot};

/// Columns if the terminal does not report them.
const COLUMNS_DEFAULT: u16 = 100;

/// The display of a run, and its keyboard.
pub(super) struct View {
    /// The fixed facts of the run, with the changes by commands.
    pub(super) facts: RunFacts,
    /// The program whose steps are shown, by its index in the layout.
    pub(super) program: usize,
    /// True if steps with `hide="true"` are shown as well.
    pub(super) shows_hidden: bool,
    dashboard: Dashboard,
    /// The title of the dashboard.
    title: String,
    is_interactive: bool,
    flavor: Flavor,
    uses_keyboard: bool,
    /// Period of the progress lines on stderr, if they were requested.
    progress_ns: Option<u64>,
    shown: Shown,
    keyboard: Option<Keyboard>,
    page: Option<Page>,
    status: LiveStatus<Box<dyn Write>>,
    /// The command that is being typed.
    command: Option<String>,
    /// The answer to the last command.
    message: Option<String>,
    before: Option<Snapshot>,
    latest: Option<Snapshot>,
    peak: (u64, Duration),
    /// The present time and calls, between two snapshots.
    now: Option<(Duration, CallTotals)>,
}

/// The kind of display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// One status line.
    Status,
    /// A page.
    Screen(Screen),
    /// The dashboard: charts and figures.
    Dashboard,
    /// Nothing until the end.
    Nothing,
}

impl View {
    /// Creates the view of a run. Takes the keyboard and the screen as far as they exist.
    pub(super) fn new(config: &RunConfig, facts: RunFacts) -> Self {
        let columns = page::size().map_or(COLUMNS_DEFAULT, |(columns, _)| columns);
        let is_terminal = match config.flavor {
            Flavor::Sipp => io::stdout().is_terminal(),
            Flavor::Gossipper => io::stderr().is_terminal(),
        };
        let mode = match is_terminal {
            true => StatusMode::Rewrite { columns: usize::from(columns) },
            false => StatusMode::Lines,
        };
        let can_draw = page::can_draw();
        let shown = match (config.flavor, config.stat_period_ms) {
            _ if config.interactive && can_draw => Shown::Dashboard,
            // Progress lines, if requested, replace it.
            (Flavor::Gossipper, None) if is_terminal => Shown::Status,
            (Flavor::Gossipper, _) => Shown::Nothing,
            (Flavor::Sipp, _) if can_draw => Shown::Screen(Screen::Scenario),
            (Flavor::Sipp, _) if is_terminal => Shown::Status,
            (Flavor::Sipp, _) => Shown::Nothing,
        };
        let title = match facts.remote.as_str() {
            "" => format!("{} waits on port {}", facts.transport, facts.local_port),
            remote => format!("{} to {remote}", facts.transport),
        };
        let colors = palette(config, is_terminal);
        let status = LiveStatus::new(status_output(config.flavor), mode, colors, facts.calls_total);
        let mut view = Self {
            facts,
            program: 0,
            shows_hidden: false,
            dashboard: Dashboard::default(),
            title,
            is_interactive: config.interactive,
            flavor: config.flavor,
            uses_keyboard: !config.no_stdin,
            progress_ns: config
                .stat_period_ms
                .filter(|_| config.flavor == Flavor::Gossipper)
                .map(|period_ms| period_ms * 1_000_000),
            shown,
            keyboard: None,
            page: None,
            status,
            command: None,
            message: None,
            before: None,
            latest: None,
            peak: (0, Duration::ZERO),
            now: None,
        };
        if config.interactive && !can_draw {
            view.say("note: -interactive has no effect: this terminal cannot show pages");
        }
        view.take_terminal();
        view
    }

    fn take_terminal(&mut self) {
        self.page = None;
        self.keyboard = None;
        if self.uses_keyboard {
            self.keyboard = Keyboard::open();
        }
        if matches!(self.shown, Shown::Screen(_) | Shown::Dashboard) {
            self.page = Page::open();
        }
    }

    /// Takes the terminal again after another program had it.
    pub(super) fn resume(&mut self, footer: Footer) {
        self.take_terminal();
        self.redraw(footer);
    }

    /// Reads the keys that were pressed.
    pub(super) fn poll(&mut self, actions: &mut Vec<Action>, footer: Footer) {
        let Some(keyboard) = &mut self.keyboard else { return };
        let mut keys = Vec::new();
        keyboard.read(Duration::ZERO, &mut keys);
        let pressed = !keys.is_empty();
        for key in keys {
            self.press(key, actions);
        }
        if pressed {
            self.redraw(footer);
        }
    }

    fn press(&mut self, key: Key, actions: &mut Vec<Action>) {
        if let Some(command) = &mut self.command {
            match key {
                Key::Char(c) => command.push(c),
                Key::Backspace => _ = command.pop(),
                Key::Escape => self.command = None,
                Key::Enter => {
                    let command = self.command.take().unwrap_or_default();
                    match action::of_command(&command) {
                        Ok(action) => actions.push(action),
                        Err(error) => self.message = Some(error.to_string()),
                    }
                }
                _ => {}
            }
            return;
        }
        self.message = None;
        match key {
            Key::Char('c') => self.command = Some(String::new()),
            Key::Char(c) if c.is_ascii() => actions.extend(action::of_key(c as u8)),
            Key::Escape if self.is_interactive && self.shown == Shown::Dashboard => {
                actions.push(Action::Ask(Request::StopNow));
            }
            Key::Escape => actions.push(Action::ShowStatusLine),
            _ => {}
        }
    }

    /// Changes to another screen.
    pub(super) fn show(&mut self, screen: Screen, footer: Footer) {
        if !page::can_draw() {
            return;
        }
        let _ = self.status.clear();
        self.shown = Shown::Screen(screen);
        if self.page.is_none() {
            self.page = Page::open();
        }
        self.redraw(footer);
    }

    /// Shows the status line again, if the run began with it.
    pub(super) fn show_status_line(&mut self) {
        if self.is_interactive {
            self.shown = Shown::Dashboard;
            return;
        }
        if self.flavor == Flavor::Gossipper && self.page.is_some() {
            self.page = None;
            self.shown = Shown::Status;
        }
    }

    /// Shows a text on the screen, or on stderr if there is none.
    pub(super) fn say(&mut self, text: &str) {
        if self.page.is_some() {
            self.message = Some(text.to_owned());
        } else {
            self.clear();
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Shows that the run starts calls, or could, and does not wait.
    pub(super) fn show_no_waiting(&mut self) {
        self.status.wait_for(None);
    }

    /// Shows the state.
    pub(super) fn update(&mut self, snapshot: Snapshot, footer: Footer) {
        if snapshot.peak_active > self.peak.0 {
            self.peak = (snapshot.peak_active, Duration::from_nanos(snapshot.elapsed_ns));
        }
        let is_news =
            self.latest.as_ref().is_none_or(|latest| latest.elapsed_ns != snapshot.elapsed_ns);
        if is_news {
            self.before = self.latest.take();
        }
        self.dashboard.note(&snapshot);
        self.latest = Some(snapshot);
        self.redraw(footer);
    }

    /// Tells whether the dashboard is visible, which is drawn more often than once a second.
    pub(super) fn is_dashboard(&self) -> bool {
        self.shown == Shown::Dashboard && self.page.is_some()
    }

    /// Tells whether the circuits are visible.
    pub(super) fn shows_circuits(&self) -> bool {
        self.shown == Shown::Screen(Screen::TdmMap) && self.page.is_some()
    }

    /// Shows the present circuits.
    pub(super) fn show_circuits(&mut self, circuits: Vec<String>, footer: Footer) {
        self.facts.circuits = circuits;
        if self.shows_circuits() {
            self.redraw(footer);
        }
    }

    /// Shows the present calls in the dashboard.
    pub(super) fn show_calls(&mut self, elapsed: Duration, calls: CallTotals, footer: Footer) {
        self.now = Some((elapsed, calls));
        if self.is_dashboard() {
            self.redraw(footer);
        }
    }

    /// Period at which progress is shown, if it is: on a terminal without pages, or in requested
    /// lines.
    pub(super) fn progress_ns(&self) -> Option<u64> {
        let on_terminal = (self.shown == Shown::Status).then_some(0);
        self.progress_ns.or(on_terminal)
    }

    /// Shows the event that a run without new calls waits for.
    pub(super) fn show_waiting(&mut self, waiting: String) {
        if self.progress_ns.is_some() {
            return self.say(&waiting);
        }
        self.status.wait_for(Some(waiting));
        if let (Shown::Status, Some(latest), None) = (self.shown, &self.latest, &self.command) {
            let _ = self.status.update(latest);
        }
    }

    /// Drops the earlier figures, because the statistics were reset.
    pub(super) fn forget(&mut self) {
        self.before = None;
        self.dashboard.clear();
        self.latest = None;
        self.now = None;
        self.peak = (0, Duration::ZERO);
    }

    fn redraw(&mut self, footer: Footer) {
        let Some(latest) = &self.latest else { return };
        match (self.shown, &mut self.page) {
            (Shown::Status, _) => match &self.command {
                Some(_) => _ = self.status.clear(),
                None => _ = self.status.update(latest),
            },
            (Shown::Screen(screen), Some(page)) => {
                let frame = Frame {
                    facts: &self.facts,
                    now: latest,
                    before: self.before.as_ref(),
                    program: self.program,
                    shows_hidden: self.shows_hidden,
                    peak_at: self.peak.1,
                    last_error: self.message.as_deref(),
                    footer,
                };
                let mut lines = frame.lines(screen);
                if let (Some(command), Some(last)) = (&self.command, lines.last_mut()) {
                    *last = format!("Command: {command}_");
                }
                let _ = page.show(&lines);
            }
            (Shown::Dashboard, Some(page)) => {
                let (columns, rows) = page.measure();
                let caption = Caption {
                    title: &self.title,
                    state: match footer {
                        Footer::Paused => "paused",
                        Footer::Quitting => "ending",
                        _ => "",
                    },
                    message: self.message.as_deref(),
                    now: self.now,
                };
                let cells = self.dashboard.draw(latest, &caption, Rect::new(0, 0, columns, rows));
                let _ = page.put(to_ansi(&cells));
            }
            (Shown::Screen(_) | Shown::Dashboard | Shown::Nothing, _) => {}
        }
        if let (Shown::Status, Some(command)) = (self.shown, &self.command) {
            let mut out = status_output(self.flavor);
            let _ = write!(out, "\r\x1b[KCommand: {command}");
            let _ = out.flush();
        }
    }

    /// All pages as text.
    pub(super) fn pages(&self, snapshot: &Snapshot, footer: Footer) -> String {
        self.frame(snapshot, footer).all()
    }

    /// The pages that SIPp prints at the end.
    pub(super) fn last_pages(&self, snapshot: &Snapshot) -> String {
        let frame = self.frame(snapshot, Footer::Over);
        let screens = [Screen::Scenario, Screen::Statistics];
        screens.map(|screen| crate::output::screen::join(&frame.lines(screen))).concat()
    }

    fn frame<'a>(&'a self, snapshot: &'a Snapshot, footer: Footer) -> Frame<'a> {
        Frame {
            facts: &self.facts,
            now: snapshot,
            before: self.before.as_ref(),
            program: self.program,
            shows_hidden: self.shows_hidden,
            peak_at: self.peak.1,
            last_error: None,
            footer,
        }
    }

    /// Clears the status line, so that other text can be printed.
    pub(super) fn clear(&mut self) {
        let _ = self.status.clear();
    }

    /// Restores the terminal.
    pub(super) fn close(&mut self) {
        self.clear();
        self.page = None;
        self.keyboard = None;
    }
}

/// The output of the status line: stdout in SIPp; ours leaves that to results.
fn status_output(flavor: Flavor) -> Box<dyn Write> {
    match flavor {
        Flavor::Sipp => Box::new(io::stdout()),
        Flavor::Gossipper => Box::new(BufWriter::new(io::stderr())),
    }
}

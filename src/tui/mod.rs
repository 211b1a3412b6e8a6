//! `gossipper tui`: a form for the settings of a run, and the run under its dashboard.
//!
//! `form` knows the fields and the effect of keys on them; this file knows the terminal. The run
//! goes on in this process, so that a password of the form appears in no list of processes.

mod form;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::{SigId, flag, low_level};

use crate::config::RunConfig;
use crate::server;
use crate::terminal::{self, Keyboard, Page};

pub use form::{Form, Step};

/// Exit code if there is no terminal for the form.
const EXIT_NO_TERMINAL: u8 = 1;
/// Longest wait for a key before the page is drawn anew: its size may have changed.
const WAIT: Duration = Duration::from_millis(250);

/// Shows the form until a run is started or the user leaves. Returns the exit code: that of the
/// run, 0 without a run.
pub fn run() -> u8 {
    match ask(&mut Form::default()) {
        Some(Some(config)) => server::run_at_terminal(&config).code(),
        Some(None) => 0,
        None => {
            let _ = writeln!(
                io::stderr(),
                "error: `gossipper tui` needs a terminal on stdin and stdout\n  hint: \
                 `gossipper shell` reads lines from anywhere, `gossipper -h` lists the options"
            );
            EXIT_NO_TERMINAL
        }
    }
}

/// Shows the form and returns the run that the user wants, `Some(None)` for none; `None` without a
/// terminal. The terminal's settings are restored before this returns.
fn ask(form: &mut Form) -> Option<Option<Box<RunConfig>>> {
    if !terminal::can_draw() {
        return None;
    }
    let signals = Signals::catch();
    let mut keyboard = Keyboard::open()?;
    let mut page = Page::open()?;
    let mut keys = Vec::new();
    while keyboard.is_open() && !signals.end.load(Ordering::Relaxed) {
        let (columns, rows) = page.measure();
        if page.put(form.draw(columns, rows)).is_err() {
            return None;
        }
        keyboard.read(WAIT, &mut keys);
        for key in keys.drain(..) {
            match form.press(key) {
                Step::Stay => {}
                Step::Leave => return Some(None),
                Step::Start(config) => return Some(Some(config)),
            }
        }
    }
    Some(None)
}

/// Signals that end the form: they would otherwise end the process with the terminal in the form's
/// state.
struct Signals {
    end: Arc<AtomicBool>,
    caught: Vec<SigId>,
}

impl Signals {
    fn catch() -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let ends = [SIGINT, SIGTERM, SIGHUP, SIGQUIT].map(|signal| (signal, Arc::clone(&end)));
        // Stopping the form would leave its screen behind.
        let ignored = [(SIGTSTP, Arc::default())];
        let register = |(signal, flag)| flag::register(signal, flag).ok();
        let caught = ends.into_iter().chain(ignored).filter_map(register).collect();
        Self { end, caught }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for signal in self.caught.drain(..) {
            low_level::unregister(signal);
        }
        // The handlers stay, without an action. A run installs its own before all else.
    }
}

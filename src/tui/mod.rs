//! `gossipper tui`: a form in which a run is put together, and the run under its dashboard.
//!
//! [`form`] knows the fields and what keys do to them; here are the terminal and the process. As in
//! the shell, a run is a process of its own, with the options that a command line would have.

mod form;

use std::io::{self, Write};
use std::time::Duration;

use crate::shell;
use crate::terminal::{self, Keyboard, Page};

pub use form::{Form, Step};

/// Exit code where there is no terminal to show the form on.
const EXIT_NO_TERMINAL: u8 = 1;
/// How long to wait for a key before the page is drawn anew: its size may have changed.
const WAIT: Duration = Duration::from_millis(250);

/// Shows the form until a run is started or the user leaves. Returns the exit code: that of the run,
/// 0 without one.
pub fn run() -> u8 {
    let mut form = Form::default();
    match ask(&mut form) {
        Some(Some(options)) => shell::start(&options),
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

/// The options of the run that the user wants, `Some(None)` for none; `None` without a terminal. The
/// terminal is given back before this returns.
fn ask(form: &mut Form) -> Option<Option<Vec<String>>> {
    if !terminal::can_draw() {
        return None;
    }
    let mut keyboard = Keyboard::open()?;
    let mut page = Page::open()?;
    let mut keys = Vec::new();
    loop {
        let (columns, rows) = page.measure();
        if page.put(form.draw(columns, rows)).is_err() {
            return None;
        }
        keyboard.read(WAIT, &mut keys);
        for key in keys.drain(..) {
            match form.press(key) {
                Step::Stay => {}
                Step::Leave => return Some(None),
                Step::Start(options) => return Some(Some(options)),
            }
        }
    }
}

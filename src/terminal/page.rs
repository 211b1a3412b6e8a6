//! The terminal: its presence, its keys and its size, and the restoring of its settings.
//!
//! Input is switched to single keys without echo; Ctrl-C and Ctrl-Z keep their meaning as signals.
//! The terminal's settings are put back at every end of the program that it can notice: a return, a
//! panic on any thread, a signal but for SIGKILL, a stop by Ctrl-Z. This module knows neither the
//! content of pages nor the meaning of keys.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};

use super::keys::{Decoder, Key};

/// Switches back to the usual screen, with the cursor and its colours.
const LEAVE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";
/// Switches to a screen of our own, without the cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";

/// The changes that have to be undone.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// Settings of the keyboard before we changed them.
    pub(super) input: Option<Termios>,
    /// The screen is ours.
    pub(super) screen: bool,
}

/// The changes of this process, in one place as there is one terminal: the panic hook has to reach
/// it.
pub(super) static CHANGED: Mutex<Changed> = Mutex::new(Changed { input: None, screen: false });

/// Puts the terminal back as it was. May be called at any time, from any thread, more than once.
pub fn restore() {
    let changed = std::mem::take(&mut *CHANGED.lock().unwrap_or_else(PoisonError::into_inner));
    if changed.screen {
        // If stdout is gone, there is no screen to restore.
        let _ = io::stdout().write_all(LEAVE.as_bytes());
        let _ = io::stdout().flush();
    }
    if let Some(settings) = changed.input {
        let _ = rustix::termios::tcsetattr(io::stdin(), OptionalActions::Now, &settings);
    }
}

/// Makes a panic give the terminal back before its message is printed.
pub(super) fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            before(panic);
        }));
    });
}

/// Tells whether pages can be drawn on stdout: it must be a terminal that can move its cursor.
pub fn can_draw() -> bool {
    let term = std::env::var_os("TERM").unwrap_or_default();
    let is_plain = term.is_empty() || term == "dumb" || term == "unknown";
    io::stdout().is_terminal() && !is_plain && is_in_foreground()
}

/// Tells whether we may read and set the terminal: a background job that tries is stopped.
pub(super) fn is_in_foreground() -> bool {
    let own = rustix::process::getpgrp();
    [rustix::termios::tcgetpgrp(io::stdin()), rustix::termios::tcgetpgrp(io::stdout())]
        .into_iter()
        .flatten()
        .all(|foreground| foreground == own)
}

/// Columns and rows of the terminal on stdout.
pub fn size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(io::stdout())
        .or_else(|_| rustix::termios::tcgetwinsize(io::stderr()))
        .ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// Single keys from stdin. Dropping it puts the settings back.
#[derive(Debug)]
pub struct Keyboard {
    decoder: Decoder,
    is_open: bool,
}

impl Keyboard {
    /// Takes the keyboard, if there is one and we may.
    pub fn open() -> Option<Self> {
        if !io::stdin().is_terminal() || !is_in_foreground() {
            return None;
        }
        let before = rustix::termios::tcgetattr(io::stdin()).ok()?;
        let mut settings = before.clone();
        settings.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN);
        settings.special_codes[SpecialCodeIndex::VMIN] = 1;
        settings.special_codes[SpecialCodeIndex::VTIME] = 0;
        rustix::termios::tcsetattr(io::stdin(), OptionalActions::Now, &settings).ok()?;
        CHANGED.lock().unwrap_or_else(PoisonError::into_inner).input.get_or_insert(before);
        restore_on_panic();
        Some(Self { decoder: Decoder::default(), is_open: true })
    }

    /// Tells whether the terminal is still there.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Waits up to `wait` for a key, then takes all that were pressed.
    pub fn read(&mut self, wait: Duration, keys: &mut Vec<Key>) {
        if !self.is_open || !is_in_foreground() {
            return;
        }
        let stdin = io::stdin();
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        let timeout = Timespec::try_from(wait).ok();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(1..) => {}
            // An escape without further bytes was the key of that name.
            Ok(0) => return self.decoder.flush(keys),
            // A signal interrupted the wait: the caller handles those.
            Err(_) => return,
        }
        let mut bytes = [0; 256];
        match rustix::io::read(&stdin, &mut bytes) {
            // The terminal is gone.
            Ok(0) => self.is_open = false,
            Ok(len) => self.decoder.push(&bytes[..len], keys),
            Err(error) => self.is_open = error == rustix::io::Errno::INTR,
        }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        let before = CHANGED.lock().unwrap_or_else(PoisonError::into_inner).input.take();
        if let Some(settings) = before {
            let _ = rustix::termios::tcsetattr(io::stdin(), OptionalActions::Now, &settings);
        }
    }
}

/// A screen of our own on stdout. Dropping it shows the earlier screen again.
#[derive(Debug)]
pub struct Page {
    shown: Vec<String>,
    size: Option<(u16, u16)>,
}

impl Page {
    /// Takes the screen, if pages can be drawn on it.
    pub fn open() -> Option<Self> {
        if !can_draw() {
            return None;
        }
        restore_on_panic();
        CHANGED.lock().unwrap_or_else(PoisonError::into_inner).screen = true;
        io::stdout().write_all(ENTER.as_bytes()).ok()?;
        io::stdout().flush().ok()?;
        Some(Self { shown: Vec::new(), size: None })
    }

    /// Shows `lines`. Lines that do not fit are cut off, except for the last line, which stays in
    /// sight.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn show(&mut self, lines: &[String]) -> io::Result<()> {
        let (columns, rows) = self.measure();
        self.put(fit(lines, columns.into(), rows.into()))
    }

    /// Columns and rows to draw in.
    pub fn measure(&mut self) -> (u16, u16) {
        let size = size();
        if size != self.size {
            self.size = size;
            self.shown.clear();
        }
        size.unwrap_or((80, 24))
    }

    /// Shows rows that fit already and may have colours.
    ///
    /// # Errors
    /// The terminal cannot be written to.
    pub fn put(&mut self, fitted: Vec<String>) -> io::Result<()> {
        let text = difference(&self.shown, &fitted);
        self.shown = fitted;
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let was_ours =
            std::mem::take(&mut CHANGED.lock().unwrap_or_else(PoisonError::into_inner).screen);
        if was_ours {
            let _ = io::stdout().write_all(LEAVE.as_bytes());
            let _ = io::stdout().flush();
        }
    }
}

/// The lines cut to fit: tabs become spaces, and no line is longer than the terminal is wide.
fn fit(lines: &[String], columns: usize, rows: usize) -> Vec<String> {
    let fit_line = |line: &String| -> String {
        let spread = line.replace('\t', "   ");
        spread.chars().filter(|c| !c.is_control()).take(columns).collect()
    };
    let mut fitted: Vec<String> = lines.iter().map(fit_line).collect();
    if fitted.len() > rows && rows > 0 {
        let last = fitted.pop();
        fitted.truncate(rows - 1);
        fitted.extend(last);
    }
    fitted
}

/// The text that turns a screen showing `old` into one showing `new`.
fn difference(old: &[String], new: &[String]) -> String {
    let mut text = String::new();
    // Rows are erased first: below the last row there is none, and the terminal would erase that
    // one.
    if old.is_empty() {
        text.push_str("\x1b[H\x1b[J");
    }
    for (row, line) in new.iter().enumerate() {
        if old.get(row) != Some(line) {
            // The line is erased first: after the last column the cursor would still stand on it.
            text.push_str(&format!("\x1b[{};1H\x1b[K{line}", row + 1));
        }
    }
    if new.len() < old.len() {
        text.push_str(&format!("\x1b[{};1H\x1b[J", new.len() + 1));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn only_what_changed_is_drawn() {
        let (old, new) = (lines("a\nb\nc"), lines("a\nx"));
        assert_eq!(difference(&old, &new), "\x1b[2;1H\x1b[Kx\x1b[3;1H\x1b[J");
        // Nothing is erased below the last row, which a terminal of two rows has.
        assert_eq!(difference(&[], &new), "\x1b[H\x1b[J\x1b[1;1H\x1b[Ka\x1b[2;1H\x1b[Kx");
        assert_eq!(difference(&new, &new), "");
    }

    #[test]
    fn a_page_is_cut_to_the_terminal_but_keeps_its_last_line() {
        let fitted = fit(&lines("one\ttwo\nsecond\nthird\nlast \x1b[31mline"), 8, 3);
        assert_eq!(fitted, ["one   tw", "second", "last [31"]);
    }
}

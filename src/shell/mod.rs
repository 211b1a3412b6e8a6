//! `gossipper shell`: reads lines that build up a run, and carries it out.
//!
//! `session` understands the lines and knows neither a terminal nor a process. `terminal` edits
//! lines, completes names and keeps a history. This file puts the two together. A run is a process
//! of its own, with the options that `show` prints, so that they also work in a script.

mod session;
mod terminal;

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Write};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::SIGINT;
use signal_hook::flag;

pub use session::{Answer, Session};

/// Exit code of a script whose line could not be carried out.
const EXIT_BAD_LINE: u8 = 1;
/// Exit code if a signal ended a run or it could not be started.
const EXIT_NO_RUN: u8 = 255;

/// Reads lines from the terminal, or from stdin if that is none, until the end. Returns the exit
/// code: that of the last run, or 1 if a line of a script could not be carried out.
pub fn run() -> u8 {
    // Ctrl-C is for the run in progress; between runs the line editor reads it as a key.
    let _ = flag::register(SIGINT, Arc::new(AtomicBool::new(false)));
    match io::stdin().is_terminal() {
        true => terminal::converse(),
        false => read_script(&mut io::stdin().lock()),
    }
}

/// Carries out the lines of `input`; the first that cannot be carried out ends it.
fn read_script(input: &mut impl BufRead) -> u8 {
    let mut session = Session::default();
    let mut code = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        match input.read_until(b'\n', &mut line) {
            Ok(0) => return code,
            Ok(_) => {}
            Err(error) => {
                complain(&format!("cannot read: {error}"));
                return EXIT_BAD_LINE;
            }
        }
        match session.line(&String::from_utf8_lossy(&line)) {
            Answer::Text(text) => say(&text),
            Answer::Refused(text) => {
                complain(&text);
                return EXIT_BAD_LINE;
            }
            Answer::Run(options) => code = start(&options),
            Answer::Quit => return code,
        }
    }
}

/// Runs the program with `options` and waits for its end.
fn start(options: &[String]) -> u8 {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => {
            complain(&format!("cannot find the program: {error}"));
            return EXIT_NO_RUN;
        }
    };
    let status = Command::new(program).args(options.iter().map(OsString::from)).status();
    match status {
        Ok(status) => {
            let code =
                status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(EXIT_NO_RUN);
            say(&format!("exit code {code}\n"));
            code
        }
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            EXIT_NO_RUN
        }
    }
}

fn say(text: &str) {
    // If stdout is gone, the text has no reader.
    let _ = io::stdout().write_all(text.as_bytes());
    let _ = io::stdout().flush();
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "error: {}", text.trim_end());
}

#[cfg(test)]
mod tests;

//! `gossipper doctor` and `gossipper tune`: a check of whether this host is ready for a load, and
//! the settings that make it so.
//!
//! `read` collects `Facts` and is the only part that looks at the system; `checks` judges them for
//! a load; `report` puts that into words. `tune` changes kernel settings, only when asked, and
//! keeps a record that takes them back. This module knows nothing of runs in progress or of the
//! network.

mod busy;
mod checks;
mod facts;
mod read;
mod report;
mod tune;

use std::env;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::Path;

pub use checks::{Finding, Level, Load, evaluate, worst};
pub use facts::{BusyCpu, BusyCpus, BusyProgram, Facts, Interface, Limit, UdpCounters, Uring};
pub use report::SCHEMA;
pub use tune::{SETTINGS, Task, TuneError};

use crate::output::has_color;
use tune::Host;

/// Exit code if a check failed, or if a change could not be made.
const EXIT_FAILED: u8 = 1;

/// The task of `gossipper doctor`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Examination {
    /// The planned load.
    pub load: Load,
    /// True for JSON instead of text.
    pub json: bool,
}

/// Examines this host and prints the findings. Returns the exit code: 1 if a check failed.
pub fn examine(examination: Examination) -> u8 {
    let Examination { load, json } = examination;
    let facts = read::read();
    let findings = evaluate(&facts, load);
    let text = if json {
        report::json(&facts, load, &findings)
    } else {
        let is_terminal = io::stdout().is_terminal();
        let (no_color, term) = (env::var_os("NO_COLOR"), env::var_os("TERM"));
        let color = has_color(is_terminal, no_color.as_deref(), term.as_deref());
        report::text(load, &findings, color)
    };
    let code = if worst(&findings) == Level::Fail { EXIT_FAILED } else { 0 };
    match io::stdout().write_all(text.as_bytes()) {
        // `gossipper doctor | head` is no error.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => EXIT_FAILED,
        _ => code,
    }
}

/// Prints, applies or takes back kernel settings. Returns the exit code: 1 if that failed.
pub fn tune(task: Task) -> u8 {
    match Host::new(Path::new("/"), &mut io::stdout().lock()).carry_out(task) {
        Ok(()) => 0,
        Err(TuneError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => 0,
        Err(error) => {
            // If stderr is gone, the error cannot be reported.
            let _ = writeln!(io::stderr(), "error: {error}");
            EXIT_FAILED
        }
    }
}

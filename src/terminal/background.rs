//! `-bg`: starts the run again as a process of its own without a terminal. Its results are in the
//! files that it writes; only errors of its start are still printed.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{self, Command, Stdio};

use crate::run::RunError;
use crate::stats::ExitCode;

/// The variable that marks the second process: it holds the process id of the first. Programs that
/// a run starts inherit it too, but have another parent.
const MARK: &str = "GOSSIPPER_BACKGROUND_OF";

/// The text that the second process writes once its start has succeeded.
const READY: &[u8] = b"ready\n";

/// The role of this process.
pub(super) enum Background {
    /// This process is the one in the background: it executes the run, and reports its start with
    /// [`settle`].
    Here,
    /// The run is in another process now, or could not be started; this process ends with the exit
    /// code.
    Elsewhere(ExitCode),
}

/// Starts the run in the background, waits until it has started and prints its process id. In the
/// background process itself, this only leaves the terminal.
///
/// A process cannot detach by itself once it may have threads; so the program is started again with
/// the same arguments.
pub(super) fn detach() -> Result<Background, RunError> {
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if std::env::var(MARK).ok().is_some_and(|mark| Some(mark) == parent) {
        // This fails only for the leader of a group, which our child process is not.
        let _ = rustix::process::setsid();
        return Ok(Background::Here);
    }
    let failed = |source| RunError::Background { source };
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    let mut child = Command::new(std::env::current_exe().map_err(failed)?)
        .arg0(program)
        .args(words)
        .env(MARK, process::id().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut word = [0; READY.len()];
    let pipe = child.stdout.as_mut();
    let started = pipe.is_some_and(|pipe| pipe.read_exact(&mut word).is_ok() && word == *READY);
    if started {
        // Scripts written for SIPp look for this line.
        let _ = writeln!(io::stdout(), "Background mode - PID=[{}]", child.id());
        return Ok(Background::Elsewhere(ExitCode::NothingRun));
    }
    // The process has printed the reason on stderr.
    let code = child.wait().map_err(failed)?.code();
    Ok(Background::Elsewhere(match code {
        Some(code) if code == i32::from(ExitCode::BindFailed.code()) => ExitCode::BindFailed,
        _ => ExitCode::Fatal,
    }))
}

/// Tells the first process that the run has started, and closes stdout and stderr, so that readers
/// of those need not wait for the end of the run.
pub(super) fn settle() -> Result<(), RunError> {
    let failed = |source| RunError::Background { source };
    let nowhere = OpenOptions::new().write(true).open("/dev/null").map_err(failed)?;
    // The first process may have been killed; the run goes on.
    let _ = io::stdout().write_all(READY).and_then(|()| io::stdout().flush());
    rustix::stdio::dup2_stdout(&nowhere).map_err(|error| failed(error.into()))?;
    rustix::stdio::dup2_stderr(&nowhere).map_err(|error| failed(error.into()))
}

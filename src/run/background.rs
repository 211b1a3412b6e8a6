//! `-bg`: the same run once more, as a process of its own without a terminal. What it has to say
//! stands in the files that it writes.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::RunError;

/// Tells the second process that it is one. Its value has no meaning.
const MARK: &str = "GOSSIPPER_IN_BACKGROUND";

/// What becomes of this process.
pub(super) enum Background {
    /// It is the one in the background: it runs.
    Here,
    /// The run is another process now.
    Elsewhere,
}

/// Starts the run in the background and prints its process id, or, in that process, leaves the
/// terminal.
///
/// A process cannot detach by itself once it may have threads; so the program is started again with
/// the same arguments.
pub(super) fn detach() -> Result<Background, RunError> {
    if std::env::var_os(MARK).is_some() {
        // Fails only for the leader of a group, which a child of ours is not.
        let _ = rustix::process::setsid();
        return Ok(Background::Here);
    }
    let failed = |source| RunError::Background { source };
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    // Nor does it hold a pipe open: whoever reads our output is not to wait for the run.
    command.arg0(program).args(words).env(MARK, "1");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().map_err(failed)?;
    // The line that scripts written for SIPp look for.
    let _ = writeln!(io::stdout(), "Background mode - PID=[{}]", child.id());
    Ok(Background::Elsewhere)
}

//! The files that report a run at its end: the summary for programs, and the page for people.

use std::path::Path;

use super::RunError;
use crate::config::RunConfig;
use crate::engine::Programs;
use crate::output::summary::About;
use crate::output::{Summary, WriteFileError, WriteStep, try_file, write_page};
use crate::stats::ExitCode;

/// Checks that the reports can be written, as far as that is known before the run.
///
/// # Errors
/// A file that cannot be made.
pub(super) fn check(config: &RunConfig) -> Result<(), RunError> {
    for path in [&config.summary_json, &config.summary_html].into_iter().flatten() {
        let checked = config.access.check_replaceable(path).and_then(|()| try_file(path));
        checked.map_err(|source| RunError::TraceFile { path: path.clone(), source })?;
    }
    Ok(())
}

/// Writes the reports that are asked for. One that cannot be written does not prevent the other.
///
/// # Errors
/// The first file that could not be written.
pub(super) fn write(config: &RunConfig, summary: &Summary) -> Result<(), WriteFileError> {
    let check = |path: &Path| {
        // A link may have been put there meanwhile.
        config.access.check_replaceable(path).map_err(|source| WriteFileError {
            path: path.to_owned(),
            step: WriteStep::Create,
            source,
        })
    };
    let json = config.summary_json.as_deref();
    let json = json.map_or(Ok(()), |path| check(path).and_then(|()| summary.write(path)));
    let page = config.summary_html.as_deref();
    let page = page.map_or(Ok(()), |path| check(path).and_then(|()| write_page(path, summary)));
    json.and(page)
}

/// The circumstances of a run that ended with `code`, or with an error.
pub(super) fn about(
    config: &RunConfig,
    programs: &Programs,
    code: ExitCode,
    error: Option<&RunError>,
) -> About {
    let system = rustix::system::uname();
    let told = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let names = [system.sysname(), system.release(), system.machine()];
    let mut scenarios: Vec<String> = Vec::new();
    for program in programs.all() {
        if !scenarios.contains(&program.name) {
            scenarios.push(program.name.clone());
        }
    }
    About {
        // The command line ends with the same number for every error.
        exit_code: error.map_or(code, |_| ExitCode::Fatal).code(),
        error: error.map(ToString::to_string),
        command: config.command.clone(),
        scenarios,
        host: told(system.nodename()),
        system: names.map(told).join(" "),
        cpus: std::thread::available_parallelism().map_or(0, |cpus| cpus.get() as u64),
    }
}

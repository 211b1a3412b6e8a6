//! One run from a resolved configuration to an exit code: load, plan, launch, watch, report.
//!
//! All of it happens on the control side; workers are reached through their queues only.

pub mod action;
mod addresses;

mod background;
mod check;
mod companion;
mod control;
mod cpus;
mod data;
mod error;
mod exchange;
mod exports;
mod facts;
mod kept;
mod memory;
mod plan;
mod planned;
mod pool;
mod questions;
mod scenario;
mod shell;
mod signals;
mod socket;
mod sources;
mod supervisor;
mod targets;
mod third_party;
mod tls;
mod traces;
mod view;
mod watchdog;

/// The parts that the server needs to run engines, and to control a terminal run beside the user.
pub(crate) mod supervised {
    pub(crate) use super::companion::Companion;
    pub(crate) use super::exchange::{Compiler, Replacement};
    pub(crate) use super::planned::{ListenAt, Planned, Steered};
    pub(crate) use super::pool::{BESIDE_PART, Terms};
    pub(crate) use super::scenario::Text;
    pub(crate) use super::supervisor::{Finished, Supervisor};
}

pub use check::{Inspection, inspect};
pub use error::RunError;
pub(crate) use pool::pool_bytes;
pub use scenario::load as load_scenario;
pub(crate) use targets::calls_per_second;
pub use third_party::ThirdPartyConfigError;

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use companion::Companion;
use gossipper_uring::sys;
use planned::Planned;

use crate::config::targets::TargetList;
use crate::config::{ColorChoice, ControlPort, RunConfig};
use crate::engine::Programs;
use crate::output::Palette;
use crate::stats::{ExitCode, Outcome, RunEnd, exit_code};

/// Runs a scenario and returns the process's exit code. Results and errors are printed. A second
/// controller, if there is one, steers the run beside the user at the terminal.
pub(crate) fn run<'c>(config: &'c RunConfig, companion: Option<&'c mut dyn Companion>) -> ExitCode {
    let palette = palette(config, io::stderr().is_terminal());
    match try_run(config, companion) {
        Ok(code) => code,
        Err(error) => {
            let bad = palette.bad;
            // If stderr is closed, the error cannot be reported.
            let _ = writeln!(io::stderr(), "{bad}error:{bad:#} {error}");
            let end = match error {
                error if error.is_bind() => RunEnd::BindFailed,
                _ => RunEnd::Fatal,
            };
            exit_code(&Outcome::new(end))
        }
    }
}

fn try_run<'c>(
    config: &'c RunConfig,
    mut companion: Option<&'c mut dyn Companion>,
) -> Result<ExitCode, RunError> {
    if config.background
        && let background::Background::Elsewhere(code) = background::detach()?
    {
        return Ok(code);
    }
    // Signals are installed first: one that comes while the run is being prepared must not kill it
    // half-way.
    let signals = signals::Signals::install()?;
    if let Some(companion) = &mut companion {
        companion.prepare()?;
    }
    let mut planned = Planned::new(Arc::new(config.clone()))?;
    if let Some(companion) = &mut companion {
        companion.plan(&mut planned);
    }
    for warning in planned.warnings() {
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
    for notice in planned.notices() {
        let _ = writeln!(io::stderr(), "note: {notice}");
    }
    if config.start_delay_ms > 0 {
        if config.background {
            background::settle()?;
        }
        signals.sleep(Duration::from_millis(config.start_delay_ms));
        if signals.ask_to_end() {
            planned.make_no_call();
        }
    }
    let ready = planned.open(None)?;
    let socket = control_socket(config)?;
    let mut supervisor = ready.launch()?;
    let place = match &mut companion {
        Some(companion) => Some(companion.begin(&supervisor)?),
        None => None,
    };
    if config.background && config.start_delay_ms == 0 {
        background::settle()?;
    }
    let shell = supervisor.take_shell();
    let control = control::Control::new(config, supervisor, signals, socket, companion);
    let outcome = control.watch(place.as_deref());
    let dropped = shell.map_or(0, shell::Shell::finish);
    if dropped > 0 {
        let text = "note: commands of exec command= that were not run";
        let _ = writeln!(io::stderr(), "{text}: {dropped}");
    }
    outcome
}

/// Loads all scenarios and data files of a run, as its start does, and does nothing else.
///
/// # Errors
/// The error of one of them.
pub fn load_programs(config: &RunConfig) -> Result<Programs, RunError> {
    let tables = data::Tables::load(config)?;
    // No call is made, so a configuration without a permission passes too.
    Ok(scenario::load_all(config, &tables, None, true)?.programs)
}

/// A sentence for each forbidden action, by this list of targets, of scenarios that clients of the
/// API wrote into files of a run. Names in them are not looked up.
pub(crate) fn kept_remarks(
    config: &RunConfig,
    programs: &Programs,
    targets: &TargetList,
    may_command: bool,
) -> Vec<String> {
    let rules = kept::SentRules { is_main_given: false, may_command };
    let now = sys::realtime_now_ns();
    rules.remarks(config, programs, &[], |to| targets.judge(to, false, now).err())
}

/// Opens the control socket. Without an explicit port, a failure does not prevent the run.
fn control_socket(config: &RunConfig) -> Result<Option<socket::ControlSocket>, RunError> {
    match socket::ControlSocket::open(&config.control_socket) {
        Err(error) if matches!(config.control_socket.port, ControlPort::From(_)) => {
            let _ = writeln!(io::stderr(), "note: {error}");
            Ok(None)
        }
        opened => opened,
    }
}

/// The palette for a stream, according to `-color` and the environment.
fn palette(config: &RunConfig, is_terminal: bool) -> Palette {
    match config.color {
        ColorChoice::Always => Palette::colored(),
        ColorChoice::Never => Palette::plain(),
        ColorChoice::Auto => Palette::choose(
            is_terminal,
            std::env::var_os("NO_COLOR").as_deref(),
            std::env::var_os("TERM").as_deref(),
        ),
    }
}

//! One run from a resolved configuration to an exit code: load, plan, launch, watch, report.
//!
//! Everything here happens on the control side; workers are reached through their queues only.

pub mod action;

mod background;
mod control;
mod data;
mod error;
mod exports;
mod face;
mod facts;
mod plan;
mod scenario;
mod shell;
mod signals;
mod socket;
mod sources;
mod tls;
mod traces;
mod twin;
mod watchdog;

pub use error::RunError;
pub use scenario::load as load_scenario;
pub use twin::TwinConfigError;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::config::{ColorChoice, ControlPort, RunConfig};
use crate::dataplane::{self, LaunchError};
use crate::output::Palette;
use crate::stats::{ExitCode, Outcome, RunEnd, exit_code};

/// Runs a scenario and returns the process's exit code. Everything worth knowing is printed.
pub fn run(config: &RunConfig) -> ExitCode {
    let palette = palette(config, io::stderr().is_terminal());
    match try_run(config) {
        Ok(code) => code,
        Err(error) => {
            let bad = palette.bad;
            // Nobody is left to tell if stderr is gone.
            let _ = writeln!(io::stderr(), "{bad}error:{bad:#} {error}");
            let end = match error {
                RunError::Launch(LaunchError::Bind { .. }) => RunEnd::BindFailed,
                _ => RunEnd::Fatal,
            };
            exit_code(&Outcome::new(end))
        }
    }
}

fn try_run(config: &RunConfig) -> Result<ExitCode, RunError> {
    if config.background
        && let background::Background::Elsewhere(code) = background::detach()?
    {
        return Ok(code);
    }
    // Signals first: one that comes while the run is being prepared must not kill it half-way.
    let signals = signals::Signals::install()?;
    let tables = data::Tables::load(config)?;
    let programs = scenario::load_all(config, &tables)?;
    let mut plan = plan::plan(config, programs, &tables)?;
    for notice in config.notices.iter().chain(&plan.notices) {
        let _ = writeln!(io::stderr(), "note: {notice}");
    }
    if config.start_delay_ms > 0 {
        if config.background {
            background::settle()?;
        }
        signals.sleep(Duration::from_millis(config.start_delay_ms));
        if signals.ask_to_end() {
            // Every report is written, about a run without a call.
            plan.launch.engine.calls_total = Some(0);
        }
    }
    // Files before workers: one that cannot be opened ends the run before the first call.
    let traces = traces::Prepared::open(config, &plan)?;
    plan.launch.engine.trace = traces.kinds();
    plan.launch.record_bytes = traces.queue_bytes();
    let socket = control_socket(config)?;
    let mut running = dataplane::launch(&plan.launch)?;
    if config.background && config.start_delay_ms == 0 {
        background::settle()?;
    }
    let commands: Vec<_> =
        running.workers.iter_mut().filter_map(|worker| worker.shell.take()).collect();
    let shell = match commands.is_empty() {
        true => None,
        false => Some(shell::Shell::start(commands).map_err(RunError::Shell)?),
    };
    let outcome = control::Control::new(config, plan, running, signals, traces, socket)?.watch();
    if let Some(shell) = shell {
        shell.finish();
    }
    outcome
}

/// The control socket. One that was not asked for is no reason not to run.
fn control_socket(config: &RunConfig) -> Result<Option<socket::ControlSocket>, RunError> {
    match socket::ControlSocket::open(&config.control_socket) {
        Err(error) if matches!(config.control_socket.port, ControlPort::From(_)) => {
            let _ = writeln!(io::stderr(), "note: {error}");
            Ok(None)
        }
        opened => opened,
    }
}

/// The palette for a stream, as `-color` and the environment have it.
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

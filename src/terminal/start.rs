//! A run at a terminal from its configuration to an exit code.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use super::background::{self, Background};
use super::front::{Front, Over};
use super::signals::Signals;
use super::socket::ControlSocket;
use crate::config::{ColorChoice, ControlPort, ListenerSpec, RunConfig};
use crate::control::{ControlledRun, Handle, Policy, Published, Terms};
use crate::output::Palette;
use crate::run::RunError;
use crate::run::supervised::{Planned, Shell};
use crate::stats::{ExitCode, Outcome, RunEnd, exit_code};

/// The id of the run for an API beside it.
pub(crate) const ID: &str = "primary";

/// Runs a scenario and returns the process's exit code. All messages are printed.
pub(crate) fn run(config: &RunConfig) -> ExitCode {
    report(config, || {
        let terminal = match Terminal::open(config)? {
            Ok(terminal) => terminal,
            Err(code) => return Ok(code),
        };
        let planned = terminal.plan()?;
        let started = terminal.launch(planned, Policy::default())?;
        started.watch(None)?.finish()
    })
}

/// Does `work`, and prints its error.
pub(crate) fn report(
    config: &RunConfig,
    work: impl FnOnce() -> Result<ExitCode, RunError>,
) -> ExitCode {
    let palette = palette(config, io::stderr().is_terminal());
    match work() {
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

/// A process at its terminal, before it has a run.
pub(crate) struct Terminal<'c> {
    config: &'c RunConfig,
    signals: Signals,
}

impl<'c> Terminal<'c> {
    /// Goes into the background if that was requested, and handles signals from now on. A signal
    /// that comes while the run is prepared must not kill it half-way. Returns the exit code if the
    /// run is in another process now.
    ///
    /// # Errors
    /// The background process or the signal handlers could not be set up.
    pub(crate) fn open(config: &'c RunConfig) -> Result<Result<Self, ExitCode>, RunError> {
        if config.background
            && let Background::Elsewhere(code) = background::detach()?
        {
            return Ok(Err(code));
        }
        let signals = Signals::install()?;
        Ok(Ok(Self { config, signals }))
    }

    /// Plans the run.
    ///
    /// # Errors
    /// The mistake in the configuration or the scenario.
    pub(crate) fn plan(&self) -> Result<Planned, RunError> {
        Planned::new(Arc::new(self.config.clone()))
    }

    /// Prints the notices of the plan, waits for the start delay, and starts the workers.
    ///
    /// # Errors
    /// A part of the run that cannot be opened or started.
    pub(crate) fn launch(
        self,
        mut planned: Planned,
        policy: Policy,
    ) -> Result<Started<'c>, RunError> {
        let Self { config, signals } = self;
        for warning in planned.warnings() {
            let _ = writeln!(io::stderr(), "warning: {warning}");
        }
        for notice in planned.notices() {
            let _ = writeln!(io::stderr(), "note: {notice}");
        }
        let notices = planned.warnings().chain(planned.notices()).cloned().collect();
        let (handle, queue) = Handle::new(ID, policy, Published::starting(config));
        handle.adopt_this_thread();
        handle.adopt_compiler(planned.compiler());
        if config.start_delay_ms > 0 {
            if config.background {
                background::settle()?;
            }
            signals.sleep(Duration::from_millis(config.start_delay_ms));
            if signals.ask_to_end() {
                planned.make_no_call();
            }
        }
        let shared = Arc::clone(planned.config());
        let ready = planned.open(None)?;
        let socket = control_socket(config)?;
        let mut supervisor = ready.launch()?;
        let shell = supervisor.take_shell();
        let place = ListenerSpec {
            transport: config.transport,
            local_ip: config.local_ip,
            local_port: config.local_port,
        };
        let terms = Terms { places: vec![place], notices, hold: None, is_sent: false };
        let front = Front::new(config, &supervisor, signals, socket);
        let run = ControlledRun::new(&handle, queue, shared, terms, supervisor);
        Ok(Started { config, front, run, handle, shell })
    }
}

/// A run that has started.
pub(crate) struct Started<'c> {
    config: &'c RunConfig,
    front: Front<'c>,
    run: ControlledRun,
    handle: Handle,
    shell: Option<Shell>,
}

impl<'c> Started<'c> {
    /// The handle to the run, for its other users.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Watches the run until its workers have ended. `place` is a further place of control, such as
    /// the API.
    ///
    /// # Errors
    /// The background process could not be detached.
    pub(crate) fn watch(self, place: Option<&str>) -> Result<Over<'c>, RunError> {
        let Self { config, mut front, run, handle, shell } = self;
        if config.background && config.start_delay_ms == 0 {
            background::settle()?;
        }
        // Without an API no other handle is left, and no state is published.
        drop(handle);
        front.announce(run.run(), place);
        let ended = run.watch(&mut front);
        Ok(Over::new(front, ended, shell))
    }
}

/// Opens the control socket. Without an explicit port, a failure does not prevent the run.
fn control_socket(config: &RunConfig) -> Result<Option<ControlSocket>, RunError> {
    match ControlSocket::open(&config.control_socket) {
        Err(error) if matches!(config.control_socket.port, ControlPort::From(_)) => {
            let _ = writeln!(io::stderr(), "note: {error}");
            Ok(None)
        }
        opened => opened,
    }
}

/// The palette for a stream, according to `-color` and the environment.
pub(super) fn palette(config: &RunConfig, is_terminal: bool) -> Palette {
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

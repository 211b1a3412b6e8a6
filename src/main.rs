//! Process entry: argv in, exit code out.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use gossipper::cli::{self, Action, HostCheck, ScenarioCheck, Tuning};
use gossipper::server::auth;
use gossipper::server::config::commands::Profiled;
use gossipper::server::config::{self, commands};
use gossipper::{doctor, run, scenario, server, shell, tui};

fn main() -> ExitCode {
    let code = match cli::parse(std::env::args_os().collect()) {
        Action::Run(config) => server::run_at_terminal(&config).code(),
        Action::DumpScenario { name, exit_code } => dump(&name, exit_code),
        Action::CheckScenarios(check) => run::inspect(&inspection(check)),
        Action::Doctor(check) => doctor::examine(examination(check)),
        Action::Profile(line) => match commands::profile(&line) {
            Profiled::Run(config) => server::run_at_terminal(&config).code(),
            Profiled::Server(config) => server::run(*config, None),
            Profiled::Done(exit_code) => exit_code,
        },
        Action::Server(line) => match commands::server(&line) {
            Ok(config) => server::run(config, Some(&line)),
            Err(exit_code) => exit_code,
        },
        Action::CheckConfig(line) => commands::check(&line),
        Action::ConfigSchema => commands::print_schema(),
        Action::Shell => shell::run(),
        Action::Tui => tui::run(),
        Action::Auth(command) => auth::run(&command, config::user_database),
        Action::Tune(tuning) => doctor::tune(task(tuning)),
        Action::Print { text, exit_code } => match text.print() {
            Ok(()) => exit_code,
            Err(_) => cli::EXIT_FATAL,
        },
        Action::Fail { text, exit_code } => {
            // A closed stderr has no reader that could be told.
            let _ = text.print_to_stderr();
            exit_code
        }
    };
    ExitCode::from(code)
}

fn inspection(check: ScenarioCheck) -> run::Inspection {
    let ScenarioCheck { scenarios, config, json, strict } = check;
    run::Inspection { scenarios, config, json, strict }
}

fn examination(check: HostCheck) -> doctor::Examination {
    let HostCheck { rate, calls, json } = check;
    doctor::Examination { load: doctor::Load { rate, calls }, json }
}

fn task(tuning: Tuning) -> doctor::Task {
    match tuning {
        Tuning::Print => doctor::Task::Print,
        Tuning::Apply { io_uring } => doctor::Task::Apply { io_uring },
        Tuning::Revert => doctor::Task::Revert,
    }
}

/// `-sd`: the text of a built-in scenario.
fn dump(name: &str, exit_code: u8) -> u8 {
    use std::io::Write as _;
    match scenario::find_builtin(name) {
        Ok(builtin) => match std::io::stdout().write_all(builtin.text.as_bytes()) {
            Ok(()) => exit_code,
            // `-sd uac | head` is a clean exit.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => exit_code,
            Err(_) => cli::EXIT_FATAL,
        },
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            cli::EXIT_FATAL
        }
    }
}

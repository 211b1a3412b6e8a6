//! Process entry: argv in, exit code out.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use gossipper::cli::{self, Action};

fn main() -> ExitCode {
    match cli::parse(std::env::args_os().collect()) {
        Action::Print { text, exit_code } => match text.print() {
            Ok(()) => ExitCode::from(exit_code),
            Err(_) => ExitCode::from(cli::EXIT_FATAL),
        },
        Action::Fail { text, exit_code } => {
            // Nobody is left to tell if stderr is gone.
            let _ = text.print_to_stderr();
            ExitCode::from(exit_code)
        }
        Action::Run(_) | Action::DumpScenario { .. } => {
            eprintln!("error: this build has no engine yet");
            ExitCode::from(cli::EXIT_FATAL)
        }
    }
}

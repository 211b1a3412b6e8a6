//! Commands of the command line about configurations: check, dump, schema, run profiles.

use std::io::{self, ErrorKind, Write};

use tracing::Level;

use super::{AliasRun, Problems, aliases, effective, load, run_alias, schema};
use crate::cli::{CheckLine, EXIT_COMMAND_FAILED, EXIT_FATAL, ProfileLine, ServerLine};
use crate::config::RunConfig;
use crate::server::config::ServerConfig;
use crate::server::logging::say;
use crate::stats::ExitCode;

/// Carries out `gossipper config check`; returns the exit code, 0 or 1.
pub fn check(line: &CheckLine) -> u8 {
    let file = line.server.config.as_deref();
    let result = load(file, &line.server.options);
    let file = file.map(|file| file.display().to_string()).unwrap_or_default();
    let mut out = String::new();
    match (&result, line.json) {
        (Ok(config), true) => {
            let mut report = serde_json::json!({
                "file": file, "ok": true, "problems": [], "notices": config.notices,
            });
            if line.dump_effective {
                report["effective"] = effective(config);
            }
            out = format!("{report:#}\n");
        }
        (Err(problems), true) => {
            let report = serde_json::json!({
                "file": file, "ok": false, "problems": problems.to_json(), "notices": [],
            });
            out = format!("{report:#}\n");
        }
        (Ok(config), false) => {
            notices(config);
            match line.dump_effective {
                true => out = format!("{:#}\n", effective(config)),
                false => say(Level::INFO, &format!("{file}: no problem found\n")),
            }
        }
        (Err(problems), false) => report(problems),
    }
    if !print(&out) {
        return EXIT_FATAL;
    }
    match result {
        Ok(_) => 0,
        Err(_) => EXIT_COMMAND_FAILED,
    }
}

/// Carries out `gossipper config schema`; returns the exit code.
pub fn print_schema() -> u8 {
    match print(&format!("{:#}\n", schema())) {
        true => 0,
        false => EXIT_FATAL,
    }
}

/// The outcome of a command line with a run profile.
#[derive(Debug)]
pub enum Profiled {
    /// A run.
    Run(Box<RunConfig>),
    /// A server.
    Server(Box<ServerConfig>),
    /// Nothing more to do: everything was printed; the exit code.
    Done(u8),
}

/// Reads `gossipper -config FILE` with `-run-alias NAME` or `-list-aliases`.
pub fn profile(line: &ProfileLine) -> Profiled {
    if line.alias.is_none() {
        return Profiled::Done(match aliases(&line.config) {
            Ok(names)
                if print(&names.iter().map(|name| format!("{name}\n")).collect::<String>()) =>
            {
                0
            }
            Ok(_) => EXIT_FATAL,
            Err(problems) => {
                report(&problems);
                EXIT_FATAL
            }
        });
    }
    match run_alias(line) {
        Ok(AliasRun::Run(config)) => Profiled::Run(config),
        Ok(AliasRun::Server(config)) => {
            notices(&config);
            Profiled::Server(config)
        }
        Err(problems) => {
            report(&problems);
            Profiled::Done(EXIT_FATAL)
        }
    }
}

/// The configuration of `gossipper server`.
///
/// # Errors
/// The exit code, if the configuration cannot be used. The mistakes have been printed.
pub fn server(line: &ServerLine) -> Result<ServerConfig, u8> {
    match load(line.config.as_deref(), &line.options) {
        Ok(config) => {
            notices(&config);
            Ok(config)
        }
        Err(problems) => {
            report(&problems);
            Err(ExitCode::ConfigUnusable.code())
        }
    }
}

fn notices(config: &ServerConfig) {
    let file = config.file.as_ref().map(|file| format!("{}: ", file.display()));
    for notice in &config.notices {
        let text = format!("{}note: {notice}\n", file.as_deref().unwrap_or_default());
        say(Level::WARN, &text);
    }
}

fn report(problems: &Problems) {
    let count = problems.list.len();
    let plural = if count == 1 { "" } else { "s" };
    say(Level::ERROR, &format!("{problems}\n{count} problem{plural}\n"));
}

/// Prints to stdout; tells whether that worked. A reader that has gone away is no failure.
fn print(text: &str) -> bool {
    let mut stdout = io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => true,
        Err(error) => error.kind() == ErrorKind::BrokenPipe,
    }
}

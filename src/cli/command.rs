//! The definition of the command line as clap knows it, built from the flag table.
//!
//! It checks the line that `args.rs` has rewritten; man pages and completions are made from it too.
//! Values are not interpreted here; the table knows their meaning.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command, builder::ValueParser};

use super::{auth, host};
use crate::options::{GROUPS, Status, server_flags};

/// The id of the bare word.
pub(super) const REMOTE: &str = "remote";

/// A line about the program.
pub(super) const ABOUT: &str = "SIP load tester for Linux";

/// The whole program: `gossipper` with its commands.
pub fn root_command() -> Command {
    Command::new("gossipper")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .subcommand(run_command())
        .subcommand(host::CHECK.definition())
        .subcommand(host::DOCTOR.definition())
        .subcommand(host::TUNE.definition())
        .subcommand(host::generate_definition())
        .subcommand(auth::definition())
        .subcommand(
            Command::new("help")
                .about("Print help, also about a command")
                .arg(Arg::new("command").value_name("COMMAND")),
        )
        .subcommand(
            Command::new("shell")
                .visible_alias("cli")
                .about("Set up a run line by line, check it and run it"),
        )
        .subcommand(server_command("server", "Run engines as a service, controlled over HTTP"))
        .subcommand(
            Command::new("config")
                .about("Check the configuration of a service, or print its JSON Schema")
                .disable_help_flag(true)
                .subcommand(
                    server_command("check", "Check a configuration and report all mistakes")
                        .arg(
                            Arg::new("json")
                                .long("json")
                                .help("Report as JSON")
                                .action(ArgAction::SetTrue),
                        )
                        .arg(
                            Arg::new("dump-effective")
                                .long("dump-effective")
                                .help("Print the resulting configuration, secrets masked")
                                .action(ArgAction::SetTrue),
                        ),
                )
                .subcommand(
                    Command::new("schema").about("Print the JSON Schema of configurations"),
                ),
        )
        .subcommand(Command::new("tui").about("Fill in a form, then watch the run on a dashboard"))
        .subcommand(Command::new("version").about("Print the version"))
}

/// A command that takes a configuration file. It also takes the options of a run, which
/// `gossipper sipp -h` lists.
fn server_command(name: &'static str, about: &'static str) -> Command {
    let mut command =
        Command::new(name).about(about).disable_help_flag(true).disable_version_flag(true).arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .help("The configuration, as JSON")
                .value_parser(ValueParser::os_string()),
        );
    for flag in server_flags() {
        let arg = Arg::new(flag.name).long(flag.name).help(flag.help);
        command = command.arg(if flag.values.is_empty() {
            arg.action(ArgAction::SetTrue)
        } else {
            arg.value_name(flag.values.join(" ")).value_parser(ValueParser::os_string())
        });
    }
    command
}

/// The run form: `gossipper sipp`, and `gossipper` without a command.
pub fn run_command() -> Command {
    let mut command = Command::new("sipp")
        .about("Run a scenario, with the options of SIPp")
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true);
    for group in GROUPS {
        for flag in group.flags.iter().filter(|flag| flag.is_available()) {
            let target = flag.resolved();
            let mut arg = Arg::new(flag.name)
                .long(flag.name)
                .help(target.help)
                .help_heading(group.title)
                .hide(matches!(flag.status, Status::Alias(_)));
            arg = if target.values.is_empty() {
                arg.action(ArgAction::SetTrue)
            } else {
                // One value at a time, also for options that take two: `--key=NAME --key=TEXT`.
                arg.action(ArgAction::Append)
                    .value_name(target.values.join(" "))
                    .value_parser(ValueParser::os_string())
            };
            command = command.arg(arg);
        }
    }
    command.arg(
        Arg::new(REMOTE)
            .value_name("REMOTE_HOST[:PORT]")
            .help("Where the calls go; a server scenario needs none")
            .value_parser(clap::value_parser!(OsString)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        root_command().debug_assert();
    }
}

//! Scenarios that clients of the API wrote into files with which runs are started.
//!
//! Forbidden actions in them do not prevent a start, because a client could otherwise keep a whole
//! daemon from starting. They are refused when they happen, by the gates of addresses and of shell
//! commands. The user is warned beforehand.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::RunError;
use super::targets::SETDEST;
use crate::config::targets::Refusal;
use crate::config::{RunConfig, ScenarioSource};
use crate::engine::Programs;
use crate::scenario::Program;
use crate::sent_files::mark_name;

/// A notice that calls of such a scenario fail, with the reason.
pub(super) fn failing(error: &RunError) -> String {
    let why = error.to_string().replace("\n  hint: ", "; ");
    format!("calls that a scenario of an API client sends to another address fail: {why}")
}

/// The rules for scenarios that came over the API.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SentRules {
    /// True if the main scenario was sent by itself and is in no file. Its forbidden actions are
    /// refused at once.
    pub(super) is_main_given: bool,
    /// True if sent scenarios may run shell commands.
    pub(super) may_command: bool,
}

impl SentRules {
    /// Tells whether a start with `program` goes on in spite of forbidden actions.
    pub(super) fn is_kept(
        self,
        program: &Program,
        programs: &Programs,
        config: &RunConfig,
    ) -> bool {
        let is_given = self.is_main_given && std::ptr::eq(program, &*programs.main);
        // A client that requests a run over the API gets the refusal at once.
        program.is_sent && !is_given && config.reach.for_run().is_none()
    }

    /// The programs that are kept, and their files.
    fn kept<'p>(
        self,
        config: &'p RunConfig,
        programs: &'p Programs,
    ) -> impl Iterator<Item = (&'p Path, &'p Program)> {
        let main = Some((&config.scenario, &programs.main));
        let receiving = config.receiving.as_ref().zip(programs.receiving.as_ref());
        let out_of_call = config.out_of_call.as_ref().zip(programs.out_of_call.as_ref());
        let all = [main, receiving, out_of_call].into_iter().flatten();
        all.filter_map(move |(source, program)| match source {
            ScenarioSource::File(path) if self.is_kept(program, programs, config) => {
                Some((path.as_path(), &**program))
            }
            _ => None,
        })
    }

    /// A sentence for each command and address that such scenarios use and are not allowed. `hosts`
    /// are the addresses of names in them, if these were looked up. `judge` gives the reason why an
    /// address is refused.
    pub(super) fn remarks(
        self,
        config: &RunConfig,
        programs: &Programs,
        hosts: &[(String, IpAddr)],
        judge: impl Fn(SocketAddr) -> Option<Refusal>,
    ) -> Vec<String> {
        let address_of =
            |host: &str| hosts.iter().find(|(name, _)| name == host).map(|(_, ip)| *ip);
        let mut remarks = Vec::new();
        for (path, program) in self.kept(config, programs) {
            let file = path.display();
            if program.runs_commands() && !self.may_command {
                remarks.push(format!(
                    "{file}: a client of the API wrote it. allow_exec is off, so its shell \
                     commands are not run. Those of other scenarios of the same engine are not run \
                     either"
                ));
            }
            let written = program.written_destinations(address_of).flatten();
            let mut refused = written.filter_map(|to| judge(to).map(|refusal| (to, refusal)));
            if let Some((to, refusal)) = refused.next() {
                // A client may write any number of them.
                let more = match refused.count() {
                    0 => String::new(),
                    count => format!(" (and those of {count} more <setdest>)"),
                };
                remarks.push(format!(
                    "{file}: a client of the API wrote it, and its calls to {to} fail with \
                     blocked_target{more}. {SETDEST}: {refusal}"
                ));
            }
        }
        remarks
    }

    /// Sentences for the user at a terminal about how to trust such scenarios.
    pub(super) fn advice(self, config: &RunConfig, programs: &Programs) -> Vec<String> {
        let advice = |(path, _): (&Path, _)| {
            format!(
                "{}: a client of an API wrote it, so it may do less than your own scenarios. To \
                 trust it, read it, and copy it or remove {} beside it",
                path.display(),
                mark_name(path)
            )
        };
        self.kept(config, programs).map(advice).collect()
    }
}

//! Third-party call control (3PCC): the instances that a run communicates with.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use thiserror::Error;

use super::RunError;
use super::targets;
use crate::config::{HostPort, RunConfig, ScenarioSource, ThirdPartyConfig};
use crate::dataplane::third_party::{Connects, PeerPlan, ThirdPartyPlan};
use crate::engine::{Peering, Programs};
use crate::scenario::{Position, Program, StepKind, ThirdPartyRole};

/// The mistake in a run that controls calls together with other instances.
#[derive(Debug, Error)]
pub enum ThirdPartyConfigError {
    /// The scenario has commands, and no other instance is named.
    #[error(
        "{scenario}:{}:{}: <{element}> needs another instance\n  hint: name it with -3pcc \
         HOST[:PORT], or all of them with -master NAME or -slave NAME and -slave_cfg FILE",
        position.line, position.column
    )]
    NoThirdParty {
        /// The scenario.
        scenario: String,
        /// Place of the first command.
        position: Position,
        /// Element of the first command.
        element: &'static str,
    },
    /// A second scenario with commands.
    #[error(
        "{scenario}: <sendCmd> and <recvCmd> in a second scenario\n  hint: only the main scenario \
         (-sf, -sn) can talk to other instances"
    )]
    SecondScenario {
        /// The scenario.
        scenario: String,
    },
    /// The option gives this instance a part that is not the scenario's.
    #[error("-{option} {name}: {problem}\n  hint: use -{other} {name}, or another scenario")]
    Role {
        /// The option.
        option: &'static str,
        /// This instance's name.
        name: String,
        /// The contradiction.
        problem: &'static str,
        /// The other option.
        other: &'static str,
    },
    /// The file of instances cannot be read.
    #[error("cannot read the instances in {path}: {source}\n  hint: -slave_cfg takes a file")]
    File {
        /// The file.
        path: String,
        /// The error of the system.
        source: io::Error,
    },
    /// A line of the file of instances is wrong.
    #[error(
        "{path}:{line}: {problem}\n  hint: each line is NAME;HOST:PORT, for example \
         m;192.0.2.1:6060"
    )]
    Line {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// The mistake.
        problem: String,
    },
    /// The file lacks an instance.
    #[error("{path} has no instance \"{name}\", {wanted}\n  hint: add a line {name};HOST:PORT")]
    Unknown {
        /// The file.
        path: String,
        /// The name.
        name: String,
        /// The option or element that needs it.
        wanted: &'static str,
    },
    /// A command names no receiver.
    #[error(
        "{scenario}:{line}: <sendCmd> without dest=\n  hint: with -master and -slave there may be \
         many instances; name one of them, for example dest=\"{example}\""
    )]
    NoDest {
        /// The scenario.
        scenario: String,
        /// The line of the element.
        line: u32,
        /// A name that it could have.
        example: String,
    },
}

/// The plan for communication with other instances; `None` if there are none.
///
/// # Errors
/// The scenario and the options do not fit each other, or the file of instances has an error.
pub(super) fn plan(
    config: &RunConfig,
    programs: &Programs,
    notices: &mut Vec<String>,
) -> Result<Option<ThirdPartyPlan>, RunError> {
    let main = &programs.main;
    if let Some(second) = programs.all().skip(1).find(|program| program.third_party_role.is_some())
    {
        return Err(ThirdPartyConfigError::SecondScenario { scenario: second.name.clone() }.into());
    }
    let (role, third_party) = match (main.third_party_role, &config.third_party) {
        (None, None) => return Ok(None),
        (Some(_), None) => return Err(no_third_party(config, main).into()),
        (None, Some(_)) => {
            let text = "the scenario has neither <sendCmd> nor <recvCmd>: other instances (-3pcc, \
                        -master, -slave) are not used";
            notices.push(text.to_owned());
            return Ok(None);
        }
        (Some(role), Some(third_party)) => (role, third_party),
    };
    match third_party {
        ThirdPartyConfig::Pair(host) => pair(config, main, role, host, notices).map(Some),
        ThirdPartyConfig::Named { name, leads, file } => {
            check_role(name, *leads, role)?;
            named(config, main, role, name, file).map(Some)
        }
    }
}

/// The error of a scenario with commands if no other instance is named.
fn no_third_party(config: &RunConfig, main: &Program) -> ThirdPartyConfigError {
    let scenario = match &config.scenario {
        ScenarioSource::File(path) => path.display().to_string(),
        ScenarioSource::Builtin(name) => name.clone(),
    };
    let (position, element) = first_command(main).unwrap_or((Position::default(), "sendCmd"));
    ThirdPartyConfigError::NoThirdParty { scenario, position, element }
}

/// Place and element of the first step that needs another instance.
pub(super) fn first_command(program: &Program) -> Option<(Position, &'static str)> {
    program.steps.iter().find_map(|step| match step.kind {
        StepKind::SendCommand(_) => Some((step.position, "sendCmd")),
        StepKind::RecvCommand(_) => Some((step.position, "recvCmd")),
        _ => None,
    })
}

fn pair(
    config: &RunConfig,
    main: &Program,
    role: ThirdPartyRole,
    host: &HostPort,
    notices: &mut Vec<String>,
) -> Result<ThirdPartyPlan, RunError> {
    if !main.peers.is_empty() {
        notices.push(
            "dest= and src= have no effect with -3pcc: there is only one other instance".to_owned(),
        );
    }
    let leads = role == ThirdPartyRole::Leads;
    let address = address(config, host, leads)?;
    Ok(ThirdPartyPlan {
        peering: Peering::Pair,
        listen: (!leads).then_some(address),
        peers: vec![PeerPlan { name: String::new(), address: leads.then_some(address) }],
        connects: Connects::AtStart,
    })
}

/// The address of an instance: this one, or one that we connect to.
fn address(config: &RunConfig, host: &HostPort, is_other: bool) -> Result<SocketAddr, RunError> {
    let judges = config.reach.for_run().filter(|_| is_other);
    targets::resolve(host, config.local_ip, judges, config, "3pcc")
}

fn check_role(
    name: &str,
    leads: Option<bool>,
    role: ThirdPartyRole,
) -> Result<(), ThirdPartyConfigError> {
    let (option, other, problem) = match (leads, role) {
        (Some(true), ThirdPartyRole::Follows) => {
            ("master", "slave", "the scenario waits for a command before it sends one")
        }
        (Some(false), ThirdPartyRole::Leads) => {
            ("slave", "master", "the scenario sends a command before it waits for one")
        }
        _ => return Ok(()),
    };
    Err(ThirdPartyConfigError::Role { option, name: name.to_owned(), problem, other })
}

fn named(
    config: &RunConfig,
    main: &Program,
    role: ThirdPartyRole,
    name: &str,
    file: &Path,
) -> Result<ThirdPartyPlan, RunError> {
    let path = file.display().to_string();
    let bytes = config
        .access
        .read(file)
        .map_err(|source| ThirdPartyConfigError::File { path: path.clone(), source })?;
    let instances = parse(&String::from_utf8_lossy(&bytes), &path)?;
    let find = |wanted: &str, who| {
        let found = instances.iter().find(|(known, _)| known == wanted).map(|(_, host)| host);
        found.ok_or_else(|| {
            let (path, name) = (path.clone(), wanted.to_owned());
            ThirdPartyConfigError::Unknown { path, name, wanted: who }
        })
    };
    let listen = address(config, find(name, "the name of this one")?, false)?;
    let mut is_dest = vec![false; main.peers.len()];
    for step in &main.steps {
        let StepKind::SendCommand(command) = &step.kind else { continue };
        match command.dest {
            Some(dest) => is_dest[usize::from(dest)] = true,
            None => {
                let other = instances.iter().find(|(known, _)| known != name);
                let example = other.map_or("NAME", |(known, _)| known).to_owned();
                let (scenario, line) = (main.name.clone(), step.position.line);
                return Err(ThirdPartyConfigError::NoDest { scenario, line, example }.into());
            }
        }
    }
    let mut peers = Vec::new();
    for (peer, is_dest) in main.peers.iter().zip(is_dest) {
        let host = find(peer, "which the scenario names")?;
        let address: Option<SocketAddr> = match is_dest {
            true => Some(address(config, host, true)?),
            false => None,
        };
        peers.push(PeerPlan { name: peer.clone(), address });
    }
    let connects = match role {
        ThirdPartyRole::Leads => Connects::AtStart,
        ThirdPartyRole::Follows => Connects::WhenAddressed,
    };
    Ok(ThirdPartyPlan { peering: Peering::Named, listen: Some(listen), peers, connects })
}

/// The lines of a file of instances.
fn parse(text: &str, path: &str) -> Result<Vec<(String, HostPort)>, ThirdPartyConfigError> {
    let mut instances: Vec<(String, HostPort)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |problem: String| {
            let (path, line) = (path.to_owned(), index + 1);
            ThirdPartyConfigError::Line { path, line, problem }
        };
        let (name, host) =
            line.split_once(';').ok_or_else(|| wrong("no ; after the name".to_owned()))?;
        let name = name.trim();
        if name.is_empty() {
            return Err(wrong("the name is empty".to_owned()));
        }
        if instances.iter().any(|(known, _)| known == name) {
            return Err(wrong(format!("the instance \"{name}\" is given twice")));
        }
        let host =
            HostPort::parse_with_port(host.trim(), 0).map_err(|error| wrong(error.to_string()))?;
        if host.port == 0 {
            return Err(wrong(format!("no port after {host}", host = host.host)));
        }
        instances.push((name.to_owned(), host));
    }
    Ok(instances)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_read_line_by_line() {
        let text = "# who is where\nm;127.0.0.1:6060\n\n s1 ; [::1]:6061 \r\n";
        let instances = parse(text, "cfg").unwrap();
        let hosts: Vec<_> =
            instances.iter().map(|(name, host)| (name.as_str(), host.to_string())).collect();
        assert_eq!(hosts, [("m", "127.0.0.1:6060".to_owned()), ("s1", "[::1]:6061".to_owned())]);
    }

    #[test]
    fn wrong_lines_are_named() {
        for (text, expected) in [
            ("m;a:1\nm 127.0.0.1", "cfg:2: no ;"),
            (";a:1", "cfg:1: the name is empty"),
            ("m;a:1\nm;b:2", "cfg:2: the instance \"m\" is given twice"),
            ("m;127.0.0.1", "cfg:1: no port after 127.0.0.1"),
            ("m;127.0.0.1:x", "cfg:1: "),
            ("m;", "cfg:1: "),
        ] {
            let error = parse(text, "cfg").unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn options_and_scenario_must_agree_on_who_begins() {
        assert!(check_role("m", Some(true), ThirdPartyRole::Leads).is_ok());
        assert!(check_role("m", None, ThirdPartyRole::Follows).is_ok());
        let error = check_role("m", Some(true), ThirdPartyRole::Follows).unwrap_err().to_string();
        assert!(error.contains("use -slave m"), "{error}");
        let error = check_role("s", Some(false), ThirdPartyRole::Leads).unwrap_err().to_string();
        assert!(error.contains("use -master s"), "{error}");
    }
}

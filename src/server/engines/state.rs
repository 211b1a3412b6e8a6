//! How an engine is doing, as everybody may see it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::config::{ScenarioSource, Transport};
use crate::output::summary::recent;
use crate::output::{Summary, SummaryContext};
use crate::scenario;
use crate::stats::{Health, Lifetime, Snapshot};

/// Where an engine is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is being prepared: nothing is bound yet.
    Starting,
    /// It makes or answers calls.
    Running,
    /// It starts no calls for now.
    Paused,
    /// It starts no more calls; open ones come to their end.
    Draining,
    /// It has come to its end.
    Finished {
        /// The exit code that a process of its own would have had.
        code: u8,
    },
    /// It could not start or go on.
    Failed {
        /// Why.
        reason: String,
    },
}

impl Phase {
    /// Its name in lower case.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Finished { .. } => "finished",
            Self::Failed { .. } => "failed",
        }
    }

    /// Whether nothing will happen any more.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Finished { .. } | Self::Failed { .. })
    }
}

/// A place where an engine that answers calls listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerState {
    /// Its position, from 0.
    pub index: usize,
    /// How messages travel.
    pub transport: Transport,
    /// The address that is bound.
    pub local_ip: IpAddr,
    /// The port that is bound.
    pub local_port: u16,
    /// Whether it accepts calls.
    pub enabled: bool,
    /// The scenario that answers, as [`ScenarioState::name`].
    pub scenario_name: String,
}

/// Whom an engine that makes calls talks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientState {
    /// How messages travel.
    pub transport: Transport,
    /// The address that is bound.
    pub local_ip: IpAddr,
    /// The port that is bound.
    pub local_port: u16,
    /// Where messages go, as `host:port`.
    pub remote_addr: String,
    /// The address that this means.
    pub remote: Option<SocketAddr>,
    /// Whether calls are started: it is not paused.
    pub accepting: bool,
}

impl ClientState {
    /// Tells whether its calls reach `listener`, a place where an engine of this process listens.
    pub fn reaches(&self, listener: &ListenerState) -> bool {
        let Some(remote) = self.remote else { return false };
        let ip = remote.ip().to_canonical();
        // What is sent to an address of this host leaves from that address.
        let is_here = ip.is_loopback() || ip == self.local_ip.to_canonical();
        let own = listener.local_ip.to_canonical();
        remote.port() == listener.local_port
            && self.transport.protocol() == listener.transport.protocol()
            && (own == ip || own.is_unspecified() && is_here)
    }
}

/// What an engine runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioState {
    /// What `-sn` calls it, if the program carries it; else the name that it gives itself.
    pub name: String,
    /// The source that the engine has the scenario from. The text is another one than there, if it
    /// was exchanged.
    pub source: ScenarioSource,
    /// Its file; `None` of a built-in one.
    pub file: Option<PathBuf>,
    /// Its text, also of a built-in one. Another text than that of the file, if that was exchanged.
    pub xml: Arc<str>,
    /// Whether the program carries it.
    pub builtin: bool,
}

impl ScenarioState {
    /// The scenario of an engine that was started with `source` and runs `xml` now, which calls
    /// itself `title`.
    pub(super) fn of(
        source: &ScenarioSource,
        title: &str,
        xml: &Arc<str>,
        has_swapped: bool,
    ) -> Self {
        let (file, builtin) = match source {
            ScenarioSource::File(path) => (Some(path.clone()), None),
            ScenarioSource::Builtin(name) if !has_swapped => (None, Some(name.as_str())),
            // A reload brings back a built-in as a text.
            ScenarioSource::Builtin(_) => {
                let same = scenario::BUILTINS.iter().find(|builtin| *builtin.text == **xml);
                (None, same.map(|builtin| builtin.name))
            }
        };
        Self {
            name: builtin.unwrap_or(title).to_owned(),
            source: source.clone(),
            file,
            xml: Arc::clone(xml),
            builtin: builtin.is_some(),
        }
    }
}

/// The state of an engine at one moment, consistent in itself.
#[derive(Debug)]
pub struct EngineState {
    /// Where it is on its way.
    pub phase: Phase,
    /// Sixteen hexadecimal digits that no other run has.
    pub run_id: String,
    /// When it was started, in nanoseconds since 1970 UTC.
    pub started_at_unix_ns: u64,
    /// Its figures; an empty snapshot before the first, and of an engine that could not start.
    pub snapshot: Arc<Snapshot>,
    /// Its figures since it was started, which no reset takes back.
    pub lifetime: Arc<Lifetime>,
    /// The outcome of its health gates now.
    pub health: Health,
    /// Calls per second, as last asked for; 0 where calls are not started at a rate.
    pub rate: f64,
    /// The number of users, where calls are started by users.
    pub users: Option<u64>,
    /// The limit of open calls, if there is one.
    pub call_limit: Option<u64>,
    /// Whether it makes calls rather than answers them.
    pub is_client: bool,
    /// Whether it starts no calls for now.
    pub is_paused: bool,
    /// Where it listens, if it answers calls.
    pub listeners: Vec<ListenerState>,
    /// Whom it calls, if it makes calls.
    pub client: Option<ClientState>,
    /// What it runs.
    pub scenario: ScenarioState,
    /// Name of the I/O driver; empty before it runs.
    pub driver: &'static str,
    /// What an operator should read, the newest last; a bounded number.
    pub notices: Vec<String>,
    /// How messages travel, as in a Via header.
    pub(super) protocol: &'static str,
    pub(super) summary: OnceLock<Arc<Summary>>,
}

impl EngineState {
    /// The summary of the run so far, or of all of it once it is over.
    pub fn summary(&self) -> Arc<Summary> {
        let make = || {
            let context = SummaryContext {
                driver: self.driver.to_owned(),
                transport: self.protocol.to_owned(),
                health: self.health.clone(),
                unwritten: self.lifetime.unwritten,
                ..SummaryContext::default()
            };
            let summary = Summary::new(&self.snapshot, &context);
            Arc::new(Summary { recent: recent(&self.snapshot), ..summary })
        };
        Arc::clone(self.summary.get_or_init(make))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_reaches_who_listens_at_its_target() {
        let client = |local: &str, remote: &str, transport| ClientState {
            transport,
            local_ip: local.parse().unwrap(),
            local_port: 1,
            remote_addr: remote.to_owned(),
            remote: remote.parse().ok(),
            accepting: true,
        };
        let listener = |ip: &str, transport| ListenerState {
            index: 0,
            transport,
            local_ip: ip.parse().unwrap(),
            local_port: 5060,
            enabled: true,
            scenario_name: String::new(),
        };
        let (udp, many, tcp) = (Transport::UdpMono, Transport::UdpMulti, Transport::TcpMono);
        for (local, remote, at, transport, expected) in [
            ("127.0.0.1", "127.0.0.1:5060", "127.0.0.1", udp, true),
            ("127.0.0.1", "127.0.0.1:5060", "0.0.0.0", udp, true),
            ("127.0.0.1", "127.0.0.1:5060", "::", many, true),
            ("10.0.0.1", "10.0.0.1:5060", "0.0.0.0", udp, true),
            ("10.0.0.1", "10.0.0.2:5060", "0.0.0.0", udp, false),
            ("127.0.0.1", "127.0.0.1:5061", "0.0.0.0", udp, false),
            ("127.0.0.1", "127.0.0.1:5060", "127.0.0.2", udp, false),
            ("127.0.0.1", "127.0.0.1:5060", "127.0.0.1", tcp, false),
            ("127.0.0.1", "localhost", "127.0.0.1", udp, false),
        ] {
            let reaches = client(local, remote, udp).reaches(&listener(at, transport));
            assert_eq!(reaches, expected, "{local} to {remote} at {at}");
        }
    }
}

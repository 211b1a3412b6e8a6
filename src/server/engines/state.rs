//! The published state of an engine.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::config::{ScenarioSource, Transport};
use crate::output::summary::recent;
use crate::output::{Summary, SummaryContext};
use crate::scenario;
use crate::stats::{Health, Lifetime, Snapshot};

/// The phase of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The engine is being prepared: no address is bound yet.
    Starting,
    /// The engine makes or answers calls.
    Running,
    /// The engine starts no calls for now.
    Paused,
    /// The engine starts no more calls; open ones may end.
    Draining,
    /// The engine has ended.
    Finished {
        /// The exit code that a process of its own would have.
        code: u8,
    },
    /// The engine could not start or go on.
    Failed {
        /// The reason.
        reason: String,
    },
}

impl Phase {
    /// The name of the phase in lower case.
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

    /// Tells whether the engine has ended.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Finished { .. } | Self::Failed { .. })
    }
}

/// A listener of an engine that answers calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerState {
    /// Index of the listener, from 0.
    pub index: usize,
    /// The transport of messages.
    pub transport: Transport,
    /// The address that is bound.
    pub local_ip: IpAddr,
    /// The port that is bound.
    pub local_port: u16,
    /// True if it accepts calls.
    pub enabled: bool,
    /// The scenario that answers, as [`ScenarioState::name`].
    pub scenario_name: String,
}

/// The destination of an engine that makes calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientState {
    /// The transport of messages.
    pub transport: Transport,
    /// The address that is bound.
    pub local_ip: IpAddr,
    /// The port that is bound.
    pub local_port: u16,
    /// Destination of messages, as `host:port`.
    pub remote_addr: String,
    /// The resolved address of the destination.
    pub remote: Option<SocketAddr>,
    /// True if calls are started: the engine is not paused.
    pub accepting: bool,
}

impl ClientState {
    /// Tells whether its calls reach `listener`, a listener of an engine of this process.
    pub fn reaches(&self, listener: &ListenerState) -> bool {
        let Some(remote) = self.remote else { return false };
        let ip = remote.ip().to_canonical();
        // Packets to an address of this host leave from that address.
        let is_here = ip.is_loopback() || ip == self.local_ip.to_canonical();
        let own = listener.local_ip.to_canonical();
        remote.port() == listener.local_port
            && self.transport.protocol() == listener.transport.protocol()
            && (own == ip || own.is_unspecified() && is_here)
    }
}

/// The scenario of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioState {
    /// The name for `-sn` of a built-in scenario; else the name in the scenario itself.
    pub name: String,
    /// The source of the engine's scenario. The text differs from that source if it was exchanged.
    pub source: ScenarioSource,
    /// The file; `None` for a built-in scenario.
    pub file: Option<PathBuf>,
    /// The text, also of a built-in scenario. It differs from the file if it was exchanged.
    pub xml: Arc<str>,
    /// True for a built-in scenario.
    pub builtin: bool,
}

impl ScenarioState {
    /// The state for an engine that was started with `source` and now runs `xml`, whose own name is
    /// `title`.
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
    /// The phase.
    pub phase: Phase,
    /// The run's id: sixteen random hexadecimal digits.
    pub run_id: String,
    /// Time of the start, in nanoseconds since 1970 UTC.
    pub started_at_unix_ns: u64,
    /// The figures; an empty snapshot before the first one, and if the engine could not start.
    pub snapshot: Arc<Snapshot>,
    /// The figures since the start; resets do not change them.
    pub lifetime: Arc<Lifetime>,
    /// The present outcome of the health gates.
    pub health: Health,
    /// Calls per second, as last requested; 0 if calls are not started at a rate.
    pub rate: f64,
    /// The number of users, if users start the calls.
    pub users: Option<u64>,
    /// The limit of open calls, if there is one.
    pub call_limit: Option<u64>,
    /// True if the engine makes calls rather than answers them.
    pub is_client: bool,
    /// True if the engine starts no calls for now.
    pub is_paused: bool,
    /// The listeners, if the engine answers calls.
    pub listeners: Vec<ListenerState>,
    /// The destination, if the engine makes calls.
    pub client: Option<ClientState>,
    /// The scenario.
    pub scenario: ScenarioState,
    /// Name of the I/O driver; empty before the engine runs.
    pub driver: &'static str,
    /// Notices for the operator, the newest last; their number is limited.
    pub notices: Vec<String>,
    /// The protocol of messages, as in a Via header.
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

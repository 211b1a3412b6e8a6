//! The published state of a run.

use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use gossipper_uring::sys;
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::{RunConfig, ScenarioSource, Transport};
use crate::output::summary::{MediaMode, recent};
use crate::output::{Summary, SummaryContext};
use crate::run::media_mode;
use crate::scenario;
use crate::stats::{Aggregate, Health, Layout, LayoutId, Lifetime, RunStart, Snapshot};

/// The phase of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
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

/// A place where a run that answers calls listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

/// The far end of a run that makes calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// Tells whether the calls reach `listener`, a place where a run of this process listens.
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

/// The scenario of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioState {
    /// The name for `-sn` of a built-in scenario; else the name in the scenario itself.
    pub name: String,
    /// The source of the scenario. Its text is a different one if the scenario was exchanged.
    pub source: ScenarioSource,
    /// The file; `None` for a built-in scenario.
    pub file: Option<PathBuf>,
    /// The text, also of a built-in scenario. It differs from the file if it was exchanged.
    #[serde(serialize_with = "write_text", deserialize_with = "read_text")]
    pub xml: Arc<str>,
    /// True for a built-in scenario.
    pub builtin: bool,
}

fn write_text<S: serde::Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn read_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    String::deserialize(deserializer).map(Arc::from)
}

impl ScenarioState {
    /// The scenario of a run that was started with `source` and now runs `xml`, whose own name is
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
            // A reload of a built-in scenario gives it a text.
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

/// The state of a run at one moment, consistent in itself. It has no figures: those travel to
/// another process as [`Delta`](crate::stats::Delta)s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The present phase of the run.
    pub phase: Phase,
    /// The run's id: sixteen random hexadecimal digits.
    pub run_id: String,
    /// Time of the start, in nanoseconds since 1970 UTC.
    pub started_at_unix_ns: u64,
    /// The present outcome of the health gates.
    pub health: Health,
    /// Calls per second, as last requested; 0 if calls are not started at a rate.
    pub rate: f64,
    /// The number of users, if users start the calls.
    pub users: Option<u64>,
    /// The limit of open calls, if there is one.
    pub call_limit: Option<u64>,
    /// True if the run makes calls rather than answers them.
    pub is_client: bool,
    /// True if the run starts no calls for now.
    pub is_paused: bool,
    /// The places where the run listens, if it answers calls.
    pub listeners: Vec<ListenerState>,
    /// The far end, if the run makes calls.
    pub client: Option<ClientState>,
    /// The scenario that new calls follow.
    pub scenario: ScenarioState,
    /// Name of the I/O driver; empty before the engine runs.
    pub driver: String,
    /// Sentences that an operator should read, the newest last; a bounded number.
    pub notices: Vec<String>,
    /// The number of the layout, which the run's deltas carry too.
    pub layout: LayoutId,
}

/// The publication of a run in its own process: its state, and its figures beside it.
#[derive(Debug)]
pub struct Published {
    /// The state.
    pub state: State,
    /// Figures; an empty snapshot before the first, and of a run that could not start.
    pub snapshot: Arc<Snapshot>,
    /// The figures since the start; resets do not change them.
    pub lifetime: Arc<Lifetime>,
    /// The protocol of messages, as in a Via header.
    pub(crate) protocol: &'static str,
    /// The way in which streams of media share sockets.
    pub(crate) media_mode: MediaMode,
    pub(crate) summary: OnceLock<Arc<Summary>>,
}

impl Deref for Published {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl Published {
    /// The state of a run that has not started yet.
    pub(crate) fn starting(config: &RunConfig) -> Self {
        let started_at_unix_ns = sys::realtime_now_ns();
        let start = RunStart { unix_ns: started_at_unix_ns, monotonic_ns: 0 };
        let source = config.scenario.clone();
        let (file, name) = match &source {
            ScenarioSource::File(path) => (Some(path.clone()), String::new()),
            ScenarioSource::Builtin(name) => (None, name.clone()),
        };
        let nothing = Aggregate::new(Arc::default(), 0, start);
        let xml = Arc::from("");
        let state = State {
            phase: Phase::Starting,
            run_id: run_id(),
            started_at_unix_ns,
            health: Health::default(),
            rate: 0.0,
            users: config.users,
            call_limit: None,
            is_client: false,
            is_paused: false,
            listeners: Vec::new(),
            client: None,
            scenario: ScenarioState { builtin: file.is_none(), name, source, file, xml },
            driver: String::new(),
            notices: Vec::new(),
            layout: Layout::default().id(),
        };
        Self {
            state,
            snapshot: Arc::new(nothing.snapshot()),
            lifetime: Arc::new(nothing.lifetime()),
            protocol: config.transport.protocol(),
            media_mode: media_mode(config),
            summary: OnceLock::new(),
        }
    }

    /// The summary of the run so far, or of the whole run once it is over.
    pub fn summary(&self) -> Arc<Summary> {
        let make = || {
            let context = SummaryContext {
                driver: self.driver.clone(),
                transport: self.protocol.to_owned(),
                health: self.health.clone(),
                media_mode: self.media_mode,
                unwritten: self.lifetime.unwritten,
                ..SummaryContext::default()
            };
            let summary = Summary::new(&self.snapshot, &context);
            Arc::new(Summary { recent: recent(&self.snapshot), ..summary })
        };
        Arc::clone(self.summary.get_or_init(make))
    }

    /// A copy with another state, whose summary is made anew.
    pub(crate) fn with(&self, state: State) -> Self {
        Self {
            state,
            snapshot: Arc::clone(&self.snapshot),
            lifetime: Arc::clone(&self.lifetime),
            protocol: self.protocol,
            media_mode: self.media_mode,
            summary: OnceLock::new(),
        }
    }
}

/// Random bits that distinguish this run from others.
fn run_id() -> String {
    use std::hash::{BuildHasher, Hasher};
    // The standard library keys its hash maps from the system's random source.
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u64(sys::realtime_now_ns());
    format!("{:016x}", hasher.finish())
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

//! Configuration of an engine. Everything is resolved and checked before it gets here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::arrivals::circuits::CircuitMap;
use super::arrivals::pacing::RatePlan;
use super::call::call_ids::CallIdStyle;
pub use crate::config::rules::{
    CallRules, DefaultBehaviors, DuplicateCheck, DynamicIds, Retransmission,
};
pub use crate::gate::Gate;
use crate::injection::InjectionFile;
use crate::trace::{Kinds, Protocol};

/// Configuration of one worker's engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// This worker, from 0; below 256.
    pub worker: usize,
    /// Number of workers that share the run.
    pub workers: usize,
    /// Seeds ids and randomness; the same on all workers.
    pub seed: u64,
    /// Capacity of the call pool.
    pub pool_calls: usize,
    /// Ended calls with foreign Call-IDs that are remembered.
    pub dead_calls_max: usize,
    /// Bytes of address space for stored messages.
    pub blob_bytes_max: usize,
    /// Open calls at once, over all workers (`-l`).
    pub concurrent_max: Option<u64>,
    /// Calls to start or answer, over all workers (`-m`); `None` for no end.
    pub calls_total: Option<u64>,
    /// The way in which calls are started.
    pub arrivals: Arrivals,
    /// Start of the run on the monotonic clock.
    pub start_ns: u64,
    /// Unix time minus monotonic time, in nanoseconds.
    pub wall_offset_ns: u64,
    /// The rules that calls keep to.
    pub rules: CallRules,
    /// Kinds of events that are recorded.
    pub trace: Kinds,
    /// Our own addresses and those of the peer.
    pub environment: Environment,
    /// Data of the scenarios, such as injection files and credentials.
    pub data: DataConfig,
}

/// A small engine that answers calls on loopback, without an end: what tests and benches vary.
impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            worker: 0,
            workers: 1,
            seed: 1,
            pool_calls: 64,
            dead_calls_max: 256,
            blob_bytes_max: 1 << 20,
            concurrent_max: None,
            calls_total: None,
            arrivals: Arrivals::Server,
            start_ns: 0,
            wall_offset_ns: 0,
            rules: CallRules::default(),
            trace: Kinds::NONE,
            environment: Environment::default(),
            data: DataConfig::default(),
        }
    }
}

/// Data of the scenarios, apart from the environment.
#[derive(Clone, Debug, Default)]
pub struct DataConfig {
    /// User name for digests if the scenario gives none (`-au`).
    pub auth_user: String,
    /// Password for digests if the scenario gives none (`-ap`).
    pub auth_password: String,
    /// Digest URI (`-auth_uri`, with its scheme); `None` names the peer.
    pub auth_uri: Option<String>,
    /// Injection files, in the order in which programs were compiled with them.
    pub tables: Vec<Arc<InjectionFile>>,
    /// True if calls leave from addresses that the first file names (`-t ui`); see
    /// [`Sockets::BySource`](super::Sockets::BySource).
    pub per_source: bool,
    /// Circuits for calls that we make (`-tdmmap`).
    pub circuits: Option<CircuitMap>,
    /// The form of Call-IDs of calls that we make.
    pub call_ids: CallIdStyle,
    /// Addresses of the names that `<setdest>` actions write out.
    pub hosts: Vec<(String, IpAddr)>,
    /// The gate for `<setdest>` of the scenarios that the run began with; `None` lets every address
    /// pass.
    pub gate: Option<Arc<dyn Gate>>,
    /// The gate for `<setdest>` of the scenarios that were sent to the run.
    pub gate_for_sent: Option<Arc<dyn Gate>>,
}

/// The way in which calls are started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// By the peers only.
    Server,
    /// At planned times, whatever happens to earlier calls.
    Open(RatePlan),
    /// A fixed number of users, over all workers, each with one call after the other.
    Users(u64),
}

/// The values behind the addressing keywords.
#[derive(Clone, Debug)]
pub struct Environment {
    /// `[service]`
    pub service: String,
    /// `[transport]`. Over streams (a reliable transport, RFC 3261 section 17) nothing is
    /// retransmitted, and a call fails with its connection.
    pub protocol: Protocol,
    /// `[local_ip]`
    pub local_ip: IpAddr,
    /// `[local_port]`; `None` if each call has its own socket.
    pub local_port: Option<u16>,
    /// `[media_ip]`
    pub media_ip: IpAddr,
    /// True if each call has an address of media of its own, that of a relay.
    pub media_is_relayed: bool,
    /// `[media_port]`
    pub media_port: u16,
    /// `[remote_host]` as the user wrote it; empty for a server.
    pub remote_host: String,
    /// `[remote_ip]` and `[remote_port]`; `None` takes the peer of the call.
    pub remote: Option<SocketAddr>,
    /// Destination of messages (`-rsa`, else `remote`); `None` answers to the packet's source.
    pub next_hop: Option<SocketAddr>,
    /// `[pid]`
    pub pid: u32,
    /// `[users]`; `None` if no users start calls.
    pub users: Option<u64>,
}

/// A process on loopback that knows no peer; each of its calls has a socket.
impl Default for Environment {
    fn default() -> Self {
        Self {
            service: "service".to_owned(),
            protocol: Protocol::Udp,
            local_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            local_port: None,
            media_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            media_is_relayed: false,
            media_port: 6000,
            remote_host: String::new(),
            remote: None,
            next_hop: None,
            pid: 4711,
            users: None,
        }
    }
}

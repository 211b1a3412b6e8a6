//! Configuration of an engine. Everything is resolved and checked before it gets here.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::arrivals::circuits::CircuitMap;
use super::arrivals::pacing::RatePlan;
use super::call::call_ids::CallIdStyle;
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
    pub calls_max: usize,
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
    /// Retransmission rules.
    pub retransmission: Retransmission,
    /// Default `<recv>` timeout in milliseconds; 0 is none.
    pub recv_timeout_ms: u64,
    /// Longest wait of a message for room to be sent, in milliseconds; 0 for no limit.
    pub send_timeout_ms: u64,
    /// Least wait for a mandatory BYE without a timeout of its own, in milliseconds; used only with
    /// a default timeout.
    pub recv_bye_timeout_ms: u64,
    /// Length of `<pause/>` in milliseconds (`-d`).
    pub pause_ms: u64,
    /// Time for which an ended foreign Call-ID is remembered, in milliseconds.
    pub deadcall_wait_ms: u64,
    /// Default behaviours.
    pub behaviors: Behaviors,
    /// True if a message that finds no room on a connection gives a warning and does not end its
    /// call (`-sendbuffer_warn`).
    pub congestion_warns: bool,
    /// True if an ICMP error ends its call at once (RFC 3261 sections 8.1.3.1 and 18.4); otherwise
    /// the message counts as lost on the way, as in SIPp.
    pub icmp_fails_calls: bool,
    /// Loss simulated on every message, in percent.
    pub lost_percent: f64,
    /// First `[cseq]`.
    pub base_cseq: u32,
    /// True if messages that arrive while a call pauses are dropped (`-pause_msg_ign`).
    pub ignore_messages_in_pause: bool,
    /// True if a Call-ID counts as a whole, `prefix///` included (`-callid_slash_ign`).
    pub whole_call_ids: bool,
    /// The rule by which duplicates are recognised.
    pub duplicate_check: DuplicateCheck,
    /// `-dynamicStart`, `-dynamicMax`, `-dynamicStep`.
    pub dynamic_ids: (u64, u64, u64),
    /// Initial values of global variables (`-set`), by name.
    pub sets: Vec<(String, String)>,
    /// Kinds of events that are recorded.
    pub trace: Kinds,
    /// Our own addresses and those of the peer.
    pub environment: Environment,
    /// Data of the scenarios, such as injection files and credentials.
    pub data: DataConfig,
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

/// A check of whether a call may be sent to another address.
pub trait Gate: fmt::Debug + Send + Sync {
    /// Tells whether the call may be sent to `to` at `unix_ns`. Must not block.
    fn lets_pass(&self, to: SocketAddr, unix_ns: u64) -> bool;
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

/// RFC 3261 section 17 timers, as in SIPp.
#[derive(Clone, Copy, Debug)]
pub struct Retransmission {
    /// `false` with `-nr`.
    pub enabled: bool,
    /// Retransmissions of an INVITE.
    pub invite_max: u32,
    /// Retransmissions of anything else.
    pub non_invite_max: u32,
    /// T2: ceiling of the interval for anything but INVITE, in milliseconds.
    pub t2_ms: u32,
}

/// Default behaviours, which apply beside the scenario.
#[derive(Clone, Copy, Debug)]
pub struct Behaviors {
    /// The dialog of a failed call is ended (BYE, CANCEL, ACK).
    pub bye: bool,
    /// An unexpected message fails the call.
    pub abort_unexpected: bool,
    /// PING is answered.
    pub ping_reply: bool,
    /// An ACK must carry the CSeq number of its INVITE.
    pub cseq_check: bool,
    /// INFO, NOTIFY, OPTIONS and UPDATE that the scenario does not expect are answered (`-aa`).
    pub auto_answer: bool,
}

/// The rule by which a retransmission of the peer is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DuplicateCheck {
    /// By every byte.
    Full,
    /// By To, From, Call-ID and CSeq; for responses also code and body.
    Loose,
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

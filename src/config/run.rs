//! The resolved configuration of one run.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use super::data::{CallIds, TdmMap, Trunk};
use super::export::ExportConfig;
use super::server::ApiConfig;
use super::targets::Reach;
use super::trace::TraceConfig;
use super::value::HostPort;
use crate::files::Access;

/// The program whose defaults apply to settings that the user did not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// Started as `sipp` or `gossipper sipp`: SIPp's defaults, screens and exit codes.
    Sipp,
    /// Started as `gossipper`: a client without `-m` makes one call, and only the call pool limits
    /// the number of open calls.
    Gossipper,
}

/// The source of the scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScenarioSource {
    /// A built-in scenario, by name (not yet looked up).
    Builtin(String),
    /// An XML file (not yet read).
    File(PathBuf),
}

/// The watchdog, which ends a run whose workers stall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watchdog {
    /// True if it may end the run; stalls are counted in any case.
    pub is_on: bool,
    /// Time without a stall after which earlier ones are forgotten, in milliseconds.
    pub reset_ms: u64,
    /// Duration from which a stall is minor, in milliseconds.
    pub minor_ms: u64,
    /// Duration from which a stall is major, in milliseconds.
    pub major_ms: u64,
    /// Most minor stalls; one more ends the run.
    pub minor_max: u64,
    /// Most major stalls; one more ends the run.
    pub major_max: u64,
}

/// The other instances that control calls together with this one (3PCC).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThirdPartyConfig {
    /// There are two instances; one of them listens at this address.
    Pair(HostPort),
    /// There are several instances, which a file lists.
    Named {
        /// Name of this instance.
        name: String,
        /// True if this instance sends the first command; `None` leaves that to the scenario.
        leads: Option<bool>,
        /// The file with all names and addresses (not yet read).
        file: PathBuf,
    },
}

/// The transport of SIP messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `u1`: one UDP socket for all calls.
    UdpMono,
    /// `un`: one UDP socket for each call.
    UdpMulti,
    /// `ui`: one UDP socket for each address in the injection file.
    UdpPerAddress,
    /// `t1`: one TCP connection for all calls of a worker.
    TcpMono,
    /// `tn`: one TCP connection for each call.
    TcpMulti,
    /// `l1`: one TLS connection for all calls of a worker.
    TlsMono,
    /// `ln`: one TLS connection for each call.
    TlsMulti,
    /// `w1`: one WebSocket for all calls of a worker.
    WsMono,
    /// `wn`: one WebSocket for each call.
    WsMulti,
    /// `ws1`: one WebSocket over TLS for all calls of a worker.
    WssMono,
    /// `wsn`: one WebSocket over TLS for each call.
    WssMulti,
}

/// The kind of scenario for which a `-t` name is meant (`sl`, `cl`, `cln`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportFor {
    /// Scenarios that make calls.
    Clients,
    /// Scenarios that answer calls.
    Servers,
}

/// The reaction to the loss of a connection that we opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReconnectConfig {
    /// Most attempts to open connections again; `None` is no limit.
    pub max: Option<u64>,
    /// True if the calls on it fail; otherwise they go on with the new one.
    pub close_calls: bool,
    /// Wait before an attempt.
    pub sleep_ms: u64,
}

/// Versions of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.3 if the peer supports it, else 1.2.
    #[default]
    Auto,
    /// TLS 1.2 only.
    V1_2,
    /// TLS 1.3 only.
    V1_3,
}

/// The given TLS settings; the files are not read yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Our certificate.
    pub cert: Option<PathBuf>,
    /// Private key of the certificate.
    pub key: Option<PathBuf>,
    /// Authorities to verify the peer against.
    pub ca: Option<PathBuf>,
    /// Revoked certificates.
    pub crl: Option<PathBuf>,
    /// Versions that are offered.
    pub version: TlsVersion,
    /// True if certificates of peers are not verified; `None` if the user did not say.
    pub skip_verify: Option<bool>,
    /// True if a client resumes earlier sessions.
    pub resume: bool,
}

impl Transport {
    /// The transport's name in `-t`.
    pub fn code(self) -> &'static str {
        match self {
            Self::UdpMono => "u1",
            Self::UdpMulti => "un",
            Self::UdpPerAddress => "ui",
            Self::TcpMono => "t1",
            Self::TcpMulti => "tn",
            Self::TlsMono => "l1",
            Self::TlsMulti => "ln",
            Self::WsMono => "w1",
            Self::WsMulti => "wn",
            Self::WssMono => "ws1",
            Self::WssMulti => "wsn",
        }
    }

    /// The protocol as SIP names it in a Via header.
    pub fn protocol(self) -> &'static str {
        match self {
            Self::UdpMono | Self::UdpMulti | Self::UdpPerAddress => "UDP",
            Self::TcpMono | Self::TcpMulti => "TCP",
            Self::TlsMono | Self::TlsMulti => "TLS",
            Self::WsMono | Self::WsMulti => "WS",
            Self::WssMono | Self::WssMulti => "WSS",
        }
    }

    /// Tells whether each call has a socket or connection of its own.
    pub fn is_multi(self) -> bool {
        matches!(
            self,
            Self::UdpMulti | Self::TcpMulti | Self::TlsMulti | Self::WsMulti | Self::WssMulti
        )
    }

    /// Tells whether messages travel over connections.
    pub fn is_stream(self) -> bool {
        !matches!(self, Self::UdpMono | Self::UdpMulti | Self::UdpPerAddress)
    }

    /// Tells whether connections are TLS connections.
    pub fn uses_tls(self) -> bool {
        matches!(self, Self::TlsMono | Self::TlsMulti | Self::WssMono | Self::WssMulti)
    }

    /// Tells whether connections are WebSockets.
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::WsMono | Self::WsMulti | Self::WssMono | Self::WssMulti)
    }
}

/// The condition that stops the creation of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallLimit {
    /// No condition: calls are created until the run is stopped.
    Unlimited,
    /// After this many calls (at least 1).
    Count(u64),
    /// The default: one call for a client scenario, no limit for a server scenario.
    ClientDefault,
}

/// The limit of open calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConcurrencyLimit {
    /// As many as the call pool holds.
    Pool,
    /// SIPp's rule: 3 x rate x duration / period. Duration is the longest of the scenario's pauses,
    /// the default pause and one second. It is resolved together with the scenario.
    SippRule,
    /// This many (at least 1).
    Count(u64),
}

/// The default behaviours, which apply beside the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultBehaviors {
    /// An aborted call is ended with BYE or CANCEL.
    pub bye: bool,
    /// An unexpected message aborts its call.
    pub abort_unexpected: bool,
    /// PING requests are answered.
    pub ping_reply: bool,
    /// A call fails if its ACK carries another CSeq number than its INVITE.
    pub cseq_check: bool,
}

impl DefaultBehaviors {
    /// Every behaviour on.
    pub const ALL: Self =
        Self { bye: true, abort_unexpected: true, ping_reply: true, cseq_check: true };

    /// Every behaviour off.
    pub const NONE: Self =
        Self { bye: false, abort_unexpected: false, ping_reply: false, cseq_check: false };
}

/// Retransmission over UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetransConfig {
    /// True if messages are retransmitted.
    pub enabled: bool,
    /// Retransmissions of an INVITE before the call fails.
    pub invite_max: u32,
    /// Retransmissions of any other message before the call fails.
    pub non_invite_max: u32,
    /// Longest interval between retransmissions of a non-INVITE message.
    pub t2_ms: u64,
    /// The rule by which a received retransmission is recognised.
    pub check: RetransmissionCheck,
}

/// The rule by which a received retransmission is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetransmissionCheck {
    /// The whole message is compared.
    Full,
    /// To, From, Call-ID and CSeq are compared, for responses also the code and the body.
    Loose,
}

/// Addresses and ports of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaConfig {
    /// `[media_ip]`; `None` for the local SIP address.
    pub ip: Option<IpAddr>,
    /// First RTP port, also `[media_port]`.
    pub port_min: u16,
    /// Last RTP port; not below `port_min`.
    pub port_max: u16,
}

/// Conditions that alone decide whether the run succeeded, if at least one is set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HealthGates {
    /// Least share of successful calls, 0..=1.
    pub min_success_ratio: Option<f64>,
    /// Most failed calls.
    pub max_failed_calls: Option<u64>,
    /// Most calls that failed by a timeout.
    pub max_timeouts: Option<u64>,
}

impl HealthGates {
    /// Tells whether any gate is set.
    pub fn any(&self) -> bool {
        self.min_success_ratio.is_some()
            || self.max_failed_calls.is_some()
            || self.max_timeouts.is_some()
    }
}

/// The I/O driver that carries the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoChoice {
    /// io_uring, or system calls if the kernel or container forbids it.
    Auto,
    /// io_uring; an error if it is forbidden.
    Uring,
    /// epoll with `sendmmsg` and `recvmmsg`.
    Syscall,
}

/// The UDP socket through which a run can be controlled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlSocketConfig {
    /// The address of the socket; `None` for all addresses.
    pub ip: Option<Ipv4Addr>,
    /// The port of the socket.
    pub port: ControlPort,
}

/// The port of the control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlPort {
    /// There is no control socket.
    Closed,
    /// Exactly this port; 0 lets the kernel choose.
    Given(u16),
    /// The first free port of sixty, from this one on.
    From(u16),
}

/// The cases in which output is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// One run, resolved and checked. Host names are not looked up yet, and decisions that need the
/// scenario (its role, its existence) are still open.
#[derive(Clone, Debug, PartialEq)]
pub struct RunConfig {
    /// The program whose defaults and exit codes apply.
    pub flavor: Flavor,
    /// Oddities that the user should read before the run, one sentence each.
    pub notices: Vec<String>,

    /// Scenario to run.
    pub scenario: ScenarioSource,
    /// Scenario of calls that arrive while `scenario` makes calls.
    pub receiving: Option<ScenarioSource>,
    /// Scenario of messages of unknown calls while `scenario` makes calls.
    pub out_of_call: Option<ScenarioSource>,
    /// The instances that control calls together with this one.
    pub third_party: Option<ThirdPartyConfig>,
    /// `[service]`: the user part of the request URI.
    pub service: String,
    /// User name of digest credentials.
    pub auth_user: String,
    /// Password of digest credentials.
    pub auth_password: String,
    /// Digest URI instead of the peer's address.
    pub auth_uri: Option<String>,
    /// Injection files, the default one first (not yet read).
    pub injection: Vec<PathBuf>,
    /// The default injection file of the receiving scenario.
    pub injection_receiving: Option<PathBuf>,
    /// The injection files that are indexed, by name and column.
    pub injection_indexes: Vec<(String, u16)>,
    /// The column of the default injection file, from 0, that gives the source address of a call
    /// (`ui`).
    pub address_column: u16,
    /// Circuits that calls take.
    pub circuits: Option<TdmMap>,
    /// First, highest and step of `[dynamic_id]`.
    pub dynamic_ids: (u64, u64, u64),
    /// The form of Call-IDs.
    pub call_ids: CallIds,
    /// Identities of built-in scenarios.
    pub trunk: Trunk,
    /// True if scenarios may run shell commands.
    pub commands: bool,
    /// Keywords defined by the user, in order; a later one of the same name wins.
    pub keys: Vec<(String, String)>,
    /// Initial values of global variables, in order.
    pub sets: Vec<(String, String)>,
    /// The number of the first `[cseq]` that a call sends.
    pub base_cseq: u32,

    /// Transport of SIP messages.
    pub transport: Transport,
    /// The kind of scenario that the transport's name is meant for, if it is restricted.
    pub transport_for: Option<TransportFor>,
    /// TLS.
    pub tls: TlsOptions,
    /// The reaction to the loss of a connection.
    pub reconnect: ReconnectConfig,
    /// Network interface that sockets are bound to.
    pub device: Option<String>,
    /// True if a message that finds no room on a connection is only a warning.
    pub sendbuffer_warn: bool,
    /// Local address; `None` chooses it by the route to the peer.
    pub local_ip: Option<IpAddr>,
    /// Local SIP port: 0 lets the kernel choose; `None` tries 5060 to 5119, then lets the kernel
    /// choose. A given port is not replaced by another one.
    pub local_port: Option<u16>,
    /// `true` if sockets are bound to the local address even if `local_ip` does not give one.
    pub bind_local: bool,
    /// The peer in headers (the bare word of the command line).
    pub remote: Option<HostPort>,
    /// Destination of packets, if it is not `remote`.
    pub rsa: Option<HostPort>,
    /// Most sockets of a transport with a socket for each call; calls share them beyond that.
    pub max_sockets: u32,
    /// Send and receive buffer of each socket.
    pub socket_buffer_bytes: u32,
    /// Send and receive buffer of each connection; 0 leaves it to the kernel.
    pub stream_buffer_bytes: u32,
    /// True if RLIMIT_NOFILE is left unchanged.
    pub skip_rlimit: bool,

    /// Length of a `<pause/>` without a length of its own.
    pub pause_ms_default: u64,
    /// The default behaviours, which apply beside the scenario.
    pub default_behaviors: DefaultBehaviors,
    /// True if INFO, NOTIFY, OPTIONS and UPDATE that the scenario does not expect get a 200.
    pub auto_answer: bool,
    /// True if messages that arrive during a pause are dropped.
    pub pause_drops_messages: bool,
    /// True if a Call-ID is compared together with the part before `///` in it.
    pub whole_call_ids: bool,
    /// Time for which the Call-ID of a finished call is remembered.
    pub deadcall_wait_ms: u64,

    /// Calls started per `rate_period_ms` (at least 0).
    pub rate: f64,
    /// Period of `rate` (at least 1).
    pub rate_period_ms: u64,
    /// Step of the hot keys that change the rate.
    pub rate_scale: f64,
    /// Added to `rate` every `rate_interval_ms`; 0 is no ramp.
    pub rate_increase: f64,
    /// Interval of the ramp (at least 1).
    pub rate_interval_ms: u64,
    /// Ceiling of the ramp.
    pub rate_max: Option<f64>,
    /// True if the run ends when the ramp passes `rate_max`.
    pub quit_at_rate_max: bool,
    /// The condition that stops the creation of calls.
    pub calls_max: CallLimit,
    /// The limit of open calls.
    pub concurrent_max: ConcurrencyLimit,
    /// Closed loop: this many calls are kept open and the rate is ignored (at least 1).
    pub users: Option<u64>,

    /// Longest wait in a `<recv>` without its own timeout.
    pub recv_timeout_ms: Option<u64>,
    /// Longest wait of a message for room to be sent, for a `<send>` without its own timeout.
    pub send_timeout_ms: Option<u64>,
    /// Time after which no more calls are started; open ones may end.
    pub duration_ms: Option<u64>,
    /// Longest wait for open calls once no new ones start; `None` for the default.
    pub drain_ms: Option<u64>,
    /// Time after which the run is stopped.
    pub timeout_ms: Option<u64>,
    /// True if a run that reaches `timeout_ms` counts as failed.
    pub timeout_error: bool,
    /// Wait before the first call.
    pub start_delay_ms: u64,
    /// Retransmission over UDP.
    pub retrans: RetransConfig,
    /// True if an ICMP error ends the call whose message it quotes; otherwise it is only counted.
    pub icmp_fails_calls: bool,
    /// Share of packets lost on purpose, in percent, on send and on receive.
    pub lost_percent: f64,

    /// Addresses and ports of media.
    pub media: MediaConfig,

    /// Refresh period of the screen.
    pub screen_period_ms: u64,
    /// True if the keyboard is not read.
    pub no_stdin: bool,
    /// The control socket.
    pub control_socket: ControlSocketConfig,
    /// Colours of the program's output.
    pub color: ColorChoice,
    /// The file for the summary; `None` for none.
    pub summary_json: Option<PathBuf>,
    /// Period of the progress line on stderr.
    pub stat_period_ms: Option<u64>,
    /// True if the report also ends with the machine-readable line of figures on a terminal.
    pub stat_line: bool,
    /// Traces and statistics files.
    pub trace: TraceConfig,
    /// Exports to other programs.
    pub export: ExportConfig,
    /// Conditions that decide about success.
    pub health: HealthGates,
    /// True if a run that the generator itself limited counts as failed.
    pub fail_if_limited: bool,
    /// True to show a dashboard.
    pub interactive: bool,
    /// True to detach from the terminal.
    pub background: bool,
    /// Least wait for a mandatory BYE without a timeout of its own, in milliseconds; used only with
    /// a default timeout.
    pub recv_bye_timeout_ms: Option<u64>,
    /// The watchdog, which ends a run whose workers stall.
    pub watchdog: Watchdog,

    /// Number of worker threads: as given, else one for each of `cpus`; `None` chooses it from the
    /// CPUs.
    pub workers: Option<usize>,
    /// CPUs to which the workers are pinned, one each, in this order; at least as many as
    /// `workers`. Empty leaves the choice to the data plane.
    pub cpus: Vec<usize>,
    /// I/O driver.
    pub io: IoChoice,
    /// Size of the call pool of the run; `None` derives it from the load.
    pub max_calls: Option<u64>,
    /// Seed of generated ids and of randomness; `None` for a random one.
    pub seed: Option<u64>,
    /// Longest time for which a worker lets events gather under load, in microseconds; 0 handles
    /// each at once.
    pub grain_us: u64,
    /// True if bursts may leave as UDP segmentation trains (GSO).
    pub gso: bool,
    /// True if bursts may arrive coalesced (GRO).
    pub gro: bool,

    /// The files that the run may access.
    pub access: Access,
    /// The API that a run at a terminal serves; `None` in the server, which has one API for all
    /// engines.
    pub api: Option<ApiConfig>,
    /// The reach of the run: the addresses that it may call.
    pub reach: Reach,
}

impl RunConfig {
    /// The destination of packets: `rsa` if given, else `remote`.
    pub fn next_hop(&self) -> Option<&HostPort> {
        self.rsa.as_ref().or(self.remote.as_ref())
    }
}

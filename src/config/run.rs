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

/// Whose defaults apply where the user says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// Started as `sipp` or `gossipper sipp`: SIPp's defaults, screens and exit codes.
    Sipp,
    /// Started as `gossipper`: a client without `-m` makes one call, and only the call pool
    /// bounds the number of open calls.
    Gossipper,
}

/// Where the scenario comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScenarioSource {
    /// A scenario that the program carries, by name (not yet looked up).
    Builtin(String),
    /// An XML file (not yet read).
    File(PathBuf),
}

/// Ends a run whose workers are kept from their work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watchdog {
    /// Whether it may end the run; stalls are counted in any case.
    pub is_on: bool,
    /// Stalls are forgotten when none has come for so long, in milliseconds.
    pub reset_ms: u64,
    /// From here on a stall is minor, in milliseconds.
    pub minor_ms: u64,
    /// From here on a stall is major, in milliseconds.
    pub major_ms: u64,
    /// More minor stalls end the run.
    pub minor_max: u64,
    /// More major stalls end the run.
    pub major_max: u64,
}

/// How instances that control calls together (3PCC) find each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThirdPartyConfig {
    /// There are two; one of them listens here.
    Pair(HostPort),
    /// There are several, which a file names.
    Named {
        /// This one's name.
        name: String,
        /// Whether it shall send the first command; `None` leaves that to the scenario.
        leads: Option<bool>,
        /// The file with all names and addresses (not yet read).
        file: PathBuf,
    },
}

/// How SIP messages travel.
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

/// Whom a transport of a name of its own is meant for (`sl`, `cl`, `cln`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportFor {
    /// Scenarios that make calls.
    Clients,
    /// Scenarios that answer calls.
    Servers,
}

/// What happens when a connection that we opened is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReconnectConfig {
    /// Attempts to open connections again; `None` is no limit.
    pub max: Option<u64>,
    /// Whether the calls on it fail; otherwise they go on with the new one.
    pub close_calls: bool,
    /// Wait before an attempt.
    pub sleep_ms: u64,
}

/// Versions of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.3 where the peer has it, else 1.2.
    #[default]
    Auto,
    /// TLS 1.2 only.
    V1_2,
    /// TLS 1.3 only.
    V1_3,
}

/// TLS, as far as the user has said something; the files are not read yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Our certificate.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// Authorities to verify the peer against.
    pub ca: Option<PathBuf>,
    /// Revoked certificates.
    pub crl: Option<PathBuf>,
    /// Versions to speak.
    pub version: TlsVersion,
    /// Whether peers are believed without looking.
    pub skip_verify: Option<bool>,
    /// Whether a client resumes earlier sessions.
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

    /// Whether each call has a socket or connection of its own.
    pub fn is_multi(self) -> bool {
        matches!(
            self,
            Self::UdpMulti | Self::TcpMulti | Self::TlsMulti | Self::WsMulti | Self::WssMulti
        )
    }

    /// Whether messages travel over connections.
    pub fn is_stream(self) -> bool {
        !matches!(self, Self::UdpMono | Self::UdpMulti | Self::UdpPerAddress)
    }

    /// Whether connections are TLS connections.
    pub fn uses_tls(self) -> bool {
        matches!(self, Self::TlsMono | Self::TlsMulti | Self::WssMono | Self::WssMulti)
    }

    /// Whether connections are WebSockets.
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::WsMono | Self::WsMulti | Self::WssMono | Self::WssMulti)
    }
}

/// When to stop creating calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallLimit {
    /// Never: until the run is stopped.
    Unlimited,
    /// After this many calls (at least 1).
    Count(u64),
    /// Nothing was said: one call for a client scenario, no limit for a server scenario.
    ClientDefault,
}

/// How many calls may be open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConcurrencyLimit {
    /// As many as the call pool holds.
    Pool,
    /// SIPp's rule: 3 x rate x duration / period, where duration is the longest of the scenario's
    /// pauses, the default pause and one second. Needs the scenario, so it is resolved with it.
    SippRule,
    /// This many (at least 1).
    Count(u64),
}

/// What is done without being asked by the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultBehaviors {
    /// End an aborted call with BYE or CANCEL.
    pub bye: bool,
    /// Abort a call on an unexpected message.
    pub abort_unexpected: bool,
    /// Answer PING requests.
    pub ping_reply: bool,
    /// Fail a call whose ACK carries another CSeq number than its INVITE.
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
    /// Whether anything is retransmitted.
    pub enabled: bool,
    /// Retransmissions of an INVITE before the call fails.
    pub invite_max: u32,
    /// Retransmissions of any other message before the call fails.
    pub non_invite_max: u32,
    /// Longest interval between retransmissions of a non-INVITE message.
    pub t2_ms: u64,
    /// How a received retransmission is recognised.
    pub check: RetransmissionCheck,
}

/// How a received retransmission is recognised.
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
    /// `[media_ip]`; the local SIP address where `None`.
    pub ip: Option<IpAddr>,
    /// First RTP port, also `[media_port]`.
    pub port_min: u16,
    /// Last RTP port; not below `port_min`.
    pub port_max: u16,
}

/// Conditions that alone decide whether the run succeeded, where at least one is set.
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
    /// Whether any gate is set.
    pub fn any(&self) -> bool {
        self.min_success_ratio.is_some()
            || self.max_failed_calls.is_some()
            || self.max_timeouts.is_some()
    }
}

/// Which I/O driver carries the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoChoice {
    /// io_uring, or system calls where the kernel or container forbids it.
    Auto,
    /// io_uring or nothing.
    Uring,
    /// epoll with `sendmmsg` and `recvmmsg`.
    Syscall,
}

/// The UDP socket through which a run can be controlled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlSocketConfig {
    /// Its address; all where `None`.
    pub ip: Option<Ipv4Addr>,
    /// Its port.
    pub port: ControlPort,
}

/// Which port the control socket takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlPort {
    /// There is no control socket.
    Closed,
    /// This one or none; 0 lets the kernel choose.
    Given(u16),
    /// The first free one of sixty from here on.
    From(u16),
}

/// When output is coloured.
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

/// One run, resolved and checked. Host names are not looked up yet, and nothing that depends on
/// the scenario (its role, its existence) is decided yet.
#[derive(Clone, Debug, PartialEq)]
pub struct RunConfig {
    /// Whose defaults and exit codes apply.
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
    /// Which injection files are indexed, by name and column.
    pub injection_indexes: Vec<(String, u16)>,
    /// The column of the default injection file, from 0, that says from where calls are made
    /// (`ui`).
    pub address_column: u16,
    /// Circuits that calls take.
    pub circuits: Option<TdmMap>,
    /// First, highest and step of `[dynamic_id]`.
    pub dynamic_ids: (u64, u64, u64),
    /// How Call-IDs look.
    pub call_ids: CallIds,
    /// Identities of built-in scenarios.
    pub trunk: Trunk,
    /// Whether scenarios may run shell commands.
    pub commands: bool,
    /// Keywords defined by the user, in order; a later one of the same name wins.
    pub keys: Vec<(String, String)>,
    /// Initial values of global variables, in order.
    pub sets: Vec<(String, String)>,
    /// The number of the first `[cseq]` that a call sends.
    pub base_cseq: u32,

    /// Transport of SIP messages.
    pub transport: Transport,
    /// Whom the name of the transport is meant for, if only for some.
    pub transport_for: Option<TransportFor>,
    /// TLS.
    pub tls: TlsOptions,
    /// What happens when a connection is lost.
    pub reconnect: ReconnectConfig,
    /// Network interface that sockets are bound to.
    pub device: Option<String>,
    /// Whether a message that a connection has no room for is only a warning.
    pub sendbuffer_warn: bool,
    /// Local address; chosen by the route to the peer where `None`.
    pub local_ip: Option<IpAddr>,
    /// Local SIP port: 0 lets the kernel choose; `None` tries 5060 to 5119, then lets the kernel
    /// choose. A port that was given is not replaced by another one.
    pub local_port: Option<u16>,
    /// `true` if sockets are bound to the local address even if `local_ip` does not give one.
    pub bind_local: bool,
    /// The peer that headers name (the bare word of the command line).
    pub remote: Option<HostPort>,
    /// Where packets really go, if not to `remote`.
    pub rsa: Option<HostPort>,
    /// Most sockets of a transport with a socket for each call; calls share them beyond that.
    pub max_sockets: u32,
    /// Send and receive buffer of each socket.
    pub socket_buffer_bytes: u32,
    /// Send and receive buffer of each connection; 0 leaves it to the kernel.
    pub stream_buffer_bytes: u32,
    /// Whether RLIMIT_NOFILE is left alone.
    pub skip_rlimit: bool,

    /// Length of a `<pause/>` that names none.
    pub pause_ms_default: u64,
    /// What is done without being asked by the scenario.
    pub default_behaviors: DefaultBehaviors,
    /// Whether INFO, NOTIFY, OPTIONS and UPDATE that the scenario does not expect get a 200.
    pub auto_answer: bool,
    /// Whether messages that arrive during a pause are dropped.
    pub pause_drops_messages: bool,
    /// Whether a Call-ID is compared with what stands before `///` in it.
    pub whole_call_ids: bool,
    /// How long the Call-ID of a finished call is remembered.
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
    /// Whether the run ends when the ramp passes `rate_max`.
    pub quit_at_rate_max: bool,
    /// When to stop creating calls.
    pub calls_max: CallLimit,
    /// How many calls may be open at once.
    pub concurrent_max: ConcurrencyLimit,
    /// Closed loop: this many calls are kept open and the rate is ignored (at least 1).
    pub users: Option<u64>,

    /// Longest wait in a `<recv>` without its own timeout.
    pub recv_timeout_ms: Option<u64>,
    /// Longest wait of a message for room to be sent, for a `<send>` without its own timeout.
    pub send_timeout_ms: Option<u64>,
    /// Start no more calls after this time; open ones may end.
    pub duration_ms: Option<u64>,
    /// Longest wait for open calls once no new ones start; the default where `None`.
    pub drain_ms: Option<u64>,
    /// Stop the run after this time.
    pub timeout_ms: Option<u64>,
    /// Whether a run that ran into `timeout_ms` failed.
    pub timeout_error: bool,
    /// Wait before the first call.
    pub start_delay_ms: u64,
    /// Retransmission over UDP.
    pub retrans: RetransConfig,
    /// An ICMP error ends the call whose message it quotes; otherwise it is only counted.
    pub icmp_fails_calls: bool,
    /// Share of packets lost on purpose, in percent, on send and on receive.
    pub lost_percent: f64,

    /// Addresses and ports of media.
    pub media: MediaConfig,

    /// Refresh period of the screen.
    pub screen_period_ms: u64,
    /// Whether the keyboard is left alone.
    pub no_stdin: bool,
    /// The control socket.
    pub control_socket: ControlSocketConfig,
    /// Colours of the program's output.
    pub color: ColorChoice,
    /// Where the summary goes.
    pub summary_json: Option<PathBuf>,
    /// Period of the progress line on stderr.
    pub stat_period_ms: Option<u64>,
    /// `true` if the line of figures for programs ends the report also on a terminal.
    pub stat_line: bool,
    /// Traces and statistics files.
    pub trace: TraceConfig,
    /// What other programs are told.
    pub export: ExportConfig,
    /// Conditions that decide about success.
    pub health: HealthGates,
    /// Whether a run that the generator itself limited failed.
    pub fail_if_limited: bool,
    /// Show a dashboard.
    pub interactive: bool,
    /// Detach from the terminal.
    pub background: bool,
    /// Least wait for a mandatory BYE without a timeout of its own where there is a default one, in
    /// milliseconds.
    pub recv_bye_timeout_ms: Option<u64>,
    /// What ends a run whose workers stall.
    pub watchdog: Watchdog,

    /// Worker threads: as given, else one for each of `cpus`; where `None`, chosen from the CPUs.
    pub workers: Option<usize>,
    /// CPUs to pin the workers to, one each, in this order, at least as many as `workers`; empty
    /// leaves the choice to the data plane.
    pub cpus: Vec<usize>,
    /// I/O driver.
    pub io: IoChoice,
    /// Size of the call pool of the run; derived from the load where `None`.
    pub max_calls: Option<u64>,
    /// Seed of generated ids and of randomness; a random one where `None`.
    pub seed: Option<u64>,
    /// Longest time that a worker lets events gather when they come thick and fast, in
    /// microseconds; 0 handles each at once.
    pub grain_us: u64,
    /// Whether bursts may leave as UDP segmentation trains.
    pub gso: bool,
    /// Whether bursts may arrive coalesced.
    pub gro: bool,

    /// The access to files that the run has.
    pub access: Access,
    /// The API that a run at a terminal serves; none of an engine of the server, which has one for
    /// all.
    pub api: Option<ApiConfig>,
    /// The reach of the run: whom it may call.
    pub reach: Reach,
}

impl RunConfig {
    /// Where packets go: `rsa` if given, else `remote`.
    pub fn next_hop(&self) -> Option<&HostPort> {
        self.rsa.as_ref().or(self.remote.as_ref())
    }
}

//! The types of a run's settings that are no plain numbers or texts.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::table::RunConfig;
use super::value::HostPort;

/// The program whose defaults apply to settings that the user did not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// Started as `sipp` or `gossipper sipp`: SIPp's defaults, screens and exit codes.
    Sipp,
    /// Started as `gossipper`: a client without `-m` makes one call, and only the call pool limits
    /// the number of open calls.
    Gossipper,
}

/// The highest rate, in calls per period of whoever gives it (`-rp`; a second over the API): beyond
/// any machine, and far from where the schedule's arithmetic loses precision.
pub const RATE_MAX: f64 = 1e9;

/// The source of the scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

/// A place where a run listens. Fields mean what those of [`RunConfig`] mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerSpec {
    /// The transport of SIP messages.
    pub transport: Transport,
    /// The address; `None` for all addresses, or that of the route.
    pub local_ip: Option<IpAddr>,
    /// The port; 0 lets the kernel choose.
    pub local_port: Option<u16>,
}

/// The transport of SIP messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    pub fails_calls: bool,
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

/// Addresses and ports of media.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MediaConfig {
    /// `[media_ip]`; `None` for the local SIP address.
    pub ip: Option<IpAddr>,
    /// First RTP port, also `[media_port]`.
    pub port_min: u16,
    /// Last RTP port; not below `port_min`.
    pub port_max: u16,
    /// True if all streams of a worker share a port.
    pub is_shared: bool,
    /// Time between RTCP reports in milliseconds; 0 is never, `None` is that of RFC 3550.
    pub rtcp_interval_ms: Option<u64>,
    /// Payload type of sources that neither scenario nor peer give one.
    pub payload_type: Option<u8>,
    /// Share of bad packets from which the check of an audio pattern fails; beyond 1 none fails.
    pub audio_tolerance: f64,
    /// The same for video.
    pub video_tolerance: f64,
    /// True if computed audio is marked.
    pub watermarks: bool,
    /// True if calls fail whose peer asks for SRTP.
    pub rejects_srtp: bool,
    /// True if an option was given that only SIPp's threads need.
    pub has_ignored: bool,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            ip: None,
            port_min: 6000,
            port_max: u16::MAX,
            is_shared: false,
            rtcp_interval_ms: None,
            payload_type: None,
            audio_tolerance: 1.0,
            video_tolerance: 1.0,
            watermarks: true,
            rejects_srtp: false,
            has_ignored: false,
        }
    }
}

/// The relay that media goes through (TURN).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TurnConfig {
    /// The server; `None` for no relay (not yet resolved).
    pub server: Option<HostPort>,
    /// User name.
    pub user: Option<String>,
    /// Password of the user.
    pub password: Option<String>,
    /// Realm; `None` takes that of the server.
    pub realm: Option<String>,
    /// The secret that the server shares with us, from which names and passwords follow.
    pub secret: Option<String>,
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
    /// Most calls with RTP in which nobody heard anybody.
    pub max_silent_calls: StandingGate,
    /// Most calls with RTP of which nobody knows who heard whom.
    pub max_unknown_calls: StandingGate,
    /// Most calls in which one side heard another call.
    pub max_crosstalk_calls: StandingGate,
    /// Most loss that peers may report of what we send, 0..=1.
    pub max_rtcp_fraction_lost: Option<f64>,
    /// Most jitter that peers may report, in units of the RTP clock.
    pub max_rtcp_jitter_ts: Option<u64>,
    /// Least RTP packets received in all.
    pub min_rtp_packets_recv: Option<u64>,
    /// Least RTP packets received in each call with media.
    pub min_rtp_packets_recv_per_call: Option<u64>,
    /// Most loss of what peers send, 0..=1.
    pub max_rtp_loss: Option<f64>,
    /// Most jitter of a received stream, in milliseconds.
    pub max_rtp_jitter_ms: Option<f64>,
    /// Least estimated MOS of a received stream, 1..=5.
    pub min_mos: Option<f64>,
}

/// A gate for a number of calls that nobody has to set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StandingGate {
    /// Not a single call, once a call has sent RTP. It never lets a run pass that fails otherwise.
    #[default]
    Standing,
    /// No gate.
    Off,
    /// This many calls, as the user set it.
    Most(u64),
}

impl HealthGates {
    /// Tells whether the user has set any gate.
    pub fn any(&self) -> bool {
        let unless_set = |gate| match gate {
            StandingGate::Most(_) => gate,
            StandingGate::Standing | StandingGate::Off => StandingGate::Standing,
        };
        let set = Self {
            max_silent_calls: unless_set(self.max_silent_calls),
            max_unknown_calls: unless_set(self.max_unknown_calls),
            max_crosstalk_calls: unless_set(self.max_crosstalk_calls),
            ..*self
        };
        set != Self::default()
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

impl RunConfig {
    /// The destination of packets: `rsa` if given, else `remote`.
    pub fn next_hop(&self) -> Option<&HostPort> {
        self.rsa.as_ref().or(self.remote.as_ref())
    }
}

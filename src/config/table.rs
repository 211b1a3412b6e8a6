//! The table of a run's settings: one row for each, from which [`RunDraft`], [`RunConfig`] and the
//! step between them are made.
//!
//! Most settings are the same in both: a row of `same` has name, type and default, and an option
//! needs no more here. A default that depends on another setting makes a row of `decided`. The
//! draft has the first type, usually an `Option`, and a function of the whole draft gives the
//! second one. Rows of `given` are in drafts only, rows of `derived` in configurations only. The
//! rules of calls have a table of their own, `rules.rs`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use super::data::{CallIds, TdmMap, Trunk};
use super::draft::{self, ReconnectDraft, WatchdogDraft};
use super::export::ExportConfig;
use super::rtp_send::{RtpSend, RtpSendDraft};
use super::rules::CallRules;
use super::run::{
    CallLimit, ColorChoice, ConcurrencyLimit, ControlSocketConfig, Flavor, HealthGates, IoChoice,
    MediaConfig, ReconnectConfig, ScenarioSource, ThirdPartyConfig, TlsOptions, Transport,
    TransportFor, TurnConfig, Watchdog,
};
use super::server::{ApiConfig, ProcessDraft, ProfileDraft};
use super::settings::run_settings;
use super::targets::Reach;
use super::trace::TraceConfig;
use super::value::HostPort;
use crate::files::Access;

run_settings! {
    same {
        // Scenarios and their data.
        /// `[service]`: the user part of the request URI.
        service: String = "service".to_owned(),
        /// Password of digest credentials.
        auth_password: String = "password".to_owned(),
        /// Digest URI instead of the peer's address.
        auth_uri: Option<String> = None,
        /// Injection files, the default one first (not yet read).
        injection: Vec<PathBuf> = Vec::new(),
        /// The default injection file of the receiving scenario.
        injection_receiving: Option<PathBuf> = None,
        /// The injection files that are indexed, by name and column.
        injection_indexes: Vec<(String, u16)> = Vec::new(),
        /// Circuits that calls take.
        circuits: Option<TdmMap> = None,
        /// Identities of built-in scenarios.
        trunk: Trunk = Trunk::default(),
        /// True if scenarios may run shell commands.
        commands: bool = true,
        /// Keywords defined by the user, in order; a later one of the same name wins.
        keys: Vec<(String, String)> = Vec::new(),
        /// The rules that calls keep to.
        rules: CallRules = CallRules::default(),

        // The network.
        /// The kind of scenario that the transport's name is meant for, if it is restricted.
        transport_for: Option<TransportFor> = None,
        /// TLS.
        tls: TlsOptions = TlsOptions::default(),
        /// Network interface that sockets are bound to.
        device: Option<String> = None,
        /// Local address; `None` chooses it by the route to the peer.
        local_ip: Option<IpAddr> = None,
        /// Local SIP port: 0 lets the kernel choose; `None` tries 5060 to 5119, then lets the
        /// kernel choose. A given port is not replaced by another one.
        local_port: Option<u16> = None,
        /// True if sockets are bound to the local address even if `local_ip` does not give one.
        bind_local: bool = false,
        /// The peer in headers (the bare word of the command line).
        remote: Option<HostPort> = None,
        /// Destination of packets, if it is not `remote`.
        rsa: Option<HostPort> = None,
        /// Most sockets of a transport with a socket for each call; calls share them beyond that.
        max_sockets: u32 = 50_000,
        /// True if RLIMIT_NOFILE is left unchanged.
        skip_rlimit: bool = false,
        /// Addresses and ports of media.
        media: MediaConfig = MediaConfig::default(),
        /// The relay of media.
        turn: TurnConfig = TurnConfig::default(),

        // Load and time.
        /// Period of `rate` (at least 1).
        rate_period_ms: u64 = 1000,
        /// Step of the hot keys that change the rate.
        rate_scale: f64 = 1.0,
        /// Added to `rate` every `rate_interval_ms`; 0 is no ramp.
        rate_increase: f64 = 0.0,
        /// Ceiling of the ramp.
        rate_max: Option<f64> = None,
        /// True if the run ends when the ramp passes `rate_max`.
        quit_at_rate_max: bool = true,
        /// Closed loop: this many calls are kept open and the rate is ignored (at least 1).
        users: Option<u64> = None,
        /// Time after which no more calls are started; open ones may end.
        duration_ms: Option<u64> = None,
        /// Longest wait for open calls once no new ones start; `None` for the default.
        drain_ms: Option<u64> = None,
        /// Time after which the run is stopped.
        timeout_ms: Option<u64> = None,
        /// True if a run that reaches `timeout_ms` counts as failed.
        timeout_error: bool = false,
        /// Wait before the first call.
        start_delay_ms: u64 = 0,

        // The terminal, files and reports.
        /// Refresh period of the screen.
        screen_period_ms: u64 = 1000,
        /// True if the keyboard is not read.
        no_stdin: bool = false,
        /// Colours of the program's output.
        color: ColorChoice = ColorChoice::Auto,
        /// True if a dashboard is shown.
        interactive: bool = false,
        /// True if the run detaches from the terminal.
        background: bool = false,
        /// The file for the summary; `None` for none.
        summary_json: Option<PathBuf> = None,
        /// The file for the summary as a page to read; `None` for none.
        summary_html: Option<PathBuf> = None,
        /// The command line for reports, without secrets; `None` if there was none.
        command: Option<String> = None,
        /// Period of the progress line on stderr.
        stat_period_ms: Option<u64> = None,
        /// True if the report also ends with the machine-readable line of figures on a terminal.
        stat_line: bool = false,
        /// Traces and statistics files.
        trace: TraceConfig = TraceConfig::default(),
        /// Exports to other programs.
        export: ExportConfig = ExportConfig::default(),
        /// Conditions that decide about success.
        health: HealthGates = HealthGates::default(),
        /// True if a run that the generator itself limited counts as failed.
        fail_if_limited: bool = false,

        // The machine.
        /// CPUs to which the workers are pinned, one each, in this order; at least as many as
        /// `workers`. Empty leaves the choice to the data plane.
        cpus: Vec<usize> = Vec::new(),
        /// I/O driver.
        io: IoChoice = IoChoice::Auto,
        /// Size of the call pool of the run; `None` derives it from the load.
        pool_calls: Option<u64> = None,
        /// Seed of generated ids and of randomness; `None` for a random one.
        seed: Option<u64> = None,
        /// Longest time for which a worker lets events gather under load, in microseconds; 0
        /// handles each at once. The default is a thousand wakes a second, as SIPp's tick. A call
        /// starts in the nearest one, at most half a millisecond from its planned time. With 1,500
        /// µs the 99th percentile exceeds its millisecond at full load.
        grain_us: u64 = 1000,
        /// True if bursts may leave as UDP segmentation trains (GSO).
        gso: bool = true,
        /// True if bursts may arrive coalesced (GRO).
        gro: bool = true,
    }
    decided {
        /// User name of digest credentials; that of `service` if none was given.
        auth_user: Option<String> => String = draft::auth_user,
        /// The column of the default injection file, from 0, that gives the source address of a
        /// call (`ui`).
        address_column: Option<u16> => u16 = |draft, _| draft.address_column.unwrap_or(0),
        /// The form of Call-IDs.
        call_ids: Option<CallIds> => CallIds = draft::call_ids,
        /// The instances that control calls together with this one.
        third_party: Option<HostPort> => Option<ThirdPartyConfig> = draft::third_party,
        /// Transport of SIP messages.
        transport: Option<Transport> => Transport = draft::transport,
        /// Streams of RTP without SIP.
        rtp_send: RtpSendDraft => Option<RtpSend> = |draft, _| draft.rtp_send.resolve(),
        /// The reaction to the loss of a connection.
        reconnect: ReconnectDraft => ReconnectConfig = |draft, _| draft.reconnect.resolve(),
        /// Send and receive buffer of each socket.
        socket_buffer_bytes: Option<u32> => u32 = draft::socket_buffer_bytes,
        /// Calls started per `rate_period_ms` (at least 0).
        rate: Option<f64> => f64 = |draft, _| draft.rate.unwrap_or(draft.rate_default()),
        /// Interval of the ramp (at least 1).
        rate_interval_ms: Option<u64> => u64 = draft::rate_interval_ms,
        /// The condition that stops the creation of calls.
        calls_total: Option<u64> => CallLimit = draft::calls_total,
        /// The limit of open calls.
        concurrent_max: Option<u64> => ConcurrencyLimit = draft::concurrent_max,
        /// The watchdog, which ends a run whose workers stall.
        watchdog: WatchdogDraft => Watchdog = |draft, flavor| draft.watchdog.resolve(flavor),
        /// Number of worker threads: as given, else one for each of `cpus`; `None` chooses it from
        /// the CPUs.
        workers: Option<usize> => Option<usize> = draft::workers,
    }
    given {
        /// The scenario as a file, or by name.
        scenario_file: Option<PathBuf>,
        scenario_name: Option<String>,
        /// The scenario of calls that arrive, as a file, or by name.
        receiving_file: Option<PathBuf>,
        receiving_name: Option<String>,
        /// The scenario of messages of unknown calls, as a file, or by name.
        out_of_call_file: Option<PathBuf>,
        out_of_call_name: Option<String>,
        /// The name of this instance, if it sends the first command.
        master: Option<String>,
        /// The name of an instance that does not lead.
        slave: Option<String>,
        /// The name of an instance whose scenario says if it leads.
        instance_name: Option<String>,
        /// The file with the names and addresses of all instances.
        instances_file: Option<PathBuf>,
        /// The form of Call-IDs.
        call_id_format: Option<String>,
        /// True if an ICMP error ends the call whose message it quotes; otherwise it is only
        /// counted.
        icmp_fails_calls: Option<bool>,
        control_ip: Option<Ipv4Addr>,
        control_port: Option<u16>,
        /// True if an option of SIPp's scheduler was given; this program has no such scheduler.
        tunes_scheduler: bool,
        /// Settings of the process, for a run at a terminal; readers of a server's configuration
        /// remove them first.
        process: ProcessDraft,
        /// Settings of profiles, which are not part of a run either.
        profiles: ProfileDraft,
    }
    derived {
        /// The program whose defaults and exit codes apply.
        flavor: Flavor = |_, flavor| flavor,
        /// Oddities that the user should read before the run, one sentence each.
        notices: Vec<String> = |draft, _| draft.notices(),
        /// Scenario to run.
        scenario: ScenarioSource = draft::scenario,
        /// Scenario of calls that arrive while `scenario` makes calls.
        receiving: Option<ScenarioSource> = draft::receiving,
        /// Scenario of messages of unknown calls while `scenario` makes calls.
        out_of_call: Option<ScenarioSource> = draft::out_of_call,
        /// Send and receive buffer of each connection; 0 leaves it to the kernel, which grows them
        /// by itself, beyond SIPp's 64 KiB.
        stream_buffer_bytes: u32 = |draft, _| draft.socket_buffer_bytes.unwrap_or(0),
        /// The control socket.
        control_socket: ControlSocketConfig = draft::control_socket,
        /// The API that a run at a terminal serves; `None` in the server, which has one API for all
        /// engines.
        api: Option<ApiConfig> = |_, _| None,
        /// The files that the run may access.
        access: Access = |_, _| Access::default(),
        /// The reach of the run: the addresses that it may call.
        reach: Reach = |_, _| Reach::default(),
    }
}

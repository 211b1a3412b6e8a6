//! A run's settings as its sources gave them so far, and the step to a `RunConfig`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use super::data::{CallIds, TdmMap, Trunk};
use super::error::ConfigError;
use super::export::{EventLogConfig, ExportConfig};
use super::run::{
    CallLimit, ColorChoice, ConcurrencyLimit, ControlPort, ControlSocketConfig, DefaultBehaviors,
    Flavor, HealthGates, IoChoice, MediaConfig, ReconnectConfig, RetransConfig,
    RetransmissionCheck, RunConfig, ScenarioSource, ThirdPartyConfig, TlsOptions, Transport,
    TransportFor, Watchdog,
};
use super::server::{ProcessDraft, ProfileDraft};
use super::targets::Reach;
use super::trace::TraceConfig;
use super::value::HostPort;
use crate::files::Access;

/// The given settings of a run: `None` or `false` means that none was given, and a later source
/// overwrites an earlier one. A field has the meaning of the field of the same name in
/// [`RunConfig`]; a 0 that switches something off is kept as given.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)] // The fields are those of `RunConfig`, documented there.
pub struct RunDraft {
    pub scenario_file: Option<PathBuf>,
    pub scenario_name: Option<String>,
    pub receiving_file: Option<PathBuf>,
    pub receiving_name: Option<String>,
    pub out_of_call_file: Option<PathBuf>,
    pub out_of_call_name: Option<String>,
    pub third_party: Option<HostPort>,
    pub master: Option<String>,
    pub slave: Option<String>,
    pub instance_name: Option<String>,
    pub instances_file: Option<PathBuf>,
    pub service: Option<String>,
    pub auth_user: Option<String>,
    pub auth_password: Option<String>,
    pub auth_uri: Option<String>,
    pub injection: Vec<PathBuf>,
    pub injection_receiving: Option<PathBuf>,
    pub injection_indexes: Vec<(String, u16)>,
    pub address_column: Option<u16>,
    pub circuits: Option<TdmMap>,
    pub dynamic_start: Option<u64>,
    pub dynamic_max: Option<u64>,
    pub dynamic_step: Option<u64>,
    pub call_id_format: Option<String>,
    pub call_ids: Option<CallIds>,
    pub trunk: Trunk,
    pub no_commands: bool,
    pub keys: Vec<(String, String)>,
    pub sets: Vec<(String, String)>,
    pub base_cseq: Option<u32>,
    pub transport: Option<Transport>,
    pub transport_for: Option<TransportFor>,
    pub tls: TlsOptions,
    pub reconnect_max: Option<u64>,
    pub reconnect_unlimited: bool,
    pub reconnect_close: Option<bool>,
    pub reconnect_sleep_ms: Option<u64>,
    pub device: Option<String>,
    pub sendbuffer_warn: bool,
    pub local_ip: Option<IpAddr>,
    pub local_port: Option<u16>,
    pub bind_local: bool,
    pub remote: Option<HostPort>,
    pub rsa: Option<HostPort>,
    pub max_sockets: Option<u32>,
    pub socket_buffer_bytes: Option<u32>,
    pub skip_rlimit: bool,
    pub pause_ms_default: Option<u64>,
    pub default_behaviors: Option<DefaultBehaviors>,
    pub auto_answer: bool,
    pub pause_drops_messages: bool,
    pub whole_call_ids: bool,
    pub deadcall_wait_ms: Option<u64>,
    pub rate: Option<f64>,
    pub rate_period_ms: Option<u64>,
    pub rate_scale: Option<f64>,
    pub rate_increase: Option<f64>,
    pub rate_interval_ms: Option<u64>,
    pub rate_max: Option<f64>,
    pub no_rate_quit: bool,
    pub calls_max: Option<u64>,
    pub concurrent_max: Option<u64>,
    pub users: Option<u64>,
    pub recv_timeout_ms: Option<u64>,
    pub send_timeout_ms: Option<u64>,
    pub duration_ms: Option<u64>,
    pub drain_ms: Option<u64>,
    pub timeout_ms: Option<u64>,
    pub timeout_error: bool,
    pub start_delay_ms: Option<u64>,
    pub no_retrans: bool,
    pub retrans_invite_max: Option<u32>,
    pub retrans_non_invite_max: Option<u32>,
    pub t2_ms: Option<u64>,
    pub retrans_check: Option<RetransmissionCheck>,
    pub icmp_fails_calls: Option<bool>,
    pub lost_percent: Option<f64>,
    pub media_ip: Option<IpAddr>,
    pub media_port_min: Option<u16>,
    pub media_port_max: Option<u16>,
    pub screen_period_ms: Option<u64>,
    pub no_stdin: bool,
    pub control_ip: Option<Ipv4Addr>,
    pub control_port: Option<u16>,
    pub color: Option<ColorChoice>,
    pub summary_json: Option<PathBuf>,
    pub stat_period_ms: Option<u64>,
    pub stat_line: bool,
    pub trace: TraceConfig,
    pub export: ExportConfig,
    pub health: HealthGates,
    pub fail_if_limited: bool,
    pub background: bool,
    pub interactive: bool,
    pub tunes_scheduler: bool,
    pub recv_bye_timeout_ms: Option<u64>,
    pub watchdog: WatchdogDraft,
    pub workers: Option<usize>,
    pub cpus: Vec<usize>,
    pub io: Option<IoChoice>,
    pub max_calls: Option<u64>,
    pub seed: Option<u64>,
    pub grain_us: Option<u64>,
    pub no_gso: bool,
    pub no_gro: bool,
    /// Settings of the process, for a run at a terminal; readers of a server's configuration remove
    /// them first.
    pub process: ProcessDraft,
    /// Settings of profiles, which are not part of a run either.
    pub profiles: ProfileDraft,
}

impl RunDraft {
    /// Applies the defaults of `flavor` and checks that no settings contradict each other.
    pub fn resolve(mut self, flavor: Flavor) -> Result<RunConfig, ConfigError> {
        self.check()?;
        let api = std::mem::take(&mut self.process).embedded_api()?;
        let notices = self.notices();
        let third_party = self.third_party_config();
        let service = self.service.unwrap_or_else(|| "service".to_owned());
        let source = |file: Option<PathBuf>, name: Option<String>| {
            file.map(ScenarioSource::File).or(name.map(ScenarioSource::Builtin))
        };
        let scenario = source(self.scenario_file, self.scenario_name)
            .unwrap_or_else(|| ScenarioSource::Builtin("uac".to_owned()));
        let calls_max = match (self.calls_max, flavor) {
            (Some(0), _) | (None, Flavor::Sipp) => CallLimit::Unlimited,
            (Some(count), _) => CallLimit::Count(count),
            // A user who sets a duration does not want a single call.
            (None, Flavor::Gossipper) if nonzero(self.duration_ms).is_some() => {
                CallLimit::Unlimited
            }
            (None, Flavor::Gossipper) => CallLimit::ClientDefault,
        };
        let concurrent_max = match (self.concurrent_max, self.users, flavor) {
            (Some(count), ..) => ConcurrencyLimit::Count(count),
            (None, None, Flavor::Sipp) => ConcurrencyLimit::SippRule,
            (None, ..) => ConcurrencyLimit::Pool,
        };
        Ok(RunConfig {
            flavor,
            notices,
            scenario,
            receiving: source(self.receiving_file, self.receiving_name),
            out_of_call: source(self.out_of_call_file, self.out_of_call_name),
            third_party,
            auth_user: self.auth_user.unwrap_or_else(|| service.clone()),
            service,
            auth_password: self.auth_password.unwrap_or_else(|| "password".to_owned()),
            auth_uri: self.auth_uri,
            injection: self.injection,
            injection_receiving: self.injection_receiving,
            injection_indexes: self.injection_indexes,
            address_column: self.address_column.unwrap_or(0),
            circuits: self.circuits,
            dynamic_ids: (
                self.dynamic_start.unwrap_or(10_000),
                self.dynamic_max.unwrap_or(12_000),
                self.dynamic_step.unwrap_or(4),
            ),
            call_ids: match (self.call_id_format, self.call_ids) {
                (Some(format), None | Some(CallIds::Own | CallIds::Format(_))) => {
                    CallIds::Format(format)
                }
                (_, kind) => kind.unwrap_or_default(),
            },
            trunk: self.trunk,
            commands: !self.no_commands,
            keys: self.keys,
            sets: self.sets,
            base_cseq: self.base_cseq.unwrap_or(1),
            transport: self.transport.unwrap_or(Transport::UdpMono),
            transport_for: self.transport_for,
            tls: self.tls,
            reconnect: ReconnectConfig {
                max: match self.reconnect_unlimited {
                    true => None,
                    false => Some(self.reconnect_max.unwrap_or(0)),
                },
                close_calls: self.reconnect_close.unwrap_or(true),
                sleep_ms: self.reconnect_sleep_ms.unwrap_or(1000),
            },
            device: self.device,
            sendbuffer_warn: self.sendbuffer_warn,
            // The kernel grows the buffers of connections by itself, beyond SIPp's 64 KiB.
            stream_buffer_bytes: self.socket_buffer_bytes.unwrap_or(0),
            local_ip: self.local_ip,
            local_port: self.local_port,
            bind_local: self.bind_local,
            remote: self.remote,
            rsa: self.rsa,
            max_sockets: self.max_sockets.unwrap_or(50_000),
            socket_buffer_bytes: self.socket_buffer_bytes.unwrap_or(SOCKET_BUFFER_BYTES),
            skip_rlimit: self.skip_rlimit,
            pause_ms_default: self.pause_ms_default.unwrap_or(0),
            default_behaviors: self.default_behaviors.unwrap_or(DefaultBehaviors::ALL),
            auto_answer: self.auto_answer,
            pause_drops_messages: self.pause_drops_messages,
            whole_call_ids: self.whole_call_ids,
            deadcall_wait_ms: self.deadcall_wait_ms.unwrap_or(33_000),
            rate: self.rate.unwrap_or(RATE_DEFAULT),
            rate_period_ms: self.rate_period_ms.unwrap_or(1000),
            rate_scale: self.rate_scale.unwrap_or(1.0),
            rate_increase: self.rate_increase.unwrap_or(0.0),
            rate_interval_ms: self.rate_interval_ms.unwrap_or(self.trace.stat_period_ms),
            rate_max: nonzero_rate(self.rate_max),
            quit_at_rate_max: !self.no_rate_quit,
            calls_max,
            concurrent_max,
            users: self.users,
            recv_timeout_ms: nonzero(self.recv_timeout_ms),
            send_timeout_ms: nonzero(self.send_timeout_ms),
            duration_ms: nonzero(self.duration_ms),
            drain_ms: self.drain_ms,
            timeout_ms: nonzero(self.timeout_ms),
            timeout_error: self.timeout_error,
            start_delay_ms: self.start_delay_ms.unwrap_or(0),
            retrans: RetransConfig {
                enabled: !self.no_retrans,
                invite_max: self.retrans_invite_max.unwrap_or(5),
                non_invite_max: self.retrans_non_invite_max.unwrap_or(9),
                t2_ms: self.t2_ms.unwrap_or(4000),
                check: self.retrans_check.unwrap_or(RetransmissionCheck::Full),
            },
            // RFC 3261 section 18.4 treats it as a failure of the transaction. SIPp does not notice
            // it.
            icmp_fails_calls: self.icmp_fails_calls.unwrap_or(flavor == Flavor::Gossipper),
            lost_percent: self.lost_percent.unwrap_or(0.0),
            media: MediaConfig {
                ip: self.media_ip,
                port_min: self.media_port_min.unwrap_or(RTP_PORT_MIN_DEFAULT),
                port_max: self.media_port_max.unwrap_or(u16::MAX),
            },
            screen_period_ms: self.screen_period_ms.unwrap_or(1000),
            no_stdin: self.no_stdin,
            control_socket: ControlSocketConfig {
                ip: self.control_ip,
                port: match (self.control_port, self.control_ip, flavor) {
                    (Some(port), ..) => ControlPort::Given(port),
                    (None, None, Flavor::Gossipper) => ControlPort::Closed,
                    (None, ..) => ControlPort::From(CONTROL_PORT_DEFAULT),
                },
            },
            color: self.color.unwrap_or_default(),
            summary_json: self.summary_json,
            stat_period_ms: nonzero(self.stat_period_ms),
            stat_line: self.stat_line,
            trace: self.trace,
            export: self.export,
            health: self.health,
            fail_if_limited: self.fail_if_limited,
            background: self.background,
            interactive: self.interactive,
            recv_bye_timeout_ms: nonzero(self.recv_bye_timeout_ms),
            watchdog: self.watchdog.resolve(flavor),
            workers: self.workers.or(Some(self.cpus.len()).filter(|&cpus| cpus > 0)),
            cpus: self.cpus,
            io: self.io.unwrap_or(IoChoice::Auto),
            max_calls: self.max_calls,
            seed: self.seed,
            grain_us: self.grain_us.unwrap_or(GRAIN_US_DEFAULT),
            gso: !self.no_gso,
            gro: !self.no_gro,
            access: Access::default(),
            api,
            reach: Reach::default(),
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.check_profiles()?;
        self.check_exclusions()?;
        self.check_tls()?;
        self.check_pool()?;
        if let Some(rate_max) = nonzero_rate(self.rate_max) {
            let rate = self.rate.unwrap_or(RATE_DEFAULT);
            if rate_max < rate {
                return Err(ConfigError::RateMaxBelowRate { rate, rate_max });
            }
        }
        let min = self.media_port_min.unwrap_or(RTP_PORT_MIN_DEFAULT);
        let max = self.media_port_max.unwrap_or(u16::MAX);
        if min > max {
            return Err(ConfigError::RtpPortsReversed { min, max });
        }
        if let (Some(workers), cpus @ 1..) = (self.workers, self.cpus.len())
            && workers > cpus
        {
            return Err(ConfigError::TooFewCpus { cpus, workers });
        }
        let next_hop = self.rsa.as_ref().or(self.remote.as_ref());
        if let (Some(local), Some(remote)) = (self.local_ip, next_hop)
            && remote.ip().is_some_and(|ip| ip.is_ipv4() != local.is_ipv4())
        {
            return Err(ConfigError::AddressFamily { local, remote: remote.clone() });
        }
        Ok(())
    }

    fn check_profiles(&self) -> Result<(), ConfigError> {
        let ProfileDraft { file, alias, list } = &self.profiles;
        let needs = |option, needed, why| Err(ConfigError::Needs { option, needed, why });
        match (file.is_some(), alias.is_some(), *list) {
            (_, true, true) => {
                let why = "list the names, or run one of them";
                Err(ConfigError::Exclusive { first: "run-alias", second: "list-aliases", why })
            }
            (false, true, _) => needs("run-alias", "config FILE", "the profile is in that file"),
            (false, _, true) => {
                needs("list-aliases", "config FILE", "the profiles are in that file")
            }
            (true, false, false) => {
                let why = "choose one of its profiles; to start a server with this configuration, \
                           use: gossipper server -config FILE";
                needs("config", "run-alias NAME or -list-aliases", why)
            }
            _ => Ok(()),
        }
    }

    fn check_tls(&self) -> Result<(), ConfigError> {
        if self.tls.ca.is_some() {
            return Ok(());
        }
        if self.tls.crl.is_some() {
            return Err(ConfigError::NeedsAuthorities { option: "tls_crl FILE" });
        }
        if self.tls.skip_verify == Some(false) {
            return Err(ConfigError::NeedsAuthorities { option: "tls_skip_verify false" });
        }
        Ok(())
    }

    fn check_exclusions(&self) -> Result<(), ConfigError> {
        let exclusive = |first, second, why| Err(ConfigError::Exclusive { first, second, why });
        if self.scenario_file.is_some() && self.scenario_name.is_some() {
            return exclusive("sf", "sn", "a run has one scenario; give a file or a name");
        }
        if self.receiving_file.is_some() && self.receiving_name.is_some() {
            return exclusive(
                "rxsf",
                "rxrn",
                "only one scenario can answer calls; give a file or a name",
            );
        }
        if self.out_of_call_file.is_some() && self.out_of_call_name.is_some() {
            return exclusive("oocsf", "oocsn", "give a file or a name");
        }
        self.check_third_party()?;
        let per_address = self.transport == Some(Transport::UdpPerAddress);
        if per_address && self.injection.is_empty() {
            let why = "it opens a socket for each address in a column of that file";
            return Err(ConfigError::Needs { option: "t ui", needed: "inf FILE", why });
        }
        if self.address_column.is_some() && !per_address {
            let why = "only that transport takes addresses from a file";
            return Err(ConfigError::Needs { option: "ip_field", needed: "t ui", why });
        }
        let answers = self.receiving_file.is_some() || self.receiving_name.is_some();
        if answers && (self.out_of_call_file.is_some() || self.out_of_call_name.is_some()) {
            let why = "-rxsf answers every incoming call, so no message is out of call";
            return exclusive("rxsf", "oocsf", why);
        }
        if self.trace.ringbuffer_size > 0 && self.trace.max_log_size > 0 {
            let why = "a full file is either renamed or closed; drop one of them";
            return exclusive("ringbuffer_size", "max_log_size", why);
        }
        if self.users.is_none() {
            return Ok(());
        }
        if self.concurrent_max.is_some() {
            return exclusive("users", "l", "-users already sets how many calls are open; drop -l");
        }
        let no_rate =
            "-users starts a call when another one ends and so has no rate; drop one of them";
        if self.rate_increase.is_some_and(|step| step > 0.0) {
            return exclusive("users", "rate_increase", no_rate);
        }
        if nonzero_rate(self.rate_max).is_some() {
            return exclusive("users", "rate_max", no_rate);
        }
        Ok(())
    }

    fn check_third_party(&self) -> Result<(), ConfigError> {
        let names = [
            ("3pcc", self.third_party.is_some()),
            ("master", self.master.is_some()),
            ("slave", self.slave.is_some()),
            ("cmd_name", self.instance_name.is_some()),
        ];
        let mut given = names.into_iter().filter(|&(_, given)| given).map(|(name, _)| name);
        let file = self.instances_file.is_some();
        match (given.next(), given.next()) {
            (Some(first), Some(second)) => {
                let why = "an instance can have only one of these parts; drop one of them";
                Err(ConfigError::Exclusive { first, second, why })
            }
            (Some("3pcc"), None) if file => {
                let why = "two instances need no file; drop it, or -3pcc";
                Err(ConfigError::Exclusive { first: "3pcc", second: "slave_cfg", why })
            }
            (Some(option @ ("master" | "slave" | "cmd_name")), None) if !file => {
                let needed = "slave_cfg FILE";
                let why = "it has the addresses of all instances";
                Err(ConfigError::Needs { option, needed, why })
            }
            (None, _) if file => {
                let needed = "master NAME or -slave NAME";
                let why = "the file lists this instance too, and the name tells which line it is";
                Err(ConfigError::Needs { option: "slave_cfg", needed, why })
            }
            _ => Ok(()),
        }
    }

    fn third_party_config(&mut self) -> Option<ThirdPartyConfig> {
        if let Some(third_party) = self.third_party.take() {
            return Some(ThirdPartyConfig::Pair(third_party));
        }
        let (name, leads) = match (self.master.take(), self.slave.take()) {
            (Some(name), _) => (name, Some(true)),
            (None, Some(name)) => (name, Some(false)),
            (None, None) => (self.instance_name.take()?, None),
        };
        Some(ThirdPartyConfig::Named { name, leads, file: self.instances_file.take()? })
    }

    fn check_pool(&self) -> Result<(), ConfigError> {
        let Some(max_calls) = self.max_calls else { return Ok(()) };
        for (option, wanted) in [("l", self.concurrent_max), ("users", self.users)] {
            if let Some(wanted) = wanted
                && wanted > max_calls
            {
                return Err(ConfigError::PoolTooSmall { option, wanted, max_calls });
            }
        }
        Ok(())
    }

    /// Sentences about settings without effect. They are no errors, because SIPp accepts them and
    /// scripts rely on that.
    fn notices(&self) -> Vec<String> {
        let mut notices = Vec::new();
        let transport = self.transport.unwrap_or(Transport::UdpMono);
        let gives_tls = self.tls != TlsOptions::default();
        let gives_reconnect = self.reconnect_unlimited
            || self.reconnect_max.is_some()
            || self.reconnect_close.is_some()
            || self.reconnect_sleep_ms.is_some();
        let mut add = |applies: bool, text: &str| {
            if applies {
                notices.push(text.to_owned());
            }
        };
        let has_ramp = self.rate_increase.is_some_and(|step| step > 0.0);
        add(gives_tls && !transport.uses_tls(), "-tls_* has no effect: -t is not a TLS transport");
        add(
            gives_reconnect && !transport.is_stream(),
            "-max_reconnect and -reconnect_* have no effect: -t is UDP",
        );
        let (hep, events) = (&self.export.hep, &self.export.events);
        add(
            hep.collector.is_none() && (hep.capture_id.is_some() || hep.password.is_some()),
            "-hep_capture_id and -hep_password have no effect: -hep_addr is not given",
        );
        add(
            !events.is_on() && *events != EventLogConfig::default(),
            "-log_* has no effect: give -log_stdout, -log_file_jsonl or -log_otel_endpoint",
        );
        add(self.users.is_some() && self.rate.is_some(), "-r has no effect: -users is given");
        add(
            nonzero_rate(self.rate_max).is_some() && !has_ramp,
            "-rate_max has no effect: -rate_increase is not given",
        );
        add(
            self.tunes_scheduler,
            "-timer_resol, -max_recv_loops and -max_sched_loops have no effect: there is no tick",
        );
        add(
            self.timeout_error && nonzero(self.timeout_ms).is_none(),
            "-timeout_error has no effect: -timeout is not given",
        );
        notices
    }
}

/// The given settings of the watchdog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The fields are those of `Watchdog`, documented there.
pub struct WatchdogDraft {
    pub interval_ms: Option<u64>,
    pub reset_ms: Option<u64>,
    pub minor_ms: Option<u64>,
    pub major_ms: Option<u64>,
    pub minor_max: Option<u64>,
    pub major_max: Option<u64>,
}

impl WatchdogDraft {
    /// Applies the defaults. SIPp has a watchdog unless it is switched off. Here a limited run is
    /// judged at its end, unless the watchdog is switched on.
    fn resolve(self, flavor: Flavor) -> Watchdog {
        let is_on = match (self.interval_ms, flavor) {
            (Some(interval_ms), _) => interval_ms > 0,
            (None, Flavor::Sipp) => true,
            (None, Flavor::Gossipper) => self != Self::default(),
        };
        Watchdog {
            is_on,
            reset_ms: self.reset_ms.unwrap_or(600_000),
            minor_ms: self.minor_ms.unwrap_or(500),
            major_ms: self.major_ms.unwrap_or(3000),
            minor_max: self.minor_max.unwrap_or(120),
            major_max: self.major_max.unwrap_or(10),
        }
    }
}

/// The default size of socket buffers has room for tens of thousands of datagrams. SIPp's 64 KiB
/// hold about a hundred: a larger burst would be lost in the generator and blamed on the system
/// under test.
const SOCKET_BUFFER_BYTES: u32 = 16 << 20;
/// A thousand wakes a second, as SIPp's tick. A call starts in the nearest one, at most half a
/// millisecond from its planned time. With 1,500 µs the 99th percentile exceeds its millisecond at
/// full load.
const GRAIN_US_DEFAULT: u64 = 1000;
/// The default port of the control socket, as in SIPp.
const CONTROL_PORT_DEFAULT: u16 = 8888;
/// Calls per period by default; both flavours start at SIPp's rate.
pub const RATE_DEFAULT: f64 = 10.0;

const RTP_PORT_MIN_DEFAULT: u16 = 6000;

/// Turns a 0 into `None`, for options where 0 means "off".
fn nonzero(value: Option<u64>) -> Option<u64> {
    value.filter(|&value| value != 0)
}

fn nonzero_rate(value: Option<f64>) -> Option<f64> {
    value.filter(|&value| value > 0.0)
}

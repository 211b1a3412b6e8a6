//! The step from a draft to a `RunConfig`: what contradicts what, what has no effect, and the
//! defaults that depend on something else that was said.

use std::path::PathBuf;

use super::data::CallIds;
use super::error::ConfigError;
use super::export::EventLogConfig;
use super::rtp_send::RTP_SEND;
use super::run::{
    CallLimit, ConcurrencyLimit, ControlPort, ControlSocketConfig, Flavor, ReconnectConfig,
    ScenarioSource, ThirdPartyConfig, TlsOptions, Transport, TurnConfig, Watchdog,
};
use super::server::ProfileDraft;
use super::table::{RunConfig, RunDraft};

impl RunDraft {
    /// Applies the defaults of `flavor` and checks that no settings contradict each other.
    ///
    /// # Errors
    /// Options that contradict each other.
    pub fn resolve(mut self, flavor: Flavor) -> Result<RunConfig, ConfigError> {
        self.check()?;
        self.settle_rtp_send();
        let api = std::mem::take(&mut self.process).embedded_api()?;
        // RFC 3261 section 18.4 treats it as a failure of the transaction. SIPp does not notice it.
        self.rules.icmp_fails_calls = self.icmp_fails_calls.unwrap_or(flavor == Flavor::Gossipper);
        let mut config = self.settle(flavor);
        config.api = api;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.check_profiles()?;
        self.check_exclusions()?;
        self.check_rtp_send()?;
        self.check_tls()?;
        self.check_pool()?;
        self.check_turn()?;
        if let Some(rate_max) = self.rate_max {
            let rate = self.rate.unwrap_or(self.rate_default());
            if rate_max < rate {
                return Err(ConfigError::RateMaxBelowRate { rate, rate_max });
            }
        }
        let (min, max) = (self.media.port_min, self.media.port_max);
        if min > max {
            return Err(ConfigError::RtpPortsReversed { min, max });
        }
        if let (Some(workers), cpus @ 1..) = (self.workers, self.cpus.len())
            && workers > cpus
        {
            return Err(ConfigError::TooFewCpus { cpus, workers });
        }
        let next_hop = self.rsa.as_ref().or(self.remote.as_ref());
        let next_hop = next_hop.or(self.rtp_send.target.as_ref());
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

    fn check_turn(&self) -> Result<(), ConfigError> {
        let TurnConfig { server, user, password, realm, secret } = &self.turn;
        let needs = |option, needed, why| Err(ConfigError::Needs { option, needed, why });
        let given = [
            ("turn_user", user.is_some()),
            ("turn_pass", password.is_some()),
            ("turn_realm", realm.is_some()),
            ("turn_secret", secret.is_some()),
        ];
        let first = given.into_iter().find(|&(_, is_given)| is_given);
        match (first, server) {
            (Some((option, _)), None) => needs(option, "turn_server HOST", "it has the relay"),
            _ if password.is_some() && secret.is_some() => {
                let why = "the password follows from the secret; drop one of them";
                Err(ConfigError::Exclusive { first: "turn_pass", second: "turn_secret", why })
            }
            _ if password.is_some() && user.is_none() => {
                needs("turn_pass", "turn_user NAME", "the password is that of a user")
            }
            _ => Ok(()),
        }
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
        if self.rate_increase > 0.0 {
            return exclusive("users", "rate_increase", no_rate);
        }
        if self.rate_max.is_some() {
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

    fn check_pool(&self) -> Result<(), ConfigError> {
        let Some(max_calls) = self.pool_calls else { return Ok(()) };
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
    pub(super) fn notices(&self) -> Vec<String> {
        let mut notices = Vec::new();
        let transport = self.transport.unwrap_or(Transport::UdpMono);
        let gives_tls = self.tls != TlsOptions::default();
        let gives_reconnect = self.reconnect != ReconnectDraft::default();
        let mut add = |applies: bool, text: &str| {
            if applies {
                notices.push(text.to_owned());
            }
        };
        let has_ramp = self.rate_increase > 0.0;
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
            hep.collector.is_none() && (hep.raw_rtcp || hep.json_rtcp || hep.media_report),
            "-hep_raw_rtcp, -hep_homer_lake_rtcp and -send_media_report have no effect: -hep_addr \
             is not given",
        );
        add(
            !events.is_on() && *events != EventLogConfig::default(),
            "-log_* has no effect: give -log_stdout, -log_file_jsonl or -log_otel_endpoint",
        );
        add(self.users.is_some() && self.rate.is_some(), "-r has no effect: -users is given");
        add(
            self.rate_max.is_some() && !has_ramp,
            "-rate_max has no effect: -rate_increase is not given",
        );
        add(
            self.tunes_scheduler,
            "-timer_resol, -max_recv_loops and -max_sched_loops have no effect: there is no tick",
        );
        add(
            self.media.has_ignored,
            "-mb, -rtp_threadtasks, -rtp_buffsize, -random_base_ssrc, -media_scale, \
             -media_iouring and -media_srtp have no effect: media has no threads and buffers to \
             size, its SSRCs are random, and SRTP is used wherever both descriptions have keys",
        );
        add(
            self.rtp_send.is_on && self.local_port.is_some_and(|port| port > 0),
            "-p has no effect: -min_rtp_port is the first port of streams without SIP",
        );
        add(
            self.timeout_error && self.timeout_ms.is_none(),
            "-timeout_error has no effect: -timeout is not given",
        );
        notices
    }
}

/// Decides on the user of digests: what was given, else that of the request URI.
pub(super) fn auth_user(draft: &RunDraft, _: Flavor) -> String {
    draft.auth_user.clone().unwrap_or_else(|| draft.service.clone())
}

pub(super) fn scenario(draft: &RunDraft, _: Flavor) -> ScenarioSource {
    let default = if draft.rtp_send.is_on { RTP_SEND } else { "uac" };
    source(draft.scenario_file.as_ref(), draft.scenario_name.as_ref())
        .unwrap_or_else(|| ScenarioSource::Builtin(default.to_owned()))
}

pub(super) fn receiving(draft: &RunDraft, _: Flavor) -> Option<ScenarioSource> {
    source(draft.receiving_file.as_ref(), draft.receiving_name.as_ref())
}

pub(super) fn out_of_call(draft: &RunDraft, _: Flavor) -> Option<ScenarioSource> {
    source(draft.out_of_call_file.as_ref(), draft.out_of_call_name.as_ref())
}

fn source(file: Option<&PathBuf>, name: Option<&String>) -> Option<ScenarioSource> {
    let builtin = || name.cloned().map(ScenarioSource::Builtin);
    file.cloned().map(ScenarioSource::File).or_else(builtin)
}

/// Joins the form of Call-IDs with their kind: a kind without a form of its own wins.
pub(super) fn call_ids(draft: &RunDraft, _: Flavor) -> CallIds {
    match (&draft.call_id_format, &draft.call_ids) {
        (Some(format), None | Some(CallIds::Own | CallIds::Format(_))) => {
            CallIds::Format(format.clone())
        }
        (_, kind) => kind.clone().unwrap_or_default(),
    }
}

pub(super) fn third_party(draft: &RunDraft, _: Flavor) -> Option<ThirdPartyConfig> {
    if let Some(peer) = &draft.third_party {
        return Some(ThirdPartyConfig::Pair(peer.clone()));
    }
    let (name, leads) = match (&draft.master, &draft.slave) {
        (Some(name), _) => (name, Some(true)),
        (None, Some(name)) => (name, Some(false)),
        (None, None) => (draft.instance_name.as_ref()?, None),
    };
    let file = draft.instances_file.clone()?;
    Some(ThirdPartyConfig::Named { name: name.clone(), leads, file })
}

pub(super) fn transport(draft: &RunDraft, _: Flavor) -> Transport {
    draft.transport.unwrap_or(Transport::UdpMono)
}

pub(super) fn socket_buffer_bytes(draft: &RunDraft, _: Flavor) -> u32 {
    draft.socket_buffer_bytes.unwrap_or(SOCKET_BUFFER_BYTES)
}

pub(super) fn rate_interval_ms(draft: &RunDraft, _: Flavor) -> u64 {
    draft.rate_interval_ms.unwrap_or(draft.trace.stat_period_ms)
}

pub(super) fn calls_total(draft: &RunDraft, flavor: Flavor) -> CallLimit {
    let total = draft.calls_total.or(draft.rtp_send.streams());
    match (total, flavor) {
        (Some(0), _) | (None, Flavor::Sipp) => CallLimit::Unlimited,
        (Some(count), _) => CallLimit::Count(count),
        // A user who sets a duration does not want a single call.
        (None, Flavor::Gossipper) if draft.duration_ms.is_some() => CallLimit::Unlimited,
        (None, Flavor::Gossipper) => CallLimit::ClientDefault,
    }
}

pub(super) fn concurrent_max(draft: &RunDraft, flavor: Flavor) -> ConcurrencyLimit {
    match (draft.concurrent_max.or(draft.rtp_send.streams()), draft.users, flavor) {
        (Some(count), ..) => ConcurrencyLimit::Count(count),
        (None, None, Flavor::Sipp) => ConcurrencyLimit::SippRule,
        (None, ..) => ConcurrencyLimit::Pool,
    }
}

pub(super) fn control_socket(draft: &RunDraft, flavor: Flavor) -> ControlSocketConfig {
    let port = match (draft.control_port, draft.control_ip, flavor) {
        (Some(port), ..) => ControlPort::Given(port),
        (None, None, Flavor::Gossipper) => ControlPort::Closed,
        (None, ..) => ControlPort::From(CONTROL_PORT_DEFAULT),
    };
    ControlSocketConfig { ip: draft.control_ip, port }
}

pub(super) fn workers(draft: &RunDraft, _: Flavor) -> Option<usize> {
    draft.workers.or(Some(draft.cpus.len()).filter(|&cpus| cpus > 0))
}

/// The given settings of lost connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The fields are those of `ReconnectConfig`, documented there.
pub struct ReconnectDraft {
    pub max: Option<u64>,
    /// `max` has no limit, whatever it was before.
    pub is_unlimited: bool,
    pub fails_calls: Option<bool>,
    pub sleep_ms: Option<u64>,
}

impl ReconnectDraft {
    pub(super) fn resolve(self) -> ReconnectConfig {
        ReconnectConfig {
            max: match self.is_unlimited {
                true => None,
                false => Some(self.max.unwrap_or(0)),
            },
            fails_calls: self.fails_calls.unwrap_or(true),
            sleep_ms: self.sleep_ms.unwrap_or(1000),
        }
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
    pub(super) fn resolve(self, flavor: Flavor) -> Watchdog {
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
/// The default port of the control socket, as in SIPp.
const CONTROL_PORT_DEFAULT: u16 = 8888;
/// Calls per period by default; both flavours start at SIPp's rate.
pub const RATE_DEFAULT: f64 = 10.0;

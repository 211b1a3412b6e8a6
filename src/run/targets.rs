//! Addresses that a run may use: each is judged where it is looked up, before anything is sent.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use gossipper_uring::sys;

use super::RunError;
use super::addresses::{pick, resolve_all};
use crate::config::targets::{Load, Targets};
use crate::config::{ConcurrencyLimit, HostPort, RunConfig};
use crate::engine::{DataConfig, Gate, Programs};
use crate::scenario::{Mode, Program};

/// The address of a host, of the family of `local` if that is given. All addresses of the name are
/// judged, so that it does not matter which one is used.
///
/// # Errors
/// The host has no such address, or one that the run may not use; `key` is the setting that names
/// it.
pub(super) fn resolve(
    host: &HostPort,
    local: Option<IpAddr>,
    targets: Option<&Arc<Targets>>,
    config: &RunConfig,
    key: &'static str,
) -> Result<SocketAddr, RunError> {
    let all = resolve_all(host)?;
    if let Some(targets) = targets {
        for &to in &all {
            judge(targets, to, config, key)?;
        }
    }
    pick(all, host, local)
}

/// Judges one address of a run.
fn judge(
    targets: &Targets,
    to: SocketAddr,
    config: &RunConfig,
    key: &'static str,
) -> Result<(), RunError> {
    let is_websocket = config.transport.is_websocket() && key == REMOTE;
    targets.judge(to, is_websocket, sys::realtime_now_ns()).map_err(|refusal| {
        config.reach.note_refusal();
        RunError::Target { key, refusal: Box::new(refusal) }
    })
}

/// The key for the peer.
pub(super) const REMOTE: &str = "remote_addr";
/// The action that turns a call to another address.
pub(super) const SETDEST: &str = "setdest";

/// Judges the addresses that the `<setdest>` actions of `programs` contain, and returns the known
/// ones.
///
/// # Errors
/// One of them may not be called.
pub(super) fn judge_programs<'p>(
    targets: Option<&Arc<Targets>>,
    programs: impl Iterator<Item = &'p Program>,
    hosts: &[(String, IpAddr)],
    config: &RunConfig,
) -> Result<Vec<SocketAddr>, RunError> {
    let Some(targets) = targets else { return Ok(Vec::new()) };
    let address_of = |host: &str| hosts.iter().find(|(name, _)| name == host).map(|(_, ip)| *ip);
    let mut known = Vec::new();
    for to in programs.flat_map(|program| program.written_destinations(address_of)).flatten() {
        judge(targets, to, config, SETDEST)?;
        known.push(to);
    }
    Ok(known)
}

/// Adds the gates to the data of engines that decide before a call is turned. `places` are the
/// addresses at which the run holds a share.
pub(super) fn set_gates(config: &RunConfig, places: &[SocketAddr], data: &mut DataConfig) {
    let gate = |targets: &Arc<Targets>| {
        let (targets, places) = (Arc::clone(targets), places.to_vec());
        Arc::new(ListGate { targets, places }) as Arc<dyn Gate>
    };
    data.gate = config.reach.for_run().map(gate);
    data.gate_for_sent = config.reach.for_sent().map(gate);
}

/// A gate that asks the list in force.
#[derive(Debug)]
struct ListGate {
    targets: Arc<Targets>,
    places: Vec<SocketAddr>,
}

impl Gate for ListGate {
    fn lets_pass(&self, to: SocketAddr, unix_ns: u64) -> bool {
        self.targets.lets_turn(to, &self.places, unix_ns)
    }
}

/// The greatest load of a run, as far as its configuration limits it.
pub(super) fn load(config: &RunConfig, programs: &Programs) -> Load {
    // Commands of another instance, and peers, start calls at any rate.
    let is_paced = programs.main.mode == Mode::Client;
    let (rate, rate_key) = match config.users {
        Some(_) => (f64::INFINITY, "users"),
        None if !is_paced => (f64::INFINITY, "scenario_file"),
        None => (calls_per_second(config, config.rate), "rate"),
    };
    let (open, open_key) = match (config.users, config.concurrent_max) {
        (Some(users), _) => (users as f64, "users"),
        (None, ConcurrencyLimit::Count(count)) => (count as f64, "max_concurrent"),
        (None, _) => (f64::INFINITY, "max_concurrent"),
    };
    Load { rate, rate_key, open, open_key }
}

/// The highest rate of calls per second from `rate` calls per period: a ramp goes on from there.
pub(crate) fn calls_per_second(config: &RunConfig, rate: f64) -> f64 {
    let highest = match (config.rate_increase > 0.0, config.rate_max) {
        (false, _) => rate,
        (true, Some(most)) if most > 0.0 => rate.max(most),
        (true, _) => f64::INFINITY,
    };
    highest * 1e3 / config.rate_period_ms.max(1) as f64
}

/// The settings of a collector of events, with the address in place of its name: the exporter must
/// not look it up again.
///
/// # Errors
/// The address may not be used.
#[cfg(any(feature = "otlp", test))]
pub(super) fn pinned(config: &RunConfig) -> Result<crate::config::OtlpConfig, RunError> {
    let mut otlp = config.export.events.otlp.clone();
    let (Some(targets), Some(endpoint)) = (config.reach.for_events(), otlp.endpoint.clone()) else {
        return Ok(otlp);
    };
    let (scheme, rest) = match endpoint.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, endpoint.as_str()),
    };
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let is_plain = otlp.insecure || scheme == Some("http");
    let port = if is_plain { 80 } else { 443 };
    let host = HostPort::parse_with_port(authority, port)
        .map_err(|error| RunError::Otlp(error.to_string()))?;
    let to = resolve(&host, None, Some(targets), config, "log_otel_endpoint")?;
    if host.ip().is_none() && !is_plain {
        let what = "over TLS, clients of the API must give the collector as an IP address, because \
                    a name could later lead to another one";
        return Err(RunError::Otlp(what.to_owned()));
    }
    let scheme = scheme.map_or(String::new(), |scheme| format!("{scheme}://"));
    otlp.endpoint = Some(format!("{scheme}{to}{path}"));
    Ok(otlp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::targets::Reach;
    use crate::config::{Flavor, RunDraft};

    fn client(change: impl FnOnce(&mut RunConfig)) -> RunConfig {
        let mut config = RunDraft::default().resolve(Flavor::Gossipper).unwrap();
        config.reach = Reach::of_client(&Arc::default(), true, true);
        change(&mut config);
        config
    }

    #[test]
    fn a_collector_of_events_is_judged_and_keeps_its_address() {
        let otlp = |endpoint: &str, insecure| {
            let config = client(|config| {
                let otlp = &mut config.export.events.otlp;
                (otlp.endpoint, otlp.insecure) = (Some(endpoint.to_owned()), insecure);
            });
            pinned(&config).map(|otlp| otlp.endpoint.unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(otlp("127.0.0.1:4317", true).unwrap(), "127.0.0.1:4317");
        assert_eq!(
            otlp("https://10.0.0.1:4318/v1?x", false).unwrap(),
            "https://10.0.0.1:4318/v1?x"
        );
        let pinned = otlp("http://localhost:4318/v1/logs", false).unwrap();
        let is_address = ["http://127.0.0.1:4318/v1/logs", "http://[::1]:4318/v1/logs"];
        assert!(is_address.contains(&pinned.as_str()), "{pinned}");
        for (endpoint, insecure, part) in [
            ("http://169.254.169.254:4318/", false, "never"),
            ("192.0.2.1:4317", true, "\"network\": \"192.0.2.1\""),
            ("http://127.0.0.1/", false, "port 80"),
            ("https://localhost:4318", false, "as an IP address"),
            ("http://10.0.0.1@192.0.2.1:4318/", false, "is not"),
        ] {
            let error = otlp(endpoint, insecure).unwrap_err();
            assert!(error.contains(part), "{endpoint}: {error}");
        }
    }

    #[test]
    fn the_fastest_of_a_ramp_is_its_end() {
        let rate = |increase, most| {
            let config = client(|config| {
                (config.rate_increase, config.rate_max) = (increase, most);
                config.rate_period_ms = 500;
            });
            calls_per_second(&config, 10.0)
        };
        assert_eq!(rate(0.0, None), 20.0);
        assert_eq!(rate(-1.0, None), 20.0);
        assert_eq!(rate(1.0, Some(50.0)), 100.0);
        assert_eq!(rate(1.0, None), f64::INFINITY);
    }
}

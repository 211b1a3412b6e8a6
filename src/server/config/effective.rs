//! The effective configuration, written as a file with the same meaning.

use serde_json::{Map, Value, json};

use super::keys::{AuthKeys, AuthType, Duration, ListenerKeys, Profile, RoleName};
use super::resolved::{AuthConfig, EngineEntry, MASK, Role, Secret, ServerConfig};
use super::targets;
use crate::config::{
    CallLimit, ConcurrencyLimit, LogLevel, OtlpProtocol, RunConfig, ScenarioSource, StandingGate,
    Transport, TransportFor,
};

/// A file with the meaning of `config`: defaults are written out, secrets are masked.
pub fn effective(config: &ServerConfig) -> Value {
    file(config, true)
}

/// Like [`effective`], with or without the mask.
pub(super) fn file(config: &ServerConfig, is_masked: bool) -> Value {
    let secret = |secret: &Secret| match is_masked {
        true => MASK.to_owned(),
        false => secret.expose().to_owned(),
    };
    let mut profiles: Vec<Profile> =
        config.engines.iter().map(|engine| profile(engine, is_masked)).collect();
    if let Some(first) = profiles.first_mut() {
        if let Some(http) = &config.http {
            first.api_addr = Some(http.addr.to_string());
            first.api_tls_cert = http.tls.as_ref().map(|tls| tls.cert.clone());
            first.api_tls_key = http.tls.as_ref().map(|tls| tls.key.clone());
            first.insecure_http = http.insecure.then_some(true);
            let listed = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
            first.api_allowed_hosts = listed(&http.allowed_hosts);
            first.api_allowed_origins = listed(&http.allowed_origins);
            let proxies = http.trusted_proxies.iter().map(ToString::to_string).collect();
            first.trusted_proxies = listed(&proxies);
        }
        first.data_dir = Some(config.data_dir.clone());
        first.allow_exec = Some(config.allow_exec);
        first.max_dynamic_clients = match config.engines[0].role {
            Role::Management => Some(config.dynamic_clients_max as u64),
            Role::Load => None,
        };
        first.targets = targets::keys(&config.targets);
        match &config.auth {
            AuthConfig::None => {}
            AuthConfig::Token(token) => first.api_token = Some(secret(token)),
            AuthConfig::Internal { sqlite_path, jwt_secret } => {
                first.auth = Some(AuthKeys {
                    kind: Some(AuthType::Internal),
                    sqlite_path: Some(sqlite_path.clone()),
                    jwt_secret: jwt_secret.as_ref().map(secret),
                });
            }
        }
    }
    let mut values = profiles.into_iter().map(|profile| json!(profile));
    match (values.next(), config.engines.len()) {
        (Some(only), 1) => only,
        (first, _) => json!({ "server": first, "clients": values.collect::<Vec<_>>() }),
    }
}

/// The keys of an engine.
pub(super) fn keys(engine: &EngineEntry, is_masked: bool) -> Map<String, Value> {
    match json!(profile(engine, is_masked)) {
        Value::Object(keys) => keys,
        _ => Map::new(),
    }
}

fn profile(engine: &EngineEntry, is_masked: bool) -> Profile {
    let run = &engine.run;
    let mut extra_args = masked(&engine.extra_args, is_masked);
    if run.injection.len() > 1 {
        let files = run.injection.iter();
        let words = files.flat_map(|file| ["-inf".to_owned(), file.display().to_string()]);
        // The option goes before the bare word, if there is one.
        extra_args.splice(0..0, words);
    }
    Profile {
        id: Some(engine.id.clone()),
        role: Some(match engine.role {
            Role::Management => RoleName::Management,
            Role::Load => RoleName::Load,
        }),
        scenario_file: match &run.scenario {
            ScenarioSource::File(path) => Some(path.clone()),
            ScenarioSource::Builtin(_) => None,
        },
        scenario_name: match &run.scenario {
            // The options behind it make the scenario of RTP without SIP.
            ScenarioSource::Builtin(_) if run.rtp_send.is_some() => None,
            ScenarioSource::Builtin(name) => Some(name.clone()),
            ScenarioSource::File(_) => None,
        },
        service: Some(run.service.clone()),
        transport: Some(transport(run).to_owned()),
        local_ip: run.local_ip.map(|ip| ip.to_string()),
        local_port: run.local_port,
        listeners: (!engine.listeners.is_empty()).then(|| {
            let keys = engine.listeners.iter().map(|listener| ListenerKeys {
                transport: Some(listener.transport.code().to_owned()),
                local_ip: listener.local_ip.map(|ip| ip.to_string()),
                local_port: listener.local_port,
            });
            keys.collect()
        }),
        remote_addr: run.rsa.as_ref().map(ToString::to_string),
        tls_cert: run.tls.cert.clone(),
        tls_key: run.tls.key.clone(),
        tls_ca: run.tls.ca.clone(),
        auth_username: Some(run.auth_user.clone()),
        auth_password: Some(secret(&run.auth_password, is_masked)),
        rate: Some(run.rate),
        max_concurrent: max_concurrent(run),
        total_calls: match run.calls_total {
            CallLimit::Unlimited => Some(0),
            CallLimit::Count(count) => Some(count),
            CallLimit::ClientDefault => None,
        },
        duration: run.duration_ms.map(milliseconds),
        drain: run.drain_ms.map(milliseconds),
        users: run.users,
        sip_from: run.trunk.from.clone(),
        sip_pai: run.trunk.asserted_identity.clone(),
        sip_provider: run.trunk.provider.clone(),
        sip_extra_headers: (!run.trunk.extra_headers.is_empty())
            .then(|| run.trunk.extra_headers.clone()),
        injection_file: match run.injection.as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        },
        ip_field: (run.transport == Transport::UdpPerAddress)
            .then_some(i64::from(run.address_column)),
        extra_args: (!extra_args.is_empty()).then_some(extra_args),
        ..reports(run, is_masked)
    }
}

/// The keys of what a run writes, exports and is judged by.
fn reports(run: &RunConfig, is_masked: bool) -> Profile {
    let (hep, events) = (&run.export.hep, &run.export.events);
    let whole = |limit: Option<u64>| limit.and_then(|limit| i64::try_from(limit).ok());
    Profile {
        hep_addr: hep.collector.as_ref().map(ToString::to_string),
        hep_capture_id: hep.capture_id,
        hep_password: hep.password.as_deref().map(|text| secret(text, is_masked)),
        hep_raw_rtcp: hep.raw_rtcp.then_some(true),
        hep_homer_lake_rtcp: hep.json_rtcp.then_some(true),
        send_media_report: hep.media_report.then_some(true),
        summary_json: run.summary_json.clone(),
        summary_html: run.summary_html.clone(),
        record_wav_dir: run.export.recording.audio.clone(),
        record_wav_duplex: run.export.recording.is_duplex.then_some(true),
        call_records_jsonl: run.export.call_records.clone(),
        trace_msg: Some(run.trace.messages.is_on),
        stat_period: run.stat_period_ms.map(milliseconds),
        log_level: Some(level(events.level).to_owned()),
        log_file_jsonl: events.file.clone(),
        log_otel_endpoint: events.otlp.endpoint.clone(),
        log_otel_proto: events.otlp.endpoint.as_ref().map(|_| {
            match events.otlp.protocol {
                OtlpProtocol::Grpc => "grpc",
                OtlpProtocol::Http => "http",
            }
            .to_owned()
        }),
        log_otel_insecure: events.otlp.insecure.then_some(true),
        health_min_success_ratio: run.health.min_success_ratio,
        health_max_failed_calls: whole(run.health.max_failed_calls),
        health_max_timeouts: whole(run.health.max_timeouts),
        health_max_silent_calls: standing(run.health.max_silent_calls),
        health_max_unknown_calls: standing(run.health.max_unknown_calls),
        health_max_rtcp_fraction_lost: run.health.max_rtcp_fraction_lost,
        health_max_rtcp_jitter_ts: run.health.max_rtcp_jitter_ts,
        health_min_rtp_packets_recv: run.health.min_rtp_packets_recv,
        health_min_rtp_packets_recv_per_call: run.health.min_rtp_packets_recv_per_call,
        health_max_rtp_loss: run.health.max_rtp_loss,
        health_max_rtp_jitter_ms: run.health.max_rtp_jitter_ms,
        health_min_mos: run.health.min_mos,
        ..Profile::default()
    }
}

/// The limit of a gate; -1 for one that is switched off.
fn standing(gate: StandingGate) -> Option<i64> {
    match gate {
        StandingGate::Standing => None,
        StandingGate::Off => Some(-1),
        StandingGate::Most(limit) => i64::try_from(limit).ok(),
    }
}

/// The text of a secret, or the mask in its place.
fn secret(text: &str, is_masked: bool) -> String {
    match is_masked {
        true => MASK.to_owned(),
        false => text.to_owned(),
    }
}

fn milliseconds(time_ms: u64) -> Duration {
    Duration::Text(format!("{time_ms}ms"))
}

/// Options whose value is never shown, and that have no key.
const SECRET_OPTIONS: &[&str] = &["-log_otel_header", "-turn_pass", "-turn_secret"];

fn masked(words: &[String], is_masked: bool) -> Vec<String> {
    let mut is_secret = false;
    let words = words.iter().map(|word| {
        let shown = if is_secret && is_masked { MASK.to_owned() } else { word.clone() };
        is_secret = SECRET_OPTIONS.contains(&word.as_str());
        shown
    });
    words.collect()
}

/// The limit of open calls, unless another option says it.
fn max_concurrent(run: &RunConfig) -> Option<u64> {
    match run.concurrent_max {
        ConcurrencyLimit::Count(count) if run.rtp_send.is_none() => Some(count),
        _ => None,
    }
}

fn transport(run: &RunConfig) -> &'static str {
    match (run.transport, run.transport_for) {
        (Transport::TlsMono, Some(TransportFor::Servers)) => "sl",
        (Transport::TlsMono, Some(TransportFor::Clients)) => "cl",
        (Transport::TlsMulti, Some(TransportFor::Clients)) => "cln",
        (transport, _) => transport.code(),
    }
}

/// The word of an event level.
pub(super) fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}

//! The keys of a configuration file: the structs that the JSON Schema, the checks, the tables of
//! the documentation and the reading are all made from.
//!
//! `x-flag` names the option that a key is another way to write: range, default and reading are
//! then those of the option, so that file and command line cannot differ. `x-path` says that the
//! value is a path, and its purpose. `x-off` lists values that turn nothing on, and `x-default` is
//! the value of a missing key. `x-secret` means that the value is never shown. `x-process` marks
//! keys of the process, not of one engine. `x-missing` names the feature that a key waits for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One engine: its scenario, its addresses, its load and its outputs.
///
/// The same keys stand at the top of a flat file, in `server`, in each of `clients`, and in each
/// of `aliases`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(transform = super::schema::complete)]
pub struct Profile {
    /// Name of the engine in statistics, control and logs: 1 to 64 letters, digits, dots, hyphens
    /// and underscores. Without one, engines are called w0, w1 and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Role of the engine: management and server answer calls and carry the API; load, client and
    /// uac make calls. Without it, the other keys decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,

    /// XML scenario. It overrides scenario_name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "sf", "x-path" = "read"))]
    pub scenario_file: Option<PathBuf>,
    /// Built-in scenario. A management engine has management without this key, and instead of uac.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "sn", "x-default" = "uac; management for a management engine"))]
    pub scenario_name: Option<String>,
    /// User part of the request URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "s"))]
    pub service: Option<String>,
    /// Transport: UDP (u1, un, ui), TCP (t1, tn), TLS (l1, ln, or sl, cl, cln), WebSocket (w1, wn)
    /// or WebSocket over TLS (ws1, wsn). The ones that end with n have a socket or connection for
    /// each call.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "t", "enum" = TRANSPORTS))]
    pub transport: Option<String>,
    /// Local address. Without one, the one that routes to the peer; all for a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "i"))]
    pub local_ip: Option<String>,
    /// Local SIP port. 0 is a free one; for a management engine it is 5060.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "p", "x-default" = "0; 5060 for a management engine"))]
    pub local_port: Option<u16>,
    /// Addresses to listen at. Keys that an entry does not have come from the engine. The first is
    /// the primary one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub listeners: Option<Vec<ListenerKeys>>,
    /// Destination of calls: host and port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "rsa", "x-default" = ""))]
    pub remote_addr: Option<String>,
    /// Certificate of SIP over TLS (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "tls_cert", "x-path" = "read"))]
    pub tls_cert: Option<PathBuf>,
    /// Private key of that certificate (PEM, not encrypted).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "tls_key", "x-path" = "read"))]
    pub tls_key: Option<PathBuf>,
    /// Authorities that SIP peers are verified against (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "tls_ca", "x-path" = "read"))]
    pub tls_ca: Option<PathBuf>,
    /// User of SIP digest authentication. Without one, service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "au", "x-default" = "service"))]
    pub auth_username: Option<String>,
    /// Password of SIP digest authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "ap", "x-secret" = true))]
    pub auth_password: Option<String>,

    /// Calls to start per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "r"))]
    pub rate: Option<f64>,
    /// Most calls open at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "l", "x-default" = "what the pool of calls holds"))]
    pub max_concurrent: Option<u64>,
    /// Calls to make; 0 goes on until stopped. A load engine without this key and without duration
    /// makes one call, a management engine goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "m", "x-default" = "1; 0 for a management engine"))]
    pub total_calls: Option<u64>,
    /// Start no more calls after this time and let open ones end: a number with ms, s, m or h, or
    /// of seconds; 0 is no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "duration"))]
    pub duration: Option<Duration>,
    /// Longest wait for open calls once no new ones start; then they are ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "drain"))]
    pub drain: Option<Duration>,
    /// Keep this number of calls open instead of starting calls at a rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "users"))]
    pub users: Option<u64>,

    /// From value of built-in scenarios, before the tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "sip_from"))]
    pub sip_from: Option<String>,
    /// P-Asserted-Identity of built-in scenarios.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "sip_pai"))]
    pub sip_pai: Option<String>,
    /// X-provider of built-in scenarios.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "sip_provider"))]
    pub sip_provider: Option<String>,
    /// More header lines in built-in scenarios.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "sip_extra_header"))]
    pub sip_extra_headers: Option<Vec<String>>,

    /// CSV file that fills `[fieldN]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "inf", "x-path" = "read"))]
    pub injection_file: Option<PathBuf>,
    /// Column of the CSV file, from 0, with the addresses of transport ui; -1 is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "ip_field", "x-off" = [-1], "default" = -1, "minimum" = -1))]
    pub ip_field: Option<i64>,

    /// Capture server that gets each SIP message as HEP3: host and port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "hep_addr"))]
    pub hep_addr: Option<String>,
    /// The number of this program at the capture server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "hep_capture_id"))]
    pub hep_capture_id: Option<u32>,
    /// Password for the capture server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "hep_password", "x-secret" = true))]
    pub hep_password: Option<String>,
    /// Binary RTCP reports to the capture server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "hep_raw_rtcp"))]
    pub hep_raw_rtcp: Option<bool>,
    /// RTCP reports as JSON to the capture server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "hep_homer_lake_rtcp"))]
    pub hep_homer_lake_rtcp: Option<bool>,
    /// Media reports to the capture server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "send_media_report"))]
    pub send_media_report: Option<bool>,

    /// Summary of the run, as JSON, written when it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "summary_json", "x-path" = "write"))]
    pub summary_json: Option<PathBuf>,
    /// Summary of the run, as HTML.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "summary_html", "x-path" = "write"))]
    pub summary_html: Option<PathBuf>,
    /// Directory for a WAV file per call.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "record_wav_dir", "x-path" = "directory"))]
    pub record_wav_dir: Option<PathBuf>,
    /// Record both directions, sent left and received right.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "record_wav_duplex"))]
    pub record_wav_duplex: Option<bool>,
    /// A line of JSON for each call that ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "call_records_jsonl", "x-path" = "write"))]
    pub call_records_jsonl: Option<PathBuf>,
    /// Write all messages to a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "trace_msg"))]
    pub trace_msg: Option<bool>,
    /// Period of the progress line on stderr: a number with ms, s, m or h, or of seconds; 0 is
    /// never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "stat_period"))]
    pub stat_period: Option<Duration>,
    /// Leave out events below this level: debug, info, warn or error.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "log_level", "enum" = LEVELS))]
    pub log_level: Option<String>,
    /// Events, as lines of JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "log_file_jsonl", "x-path" = "write"))]
    pub log_file_jsonl: Option<PathBuf>,
    /// OTLP collector that events are sent to: host and port, or a URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "log_otel_endpoint"))]
    pub log_otel_endpoint: Option<String>,
    /// Protocol of the collector: grpc or http.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "log_otel_proto", "enum" = ["grpc", "http"]))]
    pub log_otel_proto: Option<String>,
    /// Speak to the collector without TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "log_otel_insecure"))]
    pub log_otel_insecure: Option<bool>,
    /// Link type of PCAP files that are played.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "pcap-link", "x-off" = ["auto"]))]
    pub pcap_link: Option<String>,

    /// Least share of successful calls; 0 is no gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "health_min_success_ratio"))]
    pub health_min_success_ratio: Option<f64>,
    /// Most failed calls; -1 is no gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "health_max_failed_calls"))]
    pub health_max_failed_calls: Option<i64>,
    /// Most calls that failed by a timeout; -1 is no gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "health_max_timeouts"))]
    pub health_max_timeouts: Option<i64>,
    /// Most calls with RTP in which neither side heard the other; -1 is no gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "health_max_silent_calls"))]
    pub health_max_silent_calls: Option<i64>,
    /// Most calls with RTP of which it is not known who heard whom; -1 is no gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "health_max_unknown_calls"))]
    pub health_max_unknown_calls: Option<i64>,
    /// Most loss that peers may report, as a share; 0 is no gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "health_max_rtcp_fraction_lost"))]
    pub health_max_rtcp_fraction_lost: Option<f64>,
    /// Most jitter that peers may report, in units of the RTP clock; 0 is no gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "health_max_rtcp_jitter_ts"))]
    pub health_max_rtcp_jitter_ts: Option<u64>,
    /// Least RTP packets in all; 0 is no gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "health_min_rtp_packets_recv"))]
    pub health_min_rtp_packets_recv: Option<u64>,
    /// Least RTP packets of each call; 0 is no gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "health_min_rtp_packets_recv_per_call"))]
    pub health_min_rtp_packets_recv_per_call: Option<u64>,
    /// Most loss of received RTP, as a share; packets too late for the jitter buffer are lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "health_max_rtp_loss"))]
    pub health_max_rtp_loss: Option<f64>,
    /// Most jitter of a received stream, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "health_max_rtp_jitter_ms"))]
    pub health_max_rtp_jitter_ms: Option<f64>,
    /// Least estimated MOS of a received stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "health_min_mos"))]
    pub health_min_mos: Option<f64>,

    /// Address of the HTTP server: IP:PORT, localhost:PORT, or :PORT for all addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend(
        "x-flag" = "api_addr",
        "x-default" = "127.0.0.1:8080",
        "x-process" = true
    ))]
    pub api_addr: Option<String>,
    /// Static token of the API, of 16 characters or more. Ignored if auth.type is internal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "api_token", "x-process" = true, "x-secret" = true))]
    pub api_token: Option<String>,
    /// Certificate of HTTPS (PEM). Read again on SIGHUP.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "api_tls_cert", "x-process" = true, "x-path" = "read"))]
    pub api_tls_cert: Option<PathBuf>,
    /// Private key of HTTPS (PEM, not encrypted).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "api_tls_key", "x-process" = true, "x-path" = "read"))]
    pub api_tls_key: Option<PathBuf>,
    /// Host names, beside localhost and addresses, under which the API answers while it has no
    /// authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-process" = true))]
    pub api_allowed_hosts: Option<Vec<String>>,
    /// Origins (http://host:port) of other pages that may open the WebSocket and send changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-process" = true))]
    pub api_allowed_origins: Option<Vec<String>>,
    /// Addresses and networks (10.0.0.0/8) of proxies in front of the API. Their X-Forwarded-For or
    /// Forwarded header names the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-process" = true))]
    pub trusted_proxies: Option<Vec<String>>,
    /// Serve HTTP to other machines without authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "insecure_http", "x-process" = true))]
    pub insecure_http: Option<bool>,
    /// Let scenarios that arrive over the API run shell commands.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "allow_exec", "x-process" = true))]
    pub allow_exec: Option<bool>,
    /// Clients that the API may add at the same time; 0 allows none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "max_dynamic_clients", "x-process" = true))]
    pub max_dynamic_clients: Option<u64>,
    /// Directory with the folders of the API's clients: scenarios, injection, tls and results.
    /// Without it, the directory of the user database, or else the working directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-process" = true, "x-path" = "directory"))]
    pub data_dir: Option<PathBuf>,
    /// Addresses that clients of the API may call, beside hosts of private networks. An entry may
    /// also limit their calls. Read again on SIGHUP.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), extend("x-process" = true))]
    pub targets: Option<Vec<TargetKeys>>,
    /// Authentication of the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-process" = true))]
    pub auth: Option<AuthKeys>,
    /// Data of the Control UI.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "ui_data_dir", "x-process" = true, "x-path" = "directory"))]
    pub ui_data_dir: Option<PathBuf>,
    /// Old versions of a scenario that the Control UI keeps; 0 keeps all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "scenario_history_keep", "x-process" = true))]
    pub scenario_history_keep: Option<u64>,
    /// Serve version 1 of the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "legacy_api_v1", "x-process" = true, "x-off" = [true]))]
    #[schemars(extend("default" = true))]
    pub legacy_api_v1: Option<bool>,

    /// PBX account that the server registers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-process" = true, "x-missing" = "registration at a PBX"))]
    pub gateway: Option<BTreeMap<String, serde_json::Value>>,
    /// PBX accounts that the server registers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-process" = true, "x-missing" = "registration at a PBX"))]
    pub gateways: Option<Vec<BTreeMap<String, serde_json::Value>>>,

    /// Any options of `gossipper sipp -h`, as on a command line; they override the keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub extra_args: Option<Vec<String>>,
}

/// An address to listen at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(transform = super::schema::complete)]
pub struct ListenerKeys {
    /// Transport, if not that of the engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "t", "enum" = TRANSPORTS, "x-default" = "that of the engine"))]
    pub transport: Option<String>,
    /// Local address, if not that of the engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "i", "x-default" = "that of the engine"))]
    pub local_ip: Option<String>,
    /// Local SIP port; 0 is a free one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-flag" = "p", "x-default" = "that of the engine"))]
    pub local_port: Option<u16>,
}

/// A target that clients of the API may call, and how much.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(transform = super::schema::complete)]
pub struct TargetKeys {
    /// An address, or a network as 192.0.2.0/24 or 2001:db8::/32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Ports: numbers, and ranges as "10000-20000". Without the key: 5060, 5061, 1024 and above,
    /// and 80 and 443 of WebSockets.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub ports: Option<Vec<PortKey>>,
    /// Most calls per second, over all such clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1e9))]
    pub max_rate: Option<f64>,
    /// Most open calls, over all such clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u64>,
    /// End of the entry, as 2026-12-31T23:59:59Z: no more calls are started then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// A port, or a range of ports as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(transform = super::schema::number_or_text)]
pub enum PortKey {
    /// One port.
    Port(u16),
    /// `10000-20000`, or one port.
    Range(String),
}

/// Authentication of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(transform = super::schema::complete)]
pub struct AuthKeys {
    /// none: everyone with the api_token, or everyone if there is none; internal: users with
    /// passwords.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<AuthType>,
    /// SQLite file with the users.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-path" = "write"))]
    pub sqlite_path: Option<PathBuf>,
    /// Key that tokens are signed with, of 16 characters or more. Without one, a random key is
    /// generated and stored with the users.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-secret" = true))]
    pub jwt_secret: Option<String>,
}

/// Kinds of authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthType {
    /// No users.
    None,
    /// Users in SQLite.
    Internal,
}

/// Role of an engine, by all its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoleName {
    /// Answers calls.
    Management,
    /// Another name of management.
    Server,
    /// Makes calls.
    Load,
    /// Another name of load.
    Client,
    /// Another name of load.
    Uac,
}

/// A time as text with a unit, or as a number of seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(transform = super::schema::one_of_two_types)]
pub enum Duration {
    /// Text with ms, s, m or h.
    Text(String),
    /// Seconds.
    Seconds(f64),
}

/// Keys at the top of a file, beside the keys of an engine.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[schemars(title = "Gossipper server configuration", transform = super::schema::complete)]
pub struct TopKeys {
    /// Address of the schema, for editors.
    #[serde(rename = "$schema")]
    pub schema: Option<String>,
    /// The management engine of a file with several engines. As true: this engine answers calls.
    pub server: Option<ServerKey>,
    /// The other engines. Keys that they do not have come from the top of the file.
    pub clients: Option<Vec<Profile>>,
    /// One other engine, or a list as clients.
    pub client: Option<OneOrMany>,
    /// Run profiles, by name; for gossipper -config FILE -run-alias NAME.
    pub aliases: Option<BTreeMap<String, Alias>>,
}

/// `server` at the top of a file.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ServerKey {
    /// Flag of a flat file.
    Flag(bool),
    /// Engine of a file with several engines.
    Engine(Box<Profile>),
}

/// `client` at the top of a file.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One engine.
    One(Box<Profile>),
    /// Several.
    Many(Vec<Profile>),
}

/// A run profile: the keys of an engine, and `server`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[schemars(transform = super::schema::complete)]
pub struct Alias {
    /// True to run as a server: with its defaults, and with the API.
    pub server: Option<bool>,
}

/// The transports that can be configured.
pub(super) const TRANSPORTS: &[&str] =
    &["u1", "un", "ui", "t1", "tn", "l1", "ln", "sl", "cl", "cln", "w1", "wn", "ws1", "wsn"];

const LEVELS: &[&str] = &["debug", "info", "warn", "error"];

//! The configuration of a run: typed, resolved and checked.
//!
//! Sources (the command line, and JSON files) fill a [`RunDraft`]. [`RunDraft::resolve`] applies
//! the defaults of the chosen [`Flavor`], checks that no settings contradict each other, and
//! returns a [`RunConfig`]. A `RunConfig` that exists is a consistent one. This module knows
//! nothing of argv, opens no file and resolves no host name.

mod data;
mod draft;
mod error;
mod export;
mod roles;
mod rtp_send;
pub mod rules;
mod run;
mod server;
mod settings;
mod table;
pub mod targets;
mod trace;
mod value;

pub use data::{
    CallIds, TdmMap, Trunk, parse_call_id_format, parse_call_ids, parse_header_line,
    parse_header_text, parse_tdm_map,
};
pub use draft::{RATE_DEFAULT, ReconnectDraft, WatchdogDraft};
pub use error::ConfigError;
pub use export::{
    EVENT_BUFFER_DEFAULT, EventLogConfig, ExportConfig, HepConfig, LogLevel, OtlpConfig,
    OtlpProtocol, RecordingConfig, parse_collector, parse_pair,
};
pub use roles::{Role, Scope, UnknownRole, UnknownScope};
pub use rtp_send::{RTP_SEND, RtpSend, RtpSendDraft, parse_rtp_target};
pub use rules::{CallRules, DefaultBehaviors, DuplicateCheck, DynamicIds, Retransmission};
pub use run::{
    CallLimit, ColorChoice, ConcurrencyLimit, ControlPort, ControlSocketConfig, Flavor,
    HealthGates, IoChoice, ListenerSpec, MediaConfig, RATE_MAX, ReconnectConfig, ScenarioSource,
    StandingGate, ThirdPartyConfig, TlsOptions, TlsVersion, Transport, TransportFor, TurnConfig,
    Watchdog,
};
pub use server::{ApiConfig, ProcessDraft, ProfileDraft, parse_listen_address};
pub use table::{RunConfig, RunDraft};
pub use trace::{LogConfig, TraceConfig, TraceFormat};
pub use value::{
    HostPort, TimeUnit, ValueError, parse_behaviors, parse_bool, parse_cpu_list, parse_float,
    parse_integer, parse_ip, parse_ipv4, parse_time_ms,
};

//! Exports of a run to other programs while it goes on: call records, HEP and the event log.

use std::path::PathBuf;

use super::value::{HostPort, ValueError};

/// Events that may wait for the collector of the event log by default (`-log_buffer_size`).
pub const EVENT_BUFFER_DEFAULT: u64 = 16_384;

/// All exports of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExportConfig {
    /// The file for a line of JSON per call; `None` for none.
    pub call_records: Option<PathBuf>,
    /// The file for the keys of SRTP; `None` for none.
    pub srtp_keys: Option<PathBuf>,
    /// Messages for a capture server.
    pub hep: HepConfig,
    /// Events.
    pub events: EventLogConfig,
    /// Recordings of media.
    pub recording: RecordingConfig,
}

/// Recordings of the media of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingConfig {
    /// The folder for a WAV file per call; `None` for none.
    pub audio: Option<PathBuf>,
    /// True if those files have both directions.
    pub is_duplex: bool,
    /// The folder for a pcapng file per call; `None` for none.
    pub packets: Option<PathBuf>,
    /// One of so many calls is recorded (at least 1).
    pub every: u64,
    /// True if only files of calls are kept that failed, or in which one side did not hear the
    /// other.
    pub only_bad: bool,
}

impl Default for RecordingConfig {
    fn default() -> Self {
        Self { audio: None, is_duplex: false, packets: None, every: 1, only_bad: false }
    }
}

/// Messages for a capture server that speaks HEP3 over UDP.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HepConfig {
    /// The server; `None` if there is none.
    pub collector: Option<HostPort>,
    /// The number by which the server identifies us.
    pub capture_id: Option<u32>,
    /// The password by which the server authenticates us.
    pub password: Option<String>,
    /// True if RTCP is sent to the server as it is.
    pub raw_rtcp: bool,
    /// True if RTCP is sent to the server as JSON, also if `raw_rtcp` is set.
    pub json_rtcp: bool,
    /// True if the streams of each call are reported at its end.
    pub media_report: bool,
}

/// The event log.
#[derive(Clone, Debug, PartialEq)]
pub struct EventLogConfig {
    /// True if events are written to stderr as lines of text.
    pub stderr: bool,
    /// The file for events as lines of JSON.
    pub file: Option<PathBuf>,
    /// The collector that events are sent to.
    pub otlp: OtlpConfig,
    /// Attributes of all events.
    pub attributes: Vec<(String, String)>,
    /// Most events that may wait for the collector.
    pub buffer: u64,
    /// Least level of events that are logged.
    pub level: LogLevel,
}

impl Default for EventLogConfig {
    fn default() -> Self {
        Self {
            stderr: false,
            file: None,
            otlp: OtlpConfig::default(),
            attributes: Vec::new(),
            buffer: EVENT_BUFFER_DEFAULT,
            level: LogLevel::default(),
        }
    }
}

impl EventLogConfig {
    /// Tells whether events are logged anywhere.
    pub fn is_on(&self) -> bool {
        self.stderr || self.file.is_some() || self.otlp.endpoint.is_some()
    }
}

/// A collector that speaks OTLP.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OtlpConfig {
    /// Host and port, or a URL; `None` if there is none.
    pub endpoint: Option<String>,
    /// The protocol of its requests.
    pub protocol: OtlpProtocol,
    /// True for connections without TLS.
    pub insecure: bool,
    /// Headers of each request.
    pub headers: Vec<(String, String)>,
}

/// The protocol that carries OTLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// gRPC, usually port 4317.
    #[default]
    Grpc,
    /// Protobuf in HTTP requests, usually port 4318.
    Http,
}

/// The level of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Details for finding a mistake.
    Debug,
    /// Normal events.
    #[default]
    Info,
    /// Unexpected events.
    Warn,
    /// Failures.
    Error,
}

impl LogLevel {
    /// All levels, least first.
    pub const ALL: [Self; 4] = [Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// The level's name in options and log lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// Reads `KEY=VALUE`.
pub fn parse_pair(text: &str) -> Result<(String, String), ValueError> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err(ValueError::NotAPair(text.to_owned())),
    }
}

/// Reads `HOST:PORT` of a collector; the port is required, as there is no usual one.
pub fn parse_collector(text: &str) -> Result<HostPort, ValueError> {
    let host = HostPort::parse(text)?;
    let reason = "the port is missing; write it as 192.0.2.1:9060 or [2001:db8::1]:9060";
    let has_port = text.rsplit_once(':').is_some_and(|(before, port)| {
        port.parse() == Ok(host.port) && (text.starts_with('[') || !before.contains(':'))
    });
    match has_port {
        true => Ok(host),
        false => Err(ValueError::NotAnEndpoint { text: text.to_owned(), reason }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_has_a_port() {
        for text in ["192.0.2.1:9060", "[2001:db8::1]:9060", "hep.example.org:9060"] {
            assert_eq!(parse_collector(text).unwrap().port, 9060, "{text}");
        }
        for text in ["192.0.2.1", "2001:db8::5060", "[2001:db8::1]", "hep", ":9060", "h:0", "h:x"] {
            assert!(parse_collector(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pair_has_a_key() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(parse_pair("a=b=c"), Ok(pair("a", "b=c")));
        assert_eq!(parse_pair(" a ="), Ok(pair("a", "")));
        for text in ["", "a", "=b", " =b"] {
            assert!(parse_pair(text).is_err(), "{text}");
        }
    }
}

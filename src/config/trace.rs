//! Settings of traces and statistics files.

use std::path::PathBuf;

/// The format of the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceFormat {
    /// SIPp's formats, byte for byte.
    #[default]
    Sipp,
    /// Our own CSV and text files.
    Gossipper,
}

/// A log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// True if the file is written.
    pub is_on: bool,
    /// The path; `None` for the name made from scenario and process.
    pub path: Option<PathBuf>,
    /// True if an existing file is replaced rather than continued.
    pub overwrite: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { is_on: false, path: None, overwrite: true }
    }
}

/// The settings of all traces and statistics files.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceConfig {
    /// The format of the files.
    pub format: TraceFormat,
    /// Messages, whole.
    pub messages: LogConfig,
    /// Messages, a line each.
    pub short_messages: LogConfig,
    /// Unexpected messages and other errors.
    pub errors: LogConfig,
    /// Texts of `log` actions.
    pub logs: LogConfig,
    /// Histories of failed calls.
    pub call_debug: LogConfig,
    /// Screens.
    pub screen: LogConfig,
    /// True if statistics are written.
    pub stat: bool,
    /// The path of the statistics file; `None` for the usual name.
    pub stat_path: Option<PathBuf>,
    /// The text between two columns of SIPp's CSV files.
    pub stat_delimiter: String,
    /// Period of rows in milliseconds.
    pub stat_period_ms: u64,
    /// True if times are written as in RFC 3339.
    pub rfc3339: bool,
    /// True if repartitions start from zero with each row.
    pub periodic_rtd: bool,
    /// True if response times are written.
    pub rtt: bool,
    /// Response times gathered between two writes (at least 1).
    pub rtt_freq: u64,
    /// True if counts by step are written.
    pub counts: bool,
    /// True if codes of unexpected responses are written.
    pub error_codes: bool,
    /// True if checks of patterns of clear RTP are written.
    pub rtp_check: bool,
    /// True if those of encrypted RTP are.
    pub srtp_check: bool,
    /// Number of rotated files that are kept.
    pub ringbuffer_files: u64,
    /// Size in bytes at which a log is rotated; 0 for never.
    pub ringbuffer_size: u64,
    /// Size in bytes at which a log ends; 0 for never.
    pub max_log_size: u64,
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self {
            format: TraceFormat::default(),
            messages: LogConfig::default(),
            short_messages: LogConfig::default(),
            errors: LogConfig::default(),
            logs: LogConfig::default(),
            call_debug: LogConfig::default(),
            screen: LogConfig::default(),
            stat: false,
            stat_path: None,
            stat_delimiter: ";".to_owned(),
            stat_period_ms: 60_000,
            rfc3339: false,
            periodic_rtd: false,
            rtt: false,
            rtt_freq: 200,
            counts: false,
            error_codes: false,
            rtp_check: false,
            srtp_check: false,
            ringbuffer_files: 0,
            ringbuffer_size: 0,
            max_log_size: 0,
        }
    }
}

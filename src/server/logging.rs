//! The daemon's log: lines on stderr, for the journal or for a person.
//!
//! The journal stamps lines by itself and reads a level from a prefix such as `<4>`; a person gets
//! the time and the level as a word. No line holds a token: addresses are logged without query.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::SystemTime;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use crate::config::LogLevel;
use crate::output::Timestamp;

/// Changes the level of the log.
#[derive(Clone, Debug)]
pub(super) struct Log(Option<reload::Handle<LevelFilter, Registry>>);

impl Log {
    /// Sets the log up for this process. An existing log stays as it is.
    pub(super) fn start(level: LogLevel) -> Self {
        let style = Style::of_stderr();
        let (filter, handle) = reload::Layer::new(filter_of(level));
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(io::stderr)
            .event_format(Format(style));
        match tracing_subscriber::registry().with(filter).with(lines).try_init() {
            Ok(()) => Self(Some(handle)),
            Err(_) => Self(None),
        }
    }

    /// Logs from `level` on.
    pub(super) fn set_level(&self, level: LogLevel) {
        if let Some(handle) = &self.0 {
            // It fails only if the log is gone, which ours never is.
            let _ = handle.modify(|filter| *filter = filter_of(level));
        }
    }
}

fn filter_of(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}

#[derive(Clone, Copy, Debug)]
enum Style {
    Journal,
    Person,
}

impl Style {
    fn of_stderr() -> Self {
        match std::env::var_os("JOURNAL_STREAM") {
            Some(_) if !io::stderr().is_terminal() => Self::Journal,
            _ => Self::Person,
        }
    }
}

/// Prints a message before there is a log: as it is for a person, and with its level in each line
/// for the journal. A closed stderr is ignored: no reader is left.
pub(super) fn say(level: Level, text: &str) {
    let text = match Style::of_stderr() {
        Style::Person => Cow::Borrowed(text),
        Style::Journal => Cow::Owned(with_level(level, text)),
    };
    let _ = io::stderr().write_all(text.as_bytes());
}

/// A text with its level in front of each line: the journal takes each for a message of its own.
fn with_level(level: Level, text: &str) -> String {
    text.lines().map(|line| format!("<{}>{line}\n", syslog(level))).collect()
}

struct Format(Style);

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        match self.0 {
            Style::Journal => {
                let mut text = String::new();
                context.field_format().format_fields(Writer::new(&mut text), event)?;
                writer.write_str(&with_level(level, &text))
            }
            Style::Person => {
                write!(writer, "{} {:5} ", now(), level.as_str())?;
                context.field_format().format_fields(writer.by_ref(), event)?;
                writeln!(writer)
            }
        }
    }
}

/// The time of a line.
fn now() -> Timestamp {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp { unix_ns: u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX) }
}

/// The level as syslog numbers it (RFC 5424, section 6.2.1).
fn syslog(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_a_message_has_its_level_in_the_journal() {
        let text = with_level(Level::ERROR, "cannot bind UDP\n  hint: choose another port");
        assert_eq!(text, "<3>cannot bind UDP\n<3>  hint: choose another port\n");
    }
}

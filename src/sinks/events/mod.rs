//! The event log: calls and messages as events of a few kinds with attributes.
//!
//! Events are made here from records. They go to any of: lines of JSON in a file
//! (`-log_file_jsonl`), lines of text on stderr (`-log_stdout`), a collector that speaks OTLP
//! (`-log_otel_endpoint`). Kinds and attributes are an interface, listed in docs/guide.md.

mod event;
mod format;
#[cfg(feature = "otlp")]
pub mod otlp;

pub use event::{Attributes, LogEvent, Value};

use std::borrow::Cow;

use super::sipp::{first_line, header, is_told, status};
use super::{Context, FileId, Losses, RecordSink, RunTotals};
use crate::config::LogLevel;
use crate::stats::{FailureCause, TraceKind};
use crate::trace::{Authenticated, CallMedia, Ends, Event, Kinds, Patience, Record};

/// A destination of events other than a file. It must not block.
pub trait EventExporter: Send {
    /// Takes an event.
    fn push(&mut self, event: &LogEvent<'_>);

    /// Number of events lost so far.
    fn lost(&self) -> u64;

    /// Sends the waiting events, for a limited time. No more events will come.
    fn finish(&mut self);
}

/// The load that a run plans, for `engine.started`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Intent {
    /// Calls to make; 0 for no limit.
    pub calls: u64,
    /// Calls per second.
    pub rate: f64,
}

/// Turns records into events, and gives them to the files and the exporter.
pub struct EventLog {
    level: LogLevel,
    intent: Intent,
    /// Attributes of all lines, sorted by key.
    common: Vec<(String, String)>,
    json: Option<FileId>,
    text: Option<FileId>,
    exporter: Option<Box<dyn EventExporter>>,
}

impl EventLog {
    /// Takes events from `level` up. They go nowhere yet. `common` are attributes of all of them.
    pub fn new(level: LogLevel, intent: Intent, mut common: Vec<(String, String)>) -> Self {
        common.sort_by(|a, b| a.0.cmp(&b.0));
        // Of values for the same key the last one counts.
        common.reverse();
        common.dedup_by(|later, earlier| later.0 == earlier.0);
        common.reverse();
        Self { level, intent, common, json: None, text: None, exporter: None }
    }

    /// Writes lines of JSON to a file.
    pub fn write_json(&mut self, file: FileId) {
        self.json = Some(file);
    }

    /// Writes lines of text to a file.
    pub fn write_text(&mut self, file: FileId) {
        self.text = Some(file);
    }

    /// Passes events to an exporter.
    pub fn export(&mut self, exporter: Box<dyn EventExporter>) {
        self.exporter = Some(exporter);
    }

    fn emit(&mut self, mut event: LogEvent<'_>, cx: &mut Context<'_>) {
        if event.level < self.level {
            return;
        }
        event.attributes.sort();
        for (file, put) in [(self.json, format::put_json as Put), (self.text, format::put_text)] {
            let Some(file) = file else { continue };
            let entry = cx.files.entry(file);
            let begin = entry.len();
            put(&event, &self.common, cx.clock, entry);
            cx.files.end(file, begin, event.unix_ns / 1_000_000_000);
        }
        if let Some(exporter) = &mut self.exporter {
            exporter.push(&event);
        }
    }

    fn message(
        &mut self,
        record: &Record<'_>,
        ends: Ends,
        message: &[u8],
        is_sent: bool,
        cx: &mut Context<'_>,
    ) {
        let (kind, from, to) = match is_sent {
            true => ("sip.send", ends.local, ends.remote),
            false => ("sip.recv", ends.remote, ends.local),
        };
        let mut event = LogEvent::new(LogLevel::Info, kind, line(message));
        event.unix_ns = cx.clock.unix_ns(record.at_ns);
        let attributes = &mut event.attributes;
        attributes.text("call_id", header(message, b"Call-ID", b"i"));
        attributes.number("call_num", record.call);
        attributes.address("src_ip", from.ip());
        attributes.number("src_port", from.port().into());
        attributes.address("dst_ip", to.ip());
        attributes.number("dst_port", to.port().into());
        attributes.text("transport", ends.protocol.token().as_bytes());
        put_sip(message, attributes);
        self.emit(event, cx);
    }

    fn ended(
        &mut self,
        record: &Record<'_>,
        (call_id, media): (&[u8], Option<&CallMedia>),
        cause: Option<FailureCause>,
        length_ns: u64,
        cx: &mut Context<'_>,
    ) {
        let unix_ns = cx.clock.unix_ns(record.at_ns);
        // A cause without an event of its own gets one here.
        if let Some(cause) = cause.filter(|&cause| !is_told(cause)) {
            let mut event =
                LogEvent::new(LogLevel::Error, "error", Cow::Borrowed(cause.description()));
            event.unix_ns = unix_ns;
            event.attributes.number("call_num", record.call);
            event.attributes.text("error.kind", cause.label().as_bytes());
            self.emit(event, cx);
        }
        let (level, text) = match cause {
            None => (LogLevel::Info, "call ended"),
            Some(cause) => (LogLevel::Warn, cause.description()),
        };
        let mut event = LogEvent::new(level, "call.ended", Cow::Borrowed(text));
        event.unix_ns = unix_ns;
        let attributes = &mut event.attributes;
        attributes.text("call_id", call_id);
        attributes.number("call_num", record.call);
        attributes.text("result", cause.map_or("success", FailureCause::class).as_bytes());
        attributes.number("duration_ms", length_ns / 1_000_000);
        if let Some(cause) = cause {
            attributes.text("error", cause.label().as_bytes());
        }
        if let Some(media) = media {
            attributes.text("heard", media.heard.label().as_bytes());
            attributes.number("rtp.sent", media.packets_sent);
            attributes.number("rtp.received", media.packets_received);
            attributes.number("rtp.lost", media.packets_lost);
            let mos = media.mos_hundredths.map(|mos| f64::from(mos) / 100.0);
            mos.into_iter().for_each(|mos| attributes.float("rtp.mos", mos));
        }
        self.emit(event, cx);
    }

    fn timed_out(
        &mut self,
        record: &Record<'_>,
        call_id: &[u8],
        patience: Patience,
        waited_ms: u64,
        cx: &mut Context<'_>,
    ) {
        let (source, text) = match patience {
            Patience::Receive => ("sip.recv", "no message came in time"),
            Patience::Command => ("cmd.recv", "no command came in time"),
            Patience::Retransmission => ("sip.retrans", "no answer to a message sent repeatedly"),
            Patience::Send => ("sip.send", "no room to send in time"),
        };
        let layout = cx.layout;
        let mut event = LogEvent::new(LogLevel::Warn, "timeout", Cow::Borrowed(text));
        event.unix_ns = cx.clock.unix_ns(record.at_ns);
        let attributes = &mut event.attributes;
        attributes.text("call_id", call_id);
        attributes.number("call_num", record.call);
        attributes.number("command.index", record.step.into());
        attributes.text("expected", step_name(layout, record));
        attributes.number("timeout_ms", waited_ms);
        attributes.number("timeout_ns", waited_ms.saturating_mul(1_000_000));
        attributes.text("source", source.as_bytes());
        self.emit(event, cx);
    }

    fn authenticated(
        &mut self,
        record: &Record<'_>,
        auth: Authenticated<'_>,
        cx: &mut Context<'_>,
    ) {
        let (level, text, result) = match (auth.is_ok, auth.challenge) {
            (true, 0) => (LogLevel::Info, "credentials are right", "success"),
            (true, _) => (LogLevel::Info, "challenge answered", "success"),
            (false, 0) => (LogLevel::Error, "credentials are wrong", "failure"),
            (false, _) => (LogLevel::Error, "challenge cannot be answered", "failure"),
        };
        let mut event = LogEvent::new(level, "auth", Cow::Borrowed(text));
        event.unix_ns = cx.clock.unix_ns(record.at_ns);
        let attributes = &mut event.attributes;
        attributes.text("call_id", auth.call_id);
        attributes.number("call_num", record.call);
        attributes.text("username", auth.username);
        attributes.text("realm", auth.realm);
        attributes.text("algorithm", auth.algorithm);
        attributes.text("qop", auth.qop);
        attributes.number("challenge.status", auth.challenge.into());
        attributes.text("result", result.as_bytes());
        self.emit(event, cx);
    }
}

/// Writes an event as a line.
type Put = fn(&LogEvent<'_>, &[(String, String)], &mut crate::output::Clock, &mut Vec<u8>);

impl RecordSink for EventLog {
    fn kinds(&self) -> Kinds {
        let errors = Kinds::of(&[TraceKind::Error, TraceKind::CallEnded, TraceKind::Authenticated]);
        let warnings = errors.union(Kinds::of(&[
            TraceKind::Unexpected,
            TraceKind::TimedOut,
            TraceKind::Warning,
        ]));
        match self.level {
            LogLevel::Error => errors,
            LogLevel::Warn => warnings,
            LogLevel::Debug | LogLevel::Info => warnings
                .union(Kinds::MESSAGES)
                .union(Kinds::of(&[TraceKind::CallStarted, TraceKind::Log])),
        }
    }

    fn begin(&mut self, cx: &mut Context<'_>) {
        let text = Cow::Borrowed("the run begins");
        let mut event = LogEvent::new(LogLevel::Info, "engine.started", text);
        event.unix_ns = cx.clock.start().unix_ns;
        event.attributes.number("total_calls", self.intent.calls);
        event.attributes.float("rate", self.intent.rate);
        self.emit(event, cx);
    }

    fn record(&mut self, record: &Record<'_>, cx: &mut Context<'_>) {
        let layout = cx.layout;
        let mut event = match record.event {
            Event::Sent { ends, message, .. } => {
                return self.message(record, ends, message, true, cx);
            }
            Event::Received { ends, message } => {
                return self.message(record, ends, message, false, cx);
            }
            Event::CallEnded { call_id, cause, length_ns, media, .. } => {
                return self.ended(record, (call_id, media.as_ref()), cause, length_ns, cx);
            }
            Event::TimedOut { call_id, patience, waited_ms, .. } => {
                return self.timed_out(record, call_id, patience, waited_ms, cx);
            }
            Event::Authenticated(auth) => return self.authenticated(record, auth, cx),
            Event::CallStarted { call_id, ends, .. } => {
                let text = Cow::Borrowed("call started");
                let mut event = LogEvent::new(LogLevel::Info, "call.started", text);
                let attributes = &mut event.attributes;
                attributes.text("call_id", call_id);
                attributes.number("call_num", record.call);
                attributes.address("local_ip", ends.local.ip());
                attributes.number("local_port", ends.local.port().into());
                attributes.address("remote_ip", ends.remote.ip());
                attributes.number("remote_port", ends.remote.port().into());
                attributes.text("transport", ends.protocol.token().as_bytes());
                event
            }
            Event::Unexpected { message, .. } => {
                let mut event = LogEvent::new(LogLevel::Warn, "sip.unexpected", line(message));
                let attributes = &mut event.attributes;
                attributes.text("call_id", header(message, b"Call-ID", b"i"));
                attributes.number("call_num", record.call);
                let awaited = layout.awaited_step(record.program, record.step);
                attributes.text("expected", awaited.map_or(b"", |step| step.name.as_bytes()));
                put_sip(message, attributes);
                event
            }
            Event::Log(text) => {
                LogEvent::new(LogLevel::Info, "action.log", String::from_utf8_lossy(text))
            }
            Event::Warning(text) => {
                LogEvent::new(LogLevel::Warn, "action.log", String::from_utf8_lossy(text))
            }
            Event::Error(text) => {
                let text = String::from_utf8_lossy(text);
                let mut event = LogEvent::new(LogLevel::Error, "error", text);
                event.attributes.number("call_num", record.call);
                event.attributes.text("error.kind", b"scripted");
                event
            }
            Event::Late { .. }
            | Event::OutOfCall { .. }
            | Event::Step { .. }
            | Event::CommandSent(_)
            | Event::CommandReceived(_)
            | Event::SrtpKeys(_)
            | Event::RtpChecked(_)
            | Event::Rtcp { .. }
            | Event::ResponseTime { .. } => return,
        };
        event.unix_ns = cx.clock.unix_ns(record.at_ns);
        self.emit(event, cx);
    }

    fn finish(&mut self, totals: &RunTotals, cx: &mut Context<'_>) {
        let dropped = TraceKind::ALL.iter().filter(|&&kind| self.kinds().has(kind));
        let dropped: u64 = dropped.map(|&kind| totals.dropped.count(kind)).sum();
        let lost = self.losses().events;
        let text = Cow::Borrowed("the run is over");
        let mut event = LogEvent::new(LogLevel::Info, "engine.stopped", text);
        event.unix_ns = totals.unix_ns;
        event.attributes.number("total_calls", totals.calls.started);
        event.attributes.number("successful", totals.calls.succeeded);
        event.attributes.number("failed", totals.calls.failed);
        event.attributes.number("dropped_logs", dropped + lost);
        self.emit(event, cx);
        if let Some(exporter) = &mut self.exporter {
            exporter.finish();
        }
    }

    fn losses(&self) -> Losses {
        let events = self.exporter.as_ref().map_or(0, |exporter| exporter.lost());
        Losses { events, ..Losses::default() }
    }
}

/// The first line of a message.
fn line(message: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(first_line(message))
}

/// Method of a request; method, code and reason of a response.
fn put_sip<'e>(message: &'e [u8], attributes: &mut Attributes<'e>) {
    let word = |text: &'e [u8]| text.split(|byte| *byte == b' ').next().unwrap_or_default();
    let Some((code, reason)) = status(message) else {
        return attributes.text("sip.method", word(first_line(message)));
    };
    let cseq = header(message, b"CSeq", b"");
    let method = cseq.rsplit(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
    attributes.text("sip.method", method);
    let code = std::str::from_utf8(code).ok().and_then(|code| code.parse().ok());
    attributes.number("sip.status", code.unwrap_or(0));
    attributes.text("sip.reason", reason);
}

/// The name of the record's step: the message that it sends or waits for.
fn step_name<'l>(layout: &'l crate::stats::Layout, record: &Record<'_>) -> &'l [u8] {
    let step = layout.step(record.program, record.step);
    step.map_or(b"", |step| step.name.as_bytes())
}

//! The logs of `-trace_format gossipper`. Their forms are interfaces.

use super::sipp::{first_line, header, is_told, status};
use super::{Context, FileId, Log, RecordSink};
use crate::output::put_number;
use crate::stats::TraceKind;
use crate::trace::{Event, Kinds, Patience, Record};

/// Messages: `direction[call]`, the message, an empty line.
#[derive(Debug)]
pub struct Messages(pub FileId);

impl RecordSink for Messages {
    fn kinds(&self) -> Kinds {
        Log::Messages.kinds()
    }

    fn log(&self) -> Option<Log> {
        Some(Log::Messages)
    }

    fn record(&mut self, record: &Record<'_>, cx: &mut Context<'_>) {
        let Some((direction, message)) = direction(record) else { return };
        cx.entry(self.0, record.at_ns, |_, _, out| {
            out.extend_from_slice(direction);
            put_call(record.call, out);
            out.push(b'\n');
            out.extend_from_slice(message);
            if !message.ends_with(b"\n") {
                out.push(b'\n');
            }
            out.push(b'\n');
        });
    }
}

fn direction<'b>(record: &Record<'b>) -> Option<(&'static [u8], &'b [u8])> {
    match record.event {
        Event::Sent { message, .. } => Some((b"send", message)),
        Event::Received { message, .. } => Some((b"recv", message)),
        Event::CommandSent(text) => Some((b"sendCmd", text)),
        Event::CommandReceived(text) => Some((b"recvCmd", text)),
        _ => None,
    }
}

fn put_call(call: u64, out: &mut Vec<u8>) {
    out.push(b'[');
    put_number(call, 1, out);
    out.push(b']');
}

/// A column of a CSV file, in quotes where it needs them (RFC 4180).
fn put_column(text: &[u8], out: &mut Vec<u8>) {
    if !text.iter().any(|byte| b",\"\r\n".contains(byte)) {
        return out.extend_from_slice(text);
    }
    out.push(b'"');
    for &byte in text {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Messages, a row each.
#[derive(Debug)]
pub struct ShortMessages(pub FileId);

impl ShortMessages {
    /// The first line of the file.
    pub const HEADER: &'static [u8] = b"timestamp,direction,call,proto,summary,call_id\n";
}

impl RecordSink for ShortMessages {
    fn kinds(&self) -> Kinds {
        Log::ShortMessages.kinds()
    }

    fn log(&self) -> Option<Log> {
        Some(Log::ShortMessages)
    }

    fn record(&mut self, record: &Record<'_>, cx: &mut Context<'_>) {
        let Some((direction, message)) = direction(record) else { return };
        cx.entry(self.0, record.at_ns, |unix_ns, clock, out| {
            clock.put_rfc3339_local(unix_ns, out);
            out.push(b',');
            out.extend_from_slice(direction);
            out.push(b',');
            put_number(record.call, 1, out);
            let is_sip = record.event.kind() == TraceKind::MessageSent
                || record.event.kind() == TraceKind::MessageReceived;
            out.extend_from_slice(if is_sip { b",sip," } else { b",cmd," });
            put_column(first_line(message), out);
            out.push(b',');
            put_column(header(message, b"Call-ID", b"i"), out);
            out.push(b'\n');
        });
    }
}

/// Errors: time, kind, call and text.
#[derive(Debug)]
pub struct Errors(pub FileId);

impl RecordSink for Errors {
    fn kinds(&self) -> Kinds {
        Log::Errors.kinds()
    }

    fn log(&self) -> Option<Log> {
        Some(Log::Errors)
    }

    fn record(&mut self, record: &Record<'_>, cx: &mut Context<'_>) {
        let mut kind: &[u8] = b"runtime-error";
        let text = match record.event {
            Event::Unexpected { message, .. } => {
                kind = b"unexpected-sip";
                let expected = cx.awaited_name(record);
                let got = String::from_utf8_lossy(first_line(message));
                format!("expected {expected}, received {got}")
            }
            Event::OutOfCall { message } => {
                kind = b"unexpected-sip";
                let got = String::from_utf8_lossy(first_line(message));
                format!("received {got} for no call")
            }
            Event::Warning(text) | Event::Error(text) => String::from_utf8_lossy(text).into_owned(),
            Event::TimedOut { patience, waited_ms, .. } => {
                let what = match patience {
                    Patience::Receive | Patience::Command => "no message",
                    Patience::Retransmission => "no answer",
                    Patience::Send => "no room to send",
                };
                format!("{what} at {} after {waited_ms} ms", cx.step_name(record))
            }
            // A failed check has said before what did not hold.
            Event::CallEnded { cause: Some(cause), .. } if !is_told(cause) && !cause.is_check() => {
                format!("the call failed: {}: {}", cause.label(), cause.description())
            }
            _ => return,
        };
        cx.entry(self.0, record.at_ns, |unix_ns, clock, out| {
            clock.put_rfc3339_local(unix_ns, out);
            out.push(b' ');
            out.extend_from_slice(kind);
            put_call(record.call, out);
            out.push(b' ');
            out.extend_from_slice(text.as_bytes());
            out.push(b'\n');
        });
    }
}

/// Codes of unexpected responses, a row each.
#[derive(Debug)]
pub struct ErrorCodes(pub FileId);

impl ErrorCodes {
    /// The first line of the file.
    pub const HEADER: &'static [u8] = b"timestamp,call,code,reason,call_id,expected\n";
}

impl RecordSink for ErrorCodes {
    fn kinds(&self) -> Kinds {
        Kinds::of(&[TraceKind::Unexpected])
    }

    fn record(&mut self, record: &Record<'_>, cx: &mut Context<'_>) {
        let Event::Unexpected { message, .. } = record.event else { return };
        let Some((code, reason)) = status(message) else { return };
        let expected = cx.awaited_name(record);
        cx.entry(self.0, record.at_ns, |unix_ns, clock, out| {
            clock.put_rfc3339_local(unix_ns, out);
            out.push(b',');
            put_number(record.call, 1, out);
            for column in [code, reason, header(message, b"Call-ID", b"i"), expected.as_bytes()] {
                out.push(b',');
                put_column(column, out);
            }
            out.push(b'\n');
        });
    }
}

/// The texts of `log` actions.
#[derive(Debug)]
pub struct Logs(pub FileId);

impl RecordSink for Logs {
    fn kinds(&self) -> Kinds {
        Log::Logs.kinds()
    }

    fn log(&self) -> Option<Log> {
        Some(Log::Logs)
    }

    fn record(&mut self, record: &Record<'_>, cx: &mut Context<'_>) {
        let Event::Log(text) = record.event else { return };
        cx.entry(self.0, record.at_ns, |unix_ns, clock, out| {
            clock.put_rfc3339_local(unix_ns, out);
            out.extend_from_slice(b" action-log ");
            out.extend_from_slice(text);
            out.push(b'\n');
        });
    }
}

/// Response times, a row each.
#[derive(Debug)]
pub struct ResponseTimes(pub FileId);

impl ResponseTimes {
    /// The first line of the file.
    pub const HEADER: &'static [u8] = b"timestamp,call,name,value_ms\n";
}

impl RecordSink for ResponseTimes {
    fn kinds(&self) -> Kinds {
        Kinds::of(&[TraceKind::ResponseTime])
    }

    fn record(&mut self, record: &Record<'_>, cx: &mut Context<'_>) {
        let Event::ResponseTime { rtd, duration_ns } = record.event else { return };
        let name = cx.layout.rtds.get(usize::from(rtd)).cloned().unwrap_or_default();
        cx.entry(self.0, record.at_ns, |unix_ns, clock, out| {
            clock.put_rfc3339_local(unix_ns, out);
            out.push(b',');
            put_number(record.call, 1, out);
            out.push(b',');
            put_column(name.as_bytes(), out);
            out.push(b',');
            put_number(duration_ns / 1_000_000, 1, out);
            out.push(b'.');
            put_number(duration_ns % 1_000_000, 6, out);
            out.push(b'\n');
        });
    }
}

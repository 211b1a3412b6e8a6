//! SIPp's logs: messages, short messages, errors, logs, response times and codes of errors.

use std::collections::VecDeque;

use super::{Context, FileId, Log, RecordSink, RunTotals};
use crate::output::put_number;
use crate::stats::{FailureCause, StepKind, StepLayout, TraceKind};
use crate::trace::{Event, Kinds, Patience, Protocol, Record};

const MESSAGE_RULE: &[u8] = b"-----------------------------------------------";

/// SIPp's name for the transport of third-party call control.
const COMMANDS: &str = "TCP control";

/// Messages as they were, each below a line with its time (`-trace_msg`). A message that fails its
/// call is shown once more, as unexpected.
#[derive(Debug)]
pub struct Messages {
    file: FileId,
    /// Transport of the last message.
    protocol: Protocol,
}

impl Messages {
    /// Messages in `file`.
    pub fn new(file: FileId) -> Self {
        Self { file, protocol: Protocol::default() }
    }
}

impl RecordSink for Messages {
    fn kinds(&self) -> Kinds {
        Log::Messages.kinds()
    }

    fn log(&self) -> Option<Log> {
        Some(Log::Messages)
    }

    fn record(&mut self, record: &Record<'_>, cx: &mut Context<'_>) {
        let (protocol, message, is_sent) = match record.event {
            Event::Sent { ends, message, .. } => (ends.protocol.name(), message, true),
            Event::Received { ends, message } => {
                self.protocol = ends.protocol;
                (ends.protocol.name(), message, false)
            }
            Event::CommandSent(text) => (COMMANDS, text, true),
            Event::CommandReceived(text) => (COMMANDS, text, false),
            Event::Unexpected { message, .. } if !has_answer_of_its_own(message) => {
                let protocol = self.protocol.name();
                return cx.entry(self.file, record.at_ns, |_, _, out| {
                    out.extend_from_slice(MESSAGE_RULE);
                    out.extend_from_slice(b"\nUnexpected ");
                    out.extend_from_slice(protocol.as_bytes());
                    out.extend_from_slice(b" message received:\n\n");
                    out.extend_from_slice(message);
                    out.push(b'\n');
                });
            }
            _ => return,
        };
        cx.entry(self.file, record.at_ns, |unix_ns, clock, out| {
            out.extend_from_slice(MESSAGE_RULE);
            out.push(b' ');
            clock.put_date_time(unix_ns, b' ', out);
            out.push(b'\n');
            out.extend_from_slice(protocol.as_bytes());
            if is_sent {
                out.extend_from_slice(b" message sent (");
                put_number(message.len() as u64, 1, out);
                out.extend_from_slice(b" bytes):\n\n");
            } else {
                out.extend_from_slice(b" message received [");
                put_number(message.len() as u64, 1, out);
                out.extend_from_slice(b"] bytes :\n\n");
            }
            out.extend_from_slice(message);
            out.push(b'\n');
        });
    }
}

/// A line per message (`-trace_shortmsg`).
#[derive(Debug)]
pub struct ShortMessages(pub FileId);

impl RecordSink for ShortMessages {
    fn kinds(&self) -> Kinds {
        Log::ShortMessages.kinds()
    }

    fn log(&self) -> Option<Log> {
        Some(Log::ShortMessages)
    }

    fn record(&mut self, record: &Record<'_>, cx: &mut Context<'_>) {
        let (message, direction) = match record.event {
            Event::Sent { message, .. } | Event::CommandSent(message) => (message, b'S'),
            Event::Received { message, .. } | Event::CommandReceived(message) => (message, b'R'),
            _ => return,
        };
        cx.entry(self.0, record.at_ns, |unix_ns, clock, out| {
            clock.put(unix_ns, out);
            out.extend_from_slice(&[b'\t', direction, b'\t']);
            out.extend_from_slice(header(message, b"Call-ID", b"i"));
            out.extend_from_slice(b"\tCSeq:");
            out.extend_from_slice(header(message, b"CSeq", b""));
            out.push(b'\t');
            out.extend_from_slice(first_line(message));
            out.push(b'\n');
        });
    }
}

/// Unexpected messages, timeouts and other failures (`-trace_err`).
#[derive(Debug)]
pub struct Errors {
    file: FileId,
    has_begun: bool,
}

impl Errors {
    /// Errors in `file`.
    pub fn new(file: FileId) -> Self {
        Self { file, has_begun: false }
    }
}

impl RecordSink for Errors {
    fn kinds(&self) -> Kinds {
        Log::Errors.kinds()
    }

    fn log(&self) -> Option<Log> {
        Some(Log::Errors)
    }

    fn record(&mut self, record: &Record<'_>, cx: &mut Context<'_>) {
        let mut text = Vec::new();
        if !error_text(record, cx, &mut text) {
            return;
        }
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        cx.entry(self.file, record.at_ns, |unix_ns, clock, out| {
            if is_first {
                out.extend_from_slice(b"The following events occurred:\n");
            }
            clock.put(unix_ns, out);
            out.extend_from_slice(b": ");
            out.extend_from_slice(&text);
            out.push(b'\n');
        });
    }
}

/// SIPp's words for the work of a call at a step.
fn while_at(step: Option<&StepLayout>) -> String {
    match step.map(|step| (step.kind, &step.name)) {
        Some((StepKind::Recv { .. }, name)) => format!("expecting '{name}'"),
        Some((StepKind::Send { .. }, _)) => "sending".to_owned(),
        Some((StepKind::Pause, _)) => "pausing".to_owned(),
        Some((StepKind::SendCommand, _)) => "sending command".to_owned(),
        Some((StepKind::RecvCommand, _)) => "expecting command".to_owned(),
        Some((StepKind::Nop, _)) | None => "running actions".to_owned(),
    }
}

/// Writes SIPp's text for an event; returns `false` if SIPp does not report it as an error.
fn error_text(record: &Record<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> bool {
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
    let index = record.step.to_string();
    match record.event {
        Event::Unexpected { message, aborts } => {
            let call_id = header(message, b"Call-ID", b"i");
            let method = first_line(message).split(|&byte| byte == b' ').next();
            match (method.unwrap_or_default(), aborts) {
                (method @ (b"BYE" | b"CANCEL"), true) => {
                    put(&[b"Aborting call on an unexpected ", method, b" for call: ", call_id]);
                }
                (b"INFO" | b"NOTIFY" | b"OPTIONS" | b"UPDATE", false) => put(&[
                    b"Automatic response mode for an unexpected INFO, NOTIFY, OPTIONS or UPDATE ",
                    b"for call: ",
                    call_id,
                ]),
                _ => {
                    let verb: &[u8] = if aborts { b"Aborting" } else { b"Continuing" };
                    let at = while_at(cx.step(record));
                    put(&[
                        verb,
                        b" call on unexpected message for Call-Id '",
                        call_id,
                        b"': while ",
                        at.as_bytes(),
                        b" (index ",
                        index.as_bytes(),
                        b"), received '",
                        message,
                        b"'",
                    ]);
                }
            }
        }
        Event::Late { message } => {
            let call_id = header(message, b"Call-ID", b"i");
            put(&[b"Dead call ", call_id, b", received '", message, b"'"]);
        }
        Event::OutOfCall { message } => {
            put(&[b"Discarding message which can't be mapped to a known SIPp call:\n", message])
        }
        Event::Warning(text) | Event::Error(text) => put(&[text]),
        Event::TimedOut { call_id, patience, aborts, .. } => {
            let then: &[u8] = match aborts {
                true => b" without label to jump to (ontimeout attribute): aborting call",
                false => b", jumping to its label (ontimeout attribute)",
            };
            match (patience, aborts) {
                (Patience::Receive | Patience::Command | Patience::Send, _) => put(&[
                    b"Call-Id: ",
                    call_id,
                    match patience {
                        Patience::Send => b", send timeout on message ",
                        _ => b", receive timeout on message ",
                    },
                    cx.program_name(record).as_bytes(),
                    b":",
                    index.as_bytes(),
                    then,
                ]),
                (Patience::Retransmission, true) => put(&[
                    b"Aborting call on UDP retransmission timeout for Call-ID '",
                    call_id,
                    b"'",
                ]),
                (Patience::Retransmission, false) => put(&[
                    b"Call-Id: ",
                    call_id,
                    b", retransmission timeout on message ",
                    cx.program_name(record).as_bytes(),
                    b":",
                    index.as_bytes(),
                    then,
                ]),
            }
        }
        Event::CallEnded { call_id, cause: Some(cause), .. } => {
            // A failed check has said before what did not hold.
            if is_told(cause) || cause.is_check() {
                return false;
            }
            put(&[
                b"Aborting call for Call-Id '",
                call_id,
                b"' (index ",
                index.as_bytes(),
                b"): ",
                cause.label().as_bytes(),
                b": ",
                cause.description().as_bytes(),
            ]);
        }
        _ => return false,
    }
    true
}

/// Tells whether `cause` needs no line of its own: another event of the call reports it, or it is
/// no error, like the cancelling of a call.
pub(super) fn is_told(cause: FailureCause) -> bool {
    use FailureCause::{
        Cancelled, MaxUdpRetrans, PeerHangup, RecvTimeout, SendTimeout, UnexpectedMessage,
    };
    matches!(
        cause,
        Cancelled | MaxUdpRetrans | PeerHangup | RecvTimeout | SendTimeout | UnexpectedMessage
    )
}

/// The texts of `log` actions (`-trace_logs`).
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
        cx.entry(self.0, record.at_ns, |_, _, out| {
            out.extend_from_slice(text);
            out.push(b'\n');
        });
    }
}

/// Bytes of waiting response times beyond which they are written, whatever `-rtt_freq` says.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// Response times (`-trace_rtt`), written `frequency` at a time.
#[derive(Debug)]
pub struct ResponseTimes {
    file: FileId,
    delimiter: Vec<u8>,
    frequency: u64,
    waiting: Vec<u8>,
    count: u64,
}

impl ResponseTimes {
    /// Response times in `file`.
    pub fn new(file: FileId, delimiter: &str, frequency: u64) -> Self {
        let delimiter = delimiter.as_bytes().to_vec();
        Self { file, delimiter, frequency, waiting: Vec::new(), count: 0 }
    }

    /// The first line of the file.
    pub fn header(delimiter: &str) -> Vec<u8> {
        format!("Date_ms{delimiter}response_time_ms{delimiter}rtd_no\n").into_bytes()
    }

    fn flush(&mut self, cx: &mut Context<'_>) {
        if !self.waiting.is_empty() {
            let unix_s = cx.clock.now_unix_s();
            cx.files.append(self.file, &self.waiting, unix_s);
            self.waiting.clear();
        }
        self.count = 0;
    }
}

impl RecordSink for ResponseTimes {
    fn kinds(&self) -> Kinds {
        Kinds::of(&[TraceKind::ResponseTime])
    }

    fn record(&mut self, record: &Record<'_>, cx: &mut Context<'_>) {
        let Event::ResponseTime { rtd, duration_ns } = record.event else { return };
        let since_ns = record.at_ns.saturating_sub(cx.clock.start().monotonic_ns);
        let out = &mut self.waiting;
        put_number(since_ns / 1_000_000, 1, out);
        let micros = since_ns / 1000 % 1000;
        if micros > 0 {
            out.push(b'.');
            put_number(micros, 3, out);
        }
        out.extend_from_slice(&self.delimiter);
        put_number(duration_ns / 1_000_000, 1, out);
        out.extend_from_slice(&self.delimiter);
        let name = cx.layout.rtds.get(usize::from(rtd)).map_or("", String::as_str);
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
        self.count += 1;
        if self.count >= self.frequency || self.waiting.len() >= WAITING_BYTES_MAX {
            self.flush(cx);
        }
    }

    fn dump(&mut self, cx: &mut Context<'_>) {
        self.flush(cx);
    }

    fn finish(&mut self, _: &RunTotals, cx: &mut Context<'_>) {
        self.flush(cx);
    }
}

/// Codes of unexpected responses, a row per period (`-trace_error_codes`).
#[derive(Debug)]
pub struct ErrorCodes {
    file: FileId,
    delimiter: Vec<u8>,
    /// Codes that are in no row yet, with their times.
    codes: VecDeque<(u64, [u8; 3])>,
}

/// Codes kept for one row. Later ones of the period are left out.
const CODES_MAX: usize = 1 << 16;

impl ErrorCodes {
    /// Codes in `file`.
    pub fn new(file: FileId, delimiter: &str) -> Self {
        Self { file, delimiter: delimiter.as_bytes().to_vec(), codes: VecDeque::new() }
    }
}

impl RecordSink for ErrorCodes {
    fn kinds(&self) -> Kinds {
        Kinds::of(&[TraceKind::Unexpected])
    }

    fn record(&mut self, record: &Record<'_>, cx: &mut Context<'_>) {
        let Event::Unexpected { message, .. } = record.event else { return };
        let code = status(message).and_then(|(code, _)| <[u8; 3]>::try_from(code).ok());
        if let Some(code) = code
            && self.codes.len() < CODES_MAX
        {
            self.codes.push_back((cx.clock.unix_ns(record.at_ns), code));
        }
    }

    fn period(&mut self, unix_ns: u64, elapsed_ns: u64, cx: &mut Context<'_>) {
        let entry = cx.files.entry(self.file);
        let begin = entry.len();
        cx.clock.put(unix_ns, entry);
        entry.extend_from_slice(&self.delimiter);
        crate::output::put_duration_ms(elapsed_ns / 1_000_000, entry);
        entry.extend_from_slice(&self.delimiter);
        while let Some((_, code)) = self.codes.pop_front_if(|(at_ns, _)| *at_ns <= unix_ns) {
            entry.extend_from_slice(&code);
            entry.push(b',');
        }
        entry.push(b'\n');
        cx.files.end(self.file, begin, unix_ns / 1_000_000_000);
    }
}

/// Tells whether a default behaviour answers an unexpected message.
fn has_answer_of_its_own(message: &[u8]) -> bool {
    let method = first_line(message).split(|&byte| byte == b' ').next();
    let answered: [&[u8]; 7] =
        [b"BYE", b"CANCEL", b"PING", b"INFO", b"NOTIFY", b"OPTIONS", b"UPDATE"];
    method.is_some_and(|method| answered.contains(&method))
}

/// Code and reason of a response.
pub(super) fn status(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = first_line(message).strip_prefix(b"SIP/2.0 ")?;
    let (code, reason) = rest.split_at_checked(3)?;
    Some((code, reason.trim_ascii_start()))
}

/// The first line without its end.
pub(super) fn first_line(message: &[u8]) -> &[u8] {
    message.split(|&byte| byte == b'\n').next().unwrap_or_default().trim_ascii_end()
}

/// The value of a header by its long or compact name, from messages that may be malformed; empty
/// if there is none.
pub(super) fn header<'m>(message: &'m [u8], long: &[u8], compact: &[u8]) -> &'m [u8] {
    for line in message.split(|&byte| byte == b'\n').skip(1) {
        let line = line.trim_ascii_end();
        if line.is_empty() {
            break;
        }
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let name = line[..colon].trim_ascii();
        if name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(compact) {
            return line[colon + 1..].trim_ascii();
        }
    }
    &[]
}

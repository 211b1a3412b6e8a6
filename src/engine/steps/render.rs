//! Rendering of templates to bytes. Nothing here allocates, except for the rare keywords that
//! depend on the peer.

use std::io::Write as _;

use crate::calendar;
use crate::decimal::{self, DIGITS_MAX};
use crate::engine::Engine;
use crate::engine::call::ids::{TOKEN_LEN, hex8};
use crate::engine::call::variables::Value;
use crate::engine::call::{NO_CIRCUIT, Slot};
use crate::engine::dialog::authenticate::{Place, Wanted};
use crate::engine::programs::bound::{Bound, peer_field};
use crate::injection::Table;
use crate::media::Track;
use crate::scenario::{Field, HeaderPart, Part, Template, VariableRef, WrittenAuthentication};
use crate::sip::{Header, HeaderId, Message, NameAddr, base64, find_parameter};
use crate::stats::FailureCause;

/// A writer into a fixed buffer that remembers if the buffer was too small.
pub(in crate::engine) struct Out<'b> {
    buffer: &'b mut [u8],
    at: usize,
    overflow: bool,
    failure: Option<FailureCause>,
    has_answer: bool,
    is_nested: bool,
}

/// The context of a rendered text: the call, the step, the time and the last received message.
#[derive(Clone, Copy)]
pub(in crate::engine) struct At<'a, 'm> {
    pub(in crate::engine) slot: Slot,
    pub(in crate::engine) step: u16,
    pub(in crate::engine) now: u64,
    /// The last received message.
    pub(in crate::engine) last: Option<&'a Message<'m>>,
}

impl<'b> Out<'b> {
    pub(in crate::engine) fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, at: 0, overflow: false, failure: None, has_answer: false, is_nested: false }
    }

    /// Does the same as [`new`](Self::new), for the argument of a keyword.
    pub(in crate::engine) fn nested(buffer: &'b mut [u8]) -> Self {
        Self { is_nested: true, ..Self::new(buffer) }
    }

    /// Number of bytes written; `None` if they did not fit, or a value was not available.
    pub(in crate::engine) fn len(&self) -> Option<usize> {
        (!self.overflow && self.failure.is_none()).then_some(self.at)
    }

    /// The reason why a value was not available.
    pub(in crate::engine) fn failure(&self) -> Option<FailureCause> {
        self.failure
    }

    /// Notes that a value was not available.
    pub(in crate::engine) fn fail(&mut self, cause: FailureCause) {
        self.failure.get_or_insert(cause);
    }

    /// The bytes written so far.
    pub(in crate::engine) fn written(&self) -> &[u8] {
        &self.buffer[..self.at]
    }

    /// Returns `true` if the buffer holds the answer to a challenge.
    pub(in crate::engine) fn has_answer(&self) -> bool {
        self.has_answer
    }

    /// Replaces `len` written bytes at `at` with `bytes`, the answer to a challenge.
    pub(in crate::engine) fn replace(&mut self, at: usize, len: usize, bytes: &[u8]) {
        let end = self.at - len + bytes.len();
        if end > self.buffer.len() || at + len > self.at {
            self.overflow = true;
            return;
        }
        self.buffer.copy_within(at + len..self.at, at + bytes.len());
        self.buffer[at..at + bytes.len()].copy_from_slice(bytes);
        self.at = end;
        self.has_answer = true;
    }

    pub(in crate::engine) fn put(&mut self, bytes: &[u8]) {
        match self.buffer.get_mut(self.at..self.at + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.at += bytes.len();
            }
            None => self.overflow = true,
        }
    }

    pub(in crate::engine) fn number(&mut self, value: i64) {
        if value < 0 {
            self.put(b"-");
        }
        self.put(decimal::digits(value.unsigned_abs(), &mut [0; DIGITS_MAX]));
    }
}

/// The line end, or end of the head, that the text of a variable ends with. As in SIPp, it is not
/// written a second time. A text may hold the end of a head, as that of another message.
#[derive(Clone, Copy, Default)]
enum Brought {
    #[default]
    Nothing,
    Line,
    Head,
}

impl Brought {
    fn by(text: &[u8]) -> Self {
        match text {
            [.., b'\n'] if memchr::memmem::find(text, b"\r\n\r\n").is_some() => Self::Head,
            [.., b'\n'] => Self::Line,
            _ => Self::Nothing,
        }
    }

    /// Removes the line ends from the start of `text` that the variable has already brought. Those
    /// that `text` lacks are removed from the next text.
    fn cut<'t>(&mut self, text: &'t [u8]) -> &'t [u8] {
        let brought = std::mem::take(self);
        let (Self::Line | Self::Head) = brought else { return text };
        let Some(rest) = text.strip_prefix(b"\r\n") else { return text };
        match brought {
            // The empty line that ends the head is still to come.
            Self::Head if rest.is_empty() => {
                *self = Self::Line;
                rest
            }
            Self::Head => rest.strip_prefix(b"\r\n").unwrap_or(rest),
            _ => rest,
        }
    }
}

/// A line that is left out if it holds no value.
struct OptionalLine {
    /// Index of the part behind the line.
    end: usize,
    /// Offset of the line in the message.
    begin: usize,
}

/// The place where `[len]` is written once the body is known.
struct LenPatch {
    at: usize,
    offset: i64,
}

/// Width of `[len]`, right-aligned: the length of a message does not depend on its body's length.
const LEN_WIDTH: usize = 5;

impl Engine {
    /// Renders `template` for a call at a step.
    pub(in crate::engine) fn render(
        &self,
        template: &Template,
        at: &At<'_, '_>,
        out: &mut Out<'_>,
    ) {
        let bound = &**self.program_of(at.slot);
        // The answer to a challenge may depend on everything behind it.
        let mut answer: Option<(usize, Wanted<'_>)> = None;
        let mut patches: [Option<LenPatch>; 4] = [const { None }; 4];
        let mut patch_count = 0;
        let mut body_at = 0;
        let mut line: Option<OptionalLine> = None;
        // CRLFs that the preceding variable's text ended with; the next literal must not repeat
        // them.
        let mut brought = Brought::Nothing;
        let mut index = 0;
        while index < template.parts.len() {
            if index == template.body_part {
                body_at = out.at;
            }
            match &template.parts[index] {
                Part::Literal { start, end } => {
                    let text = &template.pool[*start as usize..*end as usize];
                    if matches!(brought, Brought::Nothing) && line.is_none() {
                        out.put(text);
                        index += 1;
                        continue;
                    }
                    let text = brought.cut(text);
                    // As in SIPp, white space behind values that are all empty is skipped, the line
                    // end included.
                    let is_empty = line.as_ref().is_some_and(|line| line.begin == out.at);
                    out.put(if is_empty { text.trim_ascii_start() } else { text });
                }
                Part::OptionalLine { parts } => {
                    if matches!(brought, Brought::Nothing)
                        && self.put_line_of_last(template, index, at, out)
                    {
                        index += 1 + usize::from(*parts);
                        continue;
                    }
                    line =
                        Some(OptionalLine { end: index + 1 + usize::from(*parts), begin: out.at });
                }
                Part::Field(Field::Len(offset)) => {
                    if let Some(patch) = patches.get_mut(patch_count) {
                        *patch = Some(LenPatch { at: out.at, offset: *offset });
                        patch_count += 1;
                    }
                    out.put(&[b' '; LEN_WIDTH]);
                }
                Part::Field(Field::Authentication(parts)) => {
                    answer = Some((out.at, Wanted::Keyword(parts)));
                    // The answer is written last, and never empty.
                    line = None;
                }
                Part::Field(field) => {
                    let begin = out.at;
                    self.field(field, at, bound, out);
                    match field {
                        Field::Variable(_) if !out.overflow => {
                            brought = Brought::by(&out.buffer[begin..out.at]);
                        }
                        Field::Injected(injected) if !out.overflow => {
                            self.note_written_keyword(injected.table, begin, &mut answer, out);
                        }
                        _ => {}
                    }
                }
            }
            index += 1;
            line = line.filter(|line| index < line.end);
        }
        if template.body_part >= template.parts.len() {
            body_at = out.at;
        }
        if out.overflow {
            return;
        }
        let body_len = (out.at - body_at) as i64;
        for patch in patches.iter().flatten() {
            patch_len(&mut out.buffer[patch.at..patch.at + LEN_WIDTH], body_len + patch.offset);
        }
        if let Some((place, wanted)) = answer {
            // The text of an action has neither head nor body.
            let has_body = (1..template.parts.len()).contains(&template.body_part);
            if has_body && place >= body_at {
                // As in SIPp, an answer must be a header.
                return out.fail(FailureCause::AuthenticationFailed);
            }
            self.answer_challenge(at, &Place { at: place, body: body_at, wanted }, out);
        }
    }

    /// Writes the optional line that begins at part `index`, if it is one header of the last
    /// message and a line end, as most lines of answers are; `false` if it is another one.
    fn put_line_of_last(
        &self,
        template: &Template,
        index: usize,
        at: &At<'_, '_>,
        out: &mut Out<'_>,
    ) -> bool {
        let [
            Part::OptionalLine { parts: 2 },
            Part::Field(field @ Field::LastHeader(_)),
            Part::Literal { start, end },
            ..,
        ] = &template.parts[index..]
        else {
            return false;
        };
        if (index + 1..index + 3).contains(&template.body_part) {
            return false;
        }
        let begin = out.at;
        self.field_of_last(field, at, self.program_of(at.slot), out);
        let text = &template.pool[*start as usize..*end as usize];
        out.put(if out.at == begin { text.trim_ascii_start() } else { text });
        true
    }

    /// Notes an `[authentication]` that a row of an injection file has written behind `begin`.
    fn note_written_keyword(
        &self,
        table: u16,
        begin: usize,
        answer: &mut Option<(usize, Wanted<'_>)>,
        out: &mut Out<'_>,
    ) {
        let has_brackets = self.tables.get(usize::from(table)).is_some_and(Table::has_brackets);
        // Keywords in an argument are plain text: otherwise a row could name itself forever.
        if out.is_nested || !has_brackets {
            return;
        }
        let text = &out.buffer[begin..out.at];
        let Some(found) = WrittenAuthentication::find(text) else { return };
        // As in SIPp, a message has one answer.
        if answer.is_some() || WrittenAuthentication::find(&text[found.end..]).is_some() {
            return out.fail(FailureCause::AuthenticationFailed);
        }
        *answer = Some((begin + found.start, Wanted::Field { table, len: found.len() }));
    }

    /// Writes one field, or nothing if its value is absent.
    fn field(&self, field: &Field, at: &At<'_, '_>, bound: &Bound, out: &mut Out<'_>) {
        let At { slot, step, now, .. } = *at;
        let call = &self.calls[slot];
        match field {
            Field::CallId => self.put_call_id(slot, out),
            Field::CallNumber(offset) => out.number(call.number as i64 + offset),
            Field::Cseq(offset) => {
                let named = bound.named(step).and_then(|named| self.acknowledged_cseq(slot, named));
                let cseq = named.unwrap_or(call.cseq);
                out.number(i64::from(cseq) + offset);
            }
            Field::Branch(offset) => {
                let named = bound.named(step).and_then(|named| self.acknowledged_step(slot, named));
                let step = named.unwrap_or(step);
                self.put_branch(slot, (i64::from(step) + offset).max(0) as u64, out);
            }
            Field::CryptoKey { index, again } => self.put_crypto_key(slot, *index, *again, out),
            Field::MsgIndex => out.number(i64::from(step)),
            Field::PeerTagParam => out.put(self.peer_tag_param(slot)),
            Field::NextUrl => self.put_next_url(at, out),
            Field::Routes => self.put_recorded_routes(slot, out),
            // Constant unless calls have source addresses of their own.
            Field::LocalIp | Field::ServerIp => out.put(self.local_ip_text(slot)),
            Field::LocalIpInSdp => out.put(without_brackets(self.local_ip_text(slot))),
            Field::LocalPort(offset) => out.number(i64::from(call.local_port) + offset),
            Field::MediaIp | Field::MediaIpType => self.put_media_ip(slot, field, out),
            Field::MediaPort(offset) => self.put_media_port(slot, Track::Audio, *offset, out),
            Field::VideoPort(offset) => self.put_media_port(slot, Track::Video, *offset, out),
            Field::AudioSsrc => self.put_audio_source(slot, out),
            Field::AutoMediaPort(offset) => self.put_auto_media_port(slot, *offset, out),
            Field::AudioPayloadType
            | Field::AudioCodec
            | Field::AudioRtpMap
            | Field::AudioFmtp
            | Field::AudioSdp(_) => self.put_audio(field, at, out),
            Field::Webrtc(field) => self.put_webrtc(*field, at, out),
            Field::UserId if !self.has_users() => out.number(0),
            Field::UserId => out.number(i64::from(self.user_number(slot)) + 1),
            Field::DynamicId => self.put_dynamic_id(out),
            Field::ClockTick(offset) => {
                let elapsed_ms = now.saturating_sub(self.config.start_ns) / 1_000_000;
                out.number(elapsed_ms as i64 + offset);
            }
            Field::Timestamp => put_timestamp(now + self.config.wall_offset_ns, out),
            Field::Date => put_date(now + self.config.wall_offset_ns, out),
            Field::Variable(variable) => self.put_variable(slot, *variable, out),
            Field::Fill { text, variable } => self.put_fill(slot, text, *variable, out),
            Field::Injected(injected) => self.put_injected(injected, at, out),
            Field::Circuit => self.put_circuit(slot, out),
            Field::RemoteIp | Field::RemoteIpInSdp | Field::RemoteHost | Field::RemotePort(_) => {
                let bytes = peer_field(field, call.remote);
                out.put(bytes.as_deref().unwrap_or_default());
            }
            Field::LastHeader(_)
            | Field::LastHeaderPart(_)
            | Field::LastMessage
            | Field::LastRequestUri
            | Field::LastCseqNumber(_) => self.field_of_last(field, at, bound, out),
            // `bound::constant` has made literals of these.
            Field::Service
            | Field::LocalIpType
            | Field::Transport
            | Field::MediaTransport
            | Field::Pid
            | Field::SippVersion
            | Field::Users => {}
            // `render` writes these, once it knows the rest of the message.
            Field::Len(_) | Field::Authentication(_) => {}
        }
    }

    /// Puts a field that is taken from the last received message. The caller passes no other.
    fn field_of_last(&self, field: &Field, at: &At<'_, '_>, bound: &Bound, out: &mut Out<'_>) {
        let last = at.last;
        match field {
            Field::LastHeader(header) => {
                let Some(last) = last else { return };
                let id = bound.last_ids[usize::from(*header)];
                let name = &bound.program.last_headers[usize::from(*header)];
                put_last_header(last, id, name.as_bytes(), out);
            }
            Field::LastHeaderPart(wanted) => {
                let Some(last) = last else { return };
                let id = bound.last_ids[usize::from(wanted.header)];
                let name = &bound.program.last_headers[usize::from(wanted.header)];
                put_last_part(last, id, name.as_bytes(), &wanted.part, out);
            }
            Field::LastMessage => {
                let Some(last) = last else { return };
                out.put(last.bytes());
            }
            Field::LastRequestUri => {
                let to = last.and_then(|last| last.first(HeaderId::To));
                let Some(Ok(to)) = to.map(NameAddr::parse) else { return };
                out.put(to.uri);
            }
            Field::LastCseqNumber(offset) => {
                // SIPp writes 0 before the first message.
                let number = last.and_then(|last| last.cseq().ok()).map_or(0, |cseq| cseq.number);
                out.number(i64::from(number) + offset);
            }
            _ => {}
        }
    }

    /// Puts the port of audio, or a number that grows by four with each call if the call has bound
    /// no port.
    fn put_auto_media_port(&self, slot: Slot, offset: i64, out: &mut Out<'_>) {
        let call = &self.calls[slot];
        if call.media.leg.is_some() {
            return self.put_media_port(slot, Track::Audio, offset, out);
        }
        let shift = 4 * (call.number as i64 - 1).rem_euclid(2500);
        out.number(i64::from(self.config.environment.media_port) + shift + offset);
    }

    /// Puts the address of the call's media, or its type. It differs by call only behind a relay.
    fn put_media_ip(&self, slot: Slot, field: &Field, out: &mut Out<'_>) {
        match (self.media_address(slot, Track::Audio).map(|address| address.ip()), field) {
            (None, _) => out.fail(FailureCause::NoMediaPort),
            (Some(ip), Field::MediaIpType) => out.put(if ip.is_ipv4() { b"4" } else { b"6" }),
            (Some(ip), _) => out.put(ip.to_string().as_bytes()),
        }
    }

    /// Puts the port of a track that the call has bound.
    fn put_media_port(&self, slot: Slot, track: Track, offset: i64, out: &mut Out<'_>) {
        match self.media_address(slot, track) {
            Some(address) => out.number(i64::from(address.port()) + offset),
            // Only `<init>` has no leg where programs have media.
            None => out.fail(FailureCause::NoMediaPort),
        }
    }

    /// Puts the key of a `[cryptokey...]`: the next one, or with `again` the same once more.
    fn put_crypto_key(&self, slot: Slot, index: u8, again: bool, out: &mut Out<'_>) {
        let keys = &self.calls[slot].crypto_keys;
        let mut counts = keys.get();
        let count = &mut counts[usize::from(index)];
        if !again || *count == 0 {
            *count = count.wrapping_add(1).max(1);
        }
        let count = *count;
        keys.set(counts);
        out.put(&self.crypto_key(slot, index, count));
    }

    /// Puts `text` over and over, up to the number of bytes in `variable`.
    fn put_fill(&self, slot: Slot, text: &[u8], variable: VariableRef, out: &mut Out<'_>) {
        let wanted = self.variable(slot, variable).number(&self.blobs).max(0.0) as usize;
        for at in 0..wanted.min(u16::MAX.into()) {
            out.put(&text[at % text.len()..][..1]);
        }
    }

    fn put_circuit(&self, slot: Slot, out: &mut Out<'_>) {
        let circuit = self.calls[slot].circuit;
        if let Some(circuits) = self.circuits.as_ref().filter(|_| circuit != NO_CIRCUIT) {
            circuits.map.put(circuit, out);
        }
    }

    fn put_dynamic_id(&self, out: &mut Out<'_>) {
        let ids = self.config.rules.dynamic_ids;
        let id = self.dynamic_id.get();
        out.number(id as i64);
        let next = id + ids.step;
        self.dynamic_id.set(if next > ids.max { ids.start } else { next });
    }

    fn put_variable(&self, slot: Slot, variable: VariableRef, out: &mut Out<'_>) {
        match self.variable(slot, variable) {
            Value::Unset => {}
            // SIPp treats a variable that is 0 like one that was never assigned.
            Value::Number(0.0) => {}
            Value::Truth(truth) => out.put(if *truth { b"true" } else { b"false" }),
            Value::Text(blob) => out.put(self.blobs.bytes(blob)),
            Value::Number(number) => {
                // The longest double has 309 digits before the point.
                let mut text = [0u8; 320];
                let mut rest = &mut text[..];
                let _ = write!(rest, "{number:.6}");
                let left = rest.len();
                out.put(&text[..320 - left]);
            }
        }
    }

    /// The `count`-th key and salt of a crypto line of the call, in base64. They are derived from
    /// the call and these numbers, so that nothing need be stored.
    fn crypto_key(&self, slot: Slot, index: u8, count: u8) -> [u8; 40] {
        let call = &self.calls[slot];
        let name = call.number << 16 | u64::from(index) << 8 | u64::from(count);
        let mut random =
            crate::engine::random::Random::new(self.config.seed ^ name.rotate_left(17));
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_exact_mut(8) {
            chunk.copy_from_slice(&random.next_u64().to_le_bytes());
        }
        base64::array(&bytes[..30])
    }

    /// Writes our Call-ID for the call, or the peer's for a call that it started.
    pub(in crate::engine) fn put_call_id(&self, slot: Slot, out: &mut Out<'_>) {
        let call = &self.calls[slot];
        if call.foreign {
            out.put(self.blobs.bytes(&call.call_id));
            return;
        }
        let mut text = *b"................-........@";
        text[..TOKEN_LEN].copy_from_slice(&self.call_ref(slot).token());
        text[17..25].copy_from_slice(self.nonce.digits());
        out.put(&text);
        out.put(&self.program_of(slot).text.host);
    }

    /// Writes a branch that is unique to the call and the message (RFC 3261 section 8.1.1.7).
    pub(in crate::engine) fn put_branch(&self, slot: Slot, message: u64, out: &mut Out<'_>) {
        let mut text = *b"z9hG4bK-........-................-....";
        text[8..16].copy_from_slice(self.nonce.digits());
        text[17..33].copy_from_slice(&self.call_ref(slot).token());
        // Four digits: fixed width for all steps that a scenario can have.
        text[34..].copy_from_slice(&hex8(message as u32)[4..]);
        out.put(&text);
    }
}

/// Returns an address without the brackets that it has in a URI.
fn without_brackets(address: &[u8]) -> &[u8] {
    address.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(address)
}

fn patch_len(room: &mut [u8], mut value: i64) {
    value = value.max(0);
    for byte in room.iter_mut().rev() {
        *byte = if value > 0 { b'0' + (value % 10) as u8 } else { b' ' };
        value /= 10;
    }
    if room[LEN_WIDTH - 1] == b' ' {
        room[LEN_WIDTH - 1] = b'0';
    }
}

/// The lines of one header.
#[inline]
fn lines_of<'m>(
    last: &'m Message<'m>,
    id: HeaderId,
    name: &'m [u8],
) -> impl Iterator<Item = Header<'m>> {
    last.lines(id).filter(move |header| is_named(header, id, name))
}

/// Returns `true` for a line of the header `id`; a header without an id of its own is compared by
/// `name`.
#[inline]
pub(in crate::engine) fn is_named(header: &Header<'_>, id: HeaderId, name: &[u8]) -> bool {
    header.id == id && (id != HeaderId::Other || header.name.eq_ignore_ascii_case(name))
}

/// Writes all lines of one header: the first as it was received, then the values of the others,
/// separated by commas (RFC 3261 section 7.3.1).
fn put_last_header(last: &Message<'_>, id: HeaderId, name: &[u8], out: &mut Out<'_>) {
    let mut found = false;
    for header in lines_of(last, id, name) {
        if found {
            out.put(b", ");
            out.put(header.value);
        } else {
            out.put(header.line);
        }
        found = true;
    }
}

/// Writes a part of one header, or nothing if the header is absent.
fn put_last_part(
    last: &Message<'_>,
    id: HeaderId,
    name: &[u8],
    part: &HeaderPart,
    out: &mut Out<'_>,
) {
    let mut lines = lines_of(last, id, name);
    let Some(first) = lines.next() else { return };
    match part {
        HeaderPart::Value => {
            out.put(first.value);
            for header in lines {
                out.put(b", ");
                out.put(header.value);
            }
        }
        HeaderPart::Uri => {
            if let Ok(address) = NameAddr::parse(first.value) {
                out.put(address.uri);
            }
        }
        HeaderPart::Parameter(name) => {
            out.put(find_parameter(first.value, name).unwrap_or_default());
        }
    }
}

/// Writes date, time and seconds since 1970, separated by tabs, in UTC.
fn put_timestamp(unix_ns: u64, out: &mut Out<'_>) {
    let unix_s = unix_ns / 1_000_000_000;
    let time = civil(unix_s);
    let micros = unix_ns / 1000 % 1_000_000;
    let mut text = [0u8; 64];
    let mut rest = &mut text[..];
    let _ = write!(
        rest,
        "{:04}-{:02}-{:02}\t{:02}:{:02}:{:02}.{micros:06}\t{unix_s}.{micros:06}",
        time.year, time.month, time.day, time.hour, time.minute, time.second
    );
    let left = rest.len();
    out.put(&text[..64 - left]);
}

/// Writes a date like `Sat, 13 Nov 2010 23:29:00 GMT` (RFC 3261 section 20.17).
fn put_date(unix_ns: u64, out: &mut Out<'_>) {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let unix_s = unix_ns / 1_000_000_000;
    let time = civil(unix_s);
    let mut text = [0u8; 32];
    let mut rest = &mut text[..];
    let _ = write!(
        rest,
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        DAYS[(unix_s / 86_400 % 7) as usize],
        time.day,
        MONTHS[(time.month as usize - 1) % 12],
        time.year,
        time.hour,
        time.minute,
        time.second
    );
    let left = rest.len();
    out.put(&text[..32 - left]);
}

struct Civil {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

/// Date and time of day, UTC.
fn civil(unix_s: u64) -> Civil {
    let (year, month, day) = calendar::date_of(unix_s / 86_400);
    Civil {
        year,
        month,
        day,
        hour: unix_s / 3600 % 24,
        minute: unix_s / 60 % 60,
        second: unix_s % 60,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Out<'_>)) -> String {
        let mut buffer = [0; 64];
        let mut out = Out::new(&mut buffer);
        write(&mut out);
        let len = out.len().unwrap();
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    }

    #[test]
    fn dates_are_those_of_the_rfc() {
        let at = 1_289_690_940_000_000_000;
        assert_eq!(written(|out| put_date(at, out)), "Sat, 13 Nov 2010 23:29:00 GMT");
        assert_eq!(
            written(|out| put_timestamp(at + 1_000, out)),
            "2010-11-13\t23:29:00.000001\t1289690940.000001"
        );
        let leap = 1_709_164_800_000_000_000;
        assert_eq!(written(|out| put_date(leap, out)), "Thu, 29 Feb 2024 00:00:00 GMT");
    }

    #[test]
    fn numbers_and_lengths() {
        assert_eq!(written(|out| out.number(-120)), "-120");
        assert_eq!(written(|out| out.number(i64::MIN)), "-9223372036854775808");
        let mut room = *b"     ";
        patch_len(&mut room, 129);
        assert_eq!(&room, b"  129");
        patch_len(&mut room, 0);
        assert_eq!(&room, b"    0");
    }

    #[test]
    fn what_a_variable_ends_itself_is_not_ended_again() {
        let rest = |text: &[u8]| Brought::by(text).cut(b"\r\n\r\n").len();
        assert_eq!(rest(b"X: 1"), 4);
        assert_eq!(rest(b"X: 1\r\n"), 2);
        assert_eq!(rest(b"X: 1\r\n\r\nbody\r\n"), 0);
        assert_eq!(rest(b"X: 1\r\n\r\nbody"), 4);
        assert_eq!(Brought::by(b"a\n").cut(b", b"), b", b");
        let mut head = Brought::by(b"X: 1\r\n\r\nbody\r\n");
        let pieces: Vec<_> = (0..3).map(|_| head.cut(b"\r\n").len()).collect();
        assert_eq!(pieces, [0, 0, 2]);
    }

    #[test]
    fn overflow_is_remembered() {
        let mut buffer = [0; 4];
        let mut out = Out::new(&mut buffer);
        out.put(b"12345");
        assert_eq!(out.len(), None);
    }
}

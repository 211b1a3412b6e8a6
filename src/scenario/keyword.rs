//! The keyword table, and the compilation of texts with keywords to templates.

use super::arguments;
use super::decode;
use super::error::{Fault, Position};
use super::names::DIGITS;
use super::program::VariableRef;
use super::template::{Builder, Field, HeaderPart, LastHeaderPart, Template, WebrtcField};
use super::text::Text;

/// Longest text with the values of its `-key` names; no transport carries more.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting of keywords in arguments of keywords: a renderer recurses as deep.
const NESTING_MAX: usize = 8;
/// Longest keyword with its arguments.
const KEYWORD_MAX: usize = 4096;
/// Largest `+n` or `-n`: sums with it cannot overflow.
const OFFSET_MAX: u64 = i32::MAX as u64;
/// Most `[len]` that a renderer keeps track of.
const LEN_FIELDS_MAX: usize = 4;

/// The meaning of a keyword.
enum Kind {
    /// Takes no argument.
    Plain(Field),
    /// Takes an optional `+n` or `-n`.
    Number(fn(i64) -> Field),
    /// The digits that the call has received.
    Digits,
}

/// Every keyword without arguments of its own; `[$var]`, `[last_*]`, `[fill]` and `-key` names are
/// resolved separately.
const KEYWORDS: &[(&str, Kind)] = &[
    ("audio_codec", Kind::Plain(Field::AudioCodec)),
    ("audio_fmtp", Kind::Plain(Field::AudioFmtp)),
    ("audio_pt", Kind::Plain(Field::AudioPayloadType)),
    ("audio_rtpmap", Kind::Plain(Field::AudioRtpMap)),
    ("audio_sdp", Kind::Number(Field::AudioSdp)),
    ("audio_ssrc", Kind::Plain(Field::AudioSsrc)),
    ("auto_media_port", Kind::Number(Field::AutoMediaPort)),
    ("branch", Kind::Number(Field::Branch)),
    ("call_id", Kind::Plain(Field::CallId)),
    ("call_number", Kind::Number(Field::CallNumber)),
    ("clock_tick", Kind::Number(Field::ClockTick)),
    ("contact_transport", Kind::Plain(Field::Transport)),
    ("cseq", Kind::Number(Field::Cseq)),
    ("date", Kind::Plain(Field::Date)),
    ("dtls_fingerprint", Kind::Plain(Field::Webrtc(WebrtcField::Fingerprint))),
    ("dtmf_digits", Kind::Digits),
    ("dynamic_id", Kind::Plain(Field::DynamicId)),
    ("ice_pwd", Kind::Plain(Field::Webrtc(WebrtcField::IcePwd))),
    ("ice_ufrag", Kind::Plain(Field::Webrtc(WebrtcField::IceUfrag))),
    ("last_cseq_number", Kind::Number(Field::LastCseqNumber)),
    ("last_message", Kind::Plain(Field::LastMessage)),
    ("last_Request_URI", Kind::Plain(Field::LastRequestUri)),
    ("len", Kind::Number(Field::Len)),
    ("local_ip", Kind::Plain(Field::LocalIp)),
    ("local_ip_type", Kind::Plain(Field::LocalIpType)),
    ("local_port", Kind::Number(Field::LocalPort)),
    ("media_ip", Kind::Plain(Field::MediaIp)),
    ("media_ip_type", Kind::Plain(Field::MediaIpType)),
    ("media_port", Kind::Number(Field::MediaPort)),
    ("media_transport", Kind::Plain(Field::MediaTransport)),
    ("msg_index", Kind::Plain(Field::MsgIndex)),
    ("next_url", Kind::Plain(Field::NextUrl)),
    ("peer_tag_param", Kind::Plain(Field::PeerTagParam)),
    ("pid", Kind::Plain(Field::Pid)),
    ("remote_host", Kind::Plain(Field::RemoteHost)),
    ("remote_ip", Kind::Plain(Field::RemoteIp)),
    ("remote_port", Kind::Number(Field::RemotePort)),
    ("routes", Kind::Plain(Field::Routes)),
    ("rtpstream_audio_port", Kind::Number(Field::MediaPort)),
    ("rtpstream_video_port", Kind::Number(Field::VideoPort)),
    ("server_ip", Kind::Plain(Field::ServerIp)),
    ("service", Kind::Plain(Field::Service)),
    ("sip_transport", Kind::Plain(Field::Transport)),
    ("sipp_version", Kind::Plain(Field::SippVersion)),
    ("tdmmap", Kind::Plain(Field::Circuit)),
    ("timestamp", Kind::Plain(Field::Timestamp)),
    ("transport", Kind::Plain(Field::Transport)),
    ("userid", Kind::Plain(Field::UserId)),
    ("users", Kind::Plain(Field::Users)),
    ("webrtc_answer", Kind::Plain(Field::Webrtc(WebrtcField::Answer))),
    ("webrtc_offer", Kind::Plain(Field::Webrtc(WebrtcField::Offer))),
];

/// Keywords with arguments or a varying name, as documentation writes them.
const WRITTEN: &[(&str, Option<&str>)] = &[
    ("$variable", None),
    ("authentication username= password= uri= aka_K= aka_OP= aka_AMF=", None),
    ("cryptokeyparams{1,2}{audio,video}", None),
    ("cryptosuite{aescm128,null}sha1{80,32}{1,2}{audio,video}", None),
    ("cryptotag{1,2}{audio,video}", None),
    ("fieldN file= line=", None),
    ("file name=", None),
    ("fill text= variable=", None),
    ("last_Header:{value,uri,param.name}", None),
    ("trunk_{from,pai,provider,extra}", None),
    ("ueaescm128sha1{80,32}{1,2}{audio,video}", None),
];

/// The keywords; those that are refused come with the missing part that they wait for.
pub(super) fn names() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    let fixed = KEYWORDS.iter().map(|(name, _)| (*name, None));
    fixed.chain(WRITTEN.iter().copied())
}

/// Facts about the scenario around a text that keyword resolution needs.
pub(super) trait Names {
    /// The variable of that name, declared on first use.
    fn variable(&mut self, name: &str, position: Position) -> Result<VariableRef, Fault>;
    /// The index of a `[last_*]` header.
    fn last_header(&mut self, name: &str, position: Position) -> Result<u16, Fault>;
    /// The value of a `-key` name.
    fn key(&self, name: &str) -> Option<&str>;
    /// The index of the injection file of that name; without a name, of the default one.
    fn table(&self, name: Option<&str>, position: Position) -> Result<u16, Fault>;
    /// The content of a file, or the reason why it cannot be had.
    fn file_text(&self, name: &str) -> Result<Vec<u8>, String>;
    /// A sentence on the places where files are looked for.
    fn file_places(&self) -> &str {
        ""
    }
    /// Counts a text that is compiled.
    ///
    /// # Errors
    /// All texts together have become too large.
    fn keep(&mut self, _bytes: usize, _position: Position) -> Result<(), Fault> {
        Ok(())
    }
    /// Reports a keyword that cannot be compiled. Returns `Ok` if the rest of the text should still
    /// be compiled.
    fn fault(&mut self, fault: Fault) -> Result<(), Fault>;
    /// Reports how SIPp reads something doubtful.
    fn warn(&mut self, fault: Fault);
}

/// Compiles the text of a message. White space around the text, indentation (blanks, then tabs, as
/// in SIPp) and white space at the ends of lines are removed. Lines end in CRLF, the header block
/// ends in an empty line, and a body keeps one final CRLF if it had a newline.
pub(super) fn message(text: &Text, names: &mut dyn Names) -> Result<Template, Fault> {
    let inner = text.trim_ascii();
    let first = text.len() - text.trim_ascii_start().len();
    let keeps_newline = text[first + inner.len()..].contains('\n');
    let mut builder = Builder::default();
    let mut in_body = false;
    let mut begin = first;
    let mut lines = inner.split('\n').peekable();
    while let Some(line) = lines.next() {
        let line_len = line.len();
        let line = line.trim_end_matches([' ', '\t']);
        let stripped = line.trim_start_matches(' ').trim_start_matches('\t');
        let start = begin + line.len() - stripped.len();
        let end = begin + line.len();
        begin += line_len + 1;
        if !in_body && stripped.is_empty() {
            builder.literal(b"\r\n");
            builder.mark_body();
            in_body = true;
            continue;
        }
        builder.begin_line();
        scan(text, start, end, names, &mut builder)?;
        // A header line whose keywords are all empty would end the header block.
        let is_header = !in_body && !builder.line_is_empty();
        if is_header || in_body && (lines.peek().is_some() || keeps_newline) {
            builder.literal(b"\r\n");
        }
        // A message needs its first line: there, an absent value is only empty.
        let line_parts = if start == first { builder.end_first_line() } else { builder.end_line() };
        check_size(line_parts, &builder, text.position(start))?;
    }
    if !in_body {
        builder.literal(b"\r\n");
        builder.mark_body();
    }
    if builder.authentication_fields() > 1 {
        let place = text.position(first);
        return Err(Fault::new(place, "more than one [authentication] in a message")
            .hint("a message answers one challenge"));
    }
    kept(builder, text, names)
}

/// Compiles the text of an action, which keeps all its white space.
pub(super) fn text(text: &Text, names: &mut dyn Names) -> Result<Template, Fault> {
    let mut builder = Builder::default();
    scan(text, 0, text.len(), names, &mut builder)?;
    if builder.authentication_fields() > 0 {
        let fault = Fault::new(text.position(0), "[authentication] outside of a <send>");
        names.warn(fault.hint("it answers the last challenge, as the last request before would"));
    }
    kept(builder, text, names)
}

/// The template of `text`, if there is room for it.
fn kept(builder: Builder, text: &Text, names: &mut dyn Names) -> Result<Template, Fault> {
    let template = builder.finish();
    names.keep(template.bytes(), text.position(0))?;
    Ok(template)
}

/// A template of one variable.
pub(super) fn variable(variable: VariableRef) -> Template {
    let mut builder = Builder::default();
    builder.field(Field::Variable(variable));
    builder.finish()
}

/// The first part of `text` that would be a keyword in a message, with its brackets.
pub fn first_keyword(text: &str) -> Option<&str> {
    let mut from = 0;
    while let Some(open) = text[from..].find('[').map(|at| from + at) {
        from = open + 1;
        let Some(close) = closing_bracket(text.as_bytes(), open) else { continue };
        let word = text[from..close].split([' ', '\t']).next().unwrap_or_default();
        let (name, _) = split_offset(word);
        let is_numbered = |digits: &str| digits.parse::<u16>().is_ok();
        let is_keyword = KEYWORDS.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
            || word.starts_with('$')
            || strip_prefix(word, "last_").is_some()
            || strip_prefix(word, "field").is_some_and(is_numbered);
        if is_keyword {
            return Some(&text[open..=close]);
        }
    }
    None
}

fn check_size(line_parts: usize, builder: &Builder, position: Position) -> Result<(), Fault> {
    if line_parts > usize::from(u16::MAX) {
        return Err(Fault::new(position, "more than 65535 keywords in one line"));
    }
    if builder.len_fields() > LEN_FIELDS_MAX {
        return Err(Fault::new(position, format!("more than {LEN_FIELDS_MAX} [len] in a message")));
    }
    Ok(())
}

/// Compiles `text[start..end]`.
fn scan(
    text: &Text,
    start: usize,
    end: usize,
    names: &mut dyn Names,
    builder: &mut Builder,
) -> Result<(), Fault> {
    let bytes = &text.as_bytes()[..end];
    let mut at = start;
    while at < end {
        match bytes[at] {
            b'[' => {
                let place = text.position(at);
                let Some(close) = closing_bracket(bytes, at) else {
                    let fault = Fault::new(place, "'[' without ']'");
                    return names.fault(fault.hint("a literal bracket is written \\x5b"));
                };
                if let Err(fault) = keyword(&text[at + 1..close], place, names, builder) {
                    names.fault(fault)?;
                }
                if builder.len() > TEXT_BYTES_MAX {
                    let message = format!("the text has more than {TEXT_BYTES_MAX} bytes here");
                    return Err(Fault::new(place, message));
                }
                at = close + 1;
            }
            b'\\' if hex_escape(&bytes[at..]).is_some() => {
                builder.literal(hex_escape(&bytes[at..]).as_slice());
                at += 4;
            }
            _ => {
                let stop = memchr::memchr2(b'[', b'\\', &bytes[at + 1..])
                    .map_or(end, |offset| at + 1 + offset);
                // '[', '\\' and the end are all borders of characters.
                builder.literal(&decode::bytes(&text[at..stop]));
                at = stop;
            }
        }
    }
    Ok(())
}

/// The depth to which brackets nest in `text`.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    for byte in text.bytes() {
        match byte {
            b'[' => depth += 1,
            b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Reads `\xHH` at the start of `bytes`.
fn hex_escape(bytes: &[u8]) -> Option<u8> {
    let digits = bytes.strip_prefix(b"\\x")?.get(..2)?;
    let digits = std::str::from_utf8(digits).ok()?;
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

/// The place of the `]` that closes the `[` at `open`, across nested brackets and quotes. A keyword
/// has at most [`KEYWORD_MAX`] bytes.
pub(super) fn closing_bracket(bytes: &[u8], open: usize) -> Option<usize> {
    let mut depth = 0;
    let mut quoted = false;
    for (index, &byte) in bytes.iter().enumerate().skip(open).take(KEYWORD_MAX) {
        match byte {
            b'"' if depth > 0 => quoted = !quoted,
            b'[' if !quoted => depth += 1,
            b']' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return Some(index);
                }
            }
            _ => {}
        }
    }
    None
}

/// A keyword as it stands in a text: `word` is its part before the arguments, `name` is the word
/// without its offset.
#[derive(Clone, Copy)]
struct Written<'a> {
    content: &'a str,
    word: &'a str,
    name: &'a str,
    offset: Option<i64>,
    position: Position,
}

impl<'a> Written<'a> {
    fn new(content: &'a str, position: Position) -> Self {
        let word = content.split([' ', '\t', '\n']).next().unwrap_or_default();
        let (name, offset) = split_offset(word);
        Self { content, word, name, offset, position }
    }

    fn takes_no_arguments(self, shown: &str) -> Result<(), Fault> {
        match self.word.len() == self.content.len() {
            true => Ok(()),
            false => Err(Fault::new(self.position, format!("[{shown}] takes no arguments"))),
        }
    }
}

fn keyword(
    content: &str,
    position: Position,
    names: &mut dyn Names,
    builder: &mut Builder,
) -> Result<(), Fault> {
    let content = content.trim_ascii_end();
    if nesting(content) > NESTING_MAX {
        let message = format!("keywords nest more than {NESTING_MAX} deep");
        return Err(Fault::new(position, message).hint("keep a part of it in a variable"));
    }
    if let Some(name) = content.strip_prefix('$') {
        builder.field(Field::Variable(names.variable(name, position)?));
        return Ok(());
    }
    let written = Written::new(content, position);
    let Written { word, name, .. } = written;
    let row = KEYWORDS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(word) || known.eq_ignore_ascii_case(name));
    if let Some((known, kind)) = row {
        return listed(written, known, kind, names, builder);
    }
    if let Some(value) = names.key(word) {
        let value = value.to_owned();
        written.takes_no_arguments(word)?;
        builder.literal(value.as_bytes());
        return Ok(());
    }
    if word.eq_ignore_ascii_case("fill") {
        builder.field(arguments::fill(&content["fill".len()..], position, names)?);
        return Ok(());
    }
    if word.eq_ignore_ascii_case("authentication") {
        let arguments = &content["authentication".len()..];
        builder.field(arguments::authentication(arguments, position, names)?);
        return Ok(());
    }
    if word.eq_ignore_ascii_case("file") {
        return arguments::file(&content["file".len()..], position, names, builder);
    }
    if let Some(header) = strip_prefix(content, "last_") {
        return last_header(written, header, names, builder);
    }
    if let Some(number) = strip_prefix(word, "field") {
        return column(written, number, names, builder);
    }
    if let Some(text) = trunk_text(word) {
        written.takes_no_arguments(word)?;
        let text = Text::at(text, position);
        return scan(&text, 0, text.len(), names, builder);
    }
    if let Some(part) = crypto(name) {
        return crypto_part(written, part, builder);
    }
    Err(Fault::new(position, format!("unknown keyword [{content}]"))
        .hint("a literal bracket is written \\x5b; own keywords are defined with -key NAME VALUE")
        .suggest(name, KEYWORDS.iter().map(|(known, _)| *known)))
}

/// Compiles a keyword of the table.
fn listed(
    written: Written<'_>,
    known: &str,
    kind: &Kind,
    names: &mut dyn Names,
    builder: &mut Builder,
) -> Result<(), Fault> {
    let Written { content, word, name, offset, position } = written;
    written.takes_no_arguments(known)?;
    if name.len() + offset_len(word, name) < word.len() {
        let fault = Fault::new(position, format!("[{content}] with more than one offset"));
        names.warn(fault.hint("SIPp takes the first one"));
    }
    if offset.is_some_and(|offset| offset.unsigned_abs() > OFFSET_MAX) {
        return Err(Fault::new(position, format!("[{content}]: the offset is too large")));
    }
    match kind {
        Kind::Number(make) => builder.field(make(offset.unwrap_or(0))),
        Kind::Plain(field) => {
            if offset.is_some() {
                let fault = Fault::new(position, format!("[{known}] takes no offset"));
                names.warn(fault.hint("SIPp ignores it"));
            }
            builder.field(field.clone());
        }
        Kind::Digits => builder.field(Field::Variable(names.variable(DIGITS, position)?)),
    }
    Ok(())
}

/// Compiles `[last_NAME]` and `[last_NAME:PART]`; `header` is the part behind the underscore.
fn last_header(
    written: Written<'_>,
    header: &str,
    names: &mut dyn Names,
    builder: &mut Builder,
) -> Result<(), Fault> {
    let (name, text) = header.split_once(':').unwrap_or((header, ""));
    let part = HeaderPart::from_text(text);
    // An unknown part counts as part of the name, which no header then has.
    let name = if text.is_empty() || part.is_some() { name } else { header };
    if !is_token(name) {
        let message = format!("[{}] names no header", written.content);
        names.warn(Fault::new(written.position, message).hint(
            "it is always empty; write [last_Via:], or [last_To:value], [last_To:uri], \
             [last_To:param.tag]",
        ));
    }
    let header = names.last_header(name, written.position)?;
    builder.field(match part {
        Some(part) => Field::LastHeaderPart(Box::new(LastHeaderPart { header, part })),
        None => Field::LastHeader(header),
    });
    Ok(())
}

/// Compiles `[fieldN]`, whose word ends with `number`.
fn column(
    written: Written<'_>,
    number: &str,
    names: &mut dyn Names,
    builder: &mut Builder,
) -> Result<(), Fault> {
    let Written { content, word, position, .. } = written;
    let arguments = &content[word.len()..];
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    let column = if digits == 0 { "0" } else { &number[..digits] };
    if digits == 0 || digits < number.len() {
        let fault = Fault::new(position, format!("[{word}] names no column"));
        names.warn(fault.hint(format!("SIPp takes it as [field{column}]")));
    }
    builder.field(arguments::injected(column, arguments, position, names)?);
    Ok(())
}

fn crypto_part(written: Written<'_>, part: Crypto, builder: &mut Builder) -> Result<(), Fault> {
    written.takes_no_arguments(written.word)?;
    match (part, written.offset) {
        (Crypto::Key(index), offset) => {
            builder.field(Field::CryptoKey { index, again: offset.is_some_and(|n| n < 0) });
        }
        (Crypto::Text(text), None) => builder.literal(text.as_bytes()),
        (Crypto::Text(_), Some(_)) => {
            let message = format!("[{}] takes no offset", written.name);
            return Err(Fault::new(written.position, message));
        }
    }
    Ok(())
}

/// A keyword of an `a=crypto` line (RFC 4568).
enum Crypto {
    Text(&'static str),
    /// The index of one of the four keys.
    Key(u8),
}

/// Reads `cryptotag1audio`, `cryptosuiteaescm128sha1802video` and similar names: two lines for each
/// of audio and video.
fn crypto(name: &str) -> Option<Crypto> {
    let name = name.to_ascii_lowercase();
    let (rest, medium) = match name.strip_suffix("audio") {
        Some(rest) => (rest, 0),
        None => (name.strip_suffix("video")?, 2),
    };
    let (what, line) = match rest.strip_suffix('1') {
        Some(what) => (what, 0),
        None => (rest.strip_suffix('2')?, 1),
    };
    Some(match what {
        "cryptotag" => Crypto::Text(if line == 0 { "1" } else { "2" }),
        "cryptosuiteaescm128sha180" => Crypto::Text("AES_CM_128_HMAC_SHA1_80"),
        "cryptosuiteaescm128sha132" => Crypto::Text("AES_CM_128_HMAC_SHA1_32"),
        "cryptosuitenullsha180" => Crypto::Text("NULL_HMAC_SHA1_80"),
        "cryptosuitenullsha132" => Crypto::Text("NULL_HMAC_SHA1_32"),
        "ueaescm128sha180" | "ueaescm128sha132" => Crypto::Text("UNENCRYPTED_SRTP"),
        "cryptokeyparams" => Crypto::Key(medium + line),
        _ => return None,
    })
}

/// The text of a keyword of `-sip_from` and its siblings without their option: the sender of the
/// built-in scenarios, and no further headers.
fn trunk_text(word: &str) -> Option<&'static str> {
    match word {
        "trunk_from" => Some("sipp <sip:sipp@[local_ip]:[local_port]>"),
        "trunk_pai" | "trunk_provider" | "trunk_extra" => Some(""),
        _ => None,
    }
}

/// Tells whether `name` is a token of RFC 3261 section 25.1, as methods and header names are.
pub(super) fn is_token(name: &str) -> bool {
    let valid = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
    !name.is_empty() && name.bytes().all(valid)
}

/// The part of `word` behind `prefix`, which is compared without case.
fn strip_prefix<'w>(word: &'w str, prefix: &str) -> Option<&'w str> {
    let head = word.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &word[prefix.len()..])
}

/// Splits `name+3` into `("name", Some(3))`. The first of several offsets counts.
fn split_offset(word: &str) -> (&str, Option<i64>) {
    let is_offset = |at: &usize| {
        let rest = word[at + 1..].split(['+', '-']);
        rest.clone().all(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    let signs = word.char_indices().filter(|(_, c)| matches!(c, '+' | '-')).map(|(at, _)| at);
    let Some(at) = signs.clone().find(is_offset) else { return (word, None) };
    let digits = word[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
    // A number that overflows is refused like one that is too large.
    (&word[..at], Some(word[at..at + 1 + digits].parse().unwrap_or(i64::MAX)))
}

/// Bytes of the first offset behind `name` in `word`, with its sign.
fn offset_len(word: &str, name: &str) -> usize {
    let rest = &word[name.len()..];
    match rest.get(1..) {
        Some(digits) => 1 + digits.bytes().take_while(u8::is_ascii_digit).count(),
        None => rest.len(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::scenario::template::Part;

    /// Names of variables and headers in their order, and warnings.
    #[derive(Default)]
    pub(in crate::scenario) struct Plain(pub(in crate::scenario) Vec<String>);

    impl Names for Plain {
        fn fault(&mut self, fault: Fault) -> Result<(), Fault> {
            Err(fault)
        }
        fn warn(&mut self, fault: Fault) {
            self.0.push(format!("warning: {}", fault.message));
        }
        fn variable(&mut self, name: &str, _: Position) -> Result<VariableRef, Fault> {
            self.0.push(name.to_owned());
            Ok(VariableRef::Call(self.0.len() as u16 - 1))
        }
        fn last_header(&mut self, name: &str, _: Position) -> Result<u16, Fault> {
            self.0.push(name.to_owned());
            Ok(self.0.len() as u16 - 1)
        }
        fn key(&self, name: &str) -> Option<&str> {
            [("mine", "yours"), ("empty", "")]
                .into_iter()
                .find(|key| key.0 == name)
                .map(|key| key.1)
        }
        fn table(&self, name: Option<&str>, position: Position) -> Result<u16, Fault> {
            match name {
                None | Some("u.csv") => Ok(0),
                Some("v.csv") => Ok(1),
                Some(_) => Err(Fault::new(position, "no such file")),
            }
        }
        fn file_text(&self, name: &str) -> Result<Vec<u8>, String> {
            match name {
                "f.txt" => Ok(b"a [cseq]\nb\n".to_vec()),
                _ => Err("it does not exist".to_owned()),
            }
        }
    }

    fn shown(template: &Template) -> String {
        let mut out = String::new();
        for (index, part) in template.parts.iter().enumerate() {
            if index == template.body_part {
                out.push_str("|body|");
            }
            match part {
                Part::Literal { start, end } => out.push_str(
                    std::str::from_utf8(&template.pool[*start as usize..*end as usize]).unwrap(),
                ),
                Part::OptionalLine { parts } => out.push_str(&format!("<{parts}>")),
                Part::Field(field) => out.push_str(&format!("{{{field:?}}}")),
            }
        }
        out
    }

    fn compiled(text: &str) -> String {
        shown(&message(&Text::plain(text, 1, 1), &mut Plain::default()).unwrap())
    }

    #[test]
    fn white_space_rules_hold_to_the_byte() {
        assert_eq!(
            compiled("\n  INVITE a SIP/2.0\n   X: [len]\n\n  v=0\n  a=b\n\n "),
            "INVITE a SIP/2.0\r\nX: {Len(0)}\r\n\r\n|body|v=0\r\na=b\r\n"
        );
        assert_eq!(compiled("\nACK a SIP/2.0\n\n"), "ACK a SIP/2.0\r\n\r\n");
        assert_eq!(compiled("ACK a SIP/2.0\n\nv=0"), "ACK a SIP/2.0\r\n\r\n|body|v=0");
        assert_eq!(compiled("ACK a\r\n  b: c\r\n"), "ACK a\r\nb: c\r\n\r\n");
        assert_eq!(compiled("A b  \n  \t c: d \t\n \t \ne"), "A b\r\n c: d\r\n\r\n|body|e");
    }

    #[test]
    fn offsets_keys_variables_and_escapes() {
        assert_eq!(compiled("A [cseq+2][mine]"), "A {Cseq(2)}yours\r\n\r\n");
        assert_eq!(compiled("A [branch-3]"), "A {Branch(-3)}\r\n\r\n");
        assert_eq!(compiled("A \\x5b::1] \\q"), "A [::1] \\q\r\n\r\n");
        assert_eq!(compiled("A [$v]"), "A {Variable(Call(0))}\r\n\r\n");
    }

    #[test]
    fn lines_that_begin_with_a_value_are_optional() {
        assert_eq!(
            compiled("A\nX: [last_Record-Route:]\n[last_Via:]\n [$v] x\n[field0]\nB"),
            "A\r\nX: {LastHeader(0)}\r\n<2>{LastHeader(1)}\r\n<2>{Variable(Call(2))} x\r\n\
             <2>{Injected(Injected { table: 0, field: 0, row: Own })}\r\nB\r\n\r\n"
        );
        assert_eq!(compiled("A\n[call_id][$v]\n"), "A\r\n{CallId}{Variable(Call(0))}\r\n\r\n");
    }

    #[test]
    fn the_empty_line_does_not_vanish_with_an_optional_line_before_it() {
        assert_eq!(compiled("A\n[last_Via:]\n\nv=0"), "A\r\n<2>{LastHeader(0)}\r\n\r\n|body|v=0");
        assert_eq!(compiled("A\n[last_Via:]"), "A\r\n<2>{LastHeader(0)}\r\n\r\n");
    }

    #[test]
    fn parts_of_headers_have_names_behind_the_colon() {
        for (keyword, field) in [
            ("[last_To:value]", "part: Value"),
            ("[last_to:uri]", "part: Uri"),
            ("[last_To:param.tag]", "part: Parameter(\"tag\")"),
        ] {
            let compiled = compiled(&format!("A b\nX: {keyword}"));
            assert!(compiled.contains(&format!("header: 0, {field} }})}}")), "{compiled}");
        }
        for keyword in ["[last_To:other]", "[last_To:param.]", "[last_:value]"] {
            let text = Text::plain(&format!("A b\nX: {keyword}"), 1, 1);
            let mut names = Plain::default();
            assert!(message(&text, &mut names).is_ok());
            assert!(names.0.iter().any(|name| name.starts_with("warning: ")), "{keyword}");
        }
    }

    #[test]
    fn the_first_line_is_never_dropped() {
        assert_eq!(compiled("A [last_Request_URI] B"), "A {LastRequestUri} B\r\n\r\n");
    }

    #[test]
    fn a_header_line_that_is_constantly_empty_does_not_end_the_header_block() {
        assert_eq!(compiled("A\n[empty]\nB: c\n\n[empty]\nx"), "A\r\nB: c\r\n\r\n|body|\r\nx");
    }

    #[test]
    fn only_ascii_white_space_is_trimmed() {
        assert_eq!(compiled(" A b\n\n\u{a0}x\u{a0} "), "A b\r\n\r\n|body|\u{a0}x\u{a0}");
    }

    #[test]
    fn keywords_ignore_case_and_refuse_what_would_have_no_effect() {
        assert_eq!(compiled("A [CALL_ID] [Last_Via]"), "A {CallId} {LastHeader(0)}\r\n\r\n");
        for text in [
            "A [cseq+99999999999]",
            "A [cseq+99999999999999999999]",
            "A [call_id x]",
            "A [mine x]",
            "A [fill]",
            "A [fill variable=1 junk]",
            "A [fill text=\"\" variable=1]",
            "A [len][len][len][len][len]",
        ] {
            assert!(message(&Text::plain(text, 1, 1), &mut Plain::default()).is_err(), "{text}");
        }
    }

    #[test]
    fn unknown_keywords_name_their_place_and_a_neighbour() {
        let refused = |text| message(&Text::plain(text, 4, 1), &mut Plain::default()).unwrap_err();
        let fault = refused("A\n  B: [call_nubmer]");
        assert_eq!(fault.position, Position { line: 5, column: 6 });
        assert!(fault.hint.contains("call_number"), "{}", fault.hint);
        assert!(refused("A [oops").message.contains("without"));
    }

    #[test]
    fn keywords_with_arguments_name_rows_files_and_secrets() {
        assert_eq!(
            compiled("A [field0] [field12 file=\"v.csv\" line=3] [field1 line=-1]"),
            "A {Injected(Injected { table: 0, field: 0, row: Own })} \
             {Injected(Injected { table: 1, field: 12, row: Number(3) })} \
             {Injected(Injected { table: 0, field: 1, row: Own })}\r\n\r\n"
        );
        assert_eq!(compiled("A b\n\n[file name=f.txt]"), "A b\r\n\r\n|body|a [cseq]\nb\n");
        for line in ["\"[$row]\"", "[$row]"] {
            let text = format!("A [field0 line={line}]");
            assert!(compiled(&text).contains("Variable(Call(0))"), "{text}");
        }
        let text = "A b\n[authentication username=[field0] password=\"a b\" aka_K=0x00]";
        let shown = compiled(text);
        assert!(shown.contains("Injected") && shown.contains("97, 32, 98"), "{shown}");
        for text in [
            "A [field0 file=w.csv]",
            "A [field0 line=x]",
            "A [field99999]",
            "A [file]",
            "A [file name=g.txt]",
            "A [file name=[$x]]",
            "A [authentication aka_K=0x123]",
            "A [authentication aka_AMF=0x123456]",
            "A [authentication][authentication]",
        ] {
            assert!(message(&Text::plain(text, 1, 1), &mut Plain::default()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_sipp_reads_in_its_own_way_is_told() {
        for (text, expected) in [
            ("A [call_id+1]", "A {CallId}\r\n\r\n"),
            ("A [cseq+1+5]", "A {Cseq(1)}\r\n\r\n"),
            ("A [field]", "A {Injected(Injected { table: 0, field: 0, row: Own })}\r\n\r\n"),
            ("A [field2x]", "A {Injected(Injected { table: 0, field: 2, row: Own })}\r\n\r\n"),
            (
                "A [field1 lien=1]",
                "A {Injected(Injected { table: 0, field: 1, row: Own })}\r\n\r\n",
            ),
        ] {
            let mut names = Plain::default();
            let template = message(&Text::plain(text, 1, 1), &mut names).unwrap();
            assert_eq!(shown(&template), expected);
            assert_eq!(names.0.len(), 1, "{text}: {:?}", names.0);
        }
        for text in ["A b\n[last_]", "A b\n[last_Via: x]", "A b\n[authentication user=a]"] {
            let mut names = Plain::default();
            assert!(message(&Text::plain(text, 1, 1), &mut names).is_ok());
            assert!(names.0.iter().any(|name| name.starts_with("warning: ")), "{text}");
        }
        let mut names = Plain::default();
        let text = super::text(&Text::plain("[authentication]", 1, 1), &mut names).unwrap();
        assert!(text.fields().any(|field| matches!(field, Field::Authentication(_))));
        assert_eq!(names.0.len(), 1);
    }

    #[test]
    fn the_first_keyword_of_a_text_is_found() {
        for (text, keyword) in [
            ("a[::1]b[call_number+2]c", Some("[call_number+2]")),
            ("[x[local_ip]]", Some("[local_ip]")),
            ("[field1]", Some("[field1]")),
            ("[$v] [last_Via:]", Some("[$v]")),
            ("[fields] [lastly] [", None),
        ] {
            assert_eq!(first_keyword(text), keyword, "{text}");
        }
    }

    #[test]
    fn an_address_in_sdp_is_told_from_one_in_a_uri() {
        let body = |line: &str| {
            let compiled = compiled(&format!("A IN IP6 [local_ip]\n\n{line}"));
            compiled.split("|body|").nth(1).unwrap().to_owned()
        };
        assert_eq!(body("c=IN IP6 [local_ip]"), "c=IN IP6 {LocalIpInSdp}");
        assert_eq!(body("o=- 1 1 IN IP4 [server_ip]"), "o=- 1 1 IN IP4 {LocalIpInSdp}");
        assert_eq!(body("a=rtcp:9 IN IP6  [remote_ip]"), "a=rtcp:9 IN IP6  {RemoteIpInSdp}");
        for kind in ["[local_ip_type]", "[media_ip_type]", "[$x]"] {
            let text = body(&format!("c=IN IP{kind} [local_ip]/127"));
            assert!(text.ends_with("} {LocalIpInSdp}/127"), "{text}");
        }
        for line in
            ["i=at [local_ip]", "o=[local_ip] 1 1", "u=sip:x@[local_ip]", "[pid] [local_ip]"]
        {
            assert!(body(line).contains("{LocalIp}"), "{line}");
        }
        assert!(compiled("A IN IP6 [local_ip]\n\n").starts_with("A IN IP6 {LocalIp}"));
    }

    #[test]
    fn keywords_nest_as_deep_as_a_renderer_goes() {
        let nested = |depth: usize| {
            format!("A b\nX: {}1{}", "[field0 line=".repeat(depth), "]".repeat(depth))
        };
        let compile = |text: &str| message(&Text::plain(text, 1, 1), &mut Plain::default());
        assert!(compile(&nested(1 + NESTING_MAX)).is_ok());
        assert!(compile(&nested(2 + NESTING_MAX)).is_err());
    }

    #[test]
    fn trunk_keywords_have_defaults() {
        assert_eq!(
            compiled("A b\nFrom: [trunk_from]\n[trunk_pai]\nC: d"),
            "A b\r\nFrom: sipp <sip:sipp@{LocalIp}:{LocalPort(0)}>\r\nC: d\r\n\r\n"
        );
    }

    #[test]
    fn binding_folds_constants_into_the_literals() {
        let template =
            message(&Text::plain("A [service]@[local_ip]\n\nx[pid]", 1, 1), &mut Plain::default())
                .unwrap();
        let bound = template.bind(|field| match field {
            Field::Service => Some(b"bob".to_vec()),
            Field::Pid => Some(b"7".to_vec()),
            _ => None,
        });
        assert_eq!(shown(&bound), "A bob@{LocalIp}\r\n\r\n|body|x7");
        assert_eq!(bound.parts.len(), 4);
    }
}

//! The keyword table, and texts with keywords to templates.

use super::error::{Fault, Position};
use super::program::VariableRef;
use super::template::{Builder, Field, Template};

/// What a keyword name stands for.
enum Kind {
    /// Takes no argument.
    Plain(Field),
    /// Takes an optional `+n` or `-n`.
    Number(fn(i64) -> Field),
    /// SIPp has it; this version does not, for the reason given.
    Later(&'static str),
}

/// Every keyword without arguments of its own; `[$var]`, `[last_*]`, `[fill]` and `-key` names are
/// resolved beside it.
const KEYWORDS: &[(&str, Kind)] = &[
    ("authentication", Kind::Later("digest authentication")),
    ("auto_media_port", Kind::Number(Field::AutoMediaPort)),
    ("branch", Kind::Number(Field::Branch)),
    ("call_id", Kind::Plain(Field::CallId)),
    ("call_number", Kind::Number(Field::CallNumber)),
    ("clock_tick", Kind::Number(Field::ClockTick)),
    ("cseq", Kind::Number(Field::Cseq)),
    ("date", Kind::Plain(Field::Date)),
    ("dynamic_id", Kind::Plain(Field::DynamicId)),
    ("file", Kind::Later("files in messages")),
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
    ("msg_index", Kind::Plain(Field::MsgIndex)),
    ("next_url", Kind::Plain(Field::NextUrl)),
    ("peer_tag_param", Kind::Plain(Field::PeerTagParam)),
    ("pid", Kind::Plain(Field::Pid)),
    ("remote_host", Kind::Plain(Field::RemoteHost)),
    ("remote_ip", Kind::Plain(Field::RemoteIp)),
    ("remote_port", Kind::Number(Field::RemotePort)),
    ("routes", Kind::Plain(Field::Routes)),
    ("rtpstream_audio_port", Kind::Later("RTP streams")),
    ("rtpstream_video_port", Kind::Later("RTP streams")),
    ("server_ip", Kind::Plain(Field::ServerIp)),
    ("service", Kind::Plain(Field::Service)),
    ("sipp_version", Kind::Plain(Field::SippVersion)),
    ("tdmmap", Kind::Later("the circuit table of -tdmmap")),
    ("timestamp", Kind::Plain(Field::Timestamp)),
    ("transport", Kind::Plain(Field::Transport)),
    ("userid", Kind::Plain(Field::UserId)),
    ("users", Kind::Plain(Field::Users)),
];

/// What keyword resolution needs to know of the scenario around a text.
pub(super) trait Names {
    /// The variable of that name, declared on first use.
    fn variable(&mut self, name: &str, position: Position) -> Result<VariableRef, Fault>;
    /// The index of a `[last_*]` header.
    fn last_header(&mut self, name: &str, position: Position) -> Result<u16, Fault>;
    /// The value of a `-key` name.
    fn key(&self, name: &str) -> Option<&str>;
}

/// Compiles the text of a message: outer white space and indentation go, lines end in CRLF, the
/// header block ends in an empty line, and a body keeps one final CRLF if it had a newline.
pub(super) fn message(
    text: &str,
    position: Position,
    names: &mut dyn Names,
) -> Result<Template, Fault> {
    let keeps_newline = text.trim_end_matches([' ', '\t', '\r']).ends_with('\n');
    let leading = text.len() - text.trim_start().len();
    let first_line = position.line + text[..leading].matches('\n').count() as u32;
    let mut builder = Builder::default();
    let mut in_body = false;
    let lines: Vec<&str> = text.trim().split('\n').collect();
    for (index, line) in lines.iter().enumerate() {
        let stripped = line.trim_start_matches([' ', '\t']);
        let column = (line.len() - stripped.len() + 1) as u32;
        let at = Position { line: first_line + index as u32, column };
        let line = stripped.trim_end_matches('\r');
        if !in_body && line.is_empty() {
            builder.literal(b"\r\n");
            builder.mark_body();
            in_body = true;
            continue;
        }
        builder.begin_line();
        scan(line, at, names, &mut builder)?;
        let is_last = index + 1 == lines.len();
        if !in_body || !is_last || keeps_newline {
            builder.literal(b"\r\n");
        }
        builder.end_line();
    }
    if !in_body {
        builder.literal(b"\r\n");
        builder.mark_body();
    }
    Ok(builder.finish())
}

/// Compiles the text of an action: kept as it is, keywords aside.
pub(super) fn text(
    text: &str,
    position: Position,
    names: &mut dyn Names,
) -> Result<Template, Fault> {
    let mut builder = Builder::default();
    scan(text, position, names, &mut builder)?;
    Ok(builder.finish())
}

fn scan(
    line: &str,
    position: Position,
    names: &mut dyn Names,
    builder: &mut Builder,
) -> Result<(), Fault> {
    let bytes = line.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'[' => {
                let place = Position { line: position.line, column: position.column + at as u32 };
                let end = closing_bracket(bytes, at).ok_or_else(|| {
                    Fault::new(place, "'[' without ']'").hint("a literal bracket is written \\x5b")
                })?;
                keyword(&line[at + 1..end], place, names, builder)?;
                at = end + 1;
            }
            b'\\' if hex_escape(&bytes[at..]).is_some() => {
                builder.literal(&[hex_escape(&bytes[at..]).unwrap_or_default()]);
                at += 4;
            }
            _ => {
                let end = bytes[at + 1..]
                    .iter()
                    .position(|&b| b == b'[' || b == b'\\')
                    .map_or(bytes.len(), |offset| at + 1 + offset);
                builder.literal(&bytes[at..end]);
                at = end;
            }
        }
    }
    Ok(())
}

/// `\xHH` at the start of `bytes`.
fn hex_escape(bytes: &[u8]) -> Option<u8> {
    let digits = bytes.strip_prefix(b"\\x")?.get(..2)?;
    let digits = std::str::from_utf8(digits).ok()?;
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

/// The `]` that closes the `[` at `open`, across nested brackets and quotes.
fn closing_bracket(bytes: &[u8], open: usize) -> Option<usize> {
    let mut depth = 0;
    let mut quoted = false;
    for (index, &byte) in bytes.iter().enumerate().skip(open) {
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

fn keyword(
    content: &str,
    position: Position,
    names: &mut dyn Names,
    builder: &mut Builder,
) -> Result<(), Fault> {
    if let Some(name) = content.strip_prefix('$') {
        builder.field(Field::Variable(names.variable(name, position)?));
        return Ok(());
    }
    let word = content.split(' ').next().unwrap_or_default();
    let (name, offset) = split_offset(word);
    let row = KEYWORDS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(word) || known.eq_ignore_ascii_case(name));
    if let Some((known, kind)) = row {
        if word.len() != content.len() && !matches!(kind, Kind::Later(_)) {
            return Err(Fault::new(position, format!("[{known}] takes no arguments")));
        }
        match kind {
            Kind::Number(make) => builder.field(make(offset.unwrap_or(0))),
            Kind::Plain(field) if offset.is_none() => builder.field(field.clone()),
            Kind::Plain(_) => {
                return Err(Fault::new(position, format!("[{known}] takes no offset")));
            }
            Kind::Later(what) => return Err(later(position, content, what)),
        }
        return Ok(());
    }
    if let Some(value) = names.key(word) {
        let value = value.to_owned();
        builder.literal(value.as_bytes());
        return Ok(());
    }
    if word == "fill" {
        builder.field(fill(content, position, names)?);
        return Ok(());
    }
    if let Some(header) = word.strip_prefix("last_") {
        let header = header.strip_suffix(':').unwrap_or(header);
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
        if header.is_empty() || !header.bytes().all(is_token) {
            return Err(Fault::new(position, format!("[{content}] names no header")));
        }
        builder.field(Field::LastHeader(names.last_header(header, position)?));
        return Ok(());
    }
    if word.strip_prefix("field").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit())) {
        return Err(later(position, content, "injection files"));
    }
    if word.starts_with("crypto") || word.starts_with("ueaescm") {
        return Err(later(position, content, "SRTP"));
    }
    Err(Fault::new(position, format!("unknown keyword [{content}]"))
        .hint("a literal bracket is written \\x5b; own keywords are defined with -key NAME VALUE")
        .suggest(name, KEYWORDS.iter().map(|(known, _)| *known)))
}

fn later(position: Position, content: &str, what: &str) -> Fault {
    Fault::new(position, format!("[{content}] is not supported in this version: {what}"))
}

/// `name+3` to `("name", Some(3))`.
fn split_offset(word: &str) -> (&str, Option<i64>) {
    let Some(at) = word.rfind(['+', '-']) else { return (word, None) };
    match word[at..].parse::<i64>() {
        Ok(offset) => (&word[..at], Some(offset)),
        Err(_) => (word, None),
    }
}

fn fill(content: &str, position: Position, names: &mut dyn Names) -> Result<Field, Fault> {
    let mut text = None;
    let mut variable = None;
    let mut rest = content["fill".len()..].trim_start();
    while !rest.is_empty() {
        let Some((name, after)) = rest.split_once('=') else { break };
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(' ').unwrap_or((after, "")),
        };
        match name.trim() {
            "text" => text = Some(value.as_bytes().into()),
            "variable" => variable = Some(names.variable(value.trim_start_matches('$'), position)?),
            other => {
                return Err(Fault::new(position, format!("[fill] has no argument \"{other}\""))
                    .hint("write [fill text=\"ab\" variable=\"name\"]"));
            }
        }
        rest = after.trim_start();
    }
    let variable = variable.ok_or_else(|| {
        Fault::new(position, "[fill] needs variable=")
            .hint("write [fill text=\"ab\" variable=\"name\"]")
    })?;
    let text: Box<[u8]> = text.unwrap_or_else(|| b"X"[..].into());
    if text.is_empty() {
        return Err(Fault::new(position, "[fill] with an empty text"));
    }
    Ok(Field::Fill { text, variable })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::template::Part;

    #[derive(Default)]
    struct Plain(Vec<String>);

    impl Names for Plain {
        fn variable(&mut self, name: &str, _: Position) -> Result<VariableRef, Fault> {
            self.0.push(name.to_owned());
            Ok(VariableRef::Call(self.0.len() as u16 - 1))
        }
        fn last_header(&mut self, name: &str, _: Position) -> Result<u16, Fault> {
            self.0.push(name.to_owned());
            Ok(self.0.len() as u16 - 1)
        }
        fn key(&self, name: &str) -> Option<&str> {
            (name == "mine").then_some("yours")
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
        let template = message(text, Position { line: 1, column: 1 }, &mut Plain::default());
        shown(&template.unwrap())
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
    }

    #[test]
    fn offsets_keys_variables_and_escapes() {
        assert_eq!(compiled("A [cseq+2][mine]"), "A {Cseq(2)}yours\r\n\r\n");
        assert_eq!(compiled("A [branch-3]"), "A {Branch(-3)}\r\n\r\n");
        assert_eq!(compiled("A \\x5b::1] \\q"), "A [::1] \\q\r\n\r\n");
        assert_eq!(compiled("A [$v]"), "A {Variable(Call(0))}\r\n\r\n");
    }

    #[test]
    fn lines_with_last_headers_are_optional() {
        assert_eq!(
            compiled("A\nX: [last_Record-Route:]\n[last_Via:]\nB"),
            "A\r\n<3>X: {LastHeader(0)}\r\n<2>{LastHeader(1)}\r\nB\r\n\r\n"
        );
    }

    #[test]
    fn unknown_keywords_name_their_place_and_a_neighbour() {
        let at = Position { line: 4, column: 1 };
        let fault = message("A\n  B: [call_nubmer]", at, &mut Plain::default()).unwrap_err();
        assert_eq!(fault.position, Position { line: 5, column: 6 });
        assert!(fault.hint.contains("call_number"), "{}", fault.hint);
        let fault = message("A [field0]", at, &mut Plain::default()).unwrap_err();
        assert!(fault.message.contains("injection files"));
        assert!(message("A [oops", at, &mut Plain::default()).is_err());
    }

    #[test]
    fn binding_folds_constants_into_the_literals() {
        let template =
            message("A [service]@[local_ip]\n\nx[pid]", Position::default(), &mut Plain::default())
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

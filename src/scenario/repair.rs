//! Repair of scenario files that SIPp accepts although they are not XML.
//!
//! SIPp looks for `name="` in a tag and ignores the rest: commas, stray words and quotes behind a
//! backslash occur in many files. This pass replaces them byte by byte before the parser sees the
//! text, so that every place stays that of the file. Text outside of tags is left alone, except
//! that an unclosed comment or section is cut off.

use std::borrow::Cow;

use memchr::memmem::find;
use memchr::{memchr, memchr2};

use super::error::{Fault, Sink};
use super::text::LineStarts;

/// The character that stands for a quote which a backslash protects; no XML text can hold it.
pub(super) const QUOTE: char = '\u{1}';
/// Longest junk that a message quotes, in characters.
const SHOWN_MAX: usize = 40;

/// A text that the XML parser can read, with the damage that was found.
pub(super) struct Repaired<'t> {
    /// The text for the parser, as long as that of the file.
    pub(super) text: Cow<'t, str>,
    /// Beginnings of the tags whose attributes could not be read.
    pub(super) broken: Vec<usize>,
    /// `false` if an unclosed part was cut off the end.
    pub(super) is_whole: bool,
}

/// Repairs the tags of `text`, and reports what was wrong with them.
pub(super) fn repair<'t>(text: &'t str, lines: &LineStarts, sink: &Sink) -> Repaired<'t> {
    let mut pass = Pass { text, lines, sink, edits: Vec::new(), broken: Vec::new(), at: 0 };
    let is_whole = pass.run().is_some();
    let broken = std::mem::take(&mut pass.broken);
    if pass.edits.is_empty() {
        return Repaired { text: Cow::Borrowed(text), broken, is_whole };
    }
    let mut bytes = text.as_bytes().to_vec();
    for (begin, end, byte) in pass.edits {
        bytes[begin..end].fill(byte);
    }
    // Only whole characters were replaced, so that the text is still valid.
    let text = String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned);
    Repaired { text, broken, is_whole }
}

struct Pass<'t> {
    text: &'t str,
    lines: &'t LineStarts,
    sink: &'t Sink,
    /// Ranges `begin..end` of the text, each with the byte that replaces its bytes.
    edits: Vec<(usize, usize, u8)>,
    broken: Vec<usize>,
    at: usize,
}

impl Pass<'_> {
    /// Goes through the file; returns `None` if the rest of it had to be given up.
    fn run(&mut self) -> Option<()> {
        while let Some(open) = memchr(b'<', &self.bytes()[self.at..]) {
            let open = self.at + open;
            let rest = &self.text[open..];
            self.at = if rest.starts_with("<!--") {
                self.behind(open, "<!--", "-->", "the comment that begins here")?
            } else if rest.starts_with("<![CDATA[") {
                self.behind(open, "<![CDATA[", "]]>", "the CDATA section that begins here")?
            } else if rest.starts_with("<?") {
                self.behind(open, "<?", "?>", "the declaration that begins here")?
            } else if rest.starts_with("<!") {
                open + declaration_len(rest.as_bytes())
            } else if rest[1..].starts_with(is_name_start) {
                self.tag(open)?
            } else {
                open + 1
            };
        }
        Some(())
    }

    fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes().get(at).copied()
    }

    /// The place behind the part that begins at `open` with `begin` and ends with `end`.
    fn behind(&mut self, open: usize, begin: &str, end: &str, what: &str) -> Option<usize> {
        let from = open + begin.len();
        match find(&self.bytes()[from..], end.as_bytes()) {
            Some(found) => Some(from + found + end.len()),
            None => self.cut(
                open,
                Fault::new(self.lines.position(open), format!("{what} is never closed"))
                    .hint(format!("add {end} where it should end")),
            ),
        }
    }

    /// Gives the file up from `from` on, since its parts cannot be told apart.
    fn cut(&mut self, from: usize, fault: Fault) -> Option<usize> {
        self.sink.error(fault);
        self.edits.push((from, self.text.len(), b' '));
        None
    }

    /// Goes through the tag at `open`; returns its end.
    fn tag(&mut self, open: usize) -> Option<usize> {
        let behind = &self.text[open + 1..];
        let name_len = behind.find(|c| !is_name(c)).unwrap_or(behind.len());
        // The name is for messages; there may be one per attribute.
        let name: String = behind[..name_len].chars().take(SHOWN_MAX).collect();
        let mut at = open + 1 + name_len;
        loop {
            let begin = at;
            at += self.bytes()[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let is_apart = at > begin;
            let rest = &self.text[at..];
            if rest.starts_with('>') {
                return Some(at + 1);
            }
            if rest.starts_with("/>") {
                return Some(at + 2);
            }
            if rest.starts_with("<!--") {
                let end = self.behind(at, "<!--", "-->", "the comment that begins here")?;
                self.junk(at, end, &name, "SIPp ignores a comment inside of a tag");
                at = end;
                continue;
            }
            if rest.is_empty() || rest.starts_with('<') {
                return self.unclosed(open, &name, at, is_apart);
            }
            at = match is_apart && rest.starts_with(is_name_start) {
                true => self.attribute(open, &name, at)?,
                false => self.run_of_junk(at, &name),
            };
        }
    }

    /// Closes a tag that has no `>`: the next one begins at `at`.
    fn unclosed(&mut self, open: usize, name: &str, at: usize, is_apart: bool) -> Option<usize> {
        let next = self.lines.position(at).line;
        let place = self.lines.position(open);
        let fault = Fault::new(place, format!("malformed XML: the tag <{name} is never closed"))
            .hint(format!("add > or /> before the next tag, at line {next}"));
        if !is_apart || at >= self.text.len() {
            return self.cut(open, fault);
        }
        // The blank before the next tag makes room for the missing `>`.
        self.sink.error(fault);
        self.broken.push(open);
        self.edits.push((at - 1, at, b'>'));
        Some(at)
    }

    /// Goes through the attribute at `at`; returns its end.
    fn attribute(&mut self, open: usize, tag: &str, at: usize) -> Option<usize> {
        let len = self.text[at..].find(|c| !is_name(c)).unwrap_or(self.text.len() - at);
        let name = &self.text[at..at + len];
        let behind = |from: usize| {
            let blanks = self.bytes()[from..].iter().take_while(|byte| byte.is_ascii_whitespace());
            from + blanks.count()
        };
        let equals = behind(at + len);
        if self.byte(equals) != Some(b'=') {
            let end = at + len;
            let hint = "SIPp ignores it: an attribute is written name=\"value\"";
            self.junk(at, end, tag, hint);
            return Some(end);
        }
        let quote_at = behind(equals + 1);
        let Some(quote) = self.byte(quote_at).filter(|quote| matches!(quote, b'"' | b'\'')) else {
            let message = format!("malformed attribute in <{tag}>: {name}= has no quotes");
            let fault = Fault::new(self.lines.position(at), message)
                .hint(format!("write {name}=\"value\""));
            self.sink.error(fault);
            self.broken.push(open);
            let value = &self.text[quote_at..];
            let len = value.find(|c: char| c.is_ascii_whitespace() || c == '>' || c == '<');
            let end = quote_at + len.unwrap_or(value.len());
            let end = if self.text[..end].ends_with('/') { end - 1 } else { end };
            self.edits.push((at, end.max(quote_at), b' '));
            return Some(end.max(quote_at));
        };
        match self.value_end(quote_at + 1, quote) {
            Some(end) => Some(end + 1),
            None => {
                let message =
                    format!("malformed attribute in <{tag}>: the quotes of {name}= are not closed");
                let place = self.lines.position(at);
                let name = name.to_owned();
                let fault = Fault::new(place, message)
                    .hint(format!("write {name}=\"value\"; a quote inside it is \\\" or &quot;"));
                self.cut(open, fault)
            }
        }
    }

    /// The end of the value that begins at `from`. In SIPp a backslash protects a quote.
    fn value_end(&mut self, from: usize, quote: u8) -> Option<usize> {
        let mut protected = Vec::new();
        let mut at = from;
        loop {
            match self.byte(at)? {
                byte if byte == quote => break,
                b'\\' if quote == b'"' => {
                    if self.byte(at + 1) == Some(b'"') {
                        protected.push(at + 1);
                    }
                    at += 2;
                }
                _ => at += 1,
            }
        }
        if runs_away(self.bytes().get(from..at)?) {
            return None;
        }
        self.edits.extend(protected.into_iter().map(|at| (at, at + 1, QUOTE as u8)));
        Some(at)
    }

    /// Replaces text that is no attribute, from `at` up to the next blank; returns its end.
    fn run_of_junk(&mut self, at: usize, tag: &str) -> usize {
        let bytes = self.bytes();
        let mut end = at;
        while let Some(&byte) = bytes.get(end) {
            if byte.is_ascii_whitespace() || matches!(byte, b'<' | b'>') {
                break;
            }
            if byte == b'/' && bytes.get(end + 1) == Some(&b'>') && end > at {
                break;
            }
            end += 1;
            let opens = !bytes.get(end).is_none_or(|next| b" \t\r\n/>".contains(next));
            if matches!(byte, b'"' | b'\'') && opens {
                // A quoted value belongs to the junk before it, with its blanks.
                let rest = &bytes[end..];
                let close = memchr2(byte, b'\n', rest).filter(|&close| rest[close] == byte);
                end += close.map_or(0, |close| close + 1);
            }
        }
        let is_attribute = self.text[at..end].contains('=');
        let hint = match is_attribute {
            true => "SIPp ignores it: an attribute needs a blank before its name",
            false => "SIPp ignores it",
        };
        self.junk(at, end, tag, hint);
        end
    }

    fn junk(&mut self, begin: usize, end: usize, tag: &str, hint: &str) {
        let mut shown: String = self.text[begin..end].chars().take(SHOWN_MAX).collect();
        if shown.len() < end - begin {
            shown.push_str("...");
        }
        let message = format!("{shown} between the attributes of <{tag}>");
        self.sink.warn(Fault::new(self.lines.position(begin), message).hint(hint));
        self.edits.push((begin, end, b' '));
    }
}

/// Bytes of a declaration such as `<!DOCTYPE ... [ ... ]>`.
fn declaration_len(bytes: &[u8]) -> usize {
    let mut depth = 0_i32;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' => depth -= 1,
            b'>' if depth <= 0 => return at + 1,
            _ => {}
        }
    }
    bytes.len()
}

/// Tells whether a tag ends in the value and the next line begins another one: the closing quote is
/// then missing.
fn runs_away(value: &[u8]) -> bool {
    memchr::memchr_iter(b'>', value).any(|close| {
        let rest = &value[close + 1..];
        let blank = rest.len() - rest.trim_ascii_start().len();
        rest[..blank].contains(&b'\n') && rest.get(blank) == Some(&b'<')
    })
}

fn is_name_start(c: char) -> bool {
    c.is_alphabetic() || matches!(c, '_' | ':')
}

fn is_name(c: char) -> bool {
    is_name_start(c) || c.is_numeric() || matches!(c, '-' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::error::{Diagnostic, Severity};

    fn repaired(text: &str) -> (String, Vec<Diagnostic>) {
        let sink = Sink::default();
        let lines = LineStarts::new(text);
        let repaired = repair(text, &lines, &sink);
        assert_eq!(repaired.text.len(), text.len(), "{text}");
        (repaired.text.into_owned(), sink.into_diagnostics("f"))
    }

    #[test]
    fn what_sipp_ignores_in_a_tag_is_blank_and_told() {
        for (text, expected, column) in [
            ("<a b=\"1\"\"2\n3\" c=\"4\"/>", "<a b=\"1\"  \n   c=\"4\"/>", 9),
            ("<a b=\"1\", c=\"2\"/>", "<a b=\"1\"  c=\"2\"/>", 9),
            ("<a b=\"1\",\"x\"/>", "<a b=\"1\"    />", 9),
            ("<a b=\"1\"; c='2'>", "<a b=\"1\"  c='2'>", 9),
            ("<a b=\"1\"c=\"2 3\"/>", "<a b=\"1\"       />", 9),
            ("<a b=\"1\"\" c=\"2\"/>", "<a b=\"1\"  c=\"2\"/>", 9),
            ("<a b=\"1\" word c=\"2\"/>", "<a b=\"1\"      c=\"2\"/>", 10),
            ("<a <!-- x --> c=\"2\"/>", "<a            c=\"2\"/>", 4),
            ("<a b=\"1\" \u{e9}, c=\"2\"/>", "<a b=\"1\"     c=\"2\"/>", 10),
        ] {
            let (text, found) = repaired(text);
            assert_eq!(text, expected);
            assert_eq!(found[0].severity, Severity::Warning);
            assert_eq!(found[0].what.position.column, column, "{text}");
        }
    }

    #[test]
    fn a_backslash_protects_a_quote_and_itself() {
        assert_eq!(repaired(r#"<a b="x\">y" c="1"/>"#).0, "<a b=\"x\\\u{1}>y\" c=\"1\"/>");
        assert_eq!(repaired(r#"<a b="x\\" c="1"/>"#).0, r#"<a b="x\\" c="1"/>"#);
        assert_eq!(repaired(r#"<a b='x\"' c="1"/>"#).0, r#"<a b='x\"' c="1"/>"#);
    }

    #[test]
    fn text_comments_and_messages_are_left_alone() {
        let text = "<!DOCTYPE a [<!ENTITY e \"<b c=1>\">]>\n<a><![CDATA[<b c=1, \"]]><!-- <b c=1 -->x, \"</a>";
        let (same, found) = repaired(text);
        assert_eq!(same, text);
        assert_eq!(found, []);
    }

    #[test]
    fn what_never_ends_is_told_where_it_begins() {
        for (text, message, line) in [
            ("<a>\n<!-- x\n</a>", "the comment that begins here", 2),
            ("<a>\n\n<![CDATA[ x\n</a>", "the CDATA section", 3),
            ("<?xml\n<a/>", "the declaration", 1),
            ("<a>\n<b c=\"1\"\n</b>\n</a>", "the tag <b is never closed", 2),
            ("<a>\n<b c=\"1/>\n<d e=\"2\"/></a>", "the quotes of c= are not closed", 2),
            ("<a>\n<b c=1 d=\"2\"/></a>", "c= has no quotes", 2),
            ("<a", "the tag <a is never closed", 1),
        ] {
            let (_, found) = repaired(text);
            assert!(found[0].what.message.contains(message), "{text}: {found:?}");
            assert_eq!(found[0].what.position.line, line, "{text}");
            assert_eq!(found[0].severity, Severity::Error);
        }
    }
}

//! Parser of XML text to a small tree in which every element, attribute and text knows its place.
//!
//! The compiler walks the tree; this module knows nothing of scenarios. Depth and size are bounded,
//! and a DTD is accepted (scenarios carry a DOCTYPE line) but never processed.

use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::error::{Fault, Position, Sink};
use super::repair::{QUOTE, Repaired, repair};
use super::text::{LineStarts, Text};

const DEPTH_MAX: usize = 64;
const ATTRIBUTES_MAX: usize = 256;
/// Most elements of a file: more than all steps, labels and actions that a scenario may have. An
/// element takes some hundred bytes of memory, and a file of 16 MiB could have 4 million of them.
const ELEMENTS_MAX: usize = 1 << 17;
/// Most attributes of a file, which take memory too.
const ALL_ATTRIBUTES_MAX: usize = 1 << 19;
/// Longest name of an element in bytes.
const NAME_MAX: usize = 256;

/// One element with its attributes, children and text.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) position: Position,
    pub(super) attributes: Vec<Attribute>,
    pub(super) children: Vec<Element>,
    /// The CDATA sections, joined, or the character data of an element without any.
    pub(super) text: Text,
    /// True if a fault of the element was reported, so that its content is not reliable.
    pub(super) is_broken: bool,
    has_cdata: bool,
}

#[derive(Debug)]
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) value: Text,
    /// The value with its entities as the file spells them, if it has any.
    pub(super) written: Option<String>,
    /// The place of the name.
    pub(super) position: Position,
}

impl Element {
    /// The attribute of that name; the first of several, as in SIPp.
    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// The place at which the text begins, or that of the element if the text is blank.
    pub(super) fn text_position(&self) -> Position {
        self.text.first_position().unwrap_or(self.position)
    }
}

/// Content of a file.
pub(super) struct Document {
    /// The root element.
    pub(super) root: Option<Element>,
    /// `false` if elements may be missing: faults that follow from their absence are not reported.
    pub(super) is_whole: bool,
}

/// Parses `text`, which must hold exactly one root element. Faults go to `sink`, and the text
/// around them is still parsed.
pub(super) fn parse(text: &str, sink: &Sink) -> Document {
    let lines = LineStarts::new(text);
    let Repaired { text, broken, is_whole } = repair(text, &lines, sink);
    let mut tree = Tree {
        text: &text,
        lines: &lines,
        sink,
        broken: &broken,
        open: Vec::new(),
        root: None,
        has_begun: false,
        is_whole,
        elements: 0,
        attributes: 0,
    };
    let mut reader = Reader::from_str(&text);
    let config = reader.config_mut();
    // The end tags are checked here, where the begin tags are known.
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    loop {
        let start = reader.buffer_position() as usize;
        let event = match reader.read_event() {
            Ok(Event::Eof) => break,
            Ok(event) => event,
            Err(error) => {
                let at = (reader.error_position() as usize).min(text.len());
                let hint = "check that every tag is closed, and that < is &lt; outside CDATA";
                let message = format!("malformed XML: {error}");
                sink.error(Fault::new(lines.position(at), message).hint(hint));
                tree.is_whole = false;
                break;
            }
        };
        if let Err(fault) = tree.event(&event, start) {
            sink.error(fault);
            tree.is_whole = false;
            break;
        }
    }
    tree.finish()
}

/// The tree under construction.
struct Tree<'t> {
    text: &'t str,
    lines: &'t LineStarts,
    sink: &'t Sink,
    broken: &'t [usize],
    open: Vec<Element>,
    root: Option<Element>,
    /// True if something other than white space came before.
    has_begun: bool,
    is_whole: bool,
    /// Elements so far.
    elements: usize,
    /// Attributes so far.
    attributes: usize,
}

impl Tree<'_> {
    fn event(&mut self, event: &Event<'_>, start: usize) -> Result<(), Fault> {
        match event {
            Event::Start(tag) => self.start(tag, start)?,
            Event::Empty(tag) => {
                self.start(tag, start)?;
                self.end();
            }
            Event::End(tag) => self.end_tag(tag.name().into_inner(), start),
            Event::CData(data) => self.cdata(data, start),
            Event::Text(data) => self.characters(data, self.offset(data, start)),
            Event::GeneralRef(reference) => self.reference(reference, start),
            _ => {}
        }
        self.has_begun |= !matches!(event, Event::Text(text) if text.trim_ascii().is_empty());
        Ok(())
    }

    fn start(&mut self, tag: &BytesStart<'_>, start: usize) -> Result<(), Fault> {
        let position = self.lines.position(start);
        // Every message about the element and its content repeats the name.
        if tag.name().into_inner().len() > NAME_MAX {
            return Err(Fault::new(position, format!("a name of more than {NAME_MAX} bytes"))
                .hint("the longest name of an element has 23; is a blank missing?"));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(Fault::new(position, "elements nest too deeply")
                .hint("a scenario needs four levels; is a closing tag missing?"));
        }
        if self.open.is_empty() && self.root.is_some() {
            self.sink.error(
                Fault::new(position, "a second root element")
                    .hint("a file holds exactly one <scenario>"),
            );
        }
        let element = self.element(tag, start);
        self.elements += 1;
        self.attributes += element.attributes.len();
        for (count, max, what) in [
            (self.elements, ELEMENTS_MAX, "elements"),
            (self.attributes, ALL_ATTRIBUTES_MAX, "attributes"),
        ] {
            if count > max {
                return Err(Fault::new(position, format!("the file has more than {max} {what}"))
                    .hint("calls that differ in values only share steps: use an injection file"));
            }
        }
        self.open.push(element);
        Ok(())
    }

    fn end_tag(&mut self, name: &str, start: usize) {
        let Some(at) = self.open.iter().rposition(|element| element.name == name) else {
            let place = self.lines.position(start);
            let hint = match self.open.last() {
                Some(open) => {
                    format!("<{}> is open, since line {}", open.name, open.position.line)
                }
                None => "nothing is open here".to_owned(),
            };
            let fault = Fault::new(place, format!("malformed XML: </{name}> closes nothing"));
            if self.open.is_empty() && self.root.is_some() {
                return self.sink.warn(fault.hint("SIPp ignores it"));
            }
            self.sink.error(fault.hint(hint));
            self.is_whole = false;
            return;
        };
        while self.open.len() > at + 1 {
            let line = self.lines.position(start).line;
            self.unclosed(&format!("or it is </{name}> at line {line} that is wrong"));
        }
        self.end();
    }

    /// Closes the innermost element, which the file does not close.
    fn unclosed(&mut self, alternative: &str) {
        if let Some(element) = self.open.last_mut() {
            let name = &element.name;
            let message = format!("malformed XML: <{name}> is never closed");
            let hint = format!("add </{name}>, or close it with />; {alternative}");
            let hint = hint.trim_end_matches([';', ' ']);
            // A tag without any end was reported already.
            if !element.is_broken {
                self.sink.error(Fault::new(element.position, message).hint(hint));
            }
            element.is_broken = true;
            self.is_whole = false;
        }
        self.end();
    }

    fn finish(mut self) -> Document {
        // The cut or the wrong end tag has been reported already.
        let is_told = !self.is_whole;
        while let Some(element) = self.open.last_mut() {
            if is_told {
                element.is_broken = true;
                self.end();
            } else {
                self.unclosed("");
            }
        }
        if self.root.is_none() && self.is_whole {
            let place = Position { line: 1, column: 1 };
            self.sink.error(
                Fault::new(place, "the file holds no XML element").hint(
                    "a scenario is one <scenario> element; `-sd uac` prints one to start from",
                ),
            );
        }
        Document { root: self.root, is_whole: self.is_whole }
    }

    fn end(&mut self) {
        let Some(element) = self.open.pop() else { return };
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None if self.root.is_none() => self.root = Some(element),
            None => {}
        }
    }

    fn cdata(&mut self, data: &str, start: usize) {
        let at = self.offset(data, start + "<![CDATA[".len());
        let Some(element) = self.open.last_mut() else { return self.outside(start) };
        if !element.has_cdata {
            if let Some(stray) = element.text.first_position() {
                self.sink.warn(beside_cdata(stray));
            }
            element.text = Text::default();
            element.has_cdata = true;
        }
        element.text.push(data, at, self.lines);
    }

    fn characters(&mut self, data: &str, at: usize) {
        let blank = data.len() - data.trim_ascii_start().len();
        let is_blank = blank == data.len();
        match self.open.last_mut() {
            Some(element) if !element.has_cdata => element.text.push(data, at, self.lines),
            // White space around a CDATA section is the file's layout, not the message's.
            Some(_) | None if is_blank => {}
            Some(_) => self.sink.warn(beside_cdata(self.lines.position(at + blank))),
            None => self.outside(at + blank),
        }
    }

    /// Reports text at `at`, outside of the root element. SIPp ignores it, but not at the beginning
    /// of a file.
    fn outside(&self, at: usize) {
        let place = self.lines.position(at);
        let side = if self.root.is_some() { "after" } else { "before" };
        let fault = Fault::new(place, format!("text {side} the root element"));
        if !self.has_begun {
            let hint = "a file begins with <?xml version=\"1.0\"?> or <scenario>";
            return self.sink.error(fault.hint(hint));
        }
        self.sink.warn(fault.hint("SIPp ignores it"));
    }

    fn reference(&mut self, entity: &str, start: usize) {
        let place = self.lines.position(start);
        match self.open.last_mut() {
            Some(element) if !element.has_cdata => match resolve(entity) {
                Some(value) => element.text.push_char(value, start, self.lines),
                None => {
                    self.sink.warn_with(|| unknown_entity(entity, place));
                    let written = self.text.get(start..start + entity.len() + 2);
                    element.text.push(written.unwrap_or_default(), start, self.lines);
                }
            },
            Some(_) => self.sink.warn_with(|| beside_cdata(place)),
            None => self.outside(start),
        }
    }

    fn element(&self, tag: &BytesStart<'_>, start: usize) -> Element {
        let name = tag.name().into_inner().to_owned();
        let mut element = Element {
            position: self.lines.position(start),
            attributes: Vec::new(),
            children: Vec::new(),
            text: Text::default(),
            is_broken: self.broken.binary_search(&start).is_ok(),
            has_cdata: false,
            name,
        };
        for attribute in tag.attributes().with_checks(false) {
            let Ok(attribute) = attribute else {
                // The repair may let some faults pass; they are reported for the tag as a whole.
                let message = format!("malformed attribute in <{}>", element.name);
                let hint = "attributes are written name=\"value\"";
                self.sink.error(Fault::new(element.position, message).hint(hint));
                element.is_broken = true;
                break;
            };
            let key = attribute.key.into_inner();
            let place = self.lines.position(self.offset(key, start));
            if element.attributes.len() >= ATTRIBUTES_MAX {
                let message = format!("more than {ATTRIBUTES_MAX} attributes");
                self.sink.error(Fault::new(place, message));
                element.is_broken = true;
                break;
            }
            if let Some(first) = element.attribute(key) {
                self.sink.warn_with(|| {
                    let message = format!("{key}= twice in <{}>", element.name);
                    let line = first.position.line;
                    let hint = format!("SIPp takes the first one, at line {line}");
                    Fault::new(place, message).hint(hint)
                });
                continue;
            }
            let raw = &*attribute.value;
            element.attributes.push(Attribute {
                name: key.to_owned(),
                value: self.attribute_value(raw, self.offset(raw, start)),
                written: raw.contains('&').then(|| raw.to_owned()),
                position: place,
            });
        }
        element
    }

    /// Decodes an attribute's value. Line ends and tabs become spaces (XML 1.0 section 3.3.3),
    /// entities are resolved, and then SIPp's escapes `\\ \" \n \t \r`.
    fn attribute_value(&self, raw: &str, offset: usize) -> Text {
        let mut value = Text::default();
        let mut at = 0;
        while at < raw.len() {
            let rest = &raw[at..];
            let plain = rest.find(['&', '\\', '\n', '\r', '\t']).unwrap_or(rest.len());
            if plain > 0 {
                value.push(&rest[..plain], offset + at, self.lines);
                at += plain;
                continue;
            }
            let (c, len) = if rest.starts_with("\r\n") {
                (' ', 2)
            } else if rest.starts_with(['\n', '\r', '\t']) {
                (' ', 1)
            } else {
                self.attribute_character(rest, offset + at)
            };
            value.push_char(c, offset + at, self.lines);
            at += len;
        }
        value
    }

    /// The character that `rest` begins with, escaped or not, and the number of bytes that spell
    /// it.
    fn attribute_character(&self, rest: &str, offset: usize) -> (char, usize) {
        let (first, len) = self.decoded(rest, offset);
        if first != '\\' || len == rest.len() {
            return (first, len);
        }
        let (second, second_len) = self.decoded(&rest[len..], offset + len);
        let escaped = match second {
            '\\' | '"' => second,
            QUOTE => '"',
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            _ => return (first, len),
        };
        (escaped, len + second_len)
    }

    /// The character or entity that `rest`, which is not empty, begins with.
    fn decoded(&self, rest: &str, offset: usize) -> (char, usize) {
        let first = rest.chars().next().unwrap_or_default();
        if first != '&' {
            return (first, first.len_utf8());
        }
        // XML's grammar forbids it but it is common: an '&' that begins no entity is itself.
        let name = rest[1..].bytes().take_while(|&b| b.is_ascii_alphanumeric() || b == b'#');
        let end = 1 + name.count();
        if end == 1 || !rest[end..].starts_with(';') {
            return ('&', 1);
        }
        let entity = &rest[1..end];
        match resolve(entity) {
            Some(value) => (value, end + 1),
            None => {
                self.sink.warn_with(|| unknown_entity(entity, self.lines.position(offset)));
                ('&', 1)
            }
        }
    }

    /// The offset of `part` in the file, if `part` borrows from the text as names and texts do.
    fn offset(&self, part: &str, otherwise: usize) -> usize {
        let begin = (part.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize);
        begin.filter(|begin| begin + part.len() <= self.text.len()).unwrap_or(otherwise)
    }
}

fn beside_cdata(position: Position) -> Fault {
    Fault::new(position, "text beside a CDATA section")
        .hint("SIPp ignores it: the whole message is written inside <![CDATA[ ... ]]>")
}

fn unknown_entity(entity: &str, position: Position) -> Fault {
    let shown = if entity.len() <= 16 { format!("&{entity};") } else { "&".to_owned() };
    Fault::new(position, format!("unknown entity {shown}"))
        .hint("SIPp takes it as it is; known are &lt; &gt; &amp; &quot; &apos;")
}

fn resolve(entity: &str) -> Option<char> {
    let Some(number) = entity.strip_prefix('#') else {
        return Some(match entity {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            _ => return None,
        });
    };
    let (digits, radix) = match number.strip_prefix('x') {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let code = u32::from_str_radix(digits, radix).ok()?;
    // XML 1.0 section 2.2: of the control characters only these are allowed.
    char::from_u32(code).filter(|&c| c >= ' ' || matches!(c, '\t' | '\n' | '\r'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::error::{Diagnostic, Severity};

    fn parsed(text: &str) -> (Option<Element>, Vec<Diagnostic>) {
        let sink = Sink::default();
        let document = parse(text, &sink);
        (document.root, sink.into_diagnostics("f"))
    }

    /// The root of a text without faults.
    fn good(text: &str) -> Element {
        let (root, found) = parsed(text);
        assert_eq!(found, [], "{text}");
        root.unwrap()
    }

    /// The first finding in a text.
    fn first(text: &str, severity: Severity) -> Diagnostic {
        let (_, found) = parsed(text);
        let found = found.into_iter().next().unwrap_or_else(|| panic!("nothing found: {text}"));
        assert_eq!(found.severity, severity, "{text}: {found:?}");
        found
    }

    #[test]
    fn elements_and_attributes_know_their_place() {
        let root = good("<?xml version=\"1.0\"?>\n<a>\n  <b x=\"1\"\n     y='2'/>\n</a>");
        let b = &root.children[0];
        assert_eq!(b.position, Position { line: 3, column: 3 });
        assert_eq!(b.attribute("y").unwrap().position, Position { line: 4, column: 6 });
    }

    #[test]
    fn cdata_is_kept_verbatim_and_entities_are_decoded_outside_it() {
        let root = good("<a x=\"&lt;&#65;\\n\">\n<![CDATA[<&amp;]]>\n</a>");
        assert_eq!(&*root.attribute("x").unwrap().value, "<A\n");
        assert_eq!(&*root.text, "<&amp;");
    }

    #[test]
    fn what_stands_around_the_root_element_is_passed_over() {
        for (text, line, message) in [
            ("<?xml version=\"1.0\"?>\n<!DOCTYPE a SYSTEM \"a.dtd\">\"\"\n<a/>", 2, "text before"),
            ("<a/>\nx", 2, "text after"),
            ("<a/>\n</a>", 2, "</a> closes nothing"),
        ] {
            let what = first(text, Severity::Warning).what;
            assert_eq!(what.position.line, line, "{text:?}: {what}");
            assert!(what.message.contains(message), "{text:?}: {what}");
        }
    }

    #[test]
    fn malformed_files_are_refused_with_a_place() {
        for (text, line, message) in [
            ("<a>\n<b></a>", 2, "<b> is never closed"),
            ("<a>\n", 1, "<a> is never closed"),
            ("", 1, "no XML element"),
            ("<a/>\n<b/>", 2, "a second root"),
            ("text\n<a/>", 1, "text before the root"),
            ("\n&x;\n<a/>", 2, "text before the root"),
            ("<a\nx=1/>", 2, "x= has no quotes"),
            ("<a>\n</b></a>", 2, "</b> closes nothing"),
            ("<a>\n<b c='1'\n</b></a>", 2, "the tag <b is never closed"),
        ] {
            let what = first(text, Severity::Error).what;
            assert_eq!(what.position.line, line, "{text:?}: {what}");
            assert!(what.message.contains(message), "{text:?}: {what}");
        }
    }

    #[test]
    fn what_is_told_once_is_not_told_again_by_what_follows_from_it() {
        for text in [
            "<a>\n<b><c/></a>",
            "<a>\n<!-- x\n</a>",
            "<a>\n<b c=\"1/>\n<d/>\n</a>",
            "<a>\n<b c='1'\n</b></a>",
            "<a>\n<b c=1></b></a>",
        ] {
            assert_eq!(parsed(text).1.len(), 1, "{text}: {:?}", parsed(text).1);
        }
    }

    #[test]
    fn what_sipp_passes_over_is_told_and_has_no_effect() {
        for (text, line, message) in [
            ("<a/>\ntext", 2, "text after the root"),
            ("<a/>\n&nope;", 2, "text after the root"),
            ("<a>\n&nope;</a>", 2, "unknown entity &nope;"),
            ("<a b='1'\nb='2'/>", 2, "b= twice"),
            ("<a>\n<b c=\"1\", d=\"2\"/></a>", 2, "between the attributes of <b>"),
        ] {
            let what = first(text, Severity::Warning).what;
            assert_eq!(what.position.line, line, "{text:?}: {what}");
            assert!(what.message.contains(message), "{text:?}: {what}");
        }
        let root = parsed("<a b='1' b='2'>x&nope;y & z</a>").0.unwrap();
        assert_eq!(&*root.attribute("b").unwrap().value, "1");
        assert_eq!(&*root.text, "x&nope;y & z");
    }

    #[test]
    fn a_quote_behind_a_backslash_is_part_of_its_value() {
        let root = good(r#"<a b="text=\"busy\">" c='\"' d="x\\"/>"#);
        let value = |name| root.attribute(name).unwrap().value.to_string();
        assert_eq!([value("b"), value("c"), value("d")], ["text=\"busy\">", "\"", "x\\"]);
    }

    #[test]
    fn white_space_around_cdata_is_no_part_of_the_text() {
        let root = good("<a>\n  <![CDATA[\n x]]><!-- c -->\n <![CDATA[y]]>\n</a>");
        assert_eq!(&*root.text, "\n xy");
        assert_eq!(root.text.position(2), Position { line: 3, column: 2 });
        assert_eq!(root.text.position(3), Position { line: 4, column: 11 });
        let what = first("<a>\n x<![CDATA[y]]></a>", Severity::Warning).what;
        assert_eq!(what.position, Position { line: 2, column: 2 });
        let what = first("<a><![CDATA[y]]>\n\n x</a>", Severity::Warning).what;
        assert_eq!(what.position, Position { line: 3, column: 2 });
        assert_eq!(&*parsed("<a>x<![CDATA[y]]>z</a>").0.unwrap().text, "y");
    }

    #[test]
    fn text_without_cdata_keeps_its_places_across_entities_and_comments() {
        let root = good("<a>\n <!-- two\nlines -->x&lt;y</a>");
        let text = &root.text;
        assert_eq!(text.trim(), "x<y");
        assert_eq!(root.text_position(), Position { line: 3, column: 10 });
        assert_eq!(text.position(text.len() - 1), Position { line: 3, column: 15 });
        assert_eq!(&*good("<a>one&amp;two&#x20;three</a>").text, "one&two three");
    }

    #[test]
    fn attribute_values_are_normalised_and_keep_their_places() {
        let root = good("<a x='1\r\n2\t3&quot;4\\\\n&#92;n5'/>");
        let value = &root.attribute("x").unwrap().value;
        assert_eq!(&**value, "1 2 3\"4\\n\n5");
        let root = good("<a x='a=1&b=2; & &amp;&' y='<sip:b>'/>");
        assert_eq!(&*root.attribute("x").unwrap().value, "a=1&b=2; & &&");
        assert_eq!(&*root.attribute("y").unwrap().value, "<sip:b>");
        assert_eq!(value.position(0), Position { line: 1, column: 7 });
        assert_eq!(value.position(2), Position { line: 2, column: 1 });
        assert_eq!(value.position(value.len() - 1), Position { line: 2, column: 20 });
    }

    #[test]
    fn faults_in_attributes_stand_where_they_are() {
        for (text, column, severity) in [
            ("<a b='1' b='2'/>", 10, Severity::Warning),
            ("<a b='&nope;'/>", 7, Severity::Warning),
            ("<a b='&#0;'/>", 7, Severity::Warning),
            ("<a b/>", 4, Severity::Warning),
            ("<a b=c/>", 4, Severity::Error),
        ] {
            let what = first(text, severity).what;
            assert_eq!(what.position, Position { line: 1, column }, "{what}");
        }
    }

    #[test]
    fn a_document_type_is_skipped_with_all_it_declares() {
        let root = good(
            "<!DOCTYPE scenario SYSTEM \"sipp.dtd\" [\n<!ENTITY e \"<a>\">\n]>\n<!-- > -->\n<b/>",
        );
        assert_eq!(root.position, Position { line: 5, column: 1 });
    }

    #[test]
    fn a_name_that_every_message_would_repeat_is_refused() {
        let what = first(&format!("<a>\n<{} b/></a>", "x".repeat(257)), Severity::Error).what;
        assert_eq!(what.position.line, 2, "{what}");
        assert!(what.message.contains("a name of more than 256 bytes"), "{what}");
        assert_eq!(good(&format!("<{}/>", "x".repeat(256))).name.len(), 256);
    }

    #[test]
    fn deep_nesting_is_refused() {
        let what = first(&"<a>".repeat(100_000), Severity::Error).what;
        assert!(what.message.contains("too deeply"), "{what}");
    }
}

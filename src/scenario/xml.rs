//! XML text to a small tree in which every element, attribute and text knows its place.
//!
//! The tree is what the compiler walks; it knows nothing of scenarios. Depth and size are bounded,
//! and a DTD is accepted (scenarios carry a DOCTYPE line) but never processed.

use quick_xml::events::attributes::AttrError;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::error::{Fault, Position};
use super::text::{LineStarts, Text};

const DEPTH_MAX: usize = 64;
const ATTRIBUTES_MAX: usize = 256;

/// One element with its attributes, children and text.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) position: Position,
    pub(super) attributes: Vec<Attribute>,
    pub(super) children: Vec<Element>,
    /// The CDATA sections, joined, or the character data of an element without any.
    pub(super) text: Text,
    has_cdata: bool,
}

#[derive(Debug)]
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) value: Text,
    /// Where the name begins.
    pub(super) position: Position,
}

impl Element {
    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// Where the text begins; the element's place if it is blank.
    pub(super) fn text_position(&self) -> Position {
        self.text.first_position().unwrap_or(self.position)
    }
}

/// Parses `text`, which must hold exactly one root element.
pub(super) fn parse(text: &str) -> Result<Element, Fault> {
    let lines = LineStarts::new(text);
    let mut tree = Tree { text, lines: &lines, open: Vec::new(), root: None };
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    loop {
        let start = reader.buffer_position() as usize;
        let event = reader.read_event().map_err(|error| {
            let at = (reader.error_position() as usize).min(text.len());
            Fault::new(lines.position(at), format!("malformed XML: {error}"))
                .hint("check that every tag is closed and that < and & are escaped outside CDATA")
        })?;
        match event {
            Event::Start(tag) => tree.start(&tag, start)?,
            Event::Empty(tag) => {
                tree.start(&tag, start)?;
                tree.end();
            }
            Event::End(_) => tree.end(),
            Event::CData(data) => tree.cdata(&data, start)?,
            Event::Text(data) => tree.characters(&data, tree.offset(&data, start))?,
            Event::GeneralRef(reference) => tree.reference(&reference, start)?,
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::DocType(_) | Event::PI(_) => {}
        }
    }
    if let Some(unclosed) = tree.open.last() {
        return Err(Fault::new(
            unclosed.position,
            format!("malformed XML: <{}> is never closed", unclosed.name),
        )
        .hint(format!("add </{}>, or close it with />", unclosed.name)));
    }
    tree.root.ok_or_else(|| {
        Fault::new(Position { line: 1, column: 1 }, "the file holds no XML element")
            .hint("a scenario is one <scenario> element; `-sd uac` prints one to start from")
    })
}

/// The tree under construction.
struct Tree<'t> {
    text: &'t str,
    lines: &'t LineStarts,
    open: Vec<Element>,
    root: Option<Element>,
}

impl Tree<'_> {
    fn start(&mut self, tag: &BytesStart<'_>, start: usize) -> Result<(), Fault> {
        let position = self.lines.position(start);
        if self.open.len() >= DEPTH_MAX {
            return Err(Fault::new(position, "elements nest too deeply")
                .hint("a scenario needs four levels; is a closing tag missing?"));
        }
        if self.open.is_empty() && self.root.is_some() {
            return Err(Fault::new(position, "a second root element")
                .hint("a file holds exactly one <scenario>"));
        }
        let element = self.element(tag, start)?;
        self.open.push(element);
        Ok(())
    }

    fn end(&mut self) {
        // The reader refuses an end without a start.
        let Some(element) = self.open.pop() else { return };
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.root = Some(element),
        }
    }

    fn cdata(&mut self, data: &str, start: usize) -> Result<(), Fault> {
        let at = self.offset(data, start + "<![CDATA[".len());
        let Some(element) = self.open.last_mut() else {
            return Err(Fault::new(self.lines.position(start), "text outside the root element"));
        };
        if !element.has_cdata {
            if let Some(stray) = element.text.first_position() {
                return Err(beside_cdata(stray));
            }
            element.text = Text::default();
            element.has_cdata = true;
        }
        element.text.push(data, at, self.lines);
        Ok(())
    }

    fn characters(&mut self, data: &str, at: usize) -> Result<(), Fault> {
        let blank = data.len() - data.trim_ascii_start().len();
        let is_blank = blank == data.len();
        let place = self.lines.position(at + if is_blank { 0 } else { blank });
        match self.open.last_mut() {
            Some(element) if !element.has_cdata => {
                element.text.push(data, at, self.lines);
                Ok(())
            }
            // White space around a CDATA section is the file's layout, not the message's.
            Some(_) | None if is_blank => Ok(()),
            Some(_) => Err(beside_cdata(place)),
            None => Err(Fault::new(place, "text outside the root element")),
        }
    }

    fn reference(&mut self, entity: &str, start: usize) -> Result<(), Fault> {
        let place = self.lines.position(start);
        let value = resolve(entity).ok_or_else(|| unknown_entity(entity, place))?;
        match self.open.last_mut() {
            Some(element) if !element.has_cdata => {
                element.text.push_char(value, start, self.lines);
                Ok(())
            }
            Some(_) => Err(beside_cdata(place)),
            None => Err(Fault::new(place, "text outside the root element")),
        }
    }

    fn element(&self, tag: &BytesStart<'_>, start: usize) -> Result<Element, Fault> {
        let position = self.lines.position(start);
        let name = tag.name().into_inner().to_owned();
        let mut attributes = Vec::new();
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|error| {
                let at = (start + 1 + place_in_tag(&error)).min(self.text.len());
                Fault::new(self.lines.position(at), format!("malformed attribute in <{name}>"))
                    .hint("attributes are written name=\"value\", each once")
            })?;
            let key = attribute.key.into_inner();
            let place = self.lines.position(self.offset(key, start));
            if attributes.len() >= ATTRIBUTES_MAX {
                return Err(Fault::new(place, format!("more than {ATTRIBUTES_MAX} attributes")));
            }
            let raw = &*attribute.value;
            let value = self.attribute_value(raw, self.offset(raw, start))?;
            attributes.push(Attribute { name: key.to_owned(), value, position: place });
        }
        Ok(Element {
            name,
            position,
            attributes,
            children: Vec::new(),
            text: Text::default(),
            has_cdata: false,
        })
    }

    /// Decodes an attribute's value: line ends and tabs are spaces (XML 1.0 section 3.3.3),
    /// entities are resolved, and then SIPp's escapes `\\ \" \n \t \r`.
    fn attribute_value(&self, raw: &str, offset: usize) -> Result<Text, Fault> {
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
                self.attribute_character(rest, offset + at)?
            };
            value.push_char(c, offset + at, self.lines);
            at += len;
        }
        Ok(value)
    }

    /// The character that `rest` begins with, escaped or not, and how many bytes spell it.
    fn attribute_character(&self, rest: &str, offset: usize) -> Result<(char, usize), Fault> {
        let (first, len) = self.decoded(rest, offset)?;
        if first != '\\' || len == rest.len() {
            return Ok((first, len));
        }
        let (second, second_len) = self.decoded(&rest[len..], offset + len)?;
        let escaped = match second {
            '\\' | '"' => second,
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            _ => return Ok((first, len)),
        };
        Ok((escaped, len + second_len))
    }

    /// The character or entity that `rest`, which is not empty, begins with.
    fn decoded(&self, rest: &str, offset: usize) -> Result<(char, usize), Fault> {
        let first = rest.chars().next().unwrap_or_default();
        if first != '&' {
            return Ok((first, first.len_utf8()));
        }
        let place = self.lines.position(offset);
        // Outside of XML's grammar but common: an '&' that begins no entity is itself.
        let name = rest[1..].bytes().take_while(|&b| b.is_ascii_alphanumeric() || b == b'#');
        let end = 1 + name.count();
        if end == 1 || !rest[end..].starts_with(';') {
            return Ok(('&', 1));
        }
        let entity = &rest[1..end];
        let value = resolve(entity).ok_or_else(|| unknown_entity(entity, place))?;
        Ok((value, end + 1))
    }

    /// The offset of `part` in the file if it borrows from it, as names and texts do.
    fn offset(&self, part: &str, otherwise: usize) -> usize {
        let begin = (part.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize);
        begin.filter(|begin| begin + part.len() <= self.text.len()).unwrap_or(otherwise)
    }
}

fn beside_cdata(position: Position) -> Fault {
    Fault::new(position, "text beside a CDATA section")
        .hint("the whole message stands inside <![CDATA[ ... ]]>")
}

fn unknown_entity(entity: &str, position: Position) -> Fault {
    let shown = if entity.len() <= 16 { format!("&{entity};") } else { "&".to_owned() };
    Fault::new(position, format!("unknown entity {shown}"))
        .hint("a literal & is written &amp; outside CDATA; known are &lt; &gt; &amp; &quot; &apos;")
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
    // XML 1.0 section 2.2: of the control characters only these are characters at all.
    char::from_u32(code).filter(|&c| c >= ' ' || matches!(c, '\t' | '\n' | '\r'))
}

/// Where in the tag, behind its `<`, the error is.
fn place_in_tag(error: &AttrError) -> usize {
    match *error {
        AttrError::ExpectedEq(at)
        | AttrError::ExpectedValue(at)
        | AttrError::UnquotedValue(at)
        | AttrError::ExpectedQuote(at, _)
        | AttrError::Duplicated(at, _) => at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_and_attributes_know_their_place() {
        let root = parse("<?xml version=\"1.0\"?>\n<a>\n  <b x=\"1\"\n     y='2'/>\n</a>").unwrap();
        let b = &root.children[0];
        assert_eq!(b.position, Position { line: 3, column: 3 });
        assert_eq!(b.attribute("y").unwrap().position, Position { line: 4, column: 6 });
    }

    #[test]
    fn cdata_is_kept_verbatim_and_entities_are_decoded_outside_it() {
        let root = parse("<a x=\"&lt;&#65;\\n\">\n<![CDATA[<&amp;]]>\n</a>").unwrap();
        assert_eq!(&*root.attribute("x").unwrap().value, "<A\n");
        assert_eq!(&*root.text, "<&amp;");
    }

    #[test]
    fn malformed_files_are_refused_with_a_place() {
        for (text, line) in [
            ("<a>\n<b></a>", 2),
            ("<a>\n", 1),
            ("", 1),
            ("<a/>\n<b/>", 2),
            ("<a/>\ntext", 2),
            ("<a>\n&nope;</a>", 2),
            ("<a\nx=1/>", 2),
        ] {
            let fault = parse(text).unwrap_err();
            assert_eq!(fault.position.line, line, "{text:?}: {}", fault.message);
        }
    }

    #[test]
    fn white_space_around_cdata_is_no_part_of_the_text() {
        let root = parse("<a>\n  <![CDATA[\n x]]><!-- c -->\n <![CDATA[y]]>\n</a>").unwrap();
        assert_eq!(&*root.text, "\n xy");
        assert_eq!(root.text.position(2), Position { line: 3, column: 2 });
        assert_eq!(root.text.position(3), Position { line: 4, column: 11 });
        let fault = parse("<a>\n x<![CDATA[y]]></a>").unwrap_err();
        assert_eq!(fault.position, Position { line: 2, column: 2 });
        let fault = parse("<a><![CDATA[y]]>\n\n x</a>").unwrap_err();
        assert_eq!(fault.position, Position { line: 3, column: 2 });
    }

    #[test]
    fn text_without_cdata_keeps_its_places_across_entities_and_comments() {
        let root = parse("<a>\n <!-- two\nlines -->x&lt;y</a>").unwrap();
        let text = &root.text;
        assert_eq!(text.trim(), "x<y");
        assert_eq!(root.text_position(), Position { line: 3, column: 10 });
        assert_eq!(text.position(text.len() - 1), Position { line: 3, column: 15 });
        assert_eq!(&*parse("<a>one&amp;two&#x20;three</a>").unwrap().text, "one&two three");
    }

    #[test]
    fn attribute_values_are_normalised_and_keep_their_places() {
        let root = parse("<a x='1\r\n2\t3&quot;4\\\\n&#92;n5'/>").unwrap();
        let value = &root.attribute("x").unwrap().value;
        assert_eq!(&**value, "1 2 3\"4\\n\n5");
        let root = parse("<a x='a=1&b=2; & &amp;&' y='<sip:b>'/>").unwrap();
        assert_eq!(&*root.attribute("x").unwrap().value, "a=1&b=2; & &&");
        assert_eq!(&*root.attribute("y").unwrap().value, "<sip:b>");
        assert_eq!(value.position(0), Position { line: 1, column: 7 });
        assert_eq!(value.position(2), Position { line: 2, column: 1 });
        assert_eq!(value.position(value.len() - 1), Position { line: 2, column: 20 });
    }

    #[test]
    fn faults_in_attributes_stand_where_they_are() {
        for (text, column) in [
            ("<a b='1' b='2'/>", 10),
            ("<a b='&nope;'/>", 7),
            ("<a b='&#0;'/>", 7),
            ("<a b/>", 5),
            ("<a b=c/>", 6),
        ] {
            let fault = parse(text).unwrap_err();
            assert_eq!(fault.position, Position { line: 1, column }, "{text}: {}", fault.message);
        }
    }

    #[test]
    fn a_document_type_is_skipped_with_all_it_declares() {
        let root = parse(
            "<!DOCTYPE scenario SYSTEM \"sipp.dtd\" [\n<!ENTITY e \"<a>\">\n]>\n<!-- > -->\n<b/>",
        )
        .unwrap();
        assert_eq!(root.position, Position { line: 5, column: 1 });
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(parse(&"<a>".repeat(100_000)).is_err());
    }
}

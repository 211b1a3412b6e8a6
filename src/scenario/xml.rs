//! XML text to a small tree in which every element, attribute and text knows its place.
//!
//! The tree is what the compiler walks; it knows nothing of scenarios. Depth and size are bounded,
//! and a DTD is accepted (scenarios carry a DOCTYPE line) but never processed.

use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::error::{Fault, Position};

const DEPTH_MAX: usize = 64;

/// One element with its attributes, children and text.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) position: Position,
    pub(super) attributes: Vec<Attribute>,
    pub(super) children: Vec<Element>,
    /// Character data and CDATA, concatenated.
    pub(super) text: String,
    /// Where the first CDATA or non-blank text begins.
    pub(super) text_position: Position,
}

#[derive(Debug)]
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) position: Position,
}

impl Element {
    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }
}

/// Parses `text`, which must hold exactly one root element.
pub(super) fn parse(text: &str) -> Result<Element, Fault> {
    let lines = LineStarts::new(text);
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    let mut open: Vec<Element> = Vec::new();
    let mut root: Option<Element> = None;
    loop {
        let start = reader.buffer_position() as usize;
        let event = match reader.read_event() {
            Ok(event) => event,
            Err(error) => {
                let at = (reader.error_position() as usize).min(text.len());
                return Err(Fault::new(lines.position(at), format!("malformed XML: {error}"))
                    .hint(
                        "check that every tag is closed and that < and & are escaped outside CDATA",
                    ));
            }
        };
        match event {
            Event::Start(tag) => {
                if open.len() >= DEPTH_MAX {
                    return Err(Fault::new(lines.position(start), "elements nest too deeply"));
                }
                if open.is_empty() && root.is_some() {
                    return Err(second_root(lines.position(start)));
                }
                open.push(element(&tag, text, start, &lines)?);
            }
            Event::Empty(tag) => {
                let element = element(&tag, text, start, &lines)?;
                close(element, &mut open, &mut root, lines.position(start))?;
            }
            Event::End(_) => {
                if let Some(element) = open.pop() {
                    close(element, &mut open, &mut root, lines.position(start))?;
                }
            }
            Event::CData(data) => {
                append(&mut open, &data, lines.position(start + "<![CDATA[".len()))?;
            }
            Event::Text(data) => {
                append(&mut open, &data, lines.position(start))?;
            }
            Event::GeneralRef(reference) => {
                let value = resolve(&reference).ok_or_else(|| {
                    Fault::new(lines.position(start), format!("unknown entity &{};", &*reference))
                })?;
                append(&mut open, value.encode_utf8(&mut [0; 4]), lines.position(start))?;
            }
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::DocType(_) | Event::PI(_) => {}
        }
    }
    if let Some(unclosed) = open.last() {
        return Err(Fault::new(
            unclosed.position,
            format!("malformed XML: <{}> is never closed", unclosed.name),
        ));
    }
    root.ok_or_else(|| {
        Fault::new(Position { line: 1, column: 1 }, "the file holds no XML element")
            .hint("a scenario is one <scenario> element; `-sd uac` prints one to start from")
    })
}

fn second_root(position: Position) -> Fault {
    Fault::new(position, "a second root element").hint("a file holds exactly one <scenario>")
}

fn close(
    element: Element,
    open: &mut [Element],
    root: &mut Option<Element>,
    position: Position,
) -> Result<(), Fault> {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None if root.is_none() => *root = Some(element),
        None => return Err(second_root(position)),
    }
    Ok(())
}

fn append(open: &mut [Element], content: &str, position: Position) -> Result<(), Fault> {
    match open.last_mut() {
        Some(element) => {
            if element.text.trim().is_empty() && !content.trim().is_empty() {
                element.text_position = position;
            }
            element.text.push_str(content);
            Ok(())
        }
        None if content.trim().trim_start_matches('\u{feff}').is_empty() => Ok(()),
        None => Err(Fault::new(position, "text outside the root element")),
    }
}

fn element(
    tag: &BytesStart<'_>,
    text: &str,
    start: usize,
    lines: &LineStarts,
) -> Result<Element, Fault> {
    let position = lines.position(start);
    let name = tag.name().into_inner().to_owned();
    let mut attributes = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| {
            Fault::new(position, format!("malformed attribute in <{name}>: {error}"))
                .hint("attributes are written name=\"value\", each once")
        })?;
        let key = attribute.key.into_inner();
        let at = offset_in(text, key).map_or(position, |offset| lines.position(offset));
        let value = unescape_entities(&attribute.value)
            .ok_or_else(|| Fault::new(at, format!("unknown entity in attribute {key}")))?;
        attributes.push(Attribute {
            name: key.to_owned(),
            value: unescape_backslashes(&value),
            position: at,
        });
    }
    Ok(Element {
        name,
        position,
        attributes,
        children: Vec::new(),
        text: String::new(),
        text_position: position,
    })
}

/// The offset of `part` in `whole` when it borrows from it, as attribute names do.
fn offset_in(whole: &str, part: &str) -> Option<usize> {
    let offset = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    (offset + part.len() <= whole.len()).then_some(offset)
}

fn resolve(entity: &str) -> Option<char> {
    if let Some(number) = entity.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code);
    }
    Some(match entity {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        "apos" => '\'',
        _ => return None,
    })
}

fn unescape_entities(raw: &str) -> Option<String> {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let end = rest[at..].find(';')?;
        out.push(resolve(&rest[at + 1..at + end])?);
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    Some(out)
}

/// Attribute values know `\\ \" \n \t \r` after XML decoding, as SIPp has it.
fn unescape_backslashes(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped = match (c, chars.peek()) {
            ('\\', Some('\\')) => '\\',
            ('\\', Some('"')) => '"',
            ('\\', Some('n')) => '\n',
            ('\\', Some('t')) => '\t',
            ('\\', Some('r')) => '\r',
            _ => {
                out.push(c);
                continue;
            }
        };
        chars.next();
        out.push(escaped);
    }
    out
}

/// Byte offsets of line starts, to turn an offset into line and column.
struct LineStarts(Vec<usize>);

impl LineStarts {
    fn new(text: &str) -> Self {
        let mut starts = vec![0];
        starts.extend(text.bytes().enumerate().filter(|&(_, b)| b == b'\n').map(|(i, _)| i + 1));
        Self(starts)
    }

    fn position(&self, offset: usize) -> Position {
        let line = self.0.partition_point(|&start| start <= offset);
        let start = self.0[line - 1];
        Position { line: line as u32, column: (offset - start + 1) as u32 }
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
        let root = parse("<a x=\"&lt;&#65;\\n\">t&amp;<![CDATA[<&amp;]]></a>").unwrap();
        assert_eq!(root.attribute("x").unwrap().value, "<A\n");
        assert_eq!(root.text, "t&<&amp;");
    }

    #[test]
    fn malformed_files_are_refused_with_a_place() {
        for (text, line) in [
            ("<a>\n<b></a>", 2),
            ("<a>\n", 1),
            ("", 1),
            ("<a/>\n<b/>", 2),
            ("<a/>\ntext", 1),
            ("<a>\n&nope;</a>", 2),
            ("<a\nx=1/>", 1),
        ] {
            let fault = parse(text).unwrap_err();
            assert_eq!(fault.position.line, line, "{text:?}: {}", fault.message);
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(parse(&"<a>".repeat(100_000)).is_err());
    }
}

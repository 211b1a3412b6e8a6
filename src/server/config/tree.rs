//! JSON as a tree in which every value knows its place.
//!
//! The grammar is that of RFC 8259, with no comments and no trailing commas. Size and depth are
//! bounded before recursive code reads the text. The module knows nothing of the meaning of keys.

use std::cell::Cell;

use jsonc_parser::ast::Value;
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::ParseErrorKind;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::problem::{Place, Problem, ProblemKind};

/// Bytes of a file or snippet; sixteen engines with all keys need a tenth of it.
pub(super) const TEXT_BYTES_MAX: usize = 1 << 20;

/// Depth of nested objects and lists; a configuration has five levels.
const DEPTH_MAX: u32 = 32;

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) data: Data,
}

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    Null,
    Bool(bool),
    /// The number as it is written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Object(Vec<Member>),
}

/// A key of an object with its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    pub(super) key: String,
    /// The place where the key begins.
    pub(super) at: Place,
    pub(super) node: Node,
}

impl Node {
    /// The members of an object; none of anything else.
    pub(super) fn members(&self) -> &[Member] {
        match &self.data {
            Data::Object(members) => members,
            _ => &[],
        }
    }

    /// The elements of a list; none of anything else.
    pub(super) fn elements(&self) -> &[Node] {
        match &self.data {
            Data::List(elements) => elements,
            _ => &[],
        }
    }

    /// A member of an object.
    pub(super) fn member(&self, key: &str) -> Option<&Member> {
        self.members().iter().find(|member| member.key == key)
    }

    /// The text of a string.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number as a float. JSON numbers are finite, but large ones are rounded.
    pub(super) fn number(&self) -> Option<f64> {
        match &self.data {
            Data::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The value without places.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.data {
            Data::Null => serde_json::Value::Null,
            Data::Bool(value) => (*value).into(),
            Data::Number(text) => text.parse().unwrap_or(serde_json::Value::Null),
            Data::Text(text) => text.as_str().into(),
            Data::List(elements) => elements.iter().map(Self::to_json).collect(),
            Data::Object(members) => serde_json::Value::Object(
                members.iter().map(|member| (member.key.clone(), member.node.to_json())).collect(),
            ),
        }
    }
}

/// Reads a text.
///
/// # Errors
/// The first place at which it is not JSON: what follows there would be guesswork.
pub(super) fn parse(text: &[u8]) -> Result<Node, Problem> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!(
            "{} bytes are too much for a configuration; {TEXT_BYTES_MAX} are the limit",
            text.len()
        );
        return Err(syntax(None, message));
    }
    let text = match str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => {
            let valid = str::from_utf8(&text[..error.valid_up_to()]).unwrap_or_default();
            let message = "this byte is not UTF-8; save the file as UTF-8".to_owned();
            return Err(syntax(Some(Lines::new(valid).place(valid.len())), message));
        }
    };
    // Editors on other systems begin files with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = Lines::new(text);
    check_depth(text, &lines)?;
    let strict = ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
    };
    let parsed = parse_to_ast(text, &CollectOptions::default(), &strict).map_err(|error| {
        syntax(Some(lines.place(error.range().start)), explanation(error.kind()))
    })?;
    let Some(value) = parsed.value else {
        let message = "the file is empty; an object {...} is needed".to_owned();
        return Err(syntax(None, message));
    };
    // The first parser accepts missing commas in lists, and control characters.
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        let place = Place { line: error.line() as u32, column: error.column().max(1) as u32 };
        let whole = error.to_string();
        let message = whole.split(" at line ").next().unwrap_or(&whole);
        return Err(syntax(Some(place), format!("this is not JSON: {message}")));
    }
    Ok(convert(value, &lines))
}

fn syntax(place: Option<Place>, message: String) -> Problem {
    Problem { place, key: String::new(), kind: ProblemKind::Syntax, message }
}

fn explanation(kind: &ParseErrorKind) -> String {
    match kind {
        ParseErrorKind::CommentsNotAllowed => {
            "JSON has no comments; write it as a key: \"_comment\": \"...\"".to_owned()
        }
        ParseErrorKind::TrailingCommasNotAllowed => {
            "nothing follows this comma; remove it".to_owned()
        }
        ParseErrorKind::ExpectedComma => "a comma is missing before this key or value".to_owned(),
        ParseErrorKind::UnterminatedObject => {
            "the object that begins here has no closing brace".to_owned()
        }
        ParseErrorKind::UnterminatedArray => {
            "the list that begins here has no closing bracket".to_owned()
        }
        ParseErrorKind::MultipleRootJsonValues => {
            "the text goes on after its end; remove what follows".to_owned()
        }
        ParseErrorKind::SingleQuotedStringsNotAllowed => {
            "JSON allows only double quotes".to_owned()
        }
        ParseErrorKind::ExpectedStringObjectProperty => "keys must be in double quotes".to_owned(),
        other => format!("this is not JSON: {}", other.to_string().to_lowercase()),
    }
}

/// Counts brackets outside of strings: the parsers below call themselves for each.
fn check_depth(text: &str, lines: &Lines<'_>) -> Result<(), Problem> {
    let mut depth = 0_u32;
    let mut is_string = false;
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        if is_string {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => is_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => is_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            let message = format!("nested more than {DEPTH_MAX} levels deep");
            return Err(syntax(Some(lines.place(at)), message));
        }
    }
    Ok(())
}

fn convert(value: Value<'_>, lines: &Lines<'_>) -> Node {
    let at = lines.place(value.range().start);
    let data = match value {
        Value::NullKeyword(_) => Data::Null,
        Value::BooleanLit(bool) => Data::Bool(bool.value),
        Value::NumberLit(number) => Data::Number(number.value.to_owned()),
        Value::StringLit(text) => Data::Text(text.value.into_owned()),
        Value::Array(list) => {
            Data::List(list.elements.into_iter().map(|element| convert(element, lines)).collect())
        }
        Value::Object(object) => {
            let members = object.properties.into_iter().map(|property| Member {
                at: lines.place(property.range.start),
                key: property.name.into_string(),
                node: convert(property.value, lines),
            });
            Data::Object(members.collect())
        }
    };
    Node { at, data }
}

/// The places where the lines of a text begin.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
    /// The offset that was asked for last, and the characters before it in its line. Values come in
    /// the order of the text. Counting from the start of a long line for each would be quadratic.
    last: Cell<(usize, usize)>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        let ends = memchr::memchr_iter(b'\n', text.as_bytes());
        let starts = std::iter::once(0).chain(ends.map(|at| at + 1)).collect();
        Self { text, starts, last: Cell::default() }
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|&start| start <= offset).max(1);
        let start = self.starts[line - 1];
        let (from, counted) = match self.last.get() {
            (at, counted) if (start..=offset).contains(&at) => (at, counted),
            _ => (start, 0),
        };
        let before = self.text.get(from..offset).unwrap_or_default();
        let counted = counted + before.chars().count();
        self.last.set((from + before.len(), counted));
        Place { line: line as u32, column: counted as u32 + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(text: &[u8]) -> (u32, u32, String) {
        let problem = parse(text).unwrap_err();
        let at = problem.place.unwrap_or_default();
        (at.line, at.column, problem.message)
    }

    #[test]
    fn everything_knows_its_line_and_column() {
        let node = parse("{\n  \"ä\": 1, \"b\": [true,\n null]}".as_bytes()).unwrap();
        let b = node.member("b").unwrap();
        assert_eq!((b.at.line, b.at.column), (2, 11));
        let null = &b.node.elements()[1];
        assert_eq!((null.at.line, null.at.column, &null.data), (3, 2, &Data::Null));
        let lines = Lines::new("äö\nü, ß");
        for (offset, line, column) in [(2, 1, 2), (7, 2, 2), (5, 2, 1), (9, 2, 4), (0, 1, 1)] {
            assert_eq!(lines.place(offset), Place { line, column }, "in any order");
        }
    }

    #[test]
    fn what_is_not_json_is_named_with_its_place() {
        for (text, line, column, part) in [
            ("{\"a\": 1,\n // no\n}", 2, 2, "_comment"),
            ("{\"a\": 1,}", 1, 8, "remove it"),
            ("{\"a\": [1,\n2],", 1, 1, "closing brace"),
            ("[1, [2", 1, 5, "closing bracket"),
            ("{a: 1}", 1, 2, "double quotes"),
            ("{\"a\": 0x1}", 1, 7, "hexadecimal"),
            ("{} {}", 1, 4, "goes on"),
            ("[1 2]", 1, 4, "expected"),
            ("{\"a\": 1 \"b\": 2}", 1, 8, "comma is missing"),
            ("{\"a\": 'x'}", 1, 7, "double quotes"),
            ("{\"a\": \"\u{1}\"}", 1, 7, "control character"),
            ("", 0, 0, "empty"),
        ] {
            let (at_line, at_column, message) = failure(text.as_bytes());
            assert!(message.contains(part), "{text:?}: {message}");
            assert_eq!((at_line, at_column), (line, column), "{text:?}: {message}");
        }
        assert_eq!(failure(b"{\n\"a\": \"\xff\"}").0, 2);
    }

    #[test]
    fn size_and_depth_are_bounded() {
        assert!(failure(&vec![b' '; TEXT_BYTES_MAX + 1]).2.contains("too much"));
        assert!(failure("[".repeat(100_000).as_bytes()).2.contains("levels deep"));
        let brackets_in_text = format!("[\"{}\"]", "[\\\"".repeat(100));
        assert!(parse(brackets_in_text.as_bytes()).is_ok());
        let deepest = format!("{}{}", "[".repeat(32), "]".repeat(32));
        assert!(parse(deepest.as_bytes()).is_ok());
    }
}

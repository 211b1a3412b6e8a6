//! The bytes of a scenario file to text.
//!
//! Scenarios are UTF-8 or ISO-8859-1, which is what SIPp's own files declare. Anything else is
//! refused by name rather than sent out garbled.

use std::borrow::Cow;

use super::error::{Fault, Position, ScenarioError};
use super::text::LineStarts;

/// Largest scenario file. Hand-written ones have a few kilobytes.
pub const FILE_BYTES_MAX: usize = 8 << 20;
/// How far into the file the XML declaration is looked for.
const DECLARATION_MAX: usize = 256;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// The text of a scenario file, by its byte order mark or the encoding that it declares.
///
/// `source` names the file in errors.
///
/// # Errors
/// An encoding other than UTF-8 and ISO-8859-1, bytes that are not what was declared, or a file
/// larger than [`FILE_BYTES_MAX`].
pub fn decode<'b>(bytes: &'b [u8], source: &str) -> Result<Cow<'b, str>, ScenarioError> {
    text(bytes).map_err(|fault| fault.in_source(source))
}

fn text(bytes: &[u8]) -> Result<Cow<'_, str>, Fault> {
    check_size(bytes.len())?;
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(unsupported("UTF-16", START));
    }
    if let Some(bytes) = bytes.strip_prefix(BOM) {
        return utf8(bytes);
    }
    let Some((name, at)) = declared(bytes) else { return utf8(bytes) };
    match name.to_ascii_lowercase().as_str() {
        "utf-8" | "utf8" | "us-ascii" | "ascii" => utf8(bytes),
        "iso-8859-1" | "iso8859-1" | "iso_8859-1" | "latin1" | "latin-1" => {
            Ok(Cow::Owned(bytes.iter().map(|&byte| char::from(byte)).collect()))
        }
        _ => Err(unsupported(&name, LineStarts::of_bytes(bytes).position(at))),
    }
}

const START: Position = Position { line: 1, column: 1 };

/// Refuses what no scenario can be, before work is spent on it.
pub(super) fn check_size(bytes: usize) -> Result<(), Fault> {
    if bytes <= FILE_BYTES_MAX {
        return Ok(());
    }
    Err(Fault::new(START, format!("the file has {bytes} bytes, more than {FILE_BYTES_MAX}"))
        .hint("is it a scenario at all? values for calls belong into an injection file"))
}

fn unsupported(name: &str, position: Position) -> Fault {
    Fault::new(position, format!("encoding \"{name}\" is not supported"))
        .hint("save the file as UTF-8; UTF-8 and ISO-8859-1 are read")
}

fn utf8(bytes: &[u8]) -> Result<Cow<'_, str>, Fault> {
    std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|error| {
        let at = error.valid_up_to();
        Fault::new(
            LineStarts::of_bytes(bytes).position(at),
            format!("byte 0x{:02x} is not UTF-8", bytes[at]),
        )
        .hint("save the file as UTF-8, or declare <?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>")
    })
}

/// The value of `encoding=` in the XML declaration, and where it stands.
fn declared(bytes: &[u8]) -> Option<(String, usize)> {
    if !bytes.starts_with(b"<?xml") {
        return None;
    }
    let head = &bytes[..bytes.len().min(DECLARATION_MAX)];
    let head = &head[..memchr::memmem::find(head, b"?>")?];
    let name = memchr::memmem::find(head, b"encoding")? + b"encoding".len();
    let blank = |at: usize| at + head[at..].iter().take_while(|b| b.is_ascii_whitespace()).count();
    let equals = blank(name);
    if head.get(equals) != Some(&b'=') {
        return None;
    }
    let open = blank(equals + 1);
    let quote = *head.get(open).filter(|b| matches!(b, b'"' | b'\''))?;
    let value = &head[open + 1..];
    let value = &value[..memchr::memchr(quote, value)?];
    Some((String::from_utf8_lossy(value).into_owned(), open + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf_8_is_the_default_and_its_mark_is_removed() {
        assert_eq!(text("<a>é</a>".as_bytes()).unwrap(), "<a>é</a>");
        assert_eq!(text(b"\xef\xbb\xbf<a/>").unwrap(), "<a/>");
        assert_eq!(text(b"<?xml version='1.0' encoding = 'utf-8'?><a/>").unwrap().len(), 44);
    }

    #[test]
    fn iso_8859_1_is_converted_where_it_is_declared() {
        let file = b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n<a>\xe9</a>";
        assert!(text(file).unwrap().ends_with("<a>é</a>"));
        let fault = text(b"<?xml version=\"1.0\"?>\n<a>\xe9</a>").unwrap_err();
        assert_eq!(fault.position, Position { line: 2, column: 4 });
        assert!(fault.hint.contains("ISO-8859-1"), "{}", fault.hint);
    }

    #[test]
    fn other_encodings_are_refused_by_name() {
        let fault = text(b"<?xml version=\"1.0\" encoding=\"KOI8-R\"?><a/>").unwrap_err();
        assert!(fault.message.contains("KOI8-R"));
        assert_eq!(fault.position, Position { line: 1, column: 31 });
        let fault = text(b"\xff\xfe<\0a\0").unwrap_err();
        assert!(fault.message.contains("UTF-16"));
        // The mark says what the bytes are; the declaration was forgotten by an editor.
        assert!(text(b"\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"x\"?><a/>").is_ok());
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused() {
        assert!(text(&vec![b' '; FILE_BYTES_MAX + 1]).is_err());
    }
}

//! Decoding of a scenario file's bytes to text, and back.
//!
//! SIPp sends the text of a file byte for byte, regardless of the encoding that the file declares.
//! The XML parser needs text, so bytes that are not UTF-8 are read as special characters, which no
//! text has otherwise. They become those bytes again before the text is sent, searched for or
//! compared.

use std::borrow::Cow;

use super::error::{Fault, Position, ScenarioError};

/// Largest scenario file. Hand-written ones have a few kilobytes.
pub const FILE_BYTES_MAX: usize = 16 << 20;
const BOM: &[u8] = b"\xef\xbb\xbf";
/// The character that stands for byte 0. The characters for bytes are the last ones in the last
/// plane of private use (Unicode section 23.5).
const BYTE_ZERO: u32 = 0x10_ff00;
/// First bytes of each of those characters in UTF-8. The two bytes that follow are 0xBC to 0xBF and
/// 0x80 to 0xBF.
const BYTE_PREFIX: &[u8] = b"\xf4\x8f";
/// Bytes of such a character in UTF-8.
pub(super) const BYTE_CHAR_LEN: usize = 4;

/// The text of a scenario file. Its bytes are kept, regardless of the encoding that it declares;
/// see [`bytes()`].
///
/// `source` names the file in errors.
///
/// # Errors
/// The file is UTF-16, in which no message is written, or larger than [`FILE_BYTES_MAX`].
pub fn decode<'b>(bytes: &'b [u8], source: &str) -> Result<Cow<'b, str>, ScenarioError> {
    text(bytes).map_err(|fault| fault.in_source(source))
}

/// The file's bytes for `text`, which is a part of the result of [`decode()`].
pub fn bytes(text: &str) -> Cow<'_, [u8]> {
    if memchr::memmem::find(text.as_bytes(), BYTE_PREFIX).is_none() {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut room = [0; BYTE_CHAR_LEN];
    for c in text.chars() {
        match byte_of(c) {
            Some(byte) => out.push(byte),
            None => out.extend_from_slice(c.encode_utf8(&mut room).as_bytes()),
        }
    }
    Cow::Owned(out)
}

/// `text` for people to read: names of scenarios and of columns. Bytes that are not UTF-8 are shown
/// as ISO-8859-1, which SIPp's own files declare.
pub(super) fn shown(text: &str) -> String {
    text.chars().map(|c| byte_of(c).map_or(c, char::from)).collect()
}

/// The byte that `c` stands for, if it stands for one.
pub(super) fn byte_of(c: char) -> Option<u8> {
    u32::from(c).checked_sub(BYTE_ZERO).and_then(|byte| u8::try_from(byte).ok())
}

fn text(bytes: &[u8]) -> Result<Cow<'_, str>, Fault> {
    check_size(bytes.len())?;
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(Fault::new(START, "the file is UTF-16")
            .hint("save it as UTF-8: no SIP message is written in UTF-16"));
    }
    let bytes = bytes.strip_prefix(BOM).unwrap_or(bytes);
    let is_plain = memchr::memmem::find(bytes, BYTE_PREFIX).is_none();
    if is_plain && let Ok(text) = std::str::from_utf8(bytes) {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(bytes.len() + bytes.len() / 8);
    let char_of = |byte: &u8| char::from_u32(BYTE_ZERO + u32::from(*byte));
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match byte_of(c) {
                // Only a file that has these characters itself gets here: their UTF-8 bytes are
                // kept, too.
                Some(_) => {
                    let mut room = [0; BYTE_CHAR_LEN];
                    let own = c.encode_utf8(&mut room).as_bytes();
                    out.extend(own.iter().filter_map(char_of));
                }
                None => out.push(c),
            }
        }
        out.extend(chunk.invalid().iter().filter_map(char_of));
    }
    Ok(Cow::Owned(out))
}

const START: Position = Position { line: 1, column: 1 };

/// Refuses a file that is too large for a scenario, before work is spent on it.
pub(super) fn check_size(bytes: usize) -> Result<(), Fault> {
    if bytes <= FILE_BYTES_MAX {
        return Ok(());
    }
    Err(Fault::new(START, format!("the scenario has {bytes} bytes, more than {FILE_BYTES_MAX}"))
        .hint("is it a scenario at all? values for calls belong into an injection file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf_8_is_text_and_its_mark_is_removed() {
        assert_eq!(text("<a>é</a>".as_bytes()).unwrap(), "<a>é</a>");
        assert_eq!(text(b"\xef\xbb\xbf<a/>").unwrap(), "<a/>");
        assert!(text(b"\xff\xfe<\0a\0").unwrap_err().message.contains("UTF-16"));
    }

    #[test]
    fn bytes_come_out_as_they_went_in_whatever_is_declared() {
        let every: Vec<u8> = (0..=255).collect();
        for file in [
            &b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n<a>\xe9</a>"[..],
            "<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n<a>é</a>".as_bytes(),
            b"<?xml version=\"1.0\" encoding=\"KOI8-R\"?><a>\xc1\xc2</a>",
            b"<a>mixed \xc3\xa9 and \xe9</a>",
            "a file with \u{10ff41}, which stands for a byte".as_bytes(),
            &every,
        ] {
            assert_eq!(&*bytes(&text(file).unwrap()), file);
        }
        assert_eq!(shown(&text(b"Gr\xfc\xdfe").unwrap()), "Grüße");
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused() {
        assert!(text(&vec![b' '; FILE_BYTES_MAX + 1]).is_err());
    }
}

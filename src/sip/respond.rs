//! Error answers to requests, even to requests that cannot be parsed (RFC 3261 8.2.6).
//!
//! Works on raw bytes, because the requests that most need a 400 are the ones without an index.
//! Knows the headers that an answer repeats; it has no transaction and no tag generator.

use super::lines::{self, Line};
use super::text::{is_token, unfold};
use super::{HeaderId, name_addr, start_line};

/// Headers that every answer repeats once; all Via lines come before them.
const COPIED: [HeaderId; 4] = [HeaderId::From, HeaderId::To, HeaderId::CallId, HeaderId::CSeq];

/// Writes an answer without body to `request` into `out` and returns its length.
///
/// `request` is a datagram or [`Message::bytes`](super::Message::bytes). `to_tag` is added to To
/// unless To has a tag or `to_tag` is empty, as it is for 100.
///
/// `None` means that no answer may or can be sent. The request may be a response or an ACK (RFC
/// 3261 17 answers neither), or lack a header that the answer must repeat; or `out` is too small.
pub fn write_error_response(
    request: &[u8],
    code: u16,
    reason: &str,
    to_tag: &[u8],
    out: &mut [u8],
) -> Option<usize> {
    write_error_response_with(request, code, reason, to_tag, b"", out)
}

/// Writes an answer as [`write_error_response`] does, with `more` header lines, each with its CRLF.
pub fn write_error_response_with(
    request: &[u8],
    code: u16,
    reason: &str,
    to_tag: &[u8],
    more: &[u8],
    out: &mut [u8],
) -> Option<usize> {
    let request = &request[lines::leading_breaks(request)..];
    let (first, headers_at) = lines::first_line(request)?;
    if !may_be_answered(first) {
        return None;
    }
    let find = |id: HeaderId| lines::lenient(request, headers_at).filter(move |line| line.id == id);
    let mut out = Writer { out, len: 0 };
    out.status_line(code, reason)?;
    let mut vias = 0;
    for via in find(HeaderId::Via) {
        out.header(HeaderId::Via, value(request, &via), &[])?;
        vias += 1;
    }
    if vias == 0 {
        return None;
    }
    for id in COPIED {
        let value = value(request, &find(id).next()?);
        let needs_tag = id == HeaderId::To && name_addr::find_tag(value).is_none();
        out.header(id, value, if needs_tag { to_tag } else { &[] })?;
    }
    out.put(more)?;
    out.put(b"Content-Length: 0\r\n\r\n")?;
    Some(out.len)
}

/// Tells whether the first line may be that of a request other than ACK.
fn may_be_answered(first: &[u8]) -> bool {
    let mut words =
        first.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let Some(method) = words.next() else { return false };
    let is_sip = words.next_back().is_some_and(start_line::starts_with_sip);
    is_sip && is_token(method) && method != b"ACK"
}

fn value<'m>(text: &'m [u8], line: &Line) -> &'m [u8] {
    &text[line.value_start..line.value_end]
}

/// A writer into a fixed buffer, whose methods return `None` once it is full.
struct Writer<'o> {
    out: &'o mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn put(&mut self, text: &[u8]) -> Option<()> {
        self.out.get_mut(self.len..self.len + text.len())?.copy_from_slice(text);
        self.len += text.len();
        Some(())
    }

    fn status_line(&mut self, code: u16, reason: &str) -> Option<()> {
        let digits = [code / 100 % 10, code / 10 % 10, code % 10].map(|digit| b'0' + digit as u8);
        self.put(b"SIP/2.0 ")?;
        self.put(&digits)?;
        self.put(b" ")?;
        self.put(reason.as_bytes())?;
        self.put(b"\r\n")
    }

    /// Writes one header under its full name, with folds removed: a line break in a peer's value
    /// must never become a header of ours.
    fn header(&mut self, id: HeaderId, value: &[u8], tag: &[u8]) -> Option<()> {
        self.put(id.name().as_bytes())?;
        self.put(b": ")?;
        for byte in unfold(value) {
            *self.out.get_mut(self.len)? = byte;
            self.len += 1;
        }
        if !tag.is_empty() {
            self.put(b";tag=")?;
            self.put(tag)?;
        }
        self.put(b"\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "OPTIONS sip:a@b SIP/2.0\r\nv: SIP/2.0/UDP h1;branch=z1\r\n\
        Via: SIP/2.0/UDP h2,\r\n SIP/2.0/UDP h3\r\nFrom: <sip:x@y>;tag=f\r\nt: <sip:a@b>\r\n\
        no header at all\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: x\r\n\r\n";

    fn answer(request: &str) -> Option<String> {
        let mut out = [0; 512];
        let len = write_error_response(request.as_bytes(), 400, "Bad Request", b"mine", &mut out)?;
        Some(String::from_utf8(out[..len].to_vec()).unwrap())
    }

    #[test]
    fn broken_requests_are_answered_along_their_vias() {
        let expected = "SIP/2.0 400 Bad Request\r\nVia: SIP/2.0/UDP h1;branch=z1\r\n\
            Via: SIP/2.0/UDP h2, SIP/2.0/UDP h3\r\nFrom: <sip:x@y>;tag=f\r\n\
            To: <sip:a@b>;tag=mine\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(answer(REQUEST).as_deref(), Some(expected));
    }

    #[test]
    fn a_tag_in_to_is_kept() {
        let answer = answer(&REQUEST.replace("<sip:a@b>\r\n", "<sip:a@b>;tag=theirs\r\n")).unwrap();
        assert!(answer.contains("\r\nTo: <sip:a@b>;tag=theirs\r\n"));
    }

    #[test]
    fn responses_acks_and_strangers_get_no_answer() {
        for first in ["SIP/2.0 200 OK", "ACK sip:a@b SIP/2.0", "GET / HTTP/1.1", "OPTIONS"] {
            assert_eq!(answer(&REQUEST.replace("OPTIONS sip:a@b SIP/2.0", first)), None, "{first}");
        }
    }

    #[test]
    fn nothing_is_written_without_the_headers_that_route_it() {
        for header in ["From", "t", "Call-ID", "CSeq"] {
            let without = REQUEST.replace(&format!("\r\n{header}: "), "\r\nX-Gone: ");
            assert_eq!(answer(&without), None, "{header}");
        }
        let without = REQUEST.replace("\r\nv: ", "\r\nX: ").replace("\r\nVia: ", "\r\nX: ");
        assert_eq!(answer(&without), None);
    }

    #[test]
    fn a_small_buffer_gives_nothing() {
        let mut out = [0; 100];
        let request = REQUEST.as_bytes();
        assert_eq!(write_error_response(request, 400, "Bad Request", b"t", &mut out), None);
    }
}

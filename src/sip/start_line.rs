//! The first line: request line or status line (RFC 3261 7.1, 7.2).
//!
//! Checks that the Request-URI can be a URI, or is empty; [`Uri`](super::Uri) reads its parts.

use super::message::Kind;
use super::text::{find_byte, is_token, is_token_byte};
use super::{Method, MethodId, ParseError};

const VERSION: &[u8] = b"SIP/2.0";

/// Parses the first line, given without its line break.
///
/// Runs of blanks count as one (RFC 4475 3.1.2.9, 3.1.2.10 allow a receiver to recover): the line
/// is still unambiguous. A blank inside the Request-URI is an error.
///
/// An empty Request-URI between its two blanks is accepted: SIPp sends one if its `[next_url]` is
/// empty, and the method tells the request.
#[inline]
pub(super) fn parse(line: &[u8]) -> Result<Kind<'_>, ParseError> {
    if starts_with_sip(line) { status_line(line) } else { request_line(line) }
}

/// Tells whether the line can only be a status line: `/` is not a token byte, so no method has it.
#[inline]
pub(super) fn starts_with_sip(line: &[u8]) -> bool {
    line.first_chunk()
        .is_some_and(|first: &[u8; 4]| first == b"SIP/" || first.eq_ignore_ascii_case(b"SIP/"))
}

fn request_line(line: &[u8]) -> Result<Kind<'_>, ParseError> {
    if let Some(kind) = plain_request_line(line) {
        return Ok(kind);
    }
    let method_len =
        line.iter().position(|byte| is_blank(*byte)).ok_or(ParseError::BadStartLine)?;
    let (method, rest) = line.split_at(method_len);
    let method = Method::from_bytes(method);
    // All others are tokens.
    if let Method::Other(text) = method
        && !is_token(text)
    {
        return Err(ParseError::BadStartLine);
    }
    let behind_method = rest;
    let rest = trim_blanks(rest);
    let Some(blank) = rest.iter().rposition(|byte| is_blank(*byte)) else {
        check_version(rest)?;
        return match behind_method.get(1).is_some_and(|byte| is_blank(*byte)) {
            true => Ok(Kind::Request { method, uri: b"" }),
            false => Err(ParseError::BadStartLine),
        };
    };
    let (uri, version) = rest.split_at(blank + 1);
    check_version(version)?;
    let uri = trim_blanks(uri);
    if !may_be_uri(uri) {
        return Err(ParseError::BadRequestUri);
    }
    Ok(Kind::Request { method, uri })
}

/// Parses a request line as nearly all are: a known method, a `sip` URI, and one space before and
/// behind it. `None` says nothing about the line.
#[inline]
fn plain_request_line(line: &[u8]) -> Option<Kind<'_>> {
    let (method, rest) = line.split_at_checked(find_byte(line, b' ')?)?;
    let uri = rest.strip_prefix(b" ")?.strip_suffix(b" SIP/2.0")?;
    let method = Method::from_bytes(method);
    let is_plain = method.id() != MethodId::Other && uri.starts_with(b"sip:") && may_be_uri(uri);
    is_plain.then_some(Kind::Request { method, uri })
}

fn status_line(line: &[u8]) -> Result<Kind<'_>, ParseError> {
    // Nearly all look like this, and need no search.
    if let Some(
        [hundreds @ b'1'..=b'6', tens @ b'0'..=b'9', ones @ b'0'..=b'9', b' ', reason @ ..],
    ) = line.strip_prefix(b"SIP/2.0 ")
    {
        return Ok(Kind::Response {
            code: code_of([*hundreds, *tens, *ones]),
            reason: trim_blanks(reason),
        });
    }
    let version_len = line.iter().position(|byte| is_blank(*byte));
    let (version, rest) = line.split_at(version_len.ok_or(ParseError::BadStartLine)?);
    check_version(version)?;
    let rest = trim_blanks(rest);
    let code_len = rest.iter().position(|byte| is_blank(*byte)).unwrap_or(rest.len());
    let (code, reason) = rest.split_at(code_len);
    let code = match code {
        [hundreds @ b'1'..=b'6', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => {
            code_of([*hundreds, *tens, *ones])
        }
        _ => return Err(ParseError::BadStatusCode),
    };
    Ok(Kind::Response { code, reason: trim_blanks(reason) })
}

fn code_of(digits: [u8; 3]) -> u16 {
    digits.into_iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'))
}

#[inline]
fn check_version(version: &[u8]) -> Result<(), ParseError> {
    // SIP-Version is case-insensitive (RFC 3261 7.1).
    if version == VERSION || version.eq_ignore_ascii_case(VERSION) {
        return Ok(());
    }
    if !starts_with_sip(version) {
        return Err(ParseError::BadStartLine);
    }
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let mut numbers = version[4..].splitn(2, |byte| *byte == b'.');
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if digits(major) && digits(minor) => {
            Err(ParseError::UnsupportedVersion)
        }
        _ => Err(ParseError::BadStartLine),
    }
}

/// Tells whether `uri` is a scheme, a colon and text without blanks and angle brackets.
fn may_be_uri(uri: &[u8]) -> bool {
    let is_sip = uri.starts_with(b"sip:");
    let colon = if is_sip { Some(3) } else { uri.iter().position(|byte| *byte == b':') };
    let Some(colon) = colon else { return false };
    let is_scheme = |scheme: &[u8]| {
        scheme.first().is_some_and(u8::is_ascii_alphabetic)
            && scheme.iter().all(|byte| is_token_byte(*byte))
    };
    (is_sip || is_scheme(&uri[..colon]))
        && uri.len() > colon + 1
        // Without an early exit this is a handful of vector compares.
        && uri.iter().fold(true, |clean, byte| clean & !matches!(byte, b' ' | b'\t' | b'<' | b'>'))
}

#[inline]
const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[inline]
fn trim_blanks(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines_give_method_and_uri() {
        let expected = Kind::Request { method: Method::Options, uri: b"sip:a@b" };
        for line in ["OPTIONS sip:a@b SIP/2.0", "OPTIONS  sip:a@b\t sip/2.0  "] {
            assert_eq!(parse(line.as_bytes()), Ok(expected));
        }
    }

    #[test]
    fn a_request_uri_may_be_empty() {
        let expected = Kind::Request { method: Method::Options, uri: b"" };
        for line in ["OPTIONS  SIP/2.0", "OPTIONS \t SIP/2.0 "] {
            assert_eq!(parse(line.as_bytes()), Ok(expected));
        }
    }

    #[test]
    fn status_lines_give_code_and_reason() {
        let response =
            |code, reason: &'static str| Ok(Kind::Response { code, reason: reason.as_bytes() });
        assert_eq!(parse(b"SIP/2.0 200 OK"), response(200, "OK"));
        assert_eq!(parse(b"SIP/2.0 100 "), response(100, ""));
        assert_eq!(parse(b"SIP/2.0 100"), response(100, ""));
        assert_eq!(parse(b"SIP/2.0 404 Not  Here"), response(404, "Not  Here"));
    }

    #[test]
    fn broken_first_lines_say_what_is_wrong() {
        for (line, error) in [
            ("", ParseError::BadStartLine),
            ("INVITE", ParseError::BadStartLine),
            ("INVITE sip:a@b", ParseError::BadStartLine),
            ("IN(VITE sip:a@b SIP/2.0", ParseError::BadStartLine),
            ("GET / HTTP/1.1", ParseError::BadStartLine),
            ("INVITE sip:a@b SIP/2.", ParseError::BadStartLine),
            ("INVITE sip:a@b SIP/3.0", ParseError::UnsupportedVersion),
            ("INVITE <sip:a@b> SIP/2.0", ParseError::BadRequestUri),
            ("INVITE sip:a@b; lr SIP/2.0", ParseError::BadRequestUri),
            ("INVITE :a SIP/2.0", ParseError::BadRequestUri),
            ("INVITE SIP/2.0", ParseError::BadStartLine),
            ("INVITE  HTTP/1.1", ParseError::BadStartLine),
            ("INVITE  SIP/3.0", ParseError::UnsupportedVersion),
            ("INVITE <> SIP/2.0", ParseError::BadRequestUri),
            ("  SIP/2.0", ParseError::BadStartLine),
            ("SIP/2.0", ParseError::BadStartLine),
            ("SIP/2.0 ", ParseError::BadStatusCode),
            ("SIP/2.0 99 Low", ParseError::BadStatusCode),
            ("SIP/2.0 700 High", ParseError::BadStatusCode),
            ("SIP/2.0 4294967301 Big", ParseError::BadStatusCode),
            ("SIP/7.0 200 OK", ParseError::UnsupportedVersion),
        ] {
            assert_eq!(parse(line.as_bytes()), Err(error), "{line:?}");
        }
    }
}

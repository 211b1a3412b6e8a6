//! Addresses in From, To, Contact, Route and their like (RFC 3261 20.10).
//!
//! Knows display names, angle brackets and the start of the header's own parameters. The URI stays
//! a slice; [`Uri`](super::Uri) takes it apart.

use super::list::angle_len;
use super::params;
use super::text::{is_lws, is_token_byte, quoted_len, trim, trim_start, unquote};
use super::{Params, SyntaxError};

/// One address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'m> {
    /// The whole address as it is written, for example to send it back in a Route.
    pub raw: &'m [u8],
    /// The display name, quotes included, or empty.
    pub display: &'m [u8],
    /// The URI without angle brackets; `*` in the Contact that removes all bindings.
    pub uri: &'m [u8],
    /// True if the URI stands in angle brackets.
    pub bracketed: bool,
    /// The parameters of the header, not those of the URI.
    pub params: Params<'m>,
}

impl<'m> NameAddr<'m> {
    /// Reads one address: a whole From or To, or one element of a list.
    ///
    /// Blanks inside the angle brackets are dropped; RFC 4475 3.1.2.14 leaves that to the receiver.
    pub fn parse(text: &'m [u8]) -> Result<Self, SyntaxError> {
        let raw = trim(text);
        let (display, rest) = take_display(raw)?;
        let address = match rest {
            [b'<', ..] => {
                let len = angle_len(rest).ok_or(SyntaxError::UnterminatedAngle)?;
                let params = Params::new(trim_start(&rest[len..]));
                Self { raw, display, uri: trim(&rest[1..len - 1]), bracketed: true, params }
            }
            _ => {
                // Without brackets a semicolon starts the header's parameters (RFC 3261 20.10).
                let (uri, params) = params::split(rest);
                Self { raw, display, uri, bracketed: false, params }
            }
        };
        if address.uri.is_empty() {
            return Err(SyntaxError::Empty);
        }
        if address.uri.iter().any(|byte| is_lws(*byte) || matches!(byte, b'"' | b'<')) {
            return Err(SyntaxError::TrailingText);
        }
        Ok(address)
    }

    /// The `tag` parameter.
    pub fn tag(&self) -> Option<&'m [u8]> {
        self.params.find("tag")?.value
    }

    /// The display name without its quotes; escapes inside are left as they are.
    pub fn display_unquoted(&self) -> &'m [u8] {
        unquote(self.display)
    }
}

/// Splits the display name off: a quoted string, or tokens that a `<` follows.
fn take_display(text: &[u8]) -> Result<(&[u8], &[u8]), SyntaxError> {
    if text.first() == Some(&b'"') {
        let len = quoted_len(text).ok_or(SyntaxError::UnterminatedQuote)?;
        let (display, rest) = text.split_at(len);
        let rest = trim_start(rest);
        return match rest.first() {
            Some(b'<') => Ok((display, rest)),
            _ => Err(SyntaxError::BadDisplayName),
        };
    }
    // A bare URI may hold no bracket, but its parameters may, in quotes.
    let stop = memchr::memchr2(b'<', b'"', text).filter(|at| text[*at] == b'<');
    let Some(angle) = stop else { return Ok((&[], text)) };
    let display = trim(&text[..angle]);
    if !display.iter().all(|byte| is_token_byte(*byte) || is_lws(*byte)) {
        return Err(SyntaxError::BadDisplayName);
    }
    Ok((display, &text[angle..]))
}

/// The `tag` parameter of a From or To value, regardless of the shape of the display name before
/// it: a peer that forgets quotes still has a dialog.
pub(super) fn find_tag(value: &[u8]) -> Option<&[u8]> {
    let params = parameters_of(value)?;
    // Nearly all values look like this, and need no list of parameters.
    if let [b';', b't' | b'T', b'a' | b'A', b'g' | b'G', b'=', rest @ ..] = params {
        let len = rest.iter().position(|byte| params::ends_value(*byte)).unwrap_or(rest.len());
        if len > 0 {
            return Some(&rest[..len]);
        }
    }
    Params::new(params).find("tag")?.value
}

/// A parameter of the value of any header: the first of that name outside of quotes and angle
/// brackets.
pub fn find_parameter<'m>(value: &'m [u8], name: &str) -> Option<&'m [u8]> {
    Params::new(parameters_of(value)?).find(name)?.value
}

/// The parameters of the value of any header: all from the first semicolon outside of quotes and
/// angle brackets.
#[inline]
fn parameters_of(value: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    while let Some(byte) = value.get(at) {
        match byte {
            b'"' => at += quoted_len(&value[at..])?,
            b'<' => at += angle_len(&value[at..])?,
            b';' => return Some(&value[at..]),
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &'static str) -> NameAddr<'static> {
        NameAddr::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_three_shapes_of_an_address() {
        let quoted = parse(r#""J \"R\" <x>" <sip:a@b;lr>;tag=1"#);
        assert_eq!(quoted.display_unquoted(), br#"J \"R\" <x>"#);
        assert_eq!(quoted.uri, b"sip:a@b;lr");
        assert_eq!(quoted.tag(), Some(&b"1"[..]));

        let tokens = parse("Anna B\r\n <sip:a@b>  ;\r\n tag = 98asjd8");
        assert_eq!(tokens.display, b"Anna B");
        assert_eq!(tokens.tag(), Some(&b"98asjd8"[..]));

        let bare = parse("sip:a@b ;tag=2;x=\"<\"");
        assert_eq!((bare.display, bare.uri, bare.bracketed), (&b""[..], &b"sip:a@b"[..], false));
        assert_eq!(bare.tag(), Some(&b"2"[..]));
        assert_eq!(parse("*").uri, b"*");
    }

    #[test]
    fn malformed_addresses_say_why() {
        for (text, error) in [
            ("", SyntaxError::Empty),
            ("<>", SyntaxError::Empty),
            (";tag=1", SyntaxError::Empty),
            ("\"open <sip:a@b>", SyntaxError::UnterminatedQuote),
            ("\"name\" sip:a@b", SyntaxError::BadDisplayName),
            ("Bell, A <sip:a@b>", SyntaxError::BadDisplayName),
            ("<sip:a@b", SyntaxError::UnterminatedAngle),
            ("sip:a@b c", SyntaxError::TrailingText),
        ] {
            assert_eq!(NameAddr::parse(text.as_bytes()), Err(error), "{text}");
        }
    }

    #[test]
    fn tags_are_found_behind_sloppy_display_names() {
        assert_eq!(find_tag(b"Bell, A <sip:a;tag=no@b>;x=1;TAG=yes"), Some(&b"yes"[..]));
        assert_eq!(find_tag(b"\"a;tag=no\" <sip:a@b>"), None);
        assert_eq!(find_tag(b"<sip:a@b>;tag"), None);
    }
}

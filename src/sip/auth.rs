//! Authentication headers: a scheme and its comma-separated fields (RFC 3261 25.1 `challenge`).
//!
//! Knows the syntax of fields, not their meaning; the digest itself is computed elsewhere.

use super::text::{quoted_len, take_token, trim_start};
use super::{Param, SyntaxError};

/// The value of WWW-Authenticate, Proxy-Authenticate, Authorization or Proxy-Authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge<'m> {
    /// The scheme as it is written, `Digest` or another; schemes are case-insensitive.
    pub scheme: &'m [u8],
    /// The fields, as an iterator.
    pub fields: AuthFields<'m>,
}

impl<'m> Challenge<'m> {
    /// Reads one header value.
    pub fn parse(value: &'m [u8]) -> Result<Self, SyntaxError> {
        let (scheme, rest) = take_token(trim_start(value)).ok_or(SyntaxError::Empty)?;
        Ok(Self { scheme, fields: AuthFields { rest: trim_start(rest) } })
    }

    /// Tells whether the scheme is `Digest`.
    pub fn is_digest(&self) -> bool {
        self.scheme.eq_ignore_ascii_case(b"Digest")
    }

    /// The first field called `name`, without surrounding quotes.
    pub fn field(&self, name: &str) -> Option<&'m [u8]> {
        self.fields.map_while(Result::ok).find(|field| field.is(name))?.unquoted()
    }
}

/// The `name=value` fields of an authentication header, in order. Ends after an error.
///
/// A value keeps its quotes: digest answers must repeat some values exactly as they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthFields<'m> {
    rest: &'m [u8],
}

impl<'m> AuthFields<'m> {
    /// The fields in `text`, which is the part behind the scheme, or the whole of
    /// Authentication-Info.
    pub const fn new(text: &'m [u8]) -> Self {
        Self { rest: text }
    }

    fn take(text: &'m [u8]) -> Result<(Param<'m>, &'m [u8]), SyntaxError> {
        let (name, rest) = take_token(text).ok_or(SyntaxError::BadParameter)?;
        let [b'=', rest @ ..] = trim_start(rest) else { return Err(SyntaxError::BadParameter) };
        let rest = trim_start(rest);
        let len = match rest {
            [b'"', ..] => quoted_len(rest).ok_or(SyntaxError::UnterminatedQuote)?,
            _ => rest
                .iter()
                .position(|byte| super::text::is_lws(*byte) || *byte == b',')
                .unwrap_or(rest.len()),
        };
        let (value, rest) = rest.split_at(len);
        if value.is_empty() {
            return Err(SyntaxError::BadParameter);
        }
        let rest = match trim_start(rest) {
            [] => &[][..],
            [b',', rest @ ..] if !trim_start(rest).is_empty() => rest,
            [b',', ..] => return Err(SyntaxError::Empty),
            _ => return Err(SyntaxError::TrailingText),
        };
        Ok((Param { name, value: Some(value) }, rest))
    }
}

impl<'m> Iterator for AuthFields<'m> {
    type Item = Result<Param<'m>, SyntaxError>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = trim_start(self.rest);
        self.rest = &[];
        if text.is_empty() {
            return None;
        }
        Some(Self::take(text).map(|(field, rest)| {
            self.rest = rest;
            field
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_with_and_without_quotes() {
        let challenge = Challenge::parse(
            b"digest realm=\"a, b\", nonce = \"x==\",\r\n algorithm=MD5,qop=\"auth,auth-int\"",
        )
        .unwrap();
        assert!(challenge.is_digest());
        assert_eq!(challenge.field("realm"), Some(&b"a, b"[..]));
        assert_eq!(challenge.field("NONCE"), Some(&b"x=="[..]));
        assert_eq!(challenge.field("algorithm"), Some(&b"MD5"[..]));
        assert_eq!(challenge.field("qop"), Some(&b"auth,auth-int"[..]));
        assert_eq!(challenge.field("opaque"), None);
        assert_eq!(challenge.fields.count(), 4);
    }

    #[test]
    fn malformed_fields_end_the_walk() {
        for (text, error) in [
            ("realm", SyntaxError::BadParameter),
            ("realm=", SyntaxError::BadParameter),
            ("realm=\"x", SyntaxError::UnterminatedQuote),
            ("realm=x y=z", SyntaxError::TrailingText),
            ("realm=x,", SyntaxError::Empty),
            (",realm=x", SyntaxError::BadParameter),
        ] {
            let result: Result<Vec<_>, _> = AuthFields::new(text.as_bytes()).collect();
            assert_eq!(result, Err(error), "{text}");
        }
    }
}

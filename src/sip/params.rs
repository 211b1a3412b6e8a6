//! Parameter lists: `;name=value` after a header value or inside a URI.
//!
//! Knows the separators and quoted values; the caller knows the meaning of a parameter.

use super::SyntaxError;
use super::text::{is_lws, quoted_len, take_token, trim_end, trim_start, unquote, with_marks};

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'m> {
    /// The name as it is written; names are case-insensitive.
    pub name: &'m [u8],
    /// The value, quotes included, or `None` for a parameter without `=`.
    pub value: Option<&'m [u8]>,
}

impl<'m> Param<'m> {
    /// Tells whether this is the parameter `name`.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value without surrounding quotes; escapes inside are left as they are.
    pub fn unquoted(&self) -> Option<&'m [u8]> {
        self.value.map(unquote)
    }
}

/// The parameters of a header value or of a URI, in order. Ends after an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'m> {
    rest: &'m [u8],
}

impl<'m> Params<'m> {
    /// The parameters in `text`, which is empty or starts with a semicolon.
    pub fn new(text: &'m [u8]) -> Self {
        Self { rest: text }
    }

    /// The parameters that are left, as they are written.
    pub const fn as_bytes(&self) -> &'m [u8] {
        self.rest
    }

    /// The first parameter called `name`, if the list is well-formed up to there.
    pub fn find(&self, name: &str) -> Option<Param<'m>> {
        let list = *self;
        list.map_while(Result::ok).find(|param| param.is(name))
    }

    /// Fails if any parameter is malformed.
    pub fn check(&self) -> Result<(), SyntaxError> {
        let mut list = *self;
        list.try_for_each(|param| param.map(drop))
    }

    /// Takes one parameter off the front of `text`, which starts with a semicolon.
    fn take(text: &'m [u8]) -> Result<(Param<'m>, &'m [u8]), SyntaxError> {
        let [b';', text @ ..] = text else { return Err(SyntaxError::TrailingText) };
        let text = trim_start(text);
        let (name, rest) = take_name(text).ok_or(SyntaxError::BadParameter)?;
        let rest = trim_start(rest);
        let [b'=', rest @ ..] = rest else { return Ok((Param { name, value: None }, rest)) };
        let rest = trim_start(rest);
        let len = match rest {
            [b'"', ..] => quoted_len(rest).ok_or(SyntaxError::UnterminatedQuote)?,
            _ => rest.iter().position(|byte| ends_value(*byte)).unwrap_or(rest.len()),
        };
        if len == 0 {
            return Err(SyntaxError::BadParameter);
        }
        let (value, rest) = rest.split_at(len);
        Ok((Param { name, value: Some(value) }, trim_start(rest)))
    }
}

impl<'m> Iterator for Params<'m> {
    type Item = Result<Param<'m>, SyntaxError>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = trim_start(self.rest);
        self.rest = &[];
        if text.is_empty() {
            return None;
        }
        Some(Self::take(text).map(|(param, rest)| {
            self.rest = rest;
            param
        }))
    }
}

/// Takes a token with the further characters that URI parameters allow: `[`, `]`, `/`, `:`, `&`,
/// `$` and parentheses (RFC 3261 25.1 `paramchar`).
fn take_name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = take_token(text).unwrap_or((&[], text));
    let extra = rest
        .iter()
        .position(|byte| is_lws(*byte) || matches!(byte, b';' | b'=' | b',' | b'"' | b'<' | b'>'))
        .unwrap_or(rest.len());
    let len = head.len() + extra;
    (len > 0).then(|| text.split_at(len))
}

/// Bytes that end a value without quotes. A table: values are long, and read byte by byte.
const ENDS_VALUE: [bool; 256] = with_marks([false; 256], b" \t\r\n;,\"<>");

#[inline]
pub(super) const fn ends_value(byte: u8) -> bool {
    ENDS_VALUE[byte as usize]
}

/// Splits `text` at the first semicolon: the text before it, trimmed, and the parameters.
pub(super) fn split(text: &[u8]) -> (&[u8], Params<'_>) {
    let at = memchr::memchr(b';', text).unwrap_or(text.len());
    let (head, params) = text.split_at(at);
    (trim_end(head), Params::new(params))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn param(
        name: &'static str,
        value: Option<&'static str>,
    ) -> Result<Param<'static>, SyntaxError> {
        Ok(Param { name: name.as_bytes(), value: value.map(str::as_bytes) })
    }

    #[test]
    fn names_and_values_may_be_spread_over_white_space() {
        let list = Params::new(b" ; branch\r\n =\r\n z9hG4bK1 ;lr; x=\"a;b\\\"\" ;h=[::1]");
        let expected = [
            param("branch", Some("z9hG4bK1")),
            param("lr", None),
            param("x", Some("\"a;b\\\"\"")),
            param("h", Some("[::1]")),
        ];
        assert!(list.eq(expected));
        assert_eq!(list.find("X").and_then(|param| param.unquoted()), Some(&b"a;b\\\""[..]));
    }

    #[test]
    fn malformed_parameters_end_the_list() {
        for (text, error) in [
            (";;", SyntaxError::BadParameter),
            (";", SyntaxError::BadParameter),
            (";a=", SyntaxError::BadParameter),
            (";=b", SyntaxError::BadParameter),
            (";a=b c", SyntaxError::TrailingText),
            (";a=\"b", SyntaxError::UnterminatedQuote),
            (";a,b", SyntaxError::TrailingText),
            ("a=b", SyntaxError::TrailingText),
        ] {
            assert_eq!(Params::new(text.as_bytes()).check(), Err(error), "{text}");
        }
    }
}

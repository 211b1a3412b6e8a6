//! Splits comma-separated header values (RFC 3261 7.3.1).
//!
//! Knows quoted strings and angle brackets, in which a comma separates nothing. Must not be used
//! on headers whose commas mean something else: dates, and the challenges of
//! [`Challenge`](super::Challenge).

use super::SyntaxError;
use super::text::{find_byte, quoted_len, trim};

/// The elements of a comma-separated value, trimmed.
///
/// An empty value has no elements; an empty element elsewhere is an error. Ends after an error.
#[derive(Clone, Debug)]
pub struct CommaList<'m> {
    rest: Option<&'m [u8]>,
}

impl<'m> CommaList<'m> {
    /// The elements of `value`.
    pub fn new(value: &'m [u8]) -> Self {
        let value = trim(value);
        Self { rest: (!value.is_empty()).then_some(value) }
    }
}

impl<'m> Iterator for CommaList<'m> {
    type Item = Result<&'m [u8], SyntaxError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let element = match element_len(rest) {
            Ok(len) => {
                self.rest = rest.get(len + 1..);
                trim(&rest[..len])
            }
            Err(error) => return Some(Err(error)),
        };
        if element.is_empty() {
            self.rest = None;
            return Some(Err(SyntaxError::Empty));
        }
        Some(Ok(element))
    }
}

/// Length up to the next separating comma, or to the end.
fn element_len(text: &[u8]) -> Result<usize, SyntaxError> {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b',' => break,
            b'"' => at += quoted_len(&text[at..]).ok_or(SyntaxError::UnterminatedQuote)?,
            b'<' => at += angle_len(&text[at..]).ok_or(SyntaxError::UnterminatedAngle)?,
            _ => at += 1,
        }
    }
    Ok(at.min(text.len()))
}

/// The length of the bracketed text that starts at `text[0] == '<'`, both brackets included.
pub(super) fn angle_len(text: &[u8]) -> Option<usize> {
    find_byte(text, b'>').map(|end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(value: &str) -> Vec<Result<&str, SyntaxError>> {
        let text = |element| std::str::from_utf8(element).unwrap();
        CommaList::new(value.as_bytes()).map(|element| element.map(text)).collect()
    }

    #[test]
    fn commas_in_quotes_and_brackets_separate_nothing() {
        assert_eq!(
            elements(r#""a,\"b" <sip:x,y@h>;p="q,r" , <sip:z@h>,c"#),
            [Ok(r#""a,\"b" <sip:x,y@h>;p="q,r""#), Ok("<sip:z@h>"), Ok("c")]
        );
        assert_eq!(elements(" one "), [Ok("one")]);
        assert_eq!(elements(""), []);
    }

    #[test]
    fn empty_elements_and_open_quotes_end_the_list() {
        assert_eq!(elements("a,,b"), [Ok("a"), Err(SyntaxError::Empty)]);
        assert_eq!(elements("a,"), [Ok("a"), Err(SyntaxError::Empty)]);
        assert_eq!(elements(",a"), [Err(SyntaxError::Empty)]);
        assert_eq!(elements("a,\"b"), [Ok("a"), Err(SyntaxError::UnterminatedQuote)]);
        assert_eq!(elements("<b,c"), [Err(SyntaxError::UnterminatedAngle)]);
    }
}

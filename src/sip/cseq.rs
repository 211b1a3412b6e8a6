//! The CSeq header: a number and a method (RFC 3261 20.16).

use super::text::{decimal, is_lws, is_token, trim_start};
use super::{Method, SyntaxError};

/// The content of a CSeq header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'m> {
    /// The number, below 2^31 (RFC 3261 8.1.1.5).
    pub number: u32,
    /// The method of the request, or of the request that a response answers.
    pub method: Method<'m>,
}

impl<'m> CSeq<'m> {
    /// Reads a trimmed header value.
    pub fn parse(value: &'m [u8]) -> Result<Self, SyntaxError> {
        let digits = value.iter().position(|byte| is_lws(*byte)).unwrap_or(value.len());
        let (number, rest) = value.split_at(digits);
        let number =
            decimal(number).filter(|number| *number < 1 << 31).ok_or(SyntaxError::BadNumber)?;
        match Method::from_bytes(trim_start(rest)) {
            // All others are tokens.
            Method::Other(text) if !is_token(text) => Err(SyntaxError::BadMethod),
            method => Ok(Self { number, method }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_and_method_are_split_at_any_white_space() {
        let expected = Ok(CSeq { number: 9, method: Method::Invite });
        for value in ["9 INVITE", "0009\r\n  INVITE", "9\t INVITE"] {
            assert_eq!(CSeq::parse(value.as_bytes()), expected);
        }
    }

    #[test]
    fn numbers_stay_below_two_to_the_31() {
        assert!(CSeq::parse(b"2147483647 BYE").is_ok());
        for value in ["2147483648 BYE", "36893488147419103232 BYE", "-1 BYE", "BYE", ""] {
            assert_eq!(CSeq::parse(value.as_bytes()), Err(SyntaxError::BadNumber));
        }
    }

    #[test]
    fn the_method_is_one_token() {
        for value in ["1", "1 ", "1 IN VITE", "1 INVITE,"] {
            assert_eq!(CSeq::parse(value.as_bytes()), Err(SyntaxError::BadMethod));
        }
    }
}

//! Randomness for secrets, and secrets as text.

use ring::rand::{SecureRandom, SystemRandom};

/// The kernel gave no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the kernel gives no random bytes (getrandom failed); no secret can be created")]
pub struct NoRandomness;

/// Letters and digits that cannot be taken for one another when a person copies them; 32, so that
/// each is five bits.
const READABLE: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Random bytes.
pub(super) fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// A password of 120 bits for a person to copy.
pub(super) fn password() -> Result<String, NoRandomness> {
    let bytes = bytes::<24>()?;
    Ok(bytes.iter().map(|byte| char::from(READABLE[usize::from(byte % 32)])).collect())
}

/// Bytes as lower-case hexadecimal digits.
pub(in crate::server) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The bytes behind lower-case hexadecimal digits of exactly `2 * N` characters.
pub(super) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_are_read_back() {
        let bytes = bytes::<16>().unwrap();
        assert_eq!(from_hex(&hex(&bytes)), Some(bytes));
        assert_eq!(hex(&[0, 0x9f, 0xff]), "009fff");
        assert_eq!(from_hex::<2>("0a0"), None);
        assert_eq!(from_hex::<2>("0a0b0c"), None);
        assert_eq!(from_hex::<2>("0A0b"), None);
        assert_eq!(from_hex::<1>("é"), None);
    }

    #[test]
    fn passwords_differ_and_are_easy_to_copy() {
        let (one, two) = (password().unwrap(), password().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), 24);
        assert!(one.bytes().all(|byte| READABLE.contains(&byte)), "{one}");
    }
}

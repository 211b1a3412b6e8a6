//! Character classes and the small scanners that every other file of this module shares.
//!
//! Knows the lexical rules of RFC 3261 25.1 and nothing of any particular header.

/// `token` of RFC 3261 25.1, one entry per byte value.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    with_marks(table, b"-.!%*_+`'~")
};

/// A table of byte values that holds for `marks`, too.
pub(super) const fn with_marks(mut table: [bool; 256], marks: &[u8]) -> [bool; 256] {
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
}

/// The offset of the first byte `wanted` in `word`, whose first byte is the lowest.
#[inline]
pub(super) const fn find_in_word(word: u64, wanted: u8) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // A wanted byte becomes zero, and the subtraction borrows from it. A borrow can also mark bytes
    // above, wrongly, but never below: the lowest mark is right.
    let zero = word ^ (ONES * wanted as u64);
    let found = zero.wrapping_sub(ONES) & !zero & HIGHS;
    if found == 0 { None } else { Some(found.trailing_zeros() as usize / 8) }
}

/// The offset of the first byte `wanted` in `text`.
///
/// Lines and the pieces of a header are too short for `memchr`, which first chooses its method and
/// measures the text.
#[inline(always)]
pub(crate) fn find_byte(text: &[u8], wanted: u8) -> Option<usize> {
    let (blocks, rest) = text.as_chunks::<16>();
    let mut at = 0;
    for block in blocks {
        // One comparison of vectors.
        if block.iter().fold(false, |found, byte| found | (*byte == wanted)) {
            let block = u128::from_le_bytes(*block);
            return Some(
                at + match find_in_word(block as u64, wanted) {
                    Some(found) => found,
                    None => 8 + find_in_word((block >> 64) as u64, wanted)?,
                },
            );
        }
        at += 16;
    }
    rest.iter().position(|byte| *byte == wanted).map(|found| at + found)
}

/// Tells whether `byte` may stand in a `token` (RFC 3261 25.1).
#[inline]
pub(super) const fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// Tells whether `text` is a non-empty `token` (RFC 3261 25.1): a method, header name, tag or
/// branch.
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token_byte(*byte))
}

/// Tells whether `byte` is linear white space inside an indexed value: folds keep their CR and LF.
#[inline]
pub(super) const fn is_lws(byte: u8) -> bool {
    // Nearly all bytes are above the space.
    byte <= b' ' && matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Removes linear white space (folds included) from both ends.
#[inline]
pub(super) fn trim(text: &[u8]) -> &[u8] {
    trim_end(trim_start(text))
}

/// Removes leading linear white space.
#[inline]
pub(super) fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_lws(*first)
    {
        text = rest;
    }
    text
}

/// Removes trailing linear white space.
#[inline]
pub(super) fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., last] = text
        && is_lws(*last)
    {
        text = rest;
    }
    text
}

/// The length of the leading `token` of `text`, possibly zero.
#[inline]
pub(super) fn token_len(text: &[u8]) -> usize {
    text.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(text.len())
}

/// Splits a leading `token` off, or `None` if there is none.
pub(super) fn take_token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    match token_len(text) {
        0 => None,
        len => Some(text.split_at(len)),
    }
}

/// The length of the quoted string that starts at `text[0] == '"'`, both quotes included.
///
/// A backslash takes any next byte with it (RFC 3261 25.1 `quoted-pair`).
pub(super) fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

/// `text` without its surrounding quotes, if it has them; escapes inside are left as they are.
pub(super) fn unquote(text: &[u8]) -> &[u8] {
    match text {
        [b'"', inner @ .., b'"'] => inner,
        _ => text,
    }
}

/// A decimal number made of digits only, or `None` for anything else, overflow included.
pub(super) fn decimal(text: &[u8]) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u32, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(u32::from(digit))
    })
}

/// A port number: digits only, at most 65535.
pub(super) fn port(text: &[u8]) -> Option<u16> {
    decimal(text).and_then(|value| u16::try_from(value).ok())
}

/// The bytes of a header value with each fold replaced by one space (RFC 3261 7.3.1).
///
/// A stray CR or LF inside the value counts as a fold too, so the result never has a line break and
/// may be written into a message or a log line.
pub fn unfold(value: &[u8]) -> impl Iterator<Item = u8> + Clone + '_ {
    let mut rest = value;
    core::iter::from_fn(move || {
        let (first, tail) = rest.split_first()?;
        rest = tail;
        if !matches!(first, b'\r' | b'\n') {
            return Some(*first);
        }
        rest = trim_start(rest);
        Some(b' ')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_strings_end_at_the_first_unescaped_quote() {
        assert_eq!(quoted_len(br#""a\"b" rest"#), Some(6));
        assert_eq!(quoted_len(br#""a\\" rest"#), Some(5));
        assert_eq!(quoted_len(br#""open"#), None);
        assert_eq!(quoted_len(b"\"ends in backslash\\"), None);
    }

    #[test]
    fn decimals_refuse_signs_blanks_and_overflow() {
        assert_eq!(decimal(b"0009"), Some(9));
        assert_eq!(decimal(b"4294967295"), Some(u32::MAX));
        for bad in [&b"4294967296"[..], b"", b"-1", b"+1", b"1 ", b"1x"] {
            assert_eq!(decimal(bad), None);
        }
        assert_eq!(port(b"65536"), None);
    }

    #[test]
    fn unfolding_makes_one_space_of_each_fold() {
        let unfolded = |text: &[u8]| unfold(text).collect::<Vec<_>>();
        assert_eq!(unfolded(b"a\r\n \tb\n c"), b"a b c");
        assert_eq!(unfolded(b"bare\rcr"), b"bare cr");
        assert_eq!(unfolded(b"two  spaces"), b"two  spaces");
    }
}

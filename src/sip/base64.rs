//! Base64 of keys and nonces (RFC 4648 section 4), into buffers of fixed size.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Decodes `text`, with or without padding, to the beginning of `out`; gives the number of bytes.
/// `None` if it is no base64, or too long for `out`.
pub(crate) fn decode(text: &[u8], out: &mut [u8]) -> Option<usize> {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let (digits, padding) = text.split_at(end);
    // One digit alone is less than a byte. What is padded has a whole number of groups.
    if digits.len() % 4 == 1
        || !(padding.is_empty() || padding.len() < 3 && text.len().is_multiple_of(4))
    {
        return None;
    }
    let len = digits.len() * 3 / 4;
    fill(digits, out.get_mut(..len)?)?;
    Some(len)
}

/// Fills `out` with the first bytes of `text`, which may go on in any way. `None` if it is too
/// short, or no base64 as far as it is read.
pub(crate) fn fill(text: &[u8], out: &mut [u8]) -> Option<()> {
    let mut digits = text.iter();
    let (mut bits, mut have) = (0u32, 0);
    for byte in out {
        while have < 8 {
            let digit = digits.next()?;
            bits = bits << 6 | ALPHABET.iter().position(|known| known == digit)? as u32;
            have += 6;
        }
        have -= 8;
        *byte = (bits >> have) as u8;
    }
    Some(())
}

/// The digits of `bytes`, with padding.
pub(crate) fn encode(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    bytes.chunks(3).flat_map(|group| {
        let mut whole = [0; 4];
        whole[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(whole);
        let is_padding = |digit| digit > group.len();
        std::array::from_fn::<u8, 4, _>(|digit| match is_padding(digit) {
            true => b'=',
            false => ALPHABET[(bits >> (18 - 6 * digit)) as usize & 63],
        })
    })
}

/// The digits of `bytes` as an array; `N` is four for each group of three bytes, the last one too
/// if it is not full.
pub(crate) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    debug_assert_eq!(N, 4 * bytes.len().div_ceil(3));
    let mut out = [b'='; N];
    out.iter_mut().zip(encode(bytes)).for_each(|(place, digit)| *place = digit);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_decode_with_and_without_padding() {
        // RFC 4648 section 10.
        for (text, bytes) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob")]
        {
            let encoded: String = encode(bytes.as_bytes()).map(char::from).collect();
            assert_eq!(encoded, text);
            for text in [text, text.trim_end_matches('=')] {
                let mut out = [0; 4];
                let len = decode(text.as_bytes(), &mut out).unwrap();
                assert_eq!(&out[..len], bytes.as_bytes(), "{text}");
            }
        }
    }

    #[test]
    fn a_buffer_is_filled_by_the_first_digits() {
        let mut text = [0; 32];
        text[..6].copy_from_slice(b"foobar");
        let digits: [u8; 44] = array(&text);
        assert!(digits.starts_with(b"Zm9vYmFy"));
        let mut back = [0; 32];
        assert_eq!(fill(&digits, &mut back), Some(()));
        assert_eq!(back, text);
        assert_eq!(fill(b"Zm9v!", &mut [0; 4]), None);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["A", "Zg=", "Zg===", "Zm9v====", "Z=g=", "Zm9v=", "Zm9 ", "Zm9vYmFy"] {
            assert_eq!(decode(text.as_bytes(), &mut [0; 4]), None, "{text}");
        }
    }
}

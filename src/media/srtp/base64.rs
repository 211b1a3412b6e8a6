//! Base64 of keys (RFC 4648 section 4), into buffers of fixed size.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Decodes `text`, with or without padding, to the beginning of `out`; gives the number of bytes.
/// `None` if it is no base64, or too long for `out`.
pub(in crate::media) fn decode(text: &[u8], out: &mut [u8]) -> Option<usize> {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let (digits, padding) = text.split_at(end);
    // One digit alone is less than a byte. What is padded has a whole number of groups.
    if digits.len() % 4 == 1
        || !(padding.is_empty() || padding.len() < 3 && text.len().is_multiple_of(4))
    {
        return None;
    }
    let len = digits.len() * 3 / 4;
    let mut bytes = out.get_mut(..len)?.iter_mut();
    let (mut bits, mut have) = (0u32, 0);
    for digit in digits {
        bits = bits << 6 | ALPHABET.iter().position(|known| known == digit)? as u32;
        have += 6;
        if have >= 8 {
            have -= 8;
            *bytes.next()? = (bits >> have) as u8;
        }
    }
    Some(len)
}

/// Appends `bytes` with padding.
pub(super) fn encode(bytes: &[u8], out: &mut String) {
    for group in bytes.chunks(3) {
        let mut whole = [0; 4];
        whole[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(whole);
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            let is_padding = digit > group.len();
            out.push(if is_padding { '=' } else { ALPHABET[value as usize].into() });
        }
    }
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
            let mut encoded = String::new();
            encode(bytes.as_bytes(), &mut encoded);
            assert_eq!(encoded, text);
            for text in [text, text.trim_end_matches('=')] {
                let mut out = [0; 4];
                let len = decode(text.as_bytes(), &mut out).unwrap();
                assert_eq!(&out[..len], bytes.as_bytes(), "{text}");
            }
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["A", "Zg=", "Zg===", "Zm9v====", "Z=g=", "Zm9v=", "Zm9 ", "Zm9vYmFy"] {
            assert_eq!(decode(text.as_bytes(), &mut [0; 4]), None, "{text}");
        }
    }
}

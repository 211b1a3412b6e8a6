//! The few parts of DER (X.690) that a certificate of an elliptic curve needs.

/// Tag of a sequence.
pub(super) const SEQUENCE: u8 = 0x30;
/// Tag of a set.
pub(super) const SET: u8 = 0x31;
/// Tag of an integer.
pub(super) const INTEGER: u8 = 0x02;
/// Tag of a bit string.
pub(super) const BIT_STRING: u8 = 0x03;
/// Tag of an object identifier.
pub(super) const OBJECT: u8 = 0x06;
/// Tag of a text in UTF-8.
pub(super) const UTF8: u8 = 0x0c;
/// Tag of a time with a year of two digits.
pub(super) const TIME: u8 = 0x17;
/// Tag of the first optional field of a sequence.
pub(super) const OPTIONAL: u8 = 0xa0;

/// `ecPublicKey` (RFC 5480 section 2.1.1).
pub(super) const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// `secp256r1`, which is P-256.
pub(super) const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// `secp384r1`, which is P-384.
pub(super) const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];

/// The value `content` with its tag.
pub(super) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let len = content.len().to_be_bytes();
    let from = len.iter().position(|byte| *byte != 0).unwrap_or(len.len() - 1);
    if content.len() >= 0x80 {
        out.push(0x80 | (len.len() - from) as u8);
    }
    out.extend(&len[from..]);
    out.extend(content);
    out
}

/// The values `parts` as one with a tag.
pub(super) fn values(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    value(tag, &parts.concat())
}

/// Takes the next value off `text`: its content, if it has the tag.
pub(super) fn take<'t>(text: &mut &'t [u8], tag: u8) -> Option<&'t [u8]> {
    let (&[first, short], mut rest) = text.split_first_chunk()?;
    let mut len = usize::from(short);
    if short >= 0x80 {
        let digits;
        (digits, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
        // Certificates have fewer than 16 million bytes.
        if digits.is_empty() || digits.len() > 3 {
            return None;
        }
        len = digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit));
    }
    let (content, rest) = rest.split_at_checked(len)?;
    *text = rest;
    (first == tag).then_some(content)
}

/// Tells whether the next value has the tag.
pub(super) fn is_next(text: &[u8], tag: u8) -> bool {
    text.first() == Some(&tag)
}

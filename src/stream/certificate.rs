//! Description of a certificate for people: subject, issuer, dates of validity and names.
//!
//! No decision depends on it; webpki makes those. It reads a few fields of RFC 5280 section 4.1
//! from bytes of the network. Every length is checked, the depth is fixed by the code, and the
//! result is bounded and printable.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::calendar;

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]`: the version.
const VERSION: u8 = 0xa0;
/// `[3]`: the extensions.
const EXTENSIONS: u8 = 0xa3;
/// UTF8String, PrintableString, TeletexString, IA5String: bytes that are text.
const TEXTS: [u8; 4] = [0x0c, 0x13, 0x14, 0x16];
/// Attributes of a name (RFC 4519), by the last byte of `2.5.4.n`.
const ATTRIBUTES: [(u8, &str); 6] =
    [(3, "CN"), (6, "C"), (7, "L"), (8, "ST"), (10, "O"), (11, "OU")];
/// `2.5.29.17`: subjectAltName.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;
const IP_ADDRESS: u8 = 0x87;
/// Most characters of a value that are shown.
const VALUE_MAX: usize = 64;
/// Most attributes or names that are shown.
const NAMES_MAX: usize = 8;

/// The fields of a certificate that people need to see.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    pub(super) subject: String,
    pub(super) issuer: String,
    /// True if the certificate names itself as its issuer.
    pub(super) is_self_issued: bool,
    pub(super) not_before: Time,
    pub(super) not_after: Time,
    /// DNS names, addresses and URIs, at most [`NAMES_MAX`].
    pub(super) names: Vec<String>,
}

/// A second, in UTC.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Time {
    pub(super) unix_s: i64,
    /// Text such as `2026-11-30 12:00:00`.
    pub(super) text: String,
}

impl Certificate {
    /// Reads a certificate; `None` if `der` is none.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let mut all = Der(Der(der).take(SEQUENCE)?);
        let mut fields = Der(all.take(SEQUENCE)?);
        if fields.peek() == Some(VERSION) {
            fields.next()?;
        }
        fields.take(INTEGER)?;
        // This field is the algorithm of the signature.
        fields.take(SEQUENCE)?;
        let issuer = fields.take(SEQUENCE)?;
        let mut validity = Der(fields.take(SEQUENCE)?);
        let subject = fields.take(SEQUENCE)?;
        let certificate = Self {
            subject: name(subject),
            issuer: name(issuer),
            is_self_issued: issuer == subject,
            not_before: time(validity.next()?)?,
            not_after: time(validity.next()?)?,
            names: Vec::new(),
        };
        while let Some((tag, content)) = fields.next() {
            if tag == EXTENSIONS {
                let names = alternative_names(content).unwrap_or_default();
                return Some(Self { names, ..certificate });
            }
        }
        Some(certificate)
    }

    /// The dates between which the certificate is valid.
    pub(super) fn dates(&self) -> String {
        format!("from {} to {} UTC", self.not_before.text, self.not_after.text)
    }
}

/// Rest of the content of an element.
struct Der<'d>(&'d [u8]);

impl<'d> Der<'d> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element: its tag, of one byte like all tags that are needed here, and its content.
    fn next(&mut self) -> Option<(u8, &'d [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // That many bytes of length follow; a certificate has less than 2^32 bytes.
            0x81..=0x84 => {
                let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let add = |sum: usize, &byte: &u8| sum << 8 | usize::from(byte);
                (length.iter().fold(0, add), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next element, if it has this tag.
    fn take(&mut self, tag: u8) -> Option<&'d [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }
}

/// A distinguished name, as in `CN=a, O=b`.
fn name(content: &[u8]) -> String {
    let mut text = String::new();
    let mut sets = Der(content);
    for _ in 0..NAMES_MAX {
        let Some(set) = sets.take(SET) else { break };
        let Some((kind, value)) = attribute(set) else { continue };
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(kind);
        text.push('=');
        text.push_str(&value);
    }
    if text.is_empty() { "an unnamed subject".to_owned() } else { text }
}

fn attribute(set: &[u8]) -> Option<(&'static str, String)> {
    let mut pair = Der(Der(set).take(SEQUENCE)?);
    let &[0x55, 0x04, kind] = pair.take(OBJECT_IDENTIFIER)? else { return None };
    let (_, kind) = ATTRIBUTES.into_iter().find(|(known, _)| *known == kind)?;
    let (tag, value) = pair.next()?;
    TEXTS.contains(&tag).then(|| (kind, printable(value)))
}

/// A text that is safe to show on a terminal and stands in one line.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut chars = text.chars().map(|c| if c.is_control() { '?' } else { c });
    let mut shown: String = chars.by_ref().take(VALUE_MAX).collect();
    if chars.next().is_some() {
        shown.push_str("...");
    }
    shown
}

fn alternative_names(extensions: &[u8]) -> Option<Vec<String>> {
    let mut extensions = Der(Der(extensions).take(SEQUENCE)?);
    loop {
        let mut extension = Der(extensions.take(SEQUENCE)?);
        if extension.take(OBJECT_IDENTIFIER)? != ALTERNATIVE_NAMES {
            continue;
        }
        // The flag that makes an extension critical may stand before the value.
        let (tag, content) = extension.next()?;
        let value = if tag == OCTET_STRING { content } else { extension.take(OCTET_STRING)? };
        let mut list = Der(Der(value).take(SEQUENCE)?);
        let all = std::iter::from_fn(|| list.next());
        return Some(all.filter_map(general_name).take(NAMES_MAX).collect());
    }
}

fn general_name((tag, content): (u8, &[u8])) -> Option<String> {
    match (tag, content.len()) {
        (DNS_NAME | URI, _) => Some(printable(content)),
        (IP_ADDRESS, 4) => {
            content.first_chunk().map(|ip: &[u8; 4]| Ipv4Addr::from(*ip).to_string())
        }
        (IP_ADDRESS, 16) => {
            content.first_chunk().map(|ip: &[u8; 16]| Ipv6Addr::from(*ip).to_string())
        }
        _ => None,
    }
}

/// A time in one of the two forms of RFC 5280 section 4.1.2.5, both in UTC and whole seconds.
fn time((tag, content): (u8, &[u8])) -> Option<Time> {
    let digits = content.strip_suffix(b"Z")?;
    let lead = match tag {
        UTC_TIME => 2,
        GENERALIZED_TIME => 4,
        _ => return None,
    };
    if digits.len() != lead + 10 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number =
        |digits: &[u8]| digits.iter().fold(0, |sum, digit| 10 * sum + i64::from(digit - b'0'));
    let (year, rest) = digits.split_at(lead);
    let year = match (number(year), tag) {
        (year @ 50.., UTC_TIME) => 1900 + year,
        (year, UTC_TIME) => 2000 + year,
        (year, _) => year,
    };
    let part = |index: usize| number(&rest[2 * index..2 * index + 2]);
    let [month, day, hour, minute, second] = std::array::from_fn(part);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let unix_s = ((calendar::days_of(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    let text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    Some(Time { unix_s, text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    fn der(pem: &[u8]) -> Vec<u8> {
        CertificateDer::from_pem_slice(pem).unwrap().to_vec()
    }

    fn server() -> Vec<u8> {
        der(include_bytes!("../../tests/certs/expired.pem"))
    }

    #[test]
    fn a_certificate_says_whose_it_is_and_until_when() {
        let read = Certificate::read(&server()).unwrap();
        assert_eq!(read.subject, "CN=expired.test");
        assert_eq!(read.issuer, "CN=ca of Gossipper's tests");
        assert!(!read.is_self_issued);
        assert_eq!(read.dates(), "from 2020-01-01 00:00:00 to 2021-02-03 04:05:06 UTC");
        assert_eq!((read.not_before.unix_s, read.not_after.unix_s), (1_577_836_800, 1_612_325_106));
        assert_eq!(read.names, ["expired.test", "localhost", "192.0.2.1", "2001:db8::1"]);
        let own = Certificate::read(&der(include_bytes!("../../tests/certs/ca.pem"))).unwrap();
        assert!(own.is_self_issued && own.names.is_empty(), "{own:?}");
    }

    #[test]
    fn whatever_is_cut_off_or_spoiled_is_no_certificate_or_another_one() {
        let whole = server();
        for end in 0..whole.len() {
            assert_eq!(Certificate::read(&whole[..end]), None, "{end}");
        }
        for place in 0..whole.len() {
            for value in [0, 1, 0x30, 0x7f, 0x80, 0x84, 0xff] {
                let mut spoiled = whole.clone();
                spoiled[place] = value;
                if let Some(read) = Certificate::read(&spoiled) {
                    let texts = [&read.subject, &read.issuer, &read.not_after.text];
                    let mut texts = texts.into_iter().chain(&read.names);
                    assert!(texts.all(|text| !text.contains(char::is_control)), "{read:?}");
                }
            }
        }
        assert_eq!(Certificate::read(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(Certificate::read(&[0x30, 0x80, 0, 0]), None);
    }

    #[test]
    fn times_have_two_forms() {
        let read = |tag, text: &str| time((tag, text.as_bytes())).map(|time| time.unix_s);
        assert_eq!(read(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(read(UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(read(UTC_TIME, "500101000000Z"), Some(-631_152_000));
        assert_eq!(read(GENERALIZED_TIME, "20000229120000Z"), Some(951_825_600));
        for text in ["", "Z", "7001010000Z", "700101000000", "701301000000Z", "7001010000x0Z"] {
            assert_eq!(read(UTC_TIME, text), None, "{text}");
        }
        assert_eq!(read(INTEGER, "700101000000Z"), None);
    }
}

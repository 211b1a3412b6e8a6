//! Keys of SRTP in session descriptions: the `crypto` attribute (RFC 4568). Beside it stands what a
//! description says about keys by DTLS.
//!
//! Reads the lines of both sides, and finds the pair that a negotiation ended with. It makes no
//! keys: a scenario writes its own lines, and we send with the key that our own description shows.

use std::fmt;

use crate::media::dtls;
use crate::media::srtp::{MasterKey, Mki, Suite, Waivers};
use crate::sip::{Media, base64};

/// Most lines of a description that are read. An offer has one for each suite.
const LINES_MAX: usize = 16;
/// Most usable lines that are kept: more than there are suites.
const USABLE_MAX: usize = 8;

/// The highest exponent of a key's lifetime in packets (RFC 3711 section 9.2).
const LIFETIME_EXPONENT_MAX: u32 = 48;

/// A reason why a `crypto` attribute cannot be used, or why a description lacks one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CryptoCause {
    /// No fingerprint can be read, or all are of hashes that are not taken.
    #[error("a=fingerprint is no digest by sha-256, sha-384 or sha-512")]
    BadFingerprint,
    /// The key is not base64.
    #[error("the key of a=crypto is not base64")]
    BadKey,
    /// Key and salt have not the length that the suite takes.
    #[error("the key and salt of a=crypto have not the length that its suite takes")]
    BadKeyLength,
    /// The lifetime is no number of packets from 1 to 2^48.
    #[error("the lifetime in a=crypto is no number of packets from 1 to 2^48")]
    BadLifetime,
    /// The line is not tag, suite and key parameters.
    #[error("a=crypto is not a tag, a suite and key parameters")]
    BadLine,
    /// The master key identifier is not `value:length`, or does not fit its length.
    #[error("the master key identifier in a=crypto is not value:length, or does not fit")]
    BadMki,
    /// The tag is not a number of at most nine digits.
    #[error("the tag of a=crypto is not a number of at most nine digits")]
    BadTag,
    /// Our lines and the peer's have no suite in common.
    #[error("the a=crypto lines of both sides have no suite in common")]
    NoCommonSuite,
    /// The run cannot do handshakes: its streams share a port.
    #[error("keys by DTLS need a port for each call: leave out -rtp_shared")]
    NoDtls,
    /// The other side wants keys by DTLS, and the description has no fingerprint.
    #[error("keys by DTLS without a=fingerprint: the description names no certificate")]
    NoFingerprint,
    /// The media needs SRTP (`RTP/SAVP`), and the description has no key for it.
    #[error("RTP/SAVP without a=crypto: the description has no key")]
    NoKey,
    /// Both sides want to begin the handshake of DTLS, or both want to wait.
    #[error("a=setup of both sides wants the same role")]
    SameRole,
    /// The line has several keys.
    #[error("a=crypto has several keys: only one is supported")]
    SeveralKeys,
    /// A session parameter is none that is supported, and may not be ignored.
    #[error("a=crypto has a session parameter that is not supported")]
    UnknownParameter,
    /// The suite is none that is supported.
    #[error("the suite of a=crypto is not supported")]
    UnknownSuite,
}

impl CryptoCause {
    /// All causes.
    pub const ALL: [Self; 15] = [
        Self::BadFingerprint,
        Self::BadKey,
        Self::BadKeyLength,
        Self::BadLifetime,
        Self::BadLine,
        Self::BadMki,
        Self::BadTag,
        Self::NoCommonSuite,
        Self::NoDtls,
        Self::NoFingerprint,
        Self::NoKey,
        Self::SameRole,
        Self::SeveralKeys,
        Self::UnknownParameter,
        Self::UnknownSuite,
    ];

    /// The stable snake_case name: counter, metric label, JSON value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::BadFingerprint => "crypto_bad_fingerprint",
            Self::BadKey => "crypto_bad_key",
            Self::BadKeyLength => "crypto_bad_key_length",
            Self::BadLifetime => "crypto_bad_lifetime",
            Self::BadLine => "crypto_bad_line",
            Self::BadMki => "crypto_bad_mki",
            Self::BadTag => "crypto_bad_tag",
            Self::NoCommonSuite => "crypto_no_common_suite",
            Self::NoDtls => "crypto_no_dtls",
            Self::NoFingerprint => "crypto_no_fingerprint",
            Self::NoKey => "crypto_no_key",
            Self::SameRole => "crypto_same_role",
            Self::SeveralKeys => "crypto_several_keys",
            Self::UnknownParameter => "crypto_unknown_parameter",
            Self::UnknownSuite => "crypto_unknown_suite",
        }
    }
}

/// The description that a fault is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Ours, as the scenario wrote it.
    Ours,
    /// The peer's.
    Peers,
}

/// The reason why a negotiation gave no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CryptoFault {
    /// The description at fault.
    pub side: Side,
    /// The cause.
    pub cause: CryptoCause,
}

impl fmt::Display for CryptoFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Ours => "our session description",
            Side::Peers => "the peer's session description",
        };
        write!(f, "{side}: {}", self.cause)
    }
}

impl std::error::Error for CryptoFault {}

/// A `crypto` attribute: a suite with the key that the writer of the description sends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CryptoLine {
    /// The number by which an answer names the line of an offer that it accepts.
    pub tag: u32,
    /// The key.
    pub key: MasterKey,
}

impl CryptoLine {
    /// Reads the value of a `crypto` attribute.
    ///
    /// # Errors
    /// The cause, if it has another form, or asks for something that is not supported.
    pub fn parse(value: &[u8]) -> Result<Self, CryptoCause> {
        let words = value.split(|byte| matches!(byte, b' ' | b'\t'));
        let mut words = words.filter(|word| !word.is_empty());
        let mut word = || words.next().ok_or(CryptoCause::BadLine);
        let tag = tag_of(word()?)?;
        let suite = Suite::from_name(word()?).ok_or(CryptoCause::UnknownSuite)?;
        let mut key = key_of(suite, word()?)?;
        key.waivers = waivers_of(suite, words)?;
        Ok(Self { tag, key })
    }

    /// The first line of an offer that an answer can accept.
    ///
    /// # Errors
    /// The offer has lines, and all are unusable: the cause of the first one. Or it has none, and
    /// needs one.
    pub fn first_supported(offer: &Media<'_>) -> Result<Option<Self>, CryptoFault> {
        let mut first_cause = needs_key(offer).then_some(CryptoCause::NoKey);
        for (at, value) in offer.cryptos().take(LINES_MAX).enumerate() {
            match Self::parse(value) {
                Ok(line) => return Ok(Some(line)),
                Err(cause) if at == 0 => first_cause = Some(cause),
                Err(_) => {}
            }
        }
        first_cause.map_or(Ok(None), |cause| Err(CryptoFault { side: Side::Peers, cause }))
    }
}

/// The keys of both directions of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The key that we send with: that of our own description.
    pub ours: MasterKey,
    /// The key that the peer sends with.
    pub peers: MasterKey,
}

impl Keys {
    /// The keys that offer and answer ended with, whichever of the two is ours; `None` if the media
    /// is not protected by such keys.
    ///
    /// The lines with the same tag and suite belong together (RFC 4568 section 5.1.3). If there are
    /// none, lines with the same suite do: some scenarios and peers write every answer with tag 1.
    ///
    /// # Errors
    /// One side needs keys and has none, or no two lines go together.
    pub fn from_descriptions(
        local: &Media<'_>,
        remote: &Media<'_>,
    ) -> Result<Option<Self>, CryptoFault> {
        Self::agreed(&Lines::read(local), &Lines::read(remote))
    }

    /// The same of lines that were read before.
    pub(super) fn agreed(ours: &Lines, peers: &Lines) -> Result<Option<Self>, CryptoFault> {
        if !ours.is_used || !peers.is_used {
            return Ok(None);
        }
        let has_ours = ours.have_key().map_err(|cause| CryptoFault { side: Side::Ours, cause })?;
        let has_peers =
            peers.have_key().map_err(|cause| CryptoFault { side: Side::Peers, cause })?;
        let lacks_key = |side| Err(CryptoFault { side, cause: CryptoCause::NoKey });
        match (has_ours, has_peers) {
            (true, true) => {}
            // Nobody may go on in the clear with a side that asked for protection.
            (false, true) if peers.need_key => return lacks_key(Side::Ours),
            (true, false) if ours.need_key => return lacks_key(Side::Peers),
            _ => return Ok(None),
        }
        let pairs = || peers.iter().flat_map(|peer| ours.iter().map(move |our| (our, peer)));
        let same_suite =
            |(our, peer): &(&CryptoLine, &CryptoLine)| our.key.suite() == peer.key.suite();
        let mut same_tag = pairs().filter(|(our, peer)| our.tag == peer.tag);
        let pair = same_tag.find(same_suite).or_else(|| pairs().find(same_suite));
        let fault = CryptoFault { side: Side::Peers, cause: CryptoCause::NoCommonSuite };
        let (our, peer) = pair.ok_or(fault)?;
        Ok(Some(Self { ours: our.key, peers: peer.key }))
    }
}

/// The words of a section about keys: its usable lines, and those about DTLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    /// Words about DTLS, if there are any.
    pub(super) dtls: Option<dtls::Description>,
    list: [Option<CryptoLine>; USABLE_MAX],
    /// The cause why the first unusable line is that.
    first_cause: Option<CryptoCause>,
    /// True if the section must have a key.
    need_key: bool,
    /// True if the section is in use: its port is not 0.
    is_used: bool,
}

impl Lines {
    /// The lines of a section.
    pub(super) fn read(media: &Media<'_>) -> Self {
        let mut lines = Self::without_key(media.port != 0);
        lines.need_key = needs_key(media);
        let mut places = lines.list.iter_mut();
        for value in media.cryptos().take(LINES_MAX) {
            match CryptoLine::parse(value) {
                Ok(line) => places.next().into_iter().for_each(|place| *place = Some(line)),
                Err(cause) => lines.first_cause = lines.first_cause.or(Some(cause)),
            }
        }
        lines
    }

    /// The same, with the words of the section about DTLS.
    pub(super) fn with_dtls(self, dtls: Option<dtls::Description>) -> Self {
        Self { dtls, need_key: self.need_key && dtls.is_none(), ..self }
    }

    /// The words about DTLS of a section that is in use.
    pub(super) fn used_dtls(&self) -> Option<dtls::Description> {
        self.dtls.filter(|_| self.is_used)
    }

    /// True if the section is in use, and not about DTLS.
    pub(super) fn lack_dtls(&self) -> bool {
        self.is_used && self.dtls.is_none()
    }

    /// A section without lines.
    pub(super) fn without_key(is_used: bool) -> Self {
        Self { is_used, ..Self::default() }
    }

    /// True if the section says anything about keys.
    pub(super) fn ask_for_protection(&self) -> bool {
        let has_line = self.list[0].is_some() || self.first_cause.is_some();
        self.is_used && (self.need_key || has_line || self.dtls.is_some())
    }

    fn iter(&self) -> impl Iterator<Item = &CryptoLine> + Clone {
        self.list.iter().flatten()
    }

    /// False if the section has no lines, and needs none.
    fn have_key(&self) -> Result<bool, CryptoCause> {
        match self.first_cause {
            _ if self.list[0].is_some() => Ok(true),
            Some(cause) => Err(cause),
            None if self.need_key => Err(CryptoCause::NoKey),
            None => Ok(false),
        }
    }
}

/// Tells whether media must have a key in its description: by its profile, unless a fingerprint
/// says that keys are exchanged by DTLS.
fn needs_key(media: &Media<'_>) -> bool {
    let is_secure = ["RTP/SAVP", "RTP/SAVPF"]
        .iter()
        .any(|name| media.protocol.eq_ignore_ascii_case(name.as_bytes()));
    is_secure && media.attribute("fingerprint").next().is_none()
}

fn tag_of(word: &[u8]) -> Result<u32, CryptoCause> {
    if word.len() > 9 {
        return Err(CryptoCause::BadTag);
    }
    number(word).map(|tag| tag as u32).ok_or(CryptoCause::BadTag)
}

/// Reads `inline:key[|lifetime][|mki:length]` (RFC 4568 section 9.2).
fn key_of(suite: Suite, word: &[u8]) -> Result<MasterKey, CryptoCause> {
    let (method, rest) = word.split_at_checked(7).ok_or(CryptoCause::BadLine)?;
    if !method.eq_ignore_ascii_case(b"inline:") {
        return Err(CryptoCause::BadLine);
    }
    if rest.contains(&b';') {
        return Err(CryptoCause::SeveralKeys);
    }
    let mut parts = rest.split(|byte| *byte == b'|');
    let text = parts.next().unwrap_or_default();
    let mut bytes = [0; 64];
    let len = base64::decode(text, &mut bytes).ok_or(CryptoCause::BadKey)?;
    let mut key = MasterKey::new(suite, &bytes[..len]).ok_or(CryptoCause::BadKeyLength)?;
    let mut may_be_lifetime = true;
    for part in parts {
        match part.iter().position(|byte| *byte == b':') {
            Some(colon) if key.mki.is_none() => {
                key.mki = Some(mki_of(&part[..colon], &part[colon + 1..])?);
            }
            None if may_be_lifetime => check_lifetime(part)?,
            _ => return Err(CryptoCause::BadLine),
        }
        may_be_lifetime = false;
    }
    Ok(key)
}

fn mki_of(value: &[u8], len: &[u8]) -> Result<Mki, CryptoCause> {
    let (value, len) = number(value).zip(number(len)).ok_or(CryptoCause::BadMki)?;
    let len = usize::try_from(len).map_err(|_| CryptoCause::BadMki)?;
    Mki::new(value, len).ok_or(CryptoCause::BadMki)
}

/// Checks `2^n` or a number of packets.
fn check_lifetime(text: &[u8]) -> Result<(), CryptoCause> {
    let packets = match text.strip_prefix(b"2^") {
        Some(exponent) => {
            let exponent = number(exponent).and_then(|exponent| u32::try_from(exponent).ok());
            exponent.and_then(|exponent| 1u64.checked_shl(exponent))
        }
        None => number(text),
    };
    let is_valid =
        packets.is_some_and(|packets| (1..=1 << LIFETIME_EXPONENT_MAX).contains(&packets));
    if is_valid { Ok(()) } else { Err(CryptoCause::BadLifetime) }
}

/// Reads session parameters (RFC 4568 section 6.3). One that begins with `-` may be ignored.
fn waivers_of<'v>(
    suite: Suite,
    words: impl Iterator<Item = &'v [u8]>,
) -> Result<Waivers, CryptoCause> {
    let mut waivers = Waivers::default();
    for word in words {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        let begins = |name: &str| {
            word.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name.as_bytes()))
        };
        if is("UNENCRYPTED_SRTP") {
            waivers.rtp_encryption = true;
        } else if is("UNENCRYPTED_SRTCP") {
            waivers.rtcp_encryption = true;
        } else if is("UNAUTHENTICATED_SRTP") && !suite.is_aead() {
            waivers.rtp_authentication = true;
        } else if !begins("WSH=") && !begins("-") {
            // A window size is a hint; key derivation rates and FEC are not.
            return Err(CryptoCause::UnknownParameter);
        }
    }
    Ok(waivers)
}

/// Reads decimal digits.
fn number(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let digits = str::from_utf8(text).ok().filter(|_| is_number)?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Sdp;

    const KEY: &str = "inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e";

    fn line(text: &str) -> Result<CryptoLine, CryptoCause> {
        CryptoLine::parse(text.as_bytes())
    }

    /// The text of a description with these lines; the number is the port.
    fn description(port: u16, protocol: &str, lines: &[&str]) -> String {
        let mut text = format!("v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio {port} {protocol} 0\r\n");
        for line in lines {
            text += &format!("a={line}\r\n");
        }
        text
    }

    fn keys(ours: &str, peers: &str) -> Result<Option<Keys>, (Side, CryptoCause)> {
        let media = |text| Sdp::parse(text).unwrap().media().next().unwrap().unwrap();
        Keys::from_descriptions(&media(ours.as_bytes()), &media(peers.as_bytes()))
            .map_err(|fault| (fault.side, fault.cause))
    }

    /// A line with a tag and a suite, whose key is made of one byte.
    fn with_key(tag: u32, suite: Suite, byte: u8) -> String {
        let zeros = "A".repeat((suite.master_len() * 4).div_ceil(3) - 2);
        format!("crypto:{tag} {} inline:{}A{zeros}", suite.name(), char::from(byte))
    }

    #[test]
    fn lines_are_read_with_all_their_parts() {
        let read = line(&format!("12345 aes_cm_128_hmac_sha1_32 {KEY}")).unwrap();
        assert_eq!((read.tag, read.key.suite()), (12_345, Suite::AesCm128HmacSha1_32));
        let bytes: Vec<u8> = (1..=30).collect();
        assert_eq!((read.key.key(), read.key.salt()), bytes.split_at(16));
        assert_eq!((read.key.mki, read.key.waivers), (None, Waivers::default()));

        let read =
            line(&format!("1  NULL_HMAC_SHA1_80\t{KEY}|2^48|258:4 WSH=64 UNENCRYPTED_SRTP -X"));
        let key = read.unwrap().key;
        assert_eq!(key.mki, Mki::new(258, 4));
        let waivers = Waivers { rtp_encryption: true, ..Waivers::default() };
        assert_eq!(key.waivers, waivers);
        let read = line(&format!(
            "1 AES_CM_128_HMAC_SHA1_80 {KEY}|1:1 UNENCRYPTED_SRTCP UNAUTHENTICATED_SRTP"
        ));
        let waivers = read.unwrap().key.waivers;
        assert!(waivers.rtcp_encryption && waivers.rtp_authentication && !waivers.rtp_encryption);
        // Both lengths of GCM, with and without padding.
        for (suite, len, padding) in [("AEAD_AES_128_GCM", 38, "=="), ("AEAD_AES_256_GCM", 59, "=")]
        {
            for padding in [padding, ""] {
                let text = format!("1 {suite} inline:{}{padding}", "A".repeat(len));
                assert_eq!(line(&text).unwrap().key.suite().name(), suite);
            }
        }
    }

    #[test]
    fn lines_that_cannot_be_used_say_why() {
        for (text, cause) in [
            ("", CryptoCause::BadLine),
            ("1 AES_CM_128_HMAC_SHA1_80", CryptoCause::BadLine),
            ("1 AES_CM_128_HMAC_SHA1_80 outline:KEY", CryptoCause::BadLine),
            ("1 AES_CM_128_HMAC_SHA1_80 inline", CryptoCause::BadLine),
            ("x AES_CM_128_HMAC_SHA1_80 KEY", CryptoCause::BadTag),
            ("-1 AES_CM_128_HMAC_SHA1_80 KEY", CryptoCause::BadTag),
            ("1234567890 AES_CM_128_HMAC_SHA1_80 KEY", CryptoCause::BadTag),
            ("1 AES_CM_256_HMAC_SHA1_80 KEY", CryptoCause::UnknownSuite),
            ("1 AES_CM_128_HMAC_SHA1_80 inline:", CryptoCause::BadKeyLength),
            ("1 AEAD_AES_128_GCM KEY", CryptoCause::BadKeyLength),
            ("1 AES_CM_128_HMAC_SHA1_80 inline:????", CryptoCause::BadKey),
            ("1 AES_CM_128_HMAC_SHA1_80 KEYKEYKEY", CryptoCause::BadKey),
            ("1 AES_CM_128_HMAC_SHA1_80 KEY|2^49", CryptoCause::BadLifetime),
            ("1 AES_CM_128_HMAC_SHA1_80 KEY|2^64", CryptoCause::BadLifetime),
            ("1 AES_CM_128_HMAC_SHA1_80 KEY|0", CryptoCause::BadLifetime),
            ("1 AES_CM_128_HMAC_SHA1_80 KEY|", CryptoCause::BadLifetime),
            ("1 AES_CM_128_HMAC_SHA1_80 KEY|1:0", CryptoCause::BadMki),
            ("1 AES_CM_128_HMAC_SHA1_80 KEY|1:129", CryptoCause::BadMki),
            ("1 AES_CM_128_HMAC_SHA1_80 KEY|256:1", CryptoCause::BadMki),
            ("1 AES_CM_128_HMAC_SHA1_80 KEY|1:4|2^20", CryptoCause::BadLine),
            ("1 AES_CM_128_HMAC_SHA1_80 KEY|1:4|1:4", CryptoCause::BadLine),
            ("1 AES_CM_128_HMAC_SHA1_80 KEY|1:1;KEY|2:1", CryptoCause::SeveralKeys),
            ("1 AES_CM_128_HMAC_SHA1_80 KEY KDR=1", CryptoCause::UnknownParameter),
            ("1 AEAD_AES_128_GCM SHORT UNAUTHENTICATED_SRTP", CryptoCause::UnknownParameter),
        ] {
            let text = text.replace("SHORT", &KEY[..KEY.len() - 2]).replace("KEY", KEY);
            assert_eq!(line(&text), Err(cause), "{text}");
        }
    }

    #[test]
    fn an_answer_names_the_line_of_the_offer() {
        let [cm80, cm32] = [Suite::AesCm128HmacSha1_80, Suite::AesCm128HmacSha1_32];
        let gcm = Suite::AeadAes128Gcm;
        let of = |lines: &[String]| {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            description(6000, "RTP/SAVP", &lines)
        };
        let first_byte = |keys: Keys| (keys.ours.key()[0] >> 2, keys.peers.key()[0] >> 2);
        // Letters of base64: B is 1, C is 2, D is 3.
        let offer = of(&[with_key(1, gcm, b'B'), with_key(2, cm80, b'C'), with_key(3, cm80, b'D')]);
        let answer = of(&[with_key(3, cm80, b'Z')]);
        let found = keys(&offer, &answer).unwrap().unwrap();
        assert_eq!((found.ours.suite(), first_byte(found)), (cm80, (3, 25)));
        let found = keys(&answer, &offer).unwrap().unwrap();
        assert_eq!(first_byte(found), (25, 3), "the other way round");
        // The tag is that of a line with another suite: the suite decides.
        let careless = of(&[with_key(1, cm80, b'Y')]);
        assert_eq!(first_byte(keys(&offer, &careless).unwrap().unwrap()), (2, 24));
        let other = of(&[with_key(1, cm32, b'Y')]);
        assert_eq!(keys(&offer, &other), Err((Side::Peers, CryptoCause::NoCommonSuite)));
        // Lines that are not usable are passed over.
        let some = description(6000, "RTP/SAVP", &["crypto:1 F8 x", &with_key(2, cm80, b'E')]);
        assert_eq!(first_byte(keys(&some, &answer).unwrap().unwrap()), (4, 25));
        let many = of(&vec![with_key(9, cm80, b'F'); 10_000]);
        assert!(keys(&many, &many).unwrap().is_some());
    }

    #[test]
    fn media_without_keys_is_clear_unless_its_profile_forbids_it() {
        let key = &*with_key(1, Suite::AesCm128HmacSha1_80, b'B');
        let of = |protocol, lines: &[&str]| description(6000, protocol, lines);
        let no_key = |side| Err((side, CryptoCause::NoKey));
        let clear = of("RTP/AVP", &[]);
        let secure = of("RTP/SAVP", &[key]);
        assert_eq!(keys(&clear, &clear), Ok(None));
        assert_eq!(keys(&of("RTP/AVP", &[key]), &clear), Ok(None), "the peer did not accept");
        assert!(keys(&of("RTP/AVP", &[key]), &of("RTP/AVP", &[key])).unwrap().is_some());
        assert_eq!(keys(&secure, &of("RTP/SAVP", &[])), no_key(Side::Peers));
        assert_eq!(keys(&of("rtp/savpf", &[]), &secure), no_key(Side::Ours));
        assert_eq!(
            keys(&of("RTP/SAVP", &[]), &description(0, "RTP/SAVP", &[])),
            Ok(None),
            "refused"
        );
        let dtls = of("RTP/SAVPF", &["fingerprint:sha-256 AA"]);
        assert_eq!(keys(&dtls, &dtls), Ok(None));
        let broken = of("RTP/AVP", &["crypto:1 F8 x", "crypto:x"]);
        assert_eq!(keys(&secure, &broken), Err((Side::Peers, CryptoCause::UnknownSuite)));
        assert_eq!(keys(&broken, &secure), Err((Side::Ours, CryptoCause::UnknownSuite)));
    }

    #[test]
    fn an_answerer_takes_the_first_line_that_it_can() {
        let key = &*with_key(7, Suite::AeadAes256Gcm, b'B');
        for (protocol, lines, expected) in [
            ("RTP/SAVP", &["crypto:1 F8 x", key][..], Ok(Some(7))),
            ("RTP/SAVP", &["crypto:1 F8 x", "crypto:z"], Err(CryptoCause::UnknownSuite)),
            ("RTP/SAVP", &[], Err(CryptoCause::NoKey)),
            ("RTP/AVP", &[], Ok(None)),
        ] {
            let text = description(6000, protocol, lines);
            let media = Sdp::parse(text.as_bytes()).unwrap().media().next().unwrap().unwrap();
            let line = CryptoLine::first_supported(&media);
            assert_eq!(
                line.map(|line| line.map(|line| line.tag)).map_err(|fault| fault.cause),
                expected
            );
        }
    }

    #[test]
    fn causes_have_unique_labels_and_texts() {
        for (at, cause) in CryptoCause::ALL.iter().enumerate() {
            assert!(CryptoCause::ALL[..at].iter().all(|other| other.label() != cause.label()));
            let text = CryptoFault { side: Side::Peers, cause: *cause }.to_string();
            assert!(text.starts_with("the peer's session description: "), "{text}");
        }
    }
}

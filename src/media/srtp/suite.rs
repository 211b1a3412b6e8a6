//! Suites of algorithms, and the master keys that are negotiated for them.

use std::fmt;

/// Longest master key in bytes.
pub(super) const KEY_MAX: usize = 32;
/// Longest master salt in bytes.
pub(super) const SALT_MAX: usize = 14;

/// A suite of algorithms (RFC 4568 section 6.2, RFC 7714 section 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AES in counter mode, HMAC-SHA1 with a tag of 80 bits.
    AesCm128HmacSha1_80,
    /// AES in counter mode, HMAC-SHA1 with a tag of 32 bits; of 80 bits for RTCP.
    AesCm128HmacSha1_32,
    /// No encryption, HMAC-SHA1 with a tag of 80 bits.
    NullHmacSha1_80,
    /// No encryption, HMAC-SHA1 with a tag of 32 bits; of 80 bits for RTCP.
    NullHmacSha1_32,
    /// AES-GCM with a key of 128 bits.
    AeadAes128Gcm,
    /// AES-GCM with a key of 256 bits.
    AeadAes256Gcm,
}

impl Suite {
    /// All suites.
    pub const ALL: [Self; 6] = [
        Self::AesCm128HmacSha1_80,
        Self::AesCm128HmacSha1_32,
        Self::NullHmacSha1_80,
        Self::NullHmacSha1_32,
        Self::AeadAes128Gcm,
        Self::AeadAes256Gcm,
    ];

    /// The name in session descriptions.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::NullHmacSha1_80 => "NULL_HMAC_SHA1_80",
            Self::NullHmacSha1_32 => "NULL_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// The suite of a name in a session description.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Length of the master key and of the session keys for encryption, in bytes.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AeadAes256Gcm => 32,
            _ => 16,
        }
    }

    /// Length of the master salt, in bytes.
    pub const fn salt_len(self) -> usize {
        if self.is_aead() { 12 } else { 14 }
    }

    /// Length of master key and salt together, in bytes.
    pub const fn master_len(self) -> usize {
        self.key_len() + self.salt_len()
    }

    /// True if encryption and authentication are one algorithm.
    pub const fn is_aead(self) -> bool {
        matches!(self, Self::AeadAes128Gcm | Self::AeadAes256Gcm)
    }

    /// True if the suite has no cipher.
    pub(super) const fn is_null(self) -> bool {
        matches!(self, Self::NullHmacSha1_80 | Self::NullHmacSha1_32)
    }

    /// Length of the tag of an RTP packet, in bytes.
    pub(super) const fn tag_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::NullHmacSha1_80 => 10,
            Self::AesCm128HmacSha1_32 | Self::NullHmacSha1_32 => 4,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
        }
    }

    /// Length of the tag of an RTCP packet, in bytes.
    pub(super) const fn rtcp_tag_len(self) -> usize {
        if self.is_aead() { 16 } else { 10 }
    }
}

/// The parts of protection that a session does without (RFC 4568 section 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waivers {
    /// RTP is not encrypted (`UNENCRYPTED_SRTP`).
    pub rtp_encryption: bool,
    /// RTCP is not encrypted (`UNENCRYPTED_SRTCP`).
    pub rtcp_encryption: bool,
    /// RTP has no tag (`UNAUTHENTICATED_SRTP`). AES-GCM always makes one.
    pub rtp_authentication: bool,
}

/// The master key identifier that each packet carries (RFC 3711 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mki {
    value: u64,
    len: u8,
}

impl Mki {
    /// Most bytes of an identifier (RFC 4568 section 6.1).
    pub const LEN_MAX: usize = 128;

    /// The identifier `value` in `len` bytes; `None` if it does not fit, or `len` is out of range.
    pub fn new(value: u64, len: usize) -> Option<Self> {
        let fits = len >= 8 || value >> (8 * len) == 0;
        let is_valid = (1..=Self::LEN_MAX).contains(&len) && fits;
        is_valid.then_some(Self { value, len: len as u8 })
    }

    /// Length in bytes.
    pub fn size(self) -> usize {
        self.len.into()
    }

    /// Writes the identifier; `out` is as long as it.
    pub(super) fn write(self, out: &mut [u8]) {
        let mut bytes = self.value.to_be_bytes().into_iter().rev();
        out.iter_mut().rev().for_each(|out| *out = bytes.next().unwrap_or(0));
    }

    /// Tells whether `bytes` are the identifier.
    pub(super) fn is(self, bytes: &[u8]) -> bool {
        let mut own = [0; Self::LEN_MAX];
        let own = &mut own[..self.size()];
        self.write(own);
        own == bytes
    }
}

/// Master key and salt of one direction, with what was agreed about their use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MasterKey {
    suite: Suite,
    key: [u8; KEY_MAX],
    salt: [u8; SALT_MAX],
    /// The parts of protection that are left out.
    pub waivers: Waivers,
    /// The identifier that packets carry, if any.
    pub mki: Option<Mki>,
}

impl MasterKey {
    /// The key followed by its salt; `None` if they have not the length of the suite.
    pub fn new(suite: Suite, key_and_salt: &[u8]) -> Option<Self> {
        if key_and_salt.len() != suite.master_len() {
            return None;
        }
        let (from_key, from_salt) = key_and_salt.split_at(suite.key_len());
        let (mut key, mut salt) = ([0; KEY_MAX], [0; SALT_MAX]);
        key[..from_key.len()].copy_from_slice(from_key);
        // A salt of 96 bits is padded on the right for the derivation (RFC 7714 section 11).
        salt[..from_salt.len()].copy_from_slice(from_salt);
        Some(Self { suite, key, salt, waivers: Waivers::default(), mki: None })
    }

    /// The suite that the key is for.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.key[..self.suite.key_len()]
    }

    /// The salt.
    pub fn salt(&self) -> &[u8] {
        &self.salt[..self.suite.salt_len()]
    }

    /// The key with zeros behind it.
    pub(super) fn padded_key(&self) -> &[u8; KEY_MAX] {
        &self.key
    }

    /// The salt as the derivation of keys takes it.
    pub(super) fn padded_salt(&self) -> &[u8; SALT_MAX] {
        &self.salt
    }
}

// Secrets stay out of logs.
impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey")
            .field("suite", &self.suite)
            .field("waivers", &self.waivers)
            .field("mki", &self.mki)
            .finish_non_exhaustive()
    }
}

//! The session keys of one direction, and the protection of single packets with them.

use std::ops::Range;

use super::SrtpFault;
use super::cipher::{Cipher, Place, count, open, salt_block, seal};
use super::derive::SessionKeys;
use super::hmac::Hmac;
use super::packet::{RTCP_HEADER, chunk};
use super::suite::{KEY_MAX, MasterKey, Mki, Suite, Waivers};

/// The mark of an encrypted RTCP packet, in the word of its index (RFC 3711 section 3.4).
const ENCRYPTED: u32 = 1 << 31;
/// Length of that word.
const WORD: usize = 4;

/// Session keys, and the rules of their use.
pub(super) struct Session {
    suite: Suite,
    waivers: Waivers,
    mki: Option<Mki>,
    salt: u128,
    rtcp_salt: u128,
    cipher: Cipher,
    hmac: Hmac,
    /// RTCP is rare, so its cipher is made for each packet: that saves half a kilobyte.
    rtcp_key: [u8; KEY_MAX],
    rtcp_hmac: Hmac,
}

/// The parts behind a protected packet.
struct Trailer {
    word: Range<usize>,
    mki: Range<usize>,
    tag: Range<usize>,
}

impl Session {
    pub(super) fn new(master: &MasterKey) -> Self {
        Self::with_keys(master, &SessionKeys::derive(master))
    }

    /// A session with these keys, and with the rules that were agreed for the master key.
    pub(super) fn with_keys(master: &MasterKey, keys: &SessionKeys) -> Self {
        Self {
            suite: master.suite(),
            waivers: master.waivers,
            mki: master.mki,
            salt: salt_block(&keys.rtp.salt),
            rtcp_salt: salt_block(&keys.rtcp.salt),
            cipher: Cipher::new(master.suite(), &keys.rtp.encryption),
            hmac: Hmac::new(&keys.rtp.authentication),
            rtcp_key: keys.rtcp.encryption,
            rtcp_hmac: Hmac::new(&keys.rtcp.authentication),
        }
    }

    /// Bytes that protection adds to an RTP packet.
    pub(super) fn overhead(&self) -> usize {
        self.trailer(0).end()
    }

    /// Bytes that protection adds to an RTCP packet.
    pub(super) fn rtcp_overhead(&self) -> usize {
        self.rtcp_trailer(0).end()
    }

    /// Protects an RTP packet of `len` bytes, of which the first `header_len` stay clear.
    /// `packet` ends where the protected packet does.
    pub(super) fn protect(
        &self,
        packet: &mut [u8],
        len: usize,
        header_len: usize,
        place: Place,
    ) -> Result<(), SrtpFault> {
        let trailer = self.trailer(len);
        match &self.cipher {
            Cipher::Gcm(key) => {
                let clear = if self.waivers.rtp_encryption { len } else { header_len };
                let (clear, text) = packet[..len].split_at_mut(clear);
                let tag = seal(key, self.salt, place, clear, text)?;
                packet[trailer.tag].copy_from_slice(&tag);
            }
            cipher => {
                self.apply(cipher, &mut packet[header_len..len], place);
                if !trailer.tag.is_empty() {
                    let code = self.hmac.code(&packet[..len], &rollovers(place));
                    packet[trailer.tag.clone()].copy_from_slice(&code[..trailer.tag.len()]);
                }
            }
        }
        self.write_mki(&mut packet[trailer.mki]);
        Ok(())
    }

    /// Checks a protected RTP packet whose clear part has `header_len` bytes, and decrypts it.
    /// `len` is its length without the trailer.
    pub(super) fn unprotect(
        &self,
        packet: &mut [u8],
        len: usize,
        header_len: usize,
        place: Place,
    ) -> Result<(), SrtpFault> {
        let trailer = self.trailer(len);
        self.check_mki(&packet[trailer.mki])?;
        match &self.cipher {
            Cipher::Gcm(key) => {
                let clear = if self.waivers.rtp_encryption { len } else { header_len };
                let (clear, text) = packet[..trailer.tag.end].split_at_mut(clear);
                open(key, self.salt, place, clear, text)
            }
            cipher => {
                if !trailer.tag.is_empty() {
                    let code = self.hmac.code(&packet[..len], &rollovers(place));
                    check_tag(&packet[trailer.tag], &code)?;
                }
                self.apply(cipher, &mut packet[header_len..len], place);
                Ok(())
            }
        }
    }

    /// Protects an RTCP packet of `len` bytes. `packet` ends where the protected packet does.
    pub(super) fn protect_rtcp(
        &self,
        packet: &mut [u8],
        len: usize,
        place: Place,
    ) -> Result<(), SrtpFault> {
        let trailer = self.rtcp_trailer(len);
        let is_clear = self.waivers.rtcp_encryption || self.suite.is_null();
        let word = place.index as u32 | if is_clear { 0 } else { ENCRYPTED };
        let word = word.to_be_bytes();
        match self.rtcp_cipher() {
            Cipher::Gcm(key) => {
                let tag = if is_clear {
                    packet[len..len + WORD].copy_from_slice(&word);
                    seal(&key, self.rtcp_salt, place, &packet[..len + WORD], &mut [])?
                } else {
                    let (clear, text) = packet[..len].split_at_mut(RTCP_HEADER);
                    seal(&key, self.rtcp_salt, place, &rtcp_clear(clear, word), text)?
                };
                packet[trailer.word].copy_from_slice(&word);
                packet[trailer.tag].copy_from_slice(&tag);
            }
            cipher => {
                if let (Cipher::Counter(key), false) = (&cipher, is_clear) {
                    count(key, self.rtcp_salt, place, &mut packet[RTCP_HEADER..len]);
                }
                packet[trailer.word.clone()].copy_from_slice(&word);
                let code = self.rtcp_hmac.code(&packet[..trailer.word.end], &[]);
                packet[trailer.tag.clone()].copy_from_slice(&code[..trailer.tag.len()]);
            }
        }
        self.write_mki(&mut packet[trailer.mki]);
        Ok(())
    }

    /// The index of a protected RTCP packet that has `len` bytes without the trailer.
    pub(super) fn rtcp_index(&self, packet: &[u8], len: usize) -> Result<u64, SrtpFault> {
        let word = chunk(packet, self.rtcp_trailer(len).word.start)?;
        Ok(u64::from(u32::from_be_bytes(*word) & !ENCRYPTED))
    }

    /// Checks a protected RTCP packet, and decrypts it if it is marked as encrypted.
    /// `len` is its length without the trailer.
    pub(super) fn unprotect_rtcp(
        &self,
        packet: &mut [u8],
        len: usize,
        place: Place,
    ) -> Result<(), SrtpFault> {
        let trailer = self.rtcp_trailer(len);
        self.check_mki(&packet[trailer.mki])?;
        let word = *chunk(packet, trailer.word.start)?;
        let is_clear = u32::from_be_bytes(word) & ENCRYPTED == 0;
        match self.rtcp_cipher() {
            Cipher::Gcm(key) if is_clear => {
                let mut tag = [0; 16];
                tag.copy_from_slice(&packet[trailer.tag]);
                packet[len..len + WORD].copy_from_slice(&word);
                open(&key, self.rtcp_salt, place, &packet[..len + WORD], &mut tag)
            }
            Cipher::Gcm(key) => {
                let (clear, text) = packet[..trailer.tag.end].split_at_mut(RTCP_HEADER);
                open(&key, self.rtcp_salt, place, &rtcp_clear(clear, word), text)
            }
            cipher => {
                let code = self.rtcp_hmac.code(&packet[..trailer.word.end], &[]);
                check_tag(&packet[trailer.tag], &code)?;
                if let (Cipher::Counter(key), false) = (&cipher, is_clear) {
                    count(key, self.rtcp_salt, place, &mut packet[RTCP_HEADER..len]);
                }
                Ok(())
            }
        }
    }

    fn rtcp_cipher(&self) -> Cipher {
        Cipher::new(self.suite, &self.rtcp_key)
    }

    /// Encrypts or decrypts the payload of an RTP packet, unless it is to stay clear.
    fn apply(&self, cipher: &Cipher, text: &mut [u8], place: Place) {
        if let (Cipher::Counter(key), false) = (cipher, self.waivers.rtp_encryption) {
            count(key, self.salt, place, text);
        }
    }

    /// The trailer of an RTP packet of `len` bytes.
    fn trailer(&self, len: usize) -> Trailer {
        let is_waived = self.waivers.rtp_authentication && !self.suite.is_aead();
        self.parts(len, 0, if is_waived { 0 } else { self.suite.tag_len() })
    }

    /// The trailer of an RTCP packet of `len` bytes.
    fn rtcp_trailer(&self, len: usize) -> Trailer {
        self.parts(len, WORD, self.suite.rtcp_tag_len())
    }

    fn parts(&self, len: usize, word: usize, tag: usize) -> Trailer {
        let mki = self.mki.map_or(0, Mki::size);
        if self.suite.is_aead() {
            // The tag belongs to the encrypted text (RFC 7714 sections 8.2 and 9.2).
            let (word_at, mki_at) = (len + tag, len + tag + word);
            Trailer { tag: len..word_at, word: word_at..mki_at, mki: mki_at..mki_at + mki }
        } else {
            let (mki_at, tag_at) = (len + word, len + word + mki);
            Trailer { word: len..mki_at, mki: mki_at..tag_at, tag: tag_at..tag_at + tag }
        }
    }

    fn write_mki(&self, out: &mut [u8]) {
        if let Some(mki) = self.mki {
            mki.write(out);
        }
    }

    fn check_mki(&self, bytes: &[u8]) -> Result<(), SrtpFault> {
        let is_ours = self.mki.is_none_or(|mki| mki.is(bytes));
        if is_ours { Ok(()) } else { Err(SrtpFault::UnknownMki) }
    }
}

impl Trailer {
    fn end(&self) -> usize {
        self.mki.end.max(self.tag.end)
    }
}

/// The number of rollovers, which the tag of an RTP packet covers (RFC 3711 section 4.2).
fn rollovers(place: Place) -> [u8; 4] {
    ((place.index >> 16) as u32).to_be_bytes()
}

/// The clear part of an RTCP packet that GCM encrypts: its header and the word of its index.
fn rtcp_clear(header: &[u8], word: [u8; WORD]) -> [u8; RTCP_HEADER + WORD] {
    let mut clear = [0; RTCP_HEADER + WORD];
    clear[..RTCP_HEADER].copy_from_slice(header);
    clear[RTCP_HEADER..].copy_from_slice(&word);
    clear
}

/// Compares a tag with the beginning of a code, in the same time wherever they differ.
fn check_tag(tag: &[u8], code: &[u8; 20]) -> Result<(), SrtpFault> {
    let differing = tag.iter().zip(code).fold(0, |bits, (tag, code)| bits | (tag ^ code));
    if differing == 0 { Ok(()) } else { Err(SrtpFault::BadTag) }
}

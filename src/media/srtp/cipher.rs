//! Encryption of packets, in place.

use aes::Aes128Enc;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::SrtpFault;
use super::suite::{KEY_MAX, SALT_MAX, Suite};

/// Blocks of keystream made at once: enough for 30 ms of G.711. AES units work on several blocks at
/// the same time.
const BLOCKS: usize = 16;
/// Length of a block in bytes.
const BLOCK: usize = 16;

/// The cipher of a suite with its key.
#[expect(clippy::large_enum_variant, reason = "a box would be an allocation per call")]
pub(super) enum Cipher {
    /// Packets stay clear.
    Null,
    /// AES in counter mode. The key schedule is kept: making it costs more than a packet.
    Counter(Aes128Enc),
    /// AES-GCM, which makes the tag too.
    Gcm(LessSafeKey),
}

impl Cipher {
    /// The cipher of a suite; `key` begins with the session key.
    pub(super) fn new(suite: Suite, key: &[u8; KEY_MAX]) -> Self {
        let gcm = |algorithm, key| {
            let key = UnboundKey::new(algorithm, key).expect("a key has the length of its suite");
            Self::Gcm(LessSafeKey::new(key))
        };
        match suite {
            Suite::NullHmacSha1_80 | Suite::NullHmacSha1_32 => Self::Null,
            Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 => {
                let mut half = [0; 16];
                half.copy_from_slice(&key[..16]);
                Self::Counter(Aes128Enc::new(&Array(half)))
            }
            Suite::AeadAes128Gcm => gcm(&AES_128_GCM, &key[..16]),
            Suite::AeadAes256Gcm => gcm(&AES_256_GCM, &key[..]),
        }
    }
}

/// The packet that is encrypted: no two have the same under one key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) ssrc: u32,
    /// Index of 48 bits.
    pub(super) index: u64,
}

/// A session salt as the first bytes of a block.
pub(super) fn salt_block(salt: &[u8; SALT_MAX]) -> u128 {
    salt.iter().fold(0, |block, byte| block << 8 | u128::from(*byte)) << (8 * (BLOCK - SALT_MAX))
}

impl Place {
    /// The first counter block of counter mode (RFC 3711 section 4.1.1). The blocks of a packet are
    /// counted in the last two bytes.
    fn counter_block(self, salt: u128) -> u128 {
        salt ^ u128::from(self.ssrc) << 64 ^ u128::from(self.index) << 16
    }

    /// The nonce of GCM (RFC 7714 sections 8.1 and 9.1).
    fn nonce(self, salt: u128) -> Nonce {
        let block = salt ^ u128::from(self.ssrc) << 80 ^ u128::from(self.index) << 32;
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&block.to_be_bytes()[..12]);
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Encrypts or decrypts in counter mode.
pub(super) fn count(key: &Aes128Enc, salt: u128, place: Place, text: &mut [u8]) {
    let mut block = place.counter_block(salt);
    for part in text.chunks_mut(BLOCKS * BLOCK) {
        let mut stream = [Array([0; BLOCK]); BLOCKS];
        let stream = &mut stream[..part.len().div_ceil(BLOCK)];
        for place in stream.iter_mut() {
            place.0 = block.to_be_bytes();
            block = block.wrapping_add(1);
        }
        key.encrypt_blocks(stream);
        let (whole, rest) = part.as_chunks_mut::<BLOCK>();
        for (bytes, key) in whole.iter_mut().zip(&*stream) {
            let mixed = u128::from_ne_bytes(*bytes) ^ u128::from_ne_bytes(key.0);
            *bytes = mixed.to_ne_bytes();
        }
        if let Some(last) = stream.last() {
            rest.iter_mut().zip(last).for_each(|(byte, key)| *byte ^= key);
        }
    }
}

/// Encrypts by GCM, and gives the tag of that and of `clear`.
pub(super) fn seal(
    key: &LessSafeKey,
    salt: u128,
    place: Place,
    clear: &[u8],
    text: &mut [u8],
) -> Result<[u8; 16], SrtpFault> {
    let tag = key.seal_in_place_separate_tag(place.nonce(salt), Aad::from(clear), text);
    // It only refuses more than 64 GB.
    let tag = tag.map_err(|_| SrtpFault::NoRoom)?;
    let mut out = [0; 16];
    out.copy_from_slice(tag.as_ref());
    Ok(out)
}

/// Decrypts by GCM, if the tag behind the text is the one of that and of `clear`.
pub(super) fn open(
    key: &LessSafeKey,
    salt: u128,
    place: Place,
    clear: &[u8],
    text_and_tag: &mut [u8],
) -> Result<(), SrtpFault> {
    let opened = key.open_in_place(place.nonce(salt), Aad::from(clear), text_and_tag);
    opened.map(drop).map_err(|_| SrtpFault::BadTag)
}

#[cfg(test)]
mod tests {
    use super::super::tests::hex;
    use super::*;

    #[test]
    fn the_keystream_is_that_of_rfc_3711() {
        // Appendix B.2.
        let key: [u8; 16] = hex("2b7e151628aed2a6abf7158809cf4f3c").try_into().unwrap();
        let salt: [u8; 14] = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfd").try_into().unwrap();
        let mut text = vec![0; 0xff02 * BLOCK];
        let key = Aes128Enc::new(&Array(key));
        count(&key, salt_block(&salt), Place { ssrc: 0, index: 0 }, &mut text);
        for (number, expected) in [
            (0, "e03ead0935c95e80e166b16dd92b4eb4"),
            (1, "d23513162b02d0f72a43a2fe4a5f97ab"),
            (2, "41e95b3bb0a2e8dd477901e4fca894c0"),
            (0xfeff, "ec8cdf7398607cb0f2d21675ea9ea1e4"),
            (0xff00, "362b7c3c6773516318a077d7fc5073ae"),
            (0xff01, "6a2cc3787889374fbeb4c81b17ba6c44"),
        ] {
            assert_eq!(text[number * BLOCK..][..BLOCK], hex(expected), "block {number:x}");
        }
    }
}

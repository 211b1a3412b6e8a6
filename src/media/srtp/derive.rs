//! Session keys out of a master key (RFC 3711 section 4.3).

use aes::cipher::consts::U16;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes::{Aes128Enc, Aes256Enc};

use super::suite::{KEY_MAX, MasterKey, SALT_MAX};

/// The keys of packets. They begin what they stand in: a suite may take less of it.
#[derive(Clone, Copy, Default)]
pub(super) struct SessionKeys {
    pub(super) rtp: Keys,
    pub(super) rtcp: Keys,
}

/// The keys of RTP or of RTCP.
#[derive(Clone, Copy, Default)]
pub(super) struct Keys {
    pub(super) encryption: [u8; KEY_MAX],
    pub(super) authentication: [u8; 20],
    pub(super) salt: [u8; SALT_MAX],
}

impl SessionKeys {
    /// Derives the keys. That is done once: the index of the derivation is always 0.
    pub(super) fn derive(master: &MasterKey) -> Self {
        match master.key().as_array() {
            Some(key) => Self::with(&Aes128Enc::new(&Array(*key)), master),
            None => Self::with(&Aes256Enc::new(&Array(*master.padded_key())), master),
        }
    }

    fn with<C: BlockCipherEncrypt<BlockSize = U16>>(cipher: &C, master: &MasterKey) -> Self {
        let (key_len, salt_len) = (master.suite().key_len(), master.suite().salt_len());
        // The labels of RFC 3711 section 4.3.2.
        let keys = |label: u8| {
            let mut keys = Keys::default();
            let salt = master.padded_salt();
            fill(cipher, salt, label, &mut keys.encryption[..key_len]);
            fill(cipher, salt, label + 1, &mut keys.authentication);
            fill(cipher, salt, label + 2, &mut keys.salt[..salt_len]);
            keys
        };
        Self { rtp: keys(0), rtcp: keys(3) }
    }
}

/// Fills `out` with the keystream of a label, from its first block on.
fn fill<C>(cipher: &C, salt: &[u8; SALT_MAX], label: u8, out: &mut [u8])
where
    C: BlockCipherEncrypt<BlockSize = U16>,
{
    for (number, out) in (0u16..).zip(out.chunks_mut(16)) {
        let mut block = [0; 16];
        block[..SALT_MAX].copy_from_slice(salt);
        // The label stands before an index of 48 bits.
        block[SALT_MAX - 7] ^= label;
        block[SALT_MAX..].copy_from_slice(&number.to_be_bytes());
        let mut block = Array(block);
        cipher.encrypt_block(&mut block);
        out.copy_from_slice(&block[..out.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::hex;
    use super::*;
    use crate::media::srtp::Suite;

    #[test]
    fn keys_are_those_of_rfc_3711() {
        // Appendix B.3.
        let master = hex("e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6");
        let master = MasterKey::new(Suite::AesCm128HmacSha1_80, &master).unwrap();
        let keys = SessionKeys::derive(&master).rtp;
        assert_eq!(keys.encryption[..16], hex("c61e7a93744f39ee10734afe3ff7a087"));
        assert_eq!(keys.salt[..], hex("30cbbc08863d8c85d49db34a9ae1"));
        assert_eq!(keys.authentication[..], hex("cebe321f6ff7716b6fd4ab49af256a156d38baa4"));
    }

    #[test]
    fn a_long_master_key_gives_the_keys_of_rfc_6188() {
        // Section 7.4. Its suite has a longer salt than GCM.
        let key = hex("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6");
        let salt: [u8; 14] = hex("3b04803de51ee7c96423ab5b78d2").try_into().unwrap();
        let cipher = Aes256Enc::new(&Array(key.try_into().unwrap()));
        let mut encryption = [0; 32];
        fill(&cipher, &salt, 0, &mut encryption);
        let expected = "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4";
        assert_eq!(encryption[..], hex(expected));
    }
}

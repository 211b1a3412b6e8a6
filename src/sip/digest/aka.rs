//! AKA for digests: Milenage (3GPP TS 35.206) and the nonce of RFC 3310.

use aes::Aes128;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};

use crate::sip::base64;

/// The secrets of a SIM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AkaKeys {
    /// The subscriber's key.
    pub k: [u8; 16],
    /// The operator's variant.
    pub op: [u8; 16],
    /// The authentication management field that challenges must carry; `None` takes any.
    pub amf: Option<[u8; 2]>,
}

/// The reason why a nonce cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AkaError {
    /// The nonce is not base64 of RAND and AUTN (RFC 3310 section 3.2).
    #[error("the nonce is not base64 of 16 bytes RAND and 16 bytes AUTN")]
    BadNonce,
    /// The challenger does not know the key.
    #[error("the nonce's MAC is not the one that K, OP and AMF give")]
    WrongMac,
}

/// The functions f1 to f5 of TS 35.206 for one subscriber.
pub struct Milenage {
    cipher: Aes128,
    opc: [u8; 16],
}

impl Milenage {
    /// The functions for a subscriber's key and the operator's variant.
    pub fn new(k: &[u8; 16], op: &[u8; 16]) -> Self {
        let mut milenage = Self { cipher: Aes128::new(&Array(*k)), opc: [0; 16] };
        milenage.opc = xor(&milenage.encrypt(op), op);
        milenage
    }

    /// OPc: the operator's variant under the subscriber's key.
    pub fn opc(&self) -> [u8; 16] {
        self.opc
    }

    /// f1: the network's authentication code.
    pub fn mac(&self, rand: &[u8; 16], sqn: &[u8; 6], amf: &[u8; 2]) -> [u8; 8] {
        let mut input = [0; 16];
        for half in input.chunks_exact_mut(8) {
            half[..6].copy_from_slice(sqn);
            half[6..].copy_from_slice(amf);
        }
        // Rotation by r1 = 64 bits; c1 is zero.
        let mut block = xor(&input, &self.opc);
        block.rotate_left(8);
        let out = xor(&self.encrypt(&xor(&block, &self.temp(rand))), &self.opc);
        first(&out)
    }

    /// f2 and f5: the answer, and the key that hides the sequence number.
    pub fn answer(&self, rand: &[u8; 16]) -> ([u8; 8], [u8; 6]) {
        // Rotation by r2 = 0; c2 is one.
        let mut block = xor(&self.temp(rand), &self.opc);
        block[15] ^= 1;
        let out = xor(&self.encrypt(&block), &self.opc);
        (std::array::from_fn(|index| out[8 + index]), first(&out))
    }

    fn temp(&self, rand: &[u8; 16]) -> [u8; 16] {
        self.encrypt(&xor(rand, &self.opc))
    }

    fn encrypt(&self, block: &[u8; 16]) -> [u8; 16] {
        let mut block = Array(*block);
        self.cipher.encrypt_block(&mut block);
        block.0
    }
}

fn xor(a: &[u8; 16], b: &[u8; 16]) -> [u8; 16] {
    std::array::from_fn(|index| a[index] ^ b[index])
}

/// The first `N` bytes.
fn first<const N: usize>(block: &[u8; 16]) -> [u8; N] {
    std::array::from_fn(|index| block[index])
}

impl AkaKeys {
    /// RES for the nonce of a challenge: the password of the digest (RFC 3310 section 3.2).
    ///
    /// # Errors
    /// The nonce has another form, or was made without the key. The sequence number is not checked:
    /// a load has no memory of it.
    pub fn res(&self, nonce: &[u8]) -> Result<[u8; 8], AkaError> {
        let mut bytes = [0; 32];
        base64::fill(nonce, &mut bytes).ok_or(AkaError::BadNonce)?;
        let (rand, autn) = bytes.split_at(16);
        let rand: [u8; 16] = rand.try_into().map_err(|_| AkaError::BadNonce)?;
        let milenage = Milenage::new(&self.k, &self.op);
        let (res, ak) = milenage.answer(&rand);
        let sqn: [u8; 6] = std::array::from_fn(|index| autn[index] ^ ak[index]);
        let amf = [autn[6], autn[7]];
        let wanted = self.amf.unwrap_or(amf);
        if milenage.mac(&rand, &sqn, &wanted) != autn[8..] {
            return Err(AkaError::WrongMac);
        }
        Ok(res)
    }

    /// The nonce of a challenge by a network that knows the key: base64 of RAND and AUTN.
    pub fn nonce(&self, rand: &[u8; 16], sqn: &[u8; 6]) -> [u8; 44] {
        let milenage = Milenage::new(&self.k, &self.op);
        let (_, ak) = milenage.answer(rand);
        let amf = self.amf.unwrap_or_default();
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(rand);
        for (hidden, (sqn, ak)) in bytes[16..22].iter_mut().zip(sqn.iter().zip(&ak)) {
            *hidden = sqn ^ ak;
        }
        bytes[22..24].copy_from_slice(&amf);
        bytes[24..].copy_from_slice(&milenage.mac(rand, sqn, &amf));
        base64::array(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..][..2], 16).unwrap())
    }

    /// Test sets of TS 35.208: K, RAND, SQN, AMF, OP, OPc, f1, f2, f5.
    const SETS: [[&str; 9]; 2] = [
        [
            "465b5ce8b199b49faa5f0a2ee238a6bc",
            "23553cbe9637a89d218ae64dae47bf35",
            "ff9bb4d0b607",
            "b9b9",
            "cdc202d5123e20f62b6d676ac72cb318",
            "cd63cb71954a9f4e48a5994e37a02baf",
            "4a9ffac354dfafb3",
            "a54211d5e3ba50bf",
            "aa689c648370",
        ],
        [
            "fec86ba6eb707ed08905757b1bb44b8f",
            "9f7c8d021accf4db213ccff0c7f71a6a",
            "9d0277595ffc",
            "725c",
            "dbc59adcb6f9a0ef735477b7fadf8374",
            "1006020f0a478bf6b699f15c062e42b3",
            "9cabc3e99baf7281",
            "8011c48c0c214ed2",
            "33484dc2136b",
        ],
    ];

    #[test]
    fn milenage_gives_the_standards_values() {
        for [k, rand, sqn, amf, op, opc, f1, f2, f5] in SETS {
            let milenage = Milenage::new(&bytes(k), &bytes(op));
            assert_eq!(milenage.opc(), bytes(opc));
            assert_eq!(milenage.mac(&bytes(rand), &bytes(sqn), &bytes(amf)), bytes(f1));
            assert_eq!(milenage.answer(&bytes(rand)), (bytes(f2), bytes(f5)));
        }
    }

    #[test]
    fn a_nonce_is_answered_by_those_who_share_the_key() {
        for [k, rand, sqn, amf, op, _, _, f2, _] in SETS {
            let keys = AkaKeys { k: bytes(k), op: bytes(op), amf: Some(bytes(amf)) };
            let nonce = keys.nonce(&bytes(rand), &bytes(sqn));
            assert_eq!(keys.res(&nonce), Ok(bytes(f2)));
            assert_eq!(AkaKeys { amf: None, ..keys }.res(&nonce), Ok(bytes(f2)));
            let other = AkaKeys { amf: Some([0, 0]), ..keys };
            assert_eq!(other.res(&nonce), Err(AkaError::WrongMac));
            assert_eq!(AkaKeys { k: [0; 16], ..keys }.res(&nonce), Err(AkaError::WrongMac));
            for cut in [0, 10, 42] {
                assert_eq!(keys.res(&nonce[..cut]), Err(AkaError::BadNonce), "{cut}");
            }
        }
    }
}

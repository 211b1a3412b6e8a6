//! The hash functions of digests, over pieces, to hexadecimal digits.

use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// MD5 of RFC 1321; broken, and still used by most of SIP.
    Md5,
    /// SHA-256 of FIPS 180-4.
    Sha256,
    /// SHA-512/256 of FIPS 180-4: truncated to 256 bits, with a start value of its own.
    Sha512_256,
}

/// A hash as lower-case hexadecimal digits (RFC 7616: `LHEX`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hex {
    digits: [u8; 64],
    len: u8,
}

impl Hex {
    fn new(bytes: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        Self { digits, len: (2 * bytes.len()).min(64) as u8 }
    }

    /// The digits.
    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[..usize::from(self.len)]
    }
}

impl Hash {
    /// The hash of `pieces`, one right behind the other.
    pub fn of(self, pieces: &[&[u8]]) -> Hex {
        match self {
            Self::Md5 => Hex::new(&over::<Md5>(pieces)),
            Self::Sha256 => Hex::new(&over::<Sha256>(pieces)),
            Self::Sha512_256 => Hex::new(&over::<Sha512_256>(pieces)),
        }
    }
}

fn over<D: Digest>(pieces: &[&[u8]]) -> sha2::digest::Output<D> {
    let mut hasher = D::new();
    for piece in pieces {
        hasher.update(piece);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_examples_come_out() {
        let of = |hash: Hash, text: &str| {
            let (head, tail) = text.as_bytes().split_at(text.len() / 2);
            String::from_utf8(hash.of(&[head, tail]).as_bytes().to_vec()).unwrap()
        };
        assert_eq!(of(Hash::Md5, ""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(of(Hash::Md5, "message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
        assert_eq!(
            of(Hash::Sha256, "abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            of(Hash::Sha512_256, "abc"),
            "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"
        );
    }
}

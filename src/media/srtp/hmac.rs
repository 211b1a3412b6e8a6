//! HMAC-SHA1 (RFC 2104) with the key hashed beforehand: a packet costs its own blocks and one more.

use sha1::block_api::compress;

/// The state of SHA-1 before the first block (RFC 3174 section 6.1).
const START: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
/// Length of a block in bytes.
const BLOCK: usize = 64;

/// The states behind the inner and the outer key.
#[derive(Clone)]
pub(super) struct Hmac {
    inner: [u32; 5],
    outer: [u32; 5],
}

impl Hmac {
    pub(super) fn new(key: &[u8; 20]) -> Self {
        let behind = |pad: u8| {
            let mut block = [pad; BLOCK];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut state = START;
            compress(&mut state, &[block]);
            state
        };
        Self { inner: behind(0x36), outer: behind(0x5c) }
    }

    /// The code of a message that ends with `end`, which has at most four bytes.
    pub(super) fn code(&self, message: &[u8], end: &[u8]) -> [u8; 20] {
        let (blocks, rest) = message.as_chunks();
        // The end is put together first, so that it need not be waited for.
        let mut tail = [[0; BLOCK]; 2];
        let bytes = tail.as_flattened_mut();
        let len = rest.len() + end.len();
        bytes[..rest.len()].copy_from_slice(rest);
        bytes[rest.len()..len].copy_from_slice(end);
        bytes[len] = 0x80;
        // The mark and the length in bits have to fit behind the message.
        let used = if len + 9 <= BLOCK { 1 } else { 2 };
        let bits = 8 * (BLOCK + message.len() + end.len()) as u64;
        bytes[used * BLOCK - 8..used * BLOCK].copy_from_slice(&bits.to_be_bytes());
        let mut state = self.inner;
        compress(&mut state, blocks);
        compress(&mut state, &tail[..used]);
        self.finish(state)
    }

    fn finish(&self, inner: [u32; 5]) -> [u8; 20] {
        let mut block = [0; BLOCK];
        block[..20].copy_from_slice(&bytes_of(inner));
        block[20] = 0x80;
        let bits = 8 * (BLOCK + 20) as u64;
        block[BLOCK - 8..].copy_from_slice(&bits.to_be_bytes());
        let mut state = self.outer;
        compress(&mut state, &[block]);
        bytes_of(state)
    }
}

fn bytes_of(state: [u32; 5]) -> [u8; 20] {
    let mut bytes = [0; 20];
    for (out, word) in bytes.chunks_exact_mut(4).zip(state) {
        out.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use ring::hmac;

    use super::*;

    #[test]
    fn codes_are_those_of_another_implementation_at_any_length() {
        let key = [0xa5; 20];
        let other = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
        let message: Vec<u8> = (0..400u32).map(|n| (n * 7) as u8).collect();
        let own = Hmac::new(&key);
        for len in 0..=300 {
            let (text, end) = message[..len].split_at(len.saturating_sub(len % 5));
            let code = own.code(text, end);
            assert_eq!(code, hmac::sign(&other, &message[..len]).as_ref(), "{len} bytes");
        }
    }
}

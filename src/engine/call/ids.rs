//! The identifiers that we generate: a call's place is written into its Call-ID and branches.
//!
//! A call token is 16 hexadecimal digits: worker (2), slot (6), generation (8). Behind it stands a
//! nonce of 8 digits that is drawn once per run, so that tokens of another run are foreign. All are
//! of fixed width: the messages of one step have one length, and a burst leaves as one GSO train.

use crate::sip::find_byte;

/// The place of a call: its worker, its slot, and the use of the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRef {
    /// Worker, below 256.
    pub worker: u8,
    /// Slot, below 2^24.
    pub slot: u32,
    /// Number of earlier uses of the slot.
    pub generation: u32,
}

/// Slots that a token can name.
pub const SLOTS_MAX: usize = 1 << 24;
/// Digits of a token.
pub const TOKEN_LEN: usize = 16;

impl CallRef {
    /// The reference as one number, which the driver carries as a cookie.
    pub fn to_bits(self) -> u64 {
        u64::from(self.worker) << 56
            | u64::from(self.slot & 0x00ff_ffff) << 32
            | u64::from(self.generation)
    }

    /// The inverse of [`CallRef::to_bits`].
    pub fn from_bits(bits: u64) -> Self {
        Self {
            worker: (bits >> 56) as u8,
            slot: (bits >> 32) as u32 & 0x00ff_ffff,
            generation: bits as u32,
        }
    }

    /// The token's digits.
    pub fn token(self) -> [u8; TOKEN_LEN] {
        hex16(self.to_bits())
    }
}

/// The nonce that makes a Call-ID ours: `<token>-<nonce>@<host>`.
#[derive(Clone, Copy, Debug)]
pub struct RunNonce([u8; 8]);

impl RunNonce {
    /// A nonce from random bits.
    pub fn new(random: u32) -> Self {
        let mut digits = [0; 8];
        digits.copy_from_slice(&hex16(u64::from(random))[8..]);
        Self(digits)
    }

    /// The eight digits.
    pub fn digits(&self) -> &[u8; 8] {
        &self.0
    }

    /// The call that `call_id` names, if this run generated it.
    pub fn parse(&self, call_id: &[u8]) -> Option<CallRef> {
        let (token, rest) = call_id.split_at_checked(TOKEN_LEN)?;
        let nonce = rest.strip_prefix(b"-")?.get(..8)?;
        if nonce != self.0 {
            return None;
        }
        let (high, low) = (token.first_chunk()?, token.last_chunk()?);
        let bits = u64::from(value_of_hex8(*high)) << 32 | u64::from(value_of_hex8(*low));
        // Bytes that are no digits have some value too, but its digits are others.
        (hex16(bits)[..] == *token).then(|| CallRef::from_bits(bits))
    }
}

/// Returns the part of a Call-ID that identifies the call: all of it, or the part behind the first
/// `///`. With `Call-ID: other-leg///[call_id]`, SIPp lets several dialogs belong to one call.
pub fn key(call_id: &[u8]) -> &[u8] {
    // Slashes are rare in Call-IDs: most return here.
    let Some(first) = find_byte(call_id, b'/') else { return call_id };
    match call_id[first..].windows(3).position(|window| window == b"///") {
        Some(at) => &call_id[first + at + 3..],
        None => call_id,
    }
}

/// `value` as 16 lower-case hexadecimal digits.
#[inline]
pub fn hex16(value: u64) -> [u8; 16] {
    let mut out = [0; 16];
    out[..8].copy_from_slice(&hex8((value >> 32) as u32));
    out[8..].copy_from_slice(&hex8(value as u32));
    out
}

/// `value` as 8 lower-case hexadecimal digits, all of them at once.
#[inline]
pub fn hex8(value: u32) -> [u8; 8] {
    // One byte in each lane of two, the highest in the lowest lane; then one digit in each byte.
    let bytes = u64::from(value.swap_bytes());
    let bytes = (bytes | bytes << 16) & 0x0000_ffff_0000_ffff;
    let bytes = (bytes | bytes << 8) & 0x00ff_00ff_00ff_00ff;
    let digits = (bytes >> 4 | bytes << 8) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = (digits + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    (digits + 0x3030_3030_3030_3030 + letters * (b'a' - b'9' - 1) as u64).to_le_bytes()
}

/// The inverse of [`hex8`], if all are digits.
#[inline]
fn value_of_hex8(digits: [u8; 8]) -> u32 {
    let digits = u64::from_le_bytes(digits);
    let letters = digits >> 6 & 0x0101_0101_0101_0101;
    let digits = (digits & 0x0f0f_0f0f_0f0f_0f0f) + letters * 9;
    let bytes = (digits << 4 | digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let bytes = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
    ((bytes | bytes >> 16) as u32).swap_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_stands_behind_three_slashes() {
        assert_eq!(key(b"a@b"), b"a@b");
        assert_eq!(key(b"reg///a@b"), b"a@b");
        assert_eq!(key(b"x///y///z"), b"y///z");
        assert_eq!(key(b"//a//b"), b"//a//b");
        assert_eq!(key(b""), b"");
    }

    #[test]
    fn tokens_come_back_from_call_ids() {
        let nonce = RunNonce::new(0xdead_beef);
        let call = CallRef { worker: 3, slot: 0xabcdef, generation: 0x0102_0304 };
        let mut call_id = call.token().to_vec();
        call_id.push(b'-');
        call_id.extend_from_slice(nonce.digits());
        call_id.extend_from_slice(b"@127.0.0.1");
        assert_eq!(nonce.parse(&call_id), Some(call));
        assert_eq!(RunNonce::new(1).parse(&call_id), None);
        for cut in 0..TOKEN_LEN + 9 {
            assert_eq!(nonce.parse(&call_id[..cut]), None);
        }
        for at in 0..TOKEN_LEN {
            for byte in 0..=u8::MAX {
                let mut other = call_id.clone();
                other[at] = byte;
                let is_digit = matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                assert_eq!(nonce.parse(&other).is_some(), is_digit, "{byte:#x}");
            }
        }
    }

    #[test]
    fn sixteen_digits_are_those_of_the_number() {
        let mut value = 1u64;
        for _ in 0..1000 {
            value = value.wrapping_mul(0x5851_f42d_4c95_7f2d).rotate_left(7);
            assert_eq!(hex16(value), format!("{value:016x}").as_bytes());
        }
    }
}

//! Call-IDs in a form of the user's choice (`-cid_str`, `-cid_type`).
//!
//! Our own form names the call's slot and needs no table. Any other is entered into the table of
//! foreign Call-IDs, so that a call is found by one hash.

use crate::decimal::{DIGITS_MAX, digits};
use crate::engine::Engine;
use crate::engine::call::Slot;
use crate::engine::call::ids::hex16;
use crate::engine::random::Random;

/// The form of Call-IDs of calls that we make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CallIdStyle {
    /// The engine's own form, found without a table.
    #[default]
    Own,
    /// A text with `%u` (call number), `%p` (process), `%s` (local address), `%r` (a random number)
    /// and `%%`.
    Format(Vec<u8>),
    /// RFC 9562, version 4, with hyphens.
    Uuid,
    /// RFC 9562, version 4, without hyphens.
    UuidCompact,
    /// 32 random hexadecimal digits.
    RandomHex,
    /// Microseconds of the wall clock and the call number.
    Timestamp,
}

/// The values behind the `%` letters of a format.
struct Parts<'a> {
    number: u64,
    pid: u32,
    host: &'a [u8],
    unix_us: u64,
}

fn decimal(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(digits(value, &mut [0; DIGITS_MAX]));
}

fn random_digits(random: &mut Random) -> [u8; 32] {
    let mut digits = [0; 32];
    digits[..16].copy_from_slice(&hex16(random.next_u64()));
    digits[16..].copy_from_slice(&hex16(random.next_u64()));
    digits
}

impl CallIdStyle {
    fn write(&self, parts: &Parts<'_>, random: &mut Random, out: &mut Vec<u8>) {
        match self {
            Self::Own => {}
            Self::Format(format) => {
                let mut bytes = format.iter().copied();
                while let Some(byte) = bytes.next() {
                    match (byte == b'%').then(|| bytes.next()).flatten() {
                        None => out.push(byte),
                        Some(b'u') => decimal(parts.number, out),
                        Some(b'p') => decimal(u64::from(parts.pid), out),
                        Some(b's') => out.extend_from_slice(parts.host),
                        Some(b'r') => decimal(random.next_u64() >> 33, out),
                        Some(b'%') => out.push(b'%'),
                        Some(other) => out.extend_from_slice(&[b'%', other]),
                    }
                }
            }
            Self::Uuid | Self::UuidCompact => {
                let mut digits = random_digits(random);
                // Version 4, variant 10.
                digits[12] = b'4';
                digits[16] = b"89ab"[usize::from(digits[16] & 3)];
                for (index, digit) in digits.iter().enumerate() {
                    if *self == Self::Uuid && matches!(index, 8 | 12 | 16 | 20) {
                        out.push(b'-');
                    }
                    out.push(*digit);
                }
            }
            Self::RandomHex => out.extend_from_slice(&random_digits(random)),
            Self::Timestamp => {
                decimal(parts.unix_us, out);
                out.push(b'-');
                decimal(parts.number, out);
                out.push(b'@');
                out.extend_from_slice(parts.host);
            }
        }
    }
}

impl Engine {
    /// Gives a new call of ours a Call-ID of the configured style; `false` if there is no room.
    pub(in crate::engine) fn give_call_id(&mut self, slot: Slot, now: u64) -> bool {
        if self.config.data.call_ids == CallIdStyle::Own {
            return true;
        }
        let mut call_id = std::mem::take(&mut self.buffers.scratch);
        call_id.clear();
        let bound = std::rc::Rc::clone(self.program_of(slot));
        let parts = Parts {
            number: self.calls[slot].number,
            pid: self.config.environment.pid,
            host: &bound.text.host,
            unix_us: (now + self.config.wall_offset_ns) / 1000,
        };
        self.config.data.call_ids.write(&parts, &mut self.random, &mut call_id);
        let hash = self.hasher.hash(self.call_key(&call_id));
        let stored = self.blobs.store(&call_id);
        self.buffers.scratch = call_id;
        let Some(stored) = stored else { return false };
        let call = &mut self.calls[slot];
        call.call_id = stored;
        call.hash = hash;
        call.foreign = true;
        // The slab and the table have the same capacity.
        self.map.insert(hash, slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(style: &CallIdStyle, number: u64) -> String {
        let parts = Parts { number, pid: 77, host: b"192.0.2.1", unix_us: 1_700_000_000_000_001 };
        let mut out = Vec::new();
        style.write(&parts, &mut Random::new(number), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn formats_are_sipps() {
        let format = |text: &str| written(&CallIdStyle::Format(text.as_bytes().to_vec()), 12);
        assert_eq!(format("%u-%p@%s"), "12-77@192.0.2.1");
        assert_eq!(format("a%%b%x%"), "a%b%x%");
        assert!(format("r%r").trim_start_matches('r').parse::<u32>().is_ok());
    }

    #[test]
    fn other_styles_have_their_form_and_do_not_repeat() {
        let uuid = written(&CallIdStyle::Uuid, 1);
        let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(&uuid[14..15], "4");
        assert!("89ab".contains(&uuid[19..20]));
        for style in [CallIdStyle::UuidCompact, CallIdStyle::RandomHex] {
            let text = written(&style, 1);
            assert!(text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()), "{text}");
            assert_ne!(text, written(&style, 2));
        }
        assert_eq!(written(&CallIdStyle::Timestamp, 9), "1700000000000001-9@192.0.2.1");
    }
}

//! Cache of the hashes of user, realm and password.
//!
//! A storm of registrations answers for the same few thousand users over and over; the first of the
//! three hashes of an answer is the same each time. The table is small, bounded and needs no
//! eviction: a new entry replaces the one in its place.

use std::hash::{BuildHasher, Hasher};

use super::hash::{Hash, Hex};

/// A bounded table of hashes. Entries are found by a keyed 128-bit hash of everything that goes
/// into them, so that a wrong hit is practically impossible.
pub struct Ha1Cache {
    low: foldhash::quality::FixedState,
    high: foldhash::quality::FixedState,
    /// The entries; allocated when the first answer is computed, since most runs never
    /// authenticate.
    entries: Vec<Option<Entry>>,
    capacity: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    key: [u64; 2],
    ha1: Hex,
}

impl Ha1Cache {
    /// A cache of at most `capacity` entries (at least one; rounded up to a power of two), keyed by
    /// `seed`.
    pub fn new(capacity: usize, seed: u64) -> Self {
        Self {
            low: foldhash::quality::FixedState::with_seed(seed),
            high: foldhash::quality::FixedState::with_seed(!seed.rotate_left(32)),
            entries: Vec::new(),
            capacity: capacity.clamp(1, 1 << 20).next_power_of_two(),
        }
    }

    /// The hash of `user:realm:password`.
    pub fn ha1(&mut self, hash: Hash, user: &[u8], realm: &[u8], password: &[u8]) -> Hex {
        let key = [&self.low, &self.high].map(|state| {
            let mut hasher = state.build_hasher();
            hasher.write_u8(hash as u8);
            for text in [user, realm, password] {
                hasher.write_usize(text.len());
                hasher.write(text);
            }
            hasher.finish()
        });
        if self.entries.is_empty() {
            self.entries.resize(self.capacity, None);
        }
        let entry = &mut self.entries[key[0] as usize & (self.capacity - 1)];
        match entry {
            Some(known) if known.key == key => known.ha1,
            _ => {
                let ha1 = hash.of(&[user, b":", realm, b":", password]);
                *entry = Some(Entry { key, ha1 });
                ha1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_and_misses_give_what_the_hash_gives() {
        let mut cache = Ha1Cache::new(2, 7);
        for _ in 0..3 {
            for hash in [Hash::Md5, Hash::Sha256, Hash::Sha512_256] {
                for user in ["a", "b", "c", "a:b"] {
                    for password in ["", "b:c", "x"] {
                        let cached = cache.ha1(hash, user.as_bytes(), b"r", password.as_bytes());
                        let text = format!("{user}:r:{password}");
                        assert_eq!(cached, hash.of(&[text.as_bytes()]));
                    }
                }
            }
        }
    }
}

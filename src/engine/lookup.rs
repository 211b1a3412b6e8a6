//! Finding calls by foreign Call-IDs: a hash table of fixed capacity, and the memory of ended
//! calls.
//!
//! Call-IDs that we generate carry their slot and need no table (`ids`). Foreign ones are hashed
//! with a random key to 128 bits: 32 of them select and tag a bucket here, all of them are compared
//! by the owner of the entry, so that a collision is out of reach even of a hostile peer.

use std::hash::{BuildHasher, Hasher};

use super::repetition::MARK_MASK;

/// A keyed 128-bit hash of a Call-ID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallIdHash {
    low: u64,
    high: u64,
}

impl CallIdHash {
    fn tag(self) -> u32 {
        self.low as u32
    }
}

/// Two independently keyed 64-bit hashes.
pub struct CallIdHasher {
    low: foldhash::quality::FixedState,
    high: foldhash::quality::FixedState,
}

impl CallIdHasher {
    /// A hasher keyed by `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            low: foldhash::quality::FixedState::with_seed(seed),
            high: foldhash::quality::FixedState::with_seed(seed.rotate_left(32) ^ 0x9e37_79b9),
        }
    }

    /// The hash of `call_id`.
    pub fn hash(&self, call_id: &[u8]) -> CallIdHash {
        CallIdHash { low: digest(&self.low, call_id), high: digest(&self.high, call_id) }
    }
}

fn digest(state: &foldhash::quality::FixedState, bytes: &[u8]) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

/// Open addressing with linear probing and backward-shift deletion: no tombstones, so that a soak
/// of days never needs a rehash.
pub struct CallMap {
    /// `(tag << 32) | value + 1`; 0 is empty.
    buckets: Vec<u64>,
    len: usize,
    capacity: usize,
}

impl CallMap {
    /// A table for `capacity` entries (values below 2^32 - 1).
    pub fn new(capacity: usize) -> Self {
        let buckets = (capacity.max(4) * 2).next_power_of_two();
        Self { buckets: vec![0; buckets], len: 0, capacity }
    }

    /// Entries in the table.
    pub fn len(&self) -> usize {
        self.len
    }

    /// `true` if there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first value under `hash` for which `matches` holds.
    pub fn find(&self, hash: CallIdHash, matches: impl Fn(u32) -> bool) -> Option<u32> {
        let mut index = self.home(hash.tag());
        loop {
            let bucket = self.buckets[index];
            if bucket == 0 {
                return None;
            }
            let value = (bucket as u32) - 1;
            if (bucket >> 32) as u32 == hash.tag() && matches(value) {
                return Some(value);
            }
            index = (index + 1) & self.mask();
        }
    }

    /// Adds `value` under `hash`. Returns `false` if the table is full.
    pub fn insert(&mut self, hash: CallIdHash, value: u32) -> bool {
        if self.len >= self.capacity {
            return false;
        }
        let mut index = self.home(hash.tag());
        while self.buckets[index] != 0 {
            index = (index + 1) & self.mask();
        }
        self.buckets[index] = u64::from(hash.tag()) << 32 | u64::from(value + 1);
        self.len += 1;
        true
    }

    /// Removes `value` under `hash`; `true` if it was there.
    pub fn remove(&mut self, hash: CallIdHash, value: u32) -> bool {
        let wanted = u64::from(hash.tag()) << 32 | u64::from(value + 1);
        let mut hole = self.home(hash.tag());
        loop {
            match self.buckets[hole] {
                0 => return false,
                bucket if bucket == wanted => break,
                _ => hole = (hole + 1) & self.mask(),
            }
        }
        self.len -= 1;
        let mut index = hole;
        loop {
            index = (index + 1) & self.mask();
            let bucket = self.buckets[index];
            if bucket == 0 {
                break;
            }
            // An entry may move into the hole only if its home does not lie behind the hole.
            let home = self.home((bucket >> 32) as u32);
            let from_home = index.wrapping_sub(home) & self.mask();
            let from_hole = index.wrapping_sub(hole) & self.mask();
            if from_home >= from_hole {
                self.buckets[hole] = bucket;
                hole = index;
            }
        }
        self.buckets[hole] = 0;
        true
    }

    fn mask(&self) -> usize {
        self.buckets.len() - 1
    }

    fn home(&self, tag: u32) -> usize {
        // The tag's bits are uniform; spread them when the table has more than 2^32 buckets never.
        tag as usize & self.mask()
    }
}

/// Ended calls with foreign Call-IDs, remembered for `-deadcall_wait` so that a late message is
/// counted as one and does not start a call. A ring: the wait is the same for all, so they expire
/// in the order in which they ended; when the ring is full the oldest is forgotten early.
///
/// Each keeps what tells the repetition of the request that ended it, if that is to be answered
/// again: in the low bits of its expiry, which are about a millisecond.
pub struct DeadCalls {
    /// Hash (low, high) and expiry. Zeroed memory: pages of an unused ring are never touched.
    ring: Vec<[u64; 3]>,
    map: CallMap,
    head: usize,
    len: usize,
}

impl DeadCalls {
    /// Memory for `capacity` ended calls.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { ring: vec![[0; 3]; capacity], map: CallMap::new(capacity), head: 0, len: 0 }
    }

    /// Remembers `hash` until `expiry_ns`, and what is `left` of the call; `true` if an older one
    /// had to be forgotten for it.
    pub fn remember(&mut self, hash: CallIdHash, expiry_ns: u64, now_ns: u64, left: u32) -> bool {
        self.expire(now_ns);
        let evicted = self.len == self.ring.len();
        if evicted {
            self.pop();
        }
        let slot = (self.head + self.len) % self.ring.len();
        let mark = u64::from(left & MARK_MASK);
        self.ring[slot] = [hash.low, hash.high, expiry_ns & !u64::from(MARK_MASK) | mark];
        self.map.insert(hash, slot as u32);
        self.len += 1;
        evicted
    }

    /// The mark left of a call of that hash that ended less than its wait ago.
    pub fn find(&mut self, hash: CallIdHash, now_ns: u64) -> Option<u32> {
        self.expire(now_ns);
        let slot = self.map.find(hash, |slot| self.hash_at(slot as usize) == hash)?;
        Some(self.ring[slot as usize][2] as u32 & MARK_MASK)
    }

    fn expire(&mut self, now_ns: u64) {
        while self.len > 0 && self.ring[self.head][2] & !u64::from(MARK_MASK) <= now_ns {
            self.pop();
        }
    }

    fn hash_at(&self, slot: usize) -> CallIdHash {
        let [low, high, _] = self.ring[slot];
        CallIdHash { low, high }
    }

    fn pop(&mut self) {
        let hash = self.hash_at(self.head);
        self.map.remove(hash, self.head as u32);
        self.head = (self.head + 1) % self.ring.len();
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    /// A hash with few distinct tags, so that clusters form and wrap.
    fn crowded(n: u32) -> CallIdHash {
        CallIdHash { low: u64::from(n % 7) | 0xffff_fff8, high: u64::from(n) }
    }

    proptest! {
        #[test]
        fn the_map_agrees_with_a_set(ops in proptest::collection::vec((any::<bool>(), 0..40u32), 1..400)) {
            let mut map = CallMap::new(64);
            let mut model = HashSet::new();
            for (add, value) in ops {
                if add {
                    if model.insert(value) { prop_assert!(map.insert(crowded(value), value)); }
                } else {
                    prop_assert_eq!(map.remove(crowded(value), value), model.remove(&value));
                }
                prop_assert_eq!(map.len(), model.len());
                for probe in 0..40 {
                    let found = map.find(crowded(probe), |v| v == probe);
                    prop_assert_eq!(found.is_some(), model.contains(&probe));
                }
            }
        }
    }

    #[test]
    fn a_full_map_refuses() {
        let mut map = CallMap::new(4);
        let hasher = CallIdHasher::new(1);
        for value in 0..4u32 {
            assert!(map.insert(hasher.hash(&value.to_le_bytes()), value));
        }
        assert!(!map.insert(hasher.hash(b"x"), 9));
    }

    #[test]
    fn dead_calls_expire_and_are_evicted_in_order() {
        let hasher = CallIdHasher::new(3);
        let mut dead = DeadCalls::new(2);
        let [a, b, c, d] = [b"a", b"b", b"c", b"d"].map(|id| hasher.hash(id));
        let at = |millisecond: u64| millisecond << 20;
        assert!(!dead.remember(a, at(100), 0, 7));
        assert!(!dead.remember(b, at(200) + 5, 0, 0));
        assert_eq!(dead.find(a, at(100) - 1), Some(7));
        assert_eq!(dead.find(a, at(100)), None);
        assert_eq!(dead.find(b, at(100)), Some(0));
        assert!(!dead.remember(c, at(300), at(100), MARK_MASK));
        assert!(dead.remember(d, at(400), at(100), 1));
        assert_eq!(dead.find(b, at(100)), None);
        assert_eq!(dead.find(c, at(100)), Some(MARK_MASK));
        assert_eq!(dead.find(d, at(100)), Some(1));
    }
}

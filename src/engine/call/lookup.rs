//! Finding calls by foreign Call-IDs: a hash table of fixed capacity, and the memory of ended
//! calls. Both reserve address space for their capacity, and touch only the part that they use.
//!
//! Call-IDs that we generate carry their slot and need no table (`ids`). Foreign ones are hashed
//! with a random key to 128 bits: 32 of them select and tag a bucket here, all of them are compared
//! by the owner of the entry, so that a collision is out of reach even of a hostile peer.

use std::hash::{BuildHasher, Hasher};

use crate::engine::dialog::repetition::MARK_MASK;

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

/// A hash table of chains that grows by one bucket with each entry beyond the most so far (linear
/// hashing). There is no pause for a rehash, however many entries come. The touched memory follows
/// the largest number of entries at one time; a few entries do not touch the whole table.
pub struct CallMap {
    /// The first link of each chain: `(tag << 32) | value + 1`; 0 means none.
    heads: Vec<u64>,
    /// The link that follows the one of each value.
    next: Vec<u64>,
    /// Chains in use, from the first on.
    used: usize,
    len: usize,
    capacity: usize,
}

/// Bytes of an entry: the head of a chain and a link.
pub(in crate::engine) const LINK_BYTES: usize = 2 * size_of::<u64>();

/// The place of a link: the head of a chain, or behind a value.
#[derive(Clone, Copy)]
enum Place {
    Head(usize),
    Behind(u32),
}

impl CallMap {
    /// A table for `capacity` entries, whose values are below `capacity`.
    pub fn new(capacity: usize) -> Self {
        // Zeroed memory: pages that no entry reaches are never touched.
        let [heads, next] = [vec![0; capacity.max(1)], vec![0; capacity.max(1)]];
        Self { heads, next, used: 1, len: 0, capacity }
    }

    /// Entries in the table.
    pub fn len(&self) -> usize {
        self.len
    }

    /// `true` if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Chains that were ever used.
    pub fn reach(&self) -> usize {
        self.used
    }

    /// Returns the first value under `hash` for which `matches` holds: the oldest, if several do.
    pub fn find(&self, hash: CallIdHash, matches: impl Fn(u32) -> bool) -> Option<u32> {
        let mut link = self.heads[self.home(hash.tag())];
        while link != 0 {
            let value = value_of(link);
            if tag_of(link) == hash.tag() && matches(value) {
                return Some(value);
            }
            link = self.next[value as usize];
        }
        None
    }

    /// Adds `value` under `hash`. Returns `false` if the table is full.
    pub fn insert(&mut self, hash: CallIdHash, value: u32) -> bool {
        if self.len >= self.capacity {
            return false;
        }
        self.append(hash.tag(), value);
        self.len += 1;
        if self.len > self.used && self.used < self.heads.len() {
            self.split();
        }
        true
    }

    /// Removes `value` under `hash`; `true` if it was there.
    pub fn remove(&mut self, hash: CallIdHash, value: u32) -> bool {
        let wanted = link_to(hash.tag(), value);
        let mut place = Place::Head(self.home(hash.tag()));
        loop {
            match self.link(place) {
                0 => return false,
                link if link == wanted => break,
                link => place = Place::Behind(value_of(link)),
            }
        }
        self.set(place, self.next[value as usize]);
        self.len -= 1;
        true
    }

    /// Puts an entry at the end of its chain.
    fn append(&mut self, tag: u32, value: u32) {
        let mut place = Place::Head(self.home(tag));
        loop {
            match self.link(place) {
                0 => break,
                link => place = Place::Behind(value_of(link)),
            }
        }
        self.next[value as usize] = 0;
        self.set(place, link_to(tag, value));
    }

    /// Takes one more chain into use; its entries come from the chain that held them before.
    fn split(&mut self) {
        let new = self.used;
        self.used += 1;
        let old = new & (self.mask() >> 1);
        let mut link = std::mem::take(&mut self.heads[old]);
        while link != 0 {
            let after = self.next[value_of(link) as usize];
            self.append(tag_of(link), value_of(link));
            link = after;
        }
    }

    fn link(&self, place: Place) -> u64 {
        match place {
            Place::Head(chain) => self.heads[chain],
            Place::Behind(value) => self.next[value as usize],
        }
    }

    fn set(&mut self, place: Place, link: u64) {
        match place {
            Place::Head(chain) => self.heads[chain] = link,
            Place::Behind(value) => self.next[value as usize] = link,
        }
    }

    fn mask(&self) -> usize {
        self.used.next_power_of_two() - 1
    }

    /// The chain of a tag: its lowest bits, one bit less where that chain is not in use yet.
    fn home(&self, tag: u32) -> usize {
        let mask = self.mask();
        let chain = tag as usize & mask;
        if chain < self.used { chain } else { chain & (mask >> 1) }
    }
}

fn link_to(tag: u32, value: u32) -> u64 {
    u64::from(tag) << 32 | u64::from(value + 1)
}

fn tag_of(link: u64) -> u32 {
    (link >> 32) as u32
}

fn value_of(link: u64) -> u32 {
    (link as u32) - 1
}

/// Bytes of an ended call: its slot and its place in the table.
pub(in crate::engine) const ENDED_BYTES: usize = size_of::<[u64; 4]>() + LINK_BYTES;
/// The end of a list of ended calls.
const NONE: u64 = u64::MAX;

/// Ended calls with foreign Call-IDs, remembered for `-deadcall_wait`. A late message of such a
/// call is counted as one and does not start a call. The wait is the same for all, so they expire
/// in the order in which they ended; when there is no room the oldest is forgotten early.
///
/// A queue through slots that are reused last-in first-out. A ring would touch all of its memory
/// before it reused any, which takes a day at a low rate and looks like a leak.
///
/// Each entry keeps a mark that identifies the repetition of the request that ended the call, if
/// that is to be answered again. The mark stands in the low bits of the expiry, which are about a
/// millisecond.
pub struct DeadCalls {
    /// Hash (low, high), expiry, and the slot behind it in the queue or in the free list. Zeroed
    /// memory: slots from `reach` on were never touched.
    slots: Vec<[u64; 4]>,
    map: CallMap,
    oldest: u64,
    newest: u64,
    free: u64,
    reach: usize,
    len: usize,
}

impl DeadCalls {
    /// Memory for `capacity` ended calls.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            slots: vec![[0; 4]; capacity],
            map: CallMap::new(capacity),
            oldest: NONE,
            newest: NONE,
            free: NONE,
            reach: 0,
            len: 0,
        }
    }

    /// Slots that were ever used.
    pub fn reach(&self) -> usize {
        self.reach
    }

    /// Remembers `hash` until `expiry_ns`, with the mark `left` of the call; `true` if an older one
    /// had to be forgotten for it.
    pub fn remember(&mut self, hash: CallIdHash, expiry_ns: u64, now_ns: u64, left: u32) -> bool {
        self.expire(now_ns);
        let evicted = self.len == self.slots.len();
        if evicted {
            self.pop();
        }
        let slot = self.take_slot();
        let mark = u64::from(left & MARK_MASK);
        self.slots[slot] = [hash.low, hash.high, expiry_ns & !u64::from(MARK_MASK) | mark, NONE];
        match self.newest {
            NONE => self.oldest = slot as u64,
            newest => self.slots[newest as usize][3] = slot as u64,
        }
        self.newest = slot as u64;
        self.map.insert(hash, slot as u32);
        self.len += 1;
        evicted
    }

    /// Returns the mark of a call of that hash whose wait has not yet expired.
    pub fn find(&mut self, hash: CallIdHash, now_ns: u64) -> Option<u32> {
        self.expire(now_ns);
        let slot = self.map.find(hash, |slot| self.hash_at(slot as usize) == hash)?;
        Some(self.slots[slot as usize][2] as u32 & MARK_MASK)
    }

    fn expire(&mut self, now_ns: u64) {
        while self.oldest != NONE
            && self.slots[self.oldest as usize][2] & !u64::from(MARK_MASK) <= now_ns
        {
            self.pop();
        }
    }

    fn hash_at(&self, slot: usize) -> CallIdHash {
        let [low, high, ..] = self.slots[slot];
        CallIdHash { low, high }
    }

    /// Takes a slot for one more entry; the caller has checked that there is room.
    fn take_slot(&mut self) -> usize {
        if self.free == NONE {
            self.reach += 1;
            return self.reach - 1;
        }
        let slot = self.free as usize;
        self.free = self.slots[slot][3];
        slot
    }

    /// Forgets the oldest entry; the caller has checked that there is one.
    fn pop(&mut self) {
        let slot = self.oldest as usize;
        self.map.remove(self.hash_at(slot), slot as u32);
        self.oldest = std::mem::replace(&mut self.slots[slot][3], self.free);
        if self.oldest == NONE {
            self.newest = NONE;
        }
        self.free = slot as u64;
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

    #[test]
    fn the_oldest_of_one_hash_is_found_first() {
        let mut map = CallMap::new(64);
        let same = CallIdHasher::new(5).hash(b"same");
        (0..60).for_each(|value| assert!(map.insert(same, value)));
        assert_eq!(map.find(same, |_| true), Some(0));
        assert!(map.remove(same, 0));
        assert!(!map.remove(same, 0));
        assert_eq!(map.find(same, |_| true), Some(1));
    }

    #[test]
    fn many_ended_calls_reach_as_far_as_those_that_are_remembered_at_once() {
        let hasher = CallIdHasher::new(7);
        let mut dead = DeadCalls::new(1 << 22);
        let wait_ns = 100 << 20;
        for call in 0..200_000u64 {
            // One each "millisecond", so that a hundred are remembered.
            let now_ns = call << 20;
            let hash = hasher.hash(&call.to_le_bytes());
            assert!(!dead.remember(hash, now_ns + wait_ns, now_ns, 0));
        }
        assert!(dead.reach() <= 101, "{} slots", dead.reach());
        assert!(dead.map.reach() <= 101, "{} chains", dead.map.reach());
    }

    #[test]
    fn many_calls_reach_as_far_in_the_table_as_those_that_are_open_at_once() {
        let hasher = CallIdHasher::new(9);
        let mut map = CallMap::new(1 << 20);
        let hash = |call: u32| hasher.hash(&call.to_le_bytes());
        (0..100).for_each(|call| assert!(map.insert(hash(call), call)));
        for call in 100..200_000 {
            assert!(map.remove(hash(call - 100), (call - 100) % 100));
            assert!(map.insert(hash(call), call % 100));
        }
        assert_eq!((map.len(), map.reach()), (100, 100));
    }
}

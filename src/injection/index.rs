//! Index of rows by the text of one column: a hash table of row numbers with open addressing. Keys
//! stay in the file.

use std::hash::{BuildHasher, Hasher};

/// Hash table from the text of a column to the row.
pub(super) struct Index {
    /// Row + 1, or 0 if the bucket is empty. The number of buckets is a power of two, and at least
    /// twice that of rows.
    buckets: Vec<u32>,
    field: u16,
    hasher: foldhash::quality::FixedState,
}

impl Index {
    pub(super) fn new(rows: usize, field: u16) -> Self {
        let buckets = (rows.max(4) * 2).next_power_of_two();
        // The keys are the user's own: collisions on purpose would only harm the user.
        let hasher = foldhash::quality::FixedState::with_seed(0x1ed);
        Self { buckets: vec![0; buckets], field, hasher }
    }

    pub(super) fn field(&self) -> u16 {
        self.field
    }

    /// Adds `row`; it replaces an earlier row with the same key, as in SIPp.
    pub(super) fn insert<'b>(&mut self, row: u32, key: impl Fn(u32) -> &'b [u8]) {
        let bucket = self.bucket(key(row), &key);
        self.buckets[bucket] = row + 1;
    }

    pub(super) fn find<'b>(&self, wanted: &[u8], key: impl Fn(u32) -> &'b [u8]) -> Option<u32> {
        self.buckets[self.bucket(wanted, &key)].checked_sub(1)
    }

    /// The bucket of `wanted`, or the free one in which it would be stored.
    fn bucket<'b>(&self, wanted: &[u8], key: &impl Fn(u32) -> &'b [u8]) -> usize {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(wanted);
        let mask = self.buckets.len() - 1;
        let mut at = hasher.finish() as usize & mask;
        loop {
            match self.buckets[at].checked_sub(1) {
                None => return at,
                Some(row) if key(row) == wanted => return at,
                Some(_) => at = (at + 1) & mask,
            }
        }
    }
}

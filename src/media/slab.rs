//! Rows that are used again: memory is taken as rows are first used, up to a limit.

use gossipper_uring::sys;

/// A table of rows, each free or in use. The row given back last is the next one taken, so that
/// what is touched follows what is live.
#[derive(Debug)]
pub(super) struct Slab<T> {
    rows: Vec<T>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(super) fn new(rows_max: usize) -> Self {
        Self { rows: Vec::with_capacity(rows_max), free: Vec::with_capacity(rows_max) }
    }

    /// Takes a row into use; a row that was used before is as `make` makes it, too. `None` if all
    /// are in use.
    pub(super) fn insert(&mut self, make: impl FnOnce(u32) -> T) -> Option<u32> {
        if let Some(index) = self.free.pop() {
            self.rows[index as usize] = make(index);
            return Some(index);
        }
        if self.rows.len() == self.rows.capacity() {
            return None;
        }
        let index = self.rows.len() as u32;
        self.rows.push(make(index));
        Some(index)
    }

    /// Makes a row free. Its contents stay until it is used again.
    pub(super) fn remove(&mut self, index: u32) {
        self.free.push(index);
    }

    /// The rows in use.
    pub(super) fn len(&self) -> usize {
        self.rows.len() - self.free.len()
    }

    /// Begins to fetch a row into the cache; does nothing for one that is not there.
    pub(super) fn prefetch(&self, index: u32) {
        if let Some(row) = self.get(index) {
            sys::prefetch(row);
        }
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.rows.get(index as usize)
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        &self.rows[index as usize]
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.rows[index as usize]
    }
}

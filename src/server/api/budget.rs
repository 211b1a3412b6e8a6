//! The memory that large bodies share, and large responses in another budget.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a body or a response that are not counted: small ones get through whatever else is
/// held. The number of connections bounds them.
pub(super) const SMALL_BYTES_MAX: usize = 64 << 10;

/// Bytes that all holders of a budget may have in memory together, beyond the small ones.
pub(super) const HELD_BYTES_MAX: usize = 64 << 20;

/// A number of bytes that several holders share. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Semaphore>);

/// A part of a budget, given back when it is dropped.
pub(super) type Share = OwnedSemaphorePermit;

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(HELD_BYTES_MAX)))
    }
}

impl Budget {
    /// The number of free bytes.
    pub(super) fn free(&self) -> usize {
        self.0.available_permits()
    }

    /// Takes `bytes`; `None` if that many are not free.
    pub(super) fn take(&self, bytes: usize) -> Option<Share> {
        Arc::clone(&self.0).try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()
    }
}

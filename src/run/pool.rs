//! The pool of open calls of a run: how many there may be, and what they take.
//!
//! A size that somebody asked for fits or is refused. A default takes its part of what nobody was
//! promised, down to a least number of calls.

use super::memory::Promise;
use super::{RunError, memory};
use crate::config::{ConcurrencyLimit, RunConfig};
use crate::engine::ids::SLOTS_MAX;
use crate::engine::{ENDED_CALL_BYTES, Footprint};

/// Calls in the pool of a run that sets no limit.
const POOL_DEFAULT: u64 = 1_000_000;
/// Calls that such a pool has room for at least, however little memory there is.
const POOL_LEAST: u64 = 1_000;
/// Calls beyond `-l` that the pool holds, for failed calls that still end their dialogs.
const POOL_SLACK: u64 = 1_000;
/// Calls in the pool of a run whose limit follows the rate, at least.
const POOL_FOR_KEYS: u64 = 100_000;
/// Bytes of the texts that a held call keeps at most in the usual scenarios, for sizing.
pub(super) const TEXT_BYTES: u64 = 2_048;
/// Bytes for texts that a worker has at least: a few calls may have large messages.
pub(super) const TEXTS_LEAST: u64 = 8 << 20;
/// A default pool of an engine beside the primary one takes one of so many parts of the memory that
/// is left. There may be 15 of the configuration and 32 of clients: the last finds a third of it.
pub(crate) const BESIDE_PART: u64 = 48;
/// Ended calls that are remembered for each call of the pool, where calls are answered.
pub(super) const ENDED_PER_CALL: u64 = 4;

/// The terms on which a process has a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// A pool that nobody asked for takes at most one of so many parts of the memory that is left.
    pub(crate) part: u64,
    /// A reload of the configuration may raise the number of calls in all.
    pub(crate) total_may_grow: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self { part: 2, total_may_grow: false }
    }
}

/// The grounds from which the size of a pool follows.
pub(super) struct Sizing<'c> {
    pub(super) config: &'c RunConfig,
    /// Calls that the run will make or answer, if there is an end that no reload can move.
    pub(super) calls_total: Option<u64>,
    /// The limit of open calls, if it bounds all of them.
    pub(super) concurrent_max: Option<u64>,
    /// Bytes of each call.
    pub(super) of_call: u64,
    /// A default takes one of so many parts of the memory that is left.
    pub(super) part: u64,
    /// Workers that the run has beside its calls.
    pub(super) workers: u64,
}

/// Bytes of each call of programs, with its texts; and those of ended calls, where calls are
/// answered.
pub(super) fn call_bytes(footprint: Footprint, answers: bool) -> u64 {
    let ended = if answers { ENDED_PER_CALL * ENDED_CALL_BYTES } else { 0 };
    TEXT_BYTES + footprint.call_bytes() + ended
}

/// Bytes that a pool of so many calls takes at most in the usual scenarios.
pub(crate) fn pool_bytes(calls: u64) -> u64 {
    calls.saturating_mul(call_bytes(Footprint::default(), true))
}

impl Sizing<'_> {
    /// Size of the pool over all workers, checked against memory; and what it was promised already,
    /// if nobody asked for it.
    ///
    /// # Errors
    /// The need for which there is not enough memory, with the option to lower.
    pub(super) fn pool(&self) -> Result<(u64, Promise), RunError> {
        let (pool, reserved) = match self.asked() {
            Some(pool) => (self.check_asked(pool)?, Promise::default()),
            None => memory::reserve(|room| self.default_within(room))?,
        };
        if pool > SLOTS_MAX as u64 {
            return Err(RunError::Limit {
                what: "the call pool".to_owned(),
                needed: format!("{pool} calls"),
                limit: format!("{SLOTS_MAX} per worker"),
                hint: "lower -l, -users or -max_calls".to_owned(),
            });
        }
        // Whether there is room for workers too, the promise says.
        if memory::is_reservable(self.bytes(pool)) {
            return Ok((pool, reserved));
        }
        Err(RunError::Limit {
            what: format!("a pool of {pool} open calls"),
            needed: format!("{} MiB of address space", mib(self.bytes(pool))),
            limit: "what the system grants".to_owned(),
            hint: "lower -l, -users or -max_calls, or see `ulimit -v` and vm.overcommit_memory"
                .to_owned(),
        })
    }

    /// Calls that somebody asked for.
    fn asked(&self) -> Option<u64> {
        let config = self.config;
        let with_slack = |calls: u64| calls.saturating_add(calls / 4 + POOL_SLACK);
        let pool = match (config.max_calls, self.concurrent_max, config.users) {
            (Some(calls), _, _) => calls,
            // The limit follows the rate, which keys may raise.
            (None, Some(limit), _) if config.concurrent_max == ConcurrencyLimit::SippRule => {
                with_slack(limit).max(POOL_FOR_KEYS.min(self.affordable(2)))
            }
            (None, Some(limit), _) => with_slack(limit),
            (None, None, Some(users)) => with_slack(users),
            (None, None, None) => return None,
        };
        Some(self.at_most_all(pool))
    }

    /// Not more than there will be in all.
    fn at_most_all(&self, pool: u64) -> u64 {
        self.calls_total.map_or(pool, |total| pool.min(total.max(1))).max(1)
    }

    fn check_asked(&self, pool: u64) -> Result<u64, RunError> {
        // What needs no more than the least default is left to the promise, which is exact.
        let affordable = self.affordable(2).max(POOL_LEAST);
        if pool <= affordable {
            return Ok(pool);
        }
        Err(RunError::Limit {
            what: format!("a pool of {pool} open calls"),
            needed: format!("{} MiB of memory", mib(self.bytes(pool))),
            limit: format!("half of the available memory, {} MiB,", mib(memory::free_bytes()) / 2),
            hint: format!(
                "lower max_concurrent (-l), users (-users) or -max_calls to at most {affordable}"
            ),
        })
    }

    /// A pool that nobody asked for, where so many bytes are left; and the bytes that it takes with
    /// the workers of the run.
    ///
    /// # Errors
    /// If not even the least pool fits.
    pub(super) fn default_within(&self, room: u64) -> Result<(u64, u64), RunError> {
        let of_workers = self.workers.saturating_mul(memory::WORKER_BYTES);
        let room = room.saturating_sub(of_workers);
        let least = self.at_most_all(POOL_LEAST);
        if self.bytes(least) > room {
            return Err(RunError::Limit {
                what: format!(
                    "a pool of {least} open calls, the least without max_concurrent (-l),"
                ),
                needed: format!("{} MiB of memory", mib(self.bytes(least))),
                limit: format!("{} MiB, what is left beside its workers,", mib(room)),
                hint: "set max_concurrent (-l), lower -workers, or end other engines, which were \
                       promised memory"
                    .to_owned(),
            });
        }
        let affordable = room / self.part.max(1) / self.of_call.max(1);
        let mut pool = self.at_most_all(POOL_DEFAULT.min(affordable)).max(least);
        let fits = |pool| {
            let bytes = self.bytes(pool);
            bytes <= room && memory::is_reservable_beside_workers(bytes, self.workers)
        };
        while pool > least && !fits(pool) {
            pool = (pool / 2).max(least);
        }
        Ok((pool, self.bytes(pool).saturating_add(of_workers)))
    }

    /// Calls that fit into one of so many parts of what is left.
    fn affordable(&self, part: u64) -> u64 {
        memory::free_bytes() / part.max(1) / self.of_call.max(1)
    }

    fn bytes(&self, pool: u64) -> u64 {
        let workers = self.workers.max(1);
        let texts = pool.div_ceil(workers).saturating_mul(TEXT_BYTES).max(TEXTS_LEAST);
        let others = pool.saturating_mul(self.of_call.saturating_sub(TEXT_BYTES));
        others.saturating_add(workers.saturating_mul(texts))
    }
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

//! The pool of open calls of a run: its size and its memory.
//!
//! A size that the user set fits or is refused. A default takes its part of the unpromised memory,
//! down to a minimum of calls.

use super::memory::Promise;
use super::{RunError, memory};
use crate::config::{ConcurrencyLimit, RunConfig};
use crate::engine::ids::SLOTS_MAX;
use crate::engine::{ENDED_CALL_BYTES, Footprint};

/// Calls in the pool of a run without a limit.
const POOL_DEFAULT: u64 = 1_000_000;
/// Least calls in such a pool, even with little memory.
const POOL_LEAST: u64 = 1_000;
/// Calls beyond `-l` that the pool holds, for failed calls that still end their dialogs.
const POOL_SLACK: u64 = 1_000;
/// Least calls in the pool of a run whose limit follows the rate.
const POOL_FOR_KEYS: u64 = 100_000;
/// Most bytes of texts of an open call in the usual scenarios, for sizing.
pub(super) const TEXT_BYTES: u64 = 2_048;
/// Least bytes of texts per worker: a few calls may have large messages.
pub(super) const TEXTS_LEAST: u64 = 8 << 20;
/// The divisor for the default pool of an engine beside the primary one, which takes 1/48 of the
/// memory that is left. There may be 15 such engines of the configuration and 32 of clients: the
/// last one finds a third of the memory.
pub(crate) const BESIDE_PART: u64 = 48;
/// Ended calls that are remembered for each call of the pool, if calls are answered.
pub(super) const ENDED_PER_CALL: u64 = 4;

/// The terms that a process sets for a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// The divisor for a pool of default size, which takes at most 1/`part` of the memory that is
    /// left.
    pub(crate) part: u64,
    /// True if a reload of the configuration may raise the total number of calls.
    pub(crate) total_may_grow: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self { part: 2, total_may_grow: false }
    }
}

/// The inputs for the size of a pool.
pub(super) struct Sizing<'c> {
    pub(super) config: &'c RunConfig,
    /// Calls that the run will make or answer, if that number is limited and no reload can change
    /// it.
    pub(super) calls_total: Option<u64>,
    /// The limit of open calls, if it covers all of them.
    pub(super) concurrent_max: Option<u64>,
    /// Bytes of each call.
    pub(super) of_call: u64,
    /// The divisor for a pool of default size.
    pub(super) part: u64,
    /// Number of workers of the run.
    pub(super) workers: u64,
}

/// Bytes of each call of the programs, with its texts, and bytes of ended calls, if calls are
/// answered.
pub(super) fn call_bytes(footprint: Footprint, answers: bool) -> u64 {
    let ended = if answers { ENDED_PER_CALL * ENDED_CALL_BYTES } else { 0 };
    TEXT_BYTES + footprint.call_bytes() + ended
}

/// Most bytes of a pool of so many calls in the usual scenarios.
pub(crate) fn pool_bytes(calls: u64) -> u64 {
    calls.saturating_mul(call_bytes(Footprint::default(), true))
}

impl Sizing<'_> {
    /// Returns the size of the pool over all workers, checked against memory, and the promise that
    /// a default size already has.
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
                hint: format!("lower {}", self.knobs("-l, -users or -max_calls")),
            });
        }
        // The promise checks that there is room for workers too.
        if memory::is_reservable(self.bytes(pool)) {
            return Ok((pool, reserved));
        }
        Err(RunError::Limit {
            what: format!("a pool of {pool} open calls"),
            needed: format!("{} MiB of address space", mib(self.bytes(pool))),
            limit: "what the system grants".to_owned(),
            hint: format!(
                "lower {}, or see `ulimit -v` and vm.overcommit_memory",
                self.knobs("-l, -users or -max_calls")
            ),
        })
    }

    /// The settings that say how many calls are open, `usual` ones unless calls are streams.
    fn knobs(&self, usual: &'static str) -> &'static str {
        if self.config.rtp_send.is_some() { "-rtp_streams" } else { usual }
    }

    /// The number of calls that the settings require.
    fn asked(&self) -> Option<u64> {
        let config = self.config;
        let with_slack = |calls: u64| calls.saturating_add(calls / 4 + POOL_SLACK);
        let pool = match (config.pool_calls, self.concurrent_max, config.users) {
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

    /// Limits a pool to the total number of calls.
    fn at_most_all(&self, pool: u64) -> u64 {
        self.calls_total.map_or(pool, |total| pool.min(total.max(1))).max(1)
    }

    fn check_asked(&self, pool: u64) -> Result<u64, RunError> {
        // A pool up to the minimum is left to the promise, which is exact.
        let affordable = self.affordable(2).max(POOL_LEAST);
        if pool <= affordable {
            return Ok(pool);
        }
        Err(RunError::Limit {
            what: format!("a pool of {pool} open calls"),
            needed: format!("{} MiB of memory", mib(self.bytes(pool))),
            limit: format!("half of the available memory, {} MiB,", mib(memory::free_bytes()) / 2),
            hint: format!(
                "lower {} to at most {affordable}",
                self.knobs("max_concurrent (-l), users (-users) or -max_calls")
            ),
        })
    }

    /// The size of a default pool if `room` bytes are left, and its bytes, the workers of the run
    /// included.
    ///
    /// # Errors
    /// Not even the minimal pool fits.
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
                limit: format!("{} MiB, the rest after its workers,", mib(room)),
                hint:
                    "set max_concurrent (-l), lower -workers, or end other engines to free their \
                     memory"
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

    /// Number of calls that fit into the given part of the memory that is left.
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

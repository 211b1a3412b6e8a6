//! Memory that the numbers of a run make it take, judged before any of it is taken.
//!
//! What was asked for (users, open calls, workers, sockets) is added up over the listeners of a run
//! and over all runs of the process: each has been promised what it asked for, and may come to use
//! it at any time. Defaults ask for nothing; they shrink to what is there (`plan::pool`).

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gossipper_uring::sys;
use rustix::process::{Resource, getrlimit};

use super::RunError;
use super::plan::{Plan, pool_bytes};
use crate::config::{ConcurrencyLimit, RunConfig};

/// Bytes of a user: its place in the queue of users who make no call, which grows by doubling.
const USER_BYTES: u64 = 32;
/// Bytes of each variable of a user.
const USER_VALUE_BYTES: u64 = 24;
/// Bytes of a worker that has nothing to do yet: a third more than was measured.
const WORKER_BYTES: u64 = 6 << 20;
/// Address space of a worker: buffers of its driver and of the kernel, most of them never used.
const WORKER_SPACE_BYTES: u64 = 80 << 20;
/// Bytes of a socket or connection: its places in the tables of driver and engine.
const SOCKET_BYTES: u64 = 512;

/// Promised to all runs of this process.
static PROMISED: Mutex<u64> = Mutex::new(0);

/// Bytes that a run was promised, until this is dropped.
#[derive(Debug, Default)]
pub(super) struct Promise {
    bytes: u64,
    /// Bytes of each user.
    of_user: u64,
}

/// Something that is asked for.
struct Need {
    what: String,
    bytes: u64,
    hint: &'static str,
}

impl Promise {
    /// Promises what a run with these plans, one for each listener, asks for.
    ///
    /// # Errors
    /// The greatest of its needs, if there is not that much.
    pub(super) fn of<'p>(
        config: &RunConfig,
        plans: impl ExactSizeIterator<Item = &'p Plan>,
    ) -> Result<Self, RunError> {
        let mut promise = Self { bytes: 0, of_user: USER_BYTES };
        let mut needs: Vec<Need> = Vec::new();
        let listeners = plans.len() as u64;
        let (mut calls, mut workers, mut sockets) = (0_u64, 0_u64, 0_u64);
        for plan in plans {
            let launch = &plan.launch;
            let of_plan = launch.workers as u64;
            let values = launch.programs.all().map(|program| program.user_variables.len());
            promise.of_user = USER_BYTES + USER_VALUE_BYTES * values.max().unwrap_or(0) as u64;
            workers += of_plan;
            calls += of_plan * launch.engine.calls_max as u64;
            let of_worker = launch.driver.sockets_max + launch.driver.streams_max;
            sockets += of_plan * of_worker as u64;
        }
        if let Some(users) = config.users {
            needs.push(Need {
                what: format!("-users {users}"),
                bytes: users.saturating_mul(promise.of_user).saturating_mul(listeners),
                hint: "lower users (-users)",
            });
        }
        let is_asked = config.max_calls.is_some()
            || config.users.is_some()
            || matches!(config.concurrent_max, ConcurrencyLimit::Count(_));
        if is_asked {
            needs.push(Need {
                what: format!("a pool of {calls} open calls"),
                bytes: pool_bytes(calls),
                hint: "lower max_concurrent (-l), users (-users) or -max_calls",
            });
            needs.push(Need {
                what: format!("{sockets} places for sockets and connections"),
                bytes: sockets.saturating_mul(SOCKET_BYTES),
                hint: "lower -max_socket or max_concurrent (-l)",
            });
        }
        needs.push(Need {
            what: match listeners {
                1 => format!("-workers {workers}"),
                _ => format!("{workers} workers for {listeners} listeners"),
            },
            bytes: workers.saturating_mul(WORKER_BYTES),
            hint: "lower -workers, or listen in fewer places (listeners)",
        });
        let bytes = needs.iter().fold(0_u64, |sum, need| sum.saturating_add(need.bytes));
        match promise.grow(bytes, workers.saturating_mul(WORKER_SPACE_BYTES)) {
            Ok(()) => Ok(promise),
            Err(room) => Err(refusal(&needs, bytes, room)),
        }
    }

    /// Promises more, for `users` more users.
    ///
    /// # Errors
    /// A sentence, if there is not that much.
    pub(super) fn grow_by_users(&mut self, users: u64) -> Result<(), &'static str> {
        let grown = self.grow(users.saturating_mul(self.of_user), 0);
        grown.map_err(|_| "there is not enough memory for so many users; lower users (-users)")
    }

    /// Promises `bytes` more, for which `space` more of address space is taken; `Err` is what there
    /// is.
    fn grow(&mut self, bytes: u64, space: u64) -> Result<(), u64> {
        let mut promised = promised();
        let room = room(*promised);
        let limit = getrlimit(Resource::As).current;
        let space = if limit.is_some() { space } else { 0 };
        if bytes > room || !is_reservable(bytes.saturating_add(space)) {
            return Err(room);
        }
        *promised += bytes;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let mut promised = promised();
        *promised = promised.saturating_sub(self.bytes);
    }
}

/// Bytes that defaults may count on.
pub(super) fn free_bytes() -> u64 {
    room(*promised())
}

fn promised() -> MutexGuard<'static, u64> {
    PROMISED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes that are left where so much is promised. What is in use by now was promised before.
fn room(promised: u64) -> u64 {
    let available = sys::available_memory_bytes().unwrap_or(u64::MAX);
    available.saturating_sub(promised.saturating_sub(resident_bytes()))
}

/// Bytes of this process that are in memory.
fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0).saturating_mul(rustix::param::page_size() as u64)
}

/// Tells whether so much address space can be reserved (its pages are committed only when they are
/// used), so that a limit on it is noticed before the first call and not as the end of the process.
pub(super) fn is_reservable(bytes: u64) -> bool {
    let mut probe: Vec<u8> = Vec::new();
    let reserved = usize::try_from(bytes).is_ok_and(|bytes| probe.try_reserve_exact(bytes).is_ok());
    // Without this the compiler may drop an allocation that nobody uses.
    std::hint::black_box(&probe);
    reserved
}

fn refusal(needs: &[Need], bytes: u64, room: u64) -> RunError {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let greatest = needs.iter().max_by_key(|need| need.bytes);
    let (what, own, hint) =
        greatest.map_or(("the run", bytes, ""), |need| (need.what.as_str(), need.bytes, need.hint));
    let limit = match bytes > room {
        true => format!("{} MiB of memory that nobody else was promised", mib(room)),
        false => "the address space that the system grants (`ulimit -v`)".to_owned(),
    };
    RunError::Limit {
        what: what.to_owned(),
        needed: format!("{} MiB of memory, of {} MiB in all", mib(own), mib(bytes)),
        limit,
        hint: hint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_promised_to_one_is_not_there_for_another() {
        let before = free_bytes();
        let mut first = Promise::default();
        first.grow(before / 2, 0).unwrap();
        let mut second = Promise { bytes: 0, of_user: USER_BYTES };
        // Other processes take and give memory meanwhile, but not a quarter of it.
        assert!(second.grow(before / 4 * 3, 0).is_err());
        drop(first);
        second.grow(before / 4 * 3, 0).unwrap();
        assert!(second.grow_by_users(u64::MAX).is_err());
    }

    #[test]
    fn the_greatest_need_is_named() {
        let need = |what: &str, bytes, hint| Need { what: what.to_owned(), bytes, hint };
        let needs = [need("-workers 1", 1 << 20, "a"), need("-users 9", 3 << 20, "lower -users")];
        let text = refusal(&needs, 4 << 20, 2 << 20).to_string();
        let expected = "-users 9 needs 3 MiB of memory, of 4 MiB in all, but 2 MiB of memory that \
                        nobody else was promised is the limit\n  hint: lower -users";
        assert_eq!(text, expected);
    }
}

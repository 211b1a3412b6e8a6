//! The memory that the settings of a run require, checked before any of it is allocated.
//!
//! The needs of a run (users, open calls, workers, sockets) are added up over its listeners and
//! over all runs of the process. Each run has been promised its memory, and may use it at any time.
//! Pools of default size shrink to a part of the available memory (`pool`), and count as promised
//! like the others.

use std::fs;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gossipper_uring::sys;
use rustix::process::{Resource, getrlimit};

use super::plan::Plan;
use super::pool::TEXT_BYTES;
use super::{RunError, media};
use crate::config::RunConfig;
use crate::engine::{ENDED_CALL_BYTES, Footprint};

/// Bytes of an idle worker: a third more than was measured.
pub(super) const WORKER_BYTES: u64 = 6 << 20;
/// Address space of a worker: buffers of its driver and of the kernel, most of them never used.
const WORKER_SPACE_BYTES: u64 = 80 << 20;
/// Bytes of a socket or connection: its entries in the tables of driver and engine.
pub(super) const SOCKET_BYTES: u64 = 512;

/// Bytes promised to all runs of this process.
static PROMISED: Mutex<u64> = Mutex::new(0);

/// Bytes that a run was promised, until this is dropped.
#[derive(Debug, Default)]
pub(super) struct Promise {
    bytes: u64,
    /// The part of the bytes for rows that workers are copying to make them wider.
    passing: u64,
    shape: Arc<Mutex<Shape>>,
}

/// The rows of calls and users that a run has room for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    /// Calls in the pools of all workers.
    calls: u64,
    /// Users of each listener: the most so far, as their rows remain.
    users: u64,
    listeners: u64,
    /// The present width of the rows of calls and users.
    footprint: Footprint,
}

/// The media of a run.
#[derive(Clone, Copy, Debug, Default)]
struct MediaNeeds {
    /// Calls that can have media at a time.
    calls: u64,
    /// Their streams, with protection.
    calls_bytes: u64,
    /// Sources in all encodings. All listeners share them.
    clips_bytes: u64,
}

impl MediaNeeds {
    /// Adds the media of the calls of a listener.
    fn add(&mut self, config: &RunConfig, plan: &Plan) {
        let launch = &plan.launch;
        let legs = launch.media.as_ref().map_or(0, |media| media.legs_max as u64);
        let calls = (launch.workers as u64).saturating_mul(legs);
        self.calls = self.calls.saturating_add(calls);
        let bytes = calls.saturating_mul(media::call_bytes(config, &launch.programs));
        self.calls_bytes = self.calls_bytes.saturating_add(bytes);
        self.clips_bytes = self.clips_bytes.max(launch.programs.clips.bytes());
    }
}

/// An amount of memory that is needed.
struct Need {
    what: String,
    bytes: u64,
    hint: &'static str,
}

impl Promise {
    /// Promises the memory that a run with these plans, one for each listener, may use. It includes
    /// the memory already promised to their pools.
    ///
    /// # Errors
    /// The greatest need of the run, if there is not enough memory.
    pub(super) fn of<'p>(
        config: &RunConfig,
        plans: impl ExactSizeIterator<Item = &'p mut Plan>,
    ) -> Result<Self, RunError> {
        let mut shape = Shape {
            users: config.users.unwrap_or(0),
            listeners: plans.len() as u64,
            ..Shape::default()
        };
        let (mut workers, mut sockets) = (0_u64, 0_u64);
        let (mut pool_bytes, mut worker_bytes) = (0_u64, 0_u64);
        let mut media = MediaNeeds::default();
        let mut promise = Self::default();
        for plan in plans {
            promise.bytes += mem::take(&mut plan.reserved.bytes);
            let launch = &plan.launch;
            let of_plan = launch.workers as u64;
            shape.footprint = Footprint::of(&launch.programs);
            workers += of_plan;
            let calls = of_plan.saturating_mul(launch.engine.pool_calls as u64);
            let ended = of_plan.saturating_mul(launch.engine.dead_calls_max as u64);
            shape.calls = shape.calls.saturating_add(calls);
            let texts = of_plan.saturating_mul(launch.engine.blob_bytes_max as u64);
            let of_calls = calls.saturating_mul(TEXT_BYTES).min(texts);
            // Each worker has a minimum for texts, even with few calls.
            worker_bytes = worker_bytes.saturating_add(of_plan.saturating_mul(WORKER_BYTES));
            worker_bytes = worker_bytes.saturating_add(texts - of_calls);
            pool_bytes = pool_bytes
                .saturating_add(calls.saturating_mul(shape.footprint.call_bytes()))
                .saturating_add(of_calls)
                .saturating_add(ended.saturating_mul(ENDED_CALL_BYTES));
            sockets += of_plan * (launch.driver.sockets_max + launch.driver.streams_max) as u64;
            media.add(config, plan);
        }
        let needs = shape.needs(pool_bytes, (workers, worker_bytes), sockets, media);
        let (bytes, had) = (total(&needs), promise.bytes);
        let space = workers.saturating_mul(WORKER_SPACE_BYTES);
        if let Err(room) = promise.grow(bytes.saturating_sub(had), space) {
            return Err(refusal(&needs, bytes, room.saturating_add(had)));
        }
        promise.shape = Arc::new(Mutex::new(shape));
        Ok(promise)
    }

    /// Promises the additional memory for `users` users; rows up to the most users so far are
    /// already paid for.
    ///
    /// # Errors
    /// The need for which there is not enough memory.
    pub(super) fn grow_to_users(&mut self, users: u64) -> Result<(), RunError> {
        let before = shape(&self.shape);
        let more = users.saturating_sub(before.users);
        let bytes = before.users_bytes(more, before.footprint.user_bytes());
        let need = Need { what: format!("{more} more users"), bytes, hint: "lower users (-users)" };
        self.grow(bytes, 0).map_err(|room| refusal(&[need], bytes, room))?;
        set_shape(&self.shape, Shape { users: before.users.max(users), ..before });
        Ok(())
    }

    /// The rows that the promise covers, at any time.
    pub(super) fn shape(&self) -> &Arc<Mutex<Shape>> {
        &self.shape
    }

    /// Promises the additional memory for rows as wide as `footprint`, which another scenario
    /// needs.
    ///
    /// # Errors
    /// The need for which there is not enough memory.
    pub(super) fn widen(&mut self, footprint: Footprint) -> Result<Widened, RunError> {
        let before = shape(&self.shape);
        let needs = before.wider(footprint);
        let bytes = total(&needs);
        self.grow(bytes, 0).map_err(|room| refusal(&needs, bytes, room))?;
        let [.., passing] = needs.map(|need| need.bytes);
        self.passing += passing;
        set_shape(&self.shape, Shape { footprint, ..before });
        Ok(Widened { bytes, passing, before })
    }

    /// Takes back the promise for a scenario that was not installed after all.
    pub(super) fn narrow(&mut self, widened: Widened) {
        self.passing -= widened.passing.min(self.passing);
        self.shrink(widened.bytes);
        set_shape(&self.shape, widened.before);
    }

    /// Takes back the memory for copying rows: all workers have the wider ones.
    pub(super) fn settle(&mut self) {
        let passing = mem::take(&mut self.passing);
        self.shrink(passing);
    }

    /// Promises `bytes` more, for which `space` more of address space is reserved; `Err` holds the
    /// available bytes.
    fn grow(&mut self, bytes: u64, space: u64) -> Result<(), u64> {
        let mut promised = promised();
        let room = room(*promised);
        if bytes > room || !is_reservable_beside(bytes, space) {
            return Err(room);
        }
        *promised += bytes;
        self.bytes += bytes;
        Ok(())
    }

    fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        if bytes == 0 {
            return;
        }
        self.bytes -= bytes;
        let mut promised = promised();
        *promised = promised.saturating_sub(bytes);
    }
}

impl Shape {
    /// The needs of the run at its start.
    fn needs(
        &self,
        pool_bytes: u64,
        (workers, worker_bytes): (u64, u64),
        sockets: u64,
        media: MediaNeeds,
    ) -> [Need; 6] {
        let Self { users, calls, listeners, .. } = *self;
        [
            Need {
                what: format!("-users {users}"),
                bytes: self.users_bytes(users, self.footprint.user_bytes()),
                hint: "lower users (-users)",
            },
            Need {
                what: format!("a pool of {calls} open calls"),
                bytes: pool_bytes,
                hint: "lower max_concurrent (-l), users (-users) or -max_calls",
            },
            Need {
                what: format!("{sockets} places for sockets and connections"),
                bytes: sockets.saturating_mul(SOCKET_BYTES),
                hint: "lower -max_socket or max_concurrent (-l)",
            },
            Need {
                what: match listeners {
                    1 => format!("-workers {workers}"),
                    _ => format!("{workers} workers for {listeners} listeners"),
                },
                bytes: worker_bytes,
                hint: "lower -workers, or use fewer listeners",
            },
            Need {
                what: format!("media of {} open calls", media.calls),
                bytes: media.calls_bytes,
                hint: "lower max_concurrent (-l), or refuse SRTP (-media_reject_srtp)",
            },
            Need {
                what: "the media that scenarios play".to_owned(),
                bytes: media.clips_bytes,
                hint: "play shorter or fewer files",
            },
        ]
    }

    fn users_bytes(&self, users: u64, of_user: u64) -> u64 {
        users.saturating_mul(self.listeners).saturating_mul(of_user)
    }

    /// Checks that rows as wide as `footprint` would fit now, as a [`Promise`] would, but promises
    /// nothing.
    ///
    /// # Errors
    /// The need for which there is not enough memory.
    pub(super) fn check_wider(&self, footprint: Footprint) -> Result<(), RunError> {
        let needs = self.wider(footprint);
        let (bytes, room) = (total(&needs), free_bytes());
        match bytes > room {
            true => Err(refusal(&needs, bytes, room)),
            false => Ok(()),
        }
    }

    /// The needs of rows as wide as `footprint` beyond the present ones. The last need is
    /// temporary, while rows are copied to wider ones.
    fn wider(&self, footprint: Footprint) -> [Need; 3] {
        let Self { calls, users, footprint: before, .. } = *self;
        let of_call = footprint.call_row_bytes().saturating_sub(before.call_row_bytes());
        let of_user = footprint.user_row_bytes().saturating_sub(before.user_row_bytes());
        let [of_calls, of_users] =
            [calls.saturating_mul(of_call), self.users_bytes(users, of_user)];
        let copied = match of_calls.saturating_add(of_users) {
            0 => 0,
            _ => calls
                .saturating_mul(before.call_row_bytes())
                .saturating_add(self.users_bytes(users, before.user_row_bytes())),
        };
        [
            Need {
                what: format!("the scenario, with its variables in a pool of {calls} open calls,"),
                bytes: of_calls,
                hint: "use fewer variables, or start the run again with a lower max_concurrent \
                       (-l)",
            },
            Need {
                what: format!("the scenario, with <User> variables of {users} users,"),
                bytes: of_users,
                hint: "use fewer variables, or start the run again with fewer users (-users)",
            },
            Need {
                what: "the scenario, for a copy of the existing variables,".to_owned(),
                bytes: copied,
                hint: "use no more variables than the scenario before, or start the run again with \
                       a lower max_concurrent (-l) or fewer users (-users)",
            },
        ]
    }
}

/// The present shape of a promise.
pub(super) fn shape(of: &Mutex<Shape>) -> Shape {
    *of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn set_shape(of: &Mutex<Shape>, shape: Shape) {
    *of.lock().unwrap_or_else(PoisonError::into_inner) = shape;
}

fn total(needs: &[Need]) -> u64 {
    needs.iter().fold(0, |sum, need| sum.saturating_add(need.bytes))
}

/// The additional memory that a [`Promise`] got for a scenario.
#[must_use]
#[derive(Debug)]
pub(super) struct Widened {
    bytes: u64,
    passing: u64,
    before: Shape,
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

/// Calls `choose` with the unpromised bytes, and promises the number that it returns. No other
/// promise can come between.
///
/// # Errors
/// Those of `choose`.
pub(super) fn reserve<T>(
    choose: impl FnOnce(u64) -> Result<(T, u64), RunError>,
) -> Result<(T, Promise), RunError> {
    let mut promised = promised();
    let (chosen, bytes) = choose(room(*promised))?;
    *promised += bytes;
    let mut promise = Promise::default();
    promise.bytes = bytes;
    Ok((chosen, promise))
}

/// Bytes that no run was promised.
pub(super) fn free_bytes() -> u64 {
    room(*promised())
}

fn promised() -> MutexGuard<'static, u64> {
    PROMISED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes that are left if `promised` are promised. Memory in use by now was promised before.
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
/// used). So a limit on it is noticed before the first call, and does not end the process later.
pub(super) fn is_reservable(bytes: u64) -> bool {
    let mut probe: Vec<u8> = Vec::new();
    let reserved = usize::try_from(bytes).is_ok_and(|bytes| probe.try_reserve_exact(bytes).is_ok());
    // Without this the compiler may remove the unused allocation.
    std::hint::black_box(&probe);
    reserved
}

/// Does the same as [`is_reservable`], in addition to the space that `workers` workers reserve, if
/// the address space is limited.
pub(super) fn is_reservable_beside_workers(bytes: u64, workers: u64) -> bool {
    is_reservable_beside(bytes, workers.saturating_mul(WORKER_SPACE_BYTES))
}

/// Does the same as [`is_reservable`], in addition to `space`, if the address space is limited.
fn is_reservable_beside(bytes: u64, space: u64) -> bool {
    let space = if getrlimit(Resource::As).current.is_some() { space } else { 0 };
    is_reservable(bytes.saturating_add(space))
}

fn refusal(needs: &[Need], bytes: u64, room: u64) -> RunError {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let greatest = needs.iter().max_by_key(|need| need.bytes);
    let (what, own, hint) =
        greatest.map_or(("the run", bytes, ""), |need| (need.what.as_str(), need.bytes, need.hint));
    let limit = match bytes > room {
        true => format!("{} MiB of memory that is not reserved for others", mib(room)),
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
    use std::time::Duration;
    use std::{iter, thread};

    use super::super::pool::{BESIDE_PART, Sizing, call_bytes};
    use super::*;
    use crate::config::{Flavor, RunDraft};

    /// Runs these tests one at a time, because the memory promised to one is missing for another.
    static ALONE: Mutex<()> = Mutex::new(());

    fn promise(calls: u64, users: u64) -> Promise {
        let shape = Shape { calls, users, listeners: 1, footprint: Footprint::default() };
        Promise { bytes: 0, passing: 0, shape: Arc::new(Mutex::new(shape)) }
    }

    #[test]
    fn what_was_promised_to_one_is_not_there_for_another() {
        let _alone = ALONE.lock();
        let before = free_bytes();
        let mut first = Promise::default();
        first.grow(before / 2, 0).unwrap();
        let mut second = promise(0, 0);
        // Other processes allocate and free memory meanwhile, but not a quarter of it.
        assert!(second.grow(before / 4 * 3, 0).is_err());
        drop(first);
        second.grow(before / 4 * 3, 0).unwrap();
        let refusal = second.grow_to_users(u64::MAX).unwrap_err().to_string();
        assert!(refusal.contains("more users") && refusal.contains("(-users)"), "{refusal}");
    }

    #[test]
    fn users_who_come_again_are_promised_nothing_more() {
        let _alone = ALONE.lock();
        let mut promise = promise(0, 10);
        let most = 30 * Footprint::default().user_bytes();
        for _ in 0..3 {
            promise.grow_to_users(20).unwrap();
            promise.grow_to_users(10).unwrap();
            promise.grow_to_users(40).unwrap();
            assert_eq!(promise.bytes, most);
        }
    }

    fn sizing(config: &RunConfig, of_call: u64, part: u64) -> Sizing<'_> {
        Sizing { config, calls_total: None, concurrent_max: None, of_call, part, workers: 1 }
    }

    #[test]
    fn pools_that_nobody_asked_for_fit_together() {
        let config = RunDraft::default().resolve(Flavor::Gossipper).unwrap();
        let of_call = call_bytes(Footprint::default(), true);
        // The primary engine of a small machine, and as many further engines as there may be.
        let mut room = 2 << 30;
        for part in iter::once(2).chain(iter::repeat_n(BESIDE_PART, 15 + 32)) {
            let sizing = sizing(&config, of_call, part);
            let (pool, bytes) = sizing.default_within(room).unwrap();
            assert!(pool >= 1_000 && bytes <= room, "{pool}");
            room -= bytes;
        }
        // A container on a large machine: its workers alone take most of it.
        let many = Sizing { workers: 63, ..sizing(&config, of_call, 2) };
        let (pool, bytes) = many.default_within(1 << 30).unwrap();
        assert!(pool >= 1_000 && bytes <= 1 << 30, "{pool} {bytes}");
        // Wider calls need more memory, so there are fewer of them.
        let wide = call_bytes(footprint(4096), true);
        let (few, bytes) = sizing(&config, wide, 2).default_within(1 << 30).unwrap();
        assert!(few * wide <= 1 << 29 && bytes <= 1 << 30, "{few}");
        let refusal = sizing(&config, wide, 2).default_within(16 << 20).unwrap_err().to_string();
        assert!(refusal.contains("1000 open calls") && refusal.contains("(-l)"), "{refusal}");
        let one = Sizing { calls_total: Some(1), ..sizing(&config, of_call, BESIDE_PART) };
        assert_eq!(one.default_within(64 << 20).unwrap().0, 1);
    }

    #[test]
    fn pools_that_are_sized_at_once_do_not_count_on_the_same_memory() {
        let _alone = ALONE.lock();
        let config = RunDraft::default().resolve(Flavor::Gossipper).unwrap();
        let wide = call_bytes(footprint(4096), true);
        let most = free_bytes();
        let reserved: Vec<u64> = thread::scope(|scope| {
            let size = || {
                let promise = sizing(&config, wide, 2).pool().unwrap().1;
                thread::sleep(Duration::from_millis(20));
                promise.bytes
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(size)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(reserved.iter().sum::<u64>() <= most, "{reserved:?} of {most}");
    }

    #[test]
    fn a_pool_is_judged_by_what_its_calls_take() {
        let _alone = ALONE.lock();
        let mut config = RunDraft::default().resolve(Flavor::Gossipper).unwrap();
        let narrow = call_bytes(Footprint::default(), false);
        let calls = free_bytes() / narrow / 4;
        config.pool_calls = Some(calls);
        assert_eq!(sizing(&config, narrow, 2).pool().unwrap().0, calls);
        let wide = call_bytes(footprint(4096), false);
        let refusal = sizing(&config, wide, 2).pool().unwrap_err().to_string();
        assert!(refusal.contains(&format!("{calls} open calls")), "{refusal}");
        assert!(refusal.contains("-max_calls"), "{refusal}");
    }

    /// The footprint of a call with so many variables, and of as many of each user.
    fn footprint(variables: usize) -> Footprint {
        let mut program = crate::scenario::load_builtin("uac", &[]).unwrap();
        let names: Vec<String> = (0..variables).map(|index| format!("v{index}")).collect();
        program.call_variables.clone_from(&names);
        program.user_variables = names;
        Footprint::of(&Arc::new(program).into())
    }

    #[test]
    fn a_scenario_with_wider_rows_is_promised_what_it_adds() {
        let _alone = ALONE.lock();
        let (narrow, wide) = (footprint(1), footprint(4096));
        let start = |calls, users| {
            let promise = promise(calls, users);
            set_shape(&promise.shape, Shape { footprint: narrow, ..shape(&promise.shape) });
            promise
        };
        let of_call = wide.call_row_bytes() - narrow.call_row_bytes();
        let of_user = wide.user_row_bytes() - narrow.user_row_bytes();
        let mut promise = start(10, 3);
        let widened = promise.widen(wide).unwrap();
        // While workers copy rows, both versions exist.
        let copied = 10 * narrow.call_row_bytes() + 3 * narrow.user_row_bytes();
        assert_eq!(promise.bytes, 10 * of_call + 3 * of_user + copied);
        promise.narrow(widened);
        assert_eq!((promise.bytes, shape(&promise.shape).footprint), (0, narrow));
        for _ in 0..2 {
            let _ = promise.widen(wide).unwrap();
            promise.settle();
            promise.grow_to_users(5).unwrap();
            assert_eq!(promise.bytes, 10 * of_call + 3 * of_user + 2 * wide.user_bytes());
        }
        for (calls, users, key) in [(1 << 32, 1, "max_concurrent"), (1, 1 << 32, "-users")] {
            let mut promise = start(calls, users);
            let refusal = promise.widen(wide).unwrap_err().to_string();
            assert_eq!(shape(&promise.shape).check_wider(wide).unwrap_err().to_string(), refusal);
            assert!(refusal.contains(key) && refusal.contains("MiB"), "{refusal}");
            assert_eq!((promise.bytes, shape(&promise.shape).footprint), (0, narrow));
        }
    }

    #[test]
    fn media_is_promised_before_the_run() {
        let shape = Shape { calls: 10, listeners: 1, ..Shape::default() };
        let media = MediaNeeds { calls: 10, calls_bytes: 64 << 20, clips_bytes: 65 << 20 };
        let needs = shape.needs(1 << 20, (1, 6 << 20), 20, media);
        assert_eq!(total(&needs), (1 << 20) + (6 << 20) + 20 * SOCKET_BYTES + (129 << 20));
        let text = refusal(&needs, total(&needs), 2 << 20).to_string();
        assert!(text.contains("the media that scenarios play needs 65 MiB"), "{text}");
        let media = MediaNeeds { clips_bytes: 0, ..media };
        let needs = shape.needs(1 << 20, (1, 6 << 20), 20, media);
        let text = refusal(&needs, total(&needs), 2 << 20).to_string();
        for part in ["media of 10 open calls needs 64 MiB", "-media_reject_srtp"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn the_greatest_need_is_named() {
        let need = |what: &str, bytes, hint| Need { what: what.to_owned(), bytes, hint };
        let needs = [need("-workers 1", 1 << 20, "a"), need("-users 9", 3 << 20, "lower -users")];
        let text = refusal(&needs, 4 << 20, 2 << 20).to_string();
        let expected = "-users 9 needs 3 MiB of memory, of 4 MiB in all, but 2 MiB of memory that \
                        is not reserved for others is the limit\n  hint: lower -users";
        assert_eq!(text, expected);
    }
}

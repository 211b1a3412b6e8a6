//! Small system services that would otherwise need `unsafe` elsewhere.

use std::fs;
use std::io;
use std::mem;

use crate::Nanos;

/// Nanoseconds on `CLOCK_MONOTONIC`.
#[inline]
#[must_use]
pub fn monotonic_now() -> Nanos {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// Begins to fetch a value into the cache, so that a later access need not wait for memory. Does
/// nothing on machines other than x86-64.
#[inline]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..size_of::<T>()).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let at = (&raw const *value).cast::<i8>();
        // SAFETY: the address is inside of the value; a prefetch has no effect that can be seen.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.add(line)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Nanoseconds since 1970 on `CLOCK_REALTIME`.
#[must_use]
pub fn realtime_now_ns() -> u64 {
    clock_ns(libc::CLOCK_REALTIME)
}

/// Seconds that local time is ahead of UTC at `unix_s`; 0 if that is unknown.
#[must_use]
pub fn utc_offset_s(unix_s: u64) -> i64 {
    let Ok(time) = libc::time_t::try_from(unix_s) else { return 0 };
    // SAFETY: all-zero is a valid `tm`: numbers, and a pointer that may be null.
    let mut local: libc::tm = unsafe { mem::zeroed() };
    // SAFETY: both are live; the zone's name in `tm_zone` is not looked at.
    let result = unsafe { libc::localtime_r(&raw const time, &raw mut local) };
    if result.is_null() { 0 } else { local.tm_gmtoff }
}

/// Processor time used by the calling thread, in nanoseconds.
#[must_use]
pub fn thread_cpu_time_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Processor time used by all threads of this process, in nanoseconds.
#[must_use]
pub fn process_cpu_time_ns() -> u64 {
    clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// The kernel's id of the calling thread, as in `/proc/self/task`.
#[must_use]
pub fn thread_id() -> u32 {
    // SAFETY: takes no argument and cannot fail.
    let id = unsafe { libc::gettid() };
    u32::try_from(id).unwrap_or_default()
}

/// Binds the calling thread to one processor.
///
/// # Errors
/// The error of `sched_setaffinity`; `InvalidInput` for a number past the kernel's set.
pub fn pin_current_thread(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "processor number too large"));
    }
    // SAFETY: all-zero is an empty set, and the number is inside the set.
    let set = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        set
    };
    // SAFETY: passes a live set and its size; 0 is the calling thread.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) })
}

/// Processors that the calling thread may run on, in ascending order.
#[must_use]
pub fn online_cpus() -> Vec<usize> {
    // SAFETY: all-zero is an empty set; the kernel writes at most its size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        if libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) != 0 {
            return vec![0];
        }
        set
    };
    // SAFETY: every number is inside the set.
    (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect()
}

/// Sets the delay that the calling thread's timers may have. The default is 50 µs.
///
/// # Errors
/// The error of `prctl`.
pub fn set_timer_slack_ns(slack: u64) -> io::Result<()> {
    // SAFETY: this option takes one integer.
    check(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, slack as libc::c_ulong) })
}

/// Lets the calling thread run soon after it woke, for `slice_ns` (100 µs to 100 ms) at a time. A
/// thread that works briefly and often then does not wait for one that works for long. Takes effect
/// from Linux 6.12; earlier kernels ignore the slice. A real-time policy that the thread already
/// has stays.
///
/// # Errors
/// The error of `sched_getattr` or `sched_setattr`.
pub fn prefer_latency(slice_ns: u64) -> io::Result<()> {
    change_schedule(|schedule| {
        schedule.policy = libc::SCHED_OTHER as u32;
        schedule.runtime = slice_ns;
    })
}

/// Lets the calling thread give way. When it wakes it interrupts no other thread, and under
/// contention it gets the share of a thread whose nice value is `nicer` higher. Threads that it
/// starts inherit both. Only a privileged thread can lower its nice value again.
///
/// # Errors
/// The error of `sched_getattr` or `sched_setattr`.
pub fn give_way(nicer: u8) -> io::Result<()> {
    change_schedule(|schedule| {
        schedule.policy = libc::SCHED_BATCH as u32;
        schedule.nice = (schedule.nice + i32::from(nicer)).min(19);
    })
}

/// The first version of `struct sched_attr` of `sched_setattr(2)`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Schedule {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

fn schedule() -> io::Result<Schedule> {
    let mut schedule = Schedule::default();
    let size = size_of::<Schedule>() as libc::c_uint;
    // SAFETY: the kernel writes at most `size` bytes to a live structure; 0 is the calling thread.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut schedule, size, 0_u32) };
    if result == 0 { Ok(schedule) } else { Err(io::Error::last_os_error()) }
}

/// Changes the scheduling of the calling thread, if it has one of the two usual policies.
fn change_schedule(change: impl FnOnce(&mut Schedule)) -> io::Result<()> {
    let mut schedule = schedule()?;
    if ![libc::SCHED_OTHER, libc::SCHED_BATCH].contains(&(schedule.policy as i32)) {
        return Ok(());
    }
    change(&mut schedule);
    schedule.size = size_of::<Schedule>() as u32;
    // The only flag that applies to these policies.
    schedule.flags &= libc::SCHED_FLAG_RESET_ON_FORK as u64;
    // SAFETY: the kernel reads a live structure of the size that it names.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const schedule, 0_u32) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives allocations of at least this size mappings of their own, which return to the system when
/// they are freed. By itself glibc raises this threshold to the largest block ever freed, and keeps
/// smaller blocks: pools of workers that come and go would stay with the process. Other C libraries
/// need no such call.
pub fn return_large_blocks(bytes: i32) {
    #[cfg(target_env = "gnu")]
    // SAFETY: changes one parameter of the allocator, which takes any value and locks for itself.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, bytes);
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = bytes;
}

/// Gives free pages of the allocator back to the system. By itself glibc gives back the end of an
/// arena only, and each new thread may begin another arena: small blocks left behind by many
/// workers would stay with the process. Takes some milliseconds, during which threads that allocate
/// wait. Other C libraries need no such call.
pub fn return_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: touches free memory of the allocator only, which locks for itself.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The limit on open descriptors in force.
///
/// # Errors
/// The error of `getrlimit`.
pub fn nofile_limit() -> io::Result<u64> {
    limit(libc::RLIMIT_NOFILE).map(|limit| limit.rlim_cur)
}

/// Raises the limit on open descriptors towards `wanted`, the hard limit too where permitted, and
/// returns the limit in force afterwards.
///
/// # Errors
/// The error of `getrlimit`; a refusal to raise is not an error.
pub fn raise_nofile_limit(wanted: u64) -> io::Result<u64> {
    let now = limit(libc::RLIMIT_NOFILE)?;
    if now.rlim_cur >= wanted {
        return Ok(now.rlim_cur);
    }
    let full = libc::rlimit { rlim_cur: wanted, rlim_max: now.rlim_max.max(wanted) };
    let soft = libc::rlimit { rlim_cur: wanted.min(now.rlim_max), rlim_max: now.rlim_max };
    for attempt in [full, soft] {
        // SAFETY: passes a live structure.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const attempt) } == 0 {
            break;
        }
    }
    nofile_limit()
}

/// The limit on locked memory in bytes; `None` if there is none.
#[must_use]
pub fn memlock_limit() -> Option<u64> {
    let current = limit(libc::RLIMIT_MEMLOCK).ok()?.rlim_cur;
    (current != libc::RLIM_INFINITY).then_some(current)
}

/// Memory that can be used without swapping: `MemAvailable`, or the room that the cgroup (version
/// 2) leaves if that is less. `None` if neither can be read.
#[must_use]
pub fn available_memory_bytes() -> Option<u64> {
    let system = fs::read_to_string("/proc/meminfo").ok().and_then(|text| mem_available(&text));
    let group = fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned))
        .and_then(|path| cgroup_room(&path));
    match (system, group) {
        (Some(system), Some(group)) => Some(system.min(group)),
        (system, group) => system.or(group),
    }
}

/// Tells whether the kernel knows the wall clock to follow a time source; `None` if asking is not
/// permitted.
#[must_use]
pub fn clock_synchronised() -> Option<bool> {
    // SAFETY: all-zero is a valid structure, whose empty mode asks for no change.
    let mut time: libc::timex = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes one live structure.
    let state = unsafe { libc::adjtimex(&raw mut time) };
    (state >= 0).then_some(state != libc::TIME_ERROR)
}

/// The number of this process.
#[must_use]
pub fn process_id() -> u32 {
    std::process::id()
}

/// The running kernel's release, as in `uname -r`.
#[must_use]
pub fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

#[inline]
fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one live structure; these clocks always exist.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn limit(resource: libc::__rlimit_resource_t) -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one live structure.
    check(unsafe { libc::getrlimit(resource, &raw mut limit) })?;
    Ok(limit)
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn mem_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The smallest room that a cgroup and its ancestors leave.
fn cgroup_room(path: &str) -> Option<u64> {
    let mut least = None;
    let mut path = path.trim_end_matches('/').to_owned();
    loop {
        let read = |file: &str| fs::read_to_string(format!("/sys/fs/cgroup{path}/{file}")).ok();
        let number = |text: String| text.trim().parse::<u64>().ok();
        if let (Some(max), Some(used)) =
            (read("memory.max").and_then(number), read("memory.current").and_then(number))
        {
            let room = max.saturating_sub(used);
            least = Some(least.map_or(room, |least: u64| least.min(room)));
        }
        match path.rfind('/') {
            Some(parent) => path.truncate(parent),
            None => return least,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_run_forward() {
        let (first, second) = (monotonic_now(), monotonic_now());
        assert!(first > 0 && second >= first);
        assert!(realtime_now_ns() > 1_600_000_000_000_000_000);
        assert!(thread_cpu_time_ns() > 0);
        assert!(process_cpu_time_ns() >= thread_cpu_time_ns());
    }

    #[test]
    fn a_thread_is_known_by_its_number() {
        let id = std::thread::spawn(thread_id).join().expect("no panic");
        assert_ne!(id, thread_id());
        assert!(std::path::Path::new(&format!("/proc/self/task/{}", thread_id())).exists());
    }

    #[test]
    fn a_thread_can_be_pinned_to_each_allowed_processor() {
        std::thread::spawn(|| {
            let allowed = online_cpus();
            assert!(!allowed.is_empty());
            pin_current_thread(allowed[0]).expect("pin");
            assert_eq!(online_cpus(), [allowed[0]]);
            assert!(pin_current_thread(usize::MAX).is_err());
            set_timer_slack_ns(1000).expect("slack");
        })
        .join()
        .expect("no panic");
    }

    #[test]
    fn a_thread_prefers_latency_or_gives_way() {
        std::thread::spawn(|| {
            let nice = schedule().expect("schedule").nice;
            give_way(3).expect("give way");
            let given = schedule().expect("schedule");
            assert_eq!(given.policy, libc::SCHED_BATCH as u32);
            assert_eq!(given.nice, (nice + 3).min(19));
            prefer_latency(200_000).expect("prefer latency");
            let preferred = schedule().expect("schedule");
            assert_eq!(preferred.policy, libc::SCHED_OTHER as u32);
            assert_eq!(preferred.nice, given.nice, "it stays");
            // Kernels before 6.12 report no slice.
            assert!([0, 200_000].contains(&preferred.runtime), "{preferred:?}");
            give_way(u8::MAX).expect("give way");
            assert_eq!(schedule().expect("schedule").nice, 19);
        })
        .join()
        .expect("no panic");
    }

    #[test]
    fn asking_whether_the_clock_is_synchronised_does_not_move_it() {
        let before = realtime_now_ns();
        let _ = clock_synchronised();
        let passed = realtime_now_ns().abs_diff(before);
        assert!(passed < 3_600_000_000_000, "{passed} ns");
    }

    #[test]
    fn available_memory_is_read_from_meminfo() {
        assert_eq!(mem_available("MemTotal: 9 kB\nMemAvailable:   12 kB\n"), Some(12 * 1024));
        assert_eq!(mem_available("MemTotal: 9 kB\n"), None);
        assert!(available_memory_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn the_descriptor_limit_is_never_lowered() {
        let before = nofile_limit().expect("limit");
        assert!(raise_nofile_limit(1).expect("limit") >= before);
    }
}

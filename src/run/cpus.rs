//! The CPU time of the workers, read from the kernel by the control side once a second.
//!
//! A worker knows how long it ran, but not why it did not run when it should have. The kernel
//! knows: `/proc/self/task/*/schedstat` has the time that a thread waited on a run queue,
//! `/proc/stat` has the work of its CPU meanwhile, and the control group counts the time for which
//! it stopped us.

use std::fs;
use std::path::{Path, PathBuf};

use gossipper_uring::sys;

use crate::procfs::{TaskStat, cpu_ticks};
use crate::stats::CpuUse;

/// Most workers that are watched: each costs two small files a second. With so many workers, the
/// others are affected in the same way.
const WATCHED_MAX: usize = 64;

/// A worker's thread, and its CPU use since its last report.
#[derive(Debug, Default)]
struct Watched {
    thread_id: u32,
    last: Option<Thread>,
    gathered: CpuUse,
}

/// The kernel's counts of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Thread {
    busy_ns: u64,
    waited_ns: u64,
    /// The CPU that it ran on last.
    cpu: usize,
}

/// The kernel's counts of a CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cpu {
    /// Time in which it was busy.
    busy_ns: u64,
    stolen_ns: u64,
}

/// The figures that all threads of the process share.
#[derive(Clone, Debug, Default)]
struct Host {
    at_ns: u64,
    /// The CPUs by number; offline ones are zero.
    cpus: Vec<Cpu>,
    /// Run time of all threads of the process.
    process_ns: u64,
    throttled_ns: u64,
}

/// The CPU use of the workers.
#[derive(Debug)]
pub(super) struct CpuWatch {
    workers: Vec<Watched>,
    host: Host,
    root: PathBuf,
    /// The control group's counters, if it has some.
    group: Option<PathBuf>,
}

impl CpuWatch {
    /// Begins to watch the threads with these ids.
    pub(super) fn begin(thread_ids: impl Iterator<Item = u32>) -> Self {
        let root = PathBuf::from("/");
        let mut watch = Self {
            workers: thread_ids
                .take(WATCHED_MAX)
                .map(|thread_id| Watched { thread_id, ..Watched::default() })
                .collect(),
            host: Host::default(),
            group: group(&root),
            root,
        };
        watch.look();
        watch
    }

    /// Takes the CPU use of the worker since the previous call for it. The first call in a second
    /// reads the figures of all workers.
    pub(super) fn take(&mut self, worker: usize) -> CpuUse {
        let is_known = |watched: &Watched| watched.gathered.time_ns > 0;
        match self.workers.get(worker) {
            None => return CpuUse::default(),
            Some(watched) if !is_known(watched) => self.look(),
            Some(_) => {}
        }
        self.workers
            .get_mut(worker)
            .map(|watched| std::mem::take(&mut watched.gathered))
            .unwrap_or_default()
    }

    fn look(&mut self) {
        let host = self.host();
        let threads: Vec<Option<Thread>> =
            self.workers.iter().map(|watched| self.thread(watched.thread_id)).collect();
        let before: Vec<Option<Thread>> = self.workers.iter().map(|watched| watched.last).collect();
        for (watched, use_of) in
            self.workers.iter_mut().zip(uses(&self.host, &host, &before, &threads))
        {
            watched.gathered.add(&use_of);
        }
        for (watched, thread) in self.workers.iter_mut().zip(threads) {
            watched.last = thread;
        }
        self.host = host;
    }

    fn thread(&self, thread_id: u32) -> Option<Thread> {
        let folder = self.root.join(format!("proc/self/task/{thread_id}"));
        let schedstat = fs::read_to_string(folder.join("schedstat")).ok()?;
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        thread(&schedstat, &stat)
    }

    fn host(&self) -> Host {
        let stat = fs::read_to_string(self.root.join("proc/stat")).unwrap_or_default();
        let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
        let throttled = self.group.as_ref().and_then(|path| fs::read_to_string(path).ok());
        Host {
            at_ns: sys::monotonic_now(),
            cpus: cpus(&stat, tick_ns),
            process_ns: sys::process_cpu_time_ns(),
            throttled_ns: throttled.as_deref().map_or(0, throttled_ns),
        }
    }
}

/// Returns the CPU use of each thread between two readings; an empty one for a thread that is
/// missing in either.
fn uses(
    before: &Host,
    after: &Host,
    threads_before: &[Option<Thread>],
    threads: &[Option<Thread>],
) -> Vec<CpuUse> {
    let grown = |worker: usize| -> Option<Thread> {
        let (before, after) = ((*threads_before.get(worker)?)?, (*threads.get(worker)?)?);
        Some(Thread {
            busy_ns: after.busy_ns.saturating_sub(before.busy_ns),
            waited_ns: after.waited_ns.saturating_sub(before.waited_ns),
            cpu: after.cpu,
        })
    };
    let grown: Vec<Option<Thread>> = (0..threads.len()).map(grown).collect();
    let workers_ns: u64 = grown.iter().flatten().map(|thread| thread.busy_ns).sum();
    let process_ns = after.process_ns.saturating_sub(before.process_ns);
    // The CPUs that they ran on are unknown, so it may have been any.
    let own_threads_ns = process_ns.saturating_sub(workers_ns);
    let time_ns = after.at_ns.saturating_sub(before.at_ns);
    let use_of = |thread: &Option<Thread>| {
        let Some(thread) = thread else { return CpuUse::default() };
        let on_cpu = grown.iter().flatten().filter(|other| other.cpu == thread.cpu);
        let workers_on_cpu_ns: u64 = on_cpu.map(|other| other.busy_ns).sum();
        let cpu = |host: &Host| host.cpus.get(thread.cpu).copied().unwrap_or_default();
        let (cpu_before, cpu_after) = (cpu(before), cpu(after));
        let cpu_busy_ns = cpu_after.busy_ns.saturating_sub(cpu_before.busy_ns);
        CpuUse {
            time_ns,
            busy_ns: thread.busy_ns,
            waited_ns: thread.waited_ns,
            others_ns: cpu_busy_ns.saturating_sub(workers_on_cpu_ns + own_threads_ns),
            workers_ns: workers_on_cpu_ns - thread.busy_ns,
            stolen_ns: cpu_after.stolen_ns.saturating_sub(cpu_before.stolen_ns),
            throttled_ns: after.throttled_ns.saturating_sub(before.throttled_ns),
        }
    };
    grown.iter().map(use_of).collect()
}

/// Parses a thread's `schedstat` (time run, time waited, slices) and `stat`.
fn thread(schedstat: &str, stat: &str) -> Option<Thread> {
    let mut numbers = schedstat.split_whitespace().map(str::parse);
    let (busy_ns, waited_ns) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(Thread { busy_ns, waited_ns, cpu: TaskStat::read(stat)?.cpu })
}

/// Parses the CPUs of `/proc/stat`, each at the index of its number.
fn cpus(stat: &str, tick_ns: u64) -> Vec<Cpu> {
    let mut cpus = Vec::new();
    for (number, ticks) in cpu_ticks(stat) {
        let index = usize::from(number);
        if cpus.len() <= index {
            cpus.resize(index + 1, Cpu::default());
        }
        cpus[index] = Cpu { busy_ns: ticks.busy * tick_ns, stolen_ns: ticks.stolen * tick_ns };
    }
    cpus
}

/// The file with our control group's CPU counters, in either version of control groups.
fn group(root: &Path) -> Option<PathBuf> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mut found = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let folder = match controllers {
            "" => root.join("sys/fs/cgroup"),
            _ if controllers.split(',').any(|name| name == "cpu") => root.join("sys/fs/cgroup/cpu"),
            _ => return None,
        };
        let stat = folder.join(path.trim_start_matches('/')).join("cpu.stat");
        fs::read_to_string(&stat).ok().filter(|text| text.contains("throttled_")).map(|_| stat)
    });
    found.next()
}

/// Time for which a control group was stopped, from its `cpu.stat`.
fn throttled_ns(stat: &str) -> u64 {
    let value = |line: &str, name| line.strip_prefix(name)?.trim().parse::<u64>().ok();
    let found = stat.lines().find_map(|line| {
        let usec = value(line, "throttled_usec ").map(|us| us.saturating_mul(1000));
        usec.or_else(|| value(line, "throttled_time "))
    });
    found.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_thread_is_read_whatever_its_name() {
        let stat = "7 (a) b) (c) R 1 1 1 0 -1 64 1 0 0 0 5 6 0 0 20 0 1 0 9 9 9 9 9 9 9 9 9 9 0 \
                    0 0 0 0 0 17 3 0 0 0 0 0 0 0 0 0 0 0 0 0";
        let read = thread("40000000 384000000 12\n", stat);
        let expected = Thread { busy_ns: 40 * MS, waited_ns: 384 * MS, cpu: 3 };
        assert_eq!(read, Some(expected));
        assert_eq!(thread("", stat), None);
        assert_eq!(thread("1 2 3", "7 (x) R 1"), None);
    }

    #[test]
    fn cpus_are_read_by_their_number() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 3 100 100 4 5 6 7 7\n\
                    cpu2 10 0 0 0 0 0 0 0 0 0\nintr 1 2 3\ncpu1 5 5 5 5 5 5 5 5\n";
        let read = cpus(stat, 10);
        let expected = [(150, 60), (0, 0), (100, 0)];
        assert_eq!(read, expected.map(|(busy_ns, stolen_ns)| Cpu { busy_ns, stolen_ns }));
        assert_eq!(cpus("cpu0 1 2\ncpux 1 1 1 1 1 1 1 1\n", 10), []);
    }

    #[test]
    fn both_versions_of_control_groups_tell_of_throttling() {
        assert_eq!(throttled_ns("nr_periods 3\nnr_throttled 1\nthrottled_usec 42\n"), 42_000);
        assert_eq!(throttled_ns("nr_throttled 1\nthrottled_time 42\n"), 42);
        assert_eq!(throttled_ns(""), 0);
    }

    #[test]
    fn the_time_of_a_cpu_is_told_apart() {
        let cpu = |busy_ms, stolen_ms| Cpu { busy_ns: busy_ms * MS, stolen_ns: stolen_ms * MS };
        let thread =
            |busy_ms, cpu| Some(Thread { busy_ns: busy_ms * MS, waited_ns: 2 * busy_ms * MS, cpu });
        let before = Host { at_ns: 5, cpus: vec![cpu(0, 0), cpu(100, 5)], ..Host::default() };
        let after = Host {
            at_ns: 5 + 1000 * MS,
            cpus: vec![cpu(900, 0), cpu(400, 8)],
            process_ns: 330 * MS,
            throttled_ns: 7 * MS,
        };
        let threads = [thread(40, 0), thread(60, 0), thread(200, 1), None];
        let uses =
            uses(&before, &after, &[thread(0, 0), thread(0, 0), thread(0, 0), None], &threads);
        let first = CpuUse {
            time_ns: 1000 * MS,
            busy_ns: 40 * MS,
            waited_ns: 80 * MS,
            // 900, less the time of the workers there and 30 of other threads of ours.
            others_ns: 770 * MS,
            workers_ns: 60 * MS,
            stolen_ns: 0,
            throttled_ns: 7 * MS,
        };
        assert_eq!(uses[0], first);
        assert_eq!((uses[2].others_ns, uses[2].workers_ns), (70 * MS, 0));
        assert_eq!(uses[2].stolen_ns, 3 * MS);
        assert_eq!(uses[3], CpuUse::default());
    }

    #[test]
    fn a_thread_of_ours_is_seen_at_work() {
        let mut watch = CpuWatch::begin([sys::thread_id()].into_iter());
        let busy_ns = sys::thread_cpu_time_ns();
        while sys::thread_cpu_time_ns() < busy_ns + 30 * MS {}
        let seen = watch.take(0);
        assert!(seen.time_ns >= 30 * MS, "{seen:?}");
        assert_eq!(watch.take(1), CpuUse::default());
    }
}

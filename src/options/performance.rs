//! Options about the generator's use of the machine, and about the program itself.

use crate::config::{IoChoice, parse_cpu_list};

use super::{
    Accept, FlagGroup, Immediate, Status, alias, choice, count, milliseconds, refused, row, switch,
    takes, within,
};

/// More threads than any machine has CPUs.
const WORKERS_MAX: u64 = 4096;

pub(super) const GROUP: FlagGroup = FlagGroup {
    title: "Performance",
    flags: &[
        takes(
            "workers",
            &["N"],
            within(1, WORKERS_MAX, |d, v| d.workers = Some(v as usize)),
            "Worker threads",
        )
        .default("one for each of -cpus, else chosen from the CPUs")
        .ours(),
        takes(
            "cpus",
            &["LIST"],
            Accept::Parsed(|d, v| parse_cpu_list(v).map(|cpus| d.cpus = cpus)),
            "Pin the workers to these CPUs, as in 2,3 or 0-3,8",
        )
        .default("chosen from the machine")
        .ours(),
        takes(
            "io",
            &["DRIVER"],
            Accept::Parsed(|d, v| {
                let io = choice(
                    v,
                    &["auto", "uring", "syscall"],
                    &[IoChoice::Auto, IoChoice::Uring, IoChoice::Syscall],
                )?;
                d.io = io;
                Ok(())
            }),
            "Packet I/O: uring, syscall (epoll), or auto, which prefers uring",
        )
        .default("auto")
        .ours(),
        takes(
            "max_calls",
            &["N"],
            within(1, u32::MAX as u64, |d, v| d.pool_calls = Some(v)),
            "Size of the pool of open calls",
        )
        .default("chosen from the load")
        .ours(),
        takes(
            "seed",
            &["N"],
            count(|d, v| d.seed = Some(v)),
            "Seed of ids and randomness, to repeat a run; callers of one server need different ones",
        )
        .default("random")
        .ours(),
        takes(
            "grain_us",
            &["US"],
            within(0, 100_000, |d, v| d.grain_us = v),
            "Under load, longest time that events gather (0: never)",
        )
        .default("1000")
        .ours(),
        switch("no_gso", |d| d.gso = false, "Send each datagram by itself").ours(),
        switch("no_gro", |d| d.gro = false, "Receive each datagram by itself").ours(),
        takes(
            "timer_resol",
            &["TIME"],
            milliseconds(1, |d, _| d.tunes_scheduler = true),
            "Accepted without effect: there is no tick, and -grain_us bounds how long events gather",
        ),
        takes(
            "max_recv_loops",
            &["N"],
            within(1, u64::MAX, |d, _| d.tunes_scheduler = true),
            "Accepted without effect: a turn takes all messages that it has room to answer",
        ),
        takes(
            "max_sched_loops",
            &["N"],
            within(1, u64::MAX, |d, _| d.tunes_scheduler = true),
            "Accepted without effect: a turn starts every call that is due",
        ),
        takes(
            "watchdog_interval",
            &["TIME"],
            milliseconds(0, |d, v| d.watchdog.interval_ms = Some(v)),
            "0 switches the watchdog off; workers notice every stall, so that other values have no \
             effect (bare number: ms)",
        )
        .default("400ms as sipp, else 0"),
        takes(
            "watchdog_reset",
            &["TIME"],
            milliseconds(0, |d, v| d.watchdog.reset_ms = Some(v)),
            "Forget stalls when there was none for TIME (bare number: ms)",
        )
        .default("10m"),
        takes(
            "watchdog_minor_threshold",
            &["TIME"],
            milliseconds(1, |d, v| d.watchdog.minor_ms = Some(v)),
            "Count a worker's stall from TIME on as minor (bare number: ms)",
        )
        .default("500ms"),
        takes(
            "watchdog_major_threshold",
            &["TIME"],
            milliseconds(1, |d, v| d.watchdog.major_ms = Some(v)),
            "Count a worker's stall from TIME on as major (bare number: ms)",
        )
        .default("3s"),
        takes(
            "watchdog_minor_maxtriggers",
            &["N"],
            count(|d, v| d.watchdog.minor_max = Some(v)),
            "End the run after more minor stalls than N",
        )
        .default("120"),
        takes(
            "watchdog_major_maxtriggers",
            &["N"],
            count(|d, v| d.watchdog.major_max = Some(v)),
            "End the run after more major stalls than N",
        )
        .default("10"),
    ],
};

pub(super) const PROGRAM: FlagGroup = FlagGroup {
    title: "Program",
    flags: &[
        row(
            "h",
            &[],
            Status::Immediate(Immediate::Help),
            "Print this help and exit; -h stat: the columns of the statistics file",
        ),
        alias("help", "h"),
        row("v", &[], Status::Immediate(Immediate::Version), "Print the version and exit"),
        alias("version", "v").ours(),
        switch(
            "bg",
            |d| d.background = true,
            "Run in the background: print the process id and exit with 99",
        ),
        switch(
            "interactive",
            |d| d.interactive = true,
            "Show a dashboard: charts, percentiles, causes, and keys that control the run",
        )
        .ours(),
        refused(
            "plugin",
            &["FILE"],
            "code is not loaded into the generator; use the actions of the scenario",
            "Load a shared library",
        ),
    ],
};

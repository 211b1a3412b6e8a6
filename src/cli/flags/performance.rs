//! Options about how the generator uses the machine, and about the program itself.

use crate::config::{IoChoice, parse_cpu_list};

use super::{
    Accept, FlagGroup, Immediate, Status, alias, choice, count, later, refused, row, switch, takes,
    within,
};

/// More threads than any machine has CPUs.
const WORKERS_MAX: u64 = 4096;

const LOOPS: &str = "tuning of the scheduler";
const WATCHDOG: &str = "a watchdog that ends the run; -fail_if_limited judges it at its end";

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
                d.io = Some(io);
                Ok(())
            }),
            "Packet I/O: uring, syscall (epoll), or auto, which prefers uring",
        )
        .default("auto")
        .ours(),
        takes(
            "max_calls",
            &["N"],
            within(1, u32::MAX as u64, |d, v| d.max_calls = Some(v)),
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
            within(0, 100_000, |d, v| d.grain_us = Some(v)),
            "Under load, longest time that events gather (0: never)",
        )
        .default("1000")
        .ours(),
        switch("no_gso", |d| d.no_gso = true, "Send each datagram by itself").ours(),
        switch("no_gro", |d| d.no_gro = true, "Receive each datagram by itself").ours(),
        later("timer_resol", &["TIME"], LOOPS, "Tick of the scheduler"),
        later("max_recv_loops", &["N"], LOOPS, "Messages read per tick"),
        later("max_sched_loops", &["N"], LOOPS, "Calls run per tick"),
        later("watchdog_interval", &["TIME"], WATCHDOG, "Interval of the watchdog"),
        later("watchdog_reset", &["TIME"], WATCHDOG, "When its counters start anew"),
        later("watchdog_minor_threshold", &["TIME"], WATCHDOG, "Gap that counts as minor"),
        later("watchdog_major_threshold", &["TIME"], WATCHDOG, "Gap that counts as major"),
        later("watchdog_minor_maxtriggers", &["N"], WATCHDOG, "Minor gaps that end the run"),
        later("watchdog_major_maxtriggers", &["N"], WATCHDOG, "Major gaps that end the run"),
    ],
};

pub(super) const PROGRAM: FlagGroup = FlagGroup {
    title: "Program",
    flags: &[
        row("h", &[], Status::Immediate(Immediate::Help), "Print this help and exit"),
        alias("help", "h"),
        row("v", &[], Status::Immediate(Immediate::Version), "Print the version and exit"),
        alias("version", "v").ours(),
        later("bg", &[], "running in the background: use your shell or systemd", "Detach"),
        later("interactive", &[], "the full-screen interface", "Full-screen interface").ours(),
        refused(
            "plugin",
            &["FILE"],
            "code is not loaded into the generator; use the actions of the scenario",
            "Load a shared library",
        ),
    ],
};

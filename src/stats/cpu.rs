//! The CPU time that workers got. It tells a generator that is slow from one that is kept from its
//! work.

use serde::{Deserialize, Serialize};

use super::delta::wire;

/// CPU use of one worker's thread over some time, as the kernel counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuUse {
    /// Length of that time; 0 if the kernel tells nothing.
    pub time_ns: u64,
    /// Time that the thread ran.
    pub busy_ns: u64,
    /// Time that the thread was ready to run and waited for the CPU.
    pub waited_ns: u64,
    /// Time that other programs ran on its CPU, at least.
    pub others_ns: u64,
    /// Time that other workers ran on its CPU.
    pub workers_ns: u64,
    /// Time that the hypervisor gave its CPU to other machines.
    pub stolen_ns: u64,
    /// Time that the control group stopped the process because its quota was used up.
    pub throttled_ns: u64,
}

impl CpuUse {
    /// Adds the figures of another time.
    pub fn add(&mut self, other: &Self) {
        self.time_ns += other.time_ns;
        self.busy_ns += other.busy_ns;
        self.waited_ns += other.waited_ns;
        self.others_ns += other.others_ns;
        self.workers_ns += other.workers_ns;
        self.stolen_ns += other.stolen_ns;
        self.throttled_ns += other.throttled_ns;
    }

    /// Adds `other` as [`add`](Self::add), unless a sum becomes larger than what travels; some
    /// times may have been added then.
    pub(in crate::stats) fn checked_add(&mut self, other: &Self) -> Option<()> {
        let Self { time_ns, busy_ns, waited_ns, others_ns, workers_ns, stolen_ns, throttled_ns } =
            self;
        for (mine, theirs) in [
            (time_ns, other.time_ns),
            (busy_ns, other.busy_ns),
            (waited_ns, other.waited_ns),
            (others_ns, other.others_ns),
            (workers_ns, other.workers_ns),
            (stolen_ns, other.stolen_ns),
            (throttled_ns, other.throttled_ns),
        ] {
            *mine = wire::sum(*mine, theirs)?;
        }
        Some(())
    }

    /// Time in which the thread could not run although it should have.
    pub fn lost_ns(&self) -> u64 {
        self.waited_ns + self.stolen_ns
    }

    /// Share of the time that was lost, 0 to 1.
    pub fn lost_share(&self) -> f64 {
        share(self.lost_ns(), self.time_ns)
    }

    /// Share of the time that the thread ran, 0 to 1.
    pub fn busy_share(&self) -> f64 {
        share(self.busy_ns, self.time_ns)
    }
}

fn share(part_ns: u64, all_ns: u64) -> f64 {
    if all_ns == 0 { 0.0 } else { (part_ns as f64 / all_ns as f64).min(1.0) }
}

/// One worker's CPU over a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerCpu {
    /// All of the run.
    pub total: CpuUse,
    /// The seconds in which the generator was the limit.
    pub limited: CpuUse,
}

/// The reason why a worker fell behind, as far as its CPU tells. Each has another remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuCause {
    /// The worker had too much to do.
    Busy,
    /// Other programs used its CPU.
    OtherPrograms,
    /// Other workers used its CPU.
    OtherWorkers,
    /// Other threads of this process used its CPU, such as those that write files.
    OwnThreads,
    /// The hypervisor gave its CPU to other machines.
    Stolen,
    /// The quota of the control group was used up.
    Throttled,
    /// The worker neither worked nor waited for its CPU: it was woken late.
    WokenLate,
    /// The kernel does not tell.
    Unknown,
}

/// Share of the time above which a worker counts as busy. Call starts come in bursts, which queue
/// long before the average reaches 100 %.
const BUSY_SHARE: f64 = 0.7;

/// Share of the time above which a missing CPU matters: five waits of a millisecond in a second
/// make the 99th percentile of 500 starts late.
const LOST_SHARE: f64 = 0.005;

/// Share of the time above which a CPU counts as contested, however busy the worker was.
const CONTESTED_SHARE: f64 = 0.25;

impl CpuUse {
    /// Tells what kept the worker from its plan. Long waits are reported even if the worker was
    /// busy too.
    pub fn cause(&self) -> CpuCause {
        if self.time_ns == 0 {
            return CpuCause::Unknown;
        }
        let is_busy = self.busy_share() >= BUSY_SHARE;
        let lost_share = self.lost_share();
        let is_lost = lost_share >= LOST_SHARE;
        if is_busy && lost_share < CONTESTED_SHARE {
            return CpuCause::Busy;
        }
        if !is_lost {
            return CpuCause::WokenLate;
        }
        if self.throttled_ns >= self.lost_ns() / 2 {
            return CpuCause::Throttled;
        }
        if self.stolen_ns > self.waited_ns {
            return CpuCause::Stolen;
        }
        let half_ns = self.waited_ns / 2;
        match (self.others_ns, self.workers_ns) {
            (others, workers) if others >= half_ns && others >= workers => CpuCause::OtherPrograms,
            (_, workers) if workers >= half_ns => CpuCause::OtherWorkers,
            _ => CpuCause::OwnThreads,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(busy: u64, waited: u64) -> CpuUse {
        let ns = |ms: u64| ms * 1_000_000;
        let time_ns = ns(1000);
        CpuUse { time_ns, busy_ns: ns(busy), waited_ns: ns(waited), ..CpuUse::default() }
    }

    #[test]
    fn each_cause_has_its_signs() {
        let others = CpuUse { others_ns: 900_000_000, ..ms(40, 384) };
        assert_eq!(others.cause(), CpuCause::OtherPrograms);
        let workers = CpuUse { workers_ns: 600_000_000, ..ms(300, 384) };
        assert_eq!(workers.cause(), CpuCause::OtherWorkers);
        assert_eq!(ms(300, 384).cause(), CpuCause::OwnThreads);
        assert_eq!(CpuUse { stolen_ns: 400_000_000, ..others }.cause(), CpuCause::Stolen);
        assert_eq!(CpuUse { throttled_ns: 380_000_000, ..others }.cause(), CpuCause::Throttled);
        assert_eq!(ms(40, 1).cause(), CpuCause::WokenLate);
        assert_eq!(CpuUse::default().cause(), CpuCause::Unknown);
    }

    #[test]
    fn only_a_worker_that_was_busy_itself_is_called_busy() {
        assert_eq!(ms(960, 20).cause(), CpuCause::Busy);
        assert_eq!(ms(740, 240).cause(), CpuCause::Busy);
        assert_eq!(ms(690, 2).cause(), CpuCause::WokenLate);
        let contested = CpuUse { others_ns: 300_000_000, ..ms(700, 300) };
        assert_eq!(contested.cause(), CpuCause::OtherPrograms);
    }
}

//! The current use of the processors, in all and by program: the difference between two readings of
//! the kernel's counters.

use std::collections::BTreeMap;

use super::facts::{BusyCpu, BusyCpus, BusyProgram};
use crate::procfs::{TaskStat, cpu_ticks};

/// Most programs that are named.
const PROGRAMS_MAX: usize = 8;

/// Share of a processor below which programs are not named.
const PROGRAM_PERCENT_MIN: f64 = 5.0;

/// The counters at one moment, in ticks of the kernel's clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// Busy ticks and all ticks, by number of the processor.
    cpus: BTreeMap<usize, (u64, u64)>,
    /// Programs by process id.
    programs: BTreeMap<u32, Program>,
}

#[derive(Clone, Debug)]
struct Program {
    name: String,
    ticks: u64,
    cpu: usize,
}

impl Sample {
    /// Reads `/proc/stat`.
    pub(super) fn take_cpus(&mut self, stat: &str) {
        for (number, ticks) in cpu_ticks(stat) {
            let busy = ticks.busy + ticks.stolen;
            self.cpus.insert(number.into(), (busy, busy + ticks.idle));
        }
    }

    /// Reads `/proc/PID/stat`.
    pub(super) fn take_program(&mut self, pid: u32, stat: &str) {
        let Some(TaskStat { name, ticks, cpu }) = TaskStat::read(stat) else { return };
        let name = name.chars().filter(|c| !c.is_control()).collect();
        self.programs.insert(pid, Program { name, ticks, cpu });
    }

    /// Returns the use of the processors in `allowed` since `before`.
    pub(super) fn since(&self, before: &Self, allowed: &[usize], own: u32) -> Option<BusyCpus> {
        let cpus: Vec<BusyCpu> = allowed
            .iter()
            .filter_map(|&cpu| {
                let (then, now) = (before.cpus.get(&cpu)?, self.cpus.get(&cpu)?);
                let all = now.1.saturating_sub(then.1);
                let busy_percent = percent(now.0.saturating_sub(then.0), all)?;
                Some(BusyCpu { cpu, busy_percent })
            })
            .collect();
        let ticks = |sample: &Self| sample.cpus.values().map(|(_, all)| *all).max();
        let all = ticks(self)?.saturating_sub(ticks(before)?);
        let mut programs: Vec<BusyProgram> = self
            .programs
            .iter()
            .filter_map(|(&pid, now)| {
                let then = before.programs.get(&pid)?;
                let cpu_percent = percent(now.ticks.saturating_sub(then.ticks), all)?;
                Some(BusyProgram { pid, name: now.name.clone(), cpu: now.cpu, cpu_percent })
            })
            .filter(|program| program.pid != own && program.cpu_percent >= PROGRAM_PERCENT_MIN)
            .collect();
        programs.sort_by(|a, b| b.cpu_percent.total_cmp(&a.cpu_percent));
        programs.truncate(PROGRAMS_MAX);
        (!cpus.is_empty()).then_some(BusyCpus { cpus, programs })
    }
}

fn percent(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 * 100.0 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cpus: &str, programs: &[(u32, &str, u64)]) -> Sample {
        let mut sample = Sample::default();
        sample.take_cpus(cpus);
        for (pid, name, ticks) in programs {
            let rest = "0 ".repeat(23) + "1 0 0";
            let stat = format!("{pid} ({name}) R 1 1 1 0 -1 64 1 0 0 0 {ticks} 0 {rest}");
            sample.take_program(*pid, &stat);
        }
        sample
    }

    #[test]
    fn what_lies_between_two_looks_is_told_by_processor_and_program() {
        let before = sample(
            "cpu  9 9\ncpu0 10 0 0 90 0 0 0 0 0 0\ncpu1 5 0 0 95 0 0 0 0\ncpu2 1\n",
            &[(7, "a) (b", 100), (8, "idle", 50), (9, "ourselves", 0)],
        );
        let after = sample(
            "cpu  9 9\ncpu0 11 0 0 119 0 0 0 0 0 0\ncpu1 30 1 2 97 0 0 0 0\ncpu2 1\n",
            &[(7, "a) (b", 127), (8, "idle", 50), (9, "ourselves", 15), (10, "new", 15)],
        );
        let busy = after.since(&before, &[0, 1, 2, 3], 9).expect("something is known");
        let percents: Vec<_> =
            busy.cpus.iter().map(|cpu| (cpu.cpu, cpu.busy_percent.round())).collect();
        assert_eq!(percents, [(0, 3.0), (1, 93.0)]);
        let [program] = &busy.programs[..] else { panic!("{busy:?}") };
        assert_eq!((program.pid, program.name.as_str(), program.cpu), (7, "a) (b", 1));
        assert_eq!(program.cpu_percent.round(), 90.0);
    }

    #[test]
    fn nothing_is_known_of_what_was_not_seen_twice() {
        let text = "cpu0 10 0 0 90 0 0 0 0";
        assert_eq!(sample(text, &[]).since(&sample("", &[]), &[0], 1), None);
        assert_eq!(sample(text, &[]).since(&sample(text, &[]), &[0], 1), None);
    }
}

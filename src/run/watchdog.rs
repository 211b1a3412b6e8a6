//! Ends a run whose workers stall: its further figures would measure the generator.

use crate::config::Watchdog;
use crate::output::cpu_words;
use crate::stats::CpuUse;

/// A check of the stalls that workers count.
#[derive(Debug)]
pub(super) struct Guard {
    rules: Watchdog,
    /// Stalls that no longer count.
    forgotten: Stalls,
    seen: Stalls,
    last_ns: u64,
    /// CPU use of a worker at its last stall.
    cpu: CpuUse,
}

/// Number of stalls of workers since the start of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stalls {
    pub(super) minor: u64,
    pub(super) major: u64,
}

impl Guard {
    pub(super) fn new(rules: Watchdog) -> Self {
        Self {
            rules,
            forgotten: Stalls::default(),
            seen: Stalls::default(),
            last_ns: 0,
            cpu: CpuUse::default(),
        }
    }

    /// Stores the CPU use of a worker in an interval in which it stalled.
    pub(super) fn note_cpu(&mut self, cpu: CpuUse) {
        self.cpu = cpu;
    }

    /// Checks the stalls so far; returns a text if there are too many.
    pub(super) fn check(&mut self, stalls: Stalls, now: u64) -> Option<String> {
        if !self.rules.is_on {
            return None;
        }
        if stalls != self.seen {
            self.seen = stalls;
            self.last_ns = now;
        } else if now.saturating_sub(self.last_ns) >= self.rules.reset_ms.saturating_mul(1_000_000)
        {
            self.forgotten = stalls;
        }
        let Watchdog { minor_ms, major_ms, minor_max, major_max, .. } = self.rules;
        let counted = [
            ("major", major_ms, stalls.major - self.forgotten.major, major_max, "major"),
            ("minor", minor_ms, stalls.minor - self.forgotten.minor, minor_max, "minor"),
        ];
        let (kind, ms, count, max, flag) =
            counted.into_iter().find(|(_, _, count, max, _)| count > max)?;
        Some(format!(
            "the watchdog ends the run: workers did not run for {ms} ms or more {count} times; at \
             most {max} {kind} stalls are allowed\n  hint: at its last stall the worker was {}; or \
             raise -watchdog_{flag}_maxtriggers",
            cpu_words(&self.cpu)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn guard(is_on: bool) -> Guard {
        Guard::new(Watchdog {
            is_on,
            reset_ms: 10_000,
            minor_ms: 500,
            major_ms: 3000,
            minor_max: 3,
            major_max: 0,
        })
    }

    #[test]
    fn too_many_stalls_end_the_run() {
        let mut guard = guard(true);
        assert_eq!(guard.check(Stalls { minor: 3, major: 0 }, SECOND), None);
        let text = guard.check(Stalls { minor: 4, major: 0 }, 2 * SECOND).unwrap();
        assert!(text.contains("4 times") && text.contains("3 minor"), "{text}");
        let text = guard.check(Stalls { minor: 0, major: 1 }, 3 * SECOND).unwrap();
        assert!(text.contains("-watchdog_major_maxtriggers"), "{text}");
    }

    #[test]
    fn the_hint_is_that_of_the_workers_cpu() {
        let mut guard = guard(true);
        guard.note_cpu(CpuUse {
            time_ns: SECOND,
            busy_ns: SECOND / 25,
            waited_ns: SECOND / 2,
            others_ns: SECOND,
            ..CpuUse::default()
        });
        let text = guard.check(Stalls { minor: 4, major: 0 }, SECOND).unwrap();
        assert!(text.contains("4 % busy and waited 500 ms"), "{text}");
        assert!(text.contains("use -cpus") && !text.contains("lower the rate"), "{text}");
    }

    #[test]
    fn stalls_are_forgotten_after_a_quiet_time() {
        let mut guard = guard(true);
        assert_eq!(guard.check(Stalls { minor: 3, major: 0 }, SECOND), None);
        assert_eq!(guard.check(Stalls { minor: 3, major: 0 }, 11 * SECOND), None);
        assert_eq!(guard.check(Stalls { minor: 6, major: 0 }, 12 * SECOND), None);
        assert!(guard.check(Stalls { minor: 7, major: 0 }, 13 * SECOND).is_some());
    }

    #[test]
    fn a_watchdog_that_is_off_only_looks_on() {
        assert_eq!(guard(false).check(Stalls { minor: 99, major: 99 }, SECOND), None);
    }
}

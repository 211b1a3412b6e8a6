//! Durations within the last minutes: a current problem must not hide behind hours of good times.

use std::collections::VecDeque;

use super::cells::Cells;
use super::distribution::Distribution;

/// Lengths of the windows, in seconds. The shown window begins up to ten seconds later.
pub const RECENT_SECONDS: [u64; 2] = [60, 300];

/// Length of a slot in seconds. The seconds of a slot are forgotten together.
const SLOT_SECONDS: u64 = 10;

/// Cells of two significant decimal digits: percentiles are 1 % off at most, and a slot takes some
/// 13 KiB, of which there are 32 for the longest window.
type Cells2 = Cells<u32, 128>;

/// Durations of one kind within the last minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecentSummary {
    /// Length of the window in seconds.
    pub seconds: u64,
    /// Durations recorded in the window.
    pub count: u64,
    /// Median in nanoseconds; 0 if nothing was recorded, as for the other percentiles.
    pub p50_ns: u64,
    /// 90th percentile in nanoseconds.
    pub p90_ns: u64,
    /// 95th percentile in nanoseconds.
    pub p95_ns: u64,
    /// 99th percentile in nanoseconds.
    pub p99_ns: u64,
}

/// Durations of the seconds that are forgotten together.
#[derive(Clone, Debug)]
struct Slot {
    number: u64,
    us: Cells2,
}

/// The durations of one kind in the last minutes, within fixed memory.
#[derive(Clone, Debug)]
pub(super) struct Recent {
    /// Slots with durations, oldest first.
    slots: VecDeque<Slot>,
    /// The sum of the slots in each window.
    windows: [Cells2; RECENT_SECONDS.len()],
    /// The slot of the last second.
    now: u64,
    spare: Vec<Cells2>,
}

impl Recent {
    pub(super) fn new() -> Self {
        let windows = RECENT_SECONDS.map(|_| Cells2::new());
        Self { slots: VecDeque::new(), windows, now: 0, spare: Vec::new() }
    }

    /// Adds the durations of the next second of the run.
    pub(super) fn take(&mut self, second: u64, durations: Option<&Distribution>) {
        self.advance(second / SLOT_SECONDS);
        let Some(durations) = durations.filter(|durations| durations.count() > 0) else { return };
        if self.slots.back().is_none_or(|slot| slot.number != self.now) {
            let us = self.spare.pop().unwrap_or_else(Cells2::new);
            self.slots.push_back(Slot { number: self.now, us });
        }
        let Some(slot) = self.slots.back_mut() else { return };
        for (us, count) in durations.cells() {
            slot.us.record(us, count);
            self.windows.iter_mut().for_each(|window| window.record(us, count));
        }
    }

    /// Takes the slots that have become too old out of the windows.
    fn advance(&mut self, now: u64) {
        if now <= self.now {
            return;
        }
        let longest = RECENT_SECONDS.iter().max().map_or(0, |seconds| seconds / SLOT_SECONDS);
        for (window, seconds) in self.windows.iter_mut().zip(RECENT_SECONDS) {
            let is_in = |slot: &&Slot, at: u64| slot.number + seconds / SLOT_SECONDS > at;
            let leaving = self.slots.iter().filter(|slot| is_in(slot, self.now));
            for slot in leaving.filter(|slot| !is_in(slot, now)) {
                window.subtract(&slot.us);
            }
        }
        self.now = now;
        while let Some(mut old) = self.slots.pop_front_if(|slot| slot.number + longest <= now) {
            old.us.clear();
            self.spare.push(old.us);
        }
    }

    /// Forgets everything, keeping the memory.
    pub(super) fn clear(&mut self) {
        self.windows.iter_mut().for_each(|window| window.clear());
        for mut slot in self.slots.drain(..) {
            slot.us.clear();
            self.spare.push(slot.us);
        }
    }

    /// Returns the figures that reports show of each window.
    pub(super) fn summarize(&self) -> [RecentSummary; RECENT_SECONDS.len()] {
        std::array::from_fn(|index| {
            let window = &self.windows[index];
            let quantile_ns = |quantile| window.at_quantile(quantile).saturating_mul(1000);
            RecentSummary {
                seconds: RECENT_SECONDS[index],
                count: window.total(),
                p50_ns: quantile_ns(0.5),
                p90_ns: quantile_ns(0.9),
                p95_ns: quantile_ns(0.95),
                p99_ns: quantile_ns(0.99),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(ms: u64) -> Distribution {
        let mut durations = Distribution::new();
        (0..100).for_each(|_| durations.record(ms * 1_000_000));
        durations
    }

    fn counts(recent: &Recent) -> [u64; 2] {
        recent.summarize().map(|summary| summary.count)
    }

    #[test]
    fn slow_answers_are_seen_at_once_and_forgotten_after_their_window() {
        let mut recent = Recent::new();
        (0..3600).for_each(|at| recent.take(at, Some(&second(2))));
        (3600..3660).for_each(|at| recent.take(at, Some(&second(80))));
        let [minute, five] = recent.summarize();
        assert!(minute.p50_ns.abs_diff(80_000_000) < 1_000_000, "{minute:?}");
        assert!(five.p50_ns.abs_diff(2_000_000) < 30_000, "{five:?}");
        assert!(five.p99_ns.abs_diff(80_000_000) < 1_000_000, "{five:?}");
        (3660..3720).for_each(|at| recent.take(at, Some(&second(2))));
        let [minute, five] = recent.summarize();
        assert!(minute.p99_ns.abs_diff(2_000_000) < 30_000, "{minute:?}");
        assert!(five.p99_ns.abs_diff(80_000_000) < 1_000_000, "{five:?}");
    }

    #[test]
    fn a_window_holds_its_seconds_less_a_slot_at_most() {
        let mut recent = Recent::new();
        for at in 0..2000 {
            recent.take(at, Some(&second(5)));
            for (count, seconds) in counts(&recent).into_iter().zip(RECENT_SECONDS) {
                let held = count / 100;
                assert!(held <= seconds && held > seconds.min(at + 1) - SLOT_SECONDS.min(at + 1));
            }
            assert!(recent.slots.len() + recent.spare.len() <= 31);
        }
    }

    #[test]
    fn quiet_seconds_pass_too_one_by_one_or_at_once() {
        let mut recent = Recent::new();
        (0..10).for_each(|at| recent.take(at, Some(&second(5))));
        (10..60).for_each(|at| recent.take(at, None));
        assert_eq!(counts(&recent), [1000, 1000]);
        recent.take(60, None);
        assert_eq!(counts(&recent), [0, 1000]);
        recent.take(900, None);
        assert_eq!(counts(&recent), [0, 0]);
        recent.take(901, Some(&second(7)));
        assert_eq!(counts(&recent), [100, 100]);
        recent.clear();
        assert_eq!(counts(&recent), [0, 0]);
        assert_eq!(recent.summarize()[0].p99_ns, 0);
    }
}

//! The times of streams: a wheel of ticks of one millisecond with intrusive lists.
//!
//! Arming, cancelling and taking a timer each cost O(1), and nothing is allocated. All that is due
//! in one tick comes at once, so that it can leave in trains. A timer beyond the wheel's turn stays
//! in its slot until its own turn comes.

/// Length of a tick.
pub(super) const TICK_NS: u64 = 1_000_000;
/// Ticks of a turn; a power of two. A second covers nearly all gaps between packets.
const SLOTS: usize = 1024;
const NONE: u32 = u32::MAX;
/// The tick of a timer that is not armed.
const NEVER: u64 = u64::MAX;

#[derive(Clone, Copy, Debug)]
struct Timer {
    tick: u64,
    previous: u32,
    next: u32,
}

const DISARMED: Timer = Timer { tick: NEVER, previous: NONE, next: NONE };

/// A wheel over a table of timers.
#[derive(Debug)]
pub(super) struct Schedule {
    timers: Vec<Timer>,
    /// First timer of each slot.
    heads: Box<[u32; SLOTS]>,
    /// One bit for each slot that has a timer.
    occupied: [u64; SLOTS / 64],
    /// The next tick to look at.
    tick: u64,
    /// The timer of the current tick to look at next.
    cursor: u32,
    is_within: bool,
    armed: usize,
}

/// The tick at which `time_ns` has come.
pub(super) fn tick_of(time_ns: u64) -> u64 {
    time_ns.div_ceil(TICK_NS)
}

impl Schedule {
    /// A wheel for timers `0..capacity` that begins at `now`. Memory is touched as timers are first
    /// used.
    pub(super) fn new(capacity: usize, now: u64) -> Self {
        Self {
            timers: Vec::with_capacity(capacity),
            heads: Box::new([NONE; SLOTS]),
            occupied: [0; SLOTS / 64],
            tick: now / TICK_NS,
            cursor: NONE,
            is_within: false,
            armed: 0,
        }
    }

    /// Arms `timer` for `time_ns`, in place of an earlier time. It is never due early.
    pub(super) fn arm(&mut self, timer: u32, time_ns: u64) {
        self.cancel(timer);
        let first = self.tick + u64::from(self.is_within);
        let tick = tick_of(time_ns).max(first);
        let slot = tick as usize % SLOTS;
        let next = self.heads[slot];
        if let Some(head) = self.timers.get_mut(next as usize) {
            head.previous = timer;
        }
        self.timers[timer as usize] = Timer { tick, previous: NONE, next };
        self.heads[slot] = timer;
        self.occupied[slot / 64] |= 1 << (slot % 64);
        self.armed += 1;
    }

    /// Disarms `timer`; has no effect if it is not armed.
    pub(super) fn cancel(&mut self, timer: u32) {
        let place = timer as usize;
        if place >= self.timers.len() {
            self.timers.resize(place + 1, DISARMED);
        }
        let Timer { tick, previous, next } = std::mem::replace(&mut self.timers[place], DISARMED);
        if tick == NEVER {
            return;
        }
        self.armed -= 1;
        if self.cursor == timer {
            self.cursor = next;
        }
        if let Some(next) = self.timers.get_mut(next as usize) {
            next.previous = previous;
        }
        match self.timers.get_mut(previous as usize) {
            Some(previous) => previous.next = next,
            None => {
                let slot = tick as usize % SLOTS;
                self.heads[slot] = next;
                if next == NONE {
                    self.occupied[slot / 64] &= !(1 << (slot % 64));
                }
            }
        }
    }

    /// Takes a timer that is due at `now` and disarms it. Those of one tick come before those of
    /// the next.
    pub(super) fn pop_due(&mut self, now: u64) -> Option<u32> {
        let last = now / TICK_NS;
        loop {
            if !self.is_within {
                if self.armed == 0 {
                    self.tick = self.tick.max(last + 1);
                    return None;
                }
                let slot = self.tick as usize % SLOTS;
                // A whole turn is enough to see every slot once.
                self.tick += self.distance(slot).unwrap_or(0) as u64;
                if self.tick > last {
                    self.tick = last + 1;
                    return None;
                }
                self.cursor = self.heads[self.tick as usize % SLOTS];
                self.is_within = true;
            }
            while let Some(&Timer { tick, next, .. }) = self.timers.get(self.cursor as usize) {
                let timer = self.cursor;
                self.cursor = next;
                if tick <= self.tick {
                    self.cancel(timer);
                    return Some(timer);
                }
            }
            self.is_within = false;
            self.tick += 1;
        }
    }

    /// The time of the next tick that has timers, which may all be due in a later turn; never if
    /// none is armed.
    pub(super) fn next_time_ns(&self) -> u64 {
        if self.armed == 0 {
            return u64::MAX;
        }
        if self.is_within && self.cursor != NONE {
            return self.tick * TICK_NS;
        }
        let tick = self.tick + u64::from(self.is_within);
        (tick + self.distance(tick as usize % SLOTS).unwrap_or(0) as u64) * TICK_NS
    }

    /// Slots from `from` to the next one with a timer.
    fn distance(&self, from: usize) -> Option<usize> {
        let words = self.occupied.len();
        for step in 0..=words {
            let index = (from / 64 + step) % words;
            let mut word = self.occupied[index];
            if step == 0 {
                word &= u64::MAX << (from % 64);
            } else if step == words {
                word &= !(u64::MAX << (from % 64));
            }
            if word != 0 {
                let slot = index * 64 + word.trailing_zeros() as usize;
                return Some((slot + SLOTS - from) % SLOTS);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        Arm(u32, u64),
        Cancel(u32),
        Advance(u64),
        FollowDeadline,
    }

    fn op() -> impl Strategy<Value = Op> {
        let delay = prop_oneof![0..40 * TICK_NS, 0..3000 * TICK_NS, 0..100_000 * TICK_NS];
        prop_oneof![
            4 => (0..64u32, delay.clone()).prop_map(|(timer, delay)| Op::Arm(timer, delay)),
            1 => (0..64u32).prop_map(Op::Cancel),
            2 => delay.prop_map(Op::Advance),
            2 => Just(Op::FollowDeadline),
        ]
    }

    proptest! {
        /// The wheel against a sorted map: the same timers, never early, in the order of ticks; the
        /// deadline misses none of them.
        #[test]
        fn agrees_with_a_sorted_map(
            start in 0..1_000_000_000_000u64,
            ops in proptest::collection::vec(op(), 1..150),
        ) {
            let mut schedule = Schedule::new(64, start);
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = start;
            for op in ops {
                match op {
                    Op::Arm(timer, delay) => {
                        schedule.arm(timer, now + delay);
                        model.insert(timer, now + delay);
                    }
                    Op::Cancel(timer) => {
                        schedule.cancel(timer);
                        model.remove(&timer);
                    }
                    Op::Advance(by) => now += by,
                    Op::FollowDeadline => {
                        let next = schedule.next_time_ns();
                        match model.values().min() {
                            None => prop_assert_eq!(next, u64::MAX),
                            Some(&earliest) => {
                                prop_assert!(next <= tick_of(earliest.max(now)) * TICK_NS);
                                now = now.max(next);
                            }
                        }
                    }
                }
                let mut tick = 0;
                while let Some(timer) = schedule.pop_due(now) {
                    let time_ns = model.remove(&timer);
                    let due = time_ns.map(tick_of);
                    prop_assert!(due.is_some_and(|due| due <= now / TICK_NS && due >= tick));
                    tick = due.unwrap_or(tick);
                }
                for time_ns in model.values() {
                    prop_assert!(tick_of(*time_ns) > now / TICK_NS, "missed");
                }
            }
        }
    }

    #[test]
    fn a_timer_armed_within_its_tick_comes_in_the_next_one() {
        let mut schedule = Schedule::new(2, 0);
        schedule.arm(0, 5 * TICK_NS);
        schedule.arm(1, 5 * TICK_NS);
        let first = schedule.pop_due(7 * TICK_NS).unwrap();
        schedule.arm(first, 5 * TICK_NS);
        assert_eq!(schedule.pop_due(7 * TICK_NS), Some(1 - first));
        assert_eq!(schedule.pop_due(7 * TICK_NS), Some(first));
        assert_eq!(schedule.pop_due(7 * TICK_NS), None);
        assert_eq!(schedule.next_time_ns(), u64::MAX);
    }
}

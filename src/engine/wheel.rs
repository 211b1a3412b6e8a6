//! Hierarchical timing wheel: millions of timers, O(1) to arm and cancel, no allocation.
//!
//! Four levels of 256 slots over a tick of 2^17 ns (131 µs); entries are intrusive, so that a timer
//! is an index into a table sized at start. A deadline is rounded up to a tick: a timer never fires
//! early, and at most one tick late. Deadlines beyond the top level (6.5 days) wait there and are
//! placed again when they come round.

/// log2 of the tick in nanoseconds.
const TICK_SHIFT: u32 = 17;
const SLOT_BITS: u32 = 8;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 4;
const NONE: u32 = u32::MAX;
/// Marks an entry that is in no slot.
const DISARMED: u64 = u64::MAX;

#[derive(Clone, Copy)]
struct Entry {
    previous: u32,
    next: u32,
    /// Tick at which the timer fires; `DISARMED` if it is not armed.
    tick: u64,
}

/// The entries. All zero bits mean disarmed, so the table is zeroed memory; its pages stay
/// untouched until one of their timers is armed.
struct Entries(Vec<[u64; 2]>);

impl Entries {
    fn get(&self, timer: u32) -> Entry {
        let [tick, links] = self.0[timer as usize];
        Entry { previous: (links >> 32) as u32, next: links as u32, tick: tick.wrapping_sub(1) }
    }

    fn set(&mut self, timer: u32, entry: Entry) {
        let links = u64::from(entry.previous) << 32 | u64::from(entry.next);
        self.0[timer as usize] = [entry.tick.wrapping_add(1), links];
    }

    fn set_previous(&mut self, timer: u32, previous: u32) {
        let links = &mut self.0[timer as usize][1];
        *links = u64::from(previous) << 32 | *links & u64::from(u32::MAX);
    }

    fn set_next(&mut self, timer: u32, next: u32) {
        let links = &mut self.0[timer as usize][1];
        *links = *links & !u64::from(u32::MAX) | u64::from(next);
    }
}

/// Bytes of a timer, armed or not.
pub(super) const TIMER_BYTES: usize = size_of::<[u64; 2]>();

/// A hierarchical timing wheel over a fixed table of timers.
pub struct Wheel {
    entries: Entries,
    /// First entry of each slot, level by level.
    heads: Vec<u32>,
    /// One bit per nonempty slot, level by level.
    occupied: [[u64; SLOTS / 64]; LEVELS],
    /// The next tick to process.
    now: u64,
    armed: usize,
    /// First entry of the list of due timers, taken out of the wheel but not yet handed out.
    due: u32,
}

impl Wheel {
    /// A wheel for timers `0..capacity` that starts at `now_ns`.
    pub fn new(capacity: usize, now_ns: u64) -> Self {
        Self {
            entries: Entries(vec![[0; 2]; capacity]),
            heads: vec![NONE; LEVELS * SLOTS],
            occupied: [[0; SLOTS / 64]; LEVELS],
            now: now_ns >> TICK_SHIFT,
            armed: 0,
            due: NONE,
        }
    }

    /// Timers armed now.
    pub fn armed(&self) -> usize {
        self.armed
    }

    /// `true` if `timer` is armed.
    pub fn is_armed(&self, timer: u32) -> bool {
        self.entries.get(timer).tick != DISARMED
    }

    /// Arms `timer` for `deadline_ns`, replacing an earlier deadline.
    pub fn arm(&mut self, timer: u32, deadline_ns: u64) {
        self.cancel(timer);
        let tick = (deadline_ns.saturating_add((1 << TICK_SHIFT) - 1) >> TICK_SHIFT).max(self.now);
        self.armed += 1;
        self.link(timer, tick);
    }

    /// Disarms `timer`; has no effect if it is not armed.
    pub fn cancel(&mut self, timer: u32) {
        let entry = self.entries.get(timer);
        if entry.tick == DISARMED {
            return;
        }
        self.armed -= 1;
        if entry.next != NONE {
            self.entries.set_previous(entry.next, entry.previous);
        }
        if entry.previous & HEAD_BIT == 0 {
            self.entries.set_next(entry.previous, entry.next);
        } else if entry.previous == DUE_HEAD {
            self.due = entry.next;
        } else {
            let slot = (entry.previous & !HEAD_BIT) as usize;
            self.heads[slot] = entry.next;
            if entry.next == NONE {
                self.occupied[slot / SLOTS][slot % SLOTS / 64] &= !(1 << (slot % 64));
            }
        }
        self.entries.set(timer, Entry { previous: NONE, next: NONE, tick: DISARMED });
    }

    /// Takes one timer whose deadline is at or before `now_ns`, and disarms it.
    pub fn pop_due(&mut self, now_ns: u64) -> Option<u32> {
        let target = now_ns >> TICK_SHIFT;
        while self.due == NONE {
            if self.now > target {
                return None;
            }
            if self.armed == 0 {
                self.now = target + 1;
                return None;
            }
            self.step(target);
        }
        let timer = self.due;
        self.cancel(timer);
        Some(timer)
    }

    /// Time at which to call [`Wheel::pop_due`] next, in nanoseconds: the earliest deadline, or
    /// earlier if a higher level must be sorted into a lower one.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        if self.armed == 0 {
            return None;
        }
        if self.due != NONE {
            return Some(0);
        }
        let mut best = u64::MAX;
        for level in 0..LEVELS {
            let shift = SLOT_BITS * level as u32;
            let current = self.now >> shift;
            // On the boundary of a level its current slot has not been sorted down yet.
            let pending = level == 0 || self.now & ((1 << shift) - 1) == 0;
            let from = if pending { current } else { current + 1 };
            if let Some(distance) = self.next_occupied(level, from as usize % SLOTS) {
                best = best.min((from + distance as u64) << shift);
            }
        }
        Some(best << TICK_SHIFT)
    }

    /// Processes ticks up to the next one that holds a timer, at most up to `target`.
    fn step(&mut self, target: u64) {
        // Sort higher levels down when their turn has come.
        for level in (1..LEVELS).rev() {
            let shift = SLOT_BITS * level as u32;
            if self.now & ((1 << shift) - 1) == 0 {
                self.cascade(level, (self.now >> shift) as usize % SLOTS);
            }
        }
        let slot = self.now as usize % SLOTS;
        if self.heads[slot] != NONE {
            self.take_due(slot);
            self.now += 1;
            return;
        }
        // Jump over empty ticks, but not over a level boundary.
        let boundary = (self.now | (SLOTS as u64 - 1)) + 1;
        let next = match self.next_occupied(0, slot) {
            Some(distance) => self.now + distance as u64,
            None => boundary,
        };
        self.now = next.min(boundary).min(target + 1).max(self.now + 1);
    }

    fn take_due(&mut self, slot: usize) {
        let head = self.heads[slot];
        self.heads[slot] = NONE;
        self.occupied[0][slot / 64] &= !(1 << (slot % 64));
        self.due = head;
        self.entries.set_previous(head, DUE_HEAD);
    }

    fn cascade(&mut self, level: usize, slot: usize) {
        let mut timer = self.heads[level * SLOTS + slot];
        self.heads[level * SLOTS + slot] = NONE;
        self.occupied[level][slot / 64] &= !(1 << (slot % 64));
        while timer != NONE {
            let entry = self.entries.get(timer);
            self.link(timer, entry.tick);
            timer = entry.next;
        }
    }

    /// Links an entry that fires at `tick` at the head of its slot.
    fn link(&mut self, timer: u32, tick: u64) {
        let delta = tick - self.now;
        let level = (0..LEVELS - 1)
            .find(|&level| delta < 1 << (SLOT_BITS * (level as u32 + 1)))
            .unwrap_or(LEVELS - 1);
        let shift = SLOT_BITS * level as u32;
        // Beyond the top level, a timer waits in the farthest slot and is placed again from there.
        let reach = (1u64 << (SLOT_BITS * LEVELS as u32)) - (1 << shift);
        let slot = (self.now.saturating_add(delta.min(reach)) >> shift) as usize % SLOTS;
        let head = level * SLOTS + slot;
        let first = self.heads[head];
        if first != NONE {
            self.entries.set_previous(first, timer);
        }
        let previous = HEAD_BIT | head as u32;
        self.entries.set(timer, Entry { previous, next: first, tick });
        self.heads[head] = timer;
        self.occupied[level][slot / 64] |= 1 << (slot % 64);
    }

    /// Distance from slot `from` to the next occupied slot of `level`, going round once.
    fn next_occupied(&self, level: usize, from: usize) -> Option<usize> {
        let words = &self.occupied[level];
        for step in 0..=words.len() {
            let index = (from / 64 + step) % words.len();
            let mut word = words[index];
            if step == 0 {
                word &= u64::MAX << (from % 64);
            } else if step == words.len() {
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

/// In `Entry::previous`: the entry is the first of slot `previous & !HEAD_BIT`.
const HEAD_BIT: u32 = 1 << 31;
/// In `Entry::previous`: the entry is the first of the due list.
const DUE_HEAD: u32 = HEAD_BIT | 0x7fff_fffe;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const TICK: u64 = 1 << TICK_SHIFT;

    #[test]
    fn fires_in_its_tick_and_never_early() {
        let mut wheel = Wheel::new(4, 0);
        wheel.arm(0, 10 * TICK + 1);
        assert_eq!(wheel.next_deadline_ns(), Some(11 * TICK));
        assert_eq!(wheel.pop_due(10 * TICK + 5), None);
        assert_eq!(wheel.pop_due(11 * TICK), Some(0));
        assert_eq!(wheel.armed(), 0);
    }

    #[test]
    fn due_timers_can_be_cancelled_and_armed_again_while_popping() {
        let mut wheel = Wheel::new(4, 0);
        for timer in 0..4 {
            wheel.arm(timer, 5 * TICK);
        }
        let first = wheel.pop_due(6 * TICK).unwrap();
        let victim = (0..4).find(|&timer| timer != first).unwrap();
        wheel.cancel(victim);
        wheel.arm(first, 100 * TICK);
        let mut rest = Vec::new();
        while let Some(timer) = wheel.pop_due(6 * TICK) {
            rest.push(timer);
        }
        rest.sort_unstable();
        let expected: Vec<u32> = (0..4).filter(|&t| t != first && t != victim).collect();
        assert_eq!(rest, expected);
        assert_eq!(wheel.pop_due(100 * TICK), Some(first));
    }

    #[test]
    fn deadlines_of_days_survive_the_top_level() {
        let mut wheel = Wheel::new(1, 123_456_789);
        let deadline = 30 * 24 * 3600 * 1_000_000_000u64;
        wheel.arm(0, deadline);
        let mut now = 0;
        while let Some(next) = wheel.next_deadline_ns() {
            assert!(next >= now);
            now = next;
            if wheel.pop_due(now).is_some() {
                break;
            }
        }
        assert!(now >= deadline && now < deadline + 2 * TICK, "{now}");
    }

    #[derive(Clone, Debug)]
    enum Op {
        Arm(u32, u64),
        Cancel(u32),
        Advance(u64),
        FollowDeadline,
    }

    fn op() -> impl Strategy<Value = Op> {
        let delay = prop_oneof![0..300 * TICK, 0..70_000 * TICK, 0..20_000_000 * TICK];
        prop_oneof![
            4 => (0..64u32, delay.clone()).prop_map(|(t, d)| Op::Arm(t, d)),
            1 => (0..64u32).prop_map(Op::Cancel),
            2 => delay.prop_map(Op::Advance),
            2 => Just(Op::FollowDeadline),
        ]
    }

    proptest! {
        /// The wheel against a sorted map: same timers, same ticks, and following
        /// `next_deadline_ns` alone never misses one.
        #[test]
        fn agrees_with_a_sorted_map(start in 0..1_000_000_000_000u64,
                                    ops in proptest::collection::vec(op(), 1..200)) {
            let mut wheel = Wheel::new(64, start);
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = start;
            for op in ops {
                match op {
                    Op::Arm(timer, delay) => {
                        wheel.arm(timer, now + delay);
                        model.insert(timer, now + delay);
                    }
                    Op::Cancel(timer) => {
                        wheel.cancel(timer);
                        model.remove(&timer);
                    }
                    Op::Advance(by) => now += by,
                    Op::FollowDeadline => {
                        if let Some(next) = wheel.next_deadline_ns() {
                            let earliest = *model.values().min().unwrap();
                            prop_assert!(next < earliest.max(now) + TICK,
                                "next {next} earliest {earliest}");
                            now = now.max(next);
                        }
                    }
                }
                let mut fired = Vec::new();
                while let Some(timer) = wheel.pop_due(now) {
                    fired.push(timer);
                }
                for timer in fired {
                    let deadline = model.remove(&timer);
                    prop_assert!(deadline.is_some_and(|d| d <= now), "{timer} early or unknown");
                }
                for (timer, deadline) in &model {
                    prop_assert!(deadline.div_ceil(TICK) > now >> TICK_SHIFT, "{timer} missed");
                }
                prop_assert_eq!(wheel.armed(), model.len());
            }
        }
    }
}

//! Number of receive buffers of a class that the kernel is given at a time.
//!
//! The kernel takes buffers in the order in which they are given, and writes to all that it has in
//! turn, each as far as the longest train that ever came into it. So it is given only as many as
//! are needed between two turns, with a reserve. The others wait here, and the one given back last
//! is the next to be given, because it is the warmest.

/// Buffers that the kernel always has: as many as one gathering fills, or all if there are fewer.
const SIZE_MIN: u16 = 64;
/// Turns after which the window is fitted to the buffers that they needed.
const TURNS: u32 = 4096;

/// The buffers that the kernel has, and those that it may be given.
#[derive(Debug)]
pub(super) struct Window {
    count: u16,
    /// Buffers that the kernel should have.
    size: u16,
    /// Buffers that the kernel has.
    given: u16,
    /// The fewest buffers that the kernel had since the window was fitted.
    lowest: u16,
    turns: u32,
    /// Free buffers that the kernel does not have, the warmest last.
    spare: Vec<u16>,
}

impl Window {
    /// A window on `count` free buffers, of which the kernel has none yet.
    pub(super) fn new(count: u16) -> Self {
        let size = count.min(SIZE_MIN);
        Self { count, size, given: 0, lowest: size, turns: 0, spare: (0..count).rev().collect() }
    }

    /// Free buffers, with those that the kernel has.
    pub(super) fn free(&self) -> u32 {
        u32::from(self.given) + self.spare.len() as u32
    }

    /// Takes note that the kernel has filled a buffer.
    #[inline]
    pub(super) fn take(&mut self) {
        self.given -= 1;
        self.lowest = self.lowest.min(self.given);
    }

    /// Takes back a buffer, which is free again.
    #[inline]
    pub(super) fn give_back(&mut self, index: u16) {
        self.spare.push(index);
    }

    /// The next buffer to give to the kernel; `None` once it has as many as it should have.
    #[inline]
    pub(super) fn next(&mut self) -> Option<u16> {
        if self.given >= self.size {
            return None;
        }
        let index = self.spare.pop()?;
        self.given += 1;
        Some(index)
    }

    /// Begins a turn: fits the window to the buffers that the last ones needed.
    #[inline]
    pub(super) fn turn(&mut self) {
        self.turns += 1;
        if self.lowest < self.size / 4 {
            self.resize(self.size.saturating_mul(2));
        } else if self.turns >= TURNS {
            let used = self.size - self.lowest.min(self.size);
            self.resize(used.saturating_mul(2).max(self.size / 2));
        }
    }

    /// Takes note that the kernel had no buffer left. Returns `true` if spare ones were kept from
    /// it: it gets them all.
    pub(super) fn open(&mut self) -> bool {
        let held_back = self.size < self.count;
        self.resize(self.count);
        held_back
    }

    fn resize(&mut self, size: u16) {
        self.size = size.clamp(self.count.min(SIZE_MIN), self.count);
        self.lowest = self.size;
        self.turns = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets the kernel fill `filled` buffers in each of `turns` turns; returns the highest.
    fn run(
        window: &mut Window,
        kernel: &mut std::collections::VecDeque<u16>,
        turns: u32,
        filled: usize,
    ) -> u16 {
        let mut highest = 0;
        for _ in 0..turns {
            window.turn();
            kernel.extend(std::iter::from_fn(|| window.next()));
            let taken: Vec<u16> = kernel.drain(..filled.min(kernel.len())).collect();
            taken.iter().for_each(|_| window.take());
            highest = highest.max(taken.iter().copied().max().unwrap_or(0));
            taken.into_iter().for_each(|index| window.give_back(index));
        }
        highest
    }

    #[test]
    fn few_buffers_serve_a_small_load_for_ever() {
        let (mut window, mut kernel) = (Window::new(4096), Default::default());
        assert!(run(&mut window, &mut kernel, 100_000, 10) < SIZE_MIN);
    }

    #[test]
    fn the_window_follows_the_load() {
        let (mut window, mut kernel) = (Window::new(256), Default::default());
        run(&mut window, &mut kernel, 20, 200);
        assert_eq!(window.size, 256);
        run(&mut window, &mut kernel, 5 * TURNS, 5);
        assert_eq!(window.size, SIZE_MIN);
        assert_eq!(window.free(), 256);
    }

    #[test]
    fn a_kernel_without_buffers_gets_all_there_are() {
        let mut window = Window::new(256);
        assert!(window.open());
        assert_eq!(std::iter::from_fn(|| window.next()).count(), 256);
        // Now there are no spare ones.
        assert!(!window.open());
        assert!(!Window::new(4).open());
    }
}

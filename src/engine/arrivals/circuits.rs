//! Circuits of a TDM trunk (`-tdmmap`). Each call that we make holds one until it ends.

use crate::engine::pacing;
use crate::engine::steps::render::Out;

/// The range of circuits: interface, trunk, link and channel of SIPp's `{a-b}{h}{c-d}{e-f}`, bounds
/// included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitMap {
    /// `{a-b}`
    pub first: (u32, u32),
    /// `{h}`
    pub second: u32,
    /// `{c-d}`
    pub third: (u32, u32),
    /// `{e-f}`
    pub fourth: (u32, u32),
}

fn count((low, high): (u32, u32)) -> u64 {
    u64::from(high.saturating_sub(low)) + 1
}

impl CircuitMap {
    /// Number of circuits in the map.
    pub fn len(&self) -> u64 {
        count(self.first) * count(self.third) * count(self.fourth)
    }

    /// Always `false`: each part holds at least one number.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Interface, link and channel of circuit `index`.
    pub fn parts(&self, index: u32) -> [u32; 3] {
        let index = u64::from(index);
        let (fourths, thirds) = (count(self.fourth), count(self.third));
        [
            self.first.0 + (index / (thirds * fourths)) as u32,
            self.third.0 + (index / fourths % thirds) as u32,
            self.fourth.0 + (index % fourths) as u32,
        ]
    }

    /// Circuit `index` as `a.h.c/e`.
    pub(in crate::engine) fn put(&self, index: u32, out: &mut Out<'_>) {
        let [first, third, fourth] = self.parts(index);
        for (number, end) in [(first, &b"."[..]), (self.second, b"."), (third, b"/")] {
            out.number(i64::from(number));
            out.put(end);
        }
        out.number(i64::from(fourth));
    }
}

/// Circuits that calls hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BusyCircuits {
    /// Their indices, in no order; at most as many as the caller asked for.
    pub circuits: Vec<u32>,
    /// Number of all circuits that calls hold.
    pub count: usize,
}

/// One worker's share of the circuits.
pub(in crate::engine) struct Circuits {
    pub(in crate::engine) map: CircuitMap,
    free: Vec<u32>,
}

impl Circuits {
    pub(in crate::engine) fn new(map: CircuitMap, worker: usize, workers: usize) -> Self {
        let own = pacing::share(map.len(), worker, workers);
        let free = (0..own).map(|index| (index * workers as u64 + worker as u64) as u32).collect();
        Self { map, free }
    }

    /// Takes a free circuit, the highest ones first.
    pub(in crate::engine) fn take(&mut self) -> Option<u32> {
        self.free.pop()
    }

    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.free.is_empty()
    }

    pub(in crate::engine) fn give_back(&mut self, circuit: u32) {
        self.free.push(circuit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: CircuitMap = CircuitMap { first: (0, 1), second: 7, third: (3, 4), fourth: (1, 2) };

    #[test]
    fn circuits_are_named_as_sipp_names_them() {
        let named = |index| {
            let mut buffer = [0; 32];
            let mut out = Out::new(&mut buffer);
            MAP.put(index, &mut out);
            let len = out.len().unwrap();
            String::from_utf8(buffer[..len].to_vec()).unwrap()
        };
        let all: Vec<String> = (0..MAP.len() as u32).rev().map(named).collect();
        let expected = [
            "1.7.4/2", "1.7.4/1", "1.7.3/2", "1.7.3/1", "0.7.4/2", "0.7.4/1", "0.7.3/2", "0.7.3/1",
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn workers_share_them_without_overlap() {
        let mut all: Vec<u32> = (0..3)
            .flat_map(|worker| {
                let mut own = Circuits::new(MAP, worker, 3);
                std::iter::from_fn(move || own.take()).collect::<Vec<_>>()
            })
            .collect();
        all.sort_unstable();
        assert_eq!(all, (0..8).collect::<Vec<_>>());
    }
}

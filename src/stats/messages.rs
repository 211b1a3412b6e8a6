//! Messages by method and status code.
//!
//! Tables of fixed size, so that counting needs only an index: a method is the position of its name
//! in [`METHOD_NAMES`], a code stands for itself.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::delta::wire;

/// Methods that are told apart, in the order of their index; the last stands for any other.
pub const METHOD_NAMES: [&str; 16] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "REGISTER",
    "PRACK",
    "UPDATE",
    "INFO",
    "SUBSCRIBE",
    "NOTIFY",
    "REFER",
    "MESSAGE",
    "PUBLISH",
    "PING",
    "other",
];

const METHODS: usize = METHOD_NAMES.len();

/// Status codes that are told apart: those of RFC 3261 section 21 and of its extensions.
const CODES: [u16; 75] = [
    100, 180, 181, 182, 183, 199, 200, 202, 204, 300, 301, 302, 305, 380, 400, 401, 402, 403, 404,
    405, 406, 407, 408, 410, 412, 413, 414, 415, 416, 417, 420, 421, 422, 423, 424, 425, 428, 429,
    430, 433, 436, 437, 438, 439, 440, 469, 470, 480, 481, 482, 483, 484, 485, 486, 487, 488, 489,
    491, 493, 494, 500, 501, 502, 503, 504, 505, 513, 555, 580, 600, 603, 604, 606, 607, 608,
];

/// Cells of a method: one per code, and one for any other.
const CELLS: usize = CODES.len() + 1;

/// Cell of each code, so that counting does not search.
const CELL_OF: [u8; 700] = {
    let mut cells = [CODES.len() as u8; 700];
    let mut index = 0;
    while index < CODES.len() {
        cells[CODES[index] as usize] = index as u8;
        index += 1;
    }
    cells
};

/// Counts of the messages in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneWay {
    requests: [u64; METHODS],
    /// By method, then by code.
    responses: Box<[u64]>,
}

impl Default for OneWay {
    fn default() -> Self {
        Self { requests: [0; METHODS], responses: vec![0; METHODS * CELLS].into() }
    }
}

impl OneWay {
    /// Counts a request; `method` is an index of [`METHOD_NAMES`].
    pub fn request(&mut self, method: usize) {
        self.requests[method.min(METHODS - 1)] += 1;
    }

    /// Counts a response to a request of `method`.
    pub fn response(&mut self, method: usize, code: u16) {
        let cell = CELL_OF.get(usize::from(code)).map_or(CODES.len(), |&cell| usize::from(cell));
        self.responses[method.min(METHODS - 1) * CELLS + cell] += 1;
    }

    /// Every method with the requests counted.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        METHOD_NAMES.into_iter().zip(self.requests)
    }

    /// Method, code (`None` for one without a cell of its own) and number of the responses, without
    /// those that are 0.
    pub fn responses(&self) -> impl Iterator<Item = (&'static str, Option<u16>, u64)> + '_ {
        let counted = self.responses.iter().enumerate().filter(|&(_, &count)| count > 0);
        counted
            .map(|(at, &count)| (METHOD_NAMES[at / CELLS], CODES.get(at % CELLS).copied(), count))
    }

    /// All requests, and all responses.
    pub fn totals(&self) -> (u64, u64) {
        (self.requests.iter().sum(), self.responses.iter().sum())
    }

    /// Adds `other` cell by cell.
    pub fn add(&mut self, other: &Self) {
        self.requests.iter_mut().zip(other.requests).for_each(|(mine, theirs)| *mine += theirs);
        self.responses.iter_mut().zip(&other.responses).for_each(|(mine, theirs)| *mine += theirs);
    }

    /// Every count that is not 0, by its place: requests first.
    fn places(&self) -> impl Iterator<Item = (usize, u64)> + Clone + '_ {
        let all = self.requests.iter().chain(&*self.responses).copied().enumerate();
        all.filter(|&(_, count)| count > 0)
    }

    fn slots(&mut self) -> impl Iterator<Item = &mut u64> {
        self.requests.iter_mut().chain(&mut *self.responses)
    }

    /// Does `merge` with each count and that of `other` at the same place.
    fn merge(
        &mut self,
        other: &Self,
        mut merge: impl FnMut(u64, u64) -> Option<u64>,
    ) -> Option<()> {
        let theirs = other.requests.iter().chain(&*other.responses);
        for (mine, &theirs) in self.slots().zip(theirs) {
            *mine = merge(*mine, theirs)?;
        }
        Some(())
    }

    fn clear(&mut self) {
        self.requests = [0; METHODS];
        self.responses.fill(0);
    }
}

impl Serialize for OneWay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::sparse(self.places(), serializer)
    }
}

impl<'de> Deserialize<'de> for OneWay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut counts = Self::default();
        for (place, count) in wire::read_sparse(deserializer, METHODS * (CELLS + 1))? {
            match place.checked_sub(METHODS) {
                None => counts.requests[place] = count,
                Some(place) => counts.responses[place] = count,
            }
        }
        Ok(counts)
    }
}

/// Messages by direction, method and code, without retransmissions. All cells only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageCounts {
    /// Messages that we sent.
    pub sent: OneWay,
    /// Messages that we received.
    pub received: OneWay,
}

impl MessageCounts {
    /// Adds `other` cell by cell.
    pub fn add(&mut self, other: &Self) {
        self.sent.add(&other.sent);
        self.received.add(&other.received);
    }

    /// Adds `other` as [`add`](Self::add), unless a sum becomes larger than what travels; some
    /// cells may have been added then.
    pub(in crate::stats) fn checked_add(&mut self, other: &Self) -> Option<()> {
        self.sent.merge(&other.sent, wire::sum)?;
        self.received.merge(&other.received, wire::sum)
    }

    /// Returns the counts since `earlier`.
    pub(in crate::stats) fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        let ways = [(&mut since.sent, &earlier.sent), (&mut since.received, &earlier.received)];
        for (mine, theirs) in ways {
            mine.merge(theirs, |now, then| Some(now.saturating_sub(then)));
        }
        since
    }

    /// Takes over the counts of `other` without an allocation.
    pub fn copy_from(&mut self, other: &Self) {
        for (mine, theirs) in [(&mut self.sent, &other.sent), (&mut self.received, &other.received)]
        {
            mine.requests = theirs.requests;
            mine.responses.copy_from_slice(&theirs.responses);
        }
    }

    /// Sets all counts to 0, keeping the memory.
    pub fn clear(&mut self) {
        self.sent.clear();
        self.received.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_ordered_and_each_has_its_cell() {
        assert!(CODES.is_sorted());
        let mut counts = OneWay::default();
        for code in CODES {
            counts.response(0, code);
        }
        let counted: Vec<_> = counts.responses().collect();
        assert_eq!(counted.len(), CODES.len());
        assert!(counted.iter().all(|&(method, _, count)| (method, count) == ("INVITE", 1)));
        let codes: Vec<u16> = counted.iter().filter_map(|&(_, code, _)| code).collect();
        assert_eq!(codes, CODES);
    }

    #[test]
    fn what_has_no_cell_counts_as_other() {
        let mut counts = MessageCounts::default();
        for code in [0, 99, 299, 699, 700, u16::MAX] {
            counts.received.response(99, code);
        }
        counts.sent.request(15);
        counts.sent.request(usize::MAX);
        let mut copy = MessageCounts::default();
        copy.copy_from(&counts);
        copy.add(&counts);
        assert_eq!(copy.received.responses().collect::<Vec<_>>(), [("other", None, 12)]);
        assert_eq!(copy.sent.requests().last(), Some(("other", 4)));
        assert_eq!((copy.received.totals(), copy.sent.totals()), ((0, 12), (4, 0)));
        copy.clear();
        assert_eq!(copy, MessageCounts::default());
    }
}

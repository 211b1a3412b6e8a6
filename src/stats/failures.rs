//! Failed calls in groups of those that failed alike.
//!
//! A worker counts into a [`FailureTable`] of fixed size, which allocates nothing; the control side
//! merges the tables of all intervals into [`FailureSums`]. Both are bounded. Calls without a group
//! are still counted by cause, so that groups and others add up to the causes.

use std::net::SocketAddr;
use std::sync::Arc;

use super::cause::{FailureCause, FailureCounts};
use super::layout::Layout;
use super::messages::METHOD_NAMES;
use super::steps::StepKind;

/// Most groups of a worker in an interval, and of a run.
pub const FAILURE_GROUPS_MAX: usize = 32;

/// The index that stands for no step, as in records of traces.
const NO_STEP: u16 = u16::MAX;

/// Up to `N` bytes of a text that a peer may have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortText<const N: usize> {
    bytes: [u8; N],
    len: u16,
    is_cut: bool,
}

impl<const N: usize> ShortText<N> {
    /// The beginning of `text`.
    pub fn of(text: &[u8]) -> Self {
        let kept = &text[..text.len().min(N)];
        let mut bytes = [0; N];
        bytes[..kept.len()].copy_from_slice(kept);
        Self { bytes, len: kept.len() as u16, is_cut: kept.len() < text.len() }
    }

    /// The bytes that were kept.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The text for a terminal: without control characters, which could rewrite the screen, and
    /// without characters that change the direction of text. Ends in `~` if it was cut.
    pub fn shown(&self) -> String {
        let mut bytes = &self.bytes[..usize::from(self.len)];
        if self.is_cut {
            // The cut may have gone through a character of several bytes.
            let last = bytes.iter().rposition(|&byte| byte & 0xc0 != 0x80);
            if let Some(last) = last.filter(|&last| bytes[last] >= 0xc0) {
                bytes = &bytes[..last];
            }
        }
        let text = String::from_utf8_lossy(bytes);
        let mut shown: String = text.chars().map(|c| if is_safe(c) { c } else { '?' }).collect();
        if self.is_cut {
            shown.push('~');
        }
        shown
    }
}

fn is_safe(c: char) -> bool {
    let turns_text = matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}');
    !(c.is_control() || turns_text || matches!(c, '\u{2066}'..='\u{2069}' | '\u{feff}'))
}

/// The message that made a call fail, or that it lacked. Methods are indices of [`METHOD_NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A response to a request of `method` came.
    Response {
        /// Method of the request.
        method: u8,
        /// Status code.
        code: u16,
    },
    /// A request came.
    Request {
        /// Method of the request.
        method: u8,
    },
    /// A request had no answer, or not the expected one.
    NoAnswer {
        /// Method of the request.
        method: u8,
    },
    /// A response of ours had no ACK.
    NoAck {
        /// Method of the request that it answers.
        method: u8,
        /// Status code.
        code: u16,
    },
    /// The network reported by ICMP that a message of ours did not arrive.
    Unreachable {
        /// Method of the request, or of the one that our response answers.
        method: u8,
        /// Status code of our response; 0 if it was a request.
        code: u16,
        /// The network's reason.
        reason: Unreachable,
    },
    /// No message is involved, or the step alone says which one is missing.
    None,
}

/// The reasons that ICMP gives for a datagram that did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// No program listens on the port.
    Port,
    /// No way leads to the host or its network.
    Host,
    /// A firewall on the way forbids it.
    Prohibited,
    /// Anything else.
    Other,
}

/// The facts that the calls of a group have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureKey {
    /// The cause.
    pub cause: FailureCause,
    /// Number of the program that the call followed.
    pub program: u8,
    /// Index of the step at which the call failed; `u16::MAX` if at none.
    pub step: u16,
    /// The message in question.
    pub happening: Happening,
    /// The address of the call's peer. The port is 0 if the peer called us: each of its calls may
    /// come from another port.
    pub peer: SocketAddr,
}

/// The first call of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstFailure {
    /// Time at which the call failed, on the monotonic clock.
    pub at_ns: u64,
    /// Number of the call, unique in the run.
    pub call: u64,
    /// Call-ID of the call.
    pub call_id: ShortText<128>,
    /// The reason phrase of the response, or the name of a request that has no index.
    pub words: ShortText<64>,
}

/// Groups of failed calls of one worker and interval.
#[derive(Clone, Debug)]
pub struct FailureTable(Vec<(FailureKey, u64, FirstFailure)>);

impl Default for FailureTable {
    fn default() -> Self {
        Self(Vec::with_capacity(FAILURE_GROUPS_MAX))
    }
}

impl FailureTable {
    /// Counts a call in its group. Returns `false` if the group does not exist yet and there is
    /// room for it.
    pub fn count(&mut self, key: &FailureKey) -> bool {
        match self.0.iter_mut().find(|(known, ..)| known == key) {
            Some((_, count, _)) => *count += 1,
            None => return self.0.len() >= FAILURE_GROUPS_MAX,
        }
        true
    }

    /// Begins a group with its first call, if there is room.
    pub fn begin(&mut self, key: FailureKey, first: FirstFailure) {
        if self.0.len() < FAILURE_GROUPS_MAX {
            self.0.push((key, 1, first));
        }
    }

    /// Forgets all groups, keeping the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Failed calls of a run that failed alike, with names in place of indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureGroup {
    /// Number of calls.
    pub count: u64,
    /// The cause.
    pub cause: FailureCause,
    /// Name of the scenario that the calls followed.
    pub scenario: String,
    /// The step at which they failed, counted from 0 as on SIPp's screens.
    pub step: Option<u16>,
    /// Method, code or expression of that step's message; empty if it has none.
    pub step_name: String,
    /// The kind of that step, if it is known.
    pub step_kind: Option<StepKind>,
    /// The message in question.
    pub happening: Happening,
    /// The address that the calls went to, or came from.
    pub peer: SocketAddr,
    /// The first of the calls.
    pub first: FirstFailure,
    /// Generation of the program, which together with its number identifies it: numbers are used
    /// again.
    generation: u32,
    program: u8,
}

impl FailureGroup {
    fn new(key: &FailureKey, count: u64, first: FirstFailure, layout: &Layout) -> Self {
        let program = layout.place_of(key.program).and_then(|place| layout.programs.get(place));
        let step = program.and_then(|program| program.steps.get(usize::from(key.step)));
        Self {
            count,
            cause: key.cause,
            scenario: program.map_or(String::new(), |program| program.name.clone()),
            step: Some(key.step).filter(|&step| step != NO_STEP),
            step_name: step.map_or(String::new(), |step| step.name.clone()),
            step_kind: step.map(|step| step.kind),
            happening: key.happening,
            peer: key.peer,
            first,
            generation: program.map_or(0, |program| program.generation),
            program: key.program,
        }
    }

    fn is_alike(&self, other: &Self) -> bool {
        let of = |group: &Self| {
            (group.cause, group.step, group.happening, group.peer, group.program, group.generation)
        };
        of(self) == of(other)
    }

    /// The method of the message in question, or of the request that it answers.
    pub fn method(&self) -> Option<String> {
        let (Happening::Response { method, .. }
        | Happening::Request { method }
        | Happening::NoAnswer { method }
        | Happening::NoAck { method, .. }
        | Happening::Unreachable { method, .. }) = self.happening
        else {
            return None;
        };
        let name = METHOD_NAMES.get(usize::from(method)).filter(|&&name| name != "other");
        match (name, self.happening) {
            (Some(&name), _) => Some(name.to_owned()),
            (None, Happening::Request { .. }) => Some(self.first.words.shown()),
            (None, _) => Some("another request".to_owned()),
        }
    }

    /// The code of the response that came, or that was not acknowledged.
    pub fn code(&self) -> Option<u16> {
        match self.happening {
            Happening::Response { code, .. } | Happening::NoAck { code, .. } => Some(code),
            _ => None,
        }
    }

    /// The reason phrase of the first response that came.
    pub fn reason(&self) -> Option<String> {
        let is_response = matches!(self.happening, Happening::Response { .. });
        is_response.then(|| self.first.words.shown()).filter(|words| !words.is_empty())
    }

    /// The message that did not come.
    pub fn missing(&self) -> Option<String> {
        let receives = matches!(self.step_kind, Some(StepKind::Recv { .. }));
        // A request that was retransmitted until the limit had no answer at all.
        let is_named = receives && self.cause != FailureCause::MaxUdpRetrans;
        match self.happening {
            Happening::NoAck { .. } => Some("ACK".to_owned()),
            Happening::NoAnswer { .. } if is_named => Some(self.step_name.clone()),
            Happening::NoAnswer { .. } => Some("answer".to_owned()),
            Happening::None if self.cause == FailureCause::RecvTimeout => {
                Some(self.step_name.clone()).filter(|name| !name.is_empty())
            }
            _ => None,
        }
    }
}

/// Groups of failed calls, the largest first, and the calls without a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// The groups.
    pub groups: Arc<Vec<FailureGroup>>,
    /// Failed calls without a group: there were too many groups, or their worker has not reported
    /// them yet.
    pub others: FailureCounts,
}

/// Sums of failed calls over workers and intervals.
#[derive(Clone, Debug, Default)]
pub(super) struct FailureSums {
    groups: Arc<Vec<FailureGroup>>,
    /// Failures that were counted before the last reset and are reported after it.
    owed: FailureCounts,
}

impl FailureSums {
    /// Adds the groups of an interval.
    pub(super) fn add(&mut self, table: &FailureTable, layout: &Layout) {
        for (key, count, first) in &table.0 {
            let owed = self.owed.count(key.cause).min(*count);
            let mut paid = FailureCounts::default();
            paid.bump_by(key.cause, owed);
            self.owed = self.owed.since(&paid);
            if *count > owed {
                self.add_group(FailureGroup::new(key, count - owed, *first, layout));
            }
        }
        if !table.0.is_empty() {
            let groups = Arc::make_mut(&mut self.groups);
            groups.sort_by_key(|group| (std::cmp::Reverse(group.count), group.first.at_ns));
        }
    }

    /// Adds a group. A full list gives up its smallest group for a larger one.
    fn add_group(&mut self, group: FailureGroup) {
        let groups = Arc::make_mut(&mut self.groups);
        if let Some(known) = groups.iter_mut().find(|known| known.is_alike(&group)) {
            known.count += group.count;
            if group.first.at_ns < known.first.at_ns {
                known.first = group.first;
            }
            return;
        }
        if groups.len() < FAILURE_GROUPS_MAX {
            return groups.push(group);
        }
        let smallest = groups.iter_mut().min_by_key(|known| known.count);
        if let Some(smallest) = smallest.filter(|smallest| smallest.count < group.count) {
            *smallest = group;
        }
    }

    /// Begins anew. `owed` are failures that are counted already and whose groups are reported
    /// later.
    pub(super) fn reset(&mut self, owed: FailureCounts) {
        *self = Self { groups: Arc::default(), owed };
    }

    /// The groups, and the calls of `counted` that are in none.
    pub(super) fn of(&self, counted: &FailureCounts) -> Failures {
        let mut grouped = FailureCounts::default();
        self.groups.iter().for_each(|group| grouped.bump_by(group.cause, group.count));
        Failures { groups: Arc::clone(&self.groups), others: counted.since(&grouped) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{ProgramLayout, StepLayout};

    fn layout() -> Layout {
        let steps = vec![
            StepLayout::plain(StepKind::Send { retransmits: true }, "INVITE"),
            StepLayout::plain(StepKind::Recv { is_optional: false }, "200"),
        ];
        let program = ProgramLayout { name: "uac".to_owned(), steps, ..ProgramLayout::default() };
        Layout { programs: vec![program], ..Layout::default() }
    }

    fn refused(code: u16) -> FailureKey {
        FailureKey {
            cause: FailureCause::UnexpectedMessage,
            program: 0,
            step: 1,
            happening: Happening::Response { method: 0, code },
            peer: "192.0.2.2:5060".parse().expect("an address"),
        }
    }

    fn first(at_ns: u64) -> FirstFailure {
        let call_id = ShortText::of(b"1-42@192.0.2.1");
        FirstFailure { at_ns, call: at_ns, call_id, words: ShortText::of(b"No") }
    }

    /// A table of calls that were refused with those codes, one call each and in that order.
    fn table(codes: impl IntoIterator<Item = u16>) -> FailureTable {
        let mut table = FailureTable::default();
        for (index, code) in codes.into_iter().enumerate() {
            if !table.count(&refused(code)) {
                table.begin(refused(code), first(index as u64));
            }
        }
        table
    }

    fn counted(count: u64) -> FailureCounts {
        let mut counts = FailureCounts::default();
        counts.bump_by(FailureCause::UnexpectedMessage, count);
        counts
    }

    fn codes(failures: &Failures) -> Vec<(Option<u16>, u64)> {
        failures.groups.iter().map(|group| (group.code(), group.count)).collect()
    }

    #[test]
    fn groups_add_up_over_workers_and_intervals_and_the_largest_comes_first() {
        let (layout, mut sums) = (layout(), FailureSums::default());
        sums.add(&table([503, 486, 486]), &layout);
        sums.add(&table([486, 404, 404, 404, 404]), &layout);
        let failures = sums.of(&counted(8));
        assert_eq!(codes(&failures), [(Some(404), 4), (Some(486), 3), (Some(503), 1)]);
        assert_eq!(failures.others.total(), 0);
        let busy = &failures.groups[1];
        assert_eq!((busy.first.at_ns, busy.step, busy.scenario.as_str()), (0, Some(1), "uac"));
    }

    #[test]
    fn what_has_no_room_is_counted_among_the_others() {
        let groups = FAILURE_GROUPS_MAX as u16;
        let full = table((400..400 + groups).chain([600, 600, 600]));
        let (layout, mut sums) = (layout(), FailureSums::default());
        sums.add(&full, &layout);
        let failures = sums.of(&counted(u64::from(groups) + 3));
        assert_eq!(failures.groups.len(), FAILURE_GROUPS_MAX);
        assert_eq!(failures.others.count(FailureCause::UnexpectedMessage), 3);
        // A group that outgrows the smallest takes its place, and the sum stays complete.
        sums.add(&table([600, 600]), &layout);
        let failures = sums.of(&counted(u64::from(groups) + 5));
        assert_eq!(codes(&failures)[0], (Some(600), 2));
        let grouped: u64 = failures.groups.iter().map(|group| group.count).sum();
        assert_eq!(grouped + failures.others.total(), u64::from(groups) + 5);
        assert_eq!(failures.others.total(), 4);
    }

    #[test]
    fn after_a_reset_groups_still_add_up() {
        let (layout, mut sums) = (layout(), FailureSums::default());
        sums.add(&table([503, 503]), &layout);
        // Five calls were counted, and two of them reported.
        sums.reset(counted(3));
        sums.add(&table([503, 503, 503, 503]), &layout);
        let failures = sums.of(&counted(1));
        assert_eq!(codes(&failures), [(Some(503), 1)]);
        assert_eq!(failures.others.total(), 0);
    }

    #[test]
    fn a_text_of_a_peer_is_cut_and_cannot_steer_a_terminal() {
        let shown = |text: &[u8]| ShortText::<8>::of(text).shown();
        assert_eq!(shown(b"Busy"), "Busy");
        assert_eq!(shown(b"\x1b[2J\r\n\x07"), "?[2J???");
        assert_eq!(shown("a\u{202e}b\u{9b}".as_bytes()), "a?b?");
        assert_eq!(shown(b"Unavailable"), "Unavaila~");
        assert_eq!(shown("Bes\u{e4}tzt".as_bytes()), "Bes\u{e4}tzt");
        assert_eq!(shown("1234567\u{e4}".as_bytes()), "1234567~");
        assert_eq!(shown(b"\xff"), "\u{fffd}");
    }

    #[test]
    fn a_missing_message_is_named_by_the_step_that_waits_for_it() {
        let group = |cause, step, happening| {
            let key = FailureKey { cause, step, happening, ..refused(0) };
            FailureGroup::new(&key, 1, first(0), &layout())
        };
        let timeout = group(FailureCause::RecvTimeout, 1, Happening::NoAnswer { method: 0 });
        assert_eq!(timeout.missing().as_deref(), Some("200"));
        assert_eq!(timeout.method().as_deref(), Some("INVITE"));
        let unheard = group(FailureCause::MaxUdpRetrans, 0, Happening::NoAnswer { method: 0 });
        assert_eq!(unheard.missing().as_deref(), Some("answer"));
        let gone = group(FailureCause::TcpClosed, NO_STEP, Happening::None);
        assert_eq!((gone.missing(), gone.step), (None, None));
    }
}

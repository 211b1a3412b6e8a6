//! Counts of each step of each program, and the names of the steps.
//!
//! SIPp's scenario screen and its file of counts show these figures line by line. Workers count by
//! index; the control side turns an index back into a program's step.

use serde::{Deserialize, Serialize};

use super::delta::wire;

/// Counts of one step. All fields only grow. They travel as a row, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u64; 5]", into = "[u64; 5]")]
pub struct StepCounts {
    /// Messages sent or received by the step, without retransmissions; pauses begun by it.
    pub messages: u64,
    /// The step's messages that were sent again, by us or by the peer.
    pub retransmissions: u64,
    /// Receives that waited too long, and sends that were never answered.
    pub timeouts: u64,
    /// Messages that came while a call was at this step and that the scenario does not expect.
    pub unexpected: u64,
    /// The step's messages lost on purpose (`-lost`, `lost=`).
    pub lost: u64,
}

impl From<[u64; 5]> for StepCounts {
    fn from([messages, retransmissions, timeouts, unexpected, lost]: [u64; 5]) -> Self {
        Self { messages, retransmissions, timeouts, unexpected, lost }
    }
}

impl From<StepCounts> for [u64; 5] {
    fn from(counts: StepCounts) -> Self {
        let StepCounts { messages, retransmissions, timeouts, unexpected, lost } = counts;
        [messages, retransmissions, timeouts, unexpected, lost]
    }
}

impl StepCounts {
    /// Adds `other` as [`add`](Self::add), unless a sum becomes larger than what travels.
    pub(in crate::stats) fn checked_add(&mut self, other: &Self) -> Option<()> {
        let (mut sums, theirs): ([u64; 5], [u64; 5]) = ((*self).into(), (*other).into());
        for (mine, theirs) in sums.iter_mut().zip(theirs) {
            *mine = wire::sum(*mine, theirs)?;
        }
        *self = sums.into();
        Some(())
    }

    /// Adds `other` field by field.
    pub fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.retransmissions += other.retransmissions;
        self.timeouts += other.timeouts;
        self.unexpected += other.unexpected;
        self.lost += other.lost;
    }

    /// Tells whether no field is below that of `earlier`.
    pub fn has_grown_from(&self, earlier: &Self) -> bool {
        self.messages >= earlier.messages
            && self.retransmissions >= earlier.retransmissions
            && self.timeouts >= earlier.timeouts
            && self.unexpected >= earlier.unexpected
            && self.lost >= earlier.lost
    }

    /// The counts since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(earlier.messages),
            retransmissions: self.retransmissions.saturating_sub(earlier.retransmissions),
            timeouts: self.timeouts.saturating_sub(earlier.timeouts),
            unexpected: self.unexpected.saturating_sub(earlier.unexpected),
            lost: self.lost.saturating_sub(earlier.lost),
        }
    }
}

/// The kind of a step, as far as screens and reports show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Sends a message.
    Send {
        /// True if the message is sent again until it is answered, and can time out.
        retransmits: bool,
    },
    /// Waits for a message.
    Recv {
        /// True if the message may be absent.
        is_optional: bool,
    },
    /// Waits for a time.
    Pause,
    /// Only runs actions.
    Nop,
    /// Sends a command to another instance (3PCC).
    SendCommand,
    /// Waits for a command of another instance (3PCC).
    RecvCommand,
}

/// One step as screens and reports show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepLayout {
    /// The kind of the step.
    pub kind: StepKind,
    /// Method, status code or expression of its message; the length of its pause.
    pub name: String,
    /// Names of the response times that begin here.
    pub rtd_starts: Vec<String>,
    /// Names of the response times that end here.
    pub rtd_stops: Vec<String>,
    /// Text that a screen shows in place of a step without a message (`display=`).
    pub display: Option<String>,
    /// True if a screen leaves the step out (`hide=`).
    pub is_hidden: bool,
    /// True if a screen leaves an empty line behind the step (`crlf=`).
    pub is_gap_after: bool,
}

#[cfg(test)]
impl StepLayout {
    /// A step that is shown without changes and has no response times.
    pub(crate) fn plain(kind: StepKind, name: &str) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            rtd_starts: Vec::new(),
            rtd_stops: Vec::new(),
            display: None,
            is_hidden: false,
            is_gap_after: false,
        }
    }
}

/// One program: its steps in order, and the places of its measurements among those of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramLayout {
    /// The scenario's name.
    pub name: String,
    /// Number of the program, unique among those that calls follow at the same time. Records of
    /// traces name the program by it.
    pub number: u8,
    /// Number of exchanges of the run's programs before this one came.
    pub generation: u32,
    /// The steps in order.
    pub steps: Vec<StepLayout>,
    /// Index in `Layout::transactions` of each transaction of the program.
    pub transactions: Vec<u16>,
    /// Index in `Layout::rtds` of each duration of the program.
    pub rtds: Vec<u16>,
    /// Index in `Layout::counters` of each counter of the program.
    pub counters: Vec<u16>,
}

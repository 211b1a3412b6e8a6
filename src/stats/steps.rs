//! What is counted per step of each program, and what the steps are called.
//!
//! SIPp's scenario screen and its file of counts show these figures line by line. Workers count by
//! index; the control side turns an index back into a program's step.

/// What happened at one step. All fields only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

impl StepCounts {
    /// Adds `other` field by field.
    pub fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.retransmissions += other.retransmissions;
        self.timeouts += other.timeouts;
        self.unexpected += other.unexpected;
        self.lost += other.lost;
    }

    /// Whether no field is below that of `earlier`.
    pub fn has_grown_from(&self, earlier: &Self) -> bool {
        self.messages >= earlier.messages
            && self.retransmissions >= earlier.retransmissions
            && self.timeouts >= earlier.timeouts
            && self.unexpected >= earlier.unexpected
            && self.lost >= earlier.lost
    }

    /// What was counted since `earlier`.
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

/// The kind of a step, as far as it matters to who shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// Sends a message.
    Send {
        /// It is sent again until it is answered, and can time out.
        retransmits: bool,
    },
    /// Waits for a message.
    Recv {
        /// The message may be absent.
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

/// One step as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepLayout {
    /// What it does.
    pub kind: StepKind,
    /// Method, status code or expression of its message; the length of its pause.
    pub name: String,
    /// Names of the response times that begin here.
    pub rtd_starts: Vec<String>,
    /// Names of the response times that end here.
    pub rtd_stops: Vec<String>,
    /// What a screen shows in place of a step without a message (`display=`).
    pub display: Option<String>,
    /// A screen leaves the step out (`hide=`).
    pub is_hidden: bool,
    /// A screen leaves a line free behind the step (`crlf=`).
    pub is_gap_after: bool,
}

#[cfg(test)]
impl StepLayout {
    /// A step that is shown as it is and has no response times.
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

/// One program: its steps, in order, and where what it measures stands among the figures of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramLayout {
    /// The scenario's name.
    pub name: String,
    /// Tells the program from all others that calls may follow at the same time; records of traces
    /// name it by that.
    pub number: u8,
    /// How often the programs of the run had been exchanged when it came.
    pub generation: u32,
    /// Its steps.
    pub steps: Vec<StepLayout>,
    /// Index in `Layout::transactions` of each of its transactions.
    pub transactions: Vec<u16>,
    /// Index in `Layout::rtds` of each of its durations.
    pub rtds: Vec<u16>,
    /// Index in `Layout::counters` of each of its counters.
    pub counters: Vec<u16>,
}

//! The compiled form of a scenario, which the engine executes step by step.
//!
//! A `Program` that exists is sound: every label, variable and keyword in it resolves, and every
//! index is in range.

use super::commands::{RecvCommand, SendCommand, ThirdPartyRole};
use super::ere::Regex;
use super::error::Position;
use super::media::{SourceKind, SourceSpec};
use super::media_action::MediaAction;
use super::template::Template;

/// A compiled scenario.
#[derive(Debug)]
pub struct Program {
    /// The `name` attribute, or the name under which the scenario was loaded.
    pub name: String,
    /// The mode of calls: the program makes them or waits for them.
    pub mode: Mode,
    /// The side that sends the first SIP message of a call. It differs from `mode` if a command of
    /// another instance starts the calls that we make.
    pub sip_mode: Mode,
    /// True if its calls are streams of RTP alone, without a message or a command. No peer waits
    /// for their end.
    pub is_rtp_only: bool,
    /// The part in third-party call control; `None` if the program sends and receives no command.
    pub third_party_role: Option<ThirdPartyRole>,
    /// Names of other instances in `dest=` and `src=`, by index.
    pub peers: Vec<String>,
    /// Steps in order; jump targets are indices into them, and `steps.len()` is the end.
    pub steps: Vec<Step>,
    /// Steps of `<init>`, run once before traffic.
    pub init: Vec<Step>,
    /// Index of the step behind label `_unexp.main`, if the scenario has one.
    pub unexpected_label: Option<u16>,
    /// Variable `_unexp.retaddr`, if the scenario uses it. The jump to `_unexp.main` stores the
    /// index of the call's step in it.
    pub unexpected_return: Option<VariableRef>,
    /// Variable `_unexp.pausedaddr`, if the scenario uses it. The jump stores the time at which the
    /// interrupted pause would have ended, in milliseconds since the run began; 0 if there was
    /// none.
    pub unexpected_paused: Option<VariableRef>,
    /// Call-scope variables: their names by index.
    pub call_variables: Vec<String>,
    /// Global-scope variables: their names by index.
    pub global_variables: Vec<String>,
    /// User-scope variables: their names by index.
    pub user_variables: Vec<String>,
    /// True if a step outside `<init>` writes a global or user variable, which ties the program to
    /// one worker.
    pub writes_shared_variables: bool,
    /// Names of response-time durations by index.
    pub rtds: Vec<String>,
    /// Durations that begin with the call, since no step starts them.
    pub rtds_from_start: Vec<u16>,
    /// Names of `counter=` attributes by index.
    pub counters: Vec<String>,
    /// `display=` texts in order of first use.
    pub displays: Vec<String>,
    /// Transactions that the scenario names (`start_txn=`), by index.
    pub named_transactions: Vec<String>,
    /// Texts of automatic messages (`<DefaultMessage>`) that replace our own.
    pub default_messages: DefaultMessages,
    /// Client transactions by index, as "INVITE" or "INVITE#2".
    pub transactions: Vec<String>,
    /// Bounds of `ResponseTimeRepartition`, in milliseconds.
    pub rtd_repartition_ms: Vec<u64>,
    /// Bounds of `CallLengthRepartition`, in milliseconds.
    pub call_length_repartition_ms: Vec<u64>,
    /// Lower-case names of headers that `[last_*]` keywords read; bit `i` of a [`Keep`] is entry
    /// `i`.
    pub last_headers: Vec<String>,
    /// True if some step reads `[routes]` or `[next_url]`.
    pub reads_route_set: bool,
    /// Sources of media that actions play, each once.
    pub sources: Vec<SourceSpec>,
    /// True if calls have media: some action or text needs it.
    pub uses_media: bool,
    /// True if its streams get their keys by DTLS, as those of WebRTC do.
    pub shakes_hands: bool,
    /// True if calls with media have a stream of video too.
    pub wants_video: bool,
    /// True if some message has a port of media.
    pub has_media_ports: bool,
    /// Variable for the digits that a call receives, if the scenario reads them.
    pub digits: Option<VariableRef>,
    /// True if the scenario came over the API, whose users may not call every address. The code
    /// that compiled it sets this.
    pub is_sent: bool,
}

/// Texts of messages that the scenario does not send itself; `None` takes our own text.
#[derive(Debug, Default)]
pub struct DefaultMessages {
    /// `3pcc_abort`: tells the other side of a third-party call that this side failed.
    pub abort_3pcc: Option<Template>,
    /// `ack`: the ACK of a final response other than 2xx.
    pub ack: Option<Template>,
    /// `ack2`: the ACK of a 2xx.
    pub ack2: Option<Template>,
    /// `bye`
    pub bye: Option<Template>,
    /// `cancel`
    pub cancel: Option<Template>,
    /// `200`: the answer to a request that the scenario does not expect.
    pub ok: Option<Template>,
}

impl DefaultMessages {
    /// All texts that the scenario sets.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let Self { abort_3pcc, ack, ack2, bye, cancel, ok } = self;
        [abort_3pcc, ack, ack2, bye, cancel, ok].into_iter().flatten()
    }
}

/// The appearance of a step's row on the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScreenRow {
    /// `crlf`: an empty row follows.
    pub crlf: bool,
    /// `hide`: the row is not shown.
    pub hide: bool,
    /// `hiderest`: neither the row nor any later one is shown.
    pub hide_rest: bool,
    /// `display`: a text to show in the row; index into `Program::displays`.
    pub display: Option<u16>,
}

impl Recv {
    /// Tells whether the step waits for a mandatory BYE.
    pub fn is_mandatory_bye(&self) -> bool {
        let is_bye = matches!(&self.expect, Expect::Request(method) if &**method == "BYE");
        is_bye && self.optional == Optional::Mandatory
    }
}

impl Program {
    /// True if what the scenario plays has SSRCs of ours: replayed captures and echoes keep theirs.
    pub fn sends_own_source(&self) -> bool {
        let keeps = |source: &SourceSpec| {
            matches!(source.kind, SourceKind::Capture(_) | SourceKind::Datagrams(_))
        };
        !self.sources.is_empty() && !self.sources.iter().any(keeps)
    }

    /// Tells whether some step may lose its message on purpose.
    pub fn has_losses(&self) -> bool {
        self.steps.iter().any(|step| step.lost_percent.is_some_and(|percent| percent > 0.0))
    }
}

/// The side that begins a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The first message step is a send: the program makes calls.
    Client,
    /// The first message step is a receive: the program answers calls.
    Server,
}

/// The parts of the last received message that must outlive its datagram while a call waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Bit `i`: all lines of header `Program::last_headers[i]`.
    pub headers: u64,
    /// The whole message.
    pub message: bool,
}

impl Keep {
    /// Tells whether nothing need be kept.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// The parts that either of the two keeps.
    pub fn union(self, other: Self) -> Self {
        Self { headers: self.headers | other.headers, message: self.message || other.message }
    }
}

/// One step with the attributes that every element may carry.
#[derive(Debug)]
pub struct Step {
    /// The place of the element in the file.
    pub position: Position,
    /// The kind of the step.
    pub kind: StepKind,
    /// The jump to another step than the next one.
    pub next: Option<Next>,
    /// Skip the step unless this holds.
    pub condition: Option<Condition>,
    /// Durations that begin at this step.
    pub rtd_starts: Vec<u16>,
    /// Durations that end at this step.
    pub rtd_stops: Vec<RtdStop>,
    /// Counter to increase.
    pub counter: Option<u16>,
    /// Loss probability of this message in percent, over the global one.
    pub lost_percent: Option<f64>,
    /// The step to go to if a receive or send times out, or if retransmissions are exhausted.
    pub on_timeout: Option<u16>,
    /// Actions, run after the step (for a receive: on the received message).
    pub actions: Vec<Action>,
    /// The appearance on the screen.
    pub screen: ScreenRow,
    /// The parts of the last received message to keep while the call waits at this step.
    pub keep: Keep,
}

/// The kind of a step.
#[derive(Debug)]
pub enum StepKind {
    /// Send a message.
    Send(Send),
    /// Wait for a message.
    Recv(Recv),
    /// Wait for a time.
    Pause(Duration),
    /// Absorb retransmissions for a time; a call that ends here has succeeded.
    Timewait(Duration),
    /// Only actions.
    Nop,
    /// Send a command to another instance (`<sendCmd>`).
    SendCommand(SendCommand),
    /// Wait for a command of another instance (`<recvCmd>`).
    RecvCommand(RecvCommand),
}

/// A message to send.
#[derive(Debug)]
pub struct Send {
    /// The text.
    pub template: Template,
    /// First token: the method of a request, or the code of a response.
    pub message: Outgoing,
    /// T1 in milliseconds; `None` never retransmits.
    pub retrans_ms: Option<u32>,
    /// Time that the message may wait for room to be sent, in milliseconds; `None` takes the run's
    /// default.
    pub timeout_ms: Option<u32>,
    /// Index into `Program::transactions` for requests that expect a response.
    pub transaction: Option<u16>,
    /// The part in a named transaction.
    pub named: Option<NamedTransaction>,
}

/// The part of a request in a named transaction; the index is into `Program::named_transactions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedTransaction {
    /// `start_txn=`: the request begins the transaction.
    Start(u16),
    /// `ack_txn=`: the request is the ACK of the transaction's INVITE.
    Ack(u16),
}

/// The kind of message that a send step makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// A request with the bit of its method (see `sip::Method::bit`).
    Request(u32),
    /// A response with its status code.
    Response(u16),
}

/// A message to wait for.
#[derive(Debug)]
pub struct Recv {
    /// The messages that match.
    pub expect: Expect,
    /// The need for the message: mandatory, or optional up to some point.
    pub optional: Optional,
    /// Timeout in milliseconds; `None` takes the run's default.
    pub timeout_ms: Option<u32>,
    /// `response_txn=`: the named transaction that the response belongs to.
    pub named: Option<u16>,
    /// `ignoresdp`: the media descriptions of the body are ignored.
    pub ignore_sdp: bool,
    /// Keep Record-Route and Contact for `[routes]` and `[next_url]`.
    pub record_route_set: bool,
    /// `auth`: keep the message's challenge for `[authentication]`.
    pub keeps_challenge: bool,
    /// On an optional match: `false` runs the actions but leaves the call where it is.
    pub advance_state: bool,
}

/// The messages that a receive step matches.
#[derive(Debug)]
pub enum Expect {
    /// A request with this method, compared case-sensitively (RFC 3261 section 7.1).
    Request(Box<str>),
    /// A response with this status code.
    Response(u16),
    /// A request whose method matches.
    RequestPattern(Regex),
    /// A response whose code matches.
    ResponsePattern(Regex),
}

/// The degree to which a receive step is optional.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optional {
    /// The message must come.
    Mandatory,
    /// The message may come before the next mandatory one.
    Local,
    /// The message may come at any later point of the call.
    Global,
}

/// The length of a pause.
#[derive(Clone, Debug, PartialEq)]
pub enum Duration {
    /// The run's `-d`.
    RunDefault,
    /// A number or variable of milliseconds, or a distribution.
    Of(Distribution),
    /// A variable holding milliseconds.
    Variable(VariableRef),
}

/// A distribution of numbers, in the unit of its user.
#[derive(Clone, Debug, PartialEq)]
pub enum Distribution {
    /// Always the same.
    Fixed(f64),
    /// Evenly between `min` and `max`.
    Uniform {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
    },
    /// Each of `min`, `min + step` and so on with the same probability.
    Integers {
        /// Smallest.
        min: f64,
        /// Distance from one to the next.
        step: f64,
        /// Number of values.
        count: u64,
    },
    /// Normal; negative samples count as 0 in pauses.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        stdev: f64,
    },
    /// The exponential of a normal.
    LogNormal {
        /// Mean of the logarithm.
        mean: f64,
        /// Standard deviation of the logarithm.
        stdev: f64,
    },
    /// Exponential.
    Exponential {
        /// Mean.
        mean: f64,
    },
    /// Weibull.
    Weibull {
        /// Scale.
        lambda: f64,
        /// Shape.
        k: f64,
    },
    /// Pareto.
    Pareto {
        /// Shape.
        k: f64,
        /// Smallest.
        x_m: f64,
    },
    /// Generalised Pareto.
    GeneralisedPareto {
        /// Shape.
        shape: f64,
        /// Scale.
        scale: f64,
        /// Smallest.
        location: f64,
    },
    /// Gamma.
    Gamma {
        /// Shape.
        k: f64,
        /// Scale.
        theta: f64,
    },
    /// Negative binomial: failures before the `n`-th success.
    NegativeBinomial {
        /// Successes.
        n: f64,
        /// Probability of success.
        p: f64,
    },
}

/// A jump after a step.
#[derive(Clone, Copy, Debug)]
pub struct Next {
    /// The step to go to.
    pub target: u16,
    /// Jump only if this variable is true, where one is given.
    pub test: Option<VariableRef>,
    /// Jump with this probability; 1 is always.
    pub chance: f64,
}

/// `condexec`: run the step only if the variable is set (or, inverted, unset).
#[derive(Clone, Copy, Debug)]
pub struct Condition {
    /// The variable.
    pub variable: VariableRef,
    /// `condexec_inverse`.
    pub inverse: bool,
}

/// `rtd=`: the end of a response-time duration.
#[derive(Clone, Copy, Debug)]
pub struct RtdStop {
    /// Index into `Program::rtds`.
    pub rtd: u16,
    /// `repeat_rtd`: leave the start in place, so that it can stop again.
    pub repeat: bool,
}

/// A variable: its scope and index within the scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VariableRef {
    /// One per call.
    Call(u16),
    /// One per `-users` user.
    User(u16),
    /// One per run.
    Global(u16),
}

/// A number: constant or variable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operand {
    /// Written in the scenario.
    Constant(f64),
    /// Read when the action runs.
    Variable(VariableRef),
}

/// One action.
#[derive(Debug)]
pub enum Action {
    /// Search with a regular expression.
    Ereg(Box<Ereg>),
    /// `log`: writes a line to the action log.
    Log(Template),
    /// `warning`: is counted, and writes a line to the error log.
    Warning(Template),
    /// `error`: stops the whole run.
    Error(Template),
    /// Stores a number in a variable.
    Assign(VariableRef, Operand),
    /// Stores a text in a variable.
    AssignText(VariableRef, Template),
    /// Stores the text of a variable as a number in another variable.
    ToDouble(VariableRef, VariableRef),
    /// Calculates in place.
    Arithmetic(Operator, VariableRef, Operand),
    /// Stores a random number in a variable.
    Sample(VariableRef, Distribution),
    /// Compare numbers.
    Test(Check),
    /// Compare texts as C's `strcmp` does.
    Strcmp(StrcmpCheck),
    /// Store seconds and microseconds of the wall clock in two variables.
    TimeOfDay(VariableRef, VariableRef),
    /// Remove white space at both ends.
    Trim(VariableRef),
    /// Percent-encode in place.
    UrlEncode(VariableRef),
    /// Percent-decode in place.
    UrlDecode(VariableRef),
    /// Go to a step by number.
    Jump(Operand),
    /// Ends the next pause when an interrupted one would have ended. The operand is that time in
    /// milliseconds, as in `_unexp.pausedaddr`.
    PauseRestore(Operand),
    /// Stores the index of the step in a variable.
    Index(VariableRef),
    /// Looks up the row of an injection file whose indexed column is `key`, or -1, into a variable.
    Lookup {
        /// The variable for the number of the row.
        assign_to: VariableRef,
        /// The file.
        table: InjectionTable,
        /// The key to look for.
        key: Template,
    },
    /// Adds a row at the end of an injection file.
    Insert {
        /// The file.
        table: InjectionTable,
        /// The row.
        value: Template,
    },
    /// Replaces a row of an injection file by another.
    Replace {
        /// The file.
        table: InjectionTable,
        /// The number of the row, from 0.
        line: Template,
        /// The new row.
        value: Template,
    },
    /// Checks whether the received request answers a challenge with these credentials.
    VerifyAuth {
        /// The variable for the outcome.
        assign_to: VariableRef,
        /// User name.
        username: Template,
        /// Password.
        password: Template,
    },
    /// Sends the call to another peer.
    SetDest(Box<SetDest>),
    /// Closes the call's connection; its next message opens a new one.
    CloseConnection,
    /// Acts on the call's media.
    Media(Box<MediaAction>),
    /// Runs a command in the shell.
    Execute(Template),
    /// End the call, or the run.
    Command(InternalCommand),
}

impl StepKind {
    /// Tells whether something is received at the step: its checks then decide over the call.
    pub fn is_received(&self) -> bool {
        matches!(self, Self::Recv(_) | Self::RecvCommand(_))
    }
}

impl Action {
    /// Tells whether the action has a `check_it` or `check_it_inverse`.
    pub fn checks(&self) -> bool {
        let check_it = match self {
            Self::Ereg(ereg) => ereg.check_it,
            Self::Test(check) => check.check_it,
            Self::Strcmp(check) => check.check_it,
            _ => CheckIt::No,
        };
        check_it != CheckIt::No
    }

    /// The texts of the action.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let file = match self {
            Self::Lookup { table, .. } | Self::Insert { table, .. } => table.template(),
            Self::Replace { table, .. } => table.template(),
            _ => None,
        };
        let texts: [Option<&Template>; 3] = match self {
            Self::Log(text)
            | Self::Warning(text)
            | Self::Error(text)
            | Self::AssignText(_, text)
            | Self::Execute(text)
            | Self::Lookup { key: text, .. }
            | Self::Insert { value: text, .. } => [Some(text), None, None],
            Self::Strcmp(check) => [Some(&check.value), None, None],
            Self::Replace { line, value, .. } => [Some(line), Some(value), None],
            Self::VerifyAuth { username, password, .. } => [Some(username), Some(password), None],
            Self::SetDest(to) => [Some(&to.host), Some(&to.port), Some(&to.protocol)],
            Self::Media(action) => [action.template(), None, None],
            _ => [None; 3],
        };
        file.into_iter().chain(texts.into_iter().flatten())
    }
}

/// The injection file of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InjectionTable {
    /// The file of that index.
    Known(u16),
    /// The file that a text names when the action runs.
    Named(Template),
}

impl InjectionTable {
    fn template(&self) -> Option<&Template> {
        match self {
            Self::Known(_) => None,
            Self::Named(name) => Some(name),
        }
    }
}

/// A `setdest` action.
#[derive(Debug)]
pub struct SetDest {
    /// Address, or a name that the scenario writes out.
    pub host: Template,
    /// Port.
    pub port: Template,
    /// Transport protocol.
    pub protocol: Template,
}

/// The four operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `add`
    Add,
    /// `subtract`
    Subtract,
    /// `multiply`
    Multiply,
    /// `divide`; by zero fails the call.
    Divide,
}

/// The comparison of a `test`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `equal`
    Equal,
    /// `not_equal`
    NotEqual,
    /// `greater_than`
    GreaterThan,
    /// `less_than`
    LessThan,
    /// `greater_than_equal`
    GreaterThanEqual,
    /// `less_than_equal`
    LessThanEqual,
}

/// The effect of a check on the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckIt {
    /// Nothing.
    #[default]
    No,
    /// The call fails if the outcome is false.
    FailIfFalse,
    /// The call fails if the outcome is true.
    FailIfTrue,
}

/// A `test` action.
#[derive(Clone, Debug)]
pub struct Check {
    /// Left side.
    pub variable: VariableRef,
    /// The comparison.
    pub comparison: Comparison,
    /// Right side.
    pub operand: Operand,
    /// The variable for the outcome.
    pub assign_to: Option<VariableRef>,
    /// The effect on the call.
    pub check_it: CheckIt,
}

/// A `strcmp` action.
#[derive(Debug)]
pub struct StrcmpCheck {
    /// Left side.
    pub variable: VariableRef,
    /// Right side.
    pub value: Template,
    /// The variable for the outcome (-1, 0 or 1).
    pub assign_to: Option<VariableRef>,
    /// The effect on the call.
    pub check_it: CheckIt,
}

/// An `ereg` action.
#[derive(Debug)]
pub struct Ereg {
    /// The expression, unanchored.
    pub regex: Regex,
    /// The text to search.
    pub search_in: SearchIn,
    /// Variables for the whole match and the groups, in order.
    pub assign_to: Vec<VariableRef>,
    /// The effect on the call.
    pub check_it: CheckIt,
}

/// The text that an `ereg` searches.
#[derive(Debug)]
pub enum SearchIn {
    /// The whole message.
    Message,
    /// The text behind the name in the `occurrence`-th line of a header.
    Header {
        /// Header name without colon.
        name: Box<[u8]>,
        /// True if the colon is written with the name, so that the search begins behind it.
        colon: bool,
        /// Number of blanks written behind the colon; as many are skipped before the search.
        blanks: u8,
        /// The number of the line among several, from 1.
        occurrence: u32,
        /// True if the name must stand at the start of a line. A name without colon that no header
        /// has is searched for as a text, as SIPp does.
        start_line: bool,
    },
    /// The rest of the line behind a text, which may be anywhere in the message.
    Text {
        /// The text.
        text: Box<[u8]>,
        /// The number of the text among several, from 1.
        occurrence: u32,
        /// True if the text must stand at the start of a line.
        start_line: bool,
    },
    /// The body.
    Body,
    /// A variable's text.
    Variable(VariableRef),
}

/// `exec int_cmd=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InternalCommand {
    /// End this call as it stands.
    StopCall,
    /// No new calls; finish the open ones.
    StopGracefully,
    /// Stop the run at once (exit code 97).
    StopNow,
}

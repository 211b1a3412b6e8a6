//! The compiled form of a scenario: what the engine executes, step by step.
//!
//! A `Program` that exists is sound: every label, variable and keyword in it resolves, and every
//! index is in range.

use super::commands::{RecvCommand, SendCommand, ThirdPartyRole};
use super::ere::Regex;
use super::error::Position;
use super::template::Template;

/// A compiled scenario.
#[derive(Debug)]
pub struct Program {
    /// The `name` attribute, or the name that it was loaded by.
    pub name: String,
    /// Whether the program starts calls or waits for them.
    pub mode: Mode,
    /// Whether the first SIP message of a call is ours; differs from `mode` where a command of
    /// another instance starts the calls that we make.
    pub sip_mode: Mode,
    /// Its part in third-party call control; `None` if it sends and receives no command.
    pub third_party_role: Option<ThirdPartyRole>,
    /// Names of other instances in `dest=` and `src=`, by index.
    pub peers: Vec<String>,
    /// Steps in order; jump targets are indices into it, `steps.len()` is the end.
    pub steps: Vec<Step>,
    /// Steps of `<init>`, run once before traffic.
    pub init: Vec<Step>,
    /// Index of the step behind label `_unexp.main`, if the scenario has one.
    pub unexpected_label: Option<u16>,
    /// Variable `_unexp.retaddr`, if the scenario uses it: the jump to `_unexp.main` leaves the
    /// index of the step there at which the call was.
    pub unexpected_return: Option<VariableRef>,
    /// Variable `_unexp.pausedaddr`, likewise: when the pause that was interrupted would have
    /// ended, in milliseconds since the run began; 0 if there was none.
    pub unexpected_paused: Option<VariableRef>,
    /// Call-scope variables: their names by index.
    pub call_variables: Vec<String>,
    /// Global-scope variables: their names by index.
    pub global_variables: Vec<String>,
    /// User-scope variables: their names by index.
    pub user_variables: Vec<String>,
    /// `true` if a step outside `<init>` writes a global or user variable, which ties the program
    /// to one worker.
    pub writes_shared_variables: bool,
    /// Names of response-time durations by index.
    pub rtds: Vec<String>,
    /// Durations that begin with the call: no step starts them.
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
    /// `true` if some step reads `[routes]` or `[next_url]`.
    pub reads_route_set: bool,
    /// `true` if it came over the API, whose users may not call everybody. Set by who compiled it.
    pub is_sent: bool,
}

/// Texts of messages that the scenario does not send itself; `None` takes ours.
#[derive(Debug, Default)]
pub struct DefaultMessages {
    /// `3pcc_abort`: tells the other side of a third-party call that it failed.
    pub abort_3pcc: Option<Template>,
    /// `ack`: of a final response that refuses.
    pub ack: Option<Template>,
    /// `ack2`: of a 2xx.
    pub ack2: Option<Template>,
    /// `bye`
    pub bye: Option<Template>,
    /// `cancel`
    pub cancel: Option<Template>,
    /// `200`: the answer to a request that the scenario does not expect.
    pub ok: Option<Template>,
}

impl DefaultMessages {
    /// All texts that there are.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let Self { abort_3pcc, ack, ack2, bye, cancel, ok } = self;
        [abort_3pcc, ack, ack2, bye, cancel, ok].into_iter().flatten()
    }
}

/// What an element says about its row on the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScreenRow {
    /// `crlf`: an empty row behind it.
    pub crlf: bool,
    /// `hide`: not shown.
    pub hide: bool,
    /// `hiderest`: neither it nor anything behind it is shown.
    pub hide_rest: bool,
    /// `display`: a text to show with it; index into `Program::displays`.
    pub display: Option<u16>,
}

impl Recv {
    /// Whether a BYE must come here.
    pub fn is_mandatory_bye(&self) -> bool {
        let is_bye = matches!(&self.expect, Expect::Request(method) if &**method == "BYE");
        is_bye && self.optional == Optional::Mandatory
    }
}

impl Program {
    /// Whether a message of it may be lost on purpose.
    pub fn has_losses(&self) -> bool {
        self.steps.iter().any(|step| step.lost_percent.is_some_and(|percent| percent > 0.0))
    }
}

/// Who speaks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The first message step is a send: the program makes calls.
    Client,
    /// The first message step is a receive: the program answers calls.
    Server,
}

/// Which parts of the last received message must outlive its datagram while a call waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Bit `i`: all lines of header `Program::last_headers[i]`.
    pub headers: u64,
    /// The whole message.
    pub message: bool,
}

impl Keep {
    /// `true` if nothing need be kept.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// Both together.
    pub fn union(self, other: Self) -> Self {
        Self { headers: self.headers | other.headers, message: self.message || other.message }
    }
}

/// One step with the attributes that every element may carry.
#[derive(Debug)]
pub struct Step {
    /// Where the element stands in the file.
    pub position: Position,
    /// What it does.
    pub kind: StepKind,
    /// Where to go afterwards instead of the next step.
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
    /// Where to go when a receive or send times out, or retransmissions are exhausted.
    pub on_timeout: Option<u16>,
    /// Actions, run after the step (for a receive: on the received message).
    pub actions: Vec<Action>,
    /// How it looks on the screen.
    pub screen: ScreenRow,
    /// What to keep of the last received message when the call waits at this step.
    pub keep: Keep,
}

/// What a step does.
#[derive(Debug)]
pub enum StepKind {
    /// Send a message.
    Send(Send),
    /// Wait for a message.
    Recv(Recv),
    /// Wait for a time.
    Pause(Duration),
    /// Absorb retransmissions for a time; ending here is success.
    Timewait(Duration),
    /// Only actions.
    Nop,
    /// Tell another instance something (`<sendCmd>`).
    SendCommand(SendCommand),
    /// Wait for what another instance says (`<recvCmd>`).
    RecvCommand(RecvCommand),
}

/// A message to send.
#[derive(Debug)]
pub struct Send {
    /// Its text.
    pub template: Template,
    /// First token: the method of a request, or the code of a response.
    pub message: Outgoing,
    /// T1 in milliseconds; `None` never retransmits.
    pub retrans_ms: Option<u32>,
    /// How long it may wait for room to be sent, in milliseconds; `None` takes the run's default.
    pub timeout_ms: Option<u32>,
    /// Index into `Program::transactions` for requests that expect a response.
    pub transaction: Option<u16>,
    /// What it has to do with a named transaction.
    pub named: Option<NamedTransaction>,
}

/// What a request has to do with a named transaction; the index is into
/// `Program::named_transactions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedTransaction {
    /// `start_txn=`: it begins it.
    Start(u16),
    /// `ack_txn=`: it is the ACK of its INVITE.
    Ack(u16),
}

/// What kind of message a send step makes.
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
    /// What matches.
    pub expect: Expect,
    /// Whether it may be absent.
    pub optional: Optional,
    /// Timeout in milliseconds; `None` takes the run's default.
    pub timeout_ms: Option<u32>,
    /// `response_txn=`: the named transaction whose response it is.
    pub named: Option<u16>,
    /// `ignoresdp`: what the body says of media counts for nothing.
    pub ignore_sdp: bool,
    /// Keep Record-Route and Contact for `[routes]` and `[next_url]`.
    pub record_route_set: bool,
    /// `auth`: keep the message's challenge for `[authentication]`.
    pub keeps_challenge: bool,
    /// On an optional match: `false` runs the actions but leaves the call where it is.
    pub advance_state: bool,
}

/// What a receive step matches.
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

/// How optional a receive step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optional {
    /// It must come.
    Mandatory,
    /// It may come before the next mandatory one.
    Local,
    /// It may come at any later point of the call.
    Global,
}

/// How long a pause lasts.
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
    /// Each of `min`, `min + step` and so on as often as the others.
    Integers {
        /// Smallest.
        min: f64,
        /// From one to the next.
        step: f64,
        /// How many there are.
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
        /// Probability of one.
        p: f64,
    },
}

/// A jump after a step.
#[derive(Clone, Copy, Debug)]
pub struct Next {
    /// The step to go to.
    pub target: u16,
    /// Jump only if this variable is true.
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
    /// `log`: a line for the action log.
    Log(Template),
    /// `warning`: counted, and a line for the error log.
    Warning(Template),
    /// `error`: stops the whole run.
    Error(Template),
    /// A number into a variable.
    Assign(VariableRef, Operand),
    /// A text into a variable.
    AssignText(VariableRef, Template),
    /// The variable's text as a number into another variable.
    ToDouble(VariableRef, VariableRef),
    /// Arithmetic in place.
    Arithmetic(Operator, VariableRef, Operand),
    /// A random number into a variable.
    Sample(VariableRef, Distribution),
    /// Compare numbers.
    Test(Check),
    /// Compare texts, as C's `strcmp`.
    Strcmp(StrcmpCheck),
    /// Seconds and microseconds of the wall clock.
    TimeOfDay(VariableRef, VariableRef),
    /// Remove white space at both ends.
    Trim(VariableRef),
    /// Percent-encode in place.
    UrlEncode(VariableRef),
    /// Percent-decode in place.
    UrlDecode(VariableRef),
    /// Go to a step by number.
    Jump(Operand),
    /// Makes the next pause end when an interrupted one would have ended, at this number of
    /// milliseconds as `_unexp.pausedaddr` has it.
    PauseRestore(Operand),
    /// The index of the step into a variable.
    Index(VariableRef),
    /// The row of an injection file whose indexed column is `key`, or -1, into a variable.
    Lookup {
        /// Where the row goes.
        assign_to: VariableRef,
        /// The file.
        table: InjectionTable,
        /// What is looked for.
        key: Template,
    },
    /// A row at the end of an injection file.
    Insert {
        /// The file.
        table: InjectionTable,
        /// The row.
        value: Template,
    },
    /// Another row in the place of one of an injection file.
    Replace {
        /// The file.
        table: InjectionTable,
        /// Which row, from 0.
        line: Template,
        /// The new row.
        value: Template,
    },
    /// Whether the received request answers a challenge with these credentials.
    VerifyAuth {
        /// Where the outcome goes.
        assign_to: VariableRef,
        /// User name.
        username: Template,
        /// Password.
        password: Template,
    },
    /// Another peer for the call.
    SetDest(Box<SetDest>),
    /// The call leaves its connection; its next message opens a new one.
    CloseConnection,
    /// A command for the shell.
    Execute(Template),
    /// End the call, or the run.
    Command(InternalCommand),
}

impl StepKind {
    /// `true` if something is received at the step: its checks decide over the call.
    pub fn is_received(&self) -> bool {
        matches!(self, Self::Recv(_) | Self::RecvCommand(_))
    }
}

impl Action {
    /// `true` if it has a `check_it` or `check_it_inverse`.
    pub fn checks(&self) -> bool {
        let check_it = match self {
            Self::Ereg(ereg) => ereg.check_it,
            Self::Test(check) => check.check_it,
            Self::Strcmp(check) => check.check_it,
            _ => CheckIt::No,
        };
        check_it != CheckIt::No
    }

    /// Its texts.
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
            _ => [None; 3],
        };
        file.into_iter().chain(texts.into_iter().flatten())
    }
}

/// An injection file that an action is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InjectionTable {
    /// The one of that index.
    Known(u16),
    /// The one that a text names when the action runs.
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

/// How `test` compares.
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

/// What happens to the call on the outcome of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckIt {
    /// Nothing.
    #[default]
    No,
    /// The call fails if it is false.
    FailIfFalse,
    /// The call fails if it is true.
    FailIfTrue,
}

/// A `test` action.
#[derive(Clone, Debug)]
pub struct Check {
    /// Left side.
    pub variable: VariableRef,
    /// How.
    pub comparison: Comparison,
    /// Right side.
    pub operand: Operand,
    /// Where the outcome goes.
    pub assign_to: Option<VariableRef>,
    /// Whether it decides over the call.
    pub check_it: CheckIt,
}

/// A `strcmp` action.
#[derive(Debug)]
pub struct StrcmpCheck {
    /// Left side.
    pub variable: VariableRef,
    /// Right side.
    pub value: Template,
    /// Where the outcome (-1, 0 or 1) goes.
    pub assign_to: Option<VariableRef>,
    /// Whether it decides over the call.
    pub check_it: CheckIt,
}

/// An `ereg` action.
#[derive(Debug)]
pub struct Ereg {
    /// The expression, unanchored.
    pub regex: Regex,
    /// What is searched.
    pub search_in: SearchIn,
    /// Variables for the whole match and the groups, in order.
    pub assign_to: Vec<VariableRef>,
    /// Whether it decides over the call.
    pub check_it: CheckIt,
}

/// What an `ereg` searches.
#[derive(Debug)]
pub enum SearchIn {
    /// The whole message.
    Message,
    /// What follows the name in the `occurrence`-th line of a header.
    Header {
        /// Header name without colon.
        name: Box<[u8]>,
        /// Whether the colon is written with the name, so that the search begins behind it.
        colon: bool,
        /// How many blanks are written behind it, which are passed over likewise.
        blanks: u8,
        /// Which of several, from 1.
        occurrence: u32,
        /// Only at the start of a line: a name without colon that no header has is searched for as
        /// a text, as SIPp does.
        start_line: bool,
    },
    /// The rest of the line behind a text, wherever in the message it stands.
    Text {
        /// The text.
        text: Box<[u8]>,
        /// Which of several, from 1.
        occurrence: u32,
        /// Only at the start of a line.
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

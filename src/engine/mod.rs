//! Calls: matching, timers, retransmission, pacing. Sans-IO.
//!
//! An [`Engine`] belongs to one worker. Its inputs are datagrams, times and room to write
//! ([`TxArena`]); its outputs are datagrams, deadlines and counts. It opens no socket, reads no
//! clock, spawns no thread and writes no log. Everything per call comes from pools sized at start:
//! once warm it does not allocate.

pub mod random;
pub mod wheel;

mod arrivals;
mod border;
mod call;
mod check;
mod config;
mod connect;
mod control;
mod dialog;
mod media;
mod programs;
mod recording;
mod steps;
mod third_party;
mod timers;
mod transport;
mod worst;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use gossipper_uring::{IcmpCause, SocketId, TxArena};

use crate::injection::Table;
use crate::media::MediaHandle;
use crate::scenario::{Mode, Program, Scratch};
use crate::sip::digest::Ha1Cache;
use crate::sip::{HeaderIndex, Message};
use crate::stats::{Counters, Layout, Report, StepCounts};
use crate::trace::Tracer;

pub use arrivals::circuits::{BusyCircuits, CircuitMap};
pub use arrivals::pacing;
pub use border::{Effect, Handled, Input};
pub use call::call_ids::CallIdStyle;
pub use call::census::{Census, Wait};
pub use call::footprint::{ENDED_CALL_BYTES, Footprint};
pub use call::{blob, ids, lookup};
pub use config::{
    Arrivals, CallRules, DataConfig, DefaultBehaviors, DuplicateCheck, DynamicIds, EngineConfig,
    Environment, Gate, Retransmission,
};
pub use control::{Answer, WorkerRequest};
pub use dialog::authenticate::digest_uri;
pub use dialog::receive::Incoming;
pub use programs::generations::{Generations, SwapRefused};
pub use programs::layout::layout;
pub use programs::swap::Swap;
pub use programs::{Clips, ClipsBySource, Programs};
pub use third_party::{COMMAND_MAX, Peering, is_command, sender};
pub use transport::Sockets;
pub use transport::connections::ConnectionEvent;

use arrivals::circuits::Circuits;
use arrivals::pacing::Pacer;
use call::blob::BlobPool;
use call::ids::{CallRef, RunNonce};
use call::lookup::{CallIdHasher, CallMap, DeadCalls};
use call::variables::Variables;
use call::{Phase, Slab, Slot};
use programs::bound::{Base, Bound, SharedNames, Varying};
use random::Random;
use third_party::Commands;
use transport::connections::{Connections, GONE};
use transport::sources::Sources;
use wheel::Wheel;

/// Users whose digests are remembered.
const DIGESTS: usize = 4096;

/// The calls of one worker: their state, their timers and their counters.
pub struct Engine {
    config: EngineConfig,
    /// The last ICMP error, for the record of the call that it ends.
    last_icmp: IcmpCause,
    /// The programs by number; a call stores the number of its program. The place of an unused
    /// number holds any program.
    programs: Vec<Rc<Bound>>,
    /// Number of calls of each program, lingering ones included.
    calls_of: Vec<u32>,
    /// Numbers in the order of the layout's programs.
    numbers: Vec<u8>,
    /// Names of the variables that programs share.
    names: SharedNames,
    /// The main program of new calls.
    main: u8,
    /// The program of calls that arrive while the main one makes calls.
    receiving: Option<u8>,
    /// The program of unknown calls while the main one makes calls.
    out_of_call: Option<u8>,
    calls: Slab,
    /// Two timers per call: `2 * slot` for the step, `2 * slot + 1` for retransmission.
    wheel: Wheel,
    blobs: BlobPool,
    map: CallMap,
    dead: DeadCalls,
    hasher: CallIdHasher,
    nonce: RunNonce,
    random: Random,
    pacer: Option<Pacer>,
    /// Users without a call, and the time at which their next call is due.
    idle_users: Vec<(u32, u64)>,
    /// Number of this worker's users; users from this index on make no call after their current
    /// one.
    users: u32,
    /// True while users start no calls; a schedule has a pause of its own.
    users_paused: bool,
    counters: Counters,
    tracer: Tracer,
    report: Box<Report>,
    /// Running calls, without lingering ones.
    active: usize,
    /// Running calls of the out-of-call program.
    active_out_of_call: usize,
    lingering: usize,
    created: u64,
    /// Calls of the out-of-call program so far, which do not count towards `-m`.
    created_out_of_call: u64,
    /// This worker's share of `-m`.
    created_max: u64,
    /// This worker's share of `-l`.
    active_max: u64,
    accepting: bool,
    /// True if requests that begin a call are served; otherwise they are refused.
    is_listening: bool,
    outbox: Outbox,
    /// The slot from which on open calls are still to be ended, if that was demanded.
    cancelling: Option<u32>,
    /// The run ends now, whatever is open.
    is_stopping: bool,
    buffers: Buffers,
    /// States of named transactions, call by call.
    named: Vec<dialog::transactions::NamedState>,
    /// Named transactions for which each call has room.
    named_each: usize,
    /// Working memory of regular expressions.
    regex: std::cell::RefCell<Scratch>,
    /// Calls that found the send arena full, in order.
    deferred: Vec<(Slot, u32)>,
    deferred_spare: Vec<(Slot, u32)>,
    /// Calls that wait for another connection, in order; calls that no longer need one are skipped.
    reopening: VecDeque<(Slot, u32)>,
    /// Requests staged since the last flush, whose departure time is not known yet.
    staged: Vec<StagedRequest>,
    /// Sockets free for new calls (one socket per call), or the one shared socket.
    sockets: SocketPool,
    /// The first call in line for a connection has asked for one.
    line_asks: bool,
    connections: Connections,
    /// The socket that accepts connections. A message with this socket was handed over by another
    /// worker, which has its connection.
    listener: SocketId,
    /// The one connection of all calls, where they have no other.
    only_connection: Option<SocketId>,
    /// True once the shared connection was up.
    was_connected: bool,
    variables: Variables,
    dynamic_id: Cell<u64>,
    /// Injection files and the scenario's changes to them.
    tables: Vec<Table>,
    /// Digest hashes of users, realms and passwords.
    digests: RefCell<Ha1Cache>,
    circuits: Option<Circuits>,
    peers: Commands,
    /// Source addresses of `-t ui`, by injection row.
    sources: Option<Sources>,
    /// The media of the worker, if it has any.
    media: Option<MediaHandle>,
}

/// Effects that the worker has not taken yet ([`Engine::next_effect`]).
struct Outbox {
    /// A request to stop the run.
    stop: Option<StopRequest>,
    /// The request to stop because the one connection of all calls is lost.
    disconnected: Option<StopRequest>,
    /// Notes for the user.
    notes: VecDeque<String>,
    /// Answers for the control side.
    answers: VecDeque<Answer>,
    /// Shell commands.
    commands: VecDeque<Box<[u8]>>,
}

impl Outbox {
    fn new() -> Self {
        Self {
            stop: None,
            disconnected: None,
            notes: VecDeque::with_capacity(transport::connections::NOTES_MAX),
            answers: VecDeque::new(),
            commands: VecDeque::new(),
        }
    }

    /// Requests to stop the run, unless a request of the same weight waits already.
    fn stop_run(&mut self, request: StopRequest) {
        self.stop = StopRequest::heavier(self.stop.take(), request);
    }
}

/// Buffers that one step after the other uses: they are taken, filled, and put back.
struct Buffers {
    /// Header index of the message that is handled.
    index: Option<Box<HeaderIndex>>,
    /// Header index of the last message of a call, read back from its store.
    saved_index: Option<Box<HeaderIndex>>,
    saved_bytes: Vec<u8>,
    /// Header index of the sent message that the actions of a send examine.
    sent_index: Option<Box<HeaderIndex>>,
    sent_bytes: Vec<u8>,
    /// Room for a text that an action makes.
    scratch: Vec<u8>,
    /// Text of an automatic message, where it comes from the scenario.
    default_text: Vec<u8>,
}

impl Buffers {
    fn new() -> Self {
        let index = || Some(Box::new(HeaderIndex::new()));
        let bytes = || Vec::with_capacity(1 << 16);
        Self {
            index: index(),
            saved_index: index(),
            saved_bytes: bytes(),
            sent_index: index(),
            sent_bytes: bytes(),
            scratch: bytes(),
            default_text: Vec::new(),
        }
    }
}

/// Sockets that calls send from.
#[derive(Debug)]
enum SocketPool {
    /// All calls share one socket.
    Shared(SocketId),
    /// The shared connection is lost, and may come back.
    Lost(SocketId),
    /// Each call takes a connection, which is closed with the last call on it.
    Connections {
        /// The connection that was opened for the next call.
        fresh: Option<SocketId>,
        /// All open connections.
        all: Vec<SocketId>,
        /// Most open connections; calls beyond that share them in turn.
        max: usize,
        /// True if the last attempt to open one failed.
        refused: bool,
        next_shared: usize,
    },
    /// Each call takes its own socket and returns it at its end.
    PerCall {
        free: Vec<(SocketId, u16)>,
        all: Vec<(SocketId, u16)>,
        /// No more sockets will come: calls share the existing ones in turn.
        exhausted: bool,
        next_shared: usize,
    },
}

impl SocketPool {
    fn per_call() -> Self {
        Self::PerCall { free: Vec::new(), all: Vec::new(), exhausted: false, next_shared: 0 }
    }
}

/// A request to stop the run, by an action or because of a fatal error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopRequest {
    /// `int_cmd="stop_gracefully"`: no new calls.
    Gracefully,
    /// `int_cmd="stop_now"`.
    Now,
    /// The one connection that calls share is lost for good; with a text about it.
    Disconnected(String),
    /// The one connection that calls share was never established; with a text about it.
    NotConnected(String),
    /// Another instance that takes part in the calls (3PCC) is gone: no new calls.
    PeerGone,
    /// An `<error>` action, with its text.
    Fatal(String),
}

impl StopRequest {
    /// The rank among requests: one with a higher rank includes the effect of one with a lower.
    fn weight(&self) -> u8 {
        match self {
            Self::PeerGone => 0,
            Self::Gracefully => 1,
            Self::Now => 2,
            Self::Disconnected(_) | Self::NotConnected(_) | Self::Fatal(_) => 3,
        }
    }

    /// The one of two requests that counts: the heavier, or else the earlier.
    pub(crate) fn heavier(earlier: Option<Self>, later: Self) -> Option<Self> {
        match earlier {
            Some(earlier) if later.weight() <= earlier.weight() => Some(earlier),
            _ => Some(later),
        }
    }
}

/// A request staged for sending, to be stamped when it leaves.
#[derive(Clone, Copy, Debug)]
struct StagedRequest {
    slot: Slot,
    generation: u32,
    is_invite: bool,
    /// True for the first message of a call: the generator is to blame for its lateness.
    is_arrival: bool,
    planned_ns: u64,
}

/// The context in which a call executes: the time, room to send, and the last received message.
struct Cx<'a, 'm> {
    now: u64,
    /// Time of the event that is handled: the arrival of the message, or `now` for a timer.
    at: u64,
    tx: &'a mut TxArena,
    last: Option<&'a Message<'m>>,
    /// True if `last` was read back from the call's store.
    last_is_saved: bool,
}

/// The numbers from which all random choices of an engine follow.
fn seeds(config: &EngineConfig, mode: Mode) -> Random {
    // A caller and an answerer with the same seed must not mistake each other's Call-IDs for
    // their own.
    let role = match mode {
        Mode::Client => 0,
        Mode::Server => 0x5e2f_e200_0000_0001,
    };
    Random::new(config.seed ^ role)
}

/// Binds programs to the figures of `layout` and to the environment; adds the names of variables
/// that they share to `names`.
fn bind(
    programs: &Programs,
    layout: &Layout,
    config: &EngineConfig,
    names: &mut SharedNames,
) -> Vec<Rc<Bound>> {
    let environment = &config.environment;
    let bound = |(index, program): (usize, &Arc<Program>)| {
        let base = Base::new(program, index, layout, names);
        let clips = programs.clips.of(index, program);
        let varying = Varying::of(program, config);
        Rc::new(Bound::new(Arc::clone(program), base, clips, environment, varying))
    };
    programs.all().enumerate().map(bound).collect()
}

/// The schedule of calls, for an engine that starts them at a rate.
fn pacer(config: &EngineConfig) -> Option<Pacer> {
    match config.arrivals {
        Arrivals::Open(plan) => {
            Some(Pacer::new(plan, config.worker, config.workers, config.start_ns))
        }
        Arrivals::Server | Arrivals::Users(_) => None,
    }
}

impl Engine {
    /// Creates an engine for `programs`. `layout` must be theirs.
    pub fn new(programs: impl Into<Programs>, layout: &Layout, config: EngineConfig) -> Self {
        let report = Box::new(Report::new(layout, config.worker as u16));
        Self::with_report(programs, layout, config, report)
    }

    /// As [`new`](Self::new), with an empty report of `layout`: a report is most of the
    /// memory of a small engine, and the next engine can use it again.
    pub fn with_report(
        programs: impl Into<Programs>,
        layout: &Layout,
        mut config: EngineConfig,
        report: Box<Report>,
    ) -> Self {
        // RFC 3261 section 17: no retransmission over a reliable transport.
        config.rules.retransmission.enabled &= !config.environment.protocol.is_stream();
        let programs: Programs = programs.into();
        let capacity = capacity_of(&config);
        let connections = if config.environment.protocol.is_stream() { capacity } else { 0 };
        let mut seeds = seeds(&config, programs.main.mode);
        let nonce = RunNonce::new(seeds.next_u64() as u32);
        let hasher = CallIdHasher::new(seeds.next_u64());
        let random = Random::new(seeds.next_u64().wrapping_add(config.worker as u64));
        let split = |total: u64| pacing::share(total, config.worker, config.workers);
        let pacer = pacer(&config);
        let users = match config.arrivals {
            Arrivals::Users(users) => split(users) as u32,
            Arrivals::Server | Arrivals::Open(_) => 0,
        };
        let idle_users = (0..users).map(|user| (user, config.start_ns)).collect();
        let mut names = SharedNames::default();
        let bounds = bind(&programs, layout, &config, &mut names);
        let room = Footprint::default().with(&programs, &names);
        let names_of_globals = names.globals.len();
        let created_max = config.calls_total.map_or(u64::MAX, split);
        let active_max = config.concurrent_max.map_or(u64::MAX, split);
        let sockets = match config.environment.local_port {
            Some(_) => SocketPool::Shared(SocketId(0)),
            None => SocketPool::per_call(),
        };
        let circuits = config.data.circuits;
        let circuits = circuits.map(|map| Circuits::new(map, config.worker, config.workers));
        let mut engine = Self {
            last_icmp: IcmpCause::Other,
            calls_of: vec![0; bounds.len()],
            numbers: (0..=u8::MAX).take(bounds.len()).collect(),
            programs: bounds,
            names,
            main: 0,
            receiving: programs.receiving_index(),
            out_of_call: programs.out_of_call_index(),
            calls: Slab::new(capacity),
            wheel: Wheel::new(2 * capacity, config.start_ns),
            blobs: BlobPool::new(config.blob_bytes_max),
            map: CallMap::new(capacity),
            dead: DeadCalls::new(config.dead_calls_max),
            hasher,
            nonce,
            random,
            pacer,
            idle_users,
            users,
            users_paused: false,
            counters: Counters::default(),
            tracer: recording::tracer(config.worker, config.trace),
            report,
            active: 0,
            active_out_of_call: 0,
            lingering: 0,
            created: 0,
            created_out_of_call: 0,
            created_max,
            active_max,
            accepting: true,
            is_listening: true,
            outbox: Outbox::new(),
            cancelling: None,
            is_stopping: false,
            buffers: Buffers::new(),
            named: Vec::new(),
            named_each: room.named,
            regex: std::cell::RefCell::default(),
            deferred: Vec::with_capacity(1024),
            deferred_spare: Vec::with_capacity(1024),
            reopening: VecDeque::with_capacity(64),
            staged: Vec::with_capacity(8192),
            sockets,
            connections: Connections::for_at_most(connections),
            line_asks: false,
            listener: GONE,
            only_connection: None,
            was_connected: false,
            variables: Variables::new(room, users, names_of_globals),
            peers: Commands::none(),
            sources: None,
            media: None,
            dynamic_id: Cell::new(config.rules.dynamic_ids.start),
            tables: config.data.tables.iter().cloned().map(Table::new).collect(),
            digests: RefCell::new(Ha1Cache::new(DIGESTS, seeds.next_u64())),
            circuits,
            config,
        };
        engine.set_globals(0);
        for number in 0..engine.numbers.len() as u8 {
            engine.initialise(number);
        }
        engine
    }

    /// Time at which the engine next wants to be called, on the monotonic clock.
    pub fn next_deadline_ns(&self) -> u64 {
        if !self.deferred.is_empty() || !self.reopening.is_empty() {
            return 0;
        }
        let timer = self.wheel.next_deadline_ns().unwrap_or(u64::MAX);
        timer.min(self.next_arrival_ns())
    }

    /// Stamps the requests that were staged since the last call with their departure time,
    /// `sent_ns`.
    fn flushed(&mut self, sent_ns: u64) {
        for staged in self.staged.drain(..) {
            if staged.is_arrival {
                let error = sent_ns.abs_diff(staged.planned_ns);
                self.report.histograms.record_planned_send_error(error);
            }
            let Some(call) = self.calls.current(staged.slot, staged.generation) else { continue };
            if call.phase == Phase::Running {
                let call = &mut self.calls[staged.slot];
                let open = if staged.is_invite { &mut call.invite } else { &mut call.request };
                open.sent_ns = sent_ns;
            }
        }
    }

    /// Resumes calls that found the send arena full.
    fn resume_deferred(&mut self, now: u64, tx: &mut TxArena) {
        let mut waiting = std::mem::take(&mut self.deferred);
        std::mem::swap(&mut self.deferred, &mut self.deferred_spare);
        for (slot, generation) in waiting.drain(..) {
            let Some(call) = self.calls.current(slot, generation) else { continue };
            if call.phase == Phase::Running && call.deferred {
                self.calls[slot].deferred = false;
                self.resume(slot, now, tx);
            }
        }
        self.deferred_spare = waiting;
    }

    /// Counters since the start, without the driver's own figures.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The same [`counters`](Self::counters), with the number of lost records.
    pub fn counters_now(&self) -> Counters {
        Counters { trace_drops: *self.tracer.dropped(), ..self.counters }
    }

    /// The report of the current interval, which receives all figures.
    pub fn report_mut(&mut self) -> &mut Report {
        &mut self.report
    }

    /// Ends the engine; what is left of it is the report of its last interval.
    pub fn into_report(self) -> Box<Report> {
        self.report
    }

    /// Exchanges the report of the finished interval for an empty one.
    pub fn swap_report(&mut self, empty: Box<Report>) -> Box<Report> {
        let mut full = std::mem::replace(&mut self.report, empty);
        self.report.generic_counters.clone_from(&full.generic_counters);
        self.report.displays.clone_from(&full.displays);
        self.report.steps.clone_from(&full.steps);
        self.report.messages.copy_from(&full.messages);
        self.fill_report(&mut full);
        full
    }

    /// Completes the report of the finished interval, which is no longer the current one.
    fn fill_report(&mut self, full: &mut Report) {
        self.report.peak_active = self.active as u64;
        full.counters = self.counters;
        full.counters.trace_drops = *self.tracer.dropped();
        if let Some(pacer) = &self.pacer {
            full.rate_steps.copy_from(pacer.steps());
        }
        for (calls, &number) in full.program_calls.iter_mut().zip(&self.numbers) {
            *calls = u64::from(self.calls_of[usize::from(number)]);
        }
    }

    /// Calls open now.
    pub fn active(&self) -> usize {
        self.active
    }

    /// Failed calls that still end their dialog with the peer.
    pub fn lingering(&self) -> usize {
        self.lingering
    }

    /// The rate of the whole run in calls per second; 0 without an open-loop schedule.
    pub fn target_rate(&self) -> f64 {
        self.pacer.as_ref().map_or(0.0, Pacer::rate_per_second)
    }

    /// Accounts the schedule of calls, if there is one, up to `until_ns`. Returns the time in which
    /// calls were placed, the number of calls that the rate asked for over all workers, and the
    /// rate step in force.
    pub fn account_pacing(&mut self, until_ns: u64) -> Option<(u64, f64, u32)> {
        let pacer = self.pacer.as_mut()?;
        pacer.account(until_ns);
        let (paced_ns, planned) = pacer.steps().paced();
        Some((paced_ns, planned, pacer.steps().current()))
    }

    /// Returns `true` if all calls of the run were made.
    pub fn all_created(&self) -> bool {
        let stopped = self.pacer.as_ref().is_some_and(Pacer::is_stopped);
        !self.accepting || stopped || self.created >= self.created_max
    }

    /// Returns `true` if no call is open and none will be. Calls of the out-of-call program do not
    /// count: a peer that asks something every second would keep the run from ending.
    pub fn is_finished(&self) -> bool {
        self.active == self.active_out_of_call && self.all_created()
    }

    /// Number of strings in the store, and bytes of it ever used; for tests and memory reports.
    pub fn blob_usage(&self) -> (usize, usize) {
        (self.blobs.live(), self.blobs.committed_bytes())
    }

    /// The counts of a step of the call's program.
    fn step_counts(&mut self, slot: Slot, step: u16) -> &mut StepCounts {
        let first = self.program_of(slot).base.step.get();
        &mut self.report.steps[first + usize::from(step)]
    }

    fn step_timer(slot: Slot) -> u32 {
        2 * slot
    }

    fn retransmit_timer(slot: Slot) -> u32 {
        2 * slot + 1
    }

    /// The program that the call in `slot` follows.
    fn program_of(&self, slot: Slot) -> &Rc<Bound> {
        &self.programs[usize::from(self.calls[slot].program)]
    }

    /// The main program of new calls.
    fn main_program(&self) -> &Rc<Bound> {
        &self.programs[usize::from(self.main)]
    }

    /// The part of a Call-ID that identifies a call.
    fn call_key<'c>(&self, call_id: &'c [u8]) -> &'c [u8] {
        if self.config.rules.whole_call_ids { call_id } else { ids::key(call_id) }
    }

    fn call_ref(&self, slot: Slot) -> CallRef {
        CallRef { worker: self.config.worker as u8, slot, generation: self.calls[slot].generation }
    }
}

fn capacity_of(config: &EngineConfig) -> usize {
    config.pool_calls.clamp(1, ids::SLOTS_MAX)
}

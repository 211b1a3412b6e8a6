//! One worker: an engine driven by a driver, one turn at a time.
//!
//! A turn sends the staged messages, waits for traffic or the next deadline, handles the events,
//! fires timers, and starts the calls that are due. Nothing else happens on a worker's thread.
//! `report` sends figures to the control side once a second.

mod report;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Thread;

use gossipper_uring::{Bell, Event, RxClass, SocketId, SocketSpec, TxArena, Waker};
use rtrb::{Consumer, Producer};

use super::answer::Answer;
use super::link::{Link, News};
use super::third_party::link::{Tell, WorkerEnd};
use super::told::Told;
use crate::engine::{CommandTaken, Disposition, Engine, Incoming, Started, StopRequest, Swap};
use crate::stats::{CallTotals, CounterSample, Counters, DropCause, Report};
use crate::trace::{Kinds, RecordsIn};

/// Length of a report's interval.
pub const REPORT_NS: u64 = 1_000_000_000;
/// Time between two [`CounterSample`]s of a worker whose figures are watched. Four make a report's
/// interval, and the last of them is the report.
const SAMPLE_NS: u64 = REPORT_NS / 4;
/// Reports in circulation per worker.
pub(super) const REPORTS: usize = 4;
/// Most notes on their way to the control side.
pub const NOTES: usize = 16;
/// Slots of the send arena kept free while events, timers and arrivals are handled, so that the
/// messages that one of them causes still fit. A datagram causes a handful of sends at most.
const TX_RESERVE: usize = 64;
/// Time in which the dialogs of failed calls may end after the last call, if a run waits for them.
pub const LINGER_NS: u64 = 4_000_000_000;
/// Longest wait of a shutdown for operations in the kernel.
const SHUTDOWN_NS: u64 = 200_000_000;
/// Most busy circuits in one answer.
const CIRCUITS_MAX: usize = 4096;
/// Sockets opened in one turn: each costs a few system calls, and arrivals must not wait for all.
const SOCKETS_PER_TURN: usize = 256;

/// Durations from which a stall is counted as minor, and as major: the thresholds of SIPp's
/// watchdog.
pub const WATCHDOG_NS: (u64, u64) = (500_000_000, 3_000_000_000);

/// A request of the control side to a worker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WorkerRequest {
    /// Start and accept no more calls; open ones go on.
    StopNewCalls,
    /// End every open call with BYE or CANCEL.
    CancelCalls,
    /// End now, even if calls are open.
    StopNow,
    /// A new rate, in calls per period over all workers.
    SetRate(f64),
    /// Another number of users, over all workers.
    SetUsers(u64),
    /// Another limit of open calls, over all workers.
    SetCallLimit(u64),
    /// Another number of calls to make since the start, over all workers; `None` is no limit.
    SetCallsTotal(Option<u64>),
    /// Pause or resume the start of calls.
    SetPaused(bool),
    /// Make records of these kinds only.
    SetTrace(Kinds),
    /// Serve requests that belong to no call, or refuse them with 503.
    SetAccepting(bool),
    /// Answer with the global variables, and record them as warnings.
    TellVariables,
    /// Answer with the circuits in use.
    TellCircuits,
    /// Answer with the numbers of calls.
    TellCalls,
    /// Answer with the events that open calls wait for.
    TellWaits,
}

/// A datagram on its way to the worker that owns its call.
#[derive(Debug)]
pub struct Handover {
    /// The payload.
    pub payload: Box<[u8]>,
    /// The address that it came from.
    pub source: SocketAddr,
    /// Time of arrival, on the monotonic clock.
    pub received_ns: u64,
    /// The socket of the receiving worker on which it arrived.
    pub socket: SocketId,
    /// The worker that received it.
    pub receiver: usize,
    /// Number of workers that have already examined it.
    pub hops: usize,
    /// The worker that owns the call, if the Call-ID says so.
    pub owner: Option<usize>,
}

/// A worker's ends of the queues that connect it. Each has a fixed capacity.
pub struct Links {
    /// Requests of the control side.
    pub requests: Consumer<WorkerRequest>,
    /// Reports to the control side.
    pub reports: Producer<Box<Report>>,
    /// Counters between two reports, if they were requested.
    pub samples: Option<Producer<CounterSample>>,
    /// Empty reports from the control side.
    pub empties: Consumer<Box<Report>>,
    /// Programs for new calls; taken at the end of an interval.
    pub swaps: Consumer<Box<Swap>>,
    /// Programs and reports no longer needed, for the control side to free.
    pub swapped: Producer<Box<Swap>>,
    /// Requests of the scenario to stop the run.
    pub stops: Producer<StopRequest>,
    /// Notes for the user; they are rare enough to be texts.
    pub notes: Producer<String>,
    /// Answers to questions of the control side.
    pub answers: Producer<Answer>,
    /// Shell commands of the scenario, if it has some.
    pub shell: Option<Producer<Box<[u8]>>>,
    /// Records for the writer thread, if any are needed.
    pub records: Option<(RecordsIn, Arc<Bell>)>,
    /// The control side's thread, to be woken when its queues are not empty.
    pub control: Thread,
    /// Datagrams for the next worker in the circle, and the handle that wakes it.
    pub handover_out: Option<(Producer<Handover>, Waker)>,
    /// Datagrams from the previous worker in the circle.
    pub handover_in: Option<Consumer<Handover>>,
    /// Commands to and from other instances (3PCC), and notices about them.
    pub third_party: Option<WorkerEnd>,
    /// The number of workers of the run that are not done yet.
    pub undone: Undone,
}

/// The number of workers that are not done. Workers end together: one that ended alone would break
/// the circle. If workers share a port, the kernel would also give the datagrams of its socket, and
/// some of other sockets, to other workers.
#[derive(Clone, Debug)]
pub struct Undone(Arc<AtomicUsize>);

impl Undone {
    /// The count for a run of `workers`; each worker gets a clone.
    pub fn new(workers: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(workers)))
    }

    fn is_none(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }

    fn take_one(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }

    /// Undoes [`take_one`](Self::take_one); `false` if all workers were already done.
    fn give_back_one(&self) -> bool {
        let one_more = |undone: usize| (undone > 0).then_some(undone + 1);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_ok()
    }
}

/// The result of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The worker wants another turn.
    Again,
    /// The worker has sent its last report.
    Finished,
}

/// The sockets that a worker opens for calls (`-t un`).
#[derive(Clone, Debug)]
pub struct PerCallSockets {
    /// Options of the sockets; port 0.
    pub spec: SocketSpec,
    /// Most such sockets.
    pub max: usize,
}

/// The part of the schedule of calls that reports already cover.
#[derive(Default)]
struct Paced {
    /// Time in which calls were placed.
    paced_ns: u64,
    /// Calls that the rate asked for in that time, over all workers.
    planned: f64,
    /// The rate step in force.
    step: u32,
}

/// An engine on a driver, and the queues to and from the control side.
pub struct Worker<D: Link> {
    driver: D,
    engine: Engine,
    links: Links,
    main_socket: SocketId,
    shared: Option<SocketId>,
    /// True once the shared connection was up.
    was_connected: bool,
    per_call: Option<PerCallSockets>,
    sockets_open: usize,
    workers: usize,
    index: usize,
    interval_start_ns: u64,
    next_report_ns: u64,
    /// Time of the next sample; `u64::MAX` if samples were not requested.
    next_sample_ns: u64,
    sequence: u64,
    pacing_until_ns: Option<u64>,
    /// The engine's schedule as of the last report.
    paced: Paced,
    last_cpu_ns: u64,
    own: Counters,
    /// Empty reports that came with an exchange of programs.
    spare: VecDeque<Box<Report>>,
    wakes: WakeBudget,
    watchdog_ns: (u64, u64),
    linger_ns: u64,
    /// True if the next turn must not wait, because work is left.
    hurry: bool,
    idle_since_ns: Option<u64>,
    /// True once the worker is done and waits for the others.
    done: bool,
    /// The slot from which to go on with ending open calls.
    cancelling: Option<u32>,
    /// Slots of the arena left for other messages while calls are ended.
    cancel_reserve: usize,
    stopping: bool,
    finished: bool,
    told: Told,
}

/// The parts of a worker.
pub struct WorkerParts<D: Link> {
    /// The driver, with `main_socket` open.
    pub driver: D,
    /// The engine.
    pub engine: Engine,
    /// The queues.
    pub links: Links,
    /// The socket that receives requests, and that calls without a socket of their own send from.
    pub main_socket: SocketId,
    /// The one connection that calls share, if they do.
    pub shared: Option<SocketId>,
    /// One socket per call, if so configured.
    pub per_call: Option<PerCallSockets>,
    /// Index of the worker.
    pub index: usize,
    /// Number of workers.
    pub workers: usize,
    /// Start of the run.
    pub start_ns: u64,
    /// Longest time for which events may gather under load; 0 handles each at once.
    pub grain_ns: u64,
    /// Durations from which a stall is counted as minor, and as major; [`WATCHDOG_NS`] is SIPp's.
    pub watchdog_ns: (u64, u64),
    /// Time in which the dialogs of failed calls may end after the last call.
    pub linger_ns: u64,
}

/// A limit on how often a worker wakes up. Each wake costs a few microseconds that calls could use
/// better. The budget is one wake per grain on average, with some in reserve, so that a single call
/// is never delayed. Beyond it, events gather until the next grain. A call then starts in the grain
/// nearest to its time; the difference is measured like any lateness. Durations are not affected,
/// because the kernel stamps what it receives.
#[derive(Debug)]
struct WakeBudget {
    grain_ns: u64,
    /// Time at which the budget allows the next wake (the generic cell rate algorithm's arrival
    /// time).
    due_ns: u64,
}

impl WakeBudget {
    /// Wakes in reserve: enough for some calls.
    const BURST: u64 = 32;

    fn note(&mut self, now: u64) {
        let earliest = now.saturating_sub(Self::BURST * self.grain_ns);
        let due_ns = self.due_ns.max(earliest) + self.grain_ns;
        // Wakes that could not be delayed leave no debt: the next wake is at most one grain away.
        self.due_ns = due_ns.min(now + self.grain_ns);
    }

    /// Time by which a call may start early: half a grain while turns are a grain apart, which
    /// halves the error of starts; 0 while the budget lets a worker wake when a call is due.
    fn lead_ns(&self, now: u64) -> u64 {
        if self.due_ns > now { self.grain_ns / 2 } else { 0 }
    }

    /// Time until which events should gather; a past time means that they need not.
    fn gather_until_ns(&self) -> u64 {
        if self.grain_ns == 0 { 0 } else { self.due_ns }
    }
}

impl<D: Link> Worker<D> {
    /// Creates a worker that begins at `parts.start_ns`.
    pub fn new(mut parts: WorkerParts<D>) -> Self {
        // While all calls are ended at once, there must be room for answers to the messages they
        // still receive.
        let cancel_reserve = (parts.driver.tx().free() / 2).max(TX_RESERVE);
        let last_cpu_ns = parts.driver.cpu_time_ns();
        let next_sample_ns = match parts.links.samples {
            Some(_) => parts.start_ns + SAMPLE_NS,
            None => u64::MAX,
        };
        Self {
            driver: parts.driver,
            engine: parts.engine,
            links: parts.links,
            main_socket: parts.main_socket,
            shared: parts.shared,
            was_connected: false,
            per_call: parts.per_call,
            sockets_open: 0,
            workers: parts.workers,
            index: parts.index,
            interval_start_ns: parts.start_ns,
            next_report_ns: parts.start_ns + REPORT_NS,
            next_sample_ns,
            sequence: 0,
            pacing_until_ns: None,
            last_cpu_ns,
            own: Counters::default(),
            spare: VecDeque::with_capacity(REPORTS),
            watchdog_ns: parts.watchdog_ns,
            linger_ns: parts.linger_ns,
            wakes: WakeBudget { grain_ns: parts.grain_ns, due_ns: 0 },
            hurry: true,
            idle_since_ns: None,
            paced: Paced::default(),
            done: false,
            cancelling: None,
            cancel_reserve,
            stopping: false,
            finished: false,
            told: Told::default(),
        }
    }

    /// The engine, for tests.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The driver, for tests.
    pub fn driver(&self) -> &D {
        &self.driver
    }

    /// Time at which the worker next has work without being woken.
    pub fn next_deadline_ns(&self) -> u64 {
        if self.hurry || self.engine.has_deferred() || self.engine.has_closable() {
            return 0;
        }
        let next_report_ns = self.next_report_ns.min(self.next_sample_ns);
        let mut deadline = self.engine.next_deadline_ns().min(next_report_ns);
        if let Some(idle_since) = self.idle_since_ns.filter(|_| !self.done) {
            deadline = deadline.min(idle_since + self.linger_ns);
        }
        deadline
    }

    /// Executes one turn.
    ///
    /// # Errors
    /// The error that makes the driver unusable.
    pub fn turn(&mut self) -> io::Result<Turn> {
        if self.finished {
            return Ok(Turn::Finished);
        }
        let deadline = self.next_deadline_ns();
        let gather_until_ns = if deadline == 0 { 0 } else { self.wakes.gather_until_ns() };
        self.hurry = false;
        let before = self.driver.now();
        self.engine.flushed(before);
        self.driver.turn_gathering(gather_until_ns, deadline)?;
        let now = self.driver.now();
        self.wakes.note(now);
        self.watch(now.saturating_sub(before.max(deadline).max(gather_until_ns)));
        self.take_requests(now);
        if let Some(from) = self.cancelling {
            // Each call ends with a message of its own, so a turn ends as many as the arena holds.
            self.cancelling =
                self.engine.cancel_calls(from, now, self.driver.tx(), self.cancel_reserve);
            self.hurry |= self.cancelling.is_some();
            if self.stopping {
                // The remaining calls have no further turn: they end without a message.
                self.engine.give_up_calls(now);
                self.cancelling = None;
            }
        }
        self.receive(now);
        self.take_news(now);
        self.take_handovers(now);
        if self.engine.has_deferred() {
            self.reopen_connections(now);
            self.engine.resume_deferred(now, self.driver.tx());
        }
        self.hurry |= self.engine.fire_timers(now, self.driver.tx(), TX_RESERVE);
        // While turns are a grain apart, a call starts in the turn nearest to its time.
        let lead_ns = self.wakes.lead_ns(now);
        // A call that begins with a command needs to know which instances are reachable.
        self.hear_commands(now);
        self.start_calls(now, lead_ns);
        self.hand_on_commands();
        self.say_commands();
        if let Some(stop) = self.engine.take_stop_request() {
            // A full queue holds an earlier request of the same weight.
            let _ = self.links.stops.push(stop);
            self.wake_control();
        }
        self.hand_on_records();
        let turn_ns = self.driver.now().saturating_sub(now);
        self.watch(turn_ns);
        self.engine.report_mut().histograms.record_loop_time(turn_ns);
        if self.pacing_until_ns.is_none() && self.engine.all_created() {
            self.pacing_until_ns = Some(now);
        }
        self.note_done(now);
        if self.stopping || (self.done && self.links.undone.is_none()) {
            // Messages that are staged still leave.
            self.engine.flushed(self.driver.now());
            self.driver.turn(0)?;
            self.engine.end_all_lingering(now);
            self.engine.end_out_of_call(now);
            self.hand_on_records();
            self.report(self.driver.now(), true);
            let deadline = self.driver.now() + SHUTDOWN_NS;
            self.driver.shutdown(deadline);
            self.finished = true;
            // The other workers need not wait for their next report to see that all are done.
            if let Some((_, waker)) = &self.links.handover_out {
                waker.wake();
            }
            return Ok(Turn::Finished);
        }
        if now >= self.next_report_ns {
            self.report(now, false);
        } else if now >= self.next_sample_ns {
            self.sample(now);
        }
        Ok(Turn::Again)
    }

    /// Counts a stall: a turn that took long, or a wake that came late.
    fn watch(&mut self, stall_ns: u64) {
        let (minor_ns, major_ns) = self.watchdog_ns;
        if stall_ns >= major_ns {
            self.own.watchdog_major += 1;
        } else if stall_ns >= minor_ns {
            self.own.watchdog_minor += 1;
        }
    }

    /// Moves the turn's records to the queue of the writer thread, and wakes it if it is idle.
    /// Never waits: records that find no room are counted by kind.
    fn hand_on_records(&mut self) {
        let tracer = self.engine.tracer_mut();
        let Some((queue, bell)) = &mut self.links.records else { return tracer.clear() };
        let mut any = false;
        tracer.hand_on(|bytes| {
            any = true;
            queue.push(bytes)
        });
        if any {
            bell.ring();
        }
    }

    /// Passes shell commands to the control side; those that find no room are dropped and counted.
    fn hand_on_commands(&mut self) {
        while let Some(command) = self.engine.take_command() {
            let handed_on =
                self.links.shell.as_mut().is_some_and(|shell| shell.push(command).is_ok());
            if !handed_on {
                self.engine.note_command_dropped();
            }
        }
    }

    /// Notes, once, that all of this worker's calls were made and have ended.
    fn note_done(&mut self, now: u64) {
        if self.done {
            return;
        }
        if !self.engine.is_finished() {
            self.idle_since_ns = None;
            return;
        }
        let since = *self.idle_since_ns.get_or_insert(now);
        if self.engine.lingering() == 0 || now >= since + self.linger_ns {
            self.done = true;
            self.links.undone.take_one();
        }
    }

    /// Notes that a worker which was done has calls to make again, while others are still working.
    fn note_undone(&mut self) {
        if self.done && !self.engine.is_finished() && self.links.undone.give_back_one() {
            self.done = false;
            self.idle_since_ns = None;
        }
    }

    fn take_requests(&mut self, now: u64) {
        while let Ok(request) = self.links.requests.pop() {
            match request {
                WorkerRequest::StopNewCalls => self.engine.stop_new_calls(),
                WorkerRequest::CancelCalls => {
                    self.engine.stop_new_calls();
                    self.cancelling.get_or_insert(0);
                }
                WorkerRequest::StopNow => {
                    self.engine.stop_new_calls();
                    self.stopping = true;
                }
                WorkerRequest::SetRate(rate) => self.engine.set_rate(rate, now),
                WorkerRequest::SetUsers(users) => self.engine.set_users(users, now),
                WorkerRequest::SetCallLimit(limit) => self.engine.set_call_limit(limit),
                WorkerRequest::SetCallsTotal(total) => {
                    self.engine.set_calls_total(total);
                    self.note_undone();
                }
                WorkerRequest::SetPaused(paused) => self.engine.set_paused(paused, now),
                WorkerRequest::SetTrace(kinds) => self.engine.set_trace(kinds),
                WorkerRequest::SetAccepting(accepting) => self.engine.set_accepting(accepting),
                WorkerRequest::TellVariables => {
                    let variables = self.engine.tell_variables(now);
                    self.answer(Answer::Variables(variables));
                }
                WorkerRequest::TellCircuits => {
                    let busy = self.engine.busy_circuits(CIRCUITS_MAX);
                    self.answer(Answer::Circuits(busy));
                }
                WorkerRequest::TellWaits => self.answer(Answer::Waits(self.engine.census(now))),
                WorkerRequest::TellCalls => {
                    let calls = CallTotals::of(self.engine.counters());
                    self.answer(Answer::Calls(calls));
                }
            }
        }
    }

    fn answer(&mut self, answer: Answer) {
        // Answers that the control side does not collect are dropped.
        if self.links.answers.push(answer).is_ok() {
            self.wake_control();
        }
    }

    fn receive(&mut self, now: u64) {
        let engine = &mut self.engine;
        let links = &mut self.links;
        let own = &mut self.own;
        let receiver = self.index;
        let left = self.driver.drain(|event, tx| {
            if let Event::Datagram { socket, source, payload, received_ns } = event {
                let owner = match engine.on_event(event, now, tx) {
                    Disposition::Done => None,
                    Disposition::HandOver(owner) => Some(Some(owner)),
                    Disposition::HandOverUnknown => Some(None),
                };
                if let Some(owner) = owner {
                    let payload = payload.into();
                    let handover =
                        Handover { payload, source, received_ns, socket, receiver, hops: 1, owner };
                    hand_over(links, own, handover);
                }
            } else {
                engine.on_event(event, now, tx);
            }
            if tx.free() > TX_RESERVE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        self.hurry |= left.is_break();
    }

    /// Handles the driver's events of connections.
    fn take_news(&mut self, now: u64) {
        while let Some(news) = self.driver.take_news() {
            match news {
                News::Up(socket) => {
                    self.was_connected |= self.shared == Some(socket);
                    self.engine.connection_up(socket);
                }
                News::Congested(socket) => self.engine.connection_congested(socket),
                News::Drained(socket) => self.engine.connection_drained(socket),
                News::NotSent { cookie, cause } => {
                    self.engine.message_not_sent(cookie, cause, now);
                }
                News::Lost { socket, fails, drop, comes_back, was_open, text } => {
                    if let Some(drop) = drop {
                        self.engine.count_drop(drop);
                    }
                    // As in SIPp, the run is over without its one connection.
                    let ends_run =
                        self.shared == Some(socket) && !comes_back && !self.engine.all_created();
                    if !was_open {
                        self.engine.warn(&text, now);
                        // The error of the run contains the same text.
                        if !ends_run {
                            self.note(&text, now);
                        }
                    }
                    match fails {
                        Some(cause) => self.engine.connection_lost(socket, cause, now),
                        None if comes_back => self.engine.connection_suspended(socket),
                        None => self.engine.connection_left(socket),
                    }
                    if ends_run {
                        let request = match self.was_connected {
                            true => StopRequest::Disconnected(text),
                            false => StopRequest::NotConnected(text),
                        };
                        let _ = self.links.stops.push(request);
                        self.wake_control();
                    }
                }
            }
        }
        self.close_unneeded();
    }

    /// Tells the control side why there is no connection, unless it was told so a short time ago:
    /// connections may fail as often as calls come. The engine counts a warning for each.
    fn note(&mut self, text: &str, now: u64) {
        // A full queue already holds enough notes.
        if self.told.admits(text, now) && self.links.notes.push(text.to_owned()).is_ok() {
            self.wake_control();
        }
    }

    /// Closes connections that have no calls left.
    fn close_unneeded(&mut self) {
        while let Some(socket) = self.engine.take_closable() {
            self.driver.close(socket);
        }
    }

    fn take_handovers(&mut self, now: u64) {
        while self.driver.tx().free() > TX_RESERVE {
            let Some(Ok(mut handover)) = self.links.handover_in.as_mut().map(Consumer::pop) else {
                return;
            };
            let passes_on = handover.owner.is_some_and(|owner| owner != self.index)
                && handover.hops < self.workers;
            if passes_on {
                handover.hops += 1;
                hand_over(&mut self.links, &mut self.own, handover);
                continue;
            }
            // The datagram is back at the worker that received it: no worker knows its call.
            let is_final = handover.hops >= self.workers;
            let datagram = Incoming {
                socket: match handover.receiver == self.index {
                    true => handover.socket,
                    false => self.main_socket,
                },
                source: handover.source,
                payload: &handover.payload,
                received_ns: handover.received_ns,
                is_final,
            };
            let disposition = self.engine.on_datagram(&datagram, now, self.driver.tx());
            if disposition != Disposition::Done {
                handover.hops += 1;
                hand_over(&mut self.links, &mut self.own, handover);
            }
        }
        self.hurry = true;
    }

    fn start_calls(&mut self, now: u64, lead_ns: u64) {
        let mut opened = 0;
        loop {
            match self.engine.start_calls(now, lead_ns, self.driver.tx(), TX_RESERVE) {
                Started::All => return,
                Started::NeedsFlush => {
                    self.hurry = true;
                    return;
                }
                Started::NeedsSocket if opened == SOCKETS_PER_TURN => {
                    self.hurry = true;
                    return;
                }
                Started::NeedsSocket => {
                    opened += 1;
                    self.open_socket();
                }
            }
        }
    }

    /// Opens connections for calls that closed theirs.
    fn reopen_connections(&mut self, now: u64) {
        // Connections that wait to be closed may use up the limit of connections.
        self.close_unneeded();
        for _ in 0..SOCKETS_PER_TURN {
            if !self.engine.wants_socket() || self.driver.tx().free() <= TX_RESERVE {
                return;
            }
            self.open_socket();
            self.engine.give_socket(now, self.driver.tx());
        }
    }

    /// Handles the messages of the third-party thread: commands and notices of other instances.
    fn hear_commands(&mut self, now: u64) {
        let Some(mut third_party) = self.links.third_party.take() else { return };
        while self.driver.tx().free() > TX_RESERVE {
            let (engine, tx) = (&mut self.engine, self.driver.tx());
            let taken = match third_party.read() {
                None => break,
                Some(Tell::Command(text)) => engine.on_command(text, now, tx),
                Some(Tell::Unfinished) => {
                    engine.drop_command(DropCause::CommandUnfinished);
                    CommandTaken::Done
                }
                Some(Tell::Reachable(peer)) => {
                    engine.peer_reachable(peer);
                    CommandTaken::Done
                }
                Some(Tell::Gone(peer)) => {
                    engine.peer_gone(peer, now, tx);
                    CommandTaken::Done
                }
            };
            if taken == CommandTaken::NeedsSocket {
                third_party.hold_command();
                self.open_socket();
            }
        }
        self.hurry |= third_party.has_more();
        self.links.third_party = Some(third_party);
    }

    /// Passes the engine's commands to the third-party thread.
    fn say_commands(&mut self) {
        let Some(third_party) = &mut self.links.third_party else { return };
        self.engine.carry_commands(|peer, text| third_party.push(peer, text));
        third_party.wake();
    }

    fn open_socket(&mut self) {
        let Some(per_call) = &self.per_call else { return self.engine.no_more_sockets() };
        if self.sockets_open >= per_call.max {
            return self.engine.no_more_sockets();
        }
        match self.driver.open(&per_call.spec) {
            Ok(socket) => {
                self.sockets_open += 1;
                let port = self.driver.local_addr(socket).port();
                self.engine.add_socket(socket, port);
            }
            // No descriptors or ports are left: calls share the sockets that there are.
            Err(_) => self.engine.no_more_sockets(),
        }
    }

    fn wake_control(&self) {
        self.links.control.unpark();
    }

    /// The arena, for tests.
    pub fn tx(&mut self) -> &mut TxArena {
        self.driver.tx()
    }
}

impl<D: Link> Drop for Worker<D> {
    /// Counts a worker that ends by an error as done, so that the others do not wait for it.
    fn drop(&mut self) {
        if !self.done {
            self.links.undone.take_one();
        }
    }
}

fn hand_over(links: &mut Links, own: &mut Counters, handover: Handover) {
    let Some((queue, waker)) = &mut links.handover_out else {
        own.handover_dropped += 1;
        return;
    };
    match queue.push(handover) {
        Ok(()) => {
            own.handed_over += 1;
            waker.wake();
        }
        Err(_) => own.handover_dropped += 1,
    }
}

/// The options of a socket for SIP.
pub fn sip_socket(local: SocketAddr, buffer_bytes: usize, reuse_port: bool) -> SocketSpec {
    SocketSpec {
        local,
        remote: None,
        reuse_port,
        rx_class: RxClass::Large,
        receive_buffer_bytes: buffer_bytes,
        send_buffer_bytes: buffer_bytes,
        device: None,
    }
}

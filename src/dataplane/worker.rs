//! One worker: an engine driven by a driver, one turn at a time.
//!
//! A turn sends what was staged, waits for traffic or the next deadline, handles what came, fires
//! timers, and starts the calls that are due. Nothing else happens on a worker's thread. `inputs`
//! feeds the engine, `effects` carries out its requests, and `report` sends figures to the control
//! side once a second.

mod effects;
mod inputs;
mod links;
mod report;
mod wakes;

use std::collections::VecDeque;
use std::io;

use gossipper_uring::{Driver, SocketId, SocketSpec, TxArena};

use super::network::Network;
use super::told::Told;
use crate::engine::{Engine, Input};
use crate::media::{Medium, MediumInput, NoMedium};
use crate::stats::{Counters, Report};

pub(super) use links::REPORTS;
pub use links::{ANSWERS, Handover, Links, NOTES, Stops, Undone};
use wakes::WakeBudget;

/// Length of a report's interval.
pub const REPORT_NS: u64 = 1_000_000_000;
/// Time between two [`CounterSample`](crate::stats::CounterSample)s of a worker, if the run has
/// samples. Four make a report's interval, and the last of them is the report.
const SAMPLE_NS: u64 = REPORT_NS / 4;
/// Slots of the send arena kept free while events, timers and arrivals are handled, so that the
/// messages that one of them causes still fit. A datagram causes a handful of sends at most.
const TX_RESERVE: usize = 64;
/// Time in which the dialogs of failed calls may end after the last call, if a run waits for them.
pub const LINGER_NS: u64 = 4_000_000_000;
/// Sockets opened in one turn for one purpose: each costs a few system calls, and arrivals must not
/// wait for all.
const SOCKETS_PER_TURN: usize = 256;
/// Most datagrams that wait for sockets of the medium; more are dropped and counted, and their
/// senders repeat them.
const HELD_MAX: usize = 4096;
/// Time that a shutdown waits for operations in the kernel.
const SHUTDOWN_NS: u64 = 200_000_000;
/// Most turns for the last messages of the medium: twice what the streams of a full worker need.
const LAST_TURNS_MAX: usize = 4096;

/// Durations from which a stall is counted as minor, and as major: the thresholds of SIPp's
/// watchdog.
pub const WATCHDOG_NS: (u64, u64) = (500_000_000, 3_000_000_000);

/// The outcome of a worker's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The worker wants another turn.
    Again,
    /// The worker has sent its last report.
    Finished,
}

/// The way in which a worker opens sockets for calls (`-t un`).
#[derive(Clone, Debug)]
pub struct PerCallSockets {
    /// The sockets to open; port 0.
    pub spec: SocketSpec,
    /// Most of these sockets.
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

/// An engine on a driver, with a medium beside it, driven one turn at a time.
pub struct Worker<D: Driver, M: Medium = NoMedium> {
    network: Network<D>,
    engine: Engine,
    medium: M,
    links: Links,
    main_socket: SocketId,
    per_call: Option<PerCallSockets>,
    sockets_open: usize,
    workers: usize,
    index: usize,
    interval_start_ns: u64,
    next_report_ns: u64,
    /// Time of the next sample; `u64::MAX` if no samples are sent.
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
    /// Datagrams whose calls wait for sockets of the medium.
    held: VecDeque<Handover>,
    /// Slots of the arena left for other messages while calls are ended.
    cancel_reserve: usize,
    stopping: bool,
    finished: bool,
    told: Told,
}

/// The parts of a worker.
pub struct WorkerParts<D: Driver, M: Medium> {
    /// The network, with `main_socket` open.
    pub network: Network<D>,
    /// The engine.
    pub engine: Engine,
    /// The user of UDP sockets beside SIP.
    pub medium: M,
    /// The queues.
    pub links: Links,
    /// The socket that receives requests, and that calls without a socket of their own send from.
    pub main_socket: SocketId,
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

impl<D: Driver, M: Medium> Worker<D, M> {
    /// Creates a worker that begins at `parts.start_ns`.
    pub fn new(mut parts: WorkerParts<D, M>) -> Self {
        // While all calls are ended at once, there must be room for answers to the messages they
        // still receive.
        let cancel_reserve = (parts.network.sip_tx().free() / 2).max(TX_RESERVE);
        let last_cpu_ns = parts.network.cpu_time_ns();
        let next_sample_ns = match parts.links.samples {
            Some(_) => parts.start_ns + SAMPLE_NS,
            None => u64::MAX,
        };
        Self {
            network: parts.network,
            engine: parts.engine,
            medium: parts.medium,
            links: parts.links,
            main_socket: parts.main_socket,
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
            wakes: WakeBudget::new(parts.grain_ns),
            hurry: true,
            idle_since_ns: None,
            paced: Paced::default(),
            done: false,
            held: VecDeque::new(),
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

    /// The medium, for tests.
    pub fn medium(&self) -> &M {
        &self.medium
    }

    /// The driver, for tests.
    pub fn driver(&self) -> &D {
        self.network.driver()
    }

    /// Time at which the worker next has work without being woken.
    pub fn next_deadline_ns(&self) -> u64 {
        self.own_deadline_ns().min(self.network.next_deadline_ns())
    }

    /// The same time without the deadlines of connections.
    fn own_deadline_ns(&self) -> u64 {
        if self.hurry {
            return 0;
        }
        let next_report_ns = self.next_report_ns.min(self.next_sample_ns);
        let mut deadline = self.engine.next_deadline_ns().min(next_report_ns);
        deadline = deadline.min(self.medium.next_deadline_ns());
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
        // 1. Send what is staged, wait, and reap.
        let now = self.enter()?;
        // 2. Handle requests and what came in.
        self.take_requests(now);
        self.receive(now);
        self.take_handovers(now);
        self.take_held(now);
        self.carry_out(now);
        // 3. Fire timers, start what is due.
        self.pass_time(now);
        // 4. Carry out the effects of the engine. Its messages are staged.
        self.carry_out(now);
        self.hand_on_records();
        // 5. Report, once a second.
        self.conclude(now)
    }

    /// Sends what is staged and waits for traffic or the next deadline. Returns the time.
    fn enter(&mut self) -> io::Result<u64> {
        let deadline = self.own_deadline_ns();
        // Streams keep their times exactly: their packets are planned for whole milliseconds, which
        // is a wake per millisecond at most.
        let gather_until_ns = match deadline {
            0 => 0,
            _ => self.wakes.gather_until_ns().min(self.medium.next_deadline_ns()),
        };
        self.hurry = false;
        let before = self.network.now();
        self.engine.handle(Input::Flushed, before, self.network.sip_tx());
        self.medium.handle(MediumInput::Flushed, before, self.network.medium_tx());
        self.network.turn_gathering(gather_until_ns, deadline)?;
        let now = self.network.now();
        self.wakes.note(now);
        self.watch(now.saturating_sub(before.max(deadline).max(gather_until_ns)));
        Ok(now)
    }

    /// Measures the turn, and sends a report if one is due; the last report if the worker is done.
    fn conclude(&mut self, now: u64) -> io::Result<Turn> {
        let turn_ns = self.network.now().saturating_sub(now);
        self.watch(turn_ns);
        self.engine.report_mut().histograms.record_loop_time(turn_ns);
        if self.pacing_until_ns.is_none() && self.engine.all_created() {
            self.pacing_until_ns = Some(now);
        }
        self.note_done(now);
        if self.stopping || (self.done && self.links.undone.is_none()) {
            self.finish(now)?;
            return Ok(Turn::Finished);
        }
        if now >= self.next_report_ns {
            self.report(now, false);
        } else if now >= self.next_sample_ns {
            self.sample(now);
        }
        Ok(Turn::Again)
    }

    /// Ends everything, with a last report.
    fn finish(&mut self, now: u64) -> io::Result<()> {
        // Messages that are staged still leave.
        let sent_ns = self.network.now();
        self.engine.handle(Input::Flushed, sent_ns, self.network.sip_tx());
        self.medium.handle(MediumInput::Flushed, sent_ns, self.network.medium_tx());
        self.network.turn_gathering(0, 0)?;
        self.engine.handle(Input::RunOver, now, self.network.sip_tx());
        self.end_medium(now)?;
        self.hand_on_records();
        self.report(self.network.now(), true);
        let deadline = self.network.now() + SHUTDOWN_NS;
        self.network.shutdown(deadline);
        self.finished = true;
        // The other workers need not wait for their next report to see that all are done.
        if let Some((_, waker)) = &self.links.handover_out {
            waker.wake();
        }
        Ok(())
    }

    /// Lets the last messages of the medium leave, in as many turns as the arena needs for them. A
    /// system that does not take them is not waited for.
    fn end_medium(&mut self, now: u64) -> io::Result<()> {
        self.medium.handle(MediumInput::RunOver, now, self.network.medium_tx());
        let until_ns = self.network.now() + SHUTDOWN_NS;
        for _ in 0..LAST_TURNS_MAX {
            let now = self.network.now();
            if self.medium.next_deadline_ns() > now || now >= until_ns {
                break;
            }
            self.medium.handle(MediumInput::Time { reserve: 0 }, now, self.network.medium_tx());
            self.medium.handle(MediumInput::Flushed, now, self.network.medium_tx());
            self.network.turn_gathering(0, 0)?;
        }
        Ok(())
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

    /// The number of datagrams and messages that wait for the next turn, for tests.
    pub fn staged(&mut self) -> usize {
        self.network.staged()
    }

    /// The arena of SIP, for tests.
    pub fn tx(&mut self) -> &mut TxArena {
        self.network.sip_tx()
    }
}

impl<D: Driver, M: Medium> Drop for Worker<D, M> {
    /// Makes the others not wait for a worker that is gone, as after an error of its driver.
    fn drop(&mut self) {
        if !self.done {
            self.links.undone.take_one();
        }
    }
}

//! One side of a simulated run: its workers, the queues between them, and the view of its control
//! side.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use gossipper::dataplane::third_party::{
    self, Connects, ThirdPartyPlan,
    link::{Tell, ThreadEnd},
};
use gossipper::dataplane::wiring::{self, Begin, Neighbours, Station};
use gossipper::dataplane::{
    self, Bind, Handover, Launch, Network, Running, StreamPlan, Turn, Undone, Worker, WorkerRequest,
};
use gossipper::engine::pacing::RatePlan;
use gossipper::engine::{
    Arrivals, Clips, EngineConfig, Environment, Generations, Peering, Programs, StopRequest,
    SwapRefused,
};
use gossipper::media::{MediaConfig, MediaHandle};
use gossipper::scenario::{Mode, Program};
use gossipper::stats::{
    Aggregate, Counters, FAILURE_GROUPS_MAX, Histograms, Layout, Report, RunStart, StepCounts,
};
use gossipper::stream::{Limits, TlsConfig};
use gossipper::trace::Protocol;
use gossipper_uring::{DriverConfig, SimDriver, SimNet};
use rtrb::{Consumer, Producer, RingBuffer};

use super::SECOND;
use super::beside::Beside;
use super::carrier::Streams;
use super::echo::Echo;

pub const CALLER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 5060);
pub const CALLEE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 5060);

/// A sound configuration of small size, for tests to change.
#[derive(Clone)]
pub struct SideOptions {
    pub program: Arc<Program>,
    pub address: SocketAddr,
    pub workers: usize,
    /// All workers on one port; otherwise each takes the next one.
    pub share_port: bool,
    pub per_call_sockets: Option<usize>,
    /// Use of connections; `None` for datagrams.
    pub streams: Option<Streams>,
    pub driver: DriverConfig,
    pub grain_ns: u64,
    /// Length of the queue between two workers.
    pub handovers_max: usize,
    /// Interval at which the control side collects reports.
    pub collect_ns: u64,
    /// Time that the dialogs of failed calls may take to end after the last call.
    pub linger_ns: u64,
    /// Address of a medium of the first worker.
    pub medium: Option<SocketAddr>,
    /// Media of calls, in the place of that medium.
    pub media: Option<MediaConfig>,
    /// The sources that calls play.
    pub clips: Clips,
    /// Third-party call control, with the test in the place of the other instances.
    pub peering: Option<Peering>,
    pub engine: EngineConfig,
}

impl SideOptions {
    /// A caller that `peer` does not know, or an answerer.
    pub fn new(program: Program) -> Self {
        let is_client = program.mode == Mode::Client;
        let calls_out = program.sip_mode == Mode::Client;
        let address = if calls_out { CALLER } else { CALLEE };
        let engine = EngineConfig {
            calls_total: is_client.then_some(1),
            arrivals: if is_client { rate(10.0) } else { Arrivals::Server },
            environment: Environment {
                local_ip: address.ip(),
                media_ip: address.ip(),
                remote_host: if calls_out { CALLEE.ip().to_string() } else { String::new() },
                remote: calls_out.then_some(CALLEE),
                next_hop: calls_out.then_some(CALLEE),
                ..Environment::default()
            },
            ..EngineConfig::default()
        };
        let driver = DriverConfig {
            tx_small_slots: 512,
            tx_large_slots: 4,
            sockets_max: 512,
            ..DriverConfig::default()
        };
        Self {
            program: Arc::new(program),
            address,
            workers: 1,
            share_port: false,
            per_call_sockets: None,
            streams: None,
            driver,
            grain_ns: 0,
            handovers_max: 4096,
            collect_ns: SECOND,
            linger_ns: gossipper::dataplane::LINGER_NS,
            medium: None,
            media: None,
            clips: Clips::default(),
            peering: None,
            engine,
        }
    }

    pub fn with(mut self, change: impl FnOnce(&mut EngineConfig)) -> Self {
        change(&mut self.engine);
        self
    }

    /// The plan of a run of the product.
    pub fn launch(&self) -> Launch {
        let Self { address, workers, driver, .. } = self;
        let mut engine = self.engine.clone();
        let streams = self.streams.as_ref().map(|streams| {
            engine.environment.protocol = match streams.tls {
                None => Protocol::Tcp,
                Some(_) => Protocol::Tls,
            };
            StreamPlan {
                tls: streams.tls.clone(),
                tickets: TlsConfig::tickets().expect("randomness"),
                websocket: streams.websocket,
                remote: engine.environment.next_hop,
                remote_name: "peer.test".to_owned(),
                per_call: streams.per_call,
                connections_max: driver.sockets_max,
                reconnect: streams.reconnect,
                limits: Limits::default(),
            }
        });
        let ports = match self.share_port {
            true => vec![address.port()],
            false => (address.port()..).take(*workers).collect(),
        };
        Launch {
            workers: *workers,
            cpus: Vec::new(),
            driver: driver.clone(),
            use_uring: false,
            bind: Bind {
                ip: address.ip(),
                ports,
                shared: self.share_port,
                for_connections: false,
                buffer_bytes: 0,
                device: None,
            },
            per_call_sockets: self.per_call_sockets,
            sources: None,
            streams,
            grain_ns: self.grain_ns,
            watchdog_ns: gossipper::dataplane::WATCHDOG_NS,
            linger_ns: self.linger_ns,
            programs: Programs { clips: self.clips.clone(), ..Arc::clone(&self.program).into() },
            third_party: self.peering.map(|peering| ThirdPartyPlan {
                peering,
                listen: None,
                peers: Vec::new(),
                connects: Connects::AtStart,
            }),
            layout: Arc::new(layout(&self.program)),
            runs_commands: false,
            samples: false,
            record_bytes: 0,
            copy_bytes: 0,
            bell: Arc::default(),
            media: self.media.clone(),
            engine,
        }
    }
}

/// An open-loop schedule of `rate` calls per second.
pub fn rate(rate: f64) -> Arrivals {
    Arrivals::Open(RatePlan {
        rate,
        period_ns: SECOND,
        increase: 0.0,
        interval_ns: 0,
        rate_max: 0.0,
        quit_at_max: true,
    })
}

pub fn layout(program: &Program) -> Layout {
    gossipper::engine::layout(&[program], 0)
}

/// One worker, and the places of other workers and instances.
pub struct Seat {
    worker: Worker<SimDriver, Beside>,
    /// The place of the other instances.
    third_party: Option<ThreadEnd>,
    street: Street,
    woken: bool,
    /// The worker's thread gets no processor until then.
    stalled_until_ns: u64,
    finished: bool,
    turns: u64,
    slots: usize,
    last: Option<(u64, u64, Counters)>,
}

/// The queues between a worker and its neighbours, in which the harness carries datagrams on.
#[derive(Default)]
struct Street {
    /// From the worker, on their way to the next one.
    handovers: Option<Consumer<Handover>>,
    /// Into the worker.
    inbox: Option<Producer<Handover>>,
}

impl Street {
    fn new(handovers_max: usize, waker: gossipper_uring::Waker) -> (Self, Neighbours) {
        let (out, from) = RingBuffer::new(handovers_max);
        let (into, inside) = RingBuffer::new(handovers_max);
        let street = Self { handovers: Some(from), inbox: Some(into) };
        let handover_out = Some((out, waker));
        (street, Neighbours { handover_out, handover_in: Some(inside), third_party: None })
    }
}

/// All workers of one side.
pub struct Side {
    pub seats: Vec<Seat>,
    /// The control side's ends of the workers.
    running: Running,
    pub histograms: Histograms<u64>,
    pub generic_counters: Vec<u64>,
    pub steps: Vec<StepCounts>,
    pub stops: Vec<StopRequest>,
    /// Notes for the user.
    pub notes: Vec<String>,
    pub peak_active: u64,
    collect_ns: u64,
    next_collect_ns: u64,
    totals: Counters,
    pub generations: Generations,
    /// The figures of the run's control side, for tests that exchange programs.
    pub aggregate: Option<Aggregate>,
}

impl Side {
    pub fn new(net: &SimNet, options: &SideOptions) -> Self {
        let launch = options.launch();
        let start_ns = net.now();
        let mut bind = launch.bind.clone();
        let undone = Undone::new(options.workers);
        let (mut seats, mut workers) = (Vec::new(), Vec::new());
        for worker in 0..options.workers {
            let driver = SimDriver::new(net, &launch.driver).expect("memory for a driver");
            let network = Network::new(driver, &launch).expect("a good name");
            let station = Station::open(network, &launch, &bind);
            let station = station.expect("a free port");
            bind.note_taken(station.local_addr().port());
            let (street, mut neighbours) = match options.workers {
                1 => Default::default(),
                _ => Street::new(options.handovers_max, station.waker()),
            };
            let third_party = options.peering.map(|_| {
                let (worker_end, thread_end) = third_party::link::pair(None);
                neighbours.third_party = Some(worker_end);
                thread_end
            });
            let (links, handle) =
                wiring::queues(&launch, worker, station.waker(), neighbours, &undone);
            let begin = Begin { worker, start_ns, wall_offset_ns: 0 };
            let medium = match launch.media(begin) {
                Some(media) => Beside::Media(MediaHandle::new(media, start_ns)),
                None => Beside::Echo(Echo::new(options.medium.filter(|_| worker == 0), None)),
            };
            let worker = station.worker(&launch, begin, links, medium);
            let mut worker = worker.expect("a free port");
            workers.push(handle);
            seats.push(Seat {
                slots: worker.tx().free(),
                worker,
                third_party,
                street,
                woken: true,
                stalled_until_ns: 0,
                finished: false,
                turns: 0,
                last: None,
            });
        }
        let layout = &launch.layout;
        Self {
            seats,
            running: Running { workers, start_ns, local: options.address, third_party: None },
            histograms: Histograms::new(layout),
            generic_counters: vec![0; layout.counters.len()],
            steps: vec![StepCounts::default(); layout.steps_total()],
            stops: Vec::new(),
            notes: Vec::new(),
            peak_active: 0,
            collect_ns: options.collect_ns,
            next_collect_ns: start_ns,
            totals: Counters::default(),
            generations: launch.generations(options.workers),
            aggregate: None,
        }
    }

    /// Aggregates reports from now on, as a run does; to be called before the first report.
    pub fn aggregate(&mut self, start_ns: u64) {
        let start = RunStart { unix_ns: 0, monotonic_ns: start_ns };
        let layout = Arc::clone(self.generations.layout());
        self.aggregate = Some(Aggregate::new(layout, self.seats.len(), start));
    }

    /// Bytes of the rows of calls and users of the first worker.
    pub fn row_bytes(&self) -> (u64, u64) {
        self.seats[0].worker.engine().row_bytes()
    }

    /// Like [`gossipper::dataplane::swap`].
    pub fn swap(&mut self, program: Program) -> Result<(), SwapRefused> {
        self.swap_to(Arc::new(program).into())
    }

    /// The programs that new calls follow.
    pub fn programs(&self) -> Programs {
        self.generations.programs().clone()
    }

    /// Like [`Self::swap`], for all programs.
    pub fn swap_to(&mut self, programs: Programs) -> Result<(), SwapRefused> {
        let aggregate = self.aggregate.as_mut().expect("the side aggregates");
        dataplane::swap([&mut self.running], &mut self.generations, aggregate, programs, &[])?;
        let layout = self.generations.layout();
        self.histograms.grow(layout);
        self.generic_counters.resize(layout.counters.len(), 0);
        self.steps = vec![StepCounts::default(); layout.steps_total()];
        Ok(())
    }

    pub fn request(&mut self, request: WorkerRequest) {
        for (seat, handle) in self.seats.iter_mut().zip(&mut self.running.workers) {
            assert!(handle.send(request), "the queue of requests is never full here");
            seat.woken = true;
        }
    }

    /// Delivers a command of another instance to the first worker.
    pub fn tell(&mut self, what: Tell<'_>) {
        let seat = &mut self.seats[0];
        let third_party =
            seat.third_party.as_mut().expect("the side takes part in third-party call control");
        assert!(third_party.tell(what), "the ring is never full here");
        seat.woken = true;
    }

    /// The next command of the first worker to another instance, with that instance.
    pub fn said(&mut self) -> Option<(u16, String)> {
        let mut text = Vec::new();
        let peer = self.seats[0].third_party.as_mut()?.read(&mut text)?;
        Some((peer, String::from_utf8_lossy(&text).into_owned()))
    }

    /// The medium of the first worker.
    pub fn medium(&self) -> &Echo {
        match self.seats[0].worker.medium() {
            Beside::Echo(echo) => echo,
            Beside::Media(_) => panic!("the side has media of calls"),
        }
    }

    /// Keeps the processor from all workers of this side until `until_ns`.
    pub fn stall(&mut self, until_ns: u64) {
        for seat in &mut self.seats {
            seat.stalled_until_ns = until_ns;
        }
    }

    pub fn is_finished(&self) -> bool {
        self.seats.iter().all(|seat| seat.finished)
    }

    /// The sum of the engines' counters over the workers.
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for seat in &self.seats {
            sum.add(seat.worker.engine().counters());
        }
        sum
    }

    /// The sum over the workers' last reports.
    pub fn reported(&self) -> Counters {
        self.totals
    }

    /// The number of strings that the engines store, and the bytes ever used for them.
    pub fn blob_usage(&self) -> (usize, usize) {
        let usages = self.seats.iter().map(|seat| seat.worker.engine().blob_usage());
        usages.fold((0, 0), |sum, usage| (sum.0 + usage.0, sum.1 + usage.1))
    }

    pub fn active(&self) -> usize {
        self.seats.iter().map(|seat| seat.worker.engine().active()).sum()
    }

    pub fn lingering(&self) -> usize {
        self.seats.iter().map(|seat| seat.worker.engine().lingering()).sum()
    }

    pub fn next_deadline_ns(&self) -> Option<u64> {
        let seats = self.seats.iter().filter(|seat| !seat.finished);
        seats.map(|seat| seat.next_deadline_ns().max(seat.stalled_until_ns)).min()
    }

    /// Turns the workers that have work to do; returns their number.
    pub fn turn_due(&mut self, now: u64, check_every: u64) -> Result<u64, String> {
        let mut turned = 0;
        for index in 0..self.seats.len() {
            let seat = &mut self.seats[index];
            if seat.finished || now < seat.stalled_until_ns || !seat.is_due(now) {
                continue;
            }
            seat.turn(check_every).map_err(|error| format!("worker {index}: {error}"))?;
            turned += 1;
            self.pass_on(index)?;
            if self.seats[index].finished {
                let next = (index + 1) % self.seats.len();
                self.seats[next].woken = true;
            }
            if self.seats[index].finished || now >= self.next_collect_ns {
                self.collect(now)?;
            }
        }
        Ok(turned)
    }

    /// Moves datagrams from one worker to the next.
    fn pass_on(&mut self, from: usize) -> Result<(), String> {
        let to = (from + 1) % self.seats.len();
        while let Some(Ok(handover)) = self.seats[from].street.handovers.as_mut().map(Consumer::pop)
        {
            let next = &mut self.seats[to];
            let Some(inbox) = next.street.inbox.as_mut() else { break };
            if inbox.push(handover).is_err() {
                return Err("the queue between two workers is full".to_owned());
            }
            next.woken = true;
        }
        Ok(())
    }

    /// Does the work of the control side: absorbs reports and gives them back.
    fn collect(&mut self, now: u64) -> Result<(), String> {
        self.next_collect_ns = now + self.collect_ns;
        let sides = self.seats.iter_mut().zip(&mut self.running.workers);
        for (index, (seat, handle)) in sides.enumerate() {
            while let Ok(stop) = handle.stops.pop() {
                self.stops.push(stop);
            }
            while let Ok(note) = handle.notes.pop() {
                self.notes.push(note);
            }
            while let Ok(report) = handle.reports.pop() {
                seat.check_report(&report).map_err(|error| format!("worker {index}: {error}"))?;
                self.histograms.add(&report.histograms);
                if let Some(aggregate) = &mut self.aggregate {
                    aggregate.absorb(&report);
                }
                self.peak_active = self.peak_active.max(report.peak_active);
                if report.is_last {
                    self.totals.add(&report.counters);
                    let sums = self.generic_counters.iter_mut().zip(&report.generic_counters);
                    sums.for_each(|(sum, value)| *sum += value);
                    let sums = self.steps.iter_mut().zip(&report.steps);
                    sums.for_each(|(sum, counts)| sum.add(counts));
                }
                handle.give_back(report);
            }
        }
        Ok(())
    }

    /// Checks the end, once every worker has finished. `cut_short` if calls may have been left
    /// open.
    pub fn check_end(&mut self, cut_short: bool) -> Result<(), String> {
        self.collect(u64::MAX - self.collect_ns)?;
        let totals = self.totals;
        let mut expected = Counters::default();
        for seat in &mut self.seats {
            let engine = seat.worker.engine();
            if seat.last.is_none() {
                return Err("a worker ended without a report".to_owned());
            }
            if engine.lingering() != 0 {
                return Err("a call lingers after the end".to_owned());
            }
            if !cut_short && engine.active() != 0 {
                return Err(format!("{} calls are open after the end", engine.active()));
            }
            if !cut_short && engine.blob_usage().0 != 0 {
                return Err(format!("{} strings are stored after the end", engine.blob_usage().0));
            }
            expected.add(engine.counters());
            let free = seat.worker.tx().free();
            if free != seat.slots {
                return Err(format!("{free} of {} send slots are free at the end", seat.slots));
            }
        }
        for (what, reported, counted) in [
            ("calls started", totals.calls_started(), expected.calls_started()),
            ("calls succeeded", totals.calls_succeeded, expected.calls_succeeded),
            ("calls failed", totals.calls_failed, expected.calls_failed),
            ("failure causes", totals.failures.total(), expected.calls_failed),
        ] {
            if reported != counted {
                return Err(format!("{what}: {reported} reported, {counted} counted"));
            }
        }
        if !cut_short && totals.calls_started() != totals.calls_succeeded + totals.calls_failed {
            return Err(format!(
                "{} calls started, but {} succeeded and {} failed",
                totals.calls_started(),
                totals.calls_succeeded,
                totals.calls_failed
            ));
        }
        if let Some(aggregate) = &self.aggregate {
            let failures = aggregate.snapshot().failures;
            let grouped: u64 = failures.groups.iter().map(|group| group.count).sum();
            let is_full = failures.groups.len() == FAILURE_GROUPS_MAX;
            if grouped + failures.others.total() != totals.calls_failed
                || (!is_full && grouped != totals.calls_failed)
            {
                return Err(format!("{} calls failed: {failures:?}", totals.calls_failed));
            }
        }
        let ended = totals.calls_succeeded + totals.calls_failed;
        if self.histograms.call_length.count() != ended {
            let lengths = self.histograms.call_length.count();
            return Err(format!("{ended} calls ended, {lengths} lengths were recorded"));
        }
        Ok(())
    }

    /// Spoils the figures, so that a check must notice.
    pub fn lose_a_counted_call(&mut self) {
        self.totals.calls_succeeded = self.totals.calls_succeeded.saturating_sub(1);
    }
}

impl Seat {
    fn next_deadline_ns(&self) -> u64 {
        self.worker.next_deadline_ns().min(self.worker.driver().next_deadline())
    }

    fn is_due(&mut self, now: u64) -> bool {
        self.woken
            || self.worker.next_deadline_ns() <= now
            || self.worker.driver().next_deadline() <= now
            || self.worker.staged() > 0
    }

    fn turn(&mut self, check_every: u64) -> Result<(), String> {
        self.woken = false;
        self.turns += 1;
        let turn = self.worker.turn().map_err(|error| error.to_string())?;
        self.finished = turn == Turn::Finished;
        if self.finished || self.turns.is_multiple_of(check_every) {
            return self.worker.engine().check_invariants();
        }
        Ok(())
    }

    /// Checks that intervals follow each other without gaps, and that no counter falls.
    fn check_report(&mut self, report: &Report) -> Result<(), String> {
        let now = report.counters;
        if let Some((sequence, end_ns, before)) = &self.last {
            if report.sequence != sequence + 1 {
                return Err(format!("report {} follows report {sequence}", report.sequence));
            }
            if report.start_ns != *end_ns {
                return Err(format!("report {} leaves a gap in time", report.sequence));
            }
            for ((name, now), (_, before)) in now.each().zip(before.each()) {
                if now < before {
                    return Err(format!("counter {name} fell from {before} to {now}"));
                }
            }
        }
        if report.end_ns < report.start_ns || report.pacing_ns > report.duration_ns() {
            return Err(format!("report {} has impossible times", report.sequence));
        }
        self.last = Some((report.sequence, report.end_ns, now));
        Ok(())
    }
}

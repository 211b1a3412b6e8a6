//! The thread itself, and the control side's handle on it.

use std::io;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use gossipper_uring::{Bell, sys};

use super::backend::{Backend, StdBackend, run_ready};
use super::files::complaint;
use super::merge::Merge;
use super::uring::UringBackend;
use super::{Context, FileId, FileSpec, Files, Log, Losses, RecordSink, RunTotals};
use crate::output::Clock;
use crate::stats::{Layout, Unwritten};
use crate::trace::{Kinds, RecordsOut};

/// Orders on their way to the thread. Each is a row of a file or rarer.
const ORDERS: usize = 1024;
/// Time for which records gather under load, so that each write takes many. A thread without load
/// is woken for each record.
const NAP: Duration = Duration::from_millis(10);
/// Wakes in reserve beyond one per [`NAP`], so that the records of a few calls are written at once.
const BURST: u32 = 32;
/// Sleep while no records are wanted. An order ends it.
const LONG_NAP: Duration = Duration::from_secs(1);

/// Most complaints that wait for the control side.
const COMPLAINTS: usize = 64;
/// Steps by which the thread raises its nice value.
const NICER: u8 = 5;

/// Makes a sink for a file.
type MakeSink = Box<dyn FnOnce(FileId) -> Box<dyn RecordSink> + Send>;

/// A message of the control side to the thread.
pub enum Order {
    /// A whole entry for a file.
    Append(FileId, Vec<u8>),
    /// Passed to [`RecordSink::period`].
    Period {
        /// Wall time, in nanoseconds since 1970 UTC.
        unix_ns: u64,
        /// Nanoseconds since the start of the run.
        elapsed_ns: u64,
    },
    /// Passed to [`RecordSink::dump`].
    Dump,
    /// Switches a log.
    Switch(Log, bool),
    /// One more sink, for a file that is opened now.
    Adopt(FileSpec, MakeSink),
    /// The layout of the run from now on.
    Layout(Arc<Layout>),
    /// All workers have ended: the thread writes the rest, then ends.
    Finish(RunTotals),
}

/// The result of the thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordLosses {
    /// Entries that could not be written.
    pub unwritten: Unwritten,
    /// Complaints about failed writes that were not taken yet.
    pub complaints: Vec<String>,
    /// Orders that had no room on their way to the thread: rows of statistics files.
    pub lost_orders: u64,
    /// Counts of losses on the way to other programs.
    pub losses: Losses,
}

/// The state of writing, for the control side.
#[derive(Debug, Default)]
struct Told {
    unwritten: Unwritten,
    complaints: Vec<String>,
}

impl Told {
    fn complain(&mut self, complaint: String) {
        if self.complaints.len() < COMPLAINTS {
            self.complaints.push(complaint);
        }
    }
}

fn open(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    // Its content is consistent even after a panic.
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The receiving ends of the workers' queues, and the bell that workers ring for new records.
#[derive(Debug)]
pub struct Queues {
    /// One queue per worker.
    pub queues: Vec<RecordsOut>,
    /// The bell of all workers.
    pub bell: Arc<Bell>,
}

/// The control side's handle.
#[derive(Debug)]
pub struct Writer {
    orders: SyncSender<Order>,
    thread: Option<JoinHandle<RecordLosses>>,
    told: Arc<Mutex<Told>>,
    lost_orders: u64,
    /// Kinds that are always wanted, and the kinds and state of each log.
    always: Kinds,
    logs: Vec<(Log, Kinds, bool)>,
}

impl Writer {
    /// Starts the thread. `sinks` write to `files`, through io_uring if `use_uring` and the kernel
    /// allows it.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(
        files: Files,
        sinks: Vec<Box<dyn RecordSink>>,
        queues: Queues,
        clock: Clock,
        layout: Arc<Layout>,
        use_uring: bool,
    ) -> io::Result<Self> {
        Self::start_with(files, sinks, queues, clock, layout, (use_uring, NAP))
    }

    fn start_with(
        files: Files,
        sinks: Vec<Box<dyn RecordSink>>,
        Queues { queues, bell }: Queues,
        clock: Clock,
        layout: Arc<Layout>,
        (use_uring, nap): (bool, Duration),
    ) -> io::Result<Self> {
        let (orders, inbox) = mpsc::sync_channel(ORDERS);
        let sinks: Vec<Seat> = sinks.into_iter().map(|sink| Seat { is_on: true, sink }).collect();
        let (always, logs) = wanted(&sinks);
        let merge = Merge::new(queues);
        let wakes = Wakes::new(nap, Instant::now());
        let told = Arc::<Mutex<Told>>::default();
        let thread = Thread {
            files,
            sinks,
            inbox,
            merge,
            bell,
            wakes,
            clock,
            layout,
            told: Arc::clone(&told),
            totals: None,
        };
        let thread = thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || thread.run_on(use_uring))?;
        Ok(Self { orders, thread: Some(thread), told, lost_orders: 0, always, logs })
    }

    /// The kinds that are wanted now.
    pub fn kinds(&self) -> Kinds {
        let on = self.logs.iter().filter(|(_, _, is_on)| *is_on);
        on.fold(self.always, |all, (_, kinds, _)| all.union(*kinds))
    }

    /// Returns the counts of entries that could not be written so far.
    pub fn unwritten(&self) -> Unwritten {
        open(&self.told).unwritten
    }

    /// Takes the complaints about failed writes: about once a minute for each file.
    pub fn take_complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut open(&self.told).complaints)
    }

    /// Tells whether there is a sink for a log, on or off.
    pub fn knows(&self, log: Log) -> bool {
        self.logs.iter().any(|(known, ..)| *known == log)
    }

    /// Opens a file for a log that had none, and makes its sink. If the file cannot be opened, the
    /// user is told, and the log stays without a sink.
    pub fn adopt(
        &mut self,
        log: Log,
        spec: FileSpec,
        make: impl FnOnce(FileId) -> Box<dyn RecordSink> + Send + 'static,
    ) {
        self.logs.push((log, log.kinds(), false));
        self.order(Order::Adopt(spec, Box::new(make)));
    }

    /// Switches a log and returns the kinds that are wanted now, for the workers.
    pub fn switch(&mut self, log: Log, is_on: bool) -> Kinds {
        for (known, _, state) in &mut self.logs {
            if *known == log {
                *state = is_on;
            }
        }
        self.order(Order::Switch(log, is_on));
        self.kinds()
    }

    /// Sends an order. An order without room is lost and counted: the control side does not wait
    /// for a disk.
    pub fn order(&mut self, order: Order) {
        if self.orders.try_send(order).is_err() {
            self.lost_orders += 1;
        }
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// Waits until everything is written. All workers must have ended.
    pub fn finish(mut self, totals: RunTotals) -> RecordLosses {
        // Waiting is allowed here: nothing else is left to do.
        let _ = self.orders.send(Order::Finish(totals));
        let Some(thread) = self.thread.take() else { return RecordLosses::default() };
        thread.thread().unpark();
        let end = thread.join().unwrap_or_default();
        RecordLosses { lost_orders: self.lost_orders, ..end }
    }
}

fn wanted(sinks: &[Seat]) -> (Kinds, Vec<(Log, Kinds, bool)>) {
    let mut always = Kinds::NONE;
    let mut logs = Vec::new();
    for seat in sinks {
        match seat.sink.log() {
            None => always = always.union(seat.sink.kinds()),
            Some(log) => logs.push((log, seat.sink.kinds(), seat.is_on)),
        }
    }
    (always, logs)
}

/// A sink with its switch.
struct Seat {
    sink: Box<dyn RecordSink>,
    is_on: bool,
}

/// Budget of the wakes of the thread (the generic cell rate algorithm): on average one per nap, so
/// that under load many records are written at once.
#[derive(Debug)]
struct Wakes {
    nap: Duration,
    /// Time at which the budget allows the next wake.
    due: Instant,
}

impl Wakes {
    fn new(nap: Duration, now: Instant) -> Self {
        let mut wakes = Self { nap, due: now };
        wakes.due = wakes.earliest(now);
        wakes
    }

    /// Earliest due time of the next wake: with it the reserve is full.
    fn earliest(&self, now: Instant) -> Instant {
        now.checked_sub(self.nap.saturating_mul(BURST)).unwrap_or(now)
    }

    /// Counts one wake. After any number of them, the thread listens to the bell again after a nap.
    fn note(&mut self, now: Instant) {
        let due = self.due.clamp(self.earliest(now), now);
        self.due = due.checked_add(self.nap).unwrap_or(now);
    }

    fn are_spent(&self, now: Instant) -> bool {
        self.due > now
    }
}

struct Thread {
    files: Files,
    sinks: Vec<Seat>,
    inbox: Receiver<Order>,
    merge: Merge,
    bell: Arc<Bell>,
    wakes: Wakes,
    clock: Clock,
    layout: Arc<Layout>,
    told: Arc<Mutex<Told>>,
    /// The result of the run, once all workers have ended.
    totals: Option<RunTotals>,
}

impl Thread {
    /// Runs the thread, on io_uring if that is wanted and possible.
    fn run_on(self, use_uring: bool) -> RecordLosses {
        // The thread can fall behind its queues; workers cannot.
        let _ = sys::give_way(NICER);
        if use_uring && let Ok(runtime) = tokio_uring::Runtime::new(&tokio_uring::builder()) {
            return runtime.block_on(self.run(UringBackend));
        }
        run_ready(self.run(StdBackend)).unwrap_or_default()
    }

    async fn run(mut self, mut backend: impl Backend) -> RecordLosses {
        self.each(|sink, cx| sink.begin(cx));
        let totals = loop {
            self.take_orders();
            let any = self.take_records();
            self.each(|sink, cx| sink.tick(cx));
            self.write(&mut backend).await;
            self.tell(false);
            if any {
                self.wakes.note(Instant::now());
                continue;
            }
            if let Some(totals) = self.totals {
                break totals;
            }
            self.rest();
        };
        self.each(|sink, cx| sink.finish(&totals, cx));
        let mut losses = Losses::default();
        for seat in &self.sinks {
            let Losses { hep_packets, events } = seat.sink.losses();
            losses.hep_packets += hep_packets;
            losses.events += events;
        }
        self.write(&mut backend).await;
        for output in self.files.outputs_mut() {
            let Some(file) = output.take_file() else { continue };
            if let Err(error) = backend.finish(file).await {
                open(&self.told).complain(complaint(output.path(), &error));
            }
        }
        self.tell(true);
        let complaints = std::mem::take(&mut open(&self.told).complaints);
        RecordLosses { unwritten: self.files.unwritten(), complaints, lost_orders: 0, losses }
    }

    /// Tells the control side about failed writes. The run goes on.
    fn tell(&mut self, is_last: bool) {
        let now = Instant::now();
        let complaints =
            self.files.outputs_mut().iter_mut().filter_map(|o| o.take_complaint(now, is_last));
        let complaints: Vec<String> = complaints.collect();
        let unwritten = self.files.unwritten();
        let mut told = open(&self.told);
        complaints.into_iter().for_each(|complaint| told.complain(complaint));
        told.unwritten = unwritten;
    }

    /// Sleeps until there is something to do. An order ends the sleep.
    fn rest(&self) {
        if self.sinks.iter().all(|seat| !seat.is_on) {
            thread::park_timeout(LONG_NAP);
        } else if self.wakes.are_spent(Instant::now()) {
            thread::park_timeout(self.wakes.nap);
        } else {
            self.bell.listen(self.wakes.nap, || self.merge.is_empty());
        }
    }

    fn take_orders(&mut self) {
        while let Ok(order) = self.inbox.try_recv() {
            match order {
                Order::Append(id, text) => {
                    let unix_s = self.clock.now_unix_s();
                    self.files.append(id, &text, unix_s);
                }
                Order::Period { unix_ns, elapsed_ns } => {
                    // Records from before the end of the period belong to it.
                    self.take_records();
                    self.each(|sink, cx| sink.period(unix_ns, elapsed_ns, cx));
                }
                Order::Dump => {
                    self.take_records();
                    self.each(|sink, cx| sink.dump(cx));
                }
                Order::Switch(log, is_on) => {
                    for seat in &mut self.sinks {
                        if seat.sink.log() == Some(log) {
                            seat.is_on = is_on;
                        }
                    }
                }
                Order::Adopt(spec, make) => {
                    let path = spec.path.clone();
                    match self.files.open(spec) {
                        Ok(file) => self.sinks.push(Seat { sink: make(file), is_on: false }),
                        Err(error) => open(&self.told).complain(complaint(&path, &error)),
                    }
                }
                Order::Layout(layout) => self.layout = layout,
                Order::Finish(totals) => self.totals = Some(totals),
            }
        }
    }

    fn take_records(&mut self) -> bool {
        self.clock.refresh();
        let Self { files, sinks, merge, clock, layout, .. } = self;
        let mut cx = Context { files, clock, layout };
        let any = merge.visit(|record| {
            let kind = record.event.kind();
            cx.files.set_kind(Some(kind));
            for seat in &mut *sinks {
                if seat.is_on && seat.sink.kinds().has(kind) {
                    seat.sink.record(record, &mut cx);
                }
            }
        });
        cx.files.set_kind(None);
        any
    }

    /// Calls `what` with every sink that is on.
    fn each(&mut self, mut what: impl FnMut(&mut dyn RecordSink, &mut Context<'_>)) {
        let Self { files, sinks, clock, layout, .. } = self;
        let mut cx = Context { files, clock, layout };
        for seat in sinks.iter_mut().filter(|seat| seat.is_on) {
            what(&mut *seat.sink, &mut cx);
        }
    }

    async fn write(&mut self, backend: &mut impl Backend) {
        for output in self.files.outputs_mut() {
            while let Some((file, mut piece)) = output.take_piece() {
                let bytes = std::mem::take(&mut piece.bytes);
                let done = backend.write(file, bytes, piece.position).await;
                piece.bytes = done.bytes;
                output.give_back(done.file, piece, done.written, done.error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Clock;
    use crate::stats::{RunStart, TraceKind};
    use crate::trace::{Event, Record, Tracer, queue};
    use std::fs::{self, File};

    /// Writes texts as they are.
    struct Plain(FileId);

    impl RecordSink for Plain {
        fn kinds(&self) -> Kinds {
            Kinds::of(&[TraceKind::Log])
        }

        fn record(&mut self, record: &Record<'_>, cx: &mut Context<'_>) {
            if let Event::Log(text) = record.event {
                cx.entry(self.0, record.at_ns, |_, _, entry| entry.extend_from_slice(text));
            }
        }
    }

    #[test]
    fn a_log_is_complete_while_nothing_else_happens() {
        for use_uring in [true, false] {
            let path = std::env::temp_dir()
                .join(format!("gossipper-bell-{}-{use_uring}", std::process::id()));
            let mut files = Files::default();
            let file = files.adopt("log", File::create(&path).unwrap());
            let (mut records_in, records_out) = queue(1 << 16);
            let bell = Arc::new(Bell::default());
            let queues = Queues { queues: vec![records_out], bell: Arc::clone(&bell) };
            let clock = Clock::new(RunStart { unix_ns: 0, monotonic_ns: 0 }, false);
            // A nap that is longer than any test: only the bell ends it.
            let how = (use_uring, Duration::MAX);
            let sinks: Vec<Box<dyn RecordSink>> = vec![Box::new(Plain(file))];
            let layout = Arc::new(Layout::default());
            let writer = Writer::start_with(files, sinks, queues, clock, layout, how).unwrap();
            let mut tracer = Tracer::new(0, Kinds::of(&[TraceKind::Log]), 1 << 16);
            let mut expected = String::new();
            for text in ["a call is over;", "and another", " one;"] {
                tracer.record_at(1, 1, 0, 0, Event::Log(text.as_bytes()));
                tracer.hand_on(|bytes| records_in.push(bytes));
                bell.ring();
                expected.push_str(text);
                // Only a lost wake takes that long.
                let patience = Instant::now() + Duration::from_secs(60);
                while fs::read_to_string(&path).unwrap() != expected {
                    assert!(Instant::now() < patience, "nobody was woken for {text:?}");
                    thread::yield_now();
                }
            }
            writer.finish(RunTotals::default());
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_thread_that_is_woken_often_lets_records_gather() {
        let now = Instant::now() + BURST * NAP;
        let mut wakes = Wakes::new(NAP, now);
        // As many wakes as are in reserve, and one for each nap after them.
        for _ in 0..=BURST {
            assert!(!wakes.are_spent(now));
            wakes.note(now);
        }
        assert!(wakes.are_spent(now));
        assert!(!wakes.are_spent(now + NAP));
        wakes.note(now + NAP);
        assert!(wakes.are_spent(now + NAP));
    }

    #[test]
    fn a_load_that_is_over_leaves_no_debt() {
        let now = Instant::now() + BURST * NAP;
        let mut wakes = Wakes::new(NAP, now);
        for _ in 0..10_000 {
            wakes.note(now);
        }
        assert!(wakes.are_spent(now));
        assert!(!wakes.are_spent(now + NAP));
    }
}

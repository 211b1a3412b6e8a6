//! The thread itself, and the control side's handle on it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gossipper_uring::sys;

use super::audio::AudioTake;
use super::packets::PacketTake;
use super::place::Places;
use super::take::Output;
use super::wave::Room;
use crate::media::tap::{Begin, Copied, Entries, Entry, Form, Origin};
use crate::stats::{RecordingLoss, RecordingTotals};
use crate::trace::RecordsOut;

/// Time for which copies gather, so that each write takes many.
const NAP: Duration = Duration::from_millis(10);
/// Most bytes that are taken from a queue at once.
const TAKEN_BYTES: usize = 4 << 20;
/// Most recordings that are open at one time. Each takes a descriptor, and up to 64 KiB of memory.
const OPEN_MAX: usize = 2000;
/// Most complaints that wait for the control side, and that are made in a run.
const COMPLAINTS_MAX: u32 = 16;
/// Steps by which the thread raises its nice value.
const NICER: u8 = 5;

/// The copies of a worker.
#[derive(Debug)]
pub struct Source {
    /// The queue.
    pub queue: RecordsOut,
    /// A part of the names of its files, if other workers have calls of the same numbers.
    pub label: String,
}

/// The state of recording, for the control side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Counts so far.
    pub totals: RecordingTotals,
    /// New complaints, a sentence each.
    pub complaints: Vec<String>,
}

/// The control side's handle.
#[derive(Debug)]
pub struct Recorder {
    thread: Option<JoinHandle<()>>,
    is_ending: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
}

impl Recorder {
    /// Starts the thread on the queues of the workers. `wall_offset_ns` is Unix time minus
    /// monotonic time.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(places: Places, sources: Vec<Source>, wall_offset_ns: u64) -> io::Result<Self> {
        let (is_ending, tally) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Tally>>::default());
        let mut thread = Thread {
            places,
            wall_offset_ns,
            takes: HashMap::new(),
            open: HashSet::new(),
            complaints: 0,
            told: Arc::clone(&tally),
            tally: Tally::default(),
            room: Room::default(),
            bytes: Vec::new(),
        };
        let ends = Arc::clone(&is_ending);
        let thread = thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || thread.run(sources, &ends))?;
        Ok(Self { thread: Some(thread), is_ending, tally })
    }

    /// Takes new complaints about files.
    pub fn take_complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut open(&self.tally).complaints)
    }

    /// Waits until all files are whole. All workers must have ended.
    pub fn finish(mut self) -> Tally {
        self.is_ending.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // Files that it had open lack their names then, and the counts say so.
            let _ = thread.join();
        }
        open(&self.tally).clone()
    }
}

fn open(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    // Its content is consistent even after a panic.
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A recording of a leg.
enum Take {
    Audio(Box<AudioTake>),
    Packets(PacketTake),
}

/// A leg of one of the sources.
type LegKey = (usize, u32);

struct Thread {
    places: Places,
    wall_offset_ns: u64,
    /// Recordings by leg and cause.
    takes: HashMap<LegKey, [Option<Take>; Origin::ALL.len()]>,
    /// Names of files that are open.
    open: HashSet<PathBuf>,
    /// Complaints made so far.
    complaints: u32,
    told: Arc<Mutex<Tally>>,
    tally: Tally,
    room: Room,
    bytes: Vec<u8>,
}

impl Thread {
    fn run(&mut self, mut sources: Vec<Source>, is_ending: &AtomicBool) {
        // The thread can fall behind its queues; workers cannot.
        let _ = sys::give_way(NICER);
        let mut waiting: Vec<Vec<u8>> = sources.iter().map(|_| Vec::new()).collect();
        loop {
            // What came before the end was announced is taken in any case.
            let is_last = is_ending.load(Ordering::Acquire);
            let mut any = false;
            let queues = sources.iter_mut().zip(&mut waiting).enumerate();
            for (number, (Source { queue, label }, bytes)) in queues {
                any |= queue.take(TAKEN_BYTES, bytes);
                let mut entries = Entries::new(bytes);
                for entry in entries.by_ref() {
                    self.handle(number, label, &entry);
                }
                // What was taken may end within an entry.
                let rest = entries.rest().len();
                bytes.drain(..bytes.len() - rest);
            }
            self.tell();
            match (any, is_last) {
                (true, true) => {}
                (false, true) => break,
                (_, false) => thread::park_timeout(NAP),
            }
        }
        let takes = std::mem::take(&mut self.takes);
        let left = takes.into_values().flatten().flatten();
        left.for_each(|take| self.end(take, true));
        self.tell();
    }

    fn handle(&mut self, source: usize, label: &str, entry: &Entry<'_>) {
        match entry {
            Entry::Begin(begin) => self.begin(source, label, begin),
            Entry::Packet(copied) => self.take((source, copied.leg), copied),
            Entry::End { leg, origin, is_kept } => {
                let Some(takes) = self.takes.get_mut(&(source, *leg)) else { return };
                let take = takes[*origin as usize].take();
                if takes.iter().all(Option::is_none) {
                    self.takes.remove(&(source, *leg));
                }
                if let Some(take) = take {
                    self.end(take, *is_kept);
                }
            }
        }
    }

    fn begin(&mut self, source: usize, label: &str, begin: &Begin<'_>) {
        if self.open.len() == OPEN_MAX {
            return self.tally.totals.losses.bump(RecordingLoss::TooMany);
        }
        // The end of an earlier recording may have been lost on its way.
        let earlier = self.takes.get_mut(&(source, begin.leg));
        if let Some(earlier) = earlier.and_then(|takes| takes[begin.origin as usize].take()) {
            self.end(earlier, true);
        }
        let place = self.places.of(begin, label);
        let output = place.and_then(|place| {
            let path = place.path().to_owned();
            if self.open.contains(&path) {
                return Err(format!(
                    "another call is recorded into {}: write [call_number] into the name",
                    path.display()
                ));
            }
            Output::create(place).map_err(|error| cannot("record into", &path, &error))
        });
        let output = match output {
            Ok(output) => output,
            Err(complaint) => return self.lose(RecordingLoss::NotOpened, complaint),
        };
        self.open.insert(output.place().path().to_owned());
        let take = match begin.form {
            Form::Capture => Take::Packets(PacketTake::new(output)),
            Form::Mono | Form::Duplex => {
                let is_duplex = begin.form == Form::Duplex;
                Take::Audio(Box::new(AudioTake::new(output, is_duplex, begin.at_ns)))
            }
        };
        let takes = self.takes.entry((source, begin.leg)).or_default();
        takes[begin.origin as usize] = Some(take);
    }

    fn take(&mut self, key: LegKey, copied: &Copied<'_>) {
        let Some(takes) = self.takes.get_mut(&key) else { return };
        let unix_ns = copied.at_ns.saturating_add(self.wall_offset_ns);
        let mut failures = Vec::new();
        for place in takes.iter_mut() {
            let taken = match place {
                None => continue,
                Some(Take::Audio(take)) => take.take(copied, (&mut self.room, &mut self.bytes)),
                Some(Take::Packets(take)) => take.take(copied, unix_ns),
            };
            match taken {
                Ok(None) => {}
                Ok(Some(loss)) => self.tally.totals.losses.bump(loss),
                Err(error) => failures.extend(place.take().map(|take| (take, error))),
            }
        }
        failures.into_iter().for_each(|(take, error)| self.fail(take, &error));
    }

    /// Ends a recording: the file gets its name, or is removed.
    fn end(&mut self, mut take: Take, is_kept: bool) {
        if !is_kept {
            self.tally.totals.discarded += 1;
            return self.close(take).discard();
        }
        let finished = match &mut take {
            Take::Audio(take) => take.finish(&mut self.bytes),
            Take::Packets(take) => take.finish(),
        };
        if let Err(error) = finished {
            return self.fail(take, &error);
        }
        let output = self.close(take);
        let path = output.place().path().to_owned();
        match output.publish() {
            Ok(bytes) => {
                self.tally.totals.files += 1;
                self.tally.totals.bytes += bytes;
            }
            Err(error) => {
                self.lose(RecordingLoss::NotWritten, cannot("keep the recording", &path, &error));
            }
        }
    }

    /// Gives up a recording whose file cannot be written.
    fn fail(&mut self, take: Take, error: &io::Error) {
        let output = self.close(take);
        let complaint = cannot("write", output.place().path(), error);
        output.discard();
        self.lose(RecordingLoss::NotWritten, complaint);
    }

    fn close(&mut self, take: Take) -> Output {
        let output = match take {
            Take::Audio(take) => take.output,
            Take::Packets(take) => take.output,
        };
        self.open.remove(output.place().path());
        output
    }

    /// Counts a lost recording. The first complaints are passed on, since others would say the
    /// same.
    fn lose(&mut self, cause: RecordingLoss, complaint: String) {
        self.tally.totals.losses.bump(cause);
        if self.complaints < COMPLAINTS_MAX {
            self.complaints += 1;
            self.tally.complaints.push(complaint);
        }
    }

    /// Tells the control side.
    fn tell(&mut self) {
        let mut told = open(&self.told);
        told.totals = self.tally.totals;
        told.complaints.append(&mut self.tally.complaints);
    }
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}

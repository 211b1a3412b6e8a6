//! The trace and statistics files of a run. They are opened before the first call, and filled by
//! the writer thread and by rows made here from snapshots.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::plan::Plan;
use super::{RunError, exports};
use crate::config::{LogConfig, RunConfig, ScenarioSource, TraceConfig, TraceFormat};
use crate::files::Folder;
use crate::output::{Clock, SippCsv, own_csv};
use crate::sinks::{
    FileId, FileSpec, Files, Log, Order, Queues, RecordLosses, RecordSink, Rotation, RunTotals,
    Writer, call_debug::CallDebug, own, rtp_check::RtpChecks, sipp,
};
use crate::stats::{Layout, RunStart, Snapshot, Unwritten};
use crate::trace::Kinds;

/// Bytes of a worker's queue of records: half a second of messages at full load. A quarter of it
/// would stay in the cache, but lost records when the writer thread had to wait for a core.
const QUEUE_BYTES: usize = 32 << 20;
/// The size if messages are not recorded; a log can still be switched on.
const SMALL_QUEUE_BYTES: usize = 4 << 20;

/// Open files and the sinks for them, before there are workers.
pub(super) struct Prepared {
    names: Names,
    config: TraceConfig,
    files: Files,
    sinks: Vec<Box<dyn RecordSink>>,
    rows: Rows,
}

/// The files whose rows are made here.
#[derive(Clone, Copy, Debug, Default)]
struct Rows {
    stat: Option<FileId>,
    counts: Option<FileId>,
    screen: Option<FileId>,
    error_codes: bool,
    has_losses: bool,
}

/// A run's files, as the control side sees them.
pub(super) struct Traces {
    names: Names,
    config: TraceConfig,
    writer: Writer,
    rows: Rows,
    clock: Clock,
    sipp: SippCsv,
    own: own_csv::OwnCsv,
    /// The requested load: calls per second, or users.
    target: f64,
    period_s: u64,
    next_row_s: u64,
}

impl Prepared {
    /// Opens all files of the configuration. `label` distinguishes the files of this run from those
    /// of others in the same process.
    pub(super) fn open(
        config: &RunConfig,
        plan: &Plan,
        label: Option<&str>,
    ) -> Result<Self, RunError> {
        let pid = plan.launch.engine.environment.pid;
        let has_losses = config.rules.lost_percent > 0.0 || plan.launch.programs.main.has_losses();
        let names = Names::new(config, pid, label);
        let trace = config.trace.clone();
        let mut prepared = Self {
            names,
            files: Files::new(config.access.clone()),
            sinks: Vec::new(),
            rows: Rows { has_losses, ..Rows::default() },
            config: trace,
        };
        for log in Log::ALL {
            if prepared.config.log(log).is_on {
                let file = prepared.open_file(prepared.names.log_spec(&prepared.config, log))?;
                prepared.sinks.push(log_sink(prepared.config.format, log, file));
                prepared.put_log_header(log, file);
            }
        }
        match prepared.config.format {
            TraceFormat::Sipp => prepared.open_sipp()?,
            TraceFormat::Gossipper => prepared.open_own()?,
        }
        prepared.open_checks()?;
        let sinks = exports::open(config, plan, &mut prepared.files)?;
        prepared.sinks.extend(sinks);
        Ok(prepared)
    }

    fn open_file(&mut self, spec: FileSpec) -> Result<FileId, RunError> {
        exports::open_file(&mut self.files, spec)
    }

    fn put_log_header(&mut self, log: Log, file: FileId) {
        if self.config.format == TraceFormat::Gossipper && log == Log::ShortMessages {
            self.files.append(file, own::ShortMessages::HEADER, 0);
        }
    }

    /// Opens the files of checked patterns, which are the same in both formats.
    fn open_checks(&mut self) -> Result<(), RunError> {
        let wanted = [(self.config.rtp_check, "rtpcheck"), (self.config.srtp_check, "srtpcheck")];
        for ((is_wanted, name), of_protected) in wanted.into_iter().zip([false, true]) {
            if is_wanted {
                let file = self.open_file(plain(self.names.sipp(name, "log")))?;
                self.sinks.push(Box::new(RtpChecks::new(file, of_protected)));
            }
        }
        Ok(())
    }

    fn open_sipp(&mut self) -> Result<(), RunError> {
        let config = self.config.clone();
        let delimiter = config.stat_delimiter.as_str();
        if config.stat {
            let path = config.stat_path.clone().unwrap_or_else(|| self.names.sipp("", "csv"));
            self.rows.stat = Some(self.open_file(plain(path))?);
        }
        if config.counts {
            self.rows.counts = Some(self.open_file(plain(self.names.sipp("counts", "csv")))?);
        }
        if config.rtt {
            let file = self.open_file(plain(self.names.sipp("rtt", "csv")))?;
            self.files.append(file, &sipp::ResponseTimes::header(delimiter), 0);
            let sink = sipp::ResponseTimes::new(file, delimiter, config.rtt_freq);
            self.sinks.push(Box::new(sink));
        }
        if config.error_codes {
            let file = self.open_file(plain(self.names.sipp("error_codes", "csv")))?;
            self.sinks.push(Box::new(sipp::ErrorCodes::new(file, delimiter)));
            self.rows.error_codes = true;
        }
        if config.call_debug.is_on {
            let spec = logged(&config, &config.call_debug, self.names.sipp("calldebug", "log"));
            let file = self.open_file(spec)?;
            self.sinks.push(Box::new(CallDebug::new(file)));
        }
        if config.screen.is_on {
            let path = config.screen.path.clone();
            let path = path.unwrap_or_else(|| self.names.sipp("screen", "log"));
            let spec = FileSpec { overwrite: config.screen.overwrite, ..plain(path) };
            self.rows.screen = Some(self.open_file(spec)?);
        }
        Ok(())
    }

    fn open_own(&mut self) -> Result<(), RunError> {
        let config = self.config.clone();
        if config.stat {
            let path = config.stat_path.clone().unwrap_or_else(|| self.names.own("_stats"));
            let file = self.open_file(plain(path))?;
            self.files.append(file, own_csv::STAT_HEADER.as_bytes(), 0);
            self.rows.stat = Some(file);
        }
        if config.counts {
            self.rows.counts = Some(self.open_file(plain(self.names.own("_counts")))?);
        }
        if config.rtt {
            let file = self.open_file(plain(self.names.own("_rtt")))?;
            self.files.append(file, own::ResponseTimes::HEADER, 0);
            self.sinks.push(Box::new(own::ResponseTimes(file)));
        }
        if config.error_codes {
            let path = match &config.errors.path {
                Some(path) => with_suffix(path, "_error_codes"),
                None => self.names.own("_error_codes"),
            };
            let file = self.open_file(plain(path))?;
            self.files.append(file, own::ErrorCodes::HEADER, 0);
            self.sinks.push(Box::new(own::ErrorCodes(file)));
        }
        if config.call_debug.is_on {
            let spec = logged(&config, &config.call_debug, self.names.own("_calldebug"));
            let file = self.open_file(spec)?;
            self.sinks.push(Box::new(CallDebug::new(file)));
        }
        if config.screen.is_on {
            let path = config.screen.path.clone();
            let path = path.unwrap_or_else(|| self.names.own("_screen"));
            let file =
                self.open_file(FileSpec { overwrite: config.screen.overwrite, ..plain(path) })?;
            self.files.append(file, own_csv::SCREEN_HEADER.as_bytes(), 0);
            self.rows.screen = Some(file);
        }
        Ok(())
    }

    /// The kinds of records that are needed from the start.
    pub(super) fn kinds(&self) -> Kinds {
        self.sinks.iter().fold(Kinds::NONE, |all, sink| all.union(sink.kinds()))
    }

    /// Bytes of each worker's queue of records.
    pub(super) fn queue_bytes(&self) -> usize {
        match self.kinds().is_none() {
            true => SMALL_QUEUE_BYTES,
            false => QUEUE_BYTES,
        }
    }

    /// Starts the writer thread on the queues of the workers.
    pub(super) fn start(
        self,
        config: &RunConfig,
        use_uring: bool,
        queues: Queues,
        layout: &Arc<Layout>,
        start: RunStart,
    ) -> Result<Traces, RunError> {
        let clock = Clock::new(start, self.config.rfc3339);
        let writer = Writer::start(
            self.files,
            self.sinks,
            queues,
            clock.clone(),
            Arc::clone(layout),
            use_uring,
        )
        .map_err(RunError::WriterThread)?;
        let per_second = config.rate * 1000.0 / config.rate_period_ms.max(1) as f64;
        let period_s = self.config.stat_period_ms.div_ceil(1000).max(1);
        Ok(Traces {
            names: self.names,
            writer,
            rows: self.rows,
            clock,
            sipp: SippCsv::new(&self.config.stat_delimiter, self.config.periodic_rtd),
            own: own_csv::OwnCsv::default(),
            target: config.users.map_or(per_second, |users| users as f64),
            period_s,
            next_row_s: period_s,
            config: self.config,
        })
    }
}

impl Traces {
    /// Returns the counts of data that could not be written so far.
    pub(super) fn unwritten(&self) -> Unwritten {
        self.writer.unwritten()
    }

    /// Takes new complaints of the writer ([`Writer::take_complaints`]).
    pub(super) fn take_complaints(&mut self) -> Vec<String> {
        self.writer.take_complaints()
    }

    /// Writes headers and the first rows, before anything has happened.
    pub(super) fn begin(&mut self, snapshot: &Snapshot) {
        self.put_headers(snapshot);
        if self.config.format == TraceFormat::Sipp {
            self.put_rows(snapshot);
        }
    }

    fn put_headers(&mut self, snapshot: &Snapshot) {
        let Rows { stat, counts, has_losses, .. } = self.rows;
        let headers = match self.config.format {
            TraceFormat::Sipp => [
                (stat, stat.map(|_| self.sipp.stat_header(snapshot))),
                (counts, counts.map(|_| self.sipp.counts_header(snapshot, has_losses))),
            ],
            TraceFormat::Gossipper => {
                [(None, None), (counts, counts.map(|_| own_csv::counts_header(snapshot)))]
            }
        };
        for (file, header) in headers {
            if let (Some(file), Some(header)) = (file, header) {
                self.writer.order(Order::Append(file, header));
            }
        }
    }

    /// Changes to the programs in `snapshot`: columns by name or step get a new header, and records
    /// get their names.
    pub(super) fn change_layout(&mut self, snapshot: &Snapshot) {
        self.writer.order(Order::Layout(Arc::clone(&snapshot.layout)));
        self.put_headers(snapshot);
    }

    /// Tells whether a row is due once `seconds` of the run are reported in full.
    pub(super) fn is_due(&self, seconds: u64) -> bool {
        let any = self.rows.stat.or(self.rows.counts).or(self.rows.screen).is_some();
        (any || self.rows.error_codes) && seconds >= self.next_row_s
    }

    /// Writes the rows that are due.
    pub(super) fn row(&mut self, snapshot: &Snapshot, seconds: u64) {
        self.next_row_s = (seconds / self.period_s + 1) * self.period_s;
        self.put_rows(snapshot);
    }

    fn put_rows(&mut self, snapshot: &Snapshot) {
        self.clock.refresh();
        let clock = &mut self.clock;
        let Rows { stat, counts, screen, error_codes, has_losses } = self.rows;
        let mut rows = Vec::new();
        match self.config.format {
            TraceFormat::Sipp => {
                rows.push((stat, stat.map(|_| self.sipp.stat_row(snapshot, self.target, clock))));
                let row = counts.map(|_| self.sipp.counts_row(snapshot, has_losses, clock));
                rows.push((counts, row));
            }
            TraceFormat::Gossipper => {
                rows.push((stat, stat.map(|_| self.own.stat_row(snapshot, clock))));
                rows.push((counts, counts.map(|_| own_csv::counts_row(snapshot, clock))));
                rows.push((screen, screen.map(|_| self.own.screen_row(snapshot, clock))));
            }
        }
        for (file, row) in rows {
            if let (Some(file), Some(row)) = (file, row) {
                self.writer.order(Order::Append(file, row));
            }
        }
        if error_codes {
            let (unix_ns, elapsed_ns) = (snapshot.now_unix_ns(), snapshot.elapsed_ns);
            self.writer.order(Order::Period { unix_ns, elapsed_ns });
        }
    }

    /// Appends screens to the screen file; `false` if there is none.
    pub(super) fn put_screens(&mut self, text: &str) -> bool {
        let file = self.rows.screen.filter(|_| self.config.format == TraceFormat::Sipp);
        if let Some(file) = file {
            self.writer.order(Order::Append(file, text.as_bytes().to_vec()));
        }
        file.is_some()
    }

    /// Flushes waiting output (SIGUSR2).
    pub(super) fn dump(&mut self) {
        self.writer.order(Order::Dump);
    }

    /// Switches a log and returns the kinds of records that are needed now; the caller sends them
    /// to all workers ([`crate::dataplane::WorkerRequest::SetTrace`]).
    pub(super) fn switch(&mut self, log: Log, is_on: bool) -> Kinds {
        if is_on && !self.writer.knows(log) {
            let spec = self.names.log_spec(&self.config, log);
            let format = self.config.format;
            self.writer.adopt(log, spec, move |file| log_sink(format, log, file));
        }
        self.writer.switch(log, is_on)
    }

    /// Writes the last row and closes the files. All workers must have ended.
    pub(super) fn finish(mut self, snapshot: &Snapshot) -> RecordLosses {
        self.put_rows(snapshot);
        self.writer.finish(RunTotals {
            unix_ns: snapshot.now_unix_ns(),
            calls: snapshot.calls,
            dropped: snapshot.counters.trace_drops,
        })
    }
}

/// The sink of a log.
fn log_sink(format: TraceFormat, log: Log, file: FileId) -> Box<dyn RecordSink> {
    match (format, log) {
        (TraceFormat::Sipp, Log::Messages) => Box::new(sipp::Messages::new(file)),
        (TraceFormat::Sipp, Log::ShortMessages) => Box::new(sipp::ShortMessages(file)),
        (TraceFormat::Sipp, Log::Errors) => Box::new(sipp::Errors::new(file)),
        (TraceFormat::Sipp, Log::Logs) => Box::new(sipp::Logs(file)),
        (TraceFormat::Gossipper, Log::Messages) => Box::new(own::Messages(file)),
        (TraceFormat::Gossipper, Log::ShortMessages) => Box::new(own::ShortMessages(file)),
        (TraceFormat::Gossipper, Log::Errors) => Box::new(own::Errors(file)),
        (TraceFormat::Gossipper, Log::Logs) => Box::new(own::Logs(file)),
    }
}

impl TraceConfig {
    fn log(&self, log: Log) -> &LogConfig {
        match log {
            Log::Messages => &self.messages,
            Log::ShortMessages => &self.short_messages,
            Log::Errors => &self.errors,
            Log::Logs => &self.logs,
        }
    }
}

/// The file for the final notes of a run in the background.
pub(crate) fn notes_path(config: &RunConfig, pid: u32) -> PathBuf {
    Names::new(config, pid, None).sipp("notes", "log")
}

/// The begin of the names of files that a run makes for itself: scenario, process and `label`.
pub(super) fn stem(config: &RunConfig, pid: u32, label: Option<&str>) -> String {
    let names = Names::new(config, pid, label);
    format!("{}_{}", names.scenario, names.run)
}

/// The names of the files of a run.
#[derive(Clone, Debug)]
struct Names {
    scenario: String,
    /// The process id, and the run's label if the process has several.
    run: String,
    /// Our own files are named after the message file.
    message_file: Option<PathBuf>,
    /// The folder of files without a name of their own; empty for the working directory.
    folder: PathBuf,
}

impl Names {
    fn new(config: &RunConfig, pid: u32, label: Option<&str>) -> Self {
        let scenario = match &config.scenario {
            ScenarioSource::Builtin(name) => name.clone(),
            ScenarioSource::File(path) => {
                path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
            }
        };
        let run = label.map_or_else(|| pid.to_string(), |label| format!("{pid}_{label}"));
        let confined = Some(&config.access).filter(|access| access.is_confined());
        let folder = confined.and_then(|access| access.folder(Folder::Results));
        let message_file = config.trace.messages.path.clone();
        Self { scenario, run, message_file, folder: folder.unwrap_or_default() }
    }

    /// `<scenario>_<run>_<what>.<extension>`.
    fn sipp(&self, what: &str, extension: &str) -> PathBuf {
        self.folder.join(format!("{}_{}_{what}.{extension}", self.scenario, self.run))
    }

    fn usual_folder(&self) -> &Path {
        match self.folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => &self.folder,
        }
    }

    /// The message file's name, with `suffix` before its extension.
    fn own(&self, suffix: &str) -> PathBuf {
        let base = match &self.message_file {
            Some(path) => path.clone(),
            None => self.usual_folder().join(format!("gossipper_{}_messages.log", self.run)),
        };
        with_suffix(&base, suffix)
    }

    fn log_spec(&self, config: &TraceConfig, log: Log) -> FileSpec {
        let (name, suffix) = match log {
            Log::Messages => ("messages", ""),
            Log::ShortMessages => ("shortmessages", "_shortmessages"),
            Log::Errors => ("errors", "_errors"),
            Log::Logs => ("logs", "_logs"),
        };
        let usual = match config.format {
            TraceFormat::Sipp => self.sipp(name, "log"),
            TraceFormat::Gossipper => self.own(suffix),
        };
        let spec = logged(config, config.log(log), usual);
        match log {
            // SIPp does not rotate this one.
            Log::Logs => FileSpec { rotation: Rotation::default(), ..spec },
            _ => spec,
        }
    }
}

/// The specification of a log file, under its own or its usual name.
fn logged(config: &TraceConfig, log: &LogConfig, usual: PathBuf) -> FileSpec {
    FileSpec {
        path: log.path.clone().unwrap_or(usual),
        overwrite: log.overwrite,
        rotation: Rotation {
            size: config.ringbuffer_size,
            files: usize::try_from(config.ringbuffer_files).unwrap_or(usize::MAX),
            limit: config.max_log_size,
        },
    }
}

/// A file that is replaced and never rotated.
pub(super) fn plain(path: PathBuf) -> FileSpec {
    FileSpec { path, overwrite: true, rotation: Rotation::default() }
}

/// Returns `path` with `suffix` before its extension.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map_or(String::new(), |extension| {
        let extension = extension.to_string_lossy();
        format!(".{extension}")
    });
    path.with_file_name(format!("{stem}{suffix}{extension}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_files_are_named_after_the_message_file() {
        let names = |message_file: Option<&str>| Names {
            scenario: "uac".to_owned(),
            run: "42".to_owned(),
            message_file: message_file.map(PathBuf::from),
            folder: PathBuf::new(),
        };
        let usual = names(None).own("_stats");
        assert_eq!(usual, PathBuf::from("./gossipper_42_messages_stats.log"));
        assert_eq!(names(Some("/tmp/m.txt")).own("_rtt"), PathBuf::from("/tmp/m_rtt.txt"));
        assert_eq!(names(Some("m")).own("_rtt"), PathBuf::from("m_rtt"));
        assert_eq!(names(None).sipp("", "csv"), PathBuf::from("uac_42_.csv"));
    }
}

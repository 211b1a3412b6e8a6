//! The recordings of a run: where they lie, and the thread that writes them.

use super::RunError;
use super::traces;
use crate::config::{RecordingConfig, RunConfig};
use crate::dataplane::Launch;
use crate::engine::Programs;
use crate::media::Recordings;
use crate::media::tap::Form;
use crate::recorder::{Places, Recorder, Source};
use crate::stats::RunStart;
use crate::trace::RecordsOut;

/// Bytes of a worker's queue of copies: a second of a thousand streams that are recorded in both
/// directions takes 25 MB.
const QUEUE_BYTES: usize = 32 << 20;

/// The recordings that media makes; `None` if none are wanted and no scenario asks for one.
pub(super) fn plan(config: &RunConfig, programs: &Programs) -> Option<Recordings> {
    let RecordingConfig { audio, is_duplex, packets, every, only_bad } = &config.export.recording;
    let is_wanted = audio.is_some() || packets.is_some();
    if !is_wanted && !programs.all().any(|program| program.records_media()) {
        return None;
    }
    Some(Recordings {
        audio: audio.as_ref().map(|_| if *is_duplex { Form::Duplex } else { Form::Mono }),
        packets: packets.is_some(),
        every: *every,
        only_bad: *only_bad,
    })
}

/// Makes the folders of a run's recordings, if it has some. `label` distinguishes its files from
/// those of other runs in the process.
///
/// # Errors
/// A folder cannot be made or used.
pub(super) fn open(
    config: &RunConfig,
    launch: &Launch,
    label: Option<&str>,
) -> Result<Option<Places>, RunError> {
    if launch.media.as_ref().and_then(|media| media.recordings).is_none() {
        return Ok(None);
    }
    let RecordingConfig { audio, packets, .. } = &config.export.recording;
    for folder in audio.iter().chain(packets) {
        let made = config.access.make_folder(folder);
        made.map_err(|source| RunError::TraceFile { path: folder.clone(), source })?;
    }
    Ok(Some(Places {
        access: config.access.clone(),
        audio: audio.clone(),
        packets: packets.clone(),
        stem: traces::stem(config, launch.engine.environment.pid, label),
    }))
}

/// The bytes of each worker's queue of copies.
pub(super) fn queue_bytes(places: Option<&Places>) -> usize {
    places.map_or(0, |_| QUEUE_BYTES)
}

/// Starts the thread on the queues of the workers, each with the number of its listener.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn start(
    places: Option<Places>,
    queues: impl Iterator<Item = (usize, RecordsOut)>,
    start: RunStart,
) -> Result<Option<Recorder>, RunError> {
    let Some(places) = places else { return Ok(None) };
    let sources = queues.map(|(listener, queue)| {
        // Each listener numbers its calls from 1.
        let label = if listener == 0 { String::new() } else { format!("_{listener}") };
        Source { queue, label }
    });
    let wall_offset_ns = start.unix_ns.saturating_sub(start.monotonic_ns);
    let recorder = Recorder::start(places, sources.collect(), wall_offset_ns);
    recorder.map(Some).map_err(RunError::WriterThread)
}

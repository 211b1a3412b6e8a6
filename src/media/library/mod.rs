//! The media of a run: sources turned into clips, each file read once and kept in no more memory
//! than the run allows.
//!
//! Files come as bytes from the caller. Sizes are computed from lengths before anything is coded.

use core::fmt;
use std::collections::HashMap;
use std::sync::Arc;

use super::capture::{self, Capture};
use super::clip::{Clip, ClipSet, Frame, packet_samples};
use super::codec::resample::{resample, resampled_len};
use super::codec::{CannotCode, Encoding, law};
use super::tone::{self, TONE_DBOV, TONE_HZ, Tone};
use super::wav::{self, Wav};
use crate::scenario::media::{SourceKind, SourceSpec};

/// Encodings that a call may negotiate and that audio is coded in, in the order of our preference.
pub const NEGOTIABLE: [&str; 5] = ["PCMU", "PCMA", "G722", "opus", "G729"];

/// Bytes of an Opus payload of 20 ms at the rate that we code; only for sizes computed ahead.
const OPUS_PAYLOAD_BYTES: usize = 80;

/// Name of a clip whose packets say their encoding themselves.
const CAPTURED: &str = "captured";

/// The ways in which sources are prepared.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Most bytes of all clips together; also of a file, and of its samples while they are coded.
    pub bytes_max: usize,
    /// Encodings of sources that name none.
    pub encodings: Vec<&'static Encoding>,
    /// Encoding of a file without a header, if the scenario names none (`-rtp_payload`).
    pub raw: Option<&'static Encoding>,
    /// True if computed audio is marked, so that audio of another call is noticed
    /// (`-rtp_watermarks`).
    pub watermarks: bool,
}

impl Settings {
    /// All negotiable encodings; files without a header are A-law, as in SIPp.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            encodings: NEGOTIABLE.iter().filter_map(|name| Encoding::by_name(name)).collect(),
            raw: Encoding::by_name("PCMA"),
            watermarks: true,
        }
    }
}

/// The clips of a run.
#[derive(Debug, Default)]
pub struct Library {
    /// The clips of each source.
    pub clips: HashMap<SourceSpec, Arc<ClipSet>>,
    /// Findings about files that a user should know of.
    pub notes: Vec<String>,
    /// Bytes of all clips.
    pub bytes: usize,
}

/// A source that cannot be played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryError {
    /// The file, or the words of the scenario.
    pub source: String,
    /// The reason, with what to do.
    pub reason: String,
}

impl fmt::Display for LibraryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.reason)
    }
}

impl core::error::Error for LibraryError {}

/// Reads a file of at most so many bytes: its bytes, `None` if it is not found, or the reason why
/// it cannot be read.
pub type ReadFile<'r> = &'r mut dyn FnMut(&str, usize) -> Result<Option<Vec<u8>>, String>;

impl Library {
    /// Prepares sources. A capture that SIPp's scenarios name is made if it is not found.
    ///
    /// # Errors
    /// The first source that cannot be played.
    pub fn prepare(
        sources: &[SourceSpec],
        settings: &Settings,
        read: ReadFile<'_>,
    ) -> Result<Self, LibraryError> {
        let mut library = Self::default();
        for (at, source) in sources.iter().enumerate() {
            let Some(path) = source.file() else {
                library.add(source, &[], settings)?;
                continue;
            };
            // All sources of a file are prepared while it is in memory.
            if sources[..at].iter().any(|earlier| earlier.file() == Some(path)) {
                continue;
            }
            let found = read(path, settings.bytes_max).map_err(|why| fault(source, why))?;
            let file = match found {
                Some(file) => file,
                None => capture::builtin(path)
                    .ok_or_else(|| fault(source, "there is no such file".to_owned()))?,
            };
            if file.len() > settings.bytes_max {
                let (bytes, most) = (file.len(), settings.bytes_max);
                let reason = format!("it has {bytes} bytes, and media may take {most}; shorten it");
                return Err(fault(source, reason));
            }
            for source in sources.iter().filter(|other| other.file() == Some(path)) {
                library.add(source, &file, settings)?;
            }
        }
        Ok(library)
    }

    /// Makes the clips of a source, unless they are there.
    fn add(
        &mut self,
        source: &SourceSpec,
        file: &[u8],
        settings: &Settings,
    ) -> Result<(), LibraryError> {
        if self.clips.contains_key(source) {
            return Ok(());
        }
        let left = settings.bytes_max.min(u32::MAX as usize).saturating_sub(self.bytes);
        let mut maker = Maker { source, settings, left, clips: Vec::new(), notes: Vec::new() };
        maker.make(file).map_err(|why| fault(source, why))?;
        if maker.clips.is_empty() {
            return Err(fault(source, maker.nothing()));
        }
        let Maker { mut clips, notes, .. } = maker;
        clips.iter_mut().for_each(|(_, clip)| clip.is_marked &= settings.watermarks);
        self.bytes += clips.iter().map(|(_, clip)| clip.memory()).sum::<usize>();
        self.notes.extend(notes.into_iter().map(|note| format!("{}: {note}", name(source))));
        let clips = clips.into_iter().map(|(name, clip)| (name, Arc::new(clip))).collect();
        self.clips.insert(source.clone(), Arc::new(ClipSet { clips }));
        Ok(())
    }
}

/// The source in messages.
fn name(source: &SourceSpec) -> String {
    match &source.kind {
        SourceKind::File(path) | SourceKind::Capture(path) | SourceKind::Datagrams(path) => {
            format!("media file {path}")
        }
        SourceKind::Tone { hz } => format!("a tone of {hz} Hz"),
        SourceKind::Cadence { on_ms, off_ms } => format!("the cadence {on_ms}:{off_ms}"),
        SourceKind::Silence => "silence".to_owned(),
        SourceKind::ComfortNoise => "comfort noise".to_owned(),
        SourceKind::Pattern { id } => format!("pattern {id}"),
    }
}

fn fault(source: &SourceSpec, reason: String) -> LibraryError {
    LibraryError { source: name(source), reason }
}

/// The clips of one source while they are made.
struct Maker<'a> {
    source: &'a SourceSpec,
    settings: &'a Settings,
    /// Bytes that clips may still take.
    left: usize,
    clips: Vec<(&'static str, Clip)>,
    notes: Vec<String>,
}

impl Maker<'_> {
    fn make(&mut self, file: &[u8]) -> Result<(), String> {
        let tone = |hz| Tone { hz, dbov: TONE_DBOV };
        match self.source.kind {
            SourceKind::File(_) if wav::is_wav(file) => self.wav(file),
            SourceKind::File(_) => self.raw(file),
            SourceKind::Capture(_) => self.capture(file, capture::Kind::Rtp),
            SourceKind::Datagrams(_) => self.capture(file, capture::Kind::Datagrams),
            SourceKind::Tone { hz } => {
                self.coded(|encoding, ptime_ms| tone::tone(tone(hz), encoding, ptime_ms))
            }
            SourceKind::Cadence { on_ms, off_ms } => {
                let samples_ms = usize::from(on_ms) + usize::from(off_ms);
                for encoding in self.encodings() {
                    let samples = samples_ms * encoding.sample_rate as usize / 1000;
                    self.check(encoding, samples)?;
                }
                self.coded(|encoding, ptime_ms| {
                    tone::cadence(tone(TONE_HZ), on_ms, off_ms, encoding, ptime_ms)
                })
            }
            SourceKind::Silence => self.coded(tone::silence),
            SourceKind::ComfortNoise => self.computed(tone::comfort_noise),
            SourceKind::Pattern { id } => {
                self.computed(|encoding, ptime_ms| tone::pattern(id, encoding, ptime_ms))
            }
        }
    }

    /// The encodings that clips are made in.
    fn encodings(&self) -> Vec<&'static Encoding> {
        match self.source.encoding {
            Some(encoding) => vec![encoding],
            None => self.settings.encodings.clone(),
        }
    }

    fn ptime_ms(&self, encoding: &Encoding) -> u16 {
        self.source.ptime_ms.unwrap_or(encoding.ptime_ms)
    }

    fn keep(&mut self, name: &'static str, clip: Clip) -> Result<(), String> {
        self.left = self.left.checked_sub(clip.memory()).ok_or_else(|| self.too_large())?;
        self.clips.push((name, clip));
        Ok(())
    }

    /// Makes a clip in each encoding that has one.
    fn coded(
        &mut self,
        make: impl Fn(&'static Encoding, u16) -> Result<Option<Clip>, CannotCode>,
    ) -> Result<(), String> {
        for encoding in self.encodings() {
            // A codec that cannot code packets of this length has no clip.
            if let Ok(Some(clip)) = make(encoding, self.ptime_ms(encoding)) {
                self.keep(encoding.name, clip)?;
            }
        }
        Ok(())
    }

    /// Makes clips as [`Maker::coded`] does, without a codec.
    fn computed(
        &mut self,
        make: impl Fn(&'static Encoding, u16) -> Option<Clip>,
    ) -> Result<(), String> {
        self.coded(|encoding, ptime_ms| Ok(make(encoding, ptime_ms)))
    }

    fn wav(&mut self, file: &[u8]) -> Result<(), String> {
        let wav = Wav::read(file).map_err(|why| why.to_string())?;
        self.notes.extend(wav.notes.iter().cloned());
        let encodings = self.encodings();
        for encoding in &encodings {
            self.check(encoding, resampled_len(wav.len(), wav.rate, encoding.sample_rate))?;
        }
        let samples = wav.samples();
        // Encodings of one sample rate share their samples.
        let mut at_rate: HashMap<u32, Vec<i16>> = HashMap::new();
        for encoding in encodings {
            let ptime_ms = self.ptime_ms(encoding);
            let coded = law(encoding).and_then(|law| wav.coded_by(law));
            let clip = match coded {
                Some(coded) => Clip::cut(encoding, ptime_ms, coded),
                None if encoding.sample_rate == 0 => None,
                None => {
                    let samples = at_rate
                        .entry(encoding.sample_rate)
                        .or_insert_with(|| resample(&samples, wav.rate, encoding.sample_rate));
                    Clip::coded(encoding, ptime_ms, samples, false).ok().flatten()
                }
            };
            if let Some(clip) = clip {
                self.keep(encoding.name, clip)?;
            }
        }
        Ok(())
    }

    fn raw(&mut self, file: &[u8]) -> Result<(), String> {
        let Some(encoding) = self.source.encoding.or(self.settings.raw) else {
            return Err("it has no header that says its encoding: name it, as in \
                        rtp_stream=\"FILE,1,8,PCMA/8000\""
                .to_owned());
        };
        let ptime_ms = self.ptime_ms(encoding);
        let Some(packet_bytes) = encoding.payload_bytes(ptime_ms) else {
            return Err(format!(
                "payloads of {} with {ptime_ms} ms have no fixed size, so that a file cannot be \
                 cut into them; write a WAV file, or a capture to play_pcap_audio=",
                encoding.rtpmap()
            ));
        };
        let packets = file.len().div_ceil(packet_bytes);
        if packets * (packet_bytes + size_of::<Frame>()) > self.left {
            return Err(self.too_large());
        }
        let Some(clip) = Clip::cut(encoding, ptime_ms, file) else {
            return Err(format!(
                "it has {} bytes, and a packet of {} has {packet_bytes}",
                file.len(),
                encoding.rtpmap()
            ));
        };
        if clip.bytes.len() < file.len() {
            let rest = file.len() - clip.bytes.len();
            self.notes.push(format!("its last {rest} bytes are no whole packet, and are left out"));
        }
        self.keep(encoding.name, clip)
    }

    fn capture(&mut self, file: &[u8], kind: capture::Kind) -> Result<(), String> {
        let Capture { clip, notes } = capture::read(file, kind).map_err(|why| why.to_string())?;
        self.notes.extend(notes);
        let payload_type = clip.frames.first().and_then(|frame| frame.payload_type);
        let encoding = payload_type.and_then(Encoding::by_static_payload_type);
        self.keep(encoding.map_or(CAPTURED, |encoding| encoding.name), clip)
    }

    /// Refuses audio whose clip would be too large.
    fn check(&self, encoding: &Encoding, samples: usize) -> Result<(), String> {
        let ptime_ms = self.ptime_ms(encoding);
        let per_packet = packet_samples(encoding, ptime_ms).max(1);
        let payload = encoding.payload_bytes(ptime_ms).unwrap_or(OPUS_PAYLOAD_BYTES);
        let bytes = (samples / per_packet).saturating_mul(payload + size_of::<Frame>());
        let working_bytes = samples.saturating_mul(size_of::<i16>());
        let is_too_large = bytes > self.left || working_bytes > self.settings.bytes_max;
        if is_too_large { Err(self.too_large()) } else { Ok(()) }
    }

    fn too_large(&self) -> String {
        format!(
            "with it, media would take more than {} bytes of memory; shorten it, or name the one \
             encoding that calls use",
            self.settings.bytes_max
        )
    }

    /// The reason why there is no clip.
    fn nothing(&self) -> String {
        let tried: Vec<String> = self
            .encodings()
            .iter()
            .map(|encoding| format!("{} with {} ms", encoding.rtpmap(), self.ptime_ms(encoding)))
            .collect();
        format!(
            "it cannot be coded in {}; audio is coded in {}, other encodings are sent from files \
             that hold their payloads",
            tried.join(", "),
            NEGOTIABLE.join(", ")
        )
    }
}

#[cfg(test)]
mod tests;

//! Files of media.

use gossipper::media::capture::{self, Capture, Kind};
use gossipper::media::library::{Library, Settings};
use gossipper::media::wav::Wav;
use gossipper::scenario::media::{SourceSpec, Stream, stream};
use gossipper::sip::Encoding;

/// Longest text of an error or a note.
const TEXT_MAX: usize = 400;
/// Memory for clips: more than a small file needs, and less than a lie about its size claims.
const CLIP_BYTES_MAX: usize = 1 << 20;

/// Reads any bytes as a capture.
pub fn any_capture(bytes: &[u8]) {
    for kind in [Kind::Rtp, Kind::Datagrams] {
        let Capture { clip, notes } = match capture::read(bytes, kind) {
            Ok(capture) => capture,
            Err(fault) => {
                assert_text(&fault.to_string());
                continue;
            }
        };
        notes.iter().for_each(|note| assert_text(note));
        assert!(!clip.frames.is_empty() && clip.bytes.len() <= bytes.len());
        let mut end = 0;
        for frame in &clip.frames {
            assert_eq!(frame.offset as usize, end, "payloads follow each other");
            end += clip.payload(frame).len();
        }
        assert_eq!(end, clip.bytes.len());
    }
}

/// Reads any bytes as a WAV file, and as audio to play.
pub fn any_wav(bytes: &[u8]) {
    match Wav::read(bytes) {
        Ok(wav) => {
            assert!(!wav.is_empty() && wav.len() <= bytes.len());
            assert_eq!(wav.samples().len(), wav.len());
            wav.notes.iter().for_each(|note| assert_text(note));
        }
        Err(fault) => assert_text(&fault.to_string()),
    }
    let encodings = ["PCMU", "PCMA"].map(|name| Encoding::by_name(name).expect("G.711 is known"));
    let settings = Settings { encodings: encodings.to_vec(), ..Settings::new(CLIP_BYTES_MAX) };
    let source = source();
    let mut read = |_: &str, _| Ok(Some(bytes.to_vec()));
    match Library::prepare(std::slice::from_ref(&source), &settings, &mut read) {
        Ok(library) => {
            let clips = &library.clips[&source].clips;
            assert!(!clips.is_empty() && library.bytes <= CLIP_BYTES_MAX);
            assert!(clips.iter().all(|(_, clip)| !clip.frames.is_empty()));
        }
        Err(fault) => assert_text(&fault.to_string()),
    }
}

fn source() -> SourceSpec {
    match stream("file") {
        Ok(Stream::Play(wanted)) => wanted.source,
        other => panic!("a file is a source: {other:?}"),
    }
}

fn assert_text(text: &str) {
    assert!(!text.is_empty() && text.len() < TEXT_MAX && !text.contains('\n'), "{text}");
}

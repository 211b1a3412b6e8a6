use std::slice::from_ref;

use super::*;
use crate::media::clip::Content;
use crate::media::codec::Listener;
use crate::media::wav::tests::file as wav_file;
use crate::scenario::media::{Stream, capture as capture_spec, stream};

/// The source of `rtp_stream=`.
fn spec(text: &str) -> SourceSpec {
    match stream(text) {
        Ok(Stream::Play(wanted)) => wanted.source,
        other => panic!("{text}: {other:?}"),
    }
}

/// Prepares sources of which all files have these bytes.
fn prepared(
    sources: &[SourceSpec],
    file: &[u8],
    bytes_max: usize,
) -> Result<Library, LibraryError> {
    let mut read = |_: &str, _| Ok(Some(file.to_vec()));
    Library::prepare(sources, &Settings::new(bytes_max), &mut read)
}

fn names(library: &Library, source: &SourceSpec) -> Vec<&'static str> {
    library.clips[source].clips.iter().map(|(name, _)| *name).collect()
}

/// A second of a tone of 1000 Hz in 48 kHz, as 16-bit WAV.
fn tone_48k() -> Vec<u8> {
    let sample = |n: u32| {
        let phase = f64::from(n % 48) / 48.0 * core::f64::consts::TAU;
        ((8000.0 * phase.sin()) as i16).to_le_bytes()
    };
    wav_file(1, 1, 48_000, 16, &(0..48_000).flat_map(sample).collect::<Vec<u8>>())
}

#[test]
fn a_wav_file_is_coded_in_all_encodings() {
    let source = spec("a.wav");
    let library = prepared(from_ref(&source), &tone_48k(), 1 << 20).unwrap();
    assert_eq!(names(&library, &source), NEGOTIABLE);
    let mut bytes = 0;
    for (name, clip) in &library.clips[&source].clips {
        assert_eq!(
            (clip.frames.len(), clip.content, clip.is_silent),
            (50, Content::Payload, false)
        );
        let mut listener = Listener::new(Encoding::by_name(name).unwrap());
        let levels: Vec<f32> =
            clip.frames.iter().filter_map(|frame| listener.dbov(clip.payload(frame))).collect();
        // A sine of 8000 of 32,768.
        assert!(levels.iter().skip(10).all(|level| (level + 15.26).abs() < 0.3), "{levels:?}");
        bytes += clip.memory();
    }
    assert_eq!(library.bytes, bytes);
}

#[test]
fn a_wav_file_in_the_encoding_is_sent_as_it_is() {
    let source = spec("a.wav,1,0");
    let payload: Vec<u8> = (0..200).collect();
    let library = prepared(from_ref(&source), &wav_file(7, 1, 8000, 8, &payload), 1 << 20).unwrap();
    let clip = &library.clips[&source].clips[0].1;
    // The last packet is filled up with silence.
    assert_eq!((&clip.bytes[..200], &clip.bytes[200..]), (&payload[..], &[0xff; 120][..]));
}

#[test]
fn raw_files_are_cut_into_packets() {
    let g729 = spec("a.g729,1,18,G729/8000");
    let library = prepared(from_ref(&g729), &[7; 45], 1 << 20).unwrap();
    assert_eq!(
        (names(&library, &g729), library.clips[&g729].clips[0].1.frames.len()),
        (vec!["G729"], 2)
    );
    assert_eq!(
        library.notes,
        ["media file a.g729: its last 5 bytes are no whole packet, and are left out"]
    );
    let plain = spec("a.raw");
    assert_eq!(names(&prepared(from_ref(&plain), &[7; 160], 1 << 20).unwrap(), &plain), ["PCMA"]);
    let fault = |text, file: &[u8]| prepared(&[spec(text)], file, 1 << 20).unwrap_err().to_string();
    assert_eq!(
        fault("a.g729,1,18", &[0; 19]),
        "media file a.g729: it has 19 bytes, and a packet of G729/8000 has 20"
    );
    assert!(fault("a.opus,1,111,opus", &[0; 80]).contains("have no fixed size"));
    assert!(
        fault("a.wav,1,97,iLBC", &tone_48k()).contains("cannot be coded in iLBC/8000 with 30 ms")
    );
}

#[test]
fn each_file_is_read_once() {
    let sources = [
        spec("a.wav"),
        spec("b.wav"),
        spec("a.wav,1,0"),
        spec("a.wav,5"),
        spec("silence"),
        spec("a.wav,1,8,PCMA/8000"),
    ];
    let mut reads = Vec::new();
    let mut read = |path: &str, _| {
        reads.push(path.to_owned());
        Ok(Some(wav_file(1, 1, 8000, 8, &[128; 160])))
    };
    let library = Library::prepare(&sources, &Settings::new(1 << 20), &mut read).unwrap();
    assert_eq!(reads, ["a.wav", "b.wav"]);
    // Loops are none of a source.
    assert_eq!(library.clips.len(), 5);
    assert!(library.clips.values().all(|set| set.clips.iter().all(|(_, clip)| clip.is_silent)));
}

#[test]
fn sources_that_are_computed_need_no_file() {
    let sources = [
        "synthetic",
        "tone:1000,-1,0,PCMU/8000,30",
        "cadence:200:100",
        "silence",
        "cn",
        "apattern,1",
        "apattern,2,97,iLBC/8000",
        "vpattern,3,96,H264/90000",
    ]
    .map(spec);
    let mut none = |path: &str, _| panic!("{path} is read");
    let library = Library::prepare(&sources, &Settings::new(1 << 22), &mut none).unwrap();
    let names = |at: usize| names(&library, &sources[at]);
    assert_eq!((names(0), names(3)), (NEGOTIABLE.to_vec(), NEGOTIABLE.to_vec()));
    assert_eq!((names(1), names(4)), (vec!["PCMU"], vec!["CN"]));
    // Opus has no payload of a fixed size.
    assert_eq!(names(5), ["PCMU", "PCMA", "G722", "G729"]);
    assert_eq!((names(6), names(7)), (vec!["iLBC"], vec!["H264"]));
    let tone = &library.clips[&sources[1]].clips[0].1;
    assert_eq!((tone.frames[0].len, tone.frames[0].gap_ns), (240, 30_000_000));
}

#[test]
fn memory_is_bounded_before_anything_is_coded() {
    // The file fits, its packets or its samples do not.
    let sources = [spec("a.wav"), spec("cadence:60000:60000"), spec("a.raw")];
    let long = wav_file(7, 1, 8000, 8, &[0xff; 950_000]);
    for source in sources {
        let fault = prepared(&[source], &long, 1_000_000).unwrap_err();
        assert!(fault.reason.starts_with("with it, media would take more than 1000000 bytes"));
    }
    let fault = prepared(&[spec("a.raw")], &[0; 1001], 1000).unwrap_err();
    assert_eq!(fault.reason, "it has 1001 bytes, and media may take 1000; shorten it");
    // Each fits, both together do not.
    let (one, two) = (spec("a.wav,1,0"), spec("a.wav,1,8"));
    let file = wav_file(1, 1, 8000, 8, &[128; 16_000]);
    assert!(prepared(from_ref(&one), &file, 34_000).is_ok());
    let fault = prepared(&[one, two], &file, 34_000).unwrap_err();
    assert_eq!(fault.source, "media file a.wav");
}

#[test]
fn captures_are_read_or_made() {
    let audio = capture_spec("pcap/g711a.pcap", false).unwrap();
    let mut not_found = |_: &str, _| Ok(None);
    let library =
        Library::prepare(from_ref(&audio), &Settings::new(1 << 20), &mut not_found).unwrap();
    assert_eq!(names(&library, &audio), ["PCMA"]);
    assert_eq!(library.clips[&audio].clips[0].1.content, Content::Rtp);

    let other = [capture_spec("pcap/other.pcap", true).unwrap()];
    let settings = Settings::new(1 << 20);
    let fault = Library::prepare(&other, &settings, &mut not_found).unwrap_err();
    assert_eq!(fault.to_string(), "media file pcap/other.pcap: there is no such file");
    let mut denied = |_: &str, _| Err("permission denied".to_owned());
    let fault = Library::prepare(&other, &settings, &mut denied).unwrap_err();
    assert_eq!(fault.to_string(), "media file pcap/other.pcap: permission denied");
    let fault = prepared(&other, b"no capture", 1 << 20).unwrap_err();
    assert!(fault.to_string().ends_with("it is neither a pcap nor a pcapng file"));
}

#[test]
fn tones_in_g711_are_marked_unless_that_is_off_and_nothing_else_is() {
    let texts = ["tone:440", "cadence:100:100", "silence", "apattern,1", "a.wav", "tone:440,,,,10"];
    let sources = texts.map(spec);
    for watermarks in [true, false] {
        let settings = Settings { watermarks, ..Settings::new(1 << 22) };
        let mut read = |_: &str, _| Ok(Some(tone_48k()));
        let library = Library::prepare(&sources, &settings, &mut read).unwrap();
        for (source, text) in sources.iter().zip(texts) {
            for (name, clip) in &library.clips[source].clips {
                let has_room = clip.frames[0].len >= 96;
                let is_tone = text.starts_with("tone") || text.starts_with("cadence");
                let expected = watermarks && is_tone && name.starts_with("PCM") && has_room;
                assert_eq!(clip.is_marked, expected, "{text} in {name}");
            }
        }
    }
}

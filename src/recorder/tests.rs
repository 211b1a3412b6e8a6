use std::fs;
use std::path::PathBuf;

use super::*;
use crate::files::Access;
use crate::media::codec::g711::Law;
use crate::media::rtp::Header;
use crate::media::tap::{Begin, Copied, Entry, Form, Origin, Tap};
use crate::stats::RecordingLoss;
use crate::trace::queue;

/// The time at which recordings of these tests begin.
const START_NS: u64 = 7_000_000_000;
const MS: u64 = 1_000_000;

/// A folder that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gossipper-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.join(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    fn places(&self) -> Places {
        Places {
            access: Access::default(),
            audio: Some(self.0.join("wav")),
            packets: Some(self.0.join("pcap")),
            stem: "uac_42".to_owned(),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn begin(origin: Origin, form: Form, name: &[u8]) -> Entry<'_> {
    let (leg, call, is_sent) = (5, 3, false);
    Entry::Begin(Begin { leg, origin, form, call, is_sent, at_ns: START_NS, name })
}

fn end(origin: Origin, is_kept: bool) -> Entry<'static> {
    Entry::End { leg: 5, origin, is_kept }
}

/// A packet of PCMU with `sample`.
fn packet(sequence: u16, timestamp: u32, sample: i16) -> Vec<u8> {
    let header = Header { payload_type: 0, marker: false, sequence, timestamp, ssrc: 1 };
    let mut packet = vec![0; 12];
    header.write((&mut packet[..12]).try_into().unwrap());
    packet.resize(172, Law::Mu.encode(sample));
    packet
}

fn copied(bytes: &[u8], at_ms: u64, is_sent: bool) -> Entry<'_> {
    Entry::Packet(Copied {
        leg: 5,
        at_ns: START_NS + at_ms * MS,
        is_sent,
        is_video: false,
        encoding: None,
        local: "192.0.2.1:6000".parse().unwrap(),
        remote: "192.0.2.2:7000".parse().unwrap(),
        bytes,
    })
}

/// Records `entries` with a thread, to its end.
fn record(places: Places, entries: &[Entry<'_>]) -> Tally {
    let (mut copies, queue) = queue(1 << 20);
    let mut tap = Tap::new();
    entries.iter().for_each(|entry| tap.push(entry));
    tap.hand_on(|bytes| copies.push(bytes));
    let source = Source { queue, label: String::new() };
    Recorder::start(places, vec![source], 1_000_000_000).unwrap().finish()
}

/// The channels and samples of a WAV file.
fn wav(path: PathBuf) -> (usize, Vec<i16>) {
    let file = fs::read(path).unwrap();
    let wav = crate::media::wav::Wav::read(&file).unwrap();
    assert_eq!((wav.rate, wav.notes.len()), (8000, usize::from(file[22] > 1)), "{:?}", wav.notes);
    let words = file[44..].chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]]));
    (file[22].into(), words.collect())
}

#[test]
fn audio_of_both_sides_has_its_place_in_time() {
    let scratch = Scratch::new("duplex");
    let loud = Law::Mu.decode(Law::Mu.encode(5000));
    let quiet = Law::Mu.decode(Law::Mu.encode(-300));
    let ours: Vec<_> = (0..4).map(|at| packet(at, 160 * u32::from(at), 5000)).collect();
    // The second of the peer is lost, and the last two come in the wrong order.
    let theirs = [0, 2, 1].map(|at: u32| packet(at as u16, 900 + 320 * at, -300));
    let mut entries = vec![begin(Origin::Audio, Form::Duplex, b"")];
    entries.extend(ours.iter().zip([0, 20, 40, 60]).map(|(p, ms)| copied(p, ms, true)));
    entries.extend(theirs.iter().zip([20, 100, 105]).map(|(p, ms)| copied(p, ms, false)));
    entries.push(end(Origin::Audio, true));
    let tally = record(scratch.places(), &entries);
    assert_eq!((tally.totals.files, tally.totals.losses.total()), (1, 0), "{tally:?}");
    assert_eq!(scratch.names("wav"), ["uac_42_3.wav"]);
    let (channels, samples) = wav(scratch.0.join("wav/uac_42_3.wav"));
    assert_eq!((channels, samples.len()), (2, 2 * 960));
    let frames: Vec<_> = samples.chunks(2).map(|frame| (frame[0], frame[1])).collect();
    // By packets of 20 ms: ours, and the peer's from 20 ms on, with gaps between them.
    let expected = [(loud, 0), (loud, quiet), (loud, 0), (loud, quiet), (0, 0), (0, quiet)];
    for (at, expected) in expected.iter().enumerate() {
        assert!(frames[160 * at..160 * (at + 1)].iter().all(|frame| frame == expected), "{at}");
    }
}

#[test]
fn a_file_of_the_peer_alone_has_one_channel_and_what_is_late_is_counted() {
    let scratch = Scratch::new("mono");
    let sent = packet(0, 0, 5000);
    // Four seconds, and then one that is three seconds late.
    let mut heard: Vec<_> = (0..200).map(|at| packet(at, 160 * u32::from(at), 700)).collect();
    heard.push(packet(50, 160 * 50, 700));
    let opus = {
        let mut opus = packet(0, 0, 0);
        opus[1] = 111;
        opus
    };
    let name = scratch.0.join("deep/er/a.wav").into_os_string().into_encoded_bytes();
    let mut entries = vec![begin(Origin::Action, Form::Mono, &name), copied(&sent, 0, true)];
    let times = (0..200).map(|at| 20 * at);
    entries.extend(heard.iter().zip(times).map(|(packet, ms)| copied(packet, ms, false)));
    entries.push(copied(&heard[200], 1000, false));
    entries.push(copied(&opus, 1000, false));
    entries.push(copied(&[0x80, 201, 0, 1, 0, 0, 0, 1], 1000, false));
    entries.push(copied(b"BYE sip:a@b SIP/2.0", 1000, false));
    // Its end does not come: the run is over before.
    let tally = record(scratch.places(), &entries);
    let count = |cause| tally.totals.losses.count(cause);
    assert_eq!((count(RecordingLoss::Late), count(RecordingLoss::Undecoded)), (1, 1));
    assert_eq!(tally.totals.losses.total(), 2);
    let (channels, samples) = wav(scratch.0.join("deep/er/a.wav"));
    assert_eq!((channels, samples.len()), (1, 200 * 160));
    assert!(samples.iter().all(|&sample| sample == Law::Mu.decode(Law::Mu.encode(700))));
}

#[test]
fn a_silence_without_packets_is_as_long_as_it_was() {
    let scratch = Scratch::new("gap");
    let [first, second] = [packet(0, 0, 700), packet(1, 160, 700)];
    // The peer's clock stood still meanwhile.
    let entries = [
        begin(Origin::Audio, Form::Mono, b""),
        copied(&first, 0, false),
        copied(&second, 10_000, false),
        end(Origin::Audio, true),
    ];
    record(scratch.places(), &entries);
    let (_, samples) = wav(scratch.0.join("wav/uac_42_3.wav"));
    assert_eq!(samples.len(), 80_160);
    assert!(samples[160..80_000].iter().all(|&sample| sample == 0));
    assert!(samples[80_000..].iter().all(|&sample| sample > 600));
}

#[test]
fn packets_are_kept_only_where_their_call_asks_for_it_and_no_part_is_left() {
    let scratch = Scratch::new("kept");
    let [one, two] = [packet(0, 0, 1), packet(1, 160, 1)];
    let take = |is_kept| {
        [
            begin(Origin::Packets, Form::Capture, b""),
            copied(&one, 0, true),
            copied(&two, 20, false),
            end(Origin::Packets, is_kept),
        ]
    };
    let tally = record(scratch.places(), &take(false));
    assert_eq!((tally.totals.files, tally.totals.discarded), (0, 1));
    assert!(scratch.names("pcap").is_empty());
    let tally = record(scratch.places(), &take(true));
    assert_eq!(scratch.names("pcap"), ["uac_42_3.pcapng"]);
    let file = fs::read(scratch.0.join("pcap/uac_42_3.pcapng")).unwrap();
    assert_eq!((tally.totals.files, tally.totals.bytes), (1, file.len() as u64));
    // Our own reader finds both datagrams, and their distance.
    let capture = crate::media::capture::read(&file, crate::media::capture::Kind::Rtp).unwrap();
    let frames = &capture.clip.frames;
    assert_eq!((frames.len(), frames[0].gap_ns), (2, 20 * MS));
    assert_eq!(capture.clip.payload(&frames[0]), one);
}

#[test]
fn a_file_that_cannot_be_made_is_counted_and_told() {
    let scratch = Scratch::new("refused");
    fs::write(scratch.0.join("wav"), "a file").unwrap();
    let one = packet(0, 0, 1);
    let entries =
        [begin(Origin::Audio, Form::Mono, b""), copied(&one, 0, false), end(Origin::Audio, true)];
    let tally = record(scratch.places(), &entries);
    assert_eq!(tally.totals.losses.count(RecordingLoss::NotOpened), 1);
    let [complaint] = &tally.complaints[..] else { panic!("{tally:?}") };
    assert!(complaint.contains("wav/uac_42_3.wav"), "{complaint}");
}

#[test]
fn a_scenario_of_a_client_records_within_the_folder_for_results_only() {
    let scratch = Scratch::new("confined");
    let access = Access::of_process(Vec::new(), &scratch.0);
    let places = Places { access, audio: None, ..scratch.places() };
    let names: [&[u8]; 4] = [b"own/a.wav", b"../b.wav", b"/tmp/c.wav", b"own/../../d.wav"];
    let begins = names.map(|name| {
        let Entry::Begin(begin) = begin(Origin::Action, Form::Mono, name) else {
            panic!("it is a begin")
        };
        Entry::Begin(Begin { is_sent: true, ..begin })
    });
    let mut entries = Vec::new();
    for begin in begins {
        entries.extend([begin, end(Origin::Action, true)]);
    }
    let tally = record(places, &entries);
    assert_eq!((tally.totals.files, tally.totals.losses.count(RecordingLoss::NotOpened)), (1, 3));
    assert_eq!(scratch.names("results/own"), ["a.wav"]);
    assert_eq!(scratch.names("."), ["results"]);
    assert!(tally.complaints.iter().all(|text| text.contains("results")), "{tally:?}");
}

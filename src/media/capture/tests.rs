use super::builtin::{ipv4, pcap};
use super::*;
use crate::media::codec::g711::Law;
use crate::media::digits;

/// Twelve bytes of RTP and `media`.
fn rtp(sequence: u16, timestamp: u32, ssrc: u32, media: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend([timestamp, ssrc].map(u32::to_be_bytes).concat());
    packet.extend(media);
    packet
}

/// Two packets of RTP, 30 ms apart.
fn two() -> [Vec<u8>; 2] {
    [rtp(1, 160, 7, &[0x10; 4]), rtp(2, 400, 7, &[0x11; 4])]
}

/// A pcap file: its magic number, link type, and packets with seconds and ticks. Words are written
/// by `word`.
fn file(
    magic: u32,
    link: u32,
    packets: &[(u32, u32, Vec<u8>)],
    word: fn(u32) -> [u8; 4],
) -> Vec<u8> {
    let mut file = word(magic).to_vec();
    file.extend([0, 0, 0, 0, link].map(word).concat());
    for (seconds, ticks, packet) in packets {
        let len = packet.len() as u32;
        file.extend([*seconds, *ticks, len, len].map(word).concat());
        file.extend(packet);
    }
    file
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let len = (12 + body.len()) as u32;
    [&kind.to_le_bytes()[..], &len.to_le_bytes(), body, &len.to_le_bytes()].concat()
}

/// A pcapng file on raw IP with an interface that has these options, and packets at these ticks.
fn pcapng(options: &[u8], packets: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let section = [&0x1a2b_3c4du32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
    let interface = [&101u32.to_le_bytes()[..], &[0; 4], options].concat();
    let mut file = [block(0x0a0d_0d0a, &section), block(1, &interface)].concat();
    for (ticks, packet) in packets {
        let len = packet.len() as u32;
        let mut body =
            [0, (ticks >> 32) as u32, *ticks as u32, len, len].map(u32::to_le_bytes).concat();
        body.extend(packet);
        body.resize(body.len().next_multiple_of(4), 0);
        file.extend(block(6, &body));
    }
    file
}

fn assert_two(file: &[u8], what: &str) {
    let Capture { clip, notes } =
        read(file, Kind::Rtp).unwrap_or_else(|why| panic!("{what}: {why}"));
    assert_eq!(notes, [""; 0], "{what}");
    assert_eq!((clip.content, clip.frames.len(), clip.clock_rate), (Content::Rtp, 2, 8000));
    for (frame, packet) in clip.frames.iter().zip(two()) {
        assert_eq!(clip.payload(frame), packet, "{what}");
        assert_eq!((frame.gap_ns, frame.ticks, frame.payload_type), (30_000_000, 240, Some(0)));
    }
}

#[test]
fn all_forms_of_files_are_read() {
    let [first, second] = two().map(|payload| ipv4(&payload));
    let packets =
        |tick: u32| [(5, 990_000 * tick, first.clone()), (6, 20_000 * tick, second.clone())];
    for word in [u32::to_le_bytes, u32::to_be_bytes] {
        assert_two(&file(0xa1b2_c3d4, 101, &packets(1), word), "microseconds");
        assert_two(&file(0xa1b2_3c4d, 101, &packets(1000), word), "nanoseconds");
    }
    let packets =
        |tick: u64| [(5_990_000 * tick, first.clone()), (6_020_000 * tick, second.clone())];
    assert_two(&pcapng(&[], &packets(1)), "pcapng");
    // Option 9, one byte: 10^-9; the padding and the end of options.
    assert_two(&pcapng(&[9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0], &packets(1000)), "pcapng, ns");
    // 2^-3 seconds: 30 ms are less than a tick.
    let eighths = pcapng(&[9, 0, 1, 0, 0x83, 0, 0, 0], &packets(1));
    assert!(read(&eighths, Kind::Rtp).unwrap_err().to_string().contains("3750 s after"));
}

#[test]
fn all_links_lead_to_the_datagram() {
    let ipv6 = |extension: &[u8], next: u8, payload: &[u8]| {
        let udp = &ipv4(payload)[20..];
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 64];
        packet.extend([0; 32]);
        [&packet[..], extension, udp].concat()
    };
    let ethernet = |types: &[u8], packet: &[u8]| [&[0; 12], types, packet, &[0; 3]].concat();
    type Wrap<'a> = (&'a str, u32, &'a dyn Fn(&[u8]) -> Vec<u8>);
    let wraps: [Wrap<'_>; 9] = [
        ("Ethernet", 1, &|payload| ethernet(&[8, 0], &ipv4(payload))),
        ("VLAN", 1, &|payload| ethernet(&[0x81, 0, 0, 5, 8, 0], &ipv4(payload))),
        ("Q-in-Q", 1, &|payload| {
            ethernet(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 0x86, 0xdd], &ipv6(&[], 17, payload))
        }),
        ("raw IPv6", 101, &|payload| ipv6(&[], 17, payload)),
        ("options of IPv6", 229, &|payload| {
            ipv6(&[60, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0], 0, payload)
        }),
        ("cooked", 113, &|payload| [&[0; 14][..], &[8, 0], &ipv4(payload)].concat()),
        ("cooked v2", 276, &|payload| [&[8, 0][..], &[0; 18], &ipv4(payload)].concat()),
        ("null", 0, &|payload| [&[2, 0, 0, 0][..], &ipv4(payload)].concat()),
        ("loop", 108, &|payload| [&[0, 0, 0, 30][..], &ipv6(&[], 17, payload)].concat()),
    ];
    for (what, link, wrap) in wraps {
        let [first, second] = two().map(|payload| wrap(&payload));
        let packets = [(1, 0, first), (1, 30_000, second)];
        assert_two(&file(0xa1b2_c3d4, link, &packets, u32::to_le_bytes), what);
    }
}

#[test]
fn of_several_streams_the_largest_is_played_with_a_note() {
    let packets = [
        rtp(1, 0, 9, &[0x10]),
        rtp(1, 0, 7, &[0x10]),
        // A sender report, and a keep-alive.
        vec![0x80, 200, 0, 1, 0, 0, 0, 7, 0, 0, 0, 0],
        vec![0, 0],
        rtp(2, 160, 7, &[0x10]),
    ];
    let packets: Vec<_> =
        packets.iter().zip(0..).map(|(packet, at)| (0, at * 20_000, ipv4(packet))).collect();
    let read = read(&file(0xa1b2_c3d4, 101, &packets, u32::to_le_bytes), Kind::Rtp).unwrap();
    assert_eq!(read.clip.frames.len(), 2);
    assert_eq!((read.clip.frames[0].gap_ns, read.clip.frames[0].ticks), (60_000_000, 160));
    let [others, foreign] = &read.notes[..] else { panic!("{:?}", read.notes) };
    assert!(others.contains("other streams are left out: 1, the first is number 1"), "{others}");
    assert!(others.contains("SSRC 0x00000007"), "{others}");
    assert!(foreign.contains("are no RTP are left out: 2, the first is number 3"), "{foreign}");
}

#[test]
fn datagrams_of_t38_are_sent_as_they_are() {
    let packets = [(0, 0, ipv4(&[0, 1, 2, 3])), (9, 0, ipv4(&[0, 2]))];
    let file = file(0xa1b2_c3d4, 101, &packets, u32::to_le_bytes);
    let image = read(&file, Kind::Datagrams).unwrap();
    assert_eq!((image.clip.content, image.notes.len()), (Content::Datagram, 0));
    // More than 32 bits of nanoseconds.
    assert_eq!(image.clip.frames[0].gap_ns, 9_000_000_000);
    assert_eq!((&*image.clip.bytes, image.clip.is_silent), (&[0, 1, 2, 3, 0, 2][..], false));
    let audio = read(&file, Kind::Rtp).unwrap();
    assert_eq!(audio.clip.content, Content::Datagram);
    assert!(audio.notes[0].starts_with("it has no RTP: "));
}

#[test]
fn a_file_that_lies_says_where() {
    let le = u32::to_le_bytes;
    let packet = ipv4(&two()[0]);
    let fault = |file: &[u8]| read(file, Kind::Rtp).unwrap_err().to_string();
    let with = |packets: &[_]| file(0xa1b2_c3d4, 101, packets, le);
    let one = with(&[(0, 0, packet.clone())]);

    assert_eq!(fault(b"RIFFxxxx"), "it is neither a pcap nor a pcapng file");
    assert_eq!(fault(&one[..4]), "it has no packet");
    assert_eq!(fault(&one[..24]), "it has no packet");
    let tcp = with(&[(0, 0, [&packet[..9], &[6], &packet[10..]].concat())]);
    assert!(fault(&tcp).starts_with("none of its 1 packets is a whole UDP datagram"));
    assert!(fault(&file(0xa1b2_c3d4, 147, &[(0, 0, packet.clone())], le)).contains("type 147"));
    let late = with(&[(0, 0, packet.clone()), (u32::MAX, 0, packet.clone())]);
    assert!(fault(&late).starts_with("packet 2 comes 4294967295 s after the one before"));
    let mut long = one.clone();
    long[32..36].copy_from_slice(&le(u32::MAX));
    assert!(fault(&long).starts_with("packet 1 says that it has 4294967295 bytes"));

    let ng = |options: &[u8]| pcapng(options, &[(0, packet.clone())]);
    assert!(fault(&ng(&[9, 0, 1, 0, 20, 0, 0, 0])).contains("impossible resolution"));
    let mut interface = ng(&[]);
    let at = interface.len() - packet.len().next_multiple_of(4) - 24;
    interface[at] = 1;
    assert!(fault(&interface).contains("an interface that it does not describe"));
    let mut longer = ng(&[]);
    longer[at + 12] = 250;
    assert!(fault(&longer).contains("longer than its block"));
    let simple = [ng(&[]), block(3, &[0; 8])].concat();
    assert!(fault(&simple).starts_with("packet 2 has no time of capture"));
    let mut empty = block(0x0a0d_0d0a, &[0x4d, 0x3c, 0x2b, 0x1a]);
    empty[4] = 0;
    assert!(fault(&empty).contains("shorter than its header before its first packet"));
}

#[test]
fn what_is_left_out_is_counted() {
    let packet = ipv4(&two()[0]);
    let mut fragment = packet.clone();
    fragment[6] = 0x20;
    let mut short = packet.clone();
    short.truncate(30);
    let packets = [(0, 0, packet.clone()), (0, 1, fragment), (0, 2, short), (0, 0, packet.clone())];
    let mut file = file(0xa1b2_c3d4, 101, &packets, u32::to_le_bytes);
    file.extend([0; 15]);
    let read = read(&file, Kind::Rtp).unwrap();
    assert_eq!(read.clip.frames.len(), 2);
    let expected = [
        "fragments of IP datagrams are left out: 1, the first is number 2",
        "not saved as a whole are left out: 1, the first is number 3",
        "it ends inside of the packet behind number 4",
    ];
    assert_eq!(read.notes.len(), expected.len());
    for (note, expected) in read.notes.iter().zip(expected) {
        assert!(note.contains(expected), "{note}");
    }
}

#[test]
fn time_that_runs_backwards_is_noted() {
    let packet = ipv4(&two()[0]);
    let packets = [(5, 0, packet.clone()), (4, 0, packet.clone())];
    let read = read(&file(0xa1b2_c3d4, 101, &packets, u32::to_le_bytes), Kind::Rtp).unwrap();
    assert_eq!(read.clip.frames[0].gap_ns, 0);
    assert!(read.notes[0].contains("the first is number 2"), "{}", read.notes[0]);
}

#[test]
fn no_byte_of_a_file_makes_it_panic() {
    let [first, second] = two().map(|payload| ipv4(&payload));
    let files = [
        file(0xa1b2_c3d4, 101, &[(0, 0, first.clone()), (0, 9, second.clone())], u32::to_be_bytes),
        pcapng(&[9, 0, 1, 0, 9, 0, 0, 0], &[(0, first), (9, second)]),
    ];
    for file in files {
        for at in 0..file.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = file.clone();
                changed[at] = value;
                let _ = read(&changed, Kind::Rtp);
                let _ = read(&changed[..at], Kind::Datagrams);
            }
        }
    }
}

#[test]
fn captures_that_sipp_ships_are_made() {
    let audio = builtin("pcap/g711a.pcap").unwrap();
    let audio = read(&audio, Kind::Rtp).unwrap();
    assert_eq!((audio.notes.len(), audio.clip.is_silent), (0, false));
    assert_eq!(audio.clip.duration_ns(), 8_000_000_000);
    assert_eq!((audio.clip.frames[0].payload_type, audio.clip.frames[0].marker), (Some(8), true));
    let loud = audio
        .clip
        .frames
        .iter()
        .filter(|frame| Law::A.dbov(&audio.clip.payload(frame)[RTP_HEADER..]) > -20.0);
    assert_eq!(loud.count(), 300);

    let digit = read(&builtin("pcap/dtmf_2833_pound.pcap").unwrap(), Kind::Rtp).unwrap().clip;
    let expected = digits::clip(b"#", 100, 100, 8000).unwrap();
    assert_eq!(digit.frames.len(), expected.frames.len());
    for (frame, event) in digit.frames.iter().zip(&expected.frames) {
        assert_eq!(digit.payload(frame)[RTP_HEADER..], *expected.payload(event));
        assert_eq!((frame.payload_type, frame.marker), (Some(101), event.marker));
    }
    for name in ["g711a.pcap", "pcap/dtmf_2833_12.pcap", "pcap/dtmf_2833_x.pcap", "pcap/x.pcap"] {
        assert_eq!(builtin(name), None, "{name}");
    }
}

#[test]
fn silence_in_a_capture_is_not_taken_for_audio() {
    let pcmu = Encoding::by_name("PCMU").unwrap();
    let is_silent = |payload: &[u8], payload_type| {
        let clip = Clip::cut(pcmu, 20, payload).unwrap();
        read(&pcap(&clip, payload_type, 1), Kind::Rtp).unwrap().clip.is_silent
    };
    assert!(is_silent(&[0xff; 160], 0));
    assert!(!is_silent(&[0x10; 160], 0));
    // Dynamic: it may be anything.
    assert!(!is_silent(&[0xff; 160], 96));
}

//! Captures to replay: a pcap or pcapng file to a clip with its own timing.
//!
//! Of a file, one stream of RTP is played, or all UDP datagrams if they are no RTP. What is left
//! out is counted, and said in notes that name packets by their numbers in Wireshark.

mod builtin;
mod file;
mod packet;

use core::fmt;
use std::collections::HashMap;

use super::clip::{Clip, Content, Frame};
use super::codec::level::AUDIBLE_MEAN_SQUARE;
use super::codec::{Encoding, Listener};

use file::Records;
use packet::Contents;

pub use builtin::builtin;

/// Longest pause that is played. A longer one is a damaged time, or of another day.
const PAUSE_MAX_NS: u64 = 600 * 1_000_000_000;
/// Time behind the only packet of a capture.
const GAP_NS: u64 = 20_000_000;
/// Bytes of an RTP header without options (RFC 3550 section 5.1).
const RTP_HEADER: usize = 12;

/// The media of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A stream of RTP.
    Rtp,
    /// Datagrams of any kind (T.38).
    Datagrams,
}

/// A clip out of a capture.
#[derive(Debug)]
pub struct Capture {
    /// The packets.
    pub clip: Clip,
    /// Findings that a user should know of.
    pub notes: Vec<String>,
}

/// The reason why a capture cannot be played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaptureFault {
    /// The file is neither pcap nor pcapng.
    NotACapture,
    /// The file has no packet to play.
    NoPackets {
        /// Packets of other kinds.
        seen: u32,
    },
    /// A packet claims to be longer than any packet is.
    TooLong {
        /// Number of the packet.
        packet: u32,
        /// Bytes that it claims to have.
        bytes: usize,
    },
    /// The structure of the file is broken.
    Damaged {
        /// Number of the last packet before the damage.
        after: u32,
        /// The fault.
        what: &'static str,
    },
    /// A packet has no time of capture.
    NoTime {
        /// Number of the packet.
        packet: u32,
    },
    /// A packet comes too long after the one before.
    Pause {
        /// Number of the packet.
        packet: u32,
        /// The time between them.
        seconds: u64,
    },
    /// A packet was captured on a link of an unknown type.
    LinkType {
        /// Number of the packet.
        packet: u32,
        /// The type.
        link: u32,
    },
}

impl fmt::Display for CaptureFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CUT: &str = "cut it with editcap -r in.pcap out.pcap FIRST-LAST";
        match self {
            Self::NotACapture => f.write_str("it is neither a pcap nor a pcapng file"),
            Self::NoPackets { seen: 0 } => f.write_str("it has no packet"),
            Self::NoPackets { seen } => write!(
                f,
                "none of its {seen} packets is a whole UDP datagram; capture with tcpdump -s 0 udp"
            ),
            Self::TooLong { packet, bytes } => {
                write!(f, "packet {packet} says that it has {bytes} bytes; {CUT}")
            }
            Self::Damaged { after: 0, what } => write!(f, "it has {what} before its first packet"),
            Self::Damaged { after, what } => {
                write!(f, "it has {what} behind packet {after}; {CUT}")
            }
            Self::NoTime { packet } => {
                write!(f, "packet {packet} has no time of capture (it is a simple packet block)")
            }
            Self::Pause { packet, seconds } => write!(
                f,
                "packet {packet} comes {seconds} s after the one before, and {} s can be played; \
                 {CUT}",
                PAUSE_MAX_NS / 1_000_000_000
            ),
            Self::LinkType { packet, link } => write!(
                f,
                "packet {packet} has the link type {link}; Ethernet, raw IP, Linux cooked and \
                 loopback can be read"
            ),
        }
    }
}

impl core::error::Error for CaptureFault {}

/// Reads a capture.
///
/// # Errors
/// A file that is damaged, or that has nothing to play.
pub fn read(file: &[u8], kind: Kind) -> Result<Capture, CaptureFault> {
    let Datagrams { mut played, mut notes, seen } = datagrams(file)?;
    let stream = match kind {
        Kind::Rtp => largest_stream(&played),
        Kind::Datagrams => None,
    };
    match stream {
        Some(ssrc) => keep_stream(&mut played, ssrc, &mut notes),
        None if kind == Kind::Rtp && !played.is_empty() => notes.push(
            "it has no RTP: its datagrams are sent as they are, as play_pcap_image does".to_owned(),
        ),
        None => {}
    }
    if played.is_empty() {
        return Err(CaptureFault::NoPackets { seen });
    }
    let content = if stream.is_some() { Content::Rtp } else { Content::Datagram };
    Ok(Capture { clip: clip(&played, content, &mut notes)?, notes })
}

/// A UDP datagram of a capture.
#[derive(Clone, Copy)]
struct Datagram<'f> {
    /// Number of its packet.
    number: u32,
    time_ns: u64,
    payload: &'f [u8],
}

struct Datagrams<'f> {
    played: Vec<Datagram<'f>>,
    notes: Vec<String>,
    /// Packets in the file.
    seen: u32,
}

/// The whole UDP datagrams of a file, with notes about those that are not whole.
fn datagrams(file: &[u8]) -> Result<Datagrams<'_>, CaptureFault> {
    let mut records = Records::open(file)?;
    let mut found = Datagrams { played: Vec::new(), notes: Vec::new(), seen: 0 };
    let (mut fragments, mut short) = (Left::default(), Left::default());
    while let Some(record) = records.next()? {
        found.seen = record.number;
        let number = record.number;
        match packet::contents(record.link, record.data, record.is_short) {
            Contents::Udp(payload) => {
                found.played.push(Datagram { number, time_ns: record.time_ns, payload });
            }
            Contents::Fragment => fragments.add(number),
            Contents::Short => short.add(number),
            Contents::Other => {}
            Contents::UnknownLink => {
                return Err(CaptureFault::LinkType { packet: number, link: record.link });
            }
        }
    }
    found.notes.extend(
        fragments.note("are fragments of IP datagrams", "capture smaller packets to play them"),
    );
    found
        .notes
        .extend(short.note("were not saved as a whole", "capture with tcpdump -s 0 to play them"));
    if records.is_cut_off {
        let last = found.seen;
        found.notes.push(format!("it ends inside of the packet behind number {last}"));
    }
    Ok(found)
}

/// Packets that are not played.
#[derive(Default)]
struct Left {
    count: u32,
    first: u32,
}

impl Left {
    fn add(&mut self, number: u32) {
        if self.count == 0 {
            self.first = number;
        }
        self.count += 1;
    }

    fn note(&self, what: &str, advice: &str) -> Option<String> {
        let Self { count, first } = self;
        (*count > 0).then(|| {
            format!(
                "packets that {what} are left out: {count}, the first is number {first}; {advice}"
            )
        })
    }
}

/// The SSRC of a packet of RTP; `None` for anything else.
fn ssrc(payload: &[u8]) -> Option<u32> {
    let header = payload.first_chunk::<RTP_HEADER>()?;
    let is_version_2 = header[0] >> 6 == 2;
    // RFC 5761 section 4: these are types of RTCP.
    let is_rtcp = (192..=223).contains(&header[1]);
    (is_version_2 && !is_rtcp && media_offset(payload).is_some())
        .then(|| u32::from_be_bytes([header[8], header[9], header[10], header[11]]))
}

/// Offset of the media in a packet of RTP, behind sources and extension.
fn media_offset(packet: &[u8]) -> Option<usize> {
    let sources = usize::from(packet[0] & 15) * 4;
    let mut offset = RTP_HEADER + sources;
    if packet[0] & 0x10 != 0 {
        let words = packet.get(offset + 2..offset + 4)?;
        offset += 4 + usize::from(u16::from_be_bytes([words[0], words[1]])) * 4;
    }
    (offset <= packet.len()).then_some(offset)
}

/// The stream with the most packets; the first of those that have as many.
fn largest_stream(datagrams: &[Datagram<'_>]) -> Option<u32> {
    let mut counts: HashMap<u32, (usize, u32)> = HashMap::new();
    for datagram in datagrams {
        if let Some(ssrc) = ssrc(datagram.payload) {
            counts.entry(ssrc).or_insert((0, datagram.number)).0 += 1;
        }
    }
    let largest = counts.into_iter().max_by_key(|(_, (count, first))| (*count, u32::MAX - first));
    largest.map(|(ssrc, _)| ssrc)
}

/// Keeps the packets of one stream, with notes about the others.
fn keep_stream(datagrams: &mut Vec<Datagram<'_>>, kept: u32, notes: &mut Vec<String>) {
    let (mut others, mut foreign) = (Left::default(), Left::default());
    datagrams.retain(|datagram| {
        let found = ssrc(datagram.payload);
        match found {
            Some(ssrc) if ssrc == kept => {}
            Some(_) => others.add(datagram.number),
            None => foreign.add(datagram.number),
        }
        found == Some(kept)
    });
    let advice = format!(
        "the largest stream is played, SSRC {kept:#010x}; for another one, save it alone with \
         tshark -r in.pcap -Y rtp.ssrc==0x... -w out.pcap"
    );
    notes.extend(others.note("belong to other streams", &advice));
    notes.extend(foreign.note("are no RTP", "only the stream is played"));
}

fn clip(
    datagrams: &[Datagram<'_>],
    content: Content,
    notes: &mut Vec<String>,
) -> Result<Clip, CaptureFault> {
    let size = datagrams.iter().map(|datagram| datagram.payload.len()).sum();
    let mut bytes: Vec<u8> = Vec::with_capacity(size);
    let mut frames: Vec<Frame> = Vec::with_capacity(datagrams.len());
    let mut backwards = Left::default();
    for (at, datagram) in datagrams.iter().enumerate() {
        let next = datagrams.get(at + 1);
        let gap_ns = match next {
            // As long as the one before, for a clip that is played again.
            None => frames.last().map_or(GAP_NS, |frame| frame.gap_ns),
            Some(next) if next.time_ns < datagram.time_ns => {
                backwards.add(next.number);
                0
            }
            Some(next) => pause(datagram, next)?,
        };
        let rtp = (content == Content::Rtp).then_some(datagram.payload);
        let ticks = match next {
            None => frames.last().map_or(0, |frame| frame.ticks),
            Some(next) => rtp.map_or(0, |packet| ticks_between(packet, next.payload)),
        };
        frames.push(Frame {
            // The file has been read into memory, and says lengths in 32 bits.
            offset: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            // UDP says lengths in 16 bits.
            len: datagram.payload.len() as u16,
            marker: rtp.is_some_and(|packet| packet[1] & 0x80 != 0),
            payload_type: rtp.map(|packet| packet[1] & 0x7f),
            gap_ns,
            ticks,
        });
        bytes.extend(datagram.payload);
    }
    notes.extend(backwards.note("are older than the one before", "those are sent at once"));
    let is_rtp = content == Content::Rtp;
    let encoding = frames[0].payload_type.and_then(Encoding::by_static_payload_type);
    Ok(Clip {
        bytes: bytes.into(),
        frames: frames.into(),
        content,
        clock_rate: encoding.map_or(8000, |encoding| encoding.clock_rate),
        is_silent: is_rtp && datagrams.iter().all(|datagram| is_silent(datagram.payload)),
        pattern: None,
        is_marked: false,
    })
}

fn pause(datagram: &Datagram<'_>, next: &Datagram<'_>) -> Result<u64, CaptureFault> {
    let gap_ns = next.time_ns - datagram.time_ns;
    if gap_ns > PAUSE_MAX_NS {
        let seconds = gap_ns / 1_000_000_000;
        return Err(CaptureFault::Pause { packet: next.number, seconds });
    }
    Ok(gap_ns)
}

/// Advance of the timestamp between two packets of RTP; 0 if the second one is the older.
fn ticks_between(packet: &[u8], next: &[u8]) -> u32 {
    let timestamp =
        |packet: &[u8]| u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
    let ticks = timestamp(next).wrapping_sub(timestamp(packet));
    if ticks > i32::MAX as u32 { 0 } else { ticks }
}

/// Tells whether a packet is known to be silent. What cannot be listened to is not.
fn is_silent(packet: &[u8]) -> bool {
    let encoding = Encoding::by_static_payload_type(packet[1] & 0x7f);
    let Some(offset) = media_offset(packet) else { return false };
    let square = encoding.and_then(|encoding| match encoding.name {
        "PCMU" | "PCMA" => Listener::new(encoding).mean_square(&packet[offset..]),
        _ => None,
    });
    square.is_some_and(|square| square < AUDIBLE_MEAN_SQUARE)
}

#[cfg(test)]
mod tests;

//! Copies of what streams send and receive, for recordings: as compact bytes, which another thread
//! turns into files.
//!
//! The media of a worker appends [`Entry`]s to its [`Tap`], and the worker hands the bytes on once
//! per turn. What finds no room is lost and counted; a worker never waits for a disk.

use std::net::{IpAddr, SocketAddr};

use crate::sip::{ENCODINGS, Encoding};

/// Most bytes of copies in one turn, beyond which packets are lost.
const TURN_BYTES: usize = 1 << 20;
/// Bytes that are left for the begin and the end of recordings.
const RESERVE_BYTES: usize = 64 << 10;
/// Bytes of the length with which each entry begins.
const LENGTH: usize = 4;
/// Bytes of a packet's entry beside its datagram.
const PACKET_BYTES_MAX: usize = LENGTH + 64;

/// The form of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// WAV of what the peer sends.
    Mono,
    /// WAV of both sides: ours is left, and the peer's is right.
    Duplex,
    /// All datagrams, as pcapng.
    Capture,
}

impl Form {
    const ALL: [Self; 3] = [Self::Mono, Self::Duplex, Self::Capture];
}

/// The cause of a recording; a call has at most one for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Origin {
    /// An action of the scenario.
    Action,
    /// The setting of the run for audio.
    Audio,
    /// The setting of the run for packets.
    Packets,
}

impl Origin {
    /// All causes, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Action, Self::Audio, Self::Packets];
}

/// The beginning of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin<'b> {
    /// The leg, unique among those that are open.
    pub leg: u32,
    /// The cause.
    pub origin: Origin,
    /// The form.
    pub form: Form,
    /// The number of the call.
    pub call: u64,
    /// True if a client sent the scenario: the file stays within the folder for results.
    pub is_sent: bool,
    /// The time on the monotonic clock.
    pub at_ns: u64,
    /// The file; empty for a name after the call's number.
    pub name: &'b [u8],
}

/// A datagram of a stream, as it was before protection or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied<'b> {
    /// The leg.
    pub leg: u32,
    /// The time on the monotonic clock at which it came or was given to the system.
    pub at_ns: u64,
    /// True if we sent it.
    pub is_sent: bool,
    /// True for the track of video.
    pub is_video: bool,
    /// The meaning of its payload, if it is RTP and that is known.
    pub encoding: Option<&'static Encoding>,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The datagram.
    pub bytes: &'b [u8],
}

/// An entry of a tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'b> {
    /// A recording begins.
    Begin(Begin<'b>),
    /// A datagram, for all recordings of its leg.
    Packet(Copied<'b>),
    /// A recording ends.
    End {
        /// The leg.
        leg: u32,
        /// The cause of the recording.
        origin: Origin,
        /// True if the file is to be kept.
        is_kept: bool,
    },
}

/// Collector of the copies of a worker between two turns.
#[derive(Debug, Default)]
pub struct Tap {
    buffer: Vec<u8>,
    /// Packets lost so far for want of room here or in the queue behind, and recordings whose begin
    /// was.
    pub dropped: u64,
}

impl Tap {
    /// A tap with memory for a turn.
    pub fn new() -> Self {
        Self { buffer: Vec::with_capacity(TURN_BYTES), dropped: 0 }
    }

    /// Appends an entry, or counts it as lost if there is no room.
    pub fn push(&mut self, entry: &Entry<'_>) {
        let (len, room) = match entry {
            Entry::Packet(packet) => (packet.bytes.len(), TURN_BYTES - RESERVE_BYTES),
            Entry::Begin(begin) => (begin.name.len(), TURN_BYTES),
            Entry::End { .. } => (0, TURN_BYTES),
        };
        if self.buffer.len() + len + PACKET_BYTES_MAX > room {
            self.dropped += 1;
            return;
        }
        encode(entry, &mut self.buffer);
    }

    /// Hands the entries on in pieces of whole ones. `push` takes all of a piece or refuses it. Of
    /// a refused piece packets are lost and counted, and others are tried again the next time.
    pub fn hand_on(&mut self, mut push: impl FnMut(&[u8]) -> bool) {
        if self.buffer.is_empty() || push(&self.buffer) {
            return self.buffer.clear();
        }
        let (mut at, mut kept) = (0, 0);
        while let Some(len) = entry_len(&self.buffer[at..]) {
            let (entry, is_packet) = (at..at + len, self.buffer[at + LENGTH] == PACKET);
            at += len;
            if push(&self.buffer[entry.clone()]) {
                continue;
            }
            if is_packet {
                self.dropped += 1;
            } else {
                self.buffer.copy_within(entry, kept);
                kept += len;
            }
        }
        self.buffer.truncate(kept);
    }
}

const BEGIN: u8 = 0;
const PACKET: u8 = 1;
const END: u8 = 2;

/// Length of the first entry in `bytes`, if it is whole.
fn entry_len(bytes: &[u8]) -> Option<usize> {
    let len = u32::from_le_bytes(*bytes.first_chunk::<LENGTH>()?) as usize;
    (len > LENGTH && len <= bytes.len()).then_some(len)
}

/// Appends an entry: length, kind, and what the kind has. All numbers are little-endian, and the
/// bytes of a datagram or name reach to the end.
fn encode(entry: &Entry<'_>, out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(&[0; LENGTH]);
    match entry {
        Entry::Begin(begin) => {
            out.extend_from_slice(&[BEGIN, begin.origin as u8, begin.form as u8]);
            out.push(u8::from(begin.is_sent));
            out.extend_from_slice(&begin.leg.to_le_bytes());
            out.extend_from_slice(&begin.call.to_le_bytes());
            out.extend_from_slice(&begin.at_ns.to_le_bytes());
            out.extend_from_slice(begin.name);
        }
        Entry::Packet(packet) => {
            let known = |encoding: &Encoding| ENCODINGS.iter().position(|one| one == encoding);
            let encoding = packet.encoding.and_then(known).map_or(0, |place| place as u8 + 1);
            out.extend_from_slice(&[PACKET, packet.is_sent.into(), packet.is_video.into()]);
            out.push(encoding);
            out.extend_from_slice(&packet.leg.to_le_bytes());
            out.extend_from_slice(&packet.at_ns.to_le_bytes());
            put_address(packet.local, out);
            put_address(packet.remote, out);
            out.extend_from_slice(packet.bytes);
        }
        Entry::End { leg, origin, is_kept } => {
            out.extend_from_slice(&[END, *origin as u8, u8::from(*is_kept)]);
            out.extend_from_slice(&leg.to_le_bytes());
        }
    }
    let len = (out.len() - begin) as u32;
    out[begin..begin + LENGTH].copy_from_slice(&len.to_le_bytes());
}

fn put_address(address: SocketAddr, out: &mut Vec<u8>) {
    match address.ip() {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&address.port().to_le_bytes());
}

/// The entries in a run of bytes, in order. An incomplete one ends them: the queue that carries
/// entries carries whole ones only.
#[derive(Clone, Debug)]
pub struct Entries<'b> {
    bytes: &'b [u8],
}

impl<'b> Entries<'b> {
    /// The entries in `bytes`.
    pub fn new(bytes: &'b [u8]) -> Self {
        Self { bytes }
    }

    /// The bytes of which no entry was made yet.
    pub fn rest(&self) -> &'b [u8] {
        self.bytes
    }
}

impl<'b> Iterator for Entries<'b> {
    type Item = Entry<'b>;

    fn next(&mut self) -> Option<Entry<'b>> {
        let (entry, rest) = self.bytes.split_at_checked(entry_len(self.bytes)?)?;
        self.bytes = rest;
        decode(&mut Reader(&entry[LENGTH..]))
    }
}

fn decode<'b>(reader: &mut Reader<'b>) -> Option<Entry<'b>> {
    match reader.byte()? {
        BEGIN => {
            let origin = *Origin::ALL.get(usize::from(reader.byte()?))?;
            let form = *Form::ALL.get(usize::from(reader.byte()?))?;
            let is_sent = reader.byte()? != 0;
            let leg = u32::from_le_bytes(reader.array()?);
            let call = u64::from_le_bytes(reader.array()?);
            let at_ns = u64::from_le_bytes(reader.array()?);
            let name = reader.0;
            Some(Entry::Begin(Begin { leg, origin, form, call, is_sent, at_ns, name }))
        }
        PACKET => {
            let (is_sent, is_video) = (reader.byte()? != 0, reader.byte()? != 0);
            let encoding = usize::from(reader.byte()?).checked_sub(1);
            let encoding = encoding.and_then(|place| ENCODINGS.get(place));
            let leg = u32::from_le_bytes(reader.array()?);
            let at_ns = u64::from_le_bytes(reader.array()?);
            let (local, remote) = (reader.address()?, reader.address()?);
            let bytes = reader.0;
            let packet = Copied { leg, at_ns, is_sent, is_video, encoding, local, remote, bytes };
            Some(Entry::Packet(packet))
        }
        _ => {
            let origin = *Origin::ALL.get(usize::from(reader.byte()?))?;
            let is_kept = reader.byte()? != 0;
            let leg = u32::from_le_bytes(reader.array()?);
            Some(Entry::End { leg, origin, is_kept })
        }
    }
}

struct Reader<'b>(&'b [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn address(&mut self) -> Option<SocketAddr> {
        let ip = match self.byte()? {
            4 => IpAddr::from(self.array::<4>()?),
            _ => IpAddr::from(self.array::<16>()?),
        };
        Some(SocketAddr::new(ip, u16::from_le_bytes(self.array()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry<'static>> {
        let begin = Begin {
            leg: 7,
            origin: Origin::Packets,
            form: Form::Capture,
            call: u64::MAX,
            is_sent: true,
            at_ns: 99,
            name: b"a.wav",
        };
        let packet = Copied {
            leg: 7,
            at_ns: 100,
            is_sent: true,
            is_video: false,
            encoding: Encoding::by_name("PCMA"),
            local: "192.0.2.1:4000".parse().unwrap(),
            remote: "[2001:db8::1]:5000".parse().unwrap(),
            bytes: b"datagram",
        };
        let received = Copied { is_sent: false, is_video: true, encoding: None, ..packet };
        vec![
            Entry::Begin(begin),
            Entry::Packet(packet),
            Entry::Packet(Copied { bytes: &[], ..received }),
            Entry::End { leg: 7, origin: Origin::Audio, is_kept: true },
        ]
    }

    #[test]
    fn entries_come_back_as_they_went() {
        let mut tap = Tap::new();
        entries().iter().for_each(|entry| tap.push(entry));
        let mut queue = Vec::new();
        tap.hand_on(|bytes| {
            queue.extend_from_slice(bytes);
            true
        });
        assert_eq!(Entries::new(&queue).collect::<Vec<_>>(), entries());
        assert!(tap.buffer.is_empty());
        // A cut entry ends them.
        let mut cut = Entries::new(&queue[..queue.len() - 1]);
        assert_eq!(cut.by_ref().count(), 3);
        assert!(!cut.rest().is_empty());
    }

    #[test]
    fn a_full_queue_costs_packets_and_no_begin_or_end() {
        let mut tap = Tap::new();
        entries().iter().for_each(|entry| tap.push(entry));
        tap.hand_on(|_| false);
        assert_eq!(tap.dropped, 2);
        let mut queue = Vec::new();
        tap.hand_on(|bytes| {
            queue.extend_from_slice(bytes);
            true
        });
        assert_eq!(Entries::new(&queue).collect::<Vec<_>>(), [entries()[0], entries()[3]]);
    }

    #[test]
    fn a_turn_has_a_bounded_number_of_bytes_and_room_for_the_end() {
        let mut tap = Tap::new();
        let Entry::Packet(packet) = entries()[1] else { panic!("it is a packet") };
        let packet = Entry::Packet(Copied { bytes: &[1; 1400], ..packet });
        for _ in 0..2000 {
            tap.push(&packet);
        }
        tap.push(&entries()[3]);
        assert!(tap.buffer.len() <= TURN_BYTES && tap.buffer.capacity() == TURN_BYTES);
        let kept = Entries::new(&tap.buffer).count() as u64;
        assert_eq!(kept + tap.dropped, 2001);
        assert_eq!(Entries::new(&tap.buffer).last(), Some(entries()[3]));
    }
}

//! The sending half of a stream: its source, its place in it, and the numbers of its packets.
//!
//! The plan is absolute: each packet's time is that of the one before and the gap of the source,
//! however late the one before left. Sequence numbers go on over every change of the source, and
//! the timestamp goes on with time (RFC 3550 section 5.1).

use std::sync::Arc;

use super::clip::{Clip, ClipSet, Content, Frame};
use super::command::{Agreed, MediaFault};
use super::digits::{EventPacket, EventPackets};
use super::rtp::{HEADER_LEN, Header, HeaderMut};
use super::schedule::TICK_NS;
use super::watermark::Watermark;

/// A stream that is further behind its plan goes on at the present. No jitter buffer waits for so
/// long, and a worker that was stalled must not send all of the past at once.
pub(super) const BEHIND_MAX_NS: u64 = 200_000_000;
/// Time between two packets over which streams are spread if a source does not say.
const SPREAD_MS: u64 = 20;
/// Payload type of telephone events where none was negotiated: that of most offers.
const EVENT_PAYLOAD_TYPE: u8 = 101;

/// A clip that plays.
#[derive(Clone, Debug)]
struct Playing {
    clips: Arc<ClipSet>,
    /// The clip of the encoding that is sent.
    clip: u16,
    /// The next packet.
    frame: u32,
    /// Times that the clip is still to be played, this one included; `None` without end.
    loops: Option<u32>,
    stop_ns: u64,
    /// The payload type and the encoding that the command gave.
    fixed_type: Option<u8>,
    fixed_encoding: Option<&'static str>,
    /// The payload type that is sent.
    payload_type: u8,
    is_paused: bool,
}

/// Digits that are sent in place of the audio while they last.
#[derive(Clone, Debug)]
struct Digits {
    digits: Box<[u8]>,
    /// The digit that is sent.
    at: usize,
    digit_ms: u16,
    pause_ms: u16,
    fixed_type: Option<u8>,
    packets: EventPackets,
    /// The packet to send next.
    next: EventPacket,
}

/// A packet that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// Length of the datagram.
    pub(super) len: usize,
    /// Octets of the payload.
    pub(super) payload: usize,
    /// True if it is RTP.
    pub(super) is_rtp: bool,
    /// True if it ends a digit.
    pub(super) ends_digit: bool,
    /// Number of the check pattern that it carries.
    pub(super) pattern: Option<u8>,
    /// The name of the encoding of its payload; `None` if it is no RTP.
    pub(super) encoding: Option<&'static str>,
    /// True if the source ended with it.
    pub(super) has_ended: bool,
}

/// The sending half of a stream.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) ssrc: u32,
    /// The sequence number of the next packet.
    sequence: u16,
    /// The timestamp at the time `clock_ns` of the plan.
    timestamp: u32,
    clock_ns: u64,
    /// The sender whose watermarks the stream hears; 0 for none.
    pub(super) hears: u32,
    /// The planned time of the next packet.
    pub(super) planned_ns: u64,
    playing: Option<Playing>,
    digits: Option<Box<Digits>>,
    /// True if the next packet of audio is the first after silence.
    begins_talk: bool,
    /// RTP packets sent.
    pub(super) packets: u64,
    /// RTP payload octets sent.
    pub(super) octets: u64,
    /// True if anything that is sent can be heard.
    pub(super) was_audible: bool,
}

/// A command to play.
#[derive(Clone, Debug)]
pub(super) struct Play {
    pub(super) clips: Arc<ClipSet>,
    pub(super) loops: Option<u32>,
    pub(super) stop_after_ns: Option<u64>,
    pub(super) payload_type: Option<u8>,
    pub(super) encoding: Option<&'static str>,
}

impl Sender {
    /// A sender whose numbers come from `random`.
    pub(super) fn new(ssrc: u32, random: u64, now: u64) -> Self {
        Self {
            ssrc,
            // RFC 3550 section 5.1: both begin at random. A sequence that wraps at once would be a
            // trap for receivers that count from its first packet (RFC 3711 section 3.3.1).
            sequence: (random as u16) & 0x7fff,
            timestamp: (random >> 32) as u32,
            clock_ns: now,
            hears: 0,
            planned_ns: now,
            playing: None,
            digits: None,
            begins_talk: true,
            packets: 0,
            octets: 0,
            was_audible: false,
        }
    }

    /// True if there is something to send, if the stream may.
    pub(super) fn wants_time(&self) -> bool {
        self.digits.is_some() || self.playing.as_ref().is_some_and(|playing| !playing.is_paused)
    }

    /// True while a source plays, also one that is held.
    pub(super) fn plays(&self) -> bool {
        self.playing.is_some()
    }

    /// Plays a clip from its beginning, in place of what plays.
    pub(super) fn play(
        &mut self,
        play: Play,
        agreed: Option<Agreed>,
        default_type: Option<u8>,
        now: u64,
    ) -> Result<(), MediaFault> {
        let Play { clips, loops, stop_after_ns, payload_type, encoding } = play;
        let mut playing = Playing {
            clips,
            clip: 0,
            frame: 0,
            loops,
            stop_ns: stop_after_ns.map_or(u64::MAX, |after_ns| now.saturating_add(after_ns)),
            fixed_type: payload_type,
            fixed_encoding: encoding,
            payload_type: 0,
            is_paused: false,
        };
        playing.choose(agreed, default_type)?;
        let clip = playing.clip();
        if clip.frames.is_empty() || loops == Some(0) {
            return Err(MediaFault::NoClip);
        }
        self.begins_talk = true;
        self.playing = Some(playing);
        Ok(())
    }

    /// Takes the encoding that was negotiated anew. What plays goes on at the same time in it.
    pub(super) fn renegotiate(&mut self, agreed: Option<Agreed>, default_type: Option<u8>) {
        let Some(playing) = &mut self.playing else { return };
        let (clip, frame) = (playing.clip, playing.frame);
        // A set that does not have the new encoding goes on in the old one.
        if playing.choose(agreed, default_type).is_ok() && playing.clip != clip {
            let before = &playing.clips.clips[usize::from(clip)].1;
            let past = before.frames.iter().take(frame as usize);
            let elapsed_ns: u64 = past.map(|frame| frame.gap_ns).sum();
            playing.frame = frame_at(playing.clip(), elapsed_ns);
            self.begins_talk = true;
        }
    }

    /// True if what plays is a check pattern in the encoding that is sent.
    pub(super) fn plays_pattern(&self) -> bool {
        self.playing.as_ref().is_some_and(|playing| playing.clip().pattern.is_some())
    }

    /// Holds what plays, or goes on with it.
    pub(super) fn pause(&mut self, is_paused: bool) {
        if let Some(playing) = &mut self.playing {
            self.begins_talk |= playing.is_paused && !is_paused;
            playing.is_paused = is_paused;
        }
    }

    /// Ends what plays, and digits.
    pub(super) fn stop(&mut self) {
        self.playing = None;
        self.digits = None;
    }

    /// Sends digits. Digits that are being sent are left to their end only as far as the one that
    /// has begun.
    pub(super) fn dial(
        &mut self,
        digits: Box<[u8]>,
        (digit_ms, pause_ms): (u16, u16),
        fixed_type: Option<u8>,
    ) -> Result<(), MediaFault> {
        let clock_rate = self.clock_rate();
        if !digits.iter().all(|&digit| super::digits::event_of(digit).is_some()) {
            return Err(MediaFault::NoClip);
        }
        let first = digits.first().ok_or(MediaFault::NoClip)?;
        let mut packets =
            EventPackets::new(*first, digit_ms, pause_ms, clock_rate).ok_or(MediaFault::NoClip)?;
        let next = packets.next().ok_or(MediaFault::NoClip)?;
        let digits = Digits { digits, at: 0, digit_ms, pause_ms, fixed_type, packets, next };
        self.digits = Some(Box::new(digits));
        Ok(())
    }

    /// The clock rate of what plays, or that of telephone events.
    pub(super) fn clock_rate(&self) -> u32 {
        self.playing.as_ref().map_or(8000, |playing| playing.clip().clock_rate.max(1))
    }

    /// Plans the first packet after a time without any: at the stream's own phase, so that streams
    /// are spread evenly over the interval.
    pub(super) fn begin(&mut self, row: u32, now: u64) {
        let spread_ms = match &self.playing {
            Some(playing) => (playing.frame().gap_ns / TICK_NS).clamp(1, SPREAD_MS),
            None => SPREAD_MS,
        };
        let tick = now.div_ceil(TICK_NS);
        let ahead = (u64::from(row) + spread_ms - tick % spread_ms) % spread_ms;
        self.planned_ns = (tick + ahead) * TICK_NS;
        self.begins_talk = true;
        self.follow_time();
    }

    /// Lets the timestamp go on to the planned time.
    fn follow_time(&mut self) {
        let elapsed_ns = self.planned_ns.saturating_sub(self.clock_ns);
        let ticks = u128::from(elapsed_ns) * u128::from(self.clock_rate()) / 1_000_000_000;
        self.timestamp = self.timestamp.wrapping_add(ticks as u32);
        self.clock_ns = self.planned_ns;
    }

    /// Leaves out what should have been sent long before `now`. Returns the number of packets.
    pub(super) fn catch_up(&mut self, now: u64) -> u64 {
        if self.planned_ns + BEHIND_MAX_NS >= now {
            return 0;
        }
        let gap_ns = match (&self.digits, &self.playing) {
            (None, Some(playing)) => playing.frame().gap_ns.max(TICK_NS),
            _ => SPREAD_MS * TICK_NS,
        };
        let skipped = (now - self.planned_ns) / gap_ns;
        self.planned_ns += skipped * gap_ns;
        self.follow_time();
        self.begins_talk = true;
        skipped
    }

    /// The length of the next datagram.
    pub(super) fn next_len(&self) -> usize {
        match (&self.digits, &self.playing) {
            (Some(_), _) => HEADER_LEN + 4,
            (None, Some(playing)) => {
                let header =
                    if playing.clip().content == Content::Payload { HEADER_LEN } else { 0 };
                header + usize::from(playing.frame().len)
            }
            (None, None) => 0,
        }
    }

    /// Writes the next datagram into `out` and goes on to the one after it. `None` if there is
    /// nothing to send, or no room.
    pub(super) fn next_packet(&mut self, events: Option<u8>, out: &mut [u8]) -> Option<Sent> {
        if self.playing.as_ref().is_some_and(|playing| self.planned_ns >= playing.stop_ns) {
            self.playing = None;
            return self.digits.is_none().then_some(Sent::END);
        }
        let sent = match &self.digits {
            Some(_) => self.next_event(events, out),
            None => self.next_frame(out),
        }?;
        if sent.is_rtp {
            self.packets += 1;
            self.octets += sent.payload as u64;
        }
        Some(sent)
    }

    fn next_event(&mut self, negotiated: Option<u8>, out: &mut [u8]) -> Option<Sent> {
        let clock_rate = self.clock_rate();
        let digits = self.digits.as_mut()?;
        let packet = digits.next;
        let payload_type = digits.fixed_type.or(negotiated).unwrap_or(EVENT_PAYLOAD_TYPE);
        let out = out.get_mut(..HEADER_LEN + packet.payload.len())?;
        let (header, payload) = out.split_first_chunk_mut()?;
        payload.copy_from_slice(&packet.payload);
        Header {
            payload_type,
            marker: packet.marker,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        }
        .write(header);
        self.sequence = self.sequence.wrapping_add(1);
        self.planned_ns += packet.gap_ns;
        let next = digits.packets.next();
        let ends_digit = next.is_none();
        let mut has_ended = false;
        match next.or_else(|| digits.next_digit(clock_rate)) {
            Some(next) => digits.next = next,
            None => {
                self.digits = None;
                self.begins_talk = true;
                has_ended = self.playing.is_none();
            }
        }
        if ends_digit {
            self.timestamp = self.timestamp.wrapping_add(packet.ticks);
            self.clock_ns = self.planned_ns;
        }
        Some(Sent {
            len: HEADER_LEN + 4,
            payload: 4,
            is_rtp: true,
            ends_digit,
            pattern: None,
            encoding: Some("telephone-event"),
            has_ended,
        })
    }

    fn next_frame(&mut self, out: &mut [u8]) -> Option<Sent> {
        let playing = self.playing.as_mut()?;
        let missing = playing.missing();
        let (name, clip) = &playing.clips.clips[usize::from(playing.clip)];
        let (name, clip): (&'static str, &Clip) = (*name, clip);
        let frame = clip.frames[playing.frame as usize];
        let bytes = clip.payload(&frame);
        let (len, payload) = match clip.content {
            Content::Payload => {
                let out = out.get_mut(..HEADER_LEN + bytes.len())?;
                let (header, payload) = out.split_first_chunk_mut()?;
                payload.copy_from_slice(bytes);
                if clip.is_marked {
                    Watermark { sender: self.ssrc, hears: self.hears }.write(payload);
                }
                Header {
                    payload_type: frame.payload_type.unwrap_or(playing.payload_type),
                    marker: frame.marker || self.begins_talk,
                    sequence: self.sequence,
                    timestamp: self.timestamp,
                    ssrc: self.ssrc,
                }
                .write(header);
                (HEADER_LEN + bytes.len(), bytes.len())
            }
            Content::Rtp => {
                let out = out.get_mut(..bytes.len())?;
                out.copy_from_slice(bytes);
                let mut header = HeaderMut::of(out)?;
                // Packets that the capture lost are missing in the replay, too.
                self.sequence = self.sequence.wrapping_add(missing);
                header.set_sequence(self.sequence);
                header.set_timestamp(self.timestamp);
                header.set_ssrc(self.ssrc);
                (bytes.len(), bytes.len() - HEADER_LEN)
            }
            Content::Datagram => {
                out.get_mut(..bytes.len())?.copy_from_slice(bytes);
                (bytes.len(), bytes.len())
            }
        };
        let is_rtp = clip.content != Content::Datagram;
        let (pattern, encoding) = (clip.pattern, Some(name).filter(|_| is_rtp));
        self.was_audible |= !clip.is_silent;
        self.sequence = self.sequence.wrapping_add(u16::from(is_rtp));
        self.begins_talk = false;
        self.planned_ns += frame.gap_ns;
        self.timestamp = self.timestamp.wrapping_add(frame.ticks);
        self.clock_ns = self.planned_ns;
        let has_ended = !playing.go_on();
        if has_ended {
            self.playing = None;
        }
        Some(Sent { len, payload, is_rtp, ends_digit: false, pattern, encoding, has_ended })
    }

    /// The timestamp at the time `now`, for sender reports.
    pub(super) fn timestamp_at(&self, now: u64) -> u32 {
        let rate = u128::from(self.clock_rate());
        let ticks = |ns: u64| (u128::from(ns) * rate / 1_000_000_000) as u32;
        match now >= self.clock_ns {
            true => self.timestamp.wrapping_add(ticks(now - self.clock_ns)),
            false => self.timestamp.wrapping_sub(ticks(self.clock_ns - now)),
        }
    }

    /// Sends a received packet back: writes it into `out` with our SSRC. Sequence and timestamp
    /// stay the peer's, so that it can measure the whole way; our own go on behind them.
    /// A protected stream keeps its own sequence: SRTP uses no number twice with one key.
    pub(super) fn echo(
        &mut self,
        packet: &[u8],
        header: &Header,
        octets: usize,
        out: &mut [u8],
        (now, is_protected): (u64, bool),
    ) -> bool {
        let Some(out) = out.get_mut(..packet.len()) else { return false };
        out.copy_from_slice(packet);
        let Some(mut written) = HeaderMut::of(out) else { return false };
        written.set_ssrc(self.ssrc);
        if is_protected {
            written.set_sequence(self.sequence);
        } else {
            self.sequence = header.sequence;
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = header.timestamp;
        self.clock_ns = now;
        self.packets += 1;
        self.octets += octets as u64;
        true
    }
}

impl Sent {
    /// Nothing was sent, because the source's time is over.
    const END: Self = Self {
        len: 0,
        payload: 0,
        is_rtp: false,
        ends_digit: false,
        pattern: None,
        encoding: None,
        has_ended: true,
    };
}

impl Playing {
    fn clip(&self) -> &Clip {
        &self.clips.clips[usize::from(self.clip)].1
    }

    fn frame(&self) -> &Frame {
        &self.clip().frames[self.frame as usize]
    }

    /// Chooses the clip and the payload type.
    fn choose(
        &mut self,
        agreed: Option<Agreed>,
        default_type: Option<u8>,
    ) -> Result<(), MediaFault> {
        let clips = &self.clips.clips;
        let find =
            |name: &str| clips.iter().position(|(known, _)| known.eq_ignore_ascii_case(name));
        let place = match self.fixed_encoding {
            Some(name) => find(name).ok_or(MediaFault::NoClip)?,
            None => agreed.and_then(|agreed| find(agreed.encoding)).unwrap_or(0),
        };
        let (name, _) = clips.get(place).ok_or(MediaFault::NoClip)?;
        let negotiated = agreed
            .filter(|agreed| agreed.encoding.eq_ignore_ascii_case(name))
            .map(|a| a.payload_type);
        let own = || crate::sip::Encoding::by_name(name).map(|known| known.payload_type);
        self.clip = place as u16;
        let payload_type = self.fixed_type.or(negotiated).or(default_type).or_else(own);
        self.payload_type = payload_type.unwrap_or(0);
        Ok(())
    }

    /// Sequence numbers of a capture that are missing before the next packet.
    fn missing(&self) -> u16 {
        let clip = self.clip();
        if clip.content != Content::Rtp {
            return 0;
        }
        let number = |frame: u32| {
            let header = clip.payload(&clip.frames[frame as usize]).first_chunk::<4>();
            header.map_or(0, |header| u16::from_be_bytes([header[2], header[3]]))
        };
        match self.frame {
            0 => 0,
            frame => number(frame).wrapping_sub(number(frame - 1)).wrapping_sub(1),
        }
    }

    /// Goes on to the next packet; `false` if there is none.
    fn go_on(&mut self) -> bool {
        self.frame += 1;
        if (self.frame as usize) < self.clip().frames.len() {
            return true;
        }
        self.frame = 0;
        match &mut self.loops {
            None => true,
            Some(loops) => {
                *loops = loops.saturating_sub(1);
                *loops > 0
            }
        }
    }
}

impl Digits {
    fn next_digit(&mut self, clock_rate: u32) -> Option<EventPacket> {
        self.at += 1;
        let digit = *self.digits.get(self.at)?;
        self.packets = EventPackets::new(digit, self.digit_ms, self.pause_ms, clock_rate)?;
        self.packets.next()
    }
}

/// The packet of `clip` that plays `elapsed_ns` after its beginning.
fn frame_at(clip: &Clip, elapsed_ns: u64) -> u32 {
    let mut time_ns = 0;
    let later = clip.frames.iter().position(|frame| {
        time_ns += frame.gap_ns;
        time_ns > elapsed_ns
    });
    later.unwrap_or(0) as u32
}

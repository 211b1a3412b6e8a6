//! DTMF digits as telephone events (RFC 4733).
//!
//! An event is a row of packets with one timestamp and a growing duration; the last of them is sent
//! three times. The packets of a digit are computed one at a time, so that nothing is allocated.

use super::clip::{Clip, Content, Frame};

/// Time between two packets of an event, in milliseconds.
const UPDATE_MS: u32 = 20;
/// Number of times that the end of an event is sent (RFC 4733 section 2.5.1.4).
const ENDS: u8 = 3;
/// Power of the tone, in decibels below 1 mW (RFC 4733 section 2.3.3).
const VOLUME: u8 = 10;
const END_BIT: u8 = 0x80;

/// The event of a digit (RFC 4733 section 3.2); `None` for no digit.
pub const fn event_of(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'*' => Some(10),
        b'#' => Some(11),
        b'A'..=b'D' => Some(digit - b'A' + 12),
        b'a'..=b'd' => Some(digit - b'a' + 12),
        _ => None,
    }
}

/// The digit of an event; `None` for an event that is none.
pub const fn digit_of(event: u8) -> Option<u8> {
    match event {
        0..=9 => Some(b'0' + event),
        10 => Some(b'*'),
        11 => Some(b'#'),
        12..=15 => Some(b'A' + event - 12),
        _ => None,
    }
}

/// A packet of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPacket {
    /// The payload.
    pub payload: [u8; 4],
    /// True for the first packet of an event.
    pub marker: bool,
    /// Time to the next packet, in nanoseconds; of the last one, to what comes behind the pause.
    pub gap_ns: u64,
    /// Advance of the RTP timestamp to the next packet: 0 inside an event.
    pub ticks: u32,
}

/// The packets of one digit, in order.
#[derive(Clone, Debug)]
pub struct EventPackets {
    event: u8,
    ticks_per_ms: u32,
    digit_ms: u32,
    pause_ms: u32,
    /// Part of the digit that has been sent.
    sent_ms: u32,
    ends: u8,
}

impl EventPackets {
    /// The packets of `digit`, which lasts `digit_ms` and has a pause of `pause_ms` behind it.
    /// Returns `None` for no digit.
    ///
    /// The end of a digit is repeated in its pause: that lasts 60 ms at least. A duration has
    /// 16 bits: a digit lasts 8 s at most on a clock of 8000 Hz.
    pub fn new(digit: u8, digit_ms: u16, pause_ms: u16, clock_rate: u32) -> Option<Self> {
        let ticks_per_ms = (clock_rate / 1000).max(1);
        Some(Self {
            event: event_of(digit)?,
            ticks_per_ms,
            digit_ms: u32::from(digit_ms).clamp(1, u32::from(u16::MAX) / ticks_per_ms),
            pause_ms: u32::from(pause_ms).max(u32::from(ENDS) * UPDATE_MS),
            sent_ms: 0,
            ends: 0,
        })
    }
}

impl Iterator for EventPackets {
    type Item = EventPacket;

    fn next(&mut self) -> Option<EventPacket> {
        if self.ends == ENDS {
            return None;
        }
        let marker = self.sent_ms == 0;
        self.sent_ms = self.digit_ms.min(self.sent_ms + UPDATE_MS);
        let left_ms = self.digit_ms - self.sent_ms;
        let is_end = left_ms == 0;
        self.ends += u8::from(is_end);
        let is_last = self.ends == ENDS;
        let first_ms = self.digit_ms.min(UPDATE_MS);
        let gap_ms = match is_last {
            // The first packet left at the end of the time that it tells of.
            true => self.pause_ms - u32::from(ENDS - 1) * UPDATE_MS + first_ms,
            false if is_end => UPDATE_MS,
            false => left_ms.min(UPDATE_MS),
        };
        let [high, low] = ((self.sent_ms * self.ticks_per_ms) as u16).to_be_bytes();
        let end = if is_end { END_BIT } else { 0 };
        Some(EventPacket {
            payload: [self.event, end | VOLUME, high, low],
            marker,
            gap_ns: u64::from(gap_ms) * 1_000_000,
            ticks: if is_last { (self.digit_ms + self.pause_ms) * self.ticks_per_ms } else { 0 },
        })
    }
}

/// Digits one after the other; `None` if one of them is no digit, or if there is none.
pub fn clip(digits: &[u8], digit_ms: u16, pause_ms: u16, clock_rate: u32) -> Option<Clip> {
    let (mut bytes, mut frames) = (Vec::new(), Vec::new());
    for &digit in digits {
        for packet in EventPackets::new(digit, digit_ms, pause_ms, clock_rate)? {
            frames.push(Frame {
                offset: u32::try_from(bytes.len()).ok()?,
                len: packet.payload.len() as u16,
                marker: packet.marker,
                payload_type: None,
                gap_ns: packet.gap_ns,
                ticks: packet.ticks,
            });
            bytes.extend(packet.payload);
        }
    }
    (!frames.is_empty()).then(|| Clip {
        bytes: bytes.into(),
        frames: frames.into(),
        content: Content::Payload,
        clock_rate,
        is_silent: true,
        pattern: None,
        is_marked: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked out by hand from RFC 4733 sections 2.3 and 2.5: event, end bit and volume 10,
    /// duration in ticks of 8000 Hz.
    #[test]
    fn the_packets_of_digits_are_those_of_the_rfc() {
        let clip = clip(b"1#", 100, 100, 8000).unwrap();
        let rows: Vec<_> = clip
            .frames
            .iter()
            .map(|frame| {
                let hex: String =
                    clip.payload(frame).iter().map(|byte| format!("{byte:02x}")).collect();
                (hex, frame.marker, frame.gap_ns / 1_000_000, frame.ticks)
            })
            .collect();
        let digit = |event: &str| {
            let row = |rest: &str, marker, gap_ms, ticks| {
                (format!("{event}{rest}"), marker, gap_ms, ticks)
            };
            [
                row("0a00a0", true, 20, 0),
                row("0a0140", false, 20, 0),
                row("0a01e0", false, 20, 0),
                row("0a0280", false, 20, 0),
                row("8a0320", false, 20, 0),
                row("8a0320", false, 20, 0),
                // 200 ms after the first packet comes that of the next digit.
                row("8a0320", false, 80, 1600),
            ]
        };
        assert_eq!(rows, [digit("01"), digit("0b")].concat());
    }

    #[test]
    fn time_and_timestamp_agree_over_a_digit() {
        for (digit_ms, pause_ms, clock) in [(100, 100, 8000), (50, 0, 8000), (7, 60, 48_000)] {
            let packets: Vec<_> =
                EventPackets::new(b'D', digit_ms, pause_ms, clock).unwrap().collect();
            let ns: u64 = packets.iter().map(|packet| packet.gap_ns).sum();
            let ticks: u64 = packets.iter().map(|packet| u64::from(packet.ticks)).sum();
            assert_eq!(ns * u64::from(clock), ticks * 1_000_000_000, "{digit_ms} {pause_ms}");
            let ends = packets.iter().filter(|packet| packet.payload[1] & END_BIT != 0).count();
            assert_eq!((ends, packets[0].marker), (3, true));
            let duration = u32::from(digit_ms) * clock / 1000;
            assert_eq!(packets.last().unwrap().payload[2..], (duration as u16).to_be_bytes());
        }
    }

    #[test]
    fn a_duration_never_wraps() {
        let packets = EventPackets::new(b'0', u16::MAX, 0, 48_000).unwrap();
        let durations: Vec<u16> = packets
            .map(|packet| u16::from_be_bytes([packet.payload[2], packet.payload[3]]))
            .collect();
        assert!(durations.is_sorted());
        assert_eq!(durations.last(), Some(&(1365 * 48)));
    }

    #[test]
    fn digits_and_events_are_each_others_inverse() {
        for event in 0..16 {
            assert_eq!(event_of(digit_of(event).unwrap()), Some(event));
        }
        assert_eq!((digit_of(16), event_of(b'E'), event_of(b'd')), (None, None, Some(15)));
        assert!(clip(b"12E", 100, 100, 8000).is_none() && clip(b"", 100, 100, 8000).is_none());
    }
}

//! Receiver of DTMF digits as telephone events (RFC 4733).

use crate::stats::RtpFault;

use super::super::rtp::Header;

/// The digits of the events 0 to 15 (RFC 4733 section 3.2).
const DIGITS: &[u8; 16] = b"0123456789*#ABCD";

/// The longest duration that a packet can say. A longer event goes on as another one, with the
/// timestamp at which this one ends (RFC 4733 section 2.5.1.3).
const SEGMENT: u32 = 0xffff;

/// The payload of a telephone event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// Number of the event.
    pub event: u8,
    /// True for the packets that end it, of which three are sent.
    pub is_end: bool,
    /// Power of the tone, in dB below 0 dBm0.
    pub volume: u8,
    /// Duration so far, in units of the timestamp.
    pub duration: u16,
}

impl TelephoneEvent {
    /// Reads a payload.
    pub fn parse(payload: &[u8]) -> Result<Self, RtpFault> {
        let &[event, flags, high, low] =
            payload.first_chunk::<4>().ok_or(RtpFault::EventTooShort)?;
        Ok(Self {
            event,
            is_end: flags & 0x80 != 0,
            volume: flags & 0x3f,
            duration: u16::from_be_bytes([high, low]),
        })
    }

    /// The digit; `None` for an event that is none.
    pub fn digit(&self) -> Option<u8> {
        DIGITS.get(usize::from(self.event)).copied()
    }
}

/// Makes digits of packets. All packets of a digit have the same timestamp, so that one of them is
/// enough, whichever gets through.
#[derive(Clone, Copy, Debug, Default)]
pub struct DigitReceiver {
    /// The event that came last.
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    timestamp: u32,
    event: u8,
    has_ended: bool,
}

impl DigitReceiver {
    /// Takes a packet; gives a digit with the first packet of it that comes.
    pub fn receive(&mut self, header: &Header, payload: &[u8]) -> Result<Option<u8>, RtpFault> {
        let event = TelephoneEvent::parse(payload)?;
        let timestamp = header.timestamp;
        let begun = Last { timestamp, event: event.event, has_ended: event.is_end };
        let Some(last) = &mut self.last else {
            self.last = Some(begun);
            return Ok(event.digit());
        };
        let since = timestamp.wrapping_sub(last.timestamp);
        if since == 0 {
            last.has_ended |= event.is_end;
            return Ok(None);
        }
        // A packet of an earlier digit came late. That digit was given with its first packet, or
        // none of its packets came before the next one's.
        if since > u32::MAX / 2 {
            return Ok(None);
        }
        let goes_on = since == SEGMENT && !last.has_ended && last.event == event.event;
        *last = begun;
        Ok(event.digit().filter(|_| !goes_on || header.marker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digits that come out of packets: timestamp, event, end, duration.
    fn digits(packets: &[(u32, u8, bool, u16)]) -> String {
        let mut receiver = DigitReceiver::default();
        let mut digits = String::new();
        let mut last = None;
        for &(timestamp, event, is_end, duration) in packets {
            let [high, low] = duration.to_be_bytes();
            let payload = [event, if is_end { 0x8a } else { 0x0a }, high, low];
            let marker = last.replace(timestamp) != Some(timestamp) && duration < 400;
            let header = Header { marker, timestamp, ..Header::default() };
            digits.extend(receiver.receive(&header, &payload).unwrap().map(char::from));
        }
        digits
    }

    /// A digit of 50 ms, in packets of 20 ms.
    fn digit(timestamp: u32, event: u8) -> Vec<(u32, u8, bool, u16)> {
        let packet = |duration, is_end| (timestamp, event, is_end, duration);
        vec![
            packet(160, false),
            packet(320, false),
            packet(400, true),
            packet(400, true),
            packet(400, true),
        ]
    }

    #[test]
    fn three_end_packets_are_one_digit() {
        assert_eq!(digits(&digit(1_000, 5)), "5");
        let all: Vec<_> =
            (0..16).flat_map(|event| digit(u32::from(event) * 2_000, event)).collect();
        assert_eq!(digits(&all), "0123456789*#ABCD");
        // The same digit twice, across the wrap of the timestamp.
        assert_eq!(digits(&[digit(u32::MAX - 100, 1), digit(2_000, 1)].concat()), "11");
    }

    #[test]
    fn any_one_packet_of_a_digit_is_enough() {
        for lost in 1u32..31 {
            let packets: Vec<_> = (0u8..3)
                .flat_map(|number| digit(u32::from(number) * 2_000, number))
                .enumerate()
                .filter(|(at, _)| lost & 1 << (at % 5) == 0)
                .map(|(_, packet)| packet)
                .collect();
            assert_eq!(digits(&packets), "012", "{lost:05b}");
        }
    }

    #[test]
    fn late_packets_of_a_digit_are_not_another_one() {
        let mut packets = [digit(1_000, 1), digit(3_000, 2)].concat();
        packets.swap(4, 5);
        assert_eq!(digits(&packets), "12");
    }

    #[test]
    fn a_digit_longer_than_a_segment_is_one() {
        let second = 1_000 + SEGMENT;
        let packets = [
            (1_000, 9, false, 160),
            (1_000, 9, false, 0xffff),
            (second, 9, false, 800),
            (second, 9, true, 900),
            (second, 9, true, 900),
        ];
        assert_eq!(digits(&packets), "9");
    }

    #[test]
    fn what_is_no_digit_gives_none() {
        // Flash (RFC 4733 section 3.3), and a tone.
        assert_eq!(digits(&[(1, 16, true, 400), (900, 66, true, 400)]), "");
        let mut receiver = DigitReceiver::default();
        let fault = receiver.receive(&Header::default(), &[1, 2, 3]);
        assert_eq!(fault, Err(RtpFault::EventTooShort));
    }

    /// Events are laid out as in RFC 4733 section 2.3.
    #[test]
    fn an_event_is_read() {
        let event = TelephoneEvent::parse(&[11, 0x80 | 10, 0x03, 0x20, 0xff]).unwrap();
        let expected = TelephoneEvent { event: 11, is_end: true, volume: 10, duration: 800 };
        assert_eq!((event, event.digit()), (expected, Some(b'#')));
    }
}

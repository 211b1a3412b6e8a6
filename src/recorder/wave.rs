//! Samples at their place in time: what is decoded of a stream, in the order of its timestamps.

use crate::media::codec::Listener;
use crate::media::rtp::Packet;
use crate::sip::Encoding;

/// Samples in a second of a recording.
pub(super) const RATE: u64 = 8000;
/// Distance of a stream's timestamps from the times of arrival beyond which they begin anew.
const DRIFT_MAX: i64 = RATE as i64 / 2;
/// Most samples of a packet: 240 ms at 16,000 Hz.
const SAMPLES_MAX: usize = 3840;

/// One direction of a recording.
#[derive(Default)]
pub(super) struct Wave {
    decoder: Option<(&'static Encoding, Listener, Halving)>,
    /// A timestamp, and the place of its sample.
    origin: Option<(u32, i64)>,
}

/// The samples of a packet, from a place on.
pub(super) struct Piece<'s> {
    pub(super) begin: i64,
    pub(super) samples: &'s [i16],
}

/// The outcome for a packet.
pub(super) enum Heard<'s> {
    /// The samples of the packet.
    Piece(Piece<'s>),
    /// Nothing to hear: a digit, or comfort noise.
    Nothing,
    /// An encoding that is not decoded. It stays silent.
    Undecoded,
}

/// Room for the samples of one packet.
pub(super) struct Room([i16; SAMPLES_MAX]);

impl Default for Room {
    fn default() -> Self {
        Self([0; SAMPLES_MAX])
    }
}

impl Wave {
    /// Decodes a packet that came or left `place` samples after the begin of the recording.
    pub(super) fn hear<'s>(
        &mut self,
        packet: &Packet<'_>,
        encoding: Option<&'static Encoding>,
        place: i64,
        Room(room): &'s mut Room,
    ) -> Heard<'s> {
        let by_number = || Encoding::by_static_payload_type(packet.header.payload_type);
        let Some(encoding) = encoding.or_else(by_number) else { return Heard::Undecoded };
        if matches!(encoding.name, "telephone-event" | "CN") {
            return Heard::Nothing;
        }
        if self.decoder.as_ref().is_none_or(|(known, ..)| *known != encoding) {
            self.decoder = Some((encoding, Listener::new(encoding), Halving::default()));
            self.origin = None;
        }
        let Some((_, listener, halving)) = &mut self.decoder else { return Heard::Undecoded };
        let Some(len) = listener.decode(packet.payload, room) else { return Heard::Undecoded };
        let samples = match encoding.sample_rate {
            16_000 => halving.halve(&mut room[..len]),
            _ => &room[..len],
        };
        let begin = follow(&mut self.origin, packet.header.timestamp, encoding, place);
        Heard::Piece(Piece { begin, samples })
    }
}

/// The place of a timestamp, counted from the one before.
fn follow(origin: &mut Option<(u32, i64)>, timestamp: u32, encoding: &Encoding, place: i64) -> i64 {
    let (before, at) = origin.unwrap_or((timestamp, place));
    let ticks = i64::from(timestamp.wrapping_sub(before) as i32);
    let mut begin = at + ticks * RATE as i64 / i64::from(encoding.clock_rate.max(1));
    // Another source, a silence without timestamps, or a clock that is wrong.
    if (begin - place).abs() > DRIFT_MAX {
        begin = place;
    }
    *origin = Some((timestamp, begin));
    begin
}

/// A filter that halves the sample rate: a half-band one with the taps -1, 0, 9, 16, 9, 0, -1.
#[derive(Clone, Copy, Default)]
struct Halving {
    /// The last samples of the packet before.
    past: [i16; 6],
}

impl Halving {
    fn halve<'s>(&mut self, samples: &'s mut [i16]) -> &'s [i16] {
        let count = samples.len() / 2;
        for at in 0..count {
            let [first, second] = [samples[2 * at], samples[2 * at + 1]];
            let [a, _, c, d, e, _] = self.past.map(i32::from);
            let sum = 9 * (c + e) + 16 * d - a - i32::from(first);
            self.past.copy_within(2.., 0);
            (self.past[4], self.past[5]) = (first, second);
            // The place has been read: it lies before the samples that are read next.
            samples[at] = (sum / 32).clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        }
        &samples[..count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halved_rate_keeps_low_tones_and_loses_high_ones() {
        let level = |hz: f64| {
            let sample = |at: usize| {
                (8000.0 * (core::f64::consts::TAU * hz * at as f64 / 16_000.0).sin()) as i16
            };
            let mut samples: Vec<i16> = (0..1600).map(sample).collect();
            let mut halving = Halving::default();
            // In two pieces: the filter goes on over packets.
            let (one, two) = samples.split_at_mut(800);
            let halves = [halving.halve(one).to_vec(), halving.halve(two).to_vec()].concat();
            assert_eq!(halves.len(), 800);
            halves[10..].iter().map(|sample| sample.unsigned_abs()).max().unwrap()
        };
        assert!((7800..=8200).contains(&level(400.0)), "{}", level(400.0));
        assert!(level(7600.0) < 200, "{}", level(7600.0));
    }

    #[test]
    fn a_packet_has_its_place_by_its_timestamp_unless_that_is_wrong() {
        let pcmu = Encoding::by_name("PCMU").unwrap();
        let mut origin = None;
        let mut place = |timestamp, arrival| follow(&mut origin, timestamp, pcmu, arrival);
        assert_eq!(place(u32::MAX - 159, 1000), 1000);
        // Jitter of the network moves nothing, and the timestamp may wrap.
        assert_eq!(place(0, 1400), 1160);
        assert_eq!(place(320, 1300), 1480);
        assert_eq!(place(160, 1500), 1320);
        // A jump begins anew at the time of arrival.
        assert_eq!(place(90_000, 2000), 2000);
        assert_eq!(place(90_160, 2170), 2160);
    }
}

//! Audio that is computed: tones, cadences, silence, patterns, comfort noise.
//!
//! All of it plays in a loop without a click: tones end where they began, and bursts of a cadence
//! rise and fall slowly.

use core::f64::consts::{PI, TAU};

use super::clip::{Clip, packet_samples};
use super::codec::{CannotCode, Encoding, law, level};
use super::watermark::MARKED_BYTES;

/// Level of a tone unless a scenario says another, in dBov. Speech is about as loud.
pub const TONE_DBOV: i8 = -10;
/// Frequency of a tone unless a scenario says another: the European ringing and busy tone
/// (ITU-T E.180).
pub const TONE_HZ: u16 = 425;
/// Level of comfort noise, in decibels below the largest square wave (RFC 3389 section 3.1).
const NOISE_BELOW_DBOV: u8 = 60;
/// Shortest loop for a codec whose payloads depend on the ones before.
const LOOP_SECONDS: usize = 1;
/// Rise and fall of a burst, in milliseconds.
const RAMP_MS: usize = 5;

/// Bytes that the patterns of SIPp repeat; pattern 1 is the first.
const PATTERN_BYTES: [u8; 6] = [0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];

/// A sine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tone {
    /// Frequency in Hertz.
    pub hz: u16,
    /// Level in dBov.
    pub dbov: i8,
}

impl Tone {
    /// `samples` samples at a rate, from a zero crossing on.
    fn samples(self, rate: u32, samples: usize) -> Vec<i16> {
        let amplitude = f64::from(level::sine_amplitude(f32::from(self.dbov)));
        let (hz, rate) = (u64::from(self.hz), u64::from(rate));
        let one = |n: usize| {
            // The period in whole numbers, so that no rounding adds up.
            let phase = (n as u64 * hz % rate) as f64 / rate as f64;
            (amplitude * (TAU * phase).sin()).round() as i16
        };
        (0..samples).map(one).collect()
    }
}

/// A tone in whole packets and whole periods; `None` if it is not coded here.
///
/// # Errors
/// The codec's.
pub fn tone(
    tone: Tone,
    encoding: &'static Encoding,
    ptime_ms: u16,
) -> Result<Option<Clip>, CannotCode> {
    let (rate, packet) = (encoding.sample_rate as usize, packet_samples(encoding, ptime_ms));
    if packet == 0 {
        return Ok(None);
    }
    // As many samples as there are periods in a second of whole Hertz, at most.
    let period = rate / gcd(rate, usize::from(tone.hz).max(1));
    let shortest = period / gcd(period, packet) * packet;
    let len = (LOOP_SECONDS * rate).next_multiple_of(shortest);
    let clip = Clip::coded(encoding, ptime_ms, &tone.samples(encoding.sample_rate, len), true)?;
    Ok(clip.map(|clip| markable(clip, encoding)))
}

/// Lets a clip be marked, if its payloads have a place for watermarks.
fn markable(clip: Clip, encoding: &Encoding) -> Clip {
    let has_room = clip.frames.iter().all(|frame| usize::from(frame.len) >= MARKED_BYTES);
    Clip { is_marked: law(encoding).is_some() && has_room, ..clip }
}

/// Bursts of a tone: on for `on_ms`, then silent for `off_ms`; `None` if it is not coded here. Both
/// are rounded up to whole packets.
///
/// # Errors
/// The codec's.
pub fn cadence(
    tone: Tone,
    on_ms: u16,
    off_ms: u16,
    encoding: &'static Encoding,
    ptime_ms: u16,
) -> Result<Option<Clip>, CannotCode> {
    let (rate, packet) = (encoding.sample_rate as usize, packet_samples(encoding, ptime_ms));
    if packet == 0 {
        return Ok(None);
    }
    let samples_of = |ms: u16| (usize::from(ms) * rate / 1000).next_multiple_of(packet);
    let mut samples = tone.samples(encoding.sample_rate, samples_of(on_ms));
    let (len, ramp) = (samples.len(), RAMP_MS * rate / 1000);
    for (at, sample) in samples.iter_mut().enumerate() {
        let inside = (at.min(len - at) as f64 / ramp as f64).min(1.0);
        let gain = (1.0 - (PI * inside).cos()) / 2.0;
        *sample = (f64::from(*sample) * gain).round() as i16;
    }
    samples.resize(len + samples_of(off_ms), 0);
    let clip = Clip::coded(encoding, ptime_ms, &samples, true)?;
    Ok(clip.map(|clip| markable(clip, encoding)))
}

/// Digital silence; `None` if it is not coded here.
///
/// # Errors
/// The codec's.
pub fn silence(encoding: &'static Encoding, ptime_ms: u16) -> Result<Option<Clip>, CannotCode> {
    Clip::coded(encoding, ptime_ms, &vec![0; packet_samples(encoding, ptime_ms)], true)
}

/// Comfort noise: packets that give a level and no spectrum (RFC 3389 section 3).
pub fn comfort_noise(encoding: &'static Encoding, ptime_ms: u16) -> Option<Clip> {
    Clip::cut(encoding, ptime_ms, &[NOISE_BELOW_DBOV])
}

/// The byte that fills the check pattern `number`, from 1; `None` if there is no such pattern.
pub fn pattern_byte(number: u8) -> Option<u8> {
    PATTERN_BYTES.get(usize::from(number).checked_sub(1)?).copied()
}

/// The check pattern `number`, from 1, filled as SIPp fills it; `None` if there is no such pattern
/// or its encoding has no size.
pub fn pattern(number: u8, encoding: &'static Encoding, ptime_ms: u16) -> Option<Clip> {
    let byte = pattern_byte(number)?;
    let payload = vec![byte; encoding.payload_bytes(ptime_ms)?];
    let clip = Clip::cut(encoding, ptime_ms, &payload)?;
    Some(Clip { pattern: Some(number), ..clip })
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::codec::Listener;

    const TONE: Tone = Tone { hz: TONE_HZ, dbov: TONE_DBOV };

    fn encoding(name: &str) -> &'static Encoding {
        Encoding::by_name(name).unwrap()
    }

    fn samples(clip: &Clip, encoding: &Encoding) -> Vec<i16> {
        let law = law(encoding).unwrap();
        clip.bytes.iter().map(|&code| law.decode(code)).collect()
    }

    #[test]
    fn a_tone_has_its_level_in_every_packet() {
        for name in ["PCMU", "PCMA", "G722"] {
            let encoding = encoding(name);
            let clip = tone(TONE, encoding, 20).unwrap().unwrap();
            assert!(!clip.is_silent && clip.duration_ns() == 1_000_000_000);
            let mut listener = Listener::new(encoding);
            // In the second round, since a decoder of G.722 needs 100 ms to adapt.
            let frames = clip.frames.iter().chain(&clip.frames);
            let levels: Vec<f32> =
                frames.map(|frame| listener.dbov(clip.payload(frame)).unwrap()).collect();
            let is_right = |level: &f32| (level - f32::from(TONE_DBOV)).abs() < 0.3;
            assert!(levels[clip.frames.len()..].iter().all(is_right), "{name}: {levels:?}");
        }
    }

    #[test]
    fn a_tone_goes_on_where_its_loop_begins_again() {
        let pcma = encoding("PCMA");
        for (hz, ptime_ms) in [(425, 20), (440, 20), (1001, 30), (3, 20)] {
            let clip = tone(Tone { hz, dbov: -10 }, pcma, ptime_ms).unwrap().unwrap();
            let samples = samples(&clip, pcma);
            // The first sample is a zero crossing upward, and so is the one behind the last.
            let (last, first, second) = (samples[samples.len() - 1], samples[0], samples[1]);
            assert!(last < first && first < second, "{hz}: {last}, {first}, {second}");
            assert!(samples.len().is_multiple_of(usize::from(ptime_ms) * 8));
        }
    }

    #[test]
    fn a_cadence_is_on_and_off_in_whole_packets() {
        let pcmu = encoding("PCMU");
        let clip = cadence(TONE, 1000, 1990, pcmu, 20).unwrap().unwrap();
        assert_eq!(clip.frames.len(), 50 + 100);
        let law = law(pcmu).unwrap();
        let is_on = |at: usize| law.dbov(clip.payload(&clip.frames[at])) > -20.0;
        let is_off = |at: usize| clip.payload(&clip.frames[at]) == [0xff; 160];
        assert!((0..50).all(is_on) && (50..150).all(is_off));
        // It rises and falls without a click.
        let samples = samples(&clip, pcmu);
        assert!(samples[..8].iter().chain(&samples[7992..8000]).all(|sample| sample.abs() < 1500));
    }

    #[test]
    fn silence_is_silent_in_each_law() {
        let payload = |name| {
            let clip = silence(encoding(name), 20).unwrap().unwrap();
            assert!(clip.is_silent && clip.frames.len() == 1);
            clip.bytes
        };
        assert_eq!(*payload("PCMU"), [0xff; 160]);
        assert_eq!(*payload("PCMA"), [0xd5; 160]);
        assert_eq!(payload("opus").len(), 80);
        assert!(silence(encoding("iLBC"), 30).unwrap().is_none());
    }

    #[test]
    fn comfort_noise_is_a_level_and_not_heard() {
        let clip = comfort_noise(encoding("CN"), 150).unwrap();
        assert_eq!((*clip.bytes).to_vec(), [60]);
        assert!(clip.is_silent);
        assert_eq!((clip.frames[0].gap_ns, clip.frames[0].ticks), (150_000_000, 1200));
    }

    /// SIPp fills audio and video of its patterns with the bytes AA to FF, in packets of a codec.
    #[test]
    fn patterns_are_those_of_sipp() {
        let expected = [(1, 0xaa), (2, 0xbb), (3, 0xcc), (4, 0xdd), (5, 0xee), (6, 0xff)];
        for (number, byte) in expected {
            let audio = pattern(number, encoding("PCMU"), 20).unwrap();
            assert_eq!((&*audio.bytes, audio.pattern), (&[byte; 160][..], Some(number)));
            // Silence of mu-law is one of them.
            assert_eq!(audio.is_silent, byte == 0xff);
            assert_eq!(*pattern(number, encoding("G729"), 20).unwrap().bytes, [byte; 20]);
            assert_eq!(*pattern(number, encoding("iLBC"), 30).unwrap().bytes, [byte; 50]);
            let video = pattern(number, encoding("H264"), 160).unwrap();
            assert_eq!(*video.bytes, [byte; 1280]);
            assert_eq!((video.frames[0].gap_ns, video.frames[0].ticks), (160_000_000, 14_400));
        }
        assert!(pattern(0, encoding("PCMU"), 20).is_none());
        assert!(pattern(7, encoding("PCMU"), 20).is_none());
        assert!(pattern(1, encoding("VP8"), 33).is_none());
    }
}

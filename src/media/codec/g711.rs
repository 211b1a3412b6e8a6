//! G.711, and the level of its payloads.
//!
//! Tables are computed at compile time. Audio has 16 bits; mu-law codes 14 of them and A-law 13.

use super::level;

/// The two laws of G.711.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// PCMU.
    Mu,
    /// PCMA.
    A,
}

impl Law {
    /// The code of digital silence.
    pub const fn silence(self) -> u8 {
        match self {
            Self::Mu => 0xff,
            Self::A => 0xd5,
        }
    }

    /// The code of the interval that a sample lies in.
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Mu => encode_mu(sample),
            Self::A => encode_a(sample),
        }
    }

    /// The sample of a code.
    pub fn decode(self, code: u8) -> i16 {
        self.samples()[usize::from(code)]
    }

    /// Mean square of the samples of a payload, on the scale of 16 bits; 0 for no samples.
    pub fn mean_square(self, payload: &[u8]) -> u32 {
        let squares = match self {
            Self::Mu => &MU_SQUARES,
            Self::A => &A_SQUARES,
        };
        let sum: u64 = payload.iter().map(|&code| u64::from(squares[usize::from(code)])).sum();
        sum.checked_div(payload.len() as u64).unwrap_or(0) as u32
    }

    /// Level of a payload; see [`level::dbov()`].
    pub fn dbov(self, payload: &[u8]) -> f32 {
        level::dbov(self.mean_square(payload))
    }

    fn samples(self) -> &'static [i16; 256] {
        match self {
            Self::Mu => &MU_SAMPLES,
            Self::A => &A_SAMPLES,
        }
    }
}

const MU_SAMPLES: [i16; 256] = samples(Law::Mu);
const A_SAMPLES: [i16; 256] = samples(Law::A);
const MU_SQUARES: [u32; 256] = squares(&MU_SAMPLES);
const A_SQUARES: [u32; 256] = squares(&A_SAMPLES);

/// Added to a magnitude, so that all segments of mu-law begin at a power of two (33 on the scale of
/// 14 bits).
const MU_BIAS: i32 = 33 << 2;
/// Largest magnitude of mu-law, before the bias.
const MU_CLIP: i32 = 8158 << 2;

const fn samples(law: Law) -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = match law {
            Law::Mu => decode_mu(code as u8),
            Law::A => decode_a(code as u8),
        };
        code += 1;
    }
    table
}

const fn squares(samples: &[i16; 256]) -> [u32; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let magnitude = samples[code].unsigned_abs() as u32;
        table[code] = magnitude * magnitude;
        code += 1;
    }
    table
}

/// All bits are sent inverted; the first is the sign, then come segment and interval.
const fn decode_mu(code: u8) -> i16 {
    let bits = !code;
    let segment = (bits >> 4) & 7;
    let interval = (bits & 15) as i32;
    let magnitude = (((interval << 3) + MU_BIAS) << segment) - MU_BIAS;
    if bits & 0x80 == 0 { magnitude as i16 } else { -magnitude as i16 }
}

fn encode_mu(sample: i16) -> u8 {
    let magnitude = i32::from(sample).abs().min(MU_CLIP) + MU_BIAS;
    // The bias has bit 7 set, the largest sum bit 14.
    let segment = magnitude.ilog2() - 7;
    let interval = (magnitude >> (segment + 3)) & 15;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (segment as u8) << 4 | interval as u8)
}

/// Every second bit is sent inverted. The first bit is set for a positive sign.
const fn decode_a(code: u8) -> i16 {
    let bits = code ^ 0x55;
    let segment = (bits >> 4) & 7;
    let interval = ((bits & 15) as i32) << 4;
    let magnitude = match segment {
        0 => interval + 8,
        _ => (interval + 0x108) << (segment - 1),
    };
    if bits & 0x80 != 0 { magnitude as i16 } else { -magnitude as i16 }
}

fn encode_a(sample: i16) -> u8 {
    // No code means zero: -1 lies in the first interval below it.
    let (sign, magnitude) = match sample {
        0.. => (0x80, i32::from(sample)),
        _ => (0, -1 - i32::from(sample)),
    };
    let segment = magnitude.max(1).ilog2().saturating_sub(7);
    let interval = (magnitude >> (segment.max(1) + 3)) & 15;
    (sign | (segment as u8) << 4 | interval as u8) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_recommendation() {
        // G.711 tables 1 and 2: the ends of the scale, and its middle, on 16 bits.
        let mu = |code| Law::Mu.decode(code);
        assert_eq!([0x80, 0x00, 0xff, 0x7f, 0xfe].map(mu), [32124, -32124, 0, 0, 8]);
        // The first code of a segment: 33 << segment, less 33, on the scale of 14 bits.
        assert_eq!([0xef, 0xdf, 0x8f].map(mu), [33 << 2, 99 << 2, (33 * 127) << 2]);
        let a = |code| Law::A.decode(code);
        assert_eq!([0xd5, 0x55, 0xaa, 0x2a, 0xd4].map(a), [8, -8, 32256, -32256, 24]);
    }

    #[test]
    fn every_code_survives_decoding_and_encoding() {
        for law in [Law::Mu, Law::A] {
            for code in 0..=255 {
                // Mu-law has two codes for zero; the negative one is never sent.
                let expected = if law == Law::Mu && code == 0x7f { 0xff } else { code };
                assert_eq!(law.encode(law.decode(code)), expected, "{law:?} {code:#x}");
            }
        }
    }

    /// Decision values lie half an interval off the value of a code, at the ends of segments too.
    #[test]
    fn every_sample_gets_the_code_of_its_interval() {
        for (law, loudest) in [(Law::Mu, 32_635), (Law::A, i16::MAX)] {
            let mut previous = law.decode(law.encode(i16::MIN));
            for sample in i16::MIN..=i16::MAX {
                let code = law.encode(sample);
                let half_interval = match (law, (law.encode(sample) ^ law.silence()) >> 4 & 7) {
                    (Law::Mu, segment) => 4 << segment,
                    (Law::A, segment) => 8 << (segment.max(1) - 1),
                };
                let decoded = law.decode(code);
                let clipped = i32::from(sample).clamp(-i32::from(loudest), loudest.into());
                let distance = (clipped - i32::from(decoded)).abs();
                assert!(distance <= half_interval, "{law:?} {sample}: {distance}");
                assert!(decoded >= previous, "{law:?} {sample}: {decoded}");
                previous = decoded;
            }
        }
    }

    #[test]
    fn the_level_is_that_of_the_samples() {
        assert_eq!(Law::Mu.dbov(&[]), level::SILENCE_DBOV);
        assert_eq!(Law::Mu.dbov(&[0xff; 160]), level::SILENCE_DBOV);
        // 8 of 32768.
        assert!((Law::A.dbov(&[0xd5; 160]) + 72.25).abs() < 0.01);
        // A square wave of 32124 of 32768.
        assert!((Law::Mu.dbov(&[0x80, 0x00].repeat(80)) + 0.172).abs() < 0.001);
        // The digital milliwatt (G.711 table 5) is a sine at 0 dBm0, 3.14 dB below the largest one
        // of A-law and 3.17 dB of mu-law; that is 3.01 dB below a square wave.
        let mu = [0x1e, 0x0b, 0x0b, 0x1e, 0x9e, 0x8b, 0x8b, 0x9e].repeat(20);
        assert!((Law::Mu.dbov(&mu) + 6.18).abs() < 0.2, "{}", Law::Mu.dbov(&mu));
        let a = [0x34, 0x21, 0x21, 0x34, 0xb4, 0xa1, 0xa1, 0xb4].repeat(20);
        assert!((Law::A.dbov(&a) + 6.15).abs() < 0.2, "{}", Law::A.dbov(&a));
    }
}

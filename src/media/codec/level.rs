//! Levels of audio in dBov: decibels below the largest square wave (RFC 6464 section 3).

/// The level of digital silence, which no other audio of 16 bits is below.
pub const SILENCE_DBOV: f32 = -127.0;

/// The level from which on audio is heard: of what we play and of what comes, so that both sides of
/// a call judge alike.
///
/// It lies between what a silent call has and what a talker has. Idle noise of G.711 is the least
/// step of its scale, -72 dBov, and comfort noise is played at -60 to -70 dBov: 5 dB below at
/// least. Speech is about -26 dBov, that of a weak talker -45 (ITU-T P.56), and its packets vary by
/// 10 dB. A higher threshold would call weak speech silence, a lower one noise a voice.
pub const AUDIBLE_DBOV: f32 = -55.0;

/// The mean square of 16-bit samples at [`AUDIBLE_DBOV`], for a judgement without a logarithm.
pub const AUDIBLE_MEAN_SQUARE: u32 = 3_396;

const FULL_SCALE_SQUARE: f32 = 32_768.0 * 32_768.0;

/// The level of a mean square of 16-bit samples.
pub fn dbov(mean_square: u32) -> f32 {
    match mean_square {
        0 => SILENCE_DBOV,
        square => 10.0 * (square as f32 / FULL_SCALE_SQUARE).log10(),
    }
}

/// The mean square of samples; 0 for no samples.
pub fn mean_square(samples: &[i16]) -> u32 {
    let square = |&sample: &i16| u64::from(sample.unsigned_abs()).pow(2);
    let sum: u64 = samples.iter().map(square).sum();
    sum.checked_div(samples.len() as u64).unwrap_or(0) as u32
}

/// The amplitude of a sine at a level. A sine is 3.01 dB below a square wave of its amplitude.
pub fn sine_amplitude(dbov: f32) -> f32 {
    let amplitude = 32_768.0 * core::f32::consts::SQRT_2 * 10f32.powf(dbov / 20.0);
    amplitude.min(f32::from(i16::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::Law;
    use super::*;

    #[test]
    fn levels_are_relative_to_a_square_wave() {
        assert_eq!(dbov(mean_square(&[i16::MIN; 8])), 0.0);
        assert!((dbov(mean_square(&[i16::MAX, -i16::MAX])) - 0.0).abs() < 0.001);
        assert_eq!(dbov(mean_square(&[0; 8])), SILENCE_DBOV);
        assert_eq!(dbov(mean_square(&[])), SILENCE_DBOV);
        assert!((dbov(mean_square(&[328, -328])) + 40.0).abs() < 0.01);
        assert!((dbov(AUDIBLE_MEAN_SQUARE) - AUDIBLE_DBOV).abs() < 0.001);
    }

    #[test]
    fn noise_of_a_silent_call_is_not_heard_and_weak_speech_is() {
        // The codes of the least steps above and below zero.
        for (law, idle) in [(Law::Mu, [0xfe, 0x7e]), (Law::A, [0xd5, 0x55])] {
            let idle = law.mean_square(&idle.repeat(80));
            assert!((dbov(idle) + 72.2).abs() < 0.1 && idle < AUDIBLE_MEAN_SQUARE, "{idle}");
            for (level, is_heard) in [(-45.0, true), (-54.0, true), (-60.0, false)] {
                let amplitude = sine_amplitude(level);
                let sine = |at: usize| (amplitude * (at as f32 * 0.3).sin()).round() as i16;
                let payload: Vec<u8> = (0..1600).map(|at| law.encode(sine(at))).collect();
                let square = law.mean_square(&payload);
                assert_eq!(square >= AUDIBLE_MEAN_SQUARE, is_heard, "{law:?} {level}: {square}");
            }
        }
    }
}

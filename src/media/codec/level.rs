//! Levels of audio in dBov: decibels below the largest square wave (RFC 6464 section 3).

/// The level of digital silence, which no other audio of 16 bits is below.
pub const SILENCE_DBOV: f32 = -127.0;

/// The level from which on a person hears something. Comfort noise is about 10 dB below it
/// (RFC 3389), quiet speech 10 dB above.
pub const AUDIBLE_DBOV: f32 = -50.0;

/// Mean square of samples that are as loud as [`AUDIBLE_DBOV`], for a test without a logarithm.
pub const AUDIBLE_MEAN_SQUARE: u32 = 10_738;

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
}

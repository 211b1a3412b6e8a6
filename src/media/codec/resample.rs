//! Conversion of sample rates by a windowed sinc filter, for audio that is coded ahead.

use core::f64::consts::PI;

/// Rates that audio may have.
pub const RATES: [u32; 9] = [8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

/// Zero crossings of the sinc on each side. They give a stop band 70 dB down.
const CROSSINGS: f64 = 24.0;
/// Part of the band that passes; the filter's slope takes the rest.
const PASSED: f64 = 0.92;

/// Converts samples from one rate to another; both are among [`RATES`].
pub fn resample(samples: &[i16], from: u32, to: u32) -> Vec<i16> {
    if from == to {
        return samples.to_vec();
    }
    let divisor = gcd(from, to);
    // Output sample n lies at n * step / phases of the input.
    let (step, phases) = (u64::from(from / divisor), u64::from(to / divisor));
    let len = samples.len() as u64 * phases / step;
    // The phases come again in the same order.
    let filters: Vec<Filter> =
        (0..phases.min(len)).map(|n| Filter::new(n * step % phases, from, to)).collect();
    let one = |n: u64| filters[(n % phases) as usize].apply(samples, (n * step / phases) as usize);
    (0..len).map(one).collect()
}

/// Number of samples that [`resample()`] returns, for checks before it allocates.
pub fn resampled_len(samples: usize, from: u32, to: u32) -> usize {
    (samples as u64 * u64::from(to) / u64::from(from.max(1))) as usize
}

/// The filter of all output samples that lie equally far behind an input sample.
struct Filter {
    /// Number of taps before the input sample.
    before: usize,
    taps: Vec<f32>,
}

impl Filter {
    fn new(phase: u64, from: u32, to: u32) -> Self {
        let (from, to) = (f64::from(from), f64::from(to));
        let behind = phase as f64 / (to / gcd(from as u32, to as u32) as f64);
        // In units of the input's Nyquist frequency.
        let cut = PASSED * (to / from).min(1.0);
        let reach = (CROSSINGS / cut).ceil();
        let tap = |at: i64| {
            let x = at as f64 - behind;
            sinc(x * cut) * window(x / (reach + 1.0))
        };
        let mut taps: Vec<f64> = (-(reach as i64)..=reach as i64).map(tap).collect();
        // So that constant input stays as it is.
        let sum: f64 = taps.iter().sum();
        taps.iter_mut().for_each(|tap| *tap /= sum);
        Self { before: reach as usize, taps: taps.into_iter().map(|tap| tap as f32).collect() }
    }

    /// The output sample near the input sample `at`. Beyond its ends, the input is silent.
    fn apply(&self, samples: &[i16], at: usize) -> i16 {
        let first = at.saturating_sub(self.before);
        let skipped = (self.before + first).saturating_sub(at);
        let taps = &self.taps[skipped.min(self.taps.len())..];
        let samples = samples.get(first..).unwrap_or_default();
        let sum: f32 = taps.iter().zip(samples).map(|(tap, &sample)| tap * f32::from(sample)).sum();
        // A float is cast to the nearest number that an integer can have.
        sum.round() as i16
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// Blackman's window, from -1 to 1.
fn window(x: f64) -> f64 {
    if x.abs() >= 1.0 {
        return 0.0;
    }
    0.42 + 0.5 * (PI * x).cos() + 0.08 * (2.0 * PI * x).cos()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(hz: f64, rate: u32, samples: usize) -> Vec<i16> {
        let sample = |n| (10_000.0 * (2.0 * PI * hz * n as f64 / f64::from(rate)).sin()) as i16;
        (0..samples).map(sample).collect()
    }

    /// Greatest difference far from the ends, where the input is cut off.
    fn distance(a: &[i16], b: &[i16]) -> i32 {
        let middle = 400..a.len() - 400;
        let pairs = a[middle.clone()].iter().zip(&b[middle]);
        pairs.map(|(a, b)| (i32::from(*a) - i32::from(*b)).abs()).max().unwrap()
    }

    #[test]
    fn a_sine_stays_the_same_sine_at_every_rate() {
        for from in RATES {
            for to in [8000, 16_000, 48_000] {
                let input = sine(1000.0, from, from as usize / 5);
                let output = resample(&input, from, to);
                assert_eq!(output.len(), resampled_len(input.len(), from, to));
                let expected = sine(1000.0, to, output.len());
                assert!(distance(&output, &expected) < 20, "{from} to {to}");
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_carry_is_removed() {
        // At 8000 Hz this would be heard as 3000 Hz.
        let output = resample(&sine(5000.0, 48_000, 9600), 48_000, 8000);
        assert!(distance(&output, &vec![0; output.len()]) < 10);
    }

    #[test]
    fn short_input_is_no_trouble() {
        for len in 0..4 {
            assert_eq!(resample(&vec![7; len], 8000, 48_000).len(), 6 * len);
            assert_eq!(resample(&vec![7; len], 48_000, 8000).len(), 0);
        }
    }
}

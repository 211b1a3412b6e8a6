//! A small, seeded random generator (xoshiro256++, Blackman and Vigna) and samples from it.
//! For load shapes and simulated loss; not for secrets.

use crate::scenario::Distribution;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Random([u64; 4]);

impl Random {
    /// A generator whose sequence depends on `seed` alone.
    pub fn new(seed: u64) -> Self {
        // splitmix64 fills the state, as the authors recommend.
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Self([next(), next(), next(), next()])
    }

    /// 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// `true` with the given probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability >= 1.0 || (probability > 0.0 && self.unit() < probability)
    }

    /// A sample of `distribution`, in its unit.
    pub fn sample(&mut self, distribution: &Distribution) -> f64 {
        match *distribution {
            Distribution::Fixed(value) => value,
            Distribution::Uniform { min, max } => min + self.unit() * (max - min),
            Distribution::Normal { mean, stdev } => mean + stdev * self.normal(),
            Distribution::LogNormal { mean, stdev } => (mean + stdev * self.normal()).exp(),
            Distribution::Exponential { mean } => -mean * (1.0 - self.unit()).ln(),
            Distribution::Weibull { lambda, k } => {
                lambda * (-(1.0 - self.unit()).ln()).powf(1.0 / k)
            }
            Distribution::Pareto { k, x_m } => x_m / (1.0 - self.unit()).powf(1.0 / k),
        }
    }

    /// A standard normal sample (Box and Muller).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_come_out_as_asked() {
        let mut random = Random::new(7);
        let cases = [
            (Distribution::Uniform { min: 10.0, max: 30.0 }, 20.0),
            (Distribution::Normal { mean: 50.0, stdev: 5.0 }, 50.0),
            (Distribution::Exponential { mean: 40.0 }, 40.0),
            (Distribution::LogNormal { mean: 1.0, stdev: 0.5 }, (1.0f64 + 0.125).exp()),
            (Distribution::Weibull { lambda: 2.0, k: 1.0 }, 2.0),
            (Distribution::Pareto { k: 3.0, x_m: 2.0 }, 3.0),
        ];
        for (distribution, mean) in cases {
            let n = 200_000;
            let sum: f64 = (0..n).map(|_| random.sample(&distribution)).sum();
            let got = sum / f64::from(n);
            assert!((got - mean).abs() < mean * 0.02, "{distribution:?}: {got}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let (mut a, mut b) = (Random::new(9), Random::new(9));
        assert!((0..100).all(|_| a.next_u64() == b.next_u64()));
    }
}

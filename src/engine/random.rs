//! A small, seeded random generator (xoshiro256++, Blackman and Vigna) and samples from it.
//! For load shapes and simulated loss; not for secrets.

use crate::scenario::Distribution;

/// A xoshiro256++ generator.
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
            Distribution::Integers { min, step, count } => {
                min + step * (self.unit() * count as f64).floor()
            }
            Distribution::Normal { mean, stdev } => mean + stdev * self.normal(),
            Distribution::LogNormal { mean, stdev } => (mean + stdev * self.normal()).exp(),
            Distribution::Exponential { mean } => -mean * (1.0 - self.unit()).ln(),
            Distribution::Weibull { lambda, k } => {
                lambda * (-(1.0 - self.unit()).ln()).powf(1.0 / k)
            }
            Distribution::Pareto { k, x_m } => x_m / (1.0 - self.unit()).powf(1.0 / k),
            Distribution::GeneralisedPareto { shape, scale, location } => {
                let log = -(1.0 - self.unit()).ln();
                let excess = match shape == 0.0 {
                    true => log,
                    false => ((shape * log).exp() - 1.0) / shape,
                };
                location + scale * excess
            }
            Distribution::Gamma { k, theta } => theta * self.gamma(k),
            Distribution::NegativeBinomial { n, p } => {
                let mean = self.gamma(n) * (1.0 - p) / p;
                self.poisson(mean)
            }
        }
    }

    /// A gamma sample with scale 1 (Marsaglia and Tsang 2000).
    fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let boost = (1.0 - self.unit()).powf(1.0 / shape);
            return self.gamma(shape + 1.0) * boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            let u = 1.0 - self.unit();
            if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// A Poisson sample: by counting arrivals, or for large means by the normal distribution, which
    /// is close to it.
    fn poisson(&mut self, mean: f64) -> f64 {
        if mean > 500.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0);
        }
        let limit = (-mean).exp();
        let (mut count, mut product) = (0.0, 1.0 - self.unit());
        while product > limit {
            count += 1.0;
            product *= 1.0 - self.unit();
        }
        count
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
            (Distribution::Integers { min: 1.0, step: 3.0, count: 4 }, 5.5),
            (Distribution::Normal { mean: 50.0, stdev: 5.0 }, 50.0),
            (Distribution::Exponential { mean: 40.0 }, 40.0),
            (Distribution::LogNormal { mean: 1.0, stdev: 0.5 }, (1.0f64 + 0.125).exp()),
            (Distribution::Weibull { lambda: 2.0, k: 1.0 }, 2.0),
            (Distribution::Pareto { k: 3.0, x_m: 2.0 }, 3.0),
            (Distribution::GeneralisedPareto { shape: 0.25, scale: 3.0, location: 10.0 }, 14.0),
            (Distribution::GeneralisedPareto { shape: 0.0, scale: 3.0, location: 1.0 }, 4.0),
            (Distribution::Gamma { k: 4.5, theta: 2.0 }, 9.0),
            (Distribution::Gamma { k: 0.5, theta: 8.0 }, 4.0),
            (Distribution::NegativeBinomial { n: 6.0, p: 0.3 }, 14.0),
            (Distribution::NegativeBinomial { n: 50.0, p: 0.01 }, 4950.0),
        ];
        for (distribution, mean) in cases {
            let n = 200_000;
            let sum: f64 = (0..n).map(|_| random.sample(&distribution)).sum();
            let got = sum / f64::from(n);
            assert!((got - mean).abs() < mean * 0.02, "{distribution:?}: {got}");
        }
    }

    #[test]
    fn spreads_and_percentiles_come_out_as_asked() {
        let mut random = Random::new(8);
        let cases = [
            (Distribution::Uniform { min: 10.0, max: 30.0 }, 400.0 / 12.0),
            (Distribution::Integers { min: 0.0, step: 1.0, count: 10 }, 99.0 / 12.0),
            (Distribution::Normal { mean: 50.0, stdev: 5.0 }, 25.0),
            (Distribution::Exponential { mean: 40.0 }, 1600.0),
            (Distribution::Gamma { k: 4.5, theta: 2.0 }, 18.0),
            (Distribution::NegativeBinomial { n: 6.0, p: 0.3 }, 6.0 * 0.7 / 0.09),
        ];
        for (distribution, variance) in cases {
            let n = 100_000;
            let mut samples: Vec<f64> = (0..n).map(|_| random.sample(&distribution)).collect();
            let mean = samples.iter().sum::<f64>() / f64::from(n);
            let got = samples.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
            assert!((got - variance).abs() < variance * 0.05, "{distribution:?}: {got}");
            samples.sort_by(f64::total_cmp);
            let p99 = samples[n as usize * 99 / 100];
            let told = distribution.p99();
            assert!((told - p99).abs() < p99 * 0.08, "{distribution:?}: {told}, not {p99}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let (mut a, mut b) = (Random::new(9), Random::new(9));
        assert!((0..100).all(|_| a.next_u64() == b.next_u64()));
    }
}

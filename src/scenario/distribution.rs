//! Distributions of numbers: the attributes of `<pause>`, `<timewait>` and `<sample>`.

use super::attributes::Attributes;
use super::error::{Fault, Position};
use super::program::Distribution;

/// The names of all distributions.
pub(super) const KNOWN: [&str; 10] = [
    "fixed",
    "uniform",
    "normal",
    "lognormal",
    "exponential",
    "weibull",
    "pareto",
    "gpareto",
    "gamma",
    "negbin",
];

/// The distribution that the attributes describe, if they describe one.
///
/// Beside `distribution="normal"` SIPp reads the older `normal="true"`, and `min=` with `max=`
/// alone for an even one.
pub(super) fn distribution(attributes: &Attributes<'_>) -> Result<Option<Distribution>, Fault> {
    let Some((name, position)) = named(attributes) else { return Ok(None) };
    let parameters = Parameters { attributes, name, position };
    let distribution = match name {
        "fixed" => Distribution::Fixed(parameters.any("value")?),
        "uniform" => {
            let (min, max) = (parameters.any("min")?, parameters.any("max")?);
            if min > max {
                let message = "min= is larger than max=";
                attributes.warn("min", message, "the values lie between the two all the same");
            }
            Distribution::Uniform { min: min.min(max), max: min.max(max) }
        }
        "normal" => {
            let (mean, stdev) = (parameters.any("mean")?, parameters.deviation()?);
            Distribution::Normal { mean, stdev }
        }
        "lognormal" => {
            let (mean, stdev) = (parameters.any("mean")?, parameters.deviation()?);
            Distribution::LogNormal { mean, stdev }
        }
        "exponential" => Distribution::Exponential { mean: parameters.not_negative("mean")? },
        "weibull" => {
            let (lambda, k) = (parameters.positive("lambda")?, parameters.positive("k")?);
            Distribution::Weibull { lambda, k }
        }
        "pareto" => {
            let (k, x_m) = (parameters.positive("k")?, parameters.positive("x_m")?);
            Distribution::Pareto { k, x_m }
        }
        "gpareto" => {
            let (shape, scale) = (parameters.any("shape")?, parameters.positive("scale")?);
            Distribution::GeneralisedPareto { shape, scale, location: parameters.any("location")? }
        }
        "gamma" => {
            let (k, theta) = (parameters.positive("k")?, parameters.positive("theta")?);
            Distribution::Gamma { k, theta }
        }
        "negbin" => {
            let (n, p) = (parameters.positive("n")?, parameters.positive("p")?);
            if p > 1.0 {
                return Err(Fault::new(attributes.place("p"), "p= is a probability, up to 1"));
            }
            Distribution::NegativeBinomial { n, p }
        }
        other => {
            return Err(Fault::new(position, format!("unknown distribution \"{other}\""))
                .hint(format!("one of {}", KNOWN.join(", ")))
                .suggest(other, KNOWN.into_iter()));
        }
    };
    Ok(Some(distribution))
}

/// Most values that [`integers`] chooses from.
const INTEGERS_MAX: u64 = 1_000_000;

/// Parses `value="min=1 max=10 step=3"`: one of 1, 4, 7, 10. Returns `None` if `value=` is no such
/// list.
pub(super) fn integers(attributes: &Attributes<'_>) -> Result<Option<Distribution>, Fault> {
    let Some(attribute) = attributes.get("value").filter(|value| value.value.contains('=')) else {
        return Ok(None);
    };
    let fault = |text: String| {
        Fault::new(attribute.position, text)
            .hint("write value=\"min=1 max=10\", and step= if needed")
    };
    let (mut min, mut max, mut step) = (None, None, None);
    for word in attribute.value.split_ascii_whitespace() {
        let (name, text) = word.split_once('=').unwrap_or((word, ""));
        let slot = match name {
            "min" => &mut min,
            "max" => &mut max,
            "step" => &mut step,
            "seed" => {
                return Err(Fault::new(attribute.position, "seed= belongs to the whole run")
                    .hint("leave it out and give the run -seed N, which repeats all its draws"));
            }
            _ => return Err(fault(format!("\"{word}\" is none of min=, max= and step="))),
        };
        let number: i32 = text
            .parse()
            .map_err(|_| fault(format!("{name}= is not a whole number: \"{text}\"")))?;
        if slot.replace(number).is_some() {
            return Err(fault(format!("{name}= is given twice")));
        }
    }
    let (Some(min), Some(max)) = (min, max) else {
        return Err(fault("min= or max= is missing".to_owned()));
    };
    let step = u64::try_from(step.unwrap_or(1)).ok().filter(|&step| step > 0);
    let step = step.ok_or_else(|| fault("step= must be above 0".to_owned()))?;
    let span = u64::try_from(i64::from(max) - i64::from(min));
    let span = span.map_err(|_| fault("min= is larger than max=".to_owned()))?;
    let count = span / step + 1;
    if count > INTEGERS_MAX {
        return Err(fault(format!("these are {count} values; the limit is {INTEGERS_MAX}")));
    }
    Ok(Some(Distribution::Integers { min: f64::from(min), step: step as f64, count }))
}

fn named<'e>(attributes: &Attributes<'e>) -> Option<(&'e str, Position)> {
    if let Some(attribute) = attributes.get("distribution") {
        return Some((attribute.value.trim(), attribute.position));
    }
    for legacy in KNOWN {
        // For SIPp the presence of the attribute is enough.
        if let Some(is_meant) = attributes.lenient(legacy, true) {
            if !is_meant {
                let message = format!("{legacy}= is neither absent nor true");
                attributes.warn(legacy, message, "SIPp takes the distribution all the same");
            }
            return Some((legacy, attributes.place(legacy)));
        }
    }
    let bound = ["min", "max"].into_iter().find(|bound| attributes.get(bound).is_some())?;
    Some(("uniform", attributes.place(bound)))
}

struct Parameters<'a, 'e> {
    attributes: &'a Attributes<'e>,
    name: &'a str,
    position: Position,
}

impl Parameters<'_, '_> {
    fn any(&self, key: &'static str) -> Result<f64, Fault> {
        self.attributes.double(key).ok_or_else(|| {
            Fault::new(self.position, format!("distribution \"{}\" needs {key}=", self.name))
        })
    }

    /// The standard deviation. A negative one spreads the values as its absolute value does.
    fn deviation(&self) -> Result<f64, Fault> {
        let value = self.any("stdev")?;
        if value < 0.0 {
            self.attributes.warn("stdev", "stdev= is negative", "its sign has no effect");
        }
        Ok(value.abs())
    }

    fn not_negative(&self, key: &'static str) -> Result<f64, Fault> {
        let value = self.any(key)?;
        match value >= 0.0 {
            true => Ok(value),
            false => Err(Fault::new(self.attributes.place(key), format!("{key}= is negative"))),
        }
    }

    fn positive(&self, key: &'static str) -> Result<f64, Fault> {
        let value = self.any(key)?;
        match value > 0.0 {
            true => Ok(value),
            false => Err(Fault::new(self.attributes.place(key), format!("{key}= must be above 0"))),
        }
    }
}

impl Distribution {
    /// The 99th percentile, for sanity checks and sizing. Of gamma and negative binomial it is
    /// approximate: a few percent off.
    pub fn p99(&self) -> f64 {
        // Standard normal quantile of 0.99, and -ln(0.01).
        const Z99: f64 = 2.326_347_874;
        const LN100: f64 = 4.605_170_186;
        match *self {
            Self::Fixed(value) => value,
            Self::Uniform { min, max } => min + 0.99 * (max - min),
            Self::Integers { min, step, count } => min + (0.99 * count as f64).floor() * step,
            Self::Normal { mean, stdev } => mean + Z99 * stdev,
            Self::LogNormal { mean, stdev } => (mean + Z99 * stdev).exp(),
            Self::Exponential { mean } => mean * LN100,
            Self::Weibull { lambda, k } => lambda * LN100.powf(1.0 / k),
            Self::Pareto { k, x_m } => x_m * 100f64.powf(1.0 / k),
            Self::GeneralisedPareto { shape, scale, location } => {
                let excess = match shape == 0.0 {
                    true => LN100,
                    false => (100f64.powf(shape) - 1.0) / shape,
                };
                location + scale * excess
            }
            Self::Gamma { k, theta } => theta * gamma_p99(k),
            // By mean, deviation and skewness (Cornish and Fisher 1938).
            Self::NegativeBinomial { n, p } => {
                let mean = n * (1.0 - p) / p;
                let skewness = (2.0 - p) / (n * (1.0 - p)).sqrt();
                let deviations = Z99 + skewness * (Z99 * Z99 - 1.0) / 6.0;
                if p < 1.0 { mean + (mean / p).sqrt() * deviations } else { 0.0 }
            }
        }
    }
}

/// The 99th percentile of a gamma distribution with scale 1, by the cube of a normal (Wilson and
/// Hilferty 1931); for small shapes the tail of an exponential bounds it.
fn gamma_p99(k: f64) -> f64 {
    const Z99: f64 = 2.326_347_874;
    let ninth = 1.0 / (9.0 * k);
    let cube = k * (1.0 - ninth + Z99 * ninth.sqrt()).max(0.0).powi(3);
    if k < 1.0 { cube.min(4.605_170_186) } else { cube }
}

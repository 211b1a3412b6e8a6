//! The E-model of ITU-T: from loss and delay to an estimated MOS. G.107 is for narrow band, G.107.1
//! for wide band and G.107.2 for full band.
//!
//! All parameters of the telephones (loudness, noise, sidetone) have the defaults of the
//! recommendations, and delay brings no echo, because a digital path between programs has none.
//! The codec, the loss and the delay are left of the models.
//!
//! Each band has a scale of its own: 4.4 of a wide-band stream and 4.4 of a narrow-band stream are
//! not the same quality, and no mean of both means anything.

/// Audio bandwidth of a codec, which chooses the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Band {
    /// 300 to 3,400 Hz: G.107.
    Narrow,
    /// 50 to 7,000 Hz: G.107.1.
    Wide,
    /// 20 to 20,000 Hz: G.107.2.
    Full,
}

impl Band {
    /// R with default parameters, no loss and a short delay. In narrow band it is what remains of
    /// 94.8 (circuit and room noise) when sidetone and quantising (1.4) and the talker's echo (0.1)
    /// are taken off.
    fn r_default(self) -> f32 {
        match self {
            Self::Narrow => 93.2,
            Self::Wide => 129.0,
            Self::Full => 148.0,
        }
    }

    /// Highest impairment by codec and loss together. G.107.1 keeps the 95 of G.107.
    fn impairment_max(self) -> f32 {
        match self {
            Self::Narrow | Self::Wide => 95.0,
            Self::Full => 132.0,
        }
    }

    /// Factor of the delay impairment.
    fn delay_factor(self) -> f32 {
        match self {
            Self::Narrow | Self::Wide => 25.0,
            Self::Full => 25.0 * 1.48,
        }
    }

    /// Length of the scale of R, of which 100 is that of narrow band.
    fn scale(self) -> f32 {
        match self {
            Self::Narrow => 1.0,
            Self::Wide => 1.29,
            Self::Full => 1.48,
        }
    }
}

/// Planning values of a codec.
#[derive(Debug, PartialEq)]
pub struct Codec {
    /// Name of its encoding in SDP.
    pub name: &'static str,
    /// Audio bandwidth.
    pub band: Band,
    /// Impairment by the codec itself (Ie).
    pub impairment: f32,
    /// Robustness against packet loss (Bpl): the loss in percent that costs half of what is left.
    pub loss_robustness: f32,
    /// Delay of the encoder beyond the audio of its packets, in milliseconds.
    pub lookahead_ms: f32,
}

/// Codecs with planning values. A stream of another codec has no MOS.
///
/// - G.711: G.113 appendix I, with the packet loss concealment of G.711 appendix I, which any
///   receiver has today. Without it Bpl is 4.3.
/// - G.729: G.113 appendix I, the row of G.729A with VAD, which is that of most gateways.
/// - G.722: Ie of 64 kbit/s is that of G.113 appendix IV. There is no Bpl for it; this is the one
///   of G.722.2 at 23.85 kbit/s, the wide-band codec with the nearest rate. Provisional.
/// - Opus: ITU-T has no values. These were measured at 25 kbit/s, variable, super-wide band, random
///   loss (Alahmadi, Pocta, Melvin, ACM TOMM 17-4, 2021, article 133). Provisional.
/// - iLBC: no published values.
pub const CODECS: &[Codec] = &[
    Codec {
        name: "PCMU",
        band: Band::Narrow,
        impairment: 0.0,
        loss_robustness: 25.1,
        lookahead_ms: 0.0,
    },
    Codec {
        name: "PCMA",
        band: Band::Narrow,
        impairment: 0.0,
        loss_robustness: 25.1,
        lookahead_ms: 0.0,
    },
    Codec {
        name: "G729",
        band: Band::Narrow,
        impairment: 11.0,
        loss_robustness: 19.0,
        lookahead_ms: 5.0,
    },
    Codec {
        name: "G722",
        band: Band::Wide,
        impairment: 13.0,
        loss_robustness: 4.9,
        lookahead_ms: 1.5,
    },
    Codec {
        name: "opus",
        band: Band::Full,
        impairment: 20.2,
        loss_robustness: 11.3,
        lookahead_ms: 6.5,
    },
];

/// The path that a stream took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path {
    /// Share of the packets that were not played, from 0 to 1.
    pub loss: f32,
    /// Mean length of a run of losses, relative to that under random loss (BurstR); 1 at least.
    pub burst_ratio: f32,
    /// Delay from mouth to ear in milliseconds (Ta).
    pub delay_ms: f32,
}

/// An estimate of a listener's opinion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rating {
    /// Transmission rating factor, on the scale of the codec's band; 0 at least.
    pub r: f32,
    /// Mean opinion score, from 1 to 4.5.
    pub mos: f32,
}

impl Rating {
    /// The rating of a codec over a path.
    pub fn of(codec: &Codec, path: &Path) -> Self {
        // The models end at 20 % loss and would give 1.2 for silence.
        if path.loss >= 1.0 {
            return Self { r: 0.0, mos: 1.0 };
        }
        let band = codec.band;
        let loss = path.loss * 100.0;
        let share = loss / (loss / path.burst_ratio.max(1.0) + codec.loss_robustness);
        // G.107 equation 7-29, G.107.1 equation 7-15, G.107.2 section 7.5. Strong bursts would
        // make the share more than one.
        let range = band.impairment_max() - codec.impairment;
        let equipment = codec.impairment + range * share.min(1.0);
        let delay = band.delay_factor() * delay_share(path.delay_ms);
        let r = (band.r_default() - equipment - delay).max(0.0);
        Self { r, mos: mos(r / band.scale()) }
    }
}

/// The delay up to which conversations do not suffer (G.107 equation 7-27), in milliseconds.
pub(super) const DELAY_FREE_MS: f32 = 100.0;

/// The impairment by pure delay (Idd), as a multiple of its factor.
fn delay_share(delay_ms: f32) -> f32 {
    if delay_ms <= DELAY_FREE_MS {
        return 0.0;
    }
    let octaves = (delay_ms / DELAY_FREE_MS).log2();
    let root = |x: f32| (1.0 + x.powi(6)).powf(1.0 / 6.0);
    root(octaves) - 3.0 * root(octaves / 3.0) + 2.0
}

/// MOS of an R on the scale up to 100 (G.107 annex B). The polynomial falls below 1 close to 0.
fn mos(r: f32) -> f32 {
    match r {
        r if r <= 0.0 => 1.0,
        r if r >= 100.0 => 4.5,
        r => (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: Path = Path { loss: 0.0, burst_ratio: 1.0, delay_ms: 0.0 };

    fn codec(name: &str) -> &'static Codec {
        CODECS.iter().find(|codec| codec.name == name).unwrap()
    }

    fn rating(name: &str, path: Path) -> Rating {
        Rating::of(codec(name), &path)
    }

    fn assert_near(value: f32, expected: f32, tolerance: f32) {
        assert!((value - expected).abs() <= tolerance, "{value} is not {expected}");
    }

    /// The whole of G.107 (06/2015) section 7 with the defaults of its table 2, without delay.
    fn r_by_the_recommendation() -> f64 {
        let db = |x: f64| 10f64.powf(x / 10.0);
        let (slr, rlr, stmr, ds, dr, lstr) = (8.0, 2.0, 15.0, 3.0, 3.0, 18.0);
        let (nc, nfor, ps, pr) = (-70.0, -64.0, 35.0, 35.0);
        let (telr, wepl, qdu) = (65.0, 110.0, 1.0f64);
        assert_eq!(lstr, stmr + dr);
        let olr = slr + rlr;
        let nos = ps - slr - ds - 100.0 + 0.004 * f64::powi(ps - olr - ds - 14.0, 2);
        let pre = pr + 10.0 * (1.0 + db(10.0 - lstr)).log10();
        let nor = rlr - 121.0 + pre + 0.008 * f64::powi(pre - 35.0, 2);
        let nfo = nfor + rlr;
        let no = 10.0 * (db(nc) + db(nos) + db(nor) + db(nfo)).log10();
        let ro = 15.0 - 1.5 * (slr + no);
        let xolr = olr + 0.2 * (64.0 + no - rlr);
        let iolr = 20.0 * (f64::powf(1.0 + f64::powi(xolr / 8.0, 8), 1.0 / 8.0) - xolr / 8.0);
        let stmro = -10.0 * (db(-stmr) + db(-telr)).log10();
        let root = |x: f64, n: f64| f64::powf(1.0 + x.powf(n), 1.0 / n);
        let ist = 12.0 * root(f64::abs(stmro - 13.0) / 6.0, 8.0)
            - 28.0 * root((stmro + 1.0) / 19.4, 35.0)
            - 13.0 * root((stmro - 3.0) / 33.0, 13.0)
            + 29.0;
        let q = 37.0 - 15.0 * qdu.log10();
        let g = 1.07 + 0.258 * q + 0.0602 * q * q;
        let y = (ro - 100.0) / 15.0 + 46.0 / 8.4 - g / 9.0;
        let z = 46.0 / 30.0 - g / 40.0;
        let iq = 15.0 * (1.0 + 10f64.powf(y) + 10f64.powf(z)).log10();
        let rle = 10.5 * (wepl + 7.0);
        let idle = (ro - rle) / 2.0 + f64::sqrt(f64::powi(ro - rle, 2) / 4.0 + 169.0);
        ro - (iolr + ist + iq) - idle
    }

    #[test]
    fn the_defaults_of_g_107_give_its_rating() {
        assert_near(r_by_the_recommendation() as f32, Band::Narrow.r_default(), 0.05);
        let rating = rating("PCMU", CLEAN);
        assert_near(rating.r, 93.2, 0.01);
        assert_near(rating.mos, 4.41, 0.005);
    }

    /// The table of G.107 annex B.
    #[test]
    fn r_becomes_the_mos_of_annex_b() {
        for (r, expected) in [(90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58)]
        {
            assert_near(mos(r), expected, 0.01);
        }
        assert_eq!(
            (mos(-5.0), mos(0.0), mos(3.0), mos(100.0), mos(120.0)),
            (1.0, 1.0, 1.0, 4.5, 4.5)
        );
    }

    /// MOS of the Ie,wb of G.722.2 in G.113 (09/2024) table IV.1, by G.107.1 annex A.
    #[test]
    fn wide_band_has_its_own_scale() {
        let with = |impairment: f32| Codec { impairment, ..*wide() };
        for (impairment, expected) in
            [(1.0, 4.49), (8.0, 4.42), (13.0, 4.34), (26.0, 4.02), (41.0, 3.51)]
        {
            assert_near(Rating::of(&with(impairment), &CLEAN).mos, expected, 0.005);
        }
        assert_eq!(Rating::of(&with(0.0), &CLEAN).r, 129.0);
    }

    fn wide() -> &'static Codec {
        codec("G722")
    }

    #[test]
    fn loss_costs_what_the_codec_lets_it() {
        let lossy =
            |percent: f32, burst_ratio| Path { loss: percent / 100.0, burst_ratio, ..CLEAN };
        // Ie,eff = (95 - 0) * 1 / (1 + 25.1), and half of the rest at a loss of Bpl.
        assert_near(rating("PCMA", lossy(1.0, 1.0)).r, 93.2 - 3.64, 0.01);
        assert_near(rating("PCMA", lossy(25.1, 1.0)).r, 93.2 - 47.5, 0.01);
        assert_near(rating("G729", lossy(19.0, 1.0)).r, 93.2 - 53.0, 0.01);
        assert_near(rating("G722", lossy(4.9, 1.0)).r, 129.0 - 54.0, 0.01);
        assert_near(rating("opus", lossy(11.3, 1.0)).r, 148.0 - 76.1, 0.01);
        // (95 - 0) * 10 / (10 / 2 + 25.1)
        assert_near(rating("PCMU", lossy(10.0, 2.0)).r, 93.2 - 31.56, 0.01);
        // A ratio below 1 is a result of few losses, not of a gentle network.
        assert_eq!(rating("PCMU", lossy(5.0, 0.5)), rating("PCMU", lossy(5.0, 1.0)));
        assert_eq!(rating("PCMU", lossy(100.0, 1.0)), Rating { r: 0.0, mos: 1.0 });
    }

    #[test]
    fn ratings_fall_with_loss_and_delay_and_stay_in_range() {
        for codec in CODECS {
            let mut last = f32::MAX;
            for step in 0..=100 {
                let path = Path { loss: step as f32 / 100.0, burst_ratio: 5.0, delay_ms: 80.0 };
                let Rating { r, mos } = Rating::of(codec, &path);
                assert!(r <= last && (1.0..=4.5).contains(&mos), "{codec:?} {path:?} {r} {mos}");
                last = r;
            }
            let mut last = f32::MAX;
            for delay_ms in (0..2_000).step_by(10) {
                let delay_ms = delay_ms as f32;
                let Rating { r, mos } = Rating::of(codec, &Path { delay_ms, ..CLEAN });
                assert!(r <= last && (1.0..=4.5).contains(&mos), "{codec:?} {delay_ms} {r} {mos}");
                last = r;
            }
        }
    }

    #[test]
    fn delay_costs_nothing_up_to_100_ms() {
        let late = |delay_ms| rating("PCMU", Path { delay_ms, ..CLEAN }).r;
        assert_eq!(late(100.0), late(0.0));
        // Worked out by hand: 25 * (65^(1/6) - 3 * (1 + (2/3)^6)^(1/6) + 2).
        assert_near(late(400.0), 93.2 - 24.08, 0.02);
    }
}

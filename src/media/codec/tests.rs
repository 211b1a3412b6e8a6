use super::*;
use crate::sip::Encoding;

fn encoding(name: &str) -> &'static Encoding {
    Encoding::by_name(name).unwrap()
}

/// A second of a sine of 425 Hz, with an amplitude of 10,000.
fn tone(encoding: &Encoding) -> Vec<i16> {
    let step = core::f64::consts::TAU * 425.0 / f64::from(encoding.sample_rate);
    let sample = |n| (10_000.0 * (f64::from(n) * step).sin()) as i16;
    (0..encoding.sample_rate).map(sample).collect()
}

/// Payloads of a second of the tone, in packets of 20 ms.
fn payloads(encoding: &Encoding) -> Vec<Vec<u8>> {
    let mut coder = Coder::new(encoding).unwrap();
    let code = |samples: &[i16]| {
        let mut payload = Vec::new();
        coder.code(samples, &mut payload).unwrap();
        payload
    };
    tone(encoding).chunks_exact(encoding.sample_rate as usize / 50).map(code).collect()
}

#[test]
fn payloads_have_the_size_of_the_encoding() {
    for name in ["PCMU", "PCMA", "G722", "G729"] {
        let expected = encoding(name).payload_bytes(20).unwrap();
        assert!(payloads(encoding(name)).iter().all(|payload| payload.len() == expected), "{name}");
    }
    // 32 kbit/s are 80 bytes in 20 ms. The first byte tells of mono and of one frame.
    let opus = payloads(encoding("opus"));
    assert!(opus.iter().all(|payload| payload.len() == 80 && payload[0] & 0b111 == 0));
    assert!(Coder::new(encoding("iLBC")).is_none());
}

#[test]
fn a_listener_hears_what_was_coded() {
    // A sine of 10,000 of 32,768 is 10.31 dB below the largest one.
    for (name, tolerance) in [("PCMU", 0.1), ("PCMA", 0.1), ("G722", 0.2)] {
        let mut listener = Listener::new(encoding(name));
        let levels: Vec<f32> = payloads(encoding(name))
            .iter()
            .map(|payload| listener.dbov(payload).unwrap())
            .collect();
        // G.722 needs some milliseconds to adapt.
        assert!(levels[2..].iter().all(|level| (level + 13.32).abs() < tolerance), "{levels:?}");
    }
    assert_eq!(Listener::new(encoding("opus")).dbov(&[0xf8, 0xff, 0xfe]), None);
}

#[test]
fn decoded_audio_is_the_audio_that_was_coded() {
    for name in ["PCMU", "PCMA"] {
        let mut samples = [0; 160];
        let payload = &payloads(encoding(name))[0];
        assert_eq!(Listener::new(encoding(name)).decode(payload, &mut samples), Some(160));
        let tone = tone(encoding(name));
        let error = samples.iter().zip(&tone).map(|(a, b)| (a - b).abs()).max();
        // Half of the largest interval below 16,384.
        assert!(error <= Some(256), "{name}: {error:?}");
    }
}

#[test]
fn payloads_of_any_length_are_listened_to() {
    let mut listener = Listener::new(encoding("G722"));
    for len in [0, 1, 160, LISTENED_BYTES_MAX, 65_535] {
        assert!(listener.dbov(&vec![0x55; len]).is_some(), "{len}");
    }
    assert_eq!(listener.decode(&[1, 2, 3], &mut [0; 3]), Some(2));
    assert_eq!(Listener::new(encoding("PCMU")).decode(&[1, 2, 3], &mut [0; 2]), Some(2));
}

/// FNV-1a, so that a long row of samples can be compared with what another program made of it.
fn digest(samples: &[i16]) -> u64 {
    samples
        .iter()
        .flat_map(|sample| sample.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
}

/// FFmpeg 8 decodes the same payloads to the same samples, bit by bit.
#[test]
fn g722_is_decoded_as_others_decode_it() {
    let mut listener = Listener::new(encoding("G722"));
    let mut decoded = Vec::new();
    for payload in payloads(encoding("G722")) {
        let mut samples = [0; 320];
        assert_eq!(listener.decode(&payload, &mut samples), Some(320));
        decoded.extend(samples);
    }
    assert_eq!(digest(&decoded), 0x9be5_34fa_7fc9_94be);
}

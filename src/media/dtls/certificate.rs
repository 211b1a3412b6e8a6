//! Certificates: our own, signed by itself, and the public key in one of a peer (RFC 5280).

use dimpl::DtlsCertificate;
use ring::digest::{SHA256, digest};
use ring::error::Unspecified;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::der::{
    BIT_STRING, EC_PUBLIC_KEY, INTEGER, OBJECT, OPTIONAL, P256, P384, SEQUENCE, SET, TIME, UTF8,
    is_next, take, value, values,
};

/// `ecdsa-with-SHA256` (RFC 5758 section 3.2).
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// `commonName` (RFC 5280 appendix A).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// Peers compare fingerprints and not times. The year of a [`TIME`] may be 1950 to 2049.
const VALID: [&[u8]; 2] = [b"200101000000Z", b"491231235959Z"];

/// A new key of the curve P-256 with its certificate. One is enough for all calls of a process.
///
/// # Errors
/// The system has no random numbers.
pub fn self_signed() -> Result<DtlsCertificate, Unspecified> {
    let random = SystemRandom::new();
    let private_key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)?;
    let key =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, private_key.as_ref(), &random)
            .map_err(|_| Unspecified)?;
    let mut serial = [0; 16];
    random.fill(&mut serial)?;
    // Positive, and without leading zeros.
    serial[0] = serial[0] & 0x7f | 0x40;
    let algorithm = values(SEQUENCE, &[value(OBJECT, ECDSA_SHA256)]);
    let body = body(&serial, algorithm.clone(), key.public_key().as_ref());
    let signature = key.sign(&random, &body)?;
    let certificate = values(SEQUENCE, &[body, algorithm, bits(signature.as_ref())]);
    Ok(DtlsCertificate { certificate, private_key: private_key.as_ref().to_vec() })
}

/// The part of a certificate that is signed.
fn body(serial: &[u8], algorithm: Vec<u8>, public_key: &[u8]) -> Vec<u8> {
    let common = [value(OBJECT, COMMON_NAME), value(UTF8, b"gossipper")];
    let name = values(SEQUENCE, &[values(SET, &[values(SEQUENCE, &common)])]);
    let curve = [value(OBJECT, EC_PUBLIC_KEY), value(OBJECT, P256)];
    values(
        SEQUENCE,
        &[
            // Version 3.
            values(OPTIONAL, &[value(INTEGER, &[2])]),
            value(INTEGER, serial),
            algorithm,
            name.clone(),
            values(SEQUENCE, &VALID.map(|time| value(TIME, time))),
            name,
            values(SEQUENCE, &[values(SEQUENCE, &curve), bits(public_key)]),
        ],
    )
}

/// A bit string of whole bytes.
fn bits(bytes: &[u8]) -> Vec<u8> {
    value(BIT_STRING, &[&[0], bytes].concat())
}

/// The fingerprint of a certificate, as session descriptions have it (RFC 8122 section 5).
pub fn fingerprint(certificate: &[u8]) -> String {
    let digest = digest(&SHA256, certificate);
    let bytes: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    format!("sha-256 {}", bytes.join(":"))
}

/// The curves of keys that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
}

/// The public key in a certificate; `None` if it is no certificate, or has another kind of key.
pub(super) fn public_key(mut certificate: &[u8]) -> Option<(Curve, &[u8])> {
    let mut body = take(&mut take(&mut certificate, SEQUENCE)?, SEQUENCE)?;
    if is_next(body, OPTIONAL) {
        take(&mut body, OPTIONAL)?;
    }
    take(&mut body, INTEGER)?;
    // Algorithm, issuer, validity, subject.
    for _ in 0..4 {
        take(&mut body, SEQUENCE)?;
    }
    let mut key = take(&mut body, SEQUENCE)?;
    let mut algorithm = take(&mut key, SEQUENCE)?;
    if take(&mut algorithm, OBJECT)? != EC_PUBLIC_KEY {
        return None;
    }
    let curve = match take(&mut algorithm, OBJECT)? {
        curve if curve == P256 => Curve::P256,
        curve if curve == P384 => Curve::P384,
        _ => return None,
    };
    match take(&mut key, BIT_STRING)? {
        [0, key @ ..] => Some((curve, key)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_certificate_has_the_key_that_signed_it() {
        let own = self_signed().unwrap();
        let (curve, key) = public_key(&own.certificate).unwrap();
        assert_eq!((curve, key.len()), (Curve::P256, 65));
        // What is signed is the first value in the certificate.
        let mut all = &own.certificate[..];
        let mut parts = take(&mut all, SEQUENCE).unwrap();
        let body = value(SEQUENCE, take(&mut { parts }, SEQUENCE).unwrap());
        parts = &parts[body.len()..];
        take(&mut parts, SEQUENCE).unwrap();
        let signature = &take(&mut parts, BIT_STRING).unwrap()[1..];
        let key =
            ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_ASN1, key);
        key.verify(&body, signature).unwrap();
        assert!(fingerprint(&own.certificate).len() == 8 + 32 * 3 - 1);
        assert_ne!(own.certificate, self_signed().unwrap().certificate);
    }

    proptest! {
        #[test]
        fn a_broken_certificate_is_none(at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
            let mut certificate = self_signed().unwrap().certificate;
            let at = at.index(certificate.len());
            if cut {
                prop_assert_eq!(public_key(&certificate[..at]), None);
            }
            certificate[at] = byte;
            let key = public_key(&certificate);
            prop_assert!(key.is_none_or(|(_, key)| key.len() <= certificate.len()));
        }
    }
}

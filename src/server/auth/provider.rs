//! HMAC-SHA256 of `ring` for the `jsonwebtoken` crate, which brings no cryptography of its own.
//!
//! Only HS256 exists here: whatever a token's header asks for, no other algorithm can be reached.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result, new_error};
use jsonwebtoken::signature::{Error as SignatureError, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use ring::hmac;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    // For keys in JWK form, which are not used.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Installs the provider of this process; `jsonwebtoken` has one for all.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // It fails if a provider is installed already, and no other code here uses tokens.
        let installed = PROVIDER.install_default();
        debug_assert!(installed.is_ok(), "a second provider for tokens");
    });
}

struct Hs256(hmac::Key);

impl Hs256 {
    fn new(algorithm: Algorithm, family: AlgorithmFamily, secret: &[u8]) -> Result<Self> {
        if algorithm != Algorithm::HS256 {
            return Err(new_error(ErrorKind::UnsupportedAlgorithm));
        }
        if family != AlgorithmFamily::Hmac {
            return Err(new_error(ErrorKind::InvalidKeyFormat));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    Ok(Box::new(Hs256::new(*algorithm, key.family(), key.as_bytes())?))
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    Ok(Box::new(Hs256::new(*algorithm, key.family(), key.try_get_as_bytes()?)?))
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, SignatureError> {
        Ok(hmac::sign(&self.0, message).as_ref().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    /// Takes as long for a wrong tag as for a right one.
    fn verify(&self, message: &[u8], tag: &Vec<u8>) -> std::result::Result<(), SignatureError> {
        hmac::verify(&self.0, message, tag).map_err(|_| SignatureError::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn the_tag_is_that_of_the_rfc() {
        let key = EncodingKey::from_secret(b"Jefe");
        let tag = signer(&Algorithm::HS256, &key)
            .unwrap()
            .try_sign(b"what do ya want for nothing?")
            .unwrap();
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(super::super::random::hex(&tag), expected);
        let key = DecodingKey::from_secret(b"Jefe");
        let verifier = verifier(&Algorithm::HS256, &key).unwrap();
        assert!(verifier.verify(b"what do ya want for nothing?", &tag).is_ok());
        assert!(verifier.verify(b"what do ya want for nothing!", &tag).is_err());
        assert!(verifier.verify(b"what do ya want for nothing?", &tag[..31].to_vec()).is_err());
    }

    #[test]
    fn no_other_algorithm_and_no_other_kind_of_key_is_taken() {
        let key = DecodingKey::from_secret(b"Jefe");
        for algorithm in [Algorithm::HS384, Algorithm::HS512, Algorithm::RS256, Algorithm::EdDSA] {
            assert!(verifier(&algorithm, &key).is_err(), "{algorithm:?}");
        }
        assert!(verifier(&Algorithm::HS256, &DecodingKey::from_rsa_der(b"Jefe")).is_err());
    }
}

//! The cryptography of a handshake: `ring` behind the traits of `dimpl`.

use std::fmt;

use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use dimpl::crypto::{
    Aad, ActiveKeyExchange, Buf, Cipher, CryptoProvider, Dtls12CipherSuite, Dtls13CipherSuite,
    HashAlgorithm, HashContext, HashProvider, HmacProvider, KeyProvider, NamedGroup, Nonce,
    SecureRandom, SignatureAlgorithm, SignatureVerifier, SigningKey, SupportedDtls12CipherSuite,
    SupportedDtls13CipherSuite, SupportedKxGroup, TmpBuf, check_verify_scheme,
};
use dimpl::{CryptoError, CryptoOperation};
use ring::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{self, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use ring::{aead, digest, hmac};

use super::certificate::{Curve, public_key};

/// The provider of handshakes: X25519 and P-256 for the exchange, P-256 for our signature, AES-GCM.
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: &[&Exchange::X25519, &Exchange::P256],
        signature_verification: &Ring,
        key_provider: &Ring,
        secure_random: &Ring,
        hash_provider: &Ring,
        hmac_provider: &Ring,
        cipher_suites: &[&Aes::Gcm128, &Aes::Gcm256],
        dtls13_cipher_suites: &[&Aes::Gcm128, &Aes::Gcm256],
    }
}

/// The parts without state.
#[derive(Debug)]
struct Ring;

impl SecureRandom for Ring {
    fn fill(&self, out: &mut [u8]) -> Result<(), CryptoError> {
        let filled = SystemRandom::new().fill(out);
        filled.map_err(|_| CryptoError::OperationFailed(CryptoOperation::GenerateEphemeralKey))
    }
}

impl HashProvider for Ring {
    fn create_hash(&self, algorithm: HashAlgorithm) -> Box<dyn HashContext> {
        // Suites ask for no other than theirs.
        let is_long = algorithm == HashAlgorithm::SHA384;
        let algorithm = if is_long { &digest::SHA384 } else { &digest::SHA256 };
        Box::new(Hash(digest::Context::new(algorithm)))
    }
}

impl HmacProvider for Ring {
    fn hmac(
        &self,
        hash: HashAlgorithm,
        key: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CryptoError> {
        let algorithm = match hash {
            HashAlgorithm::SHA256 => hmac::HMAC_SHA256,
            HashAlgorithm::SHA384 => hmac::HMAC_SHA384,
            other => return Err(CryptoError::UnsupportedHmacHash(other)),
        };
        let code = hmac::sign(&hmac::Key::new(algorithm, key), data);
        let len = code.as_ref().len();
        let out = out.get_mut(..len).ok_or(CryptoError::UnsupportedHmacHash(hash))?;
        out.copy_from_slice(code.as_ref());
        Ok(len)
    }
}

impl KeyProvider for Ring {
    fn load_private_key(&self, key: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key, &random);
        Ok(Box::new(Signer(key.map_err(|_| CryptoError::InvalidPrivateKey)?)))
    }
}

impl SignatureVerifier for Ring {
    fn verify_signature(
        &self,
        certificate: &[u8],
        data: &[u8],
        signature: &[u8],
        hash: HashAlgorithm,
        kind: SignatureAlgorithm,
    ) -> Result<(), CryptoError> {
        let (curve, key) = public_key(certificate).ok_or(CryptoError::CertificateParseFailed)?;
        let group = match curve {
            Curve::P256 => NamedGroup::Secp256r1,
            Curve::P384 => NamedGroup::Secp384r1,
        };
        check_verify_scheme(kind, hash, group)?;
        let algorithm = match (curve, hash == HashAlgorithm::SHA384) {
            (Curve::P256, false) => &signature::ECDSA_P256_SHA256_ASN1,
            (Curve::P256, true) => &signature::ECDSA_P256_SHA384_ASN1,
            (Curve::P384, false) => &signature::ECDSA_P384_SHA256_ASN1,
            (Curve::P384, true) => &signature::ECDSA_P384_SHA384_ASN1,
        };
        let key = signature::UnparsedPublicKey::new(algorithm, key);
        key.verify(data, signature).map_err(|_| CryptoError::SignatureVerificationFailed {
            signature: kind,
            hash,
            group,
        })
    }
}

/// A hash of the messages of a handshake.
struct Hash(digest::Context);

impl HashContext for Hash {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn clone_and_finalize(&self, out: &mut Buf) {
        out.clear();
        out.extend_from_slice(self.0.clone().finish().as_ref());
    }
}

/// Our private key, of the curve P-256.
struct Signer(EcdsaKeyPair);

impl SigningKey for Signer {
    fn sign(&mut self, data: &[u8], hash: HashAlgorithm, out: &mut Buf) -> Result<(), CryptoError> {
        let key_hash = self.hash_algorithm();
        if hash != key_hash {
            return Err(CryptoError::SigningKeyHashMismatch { key_hash, requested: hash });
        }
        let signature = self.0.sign(&SystemRandom::new(), data);
        let signature =
            signature.map_err(|_| CryptoError::OperationFailed(CryptoOperation::Sign))?;
        out.clear();
        out.extend_from_slice(signature.as_ref());
        Ok(())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        HashAlgorithm::SHA256
    }

    fn supported_hash_algorithms(&self) -> &[HashAlgorithm] {
        &[HashAlgorithm::SHA256]
    }
}

/// The groups of the key exchange, the cheapest first.
#[derive(Clone, Copy, Debug)]
enum Exchange {
    X25519,
    P256,
}

impl Exchange {
    fn algorithm(self) -> &'static agreement::Algorithm {
        match self {
            Self::X25519 => &agreement::X25519,
            Self::P256 => &agreement::ECDH_P256,
        }
    }
}

impl SupportedKxGroup for Exchange {
    fn name(&self) -> NamedGroup {
        match self {
            Self::X25519 => NamedGroup::X25519,
            Self::P256 => NamedGroup::Secp256r1,
        }
    }

    fn start_exchange(&self, mut buf: Buf) -> Result<Box<dyn ActiveKeyExchange>, CryptoError> {
        let private = EphemeralPrivateKey::generate(self.algorithm(), &SystemRandom::new());
        let failed = |what| move |_| CryptoError::OperationFailed(what);
        let private = private.map_err(failed(CryptoOperation::GenerateEphemeralKey))?;
        let public = private.compute_public_key();
        let public = public.map_err(failed(CryptoOperation::ComputePublicKey))?;
        buf.clear();
        buf.extend_from_slice(public.as_ref());
        Ok(Box::new(Exchanging { exchange: *self, private, public: buf }))
    }
}

/// A key exchange that waits for the peer's key.
struct Exchanging {
    exchange: Exchange,
    private: EphemeralPrivateKey,
    public: Buf,
}

impl ActiveKeyExchange for Exchanging {
    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn complete(self: Box<Self>, peer: &[u8], out: &mut Buf) -> Result<(), CryptoError> {
        let peer = UnparsedPublicKey::new(self.exchange.algorithm(), peer);
        let agreed = agreement::agree_ephemeral(self.private, &peer, |secret| {
            out.clear();
            out.extend_from_slice(secret);
        });
        agreed.map_err(|_| CryptoError::InvalidPublicKey(self.exchange.name()))
    }

    fn group(&self) -> NamedGroup {
        self.exchange.name()
    }
}

/// The cipher suites of both versions.
#[derive(Clone, Copy, Debug)]
enum Aes {
    Gcm128,
    Gcm256,
}

impl Aes {
    fn hash(self) -> HashAlgorithm {
        match self {
            Self::Gcm128 => HashAlgorithm::SHA256,
            Self::Gcm256 => HashAlgorithm::SHA384,
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Gcm128 => 16,
            Self::Gcm256 => 32,
        }
    }

    fn cipher(self, key: &[u8]) -> Result<Box<dyn Cipher>, CryptoError> {
        let algorithm = match self {
            Self::Gcm128 => &aead::AES_128_GCM,
            Self::Gcm256 => &aead::AES_256_GCM,
        };
        let key = aead::UnboundKey::new(algorithm, key)
            .map_err(|_| CryptoError::OperationFailed(CryptoOperation::CreateCipher))?;
        Ok(Box::new(Sealing(aead::LessSafeKey::new(key))))
    }
}

impl SupportedDtls12CipherSuite for Aes {
    fn suite(&self) -> Dtls12CipherSuite {
        match self {
            Self::Gcm128 => Dtls12CipherSuite::ECDHE_ECDSA_AES128_GCM_SHA256,
            Self::Gcm256 => Dtls12CipherSuite::ECDHE_ECDSA_AES256_GCM_SHA384,
        }
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        self.hash()
    }

    fn key_lengths(&self) -> (usize, usize, usize) {
        (0, self.len(), 4)
    }

    fn explicit_nonce_len(&self) -> usize {
        8
    }

    fn tag_len(&self) -> usize {
        16
    }

    fn create_cipher(&self, key: &[u8]) -> Result<Box<dyn Cipher>, CryptoError> {
        self.cipher(key)
    }
}

impl SupportedDtls13CipherSuite for Aes {
    fn suite(&self) -> Dtls13CipherSuite {
        match self {
            Self::Gcm128 => Dtls13CipherSuite::AES_128_GCM_SHA256,
            Self::Gcm256 => Dtls13CipherSuite::AES_256_GCM_SHA384,
        }
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        self.hash()
    }

    fn key_len(&self) -> usize {
        self.len()
    }

    fn iv_len(&self) -> usize {
        12
    }

    fn tag_len(&self) -> usize {
        16
    }

    fn create_cipher(&self, key: &[u8]) -> Result<Box<dyn Cipher>, CryptoError> {
        self.cipher(key)
    }

    fn encrypt_sn(&self, key: &[u8], sample: &[u8; 16]) -> [u8; 16] {
        let mut block = Array(*sample);
        // A key of another length cannot come: it is cut to `key_len`.
        if let Ok(key) = <[u8; 16]>::try_from(key) {
            aes::Aes128Enc::new(&Array(key)).encrypt_block(&mut block);
        } else if let Ok(key) = <[u8; 32]>::try_from(key) {
            aes::Aes256Enc::new(&Array(key)).encrypt_block(&mut block);
        }
        block.0
    }
}

/// AES-GCM with a key.
struct Sealing(aead::LessSafeKey);

impl Cipher for Sealing {
    fn encrypt(&mut self, text: &mut Buf, aad: Aad, nonce: Nonce) -> Result<(), CryptoError> {
        let nonce = aead::Nonce::try_assume_unique_for_key(&nonce);
        let nonce = nonce.map_err(|_| CryptoError::InvalidNonce)?;
        let sealed = self.0.seal_in_place_append_tag(nonce, aead::Aad::from(&aad[..]), text);
        sealed.map_err(|_| CryptoError::OperationFailed(CryptoOperation::Encrypt))
    }

    fn decrypt(&mut self, text: &mut TmpBuf, aad: Aad, nonce: Nonce) -> Result<(), CryptoError> {
        let nonce = aead::Nonce::try_assume_unique_for_key(&nonce);
        let nonce = nonce.map_err(|_| CryptoError::InvalidNonce)?;
        let opened = self.0.open_in_place(nonce, aead::Aad::from(&aad[..]), text.as_mut());
        let len = opened.map(|text| text.len());
        let len = len.map_err(|_| CryptoError::OperationFailed(CryptoOperation::Decrypt))?;
        text.truncate(len);
        Ok(())
    }
}

/// Writes the name of a type that holds secrets.
macro_rules! debug_without_secrets {
    ($($name:ident)*) => {
        $(impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        })*
    };
}

debug_without_secrets!(Hash Signer Exchanging Sealing);

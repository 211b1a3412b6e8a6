//! Verification of the peer's certificate, in the way that SIPp's users rely on.
//!
//! Without authorities no peer is verified, and signatures are not checked either: the certificate
//! may be of any kind. With authorities the chain, its dates and its revocation are verified. The
//! name is verified if the peer is addressed by a name, since certificates of SIP servers seldom
//! carry IP addresses. A peer that shows one of the given certificates itself is accepted too: the
//! usual set-up of a test has one self-signed certificate on both sides.

use std::cell::Cell;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use super::Trust;
use super::certificate::Certificate;

thread_local! {
    /// The fault of the certificate that this thread refused last. rustls has no room for it in the
    /// errors from which it makes the alerts for the peer.
    static REFUSAL: Cell<Option<String>> = const { Cell::new(None) };
    /// True if a peer asked this thread for a certificate that we do not have.
    static QUESTION: Cell<bool> = const { Cell::new(false) };
}

/// Takes the fault of a certificate that was refused on this thread; the next call returns `None`.
pub(super) fn take_refusal() -> Option<String> {
    REFUSAL.take()
}

/// Returns `true` once after a peer asked for a certificate that we do not have.
pub(super) fn take_question() -> bool {
    QUESTION.take()
}

/// Notes for people the reason why a chain is refused.
fn refuse(end_entity: &CertificateDer<'_>, others: &[CertificateDer<'_>], error: Error) -> Error {
    if let Error::InvalidCertificate(why) = &error {
        REFUSAL.set(sentence(end_entity, others, why));
    }
    error
}

fn sentence(
    end_entity: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    why: &CertificateError,
) -> Option<String> {
    use CertificateError as E;
    let own = Certificate::read(end_entity)?;
    let read_others = || others.iter().filter_map(|other| Certificate::read(other));
    // The wrong dates may be those of an intermediate authority.
    let of = |is_it: &dyn Fn(&Certificate) -> bool| match is_it(&own) {
        true => None,
        false => read_others().find(is_it),
    };
    let dated = |found: Option<Certificate>, what: &str| {
        let (whose, found) = match &found {
            Some(between) => ("the intermediate certificate of", between),
            None => ("the certificate of", &own),
        };
        format!("{whose} {} {what}: it is valid {}", found.subject, found.dates())
    };
    let (subject, dates) = (&own.subject, own.dates());
    Some(match why {
        E::Expired => dated(None, "has expired"),
        E::ExpiredContext { not_after, .. } => {
            let after = i64::try_from(not_after.as_secs()).ok();
            dated(of(&|read| Some(read.not_after.unix_s) == after), "has expired")
        }
        E::NotValidYet => dated(None, "is not yet valid"),
        E::NotValidYetContext { not_before, .. } => {
            let before = i64::try_from(not_before.as_secs()).ok();
            dated(of(&|read| Some(read.not_before.unix_s) == before), "is not yet valid")
        }
        E::Revoked => dated(None, "is revoked (-tls_crl)"),
        E::NotValidForName => dated(None, "is for another name"),
        E::NotValidForNameContext { expected, .. } => {
            let names = match own.names.as_slice() {
                [] => "no name at all".to_owned(),
                names => names.join(", "),
            };
            let expected = expected.to_str();
            format!(
                "the certificate of {subject}, valid {dates}, is not for {expected} but for {names}"
            )
        }
        why if own.is_self_issued && is_stranger(why) => {
            dated(None, "is self-signed and not among those of -tls_ca")
        }
        E::UnknownIssuer => {
            let issuer =
                read_others().next_back().map_or_else(|| own.issuer.clone(), |top| top.issuer);
            let missing = match others.is_empty() {
                true => "; the peer sent no intermediate certificate, and one may be missing",
                false => "",
            };
            format!(
                "the certificate of {subject}, valid {dates}, comes from an unknown authority: \
                 -tls_ca does not have {issuer}{missing}"
            )
        }
        other => {
            let other = Error::InvalidCertificate(other.clone());
            format!("the certificate of {subject}, valid {dates}: {other}")
        }
    })
}

/// Tells whether the issuer is unknown. A self-signed certificate is mostly marked as that of an
/// authority, and is then reported so.
fn is_stranger(why: &CertificateError) -> bool {
    match why {
        CertificateError::UnknownIssuer => true,
        CertificateError::Other(other) => other.to_string().contains("CaUsedAsEndEntity"),
        _ => false,
    }
}

/// Resolver without a certificate, which notes that a server asked for one.
#[derive(Debug)]
pub(super) struct Nothing;

impl ResolvesClientCert for Nothing {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        QUESTION.set(true);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Verifier that accepts every peer.
#[derive(Debug)]
pub(super) struct Anyone {
    schemes: Vec<SignatureScheme>,
}

impl Anyone {
    pub(super) fn new(provider: &CryptoProvider) -> Self {
        Self { schemes: provider.signature_verification_algorithms.supported_schemes() }
    }
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// A client's verifier of servers.
#[derive(Debug)]
pub(super) struct Servers {
    inner: Arc<WebPkiServerVerifier>,
    known: Vec<CertificateDer<'static>>,
}

impl Servers {
    pub(super) fn new(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Self, String> {
        let builder =
            WebPkiServerVerifier::builder_with_provider(roots(trust)?, Arc::clone(provider))
                .with_crls(trust.revoked.iter().cloned())
                .only_check_end_entity_revocation();
        let inner = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { inner, known: trust.roots.clone() })
    }
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.known.iter().any(|known| known.as_ref() == end_entity.as_ref()) {
            return Ok(ServerCertVerified::assertion());
        }
        let verdict = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match (verdict, server_name) {
            // The name is checked last: the chain is good.
            (
                Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. },
                )),
                ServerName::IpAddress(_),
            ) => Ok(ServerCertVerified::assertion()),
            (verdict, _) => verdict.map_err(|error| refuse(end_entity, intermediates, error)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// A server's verifier of clients, which must show a certificate.
#[derive(Debug)]
pub(super) struct Clients {
    inner: Arc<dyn ClientCertVerifier>,
    known: Vec<CertificateDer<'static>>,
}

impl Clients {
    pub(super) fn new(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Self, String> {
        let builder =
            WebPkiClientVerifier::builder_with_provider(roots(trust)?, Arc::clone(provider))
                .with_crls(trust.revoked.iter().cloned())
                .only_check_end_entity_revocation();
        let inner = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { inner, known: trust.roots.clone() })
    }
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.known.iter().any(|known| known.as_ref() == end_entity.as_ref()) {
            return Ok(ClientCertVerified::assertion());
        }
        let verdict = self.inner.verify_client_cert(end_entity, intermediates, now);
        verdict.map_err(|error| refuse(end_entity, intermediates, error))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

fn roots(trust: &Trust) -> Result<Arc<RootCertStore>, String> {
    let mut store = RootCertStore::empty();
    for root in &trust.roots {
        store.add(root.clone()).map_err(|error| error.to_string())?;
    }
    Ok(Arc::new(store))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn only_an_unknown_issuer_makes_a_self_signed_certificate_a_stranger() {
        let own = include_bytes!("../../tests/certs/stranger.pem");
        let own = CertificateDer::from_pem_slice(own).unwrap();
        let said = |why: CertificateError| sentence(&own, &[], &why).unwrap();
        assert!(said(CertificateError::UnknownIssuer).contains("is self-signed and not among"));
        let other = said(CertificateError::BadSignature);
        assert!(!other.contains("self-signed") && other.contains("BadSignature"), "{other}");
    }
}

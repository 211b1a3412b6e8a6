//! Certificates, keys and revocation lists from the text of PEM files.
//!
//! Reads no file: the code that does adds the file's name to an error.

use std::sync::Arc;

use rustls::KeyLog;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, DnsName, PrivateKeyDer, ServerName,
};

use super::TlsVersions;

/// Our identity: a certificate with the chain to its authority, and its key.
#[derive(Debug)]
pub struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

/// The authorities that we trust, and their revocation lists.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    pub(super) roots: Vec<CertificateDer<'static>>,
    pub(super) revoked: Vec<CertificateRevocationListDer<'static>>,
}

/// All that both roles of TLS need.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// Our certificate; a server must have one.
    pub identity: Option<Identity>,
    /// Authorities to verify the peer against; `None` accepts every peer.
    pub trust: Option<Trust>,
    /// Versions to speak.
    pub versions: TlsVersions,
    /// True if a client resumes earlier sessions. A server always permits resumption.
    pub resume: bool,
    /// Receiver of session secrets, which make captures readable.
    pub key_log: Option<Arc<dyn KeyLog>>,
}

/// The fault of a PEM file, with advice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaterialError {
    /// The file is no PEM.
    #[error(
        "it is not PEM: {0}\n  hint: `openssl x509 -inform der` or `openssl pkey -inform der` \
         converts DER to PEM"
    )]
    NotPem(String),
    /// The file has no certificate.
    #[error("it has no certificate (BEGIN CERTIFICATE)")]
    NoCertificate,
    /// The file has no private key.
    #[error("it has no private key (BEGIN PRIVATE KEY)")]
    NoKey,
    /// The private key is encrypted.
    #[error(
        "its key is encrypted\n  hint: `openssl pkey -in FILE -out FILE` writes it without a \
         passphrase"
    )]
    EncryptedKey,
    /// The file has no revocation list.
    #[error("it has no revocation list (BEGIN X509 CRL)")]
    NoRevocationList,
}

impl Identity {
    /// Reads the text of a certificate file (own certificate first, then intermediate ones) and of
    /// a key file (PKCS #8, PKCS #1 or SEC 1).
    ///
    /// # Errors
    /// The first error concerns the certificate file, the second the key file.
    pub fn from_pem(
        chain: &[u8],
        key: &[u8],
    ) -> Result<Self, (Option<MaterialError>, Option<MaterialError>)> {
        let chain = certificates(chain).map_err(|error| (Some(error), None))?;
        let key = private_key(key).map_err(|error| (None, Some(error)))?;
        Ok(Self { chain, key })
    }
}

impl Trust {
    /// Reads the text of a file with certificates of authorities.
    ///
    /// # Errors
    /// The fault of the file.
    pub fn from_pem(roots: &[u8]) -> Result<Self, MaterialError> {
        Ok(Self { roots: certificates(roots)?, revoked: Vec::new() })
    }

    /// Adds the revocation lists of a file.
    ///
    /// # Errors
    /// The fault of the file.
    pub fn revoke(&mut self, lists: &[u8]) -> Result<(), MaterialError> {
        for list in CertificateRevocationListDer::pem_slice_iter(lists) {
            self.revoked.push(list.map_err(not_pem)?);
        }
        if self.revoked.is_empty() { Err(MaterialError::NoRevocationList) } else { Ok(()) }
    }
}

/// The name of a server for TLS: a host name is announced to it (SNI), an address is not. `None` if
/// `host` is neither.
pub fn server_name(host: &str) -> Option<ServerName<'static>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<std::net::IpAddr>() {
        return Some(ServerName::from(ip));
    }
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    DnsName::try_from(name).ok().map(ServerName::DnsName)
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(not_pem)?;
    if found.is_empty() { Err(MaterialError::NoCertificate) } else { Ok(found) }
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, MaterialError> {
    let is_encrypted = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"]
        .iter()
        .any(|mark| memchr::memmem::find(text, mark.as_bytes()).is_some());
    if is_encrypted {
        return Err(MaterialError::EncryptedKey);
    }
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound => MaterialError::NoKey,
        other => not_pem(other),
    })
}

fn not_pem(error: pem::Error) -> MaterialError {
    MaterialError::NotPem(error.to_string())
}

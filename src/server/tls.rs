//! TLS of the HTTP listener: certificate and key from files, read again on request.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The reason why TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error that the system gave.
        source: io::Error,
    },
    /// A file does not contain what it should.
    #[error("{} holds no {what} in PEM form: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The kind of object that was looked for.
        what: &'static str,
        /// The mistake in the file.
        reason: String,
    },
    /// Certificate and key do not fit together, or are not usable.
    #[error("{} and {} cannot be used: {source}", cert.display(), key.display())]
    Unusable {
        /// File of the certificate.
        cert: PathBuf,
        /// File of the key.
        key: PathBuf,
        /// The error of the TLS library.
        source: rustls::Error,
    },
}

/// Reads certificate and key.
///
/// # Errors
/// A file cannot be read or used; the text names it.
pub(super) fn load(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let read = |path: &Path| {
        fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
    };
    let content = |path: &Path, what, reason: String| TlsError::Content {
        path: path.to_owned(),
        what,
        reason,
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(cert)?)
        .collect::<Result<_, _>>()
        .map_err(|error| content(cert, "certificate", error.to_string()))?;
    if chain.is_empty() {
        return Err(content(cert, "certificate", "there is none".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|error| content(key, "private key", error.to_string()))?;
    let unusable =
        |source| TlsError::Unusable { cert: cert.to_owned(), key: key.to_owned(), source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

//! Certificates, keys and revocation lists from the files that the options name.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, io};

use super::RunError;
use crate::config::{RunConfig, TlsVersion};
use crate::stream::{Identity, MaterialError, TlsConfig, TlsSettings, TlsVersions, Trust};

/// SIPp's default files, in the working directory.
const CERT: &str = "cacert.pem";
const KEY: &str = "cakey.pem";

/// The TLS settings of the run, read and checked. Notices for the user are added to `notices`.
pub(super) fn settings(
    config: &RunConfig,
    is_client: bool,
    notices: &mut Vec<String>,
) -> Result<TlsSettings, RunError> {
    let options = &config.tls;
    let settings = TlsSettings {
        identity: identity(config, is_client)?,
        trust: trust(config)?,
        versions: match options.version {
            TlsVersion::Auto => TlsVersions::Both,
            TlsVersion::V1_2 => TlsVersions::V1_2,
            TlsVersion::V1_3 => TlsVersions::V1_3,
        },
        resume: options.resume,
        key_log: match env::var_os("SSLKEYLOGFILE") {
            None => None,
            Some(path) => {
                notices.push(format!(
                    "TLS secrets are written to {} (SSLKEYLOGFILE)",
                    Path::new(&path).display()
                ));
                Some(Arc::new(rustls::KeyLogFile::new()))
            }
        },
    };
    // Files that do not fit together are found now, and not by a worker.
    let of = |what: String| RunError::Tls { what };
    let client = TlsConfig::client(&settings).map_err(of)?;
    if settings.identity.is_some() {
        let tickets = TlsConfig::tickets().map_err(of)?;
        client.with_server(&settings, &tickets).map_err(of)?;
    }
    Ok(settings)
}

fn identity(config: &RunConfig, is_client: bool) -> Result<Option<Identity>, RunError> {
    let options = &config.tls;
    let cert = options.cert.clone().unwrap_or_else(|| PathBuf::from(CERT));
    let key = options.key.clone().unwrap_or_else(|| PathBuf::from(KEY));
    let is_default = options.cert.is_none() && options.key.is_none();
    let are_there = !config.access.is_confined() && cert.exists() && key.exists();
    if is_default && is_client && !are_there {
        return Ok(None);
    }
    let missing = |flag, path: &Path, source: io::Error| match is_default {
        true => RunError::NoCertificate { path: path.to_owned(), source },
        false => RunError::TlsFile { flag, path: path.to_owned(), reason: source.to_string() },
    };
    let chain =
        config.access.read_material(&cert).map_err(|error| missing("tls_cert", &cert, error))?;
    let private =
        config.access.read_material(&key).map_err(|error| missing("tls_key", &key, error))?;
    Identity::from_pem(&chain, &private).map(Some).map_err(|(of_chain, of_key)| {
        match (of_chain, of_key) {
            (Some(error), _) => bad("tls_cert", &cert, &error),
            (None, error) => bad("tls_key", &key, &error.unwrap_or(MaterialError::NoKey)),
        }
    })
}

fn trust(config: &RunConfig) -> Result<Option<Trust>, RunError> {
    let options = &config.tls;
    let Some(ca) = options.ca.as_deref().filter(|_| options.skip_verify != Some(true)) else {
        return Ok(None);
    };
    let mut trust =
        Trust::from_pem(&read(config, "tls_ca", ca)?).map_err(|error| bad("tls_ca", ca, &error))?;
    if let Some(crl) = options.crl.as_deref() {
        trust
            .revoke(&read(config, "tls_crl", crl)?)
            .map_err(|error| bad("tls_crl", crl, &error))?;
    }
    Ok(Some(trust))
}

fn read(config: &RunConfig, flag: &'static str, path: &Path) -> Result<Vec<u8>, RunError> {
    config.access.read_material(path).map_err(|error| RunError::TlsFile {
        flag,
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn bad(flag: &'static str, path: &Path, error: &MaterialError) -> RunError {
    RunError::TlsFile { flag, path: path.to_owned(), reason: error.to_string() }
}

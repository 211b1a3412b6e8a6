//! TLS of one connection: records of the peer go in and plain bytes come out, and the reverse.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::server::ProducesTickets;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, Connection, Error, HandshakeKind,
    InvalidMessage, ServerConfig, ServerConnection, SupportedProtocolVersion,
};

use super::tls_verify::{Anyone, Clients, Nothing, Servers, take_question, take_refusal};
use super::{SessionFailure, TlsSettings};

/// The versions of TLS to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersions {
    /// 1.3 if the peer has it, else 1.2.
    #[default]
    Both,
    /// TLS 1.2 only.
    V1_2,
    /// TLS 1.3 only.
    V1_3,
}

impl TlsVersions {
    fn list(self) -> &'static [&'static SupportedProtocolVersion] {
        const NEW: &SupportedProtocolVersion = &rustls::version::TLS13;
        const OLD: &SupportedProtocolVersion = &rustls::version::TLS12;
        match self {
            Self::Both => &[NEW, OLD],
            Self::V1_2 => &[OLD],
            Self::V1_3 => &[NEW],
        }
    }
}

/// The TLS settings of one worker's sessions. Each worker has its own, so that none waits for
/// another one's cache of sessions.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    pub(super) client: Option<Arc<ClientConfig>>,
    pub(super) server: Option<Arc<ServerConfig>>,
}

/// Sessions that a client remembers for resumption, by name of the server.
const SESSIONS: usize = 256;

impl TlsConfig {
    /// Settings for connections that we make.
    ///
    /// # Errors
    /// A sentence about the certificate, key or authorities.
    pub fn client(settings: &TlsSettings) -> Result<Self, String> {
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(settings.versions.list())
            .map_err(|error| error.to_string())?
            .dangerous();
        let builder = match &settings.trust {
            None => builder.with_custom_certificate_verifier(Arc::new(Anyone::new(&provider))),
            Some(trust) => {
                builder.with_custom_certificate_verifier(Arc::new(Servers::new(trust, &provider)?))
            }
        };
        let mut config = match &settings.identity {
            None => builder.with_client_cert_resolver(Arc::new(Nothing)),
            Some(identity) => {
                let key = identity.key.clone_key();
                builder.with_client_auth_cert(identity.chain.clone(), key).map_err(mismatch)?
            }
        };
        config.resumption = match settings.resume {
            true => Resumption::in_memory_sessions(SESSIONS),
            false => Resumption::disabled(),
        };
        if let Some(key_log) = &settings.key_log {
            config.key_log = Arc::clone(key_log);
        }
        Ok(Self { client: Some(Arc::new(config)), server: None })
    }

    /// Adds settings for connections that peers make. `tickets` come from
    /// [`tickets`](Self::tickets), one for all workers, so that any of them can resume a session.
    ///
    /// # Errors
    /// A sentence about the certificate, key or authorities.
    pub fn with_server(
        mut self,
        settings: &TlsSettings,
        tickets: &Arc<dyn ProducesTickets>,
    ) -> Result<Self, String> {
        let Some(identity) = &settings.identity else {
            return Err("a TLS server needs a certificate".to_owned());
        };
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(settings.versions.list())
            .map_err(|error| error.to_string())?;
        let builder = match &settings.trust {
            None => builder.with_no_client_auth(),
            Some(trust) => {
                builder.with_client_cert_verifier(Arc::new(Clients::new(trust, &provider)?))
            }
        };
        let key = identity.key.clone_key();
        let mut config = builder.with_single_cert(identity.chain.clone(), key).map_err(mismatch)?;
        config.ticketer = Arc::clone(tickets);
        // One ticket is enough for a peer that resumes; each costs.
        config.send_tls13_tickets = 1;
        if let Some(key_log) = &settings.key_log {
            config.key_log = Arc::clone(key_log);
        }
        self.server = Some(Arc::new(config));
        Ok(self)
    }

    /// The keys that seal session tickets.
    ///
    /// # Errors
    /// There was no randomness.
    pub fn tickets() -> Result<Arc<dyn ProducesTickets>, String> {
        ring::Ticketer::new().map_err(|error| error.to_string())
    }
}

fn mismatch(error: Error) -> String {
    match error {
        Error::InconsistentKeys(_) => "the key does not belong to the certificate".to_owned(),
        other => other.to_string(),
    }
}

/// The TLS layer of one connection.
pub(super) struct TlsSession {
    connection: Connection,
    /// True if the peer asked for a certificate, and there was none to show.
    was_asked: bool,
}

impl TlsSession {
    pub(super) fn client(
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, Error> {
        let connection = ClientConnection::new(Arc::clone(config), name)?;
        Ok(Self::new(Connection::Client(connection)))
    }

    pub(super) fn server(config: &Arc<ServerConfig>) -> Result<Self, Error> {
        let connection = ServerConnection::new(Arc::clone(config))?;
        Ok(Self::new(Connection::Server(connection)))
    }

    fn new(mut connection: Connection) -> Self {
        // The session bounds the waiting bytes, and takes them out at once.
        connection.set_buffer_limit(None);
        Self { connection, was_asked: false }
    }

    pub(super) fn is_open(&self) -> bool {
        !self.connection.is_handshaking()
    }

    /// Tells whether an earlier session was resumed.
    pub(super) fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Takes records of the peer; plain bytes go to `plain`. Returns `true` if the peer has
    /// announced the end.
    pub(super) fn receive(
        &mut self,
        mut records: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<bool, SessionFailure> {
        let mut closed = false;
        while !records.is_empty() {
            // The copy is from memory to memory: the only error is that plain bytes must be taken
            // first.
            match self.connection.read_tls(&mut records) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            let processed = self.connection.process_new_packets();
            self.was_asked |= take_question();
            let state = processed.map_err(|error| failure(error, self.was_asked))?;
            let waiting = state.plaintext_bytes_to_read();
            if waiting > 0 {
                let from = plain.len();
                plain.resize(from + waiting, 0);
                let read = self.connection.reader().read(&mut plain[from..]).unwrap_or(0);
                plain.truncate(from + read);
            }
            if state.peer_has_closed() {
                closed = true;
                break;
            }
        }
        Ok(closed)
    }

    /// Encrypts plain bytes. Before the end of the handshake they wait.
    pub(super) fn send(&mut self, plain: &[u8]) {
        // Without a limit all bytes are taken.
        let _ = self.connection.writer().write_all(plain);
    }

    /// Takes the records to write.
    pub(super) fn output(&mut self, records: &mut Vec<u8>) {
        while self.connection.wants_write() {
            // Writing to a vector cannot fail.
            if self.connection.write_tls(records).is_err() {
                return;
            }
        }
    }

    /// Announces the end (`close_notify`).
    pub(super) fn close(&mut self) {
        self.connection.send_close_notify();
    }
}

fn failure(error: Error, was_asked: bool) -> SessionFailure {
    match error {
        Error::InvalidCertificate(_) => {
            SessionFailure::Certificate(take_refusal().unwrap_or_else(|| error.to_string()))
        }
        Error::NoCertificatesPresented => SessionFailure::NoCertificate,
        Error::InvalidCertRevocationList(_) => SessionFailure::Certificate(error.to_string()),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            SessionFailure::Tls(format!("the peer does not speak TLS on this connection ({error})"))
        }
        Error::AlertReceived(alert) => match objection(alert) {
            // TLS 1.2 reports a missing certificate with this alert (RFC 5246 section 7.4.6).
            _ if was_asked && alert == AlertDescription::HandshakeFailure => {
                SessionFailure::Demanded
            }
            Some(_) if was_asked => SessionFailure::Demanded,
            Some(why) => SessionFailure::Refused(format!("{why} (TLS alert {alert:?})")),
            None => SessionFailure::Tls(error.to_string()),
        },
        other => SessionFailure::Tls(other.to_string()),
    }
}

/// The peer's objection to our certificate in words, if the alert is about that.
fn objection(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::UnknownCA => "unknown authority",
        AlertDescription::CertificateExpired => "expired, or not yet valid",
        AlertDescription::CertificateRevoked => "revoked",
        AlertDescription::UnsupportedCertificate => "of a kind that it does not support",
        AlertDescription::BadCertificate => "corrupt, or signed wrongly",
        AlertDescription::CertificateUnknown => "not acceptable",
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => "none was shown",
        _ => return None,
    })
}

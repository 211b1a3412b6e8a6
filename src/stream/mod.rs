//! SIP over byte streams: TCP, TLS (RFC 3261 section 26.2, RFC 5922) and WebSocket (RFC 7118).
//!
//! A [`Session`] is one connection without its socket. Bytes of the peer go in and whole SIP
//! messages come out; a message to send goes in and bytes to write come out. It opens no socket,
//! reads no clock and no file; times are arguments. (The one exception is the clock of rustls,
//! which compares the dates of certificates with the system's time.) It knows nothing of calls.
//!
//! TLS is rustls with `ring`: TLS 1.2 and 1.3 only, no CBC suites, no key exchange without forward
//! secrecy. WebSocket is tungstenite on buffers in memory.

mod buffer;
mod certificate;
mod http;
mod inbox;
mod session;
#[cfg(test)]
mod tests;
mod tls;
mod tls_material;
mod tls_verify;
mod websocket;

pub use session::{Role, Session, SessionConfig, SessionConfigError, Shake};
pub use tls::{TlsConfig, TlsVersions};
pub use tls_material::{Identity, MaterialError, TlsSettings, Trust, server_name};

use crate::sip::{FrameLimits, ParseError};

/// Limits on the bytes and the time that one peer may cost us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message.
    pub frame: FrameLimits,
    /// Longest time from the first byte of a message to its last, in nanoseconds.
    pub message_ns_max: u64,
    /// Longest time until a connection is usable: TCP, TLS and WebSocket handshakes together, in
    /// nanoseconds.
    pub handshake_ns_max: u64,
    /// Bytes of messages that wait for a handshake to end, or for room in the kernel.
    pub waiting_bytes_max: usize,
}

impl Default for Limits {
    /// 32 s for a message and for a handshake, the time that SIP waits for an answer (64 * T1, RFC
    /// 3261 section 17.1.1.2); 4 MiB of waiting messages, as much as a worker may send in one turn
    /// before it learns that a connection is congested.
    fn default() -> Self {
        Self {
            frame: FrameLimits::default(),
            message_ns_max: 32_000_000_000,
            handshake_ns_max: 32_000_000_000,
            waiting_bytes_max: 4 << 20,
        }
    }
}

/// The reason why a session is of no further use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionFailure {
    /// The TLS handshake failed, or a record could not be read.
    #[error("TLS: {0}")]
    Tls(String),
    /// The peer's certificate is not trusted.
    #[error("the peer's certificate is refused: {0}")]
    Certificate(String),
    /// The peer has no certificate.
    #[error("the peer sent no certificate, but -tls_ca requires one")]
    NoCertificate,
    /// The peer does not trust our certificate.
    #[error("the peer refused our certificate: {0}")]
    Refused(String),
    /// We have no certificate to show.
    #[error("the peer demands a certificate: give -tls_cert and -tls_key")]
    Demanded,
    /// The WebSocket handshake failed, or a frame could not be read.
    #[error("WebSocket: {0}")]
    WebSocket(String),
    /// The end of a message cannot be found.
    #[error("the stream cannot be cut into messages: {0}")]
    Framing(ParseError),
    /// A message took too long to arrive.
    #[error("a message took too long to arrive")]
    SlowMessage,
    /// The handshake took too long.
    #[error("the handshake took too long")]
    SlowHandshake,
    /// The peer has ended the TLS session or the WebSocket.
    #[error("the peer has ended the session")]
    Ended,
}

/// The session did not take a message: too many bytes wait to be sent already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Congested;

//! The HTTP side of a WebSocket handshake (RFC 6455 section 4, RFC 7118 section 4).

use tungstenite::handshake::client::Request as ClientRequest;
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::http::{HeaderValue, StatusCode, header, request};

/// The subprotocol of RFC 7118.
const SIP: &str = "sip";

/// Longest head of an HTTP request or response.
pub(super) const HEAD_BYTES_MAX: usize = 16_384;

/// The request that opens a WebSocket for SIP at `authority` (`host:port`), path `/`. `None` if a
/// URI cannot contain the authority.
pub(super) fn upgrade(authority: &str, is_secure: bool) -> Option<ClientRequest> {
    let scheme = if is_secure { "wss" } else { "ws" };
    request::Builder::new()
        .uri(format!("{scheme}://{authority}/"))
        .header(header::HOST, authority)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, tungstenite::handshake::client::generate_key())
        .header(header::SEC_WEBSOCKET_PROTOCOL, SIP)
        .body(())
        .ok()
}

/// Judges a client's request for a server: the client must offer the subprotocol (RFC 7118 section
/// 4).
#[allow(clippy::result_large_err)] // tungstenite's own type.
pub(super) fn admit(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offers = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let offers_sip = offers
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|protocol| protocol.trim().eq_ignore_ascii_case(SIP));
    if offers_sip {
        response
            .headers_mut()
            .insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SIP));
        return Ok(response);
    }
    let text = "this WebSocket speaks the subprotocol \"sip\" (RFC 7118)\n".to_owned();
    let length = HeaderValue::from(text.len());
    let mut refusal = ErrorResponse::new(Some(text));
    *refusal.status_mut() = StatusCode::BAD_REQUEST;
    refusal.headers_mut().insert(header::CONTENT_LENGTH, length);
    Err(refusal)
}

/// The length of the head of a request or response, once all of it has arrived.
pub(super) fn head_end(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

//! One HTTP connection: requests in, answers out, and an answer in JSON for a malformed request.
//!
//! hyper by itself answers a head that it cannot read, without a body. [`Quiet`] keeps those
//! answers back. The client gets ours, which says what was wrong.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::watch;
use tokio::time::timeout;
use tower::ServiceExt as _;

use super::api::{ADDRESS_BYTES_MAX, ApiError, Peer};
use super::http::HEAD_TIMEOUT;
use super::metrics::{Metrics, RequestRefusal};

/// The most bytes of the head of a request.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// The longest time for reading further input of a client after its last answer.
const LINGER: Duration = Duration::from_secs(1);

/// The most bytes that are read of it.
const LINGER_BYTES_MAX: u64 = 1 << 20;

/// The first byte of a TLS handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// Serves a connection, from its first request to its last.
pub(super) async fn serve<S>(
    stream: S,
    peer: Peer,
    router: Router,
    metrics: Arc<Metrics>,
    mut closing: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (address, is_secure) = (peer.address, peer.is_secure);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let work = router.clone().oneshot(request.map(Body::new));
        async move { Ok::<Response, Infallible>(work.await.unwrap_or_else(|never| match never {})) }
    });
    let io = TokioIo::new(Quiet { stream, has_kept_back: false });
    let mut connection = builder().serve_connection(io, service).with_upgrades();
    let mut is_closing = false;
    let result = tokio::select! {
        result = &mut connection => result,
        () = super::http::closed(&mut closing) => {
            is_closing = true;
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    // A connection that became a WebSocket has no parts left.
    let Some(parts) = connection.into_parts() else { return };
    let mut stream = parts.io.into_inner().stream;
    if let Err(error) = result {
        tracing::debug!(%address, %error, "a connection broke off");
        let Some((cause, error)) = judge(&error, &parts.read_buf) else { return };
        metrics.request_refused(cause);
        if stream.write_all(&error.to_bytes(is_secure)).await.is_err() {
            return;
        }
    }
    if !is_closing {
        linger(&mut stream, LINGER, LINGER_BYTES_MAX).await;
    }
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        // A client that has sent all may still read the answer, as in `printf ... | nc`.
        .half_close(true)
        // One buffer for each write: `Quiet` looks at single buffers.
        .writev(false);
    builder
}

/// Ends a connection so that the other side gets to read its answer. Closing with unread bytes
/// would take the answer back (RFC 9112, section 9.6; RFC 1122, section 4.2.2.13). Reads on for
/// `time` and `bytes_max` bytes at most: a peer that has not read the answer by then will not.
pub(super) async fn linger<S>(stream: &mut S, time: Duration, bytes_max: u64)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _ = timeout(time, async {
        // It may have been shut down before.
        let _ = stream.shutdown().await;
        tokio::io::copy(&mut stream.take(bytes_max), &mut tokio::io::sink()).await
    })
    .await;
}

/// The refusal for a head that could not be read; `None` for a client that has simply left.
/// `unread` is the part of the head that arrived.
fn judge(error: &hyper::Error, unread: &[u8]) -> Option<(RequestRefusal, ApiError)> {
    let bad = |text: &str| (RequestRefusal::BadHead, ApiError::bad_request(text));
    let line_bytes = unread.iter().position(|byte| *byte == b'\n').unwrap_or(unread.len());
    if error.is_timeout() {
        // Between two requests no client waits for an answer.
        (!unread.is_empty()).then(|| (RequestRefusal::SlowHead, ApiError::too_slow(HEAD_TIMEOUT)))
    } else if error.is_parse_version_h2() {
        Some(bad("HTTP/2 is not supported; use HTTP/1.1"))
    } else if error.is_parse_too_large() && line_bytes > ADDRESS_BYTES_MAX {
        Some((RequestRefusal::LongAddress, ApiError::address_too_long()))
    } else if error.is_parse_too_large() {
        let text = format!(
            "the head of the request is too large; the limit is {} KiB and 100 header lines",
            HEAD_BYTES_MAX >> 10
        );
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        Some((RequestRefusal::LargeHead, ApiError::new(status, text)))
    } else if error.is_parse() && unread.first() == Some(&TLS_HANDSHAKE) {
        Some(bad("this is HTTP without TLS; use http://, or give api_tls_cert and api_tls_key"))
    } else if error.is_parse() {
        Some(bad("this is not an HTTP/1.1 request: its first line or a header line is malformed"))
    } else if error.is_incomplete_message() && !unread.is_empty() {
        Some(bad("the head of the request is not complete"))
    } else {
        None
    }
}

/// A stream that leaves out the answers which hyper makes by itself.
struct Quiet<S> {
    stream: S,
    has_kept_back: bool,
}

/// The offset at which hyper's own answer begins, if `bytes` end with one. That answer is the last
/// thing that hyper writes on a connection, and the only head without a header of ours.
fn bare_answer(bytes: &[u8]) -> Option<usize> {
    const DATE: &[u8] = b"date: ";
    const REST: &[u8] = b"connection: close\r\ncontent-length: 0\r\n";
    let head = bytes.strip_suffix(b"\r\n\r\n")?;
    let line = |bytes: &[u8]| bytes.windows(2).rposition(|pair| pair == b"\r\n").map(|at| at + 2);
    let date = line(head)?;
    let before = head[date..].starts_with(DATE).then(|| &head[..date])?;
    let status = before.strip_suffix(REST)?.strip_suffix(b"\r\n")?;
    [&b" 400 Bad Request"[..], b" 414 URI Too Long", b" 431 Request Header Fields Too Large"]
        .iter()
        .find_map(|line| {
            let version = status.strip_suffix(*line)?;
            let is_version = version.ends_with(b"HTTP/1.1") || version.ends_with(b"HTTP/1.0");
            is_version.then(|| version.len() - b"HTTP/1.1".len())
        })
}

impl<S: AsyncRead + Unpin> AsyncRead for Quiet<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Quiet<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match bare_answer(bytes) {
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
            Some(0) => {
                self.has_kept_back = true;
                Poll::Ready(Ok(bytes.len()))
            }
            // The bytes before it are the answer to a good request.
            Some(begin) => Pin::new(&mut self.stream).poll_write(context, &bytes[..begin]),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.has_kept_back {
            // Bytes of ours are still to be sent.
            true => Pin::new(&mut self.stream).poll_flush(context),
            false => Pin::new(&mut self.stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_of_hyper_are_told_from_ours() {
        let date = "date: Mon, 30 Nov 2026 03:22:31 GMT\r\n\r\n";
        let rest = "connection: close\r\ncontent-length: 0\r\n";
        for status in ["400 Bad Request", "414 URI Too Long", "431 Request Header Fields Too Large"]
        {
            let bare = format!("HTTP/1.1 {status}\r\n{rest}{date}");
            assert_eq!(bare_answer(bare.as_bytes()), Some(0), "{bare}");
            let good = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
            let both = format!("{good}{bare}");
            assert_eq!(bare_answer(both.as_bytes()), Some(good.len()), "{both}");
        }
        for other in [
            format!("HTTP/1.1 400 Bad Request\r\nx: y\r\n{rest}{date}"),
            format!("HTTP/1.1 404 Not Found\r\n{rest}{date}"),
            format!("HTTP/1.1 400 Bad Request\r\n{rest}\r\n"),
            date.to_owned(),
            "\r\n\r\n".to_owned(),
            String::new(),
        ] {
            assert_eq!(bare_answer(other.as_bytes()), None, "{other}");
        }
    }
}

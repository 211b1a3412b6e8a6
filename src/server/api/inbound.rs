//! Bounded input from the other side of a connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::server::connection;

/// The time that a dropped client may take to read the reason.
const LINGER: Duration = Duration::from_secs(2);
/// The most bytes that are read from such a client meanwhile.
const LINGER_BYTES_MAX: u64 = 8 << 20;

/// A connection that gives at most `limit` bytes until it is renewed.
pub(super) struct Inbound<S> {
    io: S,
    limit: usize,
    left: usize,
}

impl<S> Inbound<S> {
    /// A connection that gives up to `limit` bytes at a time.
    pub(super) fn new(io: S, limit: usize) -> Self {
        Self { io, limit, left: limit }
    }

    /// Allows as many bytes again.
    pub(super) fn renew(&mut self) {
        self.left = self.limit;
    }

    /// Tells whether `error` means that the other side sent too much.
    pub(super) fn is_used_up(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::QuotaExceeded
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Inbound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        self.left = self.left.saturating_sub(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Inbound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Ends a connection whose other side may still be sending.
pub(super) async fn linger<S: AsyncRead + AsyncWrite + Unpin>(connection: &mut Inbound<S>) {
    connection::linger(&mut connection.io, LINGER, LINGER_BYTES_MAX).await;
}

//! HTTP on a socket: who may connect, for how long, and how connections end. What is served is the
//! business of `api`.
//!
//! Limits of time: 5 s for TLS and for the head of a request (the wait for the next request on a
//! connection included), 30 s for a body (`api/body.rs`), 60 s for a response that is not taken.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::api::Peer;

/// Connections at once, WebSockets included.
const CONNECTIONS_MAX: usize = 1024;

/// How long a client may take for its TLS handshake, and for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a response may wait for its reader to take some of it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long open requests may take after the daemon was asked to stop.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of the head of a request.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// How long to wait when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a connection gets that is one too many.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\
    Content-Length: 54\r\nRetry-After: 1\r\nConnection: close\r\n\r\n\
    {\"error\":\"too many connections; try again in a while\"}";

/// Settings of TLS, exchanged when the daemon is told to read its files again.
pub(super) type Tls = ArcSwap<rustls::ServerConfig>;

/// A bound socket, and what is served on it.
pub(super) struct Http {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) router: Router,
}

impl Http {
    /// Serves until `closing`, and then until open requests are answered or have had their time.
    pub(super) async fn serve(self, mut closing: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut complained: Option<Instant> = None;
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = closed(&mut closing) => break,
            };
            match accepted {
                Ok((stream, address)) => self.take(stream, address, &places, &closing),
                // The client has left already.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if complained.is_none_or(|at| at.elapsed() > Duration::from_secs(60)) {
                        complained = Some(Instant::now());
                        tracing::warn!(%error, "cannot accept connections; raise LimitNOFILE");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self);
        // All places are free when the last connection is gone.
        let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
        if timeout(SHUTDOWN_TIMEOUT, places.acquire_many(all)).await.is_err() {
            tracing::warn!("connections are cut that did not end within 10 s");
        }
    }

    fn take(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        places: &Arc<Semaphore>,
        closing: &watch::Receiver<bool>,
    ) {
        let Ok(permit) = Arc::clone(places).try_acquire_owned() else {
            tracing::debug!(%address, "a connection too many is refused");
            if self.tls.is_none() {
                tokio::spawn(refuse(stream));
            }
            return;
        };
        // Frames and responses are written whole; there is nothing to wait for.
        let _ = stream.set_nodelay(true);
        let peer = Peer { address, is_secure: self.tls.is_some(), permit: Arc::new(permit) };
        let (router, closing) = (self.router.clone(), closing.clone());
        match &self.tls {
            None => _ = tokio::spawn(connection(Timed::new(stream), peer, router, closing)),
            Some(tls) => {
                let acceptor = TlsAcceptor::from(tls.load_full());
                tokio::spawn(async move {
                    match timeout(HEAD_TIMEOUT, acceptor.accept(Timed::new(stream))).await {
                        Ok(Ok(stream)) => connection(stream, peer, router, closing).await,
                        Ok(Err(error)) => tracing::debug!(%address, %error, "no TLS"),
                        Err(_) => tracing::debug!(%address, "TLS took too long"),
                    }
                });
            }
        }
    }
}

/// Waits until connections are to end.
async fn closed(closing: &mut watch::Receiver<bool>) {
    // Without a sender there is no daemon.
    let _ = closing.wait_for(|closing| *closing).await;
}

async fn refuse(mut stream: TcpStream) {
    // A client that does not want to hear it does not have to.
    let _ = timeout(Duration::from_secs(1), stream.write_all(REFUSAL)).await;
}

/// One connection, from its first request to its last.
async fn connection<S>(stream: S, peer: Peer, router: Router, mut closing: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let address = peer.address;
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let work = router.clone().oneshot(request.map(Body::new));
        async move { Ok::<Response, Infallible>(work.await.unwrap_or_else(|never| match never {})) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .pipeline_flush(true);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = closed(&mut closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%address, %error, "a connection broke off");
    }
}

/// A stream whose writes fail if the other side takes nothing for [`WRITE_TIMEOUT`].
struct Timed<S> {
    stream: S,
    stuck: Option<Pin<Box<Sleep>>>,
}

impl<S> Timed<S> {
    fn new(stream: S) -> Self {
        Self { stream, stuck: None }
    }

    /// What becomes of a write of which the stream said `poll`.
    fn judge<T>(
        &mut self,
        context: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stuck = None;
            return poll;
        }
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(stuck.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(context, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_as_long_as_it_says() {
        let text = std::str::from_utf8(REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{}", body.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_is_given_up() {
        let (near, _far) = tokio::io::duplex(16);
        let mut stream = Timed::new(near);
        let error = stream.write_all(&[0; 17]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}

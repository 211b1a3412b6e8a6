//! HTTP on a socket: its connections, their limits of time, and their end. `api` decides what is
//! served.
//!
//! Limits of time: 5 s for TLS and for the head of a request (the wait for the next request on a
//! connection included); 5 s for a body from a client that has not signed in, and 30 s for one from
//! a client that has (`api/body.rs`); 60 s for a response that is not taken. `places.rs` decides
//! which client gets a connection.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::api::{ApiError, Peer};
use super::connection;
use super::metrics::{ConnectionRefusal, Metrics};
use super::places::{Origin, Places};

/// Refusals that are being written at once; further connections are closed without a word.
const REFUSALS_MAX: usize = 64;

/// The time that a refusal may take to be read.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// The time that a client may take for its TLS handshake, and for the head of a request.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The time that a response may wait for its reader to take some of it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// The time that open requests may take after the daemon was asked to stop.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause before accepting again when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The response on a connection that is one too many.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\
    Content-Length: 54\r\nRetry-After: 1\r\nConnection: close\r\n\r\n\
    {\"error\":\"too many connections; try again in a while\"}";

/// Settings of TLS, replaced when the daemon reads its files again.
pub(super) type Tls = ArcSwap<rustls::ServerConfig>;

/// A bound socket, and the router that is served on it.
pub(super) struct Http {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) router: Router,
    pub(super) metrics: Arc<Metrics>,
    /// Tells whether an address is that of a proxy which is trusted.
    pub(super) is_proxy: IsProxy,
}

/// Tells the addresses of trusted proxies.
pub(super) type IsProxy = Box<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// The state that the accept loop keeps.
struct Door {
    places: Arc<Places>,
    refusals: Arc<Semaphore>,
    closing: watch::Receiver<bool>,
}

impl Http {
    /// Serves until `closing`, and then until open requests are answered or have had their time.
    pub(super) async fn serve(self, mut closing: watch::Receiver<bool>) {
        let door = Door {
            places: Arc::new(Places::new(Arc::clone(&self.metrics))),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            closing: closing.clone(),
        };
        let mut complained: Option<Instant> = None;
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = closed(&mut closing) => break,
            };
            match accepted {
                Ok((stream, address)) => self.take(stream, address, &door),
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
        if timeout(SHUTDOWN_TIMEOUT, door.places.all_free()).await.is_err() {
            tracing::warn!("connections that did not end within 10 s are cut");
        }
    }

    /// Gives a connection its place, or refuses it. Waits for nothing.
    fn take(&self, stream: TcpStream, address: SocketAddr, door: &Door) {
        let ip = address.ip().to_canonical();
        let is_here = ip.is_loopback();
        let origin = match is_here {
            // Programs of this host have that address, and so has a proxy here. Its first request
            // shows it.
            true if ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST => Origin::Here,
            _ if (self.is_proxy)(ip) => Origin::Proxy,
            true => Origin::Here,
            false => Origin::Away,
        };
        let seat = match door.places.take(address.ip(), origin) {
            Ok(seat) => Arc::new(seat),
            Err(cause) => {
                tracing::debug!(%address, ?cause, "a connection is refused: there are too many");
                // Over TLS a refusal would cost a handshake.
                if self.tls.is_none()
                    && let Ok(permit) = Arc::clone(&door.refusals).try_acquire_owned()
                {
                    tokio::spawn(async move {
                        refuse(stream).await;
                        drop(permit);
                    });
                }
                return;
            }
        };
        // Frames and responses are written whole; there is nothing to wait for.
        let _ = stream.set_nodelay(true);
        let is_secure = self.tls.is_some();
        let peer = Peer { address, is_here, is_secure, seat: Arc::clone(&seat), turn: None };
        let work = self.converse(stream, peer, door.closing.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = work => {}
                () = seat.wanted() => tracing::debug!(%address, "its place went to another one"),
            }
        });
    }

    /// Serves a connection, from the handshake to its end.
    fn converse(
        &self,
        stream: TcpStream,
        peer: Peer,
        closing: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (router, metrics) = (self.router.clone(), Arc::clone(&self.metrics));
        let acceptor = self.tls.as_ref().map(|tls| TlsAcceptor::from(tls.load_full()));
        async move {
            let Some(acceptor) = acceptor else {
                return connection::serve(Timed::new(stream), peer, router, metrics, closing).await;
            };
            let address = peer.address;
            match timeout(HEAD_TIMEOUT, handshake(stream, &acceptor)).await {
                Ok(Ok(stream)) => {
                    return connection::serve(stream, peer, router, metrics, closing).await;
                }
                Ok(Err(error)) => tracing::debug!(%address, %error, "no TLS"),
                Err(_) => tracing::debug!(%address, "TLS took too long"),
            }
            metrics.connection_refused(ConnectionRefusal::Handshake);
        }
    }
}

/// Waits until the connections are to end.
pub(super) async fn closed(closing: &mut watch::Receiver<bool>) {
    // Without a sender there is no daemon.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Makes the TLS handshake. A client that speaks HTTP without TLS gets an answer that says so.
async fn handshake(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
) -> io::Result<TlsStream<Timed<TcpStream>>> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    // An upper-case letter begins a method; a handshake begins with 22.
    if first[0].is_ascii_uppercase() {
        let error = ApiError::bad_request("this is HTTPS; use https://");
        send_off(stream, &error.to_bytes(true)).await?;
        return Err(io::Error::other("HTTP without TLS"));
    }
    acceptor.accept(Timed::new(stream)).await
}

/// Answers a connection for which there is no place, and lets the client read that: closing with
/// its request unread would take the answer back (RFC 9112, section 9.6).
async fn refuse(stream: TcpStream) {
    let _ = timeout(REFUSAL_TIMEOUT, send_off(stream, REFUSAL)).await;
}

async fn send_off(mut stream: TcpStream, answer: &[u8]) -> io::Result<()> {
    stream.write_all(answer).await?;
    stream.shutdown().await?;
    let mut unread = [0; 1024];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
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

    /// The result of a write for which the stream returned `poll`: an error after too long a wait.
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

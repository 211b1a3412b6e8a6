//! The live WebSocket: a frame with the state of everything, every interval.
//!
//! A frame is made once for all clients with that interval, and not at all if one was made just
//! before. A client that reads too slowly skips frames (the channel keeps the newest only), and is
//! dropped if a frame cannot be sent for [`WRITE_TIMEOUT`]. A client that sends too much is told so
//! and dropped. Other clients do not notice.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::response::{IntoResponse as _, Response};
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{HeaderMap, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::app::App;
use super::call::{Answer, Call, Peer, json};
use super::error::ApiError;
use super::inbound::{Inbound, linger};
use super::model::{Frame, TicketReply};
use super::{control, stats, transports};
use crate::server::auth::{Identity, IdentityKind, LIVE_PATH};
use crate::server::metrics::Metrics;

/// Milliseconds between frames if the client asks for no interval.
const INTERVAL_MS: u32 = 750;

/// Connections at once. One costs some KiB of memory and a write per frame.
const CLIENTS_MAX: usize = 512;

/// Connections at once of one user or token, so that one does not shut out all others.
const OF_AN_IDENTITY: usize = 128;

/// The time that sending a frame may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(8);

/// The most bytes of a message to us; all of them are ignored.
const INBOUND_BYTES_MAX: usize = 4 << 10;

/// Messages that a client may send us between two frames: pings and the like.
const INBOUND_COUNT_MAX: u32 = 64;

/// The most bytes that all of these may have; frames that never make a message count too.
const INBOUND_TOTAL_MAX: usize = INBOUND_COUNT_MAX as usize * INBOUND_BYTES_MAX;

/// The age up to which a frame is used again; engines renew their state no faster.
const FRESH: Duration = Duration::from_millis(200);

/// The clients of the live WebSocket, and the frames that they share.
#[derive(Default)]
pub(crate) struct Hub {
    classes: Mutex<BTreeMap<u32, Arc<watch::Sender<Tick>>>>,
    newest: Mutex<Option<(Instant, Utf8Bytes)>>,
    clients: AtomicUsize,
    /// The number of connections of each user or token.
    shares: Mutex<HashMap<String, usize>>,
}

impl Hub {
    /// Counts one more connection of `who`. Anonymous clients count towards the total only.
    fn enter(&self, who: Option<&str>) -> Result<(), ApiError> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if self.clients.load(Ordering::Relaxed) >= CLIENTS_MAX {
            return Err(ApiError::unavailable(format!(
                "{CLIENTS_MAX} clients are connected already, which is the limit"
            )));
        }
        if let Some(who) = who {
            let count = shares.get(who).copied().unwrap_or(0);
            if count >= OF_AN_IDENTITY {
                let text = format!(
                    "{OF_AN_IDENTITY} clients with your name or token are connected already, which \
                     is the limit"
                );
                return Err(ApiError::unavailable(text));
            }
            shares.insert(who.to_owned(), count + 1);
        }
        self.clients.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn leave(&self, who: Option<&str>) {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        self.clients.fetch_sub(1, Ordering::Relaxed);
        let Some(who) = who else { return };
        let left = shares.get(who).map_or(0, |count| count.saturating_sub(1));
        match left {
            0 => _ = shares.remove(who),
            left => _ = shares.insert(who.to_owned(), left),
        }
    }
}

/// The name of a client that has one of its own.
fn name_of(who: Option<&Identity>) -> Option<&str> {
    let known = who.filter(|who| who.kind != IdentityKind::Anonymous);
    known.map(|who| who.username.as_str())
}

/// A frame and its number.
#[derive(Clone, Default)]
struct Tick {
    number: u64,
    frame: Utf8Bytes,
}

/// One client of the live WebSocket.
struct Client {
    app: Arc<App>,
    who: Option<Identity>,
    interval_ms: u32,
    /// Held until the connection is gone: connections are counted.
    _peer: Peer,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.app.live.leave(name_of(self.who.as_ref()));
        self.app.metrics.live_closed();
    }
}

pub(crate) async fn ticket(call: Call) -> Answer {
    let ticket = call.app.auth().issue_ticket(call.user()?, LIVE_PATH)?;
    let reply = TicketReply { ticket: ticket.ticket, expires_in: ticket.expires_in_s };
    json(StatusCode::OK, &reply)
}

pub(crate) async fn get(call: Call) -> Answer {
    let interval_ms = call.parameters.whole("interval_ms", 250..=60_000)?.unwrap_or(INTERVAL_MS);
    let key = handshake_key(&call.headers)?;
    let Some(upgrade) = call.upgrade else { return Err(upgrade_required()) };
    if call.app.is_stopping() {
        return Err(ApiError::unavailable("the daemon is being stopped"));
    }
    let app = call.app;
    app.live.enter(name_of(call.who.as_ref()))?;
    app.metrics.live_opened();
    // The connection lasts, and a client that reads no frames is dropped.
    call.peer.seat.keep();
    let client = Client { app, who: call.who, interval_ms, _peer: call.peer };
    tokio::spawn(async move {
        // A client that goes away before the protocol changes has left.
        if let Ok(upgraded) = upgrade.await {
            client.serve(upgraded).await;
        }
    });
    Ok(switching(&key))
}

fn switching(key: &str) -> Response {
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

fn upgrade_required() -> ApiError {
    ApiError::new(StatusCode::UPGRADE_REQUIRED, "this is a WebSocket; connect with ws:// or wss://")
        .with(UPGRADE, HeaderValue::from_static("websocket"))
}

/// The key of a WebSocket handshake (RFC 6455, section 4.2.1).
fn handshake_key(headers: &HeaderMap) -> Result<String, ApiError> {
    let has = |name: &http::HeaderName, token: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let mut tokens = values.flat_map(|value| value.split(',')).map(str::trim);
        tokens.any(|given| given.eq_ignore_ascii_case(token))
    };
    if !has(&CONNECTION, "upgrade") || !has(&UPGRADE, "websocket") {
        return Err(upgrade_required());
    }
    if !has(&SEC_WEBSOCKET_VERSION, "13") {
        let error =
            ApiError::new(StatusCode::UPGRADE_REQUIRED, "only WebSocket version 13 is supported");
        return Err(error.with(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok()).unwrap_or("");
    match key.len() {
        24 => Ok(key.to_owned()),
        _ => Err(ApiError::bad_request("Sec-WebSocket-Key is not 16 bytes in Base64")),
    }
}

/// The newest frame; a new one is made if that is too old.
fn newest_frame(app: &App) -> Utf8Bytes {
    let mut newest = lock(&app.live.newest);
    let now = Instant::now();
    if let Some((made, frame)) = newest.as_ref()
        && now.duration_since(*made) < FRESH
    {
        return frame.clone();
    }
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let frame = Frame {
        ts: unix.as_millis() as u64,
        stats: stats::stats(app),
        control: control::control(app),
        transports: transports::transports(app),
    };
    // All keys are strings, so that there is a JSON form.
    let frame = Utf8Bytes::from(serde_json::to_string(&frame).unwrap_or_default());
    *newest = Some((now, frame.clone()));
    frame
}

/// Locks a mutex, also after a panic: its content changes in one step each time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until the connections are to end.
async fn closed(closing: &mut watch::Receiver<bool>) {
    // Without a sender there is no daemon.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// The channel of frames that are made every `interval_ms`.
fn subscribe(app: &Arc<App>, interval_ms: u32) -> watch::Receiver<Tick> {
    let mut classes = lock(&app.live.classes);
    if let Some(sender) = classes.get(&interval_ms) {
        return sender.subscribe();
    }
    let (sender, receiver) = watch::channel(Tick::default());
    let sender = Arc::new(sender);
    classes.insert(interval_ms, Arc::clone(&sender));
    tokio::spawn(tick(Arc::clone(app), interval_ms, sender));
    receiver
}

/// Makes the frames of one interval as long as a client wants them.
async fn tick(app: Arc<App>, interval_ms: u32, sender: Arc<watch::Sender<Tick>>) {
    let period = Duration::from_millis(interval_ms.into());
    let mut ticks = interval_at(tokio::time::Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut number = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                number += 1;
                sender.send_replace(Tick { number, frame: newest_frame(&app) });
            }
            () = sender.closed() => {
                let mut classes = lock(&app.live.classes);
                // A client may have come between the two lines.
                if sender.receiver_count() == 0 {
                    classes.remove(&interval_ms);
                    return;
                }
            }
        }
    }
}

impl Client {
    async fn serve(&self, upgraded: Upgraded) {
        let app = &self.app;
        let io = Inbound::new(TokioIo::new(upgraded), INBOUND_TOTAL_MAX);
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(limits())).await;
        // First the channel, then the frame: none is missed in between.
        let ticks = subscribe(app, self.interval_ms);
        let feed = Feed {
            closing: app.closing.clone(),
            ticks,
            first: newest_frame(app),
            metrics: Arc::clone(&app.metrics),
        };
        let is_live = || self.who.as_ref().is_none_or(|who| app.auth().is_live(who));
        if let Some((code, reason)) = feed.run(&mut socket, is_live).await {
            let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
            // A client that does not take it is gone anyway.
            let _ = timeout(Duration::from_secs(1), socket.close(Some(frame))).await;
            if code != CloseCode::Away {
                linger(socket.get_mut()).await;
            }
        }
    }
}

/// Bounds of the memory of a connection: a frame is written before the next is taken.
fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(INBOUND_BYTES_MAX)
        .write_buffer_size(0)
        .max_message_size(Some(INBOUND_BYTES_MAX))
        .max_frame_size(Some(INBOUND_BYTES_MAX))
}

/// The code and the reason for dropping a client that sends without end (RFC 6455, section 7.4.1).
const TOO_MUCH: (CloseCode, &str) = (CloseCode::Policy, "too many messages");

/// Returns the code and the reason to send after a read failed; `None` if the connection is gone.
fn reason_of(error: &Error) -> Option<(CloseCode, &'static str)> {
    match error {
        Error::Io(error) if Inbound::<()>::is_used_up(error) => Some(TOO_MUCH),
        Error::Capacity(_) => Some((CloseCode::Size, "a message may have 4 KiB at most")),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some((CloseCode::Protocol, "this is not a WebSocket frame")),
        Error::Utf8(_) => Some((CloseCode::Invalid, "texts are UTF-8")),
        _ => None,
    }
}

/// The frames for one client.
struct Feed {
    closing: watch::Receiver<bool>,
    ticks: watch::Receiver<Tick>,
    first: Utf8Bytes,
    metrics: Arc<Metrics>,
}

impl Feed {
    /// Sends frames until there is a reason to stop, and returns that reason; `None` if the client
    /// is gone or takes no frames.
    async fn run<S: AsyncRead + AsyncWrite + Unpin>(
        mut self,
        socket: &mut WebSocketStream<Inbound<S>>,
        is_live: impl Fn() -> bool,
    ) -> Option<(CloseCode, &'static str)> {
        let mut last = self.ticks.borrow_and_update().number;
        let mut inbound = 0;
        self.send(socket, self.first.clone(), 0).await?;
        loop {
            tokio::select! {
                () = closed(&mut self.closing) => {
                    return Some((CloseCode::Away, "the daemon is being stopped"));
                }
                changed = self.ticks.changed() => {
                    changed.ok()?;
                    let tick = self.ticks.borrow_and_update().clone();
                    let skipped = tick.number.saturating_sub(last + 1);
                    last = tick.number;
                    inbound = 0;
                    socket.get_mut().renew();
                    if !is_live() {
                        return Some((CloseCode::Policy, "the session is over; sign in again"));
                    }
                    self.send(socket, tick.frame, skipped).await?;
                }
                message = socket.next() => {
                    match message? {
                        Ok(Message::Close(_)) => return None,
                        Ok(_) if inbound >= INBOUND_COUNT_MAX => return Some(TOO_MUCH),
                        Ok(_) => inbound += 1,
                        Err(error) => return reason_of(&error),
                    }
                }
            }
        }
    }

    /// Sends a frame; `skipped` frames came before it. `None` if it could not be sent in time.
    async fn send<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        socket: &mut WebSocketStream<Inbound<S>>,
        frame: Utf8Bytes,
        skipped: u64,
    ) -> Option<()> {
        match timeout(WRITE_TIMEOUT, socket.send(Message::Text(frame))).await {
            Ok(sent) => {
                self.metrics.live_frames(u64::from(sent.is_ok()), skipped);
                sent.ok()
            }
            Err(_) => {
                // This frame did not arrive either.
                self.metrics.live_frames(0, skipped + 1);
                self.metrics.live_stalled();
                tracing::info!("a reader of /api/v1/live took no frame for 8 s and is dropped");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::server::metrics::Process;

    /// Room between the two ends: less than a frame.
    const PIPE_BYTES: usize = 64;

    #[test]
    fn one_identity_leaves_room_for_the_others() {
        let hub = Hub::default();
        for _ in 0..OF_AN_IDENTITY {
            assert!(hub.enter(Some("token:wall")).is_ok());
        }
        let refused = hub.enter(Some("token:wall")).unwrap_err();
        assert!(refused.message().contains("your name or token"), "{}", refused.message());
        assert!(hub.enter(Some("admin")).is_ok());
        hub.leave(Some("token:wall"));
        assert!(hub.enter(Some("token:wall")).is_ok());
        for _ in 0..CLIENTS_MAX - OF_AN_IDENTITY - 1 {
            assert!(hub.enter(None).is_ok());
        }
        assert!(hub.enter(None).is_err());
        assert_eq!(hub.shares.lock().unwrap().len(), 2);
    }

    /// A reader, and the other end of its connection.
    struct Rig {
        reader: WebSocketStream<DuplexStream>,
        ticks: watch::Sender<Tick>,
        closing: watch::Sender<bool>,
        metrics: Arc<Metrics>,
        feed: JoinHandle<Option<(CloseCode, &'static str)>>,
    }

    /// A frame that holds its number and does not fit into the pipe.
    fn frame(number: u64) -> Utf8Bytes {
        format!("{number} {}", "x".repeat(4 * PIPE_BYTES)).into()
    }

    impl Rig {
        async fn new(is_live: impl Fn() -> bool + Send + 'static) -> Self {
            let (ours, theirs) = duplex(PIPE_BYTES);
            let (closing, closing_seen) = watch::channel(false);
            let (ticks, ticks_seen) = watch::channel(Tick::default());
            let metrics = Arc::new(Metrics::new());
            let feed = Feed {
                closing: closing_seen,
                ticks: ticks_seen,
                first: frame(0),
                metrics: Arc::clone(&metrics),
            };
            let feed = tokio::spawn(async move {
                let config = Some(limits());
                let ours = Inbound::new(ours, INBOUND_TOTAL_MAX);
                let mut socket = WebSocketStream::from_raw_socket(ours, Role::Server, config).await;
                feed.run(&mut socket, is_live).await
            });
            let reader = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
            Self { reader, ticks, closing, metrics, feed }
        }

        /// The number of the next frame.
        async fn read(&mut self) -> u64 {
            let message = self.reader.next().await.unwrap().unwrap();
            let text = message.to_text().unwrap();
            text.split(' ').next().unwrap().parse().unwrap()
        }

        /// Makes a frame, and lets the time to the next one pass.
        async fn tick(&self, number: u64) {
            self.ticks.send_replace(Tick { number, frame: frame(number) });
            tokio::time::sleep(Duration::from_millis(250)).await;
        }

        /// Frames sent, frames skipped, and readers dropped.
        fn counts(&self) -> [String; 3] {
            let text = self.metrics.render_figures(&[], &Process::read());
            ["frames_sent", "frames_dropped", "stalled"].map(|name| {
                let start = format!("gossipper_ws_{name}_total ");
                let line = text.lines().find_map(|line| line.strip_prefix(&start));
                line.unwrap_or_else(|| panic!("no {start}")).to_owned()
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_dropped_after_the_limit() {
        let mut rig = Rig::new(|| true).await;
        let begin = tokio::time::Instant::now();
        assert_eq!((&mut rig.feed).await.unwrap(), None);
        // The paused clock moves by the limit only.
        assert_eq!(begin.elapsed().as_secs(), WRITE_TIMEOUT.as_secs());
        assert_eq!(rig.counts(), ["0", "1", "1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_stalls_in_between_is_dropped_as_well() {
        let mut rig = Rig::new(|| true).await;
        assert_eq!(rig.read().await, 0);
        let begin = tokio::time::Instant::now();
        for number in 1..=4 {
            rig.tick(number).await;
        }
        assert_eq!((&mut rig.feed).await.unwrap(), None);
        assert_eq!(begin.elapsed().as_secs(), WRITE_TIMEOUT.as_secs());
        assert_eq!(rig.counts(), ["1", "1", "1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_skips_to_the_newest_frame_and_stays() {
        let mut rig = Rig::new(|| true).await;
        assert_eq!(rig.read().await, 0);
        for number in 1..=5 {
            rig.tick(number).await;
        }
        // The first was under way already; of the later ones only the newest is left.
        assert_eq!(rig.read().await, 1);
        assert_eq!(rig.read().await, 5);
        // In step again, nothing is skipped.
        rig.ticks.send_replace(Tick { number: 6, frame: frame(6) });
        assert_eq!(rig.read().await, 6);
        rig.closing.send_replace(true);
        let close = (&mut rig.feed).await.unwrap();
        assert_eq!(close.map(|(code, _)| code), Some(CloseCode::Away));
        assert_eq!(rig.counts(), ["4", "3", "0"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_is_over_ends_the_feed() {
        let mut rig = Rig::new(|| false).await;
        assert_eq!(rig.read().await, 0);
        rig.tick(1).await;
        let close = (&mut rig.feed).await.unwrap();
        assert_eq!(close.map(|(code, _)| code), Some(CloseCode::Policy));
        assert_eq!(rig.counts(), ["1", "0", "0"]);
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (name.parse::<http::HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    #[test]
    fn a_handshake_is_told_from_a_request() {
        let good = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        assert_eq!(handshake_key(&headers(&good)).unwrap(), "dGhlIHNhbXBsZSBub25jZQ==");
        for (missing, status) in [(0, 426), (1, 426), (2, 426), (3, 400)] {
            let mut pairs = good.to_vec();
            pairs.remove(missing);
            let error = handshake_key(&headers(&pairs)).unwrap_err();
            assert_eq!(error.status().as_u16(), status, "without {}", good[missing].0);
        }
    }

    #[test]
    fn the_answer_is_that_of_the_rfc() {
        let response = switching("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(response.headers()[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}

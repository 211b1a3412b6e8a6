//! Connections: the bytes of a peer over TCP and in a WebSocket, cut into any pieces.

use gossipper::sip::FrameLimits;
use gossipper::stream::{Limits, Role, Session, SessionConfig};
use tungstenite::handshake::derive_accept_key;

/// Most bytes that wait in a session.
const WAITING_MAX: usize = 4096;
/// Most bytes that a session holds beside them: its handshake, an answer to a message of the peer.
const SLACK: usize = 32_768;

/// A client's request for a WebSocket.
const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\n";

/// Takes any bytes from a peer. The first byte chooses the kind of connection, the second the cuts.
pub fn any_bytes(bytes: &[u8]) {
    let Some((&[kind, cut], bytes)) = bytes.split_first_chunk::<2>() else { return };
    let limits = Limits {
        frame: FrameLimits { header_bytes_max: 1024, message_bytes_max: 2048 },
        message_ns_max: 1000,
        handshake_ns_max: 1000,
        waiting_bytes_max: WAITING_MAX,
    };
    let is_websocket = kind & 1 != 0;
    let role = if kind & 2 != 0 { Role::Client } else { Role::Server };
    let config = SessionConfig::new(None, is_websocket, limits);
    let config = config.with_server("192.0.2.1", 5060).expect("an address is a name");
    let piece_len = usize::from(cut).max(1);
    // The handshake is done already, or the peer's bytes are the handshake.
    let shakes = is_websocket && kind & 4 != 0;
    let pieces = play(&config, role, bytes, piece_len, shakes);
    if !is_websocket {
        let whole = play(&config, role, bytes, bytes.len().max(1), shakes);
        assert_eq!(pieces, whole, "how a stream is cut changes its messages");
    }
}

/// Feeds the bytes to a session. Returns the messages that come out, and `true` if it failed.
fn play(
    config: &SessionConfig,
    role: Role,
    bytes: &[u8],
    piece_len: usize,
    shakes: bool,
) -> (Vec<Vec<u8>>, bool) {
    let mut session = Session::new(config, role, 0).expect("the configuration has all it needs");
    session.connected();
    let _ = session.send(b"OPTIONS sip:a SIP/2.0\r\n\r\n");
    if shakes {
        let handshake = match role {
            Role::Server => UPGRADE.to_vec(),
            Role::Client => accepted(session.output()),
        };
        session.receive(&handshake, 1);
        assert!(session.is_open(), "the handshake is done");
    }
    let (mut messages, mut failed) = (Vec::new(), false);
    for (time, piece) in bytes.chunks(piece_len).enumerate() {
        session.receive(piece, time as u64);
        while let Some(next) = session.take_next() {
            match next {
                Ok(message) => {
                    assert!(message.len() <= 2048, "a message of {} bytes", message.len());
                    messages.push(message.to_vec());
                }
                Err(failure) => {
                    assert!(!failure.to_string().is_empty());
                    failed = true;
                    break;
                }
            }
        }
        if failed {
            break;
        }
        assert!(session.waits() <= WAITING_MAX + SLACK, "{} bytes wait", session.waits());
        // The kernel takes as many bytes as it has room for.
        let written = session.output().len().div_ceil(2);
        session.written(written);
        let _ = (session.deadline_ns(), session.overdue(time as u64), session.take_shake());
        let _ = session.take_keepalives();
        let _ = session.send(b"SIP/2.0 200 OK\r\n\r\n");
    }
    session.close();
    let all = session.output().len();
    session.written(all);
    (messages, failed)
}

/// Returns the server's answer to our request for a WebSocket.
fn accepted(request: &[u8]) -> Vec<u8> {
    let request = String::from_utf8_lossy(request);
    let key = request
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .map_or("", |(_, key)| key);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: sip\r\n\r\n",
        derive_accept_key(key.as_bytes())
    )
    .into_bytes()
}

use std::sync::Arc;

use super::*;

const INVITE: &[u8] = b"INVITE sip:a@b SIP/2.0\r\nCall-ID: 1\r\nContent-Length: 4\r\n\r\nbody";
const BYE: &[u8] = b"BYE sip:a@b SIP/2.0\r\nCall-ID: 1\r\nl: 0\r\n\r\n";
const CA: &[u8] = include_bytes!("../../tests/certs/ca.pem");
const STRANGER: &[u8] = include_bytes!("../../tests/certs/stranger.pem");
const CRL: &[u8] = include_bytes!("../../tests/certs/crl.pem");

fn identity(name: &str) -> Identity {
    let (chain, key): (&[u8], &[u8]) = match name {
        "server" => (
            include_bytes!("../../tests/certs/server.pem"),
            include_bytes!("../../tests/certs/server-key.pem"),
        ),
        "client" => (
            include_bytes!("../../tests/certs/client.pem"),
            include_bytes!("../../tests/certs/client-key.pem"),
        ),
        "expired" => (
            include_bytes!("../../tests/certs/expired.pem"),
            include_bytes!("../../tests/certs/expired-key.pem"),
        ),
        "future" => (
            include_bytes!("../../tests/certs/future.pem"),
            include_bytes!("../../tests/certs/future-key.pem"),
        ),
        "below" => (
            include_bytes!("../../tests/certs/below.pem"),
            include_bytes!("../../tests/certs/below-key.pem"),
        ),
        "stranger" => (STRANGER, include_bytes!("../../tests/certs/stranger-key.pem")),
        _ => (
            include_bytes!("../../tests/certs/revoked.pem"),
            include_bytes!("../../tests/certs/revoked-key.pem"),
        ),
    };
    Identity::from_pem(chain, key).expect("the files are good")
}

fn trust(roots: &[u8]) -> Option<Trust> {
    Some(Trust::from_pem(roots).expect("the file is good"))
}

fn settings() -> TlsSettings {
    TlsSettings {
        identity: None,
        trust: None,
        versions: TlsVersions::Both,
        resume: false,
        key_log: None,
    }
}

/// Configurations of a client and a server.
struct Pair {
    client: SessionConfig,
    server: SessionConfig,
}

impl Pair {
    fn plain(websocket: bool) -> Self {
        Self::of(None, None, websocket, "server.test")
    }

    fn tls(client: &TlsSettings, server: &TlsSettings, host: &str) -> Self {
        Self::tls_with(client, server, host, false)
    }

    fn tls_with(client: &TlsSettings, server: &TlsSettings, host: &str, websocket: bool) -> Self {
        let tickets = TlsConfig::tickets().unwrap();
        let client = TlsConfig::client(client).unwrap();
        let server = TlsConfig::client(server).unwrap().with_server(server, &tickets).unwrap();
        Self::of(Some(client), Some(server), websocket, host)
    }

    fn of(
        client: Option<TlsConfig>,
        server: Option<TlsConfig>,
        websocket: bool,
        host: &str,
    ) -> Self {
        let client = SessionConfig::new(client, websocket, Limits::default());
        Self {
            client: client.with_server(host, 5060).unwrap(),
            server: SessionConfig::new(server, websocket, Limits::default()),
        }
    }

    fn sessions(&self) -> (Session, Session) {
        let client = Session::new(&self.client, Role::Client, 0).unwrap();
        (client, Session::new(&self.server, Role::Server, 0).unwrap())
    }
}

/// Returns all messages that a session has now.
fn drain(session: &mut Session) -> Result<Vec<Vec<u8>>, SessionFailure> {
    let mut found = Vec::new();
    while let Some(next) = session.take_next() {
        found.push(next?.to_vec());
    }
    Ok(found)
}

/// Moves the output of `from` in pieces of `step` bytes.
fn carry(
    from: &mut Session,
    to: &mut Session,
    step: usize,
) -> Result<Vec<Vec<u8>>, SessionFailure> {
    let mut found = Vec::new();
    let bytes = from.output().to_vec();
    from.written(bytes.len());
    for piece in bytes.chunks(step) {
        to.receive(piece, 1);
        found.extend(drain(to)?);
    }
    Ok(found)
}

/// Returns the messages that both sides have received, once no more bytes move; the first failure
/// ends it.
fn exchange(
    client: &mut Session,
    server: &mut Session,
    step: usize,
) -> Result<[Vec<Vec<u8>>; 2], SessionFailure> {
    let mut found = [Vec::new(), Vec::new()];
    while !client.output().is_empty() || !server.output().is_empty() {
        found[1].extend(carry(client, server, step)?);
        found[0].extend(carry(server, client, step)?);
    }
    Ok(found)
}

/// Sends messages in both directions, before and after the handshake, in pieces of `step` bytes.
fn talk(pair: &Pair, step: usize) {
    let (mut client, mut server) = pair.sessions();
    client.connected();
    client.send(INVITE).unwrap();
    let [_, at_server] = exchange(&mut client, &mut server, step).unwrap();
    assert_eq!(at_server, [INVITE], "pieces of {step}");
    server.send(BYE).unwrap();
    server.send(INVITE).unwrap();
    client.send(BYE).unwrap();
    let [at_client, at_server] = exchange(&mut client, &mut server, step).unwrap();
    assert_eq!(at_client, [BYE, INVITE], "pieces of {step}");
    assert_eq!(at_server, [BYE], "pieces of {step}");
    assert!(client.is_open() && server.is_open());
    assert_eq!(client.deadline_ns(), None);
    assert_eq!(server.deadline_ns(), None);
}

#[test]
fn messages_survive_any_split() {
    for websocket in [false, true] {
        let pair = Pair::plain(websocket);
        for step in 1..400 {
            talk(&pair, step);
        }
    }
}

#[test]
fn messages_survive_any_split_of_tls_records() {
    for versions in [TlsVersions::V1_2, TlsVersions::V1_3, TlsVersions::Both] {
        let mut server = TlsSettings { identity: Some(identity("server")), ..settings() };
        server.versions = versions;
        for websocket in [false, true] {
            let pair = Pair::tls_with(&settings(), &server, "server.test", websocket);
            for step in [1, 2, 3, 5, 7, 100, 1000, 100_000] {
                talk(&pair, step);
            }
        }
    }
}

#[test]
fn keepalives_are_answered_or_dropped() {
    let pair = Pair::plain(false);
    let (_, mut server) = pair.sessions();
    server.receive(&[b"\r\n\r\n", BYE, b"\r\n", INVITE].concat(), 0);
    assert_eq!(drain(&mut server).unwrap(), [BYE, INVITE]);
    assert_eq!(server.output(), b"\r\n");
    assert_eq!(server.take_keepalives(), 2);
}

#[test]
fn a_stream_without_usable_length_ends_after_the_messages_before() {
    let pair = Pair::plain(false);
    let (_, mut server) = pair.sessions();
    server.receive(&[BYE, b"BYE sip:a@b SIP/2.0\r\n\r\n"].concat(), 0);
    assert_eq!(server.take_next().unwrap().unwrap(), BYE);
    let failure = SessionFailure::Framing(ParseError::MissingContentLength);
    assert_eq!(server.take_next(), Some(Err(failure)));
}

#[test]
fn oversized_messages_end_a_session() {
    let pair = Pair::plain(false);
    let (_, mut server) = pair.sessions();
    server.receive(b"BYE sip:a@b SIP/2.0\r\nl: 999999999\r\n\r\n", 0);
    let failure = SessionFailure::Framing(ParseError::MessageTooLong);
    assert_eq!(server.take_next(), Some(Err(failure)));
    let (_, mut server) = pair.sessions();
    server.receive(&[b'x'; 70_000], 0);
    let failure = SessionFailure::Framing(ParseError::HeadersTooLong);
    assert_eq!(server.take_next(), Some(Err(failure)));
}

#[test]
fn a_message_that_dribbles_in_has_an_end() {
    let pair = Pair::plain(false);
    let longest = Limits::default().message_ns_max;
    let (_, mut server) = pair.sessions();
    for (number, byte) in INVITE[..20].iter().enumerate() {
        server.receive(&[*byte], 5 + number as u64);
        assert_eq!(server.take_next(), None);
    }
    // The time runs from the first byte on, also if more follow.
    assert_eq!(server.deadline_ns(), Some(5 + longest));
    assert_eq!(server.overdue(4 + longest), None);
    assert_eq!(server.overdue(5 + longest), Some(SessionFailure::SlowMessage));
    server.receive(&INVITE[20..], 30);
    assert_eq!(drain(&mut server).unwrap(), [INVITE]);
    assert_eq!(server.deadline_ns(), None);
}

#[test]
fn a_handshake_that_does_not_end_is_overdue() {
    let server = TlsSettings { identity: Some(identity("server")), ..settings() };
    let pair = Pair::tls(&settings(), &server, "server.test");
    let (mut client, server) = pair.sessions();
    client.connected();
    let longest = Limits::default().handshake_ns_max;
    for session in [&client, &server] {
        assert_eq!(session.overdue(longest - 1), None);
        assert_eq!(session.overdue(longest), Some(SessionFailure::SlowHandshake));
    }
}

#[test]
fn what_waits_for_a_handshake_is_bounded() {
    let mut pair = Pair::plain(true);
    let limits = Limits { waiting_bytes_max: 262_144, ..Limits::default() };
    pair.client = SessionConfig::new(None, true, limits).with_server("server.test", 5060).unwrap();
    let (mut client, _) = pair.sessions();
    client.connected();
    let message = vec![b'x'; 100_000];
    assert_eq!(client.send(&message), Ok(()));
    assert_eq!(client.send(&message), Ok(()));
    assert_eq!(client.send(&message), Err(Congested));
    assert_eq!(client.send(BYE), Ok(()));
}

#[test]
fn a_session_can_begin_again() {
    let server = TlsSettings { identity: Some(identity("server")), ..settings() };
    let pair = Pair::tls_with(&settings(), &server, "server.test", true);
    let (mut client, mut server) = pair.sessions();
    for _ in 0..3 {
        client.begin(&pair.client, Role::Client, 0).unwrap();
        server.begin(&pair.server, Role::Server, 0).unwrap();
        client.connected();
        client.send(INVITE).unwrap();
        let [_, at_server] = exchange(&mut client, &mut server, 50).unwrap();
        assert_eq!(at_server, [INVITE]);
    }
}

/// The failures of a handshake at the client and at the server, if any.
fn handshake(pair: &Pair) -> [Option<SessionFailure>; 2] {
    let (mut client, mut server) = pair.sessions();
    client.connected();
    let mut failures = [None, None];
    while !client.output().is_empty() || !server.output().is_empty() {
        if let Err(failure) = carry(&mut client, &mut server, 10_000) {
            failures[1].get_or_insert(failure);
        }
        if let Err(failure) = carry(&mut server, &mut client, 10_000) {
            failures[0].get_or_insert(failure);
        }
    }
    failures
}

fn is_refused(failure: Option<&SessionFailure>) -> bool {
    matches!(failure, Some(SessionFailure::Certificate(_)))
}

#[test]
fn a_server_is_verified_when_authorities_are_given() {
    let server = |name: &str| TlsSettings { identity: Some(identity(name)), ..settings() };
    let verify = |roots: &[u8], shown: &str, host: &str| {
        let client = TlsSettings { trust: trust(roots), ..settings() };
        let [at_client, _] = handshake(&Pair::tls(&client, &server(shown), host));
        at_client
    };
    assert_eq!(verify(CA, "server", "server.test"), None);
    // A certificate need not hold an address, but must hold a name.
    assert_eq!(verify(CA, "server", "192.0.2.1"), None);
    assert_eq!(verify(CA, "server", "[2001:db8::1]"), None);
    assert!(is_refused(verify(CA, "server", "other.test").as_ref()));
    assert!(is_refused(verify(STRANGER, "server", "server.test").as_ref()));
    // A self-signed certificate that is also the trusted one.
    assert_eq!(verify(STRANGER, "stranger", "server.test"), None);
    assert!(is_refused(verify(CA, "stranger", "server.test").as_ref()));
}

#[test]
fn a_revoked_certificate_is_refused() {
    let mut trust = trust(CA).unwrap();
    trust.revoke(CRL).unwrap();
    let client = TlsSettings { trust: Some(trust), ..settings() };
    for (shown, refused) in [("server", false), ("revoked", true)] {
        let server = TlsSettings { identity: Some(identity(shown)), ..settings() };
        let [at_client, _] = handshake(&Pair::tls(&client, &server, "192.0.2.1"));
        assert_eq!(is_refused(at_client.as_ref()), refused, "{shown}: {at_client:?}");
        if let Some(failure) = at_client {
            let text = failure.to_string();
            assert!(text.contains("of CN=revoked.test is revoked (-tls_crl): it is"), "{text}");
        }
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let said = |roots: &[u8], shown: &str, host: &str| {
        let client = TlsSettings { trust: trust(roots), ..settings() };
        let server = TlsSettings { identity: Some(identity(shown)), ..settings() };
        let [at_client, _] = handshake(&Pair::tls(&client, &server, host));
        at_client.unwrap().to_string()
    };
    let expired = said(CA, "expired", "localhost");
    let dates = "valid from 2020-01-01 00:00:00 to 2021-02-03 04:05:06 UTC";
    assert!(
        expired.contains(&format!("of CN=expired.test has expired: it is {dates}")),
        "{expired}"
    );
    let future = said(CA, "future", "localhost");
    assert!(
        future.contains("of CN=future.test is not yet valid: it is valid from 2100-"),
        "{future}"
    );
    let name = said(CA, "server", "other.test");
    assert!(name.contains("of CN=server.test, valid from 20"), "{name}");
    assert!(name.contains("is not for other.test but for server.test, localhost"), "{name}");
    let authority = said(STRANGER, "server", "server.test");
    assert!(authority.contains("unknown authority: -tls_ca does not have CN=ca of"), "{authority}");
    // The signer of the certificate is signed by a known authority, and the peer did not send it.
    let missing = said(CA, "below", "below.test");
    assert!(missing.contains("does not have CN=between.test; the peer sent no inter"), "{missing}");
    let own = said(CA, "stranger", "server.test");
    assert!(own.contains("of CN=stranger of Gossipper's tests is self-signed"), "{own}");
}

#[test]
fn a_client_must_show_a_certificate_when_authorities_are_given() {
    let server = TlsSettings { identity: Some(identity("server")), trust: trust(CA), ..settings() };
    for versions in [TlsVersions::V1_2, TlsVersions::V1_3] {
        let verify = |name: Option<&str>| {
            let identity = name.map(identity);
            let client = TlsSettings { identity, versions, ..settings() };
            let [at_client, at_server] = handshake(&Pair::tls(&client, &server, "server.test"));
            assert_eq!(at_client.is_some(), at_server.is_some(), "{name:?}");
            at_server
        };
        assert_eq!(verify(Some("client")), None);
        assert_eq!(verify(None), Some(SessionFailure::NoCertificate));
        assert!(is_refused(verify(Some("stranger")).as_ref()));
    }
}

#[test]
fn what_a_peer_has_against_a_certificate_is_said() {
    let server = TlsSettings { identity: Some(identity("server")), trust: trust(CA), ..settings() };
    for versions in [TlsVersions::V1_2, TlsVersions::V1_3] {
        let said = |shown: Option<&str>| {
            let identity = shown.map(identity);
            let client = TlsSettings { identity, versions, ..settings() };
            let [at_client, _] = handshake(&Pair::tls(&client, &server, "server.test"));
            at_client.unwrap().to_string()
        };
        let demanded = "the peer demands a certificate: give -tls_cert and -tls_key";
        assert_eq!(said(None), demanded);
        let expired = said(Some("expired"));
        assert!(
            expired.starts_with("the peer refused our certificate: expired")
                && expired.ends_with("(TLS alert CertificateExpired)"),
            "{expired}"
        );
    }
    let client = TlsSettings { trust: trust(STRANGER), ..settings() };
    let server = TlsSettings { identity: Some(identity("server")), ..settings() };
    let [_, at_server] = handshake(&Pair::tls(&client, &server, "server.test"));
    let expected = "the peer refused our certificate: unknown authority (TLS alert UnknownCA)";
    assert_eq!(at_server.unwrap().to_string(), expected);
}

#[test]
fn a_peer_that_does_not_speak_tls_is_told_apart() {
    let server = TlsSettings { identity: Some(identity("server")), ..settings() };
    let (_, mut server) = Pair::tls(&settings(), &server, "server.test").sessions();
    server.receive(INVITE, 0);
    let failure = drain(&mut server).unwrap_err().to_string();
    assert!(failure.contains("the peer does not speak TLS on this connection (rec"), "{failure}");
}

#[test]
fn versions_that_do_not_meet_fail_the_handshake() {
    let of = |versions| TlsSettings { identity: Some(identity("server")), versions, ..settings() };
    let pair = Pair::tls(&of(TlsVersions::V1_2), &of(TlsVersions::V1_3), "server.test");
    let [at_client, at_server] = handshake(&pair);
    assert!(matches!(at_client, Some(SessionFailure::Tls(_))), "{at_client:?}");
    assert!(matches!(at_server, Some(SessionFailure::Tls(_))), "{at_server:?}");
}

#[test]
fn sessions_are_resumed_only_when_asked() {
    let server = TlsSettings { identity: Some(identity("server")), ..settings() };
    for versions in [TlsVersions::V1_2, TlsVersions::V1_3] {
        for resume in [false, true] {
            let client = TlsSettings { resume, versions, ..settings() };
            let pair = Pair::tls(&client, &server, "server.test");
            let mut resumed = Vec::new();
            for _ in 0..2 {
                let (mut client, mut server) = pair.sessions();
                client.connected();
                exchange(&mut client, &mut server, 10_000).unwrap();
                let shake = client.take_shake().expect("the handshake is over");
                assert_eq!(server.take_shake(), Some(shake));
                assert_eq!(client.take_shake(), None);
                resumed.push(shake.resumed);
            }
            assert_eq!(resumed, [false, resume], "{versions:?}");
        }
    }
}

#[test]
fn a_farewell_ends_the_session_of_the_peer() {
    let server = TlsSettings { identity: Some(identity("server")), ..settings() };
    for pair in [
        Pair::plain(true),
        Pair::tls(&settings(), &server, "server.test"),
        Pair::tls_with(&settings(), &server, "server.test", true),
    ] {
        let (mut client, mut server) = pair.sessions();
        client.connected();
        exchange(&mut client, &mut server, 10_000).unwrap();
        client.send(BYE).unwrap();
        client.close();
        let bytes = client.output().to_vec();
        server.receive(&bytes, 0);
        assert_eq!(server.take_next(), Some(Ok(BYE)));
        assert_eq!(server.take_next(), Some(Err(SessionFailure::Ended)));
    }
}

#[test]
fn websocket_peers_must_speak_sip() {
    let pair = Pair::plain(true);
    let (_, mut server) = pair.sessions();
    server.receive(
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
          Sec-WebSocket-Protocol: chat\r\n\r\n",
        0,
    );
    assert!(matches!(server.take_next(), Some(Err(SessionFailure::WebSocket(_)))));
    assert!(server.output().starts_with(b"HTTP/1.1 400 "), "{:?}", server.output());
    let (mut client, _) = pair.sessions();
    client.connected();
    client.receive(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 0);
    assert!(matches!(client.take_next(), Some(Err(SessionFailure::WebSocket(_)))));
}

#[test]
fn a_websocket_carries_binary_frames_pings_and_keepalives() {
    let pair = Pair::plain(true);
    let (mut client, mut server) = pair.sessions();
    client.connected();
    exchange(&mut client, &mut server, 10_000).unwrap();
    // Unmasked frames, as a server writes them: a binary frame, a ping, a keep-alive, a text frame.
    let frame = |kind: u8, payload: &[u8]| [&[0x80 | kind, payload.len() as u8], payload].concat();
    let bytes = [frame(2, BYE), frame(9, b"?"), frame(1, b"\r\n"), frame(1, BYE)].concat();
    client.receive(&bytes, 0);
    assert_eq!(drain(&mut client).unwrap(), [BYE, BYE]);
    assert_eq!(client.take_keepalives(), 1);
    assert_eq!(client.output()[0], 0x80 | 10, "a pong");
    // A message that is not UTF-8 leaves in a binary frame.
    let message = [BYE, b"\xff"].concat();
    client.written(client.output().len());
    client.send(&message).unwrap();
    assert_eq!(client.output()[0], 0x80 | 2);
    assert_eq!(carry(&mut client, &mut server, 3).unwrap(), [message]);
}

#[test]
fn bad_files_are_told_apart() {
    let good = include_bytes!("../../tests/certs/server-key.pem");
    let error = |chain: &[u8], key: &[u8]| Identity::from_pem(chain, key).unwrap_err();
    assert_eq!(error(b"nothing", good), (Some(MaterialError::NoCertificate), None));
    assert_eq!(error(CA, CA), (None, Some(MaterialError::NoKey)));
    let encrypted =
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----";
    assert_eq!(error(CA, encrypted), (None, Some(MaterialError::EncryptedKey)));
    let torn = b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
    assert!(matches!(error(torn, good), (Some(MaterialError::NotPem(_)), None)));
    let mut trust = trust(CA).unwrap();
    assert_eq!(trust.revoke(CA), Err(MaterialError::NoRevocationList));
    // A key of another certificate is found when the configuration is made.
    let identity = Identity::from_pem(CA, good).unwrap();
    let settings = TlsSettings { identity: Some(identity), ..settings() };
    let text = TlsConfig::client(&settings).unwrap_err();
    assert!(text.contains("does not belong"), "{text}");
}

#[test]
fn secrets_are_logged_when_asked() {
    #[derive(Debug, Default)]
    struct Log(std::sync::Mutex<usize>);
    impl rustls::KeyLog for Log {
        fn log(&self, _label: &str, _random: &[u8], _secret: &[u8]) {
            *self.0.lock().unwrap() += 1;
        }
    }
    let log = Arc::new(Log::default());
    let server = TlsSettings { identity: Some(identity("server")), ..settings() };
    let client = TlsSettings { key_log: Some(log.clone()), ..settings() };
    talk(&Pair::tls(&client, &server, "server.test"), 1000);
    assert!(*log.0.lock().unwrap() > 0);
}

//! Values of headers, and answers to challenges.

use gossipper::sip::digest::{
    AkaKeys, Algorithm, Answer, Credentials, DigestChallenge, Ha1Cache, Presented, Secret, verify,
};
use gossipper::sip::{
    CSeq, Challenge, CommaList, HeaderId, HeaderIndex, NameAddr, Params, Rport, Uri, Via,
};

use crate::sip_support::invariants;

/// Reads any bytes as the value of each header that the product reads.
pub fn any_value(bytes: &[u8]) {
    invariants::value(bytes);
    if let Ok(cseq) = CSeq::parse(bytes) {
        assert!(cseq.number < 1 << 31);
    }
    for element in CommaList::new(bytes).flatten() {
        if let Ok(via) = Via::parse(element) {
            assert_via(&via);
        }
        if let Ok(address) = NameAddr::parse(element) {
            assert_address(&address);
        }
    }
    if let Ok(Uri::Sip(uri)) = Uri::parse(bytes) {
        assert!(!uri.host.is_empty());
    }
    if let Ok(challenge) = Challenge::parse(bytes) {
        for field in challenge.fields.flatten() {
            let _ = (field.unquoted(), challenge.field("realm"));
        }
    }
}

/// Fails unless a Via made of the parts read has the same parts when read again.
fn assert_via(via: &Via<'_>) {
    assert!(!via.host.is_empty() && !via.transport.is_empty());
    let mut text = [b"SIP/2.0/", via.transport, b" ", via.host].concat();
    if let Some(port) = via.port {
        text.extend_from_slice(format!(":{port}").as_bytes());
    }
    if let Some(branch) = via.branch {
        text.extend_from_slice(&[b";branch=", branch].concat());
    }
    match via.rport {
        Rport::Absent => {}
        Rport::Requested => text.extend_from_slice(b";rport"),
        Rport::Port(port) => text.extend_from_slice(format!(";rport={port}").as_bytes()),
    }
    let again = Via::parse(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
    assert_eq!((again.transport, again.host), (via.transport, via.host));
    assert_eq!((again.port, again.branch, again.rport), (via.port, via.branch, via.rport));
    assert!(via.received_ip().is_none() || via.received.is_some());
}

/// Fails unless the raw text of an address is read as the same address, because a Route repeats
/// that text.
fn assert_address(address: &NameAddr<'_>) {
    let again = NameAddr::parse(address.raw).expect("what was read is read again");
    assert_eq!((again.uri, again.display), (address.uri, address.display));
    assert_eq!(again.tag(), address.tag());
    let _ = (address.display_unquoted(), Params::new(address.raw).check());
}

/// Takes any bytes as a challenge, a user and a body. The answer must be one header, and the
/// product's own check must accept it.
pub fn any_challenge(bytes: &[u8]) {
    let mut parts = bytes.splitn(3, |&byte| byte == 0);
    let (value, user, body) = (parts.next(), parts.next(), parts.next());
    let (value, user, body) =
        (value.unwrap_or_default(), user.unwrap_or(b"user"), body.unwrap_or_default());
    let _ = Presented::parse(value);
    let _ = verify(value, b"REGISTER", body, user, b"secret");
    // The value as it comes from a message: the only line end in it is that of a folded line.
    let message = [b"SIP/2.0 401 No\r\nWWW-Authenticate: ", value, b"\r\n\r\n"].concat();
    let mut index = HeaderIndex::new();
    let Ok(message) = index.parse(&message) else { return };
    let Some(value) = message.first(HeaderId::WwwAuthenticate) else { return };
    let Ok(challenge) = DigestChallenge::parse(value) else { return };
    for is_proxy in [false, true] {
        assert_answer(&challenge, is_proxy, user, body);
    }
}

fn assert_answer(challenge: &DigestChallenge<'_>, is_proxy: bool, user: &[u8], body: &[u8]) {
    let aka = AkaKeys { k: [1; 16], op: [2; 16], amf: None };
    let answer = Answer {
        challenge,
        credentials: Credentials { user, secret: Secret { password: b"secret", aka: Some(&aka) } },
        method: b"REGISTER",
        uri: b"sip:192.0.2.1",
        body,
        cnonce: b"0123456789abcdef",
        nonce_count: 1,
    };
    let mut out = [0; 4096];
    let Ok(len) = answer.write(is_proxy, &mut Ha1Cache::new(1, 7), &mut out) else { return };
    // The scenario gives the user name, so control characters in it are the scenario's
    // responsibility.
    if user.iter().any(|byte| byte.is_ascii_control()) {
        return;
    }
    let id = if is_proxy { HeaderId::ProxyAuthorization } else { HeaderId::Authorization };
    let message = [b"REGISTER sip:a SIP/2.0\r\n", &out[..len], b"\r\nX: y\r\n\r\n"].concat();
    let mut index = HeaderIndex::new();
    let message = index.parse(&message).expect("an answer is a header");
    assert_eq!(message.headers().len(), 2, "an answer is one header");
    let value = message.first(id).expect("an answer is the header that it is to be");
    let presented = Presented::parse(value).expect("an answer can be read");
    assert_eq!(presented.nonce, challenge.nonce);
    if challenge.algorithm != Algorithm::AkaV1Md5 {
        assert!(verify(value, b"REGISTER", body, user, b"secret"), "an answer is right");
    }
}

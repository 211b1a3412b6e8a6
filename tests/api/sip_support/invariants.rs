//! Invariants for any bytes: nothing panics, nothing points outside, and accepted input is
//! consistent.

use gossipper::sip::{
    AuthFields, Challenge, CommaList, Datagram, FrameLimits, Framing, HeaderIndex, Kind,
    MAX_HEADERS, Message, NameAddr, Params, Sdp, StreamFramer, Uri, classify, unfold,
    write_error_response,
};

/// Parses `bytes` and calls every accessor.
pub fn message(bytes: &[u8]) {
    let _ = classify(bytes);
    let mut index = HeaderIndex::new();
    let parsed = index.parse(bytes);
    if let Ok(message) = parsed {
        accepted(bytes, &message);
    }
    let is_ok = parsed.is_ok();
    if is_ok {
        assert_eq!(classify(bytes), Datagram::Sip);
    }
    answered(bytes);
}

fn accepted(bytes: &[u8], message: &Message<'_>) {
    let whole = message.bytes();
    inside(bytes, whole);
    assert!(message.body_offset() <= whole.len());
    assert_eq!(message.body(), &whole[message.body_offset()..]);
    match message.kind() {
        Kind::Request { method, uri } => {
            inside(whole, method_text(method));
            inside(whole, uri);
            let _ = Uri::parse(uri);
        }
        Kind::Response { code, reason } => {
            assert!((100..700).contains(&code));
            inside(whole, reason);
        }
    }
    assert!(message.headers().len() <= MAX_HEADERS);
    for header in message.headers() {
        inside(whole, header.line);
        inside(header.line, header.name);
        inside(header.line, header.value);
        assert!(gossipper::sip::is_token(header.name));
        assert_eq!(gossipper::sip::HeaderId::from_name(header.name), header.id);
        assert!(message.all_by_name(header.name).any(|value| std::ptr::eq(value, header.value)));
        assert!(!unfold(header.value).any(|byte| matches!(byte, b'\r' | b'\n')));
        value(header.value);
        let _ = message.name_addrs(header.id).count();
    }
    let _ = (message.call_id(), message.cseq(), message.from_tag(), message.to_tag());
    let _ = (message.top_via(), message.vias().count(), message.contact_uri());
    if message.check().is_ok() {
        assert!(message.top_via().is_ok() && message.cseq().is_ok());
        assert!(message.call_id().is_some_and(|id| !id.is_empty()));
    }
    let mut again = HeaderIndex::new();
    let again = again.parse(whole).expect("a message without its surroundings is a message");
    assert!(again.headers().eq(message.headers()));
    assert_eq!(again.body(), message.body());
    sdp(message.body());
}

/// Reads `text` as every type of header value.
pub fn value(text: &[u8]) {
    for element in CommaList::new(text).flatten() {
        inside(text, element);
        if let Ok(address) = NameAddr::parse(element) {
            inside(element, address.uri);
            inside(element, address.display);
            inside(element, address.raw);
            let _ = (address.tag(), address.params.check(), Uri::parse(address.uri));
        }
    }
    for list in [Params::new(text).flatten().collect(), AuthFields::new(text).flatten().collect()] {
        let list: Vec<gossipper::sip::Param<'_>> = list;
        list.iter().for_each(|param| inside(text, param.name));
    }
    if let Ok(challenge) = Challenge::parse(text) {
        let _ = challenge.field("realm");
    }
    if let Ok(Uri::Sip(uri)) = Uri::parse(text) {
        inside(text, uri.host);
        let _ = (uri.ip(), uri.params.check());
    }
}

/// Checks that an error response is a message with nothing of the peer's in the wrong place.
fn answered(bytes: &[u8]) {
    let mut out = [0; 2048];
    let Some(len) = write_error_response(bytes, 400, "Bad Request", b"tag", &mut out) else {
        return;
    };
    let mut index = HeaderIndex::new();
    let answer = index.parse(&out[..len]).expect("answers are well framed");
    assert_eq!(answer.status(), Some(400));
    assert_eq!((answer.body(), answer.bytes().len()), (&b""[..], len));
    let vias = answer.all(gossipper::sip::HeaderId::Via).count();
    assert_eq!(answer.headers().len(), vias + 5);
}

/// Reads `body` as a session description.
pub fn sdp(body: &[u8]) {
    let Ok(sdp) = Sdp::parse(body) else { return };
    let _ = (sdp.origin(), sdp.connection(), sdp.direction(), sdp.attributes().count());
    for media in sdp.media().flatten() {
        inside(body, media.kind);
        inside(body, media.protocol);
        media.formats().for_each(|format| inside(body, format));
        media.attributes().for_each(|(name, _)| inside(body, name));
        let _ = (media.connection().map(|connection| connection.ip()), media.direction());
        let _ = (media.rtpmaps().count(), media.fmtps().count(), media.ptime_ms());
        let _ = media.cryptos().count();
    }
}

/// Frames `stream` whole and in pieces and compares the results.
pub fn stream(stream: &[u8], piece_len: usize) {
    let whole = frames(stream, stream.len().max(1));
    let pieces = frames(stream, piece_len.max(1));
    assert_eq!(whole, pieces);
}

/// The messages of `stream` and how it ended, fed in pieces.
fn frames(stream: &[u8], piece_len: usize) -> (Vec<Vec<u8>>, Option<gossipper::sip::ParseError>) {
    let limits = FrameLimits { header_bytes_max: 512, message_bytes_max: 1024 };
    let mut framer = StreamFramer::new(limits);
    let (mut buffered, mut found) = (Vec::new(), Vec::new());
    for piece in stream.chunks(piece_len) {
        buffered.extend_from_slice(piece);
        loop {
            match framer.frame(&buffered) {
                Framing::Complete { len } => found.push(buffered.drain(..len).collect()),
                Framing::Keepalive { len } => {
                    assert!(buffered.drain(..len).all(|byte| matches!(byte, b'\r' | b'\n')));
                }
                Framing::Need(more) => {
                    assert!(more > 0);
                    break;
                }
                Framing::Error(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

fn method_text(method: gossipper::sip::Method<'_>) -> &[u8] {
    match method {
        gossipper::sip::Method::Other(text) => text,
        // A static name.
        _ => b"",
    }
}

/// Fails unless `part` lies in `whole`.
fn inside(whole: &[u8], part: &[u8]) {
    let (whole, part) = (whole.as_ptr_range(), part.as_ptr_range());
    assert!(part.is_empty() || (whole.start <= part.start && part.end <= whole.end));
}

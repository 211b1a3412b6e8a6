//! Tier 1 and the typed headers never allocate: a load generator sees every message, and memory
//! that moves is latency that moves.

use std::hint::black_box;

use gossipper::sip::{
    FrameLimits, Framing, HeaderId, HeaderIndex, Sdp, StreamFramer, Uri, classify,
    write_error_response,
};

use crate::counter::{counted, so_far};

const FOLDED_INVITE: &[u8] = b"INVITE sip:bob@example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP a;branch=z9hG4bK1,\r\n SIP/2.0/UDP b;branch=z9hG4bK2\r\n\
    Record-Route: <sip:p1;lr>, <sip:p2;lr>\r\n\
    f: \"Alice\" <sip:alice@example.com>;tag=a\r\n\
    t: <sip:bob@example.com>\r\n\
    i: c@example.com\r\nCSeq: 1\r\n INVITE\r\nX-Any : thing\r\n\
    m: <sip:alice@[2001:db8::1]:5060>\r\nl: 97\r\n\r\n\
    v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\n\
    m=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";

fn ask_everything(index: &mut HeaderIndex, out: &mut [u8]) -> usize {
    let mut framer = StreamFramer::new(FrameLimits::default());
    let Framing::Complete { len } = framer.frame(FOLDED_INVITE) else { panic!("one message") };
    black_box(classify(&FOLDED_INVITE[..len]));
    let message = index.parse(&FOLDED_INVITE[..len]).unwrap();
    message.check().unwrap();
    let headers = message.headers().filter(|header| header.id == HeaderId::Other).count();
    let seen = headers + message.vias().count() + message.record_routes().count();
    let _ = black_box((
        message.by_name(b"x-any"),
        message.cseq(),
        message.from_tag(),
        message.to_tag(),
    ));
    black_box(Uri::parse(message.contact_uri().unwrap()).unwrap().sip().unwrap().ip());
    let sdp = Sdp::parse(message.body()).unwrap();
    let maps: usize = sdp.media().map(|media| media.unwrap().rtpmaps().count()).sum();
    let answer = write_error_response(message.bytes(), 486, "Busy Here", b"t", out).unwrap();
    // Refusals are part of the hot path too.
    assert!(index.parse(b"BYE sip:a@b SIP/2.0\r\nbroken\r\n\r\n").is_err());
    seen + maps + answer
}

#[test]
fn parsing_and_answering_allocate_nothing() {
    let mut index = HeaderIndex::new();
    let mut out = [0; 1024];
    let before = so_far();
    black_box(counted(|| ask_everything(&mut index, &mut out)));
    assert_eq!(so_far() - before, 0);
}

#[test]
fn many_headers_take_memory_once() {
    let mut index = HeaderIndex::new();
    let mut parsed = |extra: usize| {
        let more = format!("\r\n{}i: ", "X-More: of the same\r\n".repeat(extra));
        let text = String::from_utf8_lossy(FOLDED_INVITE).replacen("\r\ni: ", &more, 1);
        let before = so_far();
        let (headers, call_id) = counted(|| {
            let message = index.parse(text.as_bytes()).unwrap();
            (message.headers().len(), black_box(message.call_id().is_some()))
        });
        (so_far() - before, headers, call_id)
    };
    let few = parsed(0).1;
    assert_eq!(parsed(100), (0, few + 100, true));
    assert_eq!(parsed(200), (1, few + 200, true), "the index grows for the first one");
    for extra in [0, 900, 100, 200] {
        assert_eq!(parsed(extra), (0, few + extra, true));
    }
}

//! Parser speed: tier 1 against httparse's header parser alone, and the typed accessors.
//!
//! `httparse` is its header parser alone: no first line, no header ids, no offsets, no
//! Content-Length. `httparse_indexed` adds the first three, as tier 1 would with httparse as its
//! fast path; it would still refuse folded headers.
//!
//! Measured in the release profile on an AMD EPYC virtual machine: 640-byte INVITE 173 ns for
//! `index`, 179 ns for `httparse_indexed`; 200 OK 93 ns against 100 ns. httparse alone splits
//! faster (128 ns), but converting its slices to offsets costs as much as that saves, and the
//! messages that it refuses would be read twice. So the index has its own splitter, and httparse is
//! an oracle in `tests/sip_differential.rs`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gossipper::sip::{HeaderId, HeaderIndex, classify};

/// An INVITE as a SIPp caller sends it: 640 bytes with 14 headers.
const INVITE: &[u8] = b"INVITE sip:service@192.0.2.20:5060 SIP/2.0\r\n\
Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK-18345-1-0;rport\r\n\
Max-Forwards: 70\r\n\
From: \"load\" <sip:sipp@192.0.2.10:5060>;tag=18345SIPpTag001\r\n\
To: service <sip:service@192.0.2.20:5060>\r\n\
Call-ID: 1-18345@192.0.2.10\r\n\
CSeq: 1 INVITE\r\n\
Contact: <sip:sipp@192.0.2.10:5060>\r\n\
Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\n\
Supported: 100rel, timer\r\n\
User-Agent: Gossipper\r\n\
Subject: Performance Test\r\n\
Expires: 180\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 141\r\n\
\r\n\
v=0\r\n\
o=user1 53655765 2353687637 IN IP4 192.0.2.10\r\n\
s=-\r\n\
c=IN IP4 192.0.2.10\r\n\
t=0 0\r\n\
m=audio 6000 RTP/AVP 0\r\n\
a=rtpmap:0 PCMU/8000\r\n\
a=ptime:20";

const OK: &[u8] = b"SIP/2.0 200 OK\r\n\
Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK-18345-1-0;rport=5060;received=192.0.2.10\r\n\
From: \"load\" <sip:sipp@192.0.2.10:5060>;tag=18345SIPpTag001\r\n\
To: service <sip:service@192.0.2.20:5060>;tag=8712SIPpTag011\r\n\
Call-ID: 1-18345@192.0.2.10\r\n\
CSeq: 1 INVITE\r\n\
Contact: <sip:192.0.2.20:5060;transport=UDP>\r\n\
Content-Length: 0\r\n\
\r\n";

const FOLDED: &[u8] = b"INVITE sip:service@192.0.2.20:5060 SIP/2.0\r\n\
v: SIP/2.0/UDP 192.0.2.10:5060\r\n ;branch=z9hG4bK-18345-1-0\r\n\
Max-Forwards : 70\r\n\
f: \"load\"\r\n <sip:sipp@192.0.2.10:5060>\r\n ;tag=18345SIPpTag001\r\n\
t: service <sip:service@192.0.2.20:5060>\r\n\
i: 1-18345@192.0.2.10\r\n\
CSeq: 1\r\n INVITE\r\n\
m: <sip:sipp@192.0.2.10:5060>\r\n\
l: 0\r\n\
\r\n";

fn tier1(c: &mut Criterion) {
    let mut group = c.benchmark_group("tier1");
    for (name, message) in [("invite", INVITE), ("ok", OK), ("folded", FOLDED)] {
        group.throughput(Throughput::Bytes(message.len() as u64));
        group.bench_with_input(BenchmarkId::new("index", name), message, |b, message| {
            let mut index = HeaderIndex::new();
            b.iter(|| index.parse(black_box(message)).map(|parsed| parsed.body_offset()));
        });
    }
    for (name, message) in [("invite", INVITE), ("ok", OK)] {
        group.bench_with_input(
            BenchmarkId::new("httparse_indexed", name),
            message,
            |b, message| {
                let mut index = [(HeaderId::Other, 0u16, 0u16, 0u16, 0u16); 128];
                b.iter(|| with_httparse(black_box(message), &mut index));
            },
        );
        let headers = memchr::memchr(b'\n', message).map_or(0, |newline| newline + 1);
        group.bench_with_input(BenchmarkId::new("httparse", name), message, |b, message| {
            let mut headers_out = [httparse::EMPTY_HEADER; 32];
            b.iter(|| {
                let text = &black_box(message)[headers..];
                httparse::parse_headers(text, &mut headers_out).map(|status| status.is_complete())
            });
        });
    }
    group.bench_function("classify", |b| b.iter(|| classify(black_box(INVITE))));
    group.finish();
}

/// Name and value of a header as offsets, and its id.
type Entry = (HeaderId, u16, u16, u16, u16);

/// Indexes a message with httparse: the extra cost is first line, ids and offsets.
fn with_httparse(message: &[u8], index: &mut [Entry; 128]) -> Option<usize> {
    let newline = memchr::memchr(b'\n', message)?;
    let mut words = message[..newline].splitn(3, |byte| *byte == b' ');
    let (method, uri, version) = (words.next()?, words.next()?, words.next()?);
    black_box((gossipper::sip::Method::from_bytes(method), uri, version));
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let text = &message[newline + 1..];
    let (len, headers) = match httparse::parse_headers(text, &mut headers).ok()? {
        httparse::Status::Complete(found) => found,
        httparse::Status::Partial => return None,
    };
    let base = message.as_ptr() as usize;
    for (entry, header) in index.iter_mut().zip(headers) {
        let (name, value) = (header.name.as_bytes(), header.value);
        let (name_at, value_at) = (name.as_ptr() as usize - base, value.as_ptr() as usize - base);
        *entry = (
            HeaderId::from_name(name),
            name_at as u16,
            (name_at + name.len()) as u16,
            value_at as u16,
            (value_at + value.len()) as u16,
        );
    }
    Some(newline + 1 + len)
}

fn tier2(c: &mut Criterion) {
    let mut index = HeaderIndex::new();
    let Ok(message) = index.parse(INVITE) else { return };
    let mut group = c.benchmark_group("tier2");
    group.bench_function("first", |b| {
        b.iter(|| black_box(&message).first(HeaderId::ContentType));
    });
    group.bench_function("cseq", |b| b.iter(|| black_box(&message).cseq()));
    group.bench_function("top_via", |b| b.iter(|| black_box(&message).top_via()));
    group.bench_function("from_tag", |b| b.iter(|| black_box(&message).from_tag()));
    group.bench_function("contact_uri", |b| b.iter(|| black_box(&message).contact_uri()));
    group.bench_function("check", |b| b.iter(|| black_box(&message).check()));
    group.finish();
}

criterion_group!(benches, tier1, tier2);
criterion_main!(benches);

//! Our parser against two others that know nothing of ours: `httparse` for the header section and
//! `rsip` for whole messages. Where all accept, all must agree.
//!
//! Known differences, each stated where it is tested:
//!
//! | who | what | why ours differs |
//! | --- | --- | --- |
//! | httparse | refuses folded lines | RFC 3261 7.3.1 allows them |
//! | httparse | refuses blanks before the colon | RFC 3261 7.3.1 allows them |
//! | httparse | refuses control characters in values | RFC 3261 25.1 `quoted-pair` allows them |
//! | httparse | accepts `#`, `$`, `&`, `^` and `\|` in names | RFC 3261 25.1 `token` does not |
//! | rsip | refuses what is not UTF-8, folded, or ended by LF | as above |
//! | rsip | refuses methods and status codes it has no name for | RFC 3261 7.1, 7.2 are open |
//! | rsip | does not know compact names | RFC 3261 7.3.3 |
//! | rsip | keeps blanks around `;` and `=` | RFC 3261 25.1 SEMI, EQUAL |
//! | rsip | upper-cases transports and methods | values come as written, RFC 3261 7.1 |
//! | rsip | ignores Content-Length | RFC 3261 18.3 |
//! | rsip | reads only the first Via of a list | RFC 3261 7.3.1 |

use std::fs;

use gossipper::sip::{HeaderIndex, Kind, Message, ParseError};
use proptest::collection::vec;
use proptest::prelude::*;
use rsip::headers::typed;
use rsip::message::{HasHeaders, HeadersExt};
use rsip::prelude::{ToTypedHeader, UntypedHeader};

use crate::sip_support::choices::Choices;
use crate::sip_support::model::Model;

/// Name and value of a header.
type Pair = (Vec<u8>, Vec<u8>);

fn torture_messages() -> Vec<(String, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rfc4475");
    let mut messages: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "dat"))
        .map(|path| (path.file_stem().unwrap().display().to_string(), fs::read(&path).unwrap()))
        .collect();
    messages.sort();
    messages
}

/// The headers as httparse sees them, if it accepts the header section.
fn httparse_headers(text: &[u8]) -> Option<(usize, Vec<Pair>)> {
    let mut headers = [httparse::EMPTY_HEADER; 200];
    let Ok(httparse::Status::Complete((len, headers))) =
        httparse::parse_headers(text, &mut headers)
    else {
        return None;
    };
    let pair = |header: &httparse::Header<'_>| (header.name.into(), header.value.to_vec());
    Some((len, headers.iter().map(pair).collect()))
}

fn our_headers(message: &Message<'_>) -> Vec<Pair> {
    message.headers().map(|header| (header.name.to_vec(), header.value.to_vec())).collect()
}

fn agrees_with_httparse(bytes: &[u8]) {
    let Some(first_len) = bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1) else {
        return;
    };
    let theirs = httparse_headers(&bytes[first_len..]);
    match (HeaderIndex::new().parse(bytes), theirs) {
        (Ok(message), Some((len, headers))) => {
            assert_eq!(our_headers(&message), headers);
            assert_eq!(message.body_offset(), first_len + len);
        }
        (Ok(message), None) => {
            let excused = message.headers().any(|header| {
                let folded = header.line.contains(&b'\n');
                let blank = header.line.get(header.name.len()) != Some(&b':');
                let control = |byte: &u8| *byte != b'\t' && byte.is_ascii_control();
                folded || blank || header.value.iter().any(control)
            });
            assert!(excused, "httparse refuses {}", bytes.escape_ascii());
        }
        (Err(ParseError::BadHeaderLine), Some((_, headers))) => {
            let foreign = |byte: &u8| b"#$&^|".contains(byte);
            let excused = headers.iter().any(|(name, _)| name.iter().any(foreign));
            assert!(excused, "httparse accepts {}", bytes.escape_ascii());
        }
        // Not the header section's fault.
        (Err(error), Some(_)) => assert!(
            !matches!(error, ParseError::HeadersUnterminated),
            "{error}: {}",
            bytes.escape_ascii()
        ),
        (Err(_), None) => {}
    }
}

/// Compares the results of both for `bytes`; false if rsip refuses them.
fn agrees_with_rsip(bytes: &[u8], message: &Message<'_>) -> bool {
    let Ok(theirs) = rsip::SipMessage::try_from(bytes) else { return false };
    match (message.kind(), &theirs) {
        (Kind::Request { method, uri }, rsip::SipMessage::Request(request)) => {
            assert!(method.to_string().eq_ignore_ascii_case(&request.method.to_string()));
            let uri = String::from_utf8_lossy(uri);
            assert!(uri.eq_ignore_ascii_case(&request.uri.to_string()), "{uri}");
        }
        (Kind::Response { code, .. }, rsip::SipMessage::Response(response)) => {
            assert_eq!(code, u16::from(response.status_code.clone()));
        }
        (ours, theirs) => panic!("{ours:?} against {theirs:?}"),
    }
    let lines: Vec<_> = theirs.headers().iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), message.headers().len());
    for (line, header) in lines.iter().zip(message.headers()) {
        let (name, value) = line.split_once(": ").unwrap();
        assert!(name.as_bytes().eq_ignore_ascii_case(header.name), "{name}");
        assert_eq!(value.trim_ascii().as_bytes(), header.value, "{name}");
    }
    typed_headers_agree(message, &theirs);
    true
}

fn typed_headers_agree(message: &Message<'_>, theirs: &rsip::SipMessage) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if let Ok(call_id) = theirs.call_id_header() {
        assert_eq!(message.call_id().map(text).as_deref(), Some(call_id.value()));
    }
    if let Some(Ok(typed::CSeq { seq, method })) = tight(theirs.cseq_header()) {
        let ours = message.cseq().unwrap();
        assert_eq!(ours.number, seq);
        assert!(ours.method.to_string().eq_ignore_ascii_case(&method.to_string()));
    }
    if let Some(Ok(via)) = tight(theirs.via_header()) {
        let ours = message.top_via().unwrap();
        assert!(text(ours.transport).eq_ignore_ascii_case(&via.transport.to_string()));
        assert_eq!(ours.branch.map(text), via.branch().map(|branch| branch.to_string()));
        assert_eq!(text(ours.host), via.uri.host_with_port.host.to_string());
    }
    if let Some(Ok(from)) = tight(theirs.from_header()) {
        assert_eq!(message.from_tag().map(text), from.tag().map(|tag| tag.to_string()));
    }
    if let Some(Ok(to)) = tight(theirs.to_header()) {
        assert_eq!(message.to_tag().map(text), to.tag().map(|tag| tag.to_string()));
    }
}

/// The typed form of a header that rsip has found, without blanks at separators.
fn tight<'h, H: ToTypedHeader<'h>>(
    header: Result<&'h H, rsip::Error>,
) -> Option<Result<H::Typed, rsip::Error>> {
    let header = header.ok()?;
    let loose = [" ;", "; ", " =", "= ", "\t"].iter().any(|blank| header.value().contains(blank));
    (!loose).then(|| header.typed())
}

#[test]
fn torture_messages_are_split_as_httparse_splits_them() {
    for (_, bytes) in torture_messages() {
        agrees_with_httparse(&bytes);
    }
}

/// Valid or tolerable torture messages that rsip refuses, and why.
const RSIP_REFUSES: [(&str, &str); 10] = [
    ("esc01", "folded"),
    ("esc02", "unknown method"),
    ("escruri", "headers in the Request-URI"),
    ("intmeth", "unknown method"),
    ("longreq", "blanks before the colon"),
    ("lwsstart", "two blanks in the request line"),
    ("semiuri", "folded"),
    ("trws", "blanks after the version"),
    ("unkscm", "a URI that is no sip, sips or tel"),
    ("wsinv", "folded"),
];

#[test]
fn torture_messages_mean_what_rsip_says() {
    let mut refused = Vec::new();
    for (name, bytes) in torture_messages() {
        let mut index = HeaderIndex::new();
        let Ok(message) = index.parse(&bytes) else { continue };
        if message.check().is_ok() && !agrees_with_rsip(message.bytes(), &message) {
            refused.push(name);
        }
    }
    assert_eq!(refused, RSIP_REFUSES.map(|(name, _)| name));
}

fn choices() -> impl Strategy<Value = Choices> {
    vec(any::<u16>(), 0..300).prop_map(Choices::new)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_messages_are_split_as_httparse_splits_them(mut choices in choices()) {
        let model = Model::generate(&mut choices);
        agrees_with_httparse(&model.plain());
        agrees_with_httparse(&model.styled(&mut choices));
    }

    #[test]
    fn any_header_section_is_split_as_httparse_splits_it(
        headers in "([a-c#~]{1,3}[ ]?:[ -~\t]{0,5}(\r\n|\n)[ ]?){0,4}(\r\n)?",
    ) {
        agrees_with_httparse(format!("BYE sip:a@b SIP/2.0\r\n{headers}").as_bytes());
    }

    #[test]
    fn generated_messages_mean_what_rsip_says(mut choices in choices()) {
        let bytes = Model::generate(&mut choices).plain();
        let mut index = HeaderIndex::new();
        let message = index.parse(&bytes).unwrap();
        agrees_with_rsip(&bytes, &message);
    }
}

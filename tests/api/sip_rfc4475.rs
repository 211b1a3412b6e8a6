//! The 49 messages of RFC 4475 (SIP torture tests), each with the verdict that the RFC gives it.
//!
//! `tests/data/rfc4475/<name>.dat` holds the bytes; <name> is the RFC's. A message that the RFC
//! calls valid must index and pass the check. An invalid one must fail in either, with the status
//! that the RFC names. A tolerable one is read with the meaning of its sender. A semantic one is
//! well formed and strange in content, and must reach the code that judges content unharmed.

use std::fs;
use std::path::PathBuf;

use gossipper::sip::{
    Challenge, Datagram, FrameLimits, Framing, HeaderId, HeaderIndex, Kind, Message, Method,
    ParseError, Rport, Sdp, StreamFramer, Uri, classify, unfold, write_error_response,
};

#[derive(Clone, Copy)]
enum Verdict {
    /// Sections 3.1.1: accept.
    Valid(fn(&Message<'_>)),
    /// Sections 3.1.2 and 3.3: refuse; the error's name, and the status if an answer is due.
    Invalid(&'static str, Option<u16>),
    /// Sections 3.1.2: the RFC lets an element accept these, but not pass them on as they are.
    Tolerable(fn(&Message<'_>)),
    /// Sections 3.2 to 3.4: well formed.
    Semantic(fn(&Message<'_>)),
}
use Verdict::{Invalid, Semantic, Tolerable, Valid};

/// The messages in the RFC's order.
const CORPUS: [(&str, Verdict); 49] = [
    ("wsinv", Valid(wsinv)),
    ("intmeth", Valid(intmeth)),
    ("esc01", Valid(esc01)),
    ("escnull", Valid(escnull)),
    ("esc02", Valid(esc02)),
    ("lwsdisp", Valid(lwsdisp)),
    ("longreq", Valid(longreq)),
    ("dblreq", Valid(dblreq)),
    ("semiuri", Valid(semiuri)),
    ("transports", Valid(transports)),
    ("mpart01", Valid(mpart01)),
    ("unreason", Valid(unreason)),
    ("noreason", Valid(noreason)),
    ("badinv01", Invalid("bad_header", Some(400))),
    ("clerr", Invalid("body_too_short", Some(400))),
    ("ncl", Invalid("bad_content_length", Some(400))),
    ("scalar02", Invalid("bad_header", Some(400))),
    ("scalarlg", Invalid("bad_header", None)),
    ("quotbal", Invalid("bad_header", Some(400))),
    ("ltgtruri", Invalid("bad_request_uri", Some(400))),
    ("lwsruri", Invalid("bad_request_uri", Some(400))),
    ("lwsstart", Tolerable(lwsstart)),
    ("trws", Tolerable(trws)),
    ("escruri", Tolerable(escruri)),
    ("baddate", Tolerable(baddate)),
    ("regbadct", Tolerable(regbadct)),
    ("badaspec", Tolerable(badaspec)),
    ("baddn", Invalid("bad_header", Some(400))),
    ("badvers", Invalid("unsupported_version", Some(505))),
    ("mismatch01", Invalid("method_mismatch", Some(400))),
    ("mismatch02", Invalid("method_mismatch", Some(400))),
    ("bigcode", Invalid("bad_status_code", None)),
    ("badbranch", Semantic(badbranch)),
    ("insuf", Invalid("missing_header", Some(400))),
    ("unkscm", Semantic(unkscm)),
    ("novelsc", Semantic(novelsc)),
    ("unksm2", Semantic(unksm2)),
    ("bext01", Semantic(bext01)),
    ("invut", Semantic(invut)),
    ("regaut01", Semantic(regaut01)),
    ("multi01", Invalid("repeated_header", Some(400))),
    ("mcl01", Invalid("conflicting_content_length", Some(400))),
    ("bcast", Semantic(bcast)),
    ("zeromf", Semantic(zeromf)),
    ("cparam01", Semantic(cparam01)),
    ("cparam02", Semantic(cparam02)),
    ("regescrt", Semantic(regescrt)),
    ("sdp01", Semantic(sdp01)),
    ("inv2543", Semantic(inv2543)),
];

/// Requests that no answer can be routed to: `insuf` has neither From, To nor Call-ID.
const UNANSWERABLE: [&str; 1] = ["insuf"];

fn load(name: &str) -> Vec<u8> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/data/rfc4475"].iter().collect();
    let path = path.join(name).with_extension("dat");
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The error of parsing or, after that, of the check.
fn defect(bytes: &[u8]) -> Option<ParseError> {
    match HeaderIndex::new().parse(bytes) {
        Ok(message) => message.check().err(),
        Err(error) => Some(error),
    }
}

#[test]
fn every_message_gets_the_verdict_of_the_rfc() {
    for (name, verdict) in CORPUS {
        let bytes = load(name);
        assert_eq!(classify(&bytes), Datagram::Sip, "{name}");
        match verdict {
            Invalid(expected, _) => {
                assert_eq!(defect(&bytes).map(ParseError::name), Some(expected), "{name}");
            }
            Valid(look) | Tolerable(look) | Semantic(look) => {
                assert_eq!(defect(&bytes), None, "{name}");
                look(&HeaderIndex::new().parse(&bytes).unwrap());
            }
        }
    }
}

#[test]
fn invalid_requests_are_answered_and_invalid_responses_are_not() {
    let mut out = [0; 4096];
    for (name, verdict) in CORPUS {
        let Invalid(_, status) = verdict else { continue };
        let bytes = load(name);
        let error = defect(&bytes).unwrap();
        let answer =
            write_error_response(&bytes, status.unwrap_or(400), "Refused", b"mine", &mut out);
        match status {
            None => assert_eq!(answer, None, "{name} is a response"),
            Some(status) if !UNANSWERABLE.contains(&name) => {
                assert_eq!(error.suggested_status(), Some(status), "{name}");
                let answer = HeaderIndex::new().parse(&out[..answer.unwrap()]).unwrap().status();
                assert_eq!(answer, Some(status), "{name}");
            }
            Some(_) => assert_eq!(answer, None, "{name} has no way back"),
        }
    }
}

#[test]
fn well_formed_requests_can_be_refused_too() {
    let mut out = [0; 8192];
    for (name, verdict) in CORPUS {
        if matches!(verdict, Invalid(..)) {
            continue;
        }
        let bytes = load(name);
        let mut index = HeaderIndex::new();
        let message = index.parse(&bytes).unwrap();
        let len = write_error_response(message.bytes(), 503, "Busy", b"mine", &mut out);
        assert_eq!(len.is_some(), message.method().is_some(), "{name}");
        let Some(len) = len else { continue };
        let mut index = HeaderIndex::new();
        let answer = index.parse(&out[..len]).unwrap();
        assert_eq!(answer.check(), Ok(()), "{name}");
        assert_eq!(answer.call_id(), message.call_id(), "{name}");
        assert_eq!(answer.cseq(), message.cseq(), "{name}");
        assert_eq!(answer.vias().count(), message.vias().count(), "{name}");
        assert_eq!(answer.to_tag(), message.to_tag().or(Some(b"mine")), "{name}");
    }
}

#[test]
fn on_a_stream_any_split_frames_the_same() {
    // No length, or one that cannot be used.
    let unframed = ["ncl", "mcl01", "inv2543"];
    for (name, _) in CORPUS {
        let bytes = load(name);
        let whole = StreamFramer::default().frame(&bytes);
        assert_eq!(matches!(whole, Framing::Error(_)), unframed.contains(&name), "{name}");
        let mut framer = StreamFramer::new(FrameLimits::default());
        let mut last = Framing::Need(1);
        for len in 1..=bytes.len() {
            last = framer.frame(&bytes[..len]);
            if !matches!(last, Framing::Need(_)) {
                break;
            }
        }
        assert_eq!(last, whole, "{name}");
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn request_uri<'m>(message: &Message<'m>) -> Uri<'m> {
    let Kind::Request { uri, .. } = message.kind() else { panic!("a request") };
    Uri::parse(uri).unwrap()
}

fn first<'m>(message: &Message<'m>, id: HeaderId) -> &'m str {
    text(message.first(id).unwrap())
}

fn wsinv(message: &Message<'_>) {
    assert!(request_uri(message).sip().unwrap().params.find("unknownparam").is_some());
    assert_eq!(message.to_tag(), Some(&b"1918181833n"[..]));
    assert_eq!(message.from_tag(), Some(&b"98asjd8"[..]));
    let from = message.name_addrs(HeaderId::From).next().unwrap().unwrap();
    assert_eq!(text(from.display_unquoted()), r#"J Rosenberg \\\""#);
    assert_eq!(message.cseq().unwrap().number, 9);
    let vias: Vec<_> = message
        .vias()
        .map(Result::unwrap)
        .map(|via| (text(via.transport), text(via.host), text(via.branch.unwrap())))
        .collect();
    assert_eq!(
        vias,
        [
            ("UDP", "192.0.2.2", "390skdjuw"),
            ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
            ("UDP", "192.168.255.111", "z9hG4bK30239"),
        ]
    );
    assert_eq!(first(message, HeaderId::Subject), "");
    let folded = message.by_name(b"newfangledheader").unwrap();
    let unfolded: Vec<u8> = unfold(folded).collect();
    assert_eq!(text(&unfolded), "newfangled value continued newfangled value");
    assert_eq!(message.by_name(b"UnknownHeaderWithUnusualValue"), Some(&b";;,,;;,;"[..]));
    let contact = message.contacts().next().unwrap().unwrap();
    assert_eq!(text(contact.uri), "sip:jdrosen@example.com");
    assert_eq!(contact.params.find("newparam").unwrap().value, Some(&b"newvalue"[..]));
    assert_eq!(contact.params.find("secondparam").unwrap().value, None);
    assert_eq!(contact.params.find("q").unwrap().value, Some(&b"0.33"[..]));
    let sdp = Sdp::parse(message.body()).unwrap();
    let ports: Vec<_> = sdp.media().map(|media| media.unwrap().port).collect();
    assert_eq!(ports, [49_217, 3227]);
}

fn intmeth(message: &Message<'_>) {
    const METHOD: &[u8] = b"!interesting-Method0123456789_*+`.%indeed'~";
    assert_eq!(message.method(), Some(Method::Other(METHOD)));
    assert_eq!(message.cseq().unwrap().number, 139_122_385);
    let uri = request_uri(message);
    let uri = uri.sip().unwrap();
    assert_eq!(text(uri.user.unwrap()), "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*");
    assert_eq!(text(uri.password.unwrap()), "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)");
    assert_eq!(text(uri.host), "example.com");
    let to = message.name_addrs(HeaderId::To).next().unwrap().unwrap();
    assert_eq!(to.display_unquoted(), b"BEL:\\\x07 NUL:\\\0 DEL:\\\x7f");
    assert_eq!(message.from_tag(), Some(&b"_token~1'+`*%!-."[..]));
    assert_eq!(message.call_id(), Some(&b"intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"[..]));
    let extension = message.by_name(b"extensionHeader-!.%*+_`'~").unwrap();
    assert_eq!(text(extension), "\u{feff}大停電");
}

fn esc01(message: &Message<'_>) {
    let uri = request_uri(message);
    assert_eq!(uri.sip().unwrap().user, Some(&b"sips%3Auser%40example.com"[..]));
    let contact = Uri::parse(message.contact_uri().unwrap()).unwrap();
    let contact = *contact.sip().unwrap();
    assert_eq!(contact.params.find("n%61me").unwrap().value, Some(&b"v%61lue%25%34%31"[..]));
}

fn escnull(message: &Message<'_>) {
    let contacts: Vec<_> = message.contacts().map(|contact| contact.unwrap().uri).collect();
    assert_eq!(contacts, [&b"sip:%00@host5.example.com"[..], b"sip:%00%00@host5.example.com"]);
}

fn esc02(message: &Message<'_>) {
    assert_eq!(message.method(), Some(Method::Other(b"RE%47IST%45R")));
    assert_eq!(message.contacts().count(), 2);
    assert!(message.by_name(b"C%6Fntact").is_some());
}

fn lwsdisp(message: &Message<'_>) {
    let from = message.name_addrs(HeaderId::From).next().unwrap().unwrap();
    assert_eq!((from.display, from.uri), (&b"caller"[..], &b"sip:caller@example.com"[..]));
}

fn longreq(message: &Message<'_>) {
    assert_eq!(message.vias().count(), 34);
    assert_eq!(message.vias().last().unwrap().unwrap().received, Some(&b"192.0.2.5"[..]));
    assert_eq!(message.from_tag().unwrap().len(), 155);
    assert_eq!(message.body().len(), 150);
}

fn dblreq(message: &Message<'_>) {
    // What follows Content-Length in a datagram is noise (RFC 3261 18.3).
    assert_eq!((message.method(), message.body()), (Some(Method::Register), &b""[..]));
}

fn semiuri(message: &Message<'_>) {
    let uri = request_uri(message);
    assert_eq!(uri.sip().unwrap().user, Some(&b"user;par=u%40example.net"[..]));
    assert_eq!(message.elements(HeaderId::Accept).count(), 6);
}

fn transports(message: &Message<'_>) {
    let transports: Vec<_> = message.vias().map(|via| text(via.unwrap().transport)).collect();
    assert_eq!(transports, ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]);
}

fn mpart01(message: &Message<'_>) {
    assert_eq!(message.method(), Some(Method::Message));
    assert_eq!(message.top_via().unwrap().rport, Rport::Requested);
    assert_eq!(message.body().len(), 553);
    assert!(message.body().ends_with(b"\r\n--7a9cbec02ceef655--\r\n"));
}

fn unreason(message: &Message<'_>) {
    let Kind::Response { code: 200, reason } = message.kind() else { panic!("a 200") };
    assert_eq!(text(reason), "= 2**3 * 5**2 но сто девяносто девять - простое");
}

fn noreason(message: &Message<'_>) {
    assert_eq!(message.kind(), Kind::Response { code: 100, reason: b"" });
}

fn lwsstart(message: &Message<'_>) {
    assert_eq!(
        message.kind(),
        Kind::Request { method: Method::Invite, uri: b"sip:user@example.com" }
    );
}

fn trws(message: &Message<'_>) {
    assert_eq!(
        message.kind(),
        Kind::Request { method: Method::Options, uri: b"sip:remote-target@example.com" }
    );
}

fn escruri(message: &Message<'_>) {
    let uri = request_uri(message);
    assert_eq!(uri.sip().unwrap().headers, b"Route=%3Csip:example.com%3E");
}

fn baddate(message: &Message<'_>) {
    assert_eq!(first(message, HeaderId::Date), "Fri, 01 Jan 2010 16:00:00 EST");
}

fn regbadct(message: &Message<'_>) {
    let contact = message.contacts().next().unwrap().unwrap();
    assert!(!contact.bracketed && contact.uri.contains(&b'?'), "whoever forwards this can tell");
}

fn badaspec(message: &Message<'_>) {
    let to = message.name_addrs(HeaderId::To).next().unwrap().unwrap();
    assert_eq!(text(to.uri), "sip:t.watson@example.org");
}

fn badbranch(message: &Message<'_>) {
    assert_eq!(message.top_via().unwrap().branch, Some(&b"z9hG4bK"[..]));
}

fn unkscm(message: &Message<'_>) {
    let expected = Uri::Other { scheme: b"nobodyKnowsThisScheme", rest: b"totallyopaquecontent" };
    assert_eq!(request_uri(message), expected);
}

fn novelsc(message: &Message<'_>) {
    let expected = Uri::Other { scheme: b"soap.beep", rest: b"//192.0.2.103:3002" };
    assert_eq!(request_uri(message), expected);
}

fn unksm2(message: &Message<'_>) {
    let scheme = |id| match Uri::parse(message.name_addrs(id).next().unwrap().unwrap().uri) {
        Ok(Uri::Other { scheme, .. }) => text(scheme),
        other => panic!("{other:?}"),
    };
    assert_eq!(scheme(HeaderId::To), "isbn");
    assert_eq!(scheme(HeaderId::From), "http");
    assert_eq!(scheme(HeaderId::Contact), "name");
}

fn bext01(message: &Message<'_>) {
    let required: Vec<_> =
        message.elements(HeaderId::Require).map(|tag| text(tag.unwrap())).collect();
    assert_eq!(required, ["nothingSupportsThis", "nothingSupportsThisEither"]);
}

fn invut(message: &Message<'_>) {
    assert_eq!(first(message, HeaderId::ContentType), "application/unknownformat");
    assert_eq!(message.body().len(), 40);
}

fn regaut01(message: &Message<'_>) {
    let value = message.first(HeaderId::Authorization).unwrap();
    let credentials = Challenge::parse(value).unwrap();
    assert!(!credentials.is_digest());
    assert_eq!(credentials.field("opaque-data"), Some(&b"here"[..]));
}

fn bcast(message: &Message<'_>) {
    let second = message.vias().nth(1).unwrap().unwrap();
    assert_eq!(text(second.host), "255.255.255.255");
}

fn zeromf(message: &Message<'_>) {
    assert_eq!(first(message, HeaderId::MaxForwards), "0");
}

fn cparam01(message: &Message<'_>) {
    // Without brackets the parameter is the header's (RFC 3261 20.10).
    let contact = message.contacts().next().unwrap().unwrap();
    assert_eq!(text(contact.uri), "sip:+19725552222@gw1.example.net");
    assert!(contact.params.find("unknownparam").is_some());
}

fn cparam02(message: &Message<'_>) {
    let contact = message.contacts().next().unwrap().unwrap();
    assert_eq!(text(contact.uri), "sip:+19725552222@gw1.example.net;unknownparam");
    assert!(contact.params.find("unknownparam").is_none());
}

fn regescrt(message: &Message<'_>) {
    let contact = Uri::parse(message.contact_uri().unwrap()).unwrap();
    assert_eq!(contact.sip().unwrap().headers, b"Route=%3Csip:sip.example.com%3E");
}

fn sdp01(message: &Message<'_>) {
    assert_eq!(first(message, HeaderId::Accept), "text/nobodyKnowsThis");
}

fn inv2543(message: &Message<'_>) {
    assert_eq!(message.top_via().unwrap().branch, None);
    assert_eq!(message.from_tag(), None);
    assert!(message.record_routes().next().unwrap().is_ok());
    assert!(Sdp::parse(message.body()).is_ok());
}

//! Index, message accessors and checks together, as a caller uses them on one message.

use super::*;

const INVITE: &str = "INVITE sip:bob@example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP p.example.com;branch=z9hG4bKp, SIP/2.0/TCP 192.0.2.1:5062;branch=z9hG4bKu\r\n\
    v: SIP/2.0/TLS last.example.com;branch=z9hG4bKl;received=192.0.2.9;rport=7\r\n\
    Record-Route: <sip:p2;lr>,\r\n <sip:p1;lr>\r\n\
    record-route : <sip:p0;lr>\r\n\
    f: \"Alice, A.\" <sip:alice@example.com>;tag=a1\r\n\
    To:<sip:bob@example.com>\r\n\
    i: c1@example.com\r\n\
    CSeq: 7 INVITE\r\n\
    X-Trace: first\r\n\
    x-trace: second\r\n\
    m: \"A\" <sip:alice@192.0.2.1:5062;transport=tcp>;expires=60, <sip:second@h>\r\n\
    Subject:\r\n\
    Content-Length: 4\r\n\
    \r\nbodytrailing";

fn with_message(text: &str, look: impl FnOnce(Message<'_>)) {
    look(HeaderIndex::new().parse(text.as_bytes()).unwrap());
}

fn error(text: &[u8]) -> ParseError {
    HeaderIndex::new().parse(text).unwrap_err()
}

#[test]
fn a_request_answers_all_questions() {
    with_message(INVITE, |message| {
        assert_eq!(
            message.kind(),
            Kind::Request { method: Method::Invite, uri: b"sip:bob@example.com" }
        );
        assert_eq!((message.method(), message.status()), (Some(Method::Invite), None));
        assert_eq!(message.call_id(), Some(&b"c1@example.com"[..]));
        assert_eq!(message.cseq(), Ok(CSeq { number: 7, method: Method::Invite }));
        assert_eq!(message.from_tag(), Some(&b"a1"[..]));
        assert_eq!(message.to_tag(), None);
        assert_eq!(message.contact_uri(), Some(&b"sip:alice@192.0.2.1:5062;transport=tcp"[..]));
        assert_eq!(message.first(HeaderId::Subject), Some(&b""[..]));
        assert_eq!(message.first(HeaderId::Expires), None);
        assert_eq!(message.check(), Ok(()));
    });
}

#[test]
fn lists_run_over_lines_and_commas() {
    with_message(INVITE, |message| {
        let branches: Vec<_> = message.vias().map(|via| via.unwrap().branch.unwrap()).collect();
        assert_eq!(branches, [&b"z9hG4bKp"[..], b"z9hG4bKu", b"z9hG4bKl"]);
        let routes: Vec<_> = message.record_routes().map(|route| route.unwrap().raw).collect();
        assert_eq!(routes, [&b"<sip:p2;lr>"[..], b"<sip:p1;lr>", b"<sip:p0;lr>"]);
        assert_eq!(message.contacts().count(), 2);
        assert_eq!(message.all(HeaderId::Via).count(), 2);
        assert_eq!(message.top_via().unwrap().host, b"p.example.com");
    });
}

#[test]
fn names_match_in_any_case_and_form() {
    with_message(INVITE, |message| {
        assert_eq!(message.by_name(b"Call-ID"), message.call_id());
        assert_eq!(message.by_name(b"I"), message.call_id());
        assert_eq!(message.by_name(b"X-TRACE"), Some(&b"first"[..]));
        assert_eq!(message.all_by_name(b"x-trace").count(), 2);
        assert_eq!(message.all_by_name(b"via").count(), 2);
        assert_eq!(message.by_name(b"X-None"), None);
    });
}

#[test]
fn headers_come_in_order_with_their_lines() {
    with_message(INVITE, |message| {
        assert_eq!(message.headers().len(), 13);
        let route = message.headers().nth(2).unwrap();
        assert_eq!(route.id, HeaderId::RecordRoute);
        assert_eq!(route.name, b"Record-Route");
        assert_eq!(route.value, b"<sip:p2;lr>,\r\n <sip:p1;lr>");
        assert_eq!(route.line, b"Record-Route: <sip:p2;lr>,\r\n <sip:p1;lr>");
        let blank_before_colon = message.headers().nth(3).unwrap();
        assert_eq!(blank_before_colon.name, b"record-route");
    });
}

#[test]
fn content_length_ends_the_message() {
    with_message(INVITE, |message| {
        assert_eq!(message.body(), b"body");
        assert!(message.bytes().ends_with(b"\r\n\r\nbody"));
        assert_eq!(&message.bytes()[message.body_offset()..], b"body");
    });
    with_message(&INVITE.replace("Content-Length: 4", "X: 4"), |message| {
        assert_eq!(message.body(), b"bodytrailing");
    });
    with_message(&INVITE.replace("Content-Length: 4", "l: 04\r\nContent-Length: 4"), |message| {
        assert_eq!(message.body(), b"body");
    });
}

#[test]
fn bodies_that_contradict_content_length_are_errors() {
    for (value, expected) in [
        ("Content-Length: 13", ParseError::BodyTooShort),
        ("l: 99999999999", ParseError::BadContentLength),
        ("Content-Length: -1", ParseError::BadContentLength),
        ("Content-Length:", ParseError::BadContentLength),
        ("Content-Length: 4\r\nl: 5", ParseError::ConflictingContentLength),
    ] {
        let text = INVITE.replace("Content-Length: 4", value);
        assert_eq!(error(text.as_bytes()), expected, "{value}");
    }
}

#[test]
fn line_breaks_before_the_message_are_skipped() {
    with_message(&format!("\r\n\n\r\n{INVITE}"), |message| {
        assert!(message.bytes().starts_with(b"INVITE"));
        assert_eq!(message.cseq().map(|cseq| cseq.number), Ok(7));
    });
    assert_eq!(error(b"\r\n\r\n"), ParseError::Empty);
    assert_eq!(error(b""), ParseError::Empty);
}

#[test]
fn bare_line_feeds_end_lines_too() {
    with_message(&INVITE.replace("\r\n", "\n"), |message| {
        assert_eq!(message.check(), Ok(()));
        assert_eq!(message.record_routes().count(), 3);
        assert_eq!(message.body(), b"body");
    });
}

#[test]
fn broken_header_sections_say_what_is_wrong() {
    for (headers, expected) in [
        ("", ParseError::HeadersUnterminated),
        ("To: x", ParseError::HeadersUnterminated),
        ("To: x\r\n", ParseError::HeadersUnterminated),
        ("To: x\r\n\r", ParseError::HeadersUnterminated),
        ("To", ParseError::HeadersUnterminated),
        ("To \r\n\r\n", ParseError::BadHeaderLine),
        (": x\r\n\r\n", ParseError::BadHeaderLine),
        (" To: x\r\n\r\n", ParseError::BadHeaderLine),
        ("T(o: x\r\n\r\n", ParseError::BadHeaderLine),
        ("no colon here\r\n\r\n", ParseError::BadHeaderLine),
        ("\rTo: x\r\n\r\n", ParseError::BadHeaderLine),
        ("Call\rID: x\r\n\r\n", ParseError::BadHeaderLine),
    ] {
        let text = format!("BYE sip:a@b SIP/2.0\r\n{headers}");
        assert_eq!(error(text.as_bytes()), expected, "{headers:?}");
    }
}

#[test]
fn header_count_and_length_are_limited() {
    let message = |headers: String| format!("BYE sip:a@b SIP/2.0\r\n{headers}\r\n");
    for count in [1, 127, 128, 129, 1023] {
        let lines: String = (0..count).map(|number| format!("X-{number}: {number}\r\n")).collect();
        let text = message(lines + "Content-Length: 3\r\n") + "abc and more";
        with_message(&text, |message| {
            assert_eq!(message.headers().len(), count + 1);
            let mut values = message.headers().map(|header| header.value.to_vec());
            assert!(
                (0..count).all(|number| values.next() == Some(number.to_string().into_bytes()))
            );
            assert_eq!(message.body(), b"abc", "{count}");
        });
    }
    with_message(&message("a: b\r\n".repeat(1024)), |message| {
        assert_eq!(message.headers().len(), MAX_HEADERS);
    });
    let two =
        "Content-Length: 0\r\n".to_owned() + &"a: b\r\n".repeat(200) + "Content-Length: 1\r\n";
    assert_eq!(error(message(two).as_bytes()), ParseError::ConflictingContentLength);
    let text = message("a: b\r\n".repeat(MAX_HEADERS + 1));
    assert_eq!(error(text.as_bytes()), ParseError::TooManyHeaders);
    let text = message(format!("a: {}\r\n", "b".repeat(65_536)));
    assert_eq!(error(text.as_bytes()), ParseError::HeadersTooLong);
}

#[test]
fn an_index_forgets_the_message_before() {
    let mut index = HeaderIndex::new();
    assert!(index.parse(INVITE.as_bytes()).is_ok());
    let long = INVITE.replacen("\r\n", &("\r\n".to_owned() + &"X-Long: y\r\n".repeat(500)), 1);
    assert!(index.parse(long.as_bytes()).unwrap().headers().len() > 500);
    let short = index.parse(b"SIP/2.0 180 Ringing\r\nTo: <sip:a@b>;tag=x\r\n\r\n").unwrap();
    assert_eq!(short.kind(), Kind::Response { code: 180, reason: b"Ringing" });
    assert_eq!(short.headers().len(), 1);
    assert_eq!(short.call_id(), None);
    assert_eq!(short.to_tag(), Some(&b"x"[..]));
    assert_eq!(short.top_via(), Err(ParseError::MissingHeader(HeaderId::Via)));
}

#[test]
fn checks_name_the_first_defect() {
    let bad = |id, why| ParseError::BadHeader(id, why);
    for (from, to, expected) in [
        ("i: c1@example.com\r\n", "", ParseError::MissingHeader(HeaderId::CallId)),
        ("To:", "X:", ParseError::MissingHeader(HeaderId::To)),
        ("7 INVITE", "7 BYE", ParseError::MethodMismatch),
        ("7 INVITE", "x INVITE", bad(HeaderId::CSeq, SyntaxError::BadNumber)),
        ("i: c1", "i: c0\r\nCall-ID: c1", ParseError::RepeatedHeader(HeaderId::CallId)),
        ("X-Trace: first", "Max-Forwards: 256", bad(HeaderId::MaxForwards, SyntaxError::BadNumber)),
        (";tag=a1", ";;tag=a1", bad(HeaderId::From, SyntaxError::BadParameter)),
        ("SIP/2.0/TCP", "SIP/1.0/TCP", bad(HeaderId::Via, SyntaxError::BadProtocol)),
        ("<sip:p1;lr>", "<p1;lr>", bad(HeaderId::RecordRoute, SyntaxError::BadScheme)),
        ("<sip:second@h>", "", bad(HeaderId::Contact, SyntaxError::Empty)),
    ] {
        with_message(&INVITE.replacen(from, to, 1), |message| {
            assert_eq!(message.check(), Err(expected), "{from} -> {to}");
        });
    }
}

#[test]
fn error_names_are_unique_and_messages_readable() {
    let errors = [
        ParseError::Empty,
        ParseError::BadStartLine,
        ParseError::BadRequestUri,
        ParseError::BadStatusCode,
        ParseError::UnsupportedVersion,
        ParseError::BadHeaderLine,
        ParseError::HeadersUnterminated,
        ParseError::HeadersTooLong,
        ParseError::TooManyHeaders,
        ParseError::BadContentLength,
        ParseError::ConflictingContentLength,
        ParseError::BodyTooShort,
        ParseError::MissingContentLength,
        ParseError::MessageTooLong,
        ParseError::MissingHeader(HeaderId::Via),
        ParseError::RepeatedHeader(HeaderId::Via),
        ParseError::BadHeader(HeaderId::Via, SyntaxError::BadHost),
        ParseError::MethodMismatch,
    ];
    let names: std::collections::HashSet<_> = errors.iter().map(|error| error.name()).collect();
    assert_eq!(names.len(), errors.len());
    assert_eq!(errors[16].to_string(), "Via is malformed: the host is malformed");
}

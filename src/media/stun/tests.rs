//! The vectors of RFC 5769, and messages that lie.

use super::attribute::{
    FINGERPRINT, LIFETIME, NONCE, REALM, USERNAME, XOR_MAPPED_ADDRESS, XOR_PEER_ADDRESS,
};
use super::*;

/// The password of sections 2.1 to 2.3.
const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";
/// RFC 5769 section 2.1.
const REQUEST: &str = "00010058 2112a442 b7e7a701bc34d686fa87dfae 80220010 5354554e207465737420636c69656e74 \
     00240004 6e0001ff 80290008 932ff9b151263b36 00060009 6576746a3a68367659202020 \
     00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2 80280004 e57a3bcf";
/// RFC 5769 section 2.2.
const RESPONSE_V4: &str = "0101003c 2112a442 b7e7a701bc34d686fa87dfae 8022000b 7465737420766563746f7220 \
     00200008 0001a147e112a643 00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7 80280004 \
     c07d4c96";
/// RFC 5769 section 2.3.
const RESPONSE_V6: &str = "01010048 2112a442 b7e7a701bc34d686fa87dfae 8022000b 7465737420766563746f7220 \
     00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9 00080014 \
     a382954e4be67bf11784c97c8292c275bfe3ed41 80280004 c8fb0b4c";
/// RFC 5769 section 2.4.
const LONG_TERM: &str = "00010060 2112a442 78ad3433c6ad72c029da412e 00060012 \
     e3839ee38388e383aae38383e382afe382b90000 0015001c \
     662f2f3439396b39353464364f4c33346f4c39465354767936347341 0014000b \
     6578616d706c652e6f726700 00080014 f67024656dd64a3e02b8e0712e85c9a28ca89666";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

/// The same message, with the bytes at `at` changed by `change`.
fn changed(message: &[u8], at: usize, change: u8) -> Vec<u8> {
    let mut message = message.to_vec();
    message[at] ^= change;
    message
}

#[test]
fn requests_and_responses_of_the_rfc_are_read_and_verified() {
    let key = Key::short_term(PASSWORD);
    let request = bytes(REQUEST);
    let read = Message::parse(&request).unwrap();
    assert_eq!((read.class(), read.method()), (Class::Request, Method::Binding));
    assert_eq!(read.transaction(), request[8..20]);
    assert_eq!(read.attribute(USERNAME), Some(&b"evtj:h6vY"[..]));
    assert!(read.has_integrity(&key) && read.has_fingerprint());
    assert!(!read.has_integrity(&Key::short_term(b"VOkJxbRl1RmTxUk/WvJxBu")));
    for (hex, address) in [
        (RESPONSE_V4, "192.0.2.1:32853"),
        (RESPONSE_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
    ] {
        let response = bytes(hex);
        let read = Message::parse(&response).unwrap();
        assert_eq!((read.class(), read.method()), (Class::Success, Method::Binding));
        assert_eq!(read.address(XOR_MAPPED_ADDRESS), address.parse().ok());
        assert!(read.has_integrity(&key) && read.has_fingerprint());
        // One bit of the address, and one behind what the integrity covers.
        let other = changed(&response, 40, 1);
        let other = Message::parse(&other).unwrap();
        assert!(!other.has_integrity(&key) && !other.has_fingerprint());
        let other = changed(&response, response.len() - 1, 1);
        let other = Message::parse(&other).unwrap();
        assert!(other.has_integrity(&key) && !other.has_fingerprint());
    }
}

#[test]
fn a_request_with_a_long_term_credential_is_written_as_the_rfc_has_it() {
    let expected = bytes(LONG_TERM);
    let read = Message::parse(&expected).unwrap();
    let user = read.attribute(USERNAME).unwrap();
    let (nonce, realm) = (read.attribute(NONCE).unwrap(), read.attribute(REALM).unwrap());
    assert_eq!((nonce, realm), (&b"f//499k954d6OL34oL9FSTvy64sA"[..], &b"example.org"[..]));
    let key = Key::long_term(user, realm, b"TheMatrIX");
    assert!(read.has_integrity(&key));
    let mut out = [0xff; 200];
    let mut writer =
        Writer::new(&mut out, Class::Request, Method::Binding, read.transaction()).unwrap();
    writer.put(USERNAME, user).unwrap();
    writer.put(NONCE, nonce).unwrap();
    writer.put(REALM, realm).unwrap();
    writer.put_integrity(&key).unwrap();
    let len = writer.len();
    assert_eq!(out[..len], expected);
}

#[test]
fn what_is_written_is_read() {
    let methods = Method::KNOWN.map(|(method, _)| method).into_iter().chain([Method::Other(0xabc)]);
    for method in methods {
        for class in [Class::Request, Class::Indication, Class::Success, Class::Error] {
            let mut out = [0; 20];
            Writer::new(&mut out, class, method, [7; 12]).unwrap();
            let read = Message::parse(&out).unwrap();
            assert_eq!((read.class(), read.method()), (class, method));
        }
    }
    for address in ["192.0.2.7:6000", "[2001:db8::7]:6000"] {
        let address: SocketAddr = address.parse().unwrap();
        let mut out = [0; 100];
        let mut writer = Writer::new(&mut out, Class::Indication, Method::Send, [9; 12]).unwrap();
        writer.put_address(XOR_PEER_ADDRESS, address).unwrap();
        writer.put_number(LIFETIME, 600).unwrap();
        writer.put_fingerprint().unwrap();
        let len = writer.len();
        let read = Message::parse(&out[..len]).unwrap();
        assert_eq!(read.address(XOR_PEER_ADDRESS), Some(address));
        assert_eq!((read.number(LIFETIME), read.number(XOR_PEER_ADDRESS)), (Some(600), None));
        assert!(read.has_fingerprint());
    }
    // No room.
    assert!(Writer::new(&mut [0; 19], Class::Request, Method::Binding, [0; 12]).is_none());
    let mut out = [0; 27];
    let mut writer = Writer::new(&mut out, Class::Request, Method::Binding, [0; 12]).unwrap();
    assert_eq!(writer.put_number(LIFETIME, 1), None);
}

#[test]
fn a_message_that_lies_about_its_length_is_none() {
    let message = bytes(RESPONSE_V4);
    for len in 0..message.len() {
        assert!(Message::parse(&message[..len]).is_err(), "{len}");
    }
    let fault = |bytes: &[u8]| Message::parse(bytes).unwrap_err();
    let longer = [&message[..], &[0; 4]].concat();
    assert_eq!(fault(&longer), StunFault::Length);
    assert_eq!(fault(&changed(&message, 3, 1)), StunFault::Length);
    for (at, change) in [(0, 0x80), (0, 0x40), (4, 1)] {
        assert_eq!(fault(&changed(&message, at, change)), StunFault::OtherProtocol);
    }
    // The length of the first attribute, and of the last one.
    assert_eq!(fault(&changed(&message, 22, 0xff)), StunFault::Attribute);
    assert_eq!(fault(&changed(&message, message.len() - 5, 1)), StunFault::Attribute);
}

#[test]
fn nothing_behind_the_integrity_counts_but_the_fingerprint() {
    let key = Key::short_term(PASSWORD);
    let mut out = [0; 200];
    let mut writer = Writer::new(&mut out, Class::Success, Method::Allocate, [1; 12]).unwrap();
    writer.put_integrity(&key).unwrap();
    writer.put_number(LIFETIME, 5).unwrap();
    writer.put_fingerprint().unwrap();
    let len = writer.len();
    let read = Message::parse(&out[..len]).unwrap();
    assert!(read.has_integrity(&key) && read.has_fingerprint());
    assert_eq!((read.number(LIFETIME), read.attribute(FINGERPRINT)), (None, None));
}

//! STUN, and a TURN server that says anything.

use std::net::SocketAddr;

use gossipper::media::stun::{Class, HEADER_LEN, Key, Message, Writer};
use gossipper::media::turn::{Account, Allocation, Poll, REQUEST_BYTES_MAX, Wish};

/// Peers of an allocation.
const PEERS: u16 = 6;
/// Steps of an allocation that one operation may take.
const STEPS_MAX: usize = 10_000;

/// Reads any bytes as a message, and takes them as what a server sends and a clock does.
pub fn any_stun(bytes: &[u8]) {
    read(bytes);
    serve(bytes);
}

fn read(bytes: &[u8]) {
    let Ok(message) = Message::parse(bytes) else { return };
    let key = Key::short_term(b"key");
    assert!(message.attributes().count() <= bytes.len() / 4);
    for attribute in message.attributes() {
        let _ = (message.address(attribute.kind), message.number(attribute.kind));
        let place = message.place(attribute.kind).expect("the attribute is there");
        assert_eq!(message.attribute(attribute.kind), Some(&bytes[place]));
    }
    let _ = (message.error_code(), message.has_fingerprint(), message.has_integrity(&key));
    // What counts of it is read again as it was.
    let mut out = vec![0; bytes.len() + 100];
    let (class, method) = (message.class(), message.method());
    let mut writer = Writer::new(&mut out, class, method, message.transaction()).expect("room");
    for attribute in message.attributes() {
        writer.put(attribute.kind, attribute.value).expect("room");
    }
    writer.put_fingerprint().expect("room");
    let len = writer.len();
    let again = Message::parse(&out[..len]).expect("our own message");
    assert_eq!((again.class(), again.method()), (class, method));
    assert!(again.has_fingerprint());
    assert!(message.attributes().zip(again.attributes()).all(|(a, b)| a.value == b.value));
}

fn serve(bytes: &[u8]) {
    let account = Account {
        server: SocketAddr::from(([192, 0, 2, 1], 3478)),
        user: "me".to_owned(),
        password: "secret".to_owned(),
        realm: None,
    };
    let mut out = vec![0; REQUEST_BYTES_MAX];
    let mut allocation = Allocation::new(Wish::Even, 1, 0);
    let (mut now, mut rest) = (0_u64, bytes);
    // The number of the last request: an answer to it is looked at.
    let mut id = [0; 12];
    while let Some((&[what, len], more)) = rest.split_first_chunk() {
        let (piece, after) = more.split_at(usize::from(len).min(more.len()));
        rest = after;
        let peer = SocketAddr::from(([203, 0, 113, 1], 6000 + u16::from(len) % PEERS));
        match what % 5 {
            0 => now += u64::from(len) * 5_000_000_000,
            1 => _ = allocation.reaches(peer, now),
            2 => {
                let mut packet = [7; 12];
                if let Some(len) = allocation.wrap(peer, &mut packet, 8) {
                    assert_eq!(len, 12);
                    assert_eq!(allocation.unwrap_channel(&packet, now), Ok((peer, 4..12)));
                }
            }
            3 => _ = allocation.unwrap_channel(piece, now),
            _ => answer(&mut allocation, &account, (id, what), piece, now),
        }
        for step in 0.. {
            assert!(step < STEPS_MAX, "an allocation asks for ever");
            match allocation.poll(&account, now, &mut out) {
                Poll::Idle => break,
                Poll::News(_) => {}
                Poll::Send(len) => {
                    let request = Message::parse(&out[..len]).expect("our own request");
                    assert_eq!(request.class(), Class::Request);
                    id = request.transaction();
                }
            }
        }
        assert!(allocation.next_ns() > now);
    }
}

/// Hands an answer with any attributes to an allocation.
fn answer(
    allocation: &mut Allocation,
    account: &Account,
    (id, what): ([u8; 12], u8),
    attributes: &[u8],
    now: u64,
) {
    let class = if what & 0x80 == 0 { Class::Success } else { Class::Error };
    let mut message = vec![0; HEADER_LEN];
    Writer::new(&mut message, class, gossipper::media::stun::Method::Allocate, id).expect("room");
    message.extend_from_slice(attributes);
    message.resize(message.len().next_multiple_of(4), 0);
    let len = (message.len() - HEADER_LEN) as u16;
    message[2..4].copy_from_slice(&len.to_be_bytes());
    if let Ok(message) = Message::parse(&message) {
        let _ = allocation.handle(&message, account, now);
    }
}

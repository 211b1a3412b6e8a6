//! Allocations against a server that is written here, on a clock of the test.

use std::net::SocketAddr;

use super::allocation::unwrap_indication;
use super::*;
use crate::media::stun::attribute::{
    CHANNEL_NUMBER, DATA, ERROR_CODE, EVEN_PORT, LIFETIME, NONCE, REALM, RESERVATION_TOKEN,
    USERNAME, XOR_PEER_ADDRESS, XOR_RELAYED_ADDRESS,
};
use crate::media::stun::{Class, Key, Message, Method, Writer};
use crate::stats::RelayFault;

const SECOND: u64 = 1_000_000_000;
const TOKEN: [u8; 8] = *b"reserved";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn account() -> Account {
    Account {
        server: address("192.0.2.1:3478"),
        user: "me".to_owned(),
        password: "secret".to_owned(),
        realm: None,
    }
}

/// A server that knows one user.
struct Server {
    key: Key,
    nonce: &'static [u8],
    /// The error that it gives to authenticated requests of a method, once.
    refusal: Option<(Method, u16)>,
    lifetime_s: u32,
    /// Methods of authenticated requests, with their lifetimes or channels.
    seen: Vec<(Method, Option<u32>)>,
}

impl Server {
    fn new() -> Self {
        Self {
            key: Key::long_term(b"me", b"realm", b"secret"),
            nonce: b"one",
            refusal: None,
            lifetime_s: 600,
            seen: Vec::new(),
        }
    }

    fn error(&self, request: &Message<'_>, code: u16) -> Vec<u8> {
        let mut out = vec![0; 300];
        let id = request.transaction();
        let mut writer = Writer::new(&mut out, Class::Error, request.method(), id).unwrap();
        let code = [0, 0, (code / 100) as u8, (code % 100) as u8];
        writer.put(ERROR_CODE, &code).unwrap();
        writer.put(REALM, b"realm").unwrap();
        writer.put(NONCE, self.nonce).unwrap();
        let len = writer.len();
        out.truncate(len);
        out
    }

    fn answer(&mut self, datagram: &[u8]) -> Vec<u8> {
        let request = Message::parse(datagram).unwrap();
        assert_eq!(request.class(), Class::Request);
        if request.attribute(USERNAME) != Some(b"me") || !request.has_integrity(&self.key) {
            return self.error(&request, 401);
        }
        if request.attribute(NONCE) != Some(self.nonce) {
            return self.error(&request, 438);
        }
        let method = request.method();
        let channel = request.number(CHANNEL_NUMBER);
        self.seen.push((method, request.number(LIFETIME).or(channel)));
        if let Some((_, code)) = self.refusal.take_if(|(refused, _)| *refused == method) {
            return self.error(&request, code);
        }
        let mut out = vec![0; 300];
        let id = request.transaction();
        let mut writer = Writer::new(&mut out, Class::Success, method, id).unwrap();
        if method == Method::Allocate {
            writer.put_address(XOR_RELAYED_ADDRESS, address("198.51.100.7:40000")).unwrap();
            if request.attribute(EVEN_PORT) == Some(&[0x80]) {
                writer.put(RESERVATION_TOKEN, &TOKEN).unwrap();
            }
        }
        if matches!(method, Method::Allocate | Method::Refresh) {
            writer.put_number(LIFETIME, self.lifetime_s).unwrap();
        }
        writer.put_integrity(&self.key).unwrap();
        let len = writer.len();
        out.truncate(len);
        out
    }
}

/// Carries requests and answers until nothing is due at `now`. Returns the news.
fn settle(allocation: &mut Allocation, server: &mut Server, now: u64) -> Vec<News> {
    let mut news = Vec::new();
    let mut out = [0; REQUEST_BYTES_MAX];
    loop {
        match allocation.poll(&account(), now, &mut out) {
            Poll::Idle => return news,
            Poll::News(one) => news.push(one),
            Poll::Send(len) => {
                let answer = server.answer(&out[..len]);
                let answer = Message::parse(&answer).unwrap();
                news.extend(allocation.handle(&answer, &account(), now).unwrap());
            }
        }
    }
}

fn opened() -> (Allocation, Server) {
    let (mut allocation, mut server) = (Allocation::new(Wish::Even, 7, 0), Server::new());
    assert_eq!(settle(&mut allocation, &mut server, 0), [News::Opened(Some(TOKEN))]);
    (allocation, server)
}

#[test]
fn an_allocation_follows_the_challenge_of_the_server() {
    let (allocation, server) = opened();
    assert_eq!(allocation.relayed(), Some(address("198.51.100.7:40000")));
    assert_eq!(server.seen, [(Method::Allocate, Some(600))]);
    // The next port has no further one behind it.
    let (mut next, mut server) = (Allocation::new(Wish::Reserved(TOKEN), 8, 0), Server::new());
    assert_eq!(settle(&mut next, &mut server, 0), [News::Opened(None)]);
}

#[test]
fn an_allocation_is_refreshed_before_its_end_also_with_a_stale_nonce() {
    let (mut allocation, mut server) = opened();
    assert_eq!(allocation.next_ns(), 540 * SECOND);
    assert_eq!(settle(&mut allocation, &mut server, 539 * SECOND), []);
    server.nonce = b"two";
    assert_eq!(settle(&mut allocation, &mut server, 540 * SECOND), []);
    assert_eq!(server.seen[1..], [(Method::Refresh, Some(600))]);
    assert_eq!(allocation.next_ns(), 1080 * SECOND);
    // A short lifetime is refreshed at its half, and none more than once a second.
    server.lifetime_s = 10;
    settle(&mut allocation, &mut server, 1080 * SECOND);
    assert_eq!(allocation.next_ns(), 1085 * SECOND);
    server.lifetime_s = 0;
    settle(&mut allocation, &mut server, 1085 * SECOND);
    assert_eq!(allocation.next_ns(), 1086 * SECOND);
    // The server has lost it.
    server.refusal = Some((Method::Refresh, 437));
    let news = settle(&mut allocation, &mut server, 1086 * SECOND);
    assert_eq!(news, [News::Failed(RelayFault::Mismatch)]);
    assert_eq!(allocation.relayed(), None);
}

#[test]
fn wrong_credentials_are_told_apart_from_a_challenge_and_tried_again_later() {
    let (mut allocation, mut server) = (Allocation::new(Wish::Even, 7, 0), Server::new());
    server.key = Key::long_term(b"me", b"realm", b"another");
    let failed = [News::Failed(RelayFault::Unauthorized)];
    assert_eq!(settle(&mut allocation, &mut server, 0), failed);
    assert_eq!((allocation.relayed(), allocation.next_ns()), (None, SECOND));
    assert_eq!(settle(&mut allocation, &mut server, SECOND - 1), []);
    assert_eq!(settle(&mut allocation, &mut server, SECOND), failed);
    // A server whose nonces are always stale is not asked for ever.
    let (mut allocation, server) = opened();
    let mut out = [0; REQUEST_BYTES_MAX];
    let mut asked = 0;
    let fault = loop {
        match allocation.poll(&account(), 540 * SECOND, &mut out) {
            Poll::Send(len) => {
                let stale = server.error(&Message::parse(&out[..len]).unwrap(), 438);
                let stale = Message::parse(&stale).unwrap();
                asked += 1;
                let news = allocation.handle(&stale, &account(), 540 * SECOND).unwrap();
                if let Some(news) = news {
                    break news;
                }
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((fault, asked), (News::Failed(RelayFault::Unauthorized), 33));
}

#[test]
fn a_server_that_does_not_answer_is_asked_five_times() {
    let mut allocation = Allocation::new(Wish::Even, 7, 0);
    let mut out = [0; REQUEST_BYTES_MAX];
    let mut sends = Vec::new();
    loop {
        let now = allocation.next_ns();
        match allocation.poll(&account(), now, &mut out) {
            Poll::Send(_) => sends.push(now / 1_000_000),
            Poll::News(news) => {
                assert_eq!(news, News::Failed(RelayFault::TimedOut));
                sends.push(now / 1_000_000);
                break;
            }
            Poll::Idle => panic!("nothing is due at {now}"),
        }
    }
    assert_eq!(sends, [0, 500, 1500, 3500, 7500, 15_500]);
}

#[test]
fn a_server_that_is_not_there_is_given_up_at_once() {
    let mut allocation = Allocation::new(Wish::Even, 7, 0);
    let mut out = [0; REQUEST_BYTES_MAX];
    assert!(matches!(allocation.poll(&account(), 0, &mut out), Poll::Send(_)));
    let failed = Some(News::Failed(RelayFault::Unreachable));
    assert_eq!((allocation.unreachable(1), allocation.unreachable(2)), (failed, None));
    assert_eq!(allocation.next_ns(), 1 + SECOND);
    // One that is open has only lost a datagram.
    let (mut allocation, _) = opened();
    assert_eq!(allocation.unreachable(1), None);
    assert!(allocation.relayed().is_some());
}

#[test]
fn what_an_earlier_program_left_on_our_port_is_given_back_first() {
    let (mut allocation, mut server) = (Allocation::new(Wish::Even, 7, 0), Server::new());
    server.refusal = Some((Method::Allocate, 437));
    assert_eq!(settle(&mut allocation, &mut server, 0), [News::Opened(Some(TOKEN))]);
    let (allocate, refresh) = (Method::Allocate, Method::Refresh);
    assert_eq!(server.seen, [(allocate, Some(600)), (refresh, Some(0)), (allocate, Some(600))]);
}

#[test]
fn an_error_of_the_server_has_a_cause() {
    for (code, fault) in [
        (300, RelayFault::Redirected),
        (403, RelayFault::Forbidden),
        (440, RelayFault::OtherFamily),
        (441, RelayFault::Mismatch),
        (486, RelayFault::Quota),
        (500, RelayFault::Refused),
        (508, RelayFault::NoCapacity),
    ] {
        let (mut allocation, mut server) = (Allocation::new(Wish::Even, 7, 0), Server::new());
        server.refusal = Some((Method::Allocate, code));
        let news = settle(&mut allocation, &mut server, 0);
        assert_eq!(news, [News::Failed(fault)], "{code}");
    }
}

#[test]
fn a_peer_is_reached_over_its_channel() {
    let (mut allocation, mut server) = opened();
    let peers = [address("203.0.113.5:6000"), address("203.0.113.5:6002")];
    let mut packet = *b"data....";
    for (peer, channel) in peers.into_iter().zip(0x4000_u16..) {
        assert_eq!(allocation.reaches(peer, 0), Ok(false));
        assert_eq!(allocation.wrap(peer, &mut packet, 4), None);
        settle(&mut allocation, &mut server, 0);
        assert_eq!(server.seen.pop(), Some((Method::ChannelBind, Some(u32::from(channel) << 16))));
        assert_eq!(allocation.reaches(peer, 0), Ok(true));
    }
    assert_eq!(allocation.wrap(peers[1], &mut packet, 4), Some(8));
    assert_eq!(packet, *b"\x40\x01\x00\x04data");
    assert_eq!(allocation.unwrap_channel(&packet, 1), Ok((peers[1], 4..8)));
    // No room, padding, an unknown channel, a length that lies.
    assert_eq!(allocation.wrap(peers[1], &mut packet, 5), None);
    let padded = b"\x40\x00\x00\x01d\0\0\0";
    assert_eq!(allocation.unwrap_channel(padded, 1), Ok((peers[0], 4..5)));
    for (datagram, fault) in [
        (&b"\x40\x02\x00\x01d"[..], RelayFault::Unasked),
        (b"\x4f\xff\x00\x00", RelayFault::Unasked),
        (b"\x40\x00\x00\x05data", RelayFault::Malformed),
        (b"\x40\x00", RelayFault::Malformed),
    ] {
        assert_eq!(allocation.unwrap_channel(datagram, 1), Err(fault));
    }
}

#[test]
fn only_a_channel_in_use_is_kept_and_a_forgotten_one_is_bound_again() {
    let (mut allocation, mut server) = opened();
    let [used, idle] = [address("203.0.113.5:6000"), address("203.0.113.5:6002")];
    for peer in [used, idle] {
        assert_eq!(allocation.reaches(peer, 0), Ok(false));
    }
    settle(&mut allocation, &mut server, 0);
    server.seen.clear();
    assert_eq!(allocation.reaches(used, SECOND), Ok(true));
    assert_eq!(allocation.next_ns(), 240 * SECOND);
    settle(&mut allocation, &mut server, 240 * SECOND);
    assert_eq!(server.seen, [(Method::ChannelBind, Some(0x4000 << 16))]);
    assert_eq!(allocation.reaches(used, 300 * SECOND), Ok(true));
    // The other one was let go of.
    assert_eq!(allocation.reaches(idle, 300 * SECOND), Ok(false));
    settle(&mut allocation, &mut server, 300 * SECOND);
    assert_eq!(allocation.reaches(idle, 300 * SECOND), Ok(true));
    // A peer that cannot be reached.
    let forbidden = address("127.0.0.1:9");
    server.refusal = Some((Method::ChannelBind, 403));
    assert_eq!(allocation.reaches(forbidden, 301 * SECOND), Ok(false));
    let news = settle(&mut allocation, &mut server, 301 * SECOND);
    assert_eq!(news, [News::Refused(RelayFault::Forbidden)]);
    assert_eq!(allocation.reaches(forbidden, 301 * SECOND), Ok(false));
}

#[test]
fn channels_are_bounded_and_their_numbers_go_to_other_peers_after_a_rest() {
    let (mut allocation, mut server) = opened();
    let peer = |port: u16| SocketAddr::new([203, 0, 113, 9].into(), port);
    for port in 1..=4096 {
        assert_eq!(allocation.reaches(peer(port), 0), Ok(false));
    }
    settle(&mut allocation, &mut server, 0);
    assert_eq!(allocation.reaches(peer(4096), 0), Ok(true));
    assert_eq!(allocation.reaches(peer(5000), 0), Err(RelayFault::NoChannel));
    assert_eq!(allocation.reaches(peer(5000), 899 * SECOND), Err(RelayFault::NoChannel));
    assert_eq!(allocation.reaches(peer(5000), 900 * SECOND), Ok(false));
}

#[test]
fn an_answer_that_was_not_asked_for_or_has_no_integrity_changes_nothing() {
    let (mut allocation, mut server) = (Allocation::new(Wish::Even, 7, 0), Server::new());
    let mut out = [0; REQUEST_BYTES_MAX];
    // The challenge.
    let Poll::Send(len) = allocation.poll(&account(), 0, &mut out) else { panic!() };
    let challenge = server.answer(&out[..len]);
    let challenge = Message::parse(&challenge).unwrap();
    assert_eq!(allocation.handle(&challenge, &account(), 0), Ok(None));
    // It comes again.
    assert_eq!(allocation.handle(&challenge, &account(), 0), Err(RelayFault::Unasked));
    let Poll::Send(len) = allocation.poll(&account(), 0, &mut out) else { panic!() };
    let mut answer = server.answer(&out[..len]);
    let last = answer.len() - 1;
    answer[last] ^= 1;
    let forged = allocation.handle(&Message::parse(&answer).unwrap(), &account(), 0);
    assert_eq!((forged, allocation.relayed()), (Err(RelayFault::BadIntegrity), None));
    answer[last] ^= 1;
    let genuine = allocation.handle(&Message::parse(&answer).unwrap(), &account(), 0);
    assert_eq!(genuine, Ok(Some(News::Opened(Some(TOKEN)))));
}

#[test]
fn data_of_a_peer_without_a_channel_is_in_an_indication() {
    let peer = address("[2001:db8::5]:6000");
    let mut out = [0; 100];
    let mut writer = Writer::new(&mut out, Class::Indication, Method::Data, [1; 12]).unwrap();
    writer.put_address(XOR_PEER_ADDRESS, peer).unwrap();
    writer.put(DATA, b"audio").unwrap();
    let len = writer.len();
    let (source, place) = unwrap_indication(&Message::parse(&out[..len]).unwrap()).unwrap();
    assert_eq!((source, &out[place]), (peer, &b"audio"[..]));
    let mut other = [0; 20];
    Writer::new(&mut other, Class::Indication, Method::Data, [1; 12]).unwrap();
    assert_eq!(unwrap_indication(&Message::parse(&other).unwrap()), None);
}

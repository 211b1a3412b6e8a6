//! Which addresses stand in messages, and in which form.

mod e2e;

use std::net::{IpAddr, Ipv6Addr};

use e2e::peer::{Peer, Received};
use e2e::{gossipper, lock};

/// Both names of the program, as the beginning of its arguments.
const NAMES: [&[&str]; 2] = [&[], &["sipp"]];

/// The first request of a call to `peer` as `remote`, which then succeeds.
fn invite_of(peer: &Peer, name: &[&str], options: &[&str], remote: &str) -> Received {
    let line = [name, &["-sn", "uac", "-m", "1", "-nostdin"], options, &[remote]].concat();
    let client = gossipper::start(&line);
    let invite = peer.receive_kind("INVITE");
    peer.answer(&invite, "200 OK", "");
    peer.receive_kind("ACK");
    peer.answer(&peer.receive_kind("BYE"), "200 OK", "");
    client.finish().expect_code(0).summary().expect_all_succeeded(1);
    invite
}

#[test]
fn ipv6_has_brackets_in_uris_and_none_in_sdp() {
    let _turn = lock::light();
    for name in NAMES {
        let peer = Peer::at(IpAddr::V6(Ipv6Addr::LOCALHOST));
        let port = peer.address().port();
        let invite = invite_of(&peer, name, &["-i", "::1"], &format!("[::1]:{port}"));
        assert!(invite.header("Contact").contains("@[::1]:"), "{invite:?}");
        assert!(invite.header("Via").contains(" [::1]:"), "{invite:?}");
        let (_, body) = invite.text.split_once("\r\n\r\n").unwrap();
        // RFC 4566 section 9: an address, not an IPv6reference.
        assert!(body.contains("\r\no=gossipper 53655765 2353687637 IN IP6 ::1\r\n"), "{body}");
        assert!(body.contains("\r\nc=IN IP6 ::1\r\n"), "{body}");
        assert_eq!(invite.header("Content-Length"), body.len().to_string());
    }
}

#[test]
fn an_ipv4_mapped_address_is_an_ipv4_address() {
    let _turn = lock::light();
    for (name, io) in [(NAMES[0], "uring"), (NAMES[1], "syscall")] {
        for local in [&[][..], &["-i", "::ffff:127.0.0.1"], &["-i", "127.0.0.1"]] {
            let peer = Peer::new();
            let remote = format!("[::ffff:127.0.0.1]:{}", peer.address().port());
            let invite = invite_of(&peer, name, &[local, &["-io", io]].concat(), &remote);
            assert!(invite.source.is_ipv4(), "{invite:?}");
            assert!(invite.header("Via").contains(" 127.0.0.1:"), "{invite:?}");
            assert!(invite.text.contains("c=IN IP4 127.0.0.1\r\n"), "{invite:?}");
        }
    }
}

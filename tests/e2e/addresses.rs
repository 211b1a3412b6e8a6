//! Addresses in messages, and source addresses of connections.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use crate::harness::peer::{Peer, Received};
use crate::harness::{gossipper, lock, ports};

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
    let over = client.finish().expect_code(0);
    over.summary().expect_all_succeeded(1);
    // A run at a terminal asks no questions: it shows the user the target.
    let (to, told) = (peer.address(), [over.finished.stdout, over.finished.stderr].concat());
    assert!(told.contains(&format!("-> {to} (loopback address)")), "{told}");
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

/// Answers every request on a connection with 200, until it ends.
fn answer_all(stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    let mut head = String::new();
    while reader.read_line(&mut head).unwrap_or(0) > 0 {
        if head.ends_with("\r\n\r\n") {
            let request = Received { text: std::mem::take(&mut head), source: ([0; 4], 0).into() };
            stream.write_all(request.response("200 OK", "").as_bytes()).unwrap();
        }
    }
}

/// Addresses that the connections of `calls` calls come from.
fn sources(mode: &str, io: &str, calls: usize, local: &[&str]) -> Vec<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (remote, count) = (listener.local_addr().unwrap().to_string(), calls.to_string());
    let line = ["-sn", "options", "-t", mode, "-m", &count, "-r", "50", "-io", io];
    let client = gossipper::start(&[&line[..], local, &[&remote]].concat());
    let connections = if mode == "tn" { calls } else { 1 };
    let accept = |_| {
        let (stream, source) = listener.accept().unwrap();
        (std::thread::spawn(move || answer_all(stream)), source)
    };
    let accepted: Vec<_> = (0..connections).map(accept).collect();
    client.finish().expect_code(0).summary().expect_all_succeeded(calls as u64);
    let end = |(thread, source): (std::thread::JoinHandle<()>, _)| {
        thread.join().unwrap();
        source
    };
    accepted.into_iter().map(end).collect()
}

#[test]
fn connections_leave_from_the_address_of_i_and_a_shared_one_from_the_port_of_p() {
    let _turn = lock::light();
    for io in ["uring", "syscall"] {
        let port = ports::free();
        let (text, here) = (port.to_string(), SocketAddr::from(([127, 0, 0, 2], port)));
        let local = ["-i", "127.0.0.2", "-p", &text];
        assert_eq!(sources("t1", io, 3, &local), [here], "{io}");
        let anywhere = SocketAddr::from(([127, 0, 0, 1], ports::free()));
        let text = anywhere.port().to_string();
        assert_eq!(sources("t1", io, 3, &["-p", &text]), [anywhere], "{io}");
        // Without -p the kernel chooses the port, even if there is one to listen on.
        let [alone] = sources("t1", io, 1, &["-i", "127.0.0.3"])[..] else { panic!("one") };
        assert_eq!(alone.ip().to_string(), "127.0.0.3");
        let each = sources("tn", io, 3, &local);
        assert!(each.iter().all(|at| at.ip() == here.ip() && at.port() != port), "{each:?}");
    }
}

#[test]
fn one_worker_has_the_one_connection_that_leaves_from_the_port_of_p() {
    let _turn = lock::light();
    let port = ports::free().to_string();
    let workers = |local: &[&str]| {
        // Nothing listens there. The tested text is printed before.
        let remote = format!("127.0.0.1:{}", ports::free());
        let line = ["-sn", "options", "-t", "t1", "-workers", "2", "-l", "9", &remote];
        let over = gossipper::start(&[&line[..], local].concat()).finish();
        over.finished.stderr
    };
    let said = workers(&["-p", &port]);
    assert!(said.contains("one worker is used") && !said.contains("2 workers"), "{said}");
    let said = workers(&[]);
    assert!(!said.contains("one worker is used"), "{said}");
}

#[test]
fn every_kind_of_shared_connection_leaves_from_the_port_of_p() {
    let _turn = lock::light();
    for mode in ["l1", "w1", "ws1"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = SocketAddr::from(([127, 0, 0, 2], ports::free()));
        let (remote, port) = (listener.local_addr().unwrap().to_string(), here.port().to_string());
        let line = ["-sn", "options", "-t", mode, "-i", "127.0.0.2", "-p", &port, &remote];
        let client = gossipper::start(&line);
        let (stream, source) = listener.accept().unwrap();
        assert_eq!(source, here, "{mode}");
        // The handshake ends here, and with it the run.
        drop(stream);
        client.finish();
    }
}

#[test]
fn a_lost_connection_is_opened_again_from_the_same_port() {
    let _turn = lock::light();
    for io in ["uring", "syscall"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = listener.local_addr().unwrap().to_string();
        let port = ports::free();
        let text = port.to_string();
        let line = ["-sn", "options", "-t", "t1", "-p", &text, "-max_reconnect", "1", "-io", io];
        let more = ["-reconnect_sleep", "50", "-reconnect_close", "false", &remote];
        let client = gossipper::start(&[&line[..], &more].concat());
        let (first, from_first) = listener.accept().unwrap();
        drop(first);
        let (second, from_second) = listener.accept().unwrap();
        assert_eq!((from_first.port(), from_second.port()), (port, port), "{io}");
        drop(second);
        client.finish();
    }
}

#[test]
fn a_port_in_use_and_an_address_of_nobody_are_said_before_the_run() {
    let _turn = lock::light();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for name in NAMES {
        for mode in ["t1", "l1", "w1"] {
            let line = [name, &["-t", mode, "-p", &port, "127.0.0.1:9"]].concat();
            let over = gossipper::run(&line).expect_code(254);
            let said = &over.finished.stderr;
            assert!(said.contains("in use") && said.contains("choose another with -p"), "{said}");
        }
        for mode in ["u1", "un", "t1", "tn"] {
            // RFC 5737: for documentation, so that no host has it.
            let line =
                [name, &["-t", mode, "-m", "1", "-i", "203.0.113.9", "127.0.0.1:9"]].concat();
            let over = gossipper::run(&line).expect_code(254);
            assert!(
                over.finished.stderr.contains("this host does not have the address"),
                "{:?}",
                over.finished
            );
        }
    }
}

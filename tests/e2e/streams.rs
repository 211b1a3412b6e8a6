//! Calls over TCP, TLS and WebSocket: with SIPp, with openssl and with ourselves as the peer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use rustix::process::Signal;

use crate::harness::gossipper::{self, Over};
use crate::harness::{PATIENCE, certs, lock, ports, sipp, tools};

const CALLS: u64 = 200;
const LOAD: [&str; 4] = ["-m", "200", "-r", "200"];

fn args<'a>(parts: &'a [&'a [&'a str]], more: &'a [String]) -> Vec<&'a str> {
    parts
        .iter()
        .flat_map(|part| part.iter().copied())
        .chain(more.iter().map(String::as_str))
        .collect()
}

fn to_sipp(mode: &str, ip: &str) {
    let _turn = lock::light();
    let port = ports::free();
    let calls = CALLS.to_string();
    let server = sipp::serve(port, &["-sn", "uas", "-t", "t1", "-i", ip, "-m", &calls]);
    let remote = SocketAddr::new(ip.parse().unwrap(), port).to_string();
    let client =
        gossipper::run(&args(&[&["-sn", "uac", "-t", mode, "-i", ip, &remote], &LOAD], &[]));
    let client = client.expect_code(0);
    client.summary().expect_all_succeeded(CALLS);
    let connections = if mode == "tn" { CALLS } else { 1 };
    assert_eq!(client.summary().counter("connections_opened"), connections);
    let server = server.finish();
    // SIPp's server fails calls whose connection ends after their last message, in `timewait`. It
    // does so with SIPp as the caller, too.
    let ended = server.number("SuccessfulCall") + server.number("FailedCall");
    assert_eq!(ended, CALLS, "{}", server.errors);
    assert_eq!(server.number("FailedUnexpectedMessage"), 0, "{}", server.errors);
    assert_eq!(server.number("OutOfCallMsgs"), 0, "{}", server.errors);
}

fn from_sipp(mode: &str, ip: &str) {
    let _turn = lock::light();
    let calls = CALLS.to_string();
    let (server, address) = gossipper::serve(&["-sn", "uas", "-t", "t1", "-i", ip, "-m", &calls]);
    let (remote, port) = (address.to_string(), ports::free().to_string());
    let line = ["-sn", "uac", "-t", mode, "-i", ip, "-p", &port, "-max_socket", "1000", &remote];
    sipp::start(&args(&[&line, &LOAD], &[])).finish().expect_all_succeeded(CALLS);
    let server = server.finish().expect_code(0);
    server.summary().expect_all_succeeded(CALLS);
    let connections = if mode == "tn" { CALLS } else { 1 };
    assert_eq!(server.summary().counter("connections_accepted"), connections);
}

#[test]
fn calls_to_sipp_over_tcp() {
    for ip in ["127.0.0.1", "::1"] {
        to_sipp("t1", ip);
        to_sipp("tn", ip);
    }
}

#[test]
fn calls_from_sipp_over_tcp() {
    for ip in ["127.0.0.1", "::1"] {
        from_sipp("t1", ip);
        from_sipp("tn", ip);
    }
}

/// Makes calls between two of ours; returns the results of client and server.
fn ours(client: &[&str], server: &[&str], calls: u64) -> [Over; 2] {
    let calls = calls.to_string();
    let identity = certs::identity("server");
    let line: Vec<String> = server.iter().map(|&word| word.to_owned()).chain(identity).collect();
    let base = ["-sn", "uas", "-m", &calls];
    let (server, address) = gossipper::serve(&args(&[&base], &line));
    let remote = address.to_string();
    let load = ["-m", &calls, "-r", "200", &remote];
    let scenario: &[&str] = if client.contains(&"-sf") { &[] } else { &["-sn", "uac"] };
    let client = gossipper::run(&args(&[scenario, &load, client], &[]));
    server.signal(Signal::INT);
    [client, server.finish()]
}

/// Plays every pair of transports with one driver and one family of addresses.
fn calls_between_ourselves(io: &str, ip: &str) {
    for (mode, peer) in [
        ("t1", "t1"),
        ("tn", "t1"),
        ("l1", "l1"),
        ("ln", "l1"),
        ("cl", "sl"),
        ("cln", "sl"),
        ("w1", "w1"),
        ("wn", "w1"),
        ("ws1", "ws1"),
        ("wsn", "ws1"),
    ] {
        let [client, server] =
            ours(&["-t", mode, "-io", io], &["-t", peer, "-io", io, "-i", ip], 50);
        client.expect_code(0).summary().expect_all_succeeded(50);
        let server = server.expect_code(0);
        server.summary().expect_all_succeeded(50);
        let is_multi = mode.ends_with('n');
        let connections = if is_multi { 50 } else { 1 };
        let summary = server.summary();
        assert_eq!(summary.counter("connections_accepted"), connections, "{mode}");
        let handshakes = if mode.starts_with('t') { 0 } else { connections };
        assert_eq!(summary.counter("handshakes"), handshakes, "{mode}");
    }
}

#[test]
fn calls_between_ourselves_over_every_transport() {
    let _turn = lock::light();
    // Most of the time passes until ended calls are forgotten.
    thread::scope(|scope| {
        for io in ["uring", "syscall"] {
            for ip in ["127.0.0.1", "::1"] {
                scope.spawn(move || calls_between_ourselves(io, ip));
            }
        }
    });
}

#[test]
fn the_first_line_and_the_messages_name_the_transport() {
    let _turn = lock::light();
    for (mode, name) in [("t1", "TCP"), ("w1", "WS")] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = listener.local_addr().unwrap().to_string();
        let line = ["-sn", "options", "-t", mode, "-m", "1", "-recv_timeout", "2s", &remote];
        let client = gossipper::start(&line);
        let (mut stream, _) = listener.accept().unwrap();
        let first = read_head(&mut stream);
        if mode == "w1" {
            assert!(first.starts_with("GET / HTTP/1.1\r\n"), "{first}");
            let lower = first.to_ascii_lowercase();
            assert!(lower.contains("sec-websocket-protocol: sip\r\n"), "{first}");
            assert!(lower.contains(&format!("host: {remote}\r\n")), "{first}");
        } else {
            assert!(first.contains("Via: SIP/2.0/TCP 127.0.0.1:"), "{first}");
            assert!(first.contains(";transport=TCP>"), "{first}");
        }
        drop(stream);
        let over = client.finish();
        assert!(over.finished.stdout.contains(&format!("{mode} {name} ")), "{:?}", over.finished);
        assert_eq!(over.summary().failed(), 1);
    }
}

#[test]
fn both_versions_of_tls_and_nothing_older() {
    let _turn = lock::light();
    for version in ["1.2", "1.3"] {
        let speak = ["-t", "ln", "-tls_version", version];
        let [client, server] = ours(&speak, &["-t", "l1"], 20);
        client.expect_code(0).summary().expect_all_succeeded(20);
        server.expect_code(0).summary().expect_all_succeeded(20);
    }
    let [client, server] =
        ours(&["-t", "ln", "-tls_version", "1.2"], &["-t", "l1", "-tls_version", "1.3"], 3);
    assert_eq!(client.expect_code(1).summary().failed_by("tls_handshake"), 3);
    assert_eq!(server.summary().counter("connections_failed"), 3);
    assert_eq!(server.summary().total(), 0);
    let over = gossipper::run(&["-sn", "uac", "-t", "l1", "-tls_version", "1.0", "127.0.0.1"]);
    assert!(over.finished.stderr.contains("RFC 8996"), "{:?}", over.finished);
    over.expect_code(255);
}

#[test]
fn sessions_are_resumed_when_asked() {
    let _turn = lock::light();
    for (more, resumed) in [(None, 0), (Some("-tls_resume"), 10)] {
        let client: Vec<&str> = ["-t", "ln", "-r", "10"].into_iter().chain(more).collect();
        let [client, server] = ours(&client, &["-t", "l1"], 20);
        client.expect_code(0);
        // The first ones may begin before there is a session to resume.
        let counted = server.summary().counter("handshakes_resumed");
        assert!(counted >= resumed && (counted > 0) == (resumed > 0), "{counted}");
    }
}

#[test]
fn certificates_are_verified_both_ways_when_authorities_are_given() {
    let _turn = lock::light();
    let (ca, stranger, crl) =
        (certs::file("ca.pem"), certs::file("stranger.pem"), certs::file("crl.pem"));
    let client = certs::identity("client");
    let client: Vec<&str> = client.iter().map(String::as_str).collect();
    let base = ["-t", "ln"];
    // Both sides know each other's authority.
    let trusting = ["-t", "l1", "-tls_ca", &ca, "-tls_crl", &crl];
    let known = [&base[..], &client, &["-tls_ca", &ca]].concat();
    let [over, server] = ours(&known, &trusting, 5);
    over.expect_code(0).summary().expect_all_succeeded(5);
    server.expect_code(0);
    // The client sends no certificate.
    let [over, server] = ours(&base, &trusting, 5);
    let text = &over.finished.stderr;
    assert!(text.contains("demands a certificate: give -tls_cert and -tls_key"), "{text}");
    assert_eq!(over.expect_code(1).summary().failed_by("tls_handshake"), 5);
    assert_eq!(server.summary().counter("connections_failed"), 5);
    // The client does not know the server's authority.
    let [over, _] = ours(&["-t", "ln", "-tls_ca", &stranger], &["-t", "l1"], 5);
    assert_eq!(over.expect_code(1).summary().failed_by("tls_certificate"), 5);
    // Unless the client does not verify.
    let careless = ["-t", "ln", "-tls_ca", &stranger, "-tls_skip_verify", "true"];
    let [over, _] = ours(&careless, &["-t", "l1"], 5);
    over.expect_code(0);
    // With one connection the reason is printed.
    let [over, _] = ours(&["-t", "l1", "-tls_ca", &stranger], &["-t", "l1"], 50);
    let text = &over.finished.stderr;
    assert!(text.contains("the peer's certificate is refused"), "{text}");
    over.expect_code(255);
}

#[test]
fn the_console_and_the_error_log_say_what_is_wrong_with_a_certificate() {
    let _turn = lock::light();
    let ca = certs::file("ca.pem");
    for (name, shown, said) in [
        (&[][..], "expired", "of CN=expired.test has expired: it is valid from 2020-01-01"),
        (&["sipp"], "stranger", "of CN=stranger of Gossipper's tests is self-signed"),
    ] {
        let identity = certs::identity(shown);
        let server = ["-sn", "uas", "-t", "l1", "-i", "127.0.0.1"];
        let (server, address) = gossipper::serve(&args(&[&server], &identity));
        let remote = address.to_string();
        // The last call of a run reports it, too, although no call needs a connection after it.
        let line = ["-sn", "options", "-t", "ln", "-m", "2", "-nostdin", "-tls_ca", &ca];
        let log = ["-trace_err", "-error_file", "errors.log", &remote];
        let client = gossipper::start(&[name, &line, &log].concat());
        let (over, files) = client.finish_with_files();
        let over = over.expect_code(1);
        assert_eq!(over.summary().failed_by("tls_certificate"), 2);
        let [console, log] =
            [over.finished.stderr, fs::read_to_string(files.join("errors.log")).unwrap()];
        let note = format!(
            "the connection with {remote} could not be established: the peer's certificate is refused: "
        );
        assert!(console.contains(&note) && console.contains(said), "{console}");
        // Once on the console, and in the log for each call.
        assert_eq!((console.matches(said).count(), log.matches(said).count()), (1, 2), "{log}");
        server.signal(Signal::INT);
        server.finish();
    }
}

#[test]
fn what_is_wrong_with_the_files_is_said() {
    let _turn = lock::light();
    let complaint = |line: &[&str], text: &str| {
        let over = gossipper::run(line);
        assert!(over.finished.stderr.contains(text), "{line:?}: {:?}", over.finished);
        over.expect_code(255);
    };
    complaint(&["-sn", "uas", "-t", "l1"], "cacert.pem cannot be read");
    let (server, key) = (certs::file("server.pem"), certs::file("server-key.pem"));
    let other = certs::file("client-key.pem");
    complaint(&["-sn", "uas", "-t", "l1", "-tls_cert", &server], "-tls_key cakey.pem");
    let line = ["-sn", "uas", "-t", "l1", "-tls_cert", &server, "-tls_key", &other];
    complaint(&line, "the key does not belong to the certificate");
    let line = ["-sn", "uas", "-t", "l1", "-tls_cert", &key, "-tls_key", &key];
    complaint(&line, "server-key.pem: it has no certificate");
    let remote = "127.0.0.1:9";
    complaint(&["-t", "l1", "-tls_crl", &server, remote], "-tls_crl FILE needs -tls_ca");
    complaint(&["-t", "l1", "-tls_skip_verify", "false", remote], "needs -tls_ca");
    complaint(&["-sn", "uac", "-t", "sl", remote], "for scenarios that answer calls only");
    complaint(&["-sn", "uas", "-t", "cln"], "for scenarios that make calls only");
    complaint(&["-sn", "uas", "-t", "s1"], "SCTP: not supported");
}

/// Reads up to the empty line.
fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&head)),
        }
    }
    String::from_utf8(head).expect("text")
}

fn header<'t>(text: &'t str, name: &str) -> &'t str {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .unwrap_or_else(|| panic!("no {name} in {text}"))
}

fn ok(request: &str) -> String {
    let copied: String = ["Via", "From", "To", "Call-ID", "CSeq"]
        .iter()
        .map(|name| format!("{name}: {}\r\n", header(request, name)))
        .collect();
    format!("SIP/2.0 200 OK\r\n{copied}Content-Length: 0\r\n\r\n")
}

/// A peer of openssl, ended with the test.
struct Openssl(Child);

impl Openssl {
    fn start(args: &[&str]) -> Self {
        tools::need("openssl");
        let mut command = Command::new("openssl");
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        Self(command.spawn().expect("openssl starts"))
    }

    fn say(&mut self, text: &str) {
        let pipe = self.0.stdin.as_mut().expect("a pipe");
        pipe.write_all(text.as_bytes()).and_then(|()| pipe.flush()).expect("openssl listens");
    }

    fn hear(&mut self) -> String {
        read_head(self.0.stdout.as_mut().expect("a pipe"))
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const OPTIONS: &str = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1;branch=z9hG4bK-1\r\n\
    From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: openssl\r\nCSeq: 1 OPTIONS\r\n\
    Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n";

#[test]
fn openssl_is_answered() {
    let _turn = lock::light();
    for version in ["-tls1_2", "-tls1_3"] {
        let identity = certs::identity("server");
        let base = ["-sn", "management", "-t", "l1", "-m", "1"];
        let (server, address) = gossipper::serve(&args(&[&base], &identity));
        let (remote, ca) = (address.to_string(), certs::file("ca.pem"));
        let line = ["s_client", "-connect", &remote, "-quiet", "-verify_return_error", "-CAfile"];
        let mut peer = Openssl::start(&[&line[..], &[&ca, version]].concat());
        peer.say(OPTIONS);
        let answer = peer.hear();
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
        assert_eq!(header(&answer, "Call-ID"), "openssl");
        server.finish().expect_code(0).summary().expect_all_succeeded(1);
    }
}

#[test]
fn openssl_answers() {
    let _turn = lock::light();
    for version in ["-tls1_2", "-tls1_3"] {
        let port = ports::free().to_string();
        let (cert, key) = (certs::file("server.pem"), certs::file("server-key.pem"));
        let line = ["s_server", "-accept", &port, "-quiet", "-cert", &cert, "-key", &key, version];
        let mut peer = Openssl::start(&line);
        let pid = peer.0.id();
        let end = std::time::Instant::now() + PATIENCE;
        while !ports::is_listening(pid, port.parse().unwrap()) {
            assert!(std::time::Instant::now() < end, "openssl does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        let (remote, ca) = (format!("localhost:{port}"), certs::file("ca.pem"));
        // `localhost` stands in the certificate.
        let line =
            ["-sn", "options", "-t", "l1", "-tls_ca", &ca, "-m", "1", "-i", "127.0.0.1", &remote];
        let client = gossipper::start(&line);
        let request = peer.hear();
        assert!(request.contains("Via: SIP/2.0/TLS "), "{request}");
        peer.say(&ok(&request));
        client.finish().expect_code(0).summary().expect_all_succeeded(1);
    }
}

#[test]
fn each_call_fails_with_its_own_connection_only() {
    let _turn = lock::light();
    for io in ["uring", "syscall"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = listener.local_addr().unwrap().to_string();
        let client = gossipper::start(&[
            "-sn", "options", "-t", "tn", "-m", "4", "-r", "50", "-io", io, &remote,
        ]);
        let mut streams = Vec::new();
        for _ in 0..4 {
            let (mut stream, _) = listener.accept().unwrap();
            let request = read_head(&mut stream);
            streams.push((stream, request));
        }
        let (mut last, request) = streams.pop().unwrap();
        // Closed in good order, with a message half said, and reset.
        streams[0].0.shutdown(Shutdown::Both).unwrap();
        streams[1].0.write_all(b"SIP/2.0 200 OK\r\nCall-ID: ").unwrap();
        streams[1].0.shutdown(Shutdown::Both).unwrap();
        rustix::net::sockopt::set_socket_linger(&streams[2].0, Some(Duration::ZERO)).unwrap();
        drop(streams);
        last.write_all(ok(&request).as_bytes()).unwrap();
        let over = client.finish().expect_code(1);
        let summary = over.summary();
        summary.expect_to_add_up();
        assert_eq!((summary.succeeded(), summary.failed_by("tcp_closed")), (1, 3), "{io}");
    }
}

const CLOSECON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/uac_closecon.xml");

#[test]
fn what_follows_closecon_comes_by_a_new_connection() {
    let _turn = lock::light();
    for io in ["uring", "syscall"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = listener.local_addr().unwrap().to_string();
        let line = ["-sf", CLOSECON, "-t", "tn", "-m", "1", "-d", "50", "-io", io, &remote];
        let client = gossipper::start(&line);
        let (mut first, from_first) = listener.accept().unwrap();
        let invite = read_head(&mut first);
        first.write_all(ok(&invite).as_bytes()).unwrap();
        assert!(read_head(&mut first).starts_with("ACK "));
        // Closed in good order, with nothing behind the ACK.
        let mut rest = Vec::new();
        first.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
        let (mut second, from_second) = listener.accept().unwrap();
        assert_ne!(from_first, from_second);
        let bye = read_head(&mut second);
        assert!(bye.starts_with("BYE "), "{bye}");
        assert_eq!(header(&bye, "Call-ID"), header(&invite, "Call-ID"));
        second.write_all(ok(&bye).as_bytes()).unwrap();
        let over = client.finish().expect_code(0);
        over.summary().expect_all_succeeded(1);
        assert_eq!(over.summary().counter("connections_opened"), 2, "{io}");
    }
}

#[test]
fn connections_are_closed_and_opened_within_calls_over_every_transport() {
    let _turn = lock::light();
    for (mode, peer) in [("tn", "t1"), ("ln", "l1"), ("wn", "w1"), ("wsn", "ws1")] {
        let line = ["-t", mode, "-sf", CLOSECON, "-d", "20"];
        let [client, server] =
            ours(&line, &["-t", peer, "-i", "127.0.0.1", "-reconnect_close", "false"], 50);
        client.expect_code(0).summary().expect_all_succeeded(50);
        let server = server.expect_code(0);
        server.summary().expect_all_succeeded(50);
        assert_eq!(server.summary().counter("connections_accepted"), 100, "{mode}");
    }
}

#[test]
fn a_closed_port_is_refused() {
    let _turn = lock::light();
    let port = ports::free();
    let remote = format!("127.0.0.1:{port}");
    for io in ["uring", "syscall"] {
        let line = ["-sn", "uac", "-t", "tn", "-m", "3", "-r", "50", "-io", io, &remote];
        let over = gossipper::run(&line).expect_code(1);
        assert_eq!(over.summary().failed_by("tcp_connect"), 3, "{io}");
        // As in SIPp: without its one connection the run is over.
        let line = ["-sn", "uac", "-t", "t1", "-m", "30", "-r", "50", "-io", io, &remote];
        let over = gossipper::run(&line).expect_code(255);
        let stderr = &over.finished.stderr;
        let error =
            format!("error: the connection with {remote} could not be established: refused");
        assert!(stderr.contains(&error), "{stderr}");
        assert!(stderr.contains("check that a program listens there"), "{stderr}");
        assert_eq!(stderr.matches("refused").count(), 1, "{stderr}");
    }
}

#[test]
fn a_lost_connection_is_opened_again() {
    let _turn = lock::light();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let remote = listener.local_addr().unwrap().to_string();
    let line = ["-sn", "options", "-t", "t1", "-m", "5", "-r", "20", "-max_reconnect", "3"];
    let more = ["-reconnect_sleep", "50", &remote];
    let client = gossipper::start(&[&line[..], &more].concat());
    let (mut first, _) = listener.accept().unwrap();
    let request = read_head(&mut first);
    first.write_all(ok(&request).as_bytes()).unwrap();
    read_head(&mut first);
    drop(first);
    let (stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let answering = thread::spawn(move || {
        let mut stream = stream;
        loop {
            let mut request = String::new();
            while !request.ends_with("\r\n\r\n") {
                if reader.read_line(&mut request).unwrap_or(0) == 0 {
                    return;
                }
            }
            stream.write_all(ok(&request).as_bytes()).unwrap();
        }
    });
    let over = client.finish().expect_code(1);
    answering.join().unwrap();
    let summary = over.summary();
    summary.expect_to_add_up();
    assert!(summary.failed_by("tcp_closed") >= 1 && summary.succeeded() >= 2, "{:#}", summary.0);
    assert_eq!(summary.counter("reconnects"), 1);
}

#[test]
fn workers_share_a_port_for_connections() {
    let _turn = lock::light();
    let base = ["-sn", "uas", "-t", "t1", "-workers", "2", "-i", "127.0.0.1"];
    let (server, address) = gossipper::serve(&base);
    let remote = address.to_string();
    let line = ["-sn", "uac", "-t", "tn", "-workers", "2", "-m", "200", "-r", "400", &remote];
    gossipper::run(&line).expect_code(0).summary().expect_all_succeeded(200);
    server.signal(Signal::INT);
    let server = server.finish().expect_code(0);
    server.summary().expect_all_succeeded(200);
    assert_eq!(server.summary().counter("out_of_call_messages"), 0);
}

#[test]
fn sockets_are_bound_to_an_interface() {
    let _turn = lock::light();
    for mode in ["u1", "un", "t1", "tn"] {
        let base = ["-sn", "uas", "-i", "127.0.0.1", "-m", "5", "-t", mode];
        let (server, address) = gossipper::serve(&[&base[..], &["-bind_to_device", "lo"]].concat());
        let remote = address.to_string();
        let line = ["-sn", "uac", "-m", "5", "-r", "50", "-t", mode, "-bind_to_device", "lo"];
        let over = gossipper::run(&[&line[..], &[&remote]].concat()).expect_code(0);
        over.summary().expect_all_succeeded(5);
        let name = if mode.starts_with('t') { "TCP" } else { "UDP" };
        assert_eq!(over.summary().0["generator"]["transport"], name);
        server.finish().expect_code(0);
        let line = ["-sn", "uas", "-t", mode, "-bind_to_device", "nowhere"];
        let over = gossipper::run(&line).expect_code(254);
        assert!(over.finished.stderr.contains("-bind_to_device"), "{:?}", over.finished);
    }
}

#[test]
fn torture_over_tcp_touches_no_call() {
    let _turn = lock::light();
    let (server, address) = gossipper::serve(&["-sn", "uas", "-t", "t1", "-i", "127.0.0.1"]);
    let folder = certs::path("").parent().unwrap().join("data/rfc4475");
    let mut sent = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "dat") {
            let mut stream = TcpStream::connect(address).unwrap();
            // The server may have closed the connection already.
            let _ = stream.write_all(&fs::read(path).unwrap());
            sent += 1;
        }
    }
    assert!(sent >= 49, "{sent}");
    let remote = address.to_string();
    let line = ["-sn", "uac", "-t", "tn", "-m", "20", "-r", "50", &remote];
    gossipper::run(&line).expect_code(0).summary().expect_all_succeeded(20);
    // Once: a second one would end the calls that are over but not yet forgotten.
    server.signal(Signal::INT);
    let server = server.finish();
    let summary = server.summary();
    summary.expect_to_add_up();
    assert!(summary.succeeded() >= 20, "{:#}", summary.0);
    assert!(summary.counter("parse_errors") > 0);
}

//! The daemon's HTTP below its routes: places for connections, malformed requests, and clients
//! behind a proxy.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::harness;
use crate::harness::gossipper::PROGRAM;
use crate::harness::http::{Client, Response, read_response};
use crate::harness::service::{self as daemon, Daemon, management};
use crate::harness::{certs, lock};

const PASSWORD: &str = "kettle-orbit-plum";

/// The daemon with an admin.
fn with_users(mut config: Value) -> Daemon {
    config["auth"] = json!({ "type": "internal", "sqlite_path": "users.db" });
    daemon::prepare(&config)
        .environment("GOSSIPPER_BOOTSTRAP_USERNAME", "admin")
        .environment("GOSSIPPER_BOOTSTRAP_PASSWORD", PASSWORD)
        .start()
}

/// Lets this process hold `count` connections.
fn allow_files(count: u64) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let current = Some(maximum.map_or(count, |maximum| maximum.min(count)));
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).expect("the limit can be raised");
}

/// The value of a sample of `/metrics`.
#[track_caller]
fn sample(client: &Client, name: &str) -> u64 {
    let text = client.get("/metrics").expect(200).body;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}:\n{text}")).parse().expect("a whole number")
}

/// Sends bytes on a connection of their own.
fn send(client: &Client, bytes: &[u8]) -> TcpStream {
    let mut stream = client.connect();
    stream.write_all(bytes).expect("the bytes can be sent");
    stream
}

#[test]
fn one_stranger_does_not_take_all_places() {
    let _lock = lock::light();
    allow_files(4096);
    let daemon = daemon::start(&management());
    let client = daemon.client();
    let slow = "POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\n\
                Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    // More connections than there are places, each with a body that is never sent.
    let held: Vec<TcpStream> = (0..1100).map(|_| send(&client, slow.as_bytes())).collect();
    client.get("/livez").expect(200);
    assert!(sample(&client, "gossipper_api_connections_refused_total{cause=\"displaced\"}") > 0);
    let open = sample(&client, "gossipper_api_connections");
    assert!((1..=640).contains(&open), "{open}");
    drop(held);
    daemon.stop();
}

#[test]
fn who_is_slow_is_told_so_and_counted() {
    let _lock = lock::light();
    let daemon = daemon::start(&management());
    let client = daemon.client();
    let mut head = send(&client, b"GET /livez HTTP/1.1\r\nHo");
    let body = "POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{";
    let mut body = send(&client, body.as_bytes());
    for stream in [&mut head, &mut body] {
        let error = read_response(stream).unwrap().error(408);
        assert!(error.contains("not complete after 5 s"), "{error}");
    }
    for cause in ["slow_head", "slow_body"] {
        let name = format!("gossipper_api_requests_refused_total{{cause=\"{cause}\"}}");
        assert_eq!(sample(&client, &name), 1, "{name}");
    }
    daemon.stop();
}

#[test]
fn what_is_no_request_gets_an_answer_that_says_why() {
    let _lock = lock::light();
    let daemon = daemon::start(&management());
    let client = daemon.client();
    let host = "Host: localhost\r\n";
    let long = "a".repeat(40_000);
    for (bytes, status, part) in [
        ("hello there\r\n\r\n".to_owned(), 400, "malformed"),
        ("GET /\r\n\r\n".to_owned(), 400, "malformed"),
        ("GET / HTTP/3.0\r\n\r\n".to_owned(), 400, "malformed"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 400, "HTTP/2 is not supported"),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0".to_owned(), 400, "without TLS"),
        (format!("GET / HTTP/1.1\r\n{host}X y: 1\r\n\r\n"), 400, "malformed"),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: x\r\n\r\n"), 400, "malformed"),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: gzip\r\n\r\n"), 400, "malformed"),
        (format!("GET /{long} HTTP/1.1\r\n{host}\r\n"), 414, "8 KiB"),
        (format!("GET /{} HTTP/1.1\r\n{host}\r\n", &long[..9000]), 414, "8 KiB"),
        (format!("GET / HTTP/1.1\r\n{host}X: {long}\r\n\r\n"), 431, "32 KiB"),
        (format!("GET / HTTP/1.1\r\n{host}{}\r\n", "X: a\r\n".repeat(200)), 431, "100 header"),
        (format!("GET /nothing HTTP/1.1\r\n{host}\r\n"), 404, "/nothing"),
        (format!("CONNECT a.example:80 HTTP/1.1\r\n{host}\r\n"), 404, "a.example:80"),
        (format!("BREW /livez HTTP/1.1\r\n{host}\r\n"), 405, "BREW"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400, "Host"),
    ] {
        let mut stream = send(&client, bytes.as_bytes());
        let reply = read_response(&mut stream).unwrap_or_else(|e| panic!("{bytes:.60}: {e}"));
        let error = reply.error(status);
        assert!(error.contains(part), "{bytes:.60}: {error}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{reply:?}");
    }
    // A request that breaks off.
    let mut stream = send(&client, b"GET /livez HTTP/1.1\r\nHost: loc");
    stream.shutdown(Shutdown::Write).unwrap();
    let error = read_response(&mut stream).unwrap().error(400);
    assert!(error.contains("not complete"), "{error}");
    assert!(sample(&client, "gossipper_api_requests_refused_total{cause=\"bad_head\"}") >= 9);
    daemon.stop();
}

#[test]
fn a_good_request_gets_its_answer_whatever_comes_behind() {
    let _lock = lock::light();
    let daemon = daemon::start(&management());
    let client = daemon.client();
    let mut stream =
        send(&client, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nhello there\r\n\r\n");
    read_response(&mut stream).unwrap().expect(200);
    read_response(&mut stream).unwrap().error(400);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "{rest:?}");
    // HTTP/1.0, which has no Host, from a client that has closed its sending side.
    let mut stream = send(&client, b"GET /livez HTTP/1.0\r\n\r\n");
    stream.shutdown(Shutdown::Write).unwrap();
    read_response(&mut stream).unwrap().expect(200);
    daemon.stop();
}

#[test]
fn a_body_is_asked_for_where_it_is_wanted_only() {
    let _lock = lock::light();
    let daemon = with_users(management());
    let client = daemon.client();
    let expect = |path: &str| {
        let head = client.head("POST", path);
        let head = format!("{head}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
        send(&client, head.as_bytes())
    };
    let mut wanted = expect("/api/v1/auth/login");
    let mut line = [0; 25];
    wanted.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    wanted.write_all(b"{}").unwrap();
    read_response(&mut wanted).unwrap().error(400);
    read_response(&mut expect("/api/v1/control")).unwrap().error(401);
    daemon.stop();
}

#[test]
fn bodies_have_a_bounded_memory() {
    let _lock = lock::light();
    let daemon = daemon::start(&management());
    let client = daemon.client();
    let head = client.head("POST", "/api/v1/scenario/apply");
    let piece = vec![b' '; 1 << 20];
    // Each is sent except for its last byte.
    let begin = |_| {
        let head = format!("{head}Content-Length: {}\r\n\r\n", 16 * piece.len());
        let mut stream = send(&client, head.as_bytes());
        (1..16).for_each(|_| stream.write_all(&piece).unwrap());
        stream.write_all(&piece[1..]).unwrap();
        stream
    };
    let held: Vec<TcpStream> = (0..4).map(begin).collect();
    let len = 512 << 10;
    // Some bytes may still be on their way.
    let refused = daemon::until("no memory is left", || {
        let expect = format!("{head}Content-Length: {len}\r\nExpect: 100-continue\r\n\r\n");
        let mut asking = send(&client, expect.as_bytes());
        let mut line = [0; 12];
        asking.read_exact(&mut line).unwrap();
        (&line != b"HTTP/1.1 100").then_some(line)
    });
    assert_eq!(&refused, b"HTTP/1.1 503");
    // A body without a length is refused at the point where the memory ends.
    let head = format!("{head}Transfer-Encoding: chunked\r\n\r\n{len:x}\r\n");
    let mut unknown = send(&client, head.as_bytes());
    // That may be before all is sent.
    let _ = unknown.write_all(&piece[..len]);
    let reply = read_response(&mut unknown).unwrap();
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert!(reply.error(503).contains("large bodies"), "{reply:?}");
    client.post("/api/v1/control", &json!({ "pause": true })).expect(200);
    assert!(sample(&client, "gossipper_api_requests_refused_total{cause=\"bodies\"}") > 1);
    drop(held);
    daemon.stop();
}

#[test]
fn responses_have_a_bounded_memory() {
    let _lock = lock::light();
    let mut config = management();
    config.as_object_mut().unwrap().remove("scenario_name");
    config["scenario_file"] = json!("long.xml");
    let remark = "x".repeat(15 << 20);
    let text = format!(
        "<scenario name=\"{}\"><recv request=\"INVITE\"/><!-- {remark} --></scenario>",
        "n".repeat(200)
    );
    let daemon = daemon::prepare(&config).file("long.xml", &text).start();
    let client = daemon.client();
    let ask = format!("{}\r\n", client.head("GET", "/api/v1/scenario"));
    // Readers that take the head and no more.
    let held: Vec<(TcpStream, String)> = (0..6)
        .map(|_| {
            let mut stream = send(&client, ask.as_bytes());
            let mut line = [0; 12];
            stream.read_exact(&mut line).unwrap();
            (stream, String::from_utf8_lossy(&line[9..]).into_owned())
        })
        .collect();
    let codes: Vec<&str> = held.iter().map(|(_, code)| code.as_str()).collect();
    assert_eq!(codes, ["200", "200", "200", "503", "503", "503"]);
    let refused = client.get("/api/v1/scenario");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(refused.error(503).contains("large responses"), "{refused:?}");
    assert_eq!(sample(&client, "gossipper_api_requests_refused_total{cause=\"responses\"}"), 4);
    drop(held);
    let reply = daemon::until("memory is free again", || {
        let reply = client.get("/api/v1/scenario");
        (reply.status == 200).then(|| reply.json())
    });
    assert_eq!(reply["xml"].as_str().map(str::len), Some(text.len()), "it is whole");
    assert_eq!(reply["scenario_name"], json!("n".repeat(128)));
    daemon.stop();
}

#[test]
fn http_without_tls_is_told_where_tls_is_spoken() {
    let _lock = lock::light();
    let mut config = management();
    config["api_tls_cert"] = json!(certs::file("server.pem"));
    config["api_tls_key"] = json!(certs::file("server-key.pem"));
    let daemon = daemon::start(&config);
    let error = daemon.client().get("/livez").error(400);
    assert!(error.contains("https://"), "{error}");
    daemon.stop();
}

/// A login with a wrong password.
fn guess(client: &Client, username: &str) -> Response {
    let body = json!({ "username": username, "password": "not the password" });
    client.post("/api/v1/auth/login", &body)
}

#[test]
fn a_trusted_proxy_says_who_asks() {
    let _lock = lock::light();
    let mut config = management();
    let mut daemon = with_users(config.clone());
    let client = daemon.client();
    client.get("/metrics").expect(200);
    // No proxy is trusted, but a request through a proxy may not be of this host.
    for (name, value) in [("X-Forwarded-For", "127.0.0.1"), ("Via", "1.1 lab7")] {
        client.with(name, value).get("/metrics").error(401);
    }

    config["auth"] = json!({ "type": "internal", "sqlite_path": "users.db" });
    config["trusted_proxies"] = json!(["127.0.0.1"]);
    daemon.write("gossipper.json", &config.to_string());
    daemon.signal(Signal::HUP);
    daemon.process().wait_for_stderr("was read again");

    for (name, value) in [
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Forwarded-For", "127.0.0.1, 192.0.2.1"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-For", "::1"),
        ("X-Forwarded-For", "unknown"),
        ("Forwarded", "for=\"[2001:db8::1]:80\""),
        ("Forwarded", "for=127.0.0.2"),
        ("Forwarded", "for=_hidden"),
        // No header of a proxy: it forwards the headers of any client.
        ("User-Agent", "127.0.0.1"),
    ] {
        let reply = client.with(name, value).get("/metrics");
        assert_eq!(reply.status, 401, "{name}: {value}");
    }
    // The probes of an address that is no proxy's are of this host.
    daemon.client().coming_from(Ipv4Addr::new(127, 0, 0, 2)).get("/metrics").expect(200);
    // Attempts to log in count for the client behind the proxy.
    let (one, other) =
        (client.with("X-Forwarded-For", "192.0.2.1"), client.with("X-Forwarded-For", "192.0.2.2"));
    for number in 0..10 {
        guess(&one, &format!("name{number}")).error(401);
    }
    guess(&one, "name10").error(429);
    guess(&other, "name11").error(401);
    // And the audit log has their addresses.
    let login = json!({ "username": "admin", "password": PASSWORD });
    other.post("/api/v1/auth/login", &login).expect(200);
    let database = rusqlite::Connection::open(daemon.path("users.db")).unwrap();
    let sql = "SELECT source FROM audit_log WHERE action = 'auth.login'";
    let source: String = database.query_row(sql, (), |row| row.get(0)).unwrap();
    assert_eq!(source, "192.0.2.2");
    daemon.stop();
}

#[test]
fn behind_a_proxy_a_source_has_a_share_of_requests() {
    let _lock = lock::light();
    let mut config = management();
    config["trusted_proxies"] = json!(["127.0.0.1"]);
    let daemon = daemon::start(&config);
    let client = daemon.client();
    let one = client.with("X-Forwarded-For", "2001:db8::1");
    let head = one.head("GET", "/api/v1/live");
    let head = format!(
        "{head}Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let switched = |mut stream: TcpStream| -> io::Result<TcpStream> {
        let mut line = [0; 12];
        stream.read_exact(&mut line)?;
        assert_eq!(&line, b"HTTP/1.1 101");
        Ok(stream)
    };
    let held: Vec<TcpStream> =
        (0..64).map(|_| switched(send(&client, head.as_bytes())).unwrap()).collect();
    // Another address of the same network.
    let same = client.with("X-Forwarded-For", "2001:db8::2").get("/livez");
    assert_eq!(same.header("retry-after"), Some("1"));
    let error = same.error(503);
    assert!(error.contains("of your address"), "{error}");
    client.with("X-Forwarded-For", "2001:db8:0:1::1").get("/livez").expect(200);
    client.get("/livez").expect(200);
    assert_eq!(sample(&client, "gossipper_api_requests_refused_total{cause=\"source\"}"), 1);
    drop(held);
    daemon.stop();
}

#[test]
fn a_proxy_of_this_host_does_not_take_its_last_places() {
    let _lock = lock::light();
    allow_files(4096);
    // Trusted or not, a proxy shows by its header.
    for trusted in [json!(["127.0.0.1"]), json!([])] {
        let mut config = management();
        config["trusted_proxies"] = trusted.clone();
        let daemon = daemon::start(&config);
        let client = daemon.client();
        let strangers = |port: usize| -> TcpStream {
            // Each client is a source of its own, or all of them are 127.0.0.1.
            let source = format!("192.0.2.{}", port % 250);
            let head = client.with("X-Forwarded-For", &source).head("POST", "/api/v1/control");
            send(&client, format!("{head}Content-Length: 100\r\n\r\n{{").as_bytes())
        };
        // All places except the reserved ones; an untrusted proxy has a share, too.
        let count = if trusted == json!([]) { 640 } else { 960 };
        let mut held: Vec<TcpStream> = (0..count).map(strangers).collect();
        let open = || sample(&client, "gossipper_api_connections");
        let displaced =
            || sample(&client, "gossipper_api_connections_refused_total{cause=\"displaced\"}");
        // Connections that have had their answer may go on for a moment.
        let all_and_ours =
            || daemon::until("places", || (open() == count as u64 + 1).then_some(()));
        all_and_ours();
        assert_eq!(displaced(), 0, "{trusted}");
        held.push(strangers(count));
        daemon::until("a stranger made room", || (displaced() == 1).then_some(()));
        all_and_ours();
        drop(held);
        daemon.stop();
    }
}

#[test]
fn a_proxy_that_is_no_address_is_an_error_with_its_place() {
    for (entry, part) in [
        ("lab7", "192.0.2.0/24"),
        ("10.1.2.3/8", "write 10.0.0.0/8"),
        ("0.0.0.0/0", "every client could then choose its own address"),
    ] {
        let mut config = management();
        config["trusted_proxies"] = json!(["::1", entry]);
        let scratch = harness::scratch::Scratch::new();
        let file = scratch.write("gossipper.json", &config.to_string());
        let output = std::process::Command::new(PROGRAM)
            .args(["server", "-config", &file])
            .output()
            .expect("the program starts");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{text}");
        assert!(text.contains("trusted_proxies[1]") && text.contains(part), "{entry}: {text}");
    }
}

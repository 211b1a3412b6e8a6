//! The live WebSocket: frames, their pace, and readers that are too slow.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::Message;

use crate::harness;
use crate::harness::http::Client;
use crate::harness::lock;
use crate::harness::service::{self as daemon, Daemon, management, until};

fn open() -> (Daemon, Client) {
    let daemon = daemon::start(&management());
    let client = daemon.client();
    (daemon, client)
}

fn ts(frame: &Value) -> u64 {
    frame["ts"].as_u64().expect("a time")
}

#[test]
fn frames_have_what_the_routes_have() {
    let _lock = lock::light();
    let (daemon, client) = open();
    let mut live = client.websocket("/api/v1/live?interval_ms=250").expect("let in");
    let frame = live.frame();
    let keys: Vec<&str> = frame.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["control", "stats", "transports", "ts"]);
    assert_eq!(frame["stats"]["multi"], json!(false));
    assert_eq!(frame["control"], client.get("/api/v1/control").json());
    assert_eq!(frame["transports"], client.get("/api/v1/transports").json());
    // A change shows in the next frames.
    client.post("/api/v1/control", &json!({ "paused": true })).expect(200);
    until("frame with the pause", || {
        let frame = live.frame();
        (frame["control"]["paused"] == json!(true)).then_some(())
    });
    daemon.stop();
}

#[test]
fn frames_come_at_the_pace_that_was_asked_for() {
    let _lock = lock::light();
    let (daemon, client) = open();
    let mut usual = client.websocket("/api/v1/live").expect("let in");
    let mut fast = client.websocket("/api/v1/live?interval_ms=250").expect("let in");
    let span = |live: &mut harness::http::Live, frames: u32| {
        // The first comes at once, the second with the next tick of all.
        live.frame();
        let begin = ts(&live.frame());
        (0..frames).for_each(|_| _ = live.frame());
        ts(&live.frame()) - begin
    };
    // The duration is under test. A frame may be late. It may be early by no more than the age up
    // to which a frame is used again.
    assert!(span(&mut usual, 2) >= 3 * 750 - 450);
    let fast = span(&mut fast, 7);
    assert!(fast >= 8 * 250 - 450, "{fast}");
    daemon.stop();
}

#[test]
fn who_reads_nothing_misses_frames_and_harms_nobody() {
    let _lock = lock::light();
    let (daemon, client) = open();
    let stalled: Vec<TcpStream> = (0..8)
        .map(|_| {
            let live = client.websocket("/api/v1/live?interval_ms=250").expect("let in");
            live.0.into_inner()
        })
        .collect();
    let mut reader = client.websocket("/api/v1/live?interval_ms=250").expect("let in");
    (0..12).for_each(|_| _ = reader.frame());
    let clients = metric(&client, "gossipper_ws_clients");
    assert_eq!(clients, 9.0);
    drop(stalled);
    until("end of those that left", || {
        reader.frame();
        (metric(&client, "gossipper_ws_clients") == 1.0).then_some(())
    });
    daemon.stop();
}

fn metric(client: &Client, name: &str) -> f64 {
    let text = client.get("/metrics").expect(200).body;
    let line = text.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
    let line = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn what_readers_say_is_ignored_within_limits() {
    let _lock = lock::light();
    let (daemon, client) = open();
    let mut live = client.websocket("/api/v1/live").expect("let in");
    live.0.send(Message::text("{\"rate\": 1000}")).unwrap();
    live.0.send(Message::Ping("are you there".into())).unwrap();
    let pong = until("pong", || match live.0.read().unwrap() {
        Message::Pong(payload) => Some(payload),
        _ => None,
    });
    assert_eq!(&pong[..], b"are you there");
    assert_eq!(client.get("/api/v1/control").json()["rate"], json!(0.0));

    // Too much at once, and too often.
    let mut long = client.websocket("/api/v1/live").expect("let in");
    long.0.send(Message::text("x".repeat(5000))).unwrap();
    assert_eq!(long.close_code(), 1009);
    let mut often = client.websocket("/api/v1/live?interval_ms=60000").expect("let in");
    for _ in 0..100 {
        if often.0.send(Message::text("x")).is_err() {
            break;
        }
    }
    assert_eq!(often.close_code(), 1008);
    live.frame();
    live.0.close(None).unwrap();
    until("end", || live.0.read().is_err().then_some(()));
    daemon.stop();
}

#[test]
fn who_floods_is_told_why_it_ends() {
    let _lock = lock::light();
    let (daemon, client) = open();
    let mut live = client.websocket("/api/v1/live?interval_ms=60000").expect("let in");
    let text = |len: usize| {
        // A masked text, of zeros and with a key of zeros.
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend_from_slice(&(len as u16).to_be_bytes());
        frame.resize(8 + len, 0);
        frame
    };
    // Unread bytes at the end must not take the reason back.
    let flood: Vec<u8> = (0..4000).flat_map(|_| text(1000)).collect();
    let part = [0x00, 0x80, 0, 0, 0, 0].repeat(100_000);
    // A message in parts that never ends: each is empty.
    let parts = [vec![0x01, 0x80, 0, 0, 0, 0], part].concat();
    for bytes in [flood, parts] {
        let mut other = client.websocket("/api/v1/live?interval_ms=60000").expect("let in");
        let _ = other.0.get_mut().write_all(&bytes);
        assert_eq!(other.close_code(), 1008);
    }
    live.frame();
    daemon.stop();
}

#[test]
fn readers_are_told_that_the_daemon_ends() {
    let _lock = lock::light();
    let (daemon, client) = open();
    let mut live = client.websocket("/api/v1/live?interval_ms=60000").expect("let in");
    live.frame();
    let reader = thread::spawn(move || live.close_code());
    thread::sleep(Duration::from_millis(100));
    daemon.stop();
    assert_eq!(reader.join().unwrap(), 1001);
}

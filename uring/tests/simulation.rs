//! The simulated network: runs repeat exactly, and each fault has its documented effect.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::rc::Rc;

use gossipper_uring::{
    ConnectSpec, Driver, DriverConfig, Event, IcmpCause, ListenSpec, NEVER, RxClass, SendFailure,
    SimConfig, SimDriver, SimNet, SocketId, SocketSpec, StreamCause, StreamEvent, StreamWriteError,
    TxOrder,
};

fn spec(local: &str) -> SocketSpec {
    SocketSpec {
        local: local.parse().expect("literal"),
        remote: None,
        reuse_port: false,
        rx_class: RxClass::Large,
        receive_buffer_bytes: 0,
        send_buffer_bytes: 0,
        device: None,
    }
}

fn driver(net: &SimNet) -> SimDriver {
    SimDriver::new(net, &DriverConfig::default()).expect("driver")
}

fn open(driver: &mut SimDriver, local: &str) -> (SocketId, SocketAddr) {
    let socket = driver.open(&spec(local)).expect("open");
    (socket, driver.local_addr(socket))
}

fn send(driver: &mut SimDriver, from: SocketId, to: SocketAddr, cookie: u64, payload: &[u8]) {
    assert!(driver.tx().send_copy(payload, from, to, cookie, &mut TxOrder::default()));
}

fn drain(driver: &mut SimDriver) -> Vec<String> {
    let mut seen = Vec::new();
    let _ = driver.drain(|event, _| {
        seen.push(format!("{event:?}"));
        ControlFlow::Continue(())
    });
    seen
}

/// Lets everything under way arrive.
fn settle(net: &SimNet, driver: &mut SimDriver) -> Vec<String> {
    let mut seen = Vec::new();
    driver.turn(NEVER).expect("turn");
    seen.extend(drain(driver));
    while let Some(next) = net.next_delivery() {
        net.advance_to(next);
        driver.turn(NEVER).expect("turn");
        seen.extend(drain(driver));
    }
    seen
}

/// Plays a whole run: two drivers that send to each other over a bad network. Returns all events.
fn rally(seed: u64) -> Vec<String> {
    let config = SimConfig {
        delay_ns_min: 1_000,
        delay_ns_max: 900_000,
        reorder: true,
        loss_ppm: 20_000,
        duplicate_ppm: 50_000,
        no_buffer_ppm: 30_000,
        ..SimConfig::default()
    };
    let net = SimNet::new(seed, config);
    let log = Rc::new(RefCell::new(Vec::new()));
    let tapped = Rc::clone(&log);
    net.set_tap(Box::new(move |now, from, to, payload| {
        tapped.borrow_mut().push(format!("{now} {from} {to} {payload:?}"));
    }));
    let mut left = driver(&net);
    let mut right = driver(&net);
    let (from, _) = open(&mut left, "192.0.2.1:5060");
    let (_, to) = open(&mut right, "192.0.2.2:5060");
    for number in 0..100_u32 {
        send(&mut left, from, to, u64::from(number), &number.to_be_bytes());
    }
    while log.borrow().len() < 3000 {
        for (name, driver) in [("left", &mut left), ("right", &mut right)] {
            driver.turn(NEVER).expect("turn");
            let _ = driver.drain(|event, tx| {
                log.borrow_mut().push(format!("{name} {event:?}"));
                if let Event::Datagram { socket, source, payload, .. } = event {
                    let mut order = TxOrder::default();
                    assert!(tx.send_copy(payload, socket, source, 0, &mut order));
                }
                ControlFlow::Continue(())
            });
        }
        let deadline = left.next_deadline().min(right.next_deadline());
        let Some(next) = net.next_delivery() else { break };
        net.advance_to(next.min(deadline.max(net.now() + 1)));
    }
    drop((left, right));
    log.take()
}

#[test]
fn a_seed_gives_one_run() {
    let first = rally(42);
    assert!(first.len() > 200, "{} lines", first.len());
    assert_eq!(first, rally(42));
    assert_ne!(first, rally(43));
}

#[test]
fn time_passes_only_when_moved() {
    let net =
        SimNet::new(1, SimConfig { delay_ns_min: 70, delay_ns_max: 70, ..SimConfig::default() });
    let mut driver = driver(&net);
    let (from, _) = open(&mut driver, "127.0.0.1:0");
    let (_, to) = open(&mut driver, "127.0.0.1:0");
    let begun = net.now();
    send(&mut driver, from, to, 0, b"x");
    driver.turn(begun + 1_000).expect("turn");
    assert_eq!((net.now(), driver.now()), (begun, begun));
    assert_eq!(driver.next_deadline(), begun + 1_000);
    assert_eq!(net.next_delivery(), Some(begun + 70));
    assert!(drain(&mut driver).is_empty());
    net.advance_to(begun + 69);
    assert!(drain(&mut driver).is_empty());
    net.advance_to(begun + 70);
    assert_eq!(driver.next_deadline(), net.now(), "an event is due");
    assert_eq!(drain(&mut driver).len(), 1);
    net.advance_to(begun);
    assert_eq!(net.now(), begun + 70, "never back");
}

#[test]
fn order_is_kept_unless_asked_otherwise() {
    let run = |reorder| {
        let config =
            SimConfig { delay_ns_min: 0, delay_ns_max: 1_000_000, reorder, ..SimConfig::default() };
        let net = SimNet::new(5, config);
        let mut driver = driver(&net);
        let (from, _) = open(&mut driver, "127.0.0.1:0");
        let (_, to) = open(&mut driver, "127.0.0.1:0");
        for number in 0..50_u8 {
            send(&mut driver, from, to, 0, &[number]);
        }
        settle(&net, &mut driver)
    };
    let (kept, mixed) = (run(false), run(true));
    assert_eq!((kept.len(), mixed.len()), (50, 50));
    assert_ne!(kept, mixed);
    for (number, line) in kept.iter().enumerate() {
        assert!(line.contains(&format!("payload: [{number}], ")), "{line}");
    }
}

#[test]
fn loss_and_duplication_follow_their_rates() {
    let run = |loss_ppm, duplicate_ppm| {
        let config =
            SimConfig { loss_ppm, duplicate_ppm, receive_queue_max: 9999, ..SimConfig::default() };
        let net = SimNet::new(9, config);
        let mut driver = driver(&net);
        let (from, _) = open(&mut driver, "127.0.0.1:0");
        let (_, to) = open(&mut driver, "127.0.0.1:0");
        for _ in 0..2000 {
            send(&mut driver, from, to, 0, b"x");
        }
        settle(&net, &mut driver).len()
    };
    assert_eq!(run(0, 0), 2000);
    assert_eq!(run(1_000_000, 0), 0);
    assert_eq!(run(0, 1_000_000), 4000);
    assert!((850..1150).contains(&run(500_000, 0)));
}

#[test]
fn a_short_queue_overflows_and_counts() {
    let net = SimNet::new(1, SimConfig { receive_queue_max: 10, ..SimConfig::default() });
    let mut driver = driver(&net);
    let (from, _) = open(&mut driver, "127.0.0.1:0");
    let (_, to) = open(&mut driver, "127.0.0.1:0");
    for _ in 0..25 {
        send(&mut driver, from, to, 0, b"x");
    }
    assert_eq!(settle(&net, &mut driver).len(), 10);
    assert_eq!(driver.counters().receive_overflow, 15);
}

#[test]
fn want_of_buffers_fails_each_datagram_with_its_cookie() {
    let net = SimNet::new(1, SimConfig { no_buffer_ppm: 1_000_000, ..SimConfig::default() });
    let mut driver = driver(&net);
    let (from, _) = open(&mut driver, "127.0.0.1:0");
    let (_, to) = open(&mut driver, "127.0.0.1:0");
    for cookie in 0..3 {
        send(&mut driver, from, to, cookie, b"x");
    }
    driver.turn(0).expect("turn");
    let mut cookies = Vec::new();
    let _ = driver.drain(|event, _| {
        let Event::SendFailed { cookie, cause, .. } = event else { panic!("{event:?}") };
        assert_eq!(cause, SendFailure::NoBuffer);
        cookies.push(cookie);
        ControlFlow::Continue(())
    });
    assert_eq!(cookies, [0, 1, 2]);
    assert_eq!(driver.counters().send_no_buffer, 3);
    assert_eq!(driver.tx().free(), 4096);
}

#[test]
fn an_address_without_a_socket_is_unreachable_if_the_net_says_so() {
    let net = SimNet::new(1, SimConfig::default());
    let mut driver = driver(&net);
    let (from, _) = open(&mut driver, "127.0.0.1:0");
    let nowhere: SocketAddr = "127.0.0.9:9".parse().expect("literal");
    send(&mut driver, from, nowhere, 0, b"hello");
    driver.turn(NEVER).expect("turn");
    net.advance_to(net.now() + 1_000_000);
    let mut seen = 0;
    let _ = driver.drain(|event, _| {
        let Event::Unreachable { destination, cause, quoted, .. } = event else {
            panic!("{event:?}")
        };
        assert_eq!((destination, cause, quoted), (nowhere, IcmpCause::Port, &b"hello"[..]));
        seen += 1;
        ControlFlow::Continue(())
    });
    assert_eq!((seen, driver.counters().icmp_errors), (1, 1));
    net.set_config(SimConfig { unreachable: false, ..SimConfig::default() });
    send(&mut driver, from, nowhere, 0, b"hello");
    assert!(settle(&net, &mut driver).is_empty());
}

#[test]
fn a_wildcard_and_a_shared_port_receive() {
    let net = SimNet::new(1, SimConfig::default());
    let mut driver = driver(&net);
    let (from, from_at) = open(&mut driver, "192.0.2.1:6000");
    let shared = SocketSpec { reuse_port: true, ..spec("0.0.0.0:5060") };
    let first = driver.open(&shared).expect("first");
    let second = driver.open(&shared).expect("second");
    assert!(driver.open(&spec("0.0.0.0:5060")).is_err(), "in use");
    send(&mut driver, from, "192.0.2.99:5060".parse().expect("literal"), 0, b"to either");
    driver.turn(NEVER).expect("turn");
    net.advance_to(net.now() + 1_000_000);
    let mut to = None;
    let _ = driver.drain(|event, _| {
        let Event::Datagram { socket, source, .. } = event else { panic!("{event:?}") };
        assert_eq!(source, from_at);
        to = Some(socket);
        ControlFlow::Continue(())
    });
    assert!(to == Some(first) || to == Some(second));
    driver.close(first);
    driver.close(second);
    assert!(driver.open(&spec("0.0.0.0:5060")).is_ok());
}

#[test]
fn a_wake_makes_the_driver_due() {
    let net = SimNet::new(1, SimConfig::default());
    let mut driver = driver(&net);
    driver.turn(NEVER).expect("turn");
    assert_eq!(driver.next_deadline(), NEVER);
    driver.waker().wake();
    driver.turn(NEVER).expect("turn");
    assert_eq!(driver.next_deadline(), net.now());
}

#[test]
fn a_break_keeps_the_rest() {
    let net = SimNet::new(1, SimConfig::default());
    let mut driver = driver(&net);
    let (from, _) = open(&mut driver, "127.0.0.1:0");
    let (_, to) = open(&mut driver, "127.0.0.1:0");
    for _ in 0..3 {
        send(&mut driver, from, to, 0, b"x");
    }
    driver.turn(NEVER).expect("turn");
    net.advance_to(net.now() + 1_000_000);
    assert!(driver.drain(|_, _| ControlFlow::Break(())).is_break());
    assert!(driver.drain(|_, _| ControlFlow::Break(())).is_break());
    assert!(driver.drain(|_, _| ControlFlow::Break(())).is_continue());
}

/// Outcome of a run of streams, for comparison.
#[derive(Debug, Default, PartialEq, Eq)]
struct Run {
    log: Vec<String>,
    received: std::collections::BTreeMap<u32, Vec<u8>>,
}

/// Ten clients write to a server, which sends everything back and closes.
fn run_streams(seed: u64, config: SimConfig, bytes: usize) -> (Run, SimNet) {
    let net = SimNet::new(seed, config);
    let small = DriverConfig { stream_output_bytes: 10_000, ..DriverConfig::default() };
    let mut driver = SimDriver::new(&net, &small).expect("driver");
    let at: SocketAddr = "0.0.0.0:5060".parse().expect("literal");
    let listener = driver.listen(&ListenSpec::new(at)).expect("listen");
    assert_eq!(driver.local_addr(listener), at);
    let to: SocketAddr = "127.0.0.1:5060".parse().expect("literal");
    let mut unsent = std::collections::BTreeMap::new();
    for number in 0..10_u8 {
        let client = driver.connect(&ConnectSpec::new(to)).expect("connect");
        let data: Vec<u8> = (0..bytes).map(|at| (at * 7) as u8 ^ number).collect();
        unsent.insert(client, data);
    }
    let mut run = Run::default();
    let mut echo = Vec::new();
    for _ in 0..200_000 {
        for (stream, data) in &mut unsent {
            while !data.is_empty() {
                let part = data.len().min(3000);
                match driver.stream_write(*stream, &data[..part]) {
                    Ok(()) => drop(data.drain(..part)),
                    Err(StreamWriteError::Closed) => data.clear(),
                    Err(error) => {
                        assert_eq!(error, StreamWriteError::Full);
                        break;
                    }
                }
            }
        }
        driver.turn(NEVER).expect("turn");
        let now = net.now();
        let flow = driver.drain(|event, _| {
            let Event::Stream(event) = event else { panic!("{event:?}") };
            run.log.push(match event {
                StreamEvent::Data { socket, bytes, received_ns } => {
                    format!("{now} {socket:?} {} bytes at {received_ns}", bytes.len())
                }
                _ => format!("{now} {event:?}"),
            });
            match event {
                StreamEvent::Data { socket, bytes, .. } => {
                    run.received.entry(socket.0).or_default().extend_from_slice(bytes);
                    echo.push((socket, bytes.to_vec()));
                }
                StreamEvent::Closed { socket, .. } => {
                    unsent.remove(&socket);
                }
                _ => {}
            }
            ControlFlow::Continue(())
        });
        assert!(flow.is_continue());
        let clients: Vec<_> = unsent.keys().copied().collect();
        for (socket, bytes) in echo.drain(..) {
            let at = driver.local_addr(socket);
            if at.port() == 5060 {
                unsent.entry(socket).or_default().extend(bytes);
            }
        }
        for client in clients {
            let is_client = driver.local_addr(client).port() != 5060;
            if is_client && run.received.get(&client.0).map_or(0, Vec::len) >= bytes {
                driver.close(client);
                unsent.remove(&client);
            }
        }
        let next = driver.next_deadline().min(net.next_delivery().unwrap_or(NEVER));
        if next == NEVER {
            break;
        }
        net.advance_to(next);
    }
    let counters = driver.counters();
    assert_eq!(counters.streams_opened, 10, "seed {seed}");
    let ended = counters.streams_closed;
    assert_eq!(counters.streams_opened + counters.streams_accepted, ended, "{counters:?}");
    (run, net)
}

#[test]
fn streams_keep_order_and_lose_nothing_whatever_the_pieces() {
    for seed in 0..8 {
        let config = SimConfig {
            delay_ns_min: 1000,
            delay_ns_max: 5_000_000,
            loss_ppm: 10_000,
            stream_segment_bytes_max: 1 + seed as usize * 100,
            stream_window_bytes: 2000,
            ..SimConfig::default()
        };
        let (run, _) = run_streams(seed, config.clone(), 4000);
        let whole = run.received.values().filter(|bytes| bytes.len() == 4000).count();
        assert_eq!(whole, 20, "seed {seed}: both ways of ten streams");
        let number = |bytes: &[u8]| bytes[0];
        for bytes in run.received.values() {
            let of = number(bytes);
            assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == (at * 7) as u8 ^ of));
        }
        assert_eq!(run_streams(seed, config, 4000).0, run, "seed {seed} is not repeatable");
    }
}

#[test]
fn room_in_a_stream_is_reported() {
    let config = SimConfig { stream_window_bytes: 2000, ..SimConfig::default() };
    let (run, _) = run_streams(1, config, 50_000);
    assert!(run.log.iter().any(|line| line.contains("Drained")));
    assert!(run.received.values().all(|bytes| bytes.len() == 50_000));
}

#[test]
fn resets_and_refusals_end_streams_at_both_ends() {
    let (mut resets, mut refusals) = (0, 0);
    for seed in 0..20 {
        let config = SimConfig {
            stream_reset_ppm: 20_000,
            connect_refused_ppm: 200_000,
            ..SimConfig::default()
        };
        let (run, _) = run_streams(seed, config, 20_000);
        let count = |what: &str| run.log.iter().filter(|line| line.contains(what)).count();
        resets += count("Closed") - count("Refused");
        refusals += count("Refused");
    }
    assert!(resets > 20 && refusals > 10, "{resets} {refusals}");
}

#[test]
fn a_connect_to_nobody_is_refused_or_times_out() {
    for (unreachable, expected) in [(true, StreamCause::Refused), (false, StreamCause::TimedOut)] {
        let net = SimNet::new(1, SimConfig { unreachable, ..SimConfig::default() });
        let mut driver = driver(&net);
        let to: SocketAddr = "127.0.0.1:9".parse().expect("literal");
        let stream = driver.connect(&ConnectSpec::new(to)).expect("connect");
        driver.turn(NEVER).expect("turn");
        let mut causes = Vec::new();
        while let Some(next) = net.next_delivery() {
            net.advance_to(next);
            let _ = driver.drain(|event, _| {
                let Event::Stream(StreamEvent::Closed { socket, cause }) = event else {
                    panic!("{event:?}")
                };
                causes.push((socket, cause));
                ControlFlow::Continue(())
            });
        }
        assert_eq!(causes, [(stream, expected)]);
        assert_eq!(driver.counters().connect_errors, 1);
    }
}

#[test]
fn streams_leave_the_fate_of_datagrams_alone() {
    let fate = |streams: bool| {
        let config =
            SimConfig { delay_ns_max: 9_000_000, loss_ppm: 300_000, ..SimConfig::default() };
        let net = SimNet::new(3, config);
        let mut driver = driver(&net);
        let (from, _) = open(&mut driver, "127.0.0.1:0");
        let (_, to) = open(&mut driver, "127.0.0.1:0");
        if streams {
            let at: SocketAddr = "127.0.0.1:5060".parse().expect("literal");
            driver.listen(&ListenSpec::new(at)).expect("listen");
            let client = driver.connect(&ConnectSpec::new(at)).expect("connect");
            driver.stream_write(client, &[7; 5000]).expect("write");
        }
        for number in 0..50_u8 {
            send(&mut driver, from, to, 0, &[number]);
        }
        driver.turn(NEVER).expect("turn");
        net.advance_to(net.now() + 1_000_000_000);
        let mut seen = Vec::new();
        let _ = driver.drain(|event, _| {
            if let Event::Datagram { payload, received_ns, .. } = event {
                seen.push((payload[0], received_ns));
            }
            ControlFlow::Continue(())
        });
        seen
    };
    assert_eq!(fate(false), fate(true));
}

//! A medium beside SIP. Its UDP sockets receive and send under every transport of SIP, on the
//! simulated network and on the drivers of the product.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gossipper::dataplane::wiring::{self, Begin, Neighbours, Station};
use gossipper::dataplane::{Network, Turn, Undone, WorkerHandle, WorkerRequest};
use gossipper::stats::Counters;
use gossipper_uring::{
    Driver, DriverConfig, Event, RxClass, SimConfig, SimDriver, SocketSpec, SyscallDriver, TxOrder,
    UringDriver, sys,
};

use crate::harness::carrier::Streams;
use crate::harness::echo::{BEAT, Echo};
use crate::harness::scenarios::builtin;
use crate::harness::side::{CALLEE, SideOptions, rate};
use crate::harness::{MS, SECOND, World};

const CALLS: u64 = 30;

fn sides(streams: Option<&Streams>) -> [SideOptions; 2] {
    let mut caller = SideOptions::new(builtin("uac")).with(|engine| {
        engine.calls_total = Some(CALLS);
        engine.arrivals = rate(100.0);
        engine.rules.pause_ms = 50;
    });
    let mut callee = SideOptions::new(builtin("uas")).with(|engine| engine.seed = 2);
    caller.streams = streams.cloned();
    callee.streams = streams.cloned();
    [caller, callee]
}

/// Datagrams received by the peer of a medium.
#[derive(Default)]
struct Heard {
    echoes: u64,
    beats: u64,
}

impl Heard {
    fn take(&mut self, payload: &[u8]) {
        match payload {
            BEAT => self.beats += 1,
            echo => {
                assert!(echo.starts_with(b"ping "), "{}", echo.escape_ascii());
                self.echoes += 1;
            }
        }
    }
}

/// Plays calls while a peer talks with a medium of the answerer. Returns the counters of caller and
/// answerer, the number of datagrams that the peer sent, and those that it received.
fn play(streams: Option<&Streams>) -> ([Counters; 2], u64, Heard) {
    let network = SimConfig { delay_ns_min: MS, delay_ns_max: 5 * MS, ..SimConfig::default() };
    let mut world = World::new(1, network);
    let [caller, mut callee] = sides(streams);
    let place = SocketAddr::new(CALLEE.ip(), 6000);
    callee.medium = Some(place);
    let [callee, caller] = [&callee, &caller].map(|options| world.add(options));
    let mut peer = SimDriver::new(&world.net, &DriverConfig::default()).expect("memory");
    let local = SocketAddr::new(CALLEE.ip(), 7000);
    let spec = SocketSpec {
        local,
        remote: None,
        reuse_port: false,
        rx_class: RxClass::Small,
        receive_buffer_bytes: 0,
        send_buffer_bytes: 0,
        device: None,
    };
    let socket = peer.open(&spec).expect("a free port");
    let (mut sent, mut next_ping_ns, mut heard) = (0, world.net.now(), Heard::default());
    let end_ns = world.net.now() + 60 * SECOND;
    let result = world.run_until(end_ns, |world| {
        if world.net.now() >= next_ping_ns && !world.is_finished(caller) {
            next_ping_ns = world.net.now() + 10 * MS;
            let ping = format!("ping {sent}");
            let order = &mut TxOrder::default();
            assert!(peer.tx().send_copy(ping.as_bytes(), socket, place, 0, order));
            sent += 1;
        }
        peer.turn(0).expect("a simulated driver does not fail");
        let _ = peer.drain(|event, _| {
            if let Event::Datagram { source, payload, .. } = event {
                assert_eq!(source, place);
                heard.take(payload);
            }
            std::ops::ControlFlow::Continue(())
        });
        world.is_finished(caller) && heard.echoes == sent
    });
    result.unwrap_or_else(|problem| panic!("{problem}\n{}", world.log.tail(30)));
    assert!(world.is_finished(caller), "the caller does not end");
    world.request(callee, WorkerRequest::StopNewCalls);
    let end_ns = world.net.now() + 60 * SECOND;
    world.run_until(end_ns, |world| world.is_finished(callee)).unwrap();
    let counters = [caller, callee].map(|side| {
        world.sides[side].check_end(false).unwrap();
        world.sides[side].reported()
    });
    assert!(world.sides[callee].medium().beats >= heard.beats);
    assert_eq!(world.sides[callee].medium().echoed, sent);
    (counters, sent, heard)
}

#[test]
fn a_medium_hears_and_speaks_whatever_carries_the_calls() {
    let websocket = Streams { websocket: true, ..Streams::shared() };
    for streams in [None, Some(Streams::shared()), Some(websocket), Some(Streams::tls())] {
        let ([ours, theirs], sent, heard) = play(streams.as_ref());
        for counters in [&ours, &theirs] {
            let calls = (counters.calls_succeeded, counters.calls_failed);
            assert_eq!(calls, (CALLS, 0), "{counters:?}");
            assert_eq!((counters.parse_errors, counters.drops.total()), (0, 0));
        }
        let has_tls = streams.as_ref().is_some_and(|streams| streams.tls.is_some());
        assert_eq!(theirs.handshakes > 0, has_tls || streams.is_some_and(|s| s.websocket));
        // Calls are made for 300 ms; the peer speaks every 10 ms.
        assert!(sent >= 30, "{sent}");
        assert_eq!(heard.echoes, sent);
        assert!(heard.beats >= 10, "{}", heard.beats);
    }
}

/// A worker on a thread of its own.
struct Running {
    thread: JoinHandle<io::Result<(Counters, u64)>>,
    handle: WorkerHandle,
    /// The address at which the side takes calls.
    address: SocketAddr,
}

/// Starts a worker with a medium on the driver that `make` makes. It ends with its counters, and
/// with the number of datagrams that its medium has sent back.
fn start<D: Driver + 'static>(
    options: &SideOptions,
    make: fn(&DriverConfig) -> io::Result<D>,
    tells: Option<mpsc::Sender<SocketAddr>>,
) -> Running {
    let (launch, medium) = (options.launch(), options.medium);
    let (ready, started) = mpsc::channel();
    let thread = thread::spawn(move || {
        let network = Network::new(make(&launch.driver)?, &launch)?;
        let station = Station::open(network, &launch, &launch.bind).map_err(io::Error::other)?;
        let neighbours = Neighbours::default();
        let (links, handle) =
            wiring::queues(&launch, 0, station.waker(), neighbours, &Undone::new(1));
        ready.send((handle, station.local_addr())).expect("the test waits");
        let begin = Begin { worker: 0, start_ns: sys::monotonic_now(), wall_offset_ns: 0 };
        let mut worker = station.worker(&launch, begin, links, Echo::new(medium, tells))?;
        while worker.turn()? == Turn::Again {}
        Ok((*worker.engine().counters(), worker.medium().echoed))
    });
    match started.recv() {
        Ok((handle, address)) => Running { thread, handle, address },
        Err(_) => panic!("{:?}", thread.join()),
    }
}

/// Plays calls over TLS on loopback while a plain socket talks with a medium of the answerer.
fn play_on<D: Driver + 'static>(make: fn(&DriverConfig) -> io::Result<D>) {
    let loopback: SocketAddr = ([127, 0, 0, 1], 0).into();
    let [mut caller, mut callee] = sides(Some(&Streams::tls()));
    for side in [&mut caller, &mut callee] {
        side.address = loopback;
        side.engine.environment.local_ip = loopback.ip();
        side.engine.environment.media_ip = loopback.ip();
    }
    callee.medium = Some(loopback);
    let (tells, told) = mpsc::channel();
    let mut callee = start(&callee, make, Some(tells));
    let place = told.recv().expect("the medium opens a socket");
    let peer = UdpSocket::bind(loopback).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    caller.engine.environment.remote = Some(callee.address);
    caller.engine.environment.next_hop = Some(callee.address);
    let caller = start(&caller, make, None);
    let (mut sent, mut heard) = (0, Heard::default());
    let mut room = [0; 64];
    while !caller.thread.is_finished() || heard.beats == 0 {
        peer.send_to(format!("ping {sent}").as_bytes(), place).unwrap();
        sent += 1;
        while heard.echoes < sent {
            let (len, source) = peer.recv_from(&mut room).expect("an answer of the medium");
            assert_eq!(source, place);
            heard.take(&room[..len]);
        }
        thread::sleep(Duration::from_millis(1));
    }
    assert!(callee.handle.send(WorkerRequest::StopNewCalls));
    let [(ours, _), (theirs, echoed)] =
        [caller, callee].map(|side| side.thread.join().expect("no panic").expect("a driver"));
    for counters in [ours, theirs] {
        let calls = (counters.calls_succeeded, counters.calls_failed);
        assert_eq!(calls, (CALLS, 0), "{counters:?}");
    }
    assert!(heard.beats > 0);
    assert_eq!((heard.echoes, echoed), (sent, sent));
}

#[test]
fn a_medium_hears_and_speaks_beside_tls_on_io_uring() {
    play_on(UringDriver::new);
}

#[test]
fn a_medium_hears_and_speaks_beside_tls_on_system_calls() {
    play_on(SyscallDriver::new);
}

//! Calls over connections on the simulated network: segments of any length, resets, refusals,
//! reconnection, and peers that break the rules.

use gossipper::dataplane::Reconnect;
use gossipper::engine::StopRequest;
use gossipper::stats::{Counters, DropCause, FailureCause, WithheldCause};
use gossipper_uring::{
    ConnectSpec, Driver, DriverConfig, Event, SimConfig, SimDriver, SocketId, StreamEvent,
};

use crate::harness;
use crate::harness::carrier::Streams;
use crate::harness::rig::{header, request, to_tag};
use crate::harness::scenarios::{builtin, file, inline};
use crate::harness::side::{CALLEE, SideOptions, rate};
use crate::harness::{MS, SECOND, World};

const SEEDS: u64 = 15;

/// A network on which segments have any length up to `segment_max`.
fn network(segment_max: usize) -> SimConfig {
    SimConfig {
        delay_ns_min: MS,
        delay_ns_max: 5 * MS,
        stream_segment_bytes_max: segment_max,
        ..SimConfig::default()
    }
}

fn caller(streams: Streams, calls: u64, per_second: f64) -> SideOptions {
    let mut options = SideOptions::new(builtin("uac")).with(|engine| {
        engine.calls_total = Some(calls);
        engine.arrivals = rate(per_second);
        engine.rules.pause_ms = 50;
    });
    options.streams = Some(streams);
    options
}

fn callee() -> SideOptions {
    let mut options = SideOptions::new(builtin("uas")).with(|engine| {
        engine.seed = 2;
        engine.pool_calls = 512;
    });
    options.streams = Some(Streams::shared());
    options
}

/// Plays until the caller has finished, then ends the callee; returns the counters of both.
fn play(world: &mut World, caller: &SideOptions, callee: &SideOptions) -> [Counters; 2] {
    let callee = world.add(callee);
    let caller = world.add(caller);
    let end_ns = world.net.now() + 300 * SECOND;
    let result = world.run_until(end_ns, |world| world.is_finished(caller));
    result.unwrap_or_else(|problem| panic!("{problem}\n{}", world.log.tail(30)));
    assert!(world.is_finished(caller), "the caller does not end");
    world.request(callee, gossipper::dataplane::WorkerRequest::StopNewCalls);
    let end_ns = world.net.now() + 300 * SECOND;
    world.run_until(end_ns, |world| world.is_finished(callee)).unwrap();
    assert!(world.is_finished(callee), "the callee does not end");
    [caller, callee].map(|side| {
        world.sides[side].check_end(false).unwrap();
        world.sides[side].reported()
    })
}

fn expect_success(counters: &Counters, calls: u64) {
    assert_eq!((counters.calls_succeeded, counters.calls_failed), (calls, 0), "{counters:?}");
    assert_eq!(counters.retransmissions_sent, 0);
    assert_eq!(counters.parse_errors, 0);
}

#[test]
fn calls_share_a_connection_whatever_the_segments() {
    for (seed, segment_max) in (0..SEEDS).zip([1, 2, 7, 50, 300, 1500].into_iter().cycle()) {
        for websocket in [false, true] {
            let mut world = World::new(seed, network(segment_max));
            let mut caller = caller(Streams { websocket, ..Streams::shared() }, 40, 100.0);
            caller.engine.seed = seed;
            let mut callee = callee();
            callee.streams = Some(Streams { websocket, ..Streams::shared() });
            let [ours, theirs] = play(&mut world, &caller, &callee);
            expect_success(&ours, 40);
            expect_success(&theirs, 40);
            assert_eq!((ours.connections_opened, theirs.connections_accepted), (1, 1));
            assert_eq!(ours.handshakes, u64::from(websocket));
        }
    }
}

#[test]
fn each_call_has_a_connection_that_ends_with_it() {
    let mut world = World::new(1, network(500));
    let [ours, theirs] = play(&mut world, &caller(Streams::per_call(64), 100, 200.0), &callee());
    expect_success(&ours, 100);
    expect_success(&theirs, 100);
    assert_eq!((ours.connections_opened, theirs.connections_accepted), (100, 100));
    // The end of the caller's connections reaches the callee each time.
    assert_eq!((ours.connections_lost, theirs.connections_lost), (0, 100));
}

#[test]
fn beyond_the_limit_calls_share_connections_in_turn() {
    let mut world = World::new(1, network(500));
    let mut caller = caller(Streams::per_call(3), 60, 400.0);
    caller.engine.rules.pause_ms = 1000;
    let [ours, theirs] = play(&mut world, &caller, &callee());
    expect_success(&ours, 60);
    expect_success(&theirs, 60);
    // 60 calls within 150 ms that last more than a second: they share the first three.
    assert_eq!((ours.connections_opened, theirs.connections_accepted), (3, 3));
}

/// A caller whose calls close their connection between ACK and BYE.
fn closing(streams: Streams, calls: u64, per_second: f64) -> SideOptions {
    let program = file(include_str!("../scenarios/uac_closecon.xml"));
    SideOptions { program: program.into(), ..caller(streams, calls, per_second) }
}

/// A callee whose calls outlive their connections.
fn patient_callee() -> SideOptions {
    let reconnect = Reconnect { max: Some(0), fails_calls: false, sleep_ns: SECOND };
    SideOptions { streams: Some(Streams { reconnect, ..Streams::shared() }), ..callee() }
}

#[test]
fn a_call_that_closes_its_connection_goes_on_over_a_new_one() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, network(500));
        let [ours, theirs] =
            play(&mut world, &closing(Streams::per_call(64), 100, 200.0), &patient_callee());
        expect_success(&ours, 100);
        expect_success(&theirs, 100);
        assert_eq!((ours.connections_opened, theirs.connections_accepted), (200, 200));
        // Every one is closed by the caller, half of them while their call goes on.
        assert_eq!((ours.connections_lost, theirs.connections_lost), (0, 200));
    }
}

#[test]
fn a_closed_connection_makes_room_for_another_call_at_the_limit() {
    let mut world = World::new(1, network(500));
    let mut caller = closing(Streams::per_call(2), 20, 10.0);
    // The table has no room for a connection beside those two.
    caller.driver.sockets_max = 2;
    let [ours, theirs] = play(&mut world, &caller, &patient_callee());
    expect_success(&ours, 20);
    expect_success(&theirs, 20);
    assert_eq!(ours.connections_opened, 40, "{ours:?}");
}

#[test]
fn the_one_connection_of_all_calls_is_not_closed_for_one() {
    let mut world = World::new(1, network(500));
    let [ours, theirs] = play(&mut world, &closing(Streams::shared(), 60, 100.0), &callee());
    expect_success(&ours, 60);
    expect_success(&theirs, 60);
    assert_eq!((ours.connections_opened, theirs.connections_accepted), (1, 1));
}

#[test]
fn a_call_whose_new_connection_is_refused_fails_by_that() {
    let mut world = World::new(1, network(500));
    let caller = closing(Streams::per_call(8), 5, 100.0);
    let callee = world.add(&patient_callee());
    let mut caller = caller;
    caller.engine.rules.pause_ms = 1000;
    let caller = world.add(&caller);
    let until_ns = world.net.now() + 500 * MS;
    world.run_until(until_ns, |_| false).unwrap();
    assert_eq!(world.sides[callee].active(), 5);
    world.net.set_config(SimConfig { connect_refused_ppm: 1_000_000, ..network(500) });
    let end_ns = world.net.now() + 60 * SECOND;
    world.run_until(end_ns, |world| world.is_finished(caller)).unwrap();
    world.sides[caller].check_end(false).unwrap();
    let counters = world.sides[caller].reported();
    assert_eq!(counters.failures.count(FailureCause::TcpConnect), 5, "{counters:?}");
    assert_eq!(counters.calls_failed, 5);
}

#[test]
fn a_server_that_closes_hears_the_call_again_when_its_peer_comes_back() {
    let mut world = World::new(1, network(100));
    let steps = r#"
        <recv request="INVITE"/>
        <send>@200@</send>
        <recv request="ACK"><action><closecon/></action></recv>
        <recv request="BYE"/>
        <send>@200=@</send>"#;
    let mut callee = SideOptions::new(inline("closer", steps)).with(|engine| {
        engine.calls_total = Some(1);
    });
    callee.streams = Some(Streams::shared());
    let side = world.add(&callee);
    let mut raw = Raw::new(&world, 2);
    raw.say(0, &request("INVITE", "moving", 1, ""));
    raw.run(&mut world, 100);
    let tag = to_tag(raw.heard[0].split("SIP/2.0 200").nth(1).unwrap()).to_owned();
    raw.say(0, &request("ACK", "moving", 1, &tag));
    raw.run(&mut world, 100);
    assert_eq!(raw.closed, [true, false]);
    raw.say(1, &request("BYE", "moving", 2, &tag));
    raw.run(&mut world, 5000);
    assert_eq!(header(&raw.heard[1], "CSeq"), "2 BYE");
    let counters = world.sides[side].counters();
    assert_eq!((counters.calls_succeeded, counters.calls_failed), (1, 0), "{counters:?}");
}

#[test]
fn calls_may_outlive_the_connection_that_their_peer_closes() {
    for (is_patient, outcome) in [(true, (1, 0)), (false, (0, 1))] {
        let mut world = World::new(1, network(100));
        let mut callee = if is_patient { patient_callee() } else { callee() };
        callee.engine.calls_total = Some(1);
        let side = world.add(&callee);
        let mut raw = Raw::new(&world, 2);
        raw.say(0, &request("INVITE", "moving", 1, ""));
        raw.run(&mut world, 100);
        let tag = to_tag(raw.heard[0].split("SIP/2.0 200").nth(1).unwrap()).to_owned();
        raw.say(0, &request("ACK", "moving", 1, &tag));
        raw.run(&mut world, 100);
        raw.driver.close(raw.streams[0]);
        raw.run(&mut world, 100);
        if is_patient {
            raw.say(1, &request("BYE", "moving", 2, &tag));
            raw.run(&mut world, 5000);
        }
        let counters = world.sides[side].counters();
        assert_eq!((counters.calls_succeeded, counters.calls_failed), outcome, "{counters:?}");
    }
}

#[test]
fn a_server_cannot_open_the_connection_that_it_closed() {
    let mut world = World::new(1, network(100));
    let steps = r#"
        <recv request="INVITE"><action><closecon/></action></recv>
        <send>@200@</send>"#;
    let mut callee = SideOptions::new(inline("closer", steps)).with(|engine| {
        engine.calls_total = Some(1);
    });
    callee.streams = Some(Streams::shared());
    let side = world.add(&callee);
    let mut raw = Raw::new(&world, 1);
    raw.say(0, &request("INVITE", "gone", 1, ""));
    raw.run(&mut world, 100);
    assert_eq!(raw.closed, [true]);
    let counters = world.sides[side].counters();
    assert_eq!(counters.failures.count(FailureCause::TcpClosed), 1, "{counters:?}");
}

#[test]
fn a_reset_fails_the_calls_of_its_connection_and_no_others() {
    let mut resets = 0;
    for seed in 0..SEEDS {
        let config =
            SimConfig { stream_reset_ppm: 20_000, connect_refused_ppm: 50_000, ..network(2000) };
        let mut world = World::new(seed, config);
        let mut caller = caller(Streams::per_call(64), 60, 100.0);
        caller.engine.seed = seed;
        let [ours, theirs] = play(&mut world, &caller, &callee());
        for counters in [&ours, &theirs] {
            assert_eq!(counters.calls_started(), counters.calls_succeeded + counters.calls_failed);
            let by_connection = counters.failures.count(FailureCause::TcpClosed)
                + counters.failures.count(FailureCause::TcpConnect);
            assert_eq!(by_connection, counters.calls_failed, "seed {seed}: {counters:?}");
            // One call on each.
            let lost = counters.connections_lost + counters.connections_failed;
            assert!(counters.calls_failed <= lost, "seed {seed}: {counters:?}");
        }
        assert_eq!(ours.calls_started(), 60, "seed {seed}");
        // A call whose connection did not come up, and one that was cut off: each has its cause.
        assert_eq!(
            ours.failures.count(FailureCause::TcpConnect),
            ours.connections_failed,
            "seed {seed}: {ours:?}"
        );
        resets += ours.calls_failed;
    }
    assert!(resets > SEEDS, "{resets} calls failed: the network is too good");
}

#[test]
fn nobody_listens() {
    let mut world = World::new(1, network(500));
    let side = world.add(&caller(Streams::per_call(8), 5, 50.0));
    let end_ns = world.net.now() + 60 * SECOND;
    world.run_until(end_ns, |world| world.is_finished(side)).unwrap();
    let counters = world.sides[side].counters();
    assert_eq!(counters.failures.count(FailureCause::TcpConnect), 5);
    assert_eq!(world.sides[side].stops, []);
}

/// A callee that all calls of a caller reach over one connection, which is then reset.
fn cut(reconnect: Reconnect, pause_ms: u64) -> (World, usize) {
    let mut world = World::new(1, network(500));
    world.add(&callee());
    let mut caller = caller(Streams { reconnect, ..Streams::shared() }, 100, 20.0);
    caller.engine.rules.pause_ms = pause_ms;
    let side = world.add(&caller);
    let until_ns = world.net.now() + SECOND;
    world.run_until(until_ns, |_| false).unwrap();
    assert!(world.sides[side].active() > 0);
    world.net.set_config(SimConfig { stream_reset_ppm: 1_000_000, ..network(500) });
    let until_ns = world.net.now() + 200 * MS;
    world.run_until(until_ns, |_| false).unwrap();
    world.net.set_config(network(500));
    (world, side)
}

#[test]
fn without_its_one_connection_a_run_is_over() {
    let never = Reconnect { max: Some(0), fails_calls: true, sleep_ns: SECOND };
    let (mut world, side) = cut(never, 300);
    let until_ns = world.net.now() + 3 * SECOND;
    world.run_until(until_ns, |_| false).unwrap();
    let [StopRequest::Disconnected(text)] = world.sides[side].stops.as_slice() else {
        panic!("{:?}", world.sides[side].stops)
    };
    assert!(text.contains("192.0.2.2:5060") && text.contains("reset"), "{text}");
    let counters = world.sides[side].counters();
    // Calls in their pause fail when they want to send.
    assert_eq!(world.sides[side].active(), 0);
    assert!(counters.failures.count(FailureCause::TcpClosed) > 0, "{counters:?}");
    assert!(counters.withheld.count(WithheldCause::NoConnection) > 0);
}

#[test]
fn a_lost_connection_is_opened_again_for_new_calls() {
    let always = Reconnect { max: None, fails_calls: true, sleep_ns: SECOND };
    let (mut world, side) = cut(always, 300);
    let end_ns = world.net.now() + 60 * SECOND;
    world.run_until(end_ns, |world| world.is_finished(side)).unwrap();
    assert!(world.is_finished(side));
    assert_eq!(world.sides[side].stops, []);
    world.sides[side].check_end(false).unwrap();
    let counters = world.sides[side].reported();
    assert_eq!(counters.reconnects, 1);
    assert_eq!(counters.calls_started(), 100);
    let cut_off = counters.failures.count(FailureCause::TcpClosed);
    assert_eq!(counters.calls_failed, cut_off, "{counters:?}");
    assert!(cut_off > 0 && counters.calls_succeeded > 60, "{counters:?}");
    // A second without connection at 20 calls a second.
    let withheld = counters.withheld.count(WithheldCause::NoConnection);
    assert!((15..=25).contains(&withheld), "{withheld}");
}

#[test]
fn calls_go_on_over_the_new_connection_if_so_wanted() {
    let always = Reconnect { max: Some(3), fails_calls: false, sleep_ns: 100 * MS };
    // Calls that pause while the connection is gone have nothing to lose.
    let (mut world, side) = cut(always, 3000);
    let end_ns = world.net.now() + 60 * SECOND;
    world.run_until(end_ns, |world| world.is_finished(side)).unwrap();
    let counters = world.sides[side].counters();
    assert!(counters.calls_succeeded >= 15, "{counters:?}");
    assert_eq!(counters.failures.count(FailureCause::TcpClosed), 0, "{counters:?}");
}

/// A peer on connections that sends any bytes.
struct Raw {
    driver: SimDriver,
    streams: Vec<SocketId>,
    heard: Vec<String>,
    closed: Vec<bool>,
}

impl Raw {
    /// A peer with `connections` to our callee.
    fn new(world: &World, connections: usize) -> Self {
        let mut driver = SimDriver::new(&world.net, &DriverConfig::default()).unwrap();
        let streams: Vec<_> = (0..connections)
            .map(|_| driver.connect(&ConnectSpec::new(CALLEE)).expect("a free port"))
            .collect();
        let heard = vec![String::new(); connections];
        Self { driver, streams, heard, closed: vec![false; connections] }
    }

    fn say(&mut self, connection: usize, text: &str) {
        self.driver.stream_write(self.streams[connection], text.as_bytes()).expect("room");
    }

    /// Lets time pass.
    fn run(&mut self, world: &mut World, ms: u64) {
        let end_ns = world.net.now() + ms * MS;
        while world.net.now() < end_ns {
            self.driver.turn(0).unwrap();
            let Self { driver, streams, heard, closed } = self;
            let _ = driver.drain(|event, _| {
                let place = |socket| streams.iter().position(|&stream| stream == socket).unwrap();
                match event {
                    Event::Stream(StreamEvent::Data { socket, bytes, .. }) => {
                        heard[place(socket)].push_str(&String::from_utf8_lossy(bytes));
                    }
                    Event::Stream(StreamEvent::Closed { socket, .. }) => {
                        closed[place(socket)] = true;
                    }
                    _ => {}
                }
                std::ops::ControlFlow::Continue(())
            });
            let step_ns = (world.net.now() + MS).min(end_ns);
            world.run_until(step_ns, |_| false).unwrap();
        }
    }
}

/// Two callers on a connection each, established; the second one then sends `nonsense`.
fn one_of_two(nonsense: &str, wait_ms: u64) -> (World, usize, Raw) {
    let mut world = World::new(1, network(100));
    let mut callee = callee();
    callee.engine.calls_total = Some(2);
    let side = world.add(&callee);
    let mut raw = Raw::new(&world, 2);
    for (connection, call_id) in ["good", "bad"].into_iter().enumerate() {
        raw.say(connection, &request("INVITE", call_id, 1, ""));
    }
    raw.run(&mut world, 100);
    for (heard, other) in raw.heard.iter().zip(["bad", "good"]) {
        // Each receives messages of its own call only.
        assert_eq!(heard.matches("SIP/2.0 200").count(), 1, "{heard}");
        assert!(!heard.contains(other), "{heard}");
    }
    raw.say(1, nonsense);
    raw.run(&mut world, wait_ms);
    let tag = to_tag(raw.heard[0].split("SIP/2.0 200").nth(1).unwrap()).to_owned();
    raw.say(0, &request("ACK", "good", 1, &tag));
    raw.say(0, &request("BYE", "good", 2, &tag));
    raw.run(&mut world, 5000);
    (world, side, raw)
}

fn expect_one_broken(world: &mut World, side: usize, cause: FailureCause, drop: Option<DropCause>) {
    let counters = world.sides[side].counters();
    assert_eq!((counters.calls_succeeded, counters.calls_failed), (1, 1), "{counters:?}");
    assert_eq!(counters.failures.count(cause), 1, "{counters:?}");
    for known in DropCause::ALL {
        let expected = u64::from(drop == Some(*known));
        assert_eq!(counters.drops.count(*known), expected, "{known:?}");
    }
}

#[test]
fn a_message_without_length_breaks_its_stream_only() {
    let nonsense = "BYE sip:a@b SIP/2.0\r\nCall-ID: bad\r\n\r\n";
    let (mut world, side, _) = one_of_two(nonsense, 100);
    let drop = DropCause::MissingContentLength;
    expect_one_broken(&mut world, side, FailureCause::StreamBroken, Some(drop));
}

#[test]
fn a_message_that_is_too_long_breaks_its_stream_only() {
    let nonsense = "BYE sip:a@b SIP/2.0\r\nContent-Length: 99999999\r\n\r\n";
    let (mut world, side, _) = one_of_two(nonsense, 100);
    let drop = DropCause::MessageTooLong;
    expect_one_broken(&mut world, side, FailureCause::StreamBroken, Some(drop));
}

#[test]
fn a_message_that_never_ends_is_given_up() {
    let (mut world, side, _) = one_of_two("BYE sip:a@b SIP/2.0\r\nCall-ID: bad\r\n", 33_000);
    let drop = DropCause::SlowMessage;
    expect_one_broken(&mut world, side, FailureCause::StreamBroken, Some(drop));
}

#[test]
fn a_malformed_message_of_known_length_breaks_nothing() {
    let nonsense = "BYE sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n";
    let (world, side, raw) = one_of_two(nonsense, 100);
    let counters = world.sides[side].counters();
    assert_eq!((counters.calls_succeeded, counters.calls_failed), (1, 0), "{counters:?}");
    assert_eq!(counters.drops.count(DropCause::MissingCallId), 1);
    // The answer of RFC 3261 section 21.4.1 needs a Via that says how to send it: there is none.
    assert_eq!(raw.heard[1].matches("SIP/2.0 4").count(), 0);
}

#[test]
fn an_answer_leaves_on_the_connection_that_the_request_came_by() {
    let mut world = World::new(1, network(100));
    let mut callee = callee();
    callee.engine.calls_total = Some(1);
    let side = world.add(&callee);
    let mut raw = Raw::new(&world, 2);
    raw.say(0, &request("INVITE", "moving", 1, ""));
    raw.run(&mut world, 100);
    let tag = to_tag(raw.heard[0].split("SIP/2.0 200").nth(1).unwrap()).to_owned();
    raw.say(0, &request("ACK", "moving", 1, &tag));
    raw.run(&mut world, 100);
    raw.say(1, &request("BYE", "moving", 2, &tag));
    raw.run(&mut world, 100);
    assert_eq!(header(&raw.heard[1], "CSeq"), "2 BYE");
    // The first connection has no importance any more.
    raw.driver.abort(raw.streams[0]);
    raw.run(&mut world, 5000);
    let counters = world.sides[side].counters();
    assert_eq!(counters.calls_succeeded, 1, "{counters:?}");
}

/// A caller that floods a callee with ten messages of 60 KiB, over a path that takes 4 KiB at a
/// time; returns the world and the sides of caller and callee.
fn flood(send_timeout_ms: u64) -> (World, usize, usize) {
    let filler = "x".repeat(60_000);
    let message = format!(
        "<send><![CDATA[\nMESSAGE sip:a@b SIP/2.0\nVia: SIP/2.0/[transport] \
         [local_ip]:[local_port];branch=[branch]\nFrom: <sip:a@b>;tag=[call_number]\nTo: \
         <sip:b@c>\nCall-ID: [call_id]\nCSeq: 1 MESSAGE\nContent-Length: [len]\n\n{filler}\n\
         ]]></send>"
    );
    let steps = message.repeat(10) + "<recv response=\"200\"/>";
    let mut caller = SideOptions::new(harness::scenarios::spelled_out("flood", &steps));
    caller.engine.rules.send_timeout_ms = send_timeout_ms;
    let steps = r#"<recv request="MESSAGE"/>"#.repeat(10);
    let mut callee = SideOptions::new(inline("sink", &steps));
    for options in [&mut caller, &mut callee] {
        options.engine.blob_bytes_max = 64 << 20;
        options.streams = Some(Streams::shared());
    }
    let config = SimConfig { stream_window_bytes: 4096, ..network(4096) };
    let mut world = World::new(1, config);
    let callee = world.add(&callee);
    let caller = world.add(&caller);
    (world, caller, callee)
}

#[test]
fn a_full_connection_makes_calls_wait() {
    let (mut world, caller, callee) = flood(0);
    let end_ns = world.net.now() + 60 * SECOND;
    world
        .run_until(end_ns, |world| world.sides[callee].counters().requests_received == 10)
        .unwrap();
    let counters = world.sides[caller].counters();
    assert_eq!(world.sides[callee].counters().requests_received, 10, "{counters:?}");
    assert!(counters.sends_congested > 0, "{counters:?}");
    assert_eq!(counters.calls_failed, 0, "{counters:?}");
}

#[test]
fn a_connection_that_stays_full_fails_calls_by_their_send_timeout() {
    let (mut world, caller, callee) = flood(500);
    let until_ns = world.net.now() + 60 * SECOND;
    world.sides[callee].stall(until_ns);
    world.run_until(until_ns - SECOND, |world| world.sides[caller].active() == 0).unwrap();
    let counters = world.sides[caller].counters();
    assert_eq!(counters.failures.count(FailureCause::SendTimeout), 1, "{counters:?}");
    assert_eq!(counters.calls_failed, 1, "{counters:?}");
}

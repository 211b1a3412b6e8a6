//! Once warm, a call costs no allocation, in either role: memory comes from pools sized at start.
//!
//! A caller's and an answerer's engine exchange messages through buffers that are reused. Only the
//! allocations inside the engines are counted.

use std::sync::Arc;

use gossipper::dataplane::{Arrival, Network, Reconnect, StreamsConfig};
use gossipper::engine::{Engine, Generations, Handled, Incoming, Input, Programs, Sockets, Swap};
use gossipper::scenario::Program;
use gossipper::stats::{Counters, Layout, Report, TraceKind};
use gossipper::stream::{Limits, SessionConfig};
use gossipper::trace::{Kinds, Protocol, each_record};
use gossipper_uring::{
    Driver, DriverConfig, Event, SimConfig, SimDriver, SimNet, SocketId, SyscallDriver, TxArena,
    TxOrder,
};

use crate::counter::{counted, so_far};
use crate::harness::scenarios::{builtin, expand, spelled_out};
use crate::harness::side::{SideOptions, layout, rate};
use crate::harness::{MS, SECOND};

/// An engine with a simulated socket; the socket's allocations are not counted.
struct Party {
    engine: Engine,
    driver: SimDriver,
    socket: SocketId,
    allocations: u64,
    is_traced: bool,
    /// Number of records that the engine made.
    records: u64,
    generations: Generations,
}

impl Party {
    fn new(net: &SimNet, options: &SideOptions) -> Self {
        let mut driver = SimDriver::new(net, &DriverConfig::default()).expect("memory");
        let spec = gossipper::dataplane::sip_socket(options.address, 0, false);
        let socket = driver.open(&spec).expect("a free port");
        let layout: Layout = layout(&options.program);
        let mut config = options.engine.clone();
        config.start_ns = net.now();
        config.environment.local_port = Some(options.address.port());
        let is_traced = !config.trace.is_none();
        let programs = Programs::from(Arc::clone(&options.program));
        let mut engine = Engine::new(programs.clone(), &layout, config.clone());
        engine.set_sockets(Sockets::Shared(socket));
        let generations = Generations::new(programs, Arc::new(layout), &config, 1, false);
        Self { engine, driver, socket, allocations: 0, is_traced, records: 0, generations }
    }

    /// Makes new calls follow another program.
    fn exchange(&mut self, program: Program) {
        let programs = Programs::from(Arc::new(program));
        let layout = self.generations.advance(programs.clone(), &[]).expect("it fits");
        let reports = vec![Box::new(Report::new(&layout, 0))];
        let mut swap = Swap { programs, layout, hosts: Vec::new(), reports, stale: Vec::new() };
        assert!(self.engine.swap(&mut swap).is_some());
    }

    /// Does the work of one turn of a worker.
    fn turn(&mut self, now: u64) {
        let before = so_far();
        counted(|| self.engine.handle(Input::Flushed, now, self.driver.tx()));
        self.driver.turn(0).expect("a simulated driver does not fail");
        let (engine, socket) = (&mut self.engine, self.socket);
        let _ = self.driver.drain(|event, tx| {
            let Event::Datagram { source, payload, received_ns, .. } = event else {
                panic!("nothing is refused here")
            };
            let datagram = Incoming { socket, source, payload, received_ns, is_final: false };
            let handled = counted(|| engine.handle(Input::Datagram(datagram), now, tx));
            assert_eq!(handled, Handled::Done);
            std::ops::ControlFlow::Continue(())
        });
        let tx = self.driver.tx();
        counted(|| {
            for input in [
                Input::Resume,
                Input::Timers { reserve: 64 },
                Input::Arrivals { lead_ns: 0, reserve: 64 },
            ] {
                assert_eq!(self.engine.handle(input, now, tx), Handled::Done);
            }
            assert!(self.engine.next_effect().is_none());
        });
        let records = &mut self.records;
        counted(|| {
            self.engine.tracer_mut().hand_on(|bytes| {
                each_record(bytes, |_, _| *records += 1);
                true
            });
        });
        self.allocations += so_far() - before;
    }

    /// Ends the warm-up, in which the pools grow to their working size; returns the counters.
    fn begin(&mut self) -> Counters {
        self.allocations = 0;
        *self.engine.counters()
    }
}

/// Plays calls at a steady rate: a warm-up, then `seconds` that are counted.
fn steady(caller: SideOptions, callee: SideOptions, seconds: u64) -> [(u64, Counters); 2] {
    steady_with(caller, callee, seconds, None)
}

/// Like [`steady`]; within the warm-up both sides change to other programs.
fn steady_with(
    mut caller: SideOptions,
    mut callee: SideOptions,
    seconds: u64,
    mut others: Option<[Program; 2]>,
) -> [(u64, Counters); 2] {
    for side in [&mut caller, &mut callee] {
        side.engine.pool_calls = 4096;
        side.engine.dead_calls_max = 1 << 16;
        side.engine.blob_bytes_max = 16 << 20;
        side.engine.rules.pause_ms = 100;
    }
    caller.engine.calls_total = None;
    caller.engine.arrivals = rate(200.0);
    callee.engine.seed = 2;
    let net =
        SimNet::new(1, SimConfig { delay_ns_min: MS, delay_ns_max: MS, ..SimConfig::default() });
    let mut parties = [Party::new(&net, &caller), Party::new(&net, &callee)];
    let begin = net.now();
    let mut before = [Counters::default(); 2];
    let warm_ns = begin + 10 * SECOND;
    let end_ns = warm_ns + seconds * SECOND;
    let mut warm = false;
    while net.now() < end_ns {
        if !warm && net.now() >= warm_ns {
            warm = true;
            before = [parties[0].begin(), parties[1].begin()];
        }
        if net.now() >= begin + 3 * SECOND
            && let Some(others) = others.take()
        {
            parties.iter_mut().zip(others).for_each(|(party, other)| party.exchange(other));
        }
        for party in &mut parties {
            party.turn(net.now());
            // Staged messages leave at once.
            party.driver.turn(0).expect("a simulated driver does not fail");
        }
        net.advance_to(net.now() + MS / 2);
    }
    let [caller, callee] = &parties;
    [(caller, before[0]), (callee, before[1])].map(|(party, before)| {
        party.engine.check_invariants().expect("sound");
        assert_eq!(party.is_traced, party.records > 1000);
        (party.allocations, party.engine.counters().since(&before))
    })
}

#[test]
fn a_call_allocates_nothing_on_either_side() {
    let sides = steady(SideOptions::new(builtin("uac")), SideOptions::new(builtin("uas")), 10);
    for (who, (allocations, counters)) in ["caller", "callee"].into_iter().zip(sides) {
        assert!(counters.calls_succeeded >= 1900, "{who}: {counters:?}");
        assert_eq!(counters.calls_failed, 0, "{who}");
        assert_eq!(allocations, 0, "{who}, in {} calls", counters.calls_succeeded);
    }
}

#[test]
fn a_call_allocates_nothing_once_programs_were_exchanged() {
    let others = [builtin("uac"), builtin("uas")];
    let (caller, callee) = (SideOptions::new(builtin("regexp")), SideOptions::new(builtin("uas")));
    let sides = steady_with(caller, callee, 10, Some(others));
    for (who, (allocations, counters)) in ["caller", "callee"].into_iter().zip(sides) {
        assert!(counters.calls_succeeded >= 1900, "{who}: {counters:?}");
        assert_eq!(counters.calls_failed, 0, "{who}");
        assert_eq!(allocations, 0, "{who}, in {} calls", counters.calls_succeeded);
    }
}

#[test]
fn a_call_through_routers_allocates_nothing() {
    let caller = expand(
        r#"<send retrans="500">@INVITE@</send>
        <recv response="200" rrs="true"/>
        <send>@ACK@</send>
        <send retrans="500">@BYE@</send>
        <recv response="200"/>"#,
    );
    let callee = expand(
        r#"<recv request="INVITE" rrs="true"/><send retrans="500">@200@</send>
        <recv request="ACK"/><recv request="BYE"/><send>@200=@</send>"#,
    );
    let routes = "Record-Route: <sip:far.example>, <sip:near.example;lr>\nContact";
    let caller = spelled_out("caller", &caller.replace("Max-Forwards", "[routes]\nMax-Forwards"));
    let callee = spelled_out("callee", &callee.replace("Contact", routes));
    let sides = steady(SideOptions::new(caller), SideOptions::new(callee), 10);
    for (who, (allocations, counters)) in ["caller", "callee"].into_iter().zip(sides) {
        assert!(counters.calls_succeeded >= 1900, "{who}: {counters:?}");
        assert_eq!(counters.calls_failed, 0, "{who}");
        assert_eq!(allocations, 0, "{who}, in {} calls", counters.calls_succeeded);
    }
}

/// One end of a connection over loopback.
fn network() -> Network<SyscallDriver> {
    let config = StreamsConfig {
        session: SessionConfig::new(None, false, Limits::default()),
        reconnect: Reconnect { max: Some(0), fails_calls: true, sleep_ns: SECOND },
        per_call: false,
        connections_max: 4,
        tx_slots: (64, 4),
    };
    let driver = SyscallDriver::new(&DriverConfig::default()).expect("sockets");
    Network::with(driver, Some(config)).expect("memory")
}

/// Stages a message as a worker does.
fn say(tx: &mut TxArena, to: SocketId, message: &[u8]) {
    let slot = tx.reserve(message.len()).expect("a free slot");
    tx.buffer(&slot)[..message.len()].copy_from_slice(message);
    let (nobody, mut order) = (([127, 0, 0, 1], 9).into(), TxOrder::default());
    tx.commit(slot, message.len(), to, nobody, u64::MAX, &mut order);
}

#[test]
fn a_message_over_tcp_allocates_nothing() {
    const MESSAGE: &[u8] =
        b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: x\r\nContent-Length: 4\r\n\r\nbody";
    const WARM: u64 = 200;
    let (mut client, mut server) = (network(), network());
    let any = ([127, 0, 0, 1], 0).into();
    let listener = server.open_sip(&gossipper::dataplane::sip_socket(any, 0, false)).unwrap();
    let mut spec = gossipper::dataplane::sip_socket(any, 0, false);
    spec.remote = Some(server.sip_addr(listener));
    let connection = client.open_sip(&spec).unwrap();
    let (mut echoed, mut before) = (0, 0);
    say(client.sip_tx(), connection, MESSAGE);
    while echoed < WARM + 2_000 {
        if echoed == WARM {
            before = so_far();
        }
        counted(|| {
            for end in [&mut client, &mut server] {
                let deadline = end.now() + MS;
                end.turn_gathering(0, deadline).expect("loopback works");
                let _ = end.drain(|arrival, tx| {
                    if let Arrival::Message(Incoming { socket, payload, .. }) = arrival {
                        assert_eq!(payload, MESSAGE);
                        echoed += u64::from(socket == connection);
                        say(tx, socket, payload);
                    }
                    std::ops::ControlFlow::Continue(())
                });
                while end.take_connection_event().is_some() {}
            }
        });
    }
    assert_eq!(so_far() - before, 0, "in 2000 messages each way");
}

#[test]
fn recording_everything_allocates_nothing() {
    let [caller, callee] = ["uac", "uas"].map(|name| {
        let options = SideOptions::new(builtin(name));
        options.with(|engine| engine.trace = Kinds::of(TraceKind::ALL))
    });
    for (who, (allocations, counters)) in
        ["caller", "callee"].into_iter().zip(steady(caller, callee, 10))
    {
        assert!(counters.calls_succeeded >= 1900, "{who}: {counters:?}");
        assert_eq!(counters.trace_drops.total(), 0, "{who}");
        assert_eq!(allocations, 0, "{who}, in {} calls", counters.calls_succeeded);
    }
}

#[test]
fn a_call_that_fails_allocates_nothing() {
    let caller =
        expand(r#"<send retrans="500">@INVITE@</send><recv response="200"/><send>@ACK@</send>"#);
    let callee = expand(
        r#"<recv request="INVITE"/><send retrans="500">@200@</send>
        <recv request="ACK"/><recv request="BYE" timeout="50"/>"#,
    );
    let caller = SideOptions::new(spelled_out("caller", &caller));
    let callee = SideOptions::new(spelled_out("callee", &callee));
    let [_, (allocations, counters)] = steady(caller, callee, 10);
    assert!(counters.calls_failed >= 1900, "{counters:?}");
    assert_eq!(allocations, 0, "in {} calls", counters.calls_failed);
}

#[test]
fn expressions_and_variables_allocate_nothing() {
    let sides = steady(SideOptions::new(builtin("regexp")), SideOptions::new(builtin("uas")), 10);
    for (who, (allocations, counters)) in ["caller", "callee"].into_iter().zip(sides) {
        assert!(counters.calls_succeeded >= 1800, "{who}: {counters:?}");
        assert_eq!(counters.calls_failed, 0, "{who}");
        assert_eq!(allocations, 0, "{who}, in {} calls", counters.calls_succeeded);
    }
}

#[test]
fn a_call_over_a_connection_allocates_nothing() {
    let over_tcp = |name: &str| {
        let mut side = SideOptions::new(builtin(name));
        side.engine.environment.protocol = Protocol::Tcp;
        side
    };
    let sides = steady(over_tcp("uac"), over_tcp("uas"), 10);
    for (who, (allocations, counters)) in ["caller", "callee"].into_iter().zip(sides) {
        assert!(counters.calls_succeeded >= 1900, "{who}: {counters:?}");
        assert_eq!(allocations, 0, "{who}, in {} calls", counters.calls_succeeded);
    }
}

#[test]
fn a_ping_allocates_nothing_on_either_side() {
    let callee = SideOptions::new(builtin("management"));
    let sides = steady(SideOptions::new(builtin("options")), callee, 10);
    for (who, (allocations, counters)) in ["caller", "callee"].into_iter().zip(sides) {
        assert!(counters.calls_succeeded >= 1900, "{who}: {counters:?}");
        assert_eq!(allocations, 0, "{who}, in {} calls", counters.calls_succeeded);
    }
}

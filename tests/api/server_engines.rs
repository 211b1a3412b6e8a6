//! Several engines in one process: they call each other over the loopback interface, and are
//! watched and steered through the registry.

use std::time::{Duration, Instant};

use gossipper::config::{
    CallRules, Flavor, HostPort, ListenerSpec, RunConfig, RunDraft, Transport,
};
use gossipper::control::{NewScenario, Phase, Policy, Published, Rate, Refusal, Request, Told};
use gossipper::output::Summary;
use gossipper::server::engines::{
    DYNAMIC_MAX, DynamicError, EngineHandle, EngineKind, EngineSpec, ForgetError, Registry,
    STATIC_MAX, StartError,
};
use gossipper::stats::{DeltaSum, FailureCause, Source};

/// The time after which a test that hangs is ended; generous for slow machines.
const LIMIT: Duration = Duration::from_secs(60);

fn draft() -> RunDraft {
    RunDraft {
        local_ip: Some([127, 0, 0, 1].into()),
        local_port: Some(0),
        calls_total: Some(0),
        pool_calls: Some(2_000),
        ..RunDraft::default()
    }
}

fn uas() -> RunConfig {
    let draft = RunDraft { scenario_name: Some("uas".to_owned()), ..draft() };
    draft.resolve(Flavor::Gossipper).unwrap()
}

/// A caller to `port`, `rate` calls per second, each of which lasts `pause_ms`.
fn uac_with(port: u16, rate: f64, pause_ms: u64, change: impl FnOnce(&mut RunDraft)) -> RunConfig {
    let mut draft = RunDraft {
        scenario_name: Some("uac".to_owned()),
        remote: Some(HostPort { host: "127.0.0.1".to_owned(), port }),
        rate: Some(rate),
        rules: CallRules { pause_ms, ..CallRules::default() },
        ..draft()
    };
    change(&mut draft);
    draft.resolve(Flavor::Gossipper).unwrap()
}

fn uac(port: u16, rate: f64) -> RunConfig {
    uac_with(port, rate, 0, |_| ())
}

fn spec(id: &str, kind: EngineKind, run: RunConfig) -> EngineSpec {
    EngineSpec { id: id.to_owned(), kind, listeners: Vec::new(), run }
}

/// A registry with one engine that answers calls, and its port.
fn answering() -> (Registry, u16) {
    let specs = vec![spec("answer", EngineKind::Primary, uas())];
    let registry = Registry::start(specs, Policy::default()).unwrap();
    let port = registry.get("primary").unwrap().state().listeners[0].local_port;
    (registry, port)
}

/// Waits until `is_so` holds for the state of an engine.
fn until(engine: &EngineHandle, what: &str, is_so: impl Fn(&Published) -> bool) {
    let end = Instant::now() + LIMIT;
    while !is_so(&engine.state()) {
        let state = engine.state();
        assert!(Instant::now() < end, "{} is not {what}: {state:#?}", engine.id());
        assert!(!matches!(state.phase, Phase::Failed { .. }), "{:?}", state.phase);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for a snapshot of a later second.
fn a_second_later(engine: &EngineHandle) {
    let before = engine.state().snapshot.elapsed_ns;
    until(engine, "a second older", |state| state.snapshot.elapsed_ns >= before + 1_000_000_000);
}

fn is_finished(state: &Published) -> bool {
    matches!(state.phase, Phase::Finished { .. })
}

#[test]
fn engines_of_one_process_call_each_other() {
    let (registry, port) = answering();
    let id = registry.start_dynamic(Some("load".to_owned()), uac(port, 50.0)).unwrap();
    assert_eq!(id, "load");
    let (answer, load) = (registry.get("answer").unwrap(), registry.get("load").unwrap());
    until(&load, "calling", |state| state.snapshot.calls.succeeded > 50);
    until(&answer, "answering", |state| state.snapshot.calls.succeeded > 50);
    // Workers report once a second; figures are told more often.
    until(&load, "between two reports", |state| {
        (300_000_000..700_000_000).contains(&(state.snapshot.elapsed_ns % 1_000_000_000))
    });

    let state = load.state();
    assert_eq!(state.phase, Phase::Running);
    let calls = state.snapshot.calls;
    assert_eq!(calls.started, calls.succeeded + calls.failed + calls.active);
    assert_eq!((state.rate, state.is_paused, state.is_client), (50.0, false, true));
    let client = state.client.as_ref().unwrap();
    assert_eq!(client.remote_addr, format!("127.0.0.1:{port}"));
    assert_eq!((client.transport, client.accepting), (Transport::UdpMono, true));
    assert!(client.local_port != 0 && state.listeners.is_empty());
    assert_eq!((state.scenario.builtin, state.scenario.file.as_ref()), (true, None));
    assert!(state.scenario.xml.contains("INVITE"), "{}", state.scenario.xml);
    assert_eq!(state.summary().total_calls, state.snapshot.calls.started);
    assert_ne!(state.run_id, answer.state().run_id);
    let kinds: Vec<_> = registry.engines().iter().map(EngineHandle::kind).collect();
    assert_eq!(kinds, [EngineKind::Primary, EngineKind::Dynamic]);
    assert!(registry.data_plane_alive());
    let state = answer.state();
    assert!(state.client.is_none() && !state.is_client && state.listeners[0].enabled);

    let shutdown = registry.shutdown(LIMIT);
    assert!(shutdown.in_time, "{:?}", registry.engines());
    assert_eq!(shutdown.code, 0);
    assert!(registry.engines().iter().all(|engine| is_finished(&engine.state())));
    let refused = registry.start_dynamic(None, uac(port, 1.0));
    assert_eq!(refused, Err(DynamicError::ShuttingDown));
}

#[test]
fn rate_and_pause_change_while_calls_go_on() {
    let (registry, port) = answering();
    registry.start_dynamic(Some("load".to_owned()), uac(port, 5.0)).unwrap();
    let load = registry.get("load").unwrap();
    load.ask(Request::SetRate(Rate::per_second(200.0))).unwrap();
    // The state shows the change as soon as the request is answered.
    assert_eq!(load.state().rate, 200.0);
    until(&load, "faster", |state| state.snapshot.rate.target_now == 200.0);
    until(&load, "calling", |state| {
        state.snapshot.last_second.is_some_and(|second| second.calls_started > 150)
    });

    load.ask(Request::SetPaused(true)).unwrap();
    let state = load.state();
    assert_eq!((state.phase.clone(), state.is_paused), (Phase::Paused, true));
    assert!(!state.client.as_ref().unwrap().accepting);
    a_second_later(&load);
    let started = load.state().snapshot.calls.started;
    a_second_later(&load);
    assert_eq!(load.state().snapshot.calls.started, started);

    load.ask(Request::SetPaused(false)).unwrap();
    until(&load, "calling again", |state| state.snapshot.calls.started > started);
    for rate in [-1.0, f64::NAN, f64::INFINITY, 1e12] {
        assert!(
            matches!(load.ask(Request::SetRate(Rate::per_second(rate))), Err(Refusal::Invalid(_))),
            "{rate}"
        );
    }
    let answer = registry.get("answer").unwrap();
    assert!(matches!(
        answer.ask(Request::SetRate(Rate::per_second(1.0))),
        Err(Refusal::Refused(_))
    ));
    assert!(matches!(load.ask(Request::SetUsers(1)), Err(Refusal::Refused(_))));
    load.ask(Request::ResetStats).unwrap();
    assert!(load.state().snapshot.calls.started < started);
    registry.shutdown(LIMIT);
}

#[test]
fn the_deltas_of_engines_add_up_to_what_they_have_done() {
    let (registry, port) = answering();
    let answer = registry.get("answer").unwrap();
    let source = |name: &str| Source::try_from(name.to_owned()).unwrap();
    let mut deltas = vec![answer.listen(source("answer")).unwrap()];
    // Both make the same calls, so that their figures are of one layout.
    for id in ["one", "two"] {
        let run = uac_with(port, 50.0, 0, |draft| draft.calls_total = Some(60));
        registry.start_dynamic(Some(id.to_owned()), run).unwrap();
        deltas.push(registry.get(id).unwrap().listen(source(id)).unwrap());
    }
    let (one, two) = (registry.get("one").unwrap(), registry.get("two").unwrap());
    let Some(Told::Layout(layout)) = one.tell(Request::TellLayout).unwrap() else {
        panic!("no layout")
    };
    assert_eq!((layout.id(), one.state().layout), (two.state().layout, layout.id()));
    let Some(Told::Calls(calls)) = two.tell(Request::TellCalls).unwrap() else {
        panic!("no calls")
    };
    assert!(calls.started <= 60, "{calls:?}");
    until(&one, "over", is_finished);
    until(&two, "over", is_finished);
    registry.shutdown(LIMIT);
    // Taken late: what had no room came with what followed.
    let mut sum = DeltaSum::default();
    for delta in deltas.into_iter().flatten() {
        sum.add(&delta).unwrap();
    }
    let figures = &sum.figures()[&layout.id()];
    // Calls that were made before anybody listened are not in it.
    let listened = figures.counters.calls_succeeded;
    assert!((1..=120).contains(&listened), "{listened}");
    assert_eq!(figures.call_length.count(), listened);
    let histograms = figures.histograms(&layout).unwrap();
    assert!(histograms.call_length.quantile_ns(0.99) > 0);
    assert_eq!(sum.sources().len(), 3);
    let answered = &sum.figures()[&answer.state().layout];
    assert_eq!(answered.counters.calls_succeeded, answer.state().snapshot.calls.succeeded);
}

#[test]
fn a_sleeping_worker_is_woken_for_a_new_rate() {
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(LIMIT)).unwrap();
    let port = peer.local_addr().unwrap().port();
    let specs = vec![spec("load", EngineKind::Primary, uac(port, 0.0))];
    let registry = Registry::start(specs, Policy::default()).unwrap();
    let load = registry.primary().unwrap();
    load.ask(Request::SetRate(Rate::per_second(1000.0))).unwrap();
    let mut message = [0; 2048];
    let len = peer.recv(&mut message).unwrap();
    assert!(message[..len].starts_with(b"INVITE sip:service@127.0.0.1"));
    registry.shutdown(Duration::from_secs(1));
}

#[test]
fn users_and_the_limit_of_open_calls_change() {
    let (registry, port) = answering();
    let run = uac_with(port, 1.0, 50, |draft| {
        draft.rate = None;
        draft.users = Some(2);
    });
    registry.start_dynamic(Some("users".to_owned()), run).unwrap();
    let users = registry.get("users").unwrap();
    until(&users, "calling", |state| state.snapshot.calls.started > 2);
    assert_eq!((users.state().users, users.state().rate), (Some(2), 0.0));
    users.ask(Request::SetUsers(9)).unwrap();
    assert_eq!(users.state().users, Some(9));
    until(&users, "more", |state| state.snapshot.peak_active == 9);

    let run = uac_with(port, 500.0, 100, |draft| draft.concurrent_max = Some(3));
    registry.start_dynamic(Some("limited".to_owned()), run).unwrap();
    let limited = registry.get("limited").unwrap();
    until(&limited, "at its limit", |state| state.snapshot.peak_active == 3);
    limited.ask(Request::SetCallLimit(11)).unwrap();
    assert_eq!(limited.state().call_limit, Some(11));
    until(&limited, "at its new limit", |state| state.snapshot.peak_active == 11);
    registry.shutdown(LIMIT);
}

#[test]
fn the_number_of_calls_to_make_changes() {
    let (registry, port) = answering();
    registry.start_dynamic(Some("counted".to_owned()), uac(port, 0.0)).unwrap();
    let counted = registry.get("counted").unwrap();
    counted.ask(Request::SetCallsTotal(Some(5))).unwrap();
    counted.ask(Request::SetRate(Rate::per_second(200.0))).unwrap();
    until(&counted, "finished", is_finished);
    let calls = counted.state().snapshot.calls;
    assert_eq!((calls.started, calls.succeeded), (5, 5), "{calls:?}");
    registry.shutdown(LIMIT);
}

#[test]
fn a_drained_engine_lets_its_calls_finish_and_a_stopped_one_ends_them() {
    let (registry, port) = answering();
    let run = uac_with(port, 100.0, 700, |_| ());
    registry.start_dynamic(Some("drained".to_owned()), run).unwrap();
    let drained = registry.get("drained").unwrap();
    until(&drained, "calling", |state| state.snapshot.calls.active > 10);
    drained.ask(Request::Drain).unwrap();
    assert!(matches!(drained.state().phase, Phase::Draining | Phase::Finished { .. }));
    until(&drained, "finished", is_finished);
    let state = drained.state();
    let calls = state.snapshot.calls;
    assert_eq!((calls.failed, calls.active), (0, 0), "{calls:?}");
    assert_eq!(state.phase, Phase::Finished { code: 0 });
    assert_eq!(state.summary().success_calls, calls.succeeded);
    assert_eq!(drained.ask(Request::SetRate(Rate::per_second(1.0))), Err(Refusal::Over));

    let answer = registry.get("answer").unwrap();
    until(&answer, "quiet", |state| state.snapshot.calls.active == 0);
    let answered = answer.state().snapshot.calls.succeeded;
    let run = uac_with(port, 100.0, 3_600_000, |_| ());
    registry.start_dynamic(Some("stopped".to_owned()), run).unwrap();
    let stopped = registry.get("stopped").unwrap();
    until(&stopped, "calling", |state| state.snapshot.calls.active > 10);
    registry.stop("stopped").unwrap();
    until(&stopped, "finished", is_finished);
    let snapshot = stopped.state().snapshot.clone();
    let cancelled = snapshot.counters.failures.count(FailureCause::Cancelled);
    assert!(cancelled > 10, "{:?}", snapshot.calls);
    // The peer heard of the end: its calls have come to their ends.
    until(&answer, "told", |state| {
        state.snapshot.calls.active == 0 && state.snapshot.calls.succeeded > answered + 10
    });
    assert_eq!(registry.stop("nobody"), Err(Refusal::Unknown("nobody".to_owned())));
    registry.shutdown(LIMIT);
}

#[test]
fn an_engine_that_cannot_start_leaves_the_others_alone() {
    let mut lost = uac(5060, 1.0);
    lost.remote = Some(HostPort { host: "no-such-host.invalid".to_owned(), port: 5060 });
    let specs = vec![
        spec("answer", EngineKind::Primary, uas()),
        spec("lost", EngineKind::Static, lost.clone()),
    ];
    let registry = Registry::start(specs, Policy::default()).unwrap();
    let state = registry.get("lost").unwrap().state();
    let Phase::Failed { reason } = &state.phase else { panic!("{:?}", state.phase) };
    assert!(reason.contains("no-such-host.invalid"), "{reason}");
    assert_eq!(state.summary().total_calls, 0);
    assert_eq!(registry.get("lost").unwrap().ask(Request::Stop), Err(Refusal::Over));
    let answer = registry.primary().unwrap();
    assert_eq!(answer.state().phase, Phase::Running);
    let port = answer.state().listeners[0].local_port;

    let error = registry.start_dynamic(Some("lost-too".to_owned()), lost.clone()).unwrap_err();
    assert!(matches!(&error, DynamicError::Failed(why) if why.contains("no-such-host")), "{error}");
    assert!(registry.get("lost-too").is_none());

    registry.start_dynamic(Some("load".to_owned()), uac(port, 100.0)).unwrap();
    let load = registry.get("load").unwrap();
    until(&load, "calling", |state| state.snapshot.calls.succeeded > 20);
    assert_eq!(registry.shutdown(LIMIT).code, 255);

    let specs = vec![spec("lost", EngineKind::Primary, lost)];
    let error = Registry::start(specs, Policy::default()).err().unwrap();
    assert!(matches!(&error, StartError::Primary { id, .. } if id == "lost"), "{error}");
}

#[test]
fn what_clashes_is_named_before_anything_starts() {
    let at = |port: u16| {
        let mut run = uas();
        run.local_port = Some(port);
        run
    };
    let start = |specs: Vec<EngineSpec>| Registry::start(specs, Policy::default()).err().unwrap();
    let error = start(vec![
        spec("one", EngineKind::Primary, at(21_999)),
        spec("two", EngineKind::Static, at(21_999)),
    ]);
    let text = error.to_string();
    assert!(matches!(error, StartError::Clash(_)), "{text}");
    assert!(text.contains("engines one and two both want UDP 127.0.0.1:21999"), "{text}");

    let listener = ListenerSpec {
        transport: Transport::TcpMono,
        local_ip: Some([127, 0, 0, 1].into()),
        local_port: Some(21_998),
    };
    let mut twice = spec("one", EngineKind::Primary, uas());
    twice.listeners = vec![listener, listener];
    let text = start(vec![twice]).to_string();
    assert!(text.contains("engine one listens on TCP 127.0.0.1:21998 twice"), "{text}");

    let error = start(vec![
        spec("one", EngineKind::Primary, uas()),
        spec("one", EngineKind::Static, uas()),
    ]);
    assert_eq!(error, StartError::DuplicateId { id: "one".to_owned() });
    let error = start(vec![spec("a b", EngineKind::Primary, uas())]);
    assert_eq!(error, StartError::Id { id: "a b".to_owned() });
    let many = (0..=STATIC_MAX).map(|n| spec(&format!("w{n}"), EngineKind::Static, uas()));
    assert_eq!(start(many.collect()), StartError::TooMany { count: STATIC_MAX + 1 });
    assert_eq!(start(Vec::new()), StartError::NoEngine);

    // An address that another engine bound at run time.
    let (registry, port) = answering();
    let mut taken = uas();
    taken.local_port = Some(port);
    let error = registry.start_dynamic(Some("late".to_owned()), taken).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, DynamicError::Clash(_)), "{text}");
    assert!(text.contains("engines answer and late both want"), "{text}");
    registry.shutdown(LIMIT);
}

#[test]
fn dynamic_engines_come_and_go() {
    let (registry, port) = answering();
    let few = |count: u64| uac_with(port, 50.0, 0, |draft| draft.calls_total = Some(count));
    let id = registry.start_dynamic(None, few(3)).unwrap();
    assert_eq!(id, "dyn-1");
    let first = registry.get(&id).unwrap();
    until(&first, "finished", is_finished);
    // It keeps its row, and its id.
    assert_eq!(first.state().snapshot.calls.succeeded, 3);
    let twice = registry.start_dynamic(Some(id.clone()), few(1));
    assert_eq!(twice, Err(DynamicError::Duplicate(id.clone())));
    for taken in ["answer", "primary"] {
        let error = registry.start_dynamic(Some(taken.to_owned()), few(1)).unwrap_err();
        assert_eq!(error, DynamicError::Duplicate(taken.to_owned()));
    }
    let error = registry.start_dynamic(Some("../x".to_owned()), few(1)).unwrap_err();
    assert_eq!(error, DynamicError::Id("../x".to_owned()));
    registry.forget(&id).unwrap();
    assert!(registry.get(&id).is_none());
    assert_eq!(registry.forget(&id), Err(ForgetError::Unknown(id)));
    let own = "answer".to_owned();
    assert_eq!(registry.forget("answer"), Err(ForgetError::NotDynamic(own.clone())));
    assert_eq!(registry.remove("answer"), Err(ForgetError::NotDynamic(own)));

    let id = registry.start_dynamic(None, uac(port, 10.0)).unwrap();
    assert_eq!(registry.forget(&id), Err(ForgetError::Running(id.clone())));
    let removed = registry.get(&id).unwrap();
    registry.remove(&id).unwrap();
    assert!(registry.get(&id).is_none());
    until(&removed, "finished", is_finished);

    // The limit holds for rows, also of those that have finished.
    for n in 0..DYNAMIC_MAX {
        registry.start_dynamic(Some(format!("n{n}")), few(1)).unwrap();
    }
    assert_eq!(registry.start_dynamic(None, few(1)), Err(DynamicError::TooMany(32)));
    until(&registry.get("n7").unwrap(), "finished", is_finished);
    registry.forget("n7").unwrap();
    registry.start_dynamic(None, few(1)).unwrap();
    assert!(registry.shutdown(LIMIT).in_time);
}

#[test]
fn a_shutdown_writes_what_runs_leave_behind() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join(format!("server-engines-{}.json", std::process::id()));
    let (registry, port) = answering();
    let run = uac_with(port, 50.0, 3_600_000, |draft| draft.summary_json = Some(path.clone()));
    registry.start_dynamic(Some("load".to_owned()), run).unwrap();
    let load = registry.get("load").unwrap();
    until(&load, "calling", |state| state.snapshot.calls.active > 5);
    let shutdown = registry.shutdown(Duration::from_secs(8));
    assert!(shutdown.in_time, "{:?}", registry.engines());
    let text = std::fs::read_to_string(&path).unwrap();
    let summary: Summary = serde_json::from_str(&text).unwrap();
    assert_eq!(summary.active_calls, 0);
    assert_eq!(summary.total_calls, load.state().snapshot.calls.started);
    assert_eq!(summary.failure_causes["cancelled"], summary.failed_calls);
    assert_eq!(*load.state().summary(), summary);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn who_answers_stays_until_those_who_call_have_ended() {
    let (registry, port) = answering();
    let run = uac_with(port, 200.0, 400, |_| ());
    registry.start_dynamic(Some("load".to_owned()), run).unwrap();
    let (answer, load) = (registry.get("answer").unwrap(), registry.get("load").unwrap());
    until(&load, "calling", |state| state.snapshot.calls.succeeded > 50);
    let begin = Instant::now();
    let ending = {
        let registry = registry.clone();
        std::thread::spawn(move || registry.shutdown(LIMIT))
    };
    loop {
        let is_leaving = answer.state().phase == Phase::Draining;
        if load.state().phase.is_over() {
            break;
        }
        // The end waits for a second at most: a slow machine may take longer than that.
        assert!(!is_leaving || begin.elapsed() > Duration::from_millis(900));
        std::thread::sleep(Duration::from_millis(2));
    }
    let shutdown = ending.join().unwrap();
    assert!(shutdown.in_time, "{:?}", registry.engines());
    let calls = load.state().snapshot.calls;
    assert_eq!((calls.failed, calls.active, shutdown.code), (0, 0, 0), "{calls:?}");
}

#[test]
fn several_listeners_are_one_engine() {
    let listen = |transport| ListenerSpec {
        transport,
        local_ip: Some([127, 0, 0, 1].into()),
        local_port: Some(0),
    };
    let mut answer = spec("answer", EngineKind::Primary, uas());
    answer.listeners =
        vec![listen(Transport::UdpMono), listen(Transport::TcpMono), listen(Transport::UdpMulti)];
    let registry = Registry::start(vec![answer.clone()], Policy::default()).unwrap();
    let listeners = registry.primary().unwrap().state().listeners.clone();
    let transports: Vec<_> = listeners.iter().map(|listener| listener.transport.code()).collect();
    assert_eq!(transports, ["u1", "t1", "un"]);
    for (listener, transport) in
        listeners.iter().zip([Transport::UdpMono, Transport::TcpMono, Transport::UdpMono])
    {
        let run = uac_with(listener.local_port, 50.0, 0, |draft| {
            draft.transport = Some(transport);
            draft.calls_total = Some(20);
        });
        let id = registry.start_dynamic(None, run).unwrap();
        let load = registry.get(&id).unwrap();
        until(&load, "finished", is_finished);
        assert_eq!(load.state().snapshot.calls.succeeded, 20, "{listener:?}");
    }
    let engine = registry.primary().unwrap();
    until(&engine, "done", |state| state.snapshot.calls.succeeded == 60);
    assert_eq!(engine.state().snapshot.calls.started, 60);

    // A listener that is off refuses new calls, and the others do not.
    let call = |index: usize, transport: Transport| {
        let run = uac_with(listeners[index].local_port, 50.0, 0, |draft| {
            draft.transport = Some(transport);
            draft.calls_total = Some(5);
        });
        let id = registry.start_dynamic(None, run).unwrap();
        let load = registry.get(&id).unwrap();
        until(&load, "finished", is_finished);
        load.state().snapshot.calls
    };
    let switch = |index, enabled| engine.ask(Request::SetListener { index, enabled });
    switch(1, false).unwrap();
    let enabled: Vec<_> = engine.state().listeners.iter().map(|one| one.enabled).collect();
    assert_eq!(enabled, [true, false, true]);
    assert_eq!(call(1, Transport::TcpMono).failed, 5);
    assert_eq!(call(0, Transport::UdpMono).succeeded, 5);
    switch(1, true).unwrap();
    assert_eq!(call(1, Transport::TcpMono).succeeded, 5);
    // A paused engine takes no calls at all; a listener that is off stays so.
    switch(0, false).unwrap();
    engine.ask(Request::SetPaused(true)).unwrap();
    assert_eq!(engine.state().phase, Phase::Paused);
    assert_eq!(call(1, Transport::TcpMono).failed, 5);
    engine.ask(Request::SetPaused(false)).unwrap();
    assert_eq!(call(1, Transport::TcpMono).succeeded, 5);
    assert_eq!(call(0, Transport::UdpMono).failed, 5);
    let error = switch(3, true).unwrap_err();
    assert!(matches!(&error, Refusal::Invalid(why) if why.contains("the last one is 2")));
    // All of them take another scenario.
    engine.ask(Request::Swap(NewScenario::Sent(BUSY.to_owned()))).unwrap();
    assert_eq!(call(2, Transport::UdpMono).failed, 5);
    assert_eq!(call(1, Transport::TcpMono).failed, 5);
    registry.shutdown(LIMIT);

    // Options that do not go together are refused with the reason.
    let mut calls = answer.clone();
    calls.run = uac(9, 1.0);
    let error = Registry::start(vec![calls], Policy::default()).err().unwrap().to_string();
    assert!(error.contains("this scenario makes calls"), "{error}");
    let mut counted = answer;
    counted.run.calls_total = gossipper::config::CallLimit::Count(5);
    let error = Registry::start(vec![counted], Policy::default()).err().unwrap().to_string();
    assert!(error.contains("-m needs one count"), "{error}");
}

/// Answers every call with 486.
const BUSY: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<scenario name="busy">
  <recv request="INVITE"/>
  <send><![CDATA[

    SIP/2.0 486 Busy Here
    [last_Via:]
    [last_From:]
    [last_To:];tag=[call_number]
    [last_Call-ID:]
    [last_CSeq:]
    Content-Length: 0

  ]]></send>
  <recv request="ACK"/>
</scenario>
"#;

#[test]
fn new_calls_follow_another_scenario_and_open_ones_keep_theirs() {
    let (registry, port) = answering();
    let answer = registry.primary().unwrap();
    let open = uac_with(port, 1000.0, 4_000, |draft| draft.calls_total = Some(5));
    registry.start_dynamic(Some("open".to_owned()), open).unwrap();
    let open = registry.get("open").unwrap();
    until(&answer, "in calls", |state| state.snapshot.calls.active == 5);

    let before = answer.state();
    answer.check_scenario(BUSY).unwrap();
    assert_eq!(answer.state().scenario, before.scenario);
    answer.ask(Request::Swap(NewScenario::Sent(BUSY.to_owned()))).unwrap();
    let state = answer.state();
    assert_eq!((state.scenario.name.as_str(), &*state.scenario.xml), ("busy", BUSY));
    assert_eq!(state.listeners[0].scenario_name, "busy");
    let late = uac_with(port, 1000.0, 0, |draft| draft.calls_total = Some(7));
    registry.start_dynamic(Some("late".to_owned()), late).unwrap();
    let late = registry.get("late").unwrap();
    until(&late, "finished", is_finished);
    assert_eq!(late.state().snapshot.calls.failed, 7);
    until(&open, "finished", is_finished);
    assert_eq!(open.state().snapshot.calls.succeeded, 5);
    until(&answer, "quiet", |state| state.snapshot.calls.active == 0);
    let calls = answer.state().snapshot.calls;
    assert_eq!((calls.started, calls.succeeded), (12, 12));

    // Doubtful parts of a scenario are reported.
    let doubtful = BUSY.replacen("request=\"INVITE\"/>", "request=\"INVITE\" td=\"1\"/>", 1);
    assert_ne!(doubtful, BUSY);
    answer.ask(Request::Swap(NewScenario::Sent(doubtful))).unwrap();
    let notices = answer.state().notices.clone();
    assert!(notices.iter().any(|text| text.contains("no attribute \"td\"")), "{notices:?}");
    answer.ask(Request::Swap(NewScenario::Sent(BUSY.to_owned()))).unwrap();

    // A scenario that cannot replace the present one is refused, and the engine goes on.
    let swap = |xml: String| answer.ask(Request::Swap(NewScenario::Sent(xml))).unwrap_err();
    let error = swap(BUSY.replace("<recv", "<recieve"));
    let Refusal::Invalid(text) = &error else { panic!("{error:?}") };
    assert!(text.contains("3:3") && text.contains("recieve"), "{text}");
    let action = "<action><exec command=\"true\"/></action></recv>";
    let error =
        swap(BUSY.replacen("request=\"INVITE\"/>", &format!("request=\"INVITE\">{action}"), 1));
    let Refusal::Invalid(text) = &error else { panic!("{error:?}") };
    assert!(text.contains("exec command= is forbidden by the policy"), "{text}");
    let error = swap(gossipper::scenario::builtin("uac").unwrap().text.to_owned());
    let Refusal::Refused(text) = &error else { panic!("{error:?}") };
    assert!(text.contains("makes calls"), "{text}");
    let error = swap(BUSY.replace("Content-Length: 0", "[file name=\"/etc/hostname\"]"));
    let Refusal::Invalid(text) = &error else { panic!("{error:?}") };
    assert!(text.contains("only files beside the scenario file"), "{text}");
    assert!(text.contains("hint: names are relative to the folder of the scenario"), "{text}");
    let error = answer.ask(Request::Swap(NewScenario::Reload)).unwrap_err();
    assert!(matches!(&error, Refusal::Refused(why) if why.contains("built-in")), "{error}");
    assert_eq!(answer.state().scenario.name, "busy");
    registry.shutdown(LIMIT);
}

#[test]
fn a_scenario_file_is_read_again_when_somebody_asks() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join(format!("server-engines-{}.xml", std::process::id()));
    std::fs::write(&path, gossipper::scenario::builtin("uas").unwrap().text).unwrap();
    let mut run = uas();
    run.scenario = gossipper::config::ScenarioSource::File(path.clone());
    let specs = vec![spec("answer", EngineKind::Primary, run)];
    let registry = Registry::start(specs, Policy::default()).unwrap();
    let answer = registry.primary().unwrap();
    let state = answer.state();
    assert_eq!((state.scenario.builtin, state.scenario.file.as_ref()), (false, Some(&path)));
    std::fs::write(&path, "<scenario>").unwrap();
    let error = answer.ask(Request::Swap(NewScenario::Reload)).unwrap_err();
    assert!(matches!(&error, Refusal::Invalid(why) if why.contains(".xml:1")), "{error}");
    std::fs::write(&path, BUSY).unwrap();
    answer.ask(Request::Swap(NewScenario::Reload)).unwrap();
    assert_eq!(answer.state().scenario.name, "busy");
    std::fs::remove_file(&path).unwrap();
    let error = answer.ask(Request::Swap(NewScenario::Reload)).unwrap_err();
    assert!(matches!(&error, Refusal::Invalid(why) if why.contains("cannot read")), "{error}");
    registry.shutdown(LIMIT);
}

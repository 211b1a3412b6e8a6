//! The cost of a call in the engine alone, and the cost of its data structures when they are full.
//!
//! `call/uac` and `call/uas` are nanoseconds per call of the built-in scenarios, without driver and
//! kernel. A conversation of two engines over the simulated network is recorded once; then each
//! engine receives its side of it again. `call/uac_invite` is the first step of that: an arrival, a
//! slot, a rendered INVITE, its timers. Each figure comes from the second wave of an engine, when
//! all its memory has been touched.

use std::hint::black_box;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion, criterion_group, criterion_main};
use gossipper::engine::blob::BlobPool;
use gossipper::engine::ids::{CallRef, RunNonce};
use gossipper::engine::lookup::{CallIdHash, CallIdHasher, CallMap};
use gossipper::engine::pacing::RatePlan;
use gossipper::engine::random::Random;
use gossipper::engine::wheel::Wheel;
use gossipper::engine::{Arrivals, Engine, EngineConfig, Environment, Incoming, Input, layout};
use gossipper::scenario::{builtin, compile};
use gossipper_uring::{
    Driver, DriverConfig, Event, RxClass, SimConfig, SimDriver, SimNet, SocketId, SocketSpec,
    TxArena,
};

/// Calls of one wave.
const WAVE: u64 = 500;
/// Slots of the arena for one wave: a call sends at most three messages.
const SLOTS: usize = 4 * WAVE as usize;
const MS: u64 = 1_000_000;
/// Start time of the engines, in nanoseconds.
const START: u64 = 1_000 * MS;
/// Time from one wave to the next: the answering side forgets a call after 4 s.
const WAVE_NS: u64 = 10_000 * MS;
/// Time between two turns of a recording.
const TURN_NS: u64 = MS / 20;
/// Entries of the full structures.
const MANY: usize = 1_000_000;

/// Timers that are due fire.
const TIMERS: Input<'static> = Input::Timers { reserve: 0 };
/// Calls that are due start.
const DUE: Input<'static> = Input::Arrivals { lead_ns: 0, reserve: 0 };

fn caller() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5061))
}

fn answerer() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5060))
}

fn engine(name: &str) -> Engine {
    let text = builtin(name).expect("a built-in scenario").text;
    let program = Arc::new(compile(text, name, &[]).expect("built-ins compile"));
    let is_client = name == "uac";
    let (local, remote) = if is_client { (caller(), Some(answerer())) } else { (answerer(), None) };
    // All calls of a wave are due at once.
    let plan = RatePlan {
        rate: WAVE as f64,
        period_ns: WAVE_NS,
        increase: 0.0,
        interval_ns: 0,
        rate_max: 0.0,
        quit_at_max: true,
    };
    let config = EngineConfig {
        // With the same seed, an engine would take the other's Call-IDs for those of its own calls.
        seed: u64::from(is_client),
        pool_calls: 4 * WAVE as usize,
        dead_calls_max: 8 * WAVE as usize,
        blob_bytes_max: 16 << 20,
        arrivals: if is_client { Arrivals::Open(plan) } else { Arrivals::Server },
        start_ns: START,
        environment: Environment {
            local_ip: local.ip(),
            local_port: Some(local.port()),
            media_ip: local.ip(),
            remote_host: "127.0.0.1".to_owned(),
            remote,
            next_hop: remote,
            pid: 4242,
            ..Environment::default()
        },
        ..EngineConfig::default()
    };
    let layout = layout(&[&program], config.rules.pause_ms);
    Engine::new(program, &layout, config)
}

/// An input of an engine.
enum Step {
    /// A datagram arrives: time, source, payload.
    Datagram(u64, SocketAddr, Vec<u8>),
    /// Timers that are due by this time fire.
    Timers(u64),
}

/// The inputs of both sides in one wave.
struct Wave {
    uac: Vec<Step>,
    uas: Vec<Step>,
}

/// The time when all calls of wave `number` are due.
fn wave_starts_ns(number: usize) -> u64 {
    START + (number as u64 + 1) * WAVE_NS - 1
}

/// The time when all timers of a wave have fired and the next one has not begun.
fn wave_ends_ns(number: usize) -> u64 {
    wave_starts_ns(number) + WAVE_NS / 2
}

/// Records two waves of calls between two engines.
fn record() -> [Wave; 2] {
    let net = SimNet::new(1, SimConfig::default());
    let mut sides = [("uac", caller()), ("uas", answerer())].map(|(name, local)| {
        let mut driver = SimDriver::new(&net, &DriverConfig::default()).expect("memory");
        let spec = SocketSpec {
            local,
            remote: None,
            reuse_port: false,
            rx_class: RxClass::Large,
            receive_buffer_bytes: 0,
            send_buffer_bytes: 0,
            device: None,
        };
        driver.open(&spec).expect("a free address");
        (driver, engine(name))
    });
    [0, 1].map(|number| {
        net.advance_to(wave_starts_ns(number));
        let mut steps = [Vec::new(), Vec::new()];
        let (driver, engine) = &mut sides[0];
        engine.handle(DUE, net.now(), driver.tx());
        while sides[0].1.active() > 0 {
            assert!(net.now() < wave_ends_ns(number), "calls that do not end");
            for ((driver, engine), steps) in sides.iter_mut().zip(&mut steps) {
                driver.turn(0).expect("the simulated driver does not fail");
                let now = driver.now();
                let _ = driver.drain(|event, tx| {
                    if let Event::Datagram { source, payload, .. } = event {
                        steps.push(Step::Datagram(now, source, payload.to_vec()));
                        hear(engine, source, payload, now, tx);
                    }
                    ControlFlow::Continue(())
                });
                engine.handle(TIMERS, now, driver.tx());
                steps.push(Step::Timers(now));
            }
            net.advance_to(net.now() + TURN_NS);
        }
        for (driver, engine) in &mut sides {
            engine.handle(TIMERS, wave_ends_ns(number), driver.tx());
            assert_eq!(engine.counters().calls_succeeded, (number as u64 + 1) * WAVE);
            assert_eq!(engine.counters().calls_failed, 0);
        }
        let [uac, uas] = steps;
        Wave { uac, uas }
    })
}

/// An arena whose memory has been touched.
fn arena() -> TxArena {
    let mut arena = TxArena::standalone(SLOTS, 1).expect("memory");
    let slots: Vec<_> = std::iter::from_fn(|| arena.reserve(1)).collect();
    for slot in slots {
        arena.buffer(&slot).fill(1);
        arena.release(slot);
    }
    arena
}

/// Lets `engine` have a datagram that arrives at `now`.
fn hear(engine: &mut Engine, source: SocketAddr, payload: &[u8], now: u64, tx: &mut TxArena) {
    let socket = SocketId(0);
    let datagram = Incoming { socket, source, payload, received_ns: now, is_final: false };
    black_box(engine.handle(Input::Datagram(datagram), now, tx));
}

/// Passes `steps` to `engine`.
fn replay(engine: &mut Engine, steps: &[Step], tx: &mut TxArena) {
    for step in steps {
        match step {
            Step::Datagram(now, source, payload) => {
                hear(engine, *source, payload, *now, tx);
            }
            Step::Timers(now) => {
                engine.handle(TIMERS, *now, tx);
            }
        }
    }
}

/// Times `measured` on wave 1 of a fresh engine that has executed wave 0. One iteration is one
/// call.
fn per_call(
    b: &mut Bencher<'_>,
    name: &str,
    warm_up: impl Fn(&mut Engine, &mut TxArena),
    measured: impl Fn(&mut Engine, &mut TxArena),
) {
    b.iter_custom(|calls| {
        let waves = calls.div_ceil(WAVE);
        let mut spent = Duration::ZERO;
        for _ in 0..waves {
            let mut engine = engine(name);
            warm_up(&mut engine, &mut arena());
            let mut tx = arena();
            let begun = Instant::now();
            measured(&mut engine, &mut tx);
            spent += begun.elapsed();
            assert_eq!(engine.counters().calls_failed, 0);
        }
        spent.mul_f64(calls as f64 / (waves * WAVE) as f64)
    });
}

fn call(c: &mut Criterion) {
    let waves = record();
    let run_uac = |engine: &mut Engine, tx: &mut TxArena, number: usize| {
        engine.handle(DUE, wave_starts_ns(number), tx);
        engine.handle(Input::Flushed, wave_starts_ns(number), tx);
        replay(engine, &waves[number].uac, tx);
        engine.handle(TIMERS, wave_ends_ns(number), tx);
        assert_eq!(engine.active(), 0);
    };
    let run_uas = |engine: &mut Engine, tx: &mut TxArena, number: usize| {
        replay(engine, &waves[number].uas, tx);
        engine.handle(TIMERS, wave_ends_ns(number), tx);
        assert_eq!(engine.active(), 0);
    };
    let mut group = c.benchmark_group("call");
    group.bench_function("uac", |b| {
        per_call(b, "uac", |e, tx| run_uac(e, tx, 0), |e, tx| run_uac(e, tx, 1));
    });
    group.bench_function("uac_invite", |b| {
        let invite = |engine: &mut Engine, tx: &mut TxArena| {
            engine.handle(DUE, wave_starts_ns(1), tx);
            assert_eq!(engine.active() as u64, WAVE);
        };
        per_call(b, "uac", |e, tx| run_uac(e, tx, 0), invite);
    });
    group.bench_function("uas", |b| {
        per_call(b, "uas", |e, tx| run_uas(e, tx, 0), |e, tx| run_uas(e, tx, 1));
    });
    group.finish();
}

/// A random number below `bound`, with little computation.
fn below(random: &mut Random, bound: usize) -> usize {
    ((random.next_u64() >> 32) as usize * bound) >> 32
}

/// Times a wheel with a million timers within 32 s, as at a hundred thousand calls per second.
fn wheel(c: &mut Criterion) {
    let mut random = Random::new(1);
    let mut wheel = Wheel::new(MANY, 0);
    let span = 32_000 * MS as usize;
    for timer in 0..MANY as u32 {
        wheel.arm(timer, below(&mut random, span) as u64);
    }
    let mut group = c.benchmark_group("wheel_1m");
    group.bench_function("cancel_arm", |b| {
        b.iter(|| {
            let timer = below(&mut random, MANY) as u32;
            wheel.cancel(timer);
            wheel.arm(timer, below(&mut random, span) as u64);
        });
    });
    let mut now = 0;
    group.bench_function("fire_arm", |b| {
        b.iter(|| {
            loop {
                if let Some(timer) = wheel.pop_due(now) {
                    wheel.arm(timer, now + span as u64);
                    return timer;
                }
                now = now.max(wheel.next_deadline_ns().unwrap_or(now));
            }
        });
    });
    group.finish();
}

/// Times the lookup of calls in a full table, by foreign Call-IDs and by our own.
fn lookup(c: &mut Criterion) {
    let hasher = CallIdHasher::new(1);
    let call_id = |number: usize| format!("{number:08}-4242@127.0.0.1").into_bytes();
    let hashes: Vec<CallIdHash> = (0..MANY).map(|number| hasher.hash(&call_id(number))).collect();
    let mut map = CallMap::new(MANY);
    for (value, hash) in hashes.iter().enumerate() {
        assert!(map.insert(*hash, value as u32));
    }
    let mut random = Random::new(1);
    let mut group = c.benchmark_group("lookup_1m");
    group.bench_function("find", |b| {
        b.iter(|| {
            let hash = hashes[below(&mut random, MANY)];
            map.find(hash, |value| hashes[value as usize] == hash)
        });
    });
    group.bench_function("find_absent", |b| {
        let absent: Vec<CallIdHash> =
            (MANY..MANY + 65_536).map(|number| hasher.hash(&call_id(number))).collect();
        b.iter(|| {
            let hash = absent[below(&mut random, absent.len())];
            map.find(hash, |value| hashes[value as usize] == hash)
        });
    });
    group.bench_function("remove_insert", |b| {
        b.iter(|| {
            let value = below(&mut random, MANY);
            let hash = hashes[value];
            map.remove(hash, value as u32) && map.insert(hash, value as u32)
        });
    });
    group.bench_function("hash_call_id", |b| {
        let call_id = call_id(7);
        b.iter(|| hasher.hash(black_box(&call_id)));
    });
    group.bench_function("parse_own_call_id", |b| {
        let nonce = RunNonce::new(0xdead_beef);
        let call = CallRef { worker: 0, slot: 4711, generation: 3 };
        let mut own = call.token().to_vec();
        own.push(b'-');
        own.extend_from_slice(nonce.digits());
        own.extend_from_slice(b"@127.0.0.1");
        b.iter(|| nonce.parse(black_box(&own)));
    });
    group.finish();
}

/// Times the storing of messages for retransmission.
fn blobs(c: &mut Criterion) {
    let message = [b'x'; 600];
    let mut pool = BlobPool::new(256 << 20);
    // A hundred thousand other messages, so that the pool is larger than any cache.
    let others: Vec<_> = std::iter::repeat_with(|| pool.store(&message)).take(100_000).collect();
    let mut group = c.benchmark_group("blob");
    group.bench_function("store_free", |b| {
        b.iter(|| {
            let mut blob = pool.store(black_box(&message));
            if let Some(blob) = &mut blob {
                pool.free(blob);
            }
        });
    });
    let mut blob = pool.store(&message).expect("the pool has room");
    group.bench_function("replace_in_place", |b| {
        b.iter(|| pool.replace(&mut blob, black_box(&message[..580])));
    });
    group.bench_function("replace_other_size", |b| {
        let mut len = 600;
        b.iter(|| {
            len = 900 - len;
            pool.replace(&mut blob, black_box(&message[..len]))
        });
    });
    black_box(others);
    group.finish();
}

criterion_group!(benches, call, wheel, lookup, blobs);
criterion_main!(benches);

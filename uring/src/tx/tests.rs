use std::collections::HashMap;
use std::net::SocketAddr;

use proptest::prelude::*;

use super::{TxArena, TxOrder};
use crate::config::{DriverConfig, UDP_PAYLOAD_MAX};
use crate::{SocketId, cmsg};

fn arena(config: &DriverConfig) -> TxArena {
    let mut arena = TxArena::new(config).expect("memory");
    for index in 0..4 {
        arena.socket_opened(index, 0, None, config.gso);
    }
    arena
}

fn config() -> DriverConfig {
    DriverConfig { tx_small_slots: 512, tx_large_slots: 8, ..DriverConfig::default() }
}

fn peer(number: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5060 + number))
}

/// A train as it leaves.
#[derive(Debug)]
struct Left {
    socket: u32,
    destination: SocketAddr,
    length: u32,
    cookies: Vec<u64>,
    payloads: Vec<Vec<u8>>,
}

/// Hands over all that is staged.
fn leave(arena: &mut TxArena) -> Vec<Left> {
    let mut left = Vec::new();
    arena.seal();
    while let Some(id) = arena.first_staged() {
        arena.hand_over();
        let (count, length) = arena.shape(id);
        let (socket, current) = arena.socket_of(id);
        assert!(current);
        let destination = arena.destination_of(id);
        let (payloads, cookies): (Vec<_>, Vec<_>) =
            arena.payloads(id).map(|(payload, cookie)| (payload.to_vec(), cookie)).unzip();
        assert_eq!(cookies.len(), count as usize);
        check_message(arena, id, count, length, &payloads);
        left.push(Left { socket, destination, length, cookies, payloads });
        arena.finish(id);
    }
    assert_eq!(arena.staged(), 0);
    left
}

/// Checks that the message header describes the train.
#[allow(clippy::unnecessary_cast, reason = "field types differ between C libraries")]
fn check_message(arena: &mut TxArena, id: u32, count: u32, length: u32, payloads: &[Vec<u8>]) {
    let header = arena.message(id);
    // SAFETY: the arena has just built the header, and nothing else uses it.
    let header = unsafe { &*header };
    assert_eq!(header.msg_iovlen as u32, count);
    for (at, payload) in payloads.iter().enumerate() {
        // SAFETY: the header states `count` entries, each of which points into a slot.
        let entry = unsafe { &*header.msg_iov.add(at) };
        assert_eq!(entry.iov_len, length as usize);
        if length > 0 {
            // SAFETY: as above.
            let data = unsafe { std::slice::from_raw_parts(entry.iov_base.cast(), entry.iov_len) };
            assert_eq!(payload, data);
        }
    }
    let control_bytes = if count > 1 { cmsg::SEGMENT_BYTES } else { 0 };
    assert_eq!(header.msg_controllen as usize, control_bytes);
}

#[test]
fn equal_datagrams_of_one_flow_leave_as_one_train() {
    let mut arena = arena(&config());
    for cookie in 0..5 {
        let mut order = TxOrder::default();
        assert!(arena.send_copy(b"INVITE", SocketId(1), peer(0), cookie, &mut order));
    }
    let left = leave(&mut arena);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].cookies, [0, 1, 2, 3, 4]);
    assert_eq!(arena.free(), 512);
}

#[test]
fn another_socket_peer_or_length_is_another_train() {
    let mut arena = arena(&config());
    for (socket, number, payload) in
        [(0, 0, "a"), (1, 0, "a"), (0, 1, "a"), (0, 0, "ab"), (0, 0, "a")]
    {
        let destination = peer(number);
        assert!(arena.send_copy(
            payload.as_bytes(),
            SocketId(socket),
            destination,
            0,
            &mut TxOrder::default()
        ));
    }
    let counts: Vec<_> = leave(&mut arena).iter().map(|train| train.cookies.len()).collect();
    assert_eq!(counts, [2, 1, 1, 1]);
}

#[test]
fn a_call_does_not_board_a_train_older_than_its_last() {
    let mut arena = arena(&config());
    let mut call = TxOrder::default();
    let mut other = TxOrder::default();
    let to = peer(0);
    assert!(arena.send_copy(b"short", SocketId(0), to, 1, &mut other));
    assert!(arena.send_copy(b"longer", SocketId(0), to, 2, &mut call));
    assert!(arena.send_copy(b"short", SocketId(0), to, 3, &mut call));
    assert!(arena.send_copy(b"short", SocketId(0), to, 4, &mut TxOrder::default()));
    let cookies: Vec<_> = leave(&mut arena).into_iter().flat_map(|train| train.cookies).collect();
    let place = |cookie| cookies.iter().position(|&other| other == cookie);
    assert!(place(2) < place(3), "{cookies:?}");
}

#[test]
fn slots_are_reused_last_in_first_out() {
    let mut arena = arena(&config());
    let first = arena.reserve(1).expect("slot");
    let address = arena.buffer(&first).as_ptr();
    arena.release(first);
    let again = arena.reserve(1).expect("slot");
    assert_eq!(arena.buffer(&again).as_ptr(), address);
    arena.release(again);
}

#[test]
fn a_length_that_was_refused_travels_singly_from_then_on() {
    let mut arena = arena(&config());
    arena.limit_segments(0, 1400);
    for length in [1400, 1400, 1399, 1399] {
        assert!(arena.send_copy(
            &vec![0; length],
            SocketId(0),
            peer(0),
            0,
            &mut TxOrder::default()
        ));
    }
    let shape: Vec<_> =
        leave(&mut arena).iter().map(|train| (train.length, train.cookies.len())).collect();
    assert_eq!(shape, [(1400, 1), (1400, 1), (1399, 2)]);
    arena.limit_segments(0, 0);
    for _ in 0..2 {
        assert!(arena.send_copy(b"x", SocketId(0), peer(0), 0, &mut TxOrder::default()));
    }
    assert_eq!(leave(&mut arena).len(), 2);
}

#[test]
fn a_failed_train_comes_apart_in_order() {
    let mut arena = arena(&config());
    for cookie in 10..14 {
        assert!(arena.send_copy(b"x", SocketId(2), peer(3), cookie, &mut TxOrder::default()));
    }
    arena.seal();
    let id = arena.first_staged().expect("train");
    arena.hand_over();
    arena.returned();
    // The second and fourth went out singly.
    arena.rotate(id);
    assert!(arena.free_first(id));
    arena.rotate(id);
    assert!(arena.free_first(id));
    let (first, more) = arena.take_failed(id);
    assert_eq!((first.cookie, first.socket, first.destination), (10, SocketId(2), peer(3)));
    assert!(more && first.current);
    let (second, more) = arena.take_failed(id);
    assert_eq!((second.cookie, more), (12, false));
    assert_eq!((arena.free(), arena.in_kernel()), (512, 0));
}

#[test]
fn memory_of_a_train_in_the_kernel_outlives_the_arena() {
    let mut arena = arena(&config());
    assert!(arena.send_copy(b"still read", SocketId(0), peer(0), 0, &mut TxOrder::default()));
    arena.seal();
    let id = arena.first_staged().expect("train");
    arena.hand_over();
    let message = arena.message(id);
    drop(arena);
    // SAFETY: the arena was dropped with a train in the kernel, and so has leaked its memory.
    let data = unsafe {
        let entry = *(*message).msg_iov;
        std::slice::from_raw_parts(entry.iov_base.cast::<u8>(), entry.iov_len)
    };
    assert_eq!(data, b"still read");
}

#[test]
fn what_is_taken_comes_in_order_and_frees_its_slots() {
    let mut arena = TxArena::standalone(8, 1).expect("memory");
    for round in 0..20_u64 {
        let payloads: Vec<Vec<u8>> =
            (0..5).map(|at| vec![at as u8; if at == 3 { 3000 } else { 100 }]).collect();
        for (cookie, payload) in payloads.iter().enumerate() {
            let cookie = round << 8 | cookie as u64;
            let mut order = TxOrder::default();
            assert!(arena.send_copy(payload, SocketId(9), peer(1), cookie, &mut order));
        }
        let mut taken = Vec::new();
        arena.take_staged(|socket, destination, cookie, payload| {
            assert_eq!((socket, destination), (SocketId(9), peer(1)));
            taken.push((cookie, payload.to_vec()));
        });
        let numbered = payloads.into_iter().enumerate();
        let expected: Vec<_> = numbered.map(|(at, p)| (round << 8 | at as u64, p)).collect();
        assert!(taken == expected, "round {round}");
        assert_eq!((arena.free(), arena.free_large(), arena.staged()), (8, 1, 0));
    }
}

#[test]
fn taking_from_a_drivers_arena_keeps_each_calls_order() {
    let mut arena = arena(&config());
    let mut order = TxOrder::default();
    for (cookie, length) in [100, 200, 100, 100, 50].into_iter().enumerate() {
        let payload = vec![cookie as u8; length];
        assert!(arena.send_copy(&payload, SocketId(0), peer(1), cookie as u64, &mut order));
    }
    let mut taken = Vec::new();
    arena.take_staged(|_, _, cookie, payload| {
        assert!(payload.iter().all(|&byte| u64::from(byte) == cookie));
        taken.push(cookie);
    });
    assert_eq!(taken, [0, 1, 2, 3, 4]);
    assert_eq!((arena.in_kernel(), arena.free()), (0, config().tx_small_slots));
}

/// One commit of a random run: call, socket, peer, length class, and whether the trains leave
/// first.
#[derive(Clone, Debug)]
struct Step {
    call: usize,
    socket: u32,
    peer: u16,
    length: usize,
    leave: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let length = prop_oneof![Just(0_usize), Just(1), 200..210_usize, Just(2048), Just(30_000)];
    let step = (0..6_usize, 0..3_u32, 0..4_u16, length, prop::bool::weighted(0.02))
        .prop_map(|(call, socket, peer, length, leave)| Step { call, socket, peer, length, leave });
    prop::collection::vec(step, 1..400)
}

proptest! {
    #[test]
    fn trains_keep_each_calls_order_and_all_caps(steps in steps(), cap in 1..=64_usize) {
        let config = DriverConfig { train_segments_max: cap, ..config() };
        let mut arena = arena(&config);
        let mut orders = [TxOrder::default(); 6];
        let mut expected: HashMap<u64, (u32, SocketAddr, Vec<u8>)> = HashMap::new();
        let mut left = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            if step.leave {
                left.extend(leave(&mut arena));
            }
            let cookie = (step.call as u64) << 32 | number as u64;
            let payload = vec![number as u8; step.length];
            let order = &mut orders[step.call];
            if arena.send_copy(&payload, SocketId(step.socket), peer(step.peer), cookie, order) {
                expected.insert(cookie, (step.socket, peer(step.peer), payload));
            }
        }
        left.extend(leave(&mut arena));
        let mut last = [None; 6];
        for train in &left {
            prop_assert!(train.cookies.len() <= cap);
            prop_assert!(train.cookies.len() * train.length as usize <= UDP_PAYLOAD_MAX);
            prop_assert!(train.length > 0 || train.cookies.len() == 1);
            for (cookie, payload) in train.cookies.iter().zip(&train.payloads) {
                let call = (cookie >> 32) as usize;
                prop_assert!(last[call] < Some(*cookie), "call {call} out of order");
                last[call] = Some(*cookie);
                let sent = expected.remove(cookie);
                prop_assert_eq!(sent, Some((train.socket, train.destination, payload.clone())));
            }
        }
        prop_assert!(expected.is_empty(), "lost: {:?}", expected.keys());
        prop_assert_eq!(arena.free(), config.tx_small_slots);
        prop_assert_eq!(arena.free_large(), config.tx_large_slots);
        prop_assert_eq!(arena.in_kernel(), 0);
    }
}

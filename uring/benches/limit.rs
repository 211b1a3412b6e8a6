//! Cost of one packet on one core, over loopback: the upper bound for everything built on top.
//!
//! One pinned thread owns a sending and a receiving driver of the same kind. It sends a batch,
//! One pinned thread owns a sending and a receiving driver of the same kind. It sends a batch,
//! which the kernel carries into the receiving sockets' queues within the send, then drains them;
//! both halves are timed apart. Loopback does the receiver's protocol work during the send, so that
//! drivers must be compared by the sum. Prints CSV; takes less than a minute.
//!
//! `cargo bench -p gossipper-uring --bench limit [-- <cpu>]`

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;

use gossipper_uring::{
    Driver, DriverConfig, Event, Nanos, RxClass, SocketId, SocketSpec, SyscallDriver, TxOrder,
    UringDriver, sys,
};

/// Packets per batch; must fit the receive queue of one socket.
const BATCH: usize = 2000;

/// Time spent on one case, after a tenth of it for warming up.
const CASE_NS: Nanos = 600_000_000;

fn main() -> io::Result<()> {
    let cpus = sys::online_cpus();
    // Cargo adds an argument of its own.
    let cpu = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    let cpu = cpu.or(cpus.last().copied()).unwrap_or(0);
    sys::pin_current_thread(cpu)?;
    let sockets = if sys::raise_nofile_limit(8192)? >= 4096 { 1000 } else { 100 };
    println!("bench,driver,direction,size,sockets,gso_gro,ns_per_packet");
    for size in [172, 500] {
        for sockets in [1, sockets] {
            for offload in [true, false] {
                let case = Case { size, sockets, offload };
                case.run("uring", UringDriver::new)?;
                case.run("syscall", SyscallDriver::new)?;
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Case {
    size: usize,
    sockets: usize,
    offload: bool,
}

impl Case {
    fn run<D: Driver>(
        self,
        name: &str,
        make: impl Fn(&DriverConfig) -> io::Result<D>,
    ) -> io::Result<()> {
        let config = DriverConfig {
            gso: self.offload,
            gro: self.offload,
            sockets_max: 1024,
            ..DriverConfig::default()
        };
        let mut pair = Pair::open(self, make(&config)?, make(&config)?)?;
        let begun = sys::monotonic_now();
        while sys::monotonic_now() < begun + CASE_NS / 10 {
            pair.round()?;
        }
        let (mut sends, mut receives) = (Vec::new(), Vec::new());
        while sys::monotonic_now() < begun + CASE_NS {
            let (send, receive) = pair.round()?;
            sends.push(send);
            receives.push(receive);
        }
        for (direction, mut rounds) in [("send", sends), ("receive", receives)] {
            rounds.sort_unstable();
            // The median: a neighbour on the machine disturbs single rounds.
            let nanos = rounds[rounds.len() / 2] as f64 / BATCH as f64;
            let Self { size, sockets, offload } = self;
            let offload = if offload { "on" } else { "off" };
            println!("limit,{name},{direction},{size},{sockets},{offload},{nanos:.1}");
        }
        Ok(())
    }
}

struct Pair<D> {
    sender: D,
    receiver: D,
    /// Sending socket and the address of its peer.
    flows: Vec<(SocketId, SocketAddr)>,
    size: usize,
}

impl<D: Driver> Pair<D> {
    fn open(case: Case, mut sender: D, mut receiver: D) -> io::Result<Self> {
        // One socket stands for SIP, many for RTP.
        let (rx_class, bytes) =
            if case.sockets == 1 { (RxClass::Large, 64 << 20) } else { (RxClass::Small, 0) };
        let spec = SocketSpec {
            local: SocketAddr::from(([127, 0, 0, 1], 0)),
            remote: None,
            reuse_port: false,
            rx_class,
            receive_buffer_bytes: bytes,
            send_buffer_bytes: bytes,
            device: None,
        };
        let mut flows = Vec::new();
        for _ in 0..case.sockets {
            let to = receiver.open(&spec)?;
            let to = receiver.local_addr(to);
            flows.push((sender.open(&spec)?, to));
        }
        sender.turn(0)?;
        receiver.turn(0)?;
        Ok(Self { sender, receiver, flows, size: case.size })
    }

    /// Sends and receives one batch; returns the time of each.
    fn round(&mut self) -> io::Result<(Nanos, Nanos)> {
        let begun = sys::monotonic_now();
        for number in 0..BATCH {
            let (socket, to) = self.flows[number % self.flows.len()];
            let tx = self.sender.tx();
            let slot = tx.reserve(self.size).ok_or_else(|| io::Error::other("arena exhausted"))?;
            // The cost of rendering is the engine's; a few bytes keep the slot's cache line honest.
            tx.buffer(&slot)[..8].copy_from_slice(&(number as u64).to_be_bytes());
            tx.commit(slot, self.size, socket, to, 0, &mut TxOrder::default());
        }
        while self.sender.tx().free() < DriverConfig::default().tx_small_slots {
            self.sender.turn(0)?;
        }
        let sent = sys::monotonic_now();
        let (mut received, mut bytes) = (0, 0);
        while received < BATCH {
            self.receiver.turn(0)?;
            let _ = self.receiver.drain(|event, _| {
                if let Event::Datagram { payload, .. } = event {
                    received += 1;
                    bytes += payload.len();
                }
                ControlFlow::Continue(())
            });
            if sys::monotonic_now() > sent + 2_000_000_000 {
                let counters = self.receiver.counters();
                return Err(io::Error::other(format!("{received} of {BATCH}: {counters:?}")));
            }
        }
        assert_eq!(bytes, BATCH * self.size);
        Ok((sent - begun, sys::monotonic_now() - sent))
    }
}

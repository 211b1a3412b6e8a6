//! A path with loss and delay: a relay between a client and a server, on sockets of the test.
//!
//! It works in user space, because not every kernel has a queueing discipline that does this. It is
//! seeded, so that a run that failed can be repeated.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The treatment of datagrams by the relay, in both directions.
#[derive(Clone, Copy)]
pub struct Impairment {
    /// Share of datagrams that are lost, in percent.
    pub loss_percent: u64,
    /// The time for which each datagram is held.
    pub delay: Duration,
    /// The seed that chooses the lost datagrams.
    pub seed: u64,
}

/// A running relay; it ends with the test.
pub struct Relay {
    address: SocketAddr,
    lost: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

struct Direction {
    from: UdpSocket,
    to: UdpSocket,
    /// The client's address, set by the direction that hears the client first.
    client: Arc<OnceLock<SocketAddr>>,
    /// `None` in the direction towards the client.
    server: Option<SocketAddr>,
    impairment: Impairment,
    lost: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Relay {
    /// Relays between one client, which sends to `front`, and `server`, reached from `back`.
    pub fn start(
        front: UdpSocket,
        back: UdpSocket,
        server: SocketAddr,
        impairment: Impairment,
    ) -> Self {
        let address = front.local_addr().expect("the socket is bound");
        let client = Arc::new(OnceLock::new());
        let lost = Arc::new(AtomicU64::new(0));
        let over = Arc::new(AtomicBool::new(false));
        let share = |socket: &UdpSocket| socket.try_clone().expect("the socket can be shared");
        let direction = |from: &UdpSocket, to: &UdpSocket, server, seed| Direction {
            from: share(from),
            to: share(to),
            client: Arc::clone(&client),
            server,
            impairment: Impairment { seed, ..impairment },
            lost: Arc::clone(&lost),
            over: Arc::clone(&over),
        };
        let seed = impairment.seed;
        let ways = [
            direction(&front, &back, Some(server), seed),
            direction(&back, &front, None, seed.wrapping_add(1)),
        ];
        let threads = ways.into_iter().flat_map(Direction::start).collect();
        Self { address, lost, over, threads }
    }

    /// The address for the client to send to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Datagrams lost so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Direction {
    /// One thread receives and loses, the other holds and sends.
    fn start(self) -> [JoinHandle<()>; 2] {
        let (held_in, held_out) = mpsc::channel::<(Instant, Vec<u8>)>();
        let to = self.to.try_clone().expect("the socket can be shared");
        let (client, server) = (Arc::clone(&self.client), self.server);
        let sender = thread::spawn(move || {
            for (due, datagram) in held_out {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if let Some(target) = server.or_else(|| client.get().copied()) {
                    // A datagram that cannot be sent is lost.
                    let _ = to.send_to(&datagram, target);
                }
            }
        });
        [thread::spawn(move || self.receive(&held_in)), sender]
    }

    fn receive(self, held: &mpsc::Sender<(Instant, Vec<u8>)>) {
        let tick = Some(Duration::from_millis(50));
        self.from.set_read_timeout(tick).expect("the time is not zero");
        let mut buffer = vec![0; 65_536];
        let mut random = self.impairment.seed;
        while !self.over.load(Ordering::Relaxed) {
            let (len, source) = match self.from.recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                // An ICMP error of an earlier datagram.
                Err(_) => continue,
            };
            if self.server.is_some() {
                self.client.get_or_init(|| source);
            }
            if next_random(&mut random) % 100 < self.impairment.loss_percent {
                self.lost.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let due = Instant::now() + self.impairment.delay;
            if held.send((due, buffer[..len].to_vec())).is_err() {
                return;
            }
        }
    }
}

/// SplitMix64: equal seeds, equal losses.
pub fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

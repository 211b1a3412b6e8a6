//! Free ports, and checks for bound ones.

use std::net::{IpAddr, Ipv6Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::{fs, process};

/// First port to give out. It lies below the ports that kernels choose by themselves. So no other
/// socket gets a port by chance between the check that it is free and its use.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port that is free for UDP and TCP on every address of both families, and that this process has
/// not given out.
pub fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..COUNT {
        // Processes begin at different places.
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let start = (process::id().wrapping_mul(61) % u32::from(COUNT)) as u16;
        let port = FIRST + (start + step % COUNT) % COUNT;
        // A wildcard IPv6 socket takes the port of both families.
        let any = (IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
        if UdpSocket::bind(any).is_ok() && TcpListener::bind(any).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} on");
}

/// The first of `count` ports in a row, an even one. All of them are free as in [`free`].
pub fn free_range(count: u16) -> u16 {
    for _ in 0..COUNT {
        let first = free();
        if first.is_multiple_of(2) && (1..count).all(|step| free() == first + step) {
            return first;
        }
    }
    panic!("no {count} free ports in a row from {FIRST} on");
}

/// Tells whether a process in the network namespace of `pid` has bound UDP `port`.
pub fn is_bound(pid: u32, port: u16) -> bool {
    ["udp", "udp6"].iter().any(|family| {
        let table = fs::read_to_string(format!("/proc/{pid}/net/{family}")).unwrap_or_default();
        table.lines().skip(1).filter_map(local_port).any(|bound| bound == port)
    })
}

/// Tells whether a process in the network namespace of `pid` listens on TCP `port`.
pub fn is_listening(pid: u32, port: u16) -> bool {
    ["tcp", "tcp6"].iter().any(|family| {
        let table = fs::read_to_string(format!("/proc/{pid}/net/{family}")).unwrap_or_default();
        // State 0A is LISTEN.
        let listeners = table.lines().filter(|line| line.split_whitespace().nth(3) == Some("0A"));
        listeners.filter_map(local_port).any(|bound| bound == port)
    })
}

/// The port of a line of /proc/net/udp or /proc/net/tcp. The second column is the local address,
/// with the port in hexadecimal digits.
fn local_port(line: &str) -> Option<u16> {
    let (_, port) = line.split_whitespace().nth(1)?.rsplit_once(':')?;
    u16::from_str_radix(port, 16).ok()
}

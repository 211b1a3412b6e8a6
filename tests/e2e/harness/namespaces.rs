//! Two network namespaces joined by one cable. Needs root.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{process, thread};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::tools;

/// The client's address (RFC 2544's range for benchmarks).
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The server's address.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

/// The two namespaces; removed with everything in them at the end.
pub struct Pair {
    client: String,
    server: String,
}

impl Pair {
    /// Two new namespaces, joined and addressed.
    #[track_caller]
    pub fn new() -> Self {
        tools::need("ip");
        assert!(
            rustix::process::geteuid().is_root(),
            "network namespaces need root: run with sudo"
        );
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("e2e-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let pair = Self { client: format!("{name}-c"), server: format!("{name}-s") };
        let (client, server) = (&pair.client, &pair.server);
        ip(&["netns", "add", client]);
        ip(&["netns", "add", server]);
        ip(&[
            "link", "add", "cable", "netns", client, "type", "veth", "peer", "name", "cable",
            "netns", server,
        ]);
        for (namespace, address) in [(client, CLIENT), (server, SERVER)] {
            ip(&["-n", namespace, "address", "add", &format!("{address}/30"), "dev", "cable"]);
            ip(&["-n", namespace, "link", "set", "lo", "up"]);
            ip(&["-n", namespace, "link", "set", "cable", "up"]);
        }
        pair
    }

    /// Name of the client's namespace.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// Name of the server's namespace.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Sets a parameter of the client's network.
    pub fn set_client(&self, name: &str, value: &str) {
        let setting = format!("{name}={value}");
        ip(&["netns", "exec", &self.client, "sysctl", "-qw", &setting]);
    }

    /// Takes one end of the cable down.
    pub fn pull(&self, namespace: &str) {
        ip(&["-n", namespace, "link", "set", "cable", "down"]);
    }

    /// A socket in the server's namespace, on a port of the kernel's choice.
    pub fn server_socket(&self) -> UdpSocket {
        let path = format!("/run/netns/{}", self.server);
        // Only that thread moves into the namespace; the socket stays where it was made.
        let opener = thread::spawn(move || {
            let namespace = File::open(path).expect("the namespace exists");
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root may enter a namespace");
            UdpSocket::bind(SocketAddr::from((SERVER, 0))).expect("a socket can be bound")
        });
        opener.join().expect("the socket was made")
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for name in [&self.client, &self.server] {
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

#[track_caller]
fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().expect("ip can be started");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {complaint}", args.join(" "));
}

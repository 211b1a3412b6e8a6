//! SIP over UDP. A message is a datagram, so there is no layer between driver and engine.

use std::net::SocketAddr;

use gossipper_uring::{DriverCounters, RxClass, SocketSpec};

use crate::stats::Counters;

/// The specification of a socket for SIP.
pub fn sip_socket(local: SocketAddr, buffer_bytes: usize, reuse_port: bool) -> SocketSpec {
    SocketSpec {
        local,
        remote: None,
        reuse_port,
        rx_class: RxClass::Large,
        receive_buffer_bytes: buffer_bytes,
        send_buffer_bytes: buffer_bytes,
        device: None,
    }
}

/// Adds the driver's counts of datagrams.
pub(in crate::dataplane) fn count(driver: &DriverCounters, counters: &mut Counters) {
    counters.datagrams_sent = driver.datagrams_sent;
    counters.datagrams_received = driver.datagrams_received;
}

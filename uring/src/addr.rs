//! Socket addresses as the kernel lays them out, read and written as bytes.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Bytes of the longest address we handle (`sockaddr_in6`).
pub(crate) const NAME_BYTES: usize = 28;

/// Writes `address` as `sockaddr_in` or `sockaddr_in6` and returns its length.
pub(crate) fn encode(address: &SocketAddr, name: &mut [u8; NAME_BYTES]) -> u32 {
    match address {
        SocketAddr::V4(v4) => {
            name[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
            name[2..4].copy_from_slice(&v4.port().to_be_bytes());
            name[4..8].copy_from_slice(&v4.ip().octets());
            name[8..16].fill(0);
            16
        }
        SocketAddr::V6(v6) => {
            name[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
            name[2..4].copy_from_slice(&v6.port().to_be_bytes());
            name[4..8].copy_from_slice(&v6.flowinfo().to_be_bytes());
            name[8..24].copy_from_slice(&v6.ip().octets());
            name[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
            28
        }
    }
}

/// Reads a `sockaddr_in` or `sockaddr_in6`.
#[inline]
pub(crate) fn decode(name: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(*name.first_chunk()?);
    let port = u16::from_be_bytes(*name.get(2..)?.first_chunk()?);
    match i32::from(family) {
        libc::AF_INET => {
            let octets: [u8; 4] = *name.get(4..)?.first_chunk()?;
            Some(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::from(octets), port)))
        }
        libc::AF_INET6 => {
            let flow = u32::from_be_bytes(*name.get(4..)?.first_chunk()?);
            let octets: [u8; 16] = *name.get(8..)?.first_chunk()?;
            let scope = u32::from_ne_bytes(*name.get(24..)?.first_chunk()?);
            Some(SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from(octets), port, flow, scope)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_survive_the_round_trip() {
        for text in ["192.0.2.7:5060", "[2001:db8::1%7]:65535", "[::1]:1"] {
            let address: SocketAddr = text.parse().expect("literal");
            let mut name = [0xff; NAME_BYTES];
            let length = encode(&address, &mut name) as usize;
            assert_eq!(decode(&name[..length]), Some(address), "{text}");
        }
    }

    #[test]
    fn short_or_foreign_names_are_refused() {
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[2, 0, 1]), None);
        assert_eq!(decode(&[1, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}

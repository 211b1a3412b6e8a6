//! Addresses of a run: our own, those of peers, and the answers of the system's resolver.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

use super::{RunError, targets};
use crate::config::{HostPort, RunConfig};

/// Addresses of this program and of its peer.
pub(super) struct Addresses {
    /// Our address in headers.
    pub(super) local: IpAddr,
    /// Our address to bind; it may be the unspecified one.
    pub(super) bind: IpAddr,
    pub(super) remote: Option<SocketAddr>,
    pub(super) remote_host: String,
    pub(super) next_hop: Option<SocketAddr>,
}

impl Addresses {
    /// Resolves the addresses of the configuration.
    pub(super) fn resolve(config: &RunConfig, is_client: bool) -> Result<Self, RunError> {
        // If both are given, messages go only to the address of `-rsa`.
        let judges = config.reach.for_run();
        let (for_remote, for_rsa) = match config.rsa {
            Some(_) => (None, judges),
            None => (judges, None),
        };
        let address = |host: &Option<HostPort>, judges| {
            let host = host.as_ref();
            host.map(|host| {
                targets::resolve(host, config.local_ip, judges, config, targets::REMOTE)
            })
            .transpose()
        };
        let remote = address(&config.remote, for_remote)?;
        let rsa = address(&config.rsa, for_rsa)?;
        let next_hop = rsa.or(remote);
        if is_client && next_hop.is_none() {
            return Err(RunError::NoRemote);
        }
        let local = match (config.local_ip, next_hop) {
            (Some(ip), _) if !ip.is_unspecified() => ip,
            (_, Some(hop)) => source_address(hop)
                .map_err(|source| RunError::NoRoute { host: hop.ip(), source })?,
            (any, None) => primary_address(any.is_some_and(|ip| ip.is_ipv6())),
        };
        let unspecified = match local {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        // Only an address that the user gave is bound, or our own if that was requested; otherwise
        // all addresses.
        let bind = match config.bind_local {
            true => local,
            false => config.local_ip.unwrap_or(unspecified),
        };
        let host = config.remote.as_ref().or(config.rsa.as_ref());
        Ok(Self {
            local,
            bind,
            remote: remote.or(rsa).filter(|_| is_client),
            remote_host: host.map(|host| host.host.clone()).unwrap_or_default(),
            // A server answers to the source of a request, unless `-rsa` is given.
            next_hop: if is_client { next_hop } else { rsa },
        })
    }
}

/// All addresses of a host; there is at least one.
pub(super) fn resolve_all(host: &HostPort) -> Result<Vec<SocketAddr>, RunError> {
    let failed = |reason: String| RunError::Resolve { host: host.host.clone(), reason };
    let all: Vec<SocketAddr> = match host.ip() {
        Some(ip) => vec![SocketAddr::new(ip, host.port)],
        None => (host.host.as_str(), host.port)
            .to_socket_addrs()
            .map_err(|error| failed(error.to_string()))?
            .collect(),
    };
    if all.is_empty() { Err(failed("no address".to_owned())) } else { Ok(all) }
}

/// The first address of a host, of the family of `local` if that is given.
pub(super) fn pick(
    all: Vec<SocketAddr>,
    host: &HostPort,
    local: Option<IpAddr>,
) -> Result<SocketAddr, RunError> {
    let first = all.first().copied();
    match local {
        None => first.ok_or_else(|| RunError::Resolve {
            host: host.host.clone(),
            reason: "no address".to_owned(),
        }),
        Some(local) => all
            .into_iter()
            .find(|address| address.is_ipv4() == local.is_ipv4())
            .ok_or_else(|| RunError::Family { local, host: host.host.clone() }),
    }
}

/// The address from which the kernel would send to `peer`; no packet is sent.
fn source_address(peer: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    // Port 0 cannot be connected to; the port does not matter here.
    socket.connect(SocketAddr::new(peer.ip(), peer.port().max(1)))?;
    Ok(socket.local_addr()?.ip())
}

/// The address of the default route, else loopback.
fn primary_address(ipv6: bool) -> IpAddr {
    // Documentation addresses (RFC 5737, RFC 3849): the default route covers them, and no packet is
    // sent.
    let (probe, loopback): (IpAddr, IpAddr) = match ipv6 {
        false => (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::LOCALHOST.into()),
        true => (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(), Ipv6Addr::LOCALHOST.into()),
    };
    source_address(SocketAddr::new(probe, 5060)).unwrap_or(loopback)
}

//! The source addresses of `-t ui`: those in a column of the default injection file.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use super::RunError;
use super::data::Tables;
use crate::config::{RunConfig, Transport};
use crate::injection::{InjectionFile, Order, Table};

/// Ports of the kernel's choice that are tried until one is free on all addresses.
const ATTEMPTS: usize = 64;

/// The column, and its different addresses in the order of their rows; `None` with another
/// transport. Collection stops at `max` + 1 addresses, which is too many.
pub(super) fn read(
    config: &RunConfig,
    tables: &Tables,
    peer: Option<IpAddr>,
    max: usize,
) -> Result<Option<(u16, Vec<IpAddr>)>, RunError> {
    let file = match tables.files.first() {
        Some(file) if config.transport == Transport::UdpPerAddress => file,
        _ => return Ok(None),
    };
    let column = config.address_column;
    let table = Table::new(file.clone());
    if let Some(users) = config.users.filter(|_| file.order() == Order::User)
        && users > file.rows()
    {
        let what = format!("{users} users (-users) take {} rows with addresses", file.rows());
        return Err(file.fault(0, what, "add a row for each user, or lower -users").into());
    }
    if file.order() == Order::User && config.users.is_none() {
        let hint = "give -users, or make the file SEQUENTIAL or RANDOM";
        let what = "USER rows belong to users, but this run needs addresses for calls".to_owned();
        return Err(file.fault(0, what, hint).into());
    }
    // One row that stands for many is read once, unless its addresses contain numbers.
    let rows = if file.varies(column) { file.rows() } else { file.rows_in_file() };
    let mut ips = Vec::new();
    let mut known = HashSet::new();
    let mut text = Vec::new();
    for row in 0..rows {
        text.clear();
        table.put_field(row, column, |bytes| text.extend_from_slice(bytes));
        let ip = address(file, row, column, &text, peer)?;
        if known.insert(ip) {
            ips.push(ip);
            if ips.len() > max {
                break;
            }
        }
    }
    Ok(Some((column, ips)))
}

/// The address in a row, if it can be the source of calls.
fn address(
    file: &InjectionFile,
    row: u64,
    column: u16,
    text: &[u8],
    peer: Option<IpAddr>,
) -> Result<IpAddr, RunError> {
    let text = String::from_utf8_lossy(text);
    let fault = |what: String, hint| {
        let what = format!("column {column} (from 0): {what}");
        RunError::from(file.fault(file.row_in_file(row), what, hint))
    };
    let Ok(ip) = text.trim().parse::<IpAddr>() else {
        let hint = "-t ui needs an IP address there; -ip_field gives their column";
        return Err(fault(format!("\"{text}\" is not an IP address"), hint));
    };
    let ip = ip.to_canonical();
    if ip.is_unspecified() || ip.is_multicast() {
        let hint = "-t ui needs an address of this host there; see `ip addr`";
        return Err(fault(format!("calls cannot be made from {ip}"), hint));
    }
    if let Some(peer) = peer.filter(|peer| peer.is_ipv4() != ip.is_ipv4()) {
        let hint = "addresses must be of the peer's family, all IPv4 or all IPv6";
        return Err(fault(format!("{ip} cannot reach {peer}"), hint));
    }
    Ok(ip)
}

/// The first of `candidates` that is free on all addresses. If none is, all of them, so that
/// binding reports the reason.
pub(super) fn common_port(candidates: Vec<u16>, ips: &[IpAddr]) -> Vec<u16> {
    let is_free = |port: u16| ips.iter().all(|&ip| UdpSocket::bind((ip, port)).is_ok());
    let chosen = candidates.iter().find_map(|&port| match (port, ips.first()) {
        (0, Some(&first)) => (0..ATTEMPTS)
            .filter_map(|_| Some(UdpSocket::bind((first, 0)).ok()?.local_addr().ok()?.port()))
            .find(|&port| is_free(port)),
        _ => Some(port).filter(|&port| is_free(port)),
    });
    chosen.map_or(candidates, |port| vec![port])
}

/// Checks that the addresses are those of this host, by binding each to some port.
pub(super) fn check_local(tables: &Tables, column: u16, ips: &[IpAddr]) -> Result<(), RunError> {
    let Some(file) = tables.files.first() else { return Ok(()) };
    for &ip in ips {
        let Err(error) = UdpSocket::bind(SocketAddr::new(ip, 0)) else { continue };
        let is_ip =
            |text: &[u8]| str::from_utf8(text).is_ok_and(|text| text.trim().parse() == Ok(ip));
        let row = file.column(column).find(|&(_, text)| is_ip(text)).map_or(0, |(row, _)| row);
        let what = format!("column {column} (from 0): cannot listen on {ip}: {error}");
        let hint = "-t ui needs addresses of this host; see `ip addr`";
        return Err(file.fault(row as u32, what, hint).into());
    }
    Ok(())
}

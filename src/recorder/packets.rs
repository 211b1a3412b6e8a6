//! A recording of a call's packets as pcapng, with the addresses that they had.
//!
//! The packets are those of IP. Their headers are made here, since a socket hands out none: with
//! addresses, ports and lengths, and without checksums.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::take::{BYTES_MAX, Output};
use crate::media::tap::Copied;
use crate::stats::RecordingLoss;

/// Bytes that gather before they are written.
const GATHERED_BYTES: usize = 64 << 10;
/// Packets of IP without a header before them (`LINKTYPE_RAW`).
const LINK_TYPE: u16 = 101;
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// Bytes of an enhanced packet block beside its packet and the padding.
const BLOCK_BYTES: usize = 32;
/// Longest datagram over IPv4.
const DATAGRAM_MAX: usize = 65_507;
/// UDP, in headers of IP.
const UDP: u8 = 17;

/// A recording of packets.
pub(super) struct PacketTake {
    pub(super) output: Output,
    /// Bytes that were not written yet, and the offset of the first.
    gathered: Vec<u8>,
    offset: u64,
}

impl PacketTake {
    pub(super) fn new(output: Output) -> Self {
        let mut gathered = Vec::new();
        let header = [SECTION_HEADER, 28, BYTE_ORDER, 1, u32::MAX, u32::MAX, 28];
        header.iter().for_each(|word| gathered.extend_from_slice(&word.to_le_bytes()));
        // Times are in nanoseconds: the option `if_tsresol` is 9.
        let words = [INTERFACE_DESCRIPTION, 32, u32::from(LINK_TYPE), 0];
        words.iter().for_each(|word| gathered.extend_from_slice(&word.to_le_bytes()));
        gathered.extend_from_slice(&[9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        gathered.extend_from_slice(&32_u32.to_le_bytes());
        Self { output, gathered, offset: 0 }
    }

    /// Takes a datagram of the call, at the Unix time `unix_ns`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn take(
        &mut self,
        copied: &Copied<'_>,
        unix_ns: u64,
    ) -> io::Result<Option<RecordingLoss>> {
        let size = self.offset + self.gathered.len() as u64 + copied.bytes.len() as u64;
        // A message over TCP may be longer than a datagram can be.
        if size > BYTES_MAX || copied.bytes.len() > DATAGRAM_MAX {
            return Ok(Some(RecordingLoss::TooLong));
        }
        let (from, to) = match copied.is_sent {
            true => (copied.local, copied.remote),
            false => (copied.remote, copied.local),
        };
        let header = if from.is_ipv4() && to.is_ipv4() { 20 } else { 40 };
        let len = header + 8 + copied.bytes.len();
        let padded = len.next_multiple_of(4);
        let block = (BLOCK_BYTES + padded) as u32;
        let out = &mut self.gathered;
        let words = [
            ENHANCED_PACKET,
            block,
            0,
            (unix_ns >> 32) as u32,
            unix_ns as u32,
            len as u32,
            len as u32,
        ];
        words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        put_headers(from, to, copied.bytes.len(), out);
        out.extend_from_slice(copied.bytes);
        out.resize(out.len() + padded - len, 0);
        out.extend_from_slice(&block.to_le_bytes());
        if self.gathered.len() >= GATHERED_BYTES {
            self.write()?;
        }
        Ok(None)
    }

    fn write(&mut self) -> io::Result<()> {
        self.output.write_at(&self.gathered, self.offset)?;
        self.offset += self.gathered.len() as u64;
        self.gathered.clear();
        Ok(())
    }

    /// Writes the rest. The file is whole then.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.write()
    }
}

/// Headers of IP and UDP for a datagram of `len` bytes.
fn put_headers(from: SocketAddr, to: SocketAddr, len: usize, out: &mut Vec<u8>) {
    // A datagram that the system took is not longer.
    let udp_len = (8 + len) as u16;
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.extend_from_slice(&[0x45, 0]);
            out.extend_from_slice(&udp_len.saturating_add(20).to_be_bytes());
            out.extend_from_slice(&[0, 0, 0x40, 0, 64, UDP, 0, 0]);
            out.extend_from_slice(&from.octets());
            out.extend_from_slice(&to.octets());
        }
        (from, to) => {
            out.extend_from_slice(&[0x60, 0, 0, 0]);
            out.extend_from_slice(&udp_len.to_be_bytes());
            out.extend_from_slice(&[UDP, 64]);
            for ip in [from, to] {
                let ip = match ip {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                    IpAddr::V6(ip) => ip,
                };
                out.extend_from_slice(&ip.octets());
            }
        }
    }
    for number in [from.port(), to.port(), udp_len, 0] {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

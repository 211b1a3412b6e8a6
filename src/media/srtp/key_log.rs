//! Keys of a run as text, for the reading of captures.
//!
//! Wireshark does not decrypt SRTP, whatever the key exchange. `rtp_decoder` of libsrtp does: it
//! takes suite and key as they stand in a line of this log, and its output becomes a capture for
//! Wireshark by `text2pcap`. The addresses and the SSRC select the packets. With SIP over TLS the
//! session descriptions are not readable in a capture, and this log is the only place of the keys.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::MasterKey;
use crate::sip::base64;

/// A stream of packets under one key.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'a> {
    /// The Call-ID.
    pub call_id: &'a str,
    /// The sender.
    pub source: SocketAddr,
    /// The receiver.
    pub destination: SocketAddr,
    /// The source of the packets; `None` if it is not known yet.
    pub ssrc: Option<u32>,
}

/// Appends the line of a stream: source, destination, SSRC, suite, key and salt in base64, what the
/// protection lacks, Call-ID.
pub fn write_key_log(flow: &Flow<'_>, master: &MasterKey, out: &mut String) {
    // Writing to a string does not fail.
    let _ = write!(out, "{} {} ", flow.source, flow.destination);
    match flow.ssrc {
        Some(ssrc) => drop(write!(out, "0x{ssrc:08x} ")),
        None => out.push_str("any "),
    }
    out.push_str(master.suite().name());
    out.push(' ');
    let mut bytes = [0; 46];
    let (key, salt) = (master.key(), master.salt());
    bytes[..key.len()].copy_from_slice(key);
    let len = key.len() + salt.len();
    bytes[key.len()..len].copy_from_slice(salt);
    out.extend(base64::encode(&bytes[..len]).map(char::from));
    let waivers = master.waivers;
    for (is_waived, name) in [
        (waivers.rtp_encryption, " UNENCRYPTED_SRTP"),
        (waivers.rtcp_encryption, " UNENCRYPTED_SRTCP"),
        (waivers.rtp_authentication, " UNAUTHENTICATED_SRTP"),
    ] {
        out.push_str(if is_waived { name } else { "" });
    }
    // A Call-ID of the peer may have any characters.
    out.push_str(" call-id=");
    out.extend(flow.call_id.chars().map(|c| if c.is_control() { '?' } else { c }));
    out.push('\n');
}

//! A first look at a datagram, cheaper than parsing it, which tells SIP, keepalives and other data
//! apart.
//!
//! Looks at the first line and the first twenty bytes only. A datagram called [`Datagram::Sip`]
//! may still fail to parse, and then deserves an answer; the others never do.

use super::lines;

/// The kinds of datagrams on a SIP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// A datagram whose first line mentions SIP where a request line or a status line does.
    Sip,
    /// Line breaks, NUL bytes or nothing: keeps a NAT binding open and wants no answer.
    Keepalive,
    /// A STUN message (RFC 8489 5), which RFC 5626 3.5.2 mixes with SIP.
    Stun,
    /// Anything else.
    NotSip,
}

/// The length of a STUN header (RFC 8489 5).
const STUN_HEADER_LEN: usize = 20;
/// The value of bytes 4 to 7 of every STUN message.
const STUN_MAGIC: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

/// Tells the kind of a datagram.
pub fn classify(bytes: &[u8]) -> Datagram {
    if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Datagram::Keepalive;
    }
    // The two top bits of a STUN message are zero; so are those of some SIP bytes, hence the magic.
    if bytes.len() >= STUN_HEADER_LEN && bytes[0] < 0x40 && bytes[4..8] == STUN_MAGIC {
        return Datagram::Stun;
    }
    let text = &bytes[lines::leading_breaks(bytes)..];
    let first = lines::first_line(text).map_or(text, |(line, _)| line).trim_ascii_end();
    if first.len() >= 4 && first[..4].eq_ignore_ascii_case(b"SIP/") {
        return Datagram::Sip;
    }
    let version = first.iter().rposition(|byte| matches!(byte, b' ' | b'\t'));
    match version.and_then(|blank| first.get(blank + 1..blank + 5)) {
        Some(name) if name.eq_ignore_ascii_case(b"SIP/") => Datagram::Sip,
        _ => Datagram::NotSip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keepalives_are_breaks_and_nuls() {
        for bytes in [&b""[..], b"\r\n\r\n", b"\r\n", b"\0", b"\0\0\0\0"] {
            assert_eq!(classify(bytes), Datagram::Keepalive);
        }
    }

    #[test]
    fn sip_is_known_by_its_first_line() {
        for bytes in [
            &b"INVITE sip:a@b SIP/2.0\r\nVia: x\r\n"[..],
            b"\r\nINVITE sip:a@b SIP/7.0  \r\n",
            b"SIP/2.0 200 OK\r\n\r\n",
            b"BYE <sip:a@b> sip/2.0",
        ] {
            assert_eq!(classify(bytes), Datagram::Sip);
        }
    }

    #[test]
    fn stun_and_strangers_are_not_sip() {
        let mut stun = [0u8; 20];
        stun[1] = 1;
        stun[4..8].copy_from_slice(&STUN_MAGIC);
        assert_eq!(classify(&stun), Datagram::Stun);
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"\x80\x00\x01\x02", b"hello", b"a SIP"] {
            assert_eq!(classify(bytes), Datagram::NotSip);
        }
    }
}

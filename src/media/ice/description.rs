//! The words of a session description about ICE (RFC 8839).

use std::net::{IpAddr, SocketAddr};

use super::CANDIDATES_MAX;
use crate::sip::{Media, Sdp};

/// Most `candidate` attributes of a section that are looked at.
const LINES_MAX: usize = 64;
/// Lengths of a user fragment and of a password (RFC 8839 section 5.4).
const UFRAG_LEN: std::ops::RangeInclusive<usize> = 4..=256;
const PASSWORD_LEN: std::ops::RangeInclusive<usize> = 22..=256;

/// The words of one side about ICE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The user fragment.
    pub ufrag: String,
    /// The password.
    pub password: String,
    /// True if the side only answers checks.
    pub is_lite: bool,
    /// Addresses over UDP, with their priorities. Those of names and of the other IP version are
    /// left out: checks of the peer show its address just as well.
    pub candidates: Vec<(SocketAddr, u32)>,
}

impl Description {
    /// The words of a section, or of the session around it; `None` without user fragment and
    /// password. Addresses are of the family of `own`.
    pub fn read(sdp: &Sdp<'_>, section: &Media<'_>, own: IpAddr) -> Option<Self> {
        let text = |name: &str, len: std::ops::RangeInclusive<usize>| {
            let session = sdp.attributes().filter(|(other, _)| *other == name.as_bytes());
            let value = section.attribute(name).next();
            let value = value.or_else(|| session.filter_map(|(_, value)| value).next())?;
            let is_valid = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
            let is_valid = len.contains(&value.len()) && value.iter().all(is_valid);
            std::str::from_utf8(value).ok().filter(|_| is_valid).map(str::to_owned)
        };
        let (ufrag, password) = text("ice-ufrag", UFRAG_LEN).zip(text("ice-pwd", PASSWORD_LEN))?;
        let lines = section.attribute("candidate").take(LINES_MAX);
        let candidates = lines.filter_map(candidate);
        let candidates = candidates.filter(|(address, _)| address.is_ipv4() == own.is_ipv4());
        Some(Self {
            ufrag,
            password,
            is_lite: sdp.attributes().any(|(name, _)| name == b"ice-lite"),
            candidates: candidates.take(CANDIDATES_MAX).collect(),
        })
    }

    /// True if `other` is of the same session.
    pub fn has_credentials_of(&self, other: &Self) -> bool {
        (&self.ufrag, &self.password) == (&other.ufrag, &other.password)
    }
}

/// Reads `foundation component transport priority address port typ ...`. Only what can be sent to
/// counts: the component of RTP over UDP.
fn candidate(value: &[u8]) -> Option<(SocketAddr, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let mut words = text.split_ascii_whitespace().skip(1);
    let component = words.next()?;
    let transport = words.next()?;
    let priority = words.next()?.parse().ok()?;
    let ip: IpAddr = words.next()?.parse().ok()?;
    let port = words.next()?.parse().ok().filter(|&port: &u16| port > 0)?;
    let ip = ip.to_canonical();
    let is_target = match ip {
        IpAddr::V4(v4) => !v4.is_broadcast(),
        IpAddr::V6(_) => true,
    };
    let is_target = is_target && !ip.is_multicast() && !ip.is_unspecified();
    let is_rtp = component == "1" && transport.eq_ignore_ascii_case("udp");
    (is_rtp && is_target).then_some((SocketAddr::new(ip, port), priority))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn read(session: &str, lines: &str) -> Option<Description> {
        let text =
            format!("v=0\r\nc=IN IP4 0.0.0.0\r\n{session}m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n{lines}");
        let sdp = Sdp::parse(text.as_bytes()).unwrap();
        Description::read(&sdp, &sdp.media().next().unwrap().unwrap(), V4)
    }

    const SECRETS: &str = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdefghij+/\r\n";

    #[test]
    fn candidates_that_can_be_sent_to_count() {
        let lines = "a=candidate:1 1 UDP 100 192.0.2.5 4000 typ host\r\n\
                     a=candidate:1 2 UDP 100 192.0.2.5 4001 typ host\r\n\
                     a=candidate:2 1 tcp 100 192.0.2.5 9 typ host tcptype active\r\n\
                     a=candidate:3 1 udp 90 7b0e6b1e-ab.local 4000 typ host\r\n\
                     a=candidate:4 1 udp 80 2001:db8::1 4000 typ host\r\n\
                     a=candidate:5 1 udp 70 198.51.100.1 5000 typ srflx raddr 0.0.0.0 rport 0\r\n\
                     a=candidate:6 1 udp 70 239.1.1.1 5000 typ host\r\n\
                     a=candidate:7 1 udp 70 0.0.0.0 5000 typ host\r\n\
                     a=candidate:8 1 udp 70 192.0.2.5 0 typ host\r\n\
                     a=candidate:9 1 udp 99999999999 192.0.2.5 5 typ host\r\n\
                     a=candidate:\r\n";
        let of = read("", &format!("{SECRETS}{lines}")).unwrap();
        let shown: Vec<_> = of
            .candidates
            .iter()
            .map(|(address, priority)| (address.to_string(), *priority))
            .collect();
        let expected = [("192.0.2.5:4000", 100), ("198.51.100.1:5000", 70)];
        assert_eq!(shown, expected.map(|(address, priority)| (address.to_owned(), priority)));
        let many: String = (1..1000)
            .map(|port| format!("a=candidate:1 1 UDP 100 192.0.2.5 {port} typ host\r\n"))
            .collect();
        assert_eq!(read("", &format!("{SECRETS}{many}")).unwrap().candidates.len(), CANDIDATES_MAX);
    }

    #[test]
    fn secrets_may_be_those_of_the_session() {
        let of = read(&format!("a=ice-lite\r\n{SECRETS}"), "").unwrap();
        assert!(of.is_lite && of.ufrag == "abcd" && of.candidates.is_empty());
        let own = read(SECRETS, "a=ice-ufrag:efgh\r\n").unwrap();
        assert!(!own.is_lite && own.ufrag == "efgh" && !own.has_credentials_of(&of));
        for bad in [
            "",
            "a=ice-ufrag:abcd\r\n",
            "a=ice-ufrag:abc\r\na=ice-pwd:0123456789abcdefghij+/\r\n",
            "a=ice-ufrag:abcd\r\na=ice-pwd:short\r\n",
            "a=ice-ufrag:ab:d\r\na=ice-pwd:0123456789abcdefghij+/\r\n",
        ] {
            assert!(read("", bad).is_none(), "{bad}");
        }
    }
}

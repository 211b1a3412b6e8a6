//! URIs: sip and sips taken apart, any other scheme left whole (RFC 3261 19.1).
//!
//! Nothing is unescaped and nothing is resolved.

use core::net::IpAddr;

use super::text::port;
use super::{Params, SyntaxError};

/// A URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uri<'m> {
    /// `sip:` or `sips:`.
    Sip(SipUri<'m>),
    /// Any other scheme: `tel:` and the inventions of RFC 4475.
    Other {
        /// The text before the first colon.
        scheme: &'m [u8],
        /// The text after the first colon.
        rest: &'m [u8],
    },
}

/// A SIP or SIPS URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SipUri<'m> {
    /// True if the scheme is `sips`.
    pub secure: bool,
    /// The user part as it is written, or `None` if there is no `@`.
    pub user: Option<&'m [u8]>,
    /// The text behind a colon in the user part.
    pub password: Option<&'m [u8]>,
    /// The host as it is written; an IPv6 literal keeps its brackets.
    pub host: &'m [u8],
    /// The port, if one is written.
    pub port: Option<u16>,
    /// The URI parameters.
    pub params: Params<'m>,
    /// The text behind the question mark, possibly empty.
    pub headers: &'m [u8],
}

impl<'m> Uri<'m> {
    /// Takes a URI apart.
    pub fn parse(text: &'m [u8]) -> Result<Self, SyntaxError> {
        let colon = memchr::memchr(b':', text).ok_or(SyntaxError::BadScheme)?;
        let (scheme, rest) = (&text[..colon], &text[colon + 1..]);
        if !is_scheme(scheme) {
            return Err(SyntaxError::BadScheme);
        }
        let secure = scheme.eq_ignore_ascii_case(b"sips");
        if !secure && !scheme.eq_ignore_ascii_case(b"sip") {
            return Ok(Self::Other { scheme, rest });
        }
        SipUri::parse_rest(secure, rest).map(Self::Sip)
    }

    /// The parts of a SIP or SIPS URI, or `None` for another scheme.
    pub const fn sip(&self) -> Option<&SipUri<'m>> {
        match self {
            Self::Sip(uri) => Some(uri),
            Self::Other { .. } => None,
        }
    }
}

impl<'m> SipUri<'m> {
    /// The host as an address, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        host_ip(self.host)
    }

    /// Takes the part behind the scheme apart.
    fn parse_rest(secure: bool, text: &'m [u8]) -> Result<Self, SyntaxError> {
        // An unescaped `@` separates the user part and nothing else; user and password may hold `;`
        // and `?`.
        let (userinfo, text) = match memchr::memchr(b'@', text) {
            Some(at) => (Some(&text[..at]), &text[at + 1..]),
            None => (None, text),
        };
        let (user, password) = match userinfo.map(|info| (info, memchr::memchr(b':', info))) {
            None => (None, None),
            Some((info, None)) => (Some(info), None),
            Some((info, Some(colon))) => (Some(&info[..colon]), Some(&info[colon + 1..])),
        };
        if user.is_some_and(<[u8]>::is_empty) {
            return Err(SyntaxError::Empty);
        }
        let (text, headers) = match memchr::memchr(b'?', text) {
            Some(mark) => (&text[..mark], &text[mark + 1..]),
            None => (text, &[][..]),
        };
        let end = memchr::memchr(b';', text).unwrap_or(text.len());
        let (hostport, params) = text.split_at(end);
        let (host, port) = split_host_port(hostport)?;
        Ok(Self { secure, user, password, host, port, params: Params::new(params), headers })
    }
}

/// Tells whether `text` may name a scheme (RFC 3986 3.1).
fn is_scheme(text: &[u8]) -> bool {
    let rest = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    text.first().is_some_and(u8::is_ascii_alphabetic) && text.iter().all(rest)
}

/// Splits `host[:port]`; an IPv6 literal has its colons in brackets.
pub(super) fn split_host_port(text: &[u8]) -> Result<(&[u8], Option<u16>), SyntaxError> {
    let host_len = match text {
        [b'[', ..] => memchr::memchr(b']', text).ok_or(SyntaxError::BadHost)? + 1,
        _ => memchr::memchr(b':', text).unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at(host_len);
    if !is_host(host) {
        return Err(SyntaxError::BadHost);
    }
    match rest {
        [] => Ok((host, None)),
        [b':', digits @ ..] => {
            port(digits).map(|port| (host, Some(port))).ok_or(SyntaxError::BadPort)
        }
        _ => Err(SyntaxError::BadHost),
    }
}

/// Tells whether `host` is a bracketed IPv6 address, or has only the characters of a name or an
/// IPv4 address. Underscores are no part of RFC 3261's `hostname` but of many real ones.
fn is_host(host: &[u8]) -> bool {
    match host {
        [] => false,
        [b'[', ..] => host_ip(host).is_some(),
        _ => host.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')),
    }
}

/// The address that `host` spells, with or without brackets.
pub(super) fn host_ip(host: &[u8]) -> Option<IpAddr> {
    let text = match host {
        [b'[', inner @ .., b']'] => inner,
        _ => host,
    };
    core::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sip(text: &'static str) -> SipUri<'static> {
        *Uri::parse(text.as_bytes()).unwrap().sip().unwrap()
    }

    #[test]
    fn every_part_is_found() {
        let uri = sip("sips:alice:secret@[2001:db8::9]:5061;transport=tcp;lr?subject=x&to=y");
        assert!(uri.secure);
        assert_eq!(uri.user, Some(&b"alice"[..]));
        assert_eq!(uri.password, Some(&b"secret"[..]));
        assert_eq!(uri.host, b"[2001:db8::9]");
        assert_eq!(uri.ip(), Some("2001:db8::9".parse().unwrap()));
        assert_eq!(uri.port, Some(5061));
        assert_eq!(uri.params.find("transport").unwrap().value, Some(&b"tcp"[..]));
        assert!(uri.params.find("LR").is_some());
        assert_eq!(uri.headers, b"subject=x&to=y");
    }

    #[test]
    fn user_parts_may_hold_what_separates_elsewhere() {
        let uri = sip("sip:user;par=u%40example.net@example.com");
        assert_eq!(uri.user, Some(&b"user;par=u%40example.net"[..]));
        assert_eq!(uri.host, b"example.com");
        assert_eq!(uri.params.check(), Ok(()));
        assert_eq!(sip("sip:null-%00-null@h").user, Some(&b"null-%00-null"[..]));
    }

    #[test]
    fn a_bare_host_is_enough() {
        let uri = sip("SIP:192.0.2.1");
        assert_eq!((uri.user, uri.port), (None, None));
        assert_eq!(uri.ip(), Some("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn other_schemes_stay_whole() {
        let expected = Uri::Other { scheme: b"tel", rest: b"+1-201-555-0123" };
        assert_eq!(Uri::parse(b"tel:+1-201-555-0123"), Ok(expected));
    }

    #[test]
    fn malformed_uris_say_why() {
        for (text, error) in [
            ("example.com", SyntaxError::BadScheme),
            (":x", SyntaxError::BadScheme),
            ("1sip:x", SyntaxError::BadScheme),
            ("sip:", SyntaxError::BadHost),
            ("sip:@h", SyntaxError::Empty),
            ("sip:a@", SyntaxError::BadHost),
            ("sip:a@h:x", SyntaxError::BadPort),
            ("sip:a@h:70000", SyntaxError::BadPort),
            ("sip:a@[::1", SyntaxError::BadHost),
            ("sip:a@[zz]", SyntaxError::BadHost),
            ("sip:a@[::1]x", SyntaxError::BadHost),
            ("sip:a@h i", SyntaxError::BadHost),
        ] {
            assert_eq!(Uri::parse(text.as_bytes()), Err(error), "{text}");
        }
    }
}

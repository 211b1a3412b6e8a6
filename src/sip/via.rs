//! The Via header, which routes a response back (RFC 3261 20.42, RFC 3581).
//!
//! Knows the grammar; other code decides on the address for a response.

use core::net::IpAddr;

use super::text::{port, take_token, trim_start};
use super::uri::{host_ip, split_host_port};
use super::{Params, SyntaxError, params};

/// One Via entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'m> {
    /// `UDP`, `TCP`, `TLS`, `WS`, `WSS`, `SCTP` or another token, as it is written.
    pub transport: &'m [u8],
    /// The host of sent-by as it is written; an IPv6 literal keeps its brackets.
    pub host: &'m [u8],
    /// The port of sent-by, if one is written.
    pub port: Option<u16>,
    /// The `branch` parameter.
    pub branch: Option<&'m [u8]>,
    /// The `received` parameter: the address from which the request really came.
    pub received: Option<&'m [u8]>,
    /// The `rport` parameter.
    pub rport: Rport,
    /// All parameters.
    pub params: Params<'m>,
}

/// The `rport` parameter of RFC 3581.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rport {
    /// The parameter is absent: answer to the port of sent-by.
    Absent,
    /// The parameter has no value: the sender wants answers at the port it sent from.
    Requested,
    /// The receiver has filled in the port.
    Port(u16),
}

impl<'m> Via<'m> {
    /// Reads one element of a Via list.
    pub fn parse(text: &'m [u8]) -> Result<Self, SyntaxError> {
        let (transport, rest) = take_protocol(text)?;
        let (sent_by, params) = params::split(trim_start(rest));
        let (host, port) = split_host_port(sent_by).or_else(|error| spaced(sent_by, error))?;
        let mut via = Self {
            transport,
            host,
            port,
            branch: None,
            received: None,
            rport: Rport::Absent,
            params,
        };
        for param in params {
            via.note(param?)?;
        }
        Ok(via)
    }

    /// `received` as an address.
    pub fn received_ip(&self) -> Option<IpAddr> {
        host_ip(self.received?)
    }

    fn note(&mut self, param: super::Param<'m>) -> Result<(), SyntaxError> {
        // Compared by length first: most parameters of most messages are one of these.
        match param.name.len() {
            6 if param.is("branch") => self.branch = param.value,
            8 if param.is("received") => self.received = param.unquoted(),
            5 if param.is("rport") => {
                self.rport = match param.value {
                    None => Rport::Requested,
                    Some(value) => Rport::Port(port(value).ok_or(SyntaxError::BadPort)?),
                };
            }
            _ => {}
        }
        Ok(())
    }
}

/// Takes `SIP / 2.0 / transport` off; white space may surround the slashes.
fn take_protocol(text: &[u8]) -> Result<(&[u8], &[u8]), SyntaxError> {
    let (name, rest) = take_token(trim_start(text)).ok_or(SyntaxError::BadProtocol)?;
    let (version, rest) = take_after_slash(rest)?;
    let (transport, rest) = take_after_slash(rest)?;
    if !name.eq_ignore_ascii_case(b"SIP") || version != b"2.0" {
        return Err(SyntaxError::BadProtocol);
    }
    if rest.first().is_some_and(|byte| !super::text::is_lws(*byte)) {
        return Err(SyntaxError::BadProtocol);
    }
    Ok((transport, rest))
}

fn take_after_slash(text: &[u8]) -> Result<(&[u8], &[u8]), SyntaxError> {
    match trim_start(text) {
        [b'/', rest @ ..] => take_token(trim_start(rest)).ok_or(SyntaxError::BadProtocol),
        _ => Err(SyntaxError::BadProtocol),
    }
}

/// Reads `host : port` with white space around the colon, which Via alone allows (RFC 3261 25.1
/// COLON).
fn spaced(text: &[u8], error: SyntaxError) -> Result<(&[u8], Option<u16>), SyntaxError> {
    let colon = text.iter().rposition(|byte| *byte == b':').ok_or(error)?;
    let (host, none) = split_host_port(super::text::trim_end(&text[..colon]))?;
    match (none, port(trim_start(&text[colon + 1..]))) {
        (None, Some(port)) => Ok((host, Some(port))),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_of_a_via() {
        let via = Via::parse(
            b"SIP/2.0/UDP [2001:db8::1]:5062;rport=9;received=192.0.2.7;branch=z9hG4bKx;ttl=1",
        )
        .unwrap();
        assert_eq!(via.transport, b"UDP");
        assert_eq!((via.host, via.port), (&b"[2001:db8::1]"[..], Some(5062)));
        assert_eq!(via.branch, Some(&b"z9hG4bKx"[..]));
        assert_eq!(via.received_ip(), Some("192.0.2.7".parse().unwrap()));
        assert_eq!(via.rport, Rport::Port(9));
        assert!(via.params.find("ttl").is_some());
    }

    #[test]
    fn white_space_may_surround_every_separator() {
        let via =
            Via::parse(b"SIP  / 2.0\r\n / TCP   spindle.example.com : 5061 ;\r\n branch = z;rport")
                .unwrap();
        assert_eq!(via.transport, b"TCP");
        assert_eq!((via.host, via.port), (&b"spindle.example.com"[..], Some(5061)));
        assert_eq!((via.branch, via.rport), (Some(&b"z"[..]), Rport::Requested));
    }

    #[test]
    fn malformed_vias_say_why() {
        for (text, error) in [
            ("", SyntaxError::BadProtocol),
            ("SIP/2.0 h", SyntaxError::BadProtocol),
            ("SIP/3.0/UDP h", SyntaxError::BadProtocol),
            ("HTTP/2.0/UDP h", SyntaxError::BadProtocol),
            ("SIP/2.0/UDP", SyntaxError::BadHost),
            ("SIP/2.0/UDP ;branch=x", SyntaxError::BadHost),
            ("SIP/2.0/UDP h:port", SyntaxError::BadPort),
            ("SIP/2.0/UDP h;;", SyntaxError::BadParameter),
            ("SIP/2.0/UDP h;rport=x", SyntaxError::BadPort),
        ] {
            assert_eq!(Via::parse(text.as_bytes()), Err(error), "{text}");
        }
    }
}

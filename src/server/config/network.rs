//! A network of addresses, as in `10.0.0.0/8`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// All addresses that begin alike; one address is a network too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Whether `address` is in it. An IPv4 address in the form of an IPv6 one is that IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        first_of(address.to_canonical(), self.prefix_bits) == Some(self.first)
    }

    /// Whether it holds every address of its family.
    pub fn is_all(&self) -> bool {
        self.prefix_bits == 0
    }
}

/// The first address of the network of `address` with this prefix; `None` if it has no so many
/// bits.
fn first_of(address: IpAddr, prefix_bits: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => {
            let rest = 32_u32.checked_sub(prefix_bits.into())?;
            let bits = v4.to_bits().checked_shr(rest).unwrap_or(0);
            Some(Ipv4Addr::from_bits(bits.checked_shl(rest).unwrap_or(0)).into())
        }
        IpAddr::V6(v6) => {
            let rest = 128_u32.checked_sub(prefix_bits.into())?;
            let bits = v6.to_bits().checked_shr(rest).unwrap_or(0);
            Some(Ipv6Addr::from_bits(bits.checked_shl(rest).unwrap_or(0)).into())
        }
    }
}

/// A text that is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNetwork {
    /// It is something else.
    #[error("write an address or a network, as in 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32")]
    Form,
    /// Bits of the address are set behind the prefix.
    #[error("the address has bits behind the prefix; write {0}")]
    Bits(Network),
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| BadNetwork::Form)?;
        let address = address.to_canonical();
        let all_bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            None => all_bits,
            // Digits only: a number may have a sign.
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| BadNetwork::Form)?
            }
            Some(_) => return Err(BadNetwork::Form),
        };
        let first = first_of(address, prefix_bits).ok_or(BadNetwork::Form)?;
        let network = Self { first, prefix_bits };
        if first == address { Ok(network) } else { Err(BadNetwork::Bits(network)) }
    }
}

impl fmt::Display for Network {
    /// As it is written in a configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all_bits = if self.first.is_ipv4() { 32 } else { 128 };
        match self.prefix_bits == all_bits {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}/{}", self.first, self.prefix_bits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.6/31", "::ffff:192.0.2.7", "192.0.2.8"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "127.0.0.1"),
            ("0.0.0.0/0", "203.0.113.1", "2001:db8::1"),
            ("::/0", "2001:db8::1", "203.0.113.1"),
            ("8000::/1", "ffff::1", "7fff::1"),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{network} {outside}");
            assert_eq!(parsed.to_string(), network);
        }
    }

    #[test]
    fn what_is_no_network_is_told_with_the_right_form() {
        for text in [
            "",
            "lab7",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10/8",
            "10.0.0.1/8/9",
        ] {
            assert_eq!(text.parse::<Network>(), Err(BadNetwork::Form), "{text}");
        }
        let error = "10.1.2.3/8".parse::<Network>().unwrap_err();
        assert_eq!(error.to_string(), "the address has bits behind the prefix; write 10.0.0.0/8");
    }
}

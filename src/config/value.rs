//! Values as users write them: numbers, times, addresses, lists.
//!
//! The rules are SIPp's: integers may be hexadecimal or octal, times take a suffix or count in the
//! unit of their option. This file does not know which option a value belongs to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::rules::DefaultBehaviors;

/// The port of a SIP address that names none (RFC 3261, section 19.1.2).
const SIP_PORT: u16 = 5060;

/// The highest CPU number in a list: above any machine, but low enough that a typing mistake does
/// no harm.
const CPU_NUMBER_MAX: usize = 4095;

/// The longest time of an option, 100 years: exact as `f64` milliseconds, and its nanoseconds fit a
/// `u64`.
const TIME_MS_MAX: u64 = 100 * 365 * 24 * 3600 * 1000;

/// The reason why a value cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The bytes are not text.
    #[error("{0:?} is not valid UTF-8; only file names may contain other bytes")]
    NotUtf8(String),
    /// The value is empty but must not be.
    #[error("the value is empty; give {0}")]
    Empty(&'static str),
    /// An integer was expected.
    #[error("{0:?} is not a whole number; write it as 16, 0x10 (hexadecimal) or 020 (octal)")]
    NotAnInteger(String),
    /// A number was expected.
    #[error("{0:?} is not a number; write it as 10 or 0.5")]
    NotANumber(String),
    /// The number lies outside the range of the option.
    #[error("{text:?} is out of range; give a number from {min} to {max}")]
    OutOfRange {
        /// The given text.
        text: String,
        /// The lowest value accepted.
        min: String,
        /// The highest value accepted.
        max: String,
    },
    /// A time was expected.
    #[error("{text:?} is not a time; write a number with ms, s, m or h, or a number of {unit}")]
    NotATime {
        /// The given text.
        text: String,
        /// The unit of a number without suffix.
        unit: TimeUnit,
    },
    /// A truth value was expected.
    #[error("{0:?} is neither true nor false; write true, false, 1 or 0")]
    NotABool(String),
    /// A key and a value were expected.
    #[error("{0:?} is not KEY=VALUE")]
    NotAPair(String),
    /// An IP address was expected.
    #[error("{0:?} is not an IP address; write it as 192.0.2.1 or 2001:db8::1, not as a name")]
    NotAnIp(String),
    /// An IPv4 address was expected.
    #[error("{0:?} is not an IPv4 address; write it as 192.0.2.1, not as a name")]
    NotAnIpv4(String),
    /// `host[:port]` was expected.
    #[error("{text:?} is not HOST[:PORT]: {reason}")]
    NotAnEndpoint {
        /// The given text.
        text: String,
        /// The mistake, and the right form.
        reason: &'static str,
    },
    /// One word out of a few was expected.
    #[error("{text:?} is not one of {}", .choices.join(", "))]
    UnknownChoice {
        /// The given text.
        text: String,
        /// The allowed words.
        choices: &'static [&'static str],
    },
    /// A list of CPU numbers was expected.
    #[error("{0:?} is not a list of CPUs; write it as 2,3 or 0-3,8 with each CPU once")]
    NotACpuList(String),
    /// A version of TLS that is not supported.
    #[error(
        "TLS {0} is not supported: it is broken and forbidden (RFC 8996); use 1.2, 1.3 or 0 for \
         either"
    )]
    TlsVersionUnavailable(String),
    /// Circuits were expected.
    #[error("{text:?} is not {{a-b}}{{h}}{{c-d}}{{e-f}}: {reason}")]
    NotATdmMap {
        /// The given text.
        text: String,
        /// The mistake.
        reason: &'static str,
    },
    /// A Call-ID was expected.
    #[error("{0:?} cannot be used in a Call-ID; use visible ASCII characters without spaces")]
    NotACallId(String),
    /// A header was expected.
    #[error("{text:?} is not a header: {reason}")]
    NotAHeader {
        /// The given text.
        text: String,
        /// The mistake.
        reason: &'static str,
    },
    /// The transport is known, but not available.
    #[error(
        "transport {mode:?} is {why}; use u1 (UDP), t1 (TCP), l1 (TLS), w1 (WebSocket) or ws1 \
         (WebSocket over TLS), or un tn ln wn wsn for one socket or connection per call"
    )]
    TransportUnavailable {
        /// The transport mode given.
        mode: String,
        /// The meaning of the mode, and that it is missing.
        why: &'static str,
    },
}

impl ValueError {
    /// A short, stable name of the kind of error.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotUtf8(_) => "not_utf8",
            Self::Empty(_) => "empty",
            Self::NotAnInteger(_) => "not_an_integer",
            Self::NotANumber(_) => "not_a_number",
            Self::OutOfRange { .. } => "out_of_range",
            Self::NotATime { .. } => "not_a_time",
            Self::NotABool(_) => "not_a_bool",
            Self::NotAPair(_) => "not_a_pair",
            Self::NotAnIp(_) => "not_an_ip",
            Self::NotAnIpv4(_) => "not_an_ipv4",
            Self::NotAnEndpoint { .. } => "not_an_endpoint",
            Self::UnknownChoice { .. } => "unknown_choice",
            Self::NotACpuList(_) => "not_a_cpu_list",
            Self::TlsVersionUnavailable(_) => "tls_version_unavailable",
            Self::NotATdmMap { .. } => "not_a_tdm_map",
            Self::NotACallId(_) => "not_a_call_id",
            Self::NotAHeader { .. } => "not_a_header",
            Self::TransportUnavailable { .. } => "transport_unavailable",
        }
    }
}

/// The unit of a time that is given as a bare number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
}

impl TimeUnit {
    /// Milliseconds in one unit.
    fn factor_ms(self) -> f64 {
        match self {
            Self::Milliseconds => 1.0,
            Self::Seconds => 1000.0,
        }
    }
}

impl fmt::Display for TimeUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Milliseconds => "milliseconds",
            Self::Seconds => "seconds",
        })
    }
}

/// A host (name or address, not resolved) and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Host name or IP address; an IPv6 address stands without brackets.
    pub host: String,
    /// Port; 5060 if none was given.
    pub port: u16,
}

impl HostPort {
    /// Reads `host`, `host:port`, `v6`, `[v6]` or `[v6]:port`.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        Self::parse_with_port(text, SIP_PORT)
    }

    /// Does the same as [`HostPort::parse`], with another port if the text has none.
    pub fn parse_with_port(text: &str, default_port: u16) -> Result<Self, ValueError> {
        let wrong = |reason| ValueError::NotAnEndpoint { text: text.to_owned(), reason };
        if text.is_empty() {
            return Err(ValueError::Empty("a host as in 192.0.2.1:5060"));
        }
        if text.contains('@') || text.starts_with("sip:") || text.starts_with("sips:") {
            return Err(wrong(
                "a SIP URI is not accepted here; give the host alone, and the user with -s",
            ));
        }
        if let Some(bracketed) = text.strip_prefix('[') {
            let (host, rest) =
                bracketed.split_once(']').ok_or_else(|| wrong("the closing bracket is missing"))?;
            if !is_ipv6(host) {
                return Err(wrong("brackets are for IPv6 addresses, as in [2001:db8::1]:5060"));
            }
            let port = match rest.strip_prefix(':') {
                Some(port) => parse_port(port).ok_or_else(|| wrong(PORT_RANGE))?,
                None if rest.is_empty() => default_port,
                None => return Err(wrong("only :PORT may follow the closing bracket")),
            };
            return Ok(Self { host: host.to_owned(), port });
        }
        if is_ipv6(text) {
            return Ok(Self { host: text.to_owned(), port: default_port });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, parse_port(port).ok_or_else(|| wrong(PORT_RANGE))?),
            None => (text, default_port),
        };
        if host.is_empty() {
            return Err(wrong("the host is missing before the colon"));
        }
        // Only characters of host names: this keeps stray punctuation out of SIP headers.
        let is_host_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if !host.bytes().all(is_host_byte) {
            return Err(wrong("a host name may have only letters, digits, dots and hyphens"));
        }
        Ok(Self { host: host.to_owned(), port })
    }

    /// The host as an IP address, if it is one; an IPv4-mapped one is IPv4, see [`parse_ip`].
    pub fn ip(&self) -> Option<IpAddr> {
        let ip: IpAddr = self.host.split('%').next()?.parse().ok()?;
        Some(ip.to_canonical())
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

const PORT_RANGE: &str = "the port must be a number from 1 to 65535";

fn parse_port(text: &str) -> Option<u16> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|&port| port != 0)
}

/// An IPv6 address, with or without a zone (`fe80::1%eth0`).
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    let zone_is_name = zone.is_none_or(|zone| {
        !zone.is_empty() && zone.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    });
    zone_is_name && address.parse::<Ipv6Addr>().is_ok()
}

/// Reads an integer in the bases of C: `0x` is hexadecimal, a leading zero is octal.
pub fn parse_integer(text: &str) -> Result<i128, ValueError> {
    let wrong = || ValueError::NotAnInteger(text.to_owned());
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // `from_str_radix` would accept a second sign.
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(wrong());
    }
    let magnitude = i128::from_str_radix(digits, base).map_err(|_| wrong())?;
    Ok(if negative { -magnitude } else { magnitude })
}

/// Reads a decimal number; infinities and NaN are refused.
pub fn parse_float(text: &str) -> Result<f64, ValueError> {
    let looks_numeric = text.bytes().any(|b| b.is_ascii_digit());
    match text.parse::<f64>() {
        Ok(number) if looks_numeric && number.is_finite() => Ok(number),
        _ => Err(ValueError::NotANumber(text.to_owned())),
    }
}

/// Reads a time with the suffix `ms`, `s`, `m` or `h`, or as a bare number of `unit`, rounded to
/// milliseconds.
pub fn parse_time_ms(text: &str, unit: TimeUnit) -> Result<u64, ValueError> {
    let wrong = || ValueError::NotATime { text: text.to_owned(), unit };
    let (number, factor_ms) = if let Some(number) = text.strip_suffix("ms") {
        (number, 1.0)
    } else if let Some(number) = text.strip_suffix('s') {
        (number, 1000.0)
    } else if let Some(number) = text.strip_suffix('m') {
        (number, 60.0 * 1000.0)
    } else if let Some(number) = text.strip_suffix('h') {
        (number, 3600.0 * 1000.0)
    } else {
        (text, unit.factor_ms())
    };
    let milliseconds = (parse_float(number).map_err(|_| wrong())? * factor_ms).round();
    if milliseconds < 0.0 {
        return Err(wrong());
    }
    if milliseconds > TIME_MS_MAX as f64 {
        return Err(ValueError::OutOfRange {
            text: text.to_owned(),
            min: "0".to_owned(),
            max: "876000h".to_owned(),
        });
    }
    Ok(milliseconds as u64)
}

/// Reads `true`, `false` or an integer (0 is false).
pub fn parse_bool(text: &str) -> Result<bool, ValueError> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => match parse_integer(text) {
            Ok(number) => Ok(number != 0),
            Err(_) => Err(ValueError::NotABool(text.to_owned())),
        },
    }
}

/// Reads an IP address; an IPv6 one may stand in brackets. `::ffff:192.0.2.1` becomes 192.0.2.1:
/// packets carry that address, and an IPv6-only socket cannot reach it.
pub fn parse_ip(text: &str) -> Result<IpAddr, ValueError> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let parsed = match bare {
        Some(v6) => v6.parse::<Ipv6Addr>().map(IpAddr::V6),
        None => text.parse::<IpAddr>(),
    };
    let ip = parsed.map_err(|_| ValueError::NotAnIp(text.to_owned()))?;
    Ok(ip.to_canonical())
}

/// Reads an IPv4 address.
pub fn parse_ipv4(text: &str) -> Result<Ipv4Addr, ValueError> {
    text.parse().map_err(|_| ValueError::NotAnIpv4(text.to_owned()))
}

/// Reads a list of CPU numbers and ranges, such as `0-3,8`, in the order given.
pub fn parse_cpu_list(text: &str) -> Result<Vec<usize>, ValueError> {
    let wrong = || ValueError::NotACpuList(text.to_owned());
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let cpu = if is_number { digits.parse().ok() } else { None };
        cpu.filter(|&cpu: &usize| cpu <= CPU_NUMBER_MAX).ok_or_else(wrong)
    };
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if last < first {
            return Err(wrong());
        }
        for cpu in first..=last {
            if cpus.contains(&cpu) {
                return Err(wrong());
            }
            cpus.push(cpu);
        }
    }
    Ok(cpus)
}

/// The words that [`parse_behaviors`] knows.
const BEHAVIORS: &[&str] = &["all", "none", "bye", "abortunexp", "pingreply", "cseq"];

/// Reads a comma list of default behaviours, applied from left to right to an empty set; `-`
/// before a word removes it, `+` adds it.
pub fn parse_behaviors(text: &str) -> Result<DefaultBehaviors, ValueError> {
    let mut behaviors = DefaultBehaviors::NONE;
    for word in text.split(',') {
        let (on, name) = match word.as_bytes().first() {
            Some(b'-') => (false, &word[1..]),
            Some(b'+') => (true, &word[1..]),
            _ => (true, word),
        };
        match name {
            "all" if on => behaviors = DefaultBehaviors::ALL,
            "all" | "none" => behaviors = DefaultBehaviors::NONE,
            "bye" => behaviors.bye = on,
            "abortunexp" => behaviors.abort_unexpected = on,
            "pingreply" => behaviors.ping_reply = on,
            "cseq" => behaviors.cseq_check = on,
            _ => {
                return Err(ValueError::UnknownChoice {
                    text: word.to_owned(),
                    choices: BEHAVIORS,
                });
            }
        }
    }
    Ok(behaviors)
}

#[cfg(test)]
mod tests;

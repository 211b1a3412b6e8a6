//! What the server form takes beside a run: the HTTP side of the process, and which file to read.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::value::ValueError;

/// What was said about the process rather than about a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessDraft {
    /// Where HTTP is served.
    pub api_addr: Option<SocketAddr>,
    /// The static token of the API.
    pub api_token: Option<String>,
    /// Certificate of HTTPS.
    pub api_tls_cert: Option<PathBuf>,
    /// Private key of HTTPS.
    pub api_tls_key: Option<PathBuf>,
    /// Whether anybody who reaches the address may use the API.
    pub insecure_http: bool,
    /// Whether scenarios that arrive over the API may run shell commands.
    pub allow_exec: bool,
    /// Most clients that the API may add.
    pub max_dynamic_clients: Option<u64>,
}

impl ProcessDraft {
    /// The first option that was given, without its dash.
    pub fn first_given(&self) -> Option<&'static str> {
        let given = [
            ("api_addr", self.api_addr.is_some()),
            ("api_token", self.api_token.is_some()),
            ("api_tls_cert", self.api_tls_cert.is_some()),
            ("api_tls_key", self.api_tls_key.is_some()),
            ("insecure_http", self.insecure_http),
            ("allow_exec", self.allow_exec),
            ("max_dynamic_clients", self.max_dynamic_clients.is_some()),
        ];
        given.into_iter().find(|&(_, given)| given).map(|(name, _)| name)
    }
}

/// Where run profiles come from, and which one applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileDraft {
    /// The JSON file.
    pub file: Option<PathBuf>,
    /// The name of the profile.
    pub alias: Option<String>,
    /// Whether the names shall be listed instead.
    pub list: bool,
}

/// Reads `IP:PORT`, `[v6]:PORT`, `localhost:PORT` or `:PORT` (all IPv4 addresses); port 0 lets the
/// kernel choose. Other names are not taken: whether an address is local must not depend on a
/// resolver.
pub fn parse_listen_address(text: &str) -> Result<SocketAddr, ValueError> {
    let wrong = |reason| ValueError::NotAnEndpoint { text: text.to_owned(), reason };
    let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("write it as 127.0.0.1:8080"))?;
    let is_number = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let port = match port.parse::<u16>() {
        Ok(port) if is_number => port,
        _ => return Err(wrong("the port must be a number from 0 to 65535")),
    };
    let ip = match host {
        "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        _ => match host.strip_prefix('[') {
            Some(v6) => {
                let v6 = v6.strip_suffix(']').and_then(|v6| v6.parse().ok());
                IpAddr::V6(v6.ok_or_else(|| wrong("write an IPv6 address as [2001:db8::1]:8080"))?)
            }
            None => IpAddr::V4(host.parse().map_err(|_| {
                wrong("give an IP address, localhost, or nothing before the colon for all")
            })?),
        },
    };
    Ok(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_are_numbers_or_localhost() {
        for (text, expected) in [
            (":8080", "0.0.0.0:8080"),
            ("localhost:0", "127.0.0.1:0"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[::]:8080", "[::]:8080"),
        ] {
            assert_eq!(parse_listen_address(text).unwrap(), expected.parse().unwrap(), "{text}");
        }
        for text in ["", "8080", "host:80", "::1:80", "[::1]", "1.2.3.4:", ":65536", ":+80", "[]:1"]
        {
            assert!(parse_listen_address(text).is_err(), "{text}");
        }
    }
}

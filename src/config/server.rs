//! Settings of the process rather than of its calls: the HTTP side, and the file to read.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::error::ConfigError;
use super::value::ValueError;

/// The given settings of the process rather than of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessDraft {
    /// The address at which HTTP is served.
    pub api_addr: Option<SocketAddr>,
    /// The static token of the API.
    pub api_token: Option<String>,
    /// Certificate of HTTPS.
    pub api_tls_cert: Option<PathBuf>,
    /// Private key of HTTPS.
    pub api_tls_key: Option<PathBuf>,
    /// True if every client that reaches the address may use the API.
    pub insecure_http: bool,
    /// True if scenarios that arrive over the API may run shell commands.
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

    /// The API of a run at a terminal, if one is configured.
    ///
    /// # Errors
    /// An option that only a server has, or an option without the one that it needs.
    pub(super) fn embedded_api(self) -> Result<Option<ApiConfig>, ConfigError> {
        if self.max_dynamic_clients.is_some() {
            return Err(ConfigError::OnlyServer { option: "max_dynamic_clients" });
        }
        let Some(addr) = self.api_addr else {
            return match self.first_given() {
                None => Ok(None),
                Some(option) => {
                    let why = "it says how the API is served, and a run serves none without";
                    Err(ConfigError::Needs { option, needed: "api_addr IP:PORT", why })
                }
            };
        };
        let why = "HTTPS needs both";
        let tls = match (self.api_tls_cert, self.api_tls_key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => {
                let (option, needed) = ("api_tls_cert", "api_tls_key FILE");
                return Err(ConfigError::Needs { option, needed, why });
            }
            (None, Some(_)) => {
                let (option, needed) = ("api_tls_key", "api_tls_cert FILE");
                return Err(ConfigError::Needs { option, needed, why });
            }
        };
        Ok(Some(ApiConfig {
            addr,
            token: self.api_token,
            tls,
            insecure: self.insecure_http,
            allow_exec: self.allow_exec,
            profile: None,
        }))
    }
}

/// The API that a run serves while it goes on.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiConfig {
    /// The address; port 0 lets the kernel choose.
    pub addr: SocketAddr,
    /// The token for access (not yet checked); without one, none is required.
    pub token: Option<String>,
    /// Certificate chain and private key of HTTPS, PEM (not yet read).
    pub tls: Option<(PathBuf, PathBuf)>,
    /// True if access without a token was allowed explicitly.
    pub insecure: bool,
    /// True if scenarios that arrive over it may run shell commands.
    pub allow_exec: bool,
    /// The file with these settings; `None` if they come from the command line.
    pub profile: Option<PathBuf>,
}

impl fmt::Debug for ApiConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiConfig")
            .field("addr", &self.addr)
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("tls", &self.tls)
            .field("insecure", &self.insecure)
            .field("allow_exec", &self.allow_exec)
            .field("profile", &self.profile)
            .finish()
    }
}

/// The file with run profiles, and the name of the one that applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileDraft {
    /// The JSON file.
    pub file: Option<PathBuf>,
    /// The name of the profile.
    pub alias: Option<String>,
    /// True if the names are to be listed instead.
    pub list: bool,
}

/// Reads `IP:PORT`, `[v6]:PORT`, `localhost:PORT` or `:PORT` (all IPv4 addresses); port 0 lets the
/// kernel choose. Other names are refused: whether an address is local must not depend on a
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
                wrong(
                    "give an IP address or localhost; nothing before the colon means all addresses",
                )
            })?),
        },
    };
    Ok(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_embedded_api_is_complete_or_refused() {
        assert_eq!(ProcessDraft::default().embedded_api(), Ok(None));
        let api_addr = parse_listen_address("127.0.0.1:0").ok();
        let base = ProcessDraft { api_addr, ..ProcessDraft::default() };
        let api_token = Some("5f2b8c1e9a7d4036".to_owned());
        let api = ProcessDraft { api_token, ..base.clone() }.embedded_api().unwrap().unwrap();
        assert_eq!(Some(api.addr), api_addr);
        assert!(!format!("{api:?}").contains("5f2b"), "{api:?}");
        let file = Some(PathBuf::from("x.pem"));
        for (draft, part) in [
            (ProcessDraft { insecure_http: true, ..Default::default() }, "-api_addr IP:PORT"),
            (ProcessDraft { api_tls_cert: file.clone(), ..base.clone() }, "-api_tls_key FILE"),
            (ProcessDraft { api_tls_key: file, ..base.clone() }, "-api_tls_cert FILE"),
            (
                ProcessDraft { max_dynamic_clients: Some(1), ..base },
                "gossipper server -max_dynamic",
            ),
        ] {
            let error = draft.embedded_api().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

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

//! Protection of the daemon against misuse through a browser: the names under which it answers, the
//! pages that may send requests, and headers that restrict our own pages.
//!
//! It knows headers only: no socket, no user and no route.

use std::net::IpAddr;

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, HeaderValue, ORIGIN, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, StatusCode, Version};

use super::error::ApiError;
use crate::config::targets::Network;

/// Everything from this server and nothing inline: text that a scenario or a peer puts on a page
/// cannot become a script.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; \
     object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Adds the headers that every response has.
pub(crate) fn add_headers(headers: &mut HeaderMap, is_secure: bool) {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if is_secure {
        // Half a year, for this host only: other names of a lab are not ours to decide about.
        let value = HeaderValue::from_static("max-age=15552000");
        headers.insert(STRICT_TRANSPORT_SECURITY, value);
    }
    // Figures of a run and tokens do not belong in a cache; files of the page set their own value.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// The names under which the daemon answers, and the pages that may send requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// Names of this host, in lower case, besides `localhost` and any literal address.
    pub(crate) hosts: Vec<String>,
    /// Pages of other origins that may open the live WebSocket and send changes, as
    /// `https://host[:port]`.
    pub(crate) origins: Vec<String>,
    /// True if a request under another name is refused. A page can make its own name resolve to
    /// this address (DNS rebinding). Its browser then takes it for the same origin, and only the
    /// name tells it from ours. Where users sign in, it has no token and gets nowhere.
    pub(crate) is_strict: bool,
    /// Trusted proxies, which name their clients truly.
    pub(crate) proxies: Vec<Network>,
}

impl Names {
    /// Tells whether `address` is that of a trusted proxy.
    pub(crate) fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(address.to_canonical()))
    }

    /// Refuses a request that was meant for another name.
    ///
    /// # Errors
    /// 400 without a usable Host header, 421 for another name than ours.
    pub(crate) fn check_host(&self, version: Version, headers: &HeaderMap) -> Result<(), ApiError> {
        // HTTP/1.0 has no such header. Browsers, which could be misled, speak a later version.
        if version == Version::HTTP_10 && !headers.contains_key(HOST) {
            return Ok(());
        }
        let mut values = headers.get_all(HOST).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(ApiError::bad_request("the request needs one Host header"));
        };
        let host = value.to_str().ok().and_then(host_of);
        let Some(host) = host else {
            return Err(ApiError::bad_request("the Host header is not HOST[:PORT]"));
        };
        if !self.is_strict || self.is_ours(&host) {
            return Ok(());
        }
        let message = format!(
            "this daemon does not answer to the name {host:?}; use its address or localhost, or \
             add the name to api_allowed_hosts"
        );
        Err(ApiError::new(StatusCode::MISDIRECTED_REQUEST, message))
    }

    fn is_ours(&self, host: &str) -> bool {
        let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        // An address is not a name that an attacker could have made resolve to us.
        literal.unwrap_or(host).parse::<IpAddr>().is_ok()
            || host == "localhost"
            || host.ends_with(".localhost")
            || self.hosts.iter().any(|name| name == host)
    }

    /// Refuses a change or a WebSocket that a page of another origin asks for. Programs that are no
    /// browsers send none of these headers.
    ///
    /// # Errors
    /// 403 with the origin.
    pub(crate) fn check_origin(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        if let Some(origin) = headers.get(ORIGIN) {
            let origin = origin.to_str().unwrap_or("").to_ascii_lowercase();
            let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
            if is_same_origin(&origin, host) || self.origins.contains(&origin) {
                return Ok(());
            }
            let origin: String = origin.chars().take(200).collect();
            return Err(ApiError::forbidden(format!(
                "pages of {origin:?} may not do this; add the origin to api_allowed_origins"
            )));
        }
        // Without Origin a browser still says which site a request came from.
        match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
            None | Some(b"same-origin" | b"none") => Ok(()),
            Some(_) => Err(ApiError::forbidden("pages of other sites may not do this")),
        }
    }
}

/// The host of `HOST[:PORT]`, in lower case, with the brackets of an IPv6 address.
fn host_of(value: &str) -> Option<String> {
    let value = value.trim().to_ascii_lowercase();
    let (host, port) = match value.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')? + 2;
            value.split_at(end)
        }
        None => value.split_at(value.find(':').unwrap_or(value.len())),
    };
    let is_port =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let is_host = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte));
    (is_port && is_host).then(|| host.trim_end_matches('.').to_owned())
}

/// Tells whether `origin` has the host of the request's Host header, over either scheme: behind a
/// proxy that ends TLS the schemes differ.
fn is_same_origin(origin: &str, host: &str) -> bool {
    let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    let Some(rest) = rest else { return false };
    let default_port = if origin.starts_with("https:") { ":443" } else { ":80" };
    let without_port = |text: &str| text.strip_suffix(default_port).unwrap_or(text).to_owned();
    !rest.is_empty() && without_port(rest) == without_port(&host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    fn strict() -> Names {
        Names {
            hosts: vec!["lab7".into()],
            origins: vec!["https://console.example".into()],
            is_strict: true,
            proxies: Vec::new(),
        }
    }

    fn check(names: &Names, headers: &HeaderMap) -> Result<(), ApiError> {
        names.check_host(Version::HTTP_11, headers)
    }

    #[test]
    fn an_old_request_needs_no_host_and_may_name_no_other() {
        let old = |headers: &HeaderMap| strict().check_host(Version::HTTP_10, headers);
        assert!(old(&HeaderMap::new()).is_ok());
        assert!(old(&headers(&[("host", "evil.example")])).is_err());
    }

    #[test]
    fn names_of_others_are_refused() {
        for (host, status) in [
            ("127.0.0.1:8080", None),
            ("[::1]:8080", None),
            ("localhost", None),
            ("LOCALHOST:8080", None),
            ("lab7:8080", None),
            ("lab7.:8080", None),
            ("evil.example:8080", Some(421)),
            ("127.0.0.1.evil.example", Some(421)),
            ("", Some(400)),
            ("a b", Some(400)),
            ("localhost:99999", Some(400)),
            ("[::1", Some(400)),
        ] {
            let result = check(&strict(), &headers(&[("host", host)]));
            assert_eq!(result.err().map(|error| error.status().as_u16()), status, "{host:?}");
        }
        assert!(check(&strict(), &HeaderMap::new()).is_err());
        assert!(check(&Names::default(), &headers(&[("host", "any.example")])).is_ok());
    }

    #[test]
    fn pages_of_others_are_refused() {
        for (pairs, ok) in [
            (&[][..], true),
            (&[("origin", "http://127.0.0.1:8080")], true),
            (&[("origin", "https://127.0.0.1:8080")], true),
            (&[("origin", "https://console.example")], true),
            (&[("origin", "http://127.0.0.1:9090")], false),
            (&[("origin", "https://evil.example")], false),
            (&[("origin", "null")], false),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
        ] {
            let all = [&[("host", "127.0.0.1:8080")][..], pairs].concat();
            assert_eq!(strict().check_origin(&headers(&all)).is_ok(), ok, "{pairs:?}");
        }
    }

    #[test]
    fn a_default_port_may_be_left_out() {
        assert!(is_same_origin("http://lab7", "lab7:80"));
        assert!(is_same_origin("https://lab7:443", "lab7"));
        assert!(!is_same_origin("http://lab7", "lab7:443"));
        assert!(!is_same_origin("http://", ""));
        assert!(!is_same_origin("file://lab7", "lab7"));
    }
}

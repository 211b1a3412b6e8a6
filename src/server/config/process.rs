//! The HTTP side of the process: its address, its authentication, and secrets that are too weak.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::check::join;
use super::files;
use super::keys::{AuthKeys, AuthType};
use super::layout::{Key, Profile};
use super::problem::{Place, Problem, ProblemKind};
use super::resolved::{AuthConfig, HttpConfig, HttpTls, Role, Secret};
use super::targets;
use crate::config::ProcessDraft;
use crate::config::targets::{Network, TargetList};
use crate::files::without_dots;
use crate::server::auth;

/// The default address of the API: only this machine can reach it.
const API_ADDR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The default number of clients that the API may add.
const DYNAMIC_CLIENTS: usize = 32;

/// The HTTP side of a process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) http: Option<HttpConfig>,
    pub(super) auth: AuthConfig,
    pub(super) dynamic_clients_max: usize,
    pub(super) data_dir: PathBuf,
    pub(super) targets: TargetList,
}

/// Builds the HTTP side from the settings of the primary engine's sources.
pub(super) fn build(
    draft: &ProcessDraft,
    profile: &Profile,
    role: Role,
    directory: &Path,
    problems: &mut Vec<Problem>,
    notices: &mut Vec<String>,
) -> Process {
    let mut report = |(place, key): (Place, String), kind, message: String| {
        problems.push(Problem { place: Some(place), key, kind, message });
    };
    let is_management = role == Role::Management;
    let addr = draft.api_addr.or(is_management.then_some(API_ADDR));
    let tls = https(draft, profile, &mut report);
    let auth = users(draft, profile, directory, &mut report, notices);
    if let Some(addr) = addr {
        check_exposure(addr, draft, &auth, profile, &mut report);
        notices.extend(in_clear(addr, &auth, tls.as_ref()));
    }
    let allowed_hosts = listed(profile, "api_allowed_hosts", host_name, &mut report);
    let allowed_origins = listed(profile, "api_allowed_origins", origin, &mut report);
    let data_dir = data_dir(profile, &auth, directory, &mut report);
    let targets = targets::read(profile, &mut report);
    let trusted_proxies = listed(profile, "trusted_proxies", proxy, &mut report);
    let wanted = draft.max_dynamic_clients.and_then(|count| usize::try_from(count).ok());
    Process {
        http: addr.map(|addr| HttpConfig {
            addr,
            tls,
            insecure: draft.insecure_http,
            allowed_hosts,
            allowed_origins,
            trusted_proxies,
        }),
        auth,
        dynamic_clients_max: if is_management { wanted.unwrap_or(DYNAMIC_CLIENTS) } else { 0 },
        data_dir,
        targets,
    }
}

/// The place of a key, or of the options that stand for it.
fn place(profile: &Profile, key: &str) -> (Place, String) {
    profile.place_of(&[key, "extra_args"])
}

/// Reads the files of HTTPS, which come in pairs.
fn https(
    draft: &ProcessDraft,
    profile: &Profile,
    report: &mut impl FnMut((Place, String), ProblemKind, String),
) -> Option<HttpTls> {
    let (given, missing) = match (&draft.api_tls_cert, &draft.api_tls_key) {
        (Some(cert), Some(key)) => {
            return Some(HttpTls { cert: cert.clone(), key: key.clone() });
        }
        (None, None) => return None,
        (Some(_), None) => ("api_tls_cert", "api_tls_key"),
        (None, Some(_)) => ("api_tls_key", "api_tls_cert"),
    };
    let message = format!("{missing} is missing; HTTPS needs both");
    report(place(profile, given), ProblemKind::Contradiction, message);
    None
}

/// The authentication of the API: users take precedence over a token.
fn users(
    draft: &ProcessDraft,
    profile: &Profile,
    directory: &Path,
    report: &mut impl FnMut((Place, String), ProblemKind, String),
    notices: &mut Vec<String>,
) -> AuthConfig {
    if let Some(token) = &draft.api_token
        && let Some(message) = weak_token(token)
    {
        report(place(profile, "api_token"), ProblemKind::Secret, message);
    }
    if let Some(key) = profile.key("auth")
        && let Some(internal) = internal(key, directory, report)
    {
        if draft.api_token.is_some() {
            notices.push("api_token has no effect: auth.type is internal".to_owned());
        }
        return internal;
    }
    match &draft.api_token {
        Some(token) => AuthConfig::Token(Secret::new(token.clone())),
        None => AuthConfig::None,
    }
}

/// Reports an API that is open to the network without authentication, unless that was asked for.
fn check_exposure(
    addr: SocketAddr,
    draft: &ProcessDraft,
    auth: &AuthConfig,
    profile: &Profile,
    report: &mut impl FnMut((Place, String), ProblemKind, String),
) {
    if *auth != AuthConfig::None || addr.ip().is_loopback() || draft.insecure_http {
        return;
    }
    let message = format!(
        "{addr} can be reached from other machines without signing in; give 127.0.0.1:{}, or auth \
         with type internal, or an api_token, or insecure_http true if everyone may control this \
         process",
        addr.port()
    );
    report(place(profile, "api_addr"), ProblemKind::OpenApi, message);
}

/// A notice about secrets that others on the network can read.
fn in_clear(addr: SocketAddr, auth: &AuthConfig, tls: Option<&HttpTls>) -> Option<String> {
    if *auth == AuthConfig::None || tls.is_some() || addr.ip().is_loopback() {
        return None;
    }
    Some(format!(
        "passwords and tokens travel to {addr} unencrypted; api_tls_cert and api_tls_key encrypt \
         them"
    ))
}

/// The directory of the folders for clients of the API. The data directory of a service holds its
/// users, and is its working directory.
fn data_dir(
    profile: &Profile,
    auth: &AuthConfig,
    directory: &Path,
    report: &mut impl FnMut((Place, String), ProblemKind, String),
) -> PathBuf {
    let given = profile.key("data_dir").and_then(|key| Some((key, key.node.text()?)));
    if let Some((key, text)) = given.filter(|(_, text)| !text.is_empty()) {
        let path = without_dots(&directory.join(text));
        if let Some(message) = files::unusable(&path, "directory") {
            report((key.node.at, key.path.clone()), ProblemKind::File, message);
        }
        return path;
    }
    let of_users = match auth {
        AuthConfig::Internal { sqlite_path, .. } => sqlite_path.parent().map(Path::to_owned),
        _ => None,
    };
    of_users.or_else(|| std::env::current_dir().ok()).unwrap_or_else(|| directory.to_owned())
}

/// The entries of a list of texts, each read by `read`.
fn listed<T, E: Display>(
    profile: &Profile,
    key: &str,
    read: fn(&str) -> Result<T, E>,
    report: &mut impl FnMut((Place, String), ProblemKind, String),
) -> Vec<T> {
    let Some(key) = profile.key(key) else { return Vec::new() };
    let mut values = Vec::new();
    for (index, node) in key.node.elements().iter().enumerate() {
        let text = node.text().unwrap_or_default();
        match read(text) {
            Ok(value) => values.push(value),
            Err(reason) => {
                let place = (node.at, format!("{}[{index}]", key.path));
                let message = format!("{:?}: {reason}", super::check::shortened(text));
                report(place, ProblemKind::BadValue, message);
            }
        }
    }
    values
}

fn host_name(text: &str) -> Result<String, &'static str> {
    let is_host_char = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    match !text.is_empty() && text.len() <= 253 && text.chars().all(is_host_char) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("write a host name without port, as in load.example.org"),
    }
}

fn origin(text: &str) -> Result<String, &'static str> {
    let wrong = "write scheme, host and port as browsers do, as in https://load.example.org:8443";
    let lower = text.to_ascii_lowercase();
    let rest = lower.strip_prefix("http://").or_else(|| lower.strip_prefix("https://"));
    let authority = rest.and_then(|rest| rest.parse::<http::uri::Authority>().ok()).ok_or(wrong)?;
    let has_port = authority.as_str().len() > authority.host().len();
    let is_origin = !authority.as_str().contains('@')
        && !authority.host().is_empty()
        && has_port == authority.port_u16().is_some();
    if is_origin { Ok(lower) } else { Err(wrong) }
}

fn proxy(text: &str) -> Result<Network, String> {
    let network = Network::parse(text)?;
    let everybody =
        "every client could then choose its own address; list only the addresses of the proxies";
    if network.bits() == 0 { Err(everybody.to_owned()) } else { Ok(network) }
}

/// `auth`, if it asks for users.
fn internal(
    key: &Key,
    directory: &Path,
    report: &mut impl FnMut((Place, String), ProblemKind, String),
) -> Option<AuthConfig> {
    let keys: AuthKeys = serde_json::from_value(key.node.to_json()).ok()?;
    let place = |name: &str| {
        let at = key.node.member(name).map_or(key.at, |member| member.node.at);
        (at, join(&key.path, name))
    };
    let secret = keys.jwt_secret.filter(|secret| !secret.is_empty());
    if let Some(secret) = &secret
        && let Err(message) = auth::check_jwt_secret(secret)
    {
        report(place("jwt_secret"), ProblemKind::Secret, message);
    }
    let path = keys.sqlite_path.filter(|path| !path.as_os_str().is_empty());
    let path = path.map(|path| without_dots(&directory.join(path)));
    if let Some(path) = &path
        && let Some(message) = files::unusable(path, "write")
    {
        report(place("sqlite_path"), ProblemKind::File, message);
    }
    match (keys.kind, path) {
        (Some(AuthType::Internal), Some(sqlite_path)) => {
            let jwt_secret = secret.map(Secret::new);
            Some(AuthConfig::Internal { sqlite_path, jwt_secret })
        }
        (Some(AuthType::Internal), None) => {
            let message = "the key is missing; give the path of the SQLite file for the users";
            report(place("sqlite_path"), ProblemKind::MissingKey, message.to_owned());
            // Not `None`: users were asked for, and an open API must not be reported on top.
            Some(AuthConfig::Internal { sqlite_path: Default::default(), jwt_secret: None })
        }
        (Some(AuthType::None), _) => None,
        (None, _) => {
            let message = "the key is missing; write \"internal\" or \"none\"";
            report(place("type"), ProblemKind::MissingKey, message.to_owned());
            Some(AuthConfig::Internal { sqlite_path: Default::default(), jwt_secret: None })
        }
    }
}

/// The reason why a text cannot be a token of the API.
fn weak_token(token: &str) -> Option<String> {
    auth::check_api_token(token).err().or_else(|| auth::weak_api_token(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_origins_have_one_form() {
        assert_eq!(host_name("Load.example.org"), Ok("load.example.org".to_owned()));
        for text in ["", "a:80", "http://a", "a/b"] {
            assert!(host_name(text).is_err(), "{text}");
        }
        assert_eq!(origin("https://A:8443"), Ok("https://a:8443".to_owned()));
        assert!(origin("http://[::1]:80").is_ok());
        for text in ["", "a", "http://", "http://a/", "ftp://a", "http://u@a", "*", "http://a:b"] {
            assert!(origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn proxies_are_named_and_not_everybody() {
        assert_eq!(proxy("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert!(proxy("::1").is_ok());
        for (text, part) in
            [("lab7", "192.0.2.0/24"), ("::/0", "every client"), ("0.0.0.0/0", "every client")]
        {
            let error = proxy(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn tokens_are_long_and_of_nobody_else() {
        for text in ["", "fifteen-chars-x", "CHANGE-ME: openssl rand -hex 32", "with a blank in it"]
        {
            assert!(weak_token(text).is_some(), "{text:?}");
        }
        assert_eq!(weak_token("5f2b8c1e9a7d4036"), None);
    }
}

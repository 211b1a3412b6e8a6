//! The daemon's configuration, and requests to its API.

use std::sync::OnceLock;

use gossipper::cli::LowArgs;
use gossipper::server::api::fuzzing;
use gossipper::server::auth::{Scope, check_api_token, check_jwt_secret, check_username};
use gossipper::server::config::{Problems, ServerConfig, effective, parse, snippet};

/// Longest text of a mistake or refusal.
const TEXT_MAX: usize = 4000;

/// Reads any bytes as the daemon's configuration, and as a client that is added over the API.
pub fn any_config(bytes: &[u8]) {
    let nobody = LowArgs::default();
    match parse(bytes, None, &nobody) {
        Ok(config) => {
            let whole = effective(&config).to_string();
            // A secret is shown as this placeholder, which cannot be read again as the secret.
            if whole.contains("\"***\"") {
                return;
            }
            let again = parse(whole.as_bytes(), None, &nobody);
            let again = again.unwrap_or_else(|problems| panic!("{problems}\n{whole}"));
            assert_eq!(effective(&again).to_string(), whole, "what is in force is read again");
        }
        Err(problems) => assert_inside(&problems, bytes),
    }
    if let Err(problems) = snippet(bytes, empty_server()) {
        assert_inside(&problems, bytes);
    }
}

/// The configuration of a daemon without engines.
fn empty_server() -> &'static ServerConfig {
    static SERVER: OnceLock<ServerConfig> = OnceLock::new();
    SERVER.get_or_init(|| {
        let text = br#"{"role": "management", "api_addr": "127.0.0.1:8080"}"#;
        parse(text, None, &LowArgs::default()).unwrap_or_else(|problems| panic!("{problems}"))
    })
}

/// Fails unless there are mistakes, each at a place inside the text and with a bounded description.
fn assert_inside(problems: &Problems, bytes: &[u8]) {
    assert!(!problems.list.is_empty());
    let text = String::from_utf8_lossy(bytes);
    let lines = text.split('\n').count() as u32;
    for problem in &problems.list {
        assert!(problem.place.is_none_or(|place| place.line <= lines), "{problem:?}");
        assert!(!problem.message.is_empty() && problem.message.len() < TEXT_MAX, "{problem:?}");
    }
    let _ = (problems.to_string(), problems.to_json());
}

/// Handles any bytes as a request to the API: a target, header lines, an empty line and a body.
pub fn any_request(bytes: &[u8]) {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let target = lines.next().unwrap_or_default();
    let mut at = target.len() + 1;
    let mut headers = Vec::new();
    for line in lines {
        at += line.len() + 1;
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { break };
        headers.push((&line[..colon], line[colon + 1..].trim_ascii()));
    }
    let body = bytes.get(at..).unwrap_or_default();
    for text in fuzzing::request(target, &headers, body) {
        assert!(!text.is_empty() && text.len() < TEXT_MAX, "{} bytes: {text:.100}", text.len());
    }
    if let Ok(text) = std::str::from_utf8(target) {
        let _ = (check_username(text), check_api_token(text), check_jwt_secret(text));
        if let Ok(scope) = text.parse::<Scope>() {
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
    }
}

//! Tokens for programs, such as a Prometheus that scrapes. A token is made on the command line,
//! bound to a scope, and good until it is revoked or expires.
//!
//! A token is 256 random bits behind a prefix, by which scanners for leaked secrets can tell it.
//! The database keeps its SHA-256, from which the token cannot be guessed. A slow hash is for
//! passwords, which people choose.

use ring::digest;

use super::error::AuthError;
use super::random::{self, NoRandomness};
use crate::config::Role;
pub use crate::config::{Scope, UnknownScope};

/// The path that the scope `metrics` is for.
pub const METRICS_PATH: &str = "/metrics";

/// Tokens at most: all of them are kept in memory.
pub const API_TOKENS_MAX: usize = 1000;

/// The text that every token begins with.
const PREFIX: &str = "gsp_";

impl Scope {
    /// The role in which the holder of such a token acts.
    pub(super) fn role(self) -> Role {
        match self {
            Self::Metrics | Self::Read => Role::Viewer,
            Self::Operate => Role::Operator,
        }
    }

    /// Refuses a path that is out of scope.
    ///
    /// # Errors
    /// 403 with the scope.
    pub(super) fn check(self, path: &str) -> Result<(), AuthError> {
        match self {
            Self::Metrics if path != METRICS_PATH => {
                let text = format!("a token with the scope {self} is for {METRICS_PATH} only");
                Err(AuthError::new(403, text))
            }
            _ => Ok(()),
        }
    }
}

/// The hash that is kept of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TokenHash(pub(super) [u8; 32]);

/// Makes a new token; returns its text and the hash that the database keeps.
pub(super) fn make() -> Result<(String, TokenHash), NoRandomness> {
    let token = format!("{PREFIX}{}", random::hex(&random::bytes::<32>()?));
    let hash = hash(&token);
    Ok((token, hash))
}

/// The hash of the presented text, if that has the form of a token.
pub(super) fn hash_of(shown: &str) -> Option<TokenHash> {
    let digits = shown.strip_prefix(PREFIX)?;
    random::from_hex::<32>(digits).map(|_| hash(shown))
}

/// Tells whether `shown` begins like a token for programs.
pub(super) fn is_one(shown: &str) -> bool {
    shown.starts_with(PREFIX)
}

fn hash(token: &str) -> TokenHash {
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    TokenHash(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_by_their_form_and_differ() {
        let (token, hash) = make().unwrap();
        assert!(is_one(&token) && token.len() == PREFIX.len() + 64, "{token}");
        assert_eq!(hash_of(&token), Some(hash));
        assert_ne!(make().unwrap().1, hash);
        let upper = token.to_uppercase().replacen("GSP", "gsp", 1);
        for other in ["", "gsp_", "gsp_00", &token[1..], &format!("{token}0"), &upper] {
            assert_eq!(hash_of(other), None, "{other}");
        }
        // Known, so that a database of today is read by every later version.
        let known = hash_of(&format!("gsp_{}", "0".repeat(64))).unwrap();
        assert_eq!(random::hex(&known.0)[..16], *"6557f3ae694065cc");
    }

    #[test]
    fn scopes_are_read_back_and_bind() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().to_uppercase().parse(), Ok(scope));
            assert_eq!(scope.check(METRICS_PATH), Ok(()));
            assert_eq!(scope.check("/api/v1/stats").is_ok(), scope != Scope::Metrics);
        }
        let error = "admin".parse::<Scope>().unwrap_err().to_string();
        assert_eq!(error, "\"admin\" is not a scope; the scopes are metrics, read and operate");
    }
}

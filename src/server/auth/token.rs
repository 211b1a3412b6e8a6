//! Tokens that a login gives out: JSON Web Tokens (RFC 7519), signed with HMAC-SHA256.
//!
//! A genuine token within its time is not enough. Whether its user may still come in is decided
//! from the database.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::provider;
use super::random::{self, NoRandomness};

/// Bytes of a token at most. Ours have about 400.
const TOKEN_BYTES_MAX: usize = 2048;

/// Seconds by which the clock of this host may be set back between giving a token out and seeing
/// it.
const CLOCK_STEP_S: i64 = 60;

const ISSUER: &str = "gossipper";
const AUDIENCE: &str = "gossipper-api";

/// Characters of `auth.jwt_secret` at least, as this program's specification demands.
const SECRET_CHARS_MIN: usize = 16;

/// The number of a token (`jti`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TokenId(pub(super) [u8; 16]);

/// The claims of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    iss: String,
    aud: String,
    /// The user's name.
    pub(super) sub: String,
    /// The user's row.
    pub(super) uid: i64,
    /// Seconds of Unix time.
    pub(super) exp: i64,
    nbf: i64,
    iat: i64,
    jti: String,
    pub(super) role: String,
    /// The user's epoch: a token of an earlier one is out of use.
    pub(super) epoch: i64,
}

/// The user that a token is for.
#[derive(Clone, Debug)]
pub(super) struct Subject<'a> {
    pub(super) username: &'a str,
    pub(super) user_id: i64,
    pub(super) role: &'a str,
    pub(super) epoch: i64,
}

/// The reason why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    /// Not signed by us, or changed.
    #[error("the token is not valid; log in again")]
    NotOurs,
    #[error("the token has expired; log in again")]
    Expired,
    #[error("the token is not valid yet; the clock of this host was set back")]
    NotYet,
}

/// Signs and checks tokens.
pub(super) struct Tokens {
    signing: EncodingKey,
    checking: DecodingKey,
    validation: Validation,
}

impl Tokens {
    pub(super) fn new(secret: &[u8]) -> Self {
        provider::install();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        // Times are compared below, with the clock that we are given.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self {
            signing: EncodingKey::from_secret(secret),
            checking: DecodingKey::from_secret(secret),
            validation,
        }
    }

    /// Makes a token that is good from `now_s` for `lifetime_s` seconds; returns it and its end.
    pub(super) fn issue(
        &self,
        subject: &Subject<'_>,
        now_s: i64,
        lifetime_s: i64,
    ) -> Result<(String, i64), NoRandomness> {
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: subject.username.to_owned(),
            uid: subject.user_id,
            exp: now_s.saturating_add(lifetime_s),
            nbf: now_s,
            iat: now_s,
            jti: random::hex(&random::bytes::<16>()?),
            role: subject.role.to_owned(),
            epoch: subject.epoch,
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing);
        // Texts and numbers always have a JSON form, and the key is one for HS256.
        Ok((token.expect("our claims can be signed"), claims.exp))
    }

    /// Returns the claims of a token, if it is one of ours and in its time.
    pub(super) fn check(&self, token: &str, now_s: i64) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::NotOurs);
        }
        let data = jsonwebtoken::decode::<Claims>(token, &self.checking, &self.validation)
            .map_err(|_| TokenError::NotOurs)?;
        // Our tokens name no keys and no extensions; following those of others would be the attack.
        let header = data.header;
        let plain = Header::new(Algorithm::HS256);
        if header != plain {
            return Err(TokenError::NotOurs);
        }
        let claims = data.claims;
        if now_s >= claims.exp {
            return Err(TokenError::Expired);
        }
        if now_s < claims.nbf.saturating_sub(CLOCK_STEP_S) {
            return Err(TokenError::NotYet);
        }
        Ok(claims)
    }
}

impl Claims {
    /// The token's number.
    pub(super) fn token_id(&self) -> Option<TokenId> {
        random::from_hex(&self.jti).map(TokenId)
    }
}

/// Checks an `auth.jwt_secret`: with a guessed one an attacker can make tokens.
///
/// # Errors
/// If it is too short or looks like an example.
pub fn check_jwt_secret(secret: &str) -> Result<(), String> {
    let chars = secret.chars().count();
    if chars < SECRET_CHARS_MIN {
        return Err(format!(
            "auth.jwt_secret has {chars} characters, but at least {SECRET_CHARS_MIN} are needed \
             (32 random ones are good: `openssl rand -hex 16`); without the key a random secret is \
             generated"
        ));
    }
    check_not_an_example("auth.jwt_secret", secret)
}

/// Checks an `api_token`.
///
/// # Errors
/// If it is empty or cannot stand in a header.
pub fn check_api_token(token: &str) -> Result<(), String> {
    if token.is_empty() {
        return Err("api_token is empty; give it a value (`openssl rand -hex 16` prints a good \
                    one) or remove the key"
            .to_owned());
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            "api_token has spaces or other characters that are not allowed in an HTTP header; use \
             letters and digits"
                .to_owned(),
        );
    }
    Ok(())
}

/// A warning about an `api_token` that can be used but also guessed.
pub fn weak_api_token(token: &str) -> Option<String> {
    let chars = token.chars().count();
    let short = format!(
        "api_token has {chars} characters and can be guessed; `openssl rand -hex 16` prints a good \
         one"
    );
    let is_short = chars < SECRET_CHARS_MIN;
    is_short.then_some(short).or_else(|| check_not_an_example("api_token", token).err())
}

fn check_not_an_example(key: &str, secret: &str) -> Result<(), String> {
    let lower = secret.to_ascii_lowercase();
    let letters: String = lower.chars().filter(char::is_ascii_alphanumeric).collect();
    let words = ["changeme", "changethis", "replaceme", "replacethis", "placeholder"];
    let same = secret.chars().all(|c| secret.starts_with(c));
    if same || words.iter().any(|word| letters.contains(word)) {
        return Err(format!(
            "{key} is a published example; replace it by a random value, such as the output of \
             `openssl rand -hex 16`"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &[u8] = b"a secret for the tests, 32 bytes";
    const NOW_S: i64 = 1_800_000_000;

    fn subject() -> Subject<'static> {
        Subject { username: "alice", user_id: 7, role: "operator", epoch: 3 }
    }

    fn issue() -> String {
        Tokens::new(SECRET).issue(&subject(), NOW_S, 600).unwrap().0
    }

    fn check(token: &str, now_s: i64) -> Result<Claims, TokenError> {
        Tokens::new(SECRET).check(token, now_s)
    }

    fn base64(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let mut padded = [0; 4];
            padded[1..=chunk.len()].copy_from_slice(chunk);
            let bits = u32::from_be_bytes(padded);
            let digits = (0..4).map(|n| char::from(DIGITS[(bits >> (18 - 6 * n)) as usize & 63]));
            text.extend(digits.take(chunk.len() + 1));
        }
        text
    }

    /// A token as written by an attacker who knows everything but `secret`.
    fn forge(header: &Value, claims: &Value, secret: &[u8]) -> String {
        let message = format!(
            "{}.{}",
            base64(&header.to_string().into_bytes()),
            base64(&claims.to_string().into_bytes())
        );
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        let tag = ring::hmac::sign(&key, message.as_bytes());
        format!("{message}.{}", base64(tag.as_ref()))
    }

    fn claims() -> Value {
        json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "uid": 7, "exp": NOW_S + 600,
            "nbf": NOW_S, "iat": NOW_S, "jti": "00112233445566778899aabbccddeeff",
            "role": "admin", "epoch": 3,
        })
    }

    fn header() -> Value {
        json!({ "typ": "JWT", "alg": "HS256" })
    }

    #[test]
    fn a_token_says_what_it_was_issued_for() {
        let claims = check(&issue(), NOW_S).unwrap();
        assert_eq!((claims.sub.as_str(), claims.uid, claims.epoch), ("alice", 7, 3));
        assert_eq!((claims.role.as_str(), claims.exp), ("operator", NOW_S + 600));
        assert!(claims.token_id().is_some());
        let other = check(&issue(), NOW_S).unwrap();
        assert_ne!(claims.token_id(), other.token_id());
    }

    #[test]
    fn the_forger_of_these_tests_is_taken_with_the_right_secret() {
        assert!(check(&forge(&header(), &claims(), SECRET), NOW_S).is_ok());
        let wrong = forge(&header(), &claims(), b"another secret");
        assert_eq!(check(&wrong, NOW_S), Err(TokenError::NotOurs));
    }

    #[test]
    fn no_other_algorithm_is_taken() {
        for alg in ["none", "None", "NONE", "HS384", "HS512", "RS256", "ES256", "PS256", "EdDSA"] {
            let token = forge(&json!({ "typ": "JWT", "alg": alg }), &claims(), SECRET);
            assert_eq!(check(&token, NOW_S), Err(TokenError::NotOurs), "{alg}");
            // With an empty signature.
            let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
            assert_eq!(check(&unsigned, NOW_S), Err(TokenError::NotOurs), "{alg}");
        }
        assert_eq!(
            check(&forge(&json!({ "typ": "JWT" }), &claims(), SECRET), NOW_S),
            Err(TokenError::NotOurs)
        );
    }

    #[test]
    fn keys_and_extensions_in_the_header_are_not_followed() {
        let additions = [
            ("jku", json!("https://example.net/keys")),
            ("x5u", json!("https://example.net/certificate")),
            ("kid", json!("../../dev/null")),
            ("crit", json!(["exp"])),
            ("jwk", json!({ "kty": "oct", "k": "AAAA" })),
            ("zip", json!("DEF")),
            ("other", json!(1)),
        ];
        for (name, value) in additions {
            let mut header = header();
            header[name] = value;
            let token = forge(&header, &claims(), SECRET);
            assert_eq!(check(&token, NOW_S), Err(TokenError::NotOurs), "{name}");
        }
    }

    #[test]
    fn every_claim_is_needed_and_has_to_be_ours() {
        for name in ["iss", "aud", "sub", "uid", "exp", "nbf", "iat", "jti", "role", "epoch"] {
            let mut claims = claims();
            claims.as_object_mut().unwrap().remove(name);
            let token = forge(&header(), &claims, SECRET);
            assert_eq!(check(&token, NOW_S), Err(TokenError::NotOurs), "{name}");
        }
        let changes = [
            ("iss", json!("somebody")),
            ("iss", json!(["gossipper"])),
            ("aud", json!("another-api")),
            ("aud", json!(["gossipper-api", "another-api"])),
            ("exp", json!("tomorrow")),
            ("exp", json!(1e300)),
            ("uid", json!("7")),
        ];
        for (name, value) in changes {
            let mut claims = claims();
            claims[name] = value.clone();
            let token = forge(&header(), &claims, SECRET);
            assert_eq!(check(&token, NOW_S), Err(TokenError::NotOurs), "{name} {value}");
        }
    }

    #[test]
    fn a_token_is_good_in_its_time_only() {
        let token = issue();
        assert!(check(&token, NOW_S + 599).is_ok());
        assert_eq!(check(&token, NOW_S + 600), Err(TokenError::Expired));
        assert!(check(&token, NOW_S - CLOCK_STEP_S).is_ok());
        assert_eq!(check(&token, NOW_S - CLOCK_STEP_S - 1), Err(TokenError::NotYet));
        assert_eq!(check(&token, i64::MAX), Err(TokenError::Expired));
        assert_eq!(check(&token, i64::MIN), Err(TokenError::NotYet));
    }

    #[test]
    fn any_changed_character_spoils_a_token() {
        let token = issue();
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            // The last digit carries unused bits; a reader has to refuse a change in them too.
            assert_eq!(check(&changed, NOW_S), Err(TokenError::NotOurs), "character {at}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let long = "a".repeat(TOKEN_BYTES_MAX + 1);
        for text in ["", ".", "..", "...", "a.b.c", "é.é.é", "\0", &long, &format!("{}.x", issue())]
        {
            assert_eq!(check(text, NOW_S), Err(TokenError::NotOurs), "{text:?}");
        }
    }

    #[test]
    fn secrets_that_can_be_guessed_are_refused_by_name() {
        assert!(check_jwt_secret("3f9a6c0d1b2e4875").is_ok());
        assert!(check_jwt_secret("fifteen chars..").unwrap_err().contains("has 15 characters"));
        for example in ["CHANGE_ME_CHANGE_ME", "please-replace-this-secret", "aaaaaaaaaaaaaaaaaaaa"]
        {
            let error = check_jwt_secret(example).unwrap_err();
            assert!(error.starts_with("auth.jwt_secret is a published example"), "{error}");
        }
        for good in ["3f9a6c0d1b2e4875", "short"] {
            assert_eq!(check_api_token(good), Ok(()));
        }
        assert!(check_api_token("").unwrap_err().starts_with("api_token is empty"));
        assert!(check_api_token("a token with blanks").unwrap_err().contains("HTTP header"));
        assert_eq!(weak_api_token("3f9a6c0d1b2e4875"), None);
        assert!(weak_api_token("short").unwrap().starts_with("api_token has 5 characters"));
        assert!(weak_api_token("change-me-at-once").unwrap().contains("is a published example"));
    }
}

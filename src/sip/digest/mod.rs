//! Digest authentication (RFC 3261 section 22, RFC 7616, RFC 8760, RFC 2617) and AKAv1-MD5
//! (RFC 3310): reading challenges, computing answers, checking them.
//!
//! Pure and without allocation: an answer is written into the caller's buffer. The caller provides
//! the secret, the number of uses of a nonce and the client's nonce. The caller also knows the
//! message that a challenge belongs to.

mod aka;
mod answer;
mod cache;
mod hash;
mod verify;

pub use aka::{AkaError, AkaKeys, Milenage};
pub use answer::{Answer, AnswerError, Credentials, Secret};
pub use cache::Ha1Cache;
pub use hash::{Hash, Hex};
pub use verify::{Presented, verify};

use super::{AuthFields, Challenge};

/// The way in which a digest is computed (RFC 7616 section 6.1, RFC 3310 section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// `MD5`, also if no algorithm is named.
    Md5,
    /// `MD5-sess`
    Md5Sess,
    /// `AKAv1-MD5`: the password is the answer of a SIM to the nonce.
    AkaV1Md5,
    /// `SHA-256`
    Sha256,
    /// `SHA-256-sess`
    Sha256Sess,
    /// `SHA-512-256`
    Sha512_256,
    /// `SHA-512-256-sess`
    Sha512_256Sess,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Md5,
        Self::Md5Sess,
        Self::AkaV1Md5,
        Self::Sha256,
        Self::Sha256Sess,
        Self::Sha512_256,
        Self::Sha512_256Sess,
    ];

    /// The token of RFC 7616 and RFC 3310.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Md5Sess => "MD5-sess",
            Self::AkaV1Md5 => "AKAv1-MD5",
            Self::Sha256 => "SHA-256",
            Self::Sha256Sess => "SHA-256-sess",
            Self::Sha512_256 => "SHA-512-256",
            Self::Sha512_256Sess => "SHA-512-256-sess",
        }
    }

    /// The algorithm of that token, compared without case.
    pub fn from_token(token: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.token().as_bytes().eq_ignore_ascii_case(token))
    }

    /// The hash function that it uses.
    pub const fn hash(self) -> Hash {
        match self {
            Self::Md5 | Self::Md5Sess | Self::AkaV1Md5 => Hash::Md5,
            Self::Sha256 | Self::Sha256Sess => Hash::Sha256,
            Self::Sha512_256 | Self::Sha512_256Sess => Hash::Sha512_256,
        }
    }

    /// Tells whether the secret is mixed with the nonces once (RFC 7616 section 3.4.2).
    pub const fn is_session(self) -> bool {
        matches!(self, Self::Md5Sess | Self::Sha256Sess | Self::Sha512_256Sess)
    }
}

/// The parts of a message that an answer protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qop {
    /// Method and URI, without counting uses of the nonce (RFC 2069).
    None,
    /// `auth`: method and URI.
    Auth,
    /// `auth-int`: the body as well.
    AuthInt,
}

impl Qop {
    /// The token, if there is one.
    pub const fn token(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Auth => Some("auth"),
            Self::AuthInt => Some("auth-int"),
        }
    }
}

/// A digest challenge. Values are kept as they were received, without quotes and with their
/// escapes, since an answer has to repeat them to the byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestChallenge<'m> {
    /// `realm`
    pub realm: &'m [u8],
    /// `nonce`
    pub nonce: &'m [u8],
    /// `opaque`, to be repeated.
    pub opaque: Option<&'m [u8]>,
    /// `algorithm`
    pub algorithm: Algorithm,
    /// The strongest of the known `qop` options.
    pub qop: Qop,
    /// `stale`: the nonce was too old, the credentials were not wrong.
    pub stale: bool,
}

/// The reason why a challenge cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// The challenge cannot be read.
    #[error("the challenge is malformed")]
    Malformed,
    /// The scheme is not `Digest`.
    #[error("the challenge's scheme is not Digest")]
    NotDigest,
    /// `realm` or `nonce` is missing.
    #[error("the challenge lacks a realm or a nonce")]
    Incomplete,
    /// The algorithm is unknown.
    #[error("the challenge's algorithm is not supported")]
    UnknownAlgorithm,
    /// `qop` offers no known option.
    #[error("the challenge's qop is not supported")]
    UnknownQop,
}

impl<'m> DigestChallenge<'m> {
    /// Reads the value of a WWW-Authenticate or Proxy-Authenticate header.
    ///
    /// # Errors
    /// The challenge cannot be answered; the next one may be better.
    pub fn parse(value: &'m [u8]) -> Result<Self, ChallengeError> {
        let challenge = Challenge::parse(value).map_err(|_| ChallengeError::Malformed)?;
        if !challenge.is_digest() {
            return Err(ChallengeError::NotDigest);
        }
        let field = Fields(challenge.fields);
        let algorithm = match field.get("algorithm")? {
            None => Algorithm::Md5,
            Some(token) => Algorithm::from_token(token).ok_or(ChallengeError::UnknownAlgorithm)?,
        };
        let qop = match field.get("qop")? {
            None => Qop::None,
            Some(options) => strongest_qop(options).ok_or(ChallengeError::UnknownQop)?,
        };
        Ok(Self {
            realm: field.get("realm")?.ok_or(ChallengeError::Incomplete)?,
            nonce: field.get("nonce")?.ok_or(ChallengeError::Incomplete)?,
            opaque: field.get("opaque")?,
            algorithm,
            qop,
            stale: field.get("stale")?.is_some_and(|stale| stale.eq_ignore_ascii_case(b"true")),
        })
    }
}

/// The fields of a header, whose every field must be sound. A value without quotes is a token
/// (RFC 3261 section 25.1): one with a quote inside could not be repeated between quotes.
struct Fields<'m>(AuthFields<'m>);

impl<'m> Fields<'m> {
    fn get(&self, name: &str) -> Result<Option<&'m [u8]>, ChallengeError> {
        for field in self.0 {
            let field = field.map_err(|_| ChallengeError::Malformed)?;
            if field.is(name) {
                let is_quoted = |value: &[u8]| value.starts_with(b"\"");
                let breaks = |value: &[u8]| value.iter().any(|byte| matches!(byte, b'"' | b'\\'));
                return match field.value {
                    Some(value) if !is_quoted(value) && breaks(value) => {
                        Err(ChallengeError::Malformed)
                    }
                    _ => Ok(field.unquoted()),
                };
            }
        }
        Ok(None)
    }
}

/// Prefers `auth-int` to `auth` as SIPp does, since it protects more.
fn strongest_qop(options: &[u8]) -> Option<Qop> {
    let offers = |token: &str| {
        options
            .split(|&byte| byte == b',')
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    };
    if offers("auth-int") {
        Some(Qop::AuthInt)
    } else if offers("auth") {
        Some(Qop::Auth)
    } else if options.trim_ascii().is_empty() {
        Some(Qop::None)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read_with_its_defaults() {
        let read = DigestChallenge::parse(br#"Digest realm="a \"b\"", nonce="n", stale=TRUE"#);
        let challenge = read.unwrap();
        assert_eq!(challenge.realm, br#"a \"b\""#);
        assert_eq!(challenge.algorithm, Algorithm::Md5);
        assert_eq!(challenge.qop, Qop::None);
        assert!(challenge.stale);
        assert_eq!(challenge.opaque, None);
    }

    #[test]
    fn the_strongest_qop_is_taken_wherever_it_stands() {
        let qop = |text: &str| {
            let value = format!("Digest realm=\"r\",nonce=\"n\",qop=\"{text}\"");
            DigestChallenge::parse(value.as_bytes()).map(|challenge| challenge.qop)
        };
        assert_eq!(qop("auth"), Ok(Qop::Auth));
        assert_eq!(qop("auth,auth-int"), Ok(Qop::AuthInt));
        assert_eq!(qop("Auth-Int , auth"), Ok(Qop::AuthInt));
        assert_eq!(qop("token,auth"), Ok(Qop::Auth));
        assert_eq!(qop("token"), Err(ChallengeError::UnknownQop));
        assert_eq!(qop(""), Ok(Qop::None));
    }

    #[test]
    fn what_cannot_be_answered_says_why() {
        for (value, error) in [
            ("", ChallengeError::Malformed),
            ("Digest realm", ChallengeError::Malformed),
            ("Digest realm=\"r\",nonce=g\"n\"", ChallengeError::Malformed),
            ("Digest realm=r\\,nonce=\"n\"", ChallengeError::Malformed),
            ("Digest realm=\"r\"", ChallengeError::Incomplete),
            ("Digest nonce=\"n\"", ChallengeError::Incomplete),
            ("Digest realm=\"r\",nonce=\"n\",algorithm=x", ChallengeError::UnknownAlgorithm),
        ] {
            assert_eq!(DigestChallenge::parse(value.as_bytes()), Err(error), "{value}");
        }
    }

    #[test]
    fn tokens_round_trip() {
        for algorithm in Algorithm::ALL {
            let token = algorithm.token().to_ascii_lowercase();
            assert_eq!(Algorithm::from_token(token.as_bytes()), Some(algorithm));
        }
    }
}

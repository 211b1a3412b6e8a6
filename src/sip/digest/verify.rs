//! Checking an Authorization or Proxy-Authorization header.

use super::answer::Computation;
use super::{Algorithm, ChallengeError, Fields, Qop};
use crate::sip::Challenge;

/// The credentials in a header: values without quotes, and with their escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presented<'m> {
    /// `username`
    pub user: &'m [u8],
    /// `realm`
    pub realm: &'m [u8],
    /// `nonce`
    pub nonce: &'m [u8],
    /// `uri`
    pub uri: &'m [u8],
    /// `response`
    pub response: &'m [u8],
    /// `algorithm`
    pub algorithm: Algorithm,
    /// `qop`
    pub qop: Qop,
    /// `nc`; empty if it is missing.
    pub count: &'m [u8],
    /// `cnonce`; empty if it is missing.
    pub cnonce: &'m [u8],
}

impl<'m> Presented<'m> {
    /// Reads the value of an Authorization or Proxy-Authorization header.
    ///
    /// # Errors
    /// The header cannot be checked.
    pub fn parse(value: &'m [u8]) -> Result<Self, ChallengeError> {
        let header = Challenge::parse(value).map_err(|_| ChallengeError::Malformed)?;
        if !header.is_digest() {
            return Err(ChallengeError::NotDigest);
        }
        let field = Fields(header.fields);
        let needed = |name| field.get(name)?.ok_or(ChallengeError::Incomplete);
        let algorithm = match field.get("algorithm")? {
            None => Algorithm::Md5,
            Some(token) => Algorithm::from_token(token).ok_or(ChallengeError::UnknownAlgorithm)?,
        };
        let qop = match field.get("qop")? {
            None => Qop::None,
            Some(token) if token.eq_ignore_ascii_case(b"auth") => Qop::Auth,
            Some(token) if token.eq_ignore_ascii_case(b"auth-int") => Qop::AuthInt,
            Some(_) => return Err(ChallengeError::UnknownQop),
        };
        let (count, cnonce) = match qop {
            Qop::None => (&b""[..], field.get("cnonce")?.unwrap_or_default()),
            Qop::Auth | Qop::AuthInt => (needed("nc")?, needed("cnonce")?),
        };
        Ok(Self {
            user: needed("username")?,
            realm: needed("realm")?,
            nonce: needed("nonce")?,
            uri: needed("uri")?,
            response: needed("response")?,
            algorithm,
            qop,
            count,
            cnonce,
        })
    }
}

/// Tells whether `value` is the answer of `user` with `password` for a request of that method and
/// body.
///
/// The nonce is not checked: the scenario decides whether it was issued and how many uses it
/// permits. AKAv1-MD5 needs a SIM instead of a password and never verifies.
pub fn verify(value: &[u8], method: &[u8], body: &[u8], user: &[u8], password: &[u8]) -> bool {
    let Ok(presented) = Presented::parse(value) else { return false };
    let names_user = unescaped(presented.user).eq(user.iter().copied());
    if !names_user || presented.algorithm == Algorithm::AkaV1Md5 {
        return false;
    }
    let hash = presented.algorithm.hash();
    let expected = Computation {
        hash,
        is_session: presented.algorithm.is_session(),
        ha1: hash.of(&[user, b":", presented.realm, b":", password]),
        method,
        uri: presented.uri,
        body,
        nonce: presented.nonce,
        cnonce: presented.cnonce,
        count: presented.count,
        qop: presented.qop,
    }
    .response();
    expected.as_bytes().eq_ignore_ascii_case(presented.response)
}

/// The content of a quoted string without its escapes.
fn unescaped(text: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut bytes = text.iter().copied();
    std::iter::from_fn(move || match bytes.next() {
        Some(b'\\') => bytes.next(),
        byte => byte,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::digest::{Answer, Credentials, DigestChallenge, Ha1Cache, Secret};

    #[test]
    fn every_answer_verifies_and_nothing_else_does() {
        let mut cache = Ha1Cache::new(16, 3);
        let algorithms = Algorithm::ALL.into_iter().filter(|a| *a != Algorithm::AkaV1Md5);
        for algorithm in algorithms {
            for qop in ["", ",qop=\"auth\"", ",qop=\"auth-int\"", ",qop=\"auth,auth-int\""] {
                let token = algorithm.token();
                let value = format!("Digest realm=\"r x\",nonce=\"n\\\"1\",algorithm={token}{qop}");
                let challenge = DigestChallenge::parse(value.as_bytes()).unwrap();
                let secret = Secret { password: b"pa:ss", aka: None };
                let answer = Answer {
                    challenge: &challenge,
                    credentials: Credentials { user: br#"al"ice"#, secret },
                    method: b"REGISTER",
                    uri: b"sip:h",
                    body: b"body",
                    cnonce: b"c0ffee00",
                    nonce_count: 3,
                };
                let mut out = [0; 512];
                let len = answer.write(true, &mut cache, &mut out).unwrap();
                let value = out[..len].strip_prefix(b"Proxy-Authorization: ").unwrap();
                let check = |method: &[u8], body: &[u8], user: &[u8], password: &[u8]| {
                    verify(value, method, body, user, password)
                };
                let user = br#"al"ice"#;
                assert!(check(b"REGISTER", b"body", user, b"pa:ss"), "{token} {qop}");
                assert!(!check(b"INVITE", b"body", user, b"pa:ss"));
                assert!(!check(b"REGISTER", b"body", user, b"pass"));
                assert!(!check(b"REGISTER", b"body", b"alice", b"pa:ss"));
                let is_protected = qop.contains("auth-int");
                assert_eq!(check(b"REGISTER", b"other", user, b"pa:ss"), !is_protected);
            }
        }
    }

    #[test]
    fn incomplete_headers_do_not_verify() {
        for value in [
            "",
            "Basic YTpi",
            "Digest username=\"u\",realm=\"r\",nonce=\"n\",uri=\"x\"",
            "Digest username=\"u\",realm=\"r\",nonce=\"n\",uri=\"x\",response=\"0\",qop=auth",
            "Digest username=\"u\",realm=\"r\",nonce=\"n\",uri=\"x\",response=\"0\",qop=x",
            "Digest username=\"u\",realm=\"r\",nonce=\"n\",uri=\"x\",response=\"0\",algorithm=AKAv1-MD5",
        ] {
            assert!(!verify(value.as_bytes(), b"GET", b"", b"u", b"p"), "{value}");
        }
    }
}

//! Answering a challenge: the Authorization or Proxy-Authorization header.

use super::aka::{AkaError, AkaKeys};
use super::cache::Ha1Cache;
use super::hash::Hex;
use super::{Algorithm, DigestChallenge, Hash, Qop};

/// The secret that proves a user's identity.
#[derive(Clone, Copy, Debug)]
pub struct Secret<'a> {
    /// The password.
    pub password: &'a [u8],
    /// The SIM's secrets, for AKAv1-MD5.
    pub aka: Option<&'a AkaKeys>,
}

/// The user that answers, and the secret.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// The user name, not escaped.
    pub user: &'a [u8],
    /// The secret.
    pub secret: Secret<'a>,
}

/// Everything that goes into an answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The challenge.
    pub challenge: &'a DigestChallenge<'a>,
    /// The user's credentials.
    pub credentials: Credentials<'a>,
    /// The method of the request.
    pub method: &'a [u8],
    /// The digest URI.
    pub uri: &'a [u8],
    /// The body, which `auth-int` protects.
    pub body: &'a [u8],
    /// The client's nonce: hexadecimal digits, which stay the same as long as the server's nonce
    /// does.
    pub cnonce: &'a [u8],
    /// Number of uses of the server's nonce, with this one (RFC 7616 section 3.4).
    pub nonce_count: u32,
}

/// The reason why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The answer does not fit the buffer.
    #[error("the header does not fit the message")]
    NoRoom,
    /// The challenge asks for AKA, and no key is known.
    #[error("AKAv1-MD5 needs the key of a SIM: aka_K, aka_OP and aka_AMF")]
    NoKey,
    /// The nonce cannot be answered.
    #[error(transparent)]
    Aka(#[from] AkaError),
}

impl Answer<'_> {
    /// Writes the whole header without its line end, and returns the length. The fields stand in
    /// SIPp's order.
    ///
    /// # Errors
    /// `out` has no room, or these credentials cannot answer the challenge.
    pub fn write(
        &self,
        is_proxy: bool,
        cache: &mut Ha1Cache,
        out: &mut [u8],
    ) -> Result<usize, AnswerError> {
        let challenge = self.challenge;
        let mut count = [0; 8];
        hexadecimal(self.nonce_count, &mut count);
        let response = self.response(&count, cache)?;
        let mut out = Writer { out, at: 0 };
        out.put(&[match is_proxy {
            true => b"Proxy-Authorization: Digest username=\"",
            false => b"Authorization: Digest username=\"",
        }])?;
        out.escaped(self.credentials.user)?;
        out.put(&[b"\",realm=\"", challenge.realm, b"\""])?;
        let has_cnonce = challenge.qop != Qop::None || challenge.algorithm.is_session();
        if has_cnonce {
            out.put(&[b",cnonce=\"", self.cnonce, b"\""])?;
        }
        if let Some(qop) = challenge.qop.token() {
            out.put(&[b",nc=", &count, b",qop=", qop.as_bytes()])?;
        }
        out.put(&[b",uri=\"", self.uri, b"\",nonce=\"", challenge.nonce])?;
        out.put(&[b"\",response=\"", response.as_bytes(), b"\",algorithm="])?;
        out.put(&[challenge.algorithm.token().as_bytes()])?;
        if let Some(opaque) = challenge.opaque {
            out.put(&[b",opaque=\"", opaque, b"\""])?;
        }
        Ok(out.at)
    }

    fn response(&self, count: &[u8; 8], cache: &mut Ha1Cache) -> Result<Hex, AnswerError> {
        let Self { challenge, credentials, .. } = self;
        let hash = challenge.algorithm.hash();
        let Credentials { user, secret } = credentials;
        let ha1 = match challenge.algorithm {
            Algorithm::AkaV1Md5 => {
                let keys = secret.aka.ok_or(AnswerError::NoKey)?;
                let res = keys.res(challenge.nonce)?;
                hash.of(&[user, b":", challenge.realm, b":", &res])
            }
            _ => cache.ha1(hash, user, challenge.realm, secret.password),
        };
        Ok(Computation {
            hash,
            is_session: challenge.algorithm.is_session(),
            ha1,
            method: self.method,
            uri: self.uri,
            body: self.body,
            nonce: challenge.nonce,
            cnonce: self.cnonce,
            count,
            qop: challenge.qop,
        }
        .response())
    }
}

/// The computation that both sides do (RFC 7616 section 3.4.1).
pub(super) struct Computation<'a> {
    pub(super) hash: Hash,
    pub(super) is_session: bool,
    /// The hash of user, realm and password, before it is tied to a session.
    pub(super) ha1: Hex,
    pub(super) method: &'a [u8],
    pub(super) uri: &'a [u8],
    pub(super) body: &'a [u8],
    pub(super) nonce: &'a [u8],
    pub(super) cnonce: &'a [u8],
    pub(super) count: &'a [u8],
    pub(super) qop: Qop,
}

impl Computation<'_> {
    pub(super) fn response(&self) -> Hex {
        let &Self { hash, nonce, cnonce, count, .. } = self;
        let ha1 = match self.is_session {
            true => hash.of(&[self.ha1.as_bytes(), b":", nonce, b":", cnonce]),
            false => self.ha1,
        };
        let ha2 = match self.qop {
            Qop::AuthInt => {
                let body = hash.of(&[self.body]);
                hash.of(&[self.method, b":", self.uri, b":", body.as_bytes()])
            }
            Qop::None | Qop::Auth => hash.of(&[self.method, b":", self.uri]),
        };
        let (ha1, ha2) = (ha1.as_bytes(), ha2.as_bytes());
        match self.qop.token() {
            None => hash.of(&[ha1, b":", nonce, b":", ha2]),
            Some(qop) => {
                let qop = qop.as_bytes();
                hash.of(&[ha1, b":", nonce, b":", count, b":", cnonce, b":", qop, b":", ha2])
            }
        }
    }
}

fn hexadecimal(value: u32, digits: &mut [u8; 8]) {
    for (index, digit) in digits.iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(value >> (4 * index)) as usize & 15];
    }
}

struct Writer<'o> {
    out: &'o mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, pieces: &[&[u8]]) -> Result<(), AnswerError> {
        for piece in pieces {
            let end = self.at + piece.len();
            let room = self.out.get_mut(self.at..end).ok_or(AnswerError::NoRoom)?;
            room.copy_from_slice(piece);
            self.at = end;
        }
        Ok(())
    }

    /// Writes the content of a quoted string (RFC 3261 section 25.1), with quotes and backslashes
    /// escaped.
    fn escaped(&mut self, text: &[u8]) -> Result<(), AnswerError> {
        for &byte in text {
            if matches!(byte, b'"' | b'\\') {
                self.put(&[b"\\"])?;
            }
            self.put(&[&[byte]])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(challenge: &str, answer: impl Fn(&mut Answer<'_>)) -> String {
        let challenge = DigestChallenge::parse(challenge.as_bytes()).unwrap();
        let mut parts = Answer {
            challenge: &challenge,
            credentials: Credentials {
                user: b"Mufasa",
                secret: Secret { password: b"Circle of Life", aka: None },
            },
            method: b"GET",
            uri: b"/dir/index.html",
            body: b"",
            cnonce: b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            nonce_count: 1,
        };
        answer(&mut parts);
        let mut out = [0; 1024];
        let len = parts.write(false, &mut Ha1Cache::new(8, 1), &mut out).unwrap();
        String::from_utf8(out[..len].to_vec()).unwrap()
    }

    const CHALLENGE: &str = r#"Digest realm="http-auth@example.org", qop="auth",
        nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;

    #[test]
    fn the_examples_of_rfc_7616_come_out() {
        // RFC 7616 section 3.9.1.
        let md5 = header(&format!("{CHALLENGE}, algorithm=MD5"), |_| {});
        assert!(md5.contains("response=\"8ca523f5e9506fed4657c9700eebdbec\""), "{md5}");
        let sha = header(&format!("{CHALLENGE}, algorithm=SHA-256"), |_| {});
        let expected = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";
        assert!(sha.contains(&format!("response=\"{expected}\"")), "{sha}");
        assert!(sha.ends_with(
            "algorithm=SHA-256,opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
        ));
    }

    #[test]
    fn the_example_of_rfc_2617_comes_out() {
        // RFC 2617 section 3.5.
        let text = header(
            r#"Digest realm="testrealm@host.com", qop="auth",
               nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093""#,
            |answer| {
                answer.credentials.secret.password = b"Circle Of Life";
                answer.cnonce = b"0a4f113b";
            },
        );
        assert_eq!(
            text,
            "Authorization: Digest username=\"Mufasa\",realm=\"testrealm@host.com\",\
             cnonce=\"0a4f113b\",nc=00000001,qop=auth,uri=\"/dir/index.html\",\
             nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\",\
             response=\"6629fae49393a05397450978507c4ef1\",algorithm=MD5"
        );
    }

    #[test]
    fn without_qop_neither_count_nor_client_nonce_is_sent() {
        // The example of RFC 2069, as corrected by its errata.
        let text = header(
            r#"Digest realm="testrealm@host.com",
               nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093""#,
            |answer| answer.credentials.secret.password = b"CircleOfLife",
        );
        assert!(text.contains("response=\"1949323746fe6a43ef61f9606e7febea\""), "{text}");
        assert!(!text.contains("cnonce") && !text.contains("nc=") && !text.contains("qop"));
    }

    #[test]
    fn sipps_answers_come_out() {
        // The answers of SIPp 3.6.1 to the same challenges.
        let answer = |qop: &str, port: &str, body: &'static [u8]| {
            let uri = format!("sip:127.0.0.1:{port}");
            header(&format!("Digest realm=\"r\",nonce=\"abc\"{qop}"), |answer| {
                answer.credentials.user = b"alice";
                answer.credentials.secret.password = b"secret";
                answer.method = b"REGISTER";
                answer.uri = Box::leak(uri.clone().into_boxed_str()).as_bytes();
                answer.body = body;
                answer.cnonce = b"6b8b4567";
            })
        };
        assert_eq!(
            answer(",qop=\"auth\",opaque=\"op\"", "54970", b""),
            "Authorization: Digest username=\"alice\",realm=\"r\",cnonce=\"6b8b4567\",nc=00000001,\
             qop=auth,uri=\"sip:127.0.0.1:54970\",nonce=\"abc\",\
             response=\"f4b988088c09606737744999b5d16334\",algorithm=MD5,opaque=\"op\""
        );
        assert!(answer("", "60394", b"").contains("\"e598be23fb751923b38562947ad809ac\""));
        let protected = answer(",qop=\"auth-int\"", "43441", b"hello\r\n");
        assert!(protected.contains("\"a2c7c49a1a0f0d2a34b1499b2688be30\""), "{protected}");
    }

    #[test]
    fn sessions_hash_the_secret_with_both_nonces() {
        let text = header(&format!("{CHALLENGE}, algorithm=MD5-sess"), |_| {});
        let of = |text: &str| Hash::Md5.of(&[text.as_bytes()]);
        let show = |hex: Hex| String::from_utf8(hex.as_bytes().to_vec()).unwrap();
        let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let secret = show(of("Mufasa:http-auth@example.org:Circle of Life"));
        let a1 = show(of(&format!("{secret}:{nonce}:{cnonce}")));
        let a2 = show(of("GET:/dir/index.html"));
        let expected = show(of(&format!("{a1}:{nonce}:00000001:{cnonce}:auth:{a2}")));
        assert!(text.contains(&format!("response=\"{expected}\"")), "{text}");
        assert!(text.contains("algorithm=MD5-sess"));
    }

    #[test]
    fn quotes_in_names_are_escaped_and_counts_are_hexadecimal() {
        let text = header(CHALLENGE, |answer| {
            answer.credentials.user = br#"a"b\c"#;
            answer.nonce_count = 0x1ab;
        });
        assert!(text.contains(r#"username="a\"b\\c","#), "{text}");
        assert!(text.contains(",nc=000001ab,"), "{text}");
    }

    #[test]
    fn what_does_not_fit_or_has_no_key_is_an_error() {
        let challenge = DigestChallenge::parse(CHALLENGE.as_bytes()).unwrap();
        let secret = Secret { password: b"p", aka: None };
        let answer = Answer {
            challenge: &challenge,
            credentials: Credentials { user: b"u", secret },
            method: b"GET",
            uri: b"/",
            body: b"",
            cnonce: b"0",
            nonce_count: 1,
        };
        let mut cache = Ha1Cache::new(1, 1);
        let len = answer.write(true, &mut cache, &mut [0; 1024]).unwrap();
        for room in 0..len {
            let result = answer.write(true, &mut cache, &mut vec![0; room]);
            assert_eq!(result, Err(AnswerError::NoRoom));
        }
        let aka = DigestChallenge { algorithm: Algorithm::AkaV1Md5, ..challenge };
        let answer = Answer { challenge: &aka, ..answer };
        assert_eq!(answer.write(true, &mut cache, &mut [0; 1024]), Err(AnswerError::NoKey));
    }
}

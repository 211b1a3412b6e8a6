//! Challenges that calls keep, and their answers.

use std::io::Write as _;

use super::Engine;
use super::call::Slot;
use super::render::{At, Out};
use crate::scenario::{Authentication, REQUEST_URI, Template, secret_bytes};
use crate::sip::digest::{self, AkaKeys, Answer, Credentials, DigestChallenge, Secret};
use crate::sip::{HeaderId, Message, unfold};
use crate::stats::FailureCause;

/// Longest user name or password.
const CREDENTIAL_MAX: usize = 512;
/// Longest digest URI that a scenario puts together.
const URI_MAX: usize = 512;
/// Longest answer: a challenge and what is added to it.
const HEADER_MAX: usize = 4096;

/// Where an answer goes in a message.
pub(super) struct Place {
    /// Its first byte.
    pub(super) at: usize,
    /// First byte of the body.
    pub(super) body: usize,
}

impl Engine {
    /// Keeps the challenge of a response for `[authentication]`: the topmost that can be answered.
    pub(super) fn keep_challenge(&mut self, slot: Slot, message: &Message<'_>) {
        let (own, other) = match message.status() {
            Some(407) => (HeaderId::ProxyAuthenticate, HeaderId::WwwAuthenticate),
            _ => (HeaderId::WwwAuthenticate, HeaderId::ProxyAuthenticate),
        };
        let is_present = |id| message.first(id).is_some();
        let id = match (is_present(own), is_present(other)) {
            (true, _) => own,
            (false, true) => other,
            (false, false) => return,
        };
        let kept = self.blobs.bytes(&self.calls[slot].challenge);
        let old = kept.get(1..).and_then(|value| DigestChallenge::parse(value).ok());
        let chosen = digest::choose(message.all(id)).ok();
        let is_known = old.zip(chosen).is_some_and(|(old, (_, new))| old.nonce == new.nonce);
        self.scratch.clear();
        if let Some((value, _)) = chosen {
            self.scratch.push(if id == HeaderId::ProxyAuthenticate { b'P' } else { b'W' });
            self.scratch.extend(unfold(value));
        }
        // A nonce that is used again goes on counting (RFC 7616 section 3.4).
        let cnonce = self.random.next_u64() as u32;
        let call = &mut self.calls[slot];
        if !is_known {
            call.nonce_count = 0;
            call.cnonce = cnonce;
        }
        // Without room the next answer fails, by its own cause.
        self.blobs.replace(&mut call.challenge, &self.scratch);
    }

    /// Inserts the answer to the kept challenge into a message that is complete but for it.
    pub(super) fn answer_challenge(
        &self,
        parts: &Authentication,
        at: &At<'_, '_>,
        place: &Place,
        out: &mut Out<'_>,
    ) {
        let mut header = [0; HEADER_MAX];
        let message = out.written();
        let mut words = message.split(|&byte| byte == b' ');
        let request = [words.next().unwrap_or_default(), words.next().unwrap_or_default()];
        let body = message.get(place.body..).unwrap_or_default();
        match self.answer(parts, at, request, body, &mut header) {
            Some(len) => out.insert(place.at, &header[..len]),
            None => out.fail(FailureCause::AuthenticationFailed),
        }
    }

    fn answer(
        &self,
        parts: &Authentication,
        at: &At<'_, '_>,
        [method, request_uri]: [&[u8]; 2],
        body: &[u8],
        header: &mut [u8],
    ) -> Option<usize> {
        let call = &self.calls[at.slot];
        let (&kind, value) = self.blobs.bytes(&call.challenge).split_first()?;
        let challenge = DigestChallenge::parse(value).ok()?;
        let data = &self.config.data;
        let (mut user, mut password) = ([0; CREDENTIAL_MAX], [0; CREDENTIAL_MAX]);
        let user = match &parts.username {
            Some(template) => self.nested(template, at, &mut user)?,
            None => data.auth_user.as_bytes(),
        };
        let password = match &parts.password {
            Some(template) => self.nested(template, at, &mut password)?,
            None => data.auth_password.as_bytes(),
        };
        let aka = self.aka_keys(parts, password, at)?;
        let (mut uri, mut cnonce) = ([0; URI_MAX], [0; 8]);
        let uri = match (&parts.uri, &data.auth_uri) {
            (Some(own), _) if own.as_literal() == Some(REQUEST_URI) => request_uri,
            (Some(own), _) => self.nested(own, at, &mut uri)?,
            (None, Some(uri)) => uri.as_bytes(),
            (None, None) => {
                let peer = self.config.environment.remote.unwrap_or(call.remote);
                let mut rest = &mut uri[..];
                // A socket address is shorter than the buffer. SIPp names the peer, not the
                // Request-URI.
                let _ = write!(rest, "sip:{peer}");
                let left = rest.len();
                &uri[..URI_MAX - left]
            }
        };
        let mut rest = &mut cnonce[..];
        let _ = write!(rest, "{:08x}", call.cnonce);
        let answer = Answer {
            challenge: &challenge,
            credentials: Credentials { user, secret: Secret { password, aka: aka.as_ref() } },
            method,
            uri,
            body,
            cnonce: &cnonce,
            nonce_count: call.nonce_count + 1,
        };
        answer.write(kind == b'P', &mut self.digests.borrow_mut(), header).ok()
    }

    /// The secrets of a SIM. Without a key of its own the password is the key, as in SIPp; `None`
    /// is a secret that cannot be read.
    fn aka_keys(
        &self,
        parts: &Authentication,
        password: &[u8],
        at: &At<'_, '_>,
    ) -> Option<Option<AkaKeys>> {
        let read = |template: &Template, out: &mut [u8]| {
            let mut buffer = [0; 64];
            secret_bytes(self.nested(template, at, &mut buffer)?, out)
        };
        let (mut k, mut op, mut amf) = ([0; 16], [0; 16], [0; 2]);
        match &parts.aka_k {
            Some(template) => read(template, &mut k)?,
            None if secret_bytes(password, &mut k).is_none() => return Some(None),
            None => {}
        }
        if let Some(template) = &parts.aka_op {
            read(template, &mut op)?;
        }
        let amf = match &parts.aka_amf {
            Some(template) => {
                read(template, &mut amf)?;
                Some(amf)
            }
            None => None,
        };
        Some(Some(AkaKeys { k, op, amf }))
    }
}

/// `true` if the request `message` answers a challenge as `user` with `password` would.
pub(super) fn verifies(message: &Message<'_>, user: &[u8], password: &[u8]) -> bool {
    let Some(method) = message.method() else { return false };
    message
        .all(HeaderId::Authorization)
        .chain(message.all(HeaderId::ProxyAuthorization))
        .any(|value| digest::verify(value, method.as_bytes(), message.body(), user, password))
}

/// The digest URI of `-auth_uri`, to which SIPp adds the scheme.
pub fn digest_uri(text: &str) -> String {
    match text.starts_with("sip:") || text.starts_with("sips:") {
        true => text.to_owned(),
        false => format!("sip:{text}"),
    }
}

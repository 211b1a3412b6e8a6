//! Challenges that calls keep, and their answers.

use std::io::Write as _;

use crate::engine::Engine;
use crate::engine::call::Slot;
use crate::engine::steps::render::{At, Out};
use crate::scenario::{
    self, Authentication, Outgoing, REQUEST_URI, StepKind, Template, WrittenAuthentication,
    secret_bytes,
};
use crate::sip::digest::{self, AkaKeys, Answer, Credentials, DigestChallenge, Secret};
use crate::sip::{HeaderId, Message, unfold};
use crate::stats::FailureCause;

/// Longest user name or password.
const CREDENTIAL_MAX: usize = 512;
/// Longest digest URI that a scenario composes.
const URI_MAX: usize = 512;
/// Longest answer: the challenges and the text that is added to them.
const HEADER_MAX: usize = 4096;

/// Challenges of one response that are answered: one for each realm.
const CHALLENGES_MAX: usize = 4;

/// The place of an answer in a message, and the keyword that it is made from.
pub(in crate::engine) struct Place<'t> {
    /// Offset of the answer's first byte.
    pub(in crate::engine) at: usize,
    /// Offset of the body's first byte.
    pub(in crate::engine) body: usize,
    pub(in crate::engine) wanted: Wanted<'t>,
}

/// The source of the keyword that wants an answer.
#[derive(Clone, Copy)]
pub(in crate::engine) enum Wanted<'t> {
    /// The keyword stands in the scenario.
    Keyword(&'t Authentication),
    /// The keyword stands in a field of an injection file, and takes `len` bytes in the message.
    Field { table: u16, len: usize },
}

/// An argument of the keyword.
#[derive(Clone, Copy)]
enum Argument<'t> {
    Template(&'t Template),
    /// From a row of this injection file.
    Text(u16, &'t [u8]),
}

/// The arguments of the keyword; the command line gives absent ones.
#[derive(Default)]
struct Arguments<'t> {
    username: Option<Argument<'t>>,
    password: Option<Argument<'t>>,
    uri: Option<Argument<'t>>,
    aka_k: Option<Argument<'t>>,
    aka_op: Option<Argument<'t>>,
    aka_amf: Option<Argument<'t>>,
}

impl<'t> Arguments<'t> {
    fn of_keyword(parts: &'t Authentication) -> Self {
        let template = |part: &'t Option<Template>| part.as_ref().map(Argument::Template);
        Self {
            username: template(&parts.username),
            password: template(&parts.password),
            uri: template(&parts.uri),
            aka_k: template(&parts.aka_k),
            aka_op: template(&parts.aka_op),
            aka_amf: template(&parts.aka_amf),
        }
    }

    fn of_field(parts: &WrittenAuthentication<'t>, table: u16) -> Self {
        let text = |part: Option<&'t [u8]>| part.map(|text| Argument::Text(table, text));
        Self {
            username: text(parts.username),
            password: text(parts.password),
            uri: text(parts.uri),
            aka_k: text(parts.aka_k),
            aka_op: text(parts.aka_op),
            aka_amf: text(parts.aka_amf),
        }
    }
}

/// The challenges that a call keeps: for each its kind, its length and its value.
struct Kept<'b>(&'b [u8]);

impl<'b> Iterator for Kept<'b> {
    /// `true` for a challenge of a proxy, and the challenge's value.
    type Item = (bool, &'b [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[kind, high, low], rest) = self.0.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(u16::from_be_bytes([high, low]).into())?;
        self.0 = rest;
        Some((kind == b'P', value))
    }
}

impl Engine {
    /// Keeps the challenges of a response for `[authentication]`: for each realm the topmost one
    /// that we can answer (RFC 3261 section 22.3, RFC 8760 section 2.4).
    pub(in crate::engine) fn keep_challenge(&mut self, slot: Slot, message: &Message<'_>) {
        let (www, proxy) = (HeaderId::WwwAuthenticate, HeaderId::ProxyAuthenticate);
        let order = if message.status() == Some(407) { [proxy, www] } else { [www, proxy] };
        if order.iter().all(|&id| message.first(id).is_none()) {
            return;
        }
        let mut chosen = [None::<(HeaderId, DigestChallenge<'_>)>; CHALLENGES_MAX];
        let mut count = 0;
        self.buffers.scratch.clear();
        for (id, value) in order.iter().flat_map(|&id| message.all(id).map(move |v| (id, v))) {
            let Ok(challenge) = DigestChallenge::parse(value) else { continue };
            let is_answered = chosen
                .iter()
                .flatten()
                .any(|(known, of)| *known == id && of.realm == challenge.realm);
            let Ok(len) = u16::try_from(unfold(value).count()) else { continue };
            if is_answered || count == CHALLENGES_MAX {
                continue;
            }
            chosen[count] = Some((id, challenge));
            count += 1;
            self.buffers.scratch.push(if id == proxy { b'P' } else { b'W' });
            self.buffers.scratch.extend_from_slice(&len.to_be_bytes());
            self.buffers.scratch.extend(unfold(value));
        }
        let is_kept = |nonce: &[u8]| {
            let kept = Kept(self.blobs.bytes(&self.calls[slot].challenge));
            kept.filter_map(|(_, value)| DigestChallenge::parse(value).ok())
                .any(|old| old.nonce == nonce)
        };
        let is_known = count > 0 && chosen.iter().flatten().all(|(_, new)| is_kept(new.nonce));
        // The count of a reused nonce goes on (RFC 7616 section 3.4).
        let cnonce = self.random.next_u64() as u32;
        let call = &mut self.calls[slot];
        if !is_known {
            call.nonce_count = 0;
            call.cnonce = cnonce;
        }
        // Without room the next answer fails, with a cause of its own.
        self.blobs.replace(&mut call.challenge, &self.buffers.scratch);
    }

    /// Writes the answer to the kept challenges into a message that is otherwise complete.
    pub(in crate::engine) fn answer_challenge(
        &self,
        at: &At<'_, '_>,
        place: &Place<'_>,
        out: &mut Out<'_>,
    ) {
        let mut header = [0; HEADER_MAX];
        let message = out.written();
        let (arguments, len) = match place.wanted {
            Wanted::Keyword(parts) => (Some(Arguments::of_keyword(parts)), 0),
            Wanted::Field { table, len } => {
                let written = message.get(place.at..place.at + len).unwrap_or_default();
                let parts = WrittenAuthentication::parse(written);
                (parts.ok().map(|parts| Arguments::of_field(&parts, table)), len)
            }
        };
        // A text without a body is no message, but the text of an action.
        let request = if place.body == 0 { self.last_request(at) } else { message };
        let mut words = request.split(|&byte| byte == b' ');
        let request = [words.next().unwrap_or_default(), words.next().unwrap_or_default()];
        let body = message.get(place.body..).unwrap_or_default();
        let answered =
            arguments.and_then(|arguments| self.answer(&arguments, at, request, body, &mut header));
        match answered {
            Some(written) => out.replace(place.at, len, &header[..written]),
            None => out.fail(FailureCause::AuthenticationFailed),
        }
    }

    /// The start of the last request that the scenario sends before a step, as the scenario has it.
    fn last_request(&self, at: &At<'_, '_>) -> &[u8] {
        let steps = &self.program_of(at.slot).program.steps;
        let before = steps.get(..usize::from(at.step)).unwrap_or_default();
        let request = before.iter().rev().find_map(|step| match &step.kind {
            StepKind::Send(send) if matches!(send.message, Outgoing::Request(_)) => Some(send),
            _ => None,
        });
        request.map_or(&[], |send| &send.template.pool)
    }

    /// Writes a header line for each challenge, without the last line end.
    fn answer(
        &self,
        parts: &Arguments<'_>,
        at: &At<'_, '_>,
        [method, request_uri]: [&[u8]; 2],
        body: &[u8],
        header: &mut [u8],
    ) -> Option<usize> {
        let call = &self.calls[at.slot];
        let data = &self.config.data;
        let (mut user, mut password) = ([0; CREDENTIAL_MAX], [0; CREDENTIAL_MAX]);
        let user = match parts.username {
            Some(argument) => self.argument(argument, at, &mut user)?,
            None => data.auth_user.as_bytes(),
        };
        let password = match parts.password {
            Some(argument) => self.argument(argument, at, &mut password)?,
            None => data.auth_password.as_bytes(),
        };
        let aka = self.aka_keys(parts, password, at)?;
        let (mut uri, mut cnonce) = ([0; URI_MAX], [0; 8]);
        let own_uri = match parts.uri {
            Some(argument) => Some(self.argument(argument, at, &mut uri)?),
            None => None,
        };
        let mut room = [0; URI_MAX];
        let uri = match (own_uri, &data.auth_uri) {
            (Some(REQUEST_URI), _) => request_uri,
            (Some(own), _) => own,
            (None, Some(uri)) => uri.as_bytes(),
            (None, None) => {
                let peer = self.config.environment.remote.unwrap_or(call.remote);
                let mut rest = &mut room[..];
                // A socket address is shorter than the buffer. SIPp names the peer, not the
                // Request-URI.
                let _ = write!(rest, "sip:{peer}");
                let left = rest.len();
                &room[..URI_MAX - left]
            }
        };
        let mut rest = &mut cnonce[..];
        let _ = write!(rest, "{:08x}", call.cnonce);
        let mut len = 0;
        for (is_proxy, value) in Kept(self.blobs.bytes(&call.challenge)) {
            if len > 0 {
                header.get_mut(len..len + 2)?.copy_from_slice(b"\r\n");
                len += 2;
            }
            let challenge = DigestChallenge::parse(value).ok()?;
            let answer = Answer {
                challenge: &challenge,
                credentials: Credentials { user, secret: Secret { password, aka: aka.as_ref() } },
                method,
                uri,
                body,
                cnonce: &cnonce,
                nonce_count: call.nonce_count + 1,
            };
            let mut digests = self.digests.borrow_mut();
            len += answer.write(is_proxy, &mut digests, &mut header[len..]).ok()?;
        }
        (len > 0).then_some(len)
    }

    /// Renders the value of an argument; `None` if it does not fit, or names something that does
    /// not exist.
    fn argument<'b>(
        &self,
        argument: Argument<'b>,
        at: &At<'_, '_>,
        buffer: &'b mut [u8],
    ) -> Option<&'b [u8]> {
        match argument {
            Argument::Template(template) => self.nested(template, at, buffer),
            Argument::Text(_, text) if !text.contains(&b'[') => Some(text),
            Argument::Text(table, text) => {
                // Rare: the row takes the value from another column, which SIPp allows.
                let tables = |name: Option<&str>| match name {
                    Some(name) => {
                        let mut tables = self.tables.iter();
                        tables.position(|table| table.file().name() == name).map(|at| at as u16)
                    }
                    None => Some(table),
                };
                let program = &self.program_of(at.slot).program;
                let template = scenario::compile_value(text, program, &tables)?;
                let environment = &self.config.environment;
                let varying = self.program_of(at.slot).varying;
                let bound = template.bind(|field| {
                    crate::engine::programs::bound::constant(field, environment, varying)
                });
                self.nested(&bound, at, buffer)
            }
        }
    }

    /// The secrets of a SIM. Without a key of its own the password is the key, as in SIPp; `None`
    /// if a secret cannot be read.
    fn aka_keys(
        &self,
        parts: &Arguments<'_>,
        password: &[u8],
        at: &At<'_, '_>,
    ) -> Option<Option<AkaKeys>> {
        let read = |argument: Argument<'_>, out: &mut [u8]| {
            let mut buffer = [0; 64];
            secret_bytes(self.argument(argument, at, &mut buffer)?, out)
        };
        let (mut k, mut op, mut amf) = ([0; 16], [0; 16], [0; 2]);
        match parts.aka_k {
            Some(argument) => read(argument, &mut k)?,
            None if secret_bytes(password, &mut k).is_none() => return Some(None),
            None => {}
        }
        if let Some(argument) = parts.aka_op {
            read(argument, &mut op)?;
        }
        let amf = match parts.aka_amf {
            Some(argument) => {
                read(argument, &mut amf)?;
                Some(amf)
            }
            None => None,
        };
        Some(Some(AkaKeys { k, op, amf }))
    }
}

/// Returns `true` if the request `message` answers a challenge as `user` with `password` would.
pub(in crate::engine) fn verifies(message: &Message<'_>, user: &[u8], password: &[u8]) -> bool {
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

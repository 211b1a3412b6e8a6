//! The dialog of a call: the peer's tag, the remote target and the route set (RFC 3261 section 12).
//!
//! The message that made the dialog sets them; its tag identifies the dialog. A 2xx with another To
//! tag makes another dialog, with a target and a route set of its own (section 13.2.2.4). Inside a
//! dialog the route set stays as it is, and a target refresh brings another Contact (sections
//! 12.2.1.2 and 12.2.2).

pub(in crate::engine) mod abort;
pub(in crate::engine) mod authenticate;
pub(in crate::engine) mod failing;
pub(in crate::engine) mod receive;
pub(in crate::engine) mod repetition;
pub(in crate::engine) mod transactions;

use gossipper_uring::TxArena;

use crate::engine::Engine;
use crate::engine::call::{InviteState, Slot};
use crate::engine::dialog::transactions::top_branch;
use crate::engine::steps::render::{At, Out};
use crate::sip::{
    CSeq, CommaList, HeaderId, HeaderIndex, Kind, Message, Method, MethodId, NameAddr,
};

/// Progress of the dialog whose target and route set a call keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum DialogState {
    /// No dialog, or an INVITE was sent after the end of the last one.
    None,
    /// A provisional response made the dialog.
    Early,
    /// A request of the peer or a 2xx made the dialog.
    Confirmed,
}

/// Methods that make a dialog (RFC 3261 section 12.1, RFC 6665 section 4.1 and RFC 3515).
const MAKING: u32 = MethodId::Invite.bit()
    | MethodId::Subscribe.bit()
    | MethodId::Notify.bit()
    | MethodId::Refer.bit();

/// Methods whose Contact is the new remote target (RFC 3261 section 12.2, RFC 3311 and RFC 5057).
const REFRESHING: u32 = MAKING | MethodId::Update.bit();

const TAG_PARAM: &[u8] = b";tag=";

/// Numbers of our messages to other dialogs, for their branches; above all steps of a scenario.
const OTHER_ACK: u64 = 0xfff2;
const OTHER_BYE: u64 = 0xfff3;

impl Engine {
    /// `;tag=...` of the peer; empty if it has none.
    pub(in crate::engine) fn peer_tag_param(&self, slot: Slot) -> &[u8] {
        let call = &self.calls[slot];
        self.blobs.bytes(&call.peer).get(..call.peer_tag_len as usize).unwrap_or_default()
    }

    /// The tag of the peer, if it has one.
    fn peer_tag(&self, slot: Slot) -> Option<&[u8]> {
        self.peer_tag_param(slot).strip_prefix(TAG_PARAM)
    }

    /// The URI at which the peer wants to be reached; empty if it gave none.
    fn remote_target(&self, slot: Slot) -> &[u8] {
        let call = &self.calls[slot];
        self.blobs.bytes(&call.peer).get(call.peer_tag_len as usize..).unwrap_or_default()
    }

    /// Stores the peer's tag and the remote target; `None` leaves the stored one.
    fn keep_peer(&mut self, slot: Slot, tag: Option<&[u8]>, target: Option<&[u8]>) {
        let is_tag_known = tag.is_none() || self.peer_tag(slot) == tag;
        if is_tag_known && target.is_none_or(|target| self.remote_target(slot) == target) {
            return;
        }
        let call = &mut self.calls[slot];
        let old = self.blobs.bytes(&call.peer);
        let (old_tag, old_target) = old.split_at(old.len().min(call.peer_tag_len as usize));
        self.buffers.scratch.clear();
        match tag {
            Some(tag) => {
                self.buffers.scratch.extend_from_slice(TAG_PARAM);
                self.buffers.scratch.extend_from_slice(tag);
            }
            None => self.buffers.scratch.extend_from_slice(old_tag),
        }
        call.peer_tag_len = self.buffers.scratch.len() as u32;
        self.buffers.scratch.extend_from_slice(target.unwrap_or(old_target));
        // Without room the tag is missing from later messages, which the peer will refuse.
        self.blobs.replace(&mut call.peer, &self.buffers.scratch);
    }

    /// Updates the dialog from a message of the peer. With `is_recorded`, the scenario wants the
    /// route set (`rrs`).
    ///
    /// Target and route set are kept for a scenario that reads them. They are also kept for calls
    /// of ours that were answered: if such a call fails, its BYE needs them.
    pub(in crate::engine) fn follow_dialog(
        &mut self,
        slot: Slot,
        message: &Message<'_>,
        method: MethodId,
        is_recorded: bool,
    ) {
        let reads = self.program_of(slot).program.reads_route_set;
        let tag = match message.kind() {
            Kind::Request { .. } => message.from_tag(),
            Kind::Response { .. } => message.to_tag(),
        };
        let call = &mut self.calls[slot];
        call.records_routes |= is_recorded;
        let is_open = matches!(call.invite_state, InviteState::Calling | InviteState::Proceeding);
        let is_provisional = message.status().is_some_and(|code| code < 200);
        if is_provisional && !is_open && method == MethodId::Invite && call.has_answer() {
            // A branch that still rings after the answer of another.
            return;
        }
        let is_needed = reads || self.config.rules.default_behaviors.bye && !call.incoming;
        let concerns_dialog = match message.status() {
            None | Some(200..300) => REFRESHING & method.bit() != 0,
            // RFC 3261 section 12.1; only scenarios use an early dialog.
            Some(101..200) => reads && method == MethodId::Invite && tag.is_some(),
            Some(_) => false,
        };
        if is_needed && concerns_dialog {
            return self.keep_dialog(slot, message, method, tag, is_provisional);
        }
        let is_answer = method == MethodId::Invite && matches!(message.status(), Some(200..300));
        if !call.has_answer() || is_answer || self.peer_tag(slot).is_none() {
            // A message of no dialog, or of another one, does not change the tag of this one.
            self.keep_peer(slot, tag, None);
        }
        let call = &self.calls[slot];
        let is_first = call.routes.is_empty() && self.remote_target(slot).is_empty();
        if is_recorded && reads && is_first && !matches!(message.status(), Some(100)) {
            // As in SIPp, `rrs` takes the route set of any message.
            self.keep_route_set(slot, message);
            self.keep_peer(slot, None, target_of(message));
        }
    }

    /// Makes a dialog, or refreshes the target of the existing one.
    fn keep_dialog(
        &mut self,
        slot: Slot,
        message: &Message<'_>,
        method: MethodId,
        tag: Option<&[u8]>,
        is_provisional: bool,
    ) {
        let call = &self.calls[slot];
        let state = call.dialog;
        let is_same = self.peer_tag(slot) == tag;
        let begins = message.method().is_some() && message.to_tag().is_none();
        // RFC 3261 section 13.2.2.4: the 2xx confirms an early dialog, and its route set counts.
        let confirms = state == DialogState::Early && !is_provisional;
        let makes = MAKING & method.bit() != 0
            && (state == DialogState::None || !is_same || begins || confirms);
        let target = target_of(message);
        if !makes {
            // Section 12.2.1.2: a 2xx refreshes the target; before that, the first one counts.
            let is_kept = is_provisional && !self.remote_target(slot).is_empty();
            return self.keep_peer(slot, tag, target.filter(|_| !is_kept));
        }
        // The target of another dialog is not that of this one.
        let nowhere: Option<&[u8]> = if is_same { None } else { Some(b"") };
        self.keep_peer(slot, tag, target.or(nowhere));
        let has_routes = !self.calls[slot].routes.is_empty();
        if has_routes || message.first(HeaderId::RecordRoute).is_some() {
            self.keep_route_set(slot, message);
        }
        let call = &mut self.calls[slot];
        call.dialog = if is_provisional { DialogState::Early } else { DialogState::Confirmed };
        if call.invite_state == InviteState::Confirmed
            && method == MethodId::Invite
            && message.status().is_some()
        {
            // The scenario accepts the 2xx of another branch: it needs its own ACK.
            call.invite_state = InviteState::Answered;
        }
    }

    /// Keeps the route set of `message` (RFC 3261 sections 12.1.1 and 12.1.2): as received for the
    /// callee, reversed for the caller. Without Record-Route it is empty.
    fn keep_route_set(&mut self, slot: Slot, message: &Message<'_>) {
        self.buffers.scratch.clear();
        write_route_set(message, &mut self.buffers.scratch);
        let call = &mut self.calls[slot];
        call.routes_strictly = strict_router(&self.buffers.scratch).is_some();
        self.blobs.replace(&mut call.routes, &self.buffers.scratch);
    }

    fn routing(&self, slot: Slot) -> Routing<'_> {
        let call = &self.calls[slot];
        let (routes, target) = (self.blobs.bytes(&call.routes), self.remote_target(slot));
        match call.routes_strictly {
            true => Routing::new(routes, target),
            false => Routing { uri: target, routes, last: b"" },
        }
    }

    /// The address for requests of the dialog, or `otherwise` if that is not known.
    pub(in crate::engine) fn request_uri_or<'r>(
        &'r self,
        slot: Slot,
        otherwise: &'r [u8],
    ) -> &'r [u8] {
        match self.routing(slot).uri {
            [] => otherwise,
            uri => uri,
        }
    }

    /// Most bytes of the Request-URI and the routes of a request.
    pub(in crate::engine) fn dialog_bytes(&self, slot: Slot) -> usize {
        let call = &self.calls[slot];
        self.blobs.bytes(&call.routes).len() + 2 * self.blobs.bytes(&call.peer).len()
    }

    /// Writes the Route header of a request of the dialog, without the end of its line; `false` if
    /// there are no routes.
    pub(in crate::engine) fn put_routes(&self, slot: Slot, out: &mut Out<'_>) -> bool {
        self.routing(slot).put(out)
    }

    /// Writes `[routes]`: only a scenario that asked for them gets them, as in SIPp.
    pub(in crate::engine) fn put_recorded_routes(&self, slot: Slot, out: &mut Out<'_>) {
        if self.calls[slot].records_routes {
            self.put_routes(slot, out);
        }
    }

    /// Writes `[next_url]`. SIPp leaves it empty if no Contact is known, but a request needs a URI.
    /// It is then the address of the call's last request, or the peer's own address.
    pub(in crate::engine) fn put_next_url(&self, at: &At<'_, '_>, out: &mut Out<'_>) {
        let call = &self.calls[at.slot];
        let uri = match call.records_routes {
            true => self.routing(at.slot).uri,
            false => self.remote_target(at.slot),
        };
        if !uri.is_empty() {
            return out.put(uri);
        }
        for sent in [&call.invite_sent, &call.last_sent, &call.ack_sent] {
            if put_peer_of(self.blobs.bytes(sent), out) {
                return;
            }
        }
        let from = at.last.filter(|last| last.method().is_some());
        if let Some(Ok(from)) =
            from.and_then(|last| last.first(HeaderId::From)).map(NameAddr::parse)
        {
            out.put(from.uri);
        }
    }

    /// Returns `true` if a response is the 2xx of another branch of the INVITE (RFC 3261 section
    /// 13.2.2.4), after one that made the call's dialog. `awaited`: a step waits for such a
    /// response.
    pub(in crate::engine) fn is_of_other_branch(
        &self,
        slot: Slot,
        message: &Message<'_>,
        cseq: &CSeq<'_>,
        awaited: impl FnOnce() -> bool,
    ) -> bool {
        let call = &self.calls[slot];
        matches!(message.status(), Some(200..300))
            && cseq.method.id() == MethodId::Invite
            && cseq.number == call.invite_cseq
            && matches!(
                call.invite_state,
                InviteState::Answered | InviteState::Confirmed | InviteState::Over
            )
            && message.to_tag().is_some_and(|tag| self.peer_tag(slot) != Some(tag))
            && !awaited()
    }

    /// Acknowledges each 2xx of another branch and hangs up there (RFC 3261 section 13.2.2.4). The
    /// call itself does not change.
    pub(in crate::engine) fn end_other_dialog(
        &mut self,
        slot: Slot,
        message: &Message<'_>,
        cseq: &CSeq<'_>,
        tx: &mut TxArena,
    ) {
        self.count_response(MethodId::Invite, message.status().unwrap_or_default());
        if self.is_cut_off(slot) {
            return;
        }
        self.send_to_other(slot, message, ("ACK", cseq.number, OTHER_ACK), tx);
        self.calls[slot].has_other_dialogs = true;
        if self.config.rules.default_behaviors.bye {
            // RFC 3261 section 12.1.2: a dialog counts its requests from the one that made it.
            let number = cseq.number.wrapping_add(1) & 0x7fff_ffff;
            self.send_to_other(slot, message, ("BYE", number, OTHER_BYE), tx);
        }
    }

    /// Sends a request in the dialog that `response` made; all of it comes from the response.
    fn send_to_other(
        &mut self,
        slot: Slot,
        response: &Message<'_>,
        (method, number, branch): (&str, u32, u64),
        tx: &mut TxArena,
    ) {
        // The response holds every value but the Via, which is shorter. The URI of To, which may
        // replace the target, appears twice.
        let Some(tx_slot) = tx.reserve(2 * response.bytes().len() + 512) else {
            self.counters.sends_deferred += 1;
            return;
        };
        let mut routes = std::mem::take(&mut self.buffers.scratch);
        routes.clear();
        write_route_set(response, &mut routes);
        let mut out = Out::new(tx.buffer(&tx_slot));
        self.put_to_other(slot, response, (method, number, branch), &routes, &mut out);
        let len = out.len();
        self.buffers.scratch = routes;
        let Some(len) = len else { return tx.release(tx_slot) };
        self.dispatch(slot, crate::trace::NO_STEP, false, (tx_slot, len), tx);
        self.counters.requests_sent += 1;
        let method = Method::from_bytes(method.as_bytes()).id();
        self.report.messages.sent.request(method as usize);
    }

    fn put_to_other(
        &self,
        slot: Slot,
        response: &Message<'_>,
        (method, number, branch): (&str, u32, u64),
        routes: &[u8],
        out: &mut Out<'_>,
    ) {
        let value = |id| response.first(id).unwrap_or_default();
        let to = value(HeaderId::To);
        let target = target_of(response)
            .or_else(|| NameAddr::parse(to).ok().map(|to| to.uri))
            .unwrap_or_default();
        let routing = Routing::new(routes, target);
        out.put(method.as_bytes());
        out.put(b" ");
        out.put(routing.uri);
        out.put(b" SIP/2.0\r\n");
        self.put_own_via(slot, branch, out);
        // One INVITE may have many branches.
        out.put(b"-");
        out.put(&crate::engine::call::ids::hex16(self.branch_hash(to)));
        out.put(b"\r\nFrom: ");
        out.put(value(HeaderId::From));
        out.put(b"\r\nTo: ");
        out.put(to);
        out.put(b"\r\nMax-Forwards: 70\r\n");
        if routing.put(out) {
            out.put(b"\r\n");
        }
        crate::engine::dialog::abort::put_tail(response, number, method, out);
    }

    /// Handles a message of a dialog that [`end_other_dialog`](Self::end_other_dialog) has ended;
    /// `false` if the message belongs to none.
    pub(in crate::engine) fn is_of_ended_dialog(
        &mut self,
        slot: Slot,
        message: &Message<'_>,
        tx: &mut TxArena,
    ) -> bool {
        let Ok(cseq) = message.cseq() else { return false };
        let kept = self.peer_tag(slot);
        match message.kind() {
            Kind::Response { code, .. } => {
                let is_ours = cseq.method.id() == MethodId::Bye
                    && is_branch_of_other_bye(top_branch(message.first(HeaderId::Via)));
                if is_ours {
                    self.count_response(MethodId::Bye, code);
                }
                is_ours
            }
            Kind::Request { .. }
                if message.from_tag().is_none_or(|tag| Some(tag) == kept)
                    || message.to_tag().is_none() =>
            {
                false
            }
            Kind::Request { method, .. } => {
                self.counters.requests_received += 1;
                self.report.messages.received.request(method.id() as usize);
                let (code, reason) = match method {
                    Method::Ack => return true,
                    Method::Bye => (200, "OK"),
                    // RFC 3261 section 12.2.2: the dialog no longer exists.
                    _ => (481, "Call/Transaction Does Not Exist"),
                };
                let (socket, remote) = (self.calls[slot].socket, self.calls[slot].remote);
                self.reply_stateless(message.bytes(), code, reason, socket, remote, tx);
                true
            }
        }
    }
}

/// Returns `true` for the branch of a BYE to another dialog, as [`Engine::put_to_other`] writes it.
fn is_branch_of_other_bye(branch: &[u8]) -> bool {
    let number = branch.len().checked_sub(16 + 1 + 4).and_then(|at| branch.get(at..at + 5));
    let expected = crate::engine::call::ids::hex16(OTHER_BYE);
    number.is_some_and(|number| number[..4] == expected[12..] && number[4] == b'-')
}

/// Writes the peer's address from a message that we sent: the URI of a request, or the URI of From
/// in a response. `false` if there is none.
fn put_peer_of(sent: &[u8], out: &mut Out<'_>) -> bool {
    let first = sent.split(|&byte| byte == b'\r').next().unwrap_or_default();
    if !first.starts_with(b"SIP/2.0 ") {
        let uri = first.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
        out.put(uri);
        return !uri.is_empty();
    }
    let mut index = HeaderIndex::new();
    let Ok(response) = index.parse(sent) else { return false };
    let Some(Ok(from)) = response.first(HeaderId::From).map(NameAddr::parse) else { return false };
    out.put(from.uri);
    !from.uri.is_empty()
}

/// Returns the remote target in a message's first Contact.
fn target_of<'m>(message: &Message<'m>) -> Option<&'m [u8]> {
    let value = message.first(HeaderId::Contact)?;
    // Nearly all values look like this, and need no full parse.
    let uri = match value {
        [b'<', rest @ ..] => &rest[..memchr::memchr(b'>', rest)?],
        _ => message.contact_uri()?,
    };
    (!uri.is_empty() && uri != b"*").then_some(uri)
}

/// Appends the route set of a message, comma-separated, in order of use.
fn write_route_set(message: &Message<'_>, out: &mut Vec<u8>) {
    let begin = out.len();
    let is_response = message.status().is_some();
    for route in message.record_routes().filter_map(Result::ok) {
        if out.len() > begin {
            out.extend_from_slice(if is_response { b" ," } else { b", " });
        }
        let at = out.len();
        out.extend_from_slice(route.raw);
        if is_response {
            out[at..].reverse();
        }
    }
    // Each value is reversed by now; this reverses the whole, so that only their order changes.
    if is_response {
        out[begin..].reverse();
    }
}

/// The route of a request of a dialog (RFC 3261 section 12.2.1.1).
struct Routing<'a> {
    /// The Request-URI: the remote target, or the first router if it is a strict one (without
    /// `lr`).
    uri: &'a [u8],
    /// The routes, comma-separated.
    routes: &'a [u8],
    /// The last route behind a strict router: the remote target.
    last: &'a [u8],
}

impl<'a> Routing<'a> {
    fn new(routes: &'a [u8], target: &'a [u8]) -> Self {
        match strict_router(routes) {
            Some((uri, routes)) => Self { uri, routes, last: target },
            None => Self { uri: target, routes, last: b"" },
        }
    }

    fn put(&self, out: &mut Out<'_>) -> bool {
        let Self { routes, last, .. } = *self;
        if routes.is_empty() && last.is_empty() {
            return false;
        }
        out.put(b"Route: ");
        out.put(routes);
        if !last.is_empty() {
            out.put(if routes.is_empty() { b"<" } else { b", <" });
            out.put(last);
            out.put(b">");
        }
        true
    }
}

/// Returns the URI of a route set's first router if it is a strict one, and the routes behind it.
fn strict_router(routes: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = CommaList::new(routes).next()?.ok()?;
    let rest = routes.get(first.len()..).unwrap_or_default();
    let uri = NameAddr::parse(first).ok()?.uri;
    (!is_loose(uri)).then_some((uri, rest.strip_prefix(b", ").unwrap_or_default()))
}

/// Returns `true` if the URI of a router has the parameter `lr` (RFC 3261 section 19.1.1).
fn is_loose(uri: &[u8]) -> bool {
    let parameters = uri.split(|&byte| byte == b'?').next().unwrap_or_default();
    parameters.split(|&byte| byte == b';').skip(1).any(|parameter| {
        let name = parameter.split(|&byte| byte == b'=').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"lr")
    })
}

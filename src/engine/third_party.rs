//! Third-party call control (3PCC): commands to and from other instances that take part in a call.
//!
//! Commands are texts with a `Call-ID` line. They travel apart from SIP, on a connection that the
//! engine does not know. It puts its own commands into a bounded queue, from which the worker takes
//! them. The worker passes in the commands that arrive, and says which other instances are
//! reachable.

use gossipper_uring::TxArena;

use super::call::lookup::CallIdHash;
use super::call::{NO_INDEX, Phase, Slot};
use super::steps::render::{At, Out};
use super::{Cx, Engine, Handled, SocketPool, StopRequest};
use crate::media::Opening;
use crate::scenario::{Optional, RecvCommand, SendCommand, StepKind};
use crate::stats::{DropCause, FailureCause, WithheldCause};
use crate::trace::Event;

/// Longest command; SIPp accepts no longer message either.
pub const COMMAND_MAX: usize = 1 << 16;
/// Most bytes of queued commands.
const QUEUE_BYTES: usize = 1 << 20;
/// Most queued commands.
const QUEUE_COMMANDS: usize = 4096;
/// Time for which an optional `<recvCmd>` waits if nothing else ends the wait.
const OPTIONAL_WAIT_MS: u64 = 250;
/// The text that tells another instance that the call has failed, in SIPp's spelling.
const ABORT: &[u8] = b"internal-cmd: abort_call";

/// The way in which other instances are addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peering {
    /// There is one other instance, which gets all commands.
    Pair,
    /// By the names in the program, which commands carry in `From`.
    Named,
}

/// The engine's state of the exchange with other instances.
pub(super) struct Commands {
    peering: Peering,
    /// Reachability of each other instance; empty without third-party call control.
    reachable: Vec<bool>,
    /// Queued commands, one behind the other.
    queue: Vec<u8>,
    /// The receiver of each queued command, and its length.
    queued: Vec<(u16, usize)>,
    /// Texts at the front that were carried away, and their bytes.
    carried: (usize, usize),
    /// Buffer in which a command is rendered.
    room: Vec<u8>,
    /// The command whose step runs its actions; empty otherwise.
    current: Vec<u8>,
}

impl Commands {
    pub(super) fn none() -> Self {
        Self {
            peering: Peering::Pair,
            reachable: Vec::new(),
            queue: Vec::new(),
            queued: Vec::new(),
            carried: (0, 0),
            room: Vec::new(),
            current: Vec::new(),
        }
    }

    /// Takes out the command that actions search, if one has just come; the caller puts it back.
    pub(super) fn take_current(&mut self) -> Option<Vec<u8>> {
        (!self.current.is_empty()).then(|| std::mem::take(&mut self.current))
    }

    pub(super) fn put_current(&mut self, command: Option<Vec<u8>>) {
        if let Some(command) = command {
            self.current = command;
        }
    }

    /// The command that is to be carried away next, and to whom.
    pub(super) fn front(&self) -> Option<(u16, &[u8])> {
        let (count, bytes) = self.carried;
        let &(peer, len) = self.queued.get(count)?;
        Some((peer, &self.queue[bytes..bytes + len]))
    }

    /// Forgets the command at the front: it was carried away.
    pub(super) fn forget_front(&mut self) {
        let (count, bytes) = &mut self.carried;
        if let Some((_, len)) = self.queued.get(*count) {
            *count += 1;
            *bytes += len;
        }
        if *count == self.queued.len() {
            self.make_room();
        }
    }

    fn make_room(&mut self) {
        let (count, bytes) = std::mem::take(&mut self.carried);
        self.queued.drain(..count);
        self.queue.drain(..bytes);
    }

    /// Queues a command; `false` if the instance is not reachable, or too many commands wait
    /// already.
    fn say(&mut self, peer: u16, text: &[u8]) -> bool {
        if self.carried.0 > 0 {
            self.make_room();
        }
        let is_reachable = self.reachable.get(usize::from(peer)).is_some_and(|&up| up);
        let has_room = self.queue.len() + text.len() <= QUEUE_BYTES
            && self.queued.len() < QUEUE_COMMANDS
            && text.len() <= COMMAND_MAX;
        if is_reachable && has_room {
            self.queue.extend_from_slice(text);
            self.queued.push((peer, text.len()));
        }
        is_reachable && has_room
    }
}

/// The outcome of matching a command against the steps of its call.
enum Met {
    /// This step waits for it.
    At(u16),
    /// A step waits for a command of another sender.
    Stranger,
    Nothing,
}

impl Engine {
    /// Enables third-party call control with the instances that the main program names, or with the
    /// one other instance of a pair. None is reachable yet.
    pub fn set_peering(&mut self, peering: Peering) {
        let peers = match peering {
            Peering::Pair => 1,
            Peering::Named => self.main_program().program.peers.len(),
        };
        self.peers = Commands {
            peering,
            reachable: vec![false; peers],
            queue: Vec::with_capacity(QUEUE_BYTES),
            queued: Vec::with_capacity(QUEUE_COMMANDS),
            carried: (0, 0),
            room: vec![0; COMMAND_MAX],
            current: Vec::with_capacity(COMMAND_MAX),
        };
    }

    /// Notes that another instance is reachable.
    pub(super) fn peer_reachable(&mut self, peer: u16) {
        if let Some(up) = self.peers.reachable.get_mut(usize::from(peer)) {
            *up = true;
        }
    }

    /// Notes that another instance is gone, or that none could be reached at start. Calls that wait
    /// for its command fail, and the run starts no new ones. `peer` is `None` if it never sent its
    /// name.
    pub(super) fn peer_gone(&mut self, peer: Option<u16>, now: u64, tx: &mut TxArena) {
        match (self.peers.peering, peer) {
            (Peering::Named, Some(peer)) => {
                if let Some(up) = self.peers.reachable.get_mut(usize::from(peer)) {
                    *up = false;
                }
            }
            (Peering::Named, None) => {}
            (Peering::Pair, _) => self.peers.reachable.fill(false),
        }
        self.outbox.stop_run(StopRequest::PeerGone);
        for slot in 0..self.calls.used() {
            if self.calls[slot].phase != Phase::Running {
                continue;
            }
            let step = usize::from(self.calls[slot].step);
            let waits = match self.program_of(slot).program.steps.get(step).map(|step| &step.kind) {
                Some(StepKind::RecvCommand(recv)) if !recv.optional => {
                    self.peers.peering == Peering::Pair || recv.src == peer
                }
                _ => false,
            };
            if waits {
                let mut cx = Cx { now, at: now, tx: &mut *tx, last: None, last_is_saved: false };
                self.abort(slot, FailureCause::PeerGone, &mut cx);
            }
        }
    }

    /// Handles a command of another instance, without the byte that ends it.
    pub(super) fn on_command(&mut self, text: &[u8], now: u64, tx: &mut TxArena) -> Handled {
        let call_id = line_value(text, b"Call-ID", 0).map(|id| self.call_key(id));
        let Some(call_id) = call_id.filter(|id| !id.is_empty()) else {
            self.drop_malformed(DropCause::CommandWithoutCallId);
            return Handled::Done;
        };
        let hash = self.hasher.hash(call_id);
        let found = match self.nonce.parse(call_id) {
            Some(call) => match self.calls.current(call.slot, call.generation) {
                Some(_) => Some(call.slot),
                None => {
                    self.counters.dead_call_messages += 1;
                    return Handled::Done;
                }
            },
            None => self.map.find(hash, |slot| self.calls[slot].hash == hash),
        };
        let slot = match found {
            Some(slot) => slot,
            None if self.dead.find(hash, now).is_some() => {
                self.counters.dead_call_messages += 1;
                return Handled::Done;
            }
            None => match self.start_by_command(hash, call_id, text, now, tx) {
                Ok(Some(slot)) => slot,
                Ok(None) => return Handled::Done,
                Err(needs) => return needs,
            },
        };
        if self.calls[slot].phase == Phase::Running {
            self.deliver_command(slot, text, now, tx);
        } else {
            self.counters.dead_call_messages += 1;
        }
        Handled::Done
    }

    /// Starts a call for the first command with an unknown Call-ID.
    ///
    /// # Errors
    /// The sockets that the call needs first.
    fn start_by_command(
        &mut self,
        hash: CallIdHash,
        call_id: &[u8],
        text: &[u8],
        now: u64,
        tx: &mut TxArena,
    ) -> Result<Option<Slot>, Handled> {
        let program = std::rc::Rc::clone(self.main_program());
        let first = program.program.steps.iter().find_map(|step| match &step.kind {
            StepKind::RecvCommand(recv) => Some(recv),
            _ => None,
        });
        let begins = program.program.begins_with_command() && !is_abort(text);
        let Some(first) = first.filter(|_| begins) else {
            self.counters.out_of_call_messages += 1;
            return Ok(None);
        };
        if !self.is_from(text, first) {
            self.drop_malformed(DropCause::CommandFromStranger);
            return Ok(None);
        }
        if !self.accepting || self.created >= self.created_max {
            self.counters.out_of_call_messages += 1;
            self.refuse(call_id);
            return Ok(None);
        }
        let Some((socket, local_port, owns_socket)) = self.take_socket() else {
            if matches!(self.sockets, SocketPool::PerCall { exhausted: false, .. }) {
                return Err(Handled::NeedsSocket);
            }
            self.counters.withheld.bump(WithheldCause::SocketLimit);
            self.refuse(call_id);
            return Ok(None);
        };
        let leg = match self.open_leg(self.main, now) {
            Err(Opening::NotReady) => {
                self.give_back_socket((socket, local_port, owns_socket));
                return Err(Handled::NeedsMedia);
            }
            leg => leg,
        };
        let (has_leg, leg) = (leg.is_ok(), leg.unwrap_or_default());
        let remote = self.config.environment.next_hop;
        let remote = remote.unwrap_or(([0, 0, 0, 0], 0).into());
        let slot = self.accept_call(self.main, hash, call_id, (socket, remote), leg, now);
        let Some(slot) = slot else {
            self.give_back_socket((socket, local_port, owns_socket));
            self.refuse(call_id);
            return Ok(None);
        };
        let call = &mut self.calls[slot];
        // Without a configured destination, the peer is the one that sends SIP.
        call.incoming = self.config.environment.next_hop.is_none();
        call.owns_socket = owns_socket;
        call.local_port = local_port;
        call.remote = remote;
        if !self.take_source(slot) {
            self.end(slot, Some(FailureCause::InjectionFailed), now);
            return Ok(None);
        }
        if !has_leg {
            self.end(slot, Some(FailureCause::NoMediaPort), now);
            return Ok(None);
        }
        // Runs the steps before the first `<recvCmd>`, which may only be `<nop>` or `<pause>`.
        let mut cx = Cx { now, at: now, tx, last: None, last_is_saved: false };
        self.run(slot, &mut cx);
        Ok(Some(slot))
    }

    /// Passes a command to its call.
    fn deliver_command(&mut self, slot: Slot, text: &[u8], now: u64, tx: &mut TxArena) {
        self.counters.commands_received += 1;
        self.trace(slot, self.calls[slot].step, Event::CommandReceived(text));
        self.calls[slot].commanded = true;
        let mut cx = Cx { now, at: now, tx, last: None, last_is_saved: false };
        if is_abort(text) {
            return self.abort(slot, FailureCause::CallRejected, &mut cx);
        }
        let index = match self.meet(slot, text) {
            Met::At(index) => index,
            Met::Stranger => return self.drop_malformed(DropCause::CommandFromStranger),
            Met::Nothing => {
                let step = self.calls[slot].step;
                if usize::from(step) < self.program_of(slot).program.steps.len() {
                    self.step_counts(slot, step).unexpected += 1;
                }
                return self.abort(slot, FailureCause::CallRejected, &mut cx);
            }
        };
        self.step_counts(slot, index).messages += 1;
        self.wheel.cancel(Self::step_timer(slot));
        let call = &mut self.calls[slot];
        call.due_ns = now;
        let bound = std::rc::Rc::clone(self.program_of(slot));
        self.peers.current.clear();
        self.peers.current.extend_from_slice(text);
        let goes_on = self.complete(slot, index, &bound.program.steps[usize::from(index)], &mut cx);
        self.peers.current.clear();
        if goes_on {
            self.resume(slot, now, cx.tx);
        }
    }

    /// The step that the command matches: the current one, or one behind optional receives.
    fn meet(&self, slot: Slot, text: &[u8]) -> Met {
        let bound = self.program_of(slot);
        let mut met = Met::Nothing;
        let at = usize::from(self.calls[slot].step);
        for (index, step) in bound.program.steps.iter().enumerate().skip(at) {
            if self.is_skipped(slot, step) {
                continue;
            }
            match &step.kind {
                StepKind::Recv(recv) if recv.optional != Optional::Mandatory => {}
                StepKind::RecvCommand(recv) if self.is_from(text, recv) => {
                    return Met::At(index as u16);
                }
                StepKind::RecvCommand(recv) => {
                    met = Met::Stranger;
                    if !recv.optional {
                        break;
                    }
                }
                _ => break,
            }
        }
        met
    }

    /// Returns `true` if the command comes from the instance that the step names.
    fn is_from(&self, text: &[u8], recv: &RecvCommand) -> bool {
        let (Peering::Named, Some(src)) = (self.peers.peering, recv.src) else { return true };
        let name = self.main_program().program.peers[usize::from(src)].as_bytes();
        sender(text) == Some(name)
    }

    /// Executes a `<sendCmd>`; `false` if the command could not be sent.
    pub(super) fn send_command(
        &mut self,
        slot: Slot,
        index: u16,
        command: &SendCommand,
        cx: &Cx<'_, '_>,
    ) -> bool {
        let bound = std::rc::Rc::clone(self.program_of(slot));
        let mut room = std::mem::take(&mut self.peers.room);
        let mut out = Out::new(&mut room);
        let template = &bound.messages[usize::from(index)];
        let at = At { slot, step: index, now: cx.now, last: cx.last };
        self.render(template, &at, &mut out);
        let peer = match self.peers.peering {
            Peering::Pair => 0,
            Peering::Named => command.dest.unwrap_or(0),
        };
        let sent = out.len().filter(|&len| self.peers.say(peer, &room[..len]));
        if let Some(len) = sent {
            self.trace(slot, index, Event::CommandSent(&room[..len]));
        }
        self.peers.room = room;
        let sent = sent.is_some();
        if sent {
            self.calls[slot].commanded = true;
            self.counters.commands_sent += 1;
            self.step_counts(slot, index).messages += 1;
        }
        sent
    }

    /// Time after which a `<recvCmd>` stops waiting, in milliseconds; 0 for never.
    pub(super) fn command_wait_ms(&self, slot: Slot, index: u16, recv: &RecvCommand) -> u64 {
        let steps = &self.program_of(slot).program.steps;
        let next = steps.get(usize::from(index) + 1).map(|step| &step.kind);
        let is_followed = matches!(next, Some(StepKind::Recv(_) | StepKind::RecvCommand(_)));
        match recv.timeout_ms {
            Some(timeout_ms) => u64::from(timeout_ms),
            None if recv.optional && is_followed => 0,
            None if recv.optional => OPTIONAL_WAIT_MS,
            None => self.config.rules.recv_timeout_ms,
        }
    }

    /// Tells the other instances of a call that it failed, unless they are the reason.
    pub(super) fn tell_of_failure(&mut self, slot: Slot, cause: FailureCause, now: u64) {
        let is_theirs = matches!(cause, FailureCause::CallRejected | FailureCause::PeerGone);
        if !self.calls[slot].commanded || is_theirs {
            return;
        }
        let bound = std::rc::Rc::clone(self.program_of(slot));
        let mut room = std::mem::take(&mut self.peers.room);
        let mut out = Out::new(&mut room);
        match &bound.defaults.abort_3pcc {
            Some(own) => {
                let at = At { slot, step: NO_INDEX, now, last: None };
                self.render(own, &at, &mut out);
            }
            None => {
                out.put(b"call-id: ");
                self.put_call_id(slot, &mut out);
                put_abort(&mut out);
            }
        }
        if let Some(len) = out.len() {
            self.tell_all(&room[..len]);
        }
        self.peers.room = room;
    }

    /// Tells the other instances that a call is refused, so that none of them waits for it.
    fn refuse(&mut self, call_id: &[u8]) {
        let mut room = std::mem::take(&mut self.peers.room);
        let mut out = Out::new(&mut room);
        out.put(b"call-id: ");
        out.put(call_id);
        put_abort(&mut out);
        if let Some(len) = out.len() {
            self.tell_all(&room[..len]);
        }
        self.peers.room = room;
    }

    fn tell_all(&mut self, text: &[u8]) {
        for peer in 0..self.peers.reachable.len() {
            // An instance that cannot be told notices by itself that the call does not go on.
            self.peers.say(peer as u16, text);
        }
    }
}

fn put_abort(out: &mut Out<'_>) {
    out.put(b"\r\n");
    out.put(ABORT);
    out.put(b"\r\n\r\n");
}

fn is_abort(text: &[u8]) -> bool {
    line_value(text, b"Internal-Cmd", 0) == Some(b"abort_call")
}

/// Returns `true` if `text` names a call, as every command does.
pub fn is_command(text: &[u8]) -> bool {
    line_value(text, b"Call-ID", 0).is_some_and(|id| !id.is_empty())
}

/// The name of the instance in the command's `From` line.
pub fn sender(text: &[u8]) -> Option<&[u8]> {
    line_value(text, b"From", 0)
}

/// The value of the `nth` line that begins with `name` and a colon, white space around it removed.
pub(super) fn line_value<'t>(text: &'t [u8], name: &[u8], nth: usize) -> Option<&'t [u8]> {
    text.split(|&byte| byte == b'\n')
        .take_while(|line| !line.trim_ascii().is_empty())
        .filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            let is_named = line[..colon].trim_ascii().eq_ignore_ascii_case(name);
            is_named.then(|| line[colon + 1..].trim_ascii())
        })
        .nth(nth)
}

/// The text behind the first empty line.
pub(super) fn body(text: &[u8]) -> &[u8] {
    let end = text.windows(4).position(|window| window == b"\r\n\r\n");
    end.map_or(&[], |end| &text[end + 4..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_head() {
        let text = b"Call-ID: a@b \r\nFrom: m\r\nX: 1\r\nx : 2\r\n\r\nFrom: body\r\n";
        assert_eq!(line_value(text, b"call-id", 0), Some(&b"a@b"[..]));
        assert_eq!(line_value(text, b"From", 0), Some(&b"m"[..]));
        assert_eq!(line_value(text, b"X", 1), Some(&b"2"[..]));
        assert_eq!(line_value(text, b"From", 1), None);
        assert_eq!(body(text), b"From: body\r\n");
        assert_eq!(line_value(b"", b"X", 0), None);
        assert_eq!(body(b"Call-ID: a"), b"");
    }

    #[test]
    fn what_cannot_be_carried_is_refused() {
        let mut commands = Commands { reachable: vec![true, false], ..Commands::none() };
        assert!(commands.say(0, b"one"));
        assert!(!commands.say(1, b"to nobody"));
        assert!(!commands.say(2, b"to nobody"));
        assert!(!commands.say(0, &[b'x'; COMMAND_MAX + 1]));
        while commands.say(0, &[b'x'; COMMAND_MAX]) {}
        assert!(commands.queue.len() <= QUEUE_BYTES);
    }
}

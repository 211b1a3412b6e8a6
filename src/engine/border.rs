//! The engine's two doors. Inputs go in by [`Engine::handle`], and requests to the outside come out
//! by [`Engine::next_effect`].
//!
//! Messages to send are no effects: they stand in the arena. Effects are rare, so that a datagram
//! costs nothing for them. Waiting effects are bounded. Notes and shell commands that are dropped
//! are counted.

use gossipper_uring::{IcmpCause, SendFailure, SocketId, TxArena};

use super::call::ids::CallRef;
use super::control::{Answer, WorkerRequest};
use super::dialog::receive::Incoming;
use super::transport::connections::ConnectionEvent;
use super::{Engine, StopRequest};
use crate::media::Event;
use crate::stats::DropCause;

/// An event for an engine.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram, or one message of a byte stream.
    Datagram(Incoming<'a>),
    /// A staged datagram could not be sent.
    SendFailed {
        /// The cookie that the message was committed with.
        cookie: u64,
        /// The error of the system.
        cause: SendFailure,
    },
    /// The network reported by ICMP that a datagram did not arrive.
    Unreachable {
        /// The cause that the report gave.
        cause: IcmpCause,
        /// The beginning of the datagram, as far as the report quotes it.
        quoted: &'a [u8],
    },
    /// An event of a connection.
    Connection(ConnectionEvent),
    /// All staged messages have left. Requests are stamped with the time.
    Flushed,
    /// The time to end open calls, if a request demands it.
    EndCalls {
        /// Slots of the arena that stay free.
        reserve: usize,
    },
    /// The turn of calls that wait for a connection.
    Reopen {
        /// Slots of the arena that stay free.
        reserve: usize,
    },
    /// The turn of calls that found the arena full.
    Resume,
    /// The turn of timers that are due.
    Timers {
        /// Slots of the arena that stay free.
        reserve: usize,
    },
    /// The turn of calls that are due to start.
    Arrivals {
        /// The longest time by which a call may start early, in nanoseconds.
        lead_ns: u64,
        /// Slots of the arena that stay free.
        reserve: usize,
    },
    /// The requested socket ([`Handled::NeedsSocket`]) and its port. `None` if no more can be had,
    /// so that calls share the existing ones.
    Socket(Option<(SocketId, u16)>),
    /// A request of the control side.
    Request(WorkerRequest),
    /// A command of another instance, without the byte that ends it.
    PeerCommand(&'a [u8]),
    /// Bytes of another instance that are no command.
    PeerGarbage,
    /// Another instance is reachable.
    PeerReachable(u16),
    /// Another instance is gone, or none was reachable; `None` if it never gave its name.
    PeerGone(Option<u16>),
    /// The first waiting command for another instance ([`Effect::PeerCommand`]) has been taken
    /// over.
    PeerCommandTaken,
    /// A shell command ([`Effect::Shell`]) could not be handed on.
    ShellFull,
    /// News of a call's media.
    Media {
        /// The call, as the engine named it when it opened the leg.
        call: u64,
        /// The news.
        event: Event,
    },
    /// The run is over: open calls end without a message.
    RunOver,
}

/// The outcome of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// The engine has handled the input.
    Done,
    /// The datagram belongs to this other worker; `None` if no worker is known to own it.
    HandOver(Option<usize>),
    /// The send arena is nearly full: flush it and hand the input in again.
    NeedsRoom,
    /// A call needs a socket: hand in an [`Input::Socket`], then the input again.
    NeedsSocket,
    /// A call needs sockets of the worker's media: carry out the medium's effects, then hand the
    /// input in again.
    NeedsMedia,
}

/// A request of an engine to the outside.
#[derive(Debug)]
pub enum Effect<'a> {
    /// Close a connection, once the messages staged for it have left.
    Close(SocketId),
    /// Stop the run.
    Stop(StopRequest),
    /// Tell the user this note.
    Note(String),
    /// Answer the control side.
    Answer(Answer),
    /// Run a shell command; [`Input::ShellFull`] follows if that is impossible.
    Shell(Box<[u8]>),
    /// Send a command to another instance. The effect comes again until
    /// [`Input::PeerCommandTaken`], behind all other effects. A caller that cannot take the command
    /// stops asking for effects.
    PeerCommand {
        /// Index of the instance.
        peer: u16,
        /// The command.
        text: &'a [u8],
    },
}

impl Engine {
    /// Handles one input at the time `now`, with `tx` to render messages in.
    #[inline]
    pub fn handle(&mut self, input: Input<'_>, now: u64, tx: &mut TxArena) -> Handled {
        match input {
            Input::Datagram(datagram) => self.on_datagram(&datagram, now, tx),
            input => self.handle_other(input, now, tx),
        }
    }

    fn handle_other(&mut self, input: Input<'_>, now: u64, tx: &mut TxArena) -> Handled {
        self.tracer.set_now(now);
        match input {
            Input::Datagram(datagram) => return self.on_datagram(&datagram, now, tx),
            Input::EndCalls { reserve } => return self.end_calls(now, tx, reserve),
            Input::Reopen { reserve } => return self.reopen_next(tx, reserve),
            Input::Timers { reserve } => return self.fire_timers(now, tx, reserve),
            Input::Arrivals { lead_ns, reserve } => {
                return self.start_calls(now, lead_ns, tx, reserve);
            }
            Input::PeerCommand(text) => return self.on_command(text, now, tx),
            Input::SendFailed { cookie, cause } => {
                self.on_send_failed(CallRef::from_bits(cookie), cause, now);
            }
            Input::Unreachable { cause, quoted } => self.on_unreachable(cause, quoted, now),
            Input::Connection(event) => self.on_connection(event, now),
            Input::Flushed => self.flushed(now),
            Input::Resume => self.resume_deferred(now, tx),
            Input::Socket(socket) => self.take_given_socket(socket, now, tx),
            Input::Request(request) => self.on_request(request, now),
            Input::PeerGarbage => self.drop_malformed(DropCause::CommandUnfinished),
            Input::PeerReachable(peer) => self.peer_reachable(peer),
            Input::PeerGone(peer) => self.peer_gone(peer, now, tx),
            Input::PeerCommandTaken => self.peers.forget_front(),
            Input::Media { call, event } => {
                self.on_media(CallRef::from_bits(call), event, now, tx);
            }
            Input::ShellFull => self.counters.commands_dropped += 1,
            Input::RunOver => {
                self.end_all_lingering(now);
                self.end_out_of_call(now);
            }
        }
        Handled::Done
    }

    /// The next effect; `None` if there are no more. The caller takes effects after inputs were
    /// handled, and carries them out before the next turn.
    pub fn next_effect(&mut self) -> Option<Effect<'_>> {
        if let Some(socket) = self.connections.take_closable() {
            return Some(Effect::Close(socket));
        }
        if let Some(stop) = self.outbox.disconnected.take().or_else(|| self.outbox.stop.take()) {
            return Some(Effect::Stop(stop));
        }
        if let Some(note) = self.outbox.notes.pop_front() {
            return Some(Effect::Note(note));
        }
        if let Some(answer) = self.outbox.answers.pop_front() {
            return Some(Effect::Answer(answer));
        }
        if let Some(command) = self.outbox.commands.pop_front() {
            return Some(Effect::Shell(command));
        }
        self.peers.front().map(|(peer, text)| Effect::PeerCommand { peer, text })
    }
}

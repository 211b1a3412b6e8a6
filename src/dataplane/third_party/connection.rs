//! One connection to another instance, with buffers for received bytes and commands to send.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::COMMAND_MAX;
use crate::scenario::END_OF_COMMAND;

/// Most waiting bytes for a peer that does not read; beyond that, the worker has to wait.
const OUTPUT_MAX: usize = 1 << 20;
/// Bytes read at once.
const READ_BYTES: usize = 1 << 14;

/// The result of reading a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// No more at present.
    Nothing,
    /// A command.
    Command,
    /// The start of a text that is too long for a command, or that never ended.
    Unfinished,
    /// The end of the connection.
    Over,
}

/// One connection to another instance.
pub(super) struct Connection {
    stream: TcpStream,
    id: u64,
    /// The instance that we connected to.
    peer: Option<u16>,
    /// The instance that sends over it, as far as it is known.
    pub(super) sender: Option<u16>,
    /// True once it brought a command.
    pub(super) speaks: bool,
    input: Vec<u8>,
    /// Bytes of `input` that were already searched for the end of a command.
    searched: usize,
    /// True while a text that is too long is skipped, up to the next end of a command.
    skips: bool,
    /// True once it brought any byte.
    heard: bool,
    is_closed: bool,
    output: Vec<u8>,
}

impl Connection {
    /// Creates a connection. `peer` is the instance that we connected to; `None` for an accepted
    /// one.
    pub(super) fn new(stream: TcpStream, peer: Option<u16>) -> std::io::Result<Self> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        stream.set_nonblocking(true)?;
        // Commands are small, and the other side waits for them.
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            id: IDS.fetch_add(1, Ordering::Relaxed),
            peer,
            sender: peer,
            speaks: false,
            input: Vec::new(),
            searched: 0,
            skips: false,
            heard: false,
            is_closed: false,
            output: Vec::new(),
        })
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn peer(&self) -> Option<u16> {
        self.peer
    }

    /// Returns `true` if we opened it.
    pub(super) fn is_pair(&self) -> bool {
        self.peer.is_some()
    }

    /// Returns `true` if it brought bytes, but no command.
    pub(super) fn is_noise(&self) -> bool {
        self.peer.is_none() && self.heard && !self.speaks
    }

    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.output.len() < OUTPUT_MAX
    }

    /// Sends a command, as far as the peer reads; the rest waits in the buffer.
    pub(super) fn send(&mut self, text: &[u8]) {
        self.output.extend_from_slice(text);
        self.output.push(END_OF_COMMAND);
    }

    /// Writes the waiting bytes.
    pub(super) fn write(&mut self) {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(written) => {
                    self.output.drain(..written);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // A later read reports that the connection is gone.
                Err(_) => return self.output.clear(),
            }
        }
    }

    /// Returns the next result of reading the connection; a command's text is written to `text`.
    pub(super) fn next(&mut self, text: &mut Vec<u8>) -> Told {
        loop {
            if let Some(told) = self.take(text) {
                return told;
            }
            if self.is_closed {
                let is_cut = !self.input.trim_ascii().is_empty();
                self.input.clear();
                self.searched = 0;
                return if is_cut { Told::Unfinished } else { Told::Over };
            }
            let mut room = [0; READ_BYTES];
            match self.stream.read(&mut room) {
                Ok(0) => self.is_closed = true,
                Ok(read) => {
                    self.heard = true;
                    self.input.extend_from_slice(&room[..read]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Told::Nothing,
                Err(_) => self.is_closed = true,
            }
        }
    }

    /// Takes the next result out of `input`; `None` if it holds no whole command.
    fn take(&mut self, text: &mut Vec<u8>) -> Option<Told> {
        loop {
            let end = memchr::memchr(END_OF_COMMAND, &self.input[self.searched..]);
            let Some(end) = end.map(|end| self.searched + end) else {
                self.searched = self.input.len();
                if self.skips {
                    self.input.clear();
                    self.searched = 0;
                } else if self.input.len() > COMMAND_MAX {
                    self.input.clear();
                    self.searched = 0;
                    self.skips = true;
                    return Some(Told::Unfinished);
                }
                return None;
            };
            let skipped = std::mem::take(&mut self.skips);
            let is_long = end > COMMAND_MAX;
            text.clear();
            text.extend_from_slice(&self.input[..end.min(COMMAND_MAX)]);
            self.input.drain(..=end);
            self.searched = 0;
            match (skipped, is_long) {
                (true, _) => {}
                (false, true) => return Some(Told::Unfinished),
                (false, false) => return Some(Told::Command),
            }
        }
    }
}

//! The two byte queues between a worker and the thread that carries its commands.
//!
//! Frames stand in rings of a fixed size, so that a command costs no allocation and no lock: kind
//! (1 byte), instance (2), length (4), text.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::engine::COMMAND_MAX;

/// Bytes of each ring: at least a dozen of the longest commands.
const RING_BYTES: usize = 1 << 20;
const HEAD_LEN: usize = 7;
/// Bytes for one notice about each of the instances that a scenario can name, with a margin.
const NEWS_BYTES: usize = 1 << 12;
/// The index that stands for no known instance.
const NOBODY: u16 = u16::MAX;

/// A message of the thread to the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell<'t> {
    /// A received command.
    Command(&'t [u8]),
    /// A received text that did not end like a command, in time or at all.
    Unfinished,
    /// The instance is reachable.
    Reachable(u16),
    /// The instance is gone, or cannot be reached; `None` if it never sent its name.
    Gone(Option<u16>),
}

/// Creates both ends. The worker's end writes to `wake` when there is work for the thread.
pub fn pair(wake: Option<Arc<OwnedFd>>) -> (WorkerEnd, ThreadEnd) {
    let (out, out_far) = RingBuffer::new(RING_BYTES);
    let (into, into_far) = RingBuffer::new(RING_BYTES);
    let worker = WorkerEnd {
        out,
        into: into_far,
        wake: Wake(wake),
        text: Vec::new(),
        held: None,
        has_news: false,
    };
    (worker, ThreadEnd { out: into, into: out_far })
}

/// The worker's end.
pub struct WorkerEnd {
    out: Producer<u8>,
    into: Consumer<u8>,
    /// Declared behind the ring: when the thread is woken for the last time, the ring must be gone.
    wake: Wake,
    text: Vec<u8>,
    /// The head of a frame that was read and will be returned again.
    held: Option<(u8, u16)>,
    has_news: bool,
}

impl WorkerEnd {
    /// Passes a command for an instance to the thread; `false` if the ring is full.
    pub fn push(&mut self, peer: u16, text: &[u8]) -> bool {
        let pushed = push(&mut self.out, 0, peer, text);
        self.has_news |= pushed;
        pushed
    }

    /// Wakes the thread if there is work for it.
    pub fn wake(&mut self) {
        if std::mem::take(&mut self.has_news) {
            self.wake.wake();
        }
    }

    /// The next message of the thread.
    pub fn read(&mut self) -> Option<Tell<'_>> {
        let (kind, peer) = match self.held.take() {
            Some(held) => held,
            None => pop(&mut self.into, &mut self.text)?,
        };
        Some(match kind {
            COMMAND => Tell::Command(&self.text),
            REACHABLE => Tell::Reachable(peer),
            GONE => Tell::Gone((peer != NOBODY).then_some(peer)),
            _ => Tell::Unfinished,
        })
    }

    /// Puts back the command that was read last.
    pub fn hold_command(&mut self) {
        self.held = Some((COMMAND, 0));
    }

    /// Returns `true` if there is a message to read.
    pub fn has_more(&self) -> bool {
        self.held.is_some() || !self.into.is_empty()
    }
}

/// A handle that wakes the thread, also when it is dropped.
struct Wake(Option<Arc<OwnedFd>>);

impl Wake {
    fn wake(&self) {
        if let Some(fd) = &self.0 {
            // This fails only if the counter is full, and then the thread is awake already.
            let _ = rustix::io::write(fd, &1u64.to_ne_bytes());
        }
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.wake();
    }
}

/// The thread's end; tests use it too.
pub struct ThreadEnd {
    out: Producer<u8>,
    into: Consumer<u8>,
}

const COMMAND: u8 = 0;
const UNFINISHED: u8 = 1;
const REACHABLE: u8 = 2;
const GONE: u8 = 3;

impl ThreadEnd {
    /// Sends a message to the worker; `false` if the ring is full.
    pub fn tell(&mut self, what: Tell<'_>) -> bool {
        match what {
            Tell::Command(text) => push(&mut self.out, COMMAND, 0, text),
            Tell::Unfinished => push(&mut self.out, UNFINISHED, 0, &[]),
            Tell::Reachable(peer) => push(&mut self.out, REACHABLE, peer, &[]),
            Tell::Gone(peer) => push(&mut self.out, GONE, peer.unwrap_or(NOBODY), &[]),
        }
    }

    /// Returns `true` if there is room for a command of the greatest length and a notice about
    /// every instance.
    pub fn has_room(&self) -> bool {
        self.out.slots() >= COMMAND_MAX + NEWS_BYTES
    }

    /// Reads the worker's next command into `text`, and returns the instance that it is for.
    pub fn read(&mut self, text: &mut Vec<u8>) -> Option<u16> {
        pop(&mut self.into, text).map(|(_, peer)| peer)
    }

    /// Returns `true` if the worker is gone and the ring is empty.
    pub fn is_over(&self) -> bool {
        self.into.is_abandoned() && self.into.is_empty()
    }
}

fn push(ring: &mut Producer<u8>, kind: u8, peer: u16, text: &[u8]) -> bool {
    if ring.slots() < HEAD_LEN + text.len() {
        return false;
    }
    let mut head = [kind; HEAD_LEN];
    head[1..3].copy_from_slice(&peer.to_ne_bytes());
    head[3..].copy_from_slice(&(text.len() as u32).to_ne_bytes());
    // There is room for both, so neither push fails.
    ring.push_entire_slice(&head).is_ok() && ring.push_entire_slice(text).is_ok()
}

fn pop(ring: &mut Consumer<u8>, text: &mut Vec<u8>) -> Option<(u8, u16)> {
    let head = ring.read_chunk(HEAD_LEN).ok()?;
    let mut bytes = [0; HEAD_LEN];
    let (first, second) = head.as_slices();
    bytes[..first.len()].copy_from_slice(first);
    bytes[first.len()..].copy_from_slice(second);
    let peer = u16::from_ne_bytes([bytes[1], bytes[2]]);
    let len = u32::from_ne_bytes([bytes[3], bytes[4], bytes[5], bytes[6]]) as usize;
    // The text follows its head, perhaps a moment later.
    let whole = ring.slots() >= HEAD_LEN + len;
    if !whole {
        return None;
    }
    ring.read_chunk(HEAD_LEN).ok()?.commit_all();
    text.clear();
    let chunk = ring.read_chunk(len).ok()?;
    let (first, second) = chunk.as_slices();
    text.extend_from_slice(first);
    text.extend_from_slice(second);
    chunk.commit_all();
    Some((bytes[0], peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in() {
        let (mut worker, mut thread) = pair(None);
        // Many times the size of the ring, in lengths that meet its end everywhere.
        let mut text = Vec::new();
        for round in 0..5_000u32 {
            let sent: Vec<u8> = (0..round % 1_999).map(|at| (at + round) as u8).collect();
            assert!(worker.push(round as u16, &sent));
            assert_eq!(thread.read(&mut text), Some(round as u16));
            assert_eq!(text, sent);
            assert!(thread.tell(Tell::Command(&sent)));
            assert_eq!(worker.read(), Some(Tell::Command(&sent)));
        }
        assert_eq!((worker.read(), thread.read(&mut text)), (None, None));
    }

    #[test]
    fn a_full_ring_refuses_and_loses_nothing() {
        let (mut worker, mut thread) = pair(None);
        let long = [7; 60_000];
        let mut count = 0;
        while worker.push(1, &long) {
            count += 1;
        }
        let mut text = Vec::new();
        for _ in 0..count {
            assert_eq!(thread.read(&mut text), Some(1));
            assert_eq!(text, long);
        }
        assert_eq!(thread.read(&mut text), None);
        assert!(!thread.is_over());
        drop(worker);
        assert!(thread.is_over());
    }

    #[test]
    fn news_keep_their_order_and_what_is_held_comes_again() {
        let (mut worker, mut thread) = pair(None);
        let news = [
            Tell::Reachable(3),
            Tell::Command(b"Call-ID: a"),
            Tell::Unfinished,
            Tell::Gone(Some(3)),
            Tell::Gone(None),
        ];
        for tell in news {
            assert!(thread.tell(tell));
        }
        assert_eq!(worker.read(), Some(news[0]));
        assert_eq!(worker.read(), Some(news[1]));
        worker.hold_command();
        assert!(worker.has_more());
        for tell in &news[1..] {
            assert_eq!(worker.read(), Some(*tell));
        }
        assert!(!worker.has_more());
    }
}

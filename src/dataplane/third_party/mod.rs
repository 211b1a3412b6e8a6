//! The connections between the instances that control calls together (3PCC).
//!
//! Commands travel over TCP, each ended by ESC. A thread of its own serves the sockets. A worker
//! touches only the rings of [`link`], so that no other instance can hold it up.
//!
//! Two instances share one connection in both directions. Of more than two, each listens at an
//! address of its own, and sends over connections that it opens itself, as in SIPp.

pub mod link;

mod connection;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use gossipper_uring::Waker;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use thiserror::Error;

use crate::engine::{Peering, is_command, sender};
use connection::{Connection, Told};
use link::{Tell, ThreadEnd, WorkerEnd};

/// Longest time to establish a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time in which the last commands may leave after the worker has ended.
const FLUSH_TIME: Duration = Duration::from_secs(1);
/// Time between two checks of whether a full ring has room again.
const FULL_RING_POLL_MS: i64 = 5;
/// Most connections at once; further ones wait in the kernel.
const CONNECTIONS_MAX: usize = 256;
/// Most notes on their way to the control side; further ones are dropped.
const NOTES: usize = 16;

/// The time at which connections to other instances are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connects {
    /// Before the first call; the run does not start without them.
    AtStart,
    /// On the first command.
    WhenAddressed,
}

/// Another instance.
#[derive(Clone, Debug)]
pub struct PeerPlan {
    /// The instance's name; empty for the other one of a pair, which has none.
    pub name: String,
    /// The address at which it listens; `None` if nothing is ever sent to it.
    pub address: Option<SocketAddr>,
}

/// The instances that control calls together, and their connections.
#[derive(Clone, Debug)]
pub struct ThirdPartyPlan {
    /// The way in which instances are addressed.
    pub peering: Peering,
    /// The address to listen at, if any.
    pub listen: Option<SocketAddr>,
    /// The other instances, by their index in the program.
    pub peers: Vec<PeerPlan>,
    /// The time at which connections are opened.
    pub connects: Connects,
}

/// The reason why the other instances cannot be reached.
#[derive(Debug, Error)]
pub enum ThirdPartyError {
    /// The listening address cannot be bound.
    #[error(
        "cannot listen for other instances at {address}: {source}\n  hint: another process may \
         hold the port (see `ss -tlpn`); -3pcc, or this instance's line in -slave_cfg, names \
         another"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// Another instance does not answer.
    #[error(
        "cannot connect to {who} at {address}: {source}\n  hint: start the instances that wait for \
         a command (controller B, slaves) first"
    )]
    Connect {
        /// Name of the instance.
        who: String,
        /// Address of the instance.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// There is no thread or descriptor left.
    #[error("cannot start the thread for other instances: {0}")]
    Thread(#[from] io::Error),
}

/// The thread, as the control side sees it.
pub struct ThirdParty {
    thread: Option<JoinHandle<()>>,
    notes: Receiver<String>,
}

impl ThirdParty {
    /// Notes for the user that were not returned before.
    pub fn notes(&self) -> impl Iterator<Item = String> + '_ {
        self.notes.try_iter()
    }

    /// Waits until the last commands have left; the worker must have ended.
    pub fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // The panic was already printed, and the run is over.
            let _ = thread.join();
        }
    }
}

/// Listens and connects as `plan` says, and starts the thread. `worker` is woken when there are
/// messages for it.
///
/// # Errors
/// The reason why the thread cannot be started.
pub fn start(
    plan: &ThirdPartyPlan,
    worker: Waker,
) -> Result<(ThirdParty, WorkerEnd), ThirdPartyError> {
    let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)
        .map_err(|error| ThirdPartyError::Thread(error.into()))?;
    let wake = Arc::new(wake);
    let (end, thread_end) = link::pair(Some(Arc::clone(&wake)));
    let (notes, told) = sync_channel(NOTES);
    let mut board = Board {
        peering: plan.peering,
        peers: plan.peers.clone(),
        connects: plan.connects,
        listener: plan.listen.map(listen).transpose()?,
        connections: Vec::new(),
        answers: None,
        end: thread_end,
        wake,
        worker,
        notes,
        text: Vec::new(),
    };
    if plan.connects == Connects::AtStart {
        for peer in 0..board.peers.len() {
            board.connect(peer as u16)?;
        }
    }
    let thread =
        thread::Builder::new().name("third-party".to_owned()).spawn(move || board.serve())?;
    Ok((ThirdParty { thread: Some(thread), notes: told }, end))
}

fn listen(address: SocketAddr) -> Result<TcpListener, ThirdPartyError> {
    let bound = TcpListener::bind(address).or_else(|error| match error.kind() {
        // The others may know this host by an address that the host itself does not have.
        io::ErrorKind::AddrNotAvailable => {
            let any: std::net::IpAddr = match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
            };
            TcpListener::bind((any, address.port()))
        }
        _ => Err(error),
    });
    let listening = bound.and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listening.map_err(|source| ThirdPartyError::Listen { address, source })
}

/// The state of the thread.
struct Board {
    peering: Peering,
    peers: Vec<PeerPlan>,
    connects: Connects,
    listener: Option<TcpListener>,
    connections: Vec<Connection>,
    /// The connection of the other instance's last command, in a pair.
    answers: Option<u64>,
    end: ThreadEnd,
    wake: Arc<OwnedFd>,
    worker: Waker,
    notes: SyncSender<String>,
    text: Vec<u8>,
}

impl Board {
    fn connect(&mut self, peer: u16) -> Result<(), ThirdPartyError> {
        let plan = &self.peers[usize::from(peer)];
        let Some(address) = plan.address else { return Ok(()) };
        let connected = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)
            .and_then(|stream| Connection::new(stream, Some(peer)));
        match connected {
            Ok(connection) => {
                self.connections.push(connection);
                // The ring is empty, or has room reserved for notices.
                self.end.tell(Tell::Reachable(peer));
                Ok(())
            }
            Err(source) => {
                let who = match plan.name.as_str() {
                    "" => "the twin".to_owned(),
                    name => format!("instance {name}"),
                };
                Err(ThirdPartyError::Connect { who, address, source })
            }
        }
    }

    fn serve(mut self) {
        let mut flush_until: Option<Instant> = None;
        loop {
            self.carry();
            self.connections.iter_mut().for_each(Connection::write);
            if self.end.is_over() {
                let until = *flush_until.get_or_insert_with(|| Instant::now() + FLUSH_TIME);
                let left = self.connections.iter().any(|connection| connection.has_output());
                if !left || Instant::now() >= until {
                    return;
                }
            }
            if self.wait(flush_until.is_some()).is_err() {
                self.note("waiting for other instances failed: no more commands can arrive");
                return;
            }
            // Only the number of wakes is lost.
            let _ = rustix::io::read(&self.wake, &mut [0; 8]);
            self.accept();
            self.read();
        }
    }

    /// Waits for traffic or for a command to send.
    fn wait(&self, is_flushing: bool) -> rustix::io::Result<()> {
        let has_room = self.end.has_room();
        let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
        if let Some(listener) = &self.listener
            && self.connections.len() < CONNECTIONS_MAX
        {
            fds.push(PollFd::new(listener, PollFlags::IN));
        }
        for connection in &self.connections {
            let mut events = PollFlags::empty();
            if has_room {
                events |= PollFlags::IN;
            }
            if connection.has_output() {
                events |= PollFlags::OUT;
            }
            if !events.is_empty() {
                fds.push(PollFd::new(connection.stream(), events));
            }
        }
        let poll_ms = if is_flushing || !has_room { Some(FULL_RING_POLL_MS) } else { None };
        let timeout = poll_ms.map(|ms| Timespec { tv_sec: 0, tv_nsec: ms * 1_000_000 });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn accept(&mut self) {
        while let Some(listener) = &self.listener
            && self.connections.len() < CONNECTIONS_MAX
        {
            // No connection waits, or it closed before it was accepted.
            let Ok((stream, _)) = listener.accept() else { return };
            if let Ok(connection) = Connection::new(stream, None) {
                self.connections.push(connection);
            }
        }
    }

    /// Reads from all connections as long as the worker's ring has room.
    fn read(&mut self) {
        let mut connections = std::mem::take(&mut self.connections);
        let mut has_reports = false;
        connections.retain_mut(|connection| self.read_from(connection, &mut has_reports));
        // Adds the connections that a command made us open.
        connections.append(&mut self.connections);
        self.connections = connections;
        if has_reports {
            self.worker.wake();
        }
    }

    /// Reads from one connection; `false` if it is over.
    fn read_from(&mut self, connection: &mut Connection, has_reports: &mut bool) -> bool {
        while self.end.has_room() {
            let mut text = std::mem::take(&mut self.text);
            let told = connection.next(&mut text);
            if told == Told::Command {
                self.command(connection, &text);
            }
            self.text = text;
            match told {
                Told::Nothing => return true,
                Told::Command => {}
                Told::Unfinished => {
                    self.end.tell(Tell::Unfinished);
                }
                Told::Over => self.over(connection),
            }
            *has_reports = true;
            if told == Told::Over {
                return false;
            }
        }
        true
    }

    fn command(&mut self, connection: &mut Connection, text: &[u8]) {
        if is_command(text) {
            match self.peering {
                Peering::Pair => {
                    if !connection.is_pair() && self.answers != Some(connection.id()) {
                        self.end.tell(Tell::Reachable(0));
                    }
                    self.answers = Some(connection.id());
                }
                Peering::Named => {
                    let name = sender(text).unwrap_or_default();
                    let known = self.peers.iter().position(|peer| peer.name.as_bytes() == name);
                    connection.sender = known.map(|index| index as u16).or(connection.sender);
                }
            }
            connection.speaks = true;
            if self.connects == Connects::WhenAddressed {
                self.connects = Connects::AtStart;
                self.connect_all();
            }
        }
        self.end.tell(Tell::Command(text));
    }

    fn connect_all(&mut self) {
        for peer in 0..self.peers.len() as u16 {
            if let Err(error) = self.connect(peer) {
                self.note(&error.to_string());
                self.end.tell(Tell::Gone(Some(peer)));
            }
        }
    }

    /// Handles the end of a connection. One that only brought noise belongs to no instance.
    fn over(&mut self, connection: &Connection) {
        if connection.is_noise() {
            return self.note("a connection that brought no command was closed by its peer");
        }
        let who = connection.sender.and_then(|index| self.peers.get(usize::from(index)));
        match who.filter(|peer| !peer.name.is_empty()) {
            Some(peer) => {
                let text = format!("instance {} has ended: no new calls are taken", peer.name);
                self.note(&text);
            }
            None => self.note("the other instance has ended: no new calls are taken"),
        }
        self.end.tell(Tell::Gone(connection.sender));
    }

    /// Passes the worker's commands to their connections.
    fn carry(&mut self) {
        let has_room = |connection: &Connection| connection.has_room();
        while self.connections.iter().all(has_room) {
            let mut text = std::mem::take(&mut self.text);
            let peer = self.end.read(&mut text);
            let connection = match (peer, self.peering, self.answers) {
                (None, ..) => None,
                (Some(_), Peering::Pair, Some(id)) => {
                    self.connections.iter_mut().find(|connection| connection.id() == id)
                }
                (Some(peer), ..) => {
                    self.connections.iter_mut().find(|connection| connection.peer() == Some(peer))
                }
            };
            if let Some(connection) = connection {
                connection.send(&text);
            }
            self.text = text;
            if peer.is_none() {
                return;
            }
        }
    }

    fn note(&self, text: &str) {
        // A full queue holds enough to read.
        let _ = self.notes.try_send(text.to_owned());
    }
}

#[cfg(test)]
mod tests;

//! Sending staged trains, and the backlogs of sockets whose send buffer is full.

use std::os::fd::AsRawFd;

use super::SyscallDriver;
use crate::fault::{self, Site};
use crate::settle::{self, Settled};
use crate::tx::NONE;

impl SyscallDriver {
    /// Hands all staged trains to the kernel or to a backlog. Trains of one socket that follow each
    /// other go in one call.
    pub(super) fn send_staged(&mut self) {
        self.arena.seal();
        let mut batch_of = None;
        while let Some(id) = self.arena.first_staged() {
            let (index, _) = self.arena.socket_of(id);
            let generation = self.arena.generation_of(id);
            self.arena.hand_over();
            let Some(socket) = self.socket(index, generation) else {
                self.settle(id, -1, -libc::EBADF);
                continue;
            };
            if socket.backlog.is_some() {
                self.push_backlog(index, generation, id);
                continue;
            }
            if batch_of != Some((index, generation)) || self.outbox.is_full() {
                self.send_batch(batch_of);
                batch_of = Some((index, generation));
                // That send may have filled the buffer of this very socket.
                if self.socket(index, generation).is_some_and(|socket| socket.backlog.is_some()) {
                    self.push_backlog(index, generation, id);
                    continue;
                }
            }
            if let Some(errno) = fault::take(Site::Send) {
                if errno == libc::EAGAIN {
                    // The gathered trains go first: the backlog keeps the order.
                    self.send_batch(batch_of.take());
                    self.push_backlog(index, generation, id);
                } else {
                    let fd = self.socket(index, generation).map_or(-1, |s| s.fd.as_raw_fd());
                    self.settle(id, fd, -errno);
                }
                continue;
            }
            let message = self.arena.message(id);
            // SAFETY: message and slots of a train stay put until it is finished, which is after
            // the batch has been sent.
            unsafe { self.outbox.push(id, message) };
        }
        self.send_batch(batch_of);
    }

    /// Sends the open batch to the socket it was gathered for.
    fn send_batch(&mut self, of: Option<(u32, u32)>) {
        let Some((index, generation)) = of else { return };
        let trains = self.outbox.trains();
        let len = self.outbox.len();
        let mut at = 0;
        while at < len {
            let Some(socket) = self.socket(index, generation) else { break };
            let fd = socket.fd.as_raw_fd();
            if socket.backlog.is_some() {
                self.push_backlog(index, generation, trains[at]);
                at += 1;
                continue;
            }
            self.counters.enters += 1;
            match self.outbox.send(fd, at) {
                Ok(0) => break,
                Ok(sent) => {
                    for (done, &train) in trains.iter().enumerate().skip(at).take(sent) {
                        let bytes = self.outbox.sent_bytes(done);
                        self.settle(train, fd, bytes);
                    }
                    at += sent;
                }
                Err(libc::EINTR) => {}
                Err(libc::EAGAIN) => {
                    self.push_backlog(index, generation, trains[at]);
                    at += 1;
                }
                Err(errno) => {
                    self.settle(trains[at], fd, -errno);
                    at += 1;
                }
            }
        }
        for &train in &trains[at..len] {
            self.settle(train, -1, -libc::EBADF);
        }
        self.outbox.clear();
    }

    fn settle(&mut self, train: u32, fd: i32, result: i32) {
        let settled = settle::settle(&mut self.arena, &mut self.counters, fd, train, result);
        if let Settled::Failed(errno) = settled {
            self.failed.push((train, errno));
        }
    }

    fn push_backlog(&mut self, index: u32, generation: u32, train: u32) {
        let Some(socket) = self.socket_mut(index, generation) else { return };
        let fd = socket.fd.as_raw_fd();
        match socket.backlog {
            Some((head, tail)) => {
                socket.backlog = Some((head, train));
                self.arena.link(tail, train);
            }
            None => {
                socket.backlog = Some((train, train));
                self.want_room(index, generation, fd, true);
            }
        }
    }

    /// Sends the trains of a socket's backlog, as far as there is room.
    pub(super) fn flush_backlog(&mut self, index: u32, generation: u32) {
        while let Some(socket) = self.socket(index, generation) {
            let Some((head, tail)) = socket.backlog else { return };
            let fd = socket.fd.as_raw_fd();
            self.counters.enters += 1;
            // SAFETY: the header and the memory behind it belong to a train that waits here.
            let result = match unsafe { crate::kernel::sendmsg(fd, self.arena.message(head)) } {
                Ok(sent) => i32::try_from(sent).unwrap_or(i32::MAX),
                Err(libc::EAGAIN) => return,
                Err(errno) => -errno,
            };
            let next = self.arena.linked(head);
            self.settle(head, fd, result);
            let rest = (head != tail && next != NONE).then_some((next, tail));
            if let Some(socket) = self.socket_mut(index, generation) {
                socket.backlog = rest;
            }
            if rest.is_none() {
                self.want_room(index, generation, fd, false);
            }
        }
    }

    /// Frees the trains of a closed socket.
    pub(super) fn drop_backlog(&mut self, backlog: Option<(u32, u32)>) {
        let Some((mut train, tail)) = backlog else { return };
        loop {
            let next = self.arena.linked(train);
            let (count, _) = self.arena.shape(train);
            settle::count_failed(&mut self.counters, libc::EBADF, count);
            self.arena.finish(train);
            if train == tail || next == NONE {
                return;
            }
            train = next;
        }
    }

    /// Asks epoll to report room in the send buffer, or no longer.
    fn want_room(&mut self, index: u32, generation: u32, fd: i32, wanted: bool) {
        let events = if wanted { libc::EPOLLIN | libc::EPOLLOUT } else { libc::EPOLLIN };
        let data = u64::from(generation) << 32 | u64::from(index);
        // Refused only for want of memory; the next EAGAIN asks again.
        let _ = self.watch(libc::EPOLL_CTL_MOD, fd, events, data);
    }
}

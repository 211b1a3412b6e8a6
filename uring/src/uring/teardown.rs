//! Taking all operations back from the kernel, or leaking the memory of those that do not end in
//! time.

use io_uring::opcode;

use super::UringDriver;
use super::sockets::{CANCEL, Tag, WAKE};
use crate::Nanos;
use crate::sys::monotonic_now;

/// Longest time that dropping a driver takes which was not shut down.
const DROP_NS: Nanos = 100_000_000;

/// Pause between two looks when the kernel is busy.
const STEP_NS: Nanos = 1_000_000;

impl UringDriver {
    pub(super) fn tear_down(&mut self, deadline: Nanos) {
        if self.shut_down {
            return;
        }
        self.shut_down = true;
        for index in 0..self.core.places.len() as u32 {
            self.core.close(index);
        }
        self.close_streams();
        // Streams may send the bytes they hold, but not for so long that there is no time to cancel
        // them.
        let now = monotonic_now();
        let give_up = now + deadline.saturating_sub(now) / 4 * 3;
        let mut given_up = false;
        let mut wake_cancelled = false;
        loop {
            // Errors end the attempt, not the process: the memory of operations in flight is
            // leaked.
            if self.send_staged().is_err()
                || self.drive_streams(deadline).is_err()
                || self.cancel().is_err()
            {
                break;
            }
            if self.core.wake_armed && !wake_cancelled {
                let wake = Tag { kind: WAKE, generation: 0, index: 0 };
                let entry = opcode::AsyncCancel::new(wake.pack()).build();
                let tag = Tag { kind: CANCEL, generation: 0, index: u32::MAX };
                // SAFETY: the entry points to nothing.
                let Ok(pushed) = (unsafe { self.push(&entry.user_data(tag.pack())) }) else {
                    break;
                };
                wake_cancelled = pushed;
            }
            if self.poll().is_err() || self.in_flight() == 0 {
                break;
            }
            let now = monotonic_now();
            if now >= give_up && !std::mem::replace(&mut given_up, true) {
                self.give_streams_up();
                continue;
            }
            if now >= deadline || self.sleep(now, deadline.min(now + STEP_NS)).is_err() {
                break;
            }
        }
        // Events that will never be delivered still hold trains; their slots need no care any more.
        self.core.finish_closing(&self.ring);
    }

    /// Operations that the kernel has not completed.
    fn in_flight(&self) -> usize {
        self.core.armed
            + self.core.arena.in_kernel()
            + self.core.arena.staged()
            + self.core.streams.unfinished()
            + usize::from(self.core.wake_armed)
    }

    fn leak(&mut self) {
        // The arena leaks its own memory.
        if self.core.wake_armed {
            std::mem::forget(std::mem::take(&mut self.wake_word));
        }
        self.core.streams.leak();
        if self.core.armed > 0 {
            for buffers in [&mut self.core.large, &mut self.core.small].into_iter().flatten() {
                buffers.leak();
            }
            for place in &mut self.core.places {
                if let Some(socket) = place.socket.as_mut().filter(|socket| socket.armed) {
                    std::mem::forget(socket.header.take());
                }
            }
        }
    }
}

impl Drop for UringDriver {
    fn drop(&mut self) {
        self.tear_down(monotonic_now().saturating_add(DROP_NS));
        self.leak();
    }
}

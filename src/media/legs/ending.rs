//! The end of a run, at which calls may still be open.

use super::{Media, NONE, matter_timer, packet_timer};

impl Media {
    /// Lets the streams of all open legs send a last report, and nothing behind it. The legs stay
    /// open: no verdict is due about a call that was cut off.
    pub(super) fn end_run(&mut self, now: u64) {
        let mut row = 0;
        while let Some(leg) = self.legs.get(row) {
            row += 1;
            let streams = if leg.is_open { leg.streams } else { continue };
            for stream in streams.into_iter().filter(|&stream| stream != NONE) {
                self.say_goodbye(stream, now);
                self.schedule.cancel(packet_timer(stream));
                self.schedule.cancel(matter_timer(stream));
                self.outbox.forget(stream);
            }
        }
    }
}

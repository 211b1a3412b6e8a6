//! The calls with the worst media, for the report of the worker.

use super::Engine;
use super::call::Slot;
use crate::media::LegReport;
use crate::media::report::hundredths;
use crate::stats::{FailureCause, HeardCall, ShortText, WorstCall};

impl Engine {
    /// Lists a call that ends, after `length_ns` and at `now`, if its media is among the worst.
    pub(in crate::engine) fn note_worst(
        &mut self,
        slot: Slot,
        cause: Option<FailureCause>,
        report: &LegReport,
        (length_ns, now): (u64, u64),
    ) {
        let media = figures(report);
        let badness = media.badness().filter(|&badness| self.report.worst.admits(badness));
        let Some(badness) = badness else { return };
        let call_id = ShortText::of(self.call_id(slot, &mut [0; 256]));
        let call = self.calls[slot].number;
        let at_ns = now;
        self.report.worst.add(WorstCall { badness, at_ns, length_ns, call, call_id, cause, media });
    }
}

fn figures(report: &LegReport) -> HeardCall {
    let reception = &report.reception;
    HeardCall {
        heard: report.heard.verdict(),
        packets_sent: report.packets_sent,
        packets_received: reception.packets,
        packets_expected: reception.expected,
        packets_lost: reception.lost,
        packets_discarded: reception.discarded,
        jitter_max_ns: reception.jitter_max_ns,
        mos_hundredths: hundredths(reception.mos),
        mos_min_hundredths: hundredths(reception.mos_min),
        first_audio_ns: report.first_audio_after_answer_ns.or(report.first_audio_ns),
        dead_air_ns: reception.dead_air_ns,
    }
}

//! The verdict about a call: who heard whom.

use super::report::Heard;

/// Audible packets from which on a peer was heard: less than a tenth of a second is no audio.
const HEARD_PACKETS_MIN: u64 = 3;

/// Evidence about one track of a call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Evidence {
    /// True if both descriptions let the peer send.
    pub(super) expects: bool,
    /// Packets received that are not silent, or of which that is not known.
    pub(super) audible: u64,
    /// Packets sent.
    pub(super) sent: u64,
    /// True if some of what was sent can be heard.
    pub(super) sent_audible: bool,
    /// True if the peer sent a report.
    pub(super) has_report: bool,
    /// True if the peer reported to have received something of ours.
    pub(super) is_received: bool,
}

/// The peer's side of the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// The peer reported to have received us, and there was something to hear.
    Heard,
    /// There was nothing to hear, or it reported to have received nothing.
    HeardNothing,
    /// There was something to hear, and it did not report.
    Silent,
}

impl Evidence {
    /// True if there was anything to hear in the call.
    pub(super) fn has_media(&self) -> bool {
        self.expects || self.sent > 0 || self.audible > 0
    }

    /// The verdict. Only what was seen counts: of a peer without RTCP nobody knows what it heard,
    /// also if we have sent, so that such a call is never two-way, and not one-way either.
    ///
    /// | we heard the peer | the peer's last report about us | verdict |
    /// |---|---|---|
    /// | yes | some of it came, and it was not silence | two-way |
    /// | yes | nothing came, or we sent nothing but silence | one-way |
    /// | yes | none, although we sent | unknown |
    /// | no | some of it came, and it was not silence | one-way |
    /// | no | nothing came, or we sent nothing but silence | none |
    /// | no | none | none |
    /// | no, and nothing was to be heard: no track, or on hold | | unknown |
    ///
    /// A peer that sends neither audio nor reports gives no sign of life, so the call is silent. An
    /// unknown verdict is never a success.
    pub(super) fn verdict(&self) -> Heard {
        let peer = match (self.sent_audible && self.sent > 0, self.is_received, self.has_report) {
            (false, ..) => Peer::HeardNothing,
            (true, true, _) => Peer::Heard,
            (true, false, true) => Peer::HeardNothing,
            (true, false, false) => Peer::Silent,
        };
        let heard = self.audible >= HEARD_PACKETS_MIN;
        match (heard, peer) {
            _ if !self.has_media() => Heard::Unknown,
            (true, Peer::Heard) => Heard::TwoWay,
            (true, Peer::HeardNothing) | (false, Peer::Heard) => Heard::OneWay,
            (true, Peer::Silent) => Heard::Unknown,
            (false, Peer::HeardNothing | Peer::Silent) => Heard::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_so() {
        let sent = Evidence { expects: true, sent: 50, sent_audible: true, ..Evidence::default() };
        let heard = Evidence { audible: 50, ..sent };
        let silence = Evidence { sent_audible: false, ..sent };
        let reported = |evidence| Evidence { has_report: true, ..evidence };
        let received = |evidence| Evidence { has_report: true, is_received: true, ..evidence };
        for (evidence, verdict) in [
            (received(heard), Heard::TwoWay),
            (reported(heard), Heard::OneWay),
            (received(Evidence { audible: 50, ..silence }), Heard::OneWay),
            (Evidence { sent: 0, ..heard }, Heard::OneWay),
            (heard, Heard::Unknown),
            (received(sent), Heard::OneWay),
            (reported(sent), Heard::None),
            (received(silence), Heard::None),
            (sent, Heard::None),
            (received(Evidence { audible: 2, ..sent }), Heard::OneWay),
            (Evidence { sent: 0, ..sent }, Heard::None),
            (Evidence::default(), Heard::Unknown),
            (reported(Evidence::default()), Heard::Unknown),
        ] {
            assert_eq!(evidence.verdict(), verdict, "{evidence:?}");
        }
    }
}

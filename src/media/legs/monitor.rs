//! Copies of the reports that streams send and receive, for the monitor of a run.
//!
//! They are copied as they are before SRTCP, since a monitor has no keys. The worker takes them
//! once a turn.

use std::net::SocketAddr;

use super::Media;
use crate::media::command::Track;
use crate::media::report::AudioPath;
use crate::media::stream::Stream;

/// Most bytes of copies between two turns of a worker: some thousands of reports.
const BYTES_MAX: usize = 512 << 10;

/// Most copies between two turns.
const COPIES_MAX: usize = 4096;

/// A report as it was sent or received.
#[derive(Clone, Copy, Debug)]
pub struct SeenReport<'b> {
    /// The call, as [`LegSpec::call`](crate::media::LegSpec::call) names it.
    pub call: u64,
    /// Time on the monotonic clock.
    pub at_ns: u64,
    /// True if we sent it.
    pub is_sent: bool,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The compound.
    pub packet: &'b [u8],
}

#[derive(Clone, Copy, Debug)]
struct Copied {
    call: u64,
    at_ns: u64,
    is_sent: bool,
    local: SocketAddr,
    remote: SocketAddr,
    len: usize,
}

/// Copies of reports. It takes no memory unless they are wanted.
#[derive(Debug, Default)]
pub(super) struct Monitor {
    is_on: bool,
    copies: Vec<Copied>,
    bytes: Vec<u8>,
    /// Copies for which there was no room.
    lost: u64,
    /// True if there was room for the last one.
    has_last: bool,
}

impl Monitor {
    fn set(&mut self, is_on: bool) {
        self.is_on = is_on;
        if is_on {
            self.copies.reserve_exact(COPIES_MAX - self.copies.len());
            self.bytes.reserve_exact(BYTES_MAX - self.bytes.len());
        }
    }

    fn push(&mut self, copied: Copied, packet: &[u8]) {
        let has_bytes = self.bytes.len() + packet.len() <= BYTES_MAX;
        self.has_last = has_bytes && self.copies.len() < COPIES_MAX;
        if !self.has_last {
            self.lost += 1;
            return;
        }
        self.bytes.extend_from_slice(packet);
        self.copies.push(copied);
    }

    fn forget_last(&mut self) {
        if !std::mem::take(&mut self.has_last) {
            self.lost = self.lost.saturating_sub(1);
        } else if let Some(copied) = self.copies.pop() {
            self.bytes.truncate(self.bytes.len() - copied.len);
        }
    }

    fn take(&mut self, mut with: impl FnMut(SeenReport<'_>)) -> u64 {
        let mut rest = self.bytes.as_slice();
        for copied in self.copies.drain(..) {
            let Some((packet, behind)) = rest.split_at_checked(copied.len) else { break };
            rest = behind;
            let Copied { call, at_ns, is_sent, local, remote, .. } = copied;
            with(SeenReport { call, at_ns, is_sent, local, remote, packet });
        }
        self.bytes.clear();
        self.has_last = false;
        std::mem::take(&mut self.lost)
    }
}

impl Media {
    /// Begins or ends to copy reports.
    pub fn monitor_reports(&mut self, is_on: bool) {
        self.monitor.set(is_on);
    }

    /// Takes the copies of reports since the last call. Returns the number of those for which there
    /// was no room.
    pub fn take_reports(&mut self, with: impl FnMut(SeenReport<'_>)) -> u64 {
        self.monitor.take(with)
    }

    /// Copies a report that came from `remote` for a stream.
    pub(super) fn note_received(
        &mut self,
        row: u32,
        remote: SocketAddr,
        packet: &[u8],
        received_ns: u64,
    ) {
        if self.monitor.is_on {
            let is_muxed = self.streams[row].agreement.rtcp_mux;
            self.note_report(row, (remote, is_muxed), (false, received_ns), packet);
        }
    }

    /// Copies a report of a stream that is sent.
    pub(super) fn note_sent(
        &mut self,
        row: u32,
        target: (SocketAddr, bool),
        packet: &[u8],
        now: u64,
    ) {
        if self.monitor.is_on {
            self.note_report(row, target, (true, now), packet);
        }
    }

    /// Forgets the last report that was noted as sent: it does not leave.
    pub(super) fn forget_sent(&mut self) {
        if self.monitor.is_on {
            self.monitor.forget_last();
        }
    }

    fn note_report(
        &mut self,
        row: u32,
        (remote, is_muxed): (SocketAddr, bool),
        (is_sent, at_ns): (bool, u64),
        packet: &[u8],
    ) {
        let stream = &self.streams[row];
        let call = self.legs[stream.leg].call;
        let pair = self.pool.pair(stream.pair);
        let port = if is_muxed { pair.port } else { pair.rtcp_port };
        let local = SocketAddr::new(self.config.ip, port);
        let len = packet.len();
        self.monitor.push(Copied { call, at_ns, is_sent, local, remote, len }, packet);
    }

    /// The way of the audio of a stream.
    pub(super) fn audio_path(&self, stream: &Stream) -> Option<AudioPath> {
        if stream.track != Track::Audio {
            return None;
        }
        let remote = stream.latched().or(stream.theirs.rtp)?;
        let pair = self.pool.pair(stream.pair);
        let agreed = stream.agreement.agreed();
        let (name, payload_type) =
            agreed.map_or(("", 0), |agreed| (agreed.encoding, agreed.payload_type));
        Some(AudioPath {
            local: SocketAddr::new(self.config.ip, pair.port),
            remote,
            ssrc: stream.out.ssrc,
            peer_ssrc: stream.quality.ssrc(),
            encoding: (name, payload_type, stream.out.clock_rate()),
        })
    }
}

//! Protected streams: the keys that descriptions give them, and what comes encrypted.

use std::net::SocketAddr;

use gossipper_uring::TxArena;

use super::{Media, NONE};
use crate::media::command::{LegId, MediaFault, Track};
use crate::media::config::Mode;
use crate::media::crypto::{Lines, Side};
use crate::media::flows::Flow;
use crate::media::negotiate::{Peer, asks_for_srtp, crypto_lines};
use crate::media::protection::Protection;
use crate::media::srtp::{Flow as KeyFlow, write_key_log};
use crate::sip::Sdp;
use crate::stats::StrayCause;

impl Media {
    /// Takes the keys of a peer's description, before the stream follows it.
    pub(super) fn let_protect(
        &mut self,
        row: u32,
        peer: Peer,
        sdp: &Sdp<'_>,
        track: Track,
    ) -> Result<Peer, MediaFault> {
        if self.config.rejects_srtp && asks_for_srtp(sdp, track)? {
            return Err(MediaFault::SrtpRefused);
        }
        self.describe_keys(row, Side::Peers, crypto_lines(sdp, track)?)?;
        Ok(peer)
    }

    /// Takes the keys of a description, before the stream takes the rest of it.
    pub(super) fn describe_keys(
        &mut self,
        row: u32,
        side: Side,
        lines: Lines,
    ) -> Result<(), MediaFault> {
        let lines = self.possible_keys(side, lines)?;
        let stream = &mut self.streams[row];
        if stream.protection.is_none() {
            if !lines.ask_for_protection() {
                return Ok(());
            }
            let fresh = Protection::after_clear(stream.ours.is_used, stream.theirs.side.is_used);
            let mut protection = self.spare.pop().unwrap_or_default();
            *protection = fresh;
            stream.protection = Some(protection);
            self.protected += 1;
        }
        let Some(protection) = &mut stream.protection else { return Ok(()) };
        let told = protection.describe(side, lines);
        if protection.is_over() {
            self.end_protection(row);
        }
        told.map_err(MediaFault::Crypto)
    }

    /// Lets a stream go on, or end, without protection.
    pub(super) fn end_protection(&mut self, row: u32) {
        if let Some(mut protection) = self.streams[row].protection.take() {
            self.protected -= 1;
            // What a handshake holds is given back at once, and no key is kept.
            *protection = Protection::default();
            self.spare.push(protection);
        }
    }

    /// Appends a line for each direction of a track whose keys are new, for a log of keys.
    pub fn log_keys(&mut self, leg: LegId, track: Track, call_id: &str, out: &mut String) {
        let Some(row) = self.stream(leg, track) else { return };
        let stream = &mut self.streams[row];
        let keys = stream.protection.as_mut().and_then(|protection| protection.unlogged_keys());
        let Some((keys, peer)) = keys.zip(stream.peer_address()) else { return };
        let own = SocketAddr::new(self.config.ip, self.pool.pair(stream.pair).port);
        let sent = KeyFlow { call_id, source: own, destination: peer, ssrc: Some(stream.out.ssrc) };
        let came = KeyFlow { source: peer, destination: own, ssrc: stream.theirs.ssrc, ..sent };
        write_key_log(&sent, &keys.ours, out);
        write_key_log(&came, &keys.peers, out);
    }

    /// The stream with a protection that a datagram belongs to, if it is one of those.
    pub(super) fn protected_row(
        &mut self,
        pair: u32,
        source: SocketAddr,
        (payload, is_rtcp): (&[u8], bool),
        now: u64,
    ) -> Option<u32> {
        let row = match self.config.mode {
            Mode::Ports => self.by_pair.get(pair as usize).copied().filter(|&row| row != NONE)?,
            Mode::Shared => {
                // The SSRC is readable: that of RTP, and that of a report's sender.
                let ssrc_of =
                    |at| Some(u32::from_be_bytes(*payload.get(at..)?.first_chunk::<4>()?));
                if is_rtcp {
                    let ssrc = ssrc_of(4)?;
                    let rtp = SocketAddr::new(source.ip(), source.port().wrapping_sub(1));
                    let mut addresses = [source, rtp].into_iter();
                    addresses.find_map(|address| self.flows.expected(address, ssrc))?
                } else {
                    match self.flows.find(source, ssrc_of(8)?, now, &mut self.streams) {
                        Flow::Of(row) => row,
                        Flow::Ended | Flow::Unknown => return None,
                    }
                }
            }
        };
        let stream = &self.streams[row];
        (stream.is_protected() || stream.awaits_keys()).then_some(row)
    }

    /// Takes a datagram of a protected stream: decrypts a copy of it, and goes on with that.
    pub(super) fn on_protected(
        &mut self,
        row: u32,
        (pair, source): (u32, SocketAddr),
        (payload, is_rtcp): (&[u8], bool),
        times: (u64, u64),
        tx: &mut TxArena,
    ) {
        let stream = &mut self.streams[row];
        let peer = stream.theirs.rtp.filter(|_| !stream.awaits_keys());
        let Some(peer) = peer else { return self.stray(StrayCause::Unsignalled) };
        let is_peer = |known: SocketAddr| known.ip() == source.ip();
        if !is_peer(peer) && !stream.theirs.rtcp.is_some_and(is_peer) {
            return self.stray(StrayCause::Foreign);
        }
        let Some(protection) = &mut stream.protection else { return };
        match protection.unprotect(payload, is_rtcp, &mut self.scratch) {
            Err(fault) => self.counters.srtp_faults.bump(fault),
            Ok(()) => {
                let scratch = std::mem::take(&mut self.scratch);
                match is_rtcp {
                    true => self.on_compound((pair, source), &scratch, times),
                    false => self.on_packet((pair, source), &scratch, times, tx),
                }
                self.scratch = scratch;
            }
        }
    }
}

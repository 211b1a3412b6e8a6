//! A recording of a call's audio as WAV: 16 bits, 8000 Hz, of the peer or of both sides.

use std::io;

use super::take::{BYTES_MAX, Output};
use super::wave::{Heard, Piece, RATE, Room, Wave};
use crate::media::rtp::{Packet, Protocol};
use crate::media::tap::Copied;
use crate::stats::RecordingLoss;

/// Bytes of the header.
const HEADER: u64 = 44;
/// Samples that wait for others of their time: a second.
const WINDOW: usize = RATE as usize;
/// Nanoseconds of a sample.
const SAMPLE_NS: u64 = 1_000_000_000 / RATE;

/// A recording of audio.
pub(super) struct AudioTake {
    pub(super) output: Output,
    is_duplex: bool,
    begin_ns: u64,
    /// Audio that we send, and that of the peer.
    waves: [Wave; 2],
    /// Samples that were not written yet, of which the first is number `first` of the recording.
    window: Box<[[i16; 2]]>,
    first: u64,
    filled: usize,
}

impl AudioTake {
    pub(super) fn new(output: Output, is_duplex: bool, begin_ns: u64) -> Self {
        let window = vec![[0; 2]; WINDOW].into();
        Self { output, is_duplex, begin_ns, waves: Default::default(), window, first: 0, filled: 0 }
    }

    /// Takes a datagram of the call. Returns the cause if it is not in the recording.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn take(
        &mut self,
        copied: &Copied<'_>,
        (room, bytes): (&mut Room, &mut Vec<u8>),
    ) -> io::Result<Option<RecordingLoss>> {
        if copied.is_video || copied.is_sent && !self.is_duplex {
            return Ok(None);
        }
        // Reports and messages of SIP are for recordings of packets.
        if Protocol::of(copied.bytes) != Ok(Protocol::Rtp) {
            return Ok(None);
        }
        let Ok(packet) = Packet::parse(copied.bytes) else { return Ok(None) };
        let place = copied.at_ns.saturating_sub(self.begin_ns) / SAMPLE_NS;
        let wave = &mut self.waves[usize::from(!copied.is_sent)];
        match wave.hear(&packet, copied.encoding, place as i64, room) {
            Heard::Nothing => Ok(None),
            Heard::Undecoded => Ok(Some(RecordingLoss::Undecoded)),
            Heard::Piece(piece) => self.put(&piece, usize::from(!copied.is_sent), bytes),
        }
    }

    fn put(
        &mut self,
        piece: &Piece<'_>,
        channel: usize,
        bytes: &mut Vec<u8>,
    ) -> io::Result<Option<RecordingLoss>> {
        let missed = (self.first as i64).saturating_sub(piece.begin).max(0) as usize;
        let Some(samples) = piece.samples.get(missed..).filter(|samples| !samples.is_empty())
        else {
            return Ok(Some(RecordingLoss::Late));
        };
        // It lies behind the first sample of the window, and so is not negative.
        let begin = (piece.begin + missed as i64) as u64;
        let end = begin + samples.len() as u64;
        if HEADER + end * self.frame_bytes() > BYTES_MAX {
            return Ok(Some(RecordingLoss::TooLong));
        }
        if end > self.first + WINDOW as u64 {
            self.advance((end - WINDOW as u64 / 2).min(begin), bytes)?;
        }
        let offset = (begin - self.first) as usize;
        let window = &mut self.window[offset..];
        window.iter_mut().zip(samples).for_each(|(frame, &sample)| frame[channel] = sample);
        self.filled = self.filled.max(offset + samples.len());
        Ok(None)
    }

    fn frame_bytes(&self) -> u64 {
        if self.is_duplex { 4 } else { 2 }
    }

    /// Writes what lies before the sample `first`, from which the window begins then. What lies
    /// between is left out, and reads as silence.
    fn advance(&mut self, first: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
        let count = first.saturating_sub(self.first).min(self.filled as u64) as usize;
        bytes.clear();
        for frame in &self.window[..count] {
            if self.is_duplex {
                bytes.extend_from_slice(&frame[0].to_le_bytes());
            }
            bytes.extend_from_slice(&frame[1].to_le_bytes());
        }
        let offset = HEADER + self.first * self.frame_bytes();
        self.window.copy_within(count..self.filled, 0);
        self.window[self.filled - count..self.filled].fill([0; 2]);
        self.filled -= count;
        self.first = first;
        self.output.write_at(bytes, offset)
    }

    /// Writes the rest and the header. The file is whole then.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn finish(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let end = self.first + self.filled as u64;
        self.advance(end, bytes)?;
        let frame = self.frame_bytes() as u16;
        let data = (end * self.frame_bytes()) as u32;
        bytes.clear();
        bytes.extend_from_slice(b"RIFF");
        bytes.extend_from_slice(&(data + HEADER as u32 - 8).to_le_bytes());
        bytes.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0");
        bytes.extend_from_slice(&(frame / 2).to_le_bytes());
        bytes.extend_from_slice(&(RATE as u32).to_le_bytes());
        bytes.extend_from_slice(&(RATE as u32 * u32::from(frame)).to_le_bytes());
        bytes.extend_from_slice(&frame.to_le_bytes());
        bytes.extend_from_slice(&16_u16.to_le_bytes());
        bytes.extend_from_slice(b"data");
        bytes.extend_from_slice(&data.to_le_bytes());
        self.output.write_at(bytes, 0)
    }
}

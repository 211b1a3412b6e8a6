//! Media to send, encoded once and shared by all streams that play it.

use std::sync::Arc;

use super::codec::level::{self, AUDIBLE_MEAN_SQUARE};
use super::codec::{CannotCode, Coder, Encoding, Listener};

/// The payload of one packet of a clip, with its place in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Offset of the payload in the bytes of the clip.
    pub offset: u32,
    /// Length of the payload in bytes.
    pub len: u16,
    /// True if the packet carries the marker bit.
    pub marker: bool,
    /// Payload type, where the clip says one; `None` for the negotiated one.
    pub payload_type: Option<u8>,
    /// Time from this packet to the next one, in nanoseconds.
    pub gap_ns: u64,
    /// Advance of the RTP timestamp from this packet to the next one, in units of its clock.
    pub ticks: u32,
}

/// The meaning of the bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// RTP payloads, which get a header of their stream.
    Payload,
    /// Whole RTP packets of a capture. They keep their header but for the SSRC, which is the
    /// stream's.
    Rtp,
    /// Datagrams of a capture that are no RTP (T.38 over UDPTL), sent as they are.
    Datagram,
}

/// Encoded media.
#[derive(Debug)]
pub struct Clip {
    /// Payloads, one after the other.
    pub bytes: Box<[u8]>,
    /// Packets in the order of sending; at least one.
    pub frames: Box<[Frame]>,
    /// The meaning of the bytes of a frame.
    pub content: Content,
    /// Ticks of the RTP timestamp in a second.
    pub clock_rate: u32,
    /// True if the clip is silent: a peer that receives it has heard nothing.
    pub is_silent: bool,
    /// Number of the check pattern that the payloads repeat (`apattern`, `vpattern`): 1 to 6.
    pub pattern: Option<u8>,
    /// True if each packet gets the watermark of its stream (see [`super::watermark`]).
    pub is_marked: bool,
}

impl Clip {
    /// Codes audio in packets of `ptime_ms`; `None` if the codec has no such packets. The last
    /// packet is filled up with silence.
    ///
    /// The samples are those of the encoding's sample rate. With `is_loop`, the codec comes from
    /// the end of the same audio, as it does whenever the clip begins again.
    ///
    /// # Errors
    /// The codec's.
    pub fn coded(
        encoding: &'static Encoding,
        ptime_ms: u16,
        samples: &[i16],
        is_loop: bool,
    ) -> Result<Option<Self>, CannotCode> {
        let Some(mut coder) = Coder::new(encoding) else { return Ok(None) };
        let per_packet = packet_samples(encoding, ptime_ms);
        if per_packet == 0 || !ptime_ms.is_multiple_of(encoding.block_ms()) {
            return Ok(None);
        }
        let mut samples = samples.to_vec();
        samples.resize(samples.len().max(1).next_multiple_of(per_packet), 0);
        let mut packet = Vec::new();
        if is_loop && !coder.is_stateless() {
            for samples in samples.chunks_exact(per_packet) {
                packet.clear();
                coder.code(samples, &mut packet)?;
            }
        }
        let packets = samples.len() / per_packet;
        let bytes_max = encoding.payload_bytes(ptime_ms).unwrap_or(0) * packets;
        let (mut bytes, mut frames) = (Vec::with_capacity(bytes_max), Vec::with_capacity(packets));
        for samples in samples.chunks_exact(per_packet) {
            let offset = bytes.len();
            coder.code(samples, &mut bytes)?;
            frames.push(Frame::regular(encoding, ptime_ms, offset, bytes.len() - offset));
        }
        let is_audible = |packet: &[i16]| level::mean_square(packet) >= AUDIBLE_MEAN_SQUARE;
        let is_silent = !samples.chunks_exact(per_packet).any(is_audible);
        Ok(Some(Self { is_silent, ..Self::payloads(encoding, bytes, frames) }))
    }

    /// Cuts coded media into packets of `ptime_ms`; `None` if the codec has no such packets, or
    /// `coded` not one of them. What is left behind the last packet is filled up with silence, or
    /// left out if the codec has no byte for silence.
    pub fn cut(encoding: &'static Encoding, ptime_ms: u16, coded: &[u8]) -> Option<Self> {
        let packet_bytes = encoding.payload_bytes(ptime_ms)?;
        let mut bytes = coded.to_vec();
        match super::codec::law(encoding) {
            Some(law) => bytes.resize(bytes.len().next_multiple_of(packet_bytes), law.silence()),
            None => bytes.truncate(bytes.len() / packet_bytes * packet_bytes),
        }
        let offsets = (0..bytes.len()).step_by(packet_bytes);
        let frames: Vec<Frame> = offsets
            .map(|offset| Frame::regular(encoding, ptime_ms, offset, packet_bytes))
            .collect();
        if frames.is_empty() {
            return None;
        }
        let mut listener = Listener::new(encoding);
        // What is not known to be silent is not called so.
        let mut is_audible = |packet: &[u8]| {
            listener.mean_square(packet).is_none_or(|square| square >= AUDIBLE_MEAN_SQUARE)
        };
        let is_noise = encoding.name == "CN";
        let is_silent = is_noise || !bytes.chunks_exact(packet_bytes).any(&mut is_audible);
        Some(Self { is_silent, ..Self::payloads(encoding, bytes, frames) })
    }

    fn payloads(encoding: &'static Encoding, bytes: Vec<u8>, frames: Vec<Frame>) -> Self {
        Self {
            bytes: bytes.into(),
            frames: frames.into(),
            content: Content::Payload,
            clock_rate: encoding.clock_rate,
            is_silent: false,
            pattern: None,
            is_marked: false,
        }
    }

    /// The payload of a frame.
    pub fn payload(&self, frame: &Frame) -> &[u8] {
        let offset = frame.offset as usize;
        &self.bytes[offset..offset + usize::from(frame.len)]
    }

    /// Bytes of memory that the clip takes.
    pub fn memory(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.frames)
    }

    /// Time from the first packet to the end of the last one, in nanoseconds.
    pub fn duration_ns(&self) -> u64 {
        self.frames.iter().map(|frame| frame.gap_ns).sum()
    }
}

impl Frame {
    /// A packet of a stream that sends one every `ptime_ms`.
    fn regular(encoding: &Encoding, ptime_ms: u16, offset: usize, len: usize) -> Self {
        Self {
            // Clips are bounded to 4 GiB, and payloads to those of a codec, before they are made.
            offset: offset as u32,
            len: len as u16,
            marker: false,
            payload_type: None,
            gap_ns: u64::from(ptime_ms) * 1_000_000,
            ticks: encoding.ticks(ptime_ms),
        }
    }
}

/// Samples of audio in a packet.
pub fn packet_samples(encoding: &Encoding, ptime_ms: u16) -> usize {
    (u64::from(encoding.sample_rate) * u64::from(ptime_ms) / 1000) as usize
}

/// The same media in the encodings that a call may negotiate.
#[derive(Clone, Debug)]
pub struct ClipSet {
    /// Encoding names as in SDP (`PCMU`, `opus`), each with its clip. The first is the default.
    pub clips: Vec<(&'static str, Arc<Clip>)>,
}

impl ClipSet {
    /// Memory of its payloads and frames.
    pub fn bytes(&self) -> u64 {
        let of = |(_, clip): &(_, Arc<Clip>)| clip.bytes.len() + size_of_val(&*clip.frames);
        self.clips.iter().map(|clip| of(clip) as u64).sum()
    }
}

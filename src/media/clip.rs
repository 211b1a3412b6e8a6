//! Media to send, encoded once and shared by all streams that play it.

use std::sync::Arc;

/// The payload of one packet of a clip, with its place in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where the payload begins in the bytes of the clip.
    pub offset: u32,
    /// Length of the payload in bytes.
    pub len: u16,
    /// True if the packet carries the marker bit.
    pub marker: bool,
    /// Payload type, where the clip says one; `None` for the negotiated one.
    pub payload_type: Option<u8>,
    /// Time from this packet to the next one, in nanoseconds.
    pub gap_ns: u32,
    /// Advance of the RTP timestamp from this packet to the next one, in units of its clock.
    pub ticks: u32,
}

/// What the bytes of a frame are.
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
    /// What the bytes of a frame are.
    pub content: Content,
    /// Ticks of the RTP timestamp in a second.
    pub clock_rate: u32,
    /// True if the clip is silent: a peer that receives it has heard nothing.
    pub is_silent: bool,
    /// Number of the check pattern that the payloads repeat (`apattern`, `vpattern`): 1 to 6.
    pub pattern: Option<u8>,
}

/// The same media in the encodings that a call may negotiate.
#[derive(Clone, Debug)]
pub struct ClipSet {
    /// Encoding names as in SDP (`PCMU`, `opus`), each with its clip. The first is the default.
    pub clips: Vec<(&'static str, Arc<Clip>)>,
}

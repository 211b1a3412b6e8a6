//! Compounds, read in place. All lengths of a packet are checked before any of its parts is given
//! out.

use crate::stats::RtpFault;

use super::{
    BLOCK_LEN, CNAME, EXTENDED_REPORT, GOODBYE, Ntp, RECEIVER_REPORT, ReportBlock, SENDER_REPORT,
    SOURCE_DESCRIPTION, SenderInfo, VOIP_METRICS, VOIP_METRICS_LEN, VoipMetrics,
};

const VERSION: u8 = 2;
/// Transport-layer feedback and payload-specific feedback (RFC 4585), which may come without a
/// report before them (RFC 5506).
const FEEDBACK: std::ops::RangeInclusive<u8> = 205..=206;

/// The packets of a datagram. The lengths of all of them are right; what is within them is read one
/// by one, so that a malformed packet does not hide another.
#[derive(Clone, Copy, Debug)]
pub struct Compound<'a> {
    rest: &'a [u8],
}

impl<'a> Compound<'a> {
    /// Checks the headers of a datagram (RFC 3550 appendix A.2).
    pub fn parse(datagram: &'a [u8]) -> Result<Self, RtpFault> {
        let mut rest = datagram;
        loop {
            let (raw, behind) = Raw::split(rest)?;
            let is_first = rest.len() == datagram.len();
            let begins =
                matches!(raw.kind, SENDER_REPORT | RECEIVER_REPORT) || FEEDBACK.contains(&raw.kind);
            if is_first && !begins {
                return Err(RtpFault::RtcpBadStart);
            }
            if raw.is_padded && !behind.is_empty() {
                return Err(RtpFault::RtcpBadPadding);
            }
            if behind.is_empty() {
                return Ok(Self { rest: datagram });
            }
            rest = behind;
        }
    }
}

impl<'a> Iterator for Compound<'a> {
    type Item = Result<Packet<'a>, RtpFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match Raw::split(self.rest) {
            Ok((raw, rest)) => {
                self.rest = rest;
                Some(Packet::of(raw))
            }
            Err(fault) => {
                self.rest = &[];
                Some(Err(fault))
            }
        }
    }
}

/// A packet whose header alone has been read.
struct Raw<'a> {
    count: u8,
    kind: u8,
    is_padded: bool,
    /// Bytes behind the header, without padding.
    body: &'a [u8],
}

impl<'a> Raw<'a> {
    /// Takes the first packet off `bytes`.
    fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), RtpFault> {
        let (header, rest) = bytes.split_first_chunk::<4>().ok_or(RtpFault::RtcpTooShort)?;
        if header[0] >> 6 != VERSION {
            return Err(RtpFault::RtcpBadVersion);
        }
        let len = usize::from(u16::from_be_bytes([header[2], header[3]])) * 4;
        let (mut body, rest) = rest.split_at_checked(len).ok_or(RtpFault::RtcpOverrun)?;
        let is_padded = header[0] & 1 << 5 != 0;
        if is_padded {
            // The last byte counts itself. Packets end at whole words, and so does their padding.
            let padding = usize::from(body.last().copied().unwrap_or(0));
            if padding == 0 || !padding.is_multiple_of(4) || padding > body.len() {
                return Err(RtpFault::RtcpBadPadding);
            }
            body = &body[..body.len() - padding];
        }
        Ok((Self { count: header[0] & 0x1f, kind: header[1], is_padded, body }, rest))
    }
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug)]
pub enum Packet<'a> {
    /// Figures of a sender, and of what it receives.
    SenderReport {
        /// The sender.
        ssrc: u32,
        /// Figures of its own stream.
        info: SenderInfo,
        /// Figures of its reception.
        blocks: Blocks<'a>,
    },
    /// Figures of a participant that sends nothing.
    ReceiverReport {
        /// The participant.
        ssrc: u32,
        /// Figures of its reception.
        blocks: Blocks<'a>,
    },
    /// Names of sources.
    SourceDescription(SourceDescription<'a>),
    /// Sources that end.
    Goodbye(Goodbye<'a>),
    /// An extended report.
    Extended {
        /// The participant that reports.
        ssrc: u32,
        /// The blocks.
        blocks: XrBlocks<'a>,
    },
    /// A packet of another type.
    Other(u8),
}

impl<'a> Packet<'a> {
    fn of(raw: Raw<'a>) -> Result<Self, RtpFault> {
        let Raw { count, kind, body, .. } = raw;
        Ok(match kind {
            SENDER_REPORT => {
                let mut body = body;
                let mut field = || take_word(&mut body).ok_or(RtpFault::RtcpReportOverrun);
                let ssrc = field()?;
                let time = Ntp(u64::from(field()?) << 32 | u64::from(field()?));
                let info =
                    SenderInfo { time, timestamp: field()?, packets: field()?, octets: field()? };
                Self::SenderReport { ssrc, info, blocks: Blocks::of(body, count)? }
            }
            RECEIVER_REPORT => {
                let mut body = body;
                let ssrc = take_word(&mut body).ok_or(RtpFault::RtcpReportOverrun)?;
                Self::ReceiverReport { ssrc, blocks: Blocks::of(body, count)? }
            }
            SOURCE_DESCRIPTION => Self::SourceDescription(SourceDescription::of(body, count)?),
            GOODBYE => Self::Goodbye(Goodbye::of(body, count)?),
            EXTENDED_REPORT => {
                let mut body = body;
                let ssrc = take_word(&mut body).ok_or(RtpFault::RtcpXrOverrun)?;
                Self::Extended { ssrc, blocks: XrBlocks::of(body)? }
            }
            other => Self::Other(other),
        })
    }
}

/// The reception blocks of a report.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a>(&'a [[u8; BLOCK_LEN]]);

impl<'a> Blocks<'a> {
    fn of(body: &'a [u8], count: u8) -> Result<Self, RtpFault> {
        // What follows the blocks is an extension of a profile.
        let (blocks, _) = body.as_chunks();
        blocks.get(..usize::from(count)).map(Self).ok_or(RtpFault::RtcpReportOverrun)
    }
}

impl Iterator for Blocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (block, rest) = self.0.split_first()?;
        self.0 = rest;
        let word = |at: usize| {
            u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
        };
        Some(ReportBlock {
            ssrc: word(0),
            fraction_lost: block[4],
            // The sign is that of 24 bits.
            cumulative_lost: (word(4) << 8) as i32 >> 8,
            highest_sequence: word(8),
            jitter: word(12),
            last_sr: word(16),
            delay_since_last_sr: word(20),
        })
    }
}

/// The chunks of a source description.
#[derive(Clone, Copy, Debug)]
pub struct SourceDescription<'a> {
    rest: &'a [u8],
    count: u8,
}

/// The description of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The source.
    pub ssrc: u32,
    /// The canonical name.
    pub cname: Option<&'a [u8]>,
}

impl<'a> SourceDescription<'a> {
    fn of(body: &'a [u8], count: u8) -> Result<Self, RtpFault> {
        let whole = Self { rest: body, count };
        let mut check = whole;
        while check.count > 0 {
            check.next().ok_or(RtpFault::RtcpSdesOverrun)?;
        }
        Ok(whole)
    }
}

impl<'a> Iterator for SourceDescription<'a> {
    type Item = Chunk<'a>;

    /// The next chunk; `None` also if it does not end within the packet.
    fn next(&mut self) -> Option<Chunk<'a>> {
        self.count = self.count.checked_sub(1)?;
        let before = self.rest.len();
        let mut chunk = Chunk { ssrc: take_word(&mut self.rest)?, cname: None };
        loop {
            let (&kind, rest) = self.rest.split_first()?;
            self.rest = rest;
            if kind == 0 {
                break;
            }
            let (&len, rest) = rest.split_first()?;
            let (text, rest) = rest.split_at_checked(len.into())?;
            self.rest = rest;
            if kind == CNAME {
                chunk.cname = Some(text);
            }
        }
        let taken = before - self.rest.len();
        self.rest = self.rest.get(taken.next_multiple_of(4) - taken..)?;
        Some(chunk)
    }
}

/// Sources that have ended.
#[derive(Clone, Copy, Debug)]
pub struct Goodbye<'a> {
    sources: &'a [[u8; 4]],
    /// The reason; empty if there is none.
    pub reason: &'a [u8],
}

impl<'a> Goodbye<'a> {
    fn of(body: &'a [u8], count: u8) -> Result<Self, RtpFault> {
        let split = body.split_at_checked(usize::from(count) * 4);
        let (sources, rest) = split.ok_or(RtpFault::RtcpByeOverrun)?;
        let reason = match rest.split_first() {
            None => &[][..],
            Some((&len, rest)) => rest.get(..len.into()).ok_or(RtpFault::RtcpByeOverrun)?,
        };
        Ok(Self { sources: sources.as_chunks().0, reason })
    }

    /// The sources.
    pub fn sources(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.sources.iter().map(|&ssrc| u32::from_be_bytes(ssrc))
    }
}

/// The blocks of an extended report.
#[derive(Clone, Copy, Debug)]
pub struct XrBlocks<'a> {
    rest: &'a [u8],
}

/// A block of an extended report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XrBlock {
    /// VoIP metrics.
    VoipMetrics(VoipMetrics),
    /// A block of another type.
    Other(u8),
}

impl<'a> XrBlocks<'a> {
    fn of(body: &'a [u8]) -> Result<Self, RtpFault> {
        let whole = Self { rest: body };
        let mut check = whole;
        while !check.rest.is_empty() {
            check.next().ok_or(RtpFault::RtcpXrOverrun)?;
        }
        Ok(whole)
    }
}

impl Iterator for XrBlocks<'_> {
    type Item = XrBlock;

    /// The next block; `None` also if it has not the length that it should have.
    fn next(&mut self) -> Option<XrBlock> {
        let (header, rest) = self.rest.split_first_chunk::<4>()?;
        let len = usize::from(u16::from_be_bytes([header[2], header[3]])) * 4;
        let (body, rest) = rest.split_at_checked(len)?;
        self.rest = rest;
        if header[0] != VOIP_METRICS {
            return Some(XrBlock::Other(header[0]));
        }
        body.try_into().ok().map(|body| XrBlock::VoipMetrics(voip_metrics(body)))
    }
}

fn voip_metrics(body: &[u8; VOIP_METRICS_LEN]) -> VoipMetrics {
    let half = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    VoipMetrics {
        ssrc: u32::from(half(0)) << 16 | u32::from(half(2)),
        loss_rate: body[4],
        discard_rate: body[5],
        burst_density: body[6],
        gap_density: body[7],
        burst_ms: half(8),
        gap_ms: half(10),
        round_trip_ms: half(12),
        end_system_ms: half(14),
        signal_level: body[16] as i8,
        noise_level: body[17] as i8,
        echo_return_loss: body[18],
        gap_min: body[19],
        r_factor: body[20],
        external_r_factor: body[21],
        mos_listening: body[22],
        mos_conversational: body[23],
        receiver: body[24],
        buffer_nominal_ms: half(26),
        buffer_maximum_ms: half(28),
        buffer_absolute_ms: half(30),
    }
}

fn take_word(bytes: &mut &[u8]) -> Option<u32> {
    let (word, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(u32::from_be_bytes(*word))
}

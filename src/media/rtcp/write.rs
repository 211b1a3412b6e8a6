//! Compounds, written into a buffer.

use super::{
    BLOCK_LEN, BLOCKS_MAX, CNAME, EXTENDED_REPORT, GOODBYE, RECEIVER_REPORT, ReportBlock,
    SENDER_REPORT, SOURCE_DESCRIPTION, SenderInfo, VOIP_METRICS, VOIP_METRICS_LEN, VoipMetrics,
};

const VERSION: u8 = 2 << 6;

/// Writes the packets of a compound one after the other. Each method gives `None`, and writes
/// nothing, if the buffer has no room for its packet. A compound begins with a report, and has the
/// canonical name next (RFC 3550 section 6.1).
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// An empty compound in `out`.
    pub fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    /// Length of the compound so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True before the first packet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a sender report of `ssrc`.
    pub fn sender_report(
        &mut self,
        ssrc: u32,
        info: &SenderInfo,
        blocks: &[ReportBlock],
    ) -> Option<()> {
        let count = block_count(blocks)?;
        let mut packet = self.packet(count, SENDER_REPORT, 24 + blocks.len() * BLOCK_LEN)?;
        packet.u32(ssrc);
        packet.u32((info.time.0 >> 32) as u32);
        packet.u32(info.time.0 as u32);
        packet.u32(info.timestamp);
        packet.u32(info.packets);
        packet.u32(info.octets);
        blocks.iter().for_each(|block| packet.block(block));
        Some(())
    }

    /// Adds a receiver report of `ssrc`.
    pub fn receiver_report(&mut self, ssrc: u32, blocks: &[ReportBlock]) -> Option<()> {
        let count = block_count(blocks)?;
        let mut packet = self.packet(count, RECEIVER_REPORT, 4 + blocks.len() * BLOCK_LEN)?;
        packet.u32(ssrc);
        blocks.iter().for_each(|block| packet.block(block));
        Some(())
    }

    /// Adds a source description with the canonical name of `ssrc`, 255 bytes at most.
    pub fn cname(&mut self, ssrc: u32, name: &[u8]) -> Option<()> {
        let name_len = u8::try_from(name.len()).ok()?;
        // At least one null byte ends the items, and the chunk with the next whole word.
        let mut packet = self.packet(1, SOURCE_DESCRIPTION, (6 + name.len()) / 4 * 4 + 4)?;
        packet.u32(ssrc);
        packet.u8(CNAME);
        packet.u8(name_len);
        packet.bytes(name);
        Some(())
    }

    /// Adds a BYE of `ssrc` with a reason, 255 bytes at most, or an empty one.
    pub fn goodbye(&mut self, ssrc: u32, reason: &[u8]) -> Option<()> {
        let reason_len = u8::try_from(reason.len()).ok()?;
        let room = if reason.is_empty() { 0 } else { (1 + reason.len()).next_multiple_of(4) };
        let mut packet = self.packet(1, GOODBYE, 4 + room)?;
        packet.u32(ssrc);
        if !reason.is_empty() {
            packet.u8(reason_len);
            packet.bytes(reason);
        }
        Some(())
    }

    /// Adds an extended report of `ssrc` with VoIP metrics.
    pub fn voip_metrics(&mut self, ssrc: u32, metrics: &VoipMetrics) -> Option<()> {
        let mut packet = self.packet(0, EXTENDED_REPORT, 8 + VOIP_METRICS_LEN)?;
        packet.u32(ssrc);
        packet.u8(VOIP_METRICS);
        packet.u8(0);
        packet.u16((VOIP_METRICS_LEN / 4) as u16);
        packet.u32(metrics.ssrc);
        packet.bytes(&[
            metrics.loss_rate,
            metrics.discard_rate,
            metrics.burst_density,
            metrics.gap_density,
        ]);
        packet.u16(metrics.burst_ms);
        packet.u16(metrics.gap_ms);
        packet.u16(metrics.round_trip_ms);
        packet.u16(metrics.end_system_ms);
        packet.bytes(&[
            metrics.signal_level as u8,
            metrics.noise_level as u8,
            metrics.echo_return_loss,
            metrics.gap_min,
            metrics.r_factor,
            metrics.external_r_factor,
            metrics.mos_listening,
            metrics.mos_conversational,
            metrics.receiver,
            0,
        ]);
        packet.u16(metrics.buffer_nominal_ms);
        packet.u16(metrics.buffer_maximum_ms);
        packet.u16(metrics.buffer_absolute_ms);
        Some(())
    }

    /// Takes room for a packet with a body of `body_len` bytes, which is a multiple of four, and
    /// writes its header. The body is all zeros.
    fn packet(&mut self, count: u8, kind: u8, body_len: usize) -> Option<Body<'_>> {
        let words = u16::try_from(body_len / 4).ok()?;
        let out = self.out.get_mut(self.len..self.len + 4 + body_len)?;
        let (header, body) = out.split_at_mut(4);
        header[0] = VERSION | count;
        header[1] = kind;
        header[2..].copy_from_slice(&words.to_be_bytes());
        body.fill(0);
        self.len += 4 + body_len;
        Some(Body { out: body, at: 0 })
    }
}

fn block_count(blocks: &[ReportBlock]) -> Option<u8> {
    (blocks.len() <= BLOCKS_MAX).then_some(blocks.len() as u8)
}

/// The body of a packet, filled from its beginning.
struct Body<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Body<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    fn block(&mut self, block: &ReportBlock) {
        self.u32(block.ssrc);
        let lost = block.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
        self.u32(u32::from(block.fraction_lost) << 24 | lost);
        self.u32(block.highest_sequence);
        self.u32(block.jitter);
        self.u32(block.last_sr);
        self.u32(block.delay_since_last_sr);
    }
}

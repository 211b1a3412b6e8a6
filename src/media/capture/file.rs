//! Files of captured packets: pcap in its four forms, and pcapng.
//!
//! Records are found in place. A length is never trusted: it is compared with what the file has.

use super::CaptureFault;

/// Longest packet that a capture holds: more than any program saves, and than UDP carries.
const PACKET_BYTES_MAX: usize = 1 << 18;
/// Bytes of the header of a pcap file, and of each of its records.
const PCAP_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
const NS_PER_SECOND: u64 = 1_000_000_000;

/// A captured packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'f> {
    /// Number in the file, from 1, as Wireshark counts.
    pub(super) number: u32,
    /// Time of capture.
    pub(super) time_ns: u64,
    /// Link type; see the tcpdump group's list.
    pub(super) link: u32,
    /// As much of the packet as was saved.
    pub(super) data: &'f [u8],
    /// True if the packet was longer than what was saved.
    pub(super) is_short: bool,
}

/// The packets of a file, in order.
pub(super) struct Records<'f> {
    rest: &'f [u8],
    form: Form,
    endian: Endian,
    number: u32,
    /// True if the file ends inside of a packet.
    pub(super) is_cut_off: bool,
}

enum Form {
    Pcap { link: u32, ns_per_tick: u64 },
    PcapNg { interfaces: Vec<Interface> },
}

/// An interface of a pcapng file, whose packets name it by its number.
#[derive(Clone, Copy)]
struct Interface {
    link: u32,
    ticks_per_second: u64,
    offset_s: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Endian {
    Big,
    Little,
}

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OLD_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const PACKET: u32 = 6;

impl<'f> Records<'f> {
    pub(super) fn open(file: &'f [u8]) -> Result<Self, CaptureFault> {
        let magic = file.first_chunk().ok_or(CaptureFault::NotACapture)?;
        let (endian, ns_per_tick) = match u32::from_be_bytes(*magic) {
            0xa1b2_c3d4 => (Endian::Big, 1000),
            0xa1b2_3c4d => (Endian::Big, 1),
            0xd4c3_b2a1 => (Endian::Little, 1000),
            0x4d3c_b2a1 => (Endian::Little, 1),
            SECTION => {
                let form = Form::PcapNg { interfaces: Vec::new() };
                // The first block says the order of bytes.
                return Ok(Self::new(file, form, Endian::Little));
            }
            _ => return Err(CaptureFault::NotACapture),
        };
        let (header, rest) =
            file.split_at_checked(PCAP_HEADER).ok_or(CaptureFault::NoPackets { seen: 0 })?;
        // The upper half of the word says how long checksums of frames are.
        let link = endian.u32(&header[20..]) & 0xffff;
        Ok(Self::new(rest, Form::Pcap { link, ns_per_tick }, endian))
    }

    fn new(rest: &'f [u8], form: Form, endian: Endian) -> Self {
        Self { rest, form, endian, number: 0, is_cut_off: false }
    }

    /// The next packet; `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Record<'f>>, CaptureFault> {
        match self.form {
            Form::Pcap { link, ns_per_tick } => self.next_pcap(link, ns_per_tick),
            Form::PcapNg { .. } => self.next_pcapng(),
        }
    }

    fn next_pcap(
        &mut self,
        link: u32,
        ns_per_tick: u64,
    ) -> Result<Option<Record<'f>>, CaptureFault> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let Some((header, behind)) = self.rest.split_at_checked(RECORD_HEADER) else {
            return Ok(self.cut_off());
        };
        let word = |at: usize| self.endian.u32(&header[at..]);
        let (seconds, ticks, saved, whole) = (word(0), word(4), word(8), word(12));
        let saved = self.length(saved)?;
        let Some((data, rest)) = behind.split_at_checked(saved) else {
            return Ok(self.cut_off());
        };
        self.rest = rest;
        self.number += 1;
        let time_ns = u64::from(seconds) * NS_PER_SECOND + u64::from(ticks) * ns_per_tick;
        let is_short = (saved as u64) < u64::from(whole);
        Ok(Some(Record { number: self.number, time_ns, link, data, is_short }))
    }

    fn next_pcapng(&mut self) -> Result<Option<Record<'f>>, CaptureFault> {
        while !self.rest.is_empty() {
            let Some((kind, body)) = self.block()? else { return Ok(self.cut_off()) };
            match kind {
                SECTION => self.begin_section(),
                INTERFACE => self.add_interface(body)?,
                PACKET | OLD_PACKET => return self.packet(kind, body).map(Some),
                SIMPLE_PACKET => {
                    let packet = self.number + 1;
                    return Err(CaptureFault::NoTime { packet });
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Takes the next block off; `None` if the file ends inside of it.
    fn block(&mut self) -> Result<Option<(u32, &'f [u8])>, CaptureFault> {
        let Some((header, _)) = self.rest.split_at_checked(12) else { return Ok(None) };
        // Reads the same in both orders of bytes.
        if self.endian.u32(header) == SECTION {
            self.endian = match self.endian.u32(&header[8..]) {
                0x1a2b_3c4d => self.endian,
                0x4d3c_2b1a => self.endian.other(),
                _ => return Err(self.damaged("a section without a mark of its byte order")),
            };
        }
        let kind = self.endian.u32(header);
        let length = self.endian.u32(&header[4..]) as usize;
        if length < 12 {
            return Err(self.damaged("a block that is shorter than its header"));
        }
        // Its padding may be missing from the length, but never from the file.
        let Some((block, _)) = self.rest.split_at_checked(length) else { return Ok(None) };
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Ok(Some((kind, &block[8..length - 4])))
    }

    /// Forgets the interfaces: each section has its own.
    fn begin_section(&mut self) {
        self.form = Form::PcapNg { interfaces: Vec::new() };
    }

    fn add_interface(&mut self, body: &[u8]) -> Result<(), CaptureFault> {
        const RESOLUTION: u16 = 9;
        const OFFSET: u16 = 14;
        let Some((fixed, mut options)) = body.split_at_checked(8) else {
            return Err(self.damaged("an interface without a link type"));
        };
        let endian = self.endian;
        let link = endian.u16(fixed).into();
        let mut interface = Interface { link, ticks_per_second: 1_000_000, offset_s: 0 };
        while let Some((head, behind)) = options.split_at_checked(4) {
            let (code, length) = (endian.u16(head), usize::from(endian.u16(&head[2..])));
            let Some(value) = behind.get(..length) else { break };
            match (code, value) {
                (RESOLUTION, &[exponent]) => {
                    interface.ticks_per_second = ticks_per_second(exponent)
                        .ok_or_else(|| self.damaged("an impossible resolution of its times"))?;
                }
                (OFFSET, value) if length == 8 => interface.offset_s = endian.i64(value),
                _ => {}
            }
            options = behind.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        if let Form::PcapNg { interfaces } = &mut self.form {
            interfaces.push(interface);
        }
        Ok(())
    }

    fn packet(&mut self, kind: u32, body: &'f [u8]) -> Result<Record<'f>, CaptureFault> {
        let Some((head, data)) = body.split_at_checked(20) else {
            return Err(self.damaged("a block without a packet"));
        };
        let word = |at: usize| self.endian.u32(&head[at..]);
        let interface = match kind {
            OLD_PACKET => self.endian.u16(head).into(),
            _ => word(0) as usize,
        };
        let ticks = u64::from(word(4)) << 32 | u64::from(word(8));
        let (saved, whole) = (self.length(word(12))?, word(16));
        let found = match &self.form {
            Form::PcapNg { interfaces } => interfaces.get(interface).copied(),
            Form::Pcap { .. } => None,
        };
        let Some(interface) = found else {
            return Err(self.damaged("a packet of an interface that it does not describe"));
        };
        let Some(data) = data.get(..saved) else {
            return Err(self.damaged("a packet that is longer than its block"));
        };
        self.number += 1;
        let is_short = (saved as u64) < u64::from(whole);
        let (number, time_ns, link) = (self.number, interface.time_ns(ticks), interface.link);
        Ok(Record { number, time_ns, link, data, is_short })
    }

    /// The length that a packet claims to have.
    fn length(&self, claimed: u32) -> Result<usize, CaptureFault> {
        match claimed as usize {
            bytes @ ..=PACKET_BYTES_MAX => Ok(bytes),
            bytes => {
                let packet = self.number + 1;
                Err(CaptureFault::TooLong { packet, bytes })
            }
        }
    }

    fn cut_off(&mut self) -> Option<Record<'f>> {
        self.is_cut_off = true;
        self.rest = &[];
        None
    }

    fn damaged(&self, what: &'static str) -> CaptureFault {
        CaptureFault::Damaged { after: self.number, what }
    }
}

impl Interface {
    fn time_ns(self, ticks: u64) -> u64 {
        let ns = u128::from(ticks) * u128::from(NS_PER_SECOND) / u128::from(self.ticks_per_second);
        let offset_ns = i128::from(self.offset_s) * i128::from(NS_PER_SECOND);
        // The product of two numbers of 64 bits fits into 127.
        u64::try_from((ns as i128).saturating_add(offset_ns).max(0)).unwrap_or(u64::MAX)
    }
}

/// The resolution of times: a negative power of 10, or of 2 if the first bit is set.
fn ticks_per_second(exponent: u8) -> Option<u64> {
    match exponent {
        0..0x80 => 10u64.checked_pow(exponent.into()),
        _ => 1u64.checked_shl(u32::from(exponent & 0x7f)),
    }
}

impl Endian {
    fn other(self) -> Self {
        match self {
            Self::Big => Self::Little,
            Self::Little => Self::Big,
        }
    }

    fn u16(self, bytes: &[u8]) -> u16 {
        let bytes = [bytes[0], bytes[1]];
        match self {
            Self::Big => u16::from_be_bytes(bytes),
            Self::Little => u16::from_le_bytes(bytes),
        }
    }

    fn u32(self, bytes: &[u8]) -> u32 {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        match self {
            Self::Big => u32::from_be_bytes(bytes),
            Self::Little => u32::from_le_bytes(bytes),
        }
    }

    fn i64(self, bytes: &[u8]) -> i64 {
        let (first, second) = (self.u32(bytes), self.u32(&bytes[4..]));
        let (high, low) = match self {
            Self::Big => (first, second),
            Self::Little => (second, first),
        };
        (u64::from(high) << 32 | u64::from(low)) as i64
    }
}

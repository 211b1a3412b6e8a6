//! Control messages: the one that is sent (`UDP_SEGMENT`) and those that are read.

use crate::sys;

/// Length, level and type.
const HEADER_BYTES: usize = size_of::<usize>() + 8;

/// Room for one `UDP_SEGMENT` message.
pub(crate) const SEGMENT_BYTES: usize = HEADER_BYTES + align(2);

/// Room for all that the kernel attaches on a data socket: a GRO segment size, a drop count and a
/// time.
pub(crate) const RECEIVE_BYTES: usize = 80;

const _: () = assert!(RECEIVE_BYTES >= 2 * (HEADER_BYTES + align(4)) + HEADER_BYTES + 16);

const fn align(bytes: usize) -> usize {
    bytes.next_multiple_of(size_of::<usize>())
}

/// Writes the message that asks for `segment`-byte datagrams; its length is [`SEGMENT_BYTES`].
pub(crate) fn encode_segment(segment: u16, control: &mut [u8; SEGMENT_BYTES]) {
    const LEVEL: usize = size_of::<usize>();
    control[..LEVEL].copy_from_slice(&(HEADER_BYTES + 2).to_ne_bytes());
    control[LEVEL..LEVEL + 4].copy_from_slice(&libc::SOL_UDP.to_ne_bytes());
    control[LEVEL + 4..LEVEL + 8].copy_from_slice(&libc::UDP_SEGMENT.to_ne_bytes());
    control[HEADER_BYTES..HEADER_BYTES + 2].copy_from_slice(&segment.to_ne_bytes());
    control[HEADER_BYTES + 2..].fill(0);
}

/// Contents of a received datagram's control messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// Bytes per datagram when the payload is a GRO train.
    pub(crate) segment: Option<usize>,
    /// The socket's drop count when this datagram was queued.
    pub(crate) drops: Option<u32>,
    /// Time at which the kernel took the datagram from the network, in nanoseconds of
    /// `CLOCK_REALTIME`.
    pub(crate) realtime_ns: Option<u64>,
}

/// Turns kernel receive times, which are wall-clock times, into monotonic ones by their age.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceiveClock {
    monotonic_ns: u64,
    realtime_ns: u64,
}

impl ReceiveClock {
    /// Ages beyond this are taken for a step of the wall clock.
    const AGE_NS_MAX: u64 = 10_000_000_000;

    /// Reads both clocks.
    pub(crate) fn now() -> Self {
        Self { monotonic_ns: sys::monotonic_now(), realtime_ns: sys::realtime_now_ns() }
    }

    /// The monotonic time of a receive.
    #[inline]
    pub(crate) fn received_ns(&self, received: &Received) -> u64 {
        let at = received.realtime_ns.unwrap_or(self.realtime_ns);
        match self.realtime_ns.saturating_sub(at) {
            age if age <= Self::AGE_NS_MAX => self.monotonic_ns - age.min(self.monotonic_ns),
            _ => self.monotonic_ns,
        }
    }
}

/// Reads the control messages of a received datagram.
#[inline]
pub(crate) fn decode_received(control: &[u8]) -> Received {
    let mut received = Received::default();
    if control.is_empty() {
        return received;
    }
    for message in Messages(control) {
        match (message.level, message.kind) {
            (libc::SOL_UDP, libc::UDP_GRO) => {
                received.segment =
                    message.word().map(|size| size as usize).filter(|&size| size > 0);
            }
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => received.drops = message.word(),
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => received.realtime_ns = message.time_ns(),
            _ => {}
        }
    }
    received
}

/// One control message.
pub(crate) struct Message<'a> {
    pub(crate) level: i32,
    pub(crate) kind: i32,
    pub(crate) data: &'a [u8],
}

impl Message<'_> {
    fn word(&self) -> Option<u32> {
        self.data.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
    }

    /// A `struct timespec` of two 64-bit numbers, as every 64-bit kernel sends it.
    fn time_ns(&self) -> Option<u64> {
        let seconds = i64::from_ne_bytes(*self.data.first_chunk()?);
        let nanoseconds = i64::from_ne_bytes(*self.data.get(8..)?.first_chunk()?);
        u64::try_from(seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)?).ok()
    }
}

/// Walks a control buffer; stops at the first message that does not fit.
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        const LEVEL: usize = size_of::<usize>();
        let bytes = usize::from_ne_bytes(*self.0.first_chunk()?);
        let level = i32::from_ne_bytes(*self.0.get(LEVEL..)?.first_chunk()?);
        let kind = i32::from_ne_bytes(*self.0.get(LEVEL + 4..)?.first_chunk()?);
        let data = self.0.get(HEADER_BYTES..bytes)?;
        self.0 = self.0.get(align(bytes)..).unwrap_or(&[]);
        Some(Message { level, kind, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(control: &mut Vec<u8>, level: i32, kind: i32, word: u32) {
        control.extend((HEADER_BYTES + 4).to_ne_bytes());
        control.extend(level.to_ne_bytes());
        control.extend(kind.to_ne_bytes());
        control.extend(word.to_ne_bytes());
        control.resize(control.len().next_multiple_of(size_of::<usize>()), 0);
    }

    #[test]
    fn segment_and_drops_are_found_in_any_order() {
        let mut control = Vec::new();
        push(&mut control, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 7);
        push(&mut control, libc::SOL_UDP, libc::UDP_GRO, 500);
        let expected = Received { segment: Some(500), drops: Some(7), realtime_ns: None };
        assert_eq!(decode_received(&control), expected);
    }

    #[test]
    fn receive_times_become_monotonic_by_their_age() {
        let mut control = Vec::new();
        control.extend((HEADER_BYTES + 16).to_ne_bytes());
        control.extend(libc::SOL_SOCKET.to_ne_bytes());
        control.extend(libc::SCM_TIMESTAMPNS.to_ne_bytes());
        control.extend(5_i64.to_ne_bytes());
        control.extend(7_i64.to_ne_bytes());
        let received = decode_received(&control);
        assert_eq!(received.realtime_ns, Some(5_000_000_007));
        let clock = |realtime_ns| ReceiveClock { monotonic_ns: 1_000_000_000, realtime_ns };
        assert_eq!(clock(5_000_000_107).received_ns(&received), 999_999_900);
        // A clock that was set back or far ahead tells nothing.
        assert_eq!(clock(4_000_000_000).received_ns(&received), 1_000_000_000);
        assert_eq!(clock(99_000_000_000).received_ns(&received), 1_000_000_000);
        assert_eq!(clock(9).received_ns(&Received::default()), 1_000_000_000);
    }

    #[test]
    fn a_cut_message_ends_the_walk() {
        let mut control = Vec::new();
        push(&mut control, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 7);
        for cut in 0..HEADER_BYTES + 4 {
            assert_eq!(decode_received(&control[..cut]), Received::default());
        }
        let mut lying = control.clone();
        lying[..size_of::<usize>()].copy_from_slice(&usize::MAX.to_ne_bytes());
        assert_eq!(decode_received(&lying), Received::default());
        lying[..size_of::<usize>()].copy_from_slice(&0_usize.to_ne_bytes());
        assert_eq!(decode_received(&lying), Received::default());
    }

    #[test]
    fn the_segment_message_reads_back() {
        let mut control = [0xff; SEGMENT_BYTES];
        encode_segment(1200, &mut control);
        let message = Messages(&control).next().expect("one message");
        assert_eq!((message.level, message.kind), (libc::SOL_UDP, libc::UDP_SEGMENT));
        assert_eq!(message.data, 1200_u16.to_ne_bytes());
    }
}

//! SRTP and the keys for it.

use std::collections::HashSet;

use gossipper::media::crypto::{CryptoLine, Keys};
use gossipper::media::srtp::{
    MasterKey, Mki, SrtpReceiver, SrtpSender, Suite, TRAILER_MAX, Waivers,
};
use gossipper::sip::{Media, Sdp};

/// Length of an operation in the input.
const OPERATION: usize = 4;
/// Sources of packets: as many as a receiver remembers.
const SOURCES: u32 = 2;

/// A packet on its way.
struct Packet {
    is_rtcp: bool,
    clear: Vec<u8>,
    sealed: Vec<u8>,
}

/// Both ends of a stream, and the packets between them.
struct Pair {
    sender: SrtpSender,
    receiver: SrtpReceiver,
    is_authentic: bool,
    sequence: u16,
    ssrc: u32,
    sent: Vec<Packet>,
    received: HashSet<usize>,
}

/// Takes bytes as operations on a protected stream: packets are sent, delivered, delivered again,
/// changed and made up.
pub fn any_operations(bytes: &[u8]) {
    let Some((&[choice, mki], operations)) = bytes.split_first_chunk() else { return };
    let mut pair = Pair::new(choice, mki);
    for operation in operations.chunks_exact(OPERATION) {
        let (what, number) = (operation[0], u16::from_be_bytes([operation[1], operation[2]]));
        match what % 6 {
            0 => pair.send(number, operation[3], false),
            1 => pair.send(number, operation[3], true),
            2 => pair.deliver(number.into()),
            3 => pair.deliver_changed(number.into(), operation[3]),
            4 => pair.ssrc = u32::from(number) % SOURCES,
            _ => pair.make_up(operations),
        }
    }
}

impl Pair {
    fn new(choice: u8, mki: u8) -> Self {
        let suite = Suite::ALL[usize::from(choice) % Suite::ALL.len()];
        let key: Vec<u8> = (0..).take(suite.master_len()).collect();
        let mut key = MasterKey::new(suite, &key).expect("a key as long as its suite says");
        key.waivers = Waivers {
            rtp_encryption: choice & 0x20 != 0,
            rtcp_encryption: choice & 0x40 != 0,
            rtp_authentication: choice & 0x80 != 0,
        };
        key.mki = Mki::new(mki.into(), mki.into());
        Self {
            sender: SrtpSender::new(&key),
            receiver: SrtpReceiver::new(&key),
            is_authentic: !key.waivers.rtp_authentication || suite.is_aead(),
            sequence: 0,
            ssrc: 0,
            sent: Vec::new(),
            received: HashSet::new(),
        }
    }

    fn send(&mut self, step: u16, shape: u8, is_rtcp: bool) {
        self.sequence = self.sequence.wrapping_add(step);
        let mut clear = if is_rtcp { vec![0x80, 200, 0, 1] } else { vec![0x80 | shape & 0x1f, 0] };
        if !is_rtcp {
            clear.extend(self.sequence.to_be_bytes());
            clear.extend([0; 4]);
        }
        clear.extend(self.ssrc.to_be_bytes());
        // Zeros: sources, and an extension without words.
        clear.resize(clear.len() + 80 + usize::from(shape), 0);
        let len = clear.len();
        let mut sealed = clear.clone();
        sealed.resize(len + TRAILER_MAX, 0);
        let protected = if is_rtcp {
            self.sender.protect_rtcp(&mut sealed, len)
        } else {
            self.sender.protect(&mut sealed, len)
        };
        let Ok(total) = protected else { return };
        sealed.truncate(total);
        self.sent.push(Packet { is_rtcp, clear, sealed });
    }

    /// A packet that is taken is the one that was sent, and was not taken before.
    fn deliver(&mut self, number: usize) {
        let Some(at) = number.checked_rem(self.sent.len()) else { return };
        let mut bytes = self.sent[at].sealed.clone();
        let Some(len) = self.unprotect(self.sent[at].is_rtcp, &mut bytes) else { return };
        if self.is_authentic {
            assert_eq!(bytes[..len], self.sent[at].clear);
            // The same sequence number may have been sent twice.
            assert!(self.received.insert(at), "the packet {at} was taken twice");
        }
    }

    fn deliver_changed(&mut self, number: usize, bit: u8) {
        let Some(at) = number.checked_rem(self.sent.len()) else { return };
        let mut bytes = self.sent[at].sealed.clone();
        let place = usize::from(bit) * 5 % (bytes.len() * 8);
        bytes[place / 8] ^= 1 << (place % 8);
        let is_taken = self.unprotect(self.sent[at].is_rtcp, &mut bytes).is_some();
        assert!(!is_taken || !self.is_authentic, "a changed packet was taken");
    }

    fn make_up(&mut self, bytes: &[u8]) {
        for is_rtcp in [false, true] {
            let is_taken = self.unprotect(is_rtcp, &mut bytes.to_vec()).is_some();
            assert!(!is_taken || !self.is_authentic, "a packet of nobody was taken");
        }
    }

    fn unprotect(&mut self, is_rtcp: bool, bytes: &mut [u8]) -> Option<usize> {
        let taken = if is_rtcp {
            self.receiver.unprotect_rtcp(bytes)
        } else {
            self.receiver.unprotect(bytes)
        };
        if let Err(fault) = taken {
            assert!(!fault.label().is_empty() && !fault.description().is_empty());
        }
        taken.ok()
    }
}

/// Takes bytes as the value of a `crypto` attribute, and as two descriptions with a zero between.
pub fn any_crypto(bytes: &[u8]) {
    match CryptoLine::parse(bytes) {
        Ok(line) => {
            let suite = line.key.suite();
            assert_eq!(line.key.key().len() + line.key.salt().len(), suite.master_len());
            let sender = SrtpSender::new(&line.key);
            assert!(sender.overhead().max(sender.rtcp_overhead()) <= TRAILER_MAX);
        }
        Err(cause) => assert!(!cause.label().is_empty() && !cause.to_string().is_empty()),
    }
    let Some(zero) = bytes.iter().position(|byte| *byte == 0) else { return };
    let (Ok(ours), Ok(peers)) = (Sdp::parse(&bytes[..zero]), Sdp::parse(&bytes[zero + 1..])) else {
        return;
    };
    for (our, peer) in ours.media().flatten().zip(peers.media().flatten()) {
        agree(&our, &peer);
    }
}

/// Fails unless both sides come to the same end.
fn agree(our: &Media<'_>, peer: &Media<'_>) {
    let (here, there) = (Keys::from_descriptions(our, peer), Keys::from_descriptions(peer, our));
    match (here, there) {
        (Ok(here), Ok(there)) => assert_eq!(here.is_some(), there.is_some()),
        (here, there) => assert!(here.is_err() && there.is_err(), "{here:?} {there:?}"),
    }
    if let Ok(Some(keys)) = here {
        assert_eq!(keys.ours.suite(), keys.peers.suite());
    }
}

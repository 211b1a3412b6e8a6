//! One handshake, and the identity of a run that all of them show.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output};
use ring::hmac;
use ring::rand::SystemRandom;

use super::description::{Fingerprints, Role};
use super::{fingerprint, keys, provider, self_signed};
use crate::media::crypto::Keys;
use crate::sip::base64;
use crate::stats::HandshakeFault;

/// Time to the first repetition of a flight. Media waits for the keys, and RFC 9147 section 5.8.1
/// lets real-time uses begin with less than the second of RFC 6347.
const REPEAT_FIRST: Duration = Duration::from_millis(200);
/// Repetitions of a flight, each after twice the time of the one before.
const REPEATS_MAX: usize = 6;
/// Largest datagrams that we send. Paths of the Internet carry 1200 bytes.
const DATAGRAM_BYTES_MAX: usize = 1200;
/// Time limit of a handshake, from the moment at which both descriptions are known.
pub(super) const HANDSHAKE_NS_MAX: u64 = 10_000_000_000;
/// Room for what a handshake puts out at once, and the most that it may grow to.
const OUTPUT_BYTES: usize = 2048;
const OUTPUT_BYTES_MAX: usize = 1 << 16;

/// The certificate of a run, and what all its handshakes share.
pub struct Identity {
    certificate: DtlsCertificate,
    fingerprint: String,
    config: Arc<Config>,
    /// The key of the secrets of ICE.
    secret: hmac::Key,
    /// The moment at which the clock of the workers showed 0, or any other one: only distances
    /// count.
    origin: Instant,
}

/// The secrets of a leg for ICE (RFC 8839 section 5.4), in base64.
#[derive(Clone, Copy)]
pub struct IceSecrets {
    /// The user fragment.
    pub ufrag: [u8; 8],
    /// The password.
    pub password: [u8; 24],
}

/// The reason why a run has no identity.
#[derive(Clone, Debug, thiserror::Error)]
#[error("DTLS cannot be used: {what}")]
pub struct IdentityError {
    what: String,
}

impl Identity {
    /// A new key with its certificate. Times of handshakes are counted from `origin`.
    ///
    /// # Errors
    /// The system has no random numbers, or its cryptography fails the tests of the crate.
    pub fn new(origin: Instant) -> Result<Self, IdentityError> {
        let no_random = |_| IdentityError { what: "the system has no random numbers".to_owned() };
        let certificate = self_signed().map_err(no_random)?;
        let config = Config::builder()
            .with_crypto_provider(provider())
            // The peer's address is that of a session description: a cookie would show nothing new.
            .use_server_cookie(false)
            .mtu(DATAGRAM_BYTES_MAX)
            .flight_start_rto(REPEAT_FIRST)
            .flight_retries(REPEATS_MAX)
            .handshake_timeout(Duration::from_nanos(HANDSHAKE_NS_MAX))
            .build()
            .map_err(|error| IdentityError { what: error.to_string() })?;
        let fingerprint = fingerprint(&certificate.certificate);
        let secret = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        let secret = secret.map_err(no_random)?;
        Ok(Self { certificate, fingerprint, config: Arc::new(config), secret, origin })
    }

    /// The fingerprint of the certificate, as session descriptions have it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The moment from which times are counted.
    pub fn origin(&self) -> Instant {
        self.origin
    }

    /// The secrets of ICE of the leg `number`: nobody can guess them, and nothing need be kept.
    pub fn ice_secrets(&self, number: [u64; 2]) -> IceSecrets {
        let [high, low] = number.map(u64::to_be_bytes);
        let code = hmac::sign(&self.secret, [high, low].as_flattened());
        let code = code.as_ref();
        IceSecrets { ufrag: base64::array(&code[..6]), password: base64::array(&code[6..24]) }
    }

    fn instant(&self, now: u64) -> Instant {
        self.origin + Duration::from_nanos(now)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// The state of a handshake after a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No outcome yet.
    Going,
    /// Keys, which come once.
    Keys(Box<Keys>),
    /// The end without keys.
    Failed(HandshakeFault),
}

/// A handshake with the peer of a stream. It remains after it gave keys, to repeat its last flight
/// if that was lost.
pub struct Handshake {
    dtls: Dtls,
    identity: Arc<Identity>,
    /// The certificates that the peer may show.
    fingerprints: Fingerprints,
    is_verified: bool,
    is_connected: bool,
    has_keys: bool,
    role: Role,
    /// The time of its next step, unless a datagram comes.
    next_ns: u64,
}

impl Handshake {
    /// A handshake that begins at `now`. A client sends with its first step.
    pub fn new(identity: &Arc<Identity>, role: Role, peers: Fingerprints, now: u64) -> Self {
        let config = Arc::clone(&identity.config);
        let certificate = identity.certificate.clone();
        let mut dtls = Dtls::new_12(config, certificate, identity.instant(now));
        dtls.set_active(role == Role::Client);
        Self {
            dtls,
            identity: Arc::clone(identity),
            fingerprints: peers,
            is_verified: false,
            is_connected: false,
            has_keys: false,
            role,
            next_ns: now,
        }
    }

    /// The time of the next step, unless a datagram comes before.
    pub fn next_ns(&self) -> u64 {
        self.next_ns
    }

    /// Takes a step: with a datagram of the peer, or because its time has come. `send` gets what
    /// is to be sent.
    pub fn step(
        &mut self,
        datagram: Option<&[u8]>,
        now: u64,
        out: &mut Vec<u8>,
        send: &mut dyn FnMut(&[u8]),
    ) -> Progress {
        let done = self.dtls.handle_timeout(self.identity.instant(now));
        // What is due leaves before the answer to the datagram.
        let progress = self.drain(out, send);
        let Some(datagram) = datagram.filter(|_| progress == Progress::Going && done.is_ok())
        else {
            return judged(progress, &done);
        };
        let done = self.dtls.handle_packet(datagram);
        let progress = self.drain(out, send);
        judged(progress, &done)
    }

    /// Sends what waits, and takes the outcome.
    fn drain(&mut self, out: &mut Vec<u8>, send: &mut dyn FnMut(&[u8])) -> Progress {
        let mut progress = Progress::Going;
        out.resize(out.len().max(OUTPUT_BYTES), 0);
        loop {
            let needed = match self.dtls.poll_output(out) {
                Output::BufferTooSmall { needed } => needed,
                Output::Timeout(instant) => {
                    let after = instant.saturating_duration_since(self.identity.origin);
                    self.next_ns = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
                    break;
                }
                Output::Packet(packet) => {
                    send(packet);
                    continue;
                }
                Output::PeerCert(certificate) => {
                    self.is_verified = self.fingerprints.name(certificate);
                    if !self.is_verified {
                        return Progress::Failed(HandshakeFault::DtlsFingerprint);
                    }
                    continue;
                }
                // A side without a certificate has shown nothing.
                Output::KeyingMaterial(..) if !self.is_verified => {
                    return Progress::Failed(HandshakeFault::DtlsFingerprint);
                }
                Output::KeyingMaterial(material, profile) => {
                    let keys = keys(&material, profile, self.role == Role::Client);
                    self.has_keys = keys.is_some();
                    progress = keys.map_or(Progress::Going, |keys| Progress::Keys(Box::new(keys)));
                    continue;
                }
                Output::Connected => {
                    self.is_connected = true;
                    continue;
                }
                _ => continue,
            };
            if needed > OUTPUT_BYTES_MAX {
                return Progress::Failed(HandshakeFault::DtlsBroken);
            }
            out.resize(needed, 0);
        }
        match self.is_connected && !self.has_keys {
            true => Progress::Failed(HandshakeFault::DtlsNoProfile),
            false => progress,
        }
    }
}

/// The progress of a step that the crate ended with `done`. Each of its errors is the end.
fn judged(progress: Progress, done: &Result<(), dimpl::Error>) -> Progress {
    match (progress, done) {
        (Progress::Going, Err(dimpl::Error::Timeout(_))) => {
            Progress::Failed(HandshakeFault::DtlsTimedOut)
        }
        (Progress::Going, Err(_)) => Progress::Failed(HandshakeFault::DtlsBroken),
        (progress, _) => progress,
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("dtls", &self.dtls).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::dtls::Description;
    use crate::sip::Sdp;

    const MS: u64 = 1_000_000;

    /// One end, with the datagrams that it has sent.
    struct End {
        handshake: Handshake,
        sent: Vec<Vec<u8>>,
        outcome: Option<Progress>,
    }

    impl End {
        fn new(identity: &Arc<Identity>, role: Role, peer: &Identity) -> Self {
            let text = format!(
                "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 9 RTP/SAVPF 0\r\na=fingerprint:{}\r\n",
                peer.fingerprint()
            );
            let sdp = Sdp::parse(text.as_bytes()).unwrap();
            let section = sdp.media().next().unwrap().unwrap();
            let prints = Description::read(&sdp, &section).unwrap().fingerprints;
            let handshake = Handshake::new(identity, role, prints, 0);
            Self { handshake, sent: Vec::new(), outcome: None }
        }

        fn step(&mut self, datagram: Option<&[u8]>, now: u64) {
            let mut out = Vec::new();
            let send = &mut |packet: &[u8]| self.sent.push(packet.to_vec());
            let progress = self.handshake.step(datagram, now, &mut out, send);
            if progress != Progress::Going {
                assert_eq!(self.outcome.replace(progress), None, "an outcome comes once");
            }
        }
    }

    fn identity() -> Arc<Identity> {
        Arc::new(Identity::new(Instant::now()).unwrap())
    }

    /// Lets both ends talk for some virtual time; the network loses what `loses` says.
    fn talk(ends: &mut [End; 2], until: u64, mut loses: impl FnMut() -> bool) {
        let mut now = 0;
        while now < until {
            for of in 0..2 {
                if ends[of].handshake.next_ns() <= now && ends[of].outcome.is_none() {
                    ends[of].step(None, now);
                }
                for packet in std::mem::take(&mut ends[of].sent) {
                    let is_over = matches!(ends[1 - of].outcome, Some(Progress::Failed(_)));
                    if !loses() && !is_over {
                        ends[1 - of].step(Some(&packet), now);
                    }
                }
            }
            now += 10 * MS;
        }
    }

    #[test]
    fn lost_datagrams_are_sent_again() {
        let [a, b] = [identity(), identity()];
        for lost in 1..8 {
            let mut ends = [End::new(&a, Role::Client, &b), End::new(&b, Role::Server, &a)];
            let mut sent = 0;
            talk(&mut ends, 3_000 * MS, || {
                sent += 1;
                sent == lost
            });
            let [Some(Progress::Keys(client)), Some(Progress::Keys(server))] =
                ends.map(|end| end.outcome)
            else {
                panic!("no keys with datagram {lost} lost");
            };
            assert_eq!((client.ours, client.peers), (server.peers, server.ours));
        }
    }

    #[test]
    fn another_certificate_than_the_description_names_ends_it() {
        let [a, b, stranger] = [identity(), identity(), identity()];
        let mismatch = Some(Progress::Failed(HandshakeFault::DtlsFingerprint));
        let mut ends = [End::new(&a, Role::Client, &stranger), End::new(&b, Role::Server, &a)];
        talk(&mut ends, 1_000 * MS, || false);
        assert_eq!((&ends[0].outcome, &ends[1].outcome), (&mismatch, &None));
        let mut ends = [End::new(&a, Role::Client, &b), End::new(&b, Role::Server, &stranger)];
        talk(&mut ends, 1_000 * MS, || false);
        assert_eq!(ends[1].outcome, mismatch);
        assert!(!matches!(ends[0].outcome, Some(Progress::Keys(_))));
    }

    #[test]
    fn a_peer_that_is_silent_or_talks_nonsense_gives_no_keys() {
        let [a, b] = [identity(), identity()];
        let mut ends = [End::new(&a, Role::Client, &b), End::new(&b, Role::Server, &a)];
        talk(&mut ends, 20_000 * MS, || true);
        assert_eq!(ends[0].outcome, Some(Progress::Failed(HandshakeFault::DtlsTimedOut)));
        assert_eq!(ends[1].outcome, None, "nothing came");
        let mut client = End::new(&a, Role::Client, &b);
        client.step(None, 0);
        for noise in [&b""[..], &[22], &[20; 13], &[22; 500], &[0xff; 1200]] {
            client.step(Some(noise), MS);
        }
        assert!(!matches!(client.outcome, Some(Progress::Keys(_))));
    }
}

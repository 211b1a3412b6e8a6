//! The words of a session description about DTLS: certificates and roles (RFC 8122, RFC 8842).

use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};

use crate::sip::{Media, Sdp};

/// Length of the longest digest.
const DIGEST_MAX: usize = 64;
/// Most fingerprints that are kept: one for each certificate that the writer may show.
const PRINTS_MAX: usize = 2;
/// Most `fingerprint` attributes of a section that are read.
const LINES_MAX: usize = 16;

/// A hash of fingerprints, the weakest first. SHA-1 and older ones are not taken (RFC 8122
/// section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn from_name(name: &[u8]) -> Option<Self> {
        let known =
            [("sha-256", Self::Sha256), ("sha-384", Self::Sha384), ("sha-512", Self::Sha512)];
        let is = |&(text, _): &(&str, Self)| name.eq_ignore_ascii_case(text.as_bytes());
        known.into_iter().find(is).map(|(_, hash)| hash)
    }

    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Sha256 => &SHA256,
            Self::Sha384 => &SHA384,
            Self::Sha512 => &SHA512,
        }
    }
}

/// The digest of a certificate, as a description names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Print {
    hash: Hash,
    /// The digest, with zeros behind it.
    digest: [u8; DIGEST_MAX],
}

impl Print {
    /// Reads the value of a `fingerprint` attribute, such as `sha-256 12:DF:..`.
    fn parse(value: &[u8]) -> Option<Self> {
        let mut words = value.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let hash = Hash::from_name(words.next()?)?;
        let text = words.next()?;
        let len = hash.algorithm().output_len();
        let mut digest = [0; DIGEST_MAX];
        let mut bytes = text.split(|byte| *byte == b':');
        for place in &mut digest[..len] {
            let digits = std::str::from_utf8(bytes.next().filter(|digits| digits.len() == 2)?);
            *place = u8::from_str_radix(digits.ok()?, 16).ok()?;
        }
        (bytes.next().is_none() && words.next().is_none()).then_some(Self { hash, digest })
    }
}

/// The fingerprints of one side, all of its strongest hash (RFC 8122 section 5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprints([Option<Print>; PRINTS_MAX]);

impl Fingerprints {
    fn read<'m>(values: impl Iterator<Item = &'m [u8]>) -> Self {
        let mut prints = Self::default();
        for print in values.take(LINES_MAX).filter_map(Print::parse) {
            let strongest = prints.0[0].map(|first| first.hash);
            if strongest.is_none_or(|strongest| print.hash > strongest) {
                prints = Self([Some(print), None]);
            } else if strongest == Some(print.hash)
                && let Some(free) = prints.0.iter_mut().find(|place| place.is_none())
            {
                *free = Some(print);
            }
        }
        prints
    }

    /// Tells whether a certificate is one that the description names.
    pub fn name(&self, certificate: &[u8]) -> bool {
        let is_of = |print: &Print| {
            let found = digest(print.hash.algorithm(), certificate);
            print.digest.starts_with(found.as_ref())
        };
        self.0.iter().flatten().any(is_of)
    }

    /// True if no line of the description could be read.
    pub fn is_empty(&self) -> bool {
        self.0[0].is_none()
    }
}

/// The role that a side wants in the handshake (RFC 4145 section 4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Setup {
    /// Client.
    Active,
    /// Server.
    Passive,
    /// The other side may choose; also without a word.
    #[default]
    ActPass,
}

/// Our role in a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The side that begins.
    Client,
    /// The side that waits.
    Server,
}

/// The words of one side about DTLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The wanted role.
    pub setup: Setup,
    /// The certificates.
    pub fingerprints: Fingerprints,
}

impl Description {
    /// The words of a section, or of the session around it; `None` without a fingerprint.
    pub fn read(sdp: &Sdp<'_>, section: &Media<'_>) -> Option<Self> {
        let values = |name: &'static str| {
            let session = sdp.attributes().filter(move |(other, _)| *other == name.as_bytes());
            let session = session.filter_map(|(_, value)| value);
            let mut own = section.attribute(name).peekable();
            let has_own = own.peek().is_some();
            own.chain(session.filter(move |_| !has_own))
        };
        values("fingerprint").next()?;
        let setup = match values("setup").next() {
            Some(b"active") => Setup::Active,
            Some(b"passive") => Setup::Passive,
            _ => Setup::ActPass,
        };
        Some(Self { setup, fingerprints: Fingerprints::read(values("fingerprint")) })
    }
}

impl Role {
    /// Our role by what both sides want; `None` if both want the same one. If each leaves the
    /// choice to the other one, the answerer is the client, as RFC 8842 section 5.3 recommends.
    pub fn agreed(ours: Setup, peers: Setup, we_answer: bool) -> Option<Self> {
        match (ours, peers) {
            (Setup::Active, Setup::Active) | (Setup::Passive, Setup::Passive) => None,
            (Setup::Active, _) | (_, Setup::Passive) => Some(Self::Client),
            (Setup::Passive, _) | (_, Setup::Active) => Some(Self::Server),
            (Setup::ActPass, Setup::ActPass) if we_answer => Some(Self::Client),
            (Setup::ActPass, Setup::ActPass) => Some(Self::Server),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(session: &str, lines: &str) -> Option<Description> {
        let text =
            format!("v=0\r\nc=IN IP4 192.0.2.1\r\n{session}m=audio 9 RTP/SAVPF 0\r\n{lines}");
        let sdp = Sdp::parse(text.as_bytes()).unwrap();
        Description::read(&sdp, &sdp.media().next().unwrap().unwrap())
    }

    fn line(hash: &str, algorithm: &'static Algorithm, certificate: &[u8]) -> String {
        let digest = digest(algorithm, certificate);
        let bytes: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("a=fingerprint:{hash} {}\r\n", bytes.join(":"))
    }

    #[test]
    fn the_strongest_hash_names_the_certificates() {
        let [one, two] = [b"one", b"two"];
        let weak = line("sha-256", &SHA256, b"weak");
        let lines = [
            weak.clone(),
            line("SHA-384", &SHA384, one),
            line("sha-384", &SHA384, two),
            line("sha-384", &SHA384, b"one too many"),
            weak.clone(),
        ];
        let prints = read("", &lines.concat()).unwrap().fingerprints;
        assert!(prints.name(one) && prints.name(two));
        assert!(!prints.name(b"weak") && !prints.name(b"one too many") && !prints.name(b""));
        // Those of the session count where the section has none.
        let session = read(&format!("{weak}a=setup:active\r\n"), "").unwrap();
        assert!(session.fingerprints.name(b"weak") && session.setup == Setup::Active);
        let own = read(&weak, &format!("{}a=setup:passive\r\n", lines[1])).unwrap();
        assert!(own.fingerprints.name(one) && own.setup == Setup::Passive);
        assert!(read("", "a=setup:active\r\n").is_none());
    }

    #[test]
    fn fingerprints_that_cannot_be_read_name_nothing() {
        let good = line("sha-256", &SHA256, b"x");
        for bad in [
            "a=fingerprint:\r\n".to_owned(),
            good.replace("sha-256", "sha-1"),
            good.replace("sha-256", "sha-512"),
            good.replace("\r\n", ":00\r\n"),
            good.replace("\r\n", " x\r\n"),
            good.replacen(':', ":+", 2),
            good[..good.len() - 5].to_owned() + "\r\n",
        ] {
            let Some(read) = read("", &bad) else { continue };
            assert!(read.fingerprints.is_empty() && !read.fingerprints.name(b"x"), "{bad}");
        }
        let many = good.repeat(10_000);
        assert!(read("", &many).unwrap().fingerprints.name(b"x"));
    }

    #[test]
    fn roles_follow_from_both_sides() {
        use Setup::{ActPass, Active, Passive};
        for (ours, peers, we_answer, role) in [
            (ActPass, Active, false, Some(Role::Server)),
            (Active, ActPass, true, Some(Role::Client)),
            (ActPass, Passive, false, Some(Role::Client)),
            (Passive, ActPass, true, Some(Role::Server)),
            (ActPass, ActPass, true, Some(Role::Client)),
            (ActPass, ActPass, false, Some(Role::Server)),
            (Active, Active, true, None),
            (Passive, Passive, false, None),
        ] {
            assert_eq!(Role::agreed(ours, peers, we_answer), role, "{ours:?} {peers:?}");
        }
    }
}

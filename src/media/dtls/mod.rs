//! Keys of SRTP by a handshake over the media's own sockets (DTLS-SRTP, RFC 5764).
//!
//! The handshake is that of the `dimpl` crate, with the cryptography of `ring`, which TLS uses too.
//! Certificates are self-signed: a session description names their fingerprint. The version is 1.2,
//! which every peer has to know (RFC 8827 section 6.5), and whose handshakes are the cheapest.

mod certificate;
mod der;
mod description;
mod handshake;
mod keying;
mod provider;

use dimpl::SrtpProfile;

use super::crypto::Keys;
use super::srtp::{MasterKey, Suite};

pub use certificate::{fingerprint, self_signed};
pub use description::{Description, Fingerprints, Role, Setup};
pub use handshake::{Handshake, IceSecrets, Identity, IdentityError, Progress};
pub(super) use keying::Keying;
pub use provider::provider;

/// The keys of both directions out of a handshake, for its client or its server; `None` if the
/// material is too short, or the profile is unknown.
pub fn keys(material: &[u8], profile: SrtpProfile, is_client: bool) -> Option<Keys> {
    let suite = match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Suite::AesCm128HmacSha1_80,
        SrtpProfile::AEAD_AES_128_GCM => Suite::AeadAes128Gcm,
        SrtpProfile::AEAD_AES_256_GCM => Suite::AeadAes256Gcm,
        _ => return None,
    };
    // The client's key, the server's key, and their salts (RFC 5764 section 4.2).
    let (keys, salts) = material.split_at_checked(2 * suite.key_len())?;
    let (client, server) = keys.split_at(suite.key_len());
    let (client_salt, server_salt) = salts.split_at_checked(suite.salt_len())?;
    let client = MasterKey::new(suite, &[client, client_salt].concat())?;
    let server = MasterKey::new(suite, &[server, server_salt].concat())?;
    let (ours, peers) = if is_client { (client, server) } else { (server, client) };
    Some(Keys { ours, peers })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use dimpl::{Config, Dtls, DtlsCertificate, Output};

    use super::*;
    use crate::media::srtp::{SrtpReceiver, SrtpSender, TRAILER_MAX};

    /// The outcome of one end of a handshake.
    #[derive(Default)]
    struct End {
        packets: Vec<Vec<u8>>,
        material: Option<(Vec<u8>, SrtpProfile)>,
        peer: Option<Vec<u8>>,
        is_connected: bool,
    }

    impl End {
        fn poll(&mut self, dtls: &mut Dtls) {
            let mut buffer = vec![0; 2_000];
            loop {
                match dtls.poll_output(&mut buffer) {
                    Output::Packet(packet) => self.packets.push(packet.to_vec()),
                    Output::Connected => self.is_connected = true,
                    Output::PeerCert(certificate) => self.peer = Some(certificate.to_vec()),
                    Output::KeyingMaterial(material, profile) => {
                        self.material = Some((material.to_vec(), profile));
                    }
                    Output::Timeout(_) => return,
                    _ => {}
                }
            }
        }
    }

    /// Runs a handshake in memory.
    fn shake_hands(mut client: Dtls, mut server: Dtls, now: Instant) -> (End, End) {
        client.set_active(true);
        let (mut here, mut there) = (End::default(), End::default());
        client.handle_timeout(now).unwrap();
        server.handle_timeout(now).unwrap();
        for _ in 0..10 {
            here.poll(&mut client);
            for packet in here.packets.drain(..) {
                server.handle_packet(&packet).unwrap();
            }
            there.poll(&mut server);
            for packet in there.packets.drain(..) {
                client.handle_packet(&packet).unwrap();
            }
            if here.is_connected && there.is_connected {
                break;
            }
        }
        (here, there)
    }

    fn check(new: fn(Arc<Config>, DtlsCertificate, Instant) -> Dtls) {
        // Building it checks the provider against the crate's own vectors.
        let config = Config::builder().with_crypto_provider(provider()).build().unwrap();
        let (config, now) = (Arc::new(config), Instant::now());
        let certificates = [self_signed().unwrap(), self_signed().unwrap()];
        let [client, server] =
            certificates.each_ref().map(|own| new(Arc::clone(&config), own.clone(), now));
        let (client, server) = shake_hands(client, server, now);
        assert!(client.is_connected && server.is_connected);
        assert_eq!(server.peer.as_ref(), Some(&certificates[0].certificate));
        assert_eq!(client.peer.as_ref(), Some(&certificates[1].certificate));

        let of = |end: &End, is_client| {
            let (material, profile) = end.material.as_ref().unwrap();
            keys(material, *profile, is_client).unwrap()
        };
        let (client, server) = (of(&client, true), of(&server, false));
        assert_ne!(client.ours, client.peers);
        for (sends, receives) in [(client, server), (server, client)] {
            let mut packet = [0x80; 100 + TRAILER_MAX];
            let len = SrtpSender::new(&sends.ours).protect(&mut packet, 100).unwrap();
            let read = SrtpReceiver::new(&receives.peers).unprotect(&mut packet[..len]);
            assert_eq!(read, Ok(100));
        }
    }

    #[test]
    fn both_ends_of_dtls_1_2_come_to_the_same_keys() {
        check(Dtls::new_12);
    }

    #[test]
    fn both_ends_of_dtls_1_3_come_to_the_same_keys() {
        check(Dtls::new_13);
    }

    #[test]
    fn material_that_is_too_short_gives_no_keys() {
        let material = [7; 64];
        for profile in SrtpProfile::ALL {
            let len = profile.keying_material_len().min(64);
            assert!(keys(&material[..len - 1], *profile, true).is_none());
        }
    }
}

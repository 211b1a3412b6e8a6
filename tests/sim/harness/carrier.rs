//! The transport of a side's messages where they are not datagrams.

use gossipper::dataplane::Reconnect;
use gossipper::stream::{Identity, TlsSettings, TlsVersions};

/// The use of connections by a side.
#[derive(Clone)]
pub struct Streams {
    /// Most connections, one for each call; `None` if all calls share one.
    pub per_call: Option<usize>,
    pub reconnect: Reconnect,
    pub websocket: bool,
    pub tls: Option<TlsSettings>,
}

impl Streams {
    /// One connection for all calls, never opened again.
    pub fn shared() -> Self {
        let reconnect = Reconnect { max: Some(0), fails_calls: true, sleep_ns: 1_000_000_000 };
        Self { per_call: None, reconnect, websocket: false, tls: None }
    }

    /// A connection for each call.
    pub fn per_call(max: usize) -> Self {
        Self { per_call: Some(max), ..Self::shared() }
    }

    /// As [`shared`](Self::shared), in TLS. Either side can be the server, and believes any peer.
    pub fn tls() -> Self {
        let chain = include_bytes!("../../certs/server.pem");
        let key = include_bytes!("../../certs/server-key.pem");
        let identity = Identity::from_pem(chain, key).expect("a certificate and its key");
        let tls = TlsSettings {
            identity: Some(identity),
            trust: None,
            versions: TlsVersions::Both,
            resume: true,
            key_log: None,
        };
        Self { tls: Some(tls), ..Self::shared() }
    }
}

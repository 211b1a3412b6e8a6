//! Configuration of a worker's media. Everything is resolved and checked before it gets here.

use std::net::IpAddr;
use std::sync::Arc;

use super::dtls::Identity;
use super::tap::Form;
use super::turn::Account;
pub use crate::gate::Gate;

/// The way in which streams share sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Each track has a port for RTP and one for RTCP.
    #[default]
    Ports,
    /// All tracks of a worker share one unconnected socket for RTP and one for RTCP. What comes is
    /// told apart by source and SSRC. Equal lengths to one destination leave as trains.
    Shared,
}

/// The times of our RTCP reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RtcpInterval {
    /// Every 5 s, with the spread of RFC 3550 section 6.2; the first one after half of that.
    #[default]
    Standard,
    /// This many nanoseconds apart.
    Fixed(u64),
    /// No reports.
    Off,
}

/// The recordings that a run makes, apart from those that scenarios ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recordings {
    /// The form of a file of audio for each call.
    pub audio: Option<Form>,
    /// True for a file with the packets of each call.
    pub packets: bool,
    /// Only the first of so many calls is recorded, and the first of the next; 0 and 1 record each.
    pub every: u64,
    /// True if only files of calls are kept that failed, or in which one side did not hear the
    /// other.
    pub only_bad: bool,
}

/// Configuration of one worker's media.
#[derive(Clone, Debug)]
pub struct MediaConfig {
    /// This worker, from 0.
    pub worker: usize,
    /// Number of workers that share the range of ports.
    pub workers: usize,
    /// Seeds SSRCs, first sequence numbers and timestamps; the same on all workers.
    pub seed: u64,
    /// Unix time minus monotonic time.
    pub wall_offset_ns: u64,
    /// Address of our sockets (`-mi`).
    pub ip: IpAddr,
    /// First port of the range (`-min_rtp_port`).
    pub port_min: u16,
    /// Last port of the range (`-max_rtp_port`).
    pub port_max: u16,
    /// The way in which streams share sockets (`-rtp_shared`).
    pub mode: Mode,
    /// Most legs of the worker at one time.
    pub legs_max: usize,
    /// Network interface to bind to.
    pub device: Option<String>,
    /// The times of RTCP reports.
    pub rtcp: RtcpInterval,
    /// Payload type of sources without a negotiated one (`-rtp_payload`).
    pub payload_type: Option<u8>,
    /// True if every leg sends back what it receives (`-rtp_echo`).
    pub echo: bool,
    /// Share of bad packets, 0 to 1, from which the check of a pattern fails, for audio and video;
    /// beyond 1 none fails (`-audiotolerance`, `-videotolerance`).
    pub pattern_tolerances: [f64; 2],
    /// Recordings; `None` if the run makes none, and no scenario asks for one.
    pub recordings: Option<Recordings>,
    /// True if descriptions of peers that ask for SRTP are refused (`-media_reject_srtp`).
    pub rejects_srtp: bool,
    /// The certificate of handshakes that give keys (DTLS-SRTP); `None` if there are none.
    pub identity: Option<Arc<Identity>>,
    /// The relay that all streams go through (`-turn_server`).
    pub relay: Option<Arc<Account>>,
    /// The gate for targets of scenarios that the run began with; `None` lets every address pass.
    pub gate: Option<Arc<dyn Gate>>,
    /// The gate for targets of scenarios that were sent to the run.
    pub gate_for_sent: Option<Arc<dyn Gate>>,
}

impl MediaConfig {
    /// The configuration of a single worker whose media is on `ip`.
    pub fn new(ip: IpAddr) -> Self {
        Self {
            worker: 0,
            workers: 1,
            seed: 1,
            wall_offset_ns: 0,
            ip,
            port_min: 6000,
            port_max: u16::MAX,
            mode: Mode::Ports,
            legs_max: 1024,
            device: None,
            rtcp: RtcpInterval::Standard,
            payload_type: None,
            echo: false,
            pattern_tolerances: [1.0; 2],
            recordings: None,
            rejects_srtp: false,
            identity: None,
            relay: None,
            gate: None,
            gate_for_sent: None,
        }
    }
}

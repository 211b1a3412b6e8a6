//! RTP without SIP (`-rtp_send`): what is sent, and what a run of it is made of.

use super::draft::RATE_DEFAULT;
use super::error::ConfigError;
use super::run::Transport;
use super::table::RunDraft;
use super::value::{HostPort, ValueError};

/// The name of the scenario that is made of these settings.
pub const RTP_SEND: &str = "rtp_send";

/// Streams of RTP without SIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpSend {
    /// Encoding as in SDP (not yet looked up).
    pub codec: String,
    /// Payload type; `None` for that of the encoding.
    pub payload_type: Option<u8>,
    /// Channels; `None` for those of the encoding.
    pub channels: Option<u8>,
    /// Time between packets in milliseconds; `None` for that of the encoding.
    pub interval_ms: Option<u64>,
    /// Duration of a stream in milliseconds; `None` lasts until the run is stopped.
    pub duration_ms: Option<u64>,
    /// Streams at a time (at least 1).
    pub streams: u64,
    /// The source that is played, as `rtp_stream=` writes it; `None` for a tone, or a pattern of
    /// video.
    pub source: Option<String>,
}

/// The given settings of RTP without SIP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The fields are those of `RtpSend`, documented there.
pub struct RtpSendDraft {
    /// True if the run has no SIP.
    pub is_on: bool,
    /// The place that all streams are sent to.
    pub target: Option<HostPort>,
    pub codec: Option<String>,
    pub payload_type: Option<u8>,
    pub channels: Option<u8>,
    pub interval_ms: Option<u64>,
    pub duration_ms: Option<u64>,
    pub streams: Option<u64>,
    pub source: Option<String>,
}

impl RtpSendDraft {
    /// The settings, if the run has no SIP.
    pub(super) fn resolve(&self) -> Option<RtpSend> {
        self.is_on.then(|| RtpSend {
            codec: self.codec.clone().unwrap_or_else(|| "PCMU/8000".to_owned()),
            payload_type: self.payload_type,
            channels: self.channels,
            interval_ms: self.interval_ms,
            duration_ms: self.duration_ms,
            streams: self.streams_or_one(),
            source: self.source.clone(),
        })
    }

    /// Streams at a time, if the run has no SIP.
    pub(super) fn streams(&self) -> Option<u64> {
        self.is_on.then(|| self.streams_or_one())
    }

    fn streams_or_one(&self) -> u64 {
        self.streams.unwrap_or(1).max(1)
    }

    /// The first setting that has no meaning in a run with SIP.
    fn given(&self) -> Option<&'static str> {
        let Self { target, codec, payload_type, channels, interval_ms, .. } = self;
        let all = [
            ("rtp_addr", target.is_some()),
            ("rtp_codec", codec.is_some()),
            ("rtp_pt", payload_type.is_some()),
            ("rtp_ch", channels.is_some()),
            ("rtp_freq", interval_ms.is_some()),
            ("rtp_dur", self.duration_ms.is_some()),
            ("rtp_streams", self.streams.is_some()),
            ("rtp_source", self.source.is_some()),
        ];
        all.into_iter().find(|&(_, is_given)| is_given).map(|(option, _)| option)
    }
}

/// Reads the target of streams, which has a port.
///
/// # Errors
/// The text is no host with a port.
pub fn parse_rtp_target(text: &str) -> Result<HostPort, ValueError> {
    let target = HostPort::parse_with_port(text, 1)?;
    if HostPort::parse_with_port(text, 2)?.port != target.port {
        let reason = "RTP has no port of its own; write it behind the host, as in 192.0.2.1:6000";
        return Err(ValueError::NotAnEndpoint { text: text.to_owned(), reason });
    }
    Ok(target)
}

impl RunDraft {
    /// Checks that what is given for RTP without SIP is whole, and that nothing is given beside it
    /// that only SIP has.
    pub(super) fn check_rtp_send(&self) -> Result<(), ConfigError> {
        let needs = |option, needed, why| Err(ConfigError::Needs { option, needed, why });
        if !self.rtp_send.is_on {
            let why = "it is about RTP without SIP; media of calls is that of the scenario";
            return self.rtp_send.given().map_or(Ok(()), |option| needs(option, "rtp_send", why));
        }
        if self.rtp_send.target.is_none() {
            return needs("rtp_send", "rtp_addr HOST:PORT", "streams need a target");
        }
        let transport = self.transport.is_some_and(|transport| transport != Transport::UdpMono);
        let has_peer = self.rsa.is_some() || self.remote.is_some();
        let beside: [(&'static str, bool, &'static str); 13] = [
            ("sf", self.scenario_file.is_some(), NO_SCENARIO),
            ("sn", self.scenario_name.is_some(), NO_SCENARIO),
            ("rxsf", self.receiving_file.is_some(), NO_SCENARIO),
            ("rxrn", self.receiving_name.is_some(), NO_SCENARIO),
            ("oocsf", self.out_of_call_file.is_some(), NO_SCENARIO),
            ("oocsn", self.out_of_call_name.is_some(), NO_SCENARIO),
            ("3pcc", self.third_party.is_some(), NO_SCENARIO),
            ("master", self.master.is_some(), NO_SCENARIO),
            ("slave", self.slave.is_some(), NO_SCENARIO),
            ("t", transport, "no message of SIP is sent; drop -t"),
            ("rsa", has_peer, "-rtp_addr is the only target; drop the other one"),
            ("l", self.concurrent_max.is_some(), "-rtp_streams sets how many are open; drop -l"),
            ("users", self.users.is_some(), "-rtp_streams sets how many are open; drop -users"),
        ];
        match beside.into_iter().find(|&(_, is_given, _)| is_given) {
            Some((second, _, why)) => Err(ConfigError::Exclusive { first: RTP_SEND, second, why }),
            None => Ok(()),
        }
    }

    /// Decides what follows from RTP without SIP: its target is the peer of the run, and the socket
    /// of SIP, which carries nothing, takes no port that another program would want.
    pub(super) fn settle_rtp_send(&mut self) {
        if self.rtp_send.is_on {
            self.remote = self.rtp_send.target.clone();
            self.local_port.get_or_insert(0);
        }
    }

    /// Calls started per period by default: all streams begin within one, spread over it.
    pub(super) fn rate_default(&self) -> f64 {
        self.rtp_send.streams().map_or(RATE_DEFAULT, |streams| (streams as f64).max(RATE_DEFAULT))
    }
}

const NO_SCENARIO: &str = "streams without SIP have no scenario; drop one of them";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CallLimit, ConcurrencyLimit, Flavor, ScenarioSource};

    fn draft(change: impl FnOnce(&mut RunDraft)) -> RunDraft {
        let mut draft = RunDraft::default();
        draft.rtp_send.is_on = true;
        draft.rtp_send.target = parse_rtp_target("192.0.2.1:6000").ok();
        change(&mut draft);
        draft
    }

    #[test]
    fn streams_are_calls_that_all_begin_within_a_period() {
        let config = draft(|draft| draft.rtp_send.streams = Some(500));
        let config = config.resolve(Flavor::Gossipper).unwrap();
        assert_eq!(config.rate, 500.0);
        assert_eq!(config.calls_total, CallLimit::Count(500));
        assert_eq!(config.concurrent_max, ConcurrencyLimit::Count(500));
        assert_eq!(config.scenario, ScenarioSource::Builtin(RTP_SEND.to_owned()));
        assert_eq!(config.remote.unwrap().to_string(), "192.0.2.1:6000");
        // One stream after the other.
        let many = draft(|draft| (draft.calls_total, draft.rate) = (Some(9), Some(2.0)));
        let many = many.resolve(Flavor::Sipp).unwrap();
        assert_eq!((many.calls_total, many.rate), (CallLimit::Count(9), 2.0));
        assert_eq!(many.concurrent_max, ConcurrencyLimit::Count(1));
    }

    #[test]
    fn what_only_sip_has_is_refused_beside_it() {
        let refused = |change: fn(&mut RunDraft)| {
            draft(change).resolve(Flavor::Gossipper).unwrap_err().to_string()
        };
        for (text, part) in [
            (refused(|draft| draft.rtp_send.target = None), "-rtp_send needs -rtp_addr HOST:PORT"),
            (refused(|draft| draft.scenario_name = Some("uac".into())), "-rtp_send and -sn"),
            (refused(|draft| draft.transport = Some(Transport::TcpMono)), "-rtp_send and -t "),
            (refused(|draft| draft.concurrent_max = Some(2)), "drop -l"),
            (
                refused(|draft| {
                    draft.rtp_send.is_on = false;
                    draft.rtp_send.target = None;
                    draft.rtp_send.streams = Some(2);
                }),
                "-rtp_streams needs -rtp_send",
            ),
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_target_has_a_port() {
        assert_eq!(parse_rtp_target("[::1]:7000").unwrap().port, 7000);
        for text in ["192.0.2.1", "::1", "host", "host:0", "host:70000", ""] {
            assert!(parse_rtp_target(text).is_err(), "{text}");
        }
    }
}

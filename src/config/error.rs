//! Errors of a configuration as a whole: options that contradict each other.

use std::net::IpAddr;

use super::value::HostPort;

/// The reason why the options together do not describe a run. Options are named as on the command
/// line.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// Two options exclude each other.
    #[error("-{first} and -{second} exclude each other: {why}")]
    Exclusive {
        /// One of the options.
        first: &'static str,
        /// The other one.
        second: &'static str,
        /// The reason, and the option to drop.
        why: &'static str,
    },
    /// An option has no effect without another one.
    #[error("-{option} needs -{needed}: {why}")]
    Needs {
        /// The option.
        option: &'static str,
        /// The missing option, without its dash.
        needed: &'static str,
        /// The reason why it is needed.
        why: &'static str,
    },
    /// An option of the process was given to a run.
    #[error("-{option} is an option of the server: write gossipper server -{option} ...")]
    OnlyServer {
        /// The option.
        option: &'static str,
    },
    /// The ceiling of the ramp is below its start.
    #[error("-rate_max {rate_max} is below -r {rate}; raise -rate_max or lower -r")]
    RateMaxBelowRate {
        /// Calls per period at the start.
        rate: f64,
        /// Calls per period at the end.
        rate_max: f64,
    },
    /// The RTP port range is empty.
    #[error(
        "-min_rtp_port {min} is above -max_rtp_port {max}; give a range with at least one port"
    )]
    RtpPortsReversed {
        /// First port.
        min: u16,
        /// Last port.
        max: u16,
    },
    /// The limit of open calls exceeds the size of the call pool.
    #[error("-{option} {wanted} does not fit into -max_calls {max_calls}; raise -max_calls")]
    PoolTooSmall {
        /// The option that asks for more.
        option: &'static str,
        /// Calls open at once.
        wanted: u64,
        /// Calls in the pool.
        max_calls: u64,
    },
    /// The list has fewer CPUs than there are workers.
    #[error("-cpus names {cpus} CPUs for -workers {workers}; name one CPU for each worker")]
    TooFewCpus {
        /// CPUs in the list.
        cpus: usize,
        /// Workers asked for.
        workers: usize,
    },
    /// No peer can be verified without authorities.
    #[error(
        "-{option} needs -tls_ca: name the authorities to trust, as in -tls_ca \
         /etc/ssl/certs/ca-certificates.crt"
    )]
    NeedsAuthorities {
        /// The option that wants to verify.
        option: &'static str,
    },
    /// An IPv4 address cannot send to an IPv6 one, or the other way round.
    #[error("-i {local} cannot reach {remote}: give both as IPv4 or both as IPv6")]
    AddressFamily {
        /// The local address.
        local: IpAddr,
        /// The destination of the calls.
        remote: HostPort,
    },
}

impl ConfigError {
    /// A short, stable name of the kind of error.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Exclusive { .. } => "exclusive_options",
            Self::Needs { .. } => "missing_option",
            Self::OnlyServer { .. } => "only_server",
            Self::RateMaxBelowRate { .. } => "rate_max_below_rate",
            Self::RtpPortsReversed { .. } => "rtp_ports_reversed",
            Self::PoolTooSmall { .. } => "pool_too_small",
            Self::TooFewCpus { .. } => "too_few_cpus",
            Self::NeedsAuthorities { .. } => "needs_authorities",
            Self::AddressFamily { .. } => "address_family",
        }
    }
}

//! Options about addresses, ports, sockets and transports.

use crate::config::{HostPort, RunDraft, Transport, ValueError, parse_ip, parse_ipv4};

use super::{Accept, FlagGroup, later, refused, switch, takes, within};

const SCTP: &str = "SCTP is not supported; use UDP (-t u1 or -t un)";
const TLS: &str = "TLS";
const STREAM: &str = "TCP and TLS";
const TWIN: &str = "third-party call control (3PCC)";

pub(super) const GROUP: FlagGroup = FlagGroup {
    title: "Addressing",
    flags: &[
        takes(
            "t",
            &["MODE"],
            Accept::Parsed(transport),
            "Transport: u1 is one UDP socket for all calls, un is one for each call",
        )
        .default("u1"),
        takes(
            "i",
            &["IP"],
            Accept::Parsed(|d, v| parse_ip(v).map(|ip| d.local_ip = Some(ip))),
            "Local IP address, in headers and for listening",
        )
        .default("the one that routes to the peer"),
        takes(
            "p",
            &["PORT"],
            within(0, u16::MAX as u64, |d, v| d.local_port = Some(v as u16)),
            "Local SIP port; 0 lets the kernel choose",
        )
        .default("first free one of 5060 to 5119, else the kernel's choice"),
        takes(
            "rsa",
            &["HOST[:PORT]"],
            Accept::Parsed(|d, v| HostPort::parse(v).map(|hop| d.rsa = Some(hop))),
            "Send here, whatever the headers say",
        )
        .default("the remote host"),
        switch("bind_local", |d| d.bind_local = true, "Bind sending sockets to the address of -i"),
        takes(
            "max_socket",
            &["N"],
            within(1, u32::MAX as u64, |d, v| d.max_sockets = Some(v as u32)),
            "With -t un: sockets to open at most, which calls then share",
        )
        .default("50000"),
        takes(
            "buff_size",
            &["BYTES"],
            within(1, i32::MAX as u64, |d, v| d.socket_buffer_bytes = Some(v as u32)),
            "Send and receive buffer of each socket (as sipp: 65536)",
        )
        .default("16777216"),
        switch(
            "skip_rlimit",
            |d| d.skip_rlimit = true,
            "Leave the limit of open files (RLIMIT_NOFILE) alone",
        ),
        later("bind_to_device", &["DEVICE"], "SO_BINDTODEVICE", "Bind sockets to an interface"),
        takes(
            "ci",
            &["IP"],
            Accept::Parsed(|d, v| parse_ipv4(v).map(|ip| d.control_ip = Some(ip))),
            "Address of the control socket (IPv4)",
        )
        .default("all"),
        takes(
            "cp",
            &["PORT"],
            within(0, u16::MAX as u64, |d, v| d.control_port = Some(v as u16)),
            "Take keys and commands on this UDP port: see the guide",
        )
        .default("closed; as sipp first free one of 8888 to 8947"),
        later("sendbuffer_warn", &["BOOL"], STREAM, "Warn when a send buffer is full"),
        later("3pcc", &["HOST[:PORT]"], TWIN, "Address of the twin process"),
        later("master", &["NAME"], TWIN, "Name of this master"),
        later("slave", &["NAME"], TWIN, "Name of this slave"),
        later("slave_cfg", &["FILE"], TWIN, "Addresses of all peers"),
        later("cmd_name", &["NAME"], TWIN, "Name of this process among its peers").ours(),
        later("cmd_peers", &["FILE"], TWIN, "Addresses of all peers").ours(),
    ],
};

pub(super) const STREAMS: FlagGroup = FlagGroup {
    title: "TCP, TLS and SCTP",
    flags: &[
        later("max_reconnect", &["N"], STREAM, "Attempts to reconnect"),
        later("reconnect_close", &["BOOL"], STREAM, "End calls when their connection breaks"),
        later("reconnect_sleep", &["TIME"], STREAM, "Wait before reconnecting"),
        later("tls_cert", &["FILE"], TLS, "Certificate"),
        later("tls_key", &["FILE"], TLS, "Private key"),
        later("tls_ca", &["FILE"], TLS, "Authorities to trust"),
        later("tls_crl", &["FILE"], TLS, "Revoked certificates"),
        later("tls_version", &["VERSION"], TLS, "Version to speak"),
        later("tls_skip_verify", &["BOOL"], TLS, "Trust any certificate").ours(),
        refused("multihome", &["IP"], SCTP, "Second local address"),
        refused("heartbeat", &["MS"], SCTP, "Heartbeat interval"),
        refused("assocmaxret", &["N"], SCTP, "Retransmissions of an association"),
        refused("pathmaxret", &["N"], SCTP, "Retransmissions of a path"),
        refused("pmtu", &["N"], SCTP, "Path MTU"),
        refused("gracefulclose", &["BOOL"], SCTP, "Shut associations down in order"),
    ],
};

fn transport(draft: &mut RunDraft, text: &str) -> Result<(), ValueError> {
    let mode = text.to_ascii_lowercase();
    let why = match mode.as_str() {
        "u1" => {
            draft.transport = Some(Transport::UdpMono);
            return Ok(());
        }
        "un" => {
            draft.transport = Some(Transport::UdpMulti);
            return Ok(());
        }
        "ui" => "one UDP socket for each address of an injection file: not in this version",
        "t1" | "tn" => "TCP: not in this version",
        "l1" | "ln" | "sl" | "cl" | "cln" => "TLS: not in this version",
        "w1" | "wn" | "ws1" | "wsn" => "SIP over WebSocket: not in this version",
        "s1" | "sn" => "SCTP: not supported",
        "c1" | "cn" => "compressed UDP: not supported",
        _ => "unknown",
    };
    Err(ValueError::TransportUnavailable { mode: text.to_owned(), why })
}

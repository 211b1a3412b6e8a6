//! Options about addresses, ports, sockets and transports.

use crate::config::{
    HostPort, RunDraft, TlsVersion, Transport, TransportFor, ValueError, parse_bool, parse_ip,
    parse_ipv4,
};

use super::{Accept, FlagGroup, alias, choice, milliseconds, refused, switch, takes, within};

const SCTP: &str = "SCTP is not supported; use UDP (-t u1) or TCP (-t t1)";
/// Port of controller B by default.
const THIRD_PARTY_PORT: u16 = 6060;

pub(super) const GROUP: FlagGroup = FlagGroup {
    title: "Addressing",
    flags: &[
        takes(
            "t",
            &["MODE"],
            Accept::Parsed(transport),
            "Transport: u1 t1 l1 w1 ws1 is one UDP socket or TCP, TLS, WebSocket, secure WebSocket \
             connection for all calls; un tn ln wn wsn is one for each call; ui is one UDP socket for \
             each address in the -inf file (-ip_field); cl cln (client) and sl (server) are l1 ln \
             l1",
        )
        .default("u1"),
        takes(
            "i",
            &["IP"],
            Accept::Parsed(|d, v| parse_ip(v).map(|ip| d.local_ip = Some(ip))),
            "Local IP address: in headers, and to listen, send and connect",
        )
        .default("the one that routes to the peer"),
        takes(
            "p",
            &["PORT"],
            within(0, u16::MAX as u64, |d, v| d.local_port = Some(v as u16)),
            "Local SIP port; 0 lets the kernel choose. A connection that all calls share (t1 l1 w1 ws1) \
             leaves from it too",
        )
        .default("first free one of 5060 to 5119, else the kernel's choice"),
        takes(
            "rsa",
            &["HOST[:PORT]"],
            Accept::Parsed(|d, v| HostPort::parse(v).map(|hop| d.rsa = Some(hop))),
            "Send to this address instead of that in the headers",
        )
        .default("the remote host"),
        switch(
            "bind_local",
            |d| d.bind_local = true,
            "Listen on and send from the local address only, also where -i gives none",
        ),
        takes(
            "max_socket",
            &["N"],
            within(1, u32::MAX as u64, |d, v| d.max_sockets = v as u32),
            "Most sockets or connections where each call has its own; further calls share them",
        )
        .default("50000"),
        takes(
            "buff_size",
            &["BYTES"],
            within(1, i32::MAX as u64, |d, v| d.socket_buffer_bytes = Some(v as u32)),
            "Send and receive buffer of each socket; the kernel sizes those of connections unless this \
             is given",
        )
        .default("16777216"),
        switch(
            "skip_rlimit",
            |d| d.skip_rlimit = true,
            "Do not raise the limit of open files (RLIMIT_NOFILE)",
        ),
        takes(
            "bind_to_device",
            &["DEVICE"],
            Accept::Parsed(device),
            "Bind sockets to a network interface (SO_BINDTODEVICE)",
        ),
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
            "Accept keys and commands on this UDP port: see the guide",
        )
        .default("closed; as sipp first free one of 8888 to 8947"),
        takes(
            "3pcc",
            &["HOST[:PORT]"],
            Accept::Parsed(|d, v| {
                HostPort::parse_with_port(v, THIRD_PARTY_PORT).map(|third_party| d.third_party = Some(third_party))
            }),
            "Control calls together with a twin (third-party call control): the address at which \
             controller B listens; the scenario decides whether this is A or B (port 6060 if none \
             is given)",
        ),
        takes(
            "master",
            &["NAME"],
            Accept::Text(|d, v| d.master = Some(v)),
            "Control calls together with several instances, as the one called NAME that sends the \
             first command",
        ),
        takes(
            "slave",
            &["NAME"],
            Accept::Text(|d, v| d.slave = Some(v)),
            "Control calls together with several instances, as one called NAME that waits for a \
             command",
        ),
        takes(
            "slave_cfg",
            &["FILE"],
            Accept::Path(|d, v| d.instances_file = Some(v)),
            "All instances, a line each: NAME;HOST:PORT",
        ),
        takes(
            "cmd_name",
            &["NAME"],
            Accept::Text(|d, v| d.instance_name = Some(v)),
            "Same as -master NAME or -slave NAME, whichever the scenario is for",
        )
        .ours(),
        alias("cmd_peers", "slave_cfg").ours(),
    ],
};

pub(super) const STREAMS: FlagGroup = FlagGroup {
    title: "TCP, TLS, WebSocket and SCTP",
    flags: &[
        takes(
            "max_reconnect",
            &["N"],
            Accept::CountOrOff(reconnects),
            "Attempts of each worker to open lost connections again; -1 for no limit",
        )
        .default("0"),
        takes(
            "reconnect_close",
            &["BOOL"],
            Accept::Parsed(|d, v| parse_bool(v).map(|close| d.reconnect.fails_calls = Some(close))),
            "Fail the calls of a lost connection that is opened again; false lets them go on",
        )
        .default("true"),
        takes(
            "reconnect_sleep",
            &["TIME"],
            milliseconds(0, |d, v| d.reconnect.sleep_ms = Some(v)),
            "Wait before a lost connection is opened again",
        )
        .default("1000"),
        takes(
            "sendbuffer_warn",
            &["BOOL"],
            Accept::Parsed(|d, v| parse_bool(v).map(|warns| d.rules.congestion_warns = warns)),
            "Only warn about a message that a connection has no room for, instead of failing its call",
        )
        .default("false"),
        takes(
            "tls_cert",
            &["FILE"],
            Accept::Path(|d, v| d.tls.cert = Some(v)),
            "Certificate to present, then its intermediate certificates (PEM)",
        )
        .default("cacert.pem; a client may run without"),
        takes(
            "tls_key",
            &["FILE"],
            Accept::Path(|d, v| d.tls.key = Some(v)),
            "Private key of the certificate (PEM, not encrypted)",
        )
        .default("cakey.pem; a client may run without"),
        takes(
            "tls_ca",
            &["FILE"],
            Accept::Path(|d, v| d.tls.ca = Some(v)),
            "Verify the peer against these authorities (PEM); a server then demands a certificate",
        )
        .default("peers are not verified"),
        takes(
            "tls_crl",
            &["FILE"],
            Accept::Path(|d, v| d.tls.crl = Some(v)),
            "Revoked certificates (PEM); needs -tls_ca",
        ),
        takes(
            "tls_version",
            &["VERSION"],
            Accept::Parsed(tls_version),
            "Version of TLS to speak: 1.2, 1.3, or 0 for either",
        )
        .default("0"),
        takes(
            "tls_skip_verify",
            &["BOOL"],
            Accept::Parsed(|d, v| parse_bool(v).map(|skip| d.tls.skip_verify = Some(skip))),
            "Trust any certificate, even with -tls_ca",
        )
        .default("true without -tls_ca, false with it")
        .ours(),
        switch(
            "tls_resume",
            |d| d.tls.resume = true,
            "As a client, resume earlier TLS sessions instead of making each handshake a full one",
        )
        .ours(),
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
    let (transport, whom) = match mode.as_str() {
        "u1" => (Transport::UdpMono, None),
        "un" => (Transport::UdpMulti, None),
        "ui" => (Transport::UdpPerAddress, None),
        "t1" => (Transport::TcpMono, None),
        "tn" => (Transport::TcpMulti, None),
        "l1" => (Transport::TlsMono, None),
        "ln" => (Transport::TlsMulti, None),
        "w1" => (Transport::WsMono, None),
        "wn" => (Transport::WsMulti, None),
        "ws1" => (Transport::WssMono, None),
        "wsn" => (Transport::WssMulti, None),
        "sl" => (Transport::TlsMono, Some(TransportFor::Servers)),
        "cl" => (Transport::TlsMono, Some(TransportFor::Clients)),
        "cln" => (Transport::TlsMulti, Some(TransportFor::Clients)),
        _ => {
            let why = match mode.as_str() {
                "s1" | "sn" => "SCTP: not supported; for UDP give u1 or un",
                "c1" | "cn" => "compressed UDP: not supported",
                _ => "unknown",
            };
            return Err(ValueError::TransportUnavailable { mode: text.to_owned(), why });
        }
    };
    draft.transport = Some(transport);
    draft.transport_for = whom;
    Ok(())
}

/// Reads the version in SIPp's numbers; 0 leaves the choice to the handshake.
fn tls_version(draft: &mut RunDraft, text: &str) -> Result<(), ValueError> {
    const WORDS: &[&str] = &["0", "auto", "1.2", "1.3"];
    const MEANINGS: &[TlsVersion] =
        &[TlsVersion::Auto, TlsVersion::Auto, TlsVersion::V1_2, TlsVersion::V1_3];
    if matches!(text, "1.0" | "1.1" | "1") {
        // RFC 8996 forbids these versions.
        return Err(ValueError::TlsVersionUnavailable(text.to_owned()));
    }
    choice(text, WORDS, MEANINGS).map(|version| draft.tls.version = version)
}

fn reconnects(draft: &mut RunDraft, attempts: Option<u64>) {
    draft.reconnect.is_unlimited = attempts.is_none();
    draft.reconnect.max = attempts;
}

fn device(draft: &mut RunDraft, text: &str) -> Result<(), ValueError> {
    if text.is_empty() {
        return Err(ValueError::Empty("a network interface"));
    }
    draft.device = Some(text.to_owned());
    Ok(())
}

//! `-t ui`: a socket for each address in a column of the injection file.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::harness::peer::Peer;
use crate::harness::scratch::Scratch;
use crate::harness::{gossipper, lock, ports};

/// Addresses in column 1, the second one twice.
const ROWS: &str =
    "SEQUENTIAL\na;127.0.0.2\nb;127.0.0.3\nc; 127.0.0.4 \nd;127.0.0.3\ne;127.0.0.5\n";
const IN_ORDER: [&str; 5] = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.3", "127.0.0.5"];

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}

#[test]
fn calls_leave_from_the_addresses_of_their_rows() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let rows = scratch.write("rows.csv", ROWS);
    let port = ports::free();
    for io in ["auto", "syscall"] {
        let peer = Peer::new();
        let (remote, text) = (peer.address().to_string(), port.to_string());
        let client = gossipper::start(&[
            "-sn",
            "uac",
            "-t",
            "ui",
            "-inf",
            &rows,
            "-ip_field",
            "1",
            "-p",
            &text,
            "-m",
            "7",
            "-l",
            "1",
            "-r",
            "100",
            "-io",
            io,
            &remote,
        ]);
        let mut sources = Vec::new();
        for _ in 0..7 {
            let invite = peer.receive_kind("INVITE");
            let source = invite.source;
            assert_eq!(source.port(), port);
            let contact = format!("{source}");
            assert!(invite.header("Via").contains(&format!("UDP {contact};")), "{invite:?}");
            assert!(invite.header("Contact").contains(&format!("@{contact}")), "{invite:?}");
            assert!(invite.text.contains(&format!("IN IP4 {}\r\n", source.ip())), "{invite:?}");
            peer.answer(&invite, "200 OK", &format!("Contact: <sip:{remote}>\r\n"));
            for kind in ["ACK", "BYE"] {
                let message = peer.receive_kind(kind);
                assert_eq!(message.source, source);
                assert!(message.header("Via").contains(&contact), "{message:?}");
                if kind == "BYE" {
                    peer.answer(&message, "200 OK", "");
                }
            }
            sources.push(source.ip());
        }
        let over = client.finish().expect_code(0);
        assert_eq!(over.summary().succeeded(), 7);
        let mut expected = ips(&IN_ORDER);
        expected.extend(ips(&IN_ORDER[..2]));
        assert_eq!(sources, expected, "-io {io}");
    }
}

#[test]
fn a_server_answers_from_the_address_that_was_called() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let rows =
        scratch.write("rows.csv", &ROWS.replace(';', "").replace(['a', 'b', 'c', 'd', 'e'], ""));
    // Without -ip_field the first column is used, as in SIPp.
    let (run, address) = gossipper::serve(&[
        "-sn",
        "uas",
        "-t",
        "ui",
        "-inf",
        &rows,
        "-m",
        "4",
        "-workers",
        "2",
        "-deadcall_wait",
        "0",
    ]);
    assert_eq!(address.ip(), ips(&IN_ORDER)[0]);
    let peer = Peer::new();
    let from = peer.address();
    let unique: BTreeSet<IpAddr> = ips(&IN_ORDER).into_iter().collect();
    assert_eq!(unique.len(), 4);
    for ip in unique {
        let to = SocketAddr::new(ip, address.port());
        let request = |method: &str, number: u8| {
            format!(
                "{method} sip:x@{to} SIP/2.0\r\nVia: SIP/2.0/UDP \
                 {from};branch=z9hG4bK-{ip}-{number}\r\nFrom: <sip:a@{from}>;tag=1\r\nTo: \
                 <sip:x@{to}>\r\nCall-ID: call-{ip}\r\nCSeq: {number} {method}\r\nContact: \
                 <sip:a@{from}>\r\nContent-Length: 0\r\n\r\n"
            )
        };
        peer.send(to, request("INVITE", 1));
        let answer = peer.receive_kind("200");
        assert_eq!(answer.source, to);
        assert!(answer.header("Contact").contains(&to.to_string()), "{answer:?}");
        peer.send(to, request("ACK", 1));
        peer.send(to, request("BYE", 2));
        loop {
            let answer = peer.receive_kind("200");
            assert_eq!(answer.source, to);
            if answer.header("CSeq") == "2 BYE" {
                break;
            }
        }
    }
    let over = run.finish().expect_code(0);
    assert_eq!(over.summary().succeeded(), 4);
    assert!(over.finished.stderr.contains("one worker is used"), "{}", over.finished.stderr);
}

#[test]
fn addresses_that_cannot_be_used_are_named_with_their_line() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let refused = |text: &str, more: &[&str], says: &[&str]| {
        let file = scratch.write("bad.csv", text);
        let line = ["-sn", "uac", "-t", "ui", "-inf", &file, "-m", "1"];
        let line = [&line[..], more, &["127.0.0.1:9"]].concat();
        let over = gossipper::run(&line).expect_code(255);
        for part in says {
            assert!(over.finished.stderr.contains(part), "{part}: {}", over.finished.stderr);
        }
    };
    let column = ["-ip_field", "1"];
    refused(
        "SEQUENTIAL\na;127.0.0.2\nb;127.0.0\n",
        &column,
        &["bad.csv:3: column 1", "\"127.0.0\" is not an IP address", "-ip_field"],
    );
    refused("SEQUENTIAL\na;127.0.0.2\nb\n", &column, &["bad.csv:3: column 1", "\"\" is not an IP"]);
    refused("SEQUENTIAL\na;::1\n", &column, &["bad.csv:2: column 1", "::1 cannot reach 127.0.0.1"]);
    refused("SEQUENTIAL\na;0.0.0.0\n", &column, &["bad.csv:2: column 1", "0.0.0.0"]);
    // A documentation address (RFC 5737), which no host has.
    refused("SEQUENTIAL\n#\n192.0.2.77\n", &[], &["bad.csv:3: column 0", "192.0.2.77", "ip addr"]);
    refused("USER\n127.0.0.2\n", &[], &["bad.csv:2: ", "-users"]);
    refused("USER\n127.0.0.2\n", &["-users", "2"], &["bad.csv:2: ", "2 users"]);
    let two = "SEQUENTIAL\n127.0.0.2\n127.0.0.3\n";
    refused(two, &["-max_socket", "1"], &["-max_socket 1", "-t ui"]);
}

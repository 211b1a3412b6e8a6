//! Third-party call control between our instances and SIPp's, in both forms.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::harness::peer::Peer;
use crate::harness::scratch::Scratch;
use crate::harness::{gossipper, lock, ports, sipp};

const IP: &str = "127.0.0.1";
const CALLS: u64 = 20;

/// The parties that both controllers call: SIPp.
fn parties() -> [(sipp::Sipp, String); 2] {
    ["3pcc-A", "3pcc-B"].map(|name| {
        let port = ports::free();
        let party = sipp::serve(port, &["-sn", name, "-i", IP, "-m", &CALLS.to_string()]);
        (party, format!("{IP}:{port}"))
    })
}

#[test]
fn our_controller_a_and_sipp_as_controller_b() {
    let _turn = lock::light();
    let [(party_a, remote_a), (party_b, remote_b)] = parties();
    let (port, third_party) = (ports::free(), ports::free());
    let (calls, twin_address) = (CALLS.to_string(), format!("{IP}:{third_party}"));
    let common = ["-i", IP, "-3pcc", &twin_address, "-m", &calls];
    let line = [&["-sn", "3pcc-C-B", &remote_b], &common[..]].concat();
    let mut b = sipp::serve(port, &line);
    b.wait_until_listening(third_party);
    let line = [&["-sn", "3pcc-C-A", "-p", "0", "-r", "20", &remote_a], &common[..]].concat();
    let a = gossipper::run(&line).expect_code(0);
    a.summary().expect_all_succeeded(CALLS);
    assert_eq!(a.summary().counter("commands_sent"), CALLS);
    assert_eq!(a.summary().counter("commands_received"), CALLS);
    // SIPp reports the end of our side as an error, which is expected.
    assert_eq!(b.finish().number("SuccessfulCall"), CALLS);
    party_a.finish().expect_all_succeeded(CALLS);
    party_b.finish().expect_all_succeeded(CALLS);
}

#[test]
fn sipp_as_controller_a_and_our_controller_b() {
    let _turn = lock::light();
    let [(party_a, remote_a), (party_b, remote_b)] = parties();
    let (calls, third_party) = (CALLS.to_string(), format!("{IP}:{}", ports::free()));
    let line = ["-sn", "3pcc-C-B", "-i", IP, "-p", "0", "-3pcc", &third_party, &remote_b];
    let mut b = gossipper::start(&line);
    b.wait_until_listening();
    let port = ports::free().to_string();
    let line =
        ["-sn", "3pcc-C-A", "-i", IP, "-p", &port, "-3pcc", &third_party, "-m", &calls, "-r", "20"];
    let a = sipp::start(&[&line[..], &[&remote_a]].concat());
    a.finish().expect_all_succeeded(CALLS);
    // Only the end of the other side ends it.
    let b = b.finish().expect_code(0);
    b.summary().expect_all_succeeded(CALLS);
    assert!(b.finished.stderr.contains("has ended"), "{}", b.finished.stderr);
    party_a.finish().expect_all_succeeded(CALLS);
    party_b.finish().expect_all_succeeded(CALLS);
}

const MASTER: &str = r#"<?xml version="1.0"?>
<scenario name="master">
  <sendCmd dest="s1"><![CDATA[
    Call-ID: [call_id]
    From: m
    Hello: there
  ]]></sendCmd>
  <recvCmd src="s1">
    <action><ereg regexp="Back: .*" search_in="msg" check_it="true" assign_to="_"/></action>
  </recvCmd>
</scenario>"#;

const SLAVE: &str = r#"<?xml version="1.0"?>
<scenario name="slave">
  <recvCmd src="m">
    <action><ereg regexp="Hello: there" search_in="msg" check_it="true" assign_to="_"/></action>
  </recvCmd>
  <sendCmd dest="m"><![CDATA[
    Call-ID: [call_id]
    From: s1
    Back: yes
  ]]></sendCmd>
</scenario>"#;

/// An exchange of OPTIONS, which every scenario needs.
const PING: &str = r#"<send retrans="500"><![CDATA[
    OPTIONS sip:[service]@[remote_ip]:[remote_port] SIP/2.0
    Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
    From: <sip:a@[local_ip]:[local_port]>;tag=[call_number]
    To: <sip:[service]@[remote_ip]:[remote_port]>
    Call-ID: [call_id]
    CSeq: 1 OPTIONS
    Max-Forwards: 70
    Content-Length: 0
  ]]></send>
  <recv response="200"/>
</scenario>"#;

/// Files of a master and a slave, and the addresses at which they listen.
struct Named {
    scratch: Scratch,
    ports: [u16; 2],
}

impl Named {
    fn new() -> Self {
        let (scratch, ports) = (Scratch::new(), [ports::free(), ports::free()]);
        let write = |name: &str, text: &str| std::fs::write(scratch.join(name), text).unwrap();
        write("cfg", &format!("m;{IP}:{}\ns1;{IP}:{}\n", ports[0], ports[1]));
        // SIPp's slaves crash when their master ends before them.
        let stays = PING.replace("</scenario>", "<pause milliseconds=\"2000\"/></scenario>");
        write("master.xml", &MASTER.replace("</scenario>", &stays));
        write("slave.xml", &SLAVE.replace("</scenario>", PING));
        Self { scratch, ports }
    }

    fn path(&self, name: &str) -> String {
        let path: &Path = &self.scratch.join(name);
        path.display().to_string()
    }
}

/// A server that answers the OPTIONS of one side; both sides use the same Call-IDs.
fn answerer() -> (gossipper::Run, String) {
    let (run, address) = gossipper::serve(&["-sn", "management", "-i", IP, "-m", "20"]);
    (run, address.to_string())
}

#[test]
fn our_master_and_sipp_as_slave() {
    let _turn = lock::light();
    let files = Named::new();
    let (for_master, remote_of_master) = answerer();
    let (for_slave, remote_of_slave) = answerer();
    let port = ports::free();
    let (cfg, slave, master) =
        (files.path("cfg"), files.path("slave.xml"), files.path("master.xml"));
    let common = ["-i", IP, "-slave_cfg", &cfg, "-m", "20"];
    let line = [&["-sf", &slave, "-slave", "s1", &remote_of_slave], &common[..]].concat();
    let mut slave = sipp::serve(port, &line);
    slave.wait_until_listening(files.ports[1]);
    let line = ["-sf", &master, "-master", "m", "-p", "0", "-r", "20", &remote_of_master];
    let master = gossipper::run(&[&line, &common[..]].concat()).expect_code(0);
    master.summary().expect_all_succeeded(20);
    let slave = slave.finish();
    assert_eq!(slave.number("SuccessfulCall"), 20, "{:?}\n{}", slave.finished, slave.errors);
    for answerer in [for_master, for_slave] {
        answerer.finish().expect_code(0).summary().expect_all_succeeded(20);
    }
}

#[test]
fn sipp_as_master_and_our_slave() {
    let _turn = lock::light();
    let files = Named::new();
    let (for_master, remote_of_master) = answerer();
    let (for_slave, remote_of_slave) = answerer();
    let (cfg, slave, master) =
        (files.path("cfg"), files.path("slave.xml"), files.path("master.xml"));
    // The aliases work, too: master or slave is decided by the scenario.
    let line = ["-sf", &slave, "-cmd_name", "s1", "-cmd_peers", &cfg, "-i", IP, "-p", "0"];
    let line = [&line[..], &[&remote_of_slave]].concat();
    let mut slave = gossipper::start(&line);
    slave.wait_until_listening();
    let port = ports::free().to_string();
    let line = ["-sf", &master, "-master", "m", "-slave_cfg", &cfg, "-i", IP, "-p", &port];
    let master = sipp::start(&[&line[..], &["-m", "20", "-r", "20", &remote_of_master]].concat());
    assert_eq!(master.finish().number("SuccessfulCall"), 20);
    let slave = slave.finish().expect_code(0);
    slave.summary().expect_all_succeeded(20);
    for answerer in [for_master, for_slave] {
        answerer.finish().expect_code(0).summary().expect_all_succeeded(20);
    }
}

/// Reads from the other side up to the end of a command.
fn hear(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (mut text, mut byte) = (Vec::new(), [0]);
    while stream.read(&mut byte).unwrap() == 1 && byte != [27] {
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn a_twin_that_dies_fails_the_calls_that_wait_for_it_and_ends_the_run() {
    let _turn = lock::light();
    let (listener, party) = (TcpListener::bind((IP, 0)).unwrap(), Peer::new());
    let third_party = listener.local_addr().unwrap().to_string();
    let remote = party.address().to_string();
    // A call a minute, without end.
    let line =
        ["-sn", "3pcc-C-A", "-i", IP, "-p", "0", "-3pcc", &third_party, "-r", "1", "-rp", "60s"];
    let mut a = gossipper::start(&[&line[..], &["-m", "1000", &remote]].concat());
    let (mut stream, _) = listener.accept().unwrap();
    let invite = party.receive();
    party.answer(&invite, "200 OK", "Content-Type: application/sdp\r\n");
    assert!(hear(&mut stream).contains("Content-Type: application/sdp"));
    drop(stream);
    // The call's dialog is ended: first the ACK that is missing, then a BYE.
    assert_eq!(party.receive().kind(), "ACK");
    let bye = party.receive();
    assert_eq!(bye.kind(), "BYE");
    party.answer(&bye, "200 OK", "");
    a.wait_for_stderr("no new calls are taken");
    let a = a.finish().expect_code(1);
    assert_eq!(a.summary().failed_by("peer_gone"), 1);
    assert_eq!(a.summary().total(), 1);
}

#[test]
fn noise_on_the_twins_port_touches_no_call() {
    let _turn = lock::light();
    let party = Peer::new();
    let (remote, port) = (party.address().to_string(), ports::free());
    let third_party = format!("{IP}:{port}");
    let mut b =
        gossipper::start(&["-sn", "3pcc-C-B", "-i", IP, "-p", "0", "-3pcc", &third_party, &remote]);
    b.wait_until_listening();
    let mut noise = TcpStream::connect(&third_party).unwrap();
    noise.write_all(b"GET / HTTP/1.1\r\n\r\n\x1b").unwrap();
    let mut a = TcpStream::connect(&third_party).unwrap();
    a.write_all(b"Call-ID: x///call@a\r\nContent-Type: text/plain\r\n\r\n\x1b").unwrap();
    let invite = party.receive();
    assert_eq!(invite.header("Call-ID"), "call@a");
    noise.write_all(&vec![b'x'; 200_000]).unwrap();
    drop(noise);
    party.answer(&invite, "200 OK", "Content-Type: text/plain\r\n");
    assert_eq!(party.receive().kind(), "ACK");
    assert!(hear(&mut a).starts_with("Call-ID: call@a\r\nContent-Type: text/plain"));
    let bye = party.receive();
    party.answer(&bye, "200 OK", "");
    drop(a);
    let b = b.finish().expect_code(0);
    b.summary().expect_all_succeeded(1);
    assert_eq!(b.summary().number("/drops/command_without_call_id"), 1);
    assert_eq!(b.summary().number("/drops/command_unfinished"), 1);
}

#[test]
fn what_does_not_fit_is_refused() {
    let files = Named::new();
    let (cfg, slave, master) =
        (files.path("cfg"), files.path("slave.xml"), files.path("master.xml"));
    let refused = |args: &[&str], why: &str| {
        let over = gossipper::run(&[args, &["-i", IP, "-p", "0", "127.0.0.1:9"]].concat());
        let over = over.expect_code(255);
        assert!(over.finished.stderr.contains(why), "{}", over.finished.stderr);
    };
    refused(&["-sn", "3pcc-C-A"], "3pcc-C-A:38:3: <sendCmd> needs another instance");
    let nobody = format!("{IP}:{}", ports::free());
    refused(&["-sn", "3pcc-C-A", "-3pcc", &nobody], "cannot connect to the twin");
    let taken = TcpListener::bind((IP, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(&["-sn", "3pcc-C-B", "-3pcc", &address], "cannot listen for other instances");
    refused(&["-sf", &slave, "-master", "m", "-slave_cfg", &cfg], "use -slave m");
    refused(&["-sf", &master, "-slave", "m", "-slave_cfg", &cfg], "use -master m");
    refused(&["-sf", &master, "-master", "q", "-slave_cfg", &cfg], "no instance \"q\"");
    refused(&["-sf", &master, "-master", "m"], "-master needs -slave_cfg");
    refused(&["-sf", &master, "-slave_cfg", &cfg], "-slave_cfg needs -master");
    refused(&["-sf", &master, "-master", "m", "-slave_cfg", "missing"], "missing");
    refused(&["-sn", "3pcc-C-A", "-master", "m", "-slave_cfg", &cfg], "without dest=");
    refused(&["-sn", "uac", "-rxsf", &slave], "in a second scenario");
}

//! Digest authentication: against SIPp as registrar and as client, against ourselves with every
//! algorithm, and against a scripted registrar.

use std::fs;

use ::gossipper::sip::digest::{AkaKeys, verify};

use crate::harness::peer::{Peer, Received};
use crate::harness::scratch::Scratch;
use crate::harness::{gossipper, lock, ports, sipp};

const CALLS: &str = "20";

fn scenario(name: &str) -> String {
    format!("{}/tests/scenarios/data/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A file with one user.
fn users(scratch: &Scratch) -> String {
    scratch.write("users.csv", "SEQUENTIAL\nalice;se cret\n")
}

fn qop(options: &str) -> String {
    if options.is_empty() { String::new() } else { format!(", qop=\"{options}\"") }
}

#[test]
fn sipp_as_registrar_accepts_our_answers() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    for options in ["", "auth"] {
        let (port, registrar) = (ports::free(), scenario("registrar_digest.xml"));
        let qop = qop(options);
        let keys = ["-key", "alg", "MD5", "-key", "qop", &qop];
        let line = ["-sf", &registrar, "-i", "127.0.0.1", "-m", CALLS];
        let server = sipp::serve(port, &[&line[..], &keys].concat());
        let (client, users) = (scenario("register_digest.xml"), users(&scratch));
        let remote = format!("127.0.0.1:{port}");
        let line = ["-sf", &client, "-i", "127.0.0.1", "-m", CALLS, "-r", "50", "-inf", &users];
        let over = gossipper::run(&[&line[..], &[&remote]].concat()).expect_code(0);
        over.summary().expect_all_succeeded(20);
        server.finish().expect_all_succeeded(20);
    }
}

#[test]
fn we_as_registrar_accept_the_answers_of_sipp() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    for options in ["", "auth", "auth-int"] {
        let (registrar, qop) = (scenario("registrar_digest.xml"), qop(options));
        let keys = ["-key", "alg", "MD5", "-key", "qop", &qop];
        let line = ["-sf", &registrar, "-i", "127.0.0.1", "-m", CALLS];
        let (server, address) = gossipper::serve(&[&line[..], &keys].concat());
        let (client, users) = (scenario("register_digest.xml"), users(&scratch));
        let (remote, port) = (address.to_string(), ports::free().to_string());
        let line = ["-sf", &client, "-i", "127.0.0.1", "-p", &port, "-m", CALLS, "-inf", &users];
        let client = sipp::start(&[&line[..], &["-r", "50", &remote]].concat());
        client.finish().expect_all_succeeded(20);
        server.finish().expect_code(0).summary().expect_all_succeeded(20);
    }
}

#[test]
fn every_algorithm_and_qop_works_between_us() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let algorithms =
        ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess", "SHA-512-256", "SHA-512-256-sess"];
    for algorithm in algorithms {
        for options in ["", "auth", "auth-int", "auth,auth-int"] {
            let (registrar, qop) = (scenario("registrar_digest.xml"), qop(options));
            let keys = ["-key", "alg", algorithm, "-key", "qop", &qop];
            let line = ["-sf", &registrar, "-i", "127.0.0.1", "-m", "5"];
            let (server, address) = gossipper::serve(&[&line[..], &keys].concat());
            let (client, users) = (scenario("register_digest.xml"), users(&scratch));
            let remote = address.to_string();
            let line = ["-sf", &client, "-i", "127.0.0.1", "-m", "5", "-r", "100", "-inf", &users];
            let over = gossipper::run(&[&line[..], &[&remote]].concat()).expect_code(0);
            over.summary().expect_all_succeeded(5);
            server.finish().expect_code(0).summary().expect_all_succeeded(5);
        }
    }
}

#[test]
fn a_wrong_password_is_refused() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let registrar = scenario("registrar_digest.xml");
    let keys = ["-key", "alg", "SHA-256", "-key", "qop", ", qop=\"auth\""];
    let line = ["-sf", &registrar, "-i", "127.0.0.1", "-m", "1"];
    let (server, address) = gossipper::serve(&[&line[..], &keys].concat());
    let users = scratch.write("users.csv", "SEQUENTIAL\nalice;se crett\n");
    let (client, remote) = (scenario("register_digest.xml"), address.to_string());
    let line = ["-sf", &client, "-i", "127.0.0.1", "-m", "1", "-inf", &users, &remote];
    let over = gossipper::run(&line).expect_code(1);
    assert_eq!(over.summary().failed_by("unexpected_message"), 1);
    server.finish().expect_code(0);
}

/// The value of the Authorization or Proxy-Authorization header.
fn credentials(message: &Received) -> String {
    let own = message.header("Authorization");
    if own.is_empty() { message.header("Proxy-Authorization").to_owned() } else { own.to_owned() }
}

fn body(message: &Received) -> &str {
    message.text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[test]
fn a_scenario_may_choose_the_digest_uri_of_each_request() {
    let _turn = lock::light();
    let (scratch, peer) = (Scratch::new(), Peer::new());
    let text = fs::read_to_string(scenario("register_digest.xml")).unwrap();
    let own = "password=\"[field1]\"]";
    let text = text.replacen(own, "password=\"[field1]\" uri=request]", 1);
    let text = text.replacen(own, "password=\"[field1]\" uri=\"sip:[field0]@own.test\"]", 1);
    let (client, users) = (scratch.write("own.xml", &text), users(&scratch));
    let remote = peer.address().to_string();
    let line = ["-sf", &client, "-i", "127.0.0.1", "-m", "1", "-inf", &users];
    // `-auth_uri` still holds for requests that choose no URI themselves.
    let run = gossipper::start(&[&line[..], &["-auth_uri", "uri.test", &remote]].concat());
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    peer.answer(&peer.receive(), "401 Unauthorized", challenge);
    for uri in [format!("uri=\"sip:{remote}\""), "uri=\"sip:alice@own.test\"".to_owned()] {
        let message = peer.receive();
        let value = credentials(&message);
        assert!(value.contains(&uri), "{uri}: {value}");
        assert!(verify(value.as_bytes(), b"REGISTER", b"", b"alice", b"se cret"), "{value}");
        peer.answer(&message, "200 OK", "");
    }
    run.finish().expect_code(0);
}

#[test]
fn the_topmost_known_challenge_is_answered_and_uses_of_its_nonce_are_counted() {
    let _turn = lock::light();
    let (scratch, peer) = (Scratch::new(), Peer::new());
    let (client, users) = (scenario("register_digest.xml"), users(&scratch));
    let remote = peer.address().to_string();
    let line = ["-sf", &client, "-i", "127.0.0.1", "-m", "1", "-inf", &users];
    let run = gossipper::start(&[&line[..], &["-auth_uri", "uri.test", &remote]].concat());
    let first = peer.receive();
    peer.answer(
        &first,
        "401 Unauthorized",
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"x\", algorithm=SHA-3\r\n\
         WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256,\r\n \
         qop=\"auth,auth-int\"\r\n\
         WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n",
    );
    for count in ["nc=00000001", "nc=00000002"] {
        let message = peer.receive();
        let value = credentials(&message);
        for part in [count, "algorithm=SHA-256", "qop=auth-int", "uri=\"sip:uri.test\""] {
            assert!(value.contains(part), "{part}: {value}");
        }
        let body = body(&message).as_bytes();
        assert!(verify(value.as_bytes(), b"REGISTER", body, b"alice", b"se cret"), "{value}");
        peer.answer(&message, "200 OK", "");
    }
    run.finish().expect_code(0);
}

/// The common way to register users: a column of the file has the keyword, each with its own
/// secret.
#[test]
fn credentials_stand_in_a_field_as_in_sipp() {
    const ROWS: &str = "SEQUENTIAL
al;[authentication username=al password=s1]
bo;[authentication username=\"bo\" password=\"s 2\"]
cy;[authentication username=[field0] password=[field2] uri=request];s3
";
    let _turn = lock::light();
    let text = fs::read_to_string(scenario("register_digest.xml")).unwrap();
    let text =
        text.replace("[authentication username=\"[field0]\" password=\"[field1]\"]", "[field1]");
    let (scratch, peer) = (Scratch::new(), Peer::new());
    let (client, users) = (scratch.write("r.xml", &text), scratch.write("users.csv", ROWS));
    let remote = peer.address().to_string();
    let line = ["-sf", &client, "-i", "127.0.0.1", "-m", "3", "-l", "1", "-inf", &users, &remote];
    let run = gossipper::start(&line);
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\"\r\n";
    for (user, password) in [("al", "s1"), ("bo", "s 2"), ("cy", "s3")] {
        peer.answer(&peer.receive(), "401 Unauthorized", challenge);
        for count in ["nc=00000001", "nc=00000002"] {
            let message = peer.receive();
            let (value, body) = (credentials(&message), body(&message).as_bytes());
            assert!(value.contains(count), "{count}: {value}");
            let is_right =
                verify(value.as_bytes(), b"REGISTER", body, user.as_bytes(), password.as_bytes());
            assert!(is_right, "{user}: {}", message.text);
            peer.answer(&message, "200 OK", "");
        }
    }
    run.finish().expect_code(0).summary().expect_all_succeeded(3);
}

/// A row that names itself is shown as text. A challenge without an answer fails its call only.
#[test]
fn rows_with_odd_keywords_harm_no_other_call() {
    const ITSELF: &str = "[authentication username=[field0] password=[field1]]";
    let _turn = lock::light();
    let text = fs::read_to_string(scenario("register_digest.xml")).unwrap();
    let keyword = "[authentication username=\"[field0]\" password=\"[field1]\"]";
    let in_head = text.replace(keyword, "[field0]").replace("<sip:[field0]@", "<sip:a@");
    let in_body = in_head.replace("    [field0]\n", "").replace("a body that", "[field0] that");
    let doubtful = "[authentication username=al pasword=x password=s1 password=s2]";
    let two = "[authentication username=al][authentication username=bo]";
    let cases = [
        (&in_head, ITSELF, Some((ITSELF, "zz"))),
        (&in_head, doubtful, Some(("al", "s1"))),
        (&in_head, two, None),
        (&in_body, "[authentication]", None),
    ];
    for (text, row, credentials_of) in cases {
        let (scratch, peer) = (Scratch::new(), Peer::new());
        let users = scratch.write("users.csv", &format!("SEQUENTIAL\n{row};zz\n"));
        let (client, remote) = (scratch.write("r.xml", text), peer.address().to_string());
        let line = ["-sf", &client, "-i", "127.0.0.1", "-m", "1", "-inf", &users, &remote];
        let run = gossipper::start(&line);
        let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
        peer.answer(&peer.receive(), "401 Unauthorized", challenge);
        let Some((user, password)) = credentials_of else {
            let over = run.finish().expect_code(1);
            assert_eq!(over.summary().failed_by("authentication_failed"), 1, "{row}");
            continue;
        };
        for _ in 0..2 {
            let message = peer.receive();
            let (value, body) = (credentials(&message), body(&message).as_bytes());
            let (user, password) = (user.as_bytes(), password.as_bytes());
            assert!(verify(value.as_bytes(), b"REGISTER", body, user, password), "{value}");
            peer.answer(&message, "200 OK", "");
        }
        run.finish().expect_code(0);
    }
}

/// RFC 3261 section 22.3: forked requests bring challenges of several realms in one response.
#[test]
fn every_realm_that_challenges_gets_its_credentials() {
    let _turn = lock::light();
    let (scratch, peer) = (Scratch::new(), Peer::new());
    let (client, users) = (scenario("register_digest.xml"), users(&scratch));
    let remote = peer.address().to_string();
    let line = ["-sf", &client, "-i", "127.0.0.1", "-m", "1", "-inf", &users, &remote];
    let run = gossipper::start(&line);
    peer.answer(
        &peer.receive(),
        "401 Unauthorized",
        "WWW-Authenticate: Digest realm=\"one\", nonce=\"1\", algorithm=SHA-256\r\n\
         WWW-Authenticate: Digest realm=\"one\", nonce=\"1\"\r\n\
         WWW-Authenticate: Digest realm=\"two\", nonce=\"2\", qop=\"auth\"\r\n\
         Proxy-Authenticate: Digest realm=\"two\", nonce=\"3\"\r\n",
    );
    for _ in 0..2 {
        let message = peer.receive();
        let (head, _) = message.text.split_once("\r\n\r\n").unwrap();
        let answers: Vec<_> =
            head.lines().filter(|line| line.contains("uthorization: Digest")).collect();
        assert_eq!(answers.len(), 3, "{head}");
        for (line, parts) in answers.iter().zip([
            ["Authorization: ", "realm=\"one\"", "nonce=\"1\"", "algorithm=SHA-256"],
            ["Authorization: ", "realm=\"two\"", "nonce=\"2\"", "qop=auth"],
            ["Proxy-Authorization: ", "realm=\"two\"", "nonce=\"3\"", "algorithm=MD5"],
        ]) {
            assert!(
                line.starts_with(parts[0]) && parts[1..].iter().all(|part| line.contains(part))
            );
            let value = line.split_once(": ").unwrap().1.as_bytes();
            let body = body(&message).as_bytes();
            assert!(verify(value, b"REGISTER", body, b"alice", b"se cret"), "{line}");
        }
        peer.answer(&message, "200 OK", "");
    }
    run.finish().expect_code(0);
}

#[test]
fn without_a_challenge_that_can_be_answered_the_call_fails_by_cause() {
    let _turn = lock::light();
    for challenge in
        ["", "WWW-Authenticate: Basic realm=\"r\"\r\n", "WWW-Authenticate: Digest x\r\n"]
    {
        let (scratch, peer) = (Scratch::new(), Peer::new());
        let (client, users) = (scenario("register_digest.xml"), users(&scratch));
        let remote = peer.address().to_string();
        let line = ["-sf", &client, "-i", "127.0.0.1", "-m", "1", "-inf", &users, &remote];
        let run = gossipper::start(&line);
        peer.answer(&peer.receive(), "401 Unauthorized", challenge);
        let over = run.finish().expect_code(1);
        assert_eq!(over.summary().failed_by("authentication_failed"), 1, "{challenge}");
    }
}

#[test]
fn a_sim_answers_a_proxy() {
    const TEXT: &str = r#"<?xml version="1.0"?>
<scenario name="aka">
  <send retrans="500"><![CDATA[
    INVITE sip:a@[remote_ip] SIP/2.0
    Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
    From: <sip:a@b>;tag=[call_number]
    To: <sip:a@b>
    Call-ID: [call_id]
    CSeq: [cseq] INVITE
    Content-Length: 0

  ]]></send>
  <recv response="407" auth="true"/>
  <send><![CDATA[
    ACK sip:a@[remote_ip] SIP/2.0
    [last_Via:]
    [last_From:]
    [last_To:]
    Call-ID: [call_id]
    CSeq: [cseq] ACK
    [authentication username=sim aka_K=0xfec86ba6eb707ed08905757b1bb44b8f aka_OP=0xdbc59adcb6f9a0ef735477b7fadf8374 aka_AMF=0x725c]
    Content-Length: 0

  ]]></send>
</scenario>"#;
    let _turn = lock::light();
    let (scratch, peer) = (Scratch::new(), Peer::new());
    let bytes = |text: &str| -> [u8; 16] {
        std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..][..2], 16).unwrap())
    };
    let keys = AkaKeys {
        k: bytes("fec86ba6eb707ed08905757b1bb44b8f"),
        op: bytes("dbc59adcb6f9a0ef735477b7fadf8374"),
        amf: Some([0x72, 0x5c]),
    };
    let nonce = keys.nonce(&[7; 16], &[0, 0, 0, 0, 0, 9]);
    let res = keys.res(&nonce).unwrap();
    let (path, remote) = (scratch.write("aka.xml", TEXT), peer.address().to_string());
    let run = gossipper::start(&["-sf", &path, "-i", "127.0.0.1", "-m", "1", &remote]);
    let challenge = format!(
        "Proxy-Authenticate: Digest realm=\"r\", nonce=\"{}\", algorithm=AKAv1-MD5, qop=\"auth\"\r\n",
        String::from_utf8(nonce.to_vec()).unwrap()
    );
    peer.answer(&peer.receive(), "407 Proxy Authentication Required", &challenge);
    let ack = peer.receive_kind("ACK");
    let value = ack.header("Proxy-Authorization");
    assert!(value.contains("algorithm=AKAv1-MD5"), "{value}");
    // The SIM's answer is the password of an MD5 digest.
    let as_md5 = value.replace("AKAv1-MD5", "MD5");
    assert!(verify(as_md5.as_bytes(), b"ACK", b"", b"sim", &res), "{value}");
    run.finish().expect_code(0);
}

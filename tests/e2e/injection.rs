//! Injection files, beside SIPp on the wire, and other sources of values for a scenario: circuits,
//! Call-IDs, other peers, commands, identities.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use crate::harness::peer::{Peer, Received};
use crate::harness::scratch::Scratch;
use crate::harness::{gossipper, lock, ports, sipp};

fn scenario(name: &str) -> String {
    format!("{}/tests/scenarios/data/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Answers requests until `calls` different calls were seen; returns their first messages, in the
/// order of arrival.
fn answer_all(peer: &Peer, calls: usize) -> Vec<Received> {
    let mut seen: Vec<Received> = Vec::new();
    while seen.len() < calls {
        let message = peer.receive();
        peer.answer(&message, "200 OK", "");
        if seen.iter().all(|known| known.header("Call-ID") != message.header("Call-ID")) {
            seen.push(message);
        }
    }
    seen
}

/// The lines of a message that begin with `X-`.
fn shown(message: &Received) -> Vec<String> {
    message.text.lines().filter(|line| line.starts_with("X-")).map(str::to_owned).collect()
}

/// The messages of SIPp and of ours for the same scenario and files, one call after the other.
fn beside_sipp(name: &str, args: &[&str], calls: usize) -> Vec<Vec<String>> {
    let (path, count) = (scenario(name), calls.to_string());
    let line = |remote: &str, more: &[&str]| -> Vec<String> {
        let fixed = ["-sf", &path, "-i", "127.0.0.1", "-m", &count, "-l", "1", "-r", "100"];
        let all = fixed.iter().chain(args).chain(more).map(|text| (*text).to_owned());
        all.chain([remote.to_owned()]).collect()
    };
    let peer = Peer::new();
    let remote = peer.address().to_string();
    let port = ports::free().to_string();
    let theirs_line = line(&remote, &["-p", &port]);
    let theirs_line: Vec<&str> = theirs_line.iter().map(String::as_str).collect();
    let client = sipp::start(&theirs_line);
    let theirs: Vec<_> = answer_all(&peer, calls).iter().map(shown).collect();
    client.finish();
    let peer = Peer::new();
    let remote = peer.address().to_string();
    let ours_line = line(&remote, &[]);
    let ours_line: Vec<&str> = ours_line.iter().map(String::as_str).collect();
    let client = gossipper::start(&ours_line);
    let ours: Vec<_> = answer_all(&peer, calls).iter().map(shown).collect();
    client.finish().expect_code(0);
    assert_eq!(ours, theirs);
    ours
}

#[test]
fn calls_take_the_rows_that_sipp_takes() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let own = scratch.write(
        "own.csv",
        "SEQUENTIAL\na1;b1;c1\na2;b[call_number];c2\n#comment\na3; b3 ;\na4;;\n\na5;b5;c5\n",
    );
    let other = scratch.write("other.csv", "SEQUENTIAL\no1;p1\no2;p2\no3;p3\n");
    let rows = beside_sipp("options_fields.xml", &["-inf", &own, "-inf", &other], 7);
    assert_eq!(rows[1], ["X-Own: <a2|b[call_number]|c2>", "X-Other: <o2|p3|>"]);
    assert_eq!(rows[4], ["X-Own: <a1|b1|c1>", "X-Other: <o2|p3|>"]);
}

#[test]
fn printf_rows_are_those_of_sipp() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let own = scratch.write(
        "own.csv",
        "SEQUENTIAL,PRINTF=5,PRINTFOFFSET=100,PRINTFMULTIPLE=3\nu%d;%05d|%-5d|;%.4d\nv%3d-%d;x;y\n",
    );
    let other = scratch.write("other.csv", "SEQUENTIAL\no1;p1\no2;p2\no3;p3\n");
    let rows = beside_sipp("options_fields.xml", &["-inf", &own, "-inf", &other], 6);
    assert_eq!(rows[0][0], "X-Own: <u100|00100|100  ||0100>");
    assert_eq!(rows[1][0], "X-Own: <v103-103|x|y>");
    assert_eq!(rows[5][0], rows[0][0]);
}

#[test]
fn rows_are_looked_up_added_and_changed_as_in_sipp() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let rows = scratch.write("rows.csv", "SEQUENTIAL\nal;1\nbob;2\ncy;3\n");
    let index = ["-inf", rows.as_str(), "-infindex", "rows.csv", "0"];
    let shown = beside_sipp("options_lookup.xml", &index, 3);
    assert_eq!(
        shown[1],
        [
            "X-Rows: 1.000000 1.000000 -1.000000 4.000000",
            "X-Added: <zed|2>",
            "X-Changed: <changed2>",
            "X-Missing: <>",
            "X-Fixed: <al|bob|>",
        ]
    );
}

#[test]
fn what_stays_text_in_a_field_is_said_once_for_each_file() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let own = scratch.write("own.csv", "SEQUENTIAL\na;b;c\n#\n[::1];[local_ip];\n[pid];;\n");
    let other = scratch.write("other.csv", "SEQUENTIAL\nx;y\n[authentication user];y\n");
    let (peer, path) = (Peer::new(), scenario("options_fields.xml"));
    let remote = peer.address().to_string();
    let line = ["-sf", &path, "-i", "127.0.0.1", "-m", "1", "-inf", &own, "-inf", &other, &remote];
    let run = gossipper::start(&line);
    answer_all(&peer, 1);
    let over = run.finish().expect_code(0);
    let said = |text: &str| over.finished.stderr.matches(text).count();
    assert_eq!(said("own.csv:4: [local_ip] stays text"), 1, "{}", over.finished.stderr);
    assert_eq!(said("stays text"), 1, "{}", over.finished.stderr);
    assert_eq!(said("other.csv:3: [authentication]: \"user\" is not an argument"), 1);
}

#[test]
fn a_file_is_included_as_it_is() {
    const TEXT: &str = "<scenario><send><![CDATA[
      OPTIONS sip:a@b SIP/2.0
      Call-ID: [call_id]
      Content-Length: [len]

      [file name=body.txt]]]></send><recv response=\"200\"/></scenario>";
    let _turn = lock::light();
    let (scratch, peer) = (Scratch::new(), Peer::new());
    scratch.write("body.txt", "hello [call_number]\nend\n");
    let (path, remote) = (scratch.write("include.xml", TEXT), peer.address().to_string());
    // The program runs elsewhere: the file is found beside the scenario.
    let mut run = gossipper::start(&["-sf", &path, "-i", "127.0.0.1", "-m", "1", "-nr", &remote]);
    let message = peer.receive();
    assert!(message.text.ends_with("Content-Length:    24\r\n\r\nhello [call_number]\nend\n"));
    run.process().is_running();
    run.signal(rustix::process::Signal::TERM);
    run.finish();
}

#[test]
fn workers_share_a_file_without_taking_a_row_twice() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let rows: String = (0..60).map(|row| format!("user{row};x;y\n")).collect();
    let own = scratch.write("own.csv", &format!("SEQUENTIAL\n{rows}"));
    let other = scratch.write("other.csv", "SEQUENTIAL\no1;p1\no2;p2\no3;p3\n");
    let (peer, path) = (Peer::new(), scenario("options_fields.xml"));
    let remote = peer.address().to_string();
    let line = ["-sf", &path, "-i", "127.0.0.1", "-m", "60", "-r", "200", "-workers", "2"];
    let run = gossipper::start(&[&line[..], &["-inf", &own, "-inf", &other, &remote]].concat());
    let messages = answer_all(&peer, 60);
    let ports: BTreeSet<_> = messages.iter().map(|message| message.source.port()).collect();
    assert_eq!(ports.len(), 2, "both workers make calls");
    let taken: BTreeSet<_> = messages.iter().map(|m| m.header("X-Own").to_owned()).collect();
    assert_eq!(taken.len(), 60);
    run.finish().expect_code(0).summary().expect_all_succeeded(60);
}

#[test]
fn users_have_their_own_rows() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let own = scratch.write("own.csv", "USER\nu1;;\nu2;;\nu3;;\n");
    let other = scratch.write("other.csv", "SEQUENTIAL\no1;p1\no2;p2\no3;p3\n");
    let (peer, path) = (Peer::new(), scenario("options_fields.xml"));
    let remote = peer.address().to_string();
    let line = ["-sf", &path, "-i", "127.0.0.1", "-m", "9", "-users", "3"];
    let run = gossipper::start(&[&line[..], &["-inf", &own, "-inf", &other, &remote]].concat());
    let rows: BTreeSet<_> =
        answer_all(&peer, 9).iter().map(|message| message.header("X-Own").to_owned()).collect();
    let expected: BTreeSet<_> = ["<u1||>", "<u2||>", "<u3||>"].map(str::to_owned).into();
    assert_eq!(rows, expected);
    run.finish().expect_code(0);
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_line() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let path = scenario("options_fields.xml");
    let other = scratch.write("other.csv", "SEQUENTIAL\no1;p1\n");
    let refused = |args: &[&str], says: &[&str]| {
        let line = [&["-sf", path.as_str()], args, &["-m", "1", "127.0.0.1:9"]].concat();
        let over = gossipper::run(&line).expect_code(255);
        for part in says {
            assert!(over.finished.stderr.contains(part), "{part}: {}", over.finished.stderr);
        }
    };
    let bad = |text: &str, says: &[&str]| {
        let file = scratch.write("bad.csv", text);
        refused(&["-inf", &file, "-inf", &other], says);
    };
    bad("", &["bad.csv:1: ", "empty", "hint:"]);
    bad("FIRST\na\n", &["bad.csv:1: \"FIRST\"", "SEQUENTIAL"]);
    bad("SEQUENTIAL,PRINTF=many\na\n", &["bad.csv:1: ", "PRINTF=many"]);
    bad("SEQUENTIAL,PRINTF=3\na\nb%s\n", &["bad.csv:3: ", "%s"]);
    bad("SEQUENTIAL\na\nb\0\n", &["bad.csv:3: ", "NUL"]);
    bad(&format!("SEQUENTIAL\na\n{}\n", "x".repeat(100_000)), &["bad.csv:3: ", "65535"]);
    refused(&["-inf", "nowhere.csv"], &["nowhere.csv", "No such file"]);
    refused(&[], &["options_fields.xml:", "-inf FILE"]);
    let good = scratch.write("good.csv", "SEQUENTIAL\na;b;c\n");
    refused(&["-inf", &good], &["options_fields.xml:", "other.csv"]);
    refused(&["-inf", &good, "-inf", &other, "-infindex", "x.csv", "0"], &["-infindex x.csv"]);
    let lookup = scenario("options_lookup.xml");
    let rows = scratch.write("rows.csv", "SEQUENTIAL\na;b;c\n");
    let line = ["-sf", &lookup, "-inf", &rows, "-m", "1", "127.0.0.1:9"];
    let over = gossipper::run(&line).expect_code(255);
    assert!(over.finished.stderr.contains("-infindex rows.csv FIELD"), "{}", over.finished.stderr);
}

#[test]
fn rows_that_are_too_short_are_told_and_empty() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let own = scratch.write("own.csv", "SEQUENTIAL\na;b;c\na;b\na\n");
    let other = scratch.write("other.csv", "SEQUENTIAL\no1;p1\no2;p2\no3;p3\n");
    let (peer, path) = (Peer::new(), scenario("options_fields.xml"));
    let remote = peer.address().to_string();
    let line = ["-sf", &path, "-i", "127.0.0.1", "-m", "2", "-l", "1", "-r", "100"];
    let run = gossipper::start(&[&line[..], &["-inf", &own, "-inf", &other, &remote]].concat());
    assert_eq!(answer_all(&peer, 2)[1].header("X-Own"), "<a|b|>");
    let over = run.finish().expect_code(0);
    let notice = "own.csv:3: the row has no column 2, which the scenario reads (2 rows like this)";
    assert!(over.finished.stderr.contains(notice), "{}", over.finished.stderr);
}

#[test]
fn circuits_are_held_and_bound_the_calls() {
    let _turn = lock::light();
    let (peer, path) = (Peer::new(), scenario("options_circuit.xml"));
    let remote = peer.address().to_string();
    let line = ["-sf", &path, "-i", "127.0.0.1", "-m", "3", "-r", "100", "-l", "10"];
    let more = ["-tdmmap", "{0-0}{7}{3-3}{1-2}", "-dynamicStart", "5", "-dynamicMax", "9"];
    let line = [&line[..], &more, &["-dynamicStep", "3", "-nr", &remote]].concat();
    let run = gossipper::start(&line);
    let held = [peer.receive(), peer.receive()];
    let circuits = held.each_ref().map(|message| message.header("X-Circuit"));
    assert_eq!(circuits, ["0.7.3/2", "0.7.3/1"]);
    assert_eq!(held[0].header("X-Id"), "5 8");
    // Both are in use: a call that is due now is withheld.
    assert_eq!(peer.receive_within(Duration::from_millis(300)), None);
    held.iter().for_each(|message| peer.answer(message, "200 OK", ""));
    let last = peer.receive();
    assert_eq!(last.header("X-Circuit").len(), "0.7.3/2".len());
    peer.answer(&last, "200 OK", "");
    let over = run.finish().expect_code(0);
    assert!(over.summary().number("/withheld/circuits_busy") > 0);
    let refused = gossipper::run(&["-sf", &path, "-m", "1", &remote]).expect_code(255);
    assert!(refused.finished.stderr.contains("-tdmmap"), "{}", refused.finished.stderr);
}

#[test]
fn call_ids_of_any_form_find_their_calls() {
    let _turn = lock::load();
    for style in [
        ["-cid_str", "x%u///%u-%p@%s"],
        ["-cid_str", "%u_%r_%p@%s"],
        ["-cid_type", "uuid"],
        ["-cid_type", "timestamp"],
        ["-cid_type", "random"],
    ] {
        let port = ports::free();
        let server = sipp::serve(port, &["-sn", "uas", "-i", "127.0.0.1", "-m", "500"]);
        let remote = format!("127.0.0.1:{port}");
        let line = ["-sn", "uac", "-i", "127.0.0.1", "-m", "500", "-r", "500", "-workers", "2"];
        let over = gossipper::run(&[&line[..], &style, &[&remote]].concat()).expect_code(0);
        over.summary().expect_all_succeeded(500);
        server.finish().expect_all_succeeded(500);
    }
    let peer = Peer::new();
    let remote = peer.address().to_string();
    let line = ["-sn", "options", "-i", "127.0.0.1", "-m", "2", "-r", "100", "-l", "1"];
    let run = gossipper::start(&[&line[..], &["-cid_str", "a%%%u-%p@%s", &remote]].concat());
    let pid = run.id();
    let ids: Vec<_> = answer_all(&peer, 2).iter().map(|m| m.header("Call-ID").to_owned()).collect();
    assert_eq!(ids, [format!("a%1-{pid}@127.0.0.1"), format!("a%2-{pid}@127.0.0.1")]);
    run.finish().expect_code(0);
}

#[test]
fn a_call_may_go_on_with_another_peer() {
    let _turn = lock::light();
    let path = scenario("options_setdest.xml");
    for host in ["127.0.0.1", "localhost"] {
        let (first, second) = (Peer::new(), Peer::new());
        let (remote, port) = (first.address().to_string(), second.address().port().to_string());
        let keys = ["-key", "second_host", host, "-key", "second_port", &port];
        let line = ["-sf", &path, "-i", "127.0.0.1", "-m", "1", &remote];
        let run = gossipper::start(&[&keys[..], &line].concat());
        first.answer(&first.receive(), "200 OK", "");
        let message = second.receive();
        assert_eq!(message.header("X-Second"), "yes");
        second.answer(&message, "200 OK", "");
        run.finish().expect_code(0);
    }
    let peer = Peer::new();
    let remote = peer.address().to_string();
    let keys = ["-key", "second_host", "127.0.0.1", "-key", "second_port", "0"];
    let line = ["-sf", &path, "-i", "127.0.0.1", "-m", "1", &remote];
    let run = gossipper::start(&[&keys[..], &line].concat());
    peer.answer(&peer.receive(), "200 OK", "");
    let over = run.finish().expect_code(1);
    assert_eq!(over.summary().failed_by("setdest_failed"), 1);
    // A call on a connection must stay on it: this is reported once, before the first call.
    let line = [&keys[..], &line, &["-t", "t1"]].concat();
    let refused = gossipper::run(&line).expect_code(255);
    assert!(refused.finished.stderr.contains("<setdest>"), "{}", refused.finished.stderr);
}

#[test]
fn commands_run_beside_the_calls_and_can_be_forbidden() {
    let _turn = lock::light();
    let (peer, path) = (Peer::new(), scenario("options_exec.xml"));
    let remote = peer.address().to_string();
    let handle = peer.handle();
    let answers = thread::spawn(move || answer_all(&handle, 20).len());
    let line = ["-sf", &path, "-i", "127.0.0.1", "-m", "20", "-r", "200", "-key", "row", "me"];
    // Each command sleeps for a minute: calls that waited for theirs would never end in time.
    let over = gossipper::run(&[&line[..], &["-timeout", "50", &remote]].concat()).expect_code(0);
    assert_eq!(answers.join().unwrap(), 20);
    over.summary().expect_all_succeeded(20);
    assert_eq!(over.summary().counter("commands_dropped"), 0);
    for call in 1..=20 {
        let line = format!("ran {call} for me\n");
        assert!(over.finished.stdout.contains(&line), "{line}{}", over.finished.stdout);
    }
    let refused = gossipper::run(&[&line[..], &["-no_exec", &remote]].concat()).expect_code(255);
    let says = "options_exec.xml:6:13: exec command= is forbidden by -no_exec";
    assert!(refused.finished.stderr.contains(says), "{}", refused.finished.stderr);
}

#[test]
fn built_in_calls_carry_the_identities_of_a_trunk() {
    let _turn = lock::light();
    let peer = Peer::new();
    let remote = peer.address().to_string();
    let identities = ["-sip_from", "\"T\" <sip:t@trunk>", "-sip_pai", "<sip:pai@trunk>"];
    let more =
        ["-sip_provider", "p1", "-sip_extra_header", "X-A: a", "-sip_extra_header", "X-B: [b"];
    let line = ["-sn", "uac", "-i", "127.0.0.1", "-m", "1", &remote];
    let run = gossipper::start(&[&identities[..], &more, &line].concat());
    let invite = peer.receive();
    assert!(invite.header("From").starts_with("\"T\" <sip:t@trunk>;tag="), "{}", invite.text);
    assert_eq!(invite.header("P-Asserted-Identity"), "<sip:pai@trunk>");
    let rest = ["X-provider", "X-A", "X-B"].map(|name| invite.header(name));
    assert_eq!(rest, ["p1", "a", "[b"]);
    peer.answer(&invite, "486 Busy Here", "");
    run.finish().expect_code(1);
}

//! Files as people write them for SIPp: they run, with a warning for doubtful parts. `gossipper
//! check` reports everything that is wrong with them without running anything.

use std::process::{Command, Output};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::gossipper::{self, PROGRAM};
use crate::harness::lock;
use crate::harness::peer::{Peer, Received};
use crate::harness::scratch::Scratch;

const HEADERS: &str = "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:a@[local_ip]>;tag=[call_number]
To: <sip:b@[remote_ip]>
Call-ID: [call_id]
Max-Forwards: 70
Content-Length: 0
";

fn request(attributes: &str, line: &str) -> String {
    format!(
        "<send{attributes}>\n<![CDATA[\nINFO sip:b@[remote_ip]:[remote_port] SIP/2.0\n{line}\
         CSeq: [cseq] INFO\n{HEADERS}\n]]>\n</send>\n"
    )
}

/// A scenario of a request, `recv`, and a request that contains the value of `[$it]`.
fn scenario(recv: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n<scenario name=\"doubtful\">\n\
         {}{recv}\n{}<recv response=\"200\"/>\n</scenario>\n",
        request("", ""),
        request("", "X-It: <[$it]>\n")
    )
}

/// Runs a scenario under the name `sipp` against a peer that answers both requests; returns the
/// second request and the text of the run on stderr.
fn run(text: &str, more: &[&str]) -> (Received, String) {
    let scratch = Scratch::new();
    let path = scratch.write("doubtful.xml", text);
    let peer = Peer::new();
    let remote = peer.address().to_string();
    let line = ["sipp", "-sf", &path, "-i", "127.0.0.1", "-p", "0", "-m", "1", "-nostdin"];
    let run = gossipper::start(&[&line[..], more, &[&remote]].concat());
    let first = peer.receive();
    peer.answer(&first, "200 OK", "X-Text: text=\"busy\"\r\nX-Row: b\r\n");
    let second = peer.receive();
    peer.answer(&second, "200 OK", "");
    let over = run.finish().expect_code(0);
    over.summary().expect_all_succeeded(1);
    (second, over.finished.stderr)
}

/// `gossipper check` with `args`, in the directory of `scratch`.
fn check(scratch: &Scratch, args: &[&str]) -> Output {
    Command::new(PROGRAM).arg("check").args(args).current_dir(scratch.path()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn what_sipp_runs_runs_and_is_told_where_it_is_doubtful() {
    let _turn = lock::light();
    let ereg = |attributes: &str| {
        format!(
            "<recv response=\"200\"><action><ereg {attributes} assign_to=\"it\"/></action></recv>"
        )
    };
    for (recv, it, told) in [
        (ereg("regexp=\"text=\\\"busy\\\"\" search_in=\"msg\""), "<text=\"busy\">", ""),
        (
            ereg("regexp=\"[a-zA-Z0-9]+\" search_in=\"hdr\" header=\"branch=\""),
            "<z9hG4bK",
            "doubtful.xml:16:74: header=\"branch=\" is not a header name; SIPp searches",
        ),
        (
            ereg("regexp=\"SIP\" regexp=\"x\" search_in=\"msg\""),
            "<SIP>",
            "doubtful.xml:16:49: regexp= twice in <ereg>; SIPp takes the first one",
        ),
        (
            ereg("regexp=\"SIP\", search_in=\"msg\" td=\"true\""),
            "<SIP>",
            "doubtful.xml:16:66: <ereg> has no attribute \"td\"; SIPp ignores it",
        ),
        (
            "<recv response=\"200\">\n optional=\"true\">\n<action><assign assign_to=\"n\" \
             value=\"3\"/><test assign_to=\"it\" variable=\"n\" compare=\"greater_than\" \
             value=\"\"/></action></recv>\n-->"
                .to_owned(),
            "<true>",
            "value=\"\" is empty; SIPp takes it as 0",
        ),
    ] {
        let (second, stderr) = run(&scenario(&recv), &[]);
        assert!(second.header("X-It").starts_with(it), "{recv}: {}", second.text);
        let notes =
            stderr.lines().filter(|line| line.starts_with("warning: ") && line.contains(".xml:"));
        match told {
            "" => assert_eq!(notes.count(), 0, "{stderr}"),
            told => assert_eq!(notes.filter(|note| note.contains(told)).count(), 1, "{stderr}"),
        }
    }
    let text = scenario(&ereg("regexp=\"IP\" search_in=\"msg\"")) + "s\n";
    let (_, stderr) = run(&text, &[]);
    assert!(stderr.contains("doubtful.xml:33:1: text after the root element"), "{stderr}");
}

#[test]
fn an_injection_file_may_be_named_by_a_field() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let rows = scratch.write("rows.csv", "SEQUENTIAL\nrows.csv;x\na;y\nb;z\n");
    let recv = "<recv response=\"200\"><action>\
                <ereg regexp=\"[a-z]+\" search_in=\"hdr\" header=\"X-Row:\" assign_to=\"key\"/>\
                <lookup assign_to=\"it\" file=\"[field0]\" key=\"[$key]\"/></action></recv>";
    let (second, _) = run(&scenario(recv), &["-inf", &rows, "-infindex", "rows.csv", "0"]);
    assert_eq!(second.header("X-It"), "<2.000000>");
}

#[test]
fn a_check_tells_everything_about_all_files() {
    let scratch = Scratch::new();
    let good = scenario(
        "<recv response=\"200\"><action><ereg regexp=\"IP\" search_in=\"msg\" assign_to=\"it\"/>\
         </action></recv>",
    );
    scratch.write("good.xml", &good);
    scratch
        .write("doubtful.xml", &good.replace("response=\"200\"/>", "response=\"200\" td=\"1\"/>"));
    let wrong = good.replace("INFO sip:", "INFO [nope] sip:").replace("[call_id]", "[call_idd]");
    scratch
        .write("wrong.xml", &wrong.replace("<recv response=\"200\">", "<recv response=\"2xx\">"));
    let output = check(&scratch, &["good.xml", "uac"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output), "2 scenarios: 0 errors, 0 warnings\n");

    let doubtful = "doubtful.xml:31:22: warning: <recv> has no attribute \"td\"\n  \
                    hint: SIPp ignores it\n1 scenario: 0 errors, 1 warning\n";
    let output = check(&scratch, &["doubtful.xml"]);
    assert_eq!((stdout(&output).as_str(), output.status.code()), (doubtful, Some(0)));
    let output = check(&scratch, &["doubtful.xml", "--strict"]);
    assert_eq!(
        stdout(&output),
        doubtful
            .replace("warning: ", "error: ")
            .replace("0 errors, 1 warning", "1 error, 0 warnings")
    );
    assert_eq!(output.status.code(), Some(1));

    let output = check(&scratch, &["wrong.xml", "doubtful.xml", "nowhere.xml", "-json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["schema_version"], "gossipper_check_v1");
    assert_eq!((&report["ok"], &report["errors"]), (&Value::from(false), &Value::from(6)));
    let places: Vec<String> = report["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| {
            let text = |key: &str| found[key].as_str().unwrap().to_owned();
            format!("{}:{}:{} {}", text("file"), found["line"], found["column"], text("severity"))
        })
        .collect();
    assert_eq!(
        places,
        [
            "wrong.xml:5:6 error",
            "wrong.xml:10:10 error",
            "wrong.xml:16:7 error",
            "wrong.xml:19:6 error",
            "wrong.xml:25:10 error",
            "doubtful.xml:31:22 warning",
            "nowhere.xml:0:0 error",
        ]
    );
}

#[test]
fn a_check_reads_injection_files_and_needs_none() {
    let scratch = Scratch::new();
    let text = scenario("<recv response=\"200\"/>").replace("[$it]", "[field1]");
    scratch.write("fields.xml", &text);
    scratch.write("rows.csv", "SEQUENTIAL\na\nb;c\n\nd;e\nf;g\n");
    let output = check(&scratch, &["fields.xml"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).starts_with("fields.xml: note: fields of injection files"));
    let output = check(&scratch, &["fields.xml", "-inf", "rows.csv"]);
    assert_eq!(
        stdout(&output),
        "rows.csv:4: warning: an empty line ends the file: 2 rows after it are left out\n  hint: \
         remove the line; a comment begins with #\nrows.csv:2: warning: the row has no column 1, \
         which the scenario reads (1 row like this)\n  hint: the field is empty then\n1 scenario: \
         0 errors, 2 warnings\n"
    );
    scratch.write("broken.csv", "a;b\n");
    let output = check(&scratch, &["fields.xml", "-inf", "broken.csv", "-inf", "no.csv"]);
    let said = stdout(&output);
    assert!(said.contains("broken.csv:1: error: \"a;b\" is none of SEQUENTIAL"), "{said}");
    assert!(said.contains("no.csv: error: cannot read the injection file"), "{said}");
    assert_eq!(output.status.code(), Some(1));
    let output = check(&scratch, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("needs a scenario file"));
}

#[test]
fn what_is_left_out_of_an_injection_file_is_told_at_the_start() {
    let _turn = lock::light();
    let scratch = Scratch::new();
    let rows = scratch.write("rows.csv", "SEQUENTIAL\na;b\n\nc;d\n");
    let users = scratch.write("users.csv", "USER\na;b\n");
    let recv = "<recv response=\"200\"><action><assignstr assign_to=\"it\" value=\"[field0]\"/>\
                </action></recv>";
    let (_, stderr) = run(&scenario(recv), &["-inf", &rows]);
    let told = "note: rows.csv:3: an empty line ends the file: 1 row after it is left out";
    assert!(stderr.contains(told), "{stderr}");
    let (_, stderr) = run(&scenario(recv), &["-inf", &users, "-users", "2"]);
    let told = "note: users.csv: 1 USER row for the 2 users of -users: the fields of user 2 are";
    assert!(stderr.contains(told), "{stderr}");
}

#[test]
fn a_scenario_that_needs_another_instance_names_the_place() {
    let scratch = Scratch::new();
    let text =
        scenario("<recv response=\"200\"/>\n<sendCmd><![CDATA[\nCall-ID: [call_id]\n]]></sendCmd>");
    let path = scratch.write("twin.xml", &text.replace("[$it]", ""));
    let over = gossipper::run(&["-sf", &path, "-i", "127.0.0.1", "127.0.0.1:9"]).expect_code(255);
    let told = "twin.xml:17:1: <sendCmd> needs another instance\n  hint: name it with -3pcc";
    assert!(over.finished.stderr.contains(told), "{}", over.finished.stderr);
    let output = check(&scratch, &["twin.xml"]);
    let told = "twin.xml:17:1: note: <sendCmd> needs another instance";
    assert!(stdout(&output).starts_with(told), "{}", stdout(&output));
}

#[test]
fn a_scenario_that_a_client_of_an_api_wrote_is_named_as_one() {
    let scratch = Scratch::new();
    let text = scenario("<recv response=\"200\"/>");
    scratch.write("call.xml", &text);
    let sum: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    let mark = json!({ "comment": "", "sha256": [sum] }).to_string();
    scratch.write(".call.xml.sent-by-api", &mark);
    let told = stdout(&check(&scratch, &["call.xml"]));
    assert!(told.contains("call.xml: note: a client of an API wrote it"), "{told}");
    scratch.write(".call.xml.sent-by-api", "{");
    let output = check(&scratch, &["call.xml"]);
    let told = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("repair the mark"), "{told}");
    scratch.write(".call.xml.sent-by-api", &mark);
    scratch.write("call.xml", &format!("{text}\n"));
    let told = stdout(&check(&scratch, &["call.xml"]));
    assert!(!told.contains("a client of an API"), "{told}");
}

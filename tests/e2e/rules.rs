//! The rules of a call, one by one, beside SIPp, with the same scenario, options and peer. Both
//! programs must send the same messages, count the same and end alike.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::gossipper::PROGRAM;
use crate::harness::peer::{Peer, Received};
use crate::harness::process::Process;
use crate::harness::scratch::Scratch;
use crate::harness::{PATIENCE, lock, ports, tools};

/// Columns of the statistics that are compared.
const COLUMNS: &[&str] = &[
    "IncomingCall",
    "OutgoingCall",
    "SuccessfulCall",
    "FailedCall",
    "FailedMaxUDPRetrans",
    "FailedUnexpectedMessage",
    "FailedCallRejected",
    "FailedTimeoutOnRecv",
    "OutOfCallMsgs",
    "DeadCallMsgs",
    "Retransmissions",
    "AutoAnswered",
];

/// The conversation of a peer with the program.
struct Talk {
    peer: Peer,
    /// The address of the program. It is that of the program's last message, once there is one.
    to: SocketAddr,
    /// Kinds of its messages, in order.
    said: Vec<String>,
    /// The first request of the program.
    first: Option<Received>,
    sent: u32,
}

impl Talk {
    fn next(&mut self, limit: Duration) -> Option<Received> {
        let message = self.peer.receive_within(limit)?;
        self.to = message.source;
        self.said.push(message.kind().to_owned());
        Some(message)
    }

    /// The next message of this kind; others may come before it.
    #[track_caller]
    fn expect(&mut self, kind: &str) -> Received {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Some(message) = self.next(left) else { panic!("no {kind} came: {:?}", self.said) };
            if message.kind() == kind {
                self.first.get_or_insert_with(|| message.clone());
                return message;
            }
        }
    }

    fn answer(&self, request: &Received, status: &str) {
        self.peer.send(self.to, request.response(status, ""));
    }

    /// Answers a caller's INVITE, and waits for the ACK.
    fn establish(&mut self) -> Received {
        let invite = self.expect("INVITE");
        self.answer(&invite, "200 OK");
        self.expect("ACK");
        invite
    }

    /// A request of the callee inside the dialog of `invite`.
    fn ask_back(&mut self, invite: &Received, method: &str, cseq: u32) -> String {
        let text = self.request(method, cseq, invite.header("Call-ID"), "");
        let (from, to) = (invite.header("To"), invite.header("From"));
        replace(&replace(&text, "From", &format!("{from};tag=peer")), "To", to)
    }

    /// A request of a caller.
    fn request(&mut self, method: &str, cseq: u32, call_id: &str, to_tag: &str) -> String {
        self.sent += 1;
        let here = self.peer.address();
        format!(
            "{method} sip:test@{} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {here};branch=z9hG4bK-{}\r\n\
             From: <sip:peer@{here}>;tag=peer\r\n\
             To: <sip:test@test>{to_tag}\r\n\
             Call-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\n\
             Contact: <sip:peer@{here}>\r\n\
             Max-Forwards: 70\r\n\
             Content-Length: 0\r\n\r\n",
            self.to, self.sent,
        )
    }

    fn send(&self, text: &str) {
        self.peer.send(self.to, text);
    }
}

/// `text` with another value of a header.
fn replace(text: &str, name: &str, value: &str) -> String {
    lines(text, |line| match line.split_once(": ") {
        Some((found, _)) if found == name => Some(format!("{name}: {value}")),
        _ => Some(line.to_owned()),
    })
}

/// `text` without a header.
fn without(text: &str, name: &str) -> String {
    lines(text, |line| (!line.starts_with(&format!("{name}:"))).then(|| line.to_owned()))
}

fn lines(text: &str, change: impl Fn(&str) -> Option<String>) -> String {
    text.split("\r\n").filter_map(change).collect::<Vec<_>>().join("\r\n")
}

/// The behaviour of a program in a case.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    said: Vec<String>,
    counts: BTreeMap<&'static str, u64>,
    code: Option<i32>,
}

/// A rule: a scenario, options, and the script of the peer.
struct Case<'a> {
    scenario: &'a str,
    args: &'a [&'a str],
    is_server: bool,
    peer: &'a (dyn Fn(&mut Talk) + Sync),
}

impl Case<'_> {
    fn play(&self, mut command: Command) -> Outcome {
        let (scratch, peer) = (Scratch::new(), Peer::new());
        let scenario = scratch.write("rule.xml", self.scenario);
        let port = ports::free();
        let port_text = port.to_string();
        command.current_dir(scratch.path()).env("TERM", "dumb");
        command.args(["-sf", &scenario, "-i", "127.0.0.1", "-p", &port_text]);
        if !self.args.contains(&"-m") {
            command.args(["-m", "1"]);
        }
        command.args(["-nostdin", "-trace_stat", "-stf", "counts.csv", "-timeout", "60"]);
        command.args(self.args);
        if !self.is_server {
            command.arg(peer.address().to_string());
        }
        let mut process = Process::spawn(command);
        let pid = process.id();
        process.wait_until("bound port", || ports::is_bound(pid, port).then_some(()));
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        let mut talk = Talk { peer, to, said: Vec::new(), first: None, sent: 0 };
        (self.peer)(&mut talk);
        let mut listening = true;
        while listening {
            listening = process.is_running();
            while let Some(message) = talk.next(Duration::from_millis(20)) {
                if ["BYE", "CANCEL"].contains(&message.kind()) {
                    talk.answer(&message, "200 OK");
                }
            }
        }
        let code = process.finish().code;
        let table = fs::read_to_string(scratch.join("counts.csv")).unwrap_or_default();
        let mut rows = table.lines();
        let names: Vec<&str> = rows.next().unwrap_or_default().split(';').collect();
        let values: Vec<&str> = rows.last().unwrap_or_default().split(';').collect();
        let counts = COLUMNS.iter().map(|&column| {
            let at = names.iter().position(|name| *name == format!("{column}(C)"));
            let value = at.and_then(|at| values.get(at)?.parse().ok());
            (column, value.unwrap_or_else(|| panic!("no {column} in {table:?}")))
        });
        Outcome { said: talk.said, counts: counts.collect(), code }
    }

    /// Plays the case with both programs, and expects the same.
    #[track_caller]
    fn compare(&self) -> Outcome {
        tools::need("sipp");
        let mut command = Command::new(PROGRAM);
        command.arg("sipp");
        let (mut ours, mut theirs) = thread::scope(|scope| {
            let theirs = scope.spawn(|| self.play(Command::new("sipp")));
            (self.play(command), theirs.join().expect("SIPp can be played with"))
        });
        if theirs.said.iter().any(|said| said == "CANCEL") {
            // SIPp has forgotten the call when its CANCEL is answered; ours waits for that answer.
            ours.counts.remove("DeadCallMsgs");
            theirs.counts.remove("DeadCallMsgs");
        }
        assert_eq!(ours, theirs, "ours on the left; {:?}", self.args);
        ours
    }
}

/// A scenario of these steps.
fn scenario(steps: &str) -> String {
    format!("<?xml version=\"1.0\"?>\n<scenario name=\"rule\">\n{steps}\n</scenario>\n")
}

/// A step that sends a request.
fn ask(method: &str, attributes: &str) -> String {
    let to = if method == "INVITE" { "" } else { "[peer_tag_param]" };
    format!(
        "<send {attributes}><![CDATA[\n\
         {method} sip:test@[remote_ip]:[remote_port] SIP/2.0\n\
         Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n\
         From: <sip:us@[local_ip]>;tag=[pid]c[call_number]\n\
         To: <sip:test@[remote_ip]>{to}\n\
         Call-ID: [call_id]\n\
         CSeq: [cseq] {method}\n\
         Contact: <sip:us@[local_ip]:[local_port]>\n\
         Max-Forwards: 70\n\
         X-Numbers: [users] [userid] [call_number]\n\
         Content-Length: 0\n\n]]></send>\n"
    )
}

/// A step that answers.
fn reply(status: &str, attributes: &str) -> String {
    format!(
        "<send {attributes}><![CDATA[\n\
         SIP/2.0 {status}\n\
         [last_Via:]\n\
         [last_From:]\n\
         [last_To:];tag=[pid]s[call_number]\n\
         [last_Call-ID:]\n\
         [last_CSeq:]\n\
         Contact: <sip:us@[local_ip]:[local_port]>\n\
         Content-Length: 0\n\n]]></send>\n"
    )
}

/// A caller that talks for a while.
fn caller() -> String {
    scenario(
        &[
            &ask("INVITE", "retrans=\"500\""),
            "<recv response=\"100\" optional=\"true\"/>\n",
            "<recv response=\"180\" optional=\"true\"/>\n",
            "<recv response=\"200\"/>\n",
            &ask("ACK", ""),
            "<pause milliseconds=\"1200\"/>\n",
            &ask("BYE", "retrans=\"500\""),
            "<recv response=\"200\"/>",
        ]
        .concat(),
    )
}

/// A callee.
fn callee(end: &str) -> String {
    scenario(
        &[
            "<recv request=\"INVITE\"/>\n",
            &reply("180 Ringing", ""),
            &reply("200 OK", ""),
            "<recv request=\"ACK\"/>\n",
            "<recv request=\"BYE\"/>\n",
            &reply("200 OK", ""),
            end,
        ]
        .concat(),
    )
}

#[track_caller]
fn compare_caller(args: &[&str], peer: &(dyn Fn(&mut Talk) + Sync)) -> Outcome {
    Case { scenario: &caller(), args, is_server: false, peer }.compare()
}

#[track_caller]
fn compare_callee(args: &[&str], peer: &(dyn Fn(&mut Talk) + Sync)) -> Outcome {
    Case { scenario: &callee(""), args, is_server: true, peer }.compare()
}

/// Sets of default behaviours.
const BEHAVIORS: &[&[&str]] = &[
    &[],
    &["-aa"],
    &["-aa", "-default_behaviors", "none"],
    &["-nd"],
    &["-default_behaviors", "none"],
    &["-default_behaviors", "all,-abortunexp"],
    &["-default_behaviors", "all,-bye"],
    &["-default_behaviors", "all,-pingreply"],
];

/// Plays with each of the sets.
#[track_caller]
fn compare_behaviors(more: &[&str], peer: &(dyn Fn(&mut Talk) + Sync)) {
    let _turn = lock::load();
    thread::scope(|scope| {
        for args in BEHAVIORS {
            scope.spawn(|| compare_caller(&[*args, more].concat(), peer));
        }
    });
}

#[track_caller]
fn unexpected_request(method: &str) {
    compare_behaviors(&[], &|talk| {
        let invite = talk.establish();
        let request = talk.ask_back(&invite, method, 7);
        talk.send(&request);
    });
}

#[test]
fn an_unexpected_bye() {
    unexpected_request("BYE");
}

#[test]
fn an_unexpected_cancel() {
    unexpected_request("CANCEL");
}

#[test]
fn an_unexpected_info() {
    unexpected_request("INFO");
}

#[test]
fn an_unexpected_message() {
    unexpected_request("MESSAGE");
}

#[test]
fn an_unexpected_ack() {
    unexpected_request("ACK");
}

#[test]
fn an_unexpected_invite() {
    unexpected_request("INVITE");
}

#[test]
fn a_refused_invite() {
    compare_behaviors(&["-recv_timeout", "1200"], &|talk| {
        let invite = talk.expect("INVITE");
        talk.answer(&invite, "486 Busy Here");
    });
}

#[test]
fn an_invite_refused_after_ringing() {
    compare_behaviors(&["-recv_timeout", "1200"], &|talk| {
        let invite = talk.expect("INVITE");
        talk.answer(&invite, "180 Ringing");
        talk.answer(&invite, "603 Decline");
    });
}

#[test]
fn a_ping_that_is_not_to_be_answered() {
    let _turn = lock::light();
    // With `pingreply` SIPp forgets the call without counting it, and does not end.
    for args in [&["-default_behaviors", "all,-pingreply"][..], &["-nd"]] {
        let outcome = compare_caller(args, &|talk| {
            let invite = talk.establish();
            let ping = talk.ask_back(&invite, "PING", 7);
            talk.send(&ping);
        });
        assert_eq!(outcome.counts["SuccessfulCall"], 1);
    }
}

#[test]
fn what_is_repeated_is_answered_again() {
    let _turn = lock::light();
    let outcome = compare_caller(&[], &|talk| {
        let invite = talk.establish();
        talk.answer(&invite, "200 OK");
        talk.expect("ACK");
    });
    assert_eq!(outcome.counts["Retransmissions"], 1);
    // A final response in other words is acknowledged as well, and counted as nothing.
    let outcome = compare_caller(&[], &|talk| {
        let invite = talk.establish();
        talk.send(&invite.response("200 OK", "X-Path: other\r\n"));
        talk.expect("ACK");
    });
    assert_eq!(outcome.counts["Retransmissions"], 0);
    let steps = [
        &ask("INVITE", ""),
        "<recv response=\"183\"/>",
        &ask("PRACK", ""),
        "<recv response=\"200\"/><pause milliseconds=\"300\"/><recv response=\"200\"/>",
        &ask("ACK", ""),
    ];
    Case {
        scenario: &scenario(&steps.concat()),
        args: &[],
        is_server: false,
        peer: &|talk| {
            let invite = talk.expect("INVITE");
            let ringing = invite.response("183 Session Progress", "RSeq: 1\r\n");
            talk.send(&ringing);
            let prack = talk.expect("PRACK");
            talk.send(&ringing);
            talk.expect("PRACK");
            talk.answer(&prack, "200 OK");
            thread::sleep(Duration::from_millis(600));
            talk.answer(&invite, "200 OK");
        },
    }
    .compare();
    let steps = [
        &ask("REGISTER", ""),
        "<recv response=\"401\"/>",
        &ask("REGISTER", ""),
        "<recv response=\"200\"/><pause milliseconds=\"300\"/>",
    ];
    Case {
        scenario: &scenario(&steps.concat()),
        args: &[],
        is_server: false,
        peer: &|talk| {
            let first = talk.expect("REGISTER");
            talk.answer(&first, "401 Unauthorized");
            let second = talk.expect("REGISTER");
            talk.answer(&first, "401 Unauthorized");
            talk.expect("REGISTER");
            talk.answer(&second, "200 OK");
            talk.answer(&second, "200 OK");
        },
    }
    .compare();
    // A callee that lingers for just that.
    let outcome = Case {
        scenario: &callee("<timewait milliseconds=\"600\"/>"),
        args: &[],
        is_server: true,
        peer: &|talk| {
            let bye = call(talk, "one");
            talk.send(&bye);
            talk.expect("200");
        },
    }
    .compare();
    assert_eq!((outcome.counts["Retransmissions"], outcome.counts["SuccessfulCall"]), (1, 1));
}

/// Plays a whole call to a callee; returns the answer to its BYE.
fn call(talk: &mut Talk, call_id: &str) -> String {
    let invite = talk.request("INVITE", 1, call_id, "");
    talk.send(&invite);
    talk.expect("180");
    talk.expect("200");
    let ack = talk.request("ACK", 1, call_id, ";tag=s");
    talk.send(&ack);
    let bye = talk.request("BYE", 2, call_id, ";tag=s");
    talk.send(&bye);
    talk.expect("200");
    bye
}

#[test]
fn a_message_that_does_not_say_to_whom_it_goes() {
    let _turn = lock::light();
    compare_caller(&[], &|talk| {
        let invite = talk.establish();
        let bye = talk.ask_back(&invite, "BYE", 7);
        talk.send(&without(&bye, "To"));
    });
    compare_callee(&[], &|talk| {
        let invite = talk.request("INVITE", 1, "one", "");
        talk.send(&without(&invite, "To"));
    });
    compare_callee(&[], &|talk| {
        let invite = talk.request("INVITE", 1, "one", "");
        talk.send(&invite);
        talk.expect("200");
        let ack = talk.request("ACK", 1, "one", ";tag=s");
        talk.send(&ack);
        let bye = talk.request("BYE", 2, "one", ";tag=s");
        talk.send(&without(&bye, "To"));
    });
}

#[test]
fn messages_in_a_pause_that_are_to_be_ignored() {
    let _turn = lock::light();
    compare_caller(&["-pause_msg_ign"], &|talk| {
        let invite = talk.establish();
        for method in ["BYE", "INFO"] {
            let request = talk.ask_back(&invite, method, 7);
            talk.send(&request);
        }
        talk.answer(&invite, "200 OK");
    });
    let outcome = Case {
        scenario: &callee("<timewait milliseconds=\"600\"/>"),
        args: &["-pause_msg_ign"],
        is_server: true,
        peer: &|talk| {
            call(talk, "one");
            let options = talk.request("OPTIONS", 3, "one", ";tag=s");
            talk.send(&options);
        },
    }
    .compare();
    assert_eq!(outcome.counts["SuccessfulCall"], 1);
}

#[test]
fn messages_of_calls_that_are_over_or_were_never_there() {
    let _turn = lock::light();
    let late = |talk: &mut Talk| {
        call(talk, "one");
        // Another BYE, with a new CSeq: a repetition of the first one would be answered by ours.
        let bye = talk.request("BYE", 3, "one", ";tag=s");
        talk.send(&bye);
        let invite = talk.request("INVITE", 1, "one", "");
        talk.send(&invite);
        call(talk, "two");
    };
    let outcome = compare_callee(&["-m", "2"], &late);
    assert_eq!(outcome.counts["DeadCallMsgs"], 2);
    // Without the memory of ended calls, a late BYE begins a call of its own, which fails.
    compare_callee(&["-m", "2", "-deadcall_wait", "0"], &|talk| {
        let bye = call(talk, "one");
        talk.send(&bye);
    });
    for (method, args) in
        [("OPTIONS", &[][..]), ("BYE", &[]), ("BYE", &["-aa"]), ("NOTIFY", &["-nd"])]
    {
        let outcome = compare_caller(args, &|talk| {
            talk.establish();
            let request = talk.request(method, 1, "stranger", "");
            talk.send(&request);
        });
        assert_eq!(outcome.counts["OutOfCallMsgs"], 1);
    }
    // After the last call.
    compare_callee(&[], &|talk| {
        let invite = talk.request("INVITE", 1, "one", "");
        talk.send(&invite);
        talk.expect("200");
        let other = talk.request("INVITE", 1, "two", "");
        talk.send(&other);
        let ack = talk.request("ACK", 1, "one", ";tag=s");
        talk.send(&ack);
        let bye = talk.request("BYE", 2, "one", ";tag=s");
        talk.send(&bye);
    });
}

#[test]
fn a_server_that_is_called_with_something_else() {
    let _turn = lock::light();
    for method in ["BYE", "CANCEL", "ACK", "OPTIONS"] {
        compare_callee(&[], &|talk| {
            let request = talk.request(method, 3, "one", ";tag=s");
            talk.send(&request);
        });
    }
    compare_callee(&[], &|talk| {
        let request = talk.request("OPTIONS", 3, "one", ";tag=s");
        let response = request.replacen(&first_line(&request), "SIP/2.0 200 OK", 1);
        talk.send(&response);
    });
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn retransmission_ends_where_it_is_told_to() {
    let _turn = lock::light();
    for max in ["0", "1"] {
        compare_caller(&["-max_retrans", max], &|talk| _ = talk.expect("INVITE"));
    }
    let steps = [
        "<recv request=\"INVITE\"/>",
        &reply("200 OK", "retrans=\"150\""),
        "<recv request=\"ACK\"/>",
    ];
    let outcome = Case {
        scenario: &scenario(&steps.concat()),
        args: &["-max_invite_retrans", "1", "-max_non_invite_retrans", "3"],
        is_server: true,
        peer: &|talk| {
            let invite = talk.request("INVITE", 1, "one", "");
            talk.send(&invite);
        },
    }
    .compare();
    assert_eq!(outcome.counts["Retransmissions"], 3);
}

#[test]
fn what_is_lost_on_purpose_is_lost_whenever_it_is_sent() {
    let _turn = lock::light();
    let outcome = compare_caller(&["-lost", "100", "-recv_timeout", "800"], &|_| ());
    assert!(outcome.said.is_empty(), "{outcome:?}");
    assert_eq!(outcome.counts["Retransmissions"], 1);
    let steps = [&ask("INVITE", ""), "<recv response=\"200\" lost=\"100\" timeout=\"500\"/>"];
    Case {
        scenario: &scenario(&steps.concat()),
        args: &["-nd"],
        is_server: false,
        peer: &|talk| {
            let invite = talk.expect("INVITE");
            talk.answer(&invite, "200 OK");
        },
    }
    .compare();
}

#[test]
fn a_timeout_counts_at_the_step_that_waits() {
    let _turn = lock::light();
    for (optional, mandatory) in [("timeout=\"300\"", "timeout=\"5000\""), ("", "timeout=\"300\"")]
    {
        let steps = [
            &ask("INVITE", ""),
            &format!("<recv response=\"180\" optional=\"true\" {optional}/>")[..],
            &format!("<recv response=\"200\" {mandatory}/>"),
            &ask("ACK", ""),
        ];
        Case {
            scenario: &scenario(&steps.concat()),
            args: &[],
            is_server: false,
            peer: &|talk| {
                let invite = talk.expect("INVITE");
                thread::sleep(Duration::from_millis(900));
                talk.answer(&invite, "200 OK");
            },
        }
        .compare();
    }
}

#[test]
fn users_and_sequence_numbers_are_counted_alike() {
    let _turn = lock::light();
    let steps = [&ask("OPTIONS", ""), "<recv response=\"200\"/><pause milliseconds=\"100\"/>"];
    for args in [&["-users", "3", "-m", "3"][..], &["-m", "2", "-r", "50"]] {
        let outcome = Case {
            scenario: &scenario(&steps.concat()),
            args,
            is_server: false,
            peer: &|talk| {
                let count = if args[0] == "-users" { 3 } else { 2 };
                let messages: Vec<Received> = (0..count).map(|_| talk.expect("OPTIONS")).collect();
                for message in messages {
                    talk.said.push(message.header("X-Numbers").to_owned());
                    talk.answer(&message, "200 OK");
                }
            },
        }
        .compare();
        let expected = if args[0] == "-users" { "3 3 1" } else { "-1 0 1" };
        assert!(outcome.said.iter().any(|said| said == expected), "{outcome:?}");
    }
    for first in ["0", "1", "10"] {
        compare_caller(&["-base_cseq", first], &|talk| {
            let invite = talk.establish();
            talk.said.push(invite.header("CSeq").to_owned());
            let bye = talk.expect("BYE");
            talk.said.push(bye.header("CSeq").to_owned());
            talk.answer(&bye, "200 OK");
        });
    }
}

#[test]
fn the_limit_of_open_calls_is_about_calls_that_are_made() {
    let _turn = lock::light();
    let outcome = compare_callee(&["-l", "1", "-m", "2"], &|talk| {
        for call_id in ["one", "two"] {
            let invite = talk.request("INVITE", 1, call_id, "");
            talk.send(&invite);
            talk.expect("200");
        }
        for call_id in ["one", "two"] {
            let ack = talk.request("ACK", 1, call_id, ";tag=s");
            talk.send(&ack);
            let bye = talk.request("BYE", 2, call_id, ";tag=s");
            talk.send(&bye);
        }
    });
    assert_eq!(outcome.counts["SuccessfulCall"], 2);
}

#[test]
fn whoever_asks_all_the_time_does_not_keep_a_run_from_its_end() {
    let _turn = lock::light();
    for program in ["sipp", PROGRAM] {
        let (scratch, peer, stranger) = (Scratch::new(), Peer::new(), Peer::new());
        let mut command = Command::new(program);
        if program == PROGRAM {
            command.arg("sipp");
        }
        let (port, remote) = (ports::free(), peer.address().to_string());
        let port_text = port.to_string();
        command.args(["-sf", &scratch.write("rule.xml", &caller()), "-oocsn", "ooc_default"]);
        command.args(["-i", "127.0.0.1", "-p", &port_text, "-m", "1", "-nostdin", &remote]);
        command.current_dir(scratch.path()).env("TERM", "dumb");
        let mut process = Process::spawn(command);
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        let mut talk = Talk { peer, to, said: Vec::new(), first: None, sent: 0 };
        let mut asking = Talk { peer: stranger, to, said: Vec::new(), first: None, sent: 0 };
        talk.establish();
        // Each request begins its own call, which waits four seconds for a repetition.
        let mut number = 0;
        while process.is_running() {
            let options = asking.request("OPTIONS", 1, &format!("ask-{number}"), "");
            asking.send(&options);
            number += 1;
            if let Some(bye) = talk.next(Duration::from_millis(100)) {
                talk.answer(&bye, "200 OK");
            }
        }
        assert!(number > 3, "{number}");
        assert!(asking.next(Duration::from_millis(100)).is_some(), "nobody answered");
        process.finish().expect_code(0);
    }
}

#[test]
fn where_the_answer_is_acknowledged() {
    let _turn = lock::light();
    let ack = ask("ACK", "").replace("ACK sip:test@[remote_ip]:[remote_port]", "ACK [next_url]");
    let steps = [
        &ask("INVITE", "retrans=\"500\""),
        "<recv response=\"180\" rrs=\"true\"/>",
        "<recv response=\"200\" rrs=\"true\"/>",
        &ack.replace("Max-Forwards", "[routes]\nMax-Forwards"),
    ];
    let outcome = Case {
        scenario: &scenario(&steps.concat()),
        args: &[],
        is_server: false,
        peer: &|talk| {
            let invite = talk.expect("INVITE");
            let route = "Record-Route: <sip:p.example;lr>\r\n";
            talk.peer.answer(&invite, "180 Ringing", route);
            let contact = format!("{route}Contact: <sip:bob@127.0.0.1:9>\r\n");
            talk.peer.answer(&invite, "200 OK", &contact);
            let ack = talk.expect("ACK");
            assert_eq!(ack.first_line(), "ACK sip:bob@127.0.0.1:9 SIP/2.0");
            assert_eq!(ack.header("Route"), "<sip:p.example;lr>");
        },
    }
    .compare();
    assert_eq!(outcome.counts["SuccessfulCall"], 1);
}

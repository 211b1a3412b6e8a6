//! Good scenarios: the programs that they compile to, with nothing else in the file having an
//! effect.

use std::path::{Path, PathBuf};

use gossipper::scenario::{
    Action, BUILTINS, Distribution, Duration, Expect, Field, Keep, Mode, Operand, Optional,
    Outgoing, Part, Program, ScenarioError, SearchIn, Step, StepKind, VariableRef, builtin,
    compile, decode, load_builtin,
};
use proptest::prelude::*;

use crate::scenario_support::{any_file, any_regex, assert_sound, rendered};

fn program(text: &str) -> Program {
    let program = compile(text, "t.xml", &[]).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_sound(&program);
    program
}

/// `steps` in a scenario.
fn around(steps: &str) -> String {
    format!("<scenario name=\"t\">\n{steps}\n</scenario>\n")
}

fn steps(text: &str) -> Vec<Step> {
    program(&around(&format!("{text}<send><![CDATA[INFO sip:a SIP/2.0]]></send>"))).steps
}

fn user_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "xml"))
        .collect();
    files.sort();
    assert!(files.len() >= 8);
    files
}

fn load(path: &Path) -> Result<Program, ScenarioError> {
    let bytes = std::fs::read(path).unwrap();
    let source = path.to_string_lossy();
    compile(&decode(&bytes, &source)?, &source, &[])
}

fn user_file(name: &str) -> Program {
    let path = user_files().into_iter().find(|path| path.ends_with(name)).unwrap();
    load(&path).unwrap_or_else(|error| panic!("{error}"))
}

/// The message of a send step, with "field" for every field.
fn text(step: &Step) -> String {
    String::from_utf8(bytes(step)).unwrap()
}

/// Like [`text`], byte for byte.
fn bytes(step: &Step) -> Vec<u8> {
    let StepKind::Send(send) = &step.kind else { panic!("no send: {step:?}") };
    rendered(&send.template, true).0
}

/// The content of a program, without the positions of its parts in the file.
fn shape(program: &Program) -> String {
    let shown = format!("{program:?}");
    let mut parts = shown.split("position: Position {");
    let mut out = parts.next().unwrap_or_default().to_owned();
    out.extend(parts.filter_map(|part| part.split_once('}').map(|(_, rest)| rest)));
    out
}

#[test]
fn all_builtins_and_user_scenarios_compile() {
    for builtin in BUILTINS {
        assert_sound(&load_builtin(builtin.name, &[]).unwrap());
        assert_eq!(
            compile(builtin.text, "a", &[]).map(|p| shape(&p)).unwrap(),
            shape(&load_builtin(builtin.name, &[]).unwrap())
        );
    }
    for path in user_files() {
        match load(&path) {
            Ok(program) => assert_sound(&program),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(load_builtin("options_client", &[]).is_ok());
    assert!(load_builtin("options_server", &[]).is_ok());
}

#[test]
fn the_layout_of_a_file_does_not_change_the_program() {
    for builtin in BUILTINS {
        let expected = shape(&program(builtin.text));
        let text = builtin.text;
        let same = [
            text.replace('\n', "\r\n"),
            format!("\u{feff}{text}"),
            text.replace("<!DOCTYPE scenario SYSTEM \"sipp.dtd\">", ""),
            text.replace("  ", "\t"),
            text.replace("<recv", "<!-- <recv request=\"X\"/> --><recv"),
            text.replace("<![CDATA[", "<!-- c --> \n <![CDATA[").replace("]]>", "]]> \n\n"),
            text.replace("\"/>", "\" />").replace("=\"", " = \""),
            text.replace("<scenario ", "<?pi x?><scenario "),
        ];
        for (at, changed) in same.iter().enumerate() {
            let program = compile(changed, "t.xml", &[]);
            let program = program.unwrap_or_else(|error| panic!("{at}: {error}"));
            assert_eq!(shape(&program), expected, "{}: change {at}", builtin.name);
        }
    }
}

#[test]
fn a_call_of_the_built_in_client() {
    let uac = load_builtin("uac", &[]).unwrap();
    assert_eq!(uac.name, "Basic Sipstone UAC");
    assert_eq!(uac.mode, Mode::Client);
    assert_eq!(uac.transactions, ["INVITE", "BYE"]);
    assert_eq!(uac.rtds, ["1"]);
    assert_eq!(uac.rtd_repartition_ms, [10, 20, 30, 40, 50, 100, 150, 200]);
    assert_eq!(uac.call_length_repartition_ms, [10, 50, 100, 500, 1000, 5000, 10000]);
    assert!(!uac.writes_shared_variables && !uac.reads_route_set);
    assert_eq!(uac.steps.len(), 9);
    let StepKind::Send(invite) = &uac.steps[0].kind else { panic!() };
    assert_eq!((invite.retrans_ms, invite.transaction), (Some(500), Some(0)));
    let StepKind::Send(ack) = &uac.steps[5].kind else { panic!() };
    assert_eq!((ack.retrans_ms, ack.transaction), (None, None));
    let StepKind::Recv(ringing) = &uac.steps[2].kind else { panic!() };
    assert!(matches!(ringing.expect, Expect::Response(180)));
    assert_eq!(ringing.optional, Optional::Local);
    assert!(matches!(uac.steps[6].kind, StepKind::Pause(Duration::RunDefault)));
    // It reads nothing of the messages that it received, so a waiting call keeps nothing.
    assert!(uac.steps.iter().all(|step| step.keep.is_nothing()));
}

#[test]
fn a_server_answers_at_once_and_keeps_nothing() {
    let uas = load_builtin("uas", &[]).unwrap();
    assert_eq!(uas.mode, Mode::Server);
    assert!(uas.transactions.is_empty());
    assert_eq!(uas.last_headers, ["via", "record-route", "from", "to", "call-id", "cseq"]);
    let waits = |step: &&Step| !matches!(step.kind, StepKind::Send(_));
    assert!(uas.steps.iter().filter(waits).all(|step| step.keep.is_nothing()));
    // A send that finds no room waits too, and is rendered only then.
    assert_eq!(uas.steps[1].keep.headers, 0b111111);
    let text = text(&uas.steps[1]);
    assert!(text.starts_with("SIP/2.0 180 Ringing\r\nfield\r\nfield\r\n"), "{text}");
}

#[test]
fn branches_labels_and_durations() {
    let uac = user_file("uac_branching.xml");
    assert_eq!(uac.transactions, ["INVITE", "BYE", "CANCEL"]);
    assert_eq!(uac.rtds, ["invite", "ring", "bye"]);
    assert_eq!(uac.counters, ["busy", "cancelled"]);
    assert_eq!(uac.displays, ["Busy"]);
    assert_eq!(uac.rtd_repartition_ms, [5, 10, 50, 100, 500]);
    let end = uac.steps.len() as u16;
    assert_eq!(uac.steps[0].on_timeout, Some(end));
    let ringing = uac.steps[2].next.unwrap();
    assert_eq!((ringing.target, ringing.chance), (13, 0.2));
    assert!(ringing.test.is_none());
    let busy = uac.steps[4].next.unwrap();
    assert!(matches!(uac.steps[usize::from(busy.target)].kind, StepKind::Nop));
    let ack = uac.steps[6].next.unwrap();
    assert_eq!((ack.target, ack.chance), (8, 1.0));
    assert_eq!(ack.test, Some(VariableRef::Call(0)));
    assert_eq!(uac.call_variables[0], "is_ours");
    let StepKind::Send(send) = &uac.steps[12].kind else { panic!() };
    assert!(send.template.fields().any(|field| *field == Field::Branch(-12)));
    assert_eq!(send.message, Outgoing::Request(gossipper::sip::MethodId::Ack.bit()));
}

#[test]
fn repeated_methods_are_told_apart() {
    let message = |method: &str| format!("<send><![CDATA[{method} sip:a SIP/2.0]]></send>");
    let text: String = ["INVITE", "ACK", "INVITE", "INFO", "INVITE", "INFO"].map(message).concat();
    assert_eq!(
        program(&around(&text)).transactions,
        ["INVITE", "INVITE#2", "INFO", "INVITE#3", "INFO#2"]
    );
    let register = user_file("register.xml");
    assert_eq!(register.transactions, ["REGISTER", "REGISTER#2"]);
}

#[test]
fn true_is_duration_one_and_false_is_none() {
    let steps = program(&around(
        "<nop start_rtd=\"true\"/><nop rtd=\"1\"/><nop rtd=\"false\" start_rtd=\"False\"/>\
         <nop start_rtd=\"a,b,a\"/><nop rtd=\"b , a\" repeat_rtd=\"true\"/>\
         <send><![CDATA[A b]]></send>",
    ));
    assert_eq!(steps.rtds, ["1", "a", "b"]);
    assert_eq!(steps.steps[0].rtd_starts, [0]);
    assert!(steps.steps[2].rtd_starts.is_empty() && steps.steps[2].rtd_stops.is_empty());
    assert_eq!(steps.steps[3].rtd_starts, [1, 2]);
    let stops: Vec<_> = steps.steps[4].rtd_stops.iter().map(|s| (s.rtd, s.repeat)).collect();
    assert_eq!(stops, [(2, true), (1, true)]);
}

#[test]
fn distributions_in_both_spellings() {
    let program = user_file("options_distributions.xml");
    let pauses: Vec<&Distribution> = program
        .steps
        .iter()
        .filter_map(|step| match &step.kind {
            StepKind::Pause(Duration::Of(distribution)) => Some(distribution),
            _ => None,
        })
        .collect();
    let fixed = Distribution::Fixed(5.0);
    let uniform = Distribution::Uniform { min: 1.0, max: 10.0 };
    let normal = Distribution::Normal { mean: 10.0, stdev: 3.0 };
    let exponential = Distribution::Exponential { mean: 10.0 };
    assert_eq!(
        pauses,
        [
            &fixed,
            &fixed,
            &uniform,
            &uniform,
            &normal,
            &normal,
            &Distribution::LogNormal { mean: 2.0, stdev: 0.5 },
            &exponential,
            &exponential,
            &Distribution::Weibull { lambda: 10.0, k: 2.0 },
            &Distribution::Pareto { k: 3.0, x_m: 5.0 },
        ]
    );
    assert_eq!(program.mode, Mode::Client, "leading pauses do not count");
    let steps = steps(
        "<timewait sanity_check=\"false\" milliseconds=\"9e9\"/>"
            .replace("timewait", "pause")
            .as_str(),
    );
    assert!(matches!(steps[0].kind, StepKind::Pause(Duration::Of(Distribution::Fixed(9e9)))));
}

#[test]
fn actions_with_the_spellings_of_old_scenarios() {
    let steps = steps(
        "<nop><action>
           <ereg regexp=\"(a)(b)\" search_in=\"hdr\" header=\" Via: \" occurence=\"2\"
                 start_line=\"true\" assign_to=\"x,y,z\" check_it=\"TRUE\"/>
           <assignstr assign_to=\"x\" variable=\"y\"/>
           <assignstr assign_to=\"z\" value=\"a\\n\\&quot;[pid]\\\\x\"/>
           <jump value=\"1\"/>
           <test variable=\"x\" compare=\"less_than_equal\" variable2=\"y\"/>
           <exec int_cmd=\"stop_now\"/>
         </action></nop>",
    );
    let [ereg, copy, assign, jump, test, stop] = &steps[0].actions[..] else { panic!() };
    let Action::Ereg(ereg) = ereg else { panic!() };
    let SearchIn::Header { name, occurrence, start_line, .. } = &ereg.search_in else { panic!() };
    assert_eq!((&**name, *occurrence, *start_line), (&b"Via"[..], 2, true));
    assert_eq!(ereg.assign_to.len(), 3);
    let Action::AssignText(_, template) = copy else { panic!() };
    assert_eq!(template.parts, [Part::Field(Field::Variable(VariableRef::Call(1)))]);
    let Action::AssignText(_, template) = assign else { panic!() };
    assert_eq!(template.pool, b"a\n\"\\x");
    assert!(matches!(jump, Action::Jump(Operand::Constant(1.0))));
    assert!(matches!(test, Action::Test(_)));
    assert!(matches!(stop, Action::Command(_)));
}

#[test]
fn scopes_and_init() {
    let program = user_file("init_globals.xml");
    assert_eq!(program.global_variables, ["domain", "limit", "sent"]);
    assert_eq!(program.user_variables, ["visits"]);
    assert_eq!(program.call_variables, ["over"]);
    assert!(program.writes_shared_variables);
    assert_eq!(program.init.len(), 3);
    let keep = program.init[1].next.unwrap();
    assert_eq!((keep.target, keep.test), (3, Some(VariableRef::Global(1))));
    // A global that only -set writes and one message reads is no mistake.
    let quiet =
        compile(&around("<send><![CDATA[A [$x]]]></send><Global variables=\"x\"/>"), "t.xml", &[]);
    assert!(!quiet.unwrap().writes_shared_variables);
}

#[test]
fn the_unexpected_has_a_label_and_a_way_back() {
    let program = user_file("unexpected_label.xml");
    assert_eq!(program.unexpected_label, Some(7));
    let back = program.unexpected_return.unwrap();
    let Action::Jump(Operand::Variable(variable)) = program.steps[8].actions[0] else { panic!() };
    assert_eq!(variable, back);
    assert!(program.reads_route_set);
    assert!(load_builtin("uac", &[]).unwrap().unexpected_return.is_none());
}

#[test]
fn what_a_waiting_call_keeps_of_its_last_message() {
    let uas = user_file("uas_cancel.xml");
    let bit = |name: &str| 1 << uas.last_headers.iter().position(|n| n == name).unwrap();
    let pause = uas.steps.iter().find(|step| matches!(step.kind, StepKind::Pause(_))).unwrap();
    let wanted = bit("record-route") | bit("from") | bit("to") | bit("call-id");
    assert_eq!(pause.keep, Keep { headers: wanted, message: false });
    let waiting = uas.steps.iter().filter(|step| matches!(step.kind, StepKind::Recv(_)));
    assert!(waiting.into_iter().all(|step| step.keep.is_nothing()));
}

/// Steps by number, and whether each keeps headers and the whole message.
fn keeps(text: &str) -> Vec<(bool, bool)> {
    let program = program(&around(text));
    program.steps.iter().map(|step| (step.keep.headers != 0, step.keep.message)).collect()
}

#[test]
fn what_the_actions_of_a_send_look_at_is_not_kept() {
    let look = |text: &str| {
        format!(
            "<recv request=\"A\"/><pause/><send><![CDATA[A b\n]]><action>\
            <ereg regexp=\"x\" search_in=\"msg\" assign_to=\"x\"/><log message=\"[$x]{text}\"/>\
            </action></send>"
        )
    };
    assert_eq!(keeps(&look(""))[1], (false, false));
    assert_eq!(keeps(&look("[last_Via:]"))[1], (true, false));
}

#[test]
fn keeping_follows_jumps_timeouts_and_exhausted_retransmissions() {
    let last = "<send><![CDATA[A b\n[last_Via:]]]></send>";
    // A mandatory receive replaces the message; its timeout does not.
    let text = format!("<recv request=\"A\"/><pause/><recv request=\"B\"/>{last}");
    assert_eq!(keeps(&text)[..3], [(false, false); 3]);
    let text = format!(
        "<recv request=\"A\"/><pause/><recv request=\"B\" ontimeout=\"x\"/><label id=\"x\"/>{last}"
    );
    assert_eq!(keeps(&text)[1..3], [(true, false); 2]);
    // Retransmissions that run out while the call waits for something else.
    let text = format!(
        "<recv request=\"A\"/><send retrans=\"500\" ontimeout=\"x\"><![CDATA[B c]]></send>\
         <recv response=\"200\"/><nop next=\"end\"/><label id=\"x\"/>{last}<label id=\"end\"/>"
    );
    assert_eq!(keeps(&text)[2], (true, false));
    // A receive that a condition skips leaves the older message in place.
    let text = format!(
        "<recv request=\"A\"/><pause/><recv request=\"B\" condexec=\"c\"/>{last}\
         <nop condexec=\"c\"/>"
    );
    assert_eq!(keeps(&text)[1], (true, false));
    // Backwards, and by an action that may go anywhere.
    let text = format!(
        "<recv request=\"A\"/><label id=\"back\"/>{last}<pause next=\"back\" chance=\"0.1\"/>"
    );
    assert_eq!(keeps(&text)[2], (true, false));
    let text = format!(
        "<recv request=\"A\"/>{last}<pause/><nop><action><jump variable=\"v\"/>\
         <log message=\"[$v]\"/></action></nop>"
    );
    assert_eq!(keeps(&text)[2], (true, false));
    // Expressions and some keywords need all of it.
    let ereg = "<nop><action><ereg regexp=\"a\" search_in=\"body\"/></action></nop>";
    assert_eq!(keeps(&format!("<recv request=\"A\"/><pause/>{ereg}"))[1], (false, true));
    let log = "<nop><action><log message=\"[last_cseq_number]\"/></action></nop>";
    assert_eq!(keeps(&format!("<recv request=\"A\"/><pause/>{log}"))[1], (false, true));
}

#[test]
fn messages_to_the_byte() {
    let file = user_file("latin1_crlf.xml");
    assert_eq!(file.name, "Grüße");
    // The bytes of the file, which is no UTF-8.
    let message = bytes(&file.steps[0]);
    assert!(message.windows(8).any(|part| part == b"\"J\xfcrgen\""));
    assert!(message.ends_with(b"Content-Length: field\r\n\r\nSch\xf6ne Gr\xfc\xdfe"));
    let register = text(&user_file("register.xml").steps[0]);
    assert!(register.ends_with("Content-Length: 0\r\n\r\n"), "{register}");
    let message = text(&user_file("arithmetic_loop.xml").steps[2]);
    assert!(message.ends_with("\r\n\r\nfield\r\n[field]\r\n"), "{message}");

    // A body without a final newline keeps none, however the element continues.
    let steps = steps("<send>\n<![CDATA[\nA b\n\nv=0]]>\n  </send>");
    assert_eq!(text(&steps[0]), "A b\r\n\r\nv=0");
    // The file's own line ends do not matter, and blank lines stay in the body.
    let crlf = "<send><![CDATA[\r\nA b\r\n\r\nv=0\r\n\r\n x\r\n]]></send>";
    let steps = program(&around(crlf)).steps;
    assert_eq!(text(&steps[0]), "A b\r\n\r\nv=0\r\n\r\nx\r\n");
    // Without CDATA, entities are what they stand for.
    let steps = program(&around("<send>\n A &lt;b&gt;&#x20;c\n T: &amp;\n</send>")).steps;
    assert_eq!(text(&steps[0]), "A <b> c\r\nT: &\r\n\r\n");
    // The last line before the body may vanish, the empty line may not.
    let steps = program(&around("<send><![CDATA[A b\n[last_Via:]\n\nx]]></send>")).steps;
    let StepKind::Send(send) = &steps[0].kind else { panic!() };
    assert_eq!(rendered(&send.template, false), (b"A b\r\n\r\nx".to_vec(), 7));
    // The Request-URI may come from the last message.
    let steps =
        program(&around("<send><![CDATA[INVITE [last_Request_URI] SIP/2.0]]></send>")).steps;
    let StepKind::Send(send) = &steps[0].kind else { panic!() };
    assert_eq!(send.message, Outgoing::Request(gossipper::sip::MethodId::Invite.bit()));
}

#[test]
fn keys_are_folded_in_and_builtins_take_them() {
    let keys = [("method".to_owned(), "OPTIONS".to_owned()), ("none".to_owned(), String::new())];
    let text = around("<send><![CDATA[[method] sip:a SIP/2.0\n[none]\nA: [none]b]]></send>");
    let program = compile(&text, "t.xml", &keys).unwrap();
    let StepKind::Send(send) = &program.steps[0].kind else { panic!() };
    let expected = b"OPTIONS sip:a SIP/2.0\r\nA: b\r\n\r\n";
    assert_eq!(send.template.as_literal(), Some(&expected[..]));
    assert_eq!(program.transactions, ["OPTIONS"]);
    assert!(load_builtin("uac", &keys).is_ok());
}

#[test]
fn a_program_without_a_name_takes_that_of_its_file() {
    let text = "<scenario><send><![CDATA[A b]]></send></scenario>";
    assert_eq!(compile(text, "dir/my.xml", &[]).unwrap().name, "my");
}

#[test]
fn a_program_knows_what_it_needs_of_media() {
    let facts = |steps: &str| {
        let text = format!("<scenario>{steps}<send><![CDATA[A b]]></send></scenario>");
        let program = compile(&text, "m", &[]).unwrap_or_else(|error| panic!("{error}\n{text}"));
        (program.uses_media, program.wants_video, program.has_media_ports, program.sources.len())
    };
    let action = |action: &str| facts(&format!("<nop><action>{action}</action></nop>"));
    let body = |line: &str| facts(&format!("<send><![CDATA[A b\n\n{line}\n]]></send>"));
    assert_eq!(facts(""), (false, false, false, 0));
    assert_eq!(body("m=audio [media_port] RTP/AVP 0"), (false, false, true, 0));
    assert_eq!(body("m=video [media_port+2] RTP/AVP 96"), (false, true, true, 0));
    assert_eq!(body("[audio_sdp]"), (true, false, true, 0));
    assert_eq!(body("[dtmf_digits]"), (true, false, false, 0));
    let both =
        r#"<exec rtp_stream="a.wav"/><exec rtp_stream="a.wav,2"/><exec rtp_stream="b.wav"/>"#;
    assert_eq!(action(both), (true, false, false, 2));
    assert_eq!(action(r#"<exec play_pcap_video="v.pcap"/>"#), (true, true, false, 1));
    assert_eq!(action(r#"<exec rtp_stream="pause"/>"#), (true, false, false, 0));
    assert_eq!(action(r#"<rtp_echo value="1"/>"#), (true, false, false, 0));
    // The name of a source may be a -key, and the digits may be the call's own.
    let keys = [("sound".to_owned(), "c.wav".to_owned())];
    let steps = "<nop><action><exec rtp_stream=\"[sound],-1\"/><exec play_dtmf=\"[call_number]\"/>\
                 </action></nop><send><![CDATA[A b]]></send>";
    let program = compile(&format!("<scenario>{steps}</scenario>"), "m", &keys).unwrap();
    assert_eq!(program.sources[0].file(), Some("c.wav"));
}

/// A built-in with a stretch of it replaced, repeated or removed.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let texts: Vec<Vec<u8>> = BUILTINS
        .iter()
        .map(|builtin| builtin.text.as_bytes().to_vec())
        .chain(user_files().into_iter().map(|path| std::fs::read(path).unwrap()))
        .collect();
    let words = prop::sample::select(vec![
        "",
        "<",
        ">",
        "/>",
        "\"",
        "'",
        "&",
        "&lt;",
        "&#10;",
        "\\",
        "\n",
        "\r",
        "\r\n",
        "[",
        "]",
        "[$x]",
        "[last_Via:]",
        "[len+1]",
        "\\x5b",
        "<!--",
        "-->",
        "]]>",
        "<![CDATA[",
        "<nop/>",
        "next=\"1\"",
        "\0",
        "\u{feff}",
        "é",
        "\u{2028}",
        "<recv",
        "optional=\"true\"",
        "ontimeout",
    ]);
    let edit = (any::<prop::sample::Index>(), 0..40usize, words);
    (prop::sample::select(texts), prop::collection::vec(edit, 1..4)).prop_map(
        |(mut text, edits)| {
            for (at, len, word) in edits {
                let at = at.index(text.len().max(1)).min(text.len());
                let end = (at + len).min(text.len());
                text.splice(at..end, word.bytes());
            }
            text
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_compiled_or_refused_with_a_place(text in any::<String>()) {
        any_file(text.as_bytes());
    }

    #[test]
    fn any_bytes_in_a_send_are_compiled_or_refused(
        text in "(\\PC|[\\[\\] \t\r\n\\\\x5b$:]){0,80}",
    ) {
        any_file(around(&format!("<send><![CDATA[A b{text}]]></send>")).as_bytes());
    }

    #[test]
    fn any_expression_is_matched_or_refused(
        pattern in "[ab.*+?{}0-3,()|^$\\[\\]\\\\:-]{0,12}",
        text in "[ab\\]{*]{0,20}",
    ) {
        any_regex(format!("{pattern}\n{text}").as_bytes());
    }

    #[test]
    fn mutated_scenarios_are_compiled_or_refused_with_a_place(bytes in mutated()) {
        any_file(&bytes);
    }

    /// Lines come out as they went in, with CRLF, without indentation, and nothing else.
    #[test]
    fn messages_keep_their_lines(
        headers in prop::collection::vec("[A-Z][a-z]{0,5}: [!-Z^-~]{1,20}", 0..6),
        body in prop::collection::vec("[!-Z^-~]{1,20}", 0..5),
        indent in " {0,4}\t{0,2}",
        line_end in prop::sample::select(vec!["\n", "\r\n"]),
        final_newline in any::<bool>(),
    ) {
        let mut lines = vec!["INFO sip:a SIP/2.0".to_owned()];
        lines.extend(headers);
        if !body.is_empty() {
            lines.push(String::new());
        }
        lines.extend(body.iter().cloned());
        prop_assume!(!lines.concat().contains("]]>") && !lines.concat().contains("\\x"));
        let mut inner: String = lines.join(&format!("{line_end}{indent}"));
        if final_newline {
            inner.push_str(line_end);
        }
        let program = program(&around(&format!("<send><![CDATA[{line_end}{indent}{inner}]]></send>")));
        let mut expected = lines.join("\r\n");
        match (body.is_empty(), final_newline) {
            (true, _) => expected.push_str("\r\n\r\n"),
            (false, true) => expected.push_str("\r\n"),
            (false, false) => {}
        }
        prop_assert_eq!(text(&program.steps[0]), expected);
    }
}

#[test]
fn aliases_name_the_same_scenario() {
    assert_eq!(builtin("options_client").unwrap().name, "options");
    assert_eq!(builtin("options_server").unwrap().name, "management");
    assert!(builtin("nope").is_none());
}

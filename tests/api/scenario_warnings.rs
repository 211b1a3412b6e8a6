//! Scenarios that SIPp accepts are accepted, and doubtful parts are reported with their place. One
//! mistake does not hide another.

use gossipper::scenario::{
    Action, Checked, Diagnostic, Distribution, Duration, Expect, InjectionTable, Operand, Program,
    Resources, SearchIn, Severity, Step, StepKind, TableInfo, check, compile,
};

use crate::scenario_support;

/// Marks the place where a report is expected; the mark is removed before compiling.
const HERE: char = '¶';

fn checked(text: &str) -> Checked {
    check(text, "dir/doubtful.xml", &Resources::keys(&[]))
}

/// The place of the mark in `marked`, and the text without it.
fn unmarked(marked: &str) -> ((u32, u32), String) {
    let at = marked.find(HERE).unwrap_or_else(|| panic!("no mark in {marked}"));
    let before = &marked[..at];
    let line = before.matches('\n').count() as u32 + 1;
    let column = (at - before.rfind('\n').map_or(0, |newline| newline + 1)) as u32 + 1;
    ((line, column), marked.replacen(HERE, "", 1))
}

/// The program of a text that has one doubtful part, at the mark.
fn doubtful(marked: &str, message: &str, hint: &str) -> Program {
    let (place, text) = unmarked(marked);
    let Checked { program, diagnostics } = checked(&text);
    let [found] = &diagnostics[..] else { panic!("{text}\n{diagnostics:#?}") };
    assert_eq!(found.severity, Severity::Warning, "{found:?}");
    let position = found.what.position;
    assert_eq!((position.line, position.column), place, "{}\nin: {text}", found.what);
    assert!(found.what.message.contains(message), "{}\nlacks: {message}", found.what);
    assert!(found.what.hint.contains(hint), "{}\nlacks: {hint}", found.what);
    let program = program.unwrap_or_else(|| panic!("{text}"));
    scenario_support::assert_sound(&program);
    assert!(compile(&text, "f", &[]).is_ok(), "{text}");
    program
}

/// `steps` in a scenario that would be fine otherwise.
fn around(steps: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<scenario name=\"t\">\n{steps}\n\
         <send><![CDATA[\nINFO sip:a SIP/2.0\n]]></send>\n</scenario>\n"
    )
}

fn tell(cases: &[(&str, &str, &str)]) {
    for (steps, message, hint) in cases {
        doubtful(&around(steps), message, hint);
    }
}

/// The steps of a scenario that has one doubtful part.
fn steps(marked: &str) -> Vec<Step> {
    doubtful(&around(marked), "", "").steps
}

fn errors(text: &str) -> Vec<String> {
    let diagnostics = checked(text).diagnostics;
    let errors = diagnostics.iter().filter(|found| found.severity == Severity::Error);
    errors.map(|found| format!("{}: {}", found.what.position.line, found.what.message)).collect()
}

#[test]
fn text_and_elements_that_sipp_does_not_look_at() {
    for (text, message) in [
        ("<scenario nmae¶=\"x\"><send>A b</send></scenario>", "no attribute \"nmae\""),
        ("<scenario><send>A b</send></scenario>\n ¶s\n", "after the root element"),
        ("<scenario>\n ¶--><send>A b</send></scenario>", "text inside <scenario>"),
        ("<scenario name=\"¶&copy;\"><send>A b</send></scenario>", "unknown entity &copy;"),
    ] {
        doubtful(&text.replace("nmae¶", "¶nmae"), message, "");
    }
    tell(&[
        ("<nop>\n\n  ¶hello</nop>", "text inside <nop>", "SIPp ignores it"),
        ("<recv request=\"A\">\n ¶optional=\"true\">\n</recv>", "text inside <recv>", ""),
        ("<nop>¶<actoin/></nop>", "<actoin> inside <nop>", "ignores it; did you mean \"action\""),
        ("<nop>¶<log message=\"[nope]\"/></nop>", "<log> inside <nop>", "SIPp ignores it"),
        ("<recv request=\"A\">¶<ereg regexp=\"(\" assign_to=\"b\"/></recv>", "<ereg> inside", ""),
        ("<nop><action>¶text</action></nop>", "text inside <action>", ""),
        ("<nop><action ¶x=\"1\"/></nop>", "no attribute \"x\"", ""),
        ("<nop><action><log message=\"a\">¶<x/></log></action></nop>", "<x> inside <log>", ""),
        ("<label id=\"a\">¶<nop/></label>", "<nop> inside <label>", ""),
        ("<Reference variables=\"a\">¶x</Reference>", "text inside <Reference>", ""),
        ("<send>\n ¶x<![CDATA[A b]]></send>", "beside a CDATA", "the whole message"),
        ("<send><![CDATA[A b]]>\n ¶x</send>", "beside a CDATA", ""),
        ("<recvCmd>¶text</recvCmd>", "text inside <recvCmd>", ""),
        ("<init ¶x=\"1\"><nop/></init>", "no attribute \"x\"", ""),
    ]);
}

#[test]
fn attributes_that_sipp_does_not_look_for_or_finds_first() {
    tell(&[
        ("<recv request=\"A\" ¶optoinal=\"true\"/>", "no attribute \"optoinal\"", "\"optional\""),
        ("<nop ¶milliseconds=\"1\"/>", "no attribute \"milliseconds\"", "SIPp ignores it"),
        ("<pause ¶milisecond=\"5\"/>", "no attribute \"milisecond\"", "\"milliseconds\""),
        ("<recvCmd ¶dest=\"m\"/>", "no attribute \"dest\"", ""),
        ("<nop crlf=\"true\"¶, hide=\"true\"/>", ", between the attributes of <nop>", "ignores"),
        ("<nop crlf=\"true\" ¶word hide=\"true\"/>", "word between the attributes", ""),
        ("<nop crlf=\"true\"¶hide=\"x y\"/>", "hide=\"x y\" between", "needs a blank before"),
        ("<nop ¶condexec_inverse=\"true\"/>", "without condexec=", "SIPp ignores it"),
        ("<nop ¶test=\"x\"/>", "test= without next=", "SIPp ignores it"),
        ("<nop ¶chance=\"0.5\"/>", "chance= without next=", ""),
    ]);
    let steps = steps("<recv request=\"A\" ¶request=\"B\"/>");
    let StepKind::Recv(recv) = &steps[0].kind else { panic!() };
    assert!(matches!(&recv.expect, Expect::Request(method) if &**method == "A"));
    let text = around("<Reference variables=\"a\"¶,\"b\"/><nop condexec=\"a\"/>");
    doubtful(&text, ",\"b\" between the attributes of <Reference>", "SIPp ignores it");
    // The test that SIPp ignores does not use its variable either.
    let text = around("<nop condexec=\"x\"/><nop test=\"x\"/>");
    assert_eq!(errors(&text), ["3: variable \"x\" is used only once"]);
}

#[test]
fn values_that_sipp_reads_in_its_own_way() {
    tell(&[
        ("<nop ¶crlf=\"x\"/>", "neither true nor false", "as true"),
        ("<nop ¶lost=\"101\"/>", "not a percentage", "all from 100 on"),
        ("<recv request=\"A\" ¶timeout=\"-1\"/>", "is below 0", "no effect"),
        ("<recv request=\"A\" ¶timeout=\"\"/>", "is empty", "as 0"),
        ("<send ¶retrans=\"-1\"><![CDATA[A b]]></send>", "is below 0", ""),
        ("<recv ¶request=\"IN VITE\"/>", "not a method", "regexp_match"),
        ("<recv ¶request=\"invite\"/>", "never comes", "write \"INVITE\""),
        ("<recv ¶request=\"Bye\"/>", "never comes", "write \"BYE\""),
        ("<recv ¶response=\"99\"/>", "not a status code", "never comes"),
        ("<recv request=\"A\" ¶regexp_match=\"x\"/>", "neither true nor false", "as false"),
        ("¶<pause milliseconds=\"-1\"/>", "negative", "does not wait"),
        ("<pause ¶min=\"2\" max=\"1\"/>", "min= is larger than max=", ""),
        ("<pause distribution=\"normal\" mean=\"1\" ¶stdev=\"-1\"/>", "stdev= is negative", ""),
        ("<pause ¶normal=\"false\" mean=\"1\" stdev=\"1\"/>", "neither absent nor true", "same"),
        ("<ResponseTimeRepartition ¶value=\"10,x\"/>", "\"x\" is not a number", "10, 20"),
        ("<CallLengthRepartition ¶value=\"20,10\"/>", "do not grow", "in order"),
        (
            "<CallLengthRepartition value=\"1\"/>\n¶<CallLengthRepartition value=\"2\"/>",
            "second <CallLengthRepartition>",
            "replaces",
        ),
        ("<Global ¶variables=\"x,x\"/><nop condexec=\"x\"/>", "declared twice", ""),
        (
            "<recv response=\"401\" auth=\"true\"/>\
             <nop><action><log message=\"¶[authentication]\"/></action></nop>",
            "outside of a",
            "",
        ),
        (
            "<recv response=\"401\"/>¶<send><![CDATA[A b\n[authentication]\n]]></send>",
            "[authentication] without a <recv auth=\"true\">: no challenge is kept",
            "add auth=\"true\" to the <recv> of the 401 or 407",
        ),
        ("<nop><action><exec ¶int_cmd=\"stop\"/></action></nop>", "int_cmd=\"stop\"", "the call"),
        (
            "<nop><action><exec ¶int_cmd=\"stop_cal\"/></action></nop>",
            "int_cmd=\"stop_cal\"",
            "SIPp ends the call; it knows stop_call, stop_gracefully, stop_now; did you mean \
             \"stop_call\"?",
        ),
        (
            "<recv response=\"401\" auth=\"true\"/><send><![CDATA[A b\n¶[authentication \
             usrname=a]\n]]></send>",
            "there is no argument \"usrname\"",
            "password=secret]; did you mean \"username\"?",
        ),
        ("¶<nop><action><jump value=\"1.5\"/></action></nop>", "<jump> to 1.5", "as 1"),
        ("<send><![CDATA[A b\nX: ¶[local_ip+1]\n]]></send>", "takes no offset", "ignores"),
    ]);
    let count = |value: &str| {
        let text = around(&format!("<recv request=\"A\" timeout=\"{value}\"/>"));
        let program = compile(&text, "f", &[]).unwrap();
        let StepKind::Recv(recv) = &program.steps[0].kind else { panic!() };
        recv.timeout_ms
    };
    assert_eq!([count("0x1f4"), count("10")], [Some(500), Some(10)]);
    let names = "<nop condexec=\"a b\"/><nop condexec=\"a b\"/><nop condexec=\"c/d\"/>\
                 <send><![CDATA[A [$c/d]]]></send>";
    assert_eq!(checked(&around(names)).diagnostics, []);
}

#[test]
fn an_empty_value_is_0() {
    let operand = |action: &str| {
        let text =
            around(&format!("<nop><action>{action}</action></nop><Reference variables=\"n,t\"/>"));
        let steps = doubtful(&text, "value=\"\" is empty", "SIPp takes it as 0").steps;
        match &steps[0].actions[0] {
            Action::Assign(_, operand) | Action::Arithmetic(_, _, operand) => *operand,
            Action::Test(test) => test.operand,
            other => panic!("{other:?}"),
        }
    };
    for action in [
        "<assign assign_to=\"n\" ¶value=\"\"/>",
        "<add assign_to=\"n\" ¶value=\"\"/>",
        "<test assign_to=\"t\" variable=\"n\" compare=\"equal\" ¶value=\"\"/>",
    ] {
        assert_eq!(operand(action), Operand::Constant(0.0));
    }
    let text = around("<nop><action><divide assign_to=\"n\" value=\"\"/></action></nop>");
    assert!(errors(&text)[0].contains("division by zero"), "{:?}", errors(&text));
}

#[test]
fn of_several_lengths_of_a_pause_the_distribution_counts_then_the_variable() {
    let all = "variable=\"w\" milliseconds=\"20\"";
    let duration = |attributes: &str| {
        let text = format!("¶<pause {attributes}/><Reference variables=\"w\"/>");
        let steps = doubtful(&around(&text), "exclude each other", "SIPp takes").steps;
        let StepKind::Pause(duration) = &steps[0].kind else { panic!() };
        duration.clone()
    };
    assert!(matches!(duration(all), Duration::Variable(_)));
    let fixed = Duration::Of(Distribution::Fixed(5.0));
    assert_eq!(duration(&format!("{all} distribution=\"fixed\" value=\"5\"")), fixed);
}

#[test]
fn a_header_that_is_no_name_is_a_text_to_look_for() {
    let search = |header: &str| {
        let text =
            format!("<nop><action><ereg regexp=\"a\" search_in=\"hdr\" {header}/></action></nop>");
        let steps = steps(&text);
        match &steps[0].actions[0] {
            Action::Ereg(ereg) => match &ereg.search_in {
                SearchIn::Text { text, .. } => String::from_utf8_lossy(text).into_owned(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    for header in ["branch=", "m=audio", "Via: SIP/2.0/UDP", "sip:", "a b"] {
        assert_eq!(search(&format!("¶header=\"{header}\"")), header);
    }
    // SIPp does not resolve entities in this attribute.
    assert_eq!(search("¶header=\"Contact: &lt;sip:\""), "Contact: &lt;sip:");
    assert_eq!(search("¶header=\"Contact: <sip:\""), "Contact: <sip:");
    tell(&[
        (
            "<nop><action><ereg regexp=\"a\" ¶header=\"Via:\"/></action></nop>",
            "header= without search_in=\"hdr\"",
            "searches the whole message",
        ),
        (
            "<nop><action><ereg regexp=\"a\" search_in=\"hdr\" header=\"Via\" ¶occurence=\"0\"/>\
             </action></nop>",
            "occurence=\"0\"",
            "as 1",
        ),
    ]);
}

#[test]
fn more_variables_than_groups_are_left_as_they_are() {
    let steps = steps(
        "<nop><action><ereg regexp=\"a(b)\" ¶assign_to=\"x,y,z\"/></action></nop>\
         <Reference variables=\"x,y,z\"/>",
    );
    let Action::Ereg(ereg) = &steps[0].actions[0] else { panic!() };
    assert_eq!(ereg.assign_to.len(), 2);
    let two = "<nop><action><ereg regexp=\"a(b)\" ¶assign_to=\"x,y,z\"/></action></nop>\
               <Reference variables=\"x,y,z\"/>";
    tell(&[(two, "3 variables, the expression has the whole match and 1 group", "SIPp leaves")]);
}

#[test]
fn only_the_first_of_two_action_elements_runs() {
    let one = |name: &str| format!("<assign assign_to=\"{name}\" value=\"1\"/>");
    let text = format!(
        "<nop><action>{}</action>\n¶<action>{}</action></nop><Reference variables=\"a,b\"/>",
        one("a"),
        one("b")
    );
    let steps = doubtful(&around(&text), "a second <action>", "the first one only").steps;
    assert_eq!(steps[0].actions.len(), 1);
}

#[test]
fn a_request_beside_a_response_is_what_is_waited_for() {
    let steps = steps("<recv request=\"A\" ¶response=\"200\"/>");
    let StepKind::Recv(recv) = &steps[0].kind else { panic!() };
    assert!(matches!(&recv.expect, Expect::Request(_)));
}

#[test]
fn one_name_may_stand_for_several_transactions() {
    let send = |method: &str, attribute: &str| {
        format!("<send {attribute}=\"t\"><![CDATA[{method} a SIP/2.0]]></send>")
    };
    let answer = "<recv response=\"200\" response_txn=\"t\"/>";
    let text = around(&format!(
        "{}{answer}{}{}{answer}",
        send("INVITE", "start_txn"),
        send("ACK", "ack_txn"),
        send("OPTIONS", "start_txn")
    ));
    assert_eq!(checked(&text).diagnostics, []);
    let both = "<send start_txn=\"i\" ¶ack_txn=\"i\"><![CDATA[A b]]></send>\
                <recv response=\"200\" response_txn=\"i\"/>";
    tell(&[(both, "together", "takes start_txn=")]);
}

#[test]
fn an_injection_file_may_be_named_by_a_call() {
    let tables = [TableInfo { name: "u.csv".to_owned(), is_indexed: true }];
    let resources = Resources { tables: &tables, ..Resources::keys(&[]) };
    let text = around(
        "<nop><action>\
         <lookup assign_to=\"a\" file=\"[field0]\" key=\"[$a]\"/>\
         <insert file=\"u.csv\" value=\"x\"/>\
         </action></nop>",
    );
    let Checked { program, diagnostics } = check(&text, "f", &resources);
    assert_eq!(diagnostics, []);
    let actions = &program.unwrap().steps[0].actions;
    assert!(matches!(&actions[0], Action::Lookup { table: InjectionTable::Named(_), .. }));
    assert!(matches!(&actions[1], Action::Insert { table: InjectionTable::Known(0), .. }));
    assert!(errors(&text)[0].contains("there is no such file"), "{:?}", errors(&text));
    let open = Resources { are_tables_known: false, ..Resources::keys(&[]) };
    assert_eq!(check(&text, "f", &open).diagnostics, []);
}

#[test]
fn a_name_that_every_answer_would_repeat_is_cut() {
    let long = format!("a{}", "ü".repeat(100));
    let (place, text) = unmarked(&around("").replace("name=\"t\"", &format!("¶name=\"{long}\"")));
    let Checked { program, diagnostics } = checked(&text);
    let what = &diagnostics[0].what;
    assert_eq!((what.position.line, what.position.column), place, "{what}");
    assert!(what.message.contains("has 201 bytes"), "{what}");
    assert_eq!(program.unwrap().name, format!("a{}", "ü".repeat(63)), "at a character");
    let text = text.replace(&long, &"n".repeat(128));
    assert_eq!(checked(&text).diagnostics, []);
}

#[test]
fn many_warnings_are_not_all_told() {
    let unknown: String = (0..200).map(|at| format!(" atribute{at}=''")).collect();
    let text = around(&format!("<nop{unknown}/>").repeat(2000));
    let Checked { program, diagnostics } = checked(&text);
    assert_eq!((program.is_some(), diagnostics.len()), (true, 1000));
    // Errors that are not reported are not worded either.
    let text = around(&"<nopp/>".repeat(100_000));
    let Checked { program, diagnostics } = checked(&text);
    assert_eq!((program.is_some(), diagnostics.len()), (false, 1000));
}

#[test]
fn all_faults_of_a_file_are_told_in_one_go() {
    let text = "<scenario name=\"t\">
<recv request=\"A\" optoinal=\"true\"/>
<send retrans=\"soon\" timeout=\"late\"><![CDATA[
A b [nope]
X: [call_nubmer] [$once]
]]></send>
<frob condexec=\"used\"/>
<nop next=\"nowhere\"><action>
<assgin/>
<log message=\"[nope]\"/>
<assign assign_to=\"used\" value=\"one\"/>
</action></nop>
<send><![CDATA[hello]]></send>
<pause milliseconds=1 />
<nop start_rtd=\"r\"/>
</scenario>
";
    assert_eq!(
        errors(text),
        [
            "3: retrans=\"soon\" is not a number of milliseconds",
            "3: timeout=\"late\" is not a number of milliseconds",
            "4: unknown keyword [nope]",
            "5: unknown keyword [call_nubmer]",
            "5: variable \"once\" is used only once",
            "7: unknown element <frob>",
            "8: no label \"nowhere\"",
            "9: unknown action <assgin>",
            "10: unknown keyword [nope]",
            "11: value=\"one\" is not a number",
            "13: the message begins neither with a method nor with \"SIP/2.0 code\"",
            "14: malformed attribute in <pause>: milliseconds= has no quotes",
            "15: rtd \"r\" is never stopped",
        ]
    );
    let first = compile(text, "f", &[]).unwrap_err();
    assert_eq!(first.position.line, 3, "warnings are no errors: {first}");
}

#[test]
fn what_is_never_closed_is_told_once_and_with_what_stands_before_it() {
    let faulty = "<scenario>\n<send><![CDATA[\nA b [nope]\n]]></send>\n";
    for (rest, message) in [
        ("", "1: malformed XML: <scenario> is never closed"),
        ("<!-- the end\n</scenario>", "5: the comment that begins here is never closed"),
        (
            "<recv response=\"100\" optional=\"true\"\n</recv>\n</scenario>",
            "5: malformed XML: the tag <recv is never closed",
        ),
        ("<recv response=\"100\">\n</scenario>", "5: malformed XML: <recv> is never closed"),
        (
            "<recv response=\"100/>\n<nop/>\n</scenario>",
            "5: malformed attribute in <recv>: the quotes of response= are not closed",
        ),
        (
            "<send><![CDATA[A b\n</send>\n</scenario>",
            "5: the CDATA section that begins here is never closed",
        ),
    ] {
        let mut expected = vec!["3: unknown keyword [nope]".to_owned(), message.to_owned()];
        expected.sort();
        assert_eq!(errors(&format!("{faulty}{rest}")), expected);
    }
}

#[test]
fn jumps_that_no_call_ever_leaves_are_told_at_their_step() {
    let jump = |target: usize| format!("<nop><action><jump value=\"{target}\"/></action></nop>\n");
    let own = around(&jump(0));
    assert_eq!(errors(&own), ["3: step 0 jumps to itself: no call ever leaves it"]);
    let circle = around(&format!("<nop/>\n{}{}", jump(2), jump(1)));
    assert_eq!(errors(&circle), ["4: 2 steps jump in a circle: no call ever leaves it"]);
    let behind = around("<label id=\"a\"/><nop/>\n<nop next=\"a\"/>");
    assert_eq!(errors(&behind), ["3: 2 steps jump in a circle: no call ever leaves it"]);
    for fine in [
        jump(1),
        "<recv request=\"A\"/><nop><action><jump value=\"0\"/></action></nop>".to_owned(),
        "<label id=\"a\"/><nop next=\"a\" chance=\"0.5\"/>".to_owned(),
        "<nop condexec=\"v\"><action><jump value=\"0\"/></action></nop><nop condexec=\"v\"/>"
            .to_owned(),
    ] {
        assert_eq!(errors(&around(&fine)), Vec::<String>::new(), "{fine}");
    }
}

#[test]
fn a_notice_has_it_all_on_one_line() {
    let found: Diagnostic = checked(&around("<nop hdie=\"true\"/>")).diagnostics.remove(0);
    let expected = "dir/doubtful.xml:3:6: <nop> has no attribute \"hdie\"; \
                    SIPp ignores it; did you mean \"hide\"?";
    assert_eq!(found.on_one_line(), expected);
}

#[test]
fn a_check_that_decides_nothing_is_told() {
    let check = "<test variable=\"a\" compare=\"equal\" value=\"1\" check_it=\"true\"/>";
    tell(&[(
        &format!("<nop><action><assign assign_to=\"a\" value=\"1\"/>¶{check}</action></nop>"),
        "only a warning",
        "inside a <recv>",
    )]);
}

/// As in SIPp, `case_indep` is about the name of the header alone.
#[test]
fn an_expression_tells_upper_case_from_lower_case() {
    let ereg = "<ereg regexp=\"ab\" search_in=\"hdr\" header=\"to:\" case_indep=\"true\" \
                assign_to=\"_\"/>";
    let text = around(&format!("<recv request=\"A\"><action>{ereg}</action></recv>"));
    let program = checked(&text).program.unwrap();
    let Action::Ereg(ereg) = &program.steps[0].actions[0] else { panic!("{program:?}") };
    let mut scratch = Default::default();
    assert_eq!(ereg.regex.is_match(b"To: ab", &mut scratch), Ok(true));
    assert_eq!(ereg.regex.is_match(b"To: AB", &mut scratch), Ok(false));
}

use super::*;

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// The typed options, as `name=value,value`.
fn typed(line: &[&str]) -> Vec<String> {
    match read(&words(line)) {
        Ok(Request::Run(low)) => {
            let mut all: Vec<String> = low
                .options
                .iter()
                .map(|given| {
                    let values: Vec<_> = given.values.iter().map(|v| v.to_string_lossy()).collect();
                    format!("{}={}", given.flag.name, values.join(","))
                })
                .collect();
            all.extend(low.remote.map(|remote| remote.to_string_lossy().into_owned()));
            all
        }
        other => panic!("{line:?}: {other:?}"),
    }
}

fn error(line: &[&str]) -> UsageError {
    match read(&words(line)) {
        Err(error) => error,
        other => panic!("{line:?}: {other:?}"),
    }
}

#[test]
fn one_dash_and_two_are_alike() {
    assert_eq!(typed(&["-sn", "uas", "--sf", "a.xml", "--r", "5"]), ["sn=uas", "sf=a.xml", "r=5"]);
}

#[test]
fn order_is_kept_across_options() {
    assert_eq!(
        typed(&["-nd", "-r", "1", "-key", "a", "b", "-nr", "-r", "2", "-key", "c", "d", "host"]),
        ["nd=", "r=1", "key=a,b", "nr=", "r=2", "key=c,d", "host"]
    );
}

#[test]
fn a_value_may_begin_with_a_dash_or_be_empty() {
    assert_eq!(typed(&["-s", "-x", "-au", "--", "-ap", ""]), ["s=-x", "au=--", "ap="]);
    assert_eq!(typed(&["-key", "-a", "-b=c"]), ["key=-a,-b=c"]);
    assert_eq!(typed(&["-key", "a", ""]), ["key=a,"]);
    assert_eq!(typed(&["-s", "-r", "-r", "5"]), ["s=-r", "r=5"]);
}

#[test]
fn values_may_be_joined_with_an_equals_sign() {
    assert_eq!(typed(&["-r=5", "--s=a=b", "-ap="]), ["r=5", "s=a=b", "ap="]);
    assert_eq!(typed(&["-nr=true", "-aa=false", "-bind_local=1"]), ["nr=", "bind_local="]);
    assert_eq!(error(&["-nr=maybe"]).label(), "not_a_bool");
    assert_eq!(error(&["-key=a", "b"]).label(), "no_equals_form");
    assert_eq!(error(&["-h=x"]).label(), "no_equals_form");
}

#[test]
fn an_index_may_be_one_word_or_two() {
    assert_eq!(typed(&["-infindex", "a.csv", "2", "host"]), ["infindex=a.csv,2", "host"]);
    assert_eq!(typed(&["-infindex", "a.csv,2", "host"]), ["infindex=a.csv,2", "host"]);
    assert_eq!(typed(&["-infindex=a.csv,2", "-r", "5"]), ["infindex=a.csv,2", "r=5"]);
    assert_eq!(typed(&["-infindex", "a.csv,2"]), ["infindex=a.csv,2"]);
    // A number as second word makes it SIPp's form, even with a comma in the file's name.
    assert_eq!(typed(&["-infindex", "a,1", "2"]), ["infindex=a,1,2"]);
    assert_eq!(error(&["-infindex", "a.csv"]).label(), "missing_value");
    assert_eq!(error(&["-infindex=a.csv"]).label(), "no_equals_form");
}

#[test]
fn a_double_dash_ends_the_options() {
    assert_eq!(typed(&["-r", "5", "--", "-host"]), ["r=5", "-host"]);
    assert_eq!(error(&["--", "a", "b"]).label(), "second_remote");
}

#[test]
fn the_remote_host_may_stand_anywhere_but_only_once() {
    assert_eq!(typed(&["host:5070", "-r", "5"]), ["r=5", "host:5070"]);
    let message = error(&["one", "-r", "5", "two"]).to_string();
    assert!(message.contains("one") && message.contains("two"), "{message}");
}

#[test]
fn missing_values_are_named() {
    for (line, usage) in [
        (&["-r"][..], "-r RATE"),
        (&["-key", "a"], "-key NAME TEXT"),
        (&["-nr", "--set"], "-set NAME TEXT"),
        (&["-mp"], "-mp PORT"),
    ] {
        let error = error(line);
        assert_eq!(error.label(), "missing_value");
        assert!(error.to_string().contains(usage), "{error}");
    }
}

#[test]
fn aliases_keep_the_name_that_was_typed() {
    assert_eq!(typed(&["-mp", "7000", "-pause_ms", "5"]), ["mp=7000", "pause_ms=5"]);
}

#[test]
fn options_without_their_part_are_errors_that_name_it() {
    for (option, part) in [("-pcap-link", "link type"), ("-pprof", "profiling")] {
        let error = error(&["-r", "5", option]);
        assert_eq!(error.label(), "not_in_this_version");
        let message = error.to_string();
        assert!(message.starts_with(option) && message.contains(part), "{message}");
    }
    for option in ["-plugin", "-multihome"] {
        assert_eq!(error(&[option, "x"]).label(), "refused");
    }
    assert_eq!(typed(&["-ipfield", "1"]), ["ipfield=1"]);
}

#[test]
fn unknown_options_get_suggestions() {
    for (option, expected) in [
        ("-max_retran", "-max_retrans"),
        ("-rate-max", "-rate_max"),
        ("-SN", "-sn"),
        ("-t2", "-T2"),
        ("--sumary_json", "-summary_json"),
        ("-trace_stats", "-trace_stat"),
        ("-r10", "-r 10"),
    ] {
        match error(&[option]) {
            UsageError::UnknownOption { typed, suggestions } => {
                assert_eq!(typed, option);
                assert_eq!(suggestions.first().map(String::as_str), Some(expected), "{option}");
            }
            other => panic!("{other:?}"),
        }
    }
    for option in ["-", "-xyzzy", "---r", "-é", "-=5"] {
        let error = error(&[option]);
        assert_eq!(error.label(), "unknown_option");
        assert!(!error.to_string().contains("did you mean"), "{error}");
    }
}

#[test]
fn immediate_options_end_the_line() {
    for (line, expected) in [
        (&["-r", "5", "-h", "-nonsense"][..], Immediate::Help),
        (&["-help"], Immediate::Help),
        (&["host", "--version"], Immediate::Version),
        (&["-sd", "uac"], Immediate::DumpScenario),
    ] {
        match read(&words(line)) {
            Ok(Request::Immediate(immediate, _)) => assert_eq!(immediate, expected),
            other => panic!("{line:?}: {other:?}"),
        }
    }
}

#[test]
fn names_that_are_not_utf8_are_unknown_options() {
    let word = OsStr::from_bytes(b"-r\xff").to_owned();
    assert_eq!(read(&[word]).unwrap_err().label(), "unknown_option");
}

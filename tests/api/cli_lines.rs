//! No command line, however odd, makes the parser panic or accept what it does not know.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use gossipper::cli::{Action, parse};
use gossipper::options;
use proptest::prelude::*;

/// Words that lead deep into the parser, and words without a meaning.
fn word() -> impl Strategy<Value = OsString> {
    let names: Vec<&'static str> =
        options::all().filter(|flag| flag.is_available()).map(|flag| flag.name).collect();
    let value = prop::sample::select(vec![
        "",
        "-",
        "--",
        "0",
        "-1",
        "10",
        "010",
        "0x10",
        "1.5s",
        "1e308",
        "99999999999999999999",
        "nan",
        "host",
        "[::1]:5060",
        "[::1",
        ":",
        "u1",
        "un",
        "all,-bye",
        "0-3,8",
        "0-",
        "a=b",
        "é",
    ]);
    let option = (prop::sample::select(names), "-{1,2}", "(=[a-z0-9.]{0,4})?");
    prop_oneof![
        4 => option.prop_map(|(name, dashes, tail)| format!("{dashes}{name}{tail}").into()),
        4 => value.prop_map(OsString::from),
        1 => any::<String>().prop_map(OsString::from),
        1 => prop::collection::vec(1u8.., 0..12).prop_map(OsString::from_vec),
    ]
}

fn program() -> impl Strategy<Value = OsString> {
    prop::sample::select(vec!["sipp", "gossipper", "/usr/bin/sipp", "", "/"]).prop_map(Into::into)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_line_gives_an_action(name in program(), words in prop::collection::vec(word(), 0..8)) {
        let mut argv = vec![name];
        argv.extend(words);
        match parse(argv) {
            Action::Fail { text, exit_code } => {
                prop_assert!(exit_code == 255 || exit_code == 1);
                prop_assert!(text.to_string().starts_with("error: "));
                // Control characters of the command line must not reach a terminal.
                let is_control = |c: char| c.is_control() && c != '\n';
                prop_assert!(!text.to_string().contains(is_control), "{text:?}");
            }
            Action::Run(config) => {
                prop_assert!(config.rate >= 0.0 && config.rate_period_ms > 0);
                prop_assert!(config.media.port_min <= config.media.port_max);
            }
            // Other actions only need to be told apart.
            _ => {}
        }
    }

    #[test]
    fn two_values_arrive_as_they_were_typed(name in "\\PC{1,8}", text in "\\PC{0,8}") {
        let line = ["sipp", "-key", &name, &text, "-s", &text, "h"];
        match parse(line.iter().map(OsString::from).collect()) {
            Action::Run(config) => {
                prop_assert_eq!(config.service, text.clone());
                prop_assert_eq!(config.keys, [(name, text)]);
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }
}

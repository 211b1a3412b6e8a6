use super::*;
use crate::config::StandingGate;

#[test]
fn names_are_unique() {
    let mut names: Vec<_> = all().map(|flag| flag.name).collect();
    names.sort_unstable();
    let before = names.len();
    names.dedup();
    assert_eq!(names.len(), before);
}

#[test]
fn rows_take_as_many_values_as_their_accept_reads() {
    for flag in all() {
        let expected = match flag.status {
            Status::Supported(Accept::Switch(_)) => 0,
            Status::Supported(Accept::Pair(_) | Accept::NameAndColumn(_)) => 2,
            Status::Supported(_) => 1,
            Status::Immediate(Immediate::DumpScenario) => 1,
            Status::Immediate(_) | Status::Alias(_) => 0,
            Status::Later(_) | Status::Refused(_) => continue,
        };
        assert_eq!(flag.values.len(), expected, "-{}", flag.name);
    }
}

#[test]
fn aliases_name_a_row_that_is_no_alias() {
    for flag in all() {
        if let Status::Alias(target) = flag.status {
            let target = find(target).unwrap_or_else(|| panic!("-{} -> {target}", flag.name));
            assert!(!matches!(target.status, Status::Alias(_)), "-{}", flag.name);
        }
    }
}

#[test]
fn help_texts_have_one_form() {
    for flag in all() {
        if matches!(flag.status, Status::Alias(_)) {
            continue;
        }
        assert!(!flag.help.is_empty(), "-{}", flag.name);
        assert!(!flag.help.ends_with('.'), "-{}", flag.name);
        assert!(!flag.help.contains("  "), "-{}", flag.name);
    }
}

/// Stores `values` with the row called `name`.
fn store(name: &str, values: &[&str]) -> Result<RunDraft, ValueError> {
    let mut draft = RunDraft::default();
    let values: Vec<_> = values.iter().map(OsStr::new).collect();
    match find(name).unwrap().status {
        Status::Supported(accept) => accept.store(&mut draft, &values).map(|()| draft),
        other => panic!("-{name} is {other:?}"),
    }
}

#[test]
fn every_supported_option_changes_the_draft() {
    for flag in all() {
        let Status::Supported(accept) = flag.status else { continue };
        let values: &[&str] = match (flag.name, accept) {
            ("t", _) => &["un"],
            ("tls_version", _) => &["1.3"],
            ("i" | "mi", _) => &["::1"],
            ("api_addr", _) => &[":8080"],
            ("ci", _) => &["127.0.0.1"],
            ("rsa", _) => &["host"],
            ("rtp_addr", _) => &["host:6000"],
            ("cpus", _) => &["0-3"],
            ("default_behaviors", _) => &["all,-bye"],
            ("rtcheck", _) => &["loose"],
            ("health_min_success_ratio" | "health_min_mos", _) => &["1"],
            ("health_max_rtcp_fraction_lost" | "health_max_rtp_loss", _) => &["0.5"],
            ("color", _) => &["never"],
            ("io", _) => &["syscall"],
            (_, Accept::Switch(_)) => &[],
            (name, _) if name.ends_with("_overwrite") || name == "rtp_watermarks" => &["false"],
            ("hep_addr", _) => &["192.0.2.1:9060"],
            ("log_level", _) => &["warn"],
            ("log_otel_proto", _) => &["http"],
            ("log_otel_header", _) => &["a=b"],
            ("log_attr", _) => &["a=b"],
            ("trace_format", _) => &["gossipper"],
            ("tdmmap", _) => &["{0-3}{99}{5-8}{1-31}"],
            ("cid_type", _) => &["uuid"],
            ("sip_extra_header", _) => &["X-A: b"],
            (_, Accept::Pair(_)) => &["a", ""],
            (_, Accept::NameAndColumn(_)) => &["a", "0"],
            (_, Accept::Time { .. }) => &["2500ms"],
            // The default of no option, so that an option needs no row here for it.
            _ => &["7"],
        };
        let draft = store(flag.name, values).unwrap_or_else(|e| panic!("-{}: {e}", flag.name));
        assert_ne!(draft, RunDraft::default(), "-{}", flag.name);
    }
}

#[test]
fn numbers_outside_of_the_range_of_the_option_are_errors() {
    for (name, value) in [
        ("p", "65536"),
        ("p", "-1"),
        ("mp", "0"),
        ("r", "-1"),
        ("r", "1e10"),
        ("rp", "0"),
        ("lost", "100.5"),
        ("l", "0"),
        ("users", "0"),
        ("health_min_success_ratio", "1.1"),
        ("health_max_timeouts", "-2"),
        ("health_max_silent_calls", "-2"),
        ("health_max_rtp_loss", "1.1"),
        ("health_min_mos", "0"),
        ("base_cseq", "0x80000000"),
        ("f", "0"),
        ("m", "18446744073709551616"),
    ] {
        let name = find(name).unwrap().resolved().name;
        let error = store(name, &[value]).unwrap_err();
        assert_eq!(error.label(), "out_of_range", "-{name} {value}: {error}");
    }
}

#[test]
fn the_largest_numbers_are_kept_whole() {
    assert_eq!(store("seed", &["0xffffffffffffffff"]).unwrap().seed, Some(u64::MAX));
    assert_eq!(store("health_max_timeouts", &["-1"]).unwrap().health.max_timeouts, None);
    let silent = |text| store("health_max_silent_calls", &[text]).unwrap().health.max_silent_calls;
    assert_eq!((silent("-1"), silent("0")), (StandingGate::Off, StandingGate::Most(0)));
    assert_eq!(store("p", &["0xffff"]).unwrap().local_port, Some(u16::MAX));
}

#[test]
fn a_transport_that_is_missing_is_refused_by_name() {
    for (mode, part) in [("c1", "compressed"), ("S1", "SCTP")] {
        let message = store("t", &[mode]).unwrap_err().to_string();
        assert!(message.contains(part) && message.contains(mode), "{message}");
    }
    assert_eq!(store("t", &["UN"]).unwrap().transport, Some(crate::config::Transport::UdpMulti));
}

#[test]
fn file_names_need_not_be_utf8_but_other_values_do() {
    use std::os::unix::ffi::OsStrExt;
    let bytes = OsStr::from_bytes(b"a\xff.xml");
    for (name, is_accepted) in [("sf", true), ("s", false), ("r", false), ("i", false)] {
        let mut draft = RunDraft::default();
        let Status::Supported(accept) = find(name).unwrap().status else { panic!() };
        assert_eq!(accept.store(&mut draft, &[bytes]).is_ok(), is_accepted, "-{name}");
    }
}

//! The content of packages: units, the manual page, completions, layout and versions.
//!
//! `make test-packages` installs the packages; the tests here need no package manager.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::harness::gossipper::PROGRAM;
use crate::harness::scratch::Scratch;
use crate::harness::tools;

const UNITS: [&str; 3] = ["server", "client", "hybrid"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn unit(kind: &str) -> String {
    read(&format!("systemd/gossipper-{kind}.service"))
}

#[track_caller]
fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs a command that must succeed without complaints; returns its output.
#[track_caller]
fn succeed(command: &mut Command) -> String {
    let output = run(command);
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success() && stderr.is_empty(), "{command:?}: {stdout}{stderr}");
    stdout
}

fn generate(what: &str) -> String {
    succeed(Command::new(PROGRAM).args(["generate", what]))
}

#[test]
fn units_can_be_loaded() {
    tools::need("systemd-analyze");
    let scratch = Scratch::new();
    for kind in UNITS {
        // The program is not installed here.
        let text = unit(kind).replace("/usr/local/gossipper/bin/gossipper", "/bin/true");
        let file = scratch.write(&format!("gossipper-{kind}.service"), &text);
        succeed(Command::new("systemd-analyze").args(["verify", "--man=no", &file]));
    }
}

#[test]
fn services_are_shut_in() {
    tools::need("systemd-analyze");
    // Tenths of systemd's exposure level: a higher level is a failure.
    let exposes = |file: &str, tenths: &str| {
        let threshold = format!("--threshold={tenths}");
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--no-pager", &threshold, file]);
        !run(&mut command).status.success()
    };
    let scratch = Scratch::new();
    for kind in UNITS {
        let name = format!("gossipper-{kind}.service");
        let file = scratch.write(&name, &unit(kind));
        assert!(!exposes(&file, "15"), "{name} is above 1.5");
        assert!(exposes(&file, "5"), "the check does not fail when it should");
        let folder = scratch.join(&format!("{name}.d"));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("perf.conf"), read("systemd/perf.conf")).expect("a drop-in");
        assert!(!exposes(&file, "22"), "{name} is above 2.2 with the drop-in");
        assert!(exposes(&file, "15"), "the drop-in is not read");
    }
}

#[test]
fn the_units_differ_in_names_only() {
    let plain = |kind: &str| {
        let text = unit(kind);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let text = lines.collect::<Vec<_>>().join("\n");
        text.replace(&format!("gossipper-{kind}"), "NAME").replace(&format!("({kind})"), "(KIND)")
    };
    for kind in UNITS {
        assert_eq!(plain(kind), plain("server"), "{kind}");
        let program = "/usr/local/gossipper/bin/gossipper";
        let file = format!("-config /usr/local/gossipper/etc/gossipper-{kind}.json");
        for line in [
            format!("ExecStart={program} server {file}"),
            format!("ExecReload=/bin/sh -c 'exec {program} config check {file} >/dev/null 2>&1'"),
        ] {
            assert!(unit(kind).lines().any(|found| found == line), "{line}");
        }
    }
}

/// The value of a key that stands once in a unit.
fn value(text: &str, key: &str) -> String {
    let found: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(key)).collect();
    let [value] = found[..] else { panic!("{key} is there {} times", found.len()) };
    value.strip_prefix('=').expect("key=value").to_owned()
}

#[test]
fn a_reload_reaches_the_process_before_the_check() {
    // Otherwise a file that the check refuses would never show in the metrics.
    let text = unit("server");
    let steps: Vec<&str> = text.lines().filter(|line| line.starts_with("ExecReload=")).collect();
    let [first, second] = steps[..] else { panic!("{steps:?}") };
    assert!(first.contains("kill -HUP $MAINPID") && second.contains("config check"), "{steps:?}");
}

#[test]
fn what_cannot_start_is_left_alone_and_a_person_is_not_in_its_way() {
    let text = unit("client");
    let number = |key: &str| -> u64 { value(&text, key).parse().expect("a number") };
    let (window, burst) = (number("StartLimitIntervalSec"), number("StartLimitBurst"));
    assert!(burst * number("RestartSec") < window, "a start that always fails would go on");
    assert!(burst >= 10 && window <= 60, "ten restarts by hand in a minute must be possible");
    let codes = value(&text, "RestartPreventExitStatus");
    for code in ["1", "2", "3", "78", "97"] {
        assert!(codes.split(' ').any(|found| found == code), "{code}");
    }
    // A start makes the same check, and reports its findings once.
    assert!(!text.contains("ExecStartPre="));
}

#[test]
fn a_client_leaves_its_result_where_the_service_may_write() {
    let text = read("etc/gossipper-client.json");
    let config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let path = config["summary_json"].as_str().expect("a path");
    let path = path.strip_prefix("../").expect("relative to the folder of the file");
    let written = value(&unit("client"), "ReadWritePaths");
    let folder = Path::new("/usr/local/gossipper").join(path);
    let folder = folder.parent().expect("a folder").display().to_string();
    assert!(written.split(' ').any(|allowed| allowed == folder), "{folder} is not in {written}");
}

#[test]
fn building_packages_installs_nothing_for_tests() {
    let script = read("scripts/deps.sh");
    let list = script.split("\npackages=(").nth(1).and_then(|rest| rest.split("\n)").next());
    let list = list.expect("the list of packages");
    assert!(list.contains("debhelper"), "{list}");
    for package in ["sip-tester", "kamailio", "chromium", "prometheus"] {
        assert!(!list.contains(package), "{package}");
    }
}

#[test]
fn nothing_is_enabled_by_itself() {
    let preset = read("systemd/90-gossipper.preset");
    for kind in UNITS {
        let line = format!("disable gossipper-{kind}.service");
        assert!(preset.lines().any(|found| found == line), "{line}");
    }
    assert!(!preset.lines().any(|line| line.starts_with("enable")));
}

#[test]
fn the_manual_page_is_one() {
    tools::need("mandoc");
    let scratch = Scratch::new();
    let file = scratch.write("gossipper.1", &generate("man"));
    // Below "warning" mandoc reports style, and "base" would want the date format of a BSD.
    let complaints = run(Command::new("mandoc").args(["-T", "lint", "-W", "warning", &file]));
    let text = String::from_utf8_lossy(&complaints.stdout).into_owned();
    let unexpected: Vec<&str> =
        text.lines().filter(|line| !line.contains("missing date, using \"\": TH")).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    let page = succeed(Command::new("mandoc").args(["-T", "ascii", &file]));
    let page = without_overstrikes(&page);
    for part in ["EXIT STATUS", "OPTIONS OF DOCTOR", "/usr/local/gossipper/data", "     -sn NAME"] {
        assert!(page.contains(part), "{part:?} in {page}");
    }
}

/// Text for a printer as plain text: bold is a letter printed twice, italic one over a line.
fn without_overstrikes(text: &str) -> String {
    let mut plain = String::new();
    for letter in text.chars() {
        if letter == '\u{8}' {
            plain.pop();
        } else {
            plain.push(letter);
        }
    }
    plain
}

#[test]
fn shells_take_their_completions() {
    let scratch = Scratch::new();
    for (shell, what) in [("bash", "bash"), ("zsh", "zsh"), ("fish", "fish")] {
        tools::need(shell);
        let file = scratch.write(&format!("completions.{what}"), &generate(what));
        succeed(Command::new(shell).args(["-n", &file]));
    }
}

#[test]
fn bash_completes_options_values_and_commands() {
    tools::need("bash");
    let scratch = Scratch::new();
    let file = scratch.write("completions", &generate("bash"));
    let complete = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let at = words.len() - 1;
        let script = format!(
            "source {file}; COMP_WORDS=({}); COMP_CWORD={at}; _gossipper gossipper \"{}\" \"{}\"; \
             echo \"${{COMPREPLY[@]}}\"",
            words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" "),
            words[at],
            words[at - 1],
        );
        let reply = succeed(Command::new("bash").args(["--norc", "-c", &script]));
        reply.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete("gossipper -summary_j"), ["-summary_json"]);
    assert_eq!(complete("gossipper sipp -summary_j"), ["-summary_json"]);
    assert!(complete("gossipper -sn ua").contains(&"uac".to_owned()));
    assert_eq!(complete("gossipper doct"), ["doctor"]);
    assert_eq!(complete("gossipper tune -rev"), ["-revert"]);
}

#[test]
fn fish_completes_after_options_with_one_dash() {
    tools::need("fish");
    let scratch = Scratch::new();
    let file = scratch.write("completions", &generate("fish"));
    let complete = |line: &str| {
        let script = format!("source {file}; complete -C '{line}'");
        let mut command = Command::new("fish");
        let folder = scratch.path();
        command.env("HOME", folder).env("XDG_CONFIG_HOME", folder).env("XDG_DATA_HOME", folder);
        succeed(command.args(["--no-config", "-c", &script]))
    };
    assert!(complete("gossipper -sn uac -summary_j").starts_with("-summary_json"));
    assert!(complete("gossipper doct").starts_with("doctor"));
    assert!(complete("gossipper tune -rev").starts_with("-revert"));
    assert!(complete("gossipper -sn ua").contains("uas"));
}

#[test]
fn packages_have_the_version_of_the_program() {
    let version = env!("CARGO_PKG_VERSION");
    let changelog = read("debian/changelog");
    assert!(changelog.starts_with(&format!("gossipper ({version}) ")), "debian/changelog");
    let spec = read("rpm/gossipper.spec");
    let line = format!("%{{!?gossipper_version:{version}}}");
    assert!(spec.contains(&line), "rpm/gossipper.spec lacks {line}");
}

#[test]
fn the_spec_file_can_be_read() {
    tools::need("rpmspec");
    let scratch = Scratch::new();
    let database = format!("_dbpath {}", scratch.path().display());
    let mut command = Command::new("rpmspec");
    command.args(["-P", "--define", &database, "rpm/gossipper.spec"]).current_dir(root());
    let spec = succeed(&mut command);
    assert!(spec.contains("%config(noreplace) /usr/local/gossipper/etc/*.json"), "{spec}");
    assert!(spec.contains(&format!("Version:        {}", env!("CARGO_PKG_VERSION"))), "{spec}");
}

#[test]
fn maintainer_scripts_are_shell() {
    for script in ["postinst", "prerm", "postrm"] {
        let file = root().join(format!("debian/gossipper.{script}"));
        succeed(Command::new("sh").arg("-n").arg(&file));
        assert!(
            read(&format!("debian/gossipper.{script}")).contains("\n#DEBHELPER#\n"),
            "{script}"
        );
    }
}

#[test]
fn both_packages_have_one_layout() {
    let scratch = Scratch::new();
    let mut install = Command::new(root().join("scripts/install.sh"));
    succeed(install.arg(PROGRAM).arg(scratch.path()));
    for path in [
        "usr/local/gossipper/bin/gossipper",
        "usr/local/gossipper/dist",
        "usr/lib/systemd/system/gossipper-server.service",
        "usr/lib/systemd/system/gossipper-client.service",
        "usr/lib/systemd/system/gossipper-hybrid.service",
        "usr/lib/sysusers.d/gossipper.conf",
        "usr/lib/tmpfiles.d/gossipper.conf",
        "usr/share/gossipper/sysctl/90-gossipper.conf",
        "usr/share/gossipper/systemd/perf.conf",
        "usr/share/man/man1/gossipper.1.gz",
        "usr/share/doc/gossipper/docs/operations.md",
    ] {
        assert!(scratch.join(path).exists(), "{path}");
    }
    // An installed file that is in no list of the spec file would end an rpm build.
    let spec = read("rpm/gossipper.spec");
    let listed: Vec<String> = spec
        .lines()
        .skip_while(|line| *line != "%files")
        .filter_map(|line| line.split_whitespace().last())
        .map(|path| path.replace("%{home}", "/usr/local/gossipper"))
        .filter(|path| path.starts_with('/'))
        .collect();
    let mut folders = vec![scratch.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let installed =
                format!("/{}", path.strip_prefix(scratch.path()).expect("below").display());
            let is_listed = listed.iter().any(|listed| match listed.split_once('*') {
                Some((start, end)) => installed.starts_with(start) && installed.ends_with(end),
                None => Path::new(&installed).starts_with(listed),
            });
            assert!(is_listed, "{installed} is not in rpm/gossipper.spec");
        }
    }
}

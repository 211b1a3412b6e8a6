//! The README: its lines work as they stand, and it leads to every document.

use std::fs;
use std::path::Path;
use std::process::Command;

use gossipper::cli::{self, Action};

use crate::harness::gossipper::PROGRAM;
use crate::harness::process::Process;
use crate::harness::scratch::Scratch;
use crate::harness::tools;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("README.md")
}

/// The lines for a shell below a heading, or in the whole document; continued ones as one.
fn shell_lines(text: &str) -> Vec<String> {
    let blocks = text.split("```sh\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap_or_default());
    let lines = blocks.map(|block| block.replace("\\\n", " ")).collect::<String>();
    lines.lines().map(str::to_owned).collect()
}

/// The part below `heading`, to the next one.
fn section<'t>(text: &'t str, heading: &str) -> &'t str {
    let part = text.split(&format!("\n## {heading}\n")).nth(1);
    let part = part.unwrap_or_else(|| panic!("no heading {heading:?}"));
    part.split("\n## ").next().unwrap_or(part)
}

#[test]
fn every_document_is_linked() {
    let readme = readme();
    for entry in fs::read_dir(root().join("docs")).expect("docs") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        assert!(readme.contains(&format!("](docs/{name})")), "docs/{name} is not linked");
    }
}

#[test]
fn every_line_that_runs_the_program_is_one_that_it_takes() {
    let mut count = 0;
    for line in shell_lines(&readme()) {
        let line = line.split(" #").next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(("gossipper" | "./sipp", _)) = words.split_first().map(|(a, b)| (*a, b)) else {
            continue;
        };
        count += 1;
        if let Action::Fail { text, .. } = cli::parse(words.iter().map(Into::into).collect()) {
            panic!("{line}: {text}");
        }
    }
    assert!(count >= 10, "{count} lines");
}

#[test]
fn a_first_call_works_as_it_stands() {
    tools::need("unshare");
    let text = readme();
    let lines = shell_lines(section(&text, "Quick start"));
    let starting = |start: &str| {
        let line = lines.iter().find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("no line {start:?}")).clone()
    };
    let (server, client) = (starting("gossipper -sn uas"), starting("gossipper -sn uac 127.0.0.1"));
    // A separate network: the ports are those of the README.
    let script = format!(
        "set -eu; ip link set lo up; gossipper() {{ {PROGRAM} \"$@\"; }}\n\
         {PROGRAM} {} -m 1 & server=$!\n\
         for _ in $(seq 100); do grep -q :13C4 /proc/net/udp && break; sleep 0.1; done\n\
         {client}\nwait $server\n",
        server.trim_start_matches("gossipper ")
    );
    let mut command = Command::new("unshare");
    command.args(["-n", "bash", "-c", &script]);
    Process::spawn(command).finish().expect_code(0);
}

#[test]
fn the_service_works_as_it_stands_in_a_fresh_checkout() {
    tools::need("unshare");
    tools::need("curl");
    let checkout = Scratch::new();
    fs::create_dir(checkout.join("etc")).expect("a folder");
    fs::copy(root().join("etc/gossipper-hybrid.json"), checkout.join("etc/gossipper-hybrid.json"))
        .expect("a copy");
    let text = readme();
    let mut lines = shell_lines(section(&text, "As a service"));
    let server = lines.remove(0);
    let server = server.strip_prefix("gossipper ").expect("the daemon comes first");
    let script = format!(
        "set -eu; ip link set lo up; gossipper() {{ {PROGRAM} \"$@\"; }}\n\
         {PROGRAM} {server} 2>log & daemon=$!\n\
         for _ in $(seq 300); do curl -sf http://127.0.0.1:8080/readyz >/dev/null && break; sleep 0.1; done\n\
         {}\n\
         echo; stat -c %a data; kill $daemon; wait $daemon; cat log\n",
        lines.join("\n")
    );
    let mut command = Command::new("unshare");
    command.args(["-n", "bash", "-c", &script]).current_dir(checkout.path());
    let finished = Process::spawn(command).finish().expect_code(0);
    let said = &finished.stdout;
    assert!(said.contains("\"rate\":50"), "the rate was not set: {said}");
    assert!(said.contains("\"started\":true"), "the client was not started: {said}");
    assert!(said.contains("\n700\n"), "data/ is not private: {said}");
    // The only warning is about the password's place.
    let warnings: Vec<&str> =
        said.lines().filter(|line| line.contains(" WARN ") || line.contains("ERROR")).collect();
    assert!(
        matches!(warnings[..], [one] if one.contains("initial-admin-password")),
        "{warnings:#?}"
    );
}

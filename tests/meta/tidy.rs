//! Rules of the repository that no compiler checks.
//!
//! Each rule prints every place that breaks it, so that one run shows all there is to do.

use std::fs;
use std::path::{Path, PathBuf};

use gossipper::stats::{DropCause, FailureCause, LimitCause, WithheldCause};

/// Lines of a file under `src/` that can still be read in one sitting.
const FILE_LINES_MAX: usize = 900;

/// Columns of a comment line; rustfmt sees to the code.
const COMMENT_COLUMNS_MAX: usize = 100;

/// Names of directories whose files are made, fetched or recorded, not written by us.
const NOT_OURS: [&str; 7] =
    ["target", ".git", "node_modules", "artifacts", "corpus", "seeds", "coverage"];

/// Modules that take bytes and times and give back bytes, deadlines and events.
const PURE_MODULES: [&str; 8] =
    ["sip", "stream", "scenario", "injection", "engine", "media", "stats", "trace"];

/// A text file of the repository.
struct Text {
    /// Relative to the root.
    path: PathBuf,
    text: String,
}

impl Text {
    fn is_rust(&self) -> bool {
        self.path.extension().is_some_and(|extension| extension == "rs")
    }

    fn is_below(&self, directory: &str) -> bool {
        self.path.starts_with(directory)
    }

    /// Formats `path:line: what`, for lists of violations.
    fn place(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{}: {what}", self.path.display(), line + 1)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files() -> Vec<Text> {
    let mut files = Vec::new();
    collect(root(), &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.len() > 50, "only {} files found: the walk is broken", files.len());
    files
}

fn collect(directory: &Path, files: &mut Vec<Text>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name());
        // In a second working tree `.git` is a file.
        if NOT_OURS.iter().any(|not_ours| name == *not_ours) {
            continue;
        }
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            collect(&path, files);
        } else if kind.is_file() {
            // A file that is not UTF-8 is a capture or a torture message.
            if let Ok(text) = fs::read_to_string(&path) {
                let path = path.strip_prefix(root()).unwrap().to_owned();
                files.push(Text { path, text });
            }
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn assert_none(violations: &[String], rule: &str) {
    assert!(violations.is_empty(), "{rule}:\n{}", violations.join("\n"));
}

/// The lines of `files` that contain one of `words`.
fn lines_with(files: &[Text], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                found.push(file.place(number, word));
            }
        }
    }
    found
}

/// The lines before the unit tests of a file.
fn product_lines(file: &Text) -> impl Iterator<Item = (usize, &str)> {
    let lines = file.text.lines().enumerate();
    lines.take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
}

#[test]
fn nothing_is_left_unfinished() {
    // In pieces, so that this file does not contain them.
    let words = [
        concat!("to", "do!"),
        concat!("unimple", "mented!"),
        concat!("db", "g!("),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("#[ig", "nore"),
    ];
    let rust: Vec<_> = files().into_iter().filter(Text::is_rust).collect();
    assert_none(&lines_with(&rust, &words), "finish it, or say in prose what is missing");
}

#[test]
fn no_file_is_too_long_to_read() {
    let is_source = |file: &&Text| file.is_below("src") || file.is_below("uring/src");
    let mut violations = Vec::new();
    for file in files().iter().filter(|file| file.is_rust()).filter(is_source) {
        let lines = file.text.lines().count();
        if lines > FILE_LINES_MAX {
            violations.push(file.place(lines - 1, format!("over {FILE_LINES_MAX} lines")));
        }
    }
    assert_none(&violations, "split the file");
}

#[test]
fn every_module_says_what_it_is_for() {
    let mut violations = Vec::new();
    for file in files().iter().filter(|file| file.is_rust()) {
        // `tests.rs` is the unit tests of the file beside it, which says what they are about; fuzz
        // targets are one line each.
        if file.path.ends_with("tests.rs") || file.is_below("fuzz/fuzz_targets") {
            continue;
        }
        if !file.text.starts_with("//!") {
            violations.push(file.place(0, "does not begin with //!"));
        }
    }
    assert_none(&violations, "the first lines of a module say what it is for");
}

#[test]
fn comments_fit_the_page() {
    let mut violations = Vec::new();
    for file in files().iter().filter(|file| file.is_rust()) {
        for (number, line) in file.text.lines().enumerate() {
            let columns = line.chars().count();
            let is_comment = line.trim_start().starts_with("//");
            // An address cannot be broken.
            if is_comment && columns > COMMENT_COLUMNS_MAX && !line.contains("://") {
                violations.push(file.place(number, format!("{columns} columns")));
            }
        }
    }
    assert_none(&violations, &format!("break comments at {COMMENT_COLUMNS_MAX} columns"));
}

#[test]
fn no_path_of_somebodys_machine_is_left() {
    let paths = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/tmp/", "wt-"),
        concat!("/tmp/", "target"),
        concat!("/Us", "ers/"),
    ];
    assert_none(&lines_with(&files(), &paths), "these paths exist on one machine only");
}

#[test]
fn pure_modules_touch_neither_clock_nor_network() {
    let words = [
        "std::fs",
        "std::io::std",
        "std::process",
        "std::thread",
        "std::time::",
        "SystemTime",
        "UdpSocket",
        "TcpStream",
        "println!",
        "tokio::",
        "tracing::",
    ];
    let mut violations = Vec::new();
    for file in files().iter().filter(|file| file.is_rust()) {
        if !PURE_MODULES.iter().any(|module| file.path.starts_with(format!("src/{module}"))) {
            continue;
        }
        for (number, line) in product_lines(file) {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                violations.push(file.place(number, word));
            }
        }
    }
    assert_none(&violations, "bytes and times in, bytes and deadlines out");
}

#[test]
fn dependencies_point_one_way() {
    // What a module may use of the others; `cli` and what is above may use all.
    let allowed: &[(&str, &[&str])] = &[
        ("sip", &[]),
        ("injection", &[]),
        ("stream", &["sip"]),
        ("scenario", &["sip"]),
        ("stats", &[]),
        ("media", &["sip", "scenario", "stats"]),
        ("trace", &["stats"]),
        ("engine", &["sip", "scenario", "injection", "stats", "trace", "config"]),
        ("config", &[]),
        ("output", &["stats"]),
        ("sinks", &["sip", "stats", "trace", "config", "output"]),
        ("terminal", &[]),
        ("server/auth", &["server", "terminal", "cli"]),
        ("server/metrics", &["server", "stats", "config"]),
        ("doctor", &["cli", "config", "output", "run"]),
        (
            "dataplane",
            &["sip", "stream", "scenario", "stats", "trace", "media", "engine", "config", "output"],
        ),
        // Only `main`, the command line and the form know the server.
        (
            "run",
            &[
                "sip",
                "stream",
                "scenario",
                "injection",
                "stats",
                "trace",
                "media",
                "engine",
                "config",
                "output",
                "sinks",
                "terminal",
                "dataplane",
            ],
        ),
    ];
    let mut violations = Vec::new();
    for file in files().iter().filter(|file| file.is_rust()) {
        let is_within = |module: &str| {
            file.is_below(&format!("src/{module}"))
                || file.path == Path::new(&format!("src/{module}.rs"))
        };
        let Some((own, used)) = allowed.iter().find(|(module, _)| is_within(module)) else {
            continue;
        };
        for (number, line) in product_lines(file) {
            let Some((_, path)) = line.split_once("crate::") else { continue };
            let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
            let module = path.split(|c| !is_name(c)).next().unwrap_or("");
            let is_module = root().join("src").join(module).is_dir();
            if is_module && module != *own && !used.contains(&module) {
                violations.push(file.place(number, format!("{own} uses {module}")));
            }
        }
    }
    assert_none(&violations, "see docs/ARCHITECTURE.md for who may know whom");
}

#[test]
fn every_cause_is_in_the_guide() {
    let failures = FailureCause::ALL.iter().map(|cause| (cause.label(), cause.description()));
    let withheld = WithheldCause::ALL.iter().map(|cause| (cause.label(), cause.description()));
    let drops = DropCause::ALL.iter().map(|cause| (cause.label(), cause.description()));
    let limits = LimitCause::ALL.iter().map(|cause| (cause.label(), cause.description()));
    let guide = read("docs/guide.md");
    let mut violations = Vec::new();
    for (label, description) in failures.chain(withheld).chain(drops).chain(limits) {
        let row = format!("| `{label}` | {description} |");
        if !guide.contains(&row) {
            violations.push(row);
        }
    }
    assert_none(&violations, "docs/guide.md lacks these rows (a last column says what to do)");
}

#[test]
fn every_make_target_has_a_help_text() {
    let makefile = read("Makefile");
    let phony: Vec<&str> = makefile
        .lines()
        .filter_map(|line| line.strip_prefix(".PHONY:"))
        .flat_map(str::split_whitespace)
        .collect();
    let mut violations = Vec::new();
    for line in makefile.lines() {
        let Some((target, rest)) = line.split_once(':') else { continue };
        let is_target = target.starts_with(|c: char| c.is_ascii_alphabetic())
            && target.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        if !is_target || rest.starts_with('=') {
            continue;
        }
        if !rest.contains("## ") {
            violations.push(format!("{target} has no help text"));
        }
        if !phony.contains(&target) {
            violations.push(format!("{target} is not in .PHONY"));
        }
    }
    assert_none(&violations, "Makefile");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut violations = Vec::new();
    for file in files() {
        if file.path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let directory = root().join(file.path.parent().unwrap());
        for (number, line) in file.text.lines().enumerate() {
            for link in line.split("](").skip(1) {
                let target = link.split([')', '#']).next().unwrap_or("");
                let is_local = !target.is_empty() && !target.contains(':');
                if is_local && !directory.join(target).exists() {
                    violations.push(file.place(number, target));
                }
            }
        }
    }
    assert_none(&violations, "these links are dead");
}

#[test]
fn documents_for_contributors_name_files_and_modules_that_exist() {
    let documents = [
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docs/ARCHITECTURE.md",
        "docs/GLOSSARY.md",
        "docs/HACKING.md",
        "docs/RELEASE.md",
    ];
    let mut violations = Vec::new();
    for path in documents {
        let file = Text { path: path.into(), text: read(path) };
        for (number, line) in file.text.lines().enumerate() {
            for quoted in line.split('`').skip(1).step_by(2) {
                let name = quoted.split_whitespace().next().unwrap_or("");
                if is_path(name) && !leads_somewhere(name) {
                    violations.push(file.place(number, format!("no file {name}")));
                }
                if is_module(name) && !is_in_a_module(name) {
                    violations.push(file.place(number, format!("no module {name}")));
                }
            }
        }
    }
    assert_none(&violations, "name what is there, from the root or from src/");
}

/// Tells whether a word is a path into the sources, such as `src/sip/via.rs` or `engine/wheel.rs`.
fn is_path(word: &str) -> bool {
    let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let Some((first, _)) = word.split_once('/').filter(|_| is_plain) else { return false };
    let is_folder = |folder: PathBuf| !first.is_empty() && folder.is_dir();
    word.ends_with(".rs")
        || is_folder(root().join(first))
        || is_folder(root().join("src").join(first))
}

fn leads_somewhere(path: &str) -> bool {
    let below = |folder: &str| root().join(folder).join(path);
    below("").exists() || below("src").exists() || below("src").with_extension("rs").exists()
}

/// Tells whether a word is a path of modules of the program, such as `engine::wheel`.
fn is_module(word: &str) -> bool {
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let Some((first, rest)) = word.split_once("::") else { return false };
    let is_known = root().join("src").join(first).is_dir();
    is_known && !rest.is_empty() && word.split("::").all(is_name)
}

/// Tells whether a module exists, or its parent has a function of the name.
fn is_in_a_module(module: &str) -> bool {
    let path = module.replace("::", "/");
    let Some((parent, name)) = path.rsplit_once('/') else { return false };
    let source = [format!("src/{parent}.rs"), format!("src/{parent}/mod.rs")];
    let source = source.iter().find_map(|file| fs::read_to_string(root().join(file)).ok());
    let has_function = |text: String| {
        let rest = |line: &str| Some(line.split_once("fn ")?.1.strip_prefix(name)?.to_owned());
        text.lines().filter_map(rest).any(|rest| rest.starts_with(['(', '<']))
    };
    leads_somewhere(&path) || source.is_some_and(has_function)
}

#[test]
fn the_changelog_knows_the_version_of_the_program() {
    let version = env!("CARGO_PKG_VERSION");
    let changelog = read("CHANGELOG.md");
    let is_released = changelog.contains(&format!("\n## [{version}] - "));
    let is_announced = changelog.contains(&format!("release will be {version}."));
    assert!(changelog.contains("\n## [Unreleased]\n"), "CHANGELOG.md lacks [Unreleased]");
    assert!(is_released != is_announced, "CHANGELOG.md: has {version} been released or not?");
}

#[test]
fn the_readme_has_the_rates_of_both_programs_on_every_host() {
    let table = hosts(Path::new("benches/results"));
    assert!(table.contains("| 225,000 | 10,200 | 22.1 |"), "{table}");
    assert!(table.contains("| 198,000 | 26,900 | 7.4 |"), "{table}");
    assert!(read("README.md").contains(table.trim()), "the README lacks this:\n{table}");
}

/// The table of `rig.hosts`.
fn hosts(results: &Path) -> String {
    let printed = std::process::Command::new("python3")
        .args(["-m", "rig.hosts"])
        .arg(results)
        .env("PYTHONPATH", "benches")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(root())
        .output()
        .expect("python3 runs");
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    String::from_utf8(printed.stdout).unwrap()
}

#[test]
fn a_host_that_was_measured_again_has_one_row() {
    let results = std::env::temp_dir().join(format!("gossipper-hosts-{}", std::process::id()));
    for (day, host, ours) in [("01", "one", 100), ("02", "other", 70), ("03", "one", 200)] {
        let folder = results.join(format!("2026-01-{day}"));
        fs::create_dir_all(&folder).unwrap();
        let rates = format!(r#"{{"ours": {ours}, "sipp": 10, "sipp_options": []}}"#);
        fs::write(folder.join("rates.json"), rates).unwrap();
        fs::write(folder.join("summary.md"), format!("- Host: {host}\n")).unwrap();
    }
    let table = hosts(&results);
    fs::remove_dir_all(&results).unwrap();
    let rows: Vec<_> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    let expected = [
        "| one | 200 | 10 | 20.0 | its own | 2026-01-03 |",
        "| other | 70 | 10 | 7.0 | its own | 2026-01-02 |",
    ];
    assert_eq!(rows, expected);
}

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

/// The lines of a file that are not for its unit tests alone, with their numbers from 0. The tests
/// themselves are the last item of a file.
fn product_lines(text: &str) -> Vec<(usize, &str)> {
    let mut product = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        if !line.starts_with("#[cfg(test)]") {
            product.push((number, line));
            continue;
        }
        while lines.next_if(|(_, line)| line.starts_with("#[") || line.starts_with("//")).is_some()
        {
        }
        let Some((_, item)) = lines.next() else { break };
        if item.contains("mod ") && item.ends_with('{') {
            break;
        }
        let mut last = item;
        while !last.ends_with([';', '}']) {
            let Some((_, line)) = lines.next() else { break };
            // Only the first column ends an item of several lines.
            last = if line.starts_with([' ', '\t']) { "" } else { line };
        }
    }
    product
}

#[test]
fn only_what_is_for_tests_is_no_product() {
    let text = "a\n#[cfg(test)]\nmod tests;\nb\n#[cfg(test)]\n#[rustfmt::skip]\nfn f(\n    \
                a: u8,\n) {\n    g();\n}\nc\n#[cfg(test)]\nuse x::{\n    y,\n};\nd\n    \
                #[cfg(test)]\n#[cfg(test)]\npub(crate) mod tests {\n    e\n}\n";
    let lines: Vec<&str> = product_lines(text).into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines, ["a", "b", "c", "d", "    #[cfg(test)]"]);
    assert_eq!(product_lines(text)[1], (3, "b"));
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
fn doc_comments_begin_with_the_thing_that_they_describe() {
    // A reader wants the noun or the verb first: "Bytes to send", not "What is sent".
    let headless = [
        "What", "Whatever", "Whether", "How", "Where", "Who", "Whoever", "Whom", "Whose", "Which",
        "Why", "When", "If", "It", "Its", "That", "They", "Those",
    ];
    let mut violations = Vec::new();
    for file in files().iter().filter(|file| file.is_rust()) {
        let mut is_inside = false;
        for (number, line) in file.text.lines().enumerate() {
            let line = line.trim_start();
            let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
            let first = text.and_then(|text| text.split_whitespace().next());
            if let Some(word) = first.filter(|word| !is_inside && headless.contains(word)) {
                violations.push(file.place(number, format!("begins with {word:?}")));
            }
            is_inside = text.is_some();
        }
    }
    assert_none(&violations, "begin a doc comment with a noun phrase or a third-person verb");
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

/// Files that turn our times into those of crates, which are called with an `Instant`.
const CONVERTERS: [&str; 2] = ["src/media/dtls/handshake.rs", "src/media/ice/mod.rs"];

#[test]
fn pure_modules_touch_neither_clock_nor_network() {
    let words = [
        "std::fs",
        "std::io::std",
        "std::process",
        "std::thread",
        "std::time::",
        "Instant::now",
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
        for (number, line) in product_lines(&file.text) {
            let line = match CONVERTERS.iter().any(|path| file.path == Path::new(path)) {
                true => line.replace("std::time::{Duration, Instant}", ""),
                false => line.to_owned(),
            };
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                violations.push(file.place(number, word));
            }
        }
    }
    assert_none(&violations, "bytes and times in, bytes and deadlines out");
}

/// The modules that a module may use, itself and single files apart. A module stands before the one
/// that it is a part of. See docs/ARCHITECTURE.md for the reasons.
const MAY_USE: &[(&str, &[&str])] = &[
    ("sip", &[]),
    ("injection", &[]),
    ("stats", &[]),
    ("config", &[]),
    ("options", &["config"]),
    ("stream", &["sip"]),
    ("scenario", &["sip"]),
    ("trace", &["stats"]),
    ("output", &["stats"]),
    ("media", &["sip", "scenario", "stats"]),
    ("engine", &["sip", "scenario", "injection", "media", "stats", "trace", "config/rules"]),
    // Of media, sinks know the forms on the wire.
    ("sinks", &["sip", "stats", "trace", "media", "config", "output"]),
    ("recorder", &["sip", "stats", "trace", "media"]),
    ("dataplane", &["sip", "stream", "scenario", "stats", "trace", "media", "engine"]),
    // A library: it knows no front.
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
            "recorder",
            "dataplane",
        ],
    ),
    // The contract, and the loop that serves it. It knows no front.
    ("control", &["scenario", "stats", "engine", "config", "output", "sinks", "dataplane", "run"]),
    ("terminal", &["scenario", "stats", "engine", "config", "output", "sinks", "run", "control"]),
    // It gives requests as data, and does not know the modules that carry them out.
    ("cli", &["config", "options", "output", "scenario"]),
    ("doctor", &["config", "output", "run"]),
    ("shell", &["cli", "config", "options", "scenario"]),
    ("tui", &["config", "output", "scenario", "server", "shell", "terminal"]),
    ("server/metrics", &["stats", "config", "server/engines"]),
    ("server/auth", &["config", "cli", "terminal", "server"]),
    // It knows no HTTP.
    ("server/engines", &["config", "control", "run", "server", "stats"]),
    (
        "server/config",
        &[
            "config",
            "control",
            "options",
            "cli",
            "engine",
            "output",
            "run",
            "scenario",
            "server",
            "server/auth",
            "server/engines",
            "stats",
        ],
    ),
    (
        "server/api",
        &[
            "config",
            "control",
            "output",
            "scenario",
            "server",
            "server/auth",
            "server/config",
            "server/engines",
            "server/metrics",
        ],
    ),
    (
        "server",
        &[
            "config",
            "control",
            "cli",
            "dataplane",
            "output",
            "run",
            "stats",
            "terminal",
            "server/api",
            "server/auth",
            "server/config",
            "server/engines",
            "server/metrics",
        ],
    ),
];

/// The names behind each `crate::` of a line of code, as paths: `a` and `b/c` for
/// `use crate::{a, b::c}`.
fn used_modules(line: &str) -> Vec<String> {
    let is_path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let is_module = |name: &&str| name.starts_with(|c: char| c.is_ascii_lowercase());
    let mut used = Vec::new();
    for rest in line.split("crate::").skip(1) {
        let names = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or("").split(',').collect(),
            None => vec![rest],
        };
        for name in names {
            let path = name.trim().split(|c| !is_path(c)).next().unwrap_or("");
            let modules: Vec<&str> = path.split("::").take_while(is_module).collect();
            used.push(modules.join("/"));
        }
    }
    used
}

#[test]
fn every_module_of_a_line_is_seen() {
    assert_eq!(used_modules("fn f(a: crate::sip::Uri) -> crate::run::Plan"), ["sip", "run"]);
    assert_eq!(used_modules("use crate::{stats, server::auth::Role};"), ["stats", "server/auth"]);
    assert_eq!(used_modules("use crate::config::rules::CallRules;"), ["config/rules"]);
}

#[test]
fn dependencies_point_one_way() {
    let is_part = |path: &str, module: &str| {
        path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let row_of = |path: &str| MAY_USE.iter().find(|(module, _)| is_part(path, module));
    let mut violations = Vec::new();
    for file in files().iter().filter(|file| file.is_rust() && file.is_below("src")) {
        let path = file.path.with_extension("");
        let path = path.strip_prefix("src").unwrap().to_str().unwrap();
        let Some((own, used)) = row_of(path) else {
            // A single file is for all, but for `main` and `lib`; a folder is a module.
            if path.contains('/') {
                violations.push(file.place(0, "is a module without a row in MAY_USE"));
            }
            continue;
        };
        let lines = product_lines(&file.text).into_iter();
        let code = lines.filter(|(_, line)| !line.trim_start().starts_with("//"));
        for (number, line) in code {
            if line.trim_end().ends_with("crate::{") {
                violations.push(file.place(number, "write a line for each module"));
            }
            for name in used_modules(line) {
                let Some((module, _)) = row_of(&name) else { continue };
                // `server` stands for what no part of it has; `config/rules` is a part of a row.
                let is_allowed = used.iter().any(|allowed| {
                    allowed == module || (allowed.len() > module.len() && is_part(&name, allowed))
                });
                if module != own && !is_allowed {
                    violations.push(file.place(number, format!("{own} uses {name}")));
                }
            }
        }
    }
    assert_none(&violations, "see docs/ARCHITECTURE.md for who may know whom");
}

/// Lines of a function that fits a screen.
const FUNCTION_LINES_MAX: usize = 70;

/// Lines of a function that no list excuses.
const LONG_FUNCTION_LINES_MAX: usize = 100;

/// Functions that do not fit a screen yet. The list may only shrink: break a function and take it
/// off.
const LONG_FUNCTIONS: &[(&str, &str)] = &[
    ("src/engine/check.rs", "check_invariants"),
    ("src/engine/mod.rs", "with_report"),
    ("src/engine/steps/actions.rs", "action"),
    ("src/engine/dialog/abort.rs", "build"),
    ("src/engine/dialog/abort.rs", "unexpected"),
    ("src/engine/steps/execute.rs", "send"),
    ("src/engine/steps/render.rs", "render"),
    ("src/run/plan.rs", "plan"),
    ("src/scenario/action.rs", "one"),
    ("src/scenario/analysis.rs", "fill_keeps"),
    ("src/scenario/compile.rs", "common"),
    ("src/scenario/ere/backtrack.rs", "longest"),
    ("src/scenario/ere/submatch.rs", "resolve"),
    ("src/sinks/call_debug.rs", "describe"),
    ("src/sinks/sipp.rs", "error_text"),
    ("uring/src/uring/deliver.rs", "deliver"),
];

/// The functions of `text` with the numbers of their first and last lines, from 0.
fn functions(text: &str) -> Vec<(&str, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let Some((before, rest)) = code.split_once("fn ") else { continue };
        let is_item = before.split_whitespace().all(|word| {
            // `pub(in crate::engine)` is two words.
            let is_visibility = word.starts_with("pub") || word.ends_with(')');
            // The `"C"` of `extern "C"` is a word too.
            let is_abi = word.starts_with('"');
            is_visibility || is_abi || ["const", "async", "unsafe", "extern"].contains(&word)
        });
        // A function pointer has no name, a declaration no body, and one line is short.
        let name = rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap();
        if !is_item || name.is_empty() || line.ends_with([';', '}']) {
            continue;
        }
        // The first line behind it that stands as far left: of a body, or of a declaration.
        let is_end = |line: &&str| {
            let rest = line.strip_prefix(indent);
            rest.is_some_and(|rest| rest == "}" || rest.starts_with(')') && rest.ends_with(';'))
        };
        let length = lines[first..].iter().position(is_end);
        if let Some(last) = length.map(|length| first + length)
            && !lines[last].ends_with(';')
        {
            found.push((name, first, last));
        }
    }
    found
}

#[test]
fn functions_fit_a_screen() {
    let mut violations = Vec::new();
    let mut long = Vec::new();
    // No word before the name hides a function.
    let text = "pub unsafe extern \"C\" fn f(\n    a: u8,\n) {\n    g();\n}\n";
    assert_eq!(functions(text), [("f", 0, 4)]);
    for file in files().iter().filter(|file| file.is_rust()) {
        if !file.is_below("src") && !file.is_below("uring/src") {
            continue;
        }
        for (name, first, last) in functions(&file.text) {
            let lines = last - first + 1;
            if lines <= FUNCTION_LINES_MAX {
                continue;
            }
            let path = file.path.to_str().unwrap();
            if lines > LONG_FUNCTION_LINES_MAX || !LONG_FUNCTIONS.contains(&(path, name)) {
                violations.push(file.place(first, format!("{name} has {lines} lines")));
            }
            long.push((path.to_owned(), name.to_owned()));
        }
    }
    for &(path, name) in LONG_FUNCTIONS {
        if !long.contains(&(path.to_owned(), name.to_owned())) {
            violations.push(format!("{path}: {name} is shorter now: take it off the list"));
        }
    }
    assert_none(&violations, "break the function where a part of it has a name");
}

#[test]
fn every_source_file_is_part_of_the_program() {
    let all = files();
    let has = |path: &Path| all.iter().find(|file| file.path == path);
    for root in ["src", "uring/src"] {
        let mut reached: Vec<PathBuf> = Vec::new();
        let mut next: Vec<PathBuf> =
            ["lib.rs", "main.rs"].iter().map(|name| Path::new(root).join(name)).collect();
        while let Some(path) = next.pop() {
            let Some(file) = has(&path) else { continue };
            // The modules of `a.rs` and `a/mod.rs` are in `a/`, those of a crate's root beside it.
            let is_root = ["lib.rs", "main.rs", "mod.rs"].iter().any(|name| path.ends_with(name));
            let folder =
                if is_root { path.parent().unwrap().to_owned() } else { path.with_extension("") };
            for line in file.text.lines() {
                let named = line.trim().strip_prefix("#[path = \"");
                next.extend(named.map(|rest| folder.join(rest.trim_end_matches("\"]"))));
                let declared = line.trim_start().strip_suffix(';').and_then(|line| {
                    let (before, name) = line.split_once("mod ")?;
                    (before.is_empty() || before.starts_with("pub")).then_some(name)
                });
                if let Some(name) = declared {
                    next.push(folder.join(format!("{name}.rs")));
                    next.push(folder.join(name).join("mod.rs"));
                }
            }
            reached.push(path);
        }
        let dead: Vec<String> = all
            .iter()
            .filter(|file| file.is_rust() && file.is_below(root) && !reached.contains(&file.path))
            .map(|file| file.place(0, "no `mod` leads here"))
            .collect();
        assert!(reached.len() > 20, "only {} files are reached: the walk is broken", reached.len());
        assert_none(&dead, "remove the file, or declare it");
    }
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

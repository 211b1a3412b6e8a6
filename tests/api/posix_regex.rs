//! Our regular expressions beside those of the C library, on random expressions and texts.
//!
//! A small C program calls the library. Whole matches must agree always. Groups must agree in plain
//! sequences, and nearly always if there are alternatives: the library itself does not always give
//! a group the longest text, nor forget the text of a group from an earlier round of a repetition.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use gossipper::scenario::{Regex, Scratch};

/// Reads lines of "hex(pattern) hex(text)", and answers each with "E" for an expression that
/// does not compile, "-" for no match, or the spans of the match and its groups.
const PROGRAM: &str = r#"
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

static int unhex(const char *hex, char *out) {
    int n = 0;
    if (*hex == '.') hex++;
    for (; hex[0] && hex[1]; hex += 2, n++) {
        unsigned byte;
        sscanf(hex, "%2x", &byte);
        out[n] = (char)byte;
    }
    out[n] = 0;
    return n;
}

int main(void) {
    static char line[1 << 16], hex1[1 << 15], hex2[1 << 15], pattern[1 << 14], text[1 << 14];
    while (fgets(line, sizeof line, stdin)) {
        regex_t regex;
        regmatch_t spans[10];
        if (sscanf(line, "%32000s %32000s", hex1, hex2) != 2) return 2;
        unhex(hex1, pattern);
        unhex(hex2, text);
        if (regcomp(&regex, pattern, REG_EXTENDED)) {
            puts("E");
        } else {
            if (regexec(&regex, text, 10, spans, 0)) {
                puts("-");
            } else {
                for (size_t i = 0; i <= regex.re_nsub && i < 10; i++)
                    printf("%d,%d ", (int)spans[i].rm_so, (int)spans[i].rm_eo);
                puts("");
            }
            regfree(&regex);
        }
        fflush(stdout);
    }
    return 0;
}
"#;

/// The answer of a matcher: the spans of a match, or `None` for an expression that it refuses.
type Answer = Option<Vec<Option<(usize, usize)>>>;

struct Library {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    folder: PathBuf,
}

impl Library {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("gossipper-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (source, program) = (folder.join("regex.c"), folder.join("regex"));
        std::fs::write(&source, PROGRAM).unwrap();
        let compiled = Command::new("cc").arg("-O1").arg("-o").arg(&program).arg(&source).output();
        let compiled = compiled.expect("a C compiler, cc, is needed as second opinion");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let mut child = Command::new(&program)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output, folder }
    }

    fn ask(&mut self, pattern: &str, text: &str) -> Answer {
        let hex = |text: &str| -> String {
            text.bytes().fold(".".to_owned(), |hex, byte| format!("{hex}{byte:02x}"))
        };
        writeln!(self.input, "{} {}", hex(pattern), hex(text)).unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the library gave up on {pattern:?} with {text:?}");
        let line = line.trim();
        match line {
            "E" => None,
            "-" => Some(Vec::new()),
            spans => Some(spans.split(' ').map(span).collect()),
        }
    }
}

fn span(text: &str) -> Option<(usize, usize)> {
    let (begin, end) = text.split_once(',').unwrap();
    Some((begin.parse().ok()?, end.parse().ok()?))
}

impl Drop for Library {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn ours(pattern: &str, text: &str, scratch: &mut Scratch) -> Answer {
    let regex = Regex::new(pattern).ok()?;
    let found = regex.captures(text.as_bytes(), 9, scratch).expect("short texts are cheap");
    let Some(found) = found else { return Some(Vec::new()) };
    Some((0..=regex.groups().min(9)).map(|group| found.get(group)).collect())
}

/// splitmix64: the seed is all that is needed to repeat a failure.
struct Choices(u64);

impl Choices {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    fn text(&mut self, letters: &str, max: usize) -> String {
        let letters: Vec<char> = letters.chars().collect();
        let len = self.below(max + 1);
        (0..len).map(|_| letters[self.below(letters.len())]).collect()
    }
}

/// The elements that a random expression may contain.
#[derive(Clone, Copy)]
struct Kind {
    alternatives: bool,
    repeated_groups: bool,
    backrefs: bool,
}

fn expression(choices: &mut Choices, kind: Kind, depth: usize, groups: &mut usize) -> String {
    let mut out = String::new();
    let branches = if kind.alternatives { 1 + choices.below(3) / 2 } else { 1 };
    for branch in 0..branches {
        if branch > 0 {
            out.push('|');
        }
        // POSIX does not say which of several alternatives that match nothing is taken.
        let elements = if kind.alternatives { 1 + choices.below(3) } else { choices.below(4) };
        for _ in 0..elements {
            let is_group = depth > 0 && choices.below(3) == 0;
            if is_group {
                let inner = expression(choices, kind, depth - 1, groups);
                *groups += 1;
                out.push_str(&format!("({inner})"));
            } else {
                let atoms = ["a", "b", "c", ".", "[ab]", "[^a]", "a", "b", "^", "$"];
                // The library loses anchors inside repetitions.
                let anchors = if kind.alternatives { 0 } else { 2 };
                let atom = atoms[choices.below(8 + anchors)];
                out.push_str(atom);
                if atom == "^" || atom == "$" {
                    continue;
                }
            }
            if !is_group || kind.repeated_groups {
                let repeats = ["", "", "", "*", "+", "?", "{2}", "{0,2}", "{1,}"];
                out.push_str(repeats[choices.below(repeats.len())]);
            }
            if kind.backrefs && *groups > 0 && depth > 0 && choices.below(4) == 0 {
                out.push_str("\\1");
            }
        }
    }
    out
}

/// Compares both matchers. `groups_percent_max` is the share of answers whose groups may differ.
fn compare(name: &str, kind: Kind, groups_percent_max: usize) {
    const ROUNDS: usize = 400;
    let mut library = Library::new(name);
    let mut scratch = Scratch::default();
    let first: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut different = 0;
    for seed in first..first + ROUNDS as u64 {
        let mut choices = Choices(seed);
        let pattern = expression(&mut choices, kind, 2, &mut 0);
        for _ in 0..3 {
            let text = choices.text("abcA", 9);
            let theirs = library.ask(&pattern, &text);
            let ours = ours(&pattern, &text, &mut scratch);
            let whole = |answer: &Answer| answer.as_ref().map(|spans| spans.first().copied());
            assert_eq!(whole(&ours), whole(&theirs), "SEED={seed}: {pattern:?} in {text:?}");
            if ours != theirs {
                different += 1;
                if std::env::var("SHOW").is_ok() {
                    eprintln!("{pattern:?} {text:?}\n  ours {ours:?}\n  libc {theirs:?}");
                }
            }
        }
    }
    let percent = different * 100 / (3 * ROUNDS);
    assert!(
        different == 0 || percent < groups_percent_max,
        "{different} of {} answers differ in groups; SHOW=1 shows them",
        3 * ROUNDS
    );
}

#[test]
fn expressions_without_repeated_groups_are_as_in_the_library() {
    let kind = Kind { alternatives: true, repeated_groups: false, backrefs: false };
    compare("groups", kind, 2);
}

#[test]
fn plain_sequences_are_as_in_the_library() {
    let kind = Kind { alternatives: false, repeated_groups: false, backrefs: false };
    compare("flat", kind, 0);
}

#[test]
fn whole_matches_are_as_in_the_library_whatever_is_repeated() {
    let kind = Kind { alternatives: true, repeated_groups: true, backrefs: false };
    compare("whole", kind, 25);
}

#[test]
fn the_same_expressions_are_refused() {
    let mut library = Library::new("syntax");
    let mut scratch = Scratch::default();
    for seed in 1..3000 {
        let mut choices = Choices(seed);
        let pattern = choices.text("ab.*+?{},12()|[]^$\\-:", 7);
        let text = choices.text("ab*]{", 5);
        let theirs = library.ask(&pattern, &text);
        let ours = ours(&pattern, &text, &mut scratch);
        assert_eq!(ours.is_some(), theirs.is_some(), "SEED={seed}: {pattern:?}: {ours:?}");
    }
}

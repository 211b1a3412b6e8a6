use super::*;

fn groups(pattern: &str, text: &str) -> Vec<Option<(usize, usize)>> {
    let regex = Regex::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    let found = regex.captures(text.as_bytes(), 9, &mut Scratch::default()).unwrap();
    let Some(found) = found else { return Vec::new() };
    (0..=regex.groups()).map(|group| found.get(group)).collect()
}

fn matched<'t>(pattern: &str, text: &'t str) -> Option<&'t str> {
    groups(pattern, text).first().copied().flatten().map(|(begin, end)| &text[begin..end])
}

#[test]
fn the_longest_of_the_leftmost_matches_wins() {
    assert_eq!(matched("a|ab", "xabc"), Some("ab"));
    assert_eq!(matched("(a|ab)(c|bcd)", "abcd"), Some("abcd"));
    assert_eq!(matched("x*", "aaxx"), Some(""));
    assert_eq!(matched("foo|foobar|fo", "a foobar"), Some("foobar"));
    assert_eq!(matched("180|18[0-9]|1.*", "180 Ringing"), Some("180 Ringing"));
}

#[test]
fn groups_take_the_longest_from_the_left() {
    assert_eq!(
        groups("(a|ab)(c|bcd)(d*)", "abcd"),
        [Some((0, 4)), Some((0, 2)), Some((2, 3)), Some((3, 4))]
    );
    assert_eq!(groups("(a*)(ab)*(b*)", "abb"), [Some((0, 3)), Some((0, 1)), None, Some((1, 3))]);
    assert_eq!(groups("(a?)(ab)?", "ab"), [Some((0, 2)), Some((0, 0)), Some((0, 2))]);
    assert_eq!(groups("(a*)*", "b"), [Some((0, 0)), Some((0, 0))]);
    assert_eq!(groups("(a*)+", "aa"), [Some((0, 2)), Some((0, 2))]);
    assert_eq!(groups("(a|(b))*", "ba"), [Some((0, 2)), Some((1, 2)), None]);
    assert_eq!(groups("(ab|a)(bc)?", "abc"), [Some((0, 3)), Some((0, 1)), Some((1, 3))]);
    assert_eq!(groups("((a)|b){2,3}", "abab"), [Some((0, 3)), Some((2, 3)), Some((2, 3))]);
}

#[test]
fn brackets_are_those_of_posix() {
    assert_eq!(matched("[^[]+", "ab[c"), Some("ab"));
    assert_eq!(matched("[]x]+", "a]x]"), Some("]x]"));
    assert_eq!(matched("[^]]+", "ab]c"), Some("ab"));
    assert_eq!(matched("[[:digit:]&&~~]+", "a1&~2b"), Some("1&~2"));
    assert_eq!(matched("[0-9\\.]+", "ip 10.0.0.1!"), Some("10.0.0.1"));
    assert_eq!(matched("[\\d]+", "12d\\"), Some("d\\"));
    assert_eq!(matched("\\[x[[]", "[x["), Some("[x["));
    assert_eq!(matched("sip:.*@", "a\nsip:b\nc@d"), Some("sip:b\nc@"));
    assert_eq!(matched("[a-]+", "b-a-"), Some("-a-"));
    assert_eq!(matched("^b", "a\nb"), None);
}

#[test]
fn back_references_repeat_what_was_matched() {
    assert!(Regex::new("[^a-c]x\\1|(b)").is_err(), "a reference to a later group");
    assert_eq!(groups("(a*)b\\1", "aabaaa"), [Some((0, 5)), Some((0, 2))]);
    assert_eq!(matched("([a-z]+) \\1", "one two two"), Some("two two"));
    assert_eq!(matched("(a|ab)(c|bcd)\\2", "abcdbcd"), Some("abcdbcd"));
    assert_eq!(matched("(^|x)*\\1y", "xxy"), Some("xxy"));
}

#[test]
fn what_is_no_expression_is_an_error_in_a_few_words() {
    for (pattern, says) in [
        ("(", "without ')'"),
        ("[a", "without ']'"),
        ("a{2,1}", "{2,1}"),
        ("[[:nope:]]", "no class"),
        ("\\", "at the end"),
        ("*a", "before '*'"),
        ("a|+", "before '+'"),
        ("(?:a)", "before '?'"),
        ("^*", "before '*'"),
        ("a{x}", "braces"),
        ("[z-a]", "range"),
        ("[[=a=]]", "equivalence classes"),
        ("[[.a.]]", "collating symbols"),
        ("\\1(a)", "no group"),
        ("(a\\1)", "no group"),
        ("(.{1000}){1000}", "too large"),
        ("((((a{90}){90}){90}){90}){90}", "too large"),
        ("(|){32767}(a|b)", "too large"),
    ] {
        let error = Regex::new(pattern).unwrap_err();
        assert!(error.contains(says), "{pattern}: {error}");
    }
    assert!(Regex::new(&"a".repeat(10_000)).is_err());
    assert!(Regex::new(&"(".repeat(2000)).is_err());
}

#[test]
fn usual_expressions_are_fast() {
    for pattern in [
        "sip:(.*)@([0-9.]+):([0-9]*)",
        ".*",
        "<([^>]+)>",
        "^[[:space:]]*([A-Za-z]+);tag=([^;]*)$",
        "\\.{2,}(a(b)c)",
        "",
    ] {
        assert!(Regex::new(pattern).unwrap().is_fast(), "{pattern}");
    }
    for pattern in ["a|b", "(ab)*", "(a)?b", "(a)\\1", "\\bx"] {
        assert!(!Regex::new(pattern).unwrap().is_fast(), "{pattern}");
    }
}

#[test]
fn hard_expressions_are_bounded() {
    let mut scratch = Scratch::default();
    let text = vec![b'a'; 60_000];
    let regex = Regex::new("((a|aa)*)*(b|c)").unwrap();
    assert_eq!(regex.is_match(&text, &mut scratch), Ok(false));
    let regex = Regex::new("(a*)*(a*)*\\1b").unwrap();
    assert_eq!(regex.is_match(&text, &mut scratch), Err(TooComplex));
    // A match that was given up leaves no state behind.
    let regex = Regex::new("((a)|(.*))*").unwrap();
    let _ = regex.captures(&text, 9, &mut scratch);
    let regex = Regex::new("(a|ab)(c|bcd)").unwrap();
    let found = regex.captures(b"abcd", 2, &mut scratch).unwrap().unwrap();
    assert_eq!(found.get(1), Some((0, 1)));
}

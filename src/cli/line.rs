//! The command line as reports show it: with quotes where a shell needs them, and without secrets.

use super::args::LowArgs;

/// Text in the place of a secret.
const MASK: &str = "***";

/// Parts of the name of a keyword (`-key`) whose value is kept secret.
const SECRET_NAMES: [&str; 3] = ["pass", "secret", "token"];

/// The line of `program` with the options of `low`.
pub(super) fn line(program: &str, low: &LowArgs) -> String {
    let mut line = program.to_owned();
    for given in &low.options {
        line.push_str(" -");
        line.push_str(given.flag.name);
        let mut values = given.values.iter().map(|value| value.to_string_lossy());
        let name = values.next();
        let is_secret = given.flag.is_secret();
        let is_secret_key = given.flag.name == "key"
            && name.as_ref().is_some_and(|name| {
                let name = name.to_ascii_lowercase();
                SECRET_NAMES.iter().any(|part| name.contains(part))
            });
        if let Some(value) = name {
            push_word(&mut line, if is_secret { MASK } else { &value });
        }
        for value in values {
            push_word(&mut line, if is_secret || is_secret_key { MASK } else { &value });
        }
    }
    if let Some(remote) = &low.remote {
        push_word(&mut line, &remote.to_string_lossy());
    }
    line
}

/// Appends a word, in quotes if a shell would take it apart or replace a part of it.
fn push_word(line: &mut String, word: &str) {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@%+*[]".contains(c);
    line.push(' ');
    match word.is_empty() || !word.chars().all(is_plain) {
        true => {
            line.push('\'');
            line.push_str(&word.replace('\'', "'\\''"));
            line.push('\'');
        }
        false => line.push_str(word),
    }
}

#[cfg(test)]
mod tests {
    use super::super::read_options;
    use super::*;

    fn shown(words: &[&str]) -> String {
        let words: Vec<_> = words.iter().map(|word| (*word).into()).collect();
        line("gossipper", &read_options(&words).unwrap())
    }

    #[test]
    fn a_line_is_shown_as_it_can_be_typed_again() {
        let typed = ["-sn", "uac", "-key", "who", "O'Brien & $x", "-s", "", "192.0.2.1:5060"];
        let line = r"gossipper -sn uac -key who 'O'\''Brien & $x' -s '' 192.0.2.1:5060";
        assert_eq!(shown(&typed), line);
    }

    #[test]
    fn no_secret_is_shown() {
        let secrets: [&[&str]; 5] = [
            &["-ap", "hidden"],
            &["-api_token", "hidden-and-long-enough"],
            &["-hep_password", "hidden"],
            &["-log_otel_header", "Authorization=hidden"],
            &["-key", "user_Password", "hidden"],
        ];
        for words in secrets {
            let shown = shown(&[words, &["h"]].concat());
            assert!(!shown.contains("hidden") && shown.contains("***"), "{shown}");
            assert!(shown.starts_with(&format!("gossipper {}", words[0])), "{shown}");
        }
    }
}

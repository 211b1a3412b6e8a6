//! Guesses which option or command an unknown word was meant to be.

/// Words that users type for one-letter options, and the option.
const SPELLED_OUT: &[(&str, &str)] = &[
    ("calls", "m"),
    ("concurrent", "l"),
    ("host", "i"),
    ("limit", "l"),
    ("max_calls", "m"),
    ("max_concurrent", "l"),
    ("port", "p"),
    ("rate", "r"),
    ("scenario", "sf"),
    ("service", "s"),
    ("total_calls", "m"),
    ("transport", "t"),
    ("username", "au"),
    ("password", "ap"),
];

/// The name of `names` that differs least from `word`, if it is similar enough.
pub(super) fn near<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let word = word.trim_start_matches('-').to_lowercase();
    let most = mistakes_max(&word);
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&word, name), name))
        .filter(|&(distance, _)| distance <= most)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

/// The option of one or two letters that `word` spells out.
pub(super) fn spelled_out(word: &str) -> Option<&'static str> {
    let names = SPELLED_OUT.iter().map(|(name, _)| *name);
    let meant = near(&word.replace('-', "_"), names)?;
    SPELLED_OUT.iter().find(|(name, _)| *name == meant).map(|(_, option)| *option)
}

/// Most typing mistakes in a word of this length that still count as similar.
pub(super) fn mistakes_max(word: &str) -> usize {
    (word.chars().count() / 3).clamp(1, 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let names = ["server", "shell", "check"];
        assert_eq!(near("servr", names), Some("server"));
        assert_eq!(near("Sehll", names), Some("shell"));
        assert_eq!(near("proxy", names), None);
        assert_eq!(spelled_out("ratee"), Some("r"));
        assert_eq!(spelled_out("max-calls"), Some("m"));
        assert_eq!(spelled_out("frobnicate"), None);
    }
}

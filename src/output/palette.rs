//! Colours of console text. All printing code takes a palette, and none looks at the terminal
//! itself.

use std::ffi::OsStr;

use anstyle::{AnsiColor, Style};

/// Styles by meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Palette {
    /// Headings.
    pub heading: Style,
    /// Good results.
    pub good: Style,
    /// Results that deserve attention.
    pub warning: Style,
    /// Bad results.
    pub bad: Style,
    /// Secondary text.
    pub dim: Style,
}

impl Palette {
    /// No colours: the output is plain text.
    pub fn plain() -> Self {
        Self::default()
    }

    /// The colours for a terminal: the sixteen basic ones, which follow the user's theme.
    pub fn colored() -> Self {
        Self {
            heading: Style::new().bold(),
            good: AnsiColor::Green.on_default(),
            warning: AnsiColor::Yellow.on_default(),
            bad: AnsiColor::Red.on_default().bold(),
            dim: Style::new().dimmed(),
        }
    }

    /// The palette for an output stream: colours only on a terminal that has them, and not if the
    /// environment asks for none. `no_color` and `term` are the values of `NO_COLOR` and `TERM`.
    pub fn choose(is_terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> Self {
        match has_color(is_terminal, no_color, term) {
            true => Self::colored(),
            false => Self::plain(),
        }
    }
}

/// Tells whether an output stream has colours: a terminal that can show them, in an environment
/// that does not refuse them. `no_color` and `term` are the values of `NO_COLOR` and `TERM`.
pub fn has_color(is_terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    // An empty NO_COLOR counts as unset: https://no-color.org
    let is_refused = no_color.is_some_and(|value| !value.is_empty());
    let is_dumb = term.is_some_and(|term| term == "dumb");
    is_terminal && !is_refused && !is_dumb
}

/// `text` in `style`.
pub(super) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        let choose = |is_terminal, no_color: Option<&str>, term: Option<&str>| {
            Palette::choose(is_terminal, no_color.map(OsStr::new), term.map(OsStr::new))
        };
        assert_eq!(choose(true, None, Some("xterm")), Palette::colored());
        assert_eq!(choose(true, Some(""), None), Palette::colored());
        assert_eq!(choose(true, Some("1"), Some("xterm")), Palette::plain());
        assert_eq!(choose(true, None, Some("dumb")), Palette::plain());
        assert_eq!(choose(false, None, Some("xterm")), Palette::plain());
    }

    #[test]
    fn plain_text_has_no_escapes() {
        assert_eq!(paint(Palette::plain().bad, "text"), "text");
        assert_eq!(paint(Palette::colored().good, "text"), "\u{1b}[32mtext\u{1b}[0m");
    }
}

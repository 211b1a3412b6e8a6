//! Text with styles, and its way to a terminal, a file or a closed pipe.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, ErrorKind, IsTerminal, Write};

use anstyle::{AnsiColor, Style};

use crate::config::ColorChoice;
use crate::output::has_color;

/// Headings.
pub(super) const HEADING: Style = Style::new().bold().underline();
/// Options and commands.
pub(super) const LITERAL: Style = Style::new().bold();
/// Defaults and other secondary text.
pub(super) const ASIDE: Style = Style::new().dimmed();
/// The word "error".
pub(super) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// Plain text.
pub(super) const PLAIN: Style = Style::new();

/// Text whose parts may have styles. `Display` writes it without any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StyledText {
    parts: Vec<(Style, String)>,
    color: ColorChoice,
}

impl StyledText {
    /// Sets the cases in which the styles are shown.
    pub(super) fn with_color(mut self, color: ColorChoice) -> Self {
        self.color = color;
        self
    }

    /// Adds `text` in `style`.
    pub(super) fn push(&mut self, style: Style, text: impl Into<String>) -> &mut Self {
        self.parts.push((style, text.into()));
        self
    }

    /// Adds `text` without style.
    pub(super) fn plain(&mut self, text: impl Into<String>) -> &mut Self {
        self.push(PLAIN, text)
    }

    /// The text with escape sequences for its styles.
    pub fn to_ansi(&self) -> String {
        let mut ansi = String::new();
        for (style, text) in &self.parts {
            ansi.push_str(&format!("{style}{text}{style:#}"));
        }
        ansi
    }

    /// Writes the text to stdout, styled if `color` and the terminal allow it. A closed pipe, as in
    /// `gossipper -h | head`, is no error.
    pub fn print(&self) -> io::Result<()> {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        self.write(&mut stdout.lock(), is_terminal)
    }

    /// Writes the text to stderr, styled if `color` and the terminal allow it.
    pub fn print_to_stderr(&self) -> io::Result<()> {
        let stderr = io::stderr();
        let is_terminal = stderr.is_terminal();
        self.write(&mut stderr.lock(), is_terminal)
    }

    fn write(&self, output: &mut impl Write, is_terminal: bool) -> io::Result<()> {
        let text =
            if wants_color(self.color, is_terminal) { self.to_ansi() } else { self.to_string() };
        match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}

impl fmt::Display for StyledText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|(_, text)| f.write_str(text))
    }
}

/// Tells whether output should be styled, by the choice of the user and the environment.
fn wants_color(choice: ColorChoice, is_terminal: bool) -> bool {
    let (no_color, term) = (env::var_os("NO_COLOR"), env::var_os("TERM"));
    wants_color_in(choice, is_terminal, no_color.as_deref(), term.as_deref())
}

/// Decides without reading the environment.
fn wants_color_in(
    choice: ColorChoice,
    is_terminal: bool,
    no_color: Option<&OsStr>,
    term: Option<&OsStr>,
) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => has_color(is_terminal, no_color, term),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_styles_the_text_is_what_was_pushed() {
        let mut text = StyledText::default();
        text.push(HEADING, "Rate").plain("\n  ").push(LITERAL, "-r");
        assert_eq!(text.to_string(), "Rate\n  -r");
        assert!(text.to_ansi().contains("\u{1b}["));
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut text = StyledText::default();
        text.plain("help");
        assert!(text.write(&mut Closed, false).is_ok());
    }

    #[test]
    fn colours_need_a_terminal_and_no_objection() {
        use ColorChoice::{Always, Auto, Never};
        let (set, empty, dumb) = (Some(OsStr::new("1")), Some(OsStr::new("")), Some("dumb"));
        let dumb = dumb.map(OsStr::new);
        for (choice, is_terminal, no_color, term, expected) in [
            (Auto, true, None, None, true),
            (Auto, false, None, None, false),
            (Auto, true, set, None, false),
            (Auto, true, empty, None, true),
            (Auto, true, None, dumb, false),
            (Always, false, set, dumb, true),
            (Never, true, None, None, false),
        ] {
            assert_eq!(wants_color_in(choice, is_terminal, no_color, term), expected, "{choice:?}");
        }
    }
}

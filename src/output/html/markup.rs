//! HTML that cannot be broken by a text from outside: only literals of the program are markup.

use std::fmt::{self, Display, Write};

/// A piece of HTML in the making.
#[derive(Debug, Default)]
pub(super) struct Markup(String);

impl Markup {
    /// Appends markup. It is a literal, so that no text from outside can come here.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Appends a text, also within an attribute in double quotes.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        // Writing to memory does not fail.
        let _ = write!(Escaped(&mut self.0), "{text}");
        self
    }

    /// Appends `<name>text</name>`.
    pub(super) fn element(&mut self, name: &'static str, text: impl Display) -> &mut Self {
        self.raw("<").raw(name).raw(">").text(text).raw("</").raw(name).raw(">")
    }

    /// The HTML.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// A writer that replaces what has a meaning in HTML.
struct Escaped<'o>(&'o mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' | '\t' => self.0.push(c),
                // Others would be no HTML, or turn the direction of the text behind them.
                c if c.is_control() || turns_text(c) => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

fn turns_text(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_outside_is_a_text() {
        let mut markup = Markup::default();
        markup.raw("<p title=\"").text("a\" onclick='x'").raw("\">");
        markup.text("<script>alert(1)</script> & \u{202e}\u{1b}[2J").raw("</p>");
        assert_eq!(
            markup.into_string(),
            "<p title=\"a&quot; onclick=&#39;x&#39;\">&lt;script&gt;alert(1)&lt;/script&gt; &amp; \
             \u{fffd}\u{fffd}[2J</p>"
        );
    }
}

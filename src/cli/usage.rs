//! The texts about command lines that cannot be used.

use super::text::{LITERAL, StyledText};
use super::{Entry, UsageError, error_text};

/// The text about a line of the run form.
pub(super) fn of_run(entry: Entry, error: &UsageError) -> StyledText {
    let mut text = error_text(&error.to_string());
    text.plain("\nUsage: ")
        .push(LITERAL, entry.program())
        .plain(" [OPTIONS] [REMOTE_HOST[:PORT]]\nAll options: ")
        .push(
            LITERAL,
            format!("{} -h", if entry == Entry::Sipp { "sipp" } else { "gossipper sipp" }),
        )
        .plain("\n");
    text
}

/// The text about a line of the server form.
pub(super) fn of_server(error: &UsageError) -> StyledText {
    let mut text = error_text(&error.to_string());
    text.plain("\nUsage: ")
        .push(LITERAL, "gossipper server")
        .plain(" -config FILE [OPTIONS]\nUsage: ")
        .push(LITERAL, "gossipper config check")
        .plain(" -config FILE [--json] [--dump-effective]\nMore: ")
        .push(LITERAL, "gossipper help server")
        .plain("\n");
    text
}

//! The shell at a terminal: line editing, completion and history.

use std::env;
use std::fs;
use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use super::session::{Answer, Session};
use super::{complain, say, start};

/// Most lines that are remembered.
const HISTORY_LINES: usize = 1000;

/// Reads and carries out lines until the end; returns the exit code of the last run.
pub(super) fn converse() -> u8 {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .max_history_size(HISTORY_LINES)
        .map(|config| config.auto_add_history(false).build());
    let editor = config.and_then(Editor::<Names, FileHistory>::with_config);
    let mut editor = match editor {
        Ok(editor) => editor,
        Err(error) => {
            complain(&format!("the terminal cannot be used: {error}"));
            return super::EXIT_BAD_LINE;
        }
    };
    editor.set_helper(Some(Names));
    let history = history_file();
    if let Some(path) = &history {
        // The first time there is no history.
        let _ = editor.load_history(path);
    }
    say("`help` lists the commands, `wizard` asks for what a run needs.\n");
    let mut session = Session::default();
    let mut code = 0;
    loop {
        match editor.readline(&session.prompt()) {
            Ok(line) => {
                // Passwords must not be written to files.
                let is_secret = line.contains("auth_password") || line.contains("-ap ");
                if !line.trim().is_empty() && !is_secret {
                    let _ = editor.add_history_entry(line.as_str());
                }
                match session.line(&line) {
                    Answer::Text(text) => say(&text),
                    Answer::Refused(text) => complain(&text),
                    Answer::Run(options) => code = start(&options),
                    Answer::Quit => break,
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => {
                complain(&format!("cannot read: {error}"));
                code = super::EXIT_BAD_LINE;
                break;
            }
        }
    }
    if let Some(path) = &history
        && let Err(error) = editor.save_history(path)
    {
        complain(&format!("the history cannot be written to {}: {error}", path.display()));
    }
    code
}

/// The file of the history (XDG base directories: state); its folder is made. `None` without a
/// home.
fn history_file() -> Option<PathBuf> {
    let state = env::var_os("XDG_STATE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let folder = state.or_else(home)?.join("gossipper");
    fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}

/// Completer of names.
struct Names;

impl Completer for Names {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let before = line.get(..position).unwrap_or(line);
        let begin = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        Ok((begin, Session::completions(before)))
    }
}

impl Hinter for Names {
    type Hint = String;
}

impl Highlighter for Names {}
impl Validator for Names {}
impl Helper for Names {}

//! The form: fields, the edited field, and the errors of their values.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Widget};

use crate::config::RunConfig;
use crate::output::dashboard::to_ansi;
use crate::scenario::builtin;
use crate::shell::{Answer, Session};
use crate::terminal::Key;

/// The consequence of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The form goes on.
    Stay,
    /// The user leaves the form.
    Leave,
    /// The run starts.
    Start(Box<RunConfig>),
}

/// The way in which a field is filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The user types a text.
    Text,
    /// The user types a text, which is shown as stars.
    Secret,
    /// The user switches between yes and no with the space bar.
    Switch,
}

/// The fields: the label, the setting of the shell, the kind, and the first value.
const FIELDS: &[(&str, &str, Kind, &str)] = &[
    ("Scenario (name or file)", "builtin_scenario", Kind::Text, "uac"),
    ("Remote host[:port]", "destination", Kind::Text, ""),
    ("Transport", "transport", Kind::Text, "u1"),
    ("Local IP", "local_bind_ip", Kind::Text, ""),
    ("Local port", "listen_port", Kind::Text, ""),
    ("Service (user part)", "service", Kind::Text, "service"),
    ("Calls per second", "calls_per_second", Kind::Text, "10"),
    ("Calls in all (0: no end)", "total_calls", Kind::Text, "100"),
    ("Call length", "call_length", Kind::Text, "3s"),
    ("Open calls at most", "concurrent_calls", Kind::Text, ""),
    ("Users instead of a rate", "users", Kind::Text, ""),
    ("Digest user", "auth_username", Kind::Text, ""),
    ("Digest password", "auth_password", Kind::Secret, ""),
    ("Injection file", "injection_file", Kind::Text, ""),
    ("Summary file", "summary_file", Kind::Text, ""),
    ("Trace messages", "trace_msg", Kind::Switch, ""),
    ("Trace errors", "trace_err", Kind::Switch, ""),
    ("Trace statistics", "trace_stat", Kind::Switch, ""),
];

/// The row below the last field: the button that starts the run.
const START: usize = FIELDS.len();
/// Number of rows that the user can reach.
const ROWS: usize = FIELDS.len() + 1;

/// Longest text of a field.
const VALUE_MAX: usize = 200;

/// The state of the form: values, the current row, and the error.
#[derive(Debug)]
pub struct Form {
    values: Vec<String>,
    at: usize,
    error: Option<String>,
}

impl Default for Form {
    fn default() -> Self {
        let values = FIELDS.iter().map(|(.., first)| (*first).to_owned()).collect();
        Self { values, at: 1, error: None }
    }
}

impl Form {
    /// Handles a key.
    pub fn press(&mut self, key: Key) -> Step {
        match key {
            Key::Escape | Key::Ctrl('c') => return Step::Leave,
            Key::Enter if self.at == START => return self.start(),
            Key::Enter | Key::Tab | Key::Down => self.go_to((self.at + 1) % ROWS),
            Key::BackTab | Key::Up => self.go_to((self.at + ROWS - 1) % ROWS),
            Key::Home | Key::PageUp => self.go_to(0),
            Key::End | Key::PageDown => self.go_to(START),
            key => self.edit(key),
        }
        Step::Stay
    }

    /// Starts the run, or shows the error.
    fn start(&mut self) -> Step {
        match self.session().and_then(|session| session.config()) {
            Ok(config) => Step::Start(config),
            Err(error) => {
                self.error = Some(error);
                Step::Stay
            }
        }
    }

    /// Leaves a field for another one, if the text can be its value.
    fn go_to(&mut self, row: usize) {
        self.error = match self.at {
            START => None,
            at => self.fill(at, &mut Session::default()).err(),
        };
        if self.error.is_none() {
            self.at = row;
        }
    }

    fn edit(&mut self, key: Key) {
        let Some((.., kind, _)) = FIELDS.get(self.at) else { return };
        let value = &mut self.values[self.at];
        match (key, kind) {
            (Key::Char(' '), Kind::Switch) => {
                *value = if value.is_empty() { "yes".to_owned() } else { String::new() };
            }
            (Key::Char(c), Kind::Text | Kind::Secret) if value.chars().count() < VALUE_MAX => {
                value.push(c);
            }
            (Key::Backspace, Kind::Text | Kind::Secret) => _ = value.pop(),
            (Key::Delete | Key::Ctrl('u'), _) => value.clear(),
            _ => return,
        }
        self.error = None;
    }

    /// The settings of the run, with the dashboard.
    fn session(&self) -> Result<Session, String> {
        let mut session = Session::default();
        session.set("interactive", &[]);
        for at in 0..FIELDS.len() {
            self.fill(at, &mut session)?;
        }
        Ok(session)
    }

    /// Makes a setting of `session` from a field; an empty field makes none.
    fn fill(&self, at: usize, session: &mut Session) -> Result<(), String> {
        let (label, name, kind, _) = FIELDS[at];
        let value = self.values[at].trim();
        let is_file = name == "builtin_scenario" && builtin(value).is_none();
        let answer = match (kind, value) {
            (_, "") => return Ok(()),
            (Kind::Switch, _) => session.set(name, &[]),
            (_, value) if is_file => session.set("scenario_file", &[value.to_owned()]),
            (_, value) => session.set(name, &[value.to_owned()]),
        };
        match answer {
            Answer::Refused(why) => {
                let why = why.strip_prefix(&format!("{name}: ")).unwrap_or(&why);
                Err(format!("{label}: {why}"))
            }
            _ => Ok(()),
        }
    }

    /// The form as rows of a terminal.
    pub fn draw(&self, columns: u16, rows: u16) -> Vec<String> {
        let area = Rect::new(0, 0, columns, rows);
        let mut page = Buffer::empty(area);
        let [fields, foot] =
            Layout::vertical([Constraint::Min(3), Constraint::Length(2)]).areas(area);
        // The edited field is always visible.
        let room = usize::from(fields.height.saturating_sub(2)).max(1);
        let first = (self.at + 1).saturating_sub(room);
        let lines: Vec<Line<'_>> = (first..ROWS).take(room).map(|at| self.row(at)).collect();
        Paragraph::new(lines)
            .block(Block::bordered().title(" Gossipper: a run "))
            .render(fields, &mut page);
        let error = self.error.as_deref().unwrap_or_default();
        let error = error.lines().next().unwrap_or_default();
        Paragraph::new(vec![
            Line::from(error).fg(Color::Red),
            Line::from(
                "Enter, Tab and arrows move  Space switches  Enter on Start starts  Esc leaves",
            )
            .dim(),
        ])
        .render(foot, &mut page);
        to_ansi(&page)
    }

    fn row(&self, at: usize) -> Line<'_> {
        let Some(&(label, _, kind, _)) = FIELDS.get(at) else {
            let style = Style::new().fg(Color::Green).bold();
            let style = if self.at == START { style.reversed() } else { style };
            return Line::from(vec![Span::raw("   "), Span::styled("[ Start ]", style)]);
        };
        let value = &self.values[at];
        let shown = match kind {
            Kind::Text => value.clone(),
            Kind::Secret => "*".repeat(value.chars().count()),
            Kind::Switch if value.is_empty() => "[ ]".to_owned(),
            Kind::Switch => "[x]".to_owned(),
        };
        let is_edited = at == self.at;
        let cursor = if is_edited && kind != Kind::Switch { "_" } else { "" };
        let style = match is_edited {
            true => Style::new().fg(Color::Cyan).bold(),
            false => Style::new(),
        };
        Line::from(vec![
            Span::styled(format!(" {} {label:26}", if is_edited { '>' } else { ' ' }), style),
            Span::raw(shown),
            Span::styled(cursor, style),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(form: &Form) -> Vec<String> {
        match form.session().unwrap().line("run") {
            Answer::Run(options) => options,
            other => panic!("{other:?}"),
        }
    }

    fn typed(form: &mut Form, text: &str) {
        for c in text.chars() {
            assert_eq!(form.press(Key::Char(c)), Step::Stay);
        }
    }

    #[test]
    fn fields_become_options() {
        let mut form = Form::default();
        typed(&mut form, "192.0.2.1:5070");
        form.press(Key::Tab);
        form.press(Key::Delete);
        typed(&mut form, "t1");
        form.press(Key::End);
        form.press(Key::Up);
        form.press(Key::Char(' '));
        assert_eq!(form.press(Key::Enter), Step::Stay, "the next row");
        assert!(matches!(form.press(Key::Enter), Step::Start(_)), "{form:?}");
        assert_eq!(
            options(&form).join(" "),
            "-interactive -sn uac -t t1 -s service -r 10 -m 100 -d 3s -trace_stat 192.0.2.1:5070"
        );
        form.press(Key::Home);
        form.press(Key::Delete);
        typed(&mut form, "my.xml");
        let options = options(&form);
        assert!(options.join(" ").contains("-sf my.xml"), "{options:?}");
    }

    #[test]
    fn what_is_wrong_is_shown() {
        let mut form = Form::default();
        form.press(Key::Down);
        form.press(Key::Backspace);
        typed(&mut form, "9");
        let at = form.at;
        assert_eq!(form.press(Key::Enter), Step::Stay);
        assert_eq!(form.at, at, "a value that cannot be is not left behind");
        let rows = form.draw(100, 30).join("\n");
        assert!(rows.contains("u9"), "{rows}");
        assert!(form.error.as_deref().is_some_and(|error| error.contains("Transport")), "{form:?}");
        assert_eq!(form.press(Key::Escape), Step::Leave);
    }

    #[test]
    fn the_edited_field_is_seen_on_a_small_terminal() {
        let mut form = Form::default();
        form.press(Key::End);
        let rows = form.draw(60, 8).join("\n");
        assert!(rows.contains("Trace statistics") && rows.contains("[ Start ]"), "{rows}");
        form.press(Key::Up);
        form.press(Key::Up);
        form.press(Key::Up);
        assert!(!form.draw(2, 1).is_empty());
        let secrets = FIELDS.iter().position(|(.., kind, _)| *kind == Kind::Secret).unwrap();
        form.at = secrets;
        typed(&mut form, "hush");
        let rows = form.draw(80, 40).join("\n");
        assert!(rows.contains("****") && !rows.contains("hush"), "{rows}");
    }
}

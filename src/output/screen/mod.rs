//! SIPp's screens: the state of a run as pages of text that people and scripts know how to read.
//!
//! A page is made from a snapshot and the constants of the run. No code here looks at a terminal or
//! a clock: the same page goes to the terminal, to a file and to the end of the output.

mod repartition;
mod scenario;
mod statistics;

use std::time::Duration;

use crate::stats::Snapshot;

/// Columns of a page.
pub const COLUMNS: usize = 79;

/// Repartition screens beside the first one.
const REPARTITIONS_MORE: u8 = 4;

/// A page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Screen {
    /// `1`: the steps of the scenario with their counts.
    #[default]
    Scenario,
    /// `2`: counters of the run, for the last interval and since the start.
    Statistics,
    /// `3`: the distribution of response times and call lengths.
    FirstRepartition,
    /// `4`: the actions of the scenario.
    Variables,
    /// `5`: the circuits of `-tdmmap`.
    TdmMap,
    /// `6` to `9`: the distribution of the second to fifth response time.
    Repartition(u8),
}

impl Screen {
    /// The screen whose key is this digit.
    pub fn from_digit(digit: u8) -> Option<Self> {
        Some(match digit {
            1 => Self::Scenario,
            2 => Self::Statistics,
            3 => Self::FirstRepartition,
            4 => Self::Variables,
            5 => Self::TdmMap,
            6..=9 => Self::Repartition(digit - 5),
            _ => return None,
        })
    }

    fn title(self) -> String {
        match self {
            Self::Scenario => "Scenario Screen".to_owned(),
            Self::Statistics => "Statistics Screen".to_owned(),
            Self::FirstRepartition => "Repartition Screen".to_owned(),
            Self::Variables => "Variables Screen".to_owned(),
            Self::TdmMap => "TDM Map Screen".to_owned(),
            Self::Repartition(number) => format!("Repartition {} Screen", number + 1),
        }
    }
}

/// The state of the run, for the last line of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Footer {
    /// Calls are made.
    #[default]
    Client,
    /// Calls are answered.
    Server,
    /// No calls are started at present.
    Paused,
    /// No more calls are started; open ones go on.
    Quitting,
    /// The run is over.
    Over,
}

/// Facts that do not change during a run, or only on request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunFacts {
    /// True if we start the calls.
    pub is_client: bool,
    /// Number of users, if users start the calls.
    pub users: Option<u64>,
    /// Calls per rate period.
    pub rate: f64,
    /// Rate period in milliseconds.
    pub rate_period_ms: u64,
    /// Length of pauses without one of their own, in milliseconds.
    pub pause_ms: u64,
    /// The port that we listen on.
    pub local_port: u16,
    /// The peer, as the user wrote it; empty for a server.
    pub remote: String,
    /// The name of the transport in messages, such as `UDP`.
    pub transport: String,
    /// Most open calls (`-l`).
    pub call_limit: Option<u64>,
    /// Calls of the run (`-m`).
    pub calls_total: Option<u64>,
    /// True if messages are lost on purpose.
    pub has_losses: bool,
    /// The I/O driver.
    pub driver: String,
    /// The actions of each step that has some, by the step's index.
    pub actions: Vec<(usize, Vec<String>)>,
    /// The circuits of `-tdmmap`, one line each; empty without the option.
    pub circuits: Vec<String>,
}

/// All that a page shows of one moment of a run.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The constants of the run.
    pub facts: &'a RunFacts,
    /// The state now.
    pub now: &'a Snapshot,
    /// The state when periodic figures began; `None` at the start of the run.
    pub before: Option<&'a Snapshot>,
    /// The program whose steps are shown.
    pub program: usize,
    /// True to show steps with `hide="true"` as well.
    pub shows_hidden: bool,
    /// Time from the start of the run at which the most calls were open.
    pub peak_at: Duration,
    /// The last error.
    pub last_error: Option<&'a str>,
    /// The state for the last line.
    pub footer: Footer,
}

impl Frame<'_> {
    /// The page as lines without line ends.
    pub fn lines(&self, screen: Screen) -> Vec<String> {
        let mut lines = vec![header(&screen.title())];
        match screen {
            Screen::Scenario => scenario::lines(self, &mut lines),
            Screen::Statistics => statistics::lines(self, &mut lines),
            Screen::FirstRepartition => {
                repartition::response_time(self, 0, &mut lines);
                repartition::call_length(self, &mut lines);
            }
            Screen::Repartition(number) => {
                repartition::response_time(self, usize::from(number), &mut lines);
            }
            Screen::Variables => variables(self, &mut lines),
            Screen::TdmMap => circuits(self, &mut lines),
        }
        if let Some(error) = self.last_error {
            lines.push(format!("Last error: {}", cut(error, COLUMNS - 12)));
        }
        lines.push(footer(self.footer));
        lines
    }

    /// The pages that are worth keeping, one below the other.
    pub fn all(&self) -> String {
        let more = (1..=REPARTITIONS_MORE)
            .filter(|&number| usize::from(number) < self.now.rtds.len())
            .map(Screen::Repartition);
        let screens = [Screen::Scenario, Screen::Statistics, Screen::FirstRepartition];
        let mut text = String::new();
        for screen in screens.into_iter().chain(more) {
            text.push_str(&join(&self.lines(screen)));
        }
        text
    }
}

/// Lines as text.
pub fn join(lines: &[String]) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// The first line: `----- Scenario Screen ---- [1-9]: Change Screen --`.
fn header(title: &str) -> String {
    const KEYS: &str = " [1-9]: Change Screen --";
    const TITLE_COLUMNS: usize = COLUMNS - KEYS.len();
    centred(title, TITLE_COLUMNS) + KEYS
}

fn footer(footer: Footer) -> String {
    let text = match footer {
        Footer::Client => "[+|-|*|/]: rate -- [p]: pause -- [q]: quit -- [s]: save -- [c]: command",
        Footer::Server => "Server: [q]: quit -- [s]: save -- [c]: command",
        Footer::Paused => "Paused: no calls are started -- [p]: go on",
        Footer::Quitting => "Quitting: open calls go on -- [q]: end them",
        Footer::Over => "Test Terminated",
    };
    centred(text, COLUMNS)
}

/// `text` between dashes on both sides, about as many on each.
fn centred(text: &str, columns: usize) -> String {
    let dashes = columns.saturating_sub(text.chars().count() + 2);
    let left = dashes.div_ceil(2);
    format!("{} {text} {}", "-".repeat(left), "-".repeat(dashes - left))
}

/// `text` in at most `columns`, with dots if something is left out.
fn cut(text: &str, columns: usize) -> String {
    let is_visible = |c: char| if c.is_control() { ' ' } else { c };
    if text.chars().count() <= columns {
        return text.chars().map(is_visible).collect();
    }
    let kept: String = text.chars().take(columns.saturating_sub(3)).map(is_visible).collect();
    kept + "..."
}

/// Two columns; the second one begins at the same place as in SIPp.
fn two_columns(left: &str, right: &str) -> String {
    format!("  {left:<38}{right}").trim_end().to_owned()
}

fn variables(frame: &Frame<'_>, lines: &mut Vec<String>) {
    if frame.facts.actions.is_empty() {
        lines.push("  The scenario has no actions".to_owned());
        return;
    }
    lines.push("  Actions of the scenario, by step".to_owned());
    for (step, actions) in &frame.facts.actions {
        let name = frame.now.layout.programs.first().and_then(|program| program.steps.get(*step));
        let name = name.map_or("", |step| step.name.as_str());
        lines.push(cut(&format!("  {step:>4} {name}"), COLUMNS).trim_end().to_owned());
        for action in actions {
            lines.push(cut(&format!("         {action}"), COLUMNS));
        }
    }
}

fn circuits(frame: &Frame<'_>, lines: &mut Vec<String>) {
    if frame.facts.circuits.is_empty() {
        lines.push("  There is no circuit table: -tdmmap is not given".to_owned());
        return;
    }
    lines.extend(frame.facts.circuits.iter().map(|line| cut(&format!("  {line}"), COLUMNS)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_pages_fill_the_line() {
        for digit in 1..=9 {
            let screen = Screen::from_digit(digit).unwrap();
            let line = header(&screen.title());
            assert_eq!(line.chars().count(), COLUMNS, "{line}");
            assert!(line.ends_with("--") && line.starts_with("--"), "{line}");
        }
        for is in [Footer::Client, Footer::Server, Footer::Paused, Footer::Quitting, Footer::Over] {
            assert_eq!(footer(is).chars().count(), COLUMNS, "{}", footer(is));
        }
        assert_eq!(Screen::from_digit(0), None);
        assert_eq!(Screen::from_digit(10), None);
    }

    #[test]
    fn what_is_too_long_is_cut_and_cannot_move_the_cursor() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abc...");
        assert_eq!(cut("a\x1b[2J\n", 10), "a [2J ");
    }
}

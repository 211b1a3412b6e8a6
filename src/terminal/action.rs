//! Keys and command lines, and the actions that they stand for.
//!
//! Keyboard, control socket, signals and the dashboard all end in one [`Action`]. This module does
//! not know the source of the bytes.

use thiserror::Error;

use crate::config::RATE_MAX;
use crate::control::Request;
use crate::output::screen::Screen;
use crate::sinks::Log;

/// An action of the user of a run at a terminal.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send this request to the run.
    Ask(Request),
    /// Ask for another rate, in calls per period: the unit of `-r`.
    SetRate(f64),
    /// Change the rate by this many times the step of the keys (`-rate_scale`): calls per period,
    /// or users.
    Step(f64),
    /// Pause the run, or end its pause.
    TogglePause,
    /// Set the step of the keys that change the rate.
    SetRateScale(f64),
    /// Show a screen.
    Show(Screen),
    /// Show the one status line again.
    ShowStatusLine,
    /// Show the steps of this scenario.
    Display(Display),
    /// Leave steps with `hide="true"` out, or show them.
    Hide(bool),
    /// Write the screens to a file.
    DumpScreens,
    /// Show the number of open calls and of workers.
    DumpTasks,
}

/// The scenario whose steps the first screen shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Display {
    /// The main scenario, given with `-sf` or `-sn`.
    #[default]
    Main,
    /// The scenario for unknown calls.
    OutOfCall,
    /// The receiving scenario of a mixed run.
    Receiving,
}

/// The reason why a command line was not understood.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CommandError {
    /// The line is empty.
    #[error("an empty command; there are: {COMMANDS}")]
    Empty,
    /// The first words are no command.
    #[error("unknown command {0:?}; there are: {COMMANDS}")]
    Unknown(String),
    /// A value is missing or wrong.
    #[error("{command} takes {expected}, not {given:?}")]
    BadValue {
        /// The command.
        command: &'static str,
        /// The values that the command takes.
        expected: &'static str,
        /// The given text.
        given: String,
    },
}

const COMMANDS: &str = "set rate|rate-scale|users|limit N, set display main|ooc|rx, \
                        set hide true|false, trace error|logs|messages|shortmessages on|off, \
                        dump tasks|variables, reset stats";

/// The action of a key; `None` if it has none. `c` begins a command line and is not handled here.
pub fn of_key(key: u8) -> Option<Action> {
    Some(match key {
        b'0' => Action::ShowStatusLine,
        b'1'..=b'9' => Action::Show(Screen::from_digit(key - b'0')?),
        b'+' | b'=' => Action::Step(1.0),
        b'-' => Action::Step(-1.0),
        b'*' => Action::Step(10.0),
        b'/' => Action::Step(-10.0),
        b'p' => Action::TogglePause,
        b'q' => Action::Ask(Request::Quit),
        b'Q' => Action::Ask(Request::Stop),
        b's' => Action::DumpScreens,
        _ => return None,
    })
}

/// The action of a command line. White space separates words; `text` may hold any characters.
///
/// # Errors
/// The command is unknown, or its value is wrong; the text names the alternatives.
pub fn of_command(text: &str) -> Result<Action, CommandError> {
    let mut words = text.split_whitespace();
    let first = words.next().ok_or(CommandError::Empty)?;
    let (second, third) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    if words.next().is_some() {
        return Err(unknown(text));
    }
    match (first, second) {
        ("set", "rate") => Ok(Action::SetRate(number("set rate", third)?)),
        ("set", "rate-scale") => Ok(Action::SetRateScale(number("set rate-scale", third)?)),
        ("set", "users") => Ok(Action::Ask(Request::SetUsers(whole("set users", third)?))),
        ("set", "limit") => Ok(Action::Ask(Request::SetCallLimit(whole("set limit", third)?))),
        ("set", "display") => match third {
            "main" => Ok(Action::Display(Display::Main)),
            "ooc" => Ok(Action::Display(Display::OutOfCall)),
            "rx" => Ok(Action::Display(Display::Receiving)),
            _ => Err(bad("set display", "main, ooc or rx", third)),
        },
        ("set", "hide") => match third {
            "true" => Ok(Action::Hide(true)),
            "false" => Ok(Action::Hide(false)),
            _ => Err(bad("set hide", "true or false", third)),
        },
        ("trace", name) => {
            let log = match name {
                "error" => Log::Errors,
                "logs" => Log::Logs,
                "messages" => Log::Messages,
                "shortmessages" => Log::ShortMessages,
                _ => return Err(bad("trace", "error, logs, messages or shortmessages", name)),
            };
            let enabled = match third {
                "on" => true,
                "off" => false,
                _ => return Err(bad("trace", "on or off", third)),
            };
            Ok(Action::Ask(Request::SetLog { log, enabled }))
        }
        ("dump", "tasks") if third.is_empty() => Ok(Action::DumpTasks),
        ("dump", "variables") if third.is_empty() => Ok(Action::Ask(Request::TellVariables)),
        ("reset", "stats") if third.is_empty() => Ok(Action::Ask(Request::ResetStats)),
        _ => Err(unknown(text)),
    }
}

/// The action of a datagram on the control socket: its first byte is a key, and `c` is followed by
/// a command. `Ok(None)` for a key without an action.
///
/// # Errors
/// The command was not understood.
pub fn of_datagram(bytes: &[u8]) -> Result<Option<Action>, CommandError> {
    match bytes.split_first() {
        Some((b'c', command)) => of_command(&String::from_utf8_lossy(command)).map(Some),
        Some((&key, _)) => Ok(of_key(key)),
        None => Ok(None),
    }
}

fn number(command: &'static str, text: &str) -> Result<f64, CommandError> {
    let value = text.parse().ok().filter(|value| (0.0..=RATE_MAX).contains(value));
    value.ok_or_else(|| bad(command, "a number from 0 to 1000000000", text))
}

fn whole(command: &'static str, text: &str) -> Result<u64, CommandError> {
    let value = text.parse().ok().filter(|&value| value <= u64::from(u32::MAX));
    value.ok_or_else(|| bad(command, "a whole number from 0", text))
}

fn bad(command: &'static str, expected: &'static str, given: &str) -> CommandError {
    CommandError::BadValue { command, expected, given: shortened(given) }
}

fn unknown(text: &str) -> CommandError {
    CommandError::Unknown(shortened(text.trim()))
}

/// The part of a received text that is quoted in messages.
fn shortened(text: &str) -> String {
    const QUOTED_MAX: usize = 60;
    text.chars().take(QUOTED_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sipps() {
        assert_eq!(of_key(b'+'), Some(Action::Step(1.0)));
        assert_eq!(of_key(b'/'), Some(Action::Step(-10.0)));
        assert_eq!(of_key(b'1'), Some(Action::Show(Screen::Scenario)));
        assert_eq!(of_key(b'9'), Some(Action::Show(Screen::Repartition(4))));
        assert_eq!(of_key(b'Q'), Some(Action::Ask(Request::Stop)));
        for key in [0, b'c', b'\n', b'x', 0x80, 0xff] {
            assert_eq!(of_key(key), None, "{key}");
        }
    }

    #[test]
    fn commands_are_sipps() {
        let log = |log, enabled| Request::SetLog { log, enabled };
        for (text, action) in [
            ("set rate 10.5", Action::SetRate(10.5)),
            (" set  rate-scale 2\n", Action::SetRateScale(2.0)),
            ("set users 7", Action::Ask(Request::SetUsers(7))),
            ("set limit 100\r\n", Action::Ask(Request::SetCallLimit(100))),
            ("set display rx", Action::Display(Display::Receiving)),
            ("set hide false", Action::Hide(false)),
            ("trace shortmessages on", Action::Ask(log(Log::ShortMessages, true))),
            ("trace error off", Action::Ask(log(Log::Errors, false))),
            ("dump tasks", Action::DumpTasks),
            ("dump variables", Action::Ask(Request::TellVariables)),
            ("reset stats", Action::Ask(Request::ResetStats)),
        ] {
            assert_eq!(of_command(text), Ok(action), "{text:?}");
        }
    }

    #[test]
    fn wrong_values_are_errors_that_say_what_is_right() {
        for (text, part) in [
            ("set rate", "a number"),
            ("set rate -1", "a number"),
            ("set rate NaN", "a number"),
            ("set rate inf", "a number"),
            ("set rate 1 2", "unknown command"),
            ("set users 1.5", "a whole number"),
            ("set users 99999999999999999999", "a whole number"),
            ("set limit", "a whole number"),
            ("set display all", "main, ooc or rx"),
            ("set colour red", "unknown command"),
            ("trace messages", "on or off"),
            ("trace packets on", "error, logs"),
            ("dump everything", "unknown command"),
            ("", "empty"),
        ] {
            let error = of_command(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_limit_of_a_rate_is_the_one_of_its_option() {
        assert_eq!(of_command(&format!("set rate {RATE_MAX}")), Ok(Action::SetRate(RATE_MAX)));
        let error = of_command("set rate 1000000001").unwrap_err().to_string();
        assert!(error.contains(&format!("from 0 to {RATE_MAX}, not")), "{error}");
    }

    #[test]
    fn noise_in_a_datagram_is_told_apart_from_keys() {
        assert_eq!(of_datagram(b"q"), Ok(Some(Action::Ask(Request::Quit))));
        assert_eq!(of_datagram(b"cset rate 3"), Ok(Some(Action::SetRate(3.0))));
        assert_eq!(of_datagram(b"p anything may follow"), Ok(Some(Action::TogglePause)));
        assert_eq!(of_datagram(b""), Ok(None));
        assert_eq!(of_datagram(&[0xff; 70_000]), Ok(None));
        let long = [b"c".as_slice(), &[0xfe; 70_000]].concat();
        assert!(of_datagram(&long).unwrap_err().to_string().len() < 500);
    }
}

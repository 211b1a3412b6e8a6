//! Errors of a command line.

use crate::config::{ConfigError, ValueError};

/// The reason why a command line cannot be used. Options are named as they were typed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum UsageError {
    /// The option does not exist.
    #[error("unknown option {typed:?}{}", did_you_mean(.suggestions))]
    UnknownOption {
        /// As typed, with its dashes.
        typed: String,
        /// Options that may have been meant.
        suggestions: Vec<String>,
    },
    /// The line ends before the option's values.
    #[error("{typed} needs a value: write {usage}")]
    MissingValue {
        /// As typed, with its dashes.
        typed: String,
        /// The option with its values.
        usage: String,
    },
    /// The option takes no value after `=`.
    #[error("{typed} cannot be given with `=`: write {usage}")]
    NoEqualsForm {
        /// As typed, with its dashes.
        typed: String,
        /// The option with its values.
        usage: String,
    },
    /// The option is known, but this version lacks the feature.
    #[error("{typed} is not in this version ({missing}); leave the option out")]
    NotInThisVersion {
        /// As typed, with its dashes.
        typed: String,
        /// The part that the option needs.
        missing: &'static str,
    },
    /// The option is known, but will never be supported.
    #[error("{typed} is refused: {why}")]
    Refused {
        /// As typed, with its dashes.
        typed: String,
        /// The reason, and the alternative.
        why: &'static str,
    },
    /// The value of an option cannot be used.
    #[error("{typed}: {reason}")]
    BadValue {
        /// As typed, with its dashes.
        typed: String,
        /// The error of the value.
        reason: ValueError,
    },
    /// The option has no use in a service.
    #[error("{typed} is not for a server: it is only for a run at a terminal; leave it out")]
    NotForServer {
        /// As typed, with its dashes.
        typed: String,
    },
    /// The command needs a file.
    #[error("the configuration file is missing: write -config FILE")]
    MissingConfig,
    /// The word in place of the remote host is a file.
    #[error("{typed:?} is not a remote host; a configuration is given with -config {typed}")]
    ConfigIsOption {
        /// The word.
        typed: String,
    },
    /// The second bare word is the name of a scenario.
    #[error(
        "{typed:?} is a second word beside the remote host; a scenario is given with -sn {typed}"
    )]
    ScenarioIsOption {
        /// The word.
        typed: String,
    },
    /// The remote host cannot be used.
    #[error("remote host: {0}")]
    BadRemote(ValueError),
    /// There are two bare words.
    #[error("there is a second remote host {second:?} after {first:?}; give one, last or first")]
    SecondRemote {
        /// The first bare word.
        first: String,
        /// The second one.
        second: String,
    },
    /// The options contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The line passed our own parser, but not clap's check against the definition.
    #[error("the command line cannot be read: {0}")]
    Definition(String),
}

impl UsageError {
    /// The option with the mistake, as typed.
    pub fn typed(&self) -> Option<&str> {
        match self {
            Self::UnknownOption { typed, .. }
            | Self::MissingValue { typed, .. }
            | Self::NoEqualsForm { typed, .. }
            | Self::NotInThisVersion { typed, .. }
            | Self::Refused { typed, .. }
            | Self::NotForServer { typed }
            | Self::BadValue { typed, .. }
            | Self::ScenarioIsOption { typed }
            | Self::ConfigIsOption { typed } => Some(typed),
            Self::SecondRemote { second, .. } => Some(second),
            Self::MissingConfig | Self::BadRemote(_) | Self::Config(_) | Self::Definition(_) => {
                None
            }
        }
    }

    /// A short, stable name of the kind of error.
    pub fn label(&self) -> &'static str {
        match self {
            Self::UnknownOption { .. } => "unknown_option",
            Self::MissingValue { .. } => "missing_value",
            Self::NoEqualsForm { .. } => "no_equals_form",
            Self::NotInThisVersion { .. } => "not_in_this_version",
            Self::Refused { .. } => "refused",
            Self::BadValue { reason, .. } | Self::BadRemote(reason) => reason.label(),
            Self::NotForServer { .. } => "not_for_server",
            Self::MissingConfig => "missing_config",
            Self::ScenarioIsOption { .. } => "scenario_is_option",
            Self::ConfigIsOption { .. } => "config_is_option",
            Self::SecondRemote { .. } => "second_remote",
            Self::Config(error) => error.label(),
            Self::Definition(_) => "definition",
        }
    }
}

fn did_you_mean(suggestions: &[String]) -> String {
    match suggestions {
        [] => String::new(),
        _ => format!("; did you mean {}?", suggestions.join(" or ")),
    }
}

//! One command of a lane, and how it ended.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// The time limit of a check that names none.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30 * 60);

/// One command of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What people call it.
    pub name: String,
    /// The name as it goes into unit and file names, unique in its lane: `[a-z0-9-]+`.
    pub slug: String,
    /// The shell command, run by user `mvm` in the first source's directory.
    pub run: String,
    /// After this time it is ended, and has timed out.
    pub timeout: Duration,
    /// What must be there for the check to make sense; where it is not, the check is skipped with the reason.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// A JUnit file that it writes, relative to the source's directory.
    #[serde(default)]
    pub junit: Option<String>,
    /// Files and directories to bring back, relative to the source's directory.
    #[serde(default)]
    pub artifacts: Vec<String>,
    /// Whether the check may reboot the box.
    #[serde(default)]
    pub reboot: bool,
    /// Whether its tests run under the tracer, see [`crate::split`].
    #[serde(default)]
    pub trace: bool,
}

impl Check {
    /// Returns where the tracer records what it sees, relative to the source's directory; none without it.
    pub fn record(&self) -> Option<String> {
        // A record that a reboot cuts off is worthless.
        (self.trace && !self.reboot).then(|| format!("target/twolane/{}.jsonl", self.slug))
    }
}

/// What a check needs on its box. Written `program:NAME`, `file:PATH` or `advisory-db`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Need {
    /// A program in the path of user `mvm`.
    Program(String),
    /// A file, relative to the source's directory.
    File(String),
    /// A copy of the RustSec advisory database, or a network that can fetch it.
    AdvisoryDb,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program(name) => write!(f, "program:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
            Self::AdvisoryDb => f.write_str("advisory-db"),
        }
    }
}

impl From<Need> for String {
    fn from(need: Need) -> Self {
        need.to_string()
    }
}

impl TryFrom<String> for Need {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("program", name)) if !name.is_empty() => Ok(Self::Program(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.to_owned())),
            None if text == "advisory-db" => Ok(Self::AdvisoryDb),
            _ => Err(format!(
                "`{text}` is not a need: write `program:NAME`, `file:PATH` or `advisory-db`"
            )),
        }
    }
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Its command returned 0.
    Passed,
    /// Its command returned something else, or was ended by a signal.
    Failed {
        /// Such as `exit code 101` or `signal SEGV`.
        how: String,
    },
    /// It was still running at its time limit, and was ended.
    TimedOut,
    /// It was not started, as something that it needs is not there.
    Skipped {
        /// What is not there.
        why: String,
    },
    /// It was not started, as the lane had ended before.
    NotRun,
    /// How it ended cannot be known. Counts as an infrastructure failure, never as passed.
    Unknown {
        /// Why it cannot be known.
        why: String,
    },
}

impl Outcome {
    /// Returns whether the project under test is at fault.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::TimedOut)
    }

    /// Returns the one word for tables.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed { .. } => "failed",
            Self::TimedOut => "timed out",
            Self::Skipped { .. } => "skipped",
            Self::NotRun => "not run",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Returns the reason, where there is one.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Failed { how: reason } | Self::Skipped { why: reason } | Self::Unknown { why: reason } => {
                Some(reason)
            }
            Self::Passed | Self::TimedOut | Self::NotRun => None,
        }
    }
}

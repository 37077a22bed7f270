//! One command of a lane, and how it ended.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    name::slug,
    part::{Part, TakenFrom},
    render::quote,
    results::CheckResults,
};

/// The time limit of a check that names none.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30 * 60);

/// One command of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What people call it.
    pub name: String,
    /// The name as it goes into unit and file names, unique in its lane: `[a-z0-9-]+`.
    pub slug: String,
    /// The shell command, run by the user of the checks in the first source's directory.
    pub run: String,
    /// After this time it is ended, and has timed out.
    #[serde(rename = "timeout_seconds", with = "crate::time::seconds")]
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
    /// Whether its tests run under the tracer, see [`crate::skips`].
    #[serde(default)]
    pub trace: bool,
    /// Whether root runs it, instead of the unprivileged user.
    #[serde(default)]
    pub as_root: bool,
    /// Variables of its environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Variables that it gets from the operator's environment. Only their names are ever recorded.
    #[serde(default)]
    pub env_from: Vec<String>,
    /// The tests that must really run for it to pass.
    #[serde(default)]
    pub expect: Option<Expect>,
    /// The check of its lane that must have passed before it, by name.
    #[serde(default)]
    pub after: Option<String>,
    /// Whether it also runs where the lane has ended at a check that failed.
    #[serde(default)]
    pub always: bool,
    /// Whether it prepares the box for the lane's other checks: it runs once in a box's life.
    #[serde(default)]
    pub is_setup: bool,
    /// Whether only some of its tests run: see [`crate::selection`].
    #[serde(default)]
    pub is_part: bool,
    /// The part of it that this box runs, where its lane is shared over several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// The lane whose box was lost, where it is taken over from that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_from: Option<TakenFrom>,
}

impl Check {
    /// Returns a check of that name and command, with the default of everything else.
    pub fn new(name: impl Into<String>, run: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            slug: slug(&name, "check"),
            name,
            run: run.into(),
            timeout: TIMEOUT_DEFAULT,
            needs: Vec::new(),
            junit: None,
            artifacts: Vec::new(),
            reboot: false,
            trace: false,
            as_root: false,
            env: BTreeMap::new(),
            env_from: Vec::new(),
            expect: None,
            after: None,
            always: false,
            is_setup: false,
            is_part: false,
            part: None,
            taken_from: None,
        }
    }

    /// Returns why it is not started after what has ended of its lane, by name; none where it is.
    pub fn barred(&self, ended: &BTreeMap<&str, Outcome>) -> Option<String> {
        let after = self.after.as_deref()?;
        // What was not chosen is not waited for.
        let outcome = ended.get(after).filter(|outcome| **outcome != Outcome::Passed)?;
        Some(match outcome {
            Outcome::NotRun | Outcome::Skipped { .. } => format!("{after} did not run"),
            outcome => format!("{after} {}", outcome.word()),
        })
    }

    /// Returns the shell commands that set its environment; empty where it sets none. `operator` knows the operator's
    /// own. Where that lacks a variable, returns the variable's name.
    pub fn environment(&self, operator: impl Fn(&str) -> Option<String>) -> Result<String, String> {
        let own = self.env.iter().map(|(name, value)| (name, value.clone()));
        let mut script: String = own.map(|(name, value)| export(name, &value)).collect();
        for name in &self.env_from {
            script += &export(name, &operator(name).ok_or_else(|| name.clone())?);
        }
        Ok(script)
    }

    /// Returns where the tracer records what it sees, relative to the source's directory; none without it.
    pub fn record(&self) -> Option<String> {
        // A record that a reboot cuts off is worthless.
        (self.trace && !self.reboot).then(|| format!("target/twolane/{}.jsonl", self.slug))
    }
}

fn export(name: &str, value: &str) -> String {
    format!("export {name}={}\n", quote(value))
}

/// The tests that must really run for a check to pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    /// Each of these: `test::name`, or `binary test::name` where two binaries have a test of that name.
    Tests(Vec<String>),
    /// At least so many.
    Min(u64),
}

impl Expect {
    /// Returns why the results do not do; none where they do. `is_skipped` knows the tests that passed without having had
    /// what they need, by binary and name.
    pub fn unmet(&self, results: &CheckResults, is_skipped: impl Fn(&str, &str) -> bool) -> Option<String> {
        let ran = results
            .tests
            .iter()
            .filter(|test| test.outcome.has_run() && !is_skipped(&test.suite, &test.name));
        match self {
            Self::Min(min) => {
                let ran = results.unnamed.passed + results.unnamed.failed + ran.count() as u64;
                (ran < *min).then(|| format!("`expect` wants at least {min} tests, and {ran} really ran"))
            }
            Self::Tests(names) => {
                let ran: Vec<_> = ran.collect();
                let is_lacking = |name: &&String| !ran.iter().any(|test| test.is_called(name));
                let lacking: Vec<&str> = names.iter().filter(is_lacking).map(String::as_str).collect();
                (!lacking.is_empty()).then(|| {
                    format!(
                        "tests that `expect` names did not really run: {}",
                        lacking.join(", ")
                    )
                })
            }
        }
    }
}

/// What a check needs on its box. Written `program:NAME`, `file:PATH` or `advisory-db`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Need {
    /// A program in the path of the user of the checks.
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
    /// It ran when the lane was ended.
    Interrupted,
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
            Self::Interrupted => "interrupted",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Returns the reason, where there is one.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Failed { how: reason } | Self::Skipped { why: reason } | Self::Unknown { why: reason } => {
                Some(reason)
            }
            Self::Passed | Self::TimedOut | Self::NotRun | Self::Interrupted => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Tally, TestOutcome, TestResult};

    fn results(tests: &[(&str, &str, TestOutcome)]) -> CheckResults {
        let one =
            |(suite, name, outcome): &(&str, &str, TestOutcome)| TestResult::new(*suite, *name, *outcome);
        CheckResults {
            tests: tests.iter().map(one).collect(),
            ..CheckResults::default()
        }
    }

    #[test]
    fn expected_test_that_did_not_really_run_is_named() {
        let found = results(&[
            ("live (tests/live.rs)", "boots", TestOutcome::Passed),
            ("live (tests/live.rs)", "is_slow", TestOutcome::Ignored),
            ("live (tests/live.rs)", "skips", TestOutcome::Passed),
        ]);
        let unmet = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            Expect::Tests(names).unmet(&found, |_, test| test == "skips")
        };
        assert_eq!(unmet(&["boots", "mvm::live boots"]), None);
        let why = unmet(&["boots", "is_slow", "skips", "gone", "other boots"]).unwrap();
        assert!(
            why.ends_with("did not really run: is_slow, skips, gone, other boots"),
            "{why}"
        );
    }

    #[test]
    fn expected_number_counts_neither_ignored_nor_skipped_tests() {
        let mut found = results(&[
            ("a", "runs", TestOutcome::Passed),
            ("a", "skips", TestOutcome::Passed),
            ("a", "is_slow", TestOutcome::Ignored),
        ]);
        found.unnamed = Tally {
            passed: 3,
            ignored: 9,
            ..Tally::default()
        };
        let unmet = |min| Expect::Min(min).unmet(&found, |_, test| test == "skips");
        assert_eq!(unmet(4), None);
        assert_eq!(
            unmet(5).unwrap(),
            "`expect` wants at least 5 tests, and 4 really ran"
        );
    }

    #[test]
    fn operators_variables_are_only_recorded_by_name() {
        let check = Check {
            env: [("A".to_owned(), "it's".to_owned())].into(),
            env_from: vec!["TOKEN".to_owned()],
            ..Check::new("x", "true")
        };
        let set = check.environment(|name| (name == "TOKEN").then(|| "s3cret".to_owned()));
        assert_eq!(set.unwrap(), "export A='it'\\''s'\nexport TOKEN='s3cret'\n");
        assert_eq!(check.environment(|_| None), Err("TOKEN".to_owned()));
        assert!(!serde_json::to_string(&check).unwrap().contains("s3cret"));
    }

    #[test]
    fn check_waits_for_the_one_that_it_comes_after() {
        let check = Check {
            after: Some("build".to_owned()),
            ..Check::new("x", "true")
        };
        let barred = |outcome| check.barred(&[("build", outcome)].into());
        assert_eq!(barred(Outcome::Passed), None);
        assert_eq!(check.barred(&BTreeMap::new()), None);
        assert_eq!(barred(Outcome::TimedOut).as_deref(), Some("build timed out"));
        assert_eq!(barred(Outcome::NotRun).as_deref(), Some("build did not run"));
    }
}

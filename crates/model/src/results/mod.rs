//! What a check's tool found: its tests one by one, and its findings at file and line.
//! Keeps out: reading the files. Lines come without their ends and without escape sequences.

mod audit;
mod diagnostic;
mod fmt;
mod junit;
mod libtest;
mod nextest;
mod progress;
mod reader;
mod text;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::{junit::read_junit, progress::Progress, reader::Reader};

/// Tests that are kept by name; more are only counted.
pub const TESTS_MAX: usize = 200_000;
/// Findings that are kept; more are only counted.
pub const FINDINGS_MAX: usize = 1_000;
/// Lines of a check's output that are kept: its last ones.
pub const LAST_LINES: usize = 200;

/// What one check found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckResults {
    /// Its tests, in the order in which they were reported.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub tests: Vec<TestResult>,
    /// What it has to say of the source.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub findings: Vec<Finding>,
    /// Tests that are not in the list, as their names are not known or are too many.
    #[serde(skip_serializing_if = "Tally::is_empty", default)]
    pub unnamed: Tally,
    /// How many findings are not in the list.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub more_findings: u64,
    /// Why the results can not be trusted: a check with any of these has not passed.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub problems: Vec<String>,
    /// What people should know about the results.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub notes: Vec<String>,
    /// The last lines of the output.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub last_lines: Vec<String>,
    /// How many lines came before those.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub earlier_lines: u64,
}

/// One test, run once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestResult {
    /// The test binary, or the suite in the words of the tool.
    pub suite: String,
    /// Its name.
    pub name: String,
    /// How it ended.
    pub outcome: TestOutcome,
    /// How long it took, where that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seconds: Option<f64>,
    /// The first line of why it did not pass.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<String>,
    /// What it wrote, when it failed; the end of it, when that is long.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub output: String,
    /// Where it failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub place: Option<Place>,
}

impl TestResult {
    /// Makes the result of a test of which no more is known.
    pub fn new(suite: impl Into<String>, name: impl Into<String>, outcome: TestOutcome) -> Self {
        Self {
            suite: suite.into(),
            name: name.into(),
            outcome,
            seconds: None,
            message: None,
            output: String::new(),
            place: None,
        }
    }

    /// Returns whether this is the test of that name: `test::name`, or `suite test::name`.
    pub fn is_called(&self, wanted: &str) -> bool {
        let of_suite = wanted.strip_suffix(self.name.as_str());
        of_suite.is_some_and(|suite| {
            suite.is_empty()
                || suite
                    .strip_suffix(' ')
                    .is_some_and(|suite| is_same_suite(&self.suite, suite))
        })
    }
}

/// Returns whether two spellings mean the same test binary: cargo's `whole (tests/whole.rs)` is cargo-nextest's
/// `alpha::whole`.
pub fn is_same_suite(one: &str, other: &str) -> bool {
    let last = |suite: &str| {
        let target = suite.split(" (").next().unwrap_or(suite);
        let target = target.rsplit("::").next().unwrap_or(target);
        target.rsplit('/').next().unwrap_or(target).replace('-', "_")
    };
    one == other || last(one) == last(other)
}

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestOutcome {
    /// It failed, panicked, crashed or timed out.
    Failed,
    /// It began, and its end is unknown.
    Unfinished,
    /// It was not run.
    Ignored,
    /// It passed.
    Passed,
}

impl TestOutcome {
    /// Returns the one word for tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Unfinished => "never ended",
            Self::Ignored => "ignored",
            Self::Passed => "passed",
        }
    }

    /// Returns whether the test came to an end of its own.
    pub fn has_run(self) -> bool {
        matches!(self, Self::Failed | Self::Passed)
    }

    /// Returns whether the test did not come to a good end.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::Unfinished)
    }
}

/// How many tests ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests that were not run.
    pub ignored: u64,
    /// Tests that never ended.
    pub unfinished: u64,
}

impl Tally {
    /// Returns how many there are.
    pub fn all(&self) -> u64 {
        [self.failed, self.ignored, self.unfinished]
            .iter()
            .fold(self.passed, |all, number| all.saturating_add(*number))
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all() == 0
    }

    /// Counts one more.
    pub fn add(&mut self, outcome: TestOutcome) {
        let number = match outcome {
            TestOutcome::Passed => &mut self.passed,
            TestOutcome::Failed => &mut self.failed,
            TestOutcome::Ignored => &mut self.ignored,
            TestOutcome::Unfinished => &mut self.unfinished,
        };
        // The numbers that it begins with are those that a box printed.
        *number = number.saturating_add(1);
    }

    /// Returns the numbers in words, such as `40 passed, 2 failed`.
    pub fn words(&self) -> String {
        let parts = [
            (self.failed, "failed"),
            (self.unfinished, "never ended"),
            (self.passed, "passed"),
            (self.ignored, "ignored"),
        ];
        let reported: Vec<String> = parts
            .iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, word)| format!("{number} {word}"))
            .collect();
        if reported.is_empty() {
            "no tests".to_owned()
        } else {
            reported.join(", ")
        }
    }
}

/// One thing that a tool has to say of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The tool's own name of it, such as `E0308`, `clippy::ptr_arg` or `RUSTSEC-2025-0057`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<String>,
    /// What it says, in one line.
    pub message: String,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub place: Option<Place>,
    /// All that it says; the beginning of it, when that is long.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub detail: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It fails the check.
    Error,
    /// It does not.
    Warning,
}

impl Severity {
    /// Returns the one word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A place in the source, as the tool wrote it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub column: Option<u32>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.column {
            Some(column) => write!(f, "{}:{}:{column}", self.file, self.line),
            None => write!(f, "{}:{}", self.file, self.line),
        }
    }
}

impl CheckResults {
    /// Returns how its tests ended.
    pub fn tally(&self) -> Tally {
        let mut tally = self.unnamed;
        for test in &self.tests {
            tally.add(test.outcome);
        }
        tally
    }

    /// Returns the tests that did not come to a good end.
    pub fn bad_tests(&self) -> impl Iterator<Item = &TestResult> {
        self.tests.iter().filter(|test| test.outcome.is_bad())
    }

    /// Returns how many findings there are of a severity. Those that are not in the list count as errors.
    pub fn count(&self, severity: Severity) -> u64 {
        let listed = self
            .findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count() as u64;
        match severity {
            Severity::Error => listed + self.more_findings,
            Severity::Warning => listed,
        }
    }

    /// Returns what was found in one line, such as `40 passed, 2 failed; 1 error`; none when that is nothing.
    pub fn words(&self) -> Option<String> {
        let mut parts = Vec::new();
        let tally = self.tally();
        if !tally.is_empty() {
            parts.push(tally.words());
        }
        for (severity, one, many) in [
            (Severity::Error, "error", "errors"),
            (Severity::Warning, "warning", "warnings"),
        ] {
            match self.count(severity) {
                0 => {}
                1 => parts.push(format!("1 {one}")),
                number => parts.push(format!("{number} {many}")),
            }
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// Makes places in the source's directory on the box relative to it.
    pub fn make_relative(&mut self, remote_dir: &str) {
        let tests = self.tests.iter_mut().filter_map(|test| test.place.as_mut());
        let findings = self
            .findings
            .iter_mut()
            .filter_map(|finding| finding.place.as_mut());
        for place in tests.chain(findings) {
            let inside = place
                .file
                .strip_prefix(remote_dir)
                .and_then(|rest| rest.strip_prefix('/'));
            if let Some(inside) = inside {
                place.file = inside.to_owned();
            }
        }
    }

    /// Gives the tests the suites that `spelling` knows for suite and name.
    pub fn respell<'a>(&mut self, spelling: impl Fn(&str, &str) -> Option<&'a str>) {
        for test in &mut self.tests {
            if let Some(suite) = spelling(&test.suite, &test.name) {
                suite.clone_into(&mut test.suite);
            }
        }
    }

    /// Takes the tests of the check's JUnit file, which replace what the output says about the same tests.
    /// `has_passed` says how the command itself ended: it and a test that failed cannot both be right.
    pub fn take_junit(&mut self, mut junit: Self, has_passed: bool) {
        let failed = junit.tally().failed;
        if has_passed && failed > 0 {
            self.problems.push(format!(
                "it returned 0, but {failed} tests failed in its JUnit file"
            ));
        }
        let known: std::collections::BTreeSet<&str> =
            junit.tests.iter().map(|test| test.name.as_str()).collect();
        // Other tests of the output stay.
        self.tests.retain(|test| !known.contains(test.name.as_str()));
        junit.tests.append(&mut self.tests);
        self.tests = junit.tests;
        let unnamed = &mut self.unnamed;
        unnamed.passed = unnamed.passed.saturating_add(junit.unnamed.passed);
        unnamed.failed = unnamed.failed.saturating_add(junit.unnamed.failed);
        unnamed.ignored = unnamed.ignored.saturating_add(junit.unnamed.ignored);
    }

    fn add_test(&mut self, test: TestResult) {
        if self.tests.len() < TESTS_MAX {
            self.tests.push(test);
        } else {
            self.unnamed.add(test.outcome);
        }
    }

    fn add_finding(&mut self, finding: Finding) {
        if self.findings.len() >= FINDINGS_MAX {
            self.more_findings += 1;
            return;
        }
        // cargo says the same of a library and of its tests.
        let is_known = self
            .findings
            .iter()
            .any(|known| known.message == finding.message && known.place == finding.place);
        if !is_known {
            self.findings.push(finding);
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

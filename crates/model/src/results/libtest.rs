//! Reads what test binaries print under `cargo test`. Where the output of tests runs into the lines of the harness, as it does
//! under `--nocapture`, the list of failures and the numbers at the end of a binary decide.

use std::collections::HashMap;

use super::{
    CheckResults, Place, TESTS_MAX, TestOutcome, TestResult,
    text::{Budget, End, failure, short},
};

/// How many binaries are named that ended in the midst of their tests.
const UNENDED_MAX: usize = 100;

/// The binaries that are read, one after the other.
#[derive(Debug, Default)]
pub(super) struct Libtest {
    suite: String,
    open: Option<Section>,
    /// The binaries that ended in the midst of their tests.
    unended: Vec<String>,
}

/// What one binary prints, from `running 3 tests` to `test result: …`.
#[derive(Debug, Default)]
struct Section {
    expected: u64,
    part: Part,
    tests: Vec<TestResult>,
    index: HashMap<String, usize>,
    /// The failed test whose output is being read.
    output: Option<(String, End)>,
    outputs: HashMap<String, String>,
    budget: Budget,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    #[default]
    Running,
    /// What the tests that failed wrote.
    Outputs,
    /// The names of the tests that failed.
    Names,
}

/// The numbers at the end of a binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    passed: u64,
    pub(super) failed: u64,
    ignored: u64,
    measured: u64,
}

impl Libtest {
    /// Takes a line; says whether it was for this reader.
    pub(super) fn take(&mut self, line: &str, results: &mut CheckResults) -> bool {
        let Some(section) = &mut self.open else {
            return self.take_outside(line);
        };
        if let Some(counts) = counts(line)
            && counts.all() == section.expected
        {
            self.close(Some(counts), results);
            return true;
        }
        // A binary that crashed prints no end.
        if section.part == Part::Running && (suite(line).is_some() || is_crash(line)) {
            self.close(None, results);
            return self.take_outside(line);
        }
        section.take(line);
        true
    }

    /// Ends the binary that is being read. Returns those that ended in the midst of their tests.
    pub(super) fn finish(&mut self, results: &mut CheckResults) -> Vec<String> {
        self.close(None, results);
        std::mem::take(&mut self.unended)
    }

    fn take_outside(&mut self, line: &str) -> bool {
        if let Some(suite) = suite(line) {
            self.suite = suite;
            return true;
        }
        let Some(expected) = expected(line) else {
            return false;
        };
        self.open = Some(Section {
            expected,
            ..Section::default()
        });
        true
    }

    fn close(&mut self, counts: Option<Counts>, results: &mut CheckResults) {
        let Some(mut section) = self.open.take() else {
            return;
        };
        section.close_output();
        match counts {
            Some(counts) => section.settle(counts, &self.suite, results),
            None => {
                let missing = section.expected.saturating_sub(section.tests.len() as u64);
                results.unnamed.unfinished = results.unnamed.unfinished.saturating_add(missing);
                if self.unended.len() < UNENDED_MAX {
                    self.unended.push(format!(
                        "{} ended in the midst of its {} tests",
                        name_of(&self.suite),
                        section.expected
                    ));
                }
            }
        }
        for mut test in section.tests {
            if let Some(output) = section.outputs.remove(&test.name) {
                test.output = output;
            }
            if test.outcome == TestOutcome::Failed {
                (test.place, test.message) = failure(&test.output);
                test.place = test.place.or_else(|| doc_place(&test.name));
            }
            self.suite.clone_into(&mut test.suite);
            results.add_test(test);
        }
    }
}

impl Section {
    fn take(&mut self, line: &str) {
        match self.part {
            Part::Running if line == "failures:" => self.part = Part::Outputs,
            Part::Running => self.take_running(line),
            Part::Outputs if line == "failures:" => {
                self.close_output();
                self.part = Part::Names;
            }
            Part::Outputs => self.take_output(line),
            Part::Names => match line.strip_prefix("    ") {
                Some(name) => self.set(name, TestOutcome::Failed, None, None),
                None if line.is_empty() => {}
                // It was a test that wrote `failures:`.
                None => {
                    self.part = Part::Outputs;
                    self.take_output(line);
                }
            },
        }
    }

    fn take_running(&mut self, line: &str) {
        let mut rest = line;
        // Two threads may begin lines at once: `test a ... test b ... ok`.
        while let Some(found) = rest.strip_prefix("test ") {
            if let Some((name, outcome, seconds, reason)) = ended(found) {
                return self.set(name, outcome, seconds, reason);
            }
            let Some((name, behind)) = found.split_once(" ... ") else {
                return;
            };
            self.set(name, TestOutcome::Unfinished, None, None);
            rest = behind;
        }
    }

    fn take_output(&mut self, line: &str) {
        let begun = line.strip_prefix("---- ").and_then(|rest| {
            rest.strip_suffix(" stdout ----")
                .or(rest.strip_suffix(" stderr ----"))
        });
        if let Some(name) = begun.filter(|name| self.may_have_failed(name)) {
            self.close_output();
            self.output = Some((short(name), End::default()));
        } else if let Some((_, output)) = &mut self.output {
            output.push(line);
        }
    }

    /// Returns whether a test can be one that failed: in quiet output its name was not reported before.
    fn may_have_failed(&self, name: &str) -> bool {
        let is_full = self.tests.len() as u64 >= self.expected;
        match self.index.get(&short(name)) {
            Some(at) => self.tests[*at].outcome.is_bad(),
            None => !is_full,
        }
    }

    fn close_output(&mut self) {
        if let Some((name, output)) = self.output.take() {
            let output = self.budget.keep(output.finish());
            self.outputs.insert(name, output);
        }
    }

    /// Records how a test ended. The last outcome counts, but nothing undoes a failure.
    fn set(&mut self, name: &str, outcome: TestOutcome, seconds: Option<f64>, message: Option<String>) {
        let name = short(without_mode(name));
        if let Some(at) = self.index.get(&name) {
            let known = &mut self.tests[*at];
            if known.outcome != TestOutcome::Failed && outcome != TestOutcome::Unfinished {
                known.outcome = outcome;
                known.seconds = seconds.or(known.seconds);
            }
            return;
        }
        // More are only counted, by the numbers at the end.
        if self.tests.len() == TESTS_MAX {
            return;
        }
        self.index.insert(name.clone(), self.tests.len());
        self.tests.push(TestResult {
            seconds,
            message,
            ..TestResult::new("", name, outcome)
        });
    }

    /// Brings what was seen of the tests into line with the numbers at the end.
    fn settle(&mut self, counts: Counts, suite: &str, results: &mut CheckResults) {
        let seen = |tests: &[TestResult], outcome| {
            tests.iter().filter(|test| test.outcome == outcome).count() as u64
        };
        let wanted = counts.passed.saturating_add(counts.measured);
        // Those that failed have been named by now, and those that were ignored never begin.
        for test in &mut self.tests {
            if test.outcome == TestOutcome::Unfinished {
                test.outcome = TestOutcome::Passed;
            }
        }
        let missing = |wanted: u64, outcome| wanted.saturating_sub(seen(&self.tests, outcome));
        results.unnamed.passed = results
            .unnamed
            .passed
            .saturating_add(missing(wanted, TestOutcome::Passed));
        results.unnamed.ignored = results
            .unnamed
            .ignored
            .saturating_add(missing(counts.ignored, TestOutcome::Ignored));
        results.unnamed.failed = results
            .unnamed
            .failed
            .saturating_add(missing(counts.failed, TestOutcome::Failed));
        if self.tests.len() as u64 > self.expected {
            results.notes.push(format!(
                "{} counts {} tests, but {} were seen: something printed lines that look like a test's",
                name_of(suite),
                self.expected,
                self.tests.len()
            ));
        }
    }
}

impl Counts {
    pub(super) fn all(self) -> u64 {
        [self.failed, self.ignored, self.measured]
            .iter()
            .fold(self.passed, |all, number| all.saturating_add(*number))
    }
}

fn name_of(suite: &str) -> &str {
    if suite.is_empty() { "a test binary" } else { suite }
}

/// Reads `running 3 tests`.
pub(super) fn expected(line: &str) -> Option<u64> {
    let rest = line.strip_prefix("running ")?;
    let number = rest.strip_suffix(" tests").or(rest.strip_suffix(" test"))?;
    number.parse().ok()
}

/// Reads the name of a binary from `     Running tests/whole.rs (target/debug/deps/whole-cb92da0c151d2160)` or `   Doc-tests alpha`.
fn suite(line: &str) -> Option<String> {
    if let Some(name) = line.strip_prefix("   Doc-tests ") {
        return Some(format!("{} (doc)", short(name)));
    }
    let rest = line.strip_prefix("     Running ")?.strip_suffix(')')?;
    let (source, path) = rest.rsplit_once(" (")?;
    let file = path.rsplit('/').next()?;
    let name = match file.rsplit_once('-') {
        Some((name, hash)) if hash.len() == 16 && hash.chars().all(|c| c.is_ascii_hexdigit()) => name,
        _ => file,
    };
    Some(match source.strip_prefix("unittests ") {
        Some(source) if source.ends_with("lib.rs") => short(name),
        Some(source) => short(&format!("{name} ({source})")),
        None => short(&format!("{name} ({source})")),
    })
}

/// Returns whether cargo says that the binary did not come to its end.
fn is_crash(line: &str) -> bool {
    line.starts_with("error: test failed, to rerun pass ") || line.starts_with("error: doctest failed, ")
}

/// Reads `NAME ... ok` behind `test `.
fn ended(text: &str) -> Option<(&str, TestOutcome, Option<f64>, Option<String>)> {
    let (name, rest) = text.split_once(" ... ")?;
    let (outcome, seconds, reason) = outcome(rest)?;
    Some((name, outcome, seconds, reason))
}

fn outcome(text: &str) -> Option<(TestOutcome, Option<f64>, Option<String>)> {
    if let Some(reason) = text.strip_prefix("ignored, ") {
        return Some((TestOutcome::Ignored, None, Some(short(reason))));
    }
    if text.starts_with("bench: ") {
        return Some((TestOutcome::Passed, None, None));
    }
    let (word, seconds) = match text.split_once(" <") {
        Some((word, time)) => (word, Some(time.strip_suffix("s>")?.parse().ok()?)),
        None => (text, None),
    };
    let outcome = match word {
        "ok" => TestOutcome::Passed,
        "FAILED" => TestOutcome::Failed,
        "ignored" => TestOutcome::Ignored,
        _ => return None,
    };
    Some((outcome, seconds, None))
}

/// Returns a name without what the harness adds while the test runs.
fn without_mode(name: &str) -> &str {
    [" - should panic", " - compile fail", " - compile"]
        .iter()
        .find_map(|mode| name.strip_suffix(mode))
        .unwrap_or(name)
}

/// Reads `test result: FAILED. 2 passed; 2 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.92s`.
pub(super) fn counts(line: &str) -> Option<Counts> {
    let (_, rest) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |name: &str| -> Option<u64> {
        rest.split("; ")
            .find_map(|part| part.strip_suffix(name)?.trim().parse().ok())
    };
    number("filtered out")?;
    Some(Counts {
        passed: number("passed")?,
        failed: number("failed")?,
        ignored: number("ignored")?,
        measured: number("measured")?,
    })
}

/// Reads where a doc-test is from its name: `src/lib.rs - add (line 9)`.
fn doc_place(name: &str) -> Option<Place> {
    let (file, rest) = name.split_once(" - ")?;
    let (_, line) = rest.rsplit_once("(line ")?;
    Some(Place {
        file: file.to_owned(),
        line: line.strip_suffix(')')?.parse().ok()?,
        column: None,
    })
}

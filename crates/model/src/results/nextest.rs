//! Reads what cargo-nextest prints: a line of status for each test, and the output of those that failed.

use std::collections::HashMap;

use super::{
    CheckResults, TESTS_MAX, TestOutcome, TestResult,
    text::{Budget, End, failure, short},
};

/// The run that is being read.
#[derive(Debug, Default)]
pub(super) struct Nextest {
    is_on: bool,
    tests: Vec<TestResult>,
    index: HashMap<(String, String), usize>,
    output: Option<(usize, End)>,
    budget: Budget,
}

impl Nextest {
    /// Takes a line; says whether it was for this reader.
    pub(super) fn take(&mut self, line: &str, results: &mut CheckResults) -> bool {
        if !self.is_on {
            self.is_on = begin(line).is_some();
            return self.is_on;
        }
        if let Some(skipped) = summary(line) {
            results.unnamed.ignored = results.unnamed.ignored.saturating_add(skipped);
            self.end(results);
            return true;
        }
        match status(line) {
            Some(test) => self.add(test, results),
            None => {
                if let Some((_, output)) = &mut self.output {
                    output.push(line.strip_prefix("    ").unwrap_or(line));
                }
            }
        }
        true
    }

    /// Ends the run that is being read. Says so where that is not its end.
    pub(super) fn finish(&mut self, results: &mut CheckResults) -> Option<String> {
        let is_cut = self.is_on;
        self.end(results);
        is_cut.then(|| "nextest began, and never came to its summary".to_owned())
    }

    fn end(&mut self, results: &mut CheckResults) {
        self.close_output();
        self.is_on = false;
        self.index.clear();
        for test in std::mem::take(&mut self.tests) {
            results.add_test(test);
        }
    }

    fn add(&mut self, test: TestResult, results: &mut CheckResults) {
        self.close_output();
        let is_bad = test.outcome.is_bad();
        if self.tests.len() == TESTS_MAX {
            results.unnamed.add(test.outcome);
            return;
        }
        let key = (test.suite.clone(), test.name.clone());
        let at = match self.index.get(&key) {
            // Another try: the last one counts.
            Some(at) => {
                let known = &mut self.tests[*at];
                if known.outcome.is_bad() && !is_bad {
                    known.message = Some("flaky: did not pass at its first try".to_owned());
                }
                known.outcome = test.outcome;
                known.seconds = test.seconds;
                *at
            }
            None => {
                self.index.insert(key, self.tests.len());
                self.tests.push(test);
                self.tests.len() - 1
            }
        };
        if is_bad {
            self.output = Some((at, End::default()));
        }
    }

    fn close_output(&mut self) {
        if let Some((at, output)) = self.output.take() {
            let output = output.finish();
            let (place, message) = failure(&output);
            let test = &mut self.tests[at];
            test.place = place;
            if message.is_some() && test.message.is_none() {
                test.message = message;
            }
            test.output = self.budget.keep(output);
        }
    }
}

/// Reads how many tests are about to run from `Starting 8 tests across 2 binaries`.
pub(super) fn begin(line: &str) -> Option<u64> {
    let (number, rest) = line.trim_start().strip_prefix("Starting ")?.split_once(' ')?;
    let is_begin = rest.starts_with("test") && rest.contains(" across ");
    number.parse().ok().filter(|_| is_begin)
}

/// Reads the number of tests that were not run from `Summary [ 0.963s] 8 tests run: 4 passed, 4 failed, 2 skipped`.
pub(super) fn summary(line: &str) -> Option<u64> {
    let rest = line.trim_start().strip_prefix("Summary [")?;
    let (_, counts) = rest.split_once(" run: ")?;
    let skipped = counts
        .split(", ")
        .find_map(|part| part.strip_suffix(" skipped")?.trim().parse().ok());
    Some(skipped.unwrap_or(0))
}

/// Reads `PASS [   0.201s] (1/8) alpha tests::adds`; older versions leave the number out.
pub(super) fn status(line: &str) -> Option<TestResult> {
    let (words, rest) = line.split_once(" [")?;
    // Aligned to the right, before a time of fixed width.
    if !line.starts_with(' ') {
        return None;
    }
    let (time, rest) = rest.split_once("] ")?;
    let seconds = time
        .trim()
        .trim_start_matches('>')
        .strip_suffix('s')?
        .trim()
        .parse::<f64>()
        .ok()?;
    let rest = rest.trim_start();
    let rest = match rest.strip_prefix('(').and_then(|rest| rest.split_once(") ")) {
        Some((number, rest)) if number.trim().contains('/') => rest,
        _ => rest,
    };
    let (suite, name) = rest.trim_start().split_once(' ')?;
    let word = words.trim().rsplit(' ').next()?;
    let (outcome, message) = match word {
        "PASS" | "LEAK" => (TestOutcome::Passed, None),
        "FAIL" | "XFAIL" => (TestOutcome::Failed, None),
        "TIMEOUT" | "TERMINATING" => (TestOutcome::Failed, Some("timed out".to_owned())),
        "ABORT" => (TestOutcome::Failed, Some("aborted".to_owned())),
        signal if signal.starts_with("SIG") => (TestOutcome::Failed, Some(format!("ended by {signal}"))),
        // SLOW, and whatever is not an end.
        _ => return None,
    };
    Some(TestResult {
        seconds: Some(seconds),
        message,
        ..TestResult::new(short(suite), short(name), outcome)
    })
}

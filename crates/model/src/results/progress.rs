//! How far the tests of a check are, by what it printed so far.

use super::{libtest, nextest};

/// How many tests have ended. Takes the lines of cargo-nextest and of test binaries.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Those that have ended.
    pub ended: u64,
    /// All of which is known: those of all binaries with nextest, else of the binaries that began.
    pub total: u64,
    /// Of those that have ended, the ones that failed.
    pub failed: u64,
    is_nextest: bool,
    /// What was counted before the binary that runs.
    before: (u64, u64),
}

impl Progress {
    /// Takes one line, without its end and without escape sequences. Returns whether it has counted.
    pub fn take(&mut self, line: &str) -> bool {
        let before = (self.ended, self.total, self.failed);
        if let Some(count) = nextest::begin(line) {
            self.is_nextest = true;
            self.total += count;
        } else if self.is_nextest {
            self.take_nextest(line);
        } else {
            self.take_libtest(line);
        }
        self.total = self.total.max(self.ended);
        (self.ended, self.total, self.failed) != before
    }

    fn take_nextest(&mut self, line: &str) {
        if nextest::summary(line).is_some() {
            // Behind it the tests that failed are named again.
            self.is_nextest = false;
            return;
        }
        let Some(test) = nextest::status(line) else { return };
        let is_bad = test.outcome.is_bad();
        // One that is tried again has not ended, and one that is being ended will have.
        let goes_on = line.trim_start().starts_with("TRY ") && is_bad || line.contains("TERMINATING [");
        if !goes_on {
            self.ended += 1;
            self.failed += u64::from(is_bad);
        }
    }

    fn take_libtest(&mut self, line: &str) {
        if let Some(count) = libtest::expected(line) {
            self.total += count;
            self.before = (self.ended, self.failed);
        } else if let Some(counts) = libtest::counts(line) {
            // Where the output of tests ran into the lines of the harness, its numbers are right.
            self.ended = self.before.0 + counts.all();
            self.failed = self.before.1 + counts.failed;
            self.before = (self.ended, self.failed);
        } else if let Some((_, outcome)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.rsplit_once(" ... "))
        {
            self.ended += 1;
            self.failed += u64::from(outcome.starts_with("FAILED"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was counted after each line that counted.
    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let mut progress = Progress::default();
        let mut seen = Vec::new();
        for line in text.lines() {
            if progress.take(line) {
                seen.push(format!(
                    "{}/{}, {} failed",
                    progress.ended, progress.total, progress.failed
                ));
            }
        }
        assert_eq!(seen, expected);
    }

    #[test]
    fn binaries_of_cargo_test_add_up() {
        check(
            "   Compiling own v0.1.0\nrunning 2 tests\ntest a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b stdout ----\n\
             test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\n\
             running 3 tests\ntest c ... ignored, slow\nit printed test result\n\
             test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.00s\n",
            &[
                "0/2, 0 failed",
                "1/2, 0 failed",
                "2/2, 1 failed",
                "2/5, 1 failed",
                "3/5, 1 failed",
                "5/5, 1 failed",
            ],
        );
    }

    #[test]
    fn nextest_says_all_at_once_and_tries_again() {
        check(
            "    Starting 3 tests across 2 binaries (1 test skipped)\n        PASS [   0.201s] (1/3) alpha tests::adds\n  \
             TRY 1 FAIL [   0.005s] (2/3) alpha tests::flaky\n  TRY 2 PASS [   0.005s] (2/3) alpha tests::flaky\n        \
             FAIL [   0.003s] (3/3) beta breaks\n     Summary [   0.963s] 3 tests run: 2 passed, 1 failed, 1 skipped\n        \
             FAIL [   0.003s] (3/3) beta breaks\n",
            &["0/3, 0 failed", "1/3, 0 failed", "2/3, 0 failed", "3/3, 1 failed"],
        );
    }
}

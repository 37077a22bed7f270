//! Takes a check's output line by line, and hands each line to the first reader that it is for.

use std::collections::VecDeque;

use super::{
    CheckResults, LAST_LINES, audit::Audit, diagnostic::Diagnostics, fmt::Fmt, libtest::Libtest,
    nextest::Nextest, text::short,
};

/// How much of a line's beginning and of its end is kept, in bytes.
const LINE_HALF: usize = 1_000;

/// Reads what a check printed. What it keeps does not grow with the length of the output.
#[derive(Debug, Default)]
pub struct Reader {
    results: CheckResults,
    nextest: Nextest,
    libtest: Libtest,
    fmt: Fmt,
    audit: Audit,
    diagnostics: Diagnostics,
    last: VecDeque<String>,
}

impl Reader {
    /// Takes one line, without its end and without escape sequences.
    pub fn take(&mut self, line: &str) {
        let results = &mut self.results;
        let _ = self.nextest.take(line, results)
            || self.libtest.take(line, results)
            || self.fmt.take(line, results)
            || self.audit.take(line, results)
            || self.diagnostics.take(line, results);
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
            self.results.earlier_lines += 1;
        }
        self.last.push_back(cut(line));
    }

    /// Returns what was found. `has_passed` says whether the command returned 0.
    pub fn finish(mut self, has_passed: bool) -> CheckResults {
        let results = &mut self.results;
        let mut unended: Vec<String> = self.nextest.finish(results).into_iter().collect();
        unended.extend(self.libtest.finish(results));
        self.fmt.finish(results);
        self.audit.finish(results);
        self.diagnostics.finish(results);
        if has_passed {
            // Tests that never ended are counted already, with the binary that they are of.
            if !blame_unfinished(results) {
                let blamed = unended.iter().map(|what| format!("it returned 0, but {what}"));
                results.problems.extend(blamed);
            }
        } else {
            results.notes.append(&mut unended);
        }
        self.results.last_lines = self.last.into();
        self.results
    }
}

/// A binary that ends with 0 in the midst of its tests looks like success to cargo. Returns whether there was one.
fn blame_unfinished(results: &mut CheckResults) -> bool {
    let unfinished = results.tally().unfinished;
    if unfinished > 0 {
        let first = results
            .bad_tests()
            .next()
            .map_or_else(String::new, |test| format!(" of {}", short(&test.suite)));
        results.problems.push(format!(
            "it returned 0, but {unfinished} tests{first} never came to an end"
        ));
    }
    unfinished > 0
}

/// Returns the line, of a long one its beginning and its end: some programs write all that they have to say in one.
fn cut(line: &str) -> String {
    if line.len() <= 2 * LINE_HALF {
        return line.to_owned();
    }
    let begin = &line[..line.floor_char_boundary(LINE_HALF)];
    let end = &line[line.ceil_char_boundary(line.len() - LINE_HALF)..];
    format!("{begin} […] {end}")
}

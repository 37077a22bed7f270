//! The tests that a project knows no lane really runs: one a line, so that the list can shrink in review.

use std::collections::BTreeSet;

use super::{Split, TestId};

const HEAD: &str = "# Tests that no lane really runs. A new one fails the run; written by `twolane split --write-baseline`.\n";

/// The known ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Baseline(BTreeSet<String>);

impl Baseline {
    /// Reads a file: one test a line, named as in reports. Empty lines and those that begin with `#` do not count.
    pub fn read(text: &str) -> Self {
        let is_test = |line: &&str| !line.is_empty() && !line.starts_with('#');
        Self(
            text.lines()
                .map(str::trim)
                .filter(is_test)
                .map(str::to_owned)
                .collect(),
        )
    }

    /// Returns the file that has all tests that no lane really ran.
    pub fn text(split: &Split) -> String {
        let lines: BTreeSet<String> = split.skipped.iter().map(|skipped| line(&skipped.id)).collect();
        lines
            .iter()
            .fold(HEAD.to_owned(), |text, line| text + line + "\n")
    }

    /// Returns whether a test is in it.
    pub(super) fn has(&self, id: &TestId) -> bool {
        self.0.contains(&line(id))
    }

    /// Returns what is in it beside these.
    pub(super) fn without<'a>(&self, ids: impl Iterator<Item = &'a TestId>) -> Vec<String> {
        let named: BTreeSet<String> = ids.map(line).collect();
        self.0.difference(&named).cloned().collect()
    }
}

/// Returns the test as one line, whatever its name holds.
fn line(id: &TestId) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let line: String = id.to_string().chars().map(plain).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skips::Skipped;

    #[test]
    fn what_is_written_is_read_again_whatever_the_names_hold() {
        let id = |test: &str| TestId {
            binary: "b".to_owned(),
            test: Some(test.to_owned()),
        };
        let names = ["plain", "with blanks ", "\u{1b}[31m\n# red", "ü"];
        let split = Split {
            skipped: names
                .iter()
                .map(|name| Skipped {
                    id: id(name),
                    why: String::new(),
                    is_known: false,
                })
                .collect(),
            ..Split::default()
        };
        let text = Baseline::text(&split);
        assert_eq!(text.lines().count(), 1 + names.len(), "{text}");
        let baseline = Baseline::read(&format!("{text}\n  b gone\n"));
        assert!(names.iter().all(|name| baseline.has(&id(name))), "{baseline:?}");
        assert!(!baseline.has(&id("new")));
        assert_eq!(
            baseline.without(split.skipped.iter().map(|skipped| &skipped.id)),
            ["b gone"]
        );
    }
}

//! Which tests of a check are run: those that a filter names, those that did not pass last time, or those of one box of
//! several.

use std::collections::BTreeMap;

pub use crate::part::Selection;
use crate::{
    build::Suite,
    check::{Check, Outcome},
    command_line::last_command,
    render::quote,
    report::CheckReport,
    results::{TestOutcome, TestResult},
};

/// Tests that are named on a command line at most; a check with more that failed is repeated as a whole.
const NAMES_MAX: usize = 500;

/// Names that are proposed in place of a filter that matches nothing.
const NEAREST_MAX: usize = 3;

impl Selection {
    /// Returns the command with these of its tests alone; or why it takes no such selection. With commands that filter by
    /// themselves the two filters would not mean what each of them says.
    pub fn of(&self, command: &str) -> Result<String, String> {
        let plain = Check::new("", command);
        let suite =
            Suite::read(&plain).ok_or("it does not end with `cargo test` or `cargo nextest run`")??;
        if suite.has_filter() {
            return Err("its command has a filter of its own".to_owned());
        }
        let selected = match (self, suite.has_nextest()) {
            (Self::Matching(names), _) => with_words(command, quoted(" ", names).trim_start()),
            (Self::Named(names), _) => with_words(command, &format!("--exact{}", quoted(" ", names))),
            (Self::Except(names), _) if names.is_empty() => with_words(command, ""),
            // cargo-nextest heeds `--exact` only of what is to run.
            (Self::Except(names), true) => without(command, names),
            (Self::Except(names), false) => {
                with_words(command, &format!("--exact{}", quoted(" --skip ", names)))
            }
            (Self::Hash { number, count }, true) => with_words(
                &before_end(command, &format!(" --partition hash:{number}/{count}")),
                "",
            ),
            (Self::Hash { .. }, false) => {
                return Err(
                    "no earlier run here says which tests it has, and `cargo test` cannot part them"
                        .to_owned(),
                );
            }
        };
        selected.ok_or_else(|| "nothing can be put behind its command".to_owned())
    }
}

fn quoted(before: &str, names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("{before}{}", quote(name)))
        .collect()
}

/// Returns a command with a word more, before those for the tests.
fn before_end(command: &str, more: &str) -> String {
    let command = command.trim();
    let words = last_command(command).map(|(words, _)| words).unwrap_or_default();
    match words.iter().find(|(_, word)| word == "--") {
        Some((at, _)) => format!("{}{more} {}", command[..*at].trim_end(), &command[*at..]),
        None => format!("{command}{more}"),
    }
}

/// Returns a call of cargo-nextest with these tests taken out of its filtersets: a second one would add to them.
fn without(command: &str, names: &[String]) -> Option<String> {
    const FILTERS: [&str; 3] = ["-E", "--filterset", "--filter-expr"];
    let command = command.trim();
    let (words, _) = last_command(command)?;
    let (mut kept, mut sets) = (command[..words.first()?.0].to_owned(), Vec::new());
    let mut words = words.iter().enumerate();
    let all: Vec<&(usize, String)> = words.clone().map(|(_, word)| word).collect();
    let text = |index: usize| {
        let end = all.get(index + 1).map_or(command.len(), |(at, _)| *at);
        &command[all[index].0..end]
    };
    while let Some((index, (_, word))) = words.next() {
        let inline = FILTERS
            .iter()
            .find_map(|name| word.strip_prefix(name)?.strip_prefix('='));
        match inline {
            Some(set) => sets.push(set),
            None if FILTERS.contains(&word.as_str()) => sets.push(&words.next()?.1.1),
            None => kept += text(index),
        }
    }
    let all: Vec<String> = sets.iter().map(|set| format!("({set})")).collect();
    let out: Vec<String> = names.iter().map(|name| format!("test(={name})")).collect();
    let set = match all.is_empty() {
        true => format!("not ({})", out.join(" + ")),
        false => format!("({}) - ({})", all.join(" + "), out.join(" + ")),
    };
    with_words(&before_end(&kept, &format!(" -E {}", quote(&set))), "")
}

impl Check {
    /// Returns the check with these of its tests alone; none where its command runs no tests, or takes no filter.
    pub fn select(&self, selection: &Selection) -> Option<Self> {
        let words = match selection {
            Selection::Matching(names) => quoted(" ", names),
            Selection::Named(names) => format!(" --exact{}", quoted(" ", names)),
            Selection::Except(_) | Selection::Hash { .. } => return None,
        };
        Some(Self {
            run: with_words(&self.run, words.trim_start())?,
            expect: None,
            is_part: true,
            ..self.clone()
        })
    }
}

/// Returns a command that runs a suite of tests, and nothing after that, with more words for the tests. None: it is not
/// such a command.
fn with_words(command: &str, more: &str) -> Option<String> {
    let command = command.trim();
    let (words, _) = last_command(command)?;
    let own: Vec<&str> = words.iter().map(|(_, word)| word.as_str()).collect();
    // With a filter, a check without a test for it is no failure: another one may have it.
    let option = match own[..] {
        ["cargo", "test" | "t", ..] => "",
        ["cargo", "nextest", "run", ..] => " --no-tests=pass",
        _ => return None,
    };
    let end = words.iter().find(|(_, word)| word == "--").map(|(at, _)| *at);
    if more.is_empty() {
        return Some(before_end(command, option));
    }
    Some(match end {
        Some(at) => format!("{}{option} {} {more}", command[..at].trim_end(), &command[at..]),
        None => format!("{command}{option} -- {more}"),
    })
}

/// What of a check did not pass last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unpassed {
    /// Nothing.
    Nothing,
    /// These tests.
    Tests(Vec<String>),
    /// The check as a whole.
    Whole,
}

/// How nextest ends where no test is called as its filter says.
const NO_TESTS: &str = "exit code 4";

/// Returns what of a check did not pass, by what earlier runs say of it, the newest first; each with whether only some of
/// its tests were to run. What such a run left out counts as an older one saw it.
pub fn unpassed<'a>(runs: impl IntoIterator<Item = (&'a CheckReport, bool)>) -> Unpassed {
    let mut latest = BTreeMap::new();
    let mut has_ended = false;
    for (report, is_part) in runs {
        let found_none = is_part && report.found_no_tests();
        if report.outcome != Outcome::Passed && report.results.bad_tests().next().is_none() && !found_none {
            // It did not come to its tests, or has none.
            return Unpassed::Whole;
        }
        let mut own = BTreeMap::new();
        for test in report
            .results
            .tests
            .iter()
            .filter(|test| test.outcome != TestOutcome::Ignored)
        {
            *own.entry(test.name.as_str()).or_insert(false) |= test.outcome.is_bad();
        }
        for (name, is_bad) in own {
            latest.entry(name).or_insert(is_bad);
        }
        has_ended = !is_part;
        if has_ended {
            break;
        }
    }
    let bad = latest.iter().filter(|(_, is_bad)| **is_bad);
    let bad: Vec<String> = bad.map(|(name, _)| (*name).to_owned()).collect();
    match bad.len() {
        0 if has_ended => Unpassed::Nothing,
        1..=NAMES_MAX => Unpassed::Tests(bad),
        _ => Unpassed::Whole,
    }
}

impl CheckReport {
    /// Returns whether the check came to its end without a single test.
    pub fn found_no_tests(&self) -> bool {
        let has_ended = match &self.outcome {
            Outcome::Passed => true,
            Outcome::Failed { how } => how == NO_TESTS,
            _ => false,
        };
        let has_run = |test: &TestResult| test.outcome != TestOutcome::Ignored;
        let unnamed = &self.results.unnamed;
        has_ended
            && unnamed.passed + unnamed.failed + unnamed.unfinished == 0
            && !self.results.tests.iter().any(has_run)
    }
}

/// Returns the names that are nearest to a filter that matches none, the nearest first.
pub fn nearest_tests<'a>(filter: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let distance = |name: &str| {
        let tails = name.match_indices("::").map(|(at, _)| &name[at + 2..]);
        let all = tails.chain([name]);
        all.map(|tail| strsim::damerau_levenshtein(filter, tail)).min()
    };
    let mut near: Vec<(usize, &str)> = names
        .into_iter()
        .filter_map(|name| Some((distance(name)?, name)))
        // What shares less than half is no misspelling.
        .filter(|(distance, _)| *distance * 2 <= filter.chars().count())
        .collect();
    near.sort_unstable();
    near.dedup();
    near.truncate(NEAREST_MAX);
    near.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::CheckResults;

    #[track_caller]
    fn check(command: &str, selected: Option<&str>) {
        let filter = Selection::Matching(vec!["boots".to_owned(), "it's".to_owned()]);
        let check = Check::new("x", command).select(&filter);
        assert_eq!(check.map(|check| check.run).as_deref(), selected, "{command}");
    }

    #[test]
    fn filter_goes_where_the_tool_takes_it() {
        check("cargo test", Some("cargo test -- 'boots' 'it'\\''s'"));
        check(
            "A=b cargo +stable nextest run --profile live",
            Some("A=b cargo +stable nextest run --profile live --no-tests=pass -- 'boots' 'it'\\''s'"),
        );
        check(
            "cd 'a b' && cargo test -p x -- --ignored ",
            Some("cd 'a b' && cargo test -p x -- --ignored 'boots' 'it'\\''s'"),
        );
        check(
            "cargo nextest run -E 'test(/a|b/) & !test(c;d)'",
            Some("cargo nextest run -E 'test(/a|b/) & !test(c;d)' --no-tests=pass -- 'boots' 'it'\\''s'"),
        );
    }

    #[test]
    fn command_that_takes_no_filter_is_left_out() {
        for command in [
            "cargo clippy",
            "smoke",
            "cargo test | tee log",
            "cargo test; echo done",
            "cargo test > log",
            "cargo nextest list",
            "cargo test & wait",
            "cargo test 'a",
            "(cargo test)",
        ] {
            check(command, None);
        }
    }

    #[test]
    fn names_are_meant_exactly_and_expectations_wait_for_the_whole() {
        let whole = Check {
            expect: Some(crate::check::Expect::Min(3)),
            ..Check::new("x", "cargo test")
        };
        let part = whole.select(&Selection::Named(vec!["a::b".to_owned()])).unwrap();
        assert_eq!(part.run, "cargo test -- --exact 'a::b'");
        assert!(part.is_part && part.expect.is_none());
    }

    fn report(outcome: Outcome, tests: &[(&str, TestOutcome)]) -> CheckReport {
        let one = |(name, outcome): &(&str, TestOutcome)| TestResult::new("s", *name, *outcome);
        CheckReport {
            results: CheckResults {
                tests: tests.iter().map(one).collect(),
                ..CheckResults::default()
            },
            outcome,
            ..CheckReport::not_run(&Check::new("x", "cargo test"))
        }
    }

    fn failed() -> Outcome {
        Outcome::Failed {
            how: "exit code 101".to_owned(),
        }
    }

    #[test]
    fn part_that_passes_leaves_the_other_failures() {
        use TestOutcome::{Failed, Passed};
        let whole = report(failed(), &[("a", Failed), ("b", Failed), ("c", Passed)]);
        let part = report(Outcome::Passed, &[("a", Passed)]);
        let names = |names: &[&str]| Unpassed::Tests(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(unpassed([(&whole, false)]), names(&["a", "b"]));
        assert_eq!(unpassed([(&part, true), (&whole, false)]), names(&["b"]));
        let rest = report(Outcome::Passed, &[("b", Passed)]);
        let runs = [(&rest, true), (&part, true), (&whole, false)];
        assert_eq!(unpassed(runs), Unpassed::Nothing);
        assert_eq!(unpassed([(&part, false), (&whole, false)]), Unpassed::Nothing);
    }

    #[test]
    fn check_that_came_to_no_test_is_repeated_whole() {
        let broken = report(failed(), &[]);
        assert_eq!(unpassed([(&broken, false)]), Unpassed::Whole);
        assert_eq!(
            unpassed([(&report(Outcome::NotRun, &[]), false)]),
            Unpassed::Whole
        );
        assert_eq!(unpassed([]), Unpassed::Whole);
        let none = report(Outcome::Passed, &[]);
        let bad = report(failed(), &[("a", TestOutcome::Failed)]);
        let expected = Unpassed::Tests(vec!["a".to_owned()]);
        assert_eq!(unpassed([(&none, true), (&bad, false)]), expected);
    }

    #[track_caller]
    fn check_part(command: &str, selection: &Selection, expected: Result<&str, &str>) {
        let part = selection.of(command);
        match (&part, expected) {
            (Err(why), Err(expected)) => assert!(why.contains(expected), "{why}"),
            _ => assert_eq!(
                part,
                expected.map(str::to_owned).map_err(str::to_owned),
                "{command}"
            ),
        }
    }

    #[test]
    fn parts_of_a_command_leave_its_own_filtersets_standing() {
        let names = || vec!["a::b".to_owned(), "c".to_owned()];
        let (named, except) = (Selection::Named(names()), Selection::Except(names()));
        let hash = Selection::Hash { number: 2, count: 3 };
        let nextest =
            "cd x && cargo nextest run -E 'test(/a|b/)' --profile live '--filterset=package(y)' -- --ignored";
        check_part(
            nextest,
            &named,
            Ok(
                "cd x && cargo nextest run -E 'test(/a|b/)' --profile live '--filterset=package(y)' --no-tests=pass -- --ignored --exact 'a::b' 'c'",
            ),
        );
        check_part(
            nextest,
            &except,
            Ok(
                "cd x && cargo nextest run --profile live -E '((test(/a|b/)) + (package(y))) - (test(=a::b) + test(=c))' --no-tests=pass -- --ignored",
            ),
        );
        check_part(
            nextest,
            &hash,
            Ok(
                "cd x && cargo nextest run -E 'test(/a|b/)' --profile live '--filterset=package(y)' --partition hash:2/3 --no-tests=pass -- --ignored",
            ),
        );
        check_part(
            "cargo nextest run",
            &except,
            Ok("cargo nextest run -E 'not (test(=a::b) + test(=c))' --no-tests=pass"),
        );
        check_part(
            "cargo test -p x -- --test-threads 1",
            &except,
            Ok("cargo test -p x -- --test-threads 1 --exact --skip 'a::b' --skip 'c'"),
        );
        check_part("cargo test", &Selection::Except(Vec::new()), Ok("cargo test"));
        check_part("cargo test", &hash, Err("no earlier run"));
    }

    #[test]
    fn command_that_filters_by_itself_is_not_parted() {
        let named = Selection::Named(vec!["a".to_owned()]);
        for command in [
            "cargo test boots",
            "cargo test -- --skip slow",
            "cargo nextest run boots",
            "cargo nextest run -- boots",
            "cargo nextest run --partition hash:1/2",
            "cargo nextest run --no-tests pass",
        ] {
            check_part(command, &named, Err("a filter of its own"));
        }
        check_part("cargo clippy", &named, Err("does not end with"));
        check_part("cargo test --doc", &named, Err("--doc"));
    }

    #[test]
    fn nearest_names_are_proposed() {
        let names = ["live::guest_boots", "seccomp::applies", "live::guest_reboots"];
        assert_eq!(
            nearest_tests("guest_bots", names),
            ["live::guest_boots", "live::guest_reboots"]
        );
        assert!(nearest_tests("unrelated_thing", names).is_empty());
    }
}

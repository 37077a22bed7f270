//! Two reports → what changed from one run to the other, and what got slower.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{LaneReport, Report, Verdict};
use crate::{name::RunId, results::TestOutcome};

/// How much slower or faster counts: at least this part of the first time…
const PART_MIN: f64 = 0.2;
/// …and at least so many seconds.
const SECONDS_MIN: f64 = 1.0;

/// What changed from run to run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Changes {
    /// The two runs.
    pub runs: [Option<RunId>; 2],
    /// How they ended.
    pub verdicts: [Option<Verdict>; 2],
    /// How long they took, in seconds.
    pub seconds: [f64; 2],
    /// Steps and checks whose time differs, the greatest difference first.
    pub times: Vec<TimeChange>,
    /// Checks and tests that ended otherwise, or are in one of the runs only.
    pub outcomes: Vec<OutcomeChange>,
}

/// A step or a check that took longer or shorter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimeChange {
    /// The lane.
    pub lane: String,
    /// The step or the check.
    pub what: String,
    /// How long it took in each run, in seconds.
    pub seconds: [f64; 2],
}

/// A check or a test that ended otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutcomeChange {
    /// The lane.
    pub lane: String,
    /// The check, or the check and the test.
    pub what: String,
    /// How it ended in each run; none where it is not.
    pub outcomes: [Option<String>; 2],
}

impl Changes {
    /// Compares two runs.
    pub fn between(first: &Report, second: &Report) -> Self {
        let mut changes = Self {
            runs: [first.run.clone(), second.run.clone()],
            verdicts: [first.verdict, second.verdict],
            seconds: [first.seconds(), second.seconds()],
            ..Self::default()
        };
        let nothing = LaneReport::default();
        let names: std::collections::BTreeSet<&String> =
            first.lanes.keys().chain(second.lanes.keys()).collect();
        for name in names {
            let lanes = [first, second].map(|report| report.lanes.get(name).unwrap_or(&nothing));
            changes.times.extend(times(name, lanes));
            changes.outcomes.extend(outcomes(name, lanes));
        }
        changes
            .times
            .sort_by(|a, b| difference(b).abs().total_cmp(&difference(a).abs()));
        changes
    }
}

impl TimeChange {
    /// Returns whether it took longer in the second run.
    pub fn is_slower(&self) -> bool {
        difference(self) > 0.0
    }
}

fn difference(change: &TimeChange) -> f64 {
    change.seconds[1] - change.seconds[0]
}

fn times(name: &str, lanes: [&LaneReport; 2]) -> Vec<TimeChange> {
    let [first, second] = lanes.map(seconds);
    first
        .into_iter()
        .filter_map(|(what, before)| {
            let after = *second.get(&what)?;
            let is_much = (after - before).abs() >= (before * PART_MIN).max(SECONDS_MIN);
            is_much.then(|| TimeChange {
                lane: name.to_owned(),
                what,
                seconds: [before, after],
            })
        })
        .collect()
}

/// Returns how long each step, step of stage 1 and check of a lane took.
fn seconds(lane: &LaneReport) -> BTreeMap<String, f64> {
    let steps = lane
        .steps
        .iter()
        .map(|step| (step.step.to_string(), step.seconds));
    let parts = lane
        .stage1
        .iter()
        .map(|part| (format!("stage 1: {}", part.step), part.seconds));
    let checks = lane
        .checks
        .iter()
        .map(|check| (format!("check {}", check.name), check.seconds));
    steps
        .chain(parts)
        .chain(checks)
        .filter_map(|(what, seconds)| Some((what, seconds?)))
        .collect()
}

fn outcomes(name: &str, lanes: [&LaneReport; 2]) -> Vec<OutcomeChange> {
    let [first, second] = lanes.map(ended);
    let all: std::collections::BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    all.into_iter()
        .filter(|what| first.get(*what) != second.get(*what))
        .map(|what| OutcomeChange {
            lane: name.to_owned(),
            what: what.clone(),
            outcomes: [first.get(what).cloned(), second.get(what).cloned()],
        })
        .collect()
}

/// Returns how each check and each test of a lane ended.
fn ended(lane: &LaneReport) -> BTreeMap<String, String> {
    let mut ended: BTreeMap<String, (String, Option<TestOutcome>)> = BTreeMap::new();
    for check in &lane.checks {
        let what = format!("check {}", check.name);
        ended.insert(what.clone(), (check.outcome.word().to_owned(), None));
        for test in &check.results.tests {
            let key = format!("{what}: {} {}", test.suite, test.name);
            let entry = ended
                .entry(key)
                .or_insert_with(|| (test.outcome.word().to_owned(), Some(test.outcome)));
            // Reported twice: the worse end counts.
            if entry.1.is_some_and(|known| test.outcome < known) {
                *entry = (test.outcome.word().to_owned(), Some(test.outcome));
            }
        }
    }
    ended.into_iter().map(|(what, (word, _))| (what, word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::Outcome,
        report::CheckReport,
        results::{CheckResults, TestResult},
    };

    fn report(seconds: f64, tests: &[(&str, TestOutcome)]) -> Report {
        let tests = tests
            .iter()
            .map(|(name, outcome)| TestResult::new("a", *name, *outcome))
            .collect();
        let check = CheckReport {
            name: "test".to_owned(),
            slug: "test".to_owned(),
            run: String::new(),
            outcome: Outcome::Passed,
            seconds: Some(seconds),
            has_begun: true,
            began: None,
            junit: None,
            record: None,
            expect: None,
            taken_from: None,
            results: CheckResults {
                tests,
                ..CheckResults::default()
            },
        };
        let lane = LaneReport {
            checks: vec![check],
            ..LaneReport::default()
        };
        Report {
            lanes: [("live".to_owned(), lane)].into(),
            ..Report::default()
        }
    }

    #[track_caller]
    fn check(before: f64, after: f64, expected: &[bool]) {
        let changes = Changes::between(&report(before, &[]), &report(after, &[]));
        let slower: Vec<bool> = changes.times.iter().map(TimeChange::is_slower).collect();
        assert_eq!(slower, expected, "{before} {after}");
    }

    #[test]
    fn a_time_that_differs_by_little_is_not_reported() {
        check(10.0, 13.0, &[true]);
        check(13.0, 10.0, &[false]);
        check(10.0, 11.5, &[]);
        check(0.1, 0.9, &[]);
    }

    #[test]
    fn tests_that_end_otherwise_or_are_gone_are_reported() {
        use TestOutcome::{Failed, Ignored, Passed};
        let first = report(1.0, &[("same", Passed), ("broke", Passed), ("gone", Passed)]);
        let second = report(1.0, &[("same", Passed), ("broke", Failed), ("new", Ignored)]);
        let reported: Vec<String> = Changes::between(&first, &second)
            .outcomes
            .iter()
            .map(|change| format!("{} {:?}", change.what, change.outcomes))
            .collect();
        assert_eq!(
            reported,
            [
                r#"check test: a broke [Some("passed"), Some("failed")]"#,
                r#"check test: a gone [Some("passed"), None]"#,
                r#"check test: a new [None, Some("ignored")]"#,
            ]
        );
    }
}

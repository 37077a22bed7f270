//! What a report says of a lane as a whole, whose tests several boxes ran.

use std::collections::{BTreeMap, BTreeSet};

use super::{CheckReport, Report};
use crate::{
    check::Outcome,
    part::family,
    results::{CheckResults, TestOutcome},
    verdict::Verdict,
};

/// A check of a lane in `[lanes]`, whichever boxes ran it: lane and slug.
type Whole = (String, String);

impl CheckReport {
    /// Returns which check it is a part of, in a lane of that name.
    fn whole(&self, lane: &str) -> Whole {
        let slug = self.taken_from.as_ref().map_or(&self.slug, |from| &from.slug);
        (family(lane).to_owned(), slug.clone())
    }
}

impl Report {
    /// Has each test counted once that a lost box began or ran, and that the box which took over ran too. Comes after the
    /// results. A test that failed on either has failed.
    pub fn take_taken_over(&mut self) {
        let mut taken: BTreeMap<(String, String), BTreeMap<String, TestOutcome>> = BTreeMap::new();
        for check in self.lanes.values().flat_map(|lane| &lane.checks) {
            let Some(from) = &check.taken_from else { continue };
            let tests = check.results.tests.iter().filter(|test| test.outcome.has_run());
            let tests = tests.map(|test| (test.name.clone(), test.outcome));
            taken
                .entry((from.lane.clone(), from.slug.clone()))
                .or_default()
                .extend(tests);
        }
        let mut twice: BTreeSet<(Whole, String)> = BTreeSet::new();
        for (lane, report) in &mut self.lanes {
            for check in &mut report.checks {
                let Some(again) = taken.get(&(lane.clone(), check.slug.clone())) else {
                    continue;
                };
                let whole = check.whole(lane);
                check
                    .results
                    .tests
                    .retain(|test| match (test.outcome, again.get(&test.name)) {
                        (TestOutcome::Unfinished | TestOutcome::Ignored, _) => false,
                        (TestOutcome::Passed, Some(_)) => false,
                        (TestOutcome::Failed, Some(_)) => {
                            twice.insert((whole.clone(), test.name.clone()));
                            true
                        }
                        (_, None) => true,
                    });
                check.results.unnamed.unfinished = 0;
            }
        }
        for (lane, report) in &mut self.lanes {
            for check in report
                .checks
                .iter_mut()
                .filter(|check| check.taken_from.is_some())
            {
                let whole = check.whole(lane);
                let tests = &mut check.results.tests;
                tests.retain(|test| !twice.contains(&(whole.clone(), test.name.clone())));
            }
        }
    }

    /// Holds each check that passed to the tests that it must have run, on all boxes of its lane together. Comes after the
    /// results and the split.
    pub fn take_expectations(&mut self) {
        let mut wholes: BTreeMap<Whole, CheckResults> = BTreeMap::new();
        let mut unfit = BTreeSet::new();
        for (name, lane) in &self.lanes {
            for check in &lane.checks {
                let whole = check.whole(name);
                let results = wholes.entry(whole.clone()).or_default();
                results.tests.extend(check.results.tests.iter().cloned());
                let (all, own) = (&mut results.unnamed, check.results.unnamed);
                all.passed = all.passed.saturating_add(own.passed);
                all.failed = all.failed.saturating_add(own.failed);
                // Files, such as those of JUnit, come back only at the end; what failed has failed already.
                let is_taken_over = matches!(check.outcome, Outcome::Skipped { .. }) && check.has_begun;
                if lane.verdict.is_none() || !(check.outcome == Outcome::Passed || is_taken_over) {
                    unfit.insert(whole);
                }
            }
        }
        let split = self.split.clone().unwrap_or_default();
        let mut is_unmet = false;
        let names: Vec<String> = self.lanes.keys().cloned().collect();
        for (name, lane) in &mut self.lanes {
            let is_skipped = |suite: &str, test: &str| {
                let mut own = names.iter().filter(|other| family(other) == family(name));
                own.any(|lane| split.is_silent_skip(lane, suite, test))
            };
            for check in lane
                .checks
                .iter_mut()
                .filter(|check| check.outcome == Outcome::Passed)
            {
                let whole = check.whole(name);
                let results = wholes.get(&whole).filter(|_| !unfit.contains(&whole));
                let unmet = check.expect.as_ref().zip(results);
                if let Some(how) = unmet.and_then(|(expect, results)| expect.unmet(results, is_skipped)) {
                    check.outcome = Outcome::Failed { how };
                    lane.verdict = lane.verdict.map(|verdict| verdict.max(Verdict::Failed));
                    is_unmet = true;
                }
            }
        }
        if is_unmet {
            self.verdict = self.verdict.map(|verdict| verdict.max(Verdict::Failed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::{Check, Expect},
        part::TakenFrom,
        report::LaneReport,
        results::TestResult,
    };

    fn test((name, outcome): &(&str, TestOutcome)) -> TestResult {
        TestResult::new("s", *name, *outcome)
    }

    fn check(slug: &str, outcome: Outcome, tests: &[(&str, TestOutcome)]) -> CheckReport {
        CheckReport {
            slug: slug.to_owned(),
            has_begun: true,
            outcome,
            expect: Some(Expect::Min(4)),
            results: CheckResults {
                tests: tests.iter().map(test).collect(),
                ..CheckResults::default()
            },
            ..CheckReport::not_run(&Check::new("tests", "cargo test"))
        }
    }

    /// A run of two boxes, of which the second was lost: what that one saw, and what the first ran of it.
    fn report(lost: &[(&str, TestOutcome)], again: &[(&str, TestOutcome)]) -> Report {
        use TestOutcome::Passed;
        let skipped = Outcome::Skipped {
            why: "its box was lost".to_owned(),
        };
        let taken = CheckReport {
            taken_from: Some(TakenFrom {
                lane: "live.2".to_owned(),
                slug: "tests".to_owned(),
            }),
            ..check("tests-of-2", Outcome::Passed, again)
        };
        let own = check("tests", Outcome::Passed, &[("a", Passed), ("b", Passed)]);
        let lane = |verdict, checks| LaneReport {
            verdict: Some(verdict),
            checks,
            ..LaneReport::default()
        };
        let lanes = [
            ("live.1".to_owned(), lane(Verdict::Passed, vec![own, taken])),
            (
                "live.2".to_owned(),
                lane(Verdict::Infrastructure, vec![check("tests", skipped, lost)]),
            ),
        ];
        let mut report = Report {
            verdict: Some(Verdict::Passed),
            lanes: lanes.into(),
            ..Report::default()
        };
        report.take_taken_over();
        report.take_expectations();
        report
    }

    fn tests(report: &Report) -> Vec<(&str, TestOutcome)> {
        let checks = report.lanes.values().flat_map(|lane| &lane.checks);
        let tests = checks.flat_map(|check| &check.results.tests);
        tests.map(|test| (test.name.as_str(), test.outcome)).collect()
    }

    #[test]
    fn each_test_of_a_lost_box_counts_once() {
        use TestOutcome::{Failed, Passed, Unfinished};
        let seen = report(
            &[("c", Passed), ("d", Passed), ("e", Unfinished), ("f", Failed)],
            &[("d", Passed), ("e", Passed), ("f", Passed)],
        );
        let expected = [
            ("a", Passed),
            ("b", Passed),
            ("d", Passed),
            ("e", Passed),
            ("c", Passed),
            ("f", Failed),
        ];
        assert_eq!(tests(&seen), expected);
    }

    #[test]
    fn expected_tests_are_those_of_all_boxes() {
        use TestOutcome::Passed;
        assert_eq!(
            report(&[("c", Passed)], &[("d", Passed)]).verdict,
            Some(Verdict::Passed)
        );
        let lacking = report(&[], &[("d", Passed)]);
        assert_eq!(lacking.verdict, Some(Verdict::Failed));
        assert!(
            lacking.lanes["live.1"]
                .checks
                .iter()
                .all(|check| check.outcome.is_failure())
        );
    }
}

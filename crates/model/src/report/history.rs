//! Earlier runs of a project → how often the tests that failed this time failed before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Report;
use crate::{
    name::RunId,
    results::{CheckResults, TestOutcome},
    revision::Revision,
    time::{Timestamp, between},
    verdict::Verdict,
};

/// An earlier run, as its `report.json` has it; what later reports do not need is not read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PastReport {
    run: RunId,
    project: String,
    began: Option<Timestamp>,
    last: Option<Timestamp>,
    verdict: Option<Verdict>,
    #[serde(default)]
    revision: Option<Revision>,
    lanes: BTreeMap<String, PastLane>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct PastLane {
    checks: Vec<PastCheck>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct PastCheck {
    slug: String,
    results: CheckResults,
}

impl PastReport {
    /// Returns whether this is a run of that project.
    pub fn is_of(&self, project: &str) -> bool {
        self.project == project
    }

    fn outcome(&self, lane: &str, check: &str, suite: &str, test: &str) -> Option<TestOutcome> {
        let check = self.lanes.get(lane)?.checks.iter().find(|it| it.slug == check)?;
        let tests = &check.results.tests;
        let test = tests.iter().find(|it| it.name == test && it.suite == suite)?;
        Some(test.outcome)
    }
}

/// One line of a project's history.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PastRun {
    /// The run.
    pub run: RunId,
    /// When it began.
    pub began: Option<Timestamp>,
    /// How it ended; none when twolane was killed.
    pub verdict: Option<Verdict>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What it was of.
    pub revision: Option<Revision>,
}

/// How often a test that failed this time failed in the earlier runs that ran it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedBefore {
    /// The lane.
    pub lane: String,
    /// The check's slug.
    pub check: String,
    /// The test binary.
    pub suite: String,
    /// The test.
    pub test: String,
    /// In how many runs it failed.
    pub failed: usize,
    /// How many runs ran it.
    pub ran: usize,
}

impl FailedBefore {
    /// Returns it in words.
    pub fn words(&self) -> String {
        let Self { failed, ran, .. } = self;
        let runs = if *ran == 1 { "run" } else { "runs" };
        match ran {
            0 => "no earlier run ran it".to_owned(),
            ran => format!("failed in {failed} of {ran} earlier {runs}"),
        }
    }
}

impl Report {
    /// Takes the earlier runs of the project, the latest first. Comes after the results.
    pub fn take_history(&mut self, past: &[PastReport]) {
        self.history = past.iter().map(past_run).collect();
        self.failed_before = self
            .lanes
            .iter()
            .flat_map(|(name, lane)| lane.checks.iter().map(move |check| (name, check)))
            .flat_map(|(lane, check)| check.results.bad_tests().map(move |test| (lane, check, test)))
            .take(BAD_MAX)
            .filter(|_| !past.is_empty())
            .map(|(lane, check, test)| {
                let outcomes: Vec<TestOutcome> = past
                    .iter()
                    .filter_map(|past| past.outcome(lane, &check.slug, &test.suite, &test.name))
                    .filter(|outcome| *outcome != TestOutcome::Ignored)
                    .collect();
                FailedBefore {
                    lane: lane.clone(),
                    check: check.slug.clone(),
                    suite: test.suite.clone(),
                    test: test.name.clone(),
                    failed: outcomes.iter().filter(|outcome| outcome.is_bad()).count(),
                    ran: outcomes.len(),
                }
            })
            .collect();
    }

    /// Returns how often a test that failed in this run failed before; none where no earlier run is known.
    pub fn failed_before(&self, lane: &str, check: &str, suite: &str, test: &str) -> Option<&FailedBefore> {
        self.failed_before
            .iter()
            .find(|it| it.test == test && it.suite == suite && it.check == check && it.lane == lane)
    }
}

/// Failing tests that are looked up. Nobody reads more, and each is searched for in each earlier run.
const BAD_MAX: usize = 100;

fn past_run(past: &PastReport) -> PastRun {
    PastRun {
        run: past.run.clone(),
        began: past.began,
        verdict: past.verdict,
        seconds: past
            .began
            .zip(past.last)
            .map_or(0.0, |(began, last)| between(began, last).as_secs_f64()),
        revision: past.revision.clone(),
    }
}

//! What earlier runs say of a lane's tests: which did not pass, and what they are called.

use camino::Utf8Path;
use model::{
    check::Check,
    plan::Plan,
    report::Report,
    selection::{Selection, Unpassed, nearest_tests, unpassed},
};

use crate::{
    paths::Paths,
    problem::{Problem, Result},
    show::{record, results},
};

/// Runs that are read for what did not pass last time, and for the names of tests.
const RUNS_MAX: usize = 50;

/// The earlier runs of a project, the newest first.
pub(super) struct Earlier {
    runs: Vec<(Plan, Report)>,
}

impl Earlier {
    /// Reads them.
    pub(super) fn read(paths: &Paths, plan: &Plan) -> Self {
        let of = |dir: &Utf8Path| {
            let earlier = record::read_plan(dir)
                .ok()
                .filter(|earlier| earlier.project == plan.project)?;
            let mut report = record::read_report(dir).ok()?;
            results::fill(&mut report, dir);
            Some((earlier, report))
        };
        let runs = record::runs(paths).into_iter().rev().take(RUNS_MAX);
        Self {
            runs: runs.filter_map(|run| of(&paths.run(&run))).collect(),
        }
    }

    /// Returns what of the lane's checks did not pass last time.
    pub(super) fn unpassed(&self, lane: &str, checks: &[Check]) -> Result<Vec<Check>> {
        let of = |check: &Check| {
            let runs = self.runs.iter().filter_map(|(plan, report)| {
                let planned = plan.lanes.iter().find(|planned| planned.name == lane)?;
                let planned = planned.checks.iter().find(|planned| planned.name == check.name)?;
                let reported = report.lanes.get(lane)?.checks.iter();
                let reported = reported
                    .into_iter()
                    .find(|reported| reported.slug == planned.slug)?;
                Some((reported, planned.is_part))
            });
            runs.collect::<Vec<_>>()
        };
        if checks.iter().all(|check| of(check).is_empty()) {
            return Err(Problem::usage("could not find what did not pass last time")
                .because(format!("no earlier run of lane {lane} is recorded here"))
                .help("run its checks once: twolane test"));
        }
        let again = |check: &Check| match unpassed(of(check)) {
            // It runs once in a box's life, which may be another box than last time.
            Unpassed::Nothing => check.is_setup.then(|| check.clone()),
            Unpassed::Tests(names) => check
                .select(&Selection::Named(names))
                .or_else(|| Some(check.clone())),
            Unpassed::Whole => Some(check.clone()),
        };
        Ok(checks.iter().filter_map(again).collect())
    }

    /// Says that a filter matched nothing, and which tests are called nearly so.
    pub(super) fn no_such_test(&self, filters: &[String]) -> Problem {
        let lanes = self.runs.iter().flat_map(|(_, report)| report.lanes.values());
        let checks = lanes.flat_map(|lane| &lane.checks);
        let names: Vec<&str> = checks
            .flat_map(|check| &check.results.tests)
            .map(|test| test.name.as_str())
            .collect();
        let near: Vec<&str> = filters
            .iter()
            .flat_map(|filter| nearest_tests(filter, names.iter().copied()))
            .collect();
        let problem = Problem::usage("could not find a test to run")
            .because(format!("no test's name contains `{}`", filters.join("` or `")));
        match near.is_empty() {
            true => problem,
            false => problem.help(format!("did you mean {}?", near.join(", "))),
        }
    }
}

//! What earlier runs say of the checks of a project: which tests they had, and how long each took.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    check::{Check, Outcome},
    part::{Past, PastCheck, family},
    plan::{LanePlan, Plan},
    report::{CheckReport, Report},
};

use crate::{
    paths::Paths,
    show::{record, results},
};

/// Runs that are read at most.
const RUNS_MAX: usize = 20;

/// Runs that say how long a check usually takes.
const USUAL_RUNS: usize = 7;

/// A check, by its lane in `[lanes]` and its name.
pub(crate) type Key = (String, String);

/// Reads what earlier runs say of the checks of these lanes. The newest that knows a test counts; what is older than a run that
/// passed says nothing any more.
pub(crate) fn read(paths: &Paths, project: &str, lanes: &[&str]) -> Past {
    let mut past = Past::new();
    let mut known: BTreeSet<Key> = BTreeSet::new();
    for run in record::runs(paths).into_iter().rev().take(RUNS_MAX) {
        let dir = paths.run(&run);
        let Ok(plan) = record::read_plan(&dir) else {
            continue;
        };
        let is_wanted = |lane: &LanePlan| lanes.contains(&family(&lane.name));
        if plan.project != project || !plan.lanes.iter().any(is_wanted) {
            continue;
        }
        let Ok(report) = record::read_report(&dir) else {
            continue;
        };
        for (key, (seen, has_passed)) in of_run(&plan, &report, lanes, &dir) {
            if known.contains(&key) || seen.tests.is_empty() {
                continue;
            }
            let check = past.entry(key.clone()).or_default();
            if check.tests.is_empty() {
                check.seconds = seen.seconds;
            }
            for (name, seconds) in seen.tests {
                check.tests.entry(name).or_insert(seconds);
            }
            if has_passed {
                known.insert(key);
            }
        }
    }
    past
}

/// Returns how long each check of a project usually takes, by its lane and its name: the median of the last runs of all of it
/// that came to their end.
pub(crate) fn usual(paths: &Paths, project: &str) -> BTreeMap<Key, f64> {
    let mut all: BTreeMap<Key, Vec<f64>> = BTreeMap::new();
    for run in record::runs(paths).into_iter().rev().take(USUAL_RUNS) {
        let dir = paths.run(&run);
        let Ok(plan) = record::read_plan(&dir) else {
            continue;
        };
        if plan.project != project {
            continue;
        }
        let Ok(report) = record::read_report(&dir) else {
            continue;
        };
        for lane in &plan.lanes {
            for (check, seconds) in ended(lane, &report) {
                let key = (lane.name.clone(), check.name.clone());
                all.entry(key).or_default().push(seconds);
            }
        }
    }
    let median = |mut seconds: Vec<f64>| {
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    };
    all.into_iter()
        .map(|(key, seconds)| (key, median(seconds)))
        .collect()
}

/// Returns a lane's checks of which all ran to the end, and how long that took.
fn ended<'a>(lane: &'a LanePlan, report: &'a Report) -> impl Iterator<Item = (&'a Check, f64)> {
    let reported = report.lanes.get(&lane.name).into_iter();
    reported
        .flat_map(|reported| &reported.checks)
        .filter_map(|check| {
            let is_whole = |planned: &&Check| planned.slug == check.slug && !planned.is_part;
            let has_ended = matches!(check.outcome, Outcome::Passed | Outcome::Failed { .. });
            let planned = lane.checks.iter().find(is_whole).filter(|_| has_ended)?;
            Some((planned, check.seconds?))
        })
}

/// Returns what one run says, and of each check whether all of it passed.
fn of_run(
    plan: &Plan,
    report: &Report,
    lanes: &[&str],
    dir: &camino::Utf8Path,
) -> BTreeMap<Key, (PastCheck, bool)> {
    let mut seen: BTreeMap<Key, (PastCheck, bool)> = BTreeMap::new();
    for (lane, reported) in report
        .lanes
        .iter()
        .filter(|(lane, _)| lanes.contains(&family(lane)))
    {
        for check in &reported.checks {
            let Some(name) = name(plan, lane, check) else {
                continue;
            };
            let (past, has_passed) = seen
                .entry((family(lane).to_owned(), name.to_owned()))
                .or_insert_with(|| (PastCheck::default(), true));
            past.seconds += check.seconds.unwrap_or_default();
            let is_taken_over = matches!(check.outcome, Outcome::Skipped { .. }) && check.has_begun;
            *has_passed &= check.outcome == Outcome::Passed || is_taken_over;
            let results = results::of_check(dir, lane, reported, check);
            for test in results.tests.iter().filter(|test| test.outcome.has_run()) {
                // Several programs may have a test of that name: it is shared out as one.
                let all = past.tests.entry(test.name.clone()).or_default();
                *all = test
                    .seconds
                    .map(|seconds| all.unwrap_or_default() + seconds)
                    .or(*all);
            }
        }
    }
    seen
}

/// Returns what the whole check is called; none where some of its tests were chosen by hand.
fn name<'a>(plan: &'a Plan, lane: &str, check: &CheckReport) -> Option<&'a str> {
    let (lane, slug) = match &check.taken_from {
        Some(from) => (from.lane.as_str(), &from.slug),
        None => (lane, &check.slug),
    };
    let planned = plan.lanes.iter().find(|planned| planned.name == lane)?;
    let planned = planned.checks.iter().find(|planned| planned.slug == *slug)?;
    (!planned.is_part || planned.part.is_some()).then_some(&*planned.name)
}

//! `twolane test`: copies the source to a box that is up, and runs its lane's checks, or what of them is asked for.

use camino::Utf8Path;
use model::{
    check::Check,
    plan::{Asked, Plan},
    report::{CheckReport, Report},
    selection::{Selection, Unpassed, nearest_tests, unpassed},
};

use super::{
    boxes::{RunOnBox, label_and_rest},
    run::{cannot_run, show_end},
};
use crate::{
    args::TestArgs,
    context::Context,
    exit::Exit,
    paths::Paths,
    planning::{self, Look},
    problem::{Problem, Result},
    project,
    show::{record, results},
    world::{block_on, journal, providers},
};

/// Runs that are read for what did not pass last time, and for the names of tests.
const RUNS_MAX: usize = 50;

/// Runs the checks. The box stays.
pub(crate) fn run(context: &Context, args: &TestArgs) -> Result {
    block_on(async {
        let paths = context.paths()?;
        let (label, names) = label_and_rest(&*journal(&paths)?, args.first.as_deref(), &args.checks).await?;
        let mut on = RunOnBox::plan(context, &label).await?;
        on.plan.is_continued = args.is_continued;
        refresh(context, &paths, &mut on.plan)?;
        let earlier = || Earlier::read(&paths, &on.plan);
        let failed = args.failed.then(earlier);
        for lane in &mut on.plan.lanes {
            lane.checks = chosen(&lane.checks, &names)?;
            if let Some(earlier) = &failed {
                lane.checks = earlier.unpassed(&lane.name, &lane.checks)?;
            } else if !args.filters.is_empty() {
                lane.checks = filtered(&lane.checks, &args.filters)?;
            }
        }
        if on
            .plan
            .lanes
            .iter()
            .flat_map(|lane| &lane.checks)
            .all(|check| check.is_setup)
        {
            context.style.result("everything passed last time");
            return Ok(Exit::Passed);
        }
        let watched = on.open(context)?;
        let outcome = engine::run::test(&on.plan, &on.machine, &watched.world).await;
        watched.finish();
        let verdict = outcome.map_err(cannot_run)?;
        let mut report = watched.report.report();
        results::fill(&mut report, &on.dir());
        if !args.filters.is_empty() && found_nothing(&on.plan, &report) {
            return Err(Earlier::read(&paths, &on.plan).no_such_test(&args.filters));
        }
        Ok(show_end(context, &watched, &on.dir(), verdict))
    })
}

/// Takes what `twolane.toml` says now, and says what has changed since the box was made.
fn refresh(context: &Context, paths: &Paths, plan: &mut Plan) -> Result<()> {
    let lane = plan.lanes.first().map(|lane| lane.name.clone());
    let is_here = paths.project.is_some();
    let Some(project) = is_here.then(|| project::find(&context.dir)).transpose()? else {
        return Ok(());
    };
    let has_lane = |name: &String| project.config.lanes.iter().any(|lane| lane.name == *name);
    let Some(lane) = lane.filter(|name| project.config.project == plan.project && has_lane(name)) else {
        let text = format!(
            "note: {} is not of the project and lane that the box was made for: what it was made for is run",
            project.dir
        );
        context.style.message(&text);
        return Ok(());
    };
    let asked = Asked {
        lanes: vec![lane],
        ..Asked::default()
    };
    let providers = providers(paths, &project.config.local)?;
    let now = planning::plan(&project, &asked, &providers, paths, Look::Quick)?;
    for note in plan.refresh(now.plan) {
        context.style.message(&format!("note: {note}"));
    }
    Ok(())
}

/// Returns the checks of those names, or all; the lane's order counts.
fn chosen(all: &[Check], names: &[String]) -> Result<Vec<Check>> {
    let is_called = |check: &Check, name: &str| check.name == name || check.slug == name;
    if let Some(unknown) = names
        .iter()
        .find(|name| !all.iter().any(|check| is_called(check, name)))
    {
        let known: Vec<&str> = all.iter().map(|check| check.name.as_str()).collect();
        return Err(Problem::usage(format!("could not find a check `{unknown}`"))
            .because(format!("the lane has: {}", known.join(", "))));
    }
    let is_chosen = |check: &&Check| names.is_empty() || names.iter().any(|name| is_called(check, name));
    Ok(all.iter().filter(is_chosen).cloned().collect())
}

/// Returns the checks that run tests, with those tests alone; and what prepares the box for them.
fn filtered(all: &[Check], filters: &[String]) -> Result<Vec<Check>> {
    let selection = Selection::Matching(filters.to_vec());
    let part = |check: &Check| match check.is_setup {
        true => Some(check.clone()),
        false => check.select(&selection),
    };
    let checks: Vec<Check> = all.iter().filter_map(part).collect();
    if checks.iter().any(|check| check.is_part) {
        return Ok(checks);
    }
    let known: Vec<&str> = all.iter().map(|check| check.name.as_str()).collect();
    Err(Problem::usage("could not use a filter here")
        .because(format!(
            "none of these checks ends with `cargo test` or `cargo nextest run`: {}",
            known.join(", ")
        ))
        .help("name a check whose command does, or leave the filter out"))
}

/// Returns whether all checks with a filter ended well without one test.
fn found_nothing(plan: &Plan, report: &Report) -> bool {
    let planned = plan
        .lanes
        .iter()
        .flat_map(|lane| lane.checks.iter().map(move |check| (&lane.name, check)));
    let reported = planned.filter(|(_, check)| check.is_part).map(|(lane, check)| {
        let mut reported = report.lanes.get(lane)?.checks.iter();
        reported.find(|reported| reported.slug == check.slug)
    });
    reported
        .into_iter()
        .all(|reported| reported.is_some_and(CheckReport::found_no_tests))
}

/// The earlier runs of a project, the newest first.
struct Earlier {
    runs: Vec<(Plan, Report)>,
}

impl Earlier {
    fn read(paths: &Paths, plan: &Plan) -> Self {
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
    fn unpassed(&self, lane: &str, checks: &[Check]) -> Result<Vec<Check>> {
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
    fn no_such_test(&self, filters: &[String]) -> Problem {
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

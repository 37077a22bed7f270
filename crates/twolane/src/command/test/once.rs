//! One run of `twolane test`: what it runs, and what comes of it.

use std::collections::BTreeSet;

use engine::Link;
use model::{
    check::Check,
    name::Label,
    plan::{Asked, Plan},
    report::{CheckReport, Report},
    selection::Selection,
    verdict::Verdict,
    watch::What,
};

use super::earlier::Earlier;
use crate::{
    args::TestArgs,
    command::{
        boxes::RunOnBox,
        run::{cannot_run, show_end},
    },
    context::Context,
    exit::Exit,
    paths::Paths,
    planning::{self, Look},
    problem::{Problem, Result},
    project,
    show::results,
    world::{Watched, providers},
};

/// What the command line asks for.
pub(super) struct Wanted<'a> {
    pub(super) context: &'a Context,
    pub(super) args: &'a TestArgs,
    pub(super) label: Label,
    /// The checks, by name; all where there are none.
    pub(super) names: Vec<String>,
}

impl Wanted<'_> {
    /// Plans a run; none where everything passed last time. What is in `said` is not said again.
    pub(super) async fn plan(&self, what: What, said: &mut BTreeSet<String>) -> Result<Option<RunOnBox>> {
        let mut on = RunOnBox::plan(self.context, &self.label).await?;
        on.plan.is_continued = self.args.is_continued;
        for note in refresh(self.context, &on.paths, &mut on.plan)? {
            if said.insert(note.clone()) {
                self.context.style.message(&note);
            }
        }
        let only_failed = match what {
            What::Asked => self.args.failed,
            What::All => false,
            What::Failed => true,
        };
        let failed = only_failed.then(|| Earlier::read(&on.paths, &on.plan));
        for lane in &mut on.plan.lanes {
            lane.checks = chosen(&lane.checks, &self.names)?;
            if let Some(earlier) = &failed {
                lane.checks = earlier.unpassed(&lane.name, &lane.checks)?;
            } else if !self.args.filters.is_empty() {
                lane.checks = filtered(&lane.checks, &self.args.filters)?;
            }
        }
        let mut checks = on.plan.lanes.iter().flat_map(|lane| &lane.checks);
        Ok(checks.any(|check| !check.is_setup).then_some(on))
    }

    /// Carries a run out, and returns how it ended.
    pub(super) async fn carry_out(&self, on: &RunOnBox, watched: &Watched, link: &Link) -> Result<Verdict> {
        let outcome = engine::run::test(&on.plan, &on.machine, link, &watched.world).await;
        watched.finish();
        outcome.map_err(cannot_run)
    }

    /// Shows what came of a run.
    pub(super) fn show(&self, on: &RunOnBox, watched: &Watched, verdict: Verdict) -> Result<Exit> {
        let is_whole = verdict != Verdict::Interrupted;
        let mut report = watched.report.report();
        results::fill(&mut report, &on.dir());
        if is_whole && !self.args.filters.is_empty() && found_nothing(&on.plan, &report) {
            return Err(Earlier::read(&on.paths, &on.plan).no_such_test(&self.args.filters));
        }
        Ok(show_end(self.context, watched, &on.dir(), verdict))
    }
}

/// Takes what `twolane.toml` says now. Returns what people should know of that: what has changed since the box was made.
fn refresh(context: &Context, paths: &Paths, plan: &mut Plan) -> Result<Vec<String>> {
    let lane = plan.lanes.first().map(|lane| lane.name.clone());
    let is_here = paths.project.is_some();
    let Some(project) = is_here.then(|| project::find(&context.dir)).transpose()? else {
        return Ok(Vec::new());
    };
    let has_lane = |name: &String| project.config.lanes.iter().any(|lane| lane.name == *name);
    let Some(lane) = lane.filter(|name| project.config.project == plan.project && has_lane(name)) else {
        let text = format!(
            "note: {} is not of the project and lane that the box was made for: what it was made for is run",
            project.dir
        );
        return Ok(vec![text]);
    };
    let asked = Asked {
        lanes: vec![lane],
        ..Asked::default()
    };
    let providers = providers(paths, &project.config.local)?;
    let now = planning::plan(&project, &asked, &providers, paths, Look::Quick)?;
    let notes = plan.refresh(now.plan).into_iter();
    Ok(notes.map(|note| format!("note: {note}")).collect())
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

//! `twolane run`: the whole flow, lanes side by side, in disposable boxes.

use std::{collections::BTreeSet, fs, io};

use camino::Utf8Path;
use engine::run::CannotRun;
use model::{
    config,
    name::Label,
    plan::{Asked, Plan},
    report::Report,
    verdict::Verdict,
};

use super::boxes;
use crate::{
    args::RunArgs,
    context::Context,
    exit::Exit,
    planning::{self, Look},
    prebuilt,
    problem::{Problem, Result},
    project::{self, Project},
    quotes, reach,
    show::{github::Job, gitlab, record, results, skips, written},
    world::{Watched, block_on, cannot_write, journal, providers},
};

/// Runs the lanes.
pub(crate) fn run(context: &Context, args: &RunArgs) -> Result {
    let mut project = project::find(&context.dir)?;
    project.config.local.is_cold |= args.boxes.cold;
    from_start_to_end(context, &project, &planning::asked(args)?).map(|(exit, _)| exit)
}

/// Plans what is asked for, carries it out, and shows how it ended.
pub(super) fn from_start_to_end(context: &Context, project: &Project, asked: &Asked) -> Result<(Exit, Plan)> {
    let plan = planned(context, project, asked)?;
    let exit = begin_and_end(context, project, &plan)?;
    Ok((exit, plan))
}

/// Plans what is asked for, and reports who is rejected.
pub(super) fn planned(context: &Context, project: &Project, asked: &Asked) -> Result<Plan> {
    let paths = context.paths()?;
    let providers = providers(&paths, &project.config.local)?;
    prebuilt::bring(context, project, &paths.cache);
    let plan = || planning::plan(project, asked, &providers, &paths, Look::Whole);
    let mut planned = plan()?;
    let candidates = planned.candidates();
    let refresh = quotes::refresh(context.style, &candidates, &providers, &paths.cache);
    if block_on(async { Ok(refresh.await) })? {
        planned = plan()?;
    }
    let planned = planned.able()?;
    for note in &planned.notes {
        context.style.message(&format!("note: {note}"));
    }
    for refused in &planned.refused {
        let text = format!(
            "note: {}: {} is rejected: {}",
            refused.lane, refused.candidate, refused.why
        );
        context.style.message(&text);
    }
    let mut plan = planned.plan;
    reach::settle(&mut plan, &providers)?;
    Ok(plan)
}

/// Carries out a new plan, and shows how it ended.
pub(super) fn begin_and_end(context: &Context, project: &Project, plan: &Plan) -> Result {
    let paths = context.paths()?;
    block_on(async {
        let (watched, verdict) = carry_out_new(context, project, plan).await?;
        Ok(show_end(context, &watched, &paths.run(&plan.run), verdict))
    })
}

/// Carries out a new plan.
pub(super) async fn carry_out_new(
    context: &Context,
    project: &Project,
    plan: &Plan,
) -> Result<(Watched, Verdict)> {
    let paths = context.paths()?;
    let journal = journal(&paths)?;
    refuse_taken(plan, &*journal).await?;
    drop(journal);
    let dir = paths.run(&plan.run);
    record::write_plan(&dir, plan).map_err(|error| cannot_write(&dir, &error))?;
    keep_baseline(project, &dir)?;
    carry_out(context, &project.config.local, plan, Report::default()).await
}

/// Keeps the project's baseline with the run. A file that is not there yet is an empty one.
fn keep_baseline(project: &Project, dir: &Utf8Path) -> Result<()> {
    let Some(path) = &project.config.baseline else {
        return Ok(());
    };
    let path = project.dir.join(path);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(Problem::usage(format!("could not read the baseline {path}"))
                .because(error)
                .help("correct `baseline` in [project]"));
        }
    };
    skips::keep_baseline(dir, &text).map_err(|error| cannot_write(dir, &error))
}

/// Refuses a plan whose labels are taken, before anything is created. What a dead process left takes no label: the run
/// destroys it before its own work.
async fn refuse_taken(plan: &Plan, journal: &dyn model::world::Journal) -> Result<()> {
    let holdings = boxes::holdings(journal).await?;
    let unfinished = boxes::unfinished(journal).await?.into_iter();
    let left: BTreeSet<Label> = unfinished
        .flat_map(|(_, labels)| labels)
        .filter(|label| holdings.boxes.get(label).is_some_and(|held| !held.is_kept))
        .collect();
    match plan
        .lanes
        .iter()
        .find(|lane| holdings.is_taken(&lane.label, &plan.run) && !left.contains(&lane.label))
    {
        Some(lane) => Err(model::error::JournalError::Taken(lane.label.clone()).into()),
        None => Ok(()),
    }
}

/// Carries out a plan. `before` is what an earlier process did of the run.
pub(super) async fn carry_out(
    context: &Context,
    local: &config::Local,
    plan: &Plan,
    before: Report,
) -> Result<(Watched, Verdict)> {
    let paths = context.paths()?;
    let verdicts: Vec<Verdict> = before.lanes.values().filter_map(|lane| lane.verdict).collect();
    let watched = Watched::open(context, &paths, local, Some(&paths.run(&plan.run)), before)?;
    let outcome = engine::run::run(plan, &watched.world).await;
    watched.finish();
    let verdict = outcome.map_err(cannot_run)?;
    Ok((watched, verdicts.into_iter().fold(verdict, Verdict::max)))
}

/// Turns the engine's refusal to begin into a problem.
pub(super) fn cannot_run(error: CannotRun) -> Problem {
    match error {
        CannotRun::Journal(error) => error.into(),
        CannotRun::Held(run) => Problem::usage(format!("could not resume run {run}"))
            .because("another twolane carries it out")
            .help("wait for it, or stop that one first"),
    }
}

/// Writes the report beside the events, shows it, and returns the exit code. What is left comes last.
pub(super) fn show_end(context: &Context, watched: &Watched, dir: &Utf8Path, verdict: Verdict) -> Exit {
    let mut report = watched.report.report();
    report.verdict = Some(verdict);
    results::fill(&mut report, dir);
    let verdict = report.verdict.unwrap_or(verdict);
    let written = written::write(&report, dir);
    if let Some(job) = Job::find() {
        let plan = record::read_plan(dir).ok();
        let source = plan.as_ref().and_then(|plan| plan.sources.first());
        job.annotate(context.style, &report, source.map(|source| &*source.path));
    }
    if !context.style.is_json {
        gitlab::report(context.style, &report, dir);
    }
    match written {
        Ok(_) if context.style.is_json => {}
        Ok(page) => context.style.result(&format!("\nreport: {page}")),
        Err(error) => context.style.message(&format!(
            "warning: could not write the report into {dir}: {error}"
        )),
    }
    if let Some(left) = watched.standing.left() {
        context.style.message(&left);
    }
    verdict.into()
}

//! `twolane attach`: resumes a run whose client died, while its boxes live.

use model::{config, plan::LanePlan, world::Journal};

use super::{
    boxes,
    run::{carry_out, show_end},
};
use crate::{
    args::AttachArgs,
    context::Context,
    problem::{Problem, Result},
    project,
    show::record,
    world::{block_on, journal},
};

/// Resumes the run.
pub(crate) fn run(context: &Context, args: &AttachArgs) -> Result {
    let paths = context.paths()?;
    let run = &args.run;
    let dir = paths.run(run);
    let mut plan = record::read_plan(&dir).map_err(|error| {
        Problem::usage(format!("could not resume run {run}"))
            .because(format!("its plan {}: {error}", dir.join(record::PLAN)))
            .help("twolane ls shows the boxes and their runs")
    })?;
    block_on(async {
        let journal = journal(&paths)?;
        if journal.is_held(run).await? {
            return Err(Problem::usage(format!("could not resume run {run}"))
                .because("another twolane carries it out")
                .help("wait for it, or stop that one first"));
        }
        let holdings = boxes::holdings(&*journal).await?;
        let is_there = |lane: &LanePlan| holdings.boxes_of(run).any(|(label, _)| *label == lane.label);
        if !plan.lanes.iter().any(is_there) {
            return Err(Problem::usage(format!("could not resume run {run}"))
                .because("none of its boxes exists any more")
                .help(format!("twolane report {run} shows what it did")));
        }
        drop(journal);
        // Lanes that came to their end stay as they were; one whose box was not made yet gets its box now.
        let before = record::read_report(&dir).unwrap_or_default();
        let has_ended = |lane: &LanePlan| {
            before
                .lanes
                .get(&lane.name)
                .is_some_and(|lane| lane.verdict.is_some())
        };
        plan.lanes.retain(|lane| !has_ended(lane));
        if plan.lanes.is_empty() {
            return Err(Problem::usage(format!("could not resume run {run}"))
                .because("its lanes have come to their end, and its boxes were left or kept")
                .help("twolane ls shows them; twolane down LABEL destroys one"));
        }
        // The plan does not hold how images are made; a box that is still to be made is made as the project says now.
        let local = project::find(&context.dir)
            .map_or_else(|_| config::Local::default(), |project| project.config.local);
        let (watched, verdict) = carry_out(context, &local, &plan, before).await?;
        Ok(show_end(context, &watched, &dir, verdict))
    })
}

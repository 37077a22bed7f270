//! `twolane test`: copies the source to a box that is up, and runs its lane's checks.

use model::check::Check;

use super::{
    boxes::RunOnBox,
    run::{cannot_run, show_end},
};
use crate::{
    args::TestArgs,
    context::Context,
    problem::{Problem, Result},
    world::block_on,
};

/// Runs the checks. The box stays.
pub(crate) fn run(context: &Context, args: &TestArgs) -> Result {
    block_on(async {
        let mut on = RunOnBox::plan(context, &args.label).await?;
        on.plan.is_continued = args.is_continued;
        for lane in &mut on.plan.lanes {
            lane.checks = chosen(&lane.checks, &args.checks)?;
        }
        let watched = on.open(context)?;
        let outcome = engine::run::test(&on.plan, &on.machine, &watched.world).await;
        watched.finish();
        let verdict = outcome.map_err(cannot_run)?;
        Ok(show_end(context, &watched, &on.dir(), verdict))
    })
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

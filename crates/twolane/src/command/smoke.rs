//! `twolane smoke`: runs the smoke script on a box that is deployed, as it is there, and shows what it wrote.

use std::fs;

use model::{check::Check, render::post_deploy::SMOKE};

use super::{boxes::RunOnBox, run::cannot_run};
use crate::{
    args::LabelArgs,
    context::Context,
    exit::Exit,
    problem::{Problem, Result},
    show::{clean::Lines, record},
    world::block_on,
};

/// Runs the script. The box stays.
pub(crate) fn run(context: &Context, args: &LabelArgs) -> Result {
    block_on(async {
        let mut on = RunOnBox::plan(context, &args.label).await?;
        if on.plan.deploy.smoke.is_none() {
            return Err(Problem::usage(format!("could not smoke-test box {}", args.label))
                .because("[deploy] of the twolane.toml that it was made with names no `smoke` script"));
        }
        for lane in &mut on.plan.lanes {
            lane.checks = vec![Check::new(SMOKE, SMOKE)];
        }
        let watched = on.open(context)?;
        let outcome = engine::run::smoke(&on.plan, &on.machine, &watched.world).await;
        watched.finish();
        let verdict = outcome.map_err(cannot_run)?;
        // With --json what it wrote was lines.
        if !context.style.is_json {
            show(context, &on);
        }
        Ok(Exit::from(verdict))
    })
}

/// Shows what the script wrote, made harmless.
fn show(context: &Context, on: &RunOnBox) {
    for lane in &on.plan.lanes {
        let Ok(log) = fs::read(record::log_path(&on.dir(), &lane.name, SMOKE)) else {
            continue;
        };
        let mut lines = Lines::default();
        let mut text = lines.take(&log);
        text.extend(lines.finish());
        context.style.result(&text.join("\n"));
    }
}

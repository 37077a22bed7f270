//! `twolane fetch`: brings results back from a box that is up.

use engine::{Lane, Shards, collect::collect};
use model::{config, limits::Budget, report::Report};

use super::boxes;
use crate::{
    args::LabelArgs,
    context::Context,
    exit::Exit,
    problem::{Problem, Result},
    world::{Watched, block_on},
};

/// Brings them back into the directory of the box's run.
pub(crate) fn run(context: &Context, args: &LabelArgs) -> Result {
    let paths = context.paths()?;
    block_on(async {
        let watched = Watched::open(
            context,
            &paths,
            &config::Local::default(),
            None,
            Report::default(),
        )?;
        let world = &watched.world;
        boxes::notice_unfinished(context, &paths, &*world.journal).await?;
        let held = boxes::held(&*world.journal, &args.label).await?;
        let plan = boxes::plan_of(&paths, &held)?;
        let machine = boxes::machine(held)?;
        let Some(lane) = plan.lanes.first() else {
            return Err(Problem::usage("could not find the box's lane"));
        };
        let link = boxes::reach(world, &machine).await?;
        let on = Lane {
            plan: &plan,
            lane,
            budget: &Budget::new(&plan.limits),
            shards: &Shards::default(),
            world,
        };
        collect(&on, &link).await;
        watched.finish();
        let missing = watched
            .report
            .report()
            .lanes
            .values()
            .any(|lane| !lane.missing.is_empty());
        if !context.style.is_json {
            context.style.result(on.dir().as_str());
        }
        Ok(if missing {
            Exit::Infrastructure
        } else {
            Exit::Passed
        })
    })
}

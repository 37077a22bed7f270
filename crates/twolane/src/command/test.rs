//! `twolane test`: copies the source to a box that is up, and runs its lane's checks.

use engine::{
    Lane, Link, checks, collect,
    open::tool,
    run::{begin, end, refused},
    sync,
};
use futures::future::{Either, select};
use model::{
    check::Check,
    config,
    event::{Event, Step},
    plan::{LanePlan, Plan},
    report::Report,
    verdict::Verdict,
    world::World,
};

use super::{
    Context, boxes,
    run::{cannot_run, show_end},
};
use crate::{
    args::TestArgs,
    problem::{Problem, Result},
    show::record,
    world::{Watched, block_on, cannot_write},
};

/// Runs the checks. The box stays.
pub(crate) fn run(context: &Context, args: &TestArgs) -> Result {
    let paths = context.paths()?;
    block_on(async {
        let (mut plan, machine) = boxes::run_on(context, &paths, &args.label).await?;
        plan.is_continued = args.is_continued;
        for lane in &mut plan.lanes {
            lane.checks = chosen(&lane.checks, &args.checks)?;
        }
        let Some(lane) = plan.lanes.first() else {
            return Err(Problem::usage("could not find the box's lane"));
        };
        let dir = paths.run(&plan.run);
        let watched = Watched::open(
            context,
            &paths,
            &config::Local::default(),
            Some(&dir),
            Report::default(),
        )?;
        record::write_plan(&dir, &plan).map_err(|error| cannot_write(&dir, &error))?;
        let link = boxes::reach(&watched.world, &machine).await?;
        begin(&plan, &watched.world).await.map_err(cannot_run)?;
        let verdict = check(&plan, lane, &link, &watched.world).await;
        end(&plan, &watched.world, verdict).await;
        watched.finish();
        Ok(show_end(context, &watched, &dir, verdict))
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

async fn check(plan: &Plan, lane: &LanePlan, link: &Link, world: &World) -> Verdict {
    let emit = |event| world.emit(Some(&lane.name), event);
    emit(Event::LaneBegan {
        label: lane.label.clone(),
        need: lane.need,
        checks: lane.checks.clone(),
    });
    let on = Lane { plan, lane, world };
    let work = Box::pin(async {
        let outcome = async {
            emit(Event::StepBegan { step: Step::Sync });
            let synced = sync::sync(&on, link).await;
            let failure = synced.as_ref().err().map(|refusal| refusal.why.clone());
            emit(Event::StepEnded {
                step: Step::Sync,
                failure,
            });
            synced?;
            checks::checks(&on, link).await
        };
        let verdict = outcome.await.unwrap_or_else(|refusal| refused(&on, refusal));
        collect::collect(&on, link).await;
        verdict
    });
    let verdict = match select(work, world.stop.asked()).await {
        Either::Left((verdict, _)) => verdict,
        Either::Right(((), work)) => {
            drop(work);
            emit(Event::Interrupted);
            stop(plan, lane, link, world).await;
            Verdict::Interrupted
        }
    };
    emit(Event::LaneEnded { verdict });
    verdict
}

/// Ends what runs on the box: nobody follows it any more.
async fn stop(plan: &Plan, lane: &LanePlan, link: &Link, world: &World) {
    for check in &lane.checks {
        let ended = link
            .run(world, &tool(["stop", plan.run.as_str(), &check.slug]))
            .await;
        if let Err(error) = ended {
            let text = format!("check {} could not be ended: {error}", check.name);
            return world.emit(Some(&lane.name), Event::Notice { text });
        }
    }
}

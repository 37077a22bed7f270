//! `twolane deploy`: copies the source to a box that is up, and builds, installs and starts what has changed.

use engine::{
    Lane, Link, deploy,
    run::{begin, end, refused},
    sync,
};
use futures::future::{Either, select};
use model::{
    config,
    event::{Event, Step},
    plan::{LanePlan, Plan},
    report::Report,
    verdict::Verdict,
    world::World,
};

use super::{Context, boxes, run::cannot_run};
use crate::{
    args::DeployArgs,
    exit::Exit,
    problem::{Problem, Result},
    show::record,
    world::{Watched, block_on, cannot_write},
};

/// Deploys. The box stays, whatever comes of it.
pub(crate) fn run(context: &Context, args: &DeployArgs) -> Result {
    let paths = context.paths()?;
    block_on(async {
        let (plan, machine) = boxes::run_on(context, &paths, &args.label).await?;
        let Some(lane) = plan.lanes.first() else {
            return Err(Problem::usage("could not find the box's lane"));
        };
        if plan.deploy.binaries.is_empty() && plan.deploy.units.is_empty() {
            return Err(
                Problem::usage(format!("could not deploy to box {}", args.label)).because(
                    "[deploy] of the twolane.toml that it was made with names nothing to build or to start",
                ),
            );
        }
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
        let verdict = deployed(&plan, lane, &link, args.rotate_secret, &watched.world).await;
        end(&plan, &watched.world, verdict).await;
        watched.finish();
        Ok(Exit::from(verdict))
    })
}

async fn deployed(plan: &Plan, lane: &LanePlan, link: &Link, has_new_secret: bool, world: &World) -> Verdict {
    let emit = |event| world.emit(Some(&lane.name), event);
    emit(Event::LaneBegan {
        label: lane.label.clone(),
        need: lane.need,
        checks: Vec::new(),
    });
    let on = Lane { plan, lane, world };
    let work = Box::pin(async {
        emit(Event::StepBegan { step: Step::Sync });
        let synced = sync::sync(&on, link).await;
        let failure = synced.as_ref().err().map(|refusal| refusal.why.clone());
        emit(Event::StepEnded {
            step: Step::Sync,
            failure,
        });
        synced?;
        // The tool of a box that an older twolane made may not know how to run as root.
        engine::open::install_tool(world, link)
            .await
            .map_err(|error| deploy::refusal(&error))?;
        deploy::deploy(&on, link, has_new_secret).await
    });
    let verdict = match select(work, world.stop.asked()).await {
        Either::Left((Ok(()), _)) => Verdict::Passed,
        Either::Left((Err(refusal), _)) => refused(&on, refusal),
        Either::Right(((), work)) => {
            drop(work);
            emit(Event::Interrupted);
            if let Err(error) = deploy::stop(&on, link).await {
                let text = format!("the deploy could not be ended, and may go on: {error}");
                emit(Event::Notice { text });
            }
            Verdict::Interrupted
        }
    };
    emit(Event::LaneEnded { verdict });
    verdict
}

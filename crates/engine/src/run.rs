//! A whole run: lanes side by side, each from top to bottom.

use std::{pin::pin, time::Duration};

use futures::future::{Either, join_all, select};
use model::{
    error::JournalError,
    event::{Event, Step},
    journal::Fact,
    machine::Machine,
    plan::{LanePlan, Plan},
    verdict::Verdict,
    world::{Target, World},
};
use thiserror::Error;

use crate::{
    checks::{checks, have_begun},
    collect::collect,
    deploy::deploy,
    down::{DestroyOutcome, down_own, keep},
    extend::extend,
    lane::{Lane, Refusal},
    link::Link,
    open::install_tool,
    reap::{beside_leftovers, supersede},
    sync::sync,
    time::unless_stopped,
    up::up,
};

/// How long a box that exists already is called.
const RECONNECT_MAX: Duration = Duration::from_secs(60);

/// A run could not begin. Nothing was created.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CannotRun {
    /// The journal is in the way.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Another process carries out this run.
    #[error("run {0} is being carried out by another twolane")]
    Held(model::name::RunId),
}

/// Carries out a plan, and returns how it ended. With the plan of a run whose process died, takes that run up again.
pub async fn run(plan: &Plan, world: &World) -> Result<Verdict, CannotRun> {
    begin(plan, world).await?;
    let work = async {
        supersede(plan, world).await;
        join_all(plan.lanes.iter().map(|lane| one(Lane { plan, lane, world }))).await
    };
    let verdicts = beside_leftovers(plan, world, work).await;
    let verdict = verdicts.into_iter().max().unwrap_or(Verdict::Passed);
    end(plan, world, verdict).await;
    Ok(verdict)
}

/// Takes the run's lock and records that it begins. Commands that do a part of a run begin with this too.
pub async fn begin(plan: &Plan, world: &World) -> Result<(), CannotRun> {
    if !world.journal.hold(&plan.run).await? {
        return Err(CannotRun::Held(plan.run.clone()));
    }
    world
        .journal
        .append(
            &plan.run,
            Fact::RunBegan {
                project: plan.project.clone(),
            },
        )
        .await?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    world.emit(
        None,
        Event::RunBegan {
            run: plan.run.clone(),
            project: plan.project.clone(),
            version,
        },
    );
    Ok(())
}

/// Records how the run ended.
pub async fn end(plan: &Plan, world: &World, verdict: Verdict) {
    if let Err(error) = world.journal.append(&plan.run, Fact::RunEnded { verdict }).await {
        world.emit(
            None,
            Event::Notice {
                text: error.to_string(),
            },
        );
    }
    world.emit(None, Event::RunEnded { verdict });
}

/// Runs a lane's checks on a box that exists already, after its copies of the sources are made equal to what is here.
/// The box stays.
pub async fn test(
    plan: &Plan,
    lane: &LanePlan,
    machine: &Machine,
    world: &World,
) -> Result<Verdict, CannotRun> {
    begin(plan, world).await?;
    let lane = Lane { plan, lane, world };
    lane.begin();
    lane.emit(Event::MachineUp {
        machine: machine.clone(),
    });
    let link = Link::to(Target::root_of(machine));
    let verdict = unless_stopped(world, synced_checks(&lane, &link))
        .await
        .unwrap_or(Verdict::Interrupted);
    lane.emit(Event::LaneEnded { verdict });
    end(plan, world, verdict).await;
    Ok(verdict)
}

async fn synced_checks(lane: &Lane<'_>, link: &Link) -> Verdict {
    let outcome = async {
        lane.step(Step::Connect, reconnect(lane, link)).await?;
        lane.step(Step::Sync, sync(lane, link)).await?;
        checks(lane, link).await
    };
    let verdict = match outcome.await {
        Ok(verdict) => verdict,
        Err(refusal) => refused(lane, refusal),
    };
    collect(lane, link).await;
    verdict
}

async fn reconnect(lane: &Lane<'_>, link: &Link) -> Result<(), Refusal> {
    let unreachable = |error| Refusal::new(format!("could not reach box {}: {error}", lane.lane.label));
    link.connect(lane.world, RECONNECT_MAX)
        .await
        .map_err(unreachable)?;
    install_tool(lane.world, link).await.map_err(unreachable)
}

async fn one(lane: Lane<'_>) -> Verdict {
    lane.begin();
    let link = Link::default();
    let verdict = unless_stopped(lane.world, on_box(&lane, &link))
        .await
        .unwrap_or(Verdict::Interrupted);
    let verdict = verdict.max(leave(&lane, &link, verdict).await);
    lane.emit(Event::LaneEnded { verdict });
    verdict
}

async fn on_box(lane: &Lane<'_>, link: &Link) -> Verdict {
    let outcome = async {
        up(lane, link).await?;
        if lane.lane.has_deploy && !have_begun(lane, link).await {
            deploy(lane, link, false).await?;
        }
        checks(lane, link).await
    };
    let verdict = match outcome.await {
        Ok(verdict) => verdict,
        Err(refusal) => refused(lane, refusal),
    };
    collect(lane, link).await;
    verdict
}

/// Reports why a lane cannot go on.
pub fn refused(lane: &Lane<'_>, refusal: Refusal) -> Verdict {
    lane.emit(Event::LaneFailed {
        why: refusal.why,
        help: refusal.help,
    });
    Verdict::Infrastructure
}

/// Returns whether the lane may have a box. No create call leaves without an intent in the journal; under a label that
/// another run has there, nothing is this lane's to destroy.
async fn is_ours_to_destroy(lane: &Lane<'_>) -> bool {
    let Ok(holdings) = lane.world.journal.holdings().await else {
        return true;
    };
    let held = holdings.boxes.get(&lane.lane.label);
    held.is_some_and(|held| held.run == lane.plan.run)
}

/// Destroys the lane's box, whatever `up` managed to make; or leaves it to the user for as long as was asked.
async fn leave(lane: &Lane<'_>, link: &Link, verdict: Verdict) -> Verdict {
    if verdict == Verdict::Interrupted {
        lane.emit(Event::Interrupted);
    }
    if !is_ours_to_destroy(lane).await {
        return verdict;
    }
    if let Some(length) = lane.plan.keep.stays(verdict, lane.lane.ttl)
        && let Some(deadline) = keep(lane, length).await
    {
        // What could not be moved still stands at the old deadline, which is the later one.
        if let Err(why) = extend(&lane.lane.label, deadline, lane.world).await {
            lane.notice(why);
        }
        return verdict;
    }
    match destroy(lane, link, verdict).await {
        DestroyOutcome::Gone(_) => verdict,
        DestroyOutcome::Left { .. } => Verdict::Left,
    }
}

/// Destroys the lane's box. After an interruption the destroy goes out first; what can be brought back meanwhile
/// is, and is given up as soon as the box is gone.
async fn destroy(lane: &Lane<'_>, link: &Link, verdict: Verdict) -> DestroyOutcome {
    let destroying = pin!(down_own(lane));
    if verdict != Verdict::Interrupted {
        return destroying.await;
    }
    let collecting = pin!(collect(lane, link));
    match select(destroying, collecting).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(((), destroying)) => destroying.await,
    }
}

//! What a command does with boxes, from its first word in the journal to its last: `run` and `up` on boxes that they
//! make, `test`, `deploy` and `smoke` on one that exists.
//! Each is a run of lanes side by side, and each lane goes from top to bottom in the scope of `run/scope.rs`.

mod leave;
mod reach;
mod scope;
mod stand_in;

use futures::future::join_all;
use model::{
    event::Step,
    limits::Budget,
    machine::Machine,
    plan::{Keep, Plan},
    verdict::Verdict,
    world::World,
};

pub use self::scope::CannotRun;
use self::{
    leave::{end_checks, end_deploy, leave},
    reach::{claim, reach},
    scope::{End, Flow, Work, in_lane, in_run},
    stand_in::stand_in,
};
use crate::{
    alive::while_alive,
    begun::have_begun,
    build::{build, in_box},
    checks::checks,
    collect::collect,
    deploy::{deploy as stage2, hand_over},
    lane::{Lane, Refusal},
    link::Link,
    reap::{beside_leftovers, supersede},
    runner::Desk,
    shards::Shards,
    sync::sync,
    up::on_new_box,
};

/// Carries out a plan on boxes of its own, and returns how it ended: `twolane run`, and with [`Keep::Passed`]
/// `twolane up`. With the plan of a run whose process died, resumes that run.
pub async fn run(plan: &Plan, world: &World) -> Result<Verdict, CannotRun> {
    let lanes = async {
        if plan.keep == Keep::Passed {
            return on_new_boxes(plan, world, Flow::new(bring_up, leave).without_checks()).await;
        }
        supersede(plan, world).await;
        on_new_boxes(plan, world, Flow::new(run_checks, leave)).await
    };
    in_run(plan, world, beside_leftovers(plan, world, lanes)).await
}

/// Runs the checks of the plan's lane on a box that exists, after its copies of the sources are made equal to what is
/// here: `twolane test`. The box stays. Who does it again and again keeps the link, and with it the connection.
pub async fn test(plan: &Plan, machine: &Machine, link: &Link, world: &World) -> Result<Verdict, CannotRun> {
    let work = async |lane: &Lane<'_>, link: &Link| {
        let outcome = while_alive(lane, link, async {
            reach(lane, link, machine).await?;
            lane.step(Step::Sync, sync(lane, link)).await?;
            checks(lane, link, build(lane, link).await).await
        });
        collected(lane, link, outcome).await
    };
    on_box(plan, link, world, Flow::new(work, end_checks)).await
}

/// Runs the checks of the plan's lane on a box that exists, as it is there: `twolane smoke`. The box stays.
pub async fn smoke(plan: &Plan, machine: &Machine, world: &World) -> Result<Verdict, CannotRun> {
    let work = async |lane: &Lane<'_>, link: &Link| {
        while_alive(lane, link, async {
            reach(lane, link, machine).await?;
            // What is there need not be what is here.
            checks(lane, link, in_box(lane)).await
        })
        .await
    };
    on_box(plan, &Link::at(machine), world, Flow::new(work, end_checks)).await
}

/// Copies the sources to a box that exists, and builds, installs and starts what has changed: `twolane deploy`.
/// The box stays.
pub async fn deploy(
    plan: &Plan,
    machine: &Machine,
    has_new_secret: bool,
    world: &World,
) -> Result<Verdict, CannotRun> {
    let work = async |lane: &Lane<'_>, link: &Link| {
        while_alive(lane, link, async {
            reach(lane, link, machine).await?;
            lane.step(Step::Sync, sync(lane, link)).await?;
            stage2(lane, link, has_new_secret).await?;
            Ok(Verdict::Passed)
        })
        .await
    };
    on_box(
        plan,
        &Link::at(machine),
        world,
        Flow::new(work, end_deploy).without_checks(),
    )
    .await
}

/// Makes the box of the plan's lane, has it run a job as its desk says, and destroys it: one box of `twolane runner`.
pub(crate) async fn host(plan: &Plan, world: &World, desk: &Desk<'_>) -> Result<Verdict, CannotRun> {
    let work = async |lane: &Lane<'_>, link: &Link| {
        // Each on the heap: what goes on in a box is big, and deep below what all the boxes do.
        let outcome = desk.unless_ended(Box::pin(async {
            claim(lane).await?;
            Box::pin(on_new_box(lane, link, async || desk.serve(lane, link).await)).await
        }));
        collected(lane, link, outcome).await
    };
    let flow = Flow::new(work, leave);
    in_run(plan, world, Box::pin(on_new_boxes(plan, world, flow))).await
}

/// Carries out the lanes side by side, each on a box of its own.
async fn on_new_boxes(plan: &Plan, world: &World, flow: Flow<impl Work, impl End>) -> Verdict {
    side_by_side(plan, world, &flow, None).await
}

/// Carries out the plan's lane on a box that exists.
async fn on_box(
    plan: &Plan,
    link: &Link,
    world: &World,
    flow: Flow<impl Work, impl End>,
) -> Result<Verdict, CannotRun> {
    in_run(plan, world, side_by_side(plan, world, &flow, Some(link))).await
}

/// Returns the worst verdict of all lanes. Each has a link of its own, which leads nowhere yet, or the one lane the link to
/// a machine that is there.
async fn side_by_side(
    plan: &Plan,
    world: &World,
    flow: &Flow<impl Work, impl End>,
    there: Option<&Link>,
) -> Verdict {
    let budget = &Budget::new(&plan.limits);
    let shards = &Shards::new(plan);
    let lanes = plan.lanes.iter().map(async |lane| {
        let lane = Lane {
            plan,
            lane,
            budget,
            shards,
            world,
        };
        let own = Link::default();
        in_lane(&lane, there.unwrap_or(&own), flow).await
    });
    let verdicts = plan.lanes.iter().zip(join_all(lanes).await);
    let of_run: Vec<Verdict> = verdicts
        .map(|(lane, verdict)| shards.of_run(&lane.name, verdict))
        .collect();
    Verdict::of_run(&of_run)
}

/// What a lane of `run` does.
async fn run_checks(lane: &Lane<'_>, link: &Link) -> Result<Verdict, Refusal> {
    let outcome = async {
        claim(lane).await?;
        on_new_box(lane, link, async || {
            if lane.lane.has_deploy && !have_begun(lane, link).await {
                stage2(lane, link, false).await?;
            }
            checks(lane, link, build(lane, link).await).await
        })
        .await
    };
    // What a box of its own part has to show is here before it waits for others: it may be lost meanwhile.
    let own = collected(lane, link, outcome).await?;
    Ok(own.max(stand_in(lane, link, own).await))
}

/// What a lane of `up` does.
async fn bring_up(lane: &Lane<'_>, link: &Link) -> Result<Verdict, Refusal> {
    let outcome = async {
        claim(lane).await?;
        on_new_box(lane, link, async || match lane.lane.has_deploy {
            true => stage2(lane, link, false).await,
            false => hand_over(lane, link).await,
        })
        .await
    };
    match outcome.await {
        Ok(()) => Ok(Verdict::Passed),
        Err(refusal) => collected(lane, link, async { Err(refusal) }).await,
    }
}

/// Brings back what the box has to show, whatever came of the work.
async fn collected(
    lane: &Lane<'_>,
    link: &Link,
    work: impl Future<Output = Result<Verdict, Refusal>>,
) -> Result<Verdict, Refusal> {
    let verdict = work.await.unwrap_or_else(|refusal| lane.fail(refusal));
    collect(lane, link).await;
    Ok(verdict)
}

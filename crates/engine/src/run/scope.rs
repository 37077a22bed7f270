//! The one scope of every run and of every lane: what begins it, what stops it, and what ends it.

use model::{event::Event, journal::Fact, plan::Plan, verdict::Verdict, world::World};

use super::CannotRun;
use crate::{
    lane::{Lane, Refusal},
    link::Link,
    time::unless_stopped,
};

/// What a lane does until it is through or stopped.
pub(super) trait Work: AsyncFn(&Lane<'_>, &Link) -> Result<Verdict, Refusal> {}

impl<T: AsyncFn(&Lane<'_>, &Link) -> Result<Verdict, Refusal>> Work for T {}

/// What a lane does last, however its work ended; nothing stops that. Returns how the lane ended.
pub(super) trait End: AsyncFn(&Lane<'_>, &Link, Verdict) -> Verdict {}

impl<T: AsyncFn(&Lane<'_>, &Link, Verdict) -> Verdict> End for T {}

/// What the lanes of a run do.
pub(super) struct Flow<W, E> {
    has_checks: bool,
    work: W,
    end: E,
}

impl<W: Work, E: End> Flow<W, E> {
    /// Makes a flow that runs the lanes' checks.
    pub(super) fn new(work: W, end: E) -> Self {
        Self {
            has_checks: true,
            work,
            end,
        }
    }

    /// Says that it runs none.
    pub(super) fn without_checks(self) -> Self {
        Self {
            has_checks: false,
            ..self
        }
    }
}

/// Takes the run's lock, records that it begins, carries out its work, and records how it ended.
pub(super) async fn in_run(
    plan: &Plan,
    world: &World,
    work: impl Future<Output = Verdict>,
) -> Result<Verdict, CannotRun> {
    begin(plan, world).await?;
    let verdict = work.await;
    if let Err(error) = world.journal.append(&plan.run, Fact::RunEnded { verdict }).await {
        let text = error.to_string();
        world.emit(None, Event::Notice { text });
    }
    world.emit(None, Event::RunEnded { verdict });
    Ok(verdict)
}

async fn begin(plan: &Plan, world: &World) -> Result<(), CannotRun> {
    if !world.journal.hold(&plan.run).await? {
        return Err(CannotRun::Held(plan.run.clone()));
    }
    let project = plan.project.clone();
    let began = Fact::RunBegan {
        project: project.clone(),
    };
    world.journal.append(&plan.run, began).await?;
    let (run, version) = (plan.run.clone(), env!("CARGO_PKG_VERSION").to_owned());
    world.emit(
        None,
        Event::RunBegan {
            run,
            project,
            version,
        },
    );
    Ok(())
}

/// Begins a lane, carries out its work unless the user asks to stop, and ends it.
pub(super) async fn in_lane(lane: &Lane<'_>, link: &Link, flow: &Flow<impl Work, impl End>) -> Verdict {
    lane.begin(flow.has_checks);
    let verdict = match unless_stopped(lane.world, (flow.work)(lane, link)).await {
        Some(Ok(verdict)) => verdict,
        Some(Err(refusal)) => lane.fail(refusal),
        None => {
            lane.emit(Event::Interrupted);
            Verdict::Interrupted
        }
    };
    let verdict = (flow.end)(lane, link, verdict).await;
    lane.emit(Event::LaneEnded { verdict });
    verdict
}

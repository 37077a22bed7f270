//! The one scope of every run and of every lane: what begins it, what stops it, and what ends it.

use model::{
    error::JournalError, event::Event, journal::Fact, plan::Plan, time::Deadline, verdict::Verdict,
    world::World,
};
use thiserror::Error;

use crate::{
    lane::{Lane, Refusal},
    link::Link,
    time::{Stopped, while_box_lives},
};

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

/// What a lane does until it is through or stopped.
pub(super) trait Work: AsyncFn(&Lane<'_>, &Link) -> Result<Verdict, Refusal> {}

impl<T: AsyncFn(&Lane<'_>, &Link) -> Result<Verdict, Refusal>> Work for T {}

/// How the work of a lane ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) verdict: Verdict,
    /// Why it was stopped, if it was.
    pub(super) stopped: Option<Stopped>,
}

/// What a lane does last, however its work ended; nothing stops that. Returns how the lane ended.
pub(super) trait End: AsyncFn(&Lane<'_>, &Link, Ended) -> Verdict {}

impl<T: AsyncFn(&Lane<'_>, &Link, Ended) -> Verdict> End for T {}

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

/// Begins a lane, carries out its work until the user asks to stop or the deadline of its box comes, and ends it.
pub(super) async fn in_lane(lane: &Lane<'_>, link: &Link, flow: &Flow<impl Work, impl End>) -> Verdict {
    lane.begin(flow.has_checks);
    let work = (flow.work)(lane, link);
    let outcome = while_box_lives(lane.world, (&lane.lane.label, lane.lane.ttl), work).await;
    let stopped = outcome.as_ref().err().copied();
    let verdict = match outcome {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(refusal)) => lane.fail(refusal),
        Err(Stopped::ByUser) => {
            lane.emit(Event::Interrupted);
            Verdict::Interrupted
        }
        Err(Stopped::ByDeadline(deadline)) => lane.fail(overdue(lane, deadline)),
    };
    lane.shards.over(&lane.lane.name, &lane.lane.checks, verdict);
    let verdict = (flow.end)(lane, link, Ended { verdict, stopped }).await;
    lane.emit(Event::LaneEnded { verdict });
    verdict
}

fn overdue(lane: &Lane<'_>, deadline: Deadline) -> Refusal {
    let (label, moment) = (&lane.lane.label, deadline.moment());
    Refusal::new(format!("the deadline of box {label}, {moment}, came first")).help(format!(
        "make `ttl` of [lanes.{}] longer; twolane extend moves the deadline of a box",
        lane.lane.name
    ))
}

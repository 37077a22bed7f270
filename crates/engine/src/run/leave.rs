//! What a lane does last: destroys its box, leaves it to its user, or ends what runs on a box that is not its own.

use std::{pin::pin, time::Duration};

use futures::future::{Either, select};
use model::{error::RemoteError, plan::Keep, verdict::Verdict};

use super::scope::Ended;
use crate::{
    alive::while_alive,
    collect::collect_before_it_is_gone,
    deploy,
    down::{DestroyOutcome, down_own, keep},
    extend::extend,
    lane::{Lane, Refusal},
    link::Link,
    open::tool,
    time::{Stopped, within},
};

/// How long a box that nobody follows any more is asked to end what runs there.
const END_MAX: Duration = Duration::from_secs(20);

/// Destroys the lane's box, whatever `up` managed to make; or leaves it to the user for as long as was asked.
pub(super) async fn leave(lane: &Lane<'_>, link: &Link, ended: Ended) -> Verdict {
    let verdict = ended.verdict;
    if !is_ours_to_destroy(lane).await {
        return verdict;
    }
    if ended.stopped.is_none()
        // Of a box that died, or that was given up for the next candidate, nothing is there to be looked at.
        && link.machine().is_some()
        && let Some(length) = lane.plan.keep.stays(verdict, lane.lane.ttl)
        && let Some(deadline) = keep(lane, length).await
    {
        // What `up` made stays until the deadline that it has.
        if lane.plan.keep != Keep::Passed
            // What could not be moved still stands at the old deadline, which is the later one.
            && let Err(why) = extend(&lane.lane.label, deadline, lane.world).await
        {
            lane.notice(why);
        }
        return verdict;
    }
    match destroy(lane, link, ended.stopped).await {
        DestroyOutcome::Left { .. } => Verdict::Left,
        DestroyOutcome::Gone(gone) if verdict == Verdict::Refused && gone.is_empty() => verdict,
        DestroyOutcome::Gone(_) if verdict == Verdict::Refused => Verdict::Infrastructure,
        // A box that was to stay could not be recorded as kept, or is being destroyed by another twolane.
        DestroyOutcome::Gone(_) if lane.plan.keep == Keep::Passed => verdict.max(Verdict::Infrastructure),
        DestroyOutcome::Gone(_) => verdict,
    }
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

/// Destroys the lane's box. When its user stopped it, the destroy goes out first; what can be brought back meanwhile
/// is, and is given up as soon as the box is gone.
async fn destroy(lane: &Lane<'_>, link: &Link, stopped: Option<Stopped>) -> DestroyOutcome {
    let destroying = pin!(down_own(lane));
    if stopped != Some(Stopped::ByUser) {
        return destroying.await;
    }
    if link.machine().is_none() {
        let label = &lane.lane.label;
        lane.notice(format!(
            "box {label} may have been asked for; twolane ends when its provider says that there is none"
        ));
    }
    let collecting = pin!(collect_before_it_is_gone(lane, link));
    match select(destroying, collecting).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(((), destroying)) => destroying.await,
    }
}

/// Ends the checks that nobody follows any more.
pub(super) async fn end_checks(lane: &Lane<'_>, link: &Link, ended: Ended) -> Verdict {
    if ended.stopped == Some(Stopped::ByUser) {
        let stop = async {
            for check in &lane.lane.checks {
                let order = tool(["stop", lane.plan.run.as_str(), &check.slug]);
                link.run(lane.world, &order).await?;
            }
            Ok(())
        };
        end(lane, link, "the checks", stop).await;
    }
    ended.verdict
}

/// Ends a deploy that nobody follows any more.
pub(super) async fn end_deploy(lane: &Lane<'_>, link: &Link, ended: Ended) -> Verdict {
    if ended.stopped == Some(Stopped::ByUser) {
        end(lane, link, "the deploy", deploy::stop(lane, link)).await;
    }
    ended.verdict
}

async fn end(lane: &Lane<'_>, link: &Link, what: &str, stop: impl Future<Output = Result<(), RemoteError>>) {
    let stopping = while_alive(lane, link, async { stop.await.map_err(Refusal::new) });
    let why = match within(lane.world, END_MAX, stopping).await {
        Some(Ok(())) => return,
        Some(Err(refusal)) => refusal.why,
        None => format!("no answer within {} s", END_MAX.as_secs()),
    };
    lane.notice(format!("{what} could not be ended, and may go on: {why}"));
}

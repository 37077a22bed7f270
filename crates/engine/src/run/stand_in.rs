//! What a box of a shared lane does when its own part is done: it waits for the others, and runs what a lost one left.

use std::time::Duration;

use model::{check::Check, shards::Next, verdict::Verdict};

use crate::{
    alive::while_alive,
    build::taken_over,
    checks::checks,
    collect::collect_of,
    lane::{Lane, Refusal},
    link::Link,
};

/// How often is looked whether another box is lost.
const PAUSE: Duration = Duration::from_secs(2);

/// Stands in for lost boxes until none can be lost any more. `own` is how the lane's own checks ended.
pub(super) async fn stand_in(lane: &Lane<'_>, link: &Link, own: Verdict) -> Verdict {
    let (mut verdict, mut taken) = (Verdict::Passed, Vec::new());
    while own.max(verdict) < Verdict::Refused {
        let check = match while_alive(lane, link, what_is_left(lane)).await {
            Ok(Some(check)) => check,
            Ok(None) => break,
            Err(refusal) => {
                // Nothing that it ran is lost with it.
                lane.notice(format!(
                    "{} was lost when its own part was done: {}",
                    lane.lane.name, refusal.why
                ));
                break;
            }
        };
        let left = vec![taken_over(lane, &check)];
        let outcome = while_alive(lane, link, checks(lane, link, left)).await;
        verdict = verdict.max(outcome.unwrap_or_else(|refusal| lane.fail(refusal)));
        taken.push(check);
    }
    if !taken.is_empty() {
        collect_of(lane, link, &taken).await;
    }
    verdict
}

/// Waits for something to run that a lost box left; none when no box can be lost any more.
async fn what_is_left(lane: &Lane<'_>) -> Result<Option<Check>, Refusal> {
    loop {
        match lane.shards.next(&lane.lane.name, lane.world) {
            (Next::Wait, _) => lane.world.clock.sleep(PAUSE).await,
            (Next::TakeOver | Next::Leave, check) => return Ok(check),
        }
    }
}

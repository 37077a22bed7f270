//! Asks a box what has begun there: by this run, or by an earlier process that it resumes.

use crate::{lane::Lane, link::Link, open::tool};

/// Returns whether this run has begun checks on the box before: its sources must stay as they are then.
pub(crate) async fn have_begun(lane: &Lane<'_>, link: &Link) -> bool {
    is_listed(lane, link, lane.plan.run.as_str()).await
}

/// Returns whether the box has begun anything under that id.
pub(crate) async fn is_listed(lane: &Lane<'_>, link: &Link, id: &str) -> bool {
    let begun = link.run(lane.world, &tool(["list", id])).await;
    begun.is_ok_and(|list| !list.is_empty())
}

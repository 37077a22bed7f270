//! What an older run left is gone before a later one creates anything, where that one takes its labels or its place, and
//! when any later run on the same machine has ended. Only where nothing went wrong: else it is tried, and reported.

use super::case::Case;
use crate::{
    clock::Elapsed,
    record::{Observation, TagPairs},
};

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    if !case.is_calm {
        return Vec::new();
    }
    let later = case.seen.iter().filter_map(|(_, seen)| match seen {
        Observation::Follows { run, takes_over } => Some((run.as_str(), *takes_over)),
        _ => None,
    });
    let mut wrong = Vec::new();
    for (run, takes_over) in later {
        let is_wanted = |tags: &TagPairs| is_of(tags, run);
        let first_create = case.seen.iter().find_map(|(at, seen)| match seen {
            Observation::CreateAsked { tags, .. } if is_wanted(tags) => Some(*at),
            _ => None,
        });
        let end = case.seen.iter().find_map(|(at, seen)| match seen {
            Observation::Ended { run: of, .. } if of.as_str() == run => Some(*at),
            _ => None,
        });
        let Some(end) = end else {
            wrong.push(format!("run {run} did not come to its end"));
            continue;
        };
        let before = first_create.filter(|_| takes_over);
        for at in [before, Some(end)].into_iter().flatten() {
            wrong.extend(there(case, run, at));
        }
    }
    wrong
}

/// Returns what of other runs was there at a moment.
fn there(case: &Case<'_>, run: &str, at: Elapsed) -> Vec<String> {
    let things = case.sim.clouds.values().flat_map(|cloud| cloud.everything());
    things
        .filter(|thing| !thing.is_foreign && !is_of(&thing.tags, run))
        .filter(|thing| thing.from <= at && thing.until.is_none_or(|until| until > at))
        .map(|thing| {
            format!(
                "{} of an older run was there at {:.3}, beside run {run}",
                thing.id,
                at.as_secs_f64()
            )
        })
        .collect()
}

fn is_of(tags: &TagPairs, run: &str) -> bool {
    tags.get("mvm-run").is_some_and(|of| of == run)
}

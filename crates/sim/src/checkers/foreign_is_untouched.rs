//! What lacks our tag is never touched, nor is what carries somebody else's run.

use model::tags::is_ours;

use super::case::Case;
use crate::record::{Observation, TagPairs};

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let touched = case.seen.iter().filter_map(|(_, seen)| match seen {
        Observation::DestroyAsked { id, tags, .. } if is_foreign(tags) => Some(format!("{id} was destroyed")),
        _ => None,
    });
    let now = case.sim.clock.elapsed();
    let everything = case.sim.clouds.values().flat_map(|cloud| cloud.everything());
    let missing = everything
        .filter(|thing| thing.is_foreign && !thing.remains(now))
        .map(|thing| format!("{} is not there any more", thing.id));
    touched.chain(missing).collect()
}

fn is_foreign(tags: &TagPairs) -> bool {
    !is_ours(tags) || tags.get("mvm-run").is_some_and(|run| run == "their-run")
}

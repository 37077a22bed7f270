//! When all is quiet, nothing of ours is there, nor anything of ours that no longer carries our tag.

use super::case::Case;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let now = case.sim.clock.elapsed();
    let everything = case.sim.clouds.values().flat_map(|cloud| cloud.everything());
    everything
        .filter(|thing| thing.remains(now) && !thing.is_foreign)
        .map(|thing| format!("{} {} ({}) is still there", thing.kind, thing.id, thing.name))
        .collect()
}

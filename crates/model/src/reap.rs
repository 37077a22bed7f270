//! Picks the boxes to destroy. The caller lists before and destroys after.

use std::collections::BTreeSet;

use crate::{
    journal::{Held, Holdings},
    machine::Listed,
    name::{Label, RunId},
    time::Timestamp,
};

/// Says why a listed thing is to be destroyed; none when it is to be left alone. `now` is the provider's clock where
/// it tells one; `alive` are the runs that a live process of this machine holds; `ended` those known to have ended.
pub fn why_doomed(
    listed: &Listed,
    now: Timestamp,
    alive: &BTreeSet<RunId>,
    ended: &BTreeSet<RunId>,
) -> Option<String> {
    // Damaged tags: it is ours, and nothing says until when. A person has to look.
    let tags = listed.tags.as_ref()?;
    if tags.deadline.is_over(now) {
        return Some(format!("its deadline was {}", tags.deadline.moment()));
    }
    if alive.contains(&tags.run) {
        return None;
    }
    ended
        .contains(&tags.run)
        .then(|| format!("its run {} has ended", tags.run))
}

/// Returns the labels of the boxes that a dead process left, and that nobody asked to keep.
pub fn orphans<'a>(
    holdings: &'a Holdings,
    alive: &BTreeSet<RunId>,
    now: Timestamp,
) -> Vec<(&'a Label, &'a Held)> {
    holdings
        .boxes
        .iter()
        .filter(|(_, held)| !alive.contains(&held.run))
        .filter(|(_, held)| !held.is_kept || held.tags.deadline.is_over(now))
        .collect()
}

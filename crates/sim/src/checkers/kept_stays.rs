//! A box that its user keeps stays until its deadline: only a `down` takes it before, or a newer run of the same change
//! on a machine that knows nothing of it, or one that was at work already when the box was kept.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    journal::Fact,
    name::{Label, RunId},
};

use super::{
    case::Case,
    deadlines::{InForce, Revived, Superseding},
};
use crate::{clock::true_moment, record::Observation};

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut kept: BTreeMap<(Label, RunId), (u32, BTreeSet<u32>)> = BTreeMap::new();
    let mut machines: BTreeMap<u32, usize> = BTreeMap::new();
    let mut superseding = Superseding::default();
    let mut revived = Revived::default();
    let mut in_force = InForce::default();
    let mut downs = BTreeSet::new();
    let mut wrong = Vec::new();
    for (at, seen) in case.seen {
        superseding.take(seen);
        revived.take(seen);
        in_force.take(seen);
        match seen {
            Observation::Began { process, machine } => {
                machines.insert(*process, *machine);
            }
            Observation::Wrote {
                process,
                run,
                fact: Fact::Kept { label },
                ..
            } => {
                kept.insert(
                    (label.clone(), run.clone()),
                    (*process, superseding.at_work.clone()),
                );
            }
            // It was not to be, and the run itself destroys it.
            Observation::Wrote {
                process,
                run,
                fact: Fact::DownBegan { label },
                ..
            } => {
                let key = (label.clone(), run.clone());
                if kept.get(&key).is_some_and(|(keeper, _)| keeper == process) {
                    kept.remove(&key);
                }
            }
            // The run was resumed: its box is that run's once more.
            Observation::Wrote {
                run,
                fact: Fact::RunBegan { .. },
                ..
            } => kept.retain(|(_, of), _| of != run),
            Observation::DownAsked { process } => {
                downs.insert(*process);
            }
            Observation::DestroyAsked {
                process,
                id,
                tags,
                parsed,
            } if !downs.contains(process) => {
                let may_supersede = superseding.may(*process, tags);
                let Some(tags) = parsed else { continue };
                let (key, now) = ((tags.label.clone(), tags.run.clone()), true_moment(*at));
                let is_overdue = in_force.is_over(tags, now);
                let Some((keeper, at_work)) = kept.get(&key) else {
                    continue;
                };
                let is_known = machines.get(keeper) == machines.get(process);
                let is_allowed = may_supersede && (!is_known || at_work.contains(process))
                    || revived.is_over_to(*process, tags);
                if !is_allowed && !is_overdue && !tags.deadline.is_over(now) {
                    wrong.push(format!(
                        "{id} was destroyed, and {} is kept until {}",
                        tags.label,
                        tags.deadline.moment()
                    ));
                }
            }
            _ => {}
        }
    }
    wrong
}

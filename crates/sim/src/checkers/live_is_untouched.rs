//! No process destroys the box of a run that another live process carries out, on whichever machine, before its
//! deadline. After that it must not exist, whoever is alive. A `down` is the user's word, and goes before; so is a newer
//! run that takes the older one's place.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    case::Case,
    deadlines::{InForce, Revived, Superseding},
};
use crate::{clock::true_moment, record::Observation};

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut holders: BTreeMap<String, u32> = BTreeMap::new();
    let mut downs = BTreeSet::new();
    let mut superseding = Superseding::default();
    let mut revived = Revived::default();
    let mut in_force = InForce::default();
    let mut wrong = Vec::new();
    for (at, seen) in case.seen {
        superseding.take(seen);
        revived.take(seen);
        in_force.take(seen);
        match seen {
            Observation::Holds { process, run } => {
                holders.insert(run.to_string(), *process);
            }
            Observation::Killed { process } | Observation::Over { process } => {
                holders.retain(|_, holder| holder != process)
            }
            Observation::Ended { run, .. } => {
                holders.remove(run.as_str());
            }
            Observation::DownAsked { process } => {
                downs.insert(*process);
            }
            Observation::DestroyAsked {
                process,
                id,
                tags,
                parsed,
            } if !downs.contains(process) && !superseding.may(*process, tags) => {
                let holder = tags.get("mvm-run").and_then(|run| holders.get(run));
                let now = true_moment(*at);
                let is_overdue = parsed.as_ref().is_some_and(|tags| {
                    tags.deadline.is_over(now)
                        || in_force.is_over(tags, now)
                        || revived.is_over_to(*process, tags)
                });
                if let Some(holder) = holder.filter(|holder| *holder != process && !is_overdue) {
                    wrong.push(format!(
                        "process {process} destroyed {id}, a box of the live process {holder}"
                    ));
                }
            }
            _ => {}
        }
    }
    wrong
}

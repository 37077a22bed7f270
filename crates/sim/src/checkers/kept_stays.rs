//! A box that its user keeps stays until its deadline: only a `down` takes it before.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    journal::Fact,
    name::{Label, RunId},
    tags::Tags,
    time::Deadline,
};

use super::Case;
use crate::{clock::true_moment, record::Seen};

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut kept: BTreeSet<(Label, RunId)> = BTreeSet::new();
    let mut moved: BTreeMap<(Label, RunId), Deadline> = BTreeMap::new();
    let mut downs = BTreeSet::new();
    let mut wrong = Vec::new();
    for (at, seen) in case.seen {
        match seen {
            Seen::Wrote {
                run,
                fact: Fact::Kept { label },
                ..
            } => {
                kept.insert((label.clone(), run.clone()));
            }
            Seen::Wrote {
                run,
                fact: Fact::Extended { label, deadline },
                ..
            } => {
                moved.insert((label.clone(), run.clone()), *deadline);
            }
            // The run was taken up again: its box is that run's once more.
            Seen::Wrote {
                run,
                fact: Fact::RunBegan { .. },
                ..
            } => kept.retain(|(_, of)| of != run),
            Seen::DownAsked { process } => {
                downs.insert(*process);
            }
            Seen::DestroyAsked { process, id, tags } if !downs.contains(process) => {
                let Some(tags) = Tags::parse(tags) else { continue };
                let (key, now) = ((tags.label.clone(), tags.run.clone()), true_moment(*at));
                let is_overdue = moved.get(&key).is_some_and(|deadline| deadline.is_over(now));
                if kept.contains(&key) && !is_overdue && !tags.deadline.is_over(now) {
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

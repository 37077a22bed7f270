//! What `up` says is up is recorded as kept before: nothing but its deadline and its user's word takes it then. That it
//! stays is for `kept_stays` to see.

use std::collections::BTreeSet;

use model::{
    journal::Fact,
    name::{Label, RunId},
};

use super::Case;
use crate::record::Observation;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut kept: BTreeSet<(Label, RunId)> = BTreeSet::new();
    let mut wrong = Vec::new();
    for (_, seen) in case.seen {
        match seen {
            Observation::Wrote {
                run,
                fact: Fact::Kept { label },
                ..
            } => {
                kept.insert((label.clone(), run.clone()));
            }
            Observation::BroughtUp { run, labels } => {
                let lost = labels
                    .iter()
                    .filter(|label| !kept.contains(&((*label).clone(), run.clone())));
                wrong
                    .extend(lost.map(|label| format!("run {run} says that {label} is up, and keeps it not")));
            }
            _ => {}
        }
    }
    wrong
}

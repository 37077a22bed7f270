//! No process that works on a box goes on calling it when it is dead and its provider says so when it is asked.

use std::collections::BTreeMap;

use super::Case;
use crate::record::Observation;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let Some(noticed) = case.death_noticed_within else {
        return Vec::new();
    };
    let mut workers = BTreeMap::new();
    let mut wrong = Vec::new();
    for (at, seen) in case.seen {
        match seen {
            Observation::Holds { process, run } if run.as_str().starts_with("box-") => {
                workers.entry(*process).or_insert(*at);
            }
            Observation::CalledDead { process, label, dead }
                if workers
                    .get(process)
                    .is_some_and(|began| (*dead).min(at.saturating_sub(*began)) > noticed) =>
            {
                wrong.push(format!(
                    "process {process} called {label}, which had been dead for {} s",
                    dead.as_secs()
                ));
            }
            _ => {}
        }
    }
    wrong
}

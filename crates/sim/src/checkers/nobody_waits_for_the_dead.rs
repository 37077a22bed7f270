//! No process that works on a box goes on calling it when it is dead and its provider says so at once when it is asked.

use std::{collections::BTreeMap, time::Duration};

use super::Case;
use crate::record::Observation;

/// How long it may take to notice: a pause, and two or three looks.
const NOTICED: Duration = Duration::from_secs(15);

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    if !case.is_api_reliable {
        return Vec::new();
    }
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
                    .is_some_and(|began| (*dead).min(at.saturating_sub(*began)) > NOTICED) =>
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

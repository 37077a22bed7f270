//! No process that works on a box calls it long after its deadline, or after it began where that was over: it has stopped
//! whatever it was waiting for. Only where
//! the operator's clock is right: a wrong one moves the deadlines that are set by it.

use std::{collections::BTreeMap, time::Duration};

use super::Case;
use crate::record::Observation;

/// How long a call may be on its way when the deadline comes.
const ON_ITS_WAY: Duration = Duration::from_secs(10);

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    if !case.is_clock_right {
        return Vec::new();
    }
    let mut workers = BTreeMap::new();
    let mut wrong = Vec::new();
    for (at, seen) in case.seen {
        match seen {
            Observation::Holds { process, run } if run.as_str().starts_with("box-") => {
                workers.entry(*process).or_insert(*at);
            }
            Observation::CalledLate { process, label, late }
                if workers
                    .get(process)
                    .is_some_and(|began| (*late).min(at.saturating_sub(*began)) > ON_ITS_WAY) =>
            {
                wrong.push(format!(
                    "process {process} called {label} {} s after its deadline",
                    late.as_secs()
                ));
            }
            _ => {}
        }
    }
    wrong
}

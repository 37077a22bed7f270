//! No process that works on a box calls it long after its deadline: it has stopped whatever it was waiting for. Only where
//! the operator's clock is right: a wrong one moves the deadlines that are set by it.

use std::{collections::BTreeSet, time::Duration};

use super::Case;
use crate::record::Observation;

/// How long a call may be on its way when the deadline comes.
const ON_ITS_WAY: Duration = Duration::from_secs(5);

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    if !case.is_clock_right {
        return Vec::new();
    }
    let mut workers = BTreeSet::new();
    let mut wrong = Vec::new();
    for (_, seen) in case.seen {
        match seen {
            Observation::Holds { process, run } if run.as_str().starts_with("box-") => {
                workers.insert(*process);
            }
            Observation::CalledLate { process, label, late }
                if workers.contains(process) && *late > ON_ITS_WAY =>
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

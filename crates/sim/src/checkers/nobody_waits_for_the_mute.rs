//! No process goes on calling a box whose SSH server does nothing but close connections.

use std::{collections::BTreeMap, time::Duration};

use super::Case;
use crate::record::Observation;

/// What it may take, with the calls themselves.
const CALLED_MAX: Duration = Duration::from_secs(5 * 60 + 10);

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    // A call that times out says nothing of the box, and waiting begins anew.
    if !case.are_calls_quick {
        return Vec::new();
    }
    let mut first = BTreeMap::new();
    let mut wrong = Vec::new();
    for (at, seen) in case.seen {
        if let Observation::CalledMute { process, address } = seen {
            let since = *first.entry((process, address)).or_insert(*at);
            let called = at.saturating_sub(since);
            if called > CALLED_MAX {
                wrong.push(format!(
                    "process {process} called {address} for {} s",
                    called.as_secs()
                ));
            }
        }
    }
    wrong.truncate(3);
    wrong
}

//! On a box one process works at a time: no sources change under what another runs there, nothing begins beside it, and
//! nothing is started twice. What works on a box that exists never destroys anything; and where nothing goes wrong but
//! that an earlier process was killed, it comes to its end.

use std::collections::BTreeSet;

use model::verdict::Verdict;

use super::Case;
use crate::record::Observation;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut workers = BTreeSet::new();
    let mut wrong = Vec::new();
    for (at, seen) in case.seen {
        match seen {
            Observation::Disturbed { what } => wrong.push(format!("{what}, at {:.3}", at.as_secs_f64())),
            Observation::WorksOn { process } => {
                workers.insert(*process);
            }
            Observation::DestroyAsked { process, id, .. } if workers.contains(process) => {
                wrong.push(format!(
                    "process {process} worked on a box that exists, and destroyed {id}"
                ));
            }
            Observation::WorkedOn { run, verdict, .. } if case.is_calm && *verdict >= Verdict::Refused => {
                wrong.push(format!("run {run} on a box ended `{}`", verdict.words()));
            }
            _ => {}
        }
    }
    wrong
}

//! No runner is given a job on a box whose gate failed: its lane asks for KVM, and there is none.

use super::Case;
use crate::record::Observation;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let given = case.seen.iter().filter_map(|(at, seen)| match seen {
        Observation::JobGiven {
            runner,
            has_kvm: false,
        } => Some((at, runner)),
        _ => None,
    });
    given
        .map(|(at, runner)| format!("{runner} was given a job without KVM, at {:.3}", at.as_secs_f64()))
        .collect()
}

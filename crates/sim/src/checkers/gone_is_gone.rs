//! What the journal calls gone for good is not there, and does not turn up later. An attempt that began meanwhile is
//! not meant.

use std::collections::BTreeMap;

use model::journal::Fact;

use super::case::Case;
use crate::record::Observation;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let everything = case.sim.clouds.values().flat_map(|cloud| cloud.everything());
    let tokens: BTreeMap<String, String> = everything
        .filter_map(|thing| Some((thing.id.to_string(), thing.tags.get("mvm-token")?.clone())))
        .collect();
    let mut wrong = Vec::new();
    for (at, seen) in case.seen {
        let Observation::Wrote {
            fact:
                Fact::Gone {
                    label,
                    is_final: true,
                    attempts,
                    ..
                },
            remains,
            ..
        } = seen
        else {
            continue;
        };
        let is_meant = |of: &&String| {
            let token = of.rsplit(' ').next().and_then(|id| tokens.get(id));
            attempts.is_empty() || attempts.iter().any(|meant| token == Some(&meant.to_string()))
        };
        let remains: Vec<&str> = remains.iter().filter(is_meant).map(String::as_str).collect();
        if !remains.is_empty() {
            wrong.push(format!(
                "{label} was called gone at {:.3}, and there is {}",
                at.as_secs_f64(),
                remains.join(", ")
            ));
        }
    }
    wrong
}
